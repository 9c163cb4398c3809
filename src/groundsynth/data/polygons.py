"""A map drawn as polygons (GeoPackage), burned into the grid of an image."""

from __future__ import annotations

import sqlite3
import struct
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rasterio.crs import CRS
from rasterio.features import rasterize
from rasterio.transform import Affine

from groundsynth.data.source_kinds import RasterSource
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL

Rings = list[list[tuple[float, float]]]  # the outline, then the holes
POLYGON, MULTIPOLYGON = 3, 6  # well-known binary
ENVELOPE_BYTES = (0, 32, 48, 48, 64)  # by the envelope kind of a GeoPackage header


def burn_polygons(
    path: Path, spec: RasterSource, shape: tuple[int, int], crs: CRS, transform: Affine
) -> np.ndarray:
    """Return the polygons as labels of the common legend, (h, w) uint8.

    A pixel belongs to a polygon that holds its centre. It has no label outside all polygons, where
    polygons of two classes overlap, and where the class has no counterpart in the common legend.

    Raises:
        GroundsynthError: missing or damaged file, another CRS, a class the source's table does not list.
    """
    polygons = _by_code(path, spec, crs)
    labels = np.full(shape, NO_LABEL, np.uint8)
    taken = np.zeros(shape, bool)
    for _, ours, shapes in sorted((code, spec.remap[code][1], shapes) for code, shapes in polygons.items()):
        inside = rasterize(shapes, shape, transform=transform).astype(bool)
        value = NO_LABEL if ours is None else ours
        labels = np.where(inside, np.where(taken & (labels != value), NO_LABEL, value), labels)
        taken |= inside
    return labels.astype(np.uint8)


def _by_code(path: Path, spec: RasterSource, crs: CRS) -> dict[str, list[dict]]:
    """Return the polygons of each code as GeoJSON geometries."""
    found = defaultdict(list)
    try:
        for code, blob in _rows(path, spec.column, crs):
            if code not in spec.remap:
                raise GroundsynthError(
                    f"{path}: class '{code}' is not one of {sorted(spec.remap)}; "
                    f"add it to the remap table of '{spec.name}' in groundsynth.data.sources"
                )
            found[code].append({"type": "MultiPolygon", "coordinates": _decode(blob)})
    except (sqlite3.Error, struct.error, ValueError, IndexError) as error:
        raise GroundsynthError(
            f"{path}: not a readable GeoPackage of polygons ({error}); delete {path.parent} and run again"
        ) from None
    return found


def _rows(path: Path, column: str, crs: CRS) -> Iterator[tuple[str, bytes]]:
    """Yield (code, geometry) of every feature of the first layer."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        table, geometry, organisation, number = connection.execute(
            "SELECT table_name, column_name, organization, organization_coordsys_id "
            "FROM gpkg_geometry_columns JOIN gpkg_spatial_ref_sys USING (srs_id)"
        ).fetchone() or ("", "", "", "")
        if not table:
            raise ValueError("no layer inside")
        stated = f"{organisation}:{number}"
        if CRS.from_string(stated) != crs:
            raise GroundsynthError(
                f"{path}: its CRS is {stated} but the image has {crs.to_string()}; all layers must share one CRS: "
                "reproject it"
            )
        yield from connection.execute(f'SELECT "{column}", "{geometry}" FROM "{table}"')
    finally:
        connection.close()


def _decode(blob: bytes) -> list[Rings]:
    """Return the polygons of a GeoPackage geometry (a short header, then well-known binary)."""
    if blob[:2] != b"GP":
        raise ValueError("a geometry without its header")
    polygons, _ = _read_geometry(blob, 8 + ENVELOPE_BYTES[blob[3] >> 1 & 7])
    return polygons


def _read_geometry(blob: bytes, at: int) -> tuple[list[Rings], int]:
    """Return the polygons that start at a byte, and the byte behind them."""
    order = "<" if blob[at] else ">"
    kind, count = struct.unpack_from(f"{order}II", blob, at + 1)
    if kind not in (POLYGON, MULTIPOLYGON):
        raise ValueError(f"geometry type {kind} is no polygon")
    at, found = at + 9, []
    for _ in range(count):
        part, at = _read_ring(blob, at, order) if kind == POLYGON else _read_geometry(blob, at)
        found += [part] if kind == POLYGON else part
    return ([found] if kind == POLYGON else found), at


def _read_ring(blob: bytes, at: int, order: str) -> tuple[list[tuple[float, float]], int]:
    """Return the points of a ring, and the byte behind it."""
    (points,) = struct.unpack_from(f"{order}I", blob, at)
    ring = np.frombuffer(blob, f"{order}f8", 2 * points, at + 4).reshape(points, 2)
    return ring.tolist(), at + 4 + 16 * points
