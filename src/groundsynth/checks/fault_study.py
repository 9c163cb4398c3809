"""Would the checks notice? Samples with planted faults against the same samples as they are.

Every check is asked about every fault that touches what it looks at, so that a reader sees which side of
the triangle notices what; the drop rate is that of the certificate as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from groundsynth.artifacts import metric_row
from groundsynth.captions.writers import Writer
from groundsynth.checks.agreement import paired_auc, two_sample_auc
from groundsynth.checks.certificate import CHECK_FOR, CRITERIA, STAGE, Threshold, judge
from groundsynth.checks.corruption import STRENGTHS, corrupt
from groundsynth.checks.evidence import Witness, class_probabilities, draw_chips, measure
from groundsynth.checks.resampling import bootstrap_interval
from groundsynth.checks.samples import Samples, chip_samples
from groundsynth.checks.territory import Territory

COPIES = ("planted_copy", "patch_copy")
#: faults that need no training ground: what synthetic chips are asked about as well
PAIRINGS = ("swapped_map", "matched_swap", "shuffled_caption", "matched_caption", "corrupted_caption")
SAME = 1e-12  # a check whose values a fault leaves alone is not asked about it


def measure_faults(
    samples: Samples, evidence: pd.DataFrame, witness: Witness, territory: Territory, chips: np.ndarray,
    writer: Writer, seed: int, wanted: Sequence[str] = tuple(STRENGTHS),
) -> dict[str, pd.DataFrame]:  # fmt: skip
    """Return the evidence of the samples under every fault that is wanted.

    Args:
        evidence: of the samples as they are; where a fault leaves the image alone or only adds noise, the
            distances to training ground are taken over from it.
        territory, chips, writer, seed: as in ``corruption.corrupt``.
    """
    found, seen = {}, class_probabilities(witness.labeller, samples.images)
    for name, faulty in corrupt(samples, territory, chips, writer, seed, wanted).items():
        known = seen if faulty.images is samples.images else None  # one look at images that stay
        table = measure(faulty, witness, copies=name in COPIES, probabilities=known)
        if name not in COPIES:
            kept = ["nearest_train", "nearest_patch", "nearest_chip"]
            table = table.assign(**{column: evidence[column].to_numpy() for column in kept})
        found[name] = table.assign(unit=faulty.units)
    return found


def ask_systems(
    made: pd.DataFrame, captions: Sequence[str], evidence: pd.DataFrame, no_map: Sequence[str], n: int,
    witness: Witness, territory: Territory, chips: np.ndarray, writer: Writer, seed: int,
) -> dict[str, dict[str, pd.DataFrame]]:  # fmt: skip
    """Return each system's evidence as it is (under ``''``) and with its own chips' parts exchanged.

    Args:
        made: synthetic chips; captions, evidence: in their order; no_map: systems without a map of their own.
        n: most chips of a system, drawn at random; the others as in :func:`measure_faults`.
    """
    asked, texts = {}, np.asarray(captions, object)
    for system, rows in made.groupby("system", sort=False).groups.items():
        if system in no_map:
            continue
        part = np.asarray(rows)[draw_chips(rows, n, seed)]
        samples = chip_samples(made.loc[part], texts[part])
        own = evidence.loc[part].reset_index(drop=True).assign(unit=samples.units)
        faults = measure_faults(samples, own, witness, territory, chips, writer, seed, PAIRINGS)
        asked[str(system)] = {"": own, **faults}
    return asked


def _score(table: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column so that higher is better."""
    at_most = next((c.at_most for c in CRITERIA if c.column == column), False)
    values = table[column].to_numpy(float)
    return -values if at_most else values


def _auc_row(
    study: str, metric: str, system: str, fault: str, column: str, regime: str, own: pd.DataFrame,
    faulty: pd.DataFrame,
) -> dict:  # fmt: skip
    first, second = _score(own, column), _score(faulty, column)
    if fault == "planted_copy":
        value, low, high, n = two_sample_auc(first, second, system, fault, column, regime)
    else:
        value, low, high, n = paired_auc(
            first, second, system, fault, column, regime, units=own["unit"].to_numpy(str)
        )
    about = dict(system=system, arm=fault, regime=regime, low=low, high=high, n=n)
    return metric_row(study, STAGE, metric, value, **about)


def auc_rows(
    study: str, system: str, own: pd.DataFrame, faults: dict[str, pd.DataFrame], regime: str = ""
) -> list[dict]:
    """Return ``auc`` of the check that is for each fault, and ``check_auc`` of all that it touches.

    Intervals resample units: blocks of real windows, synthetic chips.

    Args:
        own: evidence of the samples as they are, with ``unit``; faults: from :func:`measure_faults`.
        regime: which samples, e.g. ``split=test``; ``check_auc`` adds the check to it.
    """
    rows = []
    checks = [c.column for c in CRITERIA if c.column in own] + ["kappa"]
    for fault, faulty in faults.items():
        if not fault:
            continue  # the samples as they are
        if np.isfinite(own[CHECK_FOR[fault]]).any():
            rows.append(_auc_row(study, "auc", system, fault, CHECK_FOR[fault], regime, own, faulty))
        for column in checks:
            first, second = own[column].to_numpy(float), faulty[column].to_numpy(float)
            same = len(first) == len(second) and np.nanmax(np.abs(first - second), initial=0) < SAME
            if not same and np.isfinite(first).any() and np.isfinite(second).any():
                where = ";".join(part for part in (regime, f"check={column}") if part)
                rows.append(_auc_row(study, "check_auc", system, fault, column, where, own, faulty))
    return rows


def verdict_rows(
    study: str, system: str, own: pd.DataFrame, faults: dict[str, pd.DataFrame], thresholds: list[Threshold]
) -> list[dict]:
    """Return ``keep_rate`` of the samples as they are and ``drop_rate`` under every fault, with intervals."""
    kept = rate_row(study, "keep_rate", system, "", judge(own, thresholds), "keep")
    return [kept, *drop_rows(study, system, faults, thresholds)]


def drop_rows(
    study: str, system: str, faults: dict[str, pd.DataFrame], thresholds: list[Threshold]
) -> list[dict]:
    """Return ``drop_rate`` under every fault as metric rows; intervals resample units."""
    return [
        rate_row(study, "drop_rate", system, fault, judge(faulty, thresholds), "drop")
        for fault, faulty in faults.items()
        if fault
    ]


def rate_row(
    study: str, metric: str, system: str, arm: str, judged: pd.DataFrame, verdict: str, regime: str = ""
) -> dict:
    """Return the share of judged samples (columns ``verdict``, ``unit``) with a verdict; intervals resample units."""
    hits = (judged["verdict"] == verdict).to_numpy(float)
    low, high = bootstrap_interval(
        lambda draw: hits[draw].mean(), len(hits), metric, system, arm, groups=judged["unit"].to_numpy(str)
    )
    about = dict(system=system, arm=arm, regime=regime, low=low, high=high, n=len(hits))
    return metric_row(study, STAGE, metric, hits.mean(), **about)


def fault_table(rows: list[dict]) -> pd.DataFrame:
    """Return faults by what is known of them on real test windows: strength, check, its AUC, share dropped."""
    table = pd.DataFrame(rows)
    real = table[(table["system"] == "real") & table["regime"].isin(["split=test", ""])]
    pick = {
        m: real[real["metric"] == m].drop_duplicates("arm").set_index("arm")["value"]
        for m in ("auc", "drop_rate")
    }
    faults = [fault for fault in STRENGTHS if fault in pick["drop_rate"].index]
    return pd.DataFrame(
        {
            "strength": [STRENGTHS[f] for f in faults],
            "check": [CHECK_FOR[f] for f in faults],
            "AUC of the check": [pick["auc"].get(f, np.nan) for f in faults],
            "dropped by the certificate": [pick["drop_rate"][f] for f in faults],
        },
        index=faults,
    )
