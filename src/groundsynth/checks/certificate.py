"""The certificate of a synthetic chip: what was measured, the verdict, and the first reason to drop it.

Every criterion has a threshold, and a chip must pass all of them, so what each may lose of real chips is
chosen for all together. Thresholds come from real windows of validation and hidden blocks alone. Each
criterion whose planted faults lie among real windows may lose the same small share of these, its level, and the
level is the largest at which the *whole certificate* still keeps the wanted share of windows of a block when
the thresholds come from the other blocks. (The least of several p-values, calibrated as one statistic: Westfall
and Young 1993; left-out blocks in the place of left-out windows, since windows of one block are alike.) Where a
check tells real windows and the planted faults it is for far apart, it needs to lose none, and its limit moves
half-way from the real ones towards the faults: nothing is gained by dropping what lies between. A criterion
without a fault of its own sits at the worst real window, and leaves the allowance to those that need it. What
the test blocks then lose is reported as `keep_rate`, what planted faults lose as `drop_rate`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from groundsynth.artifacts import metric_row
from groundsynth.checks.resampling import bootstrap_interval
from groundsynth.errors import GroundsynthError

STAGE = "06_ground"


@dataclass(frozen=True)
class Criterion:
    """One column of the certificate that must keep to its limit, and the reason when it does not.

    ``sides`` names what the criterion holds against each other.
    """

    column: str
    reason: str
    sides: str
    at_most: bool = False  # the limit is the highest value kept, not the lowest


#: in the order in which reasons are given; a criterion without a column in the evidence takes no part
CRITERIA = (
    Criterion("map_fit", "image and map disagree", "image and map"),
    Criterion("caption_of_map", "caption claims are false of the map", "map and caption"),
    Criterion("caption_of_image", "caption does not fit the image", "image and caption"),
    Criterion("trust", "the labeller is unsure of the image", "image"),
    Criterion("nearest_train", "too close to a training chip", "image"),
    Criterion("nearest_patch", "pieces too close to training ground", "image"),
    Criterion("unlike_real", "texture unlike real chips", "image", at_most=True),
)
KEPT = "every applicable check passed"
SLACK = 1e-9  # rounding: a chip exactly at a threshold is kept
CAUGHT = 0.95  # of the faults stay beyond a limit that is moved towards them
LEVELS = 60  # levels that are tried between 0 and the share that may be lost


@dataclass(frozen=True)
class Threshold:
    """The lowest (or highest) value of a column that is kept, and the real windows it was set on.

    Attributes:
        level: share of real windows that this criterion may lose, 0 where it needs none; keep_real: share that all together
            should keep. kept: share it keeps of these windows; kept_together, all of them; kept_elsewhere:
            share all keep of a block's windows when set on the other blocks, averaged over blocks.
        n: windows; units: blocks they lie in; set_on: their splits.
    """

    column: str
    value: float
    at_most: bool
    level: float
    keep_real: float
    kept: float
    kept_together: float
    kept_elsewhere: float | None
    n: int
    units: int
    set_on: str


def measured_criteria(table: pd.DataFrame) -> list[Criterion]:
    """Return the criteria that have a column in a table of evidence."""
    return [criterion for criterion in CRITERIA if criterion.column in table]


def fit_thresholds(
    real: pd.DataFrame, units: Sequence, keep_real: float, set_on: str,
    faults: Mapping[str, np.ndarray] | None = None,
) -> list[Threshold]:  # fmt: skip
    """Return one threshold per criterion, which together keep ``keep_real`` of real samples elsewhere.

    Where no level keeps so many (few or unlike blocks), thresholds are the worst real values: level 0.

    Args:
        real: evidence of real samples the thresholds may be set on; NaN are left out.
        units: (n,) the block of each; keep_real: share to keep, 0…1; set_on: their splits, for the record.
        faults: values of a column on real samples of the same splits with the faults it is for; without any,
            every criterion has its part in the allowance.

    Raises:
        GroundsynthError: a column without a single value.
    """
    criteria, units = measured_criteria(real), np.asarray(units)
    values = {c.column: real[c.column].to_numpy(float) for c in criteria}
    for name, found in values.items():
        if not np.isfinite(found).any():
            raise GroundsynthError(
                f"no real chip has a value of '{name}'; a threshold needs one: check stages 04 and 05"
            )
    names, faults = np.unique(units), faults or {}
    parts = {c.column: float(_takes_part(values[c.column], c, faults)) for c in criteria}
    levels, elsewhere = parts, None
    for level in np.linspace(1 - keep_real, 0, LEVELS):
        levels = {column: part * float(level) for column, part in parts.items()}
        elsewhere = _kept_elsewhere(values, criteria, units, faults, levels) if len(names) > 1 else None
        together = _kept(values, criteria, _limits(values, criteria, levels, faults)).mean()
        if (together if elsewhere is None else elsewhere) >= keep_real - SLACK:
            break
    limits = _limits(values, criteria, levels, faults)
    together = float(_kept(values, criteria, limits).mean())
    rest = (together, elsewhere, len(real), len(names), set_on)
    return [
        Threshold(
            c.column,
            limits[c.column],
            c.at_most,
            levels[c.column],
            keep_real,
            _kept_alone(values, c, limits),
            *rest,
        )
        for c in criteria
    ]


def _takes_part(values: np.ndarray, criterion: Criterion, faults: Mapping[str, np.ndarray]) -> bool:
    """Say whether a criterion needs to lose real samples to catch the faults it is for."""
    if not faults:
        return True
    faulty = faults.get(criterion.column, np.empty(0))
    worst = _limits({criterion.column: values}, [criterion], {criterion.column: 0.0}, {})[criterion.column]
    return bool(np.isfinite(faulty).any()) and _towards(worst, faulty, criterion.at_most) == worst


def _limits(
    values: dict[str, np.ndarray], criteria: list[Criterion], levels: dict[str, float],
    faults: Mapping[str, np.ndarray],
) -> dict[str, float]:  # fmt: skip
    """Return the limit of each criterion that loses at most its level of its values."""
    limits = {}
    for criterion in criteria:
        known = np.sort(values[criterion.column][np.isfinite(values[criterion.column])])
        place = min(int(levels[criterion.column] * len(known) + SLACK), len(known) - 1) if len(known) else 0
        edge = -np.inf if not criterion.at_most else np.inf
        limit = float(known[len(known) - 1 - place if criterion.at_most else place]) if len(known) else edge
        limits[criterion.column] = _towards(limit, faults.get(criterion.column), criterion.at_most)
    return limits


def _towards(limit: float, faulty: np.ndarray | None, at_most: bool) -> float:
    """Return a limit moved half-way to the faults, if nearly all of them lie beyond it."""
    known = np.empty(0) if faulty is None else faulty[np.isfinite(faulty)]
    if not len(known) or not np.isfinite(limit):
        return limit
    edge = float(np.quantile(known, 1 - CAUGHT if at_most else CAUGHT))
    apart = edge > limit if at_most else edge < limit
    return (limit + edge) / 2 if apart else limit


def _kept(values: dict[str, np.ndarray], criteria: list[Criterion], limits: dict[str, float]) -> np.ndarray:
    """Return (n,) bool: which samples fail no criterion."""
    failed = [_fails(values[c.column], limits[c.column], c.at_most) for c in criteria]
    return ~np.any(failed, axis=0)


def _kept_alone(values: dict[str, np.ndarray], criterion: Criterion, limits: dict[str, float]) -> float:
    known = values[criterion.column][np.isfinite(values[criterion.column])]
    return float((~_fails(known, limits[criterion.column], criterion.at_most)).mean())


def _kept_elsewhere(
    values: dict[str, np.ndarray], criteria: list[Criterion], units: np.ndarray,
    faults: Mapping[str, np.ndarray], levels: dict[str, float],
) -> float:  # fmt: skip
    """Return the mean share kept of a unit's samples by thresholds set on all other units."""
    shares = []
    for name in np.unique(units):
        here = units == name
        limits = _limits({k: v[~here] for k, v in values.items()}, criteria, levels, faults)
        shares.append(_kept({k: v[here] for k, v in values.items()}, criteria, limits).mean())
    return float(np.mean(shares))


def _fails(values: np.ndarray, limit: float, at_most: bool) -> np.ndarray:
    return values > limit + SLACK if at_most else values < limit - SLACK


def judge(table: pd.DataFrame, thresholds: list[Threshold]) -> pd.DataFrame:
    """Return ``table`` with ``verdict`` (keep or drop) and ``reason`` (the first failed criterion's).

    A NaN means the criterion does not apply (a system without a map has no kappa) and drops nothing.
    """
    limits = {t.column: t.value for t in thresholds}
    reasons = np.full(len(table), KEPT, dtype=object)
    for criterion in reversed([c for c in measured_criteria(table) if c.column in limits]):
        failed = _fails(table[criterion.column].to_numpy(float), limits[criterion.column], criterion.at_most)
        reasons[failed] = criterion.reason
    verdict = np.where(reasons == KEPT, "keep", "drop")
    return table.assign(verdict=verdict, reason=reasons.astype(str))


def threshold_record(thresholds: list[Threshold]) -> dict:
    """Return the thresholds as the contents of ``thresholds.json``."""
    return {t.column: asdict(t) for t in thresholds}


#: what the certificate of a chip holds, beside the columns of further scorers
COLUMNS = (
    "chip_id", "system", "generator", "seed", "condition", "model_hash", "agreement", "kappa", "map_fit",
    "claim_precision", "claims", "caption_of_map", "caption_of_image", "trust", "nearest_train",
    "nearest_chip", "nearest_patch", "unlike_real", "verdict", "reason",
)  # fmt: skip


def certificate_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns of a certificate in order, those of further criteria before the verdict."""
    further = [c.column for c in measured_criteria(table) if c.column not in COLUMNS]
    return [*COLUMNS[:-2], *further, *COLUMNS[-2:]]


def gather_evidence(
    chips: pd.DataFrame, agreement: pd.DataFrame, scores: pd.DataFrame, measured: pd.DataFrame
) -> pd.DataFrame:
    """Return one row per chip with every column the verdict rests on, and what else is known of it.

    Args:
        chips: with ``chip_id``, in the order of ``measured``.
        agreement: table ``agreement``, for the share of pixels that agree.
        scores: from ``score_captions``, held against the labeller's maps, only for chips whose caption does
            not come from that very map.
        measured: from ``evidence.measure``.
    """
    counts = scores.groupby("chip_id")[["true", "false"]].sum() if len(scores) else None
    known = agreement.set_index("chip_id")[["agreement"]]
    table = chips.reset_index(drop=True).join(known, on="chip_id")
    true, false = (
        table["chip_id"].map(counts[name]) if counts is not None else pd.Series(np.nan, table.index)
        for name in ("true", "false")
    )
    checked = true + false
    return table.assign(
        claim_precision=(true / checked.where(checked > 0)).astype(float),
        claims=checked.fillna(0).astype(int),
        **{name: measured[name].to_numpy() for name in measured},
    )


def share_rows(study: str, metric: str, judged: pd.DataFrame, verdict: str) -> list[dict]:
    """Return the share of each system's chips with a verdict, with intervals over chips.

    Args:
        metric: ``keep_rate`` with verdict ``keep``, or ``drop_rate`` with verdict ``drop``.
    """
    rows = []
    for system, part in judged.groupby("system", sort=False):
        hits = (part["verdict"] == verdict).to_numpy(float)
        low, high = bootstrap_interval(lambda draw, h=hits: h[draw].mean(), len(hits), metric, system)
        about = dict(system=str(system), low=low, high=high, n=len(hits))
        rows.append(metric_row(study, STAGE, metric, hits.mean(), **about))
    return rows


def reason_rows(study: str, judged: pd.DataFrame) -> list[dict]:
    """Return ``drop_rate`` of each system for each first reason (column ``regime``), reasons never met included."""
    rows = []
    for system, part in judged.groupby("system", sort=False):
        for criterion in measured_criteria(judged):
            hits = (part["reason"] == criterion.reason).to_numpy(float)
            about = dict(system=str(system), regime=f"reason={criterion.reason}", n=len(hits))
            rows.append(metric_row(study, STAGE, "drop_rate", hits.mean(), **about))
    return rows
