"""The one table of numbers, gathered from the stages, and the small tables cut from it.

Nothing here computes a result: rows are copied from artefacts, checked, sorted and worded.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from groundsynth.arm_names import arm_parts, is_mixed
from groundsynth.artifacts import METRIC_COLUMNS, metric_row, read_json, read_table, write_table
from groundsynth.config import STAGES, Study
from groundsynth.errors import GroundsynthError
from groundsynth.paths import published_dir, results_dir
from groundsynth.report.measurements import measured_folders
from groundsynth.systems import drawn_pairs

KEY = list(METRIC_COLUMNS[:7])
REPORT = "09_report"
COMMAND = r"(?:^|;)command="  # in the regime of a row that no stage measured
BENCHMARK = "07_benchmark_segmentation"


class Folder(NamedTuple):
    """One folder a stage filled: its stage, what tells it from its siblings, and where it lies."""

    stage: str
    tags: dict[str, str]
    path: Path


def report_dir(study: str) -> Path:
    """Return where a study's small tables lie: live results, else the published copy.

    Raises:
        GroundsynthError: the study has neither.
    """
    for root in (results_dir(study), published_dir(study)):
        if any(root.glob("0[1-8]_*/fold*/metrics.csv")):
            return root
    raise GroundsynthError(
        f"results/{study}: no results and no published copy; make them: "
        f"snakemake --cores all --configfile config/{study}.yaml"
    )


def study_folders(
    root: Path, folds: list[int], generators: list[str], systems: list[str], shards: int
) -> list[Folder]:
    """Return every folder of stages 01–08 that a study's settings call for, in order of stage."""
    found = []
    for stage in STAGES[:-1]:
        for fold in folds:
            base = root / stage / f"fold{fold}"
            tags = {"fold": str(fold)}
            if stage == "02_train_generator":
                found += [Folder(stage, tags | {"generator": g}, base / g) for g in generators]
            elif stage == "03_generate":
                found += [
                    Folder(
                        stage, tags | {"generator": g, "system": s, "shard": str(k)}, base / g / s / str(k)
                    )
                    for g, s in drawn_pairs(generators, systems)
                    for k in range(shards)
                ]
            else:
                found.append(Folder(stage, tags, base))
    return found


def folders_of(study: Study, root: Path) -> list[Folder]:
    """Return the folders of a resolved study (see :func:`study_folders`)."""
    generators = [f"{p}-s{s}" for p in study.generator.policies for s in study.generator.seeds]
    return study_folders(root, study.folds, generators, study.generate.systems, study.generate.shards)


def read_run(folder: Path) -> dict:
    """Return what the runner recorded beside an executed notebook; empty if it was run by hand."""
    path = folder / "run.json"
    return read_json(path, "snakemake --cores all") if path.is_file() else {}


def gather_metrics(study: str, folders: list[Folder], root: Path | None = None) -> pd.DataFrame:
    """Return every stage's metrics as one table, plus wall time and peak memory per stage.

    Where a study has several folds, generators or shards, ``regime`` says which a row is from, so
    that no two rows have the same key.

    Args:
        root: where the study lies; with it, what commands measured is gathered too (:func:`gather_measured`).

    Raises:
        GroundsynthError: a missing or broken ``metrics.csv``, or two rows with one key.
    """
    varies = _varying(folders)
    parts = [_tagged(folder, varies.get(folder.stage, [])) for folder in folders]
    parts.append(pd.DataFrame(_machine_rows(study, folders), columns=list(METRIC_COLUMNS)))
    if root is not None:
        parts.append(gather_measured(root))
    table = pd.concat([part for part in parts if len(part)], ignore_index=True)
    return _one_row_each(study, table)


def gather_measured(root: Path) -> pd.DataFrame:
    """Return what commands measured of a study (see ``measurements``); ``regime`` names the command of each row."""
    parts = [pd.DataFrame(columns=list(METRIC_COLUMNS))]
    for measured in measured_folders(root):
        table = read_table(measured.path / "metrics.csv", "metrics")
        parts.append(_marked(table, measured.tag))
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else parts[0]


def of_stages(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that stages measured, without those of commands.

    >>> of_stages(pd.DataFrame({"regime": ["split=test", "steps=8;command=sampling-curve"]}))["regime"].tolist()
    ['split=test']
    """
    return metrics[~metrics["regime"].str.contains(COMMAND)].reset_index(drop=True)


def renew_measured(study: str, metrics: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Return a gathered table with what commands have measured by now in place of what they had."""
    parts = [part for part in (of_stages(metrics), gather_measured(root)) if len(part)]
    return _one_row_each(study, pd.concat(parts, ignore_index=True))


def _one_row_each(study: str, table: pd.DataFrame) -> pd.DataFrame:
    twice = table[table.duplicated(KEY)]
    if len(twice):
        first = ", ".join(f"{name} {twice.iloc[0][name]}" for name in KEY if twice.iloc[0][name])
        raise GroundsynthError(
            f"results/{study}: {len(twice)} rows repeat a key ({first}); one number, one row: "
            "correct the stage or the command that writes it twice"
        )
    return table.sort_values(KEY, ignore_index=True)


def write_gathered(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Write the gathered table (schema-checked, atomic) and return it as read back."""
    write_table(table, path, "metrics")
    return read_table(path, "metrics")


def of_fold(metrics: pd.DataFrame, fold: int) -> pd.DataFrame:
    """Return the rows of one fold, without the word that names it, and those that name none.

    >>> table = pd.DataFrame({"regime": ["k=1;fold=0", "k=1;fold=3", "folds=2", ""], "value": [1, 2, 3, 4]})
    >>> of_fold(table, 3).to_dict("list")
    {'regime': ['k=1', 'folds=2', ''], 'value': [2, 3, 4]}
    """
    named = metrics["regime"].str.extract(r"(?:^|;)fold=(\d+)(?:;|$)", expand=False)
    kept = metrics[named.isna() | (named == str(fold))]
    return kept.assign(
        regime=kept["regime"].str.replace(r"(^|;)fold=\d+(?=;|$)", "", regex=True)
    ).reset_index(drop=True)


def _varying(folders: list[Folder]) -> dict[str, list[str]]:
    varies: dict[str, list[str]] = {}
    for stage in {folder.stage for folder in folders}:
        tags = pd.DataFrame([folder.tags for folder in folders if folder.stage == stage])
        varies[stage] = [name for name in tags if name != "system" and len(set(tags[name])) > 1]
    return varies


def _tagged(folder: Folder, names: list[str]) -> pd.DataFrame:
    table = read_table(folder.path / "metrics.csv", "metrics")
    return _marked(table, ";".join(f"{name}={folder.tags[name]}" for name in names))


def _marked(table: pd.DataFrame, tag: str) -> pd.DataFrame:
    """Return rows whose ``regime`` ends with a tag; an empty one changes nothing."""
    regimes = [";".join(filter(None, [regime, tag])) for regime in table["regime"]]
    return table.assign(regime=regimes)


def _machine_rows(study: str, folders: list[Folder]) -> list[dict]:
    runs = [(folder, read_run(folder.path)) for folder in folders]
    frame = pd.DataFrame(
        [
            {**run, "stage": folder.stage, "seconds": max(run["seconds"], _trained(folder))}
            for folder, run in runs
            if run
        ]
    )
    if frame.empty:
        return []
    rows = []
    for stage, group in frame.groupby("stage"):
        rows.append(metric_row(study, stage, "stage_seconds", group["seconds"].sum(), n=len(group)))
        rows.append(metric_row(study, stage, "peak_rss_mb", group["peak_rss_mb"].max(), n=len(group)))
    return rows


def _trained(folder: Folder) -> float:
    """Return the seconds a training took in all its parts: more than its last run's, if it was resumed."""
    if folder.stage != "02_train_generator":
        return 0.0
    return float(pick(read_table(folder.path / "metrics.csv", "metrics"), "training_seconds")["value"].sum())


# --- cutting it ------------------------------------------------------------------------------


def pick(metrics: pd.DataFrame, metric: str, **where: str) -> pd.DataFrame:
    """Return the rows of one metric; ``where`` narrows by other columns (``class_`` for ``class``).

    >>> table = pd.DataFrame({"metric": ["a", "b"], "arm": ["x", "y"], "value": [1, 2]})
    >>> pick(table, "b", arm="y")["value"].tolist()
    [2]
    """
    keep = metrics["metric"] == metric
    for name, value in where.items():
        keep &= metrics[name.rstrip("_")] == value
    return metrics[keep].reset_index(drop=True)


def interval(row: pd.Series, scale: float = 1.0, digits: int = 3, sign: bool = False) -> str:
    """Return ``value [low, high]`` in words of fixed digits; no brackets where there is no interval.

    >>> interval(pd.Series({"value": 0.0123, "low": -0.01, "high": 0.03}), 100, 1, sign=True)
    '+1.2 [−1.0, +3.0]'
    """
    plus = "+" if sign else ""

    def shown(number: float) -> str:
        return f"{number * scale:{plus}.{digits}f}".replace("-", "−")

    if pd.isna(row["value"]):
        return "–"
    if pd.isna(row["low"]) or pd.isna(row["high"]):
        return shown(row["value"])
    return f"{shown(row['value'])} [{shown(row['low'])}, {shown(row['high'])}]"


def counted(number: int | str, name: str) -> str:
    """Return a number with what it counts, in the plural unless it is one.

    >>> counted(1, "seed"), counted("1 or 3", "seed")
    ('1 seed', '1 or 3 seeds')
    """
    return f"{number} {name}" + "s" * (str(number) != "1")


def _adds_synthetic(arm: str) -> bool:
    """Say whether an arm lays generated chips beside the real ones; classical augmentation does not."""
    return is_mixed(arm) and arm_parts(arm)["kind"] == "real+"


def order_arms(arms: list[str]) -> list[str]:
    """Return arms as they are always shown: real, then synthetic only, then mixed."""
    return sorted(arms, key=lambda arm: [arm != "real", not arm.startswith("synthetic"), arm])


def headline(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the table with those rows of stage 07 alone that a reader is shown first.

    Those of all folds and generators together where there are any; else those of the single fold's test
    split; else, where the test blocks were left unread, those of validation.
    """
    parts = metrics["regime"].map(lambda regime: {part.partition("=")[0] for part in regime.split(";")})
    benchmark = metrics["stage"] == BENCHMARK
    for names in ({"folds", "generators"}, {""}, {"split"}):
        shown = benchmark & parts.map(
            lambda found, names=names: found - {"labels", "of_folds", ""} == names - {""}
        )
        if shown.any():
            break
    return metrics[~benchmark | shown].reset_index(drop=True)


def folds_of(metrics: pd.DataFrame) -> tuple[int, int]:
    """Return how many folds and generators the rows of a :func:`headline` rest on; 1, 1 for a single fold's."""
    regimes = metrics.loc[metrics["stage"] == BENCHMARK, "regime"]
    return max((_pooled(regime) for regime in regimes), default=(1, 1))


def _pooled(regime: str) -> tuple[int, int]:
    """Return folds and trainings of the generator that a row's interval is over.

    Where folds are draws of the labels, and resampled as such, each has generators of its own.

    >>> _pooled("folds=6;generators=2"), _pooled("fold=0"), _pooled("labels=10%;folds=5;generators=1")
    ((6, 2), (1, 1), (5, 5))
    """
    tags = dict(part.split("=", 1) for part in regime.split(";") if "=" in part)
    folds, generators = int(tags.get("folds", 1)), int(tags.get("generators", 1))
    return folds, generators * (folds if is_drawn(regime) else 1)


def is_drawn(regime: str) -> bool:
    """Say whether a row is of several folds that are draws of the labels, which its interval is over.

    >>> is_drawn("labels=10%;folds=5;generators=1"), is_drawn("labels=10%"), is_drawn("folds=5;generators=1")
    (True, False, False)
    """
    return "labels=" in regime and "folds=" in regime


def resampled(rows: pd.DataFrame) -> str:
    """Return what intervals of a :func:`headline` are over, and n counts: ``draw`` of the labels, or ``block``."""
    return "draw" if rows["regime"].map(is_drawn).any() else "block"


def leaves_folds_out(rows: pd.DataFrame) -> bool:
    """Say whether pooled rows are of some folds of a scene alone."""
    return bool(rows["regime"].str.contains("of_folds=").any())


def resampled_words(rows: pd.DataFrame) -> str:
    """Return what intervals of a :func:`headline` are over, in words."""
    return {"block": "test blocks and seeds", "draw": "draws of the labelled blocks"}[resampled(rows)]


def is_whole(rows: pd.DataFrame) -> bool:
    """Say whether rows may carry a verdict: of all folds, which are several, and of several generators.

    Draws of the labels are folds of which each has a generator of its own.
    """
    fewest = min((min(_pooled(regime)) for regime in rows["regime"]), default=1)
    return fewest > 1 and not leaves_folds_out(rows)


def result_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return one row per arm: scores with 95 % intervals, as text; empty if stage 07 has none.

    ``difference`` is in percentage points against the arm ``real``, and ``reading`` says whether its
    interval leaves 0 out; a verdict is read from several folds alone. Of an arm with more steps the difference to real
    chips alone with as many is read, where there are any.
    """
    fair = fair_differences(metrics)
    metrics = headline(metrics)
    scores = pick(metrics, "miou")
    rows = []
    for arm in order_arms(scores["arm"].unique().tolist()):
        row = {"trained on": arm}
        for name, title in (("miou", "mIoU"), ("miou_all", "mIoU, all classes"), ("rare_iou", "rare IoU")):
            row[title] = _cell(pick(metrics, name, arm=arm))
        delta = pick(metrics, "delta_miou", arm=arm)
        row["difference to real, pp"] = _cell(delta, 100, 1, sign=True)
        row["reading"] = "reference" if arm == "real" else fair_reading(fair, arm)
        rows.append(row)
    return pd.DataFrame(rows)


def _cell(rows: pd.DataFrame, *shape: float, sign: bool = False) -> str:
    return "; ".join(interval(row, *shape, sign=sign) for _, row in rows.iterrows()) or "–"


def fair_differences(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return one row per arm and its opponent: what ``delta_miou`` says against real chips alone with as many steps.

    That is the arm ``real`` but for arms of more or fewer steps, which have a difference to ``real@<steps>``.

    Returns:
        the rows of ``delta_miou`` with columns ``against`` and, of primary comparisons, ``p``, ``corrected`` and
        ``smallest``; the last is there for pooled rows.
    """
    plain = pick(headline(metrics), "delta_miou", stage=BENCHMARK).assign(against="real")
    other = of_other_opponents(metrics)
    other = other[other["against"].str.fullmatch(r"real@[0-9.]+")]
    rows = pd.concat([plain[~plain["arm"].isin(other["arm"])], other], ignore_index=True)
    for column, metric in (
        ("p", "delta_miou_p"),
        ("corrected", "delta_miou_p_holm"),
        ("smallest", "smallest_detectable_difference"),
    ):
        held = pick(metrics, metric, stage=BENCHMARK)
        held = held.assign(against=_opponent(held).fillna("real")).drop_duplicates(["arm", "against"])
        values = held.set_index(["arm", "against"])["value"]
        rows[column] = values.reindex(pd.MultiIndex.from_frame(rows[["arm", "against"]])).to_numpy()
    return rows


def of_other_opponents(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of ``delta_miou`` against other arms than ``real``, named in the column ``against``.

    Those of all folds and generators together where there are any, as in a :func:`headline`.
    """
    rows = pick(metrics, "delta_miou", stage=BENCHMARK)
    rest = rows["regime"].str.replace(r"against=[^;]*;?", "", regex=True).str.strip(";")
    shown = rows.assign(against=_opponent(rows), regime=rest).dropna(subset="against")
    return headline(shown) if len(shown) else shown


def _opponent(rows: pd.DataFrame) -> pd.Series:
    return rows["regime"].str.extract(r"(?:^|;)against=([^;]*)", expand=False)


def fair_reading(fair: pd.DataFrame, arm: str) -> str:
    """Return the :func:`reading` of an arm in :func:`fair_differences`."""
    rows = fair[fair["arm"] == arm]
    if rows.empty:
        return "no interval"
    corrected = rows["corrected"].iloc[0]
    return reading(rows, None if pd.isna(corrected) else float(corrected), rows["against"].iloc[0])


def reading(delta: pd.DataFrame, corrected: float | None = None, against: str = "real") -> str:
    """Return what an interval of differences says: it leaves 0 out, or no difference is shown.

    Only rows of all folds and several generators are read as above or below real; of others, that the interval lies
    above or below 0 in this fold, in these folds, or with this generator.

    Args:
        corrected: p-value of a primary comparison, which must be below 0.05, too.
        against: what the differences are to, real chips alone; named where it is not ``real``.
    """
    if delta.empty or delta["low"].isna().all():
        return "no interval"
    folds, generators = min(map(_pooled, delta["regime"]) if "regime" in delta else [(1, 1)])
    parts = folds > 1 and leaves_folds_out(delta)
    than = "" if against == "real" else f" against {against}"
    place = "0 in this fold" if folds == 1 else "0 with this generator" if generators == 1 else against
    place = "0 in these folds" if parts else place
    place += than if place != against else ""
    if corrected is None or corrected < 0.05:
        if (delta["low"] > 0).all():
            return f"above {place}"
        if (delta["high"] < 0).all():
            return f"below {place}"
    alone = (delta["low"] > 0).all() or (delta["high"] < 0).all()
    return f"no difference shown{than}" + (f" (corrected p = {corrected:.2g})" if alone else "")


def claim_sentence(metrics: pd.DataFrame, study: str) -> str:
    """Return the study's one sentence, with every number read from the table."""
    mixed = fair_differences(metrics)
    folds, generators = folds_of(headline(metrics))
    mixed = mixed[mixed["arm"].map(_adds_synthetic).astype(bool)].sort_values("arm", ignore_index=True)
    if mixed.empty:
        return f"Study '{study}' has no benchmark of mixed training yet."
    cells = [
        f"{interval(row, 100, 1, sign=True)} ({row['arm'].removeprefix('real+')}"
        + (")" if row["against"] == "real" else f" against {row['against']})")
        for _, row in mixed.iterrows()
    ]
    shown = [re.split(r" against | \(", fair_reading(mixed, arm))[0] for arm in mixed["arm"]]
    count = ", ".join(f"{shown.count(kind)} of {len(shown)} {kind}" for kind in dict.fromkeys(shown))
    verdict = "one fold, so effects and no verdict"
    if folds > 1:
        verdict = f"{folds} folds, {generators} generators"
        verdict = verdict if generators > 1 else f"{folds} folds of one generator, so effects and no verdict"
        if leaves_folds_out(mixed):
            verdict = f"{folds} folds, which do not test every block, so effects and no verdict"
    verdict += _smallest(mixed)
    return (
        "Adding synthetic chips to the real ones changes a segmenter's mIoU by "
        f"{_listed(cells)} percentage points (95 % intervals; {count}; {verdict})."
    )


def _smallest(differences: pd.DataFrame) -> str:
    """Return what differences the study could have shown, in percentage points."""
    found = 100 * differences["smallest"].dropna()
    if found.empty:
        return ""
    least, most = f"{found.min():.1f}", f"{found.max():.1f}"
    size = (
        f"a true difference of {most} points"
        if least == most
        else f"true differences of {least} to {most} points"
    )
    return f"; {size}, by arm, would be shown in four of five such studies"


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def primary_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the comparisons named beforehand: difference, p-value as is and corrected, what could be shown.

    Empty unless folds or generators were pooled.
    """
    fair, rows = fair_differences(metrics), []
    for _, row in fair[fair["p"].notna()].sort_values("arm").iterrows():
        rows.append(
            {
                "arm": row["arm"],
                "against": row["against"],
                "difference, pp": interval(row, 100, 1, sign=True),
                "p": f"{row['p']:.2g}",
                "p, corrected (Holm)": f"{row['corrected']:.2g}",
                "would be shown, pp": f"{100 * row['smallest']:.1f}",
                "reading": fair_reading(fair, row["arm"]),
            }
        )
    return pd.DataFrame(rows)


def paired_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the differences between arms of which neither is ``real``: ``arm``, ``against`` and points of mIoU.

    Those of all folds and generators together where there are any, as in a :func:`headline`.
    """
    shown = of_other_opponents(metrics)
    difference = [interval(row, 100, 1, sign=True) for _, row in shown.iterrows()]
    return pd.DataFrame({"arm": shown["arm"], "against": shown["against"], "difference, pp": difference})


LESSONS = (
    ("mask_obedience_ratio", {}, 1, 2, "Obedience to the map, as a share of what real chips reach: {}."),
    ("auc", {"arm": "swapped_map", "regime": ""}, 1, 2, "Own map told from a swapped one, as AUC (0.5 = chance): {}."),
    ("auc", {"arm": "shuffled_caption", "regime": ""}, 1, 2, "Own caption told from a shuffled one, as AUC: {}."),
    ("kid", {}, 1, 3, "Kernel distance to held-out real chips: {}."),
    ("keep_rate", {"arm": ""}, 100, 0, "Chips that pass every check, in per cent: {}."),
)  # fmt: skip


def lessons(metrics: pd.DataFrame, study: str) -> str:
    """Return what a study shows as a Markdown list; a measure without rows is left out.

    Where a measure has several regimes (feature spaces, splits), the first one is quoted and named.
    """
    lines = [claim_sentence(metrics, study)]
    for metric, where, scale, digits, sentence in LESSONS:
        rows = pick(metrics, metric, **where)
        if rows.empty:
            continue
        regime = rows["regime"].iloc[0]
        rows = rows[rows["regime"] == regime]
        names = rows["system"].where(rows["system"] != "", rows["arm"].str.replace("_", " "))
        cells = [
            f"{name} {interval(row, scale, digits)}"
            for name, (_, row) in zip(names, rows.iterrows(), strict=True)
        ]
        lines.append(sentence.format(_listed(cells)) + (f" ({regime})" if regime else ""))
    minutes = pick(metrics, "stage_seconds")["value"].sum() / 60
    lines.append(f"The stages before this one took {minutes:.1f} minutes of wall time.")
    return "\n".join(f"- {line}" for line in lines)


def minutes_table(study: Study, metrics: pd.DataFrame) -> pd.DataFrame:
    """Return one row per stage: planned and measured minutes, notebooks run, peak memory in MiB.

    Stage 09 cannot time itself: its own row is empty until :func:`add_own_run` is called.
    """
    planned = study.minutes.model_dump(by_alias=True)
    rows = []
    for stage in STAGES:
        seconds = pick(metrics, "stage_seconds", stage=stage)
        peak = pick(metrics, "peak_rss_mb", stage=stage)
        rows.append(
            {
                "stage": stage,
                "planned": float(planned[stage]),
                "measured": seconds["value"].sum() / 60 if len(seconds) else float("nan"),
                "notebooks": int(seconds["n"].sum()) if len(seconds) else 0,
                "peak_rss_mb": peak["value"].max() if len(peak) else float("nan"),
            }
        )
    return pd.DataFrame(rows)


def add_own_run(study: str, metrics: pd.DataFrame, report: Path) -> pd.DataFrame:
    """Return the table with the report's own time and memory, known once its notebook has ended."""
    own = pd.DataFrame(_machine_rows(study, [Folder(REPORT, {}, report)]), columns=list(METRIC_COLUMNS))
    kept = metrics[metrics["stage"] != REPORT]
    return pd.concat([kept, own], ignore_index=True) if len(own) else kept


# --- the README's table ----------------------------------------------------------------------


def markdown_table(table: pd.DataFrame) -> str:
    """Return a table as GitHub Markdown."""
    lines = ["| " + " | ".join(table.columns) + " |", "|" + " --- |" * len(table.columns)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in table.itertuples(index=False)]
    return "\n".join(lines)
