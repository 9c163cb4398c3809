"""Folds and replicates read from disk, pooled, and read again where only the published rows are."""

import shutil

import pandas as pd
import pytest
from test_cross_validation import counts_table

from groundsynth.artifacts import metric_row, read_json, write_json, write_metrics, write_table
from groundsynth.config import load_study
from groundsynth.errors import GroundsynthError
from groundsynth.paths import project_root
from groundsynth.report import pooling, report_figures, tables
from groundsynth.report.claim_list import Claim
from groundsynth.report.provenance import find_config

RATES = {"real": 0.5, "real+mask": 0.6, "real+joint": 0.55}
PRIMARY = ["real+mask", "real+joint"]
ASKED = Claim.model_validate(
    {
        "id": "a", "system": 3, "source": "paper", "claim": "words", "rule": {"above": 0},
        "test": {"statistic": "difference", "rows": {"metric": "miou", "arm": "real+mask"}, "against": {"arm": "real+joint"}},
    }
)  # fmt: skip


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with study ``two`` of two folds, and ``again`` with another generator."""
    (tmp_path / "config").mkdir()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "Snakefile").touch()
    source = project_root() / "config"
    for name in ("laptop", "smoke"):
        (tmp_path / "config" / f"{name}.yaml").write_text((source / f"{name}.yaml").read_text())
    (tmp_path / "config" / "two.yaml").write_text(
        "study: two\nextends: smoke\nfolds: [0, 1]\nreport: {replicates: [again]}\n"
    )
    (tmp_path / "config" / "again.yaml").write_text("study: again\nextends: two\ngenerator: {seeds: [1]}\n")
    monkeypatch.setenv("GROUNDSYNTH_ROOT", str(tmp_path))
    for name, more in (("two", 0.0), ("again", 0.1)):
        rates = {arm: rate + more * (arm != "real") for arm, rate in RATES.items()}
        for fold, blocks in enumerate(([0, 1], [2, 3])):
            place = tmp_path / "results" / name / tables.BENCHMARK / f"fold{fold}"
            counts = counts_table(rates, fold, blocks, seeds=3).drop(columns="fold")
            write_table(counts, place / "counts.csv", "counts")
            about = {"primary_classes": [0]}
            write_json(tmp_path / "results" / name / "01_prepare_data" / f"fold{fold}" / "data.json", about)
    return tmp_path / "results" / "two"


def gathered(root):
    rows = [
        metric_row(
            "two",
            tables.BENCHMARK,
            "miou",
            0.5,
            arm=arm,
            system=arm.removeprefix("real+"),
            regime=f"fold={f}",
        )
        for arm in RATES
        for f in (0, 1)
    ]
    return write_metrics(rows, root / "stages.csv")


def pool(root, replicates=("again",)):
    study = load_study(find_config("two"))
    return pooling.pool_study(study, root, gathered(root), [ASKED], PRIMARY, list(replicates))


def test_folds_and_generators_are_pooled(project):
    pooled = pool(project)
    delta = tables.pick(pooled, "delta_miou", arm="real+mask", regime="folds=2;of_folds=6;generators=2").iloc[
        0
    ]
    assert delta["value"] == pytest.approx(0.15)  # 0.1 with one generator, 0.2 with the other
    half = 12.706 * 0.05  # Student's with one degree of freedom, for two generators are all there are
    assert (delta["low"], delta["high"]) == pytest.approx((0.15 - half, 0.15 + half), abs=0.03)
    asked = tables.pick(pooled, "delta_miou", regime="against=real+joint;folds=2;of_folds=6;generators=2")
    assert asked["value"].tolist() == pytest.approx([0.05])
    assert tables.paired_table(pooled)[["arm", "against"]].to_numpy().tolist() == [
        ["real+mask", "real+joint"]
    ]
    shown = tables.result_table(pooling.add_pooled(gathered(project), pooled)).set_index("trained on")
    assert shown.loc["real+mask", "reading"] == "no difference shown"
    alone = pooling.add_pooled(gathered(project), pool(project, ()))
    delta = tables.pick(alone, "delta_miou", arm="real+mask", regime="folds=2;of_folds=6;generators=1")
    assert delta["value"].tolist() == pytest.approx([0.1])
    shown = tables.result_table(alone).set_index("trained on")
    assert shown.loc["real+mask", "reading"] == "above 0 in these folds"


def test_folds_that_draw_their_labels_are_what_is_resampled(project):
    config = project.parents[1] / "config" / "two.yaml"
    config.write_text(config.read_text() + "data: {label_fraction: 0.5}\n")
    rows = gathered(project)
    rows["regime"] = "labels=50%;" + rows["regime"]
    study = load_study(find_config("two"))
    pooled = pooling.pool_study(study, project, rows, [], PRIMARY, [])
    delta = tables.pick(pooled, "delta_miou", arm="real+mask").iloc[0]
    assert (delta["regime"], delta["n"]) == ("labels=50%;folds=2;of_folds=6;generators=1", 2)
    whole = pooling.add_pooled(rows, pooled)
    assert tables.folds_of(tables.headline(whole)) == (2, 2)  # each draw has a generator of its own
    assert tables.resampled_words(tables.headline(whole)) == "draws of the labelled blocks"
    assert "over draws of the labelled blocks (n = 2 draws, 3 seeds)" in report_figures.forest(whole)[1]


def test_arms_named_beforehand_are_held_against_controls_of_as_many_steps(project, monkeypatch):
    more = {"real+cutmix": 0.58, "real+self_training@3*": 0.9, "synthetic:mask": 0.4}
    monkeypatch.setattr("test_pooling.RATES", RATES | more)
    for name in ("two", "again"):
        for fold, blocks in enumerate(([0, 1], [2, 3])):
            place = project.parent / name / tables.BENCHMARK / f"fold{fold}" / "counts.csv"
            counts = counts_table(RATES | more, fold, blocks, seeds=3).drop(columns="fold")
            write_table(counts, place, "counts")
    study = load_study(find_config("two"))
    pooled = pooling.pool_study(study, project, gathered(project), [], ["real+mask"], ["again"])
    beside = tables.paired_table(pooled)
    assert beside[["arm", "against"]].to_numpy().tolist() == [["real+mask", "real+cutmix"]]
    assert beside["difference, pp"].str.startswith("+2.0").all()


def test_without_the_counts_the_published_rows_are_read(project):
    pooled = pool(project)
    pooling.write_pooled(pooled, project / "09_report")
    for path in project.glob("*/fold*/counts.csv"):
        path.unlink()
    again = pool(project)
    assert tables.pick(again, "delta_miou")["value"].tolist() == pytest.approx(
        tables.pick(pooled, "delta_miou")["value"].tolist()
    )


def published_copy(project):
    """Move study ``again`` to the published studies, where counts are those beside the report."""
    again, copy = project.parent / "again", project.parent / "published" / "again"
    pooling.write_counts(again, [0, 1], copy / "09_report")
    settings = load_study(find_config("again")).model_dump(mode="json", by_alias=True)
    write_json(copy / "manifest.json", {"config": settings})
    shutil.copytree(again / "01_prepare_data", copy / "01_prepare_data")
    shutil.rmtree(again)
    return copy


def test_a_published_replicate_is_pooled_like_one_that_has_just_run(project):
    before = pool(project)
    published_copy(project)
    pd.testing.assert_frame_equal(pool(project), before)


def test_a_replicate_published_with_other_settings_is_refused(project):
    copy = published_copy(project)
    settings = read_json(copy / "manifest.json", "")["config"]
    settings["benchmark"]["ratio"] = 2.0
    write_json(copy / "manifest.json", {"config": settings})
    with pytest.raises(GroundsynthError, match=r"'again' was published with other settings.*again.yaml"):
        pool(project)


def test_one_fold_of_one_generator_is_not_pooled(project):
    study = load_study(find_config("two")).model_copy(update={"folds": [0]})
    assert pooling.pool_study(study, project, gathered(project), [], PRIMARY, []).empty


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("extends: two\ngenerator: {seeds: [1], steps: 7}\n", "differs from 'two' in generator"),
        ("extends: two\nbenchmark: {ratio: 2}\n", "differs from 'two' in benchmark"),
        ("extends: two\n", "'again' has generator seed 0 on fold 0, and so has 'two'"),
        ("extends: two\nfolds: [0]\ngenerator: {seeds: [1]}\n", "no study has generator seed 1 on fold 1"),
    ],
)
def test_a_replicate_differs_in_the_generators_seed_and_folds_alone(project, text, words):
    (project.parents[1] / "config" / "again.yaml").write_text(f"study: again\n{text}")
    with pytest.raises(GroundsynthError, match=words):
        pool(project)


def test_folds_of_another_day_are_pooled_as_if_they_had_run_together(project):
    """Each of two generators in two studies of one fold: the same rows as of two studies of two folds."""
    together = pool(project)
    results, configs = project.parent, project.parents[1] / "config"
    for name in ("two", "again"):
        whole = results / name
        for stage in (tables.BENCHMARK, "01_prepare_data"):
            shutil.copytree(whole / stage / "fold1", results / f"{name}_late" / stage / "fold1")
            shutil.rmtree(whole / stage / "fold1")
        text = (configs / f"{name}.yaml").read_text().replace("folds: [0, 1]", "folds: [0]")
        (configs / f"{name}.yaml").write_text(text)
        (configs / f"{name}_late.yaml").write_text(
            f"study: {name}_late\nextends: {name}\nfolds: [1]\nreport: {{replicates: []}}\n"
        )
    apart = pool(project, ("two_late", "again", "again_late"))
    pd.testing.assert_frame_equal(apart, together)
    write_json(results / "two_late" / "01_prepare_data" / "fold1" / "data.json", {"primary_classes": [1]})
    with pytest.raises(GroundsynthError, match="'two' and 'two_late' have different primary classes"):
        pool(project, ("two_late", "again", "again_late"))


def test_a_replicate_that_has_not_run_is_named(project):
    (project.parent / "again" / tables.BENCHMARK / "fold1" / "counts.csv").unlink()
    with pytest.raises(GroundsynthError, match=r"again.*fold1/counts.csv"):
        pool(project)


def test_folds_with_other_primary_classes_are_refused(project):
    write_json(project / "01_prepare_data" / "fold1" / "data.json", {"primary_classes": [0, 1]})
    with pytest.raises(GroundsynthError, match="folds 0 and 1 have different primary classes"):
        pool(project)
