"""Set against set: kernel and Fréchet distances between synthetic and held-out real chips.

The kernel distance (KID, Binkowski et al. 2018, https://arxiv.org/abs/1801.01401) is unbiased at small n
and leads; the Fréchet distance is taken on at most 32 principal components fitted on training features
and at least 5 chips per component. Two feature spaces: the labeller's encoder, which knows this land
cover, and scattering coefficients, which no data has touched and which see structure that spectra miss.
"""

from __future__ import annotations

import numpy as np
from sklearn.decomposition import PCA

from groundsynth.artifacts import metric_row
from groundsynth.checks.resampling import LEVELS
from groundsynth.checks.scattering import scattering_features
from groundsynth.checks.spectrum import power_spectrum_error, radial_power_spectrum, spectrum_matched_noise
from groundsynth.seeds import rng

__all__ = [
    "distance_rows",
    "frechet_distance",
    "frechet_distances",
    "kernel_distance",
    "power_spectrum_error",
    "radial_power_spectrum",
    "scattering_features",
    "spectrum_matched_noise",
    "spectrum_rows",
    "standardise",
]

STAGE = "06_ground"
MAX_COMPONENTS = 32
CHIPS_PER_COMPONENT = 5


def standardise(train: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Return ``others`` scaled to the mean and standard deviation of the training features.

    For nearest neighbours, where one loud channel would decide; the kernel distance takes features
    as the network gives them, as is usual.
    """
    centre, spread = train.mean(0), train.std(0)
    spread = np.where(spread > 1e-6 * max(spread.max(), 1e-12), spread, np.inf)
    return [((other - centre) / spread).astype(np.float64) for other in others]


def kernel_distance(
    first: np.ndarray, second: np.ndarray, subsets: int, seed: int
) -> tuple[float, float, float]:
    """Return KID and its 95 % range over random halves: mean, low, high.

    The range describes halves of these very sets, so it is wider than that of the mean. Arguments are those of
    :func:`kernel_distances`.
    """
    values = kernel_distances(first, second, subsets, seed)
    low, high = np.quantile(values, LEVELS)
    return float(np.mean(values)), float(low), float(high)


def kernel_distances(first: np.ndarray, second: np.ndarray, subsets: int, seed: int) -> np.ndarray:
    """Return the KID of random halves of two sets, (subsets,) float64.

    Cubic polynomial kernel, unbiased estimate of the squared distance; may be slightly below 0. Sets of equal
    sizes are halved alike for one seed, so that their distances are paired.

    Args:
        first, second: (n, d) features with equal n; subsets: random halves drawn from each.
    """
    import torch
    from torchmetrics.image.kid import poly_mmd

    a, b = (torch.from_numpy(np.asarray(x, np.float64)) for x in (first, second))
    return np.array([poly_mmd(a[i], b[j]).item() for i, j in _halves(len(a), len(b), subsets, seed)])


def _halves(first: int, second: int, subsets: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the places of random halves of two sets, as many of each, for every subset."""
    generator, size = rng("kid", seed), max(2, min(first, second) // 2)
    return [
        (generator.permutation(first)[:size], generator.permutation(second)[:size]) for _ in range(subsets)
    ]


def distance_rows(
    study: str, space: str, features: dict[str, np.ndarray], train: np.ndarray, subsets: int, seed: int
) -> list[dict]:
    """Return ``kid`` and ``frechet_distance`` of every set to the held-out real chips, as metric rows.

    Args:
        space: name of the feature space, kept in the column ``regime``.
        features: (n, d) per set; ``held_out`` is the reference, ``real`` (training chips) is the
            floor, ``noise`` the control; every set is cut to the size of the smallest.
        train: (m, d) training features the principal components are fitted on.
    """
    n = min(map(len, features.values()))
    reference, rows = features["held_out"][:n], []
    for name in [key for key in features if key != "held_out"]:
        labels = {"arm": "spectrum_matched_noise"} if name == "noise" else {"system": name}
        labels |= {"regime": f"features={space}", "n": n}
        value, low, high = kernel_distance(features[name][:n], reference, subsets, seed)
        rows.append(metric_row(study, STAGE, "kid", value, low=low, high=high, **labels))
        frechet, _ = frechet_distance(features[name][:n], reference, train)
        rows.append(metric_row(study, STAGE, "frechet_distance", frechet, **labels))
    return rows


def spectrum_rows(study: str, sets: dict[str, np.ndarray], reference: np.ndarray, regime: str) -> list[dict]:
    """Return ``power_spectrum_error`` of every set of chips against real ones, as metric rows.

    Args:
        sets: (n, h, w, 3) uint8 per set; ``noise`` is the control, ``real`` the floor.
        reference: (m, h, w, 3) uint8 real chips; regime: which, e.g. ``against=held_out``.
    """
    rows = []
    for name, images in sets.items():
        labels = {"arm": "spectrum_matched_noise"} if name == "noise" else {"system": name}
        error = power_spectrum_error(images, reference)
        rows.append(
            metric_row(study, STAGE, "power_spectrum_error", error, regime=regime, n=len(images), **labels)
        )
    return rows


def frechet_distance(first: np.ndarray, second: np.ndarray, train: np.ndarray) -> tuple[float, int]:
    """Return the Fréchet distance on principal components of the training features, and their number.

    Args:
        first, second: (n, d) features; train: (m, d) features the components are fitted on.
    """
    smallest = min(len(first), len(second))
    pca = _components(train, smallest)
    return _frechet(pca.transform(first), pca.transform(second)), pca.n_components_


def frechet_distances(
    first: np.ndarray, second: np.ndarray, train: np.ndarray, subsets: int, seed: int
) -> np.ndarray:
    """Return the Fréchet distance of the random halves that :func:`kernel_distances` takes, (subsets,) float64.

    Halves allow half as many components, so their distances are not those of the whole sets; the same halves of
    other sets have comparable ones.
    """
    pca = _components(train, min(len(first), len(second)) // 2)
    a, b = pca.transform(first), pca.transform(second)
    return np.array([_frechet(a[i], b[j]) for i, j in _halves(len(a), len(b), subsets, seed)])


def _components(train: np.ndarray, chips: int) -> PCA:
    """Return the principal components that so many chips allow, fitted on training features."""
    components = max(1, min(MAX_COMPONENTS, chips // CHIPS_PER_COMPONENT, *train.shape))
    return PCA(components, random_state=0).fit(train)


def _frechet(first: np.ndarray, second: np.ndarray) -> float:
    from torch_fidelity.metric_fid import fid_statistics_to_metric

    moments = [{"mu": x.mean(0), "sigma": np.atleast_2d(np.cov(x, rowvar=False))} for x in (first, second)]
    return float(next(iter(fid_statistics_to_metric(*moments, verbose=False).values())))
