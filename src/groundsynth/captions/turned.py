"""Captions of training maps under all eight turns, since a generator sees every chip turned and mirrored.

A caption that says "in the north" is wrong once its map is turned. So the layout writer describes each of
the eight versions, with the same choice of words for all eight: only what the turn changes is said
differently, and the sentences that it does not change are read by the encoder once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm.auto import tqdm

from groundsynth.captions.writers import WriterSettings, make_writer
from groundsynth.data.turns import TURNS, turn
from groundsynth.errors import GroundsynthError
from groundsynth.seeds import derive_seed, rng

MOST_TEXTS = 12_000  # captions that are written; as token states they take some 60 kB of memory each


@dataclass(frozen=True)
class TurnedCaptions:
    """Captions of n training chips.

    Attributes:
        texts: every different caption once; '' stands for a chip that was not described.
        index: (n, 8, wordings) int64: which text describes a chip under turn code 0…7 (``data.turns``).
    """

    texts: list[str]
    index: np.ndarray

    @property
    def described(self) -> int:
        """Number of chips that have captions."""
        return int((np.array(self.texts) != "")[self.index[:, 0, 0]].sum())

    def of(self, chip: int, code: int, wording: int = 0) -> str:
        """Return one caption of one turned chip."""
        return self.texts[self.index[chip, code, wording]]


def describe_turned(
    names: Sequence[str],
    maps: np.ndarray,
    wordings: int = 1,
    style: str = "words",
    layout_style: str = "plain",
) -> TurnedCaptions:
    """Describe maps under all eight turns by the layout writer.

    Where that would make more than 12,000 captions, as many chips as make fewer are chosen at random, and
    the others are not described.

    Args:
        names: n chip names; with the wording's number they alone decide the choice of words.
        maps: (n, h, w) uint8 class codes or 255.
        wordings: captions per map and turn.
        style, layout_style: of the writer, see ``config.Caption``.

    Raises:
        GroundsynthError: no map at all, or no wording.
    """
    if not len(maps) or wordings < 1:
        raise GroundsynthError(
            f"{len(maps)} maps in {wordings} wordings give no caption; give at least one of each"
        )
    writer = make_writer("layout", settings=WriterSettings(style, layout_style))
    most = max(MOST_TEXTS // (TURNS * wordings), 1)
    chosen = np.sort(rng("turned", len(maps)).permutation(len(maps))[:most])
    number = {"": 0} if most < len(maps) else {}
    index = np.zeros((len(maps), TURNS, wordings), np.int64)
    for code in tqdm(range(TURNS), desc="describing turned maps", mininterval=5):
        turned = np.stack([turn(maps[i], code) for i in chosen])
        for wording in range(wordings):
            seeds = [derive_seed("turned", names[i], wording) for i in chosen]
            texts = writer.write([None] * len(turned), turned, seeds)
            index[chosen, code, wording] = [number.setdefault(text, len(number)) for text in texts]
    return TurnedCaptions(list(number), index)
