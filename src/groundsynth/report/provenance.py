"""What a run was made with: versions, commit, device, config hash and seeds, as one small table."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from groundsynth.config import Study, load_study
from groundsynth.errors import GroundsynthError
from groundsynth.paths import project_root
from groundsynth.versions import package_versions

# what decides a number: a change elsewhere (README, results) leaves the commit as it is
SOURCES = ("Snakefile", "config", "notebooks", "pyproject.toml", "requirements.lock", "src", "workflow")

# keys that came with another default than what was done before: section, key, what was done
CAME_LATER = {"generate": {"pair_guidance": 1.0}}


def find_config(study: str) -> Path:
    """Return the file in ``config/`` that describes a study.

    Raises:
        GroundsynthError: no such file.
    """
    path = project_root() / "config" / f"{study}.yaml"
    if not path.is_file():
        raise GroundsynthError(
            f"config/{study}.yaml: no such config; a study is named after its file in config/"
        )
    return path


def config_hash(study: Study) -> str:
    """Return 12 hex digits that change when any setting of the study, default or stated, changes."""
    text = json.dumps(study.model_dump(mode="json", by_alias=True), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def same_settings(published: dict, study: Study) -> bool:
    """Say whether a published manifest's ``config`` decides the same numbers as a study's settings of today."""
    return changed_settings(published, study) == []


def changed_settings(published: dict, study: Study) -> list[str] | None:
    """Return the settings in which a published manifest's ``config`` differs from a study's of today.

    A key that was not there when it was published counts as what was done before it came, which is its default but
    for those of ``CAME_LATER``; planned minutes and the report's own keys decide no number of a stage.

    Returns:
        each as ``generate.sampling_steps (16, now 8)``; None if a key of then is gone.
    """
    then = settings_of(published)
    return None if then is None else _differences(deciding_settings(then), deciding_settings(study))


def settings_of(published: dict) -> Study | None:
    """Return the settings that a published manifest's ``config`` holds, and those that came later as it was then.

    None if a key of then is gone.
    """
    whole = {
        key: CAME_LATER.get(key, {}) | part if isinstance(part, dict) else part
        for key, part in published.items()
    }
    try:
        return Study.model_validate(whole)
    except ValidationError:
        return None


def _differences(then: dict, now: dict, above: str = "") -> list[str]:
    found = []
    for key in {**then, **now}:
        one, other = then.get(key), now.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            found += _differences(one, other, f"{above}{key}.")
        elif one != other:
            found.append(f"{above}{key} ({one}, now {other})")
    return found


def deciding_settings(study: Study) -> dict:
    """Return a study's settings without those that decide no number of a stage: planned minutes, the report's own."""
    return study.model_dump(mode="json", by_alias=True, exclude={"minutes", "report"})


def shared_plan(study: Study) -> dict:
    """Return what a study shares with its replicates: every deciding setting but its name, its generators' seeds, its folds."""
    plan = deciding_settings(study)
    del plan["generator"]["seeds"], plan["study"], plan["folds"]
    return plan


def git_commit() -> str:
    """Return the project's commit, with ``+ changes`` if the tree differs from it; empty without git."""
    root = project_root()
    if not (root / ".git").exists():
        return ""

    def ask(*words: str) -> str:
        result = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=30)
        return result.stdout.strip() if result.returncode == 0 else ""

    try:
        commit = ask("rev-parse", "--short=12", "HEAD")
        return f"{commit} + changes" if commit and ask("status", "--porcelain", "--", *SOURCES) else commit
    except (OSError, subprocess.TimeoutExpired):
        return ""


def made_with(notebook: dict) -> dict[str, str]:
    """Return the config hash and the commit that an executed notebook shows of itself; empty if it shows neither.

    Args:
        notebook: as :func:`nbformat.read` gives it.
    """
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            shown = re.findall(
                r"^(config hash|git commit) +(.+?) *$",
                output.get("data", {}).get("text/plain", ""),
                re.MULTILINE,
            )
            if shown:
                return {name.replace(" ", "_"): value for name, value in shown}
    return {}


def by_stage(made: list[dict], item: str) -> str:
    """Return what stages were made with: alone where all share it, else each with the numbers of its stages.

    >>> runs = [("01_a", "x"), ("02_b", "y"), ("03_c", "y")]
    >>> by_stage([{"stage": stage, "git_commit": commit} for stage, commit in runs], "git_commit")
    'x (stage 01), y (stages 02, 03)'
    """
    stages: dict[str, list[str]] = {}
    for run in made:
        number = run["stage"].partition("_")[0]
        if number not in stages.setdefault(run[item], []):
            stages[run[item]].append(number)
    if len(stages) < 2:
        return "".join(stages)
    return ", ".join(
        f"{value} (stage{'s' * (len(numbers) > 1)} {', '.join(numbers)})" for value, numbers in stages.items()
    )


def device_name(device: str) -> str:
    """Return a device in words: the CPU's cores, or the GPU's name; ``auto`` is resolved."""
    if device != "cpu":
        from groundsynth.models.device import pick_device

        picked = pick_device(device)
        if picked.type == "cuda":
            import torch

            return f"GPU: {torch.cuda.get_device_name(picked)}"
    return f"CPU, {os.cpu_count()} cores, {platform.machine()}"


def study_seeds(study: Study) -> dict[str, object]:
    """Return every seed of a study: split, generators, labeller, captions, checks, benchmark."""
    return {
        "split": study.data.split_seed,
        "generator": study.generator.seeds,
        "labeller": study.label.seed,
        "captions": study.caption.seed,
        "checks": study.ground.seed,
        "benchmark": study.benchmark.seeds,
    }


def _listed(seeds: dict[str, object], names: tuple[str, ...]) -> str:
    return ", ".join(f"{name} {seeds[name]}" for name in names)


def provenance(study: str, device: str = "cpu") -> pd.DataFrame:
    """Return what this run is made with as a table of one column, indexed by item.

    Args:
        study: name of a study in ``config/``.
        device: ``auto``, ``cpu`` or ``cuda``; anything but ``cpu`` imports torch.
    """
    resolved = load_study(find_config(study))
    seeds = study_seeds(resolved)
    rows = {
        "study": study,
        "config hash": config_hash(resolved),
        "git commit": git_commit() or "not available",
        "device": device_name(device),
        **package_versions(),
        "seeds": _listed(seeds, ("split", "generator", "benchmark")),
        "seeds of checks": _listed(seeds, ("labeller", "captions", "checks")),
    }
    return pd.DataFrame({"this run": rows})
