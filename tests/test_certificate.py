"""Verdicts: thresholds set on real chips alone, the first reason given, faults dropped."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundsynth.artifacts import check_table
from groundsynth.captions.layout import describe_layout
from groundsynth.checks.agreement import map_kappas
from groundsynth.checks.caption_scores import score_captions
from groundsynth.checks.certificate import (
    COLUMNS,
    CRITERIA,
    KEPT,
    fit_thresholds,
    gather_evidence,
    judge,
    share_rows,
    threshold_record,
    with_control,
)
from groundsynth.errors import GroundsynthError

NAMES = [criterion.column for criterion in CRITERIA]


def thresholds_at(value: float):
    return fit_thresholds({name: np.array([value]) for name in NAMES}, 1.0, "val")


def test_a_threshold_keeps_the_stated_share():
    values = np.arange(1, 21) / 20  # 20 chips
    for keep, expected in ((0.95, 0.10), (1.0, 0.05), (0.5, 0.55)):
        threshold = fit_thresholds(dict.fromkeys(NAMES, values), keep, "val")[0]
        assert threshold.value == pytest.approx(expected)
        assert threshold.kept >= keep
        highest = fit_thresholds(dict.fromkeys(NAMES, values), keep, "val")[-1]
        assert highest.at_most
        assert highest.value == pytest.approx(1.05 - expected)


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.floats(-1, 1), min_size=1, max_size=40),
    keep=st.floats(0, 1),
)
def test_no_threshold_keeps_less_than_asked(values, keep):
    for threshold in fit_thresholds(dict.fromkeys(NAMES, np.array(values)), keep, "val"):
        assert threshold.kept >= keep - 1e-9
        assert threshold.n == len(values)


def test_a_column_without_values_is_an_error():
    values = dict.fromkeys(NAMES, np.array([0.5])) | {"kappa": np.array([np.nan])}
    with pytest.raises(GroundsynthError, match="no real chip has a value of 'kappa'"):
        fit_thresholds(values, 0.95, "val")


@pytest.mark.parametrize(
    ("low", "reason"),
    [
        ([], KEPT),
        (["kappa"], "image and map disagree"),
        (["trust"], "the labeller is unsure of the image"),
        (["claim_precision"], "caption claims are false of the image"),
        (["nearest_train"], "too close to a training chip"),
        (["unlike_real"], "texture unlike real chips"),
        (["nearest_train", "claim_precision"], "caption claims are false of the image"),
        (NAMES, "image and map disagree"),
    ],
)
def test_the_first_failed_criterion_is_the_reason(low, reason):
    good = {c.column: 0.2 if c.at_most else 0.8 for c in CRITERIA}
    table = pd.DataFrame([{name: 1 - value if name in low else value for name, value in good.items()}])
    judged = judge(table, thresholds_at(0.5)).iloc[0]
    assert judged["reason"] == reason
    assert judged["verdict"] == ("keep" if reason == KEPT else "drop")


def test_what_does_not_apply_drops_nothing_and_the_limit_itself_is_kept():
    table = pd.DataFrame([dict.fromkeys(NAMES, np.nan), dict.fromkeys(NAMES, 0.5)])
    assert judge(table, thresholds_at(0.5))["verdict"].tolist() == ["keep", "keep"]


def make_set(swap: bool) -> pd.DataFrame:
    """Return the certificates of six chips whose labeller reads them perfectly."""
    readings = np.zeros((6, 32, 32), np.uint8)
    for i in range(6):
        readings[i, 5 * i : 5 * i + 7] = i + 1
    maps = np.roll(readings, 1, axis=0) if swap else readings
    names = [f"chip-{i}" for i in range(6)]
    captions = pd.DataFrame(
        {"chip_id": names, "system": "joint", "caption_index": 0,
         "caption": [describe_layout(labels, i) for i, labels in enumerate(maps)]}
    )  # fmt: skip
    scores = score_captions(captions, dict(zip(names, readings, strict=True)))
    agreement = pd.DataFrame(
        {"chip_id": names, "agreement": 0.9, "kappa": map_kappas(readings, maps), "trust": 0.9}
    )
    chips = pd.DataFrame(
        {"chip_id": names, "system": "joint", "generator": "unified-s0", "seed": 1, "condition": "",
         "model_hash": "ab"}
    )  # fmt: skip
    nearest = pd.DataFrame({"nearest_train": [0.7] * 6, "nearest_chip": "row 1", "unlike_real": 0.3})
    return gather_evidence(chips, agreement, scores, nearest)


def test_swapping_the_map_turns_keep_into_drop():
    thresholds = thresholds_at(0.5)
    kept, dropped = (judge(make_set(swap), thresholds) for swap in (False, True))
    assert kept["verdict"].tolist() == ["keep"] * 6
    assert (kept["claim_precision"] == 1).all()
    assert dropped["verdict"].tolist() == ["drop"] * 6
    assert set(dropped["reason"]) == {"image and map disagree"}
    assert (dropped["claim_precision"] < 1).all()


def test_the_certificate_meets_its_schema_also_without_a_map():
    evidence = judge(make_set(False), thresholds_at(0.5))
    evidence.loc[0, ["agreement", "kappa", "claim_precision"]] = np.nan
    check_table(evidence[list(COLUMNS)], "certificate", "certificate.csv")


def test_evidence_without_any_scored_caption_has_empty_claims():
    chips = pd.DataFrame({"chip_id": ["a"], "system": ["image"]})
    agreement = pd.DataFrame({"chip_id": ["a"], "agreement": [np.nan], "kappa": [np.nan], "trust": [0.8]})
    nearest = pd.DataFrame({"nearest_train": [0.7], "nearest_chip": "", "unlike_real": 1.0})
    table = gather_evidence(chips, agreement, pd.DataFrame(), nearest)
    assert table["claims"].tolist() == [0]
    assert np.isnan(table["claim_precision"].iloc[0])


def test_controls_replace_only_their_columns():
    evidence = make_set(False)
    controls = pd.DataFrame({"chip_id": ["chip-3", "chip-1"], "swapped_map": [0.1, 0.2]})
    table = with_control(evidence, controls, {"kappa": "swapped_map"}).set_index("chip_id")
    assert table["kappa"].to_dict() == {"chip-1": 0.2, "chip-3": 0.1}
    assert (table["trust"] == 0.9).all()


def test_rates_by_hand():
    judged = pd.DataFrame(
        {"system": ["joint"] * 4 + ["mask"], "verdict": ["keep", "keep", "keep", "drop", "drop"]}
    )
    rows = {row["system"]: row for row in share_rows("smoke", "keep_rate", judged, "keep")}
    assert rows["joint"]["value"] == 0.75
    assert rows["joint"]["low"] <= 0.75 <= rows["joint"]["high"]
    assert (rows["mask"]["value"], rows["mask"]["n"], rows["mask"]["low"]) == (0, 1, None)


def test_the_record_names_every_threshold():
    record = threshold_record(thresholds_at(0.5))
    assert list(record) == NAMES
    assert record["kappa"] == {
        "column": "kappa", "value": 0.5, "at_most": False, "keep_real": 1.0, "n": 1, "kept": 1.0, "set_on": "val",
    }  # fmt: skip
