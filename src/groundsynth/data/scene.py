"""One image with its map, in the common legend; its stretch to 8 bits; rasters on its grid."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.transform import Affine

from groundsynth.atomic import atomic_path
from groundsynth.errors import GroundsynthError


@dataclass(frozen=True)
class Scene:
    """One image with its map.

    Attributes:
        name: unique in a study and fit for a file name: ``[a-z0-9_-]+``.
        bands: (3, h, w) float32, red, green, blue as measured; NaN where there is no image.
        labels: (h, w) uint8, 0…6 of the common legend, 255 where map or image are missing.
        valid: (h, w) bool, where all three bands were measured.
        crs: coordinate system, or None where nobody knows the place.
        transform: pixel (col, row) to map coordinates.
        source: name in the registry of sources; the scene's own name where it is left out.
        stretched: the bands are display values 0…255 already, so no stretch is fitted.
    """

    name: str
    bands: np.ndarray
    labels: np.ndarray
    valid: np.ndarray
    crs: CRS | None
    transform: Affine
    source: str = ""
    stretched: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", self.source or self.name)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.labels.shape

    def load(self) -> Scene:
        """Return the scene itself: it is in memory (see :class:`groundsynth.data.store.StoredScene`)."""
        return self


def fit_stretch(
    bands: np.ndarray, where: np.ndarray, percentiles: tuple[float, float]
) -> list[tuple[float, float]]:
    """Return (low, high) per band: the values that become 0 and 255.

    Args:
        bands: (3, h, w) float32.
        where: (h, w) bool, the pixels to learn from: training blocks only, so that nothing about
            a held-out block reaches the images a model sees.
        percentiles: of those pixels, in 0…100.

    Raises:
        GroundsynthError: no pixel to learn from, or a band that is constant there.
    """
    values = bands[:, where]  # (3, n)
    values = values[:, np.isfinite(values).all(0)]
    if not values.size:
        raise GroundsynthError(
            "0 training pixels carry an image; the stretch needs some: choose another split_seed"
        )
    limits = [tuple(float(v) for v in np.percentile(band, percentiles)) for band in values]
    for band, (low, high) in enumerate(limits):
        if high <= low:
            raise GroundsynthError(
                f"band {band} runs from {low} to {high} at percentiles {tuple(percentiles)}; "
                "a stretch needs low < high: widen data.stretch or choose another scene"
            )
    return limits


def apply_stretch(bands: np.ndarray, limits: list[tuple[float, float]]) -> np.ndarray:
    """Return (h, w, 3) uint8: each band scaled linearly to 0…255 and clipped; 0 where it is NaN."""
    picture = np.empty((*bands.shape[1:], len(bands)), np.uint8)
    for band, (low, high) in enumerate(np.array(limits, np.float32)):
        scaled = (bands[band] - low) / (high - low)
        np.nan_to_num(scaled, copy=False, nan=0.0)
        np.clip(scaled, 0, 1, out=scaled)
        picture[..., band] = np.rint(scaled * 255)
    return picture


@dataclass(frozen=True)
class Stretch:
    """How a scene's bands become 0…255: (low, high) per band, and the pixels these were learnt from."""

    limits: list[tuple[float, float]]
    learnt_from: str


def stretch_scene(scene: Scene, train: np.ndarray, percentiles: tuple[float, float], enough: int) -> Stretch:
    """Return the stretch that makes a scene's picture.

    The limits come from the scene's training pixels. A scene with fewer than ``enough`` of them (all of
    it is held out) takes those of its whole image instead: no label and no other scene has a say in
    that. Display values are kept as they are.

    Args:
        train: (h, w) bool, the scene's training ground.
        percentiles: as in :func:`fit_stretch`.

    Raises:
        GroundsynthError: a band that is constant, with the scene's name.
    """
    if scene.stretched:
        return Stretch([(0.0, 255.0)] * 3, "nothing: these are display values")
    scene = scene.load()
    own = train & scene.valid
    learnt_from, where = ("training pixels", own) if own.sum() >= enough else ("all pixels", scene.valid)
    try:
        return Stretch(fit_stretch(scene.bands, where, percentiles), learnt_from)
    except GroundsynthError as error:
        raise GroundsynthError(f"scene '{scene.name}': {error}") from None


def write_raster(path: Path, array: np.ndarray, scene: Scene, nodata: int | None = None) -> None:
    """Write (h, w) or (h, w, 3) uint8 as a GeoTIFF on the scene's grid, atomically."""
    layers = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    profile = dict(
        driver="GTiff", dtype="uint8", compress="deflate", crs=scene.crs, transform=scene.transform
    )
    count, height, width = layers.shape
    with (
        warnings.catch_warnings(),
        atomic_path(path) as temporary,
    ):
        # a scene without a place is written without one
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(
            temporary, "w", count=count, height=height, width=width, nodata=nodata, **profile
        ) as raster:
            raster.write(layers)
