"""Figures of stage 04: where image, map and label agree, and by how much."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES, NO_LABEL, colour_map
from groundsynth.report.style import legend_handles, system_colour
from groundsynth.report.tables import interval

RANKS = {"worst": 0.0, "median": 0.5, "best": 1.0}


def rank_chips(agreement: pd.DataFrame, system: str) -> pd.DataFrame:
    """Return the worst, median and best chip of a system by agreement (column ``rank`` says which).

    Raises:
        GroundsynthError: the system has no chip that came with a map.
    """
    chips = agreement[agreement["system"] == system].dropna(subset="agreement")
    if not len(chips):
        raise GroundsynthError(f"system '{system}' has no chip with a map to agree with; leave it out here")
    ordered = chips.sort_values(["agreement", "chip_id"])
    rows = [round(share * (len(ordered) - 1)) for share in RANKS.values()]
    return ordered.iloc[rows].assign(rank=list(RANKS))


def agreement_panel(agreement: pd.DataFrame, chips: pd.DataFrame, labels: pd.DataFrame) -> Figure:
    """Draw image, given map, label and disagreement of the worst, median and best chip per system.

    Args:
        agreement: table 'agreement'.
        chips: chip_id, system, image, mask.
        labels: chip_id, mask (the labeller's), trust.
    """
    systems = agreement.dropna(subset="agreement")["system"].unique()
    picked = pd.concat([rank_chips(agreement, system) for system in systems])
    chip, label = chips.set_index("chip_id"), labels.set_index("chip_id")
    figure, axes = plt.subplots(len(picked), 5, figsize=(9.5, 1.85 * len(picked)), squeeze=False)
    for row, chosen in zip(axes, picked.itertuples(), strict=True):
        given, named = chip.loc[chosen.chip_id, "mask"], label.loc[chosen.chip_id, "mask"]
        _panel_row(row, chip.loc[chosen.chip_id, "image"], given, named, label.loc[chosen.chip_id, "trust"])
        row[0].set_ylabel(f"{chosen.system}\n{chosen.rank}: {chosen.agreement:.0%}", fontsize=9)
    for axis, title in zip(axes[0], ("image", "map", "label", "disagree", "trust"), strict=True):
        axis.set_title(title)
    figure.legend(handles=legend_handles(no_label=True), loc="outside lower center", ncols=4, fontsize=9)
    return figure


def _panel_row(
    row: np.ndarray, image: np.ndarray, given: np.ndarray, named: np.ndarray, trust: np.ndarray
) -> None:
    differs = np.where(
        given == NO_LABEL, 0.5, given == named
    )  # black: differs, white: agrees, grey: no label
    row[0].imshow(image)
    row[1].imshow(colour_map(given), interpolation="nearest")
    row[2].imshow(colour_map(named), interpolation="nearest")
    row[3].imshow(differs, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    row[4].imshow(trust, cmap="viridis", vmin=0, vmax=255, interpolation="nearest")
    for axis in row:
        axis.set(xticks=[], yticks=[])
        axis.grid(visible=False)


def class_agreement(metrics: pd.DataFrame) -> Figure:
    """Draw the labeller's IoU per class, on real validation chips and against each system's maps.

    Args:
        metrics: stage 04's rows of the one table of numbers.
    """
    real = metrics.query("metric == 'labeller_iou' and regime == 'split=val'")
    rows = pd.concat([real, metrics.query("metric == 'map_iou'")])
    systems = list(dict.fromkeys(rows["system"]))
    figure, axis = plt.subplots(figsize=(9, 4))
    for k, system in enumerate(systems):
        part = rows[rows["system"] == system].set_index("class").reindex(CLASSES)
        x = np.arange(len(CLASSES)) + (k - (len(systems) - 1) / 2) * 0.8 / len(systems)
        reach = np.abs(np.stack([part["value"] - part["low"], part["high"] - part["value"]]).astype(float))
        axis.bar(x, part["value"], 0.75 / len(systems), color=system_colour(system), label=system)
        axis.errorbar(x, part["value"], yerr=reach, fmt="none", ecolor="#222222", elinewidth=1, capsize=2)
    axis.set_xticks(range(len(CLASSES)), CLASSES)
    axis.set(ylabel="IoU of label and map", ylim=(0, 1), title="Agreement per class")
    axis.grid(axis="x", visible=False)
    axis.legend()
    return figure


def agreement_spread(own: pd.DataFrame, swapped: pd.DataFrame) -> Figure:
    """Draw the distribution of agreement per chip, beside that with maps swapped between chips."""
    both = pd.concat([own.assign(map="its own map"), swapped.assign(map="another chip's map")])
    both = both.dropna(subset="agreement")
    figure, axis = plt.subplots(figsize=(8, 3.8))
    sns.boxplot(
        both, x="system", y="agreement", hue="map", palette=["#0072b2", "#c8c8c8"], fliersize=2, ax=axis
    )
    axis.set(xlabel="", ylabel="agreeing share of pixels", ylim=(0, 1), title="Does swapping the map show?")
    axis.get_legend().remove()
    figure.legend(loc="outside lower center", ncols=2, title="labelled against")
    return figure


def labeller_curve(history: pd.DataFrame) -> Figure:
    """Draw training loss and validation mIoU of the labeller against the step, and the kept checkpoint."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
    left.plot(history["step"], history["loss"], color="#4d4d4d", marker="o", ms=3)
    left.set(xlabel="step", ylabel="loss", title="Training loss (cross-entropy + Dice)")
    right.plot(history["step"], history["val_score"], color=system_colour("real"), marker="o", ms=3)
    best = history.loc[history["val_score"].idxmax()]
    right.axvline(best["step"], color="#d55e00", ls="--", label=f"kept: step {best['step']:.0f}")
    right.set(xlabel="step", ylabel="mIoU, primary classes", title="Validation", ylim=(0, None))
    right.legend()
    return figure


def label_findings(metrics: pd.DataFrame) -> str:
    """Return stage 04's findings as Markdown, every number read from its metrics."""
    real = metrics.query("metric == 'labeller_miou'").set_index("regime")
    lines = [
        f"- On real {split} chips the labeller reaches a primary mIoU of {interval(real.loc[f'split={split}'])} "
        f"({real.loc[f'split={split}', 'n']} blocks)."
        for split in ("val", "test")
    ]
    own = metrics.query("metric == 'mask_obedience_ratio'").set_index("system")
    swapped = metrics.query("metric == 'mask_obedience_swapped'").set_index("system")
    lines += [
        f"- `{system}`: mask obedience {interval(row)}; with maps swapped between chips "
        f"{interval(swapped.loc[system])} (n = {row['n']} chips)."
        for system, row in own.iterrows()
    ]
    return "\n".join(lines)
