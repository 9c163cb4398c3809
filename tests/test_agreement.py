"""Agreement and its controls, against values counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from groundsynth.checks.agreement import (
    caption_precisions,
    map_kappa,
    map_kappas,
    matched_partners,
    paired_auc,
    random_partners,
    two_sample_auc,
)


def test_kappa_by_hand():
    # agreement 3/4; by chance: forest 1/2 x 3/4 + water 1/2 x 1/4 = 1/2; kappa (0.75 - 0.5) / 0.5
    assert map_kappa(np.array([[0, 0], [0, 6]]), np.array([[0, 0], [6, 6]])) == pytest.approx(0.5)


def test_kappa_of_constant_maps_and_of_nothing():
    forest, water = np.zeros((4, 4), np.uint8), np.full((4, 4), 6, np.uint8)
    assert map_kappa(forest, forest) == 1
    assert map_kappa(forest, water) == 0
    assert np.isnan(map_kappa(forest, np.full((4, 4), 255, np.uint8)))


def test_kappa_ignores_unlabelled_pixels():
    given = np.array([[0, 6], [255, 255]], np.uint8)
    assert map_kappa(np.array([[0, 6], [1, 2]], np.uint8), given) == 1


def test_kappas_in_bulk_are_those_one_by_one():
    generator = np.random.default_rng(0)
    readings, maps = generator.integers(0, 3, (2, 20, 8, 8)).astype(np.uint8)
    maps[0], maps[1], readings[1], maps[2, :4] = 255, 0, 0, 255
    one_by_one = [map_kappa(a, b) for a, b in zip(readings, maps, strict=True)]
    assert map_kappas(readings, maps) == pytest.approx(one_by_one, nan_ok=True)


@pytest.mark.parametrize("n", [2, 3, 17])
def test_random_partners_form_one_ring(n):
    partners = random_partners(n, "x")
    assert sorted(partners) == list(range(n))
    assert (partners != np.arange(n)).all()
    assert (partners == random_partners(n, "x")).all()


def test_matched_partner_has_near_shares_but_another_map():
    top, left = np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8)
    top[:4], left[:, :4] = 6, 6
    maps = np.stack([top, top, left, np.full((8, 8), 3, np.uint8)])
    partners = matched_partners(maps)
    assert partners[:2].tolist() == [2, 2]  # not its twin, not the cropland
    assert partners[2] in (0, 1)
    assert matched_partners(np.stack([top, top])).tolist() == [0, 1]


def test_auc_properties():
    generator = np.random.default_rng(0)
    own, other = generator.normal(1, 1, 60), generator.normal(0, 1, 60)
    value, low, high, n = paired_auc(own, other, "t")
    assert value == pytest.approx(roc_auc_score([1] * 60 + [0] * 60, [*own, *other]))
    assert low < value < high
    assert n == 60
    assert paired_auc(other, own, "t")[0] == pytest.approx(1 - value)
    assert paired_auc(own, own, "t")[0] == pytest.approx(0.5)
    assert paired_auc(own + 100, other, "t")[:3] == (1, 1, 1)


def test_whole_units_are_resampled():
    """Two blocks, each all alike: resamples hold one or both, so the interval spans what blocks say alone."""
    own, other = np.repeat([1.0, 0.0], 50), np.full(100, 0.5)
    value, low, high, _ = paired_auc(own, other, "t", units=np.repeat(["a", "b"], 50))
    assert (value, low, high) == (0.5, 0, 1)
    single = paired_auc(own, other, "t")
    assert 0.3 < single[1] < single[2] < 0.7


def test_auc_leaves_out_undefined_pairs():
    value, *_, n = paired_auc(np.array([1, np.nan, 2, 3]), np.array([0, 0, np.nan, 0]), "t")
    assert (value, n) == (1, 2)
    assert np.isnan(paired_auc(np.array([np.nan]), np.array([1.0]), "t")[0])


def test_two_sample_auc_needs_no_pairs():
    value, low, high, n = two_sample_auc(np.array([3.0, 4, 5]), np.array([1.0, 2]), "t")
    assert (value, low, high, n) == (1, 1, 1, 5)


def test_caption_precision_counts_checked_claims_only():
    forest = np.zeros((8, 8), np.uint8)
    values = caption_precisions(
        ["Mostly forest under clouds.", "Water.", "A nice day."], np.stack([forest] * 3)
    )
    assert values[:2].tolist() == [1, 0]
    assert np.isnan(values[2])
