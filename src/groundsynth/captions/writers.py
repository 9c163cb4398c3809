"""Who writes captions: one small interface, and the writers by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd

from groundsynth.artifacts import metric_row
from groundsynth.captions.layout import LayoutWriter
from groundsynth.captions.rich_layout import RichLayoutWriter
from groundsynth.captions.unwritten import Unwritten
from groundsynth.errors import GroundsynthError
from groundsynth.seeds import derive_seed

LAYOUT_STYLES = {"plain": LayoutWriter, "rich": RichLayoutWriter}
DECODING = {"beams": 1, "temperature": 0.0}  # of writer captioner, unless its settings say otherwise
UNWRITTEN_COLUMNS = ["chip_id", "system", "caption_index", "writer", "reason"]


class Writer(Protocol):
    """Anything that describes chips.

    ``mode`` says what the writer sees: ``map`` (class shares and layout), ``image``, or ``both``.
    ``prompt`` is recorded beside every caption: the instruction given, or the settings of templates;
    so is ``decoding``, how a model's words were drawn (empty where no model writes).
    """

    name: str
    version: str
    mode: Literal["map", "image", "both"]
    prompt: str
    decoding: str

    def write(self, images: Sequence[Any], maps: Sequence[np.ndarray], seeds: Sequence[int]) -> list[str]:
        """Return one caption per chip, or an :class:`Unwritten` where there is none.

        Args:
            images: n pictures, (h, w, 3) uint8 each; maps: n of (h, w) uint8 class codes or 255; seeds:
                n integers, each of which alone decides the wording of its caption.
        """
        ...


@dataclass(frozen=True)
class WriterSettings:
    """What writers are made from, beside their name.

    Attributes:
        style: shares as ``words`` or ``numbers``; layout_style: ``plain`` or ``rich``.
        vlm, endpoint: settings of these writers (see ``config``), None where the study has none.
        captioner: those of this study's own network, and captioner_model: the network, once trained.
        journals: folder in which model writers keep what they have written, so that a killed run goes on
            from there; None keeps nothing.
        device: ``auto``, ``cpu`` or ``cuda``, for a local model.
    """

    style: str = "words"
    layout_style: str = "plain"
    vlm: dict[str, Any] | None = None
    endpoint: dict[str, Any] | None = None
    captioner: dict[str, Any] | None = None
    captioner_model: Any = None
    journals: Path | None = None
    device: str = "auto"


def _make_layout(mode: str, settings: WriterSettings) -> Writer:
    return LAYOUT_STYLES[settings.layout_style](settings.style)


def _make_endpoint(mode: str, settings: WriterSettings) -> Writer:
    from groundsynth.captions.endpoint import EndpointWriter

    return EndpointWriter(mode, settings.endpoint, settings.journals)


def _make_vlm(mode: str, settings: WriterSettings) -> Writer:
    from groundsynth.captions.vlm import VlmWriter

    return VlmWriter(mode, settings.vlm, settings.journals, settings.device)


def _make_captioner(mode: str, settings: WriterSettings) -> Writer:
    from groundsynth.captions.captioner import CaptionerWriter

    if settings.captioner_model is None:
        raise GroundsynthError(
            "writer 'captioner' has no network; stage 05 trains one, so hand it in as captioner_model"
        )
    decoding = {name: (settings.captioner or {}).get(name, value) for name, value in DECODING.items()}
    return CaptionerWriter(settings.captioner_model, **decoding, journals=settings.journals)


#: writers by the first part of the name the config uses; the part after ':' is the mode
WRITERS: dict[str, Callable[[str, WriterSettings], Writer]] = {
    "layout": _make_layout,
    "endpoint": _make_endpoint,
    "vlm": _make_vlm,
    "captioner": _make_captioner,
}


def make_writer(
    name: str, style: str = "words", settings: WriterSettings | None = None, **more: object
) -> Writer:
    """Return a writer by name, such as ``layout`` or ``endpoint:image``.

    Args:
        style: ``words`` or ``numbers``, where no ``settings`` are given; more: their other fields.

    Raises:
        GroundsynthError: no writer of that name, or settings it cannot work with.
    """
    kind, _, mode = name.partition(":")
    if kind not in WRITERS:
        raise GroundsynthError(f"caption writer {name!r} is not known; choose one of {sorted(WRITERS)}")
    return WRITERS[kind](mode, settings or WriterSettings(style, **more))


def caption_table(writer: Writer, chips: pd.DataFrame, per_chip: int, seed: int) -> pd.DataFrame:
    """Return ``per_chip`` captions of every chip (table ``captions``); see :func:`caption_chips`."""
    return caption_chips([writer], chips, per_chip, seed)[0]


def caption_chips(
    writers: Sequence[Writer], chips: pd.DataFrame, per_chip: int, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return ``per_chip`` captions of every chip by every writer, and what could not be written.

    Args:
        chips: columns ``chip_id``, ``system``, ``image`` (h, w, 3) and ``mask`` (h, w).
        seed: seed of the study; each caption's own seed is derived from it, the writer, the chip's
            name and the caption's number, so no caption depends on another.

    Returns:
        Table ``captions``, and a table with the columns ``UNWRITTEN_COLUMNS``.

    Raises:
        GroundsynthError: no chip at all, or a writer that wrote nothing.
    """
    if not len(chips):
        raise GroundsynthError("there is no chip to describe: the table of chips is empty; make chips first")
    tables = [_write_table(w, chips, index, seed) for w in writers for index in range(per_chip)]
    table = pd.concat(tables, ignore_index=True)
    missing = table.pop("missing")
    for name, part in missing.groupby(table["writer"], sort=False):
        if part.all():
            reason = table.loc[part.index[0], "caption"]
            raise GroundsynthError(f"writer {name!r} wrote none of {len(part)} captions: {reason}")
    unwritten = table[missing].rename(columns={"caption": "reason"})[UNWRITTEN_COLUMNS]
    kept = table[~missing]
    if not any(writer.decoding for writer in writers):
        kept = kept.drop(columns="decoding")
    return kept.reset_index(drop=True), unwritten.reset_index(drop=True)


def caption_seeds(writer: Writer, chips: pd.DataFrame, index: int, seed: int) -> list[int]:
    """Return the seed of each chip's caption number ``index`` by a writer."""
    return [derive_seed("caption", seed, writer.name, chip, index) for chip in chips["chip_id"]]


def usage_rows(study: str, stage: str, writer: Writer) -> list[dict]:
    """Return the tokens a model writer read and wrote, and their cost, as metric rows; none for templates."""
    usage = getattr(writer, "usage", {})
    return [metric_row(study, stage, name, float(value), arm=writer.name) for name, value in usage.items()]


def _write_table(writer: Writer, chips: pd.DataFrame, index: int, seed: int) -> pd.DataFrame:
    seeds = caption_seeds(writer, chips, index, seed)
    captions = writer.write(chips["image"].tolist(), chips["mask"].tolist(), seeds)
    return chips[["chip_id", "system"]].assign(
        caption_index=index, caption=captions, mode=writer.mode, writer=writer.name,
        writer_version=writer.version, prompt=writer.prompt, decoding=writer.decoding, seed=seeds,
        missing=[isinstance(text, Unwritten) for text in captions],
    )  # fmt: skip
