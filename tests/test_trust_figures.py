"""Figures on trust show what was measured, and only that."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from made_up_labeller import Reads
from test_label_filters import made_up_chips

from groundsynth.artifacts import write_metrics
from groundsynth.checks.calibration import measure_calibration
from groundsynth.checks.label_corruption import CORRUPTIONS, choose_and_try
from groundsynth.checks.label_filters import filter_chips
from groundsynth.models.labeller import Labeller
from groundsynth.report.trust_figures import (
    filter_caption,
    filter_curves,
    filter_panel,
    panel_chips,
    reliability_caption,
    reliability_diagram,
    trust_findings,
)

LABELLER = Labeller((Reads(0.0),))


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def tried():
    return choose_and_try("s", LABELLER, made_up_chips(), 0.9, 0.9, 4, 0)


def test_curves_of_a_perfect_labeller_lie_at_the_top(tried):
    _, table, ranked, rows = tried
    axes = filter_curves(ranked, pd.DataFrame(rows)).axes[: len(CORRUPTIONS)]
    for axis in axes:
        curves = [line for line in axis.lines if line.get_linestyle() == "-" and len(line.get_xdata()) > 1]
        assert len(curves) == 3
        assert all(line.get_ydata()[0] == 1 for line in curves)
    assert "12 chips" in filter_caption(table, 4, 12)
    assert "agreement 0%" in filter_caption(table, 4, 12)


@pytest.mark.parametrize("missing", [CORRUPTIONS, CORRUPTIONS[:1]])
def test_what_was_not_possible_is_not_drawn(tried, missing):
    _, _, ranked, rows = tried
    left = {key: counts for key, counts in ranked.items() if key[0] not in missing}
    figure = filter_curves(left, pd.DataFrame([row for row in rows if row["arm"] not in missing]))
    assert len(figure.axes[0].lines) == 1, "chance alone"
    assert len(figure.legends[0].get_texts()) == 3


def test_reliability_and_findings_quote_the_rows(tried, tmp_path):
    chips = made_up_chips().assign(split=["val"] * 6 + ["test"] * 6)
    _, rows, bins = measure_calibration("s", LABELLER, chips)
    metrics = write_metrics(rows + tried[3], tmp_path / "metrics.csv")
    counts = [bins[metric, "test"] for metric in ("ece_before", "ece_after")]
    figure = reliability_diagram(*counts, metrics, "test")
    assert [text.get_text() for text in figure.axes[2].get_yticklabels()][:2] == [
        "all pixels",
        "named tree cover",
    ]
    assert f"n = {6 * 32 * 32:,} pixels" in reliability_caption(counts[0], 0.7)
    told = trust_findings(metrics)
    assert "after scaling (2 blocks)" in told
    assert told.count("Lift on") == len(CORRUPTIONS)


def test_the_panel_shows_every_filter(tried):
    chips = made_up_chips()
    labels = chips[["chip_id", "mask"]]
    agreement = chips[["chip_id", "system"]].assign(agreement=np.linspace(0, 1, len(chips)))
    few, at = panel_chips(agreement, chips, labels)
    assert few["system"].tolist() == ["mask"] * 3 + ["joint"] * 3
    assert at[0] == 0
    assert at[-1] == len(chips) - 1
    after, _ = filter_chips("s", ["freemask"], few, np.full(6, -1), LABELLER, tried[0])
    figure = filter_panel(few, after)
    assert [axis.get_title(loc="left") for axis in figure.axes[:4]] == ["image", "map", "label", "freemask"]
