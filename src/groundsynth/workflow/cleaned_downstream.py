"""What cleaned pairs are worth two steps further: a segmenter that learns from a generator's chips alone.

Generators of different pairs are asked for the same captions, of training chips, since what is asked of validation
ground may measure a generator and augments nothing. Segmenters learn from what they drew, image and map, as stage 07
trains its arms, and are counted on held-out real chips.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch

from groundsynth.artifacts import metric_row
from groundsynth.benchmark.arms import parse_arm
from groundsynth.benchmark.differences import delta_interval
from groundsynth.benchmark.intervals import score_interval, stack_counts
from groundsynth.benchmark.metrics import mean_iou
from groundsynth.benchmark.segmentation import BenchmarkData, read_primary, read_real, run_arms
from groundsynth.checks.cleaned_training import AGAINST, CLEANED
from groundsynth.checks.cleaning import STAGE
from groundsynth.config import Study
from groundsynth.paths import results_dir
from groundsynth.seeds import derive_seed, rng
from groundsynth.workflow.aa_study import benchmark_training
from groundsynth.workflow.cleaning_study import Ground

SYSTEM = "text"
ARMS = (*AGAINST, CLEANED)


def training_captions(ground: Ground, writer: object, n: int) -> list[str]:
    """Return right captions of up to ``n`` training chips, drawn at random: the same for every generator."""
    places = np.sort(rng("cleaned training", "training chips").permutation(len(ground.maps))[:n])
    seeds = [derive_seed("cleaned training", "caption", int(place)) for place in places]
    return list(writer.write(ground.images[places], ground.maps[places], seeds))


def count_segmenters(
    study: Study, fold: int, drawn: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]], device: torch.device
) -> pd.DataFrame:
    """Return the counts (table 'counts') of one segmenter per arm and seed, on the split the study judges.

    Segmenters of one seed start alike and see equal steps; the best on validation is kept. Finished ones are not
    trained again.

    Args:
        drawn: images (n, h, w, 3) and maps (n, h, w) by arm and seed of the generator.
    """
    judged = study.benchmark.split
    chips = read_real(study.study, fold, list(dict.fromkeys(["val", judged])))
    real = {split: part.reset_index(drop=True) for split, part in chips.groupby("split")}
    primary, arm = read_primary(study.study, fold), parse_arm(f"synthetic:{SYSTEM}", [SYSTEM])
    kept, parts = results_dir(study.study) / "checkpoints" / "cleaned_training", []
    for (name, seed), pairs in drawn.items():
        data = BenchmarkData(fold, real, {SYSTEM: pairs}, primary)
        result = run_arms(
            [arm], [seed], data, benchmark_training(study), study.benchmark.ratio, device, kept=kept
        )
        parts.append(result.counts.assign(arm=name))
    counts = pd.concat(parts, ignore_index=True)
    return counts[counts["split"] == judged]


def segmenter_rows(
    study: str, counts: pd.DataFrame, primary: Sequence[int], regime: str, resamples: int
) -> list[dict]:
    """Return ``segmenter_miou`` of every arm, and ``delta_segmenter_miou`` of the cleaned one, over blocks and seeds, paired.

    Args:
        counts: from :func:`count_segmenters`; primary: classes of the score.
    """
    table, score = stack_counts(counts, list(ARMS)), partial(mean_iou, classes=primary)
    about = dict(system=SYSTEM, regime=regime, n=table.shape[2], seeds=table.shape[1])
    values = score_interval(table, score, resamples, "cleaned training")
    rows = [
        metric_row(study, STAGE, "segmenter_miou", arm=arm, **about, **value)
        for arm, value in zip(ARMS, values, strict=True)
    ]
    for place, arm in enumerate(AGAINST):
        pair = table[[place, ARMS.index(CLEANED)]]
        change = delta_interval(pair, 0, score, resamples, "cleaned training")[1]
        rows.append(
            metric_row(study, STAGE, "delta_segmenter_miou", arm=f"{CLEANED}-{arm}", **about, **change)
        )
    return rows
