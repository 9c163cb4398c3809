"""Features of a network from a local file: a tiny constructed model, and what does not load."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from groundsynth.checks.pretrained_features import load_encoder
from groundsynth.errors import GroundsynthError


@pytest.fixture(scope="module")
def dino(tmp_path_factory):
    """A DINOv2 of the true class with a few thousand weights."""
    from transformers import Dinov2Config, Dinov2Model

    folder = tmp_path_factory.mktemp("dino")
    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14
    )
    Dinov2Model(config).save_pretrained(folder)
    about = {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 56},
             "crop_size": {"height": 56, "width": 56}}  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(about))
    return folder


def test_a_local_vision_model_gives_features(dino):
    images = np.random.default_rng(0).integers(0, 255, (5, 32, 32, 3), np.uint8)
    images[1] = images[0]
    features = load_encoder(dino)(images)
    assert features.shape == (5, 24)
    assert features.dtype == np.float32
    assert np.allclose(features[0], features[1], atol=1e-5)
    assert not np.allclose(features[0], features[2], atol=1e-3)


def test_what_is_not_there_or_does_not_load_is_told(tmp_path):
    with pytest.raises(GroundsynthError, match=r"ground.features: .*nothing is not there; give the folder"):
        load_encoder(tmp_path / "nothing")
    with pytest.raises(
        GroundsynthError, match=r"does not load .* a folder must hold a Hugging Face vision model"
    ):
        load_encoder(tmp_path)
    (tmp_path / "inception.pth").write_bytes(b"no weights")
    with pytest.raises(GroundsynthError, match=r"inception.pth does not load"):
        load_encoder(tmp_path / "inception.pth")


@pytest.mark.slow
def test_inception_weights_in_a_file(tmp_path):
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    bare = FeatureExtractorInceptionV3.__new__(FeatureExtractorInceptionV3)
    weights = _untrained(bare, tmp_path / "inception.pth")
    features = load_encoder(weights)(np.zeros((2, 64, 64, 3), np.uint8))
    assert features.shape == (2, 2048)


def _untrained(bare, path):
    """Save untrained weights under the published names, by stopping the class before it loads any."""
    import torch_fidelity.feature_extractor_inceptionv3 as module

    class Stop(Exception):
        pass

    def stop(*args, **kwargs):
        raise Stop

    original, module.torch.load = module.torch.load, stop
    path.write_bytes(b"")
    try:
        bare.__init__("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path))
    except Stop:
        pass
    finally:
        module.torch.load = original
    torch.save(bare.state_dict(), path)
    return path
