"""The captioning benchmark: captioners trained on real, synthetic and mixed chips, all in the same way.

Arms differ in their chips alone. Network, words (one tokenizer for all), steps, batch, augmentation, the rule that
picks the checkpoint (claim F1 on *real* validation chips) and, for one seed, the initial weights are the same; no
network starts from the labeller, which knows real chips. From captions alone, a short training learns to write and
not to look: so every arm first learns to read maps off its own chips, and its captioner sees through that
segmenter. Captions are kept first and scored later.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from groundsynth.benchmark.arms import Arm
from groundsynth.benchmark.finished_runs import load_run, run_key, save_run
from groundsynth.benchmark.segmentation import primary_score, read_labels, read_real, training_masks
from groundsynth.captioning.own_captioner import CODE, describer
from groundsynth.captioning.validation import all_views, claim_score
from groundsynth.data.synthetic import read_synthetic
from groundsynth.errors import GroundsynthError
from groundsynth.legend import count_classes
from groundsynth.models.captioner_training import CaptionerTraining, make_words, train_captioner
from groundsynth.models.segmenter import Pool, Training, make_pool, train_segmenter
from groundsynth.seeds import derive_seed

STAGE = "08_benchmark_captioning"
REFERENCES = 5  # captions of the map that each caption is compared with, worded differently
TABLES = ("captions", "runs", "history")


@dataclass(frozen=True)
class CaptioningData:
    """Chips of one fold.

    Attributes:
        train: training chips by source: ``real``, and each system with the masks its chips train with.
        val, test: views of the real held-out chips in all turns (see ``validation.all_views``).
    """

    fold: int
    train: dict[str, Pool]
    val: pd.DataFrame
    test: pd.DataFrame


@dataclass(frozen=True)
class CaptioningResult:
    """Tables ``captions`` (test captions of every training), ``runs`` and ``history``."""

    captions: pd.DataFrame
    runs: pd.DataFrame
    history: pd.DataFrame


def read_captioning(
    study: str, fold: int, generators: list[str], systems: list[str], shards: int
) -> CaptioningData:
    """Read everything one fold's benchmark needs."""
    real = read_real(study, fold, ("train", "val", "test"))
    synthetic = read_synthetic(study, fold, generators, systems, shards)
    synthetic["mask"] = training_masks(synthetic, read_labels(study, fold))
    pools = {"real": _pool("real", real[real["split"] == "train"])}
    pools |= {str(system): _pool(str(system), part) for system, part in synthetic.groupby("system")}
    views = {split: all_views(real[real["split"] == split]) for split in ("val", "test")}
    return CaptioningData(fold, pools, **views)


def _pool(name: str, chips: pd.DataFrame) -> Pool:
    return make_pool(name, *(np.stack(chips[column].tolist()) for column in ("image", "mask")))


def arm_pools(arm: Arm, data: CaptioningData, ratio: float) -> list[Pool]:
    """Return the pools an arm's batches are drawn from; ``ratio`` is synthetic per real chip in a mixed arm.

    Raises:
        GroundsynthError: a system without chips.
    """
    pools = [data.train["real"]] if arm.real else []
    if arm.system:
        if arm.system not in data.train:
            raise GroundsynthError(
                f"arm '{arm.name}': system '{arm.system}' has no chips; generate some or drop the arm"
            )
        chips = data.train[arm.system]
        pools.append(Pool(chips.name, chips.images, chips.masks, ratio))
    return pools


def references(views: pd.DataFrame, style: str, shares: str) -> list[list[str]]:
    """Return ``REFERENCES`` captions of each view's map by the layout writer; they depend on the view alone."""
    describe = describer(style, shares)
    return [
        [describe(mask, derive_seed("reference", chip, number)) for number in range(REFERENCES)]
        for chip, mask in zip(views["chip_id"], views["mask"], strict=True)
    ]


def run_arms(
    arms: Sequence[Arm], seeds: Sequence[int], styles: Sequence[str], data: CaptioningData,
    training: CaptionerTraining, sight: Training | None, ratio: float, layout_style: str, beams: int,
    device: torch.device, progress: Callable = iter, kept: Path | None = None,
) -> CaptioningResult:  # fmt: skip
    """Train every arm with every seed, once for each way to print shares.

    Args:
        sight: how an arm's segmenter is trained, through which its captioner sees (its shape must then read
            maps); None lets the captioner learn to see from captions.
        styles: ``words``, ``numbers``; layout_style: ``plain`` or ``rich``.
        progress: wraps the list of trainings. kept: folder of finished ones, which are not repeated.
    """
    todo = [(arm, seed, style) for style in styles for seed in seeds for arm in arms]
    words = {style: _words(data, layout_style, style) for style in styles}
    runs = []
    for arm, seed, style in progress(todo):
        how = (arm, seed, style, data, training, sight, ratio, layout_style, beams, device, words[style])
        runs.append(_run_once(kept, *how))
    tables = [pd.concat([getattr(run, name) for run in runs], ignore_index=True) for name in TABLES]
    return CaptioningResult(*tables)


def _words(data: CaptioningData, layout_style: str, style: str) -> tuple:
    return make_words(list(data.train.values()), describer(layout_style, style), "benchmark", data.fold)


def _run_once(
    kept: Path | None, arm: Arm, seed: int, style: str, data: CaptioningData, *how
) -> CaptioningResult:
    training, sight, ratio, layout_style, beams, device, words = how
    if kept is None:
        return run_arm(arm, seed, style, data, *how)
    arrays = [array for pool in arm_pools(arm, data, ratio) for array in (pool.images, pool.masks)]
    views = [np.stack(part[name].tolist()) for part in (data.val, data.test) for name in ("image", "mask")]
    tokens = words[0].backend_tokenizer.to_str()
    settings = (arm, seed, style, data.fold, training, sight, ratio, layout_style, beams, device.type, tokens)
    path = kept / f"{run_key(settings, arrays + views, (*CODE, 'captioning/benchmark.py'))}.npz"
    found = load_run(path, TABLES)
    if found is not None:
        return CaptioningResult(*(found[0][name] for name in TABLES))
    run = run_arm(arm, seed, style, data, *how)
    save_run(path, {name: getattr(run, name) for name in TABLES}, {})
    return run


def run_arm(
    arm: Arm, seed: int, style: str, data: CaptioningData, training: CaptionerTraining, sight: Training | None,
    ratio: float, layout_style: str, beams: int, device: torch.device, words: tuple,
) -> CaptioningResult:  # fmt: skip
    """Train one arm with one seed and let it describe the test views.

    The seed's name does not hold the arm's: arms of one seed start from the same weights.
    """
    start, pools = time.perf_counter(), arm_pools(arm, data, ratio)
    images = [np.stack(views["image"].tolist()) for views in (data.val, data.test)]
    names, segmenter = ("captioning", data.fold, seed), None
    if sight is not None:
        labels = np.stack(data.val["mask"].tolist())
        score = primary_score(labels, tuple(np.flatnonzero(count_classes(labels))))
        segmenter, _ = train_segmenter(pools, images[0], score, sight, names, device)
    captioner, history = train_captioner(
        pools, describer(layout_style, style), images[0], claim_score(data.val), training, names, device,
        segmenter, words=words,
    )  # fmt: skip
    captions = captioner.describe(images[1], beams)
    about = {"arm": arm.name, "seed": seed, "style": style}
    views = data.test[["chip_id", "block"]]
    said = views.assign(**about, caption=[text or "" for text in captions])
    best = history.loc[history["val_score"].idxmax()]
    sizes = {pool.name: len(pool.images) for pool in pools}
    run = about | {
        "fold": data.fold, "real_chips": sizes.get("real", 0), "synthetic_chips": sizes.get(arm.system, 0),
        "seconds": time.perf_counter() - start, "best_step": int(best["step"]), "val_f1": best["val_score"],
    }  # fmt: skip
    history = history.rename(columns={"val_score": "val_f1"}).assign(**about)
    return CaptioningResult(said, pd.DataFrame([run]), history)
