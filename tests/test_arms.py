"""Arms are read from their published names, or refused."""

import pytest

from groundsynth.benchmark.arms import Arm, parse_arm, parse_arms
from groundsynth.config import Benchmark, Generate
from groundsynth.errors import GroundsynthError

SYSTEMS = ["joint", "mask", "image"]


@pytest.mark.parametrize(
    ("name", "arm"),
    [
        ("real", Arm("real", True, "")),
        ("synthetic:joint", Arm("synthetic:joint", False, "joint")),
        ("synthetic:image", Arm("synthetic:image", False, "image")),
        ("real+mask", Arm("real+mask", True, "mask")),
        ("real+mask:freemask", Arm("real+mask:freemask", True, "mask", "freemask")),
        ("real+self_training", Arm("real+self_training", True, "self_training")),
    ],
)
def test_names_that_stand_for_an_arm(name, arm):
    assert parse_arm(name, SYSTEMS) == arm


@pytest.mark.parametrize(
    "name", ["", "Real", "joint", "synthetic", "real-joint", "joint+real", "synthetic+joint"]
)
def test_names_of_another_form_are_refused(name):
    with pytest.raises(GroundsynthError, match="is none of real"):
        parse_arm(name, SYSTEMS)


def test_a_filter_makes_another_source():
    arms = parse_arms(["real", "real+mask", "real+mask:chip"], SYSTEMS)
    assert [arm.source for arm in arms] == ["", "mask", "mask:chip"]


@pytest.mark.parametrize(
    "name",
    ["synthetic:self_training", "synthetic:spade", "real+spade", "real+", "real+joint+mask", "synthetic:"],
)
def test_systems_that_were_not_generated_are_refused(name):
    with pytest.raises(GroundsynthError, match="generated are joint, mask, image"):
        parse_arm(name, SYSTEMS)


def test_real_is_always_the_reference():
    with pytest.raises(GroundsynthError, match="lack 'real'"):
        parse_arms(["synthetic:joint"], SYSTEMS)


def test_no_arm_repeats():
    with pytest.raises(GroundsynthError, match="'real' is listed twice"):
        parse_arms(["real", "real"], SYSTEMS)


def test_the_default_arms_fit_the_default_systems():
    arms, systems = Benchmark.model_fields["arms"].default, Generate.model_fields["systems"].default
    assert [arm.name for arm in parse_arms(arms, systems)] == arms
