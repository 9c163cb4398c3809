"""The command ``compare-cleaned``: is a text-to-image generator better for learning from cleaned pairs?

Wrong captions are planted among the real pairs and cleaned as ``clean-captions`` does. Three generators of equal
steps learn from all pairs, from what cleaning left, and from as many dropped at random; all are asked for the
captions of validation windows. What judges them was not the filter: maps, the labeller, an image–text model that
learned from hidden blocks alone, and segmenters that learn from what the generators drew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from groundsynth.artifacts import metric_row, read_chips, write_metrics, write_table
from groundsynth.benchmark.segmentation import read_primary
from groundsynth.captions.turned import describe_turned
from groundsynth.checks.cleaned_training import Asked, Drawn, comparators, generator_rows
from groundsynth.checks.cleaning import STAGE, plant_errors
from groundsynth.checks.contrastive import HeldOut
from groundsynth.checks.kept_samples import Arrays, keep_arrays, name_samples
from groundsynth.checks.pairs import layout_writer, make_pairs
from groundsynth.checks.prompt_control import all_shares
from groundsynth.config import Study
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NUM_CLASSES
from groundsynth.models.asked import conditions_of
from groundsynth.models.conditions import TokenTable
from groundsynth.models.contrastive import ContrastiveModel, Fitting, train_once
from groundsynth.models.denoiser import load_denoiser
from groundsynth.models.device import pick_device
from groundsynth.models.generation import sampling_of
from groundsynth.models.generators import hash_weights, load_start, settings_of, train_generator
from groundsynth.models.sampling import sample_pairs
from groundsynth.models.segmenter import Segmenter, encode, load_segmenter, predict
from groundsynth.models.sentence_tokens import token_states
from groundsynth.models.training import TrainingSettings
from groundsynth.paths import project_root, results_dir, stage_dir
from groundsynth.report.cleaning_figures import plot_generators, plot_same_captions
from groundsynth.report.style import save_figure
from groundsynth.report.tables import counted
from groundsynth.seeds import derive_seed, rng
from groundsynth.workflow.cleaned_downstream import (
    ARMS,
    count_segmenters,
    segmenter_rows,
    training_captions,
)
from groundsynth.workflow.cleaning_study import (
    JUDGE_SIZES,
    JUDGE_SOFTNESS,
    Ground,
    clean,
    pair_sets,
    read_ground,
    validation_pairs,
)
from groundsynth.workflow.contrastive_study import count_hits, mean_rate

SHOWN = 6  # captions in a figure


@dataclass(frozen=True)
class Wanted:
    """What is compared: see the options of ``python -m groundsynth compare-cleaned``."""

    fold: int
    rate: float
    steps: int | None
    seeds: list[int]
    start: str | None
    samples: int
    downstream: int


def compare_cleaned(study: Study, wanted: Wanted, folder: Path, progress: Callable = iter) -> pd.DataFrame:
    """Train and judge a generator per set of pairs and seed; write ``metrics.csv``, ``comparators.csv`` and figures.

    Finished trainings and samples are kept, so a stopped run goes on, a stopped training from its last checkpoint.

    Args:
        progress: wraps the list of trainings, e.g. ``tqdm``.

    Raises:
        GroundsynthError: stages that have not run, or a start that reads no text.
    """
    device = pick_device(study.device)
    writer = layout_writer(study.caption.layout_style, study.caption.style)
    ground = read_ground(study, wanted.fold, writer)
    sets = _clean(study, wanted, ground, writer, device)
    val, hidden = _by_split(study, wanted.fold, ground.val)
    windows = _some(val, wanted.samples)
    lessons = training_captions(ground, writer, wanted.downstream)
    drawn: dict[tuple[str, int], Arrays] = {}
    taught: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]] = {}
    for arm, seed in progress([(arm, seed) for arm in ARMS for seed in wanted.seeds]):
        model = _train(study, wanted, ground, sets[arm], seed, device)
        drawn[arm, seed] = _draw(study, model, windows.captions, "windows", folder / "samples", device)
        if lessons:
            pairs = _draw(study, model, lessons, "lessons", folder / "samples", device)
            taught[arm, seed] = pairs["images"], pairs["maps"]
    labeller = load_segmenter(stage_dir(study.study, "04_label", wanted.fold) / "labeller", device)
    judge = _train_judge(study, hidden, writer, device)
    regime = f"planted={wanted.rate:.0%}" + (";fine_tuned" if wanted.start else "")
    asked = Asked(
        windows.captions, windows.maps, windows.blocks, all_shares(ground.maps).mean(0),
        encode(labeller, windows.images), encode(labeller, ground.images),
    )  # fmt: skip
    found = {
        arm: _judge([drawn[arm, seed] for seed in wanted.seeds], windows, labeller, judge) for arm in ARMS
    }
    rows = generator_rows(study.study, asked, found, regime, study.ground.kid_subsets, study.ground.seed)
    if taught:
        counts = count_segmenters(study, wanted.fold, taught, device)
        primary = read_primary(study.study, wanted.fold)
        rows += segmenter_rows(study.study, counts, primary, regime, study.benchmark.bootstrap)
    metrics = write_metrics(rows + _judge_rows(study.study, judge, windows, regime), folder / "metrics.csv")
    write_table(comparators(metrics), folder / "comparators.csv", "comparators")
    _figures(folder, metrics, windows, {arm: drawn[arm, wanted.seeds[0]] for arm in ARMS}, study, wanted)
    return metrics


# --- pairs -----------------------------------------------------------------------------------


def _clean(study: Study, wanted: Wanted, ground: Ground, writer: object, device: torch.device) -> dict:
    """Return places and maps described from, by arm: what ``clean-captions`` leaves at this rate."""
    train = partial(train_once, kept=results_dir(study.study) / "checkpoints" / "contrastive", device=device)
    described, _ = plant_errors(ground.maps, wanted.rate, wanted.fold)
    fitting = Fitting(steps=study.ground.contrastive_steps)
    seen = clean(ground, described, validation_pairs(ground.val, writer), writer, fitting, train)
    return pair_sets(ground, described, seen, f"planted={wanted.rate:.0%}")


def _by_split(study: Study, fold: int, held: HeldOut) -> tuple[HeldOut, HeldOut]:
    """Return validation windows and windows of hidden blocks."""
    path = stage_dir(study.study, "01_prepare_data", fold) / "chips.parquet"
    blocks = read_chips(path, "real", lambda c: c["split"] == "hidden", pictures=False)["block"]
    hidden = np.isin(held.blocks, blocks.unique())
    return _take(held, np.flatnonzero(~hidden)), _take(held, np.flatnonzero(hidden))


def _some(held: HeldOut, n: int) -> HeldOut:
    return _take(held, np.sort(rng("cleaned training", "windows").permutation(len(held.maps))[:n]))


def _take(held: HeldOut, places: np.ndarray) -> HeldOut:
    captions = [held.captions[i] for i in places]
    return HeldOut(held.images[places], held.maps[places], captions, held.blocks[places])


# --- generators ------------------------------------------------------------------------------


def _train(study: Study, wanted: Wanted, ground: Ground, pairs: tuple, seed: int, device) -> nn.Module:
    """Return a generator that learned chips at some places with captions of the maps given beside them."""
    places, described = pairs
    settings = _settings(study, wanted, seed, device)
    start = load_start(wanted.start, settings, ground.images.shape[1])
    kept, style = results_dir(study.study) / "checkpoints", study.caption
    texts = describe_turned(
        ground.ids[places].tolist(), described[places], style=style.style, layout_style=style.layout_style
    )
    table = TokenTable(*token_states(texts.texts, cache=kept / "sentences"), texts.index)
    images, maps = ground.images[places], ground.maps[places]
    return train_generator(images, maps, settings, None, kept, device, table, start)[0].to(device)


def _settings(study: Study, wanted: Wanted, seed: int, device: torch.device) -> TrainingSettings:
    own, conditions = study.generator, "text"
    if wanted.start:
        conditions = load_denoiser(project_root() / wanted.start).config.conditions
        if conditions not in ("text", "both"):
            raise GroundsynthError(
                f"{wanted.start}: a generator with conditions '{conditions}' reads no text; begin with another"
            )
    settings = settings_of(own, "text", seed, device)
    return replace(settings, steps=wanted.steps or own.steps, conditions=conditions)


def _draw(
    study: Study, model: nn.Module, captions: list[str], kind: str, folder: Path, device: torch.device
) -> Arrays:
    """Return ``images`` and ``maps`` drawn for captions of a kind; seeds are the same for every generator."""
    way = sampling_of(study.generate, "text")
    seeds = [derive_seed("cleaned training", kind, k) for k in range(len(captions))]

    def draw() -> Arrays:
        nothing = np.full((len(seeds), NUM_CLASSES), np.nan)
        asked = conditions_of(captions, nothing)
        images, maps = sample_pairs(model, "text", seeds, way, device, conditions=asked)
        return {"images": images, "maps": maps}

    name = name_samples(hash_weights(model), astuple(way), seeds, captions)
    return keep_arrays(folder / f"{name}.npz", draw)


# --- judges ----------------------------------------------------------------------------------


def _train_judge(
    study: Study, hidden: HeldOut, writer: object, device: torch.device
) -> ContrastiveModel | None:
    """Return an image–text model that learned from hidden blocks alone; None where a study has none."""
    if len(hidden.images) < 2:
        return None
    pairs = make_pairs(hidden.images, hidden.maps, writer, ("generation judge",), 1)
    fitting = Fitting(steps=study.ground.contrastive_steps, softness=JUDGE_SOFTNESS)
    kept = results_dir(study.study) / "checkpoints" / "contrastive"
    return train_once(pairs, fitting, ("generation judge", 0), kept, device, sizes=JUDGE_SIZES)


def _judge(
    drawn: list[Arrays], windows: HeldOut, labeller: Segmenter, judge: ContrastiveModel | None
) -> Drawn:
    images, maps = (np.concatenate([part[name] for part in drawn]) for name in ("images", "maps"))
    fits = None
    if judge is not None:
        texts = np.tile(judge.encode_captions(windows.captions), (len(drawn), 1))
        fits = (judge.encode_images(images) * texts).sum(1)
    return Drawn(maps, predict(labeller, images)[0], encode(labeller, images), fits)


def _judge_rows(study: str, judge: ContrastiveModel | None, windows: HeldOut, regime: str) -> list[dict]:
    """Return how well the judge tells a real window's own caption from others', without which it judges nothing."""
    if judge is None:
        return []
    auc = float(mean_rate(count_hits(judge, windows)["auc"].sum(0)))
    about = dict(system="real", regime=f"{regime};judge;wrong=shuffled_caption", n=len(windows.images))
    return [metric_row(study, STAGE, "auc", auc, **about)]


def _figures(
    folder: Path, metrics: pd.DataFrame, windows: HeldOut, drawn: dict[str, Arrays], study: Study, wanted: Wanted
) -> None:  # fmt: skip
    steps = wanted.steps or study.generator.steps
    seeds = counted(len(wanted.seeds), "seed")
    save_figure(
        plot_generators(metrics),
        folder / "cleaned_training.png",
        f"Generators of system 'text', {steps} steps and {seeds} each, that learned from real pairs of "
        f"which {wanted.rate:.0%} had a wrong caption (uncleaned), from what cleaning left of them, and from as many "
        f"dropped at random; all asked for the captions of the same {len(windows.captions)} validation windows. "
        "Differences of cleaned to the others; bars: 95 % intervals over blocks and seeds of training, paired, and for "
        f"distances over random halves and seeds; another training may differ by more than {seeds} can show. The "
        f"segmenters learned from {wanted.downstream} drawn pairs each. Right: relative changes. Hollow: published, of "
        "another generator, the distance and the scores against its pretrained model.",
    )
    some = np.linspace(0, len(windows.captions) - 1, min(SHOWN, len(windows.captions))).round().astype(int)
    rows = {arm: (found["images"][some], found["maps"][some]) for arm, found in drawn.items()}
    save_figure(
        plot_same_captions([windows.captions[i] for i in some], windows.images[some], rows),
        folder / "same_captions.png",
        f"{len(some)} of {len(windows.captions)} captions, spread evenly and not chosen: the real window that each was "
        "written for, which no generator saw, and what generators of different pairs drew with one seed, map below.",
    )
