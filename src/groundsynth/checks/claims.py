"""From a claim to a verdict against a map.

Claims come from ``captions.parsing``; what makes one true is defined in ``captions.facts`` and
``captions.shares``, which writers share. A verdict is ``not checkable`` where the map has no labelled
pixel or the legend no such class. An ambiguous word (*vegetation*) is read as all its classes together.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from groundsynth.captions.claim import KINDS, Claim
from groundsynth.captions.facts import MIN_CONTACT, MIN_PIXELS, PLACES
from groundsynth.captions.map_facts import MapFacts, count_maps
from groundsynth.captions.parsing import parse_claims
from groundsynth.legend import NUM_CLASSES

__all__ = ["FALSE", "KINDS", "TRUE", "UNKNOWN", "Claim", "parse_claims"]
TRUE, FALSE, UNKNOWN = "true", "false", "not checkable"
EDGE = 1e-9  # rounding of floating-point shares at the ends of a range


def check_claim(claim: Claim, labels: np.ndarray) -> str:
    """Return ``true``, ``false`` or ``not checkable`` for a claim about a (h, w) map."""
    return check_against(claim, count_maps(labels[None]), 0)


def check_against(claim: Claim, facts: MapFacts, i: int) -> str:
    """Return the verdict of a claim about map ``i`` of counted maps."""
    if not claim.checkable or not facts.known[i]:
        return UNKNOWN
    return TRUE if _holds(claim, facts, i) != claim.denied else FALSE


def _holds(claim: Claim, facts: MapFacts, i: int) -> bool:
    named, shares, pixels = list(claim.classes), facts.shares[i], facts.pixels[i]
    if claim.kind == "mention":
        return bool(pixels[named].sum() >= MIN_PIXELS)
    if claim.kind == "absence":
        counted = facts.places[i, PLACES.index(claim.where)] if claim.where in PLACES else pixels
        return bool(counted[named].sum() < MIN_PIXELS)
    if claim.kind == "dominant":
        parts = [shares[named].sum()] if claim.merged else shares[named]
        others = [k for k in range(NUM_CLASSES) if k not in named]
        return bool(min(parts) >= max(shares[others], default=0) and min(parts) > 0)
    if claim.kind == "share":
        return bool(claim.low - EDGE <= shares[named].sum() <= claim.high + EDGE)
    if claim.kind == "position":
        return bool(pixels[named].sum() > 0 and facts.lies_in(i, named, claim.where))
    if claim.kind == "more":
        return bool(shares[named].sum() > shares[list(claim.other)].sum())
    if claim.kind == "adjacent":
        return bool(facts.touching[i][np.ix_(named, list(claim.other))].sum() >= MIN_CONTACT)
    return claim.low <= facts.patches(i, named) <= claim.high


def check_caption(caption: str, labels: np.ndarray) -> list[tuple[Claim, str]]:
    """Return every claim of a caption with its verdict against a (h, w) map."""
    facts = count_maps(labels[None])
    return [(claim, check_against(claim, facts, 0)) for claim in parse_claims(caption)]


def check_captions(captions: list[str], facts: MapFacts) -> list[list[tuple[Claim, str]]]:
    """Return the claims of n captions with their verdicts, caption i against map i."""
    return [
        [(claim, check_against(claim, facts, i)) for claim in parse_claims(text)]
        for i, text in enumerate(captions)
    ]


def claim_table(captions: pd.DataFrame, maps: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return one row per claim (table ``claims``) for captions whose chip has a map in ``maps``.

    Args:
        captions: table ``captions``.
        maps: chip_id to the (h, w) map the claims are checked against.
    """
    judged = captions[captions["chip_id"].isin(list(maps))]
    facts = count_listed(judged["chip_id"], maps)
    checked = check_captions(judged["caption"].tolist(), facts)
    rows = [
        (row.chip_id, row.system, row.caption_index, claim.kind, str(claim), verdict)
        for row, found in zip(judged.itertuples(), checked, strict=True)
        for claim, verdict in found
    ]
    return pd.DataFrame(rows, columns=["chip_id", "system", "caption_index", "kind", "text", "verdict"])


def count_listed(names: pd.Series, maps: dict[str, np.ndarray]) -> MapFacts:
    """Return the counted maps of chips in the order of ``names``; every name must be in ``maps``."""
    listed = [maps[name] for name in names]
    return count_maps(np.stack(listed) if listed else np.zeros((0, 1, 1), np.uint8))
