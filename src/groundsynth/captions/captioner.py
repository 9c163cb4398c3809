"""The captioner writer: this study's own captioning network describes chips from their images alone.

The network is handed in, for it is trained where images and maps meet (``captioning.own_captioner``). What it
has written is in a journal, batch by batch, as a model's captions are.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from groundsynth.captions.journal import Journal, request_key
from groundsynth.captions.unwritten import Unwritten, read_picture
from groundsynth.errors import GroundsynthError

BATCH = 64  # chips described together; changes no caption but for rounding


class Describer(Protocol):
    """A captioning network: ``version`` names its weights, ``longest`` is the most tokens of a caption."""

    version: str
    longest: int

    def describe(
        self, images: np.ndarray, beams: int, temperature: float, seeds: Sequence[int]
    ) -> list[str | None]:
        """Return one caption per image (n, h, w, 3) uint8, None where nothing was written."""
        ...


class CaptionerWriter:
    """Describe chips with a captioning network; it never sees their maps."""

    name, mode = "captioner", "image"

    def __init__(
        self, model: Describer, beams: int = 1, temperature: float = 0.0, journals: Path | None = None
    ) -> None:
        """Make a writer.

        Args:
            beams: captions kept side by side, 1 is greedy; temperature: above 0, words are drawn by the seed
                of each caption. journals: folder of the journal; None keeps none.
        """
        self.model, self.beams, self.temperature, self.journals = model, beams, temperature, journals
        self.version, self.prompt = model.version, "no prompt: the image alone"
        how = f"temperature {temperature:g}" if temperature else f"beams {beams}" if beams > 1 else "greedy"
        self.decoding = f"{how}, at most {model.longest} tokens"

    def write(self, images: Sequence[Any], maps: Sequence[np.ndarray], seeds: Sequence[int]) -> list[str]:
        """Return one caption per chip, or why there is none; maps are not read (see ``writers.Writer``)."""
        asked = [self._ask(image, seed) for image, seed in zip(images, seeds, strict=True)]
        with ExitStack() as stack:
            folder = self.journals or Path(stack.enter_context(TemporaryDirectory()))
            journal = stack.enter_context(Journal(folder / f"{self.name}.jsonl"))
            missing = {a[0]: a for a in asked if not isinstance(a, Unwritten) and a[0] not in journal}
            failed = self._write_missing(list(missing.values()), journal)
            return [self._caption(a, journal, failed) for a in asked]

    def _ask(self, image: Any, seed: int) -> tuple[str, np.ndarray, int] | Unwritten:
        try:
            picture = read_picture(image)
        except GroundsynthError as error:
            return Unwritten(error)
        seed = int(seed) if self.temperature else 0  # without a draw the image alone decides
        return request_key(self.version, self.decoding, picture.shape, picture.tobytes(), seed), picture, seed

    def _write_missing(self, asked: list[tuple[str, np.ndarray, int]], journal: Journal) -> set[str]:
        failed = set()
        for batch in tqdm(list(_batches(asked)), desc=self.name, disable=None):
            keys, pictures, seeds = zip(*batch, strict=True)
            texts = self.model.describe(np.stack(pictures), self.beams, self.temperature, seeds)
            for key, text in zip(keys, texts, strict=True):
                if text:
                    journal.add(key, text)
                else:
                    failed.add(key)
        return failed

    def _caption(self, asked: tuple | Unwritten, journal: Journal, failed: set[str]) -> str:
        if isinstance(asked, Unwritten):
            return asked
        if asked[0] in failed:
            return Unwritten("the caption is empty; train the captioner longer")
        return journal[asked[0]]["caption"]


def _batches(asked: list[tuple[str, np.ndarray, int]]):
    """Yield up to ``BATCH`` requests at once, all of one size of picture."""
    sizes: dict[tuple[int, ...], list] = {}
    for request in asked:
        sizes.setdefault(request[1].shape, []).append(request)
    for group in sizes.values():
        for start in range(0, len(group), BATCH):
            yield group[start : start + BATCH]
