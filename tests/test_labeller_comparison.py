"""A comparison of labellers: chosen on validation alone, tested once, resumed where it was stopped."""

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from test_benchmark import made_up_chips

from groundsynth import __main__ as command
from groundsynth.artifacts import check_table, read_table, write_chips, write_json
from groundsynth.benchmark import labeller_comparison
from groundsynth.benchmark.labeller_comparison import check_architectures, choose, compare_labellers
from groundsynth.config import load_study, validate_study
from groundsynth.errors import GroundsynthError
from groundsynth.legend import SHARE_COLUMNS
from groundsynth.report.attempts import read_attempts

ARCHITECTURES = ["Unet", "FPN", "Segformer"]
CPU = torch.device("cpu")


@pytest.fixture
def project(tmp_path, root, monkeypatch):
    """A project whose stage 01 is done on made-up chips, and its study."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "config").mkdir()
    (tmp_path / "Snakefile").touch()
    monkeypatch.setenv("GROUNDSYNTH_ROOT", str(tmp_path))
    values = yaml.safe_load((root / "config" / "smoke.yaml").read_text())
    small = {"encoder": "tu-mobilenetv3_small_100", "steps": 2, "batch_size": 2, "validate_every": 1}
    values["label"] |= small
    values["data"]["chip_size"] = 32
    (tmp_path / "config" / "smoke.yaml").write_text(yaml.safe_dump(values))
    chips = pd.concat(
        [made_up_chips(4, k).assign(split=split) for k, split in enumerate(("train", "val", "test"))]
    ).assign(labelled=1.0, scene="s", row=0, col=0, crs="", **dict.fromkeys(SHARE_COLUMNS, 0.0))
    chips = chips.assign(**{f"transform_{k}": 1.0 for k in "abcdef"})
    folder = tmp_path / "results" / "smoke" / "01_prepare_data" / "fold0"
    write_chips(chips, folder / "chips.parquet", "real")
    write_json(folder / "data.json", {"primary_classes": [0, 1, 2, 4]})
    return tmp_path, load_study(tmp_path / "config" / "smoke.yaml")


def test_the_best_on_validation_is_tested_once_and_nothing_is_repeated(project, monkeypatch):
    root, study = project
    trained, real_training = [], labeller_comparison.train_segmenter

    def watched(pools, val_images, score, training, names, device):
        trained.append((training.architecture, names[-1]))
        if len(trained) == 4:
            raise KeyboardInterrupt
        return real_training(pools, val_images, score, training, names, device)

    monkeypatch.setattr(labeller_comparison, "train_segmenter", watched)
    given = (study, 0, ARCHITECTURES, [0, 1], root / "kept", CPU)
    with pytest.raises(KeyboardInterrupt):
        compare_labellers(*given)
    history, counts, rows = compare_labellers(*given)
    assert trained[4:] == [(name, 1) for name in ARCHITECTURES], "what was finished is not trained again"
    again = compare_labellers(*given)
    assert len(trained) == 7
    pd.testing.assert_frame_equal(again[1], counts)
    for table, kind in ((history, "history"), (counts, "counts")):
        check_table(table, kind, root / kind)
    table = pd.DataFrame(rows)
    overall = table[table["metric"] == "labeller_miou"].set_index("regime")["value"]
    val = overall[overall.index.str.startswith("split=val")]
    assert len(val) == 3
    best = val.idxmax().rpartition("=")[2]
    assert counts.loc[counts["split"] == "test", "arm"].unique().tolist() == [best]
    assert [name for name in overall.index if name.startswith("split=test")] == [
        f"split=test;architecture={best}"
    ]
    assert (table["metric"] == "labeller_iou").sum() == 7


def test_the_choice_is_by_the_mean_over_seeds():
    """A is better with one seed and far worse with the other; B is chosen."""
    rows = [
        {"arm": arm, "seed": seed, "split": "val", "chip_id": f"c{block}", "block": block, "class": k,
         "tp": hits if k < 2 else 0, "fp": 0, "fn": 10 - hits if k < 2 else 0}
        for arm, both in {"A": (9, 1), "B": (6, 6)}.items() for seed, hits in enumerate(both)
        for block in (0, 1) for k in range(7)
    ]  # fmt: skip
    chosen, told = choose("s", pd.DataFrame(rows), ["A", "B"], [0, 1])
    assert chosen == "B"
    assert [row["value"] for row in told] == pytest.approx([0.5, 0.6])


@pytest.mark.parametrize(
    ("names", "side", "words"),
    [
        (["Unet", "FPN"], 64, "needs 3 or more"),
        (["Unet", "Unet", "FPN"], 64, "each named once"),
        (["Unet", "FPN", "Linknet"], 64, "'Linknet' is not offered"),
        (["Unet", "FPN", "PAN"], 64, "too small for PAN, which needs 128"),
    ],
)
def test_what_cannot_be_compared_is_told(names, side, words):
    with pytest.raises(GroundsynthError, match=words):
        check_architectures(names, side)


def test_the_command_writes_rows_and_a_figure(project):
    root, _ = project
    words = ["compare-labellers", str(root / "config" / "smoke.yaml"), "--seeds", "0", "1", "--steps", "1",
             "--architectures", *ARCHITECTURES, "--output", "out"]  # fmt: skip
    assert command.main(words) == 0
    rows = read_table(root / "out" / "metrics.csv", "metrics")
    assert set(rows["metric"]) == {"labeller_miou", "labeller_iou"}
    counts = read_table(root / "out" / "counts.csv", "counts")
    tested = counts.loc[counts["split"] == "test", "arm"].unique().tolist()
    logged = read_attempts()[["what", "arms", "best_arm", "test_opened"]].values.tolist()
    assert logged == [["compare-labellers", 3, *tested, "yes"]]
    assert (root / "out" / "labellers.png").stat().st_size > 1000
    caption = (root / "out" / "labellers.txt").read_text()
    assert "tested once" in caption
    assert all(name in caption for name in ARCHITECTURES)
    assert np.isfinite(rows.loc[rows["regime"].str.startswith("split=val"), "value"]).all()


def test_a_study_of_small_chips_cannot_have_pan(root):
    values = yaml.safe_load((root / "config" / "smoke.yaml").read_text())
    values["benchmark"]["architecture"] = "PAN"
    with pytest.raises(GroundsynthError, match=r"benchmark.architecture: PAN needs chips of 128 px"):
        validate_study(values)
