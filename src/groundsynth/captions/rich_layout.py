"""The rich layout writer: shares, places, arrangement, neighbours and numbers of patches, read off the map.

First a plan is made, and the map alone decides it: which statements are made of which classes. Then the
plan is worded, and the seed alone decides how. So two captions of one map differ in words and order and
make the same claims; each is true by the definitions of ``facts``, ``shares`` and ``arrangement``, which
the checks share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from groundsynth.captions import layout
from groundsynth.captions.arrangement import (
    ARRANGEMENTS,
    LARGE_PATCH,
    SIDES,
    WORDS,
    find_patches,
    is_arranged,
)
from groundsynth.captions.facts import MIN_CONCENTRATION, MIN_CONTACT, MIN_PIXELS, PLACES, SECTORS, THROUGHOUT
from groundsynth.captions.map_facts import MapFacts, count_maps
from groundsynth.captions.shares import LADDER, VAGUE, fraction_range

MAX_ARRANGED, MAX_NEIGHBOURS, MAX_COUNTED, MAX_ABSENT = 2, 2, 1, 2  # statements, so that it stays readable
CLEARLY_MORE = 0.05  # of the ground, for 'there is more of one class than of another'
MOST_COUNTED = 8  # patches; more are 'numerous'
#: what is worth saying when it is missing, first things first
NOTABLE = (6, 4, 0, 3, 5, 2, 1)

DOMINANT = (
    *layout.DOMINANT,
    "Covering {s} of {p}, {n} {is} the dominant cover.",
    "{p} consists predominantly of {n}, at {s} of the ground.",
)
LARGER = (
    *layout.LARGER,
    "{n} {occupies} {s} of {p}{where}.",
    "{n} {takes} up {s} of {p}{where}.",
    "{n} {fills} {s} of {p}{where}.",
    "{p} also contains {n}, {s} in all{where}.",
)
SMALL = (
    "There {is} also some {n}{where}.",
    "Some {n} {is} visible{where}.",
    "{n} {is} present in small amounts{where}.",
    "{p} also shows some {n}{where}.",
    "{p} contains some {n} too{where}.",
)
ABSENT = (
    "There {is} no {n}.",
    "No {n} can be seen.",
    "{p} holds no {n}.",
    "{n} {is} absent.",
    "{p} is free of {n}.",
)
ARRANGED = ("{n} {v}.", "Here {n} {v}.", "Seen from above, {n} {v}.")
COUNTED = (
    "There {are} {c} {patches} of {n}.",
    "{c} {patches} of {n} can be made out.",
    "{p} contains {c} {patches} of {n}.",
    "{c} {patches} of {n} can be told apart.",
)
NEIGHBOURS = (
    "{n} {borders} {m}.",
    "{n} {is} bordered by {m}.",
    "{n} {adjoins} {m}.",
    "{n} {lies} next to {m}.",
    "{n} {touches} {m}.",
    "{n} {is} adjacent to {m}.",
)
MORE = (
    "There {is} more {n} than {m}.",
    "{n} {exceeds} {m}.",
    "{p} holds more {n} than {m}.",
    "{n} {outweighs} {m}.",
)
IN_PLACE = (
    *layout.IN_SECTOR,
    ", lying in the {at}",
    ", clustered in the {at}",
    ", placed in the {at}",
)
ON_RIM = {
    "edge": (", along the edges of {p}", ", kept to the edges of {p}", ", found around the margins of {p}"),
    "corners": (", in the corners of {p}", ", kept to the corners of {p}", ", found in the corners of {p}"),
}
VERBS = layout.VERBS | {
    "occupies": "occupy", "borders": "border", "adjoins": "adjoin", "lies": "lie",
    "touches": "touch", "exceeds": "exceed", "outweighs": "outweigh", "forms": "form", "comes": "come",
    "appears": "appear", "runs": "run", "winds": "wind", "keeps": "keep", "makes": "make", "follows": "follow",
}  # fmt: skip
NUMBERS = {
    1: ("a single",), 2: ("two",), 3: ("three",), 4: ("four",), 5: ("five",), 6: ("six",),
    7: ("seven",), 8: ("eight",),
}  # fmt: skip
NUMEROUS = ("numerous", "several")


@dataclass(frozen=True)
class Statement:
    """One thing to say of class ``k``.

    ``kind`` is dominant, larger, small, arranged, counted, neighbours, more, absent, one class or nothing;
    ``share`` and ``where`` go with the first three, ``how`` and ``where`` (a side) with an arrangement,
    ``others`` with neighbours and more, ``number`` with patches.
    """

    kind: str
    k: int = 0
    share: float = 0.0
    where: str = ""
    how: str = ""
    others: tuple[int, ...] = ()
    number: int = 0


class RichLayoutWriter:
    """Describe a chip from its map alone, at length (see the module's text)."""

    name = "layout"
    version = "2"
    mode = "map"
    decoding = ""

    def __init__(self, style: str = "words") -> None:
        """Make a writer; ``style`` gives shares as ``words`` or as ``numbers``."""
        self.style = style
        self.prompt = f"templates of layout version {self.version}, rich, shares in {style}"

    def write(self, images: np.ndarray, maps: np.ndarray, seeds: Sequence[int]) -> list[str]:
        """Return one caption per map; the images are not read (see ``writers.Writer``)."""
        facts = count_maps(np.stack(list(maps)))
        plans = [plan_statements(facts, i) for i in range(len(facts.maps))]
        return [word_statements(plan, seed, self.style) for plan, seed in zip(plans, seeds, strict=True)]


def describe_richly(labels: np.ndarray, seed: int, style: str = "words") -> str:
    """Return a rich description of one (h, w) map of class codes 0…6 or 255; ``seed`` decides its wording."""
    return word_statements(plan_statements(count_maps(labels[None]), 0), seed, style)


# --- what is said ----------------------------------------------------------------------------


def plan_statements(facts: MapFacts, i: int) -> list[Statement]:
    """Return what is to be said of map ``i`` of counted maps, most important first."""
    shares, pixels = facts.shares[i], facts.pixels[i]
    present = [int(k) for k in np.argsort(-shares, kind="stable") if pixels[k] >= MIN_PIXELS]
    absent = [Statement("absent", k) for k in NOTABLE if not pixels[k]]
    if not present:
        return [Statement("nothing")]
    if shares[present[0]] == 1:
        return [Statement("one class", present[0]), *absent[:MAX_ABSENT]]
    larger = [k for k in present[1:] if shares[k] >= layout.LARGER_SHARE][: layout.MAX_LARGER]
    small = [k for k in present[1:] if shares[k] < layout.LARGER_SHARE][: layout.MAX_SMALL]
    named = [present[0], *larger, *small]
    return [
        Statement("dominant", present[0], shares[present[0]]),
        *(Statement("larger", k, shares[k], best_place(facts, i, k)) for k in larger),
        *_arranged(facts, i, named),
        *_neighbours(facts, i, named),
        *_more(shares, larger),
        *_counted(facts, i, [*larger, *small]),
        *(Statement("small", k, shares[k], best_place(facts, i, k)) for k in small),
        *absent[:1],
    ]


def best_place(facts: MapFacts, i: int, k: int) -> str:
    """Return the place of ``facts.PLACES`` class ``k`` keeps to most, or ``throughout`` if it keeps to none.

    Sectors come before edge and corners, and of equal ones the smallest: southeast before east.
    """
    values = facts.concentration(i, [k])
    ranked = sorted(range(len(PLACES)), key=lambda p: (-round(values[p], 9), facts.area[i, p]))
    kept = [p for p in ranked if values[p] >= MIN_CONCENTRATION]
    best = next((p for p in kept if p < len(SECTORS)), kept[0] if kept else None)
    return THROUGHOUT if best is None else PLACES[best]


def _arranged(facts: MapFacts, i: int, named: list[int]) -> list[Statement]:
    """Return at most one arrangement per class, the rarer kinds first; an edge must be where the class keeps to."""
    found = []
    for k in named:
        patches = find_patches(facts.maps[i], k)
        sides = [side for side in SIDES if facts.lies_in(i, [k], side)]
        for kind in reversed(ARRANGEMENTS):
            where = next((s for s in sides if is_arranged(patches, kind, s)), None) if "edge" in kind else ""
            if where is not None and is_arranged(patches, kind, where):
                found.append(Statement("arranged", k, how=kind, where=where))
                break
    ordered = sorted(found, key=lambda s: s.how == LARGE_PATCH)  # a patch is the commonest: say others first
    return ordered[:MAX_ARRANGED]


def _neighbours(facts: MapFacts, i: int, named: list[int]) -> list[Statement]:
    """Return the class, of those that do not dominate, with the longest borders, and whom it touches most."""
    touching = facts.touching[i]
    pairs = [(int(touching[k, m]), -a, -b) for a, k in enumerate(named) for b, m in enumerate(named)
             if a and k != m and touching[k, m] >= MIN_CONTACT]  # fmt: skip
    if not pairs:
        return []
    k = named[-max(pairs)[1]]
    others = sorted((p for p in pairs if named[-p[1]] == k), reverse=True)[:MAX_NEIGHBOURS]
    return [Statement("neighbours", k, others=tuple(named[-p[2]] for p in others))]


def _more(shares: np.ndarray, larger: list[int]) -> list[Statement]:
    if len(larger) > 1 and shares[larger[0]] - shares[larger[1]] >= CLEARLY_MORE:
        return [Statement("more", larger[0], others=(larger[1],))]
    return []


def _counted(facts: MapFacts, i: int, named: list[int]) -> list[Statement]:
    """Return how many patches the first class has of which there are few, else of the first."""
    numbers = [(k, facts.patches(i, [k])) for k in named]
    numbers = [(k, n) for k, n in numbers if n]
    few = [(k, n) for k, n in numbers if n <= MOST_COUNTED]
    return [Statement("counted", k, number=n) for k, n in (few or numbers)[:MAX_COUNTED]]


# --- how it is said --------------------------------------------------------------------------


def word_statements(plan: list[Statement], seed: int, style: str = "words") -> str:
    """Return a plan in words. What follows the shares comes in random order, absences last.

    Args:
        style: ``words`` ('a third') or ``numbers`` ('34 %').
    """
    rng = np.random.default_rng(seed)
    sentences = [(statement.kind, _word(rng, statement, style)) for statement in plan]
    first = [text for kind, text in sentences if kind in ("dominant", "larger", "one class", "nothing")]
    last = [text for kind, text in sentences if kind == "absent"]
    middle = [
        text for kind, text in sentences if kind in ("arranged", "neighbours", "more", "counted", "small")
    ]
    return " ".join([*first, *(middle[j] for j in rng.permutation(len(middle))), *last])


TEMPLATES = {
    "dominant": DOMINANT, "larger": LARGER, "small": SMALL, "arranged": ARRANGED, "counted": COUNTED,
    "neighbours": NEIGHBOURS, "more": MORE, "absent": ABSENT, "one class": layout.ONE_CLASS,
    "nothing": layout.NOTHING,
}  # fmt: skip


def _word(rng: np.random.Generator, statement: Statement, style: str) -> str:
    template = _pick(rng, TEMPLATES[statement.kind])
    noun, plural = _pick(rng, layout.NOUNS[statement.k])
    verbs = {one: many if plural else one for one, many in VERBS.items()}
    many = statement.number != 1
    text = template.format(
        n=noun, p=_pick(rng, layout.PLACES), s=say_share(rng, statement.share, style),
        where=_say_place(rng, statement), m=" and ".join(_pick(rng, layout.NOUNS[k])[0] for k in statement.others),
        v=_pick(rng, WORDS[statement.how]).format(side=statement.where, **verbs) if statement.how else "",
        c=_pick(rng, NUMBERS.get(statement.number, NUMEROUS)), are="are" if many else "is",
        patches="patches" if many else "patch", **verbs,
    )  # fmt: skip
    return text[0].upper() + text[1:]


def _pick(rng: np.random.Generator, choices: Sequence) -> object:
    return choices[rng.integers(len(choices))]


def say_share(rng: np.random.Generator, share: float, style: str) -> str:
    """Return a phrase for a share in (0, 1): always the one nearest fraction, in one of its names."""
    if style == "numbers":
        percent = round(100 * share)
        number = f"{percent}" if percent else "less than 1"
        return number + _pick(rng, (" %", " percent", " per cent"))
    for value, names in LADDER:
        low, high = fraction_range(value)
        if names and low <= share <= high:
            return _pick(rng, names)
    if share >= VAGUE[3][0]:
        return _pick(rng, VAGUE[3][2])
    return _pick(rng, VAGUE[1][2][:3])


def _say_place(rng: np.random.Generator, statement: Statement) -> str:
    where = statement.where
    choices = layout.ALL_OVER if where == THROUGHOUT else ON_RIM.get(where, IN_PLACE)
    return _pick(rng, choices).format(at=where, p=_pick(rng, layout.PLACES)) if where else ""
