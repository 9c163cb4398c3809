"""Maps for a generator to obey: real training maps, variants of them, or maps the model drew itself.

Only maps are ever used: the training image that belongs to one is not looked at, so a sample that
resembles it did not get that from its input. Which map a sample gets depends on the generator's name and
the sample's number alone; several images of one map are consecutive samples.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from scipy import ndimage

from groundsynth.data.rare_objects import LEAST_PIXELS, RARE_SHARE, chips_with_objects, objects
from groundsynth.data.turns import TURNS, turn
from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES, NO_LABEL
from groundsynth.models.denoiser import Denoiser
from groundsynth.models.sampling import draw_maps, sample_pairs
from groundsynth.models.solvers import SamplingSettings
from groundsynth.seeds import derive_seed, rng

ZOOM = (0.75, 1.5)  # range of the scale a map is stretched by, log-uniform
TRIES = 20  # donors tried before a map is given up on

Row = tuple[str, int, np.ndarray]  # condition, condition_transform, map
COLUMNS = ["condition", "condition_transform", "mask"]


def give_maps(
    kind: str,
    chips: pd.DataFrame,
    generator: str,
    indices: range,
    images_per_map: int = 1,
    model: Denoiser | None = None,
    settings: SamplingSettings | None = None,
    device: torch.device | None = None,
    rare_share: float = RARE_SHARE,
    rare_floor: float = 0.0,
) -> pd.DataFrame:
    """Return the map that each map-conditional sample must obey.

    Args:
        kind: ``training``: a real training map under one of the eight flips and right-angle turns;
            ``transformed``: also rotated by any angle and scaled, mirrored at its edges; ``rare``: a
            patch of a rare class from another training map laid on it; ``joint``: the map of a pair the
            model draws, its image thrown away; ``layout``: a map the model draws beside pure noise.
        chips: real training chips; only the columns ``chip_id`` and ``mask`` are read.
        generator: name of the generator; with the map's number it decides the draw.
        indices: numbers of the samples; sample i has map ``i // images_per_map``.
        model, settings, device: what draws the maps, for ``joint`` and ``layout``.
        rare_share: share of the ground below which a class is rare; rare_floor: below which it is too rare.

    Returns:
        One row per sample: ``condition`` (chip id, and what was done to its map), ``condition_transform``
        (0…7; −1 for drawn maps), ``mask`` (h, w) uint8.

    Raises:
        GroundsynthError: an unknown kind, or no class that is rare.
    """
    numbers = [index // images_per_map for index in indices]
    wanted = sorted(set(numbers))
    if kind in ("joint", "layout"):
        rows = _drawn(kind, wanted, generator, model, settings, device)
    else:
        table = chips[["chip_id", "mask"]].sort_values("chip_id", ignore_index=True)
        rows = _edited(kind, wanted, generator, table, (rare_share, rare_floor))
    given = dict(zip(wanted, rows, strict=True))
    return pd.DataFrame([given[number] for number in numbers], columns=COLUMNS)


def warp_map(labels: np.ndarray, degrees: float, zoom: float) -> np.ndarray:
    """Rotate a map (h, w) about its middle and enlarge it by ``zoom``; it is mirrored at its edges."""
    angle, middle = np.deg2rad(degrees), (np.array(labels.shape) - 1) / 2
    back = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / zoom
    return ndimage.affine_transform(labels, back, middle - back @ middle, order=0, mode="mirror")


def _edited(
    kind: str, numbers: list[int], generator: str, table: pd.DataFrame, rare: tuple[float, float]
) -> list[Row]:
    edits: dict[str, Callable[..., tuple[str, np.ndarray]]] = {"transformed": _warp, "rare": _enrich}
    if kind != "training" and kind not in edits:
        raise GroundsynthError(
            f"layouts '{kind}' do not exist; choose one of training, {', '.join(edits)}, joint, layout"
        )
    donors = _donors(table, rare) if kind == "rare" else {}
    rows = []
    for number in numbers:
        draw = rng("layout", generator, number)
        chip, code = table.iloc[int(draw.integers(len(table)))], int(draw.integers(TURNS))
        name, labels = chip["chip_id"], turn(chip["mask"], code)
        if kind in edits:
            words, labels = edits[kind](labels, draw, donors, table)
            name += words
        rows.append((name, code, labels))
    return rows


def _warp(labels, draw: np.random.Generator, *_) -> tuple[str, np.ndarray]:
    degrees, zoom = float(draw.uniform(0, 360)), float(np.exp(draw.uniform(*np.log(ZOOM))))
    return f" turned {degrees:.0f}° scaled {zoom:.2f}", warp_map(labels, degrees, zoom)


def _donors(table: pd.DataFrame, rare: tuple[float, float]) -> dict[int, np.ndarray]:
    """Return for each rare class the rows whose map holds an object of it."""
    found = chips_with_objects(np.stack(table["mask"]), *rare)
    if not found:
        raise GroundsynthError(
            f"layouts 'rare': no class covers less than {100 * rare[0]:g} % of the training maps with a patch of "
            f"{LEAST_PIXELS} pixels; raise generate.rare_share, or choose other generate.layouts"
        )
    return found


def _enrich(labels, draw: np.random.Generator, donors, table) -> tuple[str, np.ndarray]:
    """Lay the objects of one rare class of another map on this one; unlabelled pixels stay so."""
    k = int(draw.choice(list(donors)))
    for _ in range(TRIES):
        donor = table.iloc[int(draw.choice(donors[k]))]
        patch = objects(turn(donor["mask"], int(draw.integers(TURNS))), k) & (labels != NO_LABEL)
        if (patch & (labels != k)).any():
            return f" with {CLASSES[k]} of {donor['chip_id']}", np.where(patch, np.uint8(k), labels)
    return "", labels


def _drawn(kind: str, numbers: list[int], generator: str, model, settings, device) -> list[Row]:
    seeds = [derive_seed("layout", generator, kind, number) for number in numbers]
    if kind == "joint":
        _, maps = sample_pairs(model, "joint", seeds, settings, device)
    else:
        maps = draw_maps(model, seeds, settings, device)
    return [(f"{kind} map {number}", -1, labels) for number, labels in zip(numbers, maps, strict=True)]
