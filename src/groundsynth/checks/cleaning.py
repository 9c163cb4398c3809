"""Cleaning image–caption pairs in two loops, after DLDC: one proposes descriptions, one scores and drops.

Here a caption is always written from a map, so a wrong caption is a true one of a wrong map: pairs carry
the map they are *described* from. The inner loop scores each pair by a contrastive model that was trained
on other blocks only. How much is cleaned is set per scene type on validation ground, where captions are
made wrong on purpose: a threshold, so that the share removed follows from the pairs. A pair's scene type is
read off its image, by the labeller: read off its caption, a wrong caption would choose its own threshold. The
outer loop then describes what was dropped anew and has it scored again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans

from groundsynth.artifacts import metric_row
from groundsynth.captions.layout import LARGER_SHARE
from groundsynth.captions.map_facts import count_maps
from groundsynth.checks.agreement import random_partners
from groundsynth.checks.claims import FALSE, TRUE, check_captions
from groundsynth.checks.contrastive import exchange_classes
from groundsynth.checks.resampling import bootstrap_interval
from groundsynth.data.pair_list import DROPPED
from groundsynth.data.turns import turn
from groundsynth.legend import CLASSES
from groundsynth.models.contrastive import ContrastiveModel, Pairs
from groundsynth.models.labeller import split_folds
from groundsynth.seeds import rng

STAGE = "06_ground"
SCENE_TYPES = 4
LEAST_WINDOWS = 10  # of validation a scene type needs for a threshold of its own
KEPT, REWRITTEN = "keep", "rewritten"

#: changes that DLDC reports of a generator trained on cleaned pairs, against none or against uncleaned ones, and
#: which of our measures stand beside each
PUBLISHED = pd.DataFrame(
    [
        ("Fréchet distance", "-35 %", "pretrained model", "frechet_change", -0.35),
        ("Fréchet distance", "-35 %", "pretrained model", "kid_change", -0.35),
        ("CLIP score (the filter's own)", "+25 %", "pretrained model", "image_text_change", 0.25),
        ("RemoteCLIP score", "+10.5 %", "pretrained model", "image_text_change", 0.105),
        (
            "mIoU of a segmenter",
            "+8.14 points",
            "the same model trained on uncleaned data",
            "delta_segmenter_miou",
            0.0814,
        ),
    ],
    columns=["measure", "change", "against", "metric", "value"],
)


# --- wrong captions, planted -----------------------------------------------------------------


def plant_errors(maps: np.ndarray, share: float, *names: object) -> tuple[np.ndarray, np.ndarray]:
    """Return maps to describe chips from, some of them wrong, and which ones are: (n, h, w) and (n,) bool.

    Half of the wrong ones are another chip's map, half the own one with two classes exchanged.

    Args:
        share: of the chips, 0…1, rounded to whole chips.
    """
    order = rng("plant", *names).permutation(len(maps))[: round(share * len(maps))]
    foreign, exchanged = order[::2], order[1::2]
    described = maps.copy()
    described[foreign] = maps[random_partners(len(maps), "plant", *names)[foreign]]
    described[exchanged] = exchange_classes(maps[exchanged], "plant", *names)
    wrong = (described != maps).any((1, 2))  # a partner may have the very same map
    return described, wrong


# --- inner loop: scores ----------------------------------------------------------------------


def score_pairs(models: Sequence[ContrastiveModel], pairs: Pairs) -> np.ndarray:
    """Return how well each image fits its caption: the cosine over models, eight turns and wordings, (n,)."""
    return np.mean([_score(model, pairs) for model in models], 0)


def _score(model: ContrastiveModel, pairs: Pairs) -> np.ndarray:
    total = np.zeros(len(pairs.images))
    turns, wordings = pairs.words.shape[1:3]
    for number in range(turns):
        images = model.encode_images(np.stack([turn(image, number) for image in pairs.images]))
        total += sum((images * model.encode_words(pairs.words[:, number, k])).sum(1) for k in range(wordings))
    return total / (turns * wordings)


def cross_fit(
    pairs: Pairs, blocks: np.ndarray, folds: int, train: Callable[[Pairs, int], ContrastiveModel]
) -> tuple[np.ndarray, list[ContrastiveModel]]:
    """Return each pair's score by the model that saw no pair of its block, and all models.

    Args:
        blocks: (n,) block of each chip; train: (pairs, fold) to a model.

    Raises:
        GroundsynthError: fewer blocks than folds.
    """
    fold_of = split_folds(blocks, folds, "cleaning")
    fold = np.array([fold_of[int(block)] for block in blocks])
    scores, models = np.empty(len(blocks)), []
    for number in range(folds):
        models.append(train(pairs.take(np.flatnonzero(fold != number)), number))
        here = np.flatnonzero(fold == number)
        scores[here] = score_pairs(models[-1:], pairs.take(here))
    return scores, models


# --- how much to clean -----------------------------------------------------------------------


@dataclass(frozen=True)
class Cleaning:
    """Scene types and what a pair of each type must score to be kept.

    Attributes:
        types: clusters of the class shares that a labeller reads off the images.
        thresholds: (types,), the lowest score kept.
        names: the types' commonest classes with their shares, for tables.
    """

    types: KMeans
    thresholds: np.ndarray
    names: tuple[str, ...]

    def type_of(self, readings: np.ndarray) -> np.ndarray:
        """Return the scene type, (n,) int, of images whose maps (n, h, w) a labeller reads."""
        return self.types.predict(count_maps(readings).shares)

    def keeps(self, scores: np.ndarray, readings: np.ndarray) -> np.ndarray:
        """Return which pairs score enough for their type, (n,) bool."""
        return scores >= self.thresholds[self.type_of(readings)]


def choose_cleaning(
    readings: np.ndarray,
    right: tuple[np.ndarray, np.ndarray],
    wrong: tuple[np.ndarray, np.ndarray],
    seed: int,
) -> Cleaning:
    """Return the scene types of the pairs at hand and their thresholds, chosen on validation.

    The threshold of a type is the score that best tells right from wrong captions there: the most right
    ones kept plus wrong ones dropped (Youden's J). A type with few validation windows takes that of all.

    Args:
        readings: (n, h, w) maps that a labeller reads off the images of the pairs to be cleaned.
        right, wrong: (scores, readings) of validation pairs as they are, and made wrong.
    """
    shares = count_maps(readings).shares
    count = min(SCENE_TYPES, len(np.unique(shares, axis=0)))
    types = KMeans(count, n_init=10, random_state=seed).fit(shares)
    kinds = [types.predict(count_maps(maps).shares) for _, maps in (right, wrong)]
    overall, thresholds = best_threshold(right[0], wrong[0]), []
    for k in range(count):
        here = [scores[kind == k] for (scores, _), kind in zip((right, wrong), kinds, strict=True)]
        enough = min(map(len, here)) >= LEAST_WINDOWS
        thresholds.append(best_threshold(*here) if enough else overall)
    return Cleaning(types, np.array(thresholds), _name_types(types.cluster_centers_))


def _name_types(centres: np.ndarray) -> tuple[str, ...]:
    """Return a name for each cluster, numbered where two have the same classes and shares."""
    names = [_name_type(centre) for centre in centres]
    earlier = [names[:k].count(name) for k, name in enumerate(names)]
    return tuple(
        f"{name} ({count + 1})" if count else name for name, count in zip(names, earlier, strict=True)
    )


def _name_type(centre: np.ndarray) -> str:
    """Return the two commonest classes of a cluster with their shares, e.g. ``tree cover 71%, built-up 12%``."""
    first = [k for k in np.argsort(-centre)[:2] if centre[k] >= LARGER_SHARE]
    return ", ".join(f"{CLASSES[k]} {centre[k]:.0%}" for k in first)


def best_threshold(right: np.ndarray, wrong: np.ndarray) -> float:
    """Return the score from which on the most right pairs are kept plus wrong ones dropped; ties: the lowest."""
    values = np.unique(np.concatenate([right, wrong]))
    kept = 1 - np.searchsorted(np.sort(right), values) / len(right)
    dropped = np.searchsorted(np.sort(wrong), values) / len(wrong)
    return float(values[np.argmax(kept + dropped)])


# --- outer loop: other descriptions ----------------------------------------------------------


def propose_again(
    described: np.ndarray,
    kept: np.ndarray,
    proposals: Sequence[np.ndarray],
    rescore: Callable[[np.ndarray], np.ndarray],
    keeps: Callable[[np.ndarray], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Describe what was dropped anew, round by round, until it is kept or no proposal is left.

    Args:
        described: (n, h, w) maps of the first descriptions; kept: (n,) bool after the inner loop.
        proposals: per round, (n, h, w) maps to describe from instead.
        rescore: scores (n,) of all chips described from given maps; keeps: scores to (n,) bool.

    Returns:
        the maps to describe from, and the round in which each pair was kept: 0 as it was, -1 never.
    """
    final, round_of = described.copy(), np.where(kept, 0, -1)
    for number, maps in enumerate(proposals, start=1):
        open_ = round_of < 0
        if not open_.any():
            break
        accepted = open_ & keeps(rescore(maps))
        final[accepted], round_of[accepted] = maps[accepted], number
    return final, round_of


def verdicts(round_of: np.ndarray) -> np.ndarray:
    """Return keep, rewritten or drop for the round each pair was kept in."""
    return np.select([round_of == 0, round_of > 0], [KEPT, REWRITTEN], DROPPED)


# --- judges that were not the filter ---------------------------------------------------------


def claim_counts(captions: Sequence[str], maps: np.ndarray) -> np.ndarray:
    """Return true and checked claims of each caption against a map, (n, 2) int."""
    found = [[v for _, v in claims] for claims in check_captions(list(captions), count_maps(maps))]
    return np.array([(v.count(TRUE), v.count(TRUE) + v.count(FALSE)) for v in found]).reshape(-1, 2)


def cleaning_rows(
    study: str, scores: np.ndarray, wrong: np.ndarray, removed: np.ndarray, types: np.ndarray,
    names: Sequence[str], blocks: np.ndarray, regime: str,
) -> list[dict]:  # fmt: skip
    """Return ``cleaning_auc`` and, for wrong and right captions, ``removed_share``: overall and per scene type.

    Args:
        scores, wrong, removed, types, blocks: (n,) of the pairs; names: of the scene types.
    """
    rows = []
    for k, name in [(-1, ""), *enumerate(names)]:
        here = np.flatnonzero((types == k) | (k < 0))
        rows += _type_rows(study, scores[here], wrong[here], removed[here], blocks[here], regime, name)
    return rows


def _type_rows(study, scores, wrong, removed, blocks, regime, name) -> list[dict]:
    wins = (np.sign(scores[:, None] - scores) + 1) / 2  # ties count half

    def auc(draw: np.ndarray) -> float:
        right_over_wrong = wins[np.ix_(draw[~wrong[draw]], draw[wrong[draw]])]
        return float(right_over_wrong.mean()) if right_over_wrong.size else np.nan

    def share(of: np.ndarray) -> Callable[[np.ndarray], float]:
        return lambda draw: float(removed[draw][of[draw]].mean()) if of[draw].any() else np.nan

    rows, everyone = [], np.arange(len(scores))
    where = f"{regime};scenes={name}" if name else regime
    measures = [("cleaning_auc", "", auc, len(scores)), ("removed_share", "wrong", share(wrong), int(wrong.sum())),
                ("removed_share", "right", share(~wrong), int((~wrong).sum()))]  # fmt: skip
    for metric, arm, statistic, n in measures:
        value = statistic(everyone)
        if np.isfinite(value):
            low, high = bootstrap_interval(statistic, len(scores), metric, arm, where, groups=blocks)
            about = dict(system="contrastive", arm=arm, regime=where, low=low, high=high, n=n)
            rows.append(metric_row(study, STAGE, metric, value, **about))
    return rows


def precision_rows(
    study: str, counts: dict[str, np.ndarray], blocks: np.ndarray, regime: str, cleaned: str, against: Sequence[str]
) -> list[dict]:  # fmt: skip
    """Return ``claim_precision`` of every set's captions against the true maps, and what cleaning changed.

    Sets differ in which chips they hold; all are resampled by the same blocks, so that ``delta_claim_precision`` of
    the cleaned set is paired.

    Args:
        counts: from :func:`claim_counts`, (n, 2) by set, NaN for chips that are not in it; blocks: (n,).
        cleaned: the set that is compared with those of ``against``.
    """

    def precision(arm: str, draw: np.ndarray) -> float:
        true, checked = np.nansum(counts[arm][draw], axis=0)
        return float(true / checked) if checked else np.nan

    def row(metric: str, arm: str, statistic: Callable[[np.ndarray], float], n: int) -> dict:
        low, high = bootstrap_interval(statistic, len(blocks), "cleaned claims", regime, groups=blocks)
        about = dict(system="contrastive", arm=arm, regime=regime, low=low, high=high, n=n)
        return metric_row(study, STAGE, metric, statistic(np.arange(len(blocks))), **about)

    sizes = {arm: int(np.isfinite(found[:, 0]).sum()) for arm, found in counts.items()}
    rows = [row("claim_precision", arm, partial(precision, arm), sizes[arm]) for arm in counts]
    for arm in against:
        change = partial(_less, partial(precision, cleaned), partial(precision, arm))
        rows.append(row("delta_claim_precision", f"{cleaned}-{arm}", change, sizes[cleaned]))
    return rows


def _less(first: Callable, second: Callable, draw: np.ndarray) -> float:
    return first(draw) - second(draw)
