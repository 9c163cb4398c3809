"""The command ``sampling-curve``: how few steps, which solver, how much churn and guidance, on a trained generator."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from groundsynth.artifacts import read_chips, write_metrics
from groundsynth.checks.agreement import map_kappas
from groundsynth.checks.diversity import diversity, diversity_rows
from groundsynth.checks.own_reading import reading_rows
from groundsynth.checks.sampling_curve import (
    STAGE,
    curve_rows,
    draw_kept,
    kappa_row,
    measure_ways,
    name_of,
    pair_guided,
    plan_ways,
    stock_loop,
    yardsticks,
)
from groundsynth.checks.scattering import scattering_features
from groundsynth.checks.territory import held_out_windows, read_territory
from groundsynth.config import Study
from groundsynth.errors import GroundsynthError
from groundsynth.models.denoiser import load_denoiser
from groundsynth.models.device import describe_device, pick_device
from groundsynth.models.generation import hash_model, sampling_of
from groundsynth.models.given_maps import give_maps
from groundsynth.models.noise import POLICIES
from groundsynth.models.sampling import segment
from groundsynth.models.segmenter import load_segmenter, predict
from groundsynth.models.solvers import SamplingSettings
from groundsynth.paths import stage_dir
from groundsynth.report.sampling_figures import plot_sampling_curve, plot_trade
from groundsynth.report.style import save_figure
from groundsynth.seeds import derive_seed
from groundsynth.systems import GIVEN_MAP, PAIRS, SYSTEMS_OF, policy_of

DRAWS = 5  # of a map for one image, put to a vote


@dataclass(frozen=True)
class Wanted:
    """What is compared: see the options of ``python -m groundsynth sampling-curve``."""

    generator: str
    system: str
    fold: int
    samples: int
    ddpm_samples: int
    batch_size: int
    solvers: list[str]
    steps: list[int]
    reference: int
    churns: list[float]
    guidances: list[float]
    images_per_map: int


def run_sampling_curve(study: Study, wanted: Wanted, folder: Path) -> pd.DataFrame:
    """Measure every way to sample, and write ``metrics.csv``, ``curve.csv`` and the figures to ``folder``.

    Returns:
        the metric rows.

    Raises:
        GroundsynthError: a generator that does not draw the system, or stages that have not run.
    """
    _check(wanted)
    device = pick_device(study.device)
    weights = stage_dir(study.study, "02_train_generator", wanted.fold, wanted.generator, "model")
    model = load_denoiser(weights).to(device)
    prepared = stage_dir(study.study, "01_prepare_data", wanted.fold)
    train = read_chips(prepared / "chips.parquet", "real", lambda c: c["split"] == "train")
    images, size = np.stack(train["image"]), model.config.chip_size
    territory = read_territory(prepared, study.generator.unlabelled)
    held_out = territory.cut(held_out_windows(territory, size, wanted.samples, study.ground.seed), size)
    own = policy_of(wanted.generator) if wanted.system in PAIRS else ""
    base = sampling_of(study.generate, own, batch_size=wanted.batch_size, churn=0.0, guidance=1.0)
    ways = plan_ways(base, wanted.solvers, wanted.steps, wanted.reference, wanted.churns, wanted.guidances)
    numbers = range(wanted.samples)
    seeds = [derive_seed("sample", wanted.generator, wanted.system, k) for k in numbers]
    maps = None
    if wanted.system in GIVEN_MAP:
        given = give_maps("training", train, wanted.generator, numbers, wanted.images_per_map)
        maps = np.stack(given["mask"])
    keep = partial(draw_kept, folder, model, hash_model(weights), wanted.system)

    def draw(way: SamplingSettings) -> tuple[np.ndarray, float, float]:
        n = wanted.ddpm_samples if way.solver == "ddpm" else wanted.samples
        return keep(way, seeds[:n], None if maps is None else maps[:n], device)

    curve, drawn = measure_ways(ways, draw, held_out, images, study.ground.kid_subsets, study.ground.seed)
    references = [name_of(way) for way in yardsticks(base, wanted.reference)]
    rows = curve_rows(study.study, wanted.system, curve, references)
    if maps is not None:
        labeller = stage_dir(study.study, "04_label", wanted.fold) / "labeller"
        rows += _map_rows(study.study, wanted, drawn, maps, train, labeller, device)
    if "segment" in POLICIES.get(policy_of(wanted.generator), {}):
        rows += _own_reading(study.study, wanted, model, base, prepared, device)
    metrics = write_metrics(rows, folder / "metrics.csv")
    curve.to_csv(folder / "curve.csv", index=False)
    _figures(folder, wanted, curve, metrics, references, describe_device(device))
    return metrics


def _check(wanted: Wanted) -> None:
    policy = policy_of(wanted.generator)
    if wanted.system not in SYSTEMS_OF.get(policy, ()):
        able = ", ".join(SYSTEMS_OF.get(policy, ())) or "nothing: it is none of the policies"
        raise GroundsynthError(
            f"generator '{wanted.generator}' does not draw system '{wanted.system}'; it draws {able}"
        )
    if wanted.guidances and wanted.system not in GIVEN_MAP:
        raise GroundsynthError(
            f"guidance needs a map to obey, and system '{wanted.system}' is given none; use system mask"
        )
    if wanted.system == "text":
        raise GroundsynthError(
            "system 'text' draws what it is asked for, and a sampling curve asks for nothing; use system joint, whose "
            "pairs the same network draws"
        )
    if wanted.reference in wanted.steps:
        raise GroundsynthError(
            f"reference {wanted.reference} is among the steps compared with it; leave it out there"
        )
    if min(wanted.samples, wanted.ddpm_samples) < 4 or wanted.ddpm_samples > wanted.samples:
        raise GroundsynthError(
            f"{wanted.samples} samples and {wanted.ddpm_samples} of the DDPM loop: a distance between sets "
            "needs at least 4, and the loop no more than the others"
        )


def _map_rows(study, wanted, drawn, maps, train, labeller: Path, device: torch.device) -> list[dict]:
    """Return diversity and, where stage 04 has run, obedience of every way that drew all samples."""
    reader = load_segmenter(labeller, device) if labeller.is_dir() else None
    groups, rows = np.arange(wanted.samples) // wanted.images_per_map, []
    known = scattering_features(np.stack(train["image"]))
    for way, images in drawn.items():
        if len(images) < len(maps):
            continue
        if wanted.images_per_map > 1:
            distances = diversity(images, maps, groups, train, known)
            about = {"system": wanted.system, "regime": name_of(way), "seeds": 1}
            rows += diversity_rows(study, STAGE, distances, **about)
        if reader is not None:
            kappas = pd.Series(map_kappas(predict(reader, images)[0], maps))
            each = kappas.groupby(groups).mean().to_numpy()  # images of one map are alike: one observation
            rows.append(kappa_row(study, wanted.system, way, each))
    return rows


def _own_reading(
    study: str, wanted: Wanted, model, way: SamplingSettings, prepared: Path, device
) -> list[dict]:
    """Return how well the generator reads held-out real chips, beside stage 04's labeller where it is there."""
    chips = read_chips(prepared / "chips.parquet", "real", lambda c: c["split"].isin(["val", "hidden"]))
    images, maps = np.stack(chips["image"]), np.stack(chips["mask"])
    draws = [
        segment(model, images, [derive_seed("reading", chip, k) for chip in chips["chip_id"]], way, device)
        for k in range(DRAWS)
    ]
    labeller = stage_dir(study, "04_label", wanted.fold) / "labeller"
    labelled = predict(load_segmenter(labeller, device), images)[0] if labeller.is_dir() else None
    return reading_rows(study, np.stack(draws), labelled, maps, chips["block"].to_numpy())


def _guided_words(references: list[str]) -> str:
    """Return what the caption says of pairs guided by their own maps; nothing where none were."""
    own = [pair_guided(name) for name in references if pair_guided(name)]
    if not own:
        return ""
    return (
        f"; hollow: pairs guided by their own maps (weight {own[0].split('=')[1]}), as this study guides them, and "
        "between dotted lines their own yardstick of as many steps as the band's"
    )


def _figures(
    folder: Path,
    wanted: Wanted,
    curve: pd.DataFrame,
    metrics: pd.DataFrame,
    references: list[str],
    device: str,
) -> None:
    loop = stock_loop(curve).iloc[0]
    save_figure(
        plot_sampling_curve(curve, references),
        folder / "sampling_curve.png",
        f"Left: kernel distance of {wanted.samples} samples of system '{wanted.system}' ({wanted.generator}) to as "
        "many held-out real chips, in scattering coefficients, by the number of times the network is asked per "
        "sample, guidance not counted; bars hold 95 % of random halves of the sets. Grey band: the same of "
        f"{wanted.reference} steps; dashed: real training chips{_guided_words(references)}. Right: times faster than the stock DDPM loop of "
        f"1,000 steps, which drew {loop['n']:.0f} samples; {device}, batches of {wanted.batch_size}.",
    )
    trade = metrics[metrics["metric"].isin(["diversity_ratio", "map_kappa"]) & (metrics["arm"] == "")]
    if trade["metric"].nunique() == 2:
        save_figure(
            plot_trade(trade),
            folder / "trade.png",
            f"Obedience (the labeller's mean kappa with the given map) against diversity (distances between "
            f"{wanted.images_per_map} images of one map over those between real chips of similar maps; 1 is as "
            f"varied as reality), by way to sample; {wanted.samples} images, 95 % intervals over maps.",
        )
