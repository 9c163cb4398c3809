"""Colour in its own principal axes, each of equal strength.

The bands of a satellite image correlate at more than 0.9: in RGB, the differences between colours
drown in the noise that a short sampling leaves over. Along the principal axes of the training
chips, scaled to standard deviation 0.5, colour is as loud as brightness.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

SIGMA_DATA = 0.5


@dataclass(frozen=True)
class Whitening:
    """An affine map of RGB in [−1, 1] to three axes of standard deviation 0.5.

    Attributes:
        mean: (3,) mean colour.
        axes: (3, 3) rows are the principal axes.
        deviations: (3,) standard deviation along each axis.
    """

    mean: tuple[float, ...]
    axes: tuple[tuple[float, ...], ...]
    deviations: tuple[float, ...]

    def whiten(self, images: np.ndarray) -> torch.Tensor:
        """Return (n, h, w, 3) uint8 as (n, 3, h, w) float32."""
        rgb = images.astype(np.float32) / 127.5 - 1
        z = (rgb - np.float32(self.mean)) @ np.float32(self.axes).T
        z *= SIGMA_DATA / np.float32(self.deviations)
        return torch.from_numpy(np.ascontiguousarray(z.transpose(0, 3, 1, 2)))

    def restore(self, z: torch.Tensor) -> np.ndarray:
        """Return (n, 3, h, w) axes as (n, h, w, 3) uint8 RGB."""
        axes = z.detach().float().cpu().numpy().transpose(0, 2, 3, 1)
        rgb = (axes * np.float32(self.deviations) / SIGMA_DATA) @ np.float32(self.axes) + np.float32(
            self.mean
        )
        return np.clip(np.rint((rgb + 1) * 127.5), 0, 255).astype(np.uint8)


def fit_whitening(images: np.ndarray) -> Whitening:
    """Fit the axes on training chips (n, h, w, 3) uint8; the sign of each axis is fixed."""
    rgb = images.reshape(-1, 3).astype(np.float64) / 127.5 - 1
    values, vectors = np.linalg.eigh(np.cov(rgb.T))
    vectors = vectors[:, ::-1].T  # rows, strongest first
    vectors *= np.sign(vectors.sum(axis=1, keepdims=True))
    deviations = np.sqrt(np.maximum(values[::-1], 1e-8))
    return Whitening(
        tuple(rgb.mean(0).tolist()), tuple(map(tuple, vectors.tolist())), tuple(deviations.tolist())
    )
