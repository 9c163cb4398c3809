"""Figures of stages 02 and 03: the two noise levels, what noise does, the loss, spectra."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from groundsynth.legend import colour_map
from groundsynth.report.style import legend_handles, system_colour

ROW_NAMES = {
    "joint": "both noisy, same level → image + map",
    "independent": "both noisy, levels of their own",
    "mask": "map clean → image that obeys a map",
    "image": "map absent → image alone",
    "segment": "image clean → map (a segmenter)",
}


def plot_noise_plane(levels: pd.DataFrame) -> Figure:
    """Draw training noise levels in the plane (sigma of the image, sigma of the map).

    Args:
        levels: columns ``image``, ``mask`` (sigma) and ``row`` (a key of ``ROW_NAMES``). Clean and
            absent parts are drawn in the margins left of, below and above the plane.
    """
    low, high = 1e-3, 300.0
    shown = levels.assign(
        x=levels["image"].where(levels["row"] != "segment", low),
        y=levels["mask"].where(levels["row"] != "mask", low).where(levels["row"] != "image", high),
        use=levels["row"].map(ROW_NAMES),
    )
    figure, axes = plt.subplots(figsize=(8.6, 4.6))
    sns.scatterplot(
        shown, x="x", y="y", hue="use", hue_order=list(ROW_NAMES.values()), palette="colorblind",
        s=16, alpha=0.6, linewidth=0, ax=axes,
    )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlim=(low * 0.6, 120), ylim=(low * 0.6, high * 2))
    axes.set(xlabel="noise on the image, σ", ylabel="noise on the map, σ")
    axes.text(low, high, "map absent", va="center", fontsize=9)
    axes.text(30, low * 1.6, "map clean", va="center", ha="right", fontsize=9)
    axes.text(low * 1.6, 40, "image clean", rotation=90, ha="center", va="top", fontsize=9)
    axes.legend(title=None, loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9)
    return figure


def plot_noise_strip(images: list[np.ndarray], maps: list[np.ndarray], sigmas: list[float]) -> Figure:
    """Draw one chip at rising noise: images above, decoded maps below.

    Args:
        images: (h, w, 3) uint8, one per level.
        maps: (h, w) uint8, one per level.
        sigmas: the levels.
    """
    figure, axes = plt.subplots(2, len(sigmas), figsize=(1.35 * len(sigmas), 3.0), squeeze=False)
    for column, (image, labels, sigma) in enumerate(zip(images, maps, sigmas, strict=True)):
        axes[0, column].imshow(image, interpolation="nearest")
        axes[1, column].imshow(colour_map(labels), interpolation="nearest")
        axes[0, column].set_title(f"σ = {sigma:g}", fontsize=9, weight="normal", loc="center")
        for row in (0, 1):
            axes[row, column].set_axis_off()
    return figure


def plot_loss(log: pd.DataFrame, window: int = 5) -> Figure:
    """Draw the loss of image and map over the steps, with a running mean over ``window`` log entries."""
    figure, axes = plt.subplots(figsize=(7.5, 3.4))
    for part, colour in (("image", system_colour("joint")), ("mask", system_colour("mask"))):
        axes.plot(log["step"], log[part], color=colour, alpha=0.3, linewidth=1)
        smooth = log[part].rolling(window, min_periods=1, center=True).mean()
        axes.plot(log["step"], smooth, color=colour, label=part.replace("mask", "map"))
    axes.set(xlabel="optimiser step", ylabel="loss (squared error of F)", ylim=(0, None))
    axes.legend()
    return figure


def plot_path(strip: list[np.ndarray], sigmas: list[float]) -> Figure:
    """Draw a sampling path: what the model believes the image to be at each noise level.

    Args:
        strip: (h, w, 3) uint8, one per shown step.
        sigmas: noise level of each shown step.
    """
    figure, axes = plt.subplots(1, len(strip), figsize=(1.35 * len(strip), 1.7), squeeze=False)
    for image, sigma, cell in zip(strip, sigmas, axes[0], strict=True):
        cell.imshow(image, interpolation="nearest")
        cell.set_title(f"σ = {sigma:.2g}", fontsize=9, weight="normal", loc="center")
        cell.set_axis_off()
    return figure


def plot_belief_plane(
    images: np.ndarray, maps: np.ndarray, image_levels: list[float], map_levels: list[float]
) -> Figure:
    """Draw what the model believes one chip to be over the plane of the two noise levels.

    Args:
        images: (rows, columns, h, w, 3) uint8; maps: (rows, columns, h, w) uint8; see
            :func:`groundsynth.models.beliefs.believe`. Maps of an absent map are left white.
        image_levels: sigma per column; map_levels: sigma per row, 0 clean, infinity absent.
    """
    rows, columns = images.shape[:2]
    figure = plt.figure(figsize=(1.2 * 2 * columns + 0.6, 1.25 * rows + 0.5), layout="constrained")
    panels = figure.subfigures(1, 2, wspace=0.03)
    for panel, pictures, title in zip(
        panels, (images, colour_map(maps)), ("believed image", "believed map"), strict=True
    ):
        panel.suptitle(title, fontsize=11)
        cells = panel.subplots(rows, columns, squeeze=False)
        for row, map_level in enumerate(map_levels):
            for column, image_level in enumerate(image_levels):
                cell = cells[row, column]
                if np.isfinite(map_level) or panel is panels[0]:
                    cell.imshow(pictures[row, column], interpolation="nearest")
                cell.set(xticks=[], yticks=[])
                cell.grid(False)
                for side in cell.spines.values():
                    side.set_visible(False)
                if row == rows - 1:
                    cell.set_xlabel(f"image {_level_name(image_level)}", fontsize=8)
                if column == 0:
                    cell.set_ylabel(f"map {_level_name(map_level)}", fontsize=8)
    if not np.isfinite(map_levels[-1]):  # an empty row of the second panel
        panels[1].legend(
            handles=legend_handles(),
            loc="lower center",
            bbox_to_anchor=(0.5, 0.5 / rows),
            ncols=4,
            fontsize=8,
        )
    return figure


def _level_name(sigma: float) -> str:
    return {0: "clean", np.inf: "absent"}.get(sigma, f"σ = {sigma:g}")


def plot_one_map(labels: np.ndarray, images: np.ndarray) -> Figure:
    """Draw one map and, beside it, the images (n, h, w, 3) uint8 that were drawn for it."""
    columns = 1 + len(images) // 2 + len(images) % 2
    figure, axes = plt.subplots(2, columns, figsize=(1.6 * columns, 3.3), squeeze=False)
    for cell in axes.flat:
        cell.set_axis_off()
    axes[0, 0].imshow(colour_map(labels), interpolation="nearest")
    axes[0, 0].set_title("the map", fontsize=9, weight="normal", loc="center")
    axes[1, 0].legend(handles=legend_handles(), loc="center", fontsize=7, handlelength=1)
    for cell, image in zip(axes[:, 1:].flat, images, strict=False):
        cell.imshow(image, interpolation="nearest")
    return figure


def plot_spectra(spectra: dict[str, np.ndarray], system: str) -> Figure:
    """Draw mean radial power spectra, and below them each one's ratio to the first.

    Args:
        spectra: name → power per radial bin; the first is the reference.
        system: the generated one, drawn in its colour; the others are grey.
    """
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(7.5, 4.8), sharex=True, height_ratios=(2, 1), layout="constrained"
    )
    reference = next(iter(spectra.values()))
    frequency = np.arange(1, len(reference) + 1)
    for name, power in spectra.items():
        style = {"color": system_colour(name), "linestyle": "--" if "training" in name else "-"}
        top.plot(frequency, power, label=name, **style)
        bottom.plot(frequency, power / reference, **style)
    bottom.axhspan(0.75, 1.25, color="#cccccc", alpha=0.4, linewidth=0)
    top.set(xscale="log", yscale="log", ylabel="power")
    bottom.set(xscale="log", xlabel="cycles per chip", ylabel="ratio to\nheld-out real", ylim=(0, 2))
    top.legend()
    return figure
