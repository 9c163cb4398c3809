"""Figures of ways to a pair (routes, kinds of layouts): class frequencies, shapes of maps, agreement and distance."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from groundsynth.legend import CLASSES
from groundsynth.report.style import SYSTEM_COLOURS

LEAST_SHARE = 1e-4  # below it a share is drawn at the edge
PANELS = {
    "patches_per_chip": "patches per map",
    "edge_rate": "neighbours that differ",
    "largest_patch": "share of the largest patch",
    "map_kappa": "kappa, map and labeller",
    "kid": "kernel distance",
}


def _colours(ways: list[str]) -> dict[str, tuple]:
    others = [way for way in ways if way != "real"]
    return {"real": SYSTEM_COLOURS["real"]} | dict(
        zip(others, sns.color_palette("colorblind", len(others)), strict=True)
    )


def _bar(row: pd.Series) -> np.ndarray:
    """Return how far the interval reaches below and above the value, (2, 1); 0 where there is none."""
    ends = [row["value"] - row["low"], row["high"] - row["value"]]
    return np.nan_to_num(np.array(ends, float), nan=0.0).clip(0)[:, None]


def plot_shares(rows: pd.DataFrame) -> Figure:
    """Draw the share of each class, one point per way, on a logarithmic scale.

    Args:
        rows: metric rows ``class_share`` among others, and the column ``way``: ``real``, or what is compared.
    """
    shares = rows[rows["metric"] == "class_share"]
    ways = list(dict.fromkeys(shares["way"]))
    figure, axes = plt.subplots(figsize=(8.2, 4.2))
    for place, way in enumerate(ways):
        part = shares[shares["way"] == way].set_index("class").reindex(CLASSES)
        for k, (_, row) in enumerate(part.iterrows()):
            shown = max(row["value"], LEAST_SHARE)
            bars = np.array([[shown - max(row["low"], LEAST_SHARE)], [max(row["high"], LEAST_SHARE) - shown]])
            axes.errorbar(
                k + 0.18 * (place - (len(ways) - 1) / 2), shown, np.nan_to_num(bars).clip(0), marker="o",
                markersize=5, color=_colours(ways)[way], linewidth=1.2, linestyle="", label=way if k == 0 else None,
            )  # fmt: skip
    axes.set(yscale="log", ylabel="mean share of a map", ylim=(LEAST_SHARE * 0.8, 1))
    axes.set_xticks(range(len(CLASSES)), CLASSES, rotation=20, ha="right")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def plot_routes(rows: pd.DataFrame, panels: dict[str, str] | None = None) -> Figure:
    """Draw one panel per measure and one point with its bar per way.

    Args:
        rows: metric rows of the panels among others, and the column ``way``: ``real``, or what is compared.
        panels: title by metric; those of the routes if left out.
    """
    panels = panels or PANELS
    own = rows[(rows["arm"] == "") & (rows["class"] == "")]
    ways = list(dict.fromkeys(own["way"]))
    figure, places = plt.subplots(1, len(panels), figsize=(2.6 * len(panels), 3.2))
    for axes, (metric, words) in zip(places, panels.items(), strict=True):
        part = own[own["metric"] == metric].set_index("way")
        for place, way in enumerate(ways):
            if way in part.index:
                row = part.loc[way]
                axes.errorbar(
                    place,
                    row["value"],
                    _bar(row),
                    marker="o",
                    color=_colours(ways)[way],
                    capsize=3,
                    linestyle="",
                )
        axes.set_title(words, fontsize=9)
        axes.set_xticks(range(len(ways)), ways, rotation=30, ha="right", fontsize=8)
        axes.set_xlim(-0.6, len(ways) - 0.4)
    return figure
