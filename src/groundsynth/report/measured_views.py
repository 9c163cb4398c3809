"""What commands left of a study, shown in a notebook; where nothing is there, one sentence says what to run."""

from __future__ import annotations

import pandas as pd

from groundsynth.artifacts import METRIC_COLUMNS, read_table
from groundsynth.paths import results_dir
from groundsynth.report.measurements import MEASUREMENTS, measured_folders
from groundsynth.report.style import show_figure


def missing_words(study: str, command: str) -> str:
    """Return what to run for a command's results.

    >>> missing_words("laptop", "detect")
    'Nothing of `detect` here yet; run: `python -m groundsynth detect config/laptop.yaml`'
    """
    return f"Nothing of `{command}` here yet; run: `python -m groundsynth {command} config/{study}.yaml`"


def measured_rows(study: str, command: str) -> pd.DataFrame:
    """Return what a command measured of a study, as metric rows with a column ``run``; without rows if it did not."""
    parts = [
        read_table(found.path / "metrics.csv", "metrics").assign(run=found.run)
        for found in measured_folders(results_dir(study))
        if found.command == command
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*METRIC_COLUMNS, "run"])


def show_measured(study: str, command: str, name: str) -> None:
    """Display a command's figure with its caption, of every run, or say what to run."""
    from IPython.display import Markdown, display

    folder = results_dir(study) / MEASUREMENTS[command].folder
    found = sorted([*folder.glob(name), *folder.glob(f"*/{name}")])
    for path in found:
        show_figure(path)
    if not found:
        display(Markdown(missing_words(study, command)))
