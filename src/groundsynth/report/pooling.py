"""Several folds, and several trainings of the generator, brought together from their counts.

Both may be spread over studies that were run on different days: one names the others under ``report.replicates``.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from groundsynth.arm_names import unfiltered
from groundsynth.artifacts import METRIC_COLUMNS, TABLES, read_json, read_table, write_table
from groundsynth.benchmark.arms import controls, opponents, parse_arms
from groundsynth.benchmark.cross_validation import REFERENCE, STAGE, Pair, pooled_rows
from groundsynth.config import Study, load_study
from groundsynth.errors import GroundsynthError
from groundsynth.paths import published_dir, results_dir
from groundsynth.report.claim_list import Claim
from groundsynth.report.provenance import find_config, same_settings, shared_plan

FILE = "pooled.csv"
COUNTS = "counts.parquet"  # of all folds, beside the report: a published replicate is pooled by them


def pool_study(
    study: Study,
    root: Path,
    metrics: pd.DataFrame,
    claims: list[Claim],
    primary: list[str],
    replicates: list[str],
) -> pd.DataFrame:
    """Return the rows of all folds and generators together (table 'metrics'); empty for one of each,
    and where the test blocks were left unread.

    Where counts are not here, as in a published copy, the rows that were published are read.

    Args:
        root: where the study's tables lie; metrics: those of its stages, gathered.
        claims: their differences are computed, too.
        primary: arms whose difference to ``real`` was named beforehand, and which are held against controls of as
            many steps, too; replicates: studies of other generators, or of other folds.

    Raises:
        GroundsynthError: a replicate that is missing, was published with other settings, differs in more than the
            generator's seed and the folds, repeats what another has, or leaves a fold of a generator out.
    """
    nothing = pd.DataFrame(columns=list(METRIC_COLUMNS))
    replicates = [name for name in replicates if name != study.study]  # inherited by a replicate itself
    if len(study.folds) == 1 and not replicates:
        return nothing
    if not (_counts_path(root, study.folds[0]).is_file() or (root / "09_report" / COUNTS).is_file()):
        return (
            read_table(root / "09_report" / FILE, "metrics")
            if (root / "09_report" / FILE).is_file()
            else nothing
        )
    parts = [Part(study, root), *(_replicate(study, name) for name in replicates)]
    own = metrics[(metrics["stage"] == STAGE) & (metrics["metric"] == "miou")]
    tables = _by_generator(parts)
    if not (tables[0]["split"] == "test").any():
        return nothing
    arms = dict.fromkeys(tables[0]["arm"])
    systems = dict(zip(own["arm"], own["system"], strict=True))
    filtered = metrics.loc[metrics["metric"] == "delta_miou_filter", "arm"].unique()
    pairs = [*claimed_pairs(claims), *(Pair("miou", arm, unfiltered(arm)) for arm in filtered)]
    parsed = parse_arms(list(arms), study.generate.systems)
    against = opponents(parsed)
    pairs += [Pair("miou", arm, other) for arm, other in against.items() if other != REFERENCE]
    pairs += [Pair("miou", arm.name, other.name) for arm, other in controls(parsed) if arm.name in primary]
    labels = {part for regime in own["regime"] for part in regime.split(";") if part.startswith("labels=")}
    rows = pooled_rows(
        study.study, tables, {arm: systems[arm] for arm in arms}, _shared_by_all(parts),
        {arm: against[arm] for arm in primary if arm in arms}, pairs, study.benchmark.bootstrap, ";".join(labels), study.data.folds,
    )  # fmt: skip
    return pd.DataFrame(rows, columns=list(METRIC_COLUMNS))


def add_pooled(metrics: pd.DataFrame, pooled: pd.DataFrame) -> pd.DataFrame:
    """Return a study's table with the pooled rows in it, sorted by address."""
    parts = [metrics, pooled] if len(pooled) else [metrics]
    return pd.concat(parts, ignore_index=True).sort_values(list(METRIC_COLUMNS[:7]), ignore_index=True)


def write_pooled(table: pd.DataFrame, folder: Path) -> None:
    """Write the pooled rows beside the report, so that a published copy has them without the counts."""
    if len(table):
        write_table(table, folder / FILE, "metrics")


def _counts_path(root: Path, fold: int) -> Path:
    return root / STAGE / f"fold{fold}" / "counts.csv"


def replicate_dir(name: str) -> Path:
    """Return where a replicate lies: among the results, or, where it was run elsewhere, among the published studies."""
    here, published = results_dir(name), published_dir(name)
    study = load_study(find_config(name))
    whole = all(_counts_path(here, fold).is_file() for fold in study.folds)
    if whole or not published.is_dir():
        return here
    settings = read_json(published / "manifest.json", f"python -m groundsynth publish {name}")["config"]
    if not same_settings(settings, study):
        raise GroundsynthError(
            f"report.replicates: '{name}' was published with other settings than config/{name}.yaml has now; run it "
            f"again: snakemake --cores all --configfile config/{name}.yaml"
        )
    return published


def read_counts(root: Path, folds: list[int]) -> pd.DataFrame:
    """Return the counts of all folds, summed over the chips of a block (table 'block_counts').

    Args:
        root: a study's results, or its published copy.
    """
    if not _counts_path(root, folds[0]).is_file() and (root / "09_report" / COUNTS).is_file():
        found = read_table(root / "09_report" / COUNTS, "block_counts")
        return found[found["fold"].isin(folds)].reset_index(drop=True)
    tables = [read_table(_counts_path(root, fold), "counts").assign(fold=fold) for fold in folds]
    counted = ["tp", "fp", "fn"]
    keys = [name for name in TABLES["block_counts"].columns if name not in counted]
    return pd.concat(tables).groupby(keys, as_index=False)[counted].sum()


def write_counts(root: Path, folds: list[int], folder: Path) -> None:
    """Write the counts of all folds beside the report, for studies that pool them with theirs."""
    if all(_counts_path(root, fold).is_file() for fold in folds):
        write_table(read_counts(root, folds), folder / COUNTS, "block_counts")


def shared_classes(root: Path, folds: list[int]) -> list[int]:
    """Return the classes of the primary score, a property of the scenes that all folds share.

    Raises:
        GroundsynthError: folds that disagree, because they were prepared with different settings.
    """
    found = {
        fold: read_json(root / "01_prepare_data" / f"fold{fold}" / "data.json", "snakemake --cores all")[
            "primary_classes"
        ]
        for fold in folds
    }
    first = found[folds[0]]
    other = [fold for fold in folds if found[fold] != first]
    if other:
        raise GroundsynthError(
            f"folds {folds[0]} and {other[0]} have different primary classes {first} and {found[other[0]]}; run "
            "stage 01 of all folds with the same settings"
        )
    return first


def claimed_pairs(claims: list[Claim]) -> list[Pair]:
    """Return the differences between arms that claims ask for."""
    pairs = []
    for claim in claims:
        test = claim.test
        if test and test.statistic == "difference" and test.rows.arm and test.against.arm:
            pairs.append(Pair(test.rows.metric, test.rows.arm, test.against.arm, test.rows.class_))
    return pairs


class Part(NamedTuple):
    """A study that is pooled, and where its tables lie."""

    study: Study
    place: Path


def _replicate(study: Study, name: str) -> Part:
    """Return a replicate, which must be this study but for its name, its generators' seeds, its folds and its report."""
    other = load_study(find_config(name))
    left, right = shared_plan(study), shared_plan(other)
    differs = [key for key in left if left[key] != right[key]]
    if differs:
        raise GroundsynthError(
            f"report.replicates: '{name}' differs from '{study.study}' in {differs[0]}; a replicate may differ in "
            "generator.seeds and folds alone, so let it extend this study"
        )
    return Part(other, replicate_dir(name))


def _by_generator(parts: list[Part]) -> list[pd.DataFrame]:
    """Return the counts of all folds, one table per training of the generator.

    Raises:
        GroundsynthError: a fold that one generator has twice, or not at all.
    """
    found: dict[tuple[int, ...], dict[int, Part]] = {}
    for part in parts:
        folds = found.setdefault(tuple(part.study.generator.seeds), {})
        again = sorted(set(folds) & set(part.study.folds))
        if again:
            raise GroundsynthError(
                f"report.replicates: '{part.study.study}' has generator seed {part.study.generator.seeds[0]} on fold "
                f"{again[0]}, and so has '{folds[again[0]].study.study}'; give it another seed, or other folds"
            )
        folds.update(dict.fromkeys(part.study.folds, part))
    _must_not_share_seeds(list(found))
    (first, whole), *others = found.items()
    for seeds, folds in others:
        if set(folds) != set(whole):
            missing, who = min(
                [(fold, seeds) for fold in set(whole) - set(folds)]
                + [(fold, first) for fold in set(folds) - set(whole)]
            )
            raise GroundsynthError(
                f"report.replicates: no study has generator seed {who[0]} on fold {missing}, which another seed has; name "
                "one, for every generator is pooled over the same folds"
            )
    return [
        pd.concat(
            [read_counts(p.place, p.study.folds) for p in parts if tuple(p.study.generator.seeds) == seeds],
            ignore_index=True,
        )
        for seeds in found
    ]


def _must_not_share_seeds(sets: list[tuple[int, ...]]) -> None:
    """Stop if two studies hold the same training of a generator, which would then count twice."""
    for one, other in combinations(sets, 2):
        shared = sorted(set(one) & set(other))
        if shared:
            raise GroundsynthError(
                f"report.replicates: generator seed {shared[0]} is in generator.seeds {list(one)} of one study and "
                f"{list(other)} of another, and would count twice; give every study seeds of its own"
            )


def _shared_by_all(parts: list[Part]) -> list[int]:
    """Return the classes of the primary score, which all folds of all parts share."""
    first, *others = [(part, shared_classes(part.place, part.study.folds)) for part in parts]
    for part, classes in others:
        if classes != first[1]:
            raise GroundsynthError(
                f"'{first[0].study.study}' and '{part.study.study}' have different primary classes {first[1]} and "
                f"{classes}; run stage 01 of both with the same settings"
            )
    return first[1]
