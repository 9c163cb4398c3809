"""Figures of what detectors see: the matrix, robustness, sources, heat maps and forged regions."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from groundsynth.checks.authenticity import HeldOut
from groundsynth.checks.forgery import Forged, smooth
from groundsynth.checks.spectrum import radial_power_spectrum
from groundsynth.models.detector import PatchDetector, heat_maps
from groundsynth.report.style import save_figure, system_colour

DETECTORS = {
    "detector=network": "a network of patches",
    "detector=captioner": "a captioner that answers",
    "detector=spectrum": "power spectrum",
    "detector=spectrum;as_drawn": "power spectrum, as drawn",
}
LINES = {"network": "#0072b2", "hardened": "#009e73", "spectrum": "#d55e00", "levels": "#8c8c8c"}
EXAMPLES = 6
PANELS = 2  # matrices side by side
CELL = (0.95, 0.5)  # of a matrix, inches: an interval in figures fits


def draw_figures(
    folder: Path,
    metrics: pd.DataFrame,
    real: np.ndarray,
    synthetic: dict[str, np.ndarray],
    network: PatchDetector,
    tested: HeldOut,
    forged: dict[str, tuple[Forged, np.ndarray]],
) -> None:
    """Save every figure with its caption.

    Args:
        real: training chips; synthetic: by system, as drawn; network: of two classes, real first;
        forged: forgeries and their smoothed heat maps, by kind.
    """
    cells, chips = len(np.unique(tested.cells)), min(len(x) for x in tested.synthetic.values())
    base = (
        f"{len(tested.real)} overlapping windows of held-out ground ({cells} cells) against {chips} chips per system "
        "or more; 95 % intervals over cells and chips; one training per detector."
    )
    save_figure(
        matrix_figure(metrics), folder / "detector_matrix.png",
        "Area under the ROC curve of detectors trained on one system's chips (rows; 'all' saw every system) and tested "
        f"on each (columns): 0.5 is guessing, 1 always right. {base} Chips are at the grey levels of real ones, except "
        "in the panel named 'as drawn'.",
    )  # fmt: skip
    save_figure(
        robustness_figure(metrics), folder / "detector_robustness.png",
        "Detection after recompression and resizing of all test chips, mean over systems: by the network of patches, "
        "by one trained on such chips (hardened), by power spectrum, and by counting grey levels that real chips never "
        f"take. {base}",
    )  # fmt: skip
    n = int(metrics.loc[metrics["metric"] == "attribution_accuracy", "n"].iloc[0])
    save_figure(
        attribution_figure(metrics), folder / "attribution.png",
        f"Which source a chip is given to, as a share of each true source's chips (rows); n = {n}. Systems drawn by "
        "one generator share its weights.",
    )  # fmt: skip
    save_figure(
        evidence_figure(real, synthetic, network, tested), folder / "detector_evidence.png",
        "Left: radial power spectra of real training chips and of each system, geometric means. Right: held-out real "
        f"chips and synthetic ones, {EXAMPLES} each, and where the network finds them synthetic (red) or real (blue).",
    )  # fmt: skip
    for kind, (chips_, heat) in forged.items():
        rows = metrics[(metrics["metric"] == "forgery_iou") & (metrics["arm"] == kind)].set_index("regime")[
            "value"
        ]
        save_figure(
            forgery_figure(chips_, heat), folder / f"forged_{kind}.png",
            f"Real chips, the same with a region {kind}, and the smoothed heat of a localiser that learned from pasted "
            f"patches, with the region's outline. Mean overlap (IoU) of what it marks with the region: "
            f"{rows['by=localiser']:.2f}; by the detector of whole chips {rows['by=network']:.2f}; of the whole chip "
            f"{rows['by=whole_chip']:.2f}, of a box of the right size anywhere {rows['by=random_box']:.2f}; "
            f"n = {len(heat)}.",
        )  # fmt: skip


def matrix_figure(metrics: pd.DataFrame) -> Figure:
    """Draw one matrix per detector, each cell with its interval."""
    rows = metrics[(metrics["metric"] == "detector_auc") & ~metrics["arm"].str.startswith("forged")]
    there = {regime: title for regime, title in DETECTORS.items() if (rows["regime"] == regime).any()}
    systems = rows["arm"].nunique()
    lines, columns = -(-len(there) // PANELS), min(PANELS, len(there))
    size = (columns * (CELL[0] * systems + 0.8), lines * (CELL[1] * (systems + 1) + 1.1))
    figure, axes = plt.subplots(lines, columns, figsize=size, sharey=True, squeeze=False)
    for panel in axes.flat[len(there) :]:
        panel.set_axis_off()
    for panel, (regime, title) in zip(axes.flat, there.items(), strict=False):
        part = rows[rows["regime"] == regime]
        order = list(dict.fromkeys(part["system"])), list(dict.fromkeys(part["arm"]))
        value = part.pivot_table(index="system", columns="arm", values="value").loc[order[0], order[1]]
        words = part.assign(
            text=[f"{r.value:.2f}\n[{r.low:.2f}, {r.high:.2f}]" for r in part.itertuples()]
        ).pivot_table(index="system", columns="arm", values="text", aggfunc="first").loc[order[0], order[1]]  # fmt: skip
        sns.heatmap(
            value, annot=words, fmt="", vmin=0, vmax=1, center=0.5, cmap="vlag", cbar=False, ax=panel,
            annot_kws={"fontsize": 9}, linewidths=1,
        )  # fmt: skip
        panel.tick_params(axis="y", labelrotation=0)
        panel.set(title=title, xlabel="tested on", ylabel="trained on" if panel in axes[:, 0] else "")
    return figure


def robustness_figure(metrics: pd.DataFrame) -> Figure:
    """Draw detection against JPEG quality and resizing, a line per detector."""
    rows = metrics[metrics["metric"] == "detector_auc"].copy()
    rows = rows[rows["system"].isin(["all", "none"]) & ~rows["arm"].str.startswith("forged")]
    found = rows["regime"].str.extract(r"^detector=(\w+)(?:;as_drawn)?(?:;(jpeg|resize)=([\d.]+))?$")
    rows = rows.assign(detector=found[0], change=found[1].fillna("none"), amount=found[2].astype(float))
    keep = (rows["change"] != "none") | ~rows["regime"].str.contains("spectrum;as_drawn")
    mean = rows[keep].groupby(["detector", "change", "amount"], dropna=False)[["value", "low", "high"]].mean()
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), sharey=True)
    for panel, change, none in zip(axes, ("jpeg", "resize"), (100.0, 1.0), strict=True):
        for name, colour in LINES.items():
            at = mean.loc[name].reset_index()
            at = at[at["change"].isin([change, "none"])].assign(
                amount=lambda t, n=none: t["amount"].fillna(n)
            )
            at = at.sort_values("amount", ascending=False)
            panel.errorbar(
                at["amount"], at["value"], (at["value"] - at["low"], at["high"] - at["value"]), marker="o",
                color=colour, label=name, capsize=3,
            )  # fmt: skip
        panel.axhline(0.5, color="#8c8c8c", linestyle="--", linewidth=1)
        panel.invert_xaxis()
    axes[0].set(xlabel="JPEG quality (100: as it was)", ylabel="AUC", ylim=(0, 1.03))
    axes[1].set(xlabel="resized by (1: as it was)")
    axes[1].legend(fontsize=9)
    return figure


def attribution_figure(metrics: pd.DataFrame) -> Figure:
    """Draw the confusion of sources."""
    rows = metrics[metrics["metric"] == "attribution_rate"]
    order = list(dict.fromkeys(rows["system"]))
    table = rows.pivot_table(index="system", columns="arm", values="value").loc[order, order]
    figure, panel = plt.subplots(figsize=(1.2 * len(order) + 1.4, 0.9 * len(order) + 1.2))
    sns.heatmap(
        table, annot=True, fmt=".2f", vmin=0, vmax=1, cmap="Blues", cbar=False, ax=panel, linewidths=1
    )
    panel.set(xlabel="given to", ylabel="true source")
    return figure


def evidence_figure(
    real: np.ndarray, synthetic: dict[str, np.ndarray], network: PatchDetector, tested: HeldOut
) -> Figure:
    """Draw spectra, and heat maps of real and synthetic chips."""
    figure = plt.figure(figsize=(12, 4.6))
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.7))
    panel = left.subplots()
    for name, images in {"real": real, **synthetic}.items():
        power = radial_power_spectrum(images)
        panel.loglog(np.arange(1, len(power) + 1), power, color=system_colour(name), label=name)
    panel.set(xlabel="cycles per chip", ylabel="power per pixel")
    panel.legend(fontsize=9)
    made = [images[k % len(images)] for k in range(EXAMPLES) for images in [_nth(tested.synthetic, k)]]
    place = np.linspace(0, len(tested.real) - 1, EXAMPLES).astype(int)
    shown = np.concatenate([tested.real[place], np.stack(made)])
    heat = smooth(heat_maps(network, shown))
    axes, most = right.subplots(4, EXAMPLES), np.abs(heat).max()
    for row, (start, name) in enumerate(((0, "real"), (EXAMPLES, "synthetic"))):
        for k in range(EXAMPLES):
            above, below = axes[2 * row, k], axes[2 * row + 1, k]
            above.imshow(shown[start + k])
            below.imshow(heat[start + k], cmap="vlag", vmin=-most, vmax=most)
        axes[2 * row, 0].set_ylabel(name, fontsize=9)
        axes[2 * row + 1, 0].set_ylabel("heat", fontsize=9)
    _bare(axes)
    return figure


def _nth(groups: dict[str, np.ndarray], k: int) -> np.ndarray:
    return list(groups.values())[k % len(groups)]


def forgery_figure(forged: Forged, heat: np.ndarray) -> Figure:
    """Draw real chips, their forgeries, and the heat with the outline of what was forged."""
    count = min(EXAMPLES + 2, len(heat))
    figure, axes = plt.subplots(3, count, figsize=(1.35 * count, 4.4), squeeze=False)
    for k in range(count):
        axes[0, k].imshow(forged.real[k])
        axes[1, k].imshow(forged.images[k])
        axes[2, k].imshow(heat[k], cmap="vlag", vmin=-np.abs(heat).max(), vmax=np.abs(heat).max())
        for row in (1, 2):
            axes[row, k].contour(forged.regions[k], [0.5], colors="black", linewidths=1)
    for row, name in enumerate(("real", "forged", "heat")):
        axes[row, 0].set_ylabel(name, fontsize=9)
    _bare(axes)
    return figure


def plot_forged(real: np.ndarray, forged: np.ndarray, region: np.ndarray) -> Figure:
    """Draw one real chip, its forgery and where they differ, with the outline of the forged region.

    Args:
        real, forged: (h, w, 3) uint8; region: (h, w) bool.
    """
    figure, axes = plt.subplots(1, 3, figsize=(7.5, 2.7), squeeze=False)
    change = np.abs(real.astype(int) - forged).max(-1)
    for panel, picture, name in zip(
        axes[0], (real, forged, change), ("real", "forged", "difference"), strict=True
    ):
        panel.imshow(picture, cmap="magma")
        panel.set_title(name, fontsize=9, loc="center")
    for panel in axes[0, 1:]:
        panel.contour(region, [0.5], colors="white", linewidths=1)
    _bare(axes)
    return figure


def _bare(axes: np.ndarray) -> None:
    for panel in axes.flat:
        panel.set(xticks=[], yticks=[])
        panel.grid(False)
