"""Which training chips a generator learns from, and what their captions are written from.

``clean-captions`` leaves a list of verdicts (``cleaned-<rate>.csv``) and beside it the maps that the captions it
keeps are written from (``.parquet``, same stem). A caption has to be written anew for every turn of a chip, so the
map is needed, not the text alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from groundsynth.artifacts import read_chips, read_table
from groundsynth.errors import GroundsynthError
from groundsynth.paths import project_root

AS_THEY_ARE = "as_they_are"
DROPPED = "drop"


def list_files(pairs: str) -> list[str]:
    """Return the files that ``generator.pairs`` stands for; none where all pairs are taken as they are.

    >>> list_files("results/s/cleaning/cleaned-0.00.csv")
    ['results/s/cleaning/cleaned-0.00.csv', 'results/s/cleaning/cleaned-0.00.parquet']
    """
    return [] if pairs == AS_THEY_ARE else [pairs, str(Path(pairs).with_suffix(".parquet"))]


def choose_pairs(chips: pd.DataFrame, pairs: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the training chips to learn from and the maps to describe them by, (n, h, w) uint8.

    Args:
        chips: all training chips (columns chip_id, mask and more).
        pairs: ``as_they_are`` takes all chips, each described by its own map; else the path of a keep list.

    Raises:
        GroundsynthError: a missing list, one of other chips, or one that keeps nothing.
    """
    if pairs == AS_THEY_ARE:
        return chips, np.stack(chips["mask"])
    table, described = _read_list(pairs)
    unknown = set(table["chip_id"]) ^ set(chips["chip_id"])
    if unknown:
        raise GroundsynthError(
            f"{pairs}: {len(unknown)} of its chips and this fold's {len(chips)} training chips are not in both, such as "
            f"'{min(unknown)}'; name a list that clean-captions made of the same chips and fold"
        )
    kept = table.loc[table["verdict"] != DROPPED, "chip_id"]
    maps = described.set_index("chip_id")["mask"]
    if set(kept) != set(maps.index) or not len(kept):
        raise GroundsynthError(
            f"{pairs}: keeps {len(kept)} chips, and the file beside it has maps of {len(maps)}; make both again with "
            "clean-captions"
        )
    chips = chips[chips["chip_id"].isin(set(kept))].reset_index(drop=True)
    return chips, np.stack([maps[chip] for chip in chips["chip_id"]])


def _read_list(pairs: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    table, maps = (project_root() / name for name in list_files(pairs))
    for path in (table, maps):
        if not path.is_file():
            raise GroundsynthError(
                f"{path.name}: missing in {path.parent}, where generator.pairs looks for it; make it: python -m groundsynth "
                "clean-captions config/<study>.yaml"
            )
    return read_table(table, "cleaned"), read_chips(maps, "described")
