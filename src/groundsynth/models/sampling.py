"""Drawing samples: one network, one solver, four published systems by what is held clean, absent or asked for.

``joint`` denoises image and map together, ``mask`` denoises the image beside a clean map, ``image``
denoises the image with no map at all, ``text`` denoises both as ``joint`` does, beside a caption or class
shares. Two more uses come with the same weights: :func:`segment` denoises
the map beside a clean image, :func:`draw_maps` the map beside an image that is all noise. The starting
noise of a sample comes from a generator seeded by its own id, and so does any noise a solver adds: a
sample depends on its seed and its condition, not on the batch, the shard or the device count it was
drawn in.

Where the network has learned images without maps, a pair's image can be guided by its own map, as UniDiffuser guides
what it draws jointly by what it knows of each part alone (Bao et al. 2023, https://arxiv.org/abs/2303.06555, section
3.3): more of the difference that the map makes. A network of one policy has nothing to compare with.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from tqdm.auto import tqdm

from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL, NUM_CLASSES
from groundsynth.models.bits import decode_bits, encode_maps
from groundsynth.models.conditions import Conditions, check_conditions
from groundsynth.models.denoiser import IMAGE_CHANNELS, Denoiser
from groundsynth.models.gan_sampling import GENERATORS, latent_walk, sample_gan
from groundsynth.models.noise import ABSENT, CLEAN, NOISY
from groundsynth.models.solvers import SampleNoise, SamplingSettings, clean_belief, raw_output, solve
from groundsynth.models.steering import hold_shares
from groundsynth.seeds import derive_seed
from groundsynth.systems import ASKED, GIVEN_MAP, PAIRS, systems_of

PAIR_GUIDED = (0.5, 10.0)  # levels at which a pair's map guides its image: above, the map is not there to
# follow yet; below, only texture is left (guidance in a limited interval: Kynkäänniemi et al. 2024,
# https://arxiv.org/abs/2404.07724)
STATES = {
    "joint": (NOISY, NOISY),
    "mask": (NOISY, CLEAN),
    "image": (NOISY, ABSENT),
    "text": (NOISY, NOISY),
    "segment": (CLEAN, NOISY),
    "layout": (NOISY, NOISY),  # the image stays at the highest level
}
IMAGE, MAP = slice(0, IMAGE_CHANNELS), slice(IMAGE_CHANNELS, None)
MOVING = {
    "joint": slice(None),
    "text": slice(None),
    "mask": IMAGE,
    "image": IMAGE,
    "segment": MAP,
    "layout": MAP,
}


def sample_pairs(
    model: Denoiser,
    system: str,
    seeds: list[int],
    settings: SamplingSettings,
    device: torch.device,
    maps: np.ndarray | None = None,
    conditions: Conditions | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Generate one pair per seed.

    Args:
        system: ``joint``, ``mask``, ``image`` or ``text``; for a GAN its own, ``spade`` or ``joint_gan``.
        seeds: one seed per sample.
        maps: (n, h, w) uint8 maps to obey; needed for ``mask`` and ``spade``, refused otherwise.
        conditions: what each sample is asked for; needed for ``text``, refused otherwise.

    Returns:
        images (n, h, w, 3) uint8 and maps (n, h, w) uint8: generated, given, or all 255.

    Raises:
        GroundsynthError: an unknown system, maps or conditions missing, unwanted, or unfit.
    """
    _check_maps(model, system, len(seeds), maps)
    _check_asked(model, system, len(seeds), conditions)
    if system in GENERATORS:
        return sample_gan(model, seeds, settings.batch_size, device, maps)
    images, masks = [], []
    starts = range(0, len(seeds), settings.batch_size)
    for start in tqdm(starts, desc=f"sampling {system}", mininterval=5):
        part = slice(start, start + settings.batch_size)
        given = None if maps is None else maps[part]
        asked = None if conditions is None else conditions[part].to(device)
        x = _sample_batch(model, system, seeds[part], settings, device, _encode(model, given), asked=asked)
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
    conditions: Conditions | None = None,
) -> tuple[list[float], np.ndarray]:
    """Return what the model believes one sample's image to be at every solver step.

    A GAN draws in one pass and has no such path: it shows a walk from this sample to another.

    Returns:
        the noise levels, highest first (for a GAN the way gone, 0 to 1), and the images
        (steps, h, w, 3) uint8.
    """
    _check_maps(model, system, 1, maps)
    _check_asked(model, system, 1, conditions)
    if system in GENERATORS:
        return latent_walk(model, (seed, derive_seed("walk", seed)), settings.steps, device, maps)
    sigmas, beliefs = [], []

    def watch(sigma: float, clean: torch.Tensor) -> None:
        sigmas.append(sigma)
        beliefs.append(model.config.whitening.restore(clean[:, :IMAGE_CHANNELS])[0])

    asked = None if conditions is None else conditions.to(device)
    _sample_batch(model, system, [seed], settings, device, _encode(model, maps), watch, asked)
    return sigmas, np.stack(beliefs)


def segment(
    model: Denoiser, images: np.ndarray, seeds: list[int], settings: SamplingSettings, device: torch.device
) -> np.ndarray:
    """Read the maps off images: the model's own use as a segmenter, one draw per image.

    Args:
        images: (n, h, w, 3) uint8 of the chip size the model was trained at.
        seeds: one per image.

    Returns:
        (n, h, w) uint8, 0…6 and 255 for the code of 'no label'.

    Raises:
        GroundsynthError: images of another size or type.
    """
    size = model.config.chip_size
    if images.shape != (len(seeds), size, size, 3) or images.dtype != np.uint8:
        raise GroundsynthError(
            f"images of shape {images.shape} and type {images.dtype} do not fit: {len(seeds)} readings of this "
            f"generator need ({len(seeds)}, {size}, {size}, 3) uint8"
        )
    return _sample_maps(model, "segment", seeds, settings, device, model.config.whitening.whiten(images))


def redraw_region(
    model: Denoiser,
    images: np.ndarray,
    maps: np.ndarray,
    regions: np.ndarray,
    seeds: list[int],
    settings: SamplingSettings,
    device: torch.device,
) -> np.ndarray:
    """Draw part of real images anew, for their maps; every pixel outside stays as it is.

    At each level the belief of the clean image is overwritten with the real one outside the region, so that
    what is drawn inside continues it (replacement, as in Lugmayr et al. 2022, https://arxiv.org/abs/2201.09865,
    without its resampling).

    Args:
        images: (n, h, w, 3) uint8; maps: (n, h, w) uint8; regions: (n, h, w) bool, true where to draw.

    Returns:
        (n, h, w, 3) uint8.

    Raises:
        GroundsynthError: maps of another size or legend, or a generator that takes none.
    """
    _check_maps(model, "mask", len(seeds), maps)
    drawn = []
    for start in tqdm(range(0, len(seeds), settings.batch_size), desc="redrawing", mininterval=5):
        part = slice(start, start + settings.batch_size)
        kept = model.config.whitening.whiten(images[part]), torch.from_numpy(~regions[part])[:, None]
        held = _encode(model, maps[part])
        x = _sample_batch(model, "mask", seeds[part], settings, device, held, kept=kept)
        drawn.append(model.config.whitening.restore(x[:, :IMAGE_CHANNELS]))
    return np.where(regions[..., None], np.concatenate(drawn), images)


def draw_maps(
    model: Denoiser, seeds: list[int], settings: SamplingSettings, device: torch.device
) -> np.ndarray:
    """Draw maps alone, (n, h, w) uint8, one per seed: the image beside them is all noise throughout."""
    return _sample_maps(model, "layout", seeds, settings, device, None)


def _sample_maps(model, use, seeds, settings, device, held: torch.Tensor | None) -> np.ndarray:
    maps = []
    starts = range(0, len(seeds), settings.batch_size)
    for start in tqdm(starts, desc=f"sampling {use}", mininterval=5):
        part = slice(start, start + settings.batch_size)
        x = _sample_batch(model, use, seeds[part], settings, device, None if held is None else held[part])
        maps.append(decode_bits(x[:, MAP], model.config.codes))
    return np.concatenate(maps)


@torch.no_grad()
def _sample_batch(
    model: Denoiser,
    use: str,
    seeds: list[int],
    settings: SamplingSettings,
    device: torch.device,
    held: torch.Tensor | None,
    watch: Callable[[float, torch.Tensor], None] | None = None,
    asked: Conditions | None = None,
    kept: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> torch.Tensor:
    """Return (n, c, h, w): what moved, sampled, beside what was held.

    Args:
        held: clean channels of that part, (n, c, h, w), where a part is held clean.
        asked: what the samples are asked for.
        kept: clean channels of the part that moves, and (n, 1, h, w) bool where they are known.
    """
    noise = SampleNoise(seeds, model.config.chip_size, device)
    x = noise.draw(model.config.data_channels)
    first, moving = x[:, MOVING[use]].clone(), MOVING[use]
    highest = settings.sigma_range[1]
    if use == "layout":
        x[:, IMAGE] *= highest
    elif held is not None:
        x[:, MAP if moving == IMAGE else IMAGE] = held.to(device)
    image_state, mask_state = STATES[use]
    if asked is not None and model.reader is not None:
        asked = model.reader.fill(asked)

    def ask(part: torch.Tensor, sigma: float, mask_state: int, asked: Conditions | None) -> torch.Tensor:
        x[:, moving] = part
        level = torch.full((len(x),), sigma, device=device)
        beside = torch.full_like(level, highest) if use == "layout" else level
        states = [torch.full((len(x),), state, device=device) for state in (image_state, mask_state)]
        return model.raw(x, beside, level, *states, asked)[:, moving]

    def guided(part: torch.Tensor, sigma: float) -> torch.Tensor:
        out = plain = ask(part, sigma, mask_state, asked)
        if settings.guidance != 1 and (mask_state == CLEAN or asked is not None):
            free = ask(part, sigma, ABSENT if mask_state == CLEAN else mask_state, None)
            out = free + settings.guidance * (plain - free)
        if settings.pair_guidance != 1 and use in PAIRS and PAIR_GUIDED[0] <= sigma <= PAIR_GUIDED[1]:
            image = plain[:, IMAGE] - ask(part, sigma, ABSENT, asked)[:, IMAGE]
            out = torch.cat([out[:, IMAGE] + (settings.pair_guidance - 1) * image, out[:, MAP]], 1)
        return out

    def predict(part: torch.Tensor, sigma: float) -> torch.Tensor:
        out = guided(part, sigma)
        if settings.hold_shares and asked is not None:
            clean = clean_belief(part, out, sigma)
            clean[:, MAP] = hold_shares(clean[:, MAP], asked.shares, model.config.codes)
            out = raw_output(part, clean, sigma)
        if kept is None:
            return out
        clean, known = (tensor.to(device) for tensor in kept)
        return torch.where(known, raw_output(part, clean, sigma), out)

    x[:, moving] = solve(predict, first, noise, settings, watch)
    return x


def _encode(model: Denoiser, maps: np.ndarray | None) -> torch.Tensor | None:
    return None if maps is None else encode_maps(maps, model.config.codes)


def _read_maps(x: torch.Tensor, system: str, given: np.ndarray | None, codes: tuple[int, ...]) -> np.ndarray:
    if system in PAIRS:
        return decode_bits(x[:, IMAGE_CHANNELS:], codes)
    if system == "mask":
        return given
    return np.full((len(x), *x.shape[2:]), NO_LABEL, np.uint8)


def _check_asked(model: Denoiser, system: str, n: int, conditions: Conditions | None) -> None:
    if (conditions is not None) != (system in ASKED):
        needs = "needs conditions to be asked for" if conditions is None else "takes no conditions"
        raise GroundsynthError(f"system '{system}' {needs}")
    if conditions is not None:
        check_conditions(conditions, n, model.config.conditions, model.config.origins)


def _check_maps(model: Denoiser, system: str, n: int, maps: np.ndarray | None) -> None:
    if isinstance(model, Denoiser):
        known = systems_of("unified", model.config.conditions)
    else:
        known = (model.config.system,)
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
