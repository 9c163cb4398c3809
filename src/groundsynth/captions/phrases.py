"""A sentence as a row of meaningful phrases: classes, amounts, places, negations and what joins them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from groundsynth.captions import facts, lexicon
from groundsynth.captions.shares import fraction_range, number_range


@dataclass(frozen=True)
class Phrase:
    """Characters ``start`` to ``end`` of a sentence, and what they stand for.

    ``kind`` is class, other, less, dominant, no, except, hedge, share, little (an amount that stands
    before its noun), place, adjacent, count or trap; ``value`` is the classes, the (low, high, stated)
    amount, the sector or the (low, high) number.
    """

    kind: str
    start: int
    end: int
    value: object = None


def _patterns() -> list[tuple[str, object, re.Pattern[str]]]:
    """Return kind, value and pattern of every phrase; of equally long ones the first wins."""
    words, shares = lexicon.whole_words, lexicon.whole_shares
    classes = [((k,), pattern) for k, pattern in enumerate(lexicon.CLASS_WORDS)]
    return [
        *(("trap", None, words(pattern)) for pattern in (*lexicon.TRAPS, *lexicon.COURSES)),
        *(("class", value, words(pattern)) for value, pattern in (*lexicon.AMBIGUOUS, *classes)),
        *(("less", (k,), words(pattern)) for k, pattern in enumerate(lexicon.LESS_WORDS) if pattern),
        ("other", None, words(lexicon.OFF_LEGEND)),
        ("dominant", None, words(lexicon.DOMINANCE)),
        ("except", None, words(lexicon.EXCEPTION)),
        *(("share", None, shares(pattern)) for pattern in lexicon.SHARES),
        ("no", None, words(lexicon.NEGATION)),
        ("hedge", None, words(lexicon.HEDGES)),
        *(("place", None, words(pattern)) for pattern in lexicon.PLACES),
        ("adjacent", None, words(lexicon.ADJACENCY)),
        ("count", None, shares(lexicon.COUNT)),
    ]


_PATTERNS = _patterns()
_DETERMINERS = [(re.compile(p, re.IGNORECASE), value) for p, value in lexicon.DETERMINERS.items()]


def find_phrases(sentence: str) -> list[Phrase]:
    """Return the sentence's phrases in order, without overlap; the earliest and longest wins."""
    hits = []
    for kind, value, pattern in _PATTERNS:
        for match in pattern.finditer(sentence):
            hits.append(_read(kind, value, match))
    kept: list[Phrase] = []
    for phrase in sorted(hits, key=lambda p: (p.start, -p.end)):
        if not kept or phrase.start >= kept[-1].end:
            kept.append(phrase)
    return [p for p in kept if p.kind != "trap"]


def _read(kind: str, value: object, match: re.Match[str]) -> Phrase:
    if kind == "share" and match.groupdict().get("determiner"):
        kind, value = "little", _read_determiner(match.group())
    elif kind == "share":
        value = _read_share(match)
    elif kind == "place":
        value = _read_place(match)
    elif kind == "count":
        value = _read_count(match)
    return Phrase(kind, *match.span(), value)


def _read_determiner(text: str) -> tuple[float, float, None]:
    return *next(value for pattern, value in _DETERMINERS if pattern.fullmatch(text)), None


def _number(word: str) -> float:
    return float(lexicon.NUMBER_WORDS.get(word.lower(), word))


def _fraction(words: str) -> float:
    return lexicon.FRACTIONS[words.lower().replace("-", " ")]


def _read_share(match: re.Match[str]) -> tuple[float, float, float | None]:
    """Return (low, high, stated) of a share phrase."""
    group = match.groupdict()
    if group.get("from"):
        low, high = sorted((_number(group["from"]) / 100, _number(group["to"]) / 100))
        return low, high, (low + high) / 2
    if group.get("low"):
        low, high = sorted(_fraction(group[name]) for name in ("low", "high"))
        return low, high, (low + high) / 2
    if group.get("vague"):
        return *lexicon.VAGUE_RANGES[group["vague"].lower()], None
    if group.get("entire"):
        return *lexicon.ENTIRE_RANGE, 1.0
    about = bool(group["about"] or group["nearly"] or group["little_more"])
    if group.get("number"):
        percent = _number(group["number"])
        value, span = percent / 100, number_range(percent, about)
    else:
        value = _fraction(group["fraction"])
        span = fraction_range(value, about)
    if group["below"]:
        return 0.0, value, None
    if group["above"]:
        return value, 1.0, None
    if group["nearly"]:
        return span[0], value, value
    return (value if group["little_more"] else span[0], span[1], value)


def _read_count(match: re.Match[str]) -> tuple[float, float]:
    """Return the (lowest, highest) number meant."""
    word, least = match["count"].lower(), match["least"]
    low, high = (int(word),) * 2 if word.isdigit() else lexicon.COUNTS[word]
    if least is None:
        return low, high
    return low + (least.lower() != "at least"), float("inf")


def _read_place(match: re.Match[str]) -> str:
    """Return the sector a place phrase names; both sides at once are the edge."""
    group = {name: text.lower() for name, text in match.groupdict().items() if text}
    if not group:
        return "edge"
    if "compass" in group:
        return re.sub(r"[- ]", "", group["compass"])
    if "both" in group:
        first, second = re.split(r"[- ]", group["both"])
        return lexicon.SIDES[first] + lexicon.SIDES[second]
    for name in ("centre", "edge", "corners", facts.THROUGHOUT):
        if name in group:
            return name
    return lexicon.SIDES[next(iter(group.values()))]
