"""Labels by a segmenter that knows real chips only, against the map each chip came with.

A synthetic pair is grounded when a labeller that never saw it reads the same map off its image.
How far it can is bounded by the labeller itself, so agreement is set against its score on real
chips (mask obedience, after SatSynth and ARAS400k), and against maps swapped between chips.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from groundsynth.artifacts import CHIPS, metric_row
from groundsynth.benchmark.intervals import block_counts, bootstrap, interval, score_interval
from groundsynth.benchmark.metrics import (
    agreement,
    class_iou,
    confusions,
    count_chips,
    counts_of,
    kappa,
    mean_iou,
)
from groundsynth.config import SELF_TRAINING
from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES, NO_LABEL, NUM_CLASSES
from groundsynth.models.labeller import NOWHERE, Labeller, save_labeller, score_pixels, train_blind
from groundsynth.models.segmenter import predict
from groundsynth.seeds import rng

STAGE = "04_label"
RESAMPLES = 2000  # bootstrap resamples of chips or blocks
AGREEMENT_METRICS = {"map_agreement": "agreement", "map_kappa": "kappa", "label_trust": "trust"}


def stack(chips: pd.DataFrame, column: str) -> np.ndarray:
    """Return an image column as one array: (n, h, w, 3) or (n, h, w) uint8.

    Raises:
        GroundsynthError: no chips at all.
    """
    if not len(chips):
        raise GroundsynthError(
            f"no chips to take '{column}' from; a set needs one at least, so check the split"
        )
    return np.stack(chips[column].to_numpy())


def all_chips(real: pd.DataFrame, synthetic: pd.DataFrame) -> pd.DataFrame:
    """Return real and synthetic chips as one table: chip_id, system (``real`` for real), image, mask."""
    columns = ["chip_id", "system", "image", "mask"]
    return pd.concat([real.assign(system="real")[columns], synthetic[columns]], ignore_index=True)


def label_chips(model: nn.Module, chips: pd.DataFrame, batch_size: int) -> pd.DataFrame:
    """Return the labeller's map and trust of every chip (columns ``CHIPS['labels']``)."""
    labels, trust = predict(model, stack(chips, "image"), batch_size)
    table = pd.DataFrame({"chip_id": chips["chip_id"].to_numpy(), "system": chips["system"].to_numpy()})
    return table.assign(mask=list(labels), trust=list(trust))[list(CHIPS["labels"])]


def label_with(labeller: Labeller, chips: pd.DataFrame, blocks: np.ndarray, trust: str) -> pd.DataFrame:
    """Return every chip's map by those that may read it, and the chosen trust (columns ``CHIPS['labels']``).

    Args:
        blocks: (n,) the block that each chip shows, see :func:`origin_blocks`.
        trust: ``probability`` of the label, ``calibrated`` (the same: the labeller's temperature decides),
            ``entropy`` (1 - predictive entropy) or ``disagreement`` (1 - that of the segmenters).
    """
    if len(labeller.models) == 1 and trust == "probability":
        return label_chips(labeller.models[0], chips, labeller.batch_size)
    labeller = labeller.at(1.0) if trust == "probability" else labeller
    images = stack(chips, "image")
    scores = score_pixels(labeller, images, np.full(images.shape[:3], NO_LABEL, np.uint8), blocks)
    certain = {"entropy": 1 - scores.entropy, "disagreement": 1 - scores.disagreement}
    sure = np.round(255 * certain.get(trust, scores.confidence)).astype(np.uint8)
    table = chips[["chip_id", "system"]].reset_index(drop=True)
    return table.assign(mask=list(scores.label), trust=list(sure))[list(CHIPS["labels"])]


def origin_blocks(chips: pd.DataFrame, real: pd.DataFrame, synthetic: pd.DataFrame) -> np.ndarray:
    """Return the block of ground that each chip shows, (n,) int; ``NOWHERE`` for chips of no ground.

    A real chip shows its own block. A synthetic chip drawn for the map of a real one shows that one's.
    """
    block = dict(zip(real["chip_id"], real["block"], strict=True))
    origin = dict(zip(synthetic["chip_id"], synthetic["condition"], strict=True))
    return np.array([block.get(origin.get(chip, chip), NOWHERE) for chip in chips["chip_id"]], int)


def blind_labeller(
    train: pd.DataFrame, val: pd.DataFrame, folds: int, folder: Path, *how: object
) -> Labeller:
    """Train and keep labellers that are each blind to some training blocks.

    Args:
        train, val: real chips with columns image, mask, block; folds: number of labellers.
        folder: their weights go to ``<folder>/<k>``.
        how: score, training, names, device and progress, as ``train_blind`` takes them.
    """
    images, masks = stack(train, "image"), stack(train, "mask")
    labeller = train_blind(images, masks, train["block"].to_numpy(), folds, stack(val, "image"), *how)
    save_labeller(labeller, folder, how[1])
    return labeller


def trainable(
    chips: pd.DataFrame, labels: pd.DataFrame, real: pd.DataFrame, blocks: np.ndarray
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the chips that arms may train with beside the real training chips, and the ground they show.

    Synthetic chips keep their map and take the labeller's where they have none. Hidden real chips get the
    labeller's map in the place of their reference, and the system ``self_training``.

    Args:
        chips: all labelled chips; labels: their label maps, in the same order; real: real chips with their
            split; blocks: (n,) of ``chips``.
    """
    hidden = real.loc[real["split"] == "hidden", "chip_id"]
    at = np.flatnonzero((chips["system"] != "real") | chips["chip_id"].isin(hidden))
    chips, named = chips.iloc[at], labels["mask"].iloc[at]
    taken = (chips["system"] == "real") | ~has_map(chips)
    masks = [label if take else own for own, label, take in zip(chips["mask"], named, taken, strict=True)]
    system = chips["system"].where(chips["system"] != "real", SELF_TRAINING)
    return chips.assign(mask=masks, system=system).reset_index(drop=True), blocks[at]


def swap_maps(chips: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the chips with their maps passed on along a random ring within each system.

    No chip keeps its own map where its system has two chips or more. This is the control: images
    and maps of the right kind, but of different places.
    """
    swapped = chips.copy()
    for system, rows in chips.groupby("system").groups.items():
        ring = rng("swapped_map", system, seed).permutation(np.asarray(rows))
        swapped.loc[ring, "mask"] = pd.Series(list(chips.loc[np.roll(ring, 1), "mask"]), index=ring)
    return swapped


def agreement_table(chips: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """Return one row per chip: agreement, kappa and IoU per class of given map and label, mean trust.

    Agreement is the share of the given map's labelled pixels; scores are NaN where it has none.
    """
    table = confusions(stack(labels, "mask"), stack(chips, "mask"))
    frame = chips[["chip_id", "system"]].reset_index(drop=True)
    frame = frame.assign(
        agreement=agreement(table), kappa=kappa(table), trust=[t.mean() / 255 for t in labels["trust"]]
    )
    iou = class_iou(counts_of(table))
    return frame.assign(**{f"iou_{k}": iou[:, k] for k in range(NUM_CLASSES)})


# --- scores ----------------------------------------------------------------------------------


def set_counts(labels: pd.DataFrame, chips: pd.DataFrame, blocks: np.ndarray) -> np.ndarray:
    """Return the counts of one set as (1, 1, units, 7, 3): one arm, one seed, one unit per block."""
    counts = count_chips(stack(labels, "mask"), stack(chips, "mask"))
    return block_counts(counts, blocks)[None, None]


def class_rows(row: Callable[..., dict], metric: str, counts: np.ndarray) -> list[dict]:
    """Return one row per class: IoU with its interval over units; ``n`` is the class's labelled pixels."""
    rows = []
    for k, pixels in enumerate(counts[0, 0, :, :, [0, 2]].sum((0, 1))):
        single = score_interval(counts, partial(mean_iou, classes=[k]), RESAMPLES, STAGE, metric)[0]
        rows.append(row(metric, **single, n=int(pixels), class_=CLASSES[k]))
    return rows


def labeller_rows(study: str, counts: np.ndarray, primary: Sequence[int], split: str) -> list[dict]:
    """Return the labeller's mIoU over the primary classes and its IoU per class on one real split.

    Intervals resample the split's blocks; ``n`` is the number of blocks (of a class's pixels for IoU).
    """
    row = partial(metric_row, study, STAGE, system="real", regime=f"split={split}", seeds=1)
    overall = score_interval(counts, partial(mean_iou, classes=primary), RESAMPLES, STAGE, split)[0]
    return [row("labeller_miou", **overall, n=counts.shape[2]), *class_rows(row, "labeller_iou", counts)]


def obedience_row(
    study: str, system: str, counts: np.ndarray, real: np.ndarray, primary: Sequence[int], metric: str
) -> dict:
    """Return the labeller's mIoU on a system's pairs over its mIoU on real validation chips.

    1 means that generated images show their maps as legibly as real ones do. The interval resamples
    synthetic chips and real validation blocks independently.

    Args:
        counts: (1, 1, chips, 7, 3) of the system.
        real: (1, 1, blocks, 7, 3) of the real validation split.
        metric: ``mask_obedience_ratio`` for the chips' own maps, ``mask_obedience_swapped`` for the
            control in which they have each other's.
    """
    score = partial(mean_iou, classes=primary)
    value = float((score(counts.sum(2)) / score(real.sum(2)))[0, 0])
    draws = bootstrap(counts, score, RESAMPLES, STAGE, system)
    low, high = interval((draws / bootstrap(real, score, RESAMPLES, STAGE, "val"))[0])
    about = {"system": system, "n": counts.shape[2], "seeds": 1}
    return metric_row(study, STAGE, metric, value, low=low, high=high, **about)


def system_rows(
    study: str, chips: pd.DataFrame, labels: pd.DataFrame, real: np.ndarray, primary: Sequence[int], seed: int
) -> list[dict]:
    """Return obedience (own and swapped maps) and IoU per class for every system that comes with maps.

    Args:
        chips: all chips; labels: their label maps, in the same order.
        real: (1, 1, blocks, 7, 3) of the real validation split.
        seed: of the swap.
    """
    mapped = has_map(chips) & (chips["system"] != "real")
    chips, labels = chips[mapped].reset_index(drop=True), labels[mapped].reset_index(drop=True)
    swapped, rows = swap_maps(chips, seed), []
    for system, group in chips.groupby("system", sort=False):
        row = partial(metric_row, study, STAGE, system=system, seeds=1)
        units = np.arange(len(group))
        own = set_counts(labels.loc[group.index], group, units)
        other = set_counts(labels.loc[group.index], swapped.loc[group.index], units)
        rows.append(obedience_row(study, system, own, real, primary, "mask_obedience_ratio"))
        rows.append(obedience_row(study, system, other, real, primary, "mask_obedience_swapped"))
        rows += class_rows(row, "map_iou", own)
    return rows


def agreement_rows(study: str, table: pd.DataFrame, arm: str) -> list[dict]:
    """Return mean agreement, kappa and trust per system with bootstrap intervals over chips."""
    rows = []
    for system, group in table.groupby("system", sort=False):
        for metric, column in AGREEMENT_METRICS.items():
            values = group[column].dropna().to_numpy()
            if len(values) and not (arm and column == "trust"):  # trust does not depend on the map
                low, high = mean_interval(values, system, arm, column)
                about = {"system": system, "arm": arm, "n": len(values), "seeds": 1}
                rows.append(metric_row(study, STAGE, metric, values.mean(), low=low, high=high, **about))
    return rows


def mean_interval(values: np.ndarray, *names: object) -> tuple[float | None, float | None]:
    """Return the 95 % bootstrap interval of a mean over chips; (None, None) for a single chip."""
    if len(values) < 2:
        return None, None
    picks = rng("bootstrap", STAGE, *names).integers(len(values), size=(RESAMPLES, len(values)))
    return interval(values[picks].mean(1))


def has_map(chips: pd.DataFrame) -> pd.Series:
    """Return which chips came with a map: those with any labelled pixel."""
    return chips["mask"].map(lambda mask: bool((mask != NO_LABEL).any())).astype(bool)
