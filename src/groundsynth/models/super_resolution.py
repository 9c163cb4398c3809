"""Twice the pixels: a second diffusion model that draws the fine pair belonging to a coarse one.

SatSynth (CVPR 2024) generates pairs at 128 pixels and doubles them with a model of its own, because one that
draws 256 pixels at once was unstable. This is such a model: cascaded diffusion (Ho et al. 2022,
arXiv:2106.15282), with noise of a known level on the coarse pair it is given (their "conditioning
augmentation"), so that the flaws of generated pairs are not taken at their word. It draws only the detail,
scaled to standard deviation 0.5 per channel: what the image lacks in a bicubic enlargement, and the bits of
the map in a repetition of its pixels. A bit must change by much to change a class, so what little noise a
sampling leaves over does not turn a map to confetti. Preconditioning, solver and noise per sample are those of the first model. No layer knows the size of a
chip, so what has learned from 32 to 64 pixels can be asked for 64 to 128.

It learns from real chips alone: each is halved, and is what the model should find again.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import safetensors.torch
import torch
from diffusers import UNet2DConditionModel
from diffusers.training_utils import EMAModel
from torch import nn
from torch.nn import functional as nnf
from tqdm.auto import tqdm

from groundsynth.artifacts import atomic_path, read_json
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL, NUM_CLASSES
from groundsynth.models.bits import count_adjacency, count_channels, decode_bits, encode_maps, order_codes
from groundsynth.models.checkpoint import resume_checkpoint, save_checkpoint
from groundsynth.models.colour import SIGMA_DATA, Whitening, fit_whitening
from groundsynth.models.solvers import SampleNoise, SamplingSettings, solve
from groundsynth.models.training import draw_batch
from groundsynth.seeds import derive_seed

IMAGE_CHANNELS = 3
PATCH = 2  # pixel-unshuffle factor before the U-Net
FEATURES = 16  # per pixel, from the U-Net to the convolutions at full resolution
WEIGHTS, SETTINGS = "super_resolver.safetensors", "super_resolver.json"
LEAST_DETAIL = 0.02  # standard deviation below which a channel's detail is not made louder
LEAST_LEVEL = 0.002  # noise on the coarse pair below which it counts as none


@dataclass(frozen=True)
class SuperResolverConfig:
    """Everything needed to build the network again and to read its channels.

    Attributes:
        detail: (6,) standard deviation of what an enlargement lacks, per colour axis and bit.
        metres: ground size of a coarse pixel in training, None where chips lie nowhere in particular.
    """

    channels: tuple[int, ...]
    layers_per_block: int
    codes: tuple[int, ...]
    whitening: Whitening
    detail: tuple[float, ...]
    metres: float | None = None

    @property
    def data_channels(self) -> int:
        """Channels of a pair: three of the image, then those of the map's code."""
        return IMAGE_CHANNELS + count_channels(self.codes)


@dataclass(frozen=True)
class SuperResolution:
    """Settings of one training; the fields are those of ``config.SuperResolution``."""

    steps: int
    batch_size: int
    learning_rate: float
    channels: tuple[int, ...]
    layers_per_block: int
    noise: tuple[float, float]
    augmentation: float
    ema_decay: float
    seed: int
    log_every: int
    checkpoint_seconds: float

    def key(self, images: np.ndarray, maps: np.ndarray) -> str:
        """Name a checkpoint by everything that decides the weights: settings, code and data."""
        digest = hashlib.sha256(repr(self).encode())
        digest.update(Path(__file__).read_bytes())
        digest.update(np.ascontiguousarray(images))
        digest.update(np.ascontiguousarray(maps))
        return digest.hexdigest()[:16]


class SuperResolver(nn.Module):
    """Predicts the clean detail and map from noisy ones, beside the coarse pair enlarged."""

    def __init__(self, config: SuperResolverConfig):
        super().__init__()
        self.config = config
        pair, depth = config.data_channels, len(config.channels)
        self.network = UNet2DConditionModel(
            in_channels=2 * pair * PATCH**2,
            out_channels=FEATURES * PATCH**2,
            block_out_channels=config.channels,
            layers_per_block=config.layers_per_block,
            down_block_types=("DownBlock2D",) * depth,
            mid_block_type="UNetMidBlock2D",
            up_block_types=("UpBlock2D",) * depth,
            norm_num_groups=16,
            class_embed_type="timestep",
        )
        self.head = nn.Sequential(
            nn.Conv2d(FEATURES + 2 * pair, 2 * FEATURES, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(2 * FEATURES, 2 * FEATURES, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(2 * FEATURES, pair, 3, padding=1),
        )

    def raw(
        self, x: torch.Tensor, sigma: torch.Tensor, coarse: torch.Tensor, level: torch.Tensor
    ) -> torch.Tensor:
        """Return the network's raw output F, (n, 6, h, w).

        Args:
            x: (n, 6, h, w) detail of image (3) and bits (3), noisy at sigma (n,).
            coarse: (n, 6, h, w) the coarse pair enlarged, whitened image and bits, noisy at level (n,).
        """
        both = torch.cat([_scale(x, sigma), _scale(coarse, level)], dim=1)
        out = self.network(
            nnf.pixel_unshuffle(both, PATCH), _embed(sigma), encoder_hidden_states=None,
            class_labels=_embed(level),
        ).sample  # fmt: skip
        return self.head(torch.cat([nnf.pixel_shuffle(out, PATCH), both], dim=1))

    def save(self, folder: Path) -> None:
        """Save weights (safetensors) and settings in ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder / WEIGHTS) as temporary:
            safetensors.torch.save_model(self, temporary)
        with atomic_path(folder / SETTINGS) as temporary:
            temporary.write_text(json.dumps(asdict(self.config), indent=2))


def load_super_resolver(folder: Path) -> SuperResolver:
    """Load a model saved by :meth:`SuperResolver.save`.

    Raises:
        GroundsynthError: no model there, or weights of another architecture.
    """
    values = read_json(folder / SETTINGS, "run python -m groundsynth super-resolve")
    try:
        colours = {name: _tuples(value) for name, value in values.pop("whitening").items()}
        plain = {name: _tuples(value) for name, value in values.items()}
        model = SuperResolver(SuperResolverConfig(**plain, whitening=Whitening(**colours)))
        safetensors.torch.load_model(model, folder / WEIGHTS)
    except (OSError, RuntimeError, LookupError, TypeError, ValueError, safetensors.SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise GroundsynthError(f"{folder}: not a usable super-resolver ({reason}); train it again") from None
    return model.eval()


# --- coarse and fine -------------------------------------------------------------------------


def halve_images(images: np.ndarray) -> np.ndarray:
    """Return means over squares of 2 × 2 pixels, as a coarser sensor would see: (n, h/2, w/2, 3) uint8."""
    n, h, w, bands = images.shape
    means = images.reshape(n, h // 2, 2, w // 2, 2, bands).astype(np.float32).mean((2, 4))
    return np.rint(means).astype(np.uint8)


def halve_maps(maps: np.ndarray) -> np.ndarray:
    """Return the commonest symbol of every square of 2 × 2 pixels, the lower of equals: (n, h/2, w/2) uint8.

    'No label' is a symbol like the others, and the highest.
    """
    n, h, w = maps.shape
    four = maps.reshape(n, h // 2, 2, w // 2, 2).transpose(0, 1, 3, 2, 4).reshape(n, h // 2, w // 2, 4)
    votes = (four[..., None] == four[..., None, :]).sum(-1)  # how many of the four say the same
    best = np.where(votes == votes.max(-1, keepdims=True), four, NO_LABEL)
    return best.min(-1)


def double_images(images: np.ndarray) -> np.ndarray:
    """Return images enlarged by bicubic interpolation, the yardstick: (n, 2h, 2w, 3) uint8."""
    channels = torch.from_numpy(images.astype(np.float32).transpose(0, 3, 1, 2))
    return _bicubic(channels).permute(0, 2, 3, 1).round().clamp(0, 255).byte().numpy()


def double_maps(maps: np.ndarray) -> np.ndarray:
    """Return maps of which every pixel became four, the yardstick: (n, 2h, 2w) uint8."""
    return maps.repeat(2, 1).repeat(2, 2)


def enlarge(
    images: np.ndarray, maps: np.ndarray, whitening: Whitening, codes: tuple[int, ...]
) -> torch.Tensor:
    """Return a coarse pair as channels of twice the size, image bicubic and map by repetition: (n, 6, 2h, 2w)."""
    return torch.cat([_bicubic(whitening.whiten(images)), encode_maps(double_maps(maps), codes)], dim=1)


def _bicubic(channels: torch.Tensor) -> torch.Tensor:
    return nnf.interpolate(channels, scale_factor=2, mode="bicubic", align_corners=False)


# --- training --------------------------------------------------------------------------------


def new_super_resolver(
    images: np.ndarray, maps: np.ndarray, settings: SuperResolution, metres: float | None = None
) -> SuperResolver:
    """Build an untrained network whose colour axes, detail and bit codes fit the training chips.

    Raises:
        GroundsynthError: no chips, or a side that cannot be halved as often as the network needs.
    """
    side, cells = images.shape[1], 2 * PATCH * 2 ** (len(settings.channels) - 1)
    if len(images) == 0 or side % cells:
        raise GroundsynthError(
            f"{len(images)} training chips of {side} px: super-resolution needs chips whose side is a multiple of "
            f"{cells}; change data.chip_size or super_resolution.channels"
        )
    torch.manual_seed(derive_seed("super_resolver", settings.seed))
    whitening = fit_whitening(images)
    codes = order_codes(count_adjacency(maps))
    lacks = _lacks(images, maps, whitening, codes)[0]
    detail = lacks.std(dim=(0, 2, 3)).clamp(min=LEAST_DETAIL)
    return SuperResolver(
        SuperResolverConfig(
            tuple(settings.channels), settings.layers_per_block, codes, whitening, tuple(detail.tolist()), metres
        )
    )  # fmt: skip


def _lacks(
    images: np.ndarray, maps: np.ndarray, whitening: Whitening, codes: tuple[int, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what enlarged halves lack of chips, and those halves enlarged: (n, 6, h, w) each."""
    coarse = enlarge(halve_images(images), halve_maps(maps), whitening, codes)
    whole = torch.cat([whitening.whiten(images), encode_maps(maps, codes)], dim=1)
    return whole - coarse, coarse


def training_pairs(model: SuperResolver, images: np.ndarray, maps: np.ndarray) -> torch.Tensor:
    """Return what the model is to find, and what it is given, side by side: (n, 12, h, w).

    First the scaled detail of the chips, then their halved selves enlarged again.
    """
    config = model.config
    lacks, coarse = _lacks(images, maps, config.whitening, config.codes)
    return torch.cat([lacks * _gain(config), coarse], dim=1)


def super_resolution_loss(
    model: SuperResolver, batch: torch.Tensor, settings: SuperResolution, generator: torch.Generator
) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the loss of one batch and its parts: squared error of F as in the first model's training.

    Every chip has one level for detail and map, log-normal, and one for the coarse pair, uniform up to
    ``augmentation``.
    """
    width, device = model.config.data_channels, batch.device
    x0, coarse = batch[:, :width], batch[:, width:]
    draw = [torch.randn(x0.shape, generator=generator).to(device) for _ in range(2)]
    sigma = (torch.randn(len(x0), generator=generator) * settings.noise[1] + settings.noise[0]).exp()
    sigma = sigma.clamp(LEAST_LEVEL, 80.0).to(device)
    level = (torch.rand(len(x0), generator=generator) * settings.augmentation).to(device)
    x = x0 + sigma[:, None, None, None] * draw[0]
    out = model.raw(x, sigma, coarse + level[:, None, None, None] * draw[1], level)
    spread = sigma[:, None, None, None]
    total = spread**2 + SIGMA_DATA**2
    target = (x0 - x * SIGMA_DATA**2 / total) * total.sqrt() / (spread * SIGMA_DATA)
    error = ((out - target) ** 2).mean(dim=(0, 2, 3))
    image, mask = error[:IMAGE_CHANNELS].mean(), error[IMAGE_CHANNELS:].mean()
    return image + mask, {"image": image.item(), "mask": mask.item()}


def train_super_resolver(
    images: np.ndarray,
    maps: np.ndarray,
    settings: SuperResolution,
    checkpoints: Path,
    device: torch.device,
    metres: float | None = None,
    after_step: Callable[[int], None] | None = None,
) -> tuple[SuperResolver, pd.DataFrame, float]:
    """Train on real chips and return the averaged model, the loss curve and the seconds spent.

    Args:
        images: (n, h, w, 3) uint8 fine training chips; maps: (n, h, w) uint8 theirs.
        checkpoints: the newest checkpoint of the same settings, code and data there is continued.
        metres: ground size of a coarse pixel, kept with the model.
        after_step: called with the number of finished steps (used to test interruption).

    Raises:
        GroundsynthError: chips that cannot be used, or a loss that is no longer finite.
    """
    model = new_super_resolver(images, maps, settings, metres).to(device)
    data = training_pairs(model, images, maps)
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=1e-3)
    ema = EMAModel(
        model.parameters(), decay=settings.ema_decay, inv_gamma=1.0, power=0.75, use_ema_warmup=True
    )
    path = checkpoints / f"super_resolution-{settings.key(images, maps)}" / "checkpoint.pt"
    moving = {"model": model, "optimiser": optimiser, "ema": ema}
    start, log, spent = resume_checkpoint(path, device, **moving)
    began = saved = time.monotonic()
    bar = tqdm(
        range(start, settings.steps),
        initial=start,
        total=settings.steps,
        desc="super-resolution",
        mininterval=5,
    )
    model.train()
    for step in bar:
        generator = torch.Generator().manual_seed(derive_seed("super_resolution", settings.seed, step))
        batch = draw_batch(data, settings.batch_size, generator)[0].to(device)
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
        loss, parts = super_resolution_loss(model, batch, settings, generator)
        if not math.isfinite(loss.item()):
            raise GroundsynthError(
                f"loss is {loss.item()} at step {step}; lower super_resolution.learning_rate"
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        ema.step(model.parameters())
        if step % settings.log_every == 0 or step == settings.steps - 1:
            log.append({"step": step, "loss": loss.item(), **parts})
            bar.set_postfix(image=f"{parts['image']:.3f}", mask=f"{parts['mask']:.3f}", refresh=False)
        if time.monotonic() - saved >= settings.checkpoint_seconds and step + 1 < settings.steps:
            save_checkpoint(path, step + 1, log, spent + time.monotonic() - began, **moving)
            saved = time.monotonic()
        if after_step is not None:
            after_step(step + 1)
    spent += time.monotonic() - began
    save_checkpoint(path, settings.steps, log, spent, **moving)
    ema.copy_to(model.parameters())
    return model.eval(), pd.DataFrame(log, columns=["step", "loss", "image", "mask"]), spent


# --- use -------------------------------------------------------------------------------------


@torch.no_grad()
def super_resolve(
    model: SuperResolver,
    images: np.ndarray,
    maps: np.ndarray,
    seeds: list[int],
    settings: SamplingSettings,
    device: torch.device,
    level: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of twice the size, one per coarse pair; squares of 2 × 2 pixels keep the coarse image's mean.

    Args:
        images: (n, h, w, 3) uint8; maps: (n, h, w) uint8, 0…6 and 255.
        seeds: one per pair; a result depends on its seed and pair alone, not on the batch.
        level: noise added to the coarse pair, 0 for real ones; more trusts it less.

    Returns:
        images (n, 2h, 2w, 3) and maps (n, 2h, 2w), uint8.

    Raises:
        GroundsynthError: shapes that do not fit one another or the network, or a map value outside the legend.
    """
    _check_pairs(model, images, maps, len(seeds))
    config, fine, labels = model.config, [], []
    starts = range(0, len(seeds), settings.batch_size)
    for start in tqdm(starts, desc="super-resolving", mininterval=5):
        part = slice(start, start + settings.batch_size)
        noise = SampleNoise(seeds[part], 2 * images.shape[1], device)
        plain = enlarge(images[part], maps[part], config.whitening, config.codes).to(device)
        coarse = plain + level * noise.draw(config.data_channels)
        given = torch.full((len(plain),), level, device=device)

        def predict(x: torch.Tensor, sigma: float, coarse=coarse, given=given) -> torch.Tensor:
            return model.raw(x, torch.full_like(given, sigma), coarse, given)

        x = solve(predict, noise.draw(config.data_channels), noise, settings)
        whole = plain + x / _gain(config).to(device)
        image = whole[:, :IMAGE_CHANNELS]
        coarse_image = config.whitening.whiten(images[part]).to(device)
        off = coarse_image - nnf.avg_pool2d(image, 2)
        fine.append(config.whitening.restore(image + nnf.interpolate(off, scale_factor=2, mode="nearest")))
        labels.append(decode_bits(whole[:, IMAGE_CHANNELS:], config.codes))
    return np.concatenate(fine), np.concatenate(labels)


def _check_pairs(model: SuperResolver, images: np.ndarray, maps: np.ndarray, n: int) -> None:
    cells = PATCH * 2 ** (len(model.config.channels) - 1)
    side = images.shape[1] if images.ndim == 4 else 0
    if images.shape != (n, side, side, 3) or maps.shape != (n, side, side) or not n or 2 * side % cells:
        raise GroundsynthError(
            f"images {images.shape} and maps {maps.shape} for {n} seeds cannot be doubled: they must be square "
            f"pairs, one per seed, of twice a side that {cells} divides"
        )
    unknown = np.setdiff1d(maps, (*range(NUM_CLASSES), NO_LABEL))
    if unknown.size:
        raise GroundsynthError(f"map value {unknown[0]} is not in the legend; remap it first")


def _gain(config: SuperResolverConfig) -> torch.Tensor:
    """Return what brings detail to standard deviation 0.5 in each channel, (6, 1, 1)."""
    return SIGMA_DATA / torch.tensor(config.detail)[:, None, None]


def _scale(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    return x * (sigma**2 + SIGMA_DATA**2).rsqrt()[:, None, None, None]


def _embed(sigma: torch.Tensor) -> torch.Tensor:
    """Return c_noise = ln(sigma)/4 on the scale of a 1,000-step embedding; no noise at all is its exact end."""
    level = 250 * sigma.clamp(min=LEAST_LEVEL).log() / 4 + 500
    return torch.where(sigma < LEAST_LEVEL, torch.zeros_like(level), level)


def _tuples(value):
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
