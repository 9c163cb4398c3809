"""What a gain costs: samples and minutes per point of mIoU, and when synthetic chips pay at all.

Everything is read from what stages 02, 03 and 07 recorded. Times are single measurements on one machine
and enter as they are: intervals are those of the gain alone.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from groundsynth.arm_names import arm_parts
from groundsynth.artifacts import METRIC_COLUMNS, metric_row, read_table, write_table
from groundsynth.benchmark.arms import REFERENCE
from groundsynth.config import Study
from groundsynth.report.claims import position
from groundsynth.report.tables import BENCHMARK, fair_differences, headline, interval, pick
from groundsynth.systems import SYSTEMS_OF

FILE = "cost_of_gain.csv"
ALL = "all"  # an arm of every system's chips

PER_UNIT = ("gain_per_1000_samples", "gain_per_minute")


def cost_rows(study: Study, root: Path, metrics: pd.DataFrame) -> pd.DataFrame:
    """Return what gains cost (table 'metrics', stage 07).

    Without learning curves, as in a published copy, the rows published with it, or those that need none.

    ``samples_to_real_miou`` and ``seconds_to_real_miou`` (regime ``counting=segmenter``, or ``counting=all`` with
    the generator's training and the drawing): until an arm's validation mIoU reaches the best of ``real``,
    mean over the trainings that do; ``reached_real_miou``: their share. ``gain_per_1000_samples`` and
    ``gain_per_minute`` (all counted): difference in mIoU to ``real`` or, of an arm with more steps, to real chips alone
    with as many (regime ``against=real@4``). ``flat_from_ratio``: the smallest ratio
    R whose interval holds the best R's difference.

    Args:
        root: where the study's tables lie; metrics: the gathered table, pooled rows among it.
    """
    kept, runs = root / "09_report" / FILE, _of_folds(study, root, "runs")
    history = _of_folds(study, root, "history")
    if history.empty and kept.is_file():
        return _with_gains_of(read_table(kept, "metrics"), metrics)
    if runs.empty:
        return pd.DataFrame(columns=list(METRIC_COLUMNS))
    systems = pick(metrics, "delta_miou").set_index("arm")["system"].to_dict()
    arms = [arm for arm in dict.fromkeys(runs["arm"]) if systems.get(arm) in (*study.generate.systems, ALL)]
    costs = pd.DataFrame([arm_cost(study, arm, systems[arm], runs, metrics) for arm in arms])
    rows = [row for cost in costs.itertuples() for row in _arm_rows(study, cost, history, metrics)]
    rows += flat_rows(study.study, metrics, systems)
    return pd.DataFrame(rows, columns=list(METRIC_COLUMNS))


def _with_gains_of(costs: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    """Return published rows with the gains, and intervals, that the table has now."""
    plain = pick(headline(metrics), "delta_miou").drop_duplicates("arm").set_index("arm")
    fair = fair_differences(metrics).drop_duplicates("arm").set_index("arm")
    costs = costs.copy()
    for place, row in costs[costs["metric"].isin(PER_UNIT) & costs["arm"].isin(fair.index)].iterrows():
        was, gain = (fair if row["regime"] else plain).loc[row["arm"]], fair.loc[row["arm"]]
        if was["value"]:
            found = gain[["value", "low", "high"]].to_numpy() * row["value"] / was["value"]
            costs.loc[place, ["value", "low", "high"]] = found
            costs.loc[place, "regime"] = _against(gain)
    return costs


def _against(gain: pd.Series) -> str:
    """Return the regime of what a difference is divided by; empty where it is to the arm ``real``."""
    return "" if gain["against"] == REFERENCE else f"against={gain['against']}"


def _of_folds(study: Study, root: Path, name: str) -> pd.DataFrame:
    """Return a table of stage 07 over all folds with a column ``fold``; empty unless every fold has it."""
    paths = {fold: root / BENCHMARK / f"fold{fold}" / f"{name}.csv" for fold in study.folds}
    if not all(path.is_file() for path in paths.values()):
        return pd.DataFrame()
    return pd.concat([read_table(path, name).assign(fold=fold) for fold, path in paths.items()])


def write_costs(table: pd.DataFrame, folder: Path) -> None:
    """Write the rows beside the report, so that a published copy has them without the learning curves."""
    if len(table):
        write_table(table, folder / FILE, "metrics")


def arm_cost(
    study: Study, arm: str, system: str, runs: pd.DataFrame, metrics: pd.DataFrame
) -> dict[str, object]:
    """Return an arm's chips and seconds: of its generators' training, of drawing, and of one training of a segmenter."""
    own = runs[runs["arm"] == arm]
    chips = float(own["synthetic_chips"].mean())
    drawn = study.generate.systems if system == ALL else [system]
    speed = pick(metrics, "images_per_second").groupby("system")["value"].mean()
    policies = [policy for policy in study.generator.policies if set(SYSTEMS_OF[policy]) & set(drawn)]
    trained = pick(metrics, "training_seconds", stage="02_train_generator").groupby("system")["value"].mean()
    return {
        "arm": arm,
        "system": system,
        "chips": chips,
        "generator": float(trained.reindex(policies).sum()) * len(study.generator.seeds),
        "drawing": sum(chips / len(drawn) / speed.get(name, np.nan) for name in drawn),
        "segmenter": float(own["seconds"].mean()),
    }


def first_reached(history: pd.DataFrame, arm: str) -> pd.Series:
    """Return for each training of an arm (fold, seed) the first step at which it reaches ``real``.

    The mark is the best validation mIoU of ``real`` in that fold, mean over its seeds; NaN where it is
    never reached.
    """
    best = history[history["arm"] == "real"].groupby(["fold", "seed"])["val_miou"].max()
    mark = best.groupby(level="fold").mean()
    own = history[history["arm"] == arm]
    enough = own[own["val_miou"].to_numpy() >= own["fold"].map(mark).to_numpy()]
    steps = enough.groupby(["fold", "seed"])["step"].min()
    return steps.reindex(own.groupby(["fold", "seed"]).size().index)


def _arm_rows(study: Study, cost, history: pd.DataFrame, metrics: pd.DataFrame) -> list[dict]:
    name, about = study.study, {"arm": cost.arm, "system": cost.system}
    minutes, rows = (cost.generator + cost.drawing + cost.segmenter) / 60, []
    fair = fair_differences(metrics)
    for metric, units in zip(PER_UNIT, (cost.chips / 1000, minutes), strict=True):
        for _, gain in fair[fair["arm"] == cost.arm].iterrows():
            if units > 0:
                ends = {end: None if pd.isna(gain[end]) else gain[end] / units for end in ("low", "high")}
                number = {"n": int(gain["n"]), "seeds": int(gain["seeds"])}
                measured = about | number | {"regime": _against(gain), **ends}
                rows.append(metric_row(name, BENCHMARK, metric, gain["value"] / units, **measured))
    return rows if history.empty else [*_reaching_rows(study, cost, history, about), *rows]


def _reaching_rows(study: Study, cost, history: pd.DataFrame, about: dict[str, str]) -> list[dict]:
    own, steps = history[history["arm"] == cost.arm], first_reached(history, cost.arm)
    row = partial(metric_row, study.study, BENCHMARK, **about, seeds=own["seed"].nunique())
    rows = [row("reached_real_miou", float(steps.notna().mean()), n=len(steps))]
    if steps.notna().any():
        training = cost.segmenter * float(steps.mean()) / own["step"].max()
        found = (
            ("samples_to_real_miou", min(cost.chips, float(steps.mean()) * study.benchmark.batch_size), ""),
            ("seconds_to_real_miou", training, "counting=segmenter"),
            ("seconds_to_real_miou", cost.generator + cost.drawing + training, "counting=all"),
        )
        n = int(steps.notna().sum())
        rows += [row(name, value, regime=regime, n=n) for name, value, regime in found if np.isfinite(value)]
    return rows


def flat_rows(study: str, metrics: pd.DataFrame, systems: dict[str, str]) -> list[dict]:
    """Return for each system with three ratios or more the smallest whose interval holds the best one's value."""
    gains, rows = pick(headline(metrics), "delta_miou"), []
    gains = gains.assign(ratio=gains["arm"].map(position))
    gains = gains[gains["arm"].map(_is_ratio).astype(bool) & gains["high"].notna()]
    for system, curve in gains.groupby(gains["arm"].map(systems)):
        if len(curve) >= 3:
            held = curve[curve["high"] >= curve["value"].max()]
            about = {
                "system": system,
                "arm": f"real+{system}",
                "n": len(curve),
                "seeds": curve["seeds"].max(),
            }
            rows.append(metric_row(study, BENCHMARK, "flat_from_ratio", held["ratio"].min(), **about))
    return rows


def _is_ratio(arm: str) -> bool:
    """Say whether an arm is a point of a curve over ratios: ``real+mask@3``, and nothing else done to it."""
    parts = arm_parts(arm)
    return parts["kind"] == "real+" and bool(parts["ratio"]) and not (parts["filter"] or parts["equal"])


def cost_table(costs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per arm as text: gains per thousand samples and per minute, and what reaching ``real`` took."""

    def cell(
        arm: str, metric: str, scale: float = 1, digits: int = 0, sign: bool = False, **where: str
    ) -> str:
        rows = pick(costs, metric, arm=arm, **where)
        return interval(rows.iloc[0], scale, digits, sign) if len(rows) else "–"

    arms = list(dict.fromkeys(pick(costs, "gain_per_1000_samples")["arm"]))
    return pd.DataFrame(
        [
            {
                "arm": arm,
                "points per 1,000 samples": cell(arm, "gain_per_1000_samples", 100, 1, True),
                "points per minute": cell(arm, "gain_per_minute", 100, 2, True),
                "reach real, %": cell(arm, "reached_real_miou", 100),
                "seconds to it, segmenter": cell(arm, "seconds_to_real_miou", regime="counting=segmenter"),
                "seconds to it, all": cell(arm, "seconds_to_real_miou", regime="counting=all"),
                "samples to it": cell(arm, "samples_to_real_miou"),
            }
            for arm in arms
        ]
    )
