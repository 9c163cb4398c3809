"""What a map says: the facts that captions state and that claims are checked against.

Writer and checker share these definitions, so a writer that reads the map is right by construction
and any other writer is judged by the same rule. Shares are of the labelled pixels.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from groundsynth.legend import NO_LABEL, NUM_CLASSES, count_classes

#: A class is present from this many pixels on: the study confirms a rare object from connected
#: groups of 6 pixels (0.15 % of a 64 px chip), and less is within the noise of the maps.
MIN_PIXELS = 6

#: Two classes are neighbours from this many shared pixel sides on, as many as ``MIN_PIXELS``.
MIN_CONTACT = 6

#: A class lies in a sector when its chance-corrected concentration there is at least 'fair' on the
#: scale of Landis and Koch (1977), as for Cohen's kappa: 0 is an even spread, 1 is all inside.
MIN_CONCENTRATION = 0.2

SECTORS = ("north", "northeast", "east", "southeast", "south", "southwest", "west", "northwest", "centre")
#: where captions also place things: the outer eighth on every side, and the outer quarters' corners
OUTER_PLACES = ("edge", "corners")
PLACES = (*SECTORS, *OUTER_PLACES)
THROUGHOUT = "throughout"


def is_present(labels: np.ndarray) -> np.ndarray:
    """Return (7,) bool: which classes have at least ``MIN_PIXELS`` pixels in a (h, w) map."""
    return count_classes(labels) >= MIN_PIXELS


@lru_cache
def sector_masks(height: int, width: int) -> np.ndarray:
    """Return (9, h, w) bool in the order of ``SECTORS``: halves, quadrants, and the central half box.

    The top row of a chip is north.
    """
    row, col = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    north, west = (row < 0.5)[:, None], (col < 0.5)[None, :]
    middle = (abs(row - 0.5) <= 0.25)[:, None] & (abs(col - 0.5) <= 0.25)[None, :]
    south, east = ~north, ~west
    parts = (north, north & east, east, south & east, south, south & west, west, north & west, middle)
    return np.stack([np.broadcast_to(part, (height, width)) for part in parts])


@lru_cache
def _flat_masks(height: int, width: int) -> np.ndarray:
    """Return the sectors as a (9, h × w) float32 matrix, which counts pixels exactly up to 16 million."""
    return sector_masks(height, width).reshape(len(SECTORS), -1).astype(np.float32)


@lru_cache
def place_masks(height: int, width: int) -> np.ndarray:
    """Return (11, h, w) bool in the order of ``PLACES``: the sectors, the rim and the four corners."""
    row, col = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    far_row, far_col = abs(row - 0.5)[:, None], abs(col - 0.5)[None, :]
    rim = (far_row > 0.375) | (far_col > 0.375)
    corners = (far_row > 0.25) & (far_col > 0.25)
    return np.concatenate([sector_masks(height, width), np.stack([rim, corners])])


def place_mask(place: str, height: int, width: int) -> np.ndarray | None:
    """Return the (h, w) bool mask of one of ``PLACES``, None for no place and ``throughout``."""
    return place_masks(height, width)[PLACES.index(place)] if place in PLACES else None


def concentration(labels: np.ndarray) -> np.ndarray:
    """Return how much each class keeps to each sector, (7, 9) float64 in [-inf, 1].

    With a the share of the labelled ground and s the share of the class that lie in the sector,
    it is (s - a) / (1 - a); 0 where the class is absent or the sector holds all or no ground. The
    array is shared by all who ask about the same map, and cannot be written to.
    """
    labels = np.ascontiguousarray(labels)
    return _concentration(labels.tobytes(), labels.shape, labels.dtype.str)


@lru_cache(maxsize=256)  # a caption asks about the same map once per class
def _concentration(data: bytes, shape: tuple[int, ...], kind: str) -> np.ndarray:
    labels = np.frombuffer(data, kind).reshape(shape)
    masks = _flat_masks(*labels.shape)
    codes = np.where(labels.ravel() == NO_LABEL, NUM_CLASSES, labels.ravel())
    inside = masks @ np.eye(NUM_CLASSES + 1, dtype=np.float32)[codes]  # (9, 8) pixels, the last without label
    inside = inside[:, :NUM_CLASSES].astype(float).T
    pixels = count_classes(labels)
    known = pixels.sum()
    area = inside.sum(0) / known if known else np.ones(len(masks))
    found = np.zeros((NUM_CLASSES, len(masks)))
    usable = (area > 0) & (area < 1)
    for k in np.flatnonzero(pixels):
        share = inside[k] / pixels[k]
        found[k, usable] = (share[usable] - area[usable]) / (1 - area[usable])
    found.flags.writeable = False
    return found


def lies_in(labels: np.ndarray, k: int, sector: str) -> bool:
    """Return whether class ``k`` is concentrated in ``sector`` (or in none, for ``throughout``)."""
    values = concentration(labels)[k]
    if sector == THROUGHOUT:
        return bool((values < MIN_CONCENTRATION).all())
    return bool(values[SECTORS.index(sector)] >= MIN_CONCENTRATION)


def best_sector(labels: np.ndarray, k: int) -> str:
    """Return the sector class ``k`` keeps to most, or ``throughout`` if it keeps to none."""
    values = concentration(labels)[k]
    best = int(values.argmax())
    return SECTORS[best] if values[best] >= MIN_CONCENTRATION else THROUGHOUT
