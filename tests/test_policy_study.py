"""One generator for everything against one for each: the difference, its interval, and what may be compared."""

import numpy as np
import pandas as pd
import pytest

from groundsynth.artifacts import metric_row
from groundsynth.config import load_study
from groundsynth.errors import GroundsynthError
from groundsynth.report.policy_figures import plot_policies, policies_caption
from groundsynth.workflow.policy_study import STAGE, compare_policies, obedience_difference, same_requests


def counts(hits: list[int], of: int = 100) -> np.ndarray:
    """Counts of images with one class, ``hits`` of whose pixels are right: IoU = hits / of, no false ones."""
    found = np.zeros((len(hits), 7, 3), int)
    found[:, 0] = [(h, 0, of - h) for h in hits]
    return found


def test_the_difference_of_two_sets_of_images_and_its_interval():
    same = obedience_difference(counts([50, 60, 70]), counts([70, 60, 50]), (0,))
    assert same["value"] == pytest.approx(0)
    assert same["low"] < 0 < same["high"]
    better = obedience_difference(counts([80] * 20), counts([60] * 20), (0,))
    assert [better[k] for k in ("value", "low", "high")] == pytest.approx([0.2, 0.2, 0.2])


def test_only_like_requests_are_compared_and_as_many_of_each():
    first = pd.DataFrame({"kind": ["captions", "shares", "rare"] * 3, "number": range(9)})
    second = pd.DataFrame({"kind": ["shares", "captions", "both", "shares"], "number": range(4)})
    one, other = same_requests(first, second)
    assert one["number"].tolist() == [0, 1, 4]
    assert other["number"].tolist() == [0, 1, 3]
    plain = pd.DataFrame({"kind": [""] * 3})
    assert [len(part) for part in same_requests(plain, plain[:2])] == [2, 2]
    with pytest.raises(
        GroundsynthError, match="one set was asked for captions, shares, rare, the other for both"
    ):
        same_requests(first, second[2:3])


def measured() -> pd.DataFrame:
    """What the command measures of two systems: `joint` falls short in obedience, `image` has no maps to obey."""
    rows = [
        metric_row("a", STAGE, "kid", 1.0, system="real", regime="features=scattering", low=0.9, high=1.2)
    ]
    for system in ("joint", "image"):
        rows.append(metric_row("a", STAGE, "training_cost_ratio", 1.2, system=system))
        for policy, value in (("unified", 1.5), (system, 1.4)):
            about = dict(system=system, regime=f"policy={policy}", low=value - 0.2, high=value + 0.2)
            rows.append(metric_row("a", STAGE, "kid", value, **about))
        rows.append(metric_row("a", STAGE, "not_inferior", 1.0, system=system, regime="measure=kid"))
    rows.append(metric_row("a", STAGE, "delta_obedience", -0.03, system="joint", low=-0.05, high=-0.01))
    rows.append(metric_row("a", STAGE, "not_inferior", 0.0, system="joint", regime="measure=obedience"))
    return pd.DataFrame(rows)


def test_the_figure_shows_every_system_and_its_caption_what_fell_short():
    figure = plot_policies(measured(), 0.02)
    obedience, distance, cost = figure.axes
    assert [text.get_text() for text in obedience.get_yticklabels()] == ["joint", "image"]
    assert len(obedience.containers) == 1
    assert len(distance.containers) == 4
    assert [bar.get_width() for bar in cost.patches] == [1.2, 1.2]
    caption = policies_caption(measured(), 0.02, "single")
    assert caption.endswith("Not inferior in 2 of 3 tests; falls short: joint in obedience.")
    fine = measured().assign(value=lambda rows: rows["value"].where(rows["metric"] != "not_inferior", 1.0))
    assert policies_caption(fine, 0.02, "single").endswith("Not inferior in 3 of 3 tests.")


def test_only_studies_of_the_same_chips_and_of_both_kinds_are_compared(root, tmp_path):
    laptop, single, korea = (load_study(root / "config" / f"{n}.yaml") for n in ("laptop", "single", "korea"))
    with pytest.raises(GroundsynthError, match="name a study with policy unified, then one with single ones"):
        compare_policies(single, laptop, 0, tmp_path)
    with pytest.raises(GroundsynthError, match="differ in data, so their chips are of other ground"):
        compare_policies(korea, single, 0, tmp_path)
    with pytest.raises(GroundsynthError, match="fold 3 was not run"):
        compare_policies(laptop, single, 3, tmp_path)
    generate = single.generate.model_copy(update={"sampling_steps": laptop.generate.sampling_steps + 2})
    with pytest.raises(
        GroundsynthError, match=r"sampling_steps is 6 in 'laptop' and 8 in 'single'.*draw again"
    ):
        compare_policies(laptop, single.model_copy(update={"generate": generate}), 0, tmp_path)
