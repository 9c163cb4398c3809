"""The model card that travels with a GAN's weights."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pandas as pd
from torch import nn

from groundsynth.artifacts import atomic_path
from groundsynth.models.card import LIMITS
from groundsynth.models.gan_training import GanSettings

USES = {
    "spade": "an image for a given map (SPADE, arXiv:1903.07291, at this size)",
    "joint_gan": "an image together with its map",
}
CARD = """# Generator `{policy}`, seed {seed}

A generative adversarial network for {size} × {size} px satellite images: {use}. One pass per sample.

| | |
|---|---|
| weights | {weights:,} (the critic is not kept) |
| trained on | {title}, training split only |
| data licence | {licence} |
| data credit | {citation} |
| steps × batch | {steps} × {batch_size} |
| final losses | {losses} (mean of the last ten logged batches) |
| weight of the diversity term | {diversity:g} (arXiv:1903.05628) |
| time | {minutes:.1f} minutes on {device} |

All settings: `{settings}`

Losses of the two players balance each other: they do not say how good the images are.

{limits}"""


def write_gan_card(
    path: Path,
    model: nn.Module,
    settings: GanSettings,
    data: dict,
    log: pd.DataFrame,
    seconds: float,
    device: str,
) -> None:
    """Write the card as Markdown, from the artefacts of the run alone.

    Args:
        data: ``data.json`` of stage 01 (title, licence, citation).
        log: the loss curve.
        device: where it was trained, in words.
    """
    last = log.tail(10).mean().drop(["step", "loss"])
    text = CARD.format(
        policy=settings.policy,
        seed=settings.seed,
        size=model.config.chip_size,
        use=USES[settings.policy],
        weights=sum(p.numel() for p in model.parameters()),
        title=data["title"],
        licence=data["licence"],
        citation=data["citation"],
        steps=settings.steps,
        batch_size=settings.batch_size,
        losses=", ".join(f"{name} {value:.3f}" for name, value in last.items()),
        diversity=settings.diversity,
        minutes=seconds / 60,
        device=device,
        settings=asdict(settings),
        limits=LIMITS,
    )
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
