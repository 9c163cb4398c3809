"""A box of degrees becomes one grid of square pixels in the UTM zone of its centre, cut into windows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from rasterio.crs import CRS
from rasterio.transform import Affine
from rasterio.warp import transform_bounds

from groundsynth.errors import GroundsynthError

WINDOW = 2048  # pixels
MAX_PIXELS = 400_000_000  # 200 km × 200 km at 10 m
MAX_WIDTH = 12.0  # degrees of longitude; UTM stretches distances by 0.5 % and more beyond
SOUTH, NORTH = -60.0, 84.0  # where the map ends


@dataclass(frozen=True)
class Box:
    """A box in degrees, 90° W to 270° E, so that none of its longitudes jumps at the antimeridian."""

    west: float
    south: float
    east: float
    north: float

    @property
    def meridian(self) -> int:
        """Where longitudes count from, 0 or 180: the nearer to the box."""
        return 180 if self.west + self.east > 180 else 0

    @property
    def degrees(self) -> CRS:
        """The coordinate system of the box, seen from its meridian."""
        return CRS.from_string(f"+proj=longlat +datum=WGS84 +pm={self.meridian} +no_defs")

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north from its meridian."""
        return self.west - self.meridian, self.south, self.east - self.meridian, self.north


@dataclass(frozen=True)
class Grid:
    """Square pixels in a UTM zone: of a whole area, or of one window of it."""

    crs: CRS
    transform: Affine
    height: int
    width: int

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in metres."""
        left, top = self.transform.c, self.transform.f
        return left, top + self.height * self.transform.e, left + self.width * self.transform.a, top


def check_box(bbox: tuple[float, ...] | None) -> Box:
    """Return the box of ``data.bbox`` (west, south, east, north; west > east crosses the antimeridian).

    Raises:
        GroundsynthError: missing, empty, in the wrong order, out of range, or too wide.
    """
    if bbox is None or len(bbox) != 4 or not np.isfinite(bbox).all():
        raise GroundsynthError(
            f"data.bbox = {bbox} is no area; state west, south, east, north in degrees, such as [9.0, 48.4, 9.2, 48.6]"
        )
    west, south, east, north = (float(value) for value in bbox)
    if not (
        -180 <= west <= 180 and -180 <= east <= 180 and SOUTH <= south <= NORTH and SOUTH <= north <= NORTH
    ):
        raise GroundsynthError(
            f"data.bbox = {list(bbox)} leaves the map; it needs longitudes in -180…180 and latitudes in "
            f"{SOUTH:g}…{NORTH:g}, as west, south, east, north: correct it"
        )
    if south >= north or west == east or (west, east) == (180, -180):
        raise GroundsynthError(
            f"data.bbox = {list(bbox)} is empty; it needs south < north and west ≠ east, as west, south, east, north: "
            "correct the order"
        )
    east += 360 * (west > east)
    if east - west > MAX_WIDTH:
        raise GroundsynthError(
            f"data.bbox = {list(bbox)} is {east - west:g}° wide; one metric grid holds {MAX_WIDTH:g}° (west > east means "
            "across the antimeridian): correct the order, or study a narrower area"
        )
    turn = 360 if west + east < -180 else 0
    return Box(west + turn, south, east + turn, north)


def make_grid(box: Box, resolution: float) -> Grid:
    """Return the grid over a box in the UTM zone of its centre, on whole multiples of the pixel size.

    Raises:
        GroundsynthError: more pixels than :data:`MAX_PIXELS`.
    """
    centre = (box.west + box.east) / 2
    zone = int(((centre + 180) % 360) // 6) + 1
    crs = CRS.from_epsg((32600 if box.south + box.north >= 0 else 32700) + zone)
    west, south, east, north = transform_bounds(box.degrees, crs, *box.bounds)
    left, top = math.floor(west / resolution), math.ceil(north / resolution)
    width, height = math.ceil(east / resolution) - left, top - math.floor(south / resolution)
    if height * width > MAX_PIXELS:
        raise GroundsynthError(
            f"data.bbox makes {height} × {width} = {height * width:,} pixels of {resolution:g} m; at most "
            f"{MAX_PIXELS:,} are fetched: choose a smaller box or a coarser data.resolution"
        )
    transform = Affine(resolution, 0, left * resolution, 0, -resolution, top * resolution)
    return Grid(crs, transform, height, width)


def cut_windows(grid: Grid) -> dict[str, Grid]:
    """Return the windows of at most 2048 × 2048 pixels that cover a grid, by name."""
    windows = {}
    for row in range(0, grid.height, WINDOW):
        for col in range(0, grid.width, WINDOW):
            size = min(WINDOW, grid.height - row), min(WINDOW, grid.width - col)
            name = f"r{row // WINDOW:02d}c{col // WINDOW:02d}"
            windows[name] = Grid(grid.crs, grid.transform @ Affine.translation(col, row), *size)
    return windows
