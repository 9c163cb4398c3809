"""Divide the ground into blocks, and the blocks into splits that never share a pixel.

Neighbouring pixels resemble each other, so chips drawn at random would let a model see its test
ground. Whole blocks are held out instead, with a buffer between what is learnt from and what is
tested on (spatial block cross-validation, Roberts et al. 2017, https://doi.org/10.1111/ecog.02881).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count, pairwise

import numpy as np
import pandas as pd
from scipy.ndimage import distance_transform_cdt, maximum_filter
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array

from groundsynth.data.atlas import Atlas
from groundsynth.data.store import MEMORY, Raster, Store, Window, strips
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL, NUM_CLASSES, count_classes
from groundsynth.seeds import rng

SPLITS = ("train", "val", "test", "hidden", "region")
TRAIN, VAL, TEST, HIDDEN, REGION = range(5)
NO_SPLIT = 255
NO_GROUP = -1  # of blocks that no fold trains on or tests
MIN_BLOCK = 64  # pixels; smaller blocks would be too alike across their borders
MANY_BLOCKS = 600  # where no side is given, blocks are made larger until there are no more than this
ENOUGH_PIXELS = 200  # labelled pixels of a class that count as "present" in a block or split
CANDIDATES = 2000  # random partitions the search looks at, where blocks are few
SWAPS = 2000  # swaps the search looks at in one round
ROUNDS = 200  # rounds at most
CELLS = 4_000_000  # candidates × folds × blocks scored at once
COMPACTNESS = 40  # weight of uncut training ground against one covered (fold, split, class)
BALANCE = 10  # weight of groups that look like the whole scene
PIXEL_COLUMNS = [f"pixels_{k}" for k in range(NUM_CLASSES)]
BLOCK_COLUMNS = ["block", "ground", "group", "split", "row", "col", "height", "width", *PIXEL_COLUMNS]


def grid_blocks(
    labels: Raster, chip_size: int, sides: tuple[float, float] | None = None, part: Window = np.s_[:, :]
) -> pd.DataFrame:
    """Divide the labelled ground's bounding box into equal blocks that hold a chip each.

    Ground that holds a chip but not a whole block is one block.

    Args:
        labels: (h, w) uint8 map, 255 = no label.
        chip_size: side of a chip in pixels.
        sides: least height and width of a block in pixels; by default a chip's, and at least 64.
        part: the window of the raster to divide; all of it by default.

    Returns:
        One row per block: ``block, ground`` (0), ``row, col, height, width`` (pixels of the raster) and
        ``pixels_0…pixels_6``.

    Raises:
        GroundsynthError: the labelled ground is smaller than a chip.
    """
    sides = sides or (max(chip_size, MIN_BLOCK),) * 2
    lines = _labelled_lines(labels, part)
    edges = [_edges(line, side, chip_size) for line, side in zip(lines, sides, strict=True)]
    table = []
    for top, bottom in pairwise(edges[0]):
        counts = _count_columns(labels, top, bottom, edges[1])
        for (left, right), pixels in zip(pairwise(edges[1]), counts.tolist(), strict=True):
            place = dict(row=top, col=left, height=bottom - top, width=right - left)
            table.append(
                {"block": len(table), "ground": 0, **place, **dict(zip(PIXEL_COLUMNS, pixels, strict=True))}
            )
    return pd.DataFrame(table)


def _labelled_lines(labels: Raster, part: Window) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and the columns of a part that hold a label."""
    spans = [range(*cut.indices(side)) for cut, side in zip(part, labels.shape, strict=True)]
    rows, cols = (np.zeros(len(span), bool) for span in spans)
    (top, left), width = (span.start for span in spans), len(spans[1])
    for strip, _ in strips((len(rows), width)):
        here = labels[top + strip.start : top + strip.stop, left : left + width] != NO_LABEL
        rows[strip] = here.any(1)
        cols |= here.any(0)
    return top + np.flatnonzero(rows), left + np.flatnonzero(cols)


def _count_columns(labels: Raster, top: int, bottom: int, edges: list[int]) -> np.ndarray:
    """Return the pixels of each class between two rows and each pair of columns, (b, 7) int."""
    counts = np.zeros((len(edges) - 1, NUM_CLASSES), int)
    for rows, _ in strips((bottom - top, edges[-1] - edges[0])):
        strip = labels[top + rows.start : top + rows.stop, edges[0] : edges[-1]]
        for number, (left, right) in enumerate(pairwise(edges)):
            counts[number] += count_classes(strip[:, left - edges[0] : right - edges[0]])
    return counts


def _edges(line: np.ndarray, side: float, chip_size: int) -> list[int]:
    length = int(line[-1] - line[0] + 1) if line.size else 0
    if length < chip_size:
        raise GroundsynthError(
            f"the labelled ground is {length} px long; a block needs {chip_size}: use a larger scene or a "
            "smaller chip_size"
        )
    return np.linspace(line[0], line[-1] + 1, max(1, int(length // side)) + 1).round().astype(int).tolist()


def atlas_blocks(
    atlas: Atlas, chip_size: int, block_metres: float | None = None, least_labelled: float = 0.5
) -> pd.DataFrame:
    """Divide every ground into blocks, in pixels of the atlas.

    Ground without a label, too small for a chip, or in a block with fewer labelled pixels than the
    share ``least_labelled`` of a chip, is in no block.

    Args:
        block_metres: least side of a block on the ground; None takes a chip's, doubled, tripled … until
            there are no more than 600 blocks or none can grow.

    Returns:
        The columns of :func:`grid_blocks`.

    Raises:
        GroundsynthError: no ground holds a chip, or ``block_metres`` is less than a chip's side.
    """
    open_ground = atlas.grounds[~atlas.grounds["held_out"]]
    for times in count(1):
        side = max(chip_size, MIN_BLOCK) * times
        parts = []
        for ground in open_ground.itertuples():
            sides = _block_sides(ground, block_metres, chip_size) or (side, side)
            parts += _ground_blocks(atlas, ground, chip_size, sides, least_labelled)
        blocks = pd.concat(parts, ignore_index=True) if parts else _no_blocks(atlas, chip_size)
        if len(blocks) <= max(MANY_BLOCKS, len(parts)) or side > max(atlas.shape):
            return blocks.assign(block=range(len(blocks)))


def _no_blocks(atlas: Atlas, chip_size: int) -> pd.DataFrame:
    grid_blocks(atlas.labels, chip_size)  # one ground: says how long it is
    raise GroundsynthError(
        f"0 of {len(atlas.grounds)} grounds hold a labelled chip of {chip_size} px; use larger scenes or a smaller "
        "data.chip_size"
    )


def _block_sides(ground, block_metres: float | None, chip_size: int) -> tuple[float, float] | None:
    if block_metres is None or np.isnan(ground.metres_y):
        return None
    sides = block_metres / ground.metres_y, block_metres / ground.metres_x
    if min(sides) < chip_size:
        least = chip_size * max(ground.metres_y, ground.metres_x)
        raise GroundsynthError(
            f"data.block_metres = {block_metres:g} is {min(sides):.0f} px; a block holds a chip of {chip_size} px: "
            f"give at least {least:.0f} or lower data.chip_size"
        )
    return sides


def _ground_blocks(
    atlas: Atlas, ground, chip_size: int, sides: tuple[float, float], least_labelled: float
) -> list[pd.DataFrame]:
    part = np.s_[ground.row : ground.row + ground.height, ground.col : ground.col + ground.width]
    try:
        blocks = grid_blocks(atlas.labels, chip_size, sides, part)
    except GroundsynthError:
        return []
    blocks = blocks[blocks[PIXEL_COLUMNS].sum(axis=1) >= least_labelled * chip_size**2]
    return [blocks.assign(ground=ground.ground)] if len(blocks) else []


def region_blocks(atlas: Atlas, chip_size: int, first: int) -> pd.DataFrame:
    """Return the blocks of held-out grounds, split ``region``, numbered from ``first`` (table ``blocks``)."""
    side = (max(chip_size, MIN_BLOCK),) * 2
    held_out = atlas.grounds[atlas.grounds["held_out"]].itertuples()
    parts = [part for ground in held_out for part in _ground_blocks(atlas, ground, chip_size, side, 0)]
    if not parts:
        return pd.DataFrame(columns=BLOCK_COLUMNS)
    blocks = pd.concat(parts, ignore_index=True)
    named = blocks.assign(block=range(first, first + len(blocks)), group=NO_GROUP, split=SPLITS[REGION])
    return named[BLOCK_COLUMNS]


def neighbours(blocks: pd.DataFrame) -> np.ndarray:
    """Return which blocks touch, by a side or a corner, (b, b) bool; none touches itself."""
    touching = ~np.eye(len(blocks), dtype=bool)
    touching &= blocks["ground"].to_numpy()[:, None] == blocks["ground"].to_numpy()[None]
    for first, length in (("row", "height"), ("col", "width")):
        begin = blocks[first].to_numpy()
        reached = begin[:, None] <= (begin + blocks[length].to_numpy())[None]
        touching &= reached & reached.T
    return touching


def squares(blocks: pd.DataFrame) -> np.ndarray:
    """Return every two-by-two square of blocks as positions in the table, (s, 4) int."""
    places = list(blocks[["ground", "row", "col"]].itertuples(index=False, name=None))
    at = {place: position for position, place in enumerate(places)}
    found = []
    for (ground, row, col), height, width in zip(places, blocks["height"], blocks["width"], strict=True):
        four = [(ground, r, c) for r in (row, row + height) for c in (col, col + width)]
        if all(place in at for place in four):
            found.append([at[place] for place in four])
    return np.array(found, int).reshape(-1, 4)


# --- groups: one partition of the scene, rotated through the folds ------------------------------


def group_blocks(blocks: pd.DataFrame, folds: int, seed: int) -> np.ndarray:
    """Return the group of each block, (b,) int in 0…folds-1: equal in size, compact, rare classes spread.

    Of 2,000 random compact partitions the best is refined by swapping blocks between groups for as
    long as that helps; see :func:`score_groups` for what is better.

    Raises:
        GroundsynthError: fewer blocks than two per fold.
    """
    if len(blocks) < 2 * folds:
        raise GroundsynthError(
            f"{len(blocks)} blocks do not make {folds} folds of at least two; lower data.folds or data.chip_size"
        )
    generator = rng("group_blocks", seed)
    places = (blocks[["row", "col"]] + blocks[["height", "width"]].to_numpy() / 2).to_numpy()
    # an assignment costs the cube of the blocks: fewer candidates where they are many
    number = int(np.clip(CANDIDATES * (64 / len(blocks)) ** 3, min(CANDIDATES, 16), CANDIDATES))
    candidates = np.stack([_compact_groups(places, folds, generator) for _ in range(number)])
    best = candidates[score_groups(candidates, blocks, folds).argmax()]
    return _swap_uphill(best, blocks, folds, generator)


def _compact_groups(places: np.ndarray, folds: int, generator: np.random.Generator) -> np.ndarray:
    """Balanced k-means: assign blocks to equally many seats per random centre, twice."""
    seats = np.arange(len(places)) % folds  # (b,) group of each seat, sizes differ by one at most
    centres = generator.uniform(places.min(0), places.max(0), (folds, 2))
    for _ in range(2):
        distance = ((places[:, None] - centres[None]) ** 2).sum(-1)  # (b, folds)
        groups = seats[linear_sum_assignment(distance[:, seats])[1]]
        centres = np.stack([places[groups == group].mean(0) for group in range(folds)])
    return groups


def score_groups(groups: np.ndarray, blocks: pd.DataFrame, folds: int) -> np.ndarray:
    """Score partitions: class coverage, ground to hide, and how little of the training ground is cut up.

    Fold f tests on group f, validates on group f + 1 and trains on the rest. The score adds up
    - the (fold, split, class) triples with at least 200 labelled pixels, of train, val and test;
    - for each fold the fully labelled training blocks away from held-out ground, up to two: only such
      a block can be hidden whole;
    - 40 × the share of two-by-two squares of blocks that train together, so that the buffer costs little;
    - 10 × the mean overlap of a group's class shares with the scene's (1 - total variation distance), so
      that no fold tests on the city alone.

    Args:
        groups: (n, b) int, candidate partitions.
        blocks: (b rows) table of :func:`grid_blocks`.

    Returns:
        (n,) float64; higher is better.
    """
    length = max(1, CELLS // (folds * len(blocks)))
    parts = [groups[start : start + length] for start in range(0, len(groups), length)]
    ground = (
        blocks[PIXEL_COLUMNS].to_numpy().astype(float),  # whole numbers: sums are exact
        csr_array(neighbours(blocks).astype(np.float32)),
        squares(blocks),
        _well_labelled(blocks),
    )
    return np.concatenate([_score(part, folds, *ground) for part in parts])


def _score(
    groups: np.ndarray,
    folds: int,
    pixels: np.ndarray,
    touching: csr_array,
    square: np.ndarray,
    whole: np.ndarray,
) -> np.ndarray:
    member = groups[:, None, :] == np.arange(folds)[None, :, None]  # (n, folds, b)
    held_out = member | np.roll(member, -1, 1)
    own = member.astype(float) @ pixels  # (n, folds, 7)
    held = (own >= ENOUGH_PIXELS).sum((1, 2))
    learnt = ((~held_out).astype(float) @ pixels >= ENOUGH_PIXELS).sum((1, 2))
    near = (held_out.reshape(-1, held_out.shape[-1]).astype(np.float32) @ touching > 0).reshape(
        held_out.shape
    )
    hideable = np.minimum((~held_out & ~near & whole).sum(-1), 2).sum(1)
    together = (~held_out)[:, :, square].all(-1).mean((1, 2)) if len(square) else 0.0
    shares = own / np.maximum(own.sum(-1, keepdims=True), 1)
    alike = np.minimum(shares, pixels.sum(0) / pixels.sum()).sum(-1).mean(-1)
    # each group is test once and val once
    return 2 * held + learnt + hideable + COMPACTNESS * together + BALANCE * alike


def _well_labelled(blocks: pd.DataFrame) -> np.ndarray:
    """Return which blocks are labelled about as fully as the better quarter of them, (b,) bool."""
    area = (blocks["height"] * blocks["width"]).to_numpy()
    share = blocks[PIXEL_COLUMNS].to_numpy().sum(1) / area
    return share >= 0.99 * np.quantile(share, 0.75)


def _swap_uphill(
    groups: np.ndarray, blocks: pd.DataFrame, folds: int, generator: np.random.Generator
) -> np.ndarray:
    """Swap two blocks of different groups while that helps; of many swaps, look at a sample in each round."""
    pairs = np.argwhere(np.triu(np.ones((len(groups), len(groups)), bool), 1))
    best = score_groups(groups[None], blocks, folds)[0]
    for _ in range(ROUNDS):
        some = len(pairs) > SWAPS
        first, second = (pairs[generator.integers(len(pairs), size=SWAPS)] if some else pairs).T
        swapped = np.repeat(groups[None], len(first), 0)
        turn = np.arange(len(first))
        swapped[turn, first], swapped[turn, second] = groups[second], groups[first]
        scores = score_groups(swapped, blocks, folds)
        if scores.max() <= best + 1e-9:
            return groups
        groups, best = swapped[scores.argmax()], scores.max()
    return groups


# --- splits: one fold of it ---------------------------------------------------------------------


def split_blocks(blocks: pd.DataFrame, folds: int, fold: int, hidden_blocks: int, seed: int) -> pd.DataFrame:
    """Return ``blocks`` with ``group`` and ``split`` (table ``blocks``) for one fold.

    Test is group ``fold``, validation the next group; ``hidden_blocks`` of the rest are hidden,
    whose images a self-training arm may use but whose labels no real arm may see; the rest trains.

    Raises:
        GroundsynthError: a fold beyond the last, or nothing left to train on.
    """
    if not 0 <= fold < folds:
        raise GroundsynthError(f"fold {fold} does not exist; there are {folds}: choose one of 0…{folds - 1}")
    groups = group_blocks(blocks, folds, seed)
    split = np.full(len(blocks), TRAIN)
    split[groups == fold], split[groups == (fold + 1) % folds] = TEST, VAL
    if (split == TRAIN).sum() <= hidden_blocks:
        raise GroundsynthError(
            f"hidden_blocks = {hidden_blocks} leaves no training block of {(split == TRAIN).sum()}; lower it"
        )
    for _ in range(hidden_blocks):
        split[_next_hidden(blocks, split)] = HIDDEN
    named = blocks.assign(group=groups, split=[SPLITS[code] for code in split])
    return named[BLOCK_COLUMNS]


def _next_hidden(blocks: pd.DataFrame, split: np.ndarray) -> int:
    """Choose a training block to hide: away from held-out ground, labelled, costing training least."""
    touching = neighbours(blocks)
    pixels = blocks[PIXEL_COLUMNS].to_numpy()
    near_held_out = (touching & np.isin(split, (VAL, TEST))).any(1)
    lost = (touching & (split == TRAIN)).sum(1)  # training neighbours that must give a buffer
    rarity = (pixels / np.maximum(pixels.sum(0), 1)).sum(1)
    order = np.lexsort(
        (blocks["block"], rarity, lost, ~_well_labelled(blocks), near_held_out, split != TRAIN)
    )
    return int(order[0])


def split_raster(
    blocks: pd.DataFrame,
    shape: tuple[int, int],
    buffer: int,
    given_up: Sequence[Window] = (),
    store: Store = MEMORY,
) -> Raster:
    """Return the split of every pixel, (h, w) uint8: 0 train, 1 val, 2 test, 3 hidden, 4 region, 255 none.

    Validation and test blocks stay whole; they may touch each other, since validation only chooses
    when to stop. Hidden blocks give up the pixels within ``buffer`` (in rows or columns, whichever
    is more) of validation and test; training gives up those within it of all three. So at least
    ``buffer`` pixels of no split lie between any training pixel and any other split, and between
    any hidden pixel and validation or test.

    Args:
        given_up: windows of ground that no split may have (see :class:`groundsynth.data.atlas.Atlas`).
        store: where the raster is kept.
    """
    raster = store.raster(shape, NO_SPLIT)
    for rows, cols in strips(shape):
        # a pixel depends on what lies within the buffer, and that on what lies within it again
        top, bottom = max(0, rows.start - 2 * buffer), min(shape[0], rows.stop + 2 * buffer)
        strip = _split_rows(blocks, top, bottom, shape[1], buffer)
        raster[rows, cols] = strip[rows.start - top : rows.stop - top]
    for window in given_up:
        raster[window] = NO_SPLIT
    return raster


def _split_rows(blocks: pd.DataFrame, top: int, bottom: int, width: int, buffer: int) -> np.ndarray:
    strip = np.full((bottom - top, width), NO_SPLIT, np.uint8)
    here = blocks[(blocks["row"] < bottom) & (blocks["row"] + blocks["height"] > top)]
    for block in here.itertuples():
        first, last = max(block.row - top, 0), block.row + block.height - top
        strip[first:last, block.col : block.col + block.width] = SPLITS.index(block.split)
    present = {SPLITS.index(name) for name in here["split"]}
    for giving, kept in ((HIDDEN, (VAL, TEST)), (TRAIN, (VAL, TEST, HIDDEN))):
        if giving not in present or present.isdisjoint(kept):
            continue
        near = maximum_filter(np.isin(strip, kept), size=2 * buffer + 1, mode="constant")
        strip[(strip == giving) & near] = NO_SPLIT
    return strip


def nearest_to_training(split: Raster, reach: int) -> int:
    """Return the distance in pixels, in rows or columns, from training ground to the nearest of another split.

    Args:
        reach: how far to look; where nothing lies within it, ``reach`` is returned.
    """
    nearest = reach
    for rows, cols in strips(split.shape):
        top = max(0, rows.start - reach)
        strip = split[top : rows.stop + reach, cols]
        elsewhere = (strip != TRAIN) & (strip != NO_SPLIT)
        if elsewhere.any() and (strip == TRAIN).any():
            distances = distance_transform_cdt(~elsewhere, "chessboard")[strip == TRAIN]
            nearest = min(nearest, int(distances.min()))
    return nearest
