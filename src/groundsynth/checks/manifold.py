"""How far does a set cover real ground, and how much of it lies there: precision, recall, density, coverage.

Each real point owns the ball that reaches its k-th nearest real neighbour. *Precision* is the share of
made chips inside some ball, *recall* the share of real chips inside some ball of the made ones
(Kynkäänniemi et al. 2019, https://arxiv.org/abs/1904.06991). *Density* counts in how many balls a made chip
lies, over k, so that one outlier's large ball counts little; *coverage* is the share of real balls that
hold a made chip (Naeem et al. 2020, https://arxiv.org/abs/2002.09797). Real ground against real ground of
other blocks is the ceiling; it is not 1.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.metrics import silhouette_score
from sklearn.neighbors import NearestNeighbors

from groundsynth.artifacts import metric_row
from groundsynth.checks.resampling import LEVELS
from groundsynth.errors import GroundsynthError
from groundsynth.seeds import rng

STAGE = "06_ground"
NEIGHBOURS = 5  # of Naeem et al.
MEASURES = ("precision", "recall", "density", "coverage")
HALVES = 20  # random halves that the ranges are taken over


def _radii(points: np.ndarray, k: int) -> np.ndarray:
    """Return each point's distance to its k-th nearest other point, (n,)."""
    near = NearestNeighbors(n_neighbors=k + 1).fit(points)
    return near.kneighbors(points)[0][:, -1]


def manifold_scores(real: np.ndarray, made: np.ndarray, k: int = NEIGHBOURS) -> dict[str, float]:
    """Return precision, recall, density and coverage of (m, d) made features against (n, d) real ones.

    Raises:
        GroundsynthError: a set of no more than k chips.
    """
    if min(len(real), len(made)) <= k:
        raise GroundsynthError(
            f"precision and recall look at {k} neighbours and a set has {min(len(real), len(made))} chips; "
            "generate more samples"
        )
    between = cdist(real, made)  # (n, m)
    of_real, of_made = _radii(real, k), _radii(made, k)
    inside = between <= of_real[:, None]
    return {
        "precision": float(inside.any(0).mean()),
        "recall": float((between <= of_made[None]).any(1).mean()),
        "density": float(inside.sum(0).mean() / k),
        "coverage": float((between.min(1) <= of_real).mean()),
    }


def manifold_rows(study: str, space: str, features: dict[str, np.ndarray], seed: int) -> list[dict]:
    """Return the four scores and ``silhouette`` of every set against held-out real chips, as metric rows.

    Intervals are those of halves drawn from both sides, and so wider than the whole sets' own; real
    windows overlap. The silhouette of two sets is near 0 where they mix and 1 where they lie apart.

    Args:
        space: of the features, kept in ``regime``; features: (n, d) per set; ``held_out`` is the reference,
            ``real`` the ceiling, ``noise`` the control; all are cut to the size of the smallest.
    """
    n = min(map(len, features.values()))
    reference, rows = features["held_out"][:n], []
    k = min(NEIGHBOURS, n // 4)  # halves must hold more than k chips
    if not k:
        return []
    for name in [key for key in features if key != "held_out"]:
        made = features[name][:n]
        labels = {"arm": "spectrum_matched_noise"} if name == "noise" else {"system": name}
        labels |= {"regime": f"features={space}", "n": n}
        scores = manifold_scores(reference, made, k)
        spread = _halves(reference, made, k, seed)
        for metric in MEASURES:
            low, high = np.quantile([s[metric] for s in spread], LEVELS)
            low, high = min(low, scores[metric]), max(high, scores[metric])
            rows.append(metric_row(study, STAGE, metric, scores[metric], low=low, high=high, **labels))
        apart = silhouette_score(np.concatenate([reference, made]), np.repeat([0, 1], n))
        rows.append(metric_row(study, STAGE, "silhouette", float(apart), **labels))
    return rows


def _halves(reference: np.ndarray, made: np.ndarray, k: int, seed: int) -> list[dict[str, float]]:
    generator, half = rng("manifold", seed), len(reference) // 2
    return [
        manifold_scores(
            reference[generator.permutation(len(reference))[:half]],
            made[generator.permutation(len(made))[:half]],
            k,
        )
        for _ in range(HALVES)
    ]
