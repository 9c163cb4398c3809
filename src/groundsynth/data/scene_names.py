"""Which scenes a study asks for: glob patterns over scene names."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase


def is_chosen(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a scene is asked for: its name fits a pattern, or there is no pattern."""
    patterns = list(patterns)
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def may_be_chosen(prefix: str, patterns: Iterable[str]) -> bool:
    """Return whether some name that starts with ``prefix`` could fit a pattern.

    Decides what to download before the names inside an archive are known.
    """
    return any(_agree(prefix, _literal_start(pattern)) for pattern in patterns)


def _literal_start(pattern: str) -> str:
    for place, sign in enumerate(pattern):
        if sign in "*?[":
            return pattern[:place]
    return pattern


def _agree(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)
