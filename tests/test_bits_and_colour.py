"""Maps as bits and colour as whitened axes: both must come back as they went in."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from groundsynth.errors import GroundsynthError
from groundsynth.models.bits import (
    CODES,
    count_adjacency,
    count_channels,
    decode_bits,
    encode_maps,
    one_hot_codes,
    order_codes,
)
from groundsynth.models.colour import SIGMA_DATA, fit_whitening

SYMBOLS = st.sampled_from([0, 1, 2, 3, 4, 5, 6, 255])
MAPS = hnp.arrays(np.uint8, (2, 5, 4), elements=SYMBOLS)


@given(maps=MAPS, codes=st.permutations(range(CODES)))
@settings(max_examples=50, deadline=None)
def test_bits_round_trip_for_every_order_of_codes(maps, codes):
    bits = encode_maps(maps, tuple(codes))
    assert bits.shape == (2, 3, 5, 4)
    assert set(bits.unique().tolist()) <= {-0.5, 0.5}
    np.testing.assert_array_equal(decode_bits(bits, tuple(codes)), maps)


@given(maps=MAPS)
@settings(max_examples=20, deadline=None)
def test_one_hot_channels_round_trip_and_the_largest_names_the_class(maps):
    codes = one_hot_codes()
    channels = encode_maps(maps, codes)
    assert channels.shape == (2, count_channels(codes), 5, 4) == (2, 8, 5, 4)
    assert ((channels > 0).sum(1) == 1).all(), "one channel is set"
    np.testing.assert_array_equal(decode_bits(channels, codes), maps)
    np.testing.assert_array_equal(decode_bits(0.1 * channels - 3, codes), maps)


def test_unknown_class_is_refused():
    with pytest.raises(GroundsynthError, match="map value 9"):
        encode_maps(np.full((1, 2, 2), 9, np.uint8), tuple(range(CODES)))


def test_adjacency_counts_touching_pairs_once_per_direction():
    # 0 0 1      0-1 touch twice (right side, both rows); 0-2 none; 1-255 once
    # 0 0 1
    maps = np.array([[[0, 0, 1], [0, 0, 1]]], np.uint8)
    counts = count_adjacency(maps)
    assert counts[0, 1] == counts[1, 0] == 2
    assert counts.sum() == 4


def test_codes_of_touching_classes_differ_in_one_bit():
    adjacency = np.zeros((CODES, CODES), int)
    for a, b in ((0, 4), (0, 2), (0, 1), (4, 7)):
        adjacency[a, b] = adjacency[b, a] = 10
    codes = order_codes(adjacency)
    assert sorted(codes) == list(range(CODES))
    for a, b in ((0, 4), (0, 2), (0, 1), (4, 7)):
        assert bin(codes[a] ^ codes[b]).count("1") == 1


def test_blend_of_one_bit_neighbours_decodes_to_one_of_the_two():
    codes = order_codes(np.zeros((CODES, CODES), int))
    pairs = [(a, b) for a in range(7) for b in range(a) if bin(codes[a] ^ codes[b]).count("1") == 1]
    for a, b in pairs:
        ends = encode_maps(np.array([[[a]], [[b]]], np.uint8), codes)
        for weight in (0.2, 0.45, 0.8):
            blend = weight * ends[:1] + (1 - weight) * ends[1:]
            assert decode_bits(blend, codes).item() in (a, b)


def test_whitening_gives_equal_strength_uncorrelated_axes_and_comes_back():
    draw = np.random.default_rng(0)
    base = draw.normal(100, 30, (6, 16, 16, 1))
    images = np.clip(base + draw.normal(0, 6, (6, 16, 16, 3)), 0, 255).astype(np.uint8)
    whitening = fit_whitening(images)
    z = whitening.whiten(images)
    assert z.shape == (6, 3, 16, 16)
    flat = z.permute(1, 0, 2, 3).reshape(3, -1)
    torch.testing.assert_close(torch.cov(flat), torch.eye(3) * SIGMA_DATA**2, atol=1e-3, rtol=0)
    assert np.abs(whitening.restore(z).astype(int) - images).max() <= 1


def test_whitening_of_a_grey_image_stays_finite():
    grey = np.full((2, 8, 8, 3), 90, np.uint8)
    z = fit_whitening(grey).whiten(grey)
    assert torch.isfinite(z).all()
