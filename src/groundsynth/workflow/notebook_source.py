"""What a source notebook holds: its cells, its parameters, and which of its cells stopped."""

from __future__ import annotations

import ast
import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundsynth.errors import GroundsynthError


@dataclass(frozen=True)
class Cell:
    """One cell: ``kind`` is ``code`` or ``markdown``."""

    kind: str
    source: str
    tags: tuple[str, ...]


def read_cells(notebook: Path) -> list[Cell]:
    """Return the cells of a notebook file.

    Raises:
        GroundsynthError: no such file, or not a notebook.
    """
    try:
        cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
        return [
            Cell(c["cell_type"], "".join(c["source"]), tuple(c["metadata"].get("tags", ()))) for c in cells
        ]
    except FileNotFoundError:
        raise GroundsynthError(f"{notebook}: no such notebook; notebooks/ holds one per stage") from None
    except (ValueError, KeyError, TypeError) as error:
        raise GroundsynthError(f"{notebook}: not a notebook ({error!r}); restore it from git") from None


def parameter_defaults(notebook: Path) -> dict[str, Any]:
    """Return the names and default values of the cell tagged ``parameters``.

    Raises:
        GroundsynthError: not exactly one such cell, or a line that is no ``name = literal``.
    """
    tagged = [cell for cell in read_cells(notebook) if "parameters" in cell.tags]
    if len(tagged) != 1:
        raise GroundsynthError(
            f"{notebook}: {len(tagged)} cells are tagged 'parameters' and one is needed; tag the second cell"
        )
    defaults = {}
    for node in ast.parse(tagged[0].source).body:
        try:
            (target,) = node.targets
            defaults[target.id] = ast.literal_eval(node.value)
        except (AttributeError, ValueError):
            raise GroundsynthError(
                f"{notebook}: '{ast.unparse(node)}' in the parameters cell is not of the form "
                "name = literal; compute it in a later cell"
            ) from None
    return defaults


def check_parameters(notebook: Path, given: Mapping[str, Any]) -> None:
    """Stop unless ``given`` names exactly what the notebook's ``parameters`` cell names.

    Raises:
        GroundsynthError: a name only one side has, with the nearest name of the other side.
    """
    known = parameter_defaults(notebook)
    name = Path(notebook).name
    for odd in sorted(set(given) - set(known)):
        near = difflib.get_close_matches(odd, known, n=1)
        cure = f"did you mean '{near[0]}'?" if near else f"it has: {', '.join(known)}"
        raise GroundsynthError(f"{name}: parameter '{odd}' is not in its parameters cell; {cure}")
    for odd in sorted(set(known) - set(given)):
        raise GroundsynthError(
            f"{name}: its parameter '{odd}' is not given by the rule; give it in "
            "groundsynth/workflow/parameters.py or take it out of the cell"
        )


def nearest_heading(cells: list[Cell], index: int) -> str:
    """Return the text of the last Markdown heading at or above a cell; empty if there is none."""
    for cell in reversed(cells[: index + 1]):
        headings = [line for line in cell.source.splitlines() if line.startswith("#")]
        if cell.kind == "markdown" and headings:
            return headings[-1].lstrip("# ").strip()
    return ""
