"""What need not stay in memory: scenes and rasters on disk, read one scene or one window at a time.

However many scenes a study has, and however large the ground they show, memory holds one scene and
a strip of the ground. The files have no name and vanish with the process that made them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from rasterio.crs import CRS
from rasterio.transform import Affine

from groundsynth.atomic import write_failure
from groundsynth.data.scene import Scene

STRIP = 2**22  # pixels of a raster looked at together
IN_MEMORY = 2**25  # pixels; smaller rasters stay arrays
Window = tuple[slice, slice]
Kept = Callable[[], np.ndarray]


def strips(shape: tuple[int, int]) -> Iterator[Window]:
    """Yield windows of whole rows, about four million pixels each, that cover a raster from top to bottom."""
    rows = max(1, STRIP // max(shape[1], 1))
    for top in range(0, shape[0], rows):
        yield np.s_[top : min(top + rows, shape[0]), 0 : shape[1]]


@dataclass(frozen=True)
class StoredScene:
    """A scene whose layers lie on disk and are read anew each time they are asked for.

    The attributes are those of :class:`~groundsynth.data.scene.Scene`; :meth:`load` reads it once.
    """

    name: str
    shape: tuple[int, int]
    crs: CRS | None
    transform: Affine
    source: str
    stretched: bool
    layers: dict[str, Kept]

    @property
    def picture(self) -> Kept | None:
        """What reads the scene as (h, w, 3) uint8, if it lies here as it is to be shown; 0 where there is no image."""
        return self.layers.get("picture")

    @property
    def labels(self) -> np.ndarray:
        """The map, (h, w) uint8."""
        return self.layers["labels"]()

    @property
    def valid(self) -> np.ndarray:
        """Where there is an image, (h, w) bool."""
        return self.layers["valid"]()

    @property
    def bands(self) -> np.ndarray:
        """Red, green and blue, (3, h, w) float32."""
        bands = self.layers["bands"]()
        if bands.dtype != np.float32:
            bands, valid = bands.astype(np.float32), self.valid
            if not valid.all():
                bands[:, ~valid] = np.nan
        return bands

    def load(self) -> Scene:
        """Read the whole scene."""
        about = dict(name=self.name, crs=self.crs, transform=self.transform, source=self.source)
        layers = dict(bands=self.bands, labels=self.labels, valid=self.valid)
        return Scene(**about, **layers, stretched=self.stretched)


class DiskRaster:
    """An (h, w) uint8 raster on disk, read and written by windows as an array is: ``raster[rows, cols]``."""

    def __init__(self, shape: tuple[int, int], fill: int, folder: Path) -> None:
        self.shape = (int(shape[0]), int(shape[1]))
        self._folder = folder
        self._file = _unnamed(folder)
        for rows, cols in strips(self.shape):
            self[rows, cols] = np.full((rows.stop - rows.start, cols.stop), fill, np.uint8)

    def __getitem__(self, window: Window) -> np.ndarray:
        """Return a copy of a window of slices; steps are positive."""
        rows, (first, last, step) = self._places(window)
        out = np.empty((len(rows), len(range(first, last, step))), np.uint8)
        line = np.empty(max(0, last - first), np.uint8)
        for number, row in enumerate(rows):
            self._file.seek(row * self.shape[1] + first)
            self._file.readinto(line)
            out[number] = line[::step]
        return out

    def __setitem__(self, window: Window, values: np.ndarray) -> None:
        """Write a window of slices without steps."""
        rows, (first, last, _) = self._places(window)
        values = np.ascontiguousarray(np.broadcast_to(values, (len(rows), last - first)), np.uint8)
        try:
            for row, line in zip(rows, values, strict=True):
                self._file.seek(row * self.shape[1] + first)
                self._file.write(line)
        except OSError as error:
            raise write_failure(self._folder, error) from error

    def _places(self, window: Window) -> tuple[range, tuple[int, int, int]]:
        rows, cols = (part.indices(side) for part, side in zip(window, self.shape, strict=True))
        return range(*rows), cols


Raster = np.ndarray | DiskRaster


class Store:
    """Where scenes and rasters are kept: in a folder's unnamed files, or in memory where no folder is given."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._file: BinaryIO | None = None

    def keep(self, array: np.ndarray) -> Kept:
        """Keep an array; what is returned gives it back whenever it is called.

        Raises:
            GroundsynthError: the disk is full.
        """
        if self.folder is None:
            return lambda: array
        self._file = self._file or _unnamed(self.folder)
        place = self._file.seek(0, 2)
        try:
            np.save(self._file, array)
            self._file.flush()
        except OSError as error:
            raise write_failure(self.folder, error) from error
        return partial(_load, self._file, place)

    def put(self, scene: Scene | StoredScene) -> Scene | StoredScene:
        """Return the scene as it is to be kept; one that lies on disk already stays there."""
        if self.folder is None or isinstance(scene, StoredScene):
            return scene
        layers = dict(bands=_smallest(scene), labels=scene.labels, valid=scene.valid)
        about = dict(name=scene.name, shape=scene.shape, crs=scene.crs, transform=scene.transform)
        kept = {name: self.keep(layer) for name, layer in layers.items()}
        if scene.stretched and layers["bands"].dtype == np.uint8:
            kept["picture"] = partial(_channels_last, kept["bands"])
        return StoredScene(**about, source=scene.source, stretched=scene.stretched, layers=kept)

    def raster(self, shape: tuple[int, int], fill: int) -> Raster:
        """Return an (h, w) uint8 raster of one value; a small one is an array.

        Raises:
            GroundsynthError: the disk is full.
        """
        if self.folder is None or int(shape[0]) * int(shape[1]) <= IN_MEMORY:
            return np.full(shape, fill, np.uint8)
        return DiskRaster(shape, fill, self.folder)


MEMORY = Store()


def _load(file: BinaryIO, place: int) -> np.ndarray:
    file.seek(place)
    return np.load(file)


def _channels_last(bands: Kept) -> np.ndarray:
    return bands().transpose(1, 2, 0)


def _unnamed(folder: Path) -> BinaryIO:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=folder, buffering=2**16)
    except OSError as error:
        raise write_failure(folder, error) from error


def _smallest(scene: Scene) -> np.ndarray:
    """Return the bands in the smallest of uint8, uint16 and float32 that holds every value as it is."""
    bands = scene.bands
    if not scene.valid.all():
        if np.isfinite(bands[:, ~scene.valid]).any():
            return bands
        bands = np.where(scene.valid, bands, 0)
    for kind in (np.uint8, np.uint16):
        with np.errstate(invalid="ignore"):
            small = bands.astype(kind)
        if (small == bands).all():
            return small
    return scene.bands
