"""Captions that have not looked must score like it, and true ones above them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from groundsynth.artifacts import check_table
from groundsynth.captions.layout import describe_layout
from groundsynth.captions.map_facts import count_maps
from groundsynth.checks.agreement import matched_partners
from groundsynth.checks.caption_controls import constant_caption, control_measure_rows, random_captions
from groundsynth.checks.caption_scores import (
    false_discovery_rate,
    kind_accuracy,
    mention_recall,
    score_captions,
    score_rows,
)
from groundsynth.checks.resampling import bootstrap_interval

HALVES = np.zeros((8, 8), np.uint8)
HALVES[:, 4:] = 6  # forest in the west, water in the east


def table(*captions: str) -> pd.DataFrame:
    names = [f"c{i}" for i in range(len(captions))]
    return pd.DataFrame({"chip_id": names, "system": "real", "caption_index": 0, "caption": captions})


def test_mentions_places_and_neighbours_by_hand():
    captions = table("Forest in the west, beside water.", "Crops in the west.", "Nothing to see.")
    scores = score_captions(captions, dict.fromkeys(captions["chip_id"], HALVES))
    assert scores["mention_true"].tolist() == [2, 0, 0]
    assert scores["mention_false"].tolist() == [0, 1, 0]
    assert false_discovery_rate(scores) == pytest.approx(1 / 3)
    assert mention_recall(scores) == pytest.approx(2 / 6)  # two classes on three chips
    assert kind_accuracy("position")(scores) == pytest.approx(1 / 2)
    assert kind_accuracy("adjacent")(scores) == 1
    assert np.isnan(kind_accuracy("adjacent")(scores.iloc[1:]))


def test_the_constant_names_what_is_common():
    maps = np.stack([HALVES, HALVES, np.zeros((8, 8), np.uint8)])
    assert (
        constant_caption(count_maps(maps)) == "The scene is mostly tree cover, at 50%. There is also water."
    )


def test_random_text_depends_on_its_names_alone():
    assert random_captions(3, "a") == random_captions(3, "a") != random_captions(3, "b")


def test_matched_partners_have_the_nearest_shares_and_another_map():
    maps = np.stack([HALVES, HALVES[:, ::-1], np.zeros((8, 8), np.uint8), HALVES])
    partners = matched_partners(maps)
    assert partners[[0, 1, 3]].tolist() == [1, 0, 1]
    assert partners[2] in (0, 1)  # both as near
    assert matched_partners(maps[[0, 3]]).tolist() == [0, 1]


def described(n: int) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    generator = np.random.default_rng(0)
    maps = np.kron(generator.choice([0, 2, 3, 6], (n, 3, 3)).astype(np.uint8), np.ones((1, 8, 8), np.uint8))
    captions = table(*(describe_layout(labels, seed) for seed, labels in enumerate(maps)))
    return captions, dict(zip(captions["chip_id"], maps, strict=True))


def test_true_captions_beat_every_control():
    captions, maps = described(60)
    rows = score_rows("smoke", "06_ground", score_captions(captions, maps), "layout", "against=map")
    rows += control_measure_rows("smoke", "06_ground", captions, maps, "against=map")
    metrics = pd.DataFrame(rows)
    check_table(metrics, "metrics", "metrics.csv")
    assert not metrics.duplicated(["metric", "arm", "system", "regime"]).any()
    value = metrics.set_index(["metric", "arm"])["value"]
    low = metrics.set_index(["metric", "arm"])["low"]
    high = metrics.set_index(["metric", "arm"])["high"]
    for arm in ("shuffled_caption", "swapped_map", "matched_swap", "random_text", "constant"):
        assert high["claim_precision", arm] < value["claim_precision", "layout"] == 1
        assert value["share_error_pp", arm] > value["share_error_pp", "layout"]
    for arm in ("shuffled_caption", "swapped_map", "random_text"):
        assert high["dominance_balanced_accuracy", arm] < low["dominance_balanced_accuracy", "layout"] == 1
        assert high["position_accuracy", arm] < low["position_accuracy", "layout"] == 1
    assert value["false_discovery_rate", "layout"] == 0 < value["false_discovery_rate", "random_text"]


def test_intervals_over_blocks_draw_whole_blocks():
    values = np.repeat([0.0, 1.0], 50)  # two blocks of equal chips
    blocks = np.repeat(["a", "b"], 50)
    low, high = bootstrap_interval(lambda draw: values[draw].mean(), 100, "x", groups=blocks)
    assert (low, high) == (0, 1)
    narrow = bootstrap_interval(lambda draw: values[draw].mean(), 100, "x")
    assert narrow[1] - narrow[0] < 0.3
    assert bootstrap_interval(lambda draw: 0.0, 100, "x", groups=np.zeros(100)) == (None, None)


def test_scores_take_the_block_as_their_unit():
    captions, maps = described(4)
    scores = score_captions(captions, maps, {"c0": 7, "c1": 7})
    assert scores["unit"].tolist() == ["7", "7", "c2", "c3"]
