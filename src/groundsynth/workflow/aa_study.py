"""The A/A test: many identical trainings on real chips, and as many with a part of the labelled blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd
import torch

from groundsynth.artifacts import write_metrics, write_table
from groundsynth.benchmark.arms import REFERENCE, Arm, parse_arm
from groundsynth.benchmark.false_alarms import HALF, SIZES, aa_rows, check_plan, part_name
from groundsynth.benchmark.segmentation import BenchmarkData, read_primary, read_real, run_arms
from groundsynth.config import Study
from groundsynth.errors import GroundsynthError
from groundsynth.models.device import pick_device
from groundsynth.models.segmenter import Training
from groundsynth.paths import results_dir
from groundsynth.report.aa_figures import aa_caption, aa_figure
from groundsynth.report.pooling import shared_classes
from groundsynth.report.style import save_figure
from groundsynth.seeds import rng


@dataclass(frozen=True)
class Plan:
    """What is trained and compared.

    Attributes:
        arm: real chips alone, such as ``real`` or, with four times the steps, ``real@4``.
        folds: whose test blocks are counted, each block in one fold.
        seeds: trainings on all labelled blocks, in each fold; half: of them repeated with a part of the blocks.
        part: share of the labelled blocks that these keep, drawn anew for each.
        comparisons: pseudo-comparisons per size of group.
    """

    arm: str = REFERENCE
    folds: tuple[int, ...] = (0,)
    seeds: int = 24
    half: int = 12
    part: float = HALF
    comparisons: int = 400

    def check(self) -> None:
        """Stop unless there is enough to say anything, and of the right kind.

        Raises:
            GroundsynthError: too few runs or comparisons, an arm with other chips, or a part that is none.
        """
        check_plan(self.seeds, min(self.half, self.seeds), self.comparisons)
        real_arm(self.arm)
        if not 0 < self.part < 1:
            raise GroundsynthError(
                f"{self.part:g} of the labelled blocks is no part of them; take a number between 0 and 1"
            )

    @property
    def run(self) -> str:
        """What tells this plan from others in the name of a folder; empty for arm ``real`` of fold 0 and half of the blocks.

        >>> Plan().run, Plan("real@4", (0, 1, 2), part=0.1).run
        ('', 'real@4-part0.1-folds012')
        """
        words = [
            "" if self.arm == REFERENCE else self.arm,
            "" if self.part == HALF else f"part{self.part:g}",
            "" if len(self.folds) == 1 else "folds" + "".join(map(str, self.folds)),
        ]
        return "-".join(filter(None, words))


def run_aa_test(study: Study, plan: Plan, folder: Path, progress: Callable = iter) -> pd.DataFrame:
    """Train (what is trained already is kept), compare, and write counts, ``metrics.csv`` and a figure.

    Args:
        progress: wraps the list of trainings of each fold.

    Raises:
        GroundsynthError: stage 01 has not run, or a plan that cannot be followed (see :meth:`Plan.check`).
    """
    plan.check()
    device, primary = pick_device(study.device), shared_classes(results_dir(study.study), list(plan.folds))
    counts = pd.concat(
        [train_all(study, fold, plan, device, progress) for fold in plan.folds], ignore_index=True
    )
    write_table(counts, folder / "counts.csv", "counts")
    test = counts[counts["split"] == "test"]
    number = (SIZES, plan.comparisons, study.benchmark.bootstrap)
    rows, behind = aa_rows(study.study, test, plan.arm, primary, *number, plan.part)
    metrics = write_metrics(rows, folder / "metrics.csv")
    save_figure(aa_figure(metrics, behind), folder / "aa_test.png", aa_caption(metrics, len(plan.folds)))
    return metrics


def real_arm(name: str) -> Arm:
    """Return the arm of this name.

    Raises:
        GroundsynthError: not an arm, or one that holds other chips than real labelled ones.
    """
    arm = parse_arm(name, [])
    if not arm.real or arm.system:
        raise GroundsynthError(
            f"arm '{name}' holds chips that are not real and labelled, of which this test keeps a part; take real, or "
            "real@4 for four times the steps"
        )
    return arm


def train_all(
    study: Study, fold: int, plan: Plan, device: torch.device, progress: Callable = iter
) -> pd.DataFrame:
    """Return counts (table 'counts') of an arm with every seed, and of a part of its blocks with the first ones."""
    splits = ("train", "val", "test")
    chips = read_real(study.study, fold, splits)
    real = {split: chips[chips["split"] == split].reset_index(drop=True) for split in splits}
    primary, training = read_primary(study.study, fold), benchmark_training(study)
    kept = results_dir(study.study) / "checkpoints" / "aa_test"
    arm, ratio, less = real_arm(plan.arm), study.benchmark.ratio, part_name(plan.arm, plan.part)
    parts = []
    wanted = [(s, a) for s in range(plan.seeds) for a in ((plan.arm, less) if s < plan.half else (plan.arm,))]
    for seed, name in progress(wanted):
        train = part_of_blocks(real["train"], fold, seed, plan.part) if name == less else real["train"]
        data = BenchmarkData(fold, real | {"train": train}, {}, primary)
        result = run_arms([arm], [seed], data, training, ratio, device, kept=kept)
        parts.append(result.counts.assign(arm=name))
    return pd.concat(parts, ignore_index=True)


def benchmark_training(study: Study) -> Training:
    """Return how stage 07 trains its segmenters: the settings of ``benchmark`` that a training has, too."""
    own = study.benchmark.model_dump()
    return Training(**{field.name: own[field.name] for field in fields(Training) if field.name in own})


def part_of_blocks(chips: pd.DataFrame, fold: int, seed: int, part: float = HALF) -> pd.DataFrame:
    """Return the chips of a random part of the blocks, at least one, drawn anew for every seed.

    Raises:
        GroundsynthError: a single training block.
    """
    blocks = sorted(chips["block"].unique())
    if len(blocks) < 2:
        raise GroundsynthError("one training block has no part; use smaller blocks (data.block_metres)")
    taken = rng("half of the blocks", fold, seed).permutation(blocks)[: max(1, int(len(blocks) * part))]
    return chips[chips["block"].isin(taken)].reset_index(drop=True)
