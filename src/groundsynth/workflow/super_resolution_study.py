"""The command ``super-resolve``: train a second diffusion model that doubles pairs, measure it, and use it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from groundsynth.artifacts import read_chips, write_chips, write_metrics
from groundsynth.benchmark.intervals import block_counts, score_interval
from groundsynth.benchmark.metrics import count_chips, mean_iou
from groundsynth.checks.doubling import image_rows, map_rows
from groundsynth.checks.territory import held_out_windows, read_territory
from groundsynth.config import Study
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL, NUM_CLASSES, SHARE_COLUMNS, class_shares
from groundsynth.models.device import describe_device, pick_device
from groundsynth.models.generation import hash_model
from groundsynth.models.solvers import SamplingSettings
from groundsynth.models.super_resolution import (
    SuperResolution,
    SuperResolver,
    double_images,
    double_maps,
    halve_images,
    halve_maps,
    super_resolve,
    train_super_resolver,
)
from groundsynth.paths import results_dir, stage_dir
from groundsynth.report.generator_figures import plot_loss
from groundsynth.report.style import save_figure
from groundsynth.report.super_resolution_figures import plot_doubling
from groundsynth.seeds import derive_seed

RESAMPLES = 2000
SHOWN = 6  # pairs in a figure
OURS, IMAGE_YARDSTICK, MAP_YARDSTICK = "super_resolution", "bicubic", "nearest"


@dataclass(frozen=True)
class Wanted:
    """What is doubled: see the options of ``python -m groundsynth super-resolve``."""

    fold: int
    generator: str
    system: str
    samples: int


def run_super_resolution(study: Study, coarse: Study, wanted: Wanted, folder: Path) -> pd.DataFrame:
    """Train on a study's chips, measure on its held-out ground, and double another study's generated pairs.

    Writes ``model/``, ``loss.csv``, ``metrics.csv`` and figures to ``folder``, and ``chips.parquet`` where stage 03
    of ``coarse`` has drawn the system.

    Args:
        study: gives the fine chips; coarse: gives the generated pairs, and may be the same study.

    Returns:
        the metric rows.

    Raises:
        GroundsynthError: stages that have not run, or ground that one study learns from and the other holds out.
    """
    device = pick_device(study.device)
    prepared = stage_dir(study.study, "01_prepare_data", wanted.fold)
    chips = read_chips(prepared / "chips.parquet", "real", lambda c: c["split"] == "train")
    if coarse.study != study.study:
        _check_ground(chips, coarse, wanted.fold)
    metres = pixel_metres(chips)
    model, log, seconds = train_super_resolver(
        np.stack(chips["image"]), np.stack(chips["mask"]), _settings(study),
        results_dir(study.study) / "checkpoints", device, metres and 2 * metres,
    )  # fmt: skip
    model.save(folder / "model")
    log.to_csv(folder / "loss.csv", index=False)
    words = f"{study.super_resolution.steps} steps, {seconds / 60:.1f} minutes on {describe_device(device)}"
    save_figure(
        plot_loss(log), folder / "loss.png", f"Training loss of super-resolution: {words}; one training."
    )
    rows = _measure(study, wanted, model, prepared, np.stack(chips["image"]), folder, device)
    metrics = write_metrics(rows, folder / "metrics.csv")
    _use(study, coarse, wanted, model, folder, device)
    return metrics


def pixel_metres(chips: pd.DataFrame) -> float | None:
    """Return the width of a chip's pixel on the ground in its CRS's units; None where chips lie nowhere."""
    if chips["crs"].eq("").all():
        return None
    return float(chips["transform_a"].abs().median())


def scale_gap(model: SuperResolver, metres: float | None) -> float | None:
    """Return how many times finer the given coarse pixels are than those of training; 1 is none."""
    if metres is None or model.config.metres is None:
        return None
    return model.config.metres / metres


def _settings(study: Study) -> SuperResolution:
    values = study.super_resolution
    return SuperResolution(
        **{
            name: tuple(value) if isinstance(value, list | tuple) else value
            for name in SuperResolution.__dataclass_fields__
            for value in [getattr(values, name)]
        }
    )


def _solving(study: Study) -> SamplingSettings:
    own = study.super_resolution
    return SamplingSettings(own.sampling_steps, "dpmpp_2m", tuple(own.sigma_range), study.generate.batch_size)


def _check_ground(chips: pd.DataFrame, coarse: Study, fold: int) -> None:
    """Stop if a chip that is learned from shows ground that the other study holds out."""
    path = stage_dir(coarse.study, "01_prepare_data", fold) / "chips.parquet"
    other = read_chips(path, "real", lambda c: ~c["split"].isin(["train", "hidden"]), pictures=False)
    side = {"own": len(chips["image"].iloc[0]), "other": coarse.data.chip_size}
    own, held = _boxes(chips, side["own"]), _boxes(other, side["other"])
    shared = (own[:, None, :2] < held[None, :, 2:]).all(-1) & (held[None, :, :2] < own[:, None, 2:]).all(-1)
    shared &= chips["crs"].to_numpy()[:, None] == other["crs"].to_numpy()[None]
    if shared.any():
        raise GroundsynthError(
            f"{shared.any(1).sum()} training chips show ground that '{coarse.study}' holds out; give both studies "
            "the same split: equal data.block_metres, data.folds and data.split_seed, and the same fold"
        )


def _boxes(chips: pd.DataFrame, side: int) -> np.ndarray:
    """Return each chip's box on the ground, (n, 4): lowest x and y, highest x and y."""
    x, y = chips["transform_c"].to_numpy(), chips["transform_f"].to_numpy()
    ends = x + side * chips["transform_a"].to_numpy(), y + side * chips["transform_e"].to_numpy()
    return np.stack(
        [np.minimum(x, ends[0]), np.minimum(y, ends[1]), np.maximum(x, ends[0]), np.maximum(y, ends[1])], 1
    )


def _measure(study, wanted, model, prepared, train, folder, device) -> list[dict]:
    """Halve real held-out chips, double them, and return how near the results come, as metric rows."""
    size = train.shape[1]
    territory = read_territory(prepared)
    corners = held_out_windows(territory, size, wanted.samples, study.ground.seed)
    truth = territory.cut(corners, size)
    maps = territory.cut_maps(corners, size)
    images = {IMAGE_YARDSTICK: double_images(halve_images(truth))}
    images[OURS], _ = _double(study, model, truth, maps, device)
    regime = f"from={size // 2};to={size}"
    about = (train, study.ground.kid_subsets, study.ground.seed)
    rows = image_rows(study.study, regime, images, truth, *about)

    held = read_chips(prepared / "chips.parquet", "real", lambda c: c["split"].isin(["val", "hidden"]))
    own, blocks = np.stack(held["mask"]), held["block"].to_numpy()
    sets = {MAP_YARDSTICK: double_maps(halve_maps(own))}
    fine, sets[OURS] = _double(study, model, np.stack(held["image"]), own, device)
    scores = {name: _map_score(drawn, own, blocks) for name, drawn in sets.items()}
    rows += map_rows(study.study, regime, sets, own, scores, len(set(blocks)))
    some = np.linspace(0, len(held) - 1, min(SHOWN, len(held))).round().astype(int)
    coarse = halve_images(np.stack(held["image"])[some]), halve_maps(own[some])
    save_figure(
        plot_doubling(*coarse, fine[some], sets[OURS][some], (np.stack(held["image"])[some], own[some])),
        folder / "super_resolution.png",
        f"{len(some)} of {len(held)} held-out real chips, spread evenly and not chosen: halved to {size // 2} px, "
        f"enlarged bicubically, doubled by the second model, and as they are; maps below.",
    )
    return rows


def _double(study, model, images, maps, device) -> tuple[np.ndarray, np.ndarray]:
    seeds = [derive_seed("doubling", study.super_resolution.seed, k) for k in range(len(images))]
    return super_resolve(model, halve_images(images), halve_maps(maps), seeds, _solving(study), device)


def _map_score(maps: np.ndarray, truth: np.ndarray, blocks: np.ndarray) -> dict:
    """Return the mIoU of maps over all classes there are; where a class is missed for 'no label', it is missed."""
    counts = block_counts(count_chips(_named(maps, truth), truth), blocks)[None, None]
    return score_interval(counts, partial(mean_iou, classes=range(NUM_CLASSES)), RESAMPLES, "doubling")[0]


def _named(maps: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return maps with a wrong class where they name none."""
    return np.where(maps == NO_LABEL, (np.where(truth == NO_LABEL, 0, truth) + 1) % NUM_CLASSES, maps)


def _use(study, coarse, wanted, model, folder, device) -> None:
    """Double the generated pairs of a study where they are there, write and show them."""
    parts = [
        stage_dir(coarse.study, "03_generate", wanted.fold, wanted.generator, wanted.system, str(k))
        / "chips.parquet"
        for k in range(coarse.generate.shards)
    ]
    if not all(part.is_file() for part in parts):
        print(f"{parts[0].parent}: nothing drawn there yet, so nothing was doubled")
        return
    chips = pd.concat([read_chips(part, "synthetic") for part in parts], ignore_index=True)
    images, maps = np.stack(chips["image"]), np.stack(chips["mask"])
    if (maps == NO_LABEL).all():
        raise GroundsynthError(f"system '{wanted.system}' draws no maps, and pairs are doubled; take another")
    seeds = [derive_seed("doubled", seed) for seed in chips["seed"]]
    level = study.super_resolution.level
    fine, fine_maps = super_resolve(model, images, maps, seeds, _solving(study), device, level)
    own_hash = hash_model(folder / "model")
    shares = np.array([class_shares(m) for m in fine_maps])
    doubled = chips.assign(
        chip_id=chips["chip_id"] + "-x2", image=list(fine), mask=list(fine_maps),
        no_label_rate=(fine_maps == NO_LABEL).mean((1, 2)), model_hash=chips["model_hash"] + "+" + own_hash,
        **dict(zip(SHARE_COLUMNS, shares.T, strict=True)),
    )  # fmt: skip
    write_chips(doubled, folder / "chips.parquet", "synthetic")
    path = stage_dir(coarse.study, "01_prepare_data", wanted.fold) / "chips.parquet"
    gap = scale_gap(model, pixel_metres(read_chips(path, "real", pictures=False)))
    save_figure(
        plot_doubling(images[:SHOWN], maps[:SHOWN], fine[:SHOWN], fine_maps[:SHOWN]),
        folder / "generated.png",
        f"The first {min(SHOWN, len(chips))} of {len(chips)} generated pairs of system '{wanted.system}' "
        f"({wanted.generator}) at {images.shape[1]} px, enlarged bicubically, and doubled to {fine.shape[1]} px by the "
        f"second model with noise {level:g} on what it is given. {_gap_words(gap)}",
    )


def _gap_words(gap: float | None) -> str:
    if gap is None:
        return "How large their pixels are on the ground, beside those it learned from, is not known."
    if abs(gap - 1) < 0.05:
        return "Their pixels are as large on the ground as those it learned from."
    return (
        f"Their pixels are {gap:.2g} times finer on the ground than those it learned from: the detail is that of "
        "coarser ground, and no real chip shows what is right."
    )
