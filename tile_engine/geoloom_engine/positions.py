"""Where a lattice's pixels lie in a source: exact positions, and the coarse lattice of them.

Exact positions come from PROJ. They are computed at nodes `CELL` pixels apart, at absolute
multiples of the lattice's pixels, and interpolated in between to second differences (Bessel's
formula); a cell in which the next differences show that this would be wrong by more than
`TOLERANCE` source pixels gets the exact position of each pixel. What is decided for a cell depends
on nothing but the cell, so a tile and a big window agree to the last bit.
"""

from __future__ import annotations

import functools
import math
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyproj

from geoloom.grid import MERCATOR_EXTENT, Lattice
from geoloom_engine.interpolation import RING, prepare
from geoloom_engine.readers.footprint import apply, invert
from geoloom_engine.readers.source import SourceInfo, Transform
from geoloom_engine.runs import CELL

TOLERANCE = 0.002
"""Greatest error of an interpolated position, in pixels of the level read.

0.05 could not be seen in a picture, but would pick another nearest pixel in one case of a hundred.
"""

_TRANSFORMERS = 64
_CYLINDRICAL = (
    "Mercator",
    "Popular Visualisation",
    "Equidistant Cylindrical",
    "Lambert Cylindrical",
    "Miller",
)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Geometry:
    """What decides where a source's pixels lie; equal for the bands and files of one scene."""

    crs: str
    transform: Transform
    width: int
    height: int

    @staticmethod
    def of(info: SourceInfo) -> Geometry:
        """A source's geometry."""
        return Geometry(info.crs, info.transform, info.width, info.height)


@dataclass(frozen=True, slots=True)
class Turn:
    """How a source's x goes round the globe.

    Parameters
    ----------
    period
        Units of x once round.
    zero
        Longitude in degrees at which x is 0.
    """

    period: float
    zero: float


@functools.lru_cache(maxsize=256)
def turn(crs: str) -> Turn | None:
    """The turn of a geographic or cylindrical CRS; None for others."""
    system = pyproj.CRS(crs)
    if system.is_geographic:
        factor = system.axis_info[0].unit_conversion_factor
        return Turn(2 * math.pi / factor, 0.0)
    operation = system.coordinate_operation
    if operation is None or not operation.method_name.startswith(_CYLINDRICAL):
        return None
    zero = next((float(p.value) for p in operation.params if p.name.startswith("Longitude of")), 0.0)
    forward = pyproj.Transformer.from_crs(system.geodetic_crs, system, always_xy=True)
    west, _ = forward.transform(zero - 80.0, 0.0)
    east, _ = forward.transform(zero + 80.0, 0.0)
    # The false easting shifts x = 0 away from the central meridian.
    period = (east - west) * 360.0 / 160.0
    return Turn(period, zero - (east + west) / 2 / period * 360.0) if math.isfinite(period) else None


_local = threading.local()


def _transformer(source: str, target: str) -> pyproj.Transformer:
    """A transformer of this thread's own."""
    known: OrderedDict[tuple[str, str], pyproj.Transformer] | None = getattr(_local, "known", None)
    if known is None:
        known = _local.known = OrderedDict()
    key = (source, target)
    found = known.get(key)
    if found is None:
        found = known[key] = pyproj.Transformer.from_crs(source, target, always_xy=True)
        if len(known) > _TRANSFORMERS:
            known.popitem(last=False)
    else:
        known.move_to_end(key)
    return found


def exact_positions(
    lattice: Lattice, geometry: Geometry, cols: Floats, rows: Floats
) -> tuple[Floats, Floats]:
    """Positions in the source, in pixels of its full resolution.

    Parameters
    ----------
    cols, rows
        Positions in the lattice, in pixels; + 0.5 is a pixel's centre. They broadcast.

    Returns
    -------
    x, y
        Pixels from the source's upper left corner; non-finite where the projection has no answer.
        Where the source's x goes round the globe it runs on with the lattice's columns.
    """
    x, y = np.broadcast_arrays(lattice.x0 + cols * lattice.dx, lattice.y0 - rows * lattice.dy)
    if lattice.crs == geometry.crs:
        sx, sy = x, y
    else:
        # In place of copies of its own; contiguous as `inplace` needs it.
        sx, sy = _transformer(lattice.crs, geometry.crs).transform(x.copy(), y.copy(), inplace=True)
    around = turn(geometry.crs)
    if around is not None:
        if lattice.unit == "metre":
            # Nothing says on which turn a point is: the one nearest to the source's middle.
            near, _ = apply(geometry.transform, np.array(geometry.width / 2), np.array(geometry.height / 2))
        else:
            degrees = x / MERCATOR_EXTENT * 180.0 if lattice.unit == "mercator" else x
            near = (degrees - around.zero) / 360.0 * around.period
        with np.errstate(invalid="ignore"):
            sx = sx + around.period * np.round((near - sx) / around.period)
    with np.errstate(invalid="ignore"):
        return apply(invert(geometry.transform), sx, sy)


def lattice_position(lattice: Lattice, geometry: Geometry, col: float, row: float) -> tuple[float, float]:
    """Where a position in the source lies in the lattice, in pixels; non-finite if nowhere."""
    x, y = apply(geometry.transform, np.array(col), np.array(row))
    if lattice.crs != geometry.crs:
        x, y = _transformer(geometry.crs, lattice.crs).transform(float(x), float(y))
    return (float(x) - lattice.x0) / lattice.dx, (lattice.y0 - float(y)) / lattice.dy


def scale_at(lattice: Lattice, geometry: Geometry, col: float, row: float) -> float:
    """Full-resolution source pixels a lattice pixel, along a side, round a position; NaN if none."""
    x, y = exact_positions(
        lattice,
        geometry,
        np.array([col - 0.5, col + 0.5, col, col]),
        np.array([row, row, row - 0.5, row + 0.5]),
    )
    area = abs((x[1] - x[0]) * (y[3] - y[2]) - (x[3] - x[2]) * (y[1] - y[0]))
    return math.sqrt(area) if math.isfinite(area) else math.nan


@dataclass(frozen=True, slots=True)
class Coarse:
    """Positions of a range of cells, in pixels of one level.

    Parameters
    ----------
    row, col
        The first cell, counted in cells.
    nodes
        (2, 3, cell rows + 1, cell cols + 1): for x and y, the position at the centre of each cell's
        first pixel, and the mean second differences of the cells' upper and left sides.
    slots
        (cell rows, cell cols): index into `exact`, −1 to interpolate, −2 if no pixel of the cell
        can lie in the source.
    exact
        (2, n, CELL, CELL).
    """

    row: int
    col: int
    nodes: Floats
    slots: npt.NDArray[np.int32]
    exact: Floats

    @property
    def nbytes(self) -> int:
        """Memory the arrays take."""
        return self.nodes.nbytes + self.slots.nbytes + self.exact.nbytes

    def shifted(self, shift: float) -> Coarse:
        """The same cells with x moved by `shift` pixels."""
        if shift == 0.0:
            return self
        move = np.array([[shift, 0.0, 0.0], [0.0, 0.0, 0.0]])
        return Coarse(
            self.row,
            self.col,
            self.nodes + move[:, :, np.newaxis, np.newaxis],
            self.slots,
            self.exact + move[:, 0, np.newaxis, np.newaxis, np.newaxis],
        )


def coarse(
    lattice: Lattice,
    geometry: Geometry,
    size: tuple[int, int],
    cells: tuple[int, int, int, int],
    period: float | None,
) -> Coarse:
    """Positions for some cells.

    Parameters
    ----------
    size
        (width, height) of the level that will be read.
    cells
        (first row, first column, rows, columns), counted in cells.
    period
        Pixels of the level once round the globe, if its x goes round.
    """
    row, col, rows, cols = cells
    all_rows = CELL * np.arange(row - RING, row + rows + RING + 1, dtype=np.float64)[:, np.newaxis] + 0.5
    all_cols = CELL * np.arange(col - RING, col + cols + RING + 1, dtype=np.float64)[np.newaxis] + 0.5
    x, y = exact_positions(lattice, geometry, all_cols, all_rows)
    factor_x, factor_y = size[0] / geometry.width, size[1] / geometry.height
    around = np.empty((2, all_rows.size, all_cols.size))
    np.multiply(x, factor_x, out=around[0])
    np.multiply(y, factor_y, out=around[1])
    nodes, slots = np.empty((2, 3, rows + 1, cols + 1)), np.empty((rows, cols), np.int32)
    exact = np.empty((2, prepare(around, size, period, TOLERANCE, nodes, slots), CELL, CELL))
    if exact.size:
        first = (np.argwhere(slots >= 0) + np.array([row, col])) * CELL
        inner = np.arange(CELL, dtype=np.float64) + 0.5
        all_rows = (first[:, 0, None] + inner)[:, :, None]
        all_cols = (first[:, 1, None] + inner)[:, None, :]
        x, y = exact_positions(lattice, geometry, all_cols, all_rows)
        exact[0], exact[1] = x * factor_x, y * factor_y
    for array in (nodes, slots, exact):
        array.setflags(write=False)
    return Coarse(row, col, nodes, slots, exact)
