"""The 95 % interval of a difference of two arms: one for a single fold and for several together.

Both arms are judged on the same blocks. What blocks, trainings of the generator and seeds of the segmenter add to the
spread of the paired difference is found by resampling all three, crossed: a training on real chips alone is the same
run beside every generator, so a second generator tells nothing new of it. Of n units n - 1 are drawn, which makes the
spread right for few of them (Rao and Wu 1988). The interval is Student's, with the degrees of freedom that so few
blocks, generators and seeds leave (Satterthwaite 1946). Where every fold has a draw of labels of its own, with a
generator and trainings of its own, these differ together: folds take the place of blocks, and they alone are resampled
(Cameron and Miller 2015). Percentiles of three resampled seeds are too narrow: where
trainings differ more than blocks they raise false alarms in about a quarter of A/A comparisons. Variation of several
of the three together is counted with each: too careful rather than too bold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from groundsynth.benchmark.intervals import Score
from groundsynth.seeds import rng

UNITS = ("blocks", "generators", "seeds")
POWER = 0.8
LEVEL = 0.05


def nested_draws(
    counts: np.ndarray,
    score: Score,
    resamples: int,
    *names: object,
    drawn: tuple[str, ...] = UNITS,
) -> np.ndarray:
    """Return each arm's score in every resample.

    Every arm and score sees the same resamples.

    Args:
        counts: (generators, arms, seeds, blocks, 7, 3), or of other cells than classes.
        score: (…, 7, 3) counts to (…) values.
        names: seed the draws.
        drawn: which of ``UNITS`` are drawn anew; the others are all taken as they are.

    Returns:
        (arms, resamples) float64; NaN in a resample that lacks every class of the score.
    """
    random = rng("nested bootstrap", *names)
    generators, arms, seeds, n = counts.shape[:4]
    of_blocks, of_generators, of_seeds = (
        _weights(random, units, resamples)
        if name in drawn and units > 1
        else np.full((resamples, units), 1 / units)
        for name, units in zip(UNITS, (n, generators, seeds), strict=True)
    )
    weights = of_generators[:, :, None] * of_seeds[:, None, :]  # (r, g, s)
    flat = np.moveaxis(counts, 3, 0).reshape(n, -1).astype(float)
    pooled = (of_blocks @ flat).reshape(resamples, generators, arms, seeds, *counts.shape[4:])
    values = score(pooled)  # (r, g, a, s)
    return np.where(weights[:, :, None] > 0, values * weights[:, :, None], 0).sum((1, 3)).T


def _weights(random: np.random.Generator, units: int, resamples: int) -> np.ndarray:
    """Return shares of n - 1 units drawn with replacement from n, (resamples, n)."""
    return random.multinomial(units - 1, np.full(units, 1 / units), resamples) / (units - 1)


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


def difference(
    counts: np.ndarray, score: Score, resamples: int, *names: object, informed: int | None = None,
    units: tuple[str, ...] = UNITS,
) -> Difference:  # fmt: skip
    """Return the first arm's score less the second's, with Student's interval from the paired resamples' spread.

    Degrees of freedom are Satterthwaite's, of what blocks, generators and seeds add to the spread.

    Args:
        counts: (generators, 2, seeds, blocks, 7, 3).
        informed: how many of the blocks say anything of this score, such as those that hold a class; all of them if
            left out. Fewer than two have no interval.
        units: what is resampled, blocks among them.
    """
    values = mean_score(counts, score)
    generators, _, seeds, blocks = counts.shape[:4]

    def draws(drawn: tuple[str, ...]) -> np.ndarray:
        first, second = nested_draws(counts, score, resamples, *names, drawn=drawn)
        return first - second

    number = {"blocks": blocks if informed is None else informed, "generators": generators, "seeds": seeds}
    return students(float(values[0] - values[1]), draws, {name: number[name] for name in units})


def students(
    value: float, draws: Callable[[tuple[str, ...]], np.ndarray], number: dict[str, int]
) -> Difference:
    """Return Student's interval of a value from its spread over resamples.

    Args:
        draws: the value in every resample of the units it is given (see ``UNITS``).
        number: of units of each kind that is resampled. Fewer than two blocks have no interval.
    """
    whole = _spread(draws(tuple(number)))
    if number["blocks"] < 2 or not np.isfinite(whole):
        return Difference(value, None, None, 1.0, np.nan)
    error = np.sqrt(whole)
    if error == 0:
        return Difference(value, value, value, 1.0 if value == 0 else 0.0, 0.0)
    parts = [(_spread(draws((name,))), units - 1) for name, units in number.items() if units > 1]
    squares = sum(part**2 / free for part, free in parts)
    freedom = sum(part for part, _ in parts) ** 2 / squares if squares else np.inf
    half = student.ppf(1 - LEVEL / 2, freedom) * error
    p = float(2 * student.sf(abs(value) / error, freedom))
    return Difference(value, value - half, value + half, p, float(half + student.ppf(POWER, freedom) * error))


def _spread(draws: np.ndarray) -> float:
    """Return the variance over those resamples that have a value."""
    known = draws[np.isfinite(draws)]
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
