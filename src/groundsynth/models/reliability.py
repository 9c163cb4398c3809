"""Is a network as often right as it says? Pixels per bin of confidence, and the expected calibration error.

The error is the mean gap between confidence and the share of right answers, over bins of confidence
(Naeini et al. 2015; Guo et al., 1706.04599).
"""

from __future__ import annotations

import numpy as np

BINS = 15  # equal bins of confidence


def count_bins(confidence: np.ndarray, right: np.ndarray, cell: np.ndarray, cells: int) -> np.ndarray:
    """Count pixels per cell and bin.

    Args:
        confidence: (p,) in [0, 1]; right: (p,) bool; cell: (p,) int below ``cells``, e.g. the chip.

    Returns:
        (cells, BINS, 3) float64: pixels, sum of confidence, right answers.
    """
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    place, size = cell * BINS + bins, cells * BINS
    sums = [np.bincount(place, weights, size) for weights in (None, confidence, right)]
    return np.stack(sums, -1).reshape(cells, BINS, 3)


def expected_error(counts: np.ndarray) -> np.ndarray:
    """Return the expected calibration error in [0, 1]: (…, BINS, 3) to (…); NaN where nothing was counted."""
    pixels = counts[..., 0].sum(-1)
    gap = np.abs(counts[..., 1] - counts[..., 2]).sum(-1)
    return np.divide(gap, pixels, out=np.full(np.shape(pixels), np.nan), where=pixels > 0)
