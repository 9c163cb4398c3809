"""The commands ``export-chips`` and ``check-marks``: chips for others, and whether they are still what they say."""

from __future__ import annotations

import json
import shutil
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from groundsynth.artifacts import TABLES, read_chips, read_json, read_table, remake_command, write_metrics
from groundsynth.atomic import atomic_path
from groundsynth.checks.marked_folder import GOOD, check_folder, mark_rows
from groundsynth.config import Study
from groundsynth.data.chip_export import CHIPS, LIST, Writer
from groundsynth.data.croissant import croissant
from groundsynth.data.marks import Credential, load_credential
from groundsynth.data.synthetic import read_synthetic
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL
from groundsynth.paths import stage_dir
from groundsynth.systems import GIVEN_MAP
from groundsynth.workflow.parameters import generator_names

DRAWN_LAYOUTS = ("joint", "layout")  # maps to obey that a generator drew, too
SHOWN_FAULTS = 20
README = """# {name}

{count} chips ({systems}), {title}. Licence: {licence}. Credit: {citation}.

| file | what |
|---|---|
| `chips.csv` | one row per chip: system, generator, seed, model hash, caption, verdict of the certificate, place |
| `files.csv` | one row per picture, inside shards too: synthetic or not, signed or not, hashes of bytes and pixels |
| `croissant.json` | the same for machines, in Croissant's vocabulary |

Maps hold class codes 0…6; 255 is no label. Pictures that a network made carry the IPTC digital source type
`trainedAlgorithmicMedia` in their XMP{signed}. Real chips, and real maps that an image was drawn for, carry no
such mark. `python -m groundsynth check-marks <this folder>` says whether every file is still what it was.
"""


def export_chips(
    study: Study, folder: Path, systems: list[str] | None = None, fold: int = 0, kept: bool = False,
    credential: Credential | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Write an export, whole or not at all; return its list of files.

    Args:
        folder: new, empty, or an earlier export, which is replaced.
        systems: of the study, or ``real``; None takes all of them.
        kept: leaves out synthetic chips without the verdict *keep*.
        credential: signs the pictures in the place of the study's own certificate, if it names one.

    Raises:
        GroundsynthError: an unknown system, a folder that holds something else, a certificate that does not fit.
    """
    folder = Path(folder)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / LIST).is_file():
        raise GroundsynthError(
            f"{folder}: holds other files; name an empty folder or one of an earlier export"
        )
    options = study.export
    if credential is None and options.certificate:
        credential = load_credential(Path(options.certificate), Path(options.key))
    chips = gather_chips(study, systems, fold, kept)
    prepared = stage_dir(study.study, "01_prepare_data", fold) / "data.json"
    about = read_json(prepared, remake_command(prepared))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        whole = Path(temporary) / "export"
        writer = Writer(whole, options.formats, credential)
        writer.write(chips, partial(tqdm, desc="chips", mininterval=2))
        flat, shards = writer.write_facts(chips), writer.hashes()
        text = README.format(
            name=study.study, count=len(chips), systems=", ".join(chips["system"].unique()), title=about["title"],
            licence=about["licence"], citation=about["citation"],
            signed=" and a signed C2PA manifest" if credential else "; they are not signed",
        )  # fmt: skip
        files = {CHIPS: shards.pop(CHIPS)}
        described = croissant(study.study, about, flat, files, shards)
        metadata = json.dumps(described, indent=2, ensure_ascii=False) + "\n"
        listed = writer.close({"README.md": text.encode(), "croissant.json": metadata.encode()})
        shutil.rmtree(folder, ignore_errors=True)
        whole.rename(folder)
    return listed


def gather_chips(study: Study, systems: list[str] | None, fold: int, kept: bool) -> pd.DataFrame:
    """Return the chips to export with the columns of ``TABLES['exported_chips']``, ``image`` and ``mask``.

    Maps come from where they were made: drawn or given by stage 03, labelled by stage 04 for images that came
    without one. Captions and verdicts are empty where stages 05 and 06 have not run.
    """
    able = [*study.generate.systems, "real"]
    systems = able if systems is None else list(dict.fromkeys(systems))
    unknown = [name for name in systems if name not in able]
    if unknown:
        raise GroundsynthError(f"system '{unknown[0]}' is none of this study's: {', '.join(able)}")
    made = [name for name in systems if name != "real"]
    parts = [_synthetic(study, fold, made)] if made else []
    if "real" in systems:
        parts.append(_real(study, fold))
    chips = pd.concat(parts, ignore_index=True)
    chips = chips.merge(_captions(study, fold), on="chip_id", how="left")
    chips = chips.merge(_verdicts(study, fold), on="chip_id", how="left")
    if kept:
        chips = chips[(chips["origin"] == "real") | (chips["verdict"] == "keep")].reset_index(drop=True)
    if not len(chips):
        raise GroundsynthError(f"no chip of {', '.join(systems)} is left to export; leave out --kept")
    text = [name for name, column in TABLES["exported_chips"].columns.items() if "str" in str(column.dtype)]
    chips[text] = chips.reindex(columns=text).fillna("").astype(str)
    return chips[[*TABLES["exported_chips"].columns, "image", "mask"]]


def _synthetic(study: Study, fold: int, systems: list[str]) -> pd.DataFrame:
    chips = read_synthetic(study.study, fold, generator_names(study), systems, study.generate.shards)
    given = "drawn" if study.generate.layouts in DRAWN_LAYOUTS else "given"
    chips["map_source"] = np.where(chips["system"].isin(GIVEN_MAP), given, "drawn")
    empty = np.array([bool((mask == NO_LABEL).all()) for mask in chips["mask"]])
    labels = stage_dir(study.study, "04_label", fold) / "labels.parquet"
    if empty.any():
        own = read_chips(labels, "labels").set_index("chip_id")["mask"].to_dict() if labels.is_file() else {}
        chips["mask"] = [
            own.get(chip) if none else mask
            for chip, none, mask in zip(chips["chip_id"], empty, chips["mask"], strict=True)
        ]
        found = np.array([mask is not None for mask in chips["mask"]])
        chips["map_source"] = np.select([~found, empty], ["none", "labelled"], chips["map_source"])
    nowhere = {"crs": "", "split": "", **{f"transform_{k}": np.nan for k in "abcdef"}}
    return chips.assign(origin="synthetic", seed=chips["seed"].astype(str), **nowhere)


def _real(study: Study, fold: int) -> pd.DataFrame:
    chips = read_chips(stage_dir(study.study, "01_prepare_data", fold) / "chips.parquet", "real")
    return chips.assign(
        system="real",
        origin="real",
        map_source="reference",
        generator="",
        model_hash="",
        seed="",
        condition="",
    )


def _captions(study: Study, fold: int) -> pd.DataFrame:
    """Return the first caption of each chip by the study's first writer."""
    path = stage_dir(study.study, "05_caption", fold) / "captions.csv"
    if not path.is_file():
        return pd.DataFrame({"chip_id": [], "caption": []}, dtype=str)
    table = read_table(path, "captions")
    first = table.sort_values("caption_index", kind="stable").drop_duplicates("chip_id")
    return first[["chip_id", "caption"]]


def _verdicts(study: Study, fold: int) -> pd.DataFrame:
    path = stage_dir(study.study, "06_ground", fold) / "certificate.csv"
    names = ["chip_id", "verdict", "reason"]
    return (
        read_table(path, "certificate")[names] if path.is_file() else pd.DataFrame(columns=names, dtype=str)
    )


def check_marks(folder: Path, anchors: Path | None = None, output: Path | None = None) -> pd.DataFrame:
    """Check an export, print the verdicts, and write ``checked.csv`` and ``metrics.csv`` if asked.

    Args:
        output: folder to write to.

    Raises:
        GroundsynthError: a file that is not what it was; after everything has been printed and written.
    """
    if anchors is not None and not anchors.is_file():
        raise GroundsynthError(f"{anchors}: no such file; --anchors names PEM certificates to trust")
    trusted = anchors.read_text() if anchors else None
    checked = check_folder(folder, trusted, partial(tqdm, desc="files", mininterval=2, unit="file"))
    print(pd.crosstab(checked["verdict"], checked["role"]).to_string())
    if output is not None:
        name = read_json(folder / "croissant.json", "python -m groundsynth export-chips")["name"]
        with atomic_path(Path(output) / "checked.csv") as temporary:
            checked.to_csv(temporary, index=False)
        write_metrics(mark_rows(name, checked), Path(output) / "metrics.csv")
    refuse_faults(folder, checked)
    return checked


def refuse_faults(folder: Path, checked: pd.DataFrame) -> None:
    """Stop where a file of an export is not what it was; print the first of them."""
    faults = checked[~checked["verdict"].isin(GOOD)]
    if len(faults):
        print(faults[["path", "verdict"]].head(SHOWN_FAULTS).to_string(index=False, header=False))
        raise GroundsynthError(
            f"{folder}: {len(faults)} of {len(checked)} files are not what they were, the first "
            f"{faults.iloc[0]['path']} ({faults.iloc[0]['verdict']}); use none of them, and export again"
        )
