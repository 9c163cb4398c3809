"""Which labels of a chip to believe: filters that keep, change or drop pixels and chips.

==============  ==============================================================================
``freemask``    drops a pixel whose loss exceeds 1.25 × its class's mean loss on real validation
                chips (FreeMask, 2310.15160)
``confidence``  drops a pixel to whose given class the labeller gives too little probability
``agreement``   keeps a pixel where map and labeller agree; elsewhere takes the labeller's class
                if it is sure enough, and drops the pixel if not
``chip``        drops a whole chip whose given classes are too improbable on average
``hardness``    drops nothing; chips whose classes are hard on real ground are repeated (FreeMask)
==============  ==============================================================================

Every threshold comes from real validation chips, which the labeller did not train on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from groundsynth.artifacts import CHIPS, metric_row
from groundsynth.checks.calibration import doubt_rows
from groundsynth.checks.resampling import bootstrap_interval
from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES, NO_LABEL, NUM_CLASSES
from groundsynth.models.labeller import Labeller, PixelScores, score_pixels

STAGE = "04_label"
FREEMASK = 1.25  # the paper's tolerance
PIXEL_FILTERS = ("freemask", "confidence", "agreement")
FILTERS = (*PIXEL_FILTERS, "chip", "hardness")


@dataclass(frozen=True)
class Thresholds:
    """What the filters take from real validation chips.

    Attributes:
        class_loss: (7,) mean loss of a pixel by its reference class; of all classes where it is absent.
        confidence: least probability of a pixel's given class.
        relabel: least confidence with which the labeller overrules a map; above 1 it never does.
        chip: least mean probability of a chip's given classes.
        copies: most copies of the hardest chip.
    """

    class_loss: np.ndarray
    confidence: float
    relabel: float
    chip: float
    copies: int


def fit_thresholds(
    scores: PixelScores, masks: np.ndarray, keep_real: float, relabel_precision: float, copies: int
) -> Thresholds:
    """Choose every threshold on real validation chips.

    Args:
        scores: of the chips against their reference; masks: (n, h, w) reference, 255 = no label.
        keep_real: share of these pixels that ``confidence`` keeps, and of these chips that ``chip`` keeps.
        relabel_precision: share of right labels that ``agreement`` demands before the labeller overrules.
        copies: most copies under ``hardness``.

    Raises:
        GroundsynthError: no labelled pixel.
    """
    known = masks != NO_LABEL
    if not known.any():
        raise GroundsynthError(
            f"none of the {len(masks)} validation chips has a labelled pixel; filters take their thresholds "
            "from labelled pixels, so give validation blocks a reference map"
        )
    given = np.exp(-scores.loss)  # NaN where no class is given
    labelled = known.any((1, 2))
    chips = np.array([np.nanmean(chip) for chip in given[labelled]])
    return Thresholds(
        _class_means(scores.loss[known], masks[known]),
        float(np.quantile(given[known], 1 - keep_real)),
        _relabel_threshold(scores.confidence[known], (scores.label == masks)[known], relabel_precision),
        float(np.quantile(chips, 1 - keep_real)),
        copies,
    )


def _class_means(loss: np.ndarray, truth: np.ndarray) -> np.ndarray:
    sums = np.bincount(truth, loss, NUM_CLASSES)
    pixels = np.bincount(truth, minlength=NUM_CLASSES)
    return np.divide(sums, pixels, out=np.full(NUM_CLASSES, loss.mean()), where=pixels > 0)


def _relabel_threshold(confidence: np.ndarray, right: np.ndarray, precision: float) -> float:
    """Return the least confidence from which on labels are right this often; 2 where none is."""
    order = np.argsort(-confidence, kind="stable")
    share = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    last = np.append(np.diff(confidence[order]) != 0, True)  # equal confidences stand or fall together
    good = np.flatnonzero((share >= precision) & last)
    return float(confidence[order][good[-1]]) if good.size else 2.0


def suspicion(name: str, scores: PixelScores, given: np.ndarray, thresholds: Thresholds) -> np.ndarray:
    """Return how suspect every pixel is to a per-pixel filter: (n, h, w), the most suspect highest.

    The filter drops what exceeds 1 (``freemask``), minus the log of its threshold (``confidence``), or 0
    (``agreement``: by how much the labeller's class beats the given one). NaN where no class is given.
    """
    if name == "freemask":
        classes = np.where(given == NO_LABEL, 0, given)
        return scores.loss / (FREEMASK * thresholds.class_loss[classes])
    if name == "confidence":
        return scores.loss
    if name == "agreement":
        margin = np.log(scores.confidence) + scores.loss
        return np.where(given == NO_LABEL, np.nan, np.where(scores.label == given, 0.0, margin))
    raise GroundsynthError(
        f"filter '{name}' has no score per pixel; choose one of {', '.join(PIXEL_FILTERS)}"
    )


def dropped(name: str, scores: PixelScores, given: np.ndarray, thresholds: Thresholds) -> np.ndarray:
    """Return which labelled pixels a per-pixel filter does not leave as they are: (n, h, w) bool."""
    if name == "agreement":
        return (given != NO_LABEL) & (scores.label != given)
    limit = {"freemask": 1.0, "confidence": -math.log(max(thresholds.confidence, 1e-30))}[name]
    return suspicion(name, scores, given, thresholds) > limit  # NaN exceeds nothing


def apply_filter(
    name: str, scores: PixelScores, given: np.ndarray, thresholds: Thresholds
) -> tuple[np.ndarray, np.ndarray]:
    """Return the maps that training may use, and how often it may use each chip.

    Args:
        given: (n, h, w) uint8 maps that chips came with, 255 = no label.

    Returns:
        masks (n, h, w) uint8, and copies (n,) int: 0 = the chip is dropped. Chips that keep no labelled
        pixel have 0 copies.

    Raises:
        GroundsynthError: a filter that does not exist.
    """
    if name not in FILTERS:
        raise GroundsynthError(f"filter '{name}' does not exist; choose one of {', '.join(FILTERS)}")
    masks, copies = given.copy(), np.ones(len(given), int)
    if name in PIXEL_FILTERS:
        out = dropped(name, scores, given, thresholds)
        sure = out & (scores.confidence >= thresholds.relabel) & (name == "agreement")
        masks[out] = NO_LABEL
        masks[sure] = scores.label[sure]
    if name == "chip":
        copies[chip_probability(scores, given) < thresholds.chip] = 0
    if name == "hardness":
        copies = hardness_copies(given, thresholds)
    return masks, np.where((masks != NO_LABEL).any((1, 2)), copies, 0)


def chip_probability(scores: PixelScores, given: np.ndarray) -> np.ndarray:
    """Return the mean probability of each chip's given classes, (n,) in [0, 1]; 0 where none is given."""
    known = given != NO_LABEL
    total = np.where(known, np.exp(-np.where(known, scores.loss, 0)), 0).sum((1, 2))
    return total / np.maximum(known.sum((1, 2)), 1)


def hardness_copies(given: np.ndarray, thresholds: Thresholds) -> np.ndarray:
    """Return ⌈copies × rank / n⌉ per chip, ranked by the mean real loss of its classes: (n,) int."""
    table = np.append(thresholds.class_loss, np.zeros(256 - NUM_CLASSES))
    known = given != NO_LABEL
    hardness = (table[given] * known).sum((1, 2)) / np.maximum(known.sum((1, 2)), 1)
    rank = np.empty(len(given), int)
    rank[np.argsort(hardness, kind="stable")] = np.arange(1, len(given) + 1)
    return np.ceil(thresholds.copies * rank / max(len(given), 1)).astype(int)


def filter_table(
    name: str, chips: pd.DataFrame, scores: PixelScores, given: np.ndarray, thresholds: Thresholds
) -> pd.DataFrame:
    """Return a filter's maps and copies of chips as a table (columns ``CHIPS['filtered']``)."""
    masks, copies = np.empty_like(given), np.empty(len(given), int)
    for system in dict.fromkeys(chips["system"]):  # hardness ranks within a system
        at = np.flatnonzero(chips["system"] == system)
        part = PixelScores(*(getattr(scores, field)[at] for field in PixelScores.__dataclass_fields__))
        masks[at], copies[at] = apply_filter(name, part, given[at], thresholds)
    table = chips[["chip_id", "system"]].reset_index(drop=True).assign(mask=list(masks), copies=copies)
    return table[list(CHIPS["filtered"])]


def filter_chips(
    study: str,
    names: Sequence[str],
    chips: pd.DataFrame,
    blocks: np.ndarray,
    labeller: Labeller,
    limits: Thresholds,
) -> tuple[dict[str, pd.DataFrame], list[dict]]:
    """Return what each filter leaves of chips, by its name, and the rows on doubt and on what was left.

    Args:
        chips: columns chip_id, system, image, mask (the map it would train with); blocks: (n,) the block
            each shows, for labellers blind to it. Without a filter nothing is computed.
    """
    if not names:
        return {}, []
    given = np.stack(chips["mask"].to_list())
    scores = score_pixels(labeller, np.stack(chips["image"].to_list()), given, blocks)
    tables = {name: filter_table(name, chips, scores, given, limits) for name in names}
    rows = doubt_rows(study, chips["system"], scores, len(labeller.models) > 1)
    for name, table in tables.items():
        rows += filter_rows(study, name, table, given)
    return tables, rows


# --- numbers ---------------------------------------------------------------------------------


def threshold_rows(study: str, thresholds: Thresholds) -> list[dict]:
    """Return what was chosen on validation: ``filter_threshold`` per filter (per class for FreeMask)."""
    rows = [
        metric_row(study, STAGE, "filter_threshold", value, system="real", regime=f"filter={name}")
        for name, value in (
            ("confidence", thresholds.confidence),
            ("agreement", thresholds.relabel),
            ("chip", thresholds.chip),
        )
    ]
    for k, loss in enumerate(thresholds.class_loss):
        about = dict(system="real", regime="filter=freemask", class_=CLASSES[k])
        rows.append(metric_row(study, STAGE, "filter_threshold", FREEMASK * float(loss), **about))
    return rows


def filter_rows(study: str, name: str, table: pd.DataFrame, given: np.ndarray) -> list[dict]:
    """Return the shares of labelled pixels a filter leaves, changes and drops, per system of chips.

    ``filter_kept``, ``filter_relabelled``, ``filter_dropped`` add up to 1; ``filter_chips`` is the share of
    chips that stay. Intervals resample chips.
    """
    rows, after = [], np.stack(table["mask"].to_list())
    stays = (table["copies"] > 0).to_numpy()
    known = (given != NO_LABEL).sum((1, 2))
    measures = {
        "filter_kept": (((after == given) & (given != NO_LABEL)).sum((1, 2)) * stays),
        "filter_relabelled": (((after != given) & (after != NO_LABEL)).sum((1, 2)) * stays),
    }
    measures["filter_dropped"] = known - measures["filter_kept"] - measures["filter_relabelled"]
    for system in dict.fromkeys(table["system"]):
        at = np.flatnonzero((table["system"] == system) & (known > 0))
        if not at.size:
            continue
        for metric, counted in (*measures.items(), ("filter_chips", stays)):
            whole = np.ones(len(known)) if metric == "filter_chips" else known

            def share(draw, counted=counted[at], whole=whole[at]):
                return counted[draw].sum() / whole[draw].sum()

            low, high = bootstrap_interval(share, len(at), metric, name, system)
            about = dict(system=system, regime=f"filter={name}", low=low, high=high, n=len(at), seeds=1)
            rows.append(metric_row(study, STAGE, metric, float(share(np.arange(len(at)))), **about))
    return rows
