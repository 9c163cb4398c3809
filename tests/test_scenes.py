"""The table of all scenes: which studies stand in it, which arms, and what is bold."""

import pytest
from test_goals import POOLED, row, study

from groundsynth.artifacts import write_json, write_metrics
from groundsynth.report.scenes import scene_studies, scene_table, scene_words


@pytest.fixture
def publish(tmp_path):
    def _publish(name, *more, replicates=(), **about):
        rows = [*study(**about).to_dict("records"), *more]
        write_metrics(rows, tmp_path / name / "metrics.csv")
        config = {"report": {"replicates": list(replicates)}}
        told = {"config": config, "data": {"title": f"scene {name}"}}
        write_json(tmp_path / name / "manifest.json", told)
        return tmp_path

    return _publish


def test_studies_that_may_carry_verdicts_stand_side_by_side(publish):
    publish("hills", replicates=["part"])
    publish("part")
    publish("fold", regime="")
    publish("once", regime="folds=4;generators=1")
    publish("half", regime="folds=2;of_folds=4;generators=2")
    publish("few", regime="labels=10%;folds=4;generators=2")
    folder = publish("plain", row("delta_miou", -0.02, "real+cutmix", -0.03, -0.01))
    table = scene_table(scene_studies(folder)[100])
    assert list(table) == ["trained on", "`hills` (n = 40)", "`plain` (n = 40)"]
    assert table["trained on"].tolist() == ["real+mask", "synthetic:mask", "real+cutmix"], (
        "named beforehand first"
    )
    assert table.iloc[:, 1].tolist() == ["**+2.0 [+1.0, +3.0]**", "−0.5 [−1.5, +0.5]", "–"]
    assert table.iloc[2, 2] == "**−2.0 [−3.0, −1.0]**"


def test_a_gain_that_correction_takes_back_is_not_bold(publish):
    table = scene_table(scene_studies(publish("hills", corrected=0.11))[100])
    assert table.iloc[0, 1] == "+2.0 [+1.0, +3.0]"


def test_more_steps_are_held_against_as_many(publish):
    steps = (
        row("delta_miou", 0.03, "real+mask@3*", 0.02, 0.04),
        row("delta_miou", -0.01, "real+mask@3*", -0.02, 0.01, f"against=real@4;{POOLED}"),
        row("delta_miou_p", 0.2, "real+mask@3*", regime=f"against=real@4;{POOLED}"),
    )
    table = scene_table(scene_studies(publish("hills", *steps))[100]).set_index("trained on")
    assert table.loc["real+mask@3*"].item() == "−1.0 [−2.0, +1.0] (real@4)"


def test_words_stand_only_above_a_table(publish):
    assert scene_words(publish("fold", regime="")) == ""
    words = scene_words(publish("hills"))
    assert words.startswith("**The same arms on every scene**")
    assert "| real+mask | **+2.0 [+1.0, +3.0]** |" in words
    assert words.endswith("Scenes: `hills`: scene hills.")


def test_studies_of_a_part_of_the_labels_have_a_table_of_their_own(publish):
    publish("hills")
    folder = publish("tenth", regime="labels=10%;folds=5;generators=1", gain=0.03)
    assert [[root.name for root in held] for held in scene_studies(folder).values()] == [
        ["hills"],
        ["tenth"],
    ]
    first, second = scene_words(folder).split("**The same arms on every scene")[1:]
    assert "tenth" not in first
    assert first.startswith("**, over")
    assert second.startswith(" with 10 % of the labels**, over")
    assert "n: draws of the labelled blocks" in second
    assert "| real+mask | **+3.0 [+1.0, +4.0]** |" in second
