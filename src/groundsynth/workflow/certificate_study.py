"""The command ``certify-folds``: does the certificate hold on every group of blocks, and not on one alone?

Everything is measured on real windows, as they are and with planted faults, so no generator is needed. Each
fold has its own labeller, limits from its validation and hidden blocks, and a look at its test blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

import pandas as pd
import torch

from groundsynth.artifacts import atomic_path, read_chips, write_metrics
from groundsynth.benchmark.labelling import stack
from groundsynth.benchmark.segmentation import primary_score, read_primary
from groundsynth.checks.certificate import Threshold, fit_thresholds, judge
from groundsynth.checks.evidence import Witness, learn_captions, measure
from groundsynth.checks.fault_study import auc_rows, measure_faults, rate_row
from groundsynth.checks.kept_samples import name_samples
from groundsynth.checks.memorisation import index_training
from groundsynth.checks.pairs import layout_writer
from groundsynth.checks.patches import index_patches
from groundsynth.checks.samples import chip_corners, real_windows
from groundsynth.checks.territory import read_territory
from groundsynth.checks.texture import learn_texture
from groundsynth.config import Study
from groundsynth.models.device import pick_device
from groundsynth.models.segmenter import Segmenter, Training, load_segmenter, make_pool, train_segmenter
from groundsynth.paths import results_dir, stage_dir
from groundsynth.report.evidence_figures import folds_caption, plot_folds
from groundsynth.report.style import save_figure

SIDES = {"val+hidden": ("val", "hidden"), "test": ("test",)}


def certify_folds(
    study: Study, folds: Sequence[int], folder: Path, progress: Callable = iter
) -> pd.DataFrame:
    """Set limits and try them on the test blocks of every fold; write ``metrics.csv`` and a figure.

    Rows ``keep_rate`` and ``drop_rate`` of real windows per fold (``regime`` fold=0, …) and of all folds
    together (``regime`` empty: every block tested once), ``auc`` per fold; intervals resample blocks.

    Args:
        progress: wraps the list of folds. The evidence of a finished fold is kept and not measured again.

    Raises:
        GroundsynthError: a fold whose stage 01 has not run.
    """
    device, rows, judged = pick_device(study.device), [], []
    for fold in progress(folds):
        tables = split_evidence(keep_evidence(study, fold, device))
        real, planted = tables["test"].pop(""), tables["test"]
        found = auc_rows(study.study, "real", real, planted, f"fold={fold}")
        rows += [row for row in found if row["metric"] == "auc"]
        thresholds = limits_of(tables["val+hidden"], study.ground.keep_real)
        for fault, table in {"": real, **planted}.items():
            units = f"{fold}:" + table["unit"].astype(str)
            judged.append(judge(table, thresholds).assign(fold=fold, fault=fault, unit=units))
    together = pd.concat(judged, ignore_index=True)
    for fold, part in together.groupby("fold", sort=False):
        rows += fault_rates(study.study, part, f"fold={fold}")
    metrics = write_metrics(rows + fault_rates(study.study, together, ""), folder / "metrics.csv")
    save_figure(plot_folds(metrics), folder / "certificate_folds.png", folds_caption(metrics))
    return metrics


def limits_of(tables: dict[str, pd.DataFrame], keep_real: float) -> list[Threshold]:
    """Return the limits that validation gives: its evidence by fault, with the windows as they are under ``''``."""
    faults = {name: table for name, table in tables.items() if name}
    return fit_thresholds(tables[""], tables[""]["unit"], keep_real, "val + hidden", faults)


def fault_rates(study: str, judged: pd.DataFrame, regime: str) -> list[dict]:
    """Return ``keep_rate`` of windows as they are and ``drop_rate`` under every fault (column ``fault``)."""
    rows = []
    for fault, part in judged.groupby("fault", sort=False):
        metric, verdict = ("drop_rate", "drop") if fault else ("keep_rate", "keep")
        rows.append(rate_row(study, metric, "real", str(fault), part, verdict, regime))
    return rows


def split_evidence(evidence: pd.DataFrame) -> dict[str, dict[str, pd.DataFrame]]:
    """Return evidence (columns side, fault and those of :func:`measure`) by side and fault."""
    return {
        str(side): {
            str(fault): table.drop(columns=["side", "fault"]).reset_index(drop=True)
            for fault, table in part.groupby("fault", sort=False)
        }
        for side, part in evidence.groupby("side", sort=False)
    }


def keep_evidence(study: Study, fold: int, device: torch.device) -> pd.DataFrame:
    """Return a fold's evidence, measured once for every state of stage 01, the labeller and the windows."""
    prepared = stage_dir(study.study, "01_prepare_data", fold)
    chips = read_chips(prepared / "chips.parquet", "real", lambda table: table["split"] != "region")
    labeller = read_labeller(study, fold, chips, device)
    weights = [value.cpu().numpy() for value in labeller.state_dict().values()]
    caption, ground = study.caption, study.ground
    name = name_samples(
        chips["chip_id"].tolist(), stack(chips, "image"), stack(chips, "mask"), *weights, caption.layout_style,
        caption.style, ground.windows, ground.seed,
    )  # fmt: skip
    path = results_dir(study.study) / "checkpoints" / "certificate" / f"fold{fold}-{name}.parquet"
    if not path.is_file():
        with atomic_path(path) as temporary:
            fold_evidence(study, prepared, chips, labeller).to_parquet(temporary)
    return pd.read_parquet(path)


def read_labeller(study: Study, fold: int, chips: pd.DataFrame, device: torch.device) -> Segmenter:
    """Return the fold's labeller of stage 04; where that has not run, one trained in the same way."""
    trained = stage_dir(study.study, "04_label", fold) / "labeller"
    if trained.is_dir():
        return load_segmenter(trained, device)
    settings = study.label.model_dump()
    training = Training(**{f.name: settings[f.name] for f in fields(Training) if f.name in settings})
    train, val = (chips[chips["split"] == split] for split in ("train", "val"))
    pool = make_pool("real training chips", stack(train, "image"), stack(train, "mask"))
    score = primary_score(stack(val, "mask"), read_primary(study.study, fold))
    names = ("labeller", fold, study.label.seed)
    return train_segmenter([pool], stack(val, "image"), score, training, names, device)[0]


def fold_evidence(study: Study, prepared: Path, chips: pd.DataFrame, labeller: Segmenter) -> pd.DataFrame:
    """Return the evidence of real windows of both sides, as they are (fault ``''``) and with every fault.

    Args:
        prepared: folder of stage 01; chips: its real chips.
    """
    training, territory, seed = (
        chips[chips["split"] == "train"],
        read_territory(prepared, study.generator.unlabelled),
        study.ground.seed,
    )
    images, writer = stack(training, "image"), layout_writer(study.caption.layout_style, study.caption.style)
    size = images.shape[1]
    yardstick = {
        side: real_windows(territory, chips, splits, size, study.ground.windows, writer, seed)
        for side, splits in SIDES.items()
    }
    index, pieces = index_training(territory, size), index_patches(territory)
    witness = Witness(labeller, index, pieces, learn_texture(images))
    witness = learn_captions(witness, yardstick["val+hidden"], seed)
    corners, parts = chip_corners(training, territory.names), []
    for side, samples in yardstick.items():
        own = measure(samples, witness).assign(unit=samples.units)
        planted = measure_faults(samples, own, witness, territory, corners, writer, seed)
        parts += [t.assign(side=side, fault=fault) for fault, t in {"": own, **planted}.items()]
    return pd.concat(parts, ignore_index=True).astype({"unit": str})
