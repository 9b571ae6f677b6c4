"""What a grid needs of a source, found without reading a pixel.

A grid is cut into pieces: at each turn of the world, and where another overview serves better.
Each piece is one window of one level of the source.

Positions and levels are those of absolute cells and blocks of the lattice, so a pixel's value does
not depend on the grid it was asked in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from geoloom.address import Address
from geoloom.errors import DemandError
from geoloom.grid import MERCATOR_EXTENT, TILE_SIZE, Grid
from geoloom_engine.footprints import reach
from geoloom_engine.interpolation import extent
from geoloom_engine.levels import Rectangle, by_level, footprint_scale
from geoloom_engine.memo import Memo
from geoloom_engine.positions import Coarse, Geometry, coarse, turn
from geoloom_engine.readers.source import SourceInfo, Window
from geoloom_engine.runs import CELL

PADS = {"nearest": 0, "bilinear": 1, "cubic": 2, "average": None, "mode": None}
"""Resamplings, and the source pixels they need round a position; None: as far as footprints reach."""

_PLAN_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What one read may ask of a source.

    Parameters
    ----------
    source_pixels
        Pixels of a band, over all windows of a grid.
    """

    source_pixels: int = 64_000_000


@dataclass(frozen=True, slots=True)
class Read:
    """One window of a source and the part of the grid it fills.

    Parameters
    ----------
    level, window
        What to read.
    row, col, rows, cols
        The part of the grid, counted from the grid's first pixel.
    place
        (row, col): the part's first pixel, counted from the first of `cells`.
    cells
        Positions in pixels of the level.
    scale
        The usual side of a grid's pixel in pixels of the level.
    """

    level: int
    window: Window
    row: int
    col: int
    rows: int
    cols: int
    place: tuple[int, int]
    cells: Coarse
    scale: float


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """What a grid needs of a source.

    Parameters
    ----------
    reads
        One for each piece that meets the source.
    pixels
        Source pixels of a band.
    bytes
        Decoded size of the bands asked for, with their validity.
    """

    reads: tuple[Read, ...]
    pixels: int
    bytes: int

    @property
    def level(self) -> int | None:
        """The finest level read; None if nothing is."""
        return min((read.level for read in self.reads), default=None)

    @property
    def window(self) -> Window | None:
        """The largest window read; None if nothing is."""
        return max((read.window for read in self.reads), key=lambda window: window.pixels, default=None)


def _plan_bytes(reads: tuple[Read, ...]) -> int:
    return 1024 + sum(read.cells.nbytes for read in reads)


_PLANS: Memo[tuple[Read, ...]] = Memo(_PLAN_BYTES, _plan_bytes)


def demand(
    info: SourceInfo,
    grid: Grid,
    bands: tuple[int, ...] | None = None,
    resampling: str = "nearest",
    limits: Limits | None = None,
) -> ReadPlan:
    """What `warp` would read, without reading it.

    Parameters
    ----------
    bands
        Positions in ``info.bands``; None for all.

    Raises
    ------
    DemandError
        If it is more than the limits allow; the message has the numbers, the hint a way out.
    """
    if resampling not in PADS:
        raise ValueError(f"resampling {resampling!r} is none of {', '.join(PADS)}")
    limits = limits or Limits()
    geometry = Geometry.of(info)
    pad = PADS[resampling]
    reads = _PLANS.get(
        (geometry, info.overviews, grid, pad), lambda: tuple(_reads(info, geometry, grid, pad))
    )
    pixels = sum(read.window.pixels for read in reads)
    behind = round(sum(read.window.pixels * info.behind(read.level) for read in reads))
    if behind > limits.source_pixels:
        raise _too_much(info, geometry, grid, behind, limits)
    chosen = info.bands if bands is None else [info.bands[band] for band in bands]
    size = sum(np.dtype(band.dtype).itemsize + 1 for band in chosen)
    return ReadPlan(reads, pixels, pixels * size)


def _reads(info: SourceInfo, geometry: Geometry, grid: Grid, pad: int | None) -> Iterator[Read]:
    around = turn(geometry.crs)
    step = math.hypot(geometry.transform[1], geometry.transform[4])
    for turned, offset in _turns(grid):
        for area, level, scale in by_level(info, geometry, grid.lattice, turned):
            row, col, rows, cols = area
            size = info.levels[level]
            period = None if around is None else around.period / step * (size[0] / info.width)
            first = (row // CELL, col // CELL)
            last = ((row + rows - 1) // CELL, (col + cols - 1) // CELL)
            count = (last[0] - first[0] + 1, last[1] - first[1] + 1)
            cells = coarse(grid.lattice, geometry, size, (*first, *count), period)
            place = (row - first[0] * CELL, col - first[1] * CELL)
            for shift in _shifts(cells, size, period):
                moved = cells.shifted(shift)
                window = _window(moved, place, (rows, cols), size, reach(scale) if pad is None else pad)
                if window is not None:
                    top, left = row - grid.row, col - turned[1] + offset
                    yield Read(level, window, top, left, rows, cols, place, moved, scale)


def _turns(grid: Grid) -> Iterator[tuple[Rectangle, int]]:
    """The grid without what lies off the map, cut at each turn of the world.

    Yields rectangles whose columns lie in the first turn, each with its first column in the grid.
    """
    lattice, period = grid.lattice, grid.lattice.period
    top, bottom = grid.row, grid.row + grid.rows
    edge = {"mercator": MERCATOR_EXTENT, "degree": 90.0}.get(lattice.unit)
    if edge is not None:
        # Pixels whose centres lie on the map.
        top = max(top, math.ceil((lattice.y0 - edge) / lattice.dy - 0.5))
        bottom = min(bottom, math.floor((lattice.y0 + edge) / lattice.dy - 0.5) + 1)
    if top >= bottom:
        return
    if period is None:
        yield (top, grid.col, bottom - top, grid.cols), 0
        return
    col, end = grid.col, grid.col + grid.cols
    while col < end:
        start = col % period
        cols = min(period - start, end - col)
        yield (top, start, bottom - top, cols), col - grid.col
        col += cols


def _shifts(cells: Coarse, size: tuple[int, int], period: float | None) -> list[float]:
    """Pixels to move the cells by so that they meet the source: whole turns of the globe."""
    if period is None:
        return [0.0]
    x = np.concatenate([cells.nodes[0].ravel(), cells.exact[0].ravel()])
    x = x[np.isfinite(x)]
    if x.size == 0:
        return []
    low = math.ceil((-float(x.max()) - 2.0) / period)
    high = math.floor((size[0] - float(x.min()) + 2.0) / period)
    return [turns * period for turns in range(low, high + 1)]


def _window(
    cells: Coarse, place: tuple[int, int], shape: tuple[int, int], size: tuple[int, int], pad: int
) -> Window | None:
    """The source pixels that a piece's positions need; None if all lie outside."""
    low_x, high_x, low_y, high_y = extent(cells.nodes, cells.exact, cells.slots, (*place, *shape), size)
    if low_x > high_x:
        return None
    x0, x1 = (max(math.floor(low_x) - pad, 0), min(math.floor(high_x) + pad, size[0] - 1))
    y0, y1 = (max(math.floor(low_y) - pad, 0), min(math.floor(high_y) + pad, size[1] - 1))
    if x0 > x1 or y0 > y1:
        return None
    return Window(x0, y0, x1 - x0 + 1, y1 - y0 + 1)


def _too_much(info: SourceInfo, geometry: Geometry, grid: Grid, pixels: int, limits: Limits) -> DemandError:
    """The refusal, with the zoom or pixel size from which it would work."""
    lattice = grid.lattice
    name = Address.parse(info.href).href.rstrip("/").rsplit("/", 1)[-1]
    # Levels that are made on reading spare no pixel.
    coarsest = (info.width, info.height) if info.built else info.levels[-1]
    thinned = coarsest[0] / info.width * coarsest[1] / info.height
    scale = footprint_scale(geometry, lattice)
    # A window smaller than the grid asks for need not shrink with the first zooms.
    wanted = max(grid.rows * grid.cols * scale * scale * thinned, pixels)
    grow = math.sqrt(wanted / limits.source_pixels)
    if lattice.unit == "mercator":
        zoom = math.log2(2 * MERCATOR_EXTENT / (TILE_SIZE * lattice.dx))
        way = f"Zoom in to level {math.ceil(zoom + math.log2(grow) - 1e-9)}"
    else:
        way = f"Ask for pixels of at most {lattice.dx / grow:.3g} {lattice.unit}s"
    otherwise = "reduce it first (xarray's coarsen)" if info.built else "make overviews (gdaladdo)"
    return DemandError(
        f"{name}: this view would read {pixels / 1e6:,.1f} million source pixels a band, more than the "
        f"{limits.source_pixels / 1e6:,.1f} million allowed"
        + ("." if info.overviews and not info.built else ", because the file has no overviews."),
        hint=f"{way}, or {otherwise}.",
    )
