"""Where pixels lie: tiles, lattices and grids. Pure maths, no projection library.

A `Lattice` is an endless sheet of pixels, a `Grid` a window of it in whole pixels. Column 0,
row 0 of a lattice is the pixel whose upper left corner is the lattice's origin; columns grow
eastwards (x), rows grow southwards (−y).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from geoloom.errors import RequestError

EARTH_RADIUS = 6378137.0
"""Semi-major axis of WGS 84 in metres, the sphere of Web Mercator."""

MERCATOR_EXTENT = math.pi * EARTH_RADIUS
"""Half the width of the Web Mercator square, in its metres."""

TILE_SIZE = 256
MAX_ZOOM = 30

Unit = Literal["metre", "degree", "mercator"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """A rectangle; west > east means that it crosses the antimeridian (in degrees)."""

    west: float
    south: float
    east: float
    north: float

    def __iter__(self) -> Iterator[float]:
        yield from (self.west, self.south, self.east, self.north)

    def parts(self) -> tuple[Bounds, ...]:
        """One or two rectangles with west ≤ east that together cover this one (in degrees)."""
        if self.west <= self.east:
            return (self,)
        return (
            Bounds(self.west, self.south, 180.0, self.north),
            Bounds(-180.0, self.south, self.east, self.north),
        )

    def holds(self, lon: float, lat: float) -> bool:
        """Whether a point in degrees lies within."""
        inside = any(part.west <= lon <= part.east for part in self.parts())
        return inside and self.south <= lat <= self.north

    @staticmethod
    def around(boxes: Sequence[Bounds]) -> Bounds:
        """The rectangle round all of at least one (in degrees); crosses the antimeridian if one does."""
        south, north = min(box.south for box in boxes), max(box.north for box in boxes)
        if all(box.west <= box.east for box in boxes):
            return Bounds(min(box.west for box in boxes), south, max(box.east for box in boxes), north)
        turned = [(box.west % 360, box.east % 360) for box in boxes]
        west, east = min(one[0] for one in turned), max(one[1] for one in turned)
        if any(one[1] < one[0] for one in turned):  # one crosses the antimeridian, another Greenwich
            return Bounds(-180.0, south, 180.0, north)
        return Bounds((west + 180) % 360 - 180, south, (east + 180) % 360 - 180, north)


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile of the XYZ scheme (Web Mercator, y grows southwards).

    Raises
    ------
    RequestError
        If zoom, column or row do not exist.
    """

    z: int
    x: int
    y: int

    def __post_init__(self) -> None:
        for name in ("z", "x", "y"):
            try:
                object.__setattr__(self, name, operator.index(getattr(self, name)))
            except TypeError:
                raise RequestError(f"A tile's {name} must be a whole number.") from None
        _check_zoom(self.z)
        last = (1 << self.z) - 1
        for axis, value in (("column", self.x), ("row", self.y)):
            if not 0 <= value <= last:
                raise RequestError(
                    f"Tile {axis} {value} does not exist at zoom {self.z}.", hint=f"Use 0 to {last}."
                )

    def grid(self, pixel_ratio: int = 1) -> Grid:
        """The tile's pixels; at ratio 2 those of the next zoom, 512 × 512 of them."""
        if pixel_ratio not in (1, 2, 4):
            raise RequestError(f"Pixel ratio {pixel_ratio} is not served.", hint="Use 1, 2 or 4.")
        lattice = Lattice.web_mercator(self.z + pixel_ratio.bit_length() - 1)
        size = TILE_SIZE * pixel_ratio
        return Grid(lattice, self.x * size, self.y * size, size, size)

    def bounds(self) -> Bounds:
        """West, south, east, north in degrees."""
        n = 1 << self.z
        return Bounds(
            self.x / n * 360.0 - 180.0,
            mercator_latitude(MERCATOR_EXTENT * (1 - 2 * (self.y + 1) / n)),
            (self.x + 1) / n * 360.0 - 180.0,
            mercator_latitude(MERCATOR_EXTENT * (1 - 2 * self.y / n)),
        )

    @staticmethod
    def at(lon: float, lat: float, z: int) -> Tile:
        """The tile that holds a point given in degrees; latitudes are clipped to the map's edge."""
        _check_zoom(z)
        if not (math.isfinite(lon) and math.isfinite(lat)):
            raise RequestError(f"There is no place at longitude {lon}, latitude {lat}.")
        n = 1 << z
        row, col = math.floor(_mercator_row(lat) * n), math.floor((lon + 180.0) / 360.0 * n)
        # Just west of the antimeridian the sum may round up to a whole turn.
        col = n - 1 if col == n and lon < 180 else col % n
        return Tile(z, col, min(max(row, 0), n - 1))


@dataclass(frozen=True, slots=True)
class Lattice:
    """An endless sheet of pixels.

    Parameters
    ----------
    crs
        Authority code or WKT, as PROJ reads it.
    dx, dy
        Pixel width and height (both positive) in units of the CRS.
    x0, y0
        Upper left corner of pixel (0, 0) in the CRS.
    unit
        How a CRS unit relates to the ground: ``metre`` (projected; `scale` metres a unit),
        ``degree`` (geographic) or ``mercator`` (Web Mercator, whose metres shrink with latitude).
    scale
        Metres a unit of a projected CRS (1 for metres, 0.3048 for feet).
    """

    crs: str
    dx: float
    dy: float
    x0: float
    y0: float
    unit: Unit = "metre"
    scale: float = 1.0

    @staticmethod
    def web_mercator(zoom: int) -> Lattice:
        """The lattice of a map zoom: 256 · 2^zoom pixels round the world."""
        size = 2 * MERCATOR_EXTENT / (TILE_SIZE << zoom)
        return Lattice("EPSG:3857", size, size, -MERCATOR_EXTENT, MERCATOR_EXTENT, "mercator")

    @property
    def period(self) -> int | None:
        """Columns once round the world, if the lattice closes on itself."""
        if self.unit == "metre":
            return None
        around = (2 * MERCATOR_EXTENT if self.unit == "mercator" else 360.0) / self.dx
        columns = round(around)
        return columns if abs(around - columns) < 1e-6 else None


@dataclass(frozen=True, slots=True)
class Grid:
    """A window of a lattice: `rows` × `cols` pixels from (`row`, `col`) on."""

    lattice: Lattice
    col: int
    row: int
    cols: int
    rows: int

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return self.rows, self.cols

    @property
    def pixels(self) -> int:
        """How many."""
        return self.rows * self.cols

    def holds(self, inner: Grid) -> bool:
        """Whether all pixels of another grid of the same lattice are this one's too."""
        top, left = inner.row - self.row, inner.col - self.col
        return 0 <= top <= self.rows - inner.rows and 0 <= left <= self.cols - inner.cols

    def expand(self, margin: int) -> Grid:
        """The grid with `margin` more pixels on each side."""
        if margin == 0:
            return self
        return Grid(
            self.lattice,
            self.col - margin,
            self.row - margin,
            self.cols + 2 * margin,
            self.rows + 2 * margin,
        )

    def window_in(self, outer: Grid) -> tuple[slice, slice]:
        """Rows and columns of `outer` that hold this grid."""
        top, left = self.row - outer.row, self.col - outer.col
        return slice(top, top + self.rows), slice(left, left + self.cols)

    def bounds(self) -> Bounds:
        """The grid's edges in its CRS."""
        lattice = self.lattice
        return Bounds(
            lattice.x0 + self.col * lattice.dx,
            lattice.y0 - (self.row + self.rows) * lattice.dy,
            lattice.x0 + (self.col + self.cols) * lattice.dx,
            lattice.y0 - self.row * lattice.dy,
        )

    def latitudes(self) -> npt.NDArray[np.float64]:
        """Latitude of each row's centre in degrees, (rows,); not for projected lattices."""
        lattice = self.lattice
        y = lattice.y0 - (self.row + np.arange(self.rows, dtype=np.float64) + 0.5) * lattice.dy
        if lattice.unit == "mercator":
            latitudes: npt.NDArray[np.float64] = np.degrees(np.arctan(np.sinh(y / EARTH_RADIUS)))
            return latitudes
        if lattice.unit == "degree":
            return y
        raise ValueError("the rows of a projected lattice have no one latitude")

    def ground_resolution(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Ground width and height of each row's pixels in metres, two arrays of (rows, 1).

        Web Mercator stretches both axes by 1/cos(latitude); degrees of longitude shrink with
        cos(latitude) (sphere of `EARTH_RADIUS`).
        """
        lattice = self.lattice
        ones = np.ones((self.rows, 1))
        if lattice.unit == "metre":
            return ones * (lattice.dx * lattice.scale), ones * (lattice.dy * lattice.scale)
        shrink = np.cos(np.radians(np.clip(self.latitudes(), -89.9, 89.9)))[:, np.newaxis]
        if lattice.unit == "mercator":
            return lattice.dx * shrink, lattice.dy * shrink
        degree = math.radians(1.0) * EARTH_RADIUS
        return lattice.dx * degree * shrink, ones * (lattice.dy * degree)


def _check_zoom(z: int) -> None:
    if not 0 <= z <= MAX_ZOOM:
        raise RequestError(f"Zoom {z} does not exist.", hint=f"Use 0 to {MAX_ZOOM}.")


def mercator_latitude(y: float) -> float:
    """Latitude in degrees of a Web Mercator northing in metres."""
    return math.degrees(math.atan(math.sinh(y / EARTH_RADIUS)))


def _mercator_row(lat: float) -> float:
    """Web Mercator row of a latitude, 0 at the map's northern edge and 1 at its southern."""
    s = math.sin(math.radians(max(-89.9999, min(89.9999, lat))))
    return 0.5 - math.log((1 + s) / (1 - s)) / (4 * math.pi)
