"""Compiled loops that make a pixel from more than its four neighbours: cubic, average and mode.

They share their parameters, and the way positions are found, with `gather`.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numba import types

from geoloom_engine.gather import CELL, compiled, line, pixels, place

REACH = 3.0
"""Half the side of the largest footprint, in sides of a usual one; larger ones are cut off."""

MAX_SAMPLES = 32
"""Samples along a footprint's side."""


def reach(scale: float) -> int:
    """Source pixels that a footprint may need round a position."""
    return math.ceil(REACH * scale) + 1


def samples(scale: float) -> int:
    """Samples along a footprint's side: two a source pixel, so that none is left out."""
    return min(max(math.ceil(2.0 * scale), 2), MAX_SAMPLES)


@numba.njit(inline="always")
def _position(nodes: Any, exact: Any, slot: int, i: int, j: int, s: int, t: int) -> tuple[float, float]:
    """Position of pixel (s, t) of a cell; s and t may be one past the cell's last."""
    if slot >= 0:
        return exact[0, slot, s, t], exact[1, slot, s, t]
    ax, dx, qx = line(nodes, 0, i, j, s)
    ay, dy, qy = line(nodes, 1, i, j, s)
    return ax + (dx + qx * t) * t, ay + (dy + qy * t) * t


@numba.njit(inline="always")
def _weight(distance: float) -> float:
    """Catmull and Rom's kernel (Keys 1981, a = −1/2)."""
    d = abs(distance)
    if d <= 1.0:
        return (1.5 * d - 2.5) * d * d + 1.0
    if d < 2.0:
        return ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0
    return 0.0


def _cubic(
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
    low: float,
    high: float,
    half: float,
    out: Any,
    out_valid: Any,
) -> None:
    """Catmull-Rom over the 4 × 4 source pixels round each centre.

    Pixels that bilinear left as they are where one of the sixteen is invalid or outside: `out` and
    `out_valid` hold its answer already. `low` and `high` are the type's range; `half` is 0.5 for
    integers, else 0.
    """
    bands, rows, cols = out.shape
    layers = out_valid.shape[0]
    left, top = corner
    right, bottom = min(left + data.shape[2], size[0]), min(top + data.shape[1], size[1])
    wx, wy = np.empty(4), np.empty(4)
    for r in range(rows):
        i, s = (row + r) // CELL, (row + r) % CELL
        for c in range(cols):
            j, t = (col + c) // CELL, (col + c) % CELL
            slot = slots[i, j]
            if slot == -2:
                continue
            px, py = _position(nodes, exact, slot, i, j, s, t)
            if not (left + 1.5 <= px < right - 1.5 and top + 1.5 <= py < bottom - 1.5):
                continue
            x0, y0 = int(px - 0.5) - 1, int(py - 0.5) - 1
            for n in range(4):
                wx[n] = _weight(px - 0.5 - (x0 + n))
                wy[n] = _weight(py - 0.5 - (y0 + n))
            for b in range(bands):
                whole = True
                if masked:
                    for y in range(y0 - top, y0 - top + 4):
                        for x in range(x0 - left, x0 - left + 4):
                            whole = whole and valid[min(b, layers - 1), y, x]
                if not whole:
                    continue
                value = 0.0
                for m in range(4):
                    along = 0.0
                    for n in range(4):
                        along += wx[n] * data[b, y0 - top + m, x0 - left + n]
                    value += wy[m] * along
                value = min(max(value + math.copysign(half, value), low), high)
                out[b, r, c] = value


def _footprint(
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
    scale: float,
    count: int,
    most: bool,
    half: float,
    high: float,
    out: Any,
    out_valid: Any,
) -> None:
    """The mean, or with `most` the most frequent value, of the source under each pixel.

    The footprint is the parallelogram that the projection makes of the pixel, sampled at `count` ×
    `count` points. A pixel is valid if its centre lies in the source and at least half of the points
    do and are valid. `scale` is the usual side of a footprint in source pixels.
    """
    bands, rows, cols = out.shape
    layers = out_valid.shape[0]
    left, top = corner
    right, bottom = min(left + data.shape[2], size[0]), min(top + data.shape[1], size[1])
    found = np.empty(count * count, data.dtype)
    xs, ys = np.empty(count * count, np.int64), np.empty(count * count, np.int64)
    farthest = REACH * scale
    for r in range(rows):
        i, s = (row + r) // CELL, (row + r) % CELL
        for c in range(cols):
            j, t = (col + c) // CELL, (col + c) % CELL
            slot = slots[i, j]
            if slot == -2:
                continue
            px, py = _position(nodes, exact, slot, i, j, s, t)
            if not (0.0 <= px < size[0] and 0.0 <= py < size[1]):
                continue
            # Exact cells know no pixel beyond their last: there the step before it serves.
            s1 = s - 1 if slot >= 0 and s == CELL - 1 else s + 1
            t1 = t - 1 if slot >= 0 and t == CELL - 1 else t + 1
            ux, uy = _position(nodes, exact, slot, i, j, s, t1)
            vx, vy = _position(nodes, exact, slot, i, j, s1, t)
            ux, uy = min(max(ux - px, -farthest), farthest), min(max(uy - py, -farthest), farthest)
            vx, vy = min(max(vx - px, -farthest), farthest), min(max(vy - py, -farthest), farthest)
            inside = 0
            for m in range(count):
                f = (m + 0.5) / count - 0.5
                for n in range(count):
                    e = (n + 0.5) / count - 0.5
                    x, y = math.floor(px + ux * e + vx * f), math.floor(py + uy * e + vy * f)
                    if left <= x < right and top <= y < bottom:
                        xs[inside], ys[inside] = x - left, y - top
                        inside += 1
            for b in range(bands):
                good = 0
                total = 0.0
                for n in range(inside):
                    if masked and not valid[min(b, layers - 1), ys[n], xs[n]]:
                        continue
                    found[good] = data[b, ys[n], xs[n]]
                    total += found[good]
                    good += 1
                if 2 * good < count * count:
                    continue
                if most:
                    ordered = np.sort(found[:good])
                    best, run = 1, 1
                    out[b, r, c] = ordered[0]
                    for n in range(1, good):
                        run = run + 1 if ordered[n] == ordered[n - 1] else 1
                        if run > best:
                            best = run
                            out[b, r, c] = ordered[n]
                else:
                    value = total / good
                    out[b, r, c] = min(value + math.copysign(half, value), high)
                if b < layers:
                    out_valid[b, r, c] = True


def _range(dtype: Any) -> tuple[float, float, float]:
    """Lowest and highest float64 that the type holds, and what rounding adds."""
    if dtype.kind == "f":
        return -math.inf, math.inf, 0.0
    limits = np.iinfo(dtype)
    high = float(limits.max)
    return float(limits.min), high if high <= limits.max else math.nextafter(high, 0.0), 0.5


def cubic(data: Any, valid: Any, *where: Any, out: Any, out_valid: Any) -> None:
    """See `_cubic`; `where` is as for `gather.nearest`."""
    name = data.dtype.name
    floats = (types.float64,) * 3
    kernel = compiled(_cubic, name, lambda: (*pixels(name), *place(), *floats, *pixels(name, readonly=False)))
    kernel(data, valid, *where, *_range(data.dtype), out, out_valid)


def footprint(data: Any, valid: Any, *where: Any, scale: float, most: bool, out: Any, out_valid: Any) -> None:
    """See `_footprint`; `where` is as for `gather.nearest`."""
    name = data.dtype.name

    def signature() -> tuple[Any, ...]:
        own = (types.float64, types.int64, types.boolean, types.float64, types.float64)
        return (*pixels(name), *place(), *own, *pixels(name, readonly=False))

    kernel = compiled(_footprint, name, signature)
    _, high, half = _range(data.dtype)
    kernel(data, valid, *where, scale, samples(scale), most, half, high, out, out_valid)
