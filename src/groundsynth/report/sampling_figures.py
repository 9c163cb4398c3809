"""Figures of the sampling curve: quality and speed-up against network evaluations, obedience against diversity."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from groundsynth.checks.sampling_curve import curve_of, pair_guided, stock_loop
from groundsynth.report.style import SYSTEM_COLOURS

SHIFT = 1.04  # between solvers, so that bars do not hide one another


def plot_sampling_curve(curve: pd.DataFrame, references: Sequence[str]) -> Figure:
    """Draw kernel distance (left) and speed-up over DDPM (right) against network evaluations per sample.

    DDPM itself appears on the left only if it drew as many samples as the others: distances of sets of
    different sizes do not compare.

    Args:
        curve: from :func:`groundsynth.checks.sampling_curve.measure_ways`.
        references: the yardsticks. The range of the first, without guidance, is the band; of a second, whose
            pairs are guided by their own maps, lines, and its curve has hollow marks.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.2), layout="constrained")
    points = curve.set_index("way")
    slow = stock_loop(curve)["work"].iloc[0]
    band = points.loc[references[0]]
    left.axhspan(band["low"], band["high"], color="#cccccc", alpha=0.5, linewidth=0)
    left.axhline(band["kid"], color="#8c8c8c", linewidth=1)
    left.axhline(points.loc["real", "kid"], color=SYSTEM_COLOURS["real"], linestyle="--", linewidth=1)
    for edge in [points.loc[name, end] for name in references[1:] for end in ("low", "high")]:
        left.axhline(edge, color="#4d4d4d", linestyle=":", linewidth=1)
    solvers = [name for name in curve["solver"].unique() if name not in ("real", "ddpm")]
    guided = [(solver, pair_guided(name)) for solver in solvers for name in references]
    colours = dict(zip([*solvers, "ddpm"], sns.color_palette("colorblind"), strict=False))
    for k, (solver, ending) in enumerate([*guided, ("ddpm", "")]):
        part = curve_of(curve, solver, ending)
        part = part[~part["way"].isin(references)].sort_values("evaluations")
        if part.empty:
            continue
        x = part["evaluations"] * SHIFT ** (k // len(references) - 1)
        bars = [part["kid"] - part["low"], part["high"] - part["kid"]]
        words = f"{solver}, guided" if ending else solver
        style = {"color": colours[solver], "marker": "o", "markersize": 4, "label": words}
        style |= {"markerfacecolor": "white", "linestyle": ":"} if ending else {}
        if (part["n"] == band["n"]).all():
            left.errorbar(x, part["kid"], bars, capsize=2, linewidth=1.2, **style)
        right.plot(part["evaluations"], slow / part["work"], **style)
    for axes in (left, right):
        axes.set(xscale="log", xlabel="network evaluations per sample, without guidance")
        axes.xaxis.set_major_locator(LogLocator(base=2, numticks=8))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
    left.set(ylabel="kernel distance to held-out real chips")
    right.set(yscale="log", ylabel="times faster than DDPM")
    right.legend(title="solver")
    return figure


def plot_trade(rows: pd.DataFrame) -> Figure:
    """Draw obedience against diversity, one labelled point per way to sample.

    Args:
        rows: metric rows ``map_kappa`` and ``diversity_ratio``, ``regime`` names the way.
    """
    parts = {name: group.set_index("regime") for name, group in rows.groupby("metric")}
    both = parts["map_kappa"].join(parts["diversity_ratio"], lsuffix="_kappa", rsuffix="_ratio", how="inner")
    figure, axes = plt.subplots(figsize=(8.2, 4.6))
    colours = sns.color_palette("husl", len(both))
    for (way, row), colour in zip(both.iterrows(), colours, strict=True):
        axes.errorbar(
            row["value_ratio"], row["value_kappa"],
            xerr=[[row["value_ratio"] - row["low_ratio"]], [row["high_ratio"] - row["value_ratio"]]],
            yerr=[[row["value_kappa"] - row["low_kappa"]], [row["high_kappa"] - row["value_kappa"]]],
            marker="o", color=colour, linewidth=1, label=way.replace("solver=", "").replace(";", ", "),
        )  # fmt: skip
    axes.set(xlabel="diversity ratio", ylabel="mean kappa, label and given map")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)
    return figure
