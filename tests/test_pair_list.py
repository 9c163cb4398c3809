"""Which pairs a generator learns from, and which weights it begins with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from test_generator import CPU, SETTINGS

from groundsynth.config import validate_study
from groundsynth.data.pair_list import AS_THEY_ARE, choose_pairs
from groundsynth.errors import GroundsynthError
from groundsynth.models.generators import load_start, train_generator, write_card
from groundsynth.models.training import new_denoiser
from groundsynth.paths import project_root
from groundsynth.workflow.cleaning_study import write_keep_list
from groundsynth.workflow.rule_stage import RuleStage

LIST = "results/s/cleaning/cleaned-0.25.csv"


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("GROUNDSYNTH_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def chips():
    draw = np.random.default_rng(0)
    maps = draw.choice([0, 4], (8, 16, 16)).astype(np.uint8)
    images = np.where(maps[..., None] == 4, 200, 60) + draw.integers(-20, 20, (8, 16, 16, 3))
    return images.astype(np.uint8), maps


@pytest.fixture
def model(chips):
    return new_denoiser(*chips, SETTINGS).eval()


def real(n=4):
    """Chip k is of class k."""
    maps = [np.full((8, 8), k, np.uint8) for k in range(n)]
    return pd.DataFrame({"chip_id": [f"c{k}" for k in range(n)], "mask": maps, "block": range(n)})


def keep_list(root, verdicts=("keep", "drop", "rewritten", "keep")):
    """Leave a list in which chip 2 is described anew, by a map of class 6."""
    table = pd.DataFrame(
        {"chip_id": [f"c{k}" for k in range(len(verdicts))], "verdict": verdicts, "round": 0, "score": 0.5,
         "caption": "Water."}
    )  # fmt: skip
    described = np.stack([np.full((8, 8), k if k != 2 else 6, np.uint8) for k in range(len(verdicts))])
    write_keep_list(table, described, root / LIST)


def test_a_keep_list_chooses_chips_and_what_their_captions_say(root):
    keep_list(root)
    chosen, described = choose_pairs(real(), LIST)
    assert chosen["chip_id"].tolist() == ["c0", "c2", "c3"]
    assert described[:, 0, 0].tolist() == [0, 6, 3]
    assert [m[0, 0] for m in chosen["mask"]] == [0, 2, 3], "the chip keeps its own map"
    assert chosen.index.tolist() == [0, 1, 2]


def test_as_they_are_changes_nothing(root):
    before = real()
    chosen, described = choose_pairs(before, AS_THEY_ARE)
    assert chosen is before
    assert described[:, 0, 0].tolist() == [0, 1, 2, 3]


def test_lists_that_do_not_fit_are_refused(root):
    with pytest.raises(GroundsynthError, match=r"cleaned-0\.25\.csv: missing.*clean-captions"):
        choose_pairs(real(), LIST)
    keep_list(root)
    with pytest.raises(GroundsynthError, match=r"1 of its chips.*'c4'.*same chips and fold"):
        choose_pairs(real(5), LIST)
    keep_list(root, ("drop",) * 4)
    with pytest.raises(GroundsynthError, match="keeps 0 chips"):
        choose_pairs(real(), LIST)
    (root / LIST).with_suffix(".parquet").unlink()
    with pytest.raises(GroundsynthError, match=r"cleaned-0\.25\.parquet: missing"):
        choose_pairs(real(), LIST)


def test_training_begins_with_the_weights_colours_and_codes_it_is_given(chips, model, root):
    model.save(root / "model")
    start = load_start("model", SETTINGS, 16)
    images, maps = 255 - chips[0], chips[1]
    still = replace(SETTINGS, learning_rate=1e-12)
    trained, _, _ = train_generator(images, maps, still, None, root / "kept", CPU, start=start)
    for a, b in zip(trained.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)
    assert trained.config == model.config
    assert new_denoiser(images, maps, still).config != model.config, "its own colours would be others"
    anew, _, _ = train_generator(images, maps, still, None, root / "kept", CPU)
    assert anew.config.whitening != model.config.whitening
    moved, _, _ = train_generator(images, maps, SETTINGS, None, root / "kept", CPU, start=start)
    assert any((a != b).any() for a, b in zip(moved.parameters(), start.parameters(), strict=True))
    other = load_start("model", SETTINGS, 16)
    with torch.no_grad():
        next(other.parameters()).add_(1)
    begun = sorted(path.name for path in (root / "kept").glob("from-*"))
    train_generator(images, maps, still, None, root / "kept", CPU, start=other)
    assert len(list((root / "kept").glob("from-*"))) == len(begun) + 1 == 2, "no checkpoint of another start"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"channels": (16, 16)}, r"channels \(16, 32\), and this training wants \(16, 16\)"),
        ({"mask_code": "one_hot"}, "mask_code bits, and this training wants one_hot"),
        ({"conditions": "both"}, "conditions none, and this training wants both"),
        ({"policy": "spade"}, "policy 'spade' is a GAN"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(model, root, changes, says):
    model.save(root / "model")
    with pytest.raises(GroundsynthError, match=says):
        load_start("model", replace(SETTINGS, **changes), 16)
    assert load_start(None, SETTINGS, 16) is None


def test_the_rule_of_training_waits_for_what_it_is_given():
    values = yaml.safe_load((project_root() / "config" / "smoke.yaml").read_text())
    assert RuleStage(validate_study(values), "02_train_generator").given == []
    values["generator"] |= {"pairs": LIST, "start": "results/o/model"}
    assert RuleStage(validate_study(values), "02_train_generator").given == [
        LIST,
        "results/s/cleaning/cleaned-0.25.parquet",
        "results/o/model/denoiser.json",
        "results/o/model/denoiser.safetensors",
    ]


def test_the_model_card_says_what_a_generator_was_given(model, tmp_path):
    data = {"title": "A scene", "licence": "CC0", "citation": "its makers"}
    log = pd.DataFrame({"image": [0.5], "mask": [0.25]})
    about = (model, SETTINGS, None, data, log, 60.0, "cpu")
    write_card(tmp_path / "plain.md", *about, pairs=AS_THEY_ARE, start=None)
    plain = (tmp_path / "plain.md").read_text()
    assert "| pairs | all of them, as they are |" in plain
    assert "| begun with | random numbers |" in plain
    write_card(tmp_path / "given.md", *about, pairs=LIST, start="results/o/model")
    given = (tmp_path / "given.md").read_text()
    assert f"| pairs | those kept by `{LIST}` |" in given
    assert "| begun with | the weights of `results/o/model` |" in given
