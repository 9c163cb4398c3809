"""Which classes are rare, and which of their patches are large enough to be objects on the ground."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from groundsynth.legend import CLASSES, count_classes

RARE_SHARE = 0.05  # a class below this share of the labelled training pixels is rare
LEAST_PIXELS = 6  # of a connected patch that counts as an object


def rare_classes(maps: np.ndarray, below: float = RARE_SHARE, floor: float = 0.0) -> list[int]:
    """Return the classes that maps (n, h, w) hold, but on less than a share ``below`` of their labelled pixels.

    Args:
        floor: classes on less than this share are left out.
    """
    counts = count_classes(maps)
    whole = counts.sum()
    return [k for k in range(len(CLASSES)) if counts[k] and floor * whole <= counts[k] < below * whole]


def objects(labels: np.ndarray, k: int) -> np.ndarray:
    """Return where a map (h, w) holds connected patches of class ``k`` of at least 6 pixels, as bool."""
    patches, _ = ndimage.label(labels == k)
    sizes = np.bincount(patches.ravel())
    sizes[0] = 0
    return sizes[patches] >= LEAST_PIXELS


def chips_with_objects(
    maps: np.ndarray, below: float = RARE_SHARE, floor: float = 0.0
) -> dict[int, np.ndarray]:
    """Return for each class rarer than ``below``, but not than ``floor``, the numbers of the maps (n, h, w) that hold an object of it.

    Classes without an object are left out.
    """
    found = {
        k: [i for i in np.flatnonzero((maps == k).any((1, 2))) if objects(maps[i], k).any()]
        for k in rare_classes(maps, below, floor)
    }
    return {k: np.array(rows) for k, rows in found.items() if rows}
