"""The labeller as a whole: who may read which chip, what it says of a pixel, and how it is kept."""

import numpy as np
import pandas as pd
import pytest
import torch
from made_up_labeller import Says, pictures

from groundsynth.benchmark import labelling
from groundsynth.errors import GroundsynthError
from groundsynth.models.labeller import (
    NOWHERE,
    Labeller,
    given_losses,
    save_labeller,
    score_pixels,
    split_folds,
    train_blind,
)
from groundsynth.models.segmenter import Training, load_segmenter

ENCODER = "tu-mobilenetv3_small_100"
TINY = Training("Unet", ENCODER, steps=1, batch_size=2, learning_rate=1e-3, validate_every=1)


def test_scores_of_a_pixel_by_hand():
    """Logits ln 3 and 0: probabilities 3/4 and 1/4."""
    given = np.zeros((2, 4, 4), np.uint8)
    given[1], given[0, 0, 0] = 1, 255
    scores = score_pixels(Labeller((Says(np.log(3), 0.0),)), pictures(), given)
    assert (scores.label == 0).all()
    np.testing.assert_allclose(scores.confidence, 0.75, rtol=1e-5)
    assert np.isnan(scores.loss[0, 0, 0])
    assert scores.loss[0, 1, 1] == pytest.approx(-np.log(0.75), rel=1e-5)
    assert scores.loss[1, 1, 1] == pytest.approx(np.log(4), rel=1e-5)
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25)) / np.log(7)
    np.testing.assert_allclose(scores.entropy, entropy, rtol=1e-4)
    assert not scores.disagreement.any()


def test_temperature_changes_how_sure_and_not_what():
    """At temperature 2, logits ln 9 and 0 become ln 3 and 0."""
    labeller = Labeller((Says(np.log(9), 0.0),))
    scores = score_pixels(labeller.at(2.0), pictures(), np.zeros((2, 4, 4), np.uint8))
    np.testing.assert_allclose(scores.confidence, 0.75, rtol=1e-5)
    assert labeller.temperature == 1.0


def test_chips_are_read_by_those_that_never_saw_their_block():
    """Labeller 0 says class 0 and is blind to block 5; labeller 1 says class 1 more loudly."""
    two = Labeller((Says(np.log(3), 0.0), Says(0.0, np.log(9))), {5: 0, 6: 1}, batch_size=1)
    given = np.zeros((4, 4, 4), np.uint8)
    scores = score_pixels(two, pictures(4), given, np.array([5, 6, NOWHERE, 9]))
    assert scores.label[:, 0, 0].tolist() == [0, 1, 1, 1]
    # alone 3/4 and 9/10; together (1/4 + 9/10) / 2
    np.testing.assert_allclose(scores.confidence[:, 0, 0], [0.75, 0.9, 0.575, 0.575], rtol=1e-4)
    np.testing.assert_allclose(scores.disagreement[:, 0, 0], 0.5)


def test_losses_of_several_maps_are_those_of_each():
    labeller = Labeller((Says(1.0, 0.5, 0.2),), temperature=1.7, batch_size=1)
    givens = np.random.default_rng(0).choice([0, 1, 2, 255], (3, 2, 4, 4)).astype(np.uint8)
    losses = given_losses(labeller, pictures(), givens)
    for loss, given in zip(losses, givens, strict=True):
        np.testing.assert_array_equal(loss, score_pixels(labeller, pictures(), given).loss)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros((1, 4, 4), np.uint8), "each image needs one map"),
        (np.full((2, 4, 4), 9, np.uint8), "class code 9 is not in the legend"),
    ],
)
def test_what_cannot_be_scored_is_told(given, words):
    with pytest.raises(GroundsynthError, match=words):
        score_pixels(Labeller((Says(0.0),)), pictures(), given)


def test_logits_that_are_no_numbers_are_told():
    with pytest.raises(GroundsynthError, match="output is not finite; its weights are damaged"):
        score_pixels(Labeller((Says(float("nan")),)), pictures(), np.zeros((2, 4, 4), np.uint8))


def test_folds_hold_every_block_once_and_are_alike_in_size():
    blocks = np.repeat([3, 7, 8, 9, 12], [10, 6, 4, 5, 5])
    folds = split_folds(blocks, 3, "a")
    assert sorted(folds) == [3, 7, 8, 9, 12]
    sizes = pd.Series(blocks).map(folds).value_counts()
    assert sorted(sizes) == [10, 10, 10]
    assert folds == split_folds(blocks, 3, "a")
    with pytest.raises(GroundsynthError, match=r"kfold = 6, but the training split has 5 blocks"):
        split_folds(blocks, 6, "a")


def test_no_labeller_trains_on_a_block_it_labels(monkeypatch, tmp_path):
    """Chips carry their block in every pixel, so the pools show what each labeller saw."""
    from groundsynth.models import labeller as module

    blocks = np.repeat([0, 1, 2, 3], 2)
    images = np.broadcast_to(blocks[:, None, None, None], (8, 32, 32, 3)).astype(np.uint8)
    masks, seen = np.zeros((8, 32, 32), np.uint8), []
    real_training = module.train_segmenter

    def watched(pools, *rest):
        seen.append(set(np.unique(pools[0].images)))
        return real_training(pools, *rest)

    monkeypatch.setattr(module, "train_segmenter", watched)
    made = train_blind(
        images, masks, blocks, 2, images, lambda labels: 0.5, TINY, ("t",), torch.device("cpu")
    )
    assert len(made.models) == 2
    for block, reader in made.blind.items():
        assert block not in seen[reader]
    assert seen[0] | seen[1] == {0, 1, 2, 3}
    save_labeller(made, tmp_path, TINY)
    again = Labeller(tuple(load_segmenter(tmp_path / str(k)) for k in range(2)), made.blind)
    first, second = (score_pixels(x, images, masks, blocks) for x in (made, again))
    np.testing.assert_array_equal(first.confidence, second.confidence)


# --- tables of chips -------------------------------------------------------------------------


def chip_tables() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """All labelled chips, the real ones, and the synthetic ones."""
    real = pd.DataFrame(
        {"chip_id": ["r0", "r1", "r2"], "split": ["train", "val", "hidden"], "block": [4, 5, 6],
         "image": list(pictures(3)), "mask": list(np.full((3, 4, 4), 2, np.uint8))}
    )  # fmt: skip
    synthetic = pd.DataFrame(
        {"chip_id": ["m0", "i0"], "system": ["mask", "image"], "condition": ["r0", ""],
         "image": list(pictures(2)), "mask": [np.full((4, 4), 3, np.uint8), np.full((4, 4), 255, np.uint8)]}
    )  # fmt: skip
    return labelling.all_chips(real[real["split"] != "train"], synthetic), real, synthetic


def test_a_chip_shows_the_ground_it_was_made_from():
    chips, real, synthetic = chip_tables()
    assert chips["chip_id"].tolist() == ["r1", "r2", "m0", "i0"]
    train = real[real["split"] == "train"]
    assert labelling.origin_blocks(chips, train, synthetic).tolist() == [NOWHERE, NOWHERE, 4, NOWHERE]


def test_hidden_references_are_replaced_before_anything_trains_on_them():
    chips, real, _ = chip_tables()
    labels = labelling.label_with(Labeller((Says(0.0, 5.0),)), chips, np.full(4, NOWHERE), "probability")
    given, ground = labelling.trainable(chips, labels, real, np.array([1, 2, 3, 4]))
    assert given["system"].tolist() == ["self_training", "mask", "image"]
    assert [int(mask.max()) for mask in given["mask"]] == [1, 3, 1]
    assert ground.tolist() == [2, 3, 4]


@pytest.mark.parametrize(
    ("trust", "value"),
    [("probability", 0.8), ("calibrated", 2 / 3), ("entropy", None), ("disagreement", 1.0)],
)
def test_trust_is_what_the_study_asks_for(trust, value):
    chips, _, _ = chip_tables()
    labeller = Labeller((Says(np.log(4), 0.0),), temperature=2.0)
    if value is None:
        value = 1 + (np.log(2 / 3) * 2 / 3 + np.log(1 / 3) / 3) / np.log(7)
    labels = labelling.label_with(labeller, chips, np.full(4, NOWHERE), trust)
    assert {int(trust[0, 0]) for trust in labels["trust"]} == {round(255 * value)}
