"""A GAN that draws an image together with its map: the comparator of joint diffusion.

As in the semantic GANs that SatSynth (CVPR 2024) compares with, one generator ends in two heads,
colours and class scores, and one critic judges the pair. The critic of real pairs sees maps of whole
classes, so generated ones are rounded to whole classes as well; the gradient passes through the
soft scores (straight-through estimator, Bengio et al. 2013, arXiv:1308.3432).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as nnf

from groundsynth.models.gan import (
    IMAGE_CHANNELS,
    LATENT,
    PIXEL_NOISE,
    SYMBOLS,
    GanConfig,
    condition_map,
    save_gan,
)
from groundsynth.models.gan_blocks import HALVINGS, ModulatedPyramid


class JointGenerator(nn.Module):
    """Latent numbers to an image along whitened colour axes and a map."""

    def __init__(self, config: GanConfig):
        super().__init__()
        self.config, self.side = config, config.chip_size // 2**HALVINGS
        self.start = nn.Linear(LATENT, 4 * config.width * self.side**2)
        self.pyramid = ModulatedPyramid(config.width, LATENT + PIXEL_NOISE, IMAGE_CHANNELS + SYMBOLS)

    def forward(self, latent: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Return colours (3) and class scores (8) as (n, 11, h, w); symbol 7 is 'no label'.

        Args:
            latent: (n, 32) one set of numbers per chip.
            noise: (n, 4, h, w) numbers for every pixel.
        """
        x = self.start(latent).view(len(latent), -1, self.side, self.side)
        return self.pyramid(x, condition_map(None, latent, noise))

    def pair(self, latent: torch.Tensor, noise: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return image and rounded map as the critic sees them, (n, 11, h, w); the real ``labels`` are not used."""
        out = self(latent, noise)
        soft = out[:, IMAGE_CHANNELS:].softmax(dim=1)
        hard = nnf.one_hot(soft.argmax(dim=1), SYMBOLS).permute(0, 3, 1, 2).to(soft.dtype)
        return torch.cat([out[:, :IMAGE_CHANNELS], hard + soft - soft.detach()], dim=1)

    def save(self, folder: Path) -> None:
        """Save weights and settings in ``folder``."""
        save_gan(self, folder)
