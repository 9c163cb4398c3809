"""The synthetic chips of a study, read over generators, systems and shards as one table."""

from __future__ import annotations

import pandas as pd

from groundsynth.artifacts import read_chips, read_table
from groundsynth.paths import stage_dir
from groundsynth.systems import drawn_pairs


def read_synthetic(
    study: str, fold: int, generators: list[str], systems: list[str], shards: int
) -> pd.DataFrame:
    """Return every synthetic chip of one fold (columns ``CHIPS['synthetic']``).

    Args:
        generators: names ``<policy>-s<seed>``, as stage 02 writes them.
        systems: names of ``groundsynth.systems``; each generator gives those that it can draw.
        shards: number of shards each system was generated in.
    """
    parts = [
        read_chips(
            stage_dir(study, "03_generate", fold, generator, system, str(shard)) / "chips.parquet",
            "synthetic",
        )
        for generator, system in drawn_pairs(generators, systems)
        for shard in range(shards)
    ]
    return pd.concat(parts, ignore_index=True)


def read_asked(study: str, fold: int, generators: list[str], systems: list[str], shards: int) -> pd.DataFrame:
    """Return what every sample of one fold was asked for (table ``asked``); arguments as above."""
    parts = [
        read_table(
            stage_dir(study, "03_generate", fold, generator, system, str(shard)) / "asked.csv", "asked"
        )
        for generator, system in drawn_pairs(generators, systems)
        for shard in range(shards)
    ]
    kept = [part for part in parts if len(part)] or parts[:1]
    return pd.concat(kept, ignore_index=True)
