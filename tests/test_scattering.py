"""Scattering features: fixed, blind to where things lie, and able to see what a spectrum cannot."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from groundsynth.checks.distribution import kernel_distance, standardise
from groundsynth.checks.scattering import ANGLES, SCALES, scattering_features, wavelets
from groundsynth.checks.spectrum import power_spectrum_error, spectrum_matched_noise


def fields(n: int, seed: int, size: int = 64) -> np.ndarray:
    """Chips of patches with sharp edges, each patch with a grain of its own."""
    random = np.random.default_rng(seed)
    patches = gaussian_filter(random.normal(size=(n, size, size)), (0, 5, 5)) > 0
    grain = random.normal(size=(n, size, size)) * np.where(patches, 20, 3)
    grey = np.where(patches, 150, 60) + grain
    return np.repeat(grey[..., None], 3, -1).clip(0, 255).astype(np.uint8)


def test_wavelets_see_no_constant_and_every_other_band():
    bank = wavelets(64, 64)
    assert bank.shape == (SCALES * ANGLES, 64, 64)
    assert bank[:, 0, 0].abs().max() < 1e-6
    peaks = [np.unravel_index(int(wave.argmax()), (64, 64)) for wave in bank]
    radius = [np.hypot(*(min(k, 64 - k) for k in peak)) for peak in peaks]
    for scale in range(SCALES):  # 3/4 of the highest frequency, halved at every scale
        band = radius[scale * ANGLES : (scale + 1) * ANGLES]
        assert band == pytest.approx([24 / 2**scale] * ANGLES, abs=1.5)


def test_features_have_their_shape_and_survive_flat_chips():
    flat = np.full((2, 32, 32, 3), 77, np.uint8)
    found = scattering_features(flat)
    assert found.shape == (2, 3 + 18 + 108)
    assert np.isfinite(found).all()
    assert found[0, :3] == pytest.approx(77)


def test_batches_do_not_change_a_feature():
    chips = fields(5, 0)
    np.testing.assert_allclose(scattering_features(chips), scattering_features(chips, 2), atol=1e-4)


def test_shifting_a_chip_around_its_edge_changes_nothing():
    chips = fields(3, 1)
    np.testing.assert_allclose(
        scattering_features(chips), scattering_features(np.roll(chips, (5, 11), (1, 2))), atol=1e-3
    )


def test_noise_of_the_same_spectrum_is_told_from_structure():
    """The spectra agree within a quarter; the kernel distance is a hundred times that between real sets."""
    real, again = fields(60, 2), fields(60, 3)
    noise = spectrum_matched_noise(real, 60, 0)
    assert power_spectrum_error(noise, real) < 0.25
    known = scattering_features(real)
    held, first, other = standardise(known, scattering_features(again), known, scattering_features(noise))
    floor, far = (kernel_distance(x, held, 20, 0)[0] for x in (first, other))
    assert far > 0.1
    assert far > 100 * abs(floor)


def test_the_result_needs_no_gradient():
    assert not torch.is_inference_mode_enabled()
    scattering_features(fields(1, 4))
    assert torch.is_grad_enabled()
