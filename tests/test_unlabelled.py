"""Images without a map: found on training ground alone, refused from elsewhere, learned from by policy image alone."""

import numpy as np
import pandas as pd
import pytest
import yaml
from test_generator import SETTINGS

from groundsynth.config import load_study
from groundsynth.data.blocks import TRAIN, VAL
from groundsynth.data.unlabelled import image_only_chips, unlabelled_windows
from groundsynth.errors import GroundsynthError
from groundsynth.models.noise import POLICIES
from groundsynth.models.training import diffusion_loss, new_denoiser

SIZE = 32


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four windows side by side: labelled, half labelled, half labelled and cloudy, half labelled without image."""
    draw = np.random.default_rng(0)
    image = draw.integers(1, 250, (SIZE, 4 * SIZE, 3)).astype(np.uint8)
    labels = np.zeros((SIZE, 4 * SIZE), np.uint8)
    labels[: SIZE // 2, SIZE:] = 255
    image[: SIZE // 2, 2 * SIZE : 3 * SIZE] = 255
    image[: SIZE // 2, 3 * SIZE :] = 0
    return image, np.full(labels.shape, TRAIN, np.uint8), labels


def test_only_training_windows_with_an_image_and_too_few_labels_are_found():
    image, split, labels = scene()
    assert unlabelled_windows(image, split, labels, SIZE, SIZE, 0.99).tolist() == [[0, SIZE]]
    assert unlabelled_windows(image, split, labels, SIZE, SIZE, 0.5).tolist() == []
    split[:, SIZE : 2 * SIZE] = VAL
    assert unlabelled_windows(image, split, labels, SIZE, SIZE, 0.99).tolist() == []
    assert unlabelled_windows(image, np.full_like(split, VAL), labels, SIZE, SIZE, 0.99).shape == (0, 2)


def test_hidden_images_come_first_and_other_splits_are_refused():
    layers = [[layer] for layer in scene()]
    hidden = pd.DataFrame({"image": [np.full((SIZE, SIZE, 3), 9, np.uint8)], "split": ["hidden"]})
    found = image_only_chips(hidden, *layers, SIZE, SIZE, 0.99)
    assert found.shape == (2, SIZE, SIZE, 3)
    assert (found[0] == 9).all()
    np.testing.assert_array_equal(found[1], layers[0][0][:, SIZE : 2 * SIZE])
    assert image_only_chips(hidden.iloc[:0], *layers, SIZE, SIZE, 0.1).shape == (0, SIZE, SIZE, 3)
    with pytest.raises(ValueError, match="pass hidden chips alone"):
        image_only_chips(hidden.assign(split="test"), *layers, SIZE, SIZE, 0.99)


def test_policy_image_learns_the_same_whatever_the_maps_are():
    """The loss of the same images with a map and with none is equal; that of pairs is not."""
    from dataclasses import replace

    import torch

    from groundsynth.models.bits import encode_maps

    draw = np.random.default_rng(0)
    images = draw.integers(0, 255, (4, 32, 32, 3)).astype(np.uint8)
    maps = draw.choice([0, 4], (4, 32, 32)).astype(np.uint8)
    assert "image" in POLICIES
    losses = {}
    for policy in ("image", "joint"):
        settings = replace(SETTINGS, policy=policy)
        model = new_denoiser(images, maps, settings)
        for name, given in (("map", maps), ("none", np.full_like(maps, 255))):
            x0 = torch.cat([model.config.whitening.whiten(images), encode_maps(given, model.config.codes)], 1)
            loss, _ = diffusion_loss(model, x0, settings, torch.Generator().manual_seed(0))
            losses[policy, name] = loss.item()
    assert losses["image", "map"] == pytest.approx(losses["image", "none"], abs=1e-6)
    assert losses["joint", "map"] != pytest.approx(losses["joint", "none"], abs=1e-3)


def test_a_study_may_ask_for_it_only_where_it_is_read(root, tmp_path):
    for name in ("laptop", "smoke"):
        (tmp_path / f"{name}.yaml").write_text((root / "config" / f"{name}.yaml").read_text())

    def ask(policies: list[str]) -> None:
        mine = {"study": "mine", "extends": "smoke", "generator": {"unlabelled": True, "policies": policies}}
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine))
        assert load_study(tmp_path / "mine.yaml").generator.unlabelled

    ask(["unified", "image"])
    with pytest.raises(GroundsynthError, match="learned from by policy 'image' alone"):
        ask(["unified"])
