"""Obedience to unseen maps: layouts, paired ratios by hand, the rule that chooses guidance, the command's refusals."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from groundsynth.artifacts import metric_row
from groundsynth.benchmark.unseen_layouts import (
    choose_guidance,
    obedience_rows,
    swap_layouts,
    unseen_layouts,
)
from groundsynth.config import load_study
from groundsynth.errors import GroundsynthError
from groundsynth.report.obedience_figures import plot_obedience, plot_unseen
from groundsynth.workflow.obedience_study import (
    Wanted,
    _check,
    _chosen,
    _home,
    measure_obedience,
    read_regime,
    regime_of,
)

WANTED = Wanted(generators=["unified-s0"], fold=0, guidances=[1.0], images_per_map=2, maps=None)
SIDE = 10


def chips(splits: list[str], blocks: list[int], labelled: float = 1.0) -> pd.DataFrame:
    names = [f"c{k}" for k in range(len(splits))]
    return pd.DataFrame({"chip_id": names, "split": splits, "block": blocks, "labelled": labelled})


def halves(wrong: int) -> tuple[np.ndarray, np.ndarray]:
    """A reading and a map of classes 0 and 4 in halves; ``wrong`` pixels of class 4 are read as 0."""
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[:, SIDE // 2 :] = 4
    reading = labels.copy()
    places = np.argwhere(labels == 4)[:wrong]
    reading[places[:, 0], places[:, 1]] = 0
    return reading, labels


def sets(*wrong: int) -> tuple[np.ndarray, np.ndarray]:
    readings, maps = zip(*map(halves, wrong), strict=True)
    return np.stack(readings), np.stack(maps)


def test_layouts_are_spread_over_blocks_and_their_holes_are_filled():
    table = chips(["val"] * 5 + ["train"], [1, 1, 1, 2, 3, 4]).assign(labelled=[1, 1, 1, 0.5, 0, 1])
    table["mask"] = [np.array([[0, 255, 255], [0, 255, 4]], np.uint8)] * 6
    found = unseen_layouts(table, "val", None)
    assert found["chip_id"].tolist() == ["c0", "c3", "c1", "c2"], "one without a label is no layout"
    assert found["given"][0].tolist() == [[0, 0, 4], [0, 0, 4]] or found["given"][0].tolist() == [
        [0, 0, 4],
        [0, 4, 4],
    ]
    assert found["mask"][0].tolist() == [[0, 255, 255], [0, 255, 4]]
    assert unseen_layouts(table, "val", 2)["block"].tolist() == [1, 2]
    with pytest.raises(GroundsynthError, match="no hidden chip has a label"):
        unseen_layouts(table, "hidden", None)
    for split in ("train", "test"):
        with pytest.raises(GroundsynthError, match=f"split '{split}' measure no generator"):
            unseen_layouts(table, split, None)


def test_the_ratio_of_two_mious_by_hand():
    """Real: 10 of 50 pixels wrong, IoU 50/60 and 40/50; drawn: 20 wrong, 50/70 and 30/50."""
    drawn = (*sets(20, 20), np.array([7, 7]))
    real = (*sets(10), np.array([7]))
    rows = obedience_rows("s", "r", "mask", drawn, real, (0, 4), 2)[:1]
    wanted = (50 / 70 + 30 / 50) / (50 / 60 + 40 / 50)
    assert rows[0]["value"] == pytest.approx(wanted)
    assert (rows[0]["low"], rows[0]["n"]) == (None, 1), "one block has no interval"


def test_the_ratio_is_paired_over_blocks_and_given_per_class():
    """Blocks differ in how hard they are; images as good as real ones have ratio 1 in every resample."""
    wrong, blocks = [0, 10, 25, 40], np.arange(4)
    same = obedience_rows("s", "r", "mask", (*sets(*wrong), blocks), (*sets(*wrong), blocks), (0, 4), 1)
    found = {(row["metric"], row["class"]): row for row in same}
    for name in ("", "tree cover", "built-up"):
        row = found["mask_obedience_ratio", name]
        assert (row["value"], row["low"], row["high"]) == pytest.approx((1, 1, 1))
    assert found["mask_obedience_ratio", "tree cover"]["n"] == 200
    assert "water" not in [name for _, name in found]

    worse = [20, 30, 45, 48]
    rows = obedience_rows("s", "r", "mask", (*sets(*worse), blocks), (*sets(*wrong), blocks), (0, 4), 1)
    assert rows[0]["low"] < rows[0]["value"] < rows[0]["high"] < 1
    with pytest.raises(GroundsynthError, match="a paired ratio needs the same"):
        obedience_rows("s", "r", "mask", (*sets(*wrong), blocks), (*sets(1), blocks[:1]), (0, 4), 1)


def test_images_of_other_layouts_obey_less():
    maps = np.random.default_rng(0).choice([0, 4], (6, SIDE, SIDE)).astype(np.uint8)
    swapped = swap_layouts(maps.repeat(2, 0), 2)
    assert all((a != b).any() for a, b in zip(swapped[::2], maps, strict=True)), "no map stays"
    np.testing.assert_array_equal(swapped[::2], swapped[1::2])
    assert sorted(m.tobytes() for m in swapped[::2]) == sorted(m.tobytes() for m in maps)
    blocks = np.arange(6)
    rows = obedience_rows("s", "r", "mask", (maps, maps, blocks), (maps, maps, blocks), (0, 4), 1)
    assert [row["value"] for row in rows[:2]] == [1, pytest.approx(1 / 3, abs=0.1)]
    with pytest.raises(GroundsynthError, match="no other to be swapped with"):
        swap_layouts(maps[:1].repeat(2, 0), 2)


def test_guidance_is_the_lowest_that_is_enough_on_validation_layouts():
    assert choose_guidance({3.0: 1.1, 1.0: 0.89, 1.5: 0.9}) == 1.5
    assert choose_guidance({1.0: 0.3, 2.0: 0.5, 3.0: 0.5}) == 2.0

    def row(layouts, guidance, value, **more):
        regime = regime_of(layouts, "unified-s0", guidance)
        return metric_row("s", "04_label", "mask_obedience_ratio", value, regime=regime, **more)

    rows = [row("validation", 1.0, 0.5), row("validation", 2.0, 0.95), row("hidden", 1.0, 0.99),
            row("validation", 1.0, 0.99, class_="water")]  # fmt: skip
    chosen = _chosen("s", rows, [("unified-s0", "mask"), ("spade-s0", "spade")])
    assert [(r["value"], r["regime"]) for r in chosen] == [(2.0, "layouts=validation;generator=unified-s0")]
    assert read_regime(rows[0]["regime"]) == {
        "layouts": "validation", "generator": "unified-s0", "guidance": "1",
    }  # fmt: skip


def test_the_figures_show_every_generator_and_ring_the_chosen_guidance():
    base = {"low": 0.4, "high": 0.9, "n": 7, "layouts": "validation"}
    points = pd.DataFrame(
        [
            base | {"generator": name, "guidance": g, "metric": metric, "value": value}
            for metric, value in (("mask_obedience_ratio", 0.8), ("diversity_ratio", 0.6))
            for name, g in (("unified-s0", "1"), ("unified-s0", "2"), ("spade-s0", np.nan))
        ]
        + [base | {"generator": "unified-s0", "guidance": np.nan, "metric": "chosen_guidance", "value": 2.0}]
    )
    axes = plot_obedience(points, 0.9).axes
    assert len(axes) == 1
    assert {t.get_text() for t in axes[0].get_legend().get_texts()} == {"real", "unified-s0", "spade-s0"}
    rings = [line for line in axes[0].lines if line.get_fillstyle() == "none"]
    assert len(rings) == 1
    layouts = pd.DataFrame(
        {"mask": list(np.zeros((2, 8, 8), np.uint8)), "image": list(np.zeros((2, 8, 8, 3), np.uint8))}
    )
    assert len(plot_unseen(layouts, {"a": np.zeros((2, 8, 8, 3), np.uint8)}).axes) == 6


def test_a_generator_of_another_study_of_the_same_chips_is_named_with_it(root):
    laptop = load_study(root / "config" / "laptop.yaml")
    assert [_home(laptop, name) for name in ("unified-s0", "gan/spade-s0")] == ["laptop", "gan"]
    wanted = replace(WANTED, generators=["unified-s0", "gan/spade-s0", "overnight/unified-s0"])
    assert _check(wanted) == [
        ("unified-s0", "mask"), ("gan/spade-s0", "spade"), ("overnight/unified-s0", "mask")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"generators": ["unified-s0", "joint-s0"]}, "'joint-s0' draws no image for a given map"),
        ({"generators": ["best"]}, "not named <policy>-s<seed>"),
        ({"images_per_map": 1}, "1 image per map has no diversity"),
        ({"generators": ["unified-s0", "korea/spade-s0"]}, "differ in data"),
        ({"generators": ["nowhere/spade-s0"]}, "config/nowhere.yaml: no such config"),
    ],
)
def test_what_cannot_be_measured_says_so(root, changes, says):
    study = load_study(root / "config" / "smoke.yaml")
    with pytest.raises(GroundsynthError, match=says):
        measure_obedience(study, replace(WANTED, **changes), root / "nowhere")
