"""Real images without a usable map: what a generator of images alone can learn from and others cannot.

Two kinds, neither of them ground that is judged on: windows of training ground with too few labels to become
a training chip, and the chips of hidden blocks, whose labels nobody may see but whose images are free.
Validation and test ground is never looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from groundsynth.data.blocks import TRAIN
from groundsynth.data.chips import count_in_windows, sliding_windows
from groundsynth.legend import NO_LABEL

LEAST_IMAGE = 0.99  # share of a window that must show an image
MOST_WHITE = 0.2  # share of pure white, as clouds are after the stretch


def unlabelled_windows(
    image: np.ndarray, split: np.ndarray, labels: np.ndarray, size: int, step: int, least_labelled: float
) -> np.ndarray:
    """Return the upper left pixels, (n, 2), of training windows that have an image and too few labels.

    Args:
        image: (h, w, 3) uint8, 0 where there is no image; split: (h, w) uint8 (see ``data.blocks``).
        labels: (h, w) uint8, 255 = no label.
        size, step: side of a window and step between windows, in pixels.
        least_labelled: share of labelled pixels from which on a window is a training chip.
    """
    corners = sliding_windows(split, TRAIN, size, step)
    if not len(corners):
        return corners

    def share(mask: np.ndarray) -> np.ndarray:
        return count_in_windows(mask, size, corners) / size**2

    few = share(labels != NO_LABEL) < least_labelled
    seen = share((image > 0).any(-1)) >= LEAST_IMAGE
    clear = share((image == 255).all(-1)) <= MOST_WHITE
    return corners[few & seen & clear]


def image_only_chips(
    hidden: pd.DataFrame,
    images: Sequence[np.ndarray],
    splits: Sequence[np.ndarray],
    maps: Sequence[np.ndarray],
    size: int,
    step: int,
    least_labelled: float,
) -> np.ndarray:
    """Return images that can be learned from without a map, (n, size, size, 3) uint8.

    Args:
        hidden: the real chips of hidden blocks; only ``image`` is read, and ``split`` to be sure of it.
        images, splits, maps: of every scene, as for :func:`unlabelled_windows`.

    Raises:
        ValueError: a chip of another split, which would leak what is judged on.
    """
    if not (hidden["split"] == "hidden").all():
        raise ValueError(
            f"chips of {sorted(set(hidden['split']))} given as hidden ones; pass hidden chips alone"
        )
    found = list(hidden["image"])
    for image, split, labels in zip(images, splits, maps, strict=True):
        corners = unlabelled_windows(image, split, labels, size, step, least_labelled)
        found += [image[row : row + size, col : col + size] for row, col in corners.tolist()]
    return np.stack(found) if found else np.empty((0, size, size, 3), np.uint8)
