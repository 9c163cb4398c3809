"""The command ``clean-captions``: find wrong captions of real chips, describe them anew, and see what it is worth.

Errors are planted at several rates, so that finding them can be measured; without any, the command says
what it would remove from the pairs as they are, and leaves the list of chips and captions to keep.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from groundsynth.artifacts import metric_row, read_chips, write_chips, write_metrics, write_table
from groundsynth.benchmark.intervals import bootstrap, interval, seed_mean
from groundsynth.checks.chip_sets import stack
from groundsynth.checks.cleaning import (
    STAGE,
    Cleaning,
    choose_cleaning,
    claim_counts,
    cleaning_rows,
    cross_fit,
    plant_errors,
    precision_rows,
    propose_again,
    score_pairs,
    verdicts,
)
from groundsynth.checks.contrastive import HeldOut, read_held_out
from groundsynth.checks.pairs import layout_writer, make_pairs
from groundsynth.config import Study
from groundsynth.data.pair_list import DROPPED
from groundsynth.models.contrastive import ContrastiveModel, Fitting, Pairs, Sizes, train_once
from groundsynth.models.device import pick_device
from groundsynth.models.segmenter import load_segmenter, predict
from groundsynth.paths import results_dir, stage_dir
from groundsynth.report.contrastive_figures import plot_ranked_pairs, ranked_caption
from groundsynth.report.style import save_figure
from groundsynth.seeds import derive_seed, rng
from groundsynth.workflow.contrastive_study import RESAMPLES, count_hits, mean_rate

FOLDS = 2  # models of the inner loop
WORDINGS = 1  # of each caption: what is described matters here, not how
#: the judge differs from the filter in width, space, softness and seed
JUDGE_SIZES = Sizes(width=20, channels=12, words=40, space=96)
JUDGE_SOFTNESS = 0.1
JUDGED = ("uncleaned", "random_drop", "cleaned")
JUDGE_MEASURES = {"retrieval_recall_at_10": "", "auc": ";wrong=shuffled_caption"}


@dataclass(frozen=True)
class Ground:
    """The real training chips of a fold, and held-out windows.

    Attributes:
        ids, blocks: (n,); images: (n, s, s, 3); maps: (n, s, s), the true ones.
        readings: (n, s, s), the labeller's, for scene types and new descriptions.
        val, test: windows that no training chip shares a pixel with; val_readings: the labeller's of ``val``.
    """

    ids: np.ndarray
    images: np.ndarray
    maps: np.ndarray
    blocks: np.ndarray
    readings: np.ndarray
    val: HeldOut
    test: HeldOut
    val_readings: np.ndarray


def clean_captions(
    study: Study, fold: int, rates: list[float], seeds: list[int], steps: int, folder: Path,
    progress: Callable = iter,
) -> pd.DataFrame:  # fmt: skip
    """Clean pairs with errors planted at every rate; write ``metrics.csv``, and a list and a figure of each.

    Args:
        rates: shares of the captions made wrong, 0 for none; seeds: of the judges, none for no judge.
        progress: wraps the list of rates.
    """
    writer = layout_writer(study.caption.layout_style, study.caption.style)
    ground = read_ground(study, fold, writer)
    kept = results_dir(study.study) / "checkpoints" / "contrastive"
    train = partial(train_once, kept=kept, device=pick_device(study.device))
    val = validation_pairs(ground.val, writer)
    rows = []
    for rate in progress(rates):
        described, wrong = plant_errors(ground.maps, rate, fold)
        seen = clean(ground, described, val, writer, Fitting(steps=steps), train)
        regime = f"planted={rate:.0%}"
        table = _cleaned_table(ground, seen, writer, fold)
        write_keep_list(table, seen.final, folder / f"cleaned-{rate:.2f}.csv")
        captions = writer.write(ground.images, described, [derive_seed("shown", chip) for chip in ground.ids])
        figure = plot_ranked_pairs(ground.images, captions, seen.scores, wrong)
        save_figure(figure, folder / f"pairs-{rate:.2f}.png", ranked_caption(len(captions), rate))
        found = seen.round_of != 0  # not kept as it was
        rows += cleaning_rows(
            study.study, seen.scores, wrong, found, seen.cleaning.type_of(ground.readings),
            seen.cleaning.names, ground.blocks, regime,
        )  # fmt: skip
        rows += judge_rows(study.study, ground, described, seen, writer, regime)
        if seeds:
            rows += downstream_rows(study.study, ground, described, seen, writer, steps, seeds, train, regime)
    return write_metrics(rows, folder / "metrics.csv")


def read_ground(study: Study, fold: int, writer: object) -> Ground:
    """Read what is cleaned and what it is judged on; the labeller of stage 04 reads every training chip."""
    prepared = stage_dir(study.study, "01_prepare_data", fold)
    chips = read_chips(prepared / "chips.parquet", "real", lambda t: t["split"] == "train")
    images, size = stack(chips, "image"), study.data.chip_size
    labeller = load_segmenter(
        stage_dir(study.study, "04_label", fold) / "labeller", pick_device(study.device)
    )
    held = {split: read_held_out(prepared, size, split, writer) for split in ("val+hidden", "test")}
    readings, val_readings = (predict(labeller, x)[0] for x in (images, held["val+hidden"].images))
    return Ground(
        chips["chip_id"].to_numpy(), images, stack(chips, "mask"), chips["block"].to_numpy(), readings,
        held["val+hidden"], held["test"], val_readings,
    )  # fmt: skip


@dataclass(frozen=True)
class Cleaned:
    """What the two loops left: scores (n,), the choice made, maps described from, round kept (-1 never)."""

    scores: np.ndarray
    cleaning: Cleaning
    final: np.ndarray
    round_of: np.ndarray


def validation_pairs(held: HeldOut, writer: object) -> dict[str, Pairs]:
    """Return validation windows with right and with wrong captions."""
    maps = {"right": held.maps, "wrong": plant_errors(held.maps, 1.0, "val")[0]}
    return {name: make_pairs(held.images, m, writer, ("val",), WORDINGS) for name, m in maps.items()}


def clean(
    ground: Ground, described: np.ndarray, val: dict, writer: object, fitting: Fitting, train: Callable
) -> Cleaned:
    """Score pairs by models blind to their blocks, choose thresholds on validation, and describe anew.

    Dropped pairs are first described from the labeller's reading, then as the kept chip of another block is
    whose image a model finds most like theirs. The labeller learned from the true maps of these very chips,
    so its readings are better here than they would be of new images.
    """
    pairs = make_pairs(ground.images, described, writer, ("clean",), WORDINGS)
    scores, models = cross_fit(
        pairs, ground.blocks, FOLDS, lambda part, number: train(part, fitting, ("filter", number))
    )
    right, wrong = ((score_pairs(models, pairs), ground.val_readings) for pairs in val.values())
    cleaning = choose_cleaning(ground.readings, right, wrong, seed=0)
    keeps = partial(cleaning.keeps, readings=ground.readings)
    kept = keeps(scores)

    def rescore(maps: np.ndarray) -> np.ndarray:
        again = make_pairs(ground.images, maps, writer, ("again",), WORDINGS)
        return _blind_scores(models, again, ground.blocks)

    proposals = [ground.readings, described[_most_alike(models[0], ground, kept)]]
    final, round_of = propose_again(described, kept, proposals, rescore, keeps)
    return Cleaned(scores, cleaning, final, round_of)


def _blind_scores(models: list[ContrastiveModel], pairs: Pairs, blocks: np.ndarray) -> np.ndarray:
    """Return scores by models already trained, each pair's by the one blind to its block."""
    waiting = iter(models)
    return cross_fit(pairs, blocks, len(models), lambda part, number: next(waiting))[0]


def _most_alike(model: ContrastiveModel, ground: Ground, kept: np.ndarray) -> np.ndarray:
    """Return the place of the kept chip of another block whose image is most like each, (n,)."""
    vectors = model.encode_images(ground.images)
    likeness = vectors @ vectors.T
    likeness[:, ~kept] = -2
    likeness[ground.blocks[:, None] == ground.blocks] = -3
    return likeness.argmax(1)


def write_keep_list(table: pd.DataFrame, described: np.ndarray, path: Path) -> None:
    """Write table ``cleaned``, and beside it the maps (n, h, w) that kept chips are described from."""
    kept = np.flatnonzero(table["verdict"] != DROPPED)
    maps = table.iloc[kept][["chip_id"]].assign(mask=list(described[kept]))
    write_chips(maps, path.with_suffix(".parquet"), "described")
    write_table(table, path, "cleaned")


def _cleaned_table(ground: Ground, seen: Cleaned, writer: object, fold: int) -> pd.DataFrame:
    seeds = [derive_seed("cleaned", fold, chip) for chip in ground.ids]
    return pd.DataFrame(
        {
            "chip_id": ground.ids,
            "verdict": verdicts(seen.round_of),
            "round": seen.round_of,
            "score": seen.scores,
            "caption": writer.write(ground.images, seen.final, seeds),
        }
    )


# --- judges ----------------------------------------------------------------------------------


def pair_sets(ground: Ground, described: np.ndarray, seen: Cleaned, regime: str) -> dict[str, tuple]:
    """Return places and maps described from, by arm.

    Nothing dropped; as many dropped at random as in the end by the score; what the inner loop kept; and
    what both loops kept, some of it described anew.
    """
    kept = np.flatnonzero(verdicts(seen.round_of) != DROPPED)
    order = rng("random drop", regime).permutation(len(described))[: len(kept)]
    return {
        "uncleaned": (np.arange(len(described)), described),
        "random_drop": (np.sort(order), described),
        "inner_loop": (np.flatnonzero(seen.round_of == 0), described),
        "cleaned": (kept, seen.final),
    }


def judge_rows(study, ground: Ground, described, seen: Cleaned, writer, regime: str) -> list[dict]:
    """Return ``claim_precision`` of every arm's captions against the true maps, and what cleaning changed."""
    counts = {}
    for arm, (places, maps) in pair_sets(ground, described, seen, regime).items():
        seeds = [derive_seed("judge", int(place)) for place in places]
        counts[arm] = np.full((len(described), 2), np.nan)
        captions = writer.write(ground.images[places], maps[places], seeds)
        counts[arm][places] = claim_counts(captions, ground.maps[places])
    return precision_rows(study, counts, ground.blocks, regime, "cleaned", ("uncleaned", "random_drop"))


def downstream_rows(
    study, ground: Ground, described, seen: Cleaned, writer, steps: int, seeds: list[int], train, regime: str
) -> list[dict]:
    """Return what other models, trained on every arm's pairs, reach on the test split, and the differences."""
    fitting = Fitting(steps=steps, softness=JUDGE_SOFTNESS)
    sets = pair_sets(ground, described, seen, regime)
    found = {}
    for arm, (places, maps) in ((arm, sets[arm]) for arm in JUDGED):
        pairs = make_pairs(ground.images[places], maps[places], writer, ("judge",), WORDINGS)
        for seed in seeds:
            model = train(pairs, fitting, ("judge", seed), sizes=JUDGE_SIZES)
            found[arm, seed] = count_hits(model, ground.test)
    rows, n = [], len(ground.test.images)
    row = partial(metric_row, study, STAGE, system="contrastive", n=n, seeds=len(seeds))
    for measure, more in JUDGE_MEASURES.items():
        counts = np.stack([[found[arm, seed][measure] for seed in seeds] for arm in JUDGED])
        values = seed_mean(counts, mean_rate)
        draws = bootstrap(counts, mean_rate, RESAMPLES, "cleaning", regime)
        for i, arm in enumerate(JUDGED):
            low, high = interval(draws[i])
            where = f"{regime};split=test{more}"
            rows.append(row(measure, values[i], arm=arm, regime=where, low=low, high=high))
            if arm != "cleaned":
                low, high = interval(draws[-1] - draws[i])
                change, against = values[-1] - values[i], f"cleaned-{arm}"
                rows.append(row(f"delta_{measure}", change, arm=against, regime=where, low=low, high=high))
    return rows
