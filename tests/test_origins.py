"""Where a gain comes from: hand-computed borders, correlations, biases and chosen chips."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from groundsynth.benchmark.arms import parse_arms
from groundsynth.benchmark.counting import calibration_table, near_border
from groundsynth.benchmark.metrics import class_precision, class_recall, rank_correlation, share_bias
from groundsynth.benchmark.origins import changed_chips, gain_correlation, most_promising


def test_pixels_within_two_of_another_class_are_near_a_border():
    truth = np.zeros((1, 6, 9), np.uint8)
    truth[:, :, 5:] = 4
    assert np.flatnonzero(near_border(truth)[0, 0]).tolist() == [3, 4, 5, 6]
    truth[:, :, 4] = 255  # between the two classes nobody knows
    assert np.flatnonzero(near_border(truth)[0, 0]).tolist() == [3, 5]
    assert not near_border(np.where(truth == 4, 255, truth).astype(np.uint8)).any(), "no label is no class"
    assert near_border(np.array([[[3, 0]]], np.uint8)).all(), "class 0 makes borders too"


def test_precision_recall_and_bias_by_hand():
    """100 pixels: 60 of class 0, 40 of class 1; 50 and 20 found, 10 of class 0 named 1, 20 of class 1 named 0."""
    counts = np.zeros((7, 3))
    counts[0], counts[1] = [50, 20, 10], [20, 10, 20]
    assert class_precision(counts)[:2] == pytest.approx([50 / 70, 20 / 30])
    assert class_recall(counts)[:2] == pytest.approx([50 / 60, 20 / 40])
    assert np.isnan(class_precision(counts)[2])
    assert np.isnan(class_recall(counts)[2])
    assert [share_bias(counts, k) for k in (0, 1, 2)] == pytest.approx([10, -10, 0])


def test_a_class_never_named_has_precision_and_recall_zero():
    counts = np.zeros((7, 3))
    counts[5] = [0, 0, 8]
    assert class_precision(counts)[5] == class_recall(counts)[5] == 0


def test_rank_correlation_is_spearmans_and_leaves_gaps_out():
    random = np.random.default_rng(0)
    first, second = random.integers(0, 4, (20, 7)).astype(float), random.normal(size=(20, 7))
    expected = [spearmanr(a, b).statistic for a, b in zip(first, second, strict=True)]
    assert rank_correlation(first, second) == pytest.approx(expected)
    gaps = np.array([5.0, np.nan, 1.0, 2.0])
    assert rank_correlation(gaps, np.array([1.0, 9.0, 3.0, 2.0])) == pytest.approx(-1)
    assert np.isnan(rank_correlation(np.array([1.0, 2.0]), np.array([1.0, 2.0])))
    assert np.isnan(rank_correlation(np.ones(4), np.arange(4.0)))


def test_gains_of_rare_classes_give_a_correlation_of_minus_one():
    """Three classes of 100 pixels in each of two blocks; the second arm finds more of the rarer ones."""
    counts = np.zeros((2, 1, 2, 7, 3), np.int64)
    for k, gain in enumerate((0, 10, 20)):
        counts[0, :, :, k], counts[1, :, :, k] = [50, 0, 50], [50 + gain, 0, 50 - gain]
    shares = np.array([0.7, 0.2, 0.1, 0, 0, 0, 0])
    rows = gain_correlation(counts, 0, shares, 20)
    assert np.isnan(rows[0]["value"]), "the reference gains nothing anywhere"
    assert rows[1] == {"value": pytest.approx(-1), "low": pytest.approx(-1), "high": pytest.approx(-1)}


def test_chips_are_chosen_by_how_much_they_change():
    rights = {"real": [5, 5, 5, 5, 5], "real+mask": [9, 5, 2, 6, 4]}
    counts = pd.DataFrame(
        [{"arm": arm, "split": split, "chip_id": f"c{i}", "tp": right if split == "test" else 0, "fn": 10 - right}
         for arm, values in rights.items() for i, right in enumerate(values) for split in ("test", "val")]
    )  # fmt: skip
    change = changed_chips(counts, ("real", "real+mask"), "test", most=2)
    assert change.round(2).to_dict() == {"c0": 0.4, "c3": 0.1, "c2": -0.3, "c4": -0.1}


def test_an_arm_of_more_steps_is_promising_for_its_chips_and_not_for_its_steps():
    scores = {"real": 0.3, "real@4": 0.5, "real+mask": 0.35, "real+mask@3*": 0.52, "real+cutmix": 0.9}
    runs = pd.DataFrame(
        [{"arm": arm, "val_miou": score + d} for arm, score in scores.items() for d in (-0.1, 0.1)]
    )
    arms = parse_arms(list(scores), ["mask"])
    assert most_promising(runs, arms) == ("real", "real+mask")
    assert most_promising(runs, [arm for arm in arms if arm.name != "real+mask"]) == (
        "real@4",
        "real+mask@3*",
    )
    assert most_promising(runs, arms[:2]) == ("real", "real")


def test_bins_of_confidence_hold_every_labelled_pixel_once():
    truth = np.array([[[0, 1], [1, 255]]], np.uint8)
    chips = pd.DataFrame({"chip_id": ["a"], "block": [3], "mask": list(truth)})
    trust = np.array([[[255, 255], [51, 51]]], np.uint8)
    table = calibration_table(np.array([[[0, 0], [1, 0]]], np.uint8), trust, chips, "test").set_index("bin")
    assert table["pixels"].sum() == 3
    assert table.loc[14, ["pixels", "confidence", "right"]].tolist() == [2, 2, 1]
    assert table.loc[3, ["pixels", "right"]].tolist() == [1, 1]
    assert table.loc[3, "confidence"] == pytest.approx(0.2)
