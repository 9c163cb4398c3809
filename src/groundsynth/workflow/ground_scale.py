"""How long does stage 06 take for many samples, and how much memory? Measured on a finished study.

The study's synthetic chips are multiplied: each copy is turned or flipped with its map and its reading, a
little brighter or darker, with fine noise, so that no two images are equal and every search has work to do.
Captions stay those of the original, words and all: what they claim of places is then often wrong, which costs
the checks as much time as right claims. So times and memory are those of real samples, and the numbers that
stage 06 reports on such chips mean nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from groundsynth.artifacts import metric_row, read_chips, read_json, read_table, write_chips, write_table
from groundsynth.checks.memorisation import turn_and_flip
from groundsynth.config import Study
from groundsynth.errors import GroundsynthError
from groundsynth.paths import project_root, stage_dir
from groundsynth.seeds import rng
from groundsynth.systems import drawn_pairs
from groundsynth.workflow.parameters import generator_names, notebook_parameters, stage_folder

STAGE = "06_ground"
BRIGHTNESS = 0.1  # largest relative change
NOISE = 2.0  # grey levels
COPIED = ("notebooks", "config", "src", "Snakefile", "pyproject.toml")


def copy_plan(chips: int, n: int, seed: int, *names: object) -> pd.DataFrame:
    """Return which chip each of n copies is of, and how it is turned: columns chip, code; as even as can be."""
    generator = rng("ground_scale", seed, *names)
    return pd.DataFrame({"chip": np.arange(n) % chips, "code": generator.integers(8, size=n)})


def multiply(chips: pd.DataFrame, plan: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the planned copies of chips (any of ``CHIPS`` with a chip_id), named ``<chip_id>-<k>``."""
    found = chips.iloc[plan["chip"]].reset_index(drop=True)
    found["chip_id"] = [f"{name}-{k}" for k, name in enumerate(found["chip_id"])]
    layers = [
        name for name in ("mask", "trust") if name in found and isinstance(found[name].iloc[0], np.ndarray)
    ]
    for column in layers:
        pairs = zip(found[column], plan["code"], strict=True)
        found[column] = [np.ascontiguousarray(turn_and_flip(a[..., None], code)[..., 0]) for a, code in pairs]
    if "image" in found:
        generator = rng("ground_scale", seed, "noise")
        found["image"] = [
            _changed(turn_and_flip(image, code), generator)
            for image, code in zip(found["image"], plan["code"], strict=True)
        ]
    return found


def _changed(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    gain = 1 + generator.uniform(-BRIGHTNESS, BRIGHTNESS)
    return (image * gain + generator.normal(0, NOISE, image.shape)).round().clip(0, 255).astype(np.uint8)


def enlarge_study(study: Study, fold: int, root: Path, samples: int, seed: int = 0) -> None:
    """Write what stage 06 reads into ``root``, a project of its own, with ``samples`` synthetic chips in all.

    Args:
        study: whose stages 01 to 05 have run; root: an empty folder.

    Raises:
        GroundsynthError: fewer samples than systems, or a stage that has not run.
    """
    pairs = drawn_pairs(generator_names(study), study.generate.systems)
    if samples < len(pairs):
        raise GroundsynthError(
            f"--samples {samples}: every system needs one of its own; give {len(pairs)} at least"
        )
    for name in COPIED:
        (root / name).symlink_to(project_root() / name)
    results = root / "results" / study.study
    for stage in ("01_prepare_data", "04_label"):
        ignore = shutil.ignore_patterns("*.ipynb", "*.png", "labels*.parquet", "filtered*", "agreement.csv")
        shutil.copytree(stage_dir(study.study, stage, fold), results / stage / f"fold{fold}", ignore=ignore)
    tables = _read_tables(study.study, fold)
    kept = {name: [table[table["system"] == "real"]] for name, table in tables.items()}
    for place, (generator, system) in enumerate(pairs):
        shards = [
            stage_dir(study.study, "03_generate", fold, generator, system, str(k)) / "chips.parquet"
            for k in range(study.generate.shards)
        ]
        chips = pd.concat([read_chips(path, "synthetic") for path in shards], ignore_index=True)
        share = samples // len(pairs) + (place < samples % len(pairs))
        plan = copy_plan(len(chips), share, seed, system)
        parts = np.array_split(np.arange(share), len(shards))
        many = multiply(chips, plan, seed)
        for path, part in zip(shards, parts, strict=True):
            write_chips(many.iloc[part], root / path.relative_to(project_root()), "synthetic")
        for name, table in tables.items():
            own = table.drop_duplicates("chip_id").set_index("chip_id").loc[chips["chip_id"]].reset_index()
            kept[name].append(multiply(own[table.columns], plan, seed))
    label = results / "04_label" / f"fold{fold}"
    write_chips(pd.concat(kept["labels"]), label / "labels.parquet", "labels")
    write_table(pd.concat(kept["agreement"]), label / "agreement.csv", "agreement")
    caption = results / "05_caption" / f"fold{fold}" / "captions.csv"
    write_table(pd.concat(kept["captions"]), caption, "captions")


def _read_tables(study: str, fold: int) -> dict[str, pd.DataFrame]:
    """Return what stages 04 and 05 say of every chip, of captions the first."""
    label = stage_dir(study, "04_label", fold)
    captions = read_table(stage_dir(study, "05_caption", fold) / "captions.csv", "captions")
    return {
        "labels": read_chips(label / "labels.parquet", "labels"),
        "agreement": read_table(label / "agreement.csv", "agreement"),
        "captions": captions[captions["caption_index"] == 0],
    }


def time_ground(
    study: Study, fold: int, folder: Path, samples: Sequence[int], threads: int
) -> pd.DataFrame:  # fmt: skip
    """Run stage 06 on an enlarged study for each number of samples, each in a process of its own.

    Args:
        folder: is filled with one project per number of samples.

    Returns:
        columns samples, seconds, peak_rss_mb.

    Raises:
        GroundsynthError: a run that stopped; its own message.
    """
    rows = []
    parameters = notebook_parameters(study, STAGE, SimpleNamespace(fold=fold))
    for n in samples:
        root = folder / str(n)
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        enlarge_study(study, fold, root, n)
        place = root / stage_folder(study, STAGE).replace("{fold}", str(fold))
        words = ["run-notebook", f"notebooks/{STAGE}.ipynb", "--parameters", json.dumps(parameters),
                 "--output", str(place / f"{STAGE}.ipynb"), "--log", str(root / "ground.log"), "--threads", str(threads)]  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "groundsynth", *words], cwd=root, text=True, capture_output=True, check=False,
            env=os.environ | {"GROUNDSYNTH_ROOT": str(root)},
        )  # fmt: skip
        if done.returncode:
            raise GroundsynthError(f"stage 06 on {n} samples: {done.stderr.strip().splitlines()[-1]}")
        record = read_json(place / "run.json", "")
        rows.append({"samples": n, "seconds": record["seconds"], "peak_rss_mb": record["peak_rss_mb"]})
    return pd.DataFrame(rows)


def scale_rows(study: str, measured: pd.DataFrame) -> list[dict]:
    """Return ``stage_seconds`` and ``peak_rss_mb`` by number of samples (column ``n``) as metric rows."""
    return [
        metric_row(study, STAGE, metric, float(row[column]), regime=f"samples={row['samples']:.0f}", n=int(row["samples"]))
        for _, row in measured.iterrows()
        for metric, column in (("stage_seconds", "seconds"), ("peak_rss_mb", "peak_rss_mb"))
    ]  # fmt: skip
