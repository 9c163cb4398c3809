"""From counts to numbers: scores of every arm with paired intervals, per split and network.

Intervals of scores resample blocks and seeds together; differences are paired in both. No verdict: that takes all folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from groundsynth.arm_names import unfiltered
from groundsynth.artifacts import metric_row
from groundsynth.benchmark.arms import REFERENCE, Arm, matched_steps
from groundsynth.benchmark.differences import delta_interval
from groundsynth.benchmark.intervals import Score, score_interval, stack_counts
from groundsynth.benchmark.metrics import class_iou, mean_iou, pooled_iou
from groundsynth.legend import CLASSES, NUM_CLASSES

if TYPE_CHECKING:  # reducing tables needs no network
    from groundsynth.benchmark.segmentation import BenchmarkResult
    from groundsynth.benchmark.training_sets import BenchmarkData

STAGE = "07_benchmark_segmentation"


def scores(primary: Sequence[int]) -> dict[str, Score]:
    """Return the set-level scores: primary (science rule 10), over all present classes, pooled rare."""
    rare = [k for k in range(NUM_CLASSES) if k not in primary]
    return {
        "miou": partial(mean_iou, classes=primary),
        "miou_all": mean_iou,
        "rare_iou": partial(pooled_iou, classes=rare),
    }


def regime_of(split: str, label_fraction: float = 1.0, network: str = "") -> str:
    """Return what tells a row from that of the test split, of all labels, of the study's own network.

    >>> regime_of("test"), regime_of("val", 0.1), regime_of("test", network="FPN")
    ('', 'labels=10%;split=val', 'network=FPN')
    """
    parts = [
        f"labels={100 * label_fraction:g}%" if label_fraction < 1 else "",
        f"network={network}" if network else "",
        {"test": "", "region": "region"}.get(split, f"split={split}"),
    ]
    return ";".join(part for part in parts if part)


def benchmark_rows(
    study: str,
    result: BenchmarkResult,
    arms: list[Arm],
    data: BenchmarkData,
    resamples: int,
    network: str = "",
) -> list[dict]:
    """Return the scores of every held-out split, one regime each; the judged split comes first."""
    splits = sorted(data.held_out, key=lambda split: split != data.judged)
    return [
        row
        for split in splits
        for row in metric_rows(
            study, result.counts, arms, data.primary, resamples, split,
            regime_of(split, data.label_fraction, network),
        )
    ]  # fmt: skip


def metric_rows(
    study: str, counts: pd.DataFrame, arms: list[Arm], primary: Sequence[int], resamples: int,
    split: str = "test", regime: str = "",
) -> list[dict]:  # fmt: skip
    """Reduce the counts of one split to rows of the one table of numbers.

    ``n`` is the number of blocks (of labelled pixels for ``iou``). ``delta_miou`` is against the reference arm,
    ``delta_miou_filter`` of a filtered arm against its unfiltered one. Arms with more or fewer steps are held against
    real chips alone with as many, too: ``delta_miou`` of regime ``against=real@4``.
    """
    names = [arm.name for arm in arms]
    table = stack_counts(counts[counts["split"] == split], names)  # (arms, seeds, blocks, 7, 3)
    row = partial(arm_rows, study, regime=regime, n=table.shape[2], seeds=table.shape[1])
    rows = []
    for metric, score in scores(primary).items():
        rows += row(arms, metric, score_interval(table, score, resamples, STAGE))
    for k, pixels in enumerate(class_pixels(table)):
        values = score_interval(table, partial(mean_iou, classes=[k]), resamples, STAGE)
        rows += row(arms, "iou", values, class_=CLASSES[k], n=int(pixels))
    deltas = delta_interval(table, names.index(REFERENCE), scores(primary)["miou"], resamples, STAGE)
    rows += row(arms, "delta_miou", deltas, skip=REFERENCE)
    for arm, other in matched_steps(arms):
        pair = table[[names.index(arm.name), names.index(other.name)]]
        found = delta_interval(pair, 1, scores(primary)["miou"], resamples, STAGE)[:1]
        where = ";".join(part for part in (regime, f"against={other.name}") if part)
        rows += row([arm], "delta_miou", found, regime=where)
    for arm in arms:
        if arm.filter and unfiltered(arm.name) in names:
            pair = table[[names.index(arm.name), names.index(unfiltered(arm.name))]]
            gain = delta_interval(pair, 1, scores(primary)["miou"], resamples, STAGE)[:1]
            rows += row([arm], "delta_miou_filter", gain)
    return rows


def arm_rows(
    study: str, arms: list[Arm], metric: str, values: list[dict], *, skip: str = "", **about
) -> list[dict]:
    """Return one row per arm but ``skip``; ``about`` as for ``metric_row``."""
    return [
        metric_row(study, STAGE, metric, system=arm.system or REFERENCE, arm=arm.name, **about | value)
        for arm, value in zip(arms, values, strict=True)
        if arm.name != skip
    ]


def class_pixels(table: np.ndarray) -> np.ndarray:
    """Return the labelled pixels of each class in the split: (arms, seeds, blocks, 7, 3) to (7,)."""
    return table[0, 0, :, :, 0].sum(0) + table[0, 0, :, :, 2].sum(0)


def seed_scores(counts: pd.DataFrame, primary: Sequence[int], split: str = "test") -> pd.DataFrame:
    """Return one split's mIoU over the primary classes per arm and seed: columns arm, seed, miou."""
    own = counts[counts["split"] == split]
    arms, seeds = list(dict.fromkeys(own["arm"])), sorted(own["seed"].unique())
    values = mean_iou(stack_counts(own, arms).sum(2), primary)  # (arms, seeds)
    return pd.DataFrame(
        [(arm, seed, values[i, j]) for i, arm in enumerate(arms) for j, seed in enumerate(seeds)],
        columns=["arm", "seed", "miou"],
    )


def chip_ranking(counts: pd.DataFrame, arm: str = REFERENCE, split: str = "test") -> pd.Series:
    """Return the pixel accuracy of each chip of a split under one arm, all seeds pooled, worst first."""
    chosen = counts[(counts["split"] == split) & (counts["arm"] == arm)]
    sums = chosen.groupby("chip_id")[["tp", "fn"]].sum()
    return (sums["tp"] / (sums["tp"] + sums["fn"])).sort_values()


def class_scores(counts: pd.DataFrame, split: str = "test") -> pd.DataFrame:
    """Return a split's IoU per arm, seed and class with the class's share of its labelled pixels."""
    own = counts[counts["split"] == split]
    arms, seeds = list(dict.fromkeys(own["arm"])), sorted(own["seed"].unique())
    table = stack_counts(own, arms)
    share = class_pixels(table) / class_pixels(table).sum()
    iou = class_iou(table.sum(2))  # (arms, seeds, 7)
    index = pd.MultiIndex.from_product([arms, seeds, range(NUM_CLASSES)], names=["arm", "seed", "class"])
    frame = pd.DataFrame({"iou": iou.ravel()}, index=index).reset_index()
    return frame.assign(share=share[frame["class"]])
