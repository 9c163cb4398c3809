"""A shard of synthetic chips: which samples, and what each row says of itself."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from groundsynth.artifacts import TABLES
from groundsynth.config import Generate
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL, SHARE_COLUMNS, class_shares
from groundsynth.models.asked import request_of
from groundsynth.models.denoiser import Denoiser
from groundsynth.models.sampling import SamplingSettings, sample_pairs
from groundsynth.seeds import derive_seed
from groundsynth.systems import GUIDED


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


def sampling_of(generate: Generate, policy: str, **changes: object) -> SamplingSettings:
    """Return how a study draws samples from a generator of this policy, but for ``changes``."""
    named = {field.name: getattr(generate, field.name, None) for field in fields(SamplingSettings)}
    named["pair_guidance"] = pair_guidance_of(policy, generate.pair_guidance)
    named |= {"steps": generate.sampling_steps, "sigma_range": tuple(generate.sigma_range)}
    return SamplingSettings(**named | changes)


def pair_guidance_of(policy: str, wanted: float) -> float:
    """Return how strongly a pair's map guides its image: 1 where the policy did not learn images without maps."""
    return wanted if policy in GUIDED else 1.0


def generate_shard(
    model: Denoiser,
    generator: str,
    system: str,
    indices: range,
    layouts: pd.DataFrame | None,
    settings: SamplingSettings,
    device: torch.device,
    model_hash: str,
    asked: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Generate the samples ``indices`` of one system as chips (``CHIPS['synthetic']``).

    Args:
        layouts: from :func:`groundsynth.models.given_maps.give_maps` for the systems that are given a map, else None.
        asked: from :func:`groundsynth.models.asked.ask` for system ``text``, else None.
    """
    seeds = [derive_seed("sample", generator, system, index) for index in indices]
    given = None if layouts is None else np.stack(layouts["mask"])
    request = None if asked is None else request_of(asked, model.config.origins)
    images, masks = sample_pairs(model, system, seeds, settings, device, given, request)
    about = asked if layouts is None else layouts
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
            "condition": "" if about is None else about["condition"].to_list(),
            "condition_transform": -1 if about is None else about["condition_transform"].to_list(),
            "no_label_rate": (masks == NO_LABEL).mean(axis=(1, 2)),
            "model_hash": model_hash,
        }
    )


def asked_table(chips: pd.DataFrame, asked: pd.DataFrame | None) -> pd.DataFrame:
    """Return what each chip was asked for (table ``asked``); no rows for a system that is asked nothing."""
    if asked is None:
        return pd.DataFrame(columns=list(TABLES["asked"].columns))
    kept = [name for name in TABLES["asked"].columns if name != "chip_id"]
    return asked[kept].reset_index(drop=True).assign(chip_id=chips["chip_id"].to_numpy())


def hash_model(folder: Path) -> str:
    """Return 16 hex digits that change with any file of a saved model, in folders below it too."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]
