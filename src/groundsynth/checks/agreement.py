"""Does the image show the map? The labeller's reading against the map, and against other chips' maps.

Agreement is chance-corrected (Cohen's kappa over labelled pixels), because a labeller that always
says 'forest' agrees with most maps of a forest county. The controls answer what a plain number
cannot: a chip's own map should score higher than another chip's (`swapped_map`), even than one with
nearly the same class shares (`matched_swap`); its own caption higher than another's (`shuffled_caption`).
"""

from __future__ import annotations

import numpy as np
from sklearn.metrics import cohen_kappa_score, roc_auc_score
from sklearn.neighbors import NearestNeighbors

from groundsynth.captions.map_facts import count_maps
from groundsynth.checks.claims import FALSE, TRUE, check_captions
from groundsynth.checks.resampling import bootstrap_interval
from groundsynth.legend import NO_LABEL, NUM_CLASSES
from groundsynth.seeds import rng


def map_kappa(reading: np.ndarray, labels: np.ndarray) -> float:
    """Return Cohen's kappa of two (h, w) maps over the pixels both label, in [-1, 1].

    Where kappa is 0/0 (both maps hold the same single class) it is 1; NaN where no pixel is labelled.
    """
    both = (reading != NO_LABEL) & (labels != NO_LABEL)
    first, second = reading[both], labels[both]
    if not first.size:
        return np.nan
    if first.min() == first.max() == second.min() == second.max():
        return 1.0
    return float(cohen_kappa_score(first, second, labels=range(NUM_CLASSES)))


def map_kappas(readings: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Return (n,) kappas of (n, h, w) maps, pair by pair: :func:`map_kappa` counted in bulk."""
    k = NUM_CLASSES
    kappas = np.full(len(maps), np.nan)
    for i, (reading, labels) in enumerate(zip(readings, maps, strict=True)):
        both = (reading != NO_LABEL) & (labels != NO_LABEL)
        if not both.any():
            continue
        pairs = np.bincount(reading[both].astype(np.int64) * k + labels[both], minlength=k * k).reshape(k, k)
        shares = pairs / pairs.sum()
        chance = shares.sum(0) @ shares.sum(1)
        kappas[i] = 1.0 if chance == 1 else (np.trace(shares) - chance) / (1 - chance)
    return kappas


def random_partners(n: int, *names: object) -> np.ndarray:
    """Return (n,) partner indices along one random ring: nobody is their own partner if n > 1."""
    ring = rng("partners", *names).permutation(n)
    partners = np.empty(n, int)
    partners[ring] = np.roll(ring, 1)
    return partners


def matched_partners(maps: np.ndarray) -> np.ndarray:
    """Return (n,) the index of the other chip with the nearest class shares and another map.

    A chip whose map nobody else differs from (all maps are equal) is given itself.
    """
    shares = count_maps(maps).shares
    _, first, same = np.unique(maps.reshape(len(maps), -1), axis=0, return_index=True, return_inverse=True)
    same = same.reshape(-1)
    if len(first) == 1:
        return np.arange(len(maps))
    # among maps that differ, the second neighbour of a map is its nearest other one
    near = NearestNeighbors(n_neighbors=2, metric="manhattan").fit(shares[first])
    found = near.kneighbors(shares[first], return_distance=False)
    own = np.arange(len(first))
    other = np.where(found[:, 0] == own, found[:, 1], found[:, 0])
    return first[other[same]]


def caption_precisions(captions: list[str], maps: np.ndarray) -> np.ndarray:
    """Return (n,) true claims over checked ones of each caption against the (h, w) map at its place.

    NaN where nothing is checkable.
    """
    verdicts = [[v for _, v in found] for found in check_captions(captions, count_maps(maps))]
    checked = [found.count(TRUE) + found.count(FALSE) for found in verdicts]
    return np.array([v.count(TRUE) / n if n else np.nan for v, n in zip(verdicts, checked, strict=True)])


def paired_auc(
    own: np.ndarray, other: np.ndarray, *names: object, units: np.ndarray | None = None
) -> tuple[float, float | None, float | None, int]:
    """Return how well a score tells chips' own partners from foreign ones: AUC, low, high, n.

    AUC 0.5 is chance, 1 is perfect. Both scores of a chip are resampled together.

    Args:
        own, other: (n,) scores, higher = fits better; pairs with a NaN are left out.
        units: (n,) what is resampled as a whole, such as blocks; by default every chip.
    """
    good = np.isfinite(own) & np.isfinite(other)
    own, other = own[good], other[good]
    if not own.size:
        return np.nan, None, None, 0

    wins = _wins(own, other)

    def resampled(draw: np.ndarray) -> float:
        times = np.bincount(draw, minlength=len(own))
        return float(times @ wins @ times / len(draw) ** 2)

    shared = None if units is None else np.asarray(units)[good]
    low, high = bootstrap_interval(resampled, len(own), "auc", *names, groups=shared)
    return _auc(own, other), low, high, len(own)


def two_sample_auc(
    high_group: np.ndarray, low_group: np.ndarray, *names: object
) -> tuple[float, float | None, float | None, int]:
    """Return AUC, low, high, n for two independent groups; ``high_group`` should score higher."""
    first, second = high_group[np.isfinite(high_group)], low_group[np.isfinite(low_group)]
    if not (first.size and second.size):
        return np.nan, None, None, 0

    wins, generator = _wins(first, second), rng("two_sample", *names)

    def resampled(draw: np.ndarray) -> float:
        times = np.bincount(draw, minlength=len(first))
        others = np.bincount(generator.integers(len(second), size=len(second)), minlength=len(second))
        return float(times @ wins @ others / (len(first) * len(second)))

    low, high = bootstrap_interval(resampled, len(first), "auc", *names)
    return _auc(first, second), low, high, len(first) + len(second)


def _auc(higher: np.ndarray, lower: np.ndarray) -> float:
    truth = np.repeat([1, 0], [len(higher), len(lower)])
    return float(roc_auc_score(truth, np.concatenate([higher, lower])))


def _wins(higher: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Return (n, m): 1 where a value of ``higher`` exceeds one of ``lower``, 0.5 on ties; its mean is the AUC."""
    return (np.sign(higher[:, None] - lower[None]) + 1) / 2
