"""What the compiled loops share: positions along the rows of cells, and reading by index.

A grid's rows run through cells of `CELL` × `CELL` pixels. In a cell positions are interpolated
from its corners, except in cells for which exact ones are given. A pixel's position is computed by
the same operations in the same order whatever the grid, so it is the same to the last bit.

Loops over a cell's row have a constant number of turns and take their steps from a table: so the
compiler unrolls them and puts four pixels into one instruction (twice as fast as a plain loop).
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba.extending import intrinsic

CELL = 16
"""Pixels between nodes."""

STEPS = np.arange(CELL, dtype=np.float64)
"""Columns of a cell's row."""


def _peek(_: Any, address: Any, index: Any, like: Any) -> Any:
    """The number at an index from an address on, of the type that an array has.

    As `like.ravel()[index]` would be, without a check of the index's sign for each pixel.
    """

    def generate(context: Any, builder: Any, __: Any, arguments: Any) -> Any:
        kind = context.get_data_type(like.dtype).as_pointer()
        place = builder.gep(builder.inttoptr(arguments[0], kind), [arguments[1]])
        return context.unpack_value(builder, like.dtype, place)

    return like.dtype(address, index, like), generate


peek: Any = intrinsic(_peek)


@numba.njit(nogil=True)
def lines(nodes: Any, i: int, s: int, j: int, count: int, found: Any) -> None:
    """Positions of row s of some cells: column t of cell n lies at a + (d + q t) t.

    Bessel's interpolation to second differences, along the cells' sides and then along the row.

    Parameters
    ----------
    nodes
        (2, 3, cell rows + 1, cell cols + 1): for source x and y, the positions of the cells' corners,
        and the mean second differences of the cells' upper sides and of their left sides.
    i, j
        Row of the cells, and column of the first.
    s
        From 0 to `CELL`.
    found
        (2, 5, count + 1): written; for x and y a, d, q, and bounds of the positions in the row.
    """
    part = s / CELL
    arc = part * (1.0 - part) / 2.0
    one = np.uintp(1)
    for axis in range(2):
        a, d, q, low, high = found[axis, 0], found[axis, 1], found[axis, 2], found[axis, 3], found[axis, 4]
        above, below, bent = nodes[axis, 0, i, j:], nodes[axis, 0, i + 1, j:], nodes[axis, 2, i, j:]
        for k in range(count + 1):
            n = np.uintp(k)
            a[n] = above[n] + (below[n] - above[n]) * part - arc * bent[n]
        above, below = nodes[axis, 1, i, j:], nodes[axis, 1, i + 1, j:]
        for k in range(count):
            n = np.uintp(k)
            bend = above[n] + (below[n] - above[n]) * part
            d[n] = (a[n + one] - a[n]) / CELL - bend / (2 * CELL)
            q[n] = bend / (2 * CELL * CELL)
            last = a[n] + (d[n] + q[n] * (CELL - 1)) * (CELL - 1)
            # A parabola leaves its chord by at most a quarter of its bend; the rest is rounding.
            slack = abs(q[n]) * (CELL * CELL / 4) + 1e-6
            low[n], high[n] = min(a[n], last) - slack, max(a[n], last) + slack


@numba.njit(nogil=True)
def inside(line: Any, n: int, window: tuple[int, int, int, int], pad: float) -> bool:
    """Whether a cell's row surely lies `pad` pixels inside (left, top, right, bottom)."""
    left, top, right, bottom = window
    return bool(
        line[0, 3, n] >= left + pad
        and line[0, 4, n] < right - pad
        and line[1, 3, n] >= top + pad
        and line[1, 4, n] < bottom - pad
    )


@numba.njit(nogil=True)
def position(line: Any, exact: Any, slot: int, n: int, s: int, t: int) -> tuple[float, float]:
    """Position of pixel t in the row of cell n for which `line` was made."""
    if slot >= 0:
        return exact[0, slot, s, t], exact[1, slot, s, t]
    x = line[0, 0, n] + (line[0, 1, n] + line[0, 2, n] * t) * t
    return x, line[1, 0, n] + (line[1, 1, n] + line[1, 2, n] * t) * t
