"""Filtered labels and hidden chips as training sets of the benchmark."""

import numpy as np
import pandas as pd
import pytest

from groundsynth.artifacts import write_chips, write_table
from groundsynth.benchmark.arms import parse_arm, parse_arms
from groundsynth.benchmark.extra_sets import (
    certified_chips,
    extra_sets,
    fewer_images,
    filtered_chips,
    self_training_chips,
)
from groundsynth.benchmark.training_sets import BenchmarkData, arm_pools
from groundsynth.config import CERTIFIED_SETS
from groundsynth.errors import GroundsynthError

SYSTEMS = ["mask", "image"]


def some_chips(system: str = "mask", n: int = 3) -> pd.DataFrame:
    """Chips whose pixels hold their number."""
    return pd.DataFrame(
        {"chip_id": [f"{system}{k}" for k in range(n)], "system": system,
         "image": [np.full((4, 4, 3), k, np.uint8) for k in range(n)],
         "mask": [np.full((4, 4), k, np.uint8) for k in range(n)]}
    )  # fmt: skip


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A project in which filter 'chip' drops the first chip, repeats the last, and relabels it."""
    monkeypatch.setenv("GROUNDSYNTH_ROOT", str(tmp_path))
    table = some_chips().drop(columns="image").assign(copies=[0, 1, 2])
    table["mask"] = [*table["mask"][:2], np.full((4, 4), 6, np.uint8)]
    path = tmp_path / "results" / "s" / "04_label" / "fold0" / "filtered_chip.parquet"
    write_chips(table[["chip_id", "mask", "copies", "system"]], path, "filtered")
    return "s"


def test_an_arm_trains_with_what_the_filter_left(study):
    arms = parse_arms(["real", "real+mask", "real+mask:chip", "synthetic:mask:chip"], SYSTEMS)
    sets = extra_sets(study, 0, arms, some_chips())
    assert list(sets) == ["mask:chip"]
    images, masks = sets["mask:chip"]
    assert images[:, 0, 0, 0].tolist() == [1, 2, 2]
    assert masks[:, 0, 0].tolist() == [1, 6, 6]
    data = BenchmarkData(0, {}, sets, (0, 1))
    (pool,) = arm_pools(arms[3], data, 2.0)
    assert (pool.name, len(pool.images), pool.weight) == ("mask:chip", 3, 2.0)


def test_a_filter_that_did_not_run_or_leaves_nothing_is_told(study):
    with pytest.raises(
        GroundsynthError, match=r"filtered_freemask.parquet: missing; make it first: snakemake"
    ):
        filtered_chips(study, 0, "freemask", some_chips())
    with pytest.raises(GroundsynthError, match="chip 'mask3' is missing"):
        filtered_chips(study, 0, "chip", some_chips(n=4))
    arm = parse_arm("real+mask:chip", SYSTEMS)
    with pytest.raises(GroundsynthError, match="filter 'chip' leaves none of 1 chips of 'mask'"):
        extra_sets(study, 0, [arm], some_chips(n=1))


def test_hidden_chips_train_with_the_labellers_maps_and_never_their_own():
    real = some_chips("real").assign(split=["val", "hidden", "hidden"])
    labels = real.assign(mask=[np.full((4, 4), 5, np.uint8)] * 3)
    chips = self_training_chips(real, labels)
    assert chips["chip_id"].tolist() == ["real1", "real2"]
    assert all((mask == 5).all() for mask in chips["mask"])
    assert set(chips["system"]) == {"self_training"}
    with pytest.raises(GroundsynthError, match="no real chip in split 'hidden'"):
        self_training_chips(real.assign(split="val"), labels)
    with pytest.raises(GroundsynthError, match="hidden chip 'real2' has no label"):
        self_training_chips(real, labels.iloc[:2])


@pytest.fixture
def certified(study, tmp_path):
    """Certificates that drop the first of five chips."""
    row = {"system": "mask", "generator": "g", "seed": 0, "condition": "", "model_hash": "h", "agreement": 0.5,
           "kappa": 0.5, "map_fit": 0.5, "map_shares": 0.9, "claim_precision": 1.0, "claims": 3, "caption_of_map": 1.0,
           "caption_of_image": 1.0, "trust": 0.9, "nearest_train": 0.6, "nearest_chip": "w", "nearest_patch": 0.2,
           "unlike_real": 1.0}  # fmt: skip
    rows = [
        row | {"chip_id": f"mask{k}", "verdict": "keep" if k > 1 else "drop", "reason": "r"} for k in range(5)
    ]
    path = tmp_path / "results" / study / "06_ground" / "fold0" / "certificate.csv"
    write_table(pd.DataFrame(rows), path, "certificate")
    return study


def test_certified_dropped_and_random_sets_are_equal_in_number(certified):
    sets = {name: certified_chips(certified, 0, name, some_chips(n=5)) for name in CERTIFIED_SETS}
    assert {name: len(chips) for name, chips in sets.items()} == dict.fromkeys(CERTIFIED_SETS, 2)
    assert set(sets["certified"]["chip_id"]) < {"mask2", "mask3", "mask4"}
    assert set(sets["dropped"]["chip_id"]) == {"mask0", "mask1"}
    arms = parse_arms(["real", "real+mask:certified", "synthetic:mask:dropped"], SYSTEMS)
    found = extra_sets(certified, 0, arms, some_chips(n=5))
    assert sorted(found["mask:dropped"][0][:, 0, 0, 0]) == [0, 1]


def test_certificates_that_are_missing_or_all_alike_are_told(certified, study):
    with pytest.raises(GroundsynthError, match="chip 'mask5' has no certificate"):
        certified_chips(certified, 0, "certified", some_chips(n=6))
    with pytest.raises(GroundsynthError, match="of 2 chips of 'mask' 0 are kept and 2 dropped"):
        certified_chips(certified, 0, "random", some_chips(n=2))
    with pytest.raises(GroundsynthError, match=r"certificate.csv: missing; make it first: snakemake"):
        certified_chips("other", 0, "random", some_chips(n=2))


def some_layouts() -> pd.DataFrame:
    """Two layouts with four and one image; the pixels of an image hold its number."""
    return some_chips(n=5).assign(
        generator="g",
        condition=["a", "a", "b", "a", "a"],
        condition_transform=0,
        kind=["rare", "", "rare", "", ""],
    )


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("low_diversity", [0, 0, 0, 0, 2]),
        ("mid_diversity", [0, 0, 1, 1, 2]),
        ("high_diversity", [0, 1, 2, 3, 4]),
    ],
)
def test_diversity_sets_hold_as_many_chips_of_the_same_layouts(name, numbers):
    chips = fewer_images(some_layouts(), name)
    assert sorted(chips["image"].map(lambda image: image[0, 0, 0])) == numbers
    assert chips["condition"].value_counts().to_dict() == {"a": 4, "b": 1}


def test_diversity_needs_several_images_of_a_layout():
    chips = some_layouts().assign(condition_transform=range(5))
    with pytest.raises(
        GroundsynthError, match=r"each of 5 chips has its own; raise generate\.images_per_map"
    ):
        fewer_images(chips, "low_diversity")


def test_chips_that_were_asked_for_more_of_a_rare_class_are_a_set_of_their_own(study):
    arms = parse_arms(["real", "real+mask:rare", "synthetic:mask:low_diversity"], SYSTEMS)
    sets = extra_sets(study, 0, arms, some_layouts())
    assert sets["mask:rare"][0][:, 0, 0, 0].tolist() == [0, 2]
    assert sorted(sets["mask:low_diversity"][0][:, 0, 0, 0]) == [0, 0, 0, 0, 2]
    with pytest.raises(GroundsynthError, match=r"filter 'rare' leaves none .* raise generate.samples"):
        extra_sets(study, 0, arms, some_layouts().assign(kind="captions"))


def test_a_filter_of_all_systems_judges_the_chips_of_each(study):
    chips = pd.concat([some_chips(), some_chips().assign(chip_id=["x", "y", "z"], system="self_training")])
    sets = extra_sets(study, 0, parse_arms(["real", "real+all:chip"], SYSTEMS), chips)
    assert sets["all:chip"][0][:, 0, 0, 0].tolist() == [1, 2, 2], "hidden real chips are not generated"
