"""Requests as files for a server's batch interface, and its answers taken into the journal.

A batch file holds one request per line, named by its key. The answers may come in any order, in several
files, and more than once: the journal takes each caption once, and a later run of the stage finds it there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from groundsynth.atomic import atomic_path
from groundsynth.captions.answers import Refused, Spoilt, body_key, read_completion
from groundsynth.captions.endpoint import EndpointWriter
from groundsynth.errors import GroundsynthError

MOST_REQUESTS, MOST_BYTES = 50_000, 190 << 20  # of one file, as servers accept them


def export_batch(
    writer: EndpointWriter, chips: Iterable[tuple[Any, np.ndarray, int]], folder: Path
) -> list[Path]:
    """Write the requests the journal has no caption for; return the files, ``part-000.jsonl`` and on.

    Args:
        chips: (image, map, seed) of each caption; one whose image cannot be read is left out.
    """
    paths = []
    with writer.journal() as journal:
        for number, lines in enumerate(_parts(_lines(writer, chips, set(journal.lines)))):
            paths.append(Path(folder) / f"part-{number:03d}.jsonl")
            with atomic_path(paths[-1]) as temporary:
                temporary.write_bytes(b"".join(lines))
    return paths


def _lines(
    writer: EndpointWriter, chips: Iterable[tuple[Any, np.ndarray, int]], known: set[str]
) -> Iterator[bytes]:
    for chip in chips:
        try:
            body = writer.body(*chip)
        except GroundsynthError:
            continue
        key = body_key(body)
        if key not in known:
            known.add(key)
            line = {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body}
            yield json.dumps(line).encode() + b"\n"


def _parts(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    size = 0
    for line in lines:
        if part and (len(part) == MOST_REQUESTS or size + len(line) > MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(line)
        size += len(line)
    if part:
        yield part


def import_batch(writer: EndpointWriter, path: Path) -> Counter[str]:
    """Take the captions of one file of answers into the journal; return how many lines met which fate.

    Returns:
        Counts by ``taken``, ``known`` (in the journal already) and one reason for each other fate.

    Raises:
        GroundsynthError: no such file, or a file without a single line of answers.
    """
    try:
        lines = Path(path).read_bytes().splitlines()
    except OSError as error:
        raise GroundsynthError(
            f"{path}: cannot be read ({error.strerror}); name a file of a batch's answers"
        ) from None
    fates: Counter[str] = Counter()
    with writer.journal() as journal:
        for line in filter(None, lines):
            fates[_take(line, journal, writer.settings["max_tokens"])] += 1
    if not fates or set(fates) == {"the line is no answer of a batch"}:
        raise GroundsynthError(
            f"{path}: holds no answer of a batch; name the file the server made of the requests"
        )
    return fates


def _take(line: bytes, journal: Any, max_tokens: int) -> str:
    try:
        values = json.loads(line.decode("utf-8"))
        key, response = values["custom_id"], values["response"]
    except UnicodeDecodeError:
        return "the answer is not valid UTF-8"
    except (ValueError, KeyError, TypeError):
        return "the line is no answer of a batch"
    if not response or response.get("status_code") != 200:
        return f"the server answered {(response or {}).get('status_code', 'nothing')}"
    try:
        answer = read_completion(response.get("body"), max_tokens)
    except (Spoilt, Refused) as reason:
        return str(reason)
    new = journal.add(
        key, answer.caption, model=answer.model,
        prompt_tokens=answer.prompt_tokens, answer_tokens=answer.answer_tokens,
    )  # fmt: skip
    return "taken" if new else "known"
