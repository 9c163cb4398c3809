"""Cleaning of image–caption pairs: planted errors, thresholds, rounds and judges."""

from __future__ import annotations

import numpy as np
import pytest
from test_contrastive import SMALL, KnowsColours, OneWord, halves, plain

from groundsynth.checks import cleaning
from groundsynth.checks.pairs import layout_writer, make_pairs
from groundsynth.errors import GroundsynthError
from groundsynth.models.contrastive import ContrastiveModel


def test_planted_errors_are_as_many_as_asked_and_known():
    _, maps = halves(40)
    described, wrong = cleaning.plant_errors(maps, 0.25, 0)
    assert wrong.sum() in (9, 10)  # another chip may show the very same
    np.testing.assert_array_equal(wrong, (described != maps).any((1, 2)))
    again, _ = cleaning.plant_errors(maps, 0.25, 0)
    np.testing.assert_array_equal(again, described)
    assert not cleaning.plant_errors(maps, 0.0, 0)[1].any()


def test_the_best_threshold_by_hand():
    assert cleaning.best_threshold(np.array([3.0, 4, 5]), np.array([0.0, 1, 2])) == 3
    # 2 of 3 right kept and 2 of 3 wrong dropped beats keeping all
    assert cleaning.best_threshold(np.array([1.0, 4, 5]), np.array([0.0, 3, 4.5])) == 4
    assert cleaning.best_threshold(np.array([0.0, 1]), np.array([2.0, 3])) == 0  # nothing to gain: keep all


def test_a_type_with_few_windows_takes_the_threshold_of_all():
    forest, water = (np.full((12, 8, 8), k, np.uint8) for k in (0, 6))
    readings = np.concatenate([forest, water])
    right = np.r_[np.full(12, 5.0), 9.0], np.concatenate([forest, water[:1]])
    wrong = np.r_[np.full(12, 2.0), 8.0], np.concatenate([forest, water[:1]])
    chosen = cleaning.choose_cleaning(readings, right, wrong, 0)
    kinds = chosen.type_of(np.concatenate([forest[:1], water[:1]]))
    assert len(set(kinds)) == 2
    assert set(chosen.names) == {"tree cover 100%", "water 100%"}
    np.testing.assert_array_equal(chosen.thresholds[kinds], [5.0, 5.0])
    np.testing.assert_array_equal(chosen.keeps(np.array([4.0, 6.0]), readings[[0, -1]]), [False, True])


def test_rounds_stop_when_a_description_is_accepted():
    described = np.zeros((3, 4, 4), np.uint8)
    proposals = [np.full((3, 4, 4), 1, np.uint8), np.full((3, 4, 4), 2, np.uint8)]
    good = {1: [False, True, False], 2: [False, True, True]}  # by the class described
    final, rounds = cleaning.propose_again(
        described, np.array([True, False, False]), proposals,
        rescore=lambda maps: np.array(good[int(maps[0, 0, 0])], float),
        keeps=lambda scores: scores > 0.5,
    )  # fmt: skip
    assert rounds.tolist() == [0, 1, 2]
    assert final[:, 0, 0].tolist() == [0, 1, 2]
    assert cleaning.verdicts(np.array([0, 2, -1])).tolist() == ["keep", "rewritten", "drop"]


def test_nobody_scores_the_block_it_learned_from():
    pairs = make_pairs(*halves(12), layout_writer(), ("c",), 1)
    blocks, taught = np.repeat(np.arange(6), 2), []

    def train(part, number):
        taught.append({image.tobytes() for image in part.images})
        return ContrastiveModel(SMALL)

    scores, models = cleaning.cross_fit(pairs, blocks, 3, train)
    assert np.isfinite(scores).all()
    assert len(models) == 3
    seen_by = [sum(image.tobytes() in known for known in taught) for image in pairs.images]
    assert set(seen_by) == {2}  # each chip by all models but one
    for block in range(6):
        parts = [{image.tobytes() for image in pairs.images[blocks == block]} <= known for known in taught]
        assert parts.count(False) == 1
    with pytest.raises(GroundsynthError, match="blocks"):
        cleaning.cross_fit(pairs, np.zeros(12, int), 2, train)


def test_planted_errors_are_found_by_who_knows_colours():
    images, maps = plain(64, seed=2)
    described, wrong = cleaning.plant_errors(maps, 0.25, 0)
    pairs = make_pairs(images, described, OneWord(), ("c",), 1)
    scores, _ = cleaning.cross_fit(pairs, np.arange(64) // 4, 2, lambda part, number: KnowsColours())
    np.testing.assert_array_equal(scores, ~wrong)
    types = (maps[:, 0, 0] > 3).astype(int)
    removed = wrong.copy()
    removed[np.flatnonzero(~wrong)[:12]] = True  # a quarter of the 48 or more right ones
    rows = cleaning.cleaning_rows(
        "s", scores, wrong, removed, types, ["a", "b"], np.arange(64) // 4, "planted=25%"
    )  # fmt: skip
    found = {(row["metric"], row["arm"], row["regime"]): row["value"] for row in rows}
    assert found["cleaning_auc", "", "planted=25%"] == 1
    assert found["removed_share", "wrong", "planted=25%"] == 1
    assert found["removed_share", "right", "planted=25%"] == pytest.approx(12 / (~wrong).sum())
    assert ("cleaning_auc", "", "planted=25%;scenes=a") in found


def test_claims_of_a_cleaned_set_are_judged_by_the_map():
    _, maps = halves(8)
    captions = layout_writer().write(maps, maps, range(8))
    right, foreign = cleaning.claim_counts(captions, maps), cleaning.claim_counts(captions, maps[::-1])
    assert (right[:, 0] == right[:, 1]).all()
    assert foreign[:, 0].sum() < foreign[:, 1].sum()


def test_what_cleaning_changed_is_paired_over_blocks():
    """Two blocks. The dropped set lacks a chip of each, the worst one: 6 of 8 claims true, and 6 of 6 without it."""
    blocks = np.array([0, 0, 1, 1])
    every = np.array([[3, 3], [0, 1], [3, 3], [0, 1]], float)
    kept = every.copy()
    kept[[1, 3]] = np.nan
    rows = cleaning.precision_rows("s", {"all": every, "kept": kept}, blocks, "r", "kept", ("all",))
    found = {(r["metric"], r["arm"]): (r["value"], r["low"], r["high"], r["n"]) for r in rows}
    assert found == {
        ("claim_precision", "all"): (0.75, 0.75, 0.75, 4), ("claim_precision", "kept"): (1, 1, 1, 2),
        ("delta_claim_precision", "kept-all"): (0.25, 0.25, 0.25, 2),
    }  # fmt: skip


def test_scene_types_of_one_name_are_numbered():
    centres = np.zeros((3, 7))
    centres[:, 0], centres[2, 6] = 0.6, 0.4
    assert cleaning._name_types(centres) == (
        "tree cover 60%",
        "tree cover 60% (2)",
        "tree cover 60%, water 40%",
    )
