"""Arms: the training sets that are compared, each read from its published name.

========================  ===================================================================
``real``                  the real training chips: the reference of every comparison
``synthetic:<system>``    the chips of one generating system and nothing else
``real+<system>``         both; every batch draws them in the configured ratio
``…<system>:<filter>``    the same with the labels that a filter of stage 04 left
``…<system>:certified``   the same with chips that stage 06 kept; ``:dropped``: with those it
                          dropped; ``:random``: with any; the three are equal in number
``real+self_training``    the control: real chips with hidden labels, labelled by the labeller
========================  ===================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from groundsynth.config import SELF_TRAINING
from groundsynth.errors import GroundsynthError

REFERENCE = "real"


@dataclass(frozen=True)
class Arm:
    """One training set: whether it holds real chips, whose others ('' = none), and how those are filtered."""

    name: str
    real: bool
    system: str = ""
    filter: str = ""

    @property
    def source(self) -> str:
        """The chips beside the real ones, e.g. ``mask`` or ``mask:freemask``; '' = none."""
        return f"{self.system}:{self.filter}" if self.filter else self.system


def parse_arm(name: str, systems: Sequence[str]) -> Arm:
    """Return the arm a name stands for.

    Raises:
        GroundsynthError: a name of another form, or a system that was not generated.
    """
    if name == REFERENCE:
        return Arm(name, real=True)
    for prefix, real in (("synthetic:", False), ("real+", True)):
        if name.startswith(prefix):
            system, _, filter_ = name.removeprefix(prefix).partition(":")
            known = [*systems, SELF_TRAINING] if real else systems
            return Arm(name, real, _known(name, system, known), filter_)
    raise GroundsynthError(
        f"arm '{name}' is none of real, synthetic:<system>, real+<system>; correct it under benchmark: arms"
    )


def _known(name: str, system: str, systems: Sequence[str]) -> str:
    if system not in systems:
        raise GroundsynthError(
            f"arm '{name}' asks for system '{system}', but generated are {', '.join(systems) or 'none'}; add "
            "it under generate: systems or drop the arm"
        )
    return system


def parse_arms(names: Sequence[str], systems: Sequence[str]) -> list[Arm]:
    """Return all arms of a benchmark; ``real`` must be among them and none may repeat."""
    repeated = [name for name in names if list(names).count(name) > 1]
    if repeated:
        raise GroundsynthError(f"arm '{repeated[0]}' is listed twice; name it once under benchmark: arms")
    if REFERENCE not in names:
        raise GroundsynthError(
            f"arms {list(names)} lack '{REFERENCE}', the reference of every difference; add it under "
            "benchmark: arms"
        )
    return [parse_arm(name, systems) for name in names]
