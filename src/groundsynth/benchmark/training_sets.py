"""What each arm trains with: pools of chips, and the one or two trainings they go through.

Whatever an arm's name leaves out is the same for all: steps, batch size, augmentation, loss, and for one seed the
initial weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from groundsynth.benchmark.arms import Arm
from groundsynth.benchmark.labelling import stack
from groundsynth.benchmark.mixing import copy_paste, cutmix, oversampling
from groundsynth.errors import GroundsynthError
from groundsynth.models.segmenter import Mix, Pool, Training, make_pool
from groundsynth.seeds import rng


@dataclass(frozen=True)
class BenchmarkData:
    """Chips of one fold: real ones by split, others by source (see ``Arm``) with the masks arms train on.

    Attributes:
        primary: classes of the primary score; label_fraction: share of the training blocks with labels.
    """

    fold: int
    real: dict[str, pd.DataFrame]
    synthetic: dict[str, tuple[np.ndarray, np.ndarray]]
    primary: tuple[int, ...]
    label_fraction: float = 1.0

    @property
    def held_out(self) -> list[str]:
        """The splits that arms are counted on."""
        return [split for split in self.real if split != "train"]

    @property
    def judged(self) -> str:
        """The split that findings are about: ``test``, or ``val`` where the test chips were not read."""
        return "test" if "test" in self.real else "val"


@dataclass(frozen=True)
class Phase:
    """One training: what its batches are drawn from, how it is trained, and what lays chips on one another."""

    pools: list[Pool]
    training: Training
    mix: Mix | None = None


def arm_pools(arm: Arm, data: BenchmarkData, ratio: float, seed: int = 0) -> list[Pool]:
    """Return the pools an arm's batches are drawn from, real chips first.

    Args:
        ratio: synthetic per real chip in the batches of a mixed arm, where the arm states none.
        seed: of the training; it draws which real chips are replaced.

    Raises:
        GroundsynthError: a system without chips, or without a labelled pixel.
    """
    pools = []
    if arm.real:
        pools.append(make_pool("real", stack(data.real["train"], "image"), stack(data.real["train"], "mask")))
    if arm.recipe == "oversampling":
        pools[0] = replace(pools[0], chances=oversampling(pools[0].masks))
    if arm.system:
        if arm.source not in data.synthetic:
            raise GroundsynthError(
                f"arm '{arm.name}': system '{arm.system}' has no chips; generate some or drop the arm"
            )
        pools.append(make_pool(arm.source, *data.synthetic[arm.source], weight=arm.ratio or ratio))
    if arm.matched:
        pools[1] = replace(pools[1], images=match_colours(pools[1].images, pools[0].images))
    if arm.replaced is not None:
        return replace_chips(*pools, arm.replaced, "replaced", data.fold, seed)
    return pools


def replace_chips(real: Pool, other: Pool, share: float, *names: object) -> list[Pool]:
    """Return as many chips as ``real`` has, a share of them from the other pool, each drawn as often as any.

    Real chips leave in one random order, so that a larger share replaces those of a smaller one and more; the
    others come in one random order, which begins anew where there are too few.
    """
    random, size = rng(*names), len(real.images)
    replaced, order = round(share * size), random.permutation(size)
    kept = np.sort(order[replaced:])
    taken = np.resize(random.permutation(len(other.images)), replaced)
    parts = [(real, kept), (other, taken)]
    return [
        Pool(pool.name, pool.images[rows], pool.masks[rows], len(rows)) for pool, rows in parts if len(rows)
    ]


def match_colours(images: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Return images (n, h, w, 3) uint8 whose bands have mean and spread of other ones, all chips pooled.

    The training images' style given to synthetic ones before a bridge (after Li et al., 2403.19866).
    """
    mean, spread = images.mean((0, 1, 2)), images.std((0, 1, 2))
    matched = (images - mean) / np.maximum(spread, 1e-9) * like.std((0, 1, 2)) + like.mean((0, 1, 2))
    return np.clip(matched.round(), 0, 255).astype(np.uint8)


def arm_phases(arm: Arm, data: BenchmarkData, training: Training, ratio: float, seed: int) -> list[Phase]:
    """Return the trainings of an arm, one after the other; their steps add up to what its name says."""
    pools = arm_pools(arm, data, ratio, seed)
    training = replace(training, steps=max(1, round(arm.steps * training.steps)))
    if arm.order:
        on_real = max(1, round(training.steps / (1 + (arm.ratio or 1))))
        parts = [(pools[0], on_real), (pools[1], training.steps - on_real)]
        parts = parts[::-1] if arm.order == "bridge" else parts
        return [Phase([pool], replace(training, steps=steps)) for pool, steps in parts if steps]
    if arm.recipe == "class_weights":
        training = replace(training, class_weights="inverse_sqrt")
    mixes = {"cutmix": lambda pool: cutmix, "copy_paste": copy_paste}
    mix = mixes[arm.recipe](pools[0]) if arm.recipe in mixes else None
    return [Phase(pools, training, mix)]
