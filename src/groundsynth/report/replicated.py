"""What a study's replicates measured of their own generators, set beside what it measured of its own.

The benchmark is pooled from counts, block by block (:mod:`groundsynth.report.pooling`). What earlier stages say of
generated chips, such as a share of invalid codes, has one number per fold and generator; with the generator's name in
their regime, the rows of several studies are told apart and can stand in one table.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from groundsynth.report.tables import COMMAND
from groundsynth.systems import GENERATOR, SYSTEMS_OF

STAGES = ("03_generate", "04_label", "05_caption", "06_ground")


def add_replicates(
    metrics: pd.DataFrame, settings: dict, replicates: Iterable[tuple[pd.DataFrame, dict]]
) -> pd.DataFrame:
    """Return a study's table (table 'metrics') with the rows that its replicates measured of their generators.

    Real chips and controls are the same in all of them, so these are added of folds that are not there yet, and once;
    nothing is added of the benchmark, which is pooled already.

    Args:
        settings: the study's, as its manifest holds them.
        replicates: table and settings of each study with other generators or folds and all else alike.
    """
    replicates = list(replicates)
    if not replicates:
        return metrics
    metrics = _with_fold(metrics, settings)
    own = _of_generators(metrics, settings)
    parts, folds = [metrics.drop(index=own.index), own], set(settings["folds"])
    for table, about in replicates:
        table = _with_fold(table, about)
        drawn = _of_generators(table, about)
        parts += [drawn, _of_folds(table.drop(index=drawn.index), set(about["folds"]) - folds)]
        folds |= set(about["folds"])
    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def _with_fold(metrics: pd.DataFrame, settings: dict) -> pd.DataFrame:
    """Return a table whose rows of the stages say which fold they are of: a study of one fold does not name it."""
    if len(settings["folds"]) != 1:
        return metrics
    named = metrics["regime"].str.contains(r"(?:^|;)fold=\d+(?:;|$)")
    wanted = metrics["stage"].isin(STAGES) & ~named & ~metrics["regime"].str.contains(COMMAND)
    regimes = (metrics["regime"] + f";fold={settings['folds'][0]}").str.removeprefix(";")
    return metrics.assign(regime=metrics["regime"].where(~wanted, regimes))


def _of_folds(metrics: pd.DataFrame, folds: set[int]) -> pd.DataFrame:
    """Return the rows of the stages that say they are of these folds."""
    named = metrics["regime"].str.extract(r"(?:^|;)fold=(\d+)(?:;|$)", expand=False)
    return metrics[metrics["stage"].isin(STAGES) & named.isin({str(fold) for fold in folds})]


def _of_generators(metrics: pd.DataFrame, settings: dict) -> pd.DataFrame:
    """Return the rows of generated chips, the generator that drew them in every regime.

    With several seeds in one study, rows that do not say whose they are speak of all together, and are left out.
    """
    policies, seeds = settings["generator"]["policies"], settings["generator"]["seeds"]
    drawn = {system: policy for policy in reversed(policies) for system in SYSTEMS_OF[policy]}
    found = metrics[metrics["stage"].isin(STAGES) & metrics["system"].isin(drawn.keys())]
    named = found["regime"].str.contains(rf"(?:^|;){GENERATOR}(?:;|$)")
    if len(seeds) > 1:
        return found[named]
    tags = [f"{drawn[system]}-s{seeds[0]}" for system in found["system"]]
    regimes = [";".join(filter(None, pair)) for pair in zip(found["regime"], tags, strict=True)]
    return found.assign(regime=found["regime"].where(named, pd.Series(regimes, index=found.index, dtype=str)))
