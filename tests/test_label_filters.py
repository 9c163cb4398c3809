"""Filters against decisions worked out by hand; corruptions and curves against scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from made_up_labeller import Reads, Says
from sklearn.metrics import average_precision_score

from groundsynth.artifacts import write_chips
from groundsynth.checks import label_corruption
from groundsynth.checks.label_corruption import (
    CORRUPTIONS,
    SHARES,
    choose_and_try,
    corrupt,
    curve,
    lift,
    ranked_counts,
)
from groundsynth.checks.label_filters import (
    FILTERS,
    PIXEL_FILTERS,
    Thresholds,
    apply_filter,
    dropped,
    filter_chips,
    filter_rows,
    fit_thresholds,
    hardness_copies,
    suspicion,
    threshold_rows,
)
from groundsynth.errors import GroundsynthError
from groundsynth.models.labeller import Labeller, PixelScores

LOSSES = np.array([1.0, 2.0, 0.5, 1.0, 1.0, 1.0, 1.0])
LIMITS = Thresholds(LOSSES, confidence=0.2, relabel=0.8, chip=0.3, copies=4)


def one_chip() -> tuple[np.ndarray, PixelScores]:
    """Given 0, 1, 0, no label; the labeller names 0 everywhere, with 0.9, 0.7, 0.3, 0.9."""
    given = np.array([[[0, 1], [0, 255]]], np.uint8)
    confidence = np.array([[[0.9, 0.85], [0.3, 0.9]]], np.float32)
    probability = np.array([[[0.9, 0.05], [0.25, np.nan]]], np.float32)
    zeros = np.zeros(given.shape, np.float32)
    return given, PixelScores(zeros.astype(np.uint8), confidence, -np.log(probability), zeros, zeros)


@pytest.mark.parametrize(
    ("name", "masks", "copies"),
    [
        # losses 0.11, 3.0, 1.39 against 1.25 × 1, 1.25 × 2, 1.25 × 1
        ("freemask", [0, 255, 255, 255], 1),
        # probabilities 0.9, 0.05, 0.25 against 0.2
        ("confidence", [0, 255, 0, 255], 1),
        # the labeller says 0 with 0.85 where 1 was given: above 0.8, so it overrules
        ("agreement", [0, 0, 0, 255], 1),
        # mean probability 0.4 against 0.3
        ("chip", [0, 1, 0, 255], 1),
        ("hardness", [0, 1, 0, 255], 4),
    ],
)
def test_every_filter_by_hand(name, masks, copies):
    given, scores = one_chip()
    left, often = apply_filter(name, scores, given, LIMITS)
    assert left.ravel().tolist() == masks
    assert often.tolist() == [copies]
    assert given.ravel().tolist() == [0, 1, 0, 255], "the given map stays as it is"


def test_an_unsure_labeller_overrules_nothing():
    given, scores = one_chip()
    unsure = Thresholds(LOSSES, 0.2, 0.86, 0.3, 4)
    assert apply_filter("agreement", scores, given, unsure)[0].ravel().tolist() == [0, 255, 0, 255]


def test_a_whole_chip_is_dropped_below_the_threshold():
    given, scores = one_chip()
    strict = Thresholds(LOSSES, 0.2, 0.8, 0.41, 4)
    assert apply_filter("chip", scores, given, strict)[1].tolist() == [0]


def test_a_chip_that_keeps_no_label_is_dropped():
    given, scores = one_chip()
    none = Thresholds(LOSSES * 0.01, 0.99, 0.8, 0.3, 4)
    for name in ("freemask", "confidence"):
        assert apply_filter(name, scores, given, none)[1].tolist() == [0]
    bare = np.full_like(given, 255)
    nothing = PixelScores(
        scores.label, scores.confidence, np.full(given.shape, np.nan), scores.entropy, scores.entropy
    )
    for name in FILTERS:
        assert apply_filter(name, nothing, bare, LIMITS)[1].tolist() == [0]


def test_hard_chips_are_repeated_by_rank():
    """Class losses 0.5 < 1 < 2: ranks 1, 2, 3 of 3, so ⌈4/3⌉, ⌈8/3⌉ and 4 copies."""
    given = np.stack([np.full((2, 2), k, np.uint8) for k in (0, 1, 2)])
    assert hardness_copies(given, LIMITS).tolist() == [3, 4, 2]


def test_thresholds_come_from_real_pixels():
    """Ten pixels of class 0 with probabilities 0.05 … 0.95; the likelier half is named right."""
    probability = np.linspace(0.05, 0.95, 10).reshape(1, 2, 5)
    masks = np.zeros((1, 2, 5), np.uint8)
    label = np.where(probability > 0.5, 0, 1).astype(np.uint8)
    zeros = np.zeros_like(probability)
    scores = PixelScores(label, np.maximum(probability, 1 - probability), -np.log(probability), zeros, zeros)
    found = fit_thresholds(scores, masks, 0.8, 0.5, 3)
    assert found.confidence == pytest.approx(np.quantile(probability, 0.2))
    assert found.class_loss == pytest.approx(np.full(7, -np.log(probability).mean()))
    assert found.relabel == pytest.approx(0.55), "at every confidence one label is right and one wrong"
    assert fit_thresholds(scores, masks, 0.8, 0.6, 3).relabel > 1, (
        "never right three times in five: never overrules"
    )
    assert found.chip == pytest.approx(probability.mean())
    rows = threshold_rows("s", found)
    assert len(rows) == 3 + 7
    with pytest.raises(GroundsynthError, match="none of the 1 validation chips has a labelled pixel"):
        fit_thresholds(scores, np.full_like(masks, 255), 0.8, 0.5, 3)


@pytest.mark.parametrize("name", PIXEL_FILTERS)
def test_what_is_dropped_is_more_suspect_than_what_is_kept(name):
    random = np.random.default_rng(0)
    given = random.choice([0, 1, 2, 255], (3, 6, 6)).astype(np.uint8)
    chances = random.dirichlet(np.ones(7), given.shape)
    asked = np.take_along_axis(chances, np.where(given == 255, 0, given)[..., None].astype(int), -1)[..., 0]
    loss = np.where(given == 255, np.nan, -np.log(asked))
    zeros = np.zeros(given.shape)
    scores = PixelScores(chances.argmax(-1).astype(np.uint8), chances.max(-1), loss, zeros, zeros)
    suspect, out = suspicion(name, scores, given, LIMITS), dropped(name, scores, given, LIMITS)
    assert not out[given == 255].any()
    assert np.isnan(suspect[given == 255]).all()
    assert 0 < out.sum() < (given != 255).sum()
    assert suspect[out].min() > suspect[~out & (given != 255)].max()


def test_unknown_filters_are_refused():
    given, scores = one_chip()
    with pytest.raises(GroundsynthError, match="filter 'blur' does not exist; choose one of freemask"):
        apply_filter("blur", scores, given, LIMITS)
    with pytest.raises(GroundsynthError, match="filter 'chip' has no score per pixel"):
        suspicion("chip", scores, given, LIMITS)


def made_up_chips(n: int = 12, size: int = 32) -> pd.DataFrame:
    random = np.random.default_rng(1)
    masks = np.stack(
        [np.kron(random.integers(0, 4, (4, 4)), np.ones((size // 4, size // 4))) for _ in range(n)]
    )
    return pd.DataFrame(
        {"chip_id": [f"c{k}" for k in range(n)], "system": ["mask"] * (n // 2) + ["joint"] * (n // 2),
         "image": list(np.repeat(masks[..., None] * 60, 3, -1).astype(np.uint8)),
         "mask": list(masks.astype(np.uint8)), "block": np.arange(n) // 3}
    )  # fmt: skip


def test_filtered_chips_keep_their_schema_and_shares_add_up(tmp_path):
    chips = made_up_chips()
    given = np.stack(chips["mask"])
    labeller = Labeller((Says(1.0, 0.9, 0.2, 0.1),))
    tables, rows = filter_chips("s", FILTERS, chips, np.full(len(chips), -1), labeller, LIMITS)
    assert filter_chips("s", [], chips, np.full(len(chips), -1), labeller, LIMITS) == ({}, [])
    for name, table in tables.items():
        write_chips(table, tmp_path / f"{name}.parquet", "filtered")
        told = pd.DataFrame(filter_rows("s", name, table, given)).query("metric != 'filter_chips'")
        np.testing.assert_allclose(told.groupby("system")["value"].sum(), 1)
    assert {row["metric"] for row in rows} >= {"predictive_entropy", "filter_dropped", "filter_relabelled"}
    hard = tables["hardness"].groupby("system")["copies"].agg(["min", "max"])
    assert (hard["max"] == 4).all(), "ranked within each system"


# --- planted errors --------------------------------------------------------------------------


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("share", SHARES)
def test_corruptions_change_what_was_asked_for(name, share):
    masks = np.stack(made_up_chips()["mask"])
    masks[0, :4] = 255
    changed = corrupt(name, masks, share, 0)
    wrong = changed != masks
    assert wrong.sum() / (masks != 255).sum() == pytest.approx(share, rel=0.2)
    assert ((changed == 255) == (masks == 255)).all()
    assert set(np.unique(changed)) <= {0, 1, 2, 3, 255}
    np.testing.assert_array_equal(changed, corrupt(name, masks, share, 0))
    assert not np.array_equal(changed, corrupt(name, masks, share, 1))


def test_frequent_classes_take_the_place_of_others_more_often():
    masks = np.stack(made_up_chips()["mask"])
    masks[masks == 3] = 0
    masks[0, 0, 0] = 3  # a single pixel
    named = {
        name: corrupt(name, masks, 0.2, 0)[corrupt(name, masks, 0.2, 0) != masks] for name in CORRUPTIONS[1:3]
    }
    assert (named["swapped_classes"] == 3).mean() > 0.15
    assert (named["swapped_by_frequency"] == 3).mean() < 0.02


def test_shifted_borders_are_wrong_near_borders_only():
    mask = np.zeros((4, 32, 32), np.uint8)
    mask[:, :, 16:] = 1
    wrong = corrupt("shifted_borders", mask, 0.05, 0) != mask
    columns = np.flatnonzero(wrong.any((0, 1)))
    assert columns.min() >= 8
    assert columns.max() < 24


@pytest.mark.parametrize("name", ["swapped_classes", "swapped_by_frequency"])
def test_swapped_classes_change_whole_patches(name):
    masks = np.stack(made_up_chips()["mask"])
    changed = corrupt(name, masks, 0.1, 0)
    for before, after in zip(masks, changed, strict=True):
        squares = (before != after).reshape(4, 8, 4, 8).mean((1, 3))
        assert set(np.unique(squares)) <= {0.0, 1.0}


def test_maps_of_one_class_cannot_be_corrupted_and_are_left_out():
    chips = made_up_chips()
    chips["mask"] = [np.zeros((32, 32), np.uint8)] * len(chips)
    assert not corrupt("random_patches", np.stack(chips["mask"]), 0.1, 0).any()
    _, tried, ranked, rows = choose_and_try("s", Labeller((Says(1.0, 0.5),)), chips, 0.9, 0.9, 4, 0)
    assert set(tried["corruption"]) == {"none"}
    assert ranked == {}
    assert {row["metric"] for row in rows} == {"filter_dropped"}
    with pytest.raises(GroundsynthError, match="corruption 'fog' does not exist"):
        corrupt("fog", np.stack(chips["mask"]), 0.1, 0)


def test_the_area_is_average_precision():
    random = np.random.default_rng(0)
    wrong = random.random((6, 20, 20)) < 0.1
    suspect = np.round(random.random(wrong.shape) + 0.6 * wrong, 1)  # few values, so many ties
    suspect[0, 0] = np.nan
    counts = ranked_counts(suspect, wrong, np.arange(6) // 2)
    known = np.isfinite(suspect)
    assert counts.shape[0] == 3
    assert counts.sum((0, 1)).tolist() == [known.sum(), wrong[known].sum()]
    expected = average_precision_score(wrong[known], suspect[known]) / wrong[known].mean()
    assert lift(counts.sum(0)) == pytest.approx(expected)


def test_lift_by_hand():
    """Four pixels, one wrong: found first, the lift is 1 / share; found last it is chance."""
    assert lift(np.array([[1, 1], [3, 0]])) == 4
    assert lift(np.array([[3, 0], [1, 1]])) == 1
    assert np.isnan(lift(np.array([[3, 0], [1, 0]])))
    precision, recall = curve(np.array([[1, 1], [3, 0]]))
    assert precision.tolist() == [1, 0.25]
    assert recall.tolist() == [1, 1]


def test_a_labeller_that_knows_the_map_finds_every_planted_error():
    """A labeller that reads the class off the brightness: lift 1 / share, precision and recall 1."""
    _, tried, ranked, rows = choose_and_try("s", Labeller((Reads(0.0),)), made_up_chips(), 0.9, 0.9, 4, 0)
    table = pd.DataFrame(rows)
    lifts = table[table["metric"] == "filter_pr_lift"]
    assert len(lifts) == len(CORRUPTIONS) * len(SHARES) * len(PIXEL_FILTERS) == len(ranked)
    shares = tried[tried["share"] > 0]
    np.testing.assert_allclose(lifts["value"].to_numpy(), (shares["pixels"] / shares["corrupted"]).to_numpy())
    assert (table.loc[table["metric"] == "filter_recall", "value"] == 1).all()
    assert (lifts["low"] <= lifts["value"] + 1e-9).all()
    untouched = table[table["arm"] == "none"]
    assert untouched.loc[untouched["regime"].str.startswith("filter=agreement"), "value"].item() == 0


def test_map_errors_bound_the_lift():
    assert label_corruption.highest_lift(0.2, 0.0) == pytest.approx(5)
    assert label_corruption.highest_lift(0.05, 0.22) == pytest.approx(1 / (0.05 + 0.22 * 0.95))
