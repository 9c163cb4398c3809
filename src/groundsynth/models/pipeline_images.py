"""Images out of a text-to-image pipeline, and maps as the pictures that steer it."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import DDIMScheduler, DiffusionPipeline
from torch.nn import functional as nnf
from tqdm.auto import tqdm

from groundsynth.legend import colour_map


def draw_images(
    pipe: DiffusionPipeline,
    prompts: list[str],
    seeds: list[int],
    size: int,
    steps: int,
    guidance: float,
    batch_size: int,
    maps: np.ndarray | None = None,
) -> np.ndarray:
    """Return images at the pipeline's own size, (n, size, size, 3) uint8."""
    pipe.set_progress_bar_config(disable=True)
    before, pipe.scheduler = pipe.scheduler, DDIMScheduler.from_config(pipe.scheduler.config)
    drawn = []
    for start in tqdm(range(0, len(prompts), batch_size), desc="sampling text", mininterval=5):
        part = slice(start, start + batch_size)
        control = {} if maps is None else {"image": coloured_maps(maps[part], size).to(pipe.unet.device)}
        drawn.append(
            pipe(
                prompts[part],
                height=size,
                width=size,
                num_inference_steps=steps,
                guidance_scale=guidance,
                generator=[torch.Generator().manual_seed(seed) for seed in seeds[part]],
                output_type="np",
                **control,
            ).images
        )
    pipe.scheduler = before
    return np.rint(np.concatenate(drawn) * 255).clip(0, 255).astype(np.uint8)


def coloured_maps(maps: np.ndarray, size: int) -> torch.Tensor:
    """Return maps (n, h, w) in the legend's colours, enlarged: (n, 3, size, size) in [0, 1]."""
    colours = torch.from_numpy(colour_map(maps)).permute(0, 3, 1, 2).float() / 255
    return nnf.interpolate(colours, size=(size, size), mode="nearest")
