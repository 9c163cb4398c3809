"""Share skill and confirmed rare shares, counted by hand, and the controls that must fail."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from groundsynth.artifacts import check_table
from groundsynth.checks.prompt_control import (
    all_shares,
    ceiling_rows,
    confirmed_pixels,
    confirmed_shares,
    control_rows,
    drawn_shares,
    judged_classes,
    measure_prompt_control,
    rare_rows,
    share_skill,
    skill_rows,
)
from groundsynth.legend import SHARE_COLUMNS
from groundsynth.models.asked import TOLD_COLUMNS
from groundsynth.report.prompt_figures import prompt_findings


def table_of(rows: list[dict]) -> pd.DataFrame:
    return check_table(pd.DataFrame(rows), "metrics", "metrics.csv")


def two_class_maps(rows: np.ndarray) -> np.ndarray:
    """Return maps (n, 16, 16) of wood whose first ``rows`` lines are water."""
    maps = np.zeros((len(rows), 16, 16), np.uint8)
    for labels, count in zip(maps, rows, strict=True):
        labels[:count] = 6
    return maps


def test_skill_by_hand():
    """Errors of 0.1 where the constant errs by 0.2: half. Exact: 1. The constant itself: 0. Worse: below 0."""
    usual = np.full(7, 0.3)
    asked = np.array([[0.1] * 7, [0.5] * 7])
    found = asked.copy()
    found[:, 1] += [0.1, -0.1]
    found[:, 2] = 0.3
    found[:, 3] = [0.5, 0.1]
    asked[:, 4] = usual[4]
    skill = share_skill(asked, found, usual)
    assert skill[[0, 1, 2, 3]] == pytest.approx([1, 0.5, 0, -1])
    assert np.isnan(skill[4])


def test_judged_are_classes_over_one_per_cent():
    assert judged_classes(np.array([0.4, 0.01, 0.0099, 0, 0.5, 0.001, 0.0791])) == [0, 1, 4, 6]


def test_rows_of_skill():
    draw = np.random.default_rng(0)
    water = draw.integers(0, 16, 40)
    asked = all_shares(two_class_maps(water))
    found = all_shares(two_class_maps(np.clip(water + draw.integers(-2, 3, 40), 0, 16)))
    rows = table_of(
        skill_rows("smoke", asked, found, asked.mean(0), system="text", arm="shares", regime="on=map")
    )
    assert rows["class"].tolist() == ["", "tree cover", "water"]
    assert np.ptp(rows["value"]) < 1e-9  # wood is what is not water
    assert ((rows["low"] < rows["value"]) & (rows["value"] < rows["high"])).all()
    assert rows["value"].between(0.5, 0.95).all()


def asked_table(kinds: list[str], given: np.ndarray, told: np.ndarray) -> pd.DataFrame:
    shares = dict(zip((*SHARE_COLUMNS, *TOLD_COLUMNS), np.concatenate([given, told], 1).T, strict=True))
    return pd.DataFrame({"kind": kinds, **shares})


def test_an_obedient_generator_and_one_that_does_not_listen():
    """Its maps obey exactly, its images show the reverse; requests of others are not met by either."""
    draw = np.random.default_rng(1)
    water = draw.integers(0, 17, 60)
    maps, readings = two_class_maps(water), two_class_maps(16 - water)
    shares = all_shares(maps)
    asked = asked_table(["shares"] * 60, shares, np.full((60, 7), np.nan))
    rows = table_of(control_rows("smoke", asked, maps, readings, shares.mean(0), system="text"))
    value = rows[rows["class"] == ""].set_index(["arm", "regime"])["value"]
    assert value["shares", "on=map"] == 1
    assert value["shares", "on=label"] < -0.5
    assert value["shares:other", "on=map"] < 0.2


def test_captions_are_held_against_what_they_tell_and_shuffled_against_both():
    """Twenty samples follow their shares and not their captions; twenty captions alone are followed."""
    draw = np.random.default_rng(2)
    water, other = draw.integers(0, 17, 40), draw.integers(0, 17, 40)
    maps = two_class_maps(water)
    right, wrong = all_shares(maps), all_shares(two_class_maps(other))
    given, told = right.copy(), wrong.copy()
    given[20:], told[20:] = np.nan, right[20:]
    asked = asked_table(["shuffled"] * 20 + ["captions"] * 20, given, told)
    rows = table_of(control_rows("smoke", asked, maps, maps, right.mean(0), system="text"))
    value = rows[(rows["class"] == "") & (rows["regime"] == "on=map")].set_index("arm")["value"]
    assert value["shuffled:shares"] == value["captions"] == 1
    assert value["shuffled:caption"] < 0.2
    assert set(value.index) >= {"captions:other", "shuffled:shares:other"}


def test_samples_that_were_asked_nothing_have_no_skill():
    maps = two_class_maps(np.arange(16))
    nan = np.full((16, 7), np.nan)
    assert control_rows("smoke", asked_table(["nothing"] * 16, nan, nan), maps, maps, np.ones(7) / 7) == []


def test_the_ceiling_is_the_labellers_own_skill():
    draw = np.random.default_rng(3)
    maps = two_class_maps(draw.integers(0, 17, 30))
    usual = all_shares(maps).mean(0)
    rows = table_of(ceiling_rows("smoke", maps, maps, np.arange(30) // 5, usual, "val"))
    assert rows["value"].tolist() == [1, 1, 1]
    assert set(rows["system"]) == {"real"}
    assert set(rows["regime"]) == {"on=label,split=val"}


def test_only_patches_that_are_large_and_read_alike_are_confirmed():
    """Patches of 5, 6 and 10 pixels; of the last the labeller reads four: 6 pixels remain."""
    labels = np.zeros((8, 8), np.uint8)
    labels[0, :5], labels[2, :6], labels[4:6, :5] = 6, 6, 6
    reading = labels.copy()
    reading[4:6, :5] = 0
    reading[4, :4] = 6
    assert confirmed_pixels(labels, reading, 6) == 6
    reading[5, 0] = 6  # half of the ten
    assert confirmed_pixels(labels, reading, 6) == 16
    assert confirmed_pixels(labels, reading, 5) == 0
    np.testing.assert_allclose(confirmed_shares(labels[None], reading[None], [6, 5]), [[0.25, 0]])


def test_gain_of_a_raised_class_over_the_prior():
    """Two lines of water become six, half of which the labeller reads in the second class of samples."""
    maps, prior = two_class_maps(np.full(40, 6)), two_class_maps(np.full(50, 2))
    ground = np.eye(7)[6] * 0.25
    rows = table_of(
        rare_rows("smoke", np.full(40, 6), maps, maps, prior, prior, "joint", ground, system="text")
    )
    over_ground = rows["regime"] == "prior=ground"
    # 6/16 of water over a quarter
    assert rows.loc[over_ground, "value"].tolist() == pytest.approx([1.5, 1.5])
    assert rows.loc[over_ground, "low"].tolist() == pytest.approx([1.5, 1.5])
    rows = rows[~over_ground]
    gain = rows[rows["metric"] == "rare_share_gain"].set_index("class")
    assert gain.loc["", "value"] == gain.loc["water", "value"] == pytest.approx(3)
    assert gain.loc["", "low"] == pytest.approx(3)
    assert set(rows["regime"]) == {"prior=joint"}
    unread = np.zeros_like(maps)
    blind = table_of(
        rare_rows("smoke", np.full(40, 6), maps, unread, prior, prior, "joint", ground, system="text")
    )
    assert blind.loc[blind["metric"] == "rare_share_gain", "value"].eq(0).all()
    assert blind.loc[blind["metric"] == "rare_kappa_change", "value"].item() < -0.9


def test_a_class_that_the_prior_never_shows_has_no_gain():
    maps, prior = two_class_maps(np.full(10, 6)), two_class_maps(np.full(10, 2))
    raised = np.repeat([5, 6], 5)
    maps[:5, -4:] = 5
    usual = np.array([0, 0, 0, 0, 0, 0.125, 0.25])
    rows = table_of(rare_rows("smoke", raised, maps, maps, prior, prior, "joint", usual, system="text"))
    over_ground = rows[rows["regime"] == "prior=ground"].set_index("class")["value"]
    # 4/16 of bare ground over an eighth, 6/16 of water over a quarter; all: 5/16 over three sixteenths
    assert over_ground.loc[["bare", "water", ""]].tolist() == pytest.approx([2, 1.5, 5 / 3])
    rows = rows[rows["regime"] != "prior=ground"]
    gain = rows[rows["metric"] == "rare_share_gain"].set_index("class")["value"]
    assert set(gain.index) == {"", "water"}
    assert gain["water"] == pytest.approx(3)
    # five samples with 4/16 of bare ground, five with 6/16 of water, over 0 and 2/16
    assert gain[""] == pytest.approx((5 * 4 + 5 * 6) / (5 * 0 + 5 * 2))


def test_a_study_gets_its_rows_from_its_tables():
    """Samples obey their shares, the prior is what comes unasked, and a study that asks nothing has no rows."""
    draw = np.random.default_rng(4)
    water = np.r_[draw.integers(0, 17, 20), np.full(20, 6), np.full(20, 2)]
    maps, real_maps = two_class_maps(water), two_class_maps(draw.integers(0, 17, 20))
    kinds, nan = ["shares"] * 20 + ["rare"] * 20 + ["nothing"] * 20, np.full((60, 7), np.nan)
    given = all_shares(maps)
    given[40:] = np.nan
    names = [f"text-{i}" for i in range(60)]
    asked = asked_table(kinds, given, nan).assign(chip_id=names, raised=np.repeat([-1, 6, -1], 20))
    shares = dict(zip(SHARE_COLUMNS, all_shares(real_maps).T, strict=True))
    real = pd.DataFrame({"chip_id": [f"r{i}" for i in range(20)], "block": np.arange(20) // 4, **shares})
    real["split"] = ["train"] * 10 + ["val"] * 10
    chips = pd.DataFrame({"chip_id": [*real["chip_id"], *names], "mask": [*real_maps, *maps]})
    chips["system"] = ["real"] * 20 + ["text"] * 60
    order = draw.permutation(80)
    chips = chips.iloc[order].reset_index(drop=True)
    rows = table_of(measure_prompt_control("smoke", asked, chips, chips, real))
    skill = rows[(rows["metric"] == "share_skill") & (rows["class"] == "")].set_index(["arm", "regime"])[
        "value"
    ]
    assert skill["shares", "on=map"] == skill["shares", "on=label"] == 1
    assert rows.loc[rows["system"] == "real", "n"].eq(10).all()
    gain = rows[rows["metric"] == "rare_share_gain"]
    true = all_shares(real_maps[:10])[:, 6].mean()
    assert gain.loc[gain["regime"] == "prior=ground", "value"].tolist() == pytest.approx([0.375 / true] * 2)
    gain = gain[gain["regime"] != "prior=ground"]
    assert gain["value"].tolist() == pytest.approx([3, 3])
    assert set(gain["regime"]) == {"prior=nothing asked"}
    shown = drawn_shares(asked, chips, chips)
    assert len(shown) == 40 * 7 * 2
    np.testing.assert_allclose(shown["asked"], shown["drawn"])
    assert measure_prompt_control("smoke", asked[:0], chips, chips, real) == []
    assert prompt_findings(rows).count("\n") == 4
    assert "is 3.0 times [3.0, 3.0] the confirmed ground" in prompt_findings(rows)
    assert "(water 3.0 times [3.0, 3.0])" in prompt_findings(rows)
    assert "its true share of the ground" in prompt_findings(rows)
    assert prompt_findings(rows[:0]) == ""
