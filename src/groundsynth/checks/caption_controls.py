"""What captions earn that have not looked at their chip: the scale for every score of a caption.

Five of them (science rule: no number without its control): another chip's caption, another chip's
map, the map of the chip most like it in class shares, fluent text about a map drawn at random, and
one constant caption for all, which names the commonest classes and the median share.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from groundsynth.captions.facts import MIN_PIXELS
from groundsynth.captions.layout import describe_layout
from groundsynth.captions.map_facts import MapFacts, count_maps
from groundsynth.checks.agreement import matched_partners, random_partners
from groundsynth.checks.caption_scores import measure_rows, score_pairs
from groundsynth.legend import CLASSES, NUM_CLASSES
from groundsynth.seeds import derive_seed, rng

CELLS = 4  # a random map has this many square patches on a side
RANDOM_SIZE = 32  # pixels


def random_captions(n: int, *names: object) -> list[str]:
    """Return n fluent captions of maps of random patches: every class as likely as any other."""
    generator = rng("random_text", *names)
    cells = generator.integers(NUM_CLASSES, size=(n, CELLS, CELLS)).astype(np.uint8)
    maps = np.kron(cells, np.ones((1, RANDOM_SIZE // CELLS, RANDOM_SIZE // CELLS), np.uint8))
    return [describe_layout(m, derive_seed("random_text", *names, i)) for i, m in enumerate(maps)]


def constant_caption(facts: MapFacts) -> str:
    """Return the one caption that fits these maps best on average: their commonest answer to all."""
    shares = facts.shares[facts.known]
    first = int(np.bincount(shares.argmax(1), minlength=NUM_CLASSES).argmax())
    usual = (facts.pixels[facts.known] >= MIN_PIXELS).mean(0) > 0.5
    others = [CLASSES[k] for k in np.flatnonzero(usual) if k != first]
    there = f" There is also {', '.join(others)}." if others else ""
    return f"The scene is mostly {CLASSES[first]}, at {np.median(shares[:, first]):.0%}.{there}"


def control_pairs(
    captions: pd.DataFrame, maps: np.ndarray, *names: object
) -> dict[str, tuple[pd.DataFrame, np.ndarray]]:
    """Return per control the captions and the maps they are held against, row by row.

    Args:
        captions: table ``captions``, one row per map; maps: (n, h, w).
        names: seed the random partners.
    """
    n = len(maps)
    texts = captions["caption"].to_numpy()
    shuffled, swapped = random_partners(n, *names, "caption"), random_partners(n, *names, "map")
    constant = constant_caption(count_maps(maps))
    return {
        "shuffled_caption": (captions.assign(caption=texts[shuffled]), maps),
        "swapped_map": (captions, maps[swapped]),
        "matched_swap": (captions, maps[matched_partners(maps)]),
        "random_text": (captions.assign(caption=random_captions(n, *names)), maps),
        "constant": (captions.assign(caption=constant), maps),
    }


def control_measure_rows(
    study: str, stage: str, captions: pd.DataFrame, maps: dict[str, np.ndarray], regime: str,
    blocks: dict[str, object] | None = None,
) -> list[dict]:  # fmt: skip
    """Return every measure of ``caption_scores`` for every control and system, as metric rows.

    The constant's balanced dominance accuracy is left out: ``score_rows`` has it for every system.

    Args:
        captions: table ``captions``; only each chip's first caption takes part.
        maps, blocks: as in ``score_captions``.
    """
    rows = []
    first = captions[(captions["caption_index"] == 0) & captions["chip_id"].isin(list(maps))]
    for system, part in first.groupby("system", sort=False):
        against = np.stack([maps[chip] for chip in part["chip_id"]])
        for arm, (texts, held) in control_pairs(part, against, system, regime).items():
            scores = score_pairs(texts, count_maps(held), blocks)
            skip = ("dominance_balanced_accuracy",) if arm == "constant" else ()
            rows += measure_rows(study, stage, scores, arm, regime, skip)
    return rows
