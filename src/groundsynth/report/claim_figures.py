"""Published numbers beside ours, one line per claim and scene."""

from __future__ import annotations

import textwrap

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from groundsynth.report.claim_list import Claim

UNITS = {"pp": "percentage points", "%": "per cent", "": "number"}
NEAR = 5  # percentage points drawn evenly; beyond, by their logarithm
TICKS = (-50, -20, -10, -5, -2, 0, 2, 5, 10, 20, 50)
COLOURS = {"reproduced": "#009e73", "not shown": "#8c8c8c", "reversed": "#d55e00"}


def claims_forest(claims: list[Claim], table: pd.DataFrame) -> tuple[Figure, str]:
    """Draw every row that has a number of ours, one panel per unit; return the figure and its caption.

    Args:
        claims: of ``config/claims.yaml``; table: 'published_claims'.
    """
    known = {(f"{claim.system} {claim.source}", claim.claim): claim for claim in claims}
    rows = [(known[row.system, row.claim], row) for row in table.itertuples() if not pd.isna(row.ours)]
    units = [unit for unit in UNITS if any(claim.unit == unit for claim, _ in rows)]
    panels = [[pair for pair in rows if pair[0].unit == unit] for unit in units]
    figure, axes = plt.subplots(
        len(units), squeeze=False, figsize=(10, 1.4 * len(units) + 0.42 * len(rows)),
        height_ratios=[len(panel) + 1.5 for panel in panels],
    )  # fmt: skip
    for panel, unit, place in zip(panels, units, axes[:, 0], strict=True):
        _panel(place, panel)
        place.set_xlabel(UNITS[unit])
        if unit == "pp":  # a few points and dozens of points in one panel
            place.set_xscale("symlog", linthresh=NEAR, linscale=1.5)
            place.set_xticks(TICKS, [f"{tick:+g}".replace("-", "−").replace("+0", "0") for tick in TICKS])
    handles = [Line2D([], [], marker="o", color=COLOURS[name], label=f"ours: {name}") for name in COLOURS]
    handles += [
        Line2D([], [], marker="D", linestyle="", color="black", label="published"),
        Line2D([], [], marker="D", linestyle="", color="black", markerfacecolor="white", label="published, another measure"),
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9)
    return figure, (
        f"Published numbers (diamonds; hollow where another measure was published) beside ours (dots) with 95 % "
        f"intervals, for the {len(rows)} rows of the claims table that have a number of ours; grey: no verdict, or "
        f"none either way. Percentage points beyond {NEAR} are on a logarithmic scale. A number from one fold or one generator seed has no verdict."
    )


def _panel(axes: Axes, rows: list[tuple[Claim, object]]) -> None:
    axes.axvline(0, color="#333", linewidth=1)
    for place, (claim, row) in enumerate(reversed(rows)):
        if not pd.isna(row.low):
            axes.plot([row.low, row.high], [place, place], color=COLOURS[row.verdict], linewidth=2)
        axes.plot(row.ours, place, "o", color=COLOURS[row.verdict], markersize=7)
        if claim.published is not None:
            ends = claim.published if isinstance(claim.published, tuple) else (claim.published,)
            face = "black" if claim.same_measure else "white"
            axes.plot(
                ends,
                [place] * len(ends),
                "D-",
                color="black",
                markerfacecolor=face,
                markersize=5,
                linewidth=1,
            )
    names = [
        textwrap.fill(f"{row.system}: {_short(row.claim)} ({row.scenes})", 62) for _, row in reversed(rows)
    ]
    axes.set_yticks(range(len(rows)), names, fontsize=7)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.grid(axis="y", visible=False)


def _short(words: str, letters: int = 90) -> str:
    return textwrap.shorten(words, letters, placeholder=" …")
