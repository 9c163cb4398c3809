"""What stage 01 hands on: a description with every source, rasters per scene, and advice on blocks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.transform import Affine
from test_blocks import landscape

from groundsynth.config import Data
from groundsynth.data import blocks as block_module
from groundsynth.data.coverage import class_coverage, primary_classes
from groundsynth.data.prepare import (
    advise_blocks,
    chip_rules,
    describe_data,
    lay_scenes,
    legend_rows,
    split_atlas,
    write_scenes,
)
from groundsynth.data.scene import Scene, Stretch
from groundsynth.report.scene_figures import absent_advice, summary

OPTIONS = Data(chip_size=32, folds=3)
PLACE = CRS.from_epsg(32119)
GRID = Affine(30, 0, 1000, 0, -30, 9000)
STRETCH = Stretch([(1.0, 2.0)] * 3, "training pixels")


@pytest.fixture(autouse=True)
def quick_search(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(block_module, "CANDIDATES", 16)


def scene(name: str, labels: np.ndarray, crs: CRS | None = PLACE, source: str = "nc_landsat7") -> Scene:
    bands = np.zeros((3, *labels.shape), np.float32)
    return Scene(name, bands, labels, labels != 255, crs, GRID, source)


@pytest.fixture
def prepared():
    labels = landscape(4, 6)
    atlas = lay_scenes(
        [scene("one", labels), scene("two", labels), scene("bit", labels[:20, :20], None)], OPTIONS
    )
    return atlas, *split_atlas(atlas, OPTIONS, 0)


def test_the_description_names_sources_scenes_legend_and_gaps(prepared):
    atlas, blocks, _ = prepared
    data = describe_data(atlas, OPTIONS, [STRETCH] * 3, [0, 1], {"val": [5]}, ["one", "two"], "advice")
    assert (data["source"], data["licence"]) == ("nc_landsat7", "CC BY-SA 3.0")
    assert data["scenes"][0]["transform"] == list(GRID)[:6]
    assert [row["used"] for row in data["scenes"]] == [True, True, False]
    assert [row["ground"] for row in data["scenes"]] == [0, 0, 1]
    assert data["scenes"][0]["stretch_learnt_from"] == "training pixels"
    assert data["scenes"][0]["sha256"] == data["scenes"][1]["sha256"] != data["scenes"][2]["sha256"]
    assert data["absent"] == {"val": [5]}
    assert {row["source_name"]: row["name"] for row in data["sources"][0]["legend"]}["sediment"] == "bare"
    assert any("1996" in note for note in data["notes"])
    assert any("EPSG:3358" in note for note in data["notes"])
    words = summary(data, blocks, pd.DataFrame({"split": ["train", "test"]}))
    assert "2 of 3 scenes are in use; pieces of ground that lie apart: 1." in words
    assert words.count("CC BY-SA 3.0") == 1


def test_the_legend_of_a_folder_is_the_studys_own():
    own = Data(source="folder", folder="f", legend={"10": "water", "2": None})
    assert legend_rows("folder", own) == [
        {"source_code": "2", "source_name": "2", "class": None, "name": None},
        {"source_code": "10", "source_name": "10", "class": 6, "name": "water"},
    ]


def test_every_scene_in_use_is_written_on_its_own_grid_and_old_ones_go(prepared, tmp_path):
    atlas, _, split = prepared
    (tmp_path / "scenes" / "gone").mkdir(parents=True)
    images = [np.full((*s.shape, 3), i, np.uint8) for i, s in enumerate(atlas.scenes)]
    assert write_scenes(tmp_path, atlas, images, split) == ["one", "two"]
    assert sorted(path.name for path in (tmp_path / "scenes").iterdir()) == ["one", "two"]
    with rasterio.open(tmp_path / "scenes" / "two" / "split.tif") as raster:
        assert (raster.read(1) == split[atlas.window(1)]).all()
        assert raster.transform == GRID
    with rasterio.open(tmp_path / "scenes" / "two" / "image.tif") as raster:
        assert (raster.read() == 1).all()


def test_the_rules_are_those_of_the_study():
    rules = chip_rules(Data(chip_size=96, stride=7, min_labelled_train=0.1, max_cloud=0.3, max_water=0.4))
    assert (rules.size, rules.stride, rules.min_labelled_train) == (96, 7, 0.1)
    assert (rules.max_cloud, rules.max_water, rules.min_labelled_eval) == (0.3, 0.4, 0.5)


def advice(labels: np.ndarray, crs: CRS | None = PLACE, **lost: int) -> str:
    """Return the advice where a split has lost a class."""
    atlas = lay_scenes([scene("s", labels, crs)], OPTIONS)
    blocks, split = split_atlas(atlas, OPTIONS, 0)
    coverage = class_coverage(atlas.labels, split)
    for name, code in lost.items():
        coverage.iloc[coverage.index.get_loc(name), code] = 0
    return advise_blocks(atlas, OPTIONS, 0, blocks, coverage, primary_classes(blocks))


def test_a_missing_class_brings_a_block_size_that_has_it():
    labels = landscape(8, 8)
    assert advice(labels) == ""
    # 8 × 8 blocks of 64 px and 30 m: 1,920 m; at four times that, 4 blocks make no three folds
    assert advice(labels, val=6) == (
        "data.block_metres: 3840 would bring tree cover, shrubland, grassland, cropland, built-up, bare, water to "
        "train, val and test"
    )
    assert advice(labels, None, val=6).startswith("scenes without coordinates")
    rare = np.where(labels == 6, 0, labels)
    rare[1:21, 1:21] = 6  # one corner: no partition brings it to three splits
    assert advice(rare, val=6).startswith("no block size tried (around 1920 m) brings tree cover")


def test_the_advice_stands_below_what_is_missing():
    assert absent_advice({"val": []}, "").startswith("- Every split")
    assert absent_advice({"val": [6]}, "use more").splitlines()[1] == "- Use more."
