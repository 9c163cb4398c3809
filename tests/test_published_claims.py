"""Published claims against made-up tables of numbers whose answers are known."""

import numpy as np
import pandas as pd
import pytest
import yaml

from groundsynth.artifacts import (
    METRIC_COLUMNS,
    metric_row,
    read_json,
    read_table,
    write_json,
    write_metrics,
    write_table,
)
from groundsynth.config import load_study
from groundsynth.errors import GroundsynthError
from groundsynth.paths import project_root
from groundsynth.report import claims, published_claims
from groundsynth.report.claim_list import Claim, Rule, read_claims

STAGE = "07_benchmark_segmentation"
GAIN = {
    "id": "gain", "system": 2, "source": "A paper", "claim": "it helps", "published": 1.5, "unit": "pp",
    "test": {"statistic": "value", "rows": {"stage": STAGE, "metric": "delta_miou", "arm": "real+joint"}},
    "rule": {"above": 0},
}  # fmt: skip


def claim(**changes) -> Claim:
    return Claim.model_validate(GAIN | changes)


def table(*rows: dict) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(METRIC_COLUMNS))
    return frame.astype({"value": float, "low": float, "high": float})


def row(metric="delta_miou", value=0.01, low=None, high=None, arm="real+joint", regime="", **more) -> dict:
    about = {"system": "joint", "seeds": 3, "n": 7} | more
    return metric_row("s", STAGE, metric, value, low=low, high=high, arm=arm, regime=regime, **about)


def study(*rows: dict, name="s", scene="a scene", steps=100) -> claims.PublishedStudy:
    return claims.PublishedStudy(name, scene, steps, table(*rows))


POOLED = "folds=6;generators=2"


@pytest.mark.parametrize(
    ("rule", "low", "high", "verdict"),
    [
        ({"above": 0}, 0.1, 2, "reproduced"),
        ({"above": 0}, -2, -0.1, "reversed"),
        ({"above": 0}, -0.1, 2, "not shown"),
        ({"above": 0}, 0, 0, "not shown"),
        ({"below": -5}, -9, -6, "reproduced"),
        ({"below": -5}, -4, -3, "reversed"),
        ({"below": -5}, -6, -4, "not shown"),
        ({"within": [2, 4]}, 2, 3, "reproduced"),
        ({"within": [2, 4]}, 5, 6, "reversed"),
        ({"within": [2, 4]}, 1, 3, "not shown"),
    ],
)
def test_a_verdict_asks_where_the_whole_interval_lies(rule, low, high, verdict):
    assert Rule.model_validate(rule).judge(low, high) == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.002, 0.018, "reproduced"), (-0.02, -0.001, "reversed"), (-0.01, 0.03, "not shown")],
)
def test_several_folds_and_generators_carry_a_verdict(low, high, verdict):
    found = claims.claims_table(
        [claim()], [study(row(value=(low + high) / 2, low=low, high=high, regime=POOLED))]
    )
    assert found["verdict"].tolist() == [verdict]
    assert found.loc[0, "ours"] == pytest.approx(50 * (low + high))  # in percentage points
    assert "6 folds, 2 generators" in found.loc[0, "note"]


@pytest.mark.parametrize(
    ("regime", "words"),
    [
        ("", "one fold: effect +1.0 [+0.2, +1.8] pp, no verdict"),
        ("folds=1;generators=2", "one fold: effect"),
        ("folds=6;generators=1", "one generator: effect +1.0 [+0.2, +1.8] pp over 6 folds, no verdict"),
    ],
)
def test_one_fold_or_one_generator_gives_no_verdict(regime, words):
    found = claims.claims_table([claim()], [study(row(low=0.002, high=0.018, regime=regime))])
    assert found["verdict"].tolist() == ["not shown"]
    assert words in found.loc[0, "note"]


@pytest.mark.parametrize(("all_folds", "verdict"), [(6, "reproduced"), (12, "not shown")])
def test_folds_that_leave_blocks_untested_give_no_verdict(all_folds, verdict):
    part = study(row(low=0.002, high=0.018, regime=POOLED))._replace(of_folds=all_folds)
    found = claims.claims_table([claim()], [part])
    assert found["verdict"].tolist() == [verdict]
    assert ("6 of 12 folds" in found.loc[0, "note"]) == (verdict == "not shown")
    assert ("not corrected for the number of arms" in found.loc[0, "note"]) == (verdict == "reproduced")


def test_a_fold_that_lacks_a_generator_counts_as_it_is():
    """Seed 1 was run on two of four folds alone: two generators are not on every fold."""
    cells = [(f, f"unified-s{seed}") for seed in (0, 1) for f in range(4) if f < 2 or not seed]
    rows = [
        metric_row("s", "03_generate", "invalid_code_rate", 0.1 * f, system="joint", regime=f"fold={f};{g}")
        for f, g in cells
    ]
    evidence = claims.gather_evidence(claim(**CODES), table(*rows))
    assert (evidence.folds, evidence.generators) == (4, 1)


def test_what_no_synthetic_chip_has_a_part_in_asks_for_folds_alone():
    found = claims.claims_table(
        [claim(generated=False)], [study(row(low=0.002, high=0.018, regime="folds=6;generators=1"))]
    )
    assert found["verdict"].tolist() == ["reproduced"]


def test_two_training_seeds_give_no_verdict():
    found = claims.claims_table([claim()], [study(row(low=0.002, high=0.018, regime=POOLED, seeds=2))])
    assert found["verdict"].tolist() == ["not shown"]
    assert "2 training seeds of 3" in found.loc[0, "note"]


def test_a_comparison_that_does_not_survive_correction_is_not_shown():
    effect = row(low=0.002, high=0.018, regime=POOLED)
    for p, verdict in ((0.06, "not shown"), (0.01, "reproduced")):
        corrected = row("delta_miou_p_holm", p, regime=POOLED)
        found = claims.claims_table([claim()], [study(effect, corrected)])
        assert found["verdict"].tolist() == [verdict]


def test_a_missing_arm_says_what_is_missing():
    found = claims.claims_table([claim()], [study(row(arm="real+mask", low=0.1, high=0.2, regime=POOLED))])
    assert found[["verdict", "scenes"]].values.tolist() == [["not shown", ""]]
    assert "no published study has measured delta_miou (real+joint) yet" in found.loc[0, "note"]
    assert found[["ours", "low", "high"]].isna().all(axis=None)


def test_other_regimes_and_classes_are_other_numbers():
    rows = [
        row(value=0.5, regime="labels=10%"),
        row(value=0.6, class_="water"),
        row(value=0.01, low=0.0, high=0.02),
    ]
    assert claims.measure(table(*rows), claim().test.rows).value == 0.01


def test_fold_by_fold_rows_get_students_interval_with_generators_averaged_first():
    cells = {
        ("0", "a"): 0.01,
        ("0", "b"): 0.03,
        ("1", "a"): 0.05,
        ("1", "b"): 0.05,
        ("2", "a"): 0.0,
        ("2", "b"): 0.02,
    }
    rows = [row(value=value, regime=f"fold={f};generator={g}-s0") for (f, g), value in cells.items()]
    found = claims.measure(table(*rows), claim().test.rows)
    by_fold = np.array([0.02, 0.05, 0.01])
    half = 4.30265 * by_fold.std(ddof=1) / np.sqrt(3)  # t of 2 degrees of freedom, 97.5 %
    assert (found.folds, found.generators) == (3, 2)
    assert [found.value, found.low, found.high] == pytest.approx(
        [0.08 / 3, 0.08 / 3 - half, 0.08 / 3 + half], abs=1e-6
    )


def test_an_interval_over_folds_ends_where_its_measure_does():
    rows = [row("coverage", value, arm="", regime=f"fold={f}") for f, value in enumerate((0.2, 0.9))]
    asked = claim().test.rows.model_copy(update={"metric": "coverage", "arm": ""})
    found = claims.measure(table(*rows), asked)
    assert (found.value, found.low, found.high) == (pytest.approx(0.55), 0, 1), "Student's leaves 0 to 1"
    skills = [row("share_skill", value, arm="", regime=f"fold={f}") for f, value in enumerate((0.2, 0.9))]
    found = claims.measure(table(*skills), asked.model_copy(update={"metric": "share_skill"}))
    assert found.high == 1
    assert found.low == pytest.approx(0.55 - 12.7062 * 0.35), "a skill may be as low as it likes"


def test_a_paired_difference_is_preferred_to_one_made_of_two_intervals():
    test = claim(
        test={
            "statistic": "difference",
            "rows": {"stage": STAGE, "metric": "miou", "arm": "real+all"},
            "against": {"arm": "real+image"},
        }
    ).test
    apart = [row("miou", 0.5, 0.4, 0.6, "real+all"), row("miou", 0.4, 0.3, 0.5, "real+image")]
    found = claims.compare(table(*apart), test)
    assert [found.value, found.low, found.high] == pytest.approx(
        [0.1, 0.1 - np.sqrt(0.02), 0.1 + np.sqrt(0.02)]
    )
    paired = row("delta_miou", 0.1, 0.08, 0.12, "real+all", regime="against=real+image")
    assert claims.compare(table(*apart, paired), test).low == 0.08
    assert claims.compare(table(apart[0]), test) is None


def test_what_commands_measure_names_its_fold_as_a_run():
    rows = [
        row("detector_auc", value, arm="joint", regime=f"detector=network;command=detect{run}")
        for value, run in ((0.9, ""), (0.8, ";run=fold1"), (0.7, ";run=wide"))
    ]
    wanted = {"metric": "detector_auc", "arm": "joint", "regime": "detector=network;command=detect"}
    found = claims.measure(table(*rows), claims.Rows(**wanted))
    assert (found.folds, found.value) == (2, pytest.approx(0.85))
    rows = [row("kid_change", v, regime=f"command=compare-cleaned;run={run}") for v, run in
            ((-0.3, "0.25"), (-0.1, "0.25-fold1"), (9, "0.50"), (9, "0.25-fine_tuned"))]  # fmt: skip
    found = claims.measure(
        table(*rows), claims.Rows(metric="kid_change", regime="command=compare-cleaned;run=0.25")
    )
    assert (found.folds, found.value) == (2, pytest.approx(-0.2))


def test_differences_are_taken_fold_by_fold_where_there_are_folds():
    test = claim(
        test={
            "statistic": "difference",
            "rows": {"metric": "kid", "system": "joint"},
            "against": {"system": "joint_gan"},
        }
    ).test
    rows = [row("kid", level + 1, system="joint", regime=f"fold={f}") for f, level in enumerate((5, 50, 500))]
    rows += [
        row("kid", level, system="joint_gan", regime=f"fold={f}") for f, level in enumerate((5, 50, 500))
    ]
    found = claims.compare(table(*rows), test)
    assert [found.value, found.low, found.high] == pytest.approx(
        [1, 1, 1]
    )  # levels differ, differences do not


def test_a_ratio_is_a_relative_change():
    test = claim(
        test={
            "statistic": "ratio",
            "rows": {"metric": "kid", "arm": "cleaned"},
            "against": {"arm": "uncleaned"},
        }
    ).test
    rows = [row("kid", 0.65, arm="cleaned"), row("kid", 1.0, arm="uncleaned")]
    assert claims.compare(table(*rows), test).value == pytest.approx(-0.35)


def test_the_best_point_of_a_curve_comes_with_those_not_told_apart_from_it():
    best = claim(
        unit="", published=3, rule={"within": [2, 4]},
        test={"statistic": "best", "rows": {"stage": STAGE, "metric": "miou", "arm": "real+joint@*"}},
    )  # fmt: skip
    curve = {0.5: (0.30, 0.34), 1: (0.36, 0.41), 2: (0.38, 0.43), 3: (0.42, 0.46), 5: (0.37, 0.42)}
    rows = [row("miou", v, v - 0.04, high, f"real+joint@{x:g}", POOLED) for x, (v, high) in curve.items()]
    rows.append(row("miou", 0.9, 0.8, 1.0, "real+joint@1*", POOLED))  # equal exposure: not of this curve
    found = claims.gather_evidence(best, table(*rows))
    assert (found.value, found.low, found.high) == (3, 2, 5)
    assert claims.gather_evidence(best, table(*rows[:2])) is None


def test_an_arm_is_chosen_on_validation_and_judged_on_test():
    chosen = claim(
        test={
            "statistic": "chosen",
            "rows": {"stage": STAGE, "metric": "delta_miou", "arm": "mix:mask@*"},
            "choose": {"metric": "miou", "regime": "split=val", "want": "highest"},
        }
    )
    rows = [
        row("miou", v, arm=f"mix:mask@{p}", regime="split=val") for p, v in ((30, 0.5), (50, 0.6), (70, 0.4))
    ]
    rows += [row(value=v, arm=f"mix:mask@{p}") for p, v in ((30, 0.09), (50, 0.01), (70, 0.02))]
    found = claims.gather_evidence(chosen, table(*rows))
    assert found.value == pytest.approx(1.0)  # not the nine points of the mix that is best on test
    assert "mix:mask@50" in found.about


def test_the_furthest_system_is_chosen_by_its_distance():
    furthest = claim(
        test={
            "statistic": "chosen",
            "rows": {"stage": STAGE, "metric": "delta_miou", "arm": "real+*"},
            "choose": {"metric": "kid", "want": "highest", "by": "system"},
        }
    )
    rows = [row("kid", v, system=s, arm="") for s, v in (("joint", 1.0), ("mask", 7.0), ("noise", 99.0))]
    rows += [row(value=v, arm=f"real+{s}", system=s) for s, v in (("joint", 0.01), ("mask", -0.02))]
    assert claims.gather_evidence(furthest, table(*rows)).value == pytest.approx(-2.0)


def test_rows_of_two_different_numbers_are_refused():
    loose = claim(test={"statistic": "value", "rows": {"metric": "delta_miou"}})
    with pytest.raises(
        GroundsynthError, match=r"real\+joint and .*real\+mask at once; name stage, system or arm"
    ):
        claims.measure(table(row(), row(arm="real+mask")), loose.test.rows)


def test_of_a_scenes_studies_the_best_founded_speaks_and_scenes_stay_apart():
    weak = study(row(value=0.5, low=0.4, high=0.6), name="weak", steps=9000)
    strong = study(row(value=0.01, low=-0.01, high=0.03, regime=POOLED), name="strong")
    elsewhere = study(row(value=0.02, low=0.01, high=0.03, regime=POOLED), name="far", scene="b scene")
    found = claims.claims_table([claim()], [weak, strong, elsewhere]).set_index("scenes")
    assert found["ours"].tolist() == pytest.approx([1, 2])
    assert found.loc["a scene", "note"].startswith("study strong:")
    assert "measured in weak, too" in found.loc["a scene", "note"]


def test_a_study_of_a_part_of_the_labels_never_speaks_for_one_of_all_of_them():
    whole = study(row(value=0.01, low=-0.01, high=0.03, regime=POOLED), name="whole")
    tenth = study(row(value=0.3, low=0.2, high=0.4, regime="folds=9;generators=9"), name="tenth")
    found = claims.claims_table([claim()], [tenth._replace(labels=0.1), whole])
    assert found["note"].tolist()[0].startswith("study whole:")
    assert "measured in tenth, too" in found["note"].tolist()[0]
    assert found["ours"].tolist() == pytest.approx([1])


# --- the file, and what is written -----------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rule": None}, "either a test with its rule, or not_tested"),
        ({"not_tested": "no raters"}, "either a test with its rule, or not_tested"),
        ({"rule": {"above": 0, "below": 1}}, "state exactly one"),
        ({"rule": {"within": [4, 2]}}, "must rise"),
        ({"test": GAIN["test"] | {"statistic": "difference"}}, "statistic 'difference' needs 'against'"),
        ({"test": GAIN["test"] | {"against": {"arm": "real"}}}, "statistic 'value' does not read 'against'"),
        ({"unit": "dB"}, "unit: "),
        ({"system": 8}, "system: "),
        ({"publishd": 3}, "publishd: "),
    ],
)
def test_a_wrong_entry_is_told_in_one_sentence(tmp_path, changes, words):
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump({"claims": [GAIN | changes]}))
    with pytest.raises(GroundsynthError) as error:
        read_claims(path)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_claim_is_listed_once(tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump({"claims": [GAIN, GAIN]}))
    with pytest.raises(GroundsynthError, match="'gain' is listed twice"):
        read_claims(path)


def test_every_system_has_claims_and_what_cannot_be_tested_says_why():
    listed = read_claims(project_root() / "config" / "claims.yaml")
    assert {one.system for one in listed} == set(range(1, 8))
    untested = {one.id for one in listed if one.test is None}
    assert {"time_series", "nguyen_people", "text2earth"} <= untested
    assert len({(one.system, one.source, one.claim) for one in listed}) == len(listed)


def test_the_table_is_written_whole_with_page_and_figure(tmp_path, monkeypatch):
    monkeypatch.setattr(published_claims, "project_root", lambda: tmp_path)
    (tmp_path / "config").mkdir()
    untested = {key: GAIN[key] for key in ("system", "source")} | {
        "id": "people", "claim": "people agree", "not_tested": "no raters",
    }  # fmt: skip
    (tmp_path / "config" / "claims.yaml").write_text(yaml.safe_dump({"claims": [GAIN, untested]}))
    config = {"generator": {"steps": 9, "shuffle_text": False}, "data": {"source": "a_scene"}}
    for name, shuffled in (("one", False), ("control", True)):
        folder = tmp_path / "published" / name
        write_metrics([row(low=0.002, high=0.018, regime=POOLED)], folder / "metrics.csv")
        config["generator"] = {"steps": 9, "shuffle_text": shuffled}
        write_json(folder / "manifest.json", {"config": config})
    published_claims.write_claims(tmp_path / "published")
    found = read_table(tmp_path / "published" / "claims.csv", "published_claims")
    assert found["verdict"].tolist() == ["reproduced", "not shown"]
    assert found["scenes"].tolist() == ["a_scene", ""]
    assert "control" not in found.loc[0, "note"]
    page = (tmp_path / "published" / "claims.md").read_text()
    assert "2 claims in 2 rows, one per scene: 1 reproduced, 1 not shown, 0 reversed" in page
    assert "1 [0.2, 1.8]" in page
    assert (tmp_path / "published" / "claims.png").stat().st_size > 1000


def test_a_verdict_without_an_interval_breaks_the_table(tmp_path):
    from groundsynth.artifacts import write_table

    bad = claims.claims_table([claim()], []).assign(verdict="reproduced")
    with pytest.raises(GroundsynthError, match=r"a verdict needs an interval.*python -m groundsynth claims"):
        write_table(bad, tmp_path / "results" / "published" / "claims.csv", "published_claims")


#: what the commands clean-captions, compare-cleaned and detect leave in the published table, by claim
MEASURED = {
    "dldc_distance": ("kid_change", "text", "cleaned-uncleaned", "planted=25%;features=labeller;command=compare-cleaned;run=0.25", -0.2),
    "dldc_clip": ("image_text_change", "text", "cleaned-uncleaned", "planted=25%;command=compare-cleaned;run=0.25", 0.1),
    "dldc_downstream": ("delta_segmenter_miou", "text", "cleaned-uncleaned", "planted=25%;command=compare-cleaned;run=0.25", 0.03),
    "detect_seen": ("detector_auc", "joint", "joint", "detector=network;command=detect", 0.97),
    "detect_unseen": ("detector_auc_drop", "joint", "unseen_generator", "detector=network;command=detect", 0.15),
}  # fmt: skip


@pytest.mark.parametrize("name", MEASURED)
def test_claims_of_cleaning_and_detection_read_what_the_commands_leave(name):
    """One row as the command writes it is found, in the claim's unit; another set, run or detector is not."""
    (wanted,) = [c for c in read_claims(project_root() / "config" / "claims.yaml") if c.id == name]
    metric, system, arm, regime, value = MEASURED[name]
    about = {"system": system, "arm": arm, "low": value - 0.01, "high": value + 0.01}
    found = claims.gather_evidence(
        wanted, table(metric_row("s", "06_ground", metric, value, regime=regime, **about))
    )
    assert (found.value, found.low, found.high) == pytest.approx(
        (100 * value, 100 * value - 1, 100 * value + 1)
    )
    verdict, words = claims.judge(wanted, found)
    assert (verdict, "one fold" in words) == ("not shown", True)
    for other in (
        {"regime": regime.replace("25%", "50%").replace("network", "spectrum")},
        {"regime": regime, "arm": "other"},
    ):
        rows = table(metric_row("s", "06_ground", metric, value, **(about | other)))
        assert claims.gather_evidence(wanted, rows) is None


CODES = {
    "test": {"statistic": "value", "rows": {"stage": "03_generate", "metric": "invalid_code_rate", "system": "joint"}},
    "rule": {"below": 60},
}  # fmt: skip


def publish_one(folder, name, seed, values, **changes):
    """Write a published study of several folds: a rate of its generator, another of real chips, and its settings."""
    study = load_study(project_root() / "config" / "crossval.yaml")
    config = study.model_dump(mode="json", by_alias=True) | {"study": name}
    config["generator"] |= {"seeds": [seed], **changes}
    config["report"]["replicates"] = ["twin"]
    write_json(folder / name / "manifest.json", {"config": config})
    rows = [
        metric_row(name, "03_generate", "invalid_code_rate", value, system=system, regime=f"fold={fold}")
        for system in ("joint", "real")
        for fold, value in enumerate(values)
    ]
    write_metrics(rows, folder / name / "metrics.csv")


@pytest.mark.parametrize(("changes", "generators"), [({}, 2), ({"steps": 7}, 1)])
def test_what_replicates_measured_of_their_generators_counts(tmp_path, changes, generators):
    publish_one(tmp_path, "first", 0, [0.1, 0.2, 0.3])
    publish_one(tmp_path, "twin", 1, [0.3, 0.2, 0.7], **changes)
    (found,) = (s for s in claims.read_studies(tmp_path) if s.name == "first")
    evidence = claims.gather_evidence(claim(**CODES), found.metrics)
    mean = [20, 20, 50] if generators == 2 else [10, 20, 30]  # in per cent
    assert (evidence.folds, evidence.generators) == (3, generators)
    assert evidence.value == pytest.approx(np.mean(mean))
    assert evidence.high - evidence.value == pytest.approx(
        4.3027 * np.std(mean, ddof=1) / np.sqrt(3), rel=1e-4
    )
    assert (found.metrics["system"] == "real").sum() == 3, "real chips are the same in both and are told once"
    assert ("one generator" in claims.judge(claim(**CODES), evidence)[1]) == (generators == 1)


def test_folds_of_another_day_count_as_if_they_had_run_together(tmp_path):
    """Two generators on folds 0 and 1, and both on fold 2 in studies of their own: real chips of fold 2 are told once."""
    parts = {"first": (0, [0, 1]), "twin": (1, [0, 1]), "late": (0, [2]), "twin_late": (1, [2])}
    for name, (seed, folds) in parts.items():
        publish_one(tmp_path, name, seed, [0.1, 0.2, 0.3])
        path = tmp_path / name / "manifest.json"
        config = read_json(path, "")["config"] | {"folds": folds}
        config["report"]["replicates"] = ["twin", "late", "twin_late"]
        write_json(path, {"config": config})
        rows = read_table(tmp_path / name / "metrics.csv", "metrics")
        mine = rows["regime"].isin([f"fold={fold}" for fold in folds])
        rows = rows[mine].assign(regime=rows["regime"] if len(folds) > 1 else "")  # one fold is not named
        write_metrics(rows.to_dict("records"), tmp_path / name / "metrics.csv")
    (found,) = (s for s in claims.read_studies(tmp_path) if s.name == "first")
    evidence = claims.gather_evidence(claim(**CODES), found.metrics)
    assert (evidence.folds, evidence.generators) == (3, 2)
    assert evidence.value == pytest.approx(20)
    real = found.metrics[found.metrics["system"] == "real"]
    assert sorted(real["regime"]) == ["fold=0", "fold=1", "fold=2"]


@pytest.mark.parametrize(("labelled", "verdict"), [(0.95, "reversed"), (0.64, "not shown")])
def test_a_number_that_means_nothing_without_labels_has_no_verdict_there(tmp_path, labelled, verdict):
    """Drawn maps hold the code of no class where training maps do: on such ground it is no fault of the bits."""
    publish_one(tmp_path, "first", 0, [0.7, 0.8, 0.75])
    publish_one(tmp_path, "twin", 1, [0.7, 0.8, 0.75])
    pixels = {f"pixels_{k}": 0 for k in range(7)}
    cells = [("train", int(100 * labelled)), ("test", 0)]
    blocks = [
        dict(block=i, ground=0, group=0, split=split, row=0, col=10 * i, height=10, width=10)
        | pixels
        | {"pixels_3": labelled_pixels}
        for i, (split, labelled_pixels) in enumerate(cells)
    ]
    path = tmp_path / "first" / "01_prepare_data" / "fold0" / "blocks.csv"
    path.parent.mkdir(parents=True)
    write_table(pd.DataFrame(blocks), path, "blocks")
    studies = [s._replace(of_folds=3) for s in claims.read_studies(tmp_path) if s.name == "first"]
    assert studies[0].unlabelled == pytest.approx(1 - labelled)
    for wanted, expected in ((claim(**CODES, labelled_ground=True), verdict), (claim(**CODES), "reversed")):
        (found,) = claims.claims_table([wanted], studies).itertuples()
        assert found.verdict == expected
        assert ("36% of the training ground has no label" in found.note) == (expected == "not shown")


def test_the_report_of_a_part_gives_no_verdict():
    """Two folds of four with two generators: the part's own report says so, as the table of all studies does."""
    part = load_study(project_root() / "config" / "crossval_zion_0a.yaml")
    alone = part.model_copy(update={"report": part.report.model_copy(update={"replicates": []})})
    verdicts = {}
    for folds in (2, 4):
        pooled = row("delta_miou", 0.02, 0.01, 0.03, arm="real+image", regime=f"folds={folds};generators=2")
        (found,) = published_claims.own_claims(alone, table(pooled)).itertuples()
        verdicts[folds] = found.verdict
        assert ("2 of 4 folds" in found.note) == (folds == 2)
    assert verdicts == {2: "not shown", 4: "reproduced"}


def test_small_numbers_keep_their_digits():
    assert claims.effect_words(claims.Evidence(0.008, -0.003, 0.02), "%") == "+0.008 [−0.003, +0.020] %"
    assert claims.effect_words(claims.Evidence(0.4, -0.1, 1.1), "pp") == "+0.4 [−0.1, +1.1] pp"
    assert claims.effect_words(claims.Evidence(0.0, 0.0, 0.0), "pp") == "+0.0 [+0.0, +0.0] pp"
