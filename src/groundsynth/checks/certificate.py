"""The certificate of a synthetic chip: what was measured, the verdict, and the first reason to drop it.

Thresholds come from real validation (and hidden) chips alone: each is the value that keeps the stated
share of them, so a real chip is dropped by one criterion with at most 1 - keep_real. What the test
split then loses is reported as `keep_rate`, what planted faults lose as `drop_rate`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from groundsynth.artifacts import metric_row
from groundsynth.checks.resampling import bootstrap_interval
from groundsynth.errors import GroundsynthError

STAGE = "06_ground"


@dataclass(frozen=True)
class Criterion:
    """One column of the certificate that must keep to its limit, and the reason when it does not."""

    column: str
    reason: str
    at_most: bool = False  # the limit is the highest value kept, not the lowest


#: in the order in which reasons are given
CRITERIA = (
    Criterion("kappa", "image and map disagree"),
    Criterion("trust", "the labeller is unsure of the image"),
    Criterion("claim_precision", "caption claims are false of the image"),
    Criterion("nearest_train", "too close to a training chip"),
    Criterion("unlike_real", "texture unlike real chips", at_most=True),
)
KEPT = "every applicable check passed"
SLACK = 1e-9  # rounding: a chip exactly at a threshold is kept


@dataclass(frozen=True)
class Threshold:
    """The lowest (or highest) value of a column that is kept, and the real chips it was set on."""

    column: str
    value: float
    at_most: bool
    keep_real: float
    n: int
    kept: float
    set_on: str


def fit_thresholds(real: dict[str, np.ndarray], keep_real: float, set_on: str) -> list[Threshold]:
    """Return one threshold per criterion, each keeping at least ``keep_real`` of the real chips.

    Args:
        real: values of each column on real chips the threshold may be set on; NaN are left out.
        keep_real: share to keep, 0…1.
        set_on: the splits the values come from, for the record.

    Raises:
        GroundsynthError: a column without a single value.
    """
    thresholds = []
    for criterion in CRITERIA:
        values = np.asarray(real[criterion.column], float)
        values = np.sort(values[np.isfinite(values)])
        if not values.size:
            raise GroundsynthError(
                f"no real chip has a value of '{criterion.column}'; a threshold needs one: "
                "check stages 04 and 05"
            )
        place = min(int((1 - keep_real) * len(values) + SLACK), len(values) - 1)
        value = float(values[len(values) - 1 - place if criterion.at_most else place])
        kept = float((~_fails(values, value, criterion.at_most)).mean())
        thresholds.append(
            Threshold(criterion.column, value, criterion.at_most, keep_real, len(values), kept, set_on)
        )
    return thresholds


def _fails(values: np.ndarray, limit: float, at_most: bool) -> np.ndarray:
    return values > limit + SLACK if at_most else values < limit - SLACK


def judge(table: pd.DataFrame, thresholds: list[Threshold]) -> pd.DataFrame:
    """Return ``table`` with ``verdict`` (keep or drop) and ``reason`` (the first failed criterion's).

    A NaN means the criterion does not apply (a system without a map has no kappa) and drops nothing.
    """
    limits = {t.column: t.value for t in thresholds}
    reasons = np.full(len(table), KEPT, dtype=object)
    for criterion in reversed(CRITERIA):
        failed = _fails(table[criterion.column].to_numpy(float), limits[criterion.column], criterion.at_most)
        reasons[failed] = criterion.reason
    verdict = np.where(reasons == KEPT, "keep", "drop")
    return table.assign(verdict=verdict, reason=reasons.astype(str))


def threshold_record(thresholds: list[Threshold]) -> dict:
    """Return the thresholds as the contents of ``thresholds.json``."""
    return {t.column: asdict(t) for t in thresholds}


COLUMNS = (
    "chip_id", "system", "generator", "seed", "condition", "model_hash", "agreement", "kappa", "trust",
    "claim_precision", "claims", "nearest_train", "nearest_chip", "unlike_real", "verdict", "reason",
)  # fmt: skip


def gather_evidence(
    chips: pd.DataFrame,
    agreement: pd.DataFrame,
    scores: pd.DataFrame,
    nearest: pd.DataFrame,
) -> pd.DataFrame:
    """Return one row per chip with every column the verdict rests on.

    Args:
        chips: with ``chip_id``, in the order of ``nearest``.
        agreement: table ``agreement``; scores: from ``score_captions``, held against the labeller's
            maps, only for chips whose caption does not come from that very map.
        nearest: ``nearest_train``, distance to the nearest training window; ``nearest_chip``, where it
            lies; ``unlike_real``, distance to the nearest training chip in features of texture.
    """
    counts = scores.groupby("chip_id")[["true", "false"]].sum() if len(scores) else None
    measured = agreement.set_index("chip_id")[["agreement", "kappa", "trust"]]
    table = chips.reset_index(drop=True).join(measured, on="chip_id")
    true, false = (
        table["chip_id"].map(counts[name]) if counts is not None else pd.Series(np.nan, table.index)
        for name in ("true", "false")
    )
    checked = true + false
    return table.assign(
        claim_precision=(true / checked.where(checked > 0)).astype(float),
        claims=checked.fillna(0).astype(int),
        **{name: nearest[name].to_numpy() for name in ("nearest_train", "nearest_chip", "unlike_real")},
    )


def share_rows(study: str, metric: str, judged: pd.DataFrame, verdict: str, arm: str = "") -> list[dict]:
    """Return the share of each system's chips with a verdict, with intervals over chips.

    Args:
        metric: ``keep_rate`` with verdict ``keep``, or ``drop_rate`` with verdict ``drop``.
        arm: the planted fault, empty for chips as they are.
    """
    rows = []
    for system, part in judged.groupby("system", sort=False):
        hits = (part["verdict"] == verdict).to_numpy(float)
        low, high = bootstrap_interval(lambda draw, h=hits: h[draw].mean(), len(hits), metric, system, arm)
        rows.append(
            metric_row(
                study,
                STAGE,
                metric,
                hits.mean(),
                system=str(system),
                arm=arm,
                low=low,
                high=high,
                n=len(hits),
            )
        )
    return rows


def with_control(evidence: pd.DataFrame, controls: pd.DataFrame, columns: dict[str, str]) -> pd.DataFrame:
    """Return the evidence of the chips in ``controls``, some columns replaced by a control's scores.

    Args:
        evidence: from :func:`gather_evidence`; controls: ``chip_id`` and the control scores;
        columns: column of the evidence to column of the controls.
    """
    foreign = controls.set_index("chip_id")
    table = evidence[evidence["chip_id"].isin(list(foreign.index))]
    return table.assign(
        **{name: table["chip_id"].map(foreign[source]).astype(float) for name, source in columns.items()}
    )
