"""Lines, outlines and discs with smooth edges: what they cover of a pixel is told by its distance."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from geoloom.block import Array
from geoloom.loops import array, compiled, number
from geoloom_engine.vectors.measures import GROUP
from geoloom_engine.vectors.sheet import Sheet, feature_types
from geoloom_engine.vectors.wkb import LINE, POINT, RING

_STEP = 0.3
"""Pixels that a line goes on before its next vertex is looked at."""


def stroke(sheet: Sheet, rows: Array, lines: bool, width: float, ink: Array) -> None:
    """Draw lines, or the outlines of polygons, into `ink`, which keeps the largest share of each pixel.

    Parameters
    ----------
    lines
        Whether lines are meant, or outlines.
    width
        Pixels.
    ink
        float32, (rows, cols).
    """
    level = sheet.level
    numbers = (number("float64"), array("float32", 2, written=True))
    geometry = (
        array("int64", 1),
        array("int64", 1),
        array("uint8", 1),
        array("float64", 2),
        array("float64", 1),
    )
    types = (*geometry, array("int64", 1), numba.types.boolean, *numbers)
    compiled(_stroke, "", lambda: types)(
        level.first, level.start, level.kind, level.xy, sheet.place, rows, lines, width, ink
    )


def _stroke(
    first: Any, start: Any, kind: Any, xy: Any, place: Any, features: Any, lines: bool, width: float, ink: Any
) -> None:
    x0, y0, sx, sy, col, row = place[0], place[1], place[2], place[3], place[4], place[5]
    strength = min(width, 1.0)
    reach = max(width, 1.0) / 2 + 0.5
    for feature in features:
        for path in range(first[feature], first[feature + 1]):
            if kind[path] == POINT or (kind[path] == LINE) != lines:
                continue
            a, b = start[path], start[path + 1]
            x, y = (xy[a, 0] - x0) * sx - col, (y0 - xy[a, 1]) * sy - row
            if kind[path] > RING + 1:
                _segment(ink, x, y, x, y, reach, strength)
                continue
            for k in range(a + 1, b):
                x2, y2 = (xy[k, 0] - x0) * sx - col, (y0 - xy[k, 1]) * sy - row
                if k + 1 < b and abs(x2 - x) < _STEP and abs(y2 - y) < _STEP:
                    continue
                _segment(ink, x, y, x2, y2, reach, strength)
                x, y = x2, y2


@numba.njit(nogil=True)
def _segment(ink: Any, x0: float, y0: float, x1: float, y1: float, reach: float, strength: float) -> None:
    rows, cols = ink.shape
    if (
        max(x0, x1) < -reach
        or min(x0, x1) > cols + reach
        or max(y0, y1) < -reach
        or min(y0, y1) > rows + reach
    ):
        return
    dx, dy = x1 - x0, y1 - y0
    square = dx * dx + dy * dy
    upper = max(math.floor(min(y0, y1) - reach - 0.5), 0.0)
    lower = min(math.ceil(max(y0, y1) + reach - 0.5), rows - 1.0)
    for r in range(int(upper), int(lower) + 1):
        y = r + 0.5
        # The piece of the segment that is near enough to this row.
        s, t = 0.0, 1.0
        if dy != 0.0:
            s, t = (y - reach - y0) / dy, (y + reach - y0) / dy
            if s > t:
                s, t = t, s
            s, t = max(s, 0.0), min(t, 1.0)
            if s > t:
                continue
        xa, xb = x0 + s * dx, x0 + t * dx
        left = max(math.floor(min(xa, xb) - reach - 0.5), 0.0)
        right = min(math.ceil(max(xa, xb) + reach - 0.5), cols - 1.0)
        for q in range(int(left), int(right) + 1):
            if ink[r, q] >= strength:
                continue
            px, py = q + 0.5 - x0, y - y0
            along = 0.0
            if square > 0.0:
                along = min(max((px * dx + py * dy) / square, 0.0), 1.0)
            px -= along * dx
            py -= along * dy
            square_away = px * px + py * py
            if square_away < reach * reach:
                share = min(reach - math.sqrt(square_away), 1.0) * strength
                ink[r, q] = max(share, ink[r, q])


def over(ink: Array, colour: Array, paper: Array) -> None:
    """Lay a colour over the paper as far as ink covers it; the ink is used up."""
    types = (array("float32", 2, written=True), array("float32", 1), array("float32", 3, written=True))
    compiled(_over, "", lambda: types)(ink, colour, paper)


def _over(ink: Any, colour: Any, paper: Any) -> None:
    for r in range(ink.shape[0]):
        for q in range(ink.shape[1]):
            share = ink[r, q]
            if share > 0.0:
                ink[r, q] = 0.0
                kept = np.float32(1.0) - share * colour[3]
                for k in range(4):
                    paper[r, q, 1 + k] = paper[r, q, 1 + k] * kept + share * colour[k]


def topmost(sheet: Sheet, rows: int, cols: int, order: Array, code: Array, margin: int) -> Array:
    """Of the points in each pixel of a grid and `margin` around it the topmost: (n, 3) x, y, code, in order.

    Others would be hidden by it but for a sliver.

    Parameters
    ----------
    order
        int32, of each feature.
    """
    size = (rows + 2 * margin, cols + 2 * margin)
    top = np.full(size, -1, np.int64)
    places = np.empty((*size, 3))
    given = (array("int32", 1), array("int16", 1), number("int64"))
    outs = (array("int64", 2, written=True), array("float64", 3, written=True))
    compiled(_topmost, "", lambda: (*feature_types(), *given, *outs))(
        *sheet.features(rows, cols),
        order,
        code,
        margin,
        top,
        places,
    )
    there = top >= 0
    found: Array = places[there][np.argsort(top[there], kind="stable")]
    return found


def _topmost(
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
    code: Any,
    margin: int,
    top: Any,
    places: Any,
) -> None:
    x0, y0, sx, sy, col, row = place[0], place[1], place[2], place[3], place[4], place[5]
    west, east = x0 + (col - margin - 1) / sx, x0 + (col + cols + margin + 1) / sx
    north, south = y0 - (row - margin - 1) / sy, y0 - (row + rows + margin + 1) / sy
    for g in range(len(groups)):
        if not (
            groups[g, 2] >= west and groups[g, 0] <= east and groups[g, 3] >= south and groups[g, 1] <= north
        ):
            continue
        for k in range(g * GROUP, min((g + 1) * GROUP, len(boxes))):
            if code[k] < 0:
                continue
            for path in range(first[k], first[k + 1]):
                if kind[path] != POINT:
                    continue
                for v in range(start[path], start[path + 1]):
                    x, y = (xy[v, 0] - x0) * sx - col, (y0 - xy[v, 1]) * sy - row
                    q, r = math.floor(x) + margin, math.floor(y) + margin
                    if 0 <= q < top.shape[1] and 0 <= r < top.shape[0] and top[int(r), int(q)] <= order[k]:
                        top[int(r), int(q)] = order[k]
                        places[int(r), int(q), 0], places[int(r), int(q), 1] = x, y
                        places[int(r), int(q), 2] = code[k]


def discs(
    places: Array, radius: float, width: float, colours: Array, outline: Array, ring: bool, paper: Array
) -> None:
    """Draw points as discs, with an outline if `ring`; see `topmost`."""
    given = (
        number("float64"),
        number("float64"),
        array("float32", 2),
        array("float32", 1),
        numba.types.boolean,
    )
    types = (array("float64", 2), *given, array("float32", 3, written=True))
    compiled(_discs, "", lambda: types)(places, radius, width, colours, outline, ring, paper)


def _discs(
    places: Any, radius: float, width: float, colours: Any, outline: Any, ring: bool, paper: Any
) -> None:
    rows, cols = paper.shape[0], paper.shape[1]
    strength = min(width, 1.0)
    half = max(width, 1.0) / 2 if ring else 0.0
    reach = radius + half + 0.5
    # A disc of less than a pixel across covers only some of it.
    solid = min(1.0, math.pi * radius * radius) if radius < 0.5 else 1.0
    for n in range(len(places)):
        x, y, own = places[n, 0], places[n, 1], int(places[n, 2])
        for r in range(max(math.floor(y - reach), 0), min(math.ceil(y + reach), rows)):
            for q in range(max(math.floor(x - reach), 0), min(math.ceil(x + reach), cols)):
                away = math.sqrt((q + 0.5 - x) ** 2 + (r + 0.5 - y) ** 2)
                share = np.float32(min(max(max(radius, 0.5) + 0.5 - away, 0.0), 1.0) * solid)
                if share > 0.0:
                    kept = np.float32(1.0) - share * colours[own, 3]
                    for k in range(4):
                        paper[r, q, 1 + k] = paper[r, q, 1 + k] * kept + share * colours[own, k]
                if ring:
                    share = np.float32(min(max(half + 0.5 - abs(away - radius), 0.0), 1.0) * strength)
                    if share > 0.0:
                        kept = np.float32(1.0) - share * outline[3]
                        for k in range(4):
                            paper[r, q, 1 + k] = paper[r, q, 1 + k] * kept + share * outline[k]
