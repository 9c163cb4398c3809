"""How far does a set cover real ground, and how much of it lies there: precision, recall, density, coverage.

Each real point owns the ball that reaches its k-th nearest real neighbour. *Precision* is the share of
made chips inside some ball, *recall* the share of real chips inside some ball of the made ones
(Kynkäänniemi et al. 2019, https://arxiv.org/abs/1904.06991). *Density* counts in how many balls a made chip
lies, over k, so that one outlier's large ball counts little; *coverage* is the share of real balls that
hold a made chip (Naeem et al. 2020, https://arxiv.org/abs/2002.09797). Real ground against real ground of
other blocks is the ceiling; it is not 1.

Windows of real ground overlap, and one that is shifted by a few pixels is nearly the same point: balls that
reached such neighbours would be tiny and hold nothing. So a real window's neighbours are those that share no
ground with it.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.metrics import silhouette_score

from groundsynth.artifacts import metric_row
from groundsynth.checks.resampling import LEVELS
from groundsynth.errors import GroundsynthError
from groundsynth.seeds import rng

STAGE = "06_ground"
NEIGHBOURS = 5  # of Naeem et al.
MEASURES = ("precision", "recall", "density", "coverage")
HALVES = 20  # random halves that the ranges are taken over


def sharing_ground(corners: np.ndarray, size: int) -> np.ndarray:
    """Return which windows overlap, (n, n) bool, themselves included.

    Args:
        corners: (n, 3) scene, row and column of each window; size: its side, in the same pixels.
    """
    scene, row, col = corners.T
    near = (np.abs(row[:, None] - row) < size) & (np.abs(col[:, None] - col) < size)
    return near & (scene[:, None] == scene)


def _radii(points: np.ndarray, k: int, shared: np.ndarray | None) -> np.ndarray:
    """Return each point's distance to its k-th nearest other point that shares no ground with it, (n,).

    Where fewer than k are left, the farthest of them counts; where none is, the radius is 0.
    """
    distances = cdist(points, points)
    distances[np.eye(len(points), dtype=bool) if shared is None else shared] = np.inf
    ordered = np.sort(distances, axis=1)
    left = np.isfinite(ordered).sum(1)
    reached = ordered[np.arange(len(points)), np.clip(left, 1, k) - 1]
    return np.where(left > 0, reached, 0.0)


def manifold_scores(
    real: np.ndarray,
    made: np.ndarray,
    k: int = NEIGHBOURS,
    shared: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
) -> dict[str, float]:
    """Return precision, recall, density and coverage of (m, d) made features against (n, d) real ones.

    Args:
        shared: which of the real and which of the made windows share ground with one another, (n, n) and (m, m)
            bool; None where none do.

    Raises:
        GroundsynthError: a set of no more than k chips.
    """
    if min(len(real), len(made)) <= k:
        raise GroundsynthError(
            f"precision and recall look at {k} neighbours and a set has {min(len(real), len(made))} chips; "
            "generate more samples"
        )
    between = cdist(real, made)  # (n, m)
    of_real, of_made = _radii(real, k, shared[0]), _radii(made, k, shared[1])
    inside = between <= of_real[:, None]
    return {
        "precision": float(inside.any(0).mean()),
        "recall": float((between <= of_made[None]).any(1).mean()),
        "density": float(inside.sum(0).mean() / k),
        "coverage": float((between.min(1) <= of_real).mean()),
    }


def manifold_rows(
    study: str,
    space: str,
    features: dict[str, np.ndarray],
    seed: int,
    shared: dict[str, np.ndarray] | None = None,
) -> list[dict]:
    """Return the four scores and ``silhouette`` of every set against held-out real chips, as metric rows.

    Intervals are those of halves drawn from both sides, and so wider than the whole sets' own. The silhouette of two sets is near 0 where they mix and 1 where they lie apart.

    Args:
        space: of the features, kept in ``regime``; features: (n, d) per set; ``held_out`` is the reference,
            ``real`` the ceiling, ``noise`` the control; all are cut to the size of the smallest.
        shared: of the sets cut from real ground, which of their windows overlap (see ``sharing_ground``).
    """
    shared = shared or {}
    n = min(map(len, features.values()))
    reference, rows = features["held_out"][:n], []
    k = min(NEIGHBOURS, n // 4)  # halves must hold more than k chips
    if not k:
        return []
    for name in [key for key in features if key != "held_out"]:
        made = features[name][:n]
        labels = {"arm": "spectrum_matched_noise"} if name == "noise" else {"system": name}
        labels |= {"regime": f"features={space}", "n": n}
        both = [shared[key][:n, :n] if key in shared else None for key in ("held_out", name)]
        scores = manifold_scores(reference, made, k, tuple(both))
        spread = _halves(reference, made, k, both, seed)
        for metric in MEASURES:
            low, high = np.quantile([s[metric] for s in spread], LEVELS)
            low, high = min(low, scores[metric]), max(high, scores[metric])
            rows.append(metric_row(study, STAGE, metric, scores[metric], low=low, high=high, **labels))
        apart = silhouette_score(np.concatenate([reference, made]), np.repeat([0, 1], n))
        rows.append(metric_row(study, STAGE, "silhouette", float(apart), **labels))
    return rows


def _halves(
    reference: np.ndarray, made: np.ndarray, k: int, shared: list[np.ndarray | None], seed: int
) -> list[dict[str, float]]:
    generator, half = rng("manifold", seed), len(reference) // 2
    found = []
    for _ in range(HALVES):
        rows = [generator.permutation(len(points))[:half] for points in (reference, made)]
        parts = [None if s is None else s[np.ix_(r, r)] for s, r in zip(shared, rows, strict=True)]
        found.append(manifold_scores(reference[rows[0]], made[rows[1]], k, tuple(parts)))
    return found
