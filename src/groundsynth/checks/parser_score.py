"""How well the parser reads sentences that people read by hand: precision and recall of claims.

The sentences and the readers' rules lie in ``captions/parser_sentences``. ``held_back`` tells how
well it reads sentences its rules were not written against.
"""

from __future__ import annotations

import re
from importlib.resources import files

import numpy as np
import pandas as pd
import yaml

from groundsynth.artifacts import metric_row
from groundsynth.captions.claim import KINDS, Claim
from groundsynth.captions.parsing import parse_claims
from groundsynth.checks.resampling import bootstrap_interval
from groundsynth.errors import GroundsynthError

KEYS = {"tree": 0, "shrub": 1, "grass": 2, "crop": 3, "built": 4, "bare": 5, "water": 6}
READINGS = {"vegetation": (0, 1, 2, 3)}
TOLERANCE = 0.05  # of both ends of an amount: five percentage points
FOLDER = files("groundsynth.captions") / "parser_sentences"


def read_sentences() -> dict[str, dict[str, list[str]]]:
    """Return the labelled files by name: sentence to its claims as written."""
    paths = sorted((p for p in FOLDER.iterdir() if p.name.endswith(".yaml")), key=lambda p: p.name)
    return {p.name.removesuffix(".yaml"): yaml.safe_load(p.read_text(encoding="utf-8")) for p in paths}


def _subject(words: str) -> tuple[tuple[int, ...], bool, str]:
    """Return classes, whether they are readings of one word, and the name of anything else."""
    words = words.strip()
    if words in READINGS or "/" in words:
        return READINGS.get(words) or tuple(KEYS[w] for w in words.split("/")), True, ""
    parts = [part.strip() for part in words.split("+")]
    if not all(part in KEYS for part in parts):
        return (), False, words
    return tuple(KEYS[part] for part in parts), False, ""


def read_claim(written: str) -> Claim:
    """Return a hand-written claim such as ``maybe share tree + grass .5 .6`` (see the folder's README).

    Raises:
        GroundsynthError: a kind that does not exist.
    """
    hedged, denied = written.startswith("maybe "), False
    rest = written.removeprefix("maybe ")
    denied, rest = rest.startswith("not "), rest.removeprefix("not ")
    kind, _, rest = rest.partition(" ")
    if kind not in KINDS:
        raise GroundsynthError(f"labelled claim '{written}': no kind '{kind}'; use one of {', '.join(KINDS)}")
    if kind in ("more", "adjacent"):
        first, second = (_subject(part) for part in re.split(r"[>|]", rest))
        if kind == "adjacent":
            first, second = sorted((first, second))
        return Claim(kind, first[0], merged=first[1], other=second[0], denied=denied, hedged=hedged)
    low, high, where = 0.0, 1.0, ""
    if kind in ("share", "count"):
        *words, low, high = rest.split(" ")
        rest, low, high = " ".join(words), float(low), float(high)
    elif kind == "position" or (kind == "absence" and " " in rest):
        rest, where = rest.rsplit(" ", 1)
    classes, merged, name = _subject(rest)
    return Claim(
        kind, classes, low, high, where=where, merged=merged, denied=denied, hedged=hedged, name=name
    )


def agree(found: Claim, expected: Claim) -> bool:
    """Return whether a parsed claim is the one a reader took; doubt is compared apart."""
    names = (found.name.rstrip("sy") == expected.name.rstrip("sy")) or bool(found.classes)
    same = (
        found.kind == expected.kind
        and set(found.classes) == set(expected.classes)
        and set(found.other) == set(expected.other)
        and (found.where, found.denied, found.merged) == (expected.where, expected.denied, expected.merged)
    )
    spare = TOLERANCE + 1e-9 if found.kind == "share" else 0.0
    ends = all(
        a == b or abs(a - b) <= spare for a, b in ((found.low, expected.low), (found.high, expected.high))
    )
    return names and same and ends


def score_parser(sentences: dict[str, list[str]]) -> pd.DataFrame:
    """Return one row per sentence and kind of claim.

    Returns:
        columns ``sentence``, ``kind``, counts ``found``, ``expected``, ``right`` and ``doubt_right``
        (right claims whose hedge was read right), and the claims ``missed`` and ``invented`` in words.
    """
    rows = []
    for sentence, written in sentences.items():
        found, expected = parse_claims(sentence), [read_claim(w) for w in written]
        pairs, open_ = [], list(expected)
        for claim in found:
            match = next((e for e in open_ if agree(claim, e)), None)
            if match is not None:
                open_.remove(match)
                pairs.append((claim, match))
        taken = {id(claim) for claim, _ in pairs}
        for kind in KINDS:
            mine, theirs = [c for c in found if c.kind == kind], [c for c in expected if c.kind == kind]
            if mine or theirs:
                right = [(a, b) for a, b in pairs if a.kind == kind]
                rows.append(
                    {
                        "sentence": sentence,
                        "kind": kind,
                        "found": len(mine),
                        "expected": len(theirs),
                        "right": len(right),
                        "doubt_right": sum(a.hedged == b.hedged for a, b in right),
                        "missed": "; ".join(str(e) for e in open_ if e.kind == kind),
                        "invented": "; ".join(str(c) for c in mine if id(c) not in taken),
                    }
                )
    return pd.DataFrame(rows)


def parser_rates(scores: pd.DataFrame) -> tuple[float, float]:
    """Return precision and recall of claims over all rows of :func:`score_parser`."""
    right = scores["right"].sum()
    return float(right / scores["found"].sum()), float(right / scores["expected"].sum())


def parser_rows(
    study: str, stage: str, sentences: dict[str, dict[str, list[str]]] | None = None
) -> list[dict]:
    """Return ``parser_precision`` and ``parser_recall`` per file as metric rows (arm = file).

    Intervals resample sentences; ``n`` counts the claims made and expected.
    """
    rows = []
    for name, labelled in (sentences or read_sentences()).items():
        table = score_parser(labelled).groupby("sentence", sort=False)[["right", "found", "expected"]].sum()
        right = table["right"].to_numpy(float)
        for metric, column in (("parser_precision", "found"), ("parser_recall", "expected")):
            all_ = table[column].to_numpy(float)
            low, high = bootstrap_interval(
                lambda draw, r=right, a=all_: r[draw].sum() / max(a[draw].sum(), 1), len(right), metric, name
            )
            value, n = float(np.sum(right) / np.sum(all_)), int(np.sum(all_))
            rows.append(metric_row(study, stage, metric, value, arm=name, low=low, high=high, n=n))
    return rows
