"""A study small enough to travel with the code: tables, figures, pages and manifest, nothing else."""

from __future__ import annotations

import getpass
import io
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from PIL import Image

from groundsynth.artifacts import atomic_path, read_json, read_table, write_json, write_table
from groundsynth.config import Study, load_study
from groundsynth.errors import GroundsynthError
from groundsynth.paths import project_root, published_dir, results_dir
from groundsynth.report.attempts import log_attempt
from groundsynth.report.earlier import keep_earlier, other_losses, read_note
from groundsynth.report.goals import FILE as GOALS_FILE
from groundsynth.report.goals import write_goals
from groundsynth.report.measurements import MEASUREMENTS, Measured, measured_folders
from groundsynth.report.pages import (
    build_pages,
    executed_notebook,
    made_of,
    page_name,
    render_index,
    scrub,
    write_page,
)
from groundsynth.report.pooling import COUNTS
from groundsynth.report.provenance import find_config, same_settings
from groundsynth.report.published_claims import write_claims
from groundsynth.report.readme import front_block, readme_block, replace_block
from groundsynth.report.style import read_caption
from groundsynth.report.tables import (
    REPORT,
    Folder,
    add_own_run,
    folders_of,
    of_stages,
    renew_measured,
)

SMALL_TABLES = (
    "metrics.csv", "run.json", "data.json", "blocks.csv", "loss.csv", "model_card.md", "agreement.csv",
    "certificate.csv", "thresholds.json", "runs.csv", "pooled.csv",
    "cost_of_gain.csv",
)  # fmt: skip
FURTHER_TABLES = ("metrics.csv", "run.json", "data.json", "loss.csv")  # of folds after the first
TABLE_BYTES = 300_000
STUDY_BYTES = 10_000_000
PICTURE_WIDTH = 1_200  # pixels
README_STUDY = "laptop"
ORDINARY_NAMES = {"root", "user", "admin", "runner", "ubuntu", "localhost"}
TEXT = {".csv", ".json", ".html", ".md", ".txt"}


def publish_study(study: str) -> Path:
    """Copy what a finished study shows to ``results/published/<study>``, whole or not at all, and log the attempt.

    Args:
        study: a study whose stages have all run; ``laptop`` also renews the table in the README.

    Returns:
        the published folder.

    Raises:
        GroundsynthError: a stage is missing, a file names this machine, or the copy is too large.
    """
    resolved = load_study(find_config(study))
    root = results_dir(study)
    folders = [*folders_of(resolved, root), Folder(REPORT, {}, root / REPORT)]
    require_finished(study, folders)
    build_pages(study)
    target = published_dir(study)
    with _exchanged(target) as copy:
        _fill(resolved, root, folders, copy, target)
    log_attempt(resolved, "publish", True)
    renew_overview(target.parent)
    return target


def publish_measured(study: str) -> Path:
    """Add what commands have measured since to a study that is published already, whole or not at all.

    A study need not be run again to the end for one more measurement: its generators are enough, if their trainings
    are those of the published study.

    Returns:
        the published folder.

    Raises:
        GroundsynthError: nothing measured, no published study, one of other settings, or generators of other losses.
    """
    resolved = load_study(find_config(study))
    root, target = results_dir(study), published_dir(study)
    found = measured_folders(root)
    if not found:
        raise GroundsynthError(
            f"results/{study}: no command has left numbers there; run one, such as python -m groundsynth "
            f"measure-obedience config/{study}.yaml"
        )
    if not (target / "manifest.json").is_file():
        raise GroundsynthError(
            f"results/published/{study}: not there, and measurements are added to a published study; publish it "
            f"whole: python -m groundsynth publish {study}"
        )
    _must_be_the_same(resolved, root, target)
    with _exchanged(target) as copy:
        shutil.copytree(target, copy)
        for picture in copy.rglob("*.png"):  # published when larger ones were allowed
            shrink_picture(picture, picture)
        for measured in found:
            place = copy / measured.path.relative_to(root)
            shutil.rmtree(place, ignore_errors=True)
            _copy_measured(measured, place)
        metrics = renew_measured(study, read_table(copy / "metrics.csv", "metrics"), copy)
        write_table(metrics, copy / "metrics.csv", "metrics")
        _write_index(resolved, copy, of_stages(metrics))
    renew_overview(target.parent)
    return target


def publish_report(study: str, folder: Path) -> Path:
    """Put a report that was made anew from a study's published tables in the place of the published one.

    Args:
        folder: what the report's notebook wrote, itself among it; the gathered ``metrics.csv`` lies beside the folder.

    Returns:
        the published folder.
    """
    resolved, target = load_study(find_config(study)), published_dir(study)
    made = Folder(REPORT, {}, folder)
    with _exchanged(target) as copy:
        shutil.copytree(target, copy)
        place = copy / REPORT
        for picture in place.glob("*.png"):
            picture.unlink()
            picture.with_suffix(".txt").unlink(missing_ok=True)
        _copy_small(folder, place, SMALL_TABLES)
        _copy_pictures(folder, place)
        _, page = write_page(study, made, folder / "pages")  # its figures lie beside it there as here
        _copy_text(folder / page, place / page)
        manifest = read_json(copy / "manifest.json", f"python -m groundsynth publish {study}")
        others = [one for one in manifest["made_with"] if one["stage"] != REPORT]
        manifest["made_with"] = [*others, *made_of([made])]
        for path in (copy / "manifest.json", place / "manifest.json"):
            write_json(path, manifest)
        metrics = read_table(folder.parent / "metrics.csv", "metrics")
        write_table(add_own_run(study, metrics, place), copy / "metrics.csv", "metrics")
        _write_index(resolved, copy, of_stages(metrics))
    renew_overview(target.parent)
    return target


@contextmanager
def _exchanged(target: Path) -> Iterator[Path]:
    """Give a folder to fill, which takes the place of a published study once it is whole, small and names no machine."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as temporary:
        copy = Path(temporary) / target.name
        yield copy
        verify_private(copy)
        verify_pictures(copy)
        _verify_size(copy)
        _replace(copy, target)


def renew_overview(folder: Path) -> pd.DataFrame:
    """Write what quotes published studies: claims, goals, gallery and README; return the claims (table 'published_claims').

    Args:
        folder: that of the published studies. The README quotes one of them; without it, it stays.
    """
    claims = write_claims(folder)
    write_goals(folder)
    _write_gallery(folder)
    if (folder / README_STUDY / "manifest.json").is_file():
        _renew_readme(folder)
    return claims


def require_same_settings(study: Study, target: Path) -> None:
    """Stop if a study was published with other settings than its config has now, or not at all."""
    published = read_json(target / "manifest.json", f"python -m groundsynth publish {study.study}")
    if not same_settings(published["config"], study):
        raise GroundsynthError(
            f"results/published/{study.study}: made with other settings than config/{study.study}.yaml has now; run and "
            f"publish it whole: python -m groundsynth publish {study.study}"
        )


def _must_be_the_same(study: Study, root: Path, target: Path) -> None:
    """Stop if a study was published with other settings, or has here a generator of other losses."""
    require_same_settings(study, target)
    losses = other_losses(root, target)
    if losses:
        raise GroundsynthError(
            f"{losses}: not the losses of the published study, so what was measured is of another generator; run and "
            f"publish the study whole: python -m groundsynth publish {study.study}"
        )


def _write_index(study: Study, root: Path, metrics: pd.DataFrame) -> None:
    """Write the first page of a published study again; its notebooks' pages stay."""
    manifest = read_json(root / REPORT / "manifest.json", f"python -m groundsynth publish {study.study}")
    folders = [*folders_of(study, root), Folder(REPORT, {}, root / REPORT)]
    pages = [(folder, f"pages/{page_name(folder)}") for folder in folders if _is_shown(study, folder)]
    text = render_index(study, metrics, manifest, pages, root / REPORT, "../metrics.csv")
    (root / REPORT / "index.html").write_text(text, encoding="utf-8")


def require_finished(study: str, folders: list[Folder]) -> None:
    """Stop unless every stage has left its executed notebook and, but for the report, its metrics.

    Raises:
        GroundsynthError: names the first stage that is missing.
    """
    for folder in folders:
        executed_notebook(folder)
        if folder.stage != REPORT and not (folder.path / "metrics.csv").is_file():
            raise GroundsynthError(
                f"results/{study}: stage {folder.stage} has no metrics.csv, and only a whole study is "
                f"published; run it: snakemake --cores all --configfile config/{study}.yaml"
            )


def _fill(study: Study, root: Path, folders: list[Folder], copy: Path, published: Path) -> None:
    """Copy what is small: of every fold its numbers, of the first its figures and executed notebooks, too.

    Args:
        published: the publication this one takes the place of, whose measurements it keeps if it has none of its own.
    """
    for folder in folders:
        place = copy / folder.path.relative_to(root)
        if _is_shown(study, folder):
            page = f"pages/{page_name(folder)}"
            _copy_text(root / REPORT / page, copy / REPORT / page)
            _copy_small(folder.path, place, SMALL_TABLES)
            _copy_pictures(folder.path, place)
        else:
            _copy_small(folder.path, place, FURTHER_TABLES)
    _copy_text(root / REPORT / "manifest.json", copy / REPORT / "manifest.json")
    if (root / REPORT / COUNTS).is_file():
        shutil.copyfile(root / REPORT / COUNTS, copy / REPORT / COUNTS)
    _copy_text(root / REPORT / "manifest.json", copy / "manifest.json")
    for measured in measured_folders(root):
        _copy_measured(measured, copy / measured.path.relative_to(root))
    keep_earlier(study, root, published, copy)
    metrics = add_own_run(study.study, read_table(root / "metrics.csv", "metrics"), root / REPORT)
    metrics = renew_measured(study.study, metrics, copy)
    write_table(metrics, copy / "metrics.csv", "metrics")
    _write_index(study, copy, of_stages(metrics))


def _is_shown(study: Study, folder: Folder) -> bool:
    """Say whether a folder's figures and notebook are published: those of the report, and of a study's first fold."""
    return folder.stage == REPORT or int(folder.tags.get("fold", study.folds[0])) == study.folds[0]


def _copy_small(source: Path, target: Path, tables: tuple[str, ...]) -> None:
    """Copy those of a folder's tables that are there and not too large."""
    for name in tables:
        path = source / name
        if path.is_file() and path.stat().st_size <= TABLE_BYTES:
            _copy_text(path, target / name)


def _copy_pictures(source: Path, target: Path) -> None:
    """Copy a folder's figures, made smaller, with their captions."""
    for picture in sorted(source.glob("*.png")):
        shrink_picture(picture, target / picture.name)
        if read_caption(picture):
            _copy_text(picture.with_suffix(".txt"), (target / picture.name).with_suffix(".txt"))


def _copy_measured(measured: Measured, target: Path) -> None:
    """Copy what a command left."""
    _copy_small(measured.path, target, (*SMALL_TABLES, *MEASUREMENTS[measured.command].tables))
    _copy_pictures(measured.path, target)


def _copy_text(source: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        temporary.write_text(scrub(source.read_text(encoding="utf-8")), encoding="utf-8")


def shrink_picture(source: Path, target: Path) -> None:
    """Write a picture as an optimised PNG of 256 colours: at most 1,200 pixels wide, or as wide as it is if that is smaller.

    Enlarged chips and maps are large even squares: resampled, these get soft edges of many colours, and the file grows.
    A picture that takes its own place was made so before: it becomes narrower, or stays as it is to the byte.
    """
    with Image.open(source) as picture:
        whole = picture.convert("RGB")
    ways = [source.read_bytes() if source == target else _packed(whole)]
    if whole.width > PICTURE_WIDTH:
        height = round(whole.height * PICTURE_WIDTH / whole.width)
        ways.append(_packed(whole.resize((PICTURE_WIDTH, height), Image.Resampling.LANCZOS)))
    with atomic_path(target) as temporary:
        temporary.write_bytes(min(ways, key=len))


def _packed(picture: Image.Image) -> bytes:
    # median cut gives rare colours away, and with them classes of a map: cropland turned green
    few = picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    few.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def private_words() -> list[str]:
    """Return what must not appear in a published file: this machine's paths, user and host name."""
    words = [str(project_root()) + "/", str(Path.home()) + "/", f"/home/{getpass.getuser()}"]
    words.append(f"{tempfile.gettempdir()}/")
    for name in (getpass.getuser(), platform.node()):
        if len(name) > 3 and name.lower() not in ORDINARY_NAMES:
            words.append(name)
    return words


def verify_private(folder: Path, words: list[str] | None = None) -> None:
    """Stop if a text file names this machine.

    Args:
        folder: every ``csv``, ``json``, ``html``, ``md`` and ``txt`` file below it is read.
        words: what to look for; :func:`private_words` by default.

    Raises:
        GroundsynthError: names the first file and what it holds.
    """
    wanted = private_words() if words is None else words
    pattern = re.compile("|".join(rf"(?<![\w.~-]){re.escape(word)}" for word in wanted))
    for path in sorted(folder.rglob("*")):
        if path.suffix not in TEXT or not path.is_file():
            continue
        # an embedded picture's letters are no words
        text = re.sub(r"base64,[A-Za-z0-9+/=\s]+", "", path.read_text(encoding="utf-8"))
        found = pattern.search(text)
        if found:
            raise GroundsynthError(
                f"{path.relative_to(folder)}: holds '{found.group(0)}', which names the machine it was made "
                "on; a published file must not: print relative paths in the notebook that made it"
            )


def verify_pictures(folder: Path) -> None:
    """Stop if a page below a folder shows a picture that is not there, or lies outside.

    Raises:
        GroundsynthError: names the first page and the picture.
    """
    for page in sorted(folder.rglob("*.html")):
        text = page.read_text(encoding="utf-8")
        for address in re.findall(r'<img[^>]* src="(?!data:)([^"]+)"', text):
            picture = (page.parent / address).resolve()
            if not (picture.is_file() and picture.is_relative_to(folder.resolve())):
                raise GroundsynthError(
                    f"{page.relative_to(folder)}: shows {address}, which is not published with it; make the pages of "
                    "this study anew: snakemake --cores all pages"
                )


def _verify_size(folder: Path) -> None:
    sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    if sum(sizes.values()) > STUDY_BYTES:
        largest = max(sizes, key=sizes.get)
        raise GroundsynthError(
            f"{folder.name}: {sum(sizes.values()) / 1e6:.1f} MB, and a published study may have "
            f"{STUDY_BYTES / 1e6:.0f}; the largest file is {largest.relative_to(folder)}: make it smaller"
        )


def _replace(copy: Path, target: Path) -> None:
    """Put ``copy`` where ``target`` is; the old folder goes only when the new one is whole."""
    old = copy.with_name("old")
    if target.exists():
        os.replace(target, old)
    copy.chmod(0o755)
    os.replace(copy, target)


# --- what is renewed beside it ---------------------------------------------------------------


def _renew_readme(folder: Path) -> None:
    """Write what was found between the markers of ``README.md``."""
    readme = project_root() / "README.md"
    text = replace_block(readme.read_text(encoding="utf-8"), front_block(folder, README_STUDY))
    with atomic_path(readme) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _write_gallery(folder: Path) -> None:
    """Write ``README.md`` of the published studies: their figures as pictures, with captions."""
    parts = [
        "# Published studies",
        "Written by `snakemake publish`: small tables, figures and executed notebooks of whole studies. "
        "Download a study and open its `09_report/index.html` for the full report with every notebook; of several folds, "
        "the first is shown and all are in the numbers.",
        "[What became of the published claims](claims.md): each claim, its published number, ours with its interval, "
        "and the verdict.",
    ]
    if (folder / GOALS_FILE).is_file():
        parts.append(
            f"[Were the goals met?]({GOALS_FILE}) What generated chips should reach, and what they did over several folds."
        )
    for manifest in sorted(folder.glob("*/manifest.json")):
        study = manifest.parent
        parts += [f"## {study.name}", readme_block(study, study.name)]
        parts += _shown(study / REPORT, folder)
        measured = measured_folders(study)
        if measured:
            parts.append("### Further measurements")
        for each in measured:
            numbers = (each.path / "metrics.csv").relative_to(folder).as_posix()
            parts += [
                f"**{MEASUREMENTS[each.command].title}** ([`{each.command}`]({numbers}){_run_words(each)})"
            ]
            parts += [read_note(each.path)] if read_note(each.path) else []
            parts += _shown(each.path, folder)
    with atomic_path(folder / "README.md") as temporary:
        temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    _write_data_licence(folder)


def _run_words(measured: Measured) -> str:
    return f", {measured.run}" if measured.run else ""


def _shown(source: Path, folder: Path) -> list[str]:
    """Return a folder's figures with their captions as Markdown, with addresses relative to the gallery."""
    parts = []
    for picture in sorted(source.glob("*.png")):
        address = picture.relative_to(folder).as_posix()
        parts += [f"![{picture.stem.replace('_', ' ')}]({address})", f"*{read_caption(picture)}*"]
    return parts


def _write_data_licence(folder: Path) -> None:
    lines = ["Images and maps in this folder, and those inside its pages, are derived from:", ""]
    known = {}
    for path in sorted(folder.glob("*/01_prepare_data/fold*/data.json")):
        data = read_json(path, "snakemake publish")
        for part in data.get("sources", [data]):  # a study published before there were several names one
            known[part["source"]] = f"- {part['title']}: {part['licence']}; {part['citation']}"
    lines += [*known.values(), "", "They are under that licence, not under the licence of the code."]
    with atomic_path(folder / "LICENSE-DATA") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
