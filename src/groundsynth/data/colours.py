"""Maps drawn in colours, turned into the common legend."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL

Colour = tuple[int, int, int]


def decode_colours(picture: np.ndarray, legend: Mapping[Colour, int | None], where: str) -> np.ndarray:
    """Return the classes of a coloured map, (h, w) uint8; 255 for a colour that means no label.

    Args:
        picture: (h, w, 3) uint8.
        legend: colour -> class 0…6, or None for no label.
        where: the file, for the message.

    Raises:
        GroundsynthError: a colour that the legend does not list.
    """
    codes = _pack(picture)
    present, places = np.unique(codes, return_inverse=True)
    known = {int(_pack(np.array(colour))): ours for colour, ours in legend.items()}
    unknown = [code for code in present.tolist() if code not in known]
    if unknown:
        colour = (unknown[0] >> 16, unknown[0] >> 8 & 255, unknown[0] & 255)
        count = int((codes == unknown[0]).sum())
        raise GroundsynthError(
            f"{where}: colour {colour} ({count} pixels) is not in the legend; add it there, or undo what changed it "
            "(a lossy format, resampling)"
        )
    ours = [NO_LABEL if known[code] is None else known[code] for code in present.tolist()]
    return np.array(ours, np.uint8)[places.reshape(codes.shape)]


def _pack(colours: np.ndarray) -> np.ndarray:
    """Return (…, 3) colours as one number each."""
    return np.asarray(colours, np.int64) @ np.array([1 << 16, 1 << 8, 1])
