"""Which network labels best? Several architectures × seeds, chosen on validation, tested once.

Only the chosen architecture ever sees the test chips, after the choice, with all its seeds. Every
finished training is kept, so a stopped comparison goes on where it was.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from groundsynth.artifacts import metric_row
from groundsynth.benchmark.counting import count_table
from groundsynth.benchmark.finished_runs import CODE, load_run, run_key, save_run
from groundsynth.benchmark.intervals import score_interval, stack_counts
from groundsynth.benchmark.labelling import RESAMPLES, STAGE, stack
from groundsynth.benchmark.metrics import mean_iou
from groundsynth.benchmark.scores import class_pixels
from groundsynth.benchmark.segmentation import primary_score, read_primary, read_real
from groundsynth.config import Study
from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES
from groundsynth.models.segmenter import (
    DECODERS,
    Training,
    build_segmenter,
    check_side,
    make_pool,
    predict,
    train_segmenter,
)

DEFAULT = ("Unet", "UnetPlusPlus", "FPN", "DeepLabV3Plus", "Segformer")
LEAST = 3  # architectures that make a choice
TABLES = ("history", "counts")


def label_training(study: Study) -> Training:
    """Return how a study trains its labeller."""
    label = study.label
    return Training(
        label.architecture, label.encoder, label.steps, label.batch_size, label.learning_rate,
        label.validate_every, label.weights, label.class_weights, label.patience,
    )  # fmt: skip


def check_architectures(names: Sequence[str], side: int) -> None:
    """Stop unless architectures exist, differ, suit the chips, and are enough to choose from."""
    for name in names:
        if name not in DECODERS:
            raise GroundsynthError(
                f"architecture '{name}' is not offered; choose of {', '.join(sorted(DECODERS))}"
            )
        check_side(name, side)
    if len(set(names)) < LEAST or len(set(names)) < len(names):
        raise GroundsynthError(
            f"architectures {list(names)}: a comparison needs {LEAST} or more, each named once; add some"
        )


def compare_labellers(
    study: Study, fold: int, architectures: Sequence[str], seeds: Sequence[int], kept: Path,
    device: torch.device, progress: Callable = iter,
) -> tuple[pd.DataFrame, pd.DataFrame, list[dict]]:  # fmt: skip
    """Train every architecture with every seed on the training blocks; choose; test the chosen once.

    Args:
        kept: folder of finished trainings; progress: wraps the list of trainings, e.g. ``tqdm``.

    Returns:
        learning curves (columns ``history``, arm = architecture), counts on validation of all and on test
        of the chosen one (columns ``counts``), and the metric rows.
    """
    check_architectures(architectures, study.data.chip_size)
    real = read_real(study.study, fold, ["train", "val", "test"])
    by_split = {
        split: real[real["split"] == split].reset_index(drop=True) for split in ("train", "val", "test")
    }
    primary, plan = read_primary(study.study, fold), label_training(study)
    todo = [(name, seed) for seed in seeds for name in architectures]
    runs = [
        _train_once(replace(plan, architecture=name), seed, fold, by_split, primary, kept, device)
        for name, seed in progress(todo)
    ]
    history, val = (pd.concat([run[table] for run in runs], ignore_index=True) for table in TABLES)
    chosen, rows = choose(study.study, val, architectures, primary)
    weights = [run["weights"] for (name, _), run in zip(todo, runs, strict=True) if name == chosen]
    models = [_restore(replace(plan, architecture=chosen), held, device) for held in weights]
    test = pd.concat([_count(model, by_split["test"], chosen, seed, "test", plan)
                      for model, seed in zip(models, seeds, strict=True)], ignore_index=True)  # fmt: skip
    rows += chosen_rows(study.study, test, chosen, primary)
    return history, pd.concat([val, test], ignore_index=True), rows


def choose(
    study: str, val: pd.DataFrame, architectures: Sequence[str], primary: Sequence[int]
) -> tuple[str, list[dict]]:
    """Return the architecture with the best mean validation mIoU, and the rows of all of them.

    Rows ``labeller_miou``: system real, regime ``split=val;architecture=<name>``; 95 % intervals over
    blocks × seeds.
    """
    table = stack_counts(val, list(architectures))
    values = score_interval(table, partial(mean_iou, classes=primary), RESAMPLES, STAGE, "comparison")
    about = {"system": "real", "n": table.shape[2], "seeds": table.shape[1]}
    rows = [
        metric_row(study, STAGE, "labeller_miou", regime=f"split=val;architecture={name}", **about, **value)
        for name, value in zip(architectures, values, strict=True)
    ]
    scores = [value["value"] for value in values]
    return architectures[int(np.argmax(scores))], rows


def chosen_rows(study: str, test: pd.DataFrame, chosen: str, primary: Sequence[int]) -> list[dict]:
    """Return the chosen architecture's test mIoU and IoU per class with intervals over blocks × seeds."""
    table = stack_counts(test, [chosen])
    row = partial(
        metric_row,
        study,
        STAGE,
        system="real",
        regime=f"split=test;architecture={chosen}",
        seeds=table.shape[1],
    )
    overall = score_interval(table, partial(mean_iou, classes=primary), RESAMPLES, STAGE, "chosen")[0]
    rows = [row("labeller_miou", **overall, n=table.shape[2])]
    for k, pixels in enumerate(class_pixels(table)):
        value = score_interval(table, partial(mean_iou, classes=[k]), RESAMPLES, STAGE, "chosen")[0]
        rows.append(row("labeller_iou", **value, n=int(pixels), class_=CLASSES[k]))
    return rows


def _train_once(training: Training, seed, fold, by_split, primary, kept: Path, device) -> dict:
    arrays = [stack(by_split[split], name) for split in ("train", "val") for name in ("image", "mask")]
    settings = ("labeller comparison", training, seed, fold, primary, device.type)
    path = kept / f"{run_key(settings, arrays, (*CODE, 'benchmark/labeller_comparison.py'))}.npz"
    found = load_run(path, TABLES)
    if found is not None and "weights" in found[1]:
        return found[0] | found[1]
    pool = make_pool("real training chips", *arrays[:2])
    model, history = train_segmenter(
        [pool], arrays[2], primary_score(arrays[3], primary), training, ("labeller", fold, seed), device
    )
    counts = _count(model, by_split["val"], training.architecture, seed, "val", training)
    history = history.rename(columns={"val_score": "val_miou"}).assign(arm=training.architecture, seed=seed)
    tables = {"history": history, "counts": counts}
    weights = _packed(model)
    save_run(path, tables, {"weights": weights})
    return tables | {"weights": weights}


def _count(model, chips: pd.DataFrame, name: str, seed: int, split: str, training: Training) -> pd.DataFrame:
    labels, _ = predict(model, stack(chips, "image"), 4 * training.batch_size)
    return count_table(labels, chips, split).assign(arm=name, seed=seed)


def _packed(model: torch.nn.Module) -> np.ndarray:
    buffer = io.BytesIO()
    torch.save({name: tensor.cpu() for name, tensor in model.state_dict().items()}, buffer)
    return np.frombuffer(buffer.getvalue(), np.uint8)


def _restore(training: Training, weights: np.ndarray, device: torch.device) -> torch.nn.Module:
    model = build_segmenter(training.architecture, training.encoder)
    model.load_state_dict(torch.load(io.BytesIO(weights.tobytes()), weights_only=True))
    return model.to(device).eval()
