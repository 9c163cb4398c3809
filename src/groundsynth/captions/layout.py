"""The layout writer: a description read off the map, varied in wording, true by construction.

It states the dominant class, how much of the chip the larger classes cover and where they lie, what
small patches there are, and sometimes what is absent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from groundsynth.captions.facts import THROUGHOUT, best_sector, is_present
from groundsynth.captions.shares import ALL, phrases_for
from groundsynth.legend import class_shares, count_classes

#: ways to name each class, and whether the name is a plural
NOUNS: tuple[tuple[tuple[str, bool], ...], ...] = (
    (("forest", False), ("woodland", False), ("tree cover", False), ("trees", True)),
    (("shrubland", False), ("scrub", False), ("shrubs", True), ("bushland", False)),
    (("grassland", False), ("grass", False), ("herbaceous cover", False), ("grasses", True)),
    (("cropland", False), ("farmland", False), ("fields", True), ("crops", True)),
    (("built-up land", False), ("developed land", False), ("urban land", False), ("buildings", True)),
    (("bare ground", False), ("bare soil", False), ("barren land", False), ("bare land", False)),
    (("water", False), ("open water", False)),
)  # fmt: skip
PLACES = ("the scene", "the image", "this view", "the tile", "this area", "the picture")

#: {n} noun, {s} share, {p} place, {is}/{covers}/… agree with the noun's number
DOMINANT = (
    "{p} is dominated by {n}, which {covers} {s} of it.",
    "{n} {dominates} {p} and {takes} up {s} of it.",
    "{p} is mostly {n}, at {s} of the ground.",
    "The dominant land cover of {p} is {n}, with {s} of the ground.",
    "{s} of {p} is {n}, the dominant cover.",
    "{p} shows mainly {n}, {s} in all.",
    "Predominantly {n}: {s} of {p}.",
    "{n} {is} the dominant cover and {fills} {s} of {p}.",
)
LARGER = (
    "{n} {covers} {s} of {p}{where}.",
    "{s} of {p} is {n}{where}.",
    "{n} {follows} with {s}{where}.",
    "{n} {accounts} for {s}{where}.",
    "{n} {makes} up {s} of the ground{where}.",
)
SMALL = (
    "A little {n} can be seen{where}.",
    "Small patches of {n} appear{where}.",
    "There is also some {n}{where}.",
    "Some {n} {is} visible{where}.",
)
ABSENT = (
    "There is no {n}.",
    "No {n} can be seen.",
    "{p} holds no {n}.",
    "{n} {is} absent.",
    "{p} is free of {n}.",
)
ONE_CLASS = (
    "{p} is entirely {n}.",
    "{n} {covers} the whole scene.",
    "{p} shows nothing but {n}.",
    "{p} is completely covered by {n}.",
    "{p} is filled exclusively with {n}.",
    "The entire image is {n}.",
)
NOTHING = (
    "Nothing in {p} carries a label.",
    "{p} has no labelled pixel.",
    "None of the ground in {p} is labelled.",
    "The land cover of {p} is unknown.",
)
IN_SECTOR = (
    ", concentrated in the {at}",
    ", gathered in the {at}",
    ", set in the {at}",
    ", found in the {at}",
)
ALL_OVER = (", spread throughout the scene", ", scattered across the image", ", found throughout")
VERBS = {
    "is": "are", "covers": "cover", "dominates": "dominate", "takes": "take", "fills": "fill",
    "follows": "follow", "accounts": "account", "makes": "make",
}  # fmt: skip
MAX_LARGER, MAX_SMALL = 3, 2  # sentences of each kind, so that a caption stays readable
LARGER_SHARE = 0.05  # classes from this share on get a sentence of their own


class LayoutWriter:
    """Describe a chip from its map alone (see the module's text)."""

    name = "layout"
    version = "1"
    mode = "map"
    decoding = ""

    def __init__(self, style: str = "words") -> None:
        """Make a writer; ``style`` gives shares as ``words`` or as ``numbers``."""
        self.style = style
        self.prompt = f"templates of layout version {self.version}, shares in {style}"

    def write(self, images: np.ndarray, maps: np.ndarray, seeds: Sequence[int]) -> list[str]:
        """Return one caption per map; the images are not read (see ``writers.Writer``)."""
        return [describe_layout(labels, seed, self.style) for labels, seed in zip(maps, seeds, strict=True)]


def describe_layout(labels: np.ndarray, seed: int, style: str = "words") -> str:
    """Return a description of one (h, w) map; ``seed`` decides the wording and nothing else does.

    Args:
        labels: class codes 0…6, or 255 where nothing is known.
        style: ``words`` ('about a third') or ``numbers`` ('34 %').
    """
    rng = np.random.default_rng(seed)
    shares, present = class_shares(labels), is_present(labels)
    if not present.any():
        return _fill(rng, NOTHING, 0)
    order = [int(k) for k in np.argsort(-shares, kind="stable") if present[k]]
    if shares[order[0]] == 1:
        return " ".join([_fill(rng, ONE_CLASS, order[0]), *_absences(rng, labels, 2)])
    larger = [k for k in order[1:] if shares[k] >= LARGER_SHARE][:MAX_LARGER]
    small = [k for k in order[1:] if shares[k] < LARGER_SHARE][:MAX_SMALL]
    sentences = [_fill(rng, DOMINANT, order[0], share=_say_share(rng, shares[order[0]], style))]
    sentences += [
        _fill(rng, LARGER, k, share=_say_share(rng, shares[k], style), where=_say_where(rng, labels, k))
        for k in larger
    ]
    sentences += [_fill(rng, SMALL, k, where=_say_where(rng, labels, k)) for k in small]
    return " ".join(sentences + _absences(rng, labels, int(rng.integers(2))))


def _fill(
    rng: np.random.Generator, templates: tuple[str, ...], k: int, share: str = "", where: str = ""
) -> str:
    """Return a random template with a random name of class ``k``, its verbs agreeing in number."""
    template = templates[rng.integers(len(templates))]
    noun, plural = NOUNS[k][rng.integers(len(NOUNS[k]))]
    verbs = {one: many if plural else one for one, many in VERBS.items()}
    place = PLACES[rng.integers(len(PLACES))]
    text = template.format(n=noun, s=share, p=place, where=where, **verbs)
    return text[0].upper() + text[1:]


def _say_share(rng: np.random.Generator, share: float, style: str) -> str:
    """Return a true phrase for a share in (0, 1)."""
    if style == "numbers":
        percent = round(100 * share)
        return f"{percent} %" if percent else "less than 1 %"
    if share >= ALL[0]:
        return "nearly all"
    choices = phrases_for(share)
    return choices[rng.integers(len(choices))]


def _say_where(rng: np.random.Generator, labels: np.ndarray, k: int) -> str:
    sector = best_sector(labels, k)
    choices = ALL_OVER if sector == THROUGHOUT else IN_SECTOR
    return choices[rng.integers(len(choices))].format(at=sector)


def _absences(rng: np.random.Generator, labels: np.ndarray, most: int) -> list[str]:
    """Return up to ``most`` sentences about classes with no pixel at all."""
    absent = np.flatnonzero(count_classes(labels) == 0)
    chosen = rng.permutation(absent)[:most]
    return [_fill(rng, ABSENT, int(k)) for k in chosen]
