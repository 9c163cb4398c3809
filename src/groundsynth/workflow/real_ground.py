"""What commands hold generated pairs against: real training chips, held-out ground, and the labeller of a study."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch

from groundsynth.artifacts import metric_row, read_chips
from groundsynth.checks.agreement import map_kappas, random_partners
from groundsynth.checks.distribution import kernel_distance, power_spectrum_error, standardise
from groundsynth.checks.map_shapes import shape_rows, share_rows
from groundsynth.checks.resampling import bootstrap_interval
from groundsynth.checks.scattering import scattering_features
from groundsynth.checks.territory import held_out_windows, read_territory
from groundsynth.config import Ground, Study
from groundsynth.models.segmenter import Segmenter, load_segmenter, predict
from groundsynth.paths import stage_dir

STAGE = "03_generate"


@dataclass(frozen=True)
class RealGround:
    """The same for every set that is compared.

    Attributes:
        train: real training chips; features: their scattering features (n, 129).
        held_out: (n, h, w, 3) uint8 windows of validation and hidden ground.
    """

    train: pd.DataFrame
    features: np.ndarray
    held_out: np.ndarray
    labeller: Segmenter


def read_real_ground(study: Study, fold: int, windows: int, device: torch.device) -> RealGround:
    """Read a study's training chips and labeller, and cut ``windows`` windows of its held-out ground."""
    prepared = stage_dir(study.study, "01_prepare_data", fold)
    train = read_chips(prepared / "chips.parquet", "real", lambda c: c["split"] == "train")
    territory, size = read_territory(prepared, study.generator.unlabelled), study.data.chip_size
    held_out = territory.cut(held_out_windows(territory, size, windows, study.ground.seed), size)
    labeller = load_segmenter(stage_dir(study.study, "04_label", fold) / "labeller", device)
    return RealGround(train, scattering_features(np.stack(train["image"])), held_out, labeller)


def real_rows(study: Study, real: RealGround) -> list[dict]:
    """Return the rows of real training chips (system ``real``) that rows of generated ones are read beside."""
    images, maps = np.stack(real.train["image"]), np.stack(real.train["mask"])
    some = np.random.default_rng(study.ground.seed).permutation(len(images))[: len(real.held_out)]
    about = {"system": "real", "regime": "split=train"}
    return [
        *distance_rows(study.study, study.ground, real, images[some], **about),
        *map_rows(study.study, maps, real.train["block"].to_numpy(), **about),
    ]


def distance_rows(
    study: str, ground: Ground, real: RealGround, images: np.ndarray, **about: object
) -> list[dict]:
    """Return ``kid`` (scattering coefficients) and ``power_spectrum_error`` of images to held-out ground."""
    own, reference = standardise(
        real.features, scattering_features(images), scattering_features(real.held_out)
    )
    n = min(len(own), len(reference))
    value, low, high = kernel_distance(own[:n], reference[:n], ground.kid_subsets, ground.seed)
    row = partial(metric_row, study, STAGE, **about, n=n)
    error = power_spectrum_error(images, real.held_out)
    return [row("kid", value, low=low, high=high), row("power_spectrum_error", error)]


def map_rows(study: str, maps: np.ndarray, blocks: np.ndarray | None, **about: object) -> list[dict]:
    """Return shapes of maps and ``class_share``; intervals resample blocks, or maps where there are none."""
    return [
        *shape_rows(study, STAGE, maps, blocks, **about),
        *share_rows(study, STAGE, maps, blocks, **about),
    ]


def agreement_rows(
    study: str,
    labeller: Segmenter,
    images: np.ndarray,
    maps: np.ndarray,
    label: str,
    images_per_map: int = 1,
    **about: object,
) -> list[dict]:
    """Return ``map_kappa`` of maps and the labeller's readings of their images, and its control with swapped maps.

    Args:
        label: names the random partners and resamples.
        images_per_map: consecutive images that share a map: their mean is one observation, since they are alike.
    """
    readings, rows, count = predict(labeller, images)[0], [], images_per_map
    own = maps[::count]
    for arm, given in (("", own), ("swapped_map", own[random_partners(len(own), label)])):
        each = map_kappas(readings, given.repeat(count, 0)).reshape(-1, count)
        kappas = each[np.isfinite(each).all(axis=1)].mean(axis=1)
        words = (label, about["regime"].partition("=")[2], arm)
        low, high = bootstrap_interval(lambda d, k=kappas: k[d].mean(), len(kappas), *words)
        value = float(kappas.mean()) if len(kappas) else np.nan
        about_row = {"n": len(kappas), "low": low, "high": high, **about}
        rows.append(metric_row(study, STAGE, "map_kappa", value, arm=arm, **about_row))
    return rows
