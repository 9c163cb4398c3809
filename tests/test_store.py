"""Scenes and rasters on disk: what memory would have given, in little of it."""

from __future__ import annotations

import dataclasses
import resource
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import Affine
from test_atlas import ground_labels, options, patch

from groundsynth.artifacts import read_chips, write_chips
from groundsynth.data import blocks as block_module
from groundsynth.data import store as store_module
from groundsynth.data.atlas import lay_atlas
from groundsynth.data.blocks import NO_SPLIT, TRAIN, VAL, nearest_to_training
from groundsynth.data.chips import ChipRules, cut_chips, find_chips, ground_in_chips
from groundsynth.data.coverage import class_coverage, ground_shares
from groundsynth.data.pictures import Pictures
from groundsynth.data.prepare import describe_data, lay_scenes, split_atlas, unused_scenes
from groundsynth.data.scene import Scene, Stretch
from groundsynth.data.store import MEMORY, DiskRaster, Store, StoredScene, strips
from groundsynth.errors import GroundsynthError
from groundsynth.legend import class_shares

SIZE = 32


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch):
    """Whatever its size, a raster lies on disk and is looked at in strips of a few rows."""
    monkeypatch.setattr(store_module, "IN_MEMORY", 0)
    monkeypatch.setattr(store_module, "STRIP", 40_000)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_a_raster_on_disk_is_read_and_written_as_an_array(tmp_path_factory, data):
    shape = data.draw(st.tuples(st.integers(1, 20), st.integers(1, 20)))
    raster, array = DiskRaster(shape, 255, tmp_path_factory.mktemp("r")), np.full(shape, 255, np.uint8)
    bound = st.none() | st.integers(0, 22)
    for value in range(4):
        window = tuple(
            slice(*sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n))))) for n in shape
        )
        values = (np.arange(array[window].size) + value).astype(np.uint8).reshape(array[window].shape)
        raster[window] = array[window] = values
        seen = tuple(
            slice(data.draw(bound), data.draw(bound), data.draw(st.sampled_from([None, 1, 3]))) for _ in shape
        )
        assert np.array_equal(raster[seen], array[seen])
    assert np.array_equal(raster[:, :], array)


def test_strips_cover_a_raster_once(small):
    count = np.zeros((1000, 130), int)
    for window in strips(count.shape):
        count[window] += 1
        assert count[window].size <= 40_000
    assert (count == 1).all()


@pytest.mark.parametrize(
    ("values", "kind"),
    [([0, 255, 7], "uint8"), ([1, 40_000, 0], "uint16"), ([0.5, 1, 2], "float32"), ([-1, 3, 4], "float32"),
     ([1e9, 1, 2], "float32")],
)  # fmt: skip
def test_a_scene_comes_back_as_it_was_put(tmp_path: Path, values: list, kind: str):
    valid = np.array([[True, True, True, False]])
    bands = np.broadcast_to(np.array([*values, np.nan], np.float32), (3, 1, 4))
    labels = np.array([[0, 6, 255, 255]], np.uint8)
    scene = Scene("a", bands, labels, valid, None, Affine.scale(2, -2), "folder", True)
    kept = Store(tmp_path).put(scene)
    assert isinstance(kept, StoredScene)
    assert kept.layers["bands"]().dtype == kind, "in as few bytes as hold it"
    for back in (kept, kept.load()):
        assert back.bands.dtype == np.float32
        assert np.array_equal(back.bands, bands, equal_nan=True)
        assert (back.labels == labels).all()
        assert (back.valid == valid).all()
        assert (back.name, back.source, back.stretched, back.transform) == (
            "a",
            "folder",
            True,
            scene.transform,
        )
        assert back.shape == (1, 4)
    assert Store(tmp_path).put(kept) is kept, "it lies on disk already"
    assert list(tmp_path.iterdir()) == [], "in a file without a name"


def prepare(scenes: list[Scene], store: Store, chosen) -> dict:
    """Go through stage 01 with what it makes kept in ``store``; return all of it."""
    atlas = lay_scenes([store.put(scene) for scene in scenes], chosen, store)
    blocks, split = split_atlas(atlas, chosen, 0)
    stretches = [Stretch([(0.0, 200.0 + i)] * 3, "training pixels") for i in range(len(atlas.scenes))]
    images = Pictures(atlas, stretches)
    chips, left_out = find_chips(atlas, images, split, blocks, ChipRules(SIZE, 16, 0.3, 0.3))
    reached = ground_in_chips(chips, atlas, SIZE)
    return {
        "labels": atlas.labels[:, :],
        "split": split[:, :],
        "reached": reached[:, :],
        "blocks": blocks,
        "left_out": left_out,
        "coverage": class_coverage(atlas.labels, split),
        "chips": chips,
        "cut": pd.concat(cut_chips(atlas, images, chips, SIZE), ignore_index=True),
        "shares": ground_shares(atlas.labels),
        "unused": unused_scenes(atlas, split),
        "nearest": nearest_to_training(split, 33),
        "description": describe_data(atlas, chosen, stretches, [0], {}, []),
    }


@pytest.mark.parametrize("seed", range(3))
def test_on_disk_and_in_strips_everything_is_as_in_memory(tmp_path, monkeypatch, small, seed):
    monkeypatch.setattr(block_module, "CANDIDATES", 16)
    monkeypatch.setattr(block_module, "ROUNDS", 3)
    generator, labels = np.random.default_rng(seed), ground_labels(900, 900)
    labels[generator.random(labels.shape) < 0.02] = 255
    places = generator.integers(0, 500, (5, 2)).tolist()
    scenes = [patch(f"p{i}", labels, *place, (300, 280)) for i, place in enumerate(places)]
    scenes[1].bands[:, :40] = np.nan
    scenes[1].valid[:40], scenes[1].labels[:40] = False, 255
    scenes.append(patch("tiny", labels, 850, 850, (20, 20)))
    chosen = options(hold_out=["p4"])
    here = prepare(scenes, Store(tmp_path), chosen)
    monkeypatch.undo()  # one strip, rasters are arrays
    monkeypatch.setattr(block_module, "CANDIDATES", 16)
    monkeypatch.setattr(block_module, "ROUNDS", 3)
    there = prepare(scenes, MEMORY, chosen)
    for name, value in there.items():
        if isinstance(value, pd.DataFrame):
            flat = [column for column in value if column not in ("image", "mask")]
            pd.testing.assert_frame_equal(here[name][flat], value[flat])
        elif isinstance(value, np.ndarray):
            assert np.array_equal(here[name], value), name
        else:
            assert here[name] == value
    for column in ("image", "mask"):
        for ours, theirs in zip(here["cut"][column], there["cut"][column], strict=True):
            assert np.array_equal(ours, theirs)
    assert np.allclose(here["shares"], class_shares(there["labels"]))
    assert len(here["chips"]) > 100


def test_display_values_on_disk_are_shown_as_they_are(tmp_path: Path):
    """A scene of 8 bits with a hole: the same picture as in memory, and no second copy of it."""
    labels = ground_labels(128, 128)
    scene = patch("shown", labels, 0, 0, (128, 128))
    scene.bands[:] = np.random.default_rng(0).integers(0, 256, scene.bands.shape)
    scene.bands[:, :9], scene.valid[:9], scene.labels[:9] = np.nan, False, 255
    scene = dataclasses.replace(scene, stretched=True)
    stretch = Stretch([(0.0, 255.0)] * 3, "nothing")
    pictures = {
        store: Pictures(lay_atlas([store.put(scene)], set(), 8, 64, store), [stretch])[0]
        for store in (MEMORY, Store(tmp_path))
    }
    here, there = pictures.values()
    assert np.array_equal(here, there)
    assert (here[:9] == 0).all()
    assert here.std() > 50


def test_the_nearest_other_split_is_found_across_strips(small):
    split = np.full((500, 200), NO_SPLIT, np.uint8)
    assert nearest_to_training(split, 30) == 30, "nothing there"
    split[:203, 5] = TRAIN
    split[210:, 12] = VAL  # 8 rows below, 7 columns aside
    assert nearest_to_training(split, 30) == 8
    assert nearest_to_training(split, 5) == 5, "nothing as near as that"


def test_a_disk_full_of_scenes_is_one_sentence_and_leaves_nothing(tmp_path: Path):
    scene = patch("a", ground_labels(64, 64), 0, 0, (64, 64))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(GroundsynthError, match=r"could not be written .*; free some space"):
            Store(tmp_path).put(scene)
        with pytest.raises(GroundsynthError, match=r"could not be written .*; free some space"):
            DiskRaster((500, 500), 255, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


# --- chips written as they come -----------------------------------------------------------------


@pytest.fixture
def cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    monkeypatch.setattr(block_module, "CANDIDATES", 16)
    return prepare([patch("a", ground_labels(512, 512), 0, 0, (512, 512))], MEMORY, options())["cut"]


def test_chips_in_pieces_make_the_same_file_as_all_at_once(tmp_path: Path, cut: pd.DataFrame):
    write_chips(cut, tmp_path / "whole.parquet", "real")
    edges = [0, 1, 130, 131, 131, 290, len(cut)]
    pieces = (cut.iloc[a:b] for a, b in pairwise(edges))
    write_chips(pieces, tmp_path / "pieces.parquet", "real")
    assert (tmp_path / "pieces.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    flat = read_chips(tmp_path / "pieces.parquet", "real", pictures=False)
    assert "image" not in flat
    assert "mask" not in flat
    assert flat["chip_id"].tolist() == cut["chip_id"].tolist()


def _break_off(cut: pd.DataFrame):
    yield cut.iloc[:150]
    raise GroundsynthError("the scene is gone")


@pytest.mark.parametrize(
    ("pieces", "told"),
    [(_break_off, "the scene is gone"), (lambda cut: iter([cut.iloc[:150], cut.iloc[140:160]]), "unique; 10 repeat"),
     (lambda cut: iter([cut.iloc[:150], cut.drop(columns="row")]), "columns .'row'. do not match")],
)  # fmt: skip
def test_a_piece_that_fails_leaves_the_old_file(tmp_path: Path, cut: pd.DataFrame, pieces, told: str):
    path = tmp_path / "chips.parquet"
    write_chips(cut.iloc[:3], path, "real")
    before = path.read_bytes()
    with pytest.raises(GroundsynthError, match=told):
        write_chips(pieces(cut), path, "real")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["chips.parquet"]


def test_a_disk_that_fills_between_row_groups_leaves_the_old_file(tmp_path: Path, cut: pd.DataFrame):
    path = tmp_path / "chips.parquet"
    write_chips(cut.iloc[:3], path, "real")
    before = path.read_bytes()
    one_group = sum(image.nbytes for image in cut["image"].iloc[:150])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (one_group // 2, hard))
    try:
        with pytest.raises(GroundsynthError, match=r"could not be written"):
            write_chips((cut.iloc[i : i + 50] for i in range(0, len(cut), 50)), path, "real")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["chips.parquet"]
