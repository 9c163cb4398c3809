"""The command certify-folds, on chips whose colours say everything and on evidence made up by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_corruption import SIZE, ColourReader, chips, territory  # noqa: F401

from groundsynth.checks.certificate import CHECK_FOR
from groundsynth.config import load_study
from groundsynth.paths import project_root
from groundsynth.workflow import certificate_study


def made_up(lowest: float) -> pd.DataFrame:
    """Return evidence of 20 windows in 4 blocks per side: fits of 2 to 3 (on the test side one of ``lowest``)."""
    parts = []
    for side, worst in (("val+hidden", 2.0), ("test", lowest)):
        fits = np.r_[worst, np.linspace(2, 3, 19)]
        common = {"side": side, "unit": np.repeat(list("abcd"), 5), "kappa": 0.5}
        parts.append(pd.DataFrame({"fault": "", "map_fit": fits, **common}))
        parts.append(pd.DataFrame({"fault": "swapped_map", "map_fit": np.r_[2.51, np.zeros(19)], **common}))
    return pd.concat(parts, ignore_index=True)


def test_every_fold_has_its_limits_and_all_are_pooled(tmp_path, monkeypatch):
    study = load_study(project_root() / "config" / "smoke.yaml")
    monkeypatch.setattr(certificate_study, "keep_evidence", lambda _, fold, device: made_up((2.0, 0.1)[fold]))
    metrics = certificate_study.certify_folds(study, [0, 1], tmp_path)
    value = metrics.set_index(["metric", "arm", "regime"])["value"]
    assert value["keep_rate", "", "fold=0"] == 1
    assert value["keep_rate", "", "fold=1"] == 0.95
    assert value["keep_rate", "", ""] == 0.975
    assert value["drop_rate", "swapped_map", ""] == 0.95
    assert value["auc", "swapped_map", "fold=0"] == pytest.approx(
        (19 * 20 + 9) / 400
    )  # nine fits exceed 2.51
    assert metrics.set_index(["metric", "arm", "regime"])["n"]["keep_rate", "", ""] == 40
    assert (tmp_path / "certificate_folds.png").stat().st_size > 1000
    assert "keeps 95% or more of 20" in (tmp_path / "certificate_folds.txt").read_text()


def test_windows_of_both_sides_are_measured_with_every_fault(territory, chips, monkeypatch, tmp_path):  # noqa: F811
    study = load_study(project_root() / "config" / "smoke.yaml")
    monkeypatch.setattr(certificate_study, "read_territory", lambda folder, unlabelled: territory)
    evidence = certificate_study.fold_evidence(study, tmp_path, chips, ColourReader())
    tables = certificate_study.split_evidence(evidence)
    assert list(tables) == list(certificate_study.SIDES)
    for side in tables.values():
        assert set(side) == {"", *CHECK_FOR}
        assert len(side[""]) == study.ground.windows
        assert np.isfinite(side[""][["map_fit", "nearest_train", "caption_of_image"]]).all(axis=None)
    blocks = {side: set(tables[side][""]["unit"]) for side in tables}
    assert not blocks["test"] & blocks["val+hidden"]


def test_evidence_is_measured_once(chips, monkeypatch, tmp_path):  # noqa: F811
    study = load_study(project_root() / "config" / "smoke.yaml")
    monkeypatch.setenv("GROUNDSYNTH_ROOT", str(tmp_path))
    monkeypatch.setattr(certificate_study, "read_chips", lambda *_: chips)
    monkeypatch.setattr(certificate_study, "read_labeller", lambda *_: ColourReader())
    monkeypatch.setattr(certificate_study, "fold_evidence", lambda *_: made_up(2.0))
    first = certificate_study.keep_evidence(study, 0, "cpu")
    monkeypatch.setattr(certificate_study, "fold_evidence", lambda *_: pytest.fail("measured again"))
    pd.testing.assert_frame_equal(certificate_study.keep_evidence(study, 0, "cpu"), first)
    assert len(list((tmp_path / "results/smoke/checkpoints/certificate").glob("fold0-*.parquet"))) == 1
