"""A whole study whose generators are asked in words and numbers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from test_workflow import PARTS, ROOT, snakemake

ASKS = ["captions", "shares", "both", "rare", "shuffled", "nothing"]


@pytest.mark.slow
def test_a_study_of_requests_runs_from_chips_to_report(tmp_path: Path):
    """One policy for it and the unified one; requests cross the stages, and every kind has its skill."""
    project = tmp_path / "project"
    project.mkdir()
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
        copy(ROOT / part, project / part)
    arms = ["real", "synthetic:text", "real+text"]
    study = {
        "study": "mine", "extends": "smoke", "benchmark": {"arms": arms, "seeds": [0, 1]},
        "generator": {"policies": ["text", "unified"], "conditions": "both"},
        "generate": {"systems": ["joint", "text"], "asks": ASKS, "samples": 48},
    }  # fmt: skip
    (project / "config" / "mine.yaml").write_text(yaml.safe_dump(study))
    run = snakemake(project, "--configfile", "config/mine.yaml")
    assert run.status == 0, run.said[-6000:]
    results = project / "results" / "mine"
    assert (results / "09_report" / "index.html").is_file()
    metrics = pd.read_csv(results / "metrics.csv").fillna({"arm": "", "class": ""})
    skill = metrics[(metrics["metric"] == "share_skill") & (metrics["class"] == "")]
    assert {"captions", "shares", "both", "rare", "shuffled:caption", "shuffled:shares"} <= set(skill["arm"])
    assert {"on=map", "on=label", "on=label,split=val"} == set(skill["regime"])
    assert {"text", "real"} == set(skill["system"])
    assert set(metrics.query("stage == '07_benchmark_segmentation' and metric == 'miou'")["arm"]) == set(arms)
    generated = results / "03_generate" / "fold0" / "text-s0" / "text" / "0"
    assert (generated / "one_prompt.png").is_file()
    asked = pd.read_csv(generated / "asked.csv")
    assert asked["kind"].tolist() == ASKS * 8
    assert pd.read_csv(results / "03_generate/fold0/unified-s0/joint/0/asked.csv").empty
    card = (results / "02_train_generator" / "fold0" / "text-s0" / "model_card.md").read_text()
    assert "It can be asked for in words" in card
