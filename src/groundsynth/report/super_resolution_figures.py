"""Figures of super-resolution: coarse pairs, enlarged and doubled, and the real ones where there are any."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from groundsynth.legend import NO_LABEL, colour_map
from groundsynth.models.super_resolution import double_images
from groundsynth.report.style import legend_handles


def plot_doubling(
    images: np.ndarray,
    maps: np.ndarray,
    fine: np.ndarray,
    fine_maps: np.ndarray,
    real: tuple[np.ndarray, np.ndarray] | None = None,
) -> Figure:
    """Draw one column per pair: images (coarse, bicubic, doubled, real), then maps in the same order.

    Args:
        images: (n, h, w, 3) uint8 coarse; maps: (n, h, w) uint8; fine, fine_maps: of twice the side.
        real: the fine pairs they came from, where there are any.
    """
    pictures = {"coarse": images, "bicubic": double_images(images), "doubled": fine}
    labels = {"coarse map": maps, "doubled map": fine_maps}
    if real is not None:
        pictures["real"], labels["real map"] = real
    rows = {**pictures, **{name: colour_map(part) for name, part in labels.items()}}
    figure, axes = plt.subplots(
        len(rows), len(images), figsize=(1.6 * len(images) + 1, 1.6 * len(rows) + 0.5), squeeze=False
    )
    for line, (title, row) in zip(axes, rows.items(), strict=True):
        for panel, picture in zip(line, row, strict=True):
            panel.imshow(picture, interpolation="nearest")
            panel.set(xticks=[], yticks=[])
        line[0].set_ylabel(title.replace(" ", "\n"), rotation=0, ha="right", va="center", fontsize=9)
    figure.legend(
        handles=legend_handles(bool((fine_maps == NO_LABEL).any())), loc="outside lower center", ncols=4,
        fontsize=8, handlelength=1,
    )  # fmt: skip
    return figure
