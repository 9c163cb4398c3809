"""The rich layout writer: what it says is true of any map, and wording changes no claim."""

from __future__ import annotations

import string

import numpy as np
import pytest
from random_maps import random_map

from groundsynth.captions.arrangement import (
    ALONG_EDGE,
    LARGE_PATCH,
    RIBBON,
    SCATTERED,
    check_arrangement,
    find_patches,
    is_arranged,
    read_arrangements,
)
from groundsynth.captions.map_facts import count_maps
from groundsynth.captions.parsing import parse_claims
from groundsynth.captions.rich_layout import (
    TEMPLATES,
    VERBS,
    describe_richly,
    plan_statements,
    word_statements,
)
from groundsynth.captions.writers import make_writer
from groundsynth.checks.claims import TRUE, check_against

MAPS = 1500  # some ten seconds; more by hand


@pytest.fixture(scope="module")
def maps() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [random_map(rng) for _ in range(MAPS)]


def test_every_claim_is_true_of_many_maps_and_every_kind_of_claim_occurs(maps):
    kinds = set()
    for seed, labels in enumerate(maps):
        facts = count_maps(labels[None])
        plan = plan_statements(facts, 0)
        caption = word_statements(plan, seed, ("words", "numbers")[seed % 2])
        judged = [(claim, check_against(claim, facts, 0)) for claim in parse_claims(caption)]
        assert [str(claim) for claim, verdict in judged if verdict != TRUE] == [], caption
        kinds |= {claim.kind for claim, _ in judged}
        said = read_arrangements(caption)
        planned = {(s.how, s.k, s.where) for s in plan if s.kind == "arranged"}
        assert {(c.kind, *c.classes, c.side) for c in said} == planned, caption
        assert all(check_arrangement(claim, labels) for claim in said), caption
        kinds |= {claim.kind for claim in said}
    assert kinds == {
        "mention", "dominant", "share", "position", "absence", "more", "adjacent", "count",
        LARGE_PATCH, SCATTERED, RIBBON, ALONG_EDGE,
    }  # fmt: skip


@pytest.mark.parametrize("style", ["words", "numbers"])
def test_wording_varies_and_the_claims_do_not(maps, style):
    for labels in maps[:60]:
        first, second = (describe_richly(labels, seed, style) for seed in (1, 2))
        assert set(parse_claims(first)) == set(parse_claims(second))
        arranged = [
            {(c.kind, c.classes, c.side) for c in read_arrangements(text)} for text in (first, second)
        ]
        assert arranged[0] == arranged[1]
    captions = [describe_richly(maps[0], seed, style) for seed in range(200)]
    assert len(set(captions)) > 195


def test_every_statement_of_the_plan_is_read_back():
    """Nothing said is lost on the parser: a class, its share, its place, its neighbours, its patches."""
    labels = np.zeros((32, 32), np.uint8)
    labels[:8, :] = 3  # cropland along the north, a quarter
    labels[20:26, 20:26] = 6  # a pond of 36 pixels
    for seed in range(40):
        claims = set(map(str, parse_claims(describe_richly(labels, seed))))
        assert claims == {
            "mention: tree cover", "dominant: tree cover", "share: tree cover 0.708…0.775",
            "mention: cropland", "share: cropland 0.225…0.292", "position: cropland north",
            "mention: water", "position: water southeast", "adjacent: tree cover to cropland",
            "count: cropland 1…1", "absence: built-up",
        }  # fmt: skip


# --- arrangements by hand --------------------------------------------------------------------


def drawn(*boxes: tuple[int, int, int, int], side: int = 64) -> np.ndarray:
    """Return a forest map with water in boxes of (top, bottom, left, right)."""
    labels = np.zeros((side, side), np.uint8)
    for top, bottom, left, right in boxes:
        labels[top:bottom, left:right] = 6
    return labels


BLOCK = drawn((20, 40, 20, 40))
RIVER = drawn((30, 33, 0, 40), (30, 60, 37, 40))  # bends: 3 px wide, 70 long
PONDS = drawn(*((8 * i, 8 * i + 3, 8 * i, 8 * i + 3) for i in range(6)))
NORTH = drawn((0, 6, 4, 60))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (BLOCK, {LARGE_PATCH}),
        (RIVER, {RIBBON}),  # 201 of 4,096 pixels are just under a twentieth
        (PONDS, {SCATTERED}),
        (NORTH, {LARGE_PATCH, RIBBON, "north"}),
        (drawn((20, 22, 20, 22)), set()),  # four pixels are no patch
        (drawn((0, 40, 10, 12), (50, 62, 40, 62)), set()),  # the ribbon holds less than half
    ],
)
def test_arrangements_by_hand(labels, expected):
    patches = find_patches(labels, 6)
    found = {kind for kind in (LARGE_PATCH, SCATTERED, RIBBON) if is_arranged(patches, kind)}
    found |= {side for side in ("north", "east", "south", "west") if is_arranged(patches, ALONG_EDGE, side)}
    assert found == expected


def test_a_web_of_streets_is_no_ribbon():
    """Narrow everywhere, but in all directions: its longest way is short for its area."""
    labels = np.zeros((64, 64), np.uint8)
    labels[::6], labels[:, ::6] = 4, 4
    labels[1::6], labels[:, 1::6] = 4, 4
    assert not is_arranged(find_patches(labels, 4), RIBBON)


@pytest.mark.parametrize(
    ("sentence", "claim"),
    [
        ("The forest forms one large connected patch.", (LARGE_PATCH, (0,), "")),
        ("Fields lie in small scattered patches.", (SCATTERED, (3,), "")),
        ("A river runs in a thin line through the trees.", (RIBBON, (6,), "")),
        ("Houses keep to the western edge.", (ALONG_EDGE, (4,), "west")),
    ],
)
def test_arrangements_are_read(sentence, claim):
    (found,) = read_arrangements(sentence)
    assert (found.kind, found.classes, found.side) == claim
    assert sentence[slice(*found.span)] in sentence


@pytest.mark.parametrize(
    "sentence", ["The water is not one large patch.", "One large patch.", "Woodland is scattered across it."]
)
def test_what_denies_or_names_nothing_is_no_arrangement(sentence):
    assert read_arrangements(sentence) == []


def test_a_false_arrangement_is_caught():
    (claim,) = read_arrangements("Water lies in scattered patches.")
    assert check_arrangement(claim, PONDS)
    assert not check_arrangement(claim, BLOCK)


def test_templates_agree_with_plural_nouns():
    """Every verb a template bends has a plural."""
    fields = {
        field
        for group in TEMPLATES.values()
        for text in group
        for _, field, *_ in string.Formatter().parse(text)
    } - {None, "n", "s", "p", "where", "m", "v", "c", "are", "patches"}
    assert fields <= set(VERBS)


def test_the_config_chooses_the_style(maps):
    plain, rich = (make_writer("layout", layout_style=style) for style in ("plain", "rich"))
    assert (plain.name, plain.version, rich.name, rich.version) == ("layout", "1", "layout", "2")
    images, big = [np.zeros((48, 48, 3), np.uint8)] * 8, [m for m in maps if len(m) == 48][:8]
    written = rich.write(images, big, range(8))
    assert written == [describe_richly(labels, seed) for seed, labels in enumerate(big)]


def test_speckle_is_no_web_of_ribbons():
    """A disc of which every third row and column is missing is a disc with gaps."""
    row, col = np.mgrid[:64, :64]
    labels = np.where((row - 32) ** 2 + (col - 32) ** 2 < 400, 6, 0).astype(np.uint8)
    labels[(row % 3 == 0) & (col % 5 > 1)] = 0
    assert not is_arranged(find_patches(labels, 6), RIBBON)


def test_claims_of_arrangement_are_highlighted_too():
    from groundsynth.report.caption_table import captions_side_by_side
    from groundsynth.report.grounding_figures import VERDICT_STYLE

    image = np.zeros((1, 64, 64, 3), np.uint8)
    told = {"a": ["Water lies in scattered patches."], "b": ["Some clouds."]}
    by_map = [captions_side_by_side(image, labels[None], told) for labels in (PONDS, BLOCK)]
    for page, verdict in zip(by_map, ("true", "false"), strict=True):
        assert (
            f'<span style="color:{VERDICT_STYLE[verdict][0]};font-weight:600">scattered patches</span>'
            in page
        )
        assert page.count("<img ") == 2
        assert f"{VERDICT_STYLE['not checkable'][1]} 1</span>" in page
