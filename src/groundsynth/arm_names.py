"""The names of the benchmark's arms: one grammar, read by the config's check and by the benchmark.

============================  ===============================================================================
``real``                      the real training chips: the reference of every comparison
``real@2``                    the same with that multiple of the optimiser steps
``real+oversampling``         chips with rare classes drawn more often; ``real+class_weights``: rare classes weigh
                              more in the loss; ``real+cutmix``, ``real+copy_paste``: chips laid on one another
``real+cutmix@4``             … with that multiple of the steps; the same for every recipe of real chips alone
``synthetic:<system>``        the chips of one generating system, or of ``all``, and nothing else
``synthetic:<system>@4``      the same with that multiple of the steps
``real+<system>``             both; every batch draws them in the configured ratio
``real+<system>@3``           the same with three synthetic chips per real one in the batches
``real+<system>@3*``          the same with four times the steps: as many looks at real chips as ``real`` has
``…<system>:<filter>``        the same with the labels that a filter of stage 04 left
``…<system>:certified``       with chips that stage 06 kept; ``:dropped``: with those it dropped; ``:random``: with
                              any; the three are equal in number
``…<system>:low_diversity``   one image per layout; ``:mid_diversity``: half of them; ``:high_diversity``: all; the
                              same layouts, and equal in number
``…text:rare``                samples that were asked for more of a rare class
``mix:<system>@25``           25 per cent of the real training chips replaced by synthetic ones
``bridge:<system>``           half of the steps on synthetic chips, then half on real ones; ``bridge:<system>:matched``:
                              with the colours of the real ones; ``reverse:<system>``: real chips first
``bridge:<system>@3``         three quarters of the steps on synthetic chips; ``@3*``: and four times the steps, so
                              that the real ones have as many as in ``real``
``real+self_training``        the control: real chips with hidden labels, labelled by the labeller; ``@3*`` as above
============================  ===============================================================================

Behind chips of one kind a number multiplies the steps; behind two kinds it is the second per real one, and the star
gives the steps for equal looks at real chips: ``real@4``, ``real+cutmix@4``, ``synthetic:mask@4``, ``real+mask@3*``
and ``real+self_training@3*`` all have four times the steps.
"""

from __future__ import annotations

import re

SELF_TRAINING = "self_training"  # the set of real chips whose labels are hidden
#: chips chosen by their certificates: those kept, those dropped, and as many of either at random
CERTIFIED_SETS = ("certified", "dropped", "random")
#: chips of the same layouts, as many, with one, half or all of the different images of each
DIVERSITY_SETS = ("low_diversity", "mid_diversity", "high_diversity")
RARE_SET = "rare"  # chips that were asked for more of a rare class
ALL_SYSTEMS = "all"  # the chips of every generating system together

_SYSTEM = "joint|mask|image|text|spade|joint_gan|all"
_SETS = (*CERTIFIED_SETS, *DIVERSITY_SETS, RARE_SET)
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
ARM_PATTERN = (
    rf"real(?:@(?P<steps>{_NUMBER}))?"
    rf"|real\+(?P<recipe>oversampling|class_weights|cutmix|copy_paste)(?:@(?P<recipe_steps>{_NUMBER}))?"
    rf"|(?P<kind>synthetic:|real\+)(?P<system>{_SYSTEM}|{SELF_TRAINING})"
    rf"(?::(?P<filter>freemask|confidence|agreement|chip|hardness|{'|'.join(_SETS)}))?"
    rf"(?:@(?P<ratio>{_NUMBER})(?P<equal>\*)?)?"
    rf"|mix:(?P<mixed>{_SYSTEM})@(?P<percent>{_NUMBER})"
    rf"|(?P<order>bridge|reverse):(?P<first>{_SYSTEM})(?::(?P<matched>matched))?"
    rf"(?:@(?P<order_ratio>{_NUMBER})(?P<order_equal>\*)?)?"
)

#: groups of the pattern that say the same in several forms of a name, at most one of which is filled
_SAME = (
    ("system", "mixed", "first"),
    ("steps", "recipe_steps"),
    ("ratio", "order_ratio"),
    ("equal", "order_equal"),
)


def unfiltered(name: str) -> str:
    """Return the arm with all the chips that a filtered one chose from; an arm without a filter is its own.

    >>> unfiltered("real+mask:freemask@3*"), unfiltered("real+mask@3")
    ('real+mask@3*', 'real+mask@3')
    """
    chosen = arm_parts(name)["filter"]
    return name.replace(f":{chosen}", "", 1) if chosen else name


def arm_parts(name: str) -> dict[str, str]:
    """Return the named parts of an arm of stage 07; empty text for those it does not have.

    >>> {part: text for part, text in arm_parts("real+mask:freemask@3*").items() if text}
    {'kind': 'real+', 'system': 'mask', 'filter': 'freemask', 'ratio': '3', 'equal': '*'}

    Raises:
        ValueError: a name of another form, or a number out of range.
    """
    found = re.fullmatch(ARM_PATTERN, name)
    if found is None:
        raise ValueError(
            f"arm '{name}' is none of real, real@<steps>, real+<recipe>, synthetic:<system>, real+<system>, "
            "mix:<system>@<per cent>, bridge:<system>, reverse:<system>; correct it under benchmark: arms"
        )
    parts = {part: text or "" for part, text in found.groupdict().items()}
    for part, *others in _SAME:
        parts[part] = "".join([parts[part], *(parts.pop(other) for other in others)])
    if parts["kind"] == "synthetic:":
        if parts["equal"]:
            raise ValueError(
                f"arm '{name}': the star gives equal looks at real chips, and it holds none; leave the star out"
            )
        parts["steps"], parts["ratio"] = parts["ratio"], ""
    if parts["system"] == SELF_TRAINING and parts["kind"] != "real+":
        raise ValueError(
            f"arm '{name}': hidden real chips are no synthetic ones; name it real+{SELF_TRAINING}"
        )
    if parts["matched"] and parts["order"] != "bridge":
        raise ValueError(
            f"arm '{name}': colours are matched before a bridge alone; leave ':matched' out or take bridge:"
        )
    for part in ("steps", "ratio"):
        if parts[part] and not float(parts[part]):
            raise ValueError(f"arm '{name}': @{parts[part]} must be above 0; state a number such as 0.5 or 2")
    if parts["percent"] and float(parts["percent"]) > 100:
        raise ValueError(f"arm '{name}': {parts['percent']} per cent cannot be replaced; take 0 to 100")
    return parts


def is_mixed(name: str) -> bool:
    """Say whether real chips and generated ones meet in an arm, at once or in turn.

    >>> [is_mixed(arm) for arm in ("real+mask@3", "bridge:mask", "real+cutmix", "real+self_training", "synthetic:mask")]
    [True, True, False, False, False]
    """
    parts = arm_parts(name)
    return parts["kind"] != "synthetic:" and parts["system"] not in ("", SELF_TRAINING)
