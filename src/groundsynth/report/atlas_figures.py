"""Where the scenes, blocks and chips of a study lie: the map of many scenes, or the figure of one."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from groundsynth.data.atlas import Atlas
from groundsynth.data.store import Raster
from groundsynth.legend import NO_LABEL, colour_map
from groundsynth.report import scene_figures
from groundsynth.report.scene_figures import LEGEND, SPLIT_COLOURS, brighten, split_handles, tint_splits
from groundsynth.report.style import legend_handles

PIXELS = 1400  # of a panel's longer side; larger grounds are thinned out
MANY_GROUNDS = 3  # with more, the whole atlas is one row


def place_figure(
    atlas: Atlas,
    images: Sequence[np.ndarray],
    split: Raster,
    blocks: pd.DataFrame,
    chips: pd.DataFrame,
    size: int,
) -> Figure:
    """Draw image, map and split: of one scene by itself, of many scenes as they lie on the ground.

    Args:
        images: (h, w, 3) uint8 per scene, stretched; shown brightened.
        split: raster of the atlas.
        blocks, chips: tables of the fold.
        size: side of a chip in pixels.
    """
    if len(atlas.scenes) == 1:
        return scene_figures.scene_figure(images[0], atlas.scenes[0].labels, split[:, :], blocks)
    parts = _parts(atlas)
    heights = [min(6.2, max(1.6, 5.2 * height / width)) for _, _, height, width, _ in parts]
    figure, axes = plt.subplots(
        len(parts), 3, figsize=(16, sum(heights) + 1), squeeze=False, height_ratios=heights
    )
    picture, labels, covered, step = _mosaic(atlas, images)
    layers = (
        np.where(covered[..., None], brighten(picture), 255),
        np.where((labels != NO_LABEL)[..., None], colour_map(labels), 255),
        tint_splits(brighten(picture), covered, split[::step, ::step]),
    )
    for part, row in zip(parts, axes, strict=True):
        for panel, layer in zip(row, layers, strict=True):
            _draw(panel, layer, step, part)
        _draw_places(row[2], atlas, atlas.places(chips) + size / 2, chips["split"], part)
    for panel, title in zip(
        axes[0], ("The scenes", "Their land-cover maps", "Splits and chips"), strict=True
    ):
        panel.set_title(title)
    axes[-1][1].legend(handles=legend_handles(), **{**_legend(parts), "ncols": 4})
    axes[-1][2].legend(
        handles=[*split_handles(blocks, "in no split"), *_marks()], **{**_legend(parts), "ncols": 4}
    )
    return figure


def _parts(atlas: Atlas) -> list[tuple[int, int, int, int, float]]:
    """Return row, col, height, width and kilometres per pixel of what is drawn; NaN for the whole atlas."""
    grounds = atlas.grounds
    if len(grounds) > MANY_GROUNDS:
        return [(0, 0, *atlas.shape, np.nan)]
    return [(g.row, g.col, g.height, g.width, g.metres_y / 1000) for g in grounds.itertuples()]


def _legend(parts: list) -> dict:
    """Return where legends go: below the axis labels where there are any."""
    below = 0 if np.isnan(parts[-1][-1]) else -0.12
    return {**LEGEND, "bbox_to_anchor": (0.5, below)}


def _mosaic(atlas: Atlas, images: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Return picture, map, where there is an image, and the step they are thinned by; first scenes on top."""
    step = -(-max(atlas.shape) // PIXELS)
    shape = tuple(-(-side // step) for side in atlas.shape)
    picture, covered = np.full((*shape, 3), 255, np.uint8), np.zeros(shape, bool)
    for number in reversed(range(len(images))):
        scene = atlas.scenes[number]
        first = -atlas.corners[number] % step
        thin = np.s_[first[0] :: step, first[1] :: step]
        row, col = -(-atlas.corners[number] // step)
        valid = scene.valid[thin]
        window = np.s_[row : row + valid.shape[0], col : col + valid.shape[1]]
        picture[window][valid] = images[number][thin][valid]
        covered[window] |= valid
    return picture, atlas.labels[::step, ::step], covered, step


def _draw(axes: Axes, layer: np.ndarray, step: int, part: tuple) -> None:
    row, col, height, width, km = part
    scale = 1 if np.isnan(km) else km
    shown = layer[row // step : (row + height) // step, col // step : (col + width) // step]
    axes.imshow(shown, interpolation="nearest", extent=(0, width * scale, height * scale, 0))
    axes.grid(False)
    if np.isnan(km):
        axes.set_axis_off()
    else:
        axes.set(xlabel="km east", ylabel="km south")


def _draw_places(axes: Axes, atlas: Atlas, middles: np.ndarray, splits: pd.Series, part: tuple) -> None:
    row, col, height, width, km = part
    scale = 1 if np.isnan(km) else km
    for scene, (top, left) in zip(atlas.scenes, atlas.corners, strict=True):
        corner = ((left - col) * scale, (top - row) * scale)
        sides = (scene.shape[1] * scale, scene.shape[0] * scale)
        axes.add_patch(Rectangle(corner, *sides, fill=False, edgecolor="#333333", lw=0.4))
    centres = middles - (row, col)
    here = ((centres >= 0) & (centres < (height, width))).all(1)
    colours = splits.map(SPLIT_COLOURS)[here]
    axes.scatter(*(centres[here] * scale).T[::-1], c=list(colours), s=1.6, edgecolor="#222222", lw=0.15)
    axes.set(xlim=(0, width * scale), ylim=(height * scale, 0))


def _marks() -> list[Line2D]:
    return [
        Line2D([], [], marker="o", ls="", ms=3, mfc="none", mec="#222222", label="middle of a chip"),
        Line2D([], [], color="#333333", lw=0.6, label="edge of a scene"),
    ]


def place_caption(atlas: Atlas, blocks: pd.DataFrame, chips: pd.DataFrame, buffer: int, fold: int) -> str:
    """Return the caption of :func:`place_figure`."""
    if len(atlas.scenes) == 1:
        return scene_figures.scene_caption(atlas.scenes[0], blocks, buffer, fold)
    divided = blocks[blocks["split"] != "region"]
    metres = divided["ground"].map(atlas.grounds.set_index("ground")["metres_y"])
    side = (divided["height"] * metres).median() / 1000
    size = "" if np.isnan(side) else f" of about {side:.1f} km"
    lie = (
        "Each piece of ground is drawn as it lies."
        if len(atlas.grounds) <= MANY_GROUNDS
        else "The pieces are laid side by side, not as they lie."
    )
    return (
        f"{len(atlas.scenes)} scenes, pieces of ground that lie apart: {len(atlas.grounds)}. Images (brightened "
        f"for display; where several show one place, the first is on top), maps in the common legend, and the split "
        f"of fold {fold} into {len(divided)} blocks{size}, with the middle of each of the {len(chips)} chips. {lie} "
        f"Pale: the buffer of {buffer} pixels, and ground in no block for want of labels."
    )
