"""The notebooks of cleaning and authenticity, run from top to bottom with and without what they read."""

from __future__ import annotations

import nbformat
import numpy as np
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from small_study import make_study

from groundsynth.artifacts import metric_row, write_metrics, write_table
from groundsynth.checks.cleaned_training import comparators
from groundsynth.checks.cleaning import cleaning_rows
from groundsynth.paths import project_root
from groundsynth.report.measured_views import measured_rows
from groundsynth.report.measurements import measured_dir
from groundsynth.report.style import plt, save_figure
from groundsynth.workflow.cleaning_study import write_keep_list

SOURCE = project_root() / "notebooks"


@pytest.fixture
def project(tmp_path, monkeypatch):
    make_study(tmp_path)
    monkeypatch.setenv("GROUNDSYNTH_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def run_all(monkeypatch):
    """Return a function that runs a notebook's cells in order and returns everything they showed, as text."""
    said = []

    def show(*shown: object) -> None:
        said.extend(str(getattr(one, "data", one)) for one in shown)

    def run(name: str) -> str:
        monkeypatch.setattr("IPython.display.display", show)
        shell = InteractiveShell()
        for cell in nbformat.read(SOURCE / f"{name}.ipynb", as_version=4).cells:
            if cell.cell_type == "code":
                result = shell.run_cell(cell.source)
                assert result.success, (cell.source, result.error_in_exec or result.error_before_exec)
                show(result.result)
        return "\n".join(said)

    return run


def picture(folder, name, words):
    figure, ax = plt.subplots(figsize=(1, 1))
    ax.plot([0, 1])
    save_figure(figure, folder / name, words)


def clean(scores, rate):
    """Return the rows that cleaning 32 chips leaves, of which every fourth is wrong."""
    wrong = np.arange(32) % 4 == 0
    removed = scores < 0.3
    types, blocks = np.arange(32) % 2, np.arange(32) // 8
    return cleaning_rows("smoke", scores, wrong, removed, types, ["water 90%", "tree cover 80%"], blocks, f"planted={rate:.0%}")  # fmt: skip


def leave_cleaning():
    folder = measured_dir("smoke", "clean-captions")
    scores = np.where(np.arange(32) % 4 == 0, 0.1, 0.8)
    about = {"system": "contrastive", "regime": "planted=25%"}
    rows = [
        metric_row("smoke", "06_ground", "claim_precision", 0.77, arm="cleaned", **about),
        metric_row("smoke", "06_ground", "delta_claim_precision", 0.02, arm="cleaned-uncleaned", low=0.01, high=0.04, **about),
    ]  # fmt: skip
    write_metrics([*clean(scores, 0.25), *clean(scores, 0.5), *rows], folder / "metrics.csv")
    verdicts = ["keep", "rewritten", "drop", "keep", "keep", "keep"]
    table = pd.DataFrame(
        {"chip_id": [f"r{k}" for k in range(6)], "verdict": verdicts, "round": [0, 1, -1, 0, 0, 0],
         "score": np.linspace(0, 1, 6), "caption": [f"Caption number {k}." for k in range(6)]}
    )  # fmt: skip
    write_keep_list(table, np.zeros((6, 8, 8), np.uint8), folder / "cleaned-0.25.csv")
    picture(folder, "pairs-0.25.png", "Ranked pairs of the command.")


def leave_training():
    folder = measured_dir("smoke", "compare-cleaned", run="0.25")
    row = metric_row("smoke", "06_ground", "delta_kid", -0.125, system="text", arm="cleaned-uncleaned", low=-0.2, high=0.1)  # fmt: skip
    metrics = write_metrics([row], folder / "metrics.csv")
    write_table(comparators(metrics), folder / "comparators.csv", "comparators")
    for name in ("cleaned_training.png", "same_captions.png"):
        picture(folder, name, f"Words of {name}.")


def test_cleaning_says_what_to_run_where_nothing_was(project, run_all):
    said = run_all("cleaning")
    assert (
        "Nothing of `clean-captions` here yet; run: `python -m groundsynth clean-captions config/smoke.yaml`"
        in said
    )
    assert "python -m groundsynth compare-cleaned config/smoke.yaml" in said
    assert "Nothing yet: the commands named above have not been run." in said


def test_cleaning_shows_what_the_commands_left(project, run_all):
    leave_cleaning()
    leave_training()
    said = run_all("cleaning")
    assert "Nothing of" not in said
    assert "Filter at planted 25%: AUC 1.00" in said
    assert "delta_kid, cleaned minus uncleaned: −0.125 [−0.200, +0.100]" in said
    assert "0.770" in said
    for words in (
        "Ranked pairs of the command.",
        "Words of same_captions.png",
        "water 90%",
        "by rank of all 6",
        "+0.020 [+0.010, +0.040]",
        "better",
        "RemoteCLIP score",
        "not measured",
    ):
        assert words in said
    written = sorted(path.name for path in (project / "results" / "scratch" / "cleaning").glob("*.png"))
    assert written == ["kept_pairs.png", "planted_errors.png"]


def test_authenticity_tampers_with_an_export_and_is_refused(project, run_all):
    said = run_all("authenticity")
    assert "python -m groundsynth detect config/smoke.yaml" in said
    assert "python -m groundsynth try-marks config/smoke.yaml" in said
    assert "**Refused:**" in said
    assert "3 of " in said, "one pixel, one mark taken off, one forged real chip"
    assert "1 mark stripped" in said
    assert "2 tampered" in said
    assert (project / "results" / "scratch" / "authenticity" / "forged_chip.png").is_file()
    run_all("authenticity")  # again over its own export


def test_authenticity_shows_what_the_commands_left(project, run_all):
    folder = measured_dir("smoke", "detect")
    rows = [
        metric_row("smoke", "06_ground", "detector_auc", 0.91, system="all", arm="joint", regime="detector=network"),
        metric_row("smoke", "06_ground", "detector_auc_drop", 0.2, system="each", arm="unseen_generator", regime="detector=network", low=0.1, high=0.3),
        metric_row("smoke", "06_ground", "forgery_iou", 0.31, system="all", arm="pasted", regime="by=localiser"),
    ]  # fmt: skip
    write_metrics(rows, folder / "metrics.csv")
    for name in (
        "detector_matrix",
        "detector_evidence",
        "detector_robustness",
        "forged_pasted",
        "forged_redrawn",
    ):
        picture(folder, f"{name}.png", f"Words of {name}.")
    row = metric_row("smoke", "06_ground", "mark_detection_rate", 1.0, arm="stripped", low=0.9, high=1.0)
    write_metrics([row], measured_dir("smoke", "try-marks") / "metrics.csv")
    said = run_all("authenticity")
    assert "Nothing of" not in said
    for words in ("Words of detector_evidence.", "Words of forged_redrawn.", "detector_auc, joint, detector=network: 0.91",
                  "forgery_iou, pasted, by=localiser: 0.31", "1.00 [0.90, 1.00]",
                  "Lost, unseen generator, detector=network: +0.20 [+0.10, +0.30]"):  # fmt: skip
        assert words in said


def test_rows_of_several_runs_are_told_apart(project):
    leave_training()
    other = metric_row("smoke", "06_ground", "delta_kid", 0.5)
    write_metrics([other], measured_dir("smoke", "compare-cleaned", run="0.50") / "metrics.csv")
    assert measured_rows("smoke", "compare-cleaned").set_index("run")["value"].to_dict() == {
        "0.25": -0.125,
        "0.50": 0.5,
    }
    assert measured_rows("smoke", "detect").empty
