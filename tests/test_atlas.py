"""No pixel of the ground in two splits, whatever scenes show it: patches that overlap, dates that repeat."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.transform import Affine
from scipy.ndimage import gaussian_filter

from groundsynth.artifacts import check_table
from groundsynth.config import Data
from groundsynth.data import blocks as block_module
from groundsynth.data.atlas import Atlas, held_out_names, lay_atlas
from groundsynth.data.blocks import NO_SPLIT, SPLITS, TRAIN, atlas_blocks
from groundsynth.data.chips import ChipRules, find_chips
from groundsynth.data.prepare import lay_scenes, split_atlas, unused_scenes
from groundsynth.data.scene import Scene
from groundsynth.errors import GroundsynthError

UTM = CRS.from_epsg(32652)
EAST, NORTH, METRES = 300_000, 4_000_000, 10
SIZE, BUFFER = 32, 8

# the footprints of minuex_s2_korea: 512 × 512 pixels at (column, row) of one grid, twenty per date
KOREA = {
    "202309": [
        (2268, 1068), (2277, 0), (3967, 3206), (2926, 621), (1474, 1545), (1181, 2974), (851, 447),
        (1539, 2803), (1325, 932), (2983, 2417), (2962, 152), (3696, 347), (2353, 1841), (1063, 2076),
        (327, 3752), (3220, 2760), (3599, 1801), (3516, 2128), (1087, 2017), (2406, 2202),
    ],
    "202412": [
        (2602, 689), (1456, 1834), (928, 2748), (3130, 311), (1639, 2079), (3699, 2599), (2645, 1738),
        (289, 1256), (0, 3223), (2039, 1852), (1214, 3125), (3194, 1563), (582, 2017), (2372, 2273),
        (2210, 1507), (516, 2844), (2449, 2979), (1689, 716), (3947, 1167), (3259, 2051),
    ],
}  # fmt: skip


@pytest.fixture(autouse=True)
def quick_search(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(block_module, "CANDIDATES", 16)
    monkeypatch.setattr(block_module, "ROUNDS", 3)


def ground_labels(height: int, width: int, scale: float = 24) -> np.ndarray:
    """Seven classes in smooth patches."""
    field = gaussian_filter(
        np.random.default_rng(0).normal(size=(height // 8 + 2, width // 8 + 2)), scale / 8
    )
    ranks = np.searchsorted(np.quantile(field, np.linspace(0, 1, 8)[1:-1]), field)
    return np.kron(ranks, np.ones((8, 8), int))[:height, :width].astype(np.uint8)


def patch(name: str, labels: np.ndarray, col: int, row: int, shape: tuple[int, int], **changes) -> Scene:
    """Return a scene cut from a world of labels, placed where it was cut; its image is noise."""
    part = labels[row : row + shape[0], col : col + shape[1]]
    bands = np.random.default_rng(hash(name) % 1000).uniform(0, 254, (3, *part.shape)).astype(np.float32)
    place = Affine(METRES, 0, EAST + METRES * col, 0, -METRES, NORTH - METRES * row)
    return Scene(
        name, bands, part.copy(), np.ones(part.shape, bool), **{"crs": UTM, "transform": place, **changes}
    )


def options(**changes: object) -> Data:
    return Data(**{"chip_size": SIZE, "stride": 16, "folds": 3, "buffer": BUFFER, **changes})


def cut(atlas: Atlas, blocks, split):
    images = [np.zeros((*scene.shape, 3), np.uint8) for scene in atlas.scenes]
    return find_chips(atlas, images, split, blocks, ChipRules(SIZE, 16, 0.3, 0.3))[0]


def ground_places(chips) -> np.ndarray:
    """Return column and row of each chip in the world the patches were cut from, from its coordinates."""
    east = (chips["transform_c"] - EAST) / METRES
    north = (NORTH - chips["transform_f"]) / METRES
    return np.stack([east, north], 1).round().astype(int)


def assert_splits_are_apart(chips, shape: tuple[int, int], size: int = SIZE) -> None:
    """No pixel in chips of two splits, and training chips farther than the buffer from any other."""
    seen = {name: np.zeros(shape, bool) for name in SPLITS}
    for (col, row), split in zip(ground_places(chips), chips["split"], strict=True):
        seen[split][row : row + size, col : col + size] = True
    for one, other in combinations(SPLITS, 2):
        assert not (seen[one] & seen[other]).any(), f"a pixel in {one} and {other}"
    others = [seen[name] for name in SPLITS if name != "train"]
    near = np.zeros(shape, bool)
    for row, col in np.argwhere(np.any(others, 0)):
        near[max(row - BUFFER, 0) : row + BUFFER + 1, max(col - BUFFER, 0) : col + BUFFER + 1] = True
    assert not (near & seen["train"]).any(), "training within the buffer of another split"


WORLD = (500, 800)
side = st.integers(100, 260)
patches = st.lists(
    st.tuples(st.integers(0, WORLD[1] - 260), st.integers(0, WORLD[0] - 260), side, side),
    min_size=3,
    max_size=9,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=patches, held=st.integers(0, 2), repeat=st.booleans())
def test_no_pixel_is_in_two_splits_however_scenes_overlap(places, held, repeat):
    world = ground_labels(*WORLD)
    scenes = [patch(f"p{i}", world, col, row, (h, w)) for i, (col, row, h, w) in enumerate(places)]
    if repeat:
        col, row, h, w = places[0]
        scenes.append(patch("again", world, col, row, (h, w)))
    chosen = options(hold_out=[f"p{i}" for i in range(held)], hidden_blocks=2)
    atlas = lay_scenes(scenes, chosen)
    try:
        blocks, split = split_atlas(atlas, chosen, 0)
        chips = cut(atlas, blocks, split)
    except GroundsynthError:
        reject()  # too little ground is left for three folds or a chip in every split
    check_table(blocks, "blocks", "blocks.csv")
    assert_splits_are_apart(chips, WORLD)
    held_out = chips["scene"].isin(chosen.hold_out)
    assert (chips["split"] == "region").equals(held_out.rename("split"))
    assert chips["chip_id"].is_unique


def test_no_pixel_is_in_two_splits_on_the_true_footprints_of_korea():
    """Forty patches on two dates, overlapping in space and time; labels and images are made up here."""
    size, stride = 64, 64
    corners = [place for places in KOREA.values() for place in places]
    shape = tuple(max(place[axis] for place in corners) + 512 for axis in (1, 0))
    world = ground_labels(*shape, 60)
    scenes = [
        patch(f"{date}_patchn_{i}", world, *place, (512, 512), stretched=True)
        for date, places in KOREA.items()
        for i, place in enumerate(places)
    ]
    chosen = options(chip_size=size, stride=stride, folds=6, hidden_blocks=12, hold_out=["202412_patchn_16"])
    atlas = lay_scenes(scenes, chosen)
    blocks, split = split_atlas(atlas, chosen, 0)
    images = [np.zeros((512, 512, 3), np.uint8)] * 40
    chips, _ = find_chips(atlas, images, split, blocks, ChipRules(size, stride))
    assert_splits_are_apart(chips, shape, size)
    assert chips["scene"].nunique() == 40
    of_date = chips["scene"].str[:6]
    assert all(set(chips.loc[of_date == date, "split"]) >= {"train", "val", "test"} for date in KOREA)
    places = ground_places(chips[chips["split"] == "train"])
    assert len(places) > len(np.unique(places // size, axis=0)), "patches do overlap: the test can fail"


def test_two_dates_of_one_place_share_every_split():
    world = ground_labels(300, 400)
    dates = [patch(name, world, 40, 20, (256, 320)) for name in ("spring", "autumn")]
    atlas = lay_scenes(dates, options())
    _, split = split_atlas(atlas, options(), 0)
    assert len(atlas.grounds) == 1
    assert (split[atlas.window(0)] == split[atlas.window(1)]).all()


def test_scenes_far_apart_lie_on_grounds_of_their_own_and_no_two_touch():
    world = np.zeros((100, 5000), np.uint8)
    scenes = [patch(f"s{i}", world, col, 0, (90, 100)) for i, col in enumerate((0, 150, 4000))]
    scenes += [
        patch(f"free{i}", world, 0, 0, (70, 80), crs=None, transform=Affine.identity()) for i in (0, 1)
    ]
    atlas = lay_atlas(scenes, set(), buffer=8, gap=64)
    assert atlas.ground.tolist() == [0, 0, 1, 2, 3]
    for one, other in combinations(range(5), 2):
        (top, left), (top_2, left_2) = atlas.corners[one], atlas.corners[other]
        if atlas.ground[one] == atlas.ground[other]:
            assert (left_2 - left, top_2 - top) == (150, 0), "as they lie"
        else:
            height, width = np.array(scenes[one].shape), np.array(scenes[other].shape)
            apart = np.maximum(
                np.array([top_2, left_2]) - (top, left) - height,
                np.array([top, left]) - (top_2, left_2) - width,
            )
            assert apart.max() >= 64
    assert np.isnan(atlas.grounds["metres_y"].iloc[2])


def test_a_scene_alone_is_the_atlas():
    scene = patch("s", ground_labels(200, 300), 0, 0, (200, 300))
    atlas = lay_atlas([scene], set(), 8, 64)
    assert atlas.shape == scene.shape
    assert (atlas.labels == scene.labels).all()


def test_where_maps_disagree_each_scene_keeps_its_own_and_the_first_counts():
    world = np.zeros((200, 300), np.uint8)
    first, second = patch("a", world, 0, 0, (200, 200)), patch("b", world + 3, 100, 0, (200, 200))
    first.labels[:10] = 255
    atlas = lay_atlas([first, second], set(), 8, 64)
    assert (atlas.labels[10:, :200] == 0).all()
    assert (atlas.labels[:, 200:] == 3).all()
    assert (atlas.labels[:10, 100:200] == 3).all(), "where the first has none, the second's"
    assert (atlas.scenes[1].labels == 3).all()


def test_ground_near_a_held_out_scene_is_given_up():
    world = ground_labels(300, 600)
    near, far = patch("near", world, 0, 0, (256, 512)), patch("far", world, 500, 0, (100, 100))
    chosen = options(hold_out=["fa*"])
    atlas = lay_scenes([far, near], chosen)
    blocks, split = split_atlas(atlas, chosen, 0)
    assert [scene.name for scene in atlas.scenes] == ["near", "far"], "held-out scenes set no grid"
    part = split[atlas.window(0)]
    assert (part[: 100 + BUFFER, 500 - BUFFER :] == NO_SPLIT).all()
    assert (part[100 + BUFFER :, 500 - BUFFER :] != NO_SPLIT).any()
    region = split[atlas.window(1)]
    assert (region == SPLITS.index("region")).all()
    assert set(blocks.loc[blocks["split"] == "region", "group"]) == {-1}


def test_hold_out_names_scenes_or_sources():
    world = np.zeros((100, 100), np.uint8)
    scenes = [
        patch(name, world, 0, 0, (64, 64), source=source)
        for name, source in (("a1", "x"), ("a2", "x"), ("b1", "y"))
    ]
    assert held_out_names(scenes, ["a?"]) == {"a1", "a2"}
    assert held_out_names(scenes, ["y"]) == {"b1"}
    assert held_out_names(scenes, []) == set()
    with pytest.raises(GroundsynthError, match=r"data\.hold_out: 'z' matches no scene and no source"):
        held_out_names(scenes, ["z"])
    with pytest.raises(GroundsynthError, match="keeps out every scene"):
        held_out_names(scenes, ["x", "y"])


def test_a_study_needs_scenes_of_different_names():
    scene = patch("s", np.zeros((64, 64), np.uint8), 0, 0, (64, 64))
    with pytest.raises(GroundsynthError, match="two scenes are named 's'"):
        lay_scenes([scene, scene], options())
    with pytest.raises(GroundsynthError, match="the sources hold 0 scenes"):
        lay_scenes([], options())


def test_scenes_of_two_systems_must_not_show_one_place():
    world = np.zeros((100, 100), np.uint8)
    here = patch("here", world, 0, 0, (64, 64))
    west, south, east, north = 126.78, 36.12, 126.80, 36.14  # about where the other lies
    grid = Affine((east - west) / 64, 0, west, 0, (south - north) / 64, north)
    there = patch("there", world, 0, 0, (64, 64), crs=CRS.from_epsg(4326), transform=grid)
    with pytest.raises(GroundsynthError, match=r"'here' \(EPSG:32652\) and 'there' \(EPSG:4326\) overlap"):
        lay_scenes([here, there], options())
    elsewhere = patch("there", world, 0, 0, (64, 64), crs=CRS.from_epsg(4326),
                      transform=Affine.translation(10, 0) * grid)  # fmt: skip
    assert len(lay_scenes([here, elsewhere], options()).grounds) == 2


def test_blocks_have_the_metres_asked_for():
    scene = patch("s", ground_labels(400, 800), 0, 0, (400, 800))
    atlas = lay_scenes([scene], options())
    blocks = atlas_blocks(atlas, SIZE, 1000)  # 100 px
    assert set(blocks["height"]) == set(blocks["width"]) == {100}
    with pytest.raises(GroundsynthError, match=r"data.block_metres = 300 is 30 px; .* give at least 320"):
        atlas_blocks(atlas, SIZE, 300)


def test_very_many_blocks_are_made_larger_instead(monkeypatch):
    atlas = lay_scenes([patch("s", ground_labels(640, 640), 0, 0, (640, 640))], options())
    assert len(atlas_blocks(atlas, SIZE)) == 100
    monkeypatch.setattr(block_module, "MANY_BLOCKS", 30)
    assert len(atlas_blocks(atlas, SIZE)) == 25, "blocks of 128 px instead of 64"


def test_small_images_without_a_place_are_blocks_of_their_own():
    """Hundreds of pictures from a folder: each a ground and a block; those too small are told."""
    world = ground_labels(100, 100)
    free = dict(crs=None, transform=Affine.identity())
    scenes = [patch(f"f{i:03d}", world, i % 30, i // 30, (60, 64), **free) for i in range(300)]
    scenes.append(patch("tiny", world, 0, 0, (20, 64), **free))
    chosen = options(hidden_blocks=8)
    atlas = lay_scenes(scenes, chosen)
    blocks, split = split_atlas(atlas, chosen, 0)
    assert len(blocks) == blocks["ground"].nunique() == 300
    assert unused_scenes(atlas, split) == ["tiny"]
    chips = cut(atlas, blocks, split)
    assert (chips.groupby("scene")["split"].nunique() == 1).all()
    assert set(chips["crs"]) == {""}


def test_partly_labelled_blocks_that_hold_no_chip_are_left_out():
    scene = patch("s", ground_labels(256, 256), 0, 0, (256, 256))
    scene.labels[64:128, 64:128] = 255
    scene.labels[64:74, 64:128] = 1  # 640 px: more than half of a chip of 32 px
    scene.labels[0:64, 0:64] = 255
    atlas = lay_scenes([scene], options())
    assert len(atlas_blocks(atlas, SIZE)) == 15
    assert len(atlas_blocks(atlas, SIZE, least_labelled=0.7)) == 14
    _, split = split_atlas(atlas, options(), 0)
    assert (split[:64, :64] == NO_SPLIT).all()
    assert (split == TRAIN).any()
