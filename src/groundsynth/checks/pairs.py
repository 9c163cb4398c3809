"""Image–text pairs of chips: a caption for each of the eight turns of a chip, worded in several ways.

A caption says where things are, so a turned image needs a caption of its own: it is written anew from
the turned map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from groundsynth.captions.facts import SECTORS, sector_masks
from groundsynth.captions.writers import LAYOUT_STYLES
from groundsynth.data.turns import TURNS, turn
from groundsynth.legend import NUM_CLASSES
from groundsynth.models.contrastive import Pairs
from groundsynth.models.word_states import PADDING, number_words
from groundsynth.seeds import derive_seed


def layout_writer(layout_style: str = "plain", style: str = "words") -> object:
    """Return the writer that describes maps, as stage 05 is told to word them."""
    return LAYOUT_STYLES[layout_style](style)


def writer_like(captions: pd.DataFrame) -> object:
    """Return the layout writer that words as the captions of table ``captions`` are worded; else the plain one."""
    wrote = captions[captions["writer"] == "layout"]
    for layout_style in LAYOUT_STYLES if len(wrote) else ():
        for style in ("words", "numbers"):
            writer = layout_writer(layout_style, style)
            if writer.prompt == wrote["prompt"].iloc[0]:
                return writer
    return layout_writer()


def turn_maps(maps: np.ndarray) -> np.ndarray:
    """Return every map under the eight turns, (n, 8, s, s)."""
    return np.stack([np.stack([turn(m, number) for number in range(TURNS)]) for m in maps])


def shares_shown(maps: np.ndarray) -> np.ndarray:
    """Return what maps (n, h, w) show: class shares of the whole and of nine places, (n, 10, 7) float32.

    Of the labelled ground; zeros where a place has none.
    """
    height, width = maps.shape[1:]
    places = sector_masks(height, width).reshape(len(SECTORS), -1).astype(np.float32)
    places = np.concatenate([np.ones((1, height * width), np.float32), places])  # (10, h·w)
    rows = np.empty((len(maps), len(places), NUM_CLASSES), np.float32)
    for row, labels in zip(rows, maps, strict=True):
        inside = places @ (labels.reshape(-1, 1) == np.arange(NUM_CLASSES, dtype=np.uint8)).astype(np.float32)
        row[:] = inside / np.maximum(inside.sum(1, keepdims=True), 1)
    return rows


def make_pairs(
    images: np.ndarray,
    maps: np.ndarray,
    writer: object,
    names: tuple,
    wordings: int = 2,
    progress: Callable = iter,
) -> Pairs:
    """Return pairs of chips with captions of their maps.

    Args:
        images: (n, s, s, 3) uint8; maps: (n, s, s) uint8, square chips.
        writer: from :func:`layout_writer`.
        names: seed the wordings.
        wordings: captions per chip and turn.
        progress: wraps the loop over wordings.
    """
    turned = turn_maps(maps)
    flat = turned.reshape(-1, *maps.shape[1:])
    texts: list[str] = []
    for k in progress(range(wordings)):
        seeds = [derive_seed("pairs", *names, k, i) for i in range(len(flat))]
        texts += writer.write(flat, flat, seeds)
    shown = shares_shown(flat)
    return Pairs(
        np.asarray(images), _words(texts, wordings, len(maps)), shown.reshape(-1, TURNS, *shown.shape[1:])
    )


def _words(texts: list[str], wordings: int, n: int) -> np.ndarray:
    """Return (n, 8, wordings, length) of texts ordered by wording, chip, turn."""
    words = number_words(texts).reshape(wordings, n, TURNS, -1)
    return np.ascontiguousarray(words.transpose(1, 2, 0, 3))


def join_pairs(parts: Sequence[Pairs]) -> Pairs:
    """Return several sets of pairs as one; shorter captions are filled up."""
    longest = max(part.words.shape[3] for part in parts)
    words = [
        np.pad(p.words, [(0, 0)] * 3 + [(0, longest - p.words.shape[3])], constant_values=PADDING)
        for p in parts
    ]
    return Pairs(
        np.concatenate([p.images for p in parts]),
        np.concatenate(words),
        np.concatenate([p.shown for p in parts]),
    )
