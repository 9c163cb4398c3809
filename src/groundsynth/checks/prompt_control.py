"""Does a generator draw what it was asked for? Class shares asked for against those that came out.

``share_skill`` is 1 − MAE/MAE of the constant predictor, which always draws the mean shares of the training
chips: 1 is exact, 0 as good as not listening, below 0 worse. It is taken twice: on the generated map, and on
what a labeller that knows real chips alone reads off the generated image, since a map may obey while its
image does not. The labeller errs too; its own skill on real held-out chips (system ``real``) is the most
that an image could be seen to have. The control holds every sample against the request of another one.

``rare_share_gain`` says how much more of a rare class comes when it is asked for: over what the generator draws
unasked, and over the true share of the training ground, of which every pixel counts, confirmed or not. Only connected patches of at least 6 pixels count, and only if the labeller reads the same class on
most of the patch. Agreement of map and reading stands beside it: rare classes painted anywhere would gain
in maps and lose there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd
from scipy import ndimage

from groundsynth.artifacts import metric_row
from groundsynth.checks.agreement import map_kappas, random_partners
from groundsynth.checks.resampling import bootstrap_interval
from groundsynth.data.rare_objects import LEAST_PIXELS
from groundsynth.legend import CLASSES, NUM_CLASSES, SHARE_COLUMNS, class_shares
from groundsynth.models.asked import TOLD_COLUMNS
from groundsynth.seeds import rng

STAGE = "04_label"
LEAST_SHARE = 0.01  # of the training ground, for a class whose control is judged
CONFIRMED = 0.5  # share of a patch's pixels that the labeller must read as its class
FEWEST = 8  # samples below which neither skill nor gain is stated


def all_shares(maps: np.ndarray) -> np.ndarray:
    """Return the class shares of (n, h, w) maps, (n, 7) float64."""
    return np.array([class_shares(labels) for labels in maps]).reshape(-1, NUM_CLASSES)


def judged_classes(usual: np.ndarray) -> list[int]:
    """Return the classes over 1 % of the training ground, given its mean shares (7,)."""
    return [int(k) for k in np.flatnonzero(usual >= LEAST_SHARE)]


def share_skill(asked: np.ndarray, found: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Return 1 − MAE/MAE(constant) per class, (7,) float64; NaN where the constant is always right.

    Args:
        asked, found: (n, 7) shares; usual: (7,) those that the constant predictor names.
    """
    constant = np.abs(asked - usual).mean(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(constant > 0, 1 - np.abs(asked - found).mean(0) / constant, np.nan)


def skill_rows(
    study: str, asked: np.ndarray, found: np.ndarray, usual: np.ndarray, groups: np.ndarray | None = None,
    **about: object,
) -> list[dict]:  # fmt: skip
    """Return ``share_skill`` per judged class and, with an empty class, their mean, as metric rows.

    Args:
        asked, found: (n, 7); usual: (7,) mean shares of the training chips.
        groups: (n,) blocks that are resampled whole; None resamples samples.
        about: system, arm and regime of the rows.
    """
    judged = judged_classes(usual)

    def mean_skill(draw: np.ndarray, classes: list[int]) -> float:
        return float(np.mean(share_skill(asked[draw], found[draw], usual)[classes]))

    rows = []
    for name, classes in [("", judged), *((CLASSES[k], [k]) for k in judged)]:
        value = mean_skill(np.arange(len(asked)), classes)
        low, high = bootstrap_interval(
            partial(mean_skill, classes=classes), len(asked), "share_skill", *about.values(), groups=groups
        )
        rows.append(
            metric_row(
                study, STAGE, "share_skill", value, class_=name, low=low, high=high, n=len(asked), **about
            )
        )
    return rows


def control_rows(
    study: str, asked: pd.DataFrame, maps: np.ndarray, readings: np.ndarray, usual: np.ndarray, **about: object
) -> list[dict]:  # fmt: skip
    """Return the skill of every kind of request, on maps (``on=map``) and readings (``on=label``).

    ``arm`` is the kind; ``<kind>:other`` is the control, every sample against the request of another. Of kind
    ``shuffled``, whose caption and shares tell of different chips, ``shuffled:caption`` and ``shuffled:shares``
    say which of them is heard.

    Args:
        asked: from ``models.asked.ask``, in the order of the maps.
        maps: (n, h, w) generated; readings: (n, h, w) the labeller's, of the generated images.
        about: system of the rows, and seeds.
    """
    found = {"on=map": all_shares(maps), "on=label": all_shares(readings)}
    rows = []
    for kind, part in asked.assign(place=np.arange(len(asked))).groupby("kind", sort=False):
        at = part["place"].to_numpy()
        if kind == "nothing" or len(at) < FEWEST:
            continue
        for name, wanted in _wanted(part).items():
            other = wanted[random_partners(len(wanted), "prompt_control", kind)]
            for regime, shares in found.items():
                for arm, target in ((name, wanted), (f"{name}:other", other)):
                    rows += skill_rows(study, target, shares[at], usual, arm=arm, regime=regime, **about)
    return rows


def measure_prompt_control(
    study: str, asked: pd.DataFrame, chips: pd.DataFrame, labels: pd.DataFrame, real: pd.DataFrame
) -> list[dict]:
    """Return every row of this module for a study's samples; none where nothing was asked.

    The prior of ``rare`` is what the same system draws when nothing is asked, and where the study asks that
    of no sample, system ``joint``.

    Args:
        asked: table ``asked``; chips: all labelled chips (chip_id, system, mask); labels: their label maps,
            in the same order; real: real chips with split, block and shares.
    """
    if asked.empty:
        return []
    at = pd.Series(np.arange(len(chips)), index=chips["chip_id"])
    usual = real.loc[real["split"] == "train", list(SHARE_COLUMNS)].mean().to_numpy()
    maps, readings = np.stack(chips["mask"]), np.stack(labels["mask"])
    drawn = at[asked["chip_id"]].to_numpy()
    rows = control_rows(study, asked, maps[drawn], readings[drawn], usual, system="text")
    val = real[real["split"] == "val"]
    kept = at[val["chip_id"]].to_numpy()
    rows += ceiling_rows(study, maps[kept], readings[kept], val["block"].to_numpy(), usual, "val")
    rare = asked["kind"].to_numpy() == "rare"
    nothing = drawn[asked["kind"].to_numpy() == "nothing"]
    joint = np.flatnonzero(chips["system"] == "joint")
    prior, name = (nothing, "nothing asked") if len(nothing) else (joint, "joint")
    if rare.sum() >= FEWEST and len(prior) >= FEWEST:
        own = asked["raised"].to_numpy()[rare], maps[drawn[rare]], readings[drawn[rare]]
        rows += rare_rows(study, *own, maps[prior], readings[prior], name, usual, system="text")
    return rows


def drawn_shares(asked: pd.DataFrame, chips: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """Return asked and drawn shares of every sample that was asked for something, long, for a figure.

    Returns:
        columns ``chip_id, kind, on`` (map or label), ``class`` (a name), ``asked, drawn``. Of kind
        ``shuffled``, the shares that were given count as asked.
    """
    at = pd.Series(np.arange(len(chips)), index=chips["chip_id"])
    some = asked[asked["kind"] != "nothing"].reset_index(drop=True)
    given, told = (some[list(columns)].to_numpy(float) for columns in (SHARE_COLUMNS, TOLD_COLUMNS))
    wanted, place = np.where(np.isnan(given), told, given), at[some["chip_id"]].to_numpy()
    parts = []
    for on, table in (("map", chips), ("label", labels)):
        found = all_shares(np.stack(table["mask"].iloc[place])) if len(some) else np.zeros((0, NUM_CLASSES))
        for k, name in enumerate(CLASSES):
            about = {"on": on, "class": name, "asked": wanted[:, k], "drawn": found[:, k]}
            parts.append(some[["chip_id", "kind"]].assign(**about))
    return pd.concat(parts, ignore_index=True)


def ceiling_rows(
    study: str, maps: np.ndarray, readings: np.ndarray, blocks: np.ndarray, usual: np.ndarray, split: str
) -> list[dict]:
    """Return the labeller's own skill: shares it reads off real chips against those of their maps.

    Args:
        maps, readings: (n, h, w) of held-out real chips; blocks: (n,) theirs, resampled whole.
        usual: (7,) mean shares of the training chips; split: of the chips, for the row.
    """
    about = {"system": "real", "regime": f"on=label,split={split}"}
    return skill_rows(study, all_shares(maps), all_shares(readings), usual, blocks, **about)


def _wanted(part: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return what samples of one kind should show, (n, 7), by the name of the arm."""
    kind = part["kind"].iloc[0]
    given, told = (part[list(columns)].to_numpy(float) for columns in (SHARE_COLUMNS, TOLD_COLUMNS))
    if kind == "shuffled":
        return {"shuffled:caption": told, "shuffled:shares": given}
    return {kind: told if np.isnan(given).any() else given}


# --- rare classes ----------------------------------------------------------------------------


def confirmed_pixels(labels: np.ndarray, reading: np.ndarray, k: int) -> int:
    """Return the pixels of class ``k`` in a map (h, w) that lie in patches which the reading confirms."""
    patches, count = ndimage.label(labels == k)
    sizes = np.bincount(patches.ravel(), minlength=count + 1)
    seen = np.bincount(patches.ravel(), weights=(reading == k).ravel(), minlength=count + 1)
    good = (sizes >= LEAST_PIXELS) & (seen >= CONFIRMED * sizes)
    return int(sizes[1:][good[1:]].sum())


def confirmed_shares(maps: np.ndarray, readings: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Return the confirmed share of the ground of some classes, (n, len(classes)) float64.

    Args:
        maps, readings: (n, h, w) uint8, the generated map and what the labeller reads off the image.
    """
    found = [
        [confirmed_pixels(labels, reading, k) / labels.size for k in classes]
        for labels, reading in zip(maps, readings, strict=True)
    ]
    return np.array(found, float).reshape(len(maps), len(classes))


def rare_rows(
    study: str, raised: np.ndarray, maps: np.ndarray, readings: np.ndarray,
    prior_maps: np.ndarray, prior_readings: np.ndarray, prior: str, usual: np.ndarray, **about: object,
) -> list[dict]:  # fmt: skip
    """Return ``rare_share_gain`` (per raised class, and over all) and ``rare_kappa_change`` as metric rows.

    The gain over all is the confirmed share of the class that each sample was asked to raise, over the
    prior's of the same classes. A class that the prior never shows confirmed has no gain, and its row
    is left out; the overall row keeps its samples. Intervals resample samples of both sets. Rows ``prior=ground``
    are over the true shares instead, which need no labeller.

    Args:
        raised: (n,) class each sample raises; maps, readings: (n, h, w) of these samples.
        prior_maps, prior_readings: (m, h, w) of samples drawn without a condition; prior: their name, the
            row's regime; usual: (7,) true shares, the mean of the training chips.
        about: system of the rows, and seeds.
    """
    classes = sorted({int(k) for k in raised})
    own = confirmed_shares(maps, readings, classes)
    base = confirmed_shares(prior_maps, prior_readings, classes)
    column = np.searchsorted(classes, raised)
    own_class = own[np.arange(len(own)), column]
    about = {"arm": "rare", **about}
    drawn, ground = {"regime": f"prior={prior}", **about}, {"regime": "prior=ground", **about}
    rows = []
    for name, at in [
        ("", np.arange(len(own))),
        *((CLASSES[k], np.flatnonzero(raised == k)) for k in classes),
    ]:
        asked, before = own_class[at], base[:, column[at]].mean(1)
        if before.any():
            gain = _two_sets(_ratio, asked, before, "rare_share_gain", name)
            rows.append(metric_row(study, STAGE, "rare_share_gain", **gain, class_=name, n=len(at), **drawn))
        gain = _two_sets(
            _ratio, asked, usual[raised[at]].mean(keepdims=True), "rare_share_gain", name, "ground"
        )
        rows.append(metric_row(study, STAGE, "rare_share_gain", **gain, class_=name, n=len(at), **ground))
    change = _two_sets(
        _difference, map_kappas(readings, maps), map_kappas(prior_readings, prior_maps), "rare_kappa_change"
    )
    rows.append(metric_row(study, STAGE, "rare_kappa_change", **change, n=len(raised), **drawn))
    return rows


def _two_sets(
    statistic: Callable[[np.ndarray, np.ndarray], float],
    first: np.ndarray,
    second: np.ndarray,
    *names: object,
) -> dict[str, float | None]:
    """Return a statistic of two independent sets and its interval over resamples of both."""
    first, second = first[np.isfinite(first)], second[np.isfinite(second)]
    if not (len(first) and len(second)):
        return {"value": np.nan, "low": None, "high": None}
    generator = rng("prompt_control", *names)

    def resampled(draw: np.ndarray) -> float:
        return statistic(first[draw], second[generator.integers(len(second), size=len(second))])

    low, high = bootstrap_interval(resampled, len(first), "prompt_control", *names)
    return {"value": statistic(first, second), "low": low, "high": high}


def _ratio(above: np.ndarray, below: np.ndarray) -> float:
    return float(above.mean() / below.mean()) if below.any() else np.nan


def _difference(first: np.ndarray, second: np.ndarray) -> float:
    return float(first.mean() - second.mean())
