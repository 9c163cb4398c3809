"""Figures of obedience to unseen maps: obedience against diversity, and what was drawn."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from groundsynth.legend import NO_LABEL, colour_map
from groundsynth.report.style import SYSTEM_COLOURS, legend_handles


def plot_obedience(points: pd.DataFrame, target: float) -> Figure:
    """Draw obedience against diversity, one panel per set of layouts, one line per generator.

    Args:
        points: metric rows ``mask_obedience_ratio``, ``diversity_ratio`` and ``chosen_guidance`` with the words of
            their regime as columns ``layouts``, ``generator`` and ``guidance`` (NaN where there is none).
        target: obedience that is aimed at.
    """
    chosen = points[points["metric"] == "chosen_guidance"].set_index("generator")["value"]
    keys = ["layouts", "generator", "guidance"]
    plain = points.assign(guidance=pd.to_numeric(points.get("guidance", np.nan)))
    parts = dict(list(plain.groupby("metric")))
    both = parts["mask_obedience_ratio"].merge(
        parts["diversity_ratio"], on=keys, suffixes=("_obeys", "_varies")
    )
    panels = list(dict.fromkeys(both["layouts"]))
    figure, axes = plt.subplots(
        1, len(panels), figsize=(5.2 * len(panels) + 1.6, 4.4), sharex=True, sharey=True, squeeze=False
    )
    generators = list(dict.fromkeys(both["generator"]))
    colours = dict(zip(generators, sns.color_palette("colorblind", len(generators)), strict=True))
    for panel, layouts in zip(axes[0], panels, strict=True):
        panel.axhline(target, color="#8c8c8c", linestyle="--", linewidth=1)
        panel.plot(1, 1, marker="*", markersize=14, color=SYSTEM_COLOURS["real"], linestyle="", label="real")
        for generator in generators:
            line = both[(both["layouts"] == layouts) & (both["generator"] == generator)]
            _draw_line(panel, line.sort_values("guidance"), generator, colours[generator], chosen)
        blocks = both.loc[both["layouts"] == layouts, "n_obeys"].iloc[0]
        panel.set(title=f"{layouts} layouts, {blocks:.0f} blocks", xlabel="diversity ratio")
    axes[0, 0].set(ylabel="obedience ratio")
    axes[0, -1].legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9)
    return figure


def _draw_line(axes: plt.Axes, line: pd.DataFrame, generator: str, colour: tuple, chosen: pd.Series) -> None:
    x, y = line["value_varies"].to_numpy(), line["value_obeys"].to_numpy()
    bars = [
        np.nan_to_num([v - line[f"low_{end}"], line[f"high_{end}"] - v]).clip(0)
        for end, v in (("varies", line["value_varies"]), ("obeys", line["value_obeys"]))
    ]
    axes.errorbar(
        x, y, yerr=bars[1], xerr=bars[0], color=colour, marker="o", markersize=5, linewidth=1, elinewidth=0.6,
        label=generator,
    )  # fmt: skip
    for right, up, guidance in zip(x, y, line["guidance"], strict=True):
        if np.isfinite(guidance):
            axes.annotate(f"{guidance:g}", (right, up), (4, 4), textcoords="offset points", fontsize=8)
            if generator in chosen and chosen[generator] == guidance:
                axes.plot(right, up, marker="o", markersize=13, fillstyle="none", color=colour)


def plot_unseen(layouts: pd.DataFrame, drawn: dict[str, np.ndarray]) -> Figure:
    """Draw one column per layout: its map, its real image, and what each way draws for the map.

    Args:
        layouts: real chips with ``mask`` (h, w) and ``image`` (h, w, 3).
        drawn: (n, h, w, 3) images by title, in the order of ``layouts``.
    """
    rows = {
        "map": [colour_map(mask) for mask in layouts["mask"]],
        "real": list(layouts["image"]),
        **{title: list(images) for title, images in drawn.items()},
    }
    figure, axes = plt.subplots(
        len(rows), len(layouts), figsize=(1.35 * len(layouts) + 1.6, 1.35 * len(rows) + 0.4), squeeze=False
    )
    for line, (title, pictures) in zip(axes, rows.items(), strict=True):
        for panel, picture in zip(line, pictures, strict=True):
            panel.imshow(picture, interpolation="nearest")
            panel.set(xticks=[], yticks=[])
        line[0].set_ylabel(title.replace(" ", "\n"), rotation=0, ha="right", va="center", fontsize=9)
    figure.legend(
        handles=legend_handles(bool((np.stack(layouts["mask"]) == NO_LABEL).any())),
        loc="outside lower center", ncols=4, fontsize=8, handlelength=1,
    )  # fmt: skip
    return figure
