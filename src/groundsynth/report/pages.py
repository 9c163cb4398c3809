"""Executed notebooks and the report as web pages that need no network and no script."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from functools import partial
from importlib.resources import files
from os.path import relpath
from pathlib import Path

import nbformat
import pandas as pd
from jinja2 import Environment
from nbconvert import HTMLExporter
from PIL import Image
from pygments.formatters import HtmlFormatter

from groundsynth.artifacts import atomic_path, read_table, write_json
from groundsynth.config import Study, load_study
from groundsynth.errors import GroundsynthError
from groundsynth.paths import project_root, results_dir
from groundsynth.report.earlier import read_note
from groundsynth.report.glossary import glossary
from groundsynth.report.manifest import build_manifest
from groundsynth.report.measurements import MEASUREMENTS, measured_folders
from groundsynth.report.provenance import by_stage, find_config, made_with
from groundsynth.report.style import read_caption
from groundsynth.report.tables import (
    REPORT,
    Folder,
    add_own_run,
    claim_sentence,
    folders_of,
    folds_of,
    headline,
    interval,
    minutes_table,
    of_stages,
    read_run,
    resampled_words,
    result_table,
)

WIDGETS = ("application/vnd.jupyter.widget-view+json", "application/vnd.jupyter.widget-state+json")
PAGE_PIXELS = 1440
# the order a reader wants: worth first, then pictures, truth, realism, cost
FIGURES = ("delta_miou", "pairs", "iou_by_class", "captioning", "agreement", "realism", "verdicts", "cost")
WIDE_PIXELS = 1200  # wider figures cannot be read at half the page's width
WIDE = 1.9  # width over height from which a figure takes the whole width, however small


def build_pages(study: str) -> Path:
    """Render every executed notebook and write ``index.html`` and ``manifest.json`` of a study.

    Args:
        study: name of a study whose stages have all run.

    Returns:
        ``results/<study>/09_report/index.html``.

    Raises:
        GroundsynthError: a stage's executed notebook or table is missing.
    """
    resolved = load_study(find_config(study))
    root = results_dir(study)
    folders = [*folders_of(resolved, root), Folder(REPORT, {}, root / REPORT)]
    metrics = of_stages(read_table(root / "metrics.csv", "metrics"))
    metrics = add_own_run(study, metrics, root / REPORT)
    minutes = minutes_table(resolved, metrics)
    manifest = build_manifest(resolved, root, minutes, runs_of(folders), made_of(folders))
    write_json(root / REPORT / "manifest.json", manifest)
    pages = [write_page(study, folder, root / REPORT / "pages") for folder in folders]
    index = root / REPORT / "index.html"
    _write(index, render_index(resolved, metrics, manifest, pages, root / REPORT, "../metrics.csv"))
    return index


def runs_of(folders: list[Folder]) -> list[dict]:
    """Return every run record there is, in order of stage."""
    return [run for run in (read_run(folder.path) for folder in folders) if run]


def made_of(folders: list[Folder]) -> list[dict]:
    """Return stage, config hash and commit of every executed notebook that shows them, in order of stage."""
    shown = [(f.stage, made_with(nbformat.read(executed_notebook(f), as_version=4))) for f in folders]
    return [{"stage": stage, **made} for stage, made in shown if made]


def page_name(folder: Folder) -> str:
    """Return a page's file name, unique in a study: the stage and what tells the folder apart."""
    return "-".join([folder.stage, *folder.tags.values()]) + ".html"


def executed_notebook(folder: Folder) -> Path:
    """Return the executed notebook of a folder.

    Raises:
        GroundsynthError: none is there, so the stage has not finished.
    """
    path = folder.path / f"{folder.stage}.ipynb"
    if not path.is_file():
        raise GroundsynthError(
            f"{path.name}: no executed notebook in {folder.path.name}, so stage {folder.stage} has not "
            "finished; run the study first: snakemake --cores all"
        )
    return path


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _template(name: str) -> str:
    return (files("groundsynth.report") / "templates" / name).read_text(encoding="utf-8")


def _render(name: str, **values: object) -> str:
    # a page's body is nbconvert's own HTML; everything else is escaped
    page = Environment(autoescape=True).from_string(_template(name))
    return page.render(css=_safe(_template("page.css")), **values)


def _safe(html: str) -> object:
    from markupsafe import Markup

    return Markup(html)


# --- a notebook's page -----------------------------------------------------------------------


def write_page(study: str, folder: Folder, target: Path) -> tuple[Folder, str]:
    """Render a folder's executed notebook into a page of ``target``; return the folder and the page's address."""
    notebook = nbformat.read(executed_notebook(folder), as_version=4)
    run = read_run(folder.path)
    html = _render(
        "page.html.j2",
        title=_title(notebook) or folder.stage,
        study=study,
        stage=folder.stage,
        label=label(folder),
        seconds=f"{run['seconds']:.0f}" if run else "",
        device=run.get("device", ""),
        code_css=_safe(HtmlFormatter(style="friendly").get_style_defs(".highlight")),
        body=_safe(notebook_body(notebook, _saved_figures(folder.path, target))),
    )
    _write(target / page_name(folder), scrub(html))
    return folder, f"pages/{page_name(folder)}"


def _saved_figures(folder: Path, pages: Path) -> dict[str, str]:
    """Return the addresses, seen from the pages, of a folder's figures, by the hash of their bytes."""
    return {_digest(path.read_bytes()): relpath(path, pages) for path in folder.glob("*.png")}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def label(folder: Folder) -> str:
    """Return what tells a folder from others of its stage, in words: 'unified-s0, joint'."""
    tags = folder.tags
    words = [tags[name] for name in ("generator", "system") if name in tags]
    if int(tags.get("shard", 0)):
        words.append(f"shard {tags['shard']}")
    if int(tags.get("fold", 0)):
        words.append(f"fold {tags['fold']}")
    return ", ".join(words)


def _title(notebook: nbformat.NotebookNode) -> str:
    first = notebook.cells[0].source.splitlines()[0] if notebook.cells else ""
    return first.lstrip("# ").strip()


def notebook_body(notebook: nbformat.NotebookNode, saved: dict[str, str] | None = None) -> str:
    """Return a notebook as an HTML fragment: no script, no remote address, no picture that lies beside it.

    Args:
        saved: addresses of figures by the hash of their bytes; the page links to these, and holds all others.
    """
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [kept for kept in map(_plain_output, _joined(cell.outputs)) if kept]
    exporter = HTMLExporter(
        template_name="basic",
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    body, _ = exporter.from_notebook_node(notebook)
    body = re.sub(r"<script\b.*?</script>", "", body, flags=re.DOTALL)
    body = re.sub(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)", partial(_repacked, saved or {}), body)
    return body.replace("<table", '<div class="scroll"><table').replace("</table>", "</table></div>")


def _joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Return outputs with those of one stream that follow each other as one: a progress bar comes in many pieces."""
    whole: list[nbformat.NotebookNode] = []
    for output in outputs:
        stream = output.get("name") if output.output_type == "stream" else None
        if stream and whole and whole[-1].get("name") == stream:
            whole[-1].text += output.text
        else:
            whole.append(output)
    return whole


def _plain_output(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """Return an output without widgets, and a progress bar as its last state only."""
    if output.output_type == "stream":
        lines = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in output.text.split("\n")]
        output.text = "\n".join(lines)
        return output if output.text.strip() else None
    if any(kind in output.get("data", {}) for kind in WIDGETS):
        return None
    return output


def _repacked(saved: dict[str, str], match: re.Match) -> str:
    """Return the address of a saved figure, else the data as lossy WebP of at most 1,440 pixels' width."""
    data = base64.b64decode(match.group(1))
    if _digest(data) in saved:
        return saved[_digest(data)]
    with Image.open(io.BytesIO(data)) as picture:
        picture = picture.convert("RGB")
        if picture.width > PAGE_PIXELS:
            height = round(picture.height * PAGE_PIXELS / picture.width)
            picture = picture.resize((PAGE_PIXELS, height), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", quality=82, method=4)
    if buffer.tell() >= len(data):
        return match.group(0)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def scrub(text: str) -> str:
    """Return text with the project's root and the home folder taken out of every path, and a kernel's names of cells."""
    text = re.sub(r"[^\s\"'<>]*/ipykernel_\d+/\d+\.py", "cell", text)
    for folder, short in ((str(project_root()), "."), (str(Path.home()), "~")):
        text = re.sub(rf"(?<![\w.~-]){re.escape(folder)}(?=[/\\\"'<\s:,;)\]]|$)", short, text)
    return text


# --- the index -------------------------------------------------------------------------------


def render_index(
    study: Study,
    metrics: pd.DataFrame,
    manifest: dict,
    pages: list[tuple[Folder, str]],
    folder: Path,
    metrics_href: str,
) -> str:
    """Return the report's first page: claim, table, figures, notebooks, manifest.

    Args:
        pages: every rendered folder with its address relative to the index.
        folder: where the index, the figures and their captions lie.
        metrics_href: address of the one table of numbers, relative to the index.
    """
    minutes = minutes_table(study, metrics)
    peak, results, shown = minutes["peak_rss_mb"].max(), result_table(metrics), headline(metrics)
    made = manifest.get("made_with") or [{"stage": "", **manifest}]  # older manifests have one for all
    return scrub(
        _render(
            "index.html.j2",
            manifest=manifest,
            claim=claim_sentence(metrics, study.study),
            folds=max(len(study.folds), folds_of(shown)[0]),
            over=resampled_words(shown),
            result=results,
            words=glossary(results, manifest["data"].get("primary_classes", [])),
            config_hash=by_stage(made, "config_hash"),
            commit=by_stage(made, "git_commit"),
            total=f"{minutes['measured'].sum():.1f} min measured, {minutes['planned'].sum():.0f} planned",
            memory=f"{peak / 1024:.1f} GiB" if peak == peak else "not recorded",
            figures=list_figures(folder),
            measurements=list_measurements(folder),
            stages=_stage_list(minutes, pages),
            config=json.dumps(manifest["config"], indent=2),
            metrics_href=metrics_href,
        )
    )


def list_figures(folder: Path) -> list[dict]:
    """Return the report's figures in reading order, with captions and sizes."""
    paths = [folder / f"{name}.png" for name in FIGURES]
    return _two_abreast([_figure(path, path.name) for path in paths if path.is_file()])


def list_measurements(folder: Path) -> list[dict]:
    """Return what commands measured beside the stages: title, address of the numbers, figures."""
    found = []
    for measured in measured_folders(folder.parent):
        near = f"../{measured.path.relative_to(folder.parent).as_posix()}"
        figures = _two_abreast(
            [_figure(path, f"{near}/{path.name}") for path in sorted(measured.path.glob("*.png"))]
        )
        title, name = MEASUREMENTS[measured.command].title, " ".join([measured.command, measured.run]).strip()
        note = read_note(measured.path)
        found.append(
            {
                "title": title,
                "name": name,
                "href": f"{near}/metrics.csv",
                "figures": figures,
                "rows": [] if figures else measured_words(measured.path),
                "note": note,
            }
        )
    return found


def measured_words(folder: Path) -> list[dict[str, str]]:
    """Return what a command measured as lines of words: of what, under which condition, and the number."""
    rows = read_table(folder / "metrics.csv", "metrics")
    return [
        {
            "of": " ".join([row["system"], row["arm"].replace("_", " "), row["class"]]).strip(),
            "where": row["regime"].replace("=", " ").replace(";", ", "),
            "measure": row["metric"].replace("_", " "),
            "number": interval(row),
            "n": f"{row['n']}" if pd.notna(row["n"]) else "–",
        }
        for _, row in rows.iterrows()
    ]


def _figure(path: Path, href: str) -> dict:
    with Image.open(path) as picture:
        width, height = picture.size
    return {"href": href, "title": path.stem.replace("_", " "), "caption": read_caption(path), "width": width,
            "height": height, "wide": width > WIDE_PIXELS or width / height > WIDE}  # fmt: skip


def _two_abreast(figures: list[dict]) -> list[dict]:
    """Return figures with those made wide that would stand beside nothing."""
    left = False  # whether the place at the left is taken
    for figure, following in zip(figures, [*figures[1:], {"wide": True}], strict=False):
        figure["wide"] |= not left and following["wide"]
        left = not figure["wide"] and not left
    return figures


def _stage_list(minutes: pd.DataFrame, pages: list[tuple[Folder, str]]) -> list[dict]:
    stages = []
    for row in minutes.itertuples():
        links = [
            {"href": href, "label": label(folder) or "notebook"}
            for folder, href in pages
            if folder.stage == row.stage
        ]
        measured = f"{row.measured:.1f}" if row.measured == row.measured else "–"
        stages.append(
            {"name": row.stage, "pages": links, "measured": measured, "planned": f"{row.planned:g}"}
        )
    return stages
