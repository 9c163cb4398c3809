"""What a negation denies, what a doubt covers, which classes share a predicate, where a clause ends."""

from __future__ import annotations

import re

from groundsynth.captions import lexicon
from groundsynth.captions.phrases import Phrase

_VERB = re.compile(lexicon.VERB, re.IGNORECASE)
_BOUNDARY = re.compile(lexicon.BOUNDARY, re.IGNORECASE)
_PLURAL_VERB = re.compile(lexicon.PLURAL_VERB, re.IGNORECASE)
_QUALIFIED = re.compile(lexicon.QUALIFIED, re.IGNORECASE)
_ABSENT_AFTER = re.compile(lexicon.ABSENT_AFTER, re.IGNORECASE)
_ABSENT_TOO = re.compile(lexicon.ABSENT_TOO, re.IGNORECASE)
_LEADS = re.compile(
    r"(?:[,;:]|and|but|while)?(?:\s*and)?\s*(?:in|to|at|on|along|towards?|near|across)\b", re.IGNORECASE
)
_LIST_GAP = re.compile(r"\s*(?:,\s*)?(?:or|nor|,)\s*(?:any |no |other )?\s*$", re.IGNORECASE)
_AND_GAP = re.compile(r"\s*(?:,\s*)?(?:and|&|as well as)\s+(?:the )?$", re.IGNORECASE)
_AND_A_GAP = re.compile(r"\s*(?:,\s*)?and\s+(?:an?|some|the)\s+(?:\w+ )?$", re.IGNORECASE)
_INTRODUCES = re.compile(r"\s*(?:(?:appear|seem)s? to|(?:is|are) there)\b", re.IGNORECASE)
_OR = re.compile(r"\s*,?\s*or (?:an? |some |the )?$", re.IGNORECASE)
_DESCRIBES = re.compile(
    rf"\s+(?:dominate|prevail|cover|fill|occup|make)|\s+(?:is|are|was|were)\s+(?!{lexicon.SEEN}|there|here|left|in\b|on\b|at\b)",
    re.IGNORECASE,
)
_OTHER_PLACE = re.compile(r"(?:[,;:]|and|but|while|whereas)?\s*(?:and |but |while )?the\b", re.IGNORECASE)
_WITH = re.compile(r"\s*with\b", re.IGNORECASE)
_DOUBT_ENDS = re.compile(r"[,;:]|\b(?:with|but|while|whereas)\b", re.IGNORECASE)
_STOP = re.compile(r"[,;:]|\b(?:but|and|though|although|while|because|since)\b", re.IGNORECASE)
NAMED = ("class", "other", "dominant", "share", "adjacent")


def find_absences(sentence: str, phrases: list[Phrase]) -> tuple[list[Phrase], set[Phrase], set[Phrase]]:
    """Return what is said to be missing, the phrases negations used up, and the predicates denied."""
    absent = [p for p in phrases if p.kind == "less"]
    spent, denied = set(absent), set()
    for i, phrase in enumerate(phrases):
        if phrase.kind == "no" and phrase not in spent:
            reach = _reach(sentence, phrase, phrases[i + 1 :])
            spent.add(phrase)
            if reach and reach[0].kind in ("dominant", "share", "adjacent"):
                denied.add(reach[0])
                continue
            spent |= set(reach)
            if reach and not _limited(sentence, phrase, reach):
                absent += reach
        elif phrase.kind in ("class", "other") and phrase not in spent:
            after = _ABSENT_AFTER.match(sentence, phrase.end)
            too = absent and _ABSENT_TOO.search(sentence, 0, phrase.start)
            if after or too:
                absent.append(phrase)
                end = after.end() if after else phrase.end
                spent |= {phrase, *(p for p in phrases if phrase.end <= p.start < end)}
    return _without_exceptions(absent, phrases), spent, denied


def _limited(sentence: str, no: Phrase, reach: list[Phrase]) -> bool:
    """Return whether only a quality is denied: 'no large lake', 'neither lake nor wood is large'."""
    if _QUALIFIED.search(sentence[no.start : reach[0].start]):
        return True
    pair = sentence[no.start : no.end].lower() in ("neither", "nor", "none of")
    return pair and any(_DESCRIBES.match(sentence, p.end) for p in _whole_list(sentence, reach))


def _whole_list(sentence: str, reach: list[Phrase]) -> list[Phrase]:
    """Return the denied phrases and a stand-in for what follows 'nor'."""
    nor = re.compile(r"\s*,?\s*nor (?:the |any )?[\w-]+", re.IGNORECASE).match(sentence, reach[-1].end)
    return [*reach, Phrase("class", reach[-1].end, nor.end())] if nor else reach


def _without_exceptions(absent: list[Phrase], phrases: list[Phrase]) -> list[Phrase]:
    """Leave out what comes back as an exception: 'no water except a pond'."""
    excepted: set[int] = set()
    for i, phrase in enumerate(phrases):
        if phrase.kind == "except":
            following = next((p for p in phrases[i + 1 :] if p.kind == "class"), None)
            excepted |= set(following.value) if following else set()
    return [p for p in absent if not excepted & set(p.value or ())]


def _reach(sentence: str, no: Phrase, following: list[Phrase]) -> list[Phrase]:
    """Return the phrases a negation reaches: the next thing named, and the list it opens."""
    following = [p for p in following if p.kind in (*NAMED, "no", "except")]
    if not following or following[0].kind in ("no", "except"):
        return []
    gap = sentence[no.end : following[0].start]
    if len(gap.split()) > 4 or _STOP.search(gap) or (_VERB.search(gap) and not _INTRODUCES.match(gap)):
        return []
    reach = [following[0]]
    if following[0].kind not in ("class", "other"):  # 'not dominated by water' denies no water
        return reach
    word = sentence[no.start : no.end].lower()
    joins = (_LIST_GAP,) if word in ("no", "not") else (_LIST_GAP, _AND_GAP)
    for phrase in following[1:]:
        between = sentence[reach[-1].end : phrase.start]
        listed = any(join.fullmatch(between) for join in joins)
        named = phrase.kind in ("class", "other")
        if not (named and listed and _list_goes_on(sentence, reach[-1], phrase)):
            break
        reach.append(phrase)
    return reach


def _list_goes_on(sentence: str, last: Phrase, phrase: Phrase) -> bool:
    """Return whether a comma joins two denied things: only in a list that ends in 'or' or 'nor'."""
    if "," not in sentence[last.end : phrase.start]:
        return True
    return re.search(r"\b(?:or|nor)\b", sentence[last.end :]) is not None


def find_doubted(sentence: str, phrases: list[Phrase]) -> set[Phrase]:
    """Return the class phrases a hedge covers: the next one in its clause, and what 'or' adds."""
    doubted: set[Phrase] = set()
    named = [p for p in phrases if p.kind in ("class", "other")]
    for hedge in (p for p in phrases if p.kind == "hedge"):
        end = hedge.end
        for phrase in (p for p in named if p.start >= hedge.end):
            gap = sentence[end : phrase.start]
            if _DOUBT_ENDS.search(gap) if end == hedge.end else not _OR.fullmatch(gap):
                break
            doubted.add(phrase)
            end = phrase.end
    return doubted


def join_subjects(sentence: str, classes: list[Phrase]) -> list[list[Phrase]]:
    """Join classes linked by 'and' into one subject, unless each has a predicate of its own."""
    groups: list[list[Phrase]] = []
    for phrase in classes:
        if groups and _joined(sentence, groups[-1], phrase):
            groups[-1].append(phrase)
        else:
            groups.append([phrase])
    return groups


def _joined(sentence: str, group: list[Phrase], phrase: Phrase) -> bool:
    before = re.split(r"[,;:]", sentence[: group[0].start])[-1]
    if _AND_GAP.fullmatch(sentence, group[-1].end, phrase.start):
        after = re.split(r"[,;:]", sentence[phrase.end :])[0]
        return not (_VERB.search(before) and _VERB.search(after))
    # 'a lake and a wood cover …': the plural verb tells that both are its subject
    if _AND_A_GAP.fullmatch(sentence, group[-1].end, phrase.start) and not _VERB.search(before):
        return bool(_PLURAL_VERB.match(sentence, phrase.end))
    return False


def split_clauses(sentence: str, phrases: list[Phrase], groups: list[list[Phrase]]) -> list[list[Phrase]]:
    """Split the phrases at commas and conjunctions; a clause without a class joins its neighbour."""
    joined = [(g[0].start, g[-1].end) for g in groups] + [(p.start, p.end) for p in phrases]
    cuts = [m.start() for m in _BOUNDARY.finditer(sentence) if not any(a <= m.start() < b for a, b in joined)]
    starts, ends = [0, *cuts], [*cuts, len(sentence)]
    spans = [[p for p in phrases if a <= p.start < b] for a, b in zip(starts, ends, strict=True)]
    clauses: list[list[Phrase]] = []
    waiting: list[Phrase] = []
    for i, (start, inside) in enumerate(zip(starts, spans, strict=True)):
        if any(p.kind in ("class", "less", "other") for p in inside):
            clauses.append([p for p in waiting if p.kind != "dominant"] + inside)
            waiting = []
            continue
        later = any(p.kind == "class" for span in spans[i + 1 :] for p in span)
        leads = _LEADS.match(sentence, start) and any(p.kind == "place" for p in inside)
        # 'covered with shrubs and a small part with water': the amount belongs to what follows
        shared = any(p.kind == "share" for p in inside) and _WITH.match(sentence, ends[i])
        if later and (not clauses or leads or shared):
            waiting += inside
        elif clauses:
            placed = any(p.kind == "place" for p in clauses[-1])
            new_subject = placed and _OTHER_PLACE.match(sentence, start)  # ', the east is not'
            clauses[-1] += [p for p in inside if not (new_subject and p.kind == "place")]
    return clauses
