"""The model card that travels with a generator's weights."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pandas as pd

from groundsynth.artifacts import atomic_path
from groundsynth.data.pair_list import AS_THEY_ARE
from groundsynth.data.scene_origins import ORIGIN, Names
from groundsynth.models.denoiser import Denoiser
from groundsynth.models.noise import POLICIES
from groundsynth.models.training import TrainingSettings

CARD = """# Generator `{policy}`, seed {seed}

A denoising diffusion model of {size} × {size} px satellite images and land-cover maps, with one noise
level for each. Uses trained: {uses}.
{conditions}{origins}

| | |
|---|---|
| weights | {weights:,} |
| trained on | {title}, training split only |
| pairs | {pairs} |
| begun with | {start} |
| data licence | {licence} |
| data credit | {citation} |
| steps × batch | {steps} × {batch_size} |
| final loss, image / map | {image:.3f} / {mask:.3f} (mean of the last ten logged batches) |
| time | {minutes:.1f} minutes on {device} |

All settings: `{settings}`

{limits}"""
CONDITIONS = {
    "none": "It can be given a map where it was trained to, and reads neither text nor class shares.",
    "shares": "It can be asked for class shares, and reads no text.",
    "text": "It can be asked for in words, as layout captions word them, and reads no class shares.",
    "both": "It can be asked for in words, as layout captions word them, for class shares, or for both.",
}
LIMITS = """## Limits

Trained on the ground named above alone. Samples repeat its season, sensor and land use, may repeat
parts of it, and the maps inherit the errors of the reference map. Not for monitoring, verification, navigation or
any other use in which an image is taken as evidence that something exists.
"""


def _told_origins(names: Names) -> str:
    known = [f"{name} ({', '.join(told)})" for name, told in zip(ORIGIN, names, strict=False) if told]
    return f" It can be told the {' and the '.join(known)} that a pair should be of." if known else ""


def write_model_card(
    path: Path,
    model: Denoiser,
    settings: TrainingSettings,
    data: dict,
    log: pd.DataFrame,
    seconds: float,
    device: str,
    pairs: str = AS_THEY_ARE,
    start: str | None = None,
) -> None:
    """Write the card as Markdown, from the artefacts of the run alone.

    Args:
        data: ``data.json`` of stage 01 (title, licence, citation).
        log: the loss curve (columns image, mask).
        device: where it was trained, in words.
        pairs: the keep list that training chips were chosen by; start: folder of the weights it was begun with.
    """
    last = log.tail(10).mean()
    text = CARD.format(
        policy=settings.policy,
        seed=settings.seed,
        size=model.config.chip_size,
        uses=", ".join(f"{row} {share:.0%}" for row, share in POLICIES[settings.policy].items()),
        conditions=CONDITIONS[model.config.conditions],
        origins=_told_origins(model.config.origins),
        weights=sum(p.numel() for p in model.parameters()),
        title=data["title"],
        pairs="all of them, as they are" if pairs == AS_THEY_ARE else f"those kept by `{pairs}`",
        start=f"the weights of `{start}`" if start else "random numbers",
        licence=data["licence"],
        citation=data["citation"],
        steps=settings.steps,
        batch_size=settings.batch_size,
        image=last["image"],
        mask=last["mask"],
        minutes=seconds / 60,
        device=device,
        settings=asdict(settings),
        limits=LIMITS,
    )
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
