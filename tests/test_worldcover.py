"""Any area: the right pixels across every border, only the bytes needed, a sentence for every failure."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from range_server import RangeServer, serve
from rasterio.transform import Affine, xy
from rasterio.warp import transform

from groundsynth.artifacts import read_json
from groundsynth.data import areas, remote, worldcover
from groundsynth.data.scene import Scene
from groundsynth.data.worldcover import WORLDCOVER
from groundsynth.data.worldcover_tiles import IMAGE, MAP
from groundsynth.errors import GroundsynthError

CODES = np.array(sorted(WORLDCOVER.remap))  # 11 codes
IMAGE_SCALE, MAP_SCALE = 60, 20  # pixels per degree; the true tiles have 12,000
RESOLUTION = 2000.0  # metres, about the size of an image pixel


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty ``data/raw``, short pauses, and no proxy between here and here."""
    monkeypatch.setenv("GROUNDSYNTH_DATA", str(tmp_path / "raw"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(remote, "BACKOFF", 0.01)
    monkeypatch.setattr(remote, "TIMEOUT", 1.0)
    return tmp_path / "raw"


@pytest.fixture
def server(tmp_path: Path, raw: Path) -> Iterator[RangeServer]:
    (tmp_path / "bucket").mkdir()
    with serve(tmp_path / "bucket") as running:
        yield running


def options(server: RangeServer | None, bbox: tuple | None, **changes: object) -> SimpleNamespace:
    values = dict(
        bbox=bbox, resolution=RESOLUTION, mirror=server.url if server else None, offline=False, scenes=[]
    )
    return SimpleNamespace(**{**values, **changes})


def fetch(chosen: SimpleNamespace) -> Path:
    return worldcover.fetch(chosen, WORLDCOVER)


def read(folder: Path) -> Iterator[Scene]:
    return worldcover.read(SimpleNamespace(scenes=[]), WORLDCOVER, folder)


# --- tiles whose pixels tell their place ----------------------------------------------------------


def image_values(south: int, west: int, scale: int = IMAGE_SCALE) -> np.ndarray:
    """(4, n, n) uint16: pixels east of 180° W (or 0°, near the antimeridian), south of 90° N, 7, 9."""
    cols = (west % 360) * scale + np.arange(scale) + 1
    rows = (90 - south - 1) * scale + np.arange(scale) + 1
    return np.stack(
        [*np.meshgrid(cols, rows), np.full((scale, scale), 7), np.full((scale, scale), 9)]
    ).astype(np.uint16)


def map_code(lon: np.ndarray, lat: np.ndarray, scale: int = MAP_SCALE) -> np.ndarray:
    """The code at a place: it changes from each map pixel to the next, in both directions."""
    col, row = np.floor((lon % 360) * scale), np.floor((90 - lat) * scale)
    return CODES[((3 * col + 5 * row) % len(CODES)).astype(int)]


def write_cog(path: Path, values: np.ndarray, south: int, west: int, side: int, **extra: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixel = side / values.shape[-1]
    profile = {
        **dict(driver="COG", crs="EPSG:4326", nodata=0, compress="deflate", dtype=values.dtype),
        **extra,
    }
    shape = dict(count=len(values), height=values.shape[1], width=values.shape[2])
    with rasterio.open(
        path, "w", transform=Affine(pixel, 0, west, 0, -pixel, south + side), **profile, **shape
    ) as raster:
        raster.write(values)
    return path


def image_path(tile: str) -> str:
    return f"rgbnir/2021/{tile[:3]}/ESA_WorldCover_10m_2021_v200_{tile}_S2RGBNIR.tif"


def map_path(tile: str) -> str:
    return f"v200/2021/map/ESA_WorldCover_10m_2021_v200_{tile}_Map.tif"


def place_of(tile: str) -> tuple[int, int]:
    """South and west of a tile's name, such as N36W114."""
    return int(tile[1:3]) * (1 if tile[0] == "N" else -1), int(tile[4:]) * (1 if tile[3] == "E" else -1)


def put(server: RangeServer, images: str = "", maps: str = "") -> None:
    """Serve the named tiles."""
    for tile in images.split():
        south, west = place_of(tile)
        write_cog(server.root / image_path(tile), image_values(south, west), south, west, 1)
    for tile in maps.split():
        south, west = place_of(tile)
        step = 1 / MAP_SCALE
        lon, lat = np.meshgrid(
            west + step * (np.arange(3 * MAP_SCALE) + 0.5),
            south + 3 - step * (np.arange(3 * MAP_SCALE) + 0.5),
        )
        write_cog(server.root / map_path(tile), map_code(lon, lat)[None].astype(np.uint8), south, west, 3)


def places(scene: object) -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude of each pixel centre, (h, w) each."""
    height, width = scene.shape
    rows, cols = np.indices((height, width)).reshape(2, -1)
    lon, lat = transform(scene.crs, "EPSG:4326", *xy(scene.transform, rows, cols))
    return np.reshape(lon, (height, width)), np.reshape(lat, (height, width))


AREAS = {
    "inside one tile": ((9.2, 48.2, 9.8, 48.8), "N48E009", "N48E009"),
    "across a tile border": ((11.3, 44.4, 12.7, 45.7), "N44E011 N44E012 N45E011 N45E012", "N42E009 N42E012 N45E009 N45E012"),
    "across the equator": ((20.2, -0.8, 20.9, 0.7), "N00E020 S01E020", "N00E018 S03E018"),
    "across Greenwich": ((-0.7, 10.2, 0.8, 10.8), "N10W001 N10E000", "N09W003 N09E000"),
    "across the antimeridian": ((179.4, -17.6, -179.3, -16.5), "S18E179 S18W180 S17E179 S17W180", "S18E177 S18W180"),
    "west of the antimeridian": ((179.2, 51.2, 180, 51.8), "N51E179", "N51E177"),
    "east of the antimeridian": ((-180, 51.2, -179.2, 51.8), "N51W180", "N51W180"),
}  # fmt: skip


@pytest.mark.parametrize("area", AREAS)
def test_every_pixel_is_that_of_its_place(server: RangeServer, area: str):
    bbox, images, maps = AREAS[area]
    put(server, images, maps)
    (scene,) = read(fetch(options(server, bbox)))
    lon, lat = places(scene)
    west, south, east, north = bbox
    turned = (lon - west) % 360  # degrees east of the western edge
    edge = 0.03  # degrees: a pixel and a half
    inside = (
        (turned > edge) & (turned < (east - west) % 360 - edge) & (lat > south + edge) & (lat < north - edge)
    )
    assert inside.sum() > 300
    assert scene.valid[inside].all(), "no hole along a border"
    # a plane stays a plane under bilinear resampling, so its value tells the place; ±0.5 by rounding
    steady = inside & (np.abs((lon + 180) % 360 - 180) > 2 / IMAGE_SCALE)  # columns count from Greenwich
    assert np.abs(scene.bands[0] - ((lon % 360) * IMAGE_SCALE + 0.5))[steady].max() < 0.51
    assert np.abs(scene.bands[1] - ((90 - lat) * IMAGE_SCALE + 0.5))[inside].max() < 0.51
    assert (scene.bands[2][inside] == 7).all(), "blue; the fourth band is not read"
    near = [np.abs(v * MAP_SCALE - np.rint(v * MAP_SCALE)) < 1e-6 for v in (lon % 360, lat)]
    clear = inside & ~near[0] & ~near[1]  # a pixel centre on a border belongs to either side
    ours = np.full(101, 255)
    for code, (_, to) in WORLDCOVER.remap.items():
        ours[code] = 255 if to is None else to
    assert (scene.labels == ours[map_code(lon, lat)])[clear].all()
    assert {path for _, path in server.requests} == {
        *map(image_path, images.split()),
        *map(map_path, maps.split()),
    }


def test_the_grid_is_metric_and_named_after_the_area(server: RangeServer):
    bbox = AREAS["across the equator"][0]
    put(server, *AREAS["across the equator"][1:])
    folder = fetch(options(server, bbox))
    (scene,) = read(folder)
    assert scene.crs.to_epsg() == 32734, "zone 34; the centre lies south of the equator"
    assert (scene.transform.a, scene.transform.e) == (RESOLUTION, -RESOLUTION)
    assert scene.transform.c % RESOLUTION == 0 == scene.transform.f % RESOLUTION
    assert (scene.source, scene.stretched) == ("worldcover", False)
    assert scene.name == f"worldcover-{folder.name}-r00c00"
    assert scene.bands.dtype == np.float32


def test_outside_the_box_is_no_image(server: RangeServer):
    """The metric grid is a rectangle, a box of degrees is not: its corners stay empty."""
    put(server, "N48E009 N48E010", "N48E009")
    (scene,) = read(fetch(options(server, (9.5, 48.1, 10.5, 48.9))))
    lon, lat = places(scene)
    outside = (lon < 9.45) | (lon > 10.55) | (lat < 48.05) | (lat > 48.95)
    assert not scene.valid[outside].any()
    assert (scene.labels[~scene.valid] == 255).all()
    assert np.isnan(scene.bands[:, ~scene.valid]).all()


def test_windows_join_without_a_seam(server: RangeServer, monkeypatch: pytest.MonkeyPatch):
    bbox, images, maps = AREAS["across a tile border"]
    put(server, images, maps)
    folder = fetch(options(server, bbox))
    (whole,) = read(folder)
    shutil.rmtree(folder)
    monkeypatch.setattr(areas, "WINDOW", 30)
    pieces = list(read(fetch(options(server, bbox))))
    assert len(pieces) == 6
    for piece in pieces:
        col, row = (round(value) for value in ~whole.transform @ (piece.transform.c, piece.transform.f))
        part = np.s_[..., row : row + piece.shape[0], col : col + piece.shape[1]]
        assert np.array_equal(piece.labels, whole.labels[part])
        assert np.array_equal(piece.bands, whole.bands[part], equal_nan=True)


def test_a_coarser_grid_averages(server: RangeServer):
    """At four times the pixel size a checkerboard is grey; picking pixels would leave it black and white."""
    board = 100 + 100 * (np.indices((IMAGE_SCALE, IMAGE_SCALE)).sum(0) % 2)
    write_cog(server.root / image_path("N00E009"), np.stack([board] * 4).astype(np.uint16), 0, 9, 1)
    put(server, maps="N00E009")
    (scene,) = read(fetch(options(server, (9.1, 0.1, 9.9, 0.9), resolution=8000)))
    assert set(np.unique(scene.bands[:, scene.valid])) == {150}


def test_only_the_bytes_needed_are_fetched(server: RangeServer):
    noise = np.random.default_rng(0)
    blocks = dict(blocksize=256)
    image = noise.integers(1, 10_000, (4, 1200, 1200), np.uint16)
    land = CODES[noise.integers(0, len(CODES), (1, 3600, 3600))].astype(np.uint8)
    write_cog(server.root / image_path("N48E009"), image, 48, 9, 1, **blocks)
    write_cog(server.root / map_path("N48E009"), land, 48, 9, 3, **blocks)
    bbox = (9.50, 48.50, 9.56, 48.54)
    folder = fetch(options(server, bbox, resolution=90.0))
    for path, most in ((image_path("N48E009"), 0.15), (map_path("N48E009"), 0.05)):
        size = (server.root / path).stat().st_size
        assert size > 4_000_000
        assert server.sent[path] < most * size, f"{server.sent[path]:,} of {size:,} bytes"
    assert all(Path(path).suffix == ".tif" and "/" in path for _, path in server.requests), (
        "no listing, no side file"
    )
    before = len(server.requests)
    assert fetch(options(server, bbox, resolution=90.0)) == folder
    assert len(server.requests) == before, "a second run downloads nothing"


# --- stopping and going on --------------------------------------------------------------------------


def test_finished_windows_stay_when_a_later_one_fails(server: RangeServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(areas, "WINDOW", 30)
    bbox, images, maps = AREAS["across a tile border"]
    put(server, images, maps)
    server.faults.append([image_path("N44E011"), 500, 10_000, 0])  # in the south, windows begin in the north
    with pytest.raises(GroundsynthError, match="HTTP 500"):
        fetch(options(server, bbox))
    (folder,) = (worldcover.raw_dir() / "worldcover").iterdir()
    done = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.tif")}
    assert done, "the first window was whole"
    assert not (folder / "scene.json").exists()
    server.faults.clear()
    assert fetch(options(server, bbox)) == folder
    assert {name: (folder / name).stat().st_mtime_ns for name in done} == done, "kept, not fetched again"
    assert len(list(read(folder))) == len(list(folder.glob("*_map.tif"))) > 1


def test_a_changed_window_is_fetched_again(server: RangeServer):
    bbox, *tiles = AREAS["inside one tile"]
    put(server, *tiles)
    folder = fetch(options(server, bbox))
    path = folder / "r00c00_map.tif"
    right = path.read_bytes()
    path.write_bytes(right[:-1])
    assert (fetch(options(server, bbox)) / path.name).read_bytes() == right


def test_the_note_holds_licence_citation_and_hashes(server: RangeServer):
    bbox, *tiles = AREAS["inside one tile"]
    put(server, *tiles)
    folder = fetch(options(server, bbox))
    note = read_json(folder / "scene.json", "")
    assert set(note["files"]) == {"r00c00_image.tif", "r00c00_map.tif"}
    assert note["licence"] == "CC BY 4.0"
    assert "ESA WorldCover project 2021" in note["citation"]
    assert note["bbox"] == list(bbox)


def test_offline_is_one_sentence_until_the_windows_are_there(server: RangeServer):
    bbox, *tiles = AREAS["inside one tile"]
    put(server, *tiles)
    with pytest.raises(
        GroundsynthError, match=r"1 of 1 windows are not in .* data.offline is true; fetch once"
    ):
        fetch(options(server, bbox, offline=True))
    assert server.requests == []
    folder = fetch(options(server, bbox))
    assert fetch(options(server, bbox, offline=True)) == folder


def test_another_box_or_resolution_is_another_folder():
    one = worldcover.area_key((9, 48, 10, 49), 10.0)
    assert one == worldcover.area_key((9.0, 48.0, 10.0, 49.0), 10.0)
    assert (
        len({one, worldcover.area_key((9, 48, 10, 48.5), 10.0), worldcover.area_key((9, 48, 10, 49), 20.0)})
        == 3
    )


# --- boxes that are none ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bbox", "sentence"),
    [
        (None, "is no area; state west, south, east, north"),
        ((9, 48, 10), "is no area"),
        ((9, 48, float("nan"), 49), "is no area"),
        ((9, 48, 9, 49), "is empty"),
        ((9, 49, 10, 48), "is empty"),
        ((180, 48, -180, 49), "is empty"),
        ((10, 48, 9, 49), r"is 359° wide; .* correct the order"),
        ((9, 48, 191, 49), "leaves the map"),
        ((9, -61, 10, -59), "leaves the map"),
        ((9, 83, 10, 85), "leaves the map"),
        ((9, 40, 22, 41), "is 13° wide"),
    ],
)
def test_a_box_that_is_none_is_one_sentence(raw: Path, bbox: tuple | None, sentence: str):
    with pytest.raises(GroundsynthError, match=sentence):
        fetch(options(None, bbox))
    assert not raw.exists()


def test_a_box_too_large_states_pixels_and_limit(raw: Path):
    with pytest.raises(
        GroundsynthError, match=r"= [\d,]{11,} pixels of 10 m; at most 400,000,000 are fetched"
    ):
        fetch(options(None, (0, 0, 8, 8), resolution=None))


def test_open_sea_is_one_sentence_and_leaves_nothing(server: RangeServer, raw: Path):
    with pytest.raises(GroundsynthError, match="holds no pixel with image and label; it lies on open sea"):
        fetch(options(server, (-30.9, 0.1, -30.1, 0.9)))
    assert not list((raw / "worldcover").iterdir())


def test_sea_within_a_tile_is_open_sea_too(server: RangeServer):
    write_cog(server.root / image_path("N00E009"), np.zeros((4, 60, 60), np.uint16), 0, 9, 1)
    write_cog(server.root / map_path("N00E009"), np.zeros((1, 60, 60), np.uint8), 0, 9, 3)
    with pytest.raises(GroundsynthError, match="open sea"):
        fetch(options(server, (9.1, 0.1, 9.9, 0.9)))


def test_a_coast_keeps_its_land(server: RangeServer):
    put(server, "N00E009", "N00E009")  # no image tile at 10° E
    (scene,) = read(fetch(options(server, (9.3, 0.1, 10.7, 0.9))))
    lon, _ = places(scene)
    assert scene.valid[:, 10].any()
    assert not scene.valid[lon > 10.02].any()


# --- servers that misbehave ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (500, r"could not be read in 3 attempts \(HTTP 500\)"),
        (503, r"could not be read in 3 attempts \(HTTP 503\)"),
        (403, "refused with HTTP 403"),
        ("html", r"not a GeoTIFF but text/html came from http://127.0.0.1:\d+/login"),
        ("whole", "serves whole files only"),
        ("cut", "could not be read in 3 attempts"),
        ("slow", r"could not be read in 3 attempts \(.*timed out"),
    ],
)
def test_a_misbehaving_server_is_one_sentence(server: RangeServer, raw: Path, fault: object, sentence: str):
    bbox, *tiles = AREAS["inside one tile"]
    put(server, *tiles)
    server.faults.append(["S2RGBNIR", fault, 10_000, 0])
    with pytest.raises(GroundsynthError, match=sentence) as caught:
        fetch(options(server, bbox))
    assert "N48E009_S2RGBNIR.tif" in str(caught.value), "the file is named"
    assert not list(raw.rglob("*.tif")), "nothing half-written"


@pytest.mark.parametrize("fault", [500, 503, 429, "cut", "slow"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_passing_failure_passes(server: RangeServer, fault: object, times: int):
    bbox, *tiles = AREAS["inside one tile"]
    put(server, *tiles)
    server.delay = 1.5
    server.faults.append(["_Map", fault, times, 0])
    (scene,) = read(fetch(options(server, bbox)))
    assert scene.valid.any()
    assert len(server.requests) > 4


@pytest.mark.parametrize("fault", [500, "cut", "slow"])
def test_a_server_that_fails_halfway_is_one_sentence(server: RangeServer, raw: Path, fault: object):
    """The header comes, the pixels do not."""
    noise = np.random.default_rng(0).integers(1, 10_000, (4, 600, 600), np.uint16)
    write_cog(server.root / image_path("N48E009"), noise, 48, 9, 1)
    server.faults.append(["S2RGBNIR", fault, 10_000, 40_000])
    with pytest.raises(GroundsynthError, match=r"S2RGBNIR.tif: could not be read in 3 attempts \(."):
        fetch(options(server, (9.2, 48.2, 9.8, 48.8), resolution=200.0))
    assert not list(raw.rglob("*.tif"))


def test_a_server_that_is_not_there_is_one_sentence(raw: Path):
    with pytest.raises(GroundsynthError, match=r"could not be read in 3 attempts \(.*refused"):
        fetch(options(None, (9.2, 48.2, 9.8, 48.8), mirror="http://127.0.0.1:9"))


def test_a_truncated_tile_is_one_sentence(server: RangeServer, raw: Path):
    noise = np.random.default_rng(0).integers(1, 10_000, (4, 600, 600), np.uint16)
    path = write_cog(server.root / image_path("N48E009"), noise, 48, 9, 1)
    path.write_bytes(path.read_bytes()[:100_000])
    put(server, maps="N48E009")
    with pytest.raises(GroundsynthError, match=r"S2RGBNIR.tif: could not be read in 3 attempts"):
        fetch(options(server, (9.2, 48.2, 9.8, 48.8), resolution=200.0))
    assert not list(raw.rglob("*.tif"))


def test_a_tile_under_another_name_is_refused(server: RangeServer):
    put(server, "N48E009", "N48E009")
    write_cog(server.root / image_path("N48E009"), image_values(47, 9), 47, 9, 1)
    with pytest.raises(GroundsynthError, match="it is not the tile of this name"):
        fetch(options(server, (9.2, 48.2, 9.8, 48.8)))


def test_a_tile_with_another_nodata_is_refused(server: RangeServer):
    put(server, "N48E009", "N48E009")
    write_cog(server.root / image_path("N48E009"), image_values(48, 9), 48, 9, 1, nodata=65535)
    with pytest.raises(GroundsynthError, match="marks missing pixels by 65535, not 0"):
        fetch(options(server, (9.2, 48.2, 9.8, 48.8)))


def test_an_unknown_code_is_one_sentence(server: RangeServer):
    put(server, "N48E009", "N48E009")
    write_cog(server.root / map_path("N48E009"), np.full((1, 60, 60), 42, np.uint8), 48, 9, 3)
    with pytest.raises(GroundsynthError, match="class code 42 is none of the map's"):
        fetch(options(server, (9.2, 48.2, 9.8, 48.8)))


def test_without_a_mirror_the_public_hosts_are_named():
    assert IMAGE.url(47, -121, None) == (
        "https://esa-worldcover-s2.s3.eu-central-1.amazonaws.com/rgbnir/2021/N47/"
        "ESA_WorldCover_10m_2021_v200_N47W121_S2RGBNIR.tif"
    )
    assert MAP.url(-3, 180, None) == (
        "https://esa-worldcover.s3.eu-central-1.amazonaws.com/v200/2021/map/"
        "ESA_WorldCover_10m_2021_v200_S03W180_Map.tif"
    )
