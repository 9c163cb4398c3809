"""The parser against the packaged sentences, and the score against claims counted by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from groundsynth.artifacts import check_table
from groundsynth.captions.claim import Claim
from groundsynth.checks.parser_score import (
    FOLDER,
    agree,
    parser_rates,
    parser_rows,
    read_claim,
    read_sentences,
    score_parser,
)
from groundsynth.errors import GroundsynthError

SENTENCES = read_sentences()


def wrong(name: str) -> str:
    """Return every sentence of a file that is read otherwise than by hand."""
    scores = score_parser(SENTENCES[name])
    bad = scores[(scores["missed"] != "") | (scores["invented"] != "")]
    return bad[["sentence", "missed", "invented"]].to_string()


@pytest.mark.parametrize("name", sorted(SENTENCES))
def test_parser_reads_as_people_do(name):
    precision, recall = parser_rates(score_parser(SENTENCES[name]))
    assert precision >= 0.95, wrong(name)
    assert recall >= 0.90, wrong(name)


def test_there_are_enough_sentences_and_none_twice():
    every = [sentence for labelled in SENTENCES.values() for sentence in labelled]
    assert len(set(every)) == len(every) >= 180
    later = sum(len(SENTENCES[name]) for name in SENTENCES if name != "development")
    assert later >= len(every) / 3


def test_first_readings_add_up():
    first = pd.read_csv(str(FOLDER / "first_readings.csv")).set_index("set")
    assert first.loc["held_back", "sentences"] == len(SENTENCES["held_back"])
    assert first["sentences"].sum() == sum(map(len, SENTENCES.values())) - len(SENTENCES["development"])
    assert (first["right"] <= first[["found", "expected"]].min(axis=1)).all()


@pytest.mark.parametrize(
    ("written", "claim"),
    [
        ("mention water", Claim("mention", (6,))),
        ("maybe mention water", Claim("mention", (6,), hedged=True)),
        ("absence water north", Claim("absence", (6,), where="north")),
        ("not dominant tree", Claim("dominant", (0,), denied=True)),
        ("share tree + grass .5 .6", Claim("share", (0, 2), 0.5, 0.6)),
        ("more tree > water", Claim("more", (0,), other=(6,))),
        ("adjacent water | tree", Claim("adjacent", (0,), other=(6,))),
        ("count water 2 2", Claim("count", (6,), 2, 2)),
        ("mention vegetation", Claim("mention", (0, 1, 2, 3), merged=True)),
        ("mention cloud", Claim("mention", name="cloud")),
    ],
)
def test_written_claims_are_read(written, claim):
    assert read_claim(written) == claim


def test_an_unknown_kind_names_the_known_ones():
    with pytest.raises(GroundsynthError, match="no kind 'sees'; use one of mention, "):
        read_claim("sees water")


def test_amounts_agree_within_five_points_and_nothing_else_may_differ():
    claim = Claim("share", (0,), 0.35, 0.45)
    assert agree(claim, Claim("share", (0,), 0.4, 0.4))
    assert not agree(claim, Claim("share", (0,), 0.35, 0.51))
    assert not agree(claim, Claim("share", (1,), 0.35, 0.45))
    assert not agree(Claim("mention", (0, 1)), Claim("mention", (0, 1), merged=True))
    assert not agree(Claim("position", (0,), where="north"), Claim("position", (0,), where="south"))


# 'A lake.' is read right (1 of 1); 'Woods.' has one claim, of which the labels want two others
BY_HAND = {"A lake.": ["mention water"], "Woods.": ["mention grass", "absence tree"]}


def test_rates_by_hand():
    precision, recall = parser_rates(score_parser(BY_HAND))
    assert precision == pytest.approx(1 / 2)
    assert recall == pytest.approx(1 / 3)


def test_rows_match_the_schema():
    rows = pd.DataFrame(parser_rows("smoke", "06_ground", {"held_back": BY_HAND}))
    check_table(rows, "metrics", "metrics.csv")
    assert rows["metric"].tolist() == ["parser_precision", "parser_recall"]
    assert rows["value"].tolist() == pytest.approx([1 / 2, 1 / 3])
    assert rows["n"].tolist() == [2, 3]
    assert (rows["low"] <= rows["value"]).all()
    assert np.isfinite(rows["high"]).all()
