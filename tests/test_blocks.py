"""The spatial split: disjoint, buffered, deterministic, and honest about what it lacks."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_cdt

from groundsynth.artifacts import check_table
from groundsynth.data import blocks as module
from groundsynth.data.blocks import (
    HIDDEN,
    NO_SPLIT,
    PIXEL_COLUMNS,
    SPLITS,
    TEST,
    TRAIN,
    VAL,
    grid_blocks,
    group_blocks,
    neighbours,
    score_groups,
    split_blocks,
    split_raster,
    squares,
)
from groundsynth.data.coverage import check_coverage, class_coverage, primary_classes, suggest_side
from groundsynth.errors import GroundsynthError


@pytest.fixture(autouse=True)
def quick_search(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "CANDIDATES", 20)


def landscape(rows: int, cols: int, side: int = 64) -> np.ndarray:
    """Seven classes in patches; one unlabelled row and column around them."""
    patches = np.random.default_rng(0).integers(0, 7, (rows * 4, cols * 4)).astype(np.uint8)
    return np.pad(np.kron(patches, np.ones((side // 4, side // 4), np.uint8)), 1, constant_values=255)


def table(grid: list[str], side: int = 20) -> pd.DataFrame:
    """Blocks from a drawing: one letter per block, t(rain) v(al) T(est) h(idden)."""
    names = dict(zip("tvThr", SPLITS, strict=True))
    rows = [
        {
            "block": len(line) * i + j,
            "ground": 0,
            "group": 0,
            "split": names[letter],
            "row": i * side,
            "col": j * side,
        }
        for i, line in enumerate(grid)
        for j, letter in enumerate(line)
    ]
    return pd.DataFrame(rows).assign(height=side, width=side, **dict.fromkeys(PIXEL_COLUMNS, 1))


def chebyshev_gap(raster: np.ndarray, first: list[int], second: list[int]) -> float:
    """Smallest distance, in rows or columns, between pixels of two sets of splits; inf if one is empty."""
    one, other = np.isin(raster, first), np.isin(raster, second)
    return distance_transform_cdt(~other, "chessboard")[one].min() if one.any() and other.any() else np.inf


@settings(max_examples=60, deadline=None)
@given(
    grid=st.integers(1, 4).flatmap(
        lambda width: st.lists(st.text("tvTh", min_size=width, max_size=width), min_size=1, max_size=4)
    ),
    buffer=st.integers(0, 12),
)
def test_every_pixel_has_one_split_and_every_buffer_holds(grid: list[str], buffer: int):
    blocks = table(grid)
    raster = split_raster(blocks, (20 * len(grid) + 5, 20 * len(grid[0]) + 5), buffer)
    for block in blocks.itertuples():
        inside = raster[block.row : block.row + 20, block.col : block.col + 20]
        code = SPLITS.index(block.split)
        assert set(np.unique(inside)) <= {code, NO_SPLIT}, "no pixel leaves its block's split"
        if code in (VAL, TEST):
            assert (inside == code).all(), "validation and test blocks stay whole"
    assert chebyshev_gap(raster, [TRAIN], [VAL, TEST, HIDDEN]) > buffer
    assert chebyshev_gap(raster, [HIDDEN], [VAL, TEST]) > buffer
    assert (raster[20 * len(grid) :] == NO_SPLIT).all()


def test_the_buffer_is_taken_along_borders_only():
    raster = split_raster(table(["tT"]), (20, 40), buffer=3)
    assert (raster[:, :17] == TRAIN).all()
    assert (raster[:, 17:20] == NO_SPLIT).all()
    assert (raster[:, 20:] == TEST).all()


def test_blocks_divide_the_labelled_ground_and_nothing_else():
    labels = np.full((200, 300), 255, np.uint8)
    labels[10:151, 20:290] = 0  # 141 × 270: two rows and four columns of blocks
    blocks = grid_blocks(labels, chip_size=32)
    assert len(blocks) == 8
    assert blocks["height"].between(70, 71).all()
    assert blocks["width"].between(67, 68).all()
    assert (blocks["height"] * blocks["width"]).sum() == 141 * 270
    assert blocks["pixels_0"].sum() == 141 * 270


def test_ground_too_small_for_a_block_is_an_error():
    with pytest.raises(GroundsynthError, match="the labelled ground is 50 px long; a block needs 64"):
        grid_blocks(np.zeros((50, 200), np.uint8), 64)
    with pytest.raises(GroundsynthError, match="0 px long"):
        grid_blocks(np.full((100, 100), 255, np.uint8), 64)


def test_ground_for_a_chip_but_not_for_a_block_is_one_block():
    blocks = grid_blocks(np.zeros((50, 200), np.uint8), 32)
    assert blocks[["row", "col", "height", "width"]].to_numpy().tolist() == [
        [0, 0, 50, 67], [0, 67, 50, 66], [0, 133, 50, 67],
    ]  # fmt: skip


def test_neighbours_and_squares_stay_on_their_ground():
    """Two grounds side by side on the sheet, their blocks touching there: they are no neighbours."""
    blocks = table(["ttt", "ttt"]).assign(ground=[0, 0, 1, 0, 0, 1])
    assert neighbours(blocks)[1].tolist() == [True, False, False, True, True, False]
    assert neighbours(blocks)[2].tolist() == [False, False, False, False, False, True]
    assert [sorted(four) for four in squares(blocks).tolist()] == [[0, 1, 3, 4]]
    assert squares(table(["t"])).shape == (0, 4)


def test_a_missing_block_connects_nobody():
    """Left out blocks (no image there) leave a gap, which rows and columns alone would close."""
    blocks = table(["ttt"]).drop(index=1).reset_index(drop=True)
    assert not neighbours(blocks).any()


def test_several_hundred_blocks_are_grouped_in_reasonable_time(monkeypatch):
    monkeypatch.setattr(module, "CANDIDATES", 2000)
    generator = np.random.default_rng(0)
    blocks = table(["t" * 25] * 20).assign(
        **{name: generator.integers(0, 400, 500) for name in PIXEL_COLUMNS}
    )
    before = time.process_time()
    groups = group_blocks(blocks, 6, 0)
    assert time.process_time() - before < 60
    assert np.ptp(np.bincount(groups)) <= 1


def test_neighbours_and_squares_by_hand():
    blocks = table(["ttt", "ttt"])
    assert neighbours(blocks)[0].tolist() == [False, True, False, True, True, False]
    assert neighbours(blocks)[4].tolist() == [True, True, True, True, False, True]
    assert sorted(map(sorted, squares(blocks).tolist())) == [[0, 1, 3, 4], [1, 2, 4, 5]]


def test_groups_are_equal_deterministic_and_all_tested_once():
    blocks = grid_blocks(landscape(5, 5), 64)
    groups = group_blocks(blocks, 4, seed=0)
    assert sorted(np.bincount(groups).tolist()) == [6, 6, 6, 7]
    assert (group_blocks(blocks, 4, seed=0) == groups).all()
    tested = [np.flatnonzero(split_blocks(blocks, 4, f, 2, 0)["split"] == "test") for f in range(4)]
    assert sorted(np.concatenate(tested).tolist()) == list(range(25))


def test_the_search_never_ends_below_its_best_candidate():
    blocks = grid_blocks(landscape(4, 5), 64)
    generator = np.random.default_rng(0)
    random = np.stack([generator.permutation(np.arange(20) % 4) for _ in range(50)])
    found = score_groups(group_blocks(blocks, 4, 0)[None], blocks, 4)[0]
    assert found >= score_groups(random, blocks, 4).max()


def test_covering_a_rare_class_scores_higher():
    """Eight blocks in a row, a rare class in two: they should not share a group."""
    blocks = table(["tttttttt"])
    blocks[PIXEL_COLUMNS] = 0
    blocks["pixels_0"] = 400
    blocks.loc[[0, 1], "pixels_6"] = 300
    together, apart = np.array([[0, 0, 1, 1, 2, 2, 3, 3], [0, 1, 0, 1, 2, 2, 3, 3]])
    two_rows = blocks.assign(row=[0, 0, 0, 0, 20, 20, 20, 20], col=[0, 20, 40, 60] * 2)
    scores = score_groups(np.stack([together, apart]), two_rows, 4)
    assert scores[1] > scores[0]


def test_one_fold_by_its_rule():
    blocks = split_blocks(grid_blocks(landscape(6, 7), 64), folds=6, fold=2, hidden_blocks=2, seed=0)
    assert set(blocks.loc[blocks["split"] == "test", "group"]) == {2}
    assert set(blocks.loc[blocks["split"] == "val", "group"]) == {3}
    assert blocks["split"].value_counts().to_dict() == {"train": 26, "test": 7, "val": 7, "hidden": 2}
    check_table(blocks, "blocks", "blocks.csv")


def test_hidden_blocks_lie_away_from_held_out_ground():
    blocks = grid_blocks(landscape(6, 7), 64)
    for fold in range(6):
        split = split_blocks(blocks, 6, fold, 2, 0)["split"].to_numpy()
        near = neighbours(blocks)[split == "hidden"].any(0)
        assert not np.isin(split[near], ("val", "test")).any()


def test_folds_and_blocks_that_do_not_fit_are_errors():
    blocks = grid_blocks(landscape(3, 3), 64)
    with pytest.raises(GroundsynthError, match="9 blocks do not make 6 folds of at least two"):
        group_blocks(blocks, 6, 0)
    with pytest.raises(GroundsynthError, match=r"fold 3 does not exist; there are 3: choose one of 0…2"):
        split_blocks(blocks, 3, 3, 1, 0)
    with pytest.raises(GroundsynthError, match="hidden_blocks = 3 leaves no training block of 3"):
        split_blocks(blocks, 3, 0, 3, 0)


def test_primary_classes_need_enough_pixels_in_enough_blocks():
    blocks = table(["tttt", "tttt"])
    blocks[PIXEL_COLUMNS] = 0
    blocks.loc[:3, "pixels_0"] = 200  # four blocks of 200: in
    blocks.loc[:2, "pixels_1"] = 5000  # three blocks: out
    blocks.loc[:, "pixels_2"] = 199  # eight blocks of 199: out
    blocks.loc[:, "pixels_6"] = 201
    assert primary_classes(blocks) == [0, 6]


def test_the_suggested_block_is_the_largest_that_lets_every_primary_class_reach_every_split():
    def divide(side: float) -> pd.DataFrame:
        if side > 150:
            raise GroundsynthError("too few blocks")
        blocks = table(["tvT"])
        blocks[PIXEL_COLUMNS] = 0
        blocks["pixels_0"] = 200
        blocks["pixels_5"] = [200, 200 if side < 90 else 199, 200]
        return blocks

    assert suggest_side(divide, 100, [0]) == 150
    assert suggest_side(divide, 100, [0, 5]) == 75
    assert suggest_side(divide, 100, [0, 5, 6]) is None


def test_a_region_has_a_row_only_where_there_is_one_and_no_say_in_the_score():
    labels, split = np.zeros((1, 5), np.uint8), np.arange(5, dtype=np.uint8)[None]
    assert list(class_coverage(labels, split).index) == list(SPLITS)
    assert list(class_coverage(labels[:, :4], split[:, :4]).index) == list(SPLITS[:4])
    blocks = table(["tttr", "rrrr"])
    blocks[PIXEL_COLUMNS] = 500
    assert primary_classes(blocks) == []
    assert primary_classes(blocks.assign(split="train")) == list(range(7))


def test_the_advice_takes_the_place_of_the_general_cure():
    coverage = class_coverage(
        np.zeros((4, 4), np.uint8), np.repeat(np.arange(4, dtype=np.uint8)[:, None], 4, 1)
    )
    coverage.loc["train", "water"] = 9
    with pytest.raises(
        GroundsynthError, match=r"split 'val' holds no water, which .* needs: data.block_metres: 9$"
    ):
        check_coverage(coverage, [0, 6], "data.block_metres: 9")


def test_coverage_and_what_is_absent():
    labels = np.repeat(np.array([[0, 0, 1, 255]], np.uint8), 4, 0)
    split = np.array([[0] * 4, [1] * 4, [2] * 4, [3, 255, 255, 255]], np.uint8)
    coverage = class_coverage(labels, split)
    assert coverage["tree cover"].tolist() == [2, 2, 2, 1]
    assert coverage["shrubland"].tolist() == [1, 1, 1, 0]
    absent = check_coverage(coverage, primary=[0, 1])
    assert absent["test"] == [2, 3, 4, 5, 6]
    assert absent["hidden"] == [1, 2, 3, 4, 5, 6], "hidden labels are used by no score, so this is no error"


def test_a_primary_class_missing_from_a_split_is_an_error():
    coverage = class_coverage(
        np.zeros((4, 4), np.uint8), np.repeat(np.arange(4, dtype=np.uint8)[:, None], 4, 1)
    )
    coverage.loc["train", "water"] = 9
    with pytest.raises(GroundsynthError, match=r"split 'val' holds no water, .* another data.split_seed"):
        check_coverage(coverage, primary=[0, 6])


def test_no_class_in_a_split_is_an_error():
    labels = np.zeros((4, 4), np.uint8)
    labels[2] = 255
    with pytest.raises(GroundsynthError, match="split 'test' holds no class at all"):
        check_coverage(class_coverage(labels, np.repeat(np.arange(4, dtype=np.uint8)[:, None], 4, 1)), [0])
