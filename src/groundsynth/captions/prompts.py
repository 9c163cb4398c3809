"""What a model is asked: a template, and the facts of a map that it may name.

The facts come in words of the legend, from the same definitions that the checks use. ``{shares}`` holds
percentages, so a caption written with it can repeat them: such captions are reported apart.
"""

from __future__ import annotations

import string

import numpy as np

from groundsynth.captions.facts import MIN_PIXELS, best_sector
from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES, class_shares, count_classes

#: fields a template may name, and whether they are read off the map
FIELDS = {"shares": True, "layout": True, "size": False}
_ASK = (
    "Describe the land cover in two to four plain English sentences: what covers most of the ground, about how "
    "much each cover takes, where it lies (north is up), and what borders what. Use these names: "
    + ", ".join(CLASSES)
    + ". Name nothing that is not there. Write the description only."
)
PROMPTS = {
    "map": "These are facts of a land-cover map of {size} by {size} pixels. Shares: {shares}. Places: {layout}. "
    + _ASK,
    "image": "This is a satellite image of {size} by {size} pixels. " + _ASK,
    "both": "This is a satellite image of {size} by {size} pixels. A land-cover map of the same ground says: "
    "shares: {shares}; places: {layout}. " + _ASK,
}


def check_template(template: str | None, mode: str, writer: str) -> str:
    """Return the template, or the mode's own where it is None.

    Raises:
        GroundsynthError: an unknown field, a lone brace, or a fact of the map where only the image is seen.
    """
    if template is None:
        return PROMPTS[mode]
    known = ", ".join(f"{{{name}}}" for name in FIELDS)
    try:
        named = [field for _, field, *_ in string.Formatter().parse(template) if field is not None]
    except ValueError as error:
        raise GroundsynthError(
            f"prompt of writer {writer!r}: {error}; write a brace that is no field twice ({known} are fields)"
        ) from None
    for field in named:
        if field not in FIELDS:
            raise GroundsynthError(
                f"prompt of writer {writer!r}: {{{field}}} is not a field; fields are {known}"
            )
        if FIELDS[field] and mode == "image":
            raise GroundsynthError(
                f"prompt of writer {writer!r}: {{{field}}} is read off the map, which mode 'image' does not see; "
                "leave it out or choose mode 'both'"
            )
    return template


def fill_template(template: str, labels: np.ndarray) -> str:
    """Return a checked template with the facts of a (h, w) map filled in."""
    named = {field for _, field, *_ in string.Formatter().parse(template)}
    facts = {"size": str(labels.shape[0])}
    if named & {"shares", "layout"}:
        shares, pixels = class_shares(labels), count_classes(labels)
        present = [int(k) for k in np.argsort(-shares, kind="stable") if pixels[k] >= MIN_PIXELS]
        facts["shares"] = ", ".join(f"{CLASSES[k]} {shares[k]:.0%}" for k in present) or "unknown"
        facts["layout"] = ", ".join(f"{CLASSES[k]} {best_sector(labels, k)}" for k in present) or "unknown"
    return template.format(**facts)
