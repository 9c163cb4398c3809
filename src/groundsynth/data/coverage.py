"""What each split holds: classes, those it lacks, and a block size that would lack none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from groundsynth.data.blocks import ENOUGH_PIXELS, PIXEL_COLUMNS, SPLITS
from groundsynth.data.store import Raster, strips
from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES, NUM_CLASSES, count_classes

ENOUGH_BLOCKS = 4  # blocks a class must be present in to enter the primary score
SCORED = ("train", "val", "test")  # splits that every primary class must reach
SIDES = (4.0, 3.0, 2.0, 1.5, 1.0, 0.75, 0.5)  # of the present block side, largest first


def ground_shares(labels: Raster) -> np.ndarray:
    """Return the share of each class among the labelled pixels of a raster, (7,) float64."""
    counts = sum(count_classes(labels[window]) for window in strips(labels.shape))
    return counts / max(counts.sum(), 1)


def class_coverage(labels: Raster, split: Raster) -> pd.DataFrame:
    """Return labelled pixels per split (rows) and class (columns named as in the legend).

    The split ``region`` has a row only where it has a pixel.
    """
    counts, pixels = np.zeros((len(SPLITS), NUM_CLASSES), int), np.zeros(len(SPLITS), int)
    for window in strips(labels.shape):
        classes, codes = labels[window], split[window]
        for code in range(len(SPLITS)):
            here = codes == code
            counts[code] += count_classes(classes[here])
            pixels[code] += here.sum()
    table = pd.DataFrame(counts, index=pd.Index(SPLITS, name="split"), columns=CLASSES)
    return table if pixels[SPLITS.index("region")] else table.drop("region")


def primary_classes(blocks: pd.DataFrame) -> list[int]:
    """Return the classes of the primary score: at least 200 labelled pixels in at least 4 blocks.

    A property of the scenes' blocks, not of a fold, so it is fixed before anything is trained. Blocks
    of held-out regions have no say.
    """
    known = blocks[blocks["split"] != "region"] if "split" in blocks else blocks
    common = (known[PIXEL_COLUMNS].to_numpy() >= ENOUGH_PIXELS).sum(0) >= ENOUGH_BLOCKS
    return np.flatnonzero(common).tolist()


def check_coverage(coverage: pd.DataFrame, primary: list[int], advice: str = "") -> dict[str, list[int]]:
    """Return the classes that are absent from each split, if only classes outside the primary score are.

    Args:
        advice: the cure to name; by default what can be changed at all.

    Raises:
        GroundsynthError: no class in a split, or a class of the primary score missing from one.
    """
    absent = {
        split: np.flatnonzero(row == 0).tolist()
        for split, row in zip(coverage.index, coverage.to_numpy(), strict=True)
    }
    cure = advice or "use another data.split_seed, fewer data.folds, a smaller data.buffer or larger blocks"
    for split, missing in absent.items():
        if len(missing) == NUM_CLASSES:
            raise GroundsynthError(f"split '{split}' holds no class at all; every split needs labels: {cure}")
        lost = [CLASSES[k] for k in missing if k in primary and split in SCORED]
        if lost:
            raise GroundsynthError(
                f"split '{split}' holds no {' and no '.join(lost)}, which the primary score needs: {cure}"
            )
    return absent


def suggest_side(divide: Callable[[float], pd.DataFrame], side: float, primary: list[int]) -> float | None:
    """Return the largest side of a block with which every primary class reaches train, val and test.

    Args:
        divide: from a side to the table ``blocks`` it gives; may raise GroundsynthError.
        side: the present side; a few between half and four times of it are tried.

    Returns:
        The side in the unit of ``side``; None if none of those tried will do.
    """
    for times in SIDES:
        try:
            blocks = divide(side * times)
        except GroundsynthError:
            continue
        held = blocks.groupby("split")[PIXEL_COLUMNS].sum().reindex(SCORED, fill_value=0).to_numpy()
        if (held[:, primary] >= ENOUGH_PIXELS).all():
            return side * times
    return None
