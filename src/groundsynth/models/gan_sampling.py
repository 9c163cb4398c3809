"""Building, loading and sampling the two GANs: one pass per sample, from a seed of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import nn
from tqdm.auto import tqdm

from groundsynth.artifacts import read_json
from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES, NO_LABEL, NUM_CLASSES
from groundsynth.models.colour import SIGMA_DATA, Whitening
from groundsynth.models.gan import IMAGE_CHANNELS, SETTINGS, WEIGHTS, GanConfig, draw_latents, one_hot_maps
from groundsynth.models.joint_gan import JointGenerator
from groundsynth.models.spade import SpadeGenerator

GENERATORS = {"spade": SpadeGenerator, "joint_gan": JointGenerator}


def new_gan(config: GanConfig) -> nn.Module:
    """Build an untrained generator.

    Raises:
        GroundsynthError: a chip size it cannot be drawn at.
    """
    if config.chip_size % 16 or config.chip_size < 32:
        raise GroundsynthError(
            f"a GAN draws chips whose side is a multiple of 16 from 32 upwards, not {config.chip_size}; change "
            "data.chip_size"
        )
    return GENERATORS[config.system](config)


def build_gan(settings: dict) -> nn.Module:
    """Build a generator from its settings as they were saved (``asdict`` of a ``GanConfig``)."""
    colours = {name: _tuples(value) for name, value in settings["whitening"].items()}
    plain = {name: _tuples(value) for name, value in settings.items() if name != "whitening"}
    return new_gan(GanConfig(**plain, whitening=Whitening(**colours)))


def load_gan(folder: Path) -> nn.Module:
    """Load a generator saved by :func:`groundsynth.models.gan.save_gan`.

    Raises:
        GroundsynthError: no generator there, of another legend, or weights of another architecture.
    """
    values = read_json(folder / SETTINGS, "run stage 02_train_generator")
    if tuple(values.get("classes", ())) != CLASSES:
        raise GroundsynthError(
            f"{folder}: trained with the legend {values.get('classes')}, not {list(CLASSES)}; train it again"
        )
    try:
        model = build_gan(values)
        safetensors.torch.load_model(model, folder / WEIGHTS)
    except (OSError, KeyError, TypeError, RuntimeError, safetensors.SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise GroundsynthError(f"{folder}: not a usable generator ({reason}); train it again") from None
    return model.eval()


@torch.no_grad()
def sample_gan(
    model: nn.Module,
    seeds: list[int],
    batch_size: int,
    device: torch.device,
    maps: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one pair per seed.

    Args:
        maps: (n, h, w) uint8 maps to obey, for ``spade``; None for ``joint_gan``.

    Returns:
        images (n, h, w, 3) uint8 and maps (n, h, w) uint8: generated or given.
    """
    images, masks = [], []
    for start in tqdm(
        range(0, len(seeds), batch_size), desc=f"sampling {model.config.system}", mininterval=5
    ):
        part = slice(start, start + batch_size)
        latent, noise = draw_latents(seeds[part], model.config.chip_size, device)
        out = model(latent, noise, *([] if maps is None else [one_hot_maps(maps[part]).to(device)]))
        images.append(restore_colours(model, out))
        masks.append(_read_maps(out) if maps is None else maps[part])
    return np.concatenate(images), np.concatenate(masks)


@torch.no_grad()
def latent_walk(
    model: nn.Module,
    seeds: tuple[int, int],
    steps: int,
    device: torch.device,
    maps: np.ndarray | None = None,
) -> tuple[list[float], np.ndarray]:
    """Walk from one sample's latent numbers to another's, pixel noise held.

    Args:
        maps: (1, h, w) the one map to obey, for ``spade``.

    Returns:
        the way gone, 0 to 1, and the images (steps, h, w, 3) uint8.
    """
    latent, noise = draw_latents(list(seeds), model.config.chip_size, device)
    way = torch.linspace(0, 1, steps, device=device)[:, None]
    mixed = latent[:1] * (1 - way) + latent[1:] * way
    mixed = mixed / ((1 - way) ** 2 + way**2).sqrt()  # as strong in the middle as at the ends
    labels = [] if maps is None else [one_hot_maps(np.repeat(maps, steps, axis=0)).to(device)]
    out = model(mixed, noise[:1].expand(steps, -1, -1, -1), *labels)
    return way[:, 0].tolist(), restore_colours(model, out)


def restore_colours(model: nn.Module, out: torch.Tensor) -> np.ndarray:
    """Return a generator's first three channels as (n, h, w, 3) uint8 RGB."""
    return model.config.whitening.restore(out[:, :IMAGE_CHANNELS] * SIGMA_DATA)


def _read_maps(out: torch.Tensor) -> np.ndarray:
    symbols = out[:, IMAGE_CHANNELS:].argmax(dim=1).cpu().numpy()
    return np.where(symbols == NUM_CLASSES, NO_LABEL, symbols).astype(np.uint8)


def _tuples(value):
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
