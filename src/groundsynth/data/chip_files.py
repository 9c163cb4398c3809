"""A chip as files that other programs open: PNG, and GeoTIFF that knows where it lies."""

from __future__ import annotations

import io
import warnings
import zlib

import numpy as np
import rasterio
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from rasterio.io import MemoryFile

from groundsynth.legend import COLOURS, NO_LABEL


def png_bytes(pixels: np.ndarray, xmp: str = "") -> bytes:
    """Return (h, w) or (h, w, 3) uint8 as PNG, with an XMP packet if one is given."""
    note = PngInfo()
    if xmp:
        note.add_itxt("XML:com.adobe.xmp", xmp)
    buffer = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(pixels, np.uint8))
    picture.save(buffer, "PNG", pnginfo=note, compress_level=1, compress_type=zlib.Z_RLE)
    return buffer.getvalue()


def tiff_bytes(
    pixels: np.ndarray, crs: str = "", transform: tuple[float, ...] | None = None, xmp: str = ""
) -> bytes:
    """Return (h, w) class codes or (h, w, 3) uint8 as GeoTIFF.

    Args:
        crs: such as ``EPSG:32119``; empty where the chip lies nowhere.
        transform: six numbers a…f of the affine transform, pixel to ground.
        xmp: an XMP packet, or empty. Maps carry the legend's colours and 255 as nodata.
    """
    bands = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    profile = dict(
        driver="GTiff", width=bands.shape[2], height=bands.shape[1], count=len(bands), dtype="uint8"
    )
    if transform is not None:
        profile |= {"crs": crs or None, "transform": rasterio.Affine(*transform)}
    profile |= {"photometric": "RGB"} if len(bands) == 3 else {"nodata": NO_LABEL}
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with memory.open(**profile) as target:
            target.write(np.ascontiguousarray(bands, np.uint8))
            if len(bands) == 1:
                target.write_colormap(1, {code: (*colour, 255) for code, colour in enumerate(COLOURS)})
            if xmp:  # rasterio joins name and value by "=": the packet is cut at its first one
                name, _, value = xmp.partition("=")
                target.update_tags(ns="xml:XMP", **{name: value})
        return memory.read()


def read_pixels(data: bytes) -> np.ndarray | None:
    """Return the pixels of PNG or TIFF bytes, (h, w) or (h, w, 3) uint8; None if they cannot be read.

    A map's colours are looked past: its codes are returned.
    """
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as picture:
            warnings.simplefilter("ignore")
            return np.asarray(picture)
    except Exception:  # whatever the damage, there are no pixels
        return None
