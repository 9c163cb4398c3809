"""Downloads against a real HTTP server: whole or not at all, resumed, and one sentence per failure."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fault_server import FaultServer, serve

from groundsynth.data.download import Patience, download_files, mirrored
from groundsynth.data.source_kinds import RemoteFile
from groundsynth.errors import GroundsynthError

HASTY = Patience(attempts=3, wait=0.01, longest=0.05, timeout=(2.0, 0.5))
CONTENT = np.random.default_rng(0).bytes(700_000)
HOST = "https://files.example/"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FaultServer]:
    """A server that holds ``a.bin``."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "a.bin").write_bytes(CONTENT)
    with serve(tmp_path / "served") as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty ``data/raw/here``."""
    monkeypatch.setenv("GROUNDSYNTH_DATA", str(tmp_path / "raw"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw" / "here"


def remote(name: str = "a.bin", content: bytes = CONTENT, size: int | None = -1) -> RemoteFile:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return RemoteFile(HOST + name, name, digest, len(content) if size == -1 else size)


def download(server: FaultServer, folder: Path, *files: RemoteFile, **options: object) -> None:
    options = {"mirror": server.url, "patience": HASTY, **options}
    download_files(files or (remote(),), folder, **options)


def leave_part(folder: Path, content: bytes, tag: str | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.bin.part").write_bytes(content)
    if tag is not None:
        (folder / "a.bin.part.etag").write_text(tag)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_arrive_whole_read_only_and_without_remains(server: FaultServer, folder: Path):
    contents = {f"sub/{n}.bin": bytes([n]) * (1000 * n + 1) for n in range(9)}
    (server.folder / "sub").mkdir()
    for name, content in contents.items():
        (server.folder / name).write_bytes(content)
    download(server, folder, *(remote(name, content) for name, content in contents.items()))
    assert {f"sub/{name}" for name in names(folder / "sub")} == set(contents)
    for name, content in contents.items():
        assert (folder / name).read_bytes() == content
        assert not stat.S_IMODE((folder / name).stat().st_mode) & 0o222
    assert sorted(server.asked) == [(name, "") for name in sorted(contents)], "each is asked for once"


def test_several_files_arrive_at_once(server: FaultServer, folder: Path):
    """Four answers that take half a second each take less than two seconds together."""
    files = [remote(f"{n}.bin", bytes([n])) for n in range(4)]
    for n, file in enumerate(files):
        (server.folder / file.name).write_bytes(bytes([n]))
        server.faults[file.name] = ["stall"]
    start = time.monotonic()
    download(server, folder, *files, threads=4)
    assert time.monotonic() - start < 1.9


def test_a_file_that_is_there_is_not_asked_for(server: FaultServer, folder: Path):
    download(server, folder)
    download(server, folder)
    assert len(server.asked) == 1


@pytest.mark.parametrize("size", [-1, None], ids=["size known", "size unknown"])
def test_a_part_is_continued_and_only_the_rest_is_sent(server: FaultServer, folder: Path, size: int | None):
    leave_part(folder, CONTENT[:500_000])
    download(server, folder, remote(size=size))
    assert (folder / "a.bin").read_bytes() == CONTENT
    assert server.ranges("a.bin") == ["bytes=500000-"]
    assert server.sent == 200_000


@pytest.mark.parametrize("fault", ["half", "hang"])
def test_a_connection_that_dies_or_hangs_half_way_is_continued(server: FaultServer, folder: Path, fault: str):
    server.faults["a.bin"] = [fault, fault]
    download(server, folder)
    assert (folder / "a.bin").read_bytes() == CONTENT
    assert server.ranges("a.bin") == ["", "bytes=350000-", "bytes=525000-"]
    assert server.sent == len(CONTENT), "no byte was sent twice"


def test_a_broken_chunked_answer_is_continued(server: FaultServer, folder: Path):
    server.faults["a.bin"] = ["chunked"]
    download(server, folder)
    assert (folder / "a.bin").read_bytes() == CONTENT


def test_patience_counts_attempts_that_bring_nothing(server: FaultServer, folder: Path):
    """Ten broken connections that each bring something are no reason to give up after three attempts."""
    server.faults["a.bin"] = ["half"] * 10
    download(server, folder)
    assert (folder / "a.bin").read_bytes() == CONTENT
    assert len(server.asked) == 11


def test_a_server_that_ignores_ranges_sends_all_again(server: FaultServer, folder: Path):
    leave_part(folder, CONTENT[:500_000])
    server.faults["a.bin"] = ["whole"]
    download(server, folder)
    assert (folder / "a.bin").read_bytes() == CONTENT


def test_a_server_that_always_dies_and_ignores_ranges_is_given_up(server: FaultServer, folder: Path):
    """The same first half again and again is no progress."""
    server.faults["a.bin"] = ["dies"] * 20
    with pytest.raises(GroundsynthError, match=r"connection broke off; 3 attempts in a row brought nothing"):
        download(server, folder)
    assert len(server.asked) == 4


def test_what_came_before_giving_up_is_kept(server: FaultServer, folder: Path):
    server.faults["a.bin"] = ["half"] + ["500"] * 9
    with pytest.raises(GroundsynthError, match=r"\(350000 bytes are kept\)"):
        download(server, folder)
    server.faults["a.bin"] = []
    download(server, folder)
    assert (folder / "a.bin").read_bytes() == CONTENT
    assert server.sent == len(CONTENT) + len("no") * 3


@pytest.mark.parametrize("tag", ['"another"', None], ids=["tag differs", "no tag"])
def test_a_part_of_another_file_is_started_anew(server: FaultServer, folder: Path, tag: str | None):
    leave_part(folder, b"x" * 300_000, tag)
    download(server, folder)
    assert (folder / "a.bin").read_bytes() == CONTENT
    assert server.ranges("a.bin") == ["bytes=300000-", ""]


def test_a_part_longer_than_the_file_is_started_anew(server: FaultServer, folder: Path):
    leave_part(folder, CONTENT + b"more")
    download(server, folder, remote(size=None))
    assert (folder / "a.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("size", [-1, None], ids=["size known", "size unknown"])
def test_a_part_that_is_already_whole_is_taken(server: FaultServer, folder: Path, size: int | None):
    leave_part(folder, CONTENT)
    download(server, folder, remote(size=size))
    assert (folder / "a.bin").read_bytes() == CONTENT
    assert server.sent == 0


@pytest.mark.parametrize("fault", ["500", "503", "429", "stall"])
def test_a_passing_fault_is_waited_for(server: FaultServer, folder: Path, fault: str):
    server.faults["a.bin"] = [fault, fault]
    download(server, folder)
    assert (folder / "a.bin").read_bytes() == CONTENT
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("500", "the server answered 500"), ("429", "answered 429"), ("stall", "did not answer in time")],
)
def test_a_lasting_fault_is_one_sentence(server: FaultServer, folder: Path, fault: str, reason: str):
    server.faults["a.bin"] = [fault] * 9
    with pytest.raises(GroundsynthError, match=rf"a\.bin could not be downloaded \(.*{reason}") as caught:
        download(server, folder)
    assert f"place a.bin into {folder}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(server.asked) == 3
    assert not (folder / "a.bin").exists()


def test_a_server_that_asks_to_wait_is_not_asked_before(server: FaultServer, folder: Path, monkeypatch):
    """Retry-After is 0 here; the own pauses grow instead: 0.2, then 0.4 seconds."""
    server.faults["a.bin"] = ["429", "429"]
    start = time.monotonic()
    download(server, folder, patience=Patience(attempts=3, wait=0.2, longest=1))
    assert time.monotonic() - start >= 0.6


def test_nobody_there_is_one_sentence(folder: Path):
    with pytest.raises(GroundsynthError, match=r"\(no connection; 3 attempts in a row"):
        download_files([remote()], folder, mirror="http://127.0.0.1:9", patience=HASTY)


@pytest.mark.parametrize("status", ["404", "403", "410"])
def test_a_refusal_is_not_repeated(server: FaultServer, folder: Path, status: str):
    server.faults["a.bin"] = [status]
    with pytest.raises(GroundsynthError, match=rf"a\.bin answered {status} .*correct data\.mirror"):
        download(server, folder)
    assert len(server.asked) == 1
    assert names(folder) == []


@pytest.mark.parametrize("fault", ["redirect", "html"])
@pytest.mark.parametrize("size", [-1, None], ids=["size known", "size unknown"])
def test_a_web_page_is_never_data(server: FaultServer, folder: Path, fault: str, size: int | None):
    """Neither by its type after a redirect, nor where the server calls the page a file."""
    server.faults["a.bin"] = [fault]
    expected = "web page|offers 56 bytes" if fault == "html" else "web page instead of a file .*/login"
    with pytest.raises(GroundsynthError, match=expected):
        download(server, folder, remote(size=size))
    assert not (folder / "a.bin").exists()
    assert not (folder / "a.bin.part").exists() or not (folder / "a.bin.part").stat().st_size


def test_a_file_of_another_length_is_refused_before_it_is_downloaded(server: FaultServer, folder: Path):
    (server.folder / "a.bin").write_bytes(CONTENT[:-1])
    with pytest.raises(GroundsynthError, match="offers 699999 bytes, not 700000"):
        download(server, folder)
    assert not (folder / "a.bin.part").exists()


def test_a_changed_file_of_the_same_length_is_refused(server: FaultServer, folder: Path):
    (server.folder / "a.bin").write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(GroundsynthError, match=r"what arrived is wrong .*its sha256 is"):
        download(server, folder)
    assert names(folder) == [], "a wrong file is not resumed from"


def test_a_body_cut_short_under_a_matching_length_is_refused(server: FaultServer, folder: Path):
    server.faults["a.bin"] = ["short"]
    with pytest.raises(GroundsynthError, match=r"what arrived is wrong"):
        download(server, folder, remote(size=None))
    assert not (folder / "a.bin").exists()


def test_one_failure_stops_the_others_and_keeps_what_is_complete(server: FaultServer, folder: Path):
    files = [remote(f"{n}.bin", bytes([n])) for n in range(20)]
    for n, file in enumerate(files):
        (server.folder / file.name).write_bytes(bytes([n]))
    server.faults["3.bin"] = ["404"]
    with pytest.raises(GroundsynthError, match=r"3\.bin answered 404"):
        download(server, folder, *files, threads=1)
    assert {"0.bin", "1.bin", "2.bin"} <= set(names(folder))
    assert len(server.asked) <= 5, "at most the one under way is asked for besides"


@pytest.mark.parametrize("place", ["", "here"])
def test_a_file_placed_by_hand_is_taken_once_verified(server: FaultServer, folder: Path, place: str):
    target = folder.parent / place / "b.bin"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(CONTENT)
    download(server, folder, remote("deep/b.bin"), offline=True)
    assert (folder / "deep" / "b.bin").read_bytes() == CONTENT
    assert server.asked == []


def test_a_wrong_file_placed_by_hand_is_named(server: FaultServer, folder: Path):
    (folder.parent / "a.bin").write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(GroundsynthError, match=rf"{folder.parent}/a.bin: its sha256 is .*delete it"):
        download(server, folder)
    (folder.parent / "a.bin").write_bytes(CONTENT[:9])
    with pytest.raises(GroundsynthError, match="truncated at 9 of 700000 bytes"):
        download(server, folder)
    assert server.asked == []


def test_offline_asks_nobody_and_says_what_is_missing(server: FaultServer, folder: Path):
    with pytest.raises(
        GroundsynthError, match=r"1 of 1 files are missing \(a\.bin first\) and data\.offline"
    ):
        download(server, folder, offline=True)
    assert server.asked == []


def test_an_md5_is_checked_too(server: FaultServer, folder: Path):
    right, wrong = hashlib.md5(CONTENT).hexdigest(), "0" * 32
    with pytest.raises(GroundsynthError, match=f"its md5 is {right}, not {wrong}"):
        download(server, folder, RemoteFile(HOST + "a.bin", "a.bin", f"md5:{wrong}"))
    download(server, folder, RemoteFile(HOST + "a.bin", "a.bin", f"md5:{right}"))
    assert (folder / "a.bin").read_bytes() == CONTENT


def test_a_mirror_replaces_the_host_and_keeps_the_path():
    url = "https://files.example/records/7/train.zip"
    assert mirrored(url, None) == url
    assert mirrored(url, "http://mirror.example/base/") == "http://mirror.example/base/records/7/train.zip"


def test_an_address_that_is_none_is_one_sentence(folder: Path):
    with pytest.raises(GroundsynthError, match=r"cannot be asked for .*correct data\.mirror"):
        download_files([remote()], folder, mirror="mirror without scheme", patience=HASTY)


LIMITED = """
import resource, sys
from pathlib import Path
from groundsynth.data.download import download_files
from groundsynth.data.source_kinds import RemoteFile
from groundsynth.errors import GroundsynthError
if sys.argv[5] != "0":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[5]),) * 2)
try:
    download_files([RemoteFile(sys.argv[1] + "/a.bin", "a.bin", sys.argv[3], int(sys.argv[4]))], Path(sys.argv[2]))
except GroundsynthError as error:
    print(error)
"""


def test_no_room_on_the_disk_is_one_sentence_and_the_part_stays(server: FaultServer, folder: Path):
    """The system itself refuses to write beyond 300 kB; with room, the next run continues there."""

    def run(limit: int) -> str:
        words = [server.url, str(folder), remote().digest, str(len(CONTENT)), str(limit)]
        command = [sys.executable, "-c", LIMITED, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ).stdout

    told = run(300_000)
    assert "a.bin.part: could not be written (File too large); free some space" in told
    assert told.count("\n") == 1
    assert (folder / "a.bin.part").read_bytes() == CONTENT[:300_000]
    assert run(0) == ""
    assert (folder / "a.bin").read_bytes() == CONTENT
    assert server.ranges("a.bin") == ["", "bytes=300000-"]
