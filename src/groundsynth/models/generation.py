"""A shard of synthetic chips: which samples, and what each row says of itself."""

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
from groundsynth.seeds import derive_seed


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
        layouts: from :func:`groundsynth.models.given_maps.give_maps` for the systems that are given a map, else None.
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
    """Return 16 hex digits that change with any file of a saved model, in folders below it too."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]
