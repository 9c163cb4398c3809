"""The sampling curve: ways planned once, samples kept, the fewest steps within the yardstick, the command whole."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import groundsynth.checks.sampling_curve as module
from groundsynth.checks.own_reading import reading_rows, vote
from groundsynth.checks.sampling_curve import (
    curve_of,
    curve_rows,
    draw_kept,
    fewest_steps,
    kappa_row,
    measure_ways,
    name_of,
    plan_ways,
)
from groundsynth.config import load_study
from groundsynth.errors import GroundsynthError
from groundsynth.models.solvers import SamplingSettings
from groundsynth.workflow.sampling_study import Wanted, run_sampling_curve

CPU = torch.device("cpu")
BASE = SamplingSettings(steps=16, solver="dpmpp_2m", sigma_range=(0.2, 80.0), batch_size=4)
WANTED = Wanted(
    generator="unified-s0", system="mask", fold=0, samples=8, ddpm_samples=4, batch_size=4,
    solvers=["heun"], steps=[2], reference=4, churns=[5.0], guidances=[2.0], images_per_map=2,
)  # fmt: skip


def textures(n: int, name: int, contrast: float = 1.0) -> np.ndarray:
    draw = np.random.default_rng(name)
    return np.clip(128 + contrast * draw.normal(0, 30, (n, 32, 32, 3)), 0, 255).astype(np.uint8)


def test_every_way_is_planned_once_with_yardsticks_of_quality_and_speed():
    ways = plan_ways(BASE, ["dpmpp_2m", "heun"], [8, 16], 250, [0.0, 5.0, 20.0, 40.0], [1.0, 2.0])
    assert [name_of(way) for way in ways] == [
        "solver=dpmpp_2m;steps=8",
        "solver=dpmpp_2m;steps=16",
        "solver=heun;steps=8",
        "solver=heun;steps=16",
        "solver=heun;steps=16;churn=5",
        "solver=heun;steps=16;churn=6.63",  # more has no more effect
        "solver=dpmpp_2m;steps=16;guidance=2",
        "solver=dpmpp_2m;steps=250",
        "solver=ddpm;steps=1000",
    ]
    assert {way.batch_size for way in ways} == {4}
    ways = plan_ways(replace(BASE, pair_guidance=2.0), ["dpmpp_2m"], [8], 250, [], [])
    assert [name_of(way) for way in ways] == [
        "solver=dpmpp_2m;steps=8",
        "solver=dpmpp_2m;steps=16",
        "solver=dpmpp_2m;steps=16;pair_guidance=2",
        "solver=dpmpp_2m;steps=8;pair_guidance=2",
        "solver=dpmpp_2m;steps=250",
        "solver=dpmpp_2m;steps=250;pair_guidance=2",
        "solver=ddpm;steps=1000",
    ]


def test_samples_once_drawn_are_kept_and_others_are_not_taken_for_them(tmp_path, monkeypatch):
    drawn = []

    def draw(model, system, seeds, way, device, maps):
        drawn.append(way.steps)
        return np.full((len(seeds), 4, 4, 3), len(drawn), np.uint8), None

    monkeypatch.setattr(module, "sample_pairs", draw)

    def keep(weights="a", way=BASE, seeds=(1, 2), maps=None):
        return draw_kept(tmp_path, None, weights, "joint", way, list(seeds), maps, CPU)[0][0, 0, 0, 0]

    assert keep() == keep() == 1
    others = [
        keep(weights="b"), keep(way=replace(BASE, steps=3)), keep(seeds=(1, 3)), keep(maps=np.zeros((2, 4, 4))),
    ]  # fmt: skip
    assert others == [2, 3, 4, 5]
    for path in (tmp_path / "samples").glob("*.npz"):
        path.write_bytes(path.read_bytes()[:30])
    assert keep() == 6, "what a killed disk left is drawn again"


def test_nearer_sets_have_smaller_distances_and_time_gives_the_speed():
    works = {4: (40, 1, 2.0, 10.0), 8: (40, 2, 1.0, 20.0), 1000: (20, 3, 1.0, 400.0)}
    sets = {steps: (textures(*how), work, work / 2) for steps, (*how, work) in works.items()}
    ways = [replace(BASE, steps=4), replace(BASE, steps=8), replace(BASE, solver="ddpm", steps=1000)]
    curve, samples = measure_ways(ways, lambda way: sets[way.steps], textures(40, 4), textures(60, 5), 20, 0)
    far, near, loop, real = curve["kid"]
    assert far > 10 * max(near, real, loop, 0.01)
    assert curve["images_per_second"].tolist()[:3] == [4.0, 2.0, 0.05]
    assert curve["n"].tolist() == [40, 40, 20, 40]
    assert set(samples) == set(ways)

    rows = pd.DataFrame(curve_rows("s", "joint", curve, ["solver=dpmpp_2m;steps=8"]))
    speed = rows[rows["metric"] == "sampling_speedup"].set_index("regime")["value"]
    assert speed["solver=dpmpp_2m;steps=4"] == pytest.approx(80)
    assert speed["solver=ddpm;steps=1000"] == 1
    assert not rows.duplicated(["system", "regime", "metric"]).any()
    with pytest.raises(GroundsynthError, match="needs the DDPM loop"):
        curve_rows("s", "joint", curve[curve["solver"] != "ddpm"], ["solver=dpmpp_2m;steps=8"])


@pytest.mark.parametrize(
    ("kids", "fewest"), [([0.9, 0.3, 0.1], 8), ([0.9, 0.5, 0.4], None), ([0.1, 0.9, 0.1], 16)]
)
def test_the_fewest_steps_are_those_within_the_interval_of_very_many(kids, fewest):
    curve = pd.DataFrame({"solver": "heun", "steps": [4, 8, 16], "kid": kids, "high": 1.0})
    curve["way"] = [f"solver=heun;steps={n}" for n in curve["steps"]]
    churned = pd.DataFrame(
        {"solver": ["heun"], "steps": [2], "kid": [0.0], "way": ["solver=heun;steps=2;churn=9"]}
    )
    reference = pd.DataFrame({"solver": ["heun"], "steps": [250], "kid": [0.2], "high": [0.35], "way": ["r"]})
    assert fewest_steps(pd.concat([curve, churned, reference]), "heun", "r") == fewest


def test_pairs_guided_by_their_own_maps_are_held_against_very_many_steps_of_the_same_guidance():
    plain = pd.DataFrame({"steps": [4, 8, 250], "kid": [0.1, 0.1, 0.1], "high": [0.2, 0.2, 0.2]})
    guided = pd.DataFrame({"steps": [4, 8, 250], "kid": [0.9, 0.4, 0.3], "high": [1.0, 0.5, 0.5]})
    plain["way"] = [f"solver=heun;steps={n}" for n in plain["steps"]]
    guided["way"] = [f"solver=heun;steps={n};pair_guidance=2" for n in guided["steps"]]
    curve = pd.concat([plain, guided]).assign(solver="heun")
    assert fewest_steps(curve, "heun", "solver=heun;steps=250") == 4
    assert fewest_steps(curve, "heun", "solver=heun;steps=250;pair_guidance=2") == 8
    assert len(curve_of(curve, "heun")) == len(curve_of(curve, "heun", ";pair_guidance=2")) == 3


def test_obedience_leaves_out_maps_without_a_label():
    row = kappa_row("s", "mask", BASE, np.array([0.2, np.nan, 0.4]))
    assert (row["value"], row["n"]) == (pytest.approx(0.3), 2)
    assert row["low"] <= 0.3 <= row["high"]


def test_draws_are_put_to_a_vote_in_which_no_label_has_none():
    draws = np.array([[[[0, 4, 255, 255]]], [[[0, 4, 2, 255]]], [[[4, 0, 255, 255]]]], np.uint8)
    assert vote(draws).tolist() == [[[0, 4, 2, 255]]]


def test_readings_of_the_right_chip_beat_those_of_another():
    maps = np.random.default_rng(0).choice([0, 4], (12, 8, 8)).astype(np.uint8)
    noisy = np.where(np.random.default_rng(1).random((5, *maps.shape)) < 0.3, 4 - maps, maps).astype(np.uint8)
    rows = reading_rows("s", noisy, maps, maps, np.arange(12) // 2)
    found = {row["arm"]: row for row in rows}
    assert found["labeller"]["value"] == 1
    assert found["one_draw"]["value"] == pytest.approx(0.4, abs=0.1)
    assert found["one_draw"]["value"] < found["vote_of_5"]["value"] < 1
    assert abs(found["other_chip"]["value"]) < 0.15
    assert found["vote_of_5"]["low"] <= found["vote_of_5"]["value"] <= found["vote_of_5"]["high"]
    assert len(reading_rows("s", noisy, None, maps, np.arange(12))) == 3


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"generator": "joint-s0"}, "'joint-s0' does not draw system 'mask'; it draws joint"),
        ({"generator": "best"}, "none of the policies"),
        ({"system": "joint"}, "guidance needs a map to obey, and system 'joint' is given none"),
        ({"system": "text", "guidances": []}, "asks for nothing; use system joint"),
        ({"reference": 2}, "reference 2 is among the steps compared with it"),
        ({"ddpm_samples": 9}, "the loop no more than the others"),
        ({"samples": 3, "ddpm_samples": 3}, "needs at least 4"),
    ],
)
def test_what_cannot_be_compared_says_so(root, changes, says):
    study = load_study(root / "config" / "smoke.yaml")
    with pytest.raises(GroundsynthError, match=says):
        run_sampling_curve(study, replace(WANTED, **changes), root / "nowhere")
