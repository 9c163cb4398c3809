"""Noise-level policies: each draws only its rows, in its shares."""

import pytest
import torch

from groundsynth.errors import GroundsynthError
from groundsynth.models.noise import ABSENT, CLEAN, MASK_FLOOR, NOISY, POLICIES, draw_levels


def draw(policy, n=4000, seed=0):
    return draw_levels(policy, n, (-0.4, 1.4), (0.3, 1.2), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("policy", "image_state", "mask_state"),
    [("joint", NOISY, NOISY), ("mask", NOISY, CLEAN), ("image", NOISY, ABSENT)],
)
def test_single_policies_draw_one_row(policy, image_state, mask_state):
    levels = draw(policy, 100)
    assert (levels.image_state == image_state).all()
    assert (levels.mask_state == mask_state).all()


def test_joint_gives_both_parts_the_same_level():
    levels = draw("joint")
    assert torch.equal(levels.image, levels.mask)


def test_unified_mixes_its_rows_in_their_shares():
    levels = draw("unified")
    clean_mask = (levels.mask_state == CLEAN).float().mean().item()
    clean_image = (levels.image_state == CLEAN).float().mean().item()
    assert clean_mask == pytest.approx(POLICIES["unified"]["mask"], abs=0.03)
    assert clean_image == pytest.approx(POLICIES["unified"]["segment"], abs=0.03)
    assert not ((levels.image_state != NOISY) & (levels.mask_state != NOISY)).any()


def test_policies_are_shares():
    for rows in POLICIES.values():
        assert sum(rows.values()) == pytest.approx(1)


def test_high_noise_where_layout_forms_is_trained():
    share = (draw("joint").image > 10).float().mean().item()
    assert share > 0.03  # log-normal(−1, 1.2) alone would give 0.003


def test_map_levels_have_a_floor_and_draws_repeat():
    a, b = draw("mask"), draw("mask")
    assert torch.equal(a.image, b.image)
    assert draw("segment").mask.min() >= MASK_FLOOR - 1e-6


def test_unknown_policy_is_refused():
    with pytest.raises(GroundsynthError, match="'guided' does not exist"):
        draw("guided")


@pytest.mark.parametrize(("policy", "told"), [("unified", 0.335), ("text", 0.88), ("joint", 0.0)])
def test_rows_are_told_as_often_as_stated_and_then_see_more_noise(policy, told):
    """67 % of 'unified' are rows that conditions make sense for, half of them are told; of 'text' 88 %."""
    levels = draw_levels(policy, 20_000, (-0.9, 1.3), (0.3, 1.2), torch.Generator().manual_seed(0), True)
    assert levels.told.float().mean().item() == pytest.approx(told, abs=0.015)
    if told:
        assert (levels.mask_state[levels.told] != CLEAN).all()
        loud = (levels.image > 10).float()
        assert loud[levels.told].mean() > 2 * loud[~levels.told].mean()
    silent = draw_levels(policy, 1000, (-0.9, 1.3), (0.3, 1.2), torch.Generator().manual_seed(0))
    assert not silent.told.any()
