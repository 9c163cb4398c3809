"""Many scenes on one sheet: each piece of ground once, so that one split serves every scene upon it.

Scenes that overlap or lie near each other, patches of a larger image or two dates of one place, share
a *ground*: one canvas of whole pixels. Grounds that lie apart are laid side by side on the *atlas*,
with gaps wide enough that no block and no buffer reaches from one to the next. So blocks, groups and
splits are found as for one scene, and a pixel of the earth has one split however many images show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import pandas as pd
from rasterio.errors import CRSError
from rasterio.warp import transform_bounds
from scipy.sparse.csgraph import connected_components

from groundsynth.data.grids import grid_offset, pixel_metres
from groundsynth.data.scene import Scene
from groundsynth.data.store import MEMORY, Raster, Store, StoredScene, Window
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL

NEAR = 640  # pixels; scenes no farther apart are drawn as they lie, if that leaves the canvas well filled
WELL_FILLED = 0.25  # of a ground's canvas


@dataclass(frozen=True)
class Atlas:
    """Scenes with the place of each.

    Attributes:
        scenes: on aligned grids.
        ground, corners: (n,) int and (n, 2) int, the ground of each scene and its first row and column.
        grounds: one row per ground: ``ground, row, col, height, width`` (pixels of the atlas),
            ``metres_y, metres_x`` (of a pixel; NaN where the place is unknown), ``held_out``.
        labels: (h, w) uint8, the map of the first scene that has one there; 255 where none has, and
            where ground is given up.
        given_up: windows of ground of training scenes that held-out scenes show too, or nearly.
        store: where scenes and rasters of the ground are kept.
    """

    scenes: list[Scene] | list[StoredScene]
    ground: np.ndarray
    corners: np.ndarray
    grounds: pd.DataFrame
    labels: Raster
    given_up: list[Window]
    store: Store = MEMORY

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.labels.shape

    def window(self, number: int) -> tuple[slice, slice]:
        """Return the part of the atlas that a scene covers."""
        (row, col), (height, width) = self.corners[number], self.scenes[number].shape
        return np.s_[row : row + height, col : col + width]

    def number(self, name: str) -> int:
        """Return the position of a scene."""
        return next(i for i, scene in enumerate(self.scenes) if scene.name == name)

    def places(self, chips: pd.DataFrame) -> np.ndarray:
        """Return the upper left pixel of each chip on the atlas, (n, 2) int."""
        numbers = {scene.name: i for i, scene in enumerate(self.scenes)}
        return self.corners[chips["scene"].map(numbers).to_numpy()] + chips[["row", "col"]].to_numpy()


def check_names(scenes: Sequence[Scene]) -> None:
    """Stop unless there are scenes and each has a name of its own.

    Raises:
        GroundsynthError: no scene, or two of one name.
    """
    if not scenes:
        raise GroundsynthError(
            "the sources hold 0 scenes; a study needs one: correct data.source or data.scenes"
        )
    names = [scene.name for scene in scenes]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise GroundsynthError(f"two scenes are named '{twice[0]}'; chips are named after them: rename one")


def held_out_names(scenes: Sequence[Scene], patterns: Sequence[str]) -> set[str]:
    """Return the names of scenes kept out of every split, by patterns of their or their source's name.

    Raises:
        GroundsynthError: a pattern that matches none, or nothing left.
    """
    held = set()
    for pattern in patterns:
        found = {s.name for s in scenes if fnmatchcase(s.name, pattern) or fnmatchcase(s.source, pattern)}
        if not found:
            raise GroundsynthError(
                f"data.hold_out: '{pattern}' matches no scene and no source of {_few([s.name for s in scenes])}; "
                "correct it"
            )
        held |= found
    if len(held) == len(scenes):
        raise GroundsynthError(
            f"data.hold_out: {list(patterns)} keeps out every scene; leave one to learn from"
        )
    return held


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def lay_atlas(
    scenes: Sequence[Scene], held_out: set[str], buffer: int, gap: int, store: Store = MEMORY
) -> Atlas:
    """Lay aligned scenes on grounds, and the grounds on an atlas.

    Args:
        held_out: names of scenes that form grounds of their own; other scenes give up what these show,
            and ``buffer`` pixels around.
        gap: pixels; scenes that lie no farther apart than that share a ground, farther ones may, and
            grounds are laid farther apart than that.

    Raises:
        GroundsynthError: scenes of two coordinate systems that overlap, where no pixel grid could tell
            which ground is shared.
    """
    boxes, sheet = _boxes(scenes)
    kept_out = np.array([scene.name in held_out for scene in scenes])
    _refuse_overlap(scenes, sheet)
    kind = sheet * 2 + kept_out
    ground, tops, sizes = _grounds(boxes, kind, max(gap, NEAR))
    if sizes.prod(1).sum() * WELL_FILLED > np.prod(boxes[:, 2:] - boxes[:, :2], 1).sum():
        ground, tops, sizes = _grounds(boxes, kind, gap)
    shelves = _shelve(sizes, max(gap, buffer) + 1)
    corners = boxes[:, :2] - tops[ground] + shelves[ground]
    firsts = [int(np.argmax(ground == g)) for g in range(len(sizes))]
    metres = [pixel_metres(scenes[first]) or (np.nan, np.nan) for first in firsts]
    grounds = pd.DataFrame(
        {
            "ground": range(len(firsts)),
            **dict(zip(("row", "col", "height", "width"), np.hstack([shelves, sizes]).T, strict=True)),
            **dict(zip(("metres_y", "metres_x"), np.array(metres).T, strict=True)),
            "held_out": kept_out[firsts],
        }
    )
    shape = tuple((shelves + sizes).max(0))
    given_up = _given_up(boxes, sheet, kept_out, corners, buffer)
    labels = _first_labels(scenes, corners, given_up, store.raster(shape, NO_LABEL))
    return Atlas(list(scenes), ground, corners, grounds, labels, given_up, store)


def _boxes(scenes: Sequence[Scene]) -> tuple[np.ndarray, np.ndarray]:
    """Return top, left, bottom, right of each scene on its sheet, (n, 4) int, and the sheet, (n,) int.

    A sheet is one grid: that of a coordinate system, or of a single scene without a place.
    """
    grids, sheets, boxes = [], [], []
    for scene in scenes:
        known = [i for i, (crs, _) in enumerate(grids) if crs is not None and crs == scene.crs]
        if not known:
            grids.append((scene.crs, scene.transform))
        sheets.append(known[0] if known else len(grids) - 1)
        row, col = (round(place) for place in grid_offset(scene.transform, grids[sheets[-1]][1]))
        boxes.append((row, col, row + scene.shape[0], col + scene.shape[1]))
    return np.array(boxes), np.array(sheets)


def _grounds(boxes: np.ndarray, kind: np.ndarray, gap: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the ground of each scene, (n,) int in the order of the scenes; first pixel and size of each, (g, 2)."""
    near = kind[:, None] == kind[None]
    for side in (0, 1):
        near &= boxes[:, None, side] <= boxes[None, :, side + 2] + gap
    _, found = connected_components(near & near.T, directed=False)
    _, first = np.unique(found, return_index=True)
    ground = np.argsort(np.argsort(first))[found]
    tops, ends = np.full((len(first), 2), boxes.max()), np.full((len(first), 2), boxes.min())
    np.minimum.at(tops, ground, boxes[:, :2])
    np.maximum.at(ends, ground, boxes[:, 2:])
    return ground, tops, ends - tops


def _shelve(sizes: np.ndarray, gap: int) -> np.ndarray:
    """Return the first row and column of each ground, (g, 2) int: shelves of about a square, tallest first."""
    width = max(sizes[:, 1].max(), int(np.sqrt(((sizes + gap) ** 2).sum())))
    places = np.zeros_like(sizes)
    row = col = tallest = 0
    for g in np.argsort(-sizes[:, 0], kind="stable"):
        if col and col + sizes[g, 1] > width:
            row, col, tallest = row + tallest + gap, 0, 0
        places[g] = row, col
        col, tallest = col + sizes[g, 1] + gap, max(tallest, sizes[g, 0])
    return places


def _given_up(
    boxes: np.ndarray, sheet: np.ndarray, kept_out: np.ndarray, corners: np.ndarray, buffer: int
) -> list[Window]:
    given_up = []
    for i in np.flatnonzero(~kept_out):
        for j in np.flatnonzero(kept_out & (sheet == sheet[i])):
            top, left = np.maximum(boxes[i, :2], boxes[j, :2] - buffer) - boxes[i, :2] + corners[i]
            bottom, right = np.minimum(boxes[i, 2:], boxes[j, 2:] + buffer) - boxes[i, :2] + corners[i]
            if bottom > top and right > left:
                given_up.append(np.s_[top:bottom, left:right])
    return given_up


def _first_labels(
    scenes: Sequence[Scene], corners: np.ndarray, given_up: list[Window], labels: Raster
) -> Raster:
    for scene, (row, col) in reversed(list(zip(scenes, corners, strict=True))):
        window, own = np.s_[row : row + scene.shape[0], col : col + scene.shape[1]], scene.labels
        labels[window] = np.where(own != NO_LABEL, own, labels[window])
    for window in given_up:
        labels[window] = NO_LABEL
    return labels


def _refuse_overlap(scenes: Sequence[Scene], sheet: np.ndarray) -> None:
    """Stop if scenes of two coordinate systems show the same place: their pixels cannot be compared."""
    if len({str(scene.crs) for scene in scenes if scene.crs}) < 2:
        return
    placed = [(i, _degrees(scene)) for i, scene in enumerate(scenes) if scene.crs is not None]
    for i, (west, south, east, north) in placed:
        for j, (west_j, south_j, east_j, north_j) in placed:
            apart = east <= west_j or east_j <= west or north <= south_j or north_j <= south
            if sheet[i] < sheet[j] and not apart:
                raise GroundsynthError(
                    f"scenes '{scenes[i].name}' ({scenes[i].crs.to_string()}) and '{scenes[j].name}' "
                    f"({scenes[j].crs.to_string()}) overlap, and no ground may be in two splits: warp both to one "
                    "coordinate system or leave one out with data.scenes"
                )


def _degrees(scene: Scene) -> tuple[float, float, float, float]:
    height, width = scene.shape
    (x0, y0), (x1, y1) = scene.transform * (0, 0), scene.transform * (width, height)
    try:
        return transform_bounds(scene.crs, "EPSG:4326", min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    except CRSError as error:
        raise GroundsynthError(
            f"scene '{scene.name}': its coordinate system cannot be placed on the globe ({error}); correct it"
        ) from None
