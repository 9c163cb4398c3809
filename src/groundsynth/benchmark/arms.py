"""Arms: the training sets and recipes that are compared, each read from its published name.

:mod:`groundsynth.arm_names` lists the forms of a name; whatever a name leaves out is the same for all arms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from groundsynth.arm_names import ALL_SYSTEMS, SELF_TRAINING, arm_parts, is_mixed
from groundsynth.errors import GroundsynthError

REFERENCE = "real"
CLASSICAL = ("cutmix", "copy_paste")  # recipes that lay real chips on one another


@dataclass(frozen=True)
class Arm:
    """What one name stands for.

    Attributes:
        real: whether it holds real chips; system: whose others, '' = none; filter: of those.
        ratio: synthetic per real chip in its batches, or per step on real ones where one follows the other; None
            takes the study's, or equal halves.
        steps: multiple of the study's optimiser steps.
        recipe: ``oversampling``, ``class_weights``, ``cutmix`` or ``copy_paste`` of real chips; '' = none.
        replaced: share of the real chips that synthetic ones take the place of; None = no such mix.
        order: ``bridge`` (synthetic first, then real), ``reverse``, or '' = together; matched: whether
            synthetic chips take the colours of the real ones first.
    """

    name: str
    real: bool
    system: str = ""
    filter: str = ""
    ratio: float | None = None
    steps: float = 1.0
    recipe: str = ""
    replaced: float | None = None
    order: str = ""
    matched: bool = False

    @property
    def source(self) -> str:
        """The chips beside the real ones, e.g. ``mask`` or ``mask:freemask``; '' = none."""
        return f"{self.system}:{self.filter}" if self.filter else self.system

    def holds(self, system: str) -> bool:
        """Say whether chips of this system are among its own; ``all`` holds every generated one."""
        return system == self.system or (self.system == ALL_SYSTEMS and system != SELF_TRAINING)


def parse_arm(name: str, systems: Sequence[str]) -> Arm:
    """Return the arm a name stands for.

    Raises:
        GroundsynthError: a name of another form, or a system that was not generated.
    """
    try:
        parts = arm_parts(name)
    except ValueError as error:
        raise GroundsynthError(str(error)) from None
    ratio = float(parts["ratio"]) if parts["ratio"] else None
    return Arm(
        name,
        real=parts["kind"] != "synthetic:",
        system=_known(name, parts["system"], systems),
        filter=parts["filter"],
        ratio=ratio,
        steps=1 + ratio if parts["equal"] else float(parts["steps"] or 1),
        recipe=parts["recipe"],
        replaced=float(parts["percent"]) / 100 if parts["percent"] else None,
        order=parts["order"],
        matched=bool(parts["matched"]),
    )


def _known(name: str, system: str, systems: Sequence[str]) -> str:
    if system and system not in (*systems, ALL_SYSTEMS, SELF_TRAINING):
        raise GroundsynthError(
            f"arm '{name}' asks for system '{system}', but generated are {', '.join(systems) or 'none'}; add "
            "it under generate: systems or drop the arm"
        )
    return system


def matched_steps(arms: Sequence[Arm]) -> list[tuple[Arm, Arm]]:
    """Return each arm with more or fewer steps than ``real``, and real chips alone with as many.

    >>> arms = parse_arms(["real", "real@4", "real+cutmix", "real+cutmix@4", "real+mask@3*"], ["mask"])
    >>> [(arm.name, other.name) for arm, other in matched_steps(arms)]
    [('real+cutmix@4', 'real@4'), ('real+mask@3*', 'real@4')]
    """
    plain = {arm.steps: arm for arm in arms if arm.real and not (arm.system or arm.recipe)}
    return [
        (arm, plain[arm.steps])
        for arm in arms
        if arm.steps in plain and arm.steps != 1 and arm is not plain[arm.steps]
    ]


def opponents(arms: Sequence[Arm]) -> dict[str, str]:
    """Return by arm the one it is held against: real chips alone with as many steps if they are there, else ``real``.

    >>> opponents(parse_arms(["real", "real@4", "real+mask", "real+mask@3*"], ["mask"]))
    {'real': 'real', 'real@4': 'real', 'real+mask': 'real', 'real+mask@3*': 'real@4'}
    """
    matched = {arm.name: other.name for arm, other in matched_steps(arms)}
    return {arm.name: matched.get(arm.name, REFERENCE) for arm in arms}


def controls(arms: Sequence[Arm]) -> list[tuple[Arm, Arm]]:
    """Return each arm of real and generated chips with every control of as many steps: what else could help as much.

    Controls are classical augmentation of real chips, and hidden real chips that the labeller has labelled.

    >>> arms = parse_arms(["real", "real+cutmix", "real+self_training", "real+mask", "real+mask@3*"], ["mask"])
    >>> [(arm.name, control.name) for arm, control in controls(arms)]
    [('real+mask', 'real+cutmix'), ('real+mask', 'real+self_training')]
    """
    held = [arm for arm in arms if arm.recipe in CLASSICAL or arm.system == SELF_TRAINING]
    mixed = [arm for arm in arms if is_mixed(arm.name)]
    return [(arm, control) for arm in mixed for control in held if control.steps == arm.steps]


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
