"""Read the rasters of a scene, and its map, on one grid and in the common legend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.transform import Affine
from rasterio.warp import reproject

from groundsynth.config import Data
from groundsynth.data.polygons import burn_polygons
from groundsynth.data.scene import Scene
from groundsynth.data.scene_names import is_chosen
from groundsynth.data.source_kinds import PackageSource, RasterSource, SceneFiles, local_name
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL


@dataclass(frozen=True)
class _Layer:
    path: Path
    values: np.ndarray  # (h, w) float32
    missing: np.ndarray  # (h, w) bool
    crs: CRS
    transform: Affine


def read(options: Data, spec: RasterSource, folder: Path) -> Iterator[Scene]:
    """Yield the chosen scenes of a source whose scenes are a few rasters each."""
    for files in spec.scenes:
        if is_chosen(files.name, options.scenes):
            yield read_scene(spec, files, folder)


def read_scene(spec: RasterSource, files: SceneFiles, folder: Path) -> Scene:
    """Read the red, green and blue band and the map of a fetched scene.

    A pixel has no image where a band is at nodata, is 0 (unless the source is stretched already:
    there 0 is black) or is transparent. It has no label where it has no image, the map is at nodata
    or 0, or its code stands for no class of the common legend.

    Raises:
        GroundsynthError: missing or unreadable band, another grid or CRS, NaN, unknown class code.
    """
    bands = _read_image([_place(spec, folder, name) for name in files.image], spec.stretched)
    labels = _read_map(_place(spec, folder, files.land_cover), spec, bands[0])
    valid = ~np.any([band.missing for band in bands], axis=0)
    values = np.where(valid, np.stack([band.values for band in bands]), np.nan).astype(np.float32)
    return Scene(
        name=files.name,
        source=spec.name,
        bands=values,
        labels=np.where(valid, labels, NO_LABEL).astype(np.uint8),
        valid=valid,
        crs=bands[0].crs,
        transform=bands[0].transform,
        stretched=spec.stretched,
    )


def _place(spec: RasterSource, folder: Path, name: str) -> Path:
    return folder / (local_name(name) if isinstance(spec, PackageSource) else name)


def _read_image(paths: list[Path], zero_is_black: bool) -> list[_Layer]:
    """Return three layers: from three files of one band, or from one file of three and perhaps alpha."""
    if len(paths) == 1:
        return _read_layers(paths[0], "image", 3, zero_is_black)
    bands = [_read_layers(path, "band", 1, zero_is_black)[0] for path in paths]
    for band in bands[1:]:
        _check_grid(band, bands[0])
        _check_crs(band, bands[0], {})
    return bands


def _read_map(path: Path, spec: RasterSource, reference: _Layer) -> np.ndarray:
    """Return the labels on the grid of the image, (h, w) uint8."""
    if path.suffix == ".gpkg":
        return burn_polygons(path, spec, reference.values.shape, reference.crs, reference.transform)
    land_cover = _read_layers(path, "map", 1)[0]
    if spec.warp_map:
        land_cover = _warp(land_cover, reference)
    _check_grid(land_cover, reference)
    _check_crs(land_cover, reference, spec.same_grid)
    return remap_labels(land_cover, spec)


def _read_layers(path: Path, kind: str, count: int, zero_is_black: bool = False) -> list[_Layer]:
    """Return the first ``count`` bands of a raster; a further one may only be transparency."""
    if not path.is_file():
        raise GroundsynthError(
            f"{path}: the {kind} is missing; a scene needs three bands and a map: delete {path.parent} and run again"
        )
    try:
        with rasterio.open(path) as raster:
            _check_bands(path, raster.colorinterp, count)
            values = raster.read().astype(np.float32)  # (bands, h, w)
            nodata, crs, transform = raster.nodata, raster.crs, raster.transform
    except rasterio.errors.RasterioError as error:
        raise GroundsynthError(
            f"{path}: not a readable raster ({error}); delete {path.parent} and run again"
        ) from None
    if crs is None:
        raise GroundsynthError(
            f"{path}: carries no CRS; every layer of a scene needs one: write it into the file"
        )
    transparent = np.any(values[count:] == 0, axis=0)
    return [
        _Layer(path, band, transparent | _missing(path, band, nodata, zero_is_black), crs, transform)
        for band in values[:count]
    ]


def _check_bands(path: Path, kinds: tuple[ColorInterp, ...], count: int) -> None:
    if len(kinds) != count and (len(kinds) != count + 1 or kinds[-1] != ColorInterp.alpha):
        raise GroundsynthError(
            f"{path}: has {len(kinds)} bands, not {count} (and transparency); write the {count} wanted into a file of "
            "their own"
        )


def _missing(path: Path, values: np.ndarray, nodata: float | None, zero_is_black: bool) -> np.ndarray:
    """Return where a band has no measurement, (h, w) bool."""
    missing = np.zeros(values.shape, bool) if zero_is_black else values == 0
    if nodata is not None:
        missing |= np.isnan(values) if np.isnan(nodata) else values == np.float32(nodata)
    count = int(np.isnan(values[~missing]).sum())
    if count:
        raise GroundsynthError(
            f"{path}: {count} pixels are NaN but nodata is {nodata}; declare NaN as nodata or fill them"
        )
    return missing


def _check_grid(layer: _Layer, reference: _Layer) -> None:
    if layer.values.shape != reference.values.shape:
        raise GroundsynthError(
            f"{layer.path}: has {layer.values.shape} pixels but {reference.path.name} has "
            f"{reference.values.shape}; all layers must share one grid: resample it to that grid"
        )
    if not layer.transform.almost_equals(reference.transform, precision=1e-6):
        raise GroundsynthError(
            f"{layer.path}: its transform {tuple(layer.transform)[:6]} is not that of {reference.path.name}, "
            f"{tuple(reference.transform)[:6]}; all layers must share one grid: resample it to that grid"
        )


def _check_crs(layer: _Layer, reference: _Layer, allowed: dict[tuple[str, str], str]) -> None:
    pair = (layer.crs.to_string(), reference.crs.to_string())
    if layer.crs != reference.crs and pair not in allowed:
        raise GroundsynthError(
            f"{layer.path}: its CRS is {pair[0]} but {reference.path.name} has {pair[1]}; all layers must share "
            "one CRS: reproject it, or note in groundsynth.data.sources why the two are the same"
        )


def _warp(land_cover: _Layer, reference: _Layer) -> _Layer:
    """Return the map on the grid of the image: each pixel takes the code nearest to its centre.

    Raises:
        GroundsynthError: the map does not reach the image anywhere.
    """
    codes = np.full(reference.values.shape, np.nan, np.float32)
    reproject(
        np.where(land_cover.missing, np.nan, land_cover.values).astype(np.float32),
        codes,
        src_transform=land_cover.transform,
        src_crs=land_cover.crs,
        src_nodata=np.nan,
        dst_transform=reference.transform,
        dst_crs=reference.crs,
        dst_nodata=np.nan,
        resampling=Resampling.nearest,
    )
    missing = np.isnan(codes)
    if missing.all():
        raise GroundsynthError(
            f"{land_cover.path}: covers no pixel of {reference.path.name}; image and map must show the same ground: "
            "place the map of that ground there"
        )
    return replace(
        land_cover, values=codes, missing=missing, crs=reference.crs, transform=reference.transform
    )


def remap_labels(land_cover: _Layer, spec: RasterSource) -> np.ndarray:
    """Return the map in the common legend, (h, w) uint8; 255 where it is missing or of no class.

    Raises:
        GroundsynthError: a class code that the source's table does not list.
    """
    present = np.unique(land_cover.values[~land_cover.missing])
    unknown = [code for code in present if code not in spec.remap]
    if unknown:
        raise GroundsynthError(
            f"{land_cover.path}: class code {unknown[0]:g} is not one of {sorted(spec.remap)}; "
            f"add it to the remap table of '{spec.name}' in groundsynth.data.sources"
        )
    labels = np.full(land_cover.values.shape, NO_LABEL, np.uint8)
    for code, (_, ours) in spec.remap.items():
        labels[~land_cover.missing & (land_cover.values == code)] = NO_LABEL if ours is None else ours
    return labels
