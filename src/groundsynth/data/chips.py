"""Find chips that never leave their split, and cut them from their scenes.

Found first, cut when they are written: the table of all chips is small, their pixels need not be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from groundsynth.data.atlas import Atlas
from groundsynth.data.blocks import NO_SPLIT, SPLITS
from groundsynth.data.scene import Scene
from groundsynth.data.store import Raster, strips
from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES, NUM_CLASSES, SHARE_COLUMNS

OVERLAPPING = ("train", "hidden")
WATER = CLASSES.index("water")
FEW = 8  # times a pixel lies in a window, up to which windows are counted one by one
RULES = ("no image", "no label", "cloud", "water")  # in the order they are asked


@dataclass(frozen=True)
class ChipRules:
    """What a window must be to become a chip; shares of its pixels.

    Attributes:
        size, stride: side of a chip, and step between training chips, in pixels.
        min_labelled_train, min_labelled_eval: labelled, of training and hidden chips, and of held-out ones.
        min_image_train, min_image_eval: pixels with an image, likewise.
        max_cloud: pure white in all three bands, as clouds are after the stretch.
        max_water: water in the map.
    """

    size: int
    stride: int
    min_labelled_train: float = 0.99
    min_labelled_eval: float = 0.5
    min_image_train: float = 0.99
    min_image_eval: float = 0.5
    max_cloud: float = 0.2
    max_water: float = 0.9


def window_sums(mask: np.ndarray, size: int) -> np.ndarray:
    """Return how many pixels are set in every ``size`` × ``size`` window, by an integral image.

    Args:
        mask: (h, w) bool.

    Returns:
        (h - size + 1, w - size + 1) int64, indexed by the window's upper left pixel; empty where the
        mask is smaller than a window.
    """
    total = np.pad(mask.astype(np.int64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    return total[size:, size:] - total[:-size, size:] - total[size:, :-size] + total[:-size, :-size]


def count_in_windows(mask: np.ndarray, size: int, corners: np.ndarray) -> np.ndarray:
    """Return how many pixels are set in the windows with the given upper left pixels, (n,) int.

    The numbers of :func:`window_sums` at ``corners``, without all the others. Windows that overlap little
    are counted one by one, which is faster than an integral image then.
    """
    if len(corners) * size**2 <= FEW * mask.size:
        windows = (mask[row : row + size, col : col + size] for row, col in corners.tolist())
        return np.fromiter((np.count_nonzero(window) for window in windows), int, len(corners))
    total = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int32)
    np.cumsum(mask, 0, dtype=np.int32, out=total[1:, 1:])
    np.cumsum(total, 1, out=total)
    row, col = corners.T
    end_row, end_col = row + size, col + size
    return total[end_row, end_col] - total[row, end_col] - total[end_row, col] + total[row, col]


def sliding_windows(split: np.ndarray, code: int, size: int, stride: int) -> np.ndarray:
    """Return the upper left pixels, (n, 2), of windows on a grid that lie wholly inside one split.

    Windows may cross from one block into the next of the same split: training chips overlap and
    see every seam. The grid of step ``stride`` starts at the split's first row and column.

    Args:
        split: (h, w) uint8 raster of :func:`groundsynth.data.blocks.split_raster`.
    """
    own = split == code
    lines = [np.flatnonzero(own.any(axis)) for axis in (1, 0)]
    if not lines[0].size:
        return np.empty((0, 2), int)
    starts = [np.arange(line[0], line[-1] - size + 2, stride) for line in lines]
    corners = np.stack(np.meshgrid(*starts, indexing="ij"), -1).reshape(-1, 2)
    return corners[count_in_windows(own, size, corners) == size * size]


def block_windows(blocks: pd.DataFrame, split: np.ndarray, size: int) -> np.ndarray:
    """Return windows, (n, 2), side by side and centred in each block: held-out pixels count once.

    Of a block that the scene shows in part, that part counts; windows on ground that was given up are
    left out.

    Args:
        blocks: places in pixels of the scene; a block may reach beyond it.
        split: (h, w) uint8 raster of the scene.
    """
    corners = [
        (top + (height % size) // 2 + i * size, left + (width % size) // 2 + j * size)
        for top, left, height, width in _clip(blocks, split.shape)
        for i in range(height // size)
        for j in range(width // size)
    ]
    found = np.array(corners, int).reshape(-1, 2)
    if not len(found):
        return found
    return found[count_in_windows(split != NO_SPLIT, size, found) == size * size]


def _clip(blocks: pd.DataFrame, shape: tuple[int, int]) -> Iterable[tuple[int, int, int, int]]:
    for block in blocks.itertuples():
        top, left = max(block.row, 0), max(block.col, 0)
        bottom, right = min(block.row + block.height, shape[0]), min(block.col + block.width, shape[1])
        if bottom > top and right > left:
            yield top, left, bottom - top, right - left


def classes_in_windows(labels: np.ndarray, size: int, corners: np.ndarray) -> np.ndarray:
    """Return how many pixels of each class the windows with the given upper left pixels hold, (n, 7) int."""
    counts = np.empty((len(corners), NUM_CLASSES), int)
    for number, (row, col) in enumerate(corners.tolist()):
        window = labels[row : row + size, col : col + size]
        counts[number] = np.bincount(window.ravel(), minlength=NUM_CLASSES)[:NUM_CLASSES]
    return counts


def judge_windows(
    scene: Scene,
    image: np.ndarray,
    corners: np.ndarray,
    counts: np.ndarray,
    rules: ChipRules,
    learnt: np.ndarray,
) -> np.ndarray:
    """Return the rule each window breaks, (n,) text, empty where it may become a chip.

    Args:
        image: (h, w, 3) uint8, the stretched scene.
        corners: (n, 2) upper left pixels.
        counts: (n, 7) pixels of each class in each window.
        learnt: (n,) bool, windows of training and hidden ground.
    """
    windows = [np.s_[r : r + rules.size, c : c + rules.size] for r, c in corners.tolist()]
    white = (image[..., 0] == 255) & (image[..., 1] == 255) & (image[..., 2] == 255)
    number = {
        "image": [np.count_nonzero(scene.valid[w]) for w in windows],
        "label": counts.sum(1),
        "cloud": [np.count_nonzero(white[w]) for w in windows],
        "water": counts[:, WATER],
    }
    share = {name: np.array(pixels) / rules.size**2 for name, pixels in number.items()}
    broken = (
        share["image"] < np.where(learnt, rules.min_image_train, rules.min_image_eval),
        share["label"] < np.where(learnt, rules.min_labelled_train, rules.min_labelled_eval),
        share["cloud"] > rules.max_cloud,
        share["water"] > rules.max_water,
    )
    return np.select(broken, RULES, "")


def find_in_scene(
    scene: Scene, image: np.ndarray, split: np.ndarray, blocks: pd.DataFrame, rules: ChipRules
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Find the chips of one scene: the columns of ``CHIPS['real']`` but the pictures, one row per chip.

    Training and hidden chips overlap by ``size - stride``; held-out chips of a scene never do, so that
    each of its held-out pixels is counted once.

    Args:
        image: (h, w, 3) uint8, the stretched scene.
        split: (h, w) uint8, from :func:`groundsynth.data.blocks.split_raster`.
        blocks: table ``blocks`` with splits, in pixels of the scene.

    Returns:
        the chips, and one row per window that broke a rule: ``split, rule``.
    """
    found = []
    for code, name in enumerate(SPLITS):
        if name in OVERLAPPING:
            found.append(sliding_windows(split, code, rules.size, rules.stride))
        else:
            found.append(block_windows(blocks[blocks["split"] == name], split, rules.size))
    names = np.repeat(SPLITS, [len(corners) for corners in found])
    corners = np.concatenate(found)
    counts = classes_in_windows(scene.labels, rules.size, corners)
    reason = judge_windows(scene, image, corners, counts, rules, np.isin(names, OVERLAPPING))
    kept = reason == ""
    lost = pd.DataFrame({"split": names[~kept], "rule": reason[~kept]})
    return _describe(scene, blocks, corners[kept], counts[kept], names[kept], rules.size), lost


def find_chips(
    atlas: Atlas, images: Sequence[np.ndarray], split: Raster, blocks: pd.DataFrame, rules: ChipRules
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Find the chips of every scene of an atlas, ordered by split, then scene.

    Args:
        images: (h, w, 3) uint8 per scene.
        split: raster of the atlas.

    Returns:
        chips without their pictures (see :func:`cut_chips`), and the number of windows left out: rules as
        rows, splits as columns.

    Raises:
        GroundsynthError: a split without a chip.
    """
    tables, dropped = [], []
    for number, scene in enumerate(atlas.scenes):
        if min(scene.shape) < rules.size:
            continue
        top, left = atlas.corners[number]
        local = blocks.assign(row=blocks["row"] - top, col=blocks["col"] - left)
        here, lost = find_in_scene(scene.load(), images[number], split[atlas.window(number)], local, rules)
        tables.append(here)
        dropped.append(lost)
    found = [table for table in tables if len(table)]
    chips = pd.concat(found, ignore_index=True) if found else pd.DataFrame({"split": []})
    _every_split(chips, blocks, rules.size)
    place = chips["split"].map(SPLITS.index)
    lost = pd.concat(dropped, ignore_index=True)
    counts = pd.crosstab(lost["rule"], lost["split"]).reindex(
        index=RULES, columns=chips["split"].unique(), fill_value=0
    )
    return chips.iloc[np.argsort(place, kind="stable")].reset_index(drop=True), counts


def cut_chips(
    atlas: Atlas, images: Sequence[np.ndarray], chips: pd.DataFrame, size: int
) -> Iterator[pd.DataFrame]:
    """Yield the chips with ``image`` and ``mask``, in their order: in memory is one scene at a time.

    Args:
        images: (h, w, 3) uint8 per scene.
        chips: rows of :func:`find_chips`.
        size: side of a chip in pixels.
    """
    for _, run in chips.groupby((chips["scene"] != chips["scene"].shift()).cumsum()):
        number = atlas.number(run["scene"].iloc[0])
        labels, image = atlas.scenes[number].labels, images[number]
        windows = [np.s_[r : r + size, c : c + size] for r, c in run[["row", "col"]].to_numpy()]
        yield run.assign(image=[image[w] for w in windows], mask=[labels[w] for w in windows])


def _every_split(chips: pd.DataFrame, blocks: pd.DataFrame, size: int) -> None:
    wanted = [name for name in SPLITS if name != "region" or (blocks["split"] == name).any()]
    for name in wanted:
        if not (chips["split"] == name).any():
            raise GroundsynthError(
                f"split '{name}' has no {size} px chip with enough labels; every split needs one: use "
                "another split_seed, fewer folds, a smaller buffer, more hidden_blocks or a smaller chip_size"
            )


def ground_in_chips(chips: pd.DataFrame, atlas: Atlas, size: int) -> Raster:
    """Return the split of every pixel of the atlas that lies in at least one chip, (h, w) uint8; 255 elsewhere.

    Less than the split itself: a strip of training ground narrower than a chip is in none.
    """
    raster = atlas.store.raster(atlas.shape, NO_SPLIT)
    places, codes = atlas.places(chips), chips["split"].map(SPLITS.index).to_numpy()
    for rows, cols in strips(atlas.shape):
        strip = np.full((rows.stop - rows.start, cols.stop), NO_SPLIT, np.uint8)
        here = (places[:, 0] < rows.stop) & (places[:, 0] + size > rows.start)
        for (row, col), code in zip((places[here] - (rows.start, 0)).tolist(), codes[here], strict=True):
            strip[max(row, 0) : row + size, col : col + size] = code
        raster[rows, cols] = strip
    return raster


def _describe(
    scene: Scene, blocks: pd.DataFrame, corners: np.ndarray, counts: np.ndarray, splits: np.ndarray, size: int
) -> pd.DataFrame:
    row, col = corners.T
    labelled, grid = counts.sum(1), scene.transform
    shares = counts / np.maximum(labelled, 1)[:, None]
    moved = {
        **dict(a=grid.a, b=grid.b, c=grid.a * col + grid.b * row + grid.c),
        **dict(d=grid.d, e=grid.e, f=grid.d * col + grid.e * row + grid.f),
    }
    return pd.DataFrame(
        {
            "chip_id": [f"{scene.name}-{size}-r{r:04d}-c{c:04d}" for r, c in corners.tolist()],
            **dict(zip(SHARE_COLUMNS, shares.T, strict=True)),
            "labelled": labelled / size**2,
            "scene": scene.name,
            "split": splits,
            "block": block_of(corners + size // 2, blocks),
            "row": row,
            "col": col,
            "crs": scene.crs.to_string() if scene.crs else "",
            **{f"transform_{key}": value for key, value in moved.items()},
        }
    )


def block_of(pixels: np.ndarray, blocks: pd.DataFrame) -> np.ndarray:
    """Return the block each pixel (row, col) of an (n, 2) array lies in, (n,) int."""
    row, col = pixels[:, :1], pixels[:, 1:]
    top, left = blocks["row"].to_numpy(), blocks["col"].to_numpy()
    inside = (row >= top) & (row < top + blocks["height"].to_numpy())
    inside &= (col >= left) & (col < left + blocks["width"].to_numpy())
    return blocks["block"].to_numpy()[inside.argmax(1)]
