"""The parser against sentences read by hand, and the checker against maps counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from groundsynth.captions import facts
from groundsynth.captions.map_facts import count_maps
from groundsynth.captions.shares import fraction_range, number_range, phrases_for
from groundsynth.checks.claims import FALSE, TRUE, UNKNOWN, Claim, check_claim, parse_claims
from groundsynth.legend import count_classes

TREE, SHRUB, GRASS, CROP, BUILT, BARE, WATER = range(7)


def short(claim: Claim) -> tuple:
    """Return a claim as (kind, classes…[, low, high][, where]) for the tables below."""
    parts: list = ["not " * claim.denied + claim.kind, *claim.classes, *claim.other]
    if claim.kind == "share":
        parts += [round(claim.low, 3), round(claim.high, 3)]
    return tuple(parts + [claim.where] * bool(claim.where))


def m(*classes):
    return [("mention", k) for k in classes]


def no(*classes):
    return [("absence", k) for k in classes]


SENTENCES = [
    # mentions and synonyms
    ("A river runs past a village.", [*m(WATER), *m(BUILT)]),
    ("Meadows, scrub and farmland.", [*m(GRASS), *m(SHRUB), *m(CROP)]),
    ("Woodland beside a lake and sandy soil.", [
        *m(TREE), *m(WATER), *m(BARE), ("adjacent", TREE, WATER), ("adjacent", TREE, BARE)]),
    ("A tree-lined street.", [*m(TREE), *m(BUILT)]),
    # words that only look like land cover
    ("Photographed in the dry season.", []),
    ("The streets are quiet.", m(BUILT)),
    ("A wide field of view.", []),
    ("The bare minimum of detail.", []),
    ("A watershed moment for grassroots movements.", []),
    ("A wooden sandwich board.", []),
    ("This crop of the image is cropped tightly.", []),
    ("A landscape seen from overseas.", []),
    ("The water tower stands alone.", []),
    ("Deforested land.", []),
    ("A non-forest area.", []),
    # absence
    ("There is no water.", no(WATER)),
    ("No water or cropland is visible.", no(WATER, CROP)),
    ("There is no water, cropland or bare ground.", no(WATER, CROP, BARE)),
    ("Neither water nor crops appear.", no(WATER, CROP)),
    ("Forest without any roads.", [*m(TREE), *no(BUILT)]),
    ("No sign of water.", no(WATER)),
    ("Water is absent.", no(WATER)),
    ("Water is not visible.", no(WATER)),
    ("No water but many trees.", [*no(WATER), *m(TREE)]),
    ("A treeless plain with bare soil.", [*no(TREE), *m(BARE)]),
    ("The scene is free of buildings.", no(BUILT)),
    ("Not only forest but also water.", m(TREE, WATER)),
    # dominance
    ("The scene is mostly forest.", [*m(TREE), ("dominant", TREE)]),
    ("Dominated by trees and grass.", [*m(TREE, GRASS), ("dominant", TREE, GRASS)]),
    ("The scene is not dominated by water.", [("not dominant", WATER)]),
    ("The north is mostly forest.", [*m(TREE), ("position", TREE, "north")]),
    ("Forest is the dominant cover, with a lake.", [*m(TREE), ("dominant", TREE), *m(WATER)]),
    # shares
    ("Half of the scene is forest.", [*m(TREE), ("share", TREE, 0.45, 0.55)]),
    ("About half of the scene is forest.", [*m(TREE), ("share", TREE, 0.4, 0.6)]),
    ("Forest covers 40 % and water 12.5%.", [
        *m(TREE), ("share", TREE, 0.35, 0.45), *m(WATER), ("share", WATER, 0.124, 0.126)]),
    ("Between 30 and 40 % is cropland.", [*m(CROP), ("share", CROP, 0.3, 0.4)]),
    ("Less than 5 percent is water.", [("share", WATER, 0.0, 0.05)]),
    ("More than half is urban.", [*m(BUILT), ("share", BUILT, 0.5, 1.0)]),
    ("No more than 10 % water.", [*m(WATER), ("share", WATER, 0.0, 0.1)]),
    ("Two-thirds of the tile is woodland.", [*m(TREE), ("share", TREE, 0.633, 0.708)]),
    ("The entire image is forest.", [*m(TREE), ("share", TREE, 0.975, 1.0)]),
    ("It shows nothing but open water.", [*m(WATER), ("share", WATER, 0.975, 1.0)]),
    ("Almost no water is left.", [("share", WATER, 0.0, 0.05)]),
    ("Forest and grassland together cover 60 %.", [*m(TREE, GRASS), ("share", TREE, GRASS, 0.55, 0.65)]),
    ("Forest and grassland each cover 30 %.", [
        *m(TREE, GRASS), ("share", TREE, 0.25, 0.35), ("share", GRASS, 0.25, 0.35)]),
    ("Half of the scene is forest and grassland lies in the north.", [
        *m(TREE), ("share", TREE, 0.45, 0.55), *m(GRASS), ("position", GRASS, "north")]),
    ("The third-largest city.", m(BUILT)),
    # positions
    ("To the north, water appears.", [*m(WATER), ("position", WATER, "north")]),
    ("The upper left corner contains buildings.", [*m(BUILT), ("position", BUILT, "northwest")]),
    ("Roads run through the middle.", [*m(BUILT), ("position", BUILT, "centre")]),
    ("Grass in the south-east.", [*m(GRASS), ("position", GRASS, "southeast")]),
    ("Shrubs are scattered across the scene.", [*m(SHRUB), ("position", SHRUB, "throughout")]),
    ("A farm in North Carolina.", m(CROP)),
    ("What is left is grass.", m(GRASS)),
    ("Trees in the city centre.", m(TREE, BUILT)),
    # outside the legend
    ("Clouds over a lake.", [("mention",), *m(WATER)]),
    ("Herbaceous wetland.", [("mention",)]),
]  # fmt: skip


@pytest.mark.parametrize(("sentence", "expected"), SENTENCES, ids=[s for s, _ in SENTENCES])
def test_parser_reads_sentences(sentence, expected):
    assert sorted(map(short, parse_claims(sentence)), key=str) == sorted(expected, key=str)


def test_a_repeated_claim_counts_once():
    assert len(parse_claims("Water. There is water, and more water.")) == 1


def halves() -> np.ndarray:
    """Return 8 x 8: north half forest, south half grass, a 2 x 4 pond in the south-east corner."""
    labels = np.full((8, 8), GRASS, np.uint8)
    labels[:4], labels[6:, 4:] = TREE, WATER
    return labels


# shares: forest 32/64, grass 24/64, water 8/64
CHECKS = [
    (Claim("mention", (WATER,)), TRUE),
    (Claim("mention", (CROP,)), FALSE),
    (Claim("absence", (CROP,)), TRUE),
    (Claim("absence", (WATER,)), FALSE),
    (Claim("dominant", (TREE,)), TRUE),
    (Claim("dominant", (GRASS,)), FALSE),
    (Claim("dominant", (GRASS, TREE)), TRUE),
    (Claim("dominant", (TREE, WATER)), FALSE),
    (Claim("share", (WATER,), 0.125, 0.2), TRUE),
    (Claim("share", (WATER,), 0.13, 0.2), FALSE),
    (Claim("share", (TREE, WATER), 0.6, 0.65), TRUE),
    (Claim("position", (TREE,), where="north"), TRUE),
    (Claim("position", (TREE,), where="south"), FALSE),
    (Claim("position", (WATER,), where="southeast"), TRUE),
    (Claim("position", (WATER,), where="throughout"), FALSE),
    (Claim("position", (CROP,), where="north"), FALSE),
    (Claim("dominant", (GRASS,), denied=True), TRUE),
    (Claim("dominant", (GRASS, WATER), merged=True), TRUE),  # 32 of 64, as much as forest
    (Claim("mention", (CROP, GRASS), merged=True), TRUE),
    (Claim("mention", (CROP, BUILT), merged=True), FALSE),
    (Claim("absence", (WATER,), where="north"), TRUE),
    (Claim("absence", (WATER,), where="south"), FALSE),
    (Claim("position", (WATER,), where="corners"), TRUE),  # 4 of 8 pixels on 16 of 64
    (Claim("position", (TREE,), where="edge"), FALSE),  # 18 of 32 on 28 of 64
    (Claim("more", (TREE,), other=(GRASS,)), TRUE),
    (Claim("more", (WATER,), other=(GRASS,)), FALSE),
    (Claim("adjacent", (TREE,), other=(GRASS,)), TRUE),  # 8 sides
    (Claim("adjacent", (TREE,), other=(WATER,)), FALSE),
    (Claim("count", (WATER,), 1, 1), TRUE),
    (Claim("count", (WATER,), 2, 2), FALSE),
    (Claim("more", (TREE,)), UNKNOWN),
    (Claim("mention", (), name="clouds"), UNKNOWN),
]


@pytest.mark.parametrize(("claim", "verdict"), CHECKS, ids=[str(c) for c, _ in CHECKS])
def test_checker_counts_pixels(claim, verdict):
    assert check_claim(claim, halves()) == verdict


def test_nothing_is_checkable_on_an_unlabelled_map():
    assert {check_claim(claim, np.full((8, 8), 255, np.uint8)) for claim, _ in CHECKS} == {UNKNOWN}


def test_fewer_than_six_pixels_are_not_present():
    labels = np.full((8, 8), TREE, np.uint8)
    labels[0, :5] = WATER
    assert check_claim(Claim("mention", (WATER,)), labels) == FALSE
    labels[0, 5] = WATER
    assert check_claim(Claim("mention", (WATER,)), labels) == TRUE


def test_patches_join_at_corners_and_small_ones_do_not_count():
    labels = np.full((16, 16), GRASS, np.uint8)
    labels[:3, :3] = labels[3:6, 3:6] = WATER  # one patch of 18 pixels, joined at a corner
    labels[10:13, 10:12] = WATER  # 6 pixels
    labels[15, :5] = WATER  # 5 pixels: too few
    assert check_claim(Claim("count", (WATER,), 2, 2), labels) == TRUE


@settings(max_examples=30, deadline=None)
@given(maps=arrays(np.uint8, (3, 9, 12), elements=st.sampled_from([0, 1, 2, 3, 4, 5, 6, 255])))
def test_bulk_counts_equal_counts_one_by_one(maps):
    counted = count_maps(maps)
    for i, labels in enumerate(maps):
        assert counted.pixels[i] == pytest.approx(count_classes(labels))
        masks = facts.place_masks(9, 12)
        assert (counted.places[i] == [count_classes(np.where(m, labels, 255)) for m in masks]).all()
        for k in range(7):
            bulk = counted.concentration(i, [k])[: len(facts.SECTORS)]
            assert bulk == pytest.approx(facts.concentration(labels)[k])
        sides = [(labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])]
        by_hand = sum(int((((a == 0) & (b == 6)) | ((a == 6) & (b == 0))).sum()) for a, b in sides)
        assert counted.touching[i, 0, 6] == counted.touching[i, 6, 0] == by_hand


def test_a_claim_knows_its_words_its_place_and_its_doubt():
    caption = "No trees. Perhaps a lake in the north-east."
    absence, mention, position = parse_claims(caption)
    assert not absence.positive
    assert not absence.hedged
    assert mention.hedged
    assert caption[slice(*mention.span)] == "lake"
    assert caption[slice(*position.span)] == "lake in the north-east"
    assert position.place_mask(4, 4)[:2, 2:].all()
    assert position.place_mask(4, 4).sum() == 4
    assert not parse_claims("Clouds.")[0].checkable


def test_unlabelled_pixels_do_not_count_in_shares():
    labels = halves()
    labels[:4] = 255  # left: grass 24 of 32, water 8 of 32
    assert check_claim(Claim("share", (WATER,), 0.25, 0.25), labels) == TRUE


def test_concentration_by_hand():
    values = facts.concentration(halves())
    north, southeast = facts.SECTORS.index("north"), facts.SECTORS.index("southeast")
    assert values[TREE, north] == 1  # all inside
    assert values[GRASS, north] == -1  # none inside: (0 - 0.5) / 0.5
    assert values[GRASS, southeast] == pytest.approx((8 / 24 - 0.25) / 0.75)
    assert facts.best_sector(np.full((8, 8), TREE, np.uint8), TREE) == "throughout"


@pytest.mark.parametrize(
    ("percent", "about", "expected"),
    [(40, False, (0.35, 0.45)), (40, True, (0.3, 0.5)), (35, False, (0.325, 0.375)), (37, False, (0.365, 0.375)),
     (12.5, False, (0.1245, 0.1255)), (0, False, (0, 0.05)), (100, False, (0.95, 1))],
)  # fmt: skip
def test_numbers_hold_to_their_precision(percent, about, expected):
    assert number_range(percent, about) == pytest.approx(expected)


def test_fractions_hold_while_no_other_is_nearer():
    assert fraction_range(1 / 2) == pytest.approx((0.45, 0.55))  # neighbours 2/5 and 3/5
    assert fraction_range(1 / 3, about=True) == pytest.approx((0.25, 0.4))
    assert "a third" in phrases_for(0.33)
    assert "a third" not in phrases_for(0.4)
    assert all(phrases_for(share) for share in np.linspace(0.03, 1, 200))
