"""The segmenter: what its loss ignores, what decides a run, what it refuses, what survives a save."""

import numpy as np
import pytest
import torch

from groundsynth.errors import GroundsynthError
from groundsynth.models.segmenter import (
    DECODERS,
    Training,
    augment,
    build_segmenter,
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


@pytest.mark.parametrize("architecture", sorted(DECODERS))
@pytest.mark.parametrize("size", [32, 64])
def test_every_network_labels_both_chip_sizes(architecture, size):
    model = build_segmenter(architecture, ENCODER)
    labels, trust = predict(model, made_up_chips(2, size)[0])
    assert labels.shape == trust.shape == (2, size, size)
    assert labels.max() <= 6
    assert trust.min() >= 255 // 7, "the named class is the likeliest of seven"


@pytest.mark.parametrize(
    ("architecture", "encoder"), [("PAN", "resnet18"), ("Unet", "resnet17"), ("FPN", "mit_b0")]
)
def test_what_cannot_be_built_is_told(architecture, encoder):
    with pytest.raises(GroundsynthError, match=r"choose (one of|another)"):
        build_segmenter(architecture, encoder)


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
