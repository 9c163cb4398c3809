"""Spatial cross-validation: the counts of every fold together, each block tested once.

Blocks are resampled over all folds. Trainings of the generator, where there are several, are resampled
with the segmenter's seeds nested in them. Training ground of folds overlaps, which no resampling of
test blocks can see: intervals over folds are somewhat too narrow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm, rankdata

from groundsynth.artifacts import metric_row
from groundsynth.benchmark.intervals import Score, interval, stack_counts
from groundsynth.benchmark.metrics import mean_iou, pooled_iou
from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES, NUM_CLASSES
from groundsynth.seeds import rng

STAGE = "07_benchmark_segmentation"
REFERENCE = "real"
POWER = 0.8
LEVEL = 0.05


class Pair(NamedTuple):
    """A comparison of two arms by one score, of one class where the score is ``iou``."""

    metric: str
    arm: str
    against: str
    class_: str = ""


# --- counts of all folds ---------------------------------------------------------------------


def stack_folds(tables: Sequence[pd.DataFrame], arms: Sequence[str], split: str) -> np.ndarray:
    """Return counts as (generators, arms, seeds, blocks, 7, 3) int64.

    Args:
        tables: one per training of the generator, columns of table 'counts' and ``fold``.
        split: of ``test``, each block is one; of ``val``, a block counts once per fold; a ``region`` is the
            same for all folds, whose trainings are then further seeds.

    Raises:
        GroundsynthError: a block that two folds test, or trainings on other blocks and seeds.
    """
    stacked = [_stack(table[table["split"] == split], arms, split) for table in tables]
    shapes = {part.shape for part in stacked}
    if len(shapes) > 1:
        raise GroundsynthError(
            f"generators were tested on different seeds and blocks {sorted(shape[1:3] for shape in shapes)}; pool "
            "studies that differ in generator.seeds alone"
        )
    return np.stack(stacked)


def _stack(counts: pd.DataFrame, arms: Sequence[str], split: str) -> np.ndarray:
    if split == "region":
        seeds = counts["fold"] * (counts["seed"].max() + 1) + counts["seed"]
        return stack_counts(counts.assign(seed=seeds), arms)
    if split == "test":
        _once(counts)
    blocks = counts["fold"] * (counts["block"].max() + 1) + counts["block"]
    return stack_counts(counts.assign(block=blocks), arms)


def _once(counts: pd.DataFrame) -> None:
    """Stop if a block is in the test split of two folds."""
    folds = counts.groupby("block")["fold"].unique()
    twice = folds[folds.map(len) > 1]
    if len(twice):
        raise GroundsynthError(
            f"block {twice.index[0]} is tested in folds {', '.join(map(str, sorted(twice.iloc[0])))}; every block is "
            "tested once, so run stages 01 to 07 of all folds again with one data.split_seed"
        )


# --- resampling ------------------------------------------------------------------------------


def nested_draws(counts: np.ndarray, score: Score, resamples: int, *names: object) -> np.ndarray:
    """Return each arm's score in every resample.

    Blocks are drawn with replacement; so are generators, and for each generator drawn the seeds within it.
    Every arm and score sees the same resamples.

    Args:
        counts: (generators, arms, seeds, blocks, 7, 3).
        score: (…, 7, 3) counts to (…) values.
        names: seed the draws.

    Returns:
        (arms, resamples) float64; NaN in a resample that lacks every class of the score.
    """
    random = rng("nested bootstrap", *names)
    generators, arms, seeds, blocks = counts.shape[:4]
    block_weights = random.multinomial(blocks, np.full(blocks, 1 / blocks), resamples)  # (r, b)
    drawn = random.multinomial(generators, np.full(generators, 1 / generators), resamples)  # (r, g)
    weights = random.multinomial(drawn * seeds, np.full(seeds, 1 / seeds)) / (seeds * generators)  # (r, g, s)
    flat = np.moveaxis(counts, 3, 0).reshape(blocks, -1).astype(float)
    pooled = (block_weights @ flat).reshape(resamples, generators, arms, seeds, NUM_CLASSES, 3)
    values = score(pooled)  # (r, g, a, s)
    return np.where(weights[:, :, None] > 0, values * weights[:, :, None], 0).sum((1, 3)).T


def mean_score(counts: np.ndarray, score: Score) -> np.ndarray:
    """Return each arm's score, blocks pooled, generators and seeds averaged: (g, arms, s, b, 7, 3) to (arms,)."""
    return score(counts.sum(3)).mean((0, 2))


def p_value(draws: np.ndarray) -> float:
    """Return the two-sided p-value of a difference from its resamples: twice the smaller tail beyond 0.

    >>> p_value(np.array([1.0] * 98 + [-1.0]))
    0.04
    """
    draws = draws[np.isfinite(draws)]
    tail = min((draws <= 0).sum(), (draws >= 0).sum())
    return float(min(1.0, 2 * (1 + tail) / (1 + len(draws))))


def holm(values: dict[str, float]) -> dict[str, float]:
    """Return p-values corrected for their number (Holm 1979).

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'c': 0.06, 'b': 0.06}
    """
    corrected, floor = {}, 0.0
    for rank, (name, p) in enumerate(sorted(values.items(), key=lambda pair: pair[1])):
        floor = max(floor, min(1.0, (len(values) - rank) * p))
        corrected[name] = floor
    return corrected


def detectable(draws: np.ndarray) -> float:
    """Return the smallest true difference that would be shown with 80 % power, from the spread of its resamples."""
    return float((norm.ppf(1 - LEVEL / 2) + norm.ppf(POWER)) * np.nanstd(draws, ddof=1))


# --- rows ------------------------------------------------------------------------------------


def mean_share(counts: np.ndarray, classes: Sequence[int], wrong: int) -> np.ndarray:
    """Return precision (``wrong`` 1) or recall (2), averaged over those of ``classes`` that occur: (…, 7, 3) to (…)."""
    own = np.asarray(counts, float)[..., list(classes), :]
    occurs = own[..., 0] + own[..., 2] > 0
    whole = own[..., 0] + own[..., wrong]
    share = np.divide(
        own[..., 0], whole, out=np.zeros_like(whole), where=whole > 0
    )  # never named: precision 0
    there = occurs.sum(-1)
    return np.divide((share * occurs).sum(-1), there, out=np.full(there.shape, np.nan), where=there > 0)


def pooled_scores(primary: Sequence[int]) -> dict[tuple[str, str], Score]:
    """Return the scores that are pooled, by metric and class."""
    rare = [k for k in range(NUM_CLASSES) if k not in primary]
    scores: dict[tuple[str, str], Score] = {
        ("miou", ""): partial(mean_iou, classes=primary),
        ("miou_all", ""): mean_iou,
        ("rare_iou", ""): partial(pooled_iou, classes=rare),
        ("class_precision", ""): partial(mean_share, classes=primary, wrong=1),
        ("class_recall", ""): partial(mean_share, classes=primary, wrong=2),
    }
    return scores | {("iou", name): partial(mean_iou, classes=[k]) for k, name in enumerate(CLASSES)}


def pool_regime(folds: int, generators: int, *more: str) -> str:
    """Return the regime of pooled rows, e.g. ``split=val;folds=6;generators=2``."""
    return ";".join([*(part for part in more if part), f"folds={folds}", f"generators={generators}"])


def pooled_rows(
    study: str, tables: Sequence[pd.DataFrame], systems: dict[str, str], classes: Sequence[int],
    primary: Sequence[str], pairs: Iterable[Pair], resamples: int, condition: str = "",
) -> list[dict]:  # fmt: skip
    """Return the rows of all folds and generators together.

    Every score of every arm; ``delta_<score>`` of the ``pairs`` (``delta_miou_filter`` of a filtered arm and
    its unfiltered one) and of every arm to ``real`` (mIoU), with ``smallest_detectable_difference``; for the primary comparisons ``delta_miou_p`` and, corrected for
    their number, ``delta_miou_p_holm``; ``gain_frequency_correlation``; mIoU on validation, to choose
    by; and on the held-out region, if there is one.

    Args:
        tables: see :func:`stack_folds`.
        systems: arms in order, with the system of each.
        classes: of the primary score.
        primary: arms compared with ``real`` that were named beforehand.
        condition: what holds for the whole study, such as ``labels=10%``.
    """
    arms, folds = list(systems), tables[0]["fold"].nunique()
    counts = stack_folds(tables, arms, "test")
    row = partial(_row, study, systems, seeds=counts.shape[2], n=counts.shape[3])
    regime = partial(pool_regime, folds, len(tables), condition)
    draws, values, rows = {}, {}, []
    for (metric, class_), score in pooled_scores(classes).items():
        key = metric, class_
        values[key], draws[key] = mean_score(counts, score), nested_draws(counts, score, resamples, STAGE)
        ends = [interval(draw) for draw in draws[key]]
        rows += [row(metric, arm, values[key][i], ends[i], regime(), class_) for i, arm in enumerate(arms)]
    every = [Pair("miou", arm, REFERENCE) for arm in arms if arm != REFERENCE]
    wanted = dict.fromkeys([*every, *(pair for pair in pairs if {pair.arm, pair.against} <= set(arms))])
    p_values = {}
    for pair in wanted:
        key, first, second = (pair.metric, pair.class_), arms.index(pair.arm), arms.index(pair.against)
        if key not in draws:
            continue
        change, draw = values[key][first] - values[key][second], draws[key][first] - draws[key][second]
        plain = pair.metric == "miou" and pair.against == REFERENCE
        of_filter = pair.metric == "miou" and pair.arm.startswith(f"{pair.against}:")
        where = regime("" if of_filter or pair.against == REFERENCE else f"against={pair.against}")
        name = "delta_miou_filter" if of_filter else f"delta_{pair.metric}"
        rows.append(row(name, pair.arm, change, interval(draw), where, pair.class_))
        if plain:
            smallest = detectable(draw)
            rows.append(row("smallest_detectable_difference", pair.arm, smallest, (None, None), where))
            p_values[pair.arm] = p_value(draw)
    named = {arm: p_values[arm] for arm in primary if arm in p_values}
    for metric, found in (("delta_miou_p", named), ("delta_miou_p_holm", holm(named))):
        rows += [row(metric, arm, p, (None, None), regime()) for arm, p in found.items()]
    by_class = [np.stack([part["iou", name] for name in CLASSES], -1) for part in (values, draws)]
    found = gain_correlation(*by_class, arms.index(REFERENCE), counts)
    rows += [
        row("gain_frequency_correlation", arm, *found[i], regime())
        for i, arm in enumerate(arms)
        if arm != REFERENCE
    ]
    return rows + _other_splits(study, tables, systems, classes, resamples, regime)


def gain_correlation(
    values: np.ndarray, draws: np.ndarray, reference: int, counts: np.ndarray
) -> list[tuple[float, tuple[float | None, float | None]]]:
    """Return each arm's rank correlation, over classes, of its gain in IoU with the class's share of the ground.

    Args:
        values: (arms, 7) IoU; draws: (arms, resamples, 7); counts: (generators, arms, seeds, blocks, 7, 3).
    """
    pixels = counts[0, 0, 0].sum(0)[:, [0, 2]].sum(1)  # (7,) labelled
    there = pixels > 0
    ranks = rankdata(pixels[there])
    found = []
    for value, draw in zip(values - values[reference], draws - draws[reference], strict=True):
        whole = draw[:, there][np.isfinite(draw[:, there]).all(1)]
        found.append(
            (float(_rank_correlation(value[there], ranks)), interval(_rank_correlation(whole, ranks)))
        )
    return found


def _rank_correlation(gains: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Return Spearman's correlation of gains (…, k) with ranks (k,); NaN where all gains are alike."""
    own = rankdata(gains, axis=-1) - (len(ranks) + 1) / 2
    other = ranks - ranks.mean()
    size = np.sqrt((own**2).sum(-1) * (other**2).sum())
    return np.divide((own * other).sum(-1), size, out=np.full(size.shape, np.nan), where=size > 0)


def _other_splits(study, tables, systems, classes, resamples: int, regime) -> list[dict]:
    """Return mIoU on validation, where the ground of several folds may be the same, and on the region."""
    arms, score, rows = list(systems), partial(mean_iou, classes=classes), []
    for split, words in (("val", "split=val"), ("region", "region")):
        if not (tables[0]["split"] == split).any():
            continue
        counts = stack_folds(tables, arms, split)
        values, ends = mean_score(counts, score), [(None, None)] * len(arms)
        if counts.shape[3] > 1:
            ends = [interval(draw) for draw in nested_draws(counts, score, resamples, STAGE, split)]
        row = partial(_row, study, systems, seeds=counts.shape[2], n=counts.shape[3])
        rows += [row("miou", arm, values[i], ends[i], regime(words)) for i, arm in enumerate(arms)]
    return rows


def _row(study, systems, metric, arm, value, ends, regime, class_="", **about) -> dict:
    return metric_row(
        study, STAGE, metric, float(value), system=systems[arm], arm=arm, regime=regime, class_=class_,
        low=ends[0], high=ends[1], **about,
    )  # fmt: skip
