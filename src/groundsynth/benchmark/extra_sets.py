"""Training sets that are chosen: filtered labels, certified chips, layouts with fewer images, hidden real chips.

The self-training control asks whether a gain of synthetic chips is the labeller's knowledge passed
on: the same labeller labels real chips of the hidden blocks, whose reference no arm ever sees.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from groundsynth.arm_names import CERTIFIED_SETS, DIVERSITY_SETS, RARE_SET, SELF_TRAINING
from groundsynth.artifacts import read_chips, read_table, remake_command
from groundsynth.benchmark.arms import Arm
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL
from groundsynth.paths import stage_dir
from groundsynth.seeds import rng

HIDDEN = "hidden"  # the split whose labels no real arm may see


def self_training_chips(real: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """Return the hidden real chips with the labeller's maps in the place of their reference.

    Args:
        real: real chips with column split; labels: stage 04's label maps.

    Returns:
        columns chip_id, system, image, mask.

    Raises:
        GroundsynthError: no hidden chip, or one without a label.
    """
    hidden = real[real["split"] == HIDDEN].drop(columns="mask")
    if not len(hidden):
        raise GroundsynthError(
            f"no real chip in split '{HIDDEN}'; arm real+{SELF_TRAINING} needs some, so raise "
            "data.hidden_blocks"
        )
    named = labels.set_index("chip_id")["mask"]
    missing = hidden.loc[~hidden["chip_id"].isin(named.index), "chip_id"]
    if len(missing):
        raise GroundsynthError(
            f"hidden chip '{missing.iloc[0]}' has no label; stage 04 labels every held-out chip, so force "
            "it to run"
        )
    masks = [named[chip] for chip in hidden["chip_id"]]
    chips = hidden.assign(system=SELF_TRAINING, mask=masks)
    return chips[["chip_id", "system", "image", "mask"]].reset_index(drop=True)


def filtered_chips(study: str, fold: int, name: str, chips: pd.DataFrame) -> pd.DataFrame:
    """Return one system's chips with the labels a filter left, each as often as the filter says.

    Args:
        chips: of one system, columns chip_id, system, image, mask.

    Raises:
        GroundsynthError: no such file, or a chip it does not hold.
    """
    path = stage_dir(study, "04_label", fold) / f"filtered_{name}.parquet"
    table = read_chips(path, "filtered").set_index("chip_id")
    missing = chips.loc[~chips["chip_id"].isin(table.index), "chip_id"]
    if len(missing):
        raise GroundsynthError(
            f"{path}: chip '{missing.iloc[0]}' is missing; a filter judges every chip of a benchmark, so "
            "remake it: "
            f"{remake_command(path)}"
        )
    table = table.loc[chips["chip_id"]]
    kept = chips.assign(mask=table["mask"].to_list())
    return kept.loc[kept.index.repeat(table["copies"])].reset_index(drop=True)


def certified_chips(study: str, fold: int, name: str, chips: pd.DataFrame) -> pd.DataFrame:
    """Return the chips of one system that stage 06 kept, dropped, or as many at random.

    All three sets are as large as the smaller of kept and dropped, so that they differ in nothing but the
    choice; chips are drawn at random.

    Args:
        name: of ``config.CERTIFIED_SETS``; chips: of one system, columns chip_id, system, image, mask.

    Raises:
        GroundsynthError: no certificates, a chip without one, or no chip kept or none dropped.
    """
    path = stage_dir(study, "06_ground", fold) / "certificate.csv"
    verdicts = read_table(path, "certificate").set_index("chip_id")["verdict"]
    missing = chips.loc[~chips["chip_id"].isin(verdicts.index), "chip_id"]
    if len(missing):
        raise GroundsynthError(
            f"{path}: chip '{missing.iloc[0]}' has no certificate; every chip of a certified arm needs one, so "
            f"remake it: {remake_command(path)}"
        )
    kept = (verdicts.loc[chips["chip_id"]] == "keep").to_numpy()
    size = int(min(kept.sum(), (~kept).sum()))
    system = chips["system"].iloc[0] if len(chips) else ""
    if not size:
        raise GroundsynthError(
            f"{path}: of {len(kept)} chips of '{system}' {int(kept.sum())} are kept and {int((~kept).sum())} dropped; "
            "arms of equal size need some of both, so leave ':certified', ':dropped' and ':random' out"
        )
    pools = {
        "certified": np.flatnonzero(kept),
        "dropped": np.flatnonzero(~kept),
        "random": np.arange(len(kept)),
    }
    chosen = rng("certified_chips", name, system).permutation(pools[name])[:size]
    return chips.iloc[np.sort(chosen)].reset_index(drop=True)


def fewer_images(chips: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return as many chips of the same layouts, with one, half or all of the different images of each.

    Of a layout's n images the first 1, ⌈n/2⌉ or n are taken in turn until there are n again: what changes is
    diversity, neither the layouts nor the number of chips.

    Args:
        name: of ``arm_names.DIVERSITY_SETS``; chips: of one system, in the order they were drawn.

    Raises:
        GroundsynthError: no layout with several images.
    """
    layouts = chips.groupby(["generator", "condition", "condition_transform"], sort=False).indices.values()
    if max(map(len, layouts), default=0) < 2:
        raise GroundsynthError(
            f"':{name}' needs several images of a layout, and each of {len(chips)} chips has its own; raise "
            "generate.images_per_map"
        )
    share = dict(zip(DIVERSITY_SETS, (0.0, 0.5, 1.0), strict=True))[name]
    rows = [np.resize(rows[: max(1, math.ceil(share * len(rows)))], len(rows)) for rows in layouts]
    return chips.iloc[np.concatenate(rows)].reset_index(drop=True)


def _chosen(study: str, fold: int, name: str, chips: pd.DataFrame) -> pd.DataFrame:
    if name in CERTIFIED_SETS:
        return certified_chips(study, fold, name, chips)
    if name in DIVERSITY_SETS:
        return fewer_images(chips, name)
    if name == RARE_SET:
        return chips[chips["kind"] == RARE_SET].reset_index(drop=True)
    return filtered_chips(study, fold, name, chips)


def extra_sets(
    study: str, fold: int, arms: Sequence[Arm], chips: pd.DataFrame
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return images and masks of every filtered or chosen training set that arms ask for, by its source.

    Args:
        chips: all synthetic and self-training chips with the masks they would train with unfiltered; layouts are
            told apart by ``generator``, ``condition`` and ``condition_transform``, requests by ``kind``.

    Raises:
        GroundsynthError: a filter that leaves nothing.
    """
    sets = {}
    for arm in arms:
        if not arm.filter or arm.source in sets:
            continue
        own = chips[[arm.holds(system) for system in chips["system"]]].reset_index(drop=True)
        kept = _chosen(study, fold, arm.filter, own)
        if not len(kept) or all((mask == NO_LABEL).all() for mask in kept["mask"]):
            raise GroundsynthError(
                f"arm '{arm.name}': filter '{arm.filter}' leaves none of {len(own)} chips of "
                f"'{arm.system}'; drop the arm, or raise {_cure(arm.filter)}"
            )
        sets[arm.source] = (np.stack(kept["image"].to_list()), np.stack(kept["mask"].to_list()))
    return sets


def _cure(name: str) -> str:
    return "generate.samples" if name == RARE_SET else "label.keep_real"
