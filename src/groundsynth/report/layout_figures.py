"""The picture of maps of every kind, each with several images drawn for it."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from groundsynth.legend import NO_LABEL, colour_map
from groundsynth.report.style import legend_handles

IMAGES = 2  # of each map


def plot_layouts(gallery: dict[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Draw one row per kind of map: each map, and beside it two images drawn for it.

    Args:
        gallery: by kind, maps (n, h, w) and images (n, k, h, w, 3) of each, k at least 2.
    """
    maps = max(len(drawn) for drawn, _ in gallery.values())
    figure, axes = plt.subplots(
        len(gallery),
        maps * (1 + IMAGES),
        figsize=(0.82 * maps * (1 + IMAGES) + 1.2, 0.86 * len(gallery) + 0.5),
        squeeze=False,
    )
    for line, (kind, (drawn, images)) in zip(axes, gallery.items(), strict=True):
        for panel in line:
            panel.set_axis_off()
        cells = zip(drawn, images, strict=True)
        pictures = [picture for own, some in cells for picture in (colour_map(own), *some[:IMAGES])]
        for panel, picture in zip(line, pictures, strict=False):
            panel.imshow(picture, interpolation="nearest")
        line[0].text(-0.1, 0.5, kind, transform=line[0].transAxes, ha="right", va="center", fontsize=9)
    holes = any((drawn == NO_LABEL).any() for drawn, _ in gallery.values())
    figure.legend(
        handles=legend_handles(bool(holes)), loc="outside lower center", ncols=4, fontsize=8, handlelength=1
    )
    return figure
