"""The figure of the A/A test: how often nothing was taken for something, and how wide chance alone spreads."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from groundsynth.report.tables import interval, pick

COLOURS = {"study": "#0072b2", "percentile": "#d55e00", "t": "#009e73"}
NOMINAL = 0.05


def aa_figure(metrics: pd.DataFrame, behind: dict[str, pd.DataFrame]) -> Figure:
    """Draw false alarms by size of group and kind of interval, and every pseudo-comparison of the first kind.

    Args:
        metrics: rows of ``benchmark.false_alarms.aa_rows``; behind: its comparisons by regime.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), width_ratios=[1, 1.6])
    _rates(left, _tagged(metrics, "false_positive_rate"), _tagged(metrics, "planted_detection_rate"))
    name, table = next(iter(behind.items()))
    table = table.sort_values("value", ignore_index=True)
    colours = np.where(table["false_alarm"], "#d55e00", "#8c8c8c")
    right.vlines(table.index, 100 * table["low"], 100 * table["high"], colors=colours, linewidth=1)
    right.axhline(0, color="#333", linewidth=1)
    planted = planted_row(metrics)
    right.axhspan(100 * planted["low"], 100 * planted["high"], color="#009e73", alpha=0.2)
    right.axhline(100 * planted["value"], color="#009e73")
    right.set(
        title=f"Identical trainings, {name.rpartition('=')[2]} against {name.rpartition('=')[2]}",
        xlabel="pseudo-comparison, sorted", ylabel="difference in mIoU (points)",
    )  # fmt: skip
    right.grid(axis="x", visible=False)
    return figure


def planted_row(metrics: pd.DataFrame) -> pd.Series:
    """Return the row of all labels less a part of them, with the interval of published differences."""
    rows = pick(metrics, "planted_difference")
    return rows[rows["regime"].str.endswith(";interval=study")].iloc[0]


def part_words(planted: pd.Series) -> str:
    """Return how many of the labels the smaller arm has: ``half`` or, of another part, ``10 %``."""
    less = dict(part.split("=") for part in planted["regime"].split(";"))["against"]
    return less.rpartition(":")[2].replace("%", " %")


def _rates(axes: Axes, rates: pd.DataFrame, found: pd.DataFrame) -> None:
    names = []
    for place, row in rates.iterrows():
        bars = np.array([[row["value"] - row["low"]], [row["high"] - row["value"]]], float)
        axes.errorbar(place, row["value"], bars, fmt="o", color=COLOURS[row["interval"]], capsize=3)
        names.append(f"{row['group']} vs {row['group']}\n{row['interval']}")
    for _, row in found.iterrows():
        place = rates.index[(rates["group"] == row["group"]) & (rates["interval"] == row["interval"])][0]
        axes.plot(place, row["value"], "s", color="#009e73", markerfacecolor="white")
    axes.axhline(NOMINAL, color="#333", linestyle="--", linewidth=1)
    axes.set_xticks(range(len(names)), names, fontsize=9)
    axes.set(ylim=(-0.03, 1.03), ylabel="share of comparisons", title="Shown, though not there")
    axes.grid(axis="x", visible=False)


def _tagged(metrics: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the rows of a metric with what their regime says as columns."""
    rows = pick(metrics, metric)
    tags = [dict(part.split("=") for part in regime.split(";")) for regime in rows["regime"]]
    return rows.join(pd.DataFrame(tags, index=rows.index))


def aa_caption(metrics: pd.DataFrame, folds: int = 1) -> str:
    """Return what the figure shows, with the numbers; each run is a training in every one of so many folds."""
    rates = _tagged(metrics, "false_positive_rate")
    words = ", ".join(
        f"{row['group']} against {row['group']} ({row['interval']}) {interval(row, 100, 1)}"
        for _, row in rates.iterrows()
    )
    planted = planted_row(metrics)
    first, less = rates.iloc[0], part_words(planted)
    return (
        "False alarms of 95 % intervals (study: that of published differences; percentile: of resampled blocks and "
        f"seeds; t: Student's over seeds alone) among {first['n']} pseudo-comparisons of identical trainings "
        f"(arm {first['arm']}, {first['seeds']} seeds{f' in each of {folds} folds' if folds > 1 else ''}), in per cent: {words}; dashed: 5 %. Intervals of the rates: the "
        "wider of Wilson's and the jackknife's over runs, for comparisons share runs. Green squares: how often "
        f"{less} of the labelled blocks is told from all of them. Right: each comparison's interval, false alarms in "
        f"red; green: all labels less {less} of them, {interval(planted, 100, 1, sign=True)} points (n = "
        f"{planted['n']} blocks, {planted['seeds']} seeds)."
    )


def aa_findings(metrics: pd.DataFrame) -> str:
    """Return what follows, as one sentence: whether intervals keep their promise and whether missing labels are seen."""
    rates = _tagged(metrics, "false_positive_rate")
    lines = []
    for size, group in rates.groupby("group", sort=False):
        kinds = {kind: group[group["interval"] == kind].iloc[0] for kind in COLOURS}
        plain = kinds["study"]
        least = plain["value"] if pd.isna(plain["low"]) else plain["low"]
        kept = "keeps" if least <= NOMINAL else "does not keep"
        others = f"percentiles of resamples have {interval(kinds['percentile'], 100, 1)}"
        others += f", Student's over seeds alone {interval(kinds['t'], 100, 1)}"
        lines.append(
            f"With {size} seeds the interval of published differences {kept} its promise of 5 % false alarms: "
            f"{interval(plain, 100, 1)} per cent; {others}."
        )
    planted = planted_row(metrics)
    told = "are told from" if planted["low"] > 0 else "are not told from"
    lines.append(
        f"All labels {told} {part_words(planted)} of them: {interval(planted, 100, 1, sign=True)} points of mIoU with arm {planted['arm']}."
    )
    return " ".join(lines)
