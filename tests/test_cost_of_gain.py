"""What a gain costs, against answers worked out by hand."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from test_pooling import project  # noqa: F401  (a fixture)

from groundsynth.artifacts import METRIC_COLUMNS, metric_row, write_table
from groundsynth.config import load_study
from groundsynth.errors import GroundsynthError
from groundsynth.report import cost_figures, cost_of_gain, tables
from groundsynth.report.provenance import find_config

CURVES = {  # validation mIoU at steps 10, 20, 30
    ("real", 0): (0.2, 0.3, 0.4), ("real", 1): (0.2, 0.6, 0.5),  # best 0.4 and 0.6: the mark is 0.5
    ("real+mask", 0): (0.5, 0.4, 0.6), ("real+mask", 1): (0.1, 0.2, 0.5),  # reached at 10 and at 30
    ("synthetic:mask", 0): (0.1, 0.2, 0.3), ("synthetic:mask", 1): (0.1, 0.5, 0.3),  # never, and at 20
}  # fmt: skip


@pytest.fixture
def study(project):  # noqa: F811
    """One fold: 500 synthetic chips at 5 a second from a generator of 120 seconds; a segmenter takes 60."""
    history = [
        (arm, seed, 10 * k + 10, 1.0, value)
        for (arm, seed), curve in CURVES.items()
        for k, value in enumerate(curve)
    ]
    runs = [
        (arm, seed, 0, 100 * arm.startswith("real"), 500 * (arm != "real"), 60.0, 30, max(curve))
        for (arm, seed), curve in CURVES.items()
    ]
    folder = project / tables.BENCHMARK / "fold0"
    write_table(
        pd.DataFrame(history, columns=["arm", "seed", "step", "loss", "val_miou"]),
        folder / "history.csv",
        "history",
    )
    names = ["arm", "seed", "fold", "real_chips", "synthetic_chips", "seconds", "best_step", "val_miou"]
    write_table(pd.DataFrame(runs, columns=names), folder / "runs.csv", "runs")
    return load_study(find_config("two")).model_copy(update={"folds": [0]}), project


def metrics() -> pd.DataFrame:
    rows = [
        metric_row("two", "02_train_generator", "training_seconds", 120.0, system="unified"),
        metric_row("two", "03_generate", "images_per_second", 5.0, system="mask", regime="unified-s0"),
    ]
    for arm, value in (("real+mask", 0.02), ("synthetic:mask", -0.01)):
        rows.append(metric_row("two", tables.BENCHMARK, "delta_miou", value, arm=arm, system="mask", low=value - 0.01,
                               high=value + 0.01, n=7, seeds=2))  # fmt: skip
    return pd.DataFrame(rows, columns=list(METRIC_COLUMNS))


def curve(points: dict[float, tuple[float, float]]) -> pd.DataFrame:
    rows = [
        metric_row("two", tables.BENCHMARK, "delta_miou", value, arm=f"real+mask@{ratio:g}", system="mask", low=-0.1,
                   high=high, n=7, seeds=2)
        for ratio, (value, high) in points.items()
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(METRIC_COLUMNS))


def test_reaching_real_is_timed_and_counted(study):
    found = cost_of_gain.cost_rows(*study, metrics()).set_index(["metric", "arm", "regime"])["value"]
    assert found["reached_real_miou", "real+mask", ""] == 1.0
    assert found["reached_real_miou", "synthetic:mask", ""] == 0.5
    assert found["seconds_to_real_miou", "real+mask", "counting=segmenter"] == pytest.approx(
        60 * (1 / 3 + 1) / 2
    )
    assert found["seconds_to_real_miou", "real+mask", "counting=all"] == pytest.approx(40 + 100 + 120)
    assert found["seconds_to_real_miou", "synthetic:mask", "counting=segmenter"] == pytest.approx(40)
    batch = study[0].benchmark.batch_size
    assert found["samples_to_real_miou", "real+mask", ""] == min(500, 20 * batch)


def test_gain_is_divided_by_samples_and_minutes_with_its_interval(study):
    found = cost_of_gain.cost_rows(*study, metrics()).set_index(["metric", "arm"])
    row = found.loc[("gain_per_1000_samples", "real+mask")]
    assert [row["value"], row["low"], row["high"]] == pytest.approx([0.04, 0.02, 0.06])
    minutes = (120 + 100 + 60) / 60
    assert found.loc[("gain_per_minute", "synthetic:mask"), "value"] == pytest.approx(-0.01 / minutes)
    shown = cost_of_gain.cost_table(found.reset_index()).set_index("arm")
    assert shown.loc["real+mask", "points per 1,000 samples"] == "+4.0 [+2.0, +6.0]"
    assert shown.loc["real+mask", "seconds to it, all"] == "260"


def test_a_curve_is_flat_from_the_smallest_ratio_that_holds_the_best():
    table = curve({0.5: (0.0, 0.005), 1: (0.01, 0.035), 2: (0.02, 0.04), 3: (0.03, 0.05)})
    systems = dict.fromkeys(table["arm"], "mask")
    (row,) = cost_of_gain.flat_rows("two", table, systems)
    assert (row["metric"], row["system"], row["value"], row["n"]) == ("flat_from_ratio", "mask", 1.0, 4)
    assert cost_of_gain.flat_rows("two", table.iloc[:2], systems) == []
    cutmix = table.assign(arm=table["arm"].str.replace("mask", "cutmix"))  # a number of steps is no ratio
    assert cost_of_gain.flat_rows("two", cutmix, dict.fromkeys(cutmix["arm"], "real")) == []
    equal = table.assign(arm=table["arm"] + "*")  # equal exposure is another curve
    assert cost_of_gain.flat_rows("two", equal, dict.fromkeys(equal["arm"], "mask")) == []


def more_steps() -> pd.DataFrame:
    """``real+mask`` gains 0.02 over ``real``, of which 0.015 are its steps."""
    fair = metric_row("two", tables.BENCHMARK, "delta_miou", 0.005, arm="real+mask", system="mask", low=-0.005, high=0.015,
                      regime="against=real@4", n=7, seeds=2)  # fmt: skip
    return pd.concat([metrics(), pd.DataFrame([fair], columns=list(METRIC_COLUMNS))])


def test_what_more_steps_gain_is_not_priced_as_the_chips_doing(study):
    own, root = study
    found = cost_of_gain.cost_rows(own, root, more_steps())
    row = tables.pick(found, "gain_per_1000_samples", arm="real+mask").iloc[0]
    assert row[["value", "low", "high"]].tolist() == pytest.approx([0.01, -0.01, 0.03])
    assert row["regime"] == "against=real@4"
    cost_of_gain.write_costs(
        cost_of_gain.cost_rows(own, root, metrics()), root / "09_report"
    )  # as it once was
    (root / tables.BENCHMARK / "fold0" / "history.csv").unlink()
    for _ in range(2):
        kept = cost_of_gain.cost_rows(own, root, more_steps())
        cost_of_gain.write_costs(kept, root / "09_report")
        again = tables.pick(kept, "gain_per_1000_samples", arm="real+mask").iloc[0]
        assert again[["value", "low", "high", "regime"]].tolist() == pytest.approx(
            row[["value", "low", "high", "regime"]].tolist()
        )
    other = tables.pick(kept, "gain_per_1000_samples", arm="synthetic:mask").iloc[0]
    assert (other["value"], other["regime"]) == (pytest.approx(-0.02), "")


def test_a_published_copy_keeps_the_rows_without_the_curves(study):
    own, root = study
    rows = cost_of_gain.cost_rows(own, root, metrics())
    cost_of_gain.write_costs(rows, root / "09_report")
    (root / tables.BENCHMARK / "fold0" / "history.csv").unlink()
    assert len(cost_of_gain.cost_rows(own, root, metrics())) == len(rows)
    wider = metrics().assign(high=lambda table: table["high"] + 0.05 * (table["metric"] == "delta_miou"))
    found = cost_of_gain.cost_rows(own, root, wider)  # the interval has been corrected since
    assert tables.pick(found, "gain_per_1000_samples", arm="real+mask")["high"].tolist() == pytest.approx(
        [0.16]
    )
    (root / "09_report" / cost_of_gain.FILE).unlink()  # a study published before there was such a table
    left = cost_of_gain.cost_rows(own, root, metrics())
    assert set(left["metric"]) == {"gain_per_1000_samples", "gain_per_minute"}
    assert cost_of_gain.cost_table(left).loc[0, "reach real, %"] == "–"


def test_the_figure_says_what_is_counted(study):
    table = metrics()
    figure, caption = cost_figures.gain_cost(cost_of_gain.cost_rows(*study, table), table)
    plt.close(figure)
    assert "1 fold, 1 generator" in caption
    with pytest.raises(GroundsynthError, match="name one under benchmark"):
        cost_figures.gain_cost(table, table)
