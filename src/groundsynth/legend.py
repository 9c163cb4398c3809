"""The common land-cover legend: seven classes after ESA WorldCover and ARAS400k, and 'no label'.

Colours are the published ones, so that figures compare across studies.
"""

from __future__ import annotations

import numpy as np

from groundsynth.errors import GroundsynthError

CLASSES = ("tree cover", "shrubland", "grassland", "cropland", "built-up", "bare", "water")
COLOURS = (
    (0, 100, 0),
    (255, 182, 193),
    (154, 205, 50),
    (255, 215, 0),
    (139, 69, 19),
    (211, 211, 211),
    (0, 0, 255),
)
NUM_CLASSES = len(CLASSES)
NO_LABEL = 255
SHARE_COLUMNS = tuple(f"share_{k}" for k in range(NUM_CLASSES))


def check_map(labels: np.ndarray, where: str) -> np.ndarray:
    """Return ``labels`` as uint8 if every value is 0…6 or 255, else say which is not.

    Args:
        labels: (h, w) or (n, h, w) integer class codes.
        where: the file or artefact the map came from, for the message.

    Raises:
        GroundsynthError: a value outside the legend.
    """
    labels = np.asarray(labels)
    unknown = np.setdiff1d(labels, (*range(NUM_CLASSES), NO_LABEL))
    if unknown.size:
        raise GroundsynthError(
            f"{where}: class code {unknown[0]} is not in the legend (0…{NUM_CLASSES - 1}, or "
            f"{NO_LABEL} for no label); add it to the source's remapping table"
        )
    return labels.astype(np.uint8)


def count_classes(labels: np.ndarray) -> np.ndarray:
    """Return the number of pixels of each class, (7,) int64; unlabelled pixels do not count."""
    return np.bincount(labels[labels != NO_LABEL].ravel(), minlength=NUM_CLASSES)[:NUM_CLASSES]


def class_shares(labels: np.ndarray) -> np.ndarray:
    """Return the share of each class among the labelled pixels, (7,) float64 in [0, 1].

    All zeros where nothing is labelled.
    """
    counts = count_classes(labels)
    return counts / max(counts.sum(), 1)


def colour_map(labels: np.ndarray) -> np.ndarray:
    """Return an RGB picture of a map: (…, h, w) codes to (…, h, w, 3) uint8; no label is black."""
    table = np.zeros((256, 3), np.uint8)
    table[:NUM_CLASSES] = COLOURS
    return table[labels]
