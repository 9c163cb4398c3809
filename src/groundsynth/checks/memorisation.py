"""Is a synthetic chip a copy? Its nearest training window over all offsets, turns and flips.

Distance is 1 - r, with r the correlation of all pixels after each channel's mean is removed: 0 is a
copy (whatever its brightness and contrast), 1 has nothing in common. Held-out real chips give the
distance that chance and the landscape's own likeness produce; a synthetic chip nearer to training
ground than nearly all of them is suspect. The search goes over every offset of the training ground of every
scene: thumbnails reduced to principal components propose candidates, full-resolution pixels decide.
Where ground is so large that windows are proposed at a step, all offsets around the best are tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from groundsynth.artifacts import metric_row
from groundsynth.checks.agreement import two_sample_auc
from groundsynth.checks.resampling import bootstrap_interval
from groundsynth.checks.territory import Territory, training_windows
from groundsynth.data.blocks import TRAIN
from groundsynth.seeds import rng

STAGE = "06_ground"
THUMBNAIL = 16  # pixels of a thumbnail's side; smaller chips keep their own size
COMPONENTS = 48
CANDIDATES = 4  # per turn and flip, ranked again at full resolution
RERANKED = 3  # turns and flips of a chip whose candidates are
CHUNK = 256  # chips searched at once; bounds the memory
REFINED = 3  # turns and flips whose best window is moved about, where windows were proposed at a step
PLANT_BRIGHTNESS = 0.05  # largest relative change of a planted copy's brightness
FIT_SAMPLE = 5000  # windows the principal components are fitted on


def turn_and_flip(images: np.ndarray, code: int) -> np.ndarray:
    """Return (…, h, w, c) images turned by ``code % 4`` right angles, mirrored first if ``code`` ≥ 4."""
    images = images[..., :, ::-1, :] if code >= 4 else images
    return np.rot90(images, code % 4, axes=(-3, -2))


def unit_vectors(images: np.ndarray) -> np.ndarray:
    """Return chips without their channels' means, scaled to length 1: (n, h·w·3) float32.

    The product of two rows is their correlation; a chip of one colour gives zeros.
    """
    pixels = images.astype(np.float32)
    pixels -= pixels.mean((1, 2), keepdims=True)
    flat = pixels.reshape(len(pixels), -1)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return flat / np.where(length > 0, length, 1)


def _thumbnails(images: np.ndarray) -> np.ndarray:
    """Return chips averaged to at most 16 × 16 pixels, (n, s, s, 3) float32."""
    n, side = images.shape[:2]
    step = max(1, side // THUMBNAIL)
    small = side // step
    cut = images[:, : small * step, : small * step].astype(np.float32)
    return cut.reshape(n, small, step, small, step, 3).mean((2, 4))


def _scene_thumbnails(image: np.ndarray, corners: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Yield the thumbnails of windows by one box filter of the scene: (n, s, s, 3) float32 each.

    Args:
        image: (h, w, 3) uint8.
        corners: (n, 2) upper left pixels.
    """
    step = max(1, size // THUMBNAIL)
    total = np.pad(image.astype(np.float64), ((1, 0), (1, 0), (0, 0))).cumsum(0).cumsum(1)
    box = total[step:, step:] - total[:-step, step:] - total[step:, :-step] + total[:-step, :-step]
    box = (box / step**2).astype(np.float32)
    offsets = np.arange(size // step) * step
    for part in _chunks(corners, 4096):
        rows, cols = part[:, :1] + offsets, part[:, 1:] + offsets
        yield box[rows[:, :, None], cols[:, None, :]]


@dataclass(frozen=True)
class PixelIndex:
    """Every training window, ready to be searched (made by :func:`index_training`)."""

    territory: Territory
    size: int
    corners: np.ndarray  # (m, 3)
    step: int  # pixels between them
    pca: PCA
    neighbours: NearestNeighbors


def index_training(territory: Territory, size: int) -> PixelIndex:
    """Index all windows of the training ground, every offset, by principal components of thumbnails."""
    corners, step = training_windows(territory, size)
    vectors = np.concatenate(
        [
            unit_vectors(thumbnails)
            for scene in np.unique(corners[:, 0])
            for thumbnails in _scene_thumbnails(
                territory.images[scene], corners[corners[:, 0] == scene, 1:], size
            )
        ]
    )
    sample = vectors[rng("pixel_index").permutation(len(vectors))[:FIT_SAMPLE]]
    pca = PCA(min(COMPONENTS, *sample.shape), svd_solver="randomized", random_state=0).fit(sample)
    neighbours = NearestNeighbors(n_neighbors=min(CANDIDATES, len(corners)), algorithm="brute")
    known = pca.transform(vectors).astype(np.float32)
    return PixelIndex(territory, size, corners, step, pca, neighbours.fit(known))


def _chunks(array: np.ndarray, length: int) -> list[np.ndarray]:
    return [array[start : start + length] for start in range(0, len(array), length)]


def nearest_windows(images: np.ndarray, index: PixelIndex) -> tuple[np.ndarray, np.ndarray]:
    """Return each chip's distance to its nearest training window, and where that lies.

    Args:
        images: (n, h, w, 3) uint8 chips of the index's size.

    Returns:
        distances (n,) float64 in [0, 2], and (n, 4) int: scene, row and col of the window, and the
        turn-and-flip code that lays the chip upon it.
    """
    parts = [_nearest_part(part, index) for part in _chunks(images, CHUNK)]
    if not parts:
        return np.empty(0), np.empty((0, 4), int)
    return tuple(np.concatenate(found) for found in zip(*parts, strict=True))


def _nearest_part(images: np.ndarray, index: PixelIndex) -> tuple[np.ndarray, np.ndarray]:
    """Do what :func:`nearest_windows` does for a few chips: thumbnails propose, pixels decide."""
    asked = [index.pca.transform(unit_vectors(_thumbnails(turn_and_flip(images, code)))) for code in range(8)]
    near, found = index.neighbours.kneighbors(np.concatenate(asked).astype(np.float32))
    shape = (8, len(images), near.shape[1])
    near, found = near.reshape(shape), found.reshape(shape)
    distance = np.full(shape[:2], np.inf)
    corner = np.zeros((*shape[:2], 3), int)
    for i, codes in enumerate(np.argsort(near[:, :, 0], 0)[:RERANKED].T):
        for code in codes:
            chip = unit_vectors(turn_and_flip(images[i : i + 1], code))[0]
            distance[code, i], corner[code, i] = _nearest_of(index, index.corners[found[code, i]], chip)
    if index.step > 1:
        _refine(images, index, distance, corner)
    best, each = distance.argmin(0), np.arange(len(images))
    return distance[best, each], np.column_stack([corner[best, each], best])


def _refine(images: np.ndarray, index: PixelIndex, distance: np.ndarray, corner: np.ndarray) -> None:
    """Try every offset around the best windows of a chip's three best turns; better ones are put in place."""
    for i, codes in enumerate(np.argsort(distance, 0)[:REFINED].T):
        for code in codes:
            chip = unit_vectors(turn_and_flip(images[i : i + 1], code))[0]
            around = _around(index, corner[code, i])
            distance[code, i], corner[code, i] = _nearest_of(index, around, chip)


def _nearest_of(index: PixelIndex, corners: np.ndarray, chip: np.ndarray) -> tuple[float, np.ndarray]:
    distance = 1 - unit_vectors(index.territory.cut(corners, index.size)) @ chip
    j = int(distance.argmin())
    return distance[j], corners[j]


def _around(index: PixelIndex, corner: np.ndarray) -> np.ndarray:
    """Return every training window less than a step from a corner, itself included, (n, 3)."""
    scene, row, col = corner
    split, reach = index.territory.splits[scene], range(1 - index.step, index.step)
    places = [(row + i, col + j) for i in reach for j in reach]
    return np.array(
        [
            (scene, r, c)
            for r, c in places
            if min(r, c) >= 0
            and r + index.size <= split.shape[0]
            and c + index.size <= split.shape[1]
            and (split[r : r + index.size, c : c + index.size] == TRAIN).all()
        ]
    )


def place_name(place: np.ndarray, names: list[str]) -> str:
    """Return a window's name for the certificate, e.g. ``nc_landsat7 row 120 col 64 turn 3``."""
    scene, row, col, code = (int(value) for value in place)
    return f"{names[scene]} row {row} col {col} turn {code}"


def nearest_features(features: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return each chip's distance to its nearest training chip in a feature space, (n,) float64.

    Args:
        features: (n, d); train: (m, d), both scaled alike (``distribution.standardise``).
    """
    distances, _ = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(train).kneighbors(features)
    return distances[:, 0]


def copy_rows(
    study: str, space: str, distances: dict[str, np.ndarray], planted: np.ndarray, held_out: np.ndarray
) -> list[dict]:
    """Return how near chips lie to training ground, as metric rows.

    ``auc`` with arm ``planted_copy``: do copies lie nearer than held-out real chips (1 = always)? And
    per set with arm ``nearer_than_real``: do its chips lie nearer than held-out real ones (0.5 = alike)?
    ``nearest_train`` is the median distance, with its interval over chips.

    Args:
        space: ``pixels`` or ``features``, kept in the column ``regime``.
        distances: (n,) per system; planted, held_out: (n,).
    """
    labels, rows = {"regime": f"space={space}"}, []
    for arm, system, values in (
        ("planted_copy", "real", planted),
        *(("nearer_than_real", system, values) for system, values in distances.items()),
    ):
        value, low, high, n = two_sample_auc(-values, -held_out, space, arm, system)
        rows.append(
            metric_row(study, STAGE, "auc", value, system=system, arm=arm, low=low, high=high, n=n, **labels)
        )
    for system, values in {"real": held_out, **distances}.items():
        low, high = bootstrap_interval(lambda i, v=values: np.median(v[i]), len(values), space, system)
        rows.append(
            metric_row(
                study, STAGE, "nearest_train", np.median(values), system=system, low=low, high=high,
                n=len(values), **labels,
            )
        )  # fmt: skip
    return rows
