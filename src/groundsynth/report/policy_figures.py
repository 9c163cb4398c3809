"""The figure of one generator for everything beside one for each use: obedience, distance and cost."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from groundsynth.report.style import SYSTEM_COLOURS, system_colour

TESTED = {"measure=obedience": "obedience", "measure=kid": "kernel distance"}


def plot_policies(metrics: pd.DataFrame, margin: float) -> Figure:
    """Draw the differences of obedience, the kernel distances of both, and the quotients of cost, a line per system.

    Args:
        metrics: rows of ``compare-policies``; margin: of mIoU that obedience may fall short by.
    """
    systems = list(dict.fromkeys(metrics.loc[metrics["metric"] == "training_cost_ratio", "system"]))
    figure, axes = plt.subplots(
        1, 3, figsize=(11, 0.55 * len(systems) + 1.9), sharey=True, width_ratios=(4, 4, 2)
    )
    places = {system: len(systems) - k for k, system in enumerate(systems)}
    obedience, distance, cost = axes
    obedience.axvline(0, color="#8c8c8c", linewidth=1)
    obedience.axvline(-100 * margin, color="#8c8c8c", linewidth=1, linestyle="--")
    for row in metrics[metrics["metric"] == "delta_obedience"].itertuples():
        _interval(obedience, row, places[row.system], 100, "o")
    kid = metrics[metrics["metric"] == "kid"]
    floor = kid[kid["system"] == "real"].iloc[0]
    distance.axvspan(floor["low"], floor["high"], color=SYSTEM_COLOURS["real"], alpha=0.15, linewidth=0)
    for row in kid[kid["system"] != "real"].itertuples():
        unified = row.regime == "policy=unified"
        _interval(
            distance, row, places[row.system] + (0.15 if unified else -0.15), 1, "o" if unified else "s"
        )
    for row in metrics[metrics["metric"] == "training_cost_ratio"].itertuples():
        cost.barh(places[row.system], row.value, height=0.5, color=system_colour(row.system))
        cost.annotate(
            f"{row.value:.2f}",
            (row.value, places[row.system]),
            (4, -4),
            textcoords="offset points",
            fontsize=9,
        )
    obedience.set(
        title="obedience, unified − single",
        xlabel="points of mIoU",
        yticks=list(places.values()),
        ylim=(0.4, len(systems) + 0.6),
    )
    obedience.set_yticklabels(systems)
    distance.set(title="kernel distance to held-out ground", xlabel="scattering coefficients, less is nearer")
    cost.set(title="cost", xlabel="unified / single")
    cost.margins(x=0.3)
    for panel in axes:
        panel.grid(axis="y", visible=False)
    return figure


def _interval(axes: plt.Axes, row, place: float, scale: float, marker: str) -> None:
    value, low, high = (scale * each for each in (row.value, row.low, row.high))
    axes.errorbar(
        value, place, xerr=[[max(value - low, 0)], [max(high - value, 0)]], marker=marker, markersize=6,
        color=system_colour(row.system), linestyle="",
    )  # fmt: skip


def policies_caption(metrics: pd.DataFrame, margin: float, single: str) -> str:
    """Return the caption of :func:`plot_policies`, which says what came out of every test."""
    tests = metrics[metrics["metric"] == "not_inferior"]
    passed = int(tests["value"].sum())
    fell = [f"{row.system} in {TESTED[row.regime]}" for row in tests[tests["value"] == 0].itertuples()]
    short = f"; falls short: {', '.join(fell)}" if fell else ""
    return (
        f"One generator for all uses (circles) beside one for each (study '{single}', squares). Obedience: the labeller's "
        f"mIoU on images against their own maps, with the interval over images; the dashed line is {100 * margin:g} points, "
        "as far as it may fall short. Distance: kernel distance with the range over random subsets; grey is that of real "
        "training chips. Cost: of the whole training, from steps taken side by side. One training of each, pairs drawn as "
        "the studies draw them (the one generator can guide a pair's image by its map, the others cannot). Not inferior in "
        f"{passed} of {len(tests)} tests{short}."
    )
