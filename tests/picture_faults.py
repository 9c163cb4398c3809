"""Faults planted in exported pictures: one pixel flipped with its mark left in, marks taken off, marks exchanged."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import rasterio
from PIL import Image
from rasterio.io import MemoryFile

from groundsynth.data.chip_files import read_pixels

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
        planar = picture.tag_v2.get(284, 1) == 2
        rows_per_strip = picture.tag_v2[278]
    assert not planar or pixels.ndim == 2
    changed, raw = bytearray(data), np.ascontiguousarray(pixels).tobytes()
    for number, offset in enumerate(offsets):
        part = raw[number * rows_per_strip * width : (number + 1) * rows_per_strip * width]
        changed[offset : offset + len(part)] = part
    return bytes(changed)


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    place, found = 8, []
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        found.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    return found


def png_file(chunks: list[tuple[bytes, bytes]]) -> bytes:
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
    assert data[:4] == b"II*\0"
    (directory,) = struct.unpack("<I", data[4:8])
    (count,) = struct.unpack("<H", data[directory : directory + 2])
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, _, length, offset = struct.unpack("<HHII", data[entry : entry + 12])
        if tag == C2PA_TAG:
            return entry, offset, length
    raise AssertionError("no manifest")


def open_tiff(data: bytes) -> tuple[object, rasterio.Affine, np.ndarray]:
    """Return CRS, transform and bands of a GeoTIFF."""
    with MemoryFile(data) as memory, memory.open() as source:
        return source.crs, source.transform, source.read()
