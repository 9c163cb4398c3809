"""A study multiplied for timing: every copy has a partner in every table, and no two images are equal."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from small_study import make_study

from groundsynth.artifacts import read_chips, read_table, write_table
from groundsynth.checks.chip_sets import read_described_chips
from groundsynth.config import load_study
from groundsynth.errors import GroundsynthError
from groundsynth.workflow.ground_scale import copy_plan, enlarge_study, multiply, scale_rows


def test_copies_are_spread_evenly_and_maps_turn_with_their_images():
    plan = copy_plan(3, 8, 0)
    assert plan["chip"].value_counts().to_dict() == {0: 3, 1: 3, 2: 2}
    labels = np.arange(16, dtype=np.uint8).reshape(4, 4) % 7
    images = labels[..., None].repeat(3, 2) * 30
    chips = pd.DataFrame({"chip_id": list("abc"), "image": [images] * 3, "mask": [labels] * 3})
    many = multiply(chips, plan, 0)
    assert many["chip_id"].is_unique
    assert len({image.tobytes() for image in many["image"]}) == 8
    for image, mask in zip(many["image"], many["mask"], strict=True):
        assert np.corrcoef(image[..., 0].ravel(), mask.ravel())[0, 1] > 0.99


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """A small study with the files of stages 01 to 05."""
    source = tmp_path / "source"
    results = make_study(source)
    monkeypatch.setenv("GROUNDSYNTH_ROOT", str(source))
    (source / "src").mkdir()
    (source / "pyproject.toml").touch()
    study = load_study(source / "config" / "smoke.yaml")
    ids = [f"{system}{k}" for system in study.generate.systems for k in range(6)]
    systems = [name.rstrip("0123456789") for name in ids]
    agreement = pd.DataFrame({"chip_id": ids, "system": systems, "agreement": 0.5, "kappa": 0.5, "trust": 0.5}
                             | {f"iou_{k}": 0.5 for k in range(7)})  # fmt: skip
    write_table(agreement, results / "04_label" / "fold0" / "agreement.csv", "agreement")
    captions = pd.DataFrame({"chip_id": ids, "system": systems, "caption_index": 0, "caption": "Forest.", "mode": "map",
                             "writer": "layout", "writer_version": "1", "prompt": "shares in words", "seed": 0})  # fmt: skip
    write_table(captions, results / "05_caption" / "fold0" / "captions.csv", "captions")
    return study


def test_an_enlarged_study_is_whole(finished, tmp_path, monkeypatch):
    root = tmp_path / "large"
    root.mkdir()
    enlarge_study(finished, 0, root, 50)
    monkeypatch.setenv("GROUNDSYNTH_ROOT", str(root))
    chips = read_described_chips(
        "smoke", 0, ["unified-s0"], finished.generate.systems, finished.generate.shards
    )
    made = chips[chips["system"] != "real"]
    assert made["system"].value_counts().tolist() == [13, 13, 12, 12]
    results = root / "results" / "smoke"
    for table in (
        read_chips(results / "04_label" / "fold0" / "labels.parquet", "labels"),
        read_table(results / "04_label" / "fold0" / "agreement.csv", "agreement"),
        read_table(results / "05_caption" / "fold0" / "captions.csv", "captions"),
    ):
        assert set(table["chip_id"]) == set(made["chip_id"])


def test_too_few_samples_are_told(finished, tmp_path):
    with pytest.raises(GroundsynthError, match="--samples 2: every system needs one of its own; give 4"):
        enlarge_study(finished, 0, tmp_path, 2)


def test_rows_by_hand():
    rows = scale_rows("smoke", pd.DataFrame({"samples": [1000], "seconds": [60.5], "peak_rss_mb": [900.0]}))
    assert [(r["metric"], r["value"], r["regime"], r["n"]) for r in rows] == [
        ("stage_seconds", 60.5, "samples=1000", 1000), ("peak_rss_mb", 900.0, "samples=1000", 1000),
    ]  # fmt: skip
