"""The one table of numbers, the tables cut from it, and the figures drawn from it."""

import matplotlib as mpl
import pandas as pd
import pytest

mpl.use("Agg")

from small_study import make_run, make_study

from groundsynth.artifacts import METRIC_COLUMNS, metric_row, read_table, write_metrics
from groundsynth.config import load_study, validate_study
from groundsynth.errors import GroundsynthError
from groundsynth.report import report_figures, tables
from groundsynth.report.provenance import config_hash, find_config, provenance
from groundsynth.report.style import plt


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.delenv("GROUNDSYNTH_ROOT", raising=False)
    folder = make_study(tmp_path)
    monkeypatch.setenv("GROUNDSYNTH_ROOT", str(tmp_path))
    return folder


def smoke():
    return load_study(find_config("smoke"))


def gathered():
    study = smoke()
    return tables.gather_metrics("smoke", tables.folders_of(study, tables.report_dir("smoke")))


def frame(*rows):
    return pd.DataFrame(
        [metric_row("s", "07_benchmark_segmentation", **row) for row in rows], columns=list(METRIC_COLUMNS)
    )


def test_every_stage_is_gathered_once_with_its_time(results):
    table = gathered()
    assert set(table["stage"]) == set(tables.STAGES[:-1])
    assert not table.duplicated(tables.KEY).any()
    seconds = table[table["metric"] == "stage_seconds"].set_index("stage")["value"]
    assert seconds["03_generate"] == 120  # four systems of 30 s
    assert seconds["01_prepare_data"] == 30


def test_two_rows_with_one_key_are_refused(results):
    path = results / "05_caption" / "fold0" / "metrics.csv"
    row = metric_row("smoke", "05_caption", "duplicate_rate", 0.1)
    write_metrics([row, {**row, "value": 0.2}], path)
    with pytest.raises(GroundsynthError, match=r"repeat a key.*duplicate_rate"):
        gathered()


def test_a_missing_stage_is_named_with_its_cure(results):
    (results / "06_ground" / "fold0" / "metrics.csv").unlink()
    with pytest.raises(GroundsynthError, match=r"06_ground.*missing.*snakemake"):
        gathered()


def test_folds_are_told_apart_by_regime(results):
    study = smoke()
    for folder in tables.folders_of(study.model_copy(update={"folds": [1]}), results):
        folder.path.mkdir(parents=True, exist_ok=True)
        write_metrics(
            [metric_row("smoke", folder.stage, "x", 1.0, system=folder.tags.get("system", ""))],
            folder.path / "metrics.csv",
        )
        make_run(folder)
    both = tables.folders_of(study.model_copy(update={"folds": [0, 1]}), results)
    table = tables.gather_metrics("smoke", both)
    assert set(table.loc[table["metric"] == "miou", "regime"]) == {"fold=0"}
    assert set(table.loc[table["metric"] == "x", "regime"]) == {"fold=1"}


def test_the_published_copy_serves_where_results_are_missing(results):
    published = results.parent / "published" / "smoke"
    published.parent.mkdir()
    results.rename(published)
    assert tables.report_dir("smoke") == published
    with pytest.raises(GroundsynthError, match="no results and no published copy"):
        tables.report_dir("laptop")


@pytest.mark.parametrize(
    ("row", "shape", "text"),
    [
        ({"value": 0.4, "low": 0.35, "high": 0.45}, (), "0.400 [0.350, 0.450]"),
        ({"value": -0.012, "low": -0.03, "high": 0.006}, (100, 1, True), "−1.2 [−3.0, +0.6]"),
        ({"value": 0.5, "low": None, "high": None}, (1, 2), "0.50"),
        ({"value": float("nan"), "low": None, "high": None}, (), "–"),
    ],
)
def test_intervals_in_words(row, shape, text):
    assert tables.interval(pd.Series(row, dtype=float), *shape) == text


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 0.02, "above real"),
        (-0.02, -0.01, "below real"),
        (-0.01, 0.01, "no difference shown"),
        (None, None, "no interval"),
        (0.0, 0.01, "no difference shown"),
    ],
)
def test_reading_of_an_interval(low, high, said):
    row = {"metric": "delta_miou", "arm": "real+joint", "value": 0.0, "low": low, "high": high}
    assert tables.reading(frame(row)) == said


def test_result_table_starts_with_real_and_claims_nothing_it_cannot(results):
    table = tables.result_table(gathered()).set_index("trained on")
    assert table.index[0] == "real"
    assert table.loc["real", "reading"] == "reference"
    assert table.loc["real+mask", "difference to real, pp"] == "+3.0 [+1.0, +5.0]"
    assert table.loc["real+joint", "reading"] == "no difference shown"
    assert table.loc["synthetic:joint", "reading"] == "below real"


def test_the_claim_names_every_mixed_arm_and_no_verdict_on_one_fold(results):
    claim = tables.claim_sentence(gathered(), "smoke")
    for words in ("−0.4 [−2.4, +1.6] (image)", "(joint)", "(mask)", "1 of 3 above real", "no verdict"):
        assert words in claim
    assert "no verdict" not in tables.claim_sentence(gathered(), "smoke", folds=6)
    assert "no benchmark" in tables.claim_sentence(frame(), "smoke")


def test_lessons_leave_out_what_was_not_measured(results):
    table = gathered()
    assert "Kernel distance" in tables.lessons(table, "smoke")
    assert "Kernel distance" not in tables.lessons(table[table["metric"] != "kid"], "smoke")


def test_minutes_are_measured_beside_planned(results):
    table = tables.minutes_table(smoke(), gathered()).set_index("stage")
    assert table.loc["03_generate", ["measured", "planned", "notebooks"]].tolist() == [2.0, 1.3, 4]
    assert pd.isna(table.loc["09_report", "measured"])
    make_run(tables.Folder(tables.REPORT, {}, results / tables.REPORT), seconds=12)
    own = tables.add_own_run("smoke", gathered(), results / tables.REPORT)
    assert tables.minutes_table(smoke(), own).set_index("stage").loc["09_report", "measured"] == 0.2


def test_the_readme_block_is_replaced_and_nothing_else():
    text = f"head\n{tables.BEGIN}\nold\n{tables.END}\ntail\n"
    new = tables.replace_block(text, "| new |")
    assert new == f"head\n{tables.BEGIN}\n| new |\n{tables.END}\ntail\n"
    assert tables.replace_block(new, "| new |") == new
    assert tables.between_markers(new) == "| new |"
    with pytest.raises(GroundsynthError, match="README"):
        tables.replace_block("no markers", "x")


@pytest.mark.parametrize(
    "figure",
    [
        report_figures.forest,
        report_figures.iou_by_class,
        report_figures.agreement_controls,
        report_figures.realism,
    ],
)
def test_figures_say_n_and_interval_and_stop_without_rows(results, figure):
    drawn, caption = figure(gathered())
    plt.close(drawn)
    assert "n = 32" in caption or "n, its labelled test pixels" in caption
    assert "interval" in caption
    with pytest.raises(GroundsynthError, match="run that stage"):
        figure(frame())


def test_verdicts_count_what_the_certificates_say(results):
    certificates = report_figures.read_certificates(results, [0])
    figure, caption = report_figures.verdicts(certificates, gathered())
    widths = [bar.get_width() for bar in figure.axes[0].containers[0]]
    plt.close(figure)
    assert widths == pytest.approx([5 / 6] * 4)
    assert "joint 6" in caption
    with pytest.raises(GroundsynthError, match="06_ground"):
        report_figures.verdicts(report_figures.read_certificates(results, [7]), frame())


def test_cost_shows_measured_minutes(results):
    figure, caption = report_figures.cost(tables.minutes_table(smoke(), gathered()))
    plt.close(figure)
    assert "over 11 notebooks: 5.5 of 5.3 planned" in caption


def test_random_pairs_are_the_same_again_and_labelled_where_there_is_no_map(results):
    arguments = (results, 0, ["unified-s0"], ["joint", "image"], 8)
    first, again = report_figures.random_pairs(*arguments), report_figures.random_pairs(*arguments)
    assert list(first) == ["real", "joint", "image"]
    for name, (images, maps) in first.items():
        assert len(images) == len(maps) == 6  # as many as the smallest set has
        assert (maps != 255).all()
        assert (images == again[name][0]).all()


def test_a_figure_without_inputs_is_copied_from_the_published_study(results, tmp_path, capsys):
    source, target = tmp_path / "old" / "pairs.png", tmp_path / "new" / "pairs.png"
    missing = (tmp_path / "nowhere", 0, ["unified-s0"], ["joint"], 8)
    assert not report_figures.draw(report_figures.pairs_figure, *missing, path=target)
    source.parent.mkdir()
    source.write_bytes(b"")
    figure, caption = report_figures.pairs_figure(results, 0, ["unified-s0"], ["joint"], 8)
    from groundsynth.report.style import read_caption, save_figure

    save_figure(figure, source, caption)
    assert report_figures.draw(report_figures.pairs_figure, *missing, path=target, instead=source)
    assert read_caption(target) == caption


def test_config_hash_changes_with_any_setting_also_a_default(results):
    study = smoke()
    values = study.model_dump(mode="json", by_alias=True)
    assert config_hash(validate_study(values)) == config_hash(study)
    values["report"]["pairs"] += 1
    assert config_hash(validate_study(values)) != config_hash(study)


def test_provenance_names_study_hash_and_versions(results):
    table = provenance("smoke")["this run"]
    assert table["config hash"] == config_hash(smoke())
    assert table["device"].startswith("CPU")
    assert "benchmark [0, 1, 2]" in table["seeds"]
    with pytest.raises(GroundsynthError, match="no such config"):
        provenance("nowhere")


def test_gathered_table_survives_writing(results, tmp_path):
    table = gathered()
    back = tables.write_gathered(table, tmp_path / "metrics.csv")
    assert len(back) == len(table)
    assert (read_table(tmp_path / "metrics.csv", "metrics")["metric"] == table["metric"]).all()


def test_the_claim_is_about_synthetic_chips_and_not_about_other_recipes():
    arms = ["real+mask", "real+cutmix", "real@2", "real+self_training", "mix:mask@50"]
    delta = {"metric": "delta_miou", "value": 0.01, "low": 0.0, "high": 0.02}
    claim = tables.claim_sentence(frame(*[delta | {"arm": arm} for arm in arms]), "smoke")
    assert "by +1.0 [+0.0, +2.0] (mask) percentage points" in claim
