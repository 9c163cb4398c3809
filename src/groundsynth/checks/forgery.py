"""Part of a real chip made anew: is it noticed, is the place found, and what do the marks say?

Two ways to forge: ``redrawn``, where the generator continues the real surroundings for the real map, and
``pasted``, a patch of a synthetic chip with a soft border. Outside the forged region every pixel is the real one.
A detector's heat map is cut at a threshold that was best on forged *training* chips; its overlap with the true
region is held against naming the whole chip, or a box of the right size anywhere.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import distance_transform_edt, uniform_filter

from groundsynth.artifacts import metric_row
from groundsynth.checks.authenticity import interval, resampled_auc, wins
from groundsynth.checks.marked_folder import TAMPERED, check_folder, rate_row
from groundsynth.checks.resampling import bootstrap_interval
from groundsynth.data.chip_export import Writer
from groundsynth.data.chip_files import png_bytes
from groundsynth.legend import NO_LABEL, SHARE_COLUMNS, class_shares
from groundsynth.seeds import rng

STAGE = "06_ground"
SIDES = (0.35, 0.55)  # of a forged box, as a share of the chip's side: 12 to 30 % of its area
SMOOTH = 0.17  # side of the window a heat map is averaged over, as a share of the chip's
FEATHER = 3  # pixels over which a pasted patch fades in
THRESHOLDS = 40
RANDOM_BOXES = 50

Heat = Callable[[np.ndarray], np.ndarray]  # (n, h, w, 3) uint8 to (n, h, w) float: high looks synthetic


@dataclass(frozen=True)
class Forged:
    """Real chips beside their forgeries.

    Attributes:
        real, images: (n, h, w, 3) uint8; regions: (n, h, w) bool, true where forged; cells: (n,) of the ground.
    """

    real: np.ndarray
    images: np.ndarray
    regions: np.ndarray
    cells: np.ndarray


def draw_regions(n: int, size: int, *names: object) -> np.ndarray:
    """Return one random box per chip, (n, size, size) bool."""
    random, regions = rng("regions", *names), np.zeros((n, size, size), bool)
    for region in regions:
        height, width = (round(size * random.uniform(*SIDES)) for _ in range(2))
        row, col = random.integers(size - height + 1), random.integers(size - width + 1)
        region[row : row + height, col : col + width] = True
    return regions


def paste(real: np.ndarray, donors: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Return real chips with the donors' pixels in the regions, faded in over three pixels from their border.

    Args:
        real, donors: (n, h, w, 3) uint8; regions: (n, h, w) bool.
    """
    fade = np.stack([np.clip(distance_transform_edt(region) / FEATHER, 0, 1) for region in regions])[
        ..., None
    ]
    return (real * (1 - fade) + donors * fade).round().astype(np.uint8)


def forged_batch(
    real: np.ndarray, donors: np.ndarray, size: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return chips to learn from, every other one with a pasted patch, and where: images and bool regions.

    Args:
        real, donors: (m, h, w, 3) uint8 to draw from; size: chips wanted.
    """
    chips, others = (pool[random.integers(len(pool), size=size)] for pool in (real, donors))
    turns, regions = random.integers(4, size=size), draw_regions(size, real.shape[1], random.integers(2**31))
    regions[::2] = False
    chips = np.stack([np.rot90(chip, turn) for chip, turn in zip(chips, turns, strict=True)])
    return np.where(regions[..., None], paste(chips, others, regions), chips), regions


def smooth(heat: np.ndarray) -> np.ndarray:
    """Return heat maps averaged over windows of a sixth of the side, (n, h, w)."""
    side = max(1, round(heat.shape[1] * SMOOTH))
    return uniform_filter(heat, (0, side, side), mode="reflect")


def overlaps(found: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Return intersection over union of (n, h, w) bool masks, (n,) float; 0 where nothing was found."""
    both = (found & regions).sum((1, 2))
    return both / np.maximum((found | regions).sum((1, 2)), 1)


def best_threshold(heat: np.ndarray, regions: np.ndarray) -> float:
    """Return the level of smoothed heat whose mask overlaps the regions best on average."""
    levels = np.quantile(heat, np.linspace(0.02, 0.98, THRESHOLDS))
    return float(levels[np.argmax([overlaps(heat > level, regions).mean() for level in levels])])


def box_overlaps(regions: np.ndarray, *names: object) -> np.ndarray:
    """Return the mean overlap of each region with 50 boxes of its own size anywhere in the chip, (n,) float."""
    random, found = rng("boxes", *names), np.empty(len(regions))
    for k, region in enumerate(regions):
        size, rows, cols = len(region), region.any(1).sum(), region.any(0).sum()
        boxes = np.zeros((RANDOM_BOXES, size, size), bool)
        for box in boxes:
            row, col = random.integers(size - rows + 1), random.integers(size - cols + 1)
            box[row : row + rows, col : col + cols] = True
        found[k] = overlaps(boxes, np.broadcast_to(region, boxes.shape)).mean()
    return found


def forgery_rows(
    study: str, system: str, kind: str, heats: dict[str, Heat], tested: Forged, learnt: Forged
) -> tuple[list[dict], dict[str, np.ndarray]]:
    """Return whether forged chips are told from untouched ones, where, and the smoothed heat maps by detector.

    Rows per detector: ``detector_auc`` (arm ``forged:<kind>``, by the hottest place of a chip) and ``forgery_iou``
    (arm = kind; regime ``by=<detector>``, and the controls ``by=whole_chip`` and ``by=random_box``).

    Args:
        system: what the detectors learned from; kind: ``redrawn`` or ``pasted``; heats: detectors by name.
        learnt: forged training chips, on which the threshold is chosen.
    """
    rows, shown, arm = [], {}, f"forged:{kind}"
    found = {
        "whole_chip": tested.regions.mean((1, 2)),
        "random_box": box_overlaps(tested.regions, kind),
    }
    for name, heat in heats.items():
        level = best_threshold(smooth(heat(learnt.images)), learnt.regions)
        shown[name], calm = smooth(heat(tested.images)), smooth(heat(tested.real))
        found[name] = overlaps(shown[name] > level, tested.regions)
        table = wins(shown[name].max((1, 2)), calm.max((1, 2)))
        low, high = interval(resampled_auc(table, tested.cells, arm))
        about = {
            "system": system,
            "arm": arm,
            "regime": f"detector={name};by=hottest",
            "low": low,
            "high": high,
        }
        n = 2 * len(calm)
        rows.append(metric_row(study, STAGE, "detector_auc", float(table.mean()), n=n, seeds=1, **about))
    for name, values in found.items():
        low, high = bootstrap_interval(
            lambda d, v=values: v[d].mean(), len(values), kind, groups=tested.cells
        )
        about = {"system": system, "arm": kind, "regime": f"by={name}", "low": low, "high": high}
        rows.append(metric_row(study, STAGE, "forgery_iou", values.mean(), n=len(values), seeds=1, **about))
    return rows, shown


def mark_answers(study: str, kind: str, tested: Forged) -> list[dict]:
    """Return how often each witness notices that exported real chips were exchanged for forged ones.

    The real chips are exported and their pictures then overwritten. Real chips carry no mark, so a reader of marks
    has nothing to miss; the list of hashes has. Rows ``mark_detection_rate``, arm ``forged:<kind>``.
    """
    size = tested.real.shape[1]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        writer = Writer(folder, ["png"], None)
        chips = _unplaced(tested.real, size)
        writer.write(chips)
        writer.write_facts(chips)
        writer.close({})
        for chip, image in zip(chips["chip_id"], tested.images, strict=True):
            (folder / "png" / "real" / f"{chip}_image.png").write_bytes(png_bytes(image))
        checked = check_folder(folder)
    pictures = checked[checked["role"] == "image"]
    hits = {
        "reader=c2pa": (pictures["c2pa"] != "").sum(),
        "reader=iptc": pictures["iptc"].sum(),
        "reader=list": (pictures["verdict"] == TAMPERED).sum(),
    }
    arm = f"forged:{kind}"
    return [rate_row(study, "real", arm, name, int(count), len(pictures)) for name, count in hits.items()]


def _unplaced(images: np.ndarray, size: int) -> pd.DataFrame:
    """Return images as rows of an export: real, with an empty map and no place."""
    empty = np.full((size, size), NO_LABEL, np.uint8)
    texts = ("generator", "model_hash", "seed", "condition", "caption", "verdict", "reason", "split", "crs")
    facts = dict.fromkeys(texts, "") | {f"transform_{k}": 1.0 for k in "abcdef"}
    facts |= dict(zip(SHARE_COLUMNS, class_shares(empty), strict=True))
    rows = [
        facts | {"chip_id": f"r{k}", "system": "real", "origin": "real", "map_source": "reference", "image": image,
                 "mask": empty} for k, image in enumerate(images)
    ]  # fmt: skip
    return pd.DataFrame(rows)
