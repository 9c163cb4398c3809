"""Faults do what their strength says, and the evidence notices them where labeller and maps are perfect."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from groundsynth.captions.layout import LayoutWriter, describe_layout
from groundsynth.captions.rich_layout import RichLayoutWriter
from groundsynth.checks.agreement import caption_precisions
from groundsynth.checks.certificate import CHECK_FOR, fit_thresholds, judge
from groundsynth.checks.corruption import (
    STRENGTHS,
    corrupt,
    corrupt_caption,
    matched,
    of_other_kind,
    partners,
    permute_classes,
)
from groundsynth.checks.evidence import (
    LEAST,
    LEAST_SPREAD,
    Witness,
    common_shares,
    learn_captions,
    map_fits,
    measure,
    measure_chips,
)
from groundsynth.checks.fault_study import (
    auc_rows,
    fault_table,
    measure_faults,
    verdict_rows,
)
from groundsynth.checks.memorisation import index_training
from groundsynth.checks.patches import index_patches
from groundsynth.checks.samples import (
    Samples,
    chip_corners,
    chip_samples,
    held_out_samples,
    like_writer,
    real_windows,
)
from groundsynth.checks.territory import Territory
from groundsynth.checks.texture import learn_texture
from groundsynth.data.blocks import HIDDEN, NO_SPLIT, TEST, TRAIN, VAL
from groundsynth.errors import GroundsynthError

SIZE = 32
COLOURS = np.array([[30, 90, 40], [150, 120, 60], [120, 170, 80], [200, 180, 90], [160, 150, 160], [220, 200, 180],
                    [20, 40, 110]], float)  # fmt: skip


class ColourReader(nn.Module):
    """A labeller that knows the classes by their colours."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(COLOURS / 255, dtype=torch.float32))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return -40 * ((images[:, None] - self.weight[None, :, :, None, None]) ** 2).sum(2)


@pytest.fixture(scope="module")
def territory() -> Territory:
    """Return smooth land cover whose image shows it in its colours, with grain: 6 × 12 blocks of 32 px."""
    generator = np.random.default_rng(3)
    fields = np.stack([gaussian_filter(generator.normal(size=(192, 384)), 9) for _ in range(7)])
    labels = fields.argmax(0).astype(np.uint8)
    grain = gaussian_filter(generator.normal(0, 1, (192, 384, 3)), (1, 1, 0)) * 40
    image = (COLOURS[labels] + grain).clip(0, 255).astype(np.uint8)
    split = np.full((192, 384), NO_SPLIT, np.uint8)
    split[:, :160], split[:, 168:264], split[:128, 264:300], split[:, 304:] = TRAIN, VAL, HIDDEN, TEST
    return Territory(["small"], [image], [split], [labels])


@pytest.fixture(scope="module")
def chips(territory) -> pd.DataFrame:
    """Return real chips of 32 px side by side, each its own block."""
    rows = [
        (name, row, col)
        for name, cols in (("train", range(0, 128, 32)), ("val", (168, 200, 232)), ("hidden", (264,)), ("test", (304, 336)))
        for row in range(0, 192, 32) for col in cols
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["split", "row", "col"]).assign(scene="small")
    places = np.column_stack([np.zeros(len(table), int), table[["row", "col"]]])
    return table.assign(
        block=np.arange(len(table)), chip_id=[f"c{k}" for k in range(len(table))],
        image=list(territory.cut(places, SIZE)), mask=list(territory.cut_maps(places, SIZE)),
    )  # fmt: skip


@pytest.fixture(scope="module")
def windows(territory, chips) -> dict[str, Samples]:
    writer = LayoutWriter()
    return {
        "val": real_windows(territory, chips, ["val", "hidden"], SIZE, 40, writer, 0),
        "test": real_windows(territory, chips, ["test"], SIZE, 40, writer, 0),
    }


@pytest.fixture(scope="module")
def witness(territory, chips, windows) -> Witness:
    train = np.stack(chips.loc[chips["split"] == "train", "image"].to_list())
    found = Witness(
        ColourReader(), index_training(territory, SIZE), index_patches(territory), learn_texture(train)
    )
    return learn_captions(found, windows["val"], 0)


def test_windows_lie_in_their_splits_and_take_turns_among_blocks(territory, windows):
    for name, codes in (("val", (VAL, HIDDEN)), ("test", (TEST,))):
        samples = windows[name]
        for (_, row, col), labels in zip(samples.places, samples.maps, strict=True):
            assert np.isin(territory.splits[0][row : row + SIZE, col : col + SIZE], codes).all()
            assert (territory.maps[0][row : row + SIZE, col : col + SIZE] == labels).all()
        counts = pd.Series(samples.units).value_counts()
        assert counts.max() - counts.min() <= 1
        assert len(samples) == 40
        assert (caption_precisions(samples.captions, samples.maps) == 1).all()


def test_partners_share_no_ground(windows):
    samples = windows["val"]
    for partner in (partners(samples, 0), matched(samples), of_other_kind(samples, 0)):
        a, b = samples.places, samples.places[partner]
        apart = (np.abs(a[:, 1:] - b[:, 1:]) >= SIZE).any(1)
        assert apart.all()
        assert (samples.units != samples.units[partner]).all()


def test_a_single_block_is_its_own_partner(windows):
    alone = windows["val"].take(np.array([0, 0, 0]))
    for partner in (partners(alone, 0), matched(alone), of_other_kind(alone, 0)):
        assert partner.tolist() == [0, 1, 2]


@pytest.mark.parametrize("writer", [LayoutWriter(), LayoutWriter("numbers"), RichLayoutWriter()])
def test_one_word_of_a_caption_is_changed(windows, writer):
    samples = windows["test"]
    texts = writer.write(list(samples.images), list(samples.maps), range(40))
    changed = corrupt(samples.changed(captions=texts), None, None, writer, 0, ["corrupted_caption"])
    changed = changed["corrupted_caption"].captions
    assert sum(a != b for a, b in zip(texts, changed, strict=True)) >= 38
    assert (caption_precisions(changed, samples.maps) < 1).mean() > 0.9
    kept = [
        len(set(a.split()) & set(b.split())) / len(set(a.split()))
        for a, b in zip(texts, changed, strict=True)
    ]
    assert np.median(kept) > 0.8


def test_a_caption_without_a_word_to_change_stays():
    shares, there = np.eye(7)[0], np.eye(7, dtype=bool)[0]
    generator = np.random.default_rng(0)
    assert corrupt_caption("A nice day.", shares, there, generator) == "A nice day."
    assert corrupt_caption("There is no water.", shares, there, generator) == "There is no water."
    wrong = corrupt_caption("Forest everywhere.", shares, there, generator)
    assert "orest" not in wrong


def test_permuted_classes_are_all_others(windows):
    samples = windows["val"]
    permuted = permute_classes(samples, LayoutWriter(), 0)
    assert (permuted.maps != samples.maps).all()
    assert (caption_precisions(permuted.captions, permuted.maps) == 1).all()


def test_map_fit_is_what_shifting_the_map_loses():
    """A map of four rows of bands: of its shifts, a quarter fits, a quarter fits nowhere, and half lie between."""
    maps = np.repeat(np.array([0, 0, 3, 3], np.uint8), 4).reshape(1, 4, 4)
    probabilities = np.full((1, 7, 4, 4), 0.02)
    np.put_along_axis(probabilities, maps[:, None].astype(int), 0.88, 1)
    step = np.log((0.88 + LEAST) / (0.02 + LEAST))
    # mean log-probability over the shifts, from the middle: step/2, 0, -step/2, 0
    assert map_fits(probabilities, maps) == pytest.approx(step / 2 / (step / np.sqrt(8) + LEAST_SPREAD))
    assert map_fits(probabilities, np.roll(maps, 1, 1)) == pytest.approx(0, abs=1e-9)
    assert map_fits(probabilities, np.roll(maps, 2, 1)) == pytest.approx(-map_fits(probabilities, maps))


def test_shares_in_common_are_counted_wherever_they_lie():
    """A map half 0, half 3; the labeller sees a quarter of 0, and the rest of 3: three quarters agree."""
    maps = np.repeat(np.array([0, 0, 3, 3], np.uint8), 4).reshape(1, 4, 4)
    probabilities = np.zeros((1, 7, 4, 4))
    probabilities[:, 0, :, :1], probabilities[:, 3, :, 1:] = 1, 1
    assert common_shares(probabilities, maps) == pytest.approx(0.75)
    assert common_shares(probabilities, np.roll(maps, 1, 1)) == pytest.approx(0.75)
    assert common_shares(probabilities, np.where(maps == 0, 5, maps).astype(np.uint8)) == pytest.approx(0.5)
    assert common_shares(probabilities, np.where(maps == 0, 255, maps).astype(np.uint8)) == pytest.approx(
        0.75
    )
    assert np.isnan(common_shares(probabilities, np.full_like(maps, 255))).all()


def test_map_fit_is_zero_by_chance_and_for_one_class():
    generator = np.random.default_rng(0)
    maps = generator.integers(0, 3, (40, 16, 16)).astype(np.uint8)
    probabilities = generator.dirichlet(np.ones(7), (40, 16, 16)).transpose(0, 3, 1, 2)
    fits = map_fits(probabilities, maps)
    assert abs(fits.mean()) < 3 / np.sqrt(40)  # spreads are about 1, so 40 of them average to about 0
    assert 0.7 < fits.std() < 1.3
    assert map_fits(probabilities, np.zeros_like(maps)) == pytest.approx(0, abs=1e-9)
    assert np.isnan(map_fits(probabilities, np.full_like(maps, 255))).all()
    some = np.where(generator.random(maps.shape) < 0.3, 255, maps).astype(np.uint8)
    rolled = map_fits(np.roll(probabilities, (3, 5), (2, 3)), np.roll(some, (3, 5), (1, 2)))
    assert map_fits(probabilities, some) == pytest.approx(rolled)


def test_a_labeller_that_sees_makes_a_certificate_that_notices(territory, chips, windows, witness):
    """Everything planted is noticed by the check for it, and the real windows of other blocks are kept."""
    corners = chip_corners(chips[chips["split"] == "train"], territory.names)
    own, faults, rows = {}, {}, []
    for name, samples in windows.items():
        own[name] = measure(samples, witness).assign(unit=samples.units)
        faults[name] = measure_faults(samples, own[name], witness, territory, corners, LayoutWriter(), 0)
        rows += auc_rows("smoke", "real", own[name], faults[name], f"split={name}")
    thresholds = fit_thresholds(own["val"], own["val"]["unit"], 0.95, "val", faults["val"])
    rows += verdict_rows("smoke", "real", own["test"], faults["test"], thresholds)
    value = {(r["metric"], r["arm"], r["regime"]): r["value"] for r in rows}
    assert value["keep_rate", "", ""] >= 0.85
    for fault in set(STRENGTHS) - {"spectrum_matched_noise"}:
        assert value["auc", fault, "split=test"] > 0.95, fault
        assert value["drop_rate", fault, ""] > 0.9, fault
    assert value["check_auc", "shuffled_caption", "split=test;check=caption_of_image"] > 0.9
    assert ("check_auc", "shuffled_caption", "split=test;check=map_fit") not in value
    table = fault_table(rows)
    assert set(table["check"]) == set(CHECK_FOR.values())
    assert (judge(own["test"], thresholds)["verdict"] == "keep").mean() == value["keep_rate", "", ""]


def test_chips_are_measured_in_order_whatever_their_number(chips, witness, monkeypatch):
    """Parts of any size give the same evidence; a system without a map has two sides empty."""
    made = chips.iloc[:9].assign(system=["joint", "image", "joint"] * 3).reset_index(drop=True)
    texts = [describe_layout(labels, 0) for labels in made["mask"]]
    whole = measure_chips(made, texts, witness, ("image",))
    monkeypatch.setattr("groundsynth.checks.evidence.PART", 2)
    pd.testing.assert_frame_equal(whole, measure_chips(made, texts, witness, ("image",)))
    image = (made["system"] == "image").to_numpy()
    assert whole.loc[image, ["map_fit", "caption_of_image", "kappa"]].isna().all(axis=None)
    assert whole.loc[~image].notna().all(axis=None)
    alone = measure(chip_samples(made.iloc[[2]], texts[2:3]), witness)
    assert alone["map_fit"].iloc[0] == pytest.approx(whole["map_fit"].iloc[2], abs=1e-6)


def test_a_further_scorer_fills_its_column(chips, witness):
    from dataclasses import replace

    further = replace(witness, scorers={"contrastive": lambda images, captions: np.arange(len(images)) / 2})
    table = measure(chip_samples(chips.iloc[:3], ["Forest."] * 3), further)
    assert table["contrastive"].tolist() == [0, 0.5, 1]


def captions_of(
    chips: pd.DataFrame, writer: str, version: str, prompt: str = "shares in words"
) -> pd.DataFrame:
    return pd.DataFrame({"chip_id": chips["chip_id"], "caption_index": 0, "caption": "Forest.", "writer": writer,
                         "writer_version": version, "prompt": prompt})  # fmt: skip


def test_a_models_captions_leave_only_the_chips_as_samples(territory, chips):
    model = held_out_samples(territory, chips, captions_of(chips, "vlm", "3"), ["test"], 40, 0)
    assert len(model) == (chips["split"] == "test").sum()
    assert set(model.captions) == {"Forest."}
    assert (model.places[:, 0] == 0).all()
    template = held_out_samples(territory, chips, captions_of(chips, "layout", "1"), ["test"], 40, 0)
    assert len(template) == 40
    with pytest.raises(GroundsynthError, match="no chip of split test has a caption"):
        held_out_samples(territory, chips, captions_of(chips[:3], "vlm", "3"), ["test"], 40, 0)


def test_windows_are_described_as_the_study_describes(chips):
    assert isinstance(like_writer(captions_of(chips, "layout", "2")), RichLayoutWriter)
    numbers = like_writer(captions_of(chips, "layout", "1", "shares in numbers"))
    assert (type(numbers), numbers.style) == (LayoutWriter, "numbers")


def test_ground_too_small_for_a_window_is_told(territory, chips):
    with pytest.raises(
        GroundsynthError, match="no 128 px window with a label on half of it fits the ground of split hidden"
    ):
        real_windows(territory, chips, ["hidden"], 128, 4, LayoutWriter(), 0)
