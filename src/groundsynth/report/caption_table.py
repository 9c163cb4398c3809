"""Chips with several captions side by side, every claim in the colour of its verdict, as HTML."""

from __future__ import annotations

import base64
from html import escape

import numpy as np
import pandas as pd

from groundsynth.artifacts import encode_png
from groundsynth.captions.arrangement import check_arrangement, read_arrangements
from groundsynth.checks.claims import FALSE, TRUE, UNKNOWN, check_caption
from groundsynth.legend import colour_map
from groundsynth.report.claim_words import paint_words
from groundsynth.report.grounding_figures import VERDICT_STYLE

PIXELS = 96  # side of a chip on the page


def captions_side_by_side(images: np.ndarray, maps: np.ndarray, captions: dict[str, list[str]]) -> str:
    """Return an HTML table: a chip per row with image and map, a column of captions per writer.

    Words that make a claim have its verdict's colour against the chip's map; below each caption stands how
    many claims are true, false and not checkable.

    Args:
        images: (n, h, w, 3) uint8; maps: (n, h, w) class codes or 255.
        captions: n texts by the heading of their column.
    """
    heads = "".join(f"<th>{escape(name)}</th>" for name in ("image", "map", *captions))
    rows = []
    for i, labels in enumerate(maps):
        pictures = "".join(
            f"<td>{_picture(p, words)}</td>"
            for p, words in ((images[i], "image"), (colour_map(labels), "map"))
        )
        cells = "".join(_cell(texts[i], labels) for texts in captions.values())
        rows.append(f"<tr>{pictures}{cells}</tr>")
    key = " · ".join(
        f'<span style="color:{c};font-weight:600">{s} {v}</span>' for v, (c, s) in VERDICT_STYLE.items()
    )
    return f"<p>{key}</p><table><tr>{heads}</tr>{''.join(rows)}</table>"


def compare_writers(chips: pd.DataFrame, captions: pd.DataFrame, more: dict[str, list[str]]) -> str:
    """Return :func:`captions_side_by_side` of all writers, more captions, and as a control the next chip's.

    Args:
        chips: n rows with ``chip_id``, ``image`` and ``mask``; captions: table ``captions``.
        more: n texts by the heading of their column.
    """
    first = captions[captions["caption_index"] == 0]
    texts = {
        str(name): part.set_index("chip_id")["caption"].reindex(chips["chip_id"], fill_value="").tolist()
        for name, part in first.groupby("writer", sort=False)
    }
    control = list(np.roll(np.array(next(iter(texts.values())), object), -1))
    images, maps = (np.stack(chips[name].to_list()) for name in ("image", "mask"))
    return captions_side_by_side(images, maps, {**texts, **more, "the next chip's caption": control})


def _picture(pixels: np.ndarray, words: str) -> str:
    code = base64.b64encode(encode_png(pixels)).decode()
    return (
        f'<img alt="{words}" width="{PIXELS}" height="{PIXELS}" style="image-rendering:pixelated" '
        f'src="data:image/png;base64,{code}">'
    )


def _cell(caption: str, labels: np.ndarray) -> str:
    judged = check_caption(caption, labels)
    judged += [(c, TRUE if check_arrangement(c, labels) else FALSE) for c in read_arrangements(caption)]
    counts = " ".join(
        f'<span style="color:{VERDICT_STYLE[v][0]}">{VERDICT_STYLE[v][1]} {sum(w == v for _, w in judged)}</span>'
        for v in (TRUE, FALSE, UNKNOWN)
    )
    return (
        '<td style="text-align:left;vertical-align:top;max-width:24em">'
        f"{paint_words(caption, judged)}<br><small>{counts}</small></td>"
    )
