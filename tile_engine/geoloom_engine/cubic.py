"""Compiled loops of cubic resampling; parameters and positions as in `gather`."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numba import types

from geoloom.loops import compiled
from geoloom_engine.gather import BYTES, mean_of_four
from geoloom_engine.runs import CELL, STEPS, begin_row, peek, position, shown
from geoloom_engine.signatures import cell_types, grid_types, number_range, source_types


@numba.njit(nogil=True)
def _inner(d: float) -> float:
    """Catmull and Rom's kernel (Keys 1981, a = −1/2) up to a distance of 1."""
    return (1.5 * d - 2.5) * d * d + 1.0


@numba.njit(nogil=True)
def _outer(d: float) -> float:
    """The same from 1 to 2, where it is 0."""
    return ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0


@numba.njit(nogil=True)
def _weights(p: Any, count: int, weights: Any) -> None:
    """Weights of the four source pixels round each position, counted from pixels' centres."""
    first, second, third, fourth = weights[0], weights[1], weights[2], weights[3]
    for k in range(count):
        t = np.uintp(k)
        at = float(np.int32(p[t]))
        first[t], second[t] = _outer(abs(p[t] - (at - 1.0))), _inner(abs(p[t] - at))
        third[t], fourth[t] = _inner(abs(p[t] - (at + 1.0))), _outer(abs(p[t] - (at + 2.0)))


@numba.njit(nogil=True)
def _add_pixels(base: int, index: Any, weight: Any, count: int, like: Any, total: Any) -> None:
    """Add weighted source pixels."""
    for k in range(count):
        t = np.uintp(k)
        total[t] += weight[t] * peek(base, index[t], like)


@numba.njit(nogil=True)
def _add_products(weight: Any, along: Any, count: int, total: Any) -> None:
    for k in range(count):
        t = np.uintp(k)
        total[t] += weight[t] * along[t]


@numba.njit(nogil=True)
def _rounded(value: Any, count: int, low: float, high: float, half: float, out: Any) -> None:
    """Store values rounded, within the type's range."""
    for k in range(count):
        t = np.uintp(k)
        out[t] = min(max(value[t] + math.copysign(half, value[t]), low), high)


@numba.njit(nogil=True)
def _sixteen_valid(valid: Any, index: Any, begin: int) -> bool:
    """Whether the sixteen pixels from each index of a cell's row on are valid in all bands."""
    good = True
    for v in range(valid.shape[0]):
        for m in range(4):
            base = valid.ctypes.data + v * valid.strides[0] + m * valid.strides[1]
            for n in range(4):
                for t in range(CELL):
                    good &= peek(base + n, index[np.uintp(begin + t)], BYTES) != 0
    return good


def _cubic(
    data: Any,
    valid: Any,
    masked: bool,
    window: Any,
    nodes: Any,
    exact: Any,
    slots: Any,
    row: int,
    col: int,
    low: float,
    high: float,
    half: float,
    part: Any,
    out: Any,
    out_valid: Any,
) -> None:
    """Catmull-Rom over the 4 × 4 source pixels round each centre.

    Bilinear, as in `gather`, where one of the sixteen is invalid or outside. `low` and `high` are the
    type's range; `half` is 0.5 for integers, else 0. Others: see `gather._nearest`.
    """
    r0, c0, rows, cols = part
    left, top, right, bottom = window
    j0, count = col // CELL, (col + cols - 1) // CELL + 1 - col // CELL
    line, sure = np.empty((2, 3, count + 1)), np.empty(count, np.bool_)
    index = np.empty(count * CELL, np.int32)
    px, py = np.empty(count * CELL), np.empty(count * CELL)
    wx, wy = np.empty((4, count * CELL)), np.empty((4, count * CELL))
    along, total = np.empty(count * CELL), np.empty(count * CELL)
    pitch = np.int32(data.strides[1] // data.itemsize)
    layers = out_valid.shape[0]
    for r in range(rows):
        i, s = begin_row(nodes, slots, row + r, r == 0, j0, count, window, 1.5, line, sure)
        n = 0
        while n < count:
            begin = n
            while n < count and sure[n]:
                ax, dx, qx = line[0, 0, n], line[0, 1, n], line[0, 2, n]
                ay, dy, qy = line[1, 0, n], line[1, 1, n], line[1, 2, n]
                o = (n - begin) * CELL
                for t in range(CELL):
                    u = np.uintp(o) + np.uintp(t)
                    px[u] = ax + (dx + qx * STEPS[t]) * STEPS[t] - 0.5
                    py[u] = ay + (dy + qy * STEPS[t]) * STEPS[t] - 0.5
                    bx, by = np.int32(px[u]), np.int32(py[u])
                    index[u] = np.int32(np.int32(by - 1 - top) * pitch) + np.int32(bx - 1 - left)
                if masked and not _sixteen_valid(valid, index, o):
                    break
                n += 1
            if n > begin:
                o, wide, c = shown(j0 + begin, j0 + n, col, cols)
                c += c0
                _weights(px[o:], wide, wx)
                _weights(py[o:], wide, wy)
                for v in range(layers):
                    out_valid[v, r0 + r, c : c + wide] = True
                for k in range(out.shape[0]):
                    total[:wide] = 0.0
                    for m in range(4):
                        along[:wide] = 0.0
                        start = data.ctypes.data + k * data.strides[0] + m * data.strides[1]
                        for b in range(4):
                            _add_pixels(start + b * data.itemsize, index[o:], wx[b], wide, data, along)
                        _add_products(wy[m], along, wide, total)
                    _rounded(total, wide, low, high, half, out[k, r0 + r, c:])
                continue
            if slots[i, j0 + n] != -2:
                skip = (j0 + n) * CELL - col
                for t in range(max(-skip, 0), min(cols - skip, CELL)):
                    x, y = position(line, exact, slots[i, j0 + n], n, s, t)
                    if not (left <= x < right and top <= y < bottom):
                        continue
                    for k in range(out.shape[0]):
                        v = min(k, layers - 1)
                        good, value = _mean_of_sixteen(data, valid, masked, window, x, y, k, v)
                        if good:
                            value = min(max(value + math.copysign(half, value), low), high)
                            out[k, r0 + r, c0 + skip + t] = value
                            out_valid[v, r0 + r, c0 + skip + t] = True
            n += 1


@numba.njit(nogil=True)
def _mean_of_sixteen(
    data: Any, valid: Any, masked: bool, window: Any, x: float, y: float, k: int, v: int
) -> tuple[bool, float]:
    """As `gather.mean_of_four`, of sixteen pixels if all are there and valid."""
    left, top, right, bottom = window
    whole = left + 1.5 <= x < right - 1.5 and top + 1.5 <= y < bottom - 1.5
    if whole:
        x0, y0 = int(x - 0.5) - 1, int(y - 0.5) - 1
        if masked:
            whole = valid[v, y0 - top : y0 - top + 4, x0 - left : x0 - left + 4].all()
    if not whole:
        return mean_of_four(data, valid, masked, window, x, y, k, v)
    value = 0.0
    for m in range(4):
        along = 0.0
        for n in range(4):
            d = abs(x - 0.5 - (x0 + n))
            weight = _inner(d) if n in (1, 2) else _outer(d)
            along += weight * data[k, y0 - top + m, x0 - left + n]
        d = abs(y - 0.5 - (y0 + m))
        value += (_inner(d) if m in (1, 2) else _outer(d)) * along
    return True, value


def cubic(data: Any, *where: Any, part: tuple[int, int, int, int], out: Any, out_valid: Any) -> None:
    """See `_cubic`; `where` is as for `gather.nearest`."""
    name = data.dtype.name
    own = (types.float64,) * 3
    kernel = compiled(_cubic, name, lambda: (*source_types(name), *cell_types(), *own, *grid_types(name)))
    kernel(data, *where, *number_range(data.dtype), part, out, out_valid)
