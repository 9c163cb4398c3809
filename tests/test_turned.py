"""Captions of turned maps: true of the map they turn with, equal in words, quick to read."""

from __future__ import annotations

import numpy as np
import pytest

from groundsynth.captions.turned import describe_turned
from groundsynth.checks.claims import FALSE, TRUE, check_caption
from groundsynth.data.turns import turn
from groundsynth.errors import GroundsynthError


@pytest.fixture(scope="module")
def maps():
    """A lake in the northern strip of a wood, in its north-eastern corner, and a wood alone."""
    maps = np.zeros((3, 16, 16), np.uint8)
    maps[0, :4], maps[1, :5, 11:] = 6, 6
    return maps


@pytest.fixture(scope="module")
def captions(maps):
    return describe_turned(["north", "corner", "wood"], maps, wordings=3)


def test_every_caption_is_true_of_its_turned_map(maps, captions):
    told = 0
    for chip in range(3):
        for code in range(8):
            turned = turn(maps[chip], code)
            for wording in range(3):
                verdicts = [v for _, v in check_caption(captions.of(chip, code, wording), turned)]
                assert FALSE not in verdicts
                told += verdicts.count(TRUE)
    assert told > 3 * 8 * 3


def test_a_caption_of_another_turn_would_be_false(maps, captions):
    """The reason for describing every turn: a lake in the north is in the west after one turn."""
    wrong = [v for _, v in check_caption(captions.of(0, 0), turn(maps[0], 1))]
    assert FALSE in wrong


def test_turns_change_places_and_wordings_change_words(captions):
    assert captions.index.shape == (3, 8, 3)
    north, west = captions.of(0, 0).split(), captions.of(0, 1).split()
    assert {a for a, b in zip(north, west, strict=True) if a != b} == {"north."}
    assert len({captions.of(2, code) for code in range(8)}) == 1  # a wood has no north
    assert len({captions.of(1, 0, wording) for wording in range(3)}) > 1
    assert len(captions.texts) == len(set(captions.texts)) == captions.index.max() + 1
    assert captions.described == 3


def test_of_very_many_chips_some_are_described(maps, monkeypatch):
    """Room for 17 captions is room for two chips under eight turns; the third has the empty text."""
    monkeypatch.setattr("groundsynth.captions.turned.MOST_TEXTS", 17)
    some = describe_turned(["north", "corner", "wood"], maps)
    assert some.described == 2
    left = [chip for chip in range(3) if some.of(chip, 0) == ""]
    assert len(left) == 1
    assert (some.index[left] == some.texts.index("")).all()
    whole = describe_turned(["north", "corner", "wood"], maps, 2)
    assert whole.described == 1


def test_nothing_to_describe_is_told(maps):
    with pytest.raises(GroundsynthError, match="0 maps in 1 wordings"):
        describe_turned([], maps[:0])
    with pytest.raises(GroundsynthError, match="3 maps in 0 wordings"):
        describe_turned(["a", "b", "c"], maps, wordings=0)
