"""One generator for everything against one for each: the difference, its interval, and what may be compared."""

import numpy as np
import pytest

from groundsynth.config import load_study
from groundsynth.errors import GroundsynthError
from groundsynth.workflow.policy_study import compare_policies, obedience_difference


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


def test_only_studies_of_the_same_chips_and_of_both_kinds_are_compared(root, tmp_path):
    laptop, single, korea = (
        load_study(root / "config" / f"{n}.yaml") for n in ("laptop", "single", "korea")
    )
    with pytest.raises(GroundsynthError, match="name a study with policy unified, then one with single ones"):
        compare_policies(single, laptop, 0, tmp_path)
    with pytest.raises(GroundsynthError, match="differ in data, so their generators learned other chips"):
        compare_policies(korea, single, 0, tmp_path)
    with pytest.raises(GroundsynthError, match="fold 3 was not run"):
        compare_policies(laptop, single, 3, tmp_path)
