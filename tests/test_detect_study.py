"""The command detect over two studies: every system in one matrix, a captioner that answers, and what is missing."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest
import rasterio
import torch
from test_authenticity import grainy_chips, smooth_chips
from test_generator import SETTINGS

from groundsynth.artifacts import write_chips, write_json
from groundsynth.config import load_study
from groundsynth.data.blocks import TRAIN, VAL
from groundsynth.errors import GroundsynthError
from groundsynth.legend import SHARE_COLUMNS, class_shares
from groundsynth.models.captioner import CaptionerShape, build_captioner, train_tokenizer
from groundsynth.models.training import new_denoiser
from groundsynth.paths import caption_journals, project_root, stage_dir
from groundsynth.workflow.detect_study import DetectSettings, captioner_of, detect_study

SYSTEMS = {
    "unified-s0": ["joint", "mask", "image", "text"],
    "spade-s0": ["spade"],
    "joint_gan-s0": ["joint_gan"],
}
SIDE = 32


def table_of(images: np.ndarray, **more) -> pd.DataFrame:
    maps = np.zeros(images.shape[:3], np.uint8)
    maps[:, : SIDE // 2] = 4
    shares = pd.DataFrame([class_shares(m) for m in maps], columns=list(SHARE_COLUMNS))
    return shares.assign(image=list(images), mask=list(maps), **more)


def fill_ground(prepared) -> None:
    """Leave twelve smooth training chips, and a scene whose lower half is validation ground."""
    images = smooth_chips(12, 0)
    chips = table_of(
        images, chip_id=[f"r{k}" for k in range(12)], labelled=1.0, scene="s", split="train", block=0, row=0, col=0,
        crs="EPSG:3358", **{f"transform_{k}": 1.0 for k in "abcdef"},
    )  # fmt: skip
    write_chips(chips, prepared / "chips.parquet", "real")
    write_json(prepared / "data.json", {"scenes": [{"scene": "s", "used": True}]})
    scene = smooth_chips(1, 9, 4 * SIDE)[0]
    split = np.full((4 * SIDE, 4 * SIDE), TRAIN, np.uint8)
    split[2 * SIDE :] = VAL
    layers = {"image": np.moveaxis(scene, -1, 0), "split": split[None], "map": np.full_like(split, 4)[None]}
    folder = prepared / "scenes" / "s"
    folder.mkdir(parents=True)
    for name, bands in layers.items():
        about = dict(driver="GTiff", count=len(bands), dtype="uint8", height=4 * SIDE, width=4 * SIDE)
        with rasterio.open(folder / f"{name}.tif", "w", **about) as raster:
            raster.write(bands)


def fill_chips(study: str) -> None:
    """Leave eight grainy chips of every system, each with a map of its own."""
    for seed, (generator, system) in enumerate((g, s) for g, held in SYSTEMS.items() for s in held):
        chips = table_of(
            grainy_chips(8, 10 + seed), chip_id=[f"{system}{k}" for k in range(8)], system=system, generator=generator,
            seed=0, condition="", condition_transform=0, no_label_rate=0.0, model_hash="h",
        )  # fmt: skip
        write_chips(
            chips, stage_dir(study, "03_generate", 0, generator, system, "0") / "chips.parquet", "synthetic"
        )


@pytest.fixture
def studies(tmp_path, monkeypatch):
    """A study of the one generator, and one of GANs on the same chips, with what stages 01 to 03 leave."""
    own, gans = (load_study(project_root() / "config" / f"{name}.yaml") for name in ("smoke", "gan"))
    monkeypatch.setenv("GROUNDSYNTH_ROOT", str(tmp_path))
    own = own.model_copy(update={"generate": own.generate.model_copy(update={"sampling_steps": 2})})
    gans = gans.model_copy(update={"data": own.data})
    prepared = stage_dir(own.study, "01_prepare_data", 0)
    fill_ground(prepared)
    for study in (own, gans):
        fill_chips(study.study)
    model = new_denoiser(smooth_chips(4, 0), np.zeros((4, SIDE, SIDE), np.uint8), SETTINGS)
    model.save(stage_dir(own.study, "02_train_generator", 0, "unified-s0") / "model")
    return own, gans


@pytest.mark.slow
def test_every_system_is_learned_from_and_tested_on(studies, tmp_path):
    own, gans = studies
    words = train_tokenizer(["Mostly forest with water in the north."] * 4)
    torch.manual_seed(0)
    captioner = build_captioner(CaptionerShape(grid=4, width=32, layers=1), words, 24)
    captioner.save_pretrained(caption_journals(own.study, 0) / "captioner-0-labeller-plain")
    how = DetectSettings(steps=5, forged=4, held_out=12, captioner=captioner_of(own, 0))
    rows = detect_study(own, [gans], how, tmp_path / "out")
    auc = rows[rows["metric"] == "detector_auc"]
    systems = [system for held in SYSTEMS.values() for system in held]
    for detector in ("network", "spectrum", "spectrum;as_drawn", "captioner"):
        matrix = auc[auc["regime"] == f"detector={detector}"]
        assert set(zip(matrix["system"], matrix["arm"], strict=True)) == {
            (on, tested) for on in (*systems, "all") for tested in systems
        }, detector
        assert matrix[["low", "high"]].notna().all(axis=None)
        drops = rows[(rows["metric"] == "detector_auc_drop") & (rows["regime"] == f"detector={detector}")]
        each = drops[drops["system"] == "each"].set_index("arm")
        assert each.index.tolist() == ["unseen", "unseen_generator"]
        assert (each["low"] <= each["high"]).all()
        assert set(drops["system"]) == {*systems, "each"}
        joint = drops[(drops["system"] == "joint")].set_index("arm")["n"]
        assert joint.to_dict() == {"unseen": 5, "unseen_generator": 2}, "two GANs share no weights with it"
    assert not rows.duplicated(["system", "arm", "regime", "metric"]).any()
    for name in (
        "detector_matrix",
        "detector_robustness",
        "attribution",
        "detector_evidence",
        "forged_redrawn",
    ):
        assert (tmp_path / "out" / f"{name}.png").is_file()


def test_a_captioner_of_stage_05_is_found_or_missed_in_one_sentence(studies):
    own, _ = studies
    with pytest.raises(GroundsynthError, match="one captioner of stage 05 is wanted here, and there is none"):
        captioner_of(own, 0)
    folder = caption_journals(own.study, 0)
    for name in ("captioner-a-labeller-plain", "captioner-a-random-plain"):
        write_json(folder / name / "config.json", {})
    with pytest.raises(GroundsynthError, match="captioner-a-labeller-plain, captioner-a-random-plain"):
        captioner_of(own, 0)
    later = folder / "captioner-b-labeller-plain"
    write_json(later / "config.json", {})
    os.utime(later / "config.json", (2e9, 2e9))
    assert captioner_of(own, 0) == later, "stage 05 ran again, with other settings or code"
