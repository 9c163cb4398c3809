"""Shares in words and numbers, and the range each of them is true for.

The rule: a stated share is true when it is right *to the precision it was stated with*. A number
holds within half its last step (40 % within 5, 35 % within 2.5, 37 % within 0.5 percentage points);
a fraction holds while no other fraction of the ladder is nearer; 'about' doubles the distance.
"""

from __future__ import annotations

from functools import lru_cache

#: the fractions English names in one breath; (value, ways to say it)
LADDER: tuple[tuple[float, tuple[str, ...]], ...] = (
    (1 / 20, ("a twentieth", "one twentieth")),
    (1 / 10, ("a tenth", "one tenth")),
    (1 / 5, ("a fifth", "one fifth")),
    (1 / 4, ("a quarter", "one quarter")),
    (1 / 3, ("a third", "one third")),
    (2 / 5, ("two fifths",)),
    (1 / 2, ("half", "one half")),
    (3 / 5, ("three fifths",)),
    (2 / 3, ("two thirds",)),
    (3 / 4, ("three quarters", "three fourths")),
    (4 / 5, ("four fifths",)),
    (9 / 10, ("nine tenths",)),
    (1.0, ()),
)

#: words that give a range of their own: (low, high, ways to say it)
VAGUE: tuple[tuple[float, float, tuple[str, ...]], ...] = (
    (0.0, 0.05, ("almost no", "hardly any", "barely any", "little or no", "a trace of", "traces of")),
    (0.0, 0.2, ("a small part", "a small share", "a small portion", "a little", "a sliver")),
    (0.5, 1.0, ("most of", "the majority", "a majority")),
    (0.9, 1.0, ("almost all", "nearly all", "virtually all")),
)
ALL = (0.975, 1.0)


def number_range(percent: float, about: bool = False) -> tuple[float, float]:
    """Return the shares (low, high in 0…1) for which ``percent`` is right to its precision."""
    steps = (10.0, 5.0, 1.0)
    step = next((s for s in steps if abs(percent / s - round(percent / s)) < 1e-9), 0.1)
    half = step / 2 * (2 if about else 1)
    return max(percent - half, 0) / 100, min(percent + half, 100) / 100


@lru_cache
def fraction_range(value: float, about: bool = False) -> tuple[float, float]:
    """Return the shares (low, high) that are nearest to ``value`` among the ladder's fractions."""
    rungs = [0.0] + [rung for rung, _ in LADDER]
    place = min(range(len(rungs)), key=lambda i: abs(rungs[i] - value))
    width = 1.0 if about else 0.5
    low = value - width * (value - rungs[place - 1])
    high = value + width * (rungs[place + 1] - value) if place + 1 < len(rungs) else 1.0
    return max(low, 0.0), min(high, 1.0)


def phrases_for(share: float) -> list[str]:
    """Return every fraction or vague phrase that is true of ``share`` (0 < share ≤ 1)."""
    exact = [
        (("about " if about else "") + name)
        for value, names in LADDER
        for about in (False, True)
        for name in names
        if fraction_range(value, about)[0] <= share <= fraction_range(value, about)[1]
    ]
    small = [name for name in VAGUE[1][2][:3] if share <= VAGUE[1][1] / 2]
    large = [name for name in VAGUE[3][2] if share >= VAGUE[3][0]]
    return exact + small + large
