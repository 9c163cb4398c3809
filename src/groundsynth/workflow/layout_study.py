"""The command ``compare-layouts``: one generator, given maps of every kind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd

from groundsynth.artifacts import write_metrics
from groundsynth.checks.diversity import diversity, diversity_rows
from groundsynth.checks.sampling_curve import draw_kept
from groundsynth.config import Generate, Study
from groundsynth.errors import GroundsynthError
from groundsynth.models.denoiser import load_denoiser
from groundsynth.models.device import pick_device
from groundsynth.models.generation import hash_model, sampling_of
from groundsynth.models.given_maps import give_maps
from groundsynth.paths import stage_dir
from groundsynth.report.layout_figures import plot_layouts
from groundsynth.report.route_figures import plot_routes, plot_shares
from groundsynth.report.style import save_figure
from groundsynth.seeds import derive_seed
from groundsynth.systems import policy_of
from groundsynth.workflow.real_ground import (
    STAGE,
    agreement_rows,
    distance_rows,
    map_rows,
    read_real_ground,
    real_rows,
)

KINDS = get_args(Generate.model_fields["layouts"].annotation)
SYSTEM = "mask"
SHOWN = 4  # maps of each kind in the figure
PANELS = {
    "map_kappa": "kappa, map and labeller",
    "diversity_ratio": "diversity ratio",
    "kid": "kernel distance",
    "patches_per_chip": "patches per map",
    "edge_rate": "neighbours that differ",
}


@dataclass(frozen=True)
class Wanted:
    """What is compared: see the options of ``python -m groundsynth compare-layouts``.

    Attributes:
        layouts: some of ``training``, ``transformed``, ``rare``, ``joint``, ``layout``
            (see :func:`groundsynth.models.given_maps.give_maps`).
    """

    generator: str
    fold: int
    layouts: list[str]
    maps: int
    images_per_map: int


def compare_layouts(study: Study, wanted: Wanted, folder: Path) -> pd.DataFrame:
    """Draw several images for maps of each kind, and write ``metrics.csv`` and figures.

    Rows per kind (``regime``, e.g. ``layouts=rare``), beside those of real training chips (system ``real``):
    ``map_kappa`` of map and labeller with its control, ``diversity_ratio`` with its controls, ``kid`` and
    ``power_spectrum_error`` to held-out ground, ``class_share`` per class, ``patches_per_chip``, ``edge_rate`` and
    ``largest_patch`` of the maps. What is drawn is kept, so that a stopped run goes on.

    Returns:
        the metric rows.

    Raises:
        GroundsynthError: a generator that does not draw all that is asked, too few maps or images, or stages that
            have not run.
    """
    _check(wanted)
    device = pick_device(study.device)
    real, gallery = read_real_ground(study, wanted.fold, wanted.maps * wanted.images_per_map, device), {}
    rows = real_rows(study, real)
    weights = stage_dir(study.study, "02_train_generator", wanted.fold, wanted.generator, "model")
    model, digest = load_denoiser(weights).to(device), hash_model(weights)
    way = sampling_of(study.generate, policy_of(wanted.generator))
    count, indices = wanted.images_per_map, range(wanted.maps * wanted.images_per_map)
    for kind in wanted.layouts:
        given = give_maps(
            kind, real.train, wanted.generator, indices, count, model, way, device,
            study.generate.rare_share, study.generate.rare_floor,
        )  # fmt: skip
        maps = np.stack(given["mask"])
        seeds = [derive_seed("layouts", wanted.generator, kind, k) for k in indices]
        images, _, _ = draw_kept(folder, model, digest, SYSTEM, way, seeds, maps, device)
        about = {"system": SYSTEM, "regime": f"layouts={kind}", "seeds": 1}
        rows += distance_rows(study.study, study.ground, real, images, **about)
        rows += map_rows(study.study, maps[::count], None, **about)
        rows += agreement_rows(study.study, real.labeller, images, maps, "layouts", count, **about)
        groups = np.arange(len(maps)) // count
        varied = diversity(images, maps, groups, real.train, real.features)
        rows += diversity_rows(study.study, STAGE, varied, **about)
        shown = slice(None, SHOWN * count)
        gallery[kind] = maps[shown][::count], images[shown].reshape(-1, count, *images.shape[1:])
    metrics = write_metrics(rows, folder / "metrics.csv")
    _figures(folder, wanted, metrics, gallery)
    return metrics


def _check(wanted: Wanted) -> None:
    if policy_of(wanted.generator) not in ("unified", SYSTEM):
        raise GroundsynthError(
            f"generator '{wanted.generator}' draws no image for a given map by denoising; name one of policy unified "
            f"or {SYSTEM}"
        )
    unknown = [kind for kind in wanted.layouts if kind not in KINDS]
    if unknown:
        raise GroundsynthError(f"layouts '{unknown[0]}' do not exist; choose some of {', '.join(KINDS)}")
    drawn = [kind for kind in wanted.layouts if kind in ("joint", "layout")]
    if drawn and policy_of(wanted.generator) != "unified":
        raise GroundsynthError(
            f"generator '{wanted.generator}' draws no '{drawn[0]}' maps; name a generator of policy unified, or choose "
            "other --layouts"
        )
    if wanted.images_per_map < 2 or wanted.maps < 2:
        raise GroundsynthError(
            f"{wanted.maps} maps with {wanted.images_per_map} images each: diversity and its control need 2 or more "
            "of both; raise --maps or --images-per-map"
        )


def _figures(
    folder: Path, wanted: Wanted, metrics: pd.DataFrame, gallery: dict[str, tuple[np.ndarray, np.ndarray]]
) -> None:
    kinds = metrics["regime"].str.removeprefix("layouts=")
    named = metrics.assign(way=np.where(metrics["system"] == "real", "real", kinds))
    sets = f"{wanted.maps} maps of each kind, {wanted.images_per_map} images of each map"
    save_figure(
        plot_layouts(gallery),
        folder / "layouts.png",
        f"Maps of every kind that generator {wanted.generator} can be given, each with images drawn for it: the first "
        "of each kind, not chosen. training: a real training map, turned or mirrored; transformed: the same also rotated by "
        "any angle and scaled; rare: the same map with a patch of a rare class of another map; joint and layout: drawn by the "
        "generator itself, with an image or alone. The training image of a map is never looked at.",
    )
    save_figure(
        plot_routes(named, PANELS),
        folder / "layout_measures.png",
        f"{sets}. How well the labeller finds the map in the image (kappa; not asked of real training chips, from which "
        "it has learned); distances between images of one map over those between real chips of similar maps; the "
        "kernel distance of images to held-out windows, whose bars hold 95 % of random halves; and how broken up "
        "the maps are. Other bars: 95 % intervals over maps, over blocks of real chips.",
    )
    save_figure(
        plot_shares(named),
        folder / "layout_shares.png",
        f"Mean share of each class in real training maps and in maps of each kind, on a logarithmic scale; {sets}. "
        "Bars: 95 % intervals over blocks of real chips and over maps.",
    )
