"""A third pair of eyes, if one lies on this disk: features of a pretrained network, from a local file.

A folder is a Hugging Face vision model (DINOv2, ViT, CLIP's image side, …) with its image processor; a file
is the Inception network's weights as torch-fidelity publishes them. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from groundsynth.errors import GroundsynthError

BATCH = 32
Encoder = Callable[[np.ndarray], np.ndarray]


def load_encoder(path: Path | str, device: torch.device | str = "cpu") -> Encoder:
    """Return a function from (n, h, w, 3) uint8 chips to (n, d) float32 features.

    Args:
        path: folder of a Hugging Face vision model, or file of Inception weights.

    Raises:
        GroundsynthError: nothing there, or nothing that loads as such a network.
    """
    path = Path(path)
    if not path.exists():
        raise GroundsynthError(
            f"ground.features: {path} is not there; give the folder of a Hugging Face vision model or the file "
            "of Inception weights, or null for none"
        )
    try:
        return _hugging_face(path, device) if path.is_dir() else _inception(path, device)
    except GroundsynthError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise GroundsynthError(
            f"ground.features: {path} does not load ({reason}); a folder must hold a Hugging Face vision model "
            "with config.json, model.safetensors and preprocessor_config.json, a file the Inception weights of "
            "torch-fidelity"
        ) from None


def _batched(encode: Callable[[np.ndarray], torch.Tensor]) -> Encoder:
    @torch.inference_mode()
    def features(images: np.ndarray) -> np.ndarray:
        parts = [encode(images[start : start + BATCH]).cpu() for start in range(0, len(images), BATCH)]
        return torch.cat(parts).float().numpy()

    return features


def _hugging_face(folder: Path, device: torch.device | str) -> Encoder:
    from transformers import AutoImageProcessor, AutoModel

    processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True).to(device).eval()
    looks = model.vision_model if hasattr(model, "vision_model") else model

    def encode(images: np.ndarray) -> torch.Tensor:
        inputs = processor(images=list(images), return_tensors="pt")
        output = looks(pixel_values=inputs["pixel_values"].to(device))
        pooled = getattr(output, "pooler_output", None)
        if pooled is None:
            pooled = output.last_hidden_state.flatten(2).mean(-1 if output.last_hidden_state.ndim == 4 else 1)
        return pooled.flatten(1)

    return _batched(encode)


def _inception(file: Path, device: torch.device | str) -> Encoder:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    network = FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(file)
    )
    network = network.to(device).eval()

    def encode(images: np.ndarray) -> torch.Tensor:
        return network(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(device))[0]

    return _batched(encode)
