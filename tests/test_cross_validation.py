"""Folds and generators together: exact where the answer is known, nested where it must be."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from groundsynth.benchmark import cross_validation as cv
from groundsynth.benchmark.intervals import bootstrap
from groundsynth.benchmark.metrics import mean_iou, mean_precision, mean_recall
from groundsynth.errors import GroundsynthError

SCORE = partial(mean_iou, classes=[0])
REGIME = "folds=2;generators=1"


def counts_table(
    rates: dict[str, float], fold: int, blocks: list[int], seeds: int = 2, split: str = "test", jitter=0
):
    """One class of 100 pixels per block: an arm names exactly its rate of them rightly."""
    rows = []
    for arm, rate in rates.items():
        for seed in range(seeds):
            for block in blocks:
                for k in range(7):
                    hits = round(100 * (rate + jitter * (-1) ** block * (arm != "real"))) if k == 0 else 0
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
                            (100 - hits) if k == 0 else 0,
                            fold,
                        )
                    )
    names = ["arm", "seed", "split", "chip_id", "block", "class", "tp", "fp", "fn", "fold"]
    return pd.DataFrame(rows, columns=names)


def made_up(seed: int, rates: list[float], generators=2, seeds=3, blocks=10, between=0.0) -> np.ndarray:
    """One class; a generator shifts every arm but the first by a draw of its own."""
    random = np.random.default_rng(seed)
    counts = np.zeros((generators, len(rates), seeds, blocks, 7, 3), np.int64)
    for g in range(generators):
        for a, rate in enumerate(rates):
            shift = random.normal(0, between) if a else 0
            hits = random.binomial(500, np.clip(rate + shift, 0, 1), (seeds, blocks))
            counts[g, a, :, :, 0, 0], counts[g, a, :, :, 0, 2] = hits, 500 - hits
    return counts


def test_folds_are_stacked_by_block_and_add_up():
    rates = {"real": 0.5, "real+mask": 0.75}
    folds = pd.concat([counts_table(rates, 0, [0, 1]), counts_table(rates, 1, [2])])
    stacked = cv.stack_folds([folds], ["real", "real+mask"], "test")
    assert stacked.shape == (1, 2, 2, 3, 7, 3)
    assert cv.mean_score(stacked, SCORE).tolist() == [0.5, 0.75]


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
    assert cv.mean_score(stacked, SCORE).tolist() == pytest.approx([0.6])


def test_generators_of_other_seeds_are_refused():
    tables = [counts_table({"real": 0.5}, 0, [0, 1], seeds=n) for n in (2, 3)]
    with pytest.raises(GroundsynthError, match=r"differ in generator.seeds alone"):
        cv.stack_folds(tables, ["real"], "test")


def test_one_less_is_drawn_so_that_the_spread_of_few_seeds_is_right():
    """Scores 0, 1 and 2 tenths of three seeds: their mean has the variance s² / 3 = 0.01 / 3."""
    counts = np.zeros((1, 1, 3, 4, 7, 3), np.int64)
    for seed, hits in enumerate((0, 100, 200)):
        counts[0, 0, seed, :, 0, 0], counts[0, 0, seed, :, 0, 2] = hits, 1000 - hits
    draws = cv.nested_draws(counts, SCORE, 20_000, "test")[0]
    assert draws.var() == pytest.approx(0.01 / 3, rel=0.03)
    still = cv.nested_draws(counts, SCORE, 100, "test", trainings=False)[0]
    assert still.std() == pytest.approx(0, abs=1e-12)  # every block is alike


def test_the_spread_over_blocks_is_that_of_the_plain_bootstrap():
    counts = made_up(0, [0.6, 0.7], generators=1, seeds=1, blocks=40)
    nested = cv.nested_draws(counts, SCORE, 4000, "test")
    plain = bootstrap(counts[0], SCORE, 4000, "test")
    assert nested.std(1) == pytest.approx(plain.std(1), rel=0.08)


def test_generators_that_differ_widen_the_interval():
    same = cv.nested_draws(made_up(1, [0.6, 0.7], generators=4), SCORE, 1000, "test")
    differ = cv.nested_draws(made_up(1, [0.6, 0.7], generators=4, between=0.08), SCORE, 1000, "test")
    assert (differ[1] - differ[0]).std() > 3 * (same[1] - same[0]).std()
    assert differ[0].std() == pytest.approx(same[0].std(), rel=0.3)  # real knows of no generator


def test_a_generator_is_drawn_with_all_its_seeds():
    """Of two generators at 0 and 1 one is drawn: the mean of the two has the variance of half their distance."""
    counts = np.zeros((2, 1, 3, 5, 7, 3), np.int64)
    counts[0, ..., 0, 2] = 10
    counts[1, ..., 0, 0] = 10
    draws = cv.nested_draws(counts, SCORE, 4000, "test")[0]
    assert sorted(set(draws.round(9))) == [0, 1]
    assert draws.var() == pytest.approx(0.25, abs=0.01)  # s² / 2 with s² = 0.5


@pytest.mark.parametrize(
    ("generators", "between", "most"),
    [
        (1, 0.0, 0.05),  # noise of seed and block together is counted with both: too careful
        (2, 0.0, 0.05),
        (3, 0.05, 0.08),
        (2, 0.05, 0.13),  # what two generators say of their spread is little
    ],
)
def test_equal_arms_are_seldom_told_apart(generators, between, most):
    """False alarms over made-up studies of 12 blocks, in which a generator shifts the arm it feeds."""
    alarms = []
    for study in range(300):
        counts = made_up(study, [0.6, 0.6], generators, 3, 12, between)
        found = cv.difference(counts[:, [1, 0]], SCORE, 200, study)
        assert (found.p < 0.05) == (found.low > 0 or found.high < 0)
        alarms.append(found.p < 0.05)
    assert np.mean(alarms) <= most


def test_a_planted_difference_is_found_and_stated():
    found = cv.difference(made_up(3, [0.7, 0.6]), SCORE, 500, "test")
    assert found.value == pytest.approx(0.1, abs=0.02)
    assert found.low > 0
    assert found.p < 0.01
    nothing = cv.difference(np.repeat(made_up(3, [0.7]), 2, axis=1), SCORE, 500, "test")
    assert nothing == cv.Difference(0.0, 0.0, 0.0, 1.0, 0.0)


def test_the_smallest_detectable_difference_is_found_four_times_in_five():
    """A study's own estimate of it varies; planted at its mean, four of five studies show it."""
    smallest = np.mean(
        [cv.difference(made_up(s, [0.6, 0.6], 3, blocks=30), SCORE, 200, s).detectable for s in range(60)]
    )
    found = [
        cv.difference(made_up(1000 + s, [0.6 + smallest, 0.6], 3, blocks=30), SCORE, 200, s).p < 0.05
        for s in range(200)
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.12)


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
    scores = [cv.pooled_scores([0, 1, 2])["iou", name] for name in cv.CLASSES]
    values = np.stack([cv.mean_score(counts, score) for score in scores], -1)
    draws = np.stack([cv.nested_draws(counts, score, 50, "x") for score in scores], -1)
    value, (low, high) = cv.gain_correlation(values, draws, 0, counts)[1]
    assert [value, low, high] == pytest.approx(
        [-1, -1, -1]
    )  # gains of 1, 4 and 15 points; shares 1000, 500, 100


def test_pooled_rows_hold_scores_differences_and_corrected_p_values():
    rates = {"real": 0.5, "real+mask": 0.6, "real+joint": 0.5, "real+mask:freemask": 0.7}
    folds = [counts_table(rates, f, blocks, seeds=3) for f, blocks in enumerate(([0, 1, 2], [3, 4, 5]))]
    val = [counts_table(rates, f, [9], seeds=3, split="val") for f in (0, 1)]  # the same block in both folds
    systems = {arm: arm.partition(":")[0].removeprefix("real+") for arm in rates}
    pairs = [cv.Pair("iou", "real+mask", "real", "tree cover"), cv.Pair("miou", "real+joint", "real+mask"),
             cv.Pair("miou", "real+mask:freemask", "real+mask"), cv.Pair("miou", "real+none", "real")]  # fmt: skip
    rows = cv.pooled_rows(
        "s", [pd.concat(folds + val)], systems, [0], ["real+mask", "real+joint", "real+text"], pairs, 400
    )
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
