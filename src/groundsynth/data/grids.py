"""Pixel grids on the ground: how large a pixel is, and one grid for all scenes of a coordinate system."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from rasterio.crs import CRS
from rasterio.transform import Affine
from rasterio.warp import Resampling, reproject

from groundsynth.data.scene import Scene
from groundsynth.data.store import MEMORY, Store
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL

SNAP = 0.01  # pixels that two grids may lie apart and still be one
DEGREE = 111_320.0  # metres per degree along a meridian, and along the equator


def pixel_metres(scene: Scene) -> tuple[float, float] | None:
    """Return height and width of a pixel on the ground in metres; None where the place is unknown.

    Degrees are converted at the scene's middle, where they are right to half a percent.
    """
    if scene.crs is None:
        return None
    grid, middle = scene.transform, scene.shape[0] / 2
    if scene.crs.is_geographic:
        latitude = math.radians(grid.f + grid.e * middle)
        return abs(grid.e) * DEGREE, abs(grid.a) * DEGREE * math.cos(latitude)
    factor = scene.crs.linear_units_factor[1]
    return abs(grid.e) * factor, abs(grid.a) * factor


def align_scenes(scenes: Sequence[Scene], resolution: float | None, store: Store = MEMORY) -> list[Scene]:
    """Return the scenes so that all of one coordinate system lie on one grid of whole pixels.

    The grid is that of the first scene of its system, or has pixels of ``resolution`` metres there. A
    scene on that grid stays as it is; any other is resampled, the image bilinearly and the map to the
    nearest pixel, and put into the store. Scenes without a place have no grid to share and stay as they are.

    Raises:
        GroundsynthError: a rotated grid.
    """
    grids: list[tuple[CRS, Affine]] = []
    aligned = []
    for scene in scenes:
        if scene.crs is None:
            aligned.append(scene)
            continue
        if scene.transform.b or scene.transform.d:
            raise GroundsynthError(
                f"scene '{scene.name}': its grid is rotated, {tuple(scene.transform)[:6]}, and blocks need rows "
                "and columns along the map's axes: warp it to a north-up grid"
            )
        known = [grid for crs, grid in grids if crs == scene.crs]
        if not known:
            grids.append((scene.crs, _study_grid(scene, resolution)))
        aligned.append(store.put(_on_grid(scene, (known or [grids[-1][1]])[0])))
    return aligned


def _study_grid(scene: Scene, resolution: float | None) -> Affine:
    metres = pixel_metres(scene)
    if resolution is None or np.allclose(metres, resolution, rtol=1e-6):
        return scene.transform
    height, width = metres
    return scene.transform * Affine.scale(resolution / width, resolution / height)


def grid_offset(transform: Affine, grid: Affine) -> tuple[float, float]:
    """Return (row, col) of a grid's first pixel on another grid of equal pixels."""
    col, row = ~grid * (transform.c, transform.f)
    return row, col


def _on_grid(scene: Scene, grid: Affine) -> Scene:
    """Return the scene on whole pixels of ``grid``, resampled unless it lies there already."""
    own, drift = scene.transform, SNAP / max(scene.shape)
    equal = abs(own.a / grid.a - 1) < drift and abs(own.e / grid.e - 1) < drift
    if equal and all(abs(place - round(place)) < SNAP for place in grid_offset(own, grid)):
        return scene
    height, width = scene.shape
    corners = [~grid * (own * corner) for corner in ((0, 0), (width, height))]
    (left, right), (top, bottom) = (sorted(side) for side in zip(*corners, strict=True))
    left, top = math.floor(left + SNAP), math.floor(top + SNAP)
    shape = (math.ceil(bottom - SNAP) - top, math.ceil(right - SNAP) - left)
    return _resample(scene.load(), grid * Affine.translation(left, top), shape)


def _resample(scene: Scene, transform: Affine, shape: tuple[int, int]) -> Scene:
    places = dict(
        src_crs=scene.crs, dst_crs=scene.crs, src_transform=scene.transform, dst_transform=transform
    )
    bands = np.full((3, *shape), np.nan, np.float32)
    reproject(
        scene.bands, bands, resampling=Resampling.bilinear, src_nodata=np.nan, dst_nodata=np.nan, **places
    )
    labels = np.full(shape, NO_LABEL, np.uint8)
    reproject(
        scene.labels, labels, resampling=Resampling.nearest,
        src_nodata=NO_LABEL, dst_nodata=NO_LABEL, **places,
    )  # fmt: skip
    valid = np.isfinite(bands).all(0)
    bands[:, ~valid], labels[~valid] = np.nan, NO_LABEL
    return replace(scene, bands=bands, labels=labels, valid=valid, transform=transform)
