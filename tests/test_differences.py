"""The interval of a difference: exact where the answer is known, honest where nothing is there, and able to see."""

from functools import partial

import numpy as np
import pytest
from test_intervals import made_up_counts

from groundsynth.benchmark.differences import Difference, delta_interval, difference, nested_draws
from groundsynth.benchmark.intervals import bootstrap, interval
from groundsynth.benchmark.metrics import mean_iou

SCORE = partial(mean_iou, classes=[0])


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


def test_one_less_is_drawn_so_that_the_spread_of_few_seeds_is_right():
    """Scores 0, 1 and 2 tenths of three seeds: their mean has the variance s² / 3 = 0.01 / 3."""
    counts = np.zeros((1, 1, 3, 4, 7, 3), np.int64)
    for seed, hits in enumerate((0, 100, 200)):
        counts[0, 0, seed, :, 0, 0], counts[0, 0, seed, :, 0, 2] = hits, 1000 - hits
    draws = nested_draws(counts, SCORE, 20_000, "test")[0]
    assert draws.var() == pytest.approx(0.01 / 3, rel=0.03)
    still = nested_draws(counts, SCORE, 100, "test", drawn=("blocks",))[0]
    assert still.std() == pytest.approx(0, abs=1e-12)  # every block is alike


def test_the_spread_over_blocks_is_that_of_the_plain_bootstrap():
    counts = made_up(0, [0.6, 0.7], generators=1, seeds=1, blocks=40)
    nested = nested_draws(counts, SCORE, 4000, "test")
    plain = bootstrap(counts[0], SCORE, 4000, "test")
    assert nested.std(1) == pytest.approx(plain.std(1), rel=0.08)


def test_generators_that_differ_widen_the_interval():
    same = nested_draws(made_up(1, [0.6, 0.7], generators=4), SCORE, 1000, "test")
    differ = nested_draws(made_up(1, [0.6, 0.7], generators=4, between=0.08), SCORE, 1000, "test")
    assert (differ[1] - differ[0]).std() > 3 * (same[1] - same[0]).std()
    assert differ[0].std() == pytest.approx(same[0].std(), rel=0.3)  # real knows of no generator


def test_a_generator_is_drawn_with_all_its_seeds():
    """Of two generators at 0 and 1 one is drawn: the mean of the two has the variance of half their distance."""
    counts = np.zeros((2, 1, 3, 5, 7, 3), np.int64)
    counts[0, ..., 0, 2] = 10
    counts[1, ..., 0, 0] = 10
    draws = nested_draws(counts, SCORE, 4000, "test")[0]
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
        found = difference(counts[:, [1, 0]], SCORE, 200, study)
        assert (found.p < 0.05) == (found.low > 0 or found.high < 0)
        alarms.append(found.p < 0.05)
    assert np.mean(alarms) <= most


def with_real_ones(world: int, of_seeds: float, effect: float = 0.0) -> np.ndarray:
    """Arms real, real@4 and real+mask of two generators; those of real chips alone are the same runs beside both."""
    random = np.random.default_rng(world)
    hard, counts = random.normal(0, 0.1, 12), np.zeros((2, 3, 3, 12, 7, 3), np.int64)
    for arm in range(3):
        shift = random.normal(0, of_seeds, (2, 3, 1)) + (effect if arm else 0)
        hits = random.binomial(2000, np.clip(0.6 + hard + random.normal(0, of_seeds, (1, 12)) + shift, 0, 1))
        counts[:, arm, :, :, 0, 0] = hits if arm == 2 else hits[:1]
    counts[..., 0, 2] = 2000 - counts[..., 0, 0]
    return counts


def test_a_second_generator_tells_nothing_new_of_real_chips_alone():
    pairs = [with_real_ones(world, 0.03)[:, [1, 0]] for world in range(40)]
    once = [difference(pair[:1], SCORE, 400, "test") for pair in pairs]
    twice = [difference(pair, SCORE, 400, "test") for pair in pairs]
    assert [one.value for one in once] == pytest.approx([two.value for two in twice])
    widths = [np.mean([one.high - one.low for one in found]) for found in (once, twice)]
    assert widths[1] == pytest.approx(widths[0], rel=0.05)


@pytest.mark.parametrize("arm", [1, 2])
def test_equal_arms_beside_shared_real_runs_are_seldom_told_apart(arm):
    """Three seeds leave few degrees of freedom: about 8 %, where seeds that are not drawn give twice as many."""
    worlds = [difference(with_real_ones(w, 0.03)[:, [arm, 0]], SCORE, 200, w) for w in range(300)]
    assert np.mean([found.p < 0.05 for found in worlds]) <= 0.11
    planted = [difference(with_real_ones(w, 0.01, 0.1)[:, [arm, 0]], SCORE, 300, w) for w in range(60)]
    assert np.mean([found.low > 0 for found in planted]) > 0.9


def test_blocks_without_the_class_lend_it_no_certainty():
    """Two of forty blocks hold the class: the interval is that of two blocks, and of one there is none."""
    counts = np.zeros((1, 2, 3, 40, 7, 3), np.int64)
    counts[..., :2, 0, :] = [[600, 0, 400], [500, 0, 500]]
    counts[:, 0, :, 0, 0] += np.array([50, 0, -50])
    counts[:, 0, :, 1, 0] += np.array([10, 0, -10])
    plain, honest = difference(counts, SCORE, 400, "test"), difference(counts, SCORE, 400, "test", informed=2)
    assert honest.value == plain.value
    assert honest.high - honest.low > 5 * (plain.high - plain.low)  # one degree of freedom, not 39
    assert difference(counts, SCORE, 400, "test", informed=1).low is None


def test_a_planted_difference_is_found_and_stated():
    found = difference(made_up(3, [0.7, 0.6]), SCORE, 500, "test")
    assert found.value == pytest.approx(0.1, abs=0.02)
    assert found.low > 0
    assert found.p < 0.01
    nothing = difference(np.repeat(made_up(3, [0.7]), 2, axis=1), SCORE, 500, "test")
    assert nothing == Difference(0.0, 0.0, 0.0, 1.0, 0.0)


def test_the_smallest_detectable_difference_is_found_four_times_in_five():
    """A study's own estimate of it varies; planted at its mean, four of five studies show it."""
    smallest = np.mean(
        [difference(made_up(s, [0.6, 0.6], 3, blocks=30), SCORE, 200, s).detectable for s in range(60)]
    )
    found = [
        difference(made_up(1000 + s, [0.6 + smallest, 0.6], 3, blocks=30), SCORE, 200, s).p < 0.05
        for s in range(200)
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.12)


TWO = partial(mean_iou, classes=[0, 1])


def test_an_arm_against_itself_differs_by_exactly_nothing():
    counts = made_up_counts(0, [0.7])
    rows = delta_interval(np.concatenate([counts, counts]), 0, TWO, 300, "test")
    assert rows[1] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_a_planted_effect_is_found_with_its_sign():
    worse, same, better = delta_interval(made_up_counts(1, [0.6, 0.7, 0.8]), 1, TWO, 500, "test")
    assert worse["high"] < 0 < better["low"]
    assert same["low"] <= 0 <= same["high"]
    assert better["low"] <= better["value"] <= better["high"]


def one_fold(world: int, of_seeds: float, of_blocks: float, effect: float = 0.0) -> np.ndarray:
    """Two arms, three seeds, seven blocks of 2,000 pixels as in a published fold: (2, 3, 7, 7, 3).

    Args:
        of_seeds: spread of an arm's rate between its trainings; of_blocks: of each arm between blocks, the same in
            all its trainings. Blocks are hard or easy for both arms alike. The second arm is better by ``effect``.
    """
    random = np.random.default_rng(world)
    hard = random.normal(0, 0.1, 7)
    rates = 0.6 + hard + random.normal(0, of_seeds, (2, 3, 1)) + random.normal(0, of_blocks, (2, 1, 7))
    rates[1] += effect
    hits = random.binomial(2000, np.clip(rates, 0, 1))
    counts = np.zeros((2, 3, 7, 7, 3), np.int64)
    counts[..., 0, 0], counts[..., 0, 2] = hits, 2000 - hits
    return counts


def alarms(found: list[dict]) -> float:
    return np.mean([row["low"] > 0 or row["high"] < 0 for row in found])


NOISE = {"seeds": (0.05, 0.0), "blocks": (0.0, 0.05), "both": (0.04, 0.04), "neither": (0.0, 0.0)}


@pytest.mark.parametrize("noise", NOISE)
def test_equal_arms_of_one_fold_are_told_apart_once_in_twenty(noise):
    """2 standard errors of 400 worlds are 2 points: a rate of 5 % stays below 7 %."""
    worlds = [one_fold(world, *NOISE[noise]) for world in range(400)]
    assert alarms([delta_interval(counts, 0, SCORE, 300, "A/A")[1] for counts in worlds]) <= 0.07


def test_percentiles_of_three_seeds_raise_several_times_as_many_alarms():
    draws = [bootstrap(one_fold(world, *NOISE["seeds"]), SCORE, 300, "A/A") for world in range(200)]
    ends = [dict(zip(("low", "high"), interval(draw[1] - draw[0]), strict=True)) for draw in draws]
    assert alarms(ends) > 0.15


@pytest.mark.parametrize("noise", NOISE)
def test_an_effect_of_several_standard_errors_is_seen_in_one_fold(noise):
    of_seeds, of_blocks = NOISE[noise]
    error = np.sqrt(
        2 * (of_seeds**2 / 3 + of_blocks**2 / 7 + 0.6 * 0.4 / 2000 / 21)
    )  # of the paired difference
    worlds = [one_fold(world, of_seeds, of_blocks, 8 * error) for world in range(100)]
    seen = [delta_interval(counts, 0, SCORE, 300, "planted")[1] for counts in worlds]
    assert np.mean([row["low"] > 0 for row in seen]) > 0.9
    assert np.mean([row["value"] for row in seen]) == pytest.approx(8 * error, rel=0.1)


def test_one_block_shows_a_difference_and_no_interval():
    row = delta_interval(made_up_counts(1, [0.6, 0.8], blocks=1), 0, TWO, 100, "test")[1]
    assert row["value"] > 0
    assert (row["low"], row["high"]) == (None, None)


def test_one_seed_leaves_the_interval_of_blocks():
    row = delta_interval(made_up_counts(1, [0.6, 0.8], seeds=1), 0, TWO, 500, "test")[1]
    assert 0 < row["low"] < row["value"] < row["high"]


def test_a_score_that_is_nowhere_defined_has_no_interval():
    row = delta_interval(np.zeros((2, 3, 4, 7, 3), np.int64), 0, TWO, 50, "test")[1]
    assert np.isnan(row["value"])
    assert (row["low"], row["high"]) == (None, None)
