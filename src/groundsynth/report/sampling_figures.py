"""Figures of the sampling curve: quality and speed-up against network evaluations, obedience against diversity."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from groundsynth.report.style import SYSTEM_COLOURS

SHIFT = 1.04  # between solvers, so that bars do not hide one another


def plot_sampling_curve(curve: pd.DataFrame, reference: str) -> Figure:
    """Draw kernel distance (left) and speed-up over DDPM (right) against network evaluations per sample.

    DDPM itself appears on the left only if it drew as many samples as the others: distances of sets of
    different sizes do not compare.

    Args:
        curve: from :func:`groundsynth.checks.sampling_curve.measure_ways`.
        reference: the way whose range is the band.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.2), layout="constrained")
    points = curve.set_index("way")
    slow = curve.loc[curve["solver"] == "ddpm", "work"].iloc[-1]
    band = points.loc[reference]
    left.axhspan(band["low"], band["high"], color="#cccccc", alpha=0.5, linewidth=0)
    left.axhline(band["kid"], color="#8c8c8c", linewidth=1)
    left.axhline(points.loc["real", "kid"], color=SYSTEM_COLOURS["real"], linestyle="--", linewidth=1)
    plain = curve[~curve["way"].str.contains("churn|guidance") & (curve["way"] != "real")]
    solvers = [name for name in plain["solver"].unique() if name != "ddpm"]
    for k, (solver, colour) in enumerate(
        zip([*solvers, "ddpm"], sns.color_palette("colorblind"), strict=False)
    ):
        part = plain[(plain["solver"] == solver) & (plain["way"] != reference)].sort_values("evaluations")
        x = part["evaluations"] * SHIFT ** (k - 1)
        bars = [part["kid"] - part["low"], part["high"] - part["kid"]]
        style = {"color": colour, "marker": "o", "markersize": 4, "label": solver}
        if (part["n"] == band["n"]).all():
            left.errorbar(x, part["kid"], bars, capsize=2, linewidth=1.2, **style)
        right.plot(part["evaluations"], slow / part["work"], **style)
    for axes in (left, right):
        axes.set(xscale="log", xlabel="network evaluations per sample")
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
