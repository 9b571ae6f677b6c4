"""Which items a reduction needs on a grid, in which order, and whether that is too much for one tile."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import shapely

from geoloom.errors import DemandError
from geoloom.grid import MAX_ZOOM, MERCATOR_EXTENT, TILE_SIZE, Grid, Lattice
from geoloom.ops.composite import Composite
from geoloom.selection import Selection
from geoloom_engine.outline import outline
from geoloom_engine.steps import ItemRead, Reduce

if TYPE_CHECKING:
    from geoloom_engine.plan import Plan

NEIGHBOURS = 2
"""Pixels round a grid whose items can still be seen in it: what resampling reaches for."""

STACK_BYTES = 96 << 20
"""Values of all items that a median holds at one time; larger grids are computed in strips."""

SAMPLES = 16
"""Places along each side of a grid where it is counted how many items it takes to fill it."""

MOST_ZOOMS = 12
"""Zooms that are looked at to find the one that works."""

DENSEST = 16
"""Tiles of a zoom, those with most items, whose quarters are looked at for that."""

MOST_LOOKED_AT = 200_000
"""Items of all those tiles: there may be a hundred thousand at one place, of which no zoom shows fewer."""

Counts = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Gathering:
    """The items that a Reduce step needs on a grid.

    Parameters
    ----------
    selection
        Their table.
    rows
        Their places in it, in the order in which they are read.
    each
        How many files each of them is read from.
    inner
        What is computed of each of them.
    least
        Files that will be read if footprints keep what they promise.
    strips
        In how many parts the grid is computed.
    cost, memory
        As `Plan.cost` and `Plan.memory` count.
    limit
        Files that may be read.
    on
        The same on another grid.
    """

    selection: Selection
    rows: tuple[int, ...]
    each: Counts
    inner: Plan
    least: int
    strips: int
    cost: int
    memory: int
    limit: int
    on: Callable[[Grid], Gathering]

    @property
    def files(self) -> int:
        """Files that will be read at most."""
        return min(int(self.each.sum()), self.limit)


def gathered(
    step: Reduce,
    selection: Selection,
    inner: Plan,
    tile: Grid,
    memory: int,
    max_reads: int,
    on: Callable[[Grid], Gathering],
) -> Gathering:
    """What a Reduce step gathers where the plan of one item's computation is `inner`.

    Parameters
    ----------
    tile
        What is asked for, without what later steps need around it.
    memory
        Bytes that an evaluation may hold.
    max_reads
        Files of items that it may read.
    on
        Gathers for the same step on another grid.

    Raises
    ------
    DemandError
        If it takes more files than that to answer: from which zoom on it would work.
    """
    reach = _reach(inner)
    rows = _rows(step, selection, reach)
    each = _files(step, selection, rows)
    early = isinstance(step.op, Composite) and step.op.how in ("first", "last")
    needed = len(rows)
    if early and each.sum() > max_reads:
        needed = _to_fill(selection, rows, inner.grid)
    least = int(each[:needed].sum())
    if least > max_reads:
        around = (reach.cols - tile.cols) // 2
        raise _too_many(step, selection, tile, around, needed, least, max_reads)
    held = inner.memory
    strips = 1
    if isinstance(step.op, Composite) and step.op.how == "median":
        stack = len(rows) * step.count * inner.grid.pixels * (np.dtype(inner.steps[-1].dtype).itemsize + 1)
        if step.exact and stack > memory:
            raise DemandError(
                f"The median of {len(rows)} items would take {stack >> 20} MB here, more than the "
                f"{memory >> 20} MB that are allowed, and what functions compute is not taken in parts.",
                hint="Zoom in, use fewer items (limit), or another statistic.",
            )
        if not step.exact:
            strips = min(max(1, math.ceil(stack / STACK_BYTES)), inner.grid.rows)
        held += stack // strips
    else:
        held += 24 * step.count * inner.grid.pixels
    cost = needed * inner.cost
    return Gathering(selection, rows, each, inner, least, strips, cost, held, max_reads, on)


def _files(step: Reduce, selection: Selection, rows: tuple[int, ...]) -> Counts:
    """Files that are read of each of some items; one at least, since it takes a look to know of none."""
    wanted = {band for one in step.steps if isinstance(one, ItemRead) for band in one.bands}
    return np.maximum(selection.files(rows, wanted), 1)


def _reach(inner: Plan) -> Grid:
    """The largest grid on which pixels of items are read, and what resampling reaches for."""
    read = [grid for _, step, grid in inner.live() if isinstance(step, ItemRead)]
    return max([inner.grid, *read], key=lambda grid: grid.pixels).expand(NEIGHBOURS)


def _rows(step: Reduce, selection: Selection, reach: Grid) -> tuple[int, ...]:
    rows = selection.meeting(outline(reach))
    if step.op.start is not None or step.op.end is not None:
        rows = np.intersect1d(rows, selection.between(step.op.start, step.op.end))
    order = tuple(int(row) for row in rows)
    backwards = isinstance(step.op, Composite) and step.op.how == "last"
    return order[::-1] if backwards else order


def _to_fill(selection: Selection, rows: tuple[int, ...], grid: Grid) -> int:
    """How many of the items, in their order, it takes until their footprints cover what all of them cover."""
    points = _sample(grid)
    open_ = np.ones(points.size, np.bool_)
    last = 0
    for count, row in enumerate(rows, 1):
        footprint = selection.footprints[row]
        shapely.prepare(footprint)
        new = open_ & shapely.intersects(footprint, points)
        if new.any():
            open_ &= ~new
            last = count
        if not open_.any():
            break
    return last


def _sample(grid: Grid) -> npt.NDArray[Any]:
    box = outline(grid)
    west, south, east, north = box.bounds
    t = (np.arange(SAMPLES) + 0.5) / SAMPLES
    lon, lat = np.meshgrid(west + t * (east - west), south + t * (north - south))
    points = shapely.points(lon.ravel(), lat.ravel())
    return np.asarray(points[shapely.intersects(box, points)])


def _too_many(
    step: Reduce, selection: Selection, tile: Grid, around: int, needed: int, files: int, limit: int
) -> DemandError:
    """The refusal, with the zoom from which on it would work."""
    zoom = _zoom_that_works(step, selection, tile, around, limit)
    fewer = "choose fewer items (limit, a shorter time), or look at where they lie: collection.coverage()"
    scenes = f"{needed:,} scenes"
    if files > needed:
        scenes += f" with {files:,} files"
    return DemandError(
        f"This view needs {scenes}, more than the {limit:,} files that one tile may read.",
        hint=f"Zoom in to level {zoom}, or {fewer}."
        if zoom is not None
        else f"{fewer[0].upper()}{fewer[1:]}.",
        op=step.op.name,
    )


def _zoom_that_works(step: Reduce, selection: Selection, tile: Grid, around: int, limit: int) -> int | None:
    """The next map zoom at which no tile below this one reads too many files; None if that is not found.

    Parameters
    ----------
    around
        Pixels around a tile that are read too.
    """
    lattice = tile.lattice
    if lattice.unit != "mercator":
        return None
    own = round(math.log2(2 * MERCATOR_EXTENT / (TILE_SIZE * lattice.dx)))
    # What the person looks at: a tile of 512 pixels is one of this zoom, at twice the resolution.
    shown = own - round(math.log2(max(1, tile.cols / TILE_SIZE)))
    full, looked = [tile], 0
    for zoom in range(shown + 1, min(shown + MOST_ZOOMS, MAX_ZOOM) + 1):
        counted: list[tuple[int, Grid]] = []
        for part in (part for grid in full for part in _quarters(grid)):
            rows = _rows(step, selection, part.expand(around))
            counted.append((int(_files(step, selection, rows).sum()), part))
            looked += len(rows)
        counted = sorted((one for one in counted if one[0] > limit), key=lambda one: -one[0])
        if not counted:
            return zoom
        if looked > MOST_LOOKED_AT:
            return None
        full = [part for _, part in counted[:DENSEST]]
    return None


def _quarters(grid: Grid) -> Iterator[Grid]:
    """The four tiles of the next zoom that a tile is made of."""
    lattice = grid.lattice
    finer = Lattice(
        lattice.crs, lattice.dx / 2, lattice.dy / 2, lattice.x0, lattice.y0, lattice.unit, lattice.scale
    )
    for down in (0, 1):
        for right in (0, 1):
            yield Grid(
                finer, 2 * grid.col + right * grid.cols, 2 * grid.row + down * grid.rows, grid.cols, grid.rows
            )
