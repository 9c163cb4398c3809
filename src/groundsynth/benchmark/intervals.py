"""95 % intervals of scores by bootstrap over spatial blocks and training seeds.

The block is the unit that is resampled, for neighbouring chips are not independent; seeds are
resampled with it. Every arm sees the same resamples. Differences of arms have intervals of their own
(:mod:`groundsynth.benchmark.differences`): percentiles over three seeds are too narrow for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from groundsynth.errors import GroundsynthError
from groundsynth.legend import NUM_CLASSES
from groundsynth.seeds import rng

Score = Callable[[np.ndarray], np.ndarray]  # (…, 7, 3) counts to (…) values
LEVELS = (2.5, 97.5)


def block_counts(chip_counts: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Add up the counts of the chips of each block: (n, …) and (n,) to (blocks, …)."""
    _, index = np.unique(blocks, return_inverse=True)
    total = np.zeros((index.max() + 1, *chip_counts.shape[1:]), np.int64)
    np.add.at(total, index, chip_counts)
    return total


def stack_counts(
    counts: pd.DataFrame, arms: Sequence[str], cell: str = "class", size: int = NUM_CLASSES,
    columns: Sequence[str] = ("tp", "fp", "fn"),
) -> np.ndarray:  # fmt: skip
    """Return the 'counts' table of one split as (arms, seeds, blocks, 7, 3) int64.

    Args:
        cell, size, columns: what is counted in each block, and what of it, in a table of another kind.

    Raises:
        GroundsynthError: an arm without counts, or arms that were not run on the same seeds and blocks.
    """
    sums = counts.groupby(["arm", "seed", "block", cell])[list(columns)].sum()
    axes = [sorted(counts[name].unique()) for name in ("seed", "block")]
    wanted = pd.MultiIndex.from_product([list(arms), *axes, range(size)], names=sums.index.names)
    missing = wanted.difference(sums.index)
    if len(missing):
        arm, seed, block, _ = missing[0]
        raise GroundsynthError(
            f"arm '{arm}' has no counts for seed {seed} in block {block}; arms are compared on the same "
            "seeds and blocks, so run it again with the others"
        )
    return sums.loc[wanted].to_numpy().reshape(len(arms), len(axes[0]), len(axes[1]), size, len(columns))


def seed_mean(counts: np.ndarray, score: Score) -> np.ndarray:
    """Return each arm's score, blocks pooled and seeds averaged: (arms, seeds, blocks, 7, 3) to (arms,)."""
    return score(counts.sum(2)).mean(1)


def bootstrap(counts: np.ndarray, score: Score, resamples: int, *names: object) -> np.ndarray:
    """Return each arm's score in every resample.

    Args:
        counts: (arms, seeds, blocks, 7, 3).
        score: what to compute from pooled counts, e.g. ``mean_iou``.
        resamples: how many times blocks and seeds are drawn anew, with replacement.
        names: seed the draws; the same names give the same resamples to every score.

    Returns:
        (arms, resamples) float64; NaN in a resample that lacks every class of the score.
    """
    random = rng("bootstrap", *names)
    _, seeds, blocks = counts.shape[:3]
    block_weights = random.multinomial(blocks, np.full(blocks, 1 / blocks), resamples)  # (r, blocks)
    seed_weights = random.multinomial(seeds, np.full(seeds, 1 / seeds), resamples) / seeds  # (r, seeds)
    pooled = np.einsum("rb,asbkc->arskc", block_weights, counts)
    values = score(pooled)  # (arms, r, seeds)
    return np.where(seed_weights > 0, values * seed_weights, 0).sum(-1)


def interval(draws: np.ndarray) -> tuple[float | None, float | None]:
    """Return the 2.5th and 97.5th percentile of the draws that are numbers; None where there are none."""
    draws = draws[np.isfinite(draws)]
    if not draws.size:
        return None, None
    low, high = np.percentile(draws, LEVELS)
    return float(low), float(high)


def score_interval(
    counts: np.ndarray, score: Score, resamples: int, *names: object
) -> list[dict[str, float | None]]:
    """Return value, low and high of a score for every arm of (arms, seeds, blocks, 7, 3) counts.

    A single block cannot say how blocks vary: there ``low`` and ``high`` are None.
    """
    values = seed_mean(counts, score)
    if counts.shape[2] < 2:
        return [{"value": float(value), "low": None, "high": None} for value in values]
    draws = bootstrap(counts, score, resamples, *names)
    return [_row(value, draw) for value, draw in zip(values, draws, strict=True)]


def _row(value: float, draws: np.ndarray) -> dict[str, float | None]:
    low, high = interval(draws)
    return {"value": float(value), "low": low, "high": high}
