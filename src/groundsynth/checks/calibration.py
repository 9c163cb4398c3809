"""Is the labeller as often right as it says? Temperature scaling and reliability, counted then reduced.

One temperature is fitted on validation pixels (Guo et al., 1706.04599) and divides all logits: it
changes how sure the labeller is, never which class it names. The expected calibration error (ECE) is
the mean gap between confidence and the share of right answers, over bins of confidence; per class it
is taken over the pixels on which the labeller names that class.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from groundsynth.artifacts import metric_row
from groundsynth.checks.resampling import LEVELS, RESAMPLES
from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES, NO_LABEL, NUM_CLASSES
from groundsynth.models.labeller import (
    NOWHERE,
    Labeller,
    PixelScores,
    each_batch,
    log_probabilities,
    score_pixels,
)
from groundsynth.models.reliability import BINS, count_bins, expected_error
from groundsynth.seeds import rng

STAGE = "04_label"
RANGE = (0.05, 20.0)  # where the temperature is looked for
MOST_PIXELS = 400_000  # drawn at random where validation has more


def labelled_logs(labeller: Labeller, images: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return log-probabilities (p, 7) and reference classes (p,) of the labelled pixels.

    At most ``MOST_PIXELS`` pixels, an equal random share of every chip.

    Raises:
        GroundsynthError: no labelled pixel at all.
    """
    known = masks != NO_LABEL
    if not known.any():
        raise GroundsynthError(
            f"none of the {len(masks)} validation chips has a labelled pixel; a temperature is fitted on "
            "labelled pixels, so give validation blocks a reference map"
        )
    keep = known & (rng("calibration").random(masks.shape) < MOST_PIXELS / known.sum())
    logs, truth = [], []
    plain = labeller.at(1.0)
    for readers, at in each_batch(plain, np.full(len(masks), NOWHERE)):
        part = log_probabilities(plain, images[at], readers)[0].permute(0, 2, 3, 1).numpy()  # (n, h, w, 7)
        logs.append(part[keep[at]])
        truth.append(masks[at][keep[at]])
    return np.concatenate(logs), np.concatenate(truth)


def mean_loss(logs: np.ndarray, truth: np.ndarray, temperature: float) -> float:
    """Return the mean negative log-likelihood of (p,) classes under (p, 7) logits at a temperature."""
    scaled = logs / temperature
    highest = scaled.max(1, keepdims=True)
    total = np.log(np.exp(scaled - highest).sum(1)) + highest[:, 0]
    return float((total - scaled[np.arange(len(truth)), truth]).mean())


def fit_temperature(logs: np.ndarray, truth: np.ndarray) -> float:
    """Return the temperature in ``RANGE`` with the lowest loss; above 1 the labeller was too sure."""
    low, high = np.log(RANGE)
    found = minimize_scalar(
        lambda t: mean_loss(logs, truth, np.exp(t)), bounds=(low, high), method="bounded",
        options={"xatol": 1e-3},
    )  # fmt: skip
    return float(np.exp(found.x))


def reliability(scores: PixelScores, masks: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Count pixels per block, named class and bin of confidence.

    Args:
        scores: of (n, h, w) pixels; masks: (n, h, w) reference, 255 = no label, which does not count.
        blocks: (n,) block of each chip.

    Returns:
        (blocks, 7, BINS, 3) float64: pixels, sum of confidence, right answers.
    """
    names, place = np.unique(np.asarray(blocks), return_inverse=True)
    known = masks != NO_LABEL
    block = np.broadcast_to(place[:, None, None], masks.shape)[known]
    cell, cells = block * NUM_CLASSES + scores.label[known], len(names) * NUM_CLASSES
    right = (scores.label == masks)[known]
    return count_bins(scores.confidence[known], right, cell, cells).reshape(len(names), NUM_CLASSES, BINS, 3)


def calibration_rows(study: str, metric: str, counts: np.ndarray, split: str) -> list[dict]:
    """Return the error over all pixels and per named class; intervals resample blocks.

    Args:
        metric: ``ece_before`` or ``ece_after``; counts: (blocks, 7, BINS, 3); split: of the chips.

    Returns:
        rows with ``n`` = blocks for the overall error, and = pixels named so for a class's.
    """
    blocks = len(counts)
    weights = rng("bootstrap", STAGE, "ece", split).multinomial(
        blocks, np.full(blocks, 1 / blocks), RESAMPLES
    )
    draws = np.einsum("rb,bkis->rkis", weights, counts)
    parts = [("", counts.sum((0, 1)), draws.sum(1), blocks)]
    for k, name in enumerate(CLASSES):
        pixels = counts[:, k, :, 0].sum()
        if pixels:
            parts.append((name, counts[:, k].sum(0), draws[:, k], int(pixels)))
    rows = []
    for name, total, drawn, n in parts:
        values = expected_error(drawn)
        low, high = np.nanquantile(values, LEVELS) if blocks > 1 else (None, None)
        about = dict(system="real", regime=f"split={split}", class_=name, n=n, seeds=1)
        rows.append(
            metric_row(study, STAGE, metric, float(expected_error(total)), low=low, high=high, **about)
        )
    return rows


def measure_calibration(
    study: str, labeller: Labeller, real: pd.DataFrame
) -> tuple[Labeller, list[dict], dict[tuple[str, str], np.ndarray]]:
    """Fit the temperature on validation, and measure the calibration error on validation and test.

    Args:
        real: real chips with columns split, block, image, mask; splits ``val`` and ``test`` are read.

    Returns:
        the labeller at that temperature, the rows ``temperature``, ``ece_before``, ``ece_after`` and of
        doubt, and the counts of :func:`reliability` by (metric, split).
    """
    stacks = {
        split: (np.stack(part["image"].to_list()), np.stack(part["mask"].to_list()), part["block"])
        for split, part in real[real["split"].isin(["val", "test"])].groupby("split")
    }
    logs, truth = labelled_logs(labeller, *stacks["val"][:2])
    scaled, rows, bins = labeller.at(fit_temperature(logs, truth)), [], {}
    rows.append(
        metric_row(study, STAGE, "temperature", scaled.temperature, system="real", n=len(truth), seeds=1)
    )
    for split, (images, masks, blocks) in stacks.items():
        for metric, voice in (("ece_before", labeller), ("ece_after", scaled)):
            scores = score_pixels(voice, images, masks)
            bins[metric, split] = reliability(scores, masks, blocks)
            rows += calibration_rows(study, metric, bins[metric, split], split)
        several = len(labeller.models) > 1
        rows += doubt_rows(study, ["real"] * len(masks), scores, several, f"split={split}")
    return scaled, rows, bins


def doubt_rows(
    study: str, systems: Sequence[str], scores: PixelScores, several: bool, regime: str = ""
) -> list[dict]:
    """Return mean predictive entropy and, for several segmenters, mean disagreement per system.

    Args:
        systems: (n,) of the chips; regime: which chips they are; several: whether segmenters can disagree.
            Intervals resample chips.
    """
    rows, names = [], np.asarray(systems)
    measures = {"predictive_entropy": scores.entropy} | (
        {"disagreement": scores.disagreement} if several else {}
    )
    for system in dict.fromkeys(names):
        for metric, values in measures.items():
            chips = values[names == system].mean((1, 2), dtype=np.float64)
            draws = rng("bootstrap", STAGE, metric, system).integers(len(chips), size=(RESAMPLES, len(chips)))
            low, high = np.quantile(chips[draws].mean(1), LEVELS) if len(chips) > 1 else (None, None)
            about = dict(system=str(system), regime=regime, n=len(chips), seeds=1, low=low, high=high)
            rows.append(metric_row(study, STAGE, metric, float(chips.mean()), **about))
    return rows
