"""The command ``compare-routes``: image and map together, or the map first? And bits, or one channel per class?"""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from groundsynth.artifacts import metric_row, read_chips, write_metrics
from groundsynth.checks.agreement import map_kappas, random_partners
from groundsynth.checks.distribution import kernel_distance, power_spectrum_error, standardise
from groundsynth.checks.kept_samples import Arrays, keep_arrays, name_samples, timed
from groundsynth.checks.map_shapes import shape_rows, share_rows
from groundsynth.checks.resampling import bootstrap_interval
from groundsynth.checks.scattering import scattering_features
from groundsynth.checks.territory import held_out_windows, read_territory
from groundsynth.config import Study, require_same_chips
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL
from groundsynth.models.denoiser import Denoiser, load_denoiser
from groundsynth.models.device import pick_device
from groundsynth.models.generation import hash_model, sampling_of
from groundsynth.models.sampling import draw_maps, sample_pairs
from groundsynth.models.segmenter import Segmenter, load_segmenter, predict
from groundsynth.models.solvers import SamplingSettings
from groundsynth.paths import stage_dir
from groundsynth.report.route_figures import plot_routes, plot_shares
from groundsynth.report.style import pair_grid, save_figure
from groundsynth.seeds import derive_seed
from groundsynth.systems import policy_of

STAGE = "03_generate"
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


@dataclass(frozen=True)
class _Real:
    """What every route is held against."""

    train: pd.DataFrame
    features: np.ndarray  # (n, 129) scattering features of the training chips
    held_out: np.ndarray  # (n, h, w, 3) windows of validation and hidden ground
    labeller: Segmenter


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
    real, rows, sets = _read_real(first, wanted, device), [], {}
    rows += _real_rows(first, real)
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


def _read_real(study: Study, wanted: Wanted, device: torch.device) -> _Real:
    prepared = stage_dir(study.study, "01_prepare_data", wanted.fold)
    train = read_chips(prepared / "chips.parquet", "real", lambda c: c["split"] == "train")
    territory, size = read_territory(prepared), study.data.chip_size
    held_out = territory.cut(held_out_windows(territory, size, wanted.samples, study.ground.seed), size)
    labeller = load_segmenter(stage_dir(study.study, "04_label", wanted.fold) / "labeller", device)
    return _Real(train, scattering_features(np.stack(train["image"])), held_out, labeller)


def _real_rows(study: Study, real: _Real) -> list[dict]:
    images, maps = np.stack(real.train["image"]), np.stack(real.train["mask"])
    some = np.random.default_rng(study.ground.seed).permutation(len(images))[: len(real.held_out)]
    about = {"system": "real", "regime": "split=train"}
    return [
        *_distance_rows(study, real, images[some], **about),
        *_map_rows(study.study, maps, real.train["block"].to_numpy(), **about),
    ]


def _route_rows(study: Study, first: Study, real: _Real, route: str, drawn: Arrays) -> list[dict]:
    images, maps = drawn["images"], drawn["maps"]
    about = {"system": "joint", "regime": f"route={route}"}
    row = partial(metric_row, study.study, STAGE, **about, n=len(images), seeds=1)
    readings = predict(real.labeller, images)[0]
    rows = _distance_rows(study, real, images, **about)
    rows += _map_rows(study.study, maps, None, **about, seeds=1)
    for arm, given in (("", maps), ("swapped_map", maps[random_partners(len(maps), "routes")])):
        kappas = map_kappas(readings, given)
        kappas = kappas[np.isfinite(kappas)]
        low, high = bootstrap_interval(lambda d, k=kappas: k[d].mean(), len(kappas), "routes", route, arm)
        value = float(kappas.mean()) if len(kappas) else np.nan
        rows.append(row("map_kappa", value, arm=arm, low=low, high=high))
    rows.append(row("invalid_code_rate", float((maps == NO_LABEL).mean())))
    rows.append(row("images_per_second", len(images) / float(drawn["seconds"])))
    return rows


def _distance_rows(study: Study, real: _Real, images: np.ndarray, **about: object) -> list[dict]:
    own, reference = standardise(
        real.features, scattering_features(images), scattering_features(real.held_out)
    )
    n = min(len(own), len(reference))
    value, low, high = kernel_distance(own[:n], reference[:n], study.ground.kid_subsets, study.ground.seed)
    row = partial(metric_row, study.study, STAGE, **about, n=n)
    error = power_spectrum_error(images, real.held_out)
    return [row("kid", value, low=low, high=high), row("power_spectrum_error", error)]


def _map_rows(study: str, maps: np.ndarray, blocks: np.ndarray | None, **about: object) -> list[dict]:
    return [
        *shape_rows(study, STAGE, maps, blocks, **about),
        *share_rows(study, STAGE, maps, blocks, **about),
    ]


def _figures(folder: Path, metrics: pd.DataFrame, sets: dict[tuple[str, str], Arrays], real: _Real) -> None:
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
