"""The goals that were set beforehand, and when an arm meets them."""

import pandas as pd
import pytest

from groundsynth.artifacts import METRIC_COLUMNS, metric_row, write_json, write_metrics
from groundsynth.report import goals, tables

POOLED = "folds=4;generators=2"


def row(metric, value, arm, low=None, high=None, regime=POOLED):
    return metric_row("s", tables.BENCHMARK, metric, value, arm=arm, system="mask", regime=regime, low=low, high=high,
                      n=40, seeds=3)  # fmt: skip


def study(gain=0.02, low=0.01, corrected=0.01, control=0.005, alone=-0.015, regime=POOLED) -> pd.DataFrame:
    """Arm ``real+mask`` gains this much over ``real``; ``control`` and ``alone`` are lower ends of intervals."""
    rows = [row("miou", 0.4, arm, regime=regime) for arm in ("real", "real+mask", "synthetic:mask")]
    rows += [
        row("delta_miou", gain, "real+mask", low, gain + 0.01, regime),
        row("delta_miou_p", 0.002, "real+mask", regime=regime),
        row("delta_miou_p_holm", corrected, "real+mask", regime=regime),
        row("delta_miou", alone + 0.01, "synthetic:mask", alone, alone + 0.02, regime),
        row("delta_miou", 0.03, "real+joint", 0.02, 0.04, regime),  # was not named beforehand
        row("delta_miou", 0.02, "real+mask", 0.01, 0.03, f"against=real+joint;{regime}"),  # is no control
    ]
    for against, end in (("real+cutmix", 0.005), ("real+self_training", control)):
        rows.append(row("delta_miou", 0.01, "real+mask", end, 0.02, f"against={against};{regime}"))
    return pd.DataFrame(rows, columns=list(METRIC_COLUMNS))


def met(**about) -> list[str]:
    return goals.goal_table(study(**about))["met"].tolist()


def test_a_goal_is_met_with_all_it_asks_for():
    table = goals.goal_table(study())
    assert table["arm"].tolist() == ["real+mask", "synthetic:mask"]
    assert table["goal, pp"].tolist() == ["+1", "above −2"]
    assert table.loc[0, "difference, pp"] == "+2.0 [+1.0, +3.0] (real)"
    assert table.loc[0, "difference to controls, pp"] == (
        "+1.0 [+0.5, +2.0] (real+cutmix); +1.0 [+0.5, +2.0] (real+self_training)"
    )
    assert table["met"].tolist() == ["yes", "yes"]


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"gain": 0.009}, "no, too small"),
        ({"low": -0.001}, "no, the interval holds 0"),
        ({"corrected": 0.11}, "no, corrected p = 0.11"),
        ({"control": -0.001}, "no, not above real+self_training"),
        ({"regime": "folds=4;generators=1"}, "no verdict"),
        ({"regime": "folds=1;generators=2"}, "no verdict"),
        ({"regime": "folds=2;of_folds=4;generators=2"}, "no verdict"),
        ({"regime": "labels=10%;folds=4;generators=2"}, "no, too small"),
        ({"regime": "labels=10%;folds=4;generators=2", "gain": 0.03}, "yes"),
        ({"regime": "labels=10%;folds=5;generators=1", "gain": 0.03}, "yes"),  # each draw has a generator
        ({"regime": "labels=10%;folds=4;of_folds=5;generators=1", "gain": 0.03}, "no verdict"),
    ],
)
def test_what_is_missing_is_said(about, words):
    assert met(**about)[0] == words


def test_synthetic_chips_alone_may_be_two_points_behind():
    assert [met(alone=low)[1] for low in (-0.019, -0.021, -0.05)] == ["yes", "not shown", "no"]


def test_one_fold_and_other_shares_of_labels_have_no_goal():
    assert goals.goal_table(study(regime="")).empty
    assert goals.goal_table(study(regime="labels=25%;folds=4;generators=2")).empty


def test_every_study_is_counted_once_and_parts_with_the_whole(tmp_path):
    for name, replicates in (("whole", ["part"]), ("part", []), ("single", [])):
        regime = "" if name == "single" else POOLED
        write_metrics(study(regime=regime).to_dict("records"), tmp_path / name / "metrics.csv")
        write_json(tmp_path / name / "manifest.json", {"config": {"report": {"replicates": replicates}}})
    found = goals.write_goals(tmp_path)
    assert found["study"].unique().tolist() == ["whole"]
    words = goals.goal_words(found)
    assert "By 1 of 1 arm with generated chips beside real ones and 1 of 1 arm with" in words
    assert "in one study of several folds" in words
    assert "| whole | real+mask | +1 |" in (tmp_path / goals.FILE).read_text()
    assert goals.goal_words(goals.published_goals(tmp_path / "single")) == ""
    without = found.assign(study="half", met=goals.OPEN)
    assert goals.goal_words(pd.concat([found, without])) == words
    assert goals.goal_words(without) == ""
