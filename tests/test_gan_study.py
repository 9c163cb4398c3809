"""A whole study whose generators are the two GANs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from test_workflow import PARTS, ROOT, snakemake

SYSTEMS = ["spade", "joint_gan"]


@pytest.mark.slow
def test_a_study_of_gans_runs_from_chips_to_report(tmp_path: Path):
    """Every stage has rows of its own for both systems, and arms are trained on their chips."""
    project = tmp_path / "project"
    project.mkdir()
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
        copy(ROOT / part, project / part)
    arms = ["real", *[f"{kind}{system}" for system in SYSTEMS for kind in ("synthetic:", "real+")]]
    study = {
        "study": "mine", "extends": "smoke", "benchmark": {"arms": arms, "seeds": [0, 1]},
        "generator": {"policies": SYSTEMS, "gan_width": 8, "diversity": 1.0},
        "generate": {"systems": SYSTEMS, "images_per_map": 4},
    }  # fmt: skip
    (project / "config" / "mine.yaml").write_text(yaml.safe_dump(study))
    run = snakemake(project, "--configfile", "config/mine.yaml")
    assert run.status == 0, run.said[-6000:]
    results = project / "results" / "mine"
    assert (results / "09_report" / "index.html").is_file()
    metrics = pd.read_csv(results / "metrics.csv").fillna({"arm": ""})
    for stage in ("02_train_generator", "03_generate", "04_label", "05_caption", "06_ground"):
        assert set(SYSTEMS) <= set(metrics.loc[metrics["stage"] == stage, "system"]), stage
    scored = metrics.query("stage == '07_benchmark_segmentation' and metric == 'miou'")
    assert set(scored["arm"]) == set(arms)
    assert set(metrics.query("metric == 'diversity_ratio' and arm == ''")["system"]) == {"spade"}
    for system in SYSTEMS:
        card = results / f"02_train_generator/fold0/{system}-s0/model_card.md"
        assert f"Generator `{system}`" in card.read_text()
        assert not (card.parent / "belief_plane.png").exists()
