"""The tiles of ESA WorldCover: their names, and how parts of them become a window of a metric grid.

Both products are cloud-optimised GeoTIFFs in EPSG:4326 with 12,000 pixels per degree, open to everyone:

- the map, v200: tiles of 3°, uint8 codes 10…100, 0 = no data, 60° S to 84° N, named after their
  south-west corner (https://esa-worldcover.s3.amazonaws.com/readme.html,
  https://esa-worldcover.org/en/data-access);
- the yearly median composite of Sentinel-2 (L2A): tiles of 1°, uint16 red, green, blue, near
  infrared, reflectance × 10,000, 0 = no data, 60° S to 83° N (https://esa-worldcover.org/en/data-access,
  "WorldCover Annual Composites"; paths as in the product grid linked there, layer
  ``worldcover_composites_grid_aws``, column ``s2_rgbnir_2021``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window
from tqdm.auto import tqdm

from groundsynth.data.areas import Box, Grid
from groundsynth.data.remote import read_remote
from groundsynth.errors import GroundsynthError

METRES_PER_DEGREE = 111_320.0


@dataclass(frozen=True)
class Product:
    """One set of tiles: where they lie, and how they are brought to another grid."""

    kind: str
    host: str
    path: str
    side: int  # degrees
    bands: tuple[int, ...]
    coarser: Resampling  # when many pixels become one
    between: Resampling  # at the pixels of the new grid

    def url(self, south: int, west: int, mirror: str | None) -> str:
        """Return the address of the tile whose south-west corner is given in degrees."""
        west = (west + 180) % 360 - 180
        row = f"{'N' if south >= 0 else 'S'}{abs(south):02d}"
        tile = row + f"{'E' if west >= 0 else 'W'}{abs(west):03d}"
        return f"{(mirror or self.host).rstrip('/')}/{self.path.format(row=row, tile=tile)}"


IMAGE = Product(
    kind="image",
    host="https://esa-worldcover-s2.s3.eu-central-1.amazonaws.com",
    path="rgbnir/2021/{row}/ESA_WorldCover_10m_2021_v200_{tile}_S2RGBNIR.tif",
    side=1,
    bands=(1, 2, 3),
    coarser=Resampling.average,
    between=Resampling.bilinear,
)
MAP = Product(
    kind="map",
    host="https://esa-worldcover.s3.eu-central-1.amazonaws.com",
    path="v200/2021/map/ESA_WorldCover_10m_2021_v200_{tile}_Map.tif",
    side=3,
    bands=(1,),
    coarser=Resampling.mode,
    between=Resampling.nearest,
)


@dataclass(frozen=True)
class _Part:
    values: np.ndarray  # (bands, h, w)
    row: int  # of its first pixel, counted from the equator southwards
    col: int  # counted from Greenwich eastwards
    per_degree: int


def read_window(product: Product, window: Grid, box: Box, mirror: str | None) -> np.ndarray | None:
    """Return a product on a window's grid, (bands, h, w), 0 where there is none; None without any tile.

    Tiles are joined before they are brought to the grid, so that their borders leave no trace. Where
    the grid is coarser, pixels are averaged (map: the most frequent) by a power of two first.
    """
    resolution = window.transform.a
    area, side, parts = _area(window, box), product.side, []
    if area.west >= area.east or area.south >= area.north:  # a corner of the grid, outside the box
        return None
    for south in range(math.floor(area.south / side) * side, math.ceil(area.north), side):
        for west in range(math.floor(area.west / side) * side, math.ceil(area.east), side):
            url = product.url(south, west, mirror)
            reader = partial(
                _read_part, product=product, area=area, south=south, west=west, resolution=resolution
            )
            part = read_remote(url, reader)
            if part is None:
                tqdm.write(f"no {product.kind} at {url}: open sea, or a mirror that lacks it")
            else:
                parts.append(part)
    return _warp(_join(parts), product, window, box) if parts else None


def _area(window: Grid, box: Box) -> Box:
    """The part of the box that a window needs, two pixels more on each side for the resampling."""
    west, south, east, north = transform_bounds(window.crs, box.degrees, *window.bounds)
    high = 2 * window.transform.a / METRES_PER_DEGREE
    wide = high / math.cos(math.radians(min(abs(box.south + box.north) / 2, 84)))
    return Box(
        max(west + box.meridian - wide, box.west),
        max(south - high, box.south),
        min(east + box.meridian + wide, box.east),
        min(north + high, box.north),
    )


def _read_part(
    raster: rasterio.DatasetReader, product: Product, area: Box, south: int, west: int, resolution: float
) -> _Part:
    """Read the pixels of a tile that lie in ``area``, from the overview just finer than the grid."""
    full = raster.width // product.side
    _check_tile(raster, product, south, west)
    coarser = max(int(math.log2(max(resolution * full / METRES_PER_DEGREE, 1))), 0)
    while full % 2**coarser:
        coarser -= 1
    factor, per_degree = 2**coarser, full // 2**coarser
    top, left, side = -(south + product.side) * per_degree, west * per_degree, product.side * per_degree
    rows = (math.floor(-area.north * per_degree) - 1, math.ceil(-area.south * per_degree) + 1)
    cols = (math.floor(area.west * per_degree) - 1, math.ceil(area.east * per_degree) + 1)
    (row, bottom), (col, right) = np.clip(rows, top, top + side), np.clip(cols, left, left + side)
    height, width = int(bottom - row), int(right - col)
    values = raster.read(
        product.bands,
        window=Window((col - left) * factor, (row - top) * factor, width * factor, height * factor),
        out_shape=(len(product.bands), height, width),
        resampling=product.coarser,
    )
    return _Part(values, int(row), int(col), per_degree)


def _check_tile(raster: rasterio.DatasetReader, product: Product, south: int, west: int) -> None:
    west = (west + 180) % 360 - 180
    wanted = (west, south, west + product.side, south + product.side)
    per_degree = raster.width // product.side
    square = raster.width == raster.height == per_degree * product.side
    if not square or raster.count < len(product.bands) or not np.allclose(raster.bounds, wanted, atol=1e-6):
        raise GroundsynthError(
            f"{raster.name.removeprefix('/vsicurl/')}: covers {tuple(raster.bounds)} with {raster.count} bands of "
            f"{raster.height} × {raster.width} pixels, not {wanted}; it is not the tile of this name: correct data.mirror"
        )
    if raster.nodata not in (None, 0):
        raise GroundsynthError(
            f"{raster.name.removeprefix('/vsicurl/')}: marks missing pixels by {raster.nodata:g}, not 0; it is not a tile of "
            "this product: correct data.mirror"
        )


def _join(parts: list[_Part]) -> _Part:
    """Lay the parts of neighbouring tiles side by side; 0 where no tile is."""
    scale = parts[0].per_degree
    if any(part.per_degree != scale for part in parts):
        raise GroundsynthError(
            f"tiles have {sorted({part.per_degree for part in parts})} pixels per degree; all must share one grid: "
            "correct data.mirror"
        )
    row, col = min(part.row for part in parts), min(part.col for part in parts)
    bottom = max(part.row + part.values.shape[1] for part in parts)
    right = max(part.col + part.values.shape[2] for part in parts)
    values = np.zeros((len(parts[0].values), bottom - row, right - col), parts[0].values.dtype)
    for part in parts:
        _, height, width = part.values.shape
        top, left = part.row - row, part.col - col
        values[:, top : top + height, left : left + width] = part.values
    return _Part(values, row, col, scale)


def _warp(part: _Part, product: Product, window: Grid, box: Box) -> np.ndarray:
    pixel = 1 / part.per_degree
    high = METRES_PER_DEGREE * pixel / window.transform.a
    count, height, width = part.values.shape
    place = Affine(pixel, 0, part.col * pixel - box.meridian, 0, -pixel, -part.row * pixel)
    size = dict(count=count, height=height, width=width, dtype=part.values.dtype)
    with rasterio.MemoryFile() as memory:
        with memory.open(driver="GTiff", crs=box.degrees, transform=place, nodata=0, **size) as raster:
            raster.write(part.values)
        with (
            memory.open() as raster,
            WarpedVRT(
                raster,
                crs=window.crs,
                transform=window.transform,
                height=window.height,
                width=window.width,
                resampling=product.between,
                tolerance=1e-6,  # in pixels: a value does not depend on the window it is in
                # new pixels per old one: stated, since GDAL would work it out anew for each window
                XSCALE=min(high * math.cos(math.radians((box.south + box.north) / 2)), 1),
                YSCALE=min(high, 1),
            ) as warped,
        ):
            return warped.read()
