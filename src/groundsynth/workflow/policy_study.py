"""The command ``compare-policies``: is one generator for everything as good as one for each, and what did it cost?"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from groundsynth.artifacts import metric_row, read_chips, write_metrics
from groundsynth.benchmark.intervals import bootstrap, interval
from groundsynth.benchmark.metrics import count_chips, mean_iou
from groundsynth.benchmark.segmentation import read_primary
from groundsynth.captions.turned import describe_turned
from groundsynth.checks.distribution import kernel_distance, standardise
from groundsynth.checks.scattering import scattering_features
from groundsynth.checks.territory import held_out_windows, read_territory
from groundsynth.checks.training_cost import step_seconds
from groundsynth.config import Study, require_same_chips, require_same_drawing
from groundsynth.data.synthetic import read_asked, read_synthetic
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL
from groundsynth.models.conditions import TokenTable
from groundsynth.models.device import pick_device
from groundsynth.models.generators import settings_of
from groundsynth.models.segmenter import load_segmenter, predict
from groundsynth.models.sentence_tokens import token_states
from groundsynth.paths import results_dir, stage_dir
from groundsynth.report.claims import Evidence, mover
from groundsynth.report.policy_figures import plot_policies, policies_caption
from groundsynth.report.style import save_figure

STAGE = "02_train_generator"
MARGIN = 0.02  # of mIoU by which obedience may fall short and still count as not inferior
RESAMPLES = 2000


def compare_policies(unified: Study, single: Study, fold: int, folder: Path) -> pd.DataFrame:
    """Compare a unified generator with generators of one policy each; write ``metrics.csv`` and a figure.

    Rows per system, unified minus single: ``training_cost_ratio`` (a quotient: of steps taken side by side, times the
    steps of each training), ``delta_obedience`` (mIoU over
    the primary classes of one labeller, the unified study's, on images against their maps; interval over
    images), ``kid`` of both and of real training chips (the floor), ``delta_kid``, and ``not_inferior`` (1 or 0) for
    each: the interval of the difference lies above -2 points of obedience, and below the floor of distance.

    Of system ``text``, as many samples of each kind of request count for both.

    Raises:
        GroundsynthError: studies without a system in common, of other chips, or whose samples are drawn otherwise.
    """
    systems = [s for s in single.generate.systems if s in single.generator.policies]
    systems = [s for s in systems if s in unified.generate.systems]
    if "unified" not in unified.generator.policies or not systems:
        raise GroundsynthError(
            f"'{unified.study}' trains {', '.join(unified.generator.policies)} and '{single.study}' "
            f"{', '.join(single.generator.policies)}; name a study with policy unified, then one with single ones"
        )
    require_same_chips(unified, single)
    require_same_drawing(unified, single)
    if fold not in unified.folds:
        raise GroundsynthError(f"fold {fold} was not run; the studies have {unified.folds}")
    prepared = stage_dir(unified.study, "01_prepare_data", fold)
    labeller = load_segmenter(
        stage_dir(unified.study, "04_label", fold) / "labeller", pick_device(unified.device)
    )
    primary = read_primary(unified.study, fold)
    chips = read_chips(prepared / "chips.parquet", "real", lambda c: c["split"] == "train")
    train = np.stack(chips["image"])
    cost = _cost(unified, single, systems, chips)
    n, size, seed = unified.ground.held_out_chips, train.shape[1], unified.ground.seed
    territory = read_territory(prepared, unified.generator.unlabelled or single.generator.unlabelled)
    known = scattering_features(train)
    held_out = territory.cut(held_out_windows(territory, size, n, seed), size)
    (reference,) = standardise(known, scattering_features(held_out))
    rows = []

    def distance(images: np.ndarray) -> dict:
        (features,) = standardise(known, scattering_features(images))
        count = min(len(features), len(reference))
        kid, low, high = kernel_distance(
            features[:count], reference[:count], unified.ground.kid_subsets, seed
        )
        return {"value": kid, "low": low, "high": high, "n": count}

    add = partial(metric_row, unified.study, STAGE)
    some = np.random.default_rng(seed).permutation(len(train))[:n]
    floor = distance(train[some])
    rows.append(add("kid", system="real", regime="features=scattering", **floor))
    for system in systems:
        both = {
            name: _drawn(study, fold, generator, system)
            for name, study, generator in (
                ("unified", unified, f"unified-s{unified.generator.seeds[0]}"),
                (system, single, f"{system}-s{single.generator.seeds[0]}"),
            )
        }
        both = dict(zip(both, same_requests(*both.values()), strict=True))
        rows.append(add("training_cost_ratio", cost["unified"] / cost[system], system=system, seeds=1))
        images = {name: np.stack(chips["image"]) for name, chips in both.items()}
        kid = {name: distance(x) for name, x in images.items()}
        rows += [add("kid", system=system, regime=f"policy={name}", **found) for name, found in kid.items()]
        change = distance_change(kid["unified"], kid[system])
        rows.append(add("delta_kid", system=system, n=kid["unified"]["n"], seeds=1, **change))
        near = change["high"] is not None and change["high"] <= max(floor["value"], 0)
        rows.append(add("not_inferior", float(near), system=system, regime="measure=kid"))
        maps = {name: np.stack(chips["mask"]) for name, chips in both.items()}
        if all((x != NO_LABEL).any() for x in maps.values()):
            counts = [count_chips(predict(labeller, images[name])[0], maps[name]) for name in both]
            delta = obedience_difference(*counts, primary)
            rows.append(add("delta_obedience", system=system, n=len(counts[0]), seeds=1, **delta))
            enough = delta["low"] is not None and delta["low"] > -MARGIN
            rows.append(add("not_inferior", float(enough), system=system, regime="measure=obedience"))
    metrics = write_metrics(rows, folder / "metrics.csv")
    caption = policies_caption(metrics, MARGIN, single.study)
    save_figure(plot_policies(metrics, MARGIN), folder / "policies.png", caption)
    return metrics


def _drawn(study: Study, fold: int, generator: str, system: str) -> pd.DataFrame:
    """Return the chips of a system, with the kind of request each was drawn for (column ``kind``; '' for none)."""
    place = (study.study, fold, [generator], [system], study.generate.shards)
    chips = read_synthetic(*place)
    asked = read_asked(*place).set_index("chip_id")["kind"]
    return chips.assign(kind=chips["chip_id"].map(asked).fillna(""))


def same_requests(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return two sets with as many chips of each ``kind`` of request, the first ones of each; other kinds are left out.

    Raises:
        GroundsynthError: sets that were asked for nothing alike.
    """
    counts = [chips["kind"].value_counts() for chips in (first, second)]
    fewest = pd.concat(counts, axis=1).min(axis=1, skipna=False).dropna()
    if fewest.empty:
        one, other = (", ".join(chips["kind"].unique()) for chips in (first, second))
        raise GroundsynthError(
            f"one set was asked for {one}, the other for {other}; generate.asks of both studies must share a kind"
        )
    kept = [
        chips[chips.groupby("kind").cumcount() < chips["kind"].map(fewest).fillna(0)]
        for chips in (first, second)
    ]
    return kept[0].reset_index(drop=True), kept[1].reset_index(drop=True)


def distance_change(first: dict, second: dict) -> dict:
    """Return the difference of two kernel distances, its interval made of theirs (Zou and Donner 2008).

    >>> {k: round(v, 2) for k, v in distance_change({"value": 2, "low": 1, "high": 4}, {"value": 1, "low": 1, "high": 1}).items()}
    {'value': 1, 'low': 0.0, 'high': 3.0}
    """
    found = mover(*(Evidence(one["value"], one["low"], one["high"]) for one in (first, second)))
    return {"value": found.value, "low": found.low, "high": found.high}


def obedience_difference(first: np.ndarray, second: np.ndarray, primary: tuple[int, ...]) -> dict:
    """Return the difference of mIoU of two sets of images, with its 95 % interval over images.

    Args:
        first, second: (n, 7, 3) counts of label against given map, per image.
    """
    score = partial(mean_iou, classes=primary)
    value = float(score(first.sum(0)) - score(second.sum(0)))
    draws = [
        bootstrap(counts[None, None], score, RESAMPLES, "policies", k)[0]
        for k, counts in enumerate((first, second))
    ]
    low, high = interval(draws[0] - draws[1])
    return {"value": value, "low": low, "high": high}


def _cost(unified: Study, single: Study, systems: list[str], chips: pd.DataFrame) -> dict[str, float]:
    """Return the seconds of whole trainings of both studies, from steps that are taken side by side."""
    device = pick_device(unified.device)
    trainings = {"unified": settings_of(unified.generator, "unified", 0, device)}
    trainings |= {name: settings_of(single.generator, name, 0, device) for name in systems}
    maps, captions = np.stack(chips["mask"]), None
    if trainings["unified"].conditions in ("text", "both"):
        texts = describe_turned(chips["chip_id"].tolist(), maps)
        kept = results_dir(unified.study) / "checkpoints" / "sentences"
        captions = TokenTable(*token_states(texts.texts, cache=kept), texts.index)
    seconds = step_seconds(list(trainings.values()), np.stack(chips["image"]), maps, device, captions)
    pairs = zip(trainings.items(), seconds, strict=True)
    return {name: float(each * settings.steps) for (name, settings), each in pairs}
