"""The 95 % interval of a difference of two arms: one for a single fold and for several together.

Both arms are judged on the same blocks. What blocks and what trainings add to the spread of the paired difference is
found by resampling: blocks, and trainings of the generator, each with all its segmenters, or, with a single
generator, the segmenter's seeds. Of n units n - 1 are drawn, which makes the spread right for few of them (Rao and Wu
1988). The interval is Student's, with the degrees of freedom that so few blocks and trainings leave (Satterthwaite
1946). Percentiles of three resampled seeds are too narrow: where trainings differ more than blocks they raise false
alarms in about a quarter of A/A comparisons. Variation of seed and block together is counted with both: too careful
rather than too bold.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from groundsynth.benchmark.intervals import Score
from groundsynth.seeds import rng

POWER = 0.8
LEVEL = 0.05


def nested_draws(
    counts: np.ndarray,
    score: Score,
    resamples: int,
    *names: object,
    blocks: bool = True,
    trainings: bool = True,
) -> np.ndarray:
    """Return each arm's score in every resample.

    Every arm and score sees the same resamples.

    Args:
        counts: (generators, arms, seeds, blocks, 7, 3), or of other cells than classes.
        score: (…, 7, 3) counts to (…) values.
        names: seed the draws.
        blocks, trainings: whether these are drawn anew, or all taken as they are.

    Returns:
        (arms, resamples) float64; NaN in a resample that lacks every class of the score.
    """
    random = rng("nested bootstrap", *names)
    generators, arms, seeds, n = counts.shape[:4]
    of_blocks = _weights(random, n, resamples) if blocks else np.full((resamples, n), 1 / n)
    units = generators if generators > 1 else seeds
    drawn = _weights(random, units, resamples) if trainings else np.full((resamples, units), 1 / units)
    weights = drawn[:, :, None] / seeds if generators > 1 else drawn[:, None, :]  # (r, g, 1 or s)
    flat = np.moveaxis(counts, 3, 0).reshape(n, -1).astype(float)
    pooled = (of_blocks @ flat).reshape(resamples, generators, arms, seeds, *counts.shape[4:])
    values, weights = score(pooled), np.broadcast_to(weights, (resamples, generators, seeds))  # (r, g, a, s)
    return np.where(weights[:, :, None] > 0, values * weights[:, :, None], 0).sum((1, 3)).T


def _weights(random: np.random.Generator, units: int, resamples: int) -> np.ndarray:
    """Return shares of n - 1 units drawn with replacement from n, (resamples, n); of a single one all."""
    drawn = max(units - 1, 1)
    return random.multinomial(drawn, np.full(units, 1 / units), resamples) / drawn


def mean_score(counts: np.ndarray, score: Score) -> np.ndarray:
    """Return each arm's score, blocks pooled, generators and seeds averaged: (g, arms, s, b, 7, 3) to (arms,)."""
    return score(counts.sum(3)).mean((0, 2))


class Difference(NamedTuple):
    """A difference of two arms with its 95 % interval, two-sided p-value, and what would be shown with 80 % power."""

    value: float
    low: float | None
    high: float | None
    p: float
    detectable: float


def difference(counts: np.ndarray, score: Score, resamples: int, *names: object) -> Difference:
    """Return the first arm's score less the second's, with Student's interval from the paired resamples' spread.

    Degrees of freedom are Satterthwaite's, of what blocks and what trainings add to the spread.

    Args:
        counts: (generators, 2, seeds, blocks, 7, 3).
    """
    values = mean_score(counts, score)
    both, of_blocks, of_trainings = (
        _spread(nested_draws(counts, score, resamples, *names, **parts))
        for parts in ({}, {"trainings": False}, {"blocks": False})
    )
    generators, _, seeds, blocks = counts.shape[:4]
    units = generators if generators > 1 else seeds
    value = float(values[0] - values[1])
    if blocks < 2 or not np.isfinite(both):
        return Difference(value, None, None, 1.0, np.nan)
    error = np.sqrt(both)
    if error == 0:
        return Difference(value, value, value, 1.0 if value == 0 else 0.0, 0.0)
    parts = of_blocks**2 / (blocks - 1) + (of_trainings**2 / (units - 1) if units > 1 else 0)
    freedom = (of_blocks + of_trainings) ** 2 / parts if parts else np.inf
    half = student.ppf(1 - LEVEL / 2, freedom) * error
    p = float(2 * student.sf(abs(value) / error, freedom))
    return Difference(value, value - half, value + half, p, float(half + student.ppf(POWER, freedom) * error))


def _spread(draws: np.ndarray) -> float:
    """Return the variance over resamples of the first arm's score less the second's."""
    change = draws[0] - draws[1]
    known = change[np.isfinite(change)]
    return float(known.var(ddof=1)) if len(known) > 1 else np.nan


def delta_interval(
    counts: np.ndarray, reference: int, score: Score, resamples: int, *names: object
) -> list[dict[str, float | None]]:
    """Return value, low and high of the difference of every arm to the reference arm, of one fold's counts.

    Args:
        counts: (arms, seeds, blocks, 7, 3). A single block cannot say how blocks vary: ``low`` and ``high`` are None.
    """
    pairs = [counts[None, [arm, reference]] for arm in range(len(counts))]
    found = [difference(pair, score, resamples, *names) for pair in pairs]
    return [{"value": one.value, "low": one.low, "high": one.high} for one in found]
