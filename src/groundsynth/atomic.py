"""Files written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from groundsynth.errors import GroundsynthError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; rename it on success, remove it on failure.

    Raises:
        GroundsynthError: the disk is full, or the folder cannot be written to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise write_failure(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_failure(path: Path, error: OSError) -> GroundsynthError:
    """Return the one sentence about a file that could not be written."""
    return GroundsynthError(
        f"{path}: could not be written ({error.strerror or error}); free some space or choose "
        "another disk, then run the same command again: finished stages are kept"
    )


def write_json(path: Path, values: object) -> None:
    """Write ``values`` as indented JSON, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n")
