"""Masks in anyone's legend, coloured or of codes, to the common classes."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader
from rasterio.windows import Window

from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES, NO_LABEL

COLOUR = re.compile(r"#[0-9a-f]{6}")
TABLE = 1024  # codes below are looked up in a table
ROWS = 128  # of a mask looked up at a time


@dataclass(frozen=True)
class MaskLegend:
    """What a mask's values mean.

    Attributes:
        coloured: the keys are colours, as red · 65536 + green · 256 + blue; else class codes.
        classes: key -> class of the common legend, 255 for "no label".
    """

    coloured: bool
    classes: dict[int, int]

    def show(self, key: int) -> str:
        """Return a key as the config writes it."""
        return f"#{key:06x}" if self.coloured else str(key)


def parse_legend(legend: dict[str, str | None] | None) -> MaskLegend:
    """Return the legend of ``data.legend``: code or ``#rrggbb`` -> name of a class, or null.

    Raises:
        GroundsynthError: missing or empty, codes and colours mixed, a key or a class that is none.
    """
    if not legend:
        raise GroundsynthError(
            f"data.legend = {legend}: a folder's masks mean nothing without it; state code or colour: class for each, such "
            'as {"1": water, "2": cropland} or {"#0000ff": water}, null for no label'
        )
    keys = [str(key).strip().lower() for key in legend]
    colours = [bool(COLOUR.fullmatch(key)) for key in keys]
    for key, colour in zip(keys, colours, strict=True):
        if not colour and not key.isdecimal():
            raise GroundsynthError(
                f"data.legend: '{key}' is neither a code such as 10 nor a colour such as #00ff00; correct it"
            )
        if colour != colours[0]:
            raise GroundsynthError(
                f"data.legend: '{keys[0]}' and '{key}' mix codes and colours; a folder's masks are of one kind: state "
                "one of them"
            )
    numbers = [int(key[1:], 16) if colours[0] else int(key) for key in keys]
    return MaskLegend(colours[0], dict(zip(numbers, map(_class_of, legend.values()), strict=True)))


def _class_of(name: str | None) -> int:
    if name is None:
        return NO_LABEL
    if name not in CLASSES:
        near = difflib.get_close_matches(str(name), CLASSES, n=1)
        cure = (
            f"did you mean '{near[0]}'?"
            if near
            else f"choose one of {', '.join(CLASSES)}, or null for no label"
        )
        raise GroundsynthError(f"data.legend: '{name}' is not a class; {cure}")
    return CLASSES.index(name)


def read_labels(
    raster: DatasetReader, legend: MaskLegend, window: Window | None = None
) -> tuple[np.ndarray, set[int]]:
    """Return the mask in the common legend, (h, w) uint8, 255 = no label, and the keys present in it.

    A pixel whose alpha is 0, or that is at the file's nodata, has no label unless the legend lists it.

    Raises:
        GroundsynthError: codes where colours are stated or the reverse, a value the legend does not
            list, a JPEG whose colours are not exact.
    """
    keys, absent = _keys(raster, legend, window)
    if not legend.coloured and keys.min() >= 0 and keys.max() < TABLE:
        return _look_up(raster, legend, keys, absent)
    labels, listed, seen = np.full(keys.shape, NO_LABEL, np.uint8), absent.copy(), set()
    for key, ours in legend.classes.items():
        here = (keys == key) & ~absent
        if here.any():
            labels[here], listed[here] = ours, True
            seen.add(key)
    if not listed.all():
        raise _unknown(raster, legend, keys[~listed])
    return labels, seen


def _look_up(
    raster: DatasetReader, legend: MaskLegend, keys: np.ndarray, absent: np.ndarray
) -> tuple[np.ndarray, set[int]]:
    """As :func:`read_labels`, by a table: many times faster where codes are small."""
    if absent.any():
        keys = np.where(absent, TABLE, keys)
    parts = [
        keys[row : row + ROWS] for row in range(0, len(keys), ROWS)
    ]  # small enough for the processor's cache
    counts = sum(np.bincount(part.ravel(), minlength=TABLE + 1) for part in parts)
    present = set(np.flatnonzero(counts[:TABLE]).tolist())
    if not present <= legend.classes.keys():
        raise _unknown(raster, legend, keys[~np.isin(keys, [*legend.classes, TABLE])])
    table = np.full(TABLE + 1, NO_LABEL, np.uint8)
    for key in present:
        table[key] = legend.classes[key]
    return np.concatenate([table[part] for part in parts]), present


def _keys(raster: DatasetReader, legend: MaskLegend, window: Window | None) -> tuple[np.ndarray, np.ndarray]:
    """The codes or packed colours of a mask, (h, w) int32, and where its alpha is 0."""
    path = Path(raster.name)
    if raster.driver == "JPEG" and not legend.coloured:
        raise GroundsynthError(
            f"{path}: a JPEG changes codes by small amounts, so that a class becomes its neighbour unseen; save masks as PNG"
        )
    values = raster.read(window=window)
    palette = _palette(raster)
    absent = np.zeros(values.shape[1:], bool)
    if raster.count in (2, 4):
        alpha, values = values[-1], values[:-1]
        absent = alpha == 0
    elif palette is not None:
        absent = palette[values[0], 3] == 0
    if not legend.coloured:
        if (values != values[0]).any():
            raise GroundsynthError(
                f"{path}: a mask of {raster.count} bands that differ, but data.legend lists codes; list its colours as #rrggbb"
            )
        return _codes(raster, values[0], legend, absent)
    if len(values) == 1 and palette is None:
        raise GroundsynthError(
            f"{path}: a mask of one band, but data.legend lists colours; list its codes, such as {int(values.max())}"
        )
    if palette is not None:
        values = palette[values[0], :3].transpose(2, 0, 1)
    if values.dtype != np.uint8:
        raise GroundsynthError(
            f"{path}: colours of type {values.dtype}; a coloured mask has 8 bits: save it so"
        )
    red, green, blue = values.astype(np.int32)
    return red << 16 | green << 8 | blue, absent


def _codes(
    raster: DatasetReader, values: np.ndarray, legend: MaskLegend, absent: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    nodata = raster.nodata
    if nodata is not None and nodata not in legend.classes:
        absent = absent | (np.isnan(values) if np.isnan(nodata) else values == nodata)
    if values.dtype.kind in "iu":
        return values.astype(np.int32), absent
    whole = np.where(absent, 0, values)
    if (whole != np.rint(whole)).any():
        raise GroundsynthError(
            f"{raster.name}: holds {whole[whole != np.rint(whole)][0]:g}, which is no code; codes are whole numbers, and "
            "averaging makes others of them: resample the mask by nearest neighbour"
        )
    return whole.astype(np.int32), absent


def _palette(raster: DatasetReader) -> np.ndarray | None:
    """The colour table of a mask, (256, 4) uint8, if it has one."""
    if raster.count > 1 or raster.colorinterp[0] != ColorInterp.palette:
        return None
    table = np.zeros((256, 4), np.uint8)
    for index, colour in raster.colormap(1).items():
        table[index] = colour
    return table


def _unknown(raster: DatasetReader, legend: MaskLegend, keys: np.ndarray) -> GroundsynthError:
    values, counts = np.unique(keys, return_counts=True)
    worst = legend.show(int(values[counts.argmax()]))
    kind = "colour" if legend.coloured else "code"
    cure = f'add "{worst}" with a class, or null for no label'
    if raster.driver == "JPEG":
        cure = "JPEG blurs colours at every border: save masks as PNG"
    return GroundsynthError(
        f"{raster.name}: {counts.max()} pixels have the {kind} {worst}, which data.legend does not list "
        f"({len(values)} such {kind}s in this file): {cure}"
    )
