"""Obedience to maps no generator has seen: the labeller on generated images against it on the real chips there.

The layouts are those of real validation and hidden chips, which are measured with and never trained with.
For each of them there is a real image, so the yardstick is the labeller's mIoU on *these very* chips: a
ratio of 1 says that generated images show their maps as legibly as the real ones of the same maps do. Both
mIoUs come from the same blocks in every resample, so that a block that is hard to read is hard for both.
Images that all look alike can be legible too; therefore diversity is measured beside it, and guidance,
which trades one for the other, is chosen on validation layouts by one rule (:func:`choose_guidance`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from scipy import ndimage

from groundsynth.artifacts import metric_row
from groundsynth.benchmark.intervals import Score, block_counts, bootstrap, interval
from groundsynth.benchmark.metrics import count_chips, mean_iou
from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES, NO_LABEL
from groundsynth.seeds import rng

STAGE = "04_label"
TARGET = 0.9  # obedience that counts as enough
RESAMPLES = 2000


def unseen_layouts(chips: pd.DataFrame, split: str, most: int | None) -> pd.DataFrame:
    """Return real chips of one split whose maps a generator is to obey, spread evenly over blocks.

    Generators learned from maps without holes, so the map that is ``given`` has them filled; scores leave
    those pixels out all the same, since ``mask`` has no label there.

    Args:
        chips: real chips (``CHIPS['real']``).
        split: ``val`` or ``hidden``; no other may be used to measure a generator.
        most: layouts at most; None takes all.

    Returns:
        the chips, with a column ``given`` (h, w) uint8.

    Raises:
        GroundsynthError: another split, or no such chip.
    """
    if split not in ("val", "hidden"):
        raise GroundsynthError(f"layouts of split '{split}' measure no generator; take val or hidden")
    found = chips[(chips["split"] == split) & (chips["labelled"] > 0)]
    if found.empty:
        raise GroundsynthError(
            f"no {split} chip has a label, and a layout needs one; use smaller chips or more scenes"
        )
    found = found.sort_values(["block", "chip_id"])
    turn = found.groupby("block").cumcount()  # first chips of all blocks, then second ones
    order = np.lexsort((found["chip_id"], turn))
    found = found.iloc[order[:most]].reset_index(drop=True)
    return found.assign(given=[fill_holes(mask) for mask in found["mask"]])


def fill_holes(labels: np.ndarray) -> np.ndarray:
    """Return a map (h, w) whose unlabelled pixels take the class of the nearest labelled one."""
    nearest = ndimage.distance_transform_edt(labels == NO_LABEL, return_distances=False, return_indices=True)
    return labels[tuple(nearest)]


def swap_layouts(maps: np.ndarray, images_per_map: int) -> np.ndarray:
    """Return maps (n, h, w) passed on along a random ring of layouts: the control for obedience.

    Args:
        images_per_map: consecutive rows that share a layout.

    Raises:
        GroundsynthError: a single layout, which nothing can be swapped with.
    """
    layouts = maps[::images_per_map]
    if len(layouts) < 2:
        raise GroundsynthError("one layout alone has no other to be swapped with; take two or more")
    ring = rng("swap_layouts").permutation(len(layouts))
    partners = np.empty(len(layouts), int)
    partners[ring] = np.roll(ring, 1)
    return layouts[partners].repeat(images_per_map, 0)


def paired_ratio(counts: np.ndarray, score: Score) -> dict[str, float | None]:
    """Return a score's ratio of the first set of counts to the second: value, low, high.

    Args:
        counts: (2, 1, blocks, 7, 3), the same blocks of both; resampled together.
    """
    first, second = score(counts.sum(2))[:, 0]
    value = float(first / second) if second else np.nan
    if counts.shape[2] < 2:
        return {"value": value, "low": None, "high": None}
    above, below = bootstrap(counts, score, RESAMPLES, "unseen_layouts")
    low, high = interval(np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0))
    return {"value": value, "low": low, "high": high}


def obedience_rows(
    study: str,
    regime: str,
    system: str,
    drawn: tuple[np.ndarray, np.ndarray, np.ndarray],
    real: tuple[np.ndarray, np.ndarray, np.ndarray],
    primary: Sequence[int],
    images_per_map: int,
) -> list[dict]:
    """Return ``mask_obedience_ratio``, as a whole and per class, and its control with swapped maps.

    Args:
        drawn: the labeller's readings of generated images (n, h, w), the maps given to them, their blocks (n,).
        real: the same of the real chips of these maps, one per layout.
        images_per_map: consecutive generated images that share a map.

    Raises:
        GroundsynthError: sets that do not come from the same blocks.
    """
    readings, maps, blocks = drawn
    if set(blocks) != set(real[2]):
        raise GroundsynthError(
            f"generated images come from blocks {sorted(set(blocks))} and real chips from "
            f"{sorted(set(real[2]))}; a paired ratio needs the same"
        )
    yardstick = block_counts(count_chips(*real[:2]), real[2])
    own = np.stack([block_counts(count_chips(readings, maps), blocks), yardstick])[:, None]
    row = partial(metric_row, study, STAGE, system=system, regime=regime, seeds=1)
    overall, score = {"n": own.shape[2]}, partial(mean_iou, classes=list(primary))
    rows = [row("mask_obedience_ratio", **paired_ratio(own, score), **overall)]
    if len(maps) > images_per_map:  # a single layout has no other to be swapped with
        other = block_counts(count_chips(readings, swap_layouts(maps, images_per_map)), blocks)
        swapped = np.stack([other, yardstick])[:, None]
        rows.append(row("mask_obedience_swapped", **paired_ratio(swapped, score), **overall))
    for k, pixels in enumerate(yardstick[:, :, [0, 2]].sum((0, 2))):
        if pixels and score_of(own[1], k) > 0:
            single = paired_ratio(own, partial(mean_iou, classes=[k]))
            rows.append(row("mask_obedience_ratio", **single, n=int(pixels), class_=CLASSES[k]))
    return rows


def score_of(counts: np.ndarray, k: int) -> float:
    """Return the IoU of class ``k`` over all units of (1, units, 7, 3) counts; NaN where it does not occur."""
    return float(mean_iou(counts.sum((0, 1)), [k]))


def choose_guidance(ratios: Mapping[float, float]) -> float:
    """Return the lowest guidance whose obedience on validation layouts is enough, 0.9, since more costs diversity.

    Where none is, the one with the highest; of equals the lowest.

    >>> choose_guidance({1.0: 0.8, 1.5: 0.93, 3.0: 0.99})
    1.5
    >>> choose_guidance({1.0: 0.5, 1.5: 0.6, 2.0: 0.6})
    1.5
    """
    enough = [guidance for guidance in sorted(ratios) if ratios[guidance] >= TARGET]
    return enough[0] if enough else max(sorted(ratios), key=lambda guidance: ratios[guidance])
