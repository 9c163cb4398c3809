"""Structure without training: scattering coefficients, which see what a power spectrum cannot.

A bank of Morlet wavelets, moduli, and the same bank again on the moduli: the first order is a coarse
power spectrum, the second tells how each band's strength varies over the chip. Edges, fields and roads
show there and nowhere in the spectrum, so chips of equal spectrum (as :func:`spectrum_matched_noise`
makes them) lie far apart in this space (Bruna & Mallat 2013, https://doi.org/10.1109/TPAMI.2012.230).
"""

from __future__ import annotations

import functools

import numpy as np
import torch

SCALES = 3  # octaves: waves of 2.7, 5.3 and 10.7 pixels
ANGLES = 6
CENTRE = 0.75 * np.pi  # of the finest band, radians per pixel
WIDTH = 0.8  # standard deviation of the finest wavelet's envelope, pixels
FLOOR = 0.1  # grey levels; keeps the logarithm of a flat chip finite


@functools.cache
def wavelets(height: int, width: int) -> torch.Tensor:
    """Return the bank in the Fourier domain, (scales × angles, h, w) real, scale by scale; 0 at frequency 0."""
    rows, cols = (2 * torch.pi * torch.fft.fftfreq(side, dtype=torch.float64) for side in (height, width))
    y, x = torch.meshgrid(rows, cols, indexing="ij")
    return torch.stack([_morlet(x, y, k, turn) for k in range(SCALES) for turn in range(ANGLES)]).float()


def _morlet(x: torch.Tensor, y: torch.Tensor, scale: int, turn: int) -> torch.Tensor:
    angle, centre, spread = np.pi * turn / ANGLES, CENTRE / 2**scale, WIDTH * 2**scale
    slant = 4 / ANGLES  # envelopes are longer along the wave's crests

    def bump(shift: float) -> torch.Tensor:
        total = torch.zeros_like(x)
        for right in (-1, 0, 1):  # frequencies are periodic
            for down in (-1, 0, 1):
                u, v = x + 2 * np.pi * right, y + 2 * np.pi * down
                along, across = u * np.cos(angle) + v * np.sin(angle), v * np.cos(angle) - u * np.sin(angle)
                total += torch.exp(-((spread * (along - shift)) ** 2 + (spread / slant * across) ** 2) / 2)
        return total

    wave, blur = bump(centre), bump(0.0)
    return wave - wave[0, 0] / blur[0, 0] * blur


@torch.inference_mode()
def scattering_features(images: np.ndarray, batch_size: int = 64) -> np.ndarray:
    """Return each chip's mean colour and the logarithms of its scattering coefficients, (n, 129) float64.

    Three means in grey levels, 18 coefficients of the first order, 108 of the second (coarser bands
    only, each divided by its first-order coefficient), all averaged over the chip's brightness image.

    Args:
        images: (n, h, w, 3) uint8.
    """
    bank = wavelets(*np.shape(images)[1:3])
    parts = []
    for start in range(0, len(images), batch_size):
        chips = torch.from_numpy(np.ascontiguousarray(images[start : start + batch_size])).float()
        waves = torch.fft.ifft2(torch.fft.fft2(chips.mean(-1))[:, None] * bank).abs()  # (n, 18, h, w)
        first = waves.mean((2, 3)) + FLOOR
        moduli = torch.fft.fft2(waves)
        second = [
            torch.fft.ifft2(moduli[:, k, None] * bank[(k // ANGLES + 1) * ANGLES :]).abs().mean((2, 3))
            / first[:, k, None]
            for k in range((SCALES - 1) * ANGLES)
        ]
        logs = torch.cat([first, torch.cat(second, 1) + FLOOR / 100], 1).log()
        parts.append(torch.cat([chips.mean((1, 2)), logs], 1).double().numpy())
    return np.concatenate(parts)
