"""What interpolating positions between nodes needs, and how wrong it may be; compiled.

Bessel's formula to second differences. The next differences bound what it leaves out.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba import types

from geoloom.loops import array, compiled
from geoloom_engine.runs import CELL
from geoloom_engine.signatures import cell_types

RING = 2
"""Nodes needed beyond the cells, on each side."""

INTERPOLATED, MISSING = -1, -2
"""Slots of cells without exact positions: interpolated, or outside the source."""

_types: Any = types
_PAIR = _types.UniTuple(types.int64, 2)


@numba.njit(nogil=True)
def _worse(a: float, b: float) -> float:
    """The greater one; NaN if one is."""
    return a if a >= b or a != a else b


@numba.njit(nogil=True)
def _corners(values: Any, i: int, j: int) -> float:
    """The greatest of the values at a cell's corners."""
    upper = _worse(values[i, j], values[i, j + 1])
    return _worse(upper, _worse(values[i + 1, j], values[i + 1, j + 1]))


@numba.njit(nogil=True)
def _bend(a: float, b: float, c: float) -> float:
    return (c - b) - (b - a)


def _prepare(around: Any, size: Any, period: float, tolerance: float, nodes: Any, slots: Any) -> int:
    """Fill in the nodes and slots of some cells; how many cells need exact positions.

    Parameters
    ----------
    around
        (2, cell rows + 5, cell cols + 5): positions of the cells' corners and of two rings of nodes.
    size
        Width and height of the level.
    period
        Pixels once round the globe, 0 if there is no way round.
    tolerance
        Greatest error of an interpolated position, in pixels.
    nodes, slots
        Written; see `positions.Coarse`.
    """
    rows, cols = slots.shape
    error, bent = np.zeros((2, rows, cols)), np.zeros((2, rows, cols))
    along, across = np.empty((rows + 5, cols + 3)), np.empty((rows + 3, cols + 5))
    terms = np.empty((5, rows + 1, cols + 1))
    for axis in range(2):
        at = around[axis]
        # Second differences at the nodes, those of the rings included.
        for i in range(rows + 5):
            for j in range(cols + 3):
                along[i, j] = _bend(at[i, j], at[i, j + 1], at[i, j + 2])
        for i in range(rows + 3):
            for j in range(cols + 5):
                across[i, j] = _bend(at[i, j], at[i + 1, j], at[i + 2, j])
        for i in range(rows + 1):
            for j in range(cols + 1):
                y, x = i + RING, j + RING
                nodes[axis, 0, i, j] = at[y, x]
                nodes[axis, 1, i, j] = (along[y, j + 1] + along[y, j + 2]) / 2 if j < cols else 0.0
                nodes[axis, 2, i, j] = (across[i + 1, x] + across[i + 2, x]) / 2 if i < rows else 0.0
                terms[0, i, j], terms[1, i, j] = abs(along[y, j + 1]), abs(across[i + 1, x])
                terms[2, i, j] = abs(_bend(along[y, j], along[y, j + 1], along[y, j + 2]))
                terms[3, i, j] = abs(_bend(across[i, x], across[i + 1, x], across[i + 2, x]))
                terms[4, i, j] = abs(_bend(along[y - 1, j + 1], along[y, j + 1], along[y + 1, j + 1]))
        for i in range(rows):
            for j in range(cols):
                y, x = i + RING, j + RING
                bent[axis, i, j] = _corners(terms[0], i, j) + _corners(terms[1], i, j)
                upper, lower = along[y, j + 2] - along[y, j + 1], along[y + 1, j + 2] - along[y + 1, j + 1]
                left, right = across[i + 2, x] - across[i + 1, x], across[i + 2, x + 1] - across[i + 1, x + 1]
                # The greatest values of the formula's next terms between two nodes, and of what is lost
                # by taking the second differences of a row linearly from those of the sides above and below.
                wrong = 0.00802 * _worse(abs(upper), abs(lower))
                wrong += 0.00802 * _worse(abs(left), abs(right))
                fourth = _corners(terms[2], i, j) + _corners(terms[3], i, j)
                error[axis, i, j] = wrong + (0.02344 * fourth + _corners(terms[4], i, j) / 64)
    count = 0
    for i in range(rows):
        for j in range(cols):
            slots[i, j] = INTERPOLATED
            if _apart(nodes, bent, i, j, size, period):
                slots[i, j] = MISSING
            elif not math.hypot(error[0, i, j], error[1, i, j]) <= tolerance:
                slots[i, j] = count
                count += 1
    return count


@numba.njit(nogil=True)
def _apart(nodes: Any, bent: Any, i: int, j: int, size: Any, period: float) -> bool:
    """Whether a cell surely misses the source: its corners do, by more than the projection bends there."""
    if not (math.isfinite(bent[0, i, j]) and math.isfinite(bent[1, i, j])):
        return False
    x, y = nodes[0, 0, i : i + 2, j : j + 2], nodes[1, 0, i : i + 2, j : j + 2]
    low_x, high_x = x.min() - bent[0, i, j] - 2.0, x.max() + bent[0, i, j] + 2.0
    low_y, high_y = y.min() - bent[1, i, j] - 2.0, y.max() + bent[1, i, j] + 2.0
    if high_y < 0 or low_y > size[1]:
        return True
    if period == 0.0:
        return bool(high_x < 0 or low_x > size[0])
    # Some whole number of turns brings the cell into the source if one lies in this range.
    return bool(math.ceil(-high_x / period) > math.floor((size[0] - low_x) / period))


@numba.njit(nogil=True)
def _line(nodes: Any, axis: int, i: int, j: int, r: int) -> tuple[float, float, float]:
    """As `runs.lines`, of one cell and axis: (a, d, q)."""
    s = r / CELL
    arc = s * (1.0 - s) / 2.0
    left = nodes[axis, 0, i, j] + (nodes[axis, 0, i + 1, j] - nodes[axis, 0, i, j]) * s
    left -= arc * nodes[axis, 2, i, j]
    right = nodes[axis, 0, i, j + 1] + (nodes[axis, 0, i + 1, j + 1] - nodes[axis, 0, i, j + 1]) * s
    right -= arc * nodes[axis, 2, i, j + 1]
    bend = nodes[axis, 1, i, j] + (nodes[axis, 1, i + 1, j] - nodes[axis, 1, i, j]) * s
    return left, (right - left) / CELL - bend / (2 * CELL), bend / (2 * CELL * CELL)


def _extent(
    nodes: Any, exact: Any, slots: Any, row: int, col: int, rows: int, cols: int, size: Any
) -> tuple[float, float, float, float]:
    """Least and greatest position of a rectangle's pixels that lie in the source.

    Parameters
    ----------
    nodes, exact, slots
        See `positions.Coarse`.
    row, col
        The rectangle's first pixel, counted from the first cell.
    size
        (2,): width and height of the source.

    Returns
    -------
    (low x, high x, low y, high y), perhaps a little wider; low > high if no pixel lies in the source.
    """
    low_x, low_y = np.inf, np.inf
    high_x, high_y = -np.inf, -np.inf
    width, height = size
    for i in range(row // CELL, (row + rows - 1) // CELL + 1):
        top, bottom = max(row - i * CELL, 0), min(row + rows - i * CELL, CELL) - 1
        for j in range(col // CELL, (col + cols - 1) // CELL + 1):
            slot = slots[i, j]
            if slot == MISSING:
                continue
            left, right = max(col - j * CELL, 0), min(col + cols - j * CELL, CELL) - 1
            x0, x1, y0, y1 = np.inf, -np.inf, np.inf, -np.inf
            if slot >= 0:
                for r in range(top, bottom + 1):
                    for c in range(left, right + 1):
                        x, y = exact[0, slot, r, c], exact[1, slot, r, c]
                        if 0 <= x < width and 0 <= y < height:
                            x0, x1, y0, y1 = min(x0, x), max(x1, x), min(y0, y), max(y1, y)
            else:
                # Positions are extreme at a corner, or further out by an eighth of the bend.
                for r in (top, bottom):
                    ax, dx, qx = _line(nodes, 0, i, j, r)
                    ay, dy, qy = _line(nodes, 1, i, j, r)
                    for c in (left, right):
                        x, y = ax + (dx + qx * c) * c, ay + (dy + qy * c) * c
                        x0, x1, y0, y1 = min(x0, x), max(x1, x), min(y0, y), max(y1, y)
                out_x, out_y = 1e-6, 1e-6
                for axis in range(2):
                    along = max(abs(nodes[axis, 1, i, j]), abs(nodes[axis, 1, i + 1, j]))
                    across = max(abs(nodes[axis, 2, i, j]), abs(nodes[axis, 2, i, j + 1]))
                    if axis == 0:
                        out_x += (along + across) / 8.0
                    else:
                        out_y += (along + across) / 8.0
                x0, x1, y0, y1 = x0 - out_x, x1 + out_x, y0 - out_y, y1 + out_y
            if x1 >= 0 and x0 < width and y1 >= 0 and y0 < height:
                low_x, high_x = min(low_x, x0), max(high_x, x1)
                low_y, high_y = min(low_y, y0), max(high_y, y1)
    return low_x, high_x, low_y, high_y


def prepare(
    around: npt.NDArray[np.float64],
    size: tuple[int, int],
    period: float | None,
    tolerance: float,
    nodes: npt.NDArray[np.float64],
    slots: npt.NDArray[np.int32],
) -> int:
    """See `_prepare`."""

    def arguments() -> tuple[Any, ...]:
        positions = array("float64", 3, written=True)
        cells, flags = array("float64", 4, written=True), array("int32", 2, written=True)
        return positions, _PAIR, types.float64, types.float64, cells, flags

    return int(compiled(_prepare, "", arguments)(around, size, period or 0.0, tolerance, nodes, slots))


def extent(
    nodes: npt.NDArray[np.float64],
    exact: npt.NDArray[np.float64],
    slots: npt.NDArray[np.int32],
    place: tuple[int, int, int, int],
    size: tuple[int, int],
) -> tuple[float, float, float, float]:
    """See `_extent`; `place` is (row, col, rows, cols)."""
    kernel = compiled(_extent, "", lambda: (*cell_types(), types.int64, types.int64, _PAIR))
    low_x, high_x, low_y, high_y = kernel(nodes, exact, slots, *place, size)
    return low_x, high_x, low_y, high_y
