"""Is every file of an export still what its list and its own marks say? One verdict per file.

Three witnesses are heard: the marks inside the file (IPTC source type, C2PA manifest), the list with its hashes,
and, where the list was signed, its signature. Neither is enough alone: a mark that was taken off leaves a file
that says nothing, and a list can be rewritten by whoever can rewrite the files.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pandas as pd

from groundsynth.artifacts import metric_row, read_table
from groundsynth.checks.resampling import wilson_interval
from groundsynth.data.chip_export import LIST, SIGNATURE, SIGNER
from groundsynth.data.chip_files import read_pixels
from groundsynth.data.marks import (
    MIME,
    SYNTHETIC,
    Manifest,
    content_hash,
    pixel_hash,
    read_manifest,
    source_type,
    text_is_signed,
)
from groundsynth.errors import GroundsynthError

STAGE = "06_ground"
SIGNED, UNSIGNED, REAL = "intact, signed", "intact, unsigned", "intact, not synthetic"
GOOD = (SIGNED, UNSIGNED, REAL)
TAMPERED, STRIPPED, SWAPPED = "tampered", "mark stripped", "manifest of another file"
REPLACED, REPLACED_SIGNER = "another file in its place", "signed by somebody else"
FALSE_MARK, MISSING, UNLISTED = "real, but marked synthetic", "missing", "not in the list"


def check_folder(
    folder: Path, anchors: str | None = None, progress: Callable[[Iterable], Iterable] = iter
) -> pd.DataFrame:
    """Return one row per file of an export, members of its shards too.

    Args:
        folder: written by ``export-chips``.
        anchors: PEM certificates that are trusted. With them, a synthetic file that is unsigned or signed under
            another authority is not intact, and neither is the list.

    Returns:
        columns path, role, synthetic (bool), c2pa (state or empty), iptc (bool), verdict.

    Raises:
        GroundsynthError: a folder without its list.
    """
    folder = Path(folder)
    if not (folder / LIST).is_file():
        raise GroundsynthError(
            f"{folder / LIST}: missing; without the list nobody can say which marks were taken off: export again"
        )
    listed = read_table(folder / LIST, "exported_files")
    expected = {row["path"]: row for row in listed.to_dict("records")}
    rows = [_judge_list(folder, bool(listed["signed"].any()), anchors)]
    seen = {LIST, SIGNATURE, SIGNER}
    for name, data in progress(_every_file(folder)):
        if name not in seen:
            seen.add(name)
            rows.append(judge_file(name, data, expected.get(name), anchors))
    rows += [_row(name, row, "", False, MISSING) for name, row in expected.items() if name not in seen]
    return pd.DataFrame(rows)


def _every_file(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield path and bytes of every file, and of every picture inside a shard."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name, data = path.relative_to(folder).as_posix(), path.read_bytes()
        yield name, data
        if path.suffix == ".tar":
            yield from _members(name, data)


def _members(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as shard:
            for member in shard:
                if Path(member.name).suffix in MIME:
                    yield f"{name}/{member.name}", shard.extractfile(member).read()
    except tarfile.TarError:
        return  # its members count as missing


def _row(name: str, expected: dict | None, c2pa: str, iptc: bool, verdict: str) -> dict:
    expected = expected or {"role": "file", "synthetic": False}
    return {"path": name, "role": expected["role"], "synthetic": expected["synthetic"], "c2pa": c2pa,
            "iptc": iptc, "verdict": verdict}  # fmt: skip


def _judge_list(folder: Path, signed: bool, anchors: str | None) -> dict:
    """Judge the list itself: it is signed where its files are."""
    there = (folder / SIGNATURE).is_file() and (folder / SIGNER).is_file()
    if not there:
        verdict = STRIPPED if signed or anchors else UNSIGNED
    else:
        text = (folder / LIST).read_bytes(), (folder / SIGNATURE).read_text(), (folder / SIGNER).read_bytes()
        verdict = SIGNED if text_is_signed(*text) else TAMPERED
        if verdict == SIGNED and anchors and not text_is_signed(*text, anchors):
            verdict = REPLACED_SIGNER
    return _row(LIST, None, "", False, verdict)


def judge_file(name: str, data: bytes, expected: dict | None, anchors: str | None = None) -> dict:
    """Return the row of one file of an export: its marks and its verdict.

    Args:
        expected: its row in the list of files, or None if it is not there.
    """
    mime = MIME.get(Path(name).suffix)
    manifest = read_manifest(data, mime, anchors) if mime else None
    iptc = source_type(data) == SYNTHETIC if mime else False
    state = manifest.state if manifest else ""
    if expected is None:
        return _row(name, None, state, iptc, UNLISTED)
    if expected["synthetic"]:
        verdict = _of_synthetic(data, expected, manifest, iptc, bool(anchors))
    elif iptc or manifest is not None:
        verdict = FALSE_MARK
    else:
        verdict = REAL if content_hash(data) == expected["sha256"] else TAMPERED
    return _row(name, expected, state, iptc, verdict)


def _of_synthetic(data: bytes, expected: dict, manifest: Manifest | None, iptc: bool, trust: bool) -> str:
    same = content_hash(data) == expected["sha256"]
    if not expected["signed"]:
        if trust or not iptc:
            return STRIPPED
        return UNSIGNED if same and manifest is None else TAMPERED
    if manifest is None:
        return STRIPPED
    named = manifest.sample.get("chip_id"), manifest.sample.get("role")
    other = named != (expected["chip_id"], expected["role"])
    if manifest.state == "Invalid":
        return SWAPPED if other and manifest.sample else TAMPERED
    if other:
        return REPLACED
    if trust and manifest.state != "Trusted":
        return REPLACED_SIGNER
    if not iptc:
        return STRIPPED
    pixels = read_pixels(data)
    right = same and pixels is not None and pixel_hash(pixels) == manifest.sample.get("pixels")
    return SIGNED if right else TAMPERED


def mark_rows(study: str, checked: pd.DataFrame, export: str = "") -> list[dict]:
    """Return how many synthetic files carry each mark, and how many real ones do (``mark_detection_rate``).

    Args:
        export: which one it was, e.g. ``signed``; it ends the regime.
    """
    ending = f";export={export}" if export else ""
    pictures = checked[checked["role"] != "file"]
    rows = []
    for system, part in (
        ("synthetic", pictures[pictures["synthetic"]]),
        ("real", pictures[~pictures["synthetic"]]),
    ):
        for reader, found in (("c2pa", part["c2pa"] != ""), ("iptc", part["iptc"])):
            if len(part):
                rows.append(
                    rate_row(study, system, "", f"reader={reader}{ending}", int(found.sum()), len(part))
                )
    return rows


def rate_row(study: str, system: str, arm: str, regime: str, hits: int, n: int) -> dict:
    """Return a ``mark_detection_rate`` with Wilson's 95 % interval."""
    low, high = wilson_interval(hits, n)
    about = {"system": system, "arm": arm, "regime": regime, "low": low, "high": high, "n": n}
    return metric_row(study, STAGE, "mark_detection_rate", hits / n, **about)
