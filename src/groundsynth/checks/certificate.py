"""The certificate of a synthetic chip: what was measured, the verdict, and the first reason to drop it.

Every criterion has a limit, and a chip must pass all of them, so what each may lose of real chips is chosen for
all together. Limits come from real windows of validation and hidden blocks, as they are and with planted faults.
Each criterion begins at the worst real window and loses none. Then real windows are given up where that catches
most of the fault that is caught least, one criterion at a time, while the *whole certificate* still keeps the
wanted share of the windows of a block when its limits come from the other blocks (left-out blocks in the place
of left-out windows, since windows of one block are alike). It ends where every fault is caught as often as real
windows are kept, the equal error rate: to be stricter would lose more real ground than it gains. Without planted
faults there is nothing to gain, and no real window is given up.

Where a check tells real windows and all planted faults it is for far apart, its limit moves half-way from the
real ones towards the faults: nothing is gained by dropping what lies between. What the test blocks then lose is
reported as `keep_rate`, what planted faults lose as `drop_rate`.
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


#: in the order in which reasons are given; a criterion without a column in the evidence takes no part. The
#: labeller's ``trust`` is recorded and drops nothing: no fault is planted that shows what it would catch, and it
#: is lower on real ground of another kind
CRITERIA = (
    Criterion("map_fit", "image and map disagree", "image and map"),
    Criterion("map_shares", "image and map show other amounts", "image and map"),
    Criterion("caption_of_map", "caption claims are false of the map", "map and caption"),
    Criterion("caption_of_image", "caption does not fit the image", "image and caption"),
    Criterion("nearest_train", "too close to a training chip", "image"),
    Criterion("nearest_patch", "pieces too close to training ground", "image"),
    Criterion("unlike_real", "texture unlike real chips", "image", at_most=True),
)
KEPT = "every applicable check passed"
#: the check that is for a fault: its AUC is quoted for it
CHECK_FOR = {
    "swapped_map": "map_fit",
    "matched_swap": "map_fit",
    "class_shift": "map_fit",
    "permuted_classes": "map_shares",
    "swapped_map_alone": "caption_of_map",
    "shuffled_caption": "caption_of_map",
    "matched_caption": "caption_of_map",
    "corrupted_caption": "caption_of_map",
    "planted_copy": "nearest_train",
    "patch_copy": "nearest_patch",
    "spectrum_matched_noise": "unlike_real",
}
SLACK = 1e-9  # rounding: a chip exactly at a threshold is kept
CAUGHT = 0.95  # of the faults stay beyond a limit that is moved towards them


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
    faults: Mapping[str, pd.DataFrame] | None = None,
) -> list[Threshold]:  # fmt: skip
    """Return one threshold per criterion, which together keep ``keep_real`` of real samples elsewhere.

    Where blocks are too few or unlike for that, thresholds are the worst real values: level 0.

    Args:
        real: evidence of real samples the thresholds may be set on; NaN are left out.
        units: (n,) the block of each; keep_real: least share to keep, 0…1; set_on: their splits, for the record.
        faults: evidence of samples of the same splits by the fault planted in them.

    Raises:
        GroundsynthError: a column without a single value.
    """
    criteria, units, faults = measured_criteria(real), np.asarray(units), dict(faults or {})
    for criterion in criteria:
        if not np.isfinite(real[criterion.column].to_numpy(float)).any():
            raise GroundsynthError(
                f"no real chip has a value of '{criterion.column}'; a threshold needs one: check stages 04 and 05"
            )
    sides = [_Side(c, real[c.column].to_numpy(float), units, faults) for c in criteria]
    lost = _spend(sides, keep_real, list(faults))
    together = float(_kept([side.fails(k) for side, k in zip(sides, lost, strict=True)]).mean())
    elsewhere = _kept_elsewhere(sides, lost) if len(np.unique(units)) > 1 else None
    rest = (together, elsewhere, len(real), len(np.unique(units)), set_on)
    return [
        Threshold(
            side.criterion.column, side.limit(k), side.criterion.at_most, k / len(side.known), keep_real,
            float(1 - side.fails(k)[np.isfinite(side.values)].mean()), *rest,
        )
        for side, k in zip(sides, lost, strict=True)
    ]  # fmt: skip


class _Side:
    """One criterion's values on real samples and on planted faults, and its limit by real samples given up."""

    def __init__(
        self, criterion: Criterion, values: np.ndarray, units: np.ndarray, faults: Mapping[str, pd.DataFrame]
    ):
        self.criterion, self.values = criterion, values
        self.known = self._sorted(values)
        self.blocks = [(units == unit, self._sorted(values[units != unit])) for unit in np.unique(units)]
        self.faulty = {name: table[criterion.column].to_numpy(float) for name, table in faults.items()}
        self.edge = self._edge()
        self.seen: dict[tuple[str, int], np.ndarray] = {}

    def _sorted(self, values: np.ndarray) -> np.ndarray:
        """Return the known values, the worst first."""
        ordered = np.sort(values[np.isfinite(values)])
        return ordered[::-1] if self.criterion.at_most else ordered

    def _edge(self) -> float:
        """Return the value beyond which nearly all faults lie that the criterion is for; NaN without any."""
        own = [v for name, v in self.faulty.items() if CHECK_FOR.get(name) == self.criterion.column]
        known = self._sorted(np.concatenate(own) if own else np.empty(0))
        share = 1 - CAUGHT if self.criterion.at_most else CAUGHT
        return float(np.quantile(known, share)) if len(known) else np.nan

    def limit(self, lost: int, known: np.ndarray | None = None) -> float:
        """Return the limit that loses at most ``lost`` samples of all there are: as many per sample of ``known``."""
        known = self.known if known is None else known
        if not len(known):
            return np.inf if self.criterion.at_most else -np.inf
        limit = float(known[min(int(lost * len(known) / len(self.known) + SLACK), len(known) - 1)])
        apart = self.edge > limit if self.criterion.at_most else self.edge < limit
        return (limit + self.edge) / 2 if apart else limit

    def fails(self, lost: int, fault: str = "") -> np.ndarray:
        """Return (n,) bool: which real samples (or, of a fault, planted ones) the limit drops."""
        if (fault, lost) not in self.seen:
            values = self.faulty[fault] if fault else self.values
            self.seen[fault, lost] = _fails(values, self.limit(lost), self.criterion.at_most)
        return self.seen[fault, lost]

    def fails_elsewhere(self, lost: int) -> np.ndarray:
        """Return (n,) bool: which real samples are dropped by the limit that the other blocks give."""
        if ("elsewhere", lost) not in self.seen:
            failed = np.zeros(len(self.values), bool)
            for here, others in self.blocks:
                failed[here] = _fails(self.values[here], self.limit(lost, others), self.criterion.at_most)
            self.seen["elsewhere", lost] = failed
        return self.seen["elsewhere", lost]


def _kept(failed: list[np.ndarray]) -> np.ndarray:
    """Return (n,) bool: which samples fail no criterion."""
    return ~np.any(failed, axis=0)


def _kept_elsewhere(sides: list[_Side], lost: list[int]) -> float:
    """Return the mean share kept of a block's samples by limits set on all other blocks; of all, if there is one."""
    one = len(sides[0].blocks) == 1
    kept = _kept([s.fails(k) if one else s.fails_elsewhere(k) for s, k in zip(sides, lost, strict=True)])
    return float(np.mean([kept[here].mean() for here, _ in sides[0].blocks]))


def _spend(sides: list[_Side], keep_real: float, faults: list[str]) -> list[int]:
    """Return how many real samples each criterion gives up: see the top of this module."""
    lost = [0] * len(sides)
    while True:
        kept = _kept_elsewhere(sides, lost)
        dropped = {fault: _dropped(sides, lost, fault) for fault in faults}
        missed = sorted((f for f in faults if dropped[f] < kept), key=dropped.__getitem__)
        steps = (_best_step(sides, lost, fault, kept, keep_real) for fault in missed)
        better = next((step for step in steps if step), None)
        if better is None:
            return lost
        lost = better


def _dropped(sides: list[_Side], lost: list[int], fault: str) -> float:
    return float(1 - _kept([s.fails(k, fault) for s, k in zip(sides, lost, strict=True)]).mean())


def _best_step(
    sides: list[_Side], lost: list[int], fault: str, kept: float, keep_real: float
) -> list[int] | None:
    """Return what is given up after the step that catches most of a fault per real sample; None if none may be."""
    before, best, most = _dropped(sides, lost, fault), None, 0.0
    for place, side in enumerate(sides):
        for given_up in range(lost[place] + 1, len(side.known)):
            tried = [*lost[:place], given_up, *lost[place + 1 :]]
            after = _kept_elsewhere(sides, tried)
            if after < keep_real - SLACK:
                break
            gain = _dropped(sides, tried, fault) - before
            worth = gain / max(kept - after, 1 / len(side.values))
            if worth > most + SLACK:
                best, most = tried, worth
    return best


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
    "chip_id", "system", "generator", "seed", "condition", "model_hash", "agreement", "kappa", "map_fit", "map_shares",
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
