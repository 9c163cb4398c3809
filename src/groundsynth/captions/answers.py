"""What a server of the OpenAI protocol is asked and answers: one request body, one caption with its tokens."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from groundsynth.artifacts import encode_png
from groundsynth.captions.journal import request_key
from groundsynth.captions.prompts import fill_template
from groundsynth.captions.unwritten import read_picture

SEEDS = 1 << 31  # servers take 32-bit seeds


class Spoilt(Exception):
    """An answer that another attempt may mend."""


class Refused(Exception):
    """An answer that no further attempt will mend."""


@dataclass(frozen=True)
class Answer:
    """A caption, the model as the server names it, and the tokens read and written."""

    caption: str
    model: str
    prompt_tokens: int
    answer_tokens: int


def request_body(
    settings: dict[str, Any], template: str, mode: str, image: Any, labels: np.ndarray, seed: int
) -> dict[str, Any]:
    """Return the body of a chat completion: the prompt and, unless the mode is ``map``, the image as data URL.

    Raises:
        GroundsynthError: an image that cannot be read.
    """
    content: list[dict[str, Any]] = [{"type": "text", "text": fill_template(template, labels)}]
    if mode != "map":
        png = base64.b64encode(encode_png(read_picture(image))).decode()
        content.append({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png}"}})
    return {
        "model": settings["model"],
        "messages": [{"role": "user", "content": content}],
        "max_tokens": settings["max_tokens"],
        "temperature": settings["temperature"],
        "seed": seed % SEEDS,
    }


def body_key(body: dict[str, Any]) -> str:
    """Return the key of a request, which is also its name in a batch file."""
    return request_key(body)


def parse_answer(data: bytes, max_tokens: int) -> Answer:
    """Return the caption in the bytes of a chat completion.

    Raises:
        Spoilt: not UTF-8, not JSON, not a chat completion, or empty.
        Refused: longer than ``max_tokens``, or held back by the server.
    """
    try:
        values = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise Spoilt("the answer is not valid UTF-8") from None
    except ValueError:
        raise Spoilt("the answer is not valid JSON") from None
    return read_completion(values, max_tokens)


def read_completion(values: Any, max_tokens: int) -> Answer:
    """Return the caption in a chat completion; raises as :func:`parse_answer` does."""
    try:
        choice = values["choices"][0]
        text, reason = choice["message"]["content"], choice.get("finish_reason")
        if isinstance(text, list):  # some servers answer in parts
            text = "".join(part.get("text", "") for part in text)
        caption = " ".join((text or "").split())
    except (KeyError, IndexError, TypeError, AttributeError):
        raise Spoilt("the answer is no chat completion") from None
    if reason == "content_filter":
        raise Refused("the server held its answer back (content filter)")
    if reason == "length" or len(caption.split()) > max_tokens:
        raise Refused(
            f"the caption is longer than max_tokens = {max_tokens}; raise it, or ask for fewer words in the prompt"
        )
    if "\ufffd" in caption:
        raise Spoilt("the answer is not valid UTF-8")
    if not caption:
        raise Spoilt("the answer is empty")
    usage = values.get("usage") or {}
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    return Answer(caption, str(values.get("model", "")), *(n if isinstance(n, int) else 0 for n in counts))
