"""The ground a fold trains on and the ground it holds out, as windows at every offset of every scene."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rasterio

from groundsynth.artifacts import read_json, remake_command
from groundsynth.data.blocks import HIDDEN, TRAIN, VAL
from groundsynth.data.chips import window_sums
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL
from groundsynth.seeds import rng

MANY_WINDOWS = 80_000  # beyond that many, training windows are taken at a step


@dataclass(frozen=True)
class Territory:
    """The scenes of a fold and their split.

    A corner is (scene, row, col): the position of a scene in these lists and the upper left pixel there.

    Attributes:
        names: of the scenes.
        images: (h, w, 3) uint8 each.
        splits: (h, w) uint8 each (see ``data.blocks``).
        maps: (h, w) uint8 class codes each, 255 = no label.
    """

    names: list[str]
    images: list[np.ndarray]
    splits: list[np.ndarray]
    maps: list[np.ndarray] = field(default_factory=list)

    def corners(self, code: int, size: int, step: int = 1) -> np.ndarray:
        """Return the corner of every window wholly inside one split, at a step, (n, 3) int."""
        found = [np.empty((0, 3), int)]
        for scene, split in enumerate(self.splits):
            if min(split.shape) >= size:
                inside = window_sums(split == code, size)[::step, ::step] == size * size
                places = np.argwhere(inside) * step
                found.append(np.insert(places, 0, scene, axis=1))
        return np.concatenate(found)

    def cut(self, corners: np.ndarray, size: int) -> np.ndarray:
        """Return the windows at (n, 3) corners, (n, size, size, 3) uint8."""
        chips = [self.images[scene][row : row + size, col : col + size] for scene, row, col in corners]
        return np.stack(chips) if chips else np.empty((0, size, size, 3), np.uint8)

    def cut_maps(self, corners: np.ndarray, size: int) -> np.ndarray:
        """Return the maps of the windows at (n, 3) corners, (n, size, size) uint8."""
        maps = [self.maps[scene][row : row + size, col : col + size] for scene, row, col in corners]
        return np.stack(maps) if maps else np.empty((0, size, size), np.uint8)

    def labelled_share(self, corners: np.ndarray, size: int) -> np.ndarray:
        """Return the share of labelled pixels of the windows at (n, 3) corners, (n,) in 0…1."""
        sums = {s: window_sums(self.maps[s] != NO_LABEL, size) for s in np.unique(corners[:, 0])}
        return np.array([sums[s][row, col] for s, row, col in corners], float) / size**2


def read_territory(folder: Path, unlabelled: bool = False) -> Territory:
    """Read the images, splits and maps of every scene that stage 01 put to use.

    Args:
        folder: of stage 01.
        unlabelled: a generator has learned from images of hidden blocks (``generator.unlabelled``): then that ground
            counts as training ground, where copies are looked for, and nothing is held against it.

    Raises:
        GroundsynthError: a missing or unreadable file.
    """
    described = read_json(Path(folder) / "data.json", remake_command(Path(folder) / "data.json"))["scenes"]
    names = [scene["scene"] for scene in described if scene["used"]]
    layers = {
        kind: [_read(Path(folder) / "scenes" / name / f"{kind}.tif") for name in names]
        for kind in ("image", "split", "map")
    }
    images = [np.ascontiguousarray(np.moveaxis(image, 0, -1)) for image in layers["image"]]
    splits, maps = ([layer[0] for layer in layers[kind]] for kind in ("split", "map"))
    if unlabelled:
        splits = [np.where(split == HIDDEN, np.uint8(TRAIN), split) for split in splits]
    return Territory(names, images, splits, maps)


def read_maps(folder: Path, territory: Territory) -> list[np.ndarray]:
    """Return the reference map of every scene, (h, w) uint8 class codes each, 255 = no label."""
    return [_read(Path(folder) / "scenes" / name / "map.tif")[0] for name in territory.names]


def _read(path: Path) -> np.ndarray:
    with warnings.catch_warnings():
        # a user's own image may lie nowhere in particular
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        try:
            with rasterio.open(path) as source:
                return source.read()
        except rasterio.errors.RasterioIOError as error:
            raise GroundsynthError(
                f"{path}: not readable ({error}); remake it: {remake_command(path.parents[2] / 'data.json')}"
            ) from None


def held_out_windows(territory: Territory, size: int, n: int, seed: int) -> np.ndarray:
    """Return up to ``n`` random windows of validation and hidden ground, (n, 3) corners.

    They overlap one another, so they are fewer independent views than their number; none shares a
    pixel with training ground or with the test split.
    """
    corners = np.concatenate([territory.corners(code, size) for code in (VAL, HIDDEN)])
    if not len(corners):
        raise GroundsynthError(
            f"no {size} px window fits validation or hidden ground; "
            "use a smaller data.chip_size or data.buffer"
        )
    chosen = rng("held_out_windows", seed).permutation(len(corners))[:n]
    return corners[np.sort(chosen)]


def training_windows(territory: Territory, size: int) -> tuple[np.ndarray, int]:
    """Return the windows of the training ground of all scenes, (n, 3) corners, and their step in pixels.

    The step is 1, every offset, unless that makes more than 80,000 windows.
    """
    corners, step = territory.corners(TRAIN, size), 1
    if not len(corners):
        raise GroundsynthError(f"no {size} px window fits the training ground; use a smaller data.chip_size")
    while len(corners) > MANY_WINDOWS:
        step = max(step + 1, int(step * np.sqrt(len(corners) / MANY_WINDOWS)))
        corners = territory.corners(TRAIN, size, step)
    return corners, step
