"""A/A and planted effects: how often does the benchmark's interval see what is not there, or miss what is?

Identical trainings, divided into two groups as if they were two arms, differ by chance alone. An
interval of their difference that leaves 0 out is a false alarm; at 95 % there should be 5 % of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from math import comb

import numpy as np
import pandas as pd
from scipy.stats import binomtest, norm
from scipy.stats import t as student

from groundsynth.artifacts import metric_row
from groundsynth.benchmark.differences import delta_interval
from groundsynth.benchmark.intervals import Score, bootstrap, interval, seed_mean, stack_counts
from groundsynth.benchmark.metrics import mean_iou
from groundsynth.errors import GroundsynthError
from groundsynth.seeds import rng

STAGE = "07_benchmark_segmentation"
HALF = 0.5
SIZES = (3, 6)  # seeds per group; the first is what studies have
LEAST_RUNS, LEAST_COMPARISONS, LEAST_HALF = 12, 200, 6
KINDS = ("study", "percentile", "t")


def part_name(arm: str, part: float = HALF) -> str:
    """Return how an arm is called that has a part of the labelled blocks.

    >>> part_name("real@4"), part_name("real", 0.1)
    ('real@4:half', 'real:10%')
    """
    return f"{arm}:half" if part == HALF else f"{arm}:{100 * part:g}%"


def divisions(runs: int, size: int, number: int, *names: object) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pairs of groups of ``size`` different runs, drawn at random, none of them twice.

    Raises:
        GroundsynthError: fewer runs than two groups need, or than make so many different divisions.
    """
    possible = comb(runs, size) * comb(max(runs - size, 0), size) // 2
    if possible < number:
        raise GroundsynthError(
            f"{runs} runs make {possible} different comparisons of {size} against {size}, and {number} are asked for; "
            "train more seeds"
        )
    random, seen = rng("divisions", *names), set()
    while len(seen) < number:
        drawn = random.permutation(runs)[: 2 * size]
        key = frozenset((frozenset(drawn[:size].tolist()), frozenset(drawn[size:].tolist())))
        if key not in seen:
            seen.add(key)
            yield drawn[:size], drawn[size:]


def compared(
    first: np.ndarray, second: np.ndarray, score: Score, resamples: int, kind: str, *names: object
) -> dict:
    """Return value, low and high of the second arm's score less the first's.

    Args:
        first, second: (seeds, blocks, 7, 3) counts of two arms.
        kind: ``study``, the interval of every published difference, Student's from the spread over blocks and
            seeds; ``percentile``, of resampled blocks and seeds; ``t``, Student's over seeds alone.
    """
    both = np.stack([first, second])
    if kind == "study":
        return delta_interval(both, 0, score, resamples, *names)[1]
    if kind == "percentile":
        values, draws = seed_mean(both, score), bootstrap(both, score, resamples, *names)
        low, high = interval(draws[1] - draws[0])
        return {"value": values[1] - values[0], "low": low, "high": high}
    change = score(second.sum(1)) - score(first.sum(1))  # (seeds,)
    half = student.ppf(0.975, len(change) - 1) * change.std(ddof=1) / np.sqrt(len(change))
    return {"value": change.mean(), "low": change.mean() - half, "high": change.mean() + half}


def pseudo_comparisons(
    counts: np.ndarray, score: Score, size: int, number: int, resamples: int, kind: str
) -> pd.DataFrame:
    """Return value, low, high of ``number`` differences between groups of identical runs, and who took part.

    Args:
        counts: (runs, blocks, 7, 3) of trainings that differ in their seed alone.

    Returns:
        columns value, low, high, false_alarm (bool) and runs (tuple of int).
    """
    rows = []
    for place, (first, second) in enumerate(divisions(len(counts), size, number, size)):
        row = compared(counts[first], counts[second], score, resamples, kind, "A/A", place)
        rows.append(row | {"runs": (*first.tolist(), *second.tolist())})
    table = pd.DataFrame(rows)
    return table.assign(false_alarm=(table["low"] > 0) | (table["high"] < 0))


def alarm_rate(table: pd.DataFrame, runs: int) -> dict[str, float | None]:
    """Return the rate of false alarms with its 95 % interval.

    Comparisons share runs, so they are not independent: the interval is the wider of Wilson's, over
    comparisons, and the jackknife's, which leaves out one run at a time. None where every comparison
    needs every run.
    """
    alarms = table["false_alarm"].to_numpy(bool)
    rate, number = float(alarms.mean()), len(alarms)
    without = np.array([[run not in held for held in table["runs"]] for run in range(runs)])
    if not without.any(1).all():
        return {"value": rate, "low": None, "high": None}
    left = np.array([alarms[kept].mean() for kept in without])
    error = np.sqrt((runs - 1) / runs * ((left - left.mean()) ** 2).sum())
    half = norm.ppf(0.975) * error
    low, high = binomtest(int(alarms.sum()), number).proportion_ci(method="wilson")
    low, high = max(0.0, min(low, rate - half)), min(1.0, max(high, rate + half))
    return {"value": rate, "low": float(low), "high": float(high)}


def planted_comparisons(
    full: np.ndarray, half: np.ndarray, score: Score, size: int, number: int, resamples: int, kind: str
) -> pd.DataFrame:
    """Return differences all labels less half of them, in random groups of seeds, paired by seed.

    Args:
        full, half: (seeds, blocks, 7, 3) of the same seeds.

    Returns:
        columns value, low, high and shown (bool), one row per group.
    """
    number = min(number, comb(len(full), size))
    random, groups = rng("planted", size), set()
    while len(groups) < number:
        groups.add(tuple(sorted(random.permutation(len(full))[:size].tolist())))
    rows = [
        compared(half[list(group)], full[list(group)], score, resamples, kind, "planted", place)
        for place, group in enumerate(sorted(groups))
    ]
    table = pd.DataFrame(rows)
    return table.assign(shown=table["low"] > 0)


def aa_rows(
    study: str,
    counts: pd.DataFrame,
    arm: str,
    primary: Sequence[int],
    sizes: Sequence[int],
    number: int,
    resamples: int,
    part: float = HALF,
) -> tuple[list[dict], dict[str, pd.DataFrame]]:
    """Return metric rows of the A/A test and of the planted effect, and the comparisons behind them by regime.

    ``false_positive_rate`` and ``planted_detection_rate`` by seeds per group and kind of interval;
    ``planted_difference`` of all labels against a part of them, all seeds together.

    Args:
        counts: table 'counts' of the arm and of its part (see :func:`part_name`), test split.
        arm: real chips alone, such as ``real`` or ``real@4``.
        sizes: seeds per group, such as 3 and 6; part: share of the labelled blocks that the smaller arm has.

    Raises:
        GroundsynthError: too few runs or comparisons to say anything.
    """
    less = part_name(arm, part)
    seeds = {name: sorted(counts.loc[counts["arm"] == name, "seed"].unique()) for name in (arm, less)}
    check_plan(len(seeds[arm]), len(seeds[less]), number)
    score, row = partial(mean_iou, classes=primary), partial(metric_row, study, STAGE, system="real")
    full = stack_counts(counts[counts["arm"] == arm], [arm])[0]  # (runs, blocks, 7, 3)
    shared = stack_counts(counts[counts["seed"].isin(seeds[less])], [arm, less])
    rows, behind = [], {}
    for size in sizes:
        for kind in KINDS:
            regime = f"interval={kind};group={size}"
            behind[regime] = pseudo_comparisons(full, score, size, number, resamples, kind)
            rate = alarm_rate(behind[regime], len(full))
            rows.append(row("false_positive_rate", arm=arm, regime=regime, n=number, seeds=len(full), **rate))
            if size <= len(seeds[less]):
                found = planted_comparisons(*shared, score, size, number, resamples, kind)
                rows.append(row("planted_detection_rate", found["shown"].mean(), arm=less, regime=regime, n=len(found),
                                seeds=len(seeds[less])))  # fmt: skip
    for kind in KINDS:
        found = compared(shared[1], shared[0], score, resamples, kind, "planted")
        about = {"arm": arm, "regime": f"against={less};interval={kind}"}
        rows.append(
            row("planted_difference", n=full.shape[1], seeds=len(seeds[less]), **about, **_ends(found))
        )
    return rows, behind


def _ends(found: dict) -> dict[str, float | None]:
    return {name: found[name] for name in ("value", "low", "high")}


def check_plan(runs: int, half: int, number: int) -> None:
    """Stop unless there are runs and comparisons enough to say anything."""
    for value, least, what in (
        (runs, LEAST_RUNS, "identical runs"),
        (half, LEAST_HALF, "runs with fewer labels"),
        (number, LEAST_COMPARISONS, "comparisons"),
    ):
        if value < least:
            raise GroundsynthError(f"{value} {what} say little of a rate; take {least} or more")
