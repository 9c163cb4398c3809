"""Which published systems each kind of generator can draw."""

from __future__ import annotations

from collections.abc import Iterable

from groundsynth.errors import GroundsynthError

SYSTEMS_OF = {
    "unified": ("joint", "mask", "image", "text"),
    "joint": ("joint",),
    "mask": ("mask",),
    "image": ("image",),
    "text": ("text",),
    "spade": ("spade",),
    "joint_gan": ("joint_gan",),
}
GENERATOR = r"[a-z_]+-s\d+"  # a generator's name: <policy>-s<seed>
GANS = ("spade", "joint_gan")  # policies that train a GAN, each for the system of its name
GIVEN_MAP = ("mask", "spade")  # systems that draw an image for a map they are given
ASKED = ("text",)  # systems that draw a pair for a caption, or for class shares
PAIRS = ("joint", "text")  # systems that denoise an image and its map together
GUIDED = ("unified",)  # policies that learned images with a map and without, and so can be guided by one


def systems_of(policy: str, conditions: str = "none") -> tuple[str, ...]:
    """Return the systems that a generator draws which was trained with these conditions.

    >>> systems_of("unified"), systems_of("text", "both")
    (('joint', 'mask', 'image'), ('text',))
    """
    return tuple(s for s in SYSTEMS_OF.get(policy, ()) if s not in ASKED or conditions != "none")


def policy_of(generator: str) -> str:
    """Return the policy in a generator's name; empty if it names none.

    >>> policy_of("joint_gan-s3")
    'joint_gan'
    """
    return generator.rpartition("-s")[0]


def drawn_pairs(generators: Iterable[str], systems: Iterable[str]) -> list[tuple[str, str]]:
    """Return every generator with every one of the ``systems`` that it can draw, generators first.

    Args:
        generators: names ``<policy>-s<seed>``.

    Raises:
        GroundsynthError: a generator of an unknown policy.

    >>> drawn_pairs(["unified-s0", "spade-s0"], ["mask", "spade"])
    [('unified-s0', 'mask'), ('spade-s0', 'spade')]
    """
    generators, wanted = list(generators), list(systems)
    policies = [policy_of(name) for name in generators]
    unknown = [name for name, policy in zip(generators, policies, strict=True) if policy not in SYSTEMS_OF]
    if unknown:
        raise GroundsynthError(
            f"generator '{unknown[0]}' is not named <policy>-s<seed>; policies are {', '.join(SYSTEMS_OF)}"
        )
    return [
        (g, s)
        for g, policy in zip(generators, policies, strict=True)
        for s in wanted
        if s in SYSTEMS_OF[policy]
    ]
