"""What a step of one training costs beside a step of another, on this machine and side by side.

The seconds that trainings took say as much about what else ran as about them. Here short trainings take
turns, and each keeps its best turn; without a GPU processor seconds count, which other programs do not stretch.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from groundsynth.models.conditions import TokenTable
from groundsynth.models.noise import CONDITIONED
from groundsynth.models.training import TrainingSettings, train_denoiser

STEPS, TURNS = 30, 3


def step_seconds(
    trainings: Sequence[TrainingSettings],
    images: np.ndarray,
    maps: np.ndarray,
    device: torch.device,
    captions: TokenTable | None = None,
    steps: int = STEPS,
    turns: int = TURNS,
) -> np.ndarray:
    """Return the seconds of one optimiser step of each training, (len(trainings),).

    Args:
        images: (n, h, w, 3) uint8 training chips; maps: (n, h, w) uint8.
        captions: of the chips, for trainings that are told them.
        steps: of each short training; the first ``steps`` of them warm up and do not count.
        turns: how often each takes its turn.
    """
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    spent = np.full((turns + 1, len(trainings)), np.inf)
    for turn in range(turns + 1):
        for place, settings in enumerate(trainings):
            short = replace(settings, steps=steps, warmup_steps=1, checkpoint_seconds=np.inf)
            told = captions if settings.policy in CONDITIONED else None
            with tempfile.TemporaryDirectory() as folder:
                began = clock()
                train_denoiser(images, maps, short, Path(folder), device, captions=told)
                spent[turn, place] = (clock() - began) / steps
    return spent[1:].min(0)
