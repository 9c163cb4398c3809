"""Two routes to a pair: shapes of maps by hand, shares with intervals, what is drawn, what is refused."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from random_maps import random_map

from groundsynth.checks.kept_samples import keep_arrays, name_samples, timed
from groundsynth.checks.map_shapes import edge_rates, map_shapes, shape_rows, share_rows
from groundsynth.config import load_study
from groundsynth.errors import GroundsynthError
from groundsynth.models.solvers import SamplingSettings
from groundsynth.models.training import new_denoiser
from groundsynth.report.route_figures import plot_routes, plot_shares
from groundsynth.workflow.route_study import Wanted, compare_routes, draw_route

CPU = torch.device("cpu")
WANTED = Wanted("unified-s0", 0, 8)


def test_shapes_of_a_map_by_hand():
    """Two patches of class 0 that touch over a corner only, one of class 4 and one of no label."""
    labels = np.array([[[0, 4, 4], [255, 0, 4], [255, 0, 0]]], np.uint8)
    shapes = map_shapes(labels).iloc[0]
    assert shapes["patches_per_chip"] == 4
    assert shapes["largest_patch"] == pytest.approx(3 / 9)
    assert shapes["edge_rate"] == pytest.approx(7 / 12)
    assert edge_rates(np.zeros((2, 5, 5), np.uint8)).tolist() == [0, 0]


def test_shapes_do_not_change_when_a_map_is_turned_or_its_classes_are_exchanged():
    draw = np.random.default_rng(0)
    for _ in range(20):
        labels = random_map(draw)
        turned = np.rot90(np.where(labels == 255, 255, (labels + 3) % 7)).astype(np.uint8)
        pd.testing.assert_frame_equal(map_shapes(labels[None]), map_shapes(turned[None]))


def test_intervals_of_shares_resample_blocks():
    """Chips of a block are alike: over blocks the interval is wider than over chips."""
    maps = np.repeat(np.array([0, 0, 0, 4], np.uint8), 10)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    over = {
        name: {row["class"]: row for row in share_rows("s", "t", maps, groups, system="real")}
        for name, groups in (("chips", None), ("blocks", np.arange(40) // 10))
    }
    for rows in over.values():
        assert rows["built-up"]["value"] == 0.25
        assert rows["water"]["value"] == 0
    widths = {name: rows["built-up"]["high"] - rows["built-up"]["low"] for name, rows in over.items()}
    assert widths["blocks"] > 1.5 * widths["chips"]
    rows = shape_rows("s", "t", maps, None, system="joint", seeds=1)
    assert {row["metric"]: row["value"] for row in rows} == {
        "patches_per_chip": 1, "largest_patch": 1, "edge_rate": 0,
    }  # fmt: skip


def test_arrays_are_made_once_and_named_by_what_decides_them(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"x": np.arange(3)}

    path = tmp_path / f"{name_samples('a', [1, 2], np.zeros(3))}.npz"
    for _ in range(2):
        kept = keep_arrays(path, lambda: timed(make, CPU))
        assert kept["x"].tolist() == [0, 1, 2]
        assert float(kept["seconds"]) >= 0
    path.write_bytes(path.read_bytes()[:20])
    keep_arrays(path, make)
    assert len(made) == 2
    names = [
        name_samples("a", [1, 2], np.zeros(3)),
        name_samples("a", [1, 2], np.ones(3)),
        name_samples("a", [1]),
    ]
    assert len(set(names)) == 3


def test_each_route_draws_pairs_and_the_layout_route_keeps_its_map():
    from test_generator import SETTINGS

    draw = np.random.default_rng(0)
    images = draw.integers(0, 255, (4, 32, 32, 3)).astype(np.uint8)
    maps = draw.choice([0, 4], (4, 32, 32)).astype(np.uint8)
    model = new_denoiser(images, maps, replace(SETTINGS, policy="unified")).eval()
    way = SamplingSettings(steps=2, solver="dpmpp_2m", sigma_range=(0.2, 80.0), batch_size=4)
    drawn = {route: draw_route(model, route, [1, 2, 3], way, CPU) for route in ("diagonal", "layout")}
    for pair in drawn.values():
        assert pair["images"].shape == (3, 32, 32, 3)
        assert pair["maps"].shape == (3, 32, 32)
    assert (drawn["diagonal"]["maps"] != drawn["layout"]["maps"]).any()
    guided = draw_route(model, "layout", [1, 2, 3], replace(way, pair_guidance=3.0), CPU)
    np.testing.assert_array_equal(guided["maps"], drawn["layout"]["maps"])
    assert (guided["images"] != drawn["layout"]["images"]).any(), "the image is drawn for the map"


def test_figures_have_a_point_per_class_and_a_panel_per_measure():
    base = {"low": 0.1, "high": 0.3, "arm": "", "class": ""}
    maps = np.random.default_rng(0).choice([0, 4], (6, 8, 8)).astype(np.uint8)
    rows = pd.concat(
        [
            pd.DataFrame(share_rows("s", "t", maps, None) + shape_rows("s", "t", maps, None)).assign(way=way)
            for way in ("real", "diagonal", "layout")
        ]
        + [pd.DataFrame([base | {"metric": "map_kappa", "value": 0.2, "way": "layout"}])]
    )
    assert {t.get_text() for t in plot_shares(rows).axes[0].get_legend().get_texts()} == {
        "real", "diagonal", "layout",
    }  # fmt: skip
    assert len(plot_routes(rows).axes) == 5


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"generator": "joint-s0"}, "cannot draw pairs both ways"),
        ({"samples": 3}, "needs at least 4"),
    ],
)
def test_what_cannot_be_compared_says_so(root, changes, says):
    study = load_study(root / "config" / "smoke.yaml")
    with pytest.raises(GroundsynthError, match=says):
        compare_routes([study], replace(WANTED, **changes), root / "nowhere")


def test_studies_of_other_chips_are_refused(root):
    laptop, one_hot, korea = (
        load_study(root / "config" / f"{n}.yaml") for n in ("laptop", "one_hot", "korea")
    )
    assert one_hot.generator.mask_code == "one_hot"
    assert one_hot.generator.model_copy(update={"mask_code": "bits"}) == laptop.generator
    for pair, says in (([laptop, korea], "differ in data"), ([laptop, laptop], "named more than once")):
        with pytest.raises(GroundsynthError, match=says):
            compare_routes(pair, WANTED, root / "nowhere")
