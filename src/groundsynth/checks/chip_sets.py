"""The chips of one fold with the map each is described and judged by."""

from __future__ import annotations

import numpy as np
import pandas as pd

from groundsynth.artifacts import read_chips, remake_command
from groundsynth.data.synthetic import read_synthetic
from groundsynth.errors import GroundsynthError
from groundsynth.paths import stage_dir

COLUMNS = ["chip_id", "system", "split", "image", "mask"]
REAL_COLUMNS = [*COLUMNS, "block"]
NO_MAP = ("image",)  # systems that make images only: their map is the labeller's


def read_labels(study: str, fold: int) -> dict[str, np.ndarray]:
    """Return the labeller's map of every chip it labelled: chip_id to (h, w) uint8."""
    labels = read_chips(stage_dir(study, "04_label", fold) / "labels.parquet", "labels")
    return dict(zip(labels["chip_id"], labels["mask"], strict=True))


def read_described_chips(
    study: str, fold: int, generators: list[str], systems: list[str], shards: int
) -> pd.DataFrame:
    """Return every real and synthetic chip with the map its caption is written from.

    For a system that makes images only, that is the labeller's map. Chips of a held-out region wait
    for the test in another region and are left out.

    Returns:
        columns chip_id, system ('real' or a generating system), split (empty for synthetic chips),
        image (h, w, 3) and mask (h, w); for real chips also block; for synthetic ones also generator, seed,
        condition, model_hash.
    """
    path = stage_dir(study, "01_prepare_data", fold) / "chips.parquet"
    real = read_chips(path, "real", lambda chips: chips["split"] != "region")
    synthetic = read_synthetic(study, fold, generators, systems, shards).assign(split="")
    labels = read_labels(study, fold)
    missing = synthetic.loc[~synthetic["chip_id"].isin(list(labels)), "chip_id"]
    if len(missing):
        path = stage_dir(study, "04_label", fold) / "labels.parquet"
        raise GroundsynthError(
            f"{path}: {len(missing)} synthetic chips such as {missing.iloc[0]} have no label map; every chip "
            f"needs one, so remake it: {remake_command(path)}"
        )
    synthetic["mask"] = [
        labels[chip] if system in NO_MAP else mask
        for chip, system, mask in zip(
            synthetic["chip_id"], synthetic["system"], synthetic["mask"], strict=True
        )
    ]
    made = ["generator", "seed", "condition", "model_hash"]
    return pd.concat([real.assign(system="real")[REAL_COLUMNS], synthetic[COLUMNS + made]], ignore_index=True)


def stack(chips: pd.DataFrame, column: str) -> np.ndarray:
    """Return an image column as one array, (n, h, w, 3) or (n, h, w) uint8."""
    return np.stack(chips[column].to_list())
