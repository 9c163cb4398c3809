"""What a rule file says about its stage, so that it can stay short."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from groundsynth.arm_names import CERTIFIED_SETS, arm_parts
from groundsynth.config import Study
from groundsynth.data.pair_list import list_files
from groundsynth.paths import project_root
from groundsynth.systems import drawn_pairs
from groundsynth.workflow.code_inputs import code_hash, module_files, package_files
from groundsynth.workflow.parameters import generator_names, notebook_parameters, stage_folder

# what every stage leaves beside its executed notebook


class RuleStage:
    """One stage of one study, as Snakemake patterns.

    Attributes:
        name: name of stage, notebook, rule file, log and results folder.
        notebook_name: file name of its notebook, source and executed.
        folder: the folder one job fills, with wildcards.
        code: package files its notebook imports, as rule inputs.
        code_hash: hash of the notebook's code cells, as a rule parameter.
    """

    def __init__(self, study: Study, name: str) -> None:
        self.study, self.name = study, name
        self.folder = stage_folder(study, name)
        self.notebook_name = f"{name}.ipynb"
        notebook = project_root() / "notebooks" / self.notebook_name
        self.code_hash = code_hash(notebook)
        self.code = _from_root(package_files(notebook))

    def path(self, name: str) -> str:
        """Return a file of the stage, with wildcards."""
        return f"{self.folder}/{name}"

    @property
    def notebook(self) -> str:
        """The executed notebook."""
        return self.path(self.notebook_name)

    @property
    def log(self) -> str:
        """The log, in a folder of its own where a stage has several jobs per fold."""
        return f"{self.folder.replace('results/', 'logs/', 1)}/{self.name}.log"

    @property
    def network_counts(self) -> list[str]:
        """Stage 07's counts of further networks, one file each."""
        return [self.path(f"counts_{name}.csv") for name in self.study.benchmark.networks]

    @property
    def filtered(self) -> list[str]:
        """Stage 04's filtered labels, one file per filter of the study."""
        return [self.path(f"filtered_{name}.parquet") for name in self.study.label.filters]

    @property
    def certificates(self) -> list[str]:
        """Stage 06's certificates, if an arm of the benchmark chooses its chips by them."""
        chosen = [arm_parts(arm)["filter"] for arm in _trained_arms(self.study)]
        return [self.path("certificate.csv")] if set(chosen) & set(CERTIFIED_SETS) else []

    @property
    def given(self) -> list[str]:
        """What a generator's training is given besides the chips: a keep list with its maps, weights to begin with."""
        start = self.study.generator.start
        weights = [f"{start}/{name}" for name in ("denoiser.json", "denoiser.safetensors")] if start else []
        return [*list_files(self.study.generator.pairs), *weights]

    @property
    def blind_labels(self) -> list[str]:
        """Stage 04's labels of training chips by labellers blind to their blocks, if there are any."""
        return [self.path("labels_train.parquet")] if self.study.label.kfold else []

    def parameters(self, wildcards: Any) -> str:
        """Return the notebook's parameters as JSON: a Snakemake ``params`` function."""
        return json.dumps(notebook_parameters(self.study, self.name, wildcards))

    def of_fold(self, name: str) -> list[str]:
        """Return one file of the stage from every job of a fold; only ``{fold}`` stays open."""
        return [
            self.path(name)
            .replace("{generator}", generator)
            .replace("{system}", system)
            .replace("{shard}", str(shard))
            for generator, system, shard in self._jobs()
        ]

    def of_study(self, name: str) -> list[str]:
        """Return one file of the stage from every job of the study."""
        folds = self.study.folds if "{fold}" in self.folder else [0]
        return [path.replace("{fold}", str(fold)) for fold in folds for path in self.of_fold(name)]

    def _jobs(self) -> list[tuple[str, str, int]]:
        generators = generator_names(self.study) if "{generator}" in self.folder else [""]
        pairs = [(g, "") for g in generators]
        if "{system}" in self.folder:
            pairs = drawn_pairs(generators, self.study.generate.systems)
        shards = range(self.study.generate.shards) if "{shard}" in self.folder else [0]
        return [(g, s, k) for g, s in pairs for k in shards]


def _trained_arms(study: Study) -> list[str]:
    return [*study.benchmark.arms, *(study.benchmark.network_arms if study.benchmark.networks else [])]


def page_code() -> list[str]:
    """Return the files that decide how pages look, as rule inputs: code and templates."""
    templates = (project_root() / "src" / "groundsynth" / "report" / "templates").iterdir()
    return _from_root([*module_files(["groundsynth.report.pages"]), *sorted(templates)])


def _from_root(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(project_root())) for path in paths if path.is_file()]


def measured_minutes(study: Study) -> dict[str, float]:
    """Return the minutes each finished stage took, all its jobs together, from their ``run.json``."""
    found: dict[str, float] = {}
    for path in sorted((project_root() / "results" / study.study).rglob("run.json")):
        run = json.loads(path.read_text())
        found[run["stage"]] = found.get(run["stage"], 0) + run["seconds"] / 60
    return dict(sorted(found.items()))


def closing_words(study: Study) -> str:
    """Return what a finished study prints: minutes measured beside planned, and the report's path."""
    planned = study.minutes.model_dump(by_alias=True)
    measured = measured_minutes(study)
    rows = [f"  {stage:<28}{minutes:7.1f}{planned[stage]:9.1f}" for stage, minutes in measured.items()]
    total = f"  {'together':<28}{sum(measured.values()):7.1f}{sum(planned.values()):9.1f}"
    head = f"  {'minutes':<28}{'took':>7}{'planned':>9}"
    report = Path("results", study.study, "09_report", "index.html")
    return "\n".join([f"Study '{study.study}' is complete.", head, *rows, total, f"Report: {report}"])
