"""Imports point downwards, and the notebooks use the package through them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import grimp


def test_the_import_contract_holds(root):
    lint = Path(sys.executable).parent / "lint-imports"
    result = subprocess.run([lint, "--no-cache"], cwd=root, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_module_is_in_the_contract(root):
    """A module outside the layers could import anything."""
    import tomllib

    contract = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    named = {part.strip() for layer in contract["layers"] for part in layer.replace(":", "|").split("|")}
    present = grimp.build_graph("groundsynth", cache_dir=None).find_children("groundsynth")
    assert present == named
