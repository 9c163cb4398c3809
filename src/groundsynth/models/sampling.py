"""Drawing samples: one network, one solver, three published systems by what is held clean or absent.

``joint`` denoises image and map together, ``mask`` denoises the image beside a clean map, ``image``
denoises the image with no map at all. The starting noise of a sample comes from a generator seeded
by its own id, and the ODE solver adds none: a sample depends on its seed and its map, not on the
batch, the shard or the device count it was drawn in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import EDMDPMSolverMultistepScheduler, EDMEulerScheduler
from tqdm.auto import tqdm

from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL, NUM_CLASSES
from groundsynth.models.bits import decode_bits, encode_maps
from groundsynth.models.colour import SIGMA_DATA
from groundsynth.models.denoiser import CHANNELS, IMAGE_CHANNELS, Denoiser
from groundsynth.models.gan_sampling import GENERATORS, latent_walk, sample_gan
from groundsynth.models.noise import ABSENT, CLEAN, NOISY
from groundsynth.seeds import derive_seed
from groundsynth.systems import GIVEN_MAP

STATES = {"joint": (NOISY, NOISY), "mask": (NOISY, CLEAN), "image": (NOISY, ABSENT)}
SOLVERS = {"dpmpp_2m": EDMDPMSolverMultistepScheduler, "euler": EDMEulerScheduler}


@dataclass(frozen=True)
class SamplingSettings:
    """How the ODE is solved: number of steps, solver, lowest and highest sigma, batch size."""

    steps: int
    solver: str
    sigma_range: tuple[float, float]
    batch_size: int

    def scheduler(self):
        """Return a ``diffusers`` scheduler in EDM's formulation (Karras et al. 2022, eq. 5)."""
        low, high = self.sigma_range
        scheduler = SOLVERS[self.solver](
            sigma_min=low, sigma_max=high, sigma_data=SIGMA_DATA, prediction_type="epsilon"
        )
        scheduler.set_timesteps(self.steps)
        return scheduler


def sample_pairs(
    model: Denoiser,
    system: str,
    seeds: list[int],
    settings: SamplingSettings,
    device: torch.device,
    maps: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Generate one pair per seed.

    Args:
        system: ``joint``, ``mask`` or ``image``; for a GAN its own, ``spade`` or ``joint_gan``.
        seeds: one seed per sample.
        maps: (n, h, w) uint8 maps to obey; needed for ``mask`` and ``spade``, refused otherwise.

    Returns:
        images (n, h, w, 3) uint8 and maps (n, h, w) uint8: generated, given, or all 255.

    Raises:
        GroundsynthError: an unknown system, maps missing, unwanted, or of another size or legend.
    """
    _check_maps(model, system, len(seeds), maps)
    if system in GENERATORS:
        return sample_gan(model, seeds, settings.batch_size, device, maps)
    images, masks = [], []
    starts = range(0, len(seeds), settings.batch_size)
    for start in tqdm(starts, desc=f"sampling {system}", mininterval=5):
        part = slice(start, start + settings.batch_size)
        given = None if maps is None else maps[part]
        x = _sample_batch(model, system, seeds[part], settings, device, given)
        images.append(model.config.whitening.restore(x[:, :IMAGE_CHANNELS]))
        masks.append(_read_maps(x, system, given, model.config.codes))
    return np.concatenate(images), np.concatenate(masks)


def sample_path(
    model: Denoiser,
    system: str,
    seed: int,
    settings: SamplingSettings,
    device: torch.device,
    maps: np.ndarray | None = None,
) -> tuple[list[float], np.ndarray]:
    """Return what the model believes one sample's image to be at every solver step.

    A GAN draws in one pass and has no such path: it shows a walk from this sample to another.

    Returns:
        the noise levels, highest first (for a GAN the way gone, 0 to 1), and the images
        (steps, h, w, 3) uint8.
    """
    _check_maps(model, system, 1, maps)
    if system in GENERATORS:
        return latent_walk(model, (seed, derive_seed("walk", seed)), settings.steps, device, maps)
    sigmas, beliefs = [], []

    def watch(sigma: float, x: torch.Tensor, out: torch.Tensor) -> None:
        total = sigma**2 + SIGMA_DATA**2
        clean = x * SIGMA_DATA**2 / total + out * sigma * SIGMA_DATA / total**0.5
        sigmas.append(sigma)
        beliefs.append(model.config.whitening.restore(clean[:, :IMAGE_CHANNELS])[0])

    _sample_batch(model, system, [seed], settings, device, maps, watch)
    return sigmas, np.stack(beliefs)


@torch.no_grad()
def _sample_batch(model, system, seeds, settings, device, maps, watch=None) -> torch.Tensor:
    size, n = model.config.chip_size, len(seeds)
    scheduler = settings.scheduler()
    noise = [torch.randn(CHANNELS, size, size, generator=torch.Generator().manual_seed(s)) for s in seeds]
    x = torch.stack(noise).to(device) * scheduler.init_noise_sigma
    image_state, mask_state = STATES[system]
    if mask_state == CLEAN:
        x[:, IMAGE_CHANNELS:] = encode_maps(maps, model.config.codes).to(device)
    states = [torch.full((n,), state, device=device) for state in (image_state, mask_state)]
    moving = CHANNELS if mask_state == NOISY else IMAGE_CHANNELS
    for sigma, t in zip(scheduler.sigmas[:-1].tolist(), scheduler.timesteps, strict=True):
        level = torch.full((n,), sigma, device=device)
        out = model.raw(x, level, level, *states)
        if watch is not None:
            watch(sigma, x, out)
        step = scheduler.step(out[:, :moving], t, x[:, :moving]).prev_sample
        x = torch.cat([step, x[:, moving:]], dim=1)
    return x


def _read_maps(x: torch.Tensor, system: str, given: np.ndarray | None, codes: tuple[int, ...]) -> np.ndarray:
    if system == "joint":
        return decode_bits(x[:, IMAGE_CHANNELS:], codes)
    if system == "mask":
        return given
    return np.full((len(x), *x.shape[2:]), NO_LABEL, np.uint8)


def _check_maps(model: Denoiser, system: str, n: int, maps: np.ndarray | None) -> None:
    known = STATES if isinstance(model, Denoiser) else (model.config.system,)
    if system not in known:
        raise GroundsynthError(
            f"system '{system}' does not exist in this generator; choose one of {', '.join(known)}"
        )
    if (maps is not None) != (system in GIVEN_MAP):
        raise GroundsynthError(f"system '{system}' {'needs' if maps is None else 'takes no'} maps")
    if maps is None:
        return
    size = model.config.chip_size
    if maps.shape != (n, size, size):
        raise GroundsynthError(
            f"maps of shape {maps.shape} do not fit: {n} samples of this generator need ({n}, {size}, {size})"
        )
    unknown = np.setdiff1d(maps, (*range(NUM_CLASSES), NO_LABEL))
    if unknown.size:
        raise GroundsynthError(f"map value {unknown[0]} is not in this generator's legend; remap it first")
