"""The command compare-cleaned: generators of cleaned and uncleaned pairs, judged by what was not the filter."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_contrastive import halves

from groundsynth.artifacts import metric_row, read_table
from groundsynth.checks import cleaned_training, cleaning
from groundsynth.checks.cleaned_training import Asked, Drawn
from groundsynth.checks.contrastive import HeldOut
from groundsynth.checks.distribution import kernel_distance, kernel_distances
from groundsynth.checks.pairs import layout_writer
from groundsynth.config import load_study
from groundsynth.errors import GroundsynthError
from groundsynth.models.denoiser import load_denoiser
from groundsynth.models.segmenter import build_segmenter
from groundsynth.paths import project_root
from groundsynth.seeds import rng
from groundsynth.workflow import cleaned_downstream, cleaned_training_study
from groundsynth.workflow.cleaned_training_study import Wanted, compare_cleaned
from groundsynth.workflow.cleaning_study import Ground


def windows(n, seed, first_block=0):
    images, maps = halves(n, seed)
    captions = layout_writer().write(maps, maps, range(n))
    return HeldOut(images, maps, captions, first_block + np.arange(n) // 4)


def rows_of(drawn, asked, **more):
    rows = pd.DataFrame(cleaned_training.generator_rows("s", asked, drawn, "planted=25%", 5, 0))
    return rows.set_index(["metric", "arm"])


def a_set(maps, features, fits):
    return Drawn(maps, maps, features, np.full(len(maps), fits))


def test_what_was_drawn_is_held_against_what_was_asked():
    """One generator draws the maps asked for, one those of other captions: every judge says so."""
    held, random = windows(24, 7), np.random.default_rng(0)
    real, near = random.normal(size=(24, 6)), random.normal(size=(24, 6))
    asked = Asked(held.captions, held.maps, held.blocks, np.full(7, 1 / 7), real, random.normal(size=(40, 6)))
    good, other = a_set(held.maps, near, 0.6), a_set(np.roll(held.maps, 1, 0), near + 3, 0.5)
    found = rows_of({"uncleaned": other, "random_drop": good, "cleaned": good}, asked)
    for score in ("share_skill", "claim_precision", "map_kappa"):
        assert found.loc[(score, "cleaned"), ["value", "low", "high"]].tolist() == [1, 1, 1]
    assert found.loc[("map_kappa", "uncleaned"), "value"] == 1, (
        "its image shows its own map, though not the asked"
    )
    for score in ("share_skill", "claim_precision"):
        value = found.loc[(score, "uncleaned"), "value"]
        change = found.loc[(f"delta_{score}", "cleaned-uncleaned")]
        assert value < 1
        assert change["value"] == pytest.approx(1 - value)
        assert 0 < change["low"] <= change["value"] <= change["high"]
    for score in ("share_skill", "claim_precision", "map_kappa", "image_text_score", "kid"):
        same = found.loc[(f"delta_{score}", "cleaned-random_drop")]
        assert same[["value", "low", "high"]].tolist() == [0, 0, 0], "paired over blocks and halves"
    assert found.loc[("image_text_change", "cleaned-uncleaned"), "value"] == pytest.approx(0.2)
    assert found.loc[("kid_change", "cleaned-uncleaned"), "value"] < -0.5
    assert found.loc[("frechet_change", "cleaned-random_drop"), "value"] == 0
    assert found.loc[("delta_kid", "cleaned-uncleaned"), "high"] < 0
    for change in ("kid_change", "frechet_change"):
        ours = found.loc[(change, "cleaned-uncleaned"), ["low", "value", "high"]].astype(float)
        assert ours.is_monotonic_increasing
        assert ours["high"] < 0, "far from real, it was"
    assert not found.index.duplicated().any()


def test_seeds_of_training_are_averaged_and_blocks_resampled_whole():
    held, random = windows(8, 3), np.random.default_rng(1)
    real = random.normal(size=(8, 4))
    asked = Asked(held.captions, held.maps, held.blocks, np.full(7, 1 / 7), real, real)
    features = random.normal(size=(16, 4))
    both = a_set(np.concatenate([held.maps, np.roll(held.maps, 1, 0)]), features, 0.5)
    first, second = (a_set(both.maps[part], features[part], 0.5) for part in (slice(8), slice(8, 16)))
    drawn = dict.fromkeys(("uncleaned", "random_drop", "cleaned"), both)
    found = rows_of(drawn, asked)
    assert found.loc[("share_skill", "cleaned"), ["n", "seeds"]].tolist() == [8, 2]
    alone = [
        rows_of(dict.fromkeys(drawn, part), asked).loc[("kid", "cleaned"), "value"]
        for part in (first, second)
    ]
    assert found.loc[("kid", "cleaned"), "value"] == pytest.approx(np.mean(alone))
    skill = rows_of(dict.fromkeys(drawn, second), asked).loc[("share_skill", "cleaned"), "value"]
    assert found.loc[("share_skill", "cleaned"), "value"] == pytest.approx((1 + skill) / 2)


def test_intervals_hold_seeds_of_training():
    """Two trainings that are right or wrong on every chip: blocks agree, so all doubt is between trainings."""
    right = np.r_[np.ones(8), np.zeros(8)]
    row = cleaned_training.over_blocks(np.arange(8) // 2, 2, lambda at: float(right[at].mean()), "x")
    assert row == {"value": 0.5, "low": 0.0, "high": 1.0}
    one = cleaned_training.over_blocks(np.arange(8) // 2, 1, lambda at: float(right[at].mean()), "x")
    assert one == {"value": 1.0, "low": 1.0, "high": 1.0}
    alone = cleaned_training.over_blocks(np.zeros(8), 2, lambda at: float(right[at].mean()), "x")
    assert (alone["low"], alone["high"]) == (None, None), "one block does not say how blocks vary"


def test_a_relative_change_of_halves_by_hand():
    """From 2 to 1 in every half: -50 %. Where what is divided by may be 0, there is no interval."""
    ones, twos = np.ones((4, 2)), np.full((4, 2), 2.0)
    assert cleaned_training._over_halves(ones, twos) == {"value": -0.5, "low": -0.5, "high": -0.5}
    twos[0] = 0.0
    assert cleaned_training._over_halves(ones, twos)["low"] is None
    assert np.isnan(cleaned_training._over_halves(ones, -ones)["value"])


def test_published_changes_stand_beside_ours():
    """Of distances lower is better, of scores higher; a whole interval on the published side is better."""
    ends = {
        "kid_change": (-0.3, -0.1),
        "image_text_change": (-0.2, -0.1),
        "delta_segmenter_miou": (-0.01, 0.02),
    }
    rows = [
        metric_row("s", "06_ground", name, sum(pair) / 2, arm="cleaned-uncleaned", low=pair[0], high=pair[1])
        for name, pair in ends.items()
    ]
    rows.append(
        metric_row("s", "06_ground", "frechet_change", -0.2, arm="cleaned-uncleaned", low=-0.3, high=-0.1)
    )
    found = cleaned_training.comparators(pd.DataFrame(rows)).set_index(["measure", "metric", "against"])
    shown = found.xs("uncleaned", level="against")["shown"].to_dict()
    assert shown == {
        ("Fréchet distance", "frechet_change"): "better", ("Fréchet distance", "kid_change"): "better",
        ("CLIP score (the filter's own)", "image_text_change"): "worse",
        ("RemoteCLIP score", "image_text_change"): "worse", ("mIoU of a segmenter", "delta_segmenter_miou"): "no difference shown",
    }  # fmt: skip
    assert set(found.xs("random_drop", level="against")["shown"]) == {"not measured"}
    assert (
        found.loc[("mIoU of a segmenter", "delta_segmenter_miou", "uncleaned"), "published"] == "+8.14 points"
    )


def test_captions_to_learn_from_are_right_ones_of_training_chips(ground):
    captions = cleaned_downstream.training_captions(ground, layout_writer(), 5)
    true = cleaning.claim_counts(
        captions, ground.maps[np.sort(rng("cleaned training", "training chips").permutation(24)[:5])]
    )
    assert len(captions) == 5
    assert (true[:, 0] == true[:, 1]).all()
    assert cleaned_downstream.training_captions(ground, layout_writer(), 0) == []


def test_distances_of_halves_are_those_of_the_mean():
    random = np.random.default_rng(2)
    first, second = random.normal(size=(2, 12, 3))
    values = kernel_distances(first, second, 7, 0)
    assert values.shape == (7,)
    assert kernel_distance(first, second, 7, 0)[0] == pytest.approx(values.mean())


@pytest.fixture
def ground(tmp_path, monkeypatch):
    """Twenty-four chips in six blocks, twelve validation windows in blocks 20…22 and eight hidden ones in 30, 31."""
    monkeypatch.setenv("GROUNDSYNTH_ROOT", str(project_root()))
    images, maps = halves(24, 1)
    val, hidden = windows(12, 5, 20), windows(8, 6, 30)
    held = HeldOut(*(np.concatenate([a, b]) for a, b in zip((val.images, val.maps), (hidden.images, hidden.maps), strict=True)),
                   val.captions + hidden.captions, np.concatenate([val.blocks, hidden.blocks]))  # fmt: skip
    ids = np.array([f"c{k}" for k in range(24)])
    found = Ground(ids, images, maps, np.arange(24) // 4, maps, held, held, held.maps)
    module = cleaned_training_study
    monkeypatch.setattr(module, "read_ground", lambda *_: found)
    monkeypatch.setattr(module, "results_dir", lambda _: tmp_path)
    monkeypatch.setattr(module, "read_chips", lambda *_, **__: pd.DataFrame({"block": [30, 31]}))
    monkeypatch.setattr(module, "load_segmenter", lambda *_: build_segmenter("Unet", "resnet18").eval())
    real = pd.DataFrame(
        {"chip_id": [f"v{k}" for k in range(8)], "block": np.arange(8) // 2, "split": ["val"] * 4 + ["test"] * 4,
         "image": list(val.images[:8]), "mask": list(val.maps[:8])}
    )  # fmt: skip
    for name, fake in (
        ("results_dir", lambda _: tmp_path),
        ("read_real", lambda *_: real),
        ("read_primary", lambda *_: (0, 6)),
    ):
        monkeypatch.setattr(cleaned_downstream, name, fake)
    monkeypatch.setattr(module, "read_primary", lambda *_: (0, 6))
    return found


def smoke():
    study = load_study(project_root() / "config" / "smoke.yaml")
    quick = study.ground.model_copy(update={"contrastive_steps": 2, "kid_subsets": 3})
    generator = study.generator.model_copy(update={"channels": [16, 16]})
    sampling = study.generate.model_copy(update={"sampling_steps": 2})
    few = study.benchmark.model_copy(update={"steps": 2, "validate_every": 1})
    return study.model_copy(
        update={"ground": quick, "generator": generator, "generate": sampling, "benchmark": few}
    )


def test_three_generators_are_trained_asked_and_judged_once(ground, tmp_path, monkeypatch):
    module, taught, asked = cleaned_training_study, [], []
    train, once, draw = module.train_generator, module.train_once, module.sample_pairs

    def spy_train(images, maps, settings, *rest):
        taught.append((len(images), settings.steps, settings.policy, settings.conditions))
        return train(images, maps, settings, *rest)

    judges = []

    def spy_once(pairs, fitting, names, *rest, **more):
        judges.append((names[0], {image.tobytes() for image in pairs.images}))
        return once(pairs, fitting, names, *rest, **more)

    monkeypatch.setattr(module, "train_generator", spy_train)
    monkeypatch.setattr(module, "train_once", spy_once)
    monkeypatch.setattr(module, "sample_pairs", lambda *a, **k: asked.append(len(a[2])) or draw(*a, **k))
    wanted = Wanted(0, 0.25, 2, [0], None, 8, 6)
    table = compare_cleaned(smoke(), wanted, tmp_path / "out")
    sizes = [n for n, *_ in taught]
    assert sizes[0] == 24
    assert sizes[1] == sizes[2] <= 24, "as many dropped at random as by cleaning"
    assert {rest for _, *rest in map(tuple, taught) for rest in [tuple(rest)]} == {(2, "text", "text")}
    assert asked == [8, 6, 8, 6, 8, 6], "captions of validation windows, then of training chips"
    hidden = {image.tobytes() for image in ground.val.images[12:]}
    (judge,) = [images for name, images in judges if name == "generation judge"]
    assert judge == hidden, "the judge learned from no block of the filter, and from none that is asked about"
    assert {
        "share_skill",
        "claim_precision",
        "map_kappa",
        "image_text_score",
        "kid",
        "delta_kid",
        "frechet_change",
    } <= set(table["metric"])
    assert set(table.loc[table["metric"] == "share_skill", "arm"]) == {"uncleaned", "random_drop", "cleaned"}
    scored = table[table["metric"] == "delta_segmenter_miou"].set_index("arm")
    assert set(scored.index) == {"cleaned-uncleaned", "cleaned-random_drop"}
    assert scored["n"].tolist() == [2, 2], "two test blocks; validation blocks are not counted"
    assert scored["seeds"].tolist() == [1, 1]
    sets = read_table(tmp_path / "out" / "comparators.csv", "comparators")
    assert len(sets) == 10, "four published changes, one beside two of ours, against two sets"
    unmeasured = set(sets.loc[sets["shown"] == "not measured", "metric"])
    assert unmeasured <= {"image_text_change"}, "a score below 0, of two steps, has no relative change"
    keys = ["system", "arm", "regime", "metric", "class"]
    assert not table.duplicated(keys).any()
    for name in ("cleaned_training", "same_captions"):
        assert (tmp_path / "out" / f"{name}.png").is_file()
    again = compare_cleaned(smoke(), wanted, tmp_path / "out")
    assert asked == [8, 6, 8, 6, 8, 6], "nothing is drawn twice"
    assert len(list((tmp_path / "checkpoints" / "cleaned_training").iterdir())) == 3, (
        "nor is a segmenter trained twice"
    )
    assert again["value"].tolist()[0] == table["value"].tolist()[0]


def test_a_start_that_reads_no_text_is_refused(ground, tmp_path, monkeypatch):
    from groundsynth.models.training import new_denoiser

    wanted = Wanted(0, 0.25, 2, [0], None, 8, 6)
    settings = cleaned_training_study._settings(smoke(), wanted, 0, cleaned_training_study.pick_device("cpu"))
    plain = settings.__class__(**{**settings.__dict__, "conditions": "none"})
    new_denoiser(ground.images, ground.maps, plain).save(tmp_path / "model")
    assert load_denoiser(tmp_path / "model").config.conditions == "none"
    begun = Wanted(0, 0.25, 2, [0], str(tmp_path / "model"), 8, 0)
    with pytest.raises(GroundsynthError, match="conditions 'none' reads no text"):
        compare_cleaned(smoke(), begun, tmp_path / "out")
