"""Texture without a network: the radial power spectrum, and noise that shares it with real chips."""

from __future__ import annotations

import numpy as np

from groundsynth.seeds import rng

QUANTISATION = 1 / 12  # variance of rounding to whole grey levels: the floor of any spectrum


def _windowed(images: np.ndarray) -> np.ndarray:
    """Return chips without their mean under a Hann window of unit power, (n, h, w, c) float64."""
    pixels = np.asarray(images, float)
    height, width = pixels.shape[1:3]
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])
    window /= np.sqrt((window**2).mean())
    return (pixels - pixels.mean((1, 2), keepdims=True)) * window[None, :, :, None]


def chip_spectra(images: np.ndarray) -> np.ndarray:
    """Return each chip's mean power per pixel at each whole frequency 1…side/2, (n, bins) float64.

    Mean removed, Hann window, squared Fourier amplitudes averaged over channels and over the ring of
    each radius; the variance of rounding is added, so that no power is 0.

    Args:
        images: (n, h, w, 3) uint8 or float, grey levels 0…255.
    """
    chips = _windowed(images)
    height, width = chips.shape[1:3]
    power = (np.abs(np.fft.fft2(chips, axes=(1, 2))) ** 2).mean(-1) / (height * width)  # (n, h, w)
    rows, cols = np.fft.fftfreq(height) * height, np.fft.fftfreq(width) * width
    radius = np.hypot(rows[:, None], cols[None, :]).round().astype(int)
    bins = np.arange(1, min(height, width) // 2 + 1)
    return np.stack([power[:, radius == r].mean(1) for r in bins], 1) + QUANTISATION


def radial_power_spectrum(images: np.ndarray) -> np.ndarray:
    """Return the mean power per pixel at each whole spatial frequency 1…side/2.

    The geometric mean over chips (of their log profiles, see :func:`chip_spectra`), so that a few
    bright chips do not stand for the set. White noise of variance v has the spectrum v at every frequency (a
    little less at the lowest, whose rings hold few waves: the mean of logs is below the log of the mean).

    Args:
        images: (n, h, w, 3) uint8 or float, grey levels 0…255.

    Returns:
        (bins,) float64, cycles per chip 1…min(h, w)/2.
    """
    return np.exp(np.log(chip_spectra(images)).mean(0))


def power_spectrum_error(images: np.ndarray, real: np.ndarray) -> float:
    """Return the mean over frequencies of |synthetic - real| / real, from two sets of chips."""
    found, wanted = radial_power_spectrum(images), radial_power_spectrum(real)
    return float((np.abs(found - wanted) / wanted).mean())


def spectrum_matched_noise(images: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Return noise with the colours and spectra of real chips but none of their structure.

    Each noise chip takes one real chip's Fourier amplitudes (under the window of
    :func:`radial_power_spectrum`), turns every phase by a random angle that is the same in all
    channels, so that the colour correlation stays, and adds the real chip's mean colour back.

    Args:
        images: (m, h, w, 3) uint8 real chips; n: noise chips wanted; seed: of the choice and the phases.

    Returns:
        (n, h, w, 3) uint8.
    """
    generator = rng("spectrum_matched_noise", seed)
    chosen = generator.choice(len(images), n, replace=n > len(images))
    real = np.asarray(images)[chosen]
    white = generator.standard_normal((*real.shape[:3], 1))
    turn = np.exp(1j * np.angle(np.fft.fft2(white, axes=(1, 2))))  # Hermitian: the result is real
    noise = np.fft.ifft2(np.fft.fft2(_windowed(real), axes=(1, 2)) * turn, axes=(1, 2)).real
    return (noise + real.mean((1, 2), keepdims=True)).round().clip(0, 255).astype(np.uint8)
