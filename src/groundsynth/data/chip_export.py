"""Chips in the formats other people's programs read, in a folder that says what each file is.

``files.csv`` lists every picture, inside the shards too, with hashes of its bytes and of its pixels: a mark that
was taken off is missed only where something says that there was one. With a certificate the list is signed.
"""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from groundsynth.artifacts import check_table
from groundsynth.data.chip_files import png_bytes, tiff_bytes
from groundsynth.data.marks import MIME, Credential, Signing, content_hash, pixel_hash, sign_text, xmp_packet
from groundsynth.errors import GroundsynthError

FORMATS = ("geotiff", "png", "webdataset")
SUFFIX = {"geotiff": ".tif", "png": ".png"}
LIST, SIGNATURE, SIGNER, CHIPS = "files.csv", "files.csv.sig", "signer.pem", "chips.csv"
SHARD_CHIPS = 1000
#: what a mark says of its sample
SAMPLE_COLUMNS = ("chip_id", "system", "generator", "model_hash", "seed")


@dataclass(frozen=True)
class Picture:
    """One picture of a chip: its pixels, and whether a trained algorithm made them."""

    role: str  # image or map
    pixels: np.ndarray
    synthetic: bool


def pictures_of(chip: dict) -> list[Picture]:
    """Return the image and, where there is one, the map of a row of the table of chips.

    Args:
        chip: ``origin`` (``real`` or ``synthetic``), ``image``, ``mask`` or None, and ``map_source``: ``reference``
            and ``given`` maps were made by no network, ``drawn`` and ``labelled`` ones were.
    """
    found = [Picture("image", chip["image"], chip["origin"] == "synthetic")]
    if chip["mask"] is not None:
        found.append(Picture("map", chip["mask"], chip["map_source"] in ("drawn", "labelled")))
    return found


class Writer:
    """Writes chips into a folder, one file at a time, and remembers what it wrote."""

    def __init__(self, folder: Path, formats: Iterable[str], credential: Credential | None) -> None:
        unknown = set(formats) - set(FORMATS)
        if unknown:
            raise GroundsynthError(f"format '{unknown.pop()}' is not written; choose of {', '.join(FORMATS)}")
        self.folder, self.formats, self.credential = folder, tuple(formats), credential
        self._signing = Signing(credential) if credential else None
        self.listed: list[dict] = []

    def write(self, chips: pd.DataFrame, progress: Callable[[Iterable], Iterable] = iter) -> None:
        """Write the pictures of every chip.

        Args:
            chips: columns of ``TABLES['exported_chips']``, ``image`` (h, w, 3) and ``mask`` (h, w) or None.

        Raises:
            GroundsynthError: a chip_id that is no file name.
        """
        odd = chips.loc[chips["chip_id"].str.contains(r"[^\w-]", regex=True), "chip_id"]
        if len(odd):
            raise GroundsynthError(
                f"chip_id '{odd.iloc[0]}' cannot name a file; letters, digits, - and _ can: rename the scene"
            )
        rows = self._rows(chips, progress)
        if "webdataset" not in self.formats:
            for _ in rows:
                pass
            return
        for system, part in _by_system(rows):
            self._write_shards(system, part)

    def _rows(self, chips: pd.DataFrame, progress) -> Iterator[tuple[dict, dict[str, bytes]]]:
        """Write the single files of each chip; yield the chip and the PNG of each of its pictures."""
        for chip in progress(chips.to_dict("records")):
            pngs = {}
            for picture in pictures_of(chip):
                data = self._encode(chip, picture, ".png")
                pngs[picture.role] = data
                for form in self.formats:
                    if form == "webdataset":
                        continue
                    here = data if form == "png" else self._encode(chip, picture, ".tif")
                    name = f"{form}/{chip['system']}/{chip['chip_id']}_{picture.role}{SUFFIX[form]}"
                    self._put(name, here)
                    self._list(name, chip, picture.role, here, picture)
            yield chip, pngs

    def _encode(self, chip: dict, picture: Picture, suffix: str) -> bytes:
        sample = {name: str(chip[name]) for name in SAMPLE_COLUMNS}
        sample |= {"role": picture.role, "pixels": pixel_hash(picture.pixels)}
        xmp = xmp_packet(sample, self._signing is not None) if picture.synthetic else ""
        if suffix == ".png":
            data = png_bytes(picture.pixels, xmp)
        else:
            placed = chip["origin"] == "real"
            transform = tuple(chip[f"transform_{k}"] for k in "abcdef") if placed else None
            data = tiff_bytes(picture.pixels, chip["crs"] if placed else "", transform, xmp)
        if picture.synthetic and self._signing is not None:
            data = self._signing.sign(data, MIME[suffix], sample)
        return data

    def _put(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def _list(self, name: str, chip: dict, role: str, data: bytes, picture: Picture) -> None:
        self.listed.append(
            {
                "path": name,
                "chip_id": chip["chip_id"],
                "system": chip["system"],
                "role": role,
                "synthetic": picture.synthetic,
                "signed": picture.synthetic and self._signing is not None,
                "sha256": content_hash(data),
                "pixels": pixel_hash(picture.pixels),
            }
        )

    def _write_shards(self, system: str, rows: Iterator[tuple[dict, dict[str, bytes]]]) -> None:
        """Write WebDataset shards of PNG pictures, caption and facts: members of one chip share its name."""
        for number, part in enumerate(iter(lambda: list(itertools.islice(rows, SHARD_CHIPS)), [])):
            path = self.folder / "webdataset" / f"{system}-{number:06d}.tar"
            path.parent.mkdir(parents=True, exist_ok=True)
            with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as shard:
                for chip, pngs in part:
                    self._add_sample(shard, f"webdataset/{path.name}", chip, pngs)

    def _add_sample(self, shard: tarfile.TarFile, where: str, chip: dict, pngs: dict[str, bytes]) -> None:
        for picture in pictures_of(chip):
            member = f"{chip['chip_id']}.{picture.role}.png"
            _add(shard, member, pngs[picture.role])
            self._list(f"{where}/{member}", chip, picture.role, pngs[picture.role], picture)
        facts = {name: value for name, value in chip.items() if name not in ("image", "mask")}
        _add(shard, f"{chip['chip_id']}.json", json.dumps(facts, default=float).encode())
        if chip["caption"]:
            _add(shard, f"{chip['chip_id']}.txt", chip["caption"].encode())

    def write_facts(self, chips: pd.DataFrame) -> pd.DataFrame:
        """Write ``chips.csv``, everything but the pictures; return it."""
        flat = check_table(chips.drop(columns=["image", "mask"]), "exported_chips", self.folder / CHIPS)
        self._put(CHIPS, flat.to_csv(index=False).encode())
        return flat

    def hashes(self) -> dict[str, str]:
        """Return the SHA-256 of ``chips.csv`` and of every shard, by path."""
        names = [CHIPS, *sorted(f"webdataset/{path.name}" for path in self.folder.glob("webdataset/*.tar"))]
        return {name: content_hash((self.folder / name).read_bytes()) for name in names}

    def close(self, extra: dict[str, bytes]) -> pd.DataFrame:
        """Write further files, by name, and, last, the list of all; return the list."""
        for name, data in extra.items():
            self._put(name, data)
        whole = self.hashes() | {name: content_hash(data) for name, data in extra.items()}
        row = dict.fromkeys(("chip_id", "system", "pixels"), "") | {"role": "file", "synthetic": False}
        self.listed += [
            row | {"path": name, "signed": False, "sha256": found} for name, found in whole.items()
        ]
        table = check_table(pd.DataFrame(self.listed), "exported_files", self.folder / LIST)
        text = table.to_csv(index=False).encode()
        self._put(LIST, text)
        if self.credential is not None:
            self._put(SIGNATURE, sign_text(text, self.credential).encode())
            self._put(SIGNER, self.credential.chain)
        return table


def _by_system(rows: Iterator) -> Iterator[tuple[str, Iterator]]:
    return itertools.groupby(rows, key=lambda row: row[0]["system"])


def _add(target: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    target.addfile(info, io.BytesIO(data))
