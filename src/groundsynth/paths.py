"""Where things lie: every path hangs on the project root, never on the working folder."""

from __future__ import annotations

import os
from pathlib import Path

from groundsynth.errors import GroundsynthError


def project_root() -> Path:
    """Return the folder that holds ``Snakefile`` and ``src``.

    ``GROUNDSYNTH_ROOT`` overrides the search (tests run a copy of the project this way).
    Otherwise the working folder and its parents are searched, then the folder the package
    is installed from (an editable install).
    """
    named = os.environ.get("GROUNDSYNTH_ROOT")
    if named:
        return Path(named).resolve()
    here = Path.cwd().resolve()
    package = Path(__file__).resolve().parents[2]
    for folder in (here, *here.parents, package):
        if (folder / "Snakefile").is_file() and (folder / "notebooks").is_dir():
            return folder
    raise GroundsynthError(
        f"no project found from {here}: a folder with Snakefile and notebooks/ is needed; "
        "change into the project or set GROUNDSYNTH_ROOT to it"
    )


def results_dir(study: str) -> Path:
    """Return ``results/<study>``."""
    return project_root() / "results" / study


def published_dir(study: str) -> Path:
    """Return ``results/published/<study>``, the copy that travels with the code."""
    return results_dir("published") / study


def stage_dir(study: str, stage: str, fold: int, *parts: str) -> Path:
    """Return ``results/<study>/<stage>/fold<fold>/<parts…>``, the folder one rule fills."""
    return results_dir(study) / stage / f"fold{fold}" / Path(*parts)


def output_dir(out: str, stage: str) -> Path:
    """Return the folder a notebook writes to, made if missing.

    ``out`` is what the rule passes. It is empty when a person presses *Run All*: then the
    folder is ``results/scratch/<stage>``, so that Snakemake's outputs are never overwritten.
    """
    folder = project_root() / (out or f"results/scratch/{stage}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def finished_trainings() -> Path:
    """Return the folder of stage 07's finished trainings, which all studies share.

    Each is named by everything that decides its numbers, so studies that ask for the same training, such as
    ``real`` in a study and in its replicate, find it there.
    """
    return project_root() / "results" / "checkpoints" / "benchmark"


def caption_journals(study: str, fold: int) -> Path:
    """Return the folder of the journals of model-written captions; no rule deletes it."""
    return results_dir(study) / "checkpoints" / "05_caption" / f"fold{fold}"


def raw_dir() -> Path:
    """Return ``data/raw``, where downloads lie (``GROUNDSYNTH_DATA`` overrides it)."""
    return Path(os.environ.get("GROUNDSYNTH_DATA") or project_root() / "data" / "raw")
