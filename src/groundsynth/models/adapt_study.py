"""``python -m groundsynth adapt``: a study's chips and captions into a pretrained pipeline, and samples out of it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd

from groundsynth.artifacts import read_chips, read_json, read_table, remake_command, write_chips
from groundsynth.atomic import atomic_path
from groundsynth.config import Study
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL, SHARE_COLUMNS, class_shares
from groundsynth.models.adapt_card import write_adapt_card
from groundsynth.models.adapted_sampling import load_adapted, sample_adapted
from groundsynth.models.adapting import AdaptSettings, adapt_pipeline, draw_size, save_adapted
from groundsynth.models.device import describe_device, pick_device
from groundsynth.models.generation import hash_model
from groundsynth.models.pretrained import check_prompts, context_length, fit_caption, load_pipeline
from groundsynth.paths import results_dir, stage_dir
from groundsynth.seeds import derive_seed, rng

SYSTEM = "text"


def adapt_study(study: Study, fold: int = 0) -> Path:
    """Fine-tune ``adapt.base`` on a study's training chips and draw chips with it.

    Returns:
        the folder written: ``model/``, ``loss.csv``, ``model_card.md``, ``chips.parquet`` (synthetic
        chips of system ``text``) and ``prompts.csv``.

    Raises:
        GroundsynthError: no base named, stages 01 and 05 not run, or anything its parts refuse.
    """
    adapt = study.adapt
    if adapt.base is None:
        raise GroundsynthError(
            "adapt.base is not set; name a folder that holds a Stable Diffusion pipeline, or a hub name"
        )
    chips = read_captioned(study.study, fold)
    name = f"{adapt.method.replace('_', '-')}-s{adapt.seed}"
    folder = results_dir(study.study) / "adapted" / f"fold{fold}" / name
    settings = AdaptSettings(**{f.name: getattr(adapt, f.name) for f in fields(AdaptSettings)})
    pipe, device = load_pipeline(adapt.base, study.data.offline), pick_device(study.device)
    size = draw_size(pipe, settings)
    check_prompts(pipe, adapt.prompts)
    images, maps = np.stack(chips["image"]), np.stack(chips["mask"])
    checkpoints = results_dir(study.study) / "checkpoints"
    adapted = adapt_pipeline(pipe, images, maps, chips["caption"].tolist(), settings, checkpoints, device)
    save_adapted(adapted, settings, folder / "model", images.shape[1])
    adapted.log.to_csv(folder / "loss.csv", index=False)
    data = read_json(
        stage_dir(study.study, "01_prepare_data", fold) / "data.json", "run stage 01_prepare_data"
    )
    write_adapt_card(
        folder / "model_card.md", adapted, settings, adapt.base, data, len(chips), context_length(pipe),
        describe_device(device),
    )  # fmt: skip

    drawing = load_adapted(folder / "model", load_pipeline(adapt.base, study.data.offline)).to(device)
    asked = draw_prompts(chips, name, adapt.samples, adapt.prompts, obeys=adapt.method == "controlnet")
    asked["prompt"] = [fit_caption(drawing, adapted.adapter.prompt(text)) for text in asked["prompt"]]
    seeds = [derive_seed("sample", name, SYSTEM, index) for index in range(len(asked))]
    given = np.stack(asked["mask"]) if adapt.method == "controlnet" else None
    drawn, masks = sample_adapted(
        drawing, asked["prompt"].tolist(), seeds, images.shape[1], size, adapt.sampling_steps, adapt.guidance,
        adapt.batch_size, given,
    )  # fmt: skip
    rows = chip_rows(drawn, masks, asked, name, seeds, hash_model(folder / "model"))
    write_chips(rows, folder / "chips.parquet", "synthetic")
    with atomic_path(folder / "prompts.csv") as temporary:
        asked.assign(chip_id=rows["chip_id"])[["chip_id", "condition", "prompt"]].to_csv(
            temporary, index=False
        )
    return folder


def read_captioned(study: str, fold: int) -> pd.DataFrame:
    """Return the real training chips with their first caption (column ``caption``), in order of chip_id.

    Raises:
        GroundsynthError: stages 01 or 05 were not run, or a chip has no caption.
    """
    path = stage_dir(study, "05_caption", fold) / "captions.csv"
    captions = read_table(path, "captions")
    first = captions[(captions["system"] == "real") & (captions["caption_index"] == 0)]
    texts = first.drop_duplicates("chip_id").set_index("chip_id")["caption"]
    chips = read_chips(
        stage_dir(study, "01_prepare_data", fold) / "chips.parquet", "real", lambda c: c["split"] == "train"
    ).sort_values("chip_id", ignore_index=True)
    chips["caption"] = texts.reindex(chips["chip_id"]).to_numpy()
    bare = chips.loc[chips["caption"].isna(), "chip_id"]
    if len(bare):
        raise GroundsynthError(
            f"{path}: {len(bare)} training chips such as {bare.iloc[0]} have no caption; remake it: "
            f"{remake_command(path)}"
        )
    return chips


def draw_prompts(
    chips: pd.DataFrame, generator: str, samples: int, prompts: list[str], obeys: bool
) -> pd.DataFrame:
    """Return what each sample is asked for: condition (chip id), prompt, mask.

    Prompts are those of the config in turn, or captions of training chips drawn at random. With a
    ControlNet (``obeys``) the map is that of the drawn chip; its image is never used.
    """
    rows = []
    for index in range(samples):
        chip = chips.iloc[int(rng("prompt", generator, index).integers(len(chips)))]
        text = prompts[index % len(prompts)] if prompts else chip["caption"]
        used = obeys or not prompts
        rows.append((chip["chip_id"] if used else "", text, chip["mask"]))
    return pd.DataFrame(rows, columns=["condition", "prompt", "mask"])


def chip_rows(
    images: np.ndarray,
    masks: np.ndarray,
    asked: pd.DataFrame,
    generator: str,
    seeds: list[int],
    model_hash: str,
) -> pd.DataFrame:
    """Return drawn chips as a table (``CHIPS['synthetic']``)."""
    shares = np.array([class_shares(mask) for mask in masks])
    return pd.DataFrame(
        {
            "chip_id": [f"{generator}-{SYSTEM}-{index:06d}" for index in range(len(images))],
            "image": list(images),
            "mask": list(masks),
            **dict(zip(SHARE_COLUMNS, shares.T, strict=True)),
            "system": SYSTEM,
            "generator": generator,
            "seed": seeds,
            "condition": asked["condition"],
            "condition_transform": 0 if (masks != NO_LABEL).any() else -1,
            "no_label_rate": (masks == NO_LABEL).mean(axis=(1, 2)),
            "model_hash": model_hash,
        }
    )
