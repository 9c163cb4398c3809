"""How a captioner is scored on real validation chips, which choose its checkpoint and its kind.

Each held-out chip is shown in all eight flips and turns: not more evidence, but less luck. Intervals draw
whole blocks, so eight views of one chip never count as eight chips.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from groundsynth.captions.map_facts import count_maps
from groundsynth.checks.caption_scores import pooled_precision, pooled_recall, score_pairs
from groundsynth.models.captioner_training import all_turns

TURNS = 8


def all_views(chips: pd.DataFrame) -> pd.DataFrame:
    """Return chips in all eight turns: columns chip_id (``name/turn``), block, image, mask, turn by turn."""
    return pd.DataFrame(
        {
            "chip_id": [f"{chip}/{number}" for number in range(TURNS) for chip in chips["chip_id"]],
            "block": np.tile(chips["block"].to_numpy(), TURNS),
            "image": list(all_turns(chips["image"].tolist())),
            "mask": list(all_turns(chips["mask"].tolist())),
        }
    )


def caption_frame(captions: Sequence[str | None], chips: pd.DataFrame, system: str = "real") -> pd.DataFrame:
    """Return captions as ``checks.caption_scores`` reads them; what was not written claims nothing."""
    return pd.DataFrame(
        {
            "chip_id": chips["chip_id"].to_numpy(),
            "system": system,
            "caption_index": 0,
            "caption": [text or "" for text in captions],
        }
    )


def claim_f1(scores: pd.DataFrame) -> float:
    """Return the harmonic mean of claim precision and claim recall; 0 where nothing true is said."""
    precision, recall = pooled_precision(scores), pooled_recall(scores)
    return float(2 * precision * recall / (precision + recall)) if precision > 0 and recall > 0 else 0.0


def claim_score(views: pd.DataFrame) -> Callable[[Sequence[str | None]], float]:
    """Return the function that scores captions of these views by :func:`claim_f1` against their maps."""
    facts = count_maps(np.stack(views["mask"].tolist()))
    return lambda captions: claim_f1(score_pairs(caption_frame(captions, views), facts))
