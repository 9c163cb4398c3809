"""What both GANs agree on: their latent numbers, maps as channels, settings, and how one is stored."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional as nnf

from groundsynth.artifacts import atomic_path
from groundsynth.data.scene_origins import Names
from groundsynth.legend import CLASSES, NO_LABEL, NUM_CLASSES
from groundsynth.models.colour import Whitening

IMAGE_CHANNELS = 3
LATENT = 32  # numbers that decide a chip as a whole
PIXEL_NOISE = 4  # numbers per pixel, for texture
SYMBOLS = NUM_CLASSES + 1  # the last is 'no label'
WEIGHTS, SETTINGS = "gan.safetensors", "gan.json"


@dataclass(frozen=True)
class GanConfig:
    """Everything needed to build a generator again and to read its channels.

    Attributes:
        system: ``spade`` or ``joint_gan``.
        chip_size: side of a chip in pixels, a multiple of 16 from 32 upwards.
        width: channels at full resolution.
        whitening: colour axes of the training chips.
        classes: the legend it was trained with.
    """

    system: str
    chip_size: int
    width: int
    whitening: Whitening
    classes: tuple[str, ...] = CLASSES

    conditions: ClassVar[str] = "none"  # it is asked for nothing
    origins: ClassVar[Names] = ()


def one_hot_maps(maps: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Return maps (n, h, w) of 0…6 and 255 as (n, 8, h, w) float32; channel 7 is 'no label'."""
    symbols = torch.as_tensor(maps).long()
    symbols = torch.where(symbols == NO_LABEL, NUM_CLASSES, symbols)
    return nnf.one_hot(symbols, SYMBOLS).permute(0, 3, 1, 2).float()


def round_maps(scores: torch.Tensor) -> torch.Tensor:
    """Return scores (n, 8, h, w) as one-hot maps of the largest, which pass no gradient on."""
    whole = nnf.one_hot(scores.argmax(dim=1), SYMBOLS)
    return whole.permute(0, 3, 1, 2).to(scores.dtype)


def condition_map(labels: torch.Tensor | None, latent: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Return what modulates every layer, at full resolution: labels (if any), latent on every pixel, noise."""
    spread = latent[:, :, None, None].expand(-1, -1, *noise.shape[2:])
    return torch.cat([spread, noise] if labels is None else [labels, spread, noise], dim=1)


def draw_latents(seeds: list[int], chip_size: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return latent (n, 32) and pixel noise (n, 4, h, w), each sample's from a generator of its own."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    latent = [torch.randn(LATENT, generator=g) for g in generators]
    noise = [torch.randn(PIXEL_NOISE, chip_size, chip_size, generator=g) for g in generators]
    return torch.stack(latent).to(device), torch.stack(noise).to(device)


def save_gan(model: nn.Module, folder: Path) -> None:
    """Save a generator's weights (safetensors) and settings in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / WEIGHTS) as temporary:
        safetensors.torch.save_model(model, temporary)
    with atomic_path(folder / SETTINGS) as temporary:
        temporary.write_text(json.dumps(asdict(model.config), indent=2))
