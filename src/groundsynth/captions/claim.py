"""What a caption can claim, in a form that can be held against a map."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from groundsynth.captions.facts import place_mask
from groundsynth.legend import CLASSES

KINDS = ("mention", "dominant", "share", "position", "absence", "more", "adjacent", "count")


@dataclass(frozen=True)
class Claim:
    """One statement of a caption.

    ``kind`` is one of ``KINDS``: a class is there (``mention``) or not (``absence``, anywhere or in the
    sector ``where``), is among the largest (``dominant``), covers a share of the labelled ground
    (``share``), keeps to a sector (``position``), covers ``more`` than the ``other`` classes, touches
    them (``adjacent``), or lies in a number of separate patches (``count``).

    ``classes`` are codes of the legend, empty for things outside it; with ``merged`` they are the
    possible readings of one ambiguous word and count as one. ``low`` and ``high`` bound a share
    (0…1) or a number of patches; ``stated`` is the share as said, None for one-sided or vague ones.
    ``denied`` turns the claim round; ``hedged`` ones were made with 'perhaps' or the like. ``text``
    and ``span``, the characters of the caption it was read from, do not count in comparisons.
    """

    kind: str
    classes: tuple[int, ...] = ()
    low: float = 0.0
    high: float = 1.0
    stated: float | None = None
    where: str = ""
    text: str = field(default="", compare=False)
    merged: bool = False
    other: tuple[int, ...] = ()
    denied: bool = False
    hedged: bool = False
    name: str = ""  # of a thing outside the legend
    span: tuple[int, int] = field(default=(0, 0), compare=False)

    @property
    def positive(self) -> bool:
        """Whether the claim says that something is so, not that it is not."""
        return self.kind != "absence" and not self.denied

    @property
    def checkable(self) -> bool:
        """Whether a map with the common legend can decide it."""
        return bool(self.classes) and (self.kind not in ("more", "adjacent") or bool(self.other))

    def place_mask(self, height: int, width: int) -> np.ndarray | None:
        """Return the (h, w) bool mask of the place claimed, None if none is or it is everywhere."""
        return place_mask(self.where, height, width)

    def __str__(self) -> str:
        """Return the claim in few words, e.g. ``share: water 0.10…0.15``."""
        names = _join(self.classes, self.merged) or self.name or self.text
        if self.kind == "more":
            names += f" than {_join(self.other, True)}"
        elif self.kind == "adjacent":
            names += f" to {_join(self.other, True)}"
        span = f" {self.low:.3g}…{self.high:.3g}" if self.kind in ("share", "count") else ""
        doubt = ("not " if self.denied else "") + ("perhaps " if self.hedged else "")
        return f"{doubt}{self.kind}: {names}{span}{' ' if self.where else ''}{self.where}"


def _join(classes: tuple[int, ...], merged: bool) -> str:
    return (" or " if merged else " + ").join(CLASSES[k] for k in classes)
