"""A user's own folder of images and masks: checked, hashed, and read one by one."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader
from rasterio.transform import Affine
from rasterio.windows import Window
from tqdm.auto import tqdm

from groundsynth.artifacts import read_json
from groundsynth.atomic import write_json
from groundsynth.data.layouts import Layout, Pair, find_layout, find_pairs
from groundsynth.data.masks import MaskLegend, parse_legend, read_labels
from groundsynth.data.scene import Scene
from groundsynth.data.scene_names import is_chosen
from groundsynth.data.source_kinds import FolderSource
from groundsynth.data.verify import digest_of
from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES, NO_LABEL
from groundsynth.paths import project_root, raw_dir

PIECE = 2048  # pixels; larger pictures are read in pieces, so that memory stays small
PICTURE = Affine(1, 0, 0, 0, -1, 0)  # the grid of what lies nowhere on Earth: pixels

FOLDER = FolderSource(
    name="folder",
    title="A folder of one's own",
    licence="that of the folder's owner",
    citation="as its owner asks for; the layouts of LoveDA, OpenEarthMap and iSAID name theirs in scene.json",
    remap={},
    notes=(
        "Classes are as data.legend maps them, or as the published legend of a recognised layout is mapped here.",
        "8-bit images are taken as they look; images of more bits are stretched from the training blocks.",
        "Pictures without coordinates have no place: how they lie to each other is not known, and near "
        "duplicates among them can reach two splits.",
    ),
)


def fetch(options: Any, spec: FolderSource) -> Path:
    """Check the folder and note it in ``data/raw/folder/<key>/scene.json``; nothing is copied.

    Every image must have its mask, both must open and fit, and all images must be of one depth. A
    file that has kept size and time since the last note keeps its hash; a note that would say the
    same is not written again.

    Raises:
        GroundsynthError: no such folder, no legend, pairs that are incomplete or do not fit.
    """
    root, layout, pairs, _ = _open_folder(options)
    depths: dict[str, Path] = {}
    for pair in tqdm(pairs, desc="checking", unit="pair"):
        with open_pair(pair) as (image, _):
            depths.setdefault("8 bits" if image.dtypes[0] == "uint8" else "more bits", pair.image)
    if len(depths) > 1:
        raise GroundsynthError(
            f"{depths['8 bits']} has 8 bits and {depths['more bits']} more; images of one folder are either all display "
            "values (8 bits) or all measurements: convert one kind, or make two folders"
        )
    note = raw_dir() / spec.name / folder_key(root, layout) / "scene.json"
    old = read_json(note, "delete it and run again") if note.is_file() else {}
    about = dict(source=spec.name, title=spec.title, licence=spec.licence, citation=layout.citation)
    files = [path for pair in pairs for path in (pair.image, pair.mask)]
    noted = {
        **about,
        "folder": str(root),
        "layout": layout.name,
        "files": _hashes(root, files, old.get("files", {})),
    }
    if noted != old:
        write_json(note, noted)
    return note.parent


def folder_key(root: Path, layout: Layout) -> str:
    """Return the name of a folder's note: twelve digits that change with its path and layout."""
    return hashlib.sha256(json.dumps([str(root), layout.name]).encode()).hexdigest()[:12]


def _open_folder(options: Any) -> tuple[Path, Layout, list[Pair], MaskLegend]:
    if not options.folder:
        raise GroundsynthError("data.folder is not set; name the folder that holds your images and masks")
    root = (project_root() / Path(options.folder).expanduser()).resolve()
    if not root.is_dir():
        raise GroundsynthError(
            f"data.folder = {options.folder}: no such folder ({root}); correct the path, which counts from the project"
        )
    layout = find_layout(root, options.layout)
    return root, layout, find_pairs(root, layout), parse_legend(options.legend or layout.legend)


def _hashes(root: Path, files: list[Path], old: dict[str, dict]) -> dict[str, dict]:
    noted = {}
    for path in tqdm(files, desc="hashing", unit="file"):
        name, state = path.relative_to(root).as_posix(), path.stat()
        same = dict(size=state.st_size, mtime_ns=state.st_mtime_ns)
        before = old.get(name, {})
        known = before.get("sha256") if same.items() <= before.items() else None
        noted[name] = {**same, "sha256": known or digest_of(path)}
    return noted


def read(options: Any, spec: FolderSource, folder: Path) -> Iterator[Scene]:
    """Yield the folder's scenes one by one; a picture larger than 2048 pixels in several.

    Bands are display values 0…255 (``stretched``) if the image has 8 bits, else as stored; NaN where
    the image is transparent or at nodata. A class of the legend that occurs nowhere is one warning.

    Args:
        folder: what :func:`fetch` returned; the files themselves are read from ``options.folder``.

    Raises:
        GroundsynthError: whatever is wrong with a pair, naming its file.
    """
    root, _, pairs, legend = _open_folder(options)
    noted = read_json(folder / "scene.json", "run the study again")["files"]
    seen: set[int] = set()
    for pair in tqdm(pairs, desc="reading", unit="pair"):
        for path in (pair.image, pair.mask):
            _check_unchanged(path, noted.get(path.relative_to(root).as_posix(), {}), folder)
        with open_pair(pair) as (image, _):
            pieces = cut_pieces(image.height, image.width)
        for name, window in pieces.items():
            if not is_chosen(f"{pair.name}{name}", options.scenes):
                continue
            scene, keys = _read_scene(spec, pair, name, window, legend)
            seen |= keys
            yield scene
    absent = [key for key, ours in legend.classes.items() if key not in seen and ours != NO_LABEL]
    if absent and not options.scenes:
        listed = ", ".join(f"{legend.show(key)} ({CLASSES[legend.classes[key]]})" for key in absent)
        warnings.warn(
            f"{root}: data.legend lists {listed}, which no mask holds; check the codes", stacklevel=2
        )


def _check_unchanged(path: Path, noted: dict, folder: Path) -> None:
    state = path.stat()
    same = state.st_size == noted.get("size") and (
        state.st_mtime_ns == noted["mtime_ns"] or digest_of(path) == noted["sha256"]
    )
    if not same:
        raise GroundsynthError(
            f"{path}: not the file that was checked; delete {folder / 'scene.json'} and run the same command again"
        )


def cut_pieces(height: int, width: int) -> dict[str, Window]:
    """Return equal windows of at most 2048 × 2048 pixels that cover a picture, by name; one has no name."""
    rows, cols = (
        pairwise(np.linspace(0, side, -(-side // PIECE) + 1).round().astype(int).tolist())
        for side in (height, width)
    )
    windows = {
        f"-r{row:02d}c{col:02d}": Window(left, top, right - left, bottom - top)
        for (row, (top, bottom)), (col, (left, right)) in product(enumerate(rows), enumerate(cols))
    }
    return windows if len(windows) > 1 else {"": windows.popitem()[1]}


# --- one pair -----------------------------------------------------------------------------------


@contextmanager
def open_pair(pair: Pair) -> Iterator[tuple[DatasetReader, DatasetReader]]:
    """Open an image and its mask, checked against each other.

    Raises:
        GroundsynthError: unreadable, of other sizes, of other coordinates, rotated, without three bands.
    """
    # GDAL's short cut for whole PNGs takes a cut file for a whole one, and fills it with noise
    settings = dict(GDAL_PAM_ENABLED="NO", GDAL_PNG_WHOLE_IMAGE_OPTIM="NO")
    with rasterio.Env(**settings), warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with _opened(pair.image) as image, _opened(pair.mask) as mask:
            _check_sizes(image, mask)
            _check_places(image, mask)
            _check_bands(image)
            yield image, mask


@contextmanager
def _opened(path: Path) -> Iterator[DatasetReader]:
    try:
        raster = rasterio.open(path)
    except rasterio.errors.RasterioError as error:
        raise _unreadable(path, error) from None
    with raster:
        yield raster


def _unreadable(path: Path, error: Exception) -> GroundsynthError:
    return GroundsynthError(
        f"{path}: not a readable image ({error.__cause__ or error}); it is damaged or of another format: replace it"
    )


def _check_sizes(image: DatasetReader, mask: DatasetReader) -> None:
    if image.shape != mask.shape:
        raise GroundsynthError(
            f"{image.name} has {image.shape} pixels but {mask.name} has {mask.shape}; a mask has a value for each pixel of "
            "its image: resample one of them"
        )


def _is_placed(raster: DatasetReader) -> bool:
    return raster.crs is not None and raster.transform != Affine.identity()


def _check_places(image: DatasetReader, mask: DatasetReader) -> None:
    for raster in (image, mask):
        if _is_placed(raster) and (raster.transform.b or raster.transform.d or raster.transform.e > 0):
            raise GroundsynthError(
                f"{raster.name}: its transform {tuple(raster.transform)[:6]} is rotated; images lie north up here: warp it "
                "with gdalwarp"
            )
        if _is_placed(raster) and raster.crs.is_geographic:
            raise GroundsynthError(
                f"{raster.name}: its CRS {raster.crs.to_string()} counts degrees; blocks are measured in metres: warp image "
                "and mask to a metric one, such as a UTM zone"
            )
    if not (_is_placed(image) and _is_placed(mask)):
        return
    if image.crs != mask.crs:
        raise GroundsynthError(
            f"{image.name} has the CRS {image.crs.to_string()} but {mask.name} has {mask.crs.to_string()}; image and mask "
            "share one: warp one of them"
        )
    if not image.transform.almost_equals(mask.transform, precision=1e-3 * image.transform.a):
        raise GroundsynthError(
            f"{image.name} lies at {tuple(image.transform)[:6]} but {mask.name} at {tuple(mask.transform)[:6]}; image and "
            "mask share one grid: resample one of them"
        )


def _check_bands(image: DatasetReader) -> None:
    if image.count < 3 and image.colorinterp[0] != ColorInterp.palette:
        raise GroundsynthError(
            f"{image.name}: has {image.count} bands; an image has red, green and blue (what follows is ignored, alpha is "
            "taken as its outline): convert it"
        )


def _read_scene(
    spec: FolderSource, pair: Pair, piece: str, window: Window, legend: MaskLegend
) -> tuple[Scene, set[int]]:
    with open_pair(pair) as (image, mask):
        try:
            bands = _read_bands(image, window)
            valid = image.dataset_mask(window=window) > 0
            if np.dtype(image.dtypes[0]).kind == "f":
                valid &= np.isfinite(bands).all(0)
        except rasterio.errors.RasterioError as error:
            raise _unreadable(pair.image, error) from None
        try:
            labels, seen = read_labels(mask, legend, window)
        except rasterio.errors.RasterioError as error:
            raise _unreadable(pair.mask, error) from None
        crs, transform = _place(image, mask)
        stretched = image.dtypes[0] == "uint8"
    if not valid.all():
        bands[:, ~valid], labels[~valid] = np.nan, NO_LABEL
    scene = Scene(
        name=f"{pair.name}{piece}",
        bands=bands,
        labels=labels,
        valid=valid,
        crs=crs,
        transform=transform @ Affine.translation(window.col_off, window.row_off),
        source=spec.name,
        stretched=stretched,
    )
    return scene, seen


def _read_bands(image: DatasetReader, window: Window) -> np.ndarray:
    """Red, green and blue, (3, h, w) float32: the bands so named, else the first three; a palette is looked up."""
    if image.colorinterp[0] == ColorInterp.palette:
        table = np.zeros((256, 3), np.float32)
        for index, colour in image.colormap(1).items():
            table[index] = colour[:3]
        return table[image.read(1, window=window)].transpose(2, 0, 1)
    wanted = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    named = [image.colorinterp.index(colour) + 1 for colour in wanted if colour in image.colorinterp]
    return image.read(named if len(named) == 3 else (1, 2, 3), window=window, out_dtype="float32")


def _place(image: DatasetReader, mask: DatasetReader) -> tuple[CRS | None, Affine]:
    """The pair's coordinates: where one of the two has none, it lies where the other does."""
    for raster in (image, mask):
        if _is_placed(raster):
            return raster.crs, raster.transform
    return None, PICTURE
