"""Precision, recall, density and coverage on sets whose answers are known; planes of feature spaces."""

from __future__ import annotations

import numpy as np
import pytest

from groundsynth.checks.embedding import embed
from groundsynth.checks.manifold import manifold_rows, manifold_scores, sharing_ground
from groundsynth.errors import GroundsynthError

LINE = np.array([[0.0], [1], [2], [3]])


def test_scores_by_hand():
    """With k = 1 every real ball reaches 1 to either side; the made points lie in 2, 1 and 0 of the balls."""
    made = np.array([[0.5], [-0.5], [9.0]])
    scores = manifold_scores(LINE, made, 1)
    assert scores["precision"] == pytest.approx(2 / 3)
    assert scores["density"] == pytest.approx((2 + 1 + 0) / 3)
    assert scores["coverage"] == 0.5  # the balls of 0 and 1
    # made balls: radius 1 at 0.5 and -0.5 (reach -1.5 … 1.5), 8.5 at 9 (reaches 0.5 and on)
    assert scores["recall"] == 1


def test_one_outlier_fools_precision_and_not_density():
    """Naeem et al., figure 3: a far real point's ball covers everything made there."""
    real = np.concatenate([np.arange(12.0)[:, None] / 10, [[100.0]]])
    made = np.array([[40.0], [50], [60], [45], [55]])
    scores = manifold_scores(real, made, 4)
    assert scores["precision"] == 1
    assert scores["density"] == 0.25


def test_a_collapsed_generator_covers_little():
    generator = np.random.default_rng(0)
    real, other = generator.normal(size=(2, 100, 4))
    collapsed = np.repeat(real[:2], 50, 0) + generator.normal(0, 1e-3, (100, 4))
    assert manifold_scores(real, other)["coverage"] > 0.9
    assert manifold_scores(real, collapsed)["coverage"] < 0.2
    assert manifold_scores(real, collapsed)["precision"] == 1


def test_windows_that_share_ground_are_no_neighbours():
    """Ten places seen eight times each, a pixel apart: what lies between two places is inside only without copies."""
    corners = np.array([[0, 100 * place, shift] for place in range(10) for shift in range(8)])
    shared = sharing_ground(corners, 64)
    assert (shared.sum(1) == 8).all()
    assert not sharing_ground(corners * [[1, 1, 0]] + [[0, 0, 5]], 64)[0, 8]
    assert not sharing_ground(np.array([[0, 5, 5], [1, 5, 5]]), 64)[0, 1]
    real = corners[:, 1:2] / 100 + corners[:, 2:] / 1000
    made = np.arange(9.0)[:, None].repeat(2, 0) + 0.5
    assert manifold_scores(real, made, 2)["precision"] == 0
    assert manifold_scores(real, made, 2, (shared, None))["precision"] == 1


def test_too_few_chips_are_told():
    with pytest.raises(GroundsynthError, match="look at 5 neighbours and a set has 4 chips"):
        manifold_scores(LINE, LINE)


def test_rows_cover_every_set_and_fit_their_number():
    generator = np.random.default_rng(0)
    sets = {name: generator.normal(shift, 1, (30, 3)) for name, shift in
            (("held_out", 0), ("real", 0), ("noise", 9), ("joint", 0.5))}  # fmt: skip
    rows = manifold_rows("smoke", "labeller", sets, 0)
    value = {(r["metric"], r["system"] or r["arm"]): r["value"] for r in rows}
    assert len(rows) == 15
    assert value["coverage", "spectrum_matched_noise"] == 0
    assert value["coverage", "real"] > 0.8
    assert value["silhouette", "spectrum_matched_noise"] > 0.7 > 0.1 > value["silhouette", "real"]
    assert all(r["low"] is None or r["low"] <= r["value"] <= r["high"] for r in rows)
    assert manifold_rows("smoke", "labeller", {k: x[:3] for k, x in sets.items()}, 0) == []


@pytest.mark.parametrize("method", ["tsne", pytest.param("umap", marks=pytest.mark.slow)])
def test_planes_keep_islands_apart(method):
    generator = np.random.default_rng(0)
    sets = {"a": generator.normal(0, 1, (30, 12)), "b": generator.normal(30, 1, (30, 12))}
    plane = embed(sets, (method,), 0)
    assert plane["set"].value_counts().to_dict() == {"a": 30, "b": 30}
    points, second = plane[["x", "y"]].to_numpy(), (plane["set"] == "b").to_numpy()
    near = np.argsort(np.linalg.norm(points[:, None] - points[None], axis=2), 1)[:, 1]
    assert (second[near] == second).all()
    assert embed({"a": sets["a"][:4]}, (method,), 0).empty
