"""Diversity: distances between images of one map against those between real chips of similar maps."""

import numpy as np
import pandas as pd
import pytest

from groundsynth.checks.diversity import diversity, diversity_rows, mean_pair_distance, similar_chips
from groundsynth.errors import GroundsynthError
from groundsynth.legend import SHARE_COLUMNS, class_shares

SIDE = 32


def scenes(n: int, name: int) -> np.ndarray:
    """Images of smooth patches whose contrast and colour vary from one to the next."""
    draw = np.random.default_rng(name)
    coarse = draw.normal(128, draw.uniform(10, 60, (n, 1, 1, 1)), (n, SIDE // 4, SIDE // 4, 3))
    fine = coarse.repeat(4, 1).repeat(4, 2) + draw.normal(
        0, draw.uniform(2, 20, (n, 1, 1, 1)), (n, SIDE, SIDE, 3)
    )
    return np.clip(fine, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def real():
    maps = np.random.default_rng(0).choice([0, 4], (40, SIDE, SIDE)).astype(np.uint8)
    shares = pd.DataFrame([class_shares(m) for m in maps], columns=list(SHARE_COLUMNS))
    return shares.assign(image=list(scenes(40, 1)), mask=list(maps), block=np.arange(40) // 2)


def test_the_mean_distance_of_a_right_triangle():
    assert mean_pair_distance(np.array([[0, 0], [3, 0], [0, 4.0]])) == pytest.approx((3 + 4 + 5) / 3)


def test_similar_chips_have_the_nearest_shares_and_blocks_of_their_own():
    shares = [1.0, 0.9, 0.5, 0.45, 0.0]
    chips = pd.DataFrame({name: [0.0] * 5 for name in SHARE_COLUMNS})
    chips["share_0"], chips["share_4"] = shares, [1 - s for s in shares]
    chips["block"] = [1, 2, 3, 3, 4]
    labels = np.zeros((10, 10), np.uint8)
    labels[:, :5] = 4  # half and half
    assert similar_chips(labels, chips, 3).tolist() == [2, 1, 0]
    with pytest.raises(
        GroundsynthError, match="needs 5 real chips from blocks of their own, and there are 4"
    ):
        similar_chips(labels, chips, 5)


def test_images_like_the_real_ones_reach_one_and_copies_do_not(real):
    groups = np.repeat(np.arange(12), 6)
    maps = np.stack(real["mask"])[groups]
    varied = diversity_rows("s", "03_generate", diversity(scenes(72, 2), maps, groups, real), system="mask")
    value = {row["arm"]: row for row in varied}
    assert value[""]["value"] == pytest.approx(1, abs=0.2)
    assert value[""]["low"] < value[""]["value"] < value[""]["high"]
    assert value[""]["n"] == 12
    assert value["other_maps"]["value"] == pytest.approx(1, abs=0.2)
    assert value["one_image"]["value"] < 0.3

    same = scenes(12, 3)[groups]
    collapsed = diversity_rows("s", "03_generate", diversity(same, maps, groups, real))
    value = {row["arm"]: row["value"] for row in collapsed}
    assert value[""] == 0
    assert value["other_maps"] > 0.7


def test_one_image_per_map_has_no_diversity(real):
    with pytest.raises(GroundsynthError, match=r"set generate\.images_per_map above 1"):
        diversity(scenes(3, 4), np.stack(real["mask"])[:3], np.arange(3), real)


def test_of_many_images_eight_are_compared_and_single_ones_left_out(real):
    groups = np.array([0] * 10 + [1])
    found = diversity(scenes(11, 5), np.stack(real["mask"])[groups], groups, real)
    assert found["images"].tolist() == [8]
    rows = diversity_rows("s", "03_generate", found)
    assert [row["arm"] for row in rows] == ["", "one_image"], "other maps need a second map"
    assert rows[0]["low"] is None
