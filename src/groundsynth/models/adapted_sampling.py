"""Drawing chips with an adapted pipeline: one seed per sample, a prompt, and for a ControlNet a map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline
from torch.nn import functional as nnf

from groundsynth.artifacts import read_json
from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES, NO_LABEL, check_map
from groundsynth.models.adapters import METHODS, RECORD
from groundsynth.models.pipeline_images import draw_images
from groundsynth.models.pretrained import check_prompts, describe_architecture


def load_adapted(folder: Path, pipe: StableDiffusionPipeline) -> DiffusionPipeline:
    """Return ``pipe`` with what a fine-tuning wrote into ``folder``; ``pipe`` is changed in place.

    Raises:
        GroundsynthError: nothing there, or made for another legend or another pipeline.
    """
    record = read_json(folder / RECORD, "python -m groundsynth adapt")
    if record["classes"] != list(CLASSES):
        raise GroundsynthError(
            f"{folder}: adapted with the legend {record['classes']}, not {list(CLASSES)}; adapt it again"
        )
    mine = describe_architecture(pipe)
    odd = [name for name, value in record["architecture"].items() if mine[name] != value]
    if odd:
        raise GroundsynthError(
            f"{folder}: adapted from a pipeline whose {odd[0]} is {record['architecture'][odd[0]]}, this one's is "
            f"{mine[odd[0]]}; name the same base, or adapt this one"
        )
    try:
        return METHODS[record["settings"]["method"]].load(pipe, folder)
    except Exception as error:  # whatever the two libraries raise at a damaged file
        reason = str(error).strip().splitlines()[0][:200]
        raise GroundsynthError(f"{folder}: not a usable adapter ({reason}); adapt it again") from None


def sample_adapted(
    pipe: DiffusionPipeline,
    prompts: list[str],
    seeds: list[int],
    chip_size: int,
    size: int,
    steps: int,
    guidance: float,
    batch_size: int,
    maps: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one chip per prompt.

    Args:
        prompts: n texts; seeds: n numbers, each of which alone decides its sample's noise.
        chip_size: side of the chips; size: side the pipeline draws at.
        steps: of the DDIM solver (Song et al. 2021, arXiv:2010.02502).
        guidance: weight of classifier-free guidance (arXiv:2207.12598); 1 is none.
        maps: (n, chip_size, chip_size) uint8 to obey; needed with a ControlNet, refused otherwise.

    Returns:
        images (n, chip_size, chip_size, 3) uint8, and maps: the given ones, or all 255.

    Raises:
        GroundsynthError: an empty or overlong prompt; maps missing, unwanted, of another size or legend.
    """
    check_prompts(pipe, prompts)
    given = _check_maps(pipe, len(prompts), chip_size, maps)
    drawn = draw_images(pipe, prompts, seeds, size, steps, guidance, batch_size, given)
    chips = torch.from_numpy(drawn).permute(0, 3, 1, 2).float()
    chips = nnf.interpolate(chips, size=(chip_size, chip_size), mode="bilinear", antialias=True)
    images = chips.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return images, np.full(images.shape[:3], NO_LABEL, np.uint8) if given is None else given


def _check_maps(pipe, n: int, chip_size: int, maps: np.ndarray | None) -> np.ndarray | None:
    obeys = hasattr(pipe, "controlnet")
    if obeys != (maps is not None):
        raise GroundsynthError(
            "a pipeline with a ControlNet needs maps, one per prompt"
            if obeys
            else "this pipeline takes no maps; adapt one with method controlnet"
        )
    if maps is None:
        return None
    if maps.shape != (n, chip_size, chip_size):
        raise GroundsynthError(
            f"maps of shape {maps.shape} do not fit: {n} prompts of this pipeline need ({n}, {chip_size}, {chip_size})"
        )
    return check_map(maps, "maps to draw from")
