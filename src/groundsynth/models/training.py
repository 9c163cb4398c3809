"""Training the denoiser: resumable to the step, averaged weights, one logged loss per part.

Every step's batch, flips and noise come from a generator seeded by (seed, step) alone, so a killed
training continues on the same path: data order needs no state beyond the step's number.
"""

from __future__ import annotations

import copy
import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from diffusers.training_utils import EMAModel
from tqdm.auto import tqdm

from groundsynth.data.scene_origins import known_names, origin_codes
from groundsynth.errors import GroundsynthError
from groundsynth.legend import class_shares
from groundsynth.models.bits import count_adjacency, encode_maps, one_hot_codes, order_codes
from groundsynth.models.checkpoint import resume_checkpoint, save_checkpoint
from groundsynth.models.colour import SIGMA_DATA, fit_whitening
from groundsynth.models.conditions import Conditions, TokenTable, drop_conditions, reading_loss
from groundsynth.models.denoiser import IMAGE_CHANNELS, Denoiser, DenoiserConfig, per_channel
from groundsynth.models.device import plain_attention
from groundsynth.models.noise import NOISY, draw_levels
from groundsynth.seeds import derive_seed

MODULES = ("training.py", "denoiser.py", "unet.py", "conditions.py", "noise.py", "bits.py", "colour.py")


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of one training; the fields are those of ``config.Generator``.

    ``precision`` is ``float32`` or ``bfloat16``, already decided for the device (see ``device.training_type``).
    """

    policy: str
    seed: int
    steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    ema_decay: float
    channels: tuple[int, ...]
    layers_per_block: int
    image_noise: tuple[float, float]
    mask_noise: tuple[float, float]
    log_every: int
    checkpoint_seconds: float
    mask_code: str = "bits"
    conditions: str = "none"
    precision: str = "float32"

    def key(
        self,
        images: np.ndarray,
        maps: np.ndarray,
        captions: TokenTable | None = None,
        origins: pd.DataFrame | None = None,
    ) -> str:
        """Name a checkpoint by everything that decides the weights: settings, code and data."""
        digest = hashlib.sha256(repr(self).encode())
        for module in sorted(Path(__file__).parent.glob("*.py")):
            if module.name in MODULES:
                digest.update(module.read_bytes())
        digest.update(np.ascontiguousarray(images))
        digest.update(np.ascontiguousarray(maps))
        digest.update(b"" if captions is None else captions.digest())
        digest.update(b"" if origins is None else origins.to_csv(index=False).encode())
        return digest.hexdigest()[:16]


def new_denoiser(
    images: np.ndarray, maps: np.ndarray, settings: TrainingSettings, origins: pd.DataFrame | None = None
) -> Denoiser:
    """Build an untrained denoiser whose colour axes, bit codes and origins fit the training chips."""
    told = origins is not None and settings.conditions != "none"
    torch.manual_seed(derive_seed("weights", settings.seed))
    return Denoiser(
        DenoiserConfig(
            chip_size=images.shape[1],
            channels=tuple(settings.channels),
            layers_per_block=settings.layers_per_block,
            codes=one_hot_codes() if settings.mask_code == "one_hot" else order_codes(count_adjacency(maps)),
            whitening=fit_whitening(images),
            conditions=settings.conditions,
            origins=known_names(origins) if told else (),
        )
    )


def diffusion_loss(
    model: Denoiser,
    x0: torch.Tensor,
    settings: TrainingSettings,
    generator: torch.Generator,
    known: Conditions | None = None,
) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the loss of one batch and its parts.

    The weight lambda(sigma) of EDM (eq. 5, Table 1) makes this the plain squared error of F against
    ``(x0 − c_skip·x)/c_out``. Clean and absent parts bear no loss; each part is averaged over the
    samples in which it is noisy, then the two are added.

    Args:
        known: what can be said of the chips, where the model reads conditions; part of it is shown. What its
            reader takes from captions is a third part of the loss.
    """
    n, device = len(x0), x0.device
    levels = draw_levels(
        settings.policy, n, settings.image_noise, settings.mask_noise, generator, known is not None
    )
    noise = torch.randn(x0.shape, generator=generator).to(device)
    width = x0.shape[1] - IMAGE_CHANNELS
    sigma = per_channel(levels.image, levels.mask, width).to(device)
    state = per_channel(levels.image_state, levels.mask_state, width).to(device)
    x = x0 + torch.where(state == NOISY, sigma, torch.zeros_like(sigma)) * noise
    reading = 0.0
    if known is not None:
        whole = known.to(device)
        known = drop_conditions(known, settings.conditions, levels.told, generator).to(device)
        if model.reader is not None:
            logits = model.reader(whole.tokens, whole.lengths)
            reading, known = reading_loss(logits, whole), model.reader.fill(known, logits)
    out = model.raw(
        x,
        levels.image.to(device),
        levels.mask.to(device),
        levels.image_state.to(device),
        levels.mask_state.to(device),
        known,
    )
    total = sigma**2 + SIGMA_DATA**2
    target = (x0 - x * SIGMA_DATA**2 / total) * total.sqrt() / (sigma * SIGMA_DATA)
    error = ((out.float() - target) ** 2 * (state == NOISY)).mean(dim=(2, 3))  # (n, 6)
    image_n = (levels.image_state == NOISY).sum().clamp(min=1).to(device)
    mask_n = (levels.mask_state == NOISY).sum().clamp(min=1).to(device)
    image = error[:, :IMAGE_CHANNELS].mean(1).sum() / image_n
    mask = error[:, IMAGE_CHANNELS:].mean(1).sum() / mask_n
    return image + mask + reading, {"image": image.item(), "mask": mask.item()}


def train_denoiser(
    images: np.ndarray,
    maps: np.ndarray,
    settings: TrainingSettings,
    checkpoints: Path,
    device: torch.device,
    after_step: Callable[[int], None] | None = None,
    captions: TokenTable | None = None,
    start: Denoiser | None = None,
    origins: pd.DataFrame | None = None,
) -> tuple[Denoiser, pd.DataFrame, float]:
    """Train on real chips and return the averaged model, the loss curve and the seconds spent.

    Args:
        images: (n, h, w, 3) uint8 training chips.
        maps: (n, h, w) uint8, 0…6 and 255.
        checkpoints: folder for checkpoints; the newest one of the same settings, code and data is
            continued.
        after_step: called with the number of finished steps (used to test interruption).
        captions: of the chips, in their order; needed where ``settings.conditions`` names text.
        start: a trained generator whose weights, colour axes and codes are begun with; ``checkpoints`` is then
            a folder of its own (see ``generators.train_generator``).
        origins: ``sensor, season, place`` of the chips, in their order; told where conditions are and they differ.

    Raises:
        GroundsynthError: no chips, no captions where they are needed, or a loss that is no longer finite.
    """
    if len(images) == 0:
        raise GroundsynthError(
            "no training chips: the generator needs at least one; check the split of stage 01"
        )
    if settings.conditions in ("text", "both") and (captions is None or len(captions.index) != len(images)):
        raise GroundsynthError(
            f"conditions '{settings.conditions}' need a caption for each of {len(images)} training chips; describe "
            "them, or choose conditions 'shares' or 'none'"
        )
    model = copy.deepcopy(start) if start is not None else new_denoiser(images, maps, settings, origins)
    model = model.to(device)
    codes = None
    if origins is not None and model.config.origins:
        codes = torch.from_numpy(origin_codes(origins, model.config.origins))
    shares = torch.tensor(np.array([class_shares(labels) for labels in maps]), dtype=torch.float32)
    data = torch.cat([model.config.whitening.whiten(images), encode_maps(maps, model.config.codes)], dim=1)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=1e-3, fused=True
    )
    ema = EMAModel(
        model.parameters(), decay=settings.ema_decay, inv_gamma=1.0, power=0.75, use_ema_warmup=True
    )
    told = None if codes is None else origins
    path = checkpoints / settings.key(images, maps, captions, told) / "checkpoint.pt"
    moving = {"model": model, "optimiser": optimiser, "ema": ema}
    start, log, spent = resume_checkpoint(path, device, **moving)
    began = saved = time.monotonic()
    bar = tqdm(
        range(start, settings.steps), initial=start, total=settings.steps, desc="training", mininterval=5
    )
    model.train()
    for step in bar:
        generator = torch.Generator().manual_seed(derive_seed("step", settings.seed, step))
        batch, rows, turns = draw_batch(data, settings.batch_size, generator)
        known = None
        if settings.conditions != "none":
            known = _know(shares[rows], captions, rows, turns, generator)
            known = known if codes is None else replace(known, origin=codes[rows])
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * _schedule(step, settings)
        half = torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bfloat16")
        with half, plain_attention(device):
            loss, parts = diffusion_loss(model, batch.to(device), settings, generator, known)
        if not math.isfinite(loss.item()):
            raise GroundsynthError(f"loss is {loss.item()} at step {step}; lower generator.learning_rate")
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


def draw_batch(
    data: torch.Tensor, n: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draw ``n`` chips with replacement, each under one of the eight flips and right-angle turns.

    Returns:
        the chips (n, …), their rows in ``data`` (n,) and the codes of their turns (n,).
    """
    rows = torch.randint(len(data), (n,), generator=generator)
    turns = torch.randint(8, (n,), generator=generator)
    chips = [_transform(data[row], code) for row, code in zip(rows.tolist(), turns.tolist(), strict=True)]
    return torch.stack(chips), rows, turns


def _know(
    shares: torch.Tensor,
    captions: TokenTable | None,
    rows: torch.Tensor,
    turns: torch.Tensor,
    generator: torch.Generator,
) -> Conditions:
    """Return all that can be said of turned chips; shares do not turn."""
    known = replace(Conditions.none(len(rows)), shares=shares)
    if captions is None:
        return known
    tokens, lengths = captions.draw(rows, turns, generator)
    return replace(known, tokens=tokens, lengths=lengths)


def _transform(chip: torch.Tensor, code: int) -> torch.Tensor:
    turned = torch.rot90(chip, code % 4, dims=(-2, -1))
    return turned.flip(-1) if code >= 4 else turned


def _schedule(step: int, settings: TrainingSettings) -> float:
    """Linear warm-up, then cosine decay to zero at the last step."""
    warm = min(1.0, (step + 1) / max(settings.warmup_steps, 1))
    return warm * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
