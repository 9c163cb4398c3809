"""The bootstrap of scores: exact where the answer is known."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from groundsynth.artifacts import TABLES
from groundsynth.benchmark.intervals import (
    block_counts,
    bootstrap,
    interval,
    score_interval,
    seed_mean,
    stack_counts,
)
from groundsynth.benchmark.metrics import mean_iou
from groundsynth.errors import GroundsynthError

SCORE = partial(mean_iou, classes=[0, 1])


def made_up_counts(seed: int, hit_rates: list[float], seeds: int = 3, blocks: int = 8) -> np.ndarray:
    """Two classes of 500 pixels per block; each arm names a pixel rightly with its own rate."""
    random = np.random.default_rng(seed)
    counts = np.zeros((len(hit_rates), seeds, blocks, 7, 3), np.int64)
    for arm, rate in enumerate(hit_rates):
        hits = random.binomial(500, rate, (seeds, blocks, 2))
        counts[arm, :, :, :2, 0] = hits
        counts[arm, :, :, :2, 2] = 500 - hits
        counts[arm, :, :, :2, 1] = (500 - hits)[..., ::-1]
    return counts


def test_block_counts_sum_the_chips_of_a_block():
    chips = np.arange(3 * 7 * 3).reshape(3, 7, 3)
    summed = block_counts(chips, np.array([5, 2, 5]))
    np.testing.assert_array_equal(summed, np.stack([chips[1], chips[0] + chips[2]]))


def test_a_score_is_the_mean_over_seeds_of_pooled_blocks():
    """Seed 0: 8 of 10 over both blocks; seed 1: 2 of 10; mean 0.5."""
    counts = np.zeros((1, 2, 2, 7, 3), np.int64)
    counts[0, 0, :, 0] = [[6, 0, 0], [2, 0, 2]]
    counts[0, 1, :, 0] = [[1, 0, 5], [1, 0, 3]]
    assert seed_mean(counts, SCORE).tolist() == pytest.approx([0.5])


def test_the_interval_of_a_constant_has_no_width():
    counts = np.tile(made_up_counts(3, [0.7], seeds=1, blocks=1), (1, 3, 4, 1, 1))
    row = score_interval(counts, SCORE, 100, "test")[0]
    assert row["low"] == pytest.approx(row["value"])
    assert row["high"] == pytest.approx(row["value"])


def test_one_block_gives_no_interval():
    row = score_interval(made_up_counts(0, [0.7], blocks=1), SCORE, 100, "test")[0]
    assert (row["low"], row["high"]) == (None, None)


def test_resamples_depend_on_names_alone():
    counts = made_up_counts(2, [0.6, 0.7])
    np.testing.assert_array_equal(bootstrap(counts, SCORE, 50, "a"), bootstrap(counts, SCORE, 50, "a"))
    assert not np.array_equal(bootstrap(counts, SCORE, 50, "a"), bootstrap(counts, SCORE, 50, "b"))


def test_draws_that_are_no_numbers_are_left_out():
    assert interval(np.array([np.nan, 1.0, 1.0])) == (1.0, 1.0)
    assert interval(np.array([np.nan])) == (None, None)


def counts_table(arms=("real", "synthetic:joint"), seeds=(0, 1), blocks=(3, 5)) -> pd.DataFrame:
    rows = [
        (a, s, "test", f"c{b}", b, k, s, b, k)
        for a in arms for s in seeds for b in blocks for k in range(7)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(TABLES["counts"].columns))


def test_stacking_keeps_every_count_in_its_place():
    stacked = stack_counts(counts_table(), ["synthetic:joint", "real"])
    assert stacked.shape == (2, 2, 2, 7, 3)
    assert stacked[0, 1, 1, 4].tolist() == [1, 5, 4]


def test_arms_must_share_seeds_and_blocks():
    table = counts_table()
    table = table[~((table["arm"] == "real") & (table["block"] == 5))]
    with pytest.raises(GroundsynthError, match="arm 'real' has no counts for seed 0 in block 5"):
        stack_counts(table, ["real", "synthetic:joint"])
