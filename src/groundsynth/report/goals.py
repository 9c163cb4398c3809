"""The goals that generated chips should reach, and what became of them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from groundsynth.arm_names import is_mixed
from groundsynth.artifacts import read_json, read_table
from groundsynth.atomic import atomic_path
from groundsynth.report.tables import (
    BENCHMARK,
    counted,
    fair_differences,
    folds_of,
    headline,
    interval,
    is_whole,
    markdown_table,
    of_other_opponents,
    of_stages,
    pick,
)

GAINS = {100: 0.01, 10: 0.03}  # mIoU that generated chips shall add, by the share of labels in per cent
BEHIND = 0.02  # mIoU that generated chips alone may be behind real ones
FILE = "goals.md"
ALONE = "synthetic:"  # how arms of generated chips alone begin
MET, OPEN = "yes", "no verdict"

HEAD = f"""# The goals, and what became of them

Written by `python -m groundsynth claims` from the published studies of several folds. What the goals ask is older than
all of them; how it is computed was written down when two of them were known, and nothing was chosen by it. Beside
generated chips a segmenter gains {100 * GAINS[100]:g} point of mIoU with all labels, or {100 * GAINS[10]:g} with a tenth of them, at
equal steps; the interval of the gain, corrected for the comparisons named beforehand, lies above 0, and so do those of
the differences to classical augmentation and to self-training; and with generated chips alone it is at most
{100 * BEHIND:g} points behind real ones, by its whole interval. Only all folds and several trainings of the generator can meet a goal. With a part of the labels
every fold has a draw of them and a generator of its own, and intervals are over these draws."""


def goal_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return one row per arm that has a goal: its differences in points of mIoU, and whether the goal is met.

    Those named beforehand that add generated chips to real ones, and those of generated chips alone. Empty unless
    folds or generators were pooled, and for shares of labels without a goal.

    Args:
        metrics: the one table of numbers, rows of stages.
    """
    shown = headline(metrics)
    folds, generators = folds_of(shown)
    goal = GAINS.get(label_percent(shown))
    if (folds, generators) == (1, 1) or goal is None:
        return pd.DataFrame()
    fair, rivals = fair_differences(metrics), of_other_opponents(metrics)
    whole, rows = is_whole(fair), []
    for _, row in fair.sort_values("arm").iterrows():
        if is_mixed(row["arm"]) and pd.notna(row["p"]):
            held = rivals[(rivals["arm"] == row["arm"]) & ~rivals["against"].map(is_mixed)]
            held = held[held["against"].str.startswith("real+")]
            rows.append(_gain_row(row, held, goal, whole))
        elif row["arm"].startswith(ALONE):
            rows.append(_alone_row(row, whole))
    return pd.DataFrame(rows)


def label_percent(shown: pd.DataFrame) -> int:
    """Return the share of labels that a study trains on, in per cent."""
    regimes = pick(shown, "miou", stage=BENCHMARK, arm="real")["regime"]
    found = regimes.str.extract(r"(?:^|;)labels=(\d+)%", expand=False).dropna()
    return int(found.iloc[0]) if len(found) else 100


def _gain_row(row: pd.Series, controls: pd.DataFrame, goal: float, whole: bool) -> dict[str, str]:
    failed = ""
    if not whole:
        failed = OPEN
    elif row["value"] < goal:
        failed = "no, too small"
    elif not row["low"] > 0:
        failed = "no, the interval holds 0"
    elif not row["corrected"] < 0.05:
        failed = f"no, corrected p = {row['corrected']:.2g}"
    elif controls.empty:
        failed = "no control of as many steps"
    elif not (controls["low"] > 0).all():
        failed = f"no, not above {controls.loc[~(controls['low'] > 0), 'against'].iloc[0]}"
    beside = [f"{interval(each, 100, 1, sign=True)} ({each['against']})" for _, each in controls.iterrows()]
    return {
        "arm": row["arm"],
        "goal, pp": f"+{100 * goal:g}",
        "difference, pp": f"{interval(row, 100, 1, sign=True)} ({row['against']})",
        "difference to controls, pp": "; ".join(beside) or "–",
        "met": failed or MET,
    }


def _alone_row(row: pd.Series, whole: bool) -> dict[str, str]:
    met = MET if row["low"] > -BEHIND else "no" if row["high"] < -BEHIND else "not shown"
    return {
        "arm": row["arm"],
        "goal, pp": f"above −{100 * BEHIND:g}",
        "difference, pp": f"{interval(row, 100, 1, sign=True)} ({row['against']})",
        "difference to controls, pp": "–",
        "met": met if whole else OPEN,
    }


def published_goals(folder: Path) -> pd.DataFrame:
    """Return the goals of every published study, which its first column names, but of those that another one pools.

    Args:
        folder: that of the published studies.
    """
    parts = []
    for root in separate_studies(folder):
        found = goal_table(of_stages(read_table(root / "metrics.csv", "metrics")))
        if len(found):
            found.insert(0, "study", root.name)
            parts.append(found)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def separate_studies(folder: Path) -> list[Path]:
    """Return the folders of published studies that no other published one pools, by name."""
    settings = {
        path.parent: read_json(path, "snakemake publish")["config"] for path in folder.glob("*/manifest.json")
    }
    pooled = {
        name
        for root, config in settings.items()
        for name in config["report"].get("replicates", [])
        if name != root.name
    }
    return sorted(root for root in settings if root.name not in pooled)


def goal_words(goals: pd.DataFrame) -> str:
    """Return how many arms met their goal, of those with a verdict; empty without any."""
    goals = goals[goals["met"] != OPEN] if len(goals) else goals
    if goals.empty:
        return ""
    alone, studies = goals["arm"].str.startswith(ALONE), goals["study"].nunique()
    said = []
    for rows, what in (
        (goals[~alone], "generated chips beside real ones"),
        (goals[alone], "generated chips alone"),
    ):
        if len(rows):
            said.append(f"{(rows['met'] == MET).sum()} of {counted(len(rows), 'arm')} with {what}")
    return (
        f"**Were the goals met?** By {' and '.join(said)}, in {'one study' if studies == 1 else f'{studies} studies'} of several folds: "
        f"[what was asked, and each arm's differences](results/published/{FILE})."
    )


def write_goals(folder: Path) -> pd.DataFrame:
    """Write ``goals.md`` to the folder of published studies, if there is one of several folds; return the table."""
    goals = published_goals(folder)
    if len(goals):
        with atomic_path(folder / FILE) as temporary:
            temporary.write_text(f"{HEAD}\n\n{markdown_table(goals)}\n", encoding="utf-8")
    return goals
