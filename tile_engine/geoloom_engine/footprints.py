"""Compiled loops that make a pixel from what lies under it: average and mode.

They share their parameters, and the way positions are found, with `gather`.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numba import types

from geoloom.loops import compiled
from geoloom_engine.gather import BYTES
from geoloom_engine.runs import CELL, STEPS, begin_row, lines, peek, position, shown
from geoloom_engine.signatures import cell_types, grid_types, number_range, source_types

REACH = 3.0
"""Half the side of the largest footprint, in sides of a usual one; larger ones are cut off."""

MAX_SAMPLES = 32
"""Samples along a footprint's side."""

_SHORT = 64
"""Values up to which sorting by insertion is the fastest."""


def reach(scale: float) -> int:
    """Source pixels that a footprint may need round a position."""
    return math.ceil(REACH * scale) + 1


def samples(scale: float) -> int:
    """Samples along a footprint's side: two a source pixel, so that none is left out."""
    return min(max(math.ceil(2.0 * scale), 2), MAX_SAMPLES)


@numba.njit(nogil=True)
def _index_samples(place: Any, count: int, wide: int, left: int, top: int, pitch: int, index: Any) -> None:
    """Indices of the samples of the footprints round each pixel of a row; all lie in the window.

    `place` is (6, n): x, y and the two sides of the footprint.
    """
    px, py, ux, uy, vx, vy = place[0], place[1], place[2], place[3], place[4], place[5]
    for m in range(count):
        f = (m + 0.5) / count - 0.5
        for n in range(count):
            e = (n + 0.5) / count - 0.5
            into = index[m * count + n]
            for k in range(wide):
                t = np.uintp(k)
                x = np.int32(px[t] + ux[t] * e + vx[t] * f)
                y = np.int32(py[t] + uy[t] * e + vy[t] * f)
                into[t] = np.int32(np.int32(y - top) * np.int32(pitch)) + np.int32(x - left)


@numba.njit(nogil=True)
def _add(base: int, index: Any, wide: int, like: Any, total: Any) -> None:
    for k in range(wide):
        t = np.uintp(k)
        total[t] += peek(base, index[t], like)


@numba.njit(nogil=True)
def _add_valid(base: int, valid: int, index: Any, wide: int, like: Any, total: Any, good: Any) -> None:
    for k in range(wide):
        t = np.uintp(k)
        yes = peek(valid, index[t], BYTES)
        good[t] += yes
        total[t] += peek(base, index[t], like) if yes else 0.0


@numba.njit(nogil=True)
def _most_frequent(values: Any) -> Any:
    """The value met most often, the least of them if there are several; sorts the values."""
    best = values[0]
    for n in range(1, len(values)):
        if values[n] != best:
            break
    else:
        return best
    if len(values) > _SHORT:
        values.sort()
    else:
        for n in range(1, len(values)):
            value, m = values[n], n
            while m > 0 and values[m - 1] > value:
                values[m] = values[m - 1]
                m -= 1
            values[m] = value
    best, longest, run = values[0], 1, 1
    for n in range(1, len(values)):
        run = run + 1 if values[n] == values[n - 1] else 1
        if run > longest:
            longest, best = run, values[n]
    return best


def _footprint(
    data: Any,
    valid: Any,
    masked: bool,
    window: Any,
    nodes: Any,
    exact: Any,
    slots: Any,
    row: int,
    col: int,
    scale: float,
    count: int,
    most: bool,
    half: float,
    high: float,
    part: Any,
    out: Any,
    out_valid: Any,
) -> None:
    """The mean, or with `most` the most frequent value, of the source under each pixel.

    The footprint is the parallelogram that the projection makes of the pixel, sampled at `count` ×
    `count` points. A pixel is valid if its centre lies in the source and at least half of the points
    do and are valid. `scale` is the usual side of a footprint in source pixels. Others: see
    `gather._nearest`.
    """
    r0, c0, rows, cols = part
    left, top, right, bottom = window
    j0, cells = col // CELL, (col + cols - 1) // CELL + 1 - col // CELL
    line, under = np.empty((2, 3, cells + 1)), np.empty((2, 3, cells + 1))
    sure = np.empty(cells, np.bool_)
    all_samples, farthest = count * count, REACH * scale
    index = np.empty((all_samples, cells * CELL), np.int32)
    place = np.empty((6, cells * CELL))
    total, good = np.empty(cells * CELL), np.empty(cells * CELL, np.int32)
    found = np.empty(all_samples, data.dtype)
    pitch = data.strides[1] // data.itemsize
    layers = out_valid.shape[0]
    for r in range(rows):
        i, s = begin_row(nodes, slots, row + r, r == 0, j0, cells, window, farthest, line, sure)
        lines(nodes, i, s + 1, j0, cells, under)
        n = 0
        while n < cells:
            begin = n
            while n < cells and sure[n]:
                for axis in range(2):
                    a, d, q = line[axis, 0, n], line[axis, 1, n], line[axis, 2, n]
                    a1, d1, q1 = under[axis, 0, n], under[axis, 1, n], under[axis, 2, n]
                    for t in range(CELL):
                        u, step, after = np.uintp((n - begin) * CELL + t), STEPS[t], STEPS[t] + 1.0
                        p = a + (d + q * step) * step
                        place[axis, u] = p
                        place[2 + axis, u] = min(max(a + (d + q * after) * after - p, -farthest), farthest)
                        place[4 + axis, u] = min(max(a1 + (d1 + q1 * step) * step - p, -farthest), farthest)
                n += 1
            if n > begin:
                o, wide, c = shown(j0 + begin, j0 + n, col, cols)
                c += c0
                _index_samples(place[:, o:], count, wide, left, top, pitch, index)
                for k in range(out.shape[0]):
                    start, v = data.ctypes.data + k * data.strides[0], min(k, layers - 1)
                    at, into = valid.ctypes.data + v * valid.strides[0], out[k, r0 + r, c:]
                    if most:
                        for t in range(wide):
                            number = 0
                            for m in range(all_samples):
                                if not masked or peek(at, index[m, t], BYTES) != 0:
                                    found[number] = peek(start, index[m, t], data)
                                    number += 1
                            if 2 * number >= all_samples:
                                into[t] = _most_frequent(found[:number])
                                out_valid[v, r0 + r, c + t] = True
                        continue
                    total[:wide] = 0.0
                    good[:wide] = 0 if masked else all_samples
                    for m in range(all_samples):
                        if masked:
                            _add_valid(start, at, index[m], wide, data, total, good)
                        else:
                            _add(start, index[m], wide, data, total)
                    for t in range(wide):
                        if 2 * good[t] >= all_samples:
                            value = total[t] / good[t]
                            into[t] = min(value + math.copysign(half, value), high)
                            out_valid[v, r0 + r, c + t] = True
                continue
            slot = slots[i, j0 + n]
            skip = (j0 + n) * CELL - col
            for t in range(max(-skip, 0), min(cols - skip, CELL)):
                if slot == -2:
                    break
                px, py = position(line, exact, slot, n, s, t)
                if not (left <= px < right and top <= py < bottom):
                    continue
                if slot >= 0:
                    # Exact cells know no pixel beyond their last: there the step before it serves.
                    ux, uy = position(line, exact, slot, n, s, t - 1 if t == CELL - 1 else t + 1)
                    vx, vy = position(line, exact, slot, n, s - 1 if s == CELL - 1 else s + 1, t)
                else:
                    ux, uy = position(line, exact, slot, n, s, t + 1)
                    vx, vy = position(under, exact, slot, n, s, t)
                ux, uy = min(max(ux - px, -farthest), farthest), min(max(uy - py, -farthest), farthest)
                vx, vy = min(max(vx - px, -farthest), farthest), min(max(vy - py, -farthest), farthest)
                number = 0
                for m in range(count):
                    f = (m + 0.5) / count - 0.5
                    for b in range(count):
                        e = (b + 0.5) / count - 0.5
                        x, y = math.floor(px + ux * e + vx * f), math.floor(py + uy * e + vy * f)
                        if left <= x < right and top <= y < bottom:
                            index[number, 0], index[number, 1] = x - left, y - top
                            number += 1
                for k in range(out.shape[0]):
                    v, number_valid, value = min(k, layers - 1), 0, 0.0
                    for m in range(number):
                        x, y = index[m, 0], index[m, 1]
                        if not masked or valid[v, y, x]:
                            found[number_valid] = data[k, y, x]
                            value += data[k, y, x]
                            number_valid += 1
                    if 2 * number_valid < all_samples:
                        continue
                    out_valid[v, r0 + r, c0 + skip + t] = True
                    if most:
                        out[k, r0 + r, c0 + skip + t] = _most_frequent(found[:number_valid])
                    else:
                        value /= number_valid
                        out[k, r0 + r, c0 + skip + t] = min(value + math.copysign(half, value), high)
            n += 1


def footprint(
    data: Any,
    *where: Any,
    scale: float,
    most: bool,
    part: tuple[int, int, int, int],
    out: Any,
    out_valid: Any,
) -> None:
    """See `_footprint`; `where` is as for `gather.nearest`."""
    name = data.dtype.name
    own = (types.float64, types.int64, types.boolean, types.float64, types.float64)
    kernel = compiled(_footprint, name, lambda: (*source_types(name), *cell_types(), *own, *grid_types(name)))
    _, high, half = number_range(data.dtype)
    kernel(data, *where, scale, samples(scale), most, half, high, part, out, out_valid)
