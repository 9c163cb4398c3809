"""Copies in pieces: the nearest training patch of every tile of a chip.

A chip put together from several places resembles no single training window, yet each of its tiles is a copy.
So every tile of 16 pixels is searched among the training patches at all offsets. Tile and patch are first
turned and flipped into one standard pose (brighter to the lower right, more across than down), so that one
search covers all eight. A chip's score is its least distance over tiles, 1 - r as for whole windows. A
copied area is sure to hold a whole tile if it is at least 31 pixels wide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from groundsynth.checks.memorisation import unit_vectors
from groundsynth.checks.territory import Territory
from groundsynth.data.blocks import TRAIN
from groundsynth.errors import GroundsynthError
from groundsynth.seeds import rng

PATCH = 16  # pixels of a tile's side
COMPONENTS = 24
FIT_SAMPLE = 8000  # patches the principal components are fitted on
MOST_PATCHES = 120_000  # beyond that many, patches are taken at a step
DECIDED = 4  # tiles of a chip whose distance is taken at full resolution
CHUNK = 256  # chips at once
FLAT = 4.0  # grey levels: a tile that varies less shows nothing that could be copied


def tiles(images: np.ndarray) -> np.ndarray:
    """Return the tiles of (n, h, w, 3) chips at multiples of 16 pixels, (n, t, 16, 16, 3)."""
    n, height, width = images.shape[:3]
    rows, cols = height // PATCH, width // PATCH
    cut = images[:, : rows * PATCH, : cols * PATCH]
    split = cut.reshape(n, rows, PATCH, cols, PATCH, 3).swapaxes(2, 3)
    return split.reshape(n, rows * cols, PATCH, PATCH, 3)


def standard_pose(patches: np.ndarray) -> np.ndarray:
    """Return (n, s, s, 3) patches flipped and transposed so that their brightness leans one way.

    Any turn or flip of a patch comes out the same, but for ties.
    """
    grey = patches.astype(np.float32).mean(-1)
    side = np.arange(grey.shape[1], dtype=np.float32) - (grey.shape[1] - 1) / 2
    down, across = (grey * side[None, :, None]).sum((1, 2)), (grey * side[None, None, :]).sum((1, 2))
    posed = np.where((down < 0)[:, None, None, None], patches[:, ::-1], patches)
    posed = np.where((across < 0)[:, None, None, None], posed[:, :, ::-1], posed)
    steep = np.abs(down) > np.abs(across)
    return np.where(steep[:, None, None, None], posed.swapaxes(1, 2), posed)


@dataclass(frozen=True)
class PatchIndex:
    """Every training patch in its standard pose, ready to be searched (made by :func:`index_patches`)."""

    territory: Territory
    corners: np.ndarray  # (m, 3)
    step: int  # pixels between them
    pca: PCA
    neighbours: NearestNeighbors


def index_patches(territory: Territory) -> PatchIndex:
    """Index the patches of the training ground, at every offset unless that makes more than 120,000.

    Raises:
        GroundsynthError: no patch fits the training ground.
    """
    corners, step = territory.corners(TRAIN, PATCH), 1
    if not len(corners):
        raise GroundsynthError(f"no {PATCH} px patch fits the training ground; use fewer held-out blocks")
    while len(corners) > MOST_PATCHES:
        step += 1
        corners = territory.corners(TRAIN, PATCH, step)
    sample = corners[np.sort(rng("patch_index").permutation(len(corners))[:FIT_SAMPLE])]
    known = unit_vectors(standard_pose(territory.cut(sample, PATCH)))
    pca = PCA(min(COMPONENTS, *known.shape), svd_solver="randomized", random_state=0).fit(known)
    parts = [
        pca.transform(unit_vectors(standard_pose(territory.cut(corners[start : start + 4096], PATCH))))
        for start in range(0, len(corners), 4096)
    ]
    neighbours = NearestNeighbors(n_neighbors=1, algorithm="brute")
    return PatchIndex(territory, corners, step, pca, neighbours.fit(np.concatenate(parts).astype(np.float32)))


def nearest_patches(images: np.ndarray, index: PatchIndex) -> np.ndarray:
    """Return each chip's least distance of a tile to a training patch, (n,) float64 in [0, 2].

    Args:
        images: (n, h, w, 3) uint8, at least 16 px wide. Tiles of one colour show nothing and are passed
            over; a chip of such tiles alone scores 1.
    """
    return _search(images, index)[0]


def patch_pairs(images: np.ndarray, index: PatchIndex) -> tuple[np.ndarray, np.ndarray]:
    """Return the tile of each chip that lies nearest to a training patch, and that patch.

    Args:
        images: (n, h, w, 3) uint8, each with a tile that is not of one colour.

    Returns:
        tiles and patches, (n, 16, 16, 3) uint8 each, both in their standard pose, so that they lie alike.
    """
    places = _search(images, index)[1]
    own = tiles(images)[np.arange(len(images)), places[:, 0]]
    return standard_pose(own), standard_pose(index.territory.cut(places[:, 1:], PATCH))


def _search(images: np.ndarray, index: PatchIndex) -> tuple[np.ndarray, np.ndarray]:
    """Return least distances (n,), and (n, 4) int: tile of the chip; scene, row and col of the patch."""
    parts = [_nearest_part(images[start : start + CHUNK], index) for start in range(0, len(images), CHUNK)]
    if not parts:
        return np.empty(0), np.empty((0, 4), int)
    return tuple(np.concatenate(found) for found in zip(*parts, strict=True))


def _nearest_part(images: np.ndarray, index: PatchIndex) -> tuple[np.ndarray, np.ndarray]:
    cut = tiles(images)
    n, t = cut.shape[:2]
    flat = cut.reshape(n * t, PATCH, PATCH, 3)
    vectors = unit_vectors(standard_pose(flat))
    dull = flat.astype(np.float32).std((1, 2)).max(1) < FLAT
    near, found = index.neighbours.kneighbors(index.pca.transform(vectors).astype(np.float32))
    near = np.where(dull, np.inf, near[:, 0]).reshape(n, t)
    order = np.argsort(near, 1)[:, :DECIDED]
    distances, places = np.ones(n), np.zeros((n, 4), int)
    for i, numbers in enumerate(order):
        for number in numbers[~dull[i * t + numbers]]:
            distance, corner = _nearest(index, found[i * t + number, 0], vectors[i * t + number])
            if distance < distances[i]:
                distances[i], places[i] = distance, (number, *corner)
    return distances, places


def _nearest(index: PatchIndex, place: int, vector: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the least distance of a tile (d,) to the patch found for it or one around, and where that lies."""
    corners = index.corners[place : place + 1] if index.step == 1 else _around(index, index.corners[place])
    distances = 1 - unit_vectors(standard_pose(index.territory.cut(corners, PATCH))) @ vector
    best = int(distances.argmin())
    return float(distances[best]), corners[best]


def _around(index: PatchIndex, corner: np.ndarray) -> np.ndarray:
    """Return every training patch less than a step from a corner, itself included, (n, 3)."""
    scene, row, col = corner
    split, reach = index.territory.splits[scene], range(1 - index.step, index.step)
    places = np.array([(scene, row + i, col + j) for i in reach for j in reach])
    last = np.array(split.shape) - PATCH
    places = places[(places[:, 1:] >= 0).all(1) & (places[:, 1:] <= last).all(1)]
    inside = [(split[r : r + PATCH, c : c + PATCH] == TRAIN).all() for _, r, c in places]
    return places[inside]
