"""Compiled loops that pick source pixels for a grid.

The loops see one rectangle of a grid whose pixel positions come from a coarse lattice of nodes,
`CELL` pixels apart at absolute multiples: inside a cell positions are interpolated, except in the
cells for which exact positions are given. A pixel's position is computed by the same operations
in the same order whatever the rectangle, so it is the same to the last bit.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any, Literal

import numba
import numpy as np
import numpy.typing as npt
from numba import types

CELL = 16
"""Pixels between nodes."""


@numba.njit(inline="always")
def line(nodes: Any, axis: int, i: int, j: int, r: int) -> tuple[float, float, float]:
    """Positions of row r of a cell along one source axis: (a, d, q), column t lies at a + (d + q t) t.

    Bessel's interpolation to second differences, along the cell's sides and then along the row.
    """
    s = r / CELL
    arc = s * (1.0 - s) / 2.0
    left = nodes[axis, 0, i, j] + (nodes[axis, 0, i + 1, j] - nodes[axis, 0, i, j]) * s
    left -= arc * nodes[axis, 2, i, j]
    right = nodes[axis, 0, i, j + 1] + (nodes[axis, 0, i + 1, j + 1] - nodes[axis, 0, i, j + 1]) * s
    right -= arc * nodes[axis, 2, i, j + 1]
    bend = nodes[axis, 1, i, j] + (nodes[axis, 1, i + 1, j] - nodes[axis, 1, i, j]) * s
    return left, (right - left) / CELL - bend / (2 * CELL), bend / (2 * CELL * CELL)


@numba.njit(inline="always")
def _within(a: float, d: float, q: float, first: int, end: int, low: float, high: float) -> bool:
    """Whether the positions of columns first … end − 1 surely lie in low ≤ position < high."""
    start, last = a + (d + q * first) * first, a + (d + q * (end - 1)) * (end - 1)
    # A parabola leaves its chord by at most a quarter of its bend; the rest is rounding.
    slack = abs(q) * (CELL * CELL / 4) + 1e-6
    return low <= min(start, last) - slack and max(start, last) + slack < high


def _extent(
    nodes: Any, exact: Any, slots: Any, row: int, col: int, rows: int, cols: int, size: Any
) -> tuple[float, float, float, float]:
    """Least and greatest position of a rectangle's pixels that lie in the source.

    Parameters
    ----------
    nodes
        (2, 3, cell rows + 1, cell cols + 1): for source x and y, the positions of the cells' corners,
        and the mean second differences of the cells' upper sides and of their left sides.
    exact
        (2, n, CELL, CELL): positions of the cells that are not interpolated.
    slots
        (cell rows, cell cols): index into `exact`, −1 to interpolate, −2 if the cell misses the source.
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
            if slot == -2:
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
                    ax, dx, qx = line(nodes, 0, i, j, r)
                    ay, dy, qy = line(nodes, 1, i, j, r)
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


def _nearest(
    data: Any,
    valid: Any,
    nodes: Any,
    exact: Any,
    slots: Any,
    row: int,
    col: int,
    corner: Any,
    size: Any,
    masked: bool,
    out: Any,
    out_valid: Any,
) -> None:
    """The source pixel that holds each pixel's centre.

    Parameters
    ----------
    data
        (bands, h, w): a window of the source that holds all pixels needed.
    valid
        (1|bands, h, w); anything if not `masked`.
    nodes, exact, slots, row, col
        See `_extent`.
    corner
        (2,): x and y of the window's first pixel in the source.
    size
        (2,): width and height of the source.
    masked
        Whether some pixel of the window is invalid.
    out, out_valid
        (bands, rows, cols) and (1|bands, rows, cols): written where a source pixel is found.
    """
    bands, rows, cols = out.shape
    layers = out_valid.shape[0]
    left, top = corner
    right, bottom = min(left + data.shape[2], size[0]), min(top + data.shape[1], size[1])
    for r in range(rows):
        i, s = (row + r) // CELL, (row + r) % CELL
        for j in range(col // CELL, (col + cols - 1) // CELL + 1):
            slot = slots[i, j]
            if slot == -2:
                continue
            first, end = max(col - j * CELL, 0), min(col + cols - j * CELL, CELL)
            skip = j * CELL - col
            ax, dx, qx, ay, dy, qy = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            if slot < 0:
                ax, dx, qx = line(nodes, 0, i, j, s)
                ay, dy, qy = line(nodes, 1, i, j, s)
                if _within(ax, dx, qx, first, end, left, right) and _within(
                    ay, dy, qy, first, end, top, bottom
                ):
                    # All of the run lies inside: no pixel needs to be asked.
                    for k in range(layers):
                        b = np.uintp(k)
                        if masked:
                            for t in range(first, end):
                                y, x = (
                                    np.uintp(int(ay + (dy + qy * t) * t) - top),
                                    np.uintp(int(ax + (dx + qx * t) * t) - left),
                                )
                                out_valid[b, np.uintp(r), np.uintp(skip + t)] = valid[b, y, x]
                        else:
                            for t in range(first, end):
                                out_valid[b, np.uintp(r), np.uintp(skip + t)] = True
                    for k in range(bands):
                        b = np.uintp(k)
                        for t in range(first, end):
                            y, x = (
                                np.uintp(int(ay + (dy + qy * t) * t) - top),
                                np.uintp(int(ax + (dx + qx * t) * t) - left),
                            )
                            out[b, np.uintp(r), np.uintp(skip + t)] = data[b, y, x]
                    continue
            for t in range(first, end):
                if slot < 0:
                    px, py = ax + (dx + qx * t) * t, ay + (dy + qy * t) * t
                else:
                    px, py = exact[0, slot, s, t], exact[1, slot, s, t]
                if not (left <= px < right and top <= py < bottom):
                    continue
                x, y = np.uintp(int(px) - left), np.uintp(int(py) - top)
                c = np.uintp(skip + t)
                for k in range(layers):
                    b = np.uintp(k)
                    out_valid[b, np.uintp(r), c] = (not masked) or valid[b, y, x]
                for k in range(bands):
                    b = np.uintp(k)
                    out[b, np.uintp(r), c] = data[b, y, x]


@numba.njit(inline="always")
def _blend(a00: Any, a01: Any, a10: Any, a11: Any, wx: float, wy: float) -> float:
    """Four neighbours weighted by the distance (0..1) from the left and upper ones."""
    upper = float(a00) + (float(a01) - float(a00)) * wx
    lower = float(a10) + (float(a11) - float(a10)) * wx
    return upper + (lower - upper) * wy


def _bilinear(
    data: Any,
    valid: Any,
    nodes: Any,
    exact: Any,
    slots: Any,
    row: int,
    col: int,
    corner: Any,
    size: Any,
    masked: bool,
    half: float | None,
    high: float | None,
    out: Any,
    out_valid: Any,
) -> None:
    """Weighted mean of the valid ones of the four source pixels round each pixel's centre.

    A pixel is valid if the source pixel that holds its centre is. `half` is 0.5 for integers, which
    are rounded half away from zero, else None; `high` is the greatest float64 that a 64-bit type
    holds, else None: what is None is left out when the loop is compiled. Others: see `_nearest`.
    """
    bands, rows, cols = out.shape
    layers = out_valid.shape[0]
    left, top = corner
    right, bottom = min(left + data.shape[2], size[0]), min(top + data.shape[1], size[1])
    for r in range(rows):
        i, s = (row + r) // CELL, (row + r) % CELL
        for j in range(col // CELL, (col + cols - 1) // CELL + 1):
            slot = slots[i, j]
            if slot == -2:
                continue
            first, end = max(col - j * CELL, 0), min(col + cols - j * CELL, CELL)
            skip = j * CELL - col
            ax, dx, qx, ay, dy, qy = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            if slot < 0:
                ax, dx, qx = line(nodes, 0, i, j, s)
                ay, dy, qy = line(nodes, 1, i, j, s)
                inside = _within(ax, dx, qx, first, end, left + 0.5, right - 0.5)
                if not masked and inside and _within(ay, dy, qy, first, end, top + 0.5, bottom - 0.5):
                    # All four neighbours of all pixels of the run are there and valid.
                    for k in range(layers):
                        for t in range(first, end):
                            out_valid[np.uintp(k), np.uintp(r), np.uintp(skip + t)] = True
                    for k in range(bands):
                        b = np.uintp(k)
                        for t in range(first, end):
                            px, py = ax + (dx + qx * t) * t + 0.5, ay + (dy + qy * t) * t + 0.5
                            bx, by = int(px), int(py)
                            wx, wy = px - bx, py - by
                            x1, y1 = np.uintp(bx - left), np.uintp(by - top)
                            x0, y0 = x1 - np.uintp(1), y1 - np.uintp(1)
                            value = _blend(
                                data[b, y0, x0], data[b, y0, x1], data[b, y1, x0], data[b, y1, x1], wx, wy
                            )
                            if half is not None:
                                value += math.copysign(half, value)
                            if high is not None:
                                value = min(value, high)
                            out[b, np.uintp(r), np.uintp(skip + t)] = value
                    continue
            for t in range(first, end):
                if slot < 0:
                    px, py = ax + (dx + qx * t) * t, ay + (dy + qy * t) * t
                else:
                    px, py = exact[0, slot, s, t], exact[1, slot, s, t]
                if not (left <= px < right and top <= py < bottom):
                    continue
                # Positions are not negative, so that adding 0.5 and cutting rounds down.
                bx, by = int(px + 0.5), int(py + 0.5)
                wx, wy = (px + 0.5) - bx, (py + 0.5) - by
                x0, x1 = np.uintp(max(bx - 1, left) - left), np.uintp(min(bx, right - 1) - left)
                y0, y1 = np.uintp(max(by - 1, top) - top), np.uintp(min(by, bottom - 1) - top)
                c = np.uintp(skip + t)
                for k in range(bands):
                    b, v = np.uintp(k), np.uintp(min(k, layers - 1))
                    if masked and not valid[v, np.uintp(int(py) - top), np.uintp(int(px) - left)]:
                        continue
                    a00, a01, a10, a11 = data[b, y0, x0], data[b, y0, x1], data[b, y1, x0], data[b, y1, x1]
                    if masked and not (
                        valid[v, y0, x0] and valid[v, y0, x1] and valid[v, y1, x0] and valid[v, y1, x1]
                    ):
                        w00 = (1.0 - wx) * (1.0 - wy) if valid[v, y0, x0] else 0.0
                        w01 = wx * (1.0 - wy) if valid[v, y0, x1] else 0.0
                        w10 = (1.0 - wx) * wy if valid[v, y1, x0] else 0.0
                        w11 = wx * wy if valid[v, y1, x1] else 0.0
                        value = (a00 * w00 + a01 * w01 + a10 * w10 + a11 * w11) / (w00 + w01 + w10 + w11)
                    else:
                        value = _blend(a00, a01, a10, a11, wx, wy)
                    if half is not None:
                        value += math.copysign(half, value)
                    if high is not None:
                        value = min(value, high)
                    # Storing a float as an integer cuts its fraction off.
                    out[b, np.uintp(r), c] = value
                    if k < layers:
                        out_valid[b, np.uintp(r), c] = True


_types: Any = types
_PAIR = _types.UniTuple(types.int64, 2)
_compiled: dict[tuple[str, str], Any] = {}
_lock = threading.Lock()


def _array(dtype: str, ndim: int, layout: Literal["A", "C"] = "A", *, readonly: bool = True) -> Any:
    kind: types.Type = numba.from_dtype(np.dtype(dtype))
    return types.Array(kind, ndim, layout, readonly=readonly)


def pixels(dtype: str, *, readonly: bool = True) -> tuple[Any, Any]:
    """Types of the parameters (data, valid) or, if not `readonly`, (out, out_valid)."""
    return _array(dtype, 3, readonly=readonly), _array("bool", 3, readonly=readonly)


def cells() -> tuple[Any, ...]:
    """Types of the parameters (nodes, exact, slots, row, col)."""
    coarse = (_array("float64", 4, "C"), _array("float64", 4, "C"), _array("int32", 2, "C"))
    return (*coarse, types.int64, types.int64)


def place() -> tuple[Any, ...]:
    """Types of the parameters (nodes, exact, slots, row, col, corner, size, masked)."""
    return (*cells(), _PAIR, _PAIR, types.boolean)


def compiled(function: Callable[..., Any], dtype: str, arguments: Callable[[], tuple[Any, ...]]) -> Any:
    """Machine code for one type of pixel, from the cache folder if there is one that can be written.

    One signature a function and type: whatever an array's layout, no second one is compiled.
    `arguments` makes the types of the parameters.
    """
    key = (function.__name__, dtype)
    kernel = _compiled.get(key)
    if kernel is None:
        with _lock:
            kernel = _compiled.get(key)
            if kernel is None:
                signature = arguments()
                try:
                    kernel = numba.njit([signature], nogil=True, cache=True)(function)
                except (RuntimeError, OSError):
                    kernel = numba.njit([signature], nogil=True)(function)
                _compiled[key] = kernel
    return kernel


def extent(
    nodes: npt.NDArray[np.float64],
    exact: npt.NDArray[np.float64],
    slots: npt.NDArray[np.int32],
    place: tuple[int, int, int, int],
    size: tuple[int, int],
) -> tuple[float, float, float, float]:
    """See `_extent`; `place` is (row, col, rows, cols)."""
    kernel = compiled(_extent, "", lambda: (*cells(), types.int64, types.int64, _PAIR))
    low_x, high_x, low_y, high_y = kernel(nodes, exact, slots, *place, size)
    return low_x, high_x, low_y, high_y


def nearest(data: Any, valid: Any, *where: Any, out: Any, out_valid: Any) -> None:
    """See `_nearest`; `where` is (nodes, exact, slots, row, col, corner, size, masked)."""
    bits = f"uint{8 * data.dtype.itemsize}"
    kernel = compiled(_nearest, bits, lambda: (*pixels(bits), *place(), *pixels(bits, readonly=False)))
    kernel(data.view(bits), valid, *where, out.view(bits), out_valid)


def bilinear(data: Any, valid: Any, *where: Any, out: Any, out_valid: Any) -> None:
    """See `_bilinear`; `where` is (nodes, exact, slots, row, col, corner, size, masked)."""
    name = data.dtype.name
    half = 0.5 if data.dtype.kind in "iu" else None
    high = None
    if half is not None and data.dtype.itemsize == 8:
        high = math.nextafter(float(np.iinfo(data.dtype).max), 0.0)

    def signature() -> tuple[Any, ...]:
        rounding = [types.none if value is None else types.float64 for value in (half, high)]
        return (*pixels(name), *place(), *rounding, *pixels(name, readonly=False))

    kernel = compiled(_bilinear, name, signature)
    kernel(data, valid, *where, half, high, out, out_valid)
