"""Word scores against the worked examples of the papers they come from, and without Java."""

from __future__ import annotations

import numpy as np
import pytest
from random_maps import random_map

from groundsynth.captioning.word_scores import (
    BLEU_COLUMNS,
    bleu,
    java_works,
    meteor_scores,
    plain_tokens,
    word_table,
)
from groundsynth.captions.layout import describe_layout
from groundsynth.captions.rich_layout import describe_richly

needs_java = pytest.mark.skipif(not java_works(), reason="METEOR and the PTB tokenizer are Java programs")
PAPER = [  # the three references of example 1 in Papineni et al. (2002)
    "It is a guide to action that ensures that the military will forever heed Party commands.",
    "It is the guiding principle which guarantees the military forces always being under the command of the Party.",
    "It is the practical guide for the army always to heed the directions of the party.",
]
CATS = ["The cat is on the mat.", "There is a cat on the mat."]


@pytest.mark.parametrize(
    ("candidate", "references", "unigrams", "bigrams"),
    [
        (
            "It is a guide to action which ensures that the military always obeys the commands of the party.",
            PAPER,
            (17, 18),
            (10, 17),
        ),
        (
            "It is to insure the troops forever hearing the activity guidebook that party direct.",
            PAPER,
            (8, 14),
            (1, 13),
        ),
        ("the the the the the the the.", CATS, (2, 7), (0, 6)),  # example 2: clipped
    ],
)
def test_modified_precisions_of_the_bleu_paper(candidate, references, unigrams, bigrams):
    row = word_table([candidate], [references]).iloc[0]
    assert (row["found_1"], row["proposed_1"]) == unigrams
    assert (row["found_2"], row["proposed_2"]) == bigrams


def test_bleu_of_sums_is_the_package_s_corpus_bleu():
    from pycocoevalcap.bleu.bleu import Bleu

    said = [describe_layout(random_map(np.random.default_rng(i)), i) for i in range(12)]
    known = [
        [describe_layout(random_map(np.random.default_rng(i)), 50 + i + k) for k in range(3)]
        for i in range(12)
    ]
    table = word_table(said, known)
    sums = table[list(BLEU_COLUMNS)].to_numpy().sum(0)
    ours = [float(bleu(sums, k)) for k in (1, 2, 3, 4)]
    tokens = {i: [plain_tokens(text)] for i, text in enumerate(said)}
    theirs = {i: [plain_tokens(text) for text in texts] for i, texts in enumerate(known)}
    assert ours == pytest.approx(Bleu(4).compute_score(theirs, tokens, verbose=0)[0])


def test_a_caption_that_is_too_short_pays_for_it():
    sums = word_table(["the cat"], [["the cat is on the mat"]])[list(BLEU_COLUMNS)].sum()
    assert float(bleu(sums.to_numpy(), 1)) == pytest.approx(np.exp(1 - 6 / 2))


@pytest.mark.parametrize(
    ("candidate", "score"),
    [
        ("police kill the gunman", 3 / 4),
        ("the gunman kill police", 2 / 4),
        ("the gunman police killed", 2 / 4),
    ],
)
def test_the_gunman_of_lin_2004(candidate, score):
    table = word_table([candidate], [["police killed the gunman"]])
    assert table["rouge_l"][0] == pytest.approx(score)


def test_cider_of_identical_captions_is_ten_and_of_commonplaces_nothing():
    """A caption equal to its only reference scores 10; n-grams that every image shares weigh nothing."""
    texts = [
        "a lake in the north of woods",
        "one field beside two narrow roads",
        "houses along every single street",
    ]
    assert word_table(texts, [[t] for t in texts])["cider"].tolist() == pytest.approx([10] * 3)
    same = ["the scene is mostly forest"] * 3
    assert word_table(same, [[t] for t in same])["cider"].tolist() == [0] * 3


@needs_java
def test_meteor_knows_synonyms_and_stems_and_identity():
    reference = ["the scene shows a big forest beside a lake"] * 3
    said = [reference[0], "the scene shows a large forest beside a lake", "no road was seen here"]
    meteor = meteor_scores(said, [[r] for r in reference])
    assert meteor[0] == pytest.approx(1)
    assert 0.5 < meteor[1] < 1
    assert meteor[2] < 0.2


def test_without_java_meteor_is_left_out_and_the_rest_stays(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not java_works()
    table = word_table(["a b c d"], [["a b c d"]])
    assert table["rouge_l"][0] == 1


def test_a_java_that_does_not_run_is_none(monkeypatch, tmp_path):
    (tmp_path / "java").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "java").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert not java_works()


@needs_java
def test_plain_tokens_are_those_of_the_penn_treebank_tokenizer():
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    texts = [
        write(random_map(np.random.default_rng(i)), i, style)
        for i in range(30)
        for write in (describe_layout, describe_richly)
        for style in ("words", "numbers")
    ]
    theirs = PTBTokenizer().tokenize({i: [{"caption": text}] for i, text in enumerate(texts)})
    assert [plain_tokens(text) for text in texts] == [theirs[i][0] for i in range(len(texts))]


def test_an_empty_caption_scores_nothing():
    table = word_table([""], [["some words here"]])
    assert table[["rouge_l", "cider", "found_1", "length"]].iloc[0].tolist() == [0, 0, 0, 0]
