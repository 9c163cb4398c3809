"""Is a pair from where it was asked to be from? Sensor, season and place, told by who knows real chips alone.

A logistic regression on scattering coefficients and mean colours learns to tell the origins of real training chips.
``origin_accuracy`` is its balanced accuracy: on generated images, against the origin that each was asked for; on real
chips of other blocks (system ``real``), which is as well as origins can be told here; and, as a control, against the
origins that other samples were asked for (arm ``<kind>:other``). Guessing scores one over the number of origins.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from groundsynth.artifacts import metric_row
from groundsynth.checks.agreement import random_partners
from groundsynth.checks.resampling import bootstrap_interval
from groundsynth.checks.scattering import scattering_features
from groundsynth.data.scene_origins import ORIGIN, known_names

STAGE = "04_label"
METRIC = "origin_accuracy"
FEWEST = 8  # samples below which nothing is stated


def origin_rows(
    study: str, asked: pd.DataFrame, chips: pd.DataFrame, real: pd.DataFrame, origins: pd.DataFrame
) -> list[dict]:
    """Return ``origin_accuracy`` as metric rows, ``regime`` = ``field=<sensor, season or place>``.

    Args:
        asked: requests (table ``asked``); chips: what was drawn (``chip_id``, ``image``).
        real: real chips (``image``, ``split``, ``block``), of which ``train`` is learned from and ``val`` told.
        origins: ``sensor, season, place`` of the real chips, in their order.

    Returns:
        no rows where the scenes of a study differ in nothing, or nothing was asked for.
    """
    names = known_names(origins[(real["split"] == "train").to_numpy()])
    fields = [field for field, known in zip(ORIGIN, names, strict=False) if len(known) > 1]
    wanted = asked[asked[list(ORIGIN)].ne("").any(axis=1)] if len(asked) else asked
    if not fields or len(wanted) < FEWEST:
        return []
    drawn = scattering_features(np.stack(chips.set_index("chip_id").loc[wanted["chip_id"], "image"]))
    train, val = ((real["split"] == split).to_numpy() for split in ("train", "val"))
    known = {
        split: scattering_features(np.stack(real.loc[part, "image"]))
        for split, part in (("train", train), ("val", val))
    }
    rows = []
    for field in fields:
        judge = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, class_weight="balanced"))
        judge.fit(known["train"], origins.loc[train, field])
        told, true = judge.predict(known["val"]), origins.loc[val, field].to_numpy()
        about = dict(regime=f"field={field}")
        blocks = real.loc[val, "block"].to_numpy()
        rows.append(_row(study, told, true, blocks, system="real", arm="", **about))
        said = wanted[field].to_numpy()
        seen = judge.predict(drawn)
        for kind in dict.fromkeys(wanted["kind"]):
            own = (wanted["kind"] == kind).to_numpy() & (said != "")
            if own.sum() < FEWEST:
                continue
            other = said[own][random_partners(int(own.sum()), METRIC, field, kind)]
            for arm, asked_for in ((kind, said[own]), (f"{kind}:other", other)):
                rows.append(_row(study, seen[own], asked_for, None, system="text", arm=arm, **about))
    return rows


def _row(study: str, told: np.ndarray, true: np.ndarray, groups: np.ndarray | None, **about: str) -> dict:
    low, high = bootstrap_interval(
        partial(_accuracy, told, true), len(told), METRIC, *about.values(), groups=groups
    )
    value = _accuracy(told, true, np.arange(len(told)))
    return metric_row(study, STAGE, METRIC, value, low=low, high=high, n=len(told), seeds=1, **about)


def _accuracy(told: np.ndarray, true: np.ndarray, draw: np.ndarray) -> float:
    """Return the mean recall over the origins that a draw holds."""
    true, right = true[draw], told[draw] == true[draw]
    return float(np.mean([right[true == name].mean() for name in np.unique(true)]))
