"""A trained generator as a ``diffusers`` pipeline: a folder that ``from_pretrained`` opens and a call draws from.

>>> from groundsynth.models.pipeline import GroundsynthPipeline  # doctest: +SKIP
>>> pipe = GroundsynthPipeline.from_pretrained("unified-s0")  # doctest: +SKIP
>>> pipe().images[0], pipe(mask=labels, num_images=8).images  # doctest: +SKIP
>>> pipe(prompt="A lake in the north. The rest is forest.").maps  # doctest: +SKIP
>>> pipe(shares={"water": 0.2, "tree cover": 0.8}).maps  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import ConfigMixin, DiffusionPipeline, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils import BaseOutput
from PIL import Image
from torch import nn

from groundsynth.data.scene_origins import check_origin
from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES, NUM_CLASSES
from groundsynth.models.asked import conditions_of, parse_shares
from groundsynth.models.conditions import Conditions
from groundsynth.models.denoiser import Denoiser, build_denoiser
from groundsynth.models.gan_sampling import build_gan
from groundsynth.models.sampling import sample_pairs
from groundsynth.models.sentence_tokens import check_prompt
from groundsynth.models.solvers import SamplingSettings
from groundsynth.seeds import derive_seed
from groundsynth.systems import ASKED, GIVEN_MAP, systems_of


@dataclass
class GroundsynthOutput(BaseOutput):
    """What a call returns.

    Attributes:
        images: PIL pictures.
        maps: (n, h, w) uint8: generated or given; 255 everywhere where the system makes none.
        system: which was drawn.
    """

    images: list[Image.Image]
    maps: np.ndarray
    system: str


class _Model(ModelMixin, ConfigMixin):
    """A generator's network as a component that saves and loads itself.

    Args:
        settings: ``asdict`` of the network's config.
        classes: the legend it was trained with.

    Raises:
        GroundsynthError: another legend than this package's.
    """

    def __init__(self, settings: dict, classes: list[str]) -> None:
        super().__init__()
        if list(classes) != list(CLASSES):
            raise GroundsynthError(
                f"this generator's legend is {', '.join(classes)}, and maps here have {', '.join(CLASSES)}; train "
                "one on this legend, or use the version it was made with"
            )
        self.network = self.build(settings)


class DenoiserModel(_Model):
    """A denoiser (see ``denoiser.DenoiserConfig``)."""

    build = staticmethod(build_denoiser)

    @register_to_config
    def __init__(self, settings: dict, classes: list[str]) -> None:
        super().__init__(settings, classes)


class GanModel(_Model):
    """The generator of a GAN (see ``gan.GanConfig``)."""

    build = staticmethod(build_gan)

    @register_to_config
    def __init__(self, settings: dict, classes: list[str]) -> None:
        super().__init__(settings, classes)


class GroundsynthPipeline(DiffusionPipeline):
    """Draws satellite images with their land-cover maps, as asked for, for given maps, or alone.

    Args:
        generator: the network, a denoiser's or a GAN's.
        policy: what it was trained for (see ``systems.py``).
        sampling: ``steps, solver, sigma_range, churn, guidance, hold_shares, pair_guidance``: how it draws unless a call says otherwise.
    """

    def __init__(
        self, generator: DenoiserModel | GanModel, policy: str = "unified", sampling: dict | None = None
    ) -> None:
        super().__init__()
        self.register_modules(generator=generator)
        self.register_to_config(policy=policy, sampling=sampling)

    @classmethod
    def of(cls, network: nn.Module, policy: str, settings: SamplingSettings) -> GroundsynthPipeline:
        """Return the pipeline of a trained generator."""
        kind = DenoiserModel if isinstance(network, Denoiser) else GanModel
        component = kind(asdict(network.config), list(CLASSES))
        component.network.load_state_dict(network.state_dict())
        sampling = {k: v for k, v in asdict(settings).items() if k != "batch_size"}
        return cls(component.eval(), policy, sampling)

    @classmethod
    def from_pretrained(cls, folder: str | Path, **options) -> GroundsynthPipeline:
        """Return the pipeline saved in a folder, or under an id of the model hub.

        Raises:
            GroundsynthError: no pipeline there, or weights of another architecture.
        """
        try:
            return super().from_pretrained(str(folder), **options)
        except (OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise GroundsynthError(
                f"{folder}: not a usable generator ({reason}); make one with: python -m groundsynth export-generator"
            ) from None

    @torch.no_grad()
    def __call__(
        self,
        mask: np.ndarray | Image.Image | None = None,
        prompt: str | None = None,
        shares: Mapping[str, float] | None = None,
        origin: Mapping[str, str] | None = None,
        num_images: int = 1,
        seed: int = 0,
        system: str | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        batch_size: int = 64,
    ) -> GroundsynthOutput:
        """Draw images.

        Args:
            mask: (h, w) map to obey, or (n, h, w) several; 0…6, and 255 for no label.
            prompt: a description to draw a pair for, where the generator learned text; sentences such as the
                layout writer's are what it knows.
            shares: class shares to draw a pair for, by class name, where it learned those; they sum to 1.
            origin: where the pair should be from, by ``sensor``, ``season`` and ``place``, in names that the generator was
                trained on.
            num_images: how many, for every map if there are maps.
            seed: decides every sample together with its number.
            system: which to draw; None is ``mask`` with a map, ``text`` with a prompt or shares, and without
                either the first it was trained for.

        Raises:
            GroundsynthError: a prompt, shares, an origin or a map that do not fit, or a system that was not trained.
        """
        if num_images < 1:
            raise GroundsynthError(f"num_images = {num_images} must be at least 1; ask for one or more")
        asked = self._request(mask, prompt, shares, origin)
        system = self._system(mask, system, asked is not None)
        maps = None if mask is None else _stack_maps(mask).repeat(num_images, axis=0)
        seeds = [
            derive_seed("pipeline", system, seed, k) for k in range(num_images if maps is None else len(maps))
        ]
        drawn = sample_pairs(
            self.generator.network, system, seeds,
            self._settings(num_inference_steps, guidance_scale, batch_size), self.device, maps,
            conditions=_repeat(asked, len(seeds)) if system in ASKED else None,
        )  # fmt: skip
        return GroundsynthOutput([Image.fromarray(image) for image in drawn[0]], drawn[1], system)

    def _request(
        self,
        mask,
        prompt: str | None,
        shares: Mapping[str, float] | None,
        origin: Mapping[str, str] | None = None,
    ) -> Conditions | None:
        """Return what one sample is asked for, or None if nothing is."""
        config = self.generator.network.config
        known, codes = config.conditions, check_origin(origin, config.origins)
        for name, given, part in (("prompt", prompt, "text"), ("shares", shares, "shares")):
            if given is None:
                continue
            if known not in (part, "both"):
                what = "no text" if part == "text" else "no class shares"
                other = {"shares": "shares or ", "text": "a prompt or "}.get(known, "")
                raise GroundsynthError(
                    f"this generator learned {what}, so it takes no {name}; leave it out or give {other}a mask"
                )
            if mask is not None:
                raise GroundsynthError(
                    f"a mask and {name} were given, and a map says all that {name} could; give one of them"
                )
        if mask is not None and origin:
            raise GroundsynthError(
                "a mask and an origin were given, and only pairs are asked for an origin; give one"
            )
        if prompt is None and shares is None and not origin:
            return None
        row = np.full(NUM_CLASSES, np.nan) if shares is None else parse_shares(shares)
        request = conditions_of(["" if prompt is None else check_prompt(prompt)], row[None])
        return replace(request, origin=torch.from_numpy(codes))

    def _system(self, mask, system: str | None, asked: bool) -> str:
        able = systems_of(self.config.policy, self.generator.network.config.conditions)
        free = [name for name in able if name not in GIVEN_MAP]
        given = [name for name in able if name in GIVEN_MAP] or ["mask"]
        if system is None:
            system = "text" if asked else given[0] if mask is not None else (free or able)[0]
        if system not in able:
            raise GroundsynthError(
                f"system '{system}' was not trained: policy '{self.config.policy}' draws {', '.join(able)}; ask for "
                "one of these or load another generator"
            )
        if asked and system not in ASKED:
            raise GroundsynthError(
                f"system '{system}' is asked for nothing; leave system out, or prompt and shares"
            )
        if mask is None and system in GIVEN_MAP:
            raise GroundsynthError(f"system '{system}' needs a map to obey; give mask=…")
        return system

    def _settings(self, steps: int | None, guidance: float | None, batch_size: int) -> SamplingSettings:
        saved = dict(self.config.sampling) | {"batch_size": batch_size}
        settings = SamplingSettings(**saved | {"sigma_range": tuple(saved["sigma_range"])})
        if steps is not None and steps < 1:
            raise GroundsynthError(
                f"num_inference_steps = {steps} must be at least 1; the default is {settings.steps}"
            )
        return replace(
            settings,
            steps=settings.steps if steps is None else steps,
            guidance=settings.guidance if guidance is None else guidance,
        )


def _repeat(asked: Conditions | None, n: int) -> Conditions:
    """Return one request n times, or n that ask for nothing."""
    return Conditions.none(n) if asked is None else asked[torch.zeros(n, dtype=torch.long)]


def _stack_maps(mask: np.ndarray | Image.Image) -> np.ndarray:
    labels = np.asarray(mask)
    if labels.ndim not in (2, 3) or not np.issubdtype(labels.dtype, np.integer):
        raise GroundsynthError(
            f"a mask of shape {labels.shape} and type {labels.dtype} is no map; give class codes (h, w) or (n, h, w)"
        )
    return labels if labels.ndim == 3 else labels[None]
