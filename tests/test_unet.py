"""The network at full resolution: shapes, what passes through, what is heard."""

import pytest
import torch

from groundsynth.models.unet import Block, Look, UNet

VECTOR = 8


def ask(network, x, vector=None, **more):
    vector = torch.zeros(len(x), VECTOR) if vector is None else vector
    with torch.no_grad():
        return network(x, vector, **more)


@pytest.mark.parametrize(("channels", "side"), [((16,), 5), ((16, 32), 6), ((16, 32, 48), 12)])
def test_the_output_has_the_side_of_the_input(channels, side):
    assert ask(UNet(4, 3, channels, 1, VECTOR), torch.randn(2, 4, side, side)).shape == (2, 3, side, side)


def test_a_constant_passes_a_block_that_adds_nothing():
    """What normalisation inside a block wipes out is still there behind it."""
    block = Block(16, VECTOR)
    torch.nn.init.zeros_(block.add.weight)
    torch.nn.init.zeros_(block.add.bias)
    x = torch.full((1, 16, 4, 4), 3.0)
    assert torch.equal(ask(block, x), x)


def test_the_vector_changes_what_a_block_adds():
    block, x = Block(16, VECTOR), torch.randn(1, 16, 4, 4)
    assert not torch.allclose(ask(block, x), ask(block, x, torch.ones(1, VECTOR)))


def test_only_tokens_that_count_are_heard():
    look = Look(32, 8)
    x, tokens = torch.randn(1, 32, 4, 4), torch.randn(1, 3, 8)
    counted = torch.tensor([[True, True, False]])
    other = tokens.clone()
    other[:, 2] = 9
    with torch.no_grad():
        first, second = look(x, tokens, counted), look(x, other, counted)
        other[:, 0] = 9
        third = look(x, other, counted)
    torch.testing.assert_close(first, second)
    assert not torch.allclose(first, third)


def test_a_far_corner_is_seen():
    """Through the lowest resolution every place sees every other one."""
    torch.manual_seed(0)
    network, x = UNet(1, 1, (16, 32, 32), 1, VECTOR).eval(), torch.zeros(1, 1, 32, 32)
    other = x.clone()
    other[..., 0, 0] = 100
    assert (ask(network, x)[..., -1, -1] - ask(network, other)[..., -1, -1]).abs().max() > 0
