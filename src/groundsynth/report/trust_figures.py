"""Figures of stage 04 on trust: is the labeller as right as sure, and does a filter find wrong labels?"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from groundsynth.checks.calibration import BINS
from groundsynth.checks.label_corruption import CORRUPTIONS, DRAWS, SHARES, curve
from groundsynth.checks.label_filters import PIXEL_FILTERS
from groundsynth.checks.three_readings import PATTERNS
from groundsynth.legend import CLASSES, colour_map
from groundsynth.report.label_figures import rank_chips
from groundsynth.report.style import CLASS_COLOURS, legend_handles
from groundsynth.report.tables import interval

FILTER_COLOURS = dict(zip(PIXEL_FILTERS, ("#0072b2", "#d55e00", "#009e73"), strict=True))
PATTERN_COLOURS = dict(zip(PATTERNS, ("#bbbbbb", "#0072b2", "#cc79a7", "#d55e00", "#333333"), strict=True))
FILTER_MARKS = dict(zip(PIXEL_FILTERS, "osD", strict=True))
LEAST_SHARE = 0.001  # of the pixels, for a bin to be drawn


def reliability_diagram(before: np.ndarray, after: np.ndarray, metrics: pd.DataFrame, split: str) -> Figure:
    """Draw the share of right labels against confidence, before and after scaling, and the error per class.

    Args:
        before, after: (blocks, 7, bins, 3) counts of ``checks.calibration.reliability``.
        metrics: rows ``ece_before`` and ``ece_after``; split: the one to show.
    """
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.8), width_ratios=(1, 1, 1.25))
    for axis, counts, title in zip(axes, (before, after), ("As it is", "Temperature scaled"), strict=False):
        pixels, sure, right = counts.sum((0, 1)).T
        drawn = pixels > LEAST_SHARE * pixels.sum()
        edges = np.arange(BINS)[drawn] / BINS
        axis.bar(edges, right[drawn] / pixels[drawn], 1 / BINS, align="edge", color="#a6c8e0", ec="white")
        axis.plot([0, 1], [0, 1], color="#4d4d4d", ls="--", lw=1)
        axis.plot(sure[drawn] / pixels[drawn], right[drawn] / pixels[drawn], "o-", color="#0072b2", ms=4)
        axis.step(np.arange(BINS + 1) / BINS, np.append(pixels, pixels[-1]) / pixels.sum(), where="post",
                  color="#d55e00", lw=1)  # fmt: skip
        axis.set(xlabel="confidence", ylabel="share right", xlim=(0, 1), ylim=(0, 1), title=title)
    _class_errors(axes[2], metrics[metrics["regime"] == f"split={split}"])
    return figure


def reliability_caption(counts: np.ndarray, temperature: float) -> str:
    """Return the caption of :func:`reliability_diagram`; ``counts`` are those before scaling."""
    return (
        "Share of labels that agree with the reference, by confidence, before and after temperature scaling "
        f"(T = {temperature:.2f}, fitted on validation), and calibration error over all pixels and per "
        "named class "
        f"with 95 % intervals over {len(counts)} test blocks; n = {counts[..., 0].sum():,.0f} pixels. "
        "Orange line: "
        "share of the pixels; bins with under a thousandth of them are not drawn."
    )


def _class_errors(axis: plt.Axes, rows: pd.DataFrame) -> None:
    names = ["", *(name for name in CLASSES if name in set(rows["class"]))]
    for metric, shift, mark in (("ece_before", 0.15, "o"), ("ece_after", -0.15, "D")):
        part = rows[rows["metric"] == metric].set_index("class").reindex(names)
        y = -np.arange(len(names)) + shift
        axis.hlines(y, part["low"], part["high"], color="#8c8c8c", lw=1.5)
        colours = ["#222222", *(CLASS_COLOURS[CLASSES.index(name)] for name in names[1:])]
        axis.scatter(part["value"], y, c=colours, edgecolors="#222222", marker=mark, zorder=3)
    axis.set_yticks(-np.arange(len(names)), ["all pixels", *(f"named {name}" for name in names[1:])])
    axis.set(xlabel="calibration error", xlim=(0, None), title="Before (○) and after (◇)")


def filter_curves(ranked: dict, metrics: pd.DataFrame, share: float = 0.1) -> Figure:
    """Draw precision against recall of dropped pixels per corruption, and the lift at every share.

    Args:
        ranked: counts by (corruption, filter, share), from ``label_corruption.try_filters``.
        metrics: rows ``filter_pr_lift``, ``filter_precision`` and ``filter_recall``; share: of the curves.
    """
    figure, axes = plt.subplots(2, len(CORRUPTIONS), figsize=(3.4 * len(CORRUPTIONS), 6.6), sharey="row")
    rows = metrics.set_index(["metric", "arm", "regime"])
    for (top, below), corruption in zip(axes.T, CORRUPTIONS, strict=True):
        for name, colour in FILTER_COLOURS.items():
            if (corruption, name, share) not in ranked:
                continue  # these maps do not allow it
            precision, recall = curve(ranked[corruption, name, share].sum(0))
            top.plot(recall, precision, color=colour)
            at = (corruption, f"filter={name};share={share:g}")
            place = [rows.loc[(metric, *at), "value"] for metric in ("filter_recall", "filter_precision")]
            top.plot(*place, FILTER_MARKS[name], color=colour, mec="#222222", ms=8)
            _lifts(below, rows.loc["filter_pr_lift"].loc[corruption], name, colour)
        top.axhline(share, color="#8c8c8c", ls=":")
        top.set(
            title=corruption.replace("_", " "), xlabel="share of wrong pixels found", xlim=(0, 1), ylim=(0, 1)
        )
        shares = np.linspace(min(SHARES), max(SHARES), 50)
        below.plot(shares, 1 / shares, color="#4d4d4d", ls="--", lw=1)
        below.axhline(1, color="#8c8c8c", ls=":")
        below.set(xlabel="share of pixels made wrong", xticks=SHARES, ylim=(0, None), xlim=(0.03, 0.22))
    axes[0, 0].set_ylabel(f"precision at {share:.0%} wrong")
    axes[1, 0].set_ylabel("lift: area over prevalence")
    handles = [Line2D([], [], color=colour, label=name) for name, colour in FILTER_COLOURS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _lifts(axis: plt.Axes, rows: pd.DataFrame, name: str, colour: str) -> None:
    for share in SHARES:
        if f"filter={name};share={share:g}" not in rows.index:
            continue
        row = rows.loc[f"filter={name};share={share:g}"]
        x = share + 0.004 * (list(FILTER_COLOURS).index(name) - 1)
        if pd.notna(row["low"]):
            axis.plot([x, x], [row["low"], row["high"]], color=colour, lw=1.5)
        axis.plot(x, row["value"], FILTER_MARKS[name], color=colour, ms=6)


def filter_caption(tried: pd.DataFrame, blocks: int, chips: int) -> str:
    """Return the caption of :func:`filter_curves`; ``tried`` is the table of ``try_filters``."""
    untouched = tried[tried["share"] == 0]
    drops = ", ".join(f"{row.filter} {row.dropped / row.pixels:.0%}" for row in untouched.itertuples())
    return (
        "Above: precision against recall of dropped pixels when a tenth of the labels is wrong, and "
        "(marks) each "
        f"filter at its threshold. Below: area over prevalence at 5, 10 and 20 %, {DRAWS} draws together, "
        "with 95 % "
        f"intervals over {blocks} validation blocks ({chips} chips); dotted: chance, dashed: the most "
        "possible. Of untouched labels "
        f"are dropped: {drops}; the map's own errors are among them and count as false alarms in the curves."
    )


def panel_chips(
    agreement: pd.DataFrame, chips: pd.DataFrame, labels: pd.DataFrame
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the worst, median and best chip per system with their labels, and their places in ``chips``."""
    systems = agreement.dropna(subset="agreement")["system"].unique()
    picked = pd.concat([rank_chips(agreement, system) for system in systems])["chip_id"]
    at = pd.Index(chips["chip_id"]).get_indexer(picked)
    return chips.iloc[at].assign(label=labels["mask"].iloc[at]), at


def filter_panel(chips: pd.DataFrame, filtered: dict[str, pd.DataFrame]) -> Figure:
    """Draw image, map, label and each filter's map of a few chips; what a filter drops is black.

    Args:
        chips: columns system, image, mask, label; filtered: by filter's name, column mask, same order.
    """
    titles = ["image", "map", "label", *filtered]
    figure, axes = plt.subplots(
        len(chips), len(titles), figsize=(1.9 * len(titles), 1.85 * len(chips)), squeeze=False
    )
    for row, (line, chip) in zip(axes, enumerate(chips.itertuples()), strict=True):
        maps = [chip.mask, chip.label, *(table["mask"].iloc[line] for table in filtered.values())]
        row[0].imshow(chip.image)
        for axis, values in zip(row[1:], maps, strict=True):
            axis.imshow(colour_map(values), interpolation="nearest")
        row[0].set_ylabel(chip.system, fontsize=9)
        for axis in row:
            axis.set(xticks=[], yticks=[])
            axis.grid(visible=False)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title)
    figure.legend(handles=legend_handles(no_label=True), loc="outside lower center", ncols=4, fontsize=9)
    return figure


def trust_findings(metrics: pd.DataFrame) -> str:
    """Return what calibration and the filter test found as Markdown, every number read from the metrics."""
    lines = []
    for split in ("val", "test"):
        rows = metrics[(metrics["regime"] == f"split={split}") & (metrics["class"] == "")].set_index("metric")
        lines.append(
            f"- Calibration error on real {split} chips: {interval(rows.loc['ece_before'])} as it is, "
            f"{interval(rows.loc['ece_after'])} after scaling ({rows.loc['ece_after', 'n']} blocks)."
        )
    lifts = metrics[metrics["metric"] == "filter_pr_lift"]
    for corruption in CORRUPTIONS:
        part = lifts[(lifts["arm"] == corruption) & lifts["regime"].str.endswith(";share=0.1")]
        names = part["regime"].str.extract(r"filter=(\w+)")[0]
        told = [f"{interval(row)} ({name})" for name, (_, row) in zip(names, part.iterrows(), strict=True)]
        if not told:
            continue
        lines.append(f"- Lift on {corruption.replace('_', ' ')} at 10 %: {', '.join(told)}; 10 is the most.")
    untouched = metrics[(metrics["metric"] == "filter_dropped") & (metrics["arm"] == "none")]
    told = [
        f"{row['value']:.0%} ({row['regime'].split('=')[1].split(';')[0]})" for _, row in untouched.iterrows()
    ]
    lines.append(
        f"- Of untouched real labels the filters drop {', '.join(told)}: false alarms and map errors."
    )
    return "\n".join(lines)


def pattern_bars(rows: pd.DataFrame) -> Figure:
    """Draw, per system, the shares of pixels by who agrees with whom (rows ``agreement_pattern``)."""
    shares = rows[rows["metric"] == "agreement_pattern"].pivot_table("value", "system", "arm", sort=False)
    figure, axis = plt.subplots(figsize=(8, 0.6 * len(shares) + 1.6), layout="constrained")
    left = np.zeros(len(shares))
    for pattern in PATTERNS:
        values = shares[pattern].to_numpy()
        axis.barh(
            list(shares.index), values, left=left, color=PATTERN_COLOURS[pattern], label=pattern, height=0.6
        )
        for row, (start, value) in enumerate(zip(left, values, strict=True)):
            if value > 0.04:  # wide enough for its number
                dark = pattern in ("all agree", "map alone", "generator alone")
                colour = "black" if dark else "white"
                axis.text(
                    start + value / 2, row, f"{value:.0%}", ha="center", va="center", color=colour, fontsize=9
                )
        left += values
    axis.invert_yaxis()
    axis.set(xlabel="share of labelled pixels", xlim=(0, 1))
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=len(PATTERNS))
    return figure


def pattern_caption(rows: pd.DataFrame, draws: int) -> str:
    """Return the caption of :func:`pattern_bars`, with the kappas behind it."""
    n = rows[rows["metric"] == "agreement_pattern"].groupby("system", sort=False)["n"].first()
    kappas = rows[rows["metric"] == "three_way_kappa"]
    told = "; ".join(
        f"{system}: " + ", ".join(f"{row['arm']} {interval(row, digits=2)}" for _, row in group.iterrows())
        for system, group in kappas.groupby("system", sort=False)
    )
    return (
        "Who agrees with whom on the class of a pixel: the map a chip came with, the labeller, and the generator's own "
        f"reading of the image (a vote of {draws}); mean over n = {', '.join(f'{s} {k}' for s, k in n.items())} chips. "
        f"The generator is no independent judge. Kappa with 95 % intervals over chips: {told}."
    )
