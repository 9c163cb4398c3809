"""The image-only writer of stage 05: trained on real training chips, its kind chosen on validation.

Its encoder may start from the labeller of stage 04, which has learnt from the same real training blocks and no
others; nothing of the held-out blocks is in it but the choice of its checkpoint on validation.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from groundsynth.artifacts import read_json, remake_command
from groundsynth.captioning.validation import all_views, claim_score
from groundsynth.captions.layout import describe_layout
from groundsynth.captions.rich_layout import describe_richly
from groundsynth.models.captioner import Captioner, CaptionerShape
from groundsynth.models.captioner_training import CaptionerTraining, Describe, train_captioner
from groundsynth.models.segmenter import Segmenter, load_segmenter, make_pool

DESCRIBE = {"plain": describe_layout, "rich": describe_richly}
CODE = (  # what decides a captioner's numbers
    "captioning/own_captioner.py", "captioning/validation.py", "captions/*.py", "checks/caption_scores.py",
    "checks/claims.py", "models/captioner*.py", "models/segmenter.py", "seeds.py",
)  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """One kind of captioner: what its encoder starts from, and the style it learns to write in."""

    start: str
    style: str

    def __str__(self) -> str:
        return f"from {self.start}, {self.style}"


def describer(style: str, shares: str) -> Describe:
    """Return the layout writer of a style (``plain``, ``rich``), with shares in ``words`` or ``numbers``."""
    return lambda labels, seed: DESCRIBE[style](labels, seed, shares)


def training_of(settings: dict[str, Any], shape: CaptionerShape) -> CaptionerTraining:
    """Return the training that settings of ``config.Captioner`` ask for."""
    names = ("steps", "batch_size", "learning_rate", "validate_every", "wordings", "tuned")
    shape = replace(shape, width=settings["width"], layers=settings["layers"])
    return CaptionerTraining(**{name: settings[name] for name in names}, shape=shape)


def own_captioner(
    chips: pd.DataFrame, settings: dict[str, Any], shares: str, labeller: Path, folder: Path, fold: int,
    device: torch.device, progress: Callable = iter,
) -> tuple[Captioner, pd.DataFrame]:  # fmt: skip
    """Train every candidate and return the one that validation prefers.

    Args:
        chips: real chips with columns chip_id, split, block, image, mask.
        settings: ``config.Captioner`` as plain values; shares: in ``words`` or ``numbers``.
        labeller: folder of stage 04's labeller. folder: where finished captioners and checkpoints are kept;
            what is there already, from the same settings, chips and code, is not trained again.
        progress: wraps the loop over steps of each training.

    Returns:
        the chosen captioner, and the candidates: columns candidate, val_score (claim F1 on validation chips
        in all turns), chosen.
    """
    about = read_json(labeller / "model.json", remake_command(labeller / "model.json"))
    train, val = chips[chips["split"] == "train"], all_views(chips[chips["split"] == "val"])
    images, masks = (np.stack(train[name].tolist()) for name in ("image", "mask"))
    pool, score = make_pool("real", images, masks), claim_score(val)
    val_images = np.stack(val["image"].tolist())
    key = _key(settings, shares, fold, labeller, [images, masks, val_images, np.stack(val["mask"].tolist())])
    found = {}
    for candidate in (Candidate(*pair) for pair in product(settings["starts"], settings["styles"])):
        taken = candidate.start == "labeller"
        shape = CaptionerShape(about["architecture"], about["encoder"], reads_map=taken)
        where = folder / f"captioner-{key}-{candidate.start}-{candidate.style}"

        def train_it(candidate=candidate, shape=shape, taken=taken, where=where) -> Captioner:
            start: Segmenter | None = load_segmenter(labeller, device) if taken else None
            names = ("own captioner", fold, settings["seed"])
            return train_captioner(
                [pool], describer(candidate.style, shares), val_images, score,
                training_of(settings, shape), names, device, start, where.with_suffix(".checkpoint"),
                settings["checkpoint_seconds"], progress,
            )[0]  # fmt: skip

        captioner = _kept(where, train_it, device)
        found[candidate] = (captioner, score(captioner.describe(val_images)))
    best = max(found, key=lambda candidate: found[candidate][1])
    rows = [(str(candidate), value, candidate is best) for candidate, (_, value) in found.items()]
    return found[best][0], pd.DataFrame(rows, columns=["candidate", "val_score", "chosen"])


def _kept(folder: Path, train: Callable[[], Captioner], device: torch.device) -> Captioner:
    """Return the captioner kept in a folder, or a trained one, kept there whole or not at all."""
    if (folder / "config.json").is_file():
        return Captioner.from_pretrained(folder, device)
    captioner = train()
    half = folder.with_suffix(".half")
    shutil.rmtree(half, ignore_errors=True)
    captioner.save_pretrained(half)
    shutil.rmtree(folder, ignore_errors=True)
    half.rename(folder)
    folder.with_suffix(".checkpoint").unlink(missing_ok=True)
    return captioner


def _key(settings: dict, shares: str, fold: int, labeller: Path, arrays: list[np.ndarray]) -> str:
    """Name a training by all that decides its numbers; how it is decoded later is not among them."""
    decided = {k: v for k, v in settings.items() if k not in ("beams", "temperature", "checkpoint_seconds")}
    digest = hashlib.sha256(repr((sorted(decided.items()), shares, fold)).encode())
    digest.update((labeller / "model.safetensors").read_bytes())
    package = Path(__file__).parents[1]
    for path in sorted(path for pattern in CODE for path in package.glob(pattern)):
        digest.update(path.read_bytes())
    for array in arrays:
        digest.update(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:12]
