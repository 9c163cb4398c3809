"""What the names in the table of results mean: those that occur there, in a sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from groundsynth.arm_names import (
    ALL_SYSTEMS,
    CERTIFIED_SETS,
    DIVERSITY_SETS,
    RARE_SET,
    SELF_TRAINING,
    arm_parts,
)

COLUMNS = {
    "mIoU": "overlap of the segmenter's map with the reference (intersection over union), as a mean over the primary "
    "classes",
    "mIoU, all classes": "the same over every class of the test blocks",
    "rare IoU": "the same overlap for the pixels of all other classes taken together",
    "difference to real, pp": "mIoU minus that of arm real, in percentage points, on the same blocks with the same seeds",
}
PRIMARY = "classes with enough pixels in enough blocks to be measured, fixed before any training"
SYSTEMS = {
    "joint": "image and map drawn together",
    "mask": "an image drawn for a given map",
    "image": "an image drawn alone; its map is what the labeller reads from it",
    "text": "image and map drawn as asked for, in words or in class shares",
    "spade": "an image drawn for a given map by a GAN",
    "joint_gan": "image and map drawn together by a GAN",
    ALL_SYSTEMS: "the chips of every system together",
}
RECIPES = {
    "oversampling": "real chips, those with rare classes drawn more often",
    "class_weights": "real chips, rare classes weighing more in the loss",
    "cutmix": "real chips with pieces of one another laid on them",
    "copy_paste": "real chips with objects of rare classes laid on them",
}
FORMS = {
    "real": "the real training chips alone: what all others are compared with",
    "synthetic:": "chips of one system, and no real one",
    "real+": "real chips and those of one system, mixed in every batch",
    "mix:": "real chips, as many per cent of them as the name ends with replaced by those of one system",
    "bridge:": "first chips of one system, then real ones",
    "reverse:": "first real chips, then those of one system",
    SELF_TRAINING: "real chips without labels, labelled by the labeller: what real images alone add",
}
FILTERS = {
    **dict.fromkeys(CERTIFIED_SETS, "chips kept or dropped by their certificate, or any; as many each"),
    **dict.fromkeys(DIVERSITY_SETS, "one, half or all images of each map; as many each"),
    RARE_SET: "chips that were asked for more of a rare class",
    "matched": "with the colours of the real chips",
}


def glossary(results: pd.DataFrame, primary: Sequence[str]) -> dict[str, str]:
    """Return the names in a table of results with what they mean; empty without rows.

    Args:
        results: from ``tables.result_table``; primary: names of the primary classes, as far as they are known.
    """
    if results.empty:
        return {}
    columns = {name: COLUMNS[name] for name in results.columns if name in COLUMNS}
    named = f"{PRIMARY}: {', '.join(primary)}" if primary else PRIMARY
    terms = dict(term for arm in results["trained on"] for term in _terms(arm))
    systems = {name: terms.pop(name) for name in SYSTEMS if name in terms}
    return {**columns, "primary classes": named, **terms, **systems}


def _terms(arm: str) -> Iterator[tuple[str, str]]:
    """Yield the parts of an arm's name with what they mean."""
    parts = arm_parts(arm)
    system, number = parts["system"], parts["steps"] or parts["ratio"]
    if arm == "real":
        yield arm, FORMS[arm]
    if parts["recipe"]:
        yield f"real+{parts['recipe']}", RECIPES[parts["recipe"]]
    if system == SELF_TRAINING:
        yield f"real+{system}", FORMS[system]
    elif system:
        start = parts["kind"] or arm.partition(":")[0] + ":"
        yield f"{start}…", FORMS[start]
        yield system, SYSTEMS[system]
    for word in filter(None, (parts["filter"], parts["matched"])):
        yield f":{word}", FILTERS.get(word, "with the labels that this filter left")
    if parts["steps"]:
        yield f"@{number}", f"{number} times the training steps"
    if parts["ratio"]:
        more = (
            ", with more steps, so that real chips are seen as often as in arm real" if parts["equal"] else ""
        )
        yield f"@{number}{parts['equal']}", f"{number} synthetic chips per real one{more}"
