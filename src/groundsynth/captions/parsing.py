"""From free text to typed claims: phrases are found, scopes settled, predicates bound to classes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

from groundsynth.captions import facts, lexicon
from groundsynth.captions.claim import Claim
from groundsynth.captions.phrases import Phrase, find_phrases
from groundsynth.captions.scope import find_absences, find_doubted, join_subjects, split_clauses

_SENTENCE_END = re.compile(r"(?<!\bca)(?<!\bapprox)(?:[.!]|\?(?! (?:none|no)\b))(?!\d)\s*|\n+", re.IGNORECASE)
_LARGER = re.compile(lexicon.LARGER, re.IGNORECASE)
_SMALLER = re.compile(lexicon.SMALLER, re.IGNORECASE)
_EXCEEDS = re.compile(rf"\s*(?:\w+ )?{lexicon.EXCEEDS}\s+(?:the |all )?(?:\w+ )?$", re.IGNORECASE)
_THAN = re.compile(r"\b(?:than|as)\b", re.IGNORECASE)
_AS_MUCH = re.compile(lexicon.AS_MUCH, re.IGNORECASE)
_CONTRAST = re.compile(r"\s*,?\s*(?:but|and|yet)\b", re.IGNORECASE)
_PART_OF = re.compile(r"\bof (?:the|these|those|its|this) (?:[\w-]+ )?$", re.IGNORECASE)
_PRONOUN = re.compile(r"\s+(?:it|them|this)\b", re.IGNORECASE)
_ENCLOSED = re.compile(rf"(?:{lexicon.ENCLOSED})$", re.IGNORECASE)
_ADJECTIVES = re.compile(r"\s+(?:[\w-]+,? ){0,2}$")
_PATCHES_OF = re.compile(rf"\s+(?:[\w-]+,? ){{0,2}}{lexicon.PATCHES}(?: of)? (?:[\w-]+ )?$", re.IGNORECASE)
_PATCHES_AFTER = re.compile(rf"\s+{lexicon.PATCHES}\b", re.IGNORECASE)
_LIST = re.compile(r"\s*,?\s*(?:and |or )?(?:an? |the |some |several |more )?(?:[\w-]+ )?$", re.IGNORECASE)
_NEAR = re.compile(r"\s*(?:[\w'-]+ ){0,4}$")


def parse_claims(caption: str) -> list[Claim]:
    """Return the claims of a caption, each once, in the order they are made."""
    return list(_parse(caption))


@lru_cache(maxsize=16384)
def _parse(caption: str) -> tuple[Claim, ...]:
    found: dict[Claim, None] = {}
    start = 0
    ends = [m.span() for m in _SENTENCE_END.finditer(caption)]
    for end, after in [*ends, (len(caption), len(caption))]:
        for claim in _Sentence(caption[start:end], start).claims():
            found.setdefault(claim)
        start = after
    doubtless = {_certain(c) for c in found if not c.hedged}
    return tuple(c for c in found if not (c.hedged and _certain(c) in doubtless))


def _certain(claim: Claim) -> Claim:
    return Claim(**{**vars(claim), "hedged": False})


class _Sentence:
    """One sentence: its phrases, what is denied and doubted, and its subjects."""

    def __init__(self, text: str, offset: int = 0) -> None:
        self.text, self.offset = text, offset
        self.phrases = find_phrases(text)
        self.absent, self.spent, self.denied = find_absences(text, self.phrases)
        self.doubted = find_doubted(text, self.phrases)
        classes = [p for p in self.phrases if p.kind == "class" and p not in self.spent]
        self.groups = join_subjects(text, classes)
        self.excepts = any(p.kind == "except" for p in self.phrases)

    def claims(self) -> list[Claim]:
        found = []
        clauses = split_clauses(self.text, self.phrases, self.groups)
        there = {k for g in self.groups for p in g if len(p.value) == 1 for k in p.value}
        missing = [self._absence(p, clauses) for p in self.absent]
        # 'no roads, but houses' denies a part of a class that is there
        found += [c for c in missing if c.where or not there & set(c.classes)]
        others = [p for p in self.phrases if p.kind == "other" and p not in self.spent]
        found += [self._claim("mention", p, name=self._words(p)) for p in others]
        for clause in clauses:
            rest = [p for p in clause if p not in self.spent]
            found += self._clause(
                [p for p in rest if p.kind != "class"], [g for g in self.groups if g[0] in rest]
            )
        return [*found, *self._comparisons(), *self._adjacencies(), *self._counts()]

    def _words(self, phrase: Phrase) -> str:
        return self.text[phrase.start : phrase.end].lower()

    def _claim(self, kind: str, *phrases: Phrase, **parts: object) -> Claim:
        """Make a claim from the class phrases (merged if ambiguous) among ``phrases``; all give its span."""
        named = [p for p in phrases if p.kind in ("class", "less")]
        start, end = min(p.start for p in phrases), max(p.end for p in phrases)
        classes = tuple(dict.fromkeys(k for p in named for k in p.value))
        parts = {"classes": classes, "merged": any(len(p.value) > 1 for p in named), **parts}
        doubt = any(p in self.doubted for p in phrases)
        span = (self.offset + start, self.offset + end)
        return Claim(kind, hedged=doubt, text=self.text[start:end], span=span, **parts)

    def _absence(self, phrase: Phrase, clauses: list[list[Phrase]]) -> Claim:
        """Return an absence, bound to a place if nothing else in its clause could be there."""
        clause = next((c for c in clauses if phrase in c), [])
        free = [p for p in clause if p.kind == "class" and p not in self.spent]
        places = [p for p in clause if p.kind == "place" and p.value != facts.THROUGHOUT]
        name = self._words(phrase) if phrase.kind == "other" else ""
        if places and not free:
            return self._claim("absence", phrase, places[0], where=places[0].value, name=name)
        return self._claim("absence", phrase, name=name)

    def _clause(self, predicates: list[Phrase], groups: list[list[Phrase]]) -> list[Claim]:
        """Return the claims of one clause: shares, places and dominance bound to its classes."""
        if not groups:
            return []
        of_kind = {
            kind: [p for p in predicates if p.kind == kind]
            for kind in ("share", "little", "place", "dominant")
        }
        elsewhere = [p for p in of_kind["place"] if p.value != facts.THROUGHOUT]
        shares = [
            s
            for s in of_kind["share"]
            if not self._of_class(s) and not (elsewhere and s.value[:2] == lexicon.ENTIRE_RANGE)
        ]
        claims = [*self._shares(groups, shares), *self._little(groups, of_kind["little"])]
        unsaid: list[Phrase] = []  # 'not dominated by water' does not say there is any
        for word in of_kind["dominant"]:
            if not elsewhere:
                group = self._after_or_nearest(groups, word)
                claims.append(self._claim("dominant", *group, denied=word in self.denied))
                unsaid += group if word in self.denied else []
                break
        touching = any(p.kind == "adjacent" for p in predicates)
        for place in of_kind["place"]:
            if touching and self.text[: place.start].endswith("to the "):
                continue  # 'it adjoins a wood to the east': east of it, not of the scene
            nearest = min(groups, key=lambda g: abs(g[0].start - place.start))
            claims += [self._claim("position", p, place, where=place.value) for p in nearest]
        silent = {c.classes for c in claims if c.kind == "share" and c.low == 0 and c.high <= 0.05}
        named = [p for group in groups for p in group if p.value not in silent and p not in unsaid]
        return [self._claim("mention", p) for p in named] + claims

    def _of_class(self, share: Phrase) -> bool:
        """Return whether an amount is a part of a class, not of the scene: 'half of the forest'."""
        following = next((p for p in self.phrases if p.start >= share.end), None)
        if following is None or following.kind != "class":
            return False
        part = self._words(share) + self.text[share.end : following.start]
        return bool(_PART_OF.search(part)) and not _PART_OF.search(self._words(share))

    def _after_or_nearest(self, groups: list[list[Phrase]], word: Phrase) -> list[Phrase]:
        """Return the subject of a dominance: the one after 'mostly' or 'dominated by', else the nearest."""
        if re.search(r"ly$|\bby$", self._words(word)):
            following = [g for g in groups if g[0].start >= word.end]
            if following:
                return following[0]
        return min(groups, key=lambda g: _distance(g, word))

    def _shares(self, groups: list[list[Phrase]], shares: list[Phrase]) -> Iterator[Claim]:
        """Bind each share to a subject: in order if counts match, else to the nearest one."""
        single = [p for group in groups for p in group]
        for i, share in enumerate(shares):
            low, high, stated = share.value
            if share in self.denied:
                low, high, stated = (0.0, low, None) if high == 1 else (high, 1.0, None)
            if self.excepts and (low, high) == lexicon.ENTIRE_RANGE:
                low, high, stated = *lexicon.ENTIRE_BUT_FOR, None
            if len(shares) == len(single) and len(single) > 1:
                bound = [[single[i]]]
            else:
                nearest = min(groups, key=lambda g: _distance(g, share))
                each = re.search(r"\beach\b", self.text, re.IGNORECASE)
                bound = [[p] for p in nearest] if each else [nearest]
            for group in bound:
                yield self._claim("share", *group, share, low=low, high=high, stated=stated)

    def _little(self, groups: list[list[Phrase]], amounts: list[Phrase]) -> Iterator[Claim]:
        """Bind 'a few' and its like to the class that follows within a few words."""
        for amount in amounts:
            following = next((p for g in groups for p in g if p.start >= amount.end), None)
            if following and _NEAR.fullmatch(self.text, amount.end, following.start):
                low, high, _ = amount.value
                yield self._claim("share", following, amount, low=low, high=high)

    def _comparisons(self) -> Iterator[Claim]:
        """Return 'more A than B', 'A is larger than B' and 'A outweighs B' as claims."""
        classes = [p for g in self.groups for p in g]
        inside = [(p.start, p.end) for p in self.phrases if p.kind in ("share", "no", "count")]
        last: tuple[Phrase, Phrase] | None = None
        for than in _THAN.finditer(self.text):
            before = [p for p in classes if p.end <= than.start()]
            after = [p for p in classes if p.start >= than.end()]
            if not (before and after) or any(a <= than.start() < b for a, b in inside):
                continue
            first, second = before[-1], after[0]
            if last and last[1] is first and _CONTRAST.match(self.text, first.end):
                first = last[0]  # 'larger than the town but smaller than the forest'
            last = first, second
            lead = re.split(r"[,;:]", self.text[: than.start()])[-1]
            if not _NEAR.fullmatch(self.text, than.end(), second.start):
                continue
            if than.group().lower() == "as" and not _AS_MUCH.search(lead):
                continue
            words = [(m.start(), m.re is _SMALLER) for r in (_LARGER, _SMALLER) for m in r.finditer(lead)]
            if not words:
                continue
            if max(words)[1]:
                first, second = second, first
            yield self._claim("more", first, other=second.value, merged=len(first.value) > 1)
        for first, second in pairwise(classes):
            if _EXCEEDS.fullmatch(self.text, first.end, second.start):
                yield self._claim("more", first, other=second.value, merged=len(first.value) > 1)

    def _adjacencies(self) -> Iterator[Claim]:
        """Return which classes are said to touch: the subject before and the list after the word."""
        for i, word in enumerate(self.phrases):
            if word.kind != "adjacent" or word in self.denied:
                continue
            before = [g for g in self.groups if g[-1].end <= word.start]
            others = list(self._list_after(i))
            if not others and len(before) > 1 and _PRONOUN.match(self.text, word.end):
                others = before[-2]  # 'a lake with forest around it'
            if not before and others:  # 'next to the water there is a wood'
                later = [g for g in self.groups if g[0].start >= others[-1].end]
                before = [g for g in later[:1] if _NEAR.fullmatch(self.text, others[-1].end, g[0].start)]
            for other in others:
                for first in before[-1] if before else []:
                    if not set(first.value) & set(other.value):
                        pair = sorted((first.value, other.value))
                        yield self._claim(
                            "adjacent", first, word, other, classes=pair[0], other=pair[1], merged=len(pair[0]) > 1
                        )  # fmt: skip

    def _list_after(self, place: int) -> Iterator[Phrase]:
        """Yield the classes right after a phrase: the next one, and those listed with it."""
        end = self.phrases[place].end
        following = [p for p in self.phrases[place + 1 :] if not (p.kind == "share" and self._of_class(p))]
        for n, phrase in enumerate(following):
            gap = _NEAR if n == 0 else _LIST
            if (
                phrase.kind != "class"
                or phrase in self.spent
                or not gap.fullmatch(self.text, end, phrase.start)
            ):
                return
            if n and re.search(lexicon.VERB, self.text[phrase.end :].split(",")[0]):
                return  # 'along the lake, and trees are …' begins a sentence of its own
            end = phrase.end
            if not any(p.kind == "class" and self.text[end : p.start].isspace() for p in self.phrases):
                yield phrase  # 'a wooded park' is a park

    def _counts(self) -> Iterator[Claim]:
        """Return how many separate patches are said to be there."""
        for count in self.phrases:
            following = next((p for p in self.phrases if p.start >= count.end and p.kind == "class"), None)
            if count.kind != "count" or following is None or following in self.spent:
                continue
            enclosed = _ENCLOSED.match(self._words(following)) and _ADJECTIVES.fullmatch(
                self.text, count.end, following.start
            )
            of = _PATCHES_OF.fullmatch(self.text, count.end, following.start)
            after = _ADJECTIVES.fullmatch(self.text, count.end, following.start) and _PATCHES_AFTER.match(
                self.text, following.end
            )
            if enclosed or of or after:
                low, high = count.value
                yield self._claim("count", count, following, low=float(low), high=float(high))


def _distance(group: list[Phrase], phrase: Phrase) -> int:
    return max(group[0].start - phrase.end, phrase.start - group[-1].end, 0)
