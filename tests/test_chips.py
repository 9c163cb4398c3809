"""Chips: inside their split, in the right place, counted once where they are held out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from rasterio.crs import CRS
from rasterio.transform import Affine
from test_blocks import landscape

from groundsynth.artifacts import CHIPS, read_chips, read_table, write_chips, write_metrics
from groundsynth.data import blocks as block_module
from groundsynth.data.atlas import Atlas, lay_atlas
from groundsynth.data.blocks import (
    HIDDEN,
    NO_SPLIT,
    SPLITS,
    TRAIN,
    atlas_blocks,
    split_blocks,
    split_raster,
)
from groundsynth.data.chips import (
    ChipRules,
    block_of,
    block_windows,
    classes_in_windows,
    count_in_windows,
    cut_chips,
    find_chips,
    ground_in_chips,
    judge_windows,
    sliding_windows,
    window_sums,
)
from groundsynth.data.coverage import class_coverage
from groundsynth.data.prepare import data_metrics
from groundsynth.data.scene import Scene
from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES, SHARE_COLUMNS, class_shares

SIZE, STRIDE, BUFFER = 32, 8, 8
GRID = Affine(30, 0, 1000, 0, -30, 9000)


@pytest.fixture(scope="module")
def prepared():
    """A scene of 6 × 6 blocks on an atlas, its picture, split raster, blocks and chips."""
    labels = landscape(6, 6)
    labels[1:40, 1:30] = 255  # a corner without labels
    height, width = labels.shape
    valid = labels != 255
    scene = Scene("nc_landsat7", np.zeros((3, height, width)), labels, valid, CRS.from_epsg(32119), GRID)
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    atlas = lay_atlas([scene], set(), BUFFER, 64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_module, "CANDIDATES", 20)
        blocks = split_blocks(atlas_blocks(atlas, SIZE), 6, 0, 2, 0)
    split = split_raster(blocks, labels.shape, BUFFER)
    return atlas, image, split, blocks, cut(atlas, image, split, blocks)


def cut(atlas: Atlas, image, split, blocks) -> pd.DataFrame:
    chips = find_chips(atlas, [image], split, blocks, ChipRules(SIZE, STRIDE))[0]
    return pd.concat(cut_chips(atlas, [image], chips, SIZE), ignore_index=True)


def windows(chips: pd.DataFrame):
    return [
        (name, np.s_[r : r + SIZE, c : c + SIZE]) for name, r, c in chips[["split", "row", "col"]].to_numpy()
    ]


def test_window_sums_equal_counting():
    mask = np.random.default_rng(1).random((9, 11)) > 0.5
    sums = window_sums(mask, 4)
    counted = [[mask[i : i + 4, j : j + 4].sum() for j in range(8)] for i in range(6)]
    assert sums.tolist() == counted
    corners = np.array([(0, 0), (5, 7), (2, 3)])
    assert count_in_windows(mask, 4, corners).tolist() == [counted[i][j] for i, j in corners]
    assert count_in_windows(mask, 10, np.empty((0, 2), int)).shape == (0,), (
        "no window fits, none is asked for"
    )


def test_sliding_windows_by_hand():
    split = np.full((6, 10), 255, np.uint8)
    split[1:5, 2:9] = TRAIN  # 4 × 7: columns 2, 4 and 5 are possible starts of a 4-window; 5 is off the grid
    assert sliding_windows(split, TRAIN, 4, 2).tolist() == [[1, 2], [1, 4]]
    assert sliding_windows(split, HIDDEN, 4, 2).shape == (0, 2)


def test_block_windows_by_hand():
    blocks = pd.DataFrame([dict(row=0, col=0, height=10, width=9), dict(row=10, col=0, height=10, width=9)])
    split = np.zeros((20, 9), np.uint8)
    # two windows of 4 fit into 10 rows (one spare pixel above) and two into 9 columns (none to spare)
    first = [[1, 0], [1, 4], [5, 0], [5, 4]]
    assert block_windows(blocks, split, 4).tolist() == first + [[r + 10, c] for r, c in first]
    split[:2] = NO_SPLIT  # given up
    assert block_windows(blocks, split, 4).tolist() == first[2:] + [[r + 10, c] for r, c in first]


def test_of_a_block_that_a_scene_shows_in_part_that_part_counts():
    blocks = pd.DataFrame([dict(row=-5, col=3, height=10, width=9), dict(row=40, col=0, height=5, width=5)])
    # rows 0…4 and columns 3…9 are seen: room for one window of 4, with one of three spare columns before it
    assert block_windows(blocks, np.zeros((20, 10), np.uint8), 4).tolist() == [[0, 4]]


def rules_of_a_window(**changes: np.ndarray) -> str:
    """Return the rule that one window of 10 × 10 pixels breaks."""
    layers = {
        "labels": np.zeros((10, 10), np.uint8),
        "valid": np.ones((10, 10), bool),
        "image": np.zeros((10, 10, 3), np.uint8),
        **changes,
    }
    scene = Scene("s", np.zeros((3, 10, 10)), layers["labels"], layers["valid"], None, GRID)
    corners = np.array([[0, 0]])
    counts = classes_in_windows(scene.labels, 10, corners)
    return judge_windows(scene, layers["image"], corners, counts, ChipRules(10, 1), np.ones(1, bool))[0]


@pytest.mark.parametrize(
    ("layer", "value", "most", "rule"),
    [("valid", False, 1, "no image"), ("labels", 255, 1, "no label"), ("image", 255, 20, "cloud"), ("labels", 6, 90, "water")],
)  # fmt: skip
def test_each_rule_drops_a_window_just_beyond_its_limit(layer, value, most, rule):
    """Limits of 99 % image and labels, 20 % white and 90 % water, of 100 pixels."""
    for count, broken in ((most, ""), (most + 1, rule)):
        full = {"valid": np.ones((10, 10), bool), "labels": np.zeros((10, 10), np.uint8)}.get(
            layer, np.zeros((10, 10, 3), np.uint8)
        )
        full.reshape(100, -1)[:count] = value
        assert rules_of_a_window(**{layer: full}) == broken


def test_white_in_one_band_alone_is_no_cloud():
    image = np.zeros((10, 10, 3), np.uint8)
    image[..., :2] = 255
    assert rules_of_a_window(image=image) == ""


def test_what_was_left_out_is_counted_by_split_and_rule(prepared):
    atlas, image, split, blocks, chips = prepared
    counts = find_chips(atlas, [image], split, blocks, ChipRules(SIZE, STRIDE, max_water=0.2))
    fewer = chips["split"].value_counts() - counts[0]["split"].value_counts()
    assert counts[1].loc["water"].to_dict() == fewer.to_dict()
    assert fewer["train"] > 0
    watery = chips["share_6"] * chips["labelled"] > 0.2
    assert (
        fewer.to_dict() == chips[watery]["split"].value_counts().reindex(fewer.index, fill_value=0).to_dict()
    )


def test_every_chip_lies_wholly_in_its_split(prepared):
    _, _, split, _, chips = prepared
    for name, window in windows(chips):
        assert (split[window] == SPLITS.index(name)).all()


def test_no_pixel_is_in_chips_of_two_splits(prepared):
    _, _, split, _, chips = prepared
    seen = np.zeros((len(SPLITS), *split.shape), bool)
    for name, window in windows(chips):
        seen[SPLITS.index(name)][window] = True
    assert seen.sum(0).max() == 1


def test_held_out_chips_do_not_overlap_and_training_chips_do(prepared):
    _, _, split, _, chips = prepared
    often = {name: np.zeros(split.shape, int) for name in SPLITS}
    for name, window in windows(chips):
        often[name][window] += 1
    assert often["val"].max() == often["test"].max() == 1
    assert often["train"].max() == (SIZE // STRIDE) ** 2


def test_a_chip_is_its_window(prepared):
    atlas, image, _, _, chips = prepared
    scene = atlas.scenes[0]
    for chip in chips.sample(20, random_state=0).itertuples():
        window = np.s_[chip.row : chip.row + SIZE, chip.col : chip.col + SIZE]
        assert (chip.image == image[window]).all()
        assert (chip.mask == scene.labels[window]).all()
        assert np.allclose([getattr(chip, name) for name in SHARE_COLUMNS], class_shares(chip.mask))
        assert chip.labelled == (chip.mask != 255).mean()
        assert (chip.transform_c, chip.transform_f) == (1000 + 30 * chip.col, 9000 - 30 * chip.row)
        assert chip.crs == "EPSG:32119"


def test_labels_needed_differ_by_split(prepared):
    chips = prepared[-1]
    learnt = chips["split"].isin(["train", "hidden"])
    assert chips.loc[learnt, "labelled"].min() >= 0.99
    assert chips.loc[~learnt, "labelled"].min() >= 0.5


def test_the_block_of_a_chip_is_that_of_its_centre(prepared):
    *_, blocks, chips = prepared
    named = chips.merge(blocks, on="block", suffixes=("", "_of_block"))
    assert len(named) == len(chips)
    assert (named["split"] == named["split_of_block"]).all()
    middle = named["row"] + SIZE // 2
    assert ((middle >= named["row_of_block"]) & (middle < named["row_of_block"] + named["height"])).all()
    corners = blocks[["row", "col"]].to_numpy()
    assert (block_of(corners, blocks) == blocks["block"]).all()


def test_a_split_without_a_chip_is_an_error(prepared):
    atlas, image, split, blocks, _ = prepared
    empty = np.where(split == HIDDEN, 255, split).astype(np.uint8)
    with pytest.raises(
        GroundsynthError, match="split 'hidden' has no 32 px chip with enough labels; every split"
    ):
        cut(atlas, image, empty, blocks)
    bare = replace(atlas.scenes[0], labels=np.full(atlas.shape, 255, np.uint8))
    with pytest.raises(GroundsynthError, match="split 'train' has no 32 px chip"):
        cut(replace(atlas, scenes=[bare]), image, split, blocks)


def test_chips_survive_the_disk_and_open_as_a_dataset(prepared, tmp_path, monkeypatch):
    chips = prepared[-1].iloc[::9]
    write_chips(chips, tmp_path / "chips.parquet", "real")
    back = read_chips(tmp_path / "chips.parquet", "real")
    assert list(back) == list(CHIPS["real"])
    assert all((a == b).all() for a, b in zip(back["image"], chips["image"], strict=True))
    assert all((a == b).all() for a, b in zip(back["mask"], chips["mask"], strict=True))

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    from datasets import Dataset

    opened = Dataset.from_parquet(str(tmp_path / "chips.parquet"), cache_dir=str(tmp_path / "cache"))
    assert np.asarray(opened[0]["image"]).shape == (SIZE, SIZE, 3)
    assert opened.features["mask"].dtype == "PIL.Image.Image"


def test_the_numbers_of_the_stage(prepared, tmp_path):
    atlas, _, split, _, chips = prepared
    reached = ground_in_chips(chips, atlas, SIZE)
    coverage, ground = class_coverage(atlas.labels, reached), class_coverage(atlas.labels, split)
    write_metrics(data_metrics("smoke", chips, coverage, ground), tmp_path / "metrics.csv")
    table = read_table(tmp_path / "metrics.csv", "metrics")
    counted = table[table["metric"] == "chips"].set_index("arm")["value"]
    assert counted.to_dict() == chips["split"].value_counts().to_dict()
    shares = table[table["metric"] == "class_share"]
    assert np.allclose(shares.groupby("arm")["value"].sum(), 1)
    assert set(shares["class"]) == set(CLASSES)
    assert set(table["system"]) == {"real"}
    parts = table[table["metric"] == "ground_in_chips"].set_index("arm")["value"]
    assert parts["train"] == coverage.loc["train"].sum() / ground.loc["train"].sum()
    assert parts.between(0, 1).all()


def test_ground_in_chips_is_the_union_of_the_chips(prepared):
    atlas, _, split, _, chips = prepared
    reached = ground_in_chips(chips, atlas, SIZE)
    union = np.zeros(split.shape, bool)
    for _, window in windows(chips):
        union[window] = True
    assert ((reached != NO_SPLIT) == union).all()
    assert (reached[union] == split[union]).all()
