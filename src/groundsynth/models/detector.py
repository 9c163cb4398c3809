"""A small network that tells real chips from synthetic ones, patch by patch.

Each output of the network sees 17 × 17 pixels and gives its own verdict; a chip's is their mean. That keeps it to
texture, which a few hundred chips can teach, and the verdicts make a map of where a chip looks synthetic (the
patch critics of Isola et al. 2017, https://arxiv.org/abs/1611.07004, and Chai et al. 2020,
https://arxiv.org/abs/2008.10588). With more than two classes the same network says which generator made a chip.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from tqdm.auto import tqdm

from groundsynth.errors import GroundsynthError
from groundsynth.models.segmenter import rate_factor, to_tensor
from groundsynth.seeds import derive_seed, rng

WIDTHS = (24, 32, 48, 48)
BATCH = 128  # chips scored together
SETTLING = 8  # batches
Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class DetectorSettings:
    """Settings of one training."""

    steps: int = 200
    batch_size: int = 32
    learning_rate: float = 3e-3
    seed: int = 0


class PatchDetector(nn.Module):
    """(n, 3, h, w) in [0, 1] to (n, classes, h/2, w/2) logits, each of 17 × 17 pixels."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.BatchNorm2d(3, affine=False)]
        before = 3
        for number, width in enumerate(WIDTHS):
            stride = 2 if number == 1 else 1
            layers += [nn.Conv2d(before, width, 3, stride, 1, padding_mode="reflect"), nn.BatchNorm2d(width)]
            layers += [nn.LeakyReLU(0.1)]
            before = width
        self.layers = nn.Sequential(*layers, nn.Conv2d(before, classes, 3, 1, 1, padding_mode="reflect"))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


def train_detector(
    groups: dict[str, np.ndarray],
    settings: DetectorSettings,
    device: torch.device,
    change: Change | None = None,
) -> PatchDetector:
    """Train a network to tell groups of chips apart, as many of each in a batch; return it.

    Nothing is chosen: it trains for the steps it is given, and the last weights are kept.

    Args:
        groups: (n, h, w, 3) uint8 chips by name; the place of the name is the class.
        change: what happens to each chip before it is shown, such as a random JPEG quality.

    Raises:
        GroundsynthError: fewer than two groups, or an empty one.
    """
    empty = [name for name, images in groups.items() if not len(images)]
    if len(groups) < 2 or empty:
        raise GroundsynthError(
            f"a detector tells groups apart and was given {', '.join(groups) or 'none'}"
            f"{f', of which {empty[0]} is empty' if empty else ''}; give it real and synthetic chips"
        )
    labels = torch.arange(settings.batch_size) % len(groups)

    def draw(random: np.random.Generator) -> tuple[np.ndarray, torch.Tensor]:
        return _batch(list(groups.values()), settings.batch_size, random, change), labels[:, None, None]

    return _fit(PatchDetector(len(groups)), draw, settings, device)


def train_localiser(
    draw: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]],
    settings: DetectorSettings,
    device: torch.device,
) -> PatchDetector:
    """Train a network of two classes to say of each place whether it was forged; return it.

    Args:
        draw: gives a batch: images (n, h, w, 3) uint8 and regions (n, h, w) bool, true where forged.
    """

    def halved(random: np.random.Generator) -> tuple[np.ndarray, torch.Tensor]:
        images, regions = draw(random)
        return images, torch.from_numpy(np.ascontiguousarray(regions[:, ::2, ::2])).long()

    return _fit(PatchDetector(2), halved, settings, device)


def _fit(
    network: PatchDetector,
    draw: Callable[[np.random.Generator], tuple[np.ndarray, torch.Tensor]],
    settings: DetectorSettings,
    device: torch.device,
) -> PatchDetector:
    """Train on batches that each step's own random numbers decide; labels spread over a chip's places."""
    torch.manual_seed(derive_seed("detector", settings.seed))
    network.apply(_start_anew)
    network = network.to(device)
    optimiser = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=1e-2)
    for step in tqdm(range(settings.steps), desc="detector", mininterval=5, leave=False):
        images, labels = draw(rng("detector", settings.seed, step))
        logits = network(to_tensor(images).to(device))
        wanted = labels.to(device).expand(-1, *logits.shape[2:])
        loss = functional.cross_entropy(logits, wanted)
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * rate_factor(step + 1, settings.steps)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return _settle(network, draw, settings, device)


@torch.no_grad()
def _settle(network: PatchDetector, draw, settings: DetectorSettings, device: torch.device) -> PatchDetector:
    """Measure the means and spreads of all layers anew with the final weights: those of training lag behind them."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None  # plain average over the batches below
    for step in range(SETTLING):
        images, _ = draw(rng("settle", settings.seed, step))
        network(to_tensor(images).to(device))
    return network.eval()


def _start_anew(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d):
        layer.reset_parameters()


def _batch(
    groups: list[np.ndarray], size: int, random: np.random.Generator, change: Change | None
) -> np.ndarray:
    """Return a batch in which chip k is of group k modulo their number, turned and flipped at random."""
    chips = []
    for k in range(size):
        images = groups[k % len(groups)]
        chip = np.rot90(images[random.integers(len(images))], random.integers(4))
        chip = chip[:, ::-1] if random.random() < 0.5 else chip
        chips.append(chip if change is None else change(chip, random))
    return np.stack(chips)


@torch.no_grad()
def patch_logits(network: PatchDetector, images: np.ndarray) -> np.ndarray:
    """Return the verdicts of all patches, (n, classes, h/2, w/2) float32 logits.

    Args:
        images: (n, h, w, 3) uint8.
    """
    device = next(network.parameters()).device
    parts = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
    return np.concatenate([network(to_tensor(part).to(device)).cpu().numpy() for part in parts])


def class_scores(network: PatchDetector, images: np.ndarray) -> np.ndarray:
    """Return each chip's mean log-probability of each class, (n, classes) float."""
    logits = torch.from_numpy(patch_logits(network, images))
    return torch.log_softmax(logits, 1).mean((2, 3)).numpy()


def synthetic_scores(network: PatchDetector, images: np.ndarray) -> np.ndarray:
    """Return how synthetic each chip looks to a network of two classes (real first), (n,) float."""
    logits = patch_logits(network, images)
    return (logits[:, 1] - logits[:, 0]).mean((1, 2))


def heat_maps(network: PatchDetector, images: np.ndarray) -> np.ndarray:
    """Return how synthetic each place looks, (n, h, w) float32: patch verdicts at the image's size."""
    logits = torch.from_numpy(patch_logits(network, images))
    difference = (logits[:, 1:2] - logits[:, :1]).float()
    size = images.shape[1:3]
    return functional.interpolate(difference, size, mode="bilinear", align_corners=False)[:, 0].numpy()
