"""Holding a sample to the class shares that were asked for, while it is drawn.

A trained generator follows class shares on average, and draws rare classes less often than it is asked to:
whether a lake comes at all is settled in a few steps under much noise. So at every step the belief of the clean map
is moved to the nearest one that has the shares asked for. Its bits give each pixel a distribution over classes; one
weight per class, the same over the chip, makes their mean the shares (iterative proportional fitting, Deming and
Stephan 1940, https://doi.org/10.1214/aoms/1177731829: of all beliefs with these shares, the one of least relative
entropy to the network's). Where a class comes is the network's choice, since a weight favours the places that were
likeliest, and the image follows, for it is drawn beside the map. Correcting the clean belief with what is known of
it is how diffusion models solve inverse problems without training for them (Chung et al. 2023,
https://arxiv.org/abs/2209.14687).
"""

from __future__ import annotations

import numpy as np
import torch

from groundsynth.legend import NUM_CLASSES
from groundsynth.models.bits import BIT_VALUE, BITS, encode_maps

DOUBT = 0.002  # that each bit is left with, however sure the network is
LEAST_SHARE = 1e-4  # that a class asked not to be there is given, so that weights stay finite
MOST_WEIGHT = 1e4
ROUNDS = 30
EVERY = 2  # pixel along rows and columns from which weights are found


def class_codes(codes: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Return the channels of the seven classes, (7, c) float32 of ±0.5."""
    classes = np.arange(NUM_CLASSES, dtype=np.uint8)[:, None, None]
    return encode_maps(classes, codes)[..., 0, 0].to(device)


def class_beliefs(bits: torch.Tensor, codes: tuple[int, ...]) -> torch.Tensor:
    """Return the distribution over the seven classes at every pixel, (n, 7, h, w), 'no label' left out.

    Args:
        bits: (n, c, h, w) beliefs of clean bits, about ±0.5; those of one pixel count as independent.
    """
    set_ = (bits / (2 * BIT_VALUE) + 0.5).clamp(DOUBT, 1 - DOUBT)
    wanted = class_codes(codes, bits.device) / (2 * BIT_VALUE) + 0.5
    if wanted.shape[1] > BITS:  # one channel per symbol
        found = set_[:, :NUM_CLASSES]
    else:
        found = torch.einsum("kc,nchw->nkhw", wanted, set_.log())
        found = (found + torch.einsum("kc,nchw->nkhw", 1 - wanted, (1 - set_).log())).exp()
    return found / found.sum(1, keepdim=True)


def hold_shares(bits: torch.Tensor, shares: torch.Tensor, codes: tuple[int, ...]) -> torch.Tensor:
    """Return beliefs of bits, (n, c, h, w), moved to those that have the class shares asked for.

    Args:
        bits: (n, c, h, w) beliefs of clean bits.
        shares: (n, 7) that sum to 1; rows of NaN are let be.
    """
    beliefs = class_beliefs(bits, codes)
    wanted = shares.nan_to_num(1 / NUM_CLASSES).clamp(min=LEAST_SHARE)
    wanted = wanted / wanted.sum(1, keepdim=True)
    some = beliefs[:, :, ::EVERY, ::EVERY].flatten(2)
    weights = torch.ones_like(wanted)
    for _ in range(ROUNDS):
        shifted = some * weights[..., None]
        mean = (shifted / shifted.sum(1, keepdim=True)).mean(2)
        weights = (weights * wanted / mean).clamp(1 / MOST_WEIGHT, MOST_WEIGHT)
    shifted = beliefs * weights[..., None, None]
    shifted = shifted / shifted.sum(1, keepdim=True)
    moved = torch.einsum("kc,nkhw->nchw", class_codes(codes, bits.device), shifted)
    return torch.where(shares.isnan().any(1)[:, None, None, None], bits, moved)
