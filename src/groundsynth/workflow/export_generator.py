"""The command ``export-generator``: a trained generator as a folder that people can load and call."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pandas as pd

from groundsynth.artifacts import read_table
from groundsynth.config import Study
from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES
from groundsynth.models.asked import FULL_ASK
from groundsynth.models.generation import sampling_of
from groundsynth.models.generators import load_generator
from groundsynth.models.pipeline import GroundsynthPipeline
from groundsynth.paths import results_dir, stage_dir
from groundsynth.report.tables import interval, markdown_table
from groundsynth.systems import SYSTEMS_OF, policy_of, systems_of

FRONT = """---
library_name: diffusers
pipeline_tag: unconditional-image-generation
tags: [satellite, land-cover, synthetic-data, segmentation]
license: other
---
"""
USE = """
## Use

```python
from groundsynth.models.pipeline import GroundsynthPipeline

pipe = GroundsynthPipeline.from_pretrained("{name}")
{calls}
```

Class codes: {classes}; 255 is no label. The seed decides a sample, whatever is drawn beside it. {hears}

## Scores

{scores}
"""
CALLS = {
    "joint": 'pair = pipe()                           # an image with its map: pair.images[0], pair.maps[0]',
    "mask": 'eight = pipe(mask=labels, num_images=8) # labels: ({size}, {size}) uint8 class codes',
    "image": 'image = pipe(system="image")            # an image without a map',
    "text": '{asks}',
}  # fmt: skip
CALLS |= {"spade": CALLS["mask"], "joint_gan": CALLS["joint"]}  # called alike
ASKS = {
    "text": 'asked = pipe(prompt="Forest covers most of the image. There is a little water in the north.")',
    "shares": 'asked = pipe(shares={"tree cover": 0.7, "water": 0.3})  # named classes alone, summing to 1',
}
HEARS = {
    "none": "It learned neither text nor class shares, so a prompt is refused.",
    "shares": "It learned class shares and no text, so a prompt is refused.",
    "text": "It learned text, read by the sentence encoder all-MiniLM-L6-v2 that is installed with groundsynth.",
    "both": "It learned class shares and text, read by the sentence encoder all-MiniLM-L6-v2 that is installed "
    "with groundsynth.",
}
SCORES = (
    "kid",
    "power_spectrum_error",
    "mask_obedience_ratio",
    "share_skill",
    "keep_rate",
    "images_per_second",
)


def export_generator(study: Study, generator: str, fold: int, folder: Path) -> Path:
    """Write a pipeline folder with the model card, whole or not at all; return it.

    Raises:
        GroundsynthError: no such generator, or a folder that holds something else.
    """
    trained = stage_dir(study.study, "02_train_generator", fold, generator)
    policy = policy_of(generator)
    if policy not in SYSTEMS_OF or not trained.is_dir():
        raise GroundsynthError(
            f"{trained}: no trained generator '{generator}'; the study trains policies "
            f"{', '.join(study.generator.policies)}: run stage 02_train_generator first"
        )
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "model_index.json").is_file():
        raise GroundsynthError(
            f"{folder}: holds other files; name an empty folder or one of an earlier export"
        )
    settings = sampling_of(study.generate, policy)
    pipeline = GroundsynthPipeline.of(load_generator(trained / "model"), policy, settings)
    card = write_card(study, pipeline, trained, generator)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        whole = Path(temporary) / folder.name
        pipeline.save_pretrained(whole)
        (whole / "README.md").write_text(card, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        whole.rename(folder)
    return folder


def write_card(study: Study, pipeline: GroundsynthPipeline, trained: Path, generator: str) -> str:
    """Return the card of stage 02 with how to call the pipeline and what the study measured of it."""
    settings = pipeline.generator.network.config
    systems, size = systems_of(pipeline.config.policy, settings.conditions), settings.chip_size
    asks = "\n".join(call for part, call in ASKS.items() if settings.conditions in (part, "both"))
    use = USE.format(
        name=generator,
        calls="\n".join(CALLS[name].format(size=size, asks=asks) for name in systems),
        classes=", ".join(f"{k} {name}" for k, name in enumerate(CLASSES)),
        hears=HEARS[settings.conditions],
        scores=_scores(study, systems, generator),
    )
    body = (trained / "model_card.md").read_text(encoding="utf-8")
    head, limits, rest = body.partition("## Limits")
    return f"{FRONT}\n{head.rstrip()}\n{use}\n{limits}{rest}"


def _scores(study: Study, systems: tuple[str, ...], generator: str) -> str:
    path = results_dir(study.study) / "metrics.csv"
    if not path.is_file():
        return "Not measured yet: the study has not been run to its report."
    table = read_table(path, "metrics")
    mine = table["metric"].isin(SCORES) & table["system"].isin([*systems, "real"])
    whole = (table["arm"] == "") | table["arm"].isin(FULL_ASK.values())
    kept = table[mine & whole & ((table["metric"] != "share_skill") | (table["class"] == ""))]
    if kept.empty:
        return "Not measured yet."
    shown = pd.DataFrame(
        {
            "measure": kept["metric"].str.replace("_", " "),
            "system": kept["system"],
            "of": (kept["arm"] + " " + kept["regime"]).str.strip(),
            "value [95 %]": [interval(row) for _, row in kept.iterrows()],
            "n": kept["n"].astype(str),
        }
    )
    several = "" if len(study.generator.policies) * len(study.generator.seeds) == 1 else (
        f" The study trained several generators; rows that do not name `{generator}` pool those of a system."
    )  # fmt: skip
    return (
        f"Study `{study.study}`; `real` is the floor that real training chips reach against held-out ones."
        f"{several}\n\n{markdown_table(shown)}"
    )
