"""A trained generator as a ``diffusers`` pipeline: a folder that ``from_pretrained`` opens and a call draws from.

>>> from groundsynth.models.pipeline import GroundsynthPipeline  # doctest: +SKIP
>>> pipe = GroundsynthPipeline.from_pretrained("unified-s0")  # doctest: +SKIP
>>> pipe().images[0], pipe(mask=labels, num_images=8).images  # doctest: +SKIP
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import ConfigMixin, DiffusionPipeline, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils import BaseOutput
from PIL import Image

from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES
from groundsynth.models.denoiser import Denoiser, build_denoiser
from groundsynth.models.sampling import sample_pairs
from groundsynth.models.solvers import SamplingSettings
from groundsynth.seeds import derive_seed
from groundsynth.systems import GIVEN_MAP, systems_of


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


class DenoiserModel(ModelMixin, ConfigMixin):
    """The denoiser as a component that saves and loads itself.

    Args:
        settings: ``asdict`` of a ``DenoiserConfig``.
        classes: the legend it was trained with.

    Raises:
        GroundsynthError: another legend than this package's.
    """

    @register_to_config
    def __init__(self, settings: dict, classes: list[str]) -> None:
        super().__init__()
        if list(classes) != list(CLASSES):
            raise GroundsynthError(
                f"this generator's legend is {', '.join(classes)}, and maps here have {', '.join(CLASSES)}; train "
                "one on this legend, or use the version it was made with"
            )
        self.denoiser = build_denoiser(settings)


class GroundsynthPipeline(DiffusionPipeline):
    """Draws satellite images with their land-cover maps, for given maps, or alone.

    Args:
        denoiser: the network.
        policy: what it was trained for (see ``systems.py``).
        sampling: ``steps, solver, sigma_range, churn, guidance``: how it draws unless a call says otherwise.
    """

    def __init__(
        self, denoiser: DenoiserModel, policy: str = "unified", sampling: dict | None = None
    ) -> None:
        super().__init__()
        self.register_modules(denoiser=denoiser)
        self.register_to_config(policy=policy, sampling=sampling)

    @classmethod
    def of(cls, denoiser: Denoiser, policy: str, settings: SamplingSettings) -> GroundsynthPipeline:
        """Return the pipeline of a trained denoiser."""
        component = DenoiserModel(asdict(denoiser.config), list(CLASSES))
        component.denoiser.load_state_dict(denoiser.state_dict())
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
            prompt: refused: these generators learned no text.
            num_images: how many, for every map if there are maps.
            seed: decides every sample together with its number.
            system: which to draw; None is ``mask`` with a map and without one the first it was trained for.

        Raises:
            GroundsynthError: a prompt, a map that does not fit, or a system that was not trained.
        """
        if prompt is not None:
            raise GroundsynthError(
                "this generator learned no text, so it takes no prompt; leave it out or give a mask"
            )
        if num_images < 1:
            raise GroundsynthError(f"num_images = {num_images} must be at least 1; ask for one or more")
        system = self._system(mask, system)
        maps = None if mask is None else _stack_maps(mask).repeat(num_images, axis=0)
        seeds = [
            derive_seed("pipeline", system, seed, k) for k in range(num_images if maps is None else len(maps))
        ]
        drawn = sample_pairs(
            self.denoiser.denoiser, system, seeds,
            self._settings(num_inference_steps, guidance_scale, batch_size), self.device, maps,
        )  # fmt: skip
        return GroundsynthOutput([Image.fromarray(image) for image in drawn[0]], drawn[1], system)

    def _system(self, mask, system: str | None) -> str:
        able = systems_of(self.config.policy, self.denoiser.denoiser.config.conditions)
        free = [name for name in able if name not in GIVEN_MAP]
        if system is None:
            system = "mask" if mask is not None else (free or able)[0]
        if system not in able:
            raise GroundsynthError(
                f"system '{system}' was not trained: policy '{self.config.policy}' draws {', '.join(able)}; ask for "
                "one of these or load another generator"
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


def _stack_maps(mask: np.ndarray | Image.Image) -> np.ndarray:
    labels = np.asarray(mask)
    if labels.ndim not in (2, 3) or not np.issubdtype(labels.dtype, np.integer):
        raise GroundsynthError(
            f"a mask of shape {labels.shape} and type {labels.dtype} is no map; give class codes (h, w) or (n, h, w)"
        )
    return labels if labels.ndim == 3 else labels[None]
