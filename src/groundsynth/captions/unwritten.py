"""What stands where a writer could write no caption, and the pictures writers are given."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from groundsynth.errors import GroundsynthError


class Unwritten(str):
    """One sentence that says why a caption is missing."""

    __slots__ = ()


def read_picture(picture: np.ndarray | bytes) -> np.ndarray:
    """Return a picture as (h, w, 3) uint8: as it is, or decoded from PNG, JPEG or the like.

    Raises:
        GroundsynthError: bytes that are no picture, or an array of another shape or type.
    """
    if isinstance(picture, bytes | bytearray):
        try:
            with Image.open(io.BytesIO(picture)) as opened:
                return np.asarray(opened.convert("RGB"))
        except (
            UnidentifiedImageError,
            OSError,
            ValueError,
            SyntaxError,
            Image.DecompressionBombError,
        ) as error:
            reason = str(error).split(" <")[0].splitlines()[0]
            raise GroundsynthError(f"its image cannot be read ({reason}); make the chip again") from None
    array = np.asarray(picture)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or not array.size:
        raise GroundsynthError(
            f"its image is {array.dtype} of shape {array.shape}, not uint8 of (h, w, 3); make the chip again"
        )
    return array
