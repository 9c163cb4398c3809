"""Doubling pairs: halving by hand, training resumed, sampling one by one, measured against plain enlargement."""

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from groundsynth.artifacts import CHIPS, read_chips, write_chips
from groundsynth.checks.distribution import power_spectrum_error
from groundsynth.checks.doubling import image_rows, map_rows
from groundsynth.config import load_study
from groundsynth.errors import GroundsynthError
from groundsynth.legend import SHARE_COLUMNS, class_shares
from groundsynth.models.bits import decode_bits
from groundsynth.models.solvers import SamplingSettings
from groundsynth.models.super_resolution import (
    SuperResolution,
    double_images,
    double_maps,
    halve_images,
    halve_maps,
    load_super_resolver,
    new_super_resolver,
    super_resolve,
    train_super_resolver,
    training_pairs,
)
from groundsynth.report.super_resolution_figures import plot_doubling
from groundsynth.workflow.super_resolution_study import (
    Wanted,
    _boxes,
    _gap_words,
    _named,
    _use,
    pixel_metres,
    scale_gap,
)

CPU = torch.device("cpu")
SETTINGS = SuperResolution(
    steps=4, batch_size=4, learning_rate=2e-3, channels=(16, 16), layers_per_block=1, noise=(-0.8, 1.2),
    augmentation=0.3, ema_decay=0.9, seed=0, log_every=1, checkpoint_seconds=0.0,
)  # fmt: skip
SOLVING = SamplingSettings(steps=3, solver="dpmpp_2m", sigma_range=(0.02, 40.0), batch_size=8)


@pytest.fixture(scope="module")
def chips():
    """Sixteen 32-px chips: two classes in halves, bright where built up, with stripes one pixel wide."""
    draw = np.random.default_rng(0)
    maps = np.zeros((16, 32, 32), np.uint8)
    for labels, edge in zip(maps, draw.integers(8, 24, 16), strict=True):
        labels[:, edge:] = 4
    images = np.where(maps[..., None] == 4, 180, 60) + draw.integers(-10, 10, (16, 32, 32, 3))
    images[:, ::2] += 20
    return images.astype(np.uint8), maps


@pytest.fixture(scope="module")
def model(chips):
    return new_super_resolver(*chips, SETTINGS, 60.0).eval()


def test_halving_by_hand():
    labels = np.array([[[0, 0, 255, 4], [0, 4, 2, 4], [1, 3, 255, 255], [3, 1, 255, 2]]], np.uint8)
    assert halve_maps(labels).tolist() == [[[0, 4], [1, 255]]], "the commonest, the lower of equals"
    image = np.array([[[0, 10], [20, 31]]], np.uint8)[..., None].repeat(3, -1)
    assert halve_images(image).tolist() == [[[[15, 15, 15]]]]
    assert double_maps(np.array([[[3, 255]]], np.uint8)).tolist() == [[[3, 3, 255, 255], [3, 3, 255, 255]]]
    flat = np.full((1, 8, 8, 3), 77, np.uint8)
    np.testing.assert_array_equal(double_images(flat), np.full((1, 16, 16, 3), 77))


def test_what_is_learned_is_what_bicubic_lacks(model, chips):
    """Detail has standard deviation 0.5 in each channel; with the enlarged coarse pair it is the whole."""
    pairs = training_pairs(model, *chips)
    assert pairs.shape == (16, 12, 32, 32)
    assert pairs[:, :3].std((0, 2, 3)).numpy() == pytest.approx([0.5] * 3, rel=0.01)
    detail = torch.tensor(model.config.detail)[:, None, None] / 0.5
    whole = pairs[:, 6:] + pairs[:, :6] * detail
    off = np.abs(model.config.whitening.restore(whole[:, :3]).astype(int) - chips[0])
    assert off.max() <= 1
    np.testing.assert_array_equal(decode_bits(whole[:, 3:], model.config.codes), chips[1])


def test_a_model_that_draws_no_detail_repeats_the_map(model, chips):
    """All detail zero: the image is bicubic but for the means it keeps, the map is repeated."""
    mute = copy.deepcopy(model)
    for part in (mute.head[-1].weight, mute.head[-1].bias):
        torch.nn.init.zeros_(part)
    coarse = halve_images(chips[0][:2]), halve_maps(chips[1][:2])
    _, labels = super_resolve(mute, *coarse, [1, 2], replace(SOLVING, steps=12), CPU)
    assert (labels == double_maps(coarse[1])).mean() > 0.99


def test_killed_training_resumes_on_the_same_path(chips, tmp_path):
    whole, log, _ = train_super_resolver(*chips, SETTINGS, tmp_path / "a", CPU)

    class Killed(Exception):
        pass

    def kill(step):
        if step == 2:
            raise Killed

    with pytest.raises(Killed):
        train_super_resolver(*chips, SETTINGS, tmp_path / "b", CPU, after_step=kill)
    steps = []
    again, log_again, _ = train_super_resolver(*chips, SETTINGS, tmp_path / "b", CPU, after_step=steps.append)
    assert steps == [3, 4]
    np.testing.assert_allclose(log_again, log, atol=1e-4)
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def test_it_learns_to_draw_what_bicubic_lacks(chips, tmp_path):
    """After a short training the power at every scale is nearer to the truth, and the maps are nearly right."""
    settings = replace(SETTINGS, steps=50, batch_size=8, checkpoint_seconds=1e9)
    model, log, _ = train_super_resolver(*chips, settings, tmp_path, CPU)
    assert log["mask"].tail(10).mean() < 0.85 * log["mask"].head(3).mean()
    images, maps = chips[0][:6], chips[1][:6]
    coarse = halve_images(images), halve_maps(maps)
    fine, labels = super_resolve(model, *coarse, list(range(6)), replace(SOLVING, steps=6), CPU)
    plain = power_spectrum_error(double_images(coarse[0]), images)
    assert power_spectrum_error(fine, images) < 0.7 * plain
    assert (labels == maps).mean() > 0.9


def test_coarse_means_are_kept_and_maps_are_in_the_legend(model, chips):
    images = chips[0][:3, :16, :16] // 2 + 60  # far from black and white, where rounding would cut
    fine, labels = super_resolve(model, images, chips[1][:3, :16, :16], [1, 2, 3], SOLVING, CPU)
    assert fine.shape == (3, 32, 32, 3)
    inner = (fine.min() > 0) and (fine.max() < 255)
    off = np.abs(halve_images(fine).astype(int) - images)
    assert (off <= 1).mean() > (0.999 if inner else 0.8)
    assert set(np.unique(labels)) <= {*range(7), 255}


def test_a_pair_depends_on_its_seed_not_on_its_batch(model, chips):
    images, maps, seeds = halve_images(chips[0][:5]), halve_maps(chips[1][:5]), [11, 22, 33, 44, 55]
    fine, labels = super_resolve(model, images, maps, seeds, SOLVING, CPU, 0.1)
    order = [3, 0, 4]
    few, few_labels = super_resolve(
        model, images[order], maps[order], [seeds[k] for k in order], replace(SOLVING, batch_size=2), CPU, 0.1
    )
    off = np.abs(fine[order].astype(int) - few)
    assert off.max() <= 2
    assert (off == 0).mean() >= 0.99
    assert (labels[order] == few_labels).mean() >= 0.99
    other, _ = super_resolve(model, images[:1], maps[:1], [99], SOLVING, CPU)
    assert (other[0] != fine[0]).any()


def test_saved_model_draws_the_same_at_another_size(model, chips, tmp_path):
    model.save(tmp_path)
    again = load_super_resolver(tmp_path)
    assert again.config == model.config
    one, two = (super_resolve(m, *(x[:1] for x in chips), [5], SOLVING, CPU)[0] for m in (model, again))
    np.testing.assert_array_equal(one, two)
    assert one.shape == (1, 64, 64, 3), "trained to make 32 px, asked for 64"
    path = tmp_path / "super_resolver.json"
    path.write_text(path.read_text().replace('"layers_per_block": 1', '"layers_per_block": 2'))
    with pytest.raises(GroundsynthError, match="not a usable super-resolver"):
        load_super_resolver(tmp_path)


@pytest.mark.parametrize(
    ("images", "maps", "says"),
    [
        (np.zeros((2, 16, 16, 3), np.uint8), np.zeros((2, 8, 8), np.uint8), "cannot be doubled"),
        (np.zeros((2, 16, 12, 3), np.uint8), np.zeros((2, 16, 12), np.uint8), "must be square"),
        (np.zeros((2, 15, 15, 3), np.uint8), np.zeros((2, 15, 15), np.uint8), "a side that 4 divides"),
        (np.zeros((2, 16, 16, 3), np.uint8), np.full((2, 16, 16), 9, np.uint8), "9 is not in the legend"),
    ],
)
def test_pairs_that_cannot_be_doubled_say_so(model, images, maps, says):
    with pytest.raises(GroundsynthError, match=says):
        super_resolve(model, images, maps, [1, 2], SOLVING, CPU)


def test_chips_it_cannot_learn_from_are_refused():
    for n, side in ((0, 32), (2, 20)):
        chips = np.zeros((n, side, side, 3), np.uint8), np.zeros((n, side, side), np.uint8)
        with pytest.raises(GroundsynthError, match="multiple of 8"):
            new_super_resolver(*chips, SETTINGS)


def test_the_truth_beats_bicubic_and_a_right_map_scores_one(chips):
    images, maps = chips
    sets = {"bicubic": double_images(halve_images(images)), "perfect": images}
    rows = image_rows("s", "r", sets, images, images, 5, 0)
    found = {(row["metric"], row["arm"] or row["system"]): row["value"] for row in rows}
    assert found["power_spectrum_error", "perfect"] == 0 < found["power_spectrum_error", "bicubic"]
    assert found["kid", "bicubic"] > found["kid", "perfect"]
    nearest = double_maps(halve_maps(maps))
    rows = map_rows(
        "s", "r", {"nearest": nearest}, maps, {"nearest": {"value": 0.9, "low": 0.8, "high": 1}}, 3
    )
    assert [(row["metric"], row["arm"]) for row in rows] == [
        ("map_miou", "nearest"), ("map_edge_rate", "nearest"), ("map_edge_rate", ""),
    ]  # fmt: skip
    assert _named(np.array([255, 255, 2]), np.array([6, 255, 2])).tolist() == [0, 1, 2], "no label is a miss"


def test_the_scale_gap_is_told(model):
    chips = pd.DataFrame({"crs": ["EPSG:1"], "transform_a": [30.0], "transform_e": [-30.0],
                          "transform_c": [100.0], "transform_f": [500.0]})  # fmt: skip
    assert pixel_metres(chips) == 30
    assert pixel_metres(chips.assign(crs="")) is None
    assert scale_gap(model, 30.0) == 2
    assert "2 times finer on the ground" in _gap_words(2.0)
    assert "as large on the ground" in _gap_words(1.0)
    assert "not known" in _gap_words(scale_gap(model, None))
    assert _boxes(chips, 10).tolist() == [[100, 200, 400, 500]]


def test_the_figure_has_a_row_per_way(chips):
    images, maps = chips[0][:2], chips[1][:2]
    coarse = halve_images(images), halve_maps(maps)
    assert len(plot_doubling(*coarse, images, maps, (images, maps)).axes) == 7 * 2
    assert len(plot_doubling(*coarse, images, maps).axes) == 5 * 2


def test_generated_pairs_are_doubled_and_say_where_they_come_from(model, chips, root, tmp_path, monkeypatch):
    study = load_study(root / "config" / "smoke.yaml")
    monkeypatch.setenv("GROUNDSYNTH_ROOT", str(tmp_path))
    images, maps = halve_images(chips[0][:2]), halve_maps(chips[1][:2])
    shares = pd.DataFrame([class_shares(m) for m in maps], columns=list(SHARE_COLUMNS))
    drawn = shares.assign(
        chip_id=["a", "b"], image=list(images), mask=list(maps), system="joint", generator="unified-s0", seed=[1, 2],
        condition="", condition_transform=-1, no_label_rate=0.0, model_hash="abc",
    )  # fmt: skip
    real = shares.assign(
        chip_id=["r", "s"], image=list(images), mask=list(maps), labelled=1.0, scene="x", split="train", block=0,
        row=0, col=0, crs="EPSG:3358", **{f"transform_{k}": 30.0 for k in "abcdef"},
    )  # fmt: skip
    stages = tmp_path / "results" / "smoke"
    write_chips(real[list(CHIPS["real"])], stages / "01_prepare_data" / "fold0" / "chips.parquet", "real")
    path = stages / "03_generate" / "fold0" / "unified-s0" / "joint" / "0" / "chips.parquet"
    write_chips(drawn[list(CHIPS["synthetic"])], path, "synthetic")
    folder = tmp_path / "out"
    model.save(folder / "model")
    _use(study, study, Wanted(0, "unified-s0", "joint", 4), model, folder, CPU)
    doubled = read_chips(folder / "chips.parquet", "synthetic")
    assert doubled["chip_id"].tolist() == ["a-x2", "b-x2"]
    assert doubled["image"].iloc[0].shape == (32, 32, 3)
    assert doubled["model_hash"].str.startswith("abc+").all()
    np.testing.assert_allclose(
        doubled[list(SHARE_COLUMNS)].to_numpy(), [class_shares(m) for m in doubled["mask"]], atol=1e-6
    )
    assert "2 times finer on the ground" in (folder / "generated.txt").read_text()
