"""Figures of stage 01: one scene with its map and split, and what each split holds."""

from __future__ import annotations

import matplotlib.patheffects as effects
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from groundsynth.data.blocks import ENOUGH_PIXELS, NO_SPLIT, SPLITS
from groundsynth.data.grids import pixel_metres
from groundsynth.data.scene import Scene
from groundsynth.data.sources import get_source
from groundsynth.legend import CLASSES, NO_LABEL, colour_map
from groundsynth.report.style import legend_handles, pair_grid
from groundsynth.seeds import rng

# Okabe and Ito's palette: told apart with any kind of colour vision
SPLIT_COLOURS = {
    "train": "#56b4e9",
    "val": "#e69f00",
    "test": "#d55e00",
    "hidden": "#cc79a7",
    "region": "#009e73",
}
DISPLAY_GAMMA = 1.8
LEGEND = dict(
    loc="upper center", bbox_to_anchor=(0.5, 0), ncols=6, fontsize=9.5, handlelength=1, columnspacing=1.2
)


def brighten(image: np.ndarray, gamma: float = DISPLAY_GAMMA) -> np.ndarray:
    """Return ``image`` (…, 3) uint8 with brighter shadows, for looking at only; 0 and 255 stay."""
    return np.rint(255 * (image / 255) ** (1 / gamma)).astype(np.uint8)


def scene_figure(image: np.ndarray, labels: np.ndarray, split: np.ndarray, blocks: pd.DataFrame) -> Figure:
    """Draw the scene, its map, and the blocks with their groups and splits, side by side.

    Args:
        image: (h, w, 3) uint8, stretched; shown brightened.
        labels: (h, w) uint8 map.
        split: (h, w) uint8 raster of splits.
        blocks: table ``blocks``.
    """
    figure, axes = plt.subplots(1, 3, figsize=(16, 6.2))
    covered = labels != NO_LABEL
    axes[0].imshow(np.where(covered[..., None], brighten(image), 255), interpolation="nearest")
    axes[0].set_title("The scene")
    axes[1].imshow(np.where(covered[..., None], colour_map(labels), 255), interpolation="nearest")
    axes[1].set_title("Its land-cover map")
    axes[1].legend(
        handles=legend_handles(), loc="upper center", bbox_to_anchor=(0.5, 0), ncols=4, fontsize=9.5,
        handlelength=1, columnspacing=1.2,
    )  # fmt: skip
    axes[2].imshow(tint_splits(brighten(image), covered, split), interpolation="nearest")
    _draw_blocks(axes[2], blocks)
    axes[2].legend(handles=split_handles(blocks), **LEGEND)
    axes[2].set_title("Blocks, groups and splits")
    for panel in axes:
        panel.set_axis_off()
        _frame(panel, blocks)
    return figure


def _frame(axes: Axes, blocks: pd.DataFrame, margin: int = 10) -> None:
    bottom, right = (blocks["row"] + blocks["height"]).max(), (blocks["col"] + blocks["width"]).max()
    axes.set_xlim(blocks["col"].min() - margin, right + margin)
    axes.set_ylim(bottom + margin, blocks["row"].min() - margin)


def tint_splits(image: np.ndarray, covered: np.ndarray, split: np.ndarray) -> np.ndarray:
    """Return a grey picture with each split in its colour, (h, w, 3) float in 0…1; white where not covered."""
    grey = np.repeat(image.mean(-1, keepdims=True) / 255, 3, -1)  # (h, w, 3)
    tint = np.ones_like(grey)
    for code, name in enumerate(SPLITS):
        tint[split == code] = to_rgb(SPLIT_COLOURS[name])
    mixed = np.where((split == NO_SPLIT)[..., None], 0.8 + 0.2 * grey, 0.4 * grey + 0.6 * tint)
    mixed[~covered] = 1
    return mixed


def _draw_blocks(axes: Axes, blocks: pd.DataFrame) -> None:
    for block in blocks.itertuples():
        corner = (block.col - 0.5, block.row - 0.5)
        axes.add_patch(Rectangle(corner, block.width, block.height, fill=False, edgecolor="white", lw=0.8))
        text = axes.text(
            block.col + block.width / 2, block.row + block.height / 2, block.group, ha="center", va="center",
            color="white", fontsize=12, weight="bold",
        )  # fmt: skip
        text.set_path_effects([effects.withStroke(linewidth=2.2, foreground="#222222")])


def split_handles(blocks: pd.DataFrame, rest: str = "buffer") -> list[Patch]:
    """Return one legend patch per split there is, and one for the ground of none, called ``rest``."""
    present = [name for name in SPLITS if (blocks["split"] == name).any()]
    handles = [Patch(facecolor=SPLIT_COLOURS[name], label=name) for name in present]
    return [*handles, Patch(facecolor="#eeeeee", edgecolor="#999999", label=rest)]


def coverage_figure(coverage: pd.DataFrame, primary: list[int]) -> Figure:
    """Draw labelled pixels per split and class as a heat map; classes of the primary score in bold.

    Args:
        coverage: pixels, splits as rows and the seven classes as columns.
        primary: class codes of the primary score.
    """
    figure, axes = plt.subplots(figsize=(10, 0.4 + 0.75 * len(coverage)))
    top = max(1e5, coverage.to_numpy().max())
    shares = coverage.div(coverage.sum(axis=1).clip(lower=1), axis=0)
    text = [
        [f"{count:,}\n{share:.1%}" if count else "" for count, share in zip(*pair, strict=True)]
        for pair in zip(coverage.to_numpy(), shares.to_numpy(), strict=True)
    ]
    sns.heatmap(
        coverage.where(coverage > 0), annot=np.array(text), fmt="", norm=LogNorm(ENOUGH_PIXELS / 4, top),
        cmap="crest", linewidths=2, annot_kws={"fontsize": 9.5}, cbar_kws={"label": "labelled pixels"}, ax=axes,
    )  # fmt: skip
    _mark_absent(axes, coverage)
    axes.set(xlabel="", ylabel="")
    axes.grid(False)
    axes.tick_params(axis="y", rotation=0)
    for code, label in enumerate(axes.get_xticklabels()):
        label.set_weight("bold" if code in primary else "normal")
    return figure


def _mark_absent(axes: Axes, coverage: pd.DataFrame) -> None:
    for row, col in np.argwhere(coverage.to_numpy() == 0):
        patch = Rectangle(
            (col + 0.02, row + 0.02), 0.96, 0.96, fill=False, hatch="///", edgecolor="#b0b0b0", lw=0
        )
        axes.add_patch(patch)
        label = axes.text(
            col + 0.5, row + 0.5, "none", ha="center", va="center", fontsize=9.5, color="#8b1a1a"
        )
        label.set_path_effects([effects.withStroke(linewidth=3, foreground="white")])


def pick_chips(chips: pd.DataFrame, count: int = 16) -> pd.DataFrame:
    """Return training chips drawn at random with a fixed seed."""
    train = chips[chips["split"] == "train"]
    picked = rng("chips_figure").choice(len(train), min(count, len(train)), replace=False)
    return train.iloc[np.sort(picked)]


def chips_figure(shown: pd.DataFrame) -> Figure:
    """Draw the chips of :func:`pick_chips`, with ``image`` and ``mask``, above their maps (brightened)."""
    return pair_grid(brighten(np.stack(shown["image"])), np.stack(shown["mask"]))


def scene_caption(scene: Scene, blocks: pd.DataFrame, buffer: int, fold: int) -> str:
    """Return the caption of :func:`scene_figure`, in numbers of the scene and its blocks."""
    metres, unit = (pixel_metres(scene) or (1.0, 1.0))[0], "m" if scene.crs else "px"
    sides = (blocks["height"].mean() * metres, blocks["width"].mean() * metres)
    height, width = (f"{side / 1000:.1f} km" if scene.crs else f"{side:.0f} px" for side in sides)
    place = f"{scene.crs.to_string()}, {metres:g} m pixels" if scene.crs else "Its place is not known"
    return (
        f"{get_source(scene.source).title}: the image in natural colour (brightened for display), its map in the "
        f"common legend, and the {len(blocks)} blocks of {height} × {width} with the number of their "
        f"group, in fold {fold}. Pale strips are the buffer of {buffer} pixels ({buffer * metres:.0f} {unit}) that "
        f"training and hidden ground give up. {place}; "
        f"{(~scene.valid).mean():.0%} of the raster lies outside the image and has no label."
    )


def coverage_caption(coverage: pd.DataFrame, ground: pd.DataFrame, primary: list[int]) -> str:
    """Return the caption of :func:`coverage_figure`.

    Args:
        coverage: labelled pixels in chips, per split and class.
        ground: labelled pixels of the split, in chips or not.
    """
    reached = coverage.sum(axis=1) / ground.sum(axis=1).clip(lower=1)
    return (
        f"Labelled pixels that lie in a chip (n = {int(coverage.to_numpy().sum()):,}, each counted once) per split "
        f"and class, and their share of the split. Chips reach {reached['train']:.0%} of the training ground; the "
        f"rest lies in places too narrow for one or between steps. Bold: the {len(primary)} classes of the primary "
        "score. Hatched: no pixel. Counts of one split, so without intervals."
    )


def chips_caption(chips: pd.DataFrame, shown: pd.DataFrame, scene: str) -> str:
    """Return the caption of :func:`chips_figure`."""
    train = int((chips["split"] == "train").sum())
    side = shown["image"].iloc[0].shape[0]
    return (
        f"{len(shown)} of the {train} training chips of {scene} ({side} × {side} pixels), drawn at random "
        "with a fixed seed and brightened for display; below each its map."
    )


def absent_sentences(absent: dict[str, list[int]]) -> list[str]:
    """Return one plain sentence per class that some split lacks, from ``absent`` of ``data.json``."""
    lacking = {k: [split for split, missing in absent.items() if k in missing] for k in range(len(CLASSES))}
    lines = [
        f"**{CLASSES[k]}** is missing from {_listed(splits)}: no number about it can come from there."
        for k, splits in lacking.items()
        if splits
    ]
    return lines or ["Every split has at least one pixel of every class."]


def absent_advice(absent: dict[str, list[int]], advice: str) -> str:
    """Return :func:`absent_sentences` as a Markdown list, with the block size that would help, if any."""
    lines = absent_sentences(absent) + ([f"{advice[0].upper()}{advice[1:]}."] if advice else [])
    return "\n".join(f"- {line}" for line in lines)


def summary(data: dict, blocks: pd.DataFrame, chips: pd.DataFrame) -> str:
    """Return what stage 01 found, in Markdown, from its artefacts."""
    counts = chips["split"].value_counts()
    divided, tested = blocks[blocks["split"] != "region"], blocks[blocks["split"] == "test"]
    scenes, used = data["scenes"], sum(scene["used"] for scene in data["scenes"])
    lines = [
        f"{len(chips)} chips: {_listed([f'{counts[name]} {name}' for name in counts.index])}. They lie in "
        f"{len(divided)} blocks of ground, {len(tested)} of them for testing: that is the sample size to remember.",
        f"{used} of {len(scenes)} scenes are in use; pieces of ground that lie apart: {blocks['ground'].nunique()}."
        if len(scenes) > 1
        else "",
        f"The primary score averages {_listed([CLASSES[k] for k in data['primary_classes']])}.",
        *absent_sentences(data["absent"]),
        *data["notes"],
        *(f"Data: {part['citation']}; {part['licence']}." for part in data["sources"]),
    ]
    return "\n".join(f"- {line}" for line in lines if line)


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
