"""Sentences and panels of stages 05 and 06: what they take from their tables, and what they must not claim."""

import re

import numpy as np
import pandas as pd

from groundsynth.artifacts import metric_row
from groundsynth.report.grounding_figures import rank_rows
from groundsynth.report.grounding_findings import (
    _coverage_lines,
    _distance_line,
    caption_findings,
    ground_findings,
)


def kid(system: str, value: float, arm: str = "") -> dict:
    return metric_row(
        "smoke", "06_ground", "kid", value, system=system, arm=arm, low=value / 2, high=value * 2, n=9
    )


def test_systems_nearer_than_training_chips_are_named():
    rows = [kid("real", 1.4), kid("joint", 0.1), kid("image", 2.0), kid("", 600.0, "spectrum_matched_noise")]
    line = _distance_line("features=labeller", pd.DataFrame(rows))
    assert line.endswith("`real` are training chips, for scale, which `joint` pass.")
    assert "`joint` 0.1 (0.00017 of the noise's)" in line
    alone = _distance_line("features=labeller", pd.DataFrame([rows[0], rows[2], rows[3]]))
    assert alone.endswith("`real` are training chips, for scale.")


def test_coverage_above_that_of_training_chips_is_named():
    rows = pd.DataFrame(
        metric_row(
            "smoke",
            "06_ground",
            "coverage",
            value,
            system=system,
            regime="features=labeller",
            low=0,
            high=1,
            n=9,
        )
        for system, value in (("real", 0.9), ("joint", 0.97), ("mask", 0.5))
    )
    assert _coverage_lines(rows)[0].endswith("for scale, which `joint` pass.")


def caption_rows(repeated: dict[str, float]) -> list[dict]:
    rows = []

    def add(metric: str, value: float, arm: str, regime: str = "", system: str = "real") -> None:
        rows.append(
            metric_row("smoke", "05_caption", metric, value, system=system, arm=arm, regime=regime, n=5)
        )

    for arm, share in repeated.items():
        for metric in ("duplicate_rate", "near_duplicate_rate", "claim_duplicate_rate"):
            add(metric, share, arm)
        for metric in ("claim_precision", "claim_recall", "share_error_pp", "dominance_balanced_accuracy"):
            add(metric, 1.0, arm)
    add("dominance_balanced_accuracy", 0.3, "constant")
    return rows


def test_every_writer_is_named_with_its_repeats():
    text = caption_findings(pd.DataFrame(caption_rows({"layout": 0.0, "captioner": 0.25})))
    assert "Captions of `layout` that repeat another word for word: `real` 0.0%" in text
    assert "Captions of `captioner` that repeat another word for word: `real` 25.0%" in text
    assert "Does the captioner look?" not in text, "it was not asked on held-out ground"


def test_whether_the_captioner_looks_is_said_with_its_control():
    rows = caption_rows({"layout": 0.0})
    rows += [
        metric_row("smoke", "05_caption", "claim_precision", value, system="real", arm=arm,
                   regime="against=map;held-out", low=value, high=value, n=17)
        for arm, value in (("captioner", 0.66), ("shuffled_image", 0.57))
    ]  # fmt: skip
    text = caption_findings(pd.DataFrame(rows))
    assert "claims that hold 66.0% (66.0% to 66.0%; n = 17), against 57.0%" in text
    assert "places" not in text.split("Does the captioner look?")[1]


def test_dropped_chips_are_shown_where_there_are_any():
    fits = np.linspace(1, 0, 20)
    table = pd.DataFrame({"map_fit": fits, "caption_of_map": fits[::-1], "verdict": "keep"})
    assert rank_rows(table, 3)["rank"].tolist() == ["best"] * 3 + ["median"] * 3 + ["worst"] * 3
    table.loc[4, "verdict"] = "drop"
    shown = rank_rows(table, 3)
    assert shown["rank"].tolist() == ["best"] * 3 + ["median"] * 3 + ["dropped"]
    assert shown.index[-1] == 4
    assert (shown["verdict"][:6] == "keep").all()
    assert rank_rows(table.head(2), 3)["rank"].tolist() == ["best"] * 2


def row(metric: str, regime: str, system: str = "real", arm: str = "") -> dict:
    return metric_row(
        "s", "06_ground", metric, 0.8, system=system, arm=arm, regime=regime, low=0.7, high=0.9, n=9
    )


def test_regimes_are_told_in_words():
    rows = [
        row("auc", "score=contrastive;split=test", arm="matched_swap"),
        row("auc", "split=val+hidden", arm="planted_copy"),
        row("check_auc", "split=test;check=caption_of_image", arm="shuffled_caption"),
        row("power_spectrum_error", "against=held_out", "joint"),
        row("kid", "features=scattering", "joint"),
        row("kid", "features=scattering", "", "spectrum_matched_noise"),
        row("coverage", "features=labeller"),
        row("composition_js", "of=class_shares"),
        row("keep_rate", ""),
    ]  # fmt: skip
    said = ground_findings(pd.DataFrame(rows))
    assert not re.search(r"\w=\w|;\w", said)
    assert "`real (by the image–text model, test blocks)`" in said
    assert "against held-out real chips" in said
    for words in ("in scattering coefficients", "in the labeller's features", "by class shares"):
        assert words in said
