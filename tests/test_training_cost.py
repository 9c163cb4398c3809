"""The cost of a step beside another's."""

from dataclasses import replace

import numpy as np
import torch

from groundsynth.checks.training_cost import step_seconds
from groundsynth.config import load_study
from groundsynth.models.generators import settings_of
from groundsynth.models.training import TrainingSettings

SMALL = TrainingSettings(
    policy="mask", seed=0, steps=900, batch_size=2, learning_rate=1e-3, warmup_steps=2, ema_decay=0.9,
    channels=(16, 32), layers_per_block=1, image_noise=(-0.4, 1.4), mask_noise=(0.3, 1.2),
    log_every=10, checkpoint_seconds=0.0,
)  # fmt: skip


def test_a_step_of_eight_chips_costs_more_than_one_of_two():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (4, 64, 64, 3)).astype(np.uint8)
    maps = random.integers(0, 7, (4, 64, 64)).astype(np.uint8)
    two, same, sixteen = step_seconds(
        [SMALL, SMALL, replace(SMALL, batch_size=16)], images, maps, torch.device("cpu"), steps=3, turns=2
    )
    assert 0.4 < two / same < 2.5
    assert sixteen > 2 * two


def test_settings_of_a_study_name_its_steps_and_what_a_policy_is_told(root):
    laptop, use = (load_study(root / "config" / f"{n}.yaml").generator for n in ("laptop", "single_use"))
    cpu = torch.device("cpu")
    assert settings_of(laptop, "unified", 0, cpu).conditions == "both"
    mask = settings_of(use, "mask", 3, cpu)
    assert (mask.conditions, mask.seed, mask.steps) == ("none", 3, round(0.25 * laptop.steps))
    assert settings_of(laptop, "mask", 0, cpu).steps == laptop.steps
    assert mask.channels == tuple(laptop.channels)
