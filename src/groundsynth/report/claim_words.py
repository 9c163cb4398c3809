"""Captions as HTML, their words coloured by what a map says of the claims they make."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby

import numpy as np

from groundsynth.checks.claims import FALSE, TRUE, UNKNOWN, Claim, check_caption
from groundsynth.report.grounding_figures import VERDICT_STYLE

_RANK = {None: 0, TRUE: 1, UNKNOWN: 2, FALSE: 3}  # where claims overlap, the worst verdict shows


def paint_words(caption: str, judged: Sequence[tuple[Claim, str]]) -> str:
    """Return a caption as HTML; words of a claim have its verdict's colour, the worst where they overlap."""
    marks: list[str | None] = [None] * len(caption)
    for claim, verdict in judged:
        for place in range(*claim.span):
            marks[place] = max(marks[place], verdict, key=_RANK.__getitem__)
    parts = []
    for verdict, run in groupby(range(len(caption)), key=marks.__getitem__):
        text = escape("".join(caption[i] for i in run))
        colour = VERDICT_STYLE[verdict][0] if verdict else ""
        parts.append(f'<span style="color:{colour};font-weight:600">{text}</span>' if verdict else text)
    return "".join(parts)


def claims_table(captions: Sequence[str], maps: np.ndarray) -> str:
    """Return an HTML table: each caption, coloured, beside its claims with the sign of their verdicts.

    Args:
        captions: n texts; maps: (n, h, w) or one (h, w) map for all.
    """
    held = np.broadcast_to(maps, (len(captions), *maps.shape[-2:]))
    rows = []
    for caption, labels in zip(captions, held, strict=True):
        judged = check_caption(caption, labels)
        claims = "<br>".join(
            f'<span style="color:{VERDICT_STYLE[v][0]}">{VERDICT_STYLE[v][1]} {escape(str(c))}</span>'
            for c, v in judged
        )
        rows.append(
            f'<tr><td style="text-align:left;max-width:36em">{paint_words(caption, judged)}</td>'
            f'<td style="text-align:left;white-space:nowrap">{claims or "no claim"}</td></tr>'
        )
    return f"<table><tr><th>sentence</th><th>claims</th></tr>{''.join(rows)}</table>"
