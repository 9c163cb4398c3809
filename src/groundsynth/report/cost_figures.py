"""What a gain costs, as a picture: gain against minutes and against samples, one mark per arm."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from groundsynth.errors import GroundsynthError
from groundsynth.report.style import system_colour
from groundsynth.report.tables import folds_of, headline, pick

PANELS = (
    ("gain_per_1000_samples", "points of mIoU per 1,000 samples"),
    ("gain_per_minute", "points of mIoU per minute, everything counted"),
)


def gain_cost(costs: pd.DataFrame, metrics: pd.DataFrame) -> tuple[Figure, str]:
    """Draw gain per thousand samples and per minute of every arm; return the figure and its caption.

    Args:
        costs: rows of ``report.cost_of_gain``; metrics: the one table of numbers.

    Raises:
        GroundsynthError: no arm with synthetic chips.
    """
    arms = list(dict.fromkeys(pick(costs, PANELS[0][0])["arm"]))[::-1]
    if not arms:
        raise GroundsynthError(
            "metrics.csv has no row of gain_per_1000_samples; stage 07 measures it with an arm of synthetic chips: "
            "name one under benchmark: arms"
        )
    figure, axes = plt.subplots(1, 2, figsize=(10, 1.4 + 0.4 * len(arms)), sharey=True)
    for place, (metric, title) in zip(axes, PANELS, strict=True):
        rows = pick(costs, metric).drop_duplicates("arm").set_index("arm").reindex(arms)
        place.axvline(0, color="#333", linewidth=1)
        for k, (arm, row) in enumerate(rows.iterrows()):
            colour, face = system_colour(arm), "white" if arm.startswith("synthetic") else system_colour(arm)
            place.plot([100 * row["low"], 100 * row["high"]], [k, k], color=colour, linewidth=2)
            place.plot(100 * row["value"], k, "o", color=colour, markerfacecolor=face, markersize=7)
        place.set(xlabel=title)
        place.grid(axis="y", visible=False)
    axes[0].set_yticks(range(len(arms)), arms)
    folds, generators = folds_of(headline(metrics))
    flat = pick(costs, "flat_from_ratio")
    curve = " ".join(
        f"The curve of {row['system']} is flat from R = {row['value']:g} on." for _, row in flat.iterrows()
    )
    return figure, (
        "Difference in mIoU to real chips alone (with as many steps, if the study has them), per thousand generated samples and per minute of training the "
        "generator, drawing and training the segmenter (single measurements on one machine). Bars: the 95 % interval "
        f"of the difference over blocks and seeds, divided by the cost ({folds} fold{'s' if folds > 1 else ''}, "
        f"{generators} generator{'s' if generators > 1 else ''}). Hollow: synthetic only. {curve}"
    )
