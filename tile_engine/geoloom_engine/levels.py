"""Which level of a source serves a lattice: full resolution or one of its overviews.

The coarsest whose pixels are at most `FINER` times as large as the target's, so that a tile is
neither made of far more pixels than it shows nor blurred. It is chosen once for a source and a
lattice, measured at the footprint's centre; a source taller than `TALL` degrees looks too different
from south to north for that, and has one level for each absolute block of `BLOCK` pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from geoloom.grid import EARTH_RADIUS, Lattice
from geoloom_engine.memo import Memo
from geoloom_engine.positions import Geometry, lattice_position, scale_at
from geoloom_engine.readers.source import SourceInfo

FINER = 1.25
TALL = 10.0
BLOCK = 256

Rectangle = tuple[int, int, int, int]
"""(row, col, rows, cols) in pixels of a lattice."""

_SCALES: Memo[float] = Memo(4096)


def by_level(
    info: SourceInfo, geometry: Geometry, lattice: Lattice, area: Rectangle
) -> Iterator[tuple[Rectangle, int, float]]:
    """A rectangle of a lattice with the level that serves it, in parts if the source is tall.

    Yields rectangle, level, and the usual side of a lattice pixel in pixels of that level.
    """
    if info.bounds.north - info.bounds.south <= TALL:
        yield (
            area,
            *_chosen(info, _SCALES.get((geometry, lattice), lambda: footprint_scale(geometry, lattice))),
        )
        return
    row, col, rows, cols = area
    for top, height in _runs(row, rows):
        for left, width in _runs(col, cols):
            scale = _tall_scale(info, geometry, lattice, top // BLOCK, left // BLOCK)
            yield (top, left, height, width), *_chosen(info, scale)


def footprint_scale(geometry: Geometry, lattice: Lattice) -> float:
    """Source pixels a lattice pixel at the footprint's centre, else at the next point that has any."""
    for x, y in ((0.5, 0.5), (0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)):
        col, row = lattice_position(lattice, geometry, geometry.width * x, geometry.height * y)
        if math.isfinite(col) and math.isfinite(row):
            scale = scale_at(lattice, geometry, col, row)
            if math.isfinite(scale):
                return scale
    return 0.0


def _tall_scale(info: SourceInfo, geometry: Geometry, lattice: Lattice, row: int, col: int) -> float:
    key = (geometry, lattice, row, col)
    return _SCALES.get(key, lambda: _block_scale(info, geometry, lattice, row, col))


def _block_scale(info: SourceInfo, geometry: Geometry, lattice: Lattice, row: int, col: int) -> float:
    """Source pixels a lattice pixel at the middle of what an absolute block can show of the source."""
    north, south = _rows(lattice, info)
    top = min(max(row * BLOCK, north), (row + 1) * BLOCK)
    bottom = max(min((row + 1) * BLOCK, south), row * BLOCK)
    for y, x in ((0.5, 0.5), (0.5, 0.25), (0.5, 0.75), (0.25, 0.5), (0.75, 0.5)):
        scale = scale_at(lattice, geometry, (col + x) * BLOCK, top + y * (bottom - top))
        if math.isfinite(scale):
            return scale
    return footprint_scale(geometry, lattice)


def _rows(lattice: Lattice, info: SourceInfo) -> tuple[float, float]:
    """The lattice's rows between the source's north and south; all of them if it is projected."""
    if lattice.unit == "metre":
        return -math.inf, math.inf
    latitudes = np.clip([info.bounds.north, info.bounds.south], -89.0, 89.0)
    if lattice.unit == "mercator":
        y = EARTH_RADIUS * np.arcsinh(np.tan(np.radians(latitudes)))
    else:
        y = latitudes
    north, south = (lattice.y0 - y) / lattice.dy
    return float(north), float(south)


def _chosen(info: SourceInfo, scale: float) -> tuple[int, float]:
    """The coarsest level that serves at `scale` full-resolution pixels a target pixel, and its scale."""
    best, best_scale = 0, scale
    for level, (width, height) in enumerate(info.levels):
        coarser = math.sqrt(info.width / width * (info.height / height))
        if coarser <= FINER * scale:
            best, best_scale = level, scale / coarser
    return best, best_scale


def _runs(first: int, count: int) -> Iterator[tuple[int, int]]:
    """A range cut at the multiples of `BLOCK`: (first, count) of each part."""
    end = first + count
    while first < end:
        size = min(BLOCK - first % BLOCK, end - first)
        yield first, size
        first += size
