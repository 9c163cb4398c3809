"""Any area of the world: the ESA WorldCover map and its Sentinel-2 composite, both of 2021.

The area is fetched in windows, each saved when it is whole, so that a stopped download goes on where
it was; afterwards no network is needed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.transform import Affine
from tqdm.auto import tqdm

from groundsynth.artifacts import read_json
from groundsynth.atomic import atomic_path, write_json
from groundsynth.data.areas import Grid, check_box, cut_windows, make_grid
from groundsynth.data.scene import Scene
from groundsynth.data.scene_names import is_chosen
from groundsynth.data.source_kinds import AreaSource
from groundsynth.data.verify import digest_of
from groundsynth.data.worldcover_tiles import IMAGE, MAP, Product, read_window
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL
from groundsynth.paths import raw_dir

RESOLUTION = 10.0  # metres
WORLDCOVER = AreaSource(
    name="worldcover",
    title="Sentinel-2 composite (2021) with the ESA WorldCover map (2021, v200)",
    licence="CC BY 4.0",
    citation=(
        "© ESA WorldCover project 2021 / Contains modified Copernicus Sentinel data (2021) processed by ESA "
        "WorldCover consortium. Zanaga, D., et al., 2022. ESA WorldCover 10 m 2021 v200. "
        "https://doi.org/10.5281/zenodo.7254221"
    ),
    sensor="Sentinel-2",
    season="2021",
    remap={
        10: ("tree cover", 0),
        20: ("shrubland", 1),
        30: ("grassland", 2),
        40: ("cropland", 3),
        50: ("built-up", 4),
        60: ("bare or sparse vegetation", 5),
        70: ("snow and ice", None),
        80: ("permanent water bodies", 6),
        90: ("herbaceous wetland", None),
        95: ("mangroves", 0),
        100: ("moss and lichen", None),
    },
    notes=(
        "Map and image are of one year, and the map was itself classified from Sentinel-1 and Sentinel-2: it is a "
        "reference, not the truth.",
        "Mangroves are trees and count as tree cover. Snow and ice, herbaceous wetland and moss and lichen have "
        "no label: none of the seven classes looks like them, and a wrong label is worse than none.",
        "The image is a median over the year: fields show no single season, and clouds may leave traces where "
        "the sky is rarely clear.",
    ),
)


def fetch(options: Any, spec: AreaSource) -> Path:
    """Bring the area ``options.bbox`` to ``data/raw/worldcover/<key>`` and return that folder.

    Windows that are there already are kept; ``scene.json`` with the hash of each is written last.

    Raises:
        GroundsynthError: a box that is none, open sea, no network where one is needed, failed downloads.
    """
    box = check_box(options.bbox)
    resolution = float(options.resolution or RESOLUTION)
    grid = make_grid(box, resolution)
    folder = raw_dir() / spec.name / area_key(options.bbox, resolution)
    if verify(folder):
        return folder
    windows = cut_windows(grid)
    missing = [name for name in windows if not all(path.is_file() for path in _files(folder, name))]
    if missing and options.offline:
        raise GroundsynthError(
            f"data.bbox = {list(options.bbox)}: {len(missing)} of {len(windows)} windows are not in {folder} and "
            "data.offline is true; fetch once with a network, or copy that folder here"
        )
    for name in tqdm(missing, desc="WorldCover", unit="window", disable=not missing):
        for product, path in zip((IMAGE, MAP), _files(folder, name), strict=True):
            values = read_window(product, windows[name], box, options.mirror)
            _write_window(path, values, product, windows[name])
    _write_note(spec, folder, windows, options.bbox, resolution)
    return folder


def area_key(bbox: tuple[float, ...], resolution: float) -> str:
    """Return the name of an area's folder: twelve digits that change with box and resolution."""
    text = json.dumps([[float(value) for value in bbox], resolution, IMAGE.path, MAP.path])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def verify(folder: Path) -> bool:
    """Return whether every window of the area still has its hash; one that changed is removed."""
    note = folder / "scene.json"
    if not note.is_file():
        return False
    wrong = [
        folder / name
        for name, digest in read_json(note, "delete it and run again")["files"].items()
        if not (folder / name).is_file() or digest_of(folder / name) != digest
    ]
    for path in wrong:
        path.unlink(missing_ok=True)
    return not wrong


def _files(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"{name}_image.tif", folder / f"{name}_map.tif"


def _write_window(path: Path, values: np.ndarray | None, product: Product, window: Grid) -> None:
    dtype = "uint8" if product is MAP else "uint16"
    if values is None:
        values = np.zeros((len(product.bands), window.height, window.width), dtype)
    profile = dict(driver="GTiff", dtype=dtype, nodata=0, crs=window.crs, transform=window.transform)
    size = dict(count=len(values), height=window.height, width=window.width)
    with rasterio.MemoryFile() as memory:
        with memory.open(**profile, **size, tiled=True, compress="deflate", predictor=2) as raster:
            raster.write(values.astype(dtype))
        with atomic_path(path) as temporary:
            temporary.write_bytes(memory.getbuffer())


def _write_note(
    spec: AreaSource, folder: Path, windows: dict[str, Grid], bbox: tuple[float, ...], resolution: float
) -> None:
    labelled = {name: int((_read_scene(spec, folder, name).labels != NO_LABEL).sum()) for name in windows}
    if not any(labelled.values()):
        shutil.rmtree(folder)
        raise GroundsynthError(
            f"data.bbox = {list(bbox)} holds no pixel with image and label; it lies on open sea or on ground that the map "
            "leaves out: choose a box on land"
        )
    first = next(iter(windows.values()))
    files = [path for name in windows for path in _files(folder, name)]
    write_json(
        folder / "scene.json",
        {
            **dict(source=spec.name, title=spec.title, licence=spec.licence),
            **dict(citation=spec.citation, bbox=list(bbox), resolution=resolution),
            **dict(crs=first.crs.to_string(), windows=labelled),
            "files": {path.name: digest_of(path) for path in files},
        },
    )


def read(options: Any, spec: AreaSource, folder: Path) -> Iterator[Scene]:
    """Yield one scene per fetched window that holds a labelled pixel, all on one grid.

    Bands are red, green and blue, reflectance × 10,000, NaN where any of them is 0.

    Raises:
        GroundsynthError: a window that cannot be read, or a code that is none of the map's.
    """
    windows = read_json(folder / "scene.json", "run the study again")["windows"]
    for name, labelled in windows.items():
        if labelled and is_chosen(_scene_name(spec, folder, name), options.scenes):
            yield _read_scene(spec, folder, name)


def _scene_name(spec: AreaSource, folder: Path, window: str) -> str:
    return f"{spec.name}-{folder.name}-{window}"


def _read_scene(spec: AreaSource, folder: Path, name: str) -> Scene:
    image, land_cover = _files(folder, name)
    bands, crs, transform = _read_layer(image)
    codes = _read_layer(land_cover)[0][0]
    valid = (bands > 0).all(0)
    labels = np.full(codes.shape, NO_LABEL, np.uint8)
    for code, (_, ours) in spec.remap.items():
        if ours is not None:
            labels[valid & (codes == code)] = ours
    unknown = np.setdiff1d(codes, (0, *spec.remap))
    if unknown.size:
        raise GroundsynthError(
            f"{land_cover}: class code {unknown[0]} is none of the map's ({', '.join(map(str, spec.remap))}); "
            "it is not a WorldCover map: delete the folder and correct data.mirror"
        )
    return Scene(
        name=_scene_name(spec, folder, name),
        bands=np.where(valid, bands, np.nan).astype(np.float32),
        labels=labels,
        valid=valid,
        crs=crs,
        transform=transform,
        source=spec.name,
    )


def _read_layer(path: Path) -> tuple[np.ndarray, CRS, Affine]:
    try:
        with rasterio.open(path) as raster:
            return raster.read(), raster.crs, raster.transform
    except rasterio.errors.RasterioError as error:
        raise GroundsynthError(f"{path}: not a readable raster ({error}); delete it and run again") from None
