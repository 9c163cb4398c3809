"""Texts as token states: sentence by sentence, padding that changes nothing, the cache, bad prompts."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from tiny_encoder import make_encoder

from groundsynth.errors import GroundsynthError
from groundsynth.models import sentence_tokens
from groundsynth.models.sentence_tokens import (
    check_prompt,
    load_encoder,
    sentence_embeddings,
    split_sentences,
    token_states,
)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return make_encoder(tmp_path_factory.mktemp("encoder"))


def test_sentences_keep_their_marks():
    assert split_sentences(" A lake. No wood!  In the north ") == ["A lake.", "No wood!", "In the north"]
    assert split_sentences("34.5 % water, e.g.the sea") == ["34.5 % water, e.g.the sea"]


def test_states_are_those_of_the_sentences_in_turn(encoder):
    """A text of two sentences is the first one's states and then the second's, whatever stands beside it."""
    texts = ["A lake. In the north.", "In the north.", "A lake."]
    states, lengths = token_states(texts, encoder, max_tokens=9)
    assert states.shape == (3, 7, 16)
    assert states.dtype == np.float16
    assert lengths.tolist() == [7, 4, 3]  # words and full stops; marks of begin and end are left out
    np.testing.assert_array_equal(states[0, :7], np.concatenate([states[2, :3], states[1, :4]]))
    assert not states[1, 4:].any()
    assert (states[1, 0] != states[1, 1]).any()
    alone, _ = token_states(["A lake."], encoder, max_tokens=9)
    np.testing.assert_allclose(alone[0].astype(float), states[2, :3].astype(float), atol=2e-3)


def test_a_sentence_is_read_once_and_kept(encoder, tmp_path, monkeypatch):
    read = []
    true = sentence_tokens._encode
    monkeypatch.setattr(sentence_tokens, "_encode", lambda s, f: read.append(len(s)) or true(s, f))
    first, _ = token_states(["A lake. A wood.", "A wood. A lake.", "A lake."], encoder, cache=tmp_path)
    again, _ = token_states(["A wood. A lake.", "A lake. A wood.", "A lake."], encoder, cache=tmp_path)
    assert read == [2]
    np.testing.assert_array_equal(first[[1, 0, 2]], again)
    token_states(["The north."], encoder, cache=tmp_path)
    other = make_encoder(tmp_path / "other", width=32)
    assert token_states(["The north."], other, cache=tmp_path)[0].shape[2] == 32
    assert read == [2, 1, 1]


def test_long_texts_are_cut_and_it_is_said(encoder):
    with pytest.warns(UserWarning, match="1 of 2 texts have more than 4 tokens .at most 6.; .* the first 4"):
        states, lengths = token_states(["A lake.", "A lake in the north."], encoder, max_tokens=4)
    assert lengths.tolist() == [3, 4]
    assert states.shape == (2, 4, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        token_states(["A lake."], encoder, max_tokens=3)


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("", "the prompt '' says nothing"),
        (" \n.", "says nothing; give a description"),
        (None, "of type NoneType is no text"),
        (["a lake"], "of type list is no text; give one string"),
        ("a" * 10_001, "10,001 characters and at most 10,000 are read; shorten"),
    ],
)
def test_bad_prompts_are_told_in_a_sentence(prompt, says):
    with pytest.raises(GroundsynthError, match=says) as caught:
        check_prompt(prompt)
    assert "\n" not in str(caught.value)


def test_a_legal_prompt_passes(encoder):
    assert check_prompt("  a lake ") == "a lake"
    assert len(check_prompt("a" * 10_000)) == 10_000
    with pytest.warns(UserWarning, match="the generator reads the first 96"):
        _, lengths = token_states(["a lake. " * 1250], encoder)
    assert lengths.tolist() == [96]


def test_no_text_has_no_tokens(encoder):
    states, lengths = token_states(["", "A lake."], encoder)
    assert lengths.tolist() == [0, 3]
    assert not states[0].any()
    assert token_states([""], encoder)[0].shape == (1, 0, 16)


def test_embeddings_of_whole_texts(encoder):
    """Equal texts are equal, order is kept, and padding changes nothing."""
    found = sentence_embeddings(["a lake", "a wood in the north", "A lake"], encoder)
    assert found.shape == (3, 16)
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-5)
    assert found[0] @ found[2] == pytest.approx(1, abs=1e-5)
    assert found[1] == pytest.approx(sentence_embeddings(["a wood in the north"], encoder)[0], abs=1e-5)
    assert found[0] @ found[1] < 0.9999


def test_a_folder_without_an_encoder_says_so(tmp_path):
    with pytest.raises(
        GroundsynthError, match=r"sentence encoder .*: cannot be read \(no config\.json in it\)"
    ):
        sentence_embeddings(["a lake"], tmp_path)


def test_the_shipped_encoder_reads_meaning():
    """Its own claim: texts that mean nearly the same are nearer than texts that do not."""
    found = sentence_embeddings(["A lake in the woods.", "Water among trees.", "Tax law."], "shipped")
    assert found.shape[1] == 384
    assert found[0] @ found[1] > found[0] @ found[2] + 0.2
    _, model = load_encoder()
    assert not model.training
