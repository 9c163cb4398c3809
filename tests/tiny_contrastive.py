"""Tiny CLIP and SigLIP models with their processors, saved as folders: the classes of published weights."""

from __future__ import annotations

from pathlib import Path

from tiny_models import make_tokenizer
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    SiglipProcessor,
)

SIDE, PATCH, LONGEST = 16, 8, 20


def save_tiny(kind: str, folder: Path) -> None:
    """Save a random model of kind ``clip`` or ``siglip`` and its processor."""
    tokenizer = make_tokenizer()
    tokenizer.model_max_length = LONGEST
    layers = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    words = dict(vocab_size=len(tokenizer), max_position_embeddings=LONGEST, **layers)
    ends = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)
    sight = dict(image_size=SIDE, patch_size=PATCH, **layers)
    size = {"height": SIDE, "width": SIDE}
    if kind == "clip":
        config = CLIPConfig(text_config=words | ends, vision_config=sight, projection_dim=8)
        model = CLIPModel(config)
        processor = CLIPProcessor(CLIPImageProcessor(size=size, crop_size=size), tokenizer)
    else:
        config = SiglipConfig(text_config=words | ends, vision_config=sight)
        model, processor = SiglipModel(config), SiglipProcessor(SiglipImageProcessor(size=size), tokenizer)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
