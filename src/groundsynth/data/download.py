"""Download files over HTTP: in parallel, resumed where a connection broke, verified before use.

Bytes arrive in ``<name>.part`` beside the target. A later attempt, of this run or the next, asks the
server for the rest only; the file gets its name when size and hash are right.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3
from tqdm import tqdm

from groundsynth.atomic import atomic_path, write_failure
from groundsynth.data.source_kinds import RemoteFile
from groundsynth.data.verify import check_file
from groundsynth.errors import GroundsynthError
from groundsynth.paths import raw_dir

CHUNK = 1 << 18  # bytes
RETRIED = (408, 429, 500, 502, 503, 504)
WEB_PAGE = (b"<!doctype html", b"<html")


@dataclass(frozen=True)
class Patience:
    """How long to wait and how often to ask.

    Attributes:
        attempts: attempts in a row that may bring no new byte.
        wait: seconds before the second attempt; doubled each time.
        longest: seconds that are never exceeded, whatever the server asks for.
        timeout: seconds to connect, and between two pieces of an answer.
    """

    attempts: int = 5
    wait: float = 1.0
    longest: float = 60.0
    timeout: tuple[float, float] = (10.0, 60.0)


PATIENCE = Patience()


class _Trouble(Exception):
    """A failure that may pass: the reason, and how many seconds the server asked to wait."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


def download_files(
    files: Sequence[RemoteFile],
    folder: Path,
    mirror: str | None = None,
    offline: bool = False,
    threads: int = 4,
    patience: Patience | None = None,
) -> None:
    """Bring every file to ``folder``, verified and read-only.

    A file that someone placed in ``folder`` or in ``data/raw`` is taken from there if its hash is right.

    Args:
        mirror: base URL that replaces the host of every file.
        offline: never ask the network.
        threads: downloads at once.
        patience: retries and time limits (default ``PATIENCE``).

    Raises:
        GroundsynthError: a file that is missing, refused, a web page, or not the expected one; no space.
            Files that are complete by then stay, and so do the ``.part`` files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [file for file in files if not place_by_hand(file, folder)]
    if missing and offline:
        raise GroundsynthError(
            f"{folder}: {len(missing)} of {len(files)} files are missing ({missing[0].name} first) and data.offline "
            "is true; fetch them where there is a network, or place them there"
        )
    sizes = [file.size for file in missing]
    total = None if None in sizes else sum(sizes)
    stop = threading.Event()
    with (
        tqdm(total=total, unit="B", unit_scale=True, desc=folder.name, disable=None) as bar,
        ThreadPoolExecutor(threads) as pool,
    ):
        jobs = [
            pool.submit(_Download(file, folder, mirror, patience or PATIENCE, bar, stop).run)
            for file in missing
        ]
        try:
            for job in as_completed(jobs):
                job.result()
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def mirrored(url: str, mirror: str | None) -> str:
    """Return ``url`` with scheme and host replaced by those (and the path) of ``mirror``."""
    return mirror.rstrip("/") + urlsplit(url).path if mirror else url


def place_by_hand(file: RemoteFile, folder: Path) -> bool:
    """Return whether a file is in place, after taking a verified copy from ``data/raw`` if one lies there.

    Raises:
        GroundsynthError: a file of that name lies there, but is not the expected one.
    """
    target, bare = folder / file.name, Path(file.name).name
    for path in (target, folder / bare, raw_dir() / bare):
        if path.is_file():
            check_file(path, file.digest, file.size)
            if path != target:
                _link_or_copy(path, target)
            return True
    return False


def _link_or_copy(path: Path, target: Path) -> None:
    """Give a file a second name; a copy where the file system cannot."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, target)
    except OSError:
        with atomic_path(target) as temporary:
            shutil.copyfile(path, temporary)


@dataclass
class _Download:
    """One file on its way."""

    file: RemoteFile
    folder: Path
    mirror: str | None
    patience: Patience
    bar: tqdm
    stop: threading.Event
    counted: int = field(default=0, init=False)  # bytes the bar knows of

    def __post_init__(self) -> None:
        self.url = mirrored(self.file.url, self.mirror)
        self.target = self.folder / self.file.name
        self.part = self.target.with_name(self.target.name + ".part")
        self.tag = self.target.with_name(self.target.name + ".part.etag")

    @property
    def have(self) -> int:
        """Bytes that have arrived."""
        return self.part.stat().st_size if self.part.is_file() else 0

    def run(self) -> None:
        """Download, verify, rename."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        resumed = self.have > 0
        self._collect()
        try:
            check_file(self.part, self.file.digest, self.file.size)
        except GroundsynthError as error:
            self._discard()
            if not resumed:
                raise GroundsynthError(f"{self.url}: what arrived is wrong ({error})") from None
            self.run()  # the piece found at the start may have been of another file: once more, from zero
            return
        self.part.chmod(0o444)
        os.replace(self.part, self.target)
        self.tag.unlink(missing_ok=True)

    def _collect(self) -> None:
        """Ask until all bytes are there, patiently while something arrives."""
        fruitless, best = 0, self.have
        while not self.stop.is_set():
            try:
                if self.file.size is None or self.have < self.file.size:
                    self._ask()
                return
            except _Trouble as trouble:
                fruitless = 0 if self.have > best else fruitless + 1
                best = max(best, self.have)
                if fruitless >= self.patience.attempts:
                    raise self._given_up(trouble) from None
                wait = max(trouble.wait, self.patience.wait * 2 ** max(fruitless - 1, 0))
                self.stop.wait(min(wait, self.patience.longest))
        raise self._stopped()

    def _ask(self) -> None:
        """Ask once for all bytes, or for those still missing.

        Raises:
            _Trouble: it may work another time.
            GroundsynthError: it will not.
        """
        headers = {"Accept-Encoding": "identity"}
        if self.have:
            headers["Range"] = f"bytes={self.have}-"
        try:
            with requests.get(
                self.url, headers=headers, stream=True, timeout=self.patience.timeout
            ) as answer:
                self._check_status(answer)
                if answer.status_code != 416:  # that one means: nothing is missing
                    self._check_kind(answer)
                    self._write(answer)
        except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
            raise _Trouble(_reason(error)) from None
        except requests.RequestException as error:
            raise GroundsynthError(
                f"{self.url}: cannot be asked for ({error}); correct data.mirror, or {self._by_hand()}"
            ) from None

    def _check_status(self, answer: requests.Response) -> None:
        status = f"{answer.status_code} {answer.reason}"
        if answer.status_code in RETRIED:
            asked = answer.headers.get("Retry-After", "")
            raise _Trouble(f"the server answered {status}", float(asked) if asked.isdigit() else 0.0)
        if answer.status_code == 416 and _total_bytes(answer) != self.have:
            self._discard()
            raise _Trouble("the file on the server is shorter than the piece that was here")
        if answer.status_code not in (200, 206, 416):
            raise GroundsynthError(
                f"{self.url} answered {status}; correct data.mirror if it is set, or {self._by_hand()}"
            )

    def _check_kind(self, answer: requests.Response) -> None:
        if "html" in answer.headers.get("Content-Type", ""):
            raise self._web_page(answer)
        total = _total_bytes(answer)
        if self.file.size is not None and total not in (None, self.file.size):
            raise GroundsynthError(
                f"{self.url} offers {total} bytes, not {self.file.size}; it is not the file this study was made "
                f"with: {self._by_hand()}"
            )

    def _write(self, answer: requests.Response) -> None:
        """Append to the piece that is here, or start anew where the server sends another file or all of it."""
        start = self._continued_from(answer)
        self._count(start - self.counted)
        if not start:
            with _writing(self.tag):
                self.tag.write_text(answer.headers.get("ETag", ""))
        with _writing(self.part):
            stream = self.part.open("ab" if start else "wb", buffering=0)
        with stream:
            # read1 hands over what has arrived, so that a broken connection loses none of it
            while chunk := answer.raw.read1(CHUNK, decode_content=True):
                if self.stop.is_set():
                    raise self._stopped()
                if not stream.tell() and chunk.lstrip()[:15].lower().startswith(WEB_PAGE):
                    raise self._web_page(answer)
                with _writing(self.part):
                    _write_all(stream, chunk)
                self._count(len(chunk))
        expected = _total_bytes(answer)
        if expected is not None and self.have < expected:
            raise _Trouble(f"the answer ended after {self.have} of {expected} bytes")

    def _continued_from(self, answer: requests.Response) -> int:
        """Return the byte at which the answer starts, if it goes on where the piece that is here ends."""
        if answer.status_code != 206:
            return 0
        known = self.tag.read_text() if self.tag.is_file() else ""
        first = re.match(rf"bytes {self.have}-", answer.headers.get("Content-Range", ""))
        if not first or (known and answer.headers.get("ETag", known) != known):
            self._discard()
            raise _Trouble("the file on the server has changed since the piece that was here")
        return self.have

    def _count(self, size: int) -> None:
        self.counted += size
        self.bar.update(size)

    def _discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self.tag.unlink(missing_ok=True)

    def _by_hand(self) -> str:
        return f"place {self.target.name} into {self.target.parent} and run again"

    def _stopped(self) -> GroundsynthError:
        return GroundsynthError(f"{self.url}: stopped, because another download failed; run again")

    def _web_page(self, answer: requests.Response) -> GroundsynthError:
        return GroundsynthError(
            f"{self.url} answered with a web page instead of a file (from {answer.url}); a login or a proxy "
            f"stands in between, or the file has moved: {self._by_hand()}"
        )

    def _given_up(self, trouble: _Trouble) -> GroundsynthError:
        return GroundsynthError(
            f"{self.url} could not be downloaded ({trouble}; {self.patience.attempts} attempts in a row brought "
            f"nothing); run again when the network is better ({self.have} bytes are kept), or {self._by_hand()}"
        )


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn a full disk into one sentence; what was written stays."""
    try:
        yield
    except OSError as error:
        raise write_failure(path, error) from error


def _write_all(stream: io.RawIOBase, chunk: bytes) -> None:
    """Write a chunk whole: an unbuffered write may take only a part of it."""
    view = memoryview(chunk)
    while view:
        view = view[stream.write(view) :]


def _total_bytes(answer: requests.Response) -> int | None:
    """Return the length of the whole file, as the server states it."""
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        return None
    if answer.status_code in (206, 416):
        total = answer.headers.get("Content-Range", "").rpartition("/")[2]
    else:
        total = answer.headers.get("Content-Length", "")
    return int(total) if total.isdigit() else None


def _reason(error: Exception) -> str:
    """Return a few words for a connection that failed."""
    if isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError)):
        return "the server did not answer in time"
    return "the connection broke off" if isinstance(error, urllib3.exceptions.HTTPError) else "no connection"
