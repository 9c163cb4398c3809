"""Composition of sets of maps, by hand; distances of a set to itself and to another country."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

from groundsynth.checks.composition import (
    border_table,
    borders_js,
    compose,
    composition_rows,
    patch_sizes,
    patches_js,
    patches_wasserstein,
    shares_js,
    shares_wasserstein,
)
from groundsynth.report.evidence_figures import plot_composition

MEASURES = (shares_js, borders_js, patches_js, shares_wasserstein, patches_wasserstein)


def halves(first: int, second: int, n: int = 4):
    """Return n maps, left half of one class and right half of another, each its own block."""
    labels = np.full((8, 8), first, np.uint8)
    labels[:, 4:] = second
    return compose(np.stack([labels] * n), np.arange(n))


def test_patches_by_hand():
    labels = np.zeros((8, 8), np.uint8)
    labels[0, 0] = labels[1, 1] = 6  # corners join: one patch of 2
    labels[6:, 6:] = 6  # one of 4
    labels[4, 0] = 255
    counts = patch_sizes(labels)
    assert counts[6].tolist()[:4] == [0, 1, 1, 0]
    assert counts[0].tolist()[:7] == [0, 0, 0, 0, 0, 1, 0]  # 57 pixels: the octave of 32
    assert counts.sum() == 3


def test_borders_by_hand():
    table = border_table(halves(0, 6))
    assert table.loc["tree cover", "water"] == table.loc["water", "tree cover"] == 1
    assert table.to_numpy().sum() == 2


@pytest.mark.parametrize("measure", MEASURES)
def test_a_set_is_no_distance_from_itself(measure):
    assert measure(halves(0, 6), halves(0, 6)) == pytest.approx(0, abs=1e-7)


def test_distances_by_hand():
    first, second = halves(0, 6), halves(3, 4)
    assert shares_js(first, second) == pytest.approx(1)
    assert borders_js(first, second) == pytest.approx(1)
    assert patches_js(first, second) == pytest.approx(1)
    assert patches_wasserstein(first, second) == 0  # patches as large, of other classes
    assert shares_wasserstein(first, second) == pytest.approx(4 * 0.5 / 7)  # four classes move by a half
    whole = compose(np.zeros((4, 8, 8), np.uint8), np.arange(4))
    assert patches_wasserstein(first, whole) == pytest.approx(1)  # 64 pixels against 32: one octave


def test_rows_have_a_scale_and_tell_another_country_apart():
    generator = np.random.default_rng(0)
    maps = generator.integers(0, 3, (24, 16, 16)).astype(np.uint8)
    real = compose(maps, np.repeat(np.arange(6), 4))
    sets = {"joint": compose(maps[::2], np.arange(12)), "mask": halves(4, 5, 12)}
    rows = composition_rows("smoke", sets, real)
    value = {(r["metric"], r["regime"], r["system"]): r for r in rows}
    assert len(rows) == 5 * 3
    for metric, regime in {(r["metric"], r["regime"]) for r in rows}:
        floor, same, other = (value[metric, regime, s] for s in ("real", "joint", "mask"))
        assert floor["low"] <= floor["value"] <= floor["high"]
        assert same["value"] < other["value"]
        for made in (same, other):  # resampling adds distance, and a value lies in its range
            assert made["low"] <= made["value"] <= made["high"] + 1e-9
    assert value["composition_js", "of=class_shares", "mask"]["value"] == pytest.approx(1)


def test_one_block_has_no_scale():
    one = compose(np.zeros((3, 8, 8), np.uint8), np.zeros(3))
    systems = {row["system"] for row in composition_rows("smoke", {"joint": one}, one)}
    assert systems == {"joint"}


def test_borders_are_drawn_with_a_scale_also_where_there_are_none():
    for sets in ({"real": halves(0, 4), "joint": halves(0, 6)}, {"real": halves(2, 2)}):
        figure = plot_composition(sets)
        assert [axes.get_ylabel() for axes in figure.axes][-1] == "share of all borders"
        figure.draw_without_rendering()
        plt.close(figure)
