"""Is a generator better for learning from cleaned pairs? Judged by what was not the filter.

Generators that learned from different sets of pairs are asked for the same captions of held-out ground with the
same seeds. What they draw is held against what was asked: class shares and claims on the drawn map, the labeller's
reading of the image against that map, the distance of all images to real ones, and how well an image–text model of
other ground, sizes and seeds finds image and caption to fit. DLDC (JSTARS 2025) reports such changes by scores of
which one is the filter's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from groundsynth.artifacts import metric_row
from groundsynth.checks.agreement import map_kappas
from groundsynth.checks.cleaning import PUBLISHED, STAGE, claim_counts
from groundsynth.checks.distribution import frechet_distance, frechet_distances, kernel_distances
from groundsynth.checks.prompt_control import all_shares, judged_classes, share_skill
from groundsynth.checks.resampling import LEVELS, RESAMPLES
from groundsynth.seeds import rng

CLEANED = "cleaned"
AGAINST = ("uncleaned", "random_drop")
SCORES = ("share_skill", "claim_precision", "map_kappa", "image_text_score")


@dataclass(frozen=True)
class Asked:
    """What n samples were asked for, and the real ground they are held against.

    Attributes:
        captions: n texts; maps: (n, h, w) they are written from; blocks: (n,) of ground, resampled whole.
        usual: (7,) mean class shares of the training chips, what the constant predictor names.
        real: (m, d) features of the real windows; train: (k, d) of the training chips.
    """

    captions: list[str]
    maps: np.ndarray
    blocks: np.ndarray
    usual: np.ndarray
    real: np.ndarray
    train: np.ndarray


@dataclass(frozen=True)
class Drawn:
    """What generators of one set of pairs drew for the captions, the seeds of training one after the other.

    Attributes:
        maps: (s·n, h, w) drawn; readings: (s·n, h, w) the labeller's, of the drawn images.
        features: (s·n, d) of the drawn images; fits: (s·n,) of image and caption; None where nobody can tell.
    """

    maps: np.ndarray
    readings: np.ndarray
    features: np.ndarray
    fits: np.ndarray | None


def generator_rows(
    study: str, asked: Asked, drawn: dict[str, Drawn], regime: str, subsets: int, seed: int
) -> list[dict]:
    """Return every score of every set of pairs, and what cleaning changed (``delta_…``), as metric rows.

    Intervals are over blocks of the captions' ground and seeds of training, paired; those of distances over random
    halves, the same for every set, and seeds. ``kid_change``, ``frechet_change`` and ``image_text_change`` are
    relative, as published.

    Args:
        drawn: by arm; ``cleaned`` and ``AGAINST`` among them. subsets, seed: of the kernel distance.
    """
    seeds = len(drawn[CLEANED].maps) // len(asked.captions)
    row = partial(metric_row, study, STAGE, system="text", n=len(asked.captions), seeds=seeds)
    over = partial(over_blocks, asked.blocks, seeds)
    rows: list[dict] = []
    scores = {arm: score_functions(asked, found) for arm, found in drawn.items()}
    for name in (score for score in SCORES if score in scores[CLEANED]):
        own = {arm: functions[name] for arm, functions in scores.items()}
        for arm, score in own.items():
            rows.append(row(name, arm=arm, regime=regime, **over(score, name)))
        for arm in AGAINST:
            change = partial(_difference, own[CLEANED], own[arm])
            about = dict(arm=f"{CLEANED}-{arm}", regime=regime)
            rows.append(row(f"delta_{name}", **about, **over(change, name)))
            if name == "image_text_score":
                change = over(partial(_ratio, own[CLEANED], own[arm]), name)
                rows += [row("image_text_change", **about, **change)] if np.isfinite(change["value"]) else []
    return rows + distance_rows(row, asked, drawn, regime, subsets, seed)


def score_functions(asked: Asked, drawn: Drawn) -> dict[str, Callable[[np.ndarray], float]]:
    """Return the scores of samples, each a function of the indices (k,) it is taken over."""
    seeds = len(drawn.maps) // len(asked.captions)
    wanted, found = all_shares(np.tile(asked.maps, (seeds, 1, 1))), all_shares(drawn.maps)
    judged, kappas = judged_classes(asked.usual), map_kappas(drawn.readings, drawn.maps)
    claims = claim_counts(asked.captions * seeds, drawn.maps)

    def precision(at: np.ndarray) -> float:
        true, checked = claims[at].sum(0)
        return float(true / checked) if checked else np.nan

    def kappa(at: np.ndarray) -> float:
        some = kappas[at][np.isfinite(kappas[at])]
        return float(some.mean()) if len(some) else np.nan

    scores = {
        "share_skill": lambda at: float(share_skill(wanted[at], found[at], asked.usual)[judged].mean()),
        "claim_precision": precision,
        "map_kappa": kappa,
    }
    if drawn.fits is not None:
        scores["image_text_score"] = lambda at: float(drawn.fits[at].mean())
    return scores


def _difference(first: Callable, second: Callable, at: np.ndarray) -> float:
    return first(at) - second(at)


def _ratio(first: Callable, second: Callable, at: np.ndarray) -> float:
    """Return the relative change from ``second`` to ``first``; NaN where that one is not above 0."""
    below = second(at)
    return first(at) / below - 1 if below > 0 else np.nan


def over_blocks(blocks: np.ndarray, seeds: int, score: Callable[[np.ndarray], float], name: str) -> dict:
    """Return a score with its 95 % interval over blocks and, of several, seeds of training.

    The same name draws the same blocks and seeds. No interval with a single block, or where no draw has a score.

    Args:
        blocks: (n,) of the captions; score: of indices into the s·n samples, the seeds one after the other.
    """
    n, members = len(blocks), [np.flatnonzero(blocks == block) for block in np.unique(blocks)]
    value, random = score(np.arange(seeds * n)), rng("cleaned training", name)
    if len(members) < 2:
        return {"value": value, "low": None, "high": None}
    values = []
    for _ in range(RESAMPLES):
        at = np.concatenate([members[k] for k in random.integers(len(members), size=len(members))])
        values.append(score(np.concatenate([s * n + at for s in random.integers(seeds, size=seeds)])))
    found = np.array(values)[np.isfinite(values)]
    low, high = map(float, np.quantile(found, LEVELS)) if found.size else (None, None)
    return {"value": value, "low": low, "high": high}


def distance_rows(
    row: Callable[..., dict], asked: Asked, drawn: dict[str, Drawn], regime: str, subsets: int, seed: int
) -> list[dict]:
    """Return ``kid`` and ``frechet_distance`` of every arm to real windows, and what cleaning changed.

    The Fréchet distance is of whole sets and has no interval; its change is that of random halves.
    """
    n = min(len(asked.real), len(asked.captions))
    where = {"regime": f"{regime};features=labeller", "n": n}
    kid, frechet, rows = {}, {}, []
    for arm, found in drawn.items():
        sets = [part[:n] for part in found.features.reshape(-1, len(asked.captions), asked.real.shape[1])]
        parts = [kernel_distances(x, asked.real[:n], subsets, seed) for x in sets]
        kid[arm] = np.stack(parts, 1)  # (subsets, seeds)
        parts = [frechet_distances(x, asked.real[:n], asked.train, subsets, seed) for x in sets]
        frechet[arm] = np.stack(parts, 1)
        whole = np.mean([frechet_distance(x, asked.real[:n], asked.train)[0] for x in sets])
        rows.append(row("kid", arm=arm, **_over_halves(kid[arm]), **where))
        rows.append(row("frechet_distance", float(whole), arm=arm, **where))
    for arm in AGAINST:
        about = where | {"arm": f"{CLEANED}-{arm}"}
        rows.append(row("delta_kid", **_over_halves(kid[CLEANED] - kid[arm]), **about))
        for name, halves in (("kid_change", kid), ("frechet_change", frechet)):
            change = _over_halves(halves[CLEANED], halves[arm])
            rows += [row(name, **change, **about)] if np.isfinite(change["value"]) else []
    return rows


def _over_halves(values: np.ndarray, below: np.ndarray | None = None) -> dict:
    """Return the mean of (subsets, seeds) values with its interval over halves and seeds.

    Args:
        below: with it, the relative change from its mean; NaN where that is not above 0, and no interval where some
            draw of it is not.
    """
    subsets, seeds = values.shape
    picked = rng("cleaned training", "halves").integers(seeds, size=(subsets, seeds))
    value, draws = values.mean(), np.take_along_axis(values, picked, 1).mean(1)
    if below is not None:
        base = np.take_along_axis(below, picked, 1).mean(1)
        value = value / below.mean() - 1 if below.mean() > 0 else np.nan
        if (base <= 0).any():
            return {"value": float(value), "low": None, "high": None}
        draws = draws / base - 1
    low, high = np.quantile(draws, LEVELS)
    return {"value": float(value), "low": float(low), "high": float(high)}


def comparators(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the published changes as rows beside ours (table 'comparators'), once per set cleaning is held against.

    ``shown`` is *better* or *worse* where the whole interval lies on one side of 0, better being the published
    side; one measure of ours may stand beside several published ones.

    Args:
        metrics: of ``compare-cleaned``.
    """
    rows = []
    for known in PUBLISHED.itertuples():
        for arm in AGAINST:
            same = (metrics["metric"] == known.metric) & (metrics["arm"] == f"{CLEANED}-{arm}")
            ours = metrics[same].iloc[0] if same.any() else None
            rows.append(
                {"measure": known.measure, "published": known.change, "published_against": known.against,
                 "metric": known.metric, "against": arm,
                 **({} if ours is None else {name: ours[name] for name in ("value", "low", "high")}),
                 "shown": change_words(ours, np.sign(known.value))}
            )  # fmt: skip
    names = [
        "measure",
        "published",
        "published_against",
        "metric",
        "against",
        "value",
        "low",
        "high",
        "shown",
    ]
    table = pd.DataFrame(rows, columns=names)
    return table.astype({"value": float, "low": float, "high": float})


def change_words(row: pd.Series | None, better: float = 1) -> str:
    """Return what the interval of a change says.

    Args:
        row: with low and high; better: 1 where higher is better, -1 where lower is.
    """
    if row is None:
        return "not measured"
    if pd.isna(row["low"]):
        return "no interval"
    if (better * row[["low", "high"]] > 0).all():
        return "better"
    return "worse" if (better * row[["low", "high"]] < 0).all() else "no difference shown"
