"""Snakemake's lock after a ``kill -9``: removed when no run of this project lives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

from groundsynth.errors import GroundsynthError
from groundsynth.paths import project_root


def live_runs(root: Path) -> list[int]:
    """Return the ids of the Snakemake and notebook runs that work in ``root``."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        words, folder = process.info["cmdline"] or [], process.info["cwd"]
        runs = any(Path(word).name in {"snakemake", "run-notebook"} for word in words[:4])
        if runs and folder and Path(folder) == root:
            found.append(process.pid)
    return found


def unlock_if_stale() -> None:
    """Remove the lock unless a run lives.

    Raises:
        GroundsynthError: a run of this project is going on.
    """
    root = project_root()
    locks = root / ".snakemake" / "locks"
    if not locks.is_dir() or not any(locks.iterdir()):
        return
    running = live_runs(root)
    if running:
        raise GroundsynthError(
            f"a study is running in {root} (process {running[0]}); wait for it to end, or stop it"
        )
    subprocess.run([sys.executable, "-m", "snakemake", "--unlock"], cwd=root, check=True)
