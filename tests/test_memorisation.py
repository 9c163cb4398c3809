"""Planted copies must be found; ground that was never trained on must not be taken for a copy."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from scipy.ndimage import gaussian_filter

from groundsynth.artifacts import write_json
from groundsynth.captions.layout import LayoutWriter
from groundsynth.checks import patches as patches_module
from groundsynth.checks import territory as territory_module
from groundsynth.checks.corruption import patched_images, planted_copies
from groundsynth.checks.memorisation import (
    copy_rows,
    index_training,
    nearest_features,
    nearest_windows,
    place_name,
    turn_and_flip,
    unit_vectors,
)
from groundsynth.checks.patches import index_patches, nearest_patches, patch_pairs, standard_pose, tiles
from groundsynth.checks.territory import Territory, held_out_windows, read_territory, training_windows
from groundsynth.data.blocks import HIDDEN, NO_SPLIT, TRAIN, VAL
from groundsynth.errors import GroundsynthError
from groundsynth.report.grounding_figures import plot_patch_pairs

SIZE = 32


@pytest.fixture(scope="module")
def territory() -> Territory:
    """Return a scene of random texture: training west, a buffer, validation and hidden ground east."""
    noise = np.random.default_rng(0).normal(0, 1, (96, 160, 3))
    image = (128 + 250 * gaussian_filter(noise, (1.5, 1.5, 0))).clip(0, 255).astype(np.uint8)
    split = np.full((96, 160), NO_SPLIT, np.uint8)
    split[:, :80], split[:, 88:128], split[:40, 128:] = TRAIN, VAL, HIDDEN
    labels = np.kron(np.arange(6, dtype=np.uint8).reshape(2, 3), np.ones((48, 54), np.uint8))[:96, :160]
    return Territory(["small"], [image], [split], [labels])


@pytest.fixture(scope="module")
def index(territory):
    return index_training(territory, SIZE)


def test_every_offset_of_the_training_ground_is_indexed(territory, index):
    assert len(index.corners) == (96 - SIZE + 1) * (80 - SIZE + 1)
    corners, step = training_windows(territory, SIZE)
    assert (corners == index.corners).all()
    assert step == index.step == 1


@pytest.mark.parametrize("code", range(8))
def test_a_turned_brighter_copy_is_found_where_it_was_cut(territory, index, code):
    source = territory.cut(np.array([[0, 17, 23]]), SIZE)
    turned = (turn_and_flip(source, code) * 1.05).clip(0, 255).astype(np.uint8)
    distance, place = nearest_windows(turned, index)
    assert distance[0] < 0.02
    assert place[0, :3].tolist() == [0, 17, 23]
    back = turn_and_flip(turned, place[0, 3])[0].astype(float)
    assert np.corrcoef(back.ravel(), source[0].ravel())[0, 1] > 0.99


def test_planted_copies_are_all_nearer_than_held_out_ground(territory, index):
    chips = np.array([[0, row, col] for row in (0, 32, 64) for col in (0, 24, 48)])
    copies = planted_copies(territory, chips, SIZE, 24, LayoutWriter(), 0)
    planted = nearest_windows(copies.images, index)[0]
    held_out = nearest_windows(territory.cut(held_out_windows(territory, SIZE, 24, 0), SIZE), index)[0]
    assert planted.max() < 0.1 < 0.3 < held_out.min()
    rows = copy_rows("smoke", "pixels", {"joint": held_out}, planted, held_out)
    value = {(row["metric"], row["arm"], row["system"]): row["value"] for row in rows}
    assert value["auc", "planted_copy", "real"] == 1
    assert value["auc", "nearer_than_real", "joint"] == 0.5
    assert value["nearest_train", "", "joint"] == pytest.approx(np.median(held_out))


def test_turns_and_flips_are_eight_different_ones():
    chip = np.arange(12).reshape(1, 2, 2, 3)
    assert len({turn_and_flip(chip, code).tobytes() for code in range(8)}) == 8


def test_unit_vectors_ignore_brightness_and_survive_flat_chips():
    chip = np.random.default_rng(0).integers(0, 100, (1, 8, 8, 3))
    first, second = unit_vectors(chip), unit_vectors(2 * chip + 7)
    assert first @ second.T == pytest.approx(1, abs=1e-5)
    assert (unit_vectors(np.full((1, 8, 8, 3), 9)) == 0).all()


def test_feature_neighbours_by_hand():
    assert nearest_features(np.array([[0.0, 0], [3, 4]]), np.array([[0.0, 0], [0, 4]])).tolist() == [0, 3]


def test_held_out_windows_avoid_training_and_test(territory):
    corners = held_out_windows(territory, SIZE, 1000, 0)
    for _, row, col in corners:
        assert np.isin(territory.splits[0][row : row + SIZE, col : col + SIZE], (VAL, HIDDEN)).all()
    assert len(held_out_windows(territory, SIZE, 5, 0)) == 5


def test_too_small_ground_names_the_cure():
    bare = Territory(["b"], [np.zeros((40, 40, 3), np.uint8)], [np.full((40, 40), NO_SPLIT, np.uint8)])
    with pytest.raises(GroundsynthError, match=r"no 32 px window fits the training ground"):
        training_windows(bare, SIZE)
    with pytest.raises(GroundsynthError, match=r"no 32 px window fits validation or hidden ground"):
        held_out_windows(bare, SIZE, 4, 0)


def test_a_copy_is_found_in_whichever_scene_it_was_cut(territory):
    """Two dates of one ground: each has its own picture, and both are searched."""
    other = np.roll(territory.images[0][:, ::-1], 7, 0)
    tiny = np.zeros((SIZE - 1, SIZE - 1, 3), np.uint8)
    dates = Territory(
        ["first", "second", "tiny"],
        [territory.images[0], other, tiny],
        [territory.splits[0], territory.splits[0], np.full(tiny.shape[:2], TRAIN, np.uint8)],
    )
    index = index_training(dates, SIZE)
    assert len(index.corners) == 2 * (96 - SIZE + 1) * (80 - SIZE + 1)
    places = np.array([[0, 17, 23], [1, 40, 3]])
    distance, place = nearest_windows(dates.cut(places, SIZE), index)
    assert distance.max() < 1e-5
    assert (place[:, :3] == places).all()
    assert place_name(place[1], dates.names) == "second row 40 col 3 turn 0"


def test_large_ground_is_searched_at_a_step_and_then_at_every_offset(territory, monkeypatch):
    monkeypatch.setattr(territory_module, "MANY_WINDOWS", 400)
    index = index_training(territory, SIZE)
    assert index.step == 3
    assert len(index.corners) == 22 * 17
    places = np.array(
        [[0, 17, 23], [0, 64, 48], [0, 0, 0], [0, 62, 1]]
    )  # on and off the lattice, and the edges
    distance, place = nearest_windows(territory.cut(places, SIZE), index)
    assert distance.max() < 1e-5
    assert (place[:, :3] == places).all()


def test_territory_is_read_from_rasters(tmp_path, territory):
    for name, layers in (
        ("image", np.moveaxis(territory.images[0], -1, 0)),
        ("split", territory.splits[0][None]),
        ("map", territory.maps[0][None]),
    ):
        bands, height, width = layers.shape
        profile = {"driver": "GTiff", "dtype": "uint8", "count": bands, "height": height, "width": width}
        (tmp_path / "scenes" / "small").mkdir(parents=True, exist_ok=True)
        with rasterio.open(tmp_path / "scenes" / "small" / f"{name}.tif", "w", **profile) as sink:
            sink.write(layers)
    scenes = [{"scene": "small", "used": True}, {"scene": "unused", "used": False}]
    write_json(tmp_path / "data.json", {"scenes": scenes})
    found = read_territory(tmp_path)
    assert found.names == ["small"]
    assert (found.images[0] == territory.images[0]).all()
    assert (found.splits[0] == territory.splits[0]).all()
    assert (found.maps[0] == territory.maps[0]).all()
    learned = read_territory(
        tmp_path, unlabelled=True
    )  # images of hidden blocks: no ground to be held against
    assert len(territory.corners(HIDDEN, SIZE))
    assert len(learned.corners(HIDDEN, SIZE)) == 0
    assert len(training_windows(learned, SIZE)[0]) > len(training_windows(found, SIZE)[0])
    kept_out = set(map(tuple, found.corners(VAL, SIZE)))
    assert {tuple(corner) for corner in held_out_windows(learned, SIZE, 10_000, 0)} == kept_out
    (tmp_path / "scenes" / "small" / "split.tif").unlink()
    with pytest.raises(GroundsynthError, match=r"split\.tif: not readable .* remake it: .*data\.json"):
        read_territory(tmp_path)


def test_a_patch_has_one_standard_pose():
    patch = np.random.default_rng(0).integers(0, 255, (1, 16, 16, 3), np.uint8)
    poses = {standard_pose(turn_and_flip(patch, code)).tobytes() for code in range(8)}
    assert len(poses) == 1


def test_tiles_are_cut_row_by_row():
    chip = np.arange(32 * 48).reshape(1, 32, 48, 1).repeat(3, 3)
    found = tiles(chip)
    assert found.shape == (1, 6, 16, 16, 3)
    assert found[0, 4, 0, 0, 0] == chip[0, 16, 16, 0]


@pytest.mark.parametrize("most", [120_000, 1500])
def test_collages_of_patches_are_found_and_held_out_ground_is_not(territory, index, monkeypatch, most):
    """Also where patches are indexed at a step: all offsets around the best are tried."""
    monkeypatch.setattr(patches_module, "MOST_PATCHES", most)
    patches = index_patches(territory)
    assert (patches.step == 1) == (most > 80 * 96)
    held_out = territory.cut(held_out_windows(territory, SIZE, 24, 0), SIZE)
    collages = patched_images(held_out, territory, 0)
    assert nearest_patches(collages, patches).max() < 0.05 < 0.1 < nearest_patches(held_out, patches).min()
    for images in (collages, held_out):  # the pairs shown are those that were measured
        own, known = (unit_vectors(pieces) for pieces in patch_pairs(images, patches))
        np.testing.assert_allclose(1 - (own * known).sum(1), nearest_patches(images, patches), atol=1e-5)
    assert nearest_windows(collages, index)[0].min() > 0.1  # whole windows do not see them


def test_flat_chips_show_nothing_to_copy(territory):
    assert nearest_patches(np.full((2, SIZE, SIZE, 3), 90, np.uint8), index_patches(territory)).tolist() == [
        1,
        1,
    ]
    assert len(nearest_patches(np.zeros((0, SIZE, SIZE, 3), np.uint8), index_patches(territory))) == 0


def test_pieces_stand_above_their_patches_with_their_distances():
    pieces = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 3), np.uint8)
    figure = plot_patch_pairs(
        {"a": (pieces, 255 - pieces), "b": (pieces[:2], pieces[:2])}, {"a": "xyz", "b": "uv"}
    )
    shown = [ax.get_title() for ax in figure.axes]
    assert shown == ["x", "y", "z", "", "", "", "u", "v", "", "", "", ""]
    np.testing.assert_array_equal(figure.axes[4].images[0].get_array(), 255 - pieces[1])
    assert not figure.axes[8].images, "a set with fewer pieces leaves places empty"
