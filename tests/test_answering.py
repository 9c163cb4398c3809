"""A captioner that answers: it learns two words, and its doubt is a number."""

import numpy as np
import pytest
import torch
from test_authenticity import grainy_chips, smooth_chips

from groundsynth.errors import GroundsynthError
from groundsynth.models.answering import answer_scores, tune_to_answer
from groundsynth.models.captioner import CaptionerShape, build_captioner, encode_captions, train_tokenizer
from groundsynth.models.segmenter import to_tensor


def captioner():
    torch.manual_seed(0)
    words = train_tokenizer(["Mostly forest with water in the north."] * 4)
    return build_captioner(CaptionerShape(grid=4, width=32, layers=1), words, 24)


@pytest.mark.slow
def test_a_tuned_captioner_answers():
    model = captioner()
    tune_to_answer(model, {"real": smooth_chips(24, 0), "synthetic": grainy_chips(24, 1)}, 70, 0, rate=3e-3)
    fake, real = answer_scores(model, grainy_chips(8, 2)), answer_scores(model, smooth_chips(8, 3))
    assert fake.shape == (8,)
    assert fake.min() > real.max()
    assert model.describe(np.concatenate([grainy_chips(1, 2), smooth_chips(1, 3)])) == ["synthetic", "real"]


def test_a_score_is_the_difference_of_two_likelihoods():
    """Chips are scored one by one as in a batch; each answer's likelihood is the loss that training reports."""
    model = captioner()
    model.network.eval()
    chips = grainy_chips(2, 2)
    both = answer_scores(model, chips)
    np.testing.assert_allclose(both, [answer_scores(model, chips[k : k + 1])[0] for k in range(2)], atol=1e-4)
    losses = []
    for answer in ("synthetic", "real"):
        labels = encode_captions(model.tokenizer, [answer])
        with torch.inference_mode():
            loss = model.network(pixel_values=to_tensor(chips[:1]), labels=labels).loss
        losses.append(-loss.item() * labels.shape[1])
    assert both[0] == pytest.approx(losses[0] - losses[1], abs=1e-3)


def test_it_needs_chips_of_both_kinds():
    chips = smooth_chips(2, 0)
    for groups in ({"real": chips}, {"real": chips, "synthetic": chips[:0]}, {}):
        with pytest.raises(GroundsynthError, match="learns to answer real or synthetic"):
            tune_to_answer(captioner(), groups, 1, 0)
