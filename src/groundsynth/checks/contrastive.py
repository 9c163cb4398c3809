"""What a contrastive image–text model can tell: retrieval, classes without training, and wrong captions.

Everything is measured on ground that no pair of its training shows. That ground is small: its windows
overlap, so intervals resample the blocks they lie in, and are wide. Chance, the constant answer and
captions made wrong on purpose give the scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import rasterio
from scipy.spatial import cKDTree

from groundsynth.artifacts import metric_row, read_chips
from groundsynth.captions.layout import NOUNS
from groundsynth.checks.agreement import matched_partners, random_partners
from groundsynth.checks.resampling import bootstrap_interval
from groundsynth.checks.territory import read_territory
from groundsynth.data.blocks import HIDDEN, TEST, VAL
from groundsynth.data.chips import window_sums
from groundsynth.data.turns import turn
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL, NUM_CLASSES, count_classes
from groundsynth.seeds import derive_seed, rng

STAGE = "06_ground"
DEPTHS = (1, 5, 10)  # of recall at k
SPLITS = {"val+hidden": (VAL, HIDDEN), "test": (TEST,)}
PER_BLOCK = 16  # held-out windows of a block
LEAST_LABELLED = 0.5  # share of a held-out window
PROMPTS = (
    "The image shows mainly {n}.",
    "{n} dominates this area.",
    "The scene is mostly {n}, at most of the ground.",
    "The dominant land cover of this area is {n}.",
)


class Scorer(Protocol):
    """A model that puts images and captions into one space of unit vectors."""

    def encode_images(self, images: np.ndarray) -> np.ndarray:
        """Return (n, d) float32 unit vectors of images (n, h, w, 3) uint8."""

    def encode_captions(self, captions: Sequence[str]) -> np.ndarray:
        """Return (n, d) float32 unit vectors."""


@dataclass(frozen=True)
class HeldOut:
    """Windows of held-out ground with their maps and captions; ``blocks`` are resampled.

    Attributes:
        images: (n, s, s, 3) uint8; maps: (n, s, s) uint8; captions: n texts, true of the maps.
        blocks: (n,) int, the block each window lies in, or mostly lies in.
    """

    images: np.ndarray
    maps: np.ndarray
    captions: list[str]
    blocks: np.ndarray


def read_held_out(
    prepared: Path, size: int, split: str, writer: object, per_block: int = PER_BLOCK
) -> HeldOut:
    """Return windows of one of ``SPLITS``, at random offsets of every block, with captions of their maps.

    Args:
        prepared: folder of stage 01; size: side of a chip in pixels.
        writer: describes maps (see ``checks.pairs.layout_writer``).
        per_block: most windows of a block; fewer where fewer fit into the split.

    Raises:
        GroundsynthError: no window with enough labels.
    """
    territory = read_territory(prepared)
    corners = np.concatenate([territory.corners(code, size) for code in SPLITS[split]])
    layers = [_read_map(prepared / "scenes" / name / "map.tif") for name in territory.names]
    known = [window_sums(layer != NO_LABEL, size) for layer in layers]
    labelled = np.array([known[scene][row, col] for scene, row, col in corners], float) / size**2
    corners = corners[labelled >= LEAST_LABELLED]
    if not len(corners):
        raise GroundsynthError(
            f"no {size} px window of split {split} is half labelled; use another split_seed or a smaller chip_size"
        )
    blocks = _blocks_of(prepared, territory.names, corners)
    chosen = spread(blocks, per_block, split)
    corners, blocks = corners[chosen], blocks[chosen]
    maps = np.stack([layers[s][r : r + size, c : c + size] for s, r, c in corners])
    seeds = [derive_seed("held out", split, *corner) for corner in corners.tolist()]
    return HeldOut(territory.cut(corners, size), maps, writer.write(maps, maps, seeds), blocks)


def spread(blocks: np.ndarray, per_block: int, *names: object) -> np.ndarray:
    """Return the places of up to ``per_block`` random items of every block, sorted."""
    order = rng("spread", *names).permutation(len(blocks))
    rank = pd.Series(blocks[order]).groupby(blocks[order]).cumcount().to_numpy()
    return np.sort(order[rank < per_block])


def _read_map(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read(1)


def _blocks_of(prepared: Path, names: list[str], corners: np.ndarray) -> np.ndarray:
    """Return the block of the held-out chip that lies nearest to each window."""
    chips = read_chips(prepared / "chips.parquet", "real", lambda t: ~t["split"].isin(["train", "region"]))
    there = np.column_stack([chips["scene"].map(names.index), chips["row"], chips["col"]]).astype(float)
    there[:, 0] *= 1e9  # never of another scene
    _, nearest = cKDTree(there).query(corners.astype(float) * (1e9, 1, 1), p=1)
    return chips["block"].to_numpy()[nearest]


# --- retrieval -------------------------------------------------------------------------------


def retrieval_ranks(similarity: np.ndarray) -> np.ndarray:
    """Return how many candidates come before the right one, (n,); ties count half.

    Args:
        similarity: (n, n), query by candidate; the right candidate of query i is i.
    """
    own = np.diag(similarity)[:, None]
    return (similarity > own).sum(1) + ((similarity == own).sum(1) - 1) / 2


def retrieval_rows(
    study: str, similarity: np.ndarray, blocks: np.ndarray, system: str, arm: str, regime: str
) -> list[dict]:
    """Return ``retrieval_recall_at_1``, ``_5`` and ``_10`` both ways, with chance as arm ``chance``.

    Args:
        similarity: (n, n), image by caption; blocks: (n,), resampled.
        system: what the model was trained on; arm: its name, e.g. ``trained``.
    """
    rows, n = [], len(similarity)
    ways = {"image_to_text": retrieval_ranks(similarity), "text_to_image": retrieval_ranks(similarity.T)}
    about = dict(study=study, stage=STAGE, system=system, n=n)
    for way, ranks in ways.items():
        for depth in DEPTHS:
            hits = (ranks < depth).astype(float)
            low, high = _block_interval(hits, blocks, system, arm, regime, way, depth)
            name, where = f"retrieval_recall_at_{depth}", f"{regime};{way}"
            rows.append(
                metric_row(metric=name, value=hits.mean(), arm=arm, regime=where, low=low, high=high, **about)
            )
            rows.append(
                metric_row(metric=name, value=min(depth / n, 1.0), arm="chance", regime=where, **about)
            )
    return rows


def _block_interval(values: np.ndarray, blocks: np.ndarray, *names: object):
    return bootstrap_interval(lambda draw: values[draw].mean(), len(values), *names, groups=blocks)


# --- classes without training ----------------------------------------------------------------


def name_dominant(model: Scorer, images: np.ndarray) -> np.ndarray:
    """Return the class whose prompts, on average, are nearest to each image, (n,) int."""
    vectors = []
    for names in NOUNS:
        texts = [_sentence(prompt, noun) for prompt in PROMPTS for noun, _ in names]
        mean = model.encode_captions(texts).mean(0)
        vectors.append(mean / np.linalg.norm(mean))
    return (model.encode_images(images) @ np.stack(vectors).T).argmax(1)


def _sentence(prompt: str, noun: str) -> str:
    text = prompt.format(n=noun)
    return text[0].upper() + text[1:]


def balanced_accuracy(said: np.ndarray, truth: np.ndarray) -> float:
    """Return the share of right answers, averaged over the classes there are."""
    return float(np.mean([np.mean(said[truth == k] == k) for k in np.unique(truth)]))


def zero_shot_rows(study: str, model: Scorer, held: HeldOut, system: str, regime: str) -> list[dict]:
    """Return ``dominance_balanced_accuracy`` of arm ``zero_shot`` and of the constant answer."""
    truth = np.array([count_classes(m).argmax() for m in held.maps])
    constant = np.full(len(truth), np.bincount(truth, minlength=NUM_CLASSES).argmax())
    rows = []
    for arm, said in (("zero_shot", name_dominant(model, held.images)), ("constant", constant)):
        low, high = bootstrap_interval(
            lambda draw, said=said: balanced_accuracy(said[draw], truth[draw]), len(truth), arm, regime, system,
            groups=held.blocks,
        )  # fmt: skip
        value = balanced_accuracy(said, truth)
        rows.append(
            metric_row(
                study, STAGE, "dominance_balanced_accuracy", value, system=system, arm=arm, regime=regime,
                low=low, high=high, n=len(truth),
            )
        )  # fmt: skip
    return rows


# --- captions made wrong ---------------------------------------------------------------------


def exchange_classes(maps: np.ndarray, *names: object) -> np.ndarray:
    """Return maps in which the commonest class and a random other one have changed places, (n, h, w)."""
    random, wrong = rng("exchange", *names), maps.copy()
    for i, labels in enumerate(maps):
        first = int(count_classes(labels).argmax())
        other = int(random.choice([k for k in range(NUM_CLASSES) if k != first]))
        wrong[i][labels == first], wrong[i][labels == other] = other, first
    return wrong


def wrong_captions(
    captions: Sequence[str], maps: np.ndarray, writer: object, *names: object
) -> dict[str, list[str]]:
    """Return captions that are wrong in four ways, by arm.

    Another chip's, that of the chip most like it in class shares, its own with two classes exchanged, and
    its own turned upside down, so that only the places are wrong.

    Args:
        captions: n texts that are true of maps (n, s, s).
    """
    n = len(maps)
    seeds = [derive_seed("wrong", *names, i) for i in range(n)]
    exchanged, turned = exchange_classes(maps, *names), np.stack([turn(m, 2) for m in maps])
    return {
        "shuffled_caption": [captions[i] for i in random_partners(n, "contrastive", *names)],
        "matched_swap": [captions[i] for i in matched_partners(maps)],
        "corrupted_caption": writer.write(exchanged, exchanged, seeds),
        "turned_caption": writer.write(turned, turned, seeds),
    }


def pair_scores(model: Scorer, images: np.ndarray, captions: Sequence[str]) -> np.ndarray:
    """Return the cosine of every image with the caption at its place, (n,) float64 in [-1, 1]."""
    if len(images) != len(captions):
        raise GroundsynthError(
            f"{len(images)} images and {len(captions)} captions; a pair needs one of each, so match them by chip_id"
        )
    if not len(captions):
        return np.empty(0)
    return (model.encode_images(images) * model.encode_captions(captions)).sum(1).astype(float)


def block_auc(
    own: np.ndarray, other: np.ndarray, blocks: np.ndarray, *names: object
) -> tuple[float, float | None, float | None]:
    """Return how often an own score exceeds a foreign one (ties count half), with its interval over blocks.

    Args:
        own, other: (n,) scores of the same chips, drawn together; blocks: (n,).
    """
    wins = (np.sign(own[:, None] - other[None]) + 1) / 2
    low, high = bootstrap_interval(
        lambda draw: wins[np.ix_(draw, draw)].mean(), len(own), "auc", *names, groups=blocks
    )
    return float(wins.mean()), low, high


def control_auc_rows(
    study: str, model: Scorer, held: HeldOut, writer: object, system: str, regime: str
) -> list[dict]:
    """Return ``auc`` per way of being wrong: a chip's own caption against the wrong one, over blocks."""
    own = pair_scores(model, held.images, held.captions)
    rows = []
    for arm, captions in wrong_captions(held.captions, held.maps, writer, regime).items():
        other = pair_scores(model, held.images, captions)
        value, low, high = block_auc(own, other, held.blocks, system, arm, regime)
        rows.append(
            metric_row(
                study, STAGE, "auc", value, system=system, arm=arm, regime=f"score=contrastive;{regime}",
                low=low, high=high, n=len(own),
            )
        )  # fmt: skip
    return rows


def control_table(model: Scorer | None, held: dict[str, HeldOut], writer: object) -> pd.DataFrame:
    """Return the cosine of every held-out window with its own and with wrong captions, one row each.

    Returns:
        columns ``control``, ``score`` and ``system`` (``real split=…``); no row without a model.
    """
    tables = [pd.DataFrame(columns=["control", "score", "system"])]
    for split, windows in held.items() if model is not None else ():
        texts = {"own_caption": windows.captions}
        texts |= wrong_captions(windows.captions, windows.maps, writer, f"split={split}")
        for name, captions in texts.items():
            scores = pair_scores(model, windows.images, captions)
            tables.append(pd.DataFrame({"control": name, "score": scores, "system": f"real split={split}"}))
    return pd.concat(tables[1:] or tables, ignore_index=True)


def contrastive_rows(
    study: str,
    model: Scorer | None,
    held: dict[str, HeldOut],
    writer: object,
    system: str = "real",
    arm: str = "trained",
) -> list[dict]:
    """Return every measure of one model on every held-out split, as metric rows; none without a model."""
    rows = []
    for split, windows in held.items() if model is not None else ():
        regime = f"split={split}"
        similarity = model.encode_images(windows.images) @ model.encode_captions(windows.captions).T
        rows += retrieval_rows(study, similarity, windows.blocks, system, arm, regime)
        rows += zero_shot_rows(study, model, windows, system, regime)
        rows += control_auc_rows(study, model, windows, writer, system, regime)
    return rows


# --- the score of every sample ---------------------------------------------------------------


def fit_calibration(own: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Return slope and offset that turn a cosine into the probability that the caption is the chip's own.

    Platt's logistic regression on scores of own and other chips' captions, as many of each; a slope
    below 0 would say that the score tells nothing, and becomes 0.
    """
    from sklearn.linear_model import LogisticRegression

    scores = np.concatenate([own, other])[:, None]
    fit = LogisticRegression(C=1e4).fit(scores, np.repeat([1, 0], [len(own), len(other)]))
    slope = float(fit.coef_[0, 0])
    return (slope, float(fit.intercept_[0])) if slope > 0 else (0.0, 0.0)


def contrastive_scores(
    model: Scorer | None, chips: pd.DataFrame, captions: pd.Series, calibration: tuple[float, float]
) -> pd.DataFrame:
    """Return table ``contrastive``: one row per chip that has a caption; none without a model.

    Args:
        chips: columns chip_id, system, image; captions: text by chip_id, '' for none.
        calibration: from :func:`fit_calibration`.

    Returns:
        chip_id, system, ``similarity`` (cosine) and ``match`` (probability that the caption is the chip's
        own and not another's, where both are equally likely beforehand).
    """
    texts = chips["chip_id"].map(captions).fillna("")
    told = chips[(texts.to_numpy() != "") & (model is not None)]
    if not len(told):
        return pd.DataFrame(columns=["chip_id", "system", "similarity", "match"])
    similarity = pair_scores(model, np.stack(told["image"].to_list()), texts[told.index].tolist())
    slope, offset = calibration
    match = 1 / (1 + np.exp(-(slope * similarity + offset)))
    return told[["chip_id", "system"]].assign(similarity=similarity, match=match).reset_index(drop=True)
