"""What crosses from one stage to the next: written whole or not at all, checked both ways.

Chips travel as Parquet that Hugging Face ``datasets`` opens directly (``Image()`` features, the
``huggingface`` schema metadata, 100-row groups). Flat tables travel as CSV under a pandera schema.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pyarrow
import pyarrow.parquet as pq
from PIL import Image

from groundsynth.atomic import atomic_path, write_json  # noqa: F401  (offered to every stage)
from groundsynth.errors import GroundsynthError
from groundsynth.legend import SHARE_COLUMNS, check_map

ROW_GROUP = 100


def read_json(path: Path, remake: str) -> dict:
    """Read a JSON artefact; ``remake`` is the command that makes it, for the message."""
    _must_exist(path, remake)
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise GroundsynthError(f"{path}: not valid JSON ({error}); remake it: {remake}") from None


# tables of all studies together, which no rule makes
OWN_COMMANDS = {
    "published/claims.csv": "python -m groundsynth claims",
    "results/attempts.csv": "git checkout results/attempts.csv, for what was tried cannot be made again",
}


def remake_command(path: Path) -> str:
    """Return the command that makes an artefact again."""
    from groundsynth.paths import project_root

    own = "/".join(Path(path).parts[-2:])
    if own in OWN_COMMANDS:
        return OWN_COMMANDS[own]
    try:
        shown = Path(path).resolve().relative_to(project_root())
    except ValueError:
        shown = path
    parts = Path(shown).parts
    named = len(parts) > 1 and parts[0] == "results" and parts[1] not in ("laptop", "scratch")
    study = f" --configfile config/{parts[1]}.yaml" if named else ""
    return f"snakemake --cores all{study} --force {shown}"


# --- flat tables -----------------------------------------------------------------------------

_fraction = pa.Check.in_range(0, 1)


def _column(kind: type | str, *checks: pa.Check, nullable: bool = False) -> pa.Column:
    return pa.Column(kind, checks=list(checks), nullable=nullable, coerce=True)


ORIGIN = ("sensor", "season", "place")  # where a scene is from
METRIC_COLUMNS = (
    "study", "stage", "system", "arm", "regime", "metric", "class", "value", "low", "high", "n", "seeds",
)  # fmt: skip

TABLES: dict[str, pa.DataFrameSchema] = {
    # the one table of numbers; empty text where a column does not apply
    "metrics": pa.DataFrameSchema(
        {
            **{name: _column(str) for name in METRIC_COLUMNS[:7]},
            "value": _column(float, nullable=True),
            "low": _column(float, nullable=True),
            "high": _column(float, nullable=True),
            "n": _column("Int64", nullable=True),
            "seeds": _column("Int64", nullable=True),
        },
        checks=[
            pa.Check(
                lambda t: t["low"].isna() | t["high"].isna() | (t["low"] <= t["high"]),
                error="low must not exceed high",
            )
        ],
        strict=True,
    ),
    # one row per spatial block
    "blocks": pa.DataFrameSchema(
        {
            "block": _column(int),
            "ground": _column(int, pa.Check.ge(0)),  # pieces of ground that do not touch
            "group": _column(int),  # -1 in a held-out region
            "split": _column(str, pa.Check.isin(["train", "val", "test", "hidden", "region"])),
            "row": _column(int),
            "col": _column(int),
            "height": _column(int),
            "width": _column(int),
            **{f"pixels_{k}": _column(int, pa.Check.ge(0)) for k in range(len(SHARE_COLUMNS))},
        },
        unique=["block"],
        strict=True,
    ),
    # one row per sample that was asked for something, stage 03: shares are NaN where none were given,
    # 'told' are those of the map that the prompt describes, 'raised' the rare class that was to be raised or -1
    "asked": pa.DataFrameSchema(
        {
            "chip_id": _column(str),
            "kind": _column(str),
            "prompt": _column(str),
            "condition": _column(str),
            "raised": _column(int, pa.Check.in_range(-1, len(SHARE_COLUMNS) - 1)),
            **{name: _column(float, _fraction, nullable=True) for name in SHARE_COLUMNS},
            **{f"told_{k}": _column(float, _fraction, nullable=True) for k in range(len(SHARE_COLUMNS))},
            **{name: _column(str) for name in ORIGIN},
        },
        unique=["chip_id"],
        strict=True,
    ),
    # one row per synthetic chip: the map it was made with or from, against the labeller's map
    "agreement": pa.DataFrameSchema(
        {
            "chip_id": _column(str),
            "system": _column(str),
            "agreement": _column(float, _fraction, nullable=True),
            "kappa": _column(float, pa.Check.in_range(-1, 1), nullable=True),
            "trust": _column(float, _fraction),
            **{f"iou_{k}": _column(float, _fraction, nullable=True) for k in range(len(SHARE_COLUMNS))},
        },
        unique=["chip_id"],
        strict=True,
    ),
    # one row per caption
    "captions": pa.DataFrameSchema(
        {
            "chip_id": _column(str),
            "system": _column(str),  # "real" or a generating system
            "caption_index": _column(int, pa.Check.ge(0)),
            "caption": _column(str, pa.Check.str_length(min_value=1)),
            "mode": _column(str, pa.Check.isin(["map", "image", "both"])),
            "writer": _column(str),
            "writer_version": _column(str),
            "prompt": _column(str),
            "decoding": pa.Column(str, coerce=True, required=False),  # only where a model wrote
            "seed": _column("int64"),
        },
        unique=["chip_id", "caption_index", "writer"],
        strict=True,
    ),
    # one row per caption that a writer could not write
    "unwritten": pa.DataFrameSchema(
        {
            "chip_id": _column(str),
            "system": _column(str),
            "caption_index": _column(int, pa.Check.ge(0)),
            "writer": _column(str),
            "reason": _column(str, pa.Check.str_length(min_value=1)),
        },
        unique=["chip_id", "caption_index", "writer"],
        strict=True,
    ),
    # one row per claim of a caption
    "claims": pa.DataFrameSchema(
        {
            "chip_id": _column(str),
            "system": _column(str),
            "caption_index": _column(int),
            "kind": _column(str),
            "text": _column(str),
            "verdict": _column(str, pa.Check.isin(["true", "false", "not checkable"])),
        },
        strict=True,
    ),
    # one row per attempt: who opened the test split, or what was tried on validation; the delta is in mIoU
    "attempts": pa.DataFrameSchema(
        {
            "study": _column(str, pa.Check.str_length(min_value=1)),
            "config_hash": _column(str, pa.Check.str_matches(r"^[0-9a-f]{12}$")),
            "what": _column(str, pa.Check.str_length(min_value=3)),
            "version": _column(str),
            "commit": _column(str),
            "folds": _column(str, pa.Check.str_matches(r"^\d+(;\d+)*$")),
            "arms": _column(int, pa.Check.ge(0)),  # none where nothing is trained
            "best_arm": _column(str),
            **{name: _column(float, nullable=True) for name in ("val_delta", "val_low", "val_high")},
            "test_opened": _column(str, pa.Check.isin(["yes", "no"])),
            "note": _column(str),
        },
        unique=["study", "config_hash", "what"],
        strict=True,
    ),
    # one row per published claim and scene it was tested on; all three numbers in the claim's unit
    "published_claims": pa.DataFrameSchema(
        {
            "system": _column(str, pa.Check.str_length(min_value=3)),
            "claim": _column(str, pa.Check.str_length(min_value=3)),
            "published": _column(str),  # with its unit
            **{name: _column(float, nullable=True) for name in ("ours", "low", "high")},
            "verdict": _column(str, pa.Check.isin(["reproduced", "not shown", "reversed"])),
            "scenes": _column(str),
            "note": _column(str, pa.Check.str_length(min_value=3)),
        },
        checks=[
            pa.Check(
                lambda t: (t["verdict"] == "not shown") | (t["low"] <= t["high"]),
                error="a verdict needs an interval",
            )
        ],
        unique=["system", "claim", "scenes"],
        strict=True,
    ),
    # one row per synthetic chip: everything the verdict rests on
    "certificate": pa.DataFrameSchema(
        {
            "chip_id": _column(str),
            "system": _column(str),
            "generator": _column(str),
            "seed": _column("int64"),
            "condition": _column(str),
            "model_hash": _column(str),
            "agreement": _column(float, nullable=True),
            "kappa": _column(float, nullable=True),
            "map_fit": _column(float, nullable=True),
            "map_shares": _column(float, _fraction, nullable=True),
            "claim_precision": _column(float, _fraction, nullable=True),
            "claims": _column(int),
            "caption_of_map": _column(float, _fraction, nullable=True),
            "caption_of_image": _column(float, nullable=True),
            "trust": _column(float),
            "nearest_train": _column(float),
            "nearest_chip": _column(str),
            "nearest_patch": _column(float),
            "unlike_real": _column(float),
            # of an image-text model, where the study has one
            "contrastive": pa.Column(float, coerce=True, nullable=True, required=False),
            "verdict": _column(str, pa.Check.isin(["keep", "drop"])),
            "reason": _column(str),
        },
        unique=["chip_id"],
        strict=True,
    ),
    # one row per exported chip: everything but its pictures
    "exported_chips": pa.DataFrameSchema(
        {
            **{name: _column(str) for name in ("chip_id", "system")},
            "origin": _column(str, pa.Check.isin(["real", "synthetic"])),
            **{name: _column(str) for name in ("generator", "model_hash", "seed", "condition")},
            "map_source": _column(str, pa.Check.isin(["reference", "given", "drawn", "labelled", "none"])),
            **{name: _column(str) for name in ("caption", "verdict", "reason", "split")},
            **{name: _column(float, _fraction, nullable=True) for name in SHARE_COLUMNS},
            "crs": _column(str),
            **{f"transform_{k}": _column(float, nullable=True) for k in "abcdef"},
        },
        unique=["chip_id"],
        strict=True,
    ),
    # one row per chip with a caption: how well a contrastive model thinks the two fit
    "contrastive": pa.DataFrameSchema(
        {
            "chip_id": _column(str),
            "system": _column(str),
            "similarity": _column(float, pa.Check.in_range(-1.001, 1.001)),  # cosine, single precision
            "match": _column(float, _fraction),
        },
        unique=["chip_id"],
        strict=True,
    ),
    # one row per file of an export, members of its shards too: what it is, and its hashes
    "exported_files": pa.DataFrameSchema(
        {
            **{name: _column(str) for name in ("path", "chip_id", "system")},
            "role": _column(str, pa.Check.isin(["image", "map", "file"])),
            "synthetic": _column(bool),
            "signed": _column(bool),
            "sha256": _column(str, pa.Check.str_length(64, 64)),
            "pixels": _column(str),
        },
        unique=["path"],
        strict=True,
    ),
    # one row per export, kind of picture, planted fault and verdict on it: how many files
    "faults": pa.DataFrameSchema(
        {
            **{name: _column(str) for name in ("export", "fault", "verdict")},
            "synthetic": _column(bool),
            "files": _column(int, pa.Check.gt(0)),
        },
        unique=["export", "synthetic", "fault", "verdict"],
        strict=True,
    ),
    # one row per answer of a rater to a blind trial
    "ratings": pa.DataFrameSchema(
        {
            "plan": _column(str, pa.Check.str_length(min_value=1)),  # which list of trials
            "trial": _column(int, pa.Check.ge(0)),
            "rater": _column(str, pa.Check.str_length(min_value=1)),
            "kind": _column(str, pa.Check.isin(["person", "simulated"])),
            "answer": _column(str, pa.Check.isin(["real", "synthetic", "yes", "no"])),
            "seconds": _column(float, pa.Check.ge(0)),
        },
        unique=["plan", "trial", "rater"],
        strict=True,
    ),
    # one row per real training chip: what cleaning made of its caption; round -1 = never kept
    "cleaned": pa.DataFrameSchema(
        {
            "chip_id": _column(str),
            "verdict": _column(str, pa.Check.isin(["keep", "rewritten", "drop"])),
            "round": _column(int, pa.Check.ge(-1)),
            "score": _column(float),
            "caption": _column(str, pa.Check.str_length(min_value=1)),
        },
        unique=["chip_id"],
        strict=True,
    ),
    # one row per published change of cleaning and set that ours is held against; empty where not measured
    "comparators": pa.DataFrameSchema(
        {
            **{name: _column(str) for name in ("measure", "published", "published_against", "metric")},
            "against": _column(str, pa.Check.isin(["uncleaned", "random_drop"])),
            **{name: _column(float, nullable=True) for name in ("value", "low", "high")},
            "shown": _column(
                str, pa.Check.isin(["better", "worse", "no difference shown", "no interval", "not measured"])
            ),
        },
        unique=["measure", "metric", "against"],
        strict=True,
    ),
    # one row per training of a segmenter: what it saw, how long it took, which checkpoint was kept
    "runs": pa.DataFrameSchema(
        {
            "arm": _column(str),
            "seed": _column(int),
            "fold": _column(int, pa.Check.ge(0)),
            "real_chips": _column(int, pa.Check.ge(0)),
            "synthetic_chips": _column(int, pa.Check.ge(0)),
            "seconds": _column(float, pa.Check.ge(0)),
            "best_step": _column(int, pa.Check.gt(0)),
            "val_miou": _column(float, _fraction),
        },
        unique=["arm", "seed", "fold"],
        strict=True,
    ),
    # one row per validation of a training: its learning curve
    "history": pa.DataFrameSchema(
        {
            "arm": _column(str),
            "seed": _column(int),
            "step": _column(int, pa.Check.gt(0)),
            "loss": _column(float),
            "val_miou": _column(float, _fraction),
        },
        unique=["arm", "seed", "step"],
        strict=True,
    ),
    # one row per training of a captioner in the captioning benchmark
    "captioning_runs": pa.DataFrameSchema(
        {
            "arm": _column(str),
            "seed": _column(int),
            "style": _column(str, pa.Check.isin(["words", "numbers"])),
            "fold": _column(int, pa.Check.ge(0)),
            "real_chips": _column(int, pa.Check.ge(0)),
            "synthetic_chips": _column(int, pa.Check.ge(0)),
            "seconds": _column(float, pa.Check.ge(0)),
            "best_step": _column(int, pa.Check.gt(0)),
            "val_f1": _column(float, _fraction),
        },
        unique=["arm", "seed", "style", "fold"],
        strict=True,
    ),
    # one row per validation of such a training
    "captioning_history": pa.DataFrameSchema(
        {
            "arm": _column(str),
            "seed": _column(int),
            "style": _column(str),
            "step": _column(int, pa.Check.gt(0)),
            "loss": _column(float),
            "val_f1": _column(float, _fraction),
        },
        unique=["arm", "seed", "style", "step"],
        strict=True,
    ),
    # one row per caption of a test chip in one of its turns, with what it adds to every score
    "test_captions": pa.DataFrameSchema(
        {
            "arm": _column(str),
            "seed": _column(int),
            "style": _column(str),
            "chip_id": _column(str),  # name/turn
            "block": _column(int),
            "caption": _column(str),  # empty where nothing was written
            "clear": _column(bool),  # whether the largest class leads by more than ten points
            **{
                name: _column(int, pa.Check.ge(0))
                for name in ("true", "false", "unchecked", "named", "large")
            },
            "dominant": _column(int),
            "said_dominant": _column(int),
            **{
                f"{kind}_{k}": _column(int, pa.Check.ge(0))
                for kind in ("found", "proposed")
                for k in range(1, 5)
            },
            "length": _column(int, pa.Check.ge(0)),
            "reference_length": _column(int, pa.Check.ge(0)),
            "rouge_l": _column(float, _fraction),
            "cider": _column(float, pa.Check.ge(0)),
            "meteor": _column(float, _fraction, nullable=True),
        },
        unique=["arm", "seed", "style", "chip_id"],
        strict=True,
    ),
    # true positives, false positives, false negatives per held-out chip, class, arm and seed
    "counts": pa.DataFrameSchema(
        {
            "arm": _column(str),
            "seed": _column(int),
            "split": _column(str, pa.Check.isin(["val", "test", "region"])),
            "chip_id": _column(str),
            "block": _column(int),
            "class": _column(int, pa.Check.in_range(0, len(SHARE_COLUMNS) - 1)),
            "tp": _column(int, pa.Check.ge(0)),
            "fp": _column(int, pa.Check.ge(0)),
            "fn": _column(int, pa.Check.ge(0)),
        },
        unique=["arm", "seed", "split", "chip_id", "class"],
        strict=True,
    ),
    # the same summed over the chips of a block, all folds of a study together
    "block_counts": pa.DataFrameSchema(
        {
            "fold": _column(int, pa.Check.ge(0)),
            "arm": _column(str),
            "seed": _column(int),
            "split": _column(str, pa.Check.isin(["val", "test", "region"])),
            "block": _column(int),
            "class": _column(int, pa.Check.in_range(0, len(SHARE_COLUMNS) - 1)),
            "tp": _column(int, pa.Check.ge(0)),
            "fp": _column(int, pa.Check.ge(0)),
            "fn": _column(int, pa.Check.ge(0)),
        },
        unique=["fold", "arm", "seed", "split", "block", "class"],
        strict=True,
    ),
    # labelled pixels, summed confidence and right answers per held-out chip, bin of confidence, arm and seed
    "calibration": pa.DataFrameSchema(
        {
            "arm": _column(str),
            "seed": _column(int),
            "split": _column(str, pa.Check.isin(["val", "test", "region"])),
            "chip_id": _column(str),
            "block": _column(int),
            "bin": _column(int, pa.Check.ge(0)),
            "pixels": _column(int, pa.Check.ge(0)),
            "confidence": _column(float, pa.Check.ge(0)),
            "right": _column(int, pa.Check.ge(0)),
        },
        unique=["arm", "seed", "split", "chip_id", "bin"],
        strict=True,
    ),
}


def _text_columns(kind: str) -> list[str]:
    return [name for name, column in TABLES[kind].columns.items() if "str" in str(column.dtype)]


def check_table(table: pd.DataFrame, kind: str, where: Path, remake: str = "") -> pd.DataFrame:
    """Return ``table`` coerced to its schema, or say which rule it breaks and in how many rows.

    Raises:
        GroundsynthError: file, rule, number of rows, and the command that remakes it.
    """
    table = table.assign(**{name: table[name].fillna("") for name in _text_columns(kind) if name in table})
    try:
        checked = TABLES[kind].validate(table, lazy=True)
        return checked[[name for name in TABLES[kind].columns if name in checked]]
    except pa.errors.SchemaErrors as error:
        cases = error.failure_cases
        first = cases.iloc[0]
        rows = cases[cases["check"] == first["check"]]["index"].nunique(dropna=True) or len(table)
        cure = remake or remake_command(where)
        raise GroundsynthError(
            f"{where}: breaks the rule '{first['check']}' of table '{kind}' "
            f"(column {first['column']}, value {first['failure_case']!r}) in {rows} rows; remake it: {cure}"
        ) from None


def write_table(table: pd.DataFrame, path: Path, kind: str) -> None:
    """Check and write a flat table as CSV, or as Parquet where the name ends so, atomically."""
    table = check_table(table, kind, path)
    with atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            table.to_parquet(temporary, index=False, compression="zstd")
        else:
            table.to_csv(temporary, index=False)


def read_table(path: Path, kind: str) -> pd.DataFrame:
    """Read and check a flat table, CSV or Parquet."""
    _must_exist(path, remake_command(path))
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
        else:
            table = pd.read_csv(path, dtype=dict.fromkeys(_text_columns(kind), str))
    except (ValueError, OSError, pd.errors.ParserError) as error:
        raise GroundsynthError(
            f"{path}: not a readable table ({error}); remake it: {remake_command(path)}"
        ) from None
    return check_table(table, kind, path)


def metric_row(
    study: str, stage: str, metric: str, value: float, *, system: str = "", arm: str = "",
    regime: str = "", class_: str = "", low: float | None = None, high: float | None = None,
    n: int | None = None, seeds: int | None = None,
) -> dict:  # fmt: skip
    """Return one row of the one table of numbers (see ``TABLES['metrics']``)."""
    return dict(
        zip(
            METRIC_COLUMNS,
            (study, stage, system, arm, regime, metric, class_, value, low, high, n, seeds),
            strict=True,
        )
    )


def write_metrics(rows: list[dict], path: Path) -> pd.DataFrame:
    """Write a stage's ``metrics.csv`` from rows made by :func:`metric_row`; return the table."""
    table = pd.DataFrame(rows, columns=list(METRIC_COLUMNS))
    write_table(table, path, "metrics")
    return read_table(path, "metrics")


# --- chips -----------------------------------------------------------------------------------

_SHARED = {"chip_id": "string", "image": "image", "mask": "image"}
_SHARES = dict.fromkeys(SHARE_COLUMNS, "float64")
CHIPS: dict[str, dict[str, str]] = {
    # real chips, stage 01; shares are of the labelled pixels
    "real": {
        **_SHARED, **_SHARES, "labelled": "float64", "scene": "string", "split": "string",
        "block": "int64", "row": "int64", "col": "int64", "crs": "string",
        **{f"transform_{k}": "float64" for k in "abcdef"},
    },
    # synthetic chips, stage 03; the mask is all 255 where the system makes none
    "synthetic": {
        **_SHARED, **_SHARES, "system": "string", "generator": "string", "seed": "int64",
        "condition": "string", "condition_transform": "int64", "no_label_rate": "float64",
        "model_hash": "string",
    },
    # the labeller's maps of synthetic chips, stage 04: 'mask' is the label, 'trust' the
    # probability (0…255) of the named class
    "labels": {"chip_id": "string", "mask": "image", "trust": "image", "system": "string"},
    # maps that a filter left, stage 04; 'copies' says how often training may use a chip, 0 = not at all
    "filtered": {"chip_id": "string", "mask": "image", "copies": "int64", "system": "string"},
    # maps that the captions of kept training chips are written from, beside table 'cleaned'
    "described": {"chip_id": "string", "mask": "image"},
}  # fmt: skip


def encode_png(array: np.ndarray) -> bytes:
    """Encode (h, w) or (h, w, 3) uint8 as PNG; run lengths pack chips and maps smaller and faster than matches do."""
    buffer = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(array, np.uint8))
    picture.save(buffer, "PNG", compress_level=1, compress_type=zlib.Z_RLE)
    return buffer.getvalue()


def decode_png(data: bytes) -> np.ndarray:
    """Decode PNG bytes to (h, w) or (h, w, 3) uint8."""
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture)


def _features(kind: str):
    from datasets import Features, Value
    from datasets import Image as ImageFeature

    return Features(
        {name: ImageFeature() if type_ == "image" else Value(type_) for name, type_ in CHIPS[kind].items()}
    )


def write_chips(chips: pd.DataFrame | Iterable[pd.DataFrame], path: Path, kind: str) -> None:
    """Write chips as one Parquet shard, atomically.

    Args:
        chips: one row per chip with the columns of ``CHIPS[kind]``; image columns hold (h, w, 3)
            or (h, w) uint8 arrays. Or several such tables, written one after the other, so that
            only one need be in memory.
        kind: ``real``, ``synthetic`` or ``labels``.

    Raises:
        GroundsynthError: wrong columns, a chip_id that repeats, or a full disk; nothing is written then.
    """
    schema, seen = _features(kind).arrow_schema, set()
    tables = [chips] if isinstance(chips, pd.DataFrame) else chips
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        waiting = schema.empty_table()
        for table in tables:
            _check_chips(table, path, kind, seen)
            for start in range(0, len(table), ROW_GROUP):
                rows = _encode_chips(table.iloc[start : start + ROW_GROUP], kind, schema)
                waiting = pyarrow.concat_tables([waiting, rows])
                if len(waiting) >= ROW_GROUP:
                    writer.write_table(waiting.slice(0, ROW_GROUP).combine_chunks())
                    waiting = waiting.slice(ROW_GROUP)
        if len(waiting):
            writer.write_table(waiting.combine_chunks())


def _check_chips(chips: pd.DataFrame, path: Path, kind: str, seen: set[str]) -> None:
    """Stop unless columns are those of the kind and no chip_id repeats; add those of ``chips`` to ``seen``."""
    odd = sorted(set(chips.columns) ^ set(CHIPS[kind]))
    if odd:
        raise GroundsynthError(f"{path}: columns {odd} do not match the '{kind}' chips; see artifacts.CHIPS")
    repeat = int((chips["chip_id"].duplicated() | chips["chip_id"].isin(seen)).sum())
    if repeat:
        raise GroundsynthError(f"{path}: chip_id must be unique; {repeat} repeat")
    seen.update(chips["chip_id"])


def _encode_chips(chips: pd.DataFrame, kind: str, schema: pyarrow.Schema) -> pyarrow.Table:
    columns = [
        [
            {"bytes": encode_png(a), "path": f"{i}.png"}
            for a, i in zip(chips[name], chips["chip_id"], strict=True)
        ]
        if type_ == "image"
        else chips[name].tolist()
        for name, type_ in CHIPS[kind].items()
    ]
    return pyarrow.table(
        [pyarrow.array(c, type=schema.field(n).type) for c, n in zip(columns, CHIPS[kind], strict=True)],
        schema=schema,
    )


def read_chips(
    path: Path, kind: str, where: Callable[[pd.DataFrame], pd.Series] | None = None, pictures: bool = True
) -> pd.DataFrame:
    """Read and check one shard of chips; image columns come back as uint8 arrays.

    Args:
        pictures: False leaves the image columns out, and they are not read.
        where: keeps the rows for which it returns True; called with the flat columns only, so
            that what is not wanted is not decoded.

    Raises:
        GroundsynthError: missing or unreadable file, wrong columns, map values outside the legend.
    """
    remake = remake_command(path)
    _must_exist(path, remake)
    try:
        names = pq.read_schema(path).names
        flat = [name for name in names if CHIPS[kind].get(name) != "image"]
        table = pq.read_table(path, columns=None if pictures else flat)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise GroundsynthError(f"{path}: not readable Parquet ({error}); remake it: {remake}") from None
    if names != list(CHIPS[kind]):
        odd = sorted(set(names) ^ set(CHIPS[kind]))
        raise GroundsynthError(f"{path}: columns {odd} do not match the '{kind}' chips; remake it: {remake}")
    shown = [name for name, type_ in CHIPS[kind].items() if type_ == "image" and pictures]
    frame = table.drop_columns(shown).to_pandas()
    if where is not None:
        keep = np.flatnonzero(where(frame))
        table, frame = table.take(keep), frame.iloc[keep].reset_index(drop=True)
    for name in shown:
        cells = table.column(name).to_pylist()
        try:
            frame[name] = [decode_png(cell["bytes"]) for cell in cells]
        except Exception as error:
            raise GroundsynthError(
                f"{path}: a broken PNG in column '{name}' ({error}); remake it: {remake}"
            ) from None
    if len(frame) and pictures:
        check_map(np.stack(frame["mask"]), str(path))
    return frame[[name for name in CHIPS[kind] if name in frame]]


def _must_exist(path: Path, remake: str) -> None:
    if not Path(path).is_file():
        raise GroundsynthError(f"{path}: missing; make it first: {remake}")
