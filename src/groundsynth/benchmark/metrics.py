"""Counts first, scores later: confusion tables per chip, then IoU, agreement and kappa.

Unlabelled pixels of the reference never count. A class the reference does not hold has no IoU
(NaN), neither 0 nor 1; the pixels wrongly given to it still cost the classes they were taken from.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL, NUM_CLASSES, check_map

OUTSIDE = NUM_CLASSES + 1  # the place of codes outside the legend; 'no label' comes before it
CODES = NUM_CLASSES + 2
PLACE = np.full(256, OUTSIDE, np.uint8)
PLACE[:NUM_CLASSES], PLACE[NO_LABEL] = np.arange(NUM_CLASSES), NUM_CLASSES


def confusions(labels: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Count pixels per chip, reference class and named class.

    Args:
        labels: (n, h, w) uint8 named classes 0…6.
        truth: (n, h, w) uint8 reference classes 0…6, 255 = no label, which is ignored.

    Returns:
        (n, 7, 7) int64, rows the reference, columns the name given.

    Raises:
        GroundsynthError: shapes that differ, or a class outside the legend in either.
    """
    labels, truth = np.asarray(labels), np.asarray(truth)
    if labels.shape != truth.shape:
        raise GroundsynthError(
            f"labels of shape {labels.shape} against a reference of shape {truth.shape}; they must be equal, "
            "so compare chips of one size in one order"
        )
    pairs = np.empty((len(truth), CODES, CODES), np.int64)
    for chip, (given, named) in enumerate(zip(truth, labels, strict=True)):
        cell = PLACE[_codes(given)] * np.uint8(CODES) + PLACE[_codes(named)]
        pairs[chip] = np.bincount(cell, minlength=CODES**2).reshape(CODES, CODES)
    if pairs[:, OUTSIDE].any() or pairs[:, :NUM_CLASSES, NUM_CLASSES:].any():  # beside a label, or as one
        _refuse(labels, truth)
    return pairs[:, :NUM_CLASSES, :NUM_CLASSES]


def _codes(chip: np.ndarray) -> np.ndarray:
    """Return the codes of a chip as a flat uint8 array; codes that are none, like -1 or 1000, as 254."""
    flat = chip.ravel()
    return (
        flat if flat.dtype == np.uint8 else np.where((flat >= 0) & (flat < 256), flat, 254).astype(np.uint8)
    )


def _refuse(labels: np.ndarray, truth: np.ndarray) -> None:
    """Say which class outside the legend there is."""
    check_map(truth, "the reference")
    odd = labels[(truth != NO_LABEL) & ((labels < 0) | (labels >= NUM_CLASSES))]
    raise GroundsynthError(
        f"named class {odd.max()} is not in the legend (0…{NUM_CLASSES - 1}); a segmenter names a class for "
        "every pixel, so pass its labels and not a map with gaps"
    )


def counts_of(table: np.ndarray) -> np.ndarray:
    """Return true positives, false positives and false negatives: (…, 7, 7) to (…, 7, 3)."""
    hits = np.diagonal(table, axis1=-2, axis2=-1)
    return np.stack([hits, table.sum(-2) - hits, table.sum(-1) - hits], axis=-1)


def count_chips(labels: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the counts of every chip, (n, 7, 3) int64; see :func:`confusions`."""
    return counts_of(confusions(labels, truth))


def _ratio(part: np.ndarray, whole: np.ndarray, defined: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=defined)


def class_iou(counts: np.ndarray) -> np.ndarray:
    """Return intersection over union per class, in [0, 1]: (…, 7, 3) counts to (…, 7).

    NaN where the reference lacks the class.
    """
    hits, false, missed = np.moveaxis(np.asarray(counts, float), -1, 0)
    return _ratio(hits, hits + false + missed, hits + missed > 0)


def class_f1(counts: np.ndarray) -> np.ndarray:
    """Return the F1 score (Dice) per class, in [0, 1]: (…, 7, 3) counts to (…, 7).

    NaN where the reference lacks the class.
    """
    hits, false, missed = np.moveaxis(np.asarray(counts, float), -1, 0)
    return _ratio(2 * hits, 2 * hits + false + missed, hits + missed > 0)


def class_precision(counts: np.ndarray) -> np.ndarray:
    """Return the share of right pixels among those given each name, in [0, 1]: (…, 7, 3) counts to (…, 7).

    NaN where the reference lacks the class, 0 where nothing was named so.
    """
    hits, false, missed = np.moveaxis(np.asarray(counts, float), -1, 0)
    return _ratio(hits, np.maximum(hits + false, 1), hits + missed > 0)


def class_recall(counts: np.ndarray) -> np.ndarray:
    """Return the share of each class's pixels that were named so, in [0, 1]: (…, 7, 3) counts to (…, 7).

    NaN where the reference lacks the class.
    """
    hits, _, missed = np.moveaxis(np.asarray(counts, float), -1, 0)
    return _ratio(hits, hits + missed, hits + missed > 0)


def share_bias(counts: np.ndarray, k: int) -> np.ndarray:
    """Return class ``k``'s named minus its true share of the labelled pixels, in percentage points: (…, 7, 3) to (…)."""
    hits, false, missed = np.moveaxis(np.asarray(counts, float), -1, 0)
    total = (hits + missed).sum(-1)
    return _ratio(100 * (false - missed)[..., k], total, total > 0)


def class_mean(values: np.ndarray, classes: Sequence[int] = range(NUM_CLASSES)) -> np.ndarray:
    """Return the mean over those of ``classes`` that have a value, (…, 7) to (…); NaN where none has."""
    chosen = values[..., list(classes)]
    present = ~np.isnan(chosen)
    return _ratio(np.nansum(chosen, -1), present.sum(-1), present.any(-1))


def mean_iou(counts: np.ndarray, classes: Sequence[int] = range(NUM_CLASSES)) -> np.ndarray:
    """Return the mean IoU over those of ``classes`` that occur: (…, 7, 3) counts to (…).

    NaN where none of them occurs.
    """
    return class_mean(class_iou(counts), classes)


def mean_precision(counts: np.ndarray, classes: Sequence[int] = range(NUM_CLASSES)) -> np.ndarray:
    """Return the mean precision over those of ``classes`` that occur: (…, 7, 3) counts to (…)."""
    return class_mean(class_precision(counts), classes)


def mean_recall(counts: np.ndarray, classes: Sequence[int] = range(NUM_CLASSES)) -> np.ndarray:
    """Return the mean recall over those of ``classes`` that occur: (…, 7, 3) counts to (…)."""
    return class_mean(class_recall(counts), classes)


def pooled_iou(counts: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Return one IoU over the summed counts of several (rare) classes: (…, 7, 3) to (…)."""
    pooled = np.asarray(counts)[..., list(classes), :].sum(-2, keepdims=True)
    return class_iou(pooled)[..., 0]


def agreement(table: np.ndarray) -> np.ndarray:
    """Return the share of labelled pixels on which both maps agree: (…, 7, 7) to (…)."""
    total = table.sum((-1, -2))
    return _ratio(np.trace(table, axis1=-2, axis2=-1), total, total > 0)


def kappa(table: np.ndarray) -> np.ndarray:
    """Return Cohen's kappa, agreement corrected for chance, in [-1, 1]: (…, 7, 7) to (…).

    NaN where chance alone would agree everywhere (both maps hold one and the same class).
    """
    total = table.sum((-1, -2))
    by_chance = (table.sum(-1) * table.sum(-2)).sum(-1)  # times total²
    expected = _ratio(by_chance, total.astype(float) ** 2, total > 0)
    return _ratio(agreement(table) - expected, 1 - expected, expected < 1)


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlation along the last axis, (…, k) and (…, k) to (…).

    Places without a number in either do not count; NaN for fewer than three places, or where all are alike.
    """
    first, second = np.broadcast_arrays(first, second)
    known = np.isfinite(first) & np.isfinite(second)
    ranks = []
    for values in (first, second):
        rank = rankdata(np.where(known, values, np.inf), axis=-1)  # the others come last
        mean = np.where(known, rank, 0).sum(-1, keepdims=True) / np.maximum(known.sum(-1, keepdims=True), 1)
        ranks.append(np.where(known, rank - mean, 0))
    top, (left, right) = (ranks[0] * ranks[1]).sum(-1), [(rank**2).sum(-1) for rank in ranks]
    defined = (known.sum(-1) >= 3) & (left * right > 0)
    return np.divide(top, np.sqrt(left * right), out=np.full(top.shape, np.nan), where=defined)
