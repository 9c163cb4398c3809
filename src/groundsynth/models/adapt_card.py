"""The model card that travels with an adapted pipeline."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from groundsynth.artifacts import atomic_path
from groundsynth.models.adapting import Adapted, AdaptSettings

CARD = """# Adapted text-to-image pipeline, method `{method}`, seed {seed}

What `python -m groundsynth adapt` taught a pretrained pipeline of the Stable Diffusion class. Only the
difference is stored here: it needs the same base to draw.

| | |
|---|---|
| base | {base}; its own licence applies to it and to what it draws |
| trained weights | {weights:,} of {all_weights:,} |
| trained on | {title}: {chips:,} training chips with captions |
| data licence | {licence} |
| data credit | {citation} |
| captions cut to the text encoder's {context} tokens | {cut:,} |
| steps × batch | {steps} × {batch_size} |
| final loss | {loss:.4f} (mean of the last ten logged batches) |
| time | {minutes:.1f} minutes on {device} |

All settings: `{settings}`

## Limits

Trained on the ground named above alone. What the base model was trained on is not known to this study, so no
sample can be checked against it for copies: the nearest *training chip* of this study is no bound. Images are
drawn from words{maps} and are evidence of nothing on the ground.
"""


def write_adapt_card(
    path: Path,
    adapted: Adapted,
    settings: AdaptSettings,
    base: str,
    data: dict,
    chips: int,
    context: int,
    device: str,
) -> None:
    """Write the card as Markdown.

    Args:
        base: the pipeline it was made from, as named in the config; of a folder only the last part.
        data: ``data.json`` of stage 01 (title, licence, citation).
        chips: number of training chips.
        context: tokens the text encoder reads.
        device: where it was trained, in words.
    """
    pipe = adapted.adapter.pipe
    parts = (pipe.unet, pipe.vae, pipe.text_encoder)
    text = CARD.format(
        method=settings.method,
        seed=settings.seed,
        base=Path(base).name if Path(base).expanduser().is_dir() else base,
        weights=sum(p.numel() for p in adapted.adapter.parameters()),
        all_weights=sum(p.numel() for part in parts for p in part.parameters()),
        title=data["title"],
        licence=data["licence"],
        citation=data["citation"],
        chips=chips,
        context=context,
        cut=adapted.cut,
        steps=settings.steps,
        batch_size=settings.batch_size,
        loss=adapted.log.tail(10)["loss"].mean(),
        minutes=adapted.seconds / 60,
        device=device,
        settings=asdict(settings),
        maps=" and a map" if settings.method == "controlnet" else "",
    )
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
