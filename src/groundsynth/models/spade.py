"""A GAN that draws an image for a given map: the generator of SPADE (Park et al. 2019, arXiv:1903.07291).

Both published pipelines of mask-conditioned satellite images use this kind of network (ARAS400k; and
arXiv:2302.04305, with a term for diversity). Here it is small, and no layer looks at the batch, so that a
sample is the same whatever batch it is drawn in.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

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


class SpadeGenerator(nn.Module):
    """Latent numbers and a map to an image along whitened colour axes."""

    def __init__(self, config: GanConfig):
        super().__init__()
        self.config, self.side = config, config.chip_size // 2**HALVINGS
        self.start = nn.Linear(LATENT, 4 * config.width * self.side**2)
        self.pyramid = ModulatedPyramid(config.width, SYMBOLS + LATENT + PIXEL_NOISE, IMAGE_CHANNELS)

    def forward(self, latent: torch.Tensor, noise: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return images (n, 3, h, w), standard deviation about 1.

        Args:
            latent: (n, 32) one set of numbers per chip.
            noise: (n, 4, h, w) numbers for every pixel.
            labels: (n, 8, h, w) one-hot map; symbol 7 is 'no label'.
        """
        x = self.start(latent).view(len(latent), -1, self.side, self.side)
        return self.pyramid(x, condition_map(labels, latent, noise))

    def map_parameters(self) -> list[nn.Parameter]:
        """Return what draws maps: nothing does."""
        return []

    @staticmethod
    def own_maps(n: int) -> int:
        """Return how many of a batch's pairs have a map that the generator drew: none."""
        return 0

    def pair(self, latent: torch.Tensor, noise: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return image and one-hot map as the critic sees them: (n, 11, h, w)."""
        return torch.cat([self(latent, noise, labels), labels], dim=1)

    def save(self, folder: Path) -> None:
        """Save weights and settings in ``folder``."""
        save_gan(self, folder)
