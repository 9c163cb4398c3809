"""Files and the hashes they must have; ``scene.json``, written last, notes a whole source."""

from __future__ import annotations

import hashlib
from pathlib import Path

from groundsynth.artifacts import read_json
from groundsynth.atomic import write_json
from groundsynth.data.source_kinds import Source
from groundsynth.errors import GroundsynthError

NOTE = "scene.json"


def digest_of(path: Path, algorithm: str = "sha256") -> str:
    """Return the hash of a file in hexadecimal digits; ``algorithm`` is ``sha256`` or ``md5``."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def check_file(path: Path, digest: str, size: int | None = None) -> Path:
    """Return ``path`` if it is the expected file, byte for byte.

    Args:
        digest: ``sha256:<hex>`` or ``md5:<hex>``.
        size: its length in bytes, if known.

    Raises:
        GroundsynthError: truncated, or another file under the same name.
    """
    found = path.stat().st_size
    if size is not None and found < size:
        raise GroundsynthError(
            f"{path}: truncated at {found} of {size} bytes; delete it and run again, or place a whole copy there"
        )
    algorithm, _, expected = digest.partition(":")
    actual = digest_of(path, algorithm)
    if actual != expected:
        raise GroundsynthError(
            f"{path}: its {algorithm} is {actual}, not {expected}; it is not the file this study was made with: "
            "delete it and run again"
        )
    return path


def write_note(source: Source, folder: Path, names: list[str], **more: object) -> None:
    """Write ``scene.json``: whose the data are, and the sha256 of every file.

    Args:
        names: files of the source, relative to ``folder``.
        more: further facts of its kind.
    """
    about = dict(source=source.name, title=source.title, licence=source.licence, citation=source.citation)
    hashes = {name: digest_of(folder / name) for name in names}
    write_json(folder / NOTE, {**about, **more, "files": hashes})


def read_note(folder: Path) -> dict:
    """Return ``scene.json``, or ``{}`` where there is none yet."""
    note = folder / NOTE
    return read_json(note, "delete it and run again") if note.is_file() else {}


def is_verified(folder: Path, names: list[str]) -> bool:
    """Return whether the folder holds exactly these files with the hashes noted for them."""
    noted = read_note(folder).get("files", {})
    return set(noted) == set(names) and all(
        (folder / name).is_file() and digest_of(folder / name) == digest for name, digest in noted.items()
    )
