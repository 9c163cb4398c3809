"""Figures: captions travel with them, and pairs are drawn as pairs."""

import sys

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

mpl.use("Agg")

from groundsynth.errors import GroundsynthError
from groundsynth.legend import COLOURS
from groundsynth.report.report_figures import mosaic
from groundsynth.report.style import (
    CLASS_COLOURS,
    SYSTEM_COLOURS,
    legend_handles,
    pair_grid,
    plt,
    read_caption,
    save_figure,
    show_figure,
    system_colour,
)


def test_a_figure_is_saved_with_its_caption_and_closed(tmp_path):
    figure, _ = plt.subplots(figsize=(2, 1))
    path = save_figure(figure, tmp_path / "deep" / "a.png", "Two\n  lines.")
    assert read_caption(path) == "Two lines."
    assert not plt.fignum_exists(figure.number)
    with Image.open(path) as picture:
        assert picture.info["dpi"] == pytest.approx((150, 150), abs=0.1)


def test_a_figure_without_caption_is_refused(tmp_path):
    figure, _ = plt.subplots()
    with pytest.raises(GroundsynthError, match="needs a caption"):
        save_figure(figure, tmp_path / "a.png", "  ")
    assert not list(tmp_path.iterdir())


def test_a_missing_figure_names_its_cure(tmp_path):
    with pytest.raises(GroundsynthError, match="save_figure"):
        show_figure(tmp_path / "a.png")


def test_pair_grid_draws_each_image_over_its_map():
    images = np.zeros((3, 4, 4, 3), np.uint8) + np.arange(3, dtype=np.uint8)[:, None, None, None]
    maps = np.stack([np.full((4, 4), k, np.uint8) for k in (0, 4, 6)])
    figure = pair_grid(images, maps, columns=2)
    shown = [axes.images[0].get_array() for axes in figure.axes]
    assert len(shown) == 6
    for k, code in enumerate((0, 4, 6)):
        assert (shown[2 * k] == images[k]).all()
        assert tuple(shown[2 * k + 1][0, 0]) == COLOURS[code]
    plt.close(figure)


@pytest.mark.parametrize("count", [0, 2])
def test_pair_grid_refuses_unequal_numbers(count):
    with pytest.raises(GroundsynthError, match="as many"):
        pair_grid(np.zeros((count, 4, 4, 3), np.uint8), np.zeros((count // 2, 4, 4), np.uint8))


def test_mosaic_puts_map_below_image():
    images = np.full((1, 2, 2, 3), 9, np.uint8)
    picture = mosaic(images, np.full((1, 2, 2), 6, np.uint8), columns=4)
    assert (picture[:2, :2] == 9).all()
    assert (picture[2, :2] == 255).all()
    assert (picture[3:5, :2] == COLOURS[6]).all()


@pytest.mark.parametrize(
    ("arm", "system"),
    [("real", "real"), ("real+joint", "joint"), ("synthetic:mask", "mask"), ("image", "image")],
)
def test_an_arm_has_the_colour_of_its_system(arm, system):
    assert system_colour(arm) == SYSTEM_COLOURS[system]


def test_colours_are_the_published_ones_and_all_differ():
    assert CLASS_COLOURS[4] == "#8b4513"
    assert len(set(CLASS_COLOURS)) == 7
    assert len(set(SYSTEM_COLOURS.values())) == len(SYSTEM_COLOURS)
    assert [handle.get_label() for handle in legend_handles(no_label=True)][-1] == "no label"


def test_style_imports_no_torch():
    import subprocess

    code = "import groundsynth.report.style, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
