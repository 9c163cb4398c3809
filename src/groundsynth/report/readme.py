"""The part of ``README.md`` that is written from a published study, between two markers."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from groundsynth.artifacts import read_json, read_table
from groundsynth.benchmark.false_alarms import SIZES
from groundsynth.errors import GroundsynthError
from groundsynth.report.aa_figures import part_words
from groundsynth.report.earlier import read_note
from groundsynth.report.generation_summary import generation_table
from groundsynth.report.goals import goal_words, published_goals
from groundsynth.report.measurements import measured_folders
from groundsynth.report.scenes import scene_words
from groundsynth.report.tables import (
    claim_sentence,
    counted,
    folds_of,
    headline,
    interval,
    markdown_table,
    of_stages,
    pick,
    result_table,
)

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def readme_block(root: Path, study: str) -> str:
    """Return the README's generated part, all from artefacts: claim, table, hardware and minutes, and the generator."""
    whole = read_table(root / "metrics.csv", "metrics")
    metrics = of_stages(whole)
    manifest = read_json(root / "manifest.json", f"python -m groundsynth publish {study}")
    shown = headline(metrics)
    scores = pick(shown, "miou", arm="real")
    n, seeds = (_whole(scores[name]) for name in ("n", "seeds"))
    minutes = pick(metrics, "stage_seconds")["value"].sum() / 60
    folds, generators = folds_of(shown)
    units = f"n = {n}, {counted(seeds, 'seed')}"
    if folds > 1:
        units += (
            f" in each of {counted(generators, 'generator')}, {folds} folds trained on overlapping ground"
        )
    replicates = [name for name in manifest["config"]["report"].get("replicates", []) if name != study]
    others = f" beside those of {', '.join(f'`{name}`' for name in replicates)}" if replicates else ""
    note = (
        "mIoU over the primary classes on the test blocks, as a fraction; in brackets 95 % intervals over "
        f"blocks and seeds ({units}). Study `{study}`, "
        f"{manifest['data']['title']}, {minutes:.0f} minutes on {manifest['device']}{others}."
    )
    claim = claim_sentence(metrics, study)
    parts = [f"**{claim}**", markdown_table(result_table(metrics)), note, label_worth(whole)]
    made = generation_table(whole, manifest["config"]["generate"])
    parts += [markdown_table(made), kept_words(root)] if len(made) else []
    return "\n\n".join(part for part in parts if part)


def front_block(folder: Path, study: str) -> str:
    """Return what the README says between its markers: what every scene says, what became of the goals, and one published study.

    Args:
        folder: that of the published studies.
    """
    parts = [scene_words(folder), goal_words(published_goals(folder)), readme_block(folder / study, study)]
    return "\n\n".join(part for part in parts if part)


def kept_words(root: Path) -> str:
    """Return which measurements of a publication are older than itself, and what has changed since; empty if none is."""
    notes: dict[str, list[str]] = {}
    for measured in measured_folders(root):
        if note := read_note(measured.path):
            notes.setdefault(note, []).append(f"`{measured.path.relative_to(root)}`")
    return " ".join(f"{', '.join(sorted(places))}: {note}" for note, places in sorted(notes.items()))


def label_worth(metrics: pd.DataFrame) -> str:
    """Return what more real labels are worth by the same measure, the ruler for any gain; empty if it was not measured."""
    rows = pick(metrics, "planted_difference")
    rows = rows[rows["regime"].str.contains("interval=study(?:;|$)")]
    told = [
        f"{interval(row, 100, 1, sign=True)} over {part_words(row)} of them ({row['arm']}, {int(row['n'])} blocks, "
        f"{int(row['seeds'])} seeds{_shown_by_few(metrics, row)})"
        for _, row in rows.iterrows()
    ]
    if not told:
        return ""
    return (
        f"What more real labels are worth here, in points of mIoU: all of them {'; '.join(told)}. An interval that holds 0 "
        "does not tell the two apart: a gain of synthetic chips as large would be missed as well."
    )


def _shown_by_few(metrics: pd.DataFrame, planted: pd.Series) -> str:
    """Return in how many comparisons a few seeds show a planted difference, in words; empty if they were not counted."""
    against, *rest = sorted(planted["regime"].split(";"), key=lambda part: not part.startswith("against="))
    found = pick(metrics, "planted_detection_rate", arm=against.removeprefix("against="))
    wanted = {*rest, f"group={SIZES[0]}"}
    found = found[found["regime"].map(lambda regime: set(regime.split(";")) == wanted)]
    if found.empty:
        return ""
    return f"; {SIZES[0]} seeds show it in {100 * found['value'].iloc[0]:.0f} % of comparisons"


def _whole(values: pd.Series) -> str:
    return str(int(values.iloc[0])) if len(values) and pd.notna(values.iloc[0]) else "–"


def between_markers(text: str) -> str:
    """Return what stands between the result markers of a README.

    Raises:
        GroundsynthError: the markers are missing or out of order.
    """
    start, stop = text.find(BEGIN), text.find(END)
    if start < 0 or stop < start:
        raise GroundsynthError(f"README.md: needs the lines {BEGIN} and {END} in this order; put them back")
    return text[start + len(BEGIN) : stop].strip()


def replace_block(text: str, block: str) -> str:
    """Return a README with ``block`` between its result markers."""
    between_markers(text)
    head, rest = text.split(BEGIN, 1)
    return f"{head}{BEGIN}\n{block.strip()}\n{END}{rest.split(END, 1)[1]}"
