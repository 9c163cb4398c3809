"""Checks of the commands that measure and export a finished study's generator, run as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd

from groundsynth.artifacts import read_chips

CURVE = (
    "sampling-curve", "config/smoke.yaml", "--system", "mask", "--samples", "8", "--ddpm-samples", "4",
    "--batch-size", "4", "--solvers", "heun", "--steps", "2", "--reference", "8", "--guidances", "2",
    "--churns", "2", "--images-per-map", "2", "--output", "results/scratch/curve",
)  # fmt: skip


def command(project: Path, around: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "groundsynth", *words], cwd=project, text=True, capture_output=True,
        env=around | {"GROUNDSYNTH_ROOT": str(project)}, timeout=1800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def check_curve(project: Path, around: dict[str, str]) -> None:
    command(project, around, *CURVE)
    folder = project / "results" / "scratch" / "curve"
    metrics = pd.read_csv(folder / "metrics.csv")
    assert {
        "kid",
        "images_per_second",
        "sampling_speedup",
        "diversity_ratio",
        "map_kappa",
        "reading_kappa",
    } <= set(metrics["metric"])
    fast = metrics[(metrics["metric"] == "sampling_speedup") & (metrics["regime"] == "solver=heun;steps=2")]
    assert fast["value"].item() > 30, "3 network evaluations against 1,000"
    for name in ("sampling_curve", "trade"):
        assert (folder / f"{name}.png").is_file()
        assert (folder / f"{name}.txt").read_text().strip()
    drawn = {path: path.stat().st_mtime_ns for path in (folder / "samples").iterdir()}
    command(project, around, *CURVE)
    assert {path: path.stat().st_mtime_ns for path in (folder / "samples").iterdir()} == drawn, (
        "nothing drawn twice"
    )


def check_export(project: Path, around: dict[str, str]) -> None:
    folder = Path(command(project, around, "export-generator", "config/smoke.yaml").strip().splitlines()[-1])
    code = (
        "from groundsynth.models.pipeline import GroundsynthPipeline as P; "
        f"p = P.from_pretrained({os.fspath(folder)!r}); print(p().system, p(mask=p().maps).images[0].size)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, env=around, text=True, capture_output=True
    )
    assert done.stdout.strip() == "joint (64, 64)", done.stderr[-3000:]


def check_marks_and_detectors(project: Path, around: dict[str, str]) -> None:
    command(project, around, "export-chips", "config/smoke.yaml", "--output", "results/scratch/export")
    assert "intact, unsigned" in command(project, around, "check-marks", "results/scratch/export")
    marks = project / "results" / "scratch" / "marks"
    words = ("--system", "joint", "real", "--output", os.fspath(marks))
    command(project, around, "try-marks", "config/smoke.yaml", *words)
    rates = pd.read_csv(marks / "metrics.csv").dropna(subset="arm").groupby("arm")["value"].min()
    assert rates.to_dict() == {"one_pixel": 1, "stripped": 1, "swapped_manifest": 1}
    words = ("--steps", "3", "--forged", "4", "--held-out", "16", "--output", "results/scratch/detect")
    command(project, around, "detect", "config/smoke.yaml", *words)
    folder = project / "results" / "scratch" / "detect"
    metrics = pd.read_csv(folder / "metrics.csv")
    assert {
        "detector_auc",
        "detector_auc_drop",
        "attribution_accuracy",
        "forgery_iou",
        "mark_detection_rate",
    } == set(metrics["metric"]) - {"attribution_rate"}
    assert not metrics.duplicated(["system", "arm", "regime", "metric"]).any()
    for name in (
        "detector_matrix",
        "detector_robustness",
        "attribution",
        "detector_evidence",
        "forged_redrawn",
    ):
        assert (folder / f"{name}.png").is_file()
        assert (folder / f"{name}.txt").read_text().strip()


def check_measures(project: Path, around: dict[str, str]) -> None:
    """Obedience to unseen maps, both routes to a pair, and pairs doubled: numbers, figures, nothing drawn twice."""
    wanted = {
        ("measure-obedience", "--guidances", "1", "2", "--images-per-map", "2", "--maps", "2"): (
            {"mask_obedience_ratio", "mask_obedience_swapped", "diversity_ratio", "chosen_guidance"},
            ("obedience", "unseen_layouts"),
        ),
        ("compare-routes", "--samples", "6"): (
            {"kid", "power_spectrum_error", "class_share", "patches_per_chip", "map_kappa", "invalid_code_rate"},
            ("class_frequency", "routes", "pairs_smoke_diagonal", "pairs_smoke_layout"),
        ),
        ("compare-layouts", "--maps", "2", "--layouts", "training", "transformed", "layout"): (
            {"kid", "power_spectrum_error", "class_share", "patches_per_chip", "map_kappa", "diversity_ratio"},
            ("layouts", "layout_measures", "layout_shares"),
        ),
        ("super-resolve", "--samples", "6"): (
            {"kid", "power_spectrum_error", "map_miou", "map_edge_rate"},
            ("super_resolution", "generated", "loss"),
        ),
    }  # fmt: skip
    for (name, *options), (metrics, figures) in wanted.items():
        folder = project / "results" / "scratch" / name
        words = (name, "config/smoke.yaml", *options, "--output", os.fspath(folder))
        command(project, around, *words)
        assert metrics <= set(pd.read_csv(folder / "metrics.csv")["metric"]), name
        for figure in figures:
            assert (folder / f"{figure}.png").is_file()
            assert (folder / f"{figure}.txt").read_text().strip()
        kept = {path: path.stat().st_mtime_ns for path in folder.glob("samples/*")}
        if kept:
            command(project, around, *words)
            assert {path: path.stat().st_mtime_ns for path in folder.glob("samples/*")} == kept, name
    doubled = read_chips(project / "results" / "scratch" / "super-resolve" / "chips.parquet", "synthetic")
    assert doubled["image"].iloc[0].shape == (128, 128, 3)
    assert doubled["chip_id"].str.endswith("-x2").all()
