"""From captions to numbers: what each caption contributes is kept, sums are reduced, intervals draw blocks and seeds.

Word-overlap scores compare with references in the layout writer's words; claims are held against the map itself.
Both stand beside a control that never looked: the captions of arm ``real``, each shown with another block's chip.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from groundsynth.artifacts import metric_row
from groundsynth.benchmark.arms import REFERENCE, Arm
from groundsynth.benchmark.differences import delta_interval
from groundsynth.benchmark.intervals import Score, score_interval
from groundsynth.captioning.benchmark import STAGE, references
from groundsynth.captioning.held_out import clear_majority, other_blocks
from groundsynth.captioning.validation import caption_frame
from groundsynth.captioning.word_scores import BLEU_COLUMNS, MEANS, ORDERS, bleu, meteor_scores, word_table
from groundsynth.captions.map_facts import count_maps
from groundsynth.checks.caption_scores import score_pairs
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NUM_CLASSES

SHUFFLED = "real:shuffled_image"  # the control: captions of arm real, each for another block's chip
CLAIMS = ("true", "false", "unchecked", "named", "large", "dominant", "said_dominant")
DELTAS = ("cider", "claim_precision", "claim_recall")


def score_table(captions: pd.DataFrame, views: pd.DataFrame, layout_style: str, meteor: bool) -> pd.DataFrame:
    """Return captions with what each contributes to every score, and the control's (table ``test_captions``).

    Args:
        captions: from ``benchmark.run_arms``: arm, seed, style, chip_id, block, caption.
        views: the test views; layout_style: of the references. meteor: whether to compute it.
    """
    facts = count_maps(np.stack(views["mask"].tolist()))
    clear, partner = clear_majority(facts), other_blocks(views["block"].to_numpy(), STAGE)
    known = {style: references(views, layout_style, style) for style in captions["style"].unique()}
    parts = []
    for (arm, seed, style), part in captions.groupby(["arm", "seed", "style"], sort=False):
        part = part.set_index("chip_id").loc[views["chip_id"]].reset_index()
        texts = {str(arm): part["caption"].tolist()}
        if arm == REFERENCE:
            texts[SHUFFLED] = [texts[REFERENCE][i] for i in partner]
        for name, said in texts.items():
            claims = score_pairs(caption_frame(said, views), facts)
            if len(claims) < len(views):
                raise GroundsynthError(
                    "a test chip has no labelled pixel; raise data.min_labelled_eval above 0"
                )
            table = pd.concat([claims[list(CLAIMS)], word_table(said, known[style])], axis=1)
            about = views[["chip_id", "block"]].reset_index(drop=True)
            about = about.assign(arm=name, seed=seed, style=style, caption=said, clear=clear)
            parts.append(pd.concat([about, table], axis=1))
    table = pd.concat(parts, ignore_index=True)
    view = {chip: i for i, chip in enumerate(views["chip_id"])}
    told = [known[s][view[chip]] for s, chip in zip(table["style"], table["chip_id"], strict=True)]
    return table.assign(meteor=meteor_scores(table["caption"], told) if meteor else np.nan)


COLUMNS = ("captions", "true", "false", "named", "large", *BLEU_COLUMNS, *MEANS)
PLACE = {name: i for i, name in enumerate(COLUMNS)}
HITS = len(COLUMNS)  # then clear chips by dominant class: how many are named right, how many there are


def block_sums(table: pd.DataFrame, arms: Sequence[str]) -> np.ndarray:
    """Return the sums of one style's captions: (arms, seeds, blocks, 1, columns) float64.

    Raises:
        GroundsynthError: an arm that was not run on the same seeds and blocks as the others.
    """
    table = table.assign(captions=1.0)
    dominant = table["clear"].to_numpy()[:, None] & (
        table["dominant"].to_numpy()[:, None] == np.arange(NUM_CLASSES)
    )
    right = (table["dominant"] == table["said_dominant"]).to_numpy()[:, None]
    values = np.hstack([table[list(COLUMNS)].to_numpy(float), dominant & right, dominant])
    sums = pd.DataFrame(values).groupby([table["arm"], table["seed"], table["block"]]).sum(min_count=1)
    axes = [sorted(table[name].unique()) for name in ("seed", "block")]
    wanted = pd.MultiIndex.from_product([list(arms), *axes], names=sums.index.names)
    missing = wanted.difference(sums.index)
    if len(missing):
        arm, seed, block = missing[0]
        raise GroundsynthError(
            f"arm '{arm}' has no caption for seed {seed} in block {block}; arms are compared on the same seeds and "
            "blocks, so run it again with the others"
        )
    return sums.loc[wanted].to_numpy().reshape(len(arms), len(axes[0]), len(axes[1]), 1, -1)


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    return np.divide(top, bottom, out=np.full(np.shape(bottom), np.nan), where=bottom > 0)


def _precision(sums: np.ndarray) -> np.ndarray:
    true, false = sums[..., 0, PLACE["true"]], sums[..., 0, PLACE["false"]]
    return _ratio(true, true + false)


def _recall(sums: np.ndarray) -> np.ndarray:
    return _ratio(sums[..., 0, PLACE["named"]], sums[..., 0, PLACE["large"]])


def _mean(sums: np.ndarray, name: str) -> np.ndarray:
    return _ratio(sums[..., 0, PLACE[name]], sums[..., 0, PLACE["captions"]])


def _bleu(sums: np.ndarray, order: int) -> np.ndarray:
    first = PLACE[BLEU_COLUMNS[0]]
    return bleu(sums[..., 0, first : first + len(BLEU_COLUMNS)], order)


def _dominance(sums: np.ndarray) -> np.ndarray:
    right = sums[..., 0, HITS : HITS + NUM_CLASSES]
    there = sums[..., 0, HITS + NUM_CLASSES :]
    values = _ratio(right, there)
    found = np.isfinite(values)
    return _ratio(np.where(found, values, 0).sum(-1), found.sum(-1))


SCORES: dict[str, Score] = {
    **{f"bleu{k}": partial(_bleu, order=k) for k in range(1, ORDERS + 1)},
    "rouge_l": partial(_mean, name="rouge_l"),
    "cider": partial(_mean, name="cider"),
    "meteor": partial(_mean, name="meteor"),
    "claim_precision": _precision,
    "claim_recall": _recall,
    "dominance_balanced_accuracy": _dominance,
}


def captioning_rows(study: str, table: pd.DataFrame, arms: Sequence[Arm], resamples: int) -> list[dict]:
    """Reduce test captions to rows of the one table of numbers; ``n`` is the number of test blocks.

    Intervals resample blocks and seeds together; ``delta_*`` are paired in both, against the arm ``real``. What
    printed percentages teach is apart: ``regime`` says in which style shares were written. METEOR without Java has
    no value.
    """
    names, rows = [arm.name for arm in arms], []
    system = {arm.name: arm.system or REFERENCE for arm in arms} | {SHUFFLED: REFERENCE}
    for style, part in table.groupby("style", sort=False):
        sums = block_sums(part, [*names, SHUFFLED])
        about = {"regime": f"style={style}", "n": sums.shape[2], "seeds": sums.shape[1]}
        for metric, score in SCORES.items():
            values = score_interval(sums, score, resamples, STAGE)
            for arm, value in zip([*names, SHUFFLED], values, strict=True):
                rows.append(metric_row(study, STAGE, metric, system=system[arm], arm=arm, **about, **value))
        for metric in DELTAS:
            deltas = delta_interval(sums, names.index(REFERENCE), SCORES[metric], resamples, STAGE)
            for arm, value in zip([*names, SHUFFLED], deltas, strict=True):
                if arm != REFERENCE:
                    row = metric_row(
                        study, STAGE, f"delta_{metric}", system=system[arm], arm=arm, **about, **value
                    )
                    rows.append(row)
        rows.append(_constant_row(study, sums, about))
    return rows


def _constant_row(study: str, sums: np.ndarray, about: dict) -> dict:
    """Return the balanced accuracy of always giving the commonest dominant class."""
    classes = (sums[0, 0, :, 0, HITS + NUM_CLASSES :].sum(0) > 0).sum()
    value = float(1 / classes) if classes else np.nan
    return metric_row(
        study, STAGE, "dominance_balanced_accuracy", value, system=REFERENCE, arm="constant", **about
    )
