"""Temperature and calibration error against numbers worked out by hand, and against planted truths."""

import numpy as np
import pandas as pd
import pytest
from made_up_labeller import Says, pictures

from groundsynth.checks.calibration import (
    BINS,
    RANGE,
    calibration_rows,
    doubt_rows,
    expected_error,
    fit_temperature,
    labelled_logs,
    mean_loss,
    measure_calibration,
    reliability,
)
from groundsynth.errors import GroundsynthError
from groundsynth.models.labeller import Labeller, PixelScores


def scores_of(label: np.ndarray, confidence: np.ndarray) -> PixelScores:
    nothing = np.zeros(label.shape, np.float32)
    return PixelScores(label.astype(np.uint8), confidence.astype(np.float32), nothing, nothing, nothing)


def drawn(temperature: float, n: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and classes drawn with the probabilities that those logits have at a temperature."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (n, 7))
    chances = np.exp(logits / temperature)
    chances /= chances.sum(1, keepdims=True)
    truth = (random.random((n, 1)) > chances.cumsum(1)).sum(1)
    return logits, truth


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_planted_temperature_is_found(temperature):
    assert fit_temperature(*drawn(temperature)) == pytest.approx(temperature, rel=0.05)


def test_the_loss_by_hand():
    logits = np.array([[np.log(3), 0.0], [0.0, 0.0]])
    assert mean_loss(logits, np.array([0, 1]), 1.0) == pytest.approx((np.log(4 / 3) + np.log(2)) / 2)
    assert mean_loss(2 * logits, np.array([0, 1]), 2.0) == pytest.approx((np.log(4 / 3) + np.log(2)) / 2)


def test_a_labeller_that_is_always_wrong_gets_the_highest_temperature():
    logits = np.zeros((10, 7))
    logits[:, 0] = 5
    assert fit_temperature(logits, np.ones(10, int)) == pytest.approx(RANGE[1], rel=0.01)


def test_calibration_error_by_hand():
    """Ten pixels at 0.95 of which seven are right, ten at 0.55 of which five are: gaps 0.25 and 0.05."""
    label = np.zeros((2, 2, 5), np.uint8)
    truth = np.zeros_like(label)
    truth[0].ravel()[:3] = 1
    truth[1].ravel()[:5] = 1
    confidence = np.stack([np.full((2, 5), 0.95), np.full((2, 5), 0.55)])
    counts = reliability(scores_of(label, confidence), truth, np.array([7, 8]))
    assert counts.shape == (2, 7, BINS, 3)
    assert counts[..., 0].sum() == 20
    assert expected_error(counts.sum((0, 1))) == pytest.approx((0.25 + 0.05) / 2, abs=1e-6)
    assert expected_error(counts[0, 0]) == pytest.approx(0.25, abs=1e-6)
    assert np.isnan(expected_error(counts[0, 3])), "class 3 is never named"


def test_what_has_no_label_does_not_count_and_full_confidence_has_a_bin():
    truth = np.array([[[0, 255], [255, 255]]], np.uint8)
    counts = reliability(scores_of(np.zeros((1, 2, 2)), np.ones((1, 2, 2))), truth, np.array([0]))
    assert counts[0, 0, -1].tolist() == [1, 1, 1]
    assert counts[..., 0].sum() == 1


def test_rows_hold_the_whole_and_every_named_class():
    label = np.array([[[0, 0], [4, 4]]] * 3, np.uint8)
    counts = reliability(scores_of(label, np.full(label.shape, 0.8)), label, np.arange(3))
    rows = calibration_rows("s", "ece_before", counts, "val")
    assert [row["class"] for row in rows] == ["", "tree cover", "built-up"]
    assert [row["n"] for row in rows] == [3, 6, 6]
    assert all(row["value"] == pytest.approx(0.2) for row in rows)
    assert all(row["low"] <= row["value"] + 1e-9 and row["value"] <= row["high"] + 1e-9 for row in rows)
    single = calibration_rows("s", "ece_before", counts[:1], "val")
    assert single[0]["low"] is None, "one block cannot say how blocks vary"


def test_a_temperature_needs_a_labelled_pixel():
    labeller = Labeller((Says(0.0),))
    with pytest.raises(GroundsynthError, match="none of the 2 validation chips has a labelled pixel"):
        labelled_logs(labeller, pictures(), np.full((2, 4, 4), 255, np.uint8))
    masks = np.full((2, 4, 4), 255, np.uint8)
    masks[1, 0, 0] = 3
    logs, truth = labelled_logs(labeller, pictures(), masks)
    assert logs.shape == (1, 7)
    assert truth.tolist() == [3]


def test_doubt_is_told_per_system():
    entropy = np.stack([np.full((2, 2), value, np.float32) for value in (0.2, 0.4, 0.9)])
    scores = PixelScores(entropy, entropy, entropy, entropy, entropy / 2)
    rows = doubt_rows("s", ["mask", "mask", "image"], scores, several=True)
    values = {(row["metric"], row["system"]): row["value"] for row in rows}
    assert values[("predictive_entropy", "mask")] == pytest.approx(0.3)
    assert values[("disagreement", "image")] == pytest.approx(0.45)
    assert {row["metric"] for row in doubt_rows("s", ["mask"] * 3, scores, several=False)} == {
        "predictive_entropy"
    }


def test_a_stage_measures_both_splits_and_keeps_the_fitted_temperature():
    """The labeller gives class 0 three quarters and is right on all pixels: the colder, the better."""
    chips = pd.DataFrame(
        {"split": ["val", "val", "test", "train"], "block": [0, 1, 2, 3], "image": list(pictures(4)),
         "mask": [np.zeros((4, 4), np.uint8)] * 4}
    )  # fmt: skip
    scaled, rows, bins = measure_calibration("s", Labeller((Says(np.log(3), 0.0),)), chips)
    assert scaled.temperature == pytest.approx(RANGE[0], rel=0.01)
    table = pd.DataFrame(rows).query("`class` == ''").set_index(["metric", "regime"])["value"]
    assert table["ece_before", "split=test"] == pytest.approx(0.25)
    assert table["ece_after", "split=test"] == pytest.approx(0, abs=1e-6)
    assert table["predictive_entropy", "split=val"] == pytest.approx(0, abs=1e-6)
    assert set(bins) == {
        (metric, split) for metric in ("ece_before", "ece_after") for split in ("val", "test")
    }
