"""One grid for all scenes of a coordinate system: what is on it stays, what is not is resampled."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.transform import Affine

from groundsynth.data.grids import align_scenes, pixel_metres
from groundsynth.data.scene import Scene
from groundsynth.errors import GroundsynthError

UTM = CRS.from_epsg(32652)
GRID = Affine(10, 0, 300_000, 0, -10, 4_000_000)


def scene(name: str = "s", shape: tuple = (20, 30), transform: Affine = GRID, crs: CRS | None = UTM) -> Scene:
    """A plane that rises by one per 10 m eastwards from 300,000, labelled 1 west of 300,150 and 2 east of it."""
    height, width = shape
    east = transform.c + transform.a * (np.arange(width) + 0.5) - 300_000
    bands = np.broadcast_to((east / 10).astype(np.float32), (3, height, width)).copy()
    labels = np.broadcast_to(np.where(east < 150, 1, 2).astype(np.uint8), shape).copy()
    return Scene(name, bands, labels, np.ones(shape, bool), crs, transform)


def test_scenes_on_the_grid_stay_as_they_are():
    first = scene()
    moved = scene("moved", transform=GRID * Affine.translation(7, -3))
    nearly = scene("nearly", transform=GRID * Affine.translation(7 + 1e-4, 0))
    lost = scene("lost", crs=None, transform=Affine.identity())
    for before, after in zip(
        [first, moved, nearly, lost], align_scenes([first, moved, nearly, lost], None), strict=True
    ):
        assert after is before


def test_another_resolution_is_resampled_to_the_first_grid():
    coarse = scene("coarse", (10, 15), GRID * Affine.scale(2))
    _, fine = align_scenes([scene(), coarse], None)
    assert fine.transform == GRID
    assert fine.shape == (20, 30)
    inner = np.s_[:, 2:-2, 2:-2]
    assert np.allclose(fine.bands[inner], scene().bands[inner], atol=1e-3), "bilinear keeps a plane a plane"
    assert set(np.unique(fine.labels)) == {1, 2}, "nearest makes no new class"


def test_half_a_pixel_off_is_resampled_and_keeps_its_place():
    _, moved = align_scenes([scene(), scene("off", transform=GRID * Affine.translation(4.5, 0))], None)
    assert moved.transform == GRID * Affine.translation(4, 0)
    assert moved.shape == (20, 31)
    inner = moved.bands[0, 5, 2:-2]
    assert np.allclose(inner, np.arange(6, 6 + len(inner)) + 0.5, atol=1e-3)


def test_no_image_stays_no_image_and_has_no_label():
    holed = scene("holed", transform=GRID * Affine.translation(0.5, 0))
    holed.bands[:, 5:10, 5:10] = np.nan
    holed.valid[5:10, 5:10] = False
    holed.labels[5:10, 5:10] = 255
    _, moved = align_scenes([scene(), holed], None)
    assert np.isnan(moved.bands[:, 7, 8]).all()
    assert not moved.valid[7, 8]
    assert (moved.valid == np.isfinite(moved.bands).all(0)).all()
    assert (moved.labels[~moved.valid] == 255).all()


def test_a_resolution_is_metres_on_the_ground():
    (wide,) = align_scenes([scene()], 20)
    assert (wide.transform.a, wide.transform.e) == (20, -20)
    assert wide.shape == (10, 15)
    assert align_scenes([scene()], 10)[0].shape == (20, 30)


def test_degrees_are_turned_into_metres_where_the_scene_lies():
    degrees = scene("d", (20, 30), Affine(1e-4, 0, 126, 0, -1e-4, 60.001), CRS.from_epsg(4326))
    height, width = pixel_metres(degrees)
    assert height == pytest.approx(11.132)
    assert width == pytest.approx(11.132 * math.cos(math.radians(60)), rel=1e-6)
    feet = scene("f", crs=CRS.from_epsg(2264))  # US survey feet
    assert pixel_metres(feet) == pytest.approx((3.048, 3.048), rel=1e-4)
    assert pixel_metres(scene(crs=None)) is None


def test_a_rotated_grid_is_an_error():
    with pytest.raises(
        GroundsynthError, match=r"scene 's': its grid is rotated, .* warp it to a north-up grid"
    ):
        align_scenes([scene(transform=GRID * Affine.rotation(5))], None)
