"""One way to train, load and describe a generator, whichever kind its policy names."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from groundsynth.config import Generator
from groundsynth.models.card import write_model_card
from groundsynth.models.conditions import TokenTable
from groundsynth.models.denoiser import load_denoiser
from groundsynth.models.device import training_type
from groundsynth.models.gan import SETTINGS as GAN_FILE
from groundsynth.models.gan_card import write_gan_card
from groundsynth.models.gan_sampling import GENERATORS, load_gan
from groundsynth.models.gan_training import GanSettings, train_gan
from groundsynth.models.noise import CONDITIONED, POLICIES
from groundsynth.models.training import TrainingSettings, train_denoiser


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
) -> tuple[nn.Module, pd.DataFrame, float]:
    """Train what ``settings.policy`` names (see ``train_denoiser`` and ``train_gan``)."""
    if settings.policy in GENERATORS:
        return train_gan(images, maps, gan, checkpoints, device)
    return train_denoiser(images, maps, settings, checkpoints, device, captions=captions)


def load_generator(folder: Path) -> nn.Module:
    """Load a trained generator of any kind.

    Raises:
        GroundsynthError: no generator there, of another legend, or weights of another architecture.
    """
    return load_gan(folder) if (folder / GAN_FILE).is_file() else load_denoiser(folder)


def write_card(
    path: Path, model: nn.Module, settings: TrainingSettings, gan: GanSettings, *about: object
) -> None:
    """Write the model card of either kind; ``about`` is data, log, seconds and device."""
    if settings.policy in GENERATORS:
        write_gan_card(path, model, gan, *about)
    else:
        write_model_card(path, model, settings, *about)
