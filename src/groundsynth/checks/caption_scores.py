"""What a set of captions is worth: how true, how complete, how varied.

Measures follow the study's rule that redundancy and similarity scores do not measure truth: claim
precision and recall do, so do named classes that are not there, stated shares, places and
neighbours that are wrong. The controls of ``caption_controls`` tell what an answer without looking
earns. Duplicates are counted beside them (ARAS400k reports 0.5 % to 81 %).
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pandas as pd

from groundsynth.artifacts import metric_row
from groundsynth.captions.facts import MIN_PIXELS
from groundsynth.captions.layout import LARGER_SHARE
from groundsynth.captions.map_facts import MapFacts
from groundsynth.checks.claims import FALSE, TRUE, check_against, count_listed, parse_claims
from groundsynth.checks.resampling import bootstrap_interval

NO_ANSWER = -1
#: kinds of claims scored on their own: columns ``<kind>_true`` and ``<kind>_false``
SCORED_KINDS = ("mention", "position", "adjacent")
NUMBERS = (
    "true", "false", "named", "large", "mentioned", "present", "dominant", "said_dominant", "share_error",
    *(f"{kind}_{verdict}" for kind in SCORED_KINDS for verdict in (TRUE, FALSE)),
)  # fmt: skip
Scores = pd.DataFrame | dict[str, np.ndarray]  # from score_captions, or its columns


def score_captions(
    captions: pd.DataFrame, maps: dict[str, np.ndarray], blocks: dict[str, object] | None = None
) -> pd.DataFrame:
    """Return one row per caption whose chip has a map with a labelled pixel.

    Args:
        captions: table ``captions``.
        maps: chip_id to the (h, w) map the captions are held against; all of one size.
        blocks: chip_id to the block it lies in, the unit that intervals resample; chips without one
            stand for themselves.

    Returns:
        chip_id, system, caption_index, unit; counts ``true``, ``false``, ``unchecked``, and the first
        two for each of ``SCORED_KINDS``; ``named`` of ``large`` classes (at least 5 % of the ground),
        ``mentioned`` of ``present`` ones (at least six pixels); ``dominant`` and ``said_dominant``
        class (-1: none said); ``share_error`` in percentage points (NaN where no share is stated);
        ``meaning``, the claims in few words.
    """
    judged = captions[captions["chip_id"].isin(list(maps))]
    facts = count_listed(judged["chip_id"], maps)
    return _score_against(judged[facts.known], facts, np.flatnonzero(facts.known), blocks or {})


def score_pairs(
    captions: pd.DataFrame, facts: MapFacts, blocks: dict[str, object] | None = None
) -> pd.DataFrame:
    """Return what :func:`score_captions` does, caption i against map i of counted maps."""
    return _score_against(captions[facts.known], facts, np.flatnonzero(facts.known), blocks or {})


def _score_against(
    captions: pd.DataFrame, facts: MapFacts, places: np.ndarray, blocks: dict[str, object]
) -> pd.DataFrame:
    rows = [
        {
            "chip_id": row.chip_id,
            "system": row.system,
            "caption_index": row.caption_index,
            "unit": str(blocks.get(row.chip_id, row.chip_id)),
        }
        | _score(row.caption, facts, i)
        for row, i in zip(captions.itertuples(), places, strict=True)
    ]
    return pd.DataFrame(rows)


def _score(caption: str, facts: MapFacts, i: int) -> dict:
    claims, shares = parse_claims(caption), facts.shares[i]
    verdicts = [check_against(claim, facts, i) for claim in claims]
    kinds = [(claim.kind, verdict) for claim, verdict in zip(claims, verdicts, strict=True)]
    large, present = np.flatnonzero(shares >= LARGER_SHARE), np.flatnonzero(facts.pixels[i] >= MIN_PIXELS)
    mentioned = {k for claim in claims if claim.kind == "mention" for k in claim.classes}
    said = [claim.classes[0] for claim in claims if claim.kind == "dominant" and not claim.denied]
    stated = [c for c in claims if c.kind == "share" and c.stated is not None and c.classes]
    errors = [100 * abs(c.stated - shares[list(c.classes)].sum()) for c in stated]
    return {
        **{f"{kind}_{v}": kinds.count((kind, v)) for kind in SCORED_KINDS for v in (TRUE, FALSE)},
        "mentioned": sum(int(k) in mentioned for k in present),
        "present": len(present),
        "true": verdicts.count(TRUE),
        "false": verdicts.count(FALSE),
        "unchecked": len(verdicts) - verdicts.count(TRUE) - verdicts.count(FALSE),
        "named": sum(int(k) in mentioned for k in large),
        "large": len(large),
        "dominant": int(shares.argmax()),
        "said_dominant": said[0] if said else _implied_dominant(claims),
        "share_error": float(np.mean(errors)) if errors else np.nan,
        "meaning": "; ".join(sorted(str(claim) for claim in claims)),
    }


def _implied_dominant(claims: list) -> int:
    """Return the class said to cover more than half, which implies dominance; -1 if there is none."""
    half = [c.classes[0] for c in claims if c.kind == "share" and len(c.classes) == 1 and c.low >= 0.5]
    return half[0] if half else NO_ANSWER


def pooled_precision(scores: Scores) -> float:
    """Return true claims over checked ones; NaN if none was checked."""
    checked = scores["true"].sum() + scores["false"].sum()
    return float(scores["true"].sum() / checked) if checked else np.nan


def pooled_recall(scores: Scores) -> float:
    """Return the share of the large classes that are mentioned; NaN if there are none."""
    return float(scores["named"].sum() / scores["large"].sum()) if scores["large"].sum() else np.nan


def kind_accuracy(kind: str) -> Callable[[Scores], float]:
    """Return the measure 'true claims of a kind over checked ones'; NaN if none was checked."""

    def accuracy(scores: Scores) -> float:
        true, false = scores[f"{kind}_true"].sum(), scores[f"{kind}_false"].sum()
        return float(true / (true + false)) if true + false else np.nan

    return accuracy


def mention_recall(scores: Scores) -> float:
    """Return the share of the classes present that are mentioned; NaN if there are none."""
    return float(scores["mentioned"].sum() / scores["present"].sum()) if scores["present"].sum() else np.nan


def false_discovery_rate(scores: Scores) -> float:
    """Return the share of the classes named that are not there; NaN if none is named."""
    return 1 - kind_accuracy("mention")(scores)


def mean_share_error(scores: Scores) -> float:
    """Return the mean error of stated shares in percentage points; NaN if none is stated."""
    errors = np.asarray(scores["share_error"], float)
    return float(np.nanmean(errors)) if np.isfinite(errors).any() else np.nan


def dominance_accuracy(scores: Scores, constant: bool = False) -> float:
    """Return how often the dominant class is named, averaged over classes.

    With ``constant`` the answer is the commonest dominant class every time: 1 / (number of classes
    that dominate somewhere), however often it happens to be right.
    """
    truth = np.asarray(scores["dominant"])
    said = np.full_like(truth, np.bincount(truth).argmax()) if constant else scores["said_dominant"]
    hits = [np.mean(np.asarray(said)[truth == k] == k) for k in np.unique(truth)]
    return float(np.mean(hits))


def duplicate_rate(texts: pd.Series) -> float:
    """Return 1 - different / all: the share of texts that repeat another, case and spacing aside."""
    plain = texts.map(lambda text: re.sub(r"\W+", " ", text.lower()).strip())
    return float(1 - plain.nunique() / len(plain)) if len(plain) else np.nan


def score_rows(study: str, stage: str, scores: pd.DataFrame, arm: str, regime: str) -> list[dict]:
    """Return truth and completeness per system as metric rows, with intervals over captions.

    Args:
        scores: from :func:`score_captions`.
        arm: the writer's name.
        regime: what the captions were held against, e.g. ``against=map``.
    """
    rows = measure_rows(study, stage, scores, arm, regime)
    for system, part in scores.groupby("system", sort=False):
        rows.append(
            metric_row(
                study, stage, "dominance_balanced_accuracy", dominance_accuracy(part, constant=True),
                system=str(system), arm="constant", regime=regime, n=len(part),
            )
        )  # fmt: skip
    return rows


def writer_rows(
    study: str, stage: str, captions: dict[str, pd.DataFrame], scores: dict[str, pd.DataFrame], regime: str
) -> list[dict]:
    """Return truth, completeness and duplicates of several writers as metric rows; the constant's once.

    Args:
        captions: table ``captions`` by writer; scores: from :func:`score_captions` by writer.
        regime: as in :func:`score_rows`.
    """
    rows: list[dict] = []
    for name, part in captions.items():
        score = measure_rows if rows else score_rows
        rows += score(study, stage, scores[name], name, regime)
        rows += variety_rows(study, stage, part, name)
    return rows


MEASURES: dict[str, Callable[[Scores], float]] = {
    "claim_precision": pooled_precision,
    "claim_recall": pooled_recall,
    "mention_precision": kind_accuracy("mention"),
    "mention_recall": mention_recall,
    "false_discovery_rate": false_discovery_rate,
    "share_error_pp": mean_share_error,
    "dominance_balanced_accuracy": dominance_accuracy,
    "position_accuracy": kind_accuracy("position"),
    "adjacency_accuracy": kind_accuracy("adjacent"),
}


def measure_rows(
    study: str, stage: str, scores: pd.DataFrame, arm: str, regime: str, skip: tuple[str, ...] = ()
) -> list[dict]:
    """Return every measure per system as metric rows; one without a single claim has no row.

    Args:
        scores: from :func:`score_captions`; intervals resample its ``unit``.
        skip: measures to leave out.
    """
    rows = []
    for system, part in scores.groupby("system", sort=False):
        for metric, measure in MEASURES.items():
            value = measure(part)
            if metric in skip or (np.isnan(value) and metric in ("position_accuracy", "adjacency_accuracy")):
                continue
            low, high = _interval(measure, part, metric, system, regime)
            rows.append(
                metric_row(
                    study, stage, metric, value, system=str(system), arm=arm, regime=regime,
                    low=low, high=high, n=len(part),
                )
            )  # fmt: skip
    return rows


def _interval(measure: Callable, scores: pd.DataFrame, *names: object) -> tuple[float | None, float | None]:
    columns = {name: scores[name].to_numpy() for name in NUMBERS}

    class Drawn(dict):  # only the columns a measure asks for are drawn
        def __missing__(self, name: str) -> np.ndarray:
            return columns[name][self["draw"]]

    units = scores["unit"].to_numpy()
    shared = units if len(np.unique(units)) < len(units) else None
    return bootstrap_interval(
        lambda draw: measure(Drawn(draw=draw)),
        len(scores),
        *names,
        groups=shared,
    )


def variety_rows(study: str, stage: str, captions: pd.DataFrame, arm: str) -> list[dict]:
    """Return ``duplicate_rate`` (same words) and ``claim_duplicate_rate`` (same claims) per system."""
    rows = []
    for system, part in captions.groupby("system", sort=False):
        meaning = part["caption"].map(lambda text: "; ".join(sorted(map(str, parse_claims(text)))))
        for metric, value in (
            ("duplicate_rate", duplicate_rate(part["caption"])),
            ("claim_duplicate_rate", float(1 - meaning.nunique() / len(meaning))),
        ):
            rows.append(metric_row(study, stage, metric, value, system=str(system), arm=arm, n=len(part)))
    return rows
