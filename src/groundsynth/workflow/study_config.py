"""The study a Snakemake run is asked for, checked before any rule exists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from groundsynth.config import Study, extend_study, load_study, validate_study
from groundsynth.errors import GroundsynthError
from groundsynth.paths import project_root


def check_study(config: Mapping[str, Any]) -> Study:
    """Return the study Snakemake resolved, if it is the one ``config/<study>.yaml`` describes.

    Results lie under the study's name and their manifest quotes its file, so a value changed on the
    command line would make numbers nobody can trace.

    Raises:
        GroundsynthError: a wrong setting, or one that differs from the study's own file.
    """
    folder = project_root() / "config"
    study = validate_study(extend_study(dict(config), folder))
    described = load_study(folder / f"{study.study}.yaml")
    if study != described:
        name = _first_difference(study.model_dump(), described.model_dump())
        raise GroundsynthError(
            f"setting '{name}' differs from config/{study.study}.yaml, which the results of study "
            f"'{study.study}' are filed under; copy that file, name the study after the copy, change it there"
        )
    return study


def _first_difference(one: dict, other: dict, above: str = "") -> str:
    for name, value in one.items():
        if value != other[name]:
            path = f"{above}{name}"
            return _first_difference(value, other[name], f"{path}.") if isinstance(value, dict) else path
    return above
