"""Does a filter find wrong labels? Real maps are made wrong in known places, and the drops counted.

Pixels are ranked by how suspect a filter finds them. Average precision over the share of corrupted
pixels is the *lift*: 1 = no better than dropping at random, at most 1 / share. The reference map has
errors of its own, which count as false alarms here, so lifts are lower bounds; with nothing planted
there is no lift, and the share that a filter drops then bounds those errors and its false alarms
together.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from scipy import ndimage

from groundsynth.artifacts import metric_row
from groundsynth.checks.label_filters import PIXEL_FILTERS, Thresholds, dropped, fit_thresholds, suspicion
from groundsynth.checks.resampling import LEVELS, RESAMPLES
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL, NUM_CLASSES, count_classes
from groundsynth.models.labeller import Labeller, PixelScores, given_losses, score_pixels
from groundsynth.seeds import rng

STAGE = "04_label"
CORRUPTIONS = ("shifted_borders", "swapped_classes", "swapped_by_frequency", "random_patches")
SHARES = (0.05, 0.1, 0.2)
CELL = 16  # borders move in cells of this side
FARTHEST = 8  # pixels a border moves at most
PATCH = 8  # side of a random patch
DRAWS = 5  # times that maps are corrupted anew, so that no single patch decides
ENOUGH = 0.8  # of the wanted pixels must have been made wrong, or the case is left out
LEVELS_OF_SUSPICION = 500  # thresholds of a precision-recall curve


def corrupt(name: str, masks: np.ndarray, share: float, seed: object) -> np.ndarray:
    """Return the maps with a share of their labelled pixels made wrong, or fewer if they offer no more.

    ``shifted_borders`` takes the map as it is some pixels up or down and left or right, in cells drawn at
    random; ``swapped_classes`` gives whole patches of one class another class of these maps, all as likely;
    ``swapped_by_frequency`` draws that class by its share, which is harder to notice; ``random_patches``
    paints squares. Unlabelled pixels stay so.

    Args:
        masks: (n, h, w) uint8, 255 = no label; share: in (0, 1) of the labelled pixels of all maps.

    Raises:
        GroundsynthError: a corruption that does not exist.
    """
    ways = dict(
        zip(CORRUPTIONS, (_shift_borders, _swap_classes, _swap_by_frequency, _paint_patches), strict=True)
    )
    if name not in ways:
        raise GroundsynthError(f"corruption '{name}' does not exist; choose one of {', '.join(CORRUPTIONS)}")
    wanted = round(share * int((masks != NO_LABEL).sum()))
    if np.count_nonzero(count_classes(masks)) < 2:  # no border, and no other class to name
        return masks.copy()
    return ways[name](masks, wanted, rng("corruption", name, share, seed))


def _shift_borders(masks: np.ndarray, wanted: int, random: np.random.Generator) -> np.ndarray:
    for reach in range(1, FARTHEST + 1):
        moved = np.empty_like(masks)
        for chip, signs in enumerate(random.choice([-reach, reach], (len(masks), 2))):
            padded = np.pad(masks[chip], reach, mode="edge")
            top, left = signs + reach
            moved[chip] = padded[top : top + masks.shape[1], left : left + masks.shape[2]]
        differs = (moved != masks) & (masks != NO_LABEL) & (moved != NO_LABEL)
        if differs.sum() >= wanted:
            break
    n, h, w = masks.shape
    cells = (
        np.arange(n)[:, None, None] * 10_000 + (np.arange(h) // CELL)[:, None] * 100 + np.arange(w) // CELL
    )
    _, cell = np.unique(cells, return_inverse=True)
    order = random.permutation(cell.max() + 1)[cell.reshape(masks.shape)]
    return _change_first(masks, moved, differs, order, wanted)


def _swap_classes(masks: np.ndarray, wanted: int, random: np.random.Generator) -> np.ndarray:
    return _swap(masks, wanted, random, np.sign(count_classes(masks)))


def _swap_by_frequency(masks: np.ndarray, wanted: int, random: np.random.Generator) -> np.ndarray:
    return _swap(masks, wanted, random, count_classes(masks))


def _swap(masks: np.ndarray, wanted: int, random: np.random.Generator, odds: np.ndarray) -> np.ndarray:
    patches = [
        (chip, k, patch, region)
        for chip, mask in enumerate(masks)
        for k in np.unique(mask[mask != NO_LABEL])
        for labels, count in [ndimage.label(mask == k)]
        for patch, region in zip(range(1, count + 1), ndimage.find_objects(labels), strict=True)
    ]
    changed, left = masks.copy(), wanted
    for place in random.permutation(len(patches)):
        chip, k, patch, region = patches[place]
        labels, _ = ndimage.label(masks[chip] == k)
        inside = labels[region] == patch
        others = np.where(np.arange(NUM_CLASSES) == k, 0, odds)
        if inside.sum() <= left and others.sum():
            changed[chip][region][inside] = random.choice(NUM_CLASSES, p=others / others.sum())
            left -= int(inside.sum())
        if left == 0:
            break
    return changed


def _paint_patches(masks: np.ndarray, wanted: int, random: np.random.Generator) -> np.ndarray:
    present = np.flatnonzero(count_classes(masks))
    painted, order = masks.copy(), np.full(masks.shape, -1)
    differs = np.zeros(masks.shape, bool)
    n, h, w = masks.shape
    for turn in range(50 * masks.size // PATCH**2):
        chip, top, left = random.integers((n, h - PATCH + 1, w - PATCH + 1))
        square = (chip, slice(top, top + PATCH), slice(left, left + PATCH))
        painted[square], order[square] = random.choice(present), turn
        differs[square] = (painted[square] != masks[square]) & (masks[square] != NO_LABEL)
        if turn % 64 == 63 and differs.sum() >= wanted:
            break
    return _change_first(masks, painted, differs, order, wanted)


def _change_first(
    masks: np.ndarray, other: np.ndarray, differs: np.ndarray, order: np.ndarray, wanted: int
) -> np.ndarray:
    """Return the maps with the first ``wanted`` differing pixels in some order taken from ``other``."""
    at = np.flatnonzero(differs)
    first = at[np.argsort(order.ravel()[at], kind="stable")[:wanted]]
    changed = masks.copy()
    changed.ravel()[first] = other.ravel()[first]
    return changed


# --- precision and recall --------------------------------------------------------------------


def ranked_counts(suspect: np.ndarray, wrong: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Count sound and wrong pixels per block and level of suspicion, the most suspect level first.

    Args:
        suspect, wrong: (n, h, w); NaN in ``suspect`` = not labelled, which does not count.
        blocks: (n,) block of each chip.

    Returns:
        (blocks, levels, 2) int64: pixels, and wrong ones among them.
    """
    names, place = np.unique(np.asarray(blocks), return_inverse=True)
    known = np.isfinite(suspect)
    values = suspect[known]
    edges = np.unique(np.quantile(values, np.linspace(0, 1, LEVELS_OF_SUSPICION + 1)[1:-1]))
    level = len(edges) - np.searchsorted(edges, values, side="left")
    block = np.broadcast_to(place[:, None, None], suspect.shape)[known]
    cell = block * (len(edges) + 1) + level
    size = len(names) * (len(edges) + 1)
    counts = [np.bincount(cell[chosen], minlength=size) for chosen in (slice(None), wrong[known])]
    return np.stack(counts, -1).reshape(len(names), -1, 2)


def curve(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return precision and recall when levels are dropped in turn: (…, levels, 2) to 2 × (…, levels)."""
    seen, found = np.moveaxis(np.cumsum(counts, -2), -1, 0).astype(float)
    precision = np.divide(found, seen, out=np.ones_like(found), where=seen > 0)
    total = found[..., -1:]
    return precision, np.divide(found, total, out=np.zeros_like(found), where=total > 0)


def lift(counts: np.ndarray) -> np.ndarray:
    """Return average precision over prevalence: (…, levels, 2) to (…); NaN where nothing is wrong."""
    precision, recall = curve(counts)
    steps = np.diff(recall, axis=-1, prepend=0.0)
    pixels, wrong = counts[..., 0].sum(-1), counts[..., 1].sum(-1)
    share = np.divide(wrong, pixels, out=np.full(np.shape(pixels), np.nan), where=wrong > 0)
    return (precision * steps).sum(-1) / share


def highest_lift(share: float, map_errors: float) -> float:
    """Return the lift of a filter that drops all wrong pixels alike, planted or the map's own.

    >>> round(highest_lift(0.1, 0.0), 6), round(highest_lift(0.1, 0.1), 2)
    (10.0, 5.26)
    """
    return 1 / (share + map_errors * (1 - share))


def try_filters(
    labeller: Labeller, chips: pd.DataFrame, thresholds: Thresholds, seed: int
) -> tuple[pd.DataFrame, dict[tuple[str, str, float], np.ndarray]]:
    """Corrupt the maps of real validation chips, several times over, and count what each filter finds.

    Args:
        chips: columns image, mask, block.

    Returns:
        one row per corruption, share and per-pixel filter (``none`` with share 0 is the untouched map):
        pixels, corrupted, dropped, found, of all draws together; and the :func:`ranked_counts` of each but
        the untouched. Cases that these maps do not allow are left out.
    """
    images, masks = (np.stack(chips[name].to_list()) for name in ("image", "mask"))
    untouched = score_pixels(labeller, images, masks)
    cases, rows, ranked = [("none", 0.0, masks, untouched)], [], {}
    cases += [
        (name, share, *_corrupt_often(labeller, images, masks, untouched, name, share, seed))
        for name in CORRUPTIONS
        for share in SHARES
    ]
    for name, share, given, scores in cases:
        truth = np.concatenate([masks] * (len(given) // len(masks)))
        wrong, known = given != truth, truth != NO_LABEL
        if wrong.sum() < ENOUGH * share * known.sum():
            continue  # these maps have too few borders or classes for it
        for rule in PIXEL_FILTERS:
            out = dropped(rule, scores, given, thresholds)
            rows.append((name, share, rule, *(int(part.sum()) for part in (known, wrong, out, out & wrong))))
            if share:
                blocks = np.tile(chips["block"], len(given) // len(masks))
                ranked[name, rule, share] = ranked_counts(
                    suspicion(rule, scores, given, thresholds), wrong, blocks
                )
    columns = ["corruption", "share", "filter", "pixels", "corrupted", "dropped", "found"]
    return pd.DataFrame(rows, columns=columns), ranked


def _corrupt_often(
    labeller: Labeller, images: np.ndarray, masks: np.ndarray, untouched: PixelScores, name: str, share: float,
    seed: int,
) -> tuple[np.ndarray, PixelScores]:  # fmt: skip
    """Return ``DRAWS`` corruptions of the same maps one after the other, and their scores."""
    givens = np.stack([corrupt(name, masks, share, f"{seed}-{draw}") for draw in range(DRAWS)])
    losses = given_losses(labeller, images, givens).reshape(-1, *masks.shape[1:])
    again = {
        field: np.concatenate([getattr(untouched, field)] * DRAWS)
        for field in ("label", "confidence", "entropy", "disagreement")
    }
    return givens.reshape(losses.shape), PixelScores(loss=losses, **again)


def choose_and_try(
    study: str,
    labeller: Labeller,
    val: pd.DataFrame,
    keep_real: float,
    relabel_precision: float,
    copies: int,
    seed: int,
) -> tuple[Thresholds, pd.DataFrame, dict, list[dict]]:
    """Return the thresholds that validation chips give, what filters find in them, and the metric rows.

    Args:
        val: real validation chips; the rest as in ``fit_thresholds`` and :func:`try_filters`.
    """
    images, masks = (np.stack(val[name].to_list()) for name in ("image", "mask"))
    scores = score_pixels(labeller, images, masks)
    limits = fit_thresholds(scores, masks, keep_real, relabel_precision, copies)
    tried, ranked = try_filters(labeller, val, limits, seed)
    return limits, tried, ranked, corruption_rows(study, tried, ranked)


def corruption_rows(study: str, table: pd.DataFrame, ranked: dict) -> list[dict]:
    """Return lift with its interval over blocks, precision and recall at the filter's own threshold.

    ``filter_pr_lift``, ``filter_precision``, ``filter_recall`` have the corruption as arm;
    ``filter_dropped`` with arm ``none`` is the share of untouched real labels that a filter drops.
    """
    rows = []
    for case in table.itertuples(index=False):
        regime = f"filter={case.filter};share={case.share:g}"
        row = partial(metric_row, study, STAGE, system="real", arm=case.corruption, regime=regime, seeds=1)
        if not case.share:
            rows.append(row("filter_dropped", case.dropped / case.pixels, n=case.pixels))
            continue
        counts = ranked[case.corruption, case.filter, case.share]
        low, high = _over_blocks(counts, case.corruption, case.share)
        rows.append(row("filter_pr_lift", float(lift(counts.sum(0))), low=low, high=high, n=len(counts)))
        rows.append(
            row("filter_precision", case.found / case.dropped if case.dropped else None, n=case.dropped)
        )
        rows.append(row("filter_recall", case.found / case.corrupted, n=case.corrupted))
    return rows


def _over_blocks(counts: np.ndarray, *names: object) -> tuple[float | None, float | None]:
    if len(counts) < 2:
        return None, None
    draws = rng("bootstrap", STAGE, *names).multinomial(
        len(counts), np.full(len(counts), 1 / len(counts)), RESAMPLES
    )
    values = lift(np.einsum("rb,blk->rlk", draws, counts))
    low, high = np.nanquantile(values, LEVELS)
    return float(low), float(high)
