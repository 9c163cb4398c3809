"""The manifest of a study: everything needed to make it again, as plain JSON values."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from groundsynth.artifacts import read_json
from groundsynth.config import Study
from groundsynth.legend import CLASSES
from groundsynth.report.provenance import config_hash, device_name, git_commit, package_versions, study_seeds


def build_manifest(
    study: Study, root: Path, minutes: pd.DataFrame, runs: list[dict], made: list[dict]
) -> dict:
    """Return everything needed to make a study again, as plain JSON values.

    Args:
        root: ``results/<study>``; the data's licence and hash come from stage 01.
        minutes: planned and measured minutes and peak memory per stage.
        runs: the runner's records; versions and device are theirs where there are any.
        made: stage, config hash and commit of every executed notebook that shows them.
    """
    data = read_json(
        root / "01_prepare_data" / f"fold{study.folds[0]}" / "data.json", "snakemake --cores all"
    )
    versions = package_versions()
    for run in runs:
        versions |= run.get("versions", {})
    devices = sorted({run["device"] for run in runs if run.get("device")})
    return {
        "study": study.study,
        "config_hash": config_hash(study),
        "git_commit": git_commit(),
        "made_with": made,
        "device": hardware(devices),
        "seeds": study_seeds(study),
        "versions": dict(sorted(versions.items())),
        "data": {name: data[name] for name in ("source", "title", "licence", "citation", "sha256")}
        | {"primary_classes": [CLASSES[k] for k in data.get("primary_classes", [])]},
        "minutes": json.loads(minutes.to_json(orient="records", double_precision=3)),
        "config": study.model_dump(mode="json", by_alias=True),
    }


def hardware(devices: list[str]) -> str:
    """Return the devices of a study in words: ``['cpu']`` on this machine is 'CPU, 2 cores, x86_64'."""
    words = [device_name("cpu") if device == "cpu" else device for device in devices]
    return " and ".join(words) or device_name("cpu")
