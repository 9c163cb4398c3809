"""Faults planted in copies of exported pictures: what the check of marks must report, and whether it does.

One pixel is turned by its lowest bit and every mark left where it was; all marks are taken off, as a program does
that knows none; the manifest of another file is put in. Nothing is written: files are changed in memory.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from groundsynth.artifacts import read_table
from groundsynth.checks.marked_folder import GOOD, judge_file, rate_row
from groundsynth.data.chip_export import LIST
from groundsynth.data.chip_files import read_pixels
from groundsynth.errors import GroundsynthError

C2PA_CHUNK = b"caBX"
C2PA_TAG = 0xCD41  # of TIFF


def flip_pixel(data: bytes, name: str, place: tuple[int, int] = (3, 5)) -> bytes:
    """Return the file with one pixel's lowest bit turned, and every other byte that can stay as it was."""
    pixels = read_pixels(data).copy()
    pixels[place] = pixels[place] ^ 1
    return with_pixels(data, name, pixels)


def with_pixels(data: bytes, name: str, pixels: np.ndarray) -> bytes:
    """Return the file with other pixels and the marks it had."""
    if name.endswith(".png"):
        rows = pixels.reshape(len(pixels), -1)
        raw = b"".join(b"\0" + row.tobytes() for row in rows)
        chunks = [chunk for chunk in png_chunks(data) if chunk[0] != b"IDAT"]
        return png_file([*chunks[:-1], (b"IDAT", zlib.compress(raw)), chunks[-1]])
    with Image.open(io.BytesIO(data)) as picture:  # uncompressed strips of whole rows
        offsets, width = picture.tag_v2[273], pixels.reshape(len(pixels), -1).shape[1]
        rows_per_strip = picture.tag_v2[278]
    changed, raw = bytearray(data), np.ascontiguousarray(pixels).tobytes()
    for number, offset in enumerate(offsets):
        part = raw[number * rows_per_strip * width : (number + 1) * rows_per_strip * width]
        changed[offset : offset + len(part)] = part
    return bytes(changed)


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return kind and body of each chunk of a PNG."""
    place, found = 8, []
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        found.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    return found


def png_file(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """Return the PNG of these chunks."""
    out = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        out += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return out


def strip_marks(data: bytes, name: str) -> bytes:
    """Return the picture alone, as a program that ignores metadata would save it."""
    buffer = io.BytesIO()
    Image.fromarray(read_pixels(data)).save(buffer, "PNG" if name.endswith(".png") else "TIFF")
    return buffer.getvalue()


def swap_manifest(data: bytes, other: bytes, name: str) -> bytes:
    """Return ``data`` with the C2PA manifest of ``other``, a file of the same kind and size."""
    if name.endswith(".png"):
        theirs = next(body for kind, body in png_chunks(other) if kind == C2PA_CHUNK)
        return png_file([(k, theirs if k == C2PA_CHUNK else body) for k, body in png_chunks(data)])
    entry, _, _ = tiff_manifest(data)
    _, offset, length = tiff_manifest(other)
    changed = bytearray(data + other[offset : offset + length])  # the entry now points to its end
    changed[entry + 4 : entry + 12] = struct.pack("<II", length, len(data))
    return bytes(changed)


def tiff_manifest(data: bytes) -> tuple[int, int, int]:
    """Return where the manifest's entry is in a little-endian TIFF, and the manifest's offset and length."""
    (directory,) = struct.unpack("<I", data[4:8])
    (count,) = struct.unpack("<H", data[directory : directory + 2])
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, _, length, offset = struct.unpack("<HHII", data[entry : entry + 12])
        if tag == C2PA_TAG:
            return entry, offset, length
    raise GroundsynthError("a TIFF without a C2PA manifest has none to swap; export with a certificate")


FAULTS = {
    "one_pixel": lambda data, name, other: flip_pixel(data, name),
    "stripped": lambda data, name, other: strip_marks(data, name),
    "swapped_manifest": lambda data, name, other: swap_manifest(data, other, name),
}


def plant_faults(
    folder: Path, anchors: str | None = None, progress: Callable[[Iterable], Iterable] = iter
) -> pd.DataFrame:
    """Return the verdict on every single picture of an export after each fault it can have.

    A real picture has no mark to take off or to exchange, and a manifest can only be swapped where there is one.
    The other file is of the same format and role.

    Returns:
        columns path, synthetic (bool), fault, verdict, found (bool).
    """
    listed = read_table(Path(folder) / LIST, "exported_files")
    listed = listed[(listed["role"] != "file") & ~listed["path"].str.contains(".tar/", regex=False)]
    rows = []
    for _, part in progress(list(listed.groupby([listed["path"].str[-4:], "role", "synthetic"], sort=False))):
        records = part.to_dict("records")
        for record, neighbour in zip(records, [*records[1:], records[0]], strict=True):
            name, other = record["path"], (Path(folder) / neighbour["path"]).read_bytes()
            data = (Path(folder) / name).read_bytes()
            for fault, change in FAULTS.items():
                if not _possible(fault, record, len(records)):
                    continue
                verdict = judge_file(name, change(data, name, other), record, anchors)["verdict"]
                about = {"path": name, "synthetic": record["synthetic"], "fault": fault, "verdict": verdict}
                rows.append(about | {"found": verdict not in GOOD})
    return pd.DataFrame(rows, columns=["path", "synthetic", "fault", "verdict", "found"])


def _possible(fault: str, record: dict, alike: int) -> bool:
    if fault == "swapped_manifest":
        return record["signed"] and alike > 1
    return fault == "one_pixel" or record["synthetic"]


def fault_rows(study: str, planted: pd.DataFrame, export: str) -> list[dict]:
    """Return the share of each planted fault that was reported (``mark_detection_rate``, arm = the fault).

    Args:
        export: which one it was, e.g. ``signed``; it ends the regime.
    """
    return [
        rate_row(
            study, "synthetic" if synthetic else "real", str(fault), f"reader=check-marks;export={export}",
            int(part["found"].sum()), len(part),
        )
        for (synthetic, fault), part in planted.groupby(["synthetic", "fault"], sort=False)
    ]  # fmt: skip
