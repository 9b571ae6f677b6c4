"""Compiled loops that pick source pixels for a grid: the nearest one, or a mean of four.

Each row of a grid is cut into stretches of cells whose pixels all lie inside the window read, which
are done many pixels at a time, and the rest, which is asked pixel by pixel.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numba import types

from geoloom.loops import array, compiled
from geoloom_engine.runs import CELL, STEPS, begin_row, peek, position, shown
from geoloom_engine.signatures import cell_types, grid_types, source_types

_PAIRS = {1: np.empty(0, "u2"), 2: np.empty(0, "u4"), 4: np.empty(0, "u8"), 8: np.empty(0, "c16")}
"""Numbers twice as large, by the size of one."""

BYTES = np.empty(0, np.uint8)
"""What validity is in memory."""


@numba.njit(nogil=True)
def _take(base: int, index: Any, count: int, like: Any, out: Any) -> None:
    """Source pixels by index."""
    for k in range(count):
        t = np.uintp(k)
        out[t] = peek(base, index[t], like)


@numba.njit(nogil=True)
def _take_valid(data: int, valid: int, index: Any, count: int, like: Any, out: Any) -> None:
    """Source pixels by index, 0 where they are invalid."""
    for k in range(count):
        t = np.uintp(k)
        out[t] = peek(data, index[t], like) * peek(valid, index[t], BYTES)


def _nearest(
    data: Any,
    valid: Any,
    masked: bool,
    window: Any,
    nodes: Any,
    exact: Any,
    slots: Any,
    row: int,
    col: int,
    part: Any,
    out: Any,
    out_valid: Any,
) -> None:
    """The source pixel that holds each pixel's centre.

    Parameters
    ----------
    data
        (bands, h, w): a window of the source that holds all pixels needed; rows without gaps.
    valid
        (1|bands, h, w), as far apart in memory as `data` are; anything if not `masked`.
    masked
        Whether some pixel of the window is invalid.
    window
        (left, top, right, bottom): the window's place in the source.
    nodes
        See `runs.lines`.
    exact
        (2, n, CELL, CELL): positions of the cells that are not interpolated.
    slots
        (cell rows, cell cols): index into `exact`, −1 to interpolate, −2 if the cell misses the source.
    row, col
        The part's first pixel, counted from the first cell.
    part
        (row, col, rows, cols): what is written of `out`.
    out, out_valid
        (bands, rows, cols) and (1|bands, rows, cols): written where a source pixel is found.
    """
    r0, c0, rows, cols = part
    left, top, right, bottom = window
    j0, count = col // CELL, (col + cols - 1) // CELL + 1 - col // CELL
    line, sure = np.empty((2, 3, count + 1)), np.empty(count, np.bool_)
    index = np.empty(count * CELL, np.int32)
    pitch = np.int32(data.strides[1] // data.itemsize)
    for r in range(rows):
        i, s = begin_row(nodes, slots, row + r, r == 0, j0, count, window, 0.0, line, sure)
        n = 0
        while n < count:
            begin = n
            while n < count and sure[n]:
                ax, dx, qx = line[0, 0, n], line[0, 1, n], line[0, 2, n]
                ay, dy, qy = line[1, 0, n], line[1, 1, n], line[1, 2, n]
                o = np.uintp((n - begin) * CELL)
                for t in range(CELL):
                    x = np.int32(ax + (dx + qx * STEPS[t]) * STEPS[t])
                    y = np.int32(ay + (dy + qy * STEPS[t]) * STEPS[t])
                    index[o + np.uintp(t)] = np.int32(np.int32(y - top) * pitch) + np.int32(x - left)
                n += 1
            if n > begin:
                offset, wide, c = shown(j0 + begin, j0 + n, col, cols)
                some, c = index[offset:], c + c0
                for k in range(out_valid.shape[0]):
                    if masked:
                        _take(valid[k].ctypes.data, some, wide, valid, out_valid[k, r0 + r, c:])
                    else:
                        out_valid[k, r0 + r, c : c + wide] = True
                for k in range(out.shape[0]):
                    start = data.ctypes.data + k * data.strides[0]
                    if masked:
                        layer = min(k, out_valid.shape[0] - 1) * valid.strides[0]
                        at = valid.ctypes.data + layer
                        _take_valid(start, at, some, wide, data, out[k, r0 + r, c:])
                    else:
                        _take(start, some, wide, data, out[k, r0 + r, c:])
                continue
            if slots[i, j0 + n] != -2:
                skip = (j0 + n) * CELL - col
                for t in range(max(-skip, 0), min(cols - skip, CELL)):
                    px, py = position(line, exact, slots[i, j0 + n], n, s, t)
                    if not (left <= px < right and top <= py < bottom):
                        continue
                    x, y, c = int(px) - left, int(py) - top, c0 + skip + t
                    for k in range(out.shape[0]):
                        v = min(k, out_valid.shape[0] - 1)
                        good = not masked or valid[v, y, x]
                        out_valid[v, r0 + r, c] = good
                        out[k, r0 + r, c] = data[k, y, x] if good else 0
            n += 1


@numba.njit(nogil=True)
def _four(base: int, pitch: int, size: int, index: Any, count: int, above: Any, below: Any) -> None:
    """Four neighbours by the index of the upper left one; two beside each other are read as one number."""
    for k in range(count):
        t = np.uintp(k)
        place = base + size * np.int64(index[t])
        above[t], below[t] = peek(place, 0, above), peek(place + pitch, 0, below)


@numba.njit(nogil=True)
def _all_four(base: int, pitch: int, index: Any, begin: int) -> bool:
    """Whether the neighbours of a cell's row are all valid."""
    under, good = base + pitch, True
    for k in range(CELL):
        at = index[np.uintp(begin + k)]
        upper = peek(base, at, BYTES) & peek(base, at + np.int32(1), BYTES)
        good &= (upper & peek(under, at, BYTES) & peek(under, at + np.int32(1), BYTES)) != 0
    return good


@numba.njit(nogil=True)
def _blend(
    above: Any, below: Any, wx: Any, wy: Any, count: int, half: float | None, high: float | None, out: Any
) -> None:
    """Pairs of neighbours weighted by the distance (0..1) from the left and upper ones; see `_bilinear`."""
    two, one = np.uintp(2), np.uintp(1)
    for k in range(count):
        t = np.uintp(k)
        upper = float(above[two * t])
        upper += (float(above[two * t + one]) - upper) * wx[t]
        lower = float(below[two * t])
        lower += (float(below[two * t + one]) - lower) * wx[t]
        value = upper + (lower - upper) * wy[t]
        if half is not None:
            value += math.copysign(half, value)
        if high is not None:
            value = min(value, high)
        # Storing a float as an integer cuts its fraction off.
        out[t] = value


@numba.njit(nogil=True)
def mean_of_four(
    data: Any, valid: Any, masked: bool, window: Any, px: float, py: float, k: int, v: int
) -> tuple[bool, float]:
    """Whether a band's pixel at a position is valid, and the weighted mean of its valid neighbours."""
    left, top, right, bottom = window
    if masked and not valid[v, int(py) - top, int(px) - left]:
        return False, 0.0
    # Positions are not negative, so that adding 0.5 and cutting rounds down.
    bx, by = int(px + 0.5), int(py + 0.5)
    wx, wy = (px + 0.5) - bx, (py + 0.5) - by
    x0, x1 = max(bx - 1, left) - left, min(bx, right - 1) - left
    y0, y1 = max(by - 1, top) - top, min(by, bottom - 1) - top
    a00, a01 = float(data[k, y0, x0]), float(data[k, y0, x1])
    a10, a11 = float(data[k, y1, x0]), float(data[k, y1, x1])
    if masked and not (valid[v, y0, x0] and valid[v, y0, x1] and valid[v, y1, x0] and valid[v, y1, x1]):
        w00 = (1.0 - wx) * (1.0 - wy) if valid[v, y0, x0] else 0.0
        w01 = wx * (1.0 - wy) if valid[v, y0, x1] else 0.0
        w10 = (1.0 - wx) * wy if valid[v, y1, x0] else 0.0
        w11 = wx * wy if valid[v, y1, x1] else 0.0
        return True, (a00 * w00 + a01 * w01 + a10 * w10 + a11 * w11) / (w00 + w01 + w10 + w11)
    upper = a00 + (a01 - a00) * wx
    lower = a10 + (a11 - a10) * wx
    return True, upper + (lower - upper) * wy


def _bilinear(
    data: Any,
    valid: Any,
    masked: bool,
    window: Any,
    nodes: Any,
    exact: Any,
    slots: Any,
    row: int,
    col: int,
    pair: Any,
    half: float | None,
    high: float | None,
    part: Any,
    out: Any,
    out_valid: Any,
) -> None:
    """Weighted mean of the valid ones of the four source pixels round each pixel's centre.

    A pixel is valid if the source pixel that holds its centre is. `pair` is an array of a type that
    holds two pixels. `half` is 0.5 for integers, which
    are rounded half away from zero, else None; `high` is the greatest float64 that a 64-bit type
    holds, else None: what is None is left out when the loop is compiled. Others: see `_nearest`.
    """
    r0, c0, rows, cols = part
    left, top, right, bottom = window
    j0, count = col // CELL, (col + cols - 1) // CELL + 1 - col // CELL
    line, sure = np.empty((2, 3, count + 1)), np.empty(count, np.bool_)
    index, wx, wy = np.empty(count * CELL, np.int32), np.empty(count * CELL), np.empty(count * CELL)
    pairs = np.empty((2, count * CELL), pair.dtype)
    above, below = pairs[0].view(data.dtype), pairs[1].view(data.dtype)
    pitch = np.int32(data.strides[1] // data.itemsize)
    layers = out_valid.shape[0]
    for r in range(rows):
        i, s = begin_row(nodes, slots, row + r, r == 0, j0, count, window, 0.5, line, sure)
        n = 0
        while n < count:
            begin = n
            while n < count and sure[n]:
                ax, dx, qx = line[0, 0, n], line[0, 1, n], line[0, 2, n]
                ay, dy, qy = line[1, 0, n], line[1, 1, n], line[1, 2, n]
                o = (n - begin) * CELL
                u = np.uintp(o)
                for t in range(CELL):
                    px = ax + (dx + qx * STEPS[t]) * STEPS[t] + 0.5
                    wx[u + np.uintp(t)] = px - np.int32(px)
                    index[u + np.uintp(t)] = np.int32(px) - np.int32(left + 1)
                for t in range(CELL):
                    py = ay + (dy + qy * STEPS[t]) * STEPS[t] + 0.5
                    wy[u + np.uintp(t)] = py - np.int32(py)
                    index[u + np.uintp(t)] += np.int32((np.int32(py) - np.int32(top + 1)) * pitch)
                good = True
                if masked:
                    for v in range(layers):
                        at = valid.ctypes.data + v * valid.strides[0]
                        good = good and _all_four(at, valid.strides[1], index, o)
                if not good:
                    break
                n += 1
            if n > begin:
                o, wide, c = shown(j0 + begin, j0 + n, col, cols)
                c += c0
                for v in range(layers):
                    out_valid[v, r0 + r, c : c + wide] = True
                for k in range(out.shape[0]):
                    start = data.ctypes.data + k * data.strides[0]
                    _four(start, data.strides[1], data.itemsize, index[o:], wide, pairs[0], pairs[1])
                    _blend(above, below, wx[o:], wy[o:], wide, half, high, out[k, r0 + r, c:])
                continue
            if slots[i, j0 + n] != -2:
                skip = (j0 + n) * CELL - col
                for t in range(max(-skip, 0), min(cols - skip, CELL)):
                    px, py = position(line, exact, slots[i, j0 + n], n, s, t)
                    if not (left <= px < right and top <= py < bottom):
                        continue
                    for k in range(out.shape[0]):
                        v = min(k, layers - 1)
                        good, value = mean_of_four(data, valid, masked, window, px, py, k, v)
                        if good:
                            if half is not None:
                                value += math.copysign(half, value)
                            if high is not None:
                                value = min(value, high)
                            out[k, r0 + r, c0 + skip + t] = value
                            out_valid[v, r0 + r, c0 + skip + t] = True
            n += 1


def nearest(data: Any, *where: Any, part: tuple[int, int, int, int], out: Any, out_valid: Any) -> None:
    """See `_nearest`; `where` is (valid, masked, window, nodes, exact, slots, row, col)."""
    bits = f"uint{8 * data.dtype.itemsize}"
    kernel = compiled(_nearest, bits, lambda: (*source_types(bits), *cell_types(), *grid_types(bits)))
    kernel(data.view(bits), *where, part, out.view(bits), out_valid)


def bilinear(data: Any, *where: Any, part: tuple[int, int, int, int], out: Any, out_valid: Any) -> None:
    """See `_bilinear`; `where` is (valid, masked, window, nodes, exact, slots, row, col)."""
    name = data.dtype.name
    half = 0.5 if data.dtype.kind in "iu" else None
    high = None
    if half is not None and data.dtype.itemsize == 8:
        high = math.nextafter(float(np.iinfo(data.dtype).max), 0.0)

    def signature() -> tuple[Any, ...]:
        rounding = [types.none if value is None else types.float64 for value in (half, high)]
        pairs = array(pair.dtype.name, 1, written=True)
        return (*source_types(name), *cell_types(), pairs, *rounding, *grid_types(name))

    pair = _PAIRS[data.dtype.itemsize]
    compiled(_bilinear, name, signature)(data, *where, pair, half, high, part, out, out_valid)
