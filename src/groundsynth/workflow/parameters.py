"""What a rule passes to its notebook: the settings of its stage, and where to write."""

from __future__ import annotations

from typing import Any

from groundsynth.config import Study, stage_settings

COMPUTING = {
    "02_train_generator",
    "03_generate",
    "04_label",
    "05_caption",
    "06_ground",
    "07_benchmark_segmentation",
    "08_benchmark_captioning",
}
GATHERING = {
    "04_label",
    "05_caption",
    "06_ground",
    "07_benchmark_segmentation",
    "08_benchmark_captioning",
    "09_report",
}


def generator_names(study: Study) -> list[str]:
    """Return the names ``<policy>-s<seed>`` of the generators a study trains."""
    return [f"{policy}-s{seed}" for policy in study.generator.policies for seed in study.generator.seeds]


def stage_folder(study: Study, stage: str) -> str:
    """Return the folder one job of a stage fills, as a pattern of Snakemake wildcards."""
    folder = f"results/{study.study}/{stage}"
    inner = {
        "02_train_generator": "/fold{fold}/{generator}",
        "03_generate": "/fold{fold}/{generator}/{system}/{shard}",
        "09_report": "",
    }
    return folder + inner.get(stage, "/fold{fold}")


def notebook_parameters(study: Study, stage: str, wildcards: Any) -> dict[str, Any]:
    """Return every parameter of one run of a stage's notebook, as plain JSON values.

    Args:
        wildcards: has the attributes ``fold``, and where the stage has them ``generator``,
            ``system`` and ``shard`` (text or numbers).
    """
    settings = stage_settings(study, stage)
    folder = stage_folder(study, stage).format_map(_as_mapping(wildcards))
    values: dict[str, Any] = {"study": study.study, "out": folder}
    if stage == "09_report":
        values["folds"] = study.folds
    else:
        values["fold"] = int(wildcards.fold)
    if stage in COMPUTING:
        values["device"] = study.device
    if stage in GATHERING:
        values |= {
            "generators": generator_names(study),
            "systems": study.generate.systems,
            "shards": study.generate.shards,
        }
    if stage == "06_ground":
        values["unlabelled"] = study.generator.unlabelled
    if stage == "02_train_generator":
        del settings["policies"], settings["seeds"]
        policy, _, seed = wildcards.generator.rpartition("-s")
        values |= {"policy": policy, "seed": int(seed)}
    if stage == "03_generate":
        del settings["systems"]
        values |= {
            "generator": wildcards.generator,
            "system": wildcards.system,
            "shard": int(wildcards.shard),
        }
    return values | settings


def _as_mapping(wildcards: Any) -> dict[str, Any]:
    names = ("fold", "generator", "system", "shard")
    return {name: getattr(wildcards, name) for name in names if hasattr(wildcards, name)}
