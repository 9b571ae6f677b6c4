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
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba import types

CELL = 16
"""Pixels between nodes."""

Kernel = Callable[..., None]


def _position(nodes: Any, exact: Any, slot: int, i: int, j: int, r: int, c: int) -> float:
    """Position of pixel (r, c) of a cell along one source axis; (i, j) is its upper left node."""
    if slot >= 0:
        return exact[slot, r, c]  # type: ignore[no-any-return]
    s = r / CELL
    left = nodes[i, j] + (nodes[i + 1, j] - nodes[i, j]) * s
    right = nodes[i, j + 1] + (nodes[i + 1, j + 1] - nodes[i, j + 1]) * s
    return left + (right - left) * (c / CELL)  # type: ignore[no-any-return]


position = numba.njit(inline="always")(_position)


def _extent(
    nodes: Any, exact: Any, slots: Any, row: int, col: int, rows: int, cols: int, size: float, pad: float
) -> tuple[float, float, float, float]:
    """Least and greatest position of a rectangle's pixels that meet the source.

    Parameters
    ----------
    nodes
        (2, cell rows + 1, cell cols + 1): source x and y.
    exact
        (2, n, CELL, CELL): positions of the cells that are not interpolated.
    slots
        (cell rows, cell cols): index into `exact`, −1 to interpolate, −2 if the cell misses the source.
    row, col
        The rectangle's first pixel, counted from the first cell.
    size
        (2,): width and height of the source.
    pad
        How far outside the source a position still counts.

    Returns
    -------
    (low x, high x, low y, high y); low > high if no pixel meets the source.
    """
    low_x, low_y = np.inf, np.inf
    high_x, high_y = -np.inf, -np.inf
    width, height = size[0] + pad, size[1] + pad  # type: ignore[index]
    for i in range(row // CELL, (row + rows - 1) // CELL + 1):
        top, bottom = max(row - i * CELL, 0), min(row + rows - i * CELL, CELL) - 1
        for j in range(col // CELL, (col + cols - 1) // CELL + 1):
            slot = slots[i, j]
            if slot == -2:
                continue
            left, right = max(col - j * CELL, 0), min(col + cols - j * CELL, CELL) - 1
            # Interpolated positions are extreme at a corner.
            step_r = max(bottom - top, 1) if slot < 0 else 1
            step_c = max(right - left, 1) if slot < 0 else 1
            x0, x1, y0, y1 = np.inf, -np.inf, np.inf, -np.inf
            for r in range(top, bottom + 1, step_r):
                for c in range(left, right + 1, step_c):
                    x = position(nodes[0], exact[0], slot, i, j, r, c)
                    y = position(nodes[1], exact[1], slot, i, j, r, c)
                    if math.isfinite(x) and math.isfinite(y):
                        inside = -pad <= x < width and -pad <= y < height
                        if slot < 0 or inside:
                            x0, x1 = min(x0, x), max(x1, x)
                            y0, y1 = min(y0, y), max(y1, y)
            if x1 >= -pad and x0 < width and y1 >= -pad and y0 < height:
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
    out: Any,
    out_valid: Any,
) -> None:
    """The source pixel that holds each pixel's centre.

    Parameters
    ----------
    data
        (bands, h, w): a window of the source.
    valid
        (1|bands, h, w), or (1, 1, 1) for "all are valid".
    nodes, exact, slots, row, col
        See `_extent`.
    corner
        (2,): x and y of the window's first pixel in the source.
    size
        (2,): width and height of the source.
    out, out_valid
        (bands, rows, cols) and (1|bands, rows, cols): written where a source pixel is found.
    """
    bands, rows, cols = out.shape
    layers = out_valid.shape[0]
    masked = valid.shape[1] > 1 or valid.shape[2] > 1 or data.shape[1] * data.shape[2] == 1
    x0, y0, width, height = corner[0], corner[1], data.shape[2], data.shape[1]
    for r in range(rows):
        i, s = (row + r) // CELL, (row + r) % CELL
        for j in range(col // CELL, (col + cols - 1) // CELL + 1):
            slot = slots[i, j]
            if slot == -2:
                continue
            for c in range(max(j * CELL - col, 0), min((j + 1) * CELL - col, cols)):
                t = col + c - j * CELL
                px = position(nodes[0], exact[0], slot, i, j, s, t)
                py = position(nodes[1], exact[1], slot, i, j, s, t)
                if not (0.0 <= px < size[0] and 0.0 <= py < size[1]):
                    continue
                x, y = int(px) - x0, int(py) - y0
                if not (0 <= x < width and 0 <= y < height):
                    continue
                if masked:
                    for b in range(layers):
                        out_valid[b, r, c] = valid[b, y, x]
                else:
                    for b in range(layers):
                        out_valid[b, r, c] = True
                for b in range(bands):
                    out[b, r, c] = data[b, y, x]


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
    limits: Any,
    out: Any,
    out_valid: Any,
) -> None:
    """Weighted mean of the valid ones of the four source pixels round each pixel's centre.

    A pixel is valid if the source pixel that holds its centre is. `limits` is (low, high) for
    integers, which are rounded half away from zero, and (inf, -inf) for floats. Others: `_nearest`.
    """
    bands, rows, cols = out.shape
    layers = out_valid.shape[0]
    masked = valid.shape[1] > 1 or valid.shape[2] > 1 or data.shape[1] * data.shape[2] == 1
    x0, y0, width, height = corner[0], corner[1], data.shape[2], data.shape[1]
    last_x, last_y = size[0] - 1, size[1] - 1
    whole = limits[0] < limits[1]
    for r in range(rows):
        i, s = (row + r) // CELL, (row + r) % CELL
        for j in range(col // CELL, (col + cols - 1) // CELL + 1):
            slot = slots[i, j]
            if slot == -2:
                continue
            for c in range(max(j * CELL - col, 0), min((j + 1) * CELL - col, cols)):
                t = col + c - j * CELL
                px = position(nodes[0], exact[0], slot, i, j, s, t)
                py = position(nodes[1], exact[1], slot, i, j, s, t)
                if not (0.0 <= px < size[0] and 0.0 <= py < size[1]):
                    continue
                nx, ny = int(px) - x0, int(py) - y0
                fx, fy = math.floor(px - 0.5), math.floor(py - 0.5)
                wx, wy = px - 0.5 - fx, py - 0.5 - fy
                xa, xb = max(int(fx), 0) - x0, min(int(fx) + 1, last_x) - x0
                ya, yb = max(int(fy), 0) - y0, min(int(fy) + 1, last_y) - y0
                if not (0 <= xa and xb < width and 0 <= ya and yb < height):
                    continue
                for b in range(bands):
                    w00, w01 = (1.0 - wx) * (1.0 - wy), wx * (1.0 - wy)
                    w10, w11 = (1.0 - wx) * wy, wx * wy
                    total = 1.0
                    if masked:
                        v = min(b, layers - 1)
                        if not valid[v, ny, nx]:
                            continue
                        if not (
                            valid[v, ya, xa] and valid[v, ya, xb] and valid[v, yb, xa] and valid[v, yb, xb]
                        ):
                            w00 = w00 if valid[v, ya, xa] else 0.0
                            w01 = w01 if valid[v, ya, xb] else 0.0
                            w10 = w10 if valid[v, yb, xa] else 0.0
                            w11 = w11 if valid[v, yb, xb] else 0.0
                            total = w00 + w01 + w10 + w11
                    value = (
                        data[b, ya, xa] * w00
                        + data[b, ya, xb] * w01
                        + data[b, yb, xa] * w10
                        + data[b, yb, xb] * w11
                    ) / total
                    if whole:
                        value = math.floor(value + 0.5) if value >= 0 else math.ceil(value - 0.5)
                        value = min(max(value, limits[0]), limits[1])
                    out[b, r, c] = value
                    if b < layers:
                        out_valid[b, r, c] = True


def _array(dtype: str, ndim: int, layout: str = "A", *, readonly: bool = True) -> Any:
    return types.Array(numba.from_dtype(np.dtype(dtype)), ndim, layout, readonly=readonly)


_PAIR = types.UniTuple(types.int64, 2)
_FLOAT_PAIR = types.UniTuple(types.float64, 2)
_PLACE = (
    _array("float64", 3, "C"),
    _array("float64", 4, "C"),
    _array("int32", 2, "C"),
    types.int64,
    types.int64,
)
_compiled: dict[tuple[str, str], Any] = {}
_lock = threading.Lock()


def _compile(function: Callable[..., Any], dtype: str, *arguments: Any) -> Any:
    """Machine code for one type of pixel, from the cache folder if there is one that can be written.

    One signature a function and type: whatever an array's layout, no second one is compiled.
    """
    key = (function.__name__, dtype)
    kernel = _compiled.get(key)
    if kernel is None:
        with _lock:
            kernel = _compiled.get(key)
            if kernel is None:
                try:
                    kernel = numba.njit([arguments], nogil=True, cache=True)(function)
                except (RuntimeError, OSError):
                    kernel = numba.njit([arguments], nogil=True)(function)
                _compiled[key] = kernel
    return kernel


def extent(
    nodes: npt.NDArray[np.float64],
    exact: npt.NDArray[np.float64],
    slots: npt.NDArray[np.int32],
    place: tuple[int, int, int, int],
    size: tuple[int, int],
    pad: float,
) -> tuple[float, float, float, float]:
    """See `_extent`; `place` is (row, col, rows, cols)."""
    kernel = _compile(_extent, "", *_PLACE, types.int64, types.int64, _PAIR, types.float64)
    low_x, high_x, low_y, high_y = kernel(nodes, exact, slots, *place, size, pad)
    return low_x, high_x, low_y, high_y


def nearest(data: Any, valid: Any, *place: Any, out: Any, out_valid: Any) -> None:
    """See `_nearest`; `place` is (nodes, exact, slots, row, col, corner, size)."""
    bits = f"uint{8 * data.dtype.itemsize}"
    kernel = _compile(
        _nearest,
        bits,
        *(_array(bits, 3), _array("bool", 3)),
        *_PLACE,
        *(_PAIR, _PAIR),
        *(_array(bits, 3, readonly=False), _array("bool", 3, readonly=False)),
    )
    kernel(data.view(bits), valid, *place, out.view(bits), out_valid)


def bilinear(data: Any, valid: Any, *place: Any, out: Any, out_valid: Any) -> None:
    """See `_bilinear`; `place` is (nodes, exact, slots, row, col, corner, size)."""
    name = data.dtype.name
    limits = (math.inf, -math.inf)
    if data.dtype.kind in "iu":
        bounds = np.iinfo(data.dtype)
        # The greatest float64 that the type still holds: 2^63 - 1 itself is none.
        high = float(bounds.max) if bounds.bits < 64 else math.nextafter(float(bounds.max), 0.0)
        limits = (float(bounds.min), high)
    kernel = _compile(
        _bilinear,
        name,
        *(_array(name, 3), _array("bool", 3)),
        *_PLACE,
        *(_PAIR, _PAIR, _FLOAT_PAIR),
        *(_array(name, 3, readonly=False), _array("bool", 3, readonly=False)),
    )
    kernel(data, valid, *place, limits, out, out_valid)
