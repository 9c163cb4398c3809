"""The image-only captioner: its words, its turns, its training, and what it writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from random_maps import random_map

from groundsynth.captions.captioner import CaptionerWriter
from groundsynth.captions.layout import describe_layout
from groundsynth.captions.unwritten import Unwritten
from groundsynth.captions.writers import WriterSettings, caption_chips, make_writer
from groundsynth.checks.claims import parse_claims
from groundsynth.errors import GroundsynthError
from groundsynth.models.captioner import (
    Captioner,
    CaptionerShape,
    build_captioner,
    encode_captions,
    train_tokenizer,
)
from groundsynth.models.captioner_training import (
    CaptionerTraining,
    all_turns,
    draw_captioned,
    make_words,
    train_captioner,
    turn,
)
from groundsynth.models.segmenter import build_segmenter, make_pool

TINY = CaptionerShape(grid=4, width=64, layers=1)
CPU = torch.device("cpu")


def one_class_chips(n: int, *names: object):
    """Return n noisy chips of 32 px, bright forest or dark water throughout, with their maps."""
    random = np.random.default_rng([len(names), n])
    kinds = np.arange(n) % 2
    level = np.where(kinds == 0, 170, 60)[:, None, None, None]
    images = (level + random.normal(0, 15, (n, 32, 32, 3))).clip(0, 255).astype(np.uint8)
    masks = np.broadcast_to(np.where(kinds == 0, 0, 6)[:, None, None], (n, 32, 32)).astype(np.uint8)
    return images, masks


def short(labels: np.ndarray, seed: int) -> str:
    """Return a caption of few words: the test's own grammar."""
    first = np.bincount(labels.ravel()).argmax()
    return ("The scene is mostly forest.", "", "", "", "", "", "The scene is mostly water.")[first]


def settings(**changes: object) -> CaptionerTraining:
    values = {"steps": 30, "batch_size": 4, "learning_rate": 3e-3, "validate_every": 10, "wordings": 1}
    return CaptionerTraining(**values | {"shape": TINY} | changes)


def share_right(captions: list[str | None]) -> float:
    truth = ["forest" if i % 2 == 0 else "water" for i in range(len(captions))]
    return float(np.mean([name in (text or "") for name, text in zip(truth, captions, strict=True)]))


@pytest.fixture(scope="module")
def trained() -> tuple[Captioner, pd.DataFrame]:
    images, masks = one_class_chips(16)
    seen = one_class_chips(8, "val")[0]
    return train_captioner(
        [make_pool("real", images, masks)], short, seen, share_right, settings(), ("test",), CPU
    )


def test_it_learns_to_look_and_not_only_to_write(trained):
    captioner, history = trained
    images, _ = one_class_chips(12, "held", "out")
    captions = captioner.describe(images)
    assert share_right(captions) == 1
    swapped = captioner.describe(images[[i ^ 1 for i in range(12)]])
    assert share_right(swapped) == 0, "shown the other chip, it says what the other one shows"
    assert history["step"].tolist() == [10, 20, 30]
    assert history["val_score"].max() == 1


def test_a_saved_captioner_says_the_same(trained, tmp_path):
    captioner, _ = trained
    images, _ = one_class_chips(6, "more")
    captioner.save_pretrained(tmp_path / "kept")
    again = Captioner.from_pretrained(tmp_path / "kept")
    assert again.describe(images) == captioner.describe(images)
    assert again.version == captioner.version
    assert again.longest == captioner.longest


def test_a_folder_that_holds_no_captioner_is_told(tmp_path):
    with pytest.raises(GroundsynthError, match=r"not a captioner .*save_pretrained"):
        Captioner.from_pretrained(tmp_path)


def test_drawn_words_hang_on_the_seed_and_not_on_the_batch(trained):
    captioner, _ = trained
    images = np.repeat(one_class_chips(2)[0][:1], 6, 0)
    seeds = [5, 6, 7, 8, 9, 5]
    whole = captioner.describe(images, temperature=6.0, seeds=seeds)
    assert whole[0] == whole[5]
    assert len(set(whole[:5])) > 1
    assert captioner.describe(images, temperature=6.0, seeds=seeds, batch_size=2) == whole


def test_beams_find_no_less_likely_captions(trained):
    captioner, _ = trained
    images, _ = one_class_chips(4, "beam")
    assert share_right(captioner.describe(images, beams=3)) == 1


# --- words and turns -------------------------------------------------------------------------


def test_captions_come_back_to_the_letter_and_a_word_is_a_token():
    captions = [
        describe_layout(random_map(np.random.default_rng(i)), i, s)
        for i in range(150)
        for s in ("words", "numbers")
    ]
    tokenizer = train_tokenizer(captions)
    for text in [*captions[:60], "Élan: 37.5 % of naïve lagoons — 湖."]:
        back = tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True)
        assert back.strip() == text
    assert len(tokenizer(" forest forest")["input_ids"]) == 2
    assert len(tokenizer) < 1200


def test_encoded_captions_end_and_what_follows_is_not_counted():
    tokenizer = train_tokenizer(["one two", "one"] * 20)
    ids = encode_captions(tokenizer, ["one two", "one"])
    assert ids.shape == (2, 3)
    assert ids[0, 2] == ids[1, 1] == tokenizer.eos_token_id
    assert ids[1, 2] == -100


def test_eight_turns_are_eight_and_the_first_is_the_chip_itself():
    chip = np.arange(16).reshape(4, 4)
    turned = all_turns([chip])
    assert len({array.tobytes() for array in turned}) == 8
    assert (turned[0] == chip).all()
    assert all(sorted(array.ravel()) == list(range(16)) for array in turned)


def test_a_turned_chip_is_described_as_it_now_lies():
    labels = np.zeros((32, 32), np.uint8)
    labels[:8] = 6  # water in the north; a quarter turn against the clock brings it to the west
    for number, place in ((0, "north"), (1, "west"), (2, "south"), (3, "east")):
        claims = parse_claims(describe_layout(turn(labels, number), 3))
        assert {c.where for c in claims if c.kind == "position" and c.classes == (6,)} == {place}


def test_a_batch_hangs_on_its_names_alone_and_describes_what_it_shows():
    images, masks = one_class_chips(6)
    pool = make_pool("real", images, masks)
    first = draw_captioned([pool], short, settings(wordings=2), "a", 1)
    same = draw_captioned([pool], short, settings(wordings=2), "a", 1)
    other = draw_captioned([pool], short, settings(wordings=2), "a", 2)
    assert (first[0] == same[0]).all()
    assert first[1] == same[1]
    assert (first[0] != other[0]).any()
    assert len(first[1]) == 2 * len(first[0])
    for image, text in zip(first[0], first[1][::2], strict=True):
        assert ("forest" in text) == (image.mean() > 110)


# --- training --------------------------------------------------------------------------------


class Stop(Exception):
    pass


def test_a_killed_training_goes_on_as_if_nothing_had_happened(tmp_path):
    images, masks = one_class_chips(8)
    pool, seen = make_pool("real", images, masks), one_class_chips(4, "val")[0]
    plan = settings(steps=4, validate_every=1)

    def until_third(steps):
        for step in steps:
            if step == 3:
                raise Stop
            yield step

    def run(checkpoint: Path | None, progress=iter):
        how = (plan, ("resume",), CPU, None, checkpoint, 0.0, progress)
        return train_captioner([pool], short, seen, share_right, *how)

    whole, history = run(None)
    with pytest.raises(Stop):
        run(tmp_path / "checkpoint", until_third)
    resumed, again = run(tmp_path / "checkpoint")
    assert again["step"].tolist() == [1, 2, 3, 4]
    assert np.allclose(again["loss"], history["loss"], atol=1e-4)
    assert resumed.describe(seen) == whole.describe(seen)


def test_weights_of_the_labeller_are_taken_over_and_stay():
    labeller = build_segmenter("Unet", "resnet18")
    for parameter in labeller.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    images, masks = one_class_chips(4)
    shape = CaptionerShape(reads_map=True, grid=4, width=32, layers=1)
    captioner, _ = train_captioner(
        [make_pool("real", images, masks)], short, images, share_right,
        settings(steps=2, validate_every=2, shape=shape), ("start",), CPU, labeller,
    )  # fmt: skip
    kept, given = captioner.network.encoder.segmenter.state_dict(), labeller.state_dict()
    assert kept.keys() == given.keys()
    assert all(torch.equal(kept[name], given[name]) for name in given)


def test_a_labeller_of_another_shape_is_refused():
    words = make_words([make_pool("real", *one_class_chips(4))], short)
    with pytest.raises(GroundsynthError, match="another architecture or encoder"):
        build_captioner(TINY, *words, build_segmenter("Unet", "resnet34"))
    with pytest.raises(GroundsynthError, match="width = 100 is no multiple of 32"):
        build_captioner(CaptionerShape(width=100), *words)


# --- the writer ------------------------------------------------------------------------------


class Counting:
    """A describer that says how bright a chip is and counts what it was asked."""

    version, longest = "v1", 9

    def __init__(self) -> None:
        self.asked = 0

    def describe(self, images, beams, temperature, seeds):
        self.asked += len(images)
        return [f"level {int(image.mean())}" if image.mean() < 200 else None for image in images]


def test_the_writer_keeps_what_it_wrote_and_says_what_it_could_not(tmp_path):
    model, levels = Counting(), [10, 20, 10, 250]
    images = [np.full((8, 8, 3), level, np.uint8) for level in levels]
    images[1] = np.full((16, 16, 3), 20, np.uint8)  # another size
    chips = pd.DataFrame(
        {
            "chip_id": list("abcde"),
            "system": "real",
            "image": [*images, b"no picture"],
            "mask": [np.zeros((8, 8))] * 5,
        }
    )
    settings = WriterSettings(captioner={"beams": 3}, captioner_model=model, journals=tmp_path)
    writer = make_writer("captioner", settings=settings)
    captions, unwritten = caption_chips([writer], chips, 1, 0)
    assert captions["caption"].tolist() == ["level 10", "level 20", "level 10"]
    assert set(captions["mode"]) == {"image"}
    assert set(captions["decoding"]) == {"beams 3, at most 9 tokens"}
    assert set(captions["writer_version"]) == {"v1"}
    assert unwritten["chip_id"].tolist() == ["d", "e"]
    assert "train the captioner longer" in unwritten["reason"][0]
    assert "cannot be read" in unwritten["reason"][1]
    assert model.asked == 3, "equal images are described once"
    again, _ = caption_chips([writer], chips[:3], 1, 0)
    assert model.asked == 3
    assert again["caption"].tolist() == captions["caption"].tolist()


def test_a_captioner_without_a_network_is_told():
    with pytest.raises(GroundsynthError, match="stage 05 trains one"):
        make_writer("captioner")


def test_how_words_were_drawn_is_recorded():
    assert CaptionerWriter(Counting()).decoding == "greedy, at most 9 tokens"
    assert CaptionerWriter(Counting(), temperature=0.5).decoding == "temperature 0.5, at most 9 tokens"
    assert isinstance(CaptionerWriter(Counting()).write([b""], [None], [0])[0], Unwritten)
