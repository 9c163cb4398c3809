"""The segmentation benchmark: every arm trained the same way, counted per chip, reduced later.

Arms differ in their chips alone. Steps, batch size, augmentation, the rule that picks the
checkpoint (best primary mIoU on *real* validation chips) and, for one seed, the initial weights
are the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from groundsynth.artifacts import metric_row, read_chips, read_json, remake_command
from groundsynth.benchmark.arms import REFERENCE, Arm
from groundsynth.benchmark.extra_sets import HIDDEN, extra_sets, self_training_chips
from groundsynth.benchmark.finished_runs import load_run, run_key, save_run
from groundsynth.benchmark.intervals import Score, delta_interval, score_interval, stack_counts
from groundsynth.benchmark.labelling import stack
from groundsynth.benchmark.metrics import class_iou, count_chips, mean_iou, pooled_iou
from groundsynth.config import SELF_TRAINING
from groundsynth.data.synthetic import read_synthetic
from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES, NUM_CLASSES
from groundsynth.models.segmenter import Pool, Training, make_pool, predict, train_segmenter
from groundsynth.paths import stage_dir

STAGE = "07_benchmark_segmentation"
TABLES = ("counts", "runs", "history")


@dataclass(frozen=True)
class BenchmarkData:
    """Chips of one fold: real ones by split, others by source (see ``Arm``) with the masks arms train on."""

    fold: int
    real: dict[str, pd.DataFrame]
    synthetic: dict[str, tuple[np.ndarray, np.ndarray]]
    primary: tuple[int, ...]


@dataclass(frozen=True)
class BenchmarkResult:
    """Tables ``counts``, ``runs`` and ``history``, and the test labels of the first seed by arm."""

    counts: pd.DataFrame
    runs: pd.DataFrame
    history: pd.DataFrame
    labels: dict[str, np.ndarray]


# --- reading ---------------------------------------------------------------------------------


def read_real(study: str, fold: int, splits: Sequence[str]) -> pd.DataFrame:
    """Return the real chips of some splits (columns ``CHIPS['real']``).

    Raises:
        GroundsynthError: a split without chips.
    """
    path = stage_dir(study, "01_prepare_data", fold) / "chips.parquet"
    chips = read_chips(path, "real", where=lambda table: table["split"].isin(splits))
    empty = [split for split in splits if not (chips["split"] == split).any()]
    if empty:
        raise GroundsynthError(
            f"{path}: no chip in split '{empty[0]}'; every split needs one, so lower data: stride, buffer or "
            "min_labelled_eval"
        )
    return chips


def read_primary(study: str, fold: int) -> tuple[int, ...]:
    """Return the classes of the primary score, fixed by stage 01 before any training."""
    path = stage_dir(study, "01_prepare_data", fold) / "data.json"
    return tuple(read_json(path, remake_command(path))["primary_classes"])


def read_labels(study: str, fold: int) -> pd.DataFrame:
    """Return stage 04's label maps (columns ``CHIPS['labels']``)."""
    return read_chips(stage_dir(study, "04_label", fold) / "labels.parquet", "labels")


def training_masks(chips: pd.DataFrame, labels: pd.DataFrame) -> pd.Series:
    """Return the mask each synthetic chip trains with.

    The map it was generated with or from; for system ``image``, which has none, the labeller's.

    Raises:
        GroundsynthError: a chip of system ``image`` without a label.
    """
    named = labels.set_index("chip_id")["mask"]
    wanted = chips["system"] == "image"
    missing = ~chips.loc[wanted, "chip_id"].isin(named.index)
    if missing.any():
        raise GroundsynthError(
            f"chip '{chips.loc[wanted, 'chip_id'][missing].iloc[0]}' has no label; stage 04 labels every "
            "synthetic chip, so run it for the same generators, systems and shards"
        )
    masks = [
        named[i] if image else mask
        for i, image, mask in zip(chips["chip_id"], wanted, chips["mask"], strict=True)
    ]
    return pd.Series(masks, index=chips.index)


def read_benchmark(
    study: str, fold: int, generators: list[str], systems: list[str], shards: int, arms: Sequence[Arm] = ()
) -> BenchmarkData:
    """Read everything one fold's benchmark needs; ``arms`` say which filtered and hidden chips."""
    splits = ("train", "val", "test")
    real, labels = read_real(study, fold, splits), read_labels(study, fold)
    synthetic = read_synthetic(study, fold, generators, systems, shards)
    synthetic["mask"] = training_masks(synthetic, labels)
    if any(arm.system == SELF_TRAINING for arm in arms):
        hidden = self_training_chips(read_real(study, fold, [HIDDEN]), labels)
        synthetic = pd.concat([synthetic, hidden], ignore_index=True)
    by_system = {
        system: (stack(group, "image"), stack(group, "mask")) for system, group in synthetic.groupby("system")
    }
    by_system |= extra_sets(study, fold, arms, synthetic)
    by_split = {split: real[real["split"] == split].reset_index(drop=True) for split in splits}
    return BenchmarkData(fold, by_split, by_system, read_primary(study, fold))


# --- running ---------------------------------------------------------------------------------


def arm_pools(arm: Arm, data: BenchmarkData, ratio: float) -> list[Pool]:
    """Return the pools an arm's batches are drawn from.

    Args:
        ratio: synthetic per real chip in the batches of a mixed arm.

    Raises:
        GroundsynthError: a system without chips, or without a labelled pixel.
    """
    pools = []
    if arm.real:
        pools.append(make_pool("real", stack(data.real["train"], "image"), stack(data.real["train"], "mask")))
    if arm.system:
        if arm.source not in data.synthetic:
            raise GroundsynthError(
                f"arm '{arm.name}': system '{arm.system}' has no chips; generate some or drop the arm"
            )
        pools.append(make_pool(arm.source, *data.synthetic[arm.source], weight=ratio))
    return pools


def primary_score(truth: np.ndarray, primary: Sequence[int]) -> Callable[[np.ndarray], float]:
    """Return the function that scores labels (n, h, w) of chips with these reference maps by primary mIoU."""
    return lambda labels: float(mean_iou(count_chips(labels, truth).sum(0), primary))


def run_arm(
    arm: Arm, seed: int, data: BenchmarkData, training: Training, ratio: float, device: torch.device
) -> BenchmarkResult:
    """Train one arm with one seed and count what it says about validation and test chips.

    The seed's name does not hold the arm's: arms of one seed start from the same weights.
    """
    start = time.perf_counter()
    pools = arm_pools(arm, data, ratio)
    val = data.real["val"]
    score = primary_score(stack(val, "mask"), data.primary)
    names = ("benchmark", data.fold, seed)
    model, history = train_segmenter(pools, stack(val, "image"), score, training, names, device)
    counts, labels = [], {}
    for split in ("val", "test"):
        labels[split], _ = predict(model, stack(data.real[split], "image"), 4 * training.batch_size)
        counts.append(count_table(labels[split], data.real[split], arm.name, seed, split))
    history = history.rename(columns={"val_score": "val_miou"})
    run = run_row(arm, seed, data.fold, pools, history, time.perf_counter() - start)
    return BenchmarkResult(
        pd.concat(counts),
        pd.DataFrame([run]),
        history.assign(arm=arm.name, seed=seed),
        {arm.name: labels["test"]},
    )


def run_row(
    arm: Arm, seed: int, fold: int, pools: list[Pool], history: pd.DataFrame, seconds: float
) -> dict[str, object]:
    """Return one row of the table 'runs'."""
    sizes = {pool.name: len(pool.images) for pool in pools}
    best = history.loc[history["val_miou"].idxmax()]
    return {
        "arm": arm.name, "seed": seed, "fold": fold, "real_chips": sizes.get("real", 0),
        "synthetic_chips": sizes.get(arm.source, 0), "seconds": seconds, "best_step": int(best["step"]),
        "val_miou": best["val_miou"],
    }  # fmt: skip


def count_table(labels: np.ndarray, chips: pd.DataFrame, arm: str, seed: int, split: str) -> pd.DataFrame:
    """Return rows of the table 'counts': one per chip and class."""
    counts = count_chips(labels, stack(chips, "mask")).reshape(-1, 3)  # (n * 7, 3)
    table = pd.DataFrame(counts, columns=["tp", "fp", "fn"])
    return table.assign(
        arm=arm, seed=seed, split=split,
        chip_id=np.repeat(chips["chip_id"].to_numpy(), NUM_CLASSES),
        block=np.repeat(chips["block"].to_numpy(), NUM_CLASSES),
        **{"class": np.tile(np.arange(NUM_CLASSES), len(chips))},
    )  # fmt: skip


def run_arms(
    arms: list[Arm], seeds: list[int], data: BenchmarkData, training: Training, ratio: float,
    device: torch.device, progress: Callable = iter, kept: Path | None = None,
) -> BenchmarkResult:  # fmt: skip
    """Train every arm with every seed.

    Args:
        progress: wraps the list of (arm, seed) pairs, e.g. ``tqdm``.
        kept: folder of finished trainings; one with the same settings, data and code is not repeated.
    """
    todo = [(arm, seed) for seed in seeds for arm in arms]
    runs = [_run_once(arm, seed, data, training, ratio, device, kept) for arm, seed in progress(todo)]
    tables = [pd.concat([getattr(run, name) for run in runs], ignore_index=True) for name in TABLES]
    labels = {arm: values for run in runs[: len(arms)] for arm, values in run.labels.items()}
    return BenchmarkResult(*tables, labels)


def _run_once(arm, seed, data, training, ratio, device, kept: Path | None) -> BenchmarkResult:
    if kept is None:
        return run_arm(arm, seed, data, training, ratio, device)
    arrays = [array for pool in arm_pools(arm, data, ratio) for array in (pool.images, pool.masks)]
    held_out = [stack(data.real[split], name) for split in ("val", "test") for name in ("image", "mask")]
    settings = (arm, seed, data.fold, training, ratio, data.primary, device.type)
    path = kept / f"{run_key(settings, arrays + held_out)}.npz"
    found = load_run(path, TABLES)
    if found is not None:
        return BenchmarkResult(*(found[0][name] for name in TABLES), found[1])
    run = run_arm(arm, seed, data, training, ratio, device)
    save_run(path, {name: getattr(run, name) for name in TABLES}, run.labels)
    return run


# --- reducing --------------------------------------------------------------------------------


def scores(primary: Sequence[int]) -> dict[str, Score]:
    """Return the set-level scores: primary (science rule 10), over all present classes, pooled rare."""
    rare = [k for k in range(NUM_CLASSES) if k not in primary]
    return {
        "miou": partial(mean_iou, classes=primary),
        "miou_all": mean_iou,
        "rare_iou": partial(pooled_iou, classes=rare),
    }


def metric_rows(
    study: str, counts: pd.DataFrame, arms: list[Arm], primary: Sequence[int], resamples: int
) -> list[dict]:
    """Reduce the counts of the test split to rows of the one table of numbers.

    ``n`` is the number of test blocks (of labelled test pixels for ``iou``). Every interval
    resamples blocks and seeds together; deltas are paired in both: ``delta_miou`` to the reference arm,
    ``delta_miou_filter`` of a filtered arm to its unfiltered one. No verdict: that takes all folds.
    """
    names = [arm.name for arm in arms]
    table = stack_counts(counts[counts["split"] == "test"], names)  # (arms, seeds, blocks, 7, 3)
    rows = []
    for metric, score in scores(primary).items():
        rows += _rows(study, arms, metric, score_interval(table, score, resamples, STAGE), table)
    for k, pixels in enumerate(class_pixels(table)):
        values = score_interval(table, partial(mean_iou, classes=[k]), resamples, STAGE)
        rows += _rows(study, arms, "iou", values, table, class_=CLASSES[k], n=int(pixels))
    deltas = delta_interval(table, names.index(REFERENCE), scores(primary)["miou"], resamples, STAGE)
    rows += _rows(study, arms, "delta_miou", deltas, table, skip=REFERENCE)
    for arm in arms:
        unfiltered = arm.name.removesuffix(f":{arm.filter}")
        if arm.filter and unfiltered in names:
            pair = table[[names.index(arm.name), names.index(unfiltered)]]
            gain = delta_interval(pair, 1, scores(primary)["miou"], resamples, STAGE)[:1]
            rows += _rows(study, [arm], "delta_miou_filter", gain, table)
    return rows


def _rows(
    study: str, arms: list[Arm], metric: str, values: list[dict], table: np.ndarray, class_: str = "",
    n: int | None = None, skip: str = "",
) -> list[dict]:  # fmt: skip
    about = {"class_": class_, "n": table.shape[2] if n is None else n, "seeds": table.shape[1]}
    return [
        metric_row(study, STAGE, metric, system=arm.system or REFERENCE, arm=arm.name, **about, **value)
        for arm, value in zip(arms, values, strict=True)
        if arm.name != skip
    ]


def class_pixels(table: np.ndarray) -> np.ndarray:
    """Return the labelled pixels of each class in the split: (arms, seeds, blocks, 7, 3) to (7,)."""
    return table[0, 0, :, :, 0].sum(0) + table[0, 0, :, :, 2].sum(0)


def seed_scores(counts: pd.DataFrame, primary: Sequence[int]) -> pd.DataFrame:
    """Return test mIoU over the primary classes per arm and seed: columns arm, seed, miou."""
    test = counts[counts["split"] == "test"]
    arms, seeds = list(dict.fromkeys(test["arm"])), sorted(test["seed"].unique())
    values = mean_iou(stack_counts(test, arms).sum(2), primary)  # (arms, seeds)
    return pd.DataFrame(
        [(arm, seed, values[i, j]) for i, arm in enumerate(arms) for j, seed in enumerate(seeds)],
        columns=["arm", "seed", "miou"],
    )


def chip_ranking(counts: pd.DataFrame, arm: str = REFERENCE) -> pd.Series:
    """Return each test chip's pixel accuracy under one arm, all seeds pooled, worst first."""
    chosen = counts[(counts["split"] == "test") & (counts["arm"] == arm)]
    sums = chosen.groupby("chip_id")[["tp", "fn"]].sum()
    return (sums["tp"] / (sums["tp"] + sums["fn"])).sort_values()


def class_scores(counts: pd.DataFrame) -> pd.DataFrame:
    """Return test IoU per arm, seed and class with the class's share of the labelled test pixels."""
    test = counts[counts["split"] == "test"]
    arms, seeds = list(dict.fromkeys(test["arm"])), sorted(test["seed"].unique())
    table = stack_counts(test, arms)
    share = class_pixels(table) / class_pixels(table).sum()
    iou = class_iou(table.sum(2))  # (arms, seeds, 7)
    index = pd.MultiIndex.from_product([arms, seeds, range(NUM_CLASSES)], names=["arm", "seed", "class"])
    frame = pd.DataFrame({"iou": iou.ravel()}, index=index).reset_index()
    return frame.assign(share=share[frame["class"]])
