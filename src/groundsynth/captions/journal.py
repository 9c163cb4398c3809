"""What a model has written so far, one line each, so that a killed run loses nothing and repeats nothing.

A journal is a file of JSON lines that only grows. Each line is written by one call and is whole or, where
the machine stopped in its middle, broken: a broken last line is closed off and its caption written again.
A caption is found by its key, the hash of everything that decided it (model, prompt, picture, seed), so a
journal never answers for a chip that has changed, and one file can serve any number of runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from groundsynth.atomic import write_failure
from groundsynth.errors import GroundsynthError


def request_key(*parts: object) -> str:
    """Return 32 hex digits that depend on every part; bytes count as they are, all else as sorted JSON."""
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:32]


class Journal:
    """The lines of one file by key, and the right to add to it: one process at a time.

    Use it as a context; threads may share it.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.lines: dict[str, dict[str, Any]] = {}
        self._guard = threading.Lock()
        self._lock = FileLock(str(self.path) + ".lock")

    def __enter__(self) -> Journal:
        """Lock the file, read it, and close off a line that was cut.

        Raises:
            GroundsynthError: another process writes to it, or it cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except Timeout:
            raise GroundsynthError(
                f"{self.path}: another run is writing captions to it; wait for that one, or stop it"
            ) from None
        except OSError as error:
            raise write_failure(self.path, error) from error
        data = self.path.read_bytes()
        if data and not data.endswith(b"\n"):
            self._append(b"\n")
        self.lines = {line["key"]: line for line in _whole_lines(data)}
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)
        self._lock.release()

    def __contains__(self, key: str) -> bool:
        return key in self.lines

    def __getitem__(self, key: str) -> dict[str, Any]:
        return self.lines[key]

    def add(self, key: str, caption: str, **more: Any) -> bool:
        """Write one line unless the key has one; return whether it was written.

        Raises:
            GroundsynthError: a full disk; what was written before stays.
        """
        with self._guard:
            if key in self.lines:
                return False
            line = {"key": key, "caption": caption, **more}
            self._append(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            self.lines[key] = line
            return True

    def _append(self, data: bytes) -> None:
        try:
            written = os.write(self._file, data)
            if written < len(data):
                raise OSError(28, "No space left on device")
        except OSError as error:
            raise write_failure(self.path, error) from error


def _whole_lines(data: bytes) -> Iterator[dict[str, Any]]:
    """Yield the lines that can be read; what a stopped machine left broken is passed over."""
    for raw in data.split(b"\n"):
        try:
            line = json.loads(raw)
        except ValueError:
            continue
        if isinstance(line, dict) and {"key", "caption"} <= line.keys():
            yield line
