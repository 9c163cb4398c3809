"""Random land-cover maps of five kinds: noise, squares, smooth regions, stripes and discs."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

SIDES = (16, 24, 32, 48)


def random_map(rng: np.random.Generator) -> np.ndarray:
    """Return one (n, n) uint8 map of one to seven classes; every fifth lacks the labels of a third of it."""
    side, count = int(rng.choice(SIDES)), int(rng.integers(1, 8))
    kinds = (_noise, _squares, _regions, _stripes, _discs)
    cells = kinds[rng.integers(len(kinds))](rng, side, count)
    labels = rng.permutation(7)[cells].astype(np.uint8)
    if rng.random() < 0.2:
        labels[rng.random(labels.shape) < 0.3] = 255
    return labels


def _noise(rng: np.random.Generator, side: int, count: int) -> np.ndarray:
    return rng.integers(count, size=(side, side))


def _squares(rng: np.random.Generator, side: int, count: int) -> np.ndarray:
    return np.kron(rng.integers(count, size=(side // 8, side // 8)), np.ones((8, 8), int))


def _regions(rng: np.random.Generator, side: int, count: int) -> np.ndarray:
    fields = [ndimage.gaussian_filter(rng.normal(size=(side, side)), 3) for _ in range(count)]
    return np.argmax([field * rng.uniform(0.5, 2) for field in fields], 0)


def _stripes(rng: np.random.Generator, side: int, count: int) -> np.ndarray:
    cells = np.zeros((side, side), int)
    for k in range(1, count):
        start, width = rng.integers(side), rng.integers(1, 5)
        if rng.random() < 0.5:
            cells[start : start + width] = k
        else:
            cells[:, start : start + width] = k
    return cells


def _discs(rng: np.random.Generator, side: int, count: int) -> np.ndarray:
    row, col = np.mgrid[:side, :side]
    cells = np.zeros((side, side), int)
    for k in range(1, count):
        y, x, radius = rng.uniform(0, side), rng.uniform(0, side), rng.uniform(1, side / 3)
        cells[(row - y) ** 2 + (col - x) ** 2 < radius**2] = k
    return cells
