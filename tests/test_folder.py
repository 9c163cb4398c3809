"""A folder of one's own: every layout and kind of mask, and a sentence for every way it can be wrong."""

from __future__ import annotations

import shutil
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from foreign_folder import COLOURS, LEGEND, make_foreign_folder, make_pair
from PIL import Image
from rasterio.enums import ColorInterp
from rasterio.transform import Affine

from groundsynth.artifacts import read_json
from groundsynth.data import folder as folders
from groundsynth.data.folder import FOLDER, PICTURE
from groundsynth.data.layouts import LAYOUTS, find_layout, find_pairs
from groundsynth.data.masks import parse_legend
from groundsynth.data.scene import Scene
from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES

CODES = {"0": None, "1": "water", "2": "cropland", "9": "tree cover"}
GRID = Affine(10, 0, 500_000, 0, -10, 5_400_000)
PLACED = dict(crs="EPSG:32632", transform=GRID)
MASK = np.tile(np.array([1, 2, 9, 0], np.uint8), (4, 1))
OURS = np.tile(np.array([6, 3, 0, 255]), (4, 1))


@pytest.fixture(autouse=True)
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GROUNDSYNTH_DATA", str(tmp_path / "raw"))
    return tmp_path / "raw"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A user's folder with one GeoTIFF pair, ``images/a.tif`` and ``masks/a.tif``."""
    folder = tmp_path / "mine"
    write_tif(folder / "images" / "a.tif", picture(), **PLACED)
    write_tif(folder / "masks" / "a.tif", MASK[None], **PLACED)
    return folder


def picture(bands: int = 3, dtype: str = "uint8", shape: tuple[int, int] = (4, 4)) -> np.ndarray:
    return (10 + np.arange(bands * shape[0] * shape[1]).reshape(bands, *shape)).astype(dtype)


def write_tif(path: Path, values: np.ndarray, colours: list | None = None, **profile: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    given = dict(driver="GTiff", dtype=values.dtype, count=count, height=height, width=width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", **{**given, **profile}) as raster:
            raster.write(values)
            if colours:
                raster.colorinterp = colours
    return path


def write_png(path: Path, values: np.ndarray, **save: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **save)
    return path


def options(folder: Path | None, legend: dict | None = CODES, layout: str = "auto") -> SimpleNamespace:
    return SimpleNamespace(folder=folder and str(folder), legend=legend, layout=layout, scenes=[])


def fetch(chosen: SimpleNamespace) -> Path:
    return folders.fetch(chosen, FOLDER)


def read(chosen: SimpleNamespace, folder: Path) -> Iterator[Scene]:
    return folders.read(chosen, FOLDER, folder)


def scenes(folder: Path, legend: dict | None = CODES, layout: str = "auto") -> list[Scene]:
    chosen = options(folder, legend, layout)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return list(read(chosen, fetch(chosen)))


def refused(sentence: str, folder: Path | None, legend: dict | None = CODES, layout: str = "auto") -> str:
    """Assert that the folder is refused with one sentence that matches, and that nothing is noted."""
    with pytest.raises(GroundsynthError, match=sentence) as caught:
        list(read(options(folder, legend, layout), fetch(options(folder, legend, layout))))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- values, codes, place ---------------------------------------------------------------------------


def test_a_pair_keeps_values_codes_and_place(mine: Path):
    (scene,) = scenes(mine)
    assert (scene.name, scene.source, scene.stretched) == ("a", "folder", True)
    assert scene.crs.to_epsg() == 32632
    assert scene.transform == GRID
    assert scene.bands.dtype == np.float32
    assert (scene.bands == picture()).all()
    assert (scene.labels == OURS).all()
    assert scene.valid.all()


def test_more_than_eight_bits_are_measurements(mine: Path):
    write_tif(mine / "images" / "a.tif", 100 * picture(dtype="uint16"), **PLACED)
    (scene,) = scenes(mine)
    assert not scene.stretched
    assert (scene.bands == 100 * picture(dtype="uint16")).all()


def test_pictures_without_coordinates_have_no_place(tmp_path: Path):
    write_png(tmp_path / "mine" / "a.jpg", picture().transpose(1, 2, 0), quality=100)
    write_png(tmp_path / "mine" / "a_mask.png", MASK)
    (scene,) = scenes(tmp_path / "mine")
    assert scene.crs is None
    assert scene.transform == PICTURE
    assert (scene.labels == OURS).all()


@pytest.mark.parametrize("which", ["images", "masks"])
def test_where_one_has_no_coordinates_the_other_tells_the_place(mine: Path, which: str):
    values = picture() if which == "images" else MASK[None]
    write_tif(mine / which / "a.tif", values)
    (scene,) = scenes(mine)
    assert scene.transform == GRID


@pytest.mark.parametrize("kind", ["tif", "png"])
def test_the_alpha_band_is_an_outline(tmp_path: Path, kind: str):
    values = np.concatenate([picture(), np.full((1, 4, 4), 255, np.uint8)])
    values[3, 0, 1] = 0
    folder = tmp_path / "mine"
    if kind == "tif":
        rgba = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
        write_tif(folder / "images" / "a.tif", values, rgba)
    else:
        write_png(folder / "images" / "a.png", values.transpose(1, 2, 0))
    write_png(folder / "masks" / "a.png", MASK)
    (scene,) = scenes(folder)
    assert scene.bands.shape == (3, 4, 4)
    assert np.isnan(scene.bands[:, 0, 1]).all()
    assert (scene.labels[0, 1], scene.valid.sum()) == (255, 15)


def test_nodata_of_an_image_is_no_image(mine: Path):
    values = picture(dtype="uint16")
    values[:, 2, 2] = 0
    write_tif(mine / "images" / "a.tif", values, nodata=0, **PLACED)
    (scene,) = scenes(mine)
    assert (scene.valid.sum(), scene.labels[2, 2]) == (15, 255)


def test_bands_are_taken_by_their_colour(mine: Path):
    order = [ColorInterp.blue, ColorInterp.green, ColorInterp.red, ColorInterp.undefined]
    write_tif(mine / "images" / "a.tif", picture(4), order, **PLACED)
    (scene,) = scenes(mine)
    assert (scene.bands == picture(4)[[2, 1, 0]]).all()


def test_a_large_picture_comes_in_pieces(mine: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(folders, "PIECE", 3)
    pieces = scenes(mine)
    assert [piece.name for piece in pieces] == ["a-r00c00", "a-r00c01", "a-r01c00", "a-r01c01"]
    assert pieces[3].transform == GRID @ Affine.translation(2, 2), "equal pieces"
    rows = [np.concatenate([pieces[k].bands, pieces[k + 1].bands], 2) for k in (0, 2)]
    assert (np.concatenate(rows, 1) == picture()).all()


# --- kinds of masks ---------------------------------------------------------------------------------

PAINT = {0: (0, 0, 0), 1: (10, 20, 200), 2: (200, 180, 10), 9: (10, 90, 10)}
PAINTED = {"#000000": None, "#0a14c8": "water", "#C8B40A": "cropland", "#0a5a0a": "tree cover"}


def painted() -> np.ndarray:
    table = np.zeros((256, 3), np.uint8)
    for code, colour in PAINT.items():
        table[code] = colour
    return table[MASK]  # (4, 4, 3)


def palette_image() -> Image.Image:
    image = Image.fromarray(MASK, mode="P")
    image.putpalette([value for code in range(256) for value in PAINT.get(code, (1, 1, 1))])
    return image


MASKS: dict[str, tuple[Callable, dict]] = {
    "codes in a PNG": (lambda path: write_png(path, MASK), CODES),
    "codes as three equal bands": (lambda path: write_png(path, np.stack([MASK] * 3, -1)), CODES),
    "codes of a palette": (lambda path: palette_image().save(path), CODES),
    "colours": (lambda path: write_png(path, painted()), PAINTED),
    "colours of a palette": (lambda path: palette_image().save(path), PAINTED),
    "colours with alpha": (
        lambda path: write_png(path, np.dstack([painted(), np.full((4, 4), 255, np.uint8)])),
        PAINTED,
    ),
    "16-bit codes": (lambda path: write_png(path, MASK.astype(np.uint16)), CODES),
}


@pytest.mark.parametrize("kind", MASKS)
def test_every_kind_of_mask_is_read(mine: Path, kind: str):
    write, legend = MASKS[kind]
    (mine / "masks" / "a.tif").unlink()
    write(mine / "masks" / "a.png")
    (scene,) = scenes(mine, legend)
    assert (scene.labels == OURS).all()


def test_transparent_pixels_of_a_mask_have_no_label(mine: Path):
    alpha = np.full((4, 4), 255, np.uint8)
    alpha[1, 1] = 0
    colours = painted()
    colours[1, 1] = (99, 99, 99)  # whatever lies under it
    (mine / "masks" / "a.tif").unlink()
    write_png(mine / "masks" / "a.png", np.dstack([colours, alpha]))
    (scene,) = scenes(mine, PAINTED)
    assert scene.labels[1, 1] == 255
    assert (scene.labels != 255).sum() == 11


def test_nodata_of_a_mask_has_no_label_unless_listed(mine: Path):
    write_tif(mine / "masks" / "a.tif", MASK[None], nodata=9, **PLACED)
    assert (scenes(mine)[0].labels == OURS).all(), "listed: a class"
    unlisted = {key: name for key, name in CODES.items() if key != "9"}
    (scene,) = scenes(mine, unlisted)
    assert (scene.labels[:, 2] == 255).all()


def test_an_exact_jpeg_mask_is_read_and_a_blurred_one_refused(mine: Path):
    (mine / "masks" / "a.tif").unlink()
    one = {"#ffffff": "water", "#000000": None}
    write_png(mine / "masks" / "a.jpg", np.full((4, 4, 3), 255, np.uint8), quality=95)
    assert (scenes(mine, one)[0].labels == 6).all()
    write_png(mine / "masks" / "a.jpg", painted(), quality=75)
    assert "a.jpg" in refused(r"JPEG blurs colours at every border: save masks as PNG", mine, PAINTED)
    write_png(mine / "masks" / "a.jpg", MASK, quality=100)
    refused("a JPEG changes codes by small amounts", mine)


# --- how files are arranged -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/a.tif", "masks/a.png"),
        ("images/a.tif", "labels/a_label.png"),
        ("images/a.jpg", "masks/a_mask.png"),
        ("image/a.jpg", "gt/a_GT.tif"),
        ("north/images/a.png", "north/labels/a.png"),
        ("images/train/a.png", "masks/train/a_lab.png"),
        ("a.jpg", "masks/a.png"),
        ("a.tif", "a_mask.tif"),
        ("a.jpg", "a.png"),
        ("a.TIF", "a.png"),
    ],
)
def test_pairs_are_found(tmp_path: Path, image: str, mask: str):
    for path in (image, mask):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "notes.txt").touch()
    (pair,) = find_pairs(tmp_path, LAYOUTS["flat"])
    assert (pair.image, pair.mask) == (tmp_path / image, tmp_path / mask)


def test_names_are_unique_and_safe(tmp_path: Path):
    for place in ("images", "masks"):
        (tmp_path / place).mkdir()
        for stem in ("Plot 1", "plot-1", "Ümit"):
            (tmp_path / place / f"{stem}.png").touch()
    names = [pair.name for pair in find_pairs(tmp_path, LAYOUTS["flat"])]
    assert sorted(names) == ["mit", "plot-1", "plot-1-2"]


def test_loveda_is_recognised(tmp_path: Path):
    for part in ("Train/Urban", "Val/Rural"):
        write_png(tmp_path / part / "images_png" / "7.png", np.zeros((2, 4, 3), np.uint8))
        write_png(tmp_path / part / "masks_png" / "7.png", np.arange(8, dtype=np.uint8).reshape(2, 4))
    write_png(tmp_path / "Test/Urban/images_png/9.png", np.zeros((2, 4, 3), np.uint8))  # masks are withheld
    found = scenes(tmp_path, None)
    assert [scene.name for scene in found] == ["train-urban-7", "val-rural-7"]
    # no data, background, building, road, water, barren, forest, agriculture
    assert found[0].labels.tolist() == [[255, 255, 4, 4], [6, 5, 0, 3]]


def test_openearthmap_is_recognised(tmp_path: Path):
    for name in ("tokyo_1", "tokyo_2"):
        write_tif(tmp_path / "tokyo" / "images" / f"{name}.tif", np.zeros((3, 3, 3), np.uint8))
    for name in ("tokyo_1", "tokyo_9"):  # the image of tokyo_9 is to be had elsewhere
        codes = np.arange(9, dtype=np.uint8).reshape(1, 3, 3)
        write_tif(tmp_path / "tokyo" / "labels" / f"{name}.tif", codes)
    (tmp_path / "train.txt").write_text("tokyo_1.tif\n")
    (tmp_path / "test.txt").write_text("tokyo_2.tif\n")  # its label is withheld
    (scene,) = scenes(tmp_path, None)
    assert scene.name == "tokyo-tokyo_1"
    # unknown, bareland, rangeland, developed, road, tree, water, agriculture, building
    assert scene.labels.ravel().tolist() == [255, 5, 2, 4, 4, 0, 6, 3, 4]
    (tmp_path / "test.txt").unlink()
    refused("1 of 2 images have no mask, first tokyo/images/tokyo_2.tif", tmp_path, None)


@pytest.mark.parametrize("place", ["train/images", "train/Semantic_masks/images"])
def test_isaid_is_recognised(tmp_path: Path, place: str):
    colours = np.array([[(0, 0, 0), (0, 0, 255), (0, 127, 191), (0, 191, 127)]], np.uint8)
    write_png(tmp_path / "train" / "images" / "P0002.png", np.zeros((1, 4, 3), np.uint8))
    write_png(tmp_path / place / "P0002_instance_color_RGB.png", colours)
    write_png(tmp_path / place / "P0002_instance_id_RGB.png", 3 * colours)
    write_png(tmp_path / "test" / "images" / "P0006.png", np.zeros((1, 4, 3), np.uint8))
    (scene,) = scenes(tmp_path, None)
    # unlabelled, swimming pool, soccer field, roundabout
    assert scene.labels.tolist() == [[255, 6, 2, 4]]


def test_a_legend_of_ones_own_goes_before_the_published_one(tmp_path: Path):
    write_png(tmp_path / "Train/Urban/images_png/7.png", np.zeros((1, 2, 3), np.uint8))
    write_png(tmp_path / "Train/Urban/masks_png/7.png", np.array([[1, 7]], np.uint8))
    (scene,) = scenes(tmp_path, {"1": "grassland", "7": "cropland"})
    assert scene.labels.tolist() == [[2, 3]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_published_legends_hold_known_classes(layout: str):
    if LAYOUTS[layout].legend:
        legend = parse_legend(LAYOUTS[layout].legend)
        assert set(legend.classes.values()) <= {*range(len(CLASSES)), 255}
        assert len(legend.classes) == len(LAYOUTS[layout].legend)


def test_regions_without_lists_are_nobodys_layout(mine: Path, tmp_path: Path):
    """A published legend must not be put on a folder that merely looks alike."""
    shutil.move(mine, tmp_path / "all" / "region")
    assert find_layout(tmp_path / "all", "auto").name == "flat"


# --- what is noted --------------------------------------------------------------------------------------


def test_the_note_holds_hashes_and_copies_nothing(mine: Path, raw: Path):
    folder = fetch(options(mine))
    assert folder.parent == raw / "folder"
    assert [path.name for path in folder.iterdir()] == ["scene.json"]
    note = read_json(folder / "scene.json", "")
    assert set(note["files"]) == {"images/a.tif", "masks/a.tif"}
    assert len(note["files"]["images/a.tif"]["sha256"]) == 64


def test_an_unchanged_folder_is_neither_hashed_nor_noted_again(mine: Path, monkeypatch: pytest.MonkeyPatch):
    note = fetch(options(mine)) / "scene.json"
    before = note.stat().st_mtime_ns
    monkeypatch.setattr(folders, "digest_of", lambda path: pytest.fail(f"{path} hashed again"))
    fetch(options(mine))
    assert note.stat().st_mtime_ns == before
    monkeypatch.undo()


def test_a_changed_file_is_noted_anew_and_never_read_unnoticed(
    mine: Path, raw: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GROUNDSYNTH_DATA", str(raw))
    folder = fetch(options(mine))
    write_tif(mine / "images" / "a.tif", picture() + 1, **PLACED)
    with pytest.raises(GroundsynthError, match=r"a.tif: not the file that was checked"):
        list(read(options(mine), folder))
    assert fetch(options(mine)) == folder
    assert (next(read(options(mine), folder)).bands == picture() + 1).all()


# --- what is wrong --------------------------------------------------------------------------------------


def test_no_folder_is_one_sentence(tmp_path: Path):
    refused("data.folder is not set", None)
    refused(r"no such folder \(.*nowhere\)", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    refused("no image of layout 'flat' in it", tmp_path / "empty")


@pytest.mark.parametrize(
    ("legend", "sentence"),
    [
        (None, "data.legend = None: a folder's masks mean nothing without it"),
        ({}, "masks mean nothing without it"),
        ({"1": "watter"}, "data.legend: 'watter' is not a class; did you mean 'water'?"),
        ({"1": "zzz"}, r"'zzz' is not a class; choose one of tree cover, .*, or null"),
        ({"green": "water"}, "'green' is neither a code such as 10 nor a colour such as #00ff00"),
        ({"-1": "water"}, "'-1' is neither"),
        ({"1": "water", "#00ff00": "tree cover"}, "'1' and '#00ff00' mix codes and colours"),
    ],
)
def test_a_legend_that_is_none_is_one_sentence(mine: Path, legend: dict | None, sentence: str):
    refused(sentence, mine, legend)


def test_keys_may_be_numbers_and_colours_of_any_case(mine: Path):
    assert (scenes(mine, {0: None, 1: "water", 2: "cropland", 9: "tree cover"})[0].labels == OURS).all()
    assert parse_legend({"#00FF00": "water"}).classes == {0x00FF00: 6}


def test_a_lone_image_or_mask_is_named(mine: Path):
    shutil.copy(mine / "images" / "a.tif", mine / "images" / "b.tif")
    refused("1 of 2 images have no mask, first images/b.tif", mine)
    (mine / "images" / "b.tif").rename(mine / "masks" / "c_mask.tif")
    refused("1 of 2 masks have no image, first masks/c_mask.tif", mine)


def test_images_without_any_mask_are_refused(mine: Path):
    shutil.rmtree(mine / "masks")
    refused("1 of 1 images have no mask", mine)


def test_two_masks_for_one_image_are_named(mine: Path):
    shutil.copy(mine / "masks" / "a.tif", mine / "masks" / "a_label.tif")
    refused("masks/a.tif and masks/a_label.tif have the same stem", mine)


def test_another_size_names_both(mine: Path):
    write_tif(mine / "masks" / "a.tif", MASK[None, :3], **PLACED)
    refused(r"images/a.tif has \(4, 4\) pixels but .*masks/a.tif has \(3, 4\)", mine)


def test_another_crs_names_both(mine: Path):
    write_tif(mine / "masks" / "a.tif", MASK[None], crs="EPSG:32633", transform=GRID)
    refused(r"images/a.tif has the CRS EPSG:32632 but .*masks/a.tif has EPSG:32633", mine)


def test_another_place_names_both(mine: Path):
    write_tif(
        mine / "masks" / "a.tif", MASK[None], crs="EPSG:32632", transform=GRID @ Affine.translation(1, 0)
    )
    refused(r"images/a.tif lies at .* but .*masks/a.tif at", mine)


@pytest.mark.parametrize("which", ["images", "masks"])
@pytest.mark.parametrize("turn", [Affine.rotation(30), Affine.scale(1, -1)])
def test_a_rotated_transform_is_named(mine: Path, which: str, turn: Affine):
    values = picture() if which == "images" else MASK[None]
    write_tif(mine / which / "a.tif", values, crs="EPSG:32632", transform=GRID @ turn)
    refused(rf"{which}/a.tif: its transform .* is rotated", mine)


def test_degrees_are_refused(mine: Path):
    place = dict(crs="EPSG:4326", transform=Affine(1e-4, 0, 9, 0, -1e-4, 48))
    write_tif(mine / "images" / "a.tif", picture(), **place)
    write_tif(mine / "masks" / "a.tif", MASK[None], **place)
    refused(r"a.tif: its CRS EPSG:4326 counts degrees", mine)


def test_mixed_depths_name_both(mine: Path):
    write_tif(mine / "images" / "b.tif", picture(dtype="uint16"), **PLACED)
    shutil.copy(mine / "masks" / "a.tif", mine / "masks" / "b.tif")
    refused(r"images/a.tif has 8 bits and .*images/b.tif more", mine)


@pytest.mark.parametrize("bands", [1, 2])
def test_too_few_bands_are_named(mine: Path, bands: int):
    write_tif(mine / "images" / "a.tif", picture(bands), **PLACED)
    refused(rf"a.tif: has {bands} bands; an image has red, green and blue", mine)


def test_an_unknown_code_is_counted(mine: Path):
    mask = MASK.copy()
    mask[0], mask[1, 0] = 7, 8
    write_tif(mine / "masks" / "a.tif", mask[None], **PLACED)
    refused(
        r"masks/a.tif: 4 pixels have the code 7, which data.legend does not list \(2 such codes in this file\)",
        mine,
    )


def test_an_unknown_colour_is_counted(mine: Path):
    colours = painted()
    colours[0, :3] = (18, 52, 86)
    (mine / "masks" / "a.tif").unlink()
    write_png(mine / "masks" / "a.png", colours)
    refused(
        r"masks/a.png: 3 pixels have the colour #123456, which .* \(1 such colours .* add \"#123456\"",
        mine,
        PAINTED,
    )


def test_codes_and_colours_are_not_confused(mine: Path):
    refused("a mask of one band, but data.legend lists colours; list its codes, such as 9", mine, PAINTED)
    write_tif(mine / "masks" / "a.tif", painted().transpose(2, 0, 1), **PLACED)
    refused("a mask of 3 bands that differ, but data.legend lists codes", mine)


def test_an_averaged_mask_is_refused(mine: Path):
    write_tif(mine / "masks" / "a.tif", MASK[None].astype(np.float32) + 0.5, **PLACED)
    refused(r"masks/a.tif: holds 1.5, which is no code", mine)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("which", ["images", "masks"])
@pytest.mark.parametrize("left", [0, 20, 0.5, 0.9])
def test_a_damaged_file_is_named(tmp_path: Path, suffix: str, which: str, left: float):
    look, mask = make_pair(64, 0)
    folder = tmp_path / "mine"
    for kind, values in (("images", look), ("masks", mask)):
        ending = suffix if kind == which else "png"
        write_png(folder / kind / f"a.{ending}", values)
    path = folder / which / f"a.{suffix}"
    content = path.read_bytes()
    path.write_bytes(content[: int(left * len(content)) if left < 1 else left])
    refused(rf"{which}/a.{suffix}: not a readable image", folder, LEGEND)


def test_a_class_that_no_mask_holds_is_a_warning_once(mine: Path):
    shutil.copy(mine / "images" / "a.tif", mine / "images" / "b.tif")
    shutil.copy(mine / "masks" / "a.tif", mine / "masks" / "b.tif")
    chosen = options(mine, {**CODES, "4": "built-up", "5": None})
    with pytest.warns(UserWarning, match=r"data.legend lists 4 \(built-up\), which no mask holds") as caught:
        assert len(list(read(chosen, fetch(chosen)))) == 2
    assert len(caught) == 1


# --- a folder as users have them ------------------------------------------------------------------------


def test_a_foreign_folder_of_72_pairs(tmp_path: Path):
    folder = make_foreign_folder(tmp_path / "foreign", size=64)
    found = scenes(folder, LEGEND)
    assert len(found) == 72
    assert (found[0].name, found[71].name) == ("plot-000", "plot-071")
    ours = [CLASSES.index(name) for name in LEGEND.values()]
    for index in (0, 71):
        look, mask = make_pair(64, index)
        for colour, code in zip(COLOURS, ours, strict=True):
            assert ((found[index].labels == code) == (mask == colour).all(-1)).all()
        assert np.abs(found[index].bands.transpose(1, 2, 0) - look).mean() < 10, "JPEG, but the same picture"
    counts = np.bincount(np.concatenate([scene.labels.ravel() for scene in found]), minlength=7)
    assert (counts[ours] > 0.1 * counts.sum()).all(), "every class can be learnt"
    assert (make_pair(64, 5)[0] == make_pair(64, 5)[0]).all(), "seeded"


def test_scenes_come_one_by_one(tmp_path: Path):
    """Memory holds a scene or two, not the folder."""
    folder = make_foreign_folder(tmp_path / "foreign", n=16, size=200)
    chosen = options(folder, LEGEND)
    place = fetch(chosen)
    one = 200 * 200 * (3 * 4 + 2)  # bytes
    tracemalloc.start()
    for _ in read(chosen, place):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * one, f"{peak / one:.1f} scenes at once"
