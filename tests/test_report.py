"""The one table of numbers, the tables cut from it, and the figures drawn from it."""

from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")

from small_study import make_run, make_study

from groundsynth.artifacts import METRIC_COLUMNS, metric_row, read_table, write_metrics
from groundsynth.config import load_study, validate_study
from groundsynth.errors import GroundsynthError
from groundsynth.report import captioning_figures, readme, report_figures, tables
from groundsynth.report.grounding_figures import plot_distances
from groundsynth.report.measurements import MEASUREMENTS
from groundsynth.report.provenance import config_hash, find_config, provenance
from groundsynth.report.style import plt
from groundsynth.systems import SYSTEMS_OF


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


def measure(results, path, *rows):
    made = [metric_row("smoke", "03_generate", "kid", value, system="real", regime=r) for value, r in rows]
    write_metrics(made, results / path / "metrics.csv")


def test_what_commands_measured_joins_the_table_under_their_names(results):
    own = gathered()
    measure(results, "sampling_curve/unified-s0-joint", (0.1, ""), (0.2, "steps=8"))
    measure(results, "routes", (0.3, ""))
    measure(results, "routes/fold1", (0.4, ""))
    measure(results, "routes/samples/deeper", (0.5, ""))
    measure(results, "scratch", (0.6, ""))
    study = smoke()
    table = tables.gather_metrics("smoke", tables.folders_of(study, results), results)
    found = table[table["stage"].eq("03_generate") & table["metric"].eq("kid")].set_index("regime")["value"]
    assert found.to_dict() == {
        "command=sampling-curve;run=unified-s0-joint": 0.1,
        "steps=8;command=sampling-curve;run=unified-s0-joint": 0.2,
        "command=compare-routes": 0.3,
        "command=compare-routes;run=fold1": 0.4,
    }
    pd.testing.assert_frame_equal(tables.of_stages(table), own)


def test_a_table_takes_what_commands_measured_since(results):
    measure(results, "routes", (0.3, ""))
    table = tables.gather_metrics("smoke", tables.folders_of(smoke(), results), results)
    measure(results, "routes", (0.7, ""))
    measure(results, "authenticity", (0.8, ""))
    renewed = tables.renew_measured("smoke", table, results)
    named = renewed[renewed["regime"].str.contains("command=")].set_index("regime")["value"]
    assert named.to_dict() == {"command=compare-routes": 0.7, "command=detect": 0.8}
    assert len(renewed) == len(table) + 1
    measure(results, "authenticity", (0.8, ""), (0.9, ""))
    with pytest.raises(GroundsynthError, match=r"repeat a key.*kid.*the command that writes it twice"):
        tables.renew_measured("smoke", table, results)


def test_every_measurement_is_a_command_that_writes_there_by_itself(monkeypatch, tmp_path):
    """The option is left out, and where the command would write is asked of the function they all use."""
    import argparse

    from groundsynth.__main__ import build_parser, folder_of

    monkeypatch.setenv("GROUNDSYNTH_ROOT", str(tmp_path))
    (commands,) = [a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction)]
    for name, measurement in MEASUREMENTS.items():
        if name == "human-rating":  # a notebook
            continue
        (output,) = [a for a in commands.choices[name]._actions if a.dest == "output"]
        assert output.default is None
        assert f"results/<study>/{measurement.folder}" in output.help
        folder = folder_of(SimpleNamespace(output=None, fold=1), SimpleNamespace(study="s"), name)
        assert folder == tmp_path / "results" / "s" / measurement.folder / "fold1"
    assert len({m.folder for m in MEASUREMENTS.values()}) == len(MEASUREMENTS)


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
        (0.01, 0.02, "above 0 in this fold"),
        (-0.02, -0.01, "below 0 in this fold"),
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
    assert table.loc["synthetic:joint", "reading"] == "below 0 in this fold"


def test_the_claim_names_every_mixed_arm_and_no_verdict_on_one_fold(results):
    claim = tables.claim_sentence(gathered(), "smoke")
    for words in (
        "−0.4 [−2.4, +1.6] (image)",
        "(joint)",
        "(mask)",
        "1 of 3 above 0 in this fold",
        "no verdict",
    ):
        assert words in claim
    assert "no benchmark" in tables.claim_sentence(frame(), "smoke")


def several(folds: int, generators: int, p: float = 0.01) -> pd.DataFrame:
    """Return the gathered table as it would be with several folds: each fold's rows, and all of them together."""
    table = gathered()
    bench = table["stage"] == tables.BENCHMARK
    single = table[bench].assign(regime="fold=0")
    pooled = table[bench].assign(regime=f"folds={folds};generators={generators}", n=42)
    more = [
        pooled[pooled["metric"] == "delta_miou"].assign(metric=name, value=value, low=None, high=None)
        for name, value in (
            ("delta_miou_p", p / 3), ("delta_miou_p_holm", p), ("smallest_detectable_difference", 0.021)
        )
    ]  # fmt: skip
    return pd.concat([table[~bench], single, pooled, *more], ignore_index=True)


@pytest.mark.parametrize(
    ("folds", "generators", "p", "words"),
    [
        (6, 2, 0.01, "above real"),
        (6, 2, 0.06, "no difference shown (corrected p = 0.06)"),
        (6, 1, 0.01, "above 0 with this generator"),
        (1, 2, 0.01, "above 0 in this fold"),
    ],
)
def test_a_verdict_is_read_from_several_folds_and_generators_alone(results, folds, generators, p, words):
    table = several(folds, generators, p)
    shown = tables.result_table(table).set_index("trained on")
    assert shown.loc["real+mask", "reading"] == words
    assert shown.loc["real+mask", "difference to real, pp"] == "+3.0 [+1.0, +5.0]"  # once, not per fold
    assert ("no verdict" in tables.claim_sentence(table, "smoke")) == (folds == 1 or generators == 1)
    assert "a true difference of 2.1 points" in tables.claim_sentence(table, "smoke")
    named = tables.primary_table(table).set_index("arm")
    assert named.loc["real+mask", ["p, corrected (Holm)", "would be shown, pp", "reading"]].tolist() == [
        f"{p:.2g}", "2.1", words,
    ]  # fmt: skip


def test_other_regimes_stay_out_of_the_first_table(results):
    table = gathered()
    rows = table[table["stage"] == tables.BENCHMARK]
    others = [rows.assign(regime=regime) for regime in ("split=val", "network=FPN", "region")]
    assert len(tables.result_table(pd.concat([table, *others]))) == len(tables.result_table(table))
    assert tables.primary_table(table).empty
    unread = table.assign(regime=table["regime"].where(table["stage"] != tables.BENCHMARK, "split=val"))
    assert len(tables.result_table(unread)) == len(tables.result_table(table))


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
    text = f"head\n{readme.BEGIN}\nold\n{readme.END}\ntail\n"
    new = readme.replace_block(text, "| new |")
    assert new == f"head\n{readme.BEGIN}\n| new |\n{readme.END}\ntail\n"
    assert readme.replace_block(new, "| new |") == new
    assert readme.between_markers(new) == "| new |"
    with pytest.raises(GroundsynthError, match="README"):
        readme.replace_block("no markers", "x")


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
    assert "real" not in caption.partition("Kept,")[2]
    kept = pd.DataFrame([metric_row("s", "06_ground", "keep_rate", 0.9, system=s) for s in ("real", "joint")])
    figure, caption = report_figures.verdicts(certificates, kept)
    plt.close(figure)
    assert "over chips: joint 90. Of real windows of the test blocks, which have no bar, 90." in caption
    with pytest.raises(GroundsynthError, match="06_ground"):
        report_figures.verdicts(report_figures.read_certificates(results, [7]), frame())


def test_cost_shows_measured_minutes(results):
    figure, caption = report_figures.cost(tables.minutes_table(smoke(), gathered()))
    plt.close(figure)
    assert "over 11 notebooks: 5.5 of 5.3 planned" in caption
    assert "not known yet: 09_report." in caption


def test_cost_without_gaps_says_nothing_of_them():
    rows = [{"stage": "a", "planned": 1.0, "measured": 2.0, "notebooks": 1, "peak_rss_mb": 9.0}]
    figure, caption = report_figures.cost(pd.DataFrame(rows))
    legend, box = figure.legends[0], figure.axes[0].get_window_extent()
    figure.draw_without_rendering()
    assert not legend.get_window_extent().overlaps(box)
    assert "not known" not in caption
    plt.close(figure)


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


def test_the_pairs_say_where_each_map_comes_from():
    blank = np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 4, 4), np.uint8)
    figure, caption = report_figures.side_by_side(dict.fromkeys(("real", "text"), blank))
    plt.close(figure)
    assert (
        "the reference map (real), made with the image for what was asked in words or shares (text)."
        in caption
    )
    assert set(report_figures.MAP_OF) == {"real", *(s for drawn in SYSTEMS_OF.values() for s in drawn)}


def test_a_distance_that_hides_the_others_is_drawn_in_steps_of_ten():
    def rows(largest):
        values = {"real": 0.5, "joint": 1.5, "text": -0.1, "": largest}
        made = [metric_row("s", "06_ground", "kid", v, system=k, arm="noise" * (not k), low=v, high=v, n=8)
                for k, v in values.items()]  # fmt: skip
        return pd.DataFrame(made)

    for largest, scale in ((700.0, "symlog"), (5.0, "linear")):
        figure, _ = report_figures.realism(rows(largest))
        below = plot_distances(rows(largest))
        assert figure.axes[0].get_yscale() == below.axes[0].get_xscale() == scale
        assert ("steps of ten" in figure.axes[0].get_ylabel()) == (scale == "symlog")
        plt.close("all")


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


def test_many_arms_leave_room_for_the_plain_ones(results):
    table = gathered()
    plain = list(report_figures.pick(table, "iou")["arm"].unique())
    rows = table[(table["metric"] == "iou") & (table["arm"] == "real+mask")]
    more = [f"real+mask@{k}" for k in range(1, 9)] + [f"mix:mask@{k}" for k in range(1, 9)]
    many = pd.concat([table, *[rows.assign(arm=arm) for arm in more]], ignore_index=True)
    figure, caption = report_figures.iou_by_class(many)
    assert sorted(text.get_text() for text in figure.legends[0].get_texts()) == sorted(plain)
    assert f"{len(plain)} of {len(plain) + len(more)} arms" in caption
    assert " arms; the others" not in report_figures.iou_by_class(table)[1]


def test_what_is_not_pooled_is_drawn_of_one_fold():
    """A row per fold once became a line per fold, or none at all: the figure of fold 3 is that of fold 3 alone."""
    about = dict(system="real", arm="real", low=0.1, high=0.9, n=7, seeds=1)
    rows = [
        metric_row("s", captioning_figures.STAGE, metric, value, regime=f"style=words;fold={fold}", **about)
        for fold, value in ((0, 0.2), (3, 0.4))
        for metric in captioning_figures.PANELS
    ]
    figure, caption = captioning_figures.report_scores(tables.of_fold(pd.DataFrame(rows), 3))
    dots = [line.get_xdata()[0] for axis in figure.axes for line in axis.lines if len(line.get_xdata()) == 1]
    assert dots == [0.4] * len(captioning_figures.PANELS)
    assert "n = 7 blocks, 1 seed)" in caption
