"""Source pixels on a grid: what to read, and the fast way there.

A grid is cut into pieces: at each turn of the world, and where another overview serves better.
Each piece is one window of one level of the source. Positions come from `positions`, pixels are
picked by the compiled loops of `gather`.

A pixel's value depends on the source, the lattice and the pixel's index alone, never on the grid:
the level is chosen once for a source and a lattice (for sources taller than 10° once for each
absolute block of 256 pixels), and positions once for each absolute cell.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from geoloom.block import Block
from geoloom.errors import DemandError
from geoloom.grid import MERCATOR_EXTENT, TILE_SIZE, Grid, Lattice
from geoloom_engine import gather
from geoloom_engine.gather import CELL
from geoloom_engine.positions import Coarse, Geometry, coarse, lattice_position, scale_at, turn
from geoloom_engine.readers.source import Source, SourceInfo, Window

FINER = 1.25
"""An overview serves if its pixels are at most this many times as large as the target's."""

TALL = 10.0
"""Degrees of latitude beyond which one level does not serve a whole source."""

BLOCK = 256
"""Pixels of the lattice for which a tall source's level is chosen."""

PADS = {"nearest": 0, "bilinear": 1}
"""Resamplings, and the source pixels they need round a position."""


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
    """

    level: int
    window: Window
    row: int
    col: int
    rows: int
    cols: int
    place: tuple[int, int]
    cells: Coarse


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
    key = (geometry, info.overviews, grid, PADS[resampling])
    reads = _PLANS.get(key, lambda: tuple(_reads(info, geometry, grid, PADS[resampling])))
    pixels = sum(read.window.pixels for read in reads)
    if pixels > limits.source_pixels:
        raise _too_much(info, geometry, grid, pixels, limits)
    chosen = info.bands if bands is None else [info.bands[band] for band in bands]
    size = sum(np.dtype(band.dtype).itemsize + 1 for band in chosen)
    return ReadPlan(reads, pixels, pixels * size)


def warp(
    source: Source, grid: Grid, bands: tuple[int, ...], resampling: str, limits: Limits | None = None
) -> Block:
    """A source's pixels on a grid.

    Parameters
    ----------
    source
        Where to read.
    grid
        May reach over ±180° and beyond the map's edge.
    bands
        Positions in ``source.info.bands``.
    resampling
        ``nearest``: the source pixel that holds the pixel's centre. ``bilinear``: the weighted mean
        of the valid ones of the four source pixels round it; integers are rounded half away from
        zero; valid if the nearest source pixel is.

    Returns
    -------
    Block
        (bands, rows, cols) in the source's dtype, the common one if the bands' differ.

    Raises
    ------
    DemandError
        If the limits do not allow it; nothing was read.
    SourceUnreadable, SourceChanged
        From the source.
    """
    info = source.info
    plan = demand(info, grid, bands, resampling, limits)
    dtype = np.result_type(*(np.dtype(info.bands[band].dtype) for band in bands))
    if not plan.reads:
        return Block.empty(len(bands), grid.rows, grid.cols, dtype)
    data = np.zeros((len(bands), grid.rows, grid.cols), dtype)
    valid: Any = None
    for read in plan.reads:
        pixels, good = source.read(read.level, bands, read.window)
        if valid is None:
            valid = np.zeros((good.shape[0], grid.rows, grid.cols), np.bool_)
        masked = good.strides[1:] != (0, 0) or not good[:, 0, 0].all()
        part = (slice(None), slice(read.row, read.row + read.rows), slice(read.col, read.col + read.cols))
        cells = read.cells
        pick = gather.nearest if resampling == "nearest" else gather.bilinear
        pick(
            pixels.astype(dtype, copy=False),
            good,
            cells.nodes,
            cells.exact,
            cells.slots,
            *read.place,
            (read.window.x, read.window.y),
            info.levels[read.level],
            masked,
            out=data[part],
            out_valid=valid[part],
        )
    if not valid.all():
        np.copyto(data, 0, where=~valid)
    return Block(data, valid)


class _Memo[T]:
    """A small table of computed things, the longest unused forgotten first; safe in many threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._known: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        made = make()
        with self._lock:
            self._known[key] = made
            while len(self._known) > self._size:
                self._known.popitem(last=False)
        return made


_PLANS: _Memo[tuple[Read, ...]] = _Memo(256)
_LEVELS: _Memo[int] = _Memo(4096)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A rectangle of the lattice within one turn of the world, and where it lies in the grid."""

    row: int
    col: int
    rows: int
    cols: int
    top: int
    left: int


def _reads(info: SourceInfo, geometry: Geometry, grid: Grid, pad: int) -> Iterator[Read]:
    around = turn(geometry.crs)
    step = math.hypot(geometry.transform[1], geometry.transform[4])
    lattice = grid.lattice
    for whole in _turns(grid):
        for piece, level in _by_level(info, geometry, lattice, whole):
            size = info.levels[level]
            period = None if around is None else around.period / step * (size[0] / info.width)
            first = (piece.row // CELL, piece.col // CELL)
            count = (
                (piece.row + piece.rows - 1) // CELL - first[0] + 1,
                (piece.col + piece.cols - 1) // CELL - first[1] + 1,
            )
            cells = coarse(lattice, geometry, size, (*first, *count), period)
            place = (piece.row - first[0] * CELL, piece.col - first[1] * CELL)
            for shift in _shifts(cells, size, period):
                moved = cells.shifted(shift)
                window = _window(moved, place, piece, size, pad)
                if window is not None:
                    yield Read(level, window, piece.top, piece.left, piece.rows, piece.cols, place, moved)


def _turns(grid: Grid) -> Iterator[_Piece]:
    """The grid without what lies off the map, cut at each turn of the world."""
    lattice, period = grid.lattice, grid.lattice.period
    top, bottom = grid.row, grid.row + grid.rows
    if lattice.unit == "mercator":
        edge = MERCATOR_EXTENT
    elif lattice.unit == "degree":
        edge = 90.0
    else:
        edge = math.inf
    if math.isfinite(edge):
        # Pixels whose centres lie on the map.
        top = max(top, math.ceil((lattice.y0 - edge) / lattice.dy - 0.5))
        bottom = min(bottom, math.floor((lattice.y0 + edge) / lattice.dy - 0.5) + 1)
    if top >= bottom:
        return
    if period is None:
        yield _Piece(top, grid.col, bottom - top, grid.cols, top - grid.row, 0)
        return
    col, end = grid.col, grid.col + grid.cols
    while col < end:
        start = col % period
        cols = min(period - start, end - col)
        yield _Piece(top, start, bottom - top, cols, top - grid.row, col - grid.col)
        col += cols


def _by_level(
    info: SourceInfo, geometry: Geometry, lattice: Lattice, piece: _Piece
) -> Iterator[tuple[_Piece, int]]:
    """The piece with the level that serves it, in parts if the source is tall."""
    if not info.overviews:
        yield piece, 0
        return
    if info.bounds.north - info.bounds.south <= TALL:
        key = (geometry, info.overviews, lattice)
        yield piece, _LEVELS.get(key, lambda: _level(info, _footprint_scale(geometry, lattice)))
        return
    for row, rows in _runs(piece.row, piece.rows):
        for col, cols in _runs(piece.col, piece.cols):
            block = (row // BLOCK, col // BLOCK)
            level = _LEVELS.get(
                (geometry, info.overviews, lattice, block),
                lambda block=block: _level(info, _block_scale(geometry, lattice, *block)),  # type: ignore[misc]
            )
            top, left = piece.top + row - piece.row, piece.left + col - piece.col
            yield _Piece(row, col, rows, cols, top, left), level


def _runs(first: int, count: int) -> Iterator[tuple[int, int]]:
    """A range cut at the multiples of `BLOCK`: (first, count) of each part."""
    end = first + count
    while first < end:
        size = min(BLOCK - first % BLOCK, end - first)
        yield first, size
        first += size


def _level(info: SourceInfo, scale: float) -> int:
    """The coarsest level that serves at `scale` full-resolution pixels a target pixel."""
    best = 0
    for level, (width, height) in enumerate(info.levels):
        if math.sqrt(info.width / width * (info.height / height)) <= FINER * scale:
            best = level
    return best


def _footprint_scale(geometry: Geometry, lattice: Lattice) -> float:
    """Source pixels a lattice pixel at the footprint's centre, else at the next point that has any."""
    for x, y in ((0.5, 0.5), (0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)):
        col, row = lattice_position(lattice, geometry, geometry.width * x, geometry.height * y)
        if math.isfinite(col) and math.isfinite(row):
            scale = scale_at(lattice, geometry, col, row)
            if math.isfinite(scale):
                return scale
    return 0.0


def _block_scale(geometry: Geometry, lattice: Lattice, row: int, col: int) -> float:
    """Source pixels a lattice pixel at the centre of an absolute block, else further out in it."""
    for y, x in ((0.5, 0.5), (0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)):
        scale = scale_at(lattice, geometry, (col + x) * BLOCK, (row + y) * BLOCK)
        if math.isfinite(scale):
            return scale
    return _footprint_scale(geometry, lattice)


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
    cells: Coarse, place: tuple[int, int], piece: _Piece, size: tuple[int, int], pad: int
) -> Window | None:
    """The source pixels that a piece's positions need; None if all lie outside."""
    low_x, high_x, low_y, high_y = gather.extent(
        cells.nodes, cells.exact, cells.slots, (*place, piece.rows, piece.cols), size
    )
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
    name = info.href.rstrip("/").rsplit("/", 1)[-1]
    shrink = math.sqrt(limits.source_pixels / pixels)
    if lattice.unit == "mercator":
        zoom = math.log2(2 * MERCATOR_EXTENT / (TILE_SIZE * lattice.dx))
        way = f"Zoom in to level {math.ceil(zoom - math.log2(shrink) - 1e-9)}"
    else:
        way = f"Ask for pixels of at most {lattice.dx * shrink:.3g} units"
    return DemandError(
        f"{name}: this view would read {pixels / 1e6:,.0f} million source pixels a band, more than the "
        f"{limits.source_pixels / 1e6:,.0f} million allowed"
        + ("." if info.overviews else ", because the file has no overviews."),
        hint=f"{way}, or make overviews (gdaladdo).",
    )
