"""Forged regions: only they change, they are found where they are, and the marks' answer is told as it is."""

import numpy as np
import pytest
import torch
from test_generator import SETTINGS

from groundsynth.checks.forgery import (
    Forged,
    best_threshold,
    box_overlaps,
    draw_regions,
    forged_batch,
    forgery_rows,
    mark_answers,
    overlaps,
    paste,
)
from groundsynth.errors import GroundsynthError
from groundsynth.models.detector import DetectorSettings, heat_maps, train_localiser
from groundsynth.models.sampling import redraw_region
from groundsynth.models.solvers import SamplingSettings, clean_belief, raw_output
from groundsynth.models.training import new_denoiser

CPU = torch.device("cpu")


def chips(n: int, seed: int = 0, size: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3)).astype(np.uint8)


def test_regions_are_boxes_of_the_stated_size():
    regions = draw_regions(40, 64, "a")
    shares = regions.mean((1, 2))
    assert shares.min() >= 0.33**2
    assert shares.max() <= 0.57**2
    for region in regions:
        rows, cols = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
        assert region[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1].all()


def test_overlap_by_hand():
    """Two 2 × 2 boxes that share one pixel: 1 of 7. Nothing found: 0."""
    a, b = np.zeros((2, 2, 4, 4), bool)
    a[0, :2, :2] = b[0, 1:3, 1:3] = b[1, :2, :2] = True
    assert overlaps(a, b).tolist() == pytest.approx([1 / 7, 0])
    whole = np.ones((1, 8, 8), bool)
    assert box_overlaps(whole, "a") == pytest.approx([1])


def test_pasting_changes_the_region_alone_and_softly():
    real, donors = np.zeros((3, 32, 32, 3), np.uint8), np.full((3, 32, 32, 3), 90, np.uint8)
    regions = draw_regions(3, 32, "p")
    made = paste(real, donors, regions)
    assert (made[~regions] == 0).all()
    assert made.max() == 90
    assert set(np.unique(made)) == {0, 30, 60, 90}, "one, two and three pixels from its border"


def test_the_inverse_of_the_belief():
    x, clean = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    for sigma in (0.2, 5.0, 80.0):
        torch.testing.assert_close(
            clean_belief(x, raw_output(x, clean, sigma), sigma), clean, rtol=1e-3, atol=1e-3
        )


@pytest.mark.parametrize("solver", ["dpmpp_2m", "heun"])
def test_redrawing_keeps_what_is_outside_and_follows_seed_and_map(solver):
    images = chips(2)
    maps = np.random.default_rng(1).choice([0, 4], (2, 16, 16)).astype(np.uint8)
    model = new_denoiser(images, maps, SETTINGS).eval()
    how = SamplingSettings(4, solver, (0.2, 80.0), 1)
    regions = np.zeros((2, 16, 16), bool)
    regions[:, 4:12, 4:12] = True
    made = redraw_region(model, images, maps, regions, [1, 2], how, CPU)
    np.testing.assert_array_equal(made[~regions], images[~regions])
    assert (made[regions] != images[regions]).mean() > 0.5
    np.testing.assert_array_equal(
        redraw_region(model, images[1:], maps[1:], regions[1:], [2], how, CPU)[0], made[1]
    )
    assert (redraw_region(model, images[1:], maps[1:], regions[1:], [3], how, CPU)[0] != made[1]).any()
    with pytest.raises(GroundsynthError, match="do not fit"):
        redraw_region(model, images, maps[:, :8], regions, [1, 2], how, CPU)


def made_up(n: int, seed: int) -> Forged:
    """Dark chips with a bright box."""
    regions = draw_regions(n, 32, seed)
    real = np.zeros((n, 32, 32, 3), np.uint8)
    return Forged(real, np.where(regions[..., None], 200, real).astype(np.uint8), regions, np.arange(n) // 2)


def brightness(images: np.ndarray) -> np.ndarray:
    return images.mean(-1)


def test_an_eye_for_brightness_finds_bright_boxes():
    tested = made_up(12, 1)
    rows, heat = forgery_rows("s", "all", "pasted", {"network": brightness}, tested, made_up(12, 2))
    assert heat["network"].shape == (12, 32, 32)
    found = {(r["metric"], r["regime"]): r["value"] for r in rows}
    assert found["detector_auc", "detector=network;by=hottest"] == 1
    assert found["forgery_iou", "by=network"] > 0.7
    assert found["forgery_iou", "by=whole_chip"] == pytest.approx(tested.regions.mean())
    assert found["forgery_iou", "by=random_box"] < 0.4


def test_a_blind_eye_finds_nothing():
    rows, _ = forgery_rows(
        "s", "all", "pasted", {"network": lambda x: np.zeros(x.shape[:3])}, made_up(8, 1), made_up(8, 2)
    )
    found = {(r["metric"], r["regime"]): r["value"] for r in rows}
    assert found["detector_auc", "detector=network;by=hottest"] == 0.5
    assert found["forgery_iou", "by=network"] == 0


def test_the_threshold_is_the_best_of_those_tried():
    regions = draw_regions(4, 32, "t")
    heat = regions * 1.0 + np.random.default_rng(0).uniform(0, 0.5, regions.shape)
    assert overlaps(heat > best_threshold(heat, regions), regions).min() > 0.9


def test_a_localiser_learns_where_grain_was_pasted():
    draw = np.random.default_rng(0)
    real = np.full((20, 32, 32, 3), 100, np.uint8)
    donors = draw.integers(60, 140, (20, 32, 32, 3)).astype(np.uint8)
    images, regions = forged_batch(real, donors, 8, draw)
    assert regions.any((1, 2)).tolist() == [False, True] * 4
    assert (images[~regions] == 100).all()
    network = train_localiser(
        lambda random: forged_batch(real, donors, 8, random), DetectorSettings(steps=25, batch_size=8), CPU
    )
    heat = heat_maps(network, images)
    assert heat[regions].mean() > heat[~regions].mean() + 1
    assert overlaps(heat > best_threshold(heat, regions), regions)[1::2].mean() > 0.5


def test_marks_do_not_notice_what_the_list_does():
    tested = made_up(6, 3)
    rows = {row["regime"]: row for row in mark_answers("s", "pasted", tested)}
    assert {name: row["value"] for name, row in rows.items()} == {
        "reader=c2pa": 0, "reader=iptc": 0, "reader=list": 1
    }  # fmt: skip
    assert rows["reader=list"]["n"] == 6
    untouched = Forged(tested.real, tested.real, tested.regions, tested.cells)
    assert {row["value"] for row in mark_answers("s", "pasted", untouched)} == {0}
