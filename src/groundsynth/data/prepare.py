"""Stage 01 in a few steps: scenes to an atlas, its split, and what is handed on."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from groundsynth.artifacts import metric_row
from groundsynth.config import Data
from groundsynth.data.atlas import Atlas, check_names, held_out_names, lay_atlas
from groundsynth.data.blocks import (
    MANY_BLOCKS,
    MIN_BLOCK,
    NO_SPLIT,
    atlas_blocks,
    region_blocks,
    split_blocks,
    split_raster,
)
from groundsynth.data.chips import ChipRules
from groundsynth.data.coverage import SCORED, primary_classes, suggest_side
from groundsynth.data.grids import align_scenes, pixel_metres
from groundsynth.data.label_fraction import hide_labels
from groundsynth.data.scene import Scene, Stretch, write_raster
from groundsynth.data.scene_origins import describe_origin
from groundsynth.data.sources import SOURCES, get_source
from groundsynth.data.store import MEMORY, Raster, Store
from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES

STAGE = "01_prepare_data"
SCENES = "scenes"  # folder of the rasters, one folder per scene
RASTERS = ("image", "map", "split")


def lay_scenes(scenes: Sequence[Scene], options: Data, store: Store = MEMORY) -> Atlas:
    """Bring scenes to common grids and lay them out; what is made on the way is kept in the store.

    Raises:
        GroundsynthError: no scenes, names that match nothing, grids that cannot be shared.
    """
    check_names(scenes)
    held_out = held_out_names(scenes, options.hold_out)
    first = sorted(scenes, key=lambda scene: scene.name in held_out)  # the others set the grid
    aligned = align_scenes(first, options.resolution, store)
    metres = min(pixel_metres(aligned[0]) or (1.0, 1.0))
    gap = max(options.chip_size, MIN_BLOCK, round((options.block_metres or 0) / metres))
    return lay_atlas(aligned, held_out, options.buffer, gap, store)


def split_atlas(atlas: Atlas, options: Data, fold: int) -> tuple[pd.DataFrame, Raster]:
    """Return the blocks of a fold (table ``blocks``) and the split of every pixel of the atlas."""
    blocks = _divide(atlas, options, fold, options.block_metres)
    blocks = pd.concat([blocks, region_blocks(atlas, options.chip_size, len(blocks))], ignore_index=True)
    return blocks, split_raster(blocks, atlas.shape, options.buffer, atlas.given_up, atlas.store)


def _divide(atlas: Atlas, options: Data, fold: int, block_metres: float | None) -> pd.DataFrame:
    blocks = atlas_blocks(atlas, options.chip_size, block_metres, options.min_labelled_eval)
    blocks = split_blocks(blocks, options.folds, fold, options.hidden_blocks, options.split_seed)
    names = (options.split_seed, fold)
    return hide_labels(blocks, options.label_fraction, primary_classes(blocks), *names)


def chip_rules(options: Data) -> ChipRules:
    """Return what a window must be to become a chip."""
    return ChipRules(
        size=options.chip_size,
        stride=options.stride,
        min_labelled_train=options.min_labelled_train,
        min_labelled_eval=options.min_labelled_eval,
        max_cloud=options.max_cloud,
        max_water=options.max_water,
    )


def advise_blocks(
    atlas: Atlas, options: Data, fold: int, blocks: pd.DataFrame, coverage: pd.DataFrame, primary: list[int]
) -> str:
    """Return which block size would bring missing classes to every split; empty if none is missing.

    Looked for are the primary classes, or all there are where only others are missing.
    """
    counts = coverage.reindex(SCORED).to_numpy()  # (3, 7)
    missing = set(np.flatnonzero((counts == 0).any(0) & (coverage.sum() > 0)).tolist())
    if not missing:
        return ""
    if atlas.grounds["metres_y"].isna().any():
        return "scenes without coordinates are divided by pixels, so no data.block_metres can be suggested"
    wanted = primary if missing & set(primary) else sorted(missing | set(primary))
    metres = blocks["ground"].map(atlas.grounds.set_index("ground")["metres_y"])
    side = float((blocks["height"] * metres).median())
    found = suggest_side(lambda m: _few_blocks(atlas, options, fold, m), side, wanted)
    named = ", ".join(CLASSES[k] for k in wanted)
    if found is None:
        return f"no block size tried (around {side:.0f} m) brings {named} to train, val and test: use more scenes"
    return f"data.block_metres: {found:.0f} would bring {named} to train, val and test"


def _few_blocks(atlas: Atlas, options: Data, fold: int, block_metres: float) -> pd.DataFrame:
    count = len(atlas_blocks(atlas, options.chip_size, block_metres, options.min_labelled_eval))
    if count > MANY_BLOCKS:
        raise GroundsynthError(f"{count} blocks; a suggestion tries {MANY_BLOCKS} at most: give larger ones")
    return _divide(atlas, options, fold, block_metres)


def unused_scenes(atlas: Atlas, split: Raster) -> list[str]:
    """Return the names of scenes of which no pixel is in a split: too small, unlabelled, or given up."""
    return [
        scene.name
        for number, scene in enumerate(atlas.scenes)
        if (split[atlas.window(number)] == NO_SPLIT).all()
    ]


def write_scenes(folder: Path, atlas: Atlas, images: Sequence[np.ndarray], split: Raster) -> list[str]:
    """Write ``scenes/<name>/{image,map,split}.tif`` of every scene in use, on its own grid.

    What an earlier run left there is removed first.

    Returns:
        the names written.
    """
    shutil.rmtree(folder / SCENES, ignore_errors=True)
    unused = unused_scenes(atlas, split)
    for number, scene in enumerate(atlas.scenes):
        if scene.name not in unused:
            layers = (images[number], scene.labels, split[atlas.window(number)])
            for name, layer in zip(RASTERS, layers, strict=True):
                nodata = None if name == "image" else 255
                write_raster(folder / SCENES / scene.name / f"{name}.tif", layer, scene, nodata)
    return [scene.name for scene in atlas.scenes if scene.name not in unused]


def legend_rows(source: str, options: Data) -> list[dict]:
    """Return how a source's codes translate: ``source_code, source_name, class, name``; None for no label."""
    if source == "folder":
        table = {code: (code, name and CLASSES.index(name)) for code, name in (options.legend or {}).items()}
    else:
        table = get_source(source).remap
    return [
        {
            "source_code": code,
            "source_name": name,
            "class": ours,
            "name": None if ours is None else CLASSES[ours],
        }
        for code, (name, ours) in sorted(table.items(), key=lambda item: str(item[0]).zfill(9))
    ]


def describe_data(
    atlas: Atlas, options: Data, stretches: Sequence[Stretch], primary: list[int],
    absent: dict[str, list[int]], used: list[str], advice: str = "",
) -> dict:  # fmt: skip
    """Return the content of ``data.json``: sources with licence and legend, scenes, and what is missing.

    Args:
        stretches: one per scene.
        primary: classes of the primary score.
        absent: classes without a pixel, per split.
        used: scenes that have a split, from :func:`write_scenes`.
        advice: a block size that would lack fewer, in words.
    """
    names = [name for name in options.sources if any(scene.source == name for scene in atlas.scenes)]
    specs = [get_source(name) for name in names]
    scenes = [
        {**_describe_scene(atlas, number, stretch), "used": atlas.scenes[number].name in used}
        for number, stretch in enumerate(stretches)
    ]
    return {
        "source": " + ".join(names),
        **{
            key: "; ".join(dict.fromkeys(getattr(spec, key) for spec in specs))
            for key in ("title", "licence", "citation")
        },
        "sha256": hashlib.sha256("".join(scene["sha256"] for scene in scenes).encode()).hexdigest(),
        "sources": [
            dict(source=name, title=spec.title, licence=spec.licence, citation=spec.citation,
                 legend=legend_rows(name, options))
            for name, spec in zip(names, specs, strict=True)
        ],
        "scenes": scenes,
        "primary_classes": primary,
        "label_fraction": options.label_fraction,
        "absent": absent,
        "advice": advice,
        "notes": [note for spec in specs for note in (*spec.notes, *spec.same_grid.values())],
    }  # fmt: skip


def _describe_scene(atlas: Atlas, number: int, stretch: Stretch) -> dict:
    scene, ground = atlas.scenes[number], int(atlas.ground[number])
    content = hashlib.sha256(np.ascontiguousarray(scene.bands))
    content.update(np.ascontiguousarray(scene.labels))
    return {
        "scene": scene.name,
        "source": scene.source,
        **describe_origin(SOURCES.get(scene.source), scene.name),
        "sha256": content.hexdigest(),
        "crs": scene.crs.to_string() if scene.crs else None,
        "transform": list(scene.transform)[:6],
        "shape": list(scene.shape),
        "ground": ground,
        "held_out": bool(atlas.grounds["held_out"].iloc[ground]),
        "stretch": [list(limits) for limits in stretch.limits],
        "stretch_learnt_from": stretch.learnt_from,
    }


def data_metrics(study: str, chips: pd.DataFrame, coverage: pd.DataFrame, ground: pd.DataFrame) -> list[dict]:
    """Return the metric rows of stage 01, ``arm`` = split: chips, class shares, ground that chips reach.

    Args:
        chips: table of :func:`groundsynth.data.chips.find_chips`.
        coverage: labelled pixels per split and class that lie in a chip, each pixel counted once.
        ground: the same over all ground of the split, in chips or not.
    """
    rows = []
    for split, counts in coverage.iterrows():
        own, total, whole = chips[chips["split"] == split], int(counts.sum()), int(ground.loc[split].sum())
        shared = dict(system="real", arm=split)
        rows.append(metric_row(study, STAGE, "chips", len(own), **shared, n=own["block"].nunique()))
        rows.append(metric_row(study, STAGE, "ground_in_chips", total / max(whole, 1), **shared, n=whole))
        for name in CLASSES:
            share = counts[name] / max(total, 1)
            rows.append(metric_row(study, STAGE, "class_share", share, **shared, class_=name, n=total))
    return rows
