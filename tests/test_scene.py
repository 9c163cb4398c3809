"""Reading a scene: one grid, one legend, and a sentence for every way it can be wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine
from small_scene import BLUE, GREEN, GRID, MAP, RED, write_layer, write_scene

from groundsynth.data.layers import read_scene as read_layers
from groundsynth.data.scene import Scene, apply_stretch, fit_stretch, stretch_scene, write_raster
from groundsynth.data.sources import get_source
from groundsynth.errors import GroundsynthError

CODES = np.tile(np.arange(1, 8), (5, 1))


def read_scene(folder: Path) -> Scene:
    """Read the scene as that of source nc_landsat7."""
    spec = get_source("nc_landsat7")
    return read_layers(spec, spec.scenes[0], folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_scene(tmp_path / "scene", CODES)


def test_bands_codes_and_place(folder: Path):
    scene = read_scene(folder)
    assert scene.bands.shape == (3, 5, 7)
    assert scene.bands.dtype == np.float32
    # red is band 30 (base + 0), green band 20 (base + 10), blue band 10 (base + 20)
    assert (scene.bands[2] - scene.bands[0] == 20).all()
    # developed, agriculture, herbaceous, shrubland, forest, water, sediment
    assert scene.labels[0].tolist() == [4, 3, 2, 1, 0, 6, 5]
    assert scene.valid.all()
    assert scene.crs.to_epsg() == 32119, "the bands' CRS; the map's is the same projection"
    assert scene.transform == GRID


def test_no_image_or_no_map_means_no_label(folder: Path):
    values = np.full(CODES.shape, 90.0)
    values[0, 0], values[1, 1] = -99999, 0
    write_layer(folder / GREEN, values)
    codes = CODES.astype(float)
    codes[2, 2], codes[3, 3] = -99999, 0
    write_layer(folder / MAP, codes, crs="EPSG:3358")
    scene = read_scene(folder)
    assert [scene.labels[i, i] for i in range(4)] == [255] * 4
    assert [bool(scene.valid[i, i]) for i in range(4)] == [False, False, True, True]
    assert np.isnan(scene.bands[:, 0, 0]).all()
    assert (scene.labels != 255).sum() == CODES.size - 4


def test_a_missing_band_is_named(folder: Path):
    (folder / RED).unlink()
    with pytest.raises(GroundsynthError, match=rf"{RED}: the band is missing; a scene needs three bands"):
        read_scene(folder)


def test_a_damaged_band_is_named(folder: Path):
    (folder / BLUE).write_bytes(b"no raster")
    with pytest.raises(GroundsynthError, match=rf"{BLUE}: not a readable raster"):
        read_scene(folder)


def test_a_truncated_band_is_named(tmp_path: Path):
    folder = write_scene(tmp_path, np.ones((200, 200)))
    content = (folder / BLUE).read_bytes()
    (folder / BLUE).write_bytes(content[: len(content) // 2])
    with pytest.raises(GroundsynthError, match=rf"{BLUE}: not a readable raster"):
        read_scene(folder)


@pytest.mark.parametrize(("name", "crs"), [(GREEN, "EPSG:3358"), (MAP, "EPSG:32617"), (BLUE, "EPSG:4326")])
def test_another_crs_is_an_error_unless_the_registry_says_why(folder: Path, name: str, crs: str):
    write_layer(folder / name, CODES, crs=crs)
    with pytest.raises(GroundsynthError, match=rf"its CRS is {crs} but {RED} has EPSG:32119"):
        read_scene(folder)


def test_a_layer_without_crs_is_an_error(folder: Path):
    write_layer(folder / MAP, CODES, crs=None)
    with pytest.raises(GroundsynthError, match="carries no CRS"):
        read_scene(folder)


def test_another_shape_is_an_error(folder: Path):
    write_layer(folder / MAP, CODES[:-1], crs="EPSG:3358")
    with pytest.raises(GroundsynthError, match=r"has \(4, 7\) pixels but .* has \(5, 7\)"):
        read_scene(folder)


def test_another_transform_is_an_error(folder: Path):
    write_layer(folder / GREEN, CODES, transform=Affine(28.5, 0, GRID.c + 28.5, 0, -28.5, GRID.f))
    with pytest.raises(GroundsynthError, match=rf"{GREEN}: its transform .* is not that of {RED}"):
        read_scene(folder)


def test_an_unknown_class_code_is_an_error(folder: Path):
    write_layer(folder / MAP, np.where(CODES == 7, 11, CODES), crs="EPSG:3358")
    with pytest.raises(GroundsynthError, match=r"class code 11 is not one of \[1, 2, 3, 4, 5, 6, 7\]"):
        read_scene(folder)


def test_a_fractional_class_code_is_an_error(folder: Path):
    """A map resampled by averaging has codes between classes; they must not be rounded silently."""
    write_layer(folder / MAP, CODES + 0.5, crs="EPSG:3358")
    with pytest.raises(GroundsynthError, match=r"class code 1.5 is not one of"):
        read_scene(folder)


@pytest.mark.parametrize("name", [GREEN, MAP])
def test_nan_is_an_error(folder: Path, name: str):
    values = CODES.astype(float)
    values[1, 1:3] = np.nan
    write_layer(folder / name, values, crs="EPSG:3358" if name == MAP else "EPSG:32119")
    with pytest.raises(GroundsynthError, match=rf"{name}: 2 pixels are NaN"):
        read_scene(folder)


def test_nan_that_is_declared_as_nodata_is_no_image(folder: Path):
    values = np.full(CODES.shape, 90.0)
    values[1, 1] = np.nan
    write_layer(folder / GREEN, values, nodata=np.nan)
    assert not read_scene(folder).valid[1, 1]


def test_the_stretch_by_hand():
    bands = np.stack([np.arange(101.0), np.arange(101.0) * 2, np.arange(101.0) + 5])[
        :, None, :
    ]  # (3, 1, 101)
    where = np.ones((1, 101), bool)
    limits = fit_stretch(bands, where, (10, 90))
    assert limits == [(10, 90), (20, 180), (15, 95)]
    image = apply_stretch(bands, limits)
    assert image.shape == (1, 101, 3)
    assert image.dtype == np.uint8
    assert image[0, [0, 10, 50, 90, 100]].tolist() == [[0] * 3, [0] * 3, [128] * 3, [255] * 3, [255] * 3]


def test_the_stretch_knows_training_pixels_only():
    generator = np.random.default_rng(0)
    bands = generator.uniform(1, 100, (3, 20, 20)).astype(np.float32)
    train = np.zeros((20, 20), bool)
    train[:, :10] = True
    before = fit_stretch(bands, train, (1, 99))
    bands[:, :, 10:] *= 1000
    assert fit_stretch(bands, train, (1, 99)) == before


def test_where_there_is_no_image_the_picture_is_black():
    bands = np.full((3, 1, 2), 5, np.float32)
    bands[:, 0, 1] = np.nan
    assert apply_stretch(bands, [(0, 10)] * 3)[0, 1].tolist() == [0, 0, 0]


def test_a_stretch_of_nothing_or_of_a_constant_is_an_error():
    bands = np.ones((3, 4, 4), np.float32)
    with pytest.raises(GroundsynthError, match="0 training pixels carry an image"):
        fit_stretch(bands, np.zeros((4, 4), bool), (1, 99))
    with pytest.raises(GroundsynthError, match=r"band 0 runs from 1.0 to 1.0"):
        fit_stretch(bands, np.ones((4, 4), bool), (1, 99))


def ramp(**changes: object) -> Scene:
    """A scene of one row whose bands run from 0 to 100."""
    bands = np.broadcast_to(np.arange(101, dtype=np.float32), (3, 1, 101))
    whole = np.ones((1, 101), bool)
    return Scene("s", **{**dict(bands=bands, labels=np.zeros((1, 101), np.uint8), valid=whole, crs=None,
                                transform=GRID), **changes})  # fmt: skip


def test_a_scene_is_stretched_by_its_training_pixels_or_by_all_it_has():
    train = np.zeros((1, 101), bool)
    train[:, 50:] = True
    assert stretch_scene(ramp(), train, (0, 100), 51).limits == [(50, 100)] * 3
    without = stretch_scene(ramp(labels=np.full((1, 101), 255, np.uint8)), train, (0, 100), 52)
    assert without.limits == [(0, 100)] * 3, "too few training pixels: all its pixels, labelled or not"
    assert without.learnt_from == "all pixels"


def test_display_values_are_kept():
    scene = ramp(stretched=True)
    stretch = stretch_scene(scene, np.ones((1, 101), bool), (1, 99), 1)
    assert apply_stretch(scene.bands, stretch.limits)[0, :, 0].tolist() == list(range(101))
    assert stretch.learnt_from == "nothing: these are display values"


def test_a_constant_band_names_its_scene():
    with pytest.raises(GroundsynthError, match=r"scene 's': band 0 runs from 5\.0 to 5\.0"):
        stretch_scene(ramp(bands=np.full((3, 1, 101), 5, np.float32)), np.ones((1, 101), bool), (1, 99), 1)


def test_a_scene_belongs_to_the_source_it_is_named_after_unless_it_says():
    assert ramp().source == "s"
    assert ramp(source="folder").source == "folder"


@pytest.mark.filterwarnings("error")
def test_a_scene_without_a_place_is_written_without_one(tmp_path: Path):
    write_raster(tmp_path / "r.tif", np.zeros((1, 101), np.uint8), ramp(transform=Affine.identity()))
    assert (tmp_path / "r.tif").is_file()


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_a_written_raster_keeps_values_and_place(folder: Path, tmp_path: Path, shape: tuple):
    scene = read_scene(folder)
    values = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    write_raster(tmp_path / "r.tif", values, scene, nodata=255)
    with rasterio.open(tmp_path / "r.tif") as raster:
        assert raster.crs == scene.crs
        assert raster.transform == scene.transform
        assert raster.nodata == 255
        assert (np.moveaxis(raster.read(), 0, -1).reshape(shape) == values).all()
