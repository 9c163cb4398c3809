"""What samples are asked for: chips and their shares, the rare strategy, controls, and bad requests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from test_generator import CPU, SETTINGS, SOLVING

from groundsynth.artifacts import read_table, write_table
from groundsynth.captions.layout import LayoutWriter
from groundsynth.checks.claims import FALSE, check_caption
from groundsynth.data.turns import turn
from groundsynth.errors import GroundsynthError
from groundsynth.legend import SHARE_COLUMNS, class_shares
from groundsynth.models.asked import (
    TOLD_COLUMNS,
    ask,
    conditions_of,
    parse_shares,
    raise_share,
    rare_levels,
)
from groundsynth.models.generation import asked_table, generate_shard
from groundsynth.models.training import new_denoiser

WRITE = LayoutWriter().write


@pytest.fixture(scope="module")
def chips():
    """Twenty maps of wood and town; the first ten hold 2, 4, … 20 pixels of water in one patch."""
    draw = np.random.default_rng(0)
    maps = np.zeros((20, 16, 16), np.uint8)
    for i, labels in enumerate(maps):
        labels[: draw.integers(2, 14)] = 4
        if i < 10:
            labels[-1, : i + 1], labels[-2, : i + 1] = 6, 6
    shares = dict(zip(SHARE_COLUMNS, np.array([class_shares(m) for m in maps]).T, strict=True))
    return pd.DataFrame({"chip_id": [f"c{i:02d}" for i in range(20)], "mask": list(maps), **shares})


def shares_of(table, columns=SHARE_COLUMNS) -> np.ndarray:
    return table[list(columns)].to_numpy(float)


def test_kinds_take_turns_and_say_what_they_ask(chips):
    kinds = ["captions", "shares", "both", "rare", "shuffled", "nothing"]
    asked = ask(kinds, chips, "text-s0", range(12), WRITE)
    assert asked["kind"].tolist() == kinds * 2
    by_kind = asked.groupby("kind").first()
    given = by_kind[list(SHARE_COLUMNS)].notna().all(axis=1)
    told = by_kind[list(TOLD_COLUMNS)].notna().all(axis=1)
    spoken = by_kind["prompt"] != ""
    assert set(given.index[given]) == {"shares", "both", "rare", "shuffled"}
    assert set(told.index[told]) == set(spoken.index[spoken]) == {"captions", "both", "shuffled"}
    assert (asked["raised"] == np.where(asked["kind"] == "rare", 6, -1)).all()
    np.testing.assert_allclose(np.nansum(shares_of(asked), axis=1)[asked["kind"] == "both"], 1)


def test_a_prompt_is_true_of_the_turned_map_it_describes(chips):
    asked, maps = ask(["both"], chips, "text-s0", range(30), WRITE), chips.set_index("chip_id")["mask"]
    for row in asked.itertuples():
        chip = row.condition.split()[-1]
        turned = turn(maps[chip], row.condition_transform)
        assert FALSE not in [verdict for _, verdict in check_caption(row.prompt, turned)]
        np.testing.assert_allclose([getattr(row, name) for name in TOLD_COLUMNS], class_shares(maps[chip]))
    np.testing.assert_array_equal(shares_of(asked), shares_of(asked, TOLD_COLUMNS))
    assert asked["condition_transform"].nunique() == 8


def test_a_request_depends_on_generator_and_number_alone(chips):
    whole = ask(["both", "rare"], chips, "text-s0", range(8), WRITE)
    part = ask(["both", "rare"], chips.sample(frac=1, random_state=1), "text-s0", range(5, 8), WRITE)
    pd.testing.assert_frame_equal(whole.iloc[5:].reset_index(drop=True), part)
    other = ask(["both", "rare"], chips, "text-s1", range(8), WRITE)
    assert (whole["condition"] != other["condition"]).any()


def test_shuffled_tells_of_two_chips(chips):
    asked = ask(["shuffled"], chips, "text-s0", range(40), WRITE)
    first, second = asked["condition"].str.extract(r"caption of (\w+), shares of (\w+)").to_numpy().T
    assert (first != second).all()
    by_id = chips.set_index("chip_id")
    np.testing.assert_allclose(shares_of(asked), shares_of(by_id.loc[second]))
    np.testing.assert_allclose(shares_of(asked, TOLD_COLUMNS), shares_of(by_id.loc[first]))


def test_the_level_of_a_rare_class_is_one_that_chips_reach(chips):
    """Patches of 6, 8, … 20 pixels count, eight of them: nine tenths of the way up is 18 of 256 pixels."""
    ((k, (level, rows)),) = rare_levels(chips).items()
    assert (k, level, rows.tolist()) == (6, 18 / 256, [8, 9])
    asked = ask(["rare"], chips, "text-s0", range(20))
    assert set(asked["share_6"]) == {18 / 256}
    np.testing.assert_allclose(shares_of(asked).sum(1), 1)
    assert asked["share_0"].nunique() > 5


def test_a_study_says_which_classes_are_rare(chips):
    """Water covers a few hundredths of the ground: no class is rarer than a thousandth, two are rarer than half."""
    with pytest.warns(UserWarning, match=r"no class is rare \(below 0.1 %\)"):
        asked = ask(["rare"], chips, "text-s0", range(4), rare_share=0.001)
    assert set(asked["kind"]) == {"shares"}
    shares = chips[list(SHARE_COLUMNS)].mean().to_numpy()
    wanted = set(np.flatnonzero((shares > 0) & (shares < 0.5)))
    assert len(wanted) > 1
    assert set(ask(["rare"], chips, "text-s0", range(40), rare_share=0.5)["raised"]) == wanted
    rarest = min(wanted, key=lambda k: shares[k])
    some = ask(["rare"], chips, "text-s0", range(40), rare_share=0.5, rare_floor=shares[rarest] + 1e-6)
    assert set(some["raised"]) == wanted - {rarest}


def test_raising_a_share_scales_the_others():
    base, rich = np.array([0.5, 0, 0, 0, 0.5, 0, 0]), np.array([0.6, 0, 0, 0, 0.2, 0, 0.2])
    np.testing.assert_allclose(raise_share(base, rich, 6, 0.1, 0.0), [0.45, 0, 0, 0, 0.45, 0, 0.1])
    np.testing.assert_allclose(raise_share(base, rich, 6, 0.1, 1.0), [0.675, 0, 0, 0, 0.225, 0, 0.1])
    np.testing.assert_allclose(raise_share(np.eye(7)[6], np.eye(7)[6], 6, 0.1, 0.5), np.eye(7)[6])
    assert rich[6] == 0.2  # what is given stays as it is


@pytest.mark.parametrize(
    ("kinds", "describe", "says"),
    [
        (["poem"], WRITE, r"asks \['poem'\] do not exist; choose from captions"),
        ([], WRITE, r"asks \[\] do not exist"),
        (["both"], None, "asks with captions need a writer"),
    ],
)
def test_impossible_requests(chips, kinds, describe, says):
    with pytest.raises(GroundsynthError, match=says):
        ask(kinds, chips, "text-s0", range(2), describe)


def test_nothing_to_ask_for(chips):
    with pytest.raises(GroundsynthError, match="no training chips to ask for"):
        ask(["shares"], chips[:0], "text-s0", range(2))
    common = chips[10:]
    with pytest.warns(UserWarning, match=r"no class is rare \(below 5 %\) in the training maps"):
        asked = ask(["rare", "nothing"], common, "text-s0", range(4))
    assert asked["kind"].tolist() == ["shares", "nothing"] * 2
    blank = chips.assign(**dict.fromkeys(SHARE_COLUMNS, 0.0))
    with pytest.raises(GroundsynthError, match="no training chips to ask for"):
        ask(["shares"], blank, "text-s0", range(2))
    some = pd.concat([blank.head(5), chips.tail(3)])
    assert (
        ask(["shares"], some, "text-s0", range(20))["condition"].str[-3:].isin(chips["chip_id"].tail(3)).all()
    )


@pytest.mark.parametrize(
    ("shares", "says"),
    [
        ({"water": 0.4, "tree cover": 0.5}, "the shares sum to 0.9 and must sum to 1; name every class"),
        ({}, "the shares sum to 0 and"),
        (
            {"water": -0.2, "tree cover": 1.2},
            "the share of water is -0.2, and a share is a number from 0 to 1",
        ),
        ({"water": float("nan")}, "the share of water is nan"),
        ({"water": "half"}, "the share of water is 'half'"),
        ({"watr": 1.0}, "shares name 'watr', which is no class; did you mean 'water'"),
        ([0.5, 0.5], "shares of type list name no classes"),
    ],
)
def test_shares_that_are_none(shares, says):
    with pytest.raises(GroundsynthError, match=says) as caught:
        parse_shares(shares)
    assert "\n" not in str(caught.value)


def test_shares_by_name():
    assert parse_shares({"water": 0.25, "bare": 0.75}).tolist() == [0, 0, 0, 0, 0, 0.75, 0.25]
    assert parse_shares({"water": 0.3333, "bare": 0.6666}).sum() == pytest.approx(1)


def test_conditions_hold_prompts_and_shares_in_their_places():
    shares = np.full((4, 7), np.nan)
    shares[1] = np.eye(7)[6]
    made = conditions_of(["A lake.", "", "A wood in the north.", "A lake."], shares)
    assert made.lengths.tolist() == [3, 0, 6, 3]
    assert made.tokens.shape == (4, 6, 384)
    assert torch.equal(made.tokens[0], made.tokens[3])
    assert not made.tokens[1].any()
    assert made.shares[1].tolist() == [0, 0, 0, 0, 0, 0, 1]
    assert made.shares[[0, 2, 3]].isnan().all()
    assert conditions_of(["", ""], shares[:2]).lengths.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ([0.5, 0.2, 0, 0, 0, 0, 0], "shares of sample 1 have a sum of 0.7; give seven numbers"),
        ([1.5, -0.5, 0, 0, 0, 0, 0], "sample 1 have -0.5 for shrubland"),
        ([0.5, 0.5, 0, 0, 0, 0, np.nan], "sample 1 have no number for water"),
    ],
)
def test_rows_of_shares_that_are_none(row, says):
    with pytest.raises(GroundsynthError, match=says):
        conditions_of(["", ""], np.array([[np.nan] * 7, row]))


def test_a_shard_of_asked_samples_is_traced_to_its_requests(chips, tmp_path):
    """The table beside a shard holds what each sample was asked for, and comes back as it was written."""
    settings = replace(SETTINGS, policy="text", conditions="both")
    model = new_denoiser(np.zeros((20, 16, 16, 3), np.uint8), np.stack(chips["mask"]), settings).eval()
    asked = ask(["both", "nothing", "rare"], chips, "text-s0", range(3), WRITE)
    drawn = generate_shard(model, "text-s0", "text", range(3), None, SOLVING, CPU, "hash", asked)
    assert drawn["condition"].tolist() == asked["condition"].tolist()
    one = generate_shard(model, "text-s0", "text", range(2, 3), None, SOLVING, CPU, "hash", asked.iloc[[2]])
    same = np.abs(one["image"][0].astype(int) - drawn["image"][2])
    assert same.max() <= 2
    table = asked_table(drawn, asked)
    write_table(table, tmp_path / "asked.csv", "asked")
    again = read_table(tmp_path / "asked.csv", "asked")
    assert again["chip_id"].tolist() == drawn["chip_id"].tolist()
    assert again["prompt"].tolist() == asked["prompt"].tolist()
    np.testing.assert_allclose(shares_of(again), shares_of(asked))
    write_table(asked_table(drawn, None), tmp_path / "none.csv", "asked")
    assert read_table(tmp_path / "none.csv", "asked").empty
