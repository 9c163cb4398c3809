"""What can be done with real chips alone: rare ones drawn more often, and chips laid on one another.

Classical answers to scarce classes, which synthetic chips have to beat at equal steps.
"""

from __future__ import annotations

import numpy as np

from groundsynth.data.rare_objects import LEAST_PIXELS, RARE_SHARE, chips_with_objects, objects
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL, class_shares
from groundsynth.models.segmenter import Mix, Pool, augment

MIXED = 0.5  # share of a batch's chips that get a part of another one


def oversampling(masks: np.ndarray) -> np.ndarray:
    """Return the chance of each chip to be drawn, (n,) float64 that sum to 1: repeat-factor sampling.

    A chip with an object (6 connected pixels) of a rare class of share f is drawn sqrt(5 % / f) times as often as
    one without any; the rarest class of a chip decides (Gupta, Dollár and Girshick, 1908.03195, with pixel shares
    in the place of image shares).

    Raises:
        GroundsynthError: no rare class.
    """
    shares, factor = class_shares(masks), np.ones(len(masks))
    for k, rows in _rare(masks, "oversampling").items():
        factor[rows] = np.maximum(factor[rows], np.sqrt(RARE_SHARE / shares[k]))
    return factor / factor.sum()


def cutmix(
    images: np.ndarray, masks: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Lay a rectangle of another chip of the batch on half of the chips, map included (CutMix, 1905.04899).

    The rectangle has the chip's proportions and covers a uniform share of it; it is cut off at the edges.

    Args:
        images: (n, h, w, 3) uint8; masks: (n, h, w) uint8.
    """
    new_images, new_masks = images.copy(), masks.copy()
    for i, j in enumerate(random.permutation(len(images))):
        window = _rectangle(masks.shape[1:], random)
        if random.random() < MIXED:
            new_images[i][window], new_masks[i][window] = images[j][window], masks[j][window]
    return new_images, new_masks


def _rectangle(shape: tuple[int, int], random: np.random.Generator) -> tuple[slice, slice]:
    side = np.sqrt(random.random())
    cuts = []
    for length in shape:
        middle, half = random.integers(length), round(side * length / 2)
        cuts.append(slice(max(0, middle - half), min(length, middle + half)))
    return cuts[0], cuts[1]


def copy_paste(pool: Pool) -> Mix:
    """Return what lays objects of rare classes of the pool's chips on half of a batch's chips, map included.

    Simple Copy-Paste (2012.07177) for land cover: an object is a connected patch of a rare class of at least 6
    pixels; all those of one class and one chip, turned at random, are laid where they come to lie. Unlabelled
    pixels stay so. Chips have one ground resolution, so nothing is scaled.

    Raises:
        GroundsynthError: no rare class.
    """
    donors = _rare(pool.masks, "copy_paste")

    def lay(images, masks, random):
        images, masks = images.copy(), masks.copy()
        for i in range(len(images)):
            k = int(random.choice(list(donors)))
            j = int(random.choice(donors[k]))
            image, mask = augment(pool.images[j], pool.masks[j], random)
            patch = objects(mask, k) & (masks[i] != NO_LABEL)
            if random.random() < MIXED:
                images[i][patch], masks[i][patch] = image[patch], k
        return images, masks

    return lay


def _rare(masks: np.ndarray, recipe: str) -> dict[int, np.ndarray]:
    found = chips_with_objects(masks)
    if not found:
        raise GroundsynthError(
            f"arm 'real+{recipe}': no class covers less than {RARE_SHARE:.0%} of the training maps with a patch of "
            f"{LEAST_PIXELS} pixels; leave the arm out"
        )
    return found
