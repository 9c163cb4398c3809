"""What a generator is asked for: what counts, what is dropped, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from groundsynth.errors import GroundsynthError
from groundsynth.models.conditions import (
    TEXT_WIDTH,
    Conditions,
    ConditionTokens,
    ShareReader,
    TokenTable,
    check_conditions,
    drop_conditions,
    reading_loss,
)
from groundsynth.models.sampling import SamplingSettings, sample_pairs
from groundsynth.models.training import TrainingSettings, draw_batch, new_denoiser, train_denoiser

CPU = torch.device("cpu")
SETTINGS = TrainingSettings(
    policy="text", seed=0, steps=4, batch_size=4, learning_rate=1e-3, warmup_steps=2, ema_decay=0.9,
    channels=(16, 32), layers_per_block=1, image_noise=(-0.4, 1.4), mask_noise=(0.3, 1.2),
    log_every=1, checkpoint_seconds=0.0, conditions="both",
)  # fmt: skip
SOLVING = SamplingSettings(steps=3, solver="dpmpp_2m", sigma_range=(0.01, 40.0), batch_size=2)


@pytest.fixture(scope="module")
def chips():
    """Sixteen 16-px chips, each of one class alone, whose colour follows it."""
    maps = np.repeat(np.array([0, 4] * 8, np.uint8), 256).reshape(16, 16, 16)
    noise = np.random.default_rng(0).integers(-20, 20, (16, 16, 16, 3))
    return (np.where(maps[..., None] == 4, 200, 60) + noise).astype(np.uint8), maps


@pytest.fixture(scope="module")
def table():
    """Two texts of three and five tokens; chips of class 0 have the first, of class 4 the second."""
    states = np.random.default_rng(1).normal(size=(2, 5, TEXT_WIDTH)).astype(np.float16)
    index = np.broadcast_to(np.arange(16)[:, None, None] % 2, (16, 8, 3)).copy()
    return TokenTable(states, np.array([3, 5]), index)


def ask_for_shares(shares):
    return replace(Conditions.none(len(shares)), shares=torch.tensor(shares, dtype=torch.float32))


def some(n=4):
    shares = torch.zeros(n, 7)
    shares[:, 0], shares[:, 4] = 0.25, 0.75
    return replace(
        Conditions.none(n), tokens=torch.randn(n, 5, TEXT_WIDTH), lengths=torch.tensor([3] * n), shares=shares
    )


def test_tokens_beyond_a_text_and_texts_not_given_change_nothing():
    torch.manual_seed(0)
    read, asked = ConditionTokens().eval(), some()
    _, counted, summary = read(asked)
    assert counted.sum(1).tolist() == [1 + 3 + 7] * 4
    longer = asked.tokens.clone()
    longer[:, 3:] += 100
    torch.testing.assert_close(read(replace(asked, tokens=longer))[2], summary)
    silent = asked.without(torch.tensor([True] * 4), torch.tensor([False] * 4))
    assert torch.equal(read(silent)[2], read(replace(silent, tokens=longer))[2])
    assert not torch.allclose(read(silent)[2], summary)
    assert read(silent)[1].sum(1).tolist() == [1 + 7] * 4


def test_which_class_has_a_share_reaches_the_summary():
    torch.manual_seed(0)
    read = ConditionTokens().eval()
    one = ask_for_shares(np.array([[1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0, 0]]))
    first, second = read(one)[2]
    assert not torch.allclose(first, second, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "text", "shares"), [("text", 1.0, 0.0), ("shares", 0.0, 1.0), ("both", 0.65, 0.65)]
)
def test_what_is_known_is_shown_as_often_as_stated(kind, text, shares):
    """Of 'both', 35 % see the one alone and 35 % the other: 65 % see each."""
    n = 20_000
    shown = drop_conditions(
        replace(Conditions.none(n), lengths=torch.ones(n, dtype=torch.long), shares=torch.full((n, 7), 1 / 7)),
        kind, torch.tensor([True] * n), torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert (shown.lengths > 0).float().mean().item() == pytest.approx(text, abs=0.015)
    assert (~shown.shares.isnan().any(1)).float().mean().item() == pytest.approx(shares, abs=0.015)


def test_rows_that_may_not_be_asked_are_shown_nothing():
    shown = drop_conditions(some(), "both", torch.tensor([False] * 4), torch.Generator().manual_seed(0))
    assert (shown.lengths == 0).all()
    assert shown.shares.isnan().all()


def test_a_table_gives_each_turned_chip_its_own_words(table):
    rows, turns = torch.tensor([0, 1, 2]), torch.tensor([0, 3, 7])
    states, lengths = table.draw(rows, turns, torch.Generator().manual_seed(0))
    assert lengths.tolist() == [3, 5, 3]
    np.testing.assert_array_equal(states[1].numpy(), table.states[1].astype(np.float32))


def test_shuffled_captions_are_all_those_of_another_chip():
    own = TokenTable(
        np.zeros((40, 1, TEXT_WIDTH), np.float16), np.ones(40, int), np.arange(40)[:, None, None]
    )
    index = own.shuffled(0).index[:, 0, 0]
    assert (index != np.arange(40)).all()
    assert sorted(index) == list(range(40))
    assert own.shuffled(0).digest() != own.digest()


def test_batches_name_the_chips_and_turns_they_hold():
    data = torch.arange(3 * 16.0).reshape(3, 1, 4, 4)
    chips, rows, turns = draw_batch(data, 12, torch.Generator().manual_seed(0))
    for chip, row, code in zip(chips, rows.tolist(), turns.tolist(), strict=True):
        turned = np.rot90(data[row, 0].numpy(), code % 4)
        np.testing.assert_array_equal(chip[0], turned[:, ::-1] if code >= 4 else turned)


def test_training_reads_captions_and_shares_and_other_captions_are_another_training(chips, table, tmp_path):
    model, log, _ = train_denoiser(*chips, SETTINGS, tmp_path, CPU, captions=table)
    assert np.isfinite(log["loss"]).all()
    keys = {SETTINGS.key(*chips, t) for t in (None, table, table.shuffled(0))}
    assert len(keys) == 3
    images, maps = sample_pairs(model, "text", [1, 2, 3], SOLVING, CPU, conditions=some(3))
    again, _ = sample_pairs(model, "text", [3], SOLVING, CPU, conditions=some(3)[2:])
    assert images.shape == (3, 16, 16, 3)
    assert maps.shape == (3, 16, 16)
    assert np.abs(images[2].astype(int) - again[0]).max() <= 2


@pytest.mark.parametrize("hold", [True, False])
def test_an_asked_sample_depends_on_its_seed_and_request_not_on_its_batch(chips, hold):
    model, solving = new_denoiser(*chips, SETTINGS).eval(), replace(SOLVING, hold_shares=hold, guidance=2.0)
    seeds, order, asked = [11, 22, 33, 44], [3, 0, 2], some()
    asked.shares[:2] = torch.nan  # two in words alone
    images, maps = sample_pairs(model, "text", seeds, replace(solving, batch_size=4), CPU, conditions=asked)
    few, few_maps = sample_pairs(
        model, "text", [seeds[k] for k in order], solving, CPU, conditions=asked[torch.tensor(order)]
    )
    off = np.abs(images[order].astype(int) - few)
    assert off.max() <= 2
    assert (off == 0).mean() >= 0.99
    assert (maps[order] == few_maps).mean() >= 0.99


def test_shares_are_obeyed_after_a_short_training(chips, tmp_path):
    """Chips are wholly class 0 or wholly class 4; asked for one, the model draws more of it than of the other."""
    settings = replace(
        SETTINGS,
        steps=300,
        batch_size=8,
        ema_decay=0.99,
        learning_rate=3e-3,
        conditions="shares",
        checkpoint_seconds=1e9,
    )
    model, *_ = train_denoiser(*chips, settings, tmp_path, CPU)
    wanted = np.repeat(np.eye(7)[[0, 4]], 8, axis=0)
    _, maps = sample_pairs(
        model, "text", list(range(16)), replace(SOLVING, steps=8), CPU, conditions=ask_for_shares(wanted)
    )
    obeyed = (maps == np.repeat([0, 4], 8)[:, None, None]).mean((1, 2))
    assert obeyed.mean() > 0.7  # without conditions one half


def test_bfloat16_trains_the_same_network_a_little_differently(chips, table, tmp_path):
    exact, log, _ = train_denoiser(*chips, SETTINGS, tmp_path / "a", CPU, captions=table)
    rough, other, _ = train_denoiser(
        *chips, replace(SETTINGS, precision="bfloat16"), tmp_path / "b", CPU, captions=table
    )
    np.testing.assert_allclose(other["loss"], log["loss"], rtol=0.05)
    assert {p.dtype for p in rough.parameters()} == {torch.float32}
    assert any(not torch.equal(a, b) for a, b in zip(exact.parameters(), rough.parameters(), strict=True))


def test_captions_that_are_missing_are_asked_for(chips, tmp_path):
    with pytest.raises(GroundsynthError, match="need a caption for each of 16 training chips"):
        train_denoiser(*chips, SETTINGS, tmp_path, CPU)


@pytest.mark.parametrize(
    ("shares", "says"),
    [
        ([0.5, 0.6, 0, 0, 0, 0, 0], "sum to 1.1; 7 class shares are numbers from 0 to 1 that sum to 1"),
        ([1.5, -0.5, 0, 0, 0, 0, 0], "numbers from 0 to 1"),
        ([1, 0, 0, 0, 0, 0, np.nan], "numbers from 0 to 1"),
    ],
)
def test_shares_that_are_no_shares_are_refused(shares, says):
    with pytest.raises(GroundsynthError, match=says):
        check_conditions(ask_for_shares(np.array([shares])), 1, "both")


def test_what_a_generator_never_learned_is_refused(chips):
    model = new_denoiser(*chips, replace(SETTINGS, conditions="shares"))
    with pytest.raises(GroundsynthError, match="trained with conditions 'shares' and reads no text"):
        sample_pairs(model, "text", [0] * 4, SOLVING, CPU, conditions=some())
    with pytest.raises(GroundsynthError, match="4 conditions do not fit 2 samples"):
        sample_pairs(model, "text", [0] * 2, SOLVING, CPU, conditions=some())
    with pytest.raises(GroundsynthError, match="system 'text' needs conditions"):
        sample_pairs(model, "text", [0], SOLVING, CPU)
    plain = new_denoiser(*chips, replace(SETTINGS, policy="joint", conditions="none"))
    with pytest.raises(
        GroundsynthError, match="does not exist in this generator; choose one of joint, mask, image"
    ):
        sample_pairs(plain, "text", [0] * 4, SOLVING, CPU, conditions=some())


def test_a_reader_learns_which_text_tells_of_which_shares(table):
    torch.manual_seed(0)
    reader = ShareReader()
    states = torch.from_numpy(table.states).float()
    shares = torch.tensor([[0.75, 0, 0, 0, 0.25, 0, 0], [0, 0, 0.5, 0, 0, 0, 0.5]])
    texts = replace(Conditions.none(2), tokens=states, lengths=torch.tensor([3, 5]), shares=shares)
    optimiser = torch.optim.Adam(reader.parameters(), lr=1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        reading_loss(reader(texts.tokens, texts.lengths), texts).backward()
        optimiser.step()
    wanting = texts.without(torch.tensor([False] * 2), torch.tensor([True] * 2))
    torch.testing.assert_close(reader.fill(wanting).shares, shares, atol=0.05, rtol=0)
    longer = replace(wanting, tokens=torch.cat([states, torch.full_like(states, 9.0)], dim=1))
    torch.testing.assert_close(reader.fill(longer).shares, reader.fill(wanting).shares)


def test_a_reader_leaves_given_shares_and_empty_texts_alone():
    reader, asked = ShareReader(), some()
    assert torch.equal(reader.fill(asked).shares, asked.shares)
    silent = asked.without(torch.tensor([True, False] * 2), torch.tensor([True, True, False, False]))
    filled = reader.fill(silent).shares
    assert filled[0].isnan().all()  # neither text nor shares
    assert filled[1].sum().item() == pytest.approx(1)  # read
    assert torch.equal(filled[2:], asked.shares[2:])


def test_the_loss_of_reading_counts_rows_with_a_text_and_shares():
    asked = some()
    asked = asked.without(
        torch.tensor([True, False, False, False]), torch.tensor([False, True, False, False])
    )
    logits = torch.zeros(4, 7)
    logits[:2] = torch.tensor([9.0, 0, 0, 0, 0, 0, 0])  # rows that do not count
    assert reading_loss(logits, asked).item() == pytest.approx(np.log(7), abs=1e-5)
    assert reading_loss(logits[:2], asked[:2]).item() == 0


@pytest.mark.parametrize("kind", ["text", "shares", "both"])
def test_shares_stand_beside_the_means_for_each_class(chips, kind):
    model = new_denoiser(*chips, replace(SETTINGS, conditions=kind))
    wanted = model._wanted(torch.tensor([[0.25, 0, 0, 0, 0, 0, 0.75], [torch.nan] * 7]))
    assert wanted.shape == (2, 3 + 7 + 1)
    assert wanted[0, 3:].tolist() == pytest.approx([0.5, *[-0.5] * 5, 2 * 0.75**0.5 - 0.5, 1])
    assert not wanted[1].any()
