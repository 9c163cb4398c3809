"""Fewer labels: the right number, drawn anew, every class kept where it can be, buffers as ever."""

from __future__ import annotations

import numpy as np
import pytest
from test_blocks import chebyshev_gap, table

from groundsynth.data.blocks import HIDDEN, PIXEL_COLUMNS, TEST, TRAIN, VAL, split_raster
from groundsynth.data.chips import sliding_windows
from groundsynth.data.label_fraction import hide_labels

GRID = ["tttttttt", "tttttttt", "tttttttt", "tttttttt", "ttttttth", "TTTTvvvv"]


def training(blocks) -> set[int]:
    return set(blocks.loc[blocks["split"] == "train", "block"])


@pytest.mark.parametrize(("fraction", "kept"), [(1.0, 39), (0.5, 20), (0.25, 10), (0.1, 4), (0.01, 1)])
def test_the_share_of_training_blocks_keeps_its_labels_and_only_they_change(fraction, kept):
    blocks = table(GRID)
    fewer = hide_labels(blocks, fraction, [0], "t")
    assert len(training(fewer)) == kept
    assert training(fewer) <= training(blocks)
    assert (fewer["split"] == "hidden").sum() == 1 + 39 - kept
    others = ~blocks["split"].isin(["train"])
    assert (fewer.loc[others, "split"] == blocks.loc[others, "split"]).all()


def test_draws_are_decided_by_their_names_and_differ_between_folds():
    draws = [training(hide_labels(table(GRID), 0.25, [0], 0, fold)) for fold in (0, 0, 1, 2, 3)]
    assert draws[0] == draws[1]
    assert len({frozenset(draw) for draw in draws}) == 4


def test_a_class_of_a_single_block_keeps_its_labels_whenever_another_class_allows_it():
    blocks = table(GRID).assign(**dict.fromkeys(PIXEL_COLUMNS, 0))
    blocks["pixels_0"] = 300
    blocks.loc[blocks["block"] == 18, "pixels_6"] = 300
    for fold in range(5):
        assert 18 in training(hide_labels(blocks, 0.25, [0, 6], fold))
    without = [18 in training(hide_labels(blocks, 0.1, [0], fold)) for fold in range(20)]
    assert not all(without), "a class outside the primary score has no say"


def test_labelled_ground_still_holds_chips_and_keeps_its_distance():
    """Blocks of a chip's side: each labelled block has a neighbour, or the buffer would leave no chip."""
    for fold in range(5):
        blocks = hide_labels(table(GRID), 0.25, [0], fold)
        raster = np.asarray(split_raster(blocks, (120, 160), 3))
        assert chebyshev_gap(raster, [TRAIN], [VAL, TEST, HIDDEN]) > 3
        assert len(sliding_windows(raster, TRAIN, 20, 2))


def test_ground_without_squares_is_drawn_block_by_block():
    blocks = table(["tttttttt", "TTTTvvvv"])
    drawn = sorted(training(hide_labels(blocks, 0.4, [0], "t")))
    assert len(drawn) == 3
    assert drawn[-1] - drawn[0] == 2, "one beside the other"
