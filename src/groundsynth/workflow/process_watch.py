"""A running process tree: its peak memory, its seconds over all attempts, and its end."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil

SAMPLE_SECONDS = 0.5
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


def die_with_parent() -> None:
    """Make the kernel of the operating system kill this process when its parent dies (Linux only).

    Elsewhere :class:`ProcessWatch` and IPython's own poller see it within a second.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def tree_rss_mb() -> float:
    """Return the resident memory of this process and all its descendants in MiB."""
    here = psutil.Process()
    total = 0
    for process in (here, *here.children(recursive=True)):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 2**20


class ProcessWatch(threading.Thread):
    """Samples memory and keeps the seconds of every attempt, also of those that were killed.

    Args:
        ledger: JSON file with the seconds of earlier attempts; removed by :meth:`settle`.
        key: what is attempted; the seconds of an attempt at something else do not count.
    """

    def __init__(self, ledger: Path, key: str) -> None:
        super().__init__(daemon=True)
        self.peak_rss_mb = 0.0
        self._ledger, self._key = ledger, key
        self._begun, self._parent = time.monotonic(), os.getppid()
        self._over = threading.Event()
        self._earlier, self.attempts = self._read()

    def __enter__(self) -> ProcessWatch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    @property
    def seconds(self) -> float:
        """Wall seconds of this attempt and of those before it that did not finish."""
        return self._earlier + time.monotonic() - self._begun

    def run(self) -> None:
        """Sample until the ``with`` block ends; leave with the parent where nothing else does it."""
        while not self._over.wait(SAMPLE_SECONDS):
            self.peak_rss_mb = max(self.peak_rss_mb, tree_rss_mb())
            self._ledger.write_text(
                json.dumps({"key": self._key, "seconds": self.seconds, "attempts": self.attempts})
            )
            if os.getppid() != self._parent:
                os._exit(1)

    def settle(self) -> None:
        """Forget the ledger: what was attempted is done."""
        self._ledger.unlink(missing_ok=True)

    def _read(self) -> tuple[float, int]:
        try:
            found = json.loads(self._ledger.read_text())
        except (OSError, ValueError):
            return 0.0, 1
        return (found["seconds"], found["attempts"] + 1) if found["key"] == self._key else (0.0, 1)
