"""How broken up a map is: what class shares do not tell.

A map of the right shares can still be confetti. Three numbers per map, all known from landscape ecology
(McGarigal & Marks 1995, FRAGSTATS): connected patches, the share of neighbouring pixels that differ, and the
share of the map that its largest patch holds.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from skimage.measure import label

from groundsynth.artifacts import metric_row
from groundsynth.checks.resampling import bootstrap_interval
from groundsynth.legend import CLASSES, class_shares

NOTHING = 256  # no code of a map: skimage.measure.label leaves out its background


def edge_rates(maps: np.ndarray) -> np.ndarray:
    """Return the share of side-by-side pixel pairs whose symbols differ, per map: (n, h, w) to (n,)."""
    across, down = maps[:, :, 1:] != maps[:, :, :-1], maps[:, 1:] != maps[:, :-1]
    differ = across.sum((1, 2)) + down.sum((1, 2))
    return differ / (across[0].size + down[0].size)


def map_shapes(maps: np.ndarray) -> pd.DataFrame:
    """Return one row per map (n, h, w): ``patches_per_chip``, ``edge_rate``, ``largest_patch``.

    Patches are connected over sides, not corners; 'no label' is a symbol like the others.
    """
    rows = []
    for labels in maps:
        patches = label(labels.astype(int), background=NOTHING, connectivity=1)
        sizes = np.bincount(patches.ravel())[1:]
        rows.append({"patches_per_chip": len(sizes), "largest_patch": sizes.max() / labels.size})
    return pd.DataFrame(rows).assign(edge_rate=edge_rates(maps))


def shape_rows(
    study: str, stage: str, maps: np.ndarray, groups: np.ndarray | None, **about: object
) -> list[dict]:
    """Return the means of :func:`map_shapes` as metric rows, with intervals over chips, or over their blocks.

    Args:
        groups: (n,) block of each map; None where maps are of no block.
    """
    rows = []
    for name, values in map_shapes(maps).items():
        values = values.to_numpy(float)
        low, high = bootstrap_interval(
            lambda draw, v=values: v[draw].mean(), len(values), "map_shapes", name, groups=groups
        )
        rows.append(
            metric_row(study, stage, str(name), values.mean(), low=low, high=high, n=len(values), **about)
        )
    return rows


def share_rows(
    study: str, stage: str, maps: np.ndarray, groups: np.ndarray | None, **about: object
) -> list[dict]:
    """Return the mean ``class_share`` of each class over maps as metric rows; every map counts the same.

    Args:
        groups: (n,) block of each map, resampled as a whole; None where maps are of no block.
    """
    shares, rows = np.array([class_shares(labels) for labels in maps]), []
    for name, values in zip(CLASSES, shares.T, strict=True):
        low, high = bootstrap_interval(
            lambda draw, v=values: v[draw].mean(), len(values), "class_share", name, groups=groups
        )
        about_row = {"low": low, "high": high, "n": len(values), "class_": name}
        rows.append(metric_row(study, stage, "class_share", values.mean(), **about_row, **about))
    return rows
