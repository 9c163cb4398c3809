"""Land-cover maps as bits, so that a diffusion model can generate them beside the image.

⌈log2 K⌉ channels carry K classes (SatSynth, CVPR 2024). Here three bits carry seven classes and,
as the eighth code, 'no label'. Halfway between two codes a blended boundary may decode to a third
class; classes that touch each other on the ground therefore get codes that differ in few bits.
The plain alternative is one channel per symbol (one-hot): the codes 1, 2, 4, … of eight bits.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import torch

from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL, NUM_CLASSES

BITS = 3
CODES = 2**BITS  # the last symbol, index 7, is 'no label'
BIT_VALUE = 0.5  # bits are ±0.5: the standard deviation that EDM's preconditioning expects


def count_adjacency(maps: np.ndarray) -> np.ndarray:
    """Count touching pixel pairs of two different symbols.

    Args:
        maps: (n, h, w) uint8, 0…6 and 255.

    Returns:
        (8, 8) symmetric int64 with an empty diagonal; symbol 7 is 'no label'.
    """
    symbols = np.where(maps == NO_LABEL, NUM_CLASSES, maps).astype(np.int64)
    pairs = [(symbols[:, 1:], symbols[:, :-1]), (symbols[:, :, 1:], symbols[:, :, :-1])]
    flat = np.concatenate([(a * CODES + b).ravel() for a, b in pairs])
    counts = np.bincount(flat, minlength=CODES**2).reshape(CODES, CODES)
    counts = counts + counts.T
    np.fill_diagonal(counts, 0)
    return counts


def order_codes(adjacency: np.ndarray) -> tuple[int, ...]:
    """Return the code of each symbol that minimises the bits flipped along real boundaries.

    All 8! orders are tried; symbol 0 is fixed at code 0, which loses nothing by symmetry.

    Args:
        adjacency: (8, 8) counts from :func:`count_adjacency`.
    """
    orders = np.array([(0, *rest) for rest in permutations(range(1, CODES))])  # (5040, 8)
    flips = np.array([[bin(a ^ b).count("1") for b in range(CODES)] for a in range(CODES)])
    cost = np.zeros(len(orders))
    for a in range(CODES):
        for b in range(a):
            cost += adjacency[a, b] * flips[orders[:, a], orders[:, b]]
    return tuple(int(code) for code in orders[cost.argmin()])


def one_hot_codes() -> tuple[int, ...]:
    """Return the codes that give every symbol a channel of its own, which alone is set."""
    return tuple(2**symbol for symbol in range(CODES))


def count_channels(codes: tuple[int, ...]) -> int:
    """Return how many channels a map has under these codes: 3, or 8 for one-hot."""
    return max(codes).bit_length()


def encode_maps(maps: np.ndarray, codes: tuple[int, ...]) -> torch.Tensor:
    """Return maps (n, h, w) uint8 as channels (n, c, h, w) float32 of ±0.5, one per bit of the codes.

    Raises:
        GroundsynthError: a value that is neither a class nor 255.
    """
    symbols = np.where(maps == NO_LABEL, NUM_CLASSES, maps)
    if symbols.max(initial=0) > NUM_CLASSES:
        raise GroundsynthError(
            f"map value {symbols.max()} is not in the legend (0…{NUM_CLASSES - 1}, {NO_LABEL}); remap it first"
        )
    code = np.asarray(codes)[symbols]  # (n, h, w)
    bits = (code[:, None] >> np.arange(count_channels(codes))[:, None, None]) & 1  # (n, c, h, w)
    return torch.from_numpy((bits * 2 * BIT_VALUE - BIT_VALUE).astype(np.float32))


def decode_bits(bits: torch.Tensor, codes: tuple[int, ...]) -> np.ndarray:
    """Return (n, c, h, w) real-valued bits as maps (n, h, w) uint8 of 0…6 and 255 ('no label').

    Bits are rounded; of one-hot channels the largest names the symbol.
    """
    values, channels = bits.detach().cpu().numpy(), count_channels(codes)
    if channels > BITS:
        symbol = np.argsort(codes)[values.argmax(1)]
    else:
        code = ((values > 0).astype(np.int64) << np.arange(channels)[:, None, None]).sum(1)  # (n, h, w)
        symbol = np.argsort(codes)[code]
    return np.where(symbol == NUM_CLASSES, NO_LABEL, symbol).astype(np.uint8)
