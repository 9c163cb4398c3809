"""Which published systems each kind of generator can draw."""

from __future__ import annotations

from collections.abc import Iterable

SYSTEMS_OF = {
    "unified": ("joint", "mask", "image"),
    "joint": ("joint",),
    "mask": ("mask",),
    "image": ("image",),
}
GIVEN_MAP = ("mask",)  # systems that draw an image for a map they are given


def drawn_pairs(generators: Iterable[str], systems: Iterable[str]) -> list[tuple[str, str]]:
    """Return every generator with every one of the ``systems`` that it can draw, generators first.

    Args:
        generators: names ``<policy>-s<seed>``.

    >>> drawn_pairs(["unified-s0", "image-s0"], ["mask", "image"])
    [('unified-s0', 'mask'), ('unified-s0', 'image'), ('image-s0', 'image')]
    """
    wanted = list(systems)
    return [(g, s) for g in generators for s in wanted if s in SYSTEMS_OF[g.rpartition("-s")[0]]]
