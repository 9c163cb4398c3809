"""Map, labeller and generator: patterns counted by hand, a generator that reads, and who may be asked."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from test_generator import chips, model  # noqa: F401  (fixtures)

from groundsynth.checks.three_readings import (
    PATTERNS,
    pattern_shares,
    read_images,
    reader_of,
    three_way_rows,
)
from groundsynth.errors import GroundsynthError
from groundsynth.models.solvers import SamplingSettings
from groundsynth.report.trust_figures import pattern_bars, pattern_caption

#          all agree, labeller alone, generator alone, map alone, all differ, not labelled
GIVEN = np.array([[[0, 0, 0, 0, 0, 255]]], np.uint8)
LABEL = np.array([[[0, 1, 0, 1, 1, 0]]], np.uint8)
READING = np.array([[[0, 0, 1, 1, 2, 0]]], np.uint8)


def test_each_pattern_is_counted_once():
    assert pattern_shares(GIVEN, LABEL, READING).tolist() == [[0.2] * 5]


def test_a_reading_without_a_class_agrees_with_nobody():
    blank = np.full_like(READING, 255)
    shares = dict(zip(PATTERNS, pattern_shares(GIVEN, LABEL, blank)[0].tolist(), strict=True))
    assert shares == {
        "all agree": 0,
        "labeller alone": 0,
        "generator alone": 0.4,
        "map alone": 0,
        "all differ": pytest.approx(0.6),
    }


def test_chips_without_a_label_have_no_share():
    assert np.isnan(pattern_shares(np.full_like(GIVEN, 255), LABEL, READING)).all()


def test_rows_say_who_stands_against_whom():
    random = np.random.default_rng(0)
    given = random.integers(0, 3, (12, 8, 8)).astype(np.uint8)
    reading = random.integers(0, 3, given.shape).astype(np.uint8)
    systems = ["real"] * 6 + ["mask"] * 6
    rows = pd.DataFrame(three_way_rows("s", systems, given, given.copy(), reading))
    kappa = rows[rows["metric"] == "three_way_kappa"].set_index(["system", "arm"])["value"]
    assert (kappa.xs("map and labeller", level="arm") == 1).all()
    assert (kappa.xs("map and generator", level="arm").abs() < 0.2).all()
    shares = rows[rows["metric"] == "agreement_pattern"].pivot_table("value", "system", "arm")
    assert np.allclose(shares.sum(axis=1), 1)
    assert (shares["map alone"] == 0).all(), "the labeller never leaves the map"
    assert (shares["generator alone"] > 0.5).all()
    assert set(rows["n"]) == {6}
    caption = pattern_caption(rows, 3)
    assert "vote of 3" in caption
    assert "real 6, mask 6" in caption
    assert len(pattern_bars(rows).axes[0].patches) == 10


def test_a_generator_reads_every_chip_the_same_alone_or_among_others(model):  # noqa: F811
    size = model.config.chip_size
    images = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), np.uint8)
    three = pd.DataFrame({"chip_id": ["a", "b", "c"], "image": list(images)})
    way = SamplingSettings(3, "dpmpp_2m", (0.2, 80.0), 2)
    together = read_images(model, three, 3, way, torch.device("cpu"))
    alone = read_images(model, three.iloc[[1]], 3, way, torch.device("cpu"))
    assert together.shape == (3, size, size)
    assert (together[1] == alone[0]).mean() >= 0.99
    assert (together[0] != together[2]).any()


def test_only_a_generator_that_learnt_to_read_is_asked():
    assert reader_of(["spade-s0", "image-s0", "unified-s1"]) == "unified-s1"
    with pytest.raises(
        GroundsynthError, match=r"mask-s0 learnt to read maps; .* set label.second_opinion to 0"
    ):
        reader_of(["mask-s0"])
