"""Figures of image–text models: what cleaning dropped and kept, and arms against the first."""

from __future__ import annotations

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from groundsynth.report.style import system_colour
from groundsynth.report.tables import counted, interval

LETTERS = 36  # of a line of a caption under its image


def ranked_places(scores: np.ndarray, n: int) -> np.ndarray:
    """Return the places of the n lowest, n middle and n highest scores, (3, n), lowest first; fewer if there are."""
    order = np.argsort(scores, kind="stable")
    n = min(n, len(order))
    middle = (len(order) - n) // 2
    return np.stack([order[:n], order[middle : middle + n], order[len(order) - n :]])


def plot_ranked_pairs(
    images: np.ndarray, captions: list[str], scores: np.ndarray, wrong: np.ndarray, n: int = 6
) -> Figure:
    """Show pairs by rank of their score: lowest, middle and highest, planted errors in orange.

    Args:
        images: (m, h, w, 3) uint8; captions: what was scored; wrong: (m,) bool, planted.
    """
    rows = ranked_places(scores, n)
    figure, axes = plt.subplots(
        3, rows.shape[1], figsize=(1.9 * rows.shape[1], 9.5), squeeze=False, layout="constrained"
    )
    for name, line, places in zip(("lowest", "middle", "highest"), axes, rows, strict=True):
        for axis, place in zip(line, places, strict=True):
            axis.imshow(images[place])
            colour = "#d55e00" if wrong[place] else "black"
            axis.set_title(f"{name} {scores[place]:.2f}", fontsize=8, color=colour)
            axis.set_xlabel(textwrap.fill(captions[place], LETTERS), fontsize=5.5, color=colour)
            axis.set(xticks=[], yticks=[])
    return figure


def ranked_caption(n: int, rate: float) -> str:
    """Return the caption of :func:`plot_ranked_pairs`."""
    return (
        f"Real chips with the captions that were scored, by rank of all {n}: lowest, middle and highest, none chosen by "
        f"hand. In orange: captions made wrong on purpose ({rate:.0%} of all)."
    )


def plot_gains(metrics: pd.DataFrame, measure: str = "retrieval_recall_at_10", split: str = "test") -> Figure:
    """Show the difference of every arm to ``real`` in one measure, with its interval.

    Args:
        metrics: from ``compare-contrastive``.
    """
    chosen = _gains(metrics, measure, split).iloc[::-1]
    figure, axis = plt.subplots(figsize=(6.5, 0.4 * len(chosen) + 1))
    value = chosen["value"].to_numpy(float)
    spans = np.abs(chosen[["low", "high"]].to_numpy(float).T - value)
    axis.errorbar(value, np.arange(len(chosen)), xerr=spans, fmt="none", capsize=3, color="#8c8c8c")
    axis.scatter(value, np.arange(len(chosen)), c=[system_colour(arm) for arm in chosen["arm"]], zorder=3)
    axis.set_yticks(np.arange(len(chosen)), chosen["arm"])
    axis.axvline(0, color="#4d4d4d", linewidth=1)
    axis.set_xlabel(f"{measure.replace('_', ' ')}: difference to real pairs alone")
    return figure


def _gains(metrics: pd.DataFrame, measure: str, split: str) -> pd.DataFrame:
    there = metrics["regime"].str.split(";").str[0] == f"split={split}"
    return metrics[(metrics["metric"] == f"delta_{measure}") & there]


def gains_caption(metrics: pd.DataFrame, measure: str = "retrieval_recall_at_10", split: str = "test") -> str:
    """Return the caption of :func:`plot_gains`, every number read from the rows."""
    row = metrics[(metrics["metric"] == measure) & (metrics["arm"] == "real")]
    row = row[row["regime"].str.split(";").str[0] == f"split={split}"].iloc[0]
    return (
        f"Image–text models trained at equal steps, {counted(row['seeds'], 'seed')} each, tested on {row['n']} overlapping windows of "
        f"real ground (split {split}): {measure.replace('_', ' ')} of real pairs alone is {interval(row)}; shown is what "
        "other training sets change, 95 % intervals over blocks × seeds, paired."
    )
