"""Fewer labels: a share of the training blocks keeps them, and the others become hidden blocks.

What is labelled is drawn anew in each fold: folds of such a study differ in their test ground *and* in which of the
other ground was labelled. Labelled ground gives up a buffer towards hidden ground, and a lone block no larger than
a chip would have no chip left; so blocks are drawn in squares of two by two, wherever the ground lies.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from groundsynth.data.blocks import ENOUGH_PIXELS, HIDDEN, PIXEL_COLUMNS, SPLITS, TRAIN, neighbours, squares
from groundsynth.seeds import rng

DRAWS = 500  # looked at; the first that keeps the most classes is taken


def hide_labels(
    blocks: pd.DataFrame, fraction: float, primary: Sequence[int], *names: object
) -> pd.DataFrame:
    """Return blocks of which only a share of the training ones stays ``train``; the others are ``hidden``.

    Of 500 random draws the first is taken that leaves the most primary classes with 200 labelled pixels or more:
    a random draw among those that keep every class, where such can be had.

    Args:
        blocks: table ``blocks`` with splits; fraction: in (0, 1], of training blocks, at least one block.
        primary: classes of the primary score.
        names: seed the draws, e.g. the split's seed and the fold.
    """
    training = np.flatnonzero(blocks["split"] == SPLITS[TRAIN])
    number = max(1, round(fraction * len(training)))
    if number == len(training):
        return blocks
    random = rng("label_fraction", *names)
    whole = squares(blocks)
    whole = whole[np.isin(whole, training).all(1)]
    touching, pixels = neighbours(blocks), blocks[PIXEL_COLUMNS].to_numpy()[:, list(primary)]
    draws = [_draw_blocks(training, number, whole, touching, random) for _ in range(DRAWS)]
    held = [(pixels[draw].sum(0) >= ENOUGH_PIXELS).sum() for draw in draws]
    split = blocks["split"].to_numpy(object).copy()
    split[np.setdiff1d(training, draws[int(np.argmax(held))])] = SPLITS[HIDDEN]
    return blocks.assign(split=split)


def _draw_blocks(
    training: np.ndarray, number: int, whole: np.ndarray, touching: np.ndarray, random: np.random.Generator
) -> list[int]:
    """Draw blocks square by square, then one by one beside those drawn, until there are ``number``."""
    drawn: set[int] = set()
    for place in random.permutation(len(whole)):
        square = drawn | set(whole[place].tolist())
        drawn = square if len(square) <= number else drawn
    while len(drawn) < number:
        left = np.setdiff1d(training, list(drawn))
        beside = left[touching[np.ix_(left, sorted(drawn))].any(1)] if drawn else left
        drawn.add(int(random.choice(beside if len(beside) else left)))
    return sorted(drawn)
