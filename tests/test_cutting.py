"""Cutting chips from a large scene: the script's pixels, faster, in memory that does not grow with the scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from groundsynth.__main__ import main
from groundsynth.artifacts import read_json, read_table
from groundsynth.benchmark import cutting
from groundsynth.benchmark.cutting import (
    LEGEND,
    check_equal,
    compare_cutting,
    cut_as_prepared,
    in_own_process,
    write_pair,
)
from groundsynth.data import store
from groundsynth.errors import GroundsynthError

MIB = 2**20


def test_the_pair_is_seeded_and_has_every_class(tmp_path: Path):
    for name in ("one", "two"):
        write_pair(tmp_path / name, 700, 1100)
    with rasterio.open(tmp_path / "one" / "masks" / "scene.tif") as mask:
        codes = mask.read(1)
    assert codes.shape == (700, 1100)
    assert {str(code) for code in np.unique(codes)} == set(LEGEND)
    for kind in ("images", "masks"):
        first, second = ((tmp_path / name / kind / "scene.tif").read_bytes() for name in ("one", "two"))
        assert first == second


def test_the_command_compares_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture):
    """The quick version: 1,500 × 1,500 pixels. Ten thousand are the slow test below."""
    out = tmp_path / "cutting"
    assert main(["cutting-benchmark", "--height", "1500", "--width", "1500", "--output", str(out)]) == 0
    measured = read_json(out / "cutting.json", "")
    assert measured["chips"] > 300
    assert measured["speedup"] > 1.5, measured
    script, ours = measured["processor_seconds_script"], measured["processor_seconds"]
    assert measured["speedup"] == pytest.approx(script / (sum(ours.values()) - ours["splitting"]))
    assert measured["speedup_with_splitting"] == pytest.approx(script / sum(ours.values()))
    assert measured["memory_peak"] - measured["memory_before"] < 512 * MIB
    table = read_table(out / "metrics.csv", "metrics").set_index("metric")
    assert table.loc["chip_cutting_speedup", "value"] == pytest.approx(measured["speedup"])
    assert table.loc["chip_cutting_speedup", "n"] == measured["chips"]
    assert sorted(path.name for path in out.iterdir()) == ["cutting.json", "metrics.csv"], "the rest is gone"


def test_a_single_wrong_pixel_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_pair(tmp_path / "pair", 600, 600)
    monkeypatch.setenv("GROUNDSYNTH_DATA", str(tmp_path / "raw"))
    cut_as_prepared(tmp_path / "pair", tmp_path / "ours", 64)
    chips = tmp_path / "ours" / "chips.parquet"
    cutting.cut_by_script(tmp_path / "pair", tmp_path / "script", cutting.corners_in_file(chips), 64)
    check_equal(chips, tmp_path / "script")
    for kind in ("image", "map"):
        path = tmp_path / "script" / f"7_{kind}.png"
        right = path.read_bytes()
        with Image.open(path) as picture:
            wrong = np.array(picture)
        wrong[63, 0, 1] ^= 1
        Image.fromarray(wrong).save(path)
        with pytest.raises(GroundsynthError, match="is not what the script cut"):
            check_equal(chips, tmp_path / "script")
        path.write_bytes(right)


def cut_with_rasters_on_disk(*arguments: object) -> dict:
    """Cut as ever, but keep the rasters of these small scenes on disk too, as those of large scenes are."""
    store.IN_MEMORY = 0
    return cut_as_prepared(*arguments)


def test_memory_does_not_grow_with_the_scene(tmp_path: Path):
    """12,288 × 2,048 pixels against 4,096 × 2,048: kept whole, the longer one needs 192 MiB more for its bands alone."""
    grown = []
    for height in (4096, 12288):
        write_pair(tmp_path / str(height), height, 2048)
        measured = in_own_process(
            cut_with_rasters_on_disk, tmp_path / str(height), tmp_path / f"o{height}", 256
        )
        grown.append(measured["memory_peak"] - measured["memory_before"])
    assert grown[1] - grown[0] < 120 * MIB, grown
    assert grown[1] < 512 * MIB, grown


@pytest.mark.slow
def test_ten_thousand_pixels_square(tmp_path: Path):
    measured = compare_cutting(tmp_path, 10_000, 10_000, 64)
    assert measured["speedup"] >= 5, measured
    assert measured["memory_peak"] - measured["memory_before"] < 1024 * MIB, measured
