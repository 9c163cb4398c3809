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

from groundsynth.artifacts import metric_row
from groundsynth.checks.agreement import map_kappas
from groundsynth.checks.cleaning import STAGE, claim_counts
from groundsynth.checks.distribution import frechet_distance, kernel_distances
from groundsynth.checks.prompt_control import all_shares, judged_classes, share_skill
from groundsynth.checks.resampling import LEVELS, bootstrap_interval

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

    Intervals are over blocks of the captions' ground, paired; those of the kernel distance over random halves, the
    same for every set. ``kid_change``, ``frechet_change`` and ``image_text_change`` are relative, as published.

    Args:
        drawn: by arm; ``cleaned`` and ``AGAINST`` among them. subsets, seed: of the kernel distance.
    """
    seeds = len(drawn[CLEANED].maps) // len(asked.captions)
    row = partial(metric_row, study, STAGE, system="text", n=len(asked.captions), seeds=seeds)
    groups = np.tile(asked.blocks, seeds)
    rows: list[dict] = []
    scores = {arm: score_functions(asked, found) for arm, found in drawn.items()}
    for name in (score for score in SCORES if score in scores[CLEANED]):
        own = {arm: functions[name] for arm, functions in scores.items()}
        for arm, score in own.items():
            rows.append(row(name, arm=arm, regime=regime, **_over_blocks(score, groups, name)))
        for arm in AGAINST:
            change = partial(_difference, own[CLEANED], own[arm])
            about = dict(arm=f"{CLEANED}-{arm}", regime=regime)
            rows.append(row(f"delta_{name}", **about, **_over_blocks(change, groups, name)))
            if name == "image_text_score":
                change = _over_blocks(partial(_ratio, own[CLEANED], own[arm]), groups, name)
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


def _over_blocks(score: Callable[[np.ndarray], float], groups: np.ndarray, name: str) -> dict:
    """Return a score with its interval; the same name draws the same blocks."""
    low, high = bootstrap_interval(score, len(groups), "cleaned training", name, groups=groups)
    return {"value": score(np.arange(len(groups))), "low": low, "high": high}


def distance_rows(
    row: Callable[..., dict], asked: Asked, drawn: dict[str, Drawn], regime: str, subsets: int, seed: int
) -> list[dict]:
    """Return ``kid`` and ``frechet_distance`` of every arm to real windows, and what cleaning changed.

    The Fréchet distance is of whole sets and has no interval.
    """
    n = min(len(asked.real), len(asked.captions))
    where = {"regime": f"{regime};features=labeller", "n": n}
    halves, frechet, rows = {}, {}, []
    for arm, found in drawn.items():
        sets = [part[:n] for part in found.features.reshape(-1, len(asked.captions), asked.real.shape[1])]
        halves[arm] = np.mean([kernel_distances(x, asked.real[:n], subsets, seed) for x in sets], 0)
        frechet[arm] = float(np.mean([frechet_distance(x, asked.real[:n], asked.train)[0] for x in sets]))
        rows.append(row("kid", arm=arm, **_over_halves(halves[arm]), **where))
        rows.append(row("frechet_distance", frechet[arm], arm=arm, **where))
    for arm in AGAINST:
        about = where | {"arm": f"{CLEANED}-{arm}"}
        rows.append(row("delta_kid", **_over_halves(halves[CLEANED] - halves[arm]), **about))
        if halves[arm].mean() > 0:
            rows.append(row("kid_change", halves[CLEANED].mean() / halves[arm].mean() - 1, **about))
        rows.append(row("frechet_change", frechet[CLEANED] / frechet[arm] - 1, **about))
    return rows


def _over_halves(values: np.ndarray) -> dict:
    low, high = np.quantile(values, LEVELS)
    return {"value": float(values.mean()), "low": float(low), "high": float(high)}
