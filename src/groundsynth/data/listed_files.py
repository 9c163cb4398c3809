"""Scenes that lie as single files on a web server: each is downloaded and verified by itself."""

from __future__ import annotations

from pathlib import Path

from groundsynth.config import Data
from groundsynth.data.download import download_files
from groundsynth.data.source_kinds import FilesSource
from groundsynth.data.verify import is_verified, write_note
from groundsynth.paths import raw_dir


def fetch(options: Data, spec: FilesSource) -> Path:
    """Return the folder ``data/raw/<source>`` that holds every file of the source, verified.

    Raises:
        GroundsynthError: a file that cannot be had, or is not the expected one.
    """
    folder = raw_dir() / spec.name
    names = [file.name for file in spec.files]
    if not is_verified(folder, names):
        download_files(spec.files, folder, mirror=options.mirror, offline=options.offline)
        write_note(spec, folder, names)
    return folder
