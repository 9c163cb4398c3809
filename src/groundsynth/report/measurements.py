"""What the commands measure of a finished study, and where each leaves it: ``results/<study>/<folder>``.

No rule runs these commands, and no stage reads what they leave. The report gathers their numbers, tells them
from those of stages by ``command=<name>`` in the column ``regime``, and shows their figures.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from groundsynth.paths import results_dir


class Measurement(NamedTuple):
    """One command's folder in ``results/<study>``, what it asks, and which tables are published beside its numbers.

    ``sections`` names the parts of a study that decide its numbers; all if empty.
    """

    folder: str
    title: str
    tables: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()

    def heeds(self, setting: str) -> bool:
        """Say whether a setting, named with its section first, may decide what this command measures.

        >>> aa_test = MEASUREMENTS["aa-test"]
        >>> aa_test.heeds("generate.sampling_steps"), aa_test.heeds("benchmark.steps"), aa_test.heeds("folds")
        (False, True, True)
        """
        return not self.sections or setting.replace(" ", ".").split(".")[0] in self.sections


#: in the order of the report
MEASUREMENTS = {
    "sampling-curve": Measurement(
        "sampling_curve", "How many steps does sampling need, and which solver?", ("curve.csv",)
    ),
    "measure-obedience": Measurement("obedience", "Are maps obeyed that no generator has seen?"),
    "compare-layouts": Measurement("layouts", "Does the kind of map matter that an image is drawn for?"),
    "compare-routes": Measurement("routes", "Image and map together, or the map first?"),
    "compare-policies": Measurement("policies", "One generator for everything, or one for each use?"),
    "super-resolve": Measurement("super_resolution", "Can a second model double the side of pairs?"),
    "compare-labellers": Measurement("labellers", "Which network labels best?"),
    "compare-contrastive": Measurement("contrastive", "Do images and words gain from synthetic pairs?"),
    "clean-captions": Measurement("cleaning", "Are wrong captions found?"),
    "compare-cleaned": Measurement(
        "cleaned_training", "Is a generator better for cleaned captions?", ("comparators.csv",)
    ),
    "certify-folds": Measurement("certificate", "Does the certificate hold on every group of blocks?"),
    "detect": Measurement("authenticity", "Can synthetic chips be told from real ones?"),
    "try-marks": Measurement("marks", "Are marks of origin found, and faults reported?", ("faults.csv",)),
    "aa-test": Measurement(
        "aa_test",
        "How often does the benchmark see a difference where there is none?",
        sections=("data", "benchmark", "folds", "device"),
    ),
    "human-rating": Measurement("human_rating", "What do people see?"),
    "ground-benchmark": Measurement("ground_scale", "How long does grounding take?"),
}


class Measured(NamedTuple):
    """A folder that a command filled: its command, what tells it from other runs, and where it lies."""

    command: str
    run: str
    path: Path

    @property
    def tag(self) -> str:
        """What the column ``regime`` says of its rows.

        >>> Measured("detect", "fold1", Path()).tag
        'command=detect;run=fold1'
        """
        return f"command={self.command}" + (f";run={self.run}" if self.run else "")


def measured_dir(study: str, command: str, fold: int = 0, run: str = "") -> Path:
    """Return the folder a command fills unless told otherwise; other folds and runs lie in folders below it.

    >>> measured_dir("laptop", "detect", fold=1).relative_to(results_dir("laptop")).as_posix()
    'authenticity/fold1'
    """
    words = [run, f"fold{fold}" if fold else ""]
    return results_dir(study) / MEASUREMENTS[command].folder / "-".join(filter(None, words))


def measured_folders(root: Path) -> list[Measured]:
    """Return every folder below ``results/<study>`` (or its published copy) in which a command left numbers."""
    found = []
    for command, measurement in MEASUREMENTS.items():
        folder = root / measurement.folder
        for path in sorted([*folder.glob("metrics.csv"), *folder.glob("*/metrics.csv")]):
            run = "" if path.parent == folder else path.parent.name
            found.append(Measured(command, run, path.parent))
    return found


def measured_tables(study: str) -> list[str]:
    """Return the commands' ``metrics.csv`` of a study that are there, for the rule of the report."""
    root = results_dir(study)
    return [f"results/{study}/{m.path.relative_to(root)}/metrics.csv" for m in measured_folders(root)]
