"""What a source is: its description, and the one way to get its pixels."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Protocol

from geoloom.block import Array, Mask
from geoloom.grid import Bounds

Transform = tuple[float, float, float, float, float, float]
"""Affine transform in GDAL's order: x0, dx/dcol, dx/drow, y0, dy/dcol, dy/drow."""


@dataclass(frozen=True, slots=True)
class BandInfo:
    """One band of a source.

    Parameters
    ----------
    name
        Unique in its source: the band's description, else ``b1``, ``b2`` …
    dtype
        numpy name of the stored type.
    nodata
        Value that stands for "nothing here" (may be NaN), or None.
    unit
        As the file declares it, or None.
    scale, offset
        Physical value = stored value × scale + offset; never applied by the reader.
    description
        As the file has it, or None.
    colour
        GDAL's name of the colour interpretation, or None if undefined.
    categories
        Names of the classes 0, 1, …
    palette
        Colours (red, green, blue, alpha; 0..255) of the values 0, 1, …, or None.
    resampling
        ``nearest`` for classes and flags, ``bilinear`` for quantities.
    """

    name: str
    dtype: str
    nodata: float | None = None
    unit: str | None = None
    scale: float = 1.0
    offset: float = 0.0
    description: str | None = None
    colour: str | None = None
    categories: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int, int], ...] | None = None
    resampling: str = "bilinear"


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a source holds and where it lies.

    Parameters
    ----------
    href
        As the person wrote it.
    driver
        Format, as GDAL calls it.
    fingerprint
        Changes whenever the source does.
    width, height
        Pixels at full resolution.
    transform
        Pixel (col, row) to CRS coordinates.
    crs
        ``EPSG:n`` (or another authority), else WKT; always horizontal, axes x then y.
    bands
        Without alpha bands, which become `valid`.
    overviews
        (width, height) from fine to coarse.
    bounds
        In degrees; west > east if it crosses the antimeridian.
    resolution
        Pixel width and height in CRS units, both positive.
    ground_resolution
        Side of a square with the area of the centre pixel, in metres.
    resampling
        What to use if nobody chose: ``nearest`` if any band holds classes or flags.
    block
        (width, height) of the blocks stored in the file.
    dtype
        Common type of all bands.
    alpha, mask
        Whether an alpha band or a mask says which pixels are valid.
    shared_valid
        Whether one validity holds for all bands.
    crs_name
        The CRS in words.
    decoded
        (width, height) of what is decoded at once, of each level: whole blocks of the file. Empty for
        sources that give just the pixels asked for.
    built
        Whether the overviews are no part of the file, but made on reading from all pixels below them.
    """

    href: str
    driver: str
    fingerprint: str
    width: int
    height: int
    transform: Transform
    crs: str
    bands: tuple[BandInfo, ...]
    overviews: tuple[tuple[int, int], ...]
    bounds: Bounds
    resolution: tuple[float, float]
    ground_resolution: float
    resampling: str
    block: tuple[int, int]
    dtype: str
    alpha: bool = False
    mask: bool = False
    shared_valid: bool = False
    crs_name: str = ""
    decoded: tuple[tuple[int, int], ...] = ()
    built: bool = False

    def behind(self, level: int) -> float:
        """Pixels of the file that one pixel of a level is read from."""
        width, height = self.levels[level]
        return self.width / width * (self.height / height) if self.built else 1.0

    @property
    def levels(self) -> tuple[tuple[int, int], ...]:
        """(width, height) of each level; level 0 is the full resolution."""
        return ((self.width, self.height), *self.overviews)

    def to_json(self) -> dict[str, Any]:
        """Plain values for an HTTP answer; a nodata that JSON cannot hold is written as text."""
        answer = dataclasses.asdict(self)
        bounds = self.bounds
        answer["bounds"] = [bounds.west, bounds.south, bounds.east, bounds.north]
        for band in answer["bands"]:
            if band["nodata"] is not None and not math.isfinite(band["nodata"]):
                band["nodata"] = str(band["nodata"])
        return answer


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of a level's pixels: `width` × `height` from column `x`, row `y` on."""

    x: int
    y: int
    width: int
    height: int

    @property
    def pixels(self) -> int:
        """How many."""
        return self.width * self.height


def blocks_of(info: SourceInfo, level: int, window: Window) -> tuple[int, int]:
    """How many blocks of a band a window meets, and how many pixels they hold together."""
    if not info.decoded:
        return 1, window.pixels
    count, sides = 1, []
    corner, shape = (window.x, window.y), (window.width, window.height)
    for start, length, block, size in zip(
        corner, shape, info.decoded[level], info.levels[level], strict=True
    ):
        first, last = start // block, (start + length - 1) // block
        count *= last - first + 1
        sides.append(min((last + 1) * block, size) - first * block)
    return count, sides[0] * sides[1]


class Source(Protocol):
    """An open source. Implementations can be used from many threads at once."""

    @property
    def info(self) -> SourceInfo:
        """What it holds."""
        ...

    def read(self, level: int, bands: tuple[int, ...], window: Window) -> tuple[Array, Mask]:
        """Pixels of some bands.

        Parameters
        ----------
        level
            0 for the full resolution, n for ``info.overviews[n - 1]``.
        bands
            Positions in ``info.bands``, from 0.
        window
            Inside the level.

        Returns
        -------
        data
            (bands, rows, cols) in the common type of the bands; not to be written to.
        valid
            bool, (1, rows, cols) for one band or if ``info.shared_valid``, else (bands, rows, cols);
            not to be written to. Where every pixel is valid it is one True broadcast (all strides 0).

        Raises
        ------
        SourceUnreadable
            If the source is damaged there.
        SourceChanged
            If the source is no longer the one `info` describes; open it again.
        """
        ...
