"""Parts that the two GANs share: layers modulated by a condition, and a critic of patches.

A layer is normalised and then scaled and shifted, pixel by pixel, by what a small convolution reads
from a condition map: spatially-adaptive normalisation (SPADE, Park et al. 2019, arXiv:1903.07291,
eq. 1). Where SPADE normalises by statistics of the batch, here each pixel is brought to unit length
over its channels (Karras et al. 2018, arXiv:1710.10196): a sample does not depend on the batch it is
drawn in, and no bright blob can grow that rules the statistics of a whole chip, as one does with
instance norm (Karras et al. 2020, arXiv:1912.04958). The scale and shift come from 1×1 instead of 3×3
convolutions, a ninth of the cost. What the labels leave open enters with them, as latent numbers on
every pixel (Sushko et al. 2021, arXiv:2012.04781); noise for texture is also added to every block.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as nnf
from torch.nn.utils.parametrizations import spectral_norm

from groundsynth.models.gan import PIXEL_NOISE

LEAK = 0.2  # slope of the leaky rectifiers
HALVINGS = 4  # a chip is drawn from 1/16 of its side upwards


class ModulatedBlock(nn.Module):
    """A residual block of two convolutions, each after a modulated normalisation."""

    def __init__(self, given: int, channels: int, condition: int, hidden: int):
        super().__init__()
        self.read = _convolution(condition, hidden)
        self.scales = nn.ModuleList([nn.Conv2d(hidden, 2 * c, 1) for c in (given, channels)])
        self.first, self.second = _convolution(given, channels), _convolution(channels, channels)
        self.grain = nn.Conv2d(PIXEL_NOISE, channels, 1, bias=False)
        self.skip = nn.Conv2d(given, channels, 1, bias=False) if given != channels else nn.Identity()

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Return (n, channels, h, w) for x (n, given, h, w) and a condition map of the same size.

        The last channels of the condition are the pixel noise.
        """
        read = nnf.relu(self.read(condition))
        inner = self.first(self._modulate(x, read, 0)) + self.grain(condition[:, -PIXEL_NOISE:])
        return self.skip(x) + self.second(self._modulate(inner, read, 1))

    def _modulate(self, x: torch.Tensor, read: torch.Tensor, which: int) -> torch.Tensor:
        scale, shift = self.scales[which](read).chunk(2, dim=1)
        unit = x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        return nnf.leaky_relu(unit * (1 + scale) + shift, LEAK)


def _convolution(given: int, channels: int) -> nn.Conv2d:
    """Return a 3×3 convolution that mirrors at its edge: padded with zeros, chips are drawn in a frame."""
    return nn.Conv2d(given, channels, 3, padding=1, padding_mode="reflect")


class ModulatedPyramid(nn.Module):
    """Blocks from 1/16 of a chip's side to its full side, every one under the same condition.

    The last channels of the condition are the pixel noise; blocks from number ``noisy`` on get none of it.
    """

    def __init__(self, width: int, condition: int, out_channels: int, noisy: int = HALVINGS + 1):
        super().__init__()
        self.noisy = noisy
        channels = [width * factor for factor in (4, 4, 4, 2, 1)]
        pairs = zip([channels[0], *channels], channels, strict=False)
        self.blocks = nn.ModuleList([ModulatedBlock(a, b, condition, width) for a, b in pairs])
        self.out = _convolution(width, out_channels)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Return (n, out_channels, h, w) for x (n, 4 width, h/16, w/16) and a condition (n, k, h, w)."""
        for level, block in enumerate(self.blocks):
            if level:
                x = nnf.interpolate(x, scale_factor=2, mode="bilinear")
            given = nnf.interpolate(condition, size=x.shape[2:], mode="nearest")
            if level >= self.noisy:
                given = torch.cat([given[:, :-PIXEL_NOISE], torch.zeros_like(given[:, -PIXEL_NOISE:])], dim=1)
            x = block(x, given)
        return self.out(nnf.leaky_relu(x, LEAK))


class PatchCritic(nn.Module):
    """Scores overlapping patches at full and at half resolution (the discriminator of pix2pixHD and SPADE).

    Spectral normalisation in every layer; no normalisation of activations, so that brightness counts.
    The last layer is also told how much the patches of a batch differ (Karras et al. 2018,
    arXiv:1710.10196): a generator that draws one chip over and over gives itself away.
    """

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.scales = nn.ModuleList([_critic_layers(channels, width) for _ in range(2)])

    def forward(self, x: torch.Tensor) -> list[list[torch.Tensor]]:
        """Return, for each of two scales, the activations of every layer; the last are the scores."""
        found = []
        for layers in self.scales:
            activations, state = [], x
            for layer in layers[:-1]:
                state = layer(state)
                activations.append(state)
            spread = (state.var(dim=0, correction=0) + 1e-8).sqrt().mean()
            spread = spread.expand(len(state), 1, *state.shape[2:])
            activations.append(layers[-1](torch.cat([state, spread], dim=1)))
            found.append(activations)
            x = nnf.avg_pool2d(x, 2)
        return found


class JointCritic(PatchCritic):
    """The same critic of pairs, and beside it one of maps alone."""

    def __init__(self, channels: int, symbols: int, width: int):
        super().__init__(channels, width)
        self.maps = PatchCritic(symbols, width)


def _critic_layers(channels: int, width: int) -> nn.ModuleList:
    plan = [(channels, width, 3, 1), (width, 2 * width, 4, 2), (2 * width, 4 * width, 4, 2),
            (4 * width, 4 * width, 4, 2)]  # fmt: skip
    layers = [
        nn.Sequential(
            spectral_norm(nn.Conv2d(a, b, kernel, stride, padding=1)), nn.LeakyReLU(LEAK, inplace=False)
        )
        for a, b, kernel, stride in plan
    ]
    return nn.ModuleList([*layers, spectral_norm(nn.Conv2d(4 * width + 1, 1, 3, padding=1))])
