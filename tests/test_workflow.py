"""The whole smoke study, run once in a copy of the project; then everything a rerun must and must not do."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest
import yaml
from study_commands import (
    check_curve,
    check_export,
    check_marks_and_detectors,
    check_measures,
    command,
)

from groundsynth.artifacts import metric_row, write_metrics
from groundsynth.config import STAGES, load_study
from groundsynth.workflow.code_inputs import package_files
from groundsynth.workflow.parameters import notebook_parameters
from groundsynth.workflow.stale_lock import live_runs

ROOT = Path(__file__).resolve().parents[1]
PARTS = (
    "Snakefile",
    "workflow",
    "profiles",
    "config",
    "notebooks",
    "src",
    "pyproject.toml",
    "environment.yml",
)
SMOKE = ("--configfile", "config/smoke.yaml")
LABELS = "results/smoke/04_label/fold0/labels.parquet"
TRAINED = "results/smoke/02_train_generator/fold0/unified-s0"


def snakemake_command(*words: str) -> list[str]:
    return [sys.executable, "-m", "snakemake", "--cores", "2", *words]


def surroundings(project: Path) -> dict[str, str]:
    """Return variables that make a run use the copy's own code, and the downloads there are."""
    raw = os.environ.get("GROUNDSYNTH_DATA", str(ROOT / "data" / "raw"))
    return os.environ | {"PYTHONPATH": str(project / "src"), "GROUNDSYNTH_DATA": raw, "COLUMNS": "200"}


def snakemake(project: Path, *words: str) -> SimpleNamespace:
    """Run Snakemake in a project; return its exit status and everything it said."""
    done = subprocess.run(
        snakemake_command(*words), cwd=project, env=surroundings(project), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=1500,
    )  # fmt: skip
    return SimpleNamespace(status=done.returncode, said=done.stdout)


def planned(project: Path, *words: str) -> set[str]:
    """Return the names of the rules a dry run lists."""
    dry = snakemake(project, *SMOKE, "--dry-run", *words)
    assert dry.status == 0, dry.said
    stats = dry.said.partition("Job stats:")[2].partition("total")[0]
    return set(re.findall(r"^(\w+) +\d+$", stats, re.MULTILINE))


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> SimpleNamespace:
    """Run the smoke study once, in a copy of the project."""
    project = tmp_path_factory.mktemp("whole") / "project"
    project.mkdir()
    for part in PARTS:
        source = ROOT / part
        ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        if source.is_dir():
            shutil.copytree(source, project / part, ignore=ignored)
        else:
            shutil.copy2(source, project / part)
    begun = time.monotonic()
    run = snakemake(project, *SMOKE)
    assert run.status == 0, run.said[-6000:]
    return SimpleNamespace(project=project, said=run.said, minutes=(time.monotonic() - begun) / 60)


@pytest.fixture
def copy(study, tmp_path) -> Path:
    """Return a finished study that a test may spoil."""
    return Path(shutil.copytree(study.project, tmp_path / "project"))


@pytest.fixture
def edited(study):
    """Return a function that changes a file of the finished study until the test ends."""
    before = {}

    def edit(path: str, old: str, new: str) -> None:
        file = study.project / path
        before.setdefault(file, file.read_bytes())
        text = file.read_text()
        assert text.count(old) >= 1, f"{path} has no {old!r}"
        file.write_text(text.replace(old, new, 1))

    yield edit
    for file, content in before.items():
        file.write_bytes(content)


def run_records(project: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted((project / "results/smoke").rglob("run.json"))]


def test_the_study_is_whole(study):
    results = study.project / "results" / "smoke"
    assert (results / "09_report" / "index.html").is_file()
    assert "Report: results/smoke/09_report/index.html" in study.said
    records = run_records(study.project)
    assert {record["stage"] for record in records} == set(STAGES)
    assert len(records) == len(list(results.rglob("0*.ipynb"))) <= 12
    metrics = pd.read_csv(results / "metrics.csv")
    assert set(metrics["stage"]) >= set(STAGES[:-1])
    assert set(metrics["study"]) == {"smoke"}


def test_it_keeps_to_memory(study):
    assert max(record["peak_rss_mb"] for record in run_records(study.project)) < 8 * 1024


def test_every_run_had_the_settings_of_smoke_and_none_of_laptop(study):
    config = load_study(study.project / "config" / "smoke.yaml")
    for record in run_records(study.project):
        place = record["parameters"]["out"].split("/")
        job = SimpleNamespace(fold=0, generator="unified-s0", system=place[-2], shard=0)
        assert record["parameters"] == notebook_parameters(config, record["stage"], job)
    laptop = load_study(study.project / "config" / "laptop.yaml")
    assert config.generator.steps != laptop.generator.steps


def test_nothing_to_be_done_the_second_time(study):
    again = snakemake(study.project, *SMOKE)
    assert again.status == 0
    assert "Nothing to be done" in again.said


def test_touching_everything_reruns_nothing(study):
    begin = time.time() - 10_000
    for number, path in enumerate(sorted(study.project.rglob("*"))):
        if ".snakemake" not in path.parts:
            os.utime(path, (begin + number, begin + number))
    assert planned(study.project) == set()


def test_editing_prose_reruns_nothing(study, edited):
    edited("notebooks/04_label.ipynb", "# 04 · ", "# 04 · Once more: ")
    assert planned(study.project) == set()


def test_editing_a_cell_reruns_its_notebook_and_what_follows(study):
    path = study.project / "notebooks" / "07_benchmark_segmentation.ipynb"
    before = path.read_bytes()
    book = nbformat.read(path, as_version=4)
    next(cell for cell in book.cells[2:] if cell.cell_type == "code").source += "\n# another line"
    nbformat.write(book, path)
    try:
        assert planned(study.project) == {"benchmark_segmentation", "report", "pages", "all"}
    finally:
        path.write_bytes(before)


def test_editing_a_helper_reruns_only_its_users(study, edited):
    helper = "src/groundsynth/checks/redundancy.py"
    users = {s for s in STAGES if ROOT / helper in package_files(ROOT / "notebooks" / f"{s}.ipynb")}
    assert users == {"05_caption"}
    edited(helper, "\n", "\n# another comment\n")
    assert planned(study.project) == {"caption", "ground", "report", "pages", "all"}


def test_a_changed_setting_reruns_its_stage_and_what_follows(study, edited):
    edited("config/smoke.yaml", "kid_subsets: 5", "kid_subsets: 6")
    assert planned(study.project) == {"ground", "report", "pages", "all"}


def test_what_a_command_measured_reruns_the_report_alone(study):
    folder = study.project / "results" / "smoke" / "authenticity"
    write_metrics([metric_row("smoke", "06_ground", "detector_auc", 0.9)], folder / "metrics.csv")
    try:
        assert planned(study.project) == {"report", "pages", "all"}
    finally:
        shutil.rmtree(folder)
    assert planned(study.project) == set()


def test_a_changed_plan_of_minutes_reruns_no_notebook(study, edited):
    edited("config/smoke.yaml", "01_prepare_data: 0.5", "01_prepare_data: 0.6")
    assert planned(study.project) == set()


def test_a_corrupt_artefact_stops_the_next_stage_with_its_cure(copy):
    (copy / LABELS).write_bytes((copy / LABELS).read_bytes()[:-100])
    run = snakemake(copy, *SMOKE, "--until", "caption")
    assert run.status != 0
    words = re.search(
        r"05_caption\.ipynb stopped at cell \d+ of \d+ \(under \".+\"\): (.+)\n.*kept as (\S+);", run.said
    )
    assert words, run.said[-3000:]
    assert "labels.parquet: not readable Parquet" in words[1]
    assert f"remake it: snakemake --cores all --configfile config/smoke.yaml --force {LABELS}" in words[1]
    assert (copy / words[2]).is_file()
    assert not (copy / "results/smoke/05_caption/fold0/05_caption.ipynb").exists()


def test_a_parameter_typo_stops_before_a_kernel_starts(copy):
    path = copy / "notebooks" / "05_caption.ipynb"
    path.write_text(path.read_text().replace("per_chip = ", "per_chop = "))
    run = snakemake(copy, *SMOKE, "--until", "caption")
    assert run.status != 0
    assert "05_caption.ipynb: parameter 'per_chip' is not in its parameters cell" in run.said
    assert "did you mean 'per_chop'?" in run.said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("generate:\n  guidence: 2.0\n", "'study' is missing"),
        ("study: smoke\n", "'data' is missing"),
    ],
)
def test_a_named_config_is_never_filled_up_from_laptop(study, tmp_path, text, words):
    path = tmp_path / "half.yaml"
    path.write_text(text)
    run = snakemake(study.project, "--configfile", str(path), "--dry-run")
    assert run.status != 0
    assert words in run.said


def test_a_config_typo_stops_at_parse_time(study, tmp_path):
    values = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())
    values["generate"]["guidence"] = 2.0
    path = tmp_path / "typo.yaml"
    path.write_text(yaml.safe_dump(values))
    run = snakemake(study.project, "--configfile", str(path), "--dry-run")
    assert run.status != 0
    assert "'generate.guidence' is not a setting" in run.said
    assert "Traceback" not in run.said


def test_plain_snakemake_is_the_laptop_study_with_the_default_profile(study):
    run = snakemake(study.project, "--dry-run")
    assert run.status == 0, run.said
    assert "profiles/default" in run.said
    assert "results/laptop/09_report/index.html" in run.said
    assert "results/smoke" not in run.said


def test_a_killed_training_resumes_where_it_was(copy):
    """kill -9 in the middle: nothing stays alive, and the loss goes on as if nothing had happened."""
    config = copy / "config" / "smoke.yaml"
    config.write_text(
        config.read_text().replace("  steps: 40\n", "  steps: 40\n  checkpoint_seconds: 0\n", 1)
    )
    untouched = pd.read_csv(copy / TRAINED / "loss.csv")
    shutil.rmtree(copy / "results" / "smoke" / "checkpoints", ignore_errors=True)
    command = snakemake_command(*SMOKE, "--until", "train_generator")
    with (copy / "first.log").open("w") as log:
        first = subprocess.Popen(command, cwd=copy, env=surroundings(copy), stdout=log, stderr=log)
    wait_until(lambda: any((copy / "results/smoke/checkpoints").rglob("checkpoint.pt")), first)
    first.send_signal(signal.SIGKILL)
    first.wait()
    wait_until(lambda: not live_runs(copy))
    assert not (copy / TRAINED / "02_train_generator.ipynb").exists()
    unlock = [sys.executable, "-m", "groundsynth", "unlock"]
    subprocess.run(unlock, cwd=copy, env=surroundings(copy), check=True, timeout=120)
    second = snakemake(copy, *SMOKE, "--until", "train_generator")
    assert second.status == 0, second.said[-3000:]
    assert json.loads((copy / TRAINED / "run.json").read_text())["attempts"] == 2
    assert "resuming at step" in next((copy / "logs").rglob("02_train_generator.log")).read_text()
    resumed = pd.read_csv(copy / TRAINED / "loss.csv")
    assert resumed["step"].tolist() == untouched["step"].tolist()
    numbers = [name for name in untouched.select_dtypes("number") if "seconds" not in name]
    assert (resumed[numbers] - untouched[numbers]).abs().max().max() < 1e-3


def wait_until(done, process: subprocess.Popen | None = None) -> None:
    """Wait up to three minutes for ``done``; fail if ``process`` ends before."""
    deadline = time.monotonic() + 180
    while not done():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [*STAGES, "authenticity"])
def test_a_notebook_opened_alone_runs_top_to_bottom(study, tmp_path, stage):
    """As *Run All* in JupyterLab: defaults of its parameters cell, its own folder as working folder."""
    before = {path: path.stat().st_mtime_ns for path in (study.project / "results" / "smoke").rglob("*.csv")}
    done = subprocess.run(
        [sys.executable, "-m", "jupyter", "execute", f"{stage}.ipynb", "--output", str(tmp_path / "ran.ipynb")],
        cwd=study.project / "notebooks", env=surroundings(study.project), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert any((study.project / "results" / "scratch" / stage).iterdir())
    assert before == {path: path.stat().st_mtime_ns for path in before}


@pytest.mark.slow
def test_a_finished_study_has_its_sampling_curve_and_its_pipeline(study):
    check_curve(study.project, surroundings(study.project))
    check_export(study.project, surroundings(study.project))
    check_measures(study.project, surroundings(study.project))


@pytest.mark.slow
def test_ten_thousand_samples_are_grounded_in_ten_minutes(study):
    """Stage 06 on copies of a finished study's chips: ten times the samples, far less than ten times the memory."""
    command(
        study.project,
        surroundings(study.project),
        "ground-benchmark",
        "config/smoke.yaml",
        "--samples",
        "1000",
        "10000",
        "--output",
        "results/scratch/ground_scale",
    )
    metrics = pd.read_csv(study.project / "results" / "scratch" / "ground_scale" / "metrics.csv")
    found = metrics.pivot_table("value", "n", "metric")
    assert found.loc[10_000, "stage_seconds"] <= 600
    assert found.loc[10_000, "peak_rss_mb"] < 3 * found.loc[1000, "peak_rss_mb"]


@pytest.mark.slow
def test_a_finished_study_is_exported_checked_and_detected(study):
    check_marks_and_detectors(study.project, surroundings(study.project))
