"""Repetition counted by hand: near duplicates, distinct-n, self-BLEU, vocabulary, and their rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from groundsynth.artifacts import check_table
from groundsynth.checks.caption_scores import duplicate_rate, variety_rows
from groundsynth.checks.redundancy import (
    PUBLISHED,
    beside_published,
    character_features,
    distinct,
    near_duplicate_rate,
    redundancy_rows,
    self_bleu,
    vocabulary,
)

LAKES = [
    "A large lake lies in the north of the scene.",
    "A large lake lies in the north of the scene!",
    "A large lake lies in the north of the scene, too.",
    "Fields and houses cover most of this area.",
]


@pytest.mark.parametrize("wrap", [np.asarray, sparse.csr_matrix])
def test_near_duplicates_by_hand(wrap):
    """Cosines: rows 0 and 1 are 0.96 alike, row 3 repeats row 2; the first of each pair is free."""
    rows = np.array([[1, 0, 0], [0.96, 0.28, 0], [0, 0, 1], [0, 0, 1.0]])
    assert near_duplicate_rate(wrap(rows)) == 0.5
    assert near_duplicate_rate(wrap(rows), near=0.97) == 0.25
    assert near_duplicate_rate(wrap(rows[:1])) == 0


def test_chunks_do_not_change_the_count(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(60, 3))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    whole = near_duplicate_rate(rows)
    monkeypatch.setattr("groundsynth.checks.redundancy.CHUNK", 7)
    assert 0 < near_duplicate_rate(rows) == whole < 1


def test_near_duplicates_are_never_fewer_than_exact_ones():
    found = near_duplicate_rate(character_features(LAKES))
    assert found == pytest.approx(0.5)  # the second and third repeat the first
    assert duplicate_rate(pd.Series(LAKES)) == pytest.approx(0.25)


def test_distinct_and_vocabulary_by_hand():
    texts = ["A lake, a lake.", "A wood"]
    assert vocabulary(texts) == 3
    assert distinct(texts, 1) == pytest.approx(3 / 6)
    assert distinct(texts, 2) == pytest.approx(3 / 4)  # a lake, lake a, a wood of four
    assert np.isnan(distinct(["word"], 2))


def test_self_bleu_is_one_for_one_text_and_nothing_for_strangers():
    assert self_bleu(["the lake lies in the north"] * 4) == pytest.approx(1)
    assert self_bleu(["one two three four five", "six seven eight nine ten"]) == 0
    assert np.isnan(self_bleu(["alone"]))


def test_self_bleu_draws_by_name_alone():
    texts = [
        f"chip {i} shows {'water' if i % 3 else 'forest'} in part {i // 2} of the scene" for i in range(150)
    ]
    assert self_bleu(texts, "real") == self_bleu(texts, "real")
    assert 0 < self_bleu(texts, "real") < 1


def test_rows_and_the_published_figures_beside_them():
    table = pd.DataFrame({"system": ["real"] * 4, "caption": LAKES})
    rows = redundancy_rows("smoke", "05_caption", table, "layout")
    rows += variety_rows("smoke", "05_caption", table, "layout")
    metrics = check_table(pd.DataFrame(rows), "metrics", "metrics.csv")
    values = metrics.set_index("metric")["value"]
    assert values["near_duplicate_rate"] == pytest.approx(0.5)
    assert values["vocabulary"] == 17
    assert (metrics["regime"] == "similarity=character n-grams").sum() == 1
    beside = beside_published(metrics)
    assert len(beside) == len(PUBLISHED) + 1
    assert beside.iloc[-1].tolist() == ["this study, writer layout, chips 'real'", 25.0, 25.0]


def test_texts_without_words_are_alike_and_count_nothing():
    """An untrained captioner may write signs alone: three such texts are two near duplicates of the first."""
    table = pd.DataFrame({"system": "joint", "caption": [".", ",", ". ."]})
    rows = {
        row["metric"]: row["value"] for row in redundancy_rows("s", "05_caption", table, "captioner", None)
    }
    assert rows["near_duplicate_rate"] == pytest.approx(2 / 3)
    assert rows["vocabulary"] == 0
    assert not {"distinct_1", "distinct_2"} & set(rows)
