"""The two GANs: trained on the diffusion model's batches, resumed on the same path, sampled one by one."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from groundsynth.errors import GroundsynthError
from groundsynth.models.gan import GanConfig, draw_latents, one_hot_maps
from groundsynth.models.gan_card import write_gan_card
from groundsynth.models.gan_sampling import latent_walk, load_gan, new_gan
from groundsynth.models.gan_training import (
    COLUMNS,
    GanSettings,
    _as_given,
    _hinge,
    _please,
    _seek_modes,
    _share_distance,
    _slope,
    new_players,
    real_data,
    train_gan,
    train_step,
)
from groundsynth.models.generation import generate_shard, hash_model
from groundsynth.models.generators import load_generator
from groundsynth.models.given_maps import give_maps
from groundsynth.models.sampling import SamplingSettings, sample_pairs, sample_path
from groundsynth.systems import SYSTEMS_OF, drawn_pairs

CPU = torch.device("cpu")
SETTINGS = GanSettings(
    policy="spade", seed=0, steps=4, batch_size=4, ema_decay=0.9, gan_rates=(1e-3, 1e-3), gan_width=8,
    diversity=0.5, log_every=1, checkpoint_seconds=0.0,
)  # fmt: skip
SOLVING = SamplingSettings(steps=3, solver="dpmpp_2m", sigma_range=(0.01, 40.0), batch_size=8)
POLICIES = ("spade", "joint_gan")


@pytest.fixture(scope="module")
def chips():
    """Sixteen 32-px chips of two classes in halves, bright where built up, and some unlabelled pixels."""
    draw = np.random.default_rng(0)
    maps = np.zeros((16, 32, 32), np.uint8)
    for labels, edge in zip(maps, draw.integers(8, 24, 16), strict=True):
        labels[:, edge:] = 4
    maps[:, 0, 0] = 255
    images = np.where(maps[..., None] == 4, 200, 60) + draw.integers(-20, 20, (16, 32, 32, 3))
    return images.astype(np.uint8), maps


@pytest.fixture(scope="module", params=POLICIES)
def model(request, chips):
    return new_players(chips[0], replace(SETTINGS, policy=request.param), CPU).model.eval()


class Killed(Exception):
    pass


@pytest.mark.parametrize("policy", POLICIES)
def test_killed_training_resumes_on_the_same_path(chips, tmp_path, policy):
    settings = replace(SETTINGS, policy=policy)
    whole, log, _ = train_gan(*chips, settings, tmp_path / "a", CPU)

    def kill(step):
        if step == 2:
            raise Killed

    with pytest.raises(Killed):
        train_gan(*chips, settings, tmp_path / "b", CPU, after_step=kill)
    steps_run = []
    again, log_again, _ = train_gan(*chips, settings, tmp_path / "b", CPU, after_step=steps_run.append)
    assert steps_run == [3, 4]
    assert list(log) == COLUMNS
    np.testing.assert_allclose(log_again, log, atol=1e-3)
    assert log["matching"].max() > 0
    assert (log["diversity"].max() > 0) == (policy == "spade"), "a drawn map needs no second image"
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def test_it_learns_from_the_diffusion_models_batches(chips, tmp_path, monkeypatch):
    """Step k of a seed draws the same rows and turns in both trainings."""
    from test_generator import SETTINGS as DIFFUSION

    from groundsynth.models import gan_training, training

    def record(module, seen):
        draw = module.draw_batch

        def drawing(data, n, generator):
            seen.append(generator.get_state())
            return draw(data, n, generator)

        monkeypatch.setattr(module, "draw_batch", drawing)

    gan, diffusion = [], []
    record(gan_training, gan)
    train_gan(*chips, SETTINGS, tmp_path, CPU)
    record(training, diffusion)
    training.train_denoiser(*chips, replace(DIFFUSION, steps=4), tmp_path, CPU)
    assert all(torch.equal(a, b) for a, b in zip(gan, diffusion, strict=True))


def test_critic_learns_what_is_real(chips):
    """The generator stands still: within a few steps the critic's loss falls below that of guessing, 2."""
    settings = replace(SETTINGS, gan_rates=(0.0, 2e-3), diversity=0.0)
    players = new_players(chips[0], settings, CPU)
    batch = real_data(players.model, *chips)
    losses = [
        train_step(players, batch, settings, torch.Generator().manual_seed(k))["critic"] for k in range(25)
    ]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_spade_learns_to_make_built_up_ground_bright(chips, tmp_path):
    settings = replace(SETTINGS, steps=60, diversity=0.0, batch_size=8, checkpoint_seconds=1e9)
    model, _, _ = train_gan(*chips, settings, tmp_path, CPU)
    images, maps = sample_pairs(model, "spade", [1, 2, 3, 4], SOLVING, CPU, chips[1][:4])
    assert images[maps == 4].mean() > images[maps == 0].mean() + 60


def test_critic_notices_that_all_chips_are_one(chips):
    """The first chip's score changes with the company it is in."""
    critic = new_players(chips[0], SETTINGS, CPU).critic.eval()
    pairs = torch.cat([torch.randn(4, 3, 32, 32), one_hot_maps(chips[1][:4])], dim=1)
    varied, alike = critic(pairs), critic(pairs[:1].repeat(4, 1, 1, 1))
    assert not torch.allclose(varied[0][-1][0], alike[0][-1][0])
    torch.testing.assert_close(varied[0][-2][0], alike[0][-2][0])


@pytest.fixture(scope="module")
def joint(chips):
    return new_players(chips[0], replace(SETTINGS, policy="joint_gan"), CPU)


def test_half_of_the_pairs_have_the_generators_own_maps(joint, chips):
    """Own maps are scores that add up to one, and pass a gradient to the layers that drew them."""
    latent, noise = draw_latents([1, 2, 3, 4, 5], 32, CPU)
    labels = one_hot_maps(chips[1][:5])
    maps = joint.model.pair(latent, noise, labels)[:, 3:]
    assert torch.equal(maps[2:], labels[2:])
    assert not torch.equal(maps[:2], labels[:2])
    torch.testing.assert_close(maps[:2].detach().sum(1), torch.ones(2, 32, 32))
    assert maps[:2].detach().min() > 0
    maps[:2, 0].sum().backward()
    assert joint.model.start.weight.grad.abs().sum() > 0
    joint.model.zero_grad()


def test_an_image_teaches_its_map_nothing(joint, chips):
    """The critic of pairs moves the image's layers alone: through it, maps became all of one class."""
    latent, noise = draw_latents([1, 2, 3, 4], 32, CPU)
    pair = joint.model.pair(latent, noise, one_hot_maps(chips[1][:4]))
    _please(joint.critic(_as_given(pair))).backward()
    assert joint.model.start.weight.grad is None or not joint.model.start.weight.grad.any()
    assert joint.model.image.start.weight.grad.abs().sum() > 0
    joint.model.zero_grad()


def test_a_class_that_vanished_is_called_back():
    """Maps with the real shares cost nothing; of one class alone, the missing one is pulled up the most."""
    real = one_hot_maps(np.repeat([[[0, 0, 1, 4]]], 2, axis=0))
    assert _share_distance(real, real).item() == pytest.approx(0, abs=1e-6)
    alone = one_hot_maps(np.zeros((2, 1, 4), np.uint8)).requires_grad_()
    distance = _share_distance(alone, real)
    distance.backward()
    pull = -alone.grad.mean(dim=(0, 2, 3))
    assert distance.item() > 0.5
    assert min(pull[1], pull[4]) > pull[0]
    assert min(pull[1], pull[4]) > pull[2]


def test_the_slope_of_a_linear_critic_by_hand():
    """Scores 2 a − b of each pixel, once per scale: the gradient is (4, −2), its square 20, whatever the size."""
    weights = torch.tensor([2.0, -1.0])[:, None, None]

    def critic(maps):
        return [[None, (maps * weights).sum(1)]] * 2

    for side in (4, 9):
        assert _slope(critic, torch.rand(3, 2, side, side)).item() == pytest.approx(20)


def test_maps_learn_more_slowly_than_images(joint):
    rates = {id(p): group["lr"] for group in joint.optimiser.param_groups for p in group["params"]}
    patient = {id(p) for p in joint.model.map_parameters()}
    for name, parameter in joint.model.named_parameters():
        slow = not name.startswith("image.")
        assert (id(parameter) in patient) == slow
        assert rates[id(parameter)] == pytest.approx((0.2 if slow else 1) * SETTINGS.gan_rates[0])


def test_fine_noise_is_for_images_and_not_for_maps(joint):
    """Noise on odd pixels is not seen at half of the side; the map's finest layer gets none at all."""
    latent, noise = draw_latents([7], 32, CPU)
    changed = noise.clone()
    changed[:, :, 1::2, 1::2] += 3
    with torch.no_grad():
        one, other = (joint.model(latent, each) for each in (noise, changed))
        coarse = joint.model.draw_maps(latent, torch.randn_like(noise))
    assert torch.equal(one[:, 3:], other[:, 3:])
    assert not torch.equal(one[:, :3], other[:, :3])
    assert coarse.shape == one[:, 3:].shape


def test_a_batch_without_own_maps_leaves_the_maps_layers_alone(chips):
    """Of one chip none is own: only the image's layers learn; of four, the map's do as well."""
    for n, moves in ((1, False), (4, True)):
        players = new_players(chips[0], replace(SETTINGS, policy="joint_gan"), CPU)
        data = real_data(players.model, *chips)
        before = [p.clone() for p in (players.model.start.weight, players.model.image.start.weight)]
        train_step(players, data[:n], replace(SETTINGS, policy="joint_gan"), torch.Generator().manual_seed(0))
        after = (players.model.start.weight, players.model.image.start.weight)
        assert [not torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [moves, True]


def test_a_batch_of_one_trains(chips, tmp_path):
    """One chip does not spread; the gradient of its spread stays finite."""
    model, log, _ = train_gan(*chips, replace(SETTINGS, batch_size=1, steps=2), tmp_path, CPU)
    assert np.isfinite(log.to_numpy()).all()
    assert all(p.isfinite().all() for p in model.parameters())


def test_hinge_by_hand():
    """Scores 2, 0 and −1 as real: 0, 1 and 2; as drawn: 3, 1 and 0."""
    found = [[torch.zeros(1), torch.tensor([2.0, 0.0, -1.0])]]
    assert _hinge(found, 1).item() == pytest.approx(1)
    assert _hinge(found, -1).item() == pytest.approx(4 / 3)


def test_mode_seeking_punishes_images_that_ignore_the_latent(chips):
    model = new_players(chips[0], SETTINGS, CPU).model
    latent, noise = draw_latents([1, 2], 32, CPU)
    labels = one_hot_maps(chips[1][:2])

    def term() -> float:
        pair = model.pair(latent, noise, labels)
        return _seek_modes(model, pair, latent, noise, labels, torch.Generator().manual_seed(0)).item()

    free = term()
    with torch.no_grad():  # an output that no input reaches
        model.pyramid.out.weight.zero_()
    assert term() > 5 * free


def test_sample_depends_on_its_seed_not_on_its_batch(model, chips):
    system, seeds, order = model.config.system, [11, 22, 33, 44, 55], [3, 0, 4]
    given = chips[1][:5] if system == "spade" else None
    images, maps = sample_pairs(model, system, seeds, SOLVING, CPU, given)
    few, few_maps = sample_pairs(
        model, system, [seeds[k] for k in order], replace(SOLVING, batch_size=2), CPU,
        None if given is None else given[order],
    )  # fmt: skip
    off = np.abs(images[order].astype(int) - few)
    assert off.max() <= 2
    assert (off == 0).mean() >= 0.99
    assert (maps[order] == few_maps).mean() >= 0.99
    assert images.shape == (5, 32, 32, 3)
    assert (images[0] != images[1]).any()
    if given is not None:
        np.testing.assert_array_equal(maps, given)


def test_image_depends_on_the_map_and_on_the_latent(chips):
    model = new_players(chips[0], SETTINGS, CPU).model.eval()
    one, _ = sample_pairs(model, "spade", [1, 1, 2], SOLVING, CPU, chips[1][[0, 1, 0]])
    assert (one[0] != one[1]).any()
    assert (one[0] != one[2]).any()


def test_a_walk_starts_at_the_sample(model, chips):
    given = chips[1][:1] if model.config.system == "spade" else None
    way, images = sample_path(model, model.config.system, 7, SOLVING, CPU, given)
    first, _ = sample_pairs(model, model.config.system, [7], SOLVING, CPU, given)
    assert way == [0, 0.5, 1]
    assert np.abs(images[0].astype(int) - first[0]).max() <= 2
    assert (images[0] != images[2]).any()
    assert len(latent_walk(model, (7, 8), 5, CPU, given)[1]) == 5


@pytest.mark.parametrize(
    ("system", "maps", "says"),
    [
        ("mask", None, "does not exist in this generator; choose one of spade"),
        ("spade", None, "needs maps"),
        ("spade", np.zeros((2, 8, 8), np.uint8), "do not fit"),
        ("spade", np.full((2, 32, 32), 9, np.uint8), "not in this generator's legend"),
    ],
)
def test_bad_conditions_are_refused_in_a_sentence(chips, system, maps, says):
    model = new_players(chips[0], SETTINGS, CPU).model
    with pytest.raises(GroundsynthError, match=says):
        sample_pairs(model, system, [1, 2], SOLVING, CPU, maps)


def test_saved_generator_draws_the_same(model, chips, tmp_path):
    model.save(tmp_path)
    again = load_generator(tmp_path)
    assert again.config == model.config
    given = chips[1][:1] if model.config.system == "spade" else None
    one, two = (sample_pairs(m, m.config.system, [5], SOLVING, CPU, given)[0] for m in (model, again))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"width": 8', '"width": 16', "not a usable generator"),
        ('"tree cover"', '"forest"', "trained with the legend"),
        ('"system": "spade"', '"system": "stylegan"', "not a usable generator"),
        ('"width": 8', '"depth": 8', "not a usable generator"),
    ],
)
def test_a_generator_of_another_legend_or_architecture_is_refused(chips, tmp_path, old, new, says):
    new_players(chips[0], SETTINGS, CPU).model.save(tmp_path)
    path = tmp_path / "gan.json"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(GroundsynthError, match=says) as caught:
        load_gan(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_size_it_cannot_draw_is_refused(chips):
    config = new_players(chips[0], SETTINGS, CPU).model.config
    with pytest.raises(GroundsynthError, match="multiple of 16 from 32 upwards, not 40"):
        new_gan(GanConfig("spade", 40, 8, config.whitening))


@pytest.mark.parametrize("policy", POLICIES)
def test_no_chips_is_refused(tmp_path, policy):
    empty = np.zeros((0, 32, 32, 3), np.uint8), np.zeros((0, 32, 32), np.uint8)
    with pytest.raises(GroundsynthError, match="no training chips"):
        train_gan(*empty, replace(SETTINGS, policy=policy), tmp_path, CPU)


def test_rows_say_where_each_sample_comes_from(model, chips, tmp_path):
    system = model.config.system
    table = pd.DataFrame({"chip_id": [f"c{i:02d}" for i in range(16)], "mask": list(chips[1])})
    layouts = give_maps("training", table, f"{system}-s0", range(3)) if system == "spade" else None
    model.save(tmp_path)
    rows = generate_shard(
        model, f"{system}-s0", system, range(3), layouts, SOLVING, CPU, hash_model(tmp_path)
    )
    assert rows["chip_id"].tolist() == [f"{system}-s0-{system}-00000{k}" for k in range(3)]
    assert rows["system"].eq(system).all()
    assert (rows["condition"] != "").all() == (system == "spade")


def test_the_card_names_data_licence_and_limits(chips, tmp_path):
    model, log, seconds = train_gan(*chips, SETTINGS, tmp_path, CPU)
    data = {"title": "a scene", "licence": "CC BY-SA 3.0", "citation": "its makers"}
    write_gan_card(tmp_path / "card.md", model, SETTINGS, data, log, seconds, "cpu")
    text = (tmp_path / "card.md").read_text()
    for words in ("`spade`, seed 0", "CC BY-SA 3.0", "its makers", "4 × 4", "## Limits", "matching"):
        assert words in text


def test_each_generator_is_asked_for_what_it_can_draw():
    names = [f"{policy}-s0" for policy in SYSTEMS_OF]
    pairs = drawn_pairs(names, ["joint", "spade", "joint_gan"])
    assert pairs == [
        ("unified-s0", "joint"), ("joint-s0", "joint"), ("spade-s0", "spade"), ("joint_gan-s0", "joint_gan"),
    ]  # fmt: skip
    with pytest.raises(GroundsynthError, match="not named <policy>-s<seed>"):
        drawn_pairs(["stylegan-s0"], ["joint"])
