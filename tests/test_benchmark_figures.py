"""Figures of stage 07 say what their tables say, with four arms as with forty."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from groundsynth.artifacts import METRIC_COLUMNS
from groundsynth.legend import CLASSES
from groundsynth.report import benchmark_figures as figures

MANY = ["real", *(f"real@{k}" for k in range(2, 40))]


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def history(arms: list[str]) -> pd.DataFrame:
    rows = [(arm, seed, step, 0.1 + 0.01 * k + 0.1 * seed)
            for k, arm in enumerate(arms) for seed in (0, 1) for step in (5, 10)]  # fmt: skip
    return pd.DataFrame(rows, columns=["arm", "seed", "step", "val_miou"])


@pytest.mark.parametrize("arms", [["real", "real+mask", "synthetic:mask"], MANY, ["real"]])
def test_every_arm_learns_in_a_panel_of_its_own_beside_real(arms):
    shown = [axis for axis in figures.learning_curves(history(arms)).axes if axis.get_visible()]
    others = arms[1:] or arms
    assert [axis.get_title(loc="left") for axis in shown] == others
    for arm, axis in zip(others, shown, strict=True):
        curves = [line.get_ydata().tolist() for line in axis.lines]
        means = [0.15 + 0.01 * arms.index(name) for name in dict.fromkeys(("real", arm))]
        assert curves == [pytest.approx([mean, mean]) for mean in means]


def test_each_class_has_a_panel_from_rare_to_common_and_each_arm_a_row():
    rows = [(arm, seed, k, 0.1 * k + 0.02 * seed, share)
            for arm in MANY for seed in (0, 1) for k, share in ((0, 0.7), (3, 0.0), (6, 0.3))]  # fmt: skip
    figure = figures.iou_by_frequency(pd.DataFrame(rows, columns=["arm", "seed", "class", "iou", "share"]))
    assert [axis.get_title(loc="left") for axis in figure.axes] == [
        f"{CLASSES[6]}\n30.0%",
        f"{CLASSES[0]}\n70.0%",
    ]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == MANY[::-1]
    water = figure.axes[0]
    assert water.lines[1].get_xdata() == pytest.approx([0.61])  # the mean of 0.60 and 0.62
    assert water.lines[0].get_xdata() == pytest.approx([0.60, 0.62])
    low, high = water.get_xlim()
    assert high - low == pytest.approx(1.2 * figures.LEAST_SPAN)


def test_rows_move_closer_where_there_are_many():
    def rows(arms):
        table = pd.DataFrame(
            [{"metric": "delta_miou", "arm": arm, "value": 0.1, "low": 0.0, "high": 0.2} for arm in arms]
        )
        return table.reindex(columns=list(METRIC_COLUMNS))

    few, many = (figures.delta_forest(rows(arms)).get_figheight() for arms in (MANY[1:5], MANY[1:]))
    assert few == pytest.approx(4 * 0.45 + 1.6)
    assert many == pytest.approx(38 * 0.26 + 1.6)
