"""Three opinions on one chip: the map it came with, the labeller's, and the generator's own reading of the image.

The generator is no independent judge: it has the weights that drew the image and learnt from the same
chips as the labeller. It can speak against a pixel, and where all three agree nothing new is proven.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from groundsynth.artifacts import metric_row
from groundsynth.checks.agreement import map_kappas
from groundsynth.checks.own_reading import vote
from groundsynth.checks.resampling import bootstrap_interval
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL
from groundsynth.models.denoiser import Denoiser
from groundsynth.models.noise import POLICIES
from groundsynth.models.sampling import segment
from groundsynth.models.solvers import SamplingSettings
from groundsynth.seeds import derive_seed
from groundsynth.systems import policy_of

STAGE = "04_label"
PATTERNS = ("all agree", "labeller alone", "generator alone", "map alone", "all differ")


def reader_of(generators: Sequence[str]) -> str:
    """Return the first generator that learnt to read maps off images.

    Raises:
        GroundsynthError: none did.
    """
    for name in generators:
        if "segment" in POLICIES.get(policy_of(name), {}):
            return name
    raise GroundsynthError(
        f"none of the generators {', '.join(generators)} learnt to read maps; a second opinion needs policy unified, "
        "so add it or set label.second_opinion to 0"
    )


def read_images(
    model: Denoiser, chips: pd.DataFrame, draws: int, settings: SamplingSettings, device: torch.device
) -> np.ndarray:
    """Return the generator's reading of every chip's image, a vote of ``draws``: (n, h, w) uint8.

    Args:
        chips: columns chip_id, image.
    """
    images = np.stack(chips["image"].to_list())
    readings = []
    for draw in range(draws):
        seeds = [derive_seed("second_opinion", chip, draw) for chip in chips["chip_id"]]
        readings.append(segment(model, images, seeds, settings, device))
    return vote(np.stack(readings))


def pattern_shares(given: np.ndarray, label: np.ndarray, reading: np.ndarray) -> np.ndarray:
    """Return each chip's share of labelled pixels per pattern of agreement, (n, 5) in the order of ``PATTERNS``.

    Args:
        given, label, reading: (n, h, w) uint8; pixels that ``given`` leaves without a label do not count.

    Returns:
        Rows that add up to 1, or NaN for a chip without a labelled pixel.
    """
    known = given != NO_LABEL
    by_label, by_reading, judges = given == label, given == reading, label == reading
    found = (
        by_label & by_reading,
        by_reading & ~by_label,
        by_label & ~by_reading,
        judges & ~by_label,
        ~by_label & ~by_reading & ~judges,
    )
    pixels = np.stack([(pattern & known).sum((1, 2)) for pattern in found], 1)
    total = known.sum((1, 2))[:, None]
    return np.divide(pixels, total, out=np.full(pixels.shape, np.nan), where=total > 0)


def three_way_rows(
    study: str, systems: Sequence[str], given: np.ndarray, label: np.ndarray, reading: np.ndarray
) -> list[dict]:
    """Return rows per system: ``agreement_pattern`` (arm = pattern) and ``three_way_kappa`` (arm = pair).

    Means over chips with bootstrap intervals over chips.

    Args:
        systems: (n,) system of each chip; the maps are those of :func:`pattern_shares`.
    """
    shares = dict(zip(PATTERNS, pattern_shares(given, label, reading).T, strict=True))
    kappas = {
        "map and labeller": map_kappas(label, given),
        "map and generator": map_kappas(reading, given),
        "labeller and generator": map_kappas(reading, np.where(given == NO_LABEL, NO_LABEL, label)),
    }
    rows = []
    for system in dict.fromkeys(systems):
        own = np.flatnonzero(np.asarray(systems) == system)
        for metric, arms in (("agreement_pattern", shares), ("three_way_kappa", kappas)):
            for arm, values in arms.items():
                values = values[own][np.isfinite(values[own])]
                if not len(values):
                    continue
                low, high = bootstrap_interval(
                    lambda draw, v=values: v[draw].mean(), len(values), metric, arm, system
                )
                about = dict(system=system, arm=arm, low=low, high=high, n=len(values), seeds=1)
                rows.append(metric_row(study, STAGE, metric, float(values.mean()), **about))
    return rows
