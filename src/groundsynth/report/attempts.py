"""What was tried: every opening of a test split, and what was tried without opening it.

``results/attempts.csv`` is tracked. Whoever tries twenty settings and publishes the best should show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from groundsynth.arm_names import is_mixed
from groundsynth.artifacts import read_table, write_table
from groundsynth.benchmark.arms import opponents, parse_arms
from groundsynth.benchmark.cross_validation import STAGE, stack_folds
from groundsynth.benchmark.differences import difference, mean_score
from groundsynth.benchmark.metrics import mean_iou
from groundsynth.config import Study
from groundsynth.errors import GroundsynthError
from groundsynth.paths import project_root, results_dir
from groundsynth.report.pooling import read_counts, shared_classes
from groundsynth.report.provenance import config_hash, git_commit
from groundsynth.versions import package_versions

KEY = ["study", "config_hash", "what"]


def attempts_path() -> Path:
    """Return the tracked log."""
    return project_root() / "results" / "attempts.csv"


def read_attempts() -> pd.DataFrame:
    """Return the log; empty before the first attempt."""
    path = attempts_path()
    return read_table(path, "attempts") if path.is_file() else pd.DataFrame(columns=KEY)


def log_attempt(study: Study, what: str, opened: bool, note: str = "", **found: object) -> bool:
    """Append a row, unless this study with these settings is there already; say whether it was.

    Args:
        what: ``publish``, ``validation`` or the command that opened the test split.
        opened: whether test chips were looked at.
        found: ``arms``, ``best_arm``, ``val_delta``, ``val_low``, ``val_high``; those of the benchmark by default; and
            ``folds``, if not those of the study.
    """
    row = {
        "study": study.study, "config_hash": config_hash(study), "what": what,
        "version": package_versions()["groundsynth"], "commit": git_commit(),
        "folds": ";".join(map(str, study.folds)),
        **(found or best_on_validation(study)), "test_opened": "yes" if opened else "no", "note": note,
    }  # fmt: skip
    known = read_attempts()
    if (known[KEY] == [row[name] for name in KEY]).all(axis=1).any():
        return False
    table = pd.concat([known, pd.DataFrame([row])], ignore_index=True) if len(known) else pd.DataFrame([row])
    write_table(table, attempts_path(), "attempts")
    return True


def log_opening(
    study: Study, command: str, note: str, arms: int = 0, best_arm: str = "", folds: Sequence[int] = ()
) -> bool:
    """Append a row for a command that looked at test chips and compared no mixed arms on validation before.

    Args:
        note: what was looked at and what was chosen, in a few words.
        folds: whose test chips were looked at, if not those of the study.
    """
    nothing = {"val_delta": None, "val_low": None, "val_high": None}
    nothing |= {"folds": ";".join(map(str, folds))} if folds else {}
    return log_attempt(study, command, True, note, arms=arms, best_arm=best_arm, **nothing)


def log_validation(study: Study, note: str) -> bool:
    """Append what a study found that left its test blocks unread (``benchmark: {split: val}``).

    Raises:
        GroundsynthError: stage 07 has not run, or has counted test chips.
    """
    counts = read_counts(results_dir(study.study), study.folds)
    if (counts["split"] == "test").any():
        raise GroundsynthError(
            f"study '{study.study}' has counted test chips, so its test split is open; publish it, which logs it, or "
            "run it with benchmark: {split: val}"
        )
    return log_attempt(study, "validation", False, note)


def best_on_validation(study: Study) -> dict[str, object]:
    """Return how many arms there are, and the mixed one that gains most on validation, with its interval.

    Gains are over real chips alone with as many steps, where the study has them. Without counts (another machine ran
    the study) the arm is empty.
    """
    root = results_dir(study.study)
    nothing = {"best_arm": "", "val_delta": None, "val_low": None, "val_high": None}
    if not all((root / STAGE / f"fold{fold}" / "counts.csv").is_file() for fold in study.folds):
        return {"arms": len(study.benchmark.arms), **nothing}
    counts = read_counts(root, study.folds)
    arms = list(dict.fromkeys(counts["arm"]))
    mixed = [arm for arm in arms if is_mixed(arm)]
    if not mixed:
        return {"arms": len(arms), **nothing}
    against = opponents(parse_arms(arms, study.generate.systems))
    score = partial(mean_iou, classes=shared_classes(root, study.folds))
    table = stack_folds([counts], arms, "val")
    values = dict(zip(arms, np.nan_to_num(mean_score(table, score), nan=-1.0), strict=True))
    best = max(mixed, key=lambda arm: values[arm] - values[against[arm]])
    pair = table[:, [arms.index(best), arms.index(against[best])]]
    delta = difference(pair, score, study.benchmark.bootstrap, "attempts")
    found = {"val_delta": delta.value, "val_low": delta.low, "val_high": delta.high}
    return {"arms": len(arms), "best_arm": best} | found
