"""Is a doubled pair like a real fine one? Against what costs nothing: bicubic images and maps by repetition.

Real held-out chips are halved and doubled again, so that the truth is known. Images are judged as sets, by
the power at each scale and the kernel distance of their scattering coefficients to the true ones: a bicubic
enlargement is the best guess pixel by pixel and yet lacks all detail, so no score per pixel is asked. Maps
have a truth per pixel, and how broken up they are is told beside it.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from groundsynth.artifacts import metric_row
from groundsynth.checks.distribution import kernel_distance, power_spectrum_error, standardise
from groundsynth.checks.map_shapes import edge_rates
from groundsynth.checks.resampling import bootstrap_interval
from groundsynth.checks.scattering import scattering_features

STAGE = "03_generate"


def image_rows(
    study: str, regime: str, sets: dict[str, np.ndarray], truth: np.ndarray, train: np.ndarray, subsets: int, seed: int
) -> list[dict]:  # fmt: skip
    """Return ``power_spectrum_error`` and ``kid`` of sets of images to the true ones, ``arm`` names the set.

    Args:
        sets: (n, h, w, 3) uint8 per way to double; training chips are added as the floor, system ``real``.
        truth: (n, h, w, 3) uint8 fine chips; train: real training chips, which also set the scale of features.
    """
    known = scattering_features(train)
    (reference,) = standardise(known, scattering_features(truth))
    some = train[np.random.default_rng(seed).permutation(len(train))[: len(truth)]]
    rows = []
    for name, images in {**sets, "real": some}.items():
        about = {"system": "real"} if name == "real" else {"arm": name}
        row = partial(metric_row, study, STAGE, regime=regime, n=min(len(images), len(truth)), **about)
        rows.append(row("power_spectrum_error", power_spectrum_error(images, truth)))
        (features,) = standardise(known, scattering_features(images))
        n = min(len(features), len(reference))
        value, low, high = kernel_distance(features[:n], reference[:n], subsets, seed)
        rows.append(row("kid", value, low=low, high=high))
    return rows


def map_rows(
    study: str, regime: str, sets: dict[str, np.ndarray], truth: np.ndarray, scores: dict[str, dict], n: int
) -> list[dict]:
    """Return ``map_miou`` and ``map_edge_rate`` of sets of maps against the true ones, ``arm`` names the set.

    Args:
        sets: (n, h, w) uint8 per way to double; truth: (n, h, w) uint8 fine maps.
        scores: value, low and high of the mIoU of each set; n: blocks they come from.
    """
    rows = []
    for name, maps in {**sets, "real": truth}.items():
        about = {"system": "real"} if name == "real" else {"arm": name}
        if name in scores:
            rows.append(metric_row(study, STAGE, "map_miou", **scores[name], regime=regime, n=n, **about))
        rates = edge_rates(maps)
        low, high = bootstrap_interval(lambda draw, r=rates: r[draw].mean(), len(rates), "doubling", name)
        about |= {"low": low, "high": high, "n": len(rates)}
        rows.append(metric_row(study, STAGE, "map_edge_rate", rates.mean(), regime=regime, **about))
    return rows
