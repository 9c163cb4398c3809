"""What commands measured for an earlier publication of a study, and nobody has measured again since.

Some measurements take longer than the study. When a study is published again with the same generators, they stay beside
it, each with a note that says for which commit they were made and which settings have changed since.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from groundsynth.artifacts import atomic_path, read_json
from groundsynth.config import Study
from groundsynth.report.measurements import MEASUREMENTS, measured_folders
from groundsynth.report.provenance import changed_settings

NOTE = "earlier.txt"
CHANGE = re.compile(r"([\w.]+) \((.*?), now (.*?)\)(?=, [\w.]+ \(| changed|$)")


def keep_earlier(study: Study, root: Path, published: Path, copy: Path) -> list[Path]:
    """Copy to a new publication the measurements that only the one before it has.

    Args:
        root: results of the study; published: its publication so far; copy: the new one, filled already.

    Returns:
        the folders kept, relative to the publication; none if a generator has other losses now, or a setting of then
        is gone.
    """
    if not (published / "manifest.json").is_file() or other_losses(root, published):
        return []
    manifest = read_json(published / "manifest.json", f"python -m groundsynth publish {study.study}")
    changed = changed_settings(manifest["config"], study)
    if changed is None:
        return []
    fresh = {measured.path.relative_to(root) for measured in measured_folders(root)}
    kept = {m.path.relative_to(published): m.command for m in measured_folders(published)}
    kept = {place: command for place, command in kept.items() if place not in fresh}
    for place, command in kept.items():
        shutil.copytree(published / place, copy / place, dirs_exist_ok=True)
        mattering = [change for change in changed if MEASUREMENTS[command].heeds(change)]
        note = read_note(copy / place) or _words(manifest["git_commit"], [])
        with atomic_path(copy / place / NOTE) as temporary:
            temporary.write_text(_with_changes(note, mattering) + "\n", encoding="utf-8")
    return list(kept)


def other_losses(root: Path, published: Path) -> Path | None:
    """Return the first training of a study that the publication does not have, or not with these losses."""
    for losses in sorted(root.glob("02_train_generator/fold*/*/loss.csv")):
        theirs = published / losses.relative_to(root)
        if not theirs.is_file() or theirs.read_bytes() != losses.read_bytes():
            return losses.relative_to(root)
    return None


def read_note(folder: Path) -> str:
    """Return the note of a measurement that was kept; empty for one of the study as it is."""
    return (folder / NOTE).read_text(encoding="utf-8").strip() if (folder / NOTE).is_file() else ""


def _words(commit: str, changed: list[str]) -> str:
    since = f"; since then {', '.join(changed)} changed" if changed else ""
    return f"Measured with the same generator for an earlier publication of this study (commit {commit or 'unknown'}){since}."


def _with_changes(note: str, changed: list[str]) -> str:
    """Return a note with further changes: of a setting that it names already, what it was then and what it is now."""
    then_and_now = {key: (then, now) for key, then, now in CHANGE.findall(note.partition("; since then ")[2])}
    for key, then, now in CHANGE.findall(", ".join(changed)):
        then_and_now[key] = (then_and_now.get(key, (then,))[0], now)
    differing = [f"{key} ({then}, now {now})" for key, (then, now) in then_and_now.items() if then != now]
    return _words(re.findall(r"\(commit (.*?)\)", note)[0], differing)
