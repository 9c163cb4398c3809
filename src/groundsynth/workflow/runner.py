"""Run one notebook for one rule: strictly, alone, and with its result whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import filelock

from groundsynth.atomic import atomic_path, write_failure, write_json
from groundsynth.errors import GroundsynthError
from groundsynth.paths import project_root
from groundsynth.versions import package_versions
from groundsynth.workflow.code_inputs import code_hash
from groundsynth.workflow.kernel import DEVICE_FILE
from groundsynth.workflow.notebook_source import check_parameters, nearest_heading, read_cells
from groundsynth.workflow.process_watch import ProcessWatch

LOCK_SECONDS = 10
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
# a thread that waits lets others work; spinning, two trainings on two cores are ten times as slow as one
WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}


def run_notebook(
    notebook: Path, parameters: Mapping[str, Any], output: Path, log: Path, threads: int = 2
) -> dict[str, Any]:
    """Run ``notebook`` and write it, executed, to ``output`` once its last cell succeeded.

    ``run.json`` is written beside it. What the notebook prints goes to ``log``; while it runs, and
    if it stops, the notebook so far lies beside the log.

    Args:
        parameters: exactly the names of the notebook's ``parameters`` cell.
        threads: threads for the numerical libraries of the kernel.

    Returns:
        what ``run.json`` holds.

    Raises:
        GroundsynthError: wrong parameter names, another run writing ``output``, a cell that failed.
    """
    check_parameters(notebook, parameters)
    notebook, output, log = (Path(path).resolve() for path in (notebook, output, log))
    log.parent.mkdir(parents=True, exist_ok=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    kept, started, code = log.with_suffix(".ipynb"), datetime.now(UTC), code_hash(notebook)
    key = hashlib.sha256(json.dumps([code, dict(parameters)], sort_keys=True).encode()).hexdigest()
    with (
        _sole_writer(output),
        log.open("w", encoding="utf-8") as stream,
        ProcessWatch(log.with_suffix(".attempts.json"), key) as watch,
    ):
        device = _execute(notebook, parameters, kept, stream, threads, watch)
        record = {
            "stage": notebook.stem,
            "seconds": round(watch.seconds, 1),
            "attempts": watch.attempts,
            "peak_rss_mb": round(watch.peak_rss_mb),
            **device,
            "threads": threads,
            "planned_minutes": _planned_minutes(parameters, notebook.stem),
            "started": started.isoformat(timespec="seconds"),
            "code_hash": code,
            "parameters": dict(parameters),
            "versions": package_versions(),
        }
        write_json(output.parent / "run.json", record)
        _place(kept, output)
    watch.settle()
    return record


@contextlib.contextmanager
def _sole_writer(output: Path) -> Iterator[None]:
    lock = filelock.FileLock(output.with_name(f".{output.name}.lock"), timeout=LOCK_SECONDS)
    try:
        with lock:
            yield
    except filelock.Timeout:
        raise GroundsynthError(
            f"{output}: another run is writing it; wait for that run to end, or stop it"
        ) from None


def _execute(
    notebook: Path, parameters: Mapping, kept: Path, stream: IO[str], threads: int, watch: ProcessWatch
) -> dict[str, Any]:
    """Run the cells in a kernel of this interpreter; return the device it computed on."""
    import papermill
    from nbclient.exceptions import DeadKernelError

    from groundsynth.workflow.own_kernel import kernel_class

    with tempfile.TemporaryDirectory(prefix="gs-") as private:
        device_file = Path(private) / "device.json"
        environment = (
            dict.fromkeys(THREAD_VARIABLES, str(threads)) | WAITING | {DEVICE_FILE: str(device_file)}
        )
        try:
            papermill.execute_notebook(
                notebook, kept, dict(parameters), cwd=project_root(), kernel_name="python3",
                language="python", kernel_manager_class=kernel_class(Path(private), environment),
                stdout_file=stream, stderr_file=stream, progress_bar=False, start_timeout=120,
            )  # fmt: skip
        except papermill.PapermillExecutionError as error:
            stream.write(re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error.traceback)) + "\n")  # no colours
            cause = error.evalue if error.ename == "GroundsynthError" else f"{error.ename}: {error.evalue}"
            raise _stopped(notebook, kept, cause) from None
        except DeadKernelError:
            cause = f"the kernel died, most often for want of memory (it held {watch.peak_rss_mb:.0f} MB)"
            raise _stopped(notebook, kept, cause) from None
        except OSError as error:
            raise write_failure(kept, error) from error
        return json.loads(device_file.read_text())


def _stopped(notebook: Path, kept: Path, cause: str) -> GroundsynthError:
    """Return the two-line message about a stopped run: cell and cause, then the file kept."""
    cells = read_cells(notebook)
    number = _stopped_cell(kept)
    where = f"cell {number + 1} of {len(cells)}" if number is not None else "start-up"
    heading = nearest_heading(cells, number) if number is not None else ""
    under = f' (under "{heading}")' if heading else ""
    cause = " ".join(cause.split())
    return GroundsynthError(
        f"{notebook.name} stopped at {where}{under}: {cause[:600]}\n"
        f"kept as {_shown(kept)}; put the cause right, then run the same command again"
    )


def _stopped_cell(kept: Path) -> int | None:
    """Return the position, in the source notebook, of the cell that failed or was last begun."""
    import nbformat

    if not kept.is_file():
        return None
    added = {"injected-parameters", "papermill-error-cell-tag"}
    cells = [
        cell
        for cell in nbformat.read(kept, as_version=4).cells
        if not added.intersection(cell.metadata.get("tags", ()))
    ]
    runs = {i: cell.metadata.get("papermill", {}) for i, cell in enumerate(cells) if cell.cell_type == "code"}
    failed = [i for i, run in runs.items() if run.get("exception")]
    begun = [i for i, run in runs.items() if run.get("start_time")]
    return next(iter(failed + begun[::-1]), None)


def _place(kept: Path, output: Path) -> None:
    """Move the executed notebook to its place, without the paths of this machine."""
    import nbformat

    executed = nbformat.read(kept, as_version=4)
    for name in ("input_path", "output_path"):
        executed.metadata.get("papermill", {}).pop(name, None)
    with atomic_path(output) as temporary:
        nbformat.write(executed, temporary)
    kept.unlink()


def _planned_minutes(parameters: Mapping[str, Any], stage: str) -> float | None:
    """Return the minutes the study plans for a stage; None where no study or stage is known."""
    from groundsynth.config import load_study

    path = project_root() / "config" / f"{parameters.get('study')}.yaml"
    planned = load_study(path).minutes.model_dump(by_alias=True) if path.is_file() else {}
    return planned.get(stage)


def _shown(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
