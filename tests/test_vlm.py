"""The vlm writer on tiny models of real classes: modes, batches, seeds, resuming, and bad input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_models import HALF_LETTER, WORDS, make_image_model, make_language_model

from groundsynth.captions.unwritten import Unwritten
from groundsynth.captions.vlm import VlmWriter, find_model, folder_version
from groundsynth.captions.writers import WriterSettings, caption_chips, make_writer
from groundsynth.config import LocalModel
from groundsynth.errors import GroundsynthError
from groundsynth.seeded_draws import SeededDraws


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("models")
    return {
        "sees": make_image_model(home / "sees"),
        "sharp": make_image_model(home / "sharp", template=False, sharp=60.0),
        "odd": make_image_model(home / "odd", more=(HALF_LETTER,)),
        "reads": make_language_model(home / "reads"),
    }


def settings(folder: Path, **changes: object) -> dict:
    values = {"model": str(folder), "max_tokens": 120, "temperature": 1.0, "batch_size": 4}
    return LocalModel(**values | changes).model_dump(mode="json")


def chips(n: int) -> tuple[list[np.ndarray], list[np.ndarray], list[int]]:
    """Return n noisy pictures, n maps whose facts differ in length, and n seeds."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (24, 24, 3)).astype(np.uint8) for _ in range(n)]
    maps = [np.repeat(np.arange(24) % (1 + i % 5), 24).reshape(24, 24).astype(np.uint8) for i in range(n)]
    return images, maps, list(range(100, 100 + n))


@pytest.mark.parametrize(
    ("model", "mode"), [("sees", "image"), ("sees", "both"), ("sees", "map"), ("reads", "map")]
)
def test_every_mode_writes_words_whatever_the_batch(folders, model, mode):
    writer = VlmWriter(mode, settings(folders[model]), device="cpu")
    whole = writer.write(*chips(6))
    assert all(set(text.split()) <= set(WORDS) for text in whole)
    assert len(set(whole)) == 6, "each by its own seed"
    alone = VlmWriter(mode, settings(folders[model], batch_size=1), device="cpu")
    assert alone.write(*chips(6)) == whole
    assert writer.usage["prompt_tokens"] > writer.usage["answer_tokens"] > 6
    assert writer.version.startswith(f"{model}@")


def test_the_image_and_the_facts_decide_the_words(folders):
    """Without chance, a model sure of its words says others of another picture, or of another map."""
    for mode in ("image", "both"):
        writer = VlmWriter(mode, settings(folders["sharp"], temperature=0, max_tokens=12), device="cpu")
        requests = [writer._ask(*chip) for chip in zip(*chips(4), strict=True)]
        writer.write(*chips(1))
        inputs = [writer._model._inputs([request]) for request in requests]
        with torch.inference_mode():
            scores = [writer._model.model(**given).logits[0, -1] for given in inputs]
        assert not any(torch.allclose(scores[0], other, atol=1e-3) for other in scores[1:])


def test_prompts_are_padded_on_the_left(folders):
    writer = VlmWriter("both", settings(folders["sees"]), device="cpu")
    writer.write(*chips(1))
    requests = [writer._ask(*chip) for chip in zip(*chips(5), strict=True)]
    mask = writer._model._inputs(requests)["attention_mask"]
    assert (mask.sum(1) < mask.shape[1]).any(), "prompts differ in length"
    assert (mask[:, -1] == 1).all()


def test_what_is_written_is_not_written_again(folders, tmp_path):
    images, maps, seeds = chips(6)
    first = VlmWriter("image", settings(folders["sees"]), tmp_path, "cpu")
    part = first.write(images[:4], maps[:4], seeds[:4])
    journal = tmp_path / "vlm-image.jsonl"
    journal.write_bytes(journal.read_bytes()[:-5])  # killed while it wrote the fourth
    kept = len([line for line in journal.read_text().splitlines() if line.endswith("}")])
    again = VlmWriter("image", settings(folders["sees"]), tmp_path, "cpu")
    whole = again.write(images, maps, seeds)
    assert whole[:4] == part
    assert kept == 3
    lines = [json.loads(line) for line in journal.read_text().splitlines() if line.endswith("}")]
    assert len({line["key"] for line in lines}) == len(lines) == 6
    third = VlmWriter("image", settings(folders["sees"]), tmp_path, "cpu")
    assert third.write(images, maps, seeds) == whole
    assert third._model is None, "its weights are not even read"


def test_bad_chips_cost_themselves_only(folders):
    images, maps, seeds = chips(6)
    images[1], images[4] = b"no picture", np.zeros((24, 24), np.uint8)
    found = VlmWriter("image", settings(folders["sees"]), device="cpu").write(images, maps, seeds)
    assert found[1].startswith("its image cannot be read (cannot identify image file")
    assert found[4].startswith("its image is uint8 of shape (24, 24), not uint8 of (h, w, 3)")
    assert [isinstance(text, Unwritten) for text in found] == [False, True, False, False, True, False]


def test_over_long_and_broken_answers_cost_their_chip(folders):
    short = VlmWriter("image", settings(folders["sees"], max_tokens=8), device="cpu").write(*chips(12))
    reason = "the caption is longer than max_tokens = 8; raise it, or ask for fewer words in the prompt"
    assert {text for text in short if isinstance(text, Unwritten)} == {reason}
    assert any(not isinstance(text, Unwritten) for text in short)
    broken = VlmWriter("image", settings(folders["odd"]), device="cpu").write(*chips(12))
    assert {text for text in broken if isinstance(text, Unwritten)} == {"the answer is not valid UTF-8"}
    assert any(not isinstance(text, Unwritten) for text in broken)


def test_it_is_a_writer_of_the_stage(folders):
    images, maps, _ = chips(3)
    images[2] = b"no"
    table = pd.DataFrame({"chip_id": list("abc"), "system": "real", "image": images, "mask": maps})
    given = WriterSettings(vlm=settings(folders["sees"], prompt="Describe {shares}."), device="cpu")
    captions, unwritten = caption_chips([make_writer("vlm:both", settings=given)], table, 1, 0)
    assert captions["chip_id"].tolist() == ["a", "b"]
    assert captions["prompt"].unique() == ["Describe {shares}."]
    assert captions["decoding"].unique() == ["temperature 1, at most 120 tokens"]
    assert unwritten["chip_id"].tolist() == ["c"]
    with pytest.raises(GroundsynthError, match="no chip to describe"):
        caption_chips([make_writer("vlm:both", settings=given)], table.iloc[:0], 1, 0)


def test_draws_follow_the_softmax():
    scores = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))
    draws = SeededDraws([3], temperature=1.0)
    found = torch.cat([draws(None, scores).argmax(1) for _ in range(4000)]).bincount(minlength=3) / 4000
    assert found.tolist() == pytest.approx([0.5, 0.3, 0.2], abs=0.03)


def test_draws_depend_on_their_own_seed_alone():
    scores = torch.zeros(2, 50)
    assert (SeededDraws([1, 2], 1.0)(None, scores)[1] == SeededDraws([2], 1.0)(None, scores[:1])[0]).all()


# --- models that cannot be used --------------------------------------------------------------


def copied(folder: Path, to: Path, *without: str) -> Path:
    shutil.copytree(folder, to)
    for name in without:
        (to / name).unlink(missing_ok=True)
    return to


def test_a_folder_without_a_processor_says_so(folders, tmp_path):
    folder = copied(folders["sees"], tmp_path / "m", "processor_config.json", "preprocessor_config.json")
    with pytest.raises(GroundsynthError, match=r"the folder has no processor \(preprocessor_config\.json or"):
        VlmWriter("image", settings(folder), device="cpu")


def test_a_language_model_sees_no_image(folders):
    with pytest.raises(
        GroundsynthError, match=r"sees no image; choose writer 'vlm:map' or an image-text model"
    ):
        VlmWriter("both", settings(folders["reads"]), device="cpu")


def test_a_prompt_with_an_unknown_field_says_so(folders):
    with pytest.raises(GroundsynthError, match=r"prompt of writer 'vlm:image': \{colour\} is not a field"):
        VlmWriter("image", settings(folders["sees"], prompt="What {colour}?"), device="cpu")


def test_missing_and_broken_folders_say_so(folders, tmp_path):
    with pytest.raises(GroundsynthError, match=r"no model lies here \(no config\.json\)"):
        find_model(str(tmp_path))
    with pytest.raises(GroundsynthError, match=r"neither a folder nor the name of a model on the hub"):
        find_model(str(tmp_path / "nowhere"))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(GroundsynthError, match=r"its config\.json cannot be read"):
        VlmWriter("map", settings(tmp_path), device="cpu")
    cut = copied(folders["sees"], tmp_path / "cut", "model.safetensors")
    with pytest.raises(
        GroundsynthError, match=r"cut: cannot be loaded \(.*\); save model, tokenizer and processor"
    ):
        VlmWriter("image", settings(cut), device="cpu").write(*chips(1))


def test_a_hub_that_cannot_be_reached_says_so(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        GroundsynthError, match=r"not on this computer, and the hub cannot be reached; fetch the model"
    ):
        find_model("nobody/such-a-model")


def test_the_version_follows_the_files(folders, tmp_path):
    before = folder_version(folders["sees"])
    other = copied(folders["sees"], tmp_path / "other")
    assert folder_version(other) == before
    (other / "generation_config.json").write_text("{}")
    assert folder_version(other) != before


def test_no_gpu_says_so(folders, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(GroundsynthError, match="device 'cuda' is not there"):
        VlmWriter("map", settings(folders["reads"]), device="cuda")
