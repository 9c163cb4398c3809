"""The layout writer: true by construction, varied, decided by the seed alone."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from groundsynth.artifacts import check_table
from groundsynth.captions.layout import describe_layout
from groundsynth.captions.writers import caption_table, make_writer
from groundsynth.checks.caption_scores import (
    dominance_accuracy,
    duplicate_rate,
    pooled_precision,
    pooled_recall,
    score_captions,
    score_rows,
    variety_rows,
)
from groundsynth.checks.claims import TRUE, check_caption, parse_claims
from groundsynth.errors import GroundsynthError
from groundsynth.legend import class_shares

# 8 x 8 cells of 4 pixels make maps with patches; 255 is 'no label'
MAPS = arrays(np.uint8, (8, 8), elements=st.sampled_from([0, 1, 2, 3, 4, 5, 6, 255])).map(
    lambda cells: np.kron(cells, np.ones((4, 4), np.uint8))
)


@settings(max_examples=150, deadline=None)
@given(labels=MAPS, seed=st.integers(0, 2**63 - 1), style=st.sampled_from(["words", "numbers"]))
def test_every_claim_the_writer_makes_is_true(labels, seed, style):
    caption = describe_layout(labels, seed, style)
    assert [str(c) for c, verdict in check_caption(caption, labels) if verdict != TRUE] == []


@settings(max_examples=60, deadline=None)
@given(labels=MAPS, seed=st.integers(0, 2**63 - 1))
def test_the_dominant_class_is_always_named_first(labels, seed):
    claims = parse_claims(describe_layout(labels, seed))
    if (labels != 255).any():
        assert claims[0].kind == "mention" or claims[0].kind == "absence"
        named = next(c for c in claims if c.kind == "mention").classes[0]
        shares = class_shares(labels)
        assert shares[named] == shares.max()


@pytest.mark.parametrize("style", ["words", "numbers"])
@pytest.mark.parametrize("code", [0, 3, 6])
def test_a_map_of_one_class_says_so(code, style):
    labels = np.full((32, 32), code, np.uint8)
    for seed in range(30):
        claims = parse_claims(describe_layout(labels, seed, style))
        assert any(c.kind == "share" and c.classes == (code,) and c.high == 1 for c in claims)
        assert {c.classes[0] for c in claims if c.kind == "mention"} == {code}


def test_an_unlabelled_map_claims_nothing():
    labels = np.full((32, 32), 255, np.uint8)
    assert all(parse_claims(describe_layout(labels, seed)) == [] for seed in range(30))


def random_maps(n: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    cells = generator.integers(0, 7, (n, 4, 4)).astype(np.uint8)
    return np.kron(cells, np.ones((1, 8, 8), np.uint8))


def chips(maps: np.ndarray) -> pd.DataFrame:
    images = list(np.zeros((*maps.shape, 3), np.uint8))
    names = [f"chip-{i}" for i in range(len(maps))]
    return pd.DataFrame({"chip_id": names, "system": "real", "image": images, "mask": list(maps)})


def test_wording_varies_even_for_one_map():
    labels = random_maps(1)[0]
    captions = pd.Series([describe_layout(labels, seed) for seed in range(200)])
    assert duplicate_rate(captions) < 0.02


def test_captions_depend_on_name_and_seed_alone():
    table = chips(random_maps(12))
    writer = make_writer("layout", "words")
    whole = caption_table(writer, table, 2, seed=5)
    check_table(whole, "captions", "captions.csv")
    shuffled = caption_table(writer, table.iloc[::-1].reset_index(drop=True), 2, seed=5)
    key = ["chip_id", "caption_index"]
    pd.testing.assert_frame_equal(
        whole.sort_values(key, ignore_index=True), shuffled.sort_values(key, ignore_index=True)
    )
    other = caption_table(writer, table, 2, seed=6)
    assert (whole["caption"] != other["caption"]).mean() > 0.9
    assert whole["caption"].nunique() == len(whole)


def test_unknown_writer_names_the_known_ones():
    with pytest.raises(
        GroundsynthError, match=r"'poet' is not known; choose one of \['captioner', 'endpoint', 'layout'"
    ):
        make_writer("poet", "words")


# --- scores by hand ---------------------------------------------------------------------------

LEFT = np.zeros((8, 8), np.uint8)
LEFT[:, 4:] = 6  # half forest, half water
FOREST = np.zeros((8, 8), np.uint8)


def hand_scores() -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "chip_id": ["a", "b", "c"],
            "system": "real",
            "caption_index": 0,
            "caption": [
                "Mostly forest, 40 %. Water in the east.",  # share false (50 %), error 10; 4 true
                "Mostly water.",  # mention and dominance false; forest not named
                "Forest.",  # no dominance stated, no such chip in the maps below
            ],
        }
    )
    return score_captions(table, {"a": LEFT, "b": FOREST})


def test_scores_by_hand():
    scores = hand_scores()
    assert scores["chip_id"].tolist() == ["a", "b"]
    assert scores["true"].tolist() == [4, 0]
    assert scores["false"].tolist() == [1, 2]
    assert pooled_precision(scores) == pytest.approx(4 / 7)
    assert pooled_recall(scores) == pytest.approx(2 / 3)
    assert scores["share_error"].iloc[0] == pytest.approx(10)
    assert np.isnan(scores["share_error"].iloc[1])


def test_dominance_is_averaged_over_classes_and_the_constant_earns_one_class():
    scores = pd.DataFrame({"dominant": [0, 0, 0, 4], "said_dominant": [0, 0, -1, 4]})
    assert dominance_accuracy(scores) == pytest.approx((2 / 3 + 1) / 2)
    assert dominance_accuracy(scores, constant=True) == pytest.approx(0.5)


def test_duplicates_ignore_case_and_punctuation():
    assert duplicate_rate(pd.Series(["A lake.", "a  LAKE", "A wood.", "A wood!"])) == pytest.approx(0.5)
    assert duplicate_rate(pd.Series(["x", "y"])) == 0


def test_score_rows_match_the_schema_and_the_scores():
    rows = pd.DataFrame(score_rows("smoke", "05_caption", hand_scores(), "layout", "against=map"))
    check_table(rows, "metrics", "metrics.csv")
    value = rows.set_index(["metric", "arm"])["value"]
    assert value["claim_precision", "layout"] == pytest.approx(4 / 7)
    assert value["share_error_pp", "layout"] == pytest.approx(10)
    assert value["dominance_balanced_accuracy", "constant"] == 1  # forest dominates (ties: first)


def test_claim_duplicates_see_through_wording():
    table = pd.DataFrame({"system": "real", "caption": ["Forest is absent.", "There is no woodland."]})
    rows = {row["metric"]: row["value"] for row in variety_rows("smoke", "05_caption", table, "layout")}
    assert rows == {"duplicate_rate": 0, "claim_duplicate_rate": 0.5}


def test_importing_captions_and_claims_imports_no_torch():
    code = "import sys, groundsynth.captions.writers, groundsynth.checks.caption_scores as s; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
