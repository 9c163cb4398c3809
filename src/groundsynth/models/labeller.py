"""The labeller as a whole: one segmenter, or several that are each blind to some spatial blocks.

A chip is read by those that did not train on its block, and their probabilities are averaged.
Where they name different classes, their disagreement says how far a label hangs on the chips that a
labeller happened to see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL, NUM_CLASSES, check_map
from groundsynth.models.segmenter import (
    Segmenter,
    Training,
    make_pool,
    save_segmenter,
    to_tensor,
    train_segmenter,
)
from groundsynth.seeds import rng

NOWHERE = -1  # the block of a chip that no training chip shows


@dataclass(frozen=True)
class Labeller:
    """Segmenters that answer together.

    Attributes:
        models: one or several.
        blind: the place in ``models`` of the one that never saw a block, by block. Chips of other
            blocks are read by all.
        temperature: their averaged log-probabilities are divided by it (Guo et al., 1706.04599).
        batch_size: chips at once; changes no result.
    """

    models: tuple[Segmenter, ...]
    blind: Mapping[int, int] = field(default_factory=dict)
    temperature: float = 1.0
    batch_size: int = 64

    def at(self, temperature: float) -> Labeller:
        """Return the same labeller at another temperature."""
        return replace(self, temperature=temperature)


@dataclass(frozen=True)
class PixelScores:
    """What a labeller says of every pixel of some chips, all (n, h, w).

    Attributes:
        label: uint8, the class it names.
        confidence: float32, the probability of that class.
        loss: float32, minus the log-probability of the given class; NaN where no class is given.
        entropy: float32, predictive entropy over ln 7: 0 = sure, 1 = all classes alike.
        disagreement: float32, share of all segmenters, blind or not, that name another class.
    """

    label: np.ndarray
    confidence: np.ndarray
    loss: np.ndarray
    entropy: np.ndarray
    disagreement: np.ndarray


@torch.inference_mode()
def log_probabilities(
    labeller: Labeller, images: np.ndarray, readers: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the readers' averaged log-probabilities, and the class that each segmenter names.

    Args:
        images: (n, h, w, 3) uint8; readers: places in ``labeller.models`` of those whose word counts.

    Returns:
        (n, 7, h, w) float32 at the labeller's temperature, and (m, n, h, w) of all m segmenters.

    Raises:
        GroundsynthError: output that is not finite.
    """
    batch = to_tensor(images).to(next(labeller.models[0].parameters()).device)
    logs = torch.stack([model.eval()(batch).log_softmax(1) for model in labeller.models])  # (m, n, 7, h, w)
    if not torch.isfinite(logs).all():
        raise GroundsynthError(
            "the labeller's output is not finite; its weights are damaged, so train it again (force stage 04)"
        )
    mean = logs[list(readers)].logsumexp(0) if len(readers) > 1 else logs[readers[0]]
    return (mean / labeller.temperature).log_softmax(1).cpu(), logs.argmax(2).cpu()


def each_batch(labeller: Labeller, blocks: np.ndarray) -> list[tuple[list[int], np.ndarray]]:
    """Return batches of chips that have the same readers: (readers, indices) pairs that cover all chips."""
    everyone = len(labeller.models)
    reader = np.array([labeller.blind.get(int(block), everyone) for block in blocks], int)
    pairs = []
    for place in np.unique(reader):
        readers = list(range(everyone)) if place == everyone else [int(place)]
        indices = np.flatnonzero(reader == place)
        starts = range(labeller.batch_size, len(indices), labeller.batch_size)
        pairs += [(readers, part) for part in np.split(indices, starts)]
    return pairs


def score_pixels(
    labeller: Labeller, images: np.ndarray, given: np.ndarray, blocks: np.ndarray | None = None
) -> PixelScores:
    """Return what the labeller says of every pixel.

    Args:
        images: (n, h, w, 3) uint8.
        given: (n, h, w) uint8 classes that the chips came with, 255 = none.
        blocks: (n,) block of each chip, ``NOWHERE`` for none; None where all labellers may read all chips.

    Raises:
        GroundsynthError: shapes that differ, a class outside the legend, output that is not finite.
    """
    if np.shape(images)[:3] != np.shape(given):
        raise GroundsynthError(
            f"images of shape {np.shape(images)} with maps of shape {np.shape(given)}; each image needs "
            "one map "
            "of its size, so match them by chip_id"
        )
    given = check_map(given, "given maps") if len(given) else np.asarray(given, np.uint8)
    blocks = np.full(len(images), NOWHERE) if blocks is None else np.asarray(blocks)
    label = np.empty(given.shape, np.uint8)
    parts = np.empty((4, *given.shape), np.float32)
    for readers, at in each_batch(labeller, blocks):
        logs, named = log_probabilities(labeller, images[at], readers)
        highest, first = logs.max(1)
        asked = torch.from_numpy(np.where(given[at] == NO_LABEL, 0, given[at]).astype(np.int64))
        label[at] = first.byte().numpy()
        parts[0, at] = highest.exp().numpy()
        parts[1, at] = np.where(given[at] == NO_LABEL, np.nan, -logs.gather(1, asked[:, None])[:, 0].numpy())
        parts[2, at] = (-(logs.exp() * logs).sum(1) / np.log(NUM_CLASSES)).clamp(0, 1).numpy()
        parts[3, at] = (named != first).float().mean(0).numpy()
    return PixelScores(label, *parts)


def given_losses(
    labeller: Labeller, images: np.ndarray, givens: np.ndarray, blocks: np.ndarray | None = None
) -> np.ndarray:
    """Return the loss of several maps of the same chips in one pass: (g, n, h, w) float32.

    Args:
        givens: (g, n, h, w) uint8; elsewhere as in :func:`score_pixels`, whose ``loss`` this is.
    """
    blocks = np.full(len(images), NOWHERE) if blocks is None else np.asarray(blocks)
    losses = np.empty(givens.shape, np.float32)
    for readers, at in each_batch(labeller, blocks):
        logs, _ = log_probabilities(labeller, images[at], readers)
        for loss, given in zip(losses, givens, strict=True):
            asked = torch.from_numpy(np.where(given[at] == NO_LABEL, 0, given[at]).astype(np.int64))
            named = -logs.gather(1, asked[:, None])[:, 0].numpy()
            loss[at] = np.where(given[at] == NO_LABEL, np.nan, named)
    return losses


def split_folds(blocks: np.ndarray, folds: int, *names: object) -> dict[int, int]:
    """Return the fold 0…folds-1 of every block, folds as equal in number of chips as blocks allow.

    Blocks go, largest first and in random order among equals, to the fold with the fewest chips.

    Raises:
        GroundsynthError: fewer blocks than folds.
    """
    found, sizes = np.unique(blocks, return_counts=True)
    if len(found) < folds:
        raise GroundsynthError(
            f"label.kfold = {folds}, but the training split has {len(found)} blocks; a fold needs one at "
            "least, "
            "so lower kfold"
        )
    order = rng("label_folds", *names).permutation(len(found))
    order = order[np.argsort(-sizes[order], kind="stable")]
    load, fold_of = np.zeros(folds, int), {}
    for place in order:
        fold_of[int(found[place])] = int(load.argmin())
        load[load.argmin()] += sizes[place]
    return fold_of


def train_blind(
    images: np.ndarray, masks: np.ndarray, blocks: np.ndarray, folds: int, val_images: np.ndarray,
    score: Callable, training: Training, names: tuple, device: torch.device, progress: Callable = iter,
) -> Labeller:  # fmt: skip
    """Train one segmenter per fold of the training blocks, on the chips of all other folds.

    Args:
        images, masks: (n, h, w, 3) and (n, h, w), the training chips; blocks: (n,) theirs.
        folds: number of segmenters, at least 2.
        val_images, score, training, device, progress: as for ``train_segmenter``; validation chooses the
            checkpoint of each, so validation chips are nobody's training chips and yet not untouched.
        names: seed the folds and, with the fold's number, each training.
    """
    fold_of = split_folds(blocks, folds, *names)
    fold = np.array([fold_of[int(block)] for block in blocks])
    models = []
    for k in range(folds):
        pool = make_pool(f"training chips outside label fold {k}", images[fold != k], masks[fold != k])
        fitted = train_segmenter([pool], val_images, score, training, (*names, "blind", k), device, progress)
        models.append(fitted[0])
    return Labeller(tuple(models), fold_of)


def save_labeller(labeller: Labeller, folder: Path, training: Training) -> None:
    """Write each segmenter of a labeller to ``folder/<k>``."""
    for k, model in enumerate(labeller.models):
        save_segmenter(model, Path(folder) / str(k), training.architecture, training.encoder)
