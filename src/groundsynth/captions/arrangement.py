"""How the ground of a class is arranged on a map, and the words that say so.

Four arrangements, each decided by the connected patches of a class (pixels joined by side or corner, as
everywhere in the study); a class may have several of them, or none. Writers state them only where they
hold, and :func:`read_arrangements` reads them back, so that the claim can be held against any map.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import binary_closing, binary_fill_holes
from scipy.sparse.csgraph import dijkstra
from skimage.graph import pixel_graph
from skimage.measure import label, regionprops
from skimage.morphology import skeletonize

from groundsynth.captions import lexicon
from groundsynth.captions.facts import MIN_PIXELS
from groundsynth.captions.phrases import find_phrases
from groundsynth.legend import NO_LABEL

LARGE_PATCH, SCATTERED, RIBBON, ALONG_EDGE = ARRANGEMENTS = (
    "large patch", "scattered", "ribbon", "along edge",
)  # fmt: skip
SIDES = ("north", "east", "south", "west")

MAIN_PART = 0.9  # of a class lies in its largest patch, for that to be 'one large patch'
LARGE_GROUND = 0.05  # of the labelled ground, from which on a patch is large
MANY_PATCHES = 5  # make a class scattered, if none of them holds
HALF = 0.5  # of it; also the part of a class a ribbon or an edge must hold
RIBBON_LENGTHS = 5  # a ribbon's longest way is at least as many times as long as it is wide on average,
RIBBON_REACH = 0.4  # as long as this part of the chip's side,
RIBBON_WIDTH = 0.125  # and no wider than this part of it
GAP = 4  # pixels: gaps this wide do not part a patch into ribbons
EDGE_WIDTH = 0.125  # of the side: the strip along an edge, as wide as the rim of ``facts``


@dataclass(frozen=True)
class Patches:
    """The patches of one class on one map.

    Attributes:
        regions: scikit-image's region properties of connected groups of at least ``MIN_PIXELS`` pixels, largest first.
        pixels: all pixels of the class; ground: all labelled pixels; side: the map's shorter side.
        edges: pixels of the class in the strip along each of ``SIDES``.
    """

    regions: tuple[Any, ...]
    pixels: int
    ground: int
    side: int
    edges: dict[str, int]


def find_patches(labels: np.ndarray, k: int) -> Patches:
    """Return the patches of class ``k`` on a (h, w) map."""
    found = labels == k
    named = label(found, connectivity=2)
    named[np.bincount(named.ravel())[named] < MIN_PIXELS] = 0
    regions = regionprops(named)
    height, width = labels.shape
    rows, cols = max(1, round(EDGE_WIDTH * height)), max(1, round(EDGE_WIDTH * width))
    strips = (found[:rows], found[:, -cols:], found[-rows:], found[:, :cols])
    return Patches(
        tuple(sorted(regions, key=lambda r: -r.area)), int(found.sum()), int((labels != NO_LABEL).sum()),
        min(height, width), {side: int(strip.sum()) for side, strip in zip(SIDES, strips, strict=True)},
    )  # fmt: skip


def is_arranged(patches: Patches, kind: str, side: str = "") -> bool:
    """Return whether a class is arranged in one of ``ARRANGEMENTS``; ``side`` is the edge's."""
    if not patches.regions:
        return False
    largest = patches.regions[0].area / patches.pixels
    if kind == LARGE_PATCH:
        return largest >= MAIN_PART and patches.regions[0].area >= LARGE_GROUND * patches.ground
    if kind == SCATTERED:
        return len(patches.regions) >= MANY_PATCHES and largest <= HALF
    if kind == RIBBON:
        return largest >= HALF and _is_ribbon(patches.regions[0], patches.side)
    return patches.edges[side] >= max(HALF * patches.pixels, MIN_PIXELS)


def _is_ribbon(region: Any, side: int) -> bool:
    """Return whether a patch, its gaps closed, is long and narrow along its own middle line."""
    box = region.bbox
    if max(box[2] - box[0], box[3] - box[1]) < RIBBON_REACH * side / 2:
        return False  # too small to wind that far
    filled = _without_gaps(region.image)
    length = _longest_path(skeletonize(filled))
    width = filled.sum() / length
    reaches = length >= RIBBON_REACH * side
    return bool(reaches and length >= RIBBON_LENGTHS * width and width <= RIBBON_WIDTH * side)


def _without_gaps(shape: np.ndarray) -> np.ndarray:
    """Return a patch with holes and gaps of up to ``GAP`` pixels closed: a speckled field is no web of ribbons."""
    padded = np.pad(shape, GAP + 1)
    return binary_fill_holes(binary_closing(padded, np.ones((GAP + 1, GAP + 1), bool)))


def _longest_path(skeleton: np.ndarray) -> float:
    """Return the length in pixels of the longest way along a skeleton, branches left out; at least 1."""
    if skeleton.sum() < 2:
        return 1.0
    graph, _ = pixel_graph(skeleton, connectivity=2)
    far = _distances(graph, 0).argmax()
    return float(_distances(graph, far).max()) + 1


def _distances(graph: Any, start: int) -> np.ndarray:
    steps = dijkstra(graph, indices=start)
    return np.where(np.isfinite(steps), steps, 0)


# --- the words -------------------------------------------------------------------------------

#: what follows a class: {v} is 'forms' or 'form', {lies} and {is} likewise
WORDS: dict[str, tuple[str, ...]] = {
    LARGE_PATCH: ("{forms} one large patch", "{lies} together in one large patch", "{makes} one large connected patch",
                  "{is} gathered into one large patch"),
    SCATTERED: ("{is} broken into scattered patches", "{lies} in scattered patches", "{comes} in small scattered patches",
                "{appears} in several scattered patches"),
    RIBBON: ("{forms} a narrow ribbon", "{runs} in a narrow ribbon", "{is} drawn out into a narrow band",
             "{winds} along in a narrow ribbon"),
    ALONG_EDGE: ("{lies} along the {side}ern edge", "{keeps} to the {side}ern edge", "{follows} the {side}ern edge",
                 "{is} pressed against the {side}ern edge"),
}  # fmt: skip
_ADJECTIVES = r"(?:[\w-]+,? ){0,2}"
_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(rf"\b{pattern}\b", re.IGNORECASE))
    for kind, pattern in (
        (LARGE_PATCH, rf"one (?:large|big|extensive) {_ADJECTIVES}(?:patch|block|expanse|stand)"),
        (SCATTERED, rf"scattered {_ADJECTIVES}(?:patches|pieces|parcels|plots|clumps|stands)"),
        (RIBBON, r"(?:narrow|thin|long) (?:ribbon|band|line)|ribbon[- ]like"),
        (ALONG_EDGE, rf"(?:along|to|follows?|against) the (?P<side>{'|'.join(SIDES)})ern edge"),
    )
)
_NEGATION = lexicon.whole_words(lexicon.NEGATION)
_SENTENCE = re.compile(r"[^.!?\n]+")


@dataclass(frozen=True)
class ArrangementClaim:
    """That a class is arranged in a certain way; ``classes`` are the readings of its word."""

    kind: str
    classes: tuple[int, ...]
    side: str = ""
    span: tuple[int, int] = (0, 0)  # of the words, in the caption


def read_arrangements(caption: str) -> list[ArrangementClaim]:
    """Return what a caption says of arrangements: each belongs to the nearest class of its sentence."""
    claims = []
    for sentence in _SENTENCE.finditer(caption):
        text, start = sentence.group(), sentence.start()
        matches = [(kind, match) for kind, pattern in _PATTERNS for match in pattern.finditer(text)]
        if not matches or _NEGATION.search(text):
            continue
        classes = [p for p in find_phrases(text) if p.kind == "class"]
        for kind, match in matches if classes else ():
            near = min(classes, key=lambda p: max(p.start - match.end(), match.start() - p.end))
            side = match.groupdict().get("side") or ""
            span = (start + match.start(), start + match.end())
            claims.append(ArrangementClaim(kind, near.value, side.lower(), span))
    return claims


def check_arrangement(claim: ArrangementClaim, labels: np.ndarray) -> bool:
    """Return whether a (h, w) map bears a claim out; any reading of its word will do."""
    return any(is_arranged(find_patches(labels, k), claim.kind, claim.side) for k in claim.classes)
