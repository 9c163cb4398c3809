"""The contrastive model: pairs, targets, training, measures, files, published weights."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from groundsynth.artifacts import check_table, read_json, write_json
from groundsynth.captions.layout import describe_layout
from groundsynth.captions.map_facts import count_maps
from groundsynth.checks import contrastive as measures
from groundsynth.checks.claims import FALSE, check_captions
from groundsynth.checks.contrastive_scorer import open_scorer
from groundsynth.checks.pairs import join_pairs, layout_writer, make_pairs, shares_shown, writer_like
from groundsynth.errors import GroundsynthError
from groundsynth.models import contrastive
from groundsynth.models.contrastive import Fitting, Sizes
from groundsynth.models.word_states import number_words, word_vectors

SMALL = Sizes(width=8, channels=8, words=16, space=16)
COLOURS = np.array([(20, 90, 20), (120, 120, 60), (90, 160, 60), (200, 180, 90), (190, 60, 60), (220, 210, 200),
                    (20, 30, 120)], np.uint8)  # fmt: skip


def halves(n, seed=0):
    """Return n images and maps, each half one class, half another; the colour gives the class away."""
    random = np.random.default_rng(seed)
    maps = np.empty((n, 32, 32), np.uint8)
    for m in maps:
        first, second = random.choice(7, 2, replace=False)
        m[:16], m[16:] = first, second
        m[:] = contrastive.turn(m, random.integers(8))
    return COLOURS[maps], maps


def plain(n, seed=0):
    """Return n images and maps of one class each: forest, houses or water."""
    maps = np.random.default_rng(seed).choice([0, 4, 6], n).astype(np.uint8)[:, None, None]
    maps = np.tile(maps, (1, 32, 32))
    return COLOURS[maps], maps


WORDS = ("forest", "scrub", "grass", "crops", "houses", "sand", "water")


class OneWord:
    """A made-up writer: the commonest class, in one word."""

    def write(self, images, maps, seeds):
        return [WORDS[np.bincount(m.ravel(), minlength=7).argmax()] for m in maps]


class KnowsColours:
    """A made-up model that has nothing to learn: the colour of a chip of one class, and the word for it."""

    def encode_images(self, images):
        colours = images.reshape(len(images), -1, 3)[:, :1].astype(int)
        return np.eye(7, dtype=np.float32)[abs(colours - COLOURS.astype(int)).sum(2).argmin(1)]

    def encode_words(self, words):
        known = number_words(WORDS)[:, 0]
        return (words[:, :1] == known).astype(np.float32)

    def encode_captions(self, captions):
        return self.encode_words(number_words(captions))


@pytest.fixture(scope="module")
def fitted():
    pairs = make_pairs(*halves(48), layout_writer(), ("test",), wordings=1)
    return contrastive.train_contrastive(
        pairs, Fitting(steps=60, batch_size=32, learning_rate=1e-2), ("t", 0), sizes=SMALL
    )


# --- pairs -----------------------------------------------------------------------------------


def test_eight_turns_are_eight_different_views():
    square = np.arange(9).reshape(3, 3)
    views = {contrastive.turn(square, number).tobytes() for number in range(8)}
    assert len(views) == 8
    np.testing.assert_array_equal(contrastive.turn(square, 0), square)


def test_captions_are_true_of_the_turned_map():
    _, maps = halves(3, seed=5)
    writer = layout_writer()
    seen = []

    class Watched:
        def write(self, images, turned, seeds):
            texts = writer.write(images, turned, seeds)
            found = check_captions(texts, count_maps(np.stack(list(turned))))
            seen.extend(v for claims in found for _, v in claims)
            return texts

    pairs = make_pairs(COLOURS[maps], maps, Watched(), ("x",), wordings=2)
    assert pairs.words.shape[:3] == (3, 8, 2)
    assert len(seen) > 100
    assert FALSE not in seen
    assert (pairs.words[:, :, 0] != pairs.words[:, :, 1]).any()  # worded differently


def test_what_is_shown_by_hand():
    labels = np.full((1, 8, 8), 6, np.uint8)
    labels[0, :4] = 0  # forest in the north, water in the south
    shown = shares_shown(labels)[0]
    np.testing.assert_allclose(shown[0], [0.5, 0, 0, 0, 0, 0, 0.5])
    np.testing.assert_allclose(shown[1], [1, 0, 0, 0, 0, 0, 0])  # north
    np.testing.assert_allclose(shown[5], [0, 0, 0, 0, 0, 0, 1])  # south
    np.testing.assert_allclose(shares_shown(np.full((1, 8, 8), 255, np.uint8)), 0)


def test_places_of_images_are_those_of_captions():
    weights = contrastive.place_weights().numpy()
    random = np.random.default_rng(0)
    maps = random.integers(7, size=(6, 8, 8)).astype(np.uint8)
    onehot = (maps.reshape(len(maps), -1, 1) == np.arange(7)).astype(np.float32)
    np.testing.assert_allclose(weights @ onehot, shares_shown(maps), atol=1e-5)


def test_joined_pairs_keep_every_word():
    first = make_pairs(*halves(2), layout_writer(), ("a",), 1)
    second = make_pairs(*halves(3, 1), layout_writer("rich"), ("b",), 1)
    both = join_pairs([first, second])
    assert both.images.shape[0] == 5
    assert (both.words != 0).sum() == (first.words != 0).sum() + (second.words != 0).sum()


# --- targets and training --------------------------------------------------------------------


def test_unlikeness_by_hand():
    shown = torch.from_numpy(shares_shown(np.stack([np.full((8, 8), k, np.uint8) for k in (0, 0, 6)])))
    np.testing.assert_allclose(contrastive.unlikeness(shown[0], shown[1]), 0, atol=1e-6)
    np.testing.assert_allclose(contrastive.unlikeness(shown[0], shown[2]), 2, atol=1e-6)
    targets = contrastive.soft_targets(shown, 0.2)
    np.testing.assert_allclose(targets[0, :2], 0.5, atol=1e-4)  # the same sight twice shares the target
    np.testing.assert_array_equal(contrastive.soft_targets(shown, 0), torch.eye(3))


def test_the_loss_is_zero_only_for_the_target():
    targets = torch.tensor([[0.7, 0.3], [0.3, 0.7]])
    assert contrastive.contrastive_loss(targets.log(), targets).item() == pytest.approx(0, abs=1e-6)
    assert contrastive.contrastive_loss(targets.flip(1).log(), targets).item() == pytest.approx(
        0.4 * np.log(7 / 3), abs=1e-5
    )


def test_learns_what_colours_mean(fitted):
    model, log = fitted
    assert log[-1]["loss"] < 0.7 * log[0]["loss"]
    images, maps = halves(40, seed=9)
    captions = [describe_layout(m, i) for i, m in enumerate(maps)]
    own = measures.pair_scores(model, images, captions)
    wrong = measures.wrong_captions(captions, maps, layout_writer(), "t")
    for arm in ("shuffled_caption", "corrupted_caption"):
        assert (own > measures.pair_scores(model, images, wrong[arm])).mean() > 0.7, arm


def test_the_same_names_give_the_same_model_and_a_killed_training_goes_on(tmp_path):
    pairs = make_pairs(*halves(8), layout_writer(), ("r",), 1)
    plan = Fitting(steps=6, batch_size=4, checkpoint_seconds=0)
    whole, log = contrastive.train_contrastive(pairs, plan, ("r",), sizes=SMALL)

    class Killed(Exception):
        pass

    def stop(steps):
        for step in steps:
            if step == 4:
                raise Killed
            yield step

    path = tmp_path / "c.pt"
    with pytest.raises(Killed):
        contrastive.train_contrastive(pairs, plan, ("r",), checkpoint=path, progress=stop, sizes=SMALL)
    assert path.is_file()
    rest, resumed = contrastive.train_contrastive(pairs, plan, ("r",), checkpoint=path, sizes=SMALL)
    assert not path.exists()
    assert [row["step"] for row in resumed] == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose([r["loss"] for r in resumed], [r["loss"] for r in log], rtol=1e-5)
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(rest.state_dict()[name], tensor, msg=name)


def test_one_pair_is_refused():
    pairs = make_pairs(*halves(1), layout_writer(), ("r",), 1)
    with pytest.raises(GroundsynthError, match="two or more"):
        contrastive.train_contrastive(pairs, Fitting(steps=1), ("r",))


def test_words_behind_a_caption_change_nothing(fitted):
    model, _ = fitted
    alone = model.encode_captions(["Forest in the north."])
    among = model.encode_captions(
        ["Forest in the north.", "Water and a little more water covers all of the south."]
    )
    np.testing.assert_allclose(alone[0], among[0], atol=1e-5)
    assert word_vectors()[0].abs().sum() == 0
    assert number_words(["", "water"])[0].sum() == 0
    assert np.isfinite(model.encode_captions([""])).all()


# --- measures --------------------------------------------------------------------------------


def test_ranks_by_hand():
    similarity = np.array([[0.9, 0.1, 0.2], [0.5, 0.5, 0.5], [0.3, 0.8, 0.1]])
    np.testing.assert_array_equal(measures.retrieval_ranks(similarity), [0, 1, 2])


def test_retrieval_rows_hold_chance_and_intervals():
    rows = pd.DataFrame(
        measures.retrieval_rows("s", np.eye(20), np.repeat(np.arange(5), 4), "real", "trained", "split=test")
    )
    right = rows[rows["arm"] == "trained"]
    assert (right["value"] == 1).all()
    chance = rows[(rows["arm"] == "chance") & (rows["metric"] == "retrieval_recall_at_10")]
    assert set(chance["value"]) == {0.5}
    assert set(right["regime"]) == {"split=test;image_to_text", "split=test;text_to_image"}


def test_intervals_resample_blocks():
    own, other = np.repeat([1.0, 0.0], 10), np.full(20, 0.5)
    value, low, high = measures.block_auc(own, other, np.repeat([0, 1], 10), "x")
    assert value == 0.5
    assert (low, high) == (0.0, 1.0)  # two blocks: all, half or none


def test_no_block_gives_more_windows_than_asked():
    blocks = np.repeat([3, 5, 9], [100, 2, 7])
    chosen = blocks[measures.spread(blocks, 4, "x")]
    assert np.unique(chosen, return_counts=True)[1].tolist() == [4, 2, 4]


def test_balanced_accuracy_by_hand():
    assert measures.balanced_accuracy(np.array([0, 0, 0, 6]), np.array([0, 0, 6, 6])) == pytest.approx(0.75)


class KnowsDominant:
    """A made-up scorer: images say their class by their first pixel, captions by the noun of their first class."""

    def encode_images(self, images):
        return np.eye(7, dtype=np.float32)[[int(i[0, 0, 0]) for i in images]]

    def encode_captions(self, captions):
        from groundsynth.captions.parsing import parse_claims

        rows = [next((c.classes[0] for c in parse_claims(t) if c.classes), 0) for t in captions]
        return np.eye(7, dtype=np.float32)[rows]


def test_prompts_name_their_class():
    images = np.zeros((7, 8, 8, 3), np.uint8) + np.arange(7, dtype=np.uint8)[:, None, None, None]
    np.testing.assert_array_equal(measures.name_dominant(KnowsDominant(), images), range(7))


def test_exchanged_classes_make_false_captions():
    _, maps = halves(12)
    captions = [describe_layout(m, i) for i, m in enumerate(maps)]
    wrong = measures.wrong_captions(captions, maps, layout_writer(), 0)
    assert set(wrong) == {"shuffled_caption", "matched_swap", "corrupted_caption", "turned_caption"}
    facts = count_maps(maps)
    for arm in ("corrupted_caption", "turned_caption"):
        for claims in check_captions(wrong[arm], facts):
            assert FALSE in [verdict for _, verdict in claims], arm


def test_calibration_orders_and_never_turns_the_score_round():
    own, other = np.array([0.6, 0.7, 0.8, 0.9]), np.array([0.1, 0.2, 0.3, 0.65])
    slope, offset = measures.fit_calibration(own, other)
    assert slope * 0.9 + offset > 0 > slope * 0.1 + offset
    assert measures.fit_calibration(other, own) == (0.0, 0.0)


def test_scores_of_chips_without_caption_are_left_out():
    chips = pd.DataFrame(
        {
            "chip_id": ["a", "b", "c"],
            "system": "joint",
            "image": [np.full((8, 8, 3), k, np.uint8) for k in (0, 6, 2)],
        }
    )
    captions = pd.Series({"a": "Only forest.", "b": "Only forest."})
    table = check_table(
        measures.contrastive_scores(KnowsDominant(), chips, captions, (4.0, -2.0)), "contrastive", "x"
    )
    assert table["chip_id"].tolist() == ["a", "b"]
    assert table["similarity"].tolist() == [1.0, 0.0]
    assert table["match"].tolist() == pytest.approx([1 / (1 + np.exp(-2)), 1 / (1 + np.exp(2))])


def test_without_a_model_there_are_no_scores():
    chips = pd.DataFrame({"chip_id": ["a"], "system": "joint", "image": [np.zeros((8, 8, 3), np.uint8)]})
    assert open_scorer(None, None, None, 1, 0, None) is None
    assert measures.contrastive_rows("s", None, {"test": None}, None) == []
    table = measures.contrastive_scores(None, chips, pd.Series({"a": "x"}), (1.0, 0.0))
    assert len(check_table(table, "contrastive", "x")) == 0
    assert len(measures.control_table(None, {"test": None}, None)) == 0


@pytest.mark.parametrize("layout_style", ["plain", "rich"])
@pytest.mark.parametrize("style", ["words", "numbers"])
def test_the_writer_is_known_by_its_captions(layout_style, style):
    writer = layout_writer(layout_style, style)
    table = pd.DataFrame({"writer": ["layout"], "prompt": [writer.prompt]})
    found = writer_like(table)
    assert (type(found), found.style) == (type(writer), style)
    assert writer_like(table.assign(writer="vlm")).style == "words"


def test_a_finished_training_is_not_repeated(tmp_path, monkeypatch):
    pairs = make_pairs(*halves(6), layout_writer(), ("o",), 1)
    once = (pairs, Fitting(steps=2, batch_size=4), ("o",), tmp_path)
    first = contrastive.train_once(*once, sizes=SMALL)
    monkeypatch.setattr(contrastive, "train_contrastive", None)
    again = contrastive.train_once(*once, sizes=SMALL)
    torch.testing.assert_close(again.state_dict(), first.state_dict())
    with pytest.raises(TypeError):  # another seed is another model
        contrastive.train_once(*once[:2], ("p",), tmp_path, sizes=SMALL)


# --- files -----------------------------------------------------------------------------------


def test_a_saved_model_says_the_same(fitted, tmp_path):
    model, _ = fitted
    contrastive.save_contrastive(model, tmp_path / "m", {"steps": 60})
    again = open_scorer(str(tmp_path / "m"), tmp_path, None, 1, 0, tmp_path)
    images, _ = halves(4)
    np.testing.assert_array_equal(again.encode_images(images), model.encode_images(images))
    assert read_json(tmp_path / "m" / "model.json", "")["about"] == {"steps": 60}
    (tmp_path / "m" / "model.safetensors").write_bytes(b"x")
    with pytest.raises(GroundsynthError, match="not the weights of a contrastive model"):
        contrastive.load_contrastive(tmp_path / "m")
    write_json(tmp_path / "m" / "model.json", {"kind": "segmenter"})
    with pytest.raises(GroundsynthError, match="another kind of model"):
        open_scorer(str(tmp_path / "m"), tmp_path, None, 1, 0, tmp_path)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_published_weights_by_folder(kind, tmp_path):
    from tiny_contrastive import save_tiny

    save_tiny(kind, tmp_path)
    scorer = open_scorer(str(tmp_path), tmp_path, None, 1, 0, tmp_path)
    images, maps = halves(3)
    captions = [describe_layout(m, 0) * 3 for m in maps]  # longer than it reads
    scores = measures.pair_scores(scorer, images, captions)
    assert scores.shape == (3,)
    assert (abs(scores) <= 1 + 1e-5).all()
    np.testing.assert_allclose(np.linalg.norm(scorer.encode_images(images), axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(
        scorer.encode_captions(captions[:1])[0], scorer.encode_captions(captions)[0], atol=1e-4
    )
    (tmp_path / "preprocessor_config.json").unlink(missing_ok=True)
    (tmp_path / "processor_config.json").unlink(missing_ok=True)
    with pytest.raises(GroundsynthError, match=r"no (usable )?processor"):
        open_scorer(str(tmp_path), tmp_path, None, 1, 0, tmp_path)


def test_folders_of_other_things_are_refused(tmp_path):
    from transformers import BertConfig, BertModel

    with pytest.raises(GroundsynthError, match="no such folder"):
        open_scorer(str(tmp_path / "none"), tmp_path, None, 1, 0, tmp_path)
    BertModel(
        BertConfig(
            hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=9
        )
    ).save_pretrained(tmp_path)
    with pytest.raises(GroundsynthError, match="holds a BertModel"):
        open_scorer(str(tmp_path), tmp_path, None, 1, 0, tmp_path)
