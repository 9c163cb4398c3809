"""A GAN that draws an image together with its map: the comparator of joint diffusion.

The map comes first, and the image is drawn for it by the layers of the other GAN (Semantic Bottleneck GAN,
Azadi et al. 2019, arXiv:1911.11357). One network that ends in two heads, colours and class scores, as in the
semantic GANs that SatSynth (CVPR 2024) compares with, was tried first: the noise that texture needs on every
pixel reached the map as well, and the critic, who told such confetti from real maps at once, taught no shapes.
Here noise enters the map in coarse layers only, and a critic of its own judges it, with noise on what it sees.

Maps and images are taught apart. The critic of pairs teaches the image alone, for maps rounded to whole classes:
while it taught maps as well, all became of the one class whose images fooled it best. The critic of maps sees the
generator's class scores as they are, and real maps, both under so much noise that soft and whole scores look alike.
Maps rounded for this critic too, with gradients passed straight through, swung from class to class as a whole, since
one small step flips the largest score of many pixels at once. In training half of the images are drawn for real maps,
which keeps the image's part as good as the other GAN's.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from groundsynth.models.gan import (
    LATENT,
    PIXEL_NOISE,
    SYMBOLS,
    GanConfig,
    condition_map,
    round_maps,
    save_gan,
)
from groundsynth.models.gan_blocks import HALVINGS, ModulatedPyramid
from groundsynth.models.spade import SpadeGenerator

NOISY_LEVELS = 4  # of the five in which a map is drawn: all but the finest


class JointGenerator(nn.Module):
    """Latent numbers to a map, and with it to an image along whitened colour axes."""

    def __init__(self, config: GanConfig):
        super().__init__()
        self.config, self.side = config, config.chip_size // 2**HALVINGS
        self.start = nn.Linear(LATENT, 4 * config.width * self.side**2)
        self.layout = ModulatedPyramid(config.width, LATENT + PIXEL_NOISE, SYMBOLS, NOISY_LEVELS)
        self.image = SpadeGenerator(config)

    def draw_maps(self, latent: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Return maps as class scores, (n, 8, h, w) in 0…1, 1 together on each pixel."""
        x = self.start(latent).view(len(latent), 4 * self.config.width, self.side, self.side)
        return self.layout(x, condition_map(None, latent, noise)).softmax(dim=1)

    def forward(self, latent: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Return colours (3) and a one-hot map (8) as (n, 11, h, w); symbol 7 is 'no label'.

        Args:
            latent: (n, 32) one set of numbers per chip.
            noise: (n, 4, h, w) numbers for every pixel.
        """
        maps = round_maps(self.draw_maps(latent, noise))
        return torch.cat([self.image(latent, noise, maps), maps], dim=1)

    def map_parameters(self) -> list[nn.Parameter]:
        """Return what draws maps."""
        return [*self.start.parameters(), *self.layout.parameters()]

    @staticmethod
    def own_maps(n: int) -> int:
        """Return how many of a batch's pairs have a map that the generator drew: the first half."""
        return n // 2

    def pair(self, latent: torch.Tensor, noise: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return images and maps, (n, 11, h, w): own maps first, as scores, then the given ``labels``.

        Images are drawn for whole classes, and teach the scores nothing.
        """
        own = self.own_maps(len(latent))
        drawn = self.draw_maps(latent[:own], noise[:own]) if own else labels[:0]
        maps = torch.cat([drawn, labels[own:]], dim=0)
        return torch.cat([self.image(latent, noise, round_maps(maps)), maps], dim=1)

    def save(self, folder: Path) -> None:
        """Save weights and settings in ``folder``."""
        save_gan(self, folder)
