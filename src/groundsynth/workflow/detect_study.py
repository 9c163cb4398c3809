"""The command ``detect``: can synthetic chips of a study be told, by what, and does it last?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from groundsynth.artifacts import read_chips, write_metrics
from groundsynth.checks import authenticity, forgery
from groundsynth.checks.authenticity import (
    HeldOut,
    ask_detector,
    detector_rows,
    drop_rows,
    foreign_levels,
    ground_cells,
    match_levels,
)
from groundsynth.checks.forgery import Forged
from groundsynth.checks.territory import Territory, held_out_windows, read_maps, read_territory
from groundsynth.config import Study, require_same_chips
from groundsynth.data.synthetic import read_synthetic
from groundsynth.errors import GroundsynthError
from groundsynth.models.answering import answer_scores, tune_to_answer
from groundsynth.models.captioner import Captioner
from groundsynth.models.denoiser import load_denoiser
from groundsynth.models.detector import (
    DetectorSettings,
    class_scores,
    heat_maps,
    synthetic_scores,
    train_detector,
    train_localiser,
)
from groundsynth.models.device import pick_device
from groundsynth.models.generation import sampling_of
from groundsynth.models.sampling import redraw_region
from groundsynth.paths import caption_journals, stage_dir
from groundsynth.report.authenticity_figures import draw_figures
from groundsynth.seeds import derive_seed, rng
from groundsynth.workflow.parameters import generator_names

QUALITIES = (90, 75, 50, 30)
FACTORS = (0.9, 0.75, 0.5)
ALL = "all"
REAL = "real"


@dataclass(frozen=True)
class DetectSettings:
    """What is measured: see the options of ``python -m groundsynth detect``."""

    fold: int = 0
    steps: int = 200
    seed: int = 0
    forged: int = 48
    held_out: int = 256
    captioner: Path | None = None


@dataclass(frozen=True)
class Chips:
    """What detectors learn from and are tested on, at the grey levels of real chips and as they were drawn."""

    train: np.ndarray  # (n, h, w, 3) real, training ground
    learn: dict[str, np.ndarray]  # synthetic, by system
    tested: HeldOut
    learn_raw: dict[str, np.ndarray]
    tested_raw: HeldOut
    tables: np.ndarray
    generators: dict[str, str]  # which one drew each system
    train_table: pd.DataFrame
    territory: Territory
    corners: np.ndarray


def detect_study(
    study: Study, others: list[Study], settings: DetectSettings, folder: Path, progress: Callable = iter
) -> pd.DataFrame:
    """Train detectors, test them, and write ``metrics.csv`` and the figures to ``folder``; return the rows.

    Args:
        others: further studies of the same chips, whose systems are taken in, such as one of GANs.
        progress: wraps the list of what detectors learn from, e.g. ``tqdm``.

    Raises:
        GroundsynthError: stages that have not run, studies of other chips, or a single system.
    """
    device = pick_device(study.device)
    chips = gather(study, others, settings)
    training = DetectorSettings(settings.steps, seed=settings.seed)
    sources = {**{name: [name] for name in chips.learn}, ALL: list(chips.learn)}
    networks, rows, matrices = {}, [], {}
    for name, systems in progress(list(sources.items())):
        learn, raw = (
            np.concatenate([x[system] for system in systems]) for x in (chips.learn, chips.learn_raw)
        )
        networks[name] = train_detector({REAL: chips.train, "synthetic": learn}, training, device)
        detectors = {
            "detector=network": (partial(synthetic_scores, networks[name]), chips.tested),
            "detector=spectrum": (authenticity.fit_spectral(chips.train, learn), chips.tested),
            "detector=spectrum;as_drawn": (authenticity.fit_spectral(chips.train, raw), chips.tested_raw),
        }
        if settings.captioner is not None:
            captioner = Captioner.from_pretrained(settings.captioner, device)
            tune_to_answer(captioner, {REAL: chips.train, "synthetic": learn}, settings.steps, settings.seed)
            detectors["detector=captioner"] = (partial(answer_scores, captioner), chips.tested)
        for regime, (score, tested) in detectors.items():
            told = ask_detector(score, tested)
            rows += detector_rows(study.study, name, told, tested, regime)
            matrices.setdefault(regime, {})[name] = told
    for regime, matrix in matrices.items():
        single = {name: told for name, told in matrix.items() if name != ALL}
        rows += drop_rows(study.study, single, chips.generators, regime)
    levels = partial(foreign_levels, tables=chips.tables)
    told = ask_detector(levels, chips.tested_raw)
    rows += detector_rows(study.study, "none", told, chips.tested_raw, "detector=levels;as_drawn")
    rows += _robustness(study.study, chips, networks[ALL], levels, training, device)
    rows += _attribution(study.study, chips, training, device)
    forged, heat = _forgeries(study, chips, networks[ALL], settings, device)
    metrics = write_metrics(rows + forged, folder / "metrics.csv")
    draw_figures(folder, metrics, chips.train, chips.learn_raw, networks[ALL], chips.tested, heat)
    return metrics


def captioner_of(study: Study, fold: int) -> Path:
    """Return the folder of the captioner that stage 05 trained last (see ``captioning.own_captioner``).

    Raises:
        GroundsynthError: none is there, or several candidates of one training.
    """
    folder = caption_journals(study.study, fold)
    found = sorted(folder.glob("captioner-*/config.json"), key=lambda path: path.stat().st_mtime_ns)
    last = [path.parent for path in found if _training(path) == _training(found[-1])]
    if len(last) != 1:
        names = ", ".join(sorted(path.name for path in last)) or "none"
        raise GroundsynthError(
            f"{folder}: one captioner of stage 05 is wanted here, and there is {names}; run stage 05 with writer "
            "'captioner', or name a folder behind --captioner"
        )
    return last[0]


def _training(config: Path) -> str:
    """Return the key of a captioner's training: ``captioner-<key>-<start>-<style>/config.json``."""
    return config.parent.name.split("-")[1]


def gather(study: Study, others: list[Study], settings: DetectSettings) -> Chips:
    """Read real and synthetic chips and divide them."""
    fold = settings.fold
    prepared = stage_dir(study.study, "01_prepare_data", fold)
    table = read_chips(prepared / "chips.parquet", "real", lambda c: c["split"] == "train")
    train, territory = np.stack(table["image"]), read_territory(prepared, study.generator.unlabelled)
    parts = []
    for each in (study, *others):
        require_same_chips(each, study)
        taken = {name for part in parts for name in part["system"].unique()}
        systems = [name for name in each.generate.systems if name not in taken]
        if systems:
            names = generator_names(each)
            parts.append(read_synthetic(each.study, fold, names, systems, each.generate.shards))
    synthetic = pd.concat(parts, ignore_index=True)
    if synthetic["system"].nunique() < 2:
        raise GroundsynthError(
            f"'{study.study}' drew a single system, and a detector is to be tested on one it never saw; add a study "
            "with --also"
        )
    learn, test = authenticity.halves(synthetic, settings.seed)
    tables, size = authenticity.level_tables(train), train.shape[1]
    corners = held_out_windows(territory, size, settings.held_out, settings.seed)
    held_out, cells = territory.cut(corners, size), ground_cells(corners, size)
    raw = [{s: np.stack(p["image"]) for s, p in half.groupby("system", sort=False)} for half in (learn, test)]
    matched = [{s: match_levels(x, tables) for s, x in half.items()} for half in raw]
    generators = (
        synthetic.groupby("system")["generator"].agg(lambda names: "+".join(sorted(set(names)))).to_dict()
    )
    return Chips(
        train, matched[0], HeldOut(held_out, cells, matched[1]), raw[0], HeldOut(held_out, cells, raw[1]), tables,
        generators, table, territory, corners,
    )  # fmt: skip


def _robustness(study, chips: Chips, network, levels, training, device) -> list[dict]:
    """Return detection after JPEG and resizing: by the network, by one hardened against both, by grey levels."""
    learn = np.concatenate(list(chips.learn.values()))
    hard = train_detector({REAL: chips.train, "synthetic": learn}, training, device, authenticity.hardened)
    changes: dict[str, Callable] = {
        f"jpeg={q}": partial(authenticity.recompress, quality=q) for q in QUALITIES
    }
    changes |= {f"resize={f:g}": partial(authenticity.resize, factor=f) for f in FACTORS}
    hardened = partial(synthetic_scores, hard)
    told = ask_detector(hardened, chips.tested)
    rows = detector_rows(study, ALL, told, chips.tested, "detector=hardened")
    plans = (
        ("network", ALL, partial(synthetic_scores, network), chips.tested),
        ("hardened", ALL, hardened, chips.tested),
        ("spectrum", ALL, authenticity.fit_spectral(chips.train, learn), chips.tested),
        ("levels", "none", levels, chips.tested_raw),
    )
    for name, learnt, score, tested in plans:
        rows += authenticity.rows_by_change(study, learnt, score, tested, name, changes)
    return rows


def _attribution(study: str, chips: Chips, training: DetectorSettings, device: torch.device) -> list[dict]:
    groups = {REAL: chips.train, **chips.learn}
    network, names = train_detector(groups, training, device), list(groups)
    shown = {REAL: chips.tested.real, **chips.tested.synthetic}
    found = [np.array(names)[class_scores(network, images).argmax(1)] for images in shown.values()]
    truth = np.repeat(list(shown), [len(images) for images in shown.values()])
    single = [f"{system}-{k}" for system in chips.learn for k in range(len(shown[system]))]
    units = np.array([*chips.tested.cells, *single])
    return authenticity.attribution_rows(study, truth, np.concatenate(found), units, names)


def _forgeries(
    study: Study, chips: Chips, network, settings: DetectSettings, device: torch.device
) -> tuple[list[dict], dict[str, tuple[Forged, np.ndarray]]]:
    """Return rows of every way to forge, and the forgeries with the localiser's heat maps.

    Two detectors look: the one that learned from whole synthetic chips, and a localiser that learned from patches
    pasted into training chips; neither learned from redrawn regions.
    """
    size, n = chips.train.shape[1], settings.forged
    maps = read_maps(stage_dir(study.study, "01_prepare_data", settings.fold), chips.territory)
    some = chips.corners[np.sort(rng("forged", settings.seed).permutation(len(chips.corners))[:n])]
    held = np.stack([maps[s][r : r + size, c : c + size] for s, r, c in some])
    place = rng("forged_train", settings.seed).permutation(len(chips.train))[:n]
    sets = {
        "train": (chips.train[place], np.stack(chips.train_table["mask"])[place], np.zeros(len(place), int)),
        "test": (chips.territory.cut(some, size), held, ground_cells(some, size)),
    }
    ways: dict[str, Callable] = {"pasted": partial(_pasted, chips, settings.seed)}
    if "unified" in study.generator.policies or "mask" in study.generator.policies:
        ways = {"redrawn": partial(_redrawn, study, settings, device), **ways}
    donors = np.concatenate(list(chips.learn.values()))
    training = DetectorSettings(settings.steps, seed=settings.seed)
    drawing = partial(forgery.forged_batch, chips.train, donors, training.batch_size)
    localiser = train_localiser(drawing, training, device)
    eyes = {"network": partial(heat_maps, network), "localiser": partial(heat_maps, localiser)}
    rows, shown = [], {}
    for kind, forge in ways.items():
        made = {}
        for part, (real, given, cells) in sets.items():
            regions = forgery.draw_regions(len(real), size, part, settings.seed)
            images = forge(part, real, given, regions)
            images = np.where(regions[..., None], match_levels(images, chips.tables), real)
            made[part] = Forged(real, images, regions, cells)
        found, heat = forgery.forgery_rows(study.study, ALL, kind, eyes, made["test"], made["train"])
        rows += found + forgery.mark_answers(study.study, kind, made["test"])
        shown[kind] = (made["test"], heat["localiser"])
    return rows, shown


def _redrawn(study: Study, settings: DetectSettings, device, part, real, given, regions) -> np.ndarray:
    policy = "unified" if "unified" in study.generator.policies else "mask"
    trained = stage_dir(
        study.study, "02_train_generator", settings.fold, f"{policy}-s{study.generator.seeds[0]}"
    )
    model, how = (
        load_denoiser(trained / "model").to(device),
        sampling_of(study.generate, policy, guidance=1.0),
    )
    seeds = [derive_seed("forged", part, settings.seed, k) for k in range(len(real))]
    return redraw_region(model, real, given, regions, seeds, how, device)


def _pasted(chips: Chips, seed: int, part, real, given, regions) -> np.ndarray:
    pool = chips.learn_raw if part == "train" else chips.tested_raw.synthetic
    donors = np.concatenate(list(pool.values()))
    return forgery.paste(
        real, donors[rng("donors", part, seed).integers(len(donors), size=len(real))], regions
    )
