"""The commands compare-contrastive and clean-captions, on chips whose colours say everything."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from test_contrastive import SMALL, KnowsColours, OneWord, halves, plain

from groundsynth.artifacts import check_table
from groundsynth.captions.layout import describe_layout
from groundsynth.checks.contrastive import HeldOut
from groundsynth.checks.pairs import layout_writer, make_pairs
from groundsynth.config import load_study
from groundsynth.models.contrastive import Fitting, train_once
from groundsynth.paths import project_root
from groundsynth.report.contrastive_figures import plot_ranked_pairs, ranked_places
from groundsynth.workflow import cleaning_study, contrastive_study

PLAN = Fitting(steps=1)


def held_out(n=24, seed=7):
    images, maps = halves(n, seed)
    return HeldOut(images, maps, [describe_layout(m, i) for i, m in enumerate(maps)], np.arange(n) // 4)


def test_rates_are_averaged_over_the_classes_that_are_there():
    counts = np.array([[[3, 4], [1, 2], [0, 0]], [[0, 0], [0, 0], [0, 0]]], float)
    np.testing.assert_allclose(contrastive_study.mean_rate(counts), [0.625, np.nan])


class Perfect:
    """Knows which caption is whose: the place in the list is the answer."""

    def encode_images(self, images):
        return np.eye(len(images), dtype=np.float32)

    encode_captions = encode_images


def test_hits_of_a_perfect_model(monkeypatch):
    monkeypatch.setattr(contrastive_study, "name_dominant", lambda model, images: np.full(len(images), -1))
    hits = contrastive_study.count_hits(Perfect(), held_out())
    assert hits["auc"].shape == (6, 1, 2)
    for measure, trials in (("auc", 240), ("retrieval_recall_at_10", 48)):
        assert hits[measure].sum((0, 1)).tolist() == [trials, trials]
    assert hits["dominance_balanced_accuracy"].sum((0, 1)).tolist() == [0, 24]


def test_arms_are_compared_with_the_first_over_the_same_blocks_and_seeds():
    random = np.random.default_rng(0)
    hits = random.integers(0, 5, (1, 3, 6, 1)).astype(float)
    counts = np.stack([np.concatenate([hits, hits, hits + 4]), np.full((3, 3, 6, 1), 10.0)], -1)
    rows = contrastive_study.arm_rows("s", "auc", counts, ["real", "same", "better"], "split=test", 24)
    delta = {row["arm"]: row for row in rows if row["metric"] == "delta_auc"}
    assert (delta["same"]["low"], delta["same"]["value"], delta["same"]["high"]) == (0, 0, 0)
    assert delta["better"]["low"] == pytest.approx(0.4)  # paired: every block gains the same
    assert delta["better"]["high"] == pytest.approx(0.4)


def test_every_arm_is_trained_and_tested(tmp_path, monkeypatch):
    study = load_study(project_root() / "config" / "smoke.yaml")
    writer = layout_writer()
    sets = {
        name: make_pairs(*halves(8, k), writer, (name,), 1)
        for k, name in enumerate(("real", *study.generate.systems))
    }
    monkeypatch.setattr(contrastive_study, "read_sets", lambda *_: sets)
    monkeypatch.setattr(contrastive_study, "read_held_out", lambda *_: held_out(12))
    monkeypatch.setattr(contrastive_study, "results_dir", lambda _: tmp_path)
    monkeypatch.setattr(contrastive_study, "train_once", partial(train_once, sizes=SMALL))
    table = contrastive_study.compare_contrastive(study, 0, [0, 1], 1, tmp_path)
    arms = {"real", *(f"{p}{s}" for s in study.generate.systems for p in ("synthetic:", "real+"))}
    values = table[table["metric"] == "retrieval_recall_at_10"]
    assert set(values["arm"]) == arms | {"chance"}
    assert set(table[table["metric"] == "delta_auc"]["arm"]) == arms - {"real"}
    assert set(table["regime"].str.split(";").str[0]) == {"split=val+hidden", "split=test"}
    assert (tmp_path / "gains.png").is_file()
    assert "2 seeds" in (tmp_path / "gains.txt").read_text()
    assert len(list((tmp_path / "checkpoints" / "contrastive").iterdir())) == 2 * len(arms)


def test_cleaning_finds_errors_and_mends_captions():
    images, maps = plain(64, 2)
    ids, blocks = np.array([f"c{i}" for i in range(64)]), np.arange(64) // 4
    val_images, val_maps = plain(32, 7)
    val = HeldOut(val_images, val_maps, [], np.arange(32) // 4)
    readings = maps.copy()
    readings[::2] = 3  # half of them are wrong, so those chips wait for the second round
    ground = cleaning_study.Ground(ids, images, maps, blocks, readings, val, None, val_maps)
    writer, described = OneWord(), cleaning_study.plant_errors(maps, 0.25, 0)[0]
    wrong = (described != maps).any((1, 2))
    pairs = cleaning_study.validation_pairs(val, writer)
    seen = cleaning_study.clean(ground, described, pairs, writer, PLAN, lambda *_: KnowsColours())
    np.testing.assert_array_equal(seen.round_of != 0, wrong)
    assert {1, 2} <= set(seen.round_of[wrong])
    np.testing.assert_array_equal(seen.final, maps)  # mended by the reading, or by a chip that looks the same
    rows = cleaning_study.judge_rows("s", ground, described, seen, writer, "planted=25%")
    precision = {row["arm"]: row["value"] for row in rows if row["metric"] == "claim_precision"}
    assert precision["uncleaned"] == pytest.approx(1 - wrong.mean())
    assert precision["inner_loop"] == precision["cleaned"] == 1
    assert precision["random_drop"] < 1
    change = {row["arm"]: row["value"] for row in rows if row["metric"] == "delta_claim_precision"}
    assert change["cleaned-uncleaned"] == pytest.approx(wrong.mean())
    assert change["cleaned-random_drop"] == pytest.approx(1 - precision["random_drop"])
    table = check_table(cleaning_study._cleaned_table(ground, seen, writer, 0), "cleaned", "x")
    assert (table["verdict"] == "rewritten").sum() == wrong.sum()


def test_downstream_models_are_other_models(tmp_path):
    images, maps = halves(16, 2)
    ground = cleaning_study.Ground(
        np.arange(16), images, maps, np.arange(16) // 4, maps, None, held_out(12), None
    )
    seen = cleaning_study.Cleaned(np.zeros(16), None, maps, np.r_[np.zeros(12, int), -np.ones(4, int)])
    asked = []

    def train(pairs, fitting, names, sizes=None):
        asked.append((len(pairs.images), sizes, names))
        return train_once(pairs, Fitting(steps=1), names, tmp_path, sizes=SMALL)

    rows = cleaning_study.downstream_rows(
        "s", ground, maps, seen, layout_writer(), 1, [0, 1], train, "planted=0%"
    )
    assert sorted(n for n, *_ in asked) == [12] * 4 + [16] * 2  # as many dropped at random as by the score
    assert {sizes for _, sizes, _ in asked} == {cleaning_study.JUDGE_SIZES}
    assert {row["arm"] for row in rows if row["metric"] == "delta_auc"} == {
        "cleaned-uncleaned",
        "cleaned-random_drop",
    }


def test_ranks_are_of_the_scores():
    places = ranked_places(np.array([5.0, 1, 4, 2, 3]), 1)
    assert places.tolist() == [[1], [4], [0]]
    assert ranked_places(np.array([1.0]), 6).tolist() == [[0], [0], [0]]
    images, _ = halves(5)
    figure = plot_ranked_pairs(images, list("abcde"), np.arange(5.0), np.arange(5) == 0, n=2)
    assert figure.axes[0].get_title("left") == "lowest 0.00"
    assert figure.axes[-1].xaxis.label.get_text() == "e"
