"""Which pairs of noise levels a training draws: the policy that decides what the model can do.

A part of a sample (its image, its map) is *noisy* at a level sigma, *clean*, or *absent*. Clean and
absent are exact states with flags of their own, not limits of sigma.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from groundsynth.errors import GroundsynthError

NOISY, CLEAN, ABSENT = 0, 1, 2

# row: (state of the image, state of the map); 'joint' gives both the same level
ROWS = {
    "joint": (NOISY, NOISY),
    "independent": (NOISY, NOISY),
    "mask": (NOISY, CLEAN),
    "image": (NOISY, ABSENT),
    "segment": (CLEAN, NOISY),
}
POLICIES = {
    "unified": {"joint": 0.45, "mask": 0.25, "image": 0.12, "segment": 0.08, "independent": 0.10},
    "joint": {"joint": 1.0},
    "mask": {"mask": 1.0},
    "image": {"image": 1.0},
    "text": {"joint": 1.0},  # joint pairs, always with what is known of them
}
CONDITIONED = ("unified", "text")  # policies that are told something of a chip besides its pixels
ASKABLE = (
    "joint",
    "independent",
    "image",
)  # rows that conditions make sense for: nothing in them says it already
UNTOLD = {
    "unified": 0.5,
    "text": 0.12,
}  # share of those rows that a policy tells nothing, for guidance to compare with
MASK_FLOOR = 0.1  # a map stays readable under much noise: lower levels teach nothing
SIGMA_LIMITS = (0.002, 80.0)
IMAGE_LIKE = 0.7  # share of joint levels drawn like the image's; the others like the map's
TAIL = 0.1  # share of log-uniform levels up to 80, where layout forms
TOLD_TAIL = (
    0.6  # the same of rows that are told something: the mean over a chip, and with it the shares of its
)
# classes, is decided while noise is above 10, and below that a condition says nothing new


@dataclass
class NoiseLevels:
    """Noise levels and states of one batch, each (n,); ``told`` says which rows are shown conditions."""

    image: torch.Tensor
    mask: torch.Tensor
    image_state: torch.Tensor
    mask_state: torch.Tensor
    told: torch.Tensor


def draw_levels(
    policy: str,
    n: int,
    image_noise: tuple[float, float],
    mask_noise: tuple[float, float],
    generator: torch.Generator,
    conditions: bool = False,
) -> NoiseLevels:
    """Draw one training batch's noise levels.

    Args:
        policy: a key of ``POLICIES``, or of ``ROWS`` for one row alone.
        image_noise: mean and standard deviation of ln(sigma) for the image.
        mask_noise: the same for the map.
        generator: the batch's own random generator.
        conditions: whether the model reads conditions; without any, nobody is told anything.

    Raises:
        GroundsynthError: a policy that does not exist.
    """
    rows = POLICIES.get(policy) or ({policy: 1.0} if policy in ROWS else None)
    if rows is None:
        raise GroundsynthError(f"policy '{policy}' does not exist; choose one of {', '.join(POLICIES)}")
    names, weights = zip(*rows.items(), strict=True)
    row = torch.multinomial(torch.tensor(weights), n, replacement=True, generator=generator)
    states = torch.tensor([ROWS[name] for name in names])[row]  # (n, 2)
    told = torch.tensor([name in ASKABLE for name in names])[row]
    told &= torch.rand(n, generator=generator) >= (UNTOLD.get(policy, 1.0) if conditions else 1.0)
    tail = torch.where(told, TOLD_TAIL, TAIL)
    image = _draw_sigma(tail, image_noise, generator)
    mask = _draw_sigma(tail, mask_noise, generator).clamp(min=MASK_FLOOR)
    same = torch.tensor([name == "joint" for name in names])[row]
    shared = torch.where(torch.rand(n, generator=generator) < IMAGE_LIKE, image, mask)
    return NoiseLevels(
        torch.where(same, shared, image), torch.where(same, shared, mask), states[:, 0], states[:, 1], told
    )


def _draw_sigma(
    tail_share: torch.Tensor, noise: tuple[float, float], generator: torch.Generator
) -> torch.Tensor:
    n = len(tail_share)
    normal = torch.randn(n, generator=generator) * noise[1] + noise[0]
    tail = torch.rand(n, generator=generator) * 5.7 - 1.3  # ln(sigma) uniform: sigma 0.27 … 80
    use_tail = torch.rand(n, generator=generator) < tail_share
    return torch.where(use_tail, tail, normal).exp().clamp(*SIGMA_LIMITS)
