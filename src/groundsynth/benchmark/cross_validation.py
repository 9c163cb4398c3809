"""Spatial cross-validation: the counts of every fold together, each block tested once.

Intervals are those of :mod:`groundsynth.benchmark.differences`, blocks resampled over all folds. Training ground of
folds overlaps, which no resampling of test blocks can see: intervals over folds are somewhat too narrow. Where every
fold keeps the labels of some of its blocks alone, drawn anew, folds are resampled, so that intervals are over draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from groundsynth.arm_names import unfiltered
from groundsynth.artifacts import metric_row
from groundsynth.benchmark.differences import UNITS, difference, mean_score, nested_draws, students
from groundsynth.benchmark.intervals import Score, interval, stack_counts
from groundsynth.benchmark.metrics import mean_iou, mean_precision, mean_recall, rank_correlation
from groundsynth.benchmark.scores import scores
from groundsynth.data.blocks import ENOUGH_PIXELS
from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES

STAGE = "07_benchmark_segmentation"
REFERENCE = "real"


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
    counts = np.stack(stacked)
    labelled = counts[:, 0, 0][..., [0, 2]].sum(-1)  # (generators, blocks, 7) pixels
    if (labelled != labelled[0]).any():
        raise GroundsynthError(
            "generators were tested on different ground: blocks hold other labelled pixels; run stages 01 to 07 of all "
            "of them again with one version of the code"
        )
    return counts


def add_up_folds(counts: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Return counts of whole folds in place of those of blocks.

    Args:
        counts: (generators, arms, seeds, blocks, 7, 3); folds: (blocks,) of which each is.

    Returns:
        (generators, arms, seeds, folds, 7, 3), folds in ascending order.
    """
    return np.stack([counts[:, :, :, folds == fold].sum(3) for fold in np.unique(folds)], 3)


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


# --- several comparisons ----------------------------------------------------------------------


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


# --- rows ------------------------------------------------------------------------------------


def pooled_scores(primary: Sequence[int]) -> dict[tuple[str, str], Score]:
    """Return the scores that are pooled, by metric and class."""
    pooled: dict[tuple[str, str], Score] = {(metric, ""): score for metric, score in scores(primary).items()}
    pooled["class_precision", ""] = partial(mean_precision, classes=primary)
    pooled["class_recall", ""] = partial(mean_recall, classes=primary)
    return pooled | {("iou", name): partial(mean_iou, classes=[k]) for k, name in enumerate(CLASSES)}


def pool_regime(folds: int, of_folds: int, generators: int, *more: str) -> str:
    """Return the regime of pooled rows, e.g. ``split=val;folds=6;generators=2``.

    Where folds are missing, it says of how many: ``folds=2;of_folds=4;generators=2``.
    """
    place = [f"folds={folds}", f"of_folds={of_folds}" if folds < of_folds else "", f"generators={generators}"]
    return ";".join(part for part in (*more, *place) if part)


def pooled_rows(
    study: str, tables: Sequence[pd.DataFrame], systems: dict[str, str], classes: Sequence[int],
    primary: dict[str, str], pairs: Iterable[Pair], resamples: int, labels: str = "", of_folds: int = 0,
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
        primary: arms that were named beforehand, and what each is compared with: ``real``, or real chips alone with
            as many steps.
        labels: regime of a study of a part of them, such as ``labels=10%``. Every fold has a draw of labelled blocks
            of its own then: folds, not blocks, are resampled, and are ``n``.
        of_folds: how many folds it takes to test every block once; fewer give no verdict.
    """
    arms, folds = list(systems), tables[0]["fold"].nunique()
    counts, units = stack_folds(tables, arms, "test"), UNITS
    if labels:
        counts, units = add_up_folds(counts, _folds_of_blocks(tables[0])), ("blocks",)
    row = partial(_row, study, systems, seeds=counts.shape[2], n=counts.shape[3])
    regime = partial(pool_regime, folds, of_folds, len(tables), labels)
    draws, values, rows, informed = {}, {}, [], _blocks_with(counts)
    for (metric, class_), score in pooled_scores(classes).items():
        key = metric, class_
        values[key], draws[key] = (
            mean_score(counts, score),
            nested_draws(counts, score, resamples, STAGE, drawn=units),
        )
        ends = [interval(draw) for draw in draws[key]]
        n = informed.get(class_, counts.shape[3])
        rows += [
            row(metric, arm, values[key][i], ends[i], regime(), class_, n=n) for i, arm in enumerate(arms)
        ]
    every = [Pair("miou", arm, REFERENCE) for arm in arms if arm != REFERENCE]
    named = [Pair("miou", arm, against) for arm, against in primary.items()]
    wanted = dict.fromkeys(
        [*every, *(pair for pair in [*named, *pairs] if {pair.arm, pair.against} <= set(arms))]
    )
    p_values, places = {}, {}
    for pair in wanted:
        key, first, second = (pair.metric, pair.class_), arms.index(pair.arm), arms.index(pair.against)
        if key not in draws:
            continue
        score, n = pooled_scores(classes)[key], informed.get(pair.class_, counts.shape[3])
        found = difference(counts[:, [first, second]], score, resamples, STAGE, informed=n, units=units)
        of_filter = pair.metric == "miou" and pair.against == unfiltered(pair.arm)
        where = regime("" if of_filter or pair.against == REFERENCE else f"against={pair.against}")
        name = "delta_miou_filter" if of_filter else f"delta_{pair.metric}"
        rows.append(row(name, pair.arm, found.value, (found.low, found.high), where, pair.class_, n=n))
        if pair.metric == "miou" and not of_filter:
            rows.append(
                row("smallest_detectable_difference", pair.arm, found.detectable, (None, None), where)
            )
        if pair in named:
            p_values[pair.arm], places[pair.arm] = found.p, where
    for metric, found in (("delta_miou_p", p_values), ("delta_miou_p_holm", holm(p_values))):
        rows += [row(metric, arm, p, (None, None), places[arm]) for arm, p in found.items()]
    for arm in arms:
        if arm != REFERENCE:
            found = gain_correlation(counts[:, [arms.index(arm), arms.index(REFERENCE)]], resamples, units)
            rows.append(row("gain_frequency_correlation", arm, found[0], found[1:], regime()))
    return rows + _other_splits(study, tables, systems, classes, resamples, regime)


def _folds_of_blocks(counts: pd.DataFrame) -> np.ndarray:
    """Return the fold of each block that :func:`stack_folds` stacks of the test split, in its order."""
    tested = counts.loc[counts["split"] == "test", ["fold", "block"]].drop_duplicates()
    return np.sort(tested["fold"].to_numpy())


def _blocks_with(counts: np.ndarray) -> dict[str, int]:
    """Return by class how many blocks hold enough of it to say anything, as for primary classes."""
    held = (counts[0, 0, 0][..., [0, 2]].sum(-1) >= ENOUGH_PIXELS).sum(0)
    return dict(zip(CLASSES, held.tolist(), strict=True))


def gain_correlation(
    counts: np.ndarray, resamples: int, units: tuple[str, ...] = UNITS
) -> tuple[float, float | None, float | None]:
    """Return the rank correlation, over classes, of an arm's gain in IoU with the class's share of the ground.

    With the ends of its interval, Student's as of differences, within −1 and 1.

    Args:
        counts: (generators, 2, seeds, blocks, 7, 3) of the arm and of the reference.
        units: what is resampled, see :func:`groundsynth.benchmark.differences.difference`.
    """
    pixels = counts[0, 0, 0].sum(0)[:, [0, 2]].sum(1)  # (7,) labelled
    iou = [partial(mean_iou, classes=[k]) for k in range(len(CLASSES))]

    def draws(drawn: tuple[str, ...]) -> np.ndarray:
        found = [nested_draws(counts, score, resamples, STAGE, drawn=drawn) for score in iou]
        return rank_correlation(np.stack([first - second for first, second in found], -1), pixels)

    values = np.stack([mean_score(counts, score) for score in iou], -1)  # (2, 7)
    number = dict(zip(("generators", "arms", "seeds", "blocks"), counts.shape, strict=False))
    value = float(rank_correlation(values[0] - values[1], pixels))
    found = students(value, draws, {name: number[name] for name in units})
    ends = [None if end is None else float(np.clip(end, -1, 1)) for end in (found.low, found.high)]
    return found.value, *ends


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
