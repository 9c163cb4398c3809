"""Where a gain comes from: borders or interiors, precision or recall, calibration, class shares, rarity.

All from counts per chip; every difference is paired with the reference arm in blocks and seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from groundsynth.arm_names import is_mixed
from groundsynth.benchmark.arms import REFERENCE, Arm, opponents
from groundsynth.benchmark.differences import delta_interval
from groundsynth.benchmark.intervals import bootstrap, interval, score_interval, seed_mean, stack_counts
from groundsynth.benchmark.metrics import (
    class_iou,
    mean_iou,
    mean_precision,
    mean_recall,
    rank_correlation,
    share_bias,
)
from groundsynth.benchmark.scores import STAGE, arm_rows, chip_ranking, regime_of
from groundsynth.legend import CLASSES, NUM_CLASSES, class_shares
from groundsynth.models.reliability import BINS, expected_error

if TYPE_CHECKING:  # reducing tables needs no network
    from groundsynth.benchmark.segmentation import BenchmarkResult
    from groundsynth.benchmark.training_sets import BenchmarkData


def origin_rows(
    study: str, result: BenchmarkResult, arms: list[Arm], data: BenchmarkData, resamples: int
) -> list[dict]:
    """Return what differences between arms are made of, on the judged split.

    ``boundary_miou`` and ``interior_miou`` (pixels within 2 of a class border in the reference, and all others),
    ``class_precision`` and ``class_recall`` (means over the primary classes), ``ece``; each with its ``delta_…``
    against the reference arm. ``share_bias_pp`` per class: named minus true share. ``gain_frequency_correlation``:
    Spearman's rank correlation over classes of the difference in IoU with the share of the labelled training
    pixels; below 0, rare classes gain most. ``n`` is the number of blocks, or of classes for the correlation.
    """
    names, reference = [arm.name for arm in arms], [arm.name for arm in arms].index(REFERENCE)
    whole, borders = (_stack(table, data.judged, names) for table in (result.counts, result.borders))
    bins = _stack(result.calibration, data.judged, names, "bin", BINS, ("pixels", "confidence", "right"))
    primary = list(data.primary)
    parts = {
        "boundary_miou": (borders, partial(mean_iou, classes=primary)),
        "interior_miou": (whole - borders, partial(mean_iou, classes=primary)),
        "class_precision": (whole, partial(mean_precision, classes=primary)),
        "class_recall": (whole, partial(mean_recall, classes=primary)),
        "ece": (bins, expected_error),
    }
    regime = regime_of(data.judged, data.label_fraction)
    row = partial(arm_rows, study, arms, regime=regime, seeds=whole.shape[1])
    rows = []
    for metric, (table, score) in parts.items():
        n = {"n": table.shape[2]}
        rows += row(metric, score_interval(table, score, resamples, STAGE), **n)
        deltas = delta_interval(table, reference, score, resamples, STAGE)
        rows += row(f"delta_{metric}", deltas, skip=REFERENCE, **n)
    for k, name in enumerate(CLASSES):
        values = score_interval(whole, partial(share_bias, k=k), resamples, STAGE)
        rows += row("share_bias_pp", values, class_=name, n=whole.shape[2])
    shares = training_shares(data)
    values = gain_correlation(whole, reference, shares, resamples)
    classes = int(np.isfinite(class_iou(whole[0, 0].sum(0))).sum())
    return rows + row("gain_frequency_correlation", values, skip=REFERENCE, n=classes)


def _stack(table: pd.DataFrame, split: str, names: Sequence[str], *cells) -> np.ndarray:
    return stack_counts(table[table["split"] == split], names, *cells)


def training_shares(data: BenchmarkData) -> np.ndarray:
    """Return each class's share of the labelled pixels of the real training chips, (7,)."""
    return class_shares(np.stack(data.real["train"]["mask"].to_list()))


def gain_correlation(
    counts: np.ndarray, reference: int, shares: np.ndarray, resamples: int
) -> list[dict[str, float | None]]:
    """Return for every arm the rank correlation over classes of its gain in IoU with the class's share.

    Args:
        counts: (arms, seeds, blocks, 7, 3); shares: (7,). The interval resamples blocks and seeds; a class that a
            resample lacks does not count there.
    """
    each = [partial(mean_iou, classes=[k]) for k in range(NUM_CLASSES)]
    iou = np.stack([seed_mean(counts, score) for score in each], -1)  # (arms, 7)
    values = rank_correlation(iou - iou[reference], shares)
    if counts.shape[2] < 2:
        return [{"value": float(value), "low": None, "high": None} for value in values]
    drawn = np.stack([bootstrap(counts, score, resamples, STAGE) for score in each], -1)  # (arms, r, 7)
    draws = rank_correlation(drawn - drawn[reference], shares)
    limits = [interval(draw) for draw in draws]
    return [
        {"value": float(value), "low": low, "high": high}
        for value, (low, high) in zip(values, limits, strict=True)
    ]


def class_gains(result: BenchmarkResult, data: BenchmarkData, names: Sequence[str]) -> pd.DataFrame:
    """Return each arm's difference in IoU per class, seeds averaged: columns arm, class, gain, share.

    ``share`` is that of the labelled training pixels; classes that the judged split lacks are left out.
    """
    counts = _stack(result.counts, data.judged, [REFERENCE, *names])
    iou = class_iou(counts.sum(2)).mean(1)  # (1 + arms, 7)
    index = pd.MultiIndex.from_product([names, range(NUM_CLASSES)], names=["arm", "class"])
    frame = pd.DataFrame({"gain": (iou[1:] - iou[0]).ravel()}, index=index).reset_index()
    return frame.assign(share=training_shares(data)[frame["class"]]).dropna(subset="gain")


def panel_arms(runs: pd.DataFrame, most: int = 8) -> list[str]:
    """Return the reference arm and those with the best mean validation scores, best first, ``most`` in all."""
    score = runs.groupby("arm", sort=False)["val_miou"].mean().drop(REFERENCE)
    return [REFERENCE, *score.sort_values(ascending=False, kind="stable").index[: most - 1]]


def most_promising(runs: pd.DataFrame, arms: Sequence[Arm]) -> tuple[str, str]:
    """Return the mixed arm that gains most on validation, after what it gains over: real chips alone, with as many steps
    if they are among the arms. The reference twice without a mixed arm.
    """
    score = runs.groupby("arm")["val_miou"].mean()
    pairs = [(against, arm) for arm, against in opponents(arms).items() if is_mixed(arm)]
    return max(pairs, key=lambda pair: score[pair[1]] - score[pair[0]], default=(REFERENCE, REFERENCE))


def changed_chips(counts: pd.DataFrame, pair: tuple[str, str], split: str, most: int = 3) -> pd.Series:
    """Return the chips whose pixel accuracy changes most from one arm to another, all seeds pooled.

    Returns:
        difference by chip_id: the ``most`` largest gains, then as many largest losses, of different chips.
    """
    before, after = (chip_ranking(counts, arm, split) for arm in pair)
    change = after - before
    change = change.sort_values(ascending=False, kind="stable")
    each = min(most, len(change) // 2)
    return pd.concat([change.iloc[:each], change.iloc[len(change) - each :].iloc[::-1]])
