"""Fine-tuning a pretrained pipeline on chips and captions: resumable to the step, like every training here.

The loss is the one the pipeline was made with: the squared error of the noise (or velocity) that its
U-Net predicts in the latent space of its autoencoder (Rombach et al. 2022, arXiv:2112.10752). Chips are
enlarged to the size the pipeline draws at. Captions say where things lie, so chips are neither turned
nor mirrored.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from torch.nn import functional as nnf
from tqdm.auto import tqdm

from groundsynth.artifacts import write_json
from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES
from groundsynth.models.adapters import CLASS_PROMPT, METHODS, RECORD, Adapter, encode_text
from groundsynth.models.checkpoint import resume_checkpoint, save_checkpoint
from groundsynth.models.pipeline_images import coloured_maps, draw_images
from groundsynth.models.pretrained import context_length, describe_architecture, fit_caption, native_size
from groundsynth.seeds import derive_seed

DROPPED = 0.1  # share of captions left out
PRIOR_WEIGHT = 1.0  # of the images the untaught model drew, DreamBooth's own
MODULES = ("adapters.py", "adapting.py", "pipeline_images.py", "pretrained.py")


@dataclass(frozen=True)
class AdaptSettings:
    """Settings of one fine-tuning; the fields are those of ``config.Adapt``."""

    method: str
    seed: int
    steps: int
    batch_size: int
    learning_rate: float
    rank: int
    token: str
    prior_images: int
    size: int | None
    sampling_steps: int
    guidance: float
    log_every: int
    checkpoint_seconds: float

    def key(self, pipe: StableDiffusionPipeline, images: np.ndarray, maps: np.ndarray, captions: list) -> str:
        """Name a checkpoint by settings, code, data, and the pipeline's architecture and first weights."""
        digest = hashlib.sha256(repr((self, describe_architecture(pipe), captions)).encode())
        for name in MODULES:
            digest.update((Path(__file__).parent / name).read_bytes())
        digest.update(np.ascontiguousarray(images))
        digest.update(np.ascontiguousarray(maps))
        digest.update(next(pipe.unet.parameters()).detach().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]


@dataclass
class Adapted:
    """A finished fine-tuning."""

    adapter: Adapter
    log: pd.DataFrame
    seconds: float
    cut: int  # captions that were longer than the text encoder reads


def adapt_pipeline(
    pipe: StableDiffusionPipeline,
    images: np.ndarray,
    maps: np.ndarray,
    captions: list[str],
    settings: AdaptSettings,
    checkpoints: Path,
    device: torch.device,
    after_step: Callable[[int], None] | None = None,
) -> Adapted:
    """Fine-tune ``pipe`` by ``settings.method``; it is changed in place.

    Args:
        images: (n, h, w, 3) uint8 training chips; maps: (n, h, w) uint8, 0…6 and 255.
        captions: n descriptions.
        checkpoints: folder for checkpoints; the newest one of the same settings, code, data and
            pipeline is continued.
        after_step: called with the number of finished steps (used to test interruption).

    Raises:
        GroundsynthError: no chips, or a loss that is no longer finite.
    """
    if len(images) == 0:
        raise GroundsynthError("no training chips with captions: run stages 01 and 05 first")
    folder = checkpoints / settings.key(pipe, images, maps, captions)
    torch.manual_seed(derive_seed("weights", settings.seed))
    pipe.to(device)
    prior = _draw_prior(pipe, settings, folder) if settings.method == "dreambooth" else None
    adapter = METHODS[settings.method](pipe, settings.rank, settings.token)
    adapter.trained.to(device)
    prompts = [fit_caption(pipe, adapter.prompt(caption)) for caption in captions]
    cut = sum(adapter.prompt(c) != p for c, p in zip(captions, prompts, strict=True))
    optimiser = torch.optim.AdamW(adapter.parameters(), lr=settings.learning_rate, weight_decay=1e-2)
    moving = {"adapter": adapter, "optimiser": optimiser}
    path = folder / "checkpoint.pt"
    start, log, spent = resume_checkpoint(path, device, **moving)
    began = saved = time.monotonic()
    for step in tqdm(
        range(start, settings.steps), initial=start, total=settings.steps, desc="adapting", mininterval=5
    ):
        generator = torch.Generator().manual_seed(derive_seed("step", settings.seed, step))
        rows = torch.randint(len(images), (settings.batch_size,), generator=generator).tolist()
        texts = [_maybe_drop(prompts[row], adapter, generator) for row in rows]
        loss = _loss(pipe, adapter, images[rows], maps[rows], texts, settings, generator)
        if prior is not None:
            again = prior[torch.randint(len(prior), (settings.batch_size,), generator=generator).numpy()]
            texts = [CLASS_PROMPT] * len(again)
            loss = loss + PRIOR_WEIGHT * _loss(pipe, adapter, again, maps[rows], texts, settings, generator)
        if not math.isfinite(loss.item()):
            raise GroundsynthError(f"loss is {loss.item()} at step {step}; lower adapt.learning_rate")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(adapter.parameters(), 1.0)
        optimiser.step()
        if step % settings.log_every == 0 or step == settings.steps - 1:
            log.append({"step": step, "loss": loss.item()})
        if time.monotonic() - saved >= settings.checkpoint_seconds and step + 1 < settings.steps:
            save_checkpoint(path, step + 1, log, spent + time.monotonic() - began, **moving)
            saved = time.monotonic()
        if after_step is not None:
            after_step(step + 1)
    spent += time.monotonic() - began
    save_checkpoint(path, settings.steps, log, spent, **moving)
    return Adapted(adapter, pd.DataFrame(log, columns=["step", "loss"]), spent, cut)


def save_adapted(adapted: Adapted, settings: AdaptSettings, folder: Path, chip_size: int) -> None:
    """Write what was trained, and a record of what it fits."""
    adapted.adapter.save(folder)
    record = {
        "settings": asdict(settings),
        "architecture": describe_architecture(adapted.adapter.pipe),
        "classes": list(CLASSES),
        "chip_size": chip_size,
    }
    write_json(folder / RECORD, record)


def draw_size(pipe: StableDiffusionPipeline, settings: AdaptSettings) -> int:
    """Return the side in pixels that the pipeline trains and draws at.

    Raises:
        GroundsynthError: a size the autoencoder and the U-Net cannot halve often enough.
    """
    size = settings.size or native_size(pipe)
    step = pipe.vae_scale_factor * 2 ** (len(pipe.unet.config.block_out_channels) - 1)
    if size % step:
        raise GroundsynthError(
            f"adapt.size {size} is no multiple of {step}, which this pipeline needs; change it"
        )
    return size


def _loss(pipe, adapter, images, maps, texts, settings, generator) -> torch.Tensor:
    size, device = draw_size(pipe, settings), pipe.unet.device
    chips = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    chips = nnf.interpolate(chips, size=(size, size), mode="bilinear", antialias=True).to(device)
    with torch.no_grad():
        latents = pipe.vae.encode(chips).latent_dist.sample(generator) * pipe.vae.config.scaling_factor
    noise = torch.randn(latents.shape, generator=generator).to(device)
    scheduler = DDPMScheduler.from_config(pipe.scheduler.config)
    t = torch.randint(scheduler.config.num_train_timesteps, (len(chips),), generator=generator).to(device)
    text = encode_text(pipe, texts, context_length(pipe))
    control = coloured_maps(maps, size).to(device)
    out = adapter.predict(scheduler.add_noise(latents, noise, t), t, text, control)
    velocity = scheduler.config.prediction_type == "v_prediction"
    target = scheduler.get_velocity(latents, noise, t) if velocity else noise
    return nnf.mse_loss(out, target)


def _maybe_drop(prompt: str, adapter: Adapter, generator: torch.Generator) -> str:
    dropped = torch.rand((), generator=generator).item() < DROPPED
    return "" if dropped and adapter.drops_text else prompt


def _draw_prior(pipe: StableDiffusionPipeline, settings: AdaptSettings, folder: Path) -> np.ndarray | None:
    """Return images the untaught model draws of the class, (n, s, s, 3) uint8; drawn once and kept."""
    if not settings.prior_images:
        return None
    path = folder / "prior.npy"
    if not path.is_file():
        seeds = [derive_seed("prior", settings.seed, index) for index in range(settings.prior_images)]
        size = draw_size(pipe, settings)
        drawn = draw_images(
            pipe,
            [CLASS_PROMPT] * len(seeds),
            seeds,
            size,
            settings.sampling_steps,
            settings.guidance,
            settings.batch_size,
        )
        folder.mkdir(parents=True, exist_ok=True)
        np.save(path, drawn)
    return np.load(path)
