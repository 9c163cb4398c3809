"""Are several images of one map several images? Their distances against those of real chips.

The yardstick are real chips of *similar* maps, since chips of one land cover look alike by nature: for
every given map, as many real chips as images, each from a block of its own (overlapping chips would be
alike for another reason), with the nearest class shares. Distances are Euclidean between standardised
scattering coefficients. A ratio of 1 means that images of one map differ as much as such real chips;
one near 0 is a generator that draws a map one way. Two controls frame it: images of *different* maps,
and one image repeated with slight noise.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist

from groundsynth.artifacts import metric_row
from groundsynth.checks.distribution import standardise
from groundsynth.checks.resampling import bootstrap_interval
from groundsynth.checks.scattering import scattering_features
from groundsynth.errors import GroundsynthError
from groundsynth.legend import class_shares
from groundsynth.seeds import rng

GREY_LEVELS = 2.0  # standard deviation of the noise that makes near-copies of one image
MOST_IMAGES = 8  # of one map that are compared


def mean_pair_distance(features: np.ndarray) -> float:
    """Return the mean Euclidean distance between the (k, d) rows, over all pairs."""
    return float(pdist(features).mean())


def similar_chips(labels: np.ndarray, chips: pd.DataFrame, count: int) -> np.ndarray:
    """Return the rows of the real chips whose class shares are nearest, one per block at most.

    Args:
        labels: (h, w) the given map.
        chips: real chips (``CHIPS['real']``) with a plain index.
        count: chips wanted.

    Raises:
        GroundsynthError: fewer blocks than chips wanted.
    """
    if chips["block"].nunique() < count:
        raise GroundsynthError(
            f"diversity needs {count} real chips from blocks of their own, and there are "
            f"{chips['block'].nunique()} blocks; draw fewer images per map or use smaller blocks"
        )
    far = np.abs(chips.filter(regex=r"^share_\d$").to_numpy() - class_shares(labels)).sum(1)
    nearest = chips.assign(far=far).sort_values("far", kind="stable").drop_duplicates("block")
    return nearest.index.to_numpy()[:count]


def diversity(
    images: np.ndarray,
    maps: np.ndarray,
    groups: np.ndarray,
    real: pd.DataFrame,
    train: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return one row per map: mean distance between its images, and those it is held against.

    Args:
        images: (n, h, w, 3) uint8; maps: (n, h, w) uint8 given to them; groups: (n,) which of them share
            a map. A map with one image is left out; of one with many, eight are compared.
        real: real training chips; train: their scattering features (m, 129), where they are known already.

    Returns:
        columns ``images, same_map, real, other_maps, one_image``: distances, and the number of images.

    Raises:
        GroundsynthError: no map has two images.
    """
    real = real.reset_index(drop=True)
    train = scattering_features(np.stack(real["image"])) if train is None else train
    own, known = standardise(train, scattering_features(images), train)
    members = [np.flatnonzero(groups == g)[:MOST_IMAGES] for g in pd.unique(groups)]
    members = [rows for rows in members if len(rows) > 1]
    if not members:
        raise GroundsynthError("diversity needs two images of one map; set generate.images_per_map above 1")
    rows = []
    for place, same in enumerate(members):
        count = len(same)
        draw = rng("diversity", place)
        others = [draw.choice(members[k]) for k in draw.permutation(len(members))[:count]]
        rows.append(
            {
                "images": count,
                "same_map": mean_pair_distance(own[same]),
                "real": mean_pair_distance(known[similar_chips(maps[same[0]], real, count)]),
                "other_maps": mean_pair_distance(own[others]) if len(others) > 1 else np.nan,
                "one_image": mean_pair_distance(_near_copies(images[same[0]], count, train, draw)),
            }
        )
    return pd.DataFrame(rows)


def _near_copies(image: np.ndarray, count: int, train: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    noise = draw.normal(0, GREY_LEVELS, (count, *image.shape))
    copies = np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)
    return standardise(train, scattering_features(copies))[0]


def diversity_rows(study: str, stage: str, distances: pd.DataFrame, **labels: object) -> list[dict]:
    """Return ``diversity_ratio`` and its two controls (column ``arm``) as metric rows.

    The ratio of means over maps; its 95 % interval resamples maps.
    """
    rows = []
    for arm, column in (("", "same_map"), ("other_maps", "other_maps"), ("one_image", "one_image")):
        kept = distances.dropna(subset=[column])
        if kept.empty:
            continue
        above, below = kept[column].to_numpy(), kept["real"].to_numpy()
        low, high = bootstrap_interval(
            lambda d, a=above, b=below: a[d].mean() / b[d].mean(), len(kept), "diversity", arm
        )
        value = above.mean() / below.mean()
        rows.append(
            metric_row(
                study, stage, "diversity_ratio", value, arm=arm, low=low, high=high, n=len(kept), **labels
            )
        )
    return rows
