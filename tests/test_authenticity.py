"""Detectors: grey levels, spectra, patches; the matrix, robustness, sources, and forged regions."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from groundsynth.checks.authenticity import (
    HeldOut,
    Told,
    ask_detector,
    attribution_rows,
    changed,
    confusion,
    detector_rows,
    drop_rows,
    fit_spectral,
    foreign_levels,
    ground_cells,
    halves,
    hardened,
    level_tables,
    match_levels,
    recompress,
    resampled_auc,
    resize,
    rows_by_change,
    wins,
)
from groundsynth.errors import GroundsynthError
from groundsynth.models.detector import (
    DetectorSettings,
    class_scores,
    heat_maps,
    patch_logits,
    synthetic_scores,
    train_detector,
)

CPU = torch.device("cpu")


def smooth_chips(n: int, seed: int, size: int = 32) -> np.ndarray:
    """Gentle waves: no fine texture."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    waves = [np.sin(2 * np.pi * (a * x + b * y + c)) for a, b, c in draw.uniform(0, 2, (n, 3))]
    return np.stack([128 + 60 * np.stack([w] * 3, -1) for w in waves]).astype(np.uint8)


def grainy_chips(n: int, seed: int, size: int = 32) -> np.ndarray:
    draw = np.random.default_rng(seed + 1000)
    return (
        (smooth_chips(n, seed, size) + draw.integers(-20, 21, (n, size, size, 3)))
        .clip(0, 255)
        .astype(np.uint8)
    )


# --- grey levels -----------------------------------------------------------------------------


def test_levels_by_hand():
    """Real chips use 10 and 20 alone: 14 goes to 10, 16 to 20, 255 to 20."""
    real = np.full((1, 2, 2, 3), 10, np.uint8)
    real[0, 0] = 20
    tables = level_tables(real)
    image = np.zeros((1, 1, 4, 3), np.uint8)
    image[0, 0] = np.array([10, 14, 16, 255])[:, None]
    np.testing.assert_array_equal(match_levels(image, tables)[0, 0, :, 0], [10, 10, 20, 20])
    assert foreign_levels(image, tables) == pytest.approx([0.75])
    assert foreign_levels(real, tables) == pytest.approx([0])
    np.testing.assert_array_equal(match_levels(real, tables), real)


# --- detectors -------------------------------------------------------------------------------


def test_the_spectral_detector_hears_grain_and_nothing_where_there_is_nothing():
    score = fit_spectral(smooth_chips(40, 0), grainy_chips(40, 1))
    assert score(grainy_chips(20, 2)).min() > score(smooth_chips(20, 3)).max()
    none = fit_spectral(smooth_chips(100, 0), smooth_chips(100, 1))
    assert 0.3 < wins(none(smooth_chips(60, 2)), none(smooth_chips(60, 3))).mean() < 0.7


@pytest.fixture(scope="module")
def network():
    groups = {"real": smooth_chips(32, 0), "synthetic": grainy_chips(32, 1)}
    return train_detector(groups, DetectorSettings(steps=30, batch_size=8), CPU)


def test_the_network_tells_chips_and_shows_where(network):
    assert (
        synthetic_scores(network, grainy_chips(16, 2)).min()
        > synthetic_scores(network, smooth_chips(16, 3)).max()
    )
    mixed = smooth_chips(4, 5)
    mixed[:, :16] = grainy_chips(4, 5)[:, :16]
    heat = heat_maps(network, mixed)
    assert heat.shape == (4, 32, 32)
    assert (heat[:, :12].mean((1, 2)) > heat[:, 20:].mean((1, 2)) + 1).all()


def test_a_patch_of_the_network_sees_seventeen_pixels(network):
    image = smooth_chips(1, 0, 64)
    other = image.copy()
    other[0, 32, 32] = 255 - other[0, 32, 32]
    moved = np.abs(patch_logits(network, image) - patch_logits(network, other)).max((0, 1)) > 1e-6
    rows = np.flatnonzero(moved.any(1)) * 2
    assert rows.min() >= 32 - 9
    assert rows.max() <= 32 + 9
    assert len(rows) >= 8


def test_three_sources_are_told_apart():
    bright = (smooth_chips(40, 7) // 2 + 120).astype(np.uint8)
    groups = {"real": smooth_chips(32, 0), "a": grainy_chips(32, 1), "b": bright[:32]}
    network = train_detector(groups, DetectorSettings(steps=60, batch_size=12), CPU)
    found = [
        class_scores(network, x).argmax(1) for x in (smooth_chips(8, 9), grainy_chips(8, 9), bright[32:])
    ]
    assert [np.bincount(f, minlength=3).argmax() for f in found] == [0, 1, 2]


def test_a_training_is_repeated_exactly_and_needs_two_groups():
    groups = {"real": smooth_chips(8, 0), "synthetic": grainy_chips(8, 1)}
    a, b = (train_detector(groups, DetectorSettings(steps=3, batch_size=4), CPU) for _ in range(2))
    np.testing.assert_array_equal(patch_logits(a, groups["real"]), patch_logits(b, groups["real"]))
    with pytest.raises(GroundsynthError, match="given real; give it real and synthetic"):
        train_detector({"real": groups["real"]}, DetectorSettings(), CPU)
    with pytest.raises(GroundsynthError, match="of which synthetic is empty"):
        train_detector({"real": groups["real"], "synthetic": groups["real"][:0]}, DetectorSettings(), CPU)


# --- the matrix ------------------------------------------------------------------------------


def test_the_resampled_auc_surrounds_that_of_the_library():
    draw = np.random.default_rng(0)
    synthetic, real = draw.normal(1, 1, 40), draw.normal(0, 1, 60)
    cells = np.repeat(np.arange(12), 5)
    table = wins(synthetic, real)
    truth = np.repeat([1, 0], [40, 60])
    assert table.mean() == pytest.approx(roc_auc_score(truth, np.concatenate([synthetic, real])))
    draws = resampled_auc(table, cells, "a")
    assert draws.shape == (500,)
    assert draws.mean() == pytest.approx(table.mean(), abs=0.02)
    assert 0.02 < draws.std() < 0.12


def test_cells_are_drawn_whole():
    """Real chips of one cell score alike: resampling cells varies more than resampling chips would."""
    draw = np.random.default_rng(1)
    cells = np.repeat(np.arange(6), 20)
    real = draw.normal(0, 1, 6)[cells] + draw.normal(0, 0.1, 120)
    table = wins(draw.normal(0, 1, 200), real)
    assert resampled_auc(table, cells, "a").std() > 2 * resampled_auc(table, np.arange(120), "a").std()


def test_cells_of_the_ground():
    corners = np.array([[0, 0, 0], [0, 31, 0], [0, 33, 0], [1, 0, 0], [0, 0, 96]])
    assert ground_cells(corners, 64).tolist() == ["0-0-0", "0-0-0", "0-1-0", "1-0-0", "0-0-2"]


def flat(value, n):
    return np.full((n, 4, 4, 3), value, np.uint8)


def test_rows_of_a_detector_by_hand():
    """It scores brightness. Every 'a' beats every real chip, 'b' ties with them: AUC 1 and 0.5."""
    tested = HeldOut(flat(10, 6), np.arange(6) // 2, {"a": flat(90, 4), "b": flat(10, 4)})
    told = ask_detector(lambda images: images.mean((1, 2, 3)), tested)
    rows = detector_rows("s", "a", told, tested, "detector=brightness")
    found = {(r["metric"], r["arm"]): (r["value"], r["low"], r["high"], r["n"]) for r in rows}
    assert found == {("detector_auc", "a"): (1, 1, 1, 10), ("detector_auc", "b"): (0.5, 0.5, 0.5, 10)}
    again = rows_by_change(
        "s", "a", lambda x: x.mean((1, 2, 3)), tested, "x", {"dark": lambda image: image * 0}
    )
    assert {(r["regime"], r["value"]) for r in again} == {("detector=x;dark", 0.5)}


def test_the_drop_on_unseen_generators_is_one_number():
    """Systems a and b of one generator, c of another. Own 1.0; a and b 0.9 on each other, 0.6 on c; c 0.5 on both."""
    auc = {"a": (1.0, 0.9, 0.6), "b": (0.9, 1.0, 0.6), "c": (0.5, 0.5, 1.0)}
    shift = np.linspace(-0.1, 0.1, 500)  # alike in all cells, as where the same real chips are drawn
    matrix = {
        own: {on: Told(value, value + shift) for on, value in zip("abc", row, strict=True)}
        for own, row in auc.items()
    }
    rows = drop_rows("s", matrix, {"a": "unified-s0", "b": "unified-s0", "c": "joint_gan-s0"}, "detector=x")
    found = {(r["arm"], r["system"]): (r["value"], r["low"], r["high"]) for r in rows}
    wanted = {
        ("unseen", "a"): 0.25, ("unseen", "b"): 0.25, ("unseen", "c"): 0.5, ("unseen", "each"): 1 / 3,
        ("unseen_generator", "a"): 0.4, ("unseen_generator", "b"): 0.4, ("unseen_generator", "c"): 0.5,
        ("unseen_generator", "each"): 1.3 / 3,
    }  # fmt: skip
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        assert found[key] == pytest.approx((value,) * 3), "what all cells share cancels"
    assert not drop_rows("s", {"a": {"a": matrix["a"]["a"]}}, {"a": "unified-s0"}, "detector=x")
    alone = drop_rows("s", {k: {x: matrix[k][x] for x in "ab"} for k in "ab"}, dict.fromkeys("ab", "g"), "x")
    assert {r["arm"] for r in alone} == {"unseen"}, "one generator drew both"


def test_differences_between_systems_share_the_real_chips():
    """The same scores twice under two names: chips are drawn apart, cells of real ones alike."""
    draw = np.random.default_rng(3)
    real, cells = draw.normal(0, 1, 8)[np.repeat(np.arange(8), 10)], np.repeat(np.arange(8), 10)
    table = wins(draw.normal(0, 1, 400), real)
    first, second = resampled_auc(table, cells, "a"), resampled_auc(table, cells, "b")
    assert not np.array_equal(first, second)
    assert np.corrcoef(first, second)[0, 1] > 0.8


@pytest.mark.parametrize("steps", [1, 2, 5, 7])
def test_any_number_of_steps_is_a_training(steps):
    groups = {"real": smooth_chips(4, 0), "synthetic": grainy_chips(4, 1)}
    network = train_detector(groups, DetectorSettings(steps=steps, batch_size=4), CPU)
    assert np.isfinite(patch_logits(network, groups["real"])).all()


def test_halves_keep_a_map_on_one_side():
    chips = pd.DataFrame(
        {"chip_id": [f"c{k}" for k in range(24)], "system": ["mask"] * 16 + ["joint"] * 8,
         "condition": [f"m{k // 2}" for k in range(16)] + [""] * 8}
    )  # fmt: skip
    learn, test = halves(chips, 0)
    assert (learn["system"].value_counts() == test["system"].value_counts()).all()
    maps = [set(half.loc[half["system"] == "mask", "condition"]) for half in (learn, test)]
    assert not maps[0] & maps[1]
    assert set(learn["chip_id"]) | set(test["chip_id"]) == set(chips["chip_id"])
    with pytest.raises(GroundsynthError, match="system 'mask' has 16 chips for 1 maps"):
        halves(chips.assign(condition="m"), 0)


# --- what a file goes through ----------------------------------------------------------------


def test_changes_keep_the_shape_and_take_away_detail():
    chip = grainy_chips(1, 0)[0]
    low, high = (np.abs(recompress(chip, q).astype(int) - chip).mean() for q in (20, 95))
    assert low > high > 0
    small = resize(chip, 0.5)
    assert small.shape == chip.shape
    assert (
        np.abs(np.diff(small.astype(int), axis=0)).mean()
        < 0.6 * np.abs(np.diff(chip.astype(int), axis=0)).mean()
    )
    np.testing.assert_array_equal(resize(chip, 1.0), chip)
    same = [np.array_equal(hardened(chip, np.random.default_rng(k)), chip) for k in range(30)]
    assert 3 <= sum(same) <= 20
    tested = HeldOut(chip[None], np.array(["a"]), {"x": chip[None]})
    other = changed(tested, lambda image: image // 2)
    assert other.real.max() <= 127
    assert other.synthetic["x"].max() <= 127


# --- which generator made it -----------------------------------------------------------------


def test_confusion_by_hand():
    truth = np.array(["real", "real", "a", "a", "a", "a"])
    found = np.array(["real", "a", "a", "a", "a", "real"])
    table = confusion(truth, found, ["real", "a", "b"])
    np.testing.assert_allclose(table, [[0.5, 0.5, 0], [0.25, 0.75, 0], [0, 0, 0]])
    rows = attribution_rows("s", truth, found, np.arange(6), ["real", "a"])
    accuracy = {r["arm"]: r["value"] for r in rows if r["metric"] == "attribution_accuracy"}
    assert accuracy == {"": 0.625, "chance": 0.5}
    assert sum(r["metric"] == "attribution_rate" for r in rows) == 4
