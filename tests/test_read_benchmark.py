"""What the benchmark reads: every set an arm asks for, and nothing of ground that is not judged."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from groundsynth import artifacts
from groundsynth.artifacts import CHIPS, TABLES, write_chips, write_json, write_table
from groundsynth.benchmark.arms import parse_arms
from groundsynth.benchmark.segmentation import read_benchmark
from groundsynth.legend import SHARE_COLUMNS

GREY = {"train": 10, "val": 20, "test": 30, "hidden": 40, "region": 50}  # of the real chips, by split
SYSTEMS = ["joint", "text"]


def chips_of(names: list[str], grey: list[int], **more: object) -> pd.DataFrame:
    size = len(names)
    table = pd.DataFrame({"chip_id": names, **dict.fromkeys(SHARE_COLUMNS, 0.1)}).assign(**more)
    images = [np.full((16, 16, 3), value, np.uint8) for value in grey]
    return table.assign(image=images, mask=[np.full((16, 16), k % 2, np.uint8) for k in range(size)])


@pytest.fixture
def study(tmp_path: Path, monkeypatch) -> str:
    """Two real chips per split, four of each system; of ``text`` every second was asked for a rare class."""
    monkeypatch.setenv("GROUNDSYNTH_ROOT", str(tmp_path))
    results = tmp_path / "results" / "s"
    split = [name for name in GREY for _ in range(2)]
    real = chips_of(
        [f"r{k}" for k in range(10)], [GREY[name] for name in split], labelled=1.0, scene="a", split=split,
        block=range(10), row=0, col=0, crs="", **{f"transform_{k}": 1.0 for k in "abcdef"},
    )  # fmt: skip
    stage = results / "01_prepare_data" / "fold0"
    write_chips(real[list(CHIPS["real"])], stage / "chips.parquet", "real")
    about = {"primary_classes": [0, 1], "label_fraction": 0.5, "absent": {name: [] for name in GREY}}
    write_json(stage / "data.json", about)
    labels = [
        real.assign(
            system="real", trust=real["mask"], mask=list(real["image"].map(lambda i: i[..., 0] // 10))
        )
    ]
    for system in SYSTEMS:
        chips = chips_of(
            [f"{system}{k}" for k in range(4)], [100 + k for k in range(4)], system=system, generator="unified-s0",
            seed=0, condition="", condition_transform=-1, no_label_rate=0.0, model_hash="h",
        )  # fmt: skip
        folder = results / "03_generate" / "fold0" / "unified-s0" / system / "0"
        write_chips(chips[list(CHIPS["synthetic"])], folder / "chips.parquet", "synthetic")
        labels.append(chips.assign(trust=chips["mask"]))
    asked = chips[["chip_id"]].assign(kind=["rare", "nothing"] * 2, prompt="", condition="", raised=-1)
    shares = {name: np.nan for name in TABLES["asked"].columns if name not in asked}
    write_table(asked.assign(**shares), folder / "asked.csv", "asked")
    table = pd.concat(labels)[list(CHIPS["labels"])]
    write_chips(table, results / "04_label" / "fold0" / "labels.parquet", "labels")
    return "s"


def read(study: str, judged: str, *names: str):
    return read_benchmark(study, 0, ["unified-s0"], SYSTEMS, 1, parse_arms(["real", *names], SYSTEMS), judged)


def greys(images: np.ndarray) -> list[int]:
    return images[:, 0, 0, 0].tolist()


def test_sets_of_all_systems_of_rare_requests_and_of_hidden_chips(study):
    data = read(study, "test", "real+all", "real+text:rare", "real+self_training")
    assert sorted(data.synthetic) == ["all", "joint", "self_training", "text", "text:rare"]
    assert greys(data.synthetic["all"][0]) == [100, 101, 102, 103] * 2
    assert greys(data.synthetic["text:rare"][0]) == [100, 102]
    images, masks = data.synthetic["self_training"]
    assert (greys(images), masks[:, 0, 0].tolist()) == ([40, 40], [4, 4]), "with the labeller's maps"
    assert list(data.real) == ["train", "val", "test", "region"]
    assert (data.judged, data.primary, data.label_fraction) == ("test", (0, 1), 0.5)


def test_where_validation_is_judged_no_pixel_of_test_or_region_is_decoded(study, monkeypatch):
    decoded, decode = set(), artifacts.decode_png

    def watched(data: bytes) -> np.ndarray:
        picture = decode(data)
        decoded.update(np.unique(picture).tolist())
        return picture

    monkeypatch.setattr(artifacts, "decode_png", watched)
    data = read(study, "val", "real+self_training", "synthetic:all")
    assert list(data.real) == ["train", "val"]
    assert {10, 20, 40} <= decoded
    assert not decoded & {30, 50}, "images of test and region"
    assert 4 in decoded, "the labeller's maps of hidden chips"
    assert not decoded & {3, 5}, "its maps of test and region"


def test_a_region_is_counted_where_there_is_one(study, tmp_path):
    path = tmp_path / "results/s/01_prepare_data/fold0/data.json"
    absent = {name: [] for name in GREY if name != "region"}
    write_json(path, {"primary_classes": [0], "label_fraction": 1.0, "absent": absent})
    assert read(study, "test").held_out == ["val", "test"]
