"""A small scene in the true formats (GeoTIFF bands and map, inside a package file), for tests of stage 01."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from groundsynth.data.source_kinds import PackageSource
from groundsynth.data.sources import SOURCES

NAMES = ("lsat7_2000_30.tif", "lsat7_2000_20.tif", "lsat7_2000_10.tif", "strata.tif")
RED, GREEN, BLUE, MAP = NAMES
GRID = Affine(28.5, 0, 630534, 0, -28.5, 228114)


def write_layer(path: Path, values: np.ndarray, **changes: object) -> None:
    """Write (h, w) float32 as the scene's own files are: one band, nodata -99999, EPSG:32119."""
    profile = dict(
        driver="GTiff", dtype="float32", count=1, crs="EPSG:32119", transform=GRID, nodata=-99999.0
    )
    height, width = values.shape
    with rasterio.open(path, "w", height=height, width=width, **{**profile, **changes}) as raster:
        raster.write(values.astype(np.float32), 1)


def write_scene(folder: Path, codes: np.ndarray) -> Path:
    """Write three bands and a map (CRS EPSG:3358) with the given source codes 1…7."""
    folder.mkdir(parents=True, exist_ok=True)
    base = 50 + np.arange(codes.size).reshape(codes.shape) % 100
    for band, name in enumerate((RED, GREEN, BLUE)):
        write_layer(folder / name, base + 10 * band)
    write_layer(folder / MAP, codes, crs="EPSG:3358")
    return folder


def make_package(folder: Path, codes: np.ndarray, leave_out: str = "") -> Path:
    """Write a package file that holds the scene under the true member names."""
    layers = write_scene(folder / "layers", codes)
    spec = SOURCES["nc_landsat7"]
    wheel = folder / spec.wheel
    with zipfile.ZipFile(wheel, "w") as archive:
        for member in spec.members:
            if member in spec.texts:
                archive.writestr(member, "a licence")
            elif Path(member).name != leave_out:
                archive.write(layers / Path(member).name, member)
    return wheel


def register(monkeypatch: pytest.MonkeyPatch, wheel: Path) -> PackageSource:
    """Make the registry expect this package file for the source 'small'."""
    content = wheel.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    spec = replace(SOURCES["nc_landsat7"], name="small", sha256=digest, size=len(content))
    monkeypatch.setitem(SOURCES, "small", spec)
    return spec
