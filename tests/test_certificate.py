"""Verdicts: thresholds set on real samples alone, for all criteria together; the first reason given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundsynth.artifacts import check_table
from groundsynth.checks.certificate import (
    CRITERIA,
    KEPT,
    certificate_columns,
    fit_thresholds,
    gather_evidence,
    judge,
    reason_rows,
    share_rows,
    threshold_record,
)
from groundsynth.errors import GroundsynthError

NAMES = [criterion.column for criterion in CRITERIA]
LOW, HIGH = [c.column for c in CRITERIA if not c.at_most], [c.column for c in CRITERIA if c.at_most]


def frame(value: float = 0.5, n: int = 1, **columns: object) -> pd.DataFrame:
    return pd.DataFrame(dict.fromkeys(NAMES, np.full(n, value)) | columns)


def thresholds_at(value: float):
    return fit_thresholds(frame(value), ["a"], 1.0, "val")


def fitted(real: pd.DataFrame, keep: float, faults: dict | None = None, units: object = None) -> dict:
    units = ["a"] * len(real) if units is None else units
    return {t.column: t for t in fit_thresholds(real, units, keep, "val", faults)}


def test_without_a_planted_fault_no_real_window_is_given_up():
    found = fitted(frame(n=20, map_fit=np.arange(1, 21) / 20), 0.5)["map_fit"]
    assert (found.value, found.level, found.kept_together) == (0.05, 0, 1)
    assert found.kept_elsewhere is None


@pytest.mark.parametrize(("fault", "limit", "kept"), [(3.5, 3.75, 0.9), (4.5, 0, 1)])
def test_real_windows_are_given_up_as_far_as_may_be(fault, limit, kept):
    """40 windows, 90 % to keep: four may go. Faults above the fourth can be had, those above the fifth cannot."""
    real = frame(n=40, map_fit=np.arange(40.0))
    found = fitted(real, 0.9, {"swapped_map": frame(n=10, map_fit=fault)})["map_fit"]
    assert (found.value, found.kept, found.kept_together) == (limit, kept, kept)
    assert found.level == pytest.approx(1 - kept)


def test_criteria_share_the_allowance():
    """Two criteria that fail different windows: at 90 % of 40, each may lose two and not four."""
    values = np.arange(40, dtype=float)
    real = frame(n=40, map_fit=values, unlike_real=values)  # lowest fit, highest texture
    faults = {
        "swapped_map": frame(n=10, map_fit=1.5, unlike_real=20),
        "spectrum_matched_noise": frame(n=10, map_fit=20, unlike_real=37.5),
    }
    found = fitted(real, 0.9, faults)
    assert (found["map_fit"].value, found["unlike_real"].value) == (1.75, 37.25)
    assert found["map_fit"].level == found["unlike_real"].level == 0.05
    assert found["map_fit"].kept_together == 0.9


def test_it_ends_where_faults_are_caught_as_often_as_real_windows_are_kept():
    """100 windows and 100 faults half below them: with 25 given up, 75 of each are judged rightly."""
    faulty = frame(n=100, map_fit=np.arange(-50, 50) - 0.5)
    found = fitted(frame(n=100, map_fit=np.arange(100.0)), 0.5, {"swapped_map": faulty})["map_fit"]
    assert (found.value, found.level, found.kept_together) == (25, 0.25, 0.75)


def test_a_block_unlike_the_others_makes_thresholds_lenient():
    """Four blocks, one of them far below: left out, it is lost, so no level keeps 90 % elsewhere."""
    blocks = np.repeat(["a", "b", "c", "d"], 10)
    values = np.r_[
        np.linspace(1, 2, 10), np.linspace(1, 2, 10), np.linspace(1, 2, 10), np.linspace(0, 0.5, 10)
    ]
    faults = {"swapped_map": frame(n=10, map_fit=0.2)}
    found = fitted(frame(n=40, map_fit=values), 0.9, faults, blocks)["map_fit"]
    assert (found.level, found.value, found.kept_together) == (0, 0, 1)
    assert found.kept_elsewhere == 0.75
    assert found.units == 4


def test_what_is_kept_elsewhere_decides():
    """Two blocks: to catch faults at 1.2, three of 20 windows go, as many as when each block judges the other."""
    values = np.r_[np.arange(10.0), np.arange(10.0) + 0.5]
    faults = {"swapped_map": frame(n=10, map_fit=1.2)}
    units = np.repeat(["a", "b"], 10)
    lenient, strict = (fitted(frame(n=20, map_fit=values), k, faults, units)["map_fit"] for k in (0.9, 0.8))
    # 0 lies below all of the other block, and is lost elsewhere whatever is given up
    assert (lenient.value, lenient.level, lenient.kept_elsewhere) == (0, 0, 0.95)
    # a loses 0 and 1 to b's limit, between 1.2 and 1.5; b loses 0.5 to a's limit 1
    assert (strict.level, strict.kept_together, strict.kept_elsewhere) == pytest.approx((0.15, 0.85, 0.85))
    assert strict.value == pytest.approx((1.5 + 1.2) / 2)


def test_a_limit_moves_half_way_to_faults_that_lie_apart():
    real = frame(n=10, nearest_train=np.linspace(0.5, 0.9, 10), unlike_real=np.linspace(0.5, 1, 10))
    faults = {
        "planted_copy": frame(n=20, nearest_train=0.1),
        "spectrum_matched_noise": frame(n=20, unlike_real=np.linspace(0.6, 4, 20)),  # overlaps with real
    }
    found = {name: threshold.value for name, threshold in fitted(real, 1.0, faults).items()}
    assert found["nearest_train"] == pytest.approx(0.3)
    assert found["unlike_real"] == 1
    assert found["map_fit"] == 0.5


def test_the_allowance_goes_to_checks_whose_faults_lie_among_real_windows():
    """40 windows, 90 % to keep: two checks vary, and one has faults that it cannot tell: half of them can be had."""
    values = np.arange(40, dtype=float)
    real = frame(n=40, map_fit=values, nearest_train=values + 100, caption_of_image=values)
    faults = {
        "swapped_map": frame(n=20, map_fit=np.repeat([3.5, 10], 10), nearest_train=120, caption_of_image=20),
        "planted_copy": frame(n=20, map_fit=20, nearest_train=0, caption_of_image=20),
    }
    found = fitted(real, 0.9, faults)
    assert (found["map_fit"].value, found["map_fit"].level) == (4, 0.1)
    assert (found["nearest_train"].level, found["nearest_train"].value) == (0, 50)
    other = found["caption_of_image"]  # catches nothing here
    assert (other.level, other.value) == (0, 0)
    assert found["map_fit"].kept_together == 0.9


@settings(max_examples=50, deadline=None)
@given(
    values=st.lists(st.floats(-1, 1), min_size=1, max_size=30), keep=st.floats(0, 1),
    faulty=st.lists(st.floats(-1, 1), min_size=1, max_size=9),
)  # fmt: skip
def test_no_threshold_keeps_less_than_asked(values, keep, faulty):
    real = frame(n=len(values), **dict.fromkeys(NAMES, np.array(values)))
    faults = {"swapped_map": frame(n=len(faulty), **dict.fromkeys(NAMES, np.array(faulty)))}
    for threshold in fitted(real, keep, faults).values():
        assert threshold.kept >= threshold.kept_together - 1e-9 >= keep - 2e-9
        assert threshold.n == len(values)


def test_a_column_without_values_is_an_error():
    with pytest.raises(GroundsynthError, match="no real chip has a value of 'map_fit'"):
        fit_thresholds(frame(map_fit=np.nan), ["a"], 0.95, "val")


@pytest.mark.parametrize(
    ("failing", "reason"),
    [
        ([], KEPT),
        (["map_fit"], "image and map disagree"),
        (["caption_of_map"], "caption claims are false of the map"),
        (["caption_of_image"], "caption does not fit the image"),
        (["nearest_train"], "too close to a training chip"),
        (["nearest_patch"], "pieces too close to training ground"),
        (["unlike_real"], "texture unlike real chips"),
        (["nearest_train", "caption_of_map"], "caption claims are false of the map"),
        (NAMES, "image and map disagree"),
    ],
)
def test_the_first_failed_criterion_is_the_reason(failing, reason):
    good = dict.fromkeys(LOW, 0.8) | dict.fromkeys(HIGH, 0.2)
    table = pd.DataFrame([{name: 1 - value if name in failing else value for name, value in good.items()}])
    judged = judge(table, thresholds_at(0.5)).iloc[0]
    assert judged["reason"] == reason
    assert judged["verdict"] == ("keep" if reason == KEPT else "drop")


def test_what_does_not_apply_drops_nothing_and_the_limit_itself_is_kept():
    table = pd.concat([frame(np.nan), frame(0.5)])
    assert judge(table, thresholds_at(0.5))["verdict"].tolist() == ["keep", "keep"]


def some_evidence(scores: pd.DataFrame) -> pd.DataFrame:
    chips = pd.DataFrame(
        {"chip_id": ["a", "b"], "system": ["joint", "image"], "generator": "unified-s0", "seed": 1,
         "condition": "", "model_hash": "ab"}
    )  # fmt: skip
    agreement = pd.DataFrame({"chip_id": ["b", "a"], "agreement": [np.nan, 0.9]})
    measured = frame(n=2, kappa=[0.4, np.nan], map_fit=[0.6, np.nan], trust=0.5, nearest_chip=["w", "v"])
    return gather_evidence(chips, agreement, scores, measured)


def test_evidence_is_joined_by_chip_and_meets_its_schema():
    scores = pd.DataFrame({"chip_id": ["a", "a"], "true": [2, 1], "false": [1, 0]})
    table = some_evidence(scores)
    assert table["agreement"].tolist()[0] == 0.9
    assert table["claim_precision"].tolist()[0] == 0.75
    assert table["claims"].tolist() == [4, 0]
    judged = judge(table, thresholds_at(0.5))
    assert check_table(judged[certificate_columns(judged)], "certificate", "c.csv")["map_fit"].isna().tolist() == [
        False, True,
    ]  # fmt: skip


def test_evidence_without_any_scored_caption_has_empty_claims():
    table = some_evidence(pd.DataFrame())
    assert table["claims"].tolist() == [0, 0]
    assert table["claim_precision"].isna().all()


def test_rates_and_reasons_by_hand():
    reasons = ["image and map disagree", KEPT, KEPT, KEPT, "image and map disagree"]
    judged = frame(n=5, system=["joint"] * 4 + ["mask"], reason=reasons,
                   verdict=["drop", "keep", "keep", "keep", "drop"])  # fmt: skip
    rows = {row["system"]: row for row in share_rows("smoke", "keep_rate", judged, "keep")}
    assert rows["joint"]["value"] == 0.75
    assert rows["joint"]["low"] <= 0.75 <= rows["joint"]["high"]
    assert (rows["mask"]["value"], rows["mask"]["n"], rows["mask"]["low"]) == (0, 1, None)
    found = {(row["system"], row["regime"]): row["value"] for row in reason_rows("smoke", judged)}
    assert found["joint", "reason=image and map disagree"] == 0.25
    assert found["mask", "reason=texture unlike real chips"] == 0
    assert len(found) == 2 * len(CRITERIA)


def test_the_record_names_every_threshold():
    record = threshold_record(thresholds_at(0.5))
    assert list(record) == NAMES
    assert record["map_fit"] == {
        "column": "map_fit", "value": 0.5, "at_most": False, "level": 0.0, "keep_real": 1.0, "kept": 1.0,
        "kept_together": 1.0, "kept_elsewhere": None, "n": 1, "units": 1, "set_on": "val",
    }  # fmt: skip
