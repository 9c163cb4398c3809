"""Arms are read from their published names, or refused."""

import pytest

from groundsynth.arm_names import is_mixed
from groundsynth.benchmark.arms import Arm, matched_steps, parse_arm, parse_arms
from groundsynth.config import Benchmark, Generate
from groundsynth.errors import GroundsynthError

SYSTEMS = ["joint", "mask", "image", "text"]


@pytest.mark.parametrize(
    ("name", "arm"),
    [
        ("real", Arm("real", True, "")),
        ("real@0.5", Arm("real@0.5", True, steps=0.5)),
        ("real+oversampling", Arm("real+oversampling", True, recipe="oversampling")),
        ("real+class_weights", Arm("real+class_weights", True, recipe="class_weights")),
        ("real+cutmix", Arm("real+cutmix", True, recipe="cutmix")),
        ("real+copy_paste", Arm("real+copy_paste", True, recipe="copy_paste")),
        ("real+cutmix@4", Arm("real+cutmix@4", True, recipe="cutmix", steps=4.0)),
        ("real+oversampling@0.5", Arm("real+oversampling@0.5", True, recipe="oversampling", steps=0.5)),
        ("synthetic:mask@4", Arm("synthetic:mask@4", False, "mask", steps=4.0)),
        ("synthetic:mask:freemask@4", Arm("synthetic:mask:freemask@4", False, "mask", "freemask", steps=4.0)),
        ("real+self_training@3*", Arm("real+self_training@3*", True, "self_training", ratio=3.0, steps=4.0)),
        (
            "real+mask:certified@3*",
            Arm("real+mask:certified@3*", True, "mask", "certified", ratio=3.0, steps=4.0),
        ),
        ("bridge:mask@3", Arm("bridge:mask@3", True, "mask", order="bridge", ratio=3.0)),
        ("bridge:mask@3*", Arm("bridge:mask@3*", True, "mask", order="bridge", ratio=3.0, steps=4.0)),
        (
            "bridge:mask:matched@3*",
            Arm("bridge:mask:matched@3*", True, "mask", order="bridge", matched=True, ratio=3.0, steps=4.0),
        ),
        ("synthetic:joint", Arm("synthetic:joint", False, "joint")),
        ("synthetic:image", Arm("synthetic:image", False, "image")),
        ("synthetic:all", Arm("synthetic:all", False, "all")),
        ("real+mask", Arm("real+mask", True, "mask")),
        ("real+all", Arm("real+all", True, "all")),
        ("real+mask@3", Arm("real+mask@3", True, "mask", ratio=3.0)),
        ("real+mask@3*", Arm("real+mask@3*", True, "mask", ratio=3.0, steps=4.0)),
        ("real+mask@0.5*", Arm("real+mask@0.5*", True, "mask", ratio=0.5, steps=1.5)),
        ("real+mask:freemask", Arm("real+mask:freemask", True, "mask", "freemask")),
        ("real+mask:freemask@2", Arm("real+mask:freemask@2", True, "mask", "freemask", ratio=2.0)),
        ("synthetic:mask:low_diversity", Arm("synthetic:mask:low_diversity", False, "mask", "low_diversity")),
        ("real+text:rare", Arm("real+text:rare", True, "text", "rare")),
        ("mix:mask@25", Arm("mix:mask@25", True, "mask", replaced=0.25)),
        ("mix:mask@0", Arm("mix:mask@0", True, "mask", replaced=0.0)),
        ("bridge:mask", Arm("bridge:mask", True, "mask", order="bridge")),
        ("bridge:mask:matched", Arm("bridge:mask:matched", True, "mask", order="bridge", matched=True)),
        ("reverse:mask", Arm("reverse:mask", True, "mask", order="reverse")),
        ("real+self_training", Arm("real+self_training", True, "self_training")),
    ],
)
def test_names_that_stand_for_an_arm(name, arm):
    assert parse_arm(name, SYSTEMS) == arm


@pytest.mark.parametrize(
    "name",
    ["", "Real", "joint", "synthetic", "real-joint", "joint+real", "synthetic+joint", "real+", "synthetic:", "real+mixup",
     "real+joint+mask", "real+mask@", "real@two", "mix:mask", "mix:mask@1e3", "bridge:mask:freemask", "real\n", "real+cutmix@4*", "real@4*", "mix:mask@25*"],
)  # fmt: skip
def test_names_of_another_form_are_refused(name):
    with pytest.raises(GroundsynthError, match="is none of real"):
        parse_arm(name, SYSTEMS)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("real@0", "@0 must be above 0"),
        ("real+mask@0.0", "@0.0 must be above 0"),
        ("mix:mask@101", "101 per cent cannot be replaced; take 0 to 100"),
        ("synthetic:mask@3*", "the star gives equal looks at real chips, and it holds none"),
        ("real+cutmix@0", "@0 must be above 0"),
        ("bridge:mask@0", "@0 must be above 0"),
        ("synthetic:self_training", "name it real\\+self_training"),
        ("reverse:mask:matched", "colours are matched before a bridge alone"),
    ],
)
def test_numbers_and_parts_that_make_no_sense_are_one_sentence(name, words):
    with pytest.raises(GroundsynthError, match=words) as caught:
        parse_arm(name, SYSTEMS)
    assert "\n" not in str(caught.value)


def test_a_filter_makes_another_source_and_a_ratio_does_not():
    arms = parse_arms(["real", "real+mask", "real+mask:chip", "real+mask@3"], SYSTEMS)
    assert [arm.source for arm in arms] == ["", "mask", "mask:chip", "mask"]


def test_what_all_holds():
    everything, one = parse_arm("real+all", SYSTEMS), parse_arm("real+mask", SYSTEMS)
    assert [everything.holds(s) for s in ("mask", "image", "self_training")] == [True, True, False]
    assert [one.holds(s) for s in ("mask", "image")] == [True, False]


@pytest.mark.parametrize("name", ["synthetic:spade", "real+spade", "mix:spade@50", "bridge:spade"])
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


def test_arms_of_more_steps_are_held_against_real_chips_alone_of_as_many():
    names = ["real", "real@4", "real@2.0", "real+cutmix", "real+cutmix@4", "synthetic:mask@4", "real+mask@3*",
             "real+mask@3", "real+joint@1*", "real+self_training@3*", "bridge:mask@3*", "real+mask@5*"]  # fmt: skip
    pairs = {arm.name: other.name for arm, other in matched_steps(parse_arms(names, SYSTEMS))}
    four = ["real+cutmix@4", "synthetic:mask@4", "real+mask@3*", "real+self_training@3*", "bridge:mask@3*"]
    assert pairs == dict.fromkeys(four, "real@4") | {"real+joint@1*": "real@2.0"}


def test_which_arms_mix_real_and_generated_chips():
    names = [
        "real",
        "real+cutmix",
        "real+self_training",
        "synthetic:mask",
        "real+mask",
        "mix:mask@25",
        "bridge:mask",
        "real+mask@3*",
        "bridge:mask@3*",
        "real+cutmix@4",
        "real+self_training@3*",
        "synthetic:mask@4",
    ]
    assert [is_mixed(name) for name in names] == [False] * 4 + [True] * 5 + [False] * 3
