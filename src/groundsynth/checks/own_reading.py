"""The generator as a segmenter: it draws the map beside a clean image, and is held against the labeller.

Both read the same held-out real chips. The control is the generator's reading of *another* chip: what a
guess of the usual land cover is worth. Several draws per chip are put to a vote, pixel by pixel, since one
draw is a sample of possible maps and not the likeliest one.
"""

from __future__ import annotations

import numpy as np

from groundsynth.artifacts import metric_row
from groundsynth.checks.agreement import map_kappas, random_partners
from groundsynth.checks.resampling import bootstrap_interval
from groundsynth.legend import NO_LABEL, NUM_CLASSES

STAGE = "03_generate"


def vote(readings: np.ndarray) -> np.ndarray:
    """Return the commonest class per pixel of (draws, n, h, w) maps, (n, h, w) uint8; ties go to the lower code.

    'No label' has no vote, unless every draw says so.
    """
    votes = np.stack([(readings == k).sum(0) for k in range(NUM_CLASSES)])
    return np.where(votes.max(0) > 0, votes.argmax(0), NO_LABEL).astype(np.uint8)


def reading_rows(
    study: str, readings: np.ndarray, labelled: np.ndarray | None, maps: np.ndarray, blocks: np.ndarray
) -> list[dict]:
    """Return ``reading_kappa`` as metric rows: mean kappa with the true map, interval over blocks.

    Args:
        readings: (draws, n, h, w) maps the generator drew; labelled: (n, h, w) the labeller's, if any.
        maps: (n, h, w) the true maps; blocks: (n,) block of each chip.
    """
    own = vote(readings)
    arms = {"one_draw": readings[0], f"vote_of_{len(readings)}": own}
    arms |= {"other_chip": own[random_partners(len(own), "own_reading")]}
    arms |= {} if labelled is None else {"labeller": labelled}
    rows = []
    for arm, found in arms.items():
        kappas = map_kappas(found, maps)
        low, high = bootstrap_interval(
            lambda draw, k=kappas: np.nanmean(k[draw]), len(kappas), "own_reading", groups=blocks
        )
        about = {"system": "real", "arm": arm, "low": low, "high": high, "n": len(kappas)}
        rows.append(metric_row(study, STAGE, "reading_kappa", float(np.nanmean(kappas)), **about))
    return rows
