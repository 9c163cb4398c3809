"""The choice of stage 05's captioner, and the benchmark of stage 08: same for all arms, counted first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from groundsynth.artifacts import check_table, metric_row
from groundsynth.benchmark.arms import parse_arms
from groundsynth.captioning import benchmark, own_captioner
from groundsynth.captioning.benchmark import CaptioningData, arm_pools, references, run_arms
from groundsynth.captioning.held_out import (
    clear_majority,
    held_out_captions,
    held_out_rows,
    held_out_views,
    other_blocks,
)
from groundsynth.captioning.results import SHUFFLED, block_sums, captioning_rows, score_table
from groundsynth.captioning.validation import all_views, claim_score
from groundsynth.captions.layout import describe_layout
from groundsynth.captions.map_facts import count_maps
from groundsynth.checks.claims import TRUE, check_caption
from groundsynth.errors import GroundsynthError
from groundsynth.models.captioner import CaptionerShape
from groundsynth.models.captioner_training import CaptionerTraining
from groundsynth.models.segmenter import Training, build_segmenter, make_pool, save_segmenter
from groundsynth.report.captioning_figures import captioner_curves, captioning_findings

CPU = torch.device("cpu")
ARMS = ["real", "synthetic:joint", "real+joint"]
TINY = CaptionerTraining(2, 2, 1e-3, 2, 1, shape=CaptionerShape(grid=4, width=32, layers=1))


def chips(n: int, split: str = "test") -> pd.DataFrame:
    """Return n chips of 32 px in n blocks: mostly forest or water, and built-up land in the north."""
    random, maps = np.random.default_rng(0), []
    for i in range(n):
        labels = np.full((32, 32), 6 if i % 2 else 0, np.uint8)
        labels[: 3 + i] = 4
        maps.append(labels)
    images = [random.integers(0, 255, (32, 32, 3)).astype(np.uint8) for _ in range(n)]
    names = [f"{split}{i}" for i in range(n)]
    return pd.DataFrame(
        {"chip_id": names, "system": "real", "split": split, "block": range(n), "image": images, "mask": maps}
    )


def truths(views: pd.DataFrame) -> list[str]:
    return [describe_layout(mask, i) for i, mask in enumerate(views["mask"])]


def value(rows: list[dict], metric: str, arm: str, regime: str = "") -> float:
    found = [r for r in rows if r["metric"] == metric and r["arm"] == arm and r["regime"].endswith(regime)]
    assert len(found) == 1, (metric, arm, len(found))
    return found[0]["value"]


# --- views and held-out ground ---------------------------------------------------------------


def test_views_are_the_chip_and_its_map_turned_alike():
    source = chips(3)
    views = all_views(source)
    assert len(views) == 24
    assert views["chip_id"].is_unique
    for row in views.itertuples():
        name, _, number = row.chip_id.partition("/")
        original = source.set_index("chip_id").loc[name]
        assert row.block == original["block"]
        again = all_views(source[source["chip_id"] == name]).set_index("chip_id").loc[row.chip_id]
        assert (again["mask"] == row.mask).all()
        assert int(number) > 0 or (row.image == original["image"]).all()


def test_true_captions_have_the_best_validation_score_and_silence_the_worst():
    views = all_views(chips(4))
    score = claim_score(views)
    assert score(truths(views)) == 1
    assert score([None] * len(views)) == 0
    assert 0 < score(list(np.roll(np.array(truths(views), object), 1))) < 1


def test_another_block_is_another_block():
    blocks = np.repeat([1, 2, 3], 4)
    partner = other_blocks(blocks, "t")
    assert (blocks[partner] != blocks).all()
    assert (other_blocks(np.ones(3), "t") == np.arange(3)).all()


def test_a_clear_majority_leads_by_more_than_ten_points():
    maps = np.zeros((3, 10, 10), np.uint8)
    maps[0, :5], maps[1, :4], maps[2] = 6, 6, 255  # halves; 60 to 40; nothing known
    assert clear_majority(count_maps(maps)).tolist() == [False, True, False]


def test_held_out_rows_of_true_captions_and_of_the_controls():
    views = held_out_views(pd.concat([chips(6), chips(2, "train"), chips(4, "hidden")]))
    assert len(views) == 80, "training chips are no held-out ground"
    true = truths(views)
    labels = {f"{split}{i}": mask for split in ("test", "hidden") for i, mask in enumerate(chips(6)["mask"])}
    told = held_out_captions(views, lambda images: true, labels, describe_layout)
    rows = held_out_rows("s", "05_caption", views, told)
    assert value(rows, "claim_precision", "captioner", "held-out") == 1
    assert value(rows, "claim_precision", "layout_on_labeller", "held-out") == 1, "its maps are turned too"
    assert value(rows, "claim_precision", "shuffled_image", "held-out") < 0.9
    assert value(rows, "dominance_balanced_accuracy", "captioner", "clear") == 1
    assert value(rows, "dominance_balanced_accuracy", "constant", "clear") == 0.5
    assert value(rows, "dominance_gain", "captioner", "clear") == 0.5
    assert {row["n"] for row in rows if row["arm"] == "captioner"} == {10}


# --- stage 05 --------------------------------------------------------------------------------


def test_the_candidate_that_validates_best_is_chosen_and_kept(tmp_path, monkeypatch):
    save_segmenter(build_segmenter("Unet", "resnet18"), tmp_path / "labeller", "Unet", "resnet18")
    source = pd.concat([chips(4, "train"), chips(2, "val")], ignore_index=True)
    settings = {
        "starts": ["labeller", "chance"], "styles": ["plain"], "steps": 2, "batch_size": 2, "wordings": 1,
        "learning_rate": 1e-3, "validate_every": 2, "tuned": False, "width": 32, "layers": 1, "beams": 1,
        "temperature": 0.0, "seed": 0, "checkpoint_seconds": 60,
    }  # fmt: skip
    how = (source, settings, "words", tmp_path / "labeller", tmp_path / "kept", 0, CPU)
    network, candidates = own_captioner.own_captioner(*how)
    assert candidates["candidate"].tolist() == ["from labeller, plain", "from chance, plain"]
    assert candidates["chosen"].sum() == 1
    assert candidates.loc[candidates["chosen"], "val_score"].item() == candidates["val_score"].max()

    def never(*_, **__):
        raise AssertionError("a finished captioner is trained again")

    monkeypatch.setattr(own_captioner, "train_captioner", never)
    again, same = own_captioner.own_captioner(*how)
    assert again.version == network.version
    pd.testing.assert_frame_equal(same, candidates)
    how[1]["beams"] = 3  # how it is decoded later changes no training
    assert own_captioner.own_captioner(*how)[0].version == network.version
    how[1]["steps"] = 3
    with pytest.raises(AssertionError, match="trained again"):
        own_captioner.own_captioner(*how)


# --- stage 08 --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data() -> CaptioningData:
    pools = {
        name: make_pool(name, *(np.stack(chips(4, name)[column].tolist()) for column in ("image", "mask")))
        for name in ("real", "joint")
    }
    return CaptioningData(0, pools, all_views(chips(2, "val")), all_views(chips(3)))


def written(views: pd.DataFrame, arm: str, texts: list[str], seed: int = 0, style: str = "words"):
    return views[["chip_id", "block"]].assign(arm=arm, seed=seed, style=style, caption=texts)


def test_an_arm_s_chips_are_those_of_its_name(data):
    arms = parse_arms(ARMS, ["joint"])
    pools = [[(pool.name, pool.weight) for pool in arm_pools(arm, data, 2.0)] for arm in arms]
    assert pools == [[("real", 1.0)], [("joint", 2.0)], [("real", 1.0), ("joint", 2.0)]]
    with pytest.raises(GroundsynthError, match="system 'mask' has no chips"):
        arm_pools(parse_arms(["real", "real+mask"], ["mask"])[1], data, 1.0)


def test_references_are_true_and_depend_on_the_view_alone(data):
    all_of_them = references(data.test, "plain", "numbers")
    assert references(data.test[5:6], "plain", "numbers") == all_of_them[5:6]
    for texts, mask in zip(all_of_them, data.test["mask"], strict=True):
        assert len(texts) == 5
        assert all(verdict == TRUE for text in texts for _, verdict in check_caption(text, mask))


def test_every_arm_starts_alike_and_a_finished_training_is_not_repeated(data, tmp_path, monkeypatch):
    arms = parse_arms(ARMS[:2], ["joint"])
    seeing = replace(TINY, shape=replace(TINY.shape, reads_map=True))
    sight = Training("Unet", "resnet18", 2, 2, 1e-3, 2)
    how = ([0], ["words"], data, seeing, sight, 1.0, "plain", 1, CPU, iter, tmp_path)
    first = run_arms(arms, *how)
    assert len(first.captions) == 2 * len(data.test)
    check_table(first.runs, "captioning_runs", tmp_path)
    check_table(first.history, "captioning_history", tmp_path)
    assert first.runs[["real_chips", "synthetic_chips"]].values.tolist() == [[4, 0], [0, 4]]

    def never(*_, **__):
        raise AssertionError("a finished training is repeated")

    monkeypatch.setattr(benchmark, "train_captioner", never)
    again = run_arms(arms, *how)
    pd.testing.assert_frame_equal(again.captions, first.captions)
    with pytest.raises(AssertionError, match="repeated"):
        run_arms(arms, [1], *how[1:])


def test_scores_of_true_captions_and_of_the_control(data):
    """The arm that speaks the truth has all claims right; the same words for other blocks have not."""
    views, arms = data.test, parse_arms(ARMS, ["joint"])
    true = [texts[0] for texts in references(views, "plain", "words")]
    wrong = ["The scene is entirely cropland."] * len(views)
    captions = pd.concat(
        [
            written(views, a, t, seed)
            for seed in (0, 1)
            for a, t in zip(ARMS, (true, wrong, true), strict=True)
        ]
    )
    table = score_table(captions, views, "plain", meteor=False)
    check_table(table, "test_captions", Path("x.csv"))
    rows = captioning_rows("s", table, arms, 100)
    assert value(rows, "claim_precision", "real") == 1
    assert value(rows, "claim_recall", "real") == 1
    assert value(rows, "dominance_balanced_accuracy", "real") == 1
    assert value(rows, "bleu4", "real") == pytest.approx(1, abs=1e-6), "each is one of its own references"
    assert value(rows, "claim_precision", "synthetic:joint") == 0
    assert value(rows, "delta_claim_precision", "synthetic:joint") == -1
    assert value(rows, "claim_precision", SHUFFLED) < 1
    assert value(rows, "cider", SHUFFLED) < value(rows, "cider", "real")
    assert value(rows, "dominance_balanced_accuracy", "constant") == 0.5
    same = next(r for r in rows if r["metric"] == "delta_cider" and r["arm"] == "real+joint")
    assert (same["value"], same["low"], same["high"]) == (0, 0, 0), (
        "pairs of equal captions differ in no draw"
    )
    assert np.isnan(value(rows, "meteor", "real"))
    assert {(row["n"], row["seeds"]) for row in rows} == {(3, 2)}
    assert {row["regime"] for row in rows} == {"style=words"}


def test_arms_that_ran_on_other_seeds_are_not_compared(data):
    views = data.test
    texts = truths(views)
    captions = pd.concat([written(views, "real", texts), written(views, "real+joint", texts, seed=1)])
    table = score_table(captions, views, "plain", meteor=False)
    with pytest.raises(GroundsynthError, match=r"no caption for seed 1 in block 0"):
        block_sums(table, ["real", "real+joint"])


def test_sums_add_up_to_the_captions(data):
    views = data.test
    table = score_table(written(views, "real", truths(views)), views, "plain", meteor=False)
    sums = block_sums(table, ["real", SHUFFLED])
    assert sums.shape[:4] == (2, 1, 3, 1)
    assert sums[0, 0, :, 0, 0].tolist() == [8, 8, 8]
    assert sums[0, 0, :, 0, 1].sum() == table.loc[table["arm"] == "real", "true"].sum()


def test_curves_of_one_system_are_told_apart_without_colour():
    rows = [("words", arm, 0, step, 0.5) for arm in ARMS for step in (1, 2)]
    figure = captioner_curves(pd.DataFrame(rows, columns=["style", "arm", "seed", "step", "val_f1"]))
    looks = {(line.get_marker(), line.get_linestyle()) for line in figure.axes[0].lines}
    plt.close(figure)
    assert len(looks) == len(ARMS)


@pytest.mark.parametrize(("low", "high", "blind"), [(-0.1, 0.1, True), (0.0, 0.0, True), (-0.4, -0.2, False)])
def test_captioners_that_may_not_look_are_said_so(low, high, blind):
    """Arm real does as well with another block's image: then no arm's difference is of sight."""
    rows = [
        metric_row(
            "s", "08_benchmark_captioning", name, 0.5, arm="real", regime="style=words", low=0.4, high=0.6
        )
        for name in ("cider", "claim_precision", "claim_recall", "dominance_balanced_accuracy")
    ]
    for name in ("delta_cider", "delta_claim_precision"):
        rows.append(
            metric_row(
                "s", "08_benchmark_captioning", name, (low + high) / 2, arm=SHUFFLED, regime="style=words",
                low=low, high=high,
            )
        )  # fmt: skip
    said = captioning_findings(pd.DataFrame(rows))
    assert ("captioners look is not shown" in said) == blind
