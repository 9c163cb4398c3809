"""Figures of generators that learned from cleaned and uncleaned pairs."""

from __future__ import annotations

import re
import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from groundsynth.checks.cleaned_training import change_words
from groundsynth.checks.cleaning import PUBLISHED
from groundsynth.legend import colour_map
from groundsynth.report.tables import interval

MEASURES = {
    "delta_share_skill": "skill of class shares",
    "delta_claim_precision": "true claims of the caption",
    "delta_map_kappa": "kappa of map and labeller",
    "delta_image_text_score": "image–text score",
    "delta_kid": "kernel distance (lower is better)",
    "delta_segmenter_miou": "mIoU of a segmenter on real chips",
}
CHANGES = {
    "kid_change": "kernel distance",
    "frechet_change": "Fréchet distance",
    "image_text_change": "image–text score",
}
#: of `clean-captions`; of all of them, higher is better
JUDGES = {
    "delta_claim_precision": "true claims, against the maps",
    "delta_retrieval_recall_at_10": "retrieval by another model, recall at 10",
    "delta_auc": "own caption above a shuffled one, by another model",
}
COLOURS = {"cleaned-uncleaned": "#0072b2", "cleaned-random_drop": "#e69f00"}
LETTERS = 26  # of a line of a caption above its column


def plot_generators(metrics: pd.DataFrame) -> Figure:
    """Draw what cleaning changed: differences per measure on the left, relative changes beside published ones.

    Args:
        metrics: from ``compare-cleaned``.
    """
    there = [name for name in MEASURES if (metrics["metric"] == name).any()]
    widths = [*[1.0] * len(there), 1.6]
    figure, axes = plt.subplots(
        1, len(widths), figsize=(2.3 * sum(widths), 3.2), gridspec_kw={"width_ratios": widths}
    )
    for ax, name in zip(axes, there, strict=False):
        rows = metrics[metrics["metric"] == name]
        for place, (arm, colour) in enumerate(COLOURS.items()):
            _whisker(ax, place, rows[rows["arm"] == arm].iloc[0], colour)
        for known in PUBLISHED[PUBLISHED["metric"] == name].itertuples():
            ax.plot(0.25, known.value, "D", mfc="none", color="#767676")
        ax.axhline(0, color="#4d4d4d", lw=1)
        ax.set_xticks(
            range(len(COLOURS)), [arm.removeprefix("cleaned-").replace("_", "\n") for arm in COLOURS]
        )
        ax.tick_params(labelsize=8)
        ax.set(xlim=(-0.6, len(COLOURS) - 0.4))
        ax.set_title(textwrap.fill(MEASURES[name], 20), fontsize=9)
    axes[0].set_ylabel("cleaned minus …")
    _plot_changes(axes[-1], metrics)
    return figure


def _whisker(ax: plt.Axes, place: float, row: pd.Series, colour: str) -> None:
    if pd.notna(row["low"]):
        ax.vlines(place, row["low"], row["high"], color=colour, lw=2)
    ax.plot(place, row["value"], "o", color=colour)


def _plot_changes(ax: plt.Axes, metrics: pd.DataFrame) -> None:
    for place, name in enumerate(CHANGES):
        for shift, (arm, colour) in zip((-0.15, 0.0), COLOURS.items(), strict=True):
            rows = metrics[(metrics["metric"] == name) & (metrics["arm"] == arm)]
            if len(rows):
                _whisker(ax, place + shift, rows.iloc[0], colour)
        known = PUBLISHED[PUBLISHED["metric"] == name]
        ax.plot([place + 0.25] * len(known), known["value"], "D", mfc="none", color="#767676")
        for _, other in known.iterrows():
            ax.annotate(other["change"], (place + 0.32, other["value"]), fontsize=7, va="center")
    ax.axhline(0, color="#4d4d4d", lw=1)
    ax.set_xticks(range(len(CHANGES)), [name.replace(" ", "\n") for name in CHANGES.values()])
    ax.tick_params(labelsize=8)
    ax.set(xlim=(-0.5, len(CHANGES) - 0.1))
    ax.set_title("relative change\n(hollow: published)", fontsize=9)


def plot_planted(metrics: pd.DataFrame) -> Figure:
    """Draw how well planted errors are found, by their share: the filter's AUC, and what was removed.

    Args:
        metrics: from ``clean-captions``.
    """
    rows = metrics[metrics["regime"].str.fullmatch(r"planted=\d+%")]
    rows = rows.assign(rate=rows["regime"].str.extract(r"(\d+)%")[0].astype(float))
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.2))
    _curve(left, rows[rows["metric"] == "cleaning_auc"], "#0072b2", "score of the filter")
    left.axhline(0.5, color="#8c8c8c", lw=1, ls="--")
    for arm, colour in (("wrong", "#d55e00"), ("right", "#009e73")):
        _curve(
            right, rows[(rows["metric"] == "removed_share") & (rows["arm"] == arm)], colour, f"{arm} captions"
        )
    left.set(xlabel="captions made wrong, %", ylabel="AUC, right over wrong")
    right.set(xlabel="captions made wrong, %", ylabel="share not kept as it was", ylim=(-0.03, 1.03))
    right.legend(fontsize=9)
    return figure


def _curve(ax: plt.Axes, rows: pd.DataFrame, colour: str, name: str) -> None:
    rows = rows.sort_values("rate")
    value = rows["value"].to_numpy(float)
    spans = np.abs(rows[["low", "high"]].to_numpy(float).T - value)
    ax.errorbar(rows["rate"], value, spans, marker="o", capsize=3, color=colour, label=name)


def scene_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the cleaning ratio per scene type and share of planted errors: what was not kept of each.

    Args:
        metrics: from ``clean-captions``.

    Returns:
        columns planted, scenes, captions (wrong or right), removed, n and auc, the filter's of that scene type.
    """
    rows = metrics[metrics["regime"].str.contains(";scenes=")]
    text = [interval(row, digits=2) for _, row in rows.iterrows()]
    rows = rows.assign(
        text=text, **rows["regime"].str.extract(r"planted=(?P<planted>[^;]+);scenes=(?P<scenes>.+)")
    )
    removed = rows[rows["metric"] == "removed_share"].rename(columns={"arm": "captions", "text": "removed"})
    auc = rows[rows["metric"] == "cleaning_auc"].rename(columns={"text": "auc"})[["planted", "scenes", "auc"]]
    table = removed.merge(auc, on=["planted", "scenes"], how="left").fillna({"auc": "–"})
    return table[["planted", "scenes", "captions", "removed", "n", "auc"]]


def judge_table(metrics: pd.DataFrame, planted: str) -> pd.DataFrame:
    """Return what cleaning changed in the eyes of judges that were not the filter, and whether that is shown.

    Args:
        metrics: from ``clean-captions``; planted: share of planted errors, e.g. ``25%``.

    Returns:
        columns judge, against, change (with its interval) and shown.
    """
    at = metrics["regime"].str.fullmatch(rf"planted={re.escape(planted)}(;.*)?")
    rows = metrics[at & metrics["metric"].isin(JUDGES)]
    return pd.DataFrame(
        {
            "judge": rows["metric"].map(JUDGES),
            "against": rows["arm"].str.removeprefix("cleaned-").str.replace("_", " "),
            "change": [interval(row, sign=True) for _, row in rows.iterrows()],
            "shown": [change_words(row) for _, row in rows.iterrows()],
        }
    ).reset_index(drop=True)


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
