"""The runner: strict before a kernel starts, whole results only, and nothing left running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import filelock
import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from groundsynth import __main__ as commands
from groundsynth.errors import GroundsynthError
from groundsynth.workflow import runner
from groundsynth.workflow.code_inputs import code_hash, package_files
from groundsynth.workflow.notebook_source import check_parameters, parameter_defaults
from groundsynth.workflow.process_watch import ProcessWatch

PARAMETERS = {"n": 3, "out": ""}


def write_notebook(path: Path, *code: str, parameters: str = "n = 3\nout = ''") -> Path:
    """Write a notebook of title, parameters cell, and a heading before each further code cell."""
    cells = [
        new_markdown_cell("# 99 · Toy"),
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
    ]
    for number, source in enumerate(code):
        cells += [new_markdown_cell(f"Some words.\n\n## Step {number}"), new_code_cell(source)]
    metadata = {"kernelspec": {"name": "no-such-kernel", "display_name": "gone", "language": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=metadata), path)
    return path


@pytest.fixture
def toy(tmp_path):
    """Return a function that runs a toy notebook and gives (output, log) paths."""
    output, log = tmp_path / "out" / "toy.ipynb", tmp_path / "logs" / "toy.log"

    def run(*code: str, parameters: dict = PARAMETERS) -> tuple[Path, Path]:
        notebook = write_notebook(tmp_path / "toy.ipynb", *code)
        runner.run_notebook(notebook, parameters, output, log, threads=1)
        return output, log

    run.output, run.log = output, log
    return run


def test_a_run_uses_this_interpreter_its_threads_and_the_given_parameters(toy, monkeypatch):
    show = "import os, sys\nprint(sys.executable, os.environ['OMP_NUM_THREADS'], n * 2, os.getcwd())"
    waits = "import os\nprint('threads wait:', os.environ['OMP_WAIT_POLICY'])"
    bars = "from tqdm.auto import tqdm\nfor _ in tqdm(range(2), desc='rows'):\n    pass"
    output, log = toy(show, waits, bars, parameters={"n": 21, "out": "there"})
    text = log.read_text()
    assert f"{sys.executable} 1 42 {runner.project_root()}" in text
    assert "threads wait: PASSIVE" in text
    assert "rows: 100%" in text
    record = json.loads((output.parent / "run.json").read_text())
    assert record["parameters"] == {"n": 21, "out": "there"}
    assert record["stage"] == "toy"
    assert record["device"] == "cpu"
    assert record["peak_rss_mb"] > 30
    assert 0 < record["seconds"] < 300
    assert record["attempts"] == 1
    executed = nbformat.read(output, as_version=4)
    assert any(cell.get("outputs") for cell in executed.cells)
    assert str(toy.log.parent) not in output.read_text()
    assert {path.name for path in log.parent.iterdir()} == {"toy.log"}


def test_a_kernel_that_is_slow_to_leave_has_named_its_device(toy):
    output, _ = toy("import atexit, os, time\natexit.register(time.sleep, 120)")
    assert json.loads((output.parent / "run.json").read_text())["device"] == "cpu"


def test_a_failing_cell_leaves_no_output_and_two_lines(toy):
    with pytest.raises(GroundsynthError) as caught:
        toy("print('fine')", "1 / (n - 3)", "print('never')")
    first, second = str(caught.value).splitlines()
    assert first == 'toy.ipynb stopped at cell 6 of 8 (under "Step 1"): ZeroDivisionError: division by zero'
    kept = toy.log.with_suffix(".ipynb")
    assert str(kept) in second
    assert "ZeroDivisionError" in kept.read_text()
    assert "ZeroDivisionError" in toy.log.read_text()
    assert not toy.output.exists()
    assert not (toy.output.parent / "run.json").exists()


def test_an_error_of_the_project_is_quoted_without_its_class(toy):
    code = "from groundsynth.errors import GroundsynthError\nraise GroundsynthError('a: b; do c')"
    with pytest.raises(GroundsynthError, match=r'cell 4 of 4 \(under "Step 0"\): a: b; do c\n'):
        toy(code)


def test_a_dead_kernel_is_named(toy):
    with pytest.raises(
        GroundsynthError, match=r"cell 4 of 4 .*the kernel died, most often for want of memory"
    ):
        toy("import os\nos._exit(9)")


def test_seconds_of_a_stopped_attempt_count(toy):
    code = "import pathlib, time\ntime.sleep(1.5)\nassert pathlib.Path(r'{}').exists()"
    flag = toy.log.parent / "flag"
    with pytest.raises(GroundsynthError):
        toy(code.format(flag))
    flag.touch()
    output, _ = toy(code.format(flag))
    record = json.loads((output.parent / "run.json").read_text())
    assert record["attempts"] == 2
    assert record["seconds"] > 3


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"n": 1, "out": "", "seed": 0}, "'seed' is not in its parameters cell; it has: n, out"),
        ({"n": 1, "outt": ""}, "'outt' is not in its parameters cell; did you mean 'out'"),
        ({"n": 1}, "its parameter 'out' is not given by the rule"),
    ],
)
def test_names_must_match_both_ways_before_a_kernel_starts(toy, monkeypatch, given, words):
    monkeypatch.setattr(runner, "_execute", lambda *_: pytest.fail("a kernel was started"))
    with pytest.raises(GroundsynthError, match=words):
        toy("pass", parameters=given)


@pytest.mark.parametrize("source", ["n = len('abc')", "print(1)", "import os", "a = b = 1"])
def test_parameters_are_literals(tmp_path, source):
    notebook = write_notebook(tmp_path / "toy.ipynb", parameters=source)
    with pytest.raises(GroundsynthError, match="not of the form name = literal"):
        parameter_defaults(notebook)


def test_a_notebook_without_parameters_or_that_is_none_says_so(tmp_path):
    path = tmp_path / "odd.ipynb"
    with pytest.raises(GroundsynthError, match="no such notebook"):
        check_parameters(path, {})
    path.write_text("{}")
    with pytest.raises(GroundsynthError, match="not a notebook"):
        check_parameters(path, {})
    nbformat.write(new_notebook(), path)
    with pytest.raises(GroundsynthError, match="0 cells are tagged 'parameters'"):
        check_parameters(path, {})


def test_two_runs_never_write_one_output(toy, monkeypatch):
    monkeypatch.setattr(runner, "LOCK_SECONDS", 0.1)
    toy.output.parent.mkdir()
    held = filelock.FileLock(toy.output.with_name(f".{toy.output.name}.lock"))
    with held, pytest.raises(GroundsynthError, match="another run is writing it"):
        toy("pass")
    assert not toy.output.exists()


def test_a_full_disk_is_one_sentence_and_leaves_nothing(toy, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(GroundsynthError, match=r"No space left on device\); free some space") as caught:
        runner.write_json(toy.output, {"a": 1})
    assert "\n" not in str(caught.value)
    assert list(toy.output.parent.iterdir()) == []


def test_runner_and_kernel_die_with_their_parent(tmp_path):
    notebook = write_notebook(tmp_path / "toy.ipynb", "import time\ntime.sleep(300)")
    job = [sys.executable, "-m", "groundsynth", "run-notebook", str(notebook), "--parameters"]
    job += [json.dumps(PARAMETERS), "--output", str(tmp_path / "o.ipynb"), "--log", str(tmp_path / "toy.log")]
    starter = f"import subprocess; subprocess.run({job!r})"
    parent = subprocess.Popen([sys.executable, "-c", starter])
    family = wait_for(lambda: psutil.Process(parent.pid).children(recursive=True), size=2)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []


def wait_for(family, size: int) -> list[psutil.Process]:
    """Return the processes once there are ``size`` of them."""
    deadline = time.monotonic() + 120
    while len(found := family()) < size and time.monotonic() < deadline:
        time.sleep(0.2)
    assert len(found) >= size
    return found


def test_memory_is_that_of_the_whole_tree(tmp_path):
    hold = "x = bytearray(200 * 2**20)\nimport time\ntime.sleep(20)"
    with ProcessWatch(tmp_path / "ledger.json", "key") as watch:
        before = runner_peak(watch)
        child = subprocess.Popen([sys.executable, "-c", hold])
        deadline = time.monotonic() + 15
        while watch.peak_rss_mb < before + 190 and time.monotonic() < deadline:
            time.sleep(0.2)
        child.kill()
        child.wait()
    assert watch.peak_rss_mb > before + 190


def runner_peak(watch: ProcessWatch) -> float:
    """Return the first sample of a watch."""
    while not watch.peak_rss_mb:
        time.sleep(0.1)
    return watch.peak_rss_mb


def test_the_code_hash_sees_code_alone(tmp_path):
    path = write_notebook(tmp_path / "toy.ipynb", "a = 1", "b = 2")
    first = code_hash(path)
    book = nbformat.read(path, as_version=4)
    book.cells[2].source = "Other words, ## no heading"
    book.cells[3].outputs = [nbformat.v4.new_output("stream", text="7")]
    book.cells[3].id = "another"
    book.cells.append(new_markdown_cell("An afterword."))
    nbformat.write(book, path)
    assert code_hash(path) == first
    book.cells[3].source = "a = 10"
    nbformat.write(book, path)
    assert code_hash(path) != first


def test_the_code_hash_sees_where_the_parameters_are(tmp_path):
    path = write_notebook(tmp_path / "toy.ipynb", "a = 1")
    first = code_hash(path)
    book = nbformat.read(path, as_version=4)
    book.cells[1].metadata, book.cells[3].metadata = book.cells[3].metadata, book.cells[1].metadata
    nbformat.write(book, path)
    assert code_hash(path) != first


def test_inputs_are_what_a_notebook_imports_however_it_does(tmp_path):
    direct = "from groundsynth import errors"
    lazy = "def f():\n    from groundsynth.workflow.stale_lock import live_runs\n    return live_runs"
    names = {
        path.name
        for path in package_files(write_notebook(tmp_path / "a.ipynb", direct, "%matplotlib inline"))
    }
    assert names == {"__init__.py", "errors.py"}
    names = {path.name for path in package_files(write_notebook(tmp_path / "b.ipynb", lazy))}
    assert names == {"__init__.py", "errors.py", "stale_lock.py", "paths.py"}


def test_the_package_imports_no_torch():
    code = (
        "import sys, groundsynth, groundsynth.config, groundsynth.__main__, groundsynth.workflow.rule_stage\n"
    )
    subprocess.run([sys.executable, "-c", f"{code}assert 'torch' not in sys.modules"], check=True)


def test_a_command_tells_an_error_without_a_traceback(tmp_path, capsys):
    words = ["run-notebook", str(tmp_path / "no.ipynb"), "--parameters", "{}"]
    words += ["--output", str(tmp_path / "o.ipynb"), "--log", str(tmp_path / "l.log")]
    assert commands.main(words) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert "no such notebook" in shown.err


def test_a_malformed_parameter_object_is_refused(capsys):
    with pytest.raises(SystemExit):
        commands.main(["run-notebook", "n", "--parameters", "{oops", "--output", "o", "--log", "l"])
    assert "--parameters" in capsys.readouterr().err
