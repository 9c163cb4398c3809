"""The A/A test on made-up runs whose false alarms are known, and one tiny real run."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import yaml
from test_labeller_comparison import project  # noqa: F401  (a fixture)

from groundsynth import __main__ as command
from groundsynth.artifacts import read_table
from groundsynth.benchmark import false_alarms as aa
from groundsynth.benchmark.metrics import mean_iou
from groundsynth.config import load_study
from groundsynth.errors import GroundsynthError
from groundsynth.paths import project_root
from groundsynth.report.aa_figures import aa_caption, aa_findings
from groundsynth.report.attempts import read_attempts
from groundsynth.workflow import aa_study

SCORE = partial(mean_iou, classes=[0])


def identical(
    seed: int, runs: int = 24, blocks: int = 12, spread: float = 0.03, rate: float = 0.6
) -> np.ndarray:
    """Runs whose rate of right pixels varies by run and block: (runs, blocks, 7, 3)."""
    random = np.random.default_rng(seed)
    hits = random.binomial(1000, np.clip(rate + random.normal(0, spread, (runs, 1)), 0, 1), (runs, blocks))
    counts = np.zeros((runs, blocks, 7, 3), np.int64)
    counts[:, :, 0, 0], counts[:, :, 0, 2] = hits, 1000 - hits
    return counts


def rates(kind: str, size: int, number: int = 200) -> float:
    """False alarms over several made-up studies, so that the rate is known well."""
    tables = [aa.pseudo_comparisons(identical(seed), SCORE, size, number, 200, kind) for seed in range(6)]
    return float(np.mean([table["false_alarm"].mean() for table in tables]))


def test_students_interval_keeps_five_per_cent():
    assert rates("t", 3) == pytest.approx(0.05, abs=0.03)
    assert rates("t", 6) == pytest.approx(0.05, abs=0.03)


def test_the_interval_of_published_differences_keeps_five_per_cent():
    assert rates("study", 3, 100) == pytest.approx(0.045, abs=0.035)
    assert rates("study", 6, 100) == pytest.approx(0.045, abs=0.035)


def test_three_resampled_seeds_give_more_false_alarms_than_six():
    """Resampling k seeds shrinks their spread by (k - 1) / k: at three the 95 % become about 80 %."""
    three, six = rates("percentile", 3, 100), rates("percentile", 6, 100)
    assert three > 0.1
    assert 0.05 < six < three


def test_runs_that_are_equal_raise_no_alarm():
    same = np.repeat(identical(0, runs=1), 24, axis=0)
    table = aa.pseudo_comparisons(same, SCORE, 3, 200, 100, "study")
    assert not table["false_alarm"].any()
    found = aa.alarm_rate(table, 24)
    assert found["value"] == found["low"] == 0
    assert 0 < found["high"] < 0.03  # nothing of 200 is not never


def test_groups_are_of_different_runs_and_no_division_repeats():
    pairs = list(aa.divisions(12, 3, 300))
    keys = {frozenset((frozenset(a.tolist()), frozenset(b.tolist()))) for a, b in pairs}
    assert len(keys) == 300
    assert all(len({*a.tolist(), *b.tolist()}) == 6 for a, b in pairs)
    with pytest.raises(GroundsynthError, match="6 runs make 10 different comparisons of 3 against 3"):
        list(aa.divisions(6, 3, 11))


def test_the_interval_of_a_rate_knows_that_comparisons_share_runs():
    """One bad run raises every alarm: 24 runs tell far less than 400 comparisons would."""
    table = pd.DataFrame([{"runs": (*a.tolist(), *b.tolist())} for a, b in aa.divisions(24, 3, 400)])
    table["false_alarm"] = [0 in runs for runs in table["runs"]]
    found = aa.alarm_rate(table, 24)
    assert found["value"] == pytest.approx(0.25, abs=0.06)
    assert found["low"] < 0.12  # Wilson's over 400 comparisons would begin at 0.2
    assert found["high"] > 0.35


def test_a_planted_effect_is_found_and_its_absence_is_not():
    full, half = identical(1, rate=0.7, spread=0.01), identical(2, rate=0.6, spread=0.01)
    assert aa.planted_comparisons(full, half, SCORE, 6, 100, 200, "t")["shown"].all()
    nothing = aa.planted_comparisons(full, identical(3, rate=0.7, spread=0.01), SCORE, 6, 200, 200, "t")
    assert nothing["shown"].mean() < 0.15


def test_a_rate_whose_comparisons_need_every_run_has_no_interval():
    table = aa.pseudo_comparisons(identical(0, runs=12), SCORE, 6, 200, 100, "t")
    found = aa.alarm_rate(table, 12)
    assert found["low"] is found["high"] is None


def counts_of(full: np.ndarray, half: np.ndarray) -> pd.DataFrame:
    rows = []
    for arm, runs in (("real", full), ("real:half", half)):
        for seed, block, k in np.ndindex(runs.shape[:3]):
            rows.append((arm, seed, "test", f"c{block}", block, k, *runs[seed, block, k]))
    return pd.DataFrame(rows, columns=["arm", "seed", "split", "chip_id", "block", "class", "tp", "fp", "fn"])


def test_rows_of_both_tests():
    counts = counts_of(identical(1, rate=0.7), identical(2, runs=8, rate=0.6))
    rows, behind = aa.aa_rows("s", counts, "real", [0], (3, 6), 200, 200)
    table = pd.DataFrame(rows).set_index(["metric", "regime"])
    assert len(behind["interval=study;group=3"]) == 200
    assert table.loc[("planted_difference", "against=real:half;interval=t"), "value"] == pytest.approx(
        0.1, abs=0.04
    )
    assert table.loc[("planted_difference", "against=real:half;interval=t"), "seeds"] == 8
    assert table.loc[("planted_detection_rate", "interval=t;group=6"), "value"] > 0.9
    assert "5 % false alarms" in aa_findings(pd.DataFrame(rows))
    assert "All labels are told from half of them: +" in aa_findings(pd.DataFrame(rows))


def test_of_equal_arms_half_the_labels_are_not_told_from_all():
    counts = counts_of(identical(1), identical(2, runs=8)).replace(
        {"real:half": "real@4:half", "real": "real@4"}
    )
    rows, _ = aa.aa_rows("s", counts, "real@4", [0], (3,), 200, 200)
    table = pd.DataFrame(rows)
    assert set(table["arm"]) == {"real@4", "real@4:half"}
    assert "against=real@4:half;interval=study" in set(table["regime"])
    assert "All labels are not told from half of them" in aa_findings(table)


def test_another_part_than_half_is_named(tmp_path):
    counts = counts_of(identical(1, rate=0.7), identical(2, runs=8, rate=0.6)).replace(
        {"real:half": "real:10%"}
    )
    rows, _ = aa.aa_rows("s", counts, "real", [0], (3,), 200, 200, 0.1)
    assert "against=real:10%;interval=t" in {row["regime"] for row in rows}
    assert "told from 10 % of them" in aa_findings(pd.DataFrame(rows))
    assert "how often 10 % of the labelled blocks" in aa_caption(pd.DataFrame(rows))
    chips = pd.DataFrame({"block": np.repeat(range(30), 2)})
    taken = [aa_study.part_of_blocks(chips, 0, seed, 0.1)["block"].nunique() for seed in range(3)]
    assert taken == [3, 3, 3]
    assert len(aa_study.part_of_blocks(chips, 0, 0, 0.01)) == 2  # one block at least


def test_the_test_blocks_of_all_folds_count(tmp_path, monkeypatch):
    def train_all(study, fold, plan, device, progress):
        counts = counts_of(
            identical(fold, 12, blocks=5, rate=0.7), identical(9 + fold, 6, blocks=5, rate=0.6)
        )
        blocks = counts["block"] + 5 * fold
        return counts.assign(block=blocks, chip_id=blocks.map("c{}".format))

    monkeypatch.setattr(aa_study, "train_all", train_all)
    monkeypatch.setattr(aa_study, "shared_classes", lambda root, folds: [0])
    study = load_study(project_root() / "config" / "smoke.yaml")
    plan = aa_study.Plan(folds=(0, 1, 2), seeds=12, half=6, comparisons=200)
    metrics = aa_study.run_aa_test(study, plan, tmp_path)
    planted = metrics[metrics["metric"] == "planted_difference"]
    assert set(planted["n"]) == {15}
    assert (planted["low"] > 0).all()
    assert "12 seeds in each of 3 folds" in (tmp_path / "aa_test.txt").read_text()


@pytest.mark.parametrize(
    ("plan", "words"),
    [({"part": 1.0}, "1 of the labelled blocks is no part"), ({"arm": "synthetic:all"}, "take real"), ({"seeds": 3}, "3 identical")],
)  # fmt: skip
def test_a_plan_that_cannot_be_followed_is_told(plan, words):
    with pytest.raises(GroundsynthError, match=words):
        aa_study.Plan(**plan).check()


@pytest.mark.parametrize("arm", ["synthetic:all", "real+self_training", "mix:all@25"])
def test_an_arm_with_other_chips_is_refused(arm):
    with pytest.raises(GroundsynthError, match=r"holds chips that are not real and labelled.*take real"):
        aa_study.real_arm(arm)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ((11, 6, 200), "11 identical runs"),
        ((12, 5, 200), "5 runs with fewer labels"),
        ((12, 6, 199), "199 comparisons"),
    ],
)
def test_too_little_says_little(plan, words):
    with pytest.raises(GroundsynthError, match=words):
        aa.check_plan(*plan)


def test_the_command_trains_compares_and_goes_on_where_it_stopped(project, monkeypatch, capsys):  # noqa: F811
    root, _ = project
    path = root / "config" / "smoke.yaml"
    values = yaml.safe_load(path.read_text())
    values["benchmark"] |= {
        "encoder": "tu-mobilenetv3_small_100",
        "steps": 2,
        "batch_size": 2,
        "validate_every": 1,
    }
    path.write_text(yaml.safe_dump(values))
    words = [
        "aa-test",
        str(root / "config" / "smoke.yaml"),
        "--seeds",
        "12",
        "--half",
        "6",
        "--comparisons",
        "200",
    ]
    assert command.main(words) == 0
    folder = root / "results" / "smoke" / "aa_test"
    metrics = read_table(folder / "metrics.csv", "metrics")
    assert set(metrics["metric"]) == {"false_positive_rate", "planted_detection_rate", "planted_difference"}
    assert (folder / "aa_test.png").stat().st_size > 1000
    assert read_attempts()["what"].tolist() == ["aa-test"]
    assert len(list((root / "results" / "smoke" / "checkpoints" / "aa_test").glob("*.npz"))) == 18
    monkeypatch.setattr("groundsynth.benchmark.segmentation.run_arm", lambda *_: pytest.fail("trained again"))
    assert command.main(words) == 0
    assert aa_study.benchmark_training(load_study(path)).steps == 2
