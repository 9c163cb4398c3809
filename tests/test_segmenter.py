"""The segmenter: what its loss ignores, what decides a run, what it refuses, what survives a save."""

from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch

from groundsynth.errors import GroundsynthError
from groundsynth.models.encoder_weights import load_encoder
from groundsynth.models.segmenter import (
    DECODERS,
    LEAST_SIDE,
    Training,
    augment,
    build_segmenter,
    class_weights,
    draw_batch,
    encode,
    load_segmenter,
    make_pool,
    pool_sizes,
    predict,
    rate_factor,
    save_segmenter,
    segmentation_loss,
    to_tensor,
    train_segmenter,
)

ENCODER = "tu-mobilenetv3_small_100"
TINY = Training("Unet", ENCODER, steps=2, batch_size=2, learning_rate=1e-3, validate_every=1)


def made_up_chips(n: int = 4, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Left half dark and tree cover, right half bright and built-up, with some noise."""
    images = np.random.default_rng(0).integers(0, 60, (n, size, size, 3)).astype(np.uint8)
    images[:, :, size // 2 :] += 150
    masks = np.zeros((n, size, size), np.uint8)
    masks[:, :, size // 2 :] = 4
    return images, masks


def train(names: tuple, training: Training = TINY, score=lambda labels: 0.5):
    images, masks = made_up_chips()
    return train_segmenter(
        [make_pool("real", images, masks)], images, score, training, names, torch.device("cpu")
    )


@pytest.mark.parametrize(
    ("architecture", "size"),
    [
        (name, size)
        for name in sorted(DECODERS)
        for size in (32, 64, 128)
        if size >= LEAST_SIDE.get(name, size)
    ],
)
def test_every_network_labels_every_chip_size_it_suits(architecture, size):
    model = build_segmenter(architecture, ENCODER)
    labels, trust = predict(model, made_up_chips(2, size)[0])
    assert labels.shape == trust.shape == (2, size, size)
    assert labels.max() <= 6
    assert trust.min() >= 255 // 7, "the named class is the likeliest of seven"


@pytest.mark.parametrize(
    ("architecture", "encoder"), [("Linknet", "resnet18"), ("Unet", "resnet17"), ("FPN", "mit_b0")]
)
def test_what_cannot_be_built_is_told(architecture, encoder):
    with pytest.raises(GroundsynthError, match=r"choose (one of|another)"):
        build_segmenter(architecture, encoder)


def test_a_network_that_needs_larger_chips_says_so():
    with pytest.raises(GroundsynthError, match=r"chips of 32 px are too small for PAN, which needs 128"):
        train(("a",), replace(TINY, architecture="PAN"))


def test_a_batch_of_one_chip_that_cannot_be_normalised_is_told():
    images, masks = made_up_chips(2, 32)
    one, pool = replace(TINY, architecture="DeepLabV3Plus", batch_size=1), make_pool("real", images, masks)
    with pytest.raises(
        GroundsynthError, match=r"batch_size = 1 is too small for this network on chips of 32 px"
    ):
        train_segmenter([pool], images, lambda labels: 0.5, one, ("one",), torch.device("cpu"))


@pytest.mark.parametrize(("rule", "ratio"), [("inverse", 3.0), ("inverse_sqrt", 3**0.5)])
def test_rare_classes_weigh_more_and_the_average_pixel_weighs_one(rule, ratio):
    """Class 4 covers a quarter of one pool and, with twice the weight, a quarter of the other."""
    images, masks = made_up_chips()
    masks[:, :, :24], masks[:, :, 24:] = 0, 4
    pools = [make_pool("a", images, masks), make_pool("b", images, masks, weight=2.0)]
    weights = class_weights(pools, rule)
    assert (weights[4] / weights[0]).item() == pytest.approx(ratio)
    assert (0.75 * weights[0] + 0.25 * weights[4]).item() == pytest.approx(1)
    assert weights[[1, 2, 3, 5, 6]].tolist() == [0] * 5
    assert class_weights(pools, "none") is None


def test_class_weights_change_the_loss_by_hand():
    """One pixel of each of two classes with losses a and b: (3a + b) / 4 instead of (a + b) / 2."""
    logits, masks = torch.randn(1, 7, 1, 2, generator=torch.manual_seed(0)), torch.tensor([[[0, 1]]])
    first, second = torch.nn.functional.cross_entropy(logits, masks, reduction="none").flatten()
    weight = torch.tensor([3.0, 1, 0, 0, 0, 0, 0])
    change = segmentation_loss(logits, masks, weight) - segmentation_loss(logits, masks)
    assert change.item() == pytest.approx(((3 * first + second) / 4 - (first + second) / 2).item(), abs=1e-6)


def test_training_ends_when_patience_is_over():
    scores = iter([0.1, 0.5, 0.4, 0.5, 0.9])
    patient = replace(TINY, steps=5, patience=2)
    _, history = train(("a", 0), patient, score=lambda labels: next(scores))
    assert history["val_score"].tolist() == [0.1, 0.5, 0.4, 0.5]


@pytest.mark.parametrize(("name", "prefix"), [("w.safetensors", "encoder."), ("w.pt", "")])
def test_an_encoder_starts_from_a_file(tmp_path, name, prefix):
    donor, model = (build_segmenter("Unet", ENCODER) for _ in range(2))
    state = {prefix + key: value for key, value in donor.network.encoder.state_dict().items()}
    state["head.weight"] = torch.zeros(1)  # what else a file holds is left alone
    path = tmp_path / name
    safetensors.torch.save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    load_encoder(model, str(path))
    for key, value in donor.network.encoder.state_dict().items():
        torch.testing.assert_close(model.network.encoder.state_dict()[key], value)


def test_weights_decide_where_a_training_starts(tmp_path):
    path = tmp_path / "w.pt"
    torch.save(build_segmenter("Unet", ENCODER).network.encoder.state_dict(), path)
    still = replace(TINY, learning_rate=1e-30)
    fresh, _ = train(("a", 0), still)
    started, _ = train(("a", 0), replace(still, weights=str(path)))
    name = "model.conv_stem.weight"
    torch.testing.assert_close(started.network.encoder.state_dict()[name], torch.load(path)[name])
    assert not torch.equal(fresh.network.encoder.state_dict()[name], torch.load(path)[name])


def test_weights_that_cannot_be_used_are_told_in_one_sentence(tmp_path, monkeypatch):
    import huggingface_hub

    def no_network(*_):
        raise OSError("cannot resolve host\nmany lines")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", no_network)
    model = build_segmenter("Unet", ENCODER)
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pt")
    (tmp_path / "damaged.pt").write_bytes(b"no weights")
    for source, words in (
        (tmp_path / "none.pt", "no such file"),
        (tmp_path / "damaged.pt", "not readable"),
        (tmp_path / "other.pt", "do not fit the encoder"),
        ("owner/name", "cannot be fetched from the hub"),
    ):
        with pytest.raises(GroundsynthError, match=words) as caught:
            load_encoder(model, str(source))
        assert "or set weights: null" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_unlabelled_pixels_do_not_change_the_loss():
    torch.manual_seed(0)
    logits, masks = torch.randn(2, 7, 8, 8), torch.randint(0, 7, (2, 8, 8))
    masks[:, :4] = 255
    other = logits.clone()
    other[:, :, :4] = 100 * torch.randn(2, 7, 4, 8)
    assert segmentation_loss(logits, masks).item() == pytest.approx(
        segmentation_loss(other, masks).item(), rel=1e-5
    )


def test_a_batch_without_labels_costs_nothing():
    logits = torch.randn(1, 7, 4, 4, requires_grad=True)
    loss = segmentation_loss(logits, torch.full((1, 4, 4), 255))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_the_same_names_give_the_same_run():
    (first, history), (again, _), (other, _) = train(("a", 0)), train(("a", 0)), train(("a", 1))
    images = made_up_chips()[0]
    np.testing.assert_array_equal(predict(first, images)[1], predict(again, images)[1])
    assert not np.array_equal(predict(first, images)[1], predict(other, images)[1])
    assert history["step"].tolist() == [1, 2]


def test_the_checkpoint_that_scored_best_is_kept():
    """Scores fall, so the first step's weights must come back, not the last one's."""
    scores = iter([0.9, 0.1])
    kept, history = train(("a", 0), score=lambda labels: next(scores))
    one_step = Training(**{**TINY.__dict__, "validate_every": 2})
    last, _ = train(("a", 0), one_step)
    assert history["val_score"].tolist() == [0.9, 0.1]
    assert not torch.equal(next(kept.parameters()), next(last.parameters()))


def test_training_learns_what_is_easy():
    _, masks = made_up_chips()
    training = Training("Unet", ENCODER, steps=25, batch_size=4, learning_rate=3e-3, validate_every=25)
    _, history = train(("easy",), training, score=lambda labels: float((labels == masks).mean()))
    assert history["val_score"].max() > 0.8


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_validation_score_must_be_a_number(value):
    with pytest.raises(GroundsynthError, match="validation score is"):
        train(("a",), score=lambda labels: value)


def test_damaged_weights_are_noticed():
    model = build_segmenter("Unet", ENCODER)
    with torch.no_grad():
        model.network.segmentation_head[0].bias.fill_(float("nan"))
    with pytest.raises(GroundsynthError, match="not finite"):
        predict(model, made_up_chips()[0])


def test_a_diverged_training_stops():
    with pytest.raises(GroundsynthError, match=r"loss is nan|not finite"):
        train(("a",), Training("Unet", ENCODER, 6, 2, 1e30, 6))


def test_pools_refuse_what_cannot_be_trained_on():
    images, masks = made_up_chips()
    with pytest.raises(GroundsynthError, match="class code 9 is not in the legend"):
        make_pool("odd", images, masks + 9)
    with pytest.raises(GroundsynthError, match="none of its 4 chips has a labelled pixel"):
        make_pool("bare", images, np.full_like(masks, 255))
    with pytest.raises(GroundsynthError, match="4 images and 3 masks"):
        make_pool("short", images, masks[:3])


def test_pools_leave_out_chips_without_labels():
    images, masks = made_up_chips()
    masks[1] = 255
    assert len(make_pool("some", images, masks).images) == 3


@pytest.mark.parametrize(
    ("weights", "offset", "sizes"),
    [
        ([1, 1], 0.0, [8, 8]),
        ([1, 3], 0.9, [4, 12]),
        ([1.0], 0.5, [16]),
        ([3, 2], 0.3, [9, 7]),
        ([3, 2], 0.5, [10, 6]),
    ],
)
def test_batches_keep_the_ratio(weights, offset, sizes):
    """16 chips at 3:2 are 9.6 and 6.4: rounded up or down by the offset, never lost."""
    assert pool_sizes(weights, 16, offset).tolist() == sizes


def test_mixed_batches_hold_both_pools():
    images, masks = made_up_chips()
    pools = [make_pool("real", images, masks), make_pool("other", images, np.full_like(masks, 6))]
    _, drawn = draw_batch(pools, 8, "mix", 1)
    assert [(mask == 6).all() for mask in drawn].count(True) == 4


def test_augmentation_moves_image_and_map_together():
    images, masks = made_up_chips(1)
    for k in range(12):
        image, mask = augment(images[0], masks[0], np.random.default_rng(k))
        assert ((image[..., 0] > 110) == (mask == 4)).all()
        assert np.abs(image[mask == 4].mean() / images[0][masks[0] == 4].mean() - 1) <= 0.11


def test_the_learning_rate_rises_then_falls():
    rates = [rate_factor(step, 100) for step in range(1, 101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == 1 == max(rates)
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert 0 < rates[-1] < 0.01


def test_a_saved_segmenter_is_the_same(tmp_path):
    model, images = build_segmenter("Unet", ENCODER).eval(), made_up_chips()[0]
    save_segmenter(model, tmp_path, "Unet", ENCODER)
    again = load_segmenter(tmp_path)
    np.testing.assert_array_equal(predict(again, images)[1], predict(model, images)[1])
    np.testing.assert_array_equal(encode(again, images), encode(model, images))
    assert encode(model, images).shape[0] == 4


def test_a_damaged_segmenter_says_how_to_remake_it(tmp_path):
    with pytest.raises(GroundsynthError, match="snakemake"):
        load_segmenter(tmp_path)
    save_segmenter(build_segmenter("Unet", ENCODER), tmp_path, "Unet", ENCODER)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(GroundsynthError, match="not the weights of a segmenter"):
        load_segmenter(tmp_path)


def test_images_become_fractions_channel_first():
    scaled = to_tensor(np.array([[[[0, 51, 255]]]], np.uint8))
    assert scaled.shape == (1, 3, 1, 1)
    assert scaled.flatten().tolist() == pytest.approx([0, 0.2, 1])


def test_a_scene_twice_as_bright_is_read_the_same():
    """The input layer learns mean and spread, so a training run does not depend on the exposure."""
    images, _ = made_up_chips()
    model = build_segmenter("Unet", ENCODER)
    model.train()
    with torch.no_grad():
        dark, bright = model.scale(to_tensor(images) / 2), model.scale(to_tensor(images))
    torch.testing.assert_close(dark, bright, atol=0.02, rtol=0)
