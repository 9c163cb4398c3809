"""Published claims against what was found here: evidence, verdict, and the table of both.

A verdict takes several folds and, where synthetic chips have a part, several generator seeds. One
fold or one generator shows an effect with its interval and no verdict.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t as student

from groundsynth.artifacts import read_json, read_table
from groundsynth.errors import GroundsynthError
from groundsynth.report.claim_list import Claim, Rows, Test
from groundsynth.report.provenance import settings_of, shared_plan
from groundsynth.report.replicated import add_replicates
from groundsynth.systems import GENERATOR

VERDICTS = ("reproduced", "not shown", "reversed")
BENCHMARKS = ("07_benchmark_segmentation", "08_benchmark_captioning")
ENDS = {  # of measures that end somewhere: shares, a correlation, and a skill of which 1 is perfect
    "coverage": (0, 1),
    "invalid_code_rate": (0, 1),
    "gain_frequency_correlation": (-1, 1),
    "share_skill": (-np.inf, 1),
}
LEAST_POINTS = 3  # of a curve, for one of them to be the best
LEAST_SEEDS = 3  # downstream trainings per arm that a verdict rests on
MOST_UNLABELLED = 0.1  # of the training ground, for a claim that asks for labelled ground
# what a regime says of where a row is from, and not of what was done
PLACE = re.compile(r"^((fold|folds|of_folds|generator|generators|shard|seed)=.*|" + GENERATOR + ")$")


@dataclass(frozen=True)
class Evidence:
    """What one study measured of a claim, in the claim's unit; ``p`` is corrected for several comparisons.

    ``of_folds`` is how many folds it takes to test every block of its scene once, ``unlabelled`` the share of
    the training ground without a label.
    """

    value: float
    low: float | None
    high: float | None
    folds: int = 1
    generators: int = 1
    seeds: int | None = None
    p: float | None = None
    about: str = ""
    of_folds: int = 0
    unlabelled: float = 0.0


class PublishedStudy(NamedTuple):
    """A study's table of numbers, and what its manifest says of scenes and size."""

    name: str
    scene: str
    steps: int
    metrics: pd.DataFrame
    of_folds: int = 0  # that test every block once
    unlabelled: float = 0.0  # share of the training ground
    labels: float = 1.0  # share of the training blocks that keep theirs


# --- rows to evidence ------------------------------------------------------------------------


def _asked(regime: str) -> frozenset[str]:
    """Return what a regime says beyond fold, generator and seed."""
    parts = (re.sub(r"^run=(.*?)-?fold\d+$", r"run=\1", part) for part in regime.split(";"))
    return frozenset(part for part in parts if part not in ("", "run=") and not PLACE.match(part))


def _tag(regime: str, name: str) -> str:
    found = [part.partition("=")[2] for part in regime.split(";") if part.startswith(f"{name}=")]
    if found:
        return found[0]
    if name == "fold" and "command=" in regime:  # commands name their fold as a run, but for the first
        run = re.search(r"(?:^|;)run=[^;]*?fold(\d+)(?:;|$)", regime)
        return run[1] if run else "0"
    drawn = [part for part in regime.split(";") if re.fullmatch(GENERATOR, part)]
    return drawn[0] if name == "generator" and drawn else ""


def select(metrics: pd.DataFrame, rows: Rows) -> pd.DataFrame:
    """Return the rows a test asks for, with columns fold, generator, folds and generators from their regime."""
    keep = (metrics["metric"] == rows.metric) & (metrics["class"] == rows.class_)
    for name in ("stage", "system"):
        if getattr(rows, name) is not None:
            keep &= metrics[name] == getattr(rows, name)
    if rows.arm is not None:
        keep &= _named(metrics["arm"], rows.arm)
    wanted = _asked(rows.regime)
    keep &= metrics["regime"].map(lambda regime: _asked(regime) == wanted)
    found = metrics[keep & metrics["value"].notna()]
    tags = {
        name: found["regime"].map(lambda r, n=name: _tag(r, n))
        for name in ("fold", "generator", "folds", "generators")
    }
    return found.assign(**tags).reset_index(drop=True)


def _named(arms: pd.Series, wanted: str) -> pd.Series:
    """Return which arms are the one wanted or, if none has this very name, fit it as a pattern.

    A star stands for letters, never for the star of ``real+joint@2*``.
    """
    exact = arms == wanted
    return exact if exact.any() else arms.str.fullmatch(re.escape(wanted).replace(r"\*", r"[^*]*"))


def measure(metrics: pd.DataFrame, rows: Rows) -> Evidence | None:
    """Return what the rows say together, or None without rows.

    Rows pooled over folds are taken as they are. Otherwise generators are averaged within a fold, and
    the interval is Student's over folds, cut where the measure itself ends (``ENDS``); a single row keeps its own interval.

    Raises:
        GroundsynthError: rows of different numbers, which cannot be put together.
    """
    found = select(metrics, rows)
    if found.empty:
        return None
    _must_agree(found, rows)
    pooled = found[found["folds"] != ""]
    if len(pooled):
        row = pooled.iloc[0]
        about = {
            "folds": int(row["folds"]),
            "generators": int(row["generators"] or 1),
            "p": _corrected(metrics, row),
        }
        return _of_row(row, **about)
    if len(found) == 1:
        return _of_row(found.iloc[0])
    over = _over_folds(found.set_index(["fold", "generator"])["value"], found["seeds"].max())
    if over.low is None:
        return over
    least, most = ENDS.get(rows.metric, (-np.inf, np.inf))
    return replace(over, low=max(over.low, least), high=min(over.high, most))


def _must_agree(found: pd.DataFrame, rows: Rows) -> None:
    addresses = found[["stage", "system", "arm"]].drop_duplicates()
    if len(addresses) > 1:
        shown = " and ".join(
            "/".join(part for part in row if part) for row in addresses.head(2).itertuples(index=False)
        )
        raise GroundsynthError(
            f"claims.yaml: rows of '{rows.metric}' are those of {shown} at once; name stage, system or arm of the "
            "one that is meant"
        )


def _of_row(row: pd.Series, **about: object) -> Evidence:
    ends = [None if pd.isna(row[name]) else float(row[name]) for name in ("low", "high")]
    seeds = None if pd.isna(row["seeds"]) else int(row["seeds"])
    return Evidence(float(row["value"]), *ends, seeds=seeds, **about)


def _over_folds(cells: pd.Series, seeds: float) -> Evidence:
    """Return mean and Student's interval of values indexed by (fold, generator), generators averaged first."""
    by_fold = cells.groupby(level="fold").mean().to_numpy()
    names = cells.index.to_frame(index=False)
    generators = int(
        names.groupby("fold")["generator"].nunique().min()
    )  # a fold that lacks one has seen fewer
    about = {"folds": len(by_fold), "generators": generators, "seeds": None if pd.isna(seeds) else int(seeds)}
    mean = float(by_fold.mean())
    if len(by_fold) < 2:
        return Evidence(mean, None, None, **about)
    half = student.ppf(0.975, len(by_fold) - 1) * by_fold.std(ddof=1) / np.sqrt(len(by_fold))
    return Evidence(mean, mean - half, mean + half, **about)


def _corrected(metrics: pd.DataFrame, row: pd.Series) -> float | None:
    """Return the corrected p-value that belongs to a pooled row, if it was a primary comparison."""
    same = (metrics["metric"] == f"{row['metric']}_p_holm") & (metrics["regime"] == row["regime"])
    values = metrics.loc[same & (metrics["arm"] == row["arm"]) & (metrics["class"] == row["class"]), "value"]
    return float(values.iloc[0]) if len(values) else None


def compare(metrics: pd.DataFrame, test: Test) -> Evidence | None:
    """Return the difference or the ratio of two sets of rows, or None where either is missing.

    A paired row ``delta_<metric>`` of the two arms is preferred; then differences fold by fold, with
    Student's interval; then the two intervals put together (MOVER, Zou and Donner 2008), which is too
    wide where both come from the same blocks. Of a ratio, logarithms are compared.
    """
    other = test.rows.model_copy(update=test.against.model_dump(exclude_none=True))
    if test.statistic == "difference":
        paired = measure(metrics, paired_rows(test.rows, other))
        if paired is not None:
            return paired
    sides = measure(metrics, test.rows), measure(metrics, other)
    if None in sides:
        return None
    cells = [select(metrics, rows).set_index(["fold", "generator"]) for rows in (test.rows, other)]
    shared = cells[0].index.intersection(cells[1].index)
    shared = shared[shared.get_level_values("fold") != ""]
    log = test.statistic == "ratio"
    if len(shared.get_level_values("fold").unique()) > 1 and not any((c["folds"] != "").any() for c in cells):
        first, second = ((np.log(c["value"]) if log else c["value"]).loc[shared] for c in cells)
        return _relative(_over_folds(first - second, cells[0]["seeds"].max()), log)
    found = mover(*(map(_logarithm, sides) if log else sides))
    drawn = [
        side.generators
        for side, rows in zip(sides, (test.rows, other), strict=True)
        if "real" not in (rows.system, rows.arm)
    ]
    return _relative(replace(found, generators=min(drawn, default=found.generators)), log)


def paired_rows(rows: Rows, other: Rows) -> Rows:
    """Return where the paired difference of two arms is found: ``delta_<metric>``, with ``against=<arm>`` unless that is ``real``."""
    against = "" if other.arm == "real" else f"against={other.arm}"
    regime = ";".join(part for part in (rows.regime, against) if part)
    return rows.model_copy(update={"metric": f"delta_{rows.metric}", "regime": regime})


def _logarithm(evidence: Evidence) -> Evidence:
    ends = [None if end is None or end <= 0 else float(np.log(end)) for end in (evidence.low, evidence.high)]
    return replace(evidence, value=float(np.log(evidence.value)), low=ends[0], high=ends[1])


def _relative(evidence: Evidence, log: bool) -> Evidence:
    """Turn a difference of logarithms into a relative change: 0.1 is ten per cent more."""
    if not log:
        return evidence
    ends = [None if end is None else float(np.expm1(end)) for end in (evidence.low, evidence.high)]
    return replace(evidence, value=float(np.expm1(evidence.value)), low=ends[0], high=ends[1])


def mover(first: Evidence, second: Evidence) -> Evidence:
    """Return the difference of two numbers with an interval made of theirs (Zou and Donner 2008).

    >>> mover(Evidence(5, 2, 8), Evidence(1, -3, 5))
    Evidence(value=4, low=-1.0, high=9.0, folds=1, generators=1, seeds=None, p=None, about='')
    """
    value = first.value - second.value
    about = {
        "folds": min(first.folds, second.folds),
        "generators": max(first.generators, second.generators),
        "seeds": first.seeds,
    }
    if None in (first.low, first.high, second.low, second.high):
        return Evidence(value, None, None, **about)
    low = value - np.hypot(first.value - first.low, second.high - second.value)
    high = value + np.hypot(first.high - first.value, second.value - second.low)
    return Evidence(value, float(low), float(high), **about)


def best_point(metrics: pd.DataFrame, rows: Rows) -> Evidence | None:
    """Return the number behind @ of the arm that is best, and the range of those not told apart from it.

    Those are the points whose interval reaches the best value. None with too few points.
    """
    arms = sorted(set(select(metrics, rows)["arm"]))
    found = [(position(arm), measure(metrics, rows.model_copy(update={"arm": arm}))) for arm in arms]
    points = [(place, evidence) for place, evidence in found if place is not None]
    if len(points) < LEAST_POINTS:
        return None
    place, best = max(points, key=lambda point: point[1].value)
    near = [x for x, e in points if x == place or e.high is None or e.high >= best.value]
    return replace(best, value=place, low=min(near), high=max(near), p=None)


def position(arm: str) -> float | None:
    """Return the number behind @: 2.0 of ``real+joint@2``, nothing of other arms."""
    found = re.search(r"@([\d.]+)$", arm)
    return float(found[1]) if found else None


def chosen_value(metrics: pd.DataFrame, test: Test) -> Evidence | None:
    """Return the value of the arm that another number chooses, such as the best on validation."""
    choice, candidates = test.choose, {}
    for arm in sorted(set(select(metrics, test.rows)["arm"])):
        about = {"arm": arm} if choice.by == "arm" else {"system": arm.removeprefix("real+")}
        found = measure(metrics, Rows(metric=choice.metric, regime=choice.regime, **about))
        if found is not None:
            candidates[arm] = found.value
    if not candidates:
        return None
    arm = (max if choice.want == "highest" else min)(candidates, key=candidates.get)
    found = measure(metrics, test.rows.model_copy(update={"arm": arm}))
    return replace(found, about=f"arm {arm}, {choice.want} {choice.metric} {choice.regime}".strip())


def gather_evidence(claim: Claim, metrics: pd.DataFrame) -> Evidence | None:
    """Return what a study's table says of a claim, in its unit; None where rows are missing."""
    test = claim.test
    if test.statistic == "best":
        return best_point(metrics, test.rows)
    found = {"value": lambda: measure(metrics, test.rows), "chosen": lambda: chosen_value(metrics, test)}.get(
        test.statistic, lambda: compare(metrics, test)
    )()
    if found is None:
        return None
    ends = [None if end is None else end * claim.scale for end in (found.low, found.high)]
    return replace(found, value=found.value * claim.scale, low=ends[0], high=ends[1])


# --- evidence to verdict ---------------------------------------------------------------------


def judge(claim: Claim, evidence: Evidence) -> tuple[str, str]:
    """Return the verdict and, in words, what it rests on."""
    effect = effect_words(evidence, claim.unit)
    if claim.labelled_ground and evidence.unlabelled > MOST_UNLABELLED:
        return (
            "not shown",
            f"{effect}; {evidence.unlabelled:.0%} of the training ground has no label, no verdict",
        )
    if evidence.low is None or evidence.high is None:
        return "not shown", f"{effect} without an interval, no verdict"
    if evidence.folds < 2:
        return "not shown", f"one fold: effect {effect}, no verdict"
    if evidence.folds < evidence.of_folds:
        return "not shown", f"{evidence.folds} of {evidence.of_folds} folds: effect {effect}, no verdict"
    if claim.generated and evidence.generators < 2:
        return "not shown", f"one generator: effect {effect} over {evidence.folds} folds, no verdict"
    if claim.test.rows.stage in BENCHMARKS and evidence.seeds is not None and evidence.seeds < LEAST_SEEDS:
        return "not shown", f"{evidence.seeds} training seeds of {LEAST_SEEDS}: effect {effect}, no verdict"
    base = f"{evidence.folds} folds"
    if claim.generated:
        base += f", {evidence.generators} generators"
    verdict = claim.rule.judge(evidence.low, evidence.high)
    if verdict != "not shown" and evidence.p is not None and evidence.p >= 0.05:
        return "not shown", f"{base}: {effect}, corrected p = {evidence.p:.2g}"
    alone = verdict != "not shown" and evidence.p is None and claim.test.rows.stage in BENCHMARKS
    alone = "; not corrected for the number of arms" if alone else ""
    return verdict, f"{base}: {effect}; rule: {claim.rule}{alone}"


def effect_words(evidence: Evidence, unit: str) -> str:
    """Return ``+0.4 [−0.1, +1.1] pp``; numbers far below one keep more digits."""
    unit = f" {unit}" if unit else ""
    numbers = [x for x in (evidence.value, evidence.low, evidence.high) if x is not None]
    digits = 1 if unit and not 0 < max(map(abs, numbers)) < 0.1 else 3
    shown = [f"{x:+.{digits}f}".replace("-", "−") for x in numbers]
    return shown[0] + (f" [{shown[1]}, {shown[2]}]" if len(shown) == 3 else "") + unit


def published_place(claim: Claim, evidence: Evidence) -> str:
    """Say where the published number lies, if it is of the same measure and there is an interval."""
    if claim.published is None or not claim.same_measure or evidence.low is None:
        return ""
    ends = claim.published if isinstance(claim.published, tuple) else (claim.published, claim.published)
    if ends[0] > evidence.high:
        return "the published number lies above this interval"
    if ends[1] < evidence.low:
        return "the published number lies below this interval"
    return "the published number lies in this interval"


# --- the table -------------------------------------------------------------------------------


def read_studies(published: Path) -> list[PublishedStudy]:
    """Return every published study whose generator heard what it was told; controls of shuffled words are none.

    Where a study names replicates, published with the same settings but for the generator's seed and the folds, what they
    measured of their generators stands beside its own.
    """
    settings = {
        path.parent.name: read_json(path, "snakemake publish")["config"]
        for path in sorted(published.glob("*/manifest.json"))
    }
    tables = {name: read_table(published / name / "metrics.csv", "metrics") for name in settings}
    studies = []
    for name, config in settings.items():
        if config["generator"].get("shuffle_text"):
            continue
        replicates = [
            other
            for other in config.get("report", {}).get("replicates", [])
            if _replicates(settings, name, other)
        ]
        metrics = add_replicates(
            tables[name], config, [(tables[other], settings[other]) for other in replicates]
        )
        studies.append(
            PublishedStudy(
                name,
                scene_name(config["data"]["source"]),
                config["generator"]["steps"],
                metrics,
                config["data"].get("folds", 0),
                unlabelled_ground(published / name),
                config["data"].get("label_fraction", 1.0),
            )
        )
    return studies


def unlabelled_ground(folder: Path) -> float:
    """Return the share of a study's training ground that has no label, in [0, 1], over its folds; 0 without blocks."""
    tables = [read_table(path, "blocks") for path in sorted(folder.glob("01_prepare_data/**/blocks.csv"))]
    if not tables:
        return 0.0
    train = pd.concat([blocks[blocks["split"] == "train"] for blocks in tables])
    labelled = train.filter(like="pixels_").to_numpy().sum()
    return 1 - float(labelled / (train["height"] * train["width"]).sum())


def _replicates(settings: dict[str, dict], name: str, other: str) -> bool:
    """Say whether two published studies differ in the generators' seeds and the folds alone, as far as numbers go."""
    if other == name or other not in settings:
        return False
    both = [settings_of(settings[study]) for study in (name, other)]
    return None not in both and shared_plan(both[0]) == shared_plan(both[1])


def scene_name(source: str | list[str]) -> str:
    """Return what ``data.source`` is called in the table; several sources are joined by +."""
    return source if isinstance(source, str) else "+".join(source)


def claims_table(claims: Iterable[Claim], studies: list[PublishedStudy]) -> pd.DataFrame:
    """Return one row per claim and scene (table 'published_claims'); a claim without evidence has one row.

    Of several studies of a scene the one with the largest share of the labels speaks, then the one with the most
    folds, generators, training seeds and generator steps: never by what it found. The others are named.
    """
    rows = []
    for claim in claims:
        found = [] if claim.test is None else _by_scene(claim, studies)
        rows += found or [_row(claim, None, "not shown", "", claim.not_tested or _wanted(claim))]
    return pd.DataFrame(rows)


def _by_scene(claim: Claim, studies: list[PublishedStudy]) -> list[dict]:
    measured: dict[str, list[tuple[PublishedStudy, Evidence]]] = {}
    for study in studies:
        evidence = gather_evidence(claim, study.metrics)
        if evidence is not None:
            about = replace(evidence, of_folds=study.of_folds, unlabelled=study.unlabelled)
            measured.setdefault(study.scene, []).append((study, about))
    rows = []
    for scene, held in sorted(measured.items()):
        held.sort(key=lambda pair: (_strength(*pair), pair[0].name), reverse=True)
        study, evidence = held[0]
        verdict, words = judge(claim, evidence)
        others = ", ".join(other.name for other, _ in held[1:])
        note = [f"study {study.name}: {words}", evidence.about, published_place(claim, evidence), claim.remark,
                f"measured in {others}, too" if others else ""]  # fmt: skip
        rows.append(_row(claim, evidence, verdict, scene, "; ".join(part for part in note if part)))
    return rows


def _strength(study: PublishedStudy, evidence: Evidence) -> tuple:
    return (
        study.labels,
        evidence.folds,
        evidence.generators,
        evidence.low is not None,
        evidence.seeds or 0,
        study.steps,
    )


def _row(claim: Claim, evidence: Evidence | None, verdict: str, scene: str, note: str) -> dict:
    return {
        "system": f"{claim.system} {claim.source}",
        "claim": claim.claim,
        "published": f"{claim.published_words} {claim.unit}".strip() if claim.published is not None else "",
        "ours": None if evidence is None else evidence.value,
        "low": None if evidence is None else evidence.low,
        "high": None if evidence is None else evidence.high,
        "verdict": verdict,
        "scenes": scene,
        "note": note,
    }


def _wanted(claim: Claim) -> str:
    """Return what no published study has measured yet."""
    rows = claim.test.rows
    parts = [rows.arm or rows.system or "", rows.regime, rows.class_]
    about = ", ".join(part for part in parts if part)
    if claim.test.statistic == "best":
        return f"no published study has {rows.metric} of {LEAST_POINTS} arms {rows.arm}, and fewer have no best one"
    return f"no published study has measured {rows.metric}{f' ({about})' if about else ''} yet"
