"""The command ``compare-contrastive``: does learning of images and words together gain from synthetic pairs?

One small image–text model per training set and seed, all with the same steps and batches, tested on real
ground that none of them saw. Synthetic pairs are described from the map they came with, or, for systems
that make images only, from the labeller's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from groundsynth.artifacts import metric_row, write_metrics
from groundsynth.benchmark.intervals import bootstrap, interval, seed_mean
from groundsynth.checks.agreement import random_partners
from groundsynth.checks.chip_sets import read_described_chips, stack
from groundsynth.checks.contrastive import (
    SPLITS,
    STAGE,
    HeldOut,
    name_dominant,
    read_held_out,
    retrieval_ranks,
)
from groundsynth.checks.pairs import join_pairs, layout_writer, make_pairs
from groundsynth.config import Study
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL, NUM_CLASSES, count_classes
from groundsynth.models.contrastive import Fitting, Pairs, train_once
from groundsynth.models.device import pick_device
from groundsynth.paths import results_dir, stage_dir
from groundsynth.report.contrastive_figures import gains_caption, plot_gains
from groundsynth.report.style import save_figure
from groundsynth.workflow.parameters import generator_names

DEPTH = 10  # of the recall compared
PARTNERS = 10  # foreign captions each chip's own is held against
RESAMPLES = 2000
WRONG = "wrong=shuffled_caption"
MEASURES = ("retrieval_recall_at_10", "auc", "dominance_balanced_accuracy")


def compare_contrastive(
    study: Study, fold: int, seeds: list[int], steps: int, folder: Path, progress: Callable = iter
) -> pd.DataFrame:
    """Train and test every arm with every seed; write ``metrics.csv`` and a figure.

    Arms are ``real``, and for every system ``synthetic:<system>`` and ``real+<system>``. Per held-out split
    and measure there is the value of each arm, and as ``delta_…`` its difference to ``real``, with intervals
    over blocks × seeds, paired.

    Args:
        progress: wraps the list of trainings, e.g. ``tqdm``. Finished ones are kept and not repeated.
    """
    writer = layout_writer(study.caption.layout_style, study.caption.style)
    sets = read_sets(study, fold, writer)
    arms = {"real": sets["real"]}
    for system in study.generate.systems:
        arms[f"synthetic:{system}"] = sets[system]
        arms[f"real+{system}"] = join_pairs([sets["real"], sets[system]])
    prepared = stage_dir(study.study, "01_prepare_data", fold)
    held = {split: read_held_out(prepared, study.data.chip_size, split, writer) for split in SPLITS}
    kept, device = results_dir(study.study) / "checkpoints" / "contrastive", pick_device(study.device)
    todo = [(arm, seed) for seed in seeds for arm in arms]
    found: dict[tuple[str, int], dict] = {}
    for arm, seed in progress(todo):
        model = train_once(arms[arm], Fitting(steps=steps), ("comparison", fold, seed), kept, device)
        found[arm, seed] = {split: count_hits(model, windows) for split, windows in held.items()}
    rows = []
    for split, windows in held.items():
        for measure in MEASURES:
            counts = np.stack([[found[arm, seed][split][measure] for seed in seeds] for arm in arms])
            rows += arm_rows(study.study, measure, counts, list(arms), f"split={split}", len(windows.images))
        rows += scale_rows(study.study, windows, f"split={split}")
    metrics = write_metrics(rows, folder / "metrics.csv")
    save_figure(plot_gains(metrics), folder / "gains.png", gains_caption(metrics))
    return metrics


def read_sets(study: Study, fold: int, writer: object) -> dict[str, Pairs]:
    """Return the pairs of real training chips and of each system's labelled chips, by name.

    Raises:
        GroundsynthError: a system without two labelled chips.
    """
    names = generator_names(study)
    chips = read_described_chips(study.study, fold, names, study.generate.systems, study.generate.shards)
    chips = chips[(chips["system"] != "real") | (chips["split"] == "train")]
    labelled = np.array([(mask != NO_LABEL).any() for mask in chips["mask"]], bool)
    sets = {}
    for name in ("real", *study.generate.systems):
        part = chips[labelled & (chips["system"] == name)]
        if len(part) < 2:
            raise GroundsynthError(
                f"system '{name}' has {len(part)} labelled chips; a contrast needs two or more"
            )
        sets[name] = make_pairs(stack(part, "image"), stack(part, "mask"), writer, (name, fold))
    return sets


# --- counts per block ------------------------------------------------------------------------


def count_hits(model, held: HeldOut) -> dict[str, np.ndarray]:
    """Return hits and trials per block and measure: (blocks, k, 2), k = 7 classes for dominance, else 1.

    Recall counts both ways. For ``auc``, each own caption is held against ten foreign ones: the share of
    trials it wins is the area under the curve of pairs that share an image.
    """
    image, text = model.encode_images(held.images), model.encode_captions(held.captions)
    similarity = image @ text.T
    ranks = np.stack([retrieval_ranks(similarity), retrieval_ranks(similarity.T)])
    own, wins = np.diag(similarity), np.zeros(len(image))
    for k in range(PARTNERS):
        other = similarity[np.arange(len(own)), random_partners(len(own), "contrast", k)]
        wins += (np.sign(own - other) + 1) / 2
    truth = np.array([count_classes(m).argmax() for m in held.maps])
    right = name_dominant(model, held.images) == truth
    classes = np.eye(NUM_CLASSES)[truth]
    n = np.ones(len(own))
    return {
        "retrieval_recall_at_10": _per_block((ranks < DEPTH).sum(0), 2 * n, held.blocks),
        "auc": _per_block(wins, PARTNERS * n, held.blocks),
        "dominance_balanced_accuracy": _per_block(classes * right[:, None], classes, held.blocks),
    }


def _per_block(hits: np.ndarray, trials: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    both = np.stack([hits.reshape(len(blocks), -1), trials.reshape(len(blocks), -1)], -1).astype(float)
    return np.stack([both[blocks == block].sum(0) for block in np.unique(blocks)])


def mean_rate(counts: np.ndarray) -> np.ndarray:
    """Return hits over trials, averaged over the classes that have trials: (…, k, 2) to (…)."""
    hits, trials = counts[..., 0], counts[..., 1]
    rates = np.divide(hits, trials, out=np.full(hits.shape, np.nan), where=trials > 0)
    some = (trials > 0).any(-1)
    total = np.where(np.isnan(rates), 0, rates).sum(-1)
    return np.where(some, total / np.maximum((trials > 0).sum(-1), 1), np.nan)


def arm_rows(
    study: str, measure: str, counts: np.ndarray, arms: list[str], regime: str, n: int
) -> list[dict]:
    """Return a measure of every arm, and its difference to the first, as metric rows.

    Args:
        counts: (arms, seeds, blocks, k, 2); n: windows.
    """
    values = seed_mean(counts, mean_rate)
    draws = bootstrap(counts, mean_rate, RESAMPLES, STAGE, "contrastive", regime)
    row = partial(metric_row, study, STAGE, system="contrastive", n=n, seeds=counts.shape[1])
    regime = f"{regime};{WRONG}" if measure == "auc" else regime
    rows = []
    for i, arm in enumerate(arms):
        low, high = interval(draws[i])
        rows.append(row(measure, values[i], arm=arm, regime=regime, low=low, high=high))
        if i:
            low, high = interval(draws[i] - draws[0])
            change = values[i] - values[0]
            rows.append(row(f"delta_{measure}", change, arm=arm, regime=regime, low=low, high=high))
    return rows


def scale_rows(study: str, held: HeldOut, regime: str) -> list[dict]:
    """Return what chance and the constant answer reach."""
    n, present = len(held.images), len({int(count_classes(m).argmax()) for m in held.maps})
    row = partial(metric_row, study, STAGE, system="contrastive", regime=regime, n=n)
    return [
        row("retrieval_recall_at_10", min(DEPTH / n, 1.0), arm="chance"),
        row("dominance_balanced_accuracy", 1 / present, arm="constant"),
    ]
