"""Every opening of a test split is logged once, and what was tried without opening it can be, too."""

import pandas as pd
import pytest
from test_cross_validation import counts_table
from test_pooling import project  # noqa: F401  (a fixture)

from groundsynth import __main__ as command
from groundsynth.artifacts import write_table
from groundsynth.config import load_study
from groundsynth.errors import GroundsynthError
from groundsynth.report import attempts, tables
from groundsynth.report.provenance import find_config

VAL = {"real": 0.5, "real+mask": 0.55, "real+joint": 0.6, "real+cutmix": 0.8, "synthetic:mask": 0.85}


def study_on_validation(root, test: bool = False):
    """Leave counts of two folds on validation, and on test where asked."""
    for fold, blocks in enumerate(([0, 1], [2, 3])):
        parts = [counts_table(VAL, fold, blocks, split="val", jitter=0.1)]
        parts += [counts_table(VAL, fold, blocks)] if test else []
        counts = pd.concat(parts).drop(columns="fold")
        write_table(counts, root / tables.BENCHMARK / f"fold{fold}" / "counts.csv", "counts")
    return load_study(find_config("two"))


def test_the_best_mixed_arm_is_named_by_validation_alone(project):  # noqa: F811
    study_on_validation(project)
    found = attempts.best_on_validation(load_study(find_config("two")))
    assert (found["arms"], found["best_arm"]) == (5, "real+joint")  # not a control, not synthetic alone
    assert found["val_delta"] == pytest.approx(0.1)
    assert found["val_low"] < 0.1 < found["val_high"]  # blocks differ by ±0.1


def test_more_steps_are_no_gain_of_synthetic_chips(project, monkeypatch):  # noqa: F811
    monkeypatch.setitem(VAL, "real@4", 0.75)
    monkeypatch.setitem(VAL, "real+mask@3*", 0.8)
    study = study_on_validation(project)
    found = attempts.best_on_validation(study)
    assert found["best_arm"] == "real+joint"
    for arm in ("real+joint", "real+mask"):
        monkeypatch.delitem(VAL, arm)
    found = attempts.best_on_validation(study_on_validation(project))
    assert found["best_arm"] == "real+mask@3*"
    assert found["val_delta"] == pytest.approx(0.05)


def test_an_attempt_is_logged_once_and_another_setting_again(project):  # noqa: F811
    study = study_on_validation(project)
    assert attempts.log_attempt(study, "publish", True)
    assert not attempts.log_attempt(study, "publish", True)
    other = study.model_copy(update={"device": "cpu"})
    assert attempts.log_attempt(other, "publish", True)
    assert attempts.log_attempt(study, "compare-labellers", True, arms=3, best_arm="FPN", val_delta=None)
    table = attempts.read_attempts()
    assert table["what"].tolist() == ["publish", "publish", "compare-labellers"]
    assert table["folds"].tolist() == ["0;1"] * 3
    assert table["config_hash"].nunique() == 2


def test_a_command_that_trains_no_arm_is_logged_as_well(project):  # noqa: F811
    study = study_on_validation(project)
    assert attempts.log_opening(study, "certify-folds", "limits from validation")
    assert not attempts.log_opening(study, "certify-folds", "limits from validation")
    assert attempts.log_opening(study, "aa-test folds12", "nothing chosen", folds=(1, 2))
    assert attempts.read_attempts()["folds"].tolist() == ["0;1", "1;2"]
    row = attempts.read_attempts().iloc[0]
    assert (row["what"], row["arms"], row["test_opened"]) == ("certify-folds", 0, "yes")


def test_a_study_on_validation_is_logged_with_its_note(project, capsys):  # noqa: F811
    study_on_validation(project)
    words = ["log-attempt", str(find_config("two")), "--note", "a wider generator"]
    assert command.main(words) == 0
    row = attempts.read_attempts().iloc[0]
    assert (row["test_opened"], row["note"], row["best_arm"]) == ("no", "a wider generator", "real+joint")
    assert command.main(words) == 0
    assert "logged already" in capsys.readouterr().out


def test_a_study_that_counted_test_chips_is_no_trial_on_validation(project):  # noqa: F811
    study = study_on_validation(project, test=True)
    with pytest.raises(GroundsynthError, match="its test split is open; publish it"):
        attempts.log_validation(study, "x")
    assert not attempts.attempts_path().is_file()


def test_a_broken_log_says_how_to_get_it_back(project):  # noqa: F811
    path = attempts.attempts_path()
    path.write_text("study,config_hash\ntwo,zz\n")
    with pytest.raises(GroundsynthError, match=r"git checkout results/attempts\.csv"):
        attempts.read_attempts()


@pytest.mark.parametrize(
    ("name", "function"),
    [("compare-contrastive", "contrastive_study.compare_contrastive"), ("clean-captions", "cleaning_study.clean_captions")],
)  # fmt: skip
def test_commands_that_judge_on_test_blocks_say_so(name, function, project, monkeypatch):  # noqa: F811
    study_on_validation(project)
    columns = ["arm", "regime", "metric", "value", "low", "high", "n"]
    found = pd.DataFrame([dict.fromkeys(columns, "measured")])
    monkeypatch.setattr(f"groundsynth.workflow.{function}", lambda *_: found)
    assert command.main([name, str(find_config("two"))]) == 0
    assert attempts.read_attempts()[["study", "what", "test_opened"]].values.tolist() == [
        ["two", name, "yes"]
    ]
