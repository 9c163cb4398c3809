"""The one model: a denoiser over image ⊕ map with a noise level for each.

Preconditioning follows Karras et al. 2022 (EDM, Table 1), applied to each part with its own sigma:
``D(x) = c_skip·x + c_out·F(c_in·x, c_noise)``. The network F is a ``diffusers`` U-Net; the second
noise level enters through its class embedding. The U-Net works on pixel-unshuffled patches, which
makes it cheap but blind to where in a patch a pixel lies; three convolutions at full resolution
after it see every pixel with its neighbours, and remove the grain that patches leave behind.

Under much noise only averages over many pixels still say anything, and the group normalisation of a
U-Net wipes out what is constant over a chip. So the means over squares of 8 pixels and over the whole
chip, whose noise is 8 and ``chip_size`` times weaker, are given to it as channels of their own, scaled
like the rest. Without them all chips come out about equally bright, and their maps equally mixed.

Noise levels and conditions scale and shift the features behind each normalisation (Dhariwal & Nichol 2021,
https://arxiv.org/abs/2105.05233). Added before it, as is common, they would be normalised away again: sixteen
groups leave only a few channels each, and what is the same over the chip is their mean.

A denoiser that is asked in words or class shares attends to them in its middle, where resolution is lowest,
and their summary joins the noise level of the map. Class shares also stand beside the means that are seen through
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
from diffusers import UNet2DConditionModel
from diffusers.models.embeddings import Timesteps
from torch import nn
from torch.nn import functional as nnf

from groundsynth.artifacts import atomic_path, read_json
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NUM_CLASSES
from groundsynth.models.bits import BITS, count_channels, encode_maps
from groundsynth.models.colour import SIGMA_DATA, Whitening
from groundsynth.models.conditions import CONDITION_WIDTH, KINDS, Conditions, ConditionTokens, ShareReader
from groundsynth.models.noise import ABSENT, CLEAN, NOISY

IMAGE_CHANNELS = 3
FEATURES = 16  # per pixel, from the U-Net to the convolutions at full resolution
SQUARE = 8  # side of the squares whose means are given to the network
WEIGHTS = "denoiser.safetensors"
FLAGS = 4  # image clean, image absent, map clean, map absent
HEAD = 16  # channels of an attention head
LEVEL_WIDTH = 64  # of the embedding of the map's noise level


@dataclass(frozen=True)
class DenoiserConfig:
    """Everything needed to build the network again and to read its channels."""

    chip_size: int
    channels: tuple[int, ...]
    layers_per_block: int
    patch: int
    codes: tuple[int, ...]
    whitening: Whitening
    conditions: str = "none"

    @property
    def data_channels(self) -> int:
        """Channels of a sample: three of the image, then those of the map's code."""
        return IMAGE_CHANNELS + count_channels(self.codes)


class Denoiser(nn.Module):
    """Predicts the clean image and map from noisy, clean or absent ones."""

    def __init__(self, config: DenoiserConfig):
        super().__init__()
        self.config = config
        deepest, data_channels = len(config.channels) - 1, config.data_channels
        if config.conditions not in KINDS:
            raise GroundsynthError(
                f"conditions '{config.conditions}' do not exist; choose one of {', '.join(KINDS)}"
            )
        asked = config.conditions != "none"
        symbols = encode_maps(np.arange(NUM_CLASSES, dtype=np.uint8)[:, None, None], config.codes)
        self.register_buffer("meaning", symbols.flatten(1) / SIGMA_DATA if asked else None, persistent=False)
        self.ask = ConditionTokens() if asked else None
        self.reader = ShareReader() if config.conditions in ("text", "both") else None
        self.level = Timesteps(LEVEL_WIDTH, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.network = UNet2DConditionModel(
            sample_size=config.chip_size // config.patch,
            in_channels=data_channels * (config.patch**2 + 2)
            + FLAGS
            + (self.meaning.shape[1] + NUM_CLASSES + 1 if asked else 0),
            out_channels=FEATURES * config.patch**2,
            block_out_channels=config.channels,
            layers_per_block=config.layers_per_block,
            down_block_types=("DownBlock2D",) * deepest + ("AttnDownBlock2D",),
            mid_block_type="UNetMidBlock2DCrossAttn" if asked else "UNetMidBlock2D",
            up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * deepest,
            norm_num_groups=16,
            attention_head_dim=HEAD,  # where tokens are attended to: the number of heads
            cross_attention_dim=CONDITION_WIDTH,
            resnet_time_scale_shift="scale_shift",
            use_linear_projection=True,
            class_embed_type="projection",
            projection_class_embeddings_input_dim=LEVEL_WIDTH + (CONDITION_WIDTH if asked else 0),
        )
        self.head = nn.Sequential(
            nn.Conv2d(FEATURES + data_channels, 2 * FEATURES, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(2 * FEATURES, 2 * FEATURES, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(2 * FEATURES, data_channels, 3, padding=1),
        )

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
        flags = torch.stack(
            [image_state == CLEAN, image_state == ABSENT, mask_state == CLEAN, mask_state == ABSENT], dim=1
        )
        patches = nnf.pixel_unshuffle(scaled, self.config.patch)
        means = [
            self._means(x, sigma, state, side, patches.shape[2:]) for side in (SQUARE, self.config.chip_size)
        ]
        flags = flags.to(x.dtype)[:, :, None, None].expand(-1, -1, *patches.shape[2:])
        tokens, counted, beside = None, None, self.level(_level(sigma_mask, mask_state))
        if self.ask is not None:
            conditions = Conditions.none(len(x)).to(x.device) if conditions is None else conditions
            if self.reader is not None:
                conditions = self.reader.fill(conditions)
            tokens, counted, summary = self.ask(conditions)
            beside = torch.cat([beside, summary], dim=1)
            wanted = self._wanted(conditions.shares)
            means.append(wanted[:, :, None, None].expand(-1, -1, *patches.shape[2:]))
        out = self.network(
            torch.cat([patches, *means, flags], dim=1),
            _level(sigma_image, image_state),
            encoder_hidden_states=tokens,
            encoder_attention_mask=counted,
            class_labels=beside,
        ).sample
        return self.head(torch.cat([nnf.pixel_shuffle(out, self.config.patch), scaled], dim=1))

    def _wanted(self, shares: torch.Tensor) -> torch.Tensor:
        """Return what class shares (n, 7) say of the whole chip, (n, channels of a map + 7 + 1); 0 where NaN.

        The mean over the map's channels that they ask for, their square roots about 1 in size, so that small
        shares are heard as well, and whether there are any.
        """
        roots = 2 * shares.sqrt() - 0.5
        wanted = torch.cat([shares @ self.meaning, roots, torch.ones_like(shares[:, :1])], dim=1)
        return torch.where(shares[:, :1].isnan(), 0.0, wanted)

    def _means(
        self, x: torch.Tensor, sigma: torch.Tensor, state: torch.Tensor, side: int, size: torch.Size
    ) -> torch.Tensor:
        """Return means over squares of ``side`` pixels at unit variance, spread over ``size``: (n, 6, h, w)."""
        left = torch.where(state == NOISY, sigma / side, torch.zeros_like(sigma))  # noise of the mean
        means = nnf.avg_pool2d(x, side) * (left**2 + SIGMA_DATA**2).rsqrt()
        means = torch.where(state == ABSENT, torch.zeros_like(means), means)
        return nnf.interpolate(means, size=size, mode="nearest")

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
