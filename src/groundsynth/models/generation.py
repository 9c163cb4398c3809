"""A shard of synthetic chips: which samples, which layouts, and what each row says of itself."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL, SHARE_COLUMNS, class_shares
from groundsynth.models.denoiser import Denoiser
from groundsynth.models.sampling import SamplingSettings, sample_pairs
from groundsynth.seeds import derive_seed, rng
from groundsynth.systems import SYSTEMS_OF  # noqa: F401  (offered beside what draws them)


def shard_indices(samples: int, shards: int, shard: int) -> range:
    """Return the sample numbers of one shard; the shards together hold 0…samples−1 once each.

    Raises:
        GroundsynthError: a shard that does not exist.
    """
    if not 0 <= shard < shards:
        raise GroundsynthError(
            f"shard {shard} does not exist; generate.shards = {shards}: use 0…{shards - 1}"
        )
    return range(samples * shard // shards, samples * (shard + 1) // shards)


def draw_layouts(chips: pd.DataFrame, generator: str, indices: range) -> pd.DataFrame:
    """Draw the layout that each mask-conditional sample must obey.

    Layouts are *training* maps under one of the eight flips and right-angle turns. Only the map is
    used: the training image beside it is never seen.

    Args:
        chips: real training chips (``CHIPS['real']``).
        generator: name of the generator; with the sample's number it decides the draw.

    Returns:
        One row per sample: ``condition`` (chip id), ``condition_transform`` (0…7), ``mask``.
    """
    chips = chips.sort_values("chip_id", ignore_index=True)
    rows = []
    for index in indices:
        draw = rng("layout", generator, index)
        chip, code = chips.iloc[int(draw.integers(len(chips)))], int(draw.integers(8))
        rows.append((chip["chip_id"], code, transform_map(chip["mask"], code)))
    return pd.DataFrame(rows, columns=["condition", "condition_transform", "mask"])


def transform_map(labels: np.ndarray, code: int) -> np.ndarray:
    """Turn a map (h, w) by ``code % 4`` right angles, then mirror it left to right if ``code ≥ 4``."""
    turned = np.rot90(labels, code % 4)
    return np.ascontiguousarray(turned[:, ::-1] if code >= 4 else turned)


def generate_shard(
    model: Denoiser,
    generator: str,
    system: str,
    indices: range,
    layouts: pd.DataFrame | None,
    settings: SamplingSettings,
    device: torch.device,
    model_hash: str,
) -> pd.DataFrame:
    """Generate the samples ``indices`` of one system as chips (``CHIPS['synthetic']``).

    Args:
        layouts: from :func:`draw_layouts` for the systems that are given a map, else None.
    """
    seeds = [derive_seed("sample", generator, system, index) for index in indices]
    given = None if layouts is None else np.stack(layouts["mask"])
    images, masks = sample_pairs(model, system, seeds, settings, device, given)
    shares = np.array([class_shares(mask) for mask in masks])
    return pd.DataFrame(
        {
            "chip_id": [f"{generator}-{system}-{index:06d}" for index in indices],
            "image": list(images),
            "mask": list(masks),
            **dict(zip(SHARE_COLUMNS, shares.T, strict=True)),
            "system": system,
            "generator": generator,
            "seed": seeds,
            "condition": "" if layouts is None else layouts["condition"].to_list(),
            "condition_transform": -1 if layouts is None else layouts["condition_transform"].to_list(),
            "no_label_rate": (masks == NO_LABEL).mean(axis=(1, 2)),
            "model_hash": model_hash,
        }
    )


def hash_model(folder: Path) -> str:
    """Return 16 hex digits that change with any file of a saved model."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]
