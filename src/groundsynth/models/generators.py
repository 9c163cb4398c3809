"""One way to train, load and describe a generator, whichever kind its policy names."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from groundsynth.config import Generator
from groundsynth.errors import GroundsynthError
from groundsynth.models.bits import one_hot_codes
from groundsynth.models.card import write_model_card
from groundsynth.models.conditions import TokenTable
from groundsynth.models.denoiser import Denoiser, load_denoiser
from groundsynth.models.device import training_type
from groundsynth.models.gan import SETTINGS as GAN_FILE
from groundsynth.models.gan_card import write_gan_card
from groundsynth.models.gan_sampling import GENERATORS, load_gan
from groundsynth.models.gan_training import GanSettings, train_gan
from groundsynth.models.noise import CONDITIONED, POLICIES
from groundsynth.models.training import TrainingSettings, train_denoiser
from groundsynth.paths import project_root


def steps_of(policy: str, steps: int, per_use: bool) -> int:
    """Return how long a policy is trained, given the study's steps.

    Args:
        per_use: a single policy gets only as many steps as ``unified`` spends on its row, so that both have
            practised that use equally often; other policies get all.

    >>> steps_of("mask", 1000, True), steps_of("mask", 1000, False), steps_of("unified", 1000, True)
    (250, 1000, 1000)
    """
    return round(steps * POLICIES["unified"].get(policy, 1.0)) if per_use else steps


def settings_of(generator: Generator, policy: str, seed: int, device: torch.device) -> TrainingSettings:
    """Return the settings of one diffusion training of a study."""
    named = {field.name: getattr(generator, field.name, None) for field in fields(TrainingSettings)}
    return TrainingSettings(
        **named
        | {
            "policy": policy,
            "seed": seed,
            "steps": steps_of(policy, generator.steps, generator.steps_per_use),
            "channels": tuple(generator.channels),
            "conditions": generator.conditions if policy in CONDITIONED else "none",
            "precision": str(training_type(device, generator.precision)).removeprefix("torch."),
        }
    )


def train_generator(
    images: np.ndarray,
    maps: np.ndarray,
    settings: TrainingSettings,
    gan: GanSettings,
    checkpoints: Path,
    device: torch.device,
    captions: TokenTable | None = None,
    start: Denoiser | None = None,
    origins: pd.DataFrame | None = None,
) -> tuple[nn.Module, pd.DataFrame, float]:
    """Train what ``settings.policy`` names (see ``train_denoiser`` and ``train_gan``).

    Args:
        start: from :func:`load_start`; trainings that begin with other weights have other checkpoints.
        origins: from :func:`groundsynth.data.scene_origins.chip_origins`; a GAN is told nothing.
    """
    if settings.policy in GENERATORS:
        return train_gan(images, maps, gan, checkpoints, device)
    kept = checkpoints if start is None else checkpoints / f"from-{hash_weights(start)}"
    return train_denoiser(
        images, maps, settings, kept, device, captions=captions, start=start, origins=origins
    )


def load_start(folder: str | Path | None, settings: TrainingSettings, size: int) -> Denoiser | None:
    """Return the trained generator that a training begins with; None where no folder is named.

    Args:
        folder: holds a generator (``model`` of stage 02), seen from the project's root; size: side of a chip in pixels.

    Raises:
        GroundsynthError: a GAN, which has no such start, or a generator that does not fit the settings.
    """
    if folder is None:
        return None
    if settings.policy in GENERATORS:
        raise GroundsynthError(
            f"generator.start names {folder}, and policy '{settings.policy}' is a GAN, which begins anew; leave it out"
        )
    model = load_denoiser(project_root() / folder)
    coding = "one_hot" if model.config.codes == one_hot_codes() else "bits"
    found = {"chip_size": model.config.chip_size, "channels": tuple(model.config.channels), "mask_code": coding,
             "layers_per_block": model.config.layers_per_block,
             "conditions": model.config.conditions}  # fmt: skip
    wanted = {name: getattr(settings, name, size) for name in found}
    for name, value in found.items():
        if value != wanted[name]:
            raise GroundsynthError(
                f"{folder}: a generator with {name} {value}, and this training wants {wanted[name]}; begin with one "
                "that was trained alike, or change the setting"
            )
    return model


def hash_weights(model: nn.Module) -> str:
    """Return 16 hex digits that change with any weight."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def load_generator(folder: Path) -> nn.Module:
    """Load a trained generator of any kind.

    Raises:
        GroundsynthError: no generator there, of another legend, or weights of another architecture.
    """
    return load_gan(folder) if (folder / GAN_FILE).is_file() else load_denoiser(folder)


def write_card(
    path: Path,
    model: nn.Module,
    settings: TrainingSettings,
    gan: GanSettings,
    *about: object,
    **given: object,
) -> None:
    """Write the model card of either kind; ``about`` is data, log, seconds and device, ``given`` pairs and start."""
    if settings.policy in GENERATORS:
        write_gan_card(path, model, gan, *about)
    else:
        write_model_card(path, model, settings, *about, **given)
