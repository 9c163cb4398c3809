"""What arms train with: pools, recipes and phases, by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from test_benchmark import TINY, made_up_chips

from groundsynth.benchmark import segmentation
from groundsynth.benchmark.arms import parse_arm, parse_arms
from groundsynth.benchmark.mixing import copy_paste, cutmix, oversampling
from groundsynth.benchmark.scores import benchmark_rows
from groundsynth.benchmark.segmentation import run_arms, run_networks
from groundsynth.benchmark.training_sets import BenchmarkData, arm_phases, arm_pools, match_colours
from groundsynth.errors import GroundsynthError
from groundsynth.models.segmenter import draw_batch, make_pool, predict, train_segmenter

CPU = torch.device("cpu")
SYSTEMS = ["mask"]
PLAN = replace(TINY, steps=11)


def numbered(n: int, first: int, split: str = "") -> pd.DataFrame:
    """Chips whose every pixel holds their number, all of class 0."""
    return pd.DataFrame(
        {"chip_id": [f"{split}{k}" for k in range(n)], "block": range(n),
         "image": [np.full((32, 32, 3), first + k, np.uint8) for k in range(n)],
         "mask": [np.zeros((32, 32), np.uint8)] * n}
    )  # fmt: skip


@pytest.fixture
def data() -> BenchmarkData:
    real = {split: numbered(8, 0, split) for split in ("train", "val", "test")}
    fake = numbered(3, 100)
    return BenchmarkData(0, real, {"mask": (np.stack(fake["image"]), np.stack(fake["mask"]))}, (0,))


def shown(pool) -> list[int]:
    return pool.images[:, 0, 0, 0].tolist()


@pytest.mark.parametrize(
    ("name", "steps", "pools"),
    [
        ("real", [11], [["real"]]),
        ("real@2", [22], [["real"]]),
        ("real@0.5", [6], [["real"]]),
        ("real+mask@3", [11], [["real", "mask"]]),
        ("real+mask@3*", [44], [["real", "mask"]]),
        ("mix:mask@50", [11], [["real", "mask"]]),
        ("real+cutmix@4", [44], [["real"]]),
        ("synthetic:mask@4", [44], [["mask"]]),
        ("bridge:mask", [5, 6], [["mask"], ["real"]]),
        ("bridge:mask@3", [8, 3], [["mask"], ["real"]]),
        ("bridge:mask@3*", [33, 11], [["mask"], ["real"]]),  # real chips for as many steps as in real
        ("reverse:mask", [6, 5], [["real"], ["mask"]]),
        ("reverse:mask@3*", [11, 33], [["real"], ["mask"]]),
    ],
)
def test_steps_and_order_of_every_kind_of_arm(data, name, steps, pools):
    phases = arm_phases(parse_arm(name, SYSTEMS), data, PLAN, 1.0, 0)
    assert [phase.training.steps for phase in phases] == steps
    assert [[pool.name for pool in phase.pools] for phase in phases] == pools


def test_equal_exposure_looks_at_real_chips_as_often_as_real_does(data):
    """Of four times the steps a quarter of each batch is real."""
    (phase,) = arm_phases(parse_arm("real+mask@3*", SYSTEMS), data, PLAN, 1.0, 0)
    drawn = [draw_batch(phase.pools, 4, "t", step)[0] for step in range(phase.training.steps)]
    assert sum((images[:, 0, 0, 0] < 50).sum() for images in drawn) == 4 * PLAN.steps


def test_an_arms_ratio_goes_before_the_studys(data):
    weights = {
        name: arm_pools(parse_arm(name, SYSTEMS), data, 2.0)[1].weight
        for name in ("real+mask", "real+mask@0.5")
    }
    assert weights == {"real+mask": 2.0, "real+mask@0.5": 0.5}


def test_replaced_chips_leave_the_number_as_it_is_and_larger_shares_replace_more_of_the_same(data):
    kept = []
    for percent, synthetic in ((25, 2), (50, 4), (75, 6)):
        real, fake = arm_pools(parse_arm(f"mix:mask@{percent}", SYSTEMS), data, 1.0, seed=3)
        assert (real.weight, fake.weight) == (8 - synthetic, synthetic)
        assert set(shown(fake)) <= {100, 101, 102}
        assert max(np.unique(shown(fake), return_counts=True)[1]) <= -(-synthetic // 3)
        kept.append(set(shown(real)))
    assert kept[2] < kept[1] < kept[0]
    other = arm_pools(parse_arm("mix:mask@50", SYSTEMS), data, 1.0, seed=4)[0]
    assert set(shown(other)) != kept[1], "another seed draws others"
    assert [p.name for p in arm_pools(parse_arm("mix:mask@0", SYSTEMS), data, 1.0)] == ["real"]
    assert [p.name for p in arm_pools(parse_arm("mix:mask@100", SYSTEMS), data, 1.0)] == ["mask"]


def test_matched_colours_have_the_real_mean_and_spread():
    random = np.random.default_rng(0)
    dark = random.integers(20, 60, (4, 8, 8, 3)).astype(np.uint8)
    like = np.stack([random.integers(low, low + 50, (5, 8, 8)) for low in (50, 100, 150)], -1).astype(
        np.uint8
    )
    matched = match_colours(dark, like)
    assert matched.mean((0, 1, 2)) == pytest.approx(like.mean((0, 1, 2)), abs=0.5)
    assert matched.std((0, 1, 2)) == pytest.approx(like.std((0, 1, 2)), rel=0.02)
    order = np.argsort(dark[..., 0].ravel(), kind="stable")
    assert (np.diff(matched[..., 0].ravel()[order].astype(int)) >= 0).all(), "order of grey levels is kept"


# --- classical augmentation ----------------------------------------------------------------------


def rare_pool():
    """Twenty 16-px chips of forest; water, 1.25 % of all pixels, is one object of 8 × 8 in one chip."""
    masks = np.zeros((20, 16, 16), np.uint8)
    masks[3, 2:10, 2:10] = 6
    return make_pool("real", np.where(masks[..., None] == 6, 200, 100).repeat(3, -1).astype(np.uint8), masks)


def test_chips_with_a_rare_class_are_drawn_as_often_as_its_share_says():
    """Share 64 / 5120 = 1.25 %: sqrt(5 / 1.25) = 2 times as often as each of 19 others."""
    chances = oversampling(rare_pool().masks)
    assert chances[3] == pytest.approx(2 / 21)
    assert chances.sum() == pytest.approx(1)
    pool = replace(rare_pool(), chances=np.eye(20)[3])
    assert (draw_batch([pool], 6, "t")[1] == 6).any((1, 2)).all()


@pytest.mark.parametrize("name", ["real+oversampling", "real+copy_paste"])
def test_recipes_for_rare_classes_need_one(data, name):
    with pytest.raises(GroundsynthError, match=r"no class covers less than 5% .* leave the arm out"):
        arm_phases(parse_arm(name, SYSTEMS), data, PLAN, 1.0, 0)


def test_cutmix_lays_image_and_map_of_another_chip_together():
    masks = np.arange(6, dtype=np.uint8).repeat(256).reshape(6, 16, 16)
    images = (masks[..., None] * 40).repeat(3, -1)
    mixed, maps = cutmix(images, masks, np.random.default_rng(0))
    assert (mixed[..., 0] == maps * 40).all()
    changed = [len(np.unique(m)) for m in maps]
    assert max(changed) == 2
    assert 0 < sum(n == 2 for n in changed) < 6
    assert (masks == np.arange(6)[:, None, None]).all(), "what was given stays"
    for m, own in zip(maps, range(6), strict=True):
        rows, cols = np.nonzero(m != own)
        assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(cols) + 1) if len(rows) else True


def test_copied_objects_keep_their_image_and_leave_unlabelled_ground_alone():
    pool = rare_pool()
    images, masks = np.full((40, 16, 16, 3), 50, np.uint8), np.zeros((40, 16, 16), np.uint8)
    masks[:, :, :8] = 255
    pasted, maps = copy_paste(pool)(images, masks, np.random.default_rng(0))
    assert (maps[:, :, :8] == 255).all()
    water = maps == 6
    assert (pasted[water] > 150).all()
    assert (pasted[~water] == 50).all()
    assert 0.3 < water.any((1, 2)).mean() < 0.7


def test_mixing_changes_no_draw(data):
    plain = draw_batch(arm_pools(parse_arm("real", SYSTEMS), data, 1.0), 8, "t", 1)
    mixed = draw_batch(
        arm_pools(parse_arm("real+cutmix", SYSTEMS), data, 1.0), 8, "t", 1, mix=lambda i, m, r: (i, m)
    )
    assert all((a == b).all() for a, b in zip(plain, mixed, strict=True))


# --- trainings -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world() -> BenchmarkData:
    real = {split: made_up_chips(4, k) for k, split in enumerate(("train", "val", "test", "region"))}
    fake = made_up_chips(3, 9)
    return BenchmarkData(
        0, real, {"mask": (np.stack(fake["image"]), np.stack(fake["mask"]))}, (0, 1, 2, 4), 0.5
    )


def test_the_second_half_goes_on_from_the_first_and_chooses_alone(world):
    plan = replace(TINY, steps=4)
    result = run_arms(parse_arms(["real", "bridge:mask"], SYSTEMS), [0], world, plan, 1.0, CPU)
    steps = result.history.groupby("arm")["step"].apply(list).to_dict()
    assert steps == {"real": [1, 2, 3, 4], "bridge:mask": [1, 2, 3, 4]}
    runs = result.runs.set_index("arm")
    assert runs.loc["bridge:mask", "best_step"] in (3, 4)
    assert runs.loc["bridge:mask", ["real_chips", "synthetic_chips"]].tolist() == [4, 3]


def test_a_start_is_kept_and_the_chips_scale_learned_anew(world):
    pool = make_pool("a", *world.synthetic["mask"])
    still = replace(TINY, steps=1, learning_rate=1e-12)
    how = (np.stack(world.real["val"]["image"]), lambda labels: 0.5)
    first, _ = train_segmenter([pool], *how, TINY, ("a",), CPU)
    dark = replace(pool, images=pool.images // 4)
    second, _ = train_segmenter([dark], *how, still, ("b",), CPU, start=first)
    kernel = next(first.network.parameters()), next(second.network.parameters())
    assert torch.allclose(*kernel, atol=1e-6)
    assert second.scale.running_mean.mean() < first.scale.running_mean.mean() / 2


def test_half_precision_gives_nearly_the_same_losses_and_exact_prediction_types(world):
    pool = make_pool("a", *world.synthetic["mask"])
    how = ([pool], np.stack(world.real["val"]["image"]), lambda labels: 0.5)
    histories = [
        train_segmenter(*how, replace(TINY, precision=precision), ("a",), CPU)
        for precision in ("float32", "bfloat16")
    ]
    losses = [history["loss"].to_numpy() for _, history in histories]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert (losses[0] != losses[1]).any()
    model = histories[1][0]
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert predict(model, how[1])[0].shape == (4, 32, 32)


def test_every_held_out_split_has_rows_of_its_own_and_validation_alone_reads_no_other(world):
    arms = parse_arms(["real", "real+mask"], SYSTEMS)
    result = run_arms(arms, [0], world, TINY, 1.0, CPU)
    rows = pd.DataFrame(benchmark_rows("s", result, arms, world, 20))
    regimes = ["labels=50%", "labels=50%;split=val", "labels=50%;region"]
    assert list(dict.fromkeys(rows["regime"])) == regimes
    assert not rows.duplicated(["arm", "regime", "metric", "class"]).any()
    closed = replace(world, real={split: world.real[split] for split in ("train", "val")})
    assert closed.judged == "val"
    again = run_arms(arms, [0], closed, TINY, 1.0, CPU)
    assert set(again.counts["split"]) == {"val"}
    assert again.labels["real"].shape[0] == 4


def test_further_networks_are_trained_beside_and_keyed_apart(world, tmp_path, monkeypatch):
    arms, begun = parse_arms(["real"], SYSTEMS), []
    true_run = segmentation.run_arm
    monkeypatch.setattr(segmentation, "run_arm", lambda *given: begun.append(1) or true_run(*given))
    how = (1.0, CPU, iter, tmp_path)
    run_arms(arms, [0], world, TINY, *how)
    others = run_networks(["FPN"], arms, [0], world, TINY, *how)
    run_networks(["FPN"], arms, [0], world, TINY, *how)
    assert len(begun) == 2
    assert list(others) == ["FPN"]
    rows = pd.DataFrame(benchmark_rows("s", others["FPN"], arms, world, 20, "FPN"))
    assert rows["regime"].str.startswith("labels=50%;network=FPN").all()


def test_the_same_arm_of_another_list_and_another_ratio_is_not_trained_again(world, tmp_path, monkeypatch):
    begun, true_run = [], segmentation.run_arm
    monkeypatch.setattr(
        segmentation, "run_arm", lambda arm, *rest: begun.append(arm.name) or true_run(arm, *rest)
    )
    run_arms(parse_arms(["real", "real+mask@3"], SYSTEMS), [0], world, TINY, 1.0, CPU, kept=tmp_path)
    run_arms(
        parse_arms(["real", "real+mask@3", "real+mask"], SYSTEMS), [0], world, TINY, 2.0, CPU, kept=tmp_path
    )
    run_arms(parse_arms(["real", "real+mask"], SYSTEMS), [0], world, TINY, 1.0, CPU, kept=tmp_path)
    assert begun == ["real", "real+mask@3", "real+mask", "real+mask"], (
        "the study's ratio decides the last alone"
    )
