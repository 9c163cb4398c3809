"""Real or synthetic? Detectors trained on one generator and asked about all, and what makes them fail.

A detector that is only ever asked about the generator it learned from says little about the next one (Corvi et
al. 2023, https://arxiv.org/abs/2211.00680), so every score is a cell of a matrix: trained on, tested on. Real
chips are learned from training ground and tested on held-out ground that no detector chose anything on;
intervals resample cells of that ground and synthetic chips.

**Grey levels.** A stretched 8-bit scene uses some of the 256 levels only, and a generator fills the gaps between
them: counting pixels at levels that real chips never take tells the two apart without looking at the picture. It
also vanishes at the first resizing. So that the other detectors do not learn it, synthetic chips are brought to
the nearest level that real training chips take (:func:`match_levels`); the regime ``as_drawn`` leaves them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from groundsynth.artifacts import metric_row
from groundsynth.checks.resampling import LEVELS, RESAMPLES, bootstrap_interval
from groundsynth.checks.spectrum import chip_spectra
from groundsynth.errors import GroundsynthError
from groundsynth.seeds import rng

STAGE = "06_ground"
Score = Callable[[np.ndarray], np.ndarray]  # (n, h, w, 3) uint8 chips to (n,) float: high is synthetic


# --- grey levels -----------------------------------------------------------------------------


def level_tables(images: np.ndarray) -> np.ndarray:
    """Return for each channel and grey level the nearest one that occurs in ``images``, (3, 256) uint8."""
    tables = np.empty((3, 256), np.uint8)
    for channel in range(3):
        used = np.unique(images[..., channel])
        tables[channel] = used[np.abs(np.arange(256)[:, None] - used[None].astype(int)).argmin(1)]
    return tables


def match_levels(images: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """Return (…, 3) uint8 images at the nearest levels of :func:`level_tables`."""
    return np.stack([tables[channel][images[..., channel]] for channel in range(3)], -1)


def foreign_levels(images: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """Return the share of values at levels that real training chips never take, (n,) float."""
    return (match_levels(images, tables) != images).mean((1, 2, 3))


# --- detectors -------------------------------------------------------------------------------


def fit_spectral(real: np.ndarray, synthetic: np.ndarray) -> Score:
    """Return a detector by radial power spectra: logistic regression on log power at each frequency.

    Args:
        real, synthetic: (n, h, w, 3) uint8 chips to learn from.
    """
    features = np.log(chip_spectra(np.concatenate([real, synthetic])))
    truth = np.repeat([0, 1], [len(real), len(synthetic)])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, class_weight="balanced", max_iter=2000))
    model.fit(features, truth)
    return lambda images: model.decision_function(np.log(chip_spectra(images)))


def halves(chips: pd.DataFrame, *names: object) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one half of each system's chips to learn from and the other to test on.

    Chips drawn for the same map (column ``condition``) go to the same half.

    Raises:
        GroundsynthError: a system with fewer than four chips or a single map.
    """
    learn = np.zeros(len(chips), bool)
    for system, part in chips.groupby("system", sort=False):
        units = part["condition"].where(part["condition"] != "", part["chip_id"])
        found = units.unique()
        if len(part) < 4 or len(found) < 2:
            raise GroundsynthError(
                f"system '{system}' has {len(part)} chips for {len(found)} maps; a detector needs at least 4 for 2"
            )
        chosen = rng("halves", system, *names).permutation(found)[: len(found) // 2]
        learn[chips.index.get_indexer(part.index[units.isin(chosen)])] = True
    return chips[learn], chips[~learn]


# --- the matrix ------------------------------------------------------------------------------


@dataclass(frozen=True)
class HeldOut:
    """Chips that detectors are tested on.

    Attributes:
        real: (n, h, w, 3) uint8 of held-out ground; cells: (n,) names of the ground's cells.
        synthetic: (m, h, w, 3) uint8 by system.
    """

    real: np.ndarray
    cells: np.ndarray
    synthetic: dict[str, np.ndarray]


def ground_cells(corners: np.ndarray, size: int) -> np.ndarray:
    """Return a name for the cell of one chip's side that each window's centre lies in, (n,) text.

    Args:
        corners: (n, 3) scene, row, col.
    """
    centre = (corners[:, 1:] + size // 2) // size
    return np.array([f"{scene}-{row}-{col}" for scene, (row, col) in zip(corners[:, 0], centre, strict=True)])


def wins(synthetic: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Return (m, n): 1 where a synthetic chip scores higher than a real one, 0.5 on ties; its mean is the AUC."""
    return (np.sign(synthetic[:, None] - real[None]) + 1) / 2


def resampled_auc(table: np.ndarray, cells: np.ndarray, *names: object) -> np.ndarray:
    """Return the AUC of each of 500 resamples of synthetic chips (rows) and of cells of real ones (columns).

    Cells are drawn alike for all tables of the same ground, and chips for the same names, so that differences
    between detectors are paired in both, and those between systems in the real chips.
    """
    _, place = np.unique(cells, return_inverse=True)
    count = place.max() + 1
    sums = np.stack([np.bincount(place, row, count) for row in table])  # (m, cells)
    sizes = np.bincount(place, minlength=count)
    rows = rng("detector", *names).integers(len(table), size=(RESAMPLES, len(table)))
    draws = rng("detector", "cells").integers(count, size=(RESAMPLES, count))
    weight = np.stack([np.bincount(draw, minlength=count) for draw in draws])  # (resamples, cells)
    picked = np.stack([np.bincount(row, minlength=len(table)) for row in rows])  # (resamples, m)
    return (picked @ sums * weight).sum(1) / (len(table) * (weight @ sizes))


def interval(draws: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of resampled values."""
    low, high = np.quantile(draws, LEVELS)
    return float(low), float(high)


@dataclass(frozen=True)
class Told:
    """How well a detector tells one system's chips: the AUC, and that of each resample, (500,)."""

    value: float
    draws: np.ndarray


def ask_detector(score: Score, tested: HeldOut) -> dict[str, Told]:
    """Return how well a detector tells the chips of every system from real ones."""
    on_real = score(tested.real)
    tables = {system: wins(score(images), on_real) for system, images in tested.synthetic.items()}
    return {
        system: Told(float(table.mean()), resampled_auc(table, tested.cells, system))
        for system, table in tables.items()
    }


def detector_rows(
    study: str, trained_on: str, told: dict[str, Told], tested: HeldOut, regime: str
) -> list[dict]:
    """Return ``detector_auc`` on every system.

    Args:
        trained_on: system the detector learned from, ``all`` or ``none``; told: from :func:`ask_detector`.
        regime: which detector and what was done to the chips, as ``detector=network;jpeg=50``.
    """
    rows = []
    for system, found in told.items():
        low, high = interval(found.draws)
        n = len(tested.synthetic[system]) + len(tested.real)
        about = {"system": trained_on, "arm": system, "regime": regime, "low": low, "high": high}
        rows.append(metric_row(study, STAGE, "detector_auc", found.value, n=n, seeds=1, **about))
    return rows


def drop_rows(
    study: str, matrix: dict[str, dict[str, Told]], generators: dict[str, str], regime: str
) -> list[dict]:
    """Return ``detector_auc_drop``: what detectors lose on systems they did not learn from.

    The AUC on the own system less the mean of the others': of all others (arm ``unseen``), and of those that
    another generator drew, which shares no weights (arm ``unseen_generator``). Besides each detector's row there is
    one of their mean, system ``each``: the one number of a matrix. ``n`` counts systems, or detectors.

    Args:
        matrix: by what was learned from, then by what was tested on; generators: which one drew each system.
    """
    rows = []
    for arm in ("unseen", "unseen_generator"):
        lost = {own: _lost(own, told, generators, arm) for own, told in matrix.items()}
        lost = {own: found for own, found in lost.items() if found is not None}
        if lost:
            parts = [found for found, _ in lost.values()]
            mean = Told(float(np.mean([p.value for p in parts])), np.mean([p.draws for p in parts], 0))
            lost["each"] = mean, len(parts)
        for own, (found, n) in lost.items():
            low, high = interval(found.draws)
            about = {
                "system": own,
                "arm": arm,
                "regime": regime,
                "low": low,
                "high": high,
                "n": n,
                "seeds": 1,
            }
            rows.append(metric_row(study, STAGE, "detector_auc_drop", found.value, **about))
    return rows


def _lost(own: str, told: dict[str, Told], generators: dict[str, str], arm: str) -> tuple[Told, int] | None:
    """Return what one detector loses on other systems and how many those are; None where there are none."""
    others = [s for s in told if s != own]
    if arm == "unseen_generator":
        others = [s for s in others if generators[s] != generators[own]]
    if not others:
        return None
    value = told[own].value - float(np.mean([told[s].value for s in others]))
    return Told(value, told[own].draws - np.mean([told[s].draws for s in others], 0)), len(others)


# --- what a file goes through ----------------------------------------------------------------


def recompress(image: np.ndarray, quality: int) -> np.ndarray:
    """Return an (h, w, 3) uint8 image after JPEG at a quality from 1 to 95."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def resize(image: np.ndarray, factor: float) -> np.ndarray:
    """Return an (h, w, 3) uint8 image made smaller or larger by a factor and brought back, bicubic both ways."""
    picture = Image.fromarray(np.ascontiguousarray(image))
    other = tuple(max(2, round(side * factor)) for side in picture.size)
    return np.asarray(picture.resize(other, Image.BICUBIC).resize(picture.size, Image.BICUBIC))


def change_all(images: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return every image changed, (n, h, w, 3) uint8."""
    return np.stack([change(image) for image in images])


def changed(tested: HeldOut, change: Callable[[np.ndarray], np.ndarray]) -> HeldOut:
    """Return the same test chips, real and synthetic, after the same change."""
    made = {system: change_all(images, change) for system, images in tested.synthetic.items()}
    return HeldOut(change_all(tested.real, change), tested.cells, made)


def hardened(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return a chip as it may arrive: unchanged, recompressed, or resized, each as often."""
    choice = random.integers(3)
    if choice == 1:
        return recompress(image, int(random.integers(30, 96)))
    return resize(image, float(random.uniform(0.5, 1.0))) if choice == 2 else image


# --- which generator made it -----------------------------------------------------------------


def confusion(truth: np.ndarray, found: np.ndarray, names: list[str]) -> pd.DataFrame:
    """Return how often chips of each row's source were given to each column's, as shares of the row."""
    table = pd.crosstab(pd.Categorical(truth, names), pd.Categorical(found, names), dropna=False)
    shares = table.to_numpy(float) / np.maximum(table.to_numpy().sum(1, keepdims=True), 1)
    return pd.DataFrame(shares, index=names, columns=names)


def attribution_rows(
    study: str, truth: np.ndarray, found: np.ndarray, units: np.ndarray, names: list[str]
) -> list[dict]:
    """Return ``attribution_rate`` (system = source, arm = given to) and the balanced ``attribution_accuracy``.

    Args:
        truth, found: (n,) names; units: (n,) what is resampled: cells of ground for real chips, chips otherwise.
        names: all sources.
    """
    table = confusion(truth, found, names)
    sizes = {name: int((truth == name).sum()) for name in names}
    rows = [
        metric_row(study, STAGE, "attribution_rate", table.loc[a, b], system=a, arm=b, n=sizes[a], seeds=1)
        for a in names for b in names
    ]  # fmt: skip

    def balanced(draw: np.ndarray) -> float:
        right = truth[draw] == found[draw]
        return float(
            np.mean([right[truth[draw] == name].mean() for name in names if (truth[draw] == name).any()])
        )

    low, high = bootstrap_interval(balanced, len(truth), "attribution", groups=units)
    about = {"low": low, "high": high, "n": len(truth), "seeds": 1}
    chance = metric_row(study, STAGE, "attribution_accuracy", 1 / len(names), arm="chance", n=len(truth))
    return [
        *rows,
        metric_row(study, STAGE, "attribution_accuracy", balanced(np.arange(len(truth))), **about),
        chance,
    ]


def rows_by_change(
    study: str, trained_on: str, score: Score, tested: HeldOut, detector: str,
    changes: Mapping[str, Callable[[np.ndarray], np.ndarray]],
) -> list[dict]:  # fmt: skip
    """Return ``detector_auc`` after every change, whose name ends the regime: ``detector=network;jpeg=50``."""
    rows = []
    for name, change in changes.items():
        after = changed(tested, change)
        found = ask_detector(score, after)
        rows += detector_rows(study, trained_on, found, after, f"detector={detector};{name}")
    return rows
