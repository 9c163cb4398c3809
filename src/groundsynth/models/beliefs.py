"""What the model believes a noisy pair to be, anywhere in the plane of the two noise levels."""

from __future__ import annotations

import numpy as np
import torch

from groundsynth.models.bits import decode_bits, encode_maps
from groundsynth.models.denoiser import IMAGE_CHANNELS, Denoiser, per_channel
from groundsynth.models.noise import ABSENT, CLEAN, NOISY
from groundsynth.models.solvers import SampleNoise, clean_belief


@torch.no_grad()
def believe(
    model: Denoiser,
    image: np.ndarray,
    labels: np.ndarray,
    image_levels: list[float],
    map_levels: list[float],
    seed: int,
    device: torch.device,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the believed image and map of one chip at every pair of noise levels.

    The noise is drawn once and scaled, so that only its strength differs from pair to pair.

    Args:
        image: (h, w, 3) uint8; labels: (h, w) uint8.
        image_levels: sigmas of the image; 0 is clean.
        map_levels: sigmas of the map; 0 is clean, infinity is absent.

    Returns:
        images (rows, columns, h, w, 3) and maps (rows, columns, h, w) uint8, one row per level of the
        map; a clean part comes back as it was. The map of a row where it is absent means nothing.
    """
    pairs = torch.tensor([[i, m] for m in map_levels for i in image_levels])
    x0 = torch.cat(
        [model.config.whitening.whiten(image[None]), encode_maps(labels[None], model.config.codes)], dim=1
    )
    noise = SampleNoise([seed], x0.shape[-1], torch.device("cpu")).draw(x0.shape[1])
    states = torch.where(pairs == 0, CLEAN, torch.where(pairs.isinf(), ABSENT, NOISY))
    levels = torch.where(states == NOISY, pairs, torch.ones_like(pairs))
    width = x0.shape[1] - IMAGE_CHANNELS
    sigma = per_channel(levels[:, 0], levels[:, 1], width)
    state = per_channel(states[:, 0], states[:, 1], width)
    x = torch.where(state == NOISY, x0 + sigma * noise, x0.expand(len(pairs), -1, -1, -1))
    out = model.raw(
        *(part.to(device) for part in (x, levels[:, 0], levels[:, 1], states[:, 0], states[:, 1]))
    )
    clean = torch.where(state == CLEAN, x, clean_belief(x, out.cpu(), sigma))
    shape = (len(map_levels), len(image_levels))
    images = model.config.whitening.restore(clean[:, :IMAGE_CHANNELS])
    maps = decode_bits(clean[:, IMAGE_CHANNELS:], model.config.codes)
    return images.reshape(*shape, *images.shape[1:]), maps.reshape(*shape, *maps.shape[1:])
