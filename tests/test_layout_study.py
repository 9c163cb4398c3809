"""Maps of every kind side by side: what is refused before anything is drawn, and the picture."""

from dataclasses import replace

import numpy as np
import pytest

from groundsynth.config import load_study
from groundsynth.errors import GroundsynthError
from groundsynth.report.layout_figures import plot_layouts
from groundsynth.workflow import real_ground
from groundsynth.workflow.layout_study import KINDS, Wanted, compare_layouts

WANTED = Wanted("unified-s0", 0, list(KINDS), 2, 2)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"generator": "spade-s0"}, "no image for a given map by denoising"),
        ({"layouts": ["training", "imagined"]}, "'imagined' do not exist; choose some of training"),
        ({"generator": "mask-s0"}, "draws no 'joint' maps"),
        ({"maps": 1}, "need 2 or more of both"),
        ({"images_per_map": 1}, "need 2 or more of both"),
    ],
)
def test_what_cannot_be_compared_says_so(root, tmp_path, changes, says):
    study = load_study(root / "config" / "smoke.yaml")
    with pytest.raises(GroundsynthError, match=says):
        compare_layouts(study, replace(WANTED, **changes), tmp_path)


def test_images_of_one_map_are_one_observation_and_are_swapped_together(monkeypatch):
    """Two maps, read rightly twice each: kappa 1 and n 2; with the other's map it is never right."""
    maps = np.zeros((4, 8, 8), np.uint8)
    maps[:2, :4], maps[2:, :, :4] = 4, 4
    monkeypatch.setattr(real_ground, "predict", lambda labeller, images: (images, None))
    own, swapped = real_ground.agreement_rows("s", None, maps, maps, "t", 2, regime="layouts=rare")
    assert (own["value"], own["n"]) == (1.0, 2)
    assert swapped["value"] == pytest.approx(0)  # halves across halves agree by chance alone


def test_the_picture_has_every_map_and_two_images_of_each():
    draw = np.random.default_rng(0)
    gallery = {
        kind: (
            draw.choice([0, 4], (maps, 8, 8)).astype(np.uint8),
            draw.integers(0, 255, (maps, 3, 8, 8, 3)).astype(np.uint8),
        )
        for kind, maps in (("training", 4), ("rare", 3))
    }
    shown = [len(axes.images) for axes in plot_layouts(gallery).axes]
    assert shown == [1] * 12 + [1] * 9 + [0] * 3
