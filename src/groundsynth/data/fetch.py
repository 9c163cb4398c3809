"""Bring a source to ``data/raw``: download once, verify before use, keep only what is needed."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType

from filelock import FileLock
from pydantic import ValidationError

from groundsynth.config import Data
from groundsynth.data import archives, folder, listed_files, packages, worldcover
from groundsynth.data.source_kinds import ArchiveSource, AreaSource, FilesSource, FolderSource, PackageSource
from groundsynth.data.sources import get_source
from groundsynth.errors import GroundsynthError
from groundsynth.paths import raw_dir

KINDS: dict[type, ModuleType] = {
    PackageSource: packages,
    FilesSource: listed_files,
    ArchiveSource: archives,
    AreaSource: worldcover,
    FolderSource: folder,
}


def fetch_source(options: Data, name: str) -> Path:
    """Return the folder that holds the verified files of a source; at once if they are there.

    Two runs that want the same source wait for each other.

    Args:
        options: the study's ``data`` section (``scenes``, ``mirror``, ``offline`` are read here).

    Raises:
        GroundsynthError: a file that cannot be had, or is not the expected one.
    """
    spec = get_source(name)
    raw_dir().mkdir(parents=True, exist_ok=True)
    lock = FileLock(raw_dir() / f".{spec.name}.lock") if os.access(raw_dir(), os.W_OK) else nullcontext()
    with lock:
        return KINDS[type(spec)].fetch(options, spec)


def plain_options(sources: list[str]) -> Data:
    """Return the settings to fetch sources with when no study states any.

    Raises:
        GroundsynthError: an unknown source, or one that needs settings of its own.
    """
    for name in sources:
        get_source(name)
    try:
        return Data(source=sources)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise GroundsynthError(f"{reason}: python -m groundsynth fetch --study config/<study>.yaml") from None
