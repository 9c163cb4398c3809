"""Set against set, by their maps: class shares, sizes of patches, and which classes touch.

A set can agree with its maps chip by chip and still show another country. Three distributions are held
against those of real maps: the shares of the classes, the sizes of their connected patches, and the pairs
of classes that share a border. Jensen and Shannon's distance (base 2: 0 = alike, 1 = nothing in common)
compares the mixtures; Wasserstein's distance compares how shares spread over chips (in shares of a chip)
and how large patches are (in octaves of pixels). Real ground against *other* real ground gives the scale: two
halves of the real blocks, which share no pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.ndimage import label
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from groundsynth.artifacts import metric_row
from groundsynth.captions.facts import MIN_PIXELS
from groundsynth.captions.map_facts import count_maps
from groundsynth.legend import CLASSES, NUM_CLASSES
from groundsynth.seeds import rng

STAGE = "06_ground"
OCTAVES = np.arange(13)  # bins of patch sizes: 1, 2, 4 … 4096 pixels and more
HALVINGS = 20  # random halves of the real blocks that the scale is averaged over
RESAMPLES = 100
EIGHT = np.ones((3, 3), int)  # neighbours by side or corner, as in captions


@dataclass(frozen=True)
class Composition:
    """What n maps are made of.

    Attributes:
        shares: (n, 7) of the labelled pixels.
        patches: (n, 7, 13) connected patches of each class by the octave of their pixels.
        borders: (n, 21) pixel sides shared by each pair of classes.
        units: (n,) what is resampled: blocks of real maps, chips otherwise.
    """

    shares: np.ndarray
    patches: np.ndarray
    borders: np.ndarray
    units: np.ndarray

    def take(self, rows: np.ndarray) -> Composition:
        """Return the composition of the maps at (m,) indices."""
        return Composition(self.shares[rows], self.patches[rows], self.borders[rows], self.units[rows])


def compose(maps: np.ndarray, units: np.ndarray) -> Composition:
    """Count (n, h, w) maps; (n,) units."""
    facts = count_maps(maps)
    rows, cols = np.triu_indices(NUM_CLASSES, 1)
    borders = facts.touching[:, rows, cols]
    return Composition(facts.shares, np.stack([patch_sizes(m) for m in maps]), borders, np.asarray(units))


def patch_sizes(labels: np.ndarray) -> np.ndarray:
    """Return the number of connected patches of a (h, w) map by class and octave of size, (7, 13) int."""
    counts = np.zeros((NUM_CLASSES, len(OCTAVES)), int)
    for k in np.unique(labels[labels < NUM_CLASSES]):
        named, _ = label(labels == k, structure=EIGHT)
        sizes = np.bincount(named.ravel())[1:]
        octave = np.minimum(np.log2(sizes).astype(int), len(OCTAVES) - 1)
        counts[k] += np.bincount(octave, minlength=len(OCTAVES))
    return counts


def _jensen_shannon(first: np.ndarray, second: np.ndarray) -> float:
    if not (first.sum() and second.sum()):
        return np.nan
    return float(jensenshannon(first.ravel() / first.sum(), second.ravel() / second.sum(), base=2))


def shares_js(first: Composition, second: Composition) -> float:
    """Return the Jensen–Shannon distance of the sets' class shares."""
    return _jensen_shannon(first.shares.sum(0), second.shares.sum(0))


def borders_js(first: Composition, second: Composition) -> float:
    """Return the Jensen–Shannon distance of the shares of borders between pairs of classes."""
    return _jensen_shannon(first.borders.sum(0), second.borders.sum(0))


def patches_js(first: Composition, second: Composition) -> float:
    """Return the Jensen–Shannon distance of patches by class and size, each patch counted by its area."""
    area = 2.0**OCTAVES
    return _jensen_shannon(first.patches.sum(0) * area, second.patches.sum(0) * area)


def shares_wasserstein(first: Composition, second: Composition) -> float:
    """Return Wasserstein's distance of a class's share per chip, averaged over classes, in shares."""
    pairs = zip(first.shares.T, second.shares.T, strict=True)
    return float(np.mean([wasserstein_distance(a, b) for a, b in pairs]))


def patches_wasserstein(first: Composition, second: Composition) -> float:
    """Return Wasserstein's distance of patch sizes in octaves, patches of at least six pixels or so alike."""
    kept = 2.0 ** (OCTAVES + 1) > MIN_PIXELS
    a, b = (c.patches.sum((0, 1))[kept] for c in (first, second))
    if not (a.sum() and b.sum()):
        return np.nan
    return float(wasserstein_distance(OCTAVES[kept], OCTAVES[kept], a, b))


#: metric, and which distribution it compares (column ``regime``)
MEASURES: dict[tuple[str, str], Callable[[Composition, Composition], float]] = {
    ("composition_js", "of=class_shares"): shares_js,
    ("composition_js", "of=borders"): borders_js,
    ("composition_js", "of=patches"): patches_js,
    ("composition_wasserstein", "of=class_shares"): shares_wasserstein,
    ("composition_wasserstein", "of=patches"): patches_wasserstein,
}


def composition_rows(study: str, sets: dict[str, Composition], real: Composition) -> list[dict]:
    """Return every distance of every set to real maps as metric rows; system ``real`` gives the scale.

    The range is over resamples of the units of both sides together. Resampling adds distance, for a sample of a set
    lies further from another than the set does, so the range begins no higher than the value.

    Args:
        sets: by system; real: real chips, whose units are blocks.
    """
    rows = []
    for (metric, of), measure in MEASURES.items():
        scale = [measure(*halves) for halves in _halves(real)]
        if scale:
            low, high = np.nanquantile(scale, (0.025, 0.975))
            about = dict(system="real", regime=of, low=low, high=high, n=len(real.shares))
            rows.append(metric_row(study, STAGE, metric, float(np.nanmean(scale)), **about))
        for system, found in sets.items():
            low, high = _interval(measure, found, real, metric, of, system)
            value = measure(found, real)
            low = low if low is None or np.isnan(value) else min(low, value)
            about = dict(system=system, regime=of, low=low, high=high, n=len(found.shares))
            rows.append(metric_row(study, STAGE, metric, value, **about))
    return rows


def _halves(real: Composition) -> list[tuple[Composition, Composition]]:
    """Return random halves of the real chips that share no block; none where there is one block."""
    names = np.unique(real.units)
    if len(names) < 2:
        return []
    halves = []
    for k in range(HALVINGS):
        first = np.isin(real.units, rng("halves", k).permutation(names)[: len(names) // 2])
        halves.append((real.take(np.flatnonzero(first)), real.take(np.flatnonzero(~first))))
    return halves


def _interval(
    measure: Callable, found: Composition, real: Composition, *names: object
) -> tuple[float | None, float | None]:
    generator = rng("composition", *names)
    values = [measure(_resampled(found, generator), _resampled(real, generator)) for _ in range(RESAMPLES)]
    values = np.array(values)[np.isfinite(values)]
    if len(np.unique(found.units)) < 2 or not len(values):
        return None, None
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def _resampled(found: Composition, generator: np.random.Generator) -> Composition:
    names, place = np.unique(found.units, return_inverse=True)
    members = np.split(np.argsort(place, kind="stable"), np.cumsum(np.bincount(place))[:-1])
    drawn = generator.integers(len(names), size=len(names))
    return found.take(np.concatenate([members[k] for k in drawn]))


def border_table(found: Composition) -> pd.DataFrame:
    """Return the share of all borders between each pair of classes, (7, 7), symmetric, summing to 1 above
    the diagonal."""
    table = np.zeros((NUM_CLASSES, NUM_CLASSES))
    rows, cols = np.triu_indices(NUM_CLASSES, 1)
    sides = found.borders.sum(0)
    table[rows, cols] = table[cols, rows] = sides / max(sides.sum(), 1)
    return pd.DataFrame(table, CLASSES, CLASSES)
