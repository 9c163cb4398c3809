"""The contrastive model a study scores its pairs with: trained on its own real chips, or with published weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from groundsynth.artifacts import read_chips, read_json
from groundsynth.checks.agreement import random_partners
from groundsynth.checks.contrastive import HeldOut, Scorer, fit_calibration, pair_scores
from groundsynth.checks.pairs import make_pairs
from groundsynth.errors import GroundsynthError
from groundsynth.models.contrastive import Fitting, load_contrastive, train_once

TRAINED = "trained"


def open_scorer(
    source: str | None,
    prepared: Path,
    writer: object,
    steps: int,
    seed: int,
    kept: Path,
    device: torch.device | str = "cpu",
    progress: Callable = iter,
) -> Scorer | None:
    """Return the scorer that ``ground.contrastive`` names; None for null.

    Args:
        source: ``trained`` trains on the real training chips; otherwise a folder with a model so trained, or
            with a published one, or a hub name.
        prepared: folder of stage 01; writer: describes maps (see ``checks.pairs.layout_writer``).
        steps, seed: of the training; kept: folder of finished models, so that none is trained twice.

    Raises:
        GroundsynthError: a folder without a usable model.
    """
    if source is None:
        return None
    if source != TRAINED:
        return _read_scorer(source, device)
    chips = read_chips(prepared / "chips.parquet", "real", lambda t: t["split"] == "train")
    images, maps = (np.stack(chips[name].to_list()) for name in ("image", "mask"))
    pairs = make_pairs(images, maps, writer, ("real", seed))
    return train_once(pairs, Fitting(steps=steps), ("real", seed), kept, device, progress)


def _read_scorer(source: str, device: torch.device | str) -> Scorer:
    path = Path(source).expanduser()
    if (path / "model.json").is_file():
        if read_json(path / "model.json", "train it again").get("kind") != "contrastive":
            raise GroundsynthError(
                f"ground.contrastive '{source}' holds another kind of model; name a folder that stage 06 saved"
            )
        return load_contrastive(path, device)
    from groundsynth.models.published_contrastive import load_published

    return load_published(source, device)


def calibrate(model: Scorer | None, held: HeldOut, seed: int) -> tuple[float, float]:
    """Return slope and offset of the match, fitted on held-out windows that are not the test split's."""
    if model is None:
        return 0.0, 0.0
    own = pair_scores(model, held.images, held.captions)
    others = [held.captions[i] for i in random_partners(len(own), "calibrate", seed)]
    return fit_calibration(own, pair_scores(model, held.images, others))
