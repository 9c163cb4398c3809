"""Training the two GANs on the chips the diffusion model is trained on, batch for batch.

Step k of seed s draws the very chips that step k of a diffusion training of seed s draws, so equal
steps and batch size mean equal training images. The loss is the hinge loss of SPADE (Park et al. 2019,
arXiv:1903.07291); where a real image belongs to the map, the critic's features of the two are drawn
together (feature matching, Wang et al. 2018, arXiv:1711.11585). As an option, images of two latents
are driven apart (mode seeking, Mao et al. 2019, arXiv:1903.05628, eq. 5; used for satellite images in
arXiv:2302.04305). A little noise on what the critic sees (Sønderby et al. 2017, arXiv:1610.04490)
hides that real colours are whole numbers, and every step cuts a few pixels off at another place: the
critic looks at every eighth patch, and a generator whose pixels it always meets alike draws that grid.

Maps of the joint GAN are taught by a critic of maps alone (why: see ``joint_gan``), under a penalty on its gradient at
real maps (R1, Mescheder et al. 2018, arXiv:1801.04406), taken in one of eight steps (Karras et al. 2020,
arXiv:1912.04958), and by the class shares of real batches (feature matching at its plainest, Salimans et al. 2016,
arXiv:1606.03498, sec. 3.1).
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from diffusers.training_utils import EMAModel
from torch import nn
from torch.nn import functional as nnf
from tqdm.auto import tqdm

from groundsynth.errors import GroundsynthError
from groundsynth.models.checkpoint import resume_checkpoint, save_checkpoint
from groundsynth.models.colour import SIGMA_DATA, fit_whitening
from groundsynth.models.gan import (
    IMAGE_CHANNELS,
    LATENT,
    PIXEL_NOISE,
    SYMBOLS,
    GanConfig,
    one_hot_maps,
    round_maps,
)
from groundsynth.models.gan_blocks import JointCritic, PatchCritic
from groundsynth.models.gan_sampling import new_gan
from groundsynth.models.training import draw_batch
from groundsynth.seeds import derive_seed

MATCHING = 10.0  # weight of feature matching, SPADE's own
CRITIC_STEP = 8  # pixels between the patches that the critic scores
CRITIC_NOISE = 0.1  # standard deviation of the noise on images, which have about 1
PATIENCE = (
    0.2  # of the generator's rate, for the layers that draw maps: faster, they run away from their critic
)
MAP_NOISE = 0.4  # the same on maps, for the critic of maps alone
SLOPE = 60.0  # weight of the penalty on that critic's gradient, per pixel
SLOPE_EVERY = 8  # steps from one such penalty to the next, on average
SCARCE = 0.001  # added to shares, so that a class that has vanished is a finite distance away
MODULES = ("gan.py", "gan_blocks.py", "gan_training.py", "spade.py", "joint_gan.py", "colour.py")
COLUMNS = ["step", "loss", "generator", "critic", "matching", "diversity", "shares"]


@dataclass(frozen=True)
class GanSettings:
    """Settings of one GAN training; the fields are those of ``config.Generator``."""

    policy: str
    seed: int
    steps: int
    batch_size: int
    ema_decay: float
    gan_rates: tuple[float, float]
    gan_width: int
    diversity: float
    log_every: int
    checkpoint_seconds: float

    def key(self, images: np.ndarray, maps: np.ndarray) -> str:
        """Name a checkpoint by everything that decides the weights: settings, code and data."""
        digest = hashlib.sha256(repr(self).encode())
        for name in MODULES:
            digest.update((Path(__file__).parent / name).read_bytes())
        digest.update(np.ascontiguousarray(images))
        digest.update(np.ascontiguousarray(maps))
        return digest.hexdigest()[:16]


@dataclass
class Players:
    """The two networks and what moves them."""

    model: nn.Module
    critic: PatchCritic
    optimiser: torch.optim.Optimizer
    critic_optimiser: torch.optim.Optimizer
    ema: EMAModel


def new_players(images: np.ndarray, settings: GanSettings, device: torch.device) -> Players:
    """Build untrained networks whose colour axes fit the training chips."""
    torch.manual_seed(derive_seed("weights", settings.seed))
    config = GanConfig(settings.policy, images.shape[1], settings.gan_width, fit_whitening(images))
    model = new_gan(config).to(device)
    critic = _new_critic(settings).to(device)
    rate, critic_rate = settings.gan_rates
    patient = model.map_parameters()
    others = [p for p in model.parameters() if all(p is not own for own in patient)]
    groups = [{"params": others}, *([{"params": patient, "lr": rate * PATIENCE}] if patient else [])]
    return Players(
        model,
        critic,
        torch.optim.Adam(groups, lr=rate, betas=(0.0, 0.9)),
        torch.optim.Adam(critic.parameters(), lr=critic_rate, betas=(0.0, 0.9)),
        EMAModel(
            model.parameters(), decay=settings.ema_decay, inv_gamma=1.0, power=0.75, use_ema_warmup=True
        ),
    )


def _new_critic(settings: GanSettings) -> PatchCritic:
    channels = IMAGE_CHANNELS + SYMBOLS
    if settings.policy == "joint_gan":
        return JointCritic(channels, SYMBOLS, settings.gan_width)
    return PatchCritic(channels, settings.gan_width)


def train_gan(
    images: np.ndarray,
    maps: np.ndarray,
    settings: GanSettings,
    checkpoints: Path,
    device: torch.device,
    after_step: Callable[[int], None] | None = None,
) -> tuple[nn.Module, pd.DataFrame, float]:
    """Train on real chips and return the averaged generator, the loss curve and the seconds spent.

    Args:
        images: (n, h, w, 3) uint8 training chips.
        maps: (n, h, w) uint8, 0…6 and 255.
        checkpoints: folder for checkpoints; the newest one of the same settings, code and data is
            continued.
        after_step: called with the number of finished steps (used to test interruption).

    Raises:
        GroundsynthError: no chips, or a loss that is no longer finite.
    """
    if len(images) == 0:
        raise GroundsynthError(
            "no training chips: the generator needs at least one; check the split of stage 01"
        )
    players = new_players(images, settings, device)
    data = real_data(players.model, images, maps)
    path = checkpoints / settings.key(images, maps) / "checkpoint.pt"
    start, log, spent = resume_checkpoint(path, device, **vars(players))
    began = saved = time.monotonic()
    bar = tqdm(
        range(start, settings.steps), initial=start, total=settings.steps, desc="training", mininterval=5
    )
    for step in bar:
        generator = torch.Generator().manual_seed(derive_seed("step", settings.seed, step))
        batch = draw_batch(data, settings.batch_size, generator)[0].to(device)
        parts = train_step(players, batch, settings, generator)
        if not all(math.isfinite(value) for value in parts.values()):
            raise GroundsynthError(f"losses are {parts} at step {step}; lower generator.gan_rates")
        if step % settings.log_every == 0 or step == settings.steps - 1:
            log.append({"step": step, **parts})
            bar.set_postfix(critic=f"{parts['critic']:.2f}", refresh=False)
        if time.monotonic() - saved >= settings.checkpoint_seconds and step + 1 < settings.steps:
            save_checkpoint(path, step + 1, log, spent + time.monotonic() - began, **vars(players))
            saved = time.monotonic()
        if after_step is not None:
            after_step(step + 1)
    spent += time.monotonic() - began
    save_checkpoint(path, settings.steps, log, spent, **vars(players))
    players.ema.copy_to(players.model.parameters())
    return players.model.eval(), pd.DataFrame(log, columns=COLUMNS), spent


def real_data(model: nn.Module, images: np.ndarray, maps: np.ndarray) -> torch.Tensor:
    """Return chips as channels to draw from: whitened colours (3) and the map's codes (1), (n, 4, h, w)."""
    colours = model.config.whitening.whiten(images) / SIGMA_DATA
    return torch.cat([colours, torch.from_numpy(maps.astype(np.float32))[:, None]], dim=1)


def train_step(
    players: Players, batch: torch.Tensor, settings: GanSettings, generator: torch.Generator
) -> dict[str, float]:
    """Move the critic, then the generator, on one batch of :func:`real_data`; return the losses."""
    labels = one_hot_maps(batch[:, IMAGE_CHANNELS])
    real = torch.cat([batch[:, :IMAGE_CHANNELS], labels], dim=1)
    latent = _normal((len(batch), LATENT), generator, batch.device)
    noise = _normal((len(batch), PIXEL_NOISE, *batch.shape[2:]), generator, batch.device)
    blur = [CRITIC_NOISE * _normal(batch[:, :IMAGE_CHANNELS].shape, generator, batch.device) for _ in "rf"]
    corner = torch.randint(CRITIC_STEP + 1, (2,), generator=generator).tolist()
    real, fake = _show(real, blur[0], corner), players.model.pair(latent, noise, labels)
    seen = _show(fake, blur[1], corner)

    own = players.model.own_maps(len(batch))  # pairs whose map the generator drew come first
    veiled = _veil([real, seen[:own]], generator) if own else []

    given = _as_given(seen)
    critic_loss = _hinge(players.critic(real), 1) + _hinge(players.critic(given.detach()), -1)
    if own:
        judge = players.critic.maps
        critic_loss = critic_loss + _hinge(judge(veiled[0]), 1) + _hinge(judge(veiled[1].detach()), -1)
        if torch.randint(SLOPE_EVERY, (1,), generator=generator).item() == 0:
            critic_loss = critic_loss + SLOPE_EVERY * SLOPE * _slope(judge, veiled[0][:own])
    _move(players.critic_optimiser, critic_loss)

    players.critic.requires_grad_(False)  # its weights rest, gradients pass through
    found = players.critic(given)
    adversarial = _please(found)
    zero = torch.zeros((), device=batch.device)
    shares = zero
    if own:
        adversarial = adversarial + _please(players.critic.maps(veiled[1]))
        shares = _share_distance(fake[:own, IMAGE_CHANNELS:], labels)
    matching = _match(found, players.critic(real), own)
    seek = settings.diversity and not own
    apart = _seek_modes(players.model, fake, latent, noise, labels, generator) if seek else zero
    loss = adversarial + MATCHING * matching + settings.diversity * apart + shares
    _move(players.optimiser, loss)
    players.critic.requires_grad_(True)
    players.ema.step(players.model.parameters())
    values = (loss, adversarial, critic_loss, matching, apart, shares)
    return dict(zip(COLUMNS[1:], (value.item() for value in values), strict=True))


def _move(optimiser: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


def _normal(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> torch.Tensor:
    return torch.randn(shape, generator=generator).to(device)


def _show(pair: torch.Tensor, noise: torch.Tensor, corner: list[int]) -> torch.Tensor:
    """Return a pair as the critic sees it: noise on the image, and 8 pixels less on each side."""
    noisy = torch.cat([pair[:, :IMAGE_CHANNELS] + noise, pair[:, IMAGE_CHANNELS:]], dim=1)
    (row, column), side = corner, pair.shape[-1] - CRITIC_STEP
    return noisy[..., row : row + side, column : column + side]


def _as_given(pair: torch.Tensor) -> torch.Tensor:
    """Return a pair whose map is of whole classes and passes no gradient on."""
    return torch.cat([pair[:, :IMAGE_CHANNELS], round_maps(pair[:, IMAGE_CHANNELS:])], dim=1)


def _slope(critic: PatchCritic, maps: torch.Tensor) -> torch.Tensor:
    """Return the mean over pixels of the squared gradient of a critic's summed scores by the maps it sees."""
    seen = maps.detach().requires_grad_()
    scores = sum(scale[-1].sum() for scale in critic(seen))
    (gradient,) = torch.autograd.grad(scores, seen, create_graph=True)
    return gradient.square().sum(dim=1).mean()


def _share_distance(drawn: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Return the Kullback–Leibler divergence of the class shares of a batch's drawn maps from those of its real ones.

    Args:
        drawn, real: (n, 8, h, w) scores or one-hot maps.
    """
    shares = (maps.mean(dim=(0, 2, 3)) + SCARCE for maps in (real, drawn))
    wanted, found = (share / share.sum() for share in shares)
    return (wanted * (wanted / found).log()).sum()


def _hinge(found: list[list[torch.Tensor]], sign: int) -> torch.Tensor:
    """Return the critic's hinge loss: real pairs (sign 1) should score above 1, others (−1) below −1."""
    return sum(nnf.relu(1 - sign * scale[-1]).mean() for scale in found) / len(found)


def _please(found: list[list[torch.Tensor]]) -> torch.Tensor:
    """Return the generator's adversarial loss: drawn pairs should score high."""
    return -sum(scale[-1].mean() for scale in found) / len(found)


def _veil(pairs: list[torch.Tensor], generator: torch.Generator) -> list[torch.Tensor]:
    """Return the maps of pairs under noise, which hides that some are of whole classes and others are scores."""
    maps = [pair[:, IMAGE_CHANNELS:] for pair in pairs]
    return [part + MAP_NOISE * _normal(part.shape, generator, part.device) for part in maps]


def _match(fake: list[list[torch.Tensor]], real: list[list[torch.Tensor]], first: int = 0) -> torch.Tensor:
    """Return the mean absolute difference of the critic's features of drawn and real pairs of the same map.

    Args:
        first: pairs before it have other maps, and are left out.
    """
    terms = [
        nnf.l1_loss(a[first:], b[first:].detach())
        for f, r in zip(fake, real, strict=True)
        for a, b in zip(f[:-1], r[:-1], strict=True)
    ]
    return sum(terms) / len(fake)


def _seek_modes(model, pair, latent, noise, labels, generator) -> torch.Tensor:
    """Return the mode-seeking loss: how far latents lie apart over how far their images do.

    The pixel noise is the same for both, so that the image as a whole must differ, not its grain.
    """
    other = _normal(latent.shape, generator, latent.device)
    second = model.pair(other, noise, labels)
    images = (pair - second)[:, :IMAGE_CHANNELS].abs().mean()
    return (latent - other).abs().mean() / (images + 1e-2)
