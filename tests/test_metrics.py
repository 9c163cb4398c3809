"""Counts and scores against tables worked out by hand, and against scikit-learn."""

import time

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, f1_score, jaccard_score

from groundsynth.benchmark.metrics import (
    agreement,
    class_f1,
    class_iou,
    confusions,
    count_chips,
    kappa,
    mean_iou,
    pooled_iou,
)
from groundsynth.errors import GroundsynthError

# one chip of 2 × 3 pixels: reference 0 0 1 / 1 255 2, named 0 1 1 / 1 3 0
TRUTH = np.array([[[0, 0, 1], [1, 255, 2]]], np.uint8)
NAMED = np.array([[[0, 1, 1], [1, 3, 0]]], np.uint8)


def random_maps(seed: int, n: int = 3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.choice([0, 1, 2, 3, 4, 255], size=(n, 8, 8)).astype(np.uint8)
    named = np.where(random.random(truth.shape) < 0.6, truth, random.integers(0, 5, truth.shape))
    return np.where(named == 255, 0, named).astype(np.uint8), truth


@pytest.mark.parametrize(
    ("class_", "tp", "fp", "fn"), [(0, 1, 1, 1), (1, 2, 1, 0), (2, 0, 0, 1), (3, 0, 0, 0), (6, 0, 0, 0)]
)
def test_counts_by_hand(class_, tp, fp, fn):
    """The pixel named 3 has no reference: it counts nowhere."""
    assert count_chips(NAMED, TRUTH)[0, class_].tolist() == [tp, fp, fn]


def test_iou_by_hand():
    values = class_iou(count_chips(NAMED, TRUTH))[0]
    np.testing.assert_allclose(values[:3], [1 / 3, 2 / 3, 0])
    assert np.isnan(values[3:]).all(), "an absent class has no IoU"


@pytest.mark.parametrize(("classes", "expected"), [((0, 1), 0.5), ((0, 1, 2), 1 / 3), ((1, 6), 2 / 3)])
def test_mean_iou_skips_absent_classes(classes, expected):
    assert mean_iou(count_chips(NAMED, TRUTH).sum(0), classes) == pytest.approx(expected)


def test_mean_iou_of_nothing_is_nan():
    assert np.isnan(mean_iou(count_chips(NAMED, TRUTH).sum(0), [5, 6]))


def test_pooled_iou_adds_counts_before_dividing():
    """Classes 0 and 2 together: 1 hit, 1 false, 2 missed."""
    assert pooled_iou(count_chips(NAMED, TRUTH)[0], [0, 2]) == pytest.approx(1 / 4)


def test_a_class_named_but_not_in_the_reference_has_no_iou():
    named, truth = np.full((1, 2, 2), 6, np.uint8), np.zeros((1, 2, 2), np.uint8)
    values = class_iou(count_chips(named, truth))[0]
    assert np.isnan(values[6])
    assert values[0] == 0


@pytest.mark.parametrize("seed", range(3))
def test_iou_agrees_with_sklearn(seed):
    named, truth = random_maps(seed)
    known = truth != 255
    ours = class_iou(count_chips(named, truth).sum(0))[:5]
    theirs = jaccard_score(truth[known], named[known], labels=range(5), average=None)
    np.testing.assert_allclose(ours, theirs)


@pytest.mark.parametrize("seed", range(3))
def test_kappa_agrees_with_sklearn(seed):
    named, truth = random_maps(seed, n=1)
    known = truth != 255
    table = confusions(named, truth)
    assert kappa(table)[0] == pytest.approx(cohen_kappa_score(truth[known], named[known]))
    assert agreement(table)[0] == pytest.approx((truth[known] == named[known]).mean())


def test_kappa_is_undefined_where_chance_alone_agrees():
    same = np.zeros((1, 4, 4), np.uint8)
    assert np.isnan(kappa(confusions(same, same))[0])


def test_a_chip_without_labels_counts_nothing_and_scores_nan():
    table = confusions(NAMED, np.full_like(TRUTH, 255))
    assert table.sum() == 0
    assert np.isnan(agreement(table)[0])
    assert np.isnan(kappa(table)[0])


@pytest.mark.parametrize("seed", range(3))
def test_counts_add_up(seed):
    """Hits and misses are the labelled pixels; false and missed are equal in sum."""
    named, truth = random_maps(seed)
    tp, fp, fn = np.moveaxis(count_chips(named, truth), -1, 0)
    np.testing.assert_array_equal((tp + fn).sum(1), (truth != 255).sum((1, 2)))
    np.testing.assert_array_equal(fp.sum(1), fn.sum(1))


def scikit_learn_against_counts(chips: int, size: int) -> tuple[float, float]:
    """Return the seconds scikit-learn and counting take for IoU and F1, which must be equal."""
    random = np.random.default_rng(0)
    truth = random.integers(0, 6, (chips, size, size), np.uint8)  # class 6 is absent
    named = np.where(
        random.random(truth.shape, np.float32) < 0.7, truth, random.integers(0, 7, truth.shape, np.uint8)
    )
    truth[random.random(truth.shape, np.float32) < 0.1] = 255
    start = time.perf_counter()
    known = truth != 255
    flat = truth[known], named[known]
    theirs = [score(*flat, labels=range(6), average=None) for score in (jaccard_score, f1_score)]
    middle = time.perf_counter()
    counts = count_chips(named, truth).sum(0)
    ours = [score(counts) for score in (class_iou, class_f1)]
    end = time.perf_counter()
    for own, other in zip(ours, theirs, strict=True):
        assert own[:6].tolist() == other.tolist(), "equal to the last bit"
        assert np.isnan(own[6])
    return middle - start, end - middle


def test_counting_is_exact_and_fast():
    theirs, ours = scikit_learn_against_counts(40, 256)
    assert theirs > 10 * ours  # 20 in the slow test; less is asked of a busy machine


@pytest.mark.slow
def test_counting_a_thousand_chips_is_exact_and_twenty_times_faster():
    theirs, ours = scikit_learn_against_counts(1000, 256)
    print(f"scikit-learn {theirs:.1f} s, counting {ours:.2f} s: {theirs / ours:.0f} times faster")
    assert theirs > 20 * ours


def test_f1_by_hand():
    """Class 0: 1 hit, 1 false, 1 missed: 2 / 4. Class 1: 2 hits, 1 false: 4 / 5."""
    values = class_f1(count_chips(NAMED, TRUTH))[0]
    assert values[:3].tolist() == [0.5, 0.8, 0.0]
    assert np.isnan(values[3:]).all()


def test_a_chip_of_one_class_is_counted():
    one = np.full((2, 4, 4), 5, np.uint8)
    counts = count_chips(one, one)
    assert counts[:, 5].tolist() == [[16, 0, 0]] * 2
    assert counts.sum() == 32
    assert mean_iou(counts.sum(0)) == 1


@pytest.mark.parametrize(("code", "told"), [(7, "7"), (254, "254"), (1000, "1000"), (-1, "-1")])
def test_codes_outside_the_legend_are_refused_on_either_side(code, told):
    wide = TRUTH.astype(int)
    odd = np.where(wide == 2, code, wide)
    with pytest.raises(GroundsynthError, match=f"class code {told} is not in the legend"):
        count_chips(NAMED, odd)
    with pytest.raises(GroundsynthError, match=f"named class {told} is not in the legend"):
        count_chips(np.where(NAMED == 1, code, NAMED.astype(int)), TRUTH)


def test_what_is_named_where_nothing_is_labelled_does_not_matter():
    named = np.where(TRUTH == 255, 200, NAMED).astype(np.uint8)
    np.testing.assert_array_equal(count_chips(named, TRUTH), count_chips(NAMED, TRUTH))


def test_bad_input_is_told_in_one_sentence():
    with pytest.raises(GroundsynthError, match="must be equal"):
        count_chips(NAMED[:, :1], TRUTH)
    with pytest.raises(GroundsynthError, match="255 is not in the legend"):
        count_chips(np.full_like(NAMED, 255), TRUTH)
