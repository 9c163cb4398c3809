"""The commands behind the Makefile and the rules: ``python -m groundsynth <command>``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from groundsynth.errors import GroundsynthError


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(prog="python -m groundsynth", description=__doc__)
    commands = parser.add_subparsers(required=True)

    run = commands.add_parser("run-notebook", help="run one notebook as a rule does")
    run.add_argument("notebook", type=Path)
    run.add_argument("--parameters", type=json.loads, required=True, help="JSON object")
    run.add_argument("--output", type=Path, required=True, help="executed notebook, written on success")
    run.add_argument("--log", type=Path, required=True)
    run.add_argument("--threads", type=int, default=2)
    run.set_defaults(command=run_notebook_command)

    fetch = commands.add_parser("fetch", help="download and verify what a study reads, or single sources")
    wanted = fetch.add_mutually_exclusive_group(required=True)
    wanted.add_argument("sources", nargs="*", default=[], metavar="source")
    wanted.add_argument("--study", type=Path, help="config of a study: all its sources, with its settings")
    fetch.add_argument("--note", type=Path, help="file that lists what is there, written on success")
    fetch.set_defaults(command=fetch_command)

    config = commands.add_parser("config", help="write config/laptop.yaml from its typed source")
    config.set_defaults(command=config_command)

    pages = commands.add_parser("pages", help="write a finished study's web pages and manifest")
    pages.add_argument("study")
    pages.set_defaults(command=pages_command)

    publish = commands.add_parser("publish", help="copy a study's small results to results/published")
    publish.add_argument("study")
    publish.set_defaults(command=publish_command)

    cutting = commands.add_parser(
        "cutting-benchmark",
        help="time chip cutting from a large scene against a script that goes patch by patch",
    )
    cutting.add_argument("--height", type=int, default=10_000, help="pixels of the scene that is made")
    cutting.add_argument("--width", type=int, default=10_000)
    cutting.add_argument("--chip-size", type=int, default=64)
    cutting.add_argument("--output", type=Path, default=Path("results/scratch/cutting"), help="folder")
    cutting.set_defaults(command=cutting_command)

    compare = commands.add_parser(
        "compare-labellers",
        help="train several networks as labeller, choose on validation, test the chosen once",
    )
    compare.add_argument(
        "--study", type=Path, default=Path("config/laptop.yaml"), help="its config; stage 01 done"
    )
    compare.add_argument(
        "--architectures", nargs="+", metavar="name", help="three or more; all small ones if left out"
    )
    compare.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    compare.add_argument(
        "--steps", type=int, help="optimiser steps each, if not those of the study's labeller"
    )
    compare.add_argument("--fold", type=int, default=0)
    compare.add_argument("--output", type=Path, default=Path("results/scratch/labellers"), help="folder")
    compare.set_defaults(command=compare_labellers_command)

    unlock = commands.add_parser("unlock", help="remove Snakemake's lock if the run that held it is dead")
    unlock.set_defaults(command=unlock_command)
    return parser


def run_notebook_command(arguments: argparse.Namespace) -> None:
    """Run a notebook; this process and its kernel end with whoever started it."""
    from groundsynth.workflow.process_watch import die_with_parent
    from groundsynth.workflow.runner import run_notebook

    die_with_parent()
    run_notebook(arguments.notebook, arguments.parameters, arguments.output, arguments.log, arguments.threads)


def fetch_command(arguments: argparse.Namespace) -> None:
    """Download every source unless it is there, and say where each lies."""
    from groundsynth.artifacts import write_json
    from groundsynth.config import load_study
    from groundsynth.data.fetch import fetch_source, plain_options
    from groundsynth.data.verify import read_note

    options = load_study(arguments.study).data if arguments.study else plain_options(arguments.sources)
    there = {}
    for name in options.sources:
        folder = fetch_source(options, name)
        there[name] = read_note(folder)
        print(folder)
    if arguments.note:
        write_json(arguments.note, there)


def config_command(arguments: argparse.Namespace) -> None:
    """Write ``config/laptop.yaml``: defaults and comments from the source, scale from the file."""
    from groundsynth.paths import project_root
    from groundsynth.workflow.render_config import render_laptop

    path = project_root() / "config" / "laptop.yaml"
    path.write_text(render_laptop(path), encoding="utf-8")
    print(path)


def pages_command(arguments: argparse.Namespace) -> None:
    """Render every executed notebook and the report's first page."""
    from groundsynth.report.pages import build_pages

    print(build_pages(arguments.study))


def publish_command(arguments: argparse.Namespace) -> None:
    """Copy what a study shows to ``results/published/<study>``."""
    from groundsynth.report.publish import publish_study

    print(publish_study(arguments.study))


def cutting_command(arguments: argparse.Namespace) -> None:
    """Measure, and write ``cutting.json`` (all numbers) and ``metrics.csv`` (two of them)."""
    from groundsynth.artifacts import write_json, write_metrics
    from groundsynth.benchmark.cutting import compare_cutting, cutting_rows
    from groundsynth.paths import project_root

    folder = project_root() / arguments.output
    measured = compare_cutting(folder, arguments.height, arguments.width, arguments.chip_size)
    write_json(folder / "cutting.json", measured)
    write_metrics(cutting_rows(folder.name, measured), folder / "metrics.csv")
    print(json.dumps(measured, indent=2))


def compare_labellers_command(arguments: argparse.Namespace) -> None:
    """Train, choose, test; write learning curves, counts, ``metrics.csv`` and a figure."""
    from functools import partial

    from tqdm.auto import tqdm

    from groundsynth.artifacts import write_metrics, write_table
    from groundsynth.benchmark.labeller_comparison import DEFAULT, compare_labellers
    from groundsynth.config import load_study
    from groundsynth.models.device import pick_device
    from groundsynth.paths import project_root, results_dir
    from groundsynth.report.labeller_figures import comparison_caption, comparison_figure
    from groundsynth.report.style import save_figure

    study = load_study(arguments.study)
    if arguments.steps:
        shorter = study.label.model_copy(update={"steps": arguments.steps})
        study = study.model_copy(update={"label": shorter})
    folder = project_root() / arguments.output
    history, counts, rows = compare_labellers(
        study, arguments.fold, arguments.architectures or DEFAULT, arguments.seeds,
        results_dir(study.study) / "checkpoints" / "labellers", pick_device(study.device),
        partial(tqdm, desc="trainings"),
    )  # fmt: skip
    write_table(history, folder / "history.csv", "history")
    write_table(counts, folder / "counts.csv", "counts")
    metrics = write_metrics(rows, folder / "metrics.csv")
    caption = comparison_caption(metrics)
    print(save_figure(comparison_figure(metrics), folder / "labellers.png", caption))
    print(caption)


def unlock_command(arguments: argparse.Namespace) -> None:
    """Remove a stale lock; a live run keeps its own."""
    from groundsynth.workflow.stale_lock import unlock_if_stale

    unlock_if_stale()


def main(words: list[str] | None = None) -> int:
    """Run one command; an error the reader can cure is told without a traceback."""
    arguments = build_parser().parse_args(words)
    try:
        arguments.command(arguments)
    except GroundsynthError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
