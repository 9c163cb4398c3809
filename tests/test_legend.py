"""The common legend: published colours, honest counts, unknown codes named."""

from __future__ import annotations

import numpy as np
import pytest

from groundsynth.errors import GroundsynthError
from groundsynth.legend import (
    CLASSES,
    COLOURS,
    NO_LABEL,
    NUM_CLASSES,
    check_map,
    class_shares,
    colour_map,
    count_classes,
)

MAP = np.array([[0, 0, 6], [255, 4, 255]], np.uint8)


def test_classes_and_published_colours():
    assert NUM_CLASSES == len(CLASSES) == len(set(COLOURS)) == 7
    published = dict(zip(CLASSES, COLOURS, strict=True))
    assert published["tree cover"] == (0, 100, 0)
    assert published["cropland"] == (255, 215, 0)
    assert published["water"] == (0, 0, 255)


def test_counts_and_shares_by_hand():
    assert count_classes(MAP).tolist() == [2, 0, 0, 0, 1, 0, 1]
    assert class_shares(MAP).tolist() == [0.5, 0, 0, 0, 0.25, 0, 0.25]


def test_nothing_labelled_has_no_shares():
    assert class_shares(np.full((3, 3), NO_LABEL, np.uint8)).tolist() == [0.0] * 7


def test_colours_by_hand():
    picture = colour_map(MAP)
    assert picture.shape == (2, 3, 3)
    assert picture[0, 2].tolist() == [0, 0, 255]
    assert picture[1, 0].tolist() == [0, 0, 0], "no label is black"


def test_a_map_of_the_legend_comes_back_as_bytes():
    checked = check_map(MAP.astype(np.int64), "a.tif")
    assert checked.dtype == np.uint8
    assert (checked == MAP).all()


@pytest.mark.parametrize("code", [7, 254, -1, 256])
def test_an_unknown_code_is_named(code: int):
    with pytest.raises(GroundsynthError, match=rf"a.tif: class code {code} is not in the legend"):
        check_map(np.array([[0, code]]), "a.tif")
