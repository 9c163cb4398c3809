"""Fine-tuning a text-to-image pipeline: every method end to end on a tiny one of the true classes."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from tiny_pipeline import CONTEXT, make_pipeline, save_pipeline

from groundsynth.__main__ import main
from groundsynth.artifacts import read_chips, write_chips, write_json, write_table
from groundsynth.errors import GroundsynthError
from groundsynth.legend import SHARE_COLUMNS, class_shares
from groundsynth.models.adapt_study import adapt_study, draw_prompts, read_captioned
from groundsynth.models.adapted_sampling import load_adapted, sample_adapted
from groundsynth.models.adapters import CLASS_PROMPT, METHODS, RECORD, encode_text
from groundsynth.models.adapting import AdaptSettings, adapt_pipeline, draw_size, save_adapted
from groundsynth.models.pipeline_images import coloured_maps
from groundsynth.models.pretrained import check_prompts, count_tokens, fit_caption, load_pipeline, native_size

CPU = torch.device("cpu")
SIDE = 32
SETTINGS = AdaptSettings(
    method="lora", seed=0, steps=4, batch_size=2, learning_rate=1e-2, rank=2, token="<landcover>",
    prior_images=2, size=None, sampling_steps=2, guidance=2.0, log_every=1, checkpoint_seconds=0.0,
)  # fmt: skip
DRAWING = dict(chip_size=SIDE, size=SIDE, steps=2, guidance=2.0, batch_size=2)


@pytest.fixture(scope="module")
def chips():
    """Six chips of water or trees with what they are called."""
    maps = np.stack([np.full((SIDE, SIDE), 6 * (k % 2), np.uint8) for k in range(6)])
    images = np.where(maps[..., None] == 6, 40, 160) + np.random.default_rng(0).integers(
        0, 30, (6, SIDE, SIDE, 3)
    )
    return images.astype(np.uint8), maps, ["mostly water." if k % 2 else "mostly trees." for k in range(6)]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_pipeline(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module", params=METHODS)
def adapted(request, chips, base, tmp_path_factory):
    """Return method, the finished fine-tuning and the folder it was saved in."""
    folder = tmp_path_factory.mktemp(request.param)
    settings = replace(SETTINGS, method=request.param)
    done = adapt_pipeline(load_pipeline(str(base)), *chips, settings, folder / "checkpoints", CPU)
    save_adapted(done, settings, folder / "model", SIDE)
    return request.param, done, folder / "model"


def draw(pipe, prompts, seeds, maps=None, **changes):
    return sample_adapted(pipe, prompts, seeds, maps=maps, **DRAWING | changes)


def weights(module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def test_what_is_trained_changes_and_the_rest_stays(adapted, base):
    method, done, _ = adapted
    before, pipe = load_pipeline(str(base)), done.adapter.pipe
    fresh = weights(before.unet)
    now = {name.replace(".base_layer", ""): w for name, w in weights(pipe.unet).items()}
    same = all(torch.equal(now[name], w) for name, w in fresh.items())
    assert same == (method != "dreambooth")
    assert all(
        torch.equal(a, b)
        for a, b in zip(weights(before.vae).values(), weights(pipe.vae).values(), strict=True)
    )
    trained = dict(done.adapter.trained.named_parameters())
    if method == "lora":
        ups = [w for name, w in trained.items() if "lora_B" in name]  # these begin at zero
        assert ups
        assert all(w.abs().max() > 0 for w in ups)
    if method == "textual_inversion":
        start = before.tokenizer(CLASS_PROMPT, add_special_tokens=False).input_ids
        first = before.text_encoder.get_input_embeddings().weight[start].mean(0)
        assert (trained["word"] - first).abs().max() > 1e-3
        old = before.text_encoder.get_input_embeddings().weight
        assert torch.equal(pipe.text_encoder.get_input_embeddings().weight[: len(old)], old)
    if method == "controlnet":
        assert trained["controlnet_mid_block.weight"].abs().max() > 0  # begins at zero


def test_it_loads_again_and_draws_what_it_drew(adapted, base, chips):
    method, done, folder = adapted
    given = chips[1][:2] if method == "controlnet" else None
    prompts = [done.adapter.prompt("mostly water.")] * 2
    one, _ = draw(load_adapted(folder, load_pipeline(str(base))), prompts, [1, 2], given)
    two, _ = draw(load_adapted(folder, load_pipeline(str(base))), prompts, [1, 2], given)
    np.testing.assert_array_equal(one, two)
    plain, _ = draw(load_pipeline(str(base)), prompts, [1, 2])
    assert (one != plain).any(), "the fine-tuning makes a difference"


def test_the_trained_network_is_the_one_that_loads(adapted, base, chips):
    """The U-Net's output for the same input, in memory and from the folder."""
    method, done, folder = adapted
    loaded = load_adapted(folder, load_pipeline(str(base)))
    again = METHODS["controlnet"].predict if method == "controlnet" else None
    draw_noise = torch.Generator().manual_seed(0)
    noisy, t = torch.randn(1, 4, 16, 16, generator=draw_noise), torch.tensor([500])
    control = coloured_maps(chips[1][:1], SIDE)
    with torch.no_grad():
        text = [
            encode_text(p, [done.adapter.prompt("mostly water.")], CONTEXT)
            for p in (done.adapter.pipe, loaded)
        ]
        torch.testing.assert_close(text[0], text[1], atol=1e-5, rtol=0)
        mine = done.adapter.predict(noisy, t, text[0], control)
        if again:
            done.adapter.controlnet, kept = loaded.controlnet, done.adapter.controlnet
            theirs = done.adapter.predict(noisy, t, text[1], control)
            done.adapter.controlnet = kept
        else:
            theirs = loaded.unet(noisy, t, encoder_hidden_states=text[1]).sample
    torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=0)


def test_a_sample_depends_on_seed_prompt_and_map_not_on_its_batch(adapted, base, chips):
    method, _, folder = adapted
    pipe = load_adapted(folder, load_pipeline(str(base)))
    maps = chips[1][[0, 1, 0, 0]] if method == "controlnet" else None
    prompts, seeds = ["mostly water", "mostly water", "trees", "mostly water"], [1, 1, 1, 2]
    images, masks = draw(pipe, prompts, seeds, maps)
    alone, _ = draw(pipe, prompts[3:], seeds[3:], None if maps is None else maps[3:], batch_size=1)
    off = np.abs(images[3].astype(int) - alone[0])
    assert off.max() <= 2
    assert (off == 0).mean() >= 0.99
    assert (images[0] != images[2]).any(), "another prompt"
    assert (images[0] != images[3]).any(), "another seed"
    assert (images[0] != images[1]).any() == (method == "controlnet"), "another map"
    assert (masks == (255 if maps is None else maps)).all()


class Killed(Exception):
    pass


@pytest.mark.parametrize("method", METHODS)
def test_killed_fine_tuning_resumes_on_the_same_path(chips, base, tmp_path, method):
    settings = replace(SETTINGS, method=method, steps=3)

    def run(where, after_step=None):
        return adapt_pipeline(load_pipeline(str(base)), *chips, settings, tmp_path / where, CPU, after_step)

    def kill(step):
        if step == 2:
            raise Killed

    whole, steps_run = run("a"), []
    with pytest.raises(Killed):
        run("b", kill)
    again = run("b", steps_run.append)
    assert steps_run == [3]
    assert again.log["step"].tolist() == [0, 1, 2]
    np.testing.assert_allclose(again.log["loss"], whole.log["loss"], atol=1e-3)
    for name, weight in whole.adapter.state_dict().items():
        torch.testing.assert_close(again.adapter.state_dict()[name], weight, atol=1e-5, rtol=0)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_fine_tuning_lowers_the_loss(chips, tmp_path, prediction):
    settings = replace(
        SETTINGS, method="dreambooth", steps=25, prior_images=0, batch_size=4, learning_rate=5e-3
    )
    done = adapt_pipeline(make_pipeline(prediction=prediction), *chips, settings, tmp_path, CPU)
    assert done.log["loss"].tail(6).mean() < 0.9 * done.log["loss"].head(4).mean()


def test_dreambooth_keeps_what_the_untaught_model_drew(chips, tmp_path):
    settings = replace(SETTINGS, method="dreambooth", steps=1)
    with_prior = adapt_pipeline(make_pipeline(), *chips, settings, tmp_path, CPU)
    without = adapt_pipeline(make_pipeline(), *chips, replace(settings, prior_images=0), tmp_path, CPU)
    (prior,) = tmp_path.glob("*/prior.npy")
    assert np.load(prior).shape == (2, SIDE, SIDE, 3)
    assert with_prior.log["loss"][0] > without.log["loss"][0]


# --- bad input -------------------------------------------------------------------------------


def test_a_folder_that_is_missing_or_something_else_says_so(tmp_path, base):
    with pytest.raises(GroundsynthError, match="no such folder; name one that holds model_index"):
        load_pipeline(str(tmp_path / "nowhere"))
    with pytest.raises(GroundsynthError, match="not a diffusers pipeline"):
        load_pipeline(str(tmp_path))
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionXLPipeline"}))
    with pytest.raises(GroundsynthError, match="holds a StableDiffusionXLPipeline; adapt takes a StableDiff"):
        load_pipeline(str(tmp_path))
    (tmp_path / "model_index.json").write_text((base / "model_index.json").read_text())
    with pytest.raises(GroundsynthError, match="not a usable pipeline") as caught:
        load_pipeline(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_hub_that_cannot_be_reached_says_so(monkeypatch, tmp_path):
    import huggingface_hub.constants as hub

    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)  # the hub's client refuses before any connection
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        GroundsynthError, match="'someone/model' is no folder here and could not be fetched"
    ) as caught:
        load_pipeline("someone/model")
    assert "name its folder" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(GroundsynthError, match="could not be fetched"):
        load_pipeline("someone/model", offline=True)


@pytest.mark.parametrize(
    ("prompts", "says"),
    [
        (["water", " "], "prompt 2 is empty"),
        (
            ["x" * 10_000],
            rf"prompt 1 has 10,000 characters, 10,002 tokens; the text encoder reads {CONTEXT}: shorten",
        ),
    ],
)
def test_a_prompt_that_cannot_be_read_is_refused(prompts, says):
    pipe = make_pipeline()
    with pytest.raises(GroundsynthError, match=says):
        draw(pipe, prompts, list(range(len(prompts))))


@pytest.mark.parametrize(
    ("maps", "says"),
    [
        (None, "needs maps, one per prompt"),
        (np.zeros((1, 8, 8), np.uint8), "do not fit"),
        (np.zeros((2, SIDE, SIDE), np.uint8), "do not fit"),
        (np.full((1, SIDE, SIDE), 9, np.uint8), "class code 9 is not in the legend"),
    ],
)
def test_a_map_that_cannot_be_drawn_is_refused(adapted, base, maps, says):
    method, _, folder = adapted
    pipe = load_adapted(folder, load_pipeline(str(base)))
    if method != "controlnet":
        maps, says = np.zeros((1, SIDE, SIDE), np.uint8), "takes no maps"
    with pytest.raises(GroundsynthError, match=says):
        draw(pipe, ["water"], [1], maps)


def test_an_adapter_of_another_legend_or_architecture_is_refused(adapted, base, tmp_path):
    _, _, folder = adapted
    with pytest.raises(GroundsynthError, match="pipeline whose text is 32, this one's is 16"):
        load_adapted(folder, make_pipeline(width=16))
    record = json.loads((folder / RECORD).read_text())
    write_json(tmp_path / RECORD, record | {"classes": ["sea", "land"]})
    with pytest.raises(GroundsynthError, match="adapted with the legend"):
        load_adapted(tmp_path, load_pipeline(str(base)))
    write_json(tmp_path / RECORD, record)
    with pytest.raises(GroundsynthError, match="not a usable adapter") as caught:
        load_adapted(tmp_path, load_pipeline(str(base)))
    assert "\n" not in str(caught.value)
    with pytest.raises(GroundsynthError, match="missing; make it first: python -m groundsynth adapt"):
        load_adapted(tmp_path / "nowhere", load_pipeline(str(base)))


def test_a_size_the_pipeline_cannot_halve_is_refused():
    pipe = make_pipeline()
    assert draw_size(pipe, SETTINGS) == native_size(pipe) == 32
    assert draw_size(pipe, replace(SETTINGS, size=48)) == 48
    with pytest.raises(GroundsynthError, match="no multiple of 4"):
        draw_size(pipe, replace(SETTINGS, size=50))


def test_a_word_that_is_no_longer_new_is_refused(chips, tmp_path):
    settings = replace(SETTINGS, method="textual_inversion", token="<|endoftext|>")
    with pytest.raises(GroundsynthError, match="already a word of this tokenizer"):
        adapt_pipeline(make_pipeline(), *chips, settings, tmp_path, CPU)


def test_no_chips_is_refused(tmp_path):
    empty = np.zeros((0, 8, 8, 3), np.uint8), np.zeros((0, 8, 8), np.uint8), []
    with pytest.raises(GroundsynthError, match="no training chips"):
        adapt_pipeline(make_pipeline(), *empty, SETTINGS, tmp_path, CPU)


def test_a_long_caption_loses_whole_sentences_from_its_end():
    pipe = make_pipeline()
    text = "mostly water. trees in the north. grass and more grass and even more grass."
    assert count_tokens(pipe, text) > CONTEXT
    assert fit_caption(pipe, text) == "mostly water. trees in the north."
    assert fit_caption(pipe, "x" * 50 + ". trees.") == "x" * 50 + "."
    check_prompts(pipe, [fit_caption(pipe, text)])


# --- a study ---------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path, monkeypatch, chips, base):
    """Return a project with a study whose chips are cut and described."""
    images, maps, captions = chips
    monkeypatch.setenv("GROUNDSYNTH_ROOT", str(tmp_path))
    results = tmp_path / "results" / "mine"
    shares = pd.DataFrame([class_shares(m) for m in maps], columns=list(SHARE_COLUMNS))
    table = shares.assign(
        chip_id=[f"c{k}" for k in range(6)], image=list(images), mask=list(maps), labelled=1.0, scene="s",
        split=["train"] * 5 + ["test"], block=0, row=0, col=0, crs="EPSG:3358",
        **{f"transform_{k}": 1.0 for k in "abcdef"},
    )  # fmt: skip
    write_chips(table, results / "01_prepare_data/fold0/chips.parquet", "real")
    data = {"title": "a scene", "licence": "CC BY-SA 3.0", "citation": "its makers"}
    write_json(results / "01_prepare_data/fold0/data.json", data)
    written = pd.DataFrame({"chip_id": table["chip_id"], "caption": captions}).assign(
        system="real", caption_index=0, mode="map", writer="layout", writer_version="1", prompt="p", seed=1
    )
    write_table(written, results / "05_caption/fold0/captions.csv", "captions")
    return tmp_path


def write_config(project, root, **adapt):
    study = yaml.safe_load((root / "config" / "smoke.yaml").read_text()) | {"study": "mine", "device": "cpu"}
    quick = {"steps": 2, "batch_size": 2, "rank": 2, "prior_images": 2, "samples": 3, "sampling_steps": 2}
    path = project / "mine.yaml"
    path.write_text(yaml.safe_dump(study | {"adapt": quick | adapt}))
    return path


@pytest.mark.parametrize("method", METHODS)
def test_the_command_adapts_and_draws_chips(project, root, base, method, capsys):
    path = write_config(project, root, base=str(base), method=method)
    assert main(["adapt", str(path)]) == 0
    name = f"{method.replace('_', '-')}-s0"
    folder = project / "results/mine/adapted/fold0" / name
    assert str(folder) in capsys.readouterr().out
    drawn = read_chips(folder / "chips.parquet", "synthetic")
    assert drawn["chip_id"].tolist() == [f"{name}-text-00000{k}" for k in range(3)]
    assert drawn["system"].eq("text").all()
    assert drawn["condition"].isin([f"c{k}" for k in range(5)]).all(), "training chips alone"
    obeyed = np.stack(drawn["mask"])
    assert (obeyed != 255).all() if method == "controlnet" else (obeyed == 255).all()
    card = (folder / "model_card.md").read_text()
    for words in (f"method `{method}`", "CC BY-SA 3.0", "| base | tiny;", "5 training chips", "## Limits"):
        assert words in card
    assert str(base.parent) not in card
    prompts = pd.read_csv(folder / "prompts.csv")
    assert prompts["chip_id"].tolist() == drawn["chip_id"].tolist()
    assert prompts["prompt"].str.contains("mostly").all()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "adapt.base is not set"),
        ({"base": "nowhere/at/all"}, "no such folder"),
        ({"base": None, "method": "lora"}, "adapt.base is not set"),
        ({"prompts": [""]}, "prompt 1 is empty"),
        ({"prompts": ["a" * 10_000]}, "shorten it"),
    ],
)
def test_what_cannot_be_adapted_ends_in_one_sentence(project, root, base, changes, says, capsys):
    changes = {"base": str(base)} | changes if "prompts" in changes else changes
    assert main(["adapt", str(write_config(project, root, **changes))]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert says in said


def test_chips_without_captions_are_refused(project):
    path = project / "results/mine/05_caption/fold0/captions.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:2] + lines[3:]) + "\n")
    with pytest.raises(GroundsynthError, match="1 training chips such as c1 have no caption"):
        read_captioned("mine", 0)
    path.unlink()
    with pytest.raises(GroundsynthError, match="missing; make it first"):
        read_captioned("mine", 0)


def test_prompts_of_the_config_come_in_turn_and_captions_by_number(project):
    table = read_captioned("mine", 0)
    own = draw_prompts(table, "lora-s0", 3, ["one", "two"], obeys=False)
    assert own["prompt"].tolist() == ["one", "two", "one"]
    assert own["condition"].eq("").all()
    many, few = (draw_prompts(table, "lora-s0", n, [], obeys=False) for n in (9, 4))
    pd.testing.assert_frame_equal(many.head(4), few)
    assert dict(zip(table["chip_id"], table["caption"], strict=True))[few["condition"][0]] == few["prompt"][0]


def test_the_study_refuses_a_size_before_it_trains(project, root, base):
    from groundsynth.config import load_study

    study = load_study(write_config(project, root, base=str(base), size=50))
    with pytest.raises(GroundsynthError, match=r"adapt\.size 50 is no multiple of 4"):
        adapt_study(study)
    assert not (project / "results/mine/adapted").exists()
