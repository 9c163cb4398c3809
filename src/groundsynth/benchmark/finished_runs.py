"""Finished trainings of a benchmark, one file each, so that a killed stage loses one training at most."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from groundsynth.atomic import atomic_path

CODE = (  # what decides the numbers of a training; what reduces them later is not among it
    "benchmark/counting.py", "benchmark/metrics.py", "benchmark/mixing.py", "benchmark/segmentation.py",
    "benchmark/training_sets.py", "data/rare_objects.py", "legend.py", "models/encoder_weights.py",
    "models/reliability.py", "models/segmenter.py", "seeds.py",
)  # fmt: skip


def run_key(settings: object, arrays: Iterable[np.ndarray], code: Iterable[str] = CODE) -> str:
    """Name a training by everything that decides its numbers: settings, data and code.

    Args:
        settings: anything whose ``repr`` holds every setting.
        arrays: the chips it learns from and is counted on.
        code: patterns of the package's files that decide its numbers.
    """
    digest = hashlib.sha256(repr(settings).encode())
    package = Path(__file__).parents[1]
    for path in sorted(path for pattern in code for path in package.glob(pattern)):
        digest.update(path.read_bytes())
    for array in arrays:
        digest.update(repr((array.shape, str(array.dtype))).encode())
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()[:16]


def save_run(path: Path, tables: dict[str, pd.DataFrame], arrays: dict[str, np.ndarray]) -> None:
    """Write one finished training as a single ``.npz`` file, whole or not at all."""
    packed = {name: np.frombuffer(table.to_parquet(index=False), np.uint8) for name, table in tables.items()}
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **packed, **arrays)


def load_run(
    path: Path, tables: Iterable[str]
) -> tuple[dict[str, pd.DataFrame], dict[str, np.ndarray]] | None:
    """Return what :func:`save_run` wrote, or nothing if it is not there or not readable."""
    try:
        with np.load(path, allow_pickle=False) as held:
            packed = {name: held[name].tobytes() for name in tables}
            arrays = {name: held[name] for name in held.files if name not in packed}
        return {name: pd.read_parquet(io.BytesIO(data)) for name, data in packed.items()}, arrays
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
