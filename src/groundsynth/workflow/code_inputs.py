"""The code a stage depends on: a hash of its notebook's code, and the package files it imports.

Snakemake compares these by content, so touching a file or editing prose reruns nothing, and
editing one helper reruns only the stages that use it.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import grimp

from groundsynth.workflow.notebook_source import read_cells

PACKAGE = "groundsynth"


def code_hash(notebook: Path) -> str:
    """Return 16 hex digits of the code cells and which of them holds the parameters.

    Prose, outputs, cell ids and metadata do not count.
    """
    code = [(cell.source, "parameters" in cell.tags) for cell in read_cells(notebook) if cell.kind == "code"]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()[:16]


def package_files(notebook: Path) -> list[Path]:
    """Return the files of the package a notebook imports, directly or not, lazily or not."""
    code = (cell.source for cell in read_cells(notebook) if cell.kind == "code")
    return module_files(name for source in code for name in _imports(source))


def module_files(names: Iterable[str]) -> list[Path]:
    """Return the files of modules and of all they import."""
    return sorted(_file_of(module) for module in _closure(names))


def _imports(source: str) -> Iterable[str]:
    """Yield the package modules a piece of code imports; ``from a import b`` may name ``a.b``."""
    lines = [line for line in source.splitlines() if not line.lstrip().startswith("%")]
    for node in ast.walk(ast.parse("\n".join(lines))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{name}" for name in names)]
        yield from (name for name in names if name.split(".")[0] == PACKAGE and name in _graph().modules)


def _closure(names: Iterable[str]) -> set[str]:
    """Return the modules with all they import; importing ``a.b`` also runs ``a``."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += _graph().find_modules_directly_imported_by(module)
            waiting += [module.rpartition(".")[0]] if "." in module else []
    return found


@functools.cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph(PACKAGE, cache_dir=None)


def _file_of(module: str) -> Path:
    base = Path(__file__).parents[2].joinpath(*module.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
