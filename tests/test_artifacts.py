"""What crosses between stages: every rule broken on purpose, on write and on read; never half a file."""

from __future__ import annotations

import errno
import json
import os
import resource
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from groundsynth import artifacts
from groundsynth.artifacts import (
    CHIPS,
    TABLES,
    atomic_path,
    decode_png,
    encode_png,
    metric_row,
    read_chips,
    read_json,
    read_table,
    write_chips,
    write_json,
    write_metrics,
    write_table,
)
from groundsynth.errors import GroundsynthError
from groundsynth.legend import SHARE_COLUMNS

K = range(len(SHARE_COLUMNS))
SAMPLE = dict(chip_id="unified-s0-joint-000000", system="joint")
ROWS: dict[str, dict] = {
    "metrics": metric_row("smoke", "01_prepare_data", "chips", 3.0, arm="train", low=2.0, high=4.0, n=3, seeds=1),
    "blocks": dict(
        block=0, ground=0, group=0, split="train", row=0, col=0, height=64, width=64, **{f"pixels_{k}": 9 for k in K}
    ),
    "asked": dict(
        chip_id="text-s0-text-000000", kind="both", prompt="A lake.", condition="caption of c", raised=-1,
        **{f"share_{k}": 1 / 7 for k in K}, **{f"told_{k}": 0.5 for k in K},
        sensor="Sentinel-2", season="December 2024", place="",
    ),
    "agreement": dict(**SAMPLE, agreement=0.5, kappa=-0.1, trust=0.9, **{f"iou_{k}": 0.5 for k in K}),
    "captions": dict(
        **SAMPLE, caption_index=0, caption="Forest.", mode="map", writer="layout", writer_version="1",
        prompt="", decoding="greedy", seed=7,
    ),
    "unwritten": dict(**SAMPLE, caption_index=0, writer="vlm:image", reason="its image cannot be read"),
    "claims": dict(**SAMPLE, caption_index=0, kind="presence", text="forest", verdict="true"),
    "certificate": dict(
        **SAMPLE, generator="unified-s0", seed=7, condition="", model_hash="ab", agreement=0.5, kappa=0.4,
        trust=0.9, claim_precision=1.0, claims=2, nearest_train=0.1, nearest_chip="c", unlike_real=0.3,
        map_fit=0.4, map_shares=0.9, caption_of_map=1.0, caption_of_image=0.2, nearest_patch=0.2, contrastive=0.1,
        verdict="keep", reason="ok",
    ),
    "contrastive": dict(**SAMPLE, similarity=0.3, match=0.6),
    "cleaned": dict(chip_id="c", verdict="rewritten", round=1, score=-0.2, caption="Forest."),
    "captioning_runs": dict(
        arm="real", seed=0, style="words", fold=0, real_chips=9, synthetic_chips=0, seconds=1.5, best_step=5,
        val_f1=0.4,
    ),
    "captioning_history": dict(arm="real", seed=0, style="words", step=5, loss=1.5, val_f1=0.4),
    "test_captions": dict(
        arm="real", seed=0, style="words", chip_id="c/0", block=0, caption="Forest.", clear=True,
        **{"true": 1, "false": 0}, unchecked=0, named=1, large=1, dominant=0, said_dominant=0,
        **{f"{kind}_{k}": 1 for kind in ("found", "proposed") for k in range(1, 5)},
        length=2, reference_length=2, rouge_l=1.0, cider=4.0, meteor=0.5,
    ),
    "exported_chips": dict(
        **SAMPLE, origin="synthetic", generator="unified-s0", model_hash="ab", seed="seven", condition="c",
        map_source="drawn", caption="Forest.", verdict="keep", reason="ok", split="", crs="",
        **{f"share_{k}": 0.0 for k in K}, **{f"transform_{k}": 1.0 for k in "abcdef"},
    ),
    "exported_files": dict(
        path="png/joint/a_image.png", **SAMPLE, role="image", synthetic=True, signed=False, sha256="0" * 64,
        pixels="ab",
    ),
    "faults": dict(export="signed", synthetic=True, fault="stripped", verdict="mark stripped", files=3),
    "comparators": dict(
        measure="a distance", published="-35 %", published_against="another", metric="kid_change",
        against="uncleaned", value=-0.1, low=-0.2, high=0.1, shown="no difference shown",
    ),
    "ratings": dict(plan="ab", trial=0, rater="a", kind="person", answer="real", seconds=1.5),
    "runs": dict(
        arm="real", seed=0, fold=0, real_chips=9, synthetic_chips=0, seconds=1.5, best_step=5, val_miou=0.4
    ),
    "history": dict(arm="real", seed=0, step=5, loss=1.5, val_miou=0.4),
    "counts": {
        **dict(arm="real", seed=0, split="test", chip_id="c", block=0), "class": 0, **dict(tp=1, fp=2, fn=3),
    },
    "block_counts": {**dict(fold=0, arm="real", seed=0, split="test", block=0), "class": 0, **dict(tp=1, fp=2, fn=3)},
    "calibration": dict(
        arm="real", seed=0, split="test", chip_id="c", block=0, bin=3, pixels=4, confidence=0.9, right=2
    ),
    "attempts": dict(
        study="laptop", config_hash="0123456789ab", what="publish", version="0.1.0", commit="0a1b2c", folds="0;1",
        arms=9, best_arm="real+mask", val_delta=0.01, val_low=-0.01, val_high=0.03, test_opened="yes", note="",
    ),
    "published_claims": dict(
        system="2: joint", claim="it helps", published="+7.6 pp", ours=0.4, low=-0.1, high=1.1,
        verdict="not shown", scenes="nc_landsat7", note="one fold",
    ),
}  # fmt: skip
# one broken rule per line: table, column, bad value
BROKEN = [
    ("metrics", "low", 5.0),
    ("metrics", "value", "much"),
    ("blocks", "split", "training"),
    ("blocks", "pixels_3", -1),
    ("asked", "raised", 7),
    ("asked", "share_2", -0.1),
    ("agreement", "agreement", 1.5),
    ("agreement", "kappa", -1.1),
    ("agreement", "iou_6", -0.1),
    ("captions", "caption", ""),
    ("captions", "mode", "guess"),
    ("unwritten", "reason", ""),
    ("claims", "verdict", "maybe"),
    ("certificate", "verdict", "perhaps"),
    ("certificate", "claim_precision", 2.0),
    ("certificate", "nearest_train", None),
    ("contrastive", "match", 1.5),
    ("contrastive", "similarity", 2.0),
    ("cleaned", "verdict", "perhaps"),
    ("cleaned", "caption", ""),
    ("captioning_runs", "style", "songs"),
    ("captioning_runs", "best_step", 0),
    ("captioning_history", "val_f1", 1.2),
    ("captioning_history", "loss", None),
    ("test_captions", "rouge_l", 1.2),
    ("test_captions", "named", -1),
    ("exported_chips", "map_source", "found"),
    ("exported_chips", "origin", "half"),
    ("exported_files", "role", "page"),
    ("exported_files", "sha256", "0"),
    ("contrastive", "similarity", 1.1),
    ("contrastive", "match", -0.1),
    ("cleaned", "verdict", "maybe"),
    ("cleaned", "round", -2),
    ("cleaned", "caption", ""),
    ("faults", "files", 0),
    ("comparators", "against", "nothing"),
    ("comparators", "shown", "perhaps"),
    ("ratings", "answer", "perhaps"),
    ("ratings", "seconds", -1.0),
    ("runs", "best_step", 0),
    ("runs", "seconds", -1.0),
    ("history", "val_miou", 1.2),
    ("history", "loss", None),
    ("counts", "split", "train"),
    ("counts", "class", 7),
    ("counts", "tp", -1),
    ("block_counts", "split", "train"),
    ("block_counts", "fold", -1),
    ("calibration", "split", "hidden"),
    ("calibration", "right", -1),
    ("attempts", "folds", "0,1"),
    ("attempts", "test_opened", "perhaps"),
    ("published_claims", "verdict", "maybe"),
    ("published_claims", "note", ""),
]


def frame(kind: str, **changes: object) -> pd.DataFrame:
    return pd.DataFrame([{**ROWS[kind], **changes}])


def test_every_table_has_a_sample_and_a_mutation():
    assert set(ROWS) == set(TABLES) == {kind for kind, *_ in BROKEN}


@pytest.mark.parametrize("kind", TABLES)
def test_a_good_table_survives_the_disk(tmp_path: Path, kind: str):
    table = frame(kind)
    write_table(table, tmp_path / "t.csv", kind)
    back = read_table(tmp_path / "t.csv", kind)
    assert list(back) == list(TABLES[kind].columns)
    assert back.iloc[0].to_dict() == pytest.approx(table.iloc[0].to_dict())


@pytest.mark.parametrize(("kind", "column", "value"), BROKEN)
def test_a_broken_rule_is_caught_on_write(tmp_path: Path, kind: str, column: str, value: object):
    path = tmp_path / "t.csv"
    with pytest.raises(GroundsynthError, match=rf"t.csv: breaks the rule .* of table '{kind}'"):
        write_table(frame(kind, **{column: value}), path, kind)
    assert not path.exists()


@pytest.mark.parametrize(("kind", "column", "value"), BROKEN)
def test_a_broken_rule_is_caught_on_read(tmp_path: Path, kind: str, column: str, value: object):
    path = tmp_path / "t.csv"
    frame(kind, **{column: value}).to_csv(path, index=False)
    with pytest.raises(
        GroundsynthError, match=rf"of table '{kind}' .* in 1 rows; remake it: snakemake .*t.csv"
    ):
        read_table(path, kind)


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("change", ["a column too many", "a column too few"])
def test_other_columns_are_caught_both_ways(tmp_path: Path, kind: str, change: str):
    last = list(TABLES[kind].columns)[-1]
    table = frame(kind).assign(extra=1) if change == "a column too many" else frame(kind).drop(columns=last)
    with pytest.raises(GroundsynthError, match=f"of table '{kind}'"):
        write_table(table, tmp_path / "t.csv", kind)
    table.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(GroundsynthError, match=f"of table '{kind}'"):
        read_table(tmp_path / "t.csv", kind)


@pytest.mark.parametrize("kind", [kind for kind, schema in TABLES.items() if schema.unique])
def test_a_repeated_row_is_caught_both_ways(tmp_path: Path, kind: str):
    twice = pd.concat([frame(kind)] * 2, ignore_index=True)
    with pytest.raises(GroundsynthError, match=f"of table '{kind}'"):
        write_table(twice, tmp_path / "t.csv", kind)
    twice.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(GroundsynthError, match=f"of table '{kind}'"):
        read_table(tmp_path / "t.csv", kind)


def test_empty_text_and_missing_intervals_survive(tmp_path: Path):
    back = write_metrics([metric_row("smoke", "s", "m", float("nan"))], tmp_path / "metrics.csv")
    assert back.loc[0, ["arm", "class", "regime"]].tolist() == ["", "", ""]
    assert back.loc[0, ["value", "low", "high", "n"]].isna().all()


def test_a_missing_file_names_the_command_that_makes_it(tmp_path: Path):
    for read in (lambda p: read_table(p, "blocks"), lambda p: read_chips(p, "real")):
        with pytest.raises(
            GroundsynthError, match="gone: missing; make it first: snakemake --cores all --force"
        ):
            read(tmp_path / "gone")
    with pytest.raises(GroundsynthError, match="gone: missing; make it first: make data"):
        read_json(tmp_path / "gone", "make data")


def test_corrupt_files_are_named_with_their_cure(tmp_path: Path):
    broken = tmp_path / "broken"
    broken.write_bytes(b'{"half": ')
    with pytest.raises(GroundsynthError, match=r"not valid JSON .*; remake it: make data"):
        read_json(broken, "make data")
    with pytest.raises(GroundsynthError, match=r"not readable Parquet .*; remake it: snakemake"):
        read_chips(broken, "real")
    broken.write_bytes(b'a,b\n"1,2\n3')
    with pytest.raises(GroundsynthError, match="broken"):
        read_table(broken, "blocks")
    broken.write_bytes(b"")
    with pytest.raises(GroundsynthError, match=r"not a readable table .*; remake it: snakemake"):
        read_table(broken, "blocks")


# --- chips -----------------------------------------------------------------------------------


def chips(kind: str, n: int = 3) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    invent = {"string": lambda i: f"name{i}", "float64": lambda i: i / 4, "int64": lambda i: i}
    rows = []
    for i in range(n):
        row = {name: invent[type_](i) for name, type_ in CHIPS[kind].items() if type_ != "image"}
        pictures = {
            name: generator.integers(0, 7, (8, 8), np.uint8)
            for name, t in CHIPS[kind].items()
            if t == "image"
        }
        rows.append({**row, **pictures})
    return pd.DataFrame(rows)


@pytest.mark.parametrize("kind", CHIPS)
def test_chips_survive_the_disk(tmp_path: Path, kind: str):
    table = chips(kind)
    table["mask"] = [np.where(mask == 3, 255, mask).astype(np.uint8) for mask in table["mask"]]
    write_chips(table, tmp_path / "c.parquet", kind)
    back = read_chips(tmp_path / "c.parquet", kind)
    assert list(back) == list(CHIPS[kind])
    assert (np.stack(back["mask"]) == np.stack(table["mask"])).all()
    assert "huggingface" in str(pq.read_schema(tmp_path / "c.parquet").metadata)


def test_rows_are_chosen_before_pictures_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_chips(chips("real", 5), tmp_path / "c.parquet", "real")
    decoded = []
    monkeypatch.setattr(artifacts, "decode_png", lambda data: decoded.append(1) or decode_png(data))
    back = read_chips(tmp_path / "c.parquet", "real", where=lambda c: c["row"] >= 3)
    assert back["row"].tolist() == [3, 4]
    assert len(decoded) == 4, "two chips, an image and a mask each"


def test_chips_of_another_kind_or_shape_are_refused(tmp_path: Path):
    path = tmp_path / "c.parquet"
    with pytest.raises(GroundsynthError, match=r"columns .* do not match the 'synthetic' chips"):
        write_chips(chips("real"), path, "synthetic")
    with pytest.raises(GroundsynthError, match="chip_id must be unique; 1 repeat"):
        write_chips(chips("real").assign(chip_id=["a", "a", "b"]), path, "real")
    assert not path.exists()
    write_chips(chips("real"), path, "real")
    with pytest.raises(GroundsynthError, match=r"columns .* do not match the 'labels' chips; remake it"):
        read_chips(path, "labels")


def test_a_map_value_outside_the_legend_is_caught_on_read(tmp_path: Path):
    table = chips("labels")
    table.loc[1, "mask"] = None
    table["mask"] = [np.full((8, 8), 9, np.uint8) if mask is None else mask for mask in table["mask"]]
    write_chips(table, tmp_path / "c.parquet", "labels")
    with pytest.raises(GroundsynthError, match="class code 9 is not in the legend"):
        read_chips(tmp_path / "c.parquet", "labels")


def test_a_broken_picture_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        patch.setattr(artifacts, "encode_png", lambda array: encode_png(array)[:40])
        write_chips(chips("real"), tmp_path / "c.parquet", "real")
    with pytest.raises(GroundsynthError, match=r"a broken PNG in column 'image' .*; remake it: snakemake"):
        read_chips(tmp_path / "c.parquet", "real")


@pytest.mark.parametrize("shape", [(5, 9), (5, 9, 3)])
def test_pictures_are_kept_exactly(shape: tuple):
    array = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert (decode_png(encode_png(array)) == array).all()


# --- atomic writing --------------------------------------------------------------------------

WRITERS = {
    "json": lambda path, big: write_json(path, {"x": "y" * 5000 if big else 1}),
    "table": lambda path, big: write_table(
        pd.concat([frame("claims")] * (500 if big else 1)), path, "claims"
    ),
    "chips": lambda path, big: write_chips(chips("real", 60 if big else 2), path, "real"),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_leaves_the_old_file_whole(tmp_path: Path, kind: str):
    """The kernel refuses to let the file grow, as a full disk does."""
    path = tmp_path / "file"
    WRITERS[kind](path, False)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, hard))
    try:
        with pytest.raises(GroundsynthError, match=r"file: could not be written .*; free some space"):
            WRITERS[kind](path, True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["file"], "nothing temporary stays behind"


def test_no_space_left_is_told_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "data.json"
    write_json(path, {"old": 1})
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(GroundsynthError, match=r"No space left on device.*finished stages are kept"):
            write_json(path, {"new": 2})
    assert json.loads(path.read_text()) == {"old": 1}
    assert len(list(tmp_path.iterdir())) == 1


def test_a_failure_of_the_writer_itself_is_passed_on_and_leaves_nothing(tmp_path: Path):
    def fail() -> None:
        with atomic_path(tmp_path / "x") as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_write_makes_its_folder_and_an_ordinary_file(tmp_path: Path):
    write_json(tmp_path / "a" / "b.json", {"ä": 1})
    assert (tmp_path / "a" / "b.json").stat().st_mode & 0o777 == 0o644
    assert read_json(tmp_path / "a" / "b.json", "") == {"ä": 1}
