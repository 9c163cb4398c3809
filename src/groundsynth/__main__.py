"""The commands behind the Makefile and the rules: ``python -m groundsynth <command>``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from groundsynth.errors import GroundsynthError

if TYPE_CHECKING:
    from groundsynth.config import Study

STAGE_05 = Path()  # --captioner without a folder


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
    way = publish.add_mutually_exclusive_group()
    way.add_argument(
        "--measured",
        action="store_true",
        help="add what commands have measured to the study as it is published",
    )
    way.add_argument(
        "--report",
        action="store_true",
        help="make the report of a study that is published, and not here, anew from its published tables",
    )
    publish.set_defaults(command=publish_command)

    attempt = commands.add_parser(
        "log-attempt", help="log what was tried on validation, with the test blocks left unread"
    )
    attempt.add_argument("study", type=Path, help="config of a study that ran with benchmark: {split: val}")
    attempt.add_argument("--note", required=True, help="what was tried, in a sentence")
    attempt.set_defaults(command=attempt_command)

    claims = commands.add_parser(
        "claims",
        help="hold every published study against config/claims.yaml and the goals: tables, figure, README",
    )
    claims.set_defaults(command=claims_command)

    cutting = commands.add_parser(
        "cutting-benchmark",
        help="time chip cutting from a large scene against a script that goes patch by patch",
    )
    cutting.add_argument("--height", type=int, default=10_000, help="pixels of the scene that is made")
    cutting.add_argument("--width", type=int, default=10_000)
    cutting.add_argument("--chip-size", type=int, default=64)
    cutting.add_argument("--output", type=Path, default=Path("results/scratch/cutting"), help="folder")
    cutting.set_defaults(command=cutting_command)

    scale = commands.add_parser(
        "ground-benchmark",
        help="time stage 06, and its memory, on more and more samples made from a finished study's",
    )
    scale.add_argument("study", type=Path, help="config of a study whose stages 01 to 05 have run")
    scale.add_argument("--samples", type=int, nargs="+", default=[1000, 2500, 10_000])
    scale.add_argument("--fold", type=int, default=0)
    scale.add_argument("--threads", type=int, default=2)
    scale.add_argument("--output", type=Path, help="folder; results/<study>/ground_scale by default")
    scale.set_defaults(command=scale_command)

    curve = commands.add_parser(
        "sampling-curve",
        help="measure quality and speed of a trained generator by solver and steps, churn and guidance",
    )
    curve.add_argument("study", type=Path, help="config of a study whose stages 01 and 02 have run")
    curve.add_argument("--generator", default="unified-s0")
    curve.add_argument("--system", default="joint")
    curve.add_argument("--fold", type=int, default=0)
    curve.add_argument("--samples", type=int, default=128, help="per way to sample")
    curve.add_argument("--ddpm-samples", type=int, default=16, help="of the stock loop, which is slow")
    curve.add_argument(
        "--batch-size", type=int, default=16, help="the same for every way, so that speeds compare"
    )
    solvers = ["dpmpp_2m", "euler", "heun"]
    curve.add_argument("--solvers", nargs="+", default=solvers, help=f"{', '.join(solvers)} by default")
    steps = [4, 5, 6, 8, 16, 32]
    curve.add_argument(
        "--steps", nargs="+", type=int, default=steps, help=f"{' '.join(map(str, steps))} by default"
    )
    curve.add_argument("--reference", type=int, default=250, help="steps of the yardstick of quality")
    curve.add_argument(
        "--churns",
        nargs="*",
        type=float,
        default=[],
        help="tried with solver heun; at most 0.41 × steps have an effect",
    )
    curve.add_argument("--guidances", nargs="*", type=float, default=[], help="tried with the study's solver")
    curve.add_argument(
        "--images-per-map", type=int, default=4, help="for system mask; above 1 gives diversity"
    )
    curve.add_argument(
        "--output", type=Path, help="folder; results/<study>/sampling_curve/<generator>-<system> by default"
    )
    curve.set_defaults(command=sampling_command)

    obedience = commands.add_parser(
        "measure-obedience",
        help="measure how well trained generators obey maps of unseen chips, and how varied they are then",
    )
    obedience.add_argument("study", type=Path, help="config of a study whose stages 01, 02 and 04 have run")
    obedience.add_argument(
        "--generator",
        nargs="+",
        dest="generators",
        default=["unified-s0"],
        help="one or more, in one figure; <study>/<generator> for one of another study of the same chips",
    )
    obedience.add_argument("--fold", type=int, default=0)
    obedience.add_argument(
        "--guidances",
        nargs="+",
        type=float,
        default=[1.0, 1.5, 2.0, 3.0],
        help="tried where policy is unified",
    )
    obedience.add_argument("--images-per-map", type=int, default=4, help="2 or more, for diversity")
    obedience.add_argument("--maps", type=int, help="most layouts per split; all if left out")
    obedience.add_argument("--output", type=Path, help="folder; results/<study>/obedience by default")
    obedience.set_defaults(command=obedience_command)

    layouts = commands.add_parser(
        "compare-layouts",
        help="draw images for real, transformed, edited and generated maps, and compare them with real ones",
    )
    layouts.add_argument("study", type=Path, help="config of a study whose stages 01, 02 and 04 have run")
    layouts.add_argument("--generator", default="unified-s0")
    layouts.add_argument("--fold", type=int, default=0)
    layouts.add_argument(
        "--layouts", nargs="+", default=["training", "transformed", "rare", "joint", "layout"]
    )
    layouts.add_argument("--maps", type=int, default=64, help="of each kind")
    layouts.add_argument("--images-per-map", type=int, default=2, help="2 or more, for diversity")
    layouts.add_argument("--output", type=Path, help="folder; results/<study>/layouts by default")
    layouts.set_defaults(command=layouts_command)

    routes = commands.add_parser(
        "compare-routes",
        help="draw pairs with image and map together and with the map first, and compare them with real ones",
    )
    routes.add_argument(
        "studies", type=Path, nargs="+", metavar="study",
        help="config of a study whose stages 01, 02 and 04 have run; more of the same chips to compare, such as "
        "one_hot",
    )  # fmt: skip
    routes.add_argument("--generator", default="unified-s0")
    routes.add_argument("--fold", type=int, default=0)
    routes.add_argument("--samples", type=int, default=128, help="pairs per route")
    routes.add_argument("--output", type=Path, help="folder; results/<study>/routes by default")
    routes.set_defaults(command=routes_command)

    double = commands.add_parser(
        "super-resolve",
        help="train a second diffusion model that doubles the side of pairs, measure it, and double generated ones",
    )
    double.add_argument("study", type=Path, help="config of a study whose stage 01 has run: the fine chips")
    double.add_argument(
        "--apply",
        type=Path,
        help="config of the study whose generated pairs are doubled; the same if left out",
    )
    double.add_argument("--fold", type=int, default=0)
    double.add_argument("--generator", default="unified-s0")
    double.add_argument("--system", default="joint")
    double.add_argument("--samples", type=int, default=128, help="held-out windows it is measured on")
    double.add_argument("--output", type=Path, help="folder; results/<study>/super_resolution by default")
    double.set_defaults(command=double_command)

    adapt = commands.add_parser(
        "adapt",
        help="fine-tune a pretrained text-to-image pipeline on a study's chips and captions, and draw",
    )
    adapt.add_argument("study", type=Path, help="config of a study with a section adapt")
    adapt.add_argument("--fold", type=int, default=0)
    adapt.set_defaults(command=adapt_command)

    batch = commands.add_parser(
        "caption-batch",
        help="write a fold's caption requests to files for a batch interface, or take its answers",
    )
    batch.add_argument("study", type=Path, help="config of the study")
    batch.add_argument("--writer", default="endpoint:image", help="one of the study's endpoint writers")
    batch.add_argument("--fold", type=int, default=0)
    way = batch.add_mutually_exclusive_group(required=True)
    way.add_argument("--export", type=Path, metavar="FOLDER", help="requests without a caption go here")
    way.add_argument("--answers", type=Path, nargs="+", metavar="FILE", help="answers of the batch interface")
    batch.set_defaults(command=batch_command)

    export = commands.add_parser("export-generator", help="save a trained generator as a diffusers pipeline")
    export.add_argument("study", type=Path, help="config of a study whose stage 02 has run")
    export.add_argument("--generator", default="unified-s0")
    export.add_argument("--fold", type=int, default=0)
    export.add_argument(
        "--output", type=Path, help="folder; results/<study>/pipelines/<generator> by default"
    )
    export.set_defaults(command=export_command)

    chips = commands.add_parser(
        "export-chips",
        help="write chips as GeoTIFF, PNG and WebDataset, each synthetic picture marked as such",
    )
    chips.add_argument("study", type=Path, help="config of a study whose stages 01 and 03 have run")
    chips.add_argument(
        "--system", nargs="+", metavar="name", help="systems, or real; all of them if left out"
    )
    chips.add_argument("--fold", type=int, default=0)
    chips.add_argument(
        "--kept", action="store_true", help="only chips whose certificate says keep, and real ones"
    )
    chips.add_argument("--output", type=Path, help="folder; results/<study>/export by default")
    chips.set_defaults(command=export_chips_command)

    marks = commands.add_parser(
        "check-marks", help="verify every file of an export: marks, manifests, hashes; fails on any fault"
    )
    marks.add_argument("folder", type=Path, help="written by export-chips")
    marks.add_argument("--anchors", type=Path, help="PEM certificates to trust; others count as a fault then")
    marks.add_argument("--output", type=Path, help="folder for checked.csv and metrics.csv; none by default")
    marks.set_defaults(command=check_marks_command)

    trial = commands.add_parser(
        "try-marks",
        help="export a study's chips with a certificate made for the trial, plant faults, count those reported",
    )
    trial.add_argument("study", type=Path, help="config of a study whose stages 01 and 03 have run")
    trial.add_argument(
        "--system", nargs="+", metavar="name", help="systems, or real; all of them if left out"
    )
    trial.add_argument("--fold", type=int, default=0)
    trial.add_argument("--output", type=Path, help="folder; results/<study>/marks by default")
    trial.set_defaults(command=try_marks_command)

    detect = commands.add_parser(
        "detect", help="train detectors of synthetic chips and test them on systems they never saw"
    )
    detect.add_argument("study", type=Path, help="config of a study whose stages 01 to 03 have run")
    detect.add_argument(
        "--also", nargs="*", type=Path, default=[], help="studies of the same chips with other systems"
    )
    detect.add_argument("--fold", type=int, default=0)
    detect.add_argument("--steps", type=int, default=200, help="of each detector's training")
    detect.add_argument("--seed", type=int, default=0)
    detect.add_argument(
        "--forged", type=int, default=48, help="real chips that a region is forged in, each way"
    )
    detect.add_argument("--held-out", type=int, default=256, help="windows of held-out ground to test on")
    detect.add_argument(
        "--captioner",
        type=Path,
        nargs="?",
        const=STAGE_05,
        metavar="FOLDER",
        help="also tune the captioner of stage 05 (or one in this folder) to answer real or synthetic",
    )
    detect.add_argument("--output", type=Path, help="folder; results/<study>/authenticity by default")
    detect.set_defaults(command=detect_command)

    compare = commands.add_parser(
        "compare-labellers",
        help="train several networks as labeller, choose on validation, test the chosen once",
    )
    compare.add_argument("study", type=Path, help="config of a study whose stage 01 has run")
    compare.add_argument(
        "--architectures", nargs="+", metavar="name", help="three or more; all small ones if left out"
    )
    compare.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    compare.add_argument(
        "--steps", type=int, help="optimiser steps each, if not those of the study's labeller"
    )
    compare.add_argument("--fold", type=int, default=0)
    compare.add_argument("--output", type=Path, help="folder; results/<study>/labellers by default")
    compare.set_defaults(command=compare_labellers_command)

    same = commands.add_parser(
        "aa-test",
        help="train on real chips many times over, and count how often stage 07's interval sees a difference",
    )
    same.add_argument("study", type=Path, help="config of a study whose stage 01 has run")
    same.add_argument("--folds", type=int, nargs="+", default=[0], help="the test blocks of all are counted")
    same.add_argument(
        "--arm", default="real", help="real chips alone; real@4 trains for four times the steps"
    )
    same.add_argument("--seeds", type=int, default=24, help="identical trainings; 12 and more")
    same.add_argument(
        "--half", type=int, default=12, help="seeds repeated with a part of the labelled blocks; 6 and more"
    )
    same.add_argument("--part", type=float, default=0.5, help="which share of the blocks these keep")
    same.add_argument("--comparisons", type=int, default=400, help="per size of group; 200 and more")
    same.add_argument(
        "--output",
        type=Path,
        help="folder; by default results/<study>/aa_test, and other arms and parts below it",
    )
    same.set_defaults(command=aa_command)

    certify = commands.add_parser(
        "certify-folds",
        help="set the certificate's limits and try them on the real test blocks of every fold, without a generator",
    )
    certify.add_argument("study", type=Path, help="config of a study whose stage 01 has run for these folds")
    certify.add_argument("--folds", nargs="+", type=int, help="all groups of blocks if left out")
    certify.add_argument("--output", type=Path, help="folder; results/<study>/certificate by default")
    certify.set_defaults(command=certify_folds_command, fold=0)

    policies = commands.add_parser(
        "compare-policies", help="compare a unified generator with generators of one policy each"
    )
    policies.add_argument("unified", type=Path, help="config of a finished study with policy unified")
    policies.add_argument("single", type=Path, help="config of one with single policies, on the same chips")
    policies.add_argument("--fold", type=int, default=0)
    policies.add_argument("--output", type=Path, help="folder; results/<study>/policies/<single> by default")
    policies.set_defaults(command=policies_command)

    contrast = commands.add_parser(
        "compare-contrastive",
        help="train image–text models on real, synthetic and mixed pairs, and test them on real ground",
    )
    contrast.add_argument("study", type=Path, help="config of a study whose stages 01 to 04 have run")
    contrast.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    contrast.add_argument("--steps", type=int, help="optimiser steps each, if not those of stage 06")
    contrast.add_argument("--fold", type=int, default=0)
    contrast.add_argument("--output", type=Path, help="folder; results/<study>/contrastive by default")
    contrast.set_defaults(command=compare_contrastive_command)

    clean = commands.add_parser(
        "clean-captions",
        help="find wrong captions of real chips with errors planted, describe them anew, and judge the result",
    )
    clean.add_argument("study", type=Path, help="config of a study whose stages 01 to 04 have run")
    clean.add_argument(
        "--rates", nargs="+", type=float, default=[0, 0.1, 0.25, 0.5], help="of planted errors"
    )
    clean.add_argument(
        "--seeds", nargs="*", type=int, default=[0, 1, 2], help="of the judges; none: no judge"
    )
    clean.add_argument("--steps", type=int, help="optimiser steps each, if not those of stage 06")
    clean.add_argument("--fold", type=int, default=0)
    clean.add_argument("--output", type=Path, help="folder; results/<study>/cleaning by default")
    clean.set_defaults(command=clean_captions_command)

    cleaned = commands.add_parser(
        "compare-cleaned",
        help="train text generators on uncleaned, cleaned and randomly dropped pairs, and judge what they draw",
    )
    cleaned.add_argument("study", type=Path, help="config of a study whose stages 01 to 04 have run")
    cleaned.add_argument("--rate", type=float, default=0.25, help="of captions made wrong on purpose")
    cleaned.add_argument("--steps", type=int, help="optimiser steps each, if not those of stage 02")
    cleaned.add_argument("--seeds", nargs="+", type=int, default=[0], help="of the trainings")
    cleaned.add_argument(
        "--start", help="folder of a trained generator to begin with, as published work does"
    )
    cleaned.add_argument("--samples", type=int, default=128, help="captions asked for, of validation windows")
    cleaned.add_argument(
        "--downstream", type=int, default=128, metavar="CHIPS",
        help="pairs drawn for captions of training chips, that a segmenter learns from and is tested; 0: none",
    )  # fmt: skip
    cleaned.add_argument("--fold", type=int, default=0)
    cleaned.add_argument(
        "--output", type=Path, help="folder; results/<study>/cleaned_training/<rate> by default"
    )
    cleaned.set_defaults(command=compare_cleaned_command)

    unlock = commands.add_parser("unlock", help="remove Snakemake's lock if the run that held it is dead")
    unlock.set_defaults(command=unlock_command)
    return parser


def folder_of(arguments: argparse.Namespace, study: Study, command: str, run: str = "") -> Path:
    """Return where a command writes: the folder named with ``--output``, else its own within the study's."""
    from groundsynth.paths import project_root
    from groundsynth.report.measurements import measured_dir

    if arguments.output:
        return project_root() / arguments.output
    return measured_dir(study.study, command, arguments.fold, run)


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
    """Copy what a study shows to ``results/published/<study>``, add what was measured since, or renew its report."""
    from groundsynth.report.publish import publish_measured, publish_study
    from groundsynth.workflow.renew_report import renew_report

    way = renew_report if arguments.report else publish_measured if arguments.measured else publish_study
    print(way(arguments.study))


def attempt_command(arguments: argparse.Namespace) -> None:
    """Append a row to ``results/attempts.csv``, unless it is there."""
    from groundsynth.config import load_study
    from groundsynth.report.attempts import attempts_path, log_validation

    added = log_validation(load_study(arguments.study), arguments.note)
    print(f"{attempts_path()}: {'one row more' if added else 'these settings are logged already'}")


def claims_command(arguments: argparse.Namespace) -> None:
    """Write what quotes the published studies, claims and goals foremost, and print the counts."""
    from groundsynth.paths import project_root
    from groundsynth.report.publish import renew_overview
    from groundsynth.report.published_claims import counted

    folder = project_root() / "results" / "published"
    print(counted(renew_overview(folder)))
    print(folder / "claims.md")


def scale_command(arguments: argparse.Namespace) -> None:
    """Measure, and write ``metrics.csv``: seconds and peak memory of stage 06 by number of samples."""
    from groundsynth.artifacts import write_metrics
    from groundsynth.config import load_study
    from groundsynth.paths import project_root
    from groundsynth.workflow.ground_scale import scale_rows, time_ground

    study, projects = load_study(arguments.study), project_root() / "results" / "scratch" / "ground_scale"
    measured = time_ground(study, arguments.fold, projects, arguments.samples, arguments.threads)
    folder = folder_of(arguments, study, "ground-benchmark")
    write_metrics(scale_rows(study.study, measured), folder / "metrics.csv")
    print(measured.to_string(index=False))


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


def sampling_command(arguments: argparse.Namespace) -> None:
    """Measure every way to sample; samples already drawn are kept, so a stopped run goes on."""
    from dataclasses import fields

    from groundsynth.config import load_study
    from groundsynth.workflow.sampling_study import Wanted, run_sampling_curve

    wanted = Wanted(**{field.name: getattr(arguments, field.name) for field in fields(Wanted)})
    study = load_study(arguments.study)
    folder = folder_of(arguments, study, "sampling-curve", f"{wanted.generator}-{wanted.system}")
    metrics = run_sampling_curve(study, wanted, folder)
    print(metrics[["regime", "metric", "value", "low", "high", "n"]].to_string(index=False))


def obedience_command(arguments: argparse.Namespace) -> None:
    """Measure obedience and diversity on unseen layouts; samples already drawn are kept, so a stopped run goes on."""
    from dataclasses import fields

    from groundsynth.config import load_study
    from groundsynth.workflow.obedience_study import Wanted, measure_obedience

    wanted = Wanted(**{field.name: getattr(arguments, field.name) for field in fields(Wanted)})
    study = load_study(arguments.study)
    metrics = measure_obedience(study, wanted, folder_of(arguments, study, "measure-obedience"))
    shown = metrics[metrics["class"] == ""]
    print(shown[["regime", "metric", "arm", "value", "low", "high", "n"]].to_string(index=False))


def layouts_command(arguments: argparse.Namespace) -> None:
    """Measure images of each kind of map; samples already drawn are kept, so a stopped run goes on."""
    from dataclasses import fields

    from groundsynth.config import load_study
    from groundsynth.workflow.layout_study import Wanted, compare_layouts

    wanted = Wanted(**{field.name: getattr(arguments, field.name) for field in fields(Wanted)})
    study = load_study(arguments.study)
    metrics = compare_layouts(study, wanted, folder_of(arguments, study, "compare-layouts"))
    shown = metrics[metrics["class"] == ""]
    print(shown[["system", "regime", "metric", "arm", "value", "low", "high", "n"]].to_string(index=False))


def routes_command(arguments: argparse.Namespace) -> None:
    """Measure both routes of each study's generator; pairs already drawn are kept, so a stopped run goes on."""
    from groundsynth.config import load_study
    from groundsynth.workflow.route_study import Wanted, compare_routes

    wanted = Wanted(arguments.generator, arguments.fold, arguments.samples)
    studies = [load_study(path) for path in arguments.studies]
    metrics = compare_routes(studies, wanted, folder_of(arguments, studies[0], "compare-routes"))
    shown = metrics[metrics["class"] == ""]
    columns = ["study", "system", "regime", "metric", "arm", "value", "low", "high", "n"]
    print(shown[columns].to_string(index=False))


def double_command(arguments: argparse.Namespace) -> None:
    """Train by the study's section ``super_resolution`` (resumed if it was stopped), measure, and double."""
    from groundsynth.config import load_study
    from groundsynth.workflow.super_resolution_study import Wanted, run_super_resolution

    study = load_study(arguments.study)
    coarse = load_study(arguments.apply) if arguments.apply else study
    wanted = Wanted(arguments.fold, arguments.generator, arguments.system, arguments.samples)
    metrics = run_super_resolution(study, coarse, wanted, folder_of(arguments, study, "super-resolve"))
    print(metrics[["regime", "metric", "system", "arm", "value", "low", "high", "n"]].to_string(index=False))


def adapt_command(arguments: argparse.Namespace) -> None:
    """Fine-tune by the study's section ``adapt``, and draw chips of system ``text``."""
    from groundsynth.config import load_study
    from groundsynth.models.adapt_study import adapt_study

    print(adapt_study(load_study(arguments.study), arguments.fold))


def batch_command(arguments: argparse.Namespace) -> None:
    """Write requests that have no caption yet, or take answers into the journal; print what became of them."""
    from groundsynth.config import load_study
    from groundsynth.workflow.caption_batch import export_fold, import_fold

    study = load_study(arguments.study)
    if arguments.export:
        print("\n".join(map(str, export_fold(study, arguments.fold, arguments.writer, arguments.export))))
    else:
        fates = import_fold(study, arguments.fold, arguments.writer, arguments.answers)
        print("\n".join(f"{count:>8}  {fate}" for fate, count in fates.most_common()))


def export_command(arguments: argparse.Namespace) -> None:
    """Write the pipeline folder with its model card, and say where it lies."""
    from groundsynth.config import load_study
    from groundsynth.paths import project_root, results_dir
    from groundsynth.workflow.export_generator import export_generator

    study = load_study(arguments.study)
    folder = arguments.output or results_dir(study.study) / "pipelines" / arguments.generator
    print(export_generator(study, arguments.generator, arguments.fold, project_root() / folder))


def export_chips_command(arguments: argparse.Namespace) -> None:
    """Write the folder, and say where it lies and what is in it."""
    from groundsynth.config import load_study
    from groundsynth.paths import project_root, results_dir
    from groundsynth.workflow.export_chips import export_chips

    study = load_study(arguments.study)
    folder = project_root() / (arguments.output or results_dir(study.study) / "export")
    listed = export_chips(study, folder, arguments.system, arguments.fold, arguments.kept)
    made, signed = int(listed["synthetic"].sum()), int(listed["signed"].sum())
    print(f"{len(listed)} files, {made} pictures marked as synthetic, {signed} of them signed\n{folder}")


def check_marks_command(arguments: argparse.Namespace) -> None:
    """Print how many files got which verdict, and every fault; stop with an error if there is one."""
    from groundsynth.workflow.export_chips import check_marks

    check_marks(arguments.folder, arguments.anchors, arguments.output)


def try_marks_command(arguments: argparse.Namespace) -> None:
    """Export into a temporary folder, check, plant faults, and print what was found."""
    from groundsynth.config import load_study
    from groundsynth.workflow.mark_trial import try_marks

    study = load_study(arguments.study)
    folder = folder_of(arguments, study, "try-marks")
    metrics = try_marks(study, arguments.fold, arguments.system, folder)
    print(metrics[["system", "arm", "regime", "value", "low", "high", "n"]].to_string(index=False))
    print(folder)


def detect_command(arguments: argparse.Namespace) -> None:
    """Train, test, draw; print what was measured."""
    from functools import partial

    from tqdm.auto import tqdm

    from groundsynth.config import load_study
    from groundsynth.workflow.detect_study import DetectSettings, captioner_of, detect_study

    study = load_study(arguments.study)
    folder = folder_of(arguments, study, "detect")
    if arguments.captioner == STAGE_05:
        arguments.captioner = captioner_of(study, arguments.fold)
    settings = DetectSettings(
        arguments.fold,
        arguments.steps,
        arguments.seed,
        arguments.forged,
        arguments.held_out,
        arguments.captioner,
    )
    others, bar = [load_study(path) for path in arguments.also], partial(tqdm, desc="detectors")
    metrics = detect_study(study, others, settings, folder, bar)
    print(metrics[["system", "arm", "regime", "metric", "value", "low", "high", "n"]].to_string(index=False))
    print(folder)


def compare_labellers_command(arguments: argparse.Namespace) -> None:
    """Train, choose, test; write learning curves, counts, ``metrics.csv`` and a figure."""
    from functools import partial

    from tqdm.auto import tqdm

    from groundsynth.artifacts import write_metrics, write_table
    from groundsynth.benchmark.labeller_comparison import DEFAULT, compare_labellers
    from groundsynth.config import load_study
    from groundsynth.models.device import pick_device
    from groundsynth.paths import results_dir
    from groundsynth.report.attempts import log_opening
    from groundsynth.report.labeller_figures import comparison_caption, comparison_figure
    from groundsynth.report.style import save_figure

    study = load_study(arguments.study)
    if arguments.steps:
        shorter = study.label.model_copy(update={"steps": arguments.steps})
        study = study.model_copy(update={"label": shorter})
    folder = folder_of(arguments, study, "compare-labellers")
    history, counts, rows = compare_labellers(
        study, arguments.fold, arguments.architectures or DEFAULT, arguments.seeds,
        results_dir(study.study) / "checkpoints" / "labellers", pick_device(study.device),
        partial(tqdm, desc="trainings"),
    )  # fmt: skip
    write_table(history, folder / "history.csv", "history")
    write_table(counts, folder / "counts.csv", "counts")
    metrics = write_metrics(rows, folder / "metrics.csv")
    chosen = counts.loc[counts["split"] == "test", "arm"].iloc[0]
    tried = f"{history['arm'].nunique()} labellers, {len(arguments.seeds)} seeds, {study.label.steps} steps"
    log_opening(study, "compare-labellers", tried, history["arm"].nunique(), chosen)
    caption = comparison_caption(metrics)
    print(save_figure(comparison_figure(metrics), folder / "labellers.png", caption))
    print(caption)


def aa_command(arguments: argparse.Namespace) -> None:
    """Train, compare, write; log that test chips were looked at; print what was measured and what follows."""
    from dataclasses import fields
    from functools import partial

    from tqdm.auto import tqdm

    from groundsynth.config import load_study
    from groundsynth.paths import project_root
    from groundsynth.report.aa_figures import aa_findings
    from groundsynth.report.attempts import log_opening
    from groundsynth.report.measurements import measured_dir
    from groundsynth.workflow.aa_study import Plan, run_aa_test

    study = load_study(arguments.study)
    wanted = {field.name: getattr(arguments, field.name) for field in fields(Plan)}
    plan, bar = Plan(**wanted | {"folds": tuple(arguments.folds)}), partial(tqdm, desc="trainings")
    fold = plan.folds[0] if len(plan.folds) == 1 else 0
    folder = project_root() / (arguments.output or measured_dir(study.study, "aa-test", fold, plan.run))
    metrics = run_aa_test(study, plan, folder, bar)
    log_opening(study, f"aa-test {plan.run}".strip(), "real chips alone, nothing chosen", 2, folds=plan.folds)
    print(metrics[["arm", "regime", "metric", "value", "low", "high", "n", "seeds"]].to_string(index=False))
    print(aa_findings(metrics))
    print(folder)


def certify_folds_command(arguments: argparse.Namespace) -> None:
    """Measure, judge, write; log that test blocks were looked at; print shares kept and dropped."""
    from functools import partial

    from tqdm.auto import tqdm

    from groundsynth.config import load_study
    from groundsynth.report.attempts import log_opening
    from groundsynth.workflow.certificate_study import certify_folds

    study = load_study(arguments.study)
    folder = folder_of(arguments, study, "certify-folds")
    folds = arguments.folds or range(study.data.folds)
    metrics = certify_folds(study, folds, folder, partial(tqdm, desc="folds"))
    log_opening(study, "certify-folds", "real windows alone, limits from validation")
    print(metrics[["metric", "arm", "regime", "value", "low", "high", "n"]].to_string(index=False))
    print(folder)


def policies_command(arguments: argparse.Namespace) -> None:
    """Measure cost, obedience and distance of both, and write them as metric rows."""
    from groundsynth.config import load_study
    from groundsynth.workflow.policy_study import compare_policies

    studies = load_study(arguments.unified), load_study(arguments.single)
    folder = folder_of(arguments, studies[0], "compare-policies", studies[1].study)
    metrics = compare_policies(*studies, arguments.fold, folder)
    print(metrics[["system", "regime", "metric", "value", "low", "high", "n"]].to_string(index=False))


def compare_contrastive_command(arguments: argparse.Namespace) -> None:
    """Train every arm and seed, test on held-out real ground, and write ``metrics.csv``."""
    from functools import partial

    from tqdm.auto import tqdm

    from groundsynth.config import load_study
    from groundsynth.report.attempts import log_opening
    from groundsynth.workflow.contrastive_study import compare_contrastive

    study = load_study(arguments.study)
    steps = arguments.steps or study.ground.contrastive_steps
    folder, bar = folder_of(arguments, study, "compare-contrastive"), partial(tqdm, desc="trainings")
    metrics = compare_contrastive(study, arguments.fold, arguments.seeds, steps, folder, bar)
    log_opening(study, "compare-contrastive", "image-text models, nothing chosen")
    print(metrics[["arm", "regime", "metric", "value", "low", "high", "n"]].to_string(index=False))


def clean_captions_command(arguments: argparse.Namespace) -> None:
    """Clean at every rate; write ``metrics.csv``, lists of what is kept with its captions, and figures."""
    from functools import partial

    from tqdm.auto import tqdm

    from groundsynth.checks.cleaning import PUBLISHED
    from groundsynth.config import load_study
    from groundsynth.report.attempts import log_opening
    from groundsynth.workflow.cleaning_study import clean_captions

    study = load_study(arguments.study)
    steps = arguments.steps or study.ground.contrastive_steps
    folder, bar = folder_of(arguments, study, "clean-captions"), partial(tqdm, desc="rates of planted errors")
    metrics = clean_captions(study, arguments.fold, arguments.rates, arguments.seeds, steps, folder, bar)
    log_opening(study, "clean-captions", "image-text models judge cleaned captions, nothing chosen")
    print(metrics[["arm", "regime", "metric", "value", "low", "high", "n"]].to_string(index=False))
    print("\nPublished, of a generator trained on cleaned pairs (not measured here):")
    print(PUBLISHED[["measure", "change", "against"]].drop_duplicates().to_string(index=False))


def compare_cleaned_command(arguments: argparse.Namespace) -> None:
    """Train, draw, judge; finished trainings and samples are kept, so a stopped run goes on."""
    from dataclasses import fields
    from functools import partial

    from tqdm.auto import tqdm

    from groundsynth.artifacts import read_table
    from groundsynth.config import load_study
    from groundsynth.report.attempts import log_opening
    from groundsynth.workflow.cleaned_training_study import Wanted, compare_cleaned

    study = load_study(arguments.study)
    wanted = Wanted(**{field.name: getattr(arguments, field.name) for field in fields(Wanted)})
    run = f"{wanted.rate:.2f}" + ("-fine_tuned" if wanted.start else "")
    folder, bar = folder_of(arguments, study, "compare-cleaned", run), partial(tqdm, desc="generators")
    metrics = compare_cleaned(study, wanted, folder, bar)
    if wanted.downstream and study.benchmark.split == "test":
        log_opening(study, "compare-cleaned", "segmenters of generated pairs alone, nothing chosen", 3)
    print(metrics[["arm", "regime", "metric", "value", "low", "high", "n"]].to_string(index=False))
    print("\nBeside what was published, of another generator:")
    print(read_table(folder / "comparators.csv", "comparators").to_string(index=False))


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
