"""Who writes captions: one small interface, and the writers by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import numpy as np
import pandas as pd

from groundsynth.captions.layout import LayoutWriter
from groundsynth.errors import GroundsynthError
from groundsynth.seeds import derive_seed


class Writer(Protocol):
    """Anything that describes chips.

    ``mode`` says what the writer sees: ``map`` (class shares and layout), ``image``, or ``both``.
    ``prompt`` is recorded beside every caption: the instruction given, or the settings of templates.
    """

    name: str
    version: str
    mode: Literal["map", "image", "both"]
    prompt: str

    def write(self, images: np.ndarray, maps: np.ndarray, seeds: Sequence[int]) -> list[str]:
        """Return one caption per chip.

        Args:
            images: (n, h, w, 3) uint8; maps: (n, h, w) uint8 class codes or 255; seeds: n integers,
                each of which alone decides the wording of its caption.
        """
        ...


#: writers by the name the config uses; each is made from the style of the shares
WRITERS: dict[str, Callable[[str], Writer]] = {"layout": LayoutWriter}


def make_writer(name: str, style: str) -> Writer:
    """Return a writer by name; ``style`` is ``words`` or ``numbers``.

    Raises:
        GroundsynthError: no writer of that name.
    """
    if name not in WRITERS:
        raise GroundsynthError(f"caption writer {name!r} is not known; choose one of {sorted(WRITERS)}")
    return WRITERS[name](style)


def caption_table(writer: Writer, chips: pd.DataFrame, per_chip: int, seed: int) -> pd.DataFrame:
    """Return ``per_chip`` captions of every chip (table ``captions``).

    Args:
        chips: columns ``chip_id``, ``system``, ``image`` (h, w, 3) and ``mask`` (h, w).
        seed: seed of the study; each caption's own seed is derived from it, the writer, the chip's
            name and the caption's number, so no caption depends on another.
    """
    images, maps = np.stack(chips["image"]), np.stack(chips["mask"])
    tables = []
    for index in range(per_chip):
        seeds = [derive_seed("caption", seed, writer.name, chip, index) for chip in chips["chip_id"]]
        table = chips[["chip_id", "system"]].assign(
            caption_index=index, caption=writer.write(images, maps, seeds), mode=writer.mode,
            writer=writer.name, writer_version=writer.version, prompt=writer.prompt, seed=seeds,
        )  # fmt: skip
        tables.append(table)
    return pd.concat(tables, ignore_index=True)
