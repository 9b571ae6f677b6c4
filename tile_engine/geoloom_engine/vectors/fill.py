"""Polygons with smooth edges: the exact share of each pixel that a polygon covers.

Each edge adds to the pixels it crosses the area between it and the pixel's right side, and its height to all
pixels further right; sums along the rows are the shares (as FreeType's smooth rasteriser and font-rs do it).
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from geoloom.block import Array
from geoloom.loops import array, compiled, number
from geoloom_engine.vectors.measures import GROUP, SMALL, SPECK, vertex_types
from geoloom_engine.vectors.sheet import Sheet, shown_types
from geoloom_engine.vectors.wkb import RING, TURNED_RING

_TINY = 1e-9
"""Shares below this are what rounding leaves of none."""


def specks(
    sheet: Sheet, code: Array, colours: Array, inks: Array, paper: Array, ink: Array, margin: float
) -> Array:
    """Draw polygons of a pixel or two by their boxes and areas, and tell which features are larger.

    Parameters
    ----------
    code
        int16, of each feature its colour; −1 is not shown.
    colours
        float32, (n, 4): red, green, blue from 0 to 1, times alpha, and alpha.
    inks
        float32: width of outlines in pixels, 0 for none, and the share they cover of pixels they fill.
    paper
        float32, (rows, cols, 5): share covered, then colour; written.
    ink
        float32, (rows, cols): share covered by outlines; written.
    margin
        Pixels around the grid from which larger features reach in.

    Returns
    -------
    Array
        Positions in the sheet.
    """
    found = np.empty(len(sheet.box), np.int64)
    n = compiled(_specks, "", _specks_types)(
        sheet.groups,
        sheet.box,
        sheet.place,
        *ink.shape,
        sheet.area,
        code,
        colours,
        inks,
        margin,
        paper,
        ink,
        found,
    )
    return found[:n]


def fill(sheet: Sheet, rows: Array, code: Array, colours: Array, paper: Array) -> None:
    """Fill polygons, one after the other.

    What a pixel has of colour is the share covered so far; a polygon takes what is free first. So those that
    share a border leave no line of background between them.
    """
    level = sheet.level
    compiled(_fill, "", _fill_types)(
        level.first, level.start, level.kind, level.xy, sheet.box, sheet.place, rows, code, colours, paper
    )


def shares(sheet: Sheet, row: int, window: tuple[int, int, int, int], out: Array) -> None:
    """The share of each pixel of a window (row, col, rows, cols) that a feature covers, into `out`."""
    level = sheet.level
    compiled(_shares, "", _shares_types)(
        level.first, level.start, level.kind, level.xy, sheet.place, row, *window[:2], out
    )


def _specks_types() -> tuple[Any, ...]:
    colours = (
        array("float32", 1),
        array("int16", 1),
        array("float32", 2),
        array("float32", 1),
        number("float64"),
    )
    outs = (
        array("float32", 3, written=True),
        array("float32", 2, written=True),
        array("int64", 1, written=True),
    )
    return (*shown_types(), *colours, *outs)


def _specks(
    groups: Any,
    boxes: Any,
    place: Any,
    rows: int,
    cols: int,
    area: Any,
    code: Any,
    colours: Any,
    inks: Any,
    margin: float,
    paper: Any,
    ink: Any,
    found: Any,
) -> int:
    x0, y0, sx, sy, col, row = place[0], place[1], place[2], place[3], place[4], place[5]
    n = 0
    left, right = -margin, cols + margin
    top, bottom = -margin, rows + margin
    # The same limits in the features' units, a trifle wider: most are decided by comparing alone.
    west, east = x0 + (col + left - 1) / sx, x0 + (col + right + 1) / sx
    north, south = y0 - (row + top - 1) / sy, y0 - (row + bottom + 1) / sy
    wide, high = SMALL / sx, SMALL / sy
    half, strength = inks[0] / 2, inks[1]
    around = math.ceil(margin) + 2
    seen = np.zeros((rows + 2 * around, cols + 2 * around), np.uint64)
    for g in range(len(groups)):
        if not (
            groups[g, 2] >= west and groups[g, 0] <= east and groups[g, 3] >= south and groups[g, 1] <= north
        ):
            continue
        for k in range(g * GROUP, min((g + 1) * GROUP, len(boxes))):
            own = code[k]
            if own < 0:
                continue
            a, b, c, d = boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3]
            if not (c >= west and a <= east and d >= south and b <= north):
                continue
            if c - a >= wide or d - b >= high or area[k] == 0.0:
                if c - a < wide / 4 and d - b < high / 4 and own < 64:
                    # Of the tiny lines of a class in one pixel the others would hide all but slivers.
                    q = math.floor(((a + c) / 2 - x0) * sx) - col + around
                    r = math.floor((y0 - (b + d) / 2) * sy) - row + around
                    bit = np.uint64(1) << np.uint64(own)
                    if 0 <= q < seen.shape[1] and 0 <= r < seen.shape[0]:
                        if seen[int(r), int(q)] & bit:
                            continue
                        seen[int(r), int(q)] |= bit
                found[n] = k
                n += 1
                continue
            if c - a < wide / 4 and d - b < high / 4:
                q, r = math.floor(((a + c) / 2 - x0) * sx - col), math.floor((y0 - (b + d) / 2) * sy - row)
                if 0 <= q < cols and 0 <= r < rows:
                    _put(paper, r, q, min(area[k] * sx * sy, 1.0), colours, own)
                    ink[r, q] = max(ink[r, q], strength)
                continue
            # Its area is shared out evenly over its box.
            q0, q1 = (a - x0) * sx - col, (c - x0) * sx - col
            r0, r1 = (y0 - d) * sy - row, (y0 - b) * sy - row
            dense = min(area[k] / max((c - a) * (d - b), 1e-30), 1.0)
            for r in range(max(math.floor(r0 - half), 0), min(math.ceil(r1 + half), rows)):
                deep = min(r1, r + 1.0) - max(r0, float(r))
                inked = min(r1 + half, r + 1.0) - max(r0 - half, float(r))
                for q in range(max(math.floor(q0 - half), 0), min(math.ceil(q1 + half), cols)):
                    across = min(q1, q + 1.0) - max(q0, float(q))
                    if deep > 0.0 and across > 0.0:
                        _put(paper, r, q, dense * deep * across, colours, own)
                    if half > 0.0:
                        share = inked * (min(q1 + half, q + 1.0) - max(q0 - half, float(q))) * strength
                        if share > ink[r, q]:
                            ink[r, q] = share
    return n


@numba.njit(nogil=True)
def _put(paper: Any, r: int, q: int, share: float, colours: Any, own: int) -> None:
    """Colour a share of a pixel: what is still free first, then over what is there."""
    covered = paper[r, q, 0]
    over = covered + share - 1.0
    if over > 0.0 and covered > 0.0:
        kept = np.float32(1.0 - min(over / covered, 1.0) * colours[own, 3])
        for k in range(4):
            paper[r, q, 1 + k] = paper[r, q, 1 + k] * kept + np.float32(share) * colours[own, k]
    else:
        for k in range(4):
            paper[r, q, 1 + k] += np.float32(share) * colours[own, k]
    paper[r, q, 0] = np.float32(min(covered + share, 1.0))


@numba.njit(nogil=True)
def _piece(line: Any, x0: float, x1: float, d: float, cols: int) -> None:
    """Add one edge's run through a row of pixels, from x0 to x1, of height `d` with its direction."""
    if x0 > x1:
        x0, x1 = x1, x0
    if x1 <= 0.0:
        line[0] += d
        return
    if x0 >= cols:
        return
    if x0 < 0.0:
        part = -x0 / (x1 - x0)
        line[0] += d * part
        d *= 1.0 - part
        x0 = 0.0
    if x1 > cols:
        d *= (cols - x0) / (x1 - x0)
        x1 = float(cols)
    first = int(x0)
    last = math.ceil(x1)
    if last <= first + 1:
        middle = 0.5 * (x0 + x1) - first
        line[first] += d * (1.0 - middle)
        line[first + 1] += d * middle
        return
    # The share of a pixel right of the edge grows as the square within the first and the last.
    slope = 1.0 / (x1 - x0)
    done = 0.0
    for c in range(first, last):
        a, b = max(x0, float(c)), min(x1, float(c + 1))
        height = (b - a) * slope
        middle = 0.5 * (a + b) - c
        line[c] += d * height * (1.0 - middle)
        line[c + 1] += d * height * middle
        done += height


@numba.njit(nogil=True)
def _edge(sums: Any, x0: float, y0: float, x1: float, y1: float, sign: float) -> None:
    """Add an edge to sums (rows, cols + 2), in pixels from their upper left corner, y downwards."""
    if y0 == y1:
        return
    rows, cols = sums.shape[0], sums.shape[1] - 2
    if y0 > y1:
        x0, y0, x1, y1, sign = x1, y1, x0, y0, -sign
    if y1 <= 0.0 or y0 >= rows:
        return
    slope = (x1 - x0) / (y1 - y0)
    top, bottom = max(y0, 0.0), min(y1, float(rows))
    r = int(top)
    if x0 <= 0.0 and x1 <= 0.0:
        while r < bottom:
            sums[r, 0] += sign * (min(bottom, r + 1.0) - max(top, float(r)))
            r += 1
        return
    if x0 >= cols and x1 >= cols:
        return
    while r < bottom:
        a, b = max(top, float(r)), min(bottom, r + 1.0)
        _piece(sums[r], x0 + (a - y0) * slope, x0 + (b - y0) * slope, sign * (b - a), cols)
        r += 1


@numba.njit(nogil=True)
def sum_up(
    first: Any, start: Any, kind: Any, xy: Any, place: Any, feature: int, r0: int, q0: int, sums: Any
) -> None:
    """Add the rings of a feature to sums whose first pixel is (r0, q0) of the grid."""
    x0, y0, sx, sy = place[0], place[1], place[2], place[3]
    left, top = place[4] + q0, place[5] + r0
    for path in range(first[feature], first[feature + 1]):
        a, b = start[path], start[path + 1]
        if kind[path] == SPECK:
            r, q = math.floor((y0 - xy[a, 1]) * sy) - top, math.floor((xy[a, 0] - x0) * sx) - left
            if 0 <= r < sums.shape[0] and 0 <= q < sums.shape[1] - 2:
                share = xy[a + 1, 0] * sx * sy
                sums[int(r), int(q)] += share
                sums[int(r), int(q) + 1] -= share
        elif kind[path] == RING or kind[path] == TURNED_RING:
            sign = 1.0 if kind[path] == RING else -1.0
            x, y = (xy[b - 1, 0] - x0) * sx - left, (y0 - xy[b - 1, 1]) * sy - top
            for k in range(a, b):
                x2, y2 = (xy[k, 0] - x0) * sx - left, (y0 - xy[k, 1]) * sy - top
                _edge(sums, x, y, x2, y2, sign)
                x, y = x2, y2


def _fill_types() -> tuple[Any, ...]:
    given = (
        array("float64", 2),
        array("float64", 1),
        array("int64", 1),
        array("int16", 1),
        array("float32", 2),
    )
    return (*vertex_types(), *given, array("float32", 3, written=True))


def _fill(
    first: Any,
    start: Any,
    kind: Any,
    xy: Any,
    boxes: Any,
    place: Any,
    features: Any,
    code: Any,
    colours: Any,
    paper: Any,
) -> None:
    rows, cols = paper.shape[0], paper.shape[1]
    scratch = np.zeros(rows * (cols + 2))
    for feature in features:
        q0 = max(math.floor((boxes[feature, 0] - place[0]) * place[2] - place[4]) - 1, 0)
        q1 = min(math.ceil((boxes[feature, 2] - place[0]) * place[2] - place[4]) + 1, cols)
        r0 = max(math.floor((place[1] - boxes[feature, 3]) * place[3] - place[5]) - 1, 0)
        r1 = min(math.ceil((place[1] - boxes[feature, 1]) * place[3] - place[5]) + 1, rows)
        if q0 >= q1 or r0 >= r1:
            continue
        h, w = int(r1 - r0), int(q1 - q0)
        sums = scratch[: h * (w + 2)].reshape((h, w + 2))
        sum_up(first, start, kind, xy, place, feature, int(r0), int(q0), sums)
        own = code[feature]
        for r in range(h):
            total = 0.0
            for q in range(w):
                total += sums[r, q]
                sums[r, q] = 0.0
                share = min(abs(total), 1.0)
                if share > _TINY:
                    _put(paper, int(r0) + r, int(q0) + q, share, colours, own)
            sums[r, w] = 0.0
            sums[r, w + 1] = 0.0


def _shares_types() -> tuple[Any, ...]:
    given = (array("float64", 1), number("int64"), number("int64"), number("int64"))
    return (*vertex_types(), *given, array("float64", 2, written=True))


def _shares(
    first: Any, start: Any, kind: Any, xy: Any, place: Any, feature: int, r0: int, q0: int, out: Any
) -> None:
    rows, cols = out.shape[0], out.shape[1]
    sums = np.zeros((rows, cols + 2))
    sum_up(first, start, kind, xy, place, feature, r0, q0, sums)
    for r in range(rows):
        total = 0.0
        for q in range(cols):
            total += sums[r, q]
            share = min(abs(total), 1.0)
            out[r, q] = share if share > _TINY else 0.0
