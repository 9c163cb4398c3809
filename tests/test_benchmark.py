"""The benchmark and the labelling on a world of eight chips: small enough to train in seconds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from groundsynth.artifacts import CHIPS, check_table, write_chips
from groundsynth.benchmark import labelling, segmentation
from groundsynth.benchmark.arms import parse_arms
from groundsynth.benchmark.counting import count_table
from groundsynth.benchmark.scores import chip_ranking, class_scores, metric_rows, seed_scores
from groundsynth.benchmark.segmentation import run_arms, training_masks
from groundsynth.benchmark.training_sets import BenchmarkData, arm_pools
from groundsynth.errors import GroundsynthError
from groundsynth.models.segmenter import Training, build_segmenter
from groundsynth.report.tables import paired_table

ENCODER = "tu-mobilenetv3_small_100"
TINY = Training("Unet", ENCODER, steps=2, batch_size=2, learning_rate=1e-3, validate_every=1)
CPU = torch.device("cpu")


def made_up_chips(n: int, seed: int, size: int = 32) -> pd.DataFrame:
    """Chips of four classes in stripes, two chips per block."""
    random = np.random.default_rng(seed)
    masks = [
        np.roll(np.repeat([0, 1, 2, 4], size // 4), k)[None].repeat(size, 0).astype(np.uint8)
        for k in range(n)
    ]
    images = [np.stack([40 * m] * 3, -1) + random.integers(0, 30, (size, size, 3), np.uint8) for m in masks]
    return pd.DataFrame(
        {
            "chip_id": [f"c{seed}-{k}" for k in range(n)],
            "image": images,
            "mask": masks,
            "block": np.arange(n) // 2,
        }
    )


@pytest.fixture(scope="module")
def data() -> BenchmarkData:
    real = {split: made_up_chips(4, k) for k, split in enumerate(("train", "val", "test"))}
    fake = made_up_chips(3, 9)
    pair = (np.stack(fake["image"]), np.stack(fake["mask"]))
    return BenchmarkData(0, real, {"joint": pair, "image": pair}, (0, 1, 2, 4))


@pytest.fixture(scope="module")
def result(data):
    return run_arms(parse_arms(["real", "real+joint"], ["joint"]), [0, 1], data, TINY, 1.0, CPU)


def test_tables_keep_their_schema(result):
    for name in segmentation.TABLES:
        kind = "counts" if name == "borders" else name
        check_table(getattr(result, name), kind, Path(name))


def test_every_arm_and_seed_is_counted_on_every_held_out_chip(result):
    """2 arms × 2 seeds × 2 splits × 4 chips × 7 classes, and 1024 labelled pixels per chip."""
    assert len(result.counts) == 2 * 2 * 2 * 4 * 7
    pixels = result.counts.groupby(["arm", "seed", "split", "chip_id"])[["tp", "fn"]].sum().sum(axis=1)
    assert (pixels == 32 * 32).all()


def test_arms_say_what_they_were_trained_on(result):
    sizes = result.runs.set_index(["arm", "seed"])[["real_chips", "synthetic_chips"]]
    assert sizes.loc[("real", 0)].tolist() == [4, 0]
    assert sizes.loc[("real+joint", 1)].tolist() == [4, 3]


def test_the_same_run_gives_the_same_counts(data, result):
    again = run_arms(parse_arms(["real"], []), [1], data, TINY, 1.0, CPU).counts
    first = result.counts.query("arm == 'real' and seed == 1").reset_index(drop=True)
    pd.testing.assert_frame_equal(again, first)


def test_a_killed_benchmark_repeats_no_finished_training(data, result, tmp_path, monkeypatch):
    arms, begun = parse_arms(["real", "real+joint"], ["joint"]), []
    real_run = segmentation.run_arm

    def killed_at_the_third(arm, seed, *rest):
        begun.append((arm.name, seed))
        if len(begun) == 3:
            raise KeyboardInterrupt
        return real_run(arm, seed, *rest)

    monkeypatch.setattr(segmentation, "run_arm", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        run_arms(arms, [0, 1], data, TINY, 1.0, CPU, kept=tmp_path)
    again = run_arms(arms, [0, 1], data, TINY, 1.0, CPU, kept=tmp_path)
    assert begun[3:] == [("real", 1), ("real+joint", 1)]
    pd.testing.assert_frame_equal(again.counts, result.counts)
    pd.testing.assert_frame_equal(again.history, result.history)
    assert all((again.labels[arm] == result.labels[arm]).all() for arm in result.labels)


@pytest.mark.parametrize("change", ["settings", "chips", "damage"])
def test_a_kept_training_is_only_used_for_the_same_settings_and_whole(data, tmp_path, monkeypatch, change):
    arms, begun = parse_arms(["real"], []), []
    real_run = segmentation.run_arm
    monkeypatch.setattr(segmentation, "run_arm", lambda *given: begun.append(1) or real_run(*given))
    run_arms(arms, [0], data, TINY, 1.0, CPU, kept=tmp_path)
    training = replace(TINY, learning_rate=2e-3) if change == "settings" else TINY
    if change == "chips":
        data = replace(data, real=data.real | {"train": made_up_chips(4, 5)})
    if change == "damage":
        (path,) = tmp_path.glob("*.npz")
        path.write_bytes(path.read_bytes()[:200])
    run_arms(arms, [0], data, training, 1.0, CPU, kept=tmp_path)
    assert len(begun) == 2


def test_every_score_is_reported_once_and_real_has_no_difference_to_itself(data, result):
    arms = parse_arms(["real", "real+joint"], ["joint"])
    rows = pd.DataFrame(metric_rows("smoke", result.counts, arms, data.primary, 50))
    assert rows.groupby("metric").size().to_dict() == {
        "delta_miou": 1, "iou": 14, "miou": 2, "miou_all": 2, "rare_iou": 2,
    }  # fmt: skip
    assert not rows.duplicated(["arm", "metric", "class"]).any()
    delta = rows.query("metric == 'delta_miou'").iloc[0]
    by_arm = seed_scores(result.counts, data.primary).groupby("arm")["miou"].mean()
    assert delta["value"] == pytest.approx(by_arm["real+joint"] - by_arm["real"])
    assert rows.query("metric == 'rare_iou'")["value"].isna().all(), "no rare class occurs in these chips"
    assert set(rows.loc[rows["metric"] == "miou", "n"]) == {2}, "two test blocks"


def test_a_filter_is_held_against_the_same_chips_unfiltered(data, result):
    """The counts of real stand in for the filtered arm, so that the filter's gain is known."""
    names = ["real", "real+joint", "real+joint:freemask"]
    filtered = result.counts[result.counts["arm"] == "real"].assign(arm=names[2])
    counts = pd.concat([result.counts, filtered], ignore_index=True)
    rows = pd.DataFrame(metric_rows("smoke", counts, parse_arms(names, ["joint"]), data.primary, 50))
    (gain,) = rows[rows["metric"] == "delta_miou_filter"].to_dict("records")
    delta = rows.query("metric == 'delta_miou' and arm == 'real+joint'").iloc[0]
    assert gain["arm"] == names[2]
    assert gain["value"] == pytest.approx(-delta["value"])
    assert (gain["low"], gain["high"]) == pytest.approx((-delta["high"], -delta["low"]))


def test_arms_of_more_steps_are_held_against_real_chips_of_as_many(data, result):
    """The counts of real stand in for real@4, those of real+joint for the arm with equal looks: the same difference."""
    names = ["real", "real+joint", "real@4", "real+joint@3*"]
    parts = [
        result.counts[result.counts["arm"] == like].assign(arm=arm)
        for arm, like in zip(names, [*names[:2], *names[:2]], strict=True)
    ]
    arms = parse_arms(names, ["joint"])
    rows = pd.DataFrame(metric_rows("smoke", pd.concat(parts), arms, data.primary, 50, regime="labels=10%"))
    deltas = rows[rows["metric"] == "delta_miou"].set_index(["arm", "regime"])[["value", "low", "high"]]
    assert deltas.loc[("real@4", "labels=10%")].tolist() == [0, 0, 0]
    assert deltas.loc[("real+joint@3*", "labels=10%;against=real@4")].tolist() == pytest.approx(
        deltas.loc[("real+joint", "labels=10%")].tolist()
    )
    assert len(deltas) == 4
    shown = paired_table(rows)
    assert shown[["arm", "against"]].to_numpy().tolist() == [["real+joint@3*", "real@4"]]
    assert paired_table(rows[rows["regime"] == "labels=10%"]).empty


def test_shares_and_ranking_come_from_counts(result):
    shares = class_scores(result.counts).groupby("class")["share"].first()
    assert shares.round(3).tolist() == [0.25, 0.25, 0.25, 0, 0.25, 0, 0]
    ranking = chip_ranking(result.counts)
    assert ranking.is_monotonic_increasing
    assert set(ranking.index) == {"c2-0", "c2-1", "c2-2", "c2-3"}


def test_perfect_labels_count_perfectly():
    chips = made_up_chips(2, 0)
    table = count_table(np.stack(chips["mask"]), chips, "val")
    assert table["fp"].sum() == table["fn"].sum() == 0
    assert table["tp"].sum() == 2 * 32 * 32


def test_a_system_without_chips_or_labels_is_refused(data):
    arms = parse_arms(["real", "synthetic:mask"], ["mask"])
    with pytest.raises(GroundsynthError, match="system 'mask' has no chips"):
        arm_pools(arms[1], data, 1.0)
    images, masks = data.synthetic["joint"]
    bare = BenchmarkData(0, data.real, {"mask": (images, np.full_like(masks, 255))}, data.primary)
    with pytest.raises(GroundsynthError, match="none of its 3 chips has a labelled pixel"):
        arm_pools(arms[1], bare, 1.0)


def synthetic_and_labels() -> tuple[pd.DataFrame, pd.DataFrame]:
    chips = made_up_chips(4, 5).assign(system=["joint", "joint", "image", "image"])
    labels = chips.assign(
        mask=[np.full_like(m, 3) for m in chips["mask"]], trust=list(np.stack(chips["mask"]))
    )
    return chips, labels[list(CHIPS["labels"])]


def test_only_chips_without_a_map_train_with_labels():
    chips, labels = synthetic_and_labels()
    masks = training_masks(chips, labels)
    assert [(m == 3).all() for m in masks] == [False, False, True, True]
    with pytest.raises(GroundsynthError, match="chip 'c5-3' has no label"):
        training_masks(chips, labels.iloc[:3])


# --- labelling -------------------------------------------------------------------------------


def test_swapped_maps_stay_in_their_system_and_never_at_home():
    chips = made_up_chips(8, 3).assign(system=["joint", "mask"] * 4)
    swapped = labelling.swap_maps(chips, 0)
    for system, group in chips.groupby("system"):
        own, given = (sorted(m.tobytes() for m in t.loc[group.index, "mask"]) for t in (chips, swapped))
        assert own == given, system
    assert not any((a == b).all() for a, b in zip(chips["mask"], swapped["mask"], strict=True))
    assert all((a == b).all() for a, b in zip(chips["image"], swapped["image"], strict=True))


def test_swapping_lowers_the_agreement_of_a_perfect_labeller():
    chips = made_up_chips(4, 3).assign(system="joint")
    labels = chips.assign(trust=chips["mask"])[list(CHIPS["labels"])]
    own = labelling.agreement_table(chips, labels)
    swapped = labelling.agreement_table(labelling.swap_maps(chips, 0), labels)
    assert (own["agreement"] == 1).all()
    assert (swapped["agreement"] < 1).all()
    check_table(own, "agreement", Path("agreement"))


def test_a_chip_without_a_map_has_trust_but_no_agreement():
    chips, labels = synthetic_and_labels()
    chips["mask"] = [*chips["mask"][:3], np.full((32, 32), 255, np.uint8)]
    row = labelling.agreement_table(chips, labels).iloc[3]
    assert np.isnan(row["agreement"])
    assert 0 <= row["trust"] <= 1
    assert labelling.has_map(chips).tolist() == [True, True, True, False]


def test_obedience_of_real_pairs_against_themselves_is_one():
    chips = made_up_chips(4, 3).assign(system="joint")
    labels = chips.assign(mask=[np.roll(m, 3) for m in chips["mask"]], trust=chips["mask"])
    counts = labelling.set_counts(labels, chips, chips["block"])
    row = labelling.obedience_row("smoke", "joint", counts, counts, (0, 1, 2, 4), "mask_obedience_ratio")
    assert row["value"] == 1
    assert row["low"] <= 1 <= row["high"]


def test_labelled_chips_pass_the_schema_of_labels(tmp_path):
    chips = made_up_chips(3, 1).assign(system="joint")
    labels = labelling.label_chips(build_segmenter("Unet", ENCODER), chips, 2)
    write_chips(labels, tmp_path / "labels.parquet", "labels")
    assert labels["chip_id"].tolist() == chips["chip_id"].tolist()


def test_rows_of_every_system_with_maps():
    chips = made_up_chips(6, 3).assign(system=["real", "real", "joint", "joint", "image", "image"])
    chips["mask"] = [
        np.full_like(m, 255) if s == "image" else m
        for m, s in zip(chips["mask"], chips["system"], strict=True)
    ]
    labels = made_up_chips(6, 3).assign(system=chips["system"], trust=chips["mask"])
    real = labelling.set_counts(labels.iloc[:2], chips.iloc[:2], np.arange(2))
    rows = pd.DataFrame(labelling.system_rows("smoke", chips, labels, real, (0, 1, 2, 4), 0))
    assert set(rows["system"]) == {"joint"}
    value = rows.set_index("metric")["value"]
    assert value["mask_obedience_ratio"] == 1
    assert value["mask_obedience_swapped"] < 1
