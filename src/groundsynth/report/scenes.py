"""What every scene says of the same arms: the published studies that may carry verdicts, side by side."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from groundsynth.arm_names import is_mixed
from groundsynth.artifacts import read_json, read_table
from groundsynth.report.goals import label_percent, separate_studies
from groundsynth.report.tables import (
    fair_differences,
    fair_reading,
    folds_of,
    headline,
    interval,
    markdown_table,
    of_stages,
)

ALONE = "synthetic:"
WORDS = (
    "**The same arms on every scene**, over all folds and several trainings of the generator: points of mIoU against "
    "real chips alone with as many steps (those in brackets) or, without brackets, with the usual number; 95 % intervals. "
    "Bold lies above or below 0; for arms that add generated chips to real ones, which were named beforehand, after "
    "correction for their number. n: test blocks."
)


def scene_table(folder: Path) -> pd.DataFrame:
    """Return one row per arm and one column per study that tests every block, with several generators and all labels.

    ``attrs["titles"]`` has the title of each study's scene.

    Arms named beforehand that add generated chips to real ones, those of generated chips alone, then those without
    any; a dash where a study does not have an arm.

    Args:
        folder: that of the published studies.
    """
    columns, titles = {}, {}
    for root in separate_studies(folder):
        metrics = of_stages(read_table(root / "metrics.csv", "metrics"))
        fair = fair_differences(metrics)
        folds, generators = folds_of(headline(metrics))
        parts = fair["regime"].str.contains("of_folds=").any()
        if folds > 1 and generators > 1 and not parts and label_percent(headline(metrics)) == 100:
            columns[f"`{root.name}` (n = {int(fair['n'].max())})"] = _column(fair)
            titles[root.name] = read_json(root / "manifest.json", "snakemake publish")["data"]["title"]
    table = pd.DataFrame(columns)
    ordered = sorted(table.index, key=lambda arm: (not is_mixed(arm), not arm.startswith(ALONE), arm))
    table = table.loc[ordered].fillna("–").rename_axis("trained on").reset_index()
    table.attrs["titles"] = titles
    return table


def _column(fair: pd.DataFrame) -> dict[str, str]:
    cells = {}
    for _, row in fair.iterrows():
        if is_mixed(row["arm"]) and pd.isna(row["p"]):
            continue
        cell = interval(row, 100, 1, sign=True)
        cell = f"**{cell}**" if fair_reading(fair, row["arm"]).startswith(("above", "below")) else cell
        cells[row["arm"]] = cell + (f" ({row['against']})" if row["against"] != "real" else "")
    return cells


def scene_words(folder: Path) -> str:
    """Return the table with what it shows, for the README; empty without a study that may carry verdicts."""
    table = scene_table(folder)
    if table.empty:
        return ""
    titles = "; ".join(f"`{name}`: {title}" for name, title in table.attrs["titles"].items())
    return f"{WORDS}\n\n{markdown_table(table)}\n\nScenes: {titles}."
