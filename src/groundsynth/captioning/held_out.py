"""What an image-only writer is worth on real ground it never saw, beside what not looking earns.

The held-out chips are those of the test and hidden blocks, each in all eight turns; intervals draw blocks. Three
others answer the same questions: the same network shown another block's image (``shuffled_image``), the constant
answer, and the layout writer on the labeller's map (``layout_on_labeller``), which sees the image through a
segmenter and writes without learning to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from groundsynth.artifacts import metric_row
from groundsynth.captioning.validation import TURNS, all_views, caption_frame
from groundsynth.captions.map_facts import MapFacts, count_maps
from groundsynth.checks.caption_scores import MEASURES, dominance_accuracy, measure_rows, score_pairs
from groundsynth.checks.resampling import bootstrap_interval
from groundsynth.data.turns import turn
from groundsynth.seeds import rng

HELD_OUT = ("test", "hidden")
REGIME = "against=map;held-out"
CLEAR, MARGIN = f"{REGIME};clear", 0.1  # chips whose largest class leads by more than this share


def held_out_views(chips: pd.DataFrame) -> pd.DataFrame:
    """Return the real chips of held-out blocks in all turns (see ``validation.all_views``)."""
    real = chips[(chips["system"] == "real") & chips["split"].isin(HELD_OUT)]
    return all_views(real)


def other_blocks(blocks: np.ndarray, *names: object) -> np.ndarray:
    """Return for each row the place of a random row of another block; its own where there is one block alone."""
    random, places = rng("other block", *names), np.arange(len(blocks))
    return np.array(
        [random.choice(places[blocks != own]) if (blocks != own).any() else i for i, own in enumerate(blocks)]
    )


def held_out_captions(
    views: pd.DataFrame, describe: Callable[[np.ndarray], Sequence[str | None]],
    labels: dict[str, np.ndarray], describe_map: Callable[[np.ndarray, int], str],
) -> dict[str, list[str | None]]:  # fmt: skip
    """Return the captions of every arm, one per view.

    Args:
        views: from :func:`held_out_views`. describe: captions of images (n, h, w, 3) uint8.
        labels: the labeller's map by chip_id; describe_map: the layout writer of a map and a seed.
    """
    captions = list(describe(np.stack(views["image"].tolist())))
    partner = other_blocks(views["block"].to_numpy())
    names = [view.rpartition("/") for view in views["chip_id"]]
    maps = [turn(labels[chip], int(number)) for chip, _, number in names]
    return {
        "captioner": captions,
        "shuffled_image": [captions[i] for i in partner],
        "layout_on_labeller": [describe_map(m, i) for i, m in enumerate(maps)],
    }


def clear_majority(facts: MapFacts) -> np.ndarray:
    """Return (n,) bool: maps whose largest class leads the second by more than ten points."""
    ordered = np.sort(facts.shares, 1)
    return facts.known & (ordered[:, -1] - ordered[:, -2] > MARGIN)


def held_out_rows(
    study: str, stage: str, views: pd.DataFrame, captions: dict[str, Sequence[str | None]]
) -> list[dict]:
    """Return every measure of every arm as metric rows; ``n`` counts chips, not their turns.

    ``dominance_balanced_accuracy`` is taken once over all chips and once, in regime ``clear``, over those whose two
    largest classes are not within ten points; there ``dominance_gain`` is the difference to the constant.
    """
    facts = count_maps(np.stack(views["mask"].tolist()))
    clear = clear_majority(facts)[facts.known]
    blocks = dict(zip(views["chip_id"], views["block"], strict=True))
    rows: list[dict] = []
    for arm, texts in captions.items():
        scores = score_pairs(caption_frame(texts, views), facts, blocks)
        rows += measure_rows(study, stage, scores, arm, REGIME)
        if clear.any():
            chosen, others = scores[clear], tuple(set(MEASURES) - {"dominance_balanced_accuracy"})
            rows += measure_rows(study, stage, chosen, arm, CLEAR, others)
            rows.append(_gain_row(study, stage, chosen, arm))
    if clear.any():
        constant = dominance_accuracy(scores[clear], constant=True)
        rows.append(
            metric_row(
                study, stage, "dominance_balanced_accuracy", constant, system="real", arm="constant",
                regime=CLEAR, n=int(clear.sum()),
            )
        )  # fmt: skip
    return [row | {"n": row["n"] // TURNS} for row in rows]


def _gain_row(study: str, stage: str, scores: pd.DataFrame, arm: str) -> dict:
    def gain(part: pd.DataFrame) -> float:
        return dominance_accuracy(part) - dominance_accuracy(part, constant=True)

    low, high = bootstrap_interval(
        lambda draw: gain(scores.iloc[draw]), len(scores), "dominance_gain", arm,
        groups=scores["unit"].to_numpy(),
    )  # fmt: skip
    return metric_row(
        study, stage, "dominance_gain", gain(scores), system="real", arm=arm, regime=CLEAR, low=low,
        high=high, n=len(scores),
    )  # fmt: skip
