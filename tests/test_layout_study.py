"""Maps of every kind side by side: what is refused before anything is drawn, and the picture."""

from dataclasses import replace

import numpy as np
import pytest

from groundsynth.config import load_study
from groundsynth.errors import GroundsynthError
from groundsynth.report.layout_figures import plot_layouts
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
