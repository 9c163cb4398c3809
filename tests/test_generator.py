"""The denoiser: training that resumes, sampling that depends on nothing but the sample."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from groundsynth.config import Generate
from groundsynth.data.turns import turn
from groundsynth.errors import GroundsynthError
from groundsynth.models.beliefs import believe
from groundsynth.models.denoiser import load_denoiser
from groundsynth.models.generation import generate_shard, hash_model, sampling_of, shard_indices
from groundsynth.models.given_maps import give_maps
from groundsynth.models.noise import ABSENT, CLEAN, NOISY
from groundsynth.models.sampling import SamplingSettings, draw_maps, sample_pairs, sample_path, segment
from groundsynth.models.solvers import SOLVERS, SampleNoise, solve
from groundsynth.models.training import TrainingSettings, diffusion_loss, new_denoiser, train_denoiser

CPU = torch.device("cpu")
SETTINGS = TrainingSettings(
    policy="unified", seed=0, steps=6, batch_size=4, learning_rate=1e-3, warmup_steps=2, ema_decay=0.9,
    channels=(16, 32), layers_per_block=1, image_noise=(-0.4, 1.4), mask_noise=(0.3, 1.2),
    log_every=1, checkpoint_seconds=0.0,
)  # fmt: skip
SOLVING = SamplingSettings(steps=3, solver="dpmpp_2m", sigma_range=(0.01, 40.0), batch_size=8)


@pytest.fixture(scope="module")
def chips():
    """Sixteen 16-px chips whose colour follows their map: two classes and some unlabelled pixels."""
    draw = np.random.default_rng(0)
    maps = draw.choice([0, 4, 255], (16, 16, 16), p=[0.6, 0.38, 0.02]).astype(np.uint8)
    images = np.where(maps[..., None] == 4, 200, 60) + draw.integers(-20, 20, (16, 16, 16, 3))
    return images.astype(np.uint8), maps


@pytest.fixture(scope="module")
def model(chips):
    return new_denoiser(*chips, SETTINGS).eval()


class Killed(Exception):
    pass


def test_killed_training_resumes_on_the_same_path(chips, tmp_path):
    whole, log, _ = train_denoiser(*chips, SETTINGS, tmp_path / "a", CPU)

    def kill(step):
        if step == 3:
            raise Killed

    with pytest.raises(Killed):
        train_denoiser(*chips, SETTINGS, tmp_path / "b", CPU, after_step=kill)
    steps_run = []
    again, log_again, _ = train_denoiser(*chips, SETTINGS, tmp_path / "b", CPU, after_step=steps_run.append)
    assert steps_run == [4, 5, 6]
    assert log_again["step"].tolist() == log["step"].tolist() == list(range(6))
    np.testing.assert_allclose(log_again["loss"], log["loss"], atol=1e-3)
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def test_finished_training_is_not_repeated_and_other_settings_start_anew(chips, tmp_path):
    train_denoiser(*chips, SETTINGS, tmp_path, CPU)
    steps_run = []
    train_denoiser(*chips, SETTINGS, tmp_path, CPU, after_step=steps_run.append)
    assert steps_run == []
    train_denoiser(*chips, replace(SETTINGS, seed=1), tmp_path, CPU, after_step=steps_run.append)
    assert len(steps_run) == SETTINGS.steps


def test_broken_checkpoint_starts_again(chips, tmp_path):
    train_denoiser(*chips, SETTINGS, tmp_path, CPU)
    (checkpoint,) = tmp_path.glob("*/checkpoint.pt")
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    _, log, _ = train_denoiser(*chips, SETTINGS, tmp_path, CPU)
    assert log["step"].tolist() == list(range(6))


def test_training_lowers_the_loss(chips, tmp_path):
    settings = replace(SETTINGS, steps=150, learning_rate=3e-3, policy="joint", checkpoint_seconds=1e9)
    _, log, _ = train_denoiser(*chips, settings, tmp_path, CPU)
    assert log["loss"].tail(10).mean() < 0.8 * log["loss"].head(5).mean()


def test_one_hot_maps_train_sample_and_come_back(chips, tmp_path):
    settings = replace(SETTINGS, mask_code="one_hot")
    model, log, _ = train_denoiser(*chips, settings, tmp_path, CPU)
    assert model.config.data_channels == 3 + 8
    assert np.isfinite(log["loss"]).all()
    assert settings.key(*chips) != SETTINGS.key(*chips)
    model.save(tmp_path / "model")
    again = load_denoiser(tmp_path / "model")
    for system in ("joint", "mask"):
        given = chips[1][:2] if system == "mask" else None
        drawn = sample_pairs(model, system, [1, 2], SOLVING, CPU, given)
        np.testing.assert_array_equal(sample_pairs(again, system, [1, 2], SOLVING, CPU, given)[0], drawn[0])
        assert drawn[1].shape == (2, 16, 16)
        assert set(np.unique(drawn[1])) <= {*range(7), 255}
    assert segment(model, chips[0][:1], [1], SOLVING, CPU).shape == (1, 16, 16)


def test_no_chips_is_refused(tmp_path):
    empty = np.zeros((0, 16, 16, 3), np.uint8), np.zeros((0, 16, 16), np.uint8)
    with pytest.raises(GroundsynthError, match="no training chips"):
        train_denoiser(*empty, SETTINGS, tmp_path, CPU)


def test_clean_and_absent_parts_bear_no_loss(chips, model):
    x0 = torch.randn(8, 6, 16, 16, generator=torch.Generator().manual_seed(0))
    for policy, part in (("mask", "mask"), ("image", "mask")):
        _, parts = diffusion_loss(
            model, x0, replace(SETTINGS, policy=policy), torch.Generator().manual_seed(1)
        )
        assert parts[part] == 0
        assert parts["image"] > 0


def _raw(model, x, states):
    level = torch.full((len(x),), 1.0)
    with torch.no_grad():
        return model.raw(x, level, level, *(torch.full((len(x),), s) for s in states))


def test_absent_map_cannot_be_seen_and_a_clean_one_can(model):
    g = torch.Generator().manual_seed(0)
    # a fresh network ends in a small but non-zero convolution
    x = torch.randn(2, 6, 16, 16, generator=g)
    other = torch.cat([x[:, :3], -x[:, 3:]], dim=1)
    torch.testing.assert_close(_raw(model, x, (NOISY, ABSENT)), _raw(model, other, (NOISY, ABSENT)))
    assert not torch.allclose(_raw(model, x, (NOISY, CLEAN)), _raw(model, other, (NOISY, CLEAN)))
    assert not torch.allclose(_raw(model, x, (NOISY, CLEAN)), _raw(model, x, (NOISY, NOISY)))


@pytest.mark.parametrize("side", [8, 16])
@pytest.mark.parametrize("sigma", [0.05, 1.0, 80.0])
def test_means_have_the_scale_of_the_data_at_every_noise_level(model, side, sigma):
    """Constant chips of the data's variance plus noise: their means come out at unit variance."""
    draw = torch.Generator().manual_seed(0)
    chips = 0.5 * torch.randn(4000, 6, 1, 1, generator=draw).expand(-1, -1, 16, 16)
    noisy = chips + sigma * torch.randn(chips.shape, generator=draw)
    level, state = torch.full((4000, 6, 1, 1), sigma), torch.full((4000, 6, 1, 1), NOISY)
    means = model._means(noisy, level, state, side)
    assert means.shape == (4000, 6, 16, 16)
    assert means[:, :, 0, 0].var().item() == pytest.approx(1, rel=0.05)


WAYS = {
    "dpmpp_2m": {},
    "euler": {},
    "heun": {},
    "heun with churn": {"solver": "heun", "churn": 2.0},
    "ddpm": {},
    "guided": {"solver": "dpmpp_2m", "guidance": 2.0},
    "guided by its own map": {"solver": "dpmpp_2m", "pair_guidance": 2.0},
}


@pytest.mark.parametrize("way", WAYS)
def test_sample_depends_on_its_seed_not_on_its_batch(model, chips, way):
    seeds, solving = [11, 22, 33, 44, 55], replace(SOLVING, **({"solver": way} | WAYS[way]))
    for system in ("joint", "mask", "image"):
        given = chips[1][:5] if system == "mask" else None
        images, maps = sample_pairs(model, system, seeds, solving, CPU, given)
        order = [3, 0, 4]
        few, few_maps = sample_pairs(
            model, system, [seeds[k] for k in order], replace(solving, batch_size=2), CPU,
            None if given is None else given[order],
        )  # fmt: skip
        off = np.abs(images[order].astype(int) - few)
        assert off.max() <= 2
        assert (off == 0).mean() >= 0.99
        assert (maps[order] == few_maps).mean() >= 0.99
        assert (images[0] != images[1]).any()


def test_churn_moves_a_sample_and_its_seed_decides_where(model):
    def draw(churn, seed=5):
        return sample_pairs(model, "joint", [seed], replace(SOLVING, solver="heun", churn=churn), CPU)[0]

    assert (draw(0.0) != draw(2.0)).mean() > 0.5
    np.testing.assert_array_equal(draw(2.0), draw(2.0))


def test_guidance_runs_from_no_map_to_more_than_the_map(model, chips, monkeypatch):
    """With predictions of 1 for a clean map and 0 without one, guidance g answers g."""
    seen = []

    def raw(x, sigma_image, sigma_mask, image_state, mask_state, conditions):
        return (mask_state == CLEAN).float()[:, None, None, None].expand_as(x)

    def record(predict, first, *_):
        seen.append(predict(first, 1.0).unique().tolist())
        return first

    monkeypatch.setattr(model, "raw", raw)
    monkeypatch.setattr("groundsynth.models.sampling.solve", record)
    for guidance in (0.0, 1.0, 2.5):
        sample_pairs(model, "mask", [1], replace(SOLVING, guidance=guidance), CPU, chips[1][:1])
    assert seen == [[0.0], [1.0], [2.5]]


def test_a_pairs_map_guides_its_image_at_middle_levels_and_nothing_else(model, monkeypatch):
    """With predictions of 1 beside a map and 0 without one, weight w answers w for the image, 1 for the map."""
    seen = {}

    def raw(x, sigma_image, sigma_mask, image_state, mask_state, conditions):
        return (mask_state != ABSENT).float()[:, None, None, None].expand_as(x)

    def record(predict, first, *_):
        seen.update({sigma: predict(first, sigma) for sigma in (0.49, 0.5, 3.0, 10.0, 10.1)})
        return first

    monkeypatch.setattr(model, "raw", raw)
    monkeypatch.setattr("groundsynth.models.sampling.solve", record)
    sample_pairs(model, "joint", [1], replace(SOLVING, pair_guidance=2.5), CPU)
    for sigma, out in seen.items():
        assert out[:, :3].unique().tolist() == [2.5 if 0.5 <= sigma <= 10 else 1.0]
        assert out[:, 3:].unique().tolist() == [1.0]
    sample_pairs(model, "image", [1], replace(SOLVING, pair_guidance=2.5), CPU)
    assert all(out.unique().tolist() == [0.0] for out in seen.values())


@pytest.mark.parametrize(
    ("policy", "weight"), [("unified", 1.5), ("joint", 1.0), ("text", 1.0), ("mask", 1.0)]
)
def test_only_a_policy_that_learned_images_without_maps_is_guided_by_them(policy, weight):
    generate = Generate(samples=4, systems=["joint"], pair_guidance=1.5)
    assert sampling_of(generate, policy).pair_guidance == weight


def test_steps_ask_the_network_as_often_as_stated(model, monkeypatch):
    asked, raw = [], model.raw
    monkeypatch.setattr(model, "raw", lambda *parts: asked.append(1) or raw(*parts))
    for solver in SOLVERS:
        settings = replace(SOLVING, solver=solver, steps=5)
        asked.clear()
        sample_pairs(model, "joint", [1], settings, CPU)
        assert len(asked) == settings.evaluations == (9 if solver == "heun" else 5)


def test_ddpm_is_the_stock_loop(model, monkeypatch):
    """With the exact belief of a known image, the loop's levels and last step are those of DDPM."""
    target, levels = torch.full((1, 6, 16, 16), 0.3), []

    def predict(x, sigma):
        levels.append(sigma)
        total = sigma**2 + 0.25
        return (target - x * 0.25 / total) * total**0.5 / (sigma * 0.5)

    settings = replace(SOLVING, solver="ddpm", steps=1000)
    noise = SampleNoise([3], 16, CPU)
    x = solve(predict, noise.draw(6), noise, settings)
    assert len(levels) == 1000
    assert levels == sorted(levels, reverse=True)
    assert levels[0] == 80.0, "above what was trained, the network is asked at the highest level it knows"
    assert levels[-1] == pytest.approx(0.01, rel=0.01)  # √(β/(1−β)) of β = 1e-4
    torch.testing.assert_close(x, target, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"solver": "magic"}, "solver 'magic' does not exist; choose one of dpmpp_2m"),
        ({"churn": 3.0}, "churn 3 is read by solver 'heun' alone, and solver is 'dpmpp_2m'"),
    ],
)
def test_settings_that_no_solver_has_are_refused(changes, says):
    with pytest.raises(GroundsynthError, match=says):
        replace(SOLVING, **changes)


def test_a_map_is_read_off_an_image_by_its_seed_and_drawn_alone(model, chips):
    seeds = [4, 5, 6]
    maps = segment(model, chips[0][:3], seeds, SOLVING, CPU)
    assert maps.shape == (3, 16, 16)
    again = segment(model, chips[0][1:3], seeds[1:], replace(SOLVING, batch_size=1), CPU)
    assert (again == maps[1:]).mean() >= 0.99
    assert (segment(model, 255 - chips[0][:3], seeds, SOLVING, CPU) != maps).any(), "it looks at the image"
    drawn = draw_maps(model, seeds, SOLVING, CPU)
    assert drawn.shape == (3, 16, 16)
    assert (draw_maps(model, seeds[:1], SOLVING, CPU) == drawn[:1]).mean() >= 0.99


@pytest.mark.parametrize("images", [np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 16, 16, 3))])
def test_images_of_another_size_or_type_are_not_segmented(model, images):
    with pytest.raises(
        GroundsynthError, match=r"do not fit: 1 readings of this generator need \(1, 16, 16, 3\)"
    ):
        segment(model, images, [1], SOLVING, CPU)


@pytest.mark.parametrize("solver", ["dpmpp_2m", "euler", "heun", "ddpm"])
def test_solver_finds_the_data_when_the_denoiser_is_perfect(model, solver, monkeypatch):
    """With the exact denoiser of one known image, any solver must return that image."""
    target = torch.linspace(-0.8, 0.8, 6 * 16 * 16).reshape(1, 6, 16, 16)

    def perfect(x, sigma_image, *_):
        sigma = sigma_image[:, None, None, None]
        total = sigma**2 + 0.25
        return (target - x * 0.25 / total) * total.sqrt() / (sigma * 0.5)

    monkeypatch.setattr(model, "raw", perfect)
    settings = replace(SOLVING, steps=100 if solver == "ddpm" else 12, solver=solver)
    images, maps = sample_pairs(model, "joint", [1, 2], settings, CPU)
    expected = model.config.whitening.restore(target[:, :3])[0]
    for image in images:
        assert np.abs(image.astype(int) - expected).max() <= 3
    assert (maps[0] == maps[1]).all()
    sigmas, beliefs = sample_path(model, "joint", 1, settings, CPU)
    assert len(sigmas) == len(beliefs) == settings.steps
    assert sigmas == sorted(sigmas, reverse=True)
    assert np.abs(beliefs[0].astype(int) - expected).max() <= 3


@pytest.mark.parametrize(
    ("system", "maps", "says"),
    [
        ("joit", None, "does not exist"),
        ("mask", None, "needs maps"),
        ("image", np.zeros((2, 16, 16), np.uint8), "takes no maps"),
        ("mask", np.zeros((2, 8, 8), np.uint8), "do not fit"),
        ("mask", np.full((2, 16, 16), 9, np.uint8), "not in this generator's legend"),
    ],
)
def test_bad_conditions_are_refused_in_a_sentence(model, system, maps, says):
    with pytest.raises(GroundsynthError, match=says):
        sample_pairs(model, system, [1, 2], SOLVING, CPU, maps)


def test_saved_model_draws_the_same(model, tmp_path):
    model.save(tmp_path / "model")
    again = load_denoiser(tmp_path / "model")
    assert again.config == model.config
    images, _ = sample_pairs(model, "joint", [5], SOLVING, CPU)
    images_again, _ = sample_pairs(again, "joint", [5], SOLVING, CPU)
    np.testing.assert_array_equal(images, images_again)
    with pytest.raises(GroundsynthError, match="missing"):
        load_denoiser(tmp_path / "nothing")


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v | {"channels": [16, 16]},
        lambda v: v | {"codes": [1, 2, 4, 8, 16, 32, 64, 128]},
        lambda v: {k: x for k, x in v.items() if k != "whitening"},
        lambda v: v | {"layers": 3},
    ],
)
def test_a_model_of_another_architecture_or_code_is_refused_in_a_sentence(model, tmp_path, change):
    model.save(tmp_path)
    path = tmp_path / "denoiser.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(GroundsynthError, match=r"not a usable generator \(.*\); train it again") as caught:
        load_denoiser(tmp_path)
    assert "\n" not in str(caught.value)


def test_model_hash_changes_with_a_weight(model, tmp_path):
    model.save(tmp_path)
    before = hash_model(tmp_path)
    path = tmp_path / "denoiser.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    assert hash_model(tmp_path) != before


@pytest.mark.parametrize(("samples", "shards"), [(12, 1), (10, 3), (7, 7), (2, 5)])
def test_shards_hold_every_sample_once(samples, shards):
    together = [i for shard in range(shards) for i in shard_indices(samples, shards, shard)]
    assert together == list(range(samples))
    with pytest.raises(GroundsynthError, match="does not exist"):
        shard_indices(samples, shards, shards)


def test_layouts_are_training_maps_and_do_not_depend_on_the_shard(chips):
    import pandas as pd

    table = pd.DataFrame({"chip_id": [f"c{i:02d}" for i in range(16)], "mask": list(chips[1])})
    whole = give_maps("training", table, "unified-s0", range(10))
    part = give_maps("training", table.sample(frac=1, random_state=1), "unified-s0", range(4, 7))
    assert whole["condition"].tolist()[4:7] == part["condition"].tolist()
    by_id = dict(zip(table["chip_id"], table["mask"], strict=True))
    for row in whole.itertuples():
        np.testing.assert_array_equal(row.mask, turn(by_id[row.condition], row.condition_transform))


def test_eight_transforms_are_eight_different_maps():
    labels = np.arange(9, dtype=np.uint8).reshape(3, 3)
    assert len({turn(labels, code).tobytes() for code in range(8)}) == 8


def test_rows_say_where_each_sample_comes_from(model, chips):
    import pandas as pd

    from groundsynth.artifacts import CHIPS

    table = pd.DataFrame({"chip_id": [f"c{i:02d}" for i in range(16)], "mask": list(chips[1])})
    layouts = give_maps("training", table, "g", range(3))
    rows = generate_shard(model, "g", "mask", range(3), layouts, SOLVING, CPU, "abc")
    assert set(rows.columns) == set(CHIPS["synthetic"])
    assert rows["chip_id"].tolist() == ["g-mask-000000", "g-mask-000001", "g-mask-000002"]
    assert rows["condition"].isin(table["chip_id"]).all()
    assert rows["seed"].nunique() == 3
    image_rows = generate_shard(model, "g", "image", range(2), None, SOLVING, CPU, "abc")
    assert (np.stack(image_rows["mask"]) == 255).all()


def test_beliefs_keep_what_is_clean_and_follow_what_they_see(model, chips):
    image, labels = chips[0][0], chips[1][0]
    images, maps = believe(model, image, labels, [0.0, 0.01, 20.0], [0.0, 1.0, np.inf], 0, CPU)
    assert images.shape == (3, 3, 16, 16, 3)
    assert maps.shape == (3, 3, 16, 16)
    for k in range(3):
        assert np.abs(images[k, 0].astype(int) - image).max() <= 1  # a clean image, whatever the map
        np.testing.assert_array_equal(maps[0, k], labels)
    assert np.abs(images[0, 1].astype(int) - image).mean() < 3, "at hardly any noise it believes what it sees"
    assert np.abs(images[0, 2].astype(int) - image).mean() > 10, "and under much it cannot"
