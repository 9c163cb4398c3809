"""One chip's texture against that of real chips: is it typical at all?

A chip is summed up by numbers that a person can name: its radial power spectrum, mean colour, how its
channels correlate, and how heavy the tails of its pixel differences are (real ground has edges; noise has
none). These are among the statistics Portilla and Simoncelli (2000, https://doi.org/10.1023/A:1026553619983)
describe texture with. How unlike real chips a chip is, is its Mahalanobis distance under training chips: a
speckled chip stands out because its grain is too strong *for its shapes*, though each alone is within range.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import kurtosis
from sklearn.covariance import LedoitWolf

from groundsynth.checks.spectrum import QUANTISATION, chip_spectra

GAUSSIAN_KURTOSIS = 3.0
PART = 256  # chips at once; bounds the memory


def texture_statistics(images: np.ndarray) -> np.ndarray:
    """Return each chip's texture in numbers, (n, side/2 + 7) float64.

    Log power at each whole frequency; mean of the three channels; Fisher-transformed correlations of
    the channel pairs; log of the kurtosis (3 for Gaussian noise) of neighbouring pixels' differences.

    Args:
        images: (n, h, w, 3) uint8.
    """
    pixels = np.asarray(images, float)
    colour = pixels.mean((1, 2))
    return np.concatenate(
        [np.log(chip_spectra(images)), colour, _channel_correlations(pixels), np.log(_tails(pixels))], 1
    )


def _channel_correlations(pixels: np.ndarray) -> np.ndarray:
    """Return Fisher-transformed correlations of the channel pairs, (n, 3); 0 for chips of one colour."""
    centred = pixels - pixels.mean((1, 2), keepdims=True)
    cov = np.einsum("nhwc,nhwd->ncd", centred, centred) / (pixels.shape[1] * pixels.shape[2])
    spread = np.sqrt(np.einsum("ncc->nc", cov) + QUANTISATION)  # keeps correlations below 1
    correlation = cov / (spread[:, :, None] * spread[:, None])
    rows, cols = np.triu_indices(3, 1)
    return np.arctanh(correlation[:, rows, cols])


def _tails(pixels: np.ndarray) -> np.ndarray:
    """Return the kurtosis of differences between neighbouring pixels, (n, 1); 3 where there are none."""
    grey = pixels.mean(-1)
    steps = np.concatenate([np.diff(grey, axis=axis).reshape(len(grey), -1) for axis in (1, 2)], 1)
    found = np.full((len(grey), 1), GAUSSIAN_KURTOSIS)
    varied = steps.std(1) > 0
    found[varied, 0] = kurtosis(steps[varied], axis=1, fisher=False)
    return found


@dataclass(frozen=True)
class Typical:
    """What is typical of real texture (made by :func:`learn_texture`)."""

    centre: np.ndarray
    spread: np.ndarray
    model: LedoitWolf

    def distances(self, images: np.ndarray) -> np.ndarray:
        """Return how untypical each chip's texture is, (n,) float64: Mahalanobis distance, 1 is usual.

        Divided by the root of the number of statistics. (n, h, w, 3) uint8, 256 at a time.
        """
        squared = self.model.mahalanobis((_by_parts(images) - self.centre) / self.spread)
        return np.sqrt(squared / len(self.centre))


def _by_parts(images: np.ndarray) -> np.ndarray:
    return np.concatenate(
        [texture_statistics(images[start : start + PART]) for start in range(0, len(images), PART)]
    )


def learn_texture(train: np.ndarray) -> Typical:
    """Return what is typical of (m, h, w, 3) uint8 real training chips.

    The covariance is that of their standardised statistics with Ledoit and Wolf's shrinkage.
    """
    known = _by_parts(train)
    centre, spread = known.mean(0), known.std(0)
    spread = np.where(spread > 0, spread, 1)
    return Typical(centre, spread, LedoitWolf().fit((known - centre) / spread))


def unlike_real(images: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return how untypical of (m, h, w, 3) training chips each chip's texture is (see :class:`Typical`)."""
    return learn_texture(train).distances(images)
