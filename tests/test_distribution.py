"""Distances between sets: zero where they should be, growing where they should grow."""

from __future__ import annotations

import numpy as np
import pytest

from groundsynth.checks.distribution import (
    distance_rows,
    frechet_distance,
    kernel_distance,
    power_spectrum_error,
    radial_power_spectrum,
    spectrum_matched_noise,
    standardise,
)
from groundsynth.checks.texture import texture_statistics, unlike_real

RNG = np.random.default_rng(0)


def textured(n: int, seed: int) -> np.ndarray:
    """Return (n, 32, 32, 3) uint8 chips of smooth texture with correlated channels."""
    generator = np.random.default_rng(seed)
    coarse = generator.normal(0, 30, (n, 8, 8, 1)).repeat(4, 1).repeat(4, 2)
    fine = generator.normal(0, 5, (n, 32, 32, 3))
    return (110 + coarse + fine).clip(0, 255).astype(np.uint8)


def test_white_noise_has_a_flat_spectrum_at_its_variance():
    spectrum = radial_power_spectrum(RNG.normal(128, 10, (200, 32, 32, 3)))
    assert spectrum.shape == (16,)
    assert spectrum[1:] == pytest.approx(np.full(15, 100), rel=0.1)
    assert spectrum[0] == pytest.approx(100, rel=0.25)  # few waves in the innermost ring


def test_a_wave_peaks_at_its_frequency():
    wave = 100 + 50 * np.sin(2 * np.pi * 5 * np.arange(32) / 32)
    images = np.broadcast_to(wave[None, :, None, None], (1, 32, 32, 3))
    assert radial_power_spectrum(images).argmax() == 4  # cycles 5 is the fifth bin


def test_spectrum_error_by_hand():
    images = RNG.normal(0, 10, (40, 32, 32, 3))
    assert power_spectrum_error(images, images) == 0
    # twice the contrast is four times the power: |4 - 1| / 1
    assert power_spectrum_error(2 * images, images) == pytest.approx(3, rel=0.01)


def test_a_constant_chip_has_the_quantisation_floor_not_log_zero():
    assert radial_power_spectrum(np.full((2, 32, 32, 3), 7, np.uint8)) == pytest.approx(1 / 12)


def test_noise_keeps_colour_and_spectrum_but_not_structure():
    real = textured(60, 1)
    noise = spectrum_matched_noise(real, 60, seed=0)
    assert noise.shape == real.shape
    assert noise.dtype == np.uint8
    assert power_spectrum_error(noise, real) < 0.2
    flat = lambda x: x.reshape(-1, 3).astype(float)  # noqa: E731
    assert flat(noise).mean(0) == pytest.approx(flat(real).mean(0), abs=2)
    assert np.corrcoef(flat(noise).T) == pytest.approx(np.corrcoef(flat(real).T), abs=0.05)
    pairs = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a in noise[:5] for b in real]
    assert max(pairs) < 0.5
    assert (spectrum_matched_noise(real, 60, seed=0) == noise).all()


def test_kernel_distance_is_zero_for_one_distribution_and_grows_with_a_shift():
    first, second = RNG.normal(0, 1, (2, 200, 8))
    same, low, high = kernel_distance(first, second, 40, 0)
    assert low < 0 < high
    near, far = (kernel_distance(first + shift, second, 40, 0)[0] for shift in (0.5, 1.0))
    assert abs(same) < near / 3 < far / 3


def test_frechet_distance_by_hand():
    train = RNG.normal(0, 1, (400, 3))
    assert frechet_distance(train, train, train)[0] == pytest.approx(0, abs=1e-6)
    value, components = frechet_distance(train + np.array([2, 0, 0]), train, train)
    assert value == pytest.approx(4, rel=1e-4)  # equal covariances: the squared distance of the means
    assert components == 3


def test_frechet_distance_takes_five_chips_per_component():
    train = RNG.normal(0, 1, (200, 40))
    assert frechet_distance(train[:50], train[50:100], train)[1] == 10
    assert frechet_distance(train, train, train)[1] == 32


def test_standardise_uses_training_statistics_and_survives_constants():
    train = np.stack([np.arange(10.0), np.full(10, 3.0)], 1)
    (scaled,) = standardise(train, train + np.array([0, 5]))
    assert scaled[:, 0].mean() == pytest.approx(0)
    assert scaled[:, 0].std() == pytest.approx(1)
    assert (scaled[:, 1] == 0).all()


def test_rows_use_equal_n_and_name_floor_and_noise():
    train = RNG.normal(0, 1, (100, 6))
    sets = {"held_out": train[:40], "real": train[40:90], "noise": train[:30] + 1, "joint": train[:20] + 2}
    rows = distance_rows("smoke", "labeller", sets, train, 5, 0)
    kid = {row["system"] or row["arm"]: row for row in rows if row["metric"] == "kid"}
    assert set(kid) == {"real", "spectrum_matched_noise", "joint"}
    assert {row["n"] for row in rows} == {20}
    assert kid["real"]["value"] < kid["spectrum_matched_noise"]["value"] < kid["joint"]["value"]
    assert {row["regime"] for row in rows} == {"features=labeller"}


def test_texture_statistics_by_hand():
    flat = np.full((1, 32, 32, 3), 50, np.uint8)
    noise = np.random.default_rng(0).normal(128, 20, (1, 64, 64, 1)).repeat(3, -1)
    spectrum, colour, pairs, tails = np.split(texture_statistics(flat)[0], [16, 19, 22])
    assert spectrum == pytest.approx(np.log(1 / 12))
    assert (colour.tolist(), pairs.tolist(), tails.tolist()) == (
        [50] * 3,
        [0] * 3,
        [pytest.approx(np.log(3))],
    )
    *_, pairs, tails = np.split(texture_statistics(noise)[0], [32, 35, 38])
    assert (pairs > 4).all()  # equal channels: correlation just below 1
    assert tails[0] == pytest.approx(np.log(3), abs=0.1)  # Gaussian differences


def test_typical_chips_are_near_one_and_speckle_or_noise_is_not():
    train, fresh = textured(200, 4), textured(50, 5)
    speckle = (fresh + RNG.normal(0, 25, fresh.shape)).clip(0, 255).astype(np.uint8)
    noise = spectrum_matched_noise(train, 50, 0)
    usual, speckled, phases = (unlike_real(x, train) for x in (fresh, speckle, noise))
    assert np.median(usual) == pytest.approx(1, abs=0.25)
    assert speckled.min() > usual.max()
    assert np.median(phases) > np.quantile(usual, 0.95)
