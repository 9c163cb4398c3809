"""Percentile bootstrap over chips or blocks: one helper for every interval of the checks.

Intervals over chips describe the chips of one run; neighbouring real chips are not independent, so
theirs are too narrow where they overlap, and the study says so beside them. Where the blocks are
given, whole blocks are drawn instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import binomtest

from groundsynth.seeds import rng

RESAMPLES = 500
LEVELS = (0.025, 0.975)  # 95 % interval


def bootstrap_interval(
    statistic: Callable[[np.ndarray], float], n: int, *names: object, groups: np.ndarray | None = None
) -> tuple[float | None, float | None]:
    """Return the 95 % interval of ``statistic(indices)`` over resampled indices 0…n-1.

    With ``groups``, (n,) block names, whole groups are drawn. Resamples in which the statistic is
    undefined (NaN) are left out; (None, None) if fewer than two units can be drawn or all are.
    """
    members = _members(n, groups)
    if len(members) < 2:
        return None, None
    draws = rng("bootstrap", *names).integers(len(members), size=(RESAMPLES, len(members)))
    if groups is None:
        values = np.array([statistic(draw) for draw in draws], float)
    else:
        values = np.array([statistic(np.concatenate([members[g] for g in draw])) for draw in draws], float)
    values = values[np.isfinite(values)]
    if not values.size:
        return None, None
    low, high = np.quantile(values, LEVELS)
    return float(low), float(high)


def _members(n: int, groups: np.ndarray | None) -> Sequence[np.ndarray] | range:
    """Return the indices of each group, or one unit per index."""
    if groups is None:
        return range(n)
    _, place = np.unique(np.asarray(groups), return_inverse=True)
    return np.split(np.argsort(place, kind="stable"), np.cumsum(np.bincount(place))[:-1])


def wilson_interval(hits: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share by Wilson (1927): it does not shrink to nothing at 0 of n or n of n."""
    found = binomtest(hits, n).proportion_ci(method="wilson")
    return float(found.low), float(found.high)
