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
    "**The same arms on every scene{labels}**, over all folds and several trainings of the generator: points of mIoU against "
    "real chips alone, with as many steps where brackets name them, else with the usual number; 95 % intervals. "
    "Bold lies above or below 0; for arms that add generated chips to real ones, which were named beforehand, after "
    "correction for their number. n: {unit}."
)


def scene_studies(folder: Path) -> dict[int, dict[Path, pd.DataFrame]]:
    """Return the differences of every study that tests every block, with several generators, by folder.

    Args:
        folder: that of the published studies.

    Returns:
        by share of the labels in per cent, all of them first.
    """
    found: dict[int, dict[Path, pd.DataFrame]] = {}
    for root in separate_studies(folder):
        metrics = of_stages(read_table(root / "metrics.csv", "metrics"))
        fair = fair_differences(metrics)
        if is_whole(fair):
            found.setdefault(label_percent(headline(metrics)), {})[root] = fair
    return dict(sorted(found.items(), reverse=True))


def scene_table(studies: dict[Path, pd.DataFrame]) -> pd.DataFrame:
    """Return one row per arm and one column per study, those of one share in :func:`scene_studies`.

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
    """Return a table per share of the labels with what it shows, for the README; empty without a study with verdicts."""
    return "\n\n".join(_words(percent, studies) for percent, studies in scene_studies(folder).items())


def _words(percent: int, studies: dict[Path, pd.DataFrame]) -> str:
    titles = [
        f"`{root.name}`: {read_json(root / 'manifest.json', 'snakemake publish')['data']['title']}"
        for root in studies
    ]
    about = {"labels": "", "unit": "test blocks"}
    if percent < 100:
        unit = "draws of the labelled blocks, each with a generator of its own, which intervals are over"
        about = {"labels": f" with {percent} % of the labels", "unit": unit}
    return (
        f"{WORDS.format(**about)}\n\n{markdown_table(scene_table(studies))}\n\nScenes: {'; '.join(titles)}."
    )
