"""The eight turns of a chip: four right-angle turns, each as it is and mirrored."""

from __future__ import annotations

import numpy as np

TURNS = 8


def turn(chip: np.ndarray, code: int) -> np.ndarray:
    """Turn a map or image (h, w, …) by ``code % 4`` right angles, then mirror it left to right if ``code ≥ 4``."""
    turned = np.rot90(chip, code % 4)
    return np.ascontiguousarray(turned[:, ::-1] if code >= 4 else turned)
