"""What every scene says of the same arms: the published studies that may carry verdicts, side by side."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from groundsynth.arm_names import is_mixed
from groundsynth.artifacts import read_json, read_table
from groundsynth.report.goals import ALONE, label_percent, separate_studies
from groundsynth.report.tables import (
    fair_differences,
    fair_reading,
    headline,
    interval,
    is_whole,
    markdown_table,
    of_stages,
)

WORDS = (
    "**The same arms on every scene**, over all folds and several trainings of the generator: points of mIoU against "
    "real chips alone, with as many steps where brackets name them, else with the usual number; 95 % intervals. "
    "Bold lies above or below 0; for arms that add generated chips to real ones, which were named beforehand, after "
    "correction for their number. n: test blocks."
)


def scene_studies(folder: Path) -> dict[Path, pd.DataFrame]:
    """Return the differences of every study that tests every block, with several generators and all labels, by folder.

    Args:
        folder: that of the published studies.
    """
    found = {}
    for root in separate_studies(folder):
        metrics = of_stages(read_table(root / "metrics.csv", "metrics"))
        fair = fair_differences(metrics)
        if is_whole(fair) and label_percent(headline(metrics)) == 100:
            found[root] = fair
    return found


def scene_table(studies: dict[Path, pd.DataFrame]) -> pd.DataFrame:
    """Return one row per arm and one column per study of :func:`scene_studies`.

    Arms named beforehand that add generated chips to real ones, those of generated chips alone, then those without
    any; a dash where a study does not have an arm.
    """
    table = pd.DataFrame(
        {f"`{root.name}` (n = {int(fair['n'].max())})": _column(fair) for root, fair in studies.items()}
    )
    ordered = sorted(table.index, key=lambda arm: (not is_mixed(arm), not arm.startswith(ALONE), arm))
    return table.loc[ordered].fillna("–").rename_axis("trained on").reset_index()


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
    studies = scene_studies(folder)
    if not studies:
        return ""
    titles = [
        f"`{root.name}`: {read_json(root / 'manifest.json', 'snakemake publish')['data']['title']}"
        for root in studies
    ]
    return f"{WORDS}\n\n{markdown_table(scene_table(studies))}\n\nScenes: {'; '.join(titles)}."
