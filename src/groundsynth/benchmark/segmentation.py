"""The segmentation benchmark: every arm trained the same way and counted per chip.

Arms differ in what their names say and in nothing else. Steps, batch size, augmentation, the rule that picks the
checkpoint (best primary mIoU on *real* validation chips) and, for one seed, the initial weights are the same.
Counts are reduced to scores elsewhere (:mod:`groundsynth.benchmark.scores`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from groundsynth.arm_names import ALL_SYSTEMS, RARE_SET, SELF_TRAINING
from groundsynth.artifacts import read_chips, read_json, remake_command
from groundsynth.benchmark.arms import Arm
from groundsynth.benchmark.counting import calibration_table, count_table, near_border
from groundsynth.benchmark.extra_sets import HIDDEN, extra_sets, self_training_chips
from groundsynth.benchmark.finished_runs import load_run, run_key, save_run
from groundsynth.benchmark.labelling import stack
from groundsynth.benchmark.metrics import count_chips, mean_iou
from groundsynth.benchmark.training_sets import BenchmarkData, Phase, arm_phases
from groundsynth.data.synthetic import read_asked, read_synthetic
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL
from groundsynth.models.device import training_type
from groundsynth.models.segmenter import Segmenter, Training, predict, train_segmenter
from groundsynth.paths import stage_dir
from groundsynth.systems import ASKED

STAGE = "07_benchmark_segmentation"
TABLES = ("counts", "borders", "calibration", "runs", "history")


@dataclass(frozen=True)
class BenchmarkResult:
    """Tables per chip, per training and per validation, and the labels of the judged chips by arm, of the first seed.

    Attributes:
        counts: per chip and class; borders: the same of the pixels near a class border alone; calibration: per
            chip and bin of confidence.
    """

    counts: pd.DataFrame
    borders: pd.DataFrame
    calibration: pd.DataFrame
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


def read_description(study: str, fold: int) -> dict:
    """Return stage 01's description of the data."""
    path = stage_dir(study, "01_prepare_data", fold) / "data.json"
    return read_json(path, remake_command(path))


def read_primary(study: str, fold: int) -> tuple[int, ...]:
    """Return the classes of the primary score, fixed by stage 01 before any training."""
    return tuple(read_description(study, fold)["primary_classes"])


def read_labels(study: str, fold: int, real: Collection[str] | None = None) -> pd.DataFrame:
    """Return stage 04's label maps (columns ``CHIPS['labels']``): of synthetic chips, and of real ones.

    Args:
        real: names of the real chips whose labels are read; None reads those of all.
    """
    path = stage_dir(study, "04_label", fold) / "labels.parquet"
    if real is None:
        return read_chips(path, "labels")
    return read_chips(path, "labels", lambda table: (table["system"] != "real") | table["chip_id"].isin(real))


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
    study: str, fold: int, generators: list[str], systems: list[str], shards: int, arms: Sequence[Arm] = (),
    judged: str = "test",
) -> BenchmarkData:  # fmt: skip
    """Read everything one fold's benchmark needs.

    Args:
        arms: say which filtered, chosen and hidden chips are needed.
        judged: ``test``, with the held-out region where there is one; ``val`` leaves both unread.
    """
    about, taught = read_description(study, fold), any(arm.system == SELF_TRAINING for arm in arms)
    splits = ["train", "val", *(["test"] if judged == "test" else [])]
    if judged == "test" and "region" in about["absent"]:  # which has an entry per split
        splits.append("region")
    real = read_real(study, fold, splits)
    hidden = read_real(study, fold, [HIDDEN]) if taught else real.head(0)
    labels = read_labels(study, fold, hidden["chip_id"].tolist())
    synthetic = read_synthetic(study, fold, generators, systems, shards)
    synthetic["mask"] = training_masks(synthetic, labels)
    if any(arm.filter == RARE_SET for arm in arms):
        asked = read_asked(study, fold, generators, list(ASKED), shards).set_index("chip_id")["kind"]
        synthetic["kind"] = synthetic["chip_id"].map(asked).fillna("")
    if taught:
        synthetic = pd.concat([synthetic, self_training_chips(hidden, labels)], ignore_index=True)
    sources = {str(system): group for system, group in synthetic.groupby("system")}
    if any(arm.system == ALL_SYSTEMS for arm in arms):
        sources[ALL_SYSTEMS] = synthetic[synthetic["system"] != SELF_TRAINING]
    held = {name: (stack(group, "image"), stack(group, "mask")) for name, group in sources.items()}
    held |= extra_sets(study, fold, arms, synthetic)
    by_split = {split: real[real["split"] == split].reset_index(drop=True) for split in splits}
    primary = tuple(about["primary_classes"])
    return BenchmarkData(fold, by_split, held, primary, about["label_fraction"])


# --- running ---------------------------------------------------------------------------------


def primary_score(truth: np.ndarray, primary: Sequence[int]) -> Callable[[np.ndarray], float]:
    """Return the function that scores labels (n, h, w) of chips with these reference maps by primary mIoU."""
    return lambda labels: float(mean_iou(count_chips(labels, truth).sum(0), primary))


def run_arm(
    arm: Arm, seed: int, data: BenchmarkData, phases: Sequence[Phase], device: torch.device
) -> BenchmarkResult:
    """Train one arm with one seed and count what it says about every held-out chip.

    The seed's name does not hold the arm's: arms of one seed start from the same weights. Of an arm in two
    trainings, the second goes on from the checkpoint that the first would keep.
    """
    start, model, parts = time.perf_counter(), None, []
    val = data.real["val"]
    score = primary_score(stack(val, "mask"), data.primary)
    for number, phase in enumerate(phases):
        names = ("benchmark", data.fold, seed, *([number] if number else []))
        model, history = train_segmenter(
            phase.pools, stack(val, "image"), score, phase.training, names, device, start=model, mix=phase.mix
        )
        done = sum(earlier.training.steps for earlier in phases[:number])
        parts.append(history.assign(step=history["step"] + done))
    history = pd.concat(parts).rename(columns={"val_score": "val_miou"})
    counted, labels = count_model(model, data, 4 * phases[0].training.batch_size)
    run = run_row(arm, seed, data.fold, phases, history, time.perf_counter() - start)
    tables = [*counted, pd.DataFrame([run]), history]
    return BenchmarkResult(*(table.assign(arm=arm.name, seed=seed) for table in tables), {arm.name: labels})


def count_model(
    model: Segmenter, data: BenchmarkData, batch_size: int
) -> tuple[list[pd.DataFrame], np.ndarray]:
    """Return what a network says of every held-out chip, counted, and its labels of the judged chips.

    Returns:
        the tables ``counts``, ``borders`` and ``calibration`` without arm and seed, and labels (n, h, w).
    """
    parts, judged = [], None
    for split in data.held_out:
        chips = data.real[split]
        labels, trust = predict(model, stack(chips, "image"), batch_size)
        truth = stack(chips, "mask")
        border = np.where(near_border(truth), truth, NO_LABEL).astype(np.uint8)
        counts = [count_table(labels, chips, split, reference) for reference in (truth, border)]
        parts.append([*counts, calibration_table(labels, trust, chips, split)])
        judged = labels if split == data.judged else judged
    return [pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True)], judged


def run_row(
    arm: Arm, seed: int, fold: int, phases: Sequence[Phase], history: pd.DataFrame, seconds: float
) -> dict[str, object]:
    """Return one row of the table 'runs'; the checkpoint is one of the last training's."""
    sizes = {pool.name: len(pool.images) for phase in phases for pool in phase.pools}
    last = history[history["step"] > history["step"].max() - phases[-1].training.steps]
    best = last.loc[last["val_miou"].idxmax()]
    return {
        "arm": arm.name, "seed": seed, "fold": fold, "real_chips": sizes.get("real", 0),
        "synthetic_chips": sizes.get(arm.source, 0), "seconds": seconds, "best_step": int(best["step"]),
        "val_miou": best["val_miou"],
    }  # fmt: skip


def run_arms(
    arms: list[Arm], seeds: list[int], data: BenchmarkData, training: Training, ratio: float,
    device: torch.device, progress: Callable = iter, kept: Path | None = None,
) -> BenchmarkResult:  # fmt: skip
    """Train every arm with every seed.

    Args:
        ratio: synthetic per real chip in the batches of arms that state none.
        progress: wraps the list of (arm, seed) pairs, e.g. ``tqdm``.
        kept: folder of finished trainings; one with the same settings, data and code is not repeated.
    """
    todo = [(arm, seed) for seed in seeds for arm in arms]
    runs = [_run_once(arm, seed, data, training, ratio, device, kept) for arm, seed in progress(todo)]
    tables = [pd.concat([getattr(run, name) for run in runs], ignore_index=True) for name in TABLES]
    labels = {arm: values for run in runs[: len(arms)] for arm, values in run.labels.items()}
    return BenchmarkResult(*tables, labels)


def run_networks(
    networks: Sequence[str], arms: list[Arm], seeds: list[int], data: BenchmarkData, training: Training, *how
) -> dict[str, BenchmarkResult]:
    """Train the arms for further architectures; ``how`` as for :func:`run_arms`."""
    return {
        name: run_arms(arms, seeds, data, replace(training, architecture=name), *how) for name in networks
    }


def _run_once(arm, seed, data, training, ratio, device, kept: Path | None) -> BenchmarkResult:
    phases = arm_phases(arm, data, training, ratio, seed)
    if kept is None:
        return run_arm(arm, seed, data, phases, device)
    pools = [pool for phase in phases for pool in phase.pools]
    arrays = [array for pool in pools for array in (pool.images, pool.masks)]
    held_out = [stack(data.real[split], name) for split in data.held_out for name in ("image", "mask")]
    settings = (
        arm, seed, data.fold, data.held_out, data.primary, device.type, training_type(device, training.precision),
        [phase.training for phase in phases], [pool.weight for pool in pools],
    )  # fmt: skip
    path = kept / f"{run_key(settings, arrays + held_out)}.npz"
    found = load_run(path, TABLES)
    if found is not None:
        return BenchmarkResult(*(found[0][name] for name in TABLES), found[1])
    run = run_arm(arm, seed, data, phases, device)
    save_run(path, {name: getattr(run, name) for name in TABLES}, run.labels)
    return run
