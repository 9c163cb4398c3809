"""What several test files share."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The project folder."""
    return ROOT


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the file with the whole smoke study first: of two processes, one shall not wait for it at the end."""
    items.sort(key=lambda item: item.path.name != "test_workflow.py")
