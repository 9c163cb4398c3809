"""Pictures of feature spaces: t-SNE and UMAP, to be looked at and not to be measured on.

Both keep neighbours together and say little about distances between groups, so numbers (silhouette,
coverage) are taken in the whole space instead.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA

COMPONENTS = 30  # principal components that are laid out
LEAST = 8  # chips in all, below which nothing is laid out


def embed(features: dict[str, np.ndarray], methods: tuple[str, ...], seed: int) -> pd.DataFrame:
    """Return a plane for every method: columns method, set, x, y; empty for fewer than eight chips.

    Args:
        features: (n, d) per set; methods: of ``tsne`` and ``umap``; seed: of both.
    """
    names = np.repeat(list(features), [len(x) for x in features.values()])
    points = np.concatenate(list(features.values())).astype(np.float32)
    if len(points) < LEAST:
        return pd.DataFrame(columns=["method", "set", "x", "y"])
    points = PCA(min(COMPONENTS, *points.shape), random_state=0).fit_transform(points)
    parts = []
    for method in methods:
        plane = _METHODS[method](points, seed)
        parts.append(pd.DataFrame({"method": method, "set": names, "x": plane[:, 0], "y": plane[:, 1]}))
    return pd.concat(parts, ignore_index=True)


def _tsne(points: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(points) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(points)


def _umap(points: np.ndarray, seed: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one thread is the price of a seed
        from umap import UMAP

        return UMAP(n_neighbors=min(15, len(points) - 1), random_state=seed).fit_transform(points)


_METHODS = {"tsne": _tsne, "umap": _umap}
