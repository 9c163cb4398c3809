"""CLIP and its like with published weights, as a scorer of image–text pairs.

Takes what the Hugging Face library stores as a ``CLIPModel`` or ``SiglipModel``: OpenAI's weights, and
those of OpenCLIP or RemoteCLIP (Liu et al., 2306.11029) once they are converted to that form.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from groundsynth.errors import GroundsynthError

CLASSES = ("CLIPModel", "SiglipModel")
SETTING = "ground.contrastive"
CURE = f"name a folder written by save_pretrained of model and processor, or set {SETTING}: trained"


class PublishedContrastive:
    """A model with its processor; see :func:`load_published`."""

    def __init__(self, model: torch.nn.Module, processor: object, batch_size: int = 64) -> None:
        self.model, self.processor, self.batch_size = model.eval(), processor, batch_size
        self.longest = model.config.text_config.max_position_embeddings

    @torch.inference_mode()
    def encode_images(self, images: np.ndarray) -> np.ndarray:
        """Return unit vectors of images (n, h, w, 3) uint8, enlarged as the processor says: (n, d) float32."""
        rows = []
        for part in self._parts(images):
            inputs = self.processor(images=list(part), return_tensors="pt").to(self.model.device)
            rows.append(self.model.get_image_features(pixel_values=inputs["pixel_values"]))
        return _unit(rows)

    @torch.inference_mode()
    def encode_captions(self, captions: Sequence[str]) -> np.ndarray:
        """Return unit vectors of captions, cut to what the model reads: (n, d) float32."""
        rows = []
        for part in self._parts(captions):
            inputs = self.processor(
                text=list(part),
                padding="max_length",
                truncation=True,
                max_length=self.longest,
                return_tensors="pt",
            )
            rows.append(self.model.get_text_features(**inputs.to(self.model.device)))
        return _unit(rows)

    def _parts(self, items: Sequence) -> list[Sequence]:
        return [items[i : i + self.batch_size] for i in range(0, len(items), self.batch_size)]


def _unit(rows: list) -> np.ndarray:
    vectors = torch.cat([getattr(row, "pooler_output", row) for row in rows]).float()
    return torch.nn.functional.normalize(vectors, dim=1).cpu().numpy()


def load_published(source: str, device: torch.device | str = "cpu") -> PublishedContrastive:
    """Return the model in a folder, or of a hub repository ``owner/name``.

    Raises:
        GroundsynthError: nothing there, a model of another class, weights or processor missing or unreadable.
    """
    from transformers import AutoConfig, AutoModel, AutoProcessor

    folder = Path(source).expanduser()
    if not folder.is_dir() and (folder.is_absolute() or source.count("/") != 1):
        raise GroundsynthError(f"{SETTING} '{source}': no such folder; {CURE}")
    place, local = (folder, True) if folder.is_dir() else (source, False)
    config = _read(source, "model", lambda: AutoConfig.from_pretrained(place, local_files_only=local))
    found = (getattr(config, "architectures", None) or [type(config).__name__.replace("Config", "Model")])[0]
    if found not in CLASSES:
        raise GroundsynthError(
            f"{SETTING} '{source}' holds a {found}, not one of {', '.join(CLASSES)}; {CURE}"
        )
    model = _read(source, "model", lambda: AutoModel.from_pretrained(place, local_files_only=local))
    processor = _read(
        source, "processor", lambda: AutoProcessor.from_pretrained(place, local_files_only=local)
    )
    if not (hasattr(processor, "image_processor") and hasattr(processor, "tokenizer")):
        raise GroundsynthError(
            f"{SETTING} '{source}' has no processor that reads images and text, only a "
            f"{type(processor).__name__}; {CURE}"
        )
    return PublishedContrastive(model.to(device), processor)


def _read(source: str, part: str, load):
    try:
        return load()
    except Exception as error:  # whatever the libraries between here and the network raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise GroundsynthError(f"{SETTING} '{source}' has no usable {part} ({reason}); {CURE}") from None
