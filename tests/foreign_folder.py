"""A folder as a user might bring it: JPEG pictures, PNG masks in colours nobody here has heard of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

LEGEND = {
    "#1b7837": "tree cover",  # copse
    "#b8e186": "grassland",  # lea
    "#fee08b": "cropland",  # tilth
    "#d6604d": "built-up",  # town
    "#e0d3c2": "bare",  # shingle
    "#4393c3": "water",  # mere
}
LOOKS = np.array(
    [(42, 66, 38), (104, 138, 72), (168, 152, 88), (142, 128, 126), (206, 196, 176), (32, 58, 92)]
)
COLOURS = np.array([tuple(bytes.fromhex(key[1:])) for key in LEGEND], np.uint8)


def make_pair(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a picture and its coloured mask, (size, size, 3) uint8 each.

    Land lies in patches some tenth of the picture wide (the highest of six smooth random fields);
    each class has a colour and a grain of its own, so that a model can learn the one from the other.
    """
    generator = np.random.default_rng(seed)
    fields = generator.standard_normal((len(LEGEND), size, size))
    land = gaussian_filter(fields, (0, size / 12, size / 12), mode="wrap").argmax(0)  # (size, size)
    grain = gaussian_filter(generator.standard_normal((size, size, 3)), (0.7, 0.7, 0))
    grain /= grain.std()
    strength = np.array([10, 5, 8, 18, 6, 2])[land][..., None]
    picture = (LOOKS[land] + strength * grain).clip(0, 255).astype(np.uint8)
    return picture, COLOURS[land]


def make_foreign_folder(path: Path, n: int = 72, size: int = 128, seed: int = 0) -> Path:
    """Write ``n`` pairs as ``images/<name>.jpg`` and ``masks/<name>_mask.png``; return ``path``."""
    for kind in ("images", "masks"):
        (path / kind).mkdir(parents=True, exist_ok=True)
    for index in range(n):
        picture, mask = make_pair(size, 1000 * seed + index)
        Image.fromarray(picture).save(path / "images" / f"Plot {index:03d}.jpg", quality=92)
        Image.fromarray(mask).save(path / "masks" / f"Plot {index:03d}_mask.png")
    return path
