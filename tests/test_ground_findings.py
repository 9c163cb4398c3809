"""What stage 06 says it found, in sentences that hold no key of a table."""

from __future__ import annotations

import re

import pandas as pd

from groundsynth.artifacts import metric_row
from groundsynth.report.grounding_findings import ground_findings


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
