"""Maps a generator is given: which, for which sample, and what was done to them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from test_generator import SETTINGS

from groundsynth.data.rare_objects import objects, rare_classes
from groundsynth.data.turns import turn
from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES, NO_LABEL
from groundsynth.models.given_maps import give_maps, warp_map
from groundsynth.models.solvers import SamplingSettings
from groundsynth.models.training import new_denoiser

CPU = torch.device("cpu")
KINDS = ("training", "transformed", "rare", "joint", "layout")
SOLVING = SamplingSettings(steps=3, solver="dpmpp_2m", sigma_range=(0.2, 80.0), batch_size=8)


@pytest.fixture(scope="module")
def maps():
    """Twelve 16-px maps of forest and town; the first two hold 3 × 3 pixels of water."""
    maps = np.random.default_rng(0).choice([0, 4], (12, 16, 16), p=[0.7, 0.3]).astype(np.uint8)
    maps[:2, 2:5, 3:6] = 6
    maps[3, 0, :4] = NO_LABEL
    return maps


@pytest.fixture(scope="module")
def table(maps):
    """Chips without their images: a kind that looked at one would fail."""
    return pd.DataFrame({"chip_id": [f"c{i:02d}" for i in range(12)], "mask": list(maps)})


@pytest.fixture(scope="module")
def drawing(maps):
    images = np.random.default_rng(1).integers(0, 255, (12, 16, 16, 3), np.uint8)
    return new_denoiser(images, maps, SETTINGS).eval(), SOLVING, CPU


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_depends_on_its_number_and_its_generator_alone(kind, table, drawing):
    whole = give_maps(kind, table, "g-s0", range(12), 1, *drawing)
    part = give_maps(kind, table.sample(frac=1, random_state=1), "g-s0", range(7, 10), 1, *drawing)
    assert whole["condition"].tolist()[7:10] == part["condition"].tolist()
    same = [(a == b).mean() for a, b in zip(whole["mask"][7:10], part["mask"], strict=True)]
    assert min(same) >= 0.99
    other = give_maps(kind, table, "g-s1", range(12), 1, *drawing)
    assert any((a != b).any() for a, b in zip(whole["mask"], other["mask"], strict=True))
    for labels in whole["mask"]:
        assert labels.shape == (16, 16)
        assert labels.dtype == np.uint8


@pytest.mark.parametrize("kind", KINDS)
def test_several_images_share_a_map_whatever_the_shard(kind, table, drawing):
    single = give_maps(kind, table, "g-s0", range(4), 1, *drawing)
    several = give_maps(kind, table, "g-s0", range(2, 8), 3, *drawing)
    assert several["condition"].tolist() == single["condition"].iloc[[0, 1, 1, 1, 2, 2]].tolist()
    np.testing.assert_array_equal(several["mask"][1], several["mask"][3])


def test_training_maps_are_only_flipped_and_turned(table, maps):
    for row in give_maps("training", table, "g-s0", range(20)).itertuples():
        np.testing.assert_array_equal(row.mask, turn(maps[int(row.condition[1:])], row.condition_transform))


def test_warping_keeps_the_middle_turns_and_enlarges():
    labels = np.zeros((9, 9), np.uint8)
    labels[4, 4], labels[4, 6] = 1, 2
    np.testing.assert_array_equal(warp_map(labels, 0, 1), labels)
    turned = warp_map(labels, 90, 1)
    assert turned[4, 4] == 1
    assert {tuple(p) for p in np.argwhere(turned == 2)} <= {(2, 4), (6, 4)}
    assert (turned == 2).sum() == 1
    assert (warp_map(labels, 0, 3) == 1).sum() == 9
    block = np.zeros((8, 8), np.uint8)
    block[:, 4:] = 3
    np.testing.assert_array_equal(warp_map(block, 180, 1), block[:, ::-1])


def test_transformed_maps_hold_no_class_that_the_map_had_not(table, maps):
    for row in give_maps("transformed", table, "g-s0", range(20)).itertuples():
        name, _, words = row.condition.partition(" ")
        assert words.startswith("turned ")
        assert set(np.unique(row.mask)) <= set(np.unique(maps[int(name[1:])]))


def test_rare_maps_gain_an_object_of_a_rare_class_and_keep_the_rest(table, maps):
    assert rare_classes(maps) == [6]
    gained = 0
    for row in give_maps("rare", table, "g-s0", range(20)).itertuples():
        base = turn(maps[int(row.condition[1:3])], row.condition_transform)
        changed = row.mask != base
        assert (row.mask[changed] == 6).all()
        assert (row.mask[base == NO_LABEL] == NO_LABEL).all()
        gained += changed.any()
        assert not changed.any() or "with water of c0" in row.condition
    assert gained == 20


def test_a_study_says_which_classes_are_rare_in_its_layouts(table, maps):
    assert len(rare_classes(maps, 0.5)) > 1
    given = give_maps("rare", table, "g-s0", range(30), rare_share=0.5)
    laid = given["condition"].str.extract(r"with ([a-z -]+) of")[0].dropna()
    assert set(laid) == {CLASSES[k] for k in rare_classes(maps, 0.5)}
    shares = np.bincount(maps[maps != 255], minlength=7) / (maps != 255).sum()
    floor = min(share for share in shares if share) + 1e-6
    assert len(rare_classes(maps, 0.5, floor)) == len(rare_classes(maps, 0.5)) - 1


def test_an_object_is_a_patch_of_six_pixels_that_touch():
    labels = np.zeros((6, 6), np.uint8)
    labels[0, :5] = 6  # five: too small
    labels[2:4, 0:3] = 6  # six
    labels[5, 5] = 6
    assert objects(labels, 6).sum() == 6
    assert not objects(labels, 3).any()


@pytest.mark.parametrize(
    ("kind", "says"), [("rare", "no class covers less than 5 %"), ("magic", "layouts 'magic' do not exist")]
)
def test_what_cannot_be_given_says_so(kind, says, table):
    plain = table[table.index > 3]
    with pytest.raises(GroundsynthError, match=says):
        give_maps(kind, plain, "g-s0", range(2))


def test_drawn_maps_differ_by_their_number_and_their_way(table, drawing):
    joint, layout = (give_maps(kind, table, "g-s0", range(2), 1, *drawing) for kind in ("joint", "layout"))
    assert joint["condition"].tolist() == ["joint map 0", "joint map 1"]
    assert (joint["condition_transform"] == -1).all()
    assert (joint["mask"][0] != joint["mask"][1]).any()
    assert (joint["mask"][0] != layout["mask"][0]).any()
    faster = (drawing[0], replace(SOLVING, steps=2), CPU)
    assert (give_maps("joint", table, "g-s0", range(1), 1, *faster)["mask"][0] != joint["mask"][0]).any()
