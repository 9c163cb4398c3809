"""What a network says of held-out chips, counted per chip: classes, borders of classes, and bins of confidence."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import ndimage

from groundsynth.benchmark.labelling import stack
from groundsynth.benchmark.metrics import count_chips
from groundsynth.legend import NO_LABEL, NUM_CLASSES
from groundsynth.models.reliability import BINS, count_bins

REACH = 2  # pixels, in rows or columns, within which a pixel of another class makes a border


def near_border(truth: np.ndarray, reach: int = REACH) -> np.ndarray:
    """Return which pixels have one of another class within ``reach`` rows and columns, (n, h, w) bool.

    Args:
        truth: (n, h, w) uint8, 255 = no label; unlabelled pixels make no border and are on none.
    """
    around = (1, 2 * reach + 1, 2 * reach + 1)
    known = truth != NO_LABEL
    highest = ndimage.maximum_filter(np.where(known, truth, 0), around, mode="nearest")
    lowest = ndimage.minimum_filter(truth, around, mode="nearest")
    return known & (highest > lowest)


def count_table(
    labels: np.ndarray, chips: pd.DataFrame, split: str, truth: np.ndarray | None = None
) -> pd.DataFrame:
    """Return the table 'counts' but for arm and seed: one row per chip and class.

    Args:
        labels: (n, h, w) uint8; chips: columns chip_id, block, mask.
        truth: (n, h, w) in the place of the chips' masks, 255 = not counted.
    """
    truth = stack(chips, "mask") if truth is None else truth
    counts = count_chips(labels, truth).reshape(-1, 3)  # (n * 7, 3)
    about = _each_chip(chips, split, NUM_CLASSES).assign(**{"class": np.tile(range(NUM_CLASSES), len(chips))})
    return pd.concat([about, pd.DataFrame(counts, columns=["tp", "fp", "fn"])], axis=1)


def calibration_table(labels: np.ndarray, trust: np.ndarray, chips: pd.DataFrame, split: str) -> pd.DataFrame:
    """Return the table 'calibration' but for arm and seed: one row per chip and bin of confidence.

    Args:
        trust: (n, h, w) uint8, 255 × the probability of the class that ``labels`` names.
    """
    truth = stack(chips, "mask")
    known, chip = truth != NO_LABEL, np.arange(len(chips))[:, None, None]
    cell = np.broadcast_to(chip, truth.shape)[known]
    sums = count_bins(trust[known] / 255, (labels == truth)[known], cell, len(chips))  # (n, BINS, 3)
    about = _each_chip(chips, split, BINS).assign(bin=np.tile(range(BINS), len(chips)))
    return pd.concat(
        [about, pd.DataFrame(sums.reshape(-1, 3), columns=["pixels", "confidence", "right"])], axis=1
    )


def _each_chip(chips: pd.DataFrame, split: str, times: int) -> pd.DataFrame:
    about = chips[["chip_id", "block"]]
    return about.loc[about.index.repeat(times)].reset_index(drop=True).assign(split=split)
