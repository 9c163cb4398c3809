"""The one model: a denoiser over image ⊕ map with a noise level for each.

Preconditioning follows Karras et al. 2022 (EDM, Table 1), applied to each part with its own sigma:
``D(x) = c_skip·x + c_out·F(c_in·x, c_noise)``. The network F is a U-Net at full resolution (``unet.py``); both noise
levels modulate every block of it, and a part that is clean or absent has a level of its own.

Under much noise only averages over many pixels still say anything. So the means over squares of 8 pixels and over
the whole chip, whose noise is 8 and ``chip_size`` times weaker, are given to it as channels of their own, scaled
like the rest. Without them all chips come out about equally bright, and their maps equally mixed.

A denoiser that is asked in words or class shares attends to them in its middle, where resolution is lowest,
and their summary joins the noise levels. Class shares also stand beside the means that are seen through
the noise: what they say of the mean over the map's channels, and each by itself, for three bits cannot tell seven
shares. Shares that are not given are read from the words. A denoiser trained without conditions has no such parts.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from diffusers.models.embeddings import Timesteps
from torch import nn
from torch.nn import functional as nnf

from groundsynth.artifacts import atomic_path, read_json
from groundsynth.data.scene_origins import Names
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NUM_CLASSES
from groundsynth.models.bits import BITS, count_channels, encode_maps
from groundsynth.models.colour import SIGMA_DATA, Whitening
from groundsynth.models.conditions import CONDITION_WIDTH, KINDS, Conditions, ConditionTokens, ShareReader
from groundsynth.models.noise import ABSENT, CLEAN, NOISY
from groundsynth.models.unet import UNet

IMAGE_CHANNELS = 3
SQUARE = 8  # side of the squares whose means are given to the network
WEIGHTS = "denoiser.safetensors"
LEVEL_WIDTH = 64  # of the embedding of a noise level
VECTOR = 128  # of what is known: both levels, and a summary of what is asked for


@dataclass(frozen=True)
class DenoiserConfig:
    """Everything needed to build the network again and to read its channels."""

    chip_size: int
    channels: tuple[int, ...]
    layers_per_block: int
    codes: tuple[int, ...]
    whitening: Whitening
    conditions: str = "none"
    origins: Names = ()  # sensors, seasons and places that it can be told

    @property
    def data_channels(self) -> int:
        """Channels of a sample: three of the image, then those of the map's code."""
        return IMAGE_CHANNELS + count_channels(self.codes)


class Denoiser(nn.Module):
    """Predicts the clean image and map from noisy, clean or absent ones."""

    def __init__(self, config: DenoiserConfig):
        super().__init__()
        self.config = config
        if config.conditions not in KINDS:
            raise GroundsynthError(
                f"conditions '{config.conditions}' do not exist; choose one of {', '.join(KINDS)}"
            )
        asked = config.conditions != "none"
        symbols = encode_maps(np.arange(NUM_CLASSES, dtype=np.uint8)[:, None, None], config.codes)
        self.register_buffer("meaning", symbols.flatten(1) / SIGMA_DATA if asked else None, persistent=False)
        self.ask = ConditionTokens(names=config.origins) if asked else None
        self.reader = ShareReader() if config.conditions in ("text", "both") else None
        self.level = Timesteps(LEVEL_WIDTH, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.known = nn.Sequential(
            nn.Linear(2 * LEVEL_WIDTH + (CONDITION_WIDTH if asked else 0), VECTOR),
            nn.SiLU(),
            nn.Linear(VECTOR, VECTOR),
            nn.SiLU(),
        )
        wanted = self.meaning.shape[1] + NUM_CLASSES + 1 if asked else 0
        self.network = UNet(
            3 * config.data_channels + wanted,
            config.data_channels,
            config.channels,
            config.layers_per_block,
            VECTOR,
            CONDITION_WIDTH if asked else 0,
        )
        self.to(memory_format=torch.channels_last)

    def raw(
        self,
        x: torch.Tensor,
        sigma_image: torch.Tensor,
        sigma_mask: torch.Tensor,
        image_state: torch.Tensor,
        mask_state: torch.Tensor,
        conditions: Conditions | None = None,
    ) -> torch.Tensor:
        """Return the network's raw output F, (n, 6, h, w); 11 channels with one-hot maps.

        Args:
            x: (n, 6, h, w): whitened image (3) and bits (3), noisy at their levels.
            sigma_image: (n,) noise level of the image; ignored unless its state is noisy.
            sigma_mask: the same for the map.
            image_state: (n,) 0 noisy, 1 clean, 2 absent.
            mask_state: the same for the map.
            conditions: what the samples are asked for; None asks for nothing.
        """
        width = x.shape[1] - IMAGE_CHANNELS
        sigma = per_channel(sigma_image, sigma_mask, width)
        state = per_channel(image_state, mask_state, width)
        scale = torch.where(state == NOISY, (sigma**2 + SIGMA_DATA**2).rsqrt(), 1 / SIGMA_DATA)
        scaled = torch.where(state == ABSENT, torch.zeros_like(x), x * scale)
        planes = [scaled]
        for side in (SQUARE, self.config.chip_size):
            planes.append(self._means(x, sigma, state, side))
        tokens, counted = None, None
        known = [self.level(_level(sigma_image, image_state)), self.level(_level(sigma_mask, mask_state))]
        if self.ask is not None:
            conditions = Conditions.none(len(x)).to(x.device) if conditions is None else conditions
            if self.reader is not None:
                conditions = self.reader.fill(conditions)
            tokens, counted, summary = self.ask(conditions)
            known.append(summary)
            planes.append(self._wanted(conditions.shares)[:, :, None, None].expand(-1, -1, *x.shape[2:]))
        vector = self.known(torch.cat(known, dim=1))
        return self.network(torch.cat(planes, dim=1), vector, tokens, counted)

    def _wanted(self, shares: torch.Tensor) -> torch.Tensor:
        """Return what class shares (n, 7) say of the whole chip, (n, channels of a map + 7 + 1); 0 where NaN.

        The mean over the map's channels that they ask for, their square roots about 1 in size, so that small
        shares are heard as well, and whether there are any.
        """
        roots = 2 * shares.sqrt() - 0.5
        wanted = torch.cat([shares @ self.meaning, roots, torch.ones_like(shares[:, :1])], dim=1)
        return torch.where(shares[:, :1].isnan(), 0.0, wanted)

    def _means(self, x: torch.Tensor, sigma: torch.Tensor, state: torch.Tensor, side: int) -> torch.Tensor:
        """Return means over squares of ``side`` pixels at unit variance, spread over the chip: (n, 6, h, w)."""
        left = torch.where(state == NOISY, sigma / side, torch.zeros_like(sigma))  # noise of the mean
        means = nnf.avg_pool2d(x, side) * (left**2 + SIGMA_DATA**2).rsqrt()
        means = torch.where(state == ABSENT, torch.zeros_like(means), means)
        return nnf.interpolate(means, size=x.shape[2:], mode="nearest")

    def save(self, folder: Path) -> None:
        """Save weights (safetensors) and settings in ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder / WEIGHTS) as temporary:
            safetensors.torch.save_model(self, temporary)
        with atomic_path(folder / "denoiser.json") as temporary:
            temporary.write_text(json.dumps(asdict(self.config), indent=2))


def build_denoiser(settings: dict) -> Denoiser:
    """Build a network from its settings as they were saved (``asdict`` of a ``DenoiserConfig``)."""
    whitening = Whitening(**{name: _tuples(value) for name, value in settings["whitening"].items()})
    plain = {name: _tuples(value) for name, value in settings.items() if name != "whitening"}
    return Denoiser(DenoiserConfig(**plain, whitening=whitening))


def load_denoiser(folder: Path) -> Denoiser:
    """Load a trained denoiser saved by :meth:`Denoiser.save`.

    Raises:
        GroundsynthError: no model there, or weights of another architecture.
    """
    values = read_json(folder / "denoiser.json", "run stage 02_train_generator")
    try:
        model = build_denoiser(values)
        safetensors.torch.load_model(model, folder / WEIGHTS)
    except (OSError, RuntimeError, LookupError, TypeError, ValueError, safetensors.SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise GroundsynthError(f"{folder}: not a usable generator ({reason}); train it again") from None
    return model.eval()


def per_channel(image: torch.Tensor, mask: torch.Tensor, map_channels: int = BITS) -> torch.Tensor:
    """Spread a value per part, (n,) each, over the channels: (n, 3 + map_channels, 1, 1)."""
    parts = [image[:, None].expand(-1, IMAGE_CHANNELS), mask[:, None].expand(-1, map_channels)]
    both = torch.cat(parts, dim=1)
    return both[:, :, None, None]


def _level(sigma: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    """Return c_noise = ln(sigma)/4 on the scale of a 1,000-step embedding; exact ends for clean, absent."""
    level = 250 * sigma.clamp(min=1e-3).log() / 4 + 500
    return torch.where(state == CLEAN, 0.0, torch.where(state == ABSENT, 1000.0, level))


def _tuples(value):
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
