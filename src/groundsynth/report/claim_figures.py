"""Published numbers beside ours, one line per claim."""

from __future__ import annotations

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from groundsynth.report.claim_list import Claim

PANELS = {"pp": "percentage points", "%": "per cent", "kid": "kernel distance", "": "number"}
NEAR = 5  # percentage points drawn evenly; beyond, by their logarithm
TICKS = (-50, -20, -10, -5, -2, 0, 2, 5, 10, 20, 50)
COLOURS = {"reproduced": "#009e73", "not shown": "#8c8c8c", "reversed": "#d55e00"}
SHAPES = "os^vPX"  # of the scenes, in order of their names
LETTERS = 62  # of a claim's words in one line
LINE_INCHES, GAP_INCHES = 0.17, 0.22


def claims_forest(claims: list[Claim], table: pd.DataFrame) -> tuple[Figure, str]:
    """Draw every row that has a number of ours: a panel per unit, a line per claim, a mark per scene.

    Args:
        claims: of ``config/claims.yaml``; table: 'published_claims'.

    Returns:
        the figure and its caption.
    """
    table = table[table["ours"].notna()]
    found = {key: list(rows.itertuples()) for key, rows in table.groupby(["system", "claim"])}
    held = [(claim, found.get((f"{claim.system} {claim.source}", claim.claim), [])) for claim in claims]
    panels = [[pair for pair in held if pair[1] and _panel_of(pair[0]) == name] for name in PANELS]
    shown = [(words, panel) for words, panel in zip(PANELS.values(), panels, strict=True) if panel]
    heights = [sum(_inches(*pair) for pair in panel) + 0.6 for _, panel in shown]
    figure, axes = plt.subplots(
        len(shown), squeeze=False, figsize=(11, sum(heights) + 1), height_ratios=heights
    )
    shapes = dict(zip(sorted(set(table["scenes"])), SHAPES, strict=False))
    for (words, panel), place in zip(shown, axes[:, 0], strict=True):
        _draw(place, panel, shapes)
        place.set_xlabel(words)
        if words == PANELS["pp"]:  # a few points and dozens of points in one panel
            place.set_xscale("symlog", linthresh=NEAR, linscale=1.5)
            place.set_xticks(TICKS, [f"{tick:+g}".replace("-", "−").replace("+0", "0") for tick in TICKS])
    figure.legend(handles=_handles(shapes), loc="outside lower center", ncols=3, fontsize=10)
    return figure, (
        "Published numbers (diamonds; hollow where another measure was published) beside ours with 95 % intervals, for "
        f"the {len(table)} rows of the claims table that have a number of ours, those of one claim under each other; "
        f"grey: no verdict, or none either way. Percentage points beyond {NEAR} are on a logarithmic scale. A number "
        "from one fold or one generator seed has no verdict."
    )


def _panel_of(claim: Claim) -> str:
    return "kid" if claim.unit == "" and claim.test and claim.test.rows.metric == "kid" else claim.unit


def _name(claim: Claim) -> str:
    return textwrap.fill(f"{claim.system} {claim.source}: {claim.claim}", LETTERS)


def _inches(claim: Claim, rows: list) -> float:
    """Return how high a claim's line is: as its words, or as its scenes."""
    return LINE_INCHES * max(_name(claim).count("\n") + 1, len(rows)) + GAP_INCHES


def _draw(axes: Axes, panel: list[tuple[Claim, list]], shapes: dict[str, str]) -> None:
    """Draw one panel, in inches from its top."""
    axes.axvline(0, color="#333", linewidth=1)
    ends = np.cumsum([_inches(*pair) for pair in panel])
    places = [end - _inches(*pair) / 2 for end, pair in zip(ends, panel, strict=True)]
    for place, (claim, rows) in zip(places, panel, strict=True):
        _published(axes, claim, place)
        for k, row in enumerate(rows):
            at, colour = place + LINE_INCHES * (k - (len(rows) - 1) / 2), COLOURS[row.verdict]
            if not pd.isna(row.low):
                axes.plot([row.low, row.high], [at, at], color=colour, linewidth=2)
            axes.plot(row.ours, at, shapes[row.scenes], color=colour, markersize=6)
    axes.set_yticks(places, [_name(claim) for claim, _ in panel], fontsize=9)
    axes.set_ylim(ends[-1], 0)
    axes.grid(axis="y", visible=False)


def _published(axes: Axes, claim: Claim, place: float) -> None:
    if claim.published is not None:
        ends = claim.published if isinstance(claim.published, tuple) else (claim.published,)
        face = "black" if claim.same_measure else "white"
        look = {"color": "black", "markerfacecolor": face, "markersize": 5, "linewidth": 1, "zorder": 3}
        axes.plot(ends, [place] * len(ends), "D-", **look)


def _handles(shapes: dict[str, str]) -> list[Line2D]:
    black = {"linestyle": "", "color": "black"}
    ours = [Line2D([], [], color=COLOURS[name], linewidth=4, label=f"ours: {name}") for name in COLOURS]
    scenes = [Line2D([], [], marker=shape, label=scene, **black) for scene, shape in shapes.items()]
    published = [
        Line2D([], [], marker="D", label="published", **black),
        Line2D([], [], marker="D", markerfacecolor="white", label="published, another measure", **black),
    ]
    return [*ours, *scenes, *published]
