"""Figures of generators that learned from cleaned and uncleaned pairs."""

from __future__ import annotations

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from groundsynth.checks.cleaning import PUBLISHED
from groundsynth.legend import colour_map

MEASURES = {
    "delta_share_skill": "skill of class shares",
    "delta_claim_precision": "true claims of the caption",
    "delta_map_kappa": "kappa of map and labeller",
    "delta_image_text_score": "image–text score",
    "delta_kid": "kernel distance (lower is better)",
}
CHANGES = {
    "kid_change": "kernel distance",
    "frechet_change": "Fréchet distance",
    "image_text_change": "image–text score",
}
COLOURS = {"cleaned-uncleaned": "#0072b2", "cleaned-random_drop": "#e69f00"}
LETTERS = 26  # of a line of a caption above its column


def plot_generators(metrics: pd.DataFrame) -> Figure:
    """Draw what cleaning changed: differences per measure on the left, relative changes beside published ones.

    Args:
        metrics: from ``compare-cleaned``.
    """
    there = [name for name in MEASURES if (metrics["metric"] == name).any()]
    figure, axes = plt.subplots(1, len(there) + 1, figsize=(2.3 * len(there) + 3.2, 3.2))
    for ax, name in zip(axes, there, strict=False):
        rows = metrics[metrics["metric"] == name]
        for place, (arm, colour) in enumerate(COLOURS.items()):
            _whisker(ax, place, rows[rows["arm"] == arm].iloc[0], colour)
        ax.axhline(0, color="#4d4d4d", lw=1)
        ax.set_xticks(
            range(len(COLOURS)), [arm.removeprefix("cleaned-").replace("_", " ") for arm in COLOURS]
        )
        ax.set(xlim=(-0.6, len(COLOURS) - 0.4))
        ax.set_title(textwrap.fill(MEASURES[name], 20), fontsize=9)
    axes[0].set_ylabel("cleaned minus …")
    _plot_changes(axes[-1], metrics[metrics["arm"] == "cleaned-uncleaned"])
    return figure


def _whisker(ax: plt.Axes, place: float, row: pd.Series, colour: str) -> None:
    if pd.notna(row["low"]):
        ax.vlines(place, row["low"], row["high"], color=colour, lw=2)
    ax.plot(place, row["value"], "o", color=colour)


def _plot_changes(ax: plt.Axes, metrics: pd.DataFrame) -> None:
    for place, name in enumerate(CHANGES):
        rows = metrics[metrics["metric"] == name]
        if len(rows):
            _whisker(ax, place, rows.iloc[0], "#0072b2")
        known = PUBLISHED[PUBLISHED["metric"] == name]
        ax.plot([place + 0.25] * len(known), known["value"], "D", mfc="none", color="#767676")
        for _, other in known.iterrows():
            ax.annotate(other["change"], (place + 0.32, other["value"]), fontsize=7, va="center")
    ax.axhline(0, color="#4d4d4d", lw=1)
    ax.set_xticks(range(len(CHANGES)), [textwrap.fill(name, 9) for name in CHANGES.values()], fontsize=8)
    ax.set(xlim=(-0.5, len(CHANGES) - 0.1))
    ax.set_title("relative change\n(hollow: published)", fontsize=9)


def plot_same_captions(
    captions: list[str], real: np.ndarray, drawn: dict[str, tuple[np.ndarray, np.ndarray]]
) -> Figure:
    """Draw what several generators made of the same captions, one column per caption.

    Args:
        captions: n texts; real: (n, h, w, 3) windows they are true of.
        drawn: images (n, h, w, 3) and maps (n, h, w) by the generator's name.
    """
    rows = [("real", real)]
    for name, (images, maps) in drawn.items():
        rows += [(name.replace("_", " "), images), ("", colour_map(maps))]
    n = len(captions)
    figure, axes = plt.subplots(len(rows), n, figsize=(1.5 * n + 0.4, 1.45 * len(rows) + 1), squeeze=False)
    for line, (name, pictures) in zip(axes, rows, strict=True):
        for ax, picture in zip(line, pictures, strict=True):
            ax.imshow(picture, interpolation="nearest")
            ax.set_axis_off()
        line[0].text(
            -0.08, 0.5, name, rotation=90, ha="right", va="center", fontsize=8, transform=line[0].transAxes
        )
    for ax, caption in zip(axes[0], captions, strict=True):
        ax.set_title(textwrap.fill(caption, LETTERS), fontsize=5, weight="normal", loc="center")
    return figure
