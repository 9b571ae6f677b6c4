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
        return context.unpack_value(builder, like.dtype, place, align=1)

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
        (2, 3, count + 1): written; for x and y a, d and q.
    """
    part = s / CELL
    arc = part * (1.0 - part) / 2.0
    one = np.uintp(1)
    for axis in range(2):
        a, d, q = found[axis, 0], found[axis, 1], found[axis, 2]
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


@numba.njit(nogil=True)
def surely_inside(
    nodes: Any,
    slots: Any,
    i: int,
    j: int,
    count: int,
    window: tuple[int, int, int, int],
    pad: float,
    found: Any,
) -> None:
    """Which cells of a row are interpolated and surely lie `pad` pixels inside (left, top, right, bottom).

    `found` is (count,) and written; for others see `lines` and `positions.Coarse`.
    """
    left, top, right, bottom = window
    most = (CELL - 1) / CELL
    for n in range(count):
        found[n] = slots[i, j + n] == -1
        for axis in range(2):
            at, along, across = nodes[axis, 0], nodes[axis, 1], nodes[axis, 2]
            # The centres of the cell's corner pixels, but for what the projection bends.
            a, c = at[i, j + n], at[i + 1, j + n]
            b, d = a + (at[i, j + n + 1] - a) * most, c + (at[i + 1, j + n + 1] - c) * most
            c, d = a + (c - a) * most, b + (d - b) * most
            # Positions are extreme at a corner, or further out by an eighth of the bend.
            out = max(abs(along[i, j + n]), abs(along[i + 1, j + n]))
            out = (out + max(abs(across[i, j + n]), abs(across[i, j + n + 1]))) / 8.0 + pad + 1e-6
            low, high = (left, right) if axis == 0 else (top, bottom)
            found[n] &= min(a, b, c, d) - out >= low and max(a, b, c, d) + out < high


@numba.njit(nogil=True)
def position(line: Any, exact: Any, slot: int, n: int, s: int, t: int) -> tuple[float, float]:
    """Position of pixel t in the row of cell n for which `line` was made."""
    if slot >= 0:
        return exact[0, slot, s, t], exact[1, slot, s, t]
    x = line[0, 0, n] + (line[0, 1, n] + line[0, 2, n] * t) * t
    return x, line[1, 0, n] + (line[1, 1, n] + line[1, 2, n] * t) * t


@numba.njit(nogil=True)
def begin_row(
    nodes: Any,
    slots: Any,
    row: int,
    first: bool,
    j: int,
    count: int,
    window: tuple[int, int, int, int],
    pad: float,
    line: Any,
    sure: Any,
) -> tuple[int, int]:
    """Prepare a row of the grid: its row of cells and its row in them.

    Makes `line`, and where a row of cells begins, or the `first` row is, also `sure`; see `lines` and
    `surely_inside`.
    """
    i, s = row // CELL, row % CELL
    if first or s == 0:
        surely_inside(nodes, slots, i, j, count, window, pad, sure)
    lines(nodes, i, s, j, count, line)
    return i, s


@numba.njit(nogil=True)
def shown(begin: int, end: int, col: int, cols: int) -> tuple[int, int, int]:
    """What the grid shows of a stretch of cells: of the first and the last one it may be a part only.

    `begin` and `end` are counted in cells, `col` and `cols` say what the grid shows, in pixels.

    Returns
    -------
    The first pixel shown, counted in the stretch; how many are; and the first one counted in the grid.
    """
    first, last = max(begin * CELL, col), min(end * CELL, col + cols)
    return first - begin * CELL, last - first, first - col
