"""A small U-Net at full resolution, modulated by what is known of its input.

Its residual stream is never normalised: a block adds to it, so what is constant over a chip (how bright it is, how
much of it is forest) passes through. Inside a block, features are normalised and then scaled and shifted by a
vector (Dhariwal & Nichol 2021, https://arxiv.org/abs/2105.05233; Perez et al. 2018,
https://arxiv.org/abs/1709.07871). Where resolution is lowest, places look at one another, and at tokens if there
are any. What is one or two pixels wide is seen from the first layer on: a network that works on squares of
2 × 2 pixels takes several times as long to the same denoising error.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as nnf

HEAD = 16  # channels of an attention head
GROUP = 8  # channels that are normalised together
FIRST = 0.1  # of its usual weights, that a block begins with


class Block(nn.Module):
    """Adds to its input what two convolutions find in it.

    Args:
        channels: of the input and output; vector: width of the vector that scales and shifts.
    """

    def __init__(self, channels: int, vector: int):
        super().__init__()
        self.find = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.GroupNorm(max(1, channels // GROUP), channels)
        self.modulate = nn.Linear(vector, 2 * channels)
        self.add = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():
            self.add.weight.mul_(FIRST)  # at first a block adds little

    def forward(self, x: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
        """Return (n, c, h, w), given a vector (n, v)."""
        scale, shift = self.modulate(vector)[:, :, None, None].chunk(2, dim=1)
        found = self.norm(self.find(nnf.silu(x)))
        return x + self.add(nnf.silu(found * (1 + scale) + shift))


class Look(nn.Module):
    """Lets places look at one another, and at tokens.

    Args:
        channels: of a place, a multiple of ``HEAD``; tokens: width of a token, 0 where there are none.
    """

    def __init__(self, channels: int, tokens: int):
        super().__init__()
        self.hear = nn.Linear(tokens, channels) if tokens else None
        kind = nn.TransformerDecoderLayer if tokens else nn.TransformerEncoderLayer
        self.layer = kind(
            channels, channels // HEAD, 2 * channels, dropout=0.0, batch_first=True, norm_first=True
        )

    def forward(
        self, x: torch.Tensor, tokens: torch.Tensor | None, counted: torch.Tensor | None
    ) -> torch.Tensor:
        """Return (n, c, h, w), given tokens (n, t, width) of which some count, (n, t) bool."""
        places = x.flatten(2).transpose(1, 2)
        if self.hear is None:
            seen = self.layer(places)
        else:
            seen = self.layer(places, self.hear(tokens), memory_key_padding_mask=~counted)
        return seen.transpose(1, 2).reshape(x.shape)


class UNet(nn.Module):
    """From ``inside`` channels to ``outside``, over as many resolutions as there are ``channels``.

    Args:
        inside, outside: channels of input and output.
        channels: width per resolution, finest first; the last a multiple of ``HEAD``.
        layers: blocks per resolution, on the way down and again on the way up.
        vector: width of the vector that modulates every block.
        tokens: width of the tokens that are looked at, 0 where there are none.
    """

    def __init__(
        self, inside: int, outside: int, channels: tuple[int, ...], layers: int, vector: int, tokens: int = 0
    ):
        super().__init__()

        def blocks(width: int) -> nn.ModuleList:
            return nn.ModuleList(Block(width, vector) for _ in range(layers))

        self.begin = nn.Conv2d(inside, channels[0], 3, padding=1)
        self.down = nn.ModuleList(blocks(width) for width in channels)
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(channels))
        self.look = Look(channels[-1], tokens)
        self.up = nn.ModuleList(blocks(width) for width in channels)
        self.grow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(channels))
        self.end = nn.Conv2d(channels[0], outside, 3, padding=1)

    def forward(
        self,
        x: torch.Tensor,
        vector: torch.Tensor,
        tokens: torch.Tensor | None = None,
        counted: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return (n, outside, h, w).

        Args:
            x: (n, inside, h, w), h and w multiples of 2 ** (resolutions − 1).
            vector: (n, vector); tokens: (n, t, width); counted: (n, t) bool, tokens that count.
        """
        x = self.begin(x.contiguous(memory_format=torch.channels_last))
        kept: list[torch.Tensor] = []
        for level, blocks in enumerate(self.down):
            if level:
                kept.append(x)
                x = self.shrink[level - 1](x)
            for block in blocks:
                x = block(x, vector)
        x = self.look(x, tokens, counted)
        for level in reversed(range(len(self.up))):
            for block in self.up[level]:
                x = block(x, vector)
            if level:
                x = nnf.interpolate(self.grow[level - 1](x), scale_factor=2.0) + kept[level - 1]
        return self.end(x)
