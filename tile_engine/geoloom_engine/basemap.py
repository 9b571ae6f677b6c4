"""The base map that works offline: land, borders and names, drawn quietly so that data stand out."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
import shapely
from PIL import Image, ImageDraw

from geoloom.block import Block
from geoloom.errors import RequestError
from geoloom.grid import Tile
from geoloom_engine.atlas import Cell, Shapes, cell
from geoloom_engine.lettering import font
from geoloom_engine.placenames import Name, names_on
from geoloom_engine.render import png

__all__ = ["basemap_tile"]

_SEA, _LAND = (214, 224, 231), (244, 242, 237)
_COAST, _BORDER, _GRATICULE = (170, 186, 197), (205, 195, 183), (202, 214, 222)
_COUNTRY_INK, _CITY_INK, _DOT = (142, 134, 124), (104, 99, 93), (150, 142, 132)
_TILE = 256
_SHARPNESS = 4
"""Each pixel is the mean of this many squared (fewer at higher pixel ratios)."""


@lru_cache(maxsize=512)
def basemap_tile(z: int, x: int, y: int, pixel_ratio: int = 1) -> bytes:
    """A tile of the base map as PNG.

    Parameters
    ----------
    z, x, y
        Of the XYZ scheme, up to zoom 30 (the outlines are those of 1:10 million).
    pixel_ratio
        1 for 256 × 256 pixels, 2 or 4 for so many times as many a side of the same map.

    Raises
    ------
    RequestError
        If there is no such tile or pixel ratio.
    """
    Tile(z, x, y)
    if pixel_ratio not in (1, 2, 4):
        raise RequestError(f"Pixel ratio {pixel_ratio} is not served.", hint="Use 1, 2 or 4.")
    fineness = _SHARPNESS // pixel_ratio
    sheet = _outlines(z, x, y, pixel_ratio * fineness)
    sheet = sheet.reduce(fineness)
    _write_names(sheet, names_on(z, x, y), x * _TILE, y * _TILE, pixel_ratio)
    data = np.ascontiguousarray(np.asarray(sheet).transpose(2, 0, 1))
    return png(Block(data, np.ones((1, *data.shape[1:]), np.bool_)), None)


def _outlines(z: int, x: int, y: int, unit: int) -> Image.Image:
    """Everything but the names, at `unit` times 256 pixels."""
    size = _TILE * unit
    sheet = Image.new("RGB", (size, size), _SEA)
    pen = ImageDraw.Draw(sheet)
    _draw_graticule(pen, z, x, y, size)
    content: Cell = cell(z, x, y)
    rings, owners = shapely.get_rings(content.land, return_index=True)
    shells = np.diff(owners, prepend=-1) > 0
    coasts = _Lines(rings, z, x, y, size)
    for number, shell in enumerate(shells):
        pen.polygon(coasts.line(number), fill=_LAND if shell else _SEA)
    for number in range(len(rings)):
        for run in coasts.runs(number):
            pen.line(run, fill=_COAST, width=unit)
    borders = _Lines(content.borders, z, x, y, size)
    for number in range(len(content.borders)):
        pen.line(borders.line(number), fill=_BORDER, width=max(1, round(1.2 * unit)))
    return sheet


class _Lines:
    """Lines in whole fine pixels of a tile.

    Points are rounded down on the world's sheet of fine pixels, then moved: so a point has the
    same place in each tile that shows it, and no seam shows. All at once, because most lines are
    islands of a few points.
    """

    def __init__(self, shapes: Shapes, z: int, x: int, y: int, size: int) -> None:
        points, owners = shapely.get_coordinates(shapes, return_index=True)
        pixels = np.floor(points * (float(size) * 2.0**z)).astype(np.int64) - np.array([x, y]) * size
        self._flat: list[int] = pixels.ravel().tolist()
        self._ends: list[int] = np.searchsorted(owners, np.arange(len(shapes) + 1)).tolist()
        edge = (points[:, 0] <= 1e-9) | (points[:, 0] >= 1 - 1e-9)
        self._along = edge[1:] & edge[:-1] & (owners[1:] == owners[:-1])

    def line(self, number: int) -> list[int]:
        """The points of a line in one list of x and y by turns."""
        return self._flat[2 * self._ends[number] : 2 * self._ends[number + 1]]

    def runs(self, number: int) -> list[list[int]]:
        """The parts of a coast between the places where it follows the map's edge, ±180°."""
        first, last = self._ends[number], self._ends[number + 1]
        along = self._along[first : last - 1]
        if not along.any():
            return [self.line(number)]
        cuts = [first, *(np.flatnonzero(along) + first + 1).tolist(), last]
        return [self._flat[2 * start : 2 * end] for start, end in pairwise(cuts) if end - start > 1]


def _draw_graticule(pen: ImageDraw.ImageDraw, z: int, x: int, y: int, size: int) -> None:
    """Meridians and parallels on the sea, one pixel wide."""
    if z > 6:
        return
    step = (30, 30, 20, 10, 10, 5, 2)[z]
    width = size // _TILE
    world = float(size) * 2.0**z
    for degree in range(-180, 181, step):
        left = round((degree / 360 + 0.5) * world) - x * size - width // 2
        pen.rectangle((left, 0, left + width - 1, size), fill=_GRATICULE)
    for degree in range(-90 + 90 % step, 90, step):
        sine = np.sin(np.radians(degree))
        if abs(degree) < 86:
            top = round((0.5 - np.arctanh(sine) / (2 * np.pi)) * world) - y * size - width // 2
            pen.rectangle((0, top, size, top + width - 1), fill=_GRATICULE)


def _write_names(sheet: Image.Image, names: list[Name], left: int, top: int, ratio: int) -> None:
    pen = ImageDraw.Draw(sheet)
    for name in names:
        x, y = (name.x - left) * ratio, (name.y - top) * ratio
        lettering = font(name.size * ratio)
        if name.city:
            dot = (x - 2 * ratio, y - 2 * ratio, x + 2 * ratio, y + 2 * ratio)
            pen.ellipse(dot, fill=_DOT, outline=_LAND)
        pen.text(
            (x + 6 * ratio if name.city else x, y),
            name.text,
            _CITY_INK if name.city else _COUNTRY_INK,
            font=lettering,
            anchor="lm" if name.city else "mm",
            stroke_width=2 * ratio if name.city else 1 * ratio,
            stroke_fill=_LAND,
        )
