"""Human rating: blind and balanced trials, answers that survive, d′ of raters whose d′ is known, honest silence."""

import numpy as np
import pandas as pd
import pytest

from groundsynth.artifacts import read_table
from groundsynth.checks.human_rating import (
    Trials,
    add_answer,
    answer_row,
    apart,
    attentive,
    chip_ratings,
    correlation_rows,
    d_prime,
    join_answers,
    plan_trials,
    rating_findings,
    read_answers,
    remaining,
    sensitivity_rows,
    simulate_rater,
)
from groundsynth.errors import GroundsynthError
from groundsynth.report.rating_widget import RatingWidget, trial_picture


def chips(name: str, n: int, mapped: bool = True) -> pd.DataFrame:
    draw = np.random.default_rng(len(name))
    return pd.DataFrame(
        {"chip_id": [f"{name}{k}" for k in range(n)], "system": name,
         "image": list(draw.integers(0, 256, (n, 16, 16, 3)).astype(np.uint8)),
         "mask": list(draw.integers(0, 7, (n, 16, 16)).astype(np.uint8) if mapped
                      else np.full((n, 16, 16), 255, np.uint8))}
    )  # fmt: skip


def planned(per_question: int = 40, seed: int = 0) -> Trials:
    synthetic = pd.concat([chips("joint", 60), chips("mask", 60)], ignore_index=True)
    return plan_trials(chips("real", 120), synthetic, per_question, seed)


def answers_of(trials: Trials, *raters: list[dict]) -> pd.DataFrame:
    return join_answers(pd.DataFrame([row for rater in raters for row in rater]), trials)


# --- trials ----------------------------------------------------------------------------------


def test_trials_are_balanced_and_their_truth_is_right():
    trials = planned()
    asked = trials.table[~trials.table["attention"]]
    assert asked.groupby(["question", "truth"]).size().to_dict() == {
        ("map_fits", "no"): 20, ("map_fits", "yes"): 20,
        ("real_or_synthetic", "real"): 20, ("real_or_synthetic", "synthetic"): 20,
    }  # fmt: skip
    assert not asked.duplicated(["question", "chip_id"]).any()
    fits = asked[asked["question"] == "map_fits"]
    assert ((fits["map_chip"] == fits["chip_id"]) == (fits["truth"] == "yes")).all()
    kinds = fits["system"].eq("real"), fits["map_chip"].str.startswith("real")
    assert (kinds[0] == kinds[1]).all(), "a foreign map is of a chip of the same kind"
    single = asked.loc[asked["question"] == "real_or_synthetic", "trial"]
    assert (trials.maps[single] == 255).all()


def test_every_tenth_trial_is_a_check_and_order_tells_nothing():
    trials = planned()
    checks = trials.table.loc[trials.table["attention"], "trial"].to_numpy()
    assert checks.tolist() == list(range(9, len(trials.table), 10))
    assert 8 <= len(checks) <= 9
    truth = (trials.table["truth"] == "synthetic").to_numpy(float)
    assert abs(np.corrcoef(truth, np.arange(len(truth)))[0, 1]) < 0.4
    assert planned().plan == trials.plan != planned(seed=1).plan


def test_too_few_chips_are_told():
    with pytest.raises(GroundsynthError, match=r"100 trials per question need 50 real .* there are 30"):
        plan_trials(chips("real", 60), chips("joint", 30), 100, 0)
    with pytest.raises(GroundsynthError, match="there are 0"):
        plan_trials(chips("real", 60), chips("image", 60, mapped=False), 10, 0)


# --- answers ---------------------------------------------------------------------------------


def test_an_interrupted_rating_goes_on(tmp_path):
    trials, path = planned(8), tmp_path / "answers.csv"
    widget = RatingWidget(trials, path, "ann")
    while len(widget.waiting) > 5:
        widget.buttons.children[0].click()
    again = RatingWidget(trials, path, "ann")
    assert again.waiting == widget.waiting == trials.table["trial"].to_list()[-5:]
    assert again.bar.value == len(trials.table) - 5
    for _ in range(5):
        again.buttons.children[1].click()
    assert again.buttons.children == ()
    table = read_table(path, "ratings")
    assert len(table) == len(trials.table)
    assert remaining(trials, path, "ann") == []
    assert len(remaining(trials, path, "bob")) == len(trials.table)


def test_what_is_shown_names_nothing():
    trials = planned(8)
    widget = RatingWidget(trials, "nowhere.csv", "ann")
    texts = [widget.question.value, widget.view.children[-1].value]
    texts += [button.description for button in widget.buttons.children]
    assert not any(chip in text for text in texts for chip in trials.table["chip_id"])
    wide, narrow = (
        trial_picture(trials, trials.table.query("question == @q and not attention")["trial"].iloc[0])
        for q in ("map_fits", "real_or_synthetic")
    )
    assert wide != narrow


def test_simulated_raters_are_refused_as_people(tmp_path):
    trials, path = planned(8), tmp_path / "answers.csv"
    assert read_answers(path, trials) is None
    for row in simulate_rater(trials, "robot", 1.0)[:3]:
        add_answer(path, row)
    with pytest.raises(GroundsynthError, match="3 answers are of simulated raters"):
        read_answers(path, trials)
    with pytest.raises(GroundsynthError, match="takes none of kind 'person'"):
        add_answer(path, answer_row(trials, 5, "ann", _any(trials, 5), 1.0))


def _any(trials: Trials, trial: int) -> str:
    return "real" if trials.table.loc[trial, "question"] == "real_or_synthetic" else "yes"


def test_bad_answers_are_told(tmp_path):
    trials, path = planned(8), tmp_path / "answers.csv"
    add_answer(path, answer_row(trials, 0, "ann", _any(trials, 0), 1.0))
    for call, words in (
        (lambda: answer_row(trials, 0, "ann", "maybe", 1.0), "answer 'maybe' is none of"),
        (lambda: answer_row(trials, 0, " ", _any(trials, 0), 1.0), "a rater needs a name"),
        (
            lambda: add_answer(path, answer_row(trials, 0, "ann", _any(trials, 0), 1.0)),
            "answer each trial once",
        ),
        (lambda: remaining(planned(8, seed=3), path, "ann"), "holds answers to other trials"),
    ):
        with pytest.raises(GroundsynthError, match=words):
            call()
    assert len(read_table(path, "ratings")) == 1


def test_real_chips_are_shown_apart():
    table = chips("real", 5).assign(
        scene=["s", "s", "s", "t", "s"], row=[0, 8, 16, 0, 0], col=[0, 0, 0, 0, 15]
    )
    assert apart(table)["chip_id"].to_list() == ["real0", "real2", "real3"]


def test_without_people_there_is_no_finding():
    trials, metrics = planned(20), pd.DataFrame()
    rows, said = rating_findings("s", None, metrics)
    assert rows == []
    assert "not yet rated" in said
    bad = [row | {"kind": "person"} for row in simulate_rater(planned(200), "ann", 1.0, attention=0.0)]
    rows, said = rating_findings("s", join_answers(pd.DataFrame(bad), trials=planned(200)), metrics)
    assert (rows, said) == (
        [],
        "0 answers of 0 people; 1 more left out for missing attention checks. Nothing is left to measure.",
    )
    good = [row | {"kind": "person"} for row in simulate_rater(trials, "ann", 1.0)]
    rows, said = rating_findings("s", join_answers(pd.DataFrame(good), trials), metrics)
    assert {row["metric"] for row in rows} == {"human_d_prime", "human_accuracy"}
    assert said.startswith("40 answers of 1 people; 0 more")


# --- sensitivity -----------------------------------------------------------------------------


def test_d_prime_by_hand():
    """(16 + ½)/21 and (4 + ½)/21 are symmetric around ½: z = ±0.7916; all right of ten and ten stays finite."""
    assert d_prime(16, 20, 4, 20) == pytest.approx(2 * 0.79164, abs=1e-4)
    assert d_prime(5, 10, 5, 10) == 0
    assert d_prime(10, 10, 0, 10) == pytest.approx(2 * 1.69062, abs=1e-4)


@pytest.mark.parametrize("true", [0.0, 1.0, 2.0])
def test_the_d_prime_of_simulated_raters_is_recovered(true):
    real, synthetic = chips("real", 400), chips("joint", 400)
    trials = plan_trials(real, synthetic, 800, 1)
    raters = [simulate_rater(trials, f"r{k}", true, criterion=0.3) for k in range(2)]
    rows = {(r["metric"], r["arm"], r["system"]): r for r in sensitivity_rows("s", answers_of(trials, *raters).query("~attention"))}  # fmt: skip
    for question in ("real_or_synthetic", "map_fits"):
        found = rows["human_d_prime", question, ""]
        assert found["value"] == pytest.approx(true, abs=0.2)
        assert found["low"] <= true + 0.05
        assert found["high"] >= true - 0.05
        assert found["high"] - found["low"] < 0.6
        assert (found["n"], found["seeds"]) == (1600, 2)


def test_raters_who_do_not_look_are_left_out():
    trials = planned(100)
    people = [simulate_rater(trials, "ann", 2.0), simulate_rater(trials, "bob", 2.0, attention=0.3)]
    kept, shares = attentive(answers_of(trials, *people))
    assert set(kept["rater"]) == {"ann"}
    assert not kept["attention"].any()
    assert shares["ann"] == 1 > 0.8 > shares["bob"]


def test_a_metric_that_agrees_with_people_correlates():
    trials = planned(100)
    answers = answer_by_chip(trials)
    metrics = pd.DataFrame({"number": {f"joint{k}": k for k in range(60)}, "constant": 1.0})
    rows = {
        r["regime"]: r for r in correlation_rows("s", answers, metrics) if r["arm"] == "real_or_synthetic"
    }
    assert set(rows) == {"metric=number"}
    assert rows["metric=number"]["value"] > 0.8
    assert rows["metric=number"]["low"] > 0.5


def answer_by_chip(trials: Trials) -> pd.DataFrame:
    """Raters who take synthetic chips of a high number for real, each with a limit of their own."""
    rows = []
    for limit in range(2, 60, 8):
        for row in trials.table.itertuples():
            number = int("".join(c for c in row.chip_id if c.isdigit()) or 0)
            fine = number > limit
            answer = (
                ("real" if fine else "synthetic")
                if row.question == "real_or_synthetic"
                else ("yes" if fine else "no")
            )
            rows.append(answer_row(trials, row.trial, f"r{limit}", answer, 1.0))
    return join_answers(pd.DataFrame(rows), trials)


def test_ratings_of_chips_by_hand():
    table = pd.DataFrame(
        {"question": ["real_or_synthetic"] * 3 + ["map_fits"] * 2, "system": ["joint", "joint", "real", "joint", "joint"],
         "chip_id": ["a", "a", "r", "a", "a"], "truth": ["synthetic"] * 2 + ["real", "yes", "no"],
         "answer": ["real", "synthetic", "real", "yes", "yes"]}
    )  # fmt: skip
    assert chip_ratings(table, "real_or_synthetic").to_dict() == {"a": 0.5}
    assert chip_ratings(table, "map_fits").to_dict() == {"a": 1.0}
