"""The claims of all published studies together: a table, a page and a figure in ``results/published``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from groundsynth.artifacts import read_table, write_table
from groundsynth.atomic import atomic_path
from groundsynth.config import Study, load_study
from groundsynth.paths import project_root
from groundsynth.report.claim_figures import claims_forest
from groundsynth.report.claim_list import Claim, read_claims
from groundsynth.report.claims import (
    VERDICTS,
    PublishedStudy,
    claims_table,
    read_studies,
    scene_name,
    unlabelled_ground,
)
from groundsynth.report.pooling import replicate_dir
from groundsynth.report.provenance import find_config
from groundsynth.report.replicated import add_replicates
from groundsynth.report.style import save_figure
from groundsynth.report.tables import markdown_table

HEAD = """# Published claims, and what was found here

Written by `python -m groundsynth claims` from the published studies; the same as a table:
[claims.csv](claims.csv). Each claim, its test and its rule stand in
[config/claims.yaml](../../config/claims.yaml), written before any study of several folds.

**How a verdict is formed.** The whole 95 % interval lies on the claim's side of its threshold: *reproduced*. It
lies on the other side: *reversed*. Anything else is *not shown*, and so is whatever rests on one fold, or on folds
that do not test every block, or, where synthetic chips have a part, on one generator seed: such rows show an effect
with its interval and no verdict. Comparisons named beforehand are corrected for their number; of others the note says
that they are not.
Folds are trained on overlapping ground, so intervals over folds are somewhat too narrow. Of several studies of a
scene, the one with most labels, folds, generators, seeds and steps speaks, whatever it found."""


def listed_claims() -> list[Claim]:
    """Return the claims of ``config/claims.yaml``."""
    return read_claims(project_root() / "config" / "claims.yaml")


def write_claims(folder: Path) -> pd.DataFrame:
    """Write ``claims.csv``, ``claims.md`` and ``claims.png`` to the folder of published studies; return the table."""
    claims = listed_claims()
    write_table(claims_table(claims, read_studies(folder)), folder / "claims.csv", "published_claims")
    table = read_table(folder / "claims.csv", "published_claims")
    if table["ours"].notna().any():
        figure, caption = claims_forest(claims, table)
        save_figure(figure, folder / "claims.png", caption)
    with atomic_path(folder / "claims.md") as temporary:
        temporary.write_text(claims_page(table), encoding="utf-8")
    return table


def claims_page(table: pd.DataFrame) -> str:
    """Return the page: how a verdict is formed, how many there are, the figure, and every row."""
    figure = "![published numbers beside ours](claims.png)" if table["ours"].notna().any() else ""
    parts = [HEAD, counted(table), figure, markdown_table(shown_table(table))]
    return "\n\n".join(part for part in parts if part) + "\n"


def counted(table: pd.DataFrame) -> str:
    """Return how many rows have which verdict, and how many of them have a number at all."""
    counts = ", ".join(f"{(table['verdict'] == name).sum()} {name}" for name in VERDICTS)
    claims = len(table[["system", "claim"]].drop_duplicates())
    return f"{claims} claims in {len(table)} rows, one per scene: {counts}; {int(table['ours'].notna().sum())} of {len(table)} rows have a number of ours."


def shown_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table as text, our number with its interval in one column."""
    ours = [number_words(row) for row in table.itertuples()]
    published = table["published"].str.replace("-", "−")
    shown = table[["system", "claim"]].assign(published=published, ours=ours)
    return shown.join(table[["verdict", "scenes", "note"]]).rename(columns={"scenes": "scene"})


def number_words(row: object) -> str:
    """Return ``0.4 [−0.1, 1.1]``, or a dash without a number."""
    if pd.isna(row.ours):
        return "–"
    shown = [f"{end:.3g}".replace("-", "−") for end in (row.ours, row.low, row.high) if not pd.isna(end)]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]" if len(shown) == 3 else shown[0]


def own_claims(study: Study, metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the claims table that a study, with its replicates, has numbers for (as :func:`shown_table`)."""
    names = [name for name in study.report.replicates if name != study.study]
    tables = [(name, replicate_dir(name) / "metrics.csv") for name in names]
    replicates = [
        (read_table(path, "metrics"), load_study(find_config(name)).model_dump())
        for name, path in tables
        if path.is_file()
    ]
    whole = add_replicates(metrics, study.model_dump(), replicates)
    own = PublishedStudy(
        study.study,
        scene_name(study.data.source),
        study.generator.steps,
        whole,
        study.data.folds,
        unlabelled_ground(replicate_dir(study.study)),
        study.data.label_fraction,
    )
    table = claims_table(listed_claims(), [own])
    return shown_table(table[table["ours"].notna()].reset_index(drop=True))
