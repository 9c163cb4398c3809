"""The command ``compare-routes``: image and map together, or the map first? And bits, or one channel per class?"""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from groundsynth.artifacts import metric_row, write_metrics
from groundsynth.checks.kept_samples import Arrays, keep_arrays, name_samples, timed
from groundsynth.config import Study, require_same_chips
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL
from groundsynth.models.denoiser import Denoiser, load_denoiser
from groundsynth.models.device import pick_device
from groundsynth.models.generation import hash_model, sampling_of
from groundsynth.models.sampling import draw_maps, sample_pairs
from groundsynth.models.solvers import SamplingSettings
from groundsynth.paths import stage_dir
from groundsynth.report.route_figures import plot_routes, plot_shares
from groundsynth.report.style import pair_grid, save_figure
from groundsynth.seeds import derive_seed
from groundsynth.systems import policy_of
from groundsynth.workflow.real_ground import (
    STAGE,
    RealGround,
    agreement_rows,
    distance_rows,
    map_rows,
    read_real_ground,
    real_rows,
)

ROUTES = (
    "diagonal",
    "layout",
)  # both parts at one level; the map beside pure noise, then the image beside the map
SHOWN = 8


@dataclass(frozen=True)
class Wanted:
    """What is compared: see the options of ``python -m groundsynth compare-routes``."""

    generator: str
    fold: int
    samples: int


def compare_routes(studies: list[Study], wanted: Wanted, folder: Path) -> pd.DataFrame:
    """Draw pairs along both routes with the generator of each study, and write ``metrics.csv`` and figures.

    Rows per study and route (``regime``), beside those of real training chips (system ``real``): ``kid`` and
    ``power_spectrum_error`` to held-out ground, ``class_share`` per class, ``patches_per_chip``, ``edge_rate`` and
    ``largest_patch`` of the maps, ``invalid_code_rate``, ``map_kappa`` of map and labeller with its control, and
    ``images_per_second``. Chips, held-out ground and labeller are the first study's. What is drawn is kept.

    Returns:
        the metric rows.

    Raises:
        GroundsynthError: a generator that cannot go both ways, studies of other chips, stages that have not run.
    """
    policy = policy_of(wanted.generator)
    if policy != "unified":
        raise GroundsynthError(
            f"generator '{wanted.generator}' cannot draw pairs both ways: only policy unified learned maps beside "
            "noise and images beside maps"
        )
    if wanted.samples < 4:
        raise GroundsynthError(f"{wanted.samples} samples: a distance between sets needs at least 4")
    first = studies[0]
    for other in studies[1:]:
        require_same_chips(first, other)
    if len({study.study for study in studies}) < len(studies):
        raise GroundsynthError(f"study '{first.study}' is named more than once; name each once")
    device = pick_device(first.device)
    real, sets = read_real_ground(first, wanted.fold, wanted.samples, device), {}
    rows = real_rows(first, real)
    for study in studies:
        weights = stage_dir(study.study, "02_train_generator", wanted.fold, wanted.generator, "model")
        model, digest = load_denoiser(weights).to(device), hash_model(weights)
        way = sampling_of(study.generate, policy)
        for route in ROUTES:
            seeds = [derive_seed("route", wanted.generator, route, k) for k in range(wanted.samples)]
            path = folder / "samples" / f"{name_samples(digest, route, astuple(way), seeds)}.npz"
            draw = partial(draw_route, model, route, seeds, way, device)
            drawn = keep_arrays(path, partial(timed, draw, device))
            rows += _route_rows(study, first, real, route, drawn)
            sets[study.study, route] = drawn
    metrics = write_metrics(rows, folder / "metrics.csv")
    _figures(folder, metrics, sets, real)
    return metrics


def draw_route(
    model: Denoiser, route: str, seeds: list[int], way: SamplingSettings, device: torch.device
) -> Arrays:
    """Return pairs drawn along one route: ``images`` (n, h, w, 3) and ``maps`` (n, h, w), uint8.

    Args:
        route: ``diagonal`` denoises image and map together; ``layout`` the map beside an image that is all noise,
            and then the image beside that map.
        way: how; on both routes the image follows its map as strongly as ``pair_guidance`` says.
    """
    if route == "diagonal":
        images, maps = sample_pairs(model, "joint", seeds, way, device)
    else:
        maps = draw_maps(model, seeds, way, device)
        alike = replace(way, guidance=way.pair_guidance)
        images, _ = sample_pairs(model, "mask", [derive_seed("image", s) for s in seeds], alike, device, maps)
    return {"images": images, "maps": maps}


def _route_rows(study: Study, first: Study, real: RealGround, route: str, drawn: Arrays) -> list[dict]:
    images, maps = drawn["images"], drawn["maps"]
    about = {"system": "joint", "regime": f"route={route}", "seeds": 1}
    row = partial(metric_row, study.study, STAGE, **about, n=len(images))
    # held against ground of the first study, in rows of its own study
    rows = distance_rows(study.study, first.ground, real, images, **about)
    rows += map_rows(study.study, maps, None, **about)
    rows += agreement_rows(study.study, real.labeller, images, maps, "routes", **about)
    rows.append(row("invalid_code_rate", float((maps == NO_LABEL).mean())))
    rows.append(row("images_per_second", len(images) / float(drawn["seconds"])))
    return rows


def _figures(
    folder: Path, metrics: pd.DataFrame, sets: dict[tuple[str, str], Arrays], real: RealGround
) -> None:
    several = len({study for study, _ in sets}) > 1
    named = metrics.assign(
        way=np.where(
            metrics["system"] == "real",
            "real",
            metrics["regime"].str.removeprefix("route=") + (" · " + metrics["study"] if several else ""),
        )
    )
    n = len(next(iter(sets.values()))["images"])
    intervals = "Bars: 95 % intervals over blocks of real chips and over generated chips."
    save_figure(
        plot_shares(named),
        folder / "class_frequency.png",
        f"Mean share of each class in {len(real.train)} real training maps and in {n} maps drawn along each route, on a "
        f"logarithmic scale. {intervals} One generator: they say nothing about another training.",
    )
    save_figure(
        plot_routes(named),
        folder / "routes.png",
        f"Two routes from noise to a pair, {n} pairs each: image and map together (diagonal), or the map first "
        "and the image beside it (layout). How broken up the maps are; how well the labeller finds the map in the "
        "image (kappa; not asked of real training chips, from which it has learned); and the kernel distance of "
        f"images to {len(real.held_out)} held-out windows, whose bars hold 95 % of random halves. {intervals}",
    )
    for (study, route), drawn in sets.items():
        save_figure(
            pair_grid(drawn["images"][:SHOWN], drawn["maps"][:SHOWN]),
            folder / f"pairs_{study}_{route}.png",
            f"The first {min(SHOWN, n)} of {n} pairs of study '{study}' drawn along route '{route}', not chosen.",
        )
