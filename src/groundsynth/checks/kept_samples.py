"""What was drawn once is kept: arrays in a file whose name says everything that decided them."""

from __future__ import annotations

import hashlib
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from groundsynth.artifacts import atomic_path

Arrays = dict[str, np.ndarray]


def name_samples(*decides: object) -> str:
    """Return 16 hex digits that change with anything of what decides samples; arrays count by content."""
    digest = hashlib.sha256()
    for part in decides:
        digest.update(np.ascontiguousarray(part) if isinstance(part, np.ndarray) else repr(part).encode())
    return digest.hexdigest()[:16]


def keep_arrays(path: Path, make: Callable[[], Arrays]) -> Arrays:
    """Return the arrays in a file, or make and write them; a file that cannot be read is made again."""
    if path.is_file():
        try:
            with np.load(path) as kept:
                return {name: kept[name] for name in kept.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            tqdm.write(f"{path.name}: not readable; these samples are drawn again")
    arrays = make()
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)
    return arrays


def timed(make: Callable[[], Arrays], device: torch.device) -> Arrays:
    """Return what ``make`` returns, with ``seconds`` by the clock and of ``work``.

    Work is processor time on a CPU, all threads together, and time by the clock on a GPU.
    """
    began, begun = time.monotonic(), time.process_time()
    arrays = make()
    seconds = time.monotonic() - began
    work = time.process_time() - begun if device.type == "cpu" else seconds
    return arrays | {"seconds": np.array(seconds), "work": np.array(work)}
