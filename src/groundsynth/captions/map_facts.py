"""What many maps say at once: counts per class and place, contacts and patches, counted in bulk."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy import ndimage

from groundsynth.captions.facts import MIN_CONCENTRATION, MIN_PIXELS, PLACES, place_masks
from groundsynth.legend import NO_LABEL, NUM_CLASSES

CHUNK = 256  # maps counted together; bounds the memory
_EIGHT = np.ones((3, 3), int)  # neighbours by side or corner


@dataclass(frozen=True)
class MapFacts:
    """Counts of n maps; pixels without a label count nowhere.

    Attributes:
        maps: (n, h, w) uint8 class codes or 255.
        places: (n, 11, 7) pixels of each class in each of ``facts.PLACES``.
        pixels: (n, 7) pixels of each class.
        touching: (n, 7, 7) pixel sides shared by two classes, symmetric, diagonal zero.
    """

    maps: np.ndarray
    places: np.ndarray
    pixels: np.ndarray
    touching: np.ndarray

    @cached_property
    def shares(self) -> np.ndarray:
        """(n, 7) share of the labelled pixels, 0…1; all zero where nothing is labelled."""
        return self.pixels / np.maximum(self.pixels.sum(1, keepdims=True), 1)

    @cached_property
    def known(self) -> np.ndarray:
        """(n,) bool: maps with at least one labelled pixel."""
        return self.pixels.any(1)

    @cached_property
    def area(self) -> np.ndarray:
        """(n, 11) share of the labelled ground in each place."""
        return self.places.sum(2) / np.maximum(self.pixels.sum(1), 1)[:, None]

    @cached_property
    def _patches(self) -> dict[tuple[int, tuple[int, ...]], int]:
        return {}

    def concentration(self, i: int, classes: list[int]) -> np.ndarray:
        """Return (11,) how much the classes together keep to each place of map ``i`` (see ``facts``)."""
        found, total = self.places[i][:, classes].sum(1), self.pixels[i, classes].sum()
        area = self.area[i]
        usable = (area > 0) & (area < 1)
        if not total:
            return np.zeros(len(area))
        return np.where(usable, (found / total - area) / np.where(usable, 1 - area, 1), 0.0)

    def lies_in(self, i: int, classes: list[int], place: str) -> bool:
        """Return whether the classes together are concentrated in ``place`` (or in none, for ``throughout``)."""
        values = self.concentration(i, classes)
        if place not in PLACES:
            return bool((values[: len(PLACES) - 2] < MIN_CONCENTRATION).all())
        return bool(values[PLACES.index(place)] >= MIN_CONCENTRATION)

    def patches(self, i: int, classes: list[int]) -> int:
        """Return the number of connected groups of at least ``MIN_PIXELS`` pixels, corners joining."""
        key = (i, tuple(classes))
        if key not in self._patches:
            named, _ = ndimage.label(np.isin(self.maps[i], classes), structure=_EIGHT)
            self._patches[key] = int((np.bincount(named.ravel())[1:] >= MIN_PIXELS).sum())
        return self._patches[key]


def count_maps(maps: np.ndarray) -> MapFacts:
    """Count (n, h, w) maps in bulk."""
    maps = np.asarray(maps)
    parts = [_count(maps[start : start + CHUNK]) for start in range(0, len(maps), CHUNK)]
    empty = _count(maps[:0])
    places, pixels, touching = (np.concatenate([p[i] for p in parts] or [empty[i]]) for i in range(3))
    return MapFacts(maps, places, pixels, touching)


@lru_cache
def _regions(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (h, w) the region each pixel is in, and (11, r) which regions make up each place."""
    masks = place_masks(height, width).reshape(len(PLACES), -1)
    patterns, region = np.unique(masks, axis=1, return_inverse=True)
    return region.reshape(height, width), patterns.astype(np.int64)


def _codes(maps: np.ndarray) -> np.ndarray:
    return np.where(maps == NO_LABEL, NUM_CLASSES, maps).astype(np.int32)


def _count(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n, k = len(maps), NUM_CLASSES + 1
    region, members = _regions(*maps.shape[1:])
    codes, index = _codes(maps), np.arange(n, dtype=np.int32)[:, None, None]
    r = members.shape[1]
    cells = np.bincount((codes + k * (region + r * index)).ravel(), minlength=n * r * k).reshape(n, r, k)
    cells = cells[:, :, :NUM_CLASSES]
    pairs = np.zeros(n * k * k, np.int64)
    for first, second in ((codes[:, 1:], codes[:, :-1]), (codes[:, :, 1:], codes[:, :, :-1])):
        pairs += np.bincount((second + k * (first + k * index)).ravel(), minlength=n * k * k)
    pairs = pairs.reshape(n, k, k)[:, :NUM_CLASSES, :NUM_CLASSES]
    touching = pairs + pairs.transpose(0, 2, 1)
    touching[:, range(NUM_CLASSES), range(NUM_CLASSES)] = 0
    return np.einsum("pr,nrc->npc", members, cells), cells.sum(1), touching
