"""Rules every notebook keeps: valid, empty, short cells, prose first, parameters as its rule gives them."""

from __future__ import annotations

import ast
import statistics
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from groundsynth.config import STAGES, load_study
from groundsynth.workflow.notebook_source import parameter_defaults
from groundsynth.workflow.parameters import notebook_parameters

ROOT = Path(__file__).resolve().parents[1]
JOB = SimpleNamespace(fold=0, generator="unified-s0", system="joint", shard=0)


#: notebooks that people run and no rule does, with the first word of their titles
APART = {"human_rating": "Human rating", "cleaning": "Cleaning", "authenticity": "Authenticity"}


@pytest.fixture(params=(*STAGES, *APART))
def path(request):
    """Return each notebook."""
    return ROOT / "notebooks" / f"{request.param}.ipynb"


@pytest.fixture
def cells(path) -> list:
    return nbformat.read(path, as_version=4).cells


def code_of(cells: list) -> list[str]:
    return [cell.source for cell in cells if cell.cell_type == "code"]


def test_one_notebook_per_stage_and_those_apart():
    found = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert found == sorted((*STAGES, *APART))
    rules = "".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    assert not any(name in rules for name in APART)


def test_it_is_valid_and_stores_nothing(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    assert book.metadata.kernelspec.name == "python3"
    assert len({cell.id for cell in book.cells}) == len(book.cells)
    for cell in book.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_it_opens_with_title_question_and_parameters(path, cells):
    number = APART.get(path.stem) or path.stem.partition("_")[0]
    assert cells[0].cell_type == "markdown"
    assert cells[0].source.startswith(f"# {number} · ")
    assert all(f"**{word}" in cells[0].source for word in ("Question", "Reads", "Writes", "Minutes"))
    assert [i for i, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", [])] == [1]
    assert "provenance(" in next(source for source in code_of(cells)[1:])


def test_its_defaults_are_the_smoke_study(path):
    study = load_study(ROOT / "config" / "smoke.yaml")
    if path.stem in APART:
        assert parameter_defaults(path)["study"] == study.study
        return
    assert parameter_defaults(path) == notebook_parameters(study, path.stem, JOB) | {"out": ""}


def test_it_ends_with_what_was_learned_and_what_was_not(cells):
    headings = [line for cell in cells if cell.cell_type == "markdown" for line in cell.source.splitlines()]
    headings = [line for line in headings if line.startswith("## ")]
    assert headings[-2:] == ["## What we learned", "## What this does not show"]


def test_cells_are_short(cells):
    """All but the list of parameters, which has a line for each."""
    code = [cell for cell in cells if "parameters" not in cell.metadata.get("tags", [])]
    lengths = [len(source.splitlines()) for source in code_of(code)]
    assert statistics.median(lengths) <= 8
    assert max(lengths) <= 25


def test_prose_comes_before_every_code_cell(cells):
    """The parameters cell follows the title, and nothing but prose may stand before any other."""
    before = [cells[i - 1].cell_type for i, cell in enumerate(cells) if cell.cell_type == "code" and i > 2]
    assert set(before) == {"markdown"}


def test_there_is_more_prose_than_code(cells):
    words = sum(len(cell.source.split()) for cell in cells if cell.cell_type == "markdown")
    lines = sum(len(source.splitlines()) for source in code_of(cells))
    assert words >= 5 * lines


def test_it_holds_no_classes_shell_lines_or_long_helpers(cells):
    for source in code_of(cells):
        assert not any(line.lstrip().startswith(("!", "%pip", "%conda")) for line in source.splitlines())
        for node in ast.walk(ast.parse(source)):
            assert not isinstance(node, ast.ClassDef)
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 8, node.name


def test_it_uses_every_parameter(path, cells):
    """A parameter nobody reads would be a dead option."""
    code = "\n".join(code_of(cells)[1:])
    read = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    assert set(parameter_defaults(path)) <= read
