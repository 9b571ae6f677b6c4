"""Features burnt into pixels, by the rules of gdal_rasterize.

Polygons burn the pixels whose centre is inside, by the even-odd rule over all their rings; lines those of
Bresenham's line between the pixels of their vertices; points their own. All touched burns, beside the inside
of polygons, each pixel that an edge or a line passes through.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from geoloom.block import Array
from geoloom.loops import array, compiled
from geoloom_engine.vectors.measures import GROUP
from geoloom_engine.vectors.sheet import Sheet, feature_types
from geoloom_engine.vectors.wkb import LINE, POINT


def burn(sheet: Sheet, order: Array, shown: Array, touched: bool, top: Array, row: Array) -> None:
    """Burn features; of several in a pixel the last of the file stays.

    Parameters
    ----------
    order
        int32, of each feature.
    shown
        bool, of each feature.
    touched
        Whether all pixels touched are burnt.
    top
        int32, (rows, cols): order of what is in each pixel, −1 for nothing; written.
    row
        int64, (rows, cols): its position in the sheet; written.
    """
    given = (array("int32", 1), array("bool", 1), numba.types.boolean)
    outs = (array("int32", 2, written=True), array("int64", 2, written=True))
    compiled(_burn, "", lambda: (*feature_types(), *given, *outs))(
        *sheet.features(*top.shape),
        order,
        shown,
        touched,
        top,
        row,
    )


def _burn(
    groups: Any,
    boxes: Any,
    place: Any,
    rows: int,
    cols: int,
    first: Any,
    start: Any,
    kind: Any,
    xy: Any,
    order: Any,
    shown: Any,
    touched: bool,
    top: Any,
    found: Any,
) -> None:
    x0, y0, sx, sy, col, row = place[0], place[1], place[2], place[3], place[4], place[5]
    west, east = x0 + (col - 1) / sx, x0 + (col + cols + 1) / sx
    north, south = y0 - (row - 1) / sy, y0 - (row + rows + 1) / sy
    crossings = np.empty(16, np.int64)
    for g in range(len(groups)):
        if not (
            groups[g, 2] >= west and groups[g, 0] <= east and groups[g, 3] >= south and groups[g, 1] <= north
        ):
            continue
        for f in range(g * GROUP, min((g + 1) * GROUP, len(boxes))):
            if not shown[f]:
                continue
            if not (
                boxes[f, 2] >= west and boxes[f, 0] <= east and boxes[f, 3] >= south and boxes[f, 1] <= north
            ):
                continue
            left, right = (boxes[f, 0] - x0) * sx - col, (boxes[f, 2] - x0) * sx - col
            upper, lower = (y0 - boxes[f, 3]) * sy - row, (y0 - boxes[f, 1]) * sy - row
            own = order[f]
            if first[f] == first[f + 1]:
                continue
            linear = kind[first[f]] <= LINE and kind[first[f + 1] - 1] <= LINE
            within = math.floor(left) == math.floor(right) and math.floor(upper) == math.floor(lower)
            if within and (touched or linear):
                _set(top, found, math.floor(upper), math.floor(left), own, f)
                continue
            if not touched and kind[first[f]] > LINE:
                # Most small polygons hold no pixel's centre.
                between = math.floor(right + 0.5) <= math.floor(left + 0.5) and right != left
                between |= math.ceil(upper - 0.5) > math.floor(lower - 0.5)
                if between and kind[first[f + 1] - 1] > LINE:
                    continue
            areal = False
            for path in range(first[f], first[f + 1]):
                a, b = start[path], start[path + 1]
                if kind[path] == POINT:
                    for v in range(a, b):
                        q, r = math.floor((xy[v, 0] - x0) * sx - col), math.floor((y0 - xy[v, 1]) * sy - row)
                        _set(top, found, r, q, own, f)
                    continue
                if kind[path] > LINE:
                    areal = True
                    if not touched:
                        continue
                x, y = (xy[a, 0] - x0) * sx - col, (y0 - xy[a, 1]) * sy - row
                for v in range(a + 1, b):
                    x2, y2 = (xy[v, 0] - x0) * sx - col, (y0 - xy[v, 1]) * sy - row
                    if touched:
                        _passed(top, found, x, y, x2, y2, own, f)
                    else:
                        _line(top, found, x, y, x2, y2, own, f)
                    x, y = x2, y2
            if not areal:
                continue
            for r in range(max(math.floor(upper), 0), min(math.ceil(lower) + 1, rows)):
                y = r + 0.5
                n = 0
                for path in range(first[f], first[f + 1]):
                    if kind[path] <= LINE:
                        continue
                    a, b = start[path], start[path + 1]
                    for v in range(a, b):
                        w = v - 1 if v > a else b - 1
                        ya, yb = (y0 - xy[w, 1]) * sy - row, (y0 - xy[v, 1]) * sy - row
                        if (ya < y and yb < y) or (ya > y and yb > y):
                            continue
                        xa, xb = (xy[w, 0] - x0) * sx - col, (xy[v, 0] - x0) * sx - col
                        if ya == yb:
                            # Along the centres a polygon's lower side counts, its upper does not.
                            if xa > xb:
                                p, q = math.floor(xb + 0.5), math.floor(xa + 0.5)
                                for c in range(max(p, 0), min(q, cols)):
                                    _set(top, found, r, c, own, f)
                            continue
                        if ya > yb:
                            xa, ya, xb, yb = xb, yb, xa, ya
                        if ya <= y < yb:
                            x = (y - ya) * (xb - xa) / (yb - ya) + xa
                            if n == len(crossings):
                                more = np.empty(2 * n, np.int64)
                                more[:n] = crossings
                                crossings = more
                            crossings[n] = math.floor(min(max(x, -1.0), cols + 1.0) + 0.5)
                            n += 1
                crossings[:n].sort()
                for k in range(0, n - 1, 2):
                    for q in range(max(crossings[k], 0), min(crossings[k + 1], cols)):
                        _set(top, found, r, q, own, f)


@numba.njit(nogil=True)
def _set(top: Any, found: Any, r: Any, q: Any, own: int, feature: int) -> None:
    if 0 <= r < top.shape[0] and 0 <= q < top.shape[1] and top[int(r), int(q)] <= own:
        top[int(r), int(q)] = own
        found[int(r), int(q)] = feature


@numba.njit(nogil=True)
def _line(top: Any, found: Any, x0: float, y0: float, x1: float, y1: float, own: int, feature: int) -> None:
    """Bresenham's line from pixel to pixel, of which only what the grid shows is walked."""
    rows, cols = top.shape
    if max(x0, x1) < 0 or min(x0, x1) >= cols or max(y0, y1) < 0 or min(y0, y1) >= rows:
        return
    q0, r0 = np.int64(math.floor(x0)), np.int64(math.floor(y0))
    q1, r1 = np.int64(math.floor(x1)), np.int64(math.floor(y1))
    wide, high = abs(q1 - q0), abs(r1 - r0)
    dq, dr = (1 if q1 >= q0 else -1), (1 if r1 >= r0 else -1)
    flat = wide >= high
    long, short = (wide, high) if flat else (high, wide)
    at, step, size = (q0, dq, cols) if flat else (r0, dr, rows)
    # Steps at which the longer way is on the grid.
    begin: Any = max(0 - at, 0) if step > 0 else max(at - (size - 1), 0)
    end: Any = min(size - 1 - at, long) if step > 0 else min(at, long)
    for k in range(begin, end + 1):
        # So many sideways steps have been made: each when the error 2·k·short − long reaches 0.
        aside = (2 * k * short + long) // (2 * long) if long > 0 and short > 0 else 0
        q = q0 + dq * (k if flat else aside)
        r = r0 + dr * (aside if flat else k)
        _set(top, found, r, q, own, feature)


@numba.njit(nogil=True)
def _passed(top: Any, found: Any, x0: float, y0: float, x1: float, y1: float, own: int, feature: int) -> None:
    """Each pixel that a segment passes through, row by row."""
    rows, cols = top.shape
    if max(x0, x1) < 0 or min(x0, x1) > cols or max(y0, y1) < 0 or min(y0, y1) > rows:
        return
    if y0 > y1:
        x0, y0, x1, y1 = x1, y1, x0, y0
    for r in range(max(math.floor(y0), 0), min(math.floor(y1), rows - 1) + 1):
        a, b = x0, x1
        if y1 > y0:
            slope = (x1 - x0) / (y1 - y0)
            a = x0 + (max(float(r), y0) - y0) * slope
            b = x0 + (min(r + 1.0, y1) - y0) * slope
        if a > b:
            a, b = b, a
        for q in range(int(max(math.floor(a), 0.0)), int(min(math.floor(b), cols - 1.0)) + 1):
            _set(top, found, r, q, own, feature)
