"""The endpoint writer: any server that speaks the OpenAI protocol describes chips, many at once.

Requests go out in parallel up to a limit. Trouble that may pass (a busy or broken server, a lost
connection, an answer cut short) is met with patience and growing waits, or as long as the server asks
for; trouble with one chip costs that chip; trouble with the server as a whole ends the run with one
sentence. Every caption is in the journal the moment it arrives.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import requests
import urllib3
from tqdm import tqdm

from groundsynth.captions.answers import Answer, Refused, Spoilt, body_key, parse_answer, request_body
from groundsynth.captions.journal import Journal
from groundsynth.captions.prompts import check_template
from groundsynth.captions.unwritten import Unwritten
from groundsynth.errors import GroundsynthError

PASSING = (408, 409, 425, 429, 500, 502, 503, 504, 529)
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds before the second attempt, doubled each time, and at most
CONNECT = 10.0  # seconds
LARGEST = 4 << 20  # bytes of an answer
IN_A_ROW = 2  # times as many chips given up in a row as requests under way mean the server is to blame


class _Trouble(Exception):
    """A failure that may pass, and how many seconds the server asks to wait."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class EndpointWriter:
    """Describe chips through a server (see the module's text).

    Attributes:
        usage: tokens read and written and what they cost, over all captions returned so far.
    """

    def __init__(self, mode: str, settings: dict[str, Any], journals: Path | None = None) -> None:
        """Make a writer.

        Args:
            mode: ``map``, ``image`` or ``both``; settings: ``config.Endpoint`` as plain values.
            journals: folder of the journal; None keeps none.

        Raises:
            GroundsynthError: a prompt that cannot be filled in.
        """
        self.name, self.mode, self.settings = f"endpoint:{mode}", mode, settings
        self.version = settings["model"]
        self.prompt = check_template(settings["prompt"], mode, self.name)
        self.decoding = f"temperature {settings['temperature']:g}, at most {settings['max_tokens']} tokens"
        self.journals = journals
        self.usage = {"prompt_tokens": 0, "answer_tokens": 0, "cost": 0.0}

    def body(self, image: Any, labels: np.ndarray, seed: int) -> dict[str, Any]:
        """Return the request for one chip."""
        return request_body(self.settings, self.prompt, self.mode, image, labels, seed)

    @contextmanager
    def journal(self) -> Iterator[Journal]:
        """Open the writer's journal, a passing one where it has none."""
        with TemporaryDirectory() as passing:
            folder = Path(passing) if self.journals is None else self.journals
            with Journal(folder / f"{self.name.replace(':', '-')}.jsonl") as journal:
                yield journal

    def write(self, images: Sequence[Any], maps: Sequence[np.ndarray], seeds: Sequence[int]) -> list[str]:
        """Return one caption per chip, or why there is none (see ``writers.Writer``).

        Raises:
            GroundsynthError: a server that cannot be used at all; what it wrote so far is in the journal.
        """
        with self.journal() as journal:
            crew = _Crew(self, journal)
            found = crew.run(list(zip(images, maps, seeds, strict=True)))
        for line in found:
            self._count(line)
        return [Unwritten(line) if isinstance(line, str) else line["caption"] for line in found]

    def _count(self, line: dict[str, Any] | str) -> None:
        if isinstance(line, str):
            return
        read, written = line.get("prompt_tokens", 0), line.get("answer_tokens", 0)
        self.usage["prompt_tokens"] += read
        self.usage["answer_tokens"] += written
        price = read * self.settings["price_prompt"] + written * self.settings["price_answer"]
        self.usage["cost"] += price / 1e6


class _Crew:
    """The threads of one call, and what they share."""

    def __init__(self, writer: EndpointWriter, journal: Journal) -> None:
        self.writer, self.journal, self.settings = writer, journal, writer.settings
        self.url = self.settings["url"].rstrip("/") + "/chat/completions"
        self.stop, self.guard, self.own = threading.Event(), threading.Lock(), threading.local()
        self.given_up = 0  # chips in a row

    def run(self, chips: list[tuple[Any, np.ndarray, int]]) -> list[dict[str, Any] | str]:
        """Return the journal's line of each chip, or the reason why there is none, in order."""
        found: list[dict[str, Any] | str] = [""] * len(chips)
        with (
            tqdm(total=len(chips), desc=self.writer.name, disable=None) as bar,
            ThreadPoolExecutor(self.settings["concurrent"]) as pool,
        ):
            jobs = {pool.submit(self._describe, *chip): i for i, chip in enumerate(chips)}
            try:
                for job in as_completed(jobs):
                    found[jobs[job]] = job.result()
                    bar.update()
            except BaseException:
                self.stop.set()
                pool.shutdown(cancel_futures=True)
                raise
        return found

    def _describe(self, image: Any, labels: np.ndarray, seed: int) -> dict[str, Any] | str:
        try:
            body = self.writer.body(image, labels, seed)
        except GroundsynthError as error:
            return str(error)
        key = body_key(body)
        if key not in self.journal:
            try:
                answer = self._patiently(body)
            except Refused as refusal:
                return self._give_up(str(refusal))
            self.given_up = 0
            self.journal.add(
                key, answer.caption, model=answer.model,
                prompt_tokens=answer.prompt_tokens, answer_tokens=answer.answer_tokens,
            )  # fmt: skip
        return self.journal[key]

    def _give_up(self, reason: str) -> str:
        with self.guard:
            self.given_up += 1
            in_a_row = self.given_up
        if in_a_row >= IN_A_ROW * self.settings["concurrent"] + 1:
            raise GroundsynthError(
                f"{self.url}: {in_a_row} chips in a row got no caption (the last: {reason}); mend the server or the "
                f"settings and run again: {len(self.journal.lines)} captions are kept"
            )
        return reason

    def _patiently(self, body: dict[str, Any]) -> Answer:
        """Ask until there is an answer, a refusal, or no attempt left."""
        attempts = self.settings["attempts"]
        for attempt in range(attempts):
            if self.stop.is_set():
                break
            try:
                return self._ask(body)
            except (_Trouble, Spoilt) as trouble:
                reason = str(trouble)
                wait = max(getattr(trouble, "wait", 0.0), FIRST_WAIT * 2**attempt * random.uniform(0.5, 1))
            if attempt + 1 < attempts:
                self.stop.wait(min(wait, LONGEST_WAIT))
        if self.stop.is_set():
            raise Refused("the run was stopped")
        raise Refused(f"{reason} ({attempts} attempts)")

    def _ask(self, body: dict[str, Any]) -> Answer:
        try:
            with self._session().post(
                self.url, json=body, stream=True, allow_redirects=False,
                timeout=(CONNECT, self.settings["timeout"]),
            ) as answer:  # fmt: skip
                data = self._read(answer, time.monotonic() + self.settings["timeout"])
                self._check_status(answer, data)
        except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
            raise _Trouble(_reason(error)) from None
        except requests.RequestException as error:
            raise GroundsynthError(
                f"{self.url}: cannot be asked ({error}); correct caption.endpoint.url"
            ) from None
        return parse_answer(data, self.settings["max_tokens"])

    def _session(self) -> requests.Session:
        """Return this thread's connection; the key is read from the environment and kept nowhere else."""
        if not hasattr(self.own, "session"):
            self.own.session = requests.Session()
            key = os.environ.get(self.settings["key_variable"], "")
            if key:
                self.own.session.headers["Authorization"] = f"Bearer {key}"
        return self.own.session

    def _read(self, answer: requests.Response, deadline: float) -> bytes:
        """Return the whole body; a server may not take longer by sending a little at a time."""
        data = bytearray()
        while chunk := answer.raw.read1(1 << 16, decode_content=True):
            data += chunk
            if time.monotonic() > deadline:
                raise _Trouble(f"the answer took longer than {self.settings['timeout']:g} seconds")
            if len(data) > LARGEST:
                raise _Trouble(f"the answer is longer than {LARGEST >> 20} MiB")
        return bytes(data)

    def _check_status(self, answer: requests.Response, data: bytes) -> None:
        status = f"{answer.status_code} {answer.reason}".strip()
        if answer.status_code in PASSING:
            raise _Trouble(
                f"the server answered {status}", _asked_wait(answer.headers.get("Retry-After", ""))
            )
        if answer.status_code in (401, 403):
            raise GroundsynthError(
                f"{self.url} answered {status}; put a valid key into the environment variable "
                f"{self.settings['key_variable']}"
            )
        if answer.status_code in (404, 405) or 300 <= answer.status_code < 400:
            raise GroundsynthError(
                f"{self.url} answered {status}; correct caption.endpoint.url and .model "
                f"({self.settings['model']!r})"
            )
        if answer.status_code != 200:
            said = " ".join(data[:200].decode("utf-8", "replace").split())
            raise Refused(f"the server answered {status}: {said}")


def _asked_wait(header: str) -> float:
    """Return the seconds of a Retry-After header: a number, or a date; 0 if it is neither."""
    if header.isdigit():
        return float(header)
    try:
        when = parsedate_to_datetime(header)
    except (TypeError, ValueError):
        return 0.0
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max((when - datetime.now(UTC)).total_seconds(), 0.0)


def _reason(error: Exception) -> str:
    """Return a few words for a connection that failed."""
    if isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError)):
        return "the server did not answer in time"
    return "the connection broke off or could not be made"
