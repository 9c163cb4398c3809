"""Held to class shares: what is asked comes, where the network finds it likeliest, and nothing else moves."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from groundsynth.legend import NUM_CLASSES, class_shares
from groundsynth.models.bits import decode_bits, encode_maps, one_hot_codes
from groundsynth.models.colour import fit_whitening
from groundsynth.models.conditions import Conditions
from groundsynth.models.denoiser import Denoiser, DenoiserConfig
from groundsynth.models.sampling import sample_pairs
from groundsynth.models.solvers import SamplingSettings
from groundsynth.models.steering import DOUBT, class_beliefs, hold_shares

BITS = (0, 1, 2, 3, 4, 5, 6, 7)
SOLVING = SamplingSettings(steps=4, solver="dpmpp_2m", sigma_range=(0.2, 80.0), batch_size=2)


def shares_of(**given: float) -> torch.Tensor:
    found = torch.zeros(1, NUM_CLASSES)
    for name, value in given.items():
        found[0, int(name[1:])] = value
    return found


@pytest.mark.parametrize("codes", [BITS, one_hot_codes()])
def test_a_sure_map_is_read_back_as_it_is(codes):
    maps = np.arange(7, dtype=np.uint8).repeat(7).reshape(1, 7, 7)
    beliefs = class_beliefs(encode_maps(maps, codes), codes)
    assert (beliefs.argmax(1).numpy() == maps).all()
    assert beliefs.sum(1).numpy() == pytest.approx(1)


def test_half_sure_bits_give_their_product():
    """Bit 0 set with 0.9, bits 1 and 2 with 0.5: codes 1, 3, 5 share 0.9 of four codes, 'no label' (7) left out."""
    bits = torch.tensor([0.4, 0.0, 0.0])[None, :, None, None]
    expected = np.array([0.1, 0.9, 0.1, 0.9, 0.1, 0.9, 0.1]) / 3.1
    assert class_beliefs(bits, BITS)[0, :, 0, 0].numpy() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("codes", [BITS, one_hot_codes()])
def test_the_mean_of_the_beliefs_becomes_what_was_asked(codes):
    channels = encode_maps(np.zeros((1, 1, 1), np.uint8), codes).shape[1]
    bits = torch.randn(3, channels, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.3
    wanted = torch.tensor([[0.3, 0.1, 0.2, 0.1, 0.1, 0.1, 0.1], [0.02, 0.9, 0.02, 0.02, 0.02, 0.01, 0.01],
                           [1 / 7] * 7])  # fmt: skip
    far = [
        (class_beliefs(b, codes).mean((2, 3)) - wanted).abs().sum()
        for b in (bits, hold_shares(bits, wanted, codes))
    ]
    assert far[1] < 0.2 * far[0]  # independent bits cannot say every distribution over classes


def test_a_class_comes_where_it_is_likeliest():
    """A quarter of water goes to the columns that looked most like it, four of sixteen, give or take one."""
    bits = encode_maps(np.zeros((1, 16, 16), np.uint8), BITS) * 0.9
    bits[:, 1:, :, :8] += torch.linspace(0.1, 0.5, 8)  # towards code 6, water
    drawn = decode_bits(hold_shares(bits, shares_of(_0=0.75, _6=0.25), BITS), BITS)[0]
    found = set(np.flatnonzero(drawn[0] == 6).tolist())
    assert {4, 5, 6, 7} <= found <= {3, 4, 5, 6, 7}


def test_what_has_the_shares_already_stays():
    maps = np.zeros((1, 16, 16), np.uint8)
    maps[:, :4] = 6
    bits = encode_maps(maps, BITS)
    held = hold_shares(bits, shares_of(_0=0.75, _6=0.25), BITS)
    assert (held - bits).abs().max().item() < 4 * DOUBT


def test_who_asks_for_no_shares_is_let_be():
    bits = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    wanted = torch.cat([torch.full((1, NUM_CLASSES), torch.nan), shares_of(_1=1.0)])
    held = hold_shares(bits, wanted, BITS)
    assert torch.equal(held[0], bits[0])
    assert not torch.equal(held[1], bits[1])
    assert held.isfinite().all()


def test_samples_of_an_untaught_network_have_the_shares_that_were_asked():
    """Nothing was learned, so only the correction can bring them."""
    torch.manual_seed(0)
    whitening = fit_whitening(np.random.default_rng(0).integers(256, size=(4, 16, 16, 3), dtype=np.uint8))
    model = Denoiser(DenoiserConfig(16, (16, 32), 1, BITS, whitening, "shares")).eval()
    wanted = torch.cat([shares_of(_2=0.5, _4=0.5), shares_of(_6=1.0)])
    request = replace(Conditions.none(2), shares=wanted)
    errors = []
    for hold in (False, True):
        way = replace(SOLVING, hold_shares=hold, steps=12)
        _, maps = sample_pairs(model, "text", [1, 2], way, torch.device("cpu"), None, request)
        errors.append(np.abs(np.array([class_shares(m) for m in maps]) - wanted.numpy()).sum(1).mean())
    assert errors[1] < 0.25 < errors[0]
