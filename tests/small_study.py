"""A whole small study on disk, with invented numbers in the true formats, for tests of the report."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd

from groundsynth.artifacts import encode_png, metric_row, write_chips, write_json, write_metrics, write_table
from groundsynth.config import load_study
from groundsynth.legend import CLASSES, SHARE_COLUMNS, class_shares
from groundsynth.paths import project_root
from groundsynth.report.tables import REPORT, Folder, folders_of

SIDE = 16
SHARES = (0.5, 0.07, 0.12, 0.01, 0.28, 0.005, 0.015)


def make_study(root: Path, name: str = "smoke", folds: list[int] | None = None) -> Path:
    """Fill ``root`` with a project that holds one finished study but for its report; return its results.

    Args:
        folds: those of the study, instead of its own.
    """
    source = project_root()
    for folder in ("config", "notebooks"):
        shutil.copytree(source / folder, root / folder)
    (root / "Snakefile").touch()
    (root / "README.md").write_text("# t\n\n<!-- results:begin -->\nold\n<!-- results:end -->\n\nafter\n")
    results = root / "results" / name
    if folds:
        config = root / "config" / f"{name}.yaml"
        config.write_text(f"{config.read_text()}\nfolds: {folds}\n")
    study = load_study(root / "config" / f"{name}.yaml")
    for folder in folders_of(study, results):
        folder.path.mkdir(parents=True)
        write_metrics(_rows(name, folder), folder.path / "metrics.csv")
        make_run(folder)
    _make_chips(results, study.generate.systems)
    _make_certificates(results, study.generate.systems)
    data = {
        "source": "s",
        "title": "A scene",
        "licence": "CC BY-SA 3.0",
        "citation": "its makers",
        "sha256": "0" * 8,
    }
    for fold in study.folds:
        write_json(results / "01_prepare_data" / f"fold{fold}" / "data.json", data)
    return results


def make_run(folder: Folder, seconds: float = 30.0, text: str = "done") -> None:
    """Leave an executed notebook and the runner's record in a folder."""
    picture = encode_png(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    cell = nbformat.v4.new_code_cell(
        "print('done')",
        outputs=[
            nbformat.v4.new_output("stream", name="stdout", text=f" 10%\r100%\n{text}\n"),
            nbformat.v4.new_output("display_data", {"image/png": _base64(picture)}),
        ],
    )
    title = nbformat.v4.new_markdown_cell(f"# {folder.stage[:2]} · {folder.stage[3:]}\n\nWords.")
    notebook = nbformat.v4.new_notebook(cells=[title, cell])
    folder.path.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, folder.path / f"{folder.stage}.ipynb")
    run = {"stage": folder.stage, "seconds": seconds, "peak_rss_mb": 2048.0, "device": "cpu", "versions": {}}
    write_json(folder.path / "run.json", run)


def finish_report(results: Path) -> None:
    """Leave an executed report notebook, as its rule does."""
    make_run(Folder(REPORT, {}, results / REPORT))


def _base64(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()


def _rows(study: str, folder: Folder) -> list[dict]:
    stage, system = folder.stage, folder.tags.get("system", "")

    def row(metric: str, value: float, **more: object) -> dict:
        return metric_row(study, stage, metric, value, **{"system": system, "n": 32, "seeds": 3} | more)

    distances = {"real": 0.02, "joint": 0.1, "mask": 0.12, "image": 0.15, "noise": 0.5}
    obeying = ("joint", "mask")
    by_stage = {
        "01_prepare_data": [
            row("class_share", s, class_=c, arm="train") for c, s in zip(CLASSES, SHARES, strict=True)
        ],
        "02_train_generator": [row("training_seconds", 20.0)],
        "03_generate": [row("images_per_second", 6.0), row("power_spectrum_error", 0.2)],
        "04_label": [row("mask_obedience_ratio", 0.8, system=s, low=0.7, high=0.9) for s in obeying],
        "05_caption": [row("duplicate_rate", 0.1, system="joint")],
        "06_ground": [
            row("auc", 0.8, arm="swapped_map", system="joint", low=0.7, high=0.9),
            row("auc", 0.95, arm="shuffled_caption", system="joint", low=0.9, high=0.99),
            *[row("kid", v, system=s, low=v * 0.9, high=v * 1.1, regime="features=colour")
              for s, v in distances.items()],
            *[row("keep_rate", 0.6, system=s) for s in ("joint", "mask")],
        ],
        "07_benchmark_segmentation": _scores(row),
        "08_benchmark_captioning": [
            row(metric, value + shift, arm=arm, low=value + shift - 0.1, high=value + shift + 0.1,
                regime="style=words")
            for metric, value in (("cider", 1.2), ("claim_precision", 0.6), ("claim_recall", 0.7),
                                  ("dominance_balanced_accuracy", 0.5))
            for arm, shift in (("real", 0.0), ("synthetic:joint", -0.2), ("real+joint", 0.02))
        ],
    }  # fmt: skip
    return by_stage[stage]


def _scores(row) -> list[dict]:
    rows = []
    arms = {"real": 0.0, "synthetic:joint": -0.08, "synthetic:mask": -0.05, "synthetic:image": -0.1,
            "real+joint": 0.012, "real+mask": 0.03, "real+image": -0.004}  # fmt: skip
    for arm, change in arms.items():
        score = 0.42 + change
        rows.append(row("miou", score, arm=arm, low=score - 0.05, high=score + 0.05))
        rows.append(row("miou_all", score - 0.1, arm=arm, low=score - 0.15, high=score - 0.05))
        rows.append(row("rare_iou", 0.1, arm=arm, low=0.02, high=0.2))
        if arm != "real":
            rows.append(row("delta_miou", change, arm=arm, low=change - 0.02, high=change + 0.02))
        for k, name in enumerate(CLASSES[:5]):
            value = max(0.05, score + 0.3 - 0.15 * k)
            rows.append(row("iou", value, arm=arm, class_=name, low=value - 0.05, high=value + 0.05))
    return rows


def _make_chips(results: Path, systems: list[str]) -> None:
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8) for _ in range(6)]
    maps = [np.full((SIDE, SIDE), k % 7, np.uint8) for k in range(6)]
    shares = pd.DataFrame([class_shares(m) for m in maps], columns=list(SHARE_COLUMNS))
    base = shares.assign(image=images, mask=maps)
    real = base.assign(
        chip_id=[f"r{k}" for k in range(6)], labelled=1.0, scene="s", split=["train", "test"] * 3, block=0,
        row=0,        col=0, crs="EPSG:3358", **{f"transform_{k}": 1.0 for k in "abcdef"},
    )  # fmt: skip
    write_chips(real, results / "01_prepare_data" / "fold0" / "chips.parquet", "real")
    labels = []
    for system in systems:
        chips = base.assign(
            chip_id=[f"{system}{k}" for k in range(6)], system=system, generator="unified-s0", seed=0,
            condition="", condition_transform=0, no_label_rate=0.0, model_hash="h",
        )  # fmt: skip
        labels.append(chips.assign(trust=maps)[["chip_id", "mask", "trust", "system"]])
        if system == "image":
            chips["mask"] = [np.full((SIDE, SIDE), 255, np.uint8)] * 6
        path = results / "03_generate" / "fold0" / "unified-s0" / system / "0" / "chips.parquet"
        write_chips(chips, path, "synthetic")
    write_chips(pd.concat(labels), results / "04_label" / "fold0" / "labels.parquet", "labels")


def _make_certificates(results: Path, systems: list[str]) -> None:
    rows = [
        {"chip_id": f"{system}{k}", "system": system, "generator": "unified-s0", "seed": 0, "condition": "",
         "model_hash": "h", "agreement": 0.5, "kappa": 0.5, "map_fit": 0.5, "map_shares": 0.9, "trust": 0.5, "claim_precision": 1.0, "claims": 3,
         "caption_of_map": 1.0, "caption_of_image": 1.0, "nearest_train": 0.2, "nearest_chip": "r0",
         "nearest_patch": 0.2, "unlike_real": 0.3, "verdict": "keep" if k else "drop",
         "reason": "all checks passed" if k else "image and map disagree"}
        for system in systems for k in range(6)
    ]  # fmt: skip
    write_table(pd.DataFrame(rows), results / "06_ground" / "fold0" / "certificate.csv", "certificate")
