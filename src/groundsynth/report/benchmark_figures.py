"""Figures of stage 07, drawn from its small tables (and, for the panel, the maps of a few chips)."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from groundsynth.arm_names import SELF_TRAINING, arm_parts
from groundsynth.benchmark.arms import REFERENCE
from groundsynth.legend import CLASSES, colour_map
from groundsynth.report.style import legend_handles, system_colour
from groundsynth.report.tables import interval, pick, reading

MARKS = {"real": "s", "synthetic": "o", "mixed": "D"}
LEAST_SPAN = 0.05  # of an axis of IoU: smaller differences shall not look large
FEW_ROWS = 16  # with more arms than these, rows move closer
SHAPES = "DPXv^<>p*h"  # of arms that share a colour
PARTS = {
    "delta_interior_miou": "interior mIoU",
    "delta_boundary_miou": "border mIoU",
    "delta_class_precision": "precision",
    "delta_class_recall": "recall",
    "delta_ece": "calibration error",
}


def arm_kind(arm: str) -> str:
    """Return ``real`` (no synthetic chip), ``synthetic`` (no real one) or ``mixed``.

    >>> [arm_kind(arm) for arm in ("real+joint", "bridge:mask", "real@2", "real+cutmix", "synthetic:all")]
    ['mixed', 'mixed', 'real', 'real', 'synthetic']
    """
    parts = arm_parts(arm)
    if parts["system"] in ("", SELF_TRAINING):
        return "real"
    return "synthetic" if parts["kind"] == "synthetic:" else "mixed"


def delta_forest(metrics: pd.DataFrame) -> Figure:
    """Draw each arm's difference to ``real`` in primary mIoU with its 95 % interval.

    Args:
        metrics: rows of the one table of numbers; those of metric ``delta_miou`` are drawn.
    """
    rows = metrics[metrics["metric"] == "delta_miou"].iloc[::-1].reset_index(drop=True)
    figure, axis = plt.subplots(figsize=(8, row_height(len(rows)) * len(rows) + 1.6))
    for y, row in rows.iterrows():
        colour = system_colour(row["arm"])
        if pd.notna(row["low"]):
            axis.plot([100 * row["low"], 100 * row["high"]], [y, y], color=colour, lw=2)
        axis.plot(100 * row["value"], y, MARKS[arm_kind(row["arm"])], color=colour, ms=7)
    axis.axvline(0, color="#4d4d4d", lw=1)
    axis.set(yticks=range(len(rows)), yticklabels=rows["arm"], xlabel="difference to real, mIoU points")
    axis.set_ylim(-0.6, len(rows) - 0.4)
    axis.set_title("What each training set is worth, against real chips alone")
    return figure


def seed_dots(scores: pd.DataFrame, ground: str = "test") -> Figure:
    """Draw mIoU per arm: one dot per seed, a bar at their mean.

    Args:
        scores: columns arm, seed, miou; ground: what the chips are for, ``test`` or ``validation``.
    """
    arms = list(dict.fromkeys(scores["arm"]))
    figure, axis = plt.subplots(figsize=(8, row_height(len(arms)) * len(arms) + 1.6))
    for y, arm in enumerate(reversed(arms)):
        values = scores.loc[scores["arm"] == arm, "miou"]
        axis.plot(values, [y] * len(values), "o", color=system_colour(arm), ms=6, alpha=0.75)
        axis.plot([values.mean()] * 2, [y - 0.3, y + 0.3], color="#222222", lw=2)
    axis.set(yticks=range(len(arms)), yticklabels=arms[::-1], xlabel=f"{ground} mIoU, primary classes")
    axis.set_title("Every seed is a dot")
    return figure


def iou_by_frequency(scores: pd.DataFrame, ground: str = "test") -> Figure:
    """Draw IoU per class and arm: a panel per class, from rare to common, and a row per arm.

    Marks are means over seeds, lines run from the lowest to the highest seed; the upright line is the arm ``real``.

    Args:
        scores: columns arm, seed, class, iou, share; classes absent from the split are left out.
        ground: what the chips are for, ``test`` or ``validation``.
    """
    present = scores[scores["share"] > 0].sort_values("share", kind="stable")
    share = present.groupby("class", sort=False)["share"].first()
    arms = list(dict.fromkeys(scores["arm"]))[::-1]
    figure, axes = plt.subplots(
        1, len(share), figsize=(2 + 1.5 * len(share), 1.6 + row_height(len(arms)) * len(arms)), sharey=True, squeeze=False
    )  # fmt: skip
    for axis, (k, part) in zip(axes[0], share.items(), strict=True):
        by_arm = present[present["class"] == k].groupby("arm")["iou"].agg(["mean", "min", "max"]).loc[arms]
        for y, (arm, row) in enumerate(by_arm.iterrows()):
            colour = system_colour(arm)
            axis.plot([row["min"], row["max"]], [y, y], color=colour, lw=1.5)
            axis.plot(row["mean"], y, MARKS[arm_kind(arm)], color=colour, ms=5)
        axis.axvline(by_arm.loc[REFERENCE, "mean"], color="#4d4d4d", lw=1)
        low, span = by_arm["min"].min(), max(by_arm["max"].max() - by_arm["min"].min(), LEAST_SPAN)
        axis.set_xlim(low - 0.1 * span, low + 1.1 * span)
        axis.set_title(f"{CLASSES[k]}\n{part:.1%}", fontsize=10)
        axis.locator_params(axis="x", nbins=3)
        axis.xaxis.set_major_formatter("{x:.2f}")
    axes[0, 0].set_yticks(range(len(arms)), arms, fontsize=9)
    axes[0, 0].set_ylim(-0.6, len(arms) - 0.4)
    figure.supxlabel(f"IoU; below each class its share of the labelled {ground} pixels", fontsize=11)
    return figure


def row_height(rows: int) -> float:
    """Return the inches of a row of a figure with a row per arm: less where there are many."""
    return 0.45 if rows <= FEW_ROWS else 0.26


def learning_curves(history: pd.DataFrame) -> Figure:
    """Draw validation mIoU against the step, a panel per arm: mean over seeds, band from lowest to highest.

    The arm ``real`` is drawn in every panel, in grey.
    """
    curves = {
        arm: group.groupby("step")["val_miou"].agg(["mean", "min", "max"])
        for arm, group in history.groupby("arm", sort=False)
    }
    arms = [arm for arm in curves if arm != REFERENCE] or [REFERENCE]
    columns = min(len(arms), 5)
    rows = -(-len(arms) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(2.3 * columns + 0.6, 1.5 * rows + 0.8), sharex=True, sharey=True, squeeze=False
    )  # fmt: skip
    for axis, arm in zip(axes.flat, arms, strict=False):
        for name in dict.fromkeys((REFERENCE, arm)):
            curve, colour = curves[name], "#8c8c8c" if name == REFERENCE else _line_colour(name)
            axis.plot(curve.index, curve["mean"], color=colour, lw=1.5)
            axis.fill_between(curve.index, curve["min"], curve["max"], color=colour, alpha=0.2, lw=0)
        axis.set_title(arm, fontsize=9)
    for axis in axes.flat[len(arms) :]:
        axis.set_visible(False)
    figure.supxlabel("optimiser step (grey: real)", fontsize=11)
    figure.supylabel("validation mIoU", fontsize=11)
    return figure


def _line_colour(arm: str) -> str:
    """Return an arm's colour where the reference is grey: black for other recipes of real chips alone."""
    return "#000000" if arm_parts(arm)["system"] == "" else system_colour(arm)


def prediction_panel(
    images: np.ndarray, truth: np.ndarray, labels: dict[str, np.ndarray], titles: list[str]
) -> Figure:
    """Draw a few chips with the reference map and every arm's labels.

    Args:
        images: (n, h, w, 3) uint8.
        truth: (n, h, w) uint8, 255 = no label.
        labels: arm to (n, h, w) uint8.
        titles: n row titles, such as the rank that chose the chip.
    """
    columns = ["image", "reference", *labels]
    figure, axes = plt.subplots(
        len(images), len(columns), figsize=(1.5 * len(columns), 1.7 * len(images) + 0.6), squeeze=False
    )
    for i, row in enumerate(axes):
        pictures = [images[i], colour_map(truth[i]), *(colour_map(maps[i]) for maps in labels.values())]
        for axis, picture in zip(row, pictures, strict=True):
            axis.imshow(picture, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.grid(visible=False)
        row[0].set_ylabel(titles[i], fontsize=9)
    for axis, title in zip(axes[0], columns, strict=True):
        axis.set_title(title.replace("synthetic:", "synthetic:\n"), fontsize=9, loc="center")
    figure.legend(handles=legend_handles(no_label=True), loc="outside lower center", ncols=4, fontsize=9)
    return figure


def ranked_rows(ranking: pd.Series) -> dict[str, str]:
    """Return the chips at the 5th, 50th and 95th percentile of a ranking (worst first): title to chip_id."""
    places = {"hard": 0.05, "typical": 0.5, "easy": 0.95}
    picked = {name: ranking.index[round(share * (len(ranking) - 1))] for name, share in places.items()}
    return {f"{name}\n{ranking[chip]:.0%} right": chip for name, chip in picked.items()}


def gain_parts(metrics: pd.DataFrame) -> Figure:
    """Draw each arm's difference to ``real`` within classes, at their borders, in precision, recall and calibration.

    Args:
        metrics: rows of one regime; those of ``PARTS`` are drawn with their 95 % intervals.
    """
    arms = list(dict.fromkeys(pick(metrics, "delta_boundary_miou")["arm"]))[::-1]
    figure, axes = plt.subplots(
        1, len(PARTS), figsize=(2.6 * len(PARTS), row_height(len(arms)) * len(arms) + 1.8), sharey=True
    )
    for axis, (metric, title) in zip(axes, PARTS.items(), strict=True):
        for _, row in pick(metrics, metric).iterrows():
            y, colour = arms.index(row["arm"]), system_colour(row["arm"])
            axis.plot([100 * row["low"], 100 * row["high"]], [y, y], color=colour, lw=2)
            axis.plot(100 * row["value"], y, MARKS[arm_kind(row["arm"])], color=colour, ms=6)
        axis.axvline(0, color="#4d4d4d", lw=1)
        axis.set_title(title, fontsize=10)
    axes[0].set_yticks(range(len(arms)), arms)
    axes[0].set_ylim(-0.6, len(arms) - 0.4)
    figure.supxlabel("difference to real, points", fontsize=11)
    return figure


def gain_by_frequency(gains: pd.DataFrame) -> Figure:
    """Draw each arm's difference in IoU per class, classes ordered by their share of the training pixels.

    Args:
        gains: columns arm, class, gain, share.
    """
    gains = gains.sort_values("share", kind="stable")
    share = gains.groupby("class", sort=False)["share"].first()
    arms = list(dict.fromkeys(gains["arm"]))
    figure, axis = plt.subplots(figsize=(8.5, 4))
    for k, arm in enumerate(arms):
        gain = gains[gains["arm"] == arm].set_index("class")["gain"].reindex(share.index)
        colour = system_colour(arm)
        shape = SHAPES[[system_colour(other) for other in arms[:k]].count(colour) % len(SHAPES)]
        axis.plot(range(len(share)), 100 * gain, shape, ls="-", lw=0.8, ms=6, color=colour, label=arm)
    axis.axhline(0, color="#4d4d4d", lw=1)
    axis.set_xticks(range(len(share)), [f"{CLASSES[k]}\n{part:.1%}" for k, part in share.items()])
    axis.set(xlabel="share of the labelled training pixels", ylabel="difference in IoU, points")
    axis.set_title("Gains, from rare classes to common ones")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9)
    return figure


def bias_map(metrics: pd.DataFrame) -> Figure:
    """Draw how much more (red) or less (blue) ground each arm gives each class than the reference map does.

    Args:
        metrics: rows of one regime; those of ``share_bias_pp`` are drawn.
    """
    rows = pick(metrics, "share_bias_pp")
    table = rows.pivot_table(index="arm", columns="class", values="value", sort=False)[list(CLASSES)]
    most = max(float(np.abs(table.to_numpy()).max()), 0.1)
    figure, axis = plt.subplots(figsize=(9, 0.4 * len(table) + 1.6))
    axis.imshow(table, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto")
    for (i, j), value in np.ndenumerate(table.to_numpy()):
        axis.text(j, i, f"{value:+.1f}".replace("-", "−"), ha="center", va="center", fontsize=9,
                  color="white" if abs(value) > 0.6 * most else "#222")  # fmt: skip
    axis.set_xticks(range(len(CLASSES)), CLASSES)
    axis.set_yticks(range(len(table)), table.index)
    axis.grid(visible=False)
    axis.set_title("Named minus true share, percentage points")
    return figure


def changed_titles(change: pd.Series) -> list[str]:
    """Return row titles for chips by how their pixel accuracy changes, e.g. ``+12 points``."""
    return [f"{100 * value:+.0f} points".replace("-", "−") for value in change]


def benchmark_findings(metrics: pd.DataFrame, ground: str = "test") -> str:
    """Return stage 07's findings as Markdown, every number read from its metrics.

    Args:
        metrics: rows of one regime; ground: what its chips are for, ``test`` or ``validation``.
    """
    real = pick(metrics, "miou", arm="real").iloc[0]
    lines = [
        f"- `real` alone: {ground} mIoU over the primary classes {interval(real)} (n = {real['n']} blocks)."
    ]
    for _, row in pick(metrics, "delta_miou").iterrows():
        reads = reading(row.to_frame().T)
        lines.append(f"- `{row['arm']}`: {interval(row, 100, 1, sign=True)} points against `real`: {reads}.")
    for _, row in pick(metrics, "gain_frequency_correlation").iterrows():
        if arm_kind(row["arm"]) == "mixed" and pd.notna(row["value"]):
            lines.append(
                f"- `{row['arm']}`: rank correlation of the gain with how common a class is {interval(row, 1, 2)} "
                f"({row['n']} classes; below 0, rare ones gain most)."
            )
    return "\n".join([*lines, "", "One fold and one generator: effects with intervals, **no verdict**."])
