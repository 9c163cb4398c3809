"""Folds and generators together: exact where the answer is known."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from groundsynth.benchmark import cross_validation as cv
from groundsynth.benchmark.differences import mean_score
from groundsynth.benchmark.metrics import mean_iou, mean_precision, mean_recall
from groundsynth.errors import GroundsynthError

SCORE = partial(mean_iou, classes=[0])
REGIME = "folds=2;generators=1"


def counts_table(
    rates: dict[str, float], fold: int, blocks: list[int], seeds: int = 2, split: str = "test", jitter=0
):
    """One class of 1,000 pixels per block: an arm names exactly its rate of them rightly."""
    rows = []
    for arm, rate in rates.items():
        for seed in range(seeds):
            for block in blocks:
                for k in range(7):
                    hits = round(1000 * (rate + jitter * (-1) ** block * (arm != "real"))) if k == 0 else 0
                    rows.append(
                        (
                            arm,
                            seed,
                            split,
                            f"c{block}",
                            block,
                            k,
                            hits,
                            0,
                            (1000 - hits) if k == 0 else 0,
                            fold,
                        )
                    )
    names = ["arm", "seed", "split", "chip_id", "block", "class", "tp", "fp", "fn", "fold"]
    return pd.DataFrame(rows, columns=names)


def test_folds_are_stacked_by_block_and_add_up():
    rates = {"real": 0.5, "real+mask": 0.75}
    folds = pd.concat([counts_table(rates, 0, [0, 1]), counts_table(rates, 1, [2])])
    stacked = cv.stack_folds([folds], ["real", "real+mask"], "test")
    assert stacked.shape == (1, 2, 2, 3, 7, 3)
    assert mean_score(stacked, SCORE).tolist() == [0.5, 0.75]


def test_a_block_tested_twice_is_refused():
    twice = pd.concat([counts_table({"real": 0.5}, 0, [0, 1]), counts_table({"real": 0.5}, 1, [1])])
    with pytest.raises(GroundsynthError, match="block 1 is tested in folds 0, 1"):
        cv.stack_folds([twice], ["real"], "test")


def test_the_region_is_the_same_ground_in_every_fold():
    folds = pd.concat(
        [counts_table({"real": r}, f, [7, 8], split="region") for f, r in enumerate((0.4, 0.8))]
    )
    stacked = cv.stack_folds([folds], ["real"], "region")
    assert stacked.shape[2:4] == (4, 2)  # two folds of two seeds, two blocks
    assert mean_score(stacked, SCORE).tolist() == pytest.approx([0.6])


def test_generators_of_other_seeds_are_refused():
    tables = [counts_table({"real": 0.5}, 0, [0, 1], seeds=n) for n in (2, 3)]
    with pytest.raises(GroundsynthError, match=r"differ in generator.seeds alone"):
        cv.stack_folds(tables, ["real"], "test")


def test_generators_tested_on_other_ground_are_refused():
    table = counts_table({"real": 0.5}, 0, [0, 1])
    other = table.assign(fn=table["fn"] + (table["class"] == 0) * (table["block"] == 1) * 7)
    with pytest.raises(GroundsynthError, match="different ground"):
        cv.stack_folds([table, other], ["real"], "test")


def test_p_values_are_corrected_for_their_number():
    assert cv.holm({"a": 0.01, "b": 0.02, "c": 0.5}) == pytest.approx({"a": 0.03, "b": 0.04, "c": 0.5})
    assert cv.holm({"a": 0.6, "b": 0.7}) == pytest.approx({"a": 1.0, "b": 1.0})


def test_precision_and_recall_of_the_classes_that_occur():
    counts = np.zeros((7, 3))
    counts[0], counts[1], counts[2] = (
        [6, 2, 4],
        [0, 0, 10],
        [0, 5, 0],
    )  # class 2 does not occur, 1 is never named
    assert mean_precision(counts, [0, 1, 2]) == pytest.approx((6 / 8 + 0) / 2)
    assert mean_recall(counts, [0, 1, 2]) == pytest.approx((6 / 10 + 0) / 2)
    assert np.isnan(mean_precision(counts, [2]))


def test_rare_classes_that_gain_most_give_a_correlation_of_minus_one():
    counts = np.zeros((1, 2, 2, 4, 7, 3), np.int64)
    for k, (pixels, hits, more) in enumerate(((1000, 500, 10), (500, 250, 20), (100, 50, 15))):
        counts[0, 0, ..., k, 0], counts[0, 0, ..., k, 2] = hits, pixels - hits
        counts[0, 1, ..., k, 0], counts[0, 1, ..., k, 2] = hits + more, pixels - hits - more
    found = cv.gain_correlation(counts[:, [1, 0]], 50)
    assert found == pytest.approx((-1, -1, -1))  # gains of 1, 4 and 15 points; shares 1000, 500, 100


def test_pooled_rows_hold_scores_differences_and_corrected_p_values():
    rates = {"real": 0.5, "real+mask": 0.6, "real+joint": 0.5, "real+mask:freemask": 0.7}
    folds = [counts_table(rates, f, blocks, seeds=3) for f, blocks in enumerate(([0, 1, 2], [3, 4, 5]))]
    val = [counts_table(rates, f, [9], seeds=3, split="val") for f in (0, 1)]  # the same block in both folds
    systems = {arm: arm.partition(":")[0].removeprefix("real+") for arm in rates}
    pairs = [cv.Pair("iou", "real+mask", "real", "tree cover"), cv.Pair("miou", "real+joint", "real+mask"),
             cv.Pair("miou", "real+mask:freemask", "real+mask"), cv.Pair("miou", "real+none", "real")]  # fmt: skip
    primary = dict.fromkeys(["real+mask", "real+joint", "real+text"], "real")
    rows = cv.pooled_rows("s", [pd.concat(folds + val)], systems, [0], primary, pairs, 400)
    table = pd.DataFrame(rows).set_index(["metric", "arm", "regime", "class"])["value"]
    assert table["miou", "real+mask", REGIME, ""] == 0.6
    assert table["delta_miou", "real+mask", REGIME, ""] == pytest.approx(0.1)
    assert table["delta_iou", "real+mask", REGIME, "tree cover"] == pytest.approx(0.1)
    assert table["delta_miou", "real+joint", f"against=real+mask;{REGIME}", ""] == pytest.approx(-0.1)
    assert table["delta_miou_filter", "real+mask:freemask", REGIME, ""] == pytest.approx(0.1)
    assert np.isnan(table["gain_frequency_correlation", "real+mask", REGIME, ""])  # a single class
    assert table["miou", "real", f"split=val;{REGIME}", ""] == 0.5
    assert table["delta_miou_p_holm", "real+mask", REGIME, ""] < 1e-6  # the same in every block and seed
    assert table["delta_miou_p_holm", "real+joint", REGIME, ""] == 1.0
    assert "real+mask:freemask" not in {arm for metric, arm, *_ in table.index if metric == "delta_miou_p"}
    frame = pd.DataFrame(rows)
    assert not frame.duplicated(["system", "arm", "regime", "metric", "class"]).any()
    assert set(frame.loc[frame["metric"] == "delta_miou", "n"]) == {6}
    of_class = frame[(frame["metric"] == "iou") & (frame["arm"] == "real")].set_index("class")["n"]
    assert (of_class["tree cover"], of_class["water"]) == (6, 0)  # blocks that hold the class


def test_draws_of_the_labels_are_resampled_in_place_of_blocks():
    """Gains of 5, 10 and 18 points in three draws: blocks and seeds within a draw agree, and add nothing."""
    gains = np.array([0.05, 0.10, 0.18])
    drawn = [
        counts_table({"real": 0.5, "real+mask": 0.5 + gain}, fold, [2 * fold, 2 * fold + 1], seeds=3)
        for fold, gain in enumerate(gains)
    ]
    systems, tables = {"real": "real", "real+mask": "mask"}, [pd.concat(drawn)]
    about = ("s", tables, systems, [0], {"real+mask": "real"}, [], 4000)
    rows = pd.DataFrame(cv.pooled_rows(*about, "labels=10%", 3)).set_index(["metric", "arm", "class"])
    found = rows.loc[("delta_miou", "real+mask", "")]
    half = student.ppf(0.975, 2) * gains.std(ddof=1) / np.sqrt(3)
    assert found["value"] == pytest.approx(gains.mean())
    assert (found["low"], found["high"]) == pytest.approx(
        (gains.mean() - half, gains.mean() + half), rel=0.05
    )
    assert (found["n"], found["regime"]) == (3, "labels=10%;folds=3;generators=1")
    of_blocks = pd.DataFrame(cv.pooled_rows(*about)).set_index(["metric", "arm", "class"])
    assert of_blocks.loc[("delta_miou", "real+mask", ""), "n"] == 6
    narrow = of_blocks.loc[("delta_miou", "real+mask", "")]
    assert narrow["high"] - narrow["low"] < found["high"] - found["low"]


def test_blocks_of_a_fold_are_added_up_whatever_their_number():
    tables = [
        counts_table({"real": rate}, f, blocks)
        for f, (rate, blocks) in enumerate([(0.5, [4, 0]), (0.8, [2])])
    ]
    table = pd.concat(tables)
    whole = cv.add_up_folds(cv.stack_folds([table], ["real"], "test"), cv._folds_of_blocks(table))
    assert whole[0, 0, 0, :, 0, 0].tolist() == [1000, 800]
    assert whole[0, 0, 0, :, 0, 2].tolist() == [1000, 200]


def test_a_primary_arm_of_more_steps_is_compared_with_real_chips_of_as_many():
    """The steps alone explain the whole gain: against real it is shown, and the p-value is not of that."""
    rates = {"real": 0.5, "real@4": 0.6, "real+mask@3*": 0.6}
    tables = [pd.concat([counts_table(rates, f, [2 * f, 2 * f + 1], seeds=3) for f in (0, 1)])]
    systems = {"real": "real", "real@4": "real", "real+mask@3*": "mask"}
    rows = pd.DataFrame(cv.pooled_rows("s", tables, systems, [0], {"real+mask@3*": "real@4"}, [], 100))
    found = rows.set_index(["metric", "arm", "regime"])["value"]
    assert found["delta_miou", "real+mask@3*", "folds=2;generators=1"] == pytest.approx(0.1)
    where = "against=real@4;folds=2;generators=1"
    assert found["delta_miou", "real+mask@3*", where] == pytest.approx(0.0)
    assert found["delta_miou_p_holm", "real+mask@3*", where] == 1.0
    assert ("smallest_detectable_difference", "real+mask@3*", where) in found.index
