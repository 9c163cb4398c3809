"""How figures look, and the one way to save and show them with their captions.

Every figure is a PNG with a text file of the same stem that holds its caption, so that a notebook,
the report and a published study show the same words.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image as Picture

from groundsynth.artifacts import atomic_path
from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES, COLOURS, colour_map

DPI = 150
SCREEN_DPI = 96
HIDES = 30  # times the median: a value so large leaves nothing to see of the others on an even scale

CLASS_COLOURS = [to_hex([part / 255 for part in colour]) for colour in COLOURS]
# Okabe and Ito's palette: told apart with any kind of colour vision
SYSTEM_COLOURS = {
    "real": "#4d4d4d",
    "joint": "#0072b2",
    "mask": "#d55e00",
    "image": "#009e73",
    "text": "#cc79a7",
    "spade": "#e69f00",
    "joint_gan": "#56b4e9",
    "self_training": "#8c6d31",
    "all": "#6a51a3",
}

sns.set_theme(
    context="notebook",
    style="whitegrid",
    rc={
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "axes.titleweight": "bold",
        "axes.titlesize": 12,
        "axes.labelsize": 11,
        "font.size": 11,
        "grid.color": "#e6e6e6",
        "legend.frameon": False,
        "figure.constrained_layout.use": True,
        "savefig.facecolor": "white",
    },
)


def system_colour(name: str) -> str:
    """Return the colour of a system or of an arm: ``real+joint`` has the colour of ``joint``.

    >>> system_colour("synthetic:mask") == system_colour("mix:mask@25") == SYSTEM_COLOURS["mask"]
    True
    """
    parts = re.split(r"[:+@]", name)
    known = [part for part in reversed(parts) if part in SYSTEM_COLOURS]
    return SYSTEM_COLOURS[known[0]] if known else "#8c8c8c"


def spread_out(axes: plt.Axes, along: str, values: Sequence[float]) -> None:
    """Give an axis steps of ten where the largest value would hide the others, and say so in its label.

    Up to the power of ten below the median the scale stays even, so that zero and negative values have a place.

    Args:
        along: ``x`` or ``y``; values: what is drawn along it.
    """
    sizes = np.abs(np.asarray(values, float))
    sizes = sizes[sizes > 0]
    if len(sizes) == 0 or sizes.max() <= HIDES * np.median(sizes):
        return
    axis, scale = (axes.xaxis, axes.set_xscale) if along == "x" else (axes.yaxis, axes.set_yscale)
    scale("symlog", linthresh=10.0 ** np.floor(np.log10(np.median(sizes))))
    axis.set_label_text(f"{axis.get_label_text()}\nin steps of ten")


def legend_handles(no_label: bool = False) -> list[Patch]:
    """Return one legend patch per class of the common legend (and black for 'no label')."""
    handles = [
        Patch(facecolor=c, edgecolor="#555", label=n) for c, n in zip(CLASS_COLOURS, CLASSES, strict=True)
    ]
    return [*handles, Patch(facecolor="black", label="no label")] if no_label else handles


def save_figure(figure: Figure, path: Path, caption: str) -> Path:
    """Write ``figure`` as a 150-dpi PNG with its caption beside it, and close it.

    Args:
        path: the PNG to write; the caption goes to the same stem with ``.txt``.
        caption: what is shown, n, and the interval; line breaks are folded.

    Raises:
        GroundsynthError: an empty caption, or a disk that cannot be written.
    """
    path = Path(path).with_suffix(".png")
    caption = " ".join(caption.split())
    if not caption:
        raise GroundsynthError(f"{path.name}: a figure needs a caption; say what is shown, n and interval")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DPI, bbox_inches="tight", metadata={"Software": None})
    with atomic_path(path.with_suffix(".txt")) as temporary:
        temporary.write_text(caption + "\n", encoding="utf-8")
    plt.close(figure)
    return path


def read_caption(path: Path) -> str:
    """Return the caption saved beside a figure; empty when there is none."""
    beside = Path(path).with_suffix(".txt")
    return beside.read_text(encoding="utf-8").strip() if beside.is_file() else ""


def show_figure(path: Path) -> None:
    """Display a saved figure and, below it, its caption in italics (for notebooks)."""
    from IPython.display import Image, Markdown, display

    path = Path(path)
    if not path.is_file():
        raise GroundsynthError(f"{path}: no such figure; save it first with save_figure")
    with Picture.open(path) as picture:
        width = min(round(picture.width * SCREEN_DPI / DPI), 960)
    caption = read_caption(path)
    display(Image(path.read_bytes(), format="png", width=width, alt=caption or path.stem))
    if caption:
        display(Markdown(f"*{caption}*"))


def pair_grid(
    images: np.ndarray, maps: np.ndarray, columns: int = 8, titles: list[str] | None = None
) -> Figure:
    """Draw image–map pairs: each image with its coloured map right below it.

    Args:
        images: (n, h, w, 3) uint8.
        maps: (n, h, w) uint8 class codes, 255 = no label (black).
        columns: pairs per row.
        titles: n short titles, or None.
    """
    images, maps = np.asarray(images), np.asarray(maps)
    if len(images) != len(maps) or len(images) == 0 or images.ndim != 4 or maps.ndim != 3:
        raise GroundsynthError(
            f"pair_grid got images {images.shape} and maps {maps.shape}; it needs as many (n, h, w, 3) "
            "images as (n, h, w) maps, and at least one; check the read above"
        )
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    figure = plt.figure(
        figsize=(1.15 * columns + 0.1, rows * (2.2 + 0.25 * bool(titles)) + 0.5), layout="none"
    )
    outer = figure.add_gridspec(rows, columns, wspace=0.06, hspace=0.1 if not titles else 0.18)
    for index in range(len(images)):
        cell = outer[index // columns, index % columns].subgridspec(2, 1, hspace=0.03)
        title = textwrap.fill(titles[index], 16) if titles else ""
        _picture(figure.add_subplot(cell[0]), images[index], title)
        _picture(figure.add_subplot(cell[1]), colour_map(maps[index]))
    _class_legend(figure, no_label=bool((maps == 255).any()))
    return figure


def _picture(axes: plt.Axes, pixels: np.ndarray, title: str = "") -> None:
    axes.imshow(pixels, interpolation="nearest")
    axes.set_title(title, fontsize=8, weight="normal", loc="center", pad=2)
    axes.set_axis_off()


def _class_legend(figure: Figure, no_label: bool) -> None:
    columns = max(2, min(8, int(figure.get_figwidth() // 1.2)))
    figure.subplots_adjust(left=0.01, right=0.99, top=0.98, bottom=0.02)
    figure.legend(
        handles=legend_handles(no_label), loc="upper center", bbox_to_anchor=(0.5, 0.01), ncols=columns,
        fontsize=9, handlelength=1, columnspacing=1.2,
    )  # fmt: skip
