"""A generator as a diffusers pipeline: saved, loaded, called; what does not fit is told in a sentence."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image
from test_generator import SETTINGS

from groundsynth.artifacts import metric_row, write_metrics
from groundsynth.config import load_study
from groundsynth.errors import GroundsynthError
from groundsynth.models.colour import fit_whitening
from groundsynth.models.gan import GanConfig
from groundsynth.models.gan_sampling import new_gan
from groundsynth.models.pipeline import GroundsynthPipeline
from groundsynth.models.solvers import SamplingSettings
from groundsynth.models.training import new_denoiser
from groundsynth.workflow.export_generator import export_generator

SOLVING = SamplingSettings(steps=3, solver="dpmpp_2m", sigma_range=(0.2, 80.0), batch_size=8)


@pytest.fixture(scope="module")
def model():
    draw = np.random.default_rng(0)
    maps = draw.choice([0, 4], (8, 16, 16)).astype(np.uint8)
    return new_denoiser(draw.integers(0, 255, (8, 16, 16, 3), np.uint8), maps, SETTINGS).eval()


@pytest.fixture(scope="module")
def pipe(model):
    return GroundsynthPipeline.of(model, "unified", SOLVING)


@pytest.fixture(scope="module")
def labels():
    return np.random.default_rng(1).choice([0, 4, 255], (16, 16)).astype(np.uint8)


def pixels(output) -> np.ndarray:
    return np.stack([np.asarray(image) for image in output.images])


def test_a_saved_pipeline_draws_the_same_when_loaded(pipe, labels, tmp_path):
    pipe.save_pretrained(tmp_path / "g")
    again = GroundsynthPipeline.from_pretrained(tmp_path / "g")
    for call in ({}, {"mask": labels}, {"system": "image", "num_images": 2}):
        np.testing.assert_array_equal(pixels(again(**call)), pixels(pipe(**call)))
    index = json.loads((tmp_path / "g" / "model_index.json").read_text())
    assert index["_class_name"] == "GroundsynthPipeline"
    assert index["policy"] == "unified"
    assert not again.generator.training
    assert issubclass(GroundsynthPipeline, DiffusionPipeline)


def test_what_a_call_returns(pipe, labels):
    pair = pipe()
    assert (pair.system, pair.images[0].size, pair.maps.shape) == ("joint", (16, 16), (1, 16, 16))
    given = pipe(mask=labels, num_images=3)
    assert given.system == "mask"
    assert (given.maps == labels).all()
    assert len({image.tobytes() for image in given.images}) == 3
    assert (pipe(system="image").maps == 255).all()
    np.testing.assert_array_equal(pixels(pipe(mask=Image.fromarray(labels), num_images=3)), pixels(given))
    assert (pixels(pipe(mask=labels, guidance_scale=3.0)) != pixels(given)[:1]).any()
    assert (pixels(pipe(seed=1)) != pixels(pair)).any()
    assert (pixels(pipe(num_images=2, batch_size=1))[:1] == pixels(pair)).mean() >= 0.99


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ({"prompt": ""}, "learned no text"),
        (
            {"shares": {"water": 1}},
            "learned no class shares, so it takes no shares; leave it out or give a mask",
        ),
        ({"prompt": "a lake" * 2000}, "learned no text"),
        ({"mask": np.zeros((8, 8), np.uint8)}, r"maps of shape \(1, 8, 8\) do not fit"),
        ({"mask": np.full((16, 16), 9, np.uint8)}, "map value 9 is not in this generator's legend"),
        ({"mask": np.zeros((16, 16))}, "type float64 is no map; give class codes"),
        ({"num_images": 0}, "num_images = 0 must be at least 1"),
        ({"num_inference_steps": 0}, "num_inference_steps = 0 must be at least 1; the default is 3"),
        ({"system": "mask"}, "needs a map to obey; give mask"),
        ({"system": "text"}, "system 'text' was not trained: policy 'unified' draws joint, mask, image"),
    ],
)
def test_what_does_not_fit_is_told_in_a_sentence(pipe, call, says):
    with pytest.raises(GroundsynthError, match=says) as caught:
        pipe(**call)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def asked_pipe():
    draw = np.random.default_rng(0)
    maps = draw.choice([0, 4], (8, 16, 16)).astype(np.uint8)
    settings = replace(SETTINGS, policy="text", conditions="both")
    model = new_denoiser(draw.integers(0, 255, (8, 16, 16, 3), np.uint8), maps, settings).eval()
    return GroundsynthPipeline.of(model, "text", SOLVING)


def test_a_generator_that_learned_text_and_shares_is_asked_for_both(asked_pipe, tmp_path):
    lake = asked_pipe(prompt="A lake in the north.")
    assert (lake.system, lake.maps.shape, len(lake.images)) == ("text", (1, 16, 16), 1)
    assert len({i.tobytes() for i in asked_pipe(prompt="A lake in the north.", num_images=3).images}) == 3
    np.testing.assert_array_equal(pixels(asked_pipe(prompt=" A lake in the north. ")), pixels(lake))
    others = [
        asked_pipe(), asked_pipe(prompt="Nothing but wood."), asked_pipe(shares={"water": 0.2, "bare": 0.8}),
        asked_pipe(prompt="A lake in the north.", shares={"water": 1.0}),
        asked_pipe(prompt="A lake in the north.", guidance_scale=4.0),
    ]  # fmt: skip
    assert all((pixels(other) != pixels(lake)).any() for other in others)
    asked_pipe.save_pretrained(tmp_path / "g")
    again = GroundsynthPipeline.from_pretrained(tmp_path / "g")
    np.testing.assert_array_equal(pixels(again(prompt="A lake in the north.")), pixels(lake))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ({"prompt": ""}, "the prompt '' says nothing"),
        ({"prompt": "a lake " * 1429}, "the prompt has 10,003 characters and at most 10,000"),
        ({"prompt": ["a lake"]}, "a prompt of type list is no text"),
        ({"shares": {"water": 0.5}}, "the shares sum to 0.5 and must sum to 1"),
        ({"shares": {"water": -1, "bare": 2}}, "the share of water is -1"),
        ({"shares": {"lake": 1}}, "shares name 'lake', which is no class"),
        ({"prompt": "a lake", "mask": np.zeros((16, 16), np.uint8)}, "a mask and prompt were given"),
        ({"prompt": "a lake", "system": "joint"}, "system 'joint' was not trained: policy 'text' draws text"),
    ],
)
def test_what_cannot_be_asked_is_told_in_a_sentence(asked_pipe, call, says):
    with pytest.raises(GroundsynthError, match=says) as caught:
        asked_pipe(**call)
    assert "\n" not in str(caught.value)


def test_a_generator_of_shares_alone_takes_no_prompt(model):
    draw = np.random.default_rng(0)
    chips = draw.integers(0, 255, (8, 16, 16, 3), np.uint8), draw.choice([0, 4], (8, 16, 16)).astype(np.uint8)
    pipe = GroundsynthPipeline.of(
        new_denoiser(*chips, replace(SETTINGS, conditions="shares")), "unified", SOLVING
    )
    assert pipe(shares={"water": 1}).system == "text"
    assert pipe().system == "joint"
    with pytest.raises(
        GroundsynthError, match="learned no text, so it takes no prompt; leave it out or give shares"
    ):
        pipe(prompt="a lake")
    with pytest.raises(GroundsynthError, match="system 'joint' is asked for nothing; leave system out"):
        pipe(shares={"water": 1}, system="joint")


def test_a_generator_of_one_policy_draws_that_alone(model, labels):
    alone = GroundsynthPipeline.of(model, "image", SOLVING)
    assert alone().system == "image"
    with pytest.raises(GroundsynthError, match="policy 'image' draws image"):
        alone(mask=labels)
    with pytest.raises(GroundsynthError, match="needs a map to obey"):
        GroundsynthPipeline.of(model, "mask", SOLVING)()


@pytest.mark.parametrize("policy", ["spade", "joint_gan"])
def test_a_gan_is_exported_loaded_and_called_like_the_others(policy, root, tmp_path, monkeypatch):
    (tmp_path / "Snakefile").touch()
    monkeypatch.setenv("GROUNDSYNTH_ROOT", str(tmp_path))
    study = load_study(root / "config" / "gan.yaml")
    whitening = fit_whitening(np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3), np.uint8))
    gan = new_gan(GanConfig(policy, 32, 8, whitening)).eval()
    trained = tmp_path / "results" / "gan" / "02_train_generator" / "fold0" / f"{policy}-s0"
    gan.save(trained / "model")
    (trained / "model_card.md").write_text("# Generator\n\n## Limits\n\nNot evidence.\n")
    folder = export_generator(study, f"{policy}-s0", 0, tmp_path / "g")
    pipe, direct = GroundsynthPipeline.from_pretrained(folder), GroundsynthPipeline.of(gan, policy, SOLVING)
    labels = np.random.default_rng(1).choice([0, 4, 255], (32, 32)).astype(np.uint8)
    call = {"mask": labels, "num_images": 2} if policy == "spade" else {"num_images": 2}
    drawn = pipe(**call)
    assert drawn.system == policy
    np.testing.assert_array_equal(pixels(drawn), pixels(direct(**call)))
    assert (drawn.maps == labels).all() == (policy == "spade")
    assert ("pipe(mask=labels" in (folder / "README.md").read_text()) == (policy == "spade")
    wrong = {} if policy == "spade" else {"mask": labels}
    with pytest.raises(GroundsynthError, match=r"needs a map to obey|policy 'joint_gan' draws joint_gan"):
        pipe(**wrong)
    with pytest.raises(GroundsynthError, match="learned no text"):
        pipe(prompt="a lake")


def test_folders_of_another_kind_are_refused(pipe, tmp_path):
    with pytest.raises(GroundsynthError, match="not a usable generator"):
        GroundsynthPipeline.from_pretrained(tmp_path / "nothing")
    pipe.save_pretrained(tmp_path / "g")
    config = tmp_path / "g" / "generator" / "config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps(values | {"classes": ["land", "sea"]}))
    with pytest.raises(
        GroundsynthError, match="this generator's legend is land, sea, and maps here have tree"
    ):
        GroundsynthPipeline.from_pretrained(tmp_path / "g")
    config.write_text(json.dumps(values | {"settings": values["settings"] | {"channels": [32, 32]}}))
    with pytest.raises(GroundsynthError, match="not a usable generator"):
        GroundsynthPipeline.from_pretrained(tmp_path / "g")


def test_an_export_has_its_card_with_scores_and_spares_other_files(model, root, tmp_path, monkeypatch):
    (tmp_path / "Snakefile").touch()
    monkeypatch.setenv("GROUNDSYNTH_ROOT", str(tmp_path))
    study = load_study(root / "config" / "smoke.yaml")
    results = tmp_path / "results" / "smoke"
    trained = results / "02_train_generator" / "fold0" / "unified-s0"
    with pytest.raises(GroundsynthError, match="no trained generator 'unified-s0'; the study trains"):
        export_generator(study, "unified-s0", 0, tmp_path / "g")
    model.save(trained / "model")
    (trained / "model_card.md").write_text("# Generator\n\nsteps\n\n## Limits\n\nNot evidence.\n")
    assert (
        "Not measured yet"
        in (export_generator(study, "unified-s0", 0, tmp_path / "g") / "README.md").read_text()
    )
    rows = [metric_row("smoke", "06_ground", "kid", 0.25, system="joint", low=0.1, high=0.4, n=8)]
    write_metrics(rows, results / "metrics.csv")
    folder = export_generator(study, "unified-s0", 0, tmp_path / "g")
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: diffusers")
    assert "| kid | joint |  | 0.250 [0.100, 0.400] | 8 |" in card
    assert card.index("## Use") < card.index("## Scores") < card.index("## Limits")
    assert GroundsynthPipeline.from_pretrained(folder)().maps.shape == (1, 16, 16)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").touch()
    with pytest.raises(GroundsynthError, match="holds other files"):
        export_generator(study, "unified-s0", 0, tmp_path / "other")
    assert (tmp_path / "other" / "mine.txt").exists()
    assert torch.equal(
        GroundsynthPipeline.from_pretrained(folder).generator.network.network.end.weight,
        model.network.end.weight,
    )
