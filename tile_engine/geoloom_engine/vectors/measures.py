"""Compiled loops over all features of a layer: boxes and areas, their order in space, coarser vertices."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from geoloom.block import Array
from geoloom.grid import MERCATOR_EXTENT
from geoloom.loops import array, compiled, number
from geoloom_engine.vectors.wkb import LINE, POINT, RING, TURNED_RING, Paths

SPECK = 4
"""Kind of a ring too small to keep: two vertices, its middle and (signed area, 0)."""

GROUP = 64
"""Features that share a box of the index."""

SMALL = 2.0
"""Pixels below which a polygon is drawn by its box and area alone."""

UNPLACED = 1 << 3
"""State of a feature that has a vertex where the map has no place for it."""

_FURTHEST = 16 * MERCATOR_EXTENT


def measure(paths: Paths) -> tuple[Array, Array]:
    """Boxes (features, 4) as west, south, east, north and areas (features,), in Web Mercator metres.

    What is left open in `Paths` is settled in place: the turn of rings, and the state of features
    without a place. A feature without vertices, or in no state to be drawn, has a box of NaN.
    """
    boxes, areas = np.empty((len(paths.first) - 1, 4)), np.empty(len(paths.first) - 1, np.float64)
    compiled(_measure, "", _measure_types)(
        paths.first, paths.start, paths.kind, paths.xy, paths.state, boxes, areas
    )
    return boxes, areas


def _measure_types() -> tuple[Any, ...]:
    geometry = (array("int64", 1), array("int64", 1), array("uint8", 1, written=True), array("float64", 2))
    outs = (
        array("uint8", 1, written=True),
        array("float64", 2, written=True),
        array("float64", 1, written=True),
    )
    return (*geometry, *outs)


def _measure(first: Any, start: Any, kind: Any, xy: Any, state: Any, boxes: Any, areas: Any) -> None:
    for feature in range(len(first) - 1):
        west, south, east, north, area = np.inf, np.inf, -np.inf, -np.inf, 0.0
        placed = True
        for path in range(first[feature], first[feature + 1]):
            a, b = start[path], start[path + 1]
            for k in range(a, b):
                x, y = xy[k, 0], xy[k, 1]
                if not (abs(x) <= _FURTHEST and abs(y) <= _FURTHEST):
                    placed = False
                west, east = min(west, x), max(east, x)
                south, north = min(south, y), max(north, y)
            if kind[path] >= RING:
                own = 0.0
                for k in range(a, b):
                    after = k + 1 if k + 1 < b else a
                    own += (xy[k, 0] - xy[a, 0]) * (xy[after, 1] - xy[a, 1])
                    own -= (xy[after, 0] - xy[a, 0]) * (xy[k, 1] - xy[a, 1])
                hole = kind[path] >= 8
                kind[path] = TURNED_RING if (own < 0.0) != hole else RING
                area += -abs(own) / 2 if hole else abs(own) / 2
        if not placed:
            state[feature] |= UNPLACED
        if not placed or first[feature] == first[feature + 1]:
            west = south = east = north = np.nan
        boxes[feature, 0], boxes[feature, 1], boxes[feature, 2], boxes[feature, 3] = west, south, east, north
        areas[feature] = max(area, 0.0)


def spatial_order(boxes: Array) -> Array:
    """Positions of the features that have a place, those near each other side by side (Hilbert curve)."""
    placed = np.flatnonzero(~np.isnan(boxes[:, 0]))
    if not len(placed):
        return placed
    x, y = boxes[placed, 0] + boxes[placed, 2], boxes[placed, 1] + boxes[placed, 3]
    corner = np.array([x.min(), y.min()])
    side = max(float(np.ptp(x)), float(np.ptp(y)), 1e-9)
    keys = np.empty(len(placed), np.uint32)
    types = (array("float64", 1), array("float64", 1), array("float64", 1), number("float64"))
    loop = compiled(_hilbert, "", lambda: (*types, array("uint32", 1, written=True)))
    loop(x, y, corner, side, keys)
    found: Array = placed[np.argsort(keys, kind="stable")]
    return found


def _hilbert(x: Any, y: Any, corner: Any, side: float, keys: Any) -> None:
    """Distance along the Hilbert curve of 2¹⁶ × 2¹⁶ cells."""
    for k in range(len(x)):
        a = np.int64((x[k] - corner[0]) / side * 65535.0)
        b = np.int64((y[k] - corner[1]) / side * 65535.0)
        found = np.int64(0)
        s = np.int64(32768)
        while s > 0:
            ra = np.int64(1) if a & s else np.int64(0)
            rb = np.int64(1) if b & s else np.int64(0)
            found += s * s * ((3 * ra) ^ rb)
            if rb == 0:
                if ra == 1:
                    a, b = 65535 - a, 65535 - b
                a, b = b, a
            s >>= 1
        keys[k] = np.uint32(found)


def group_boxes(boxes: Array) -> Array:
    """The boxes round each `GROUP` features that follow each other."""
    starts = np.arange(0, len(boxes), GROUP)
    if not len(starts):
        return np.empty((0, 4))
    low = np.minimum.reduceat(boxes[:, :2], starts)
    return np.hstack([low, np.maximum.reduceat(boxes[:, 2:], starts)])


def gather(first: Array, start: Array, kind: Array, xy: Array, order: Array, out: Any) -> None:
    """Write features in another order into `out`: arrays first, start, kind and xy."""
    compiled(_gather, "", _gather_types)(first, start, kind, xy, order, *out)


def _gather_types() -> tuple[Any, ...]:
    outs = (array("int64", 1, written=True), array("int64", 1, written=True))
    return (*vertex_types(), array("int64", 1), *outs, *_written())


def vertex_types() -> tuple[Any, ...]:
    """Types of a level's (first, start, kind, xy)."""
    return array("int64", 1), array("int64", 1), array("uint8", 1), array("float64", 2)


def _written() -> tuple[Any, ...]:
    return array("uint8", 1, written=True), array("float64", 2, written=True)


def _gather(
    first: Any, start: Any, kind: Any, xy: Any, order: Any, first2: Any, start2: Any, kind2: Any, xy2: Any
) -> None:
    paths, vertices = 0, 0
    first2[0] = 0
    start2[0] = 0
    for k in range(len(order)):
        for path in range(first[order[k]], first[order[k] + 1]):
            for v in range(start[path], start[path + 1]):
                xy2[vertices, 0], xy2[vertices, 1] = xy[v, 0], xy[v, 1]
                vertices += 1
            kind2[paths] = kind[path]
            paths += 1
            start2[paths] = vertices
        first2[k + 1] = paths


def coarser(base: Any, boxes: Array, pixel: float) -> tuple[int, int, Any]:
    """Vertices put on a grid of quarter pixels, those that fall together dropped.

    Neighbours that share a border still share it, because a vertex moves by its own place alone.

    Parameters
    ----------
    base
        Arrays first, start, kind and xy of all features.
    pixel
        Size of a pixel in metres. Polygons of less than `SMALL` pixels are left out.

    Returns
    -------
    tuple
        How many paths and vertices there will be, and what writes them into arrays (first, start, kind, xy).
    """
    loop = compiled(_coarser, "", _coarser_types)
    counts = np.zeros(2, np.int64)
    step = pixel / 4
    nothing = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint8), np.empty((0, 2)))
    loop(*base, boxes, SMALL * pixel, step, False, *nothing, counts)

    def write(out: Any) -> None:
        loop(*base, boxes, SMALL * pixel, step, True, *out, counts)

    return int(counts[0]), int(counts[1]), write


def _coarser_types() -> tuple[Any, ...]:
    outs = (array("int64", 1, written=True), array("int64", 1, written=True))
    numbers = (number("float64"), number("float64"), numba.types.boolean)
    counts = array("int64", 1, written=True)
    return (*vertex_types(), array("float64", 2), *numbers, *outs, *_written(), counts)


def _coarser(
    first: Any,
    start: Any,
    kind: Any,
    xy: Any,
    boxes: Any,
    small: float,
    step: float,
    writing: bool,
    first2: Any,
    start2: Any,
    kind2: Any,
    xy2: Any,
    counts: Any,
) -> None:
    paths, vertices = 0, 0
    if writing:
        first2[0] = 0
        start2[0] = 0
    for feature in range(len(first) - 1):
        size = max(boxes[feature, 2] - boxes[feature, 0], boxes[feature, 3] - boxes[feature, 1])
        last = first[feature + 1]
        if size < small and first[feature] < last and kind[first[feature]] >= RING:
            last = first[feature]
        for path in range(first[feature], last):
            a, b = start[path], start[path + 1]
            made, n = kind[path], 0
            if made in (POINT, SPECK):
                if writing:
                    for k in range(a, b):
                        xy2[vertices + k - a, 0], xy2[vertices + k - a, 1] = xy[k, 0], xy[k, 1]
                    kind2[paths] = made
                    start2[paths + 1] = vertices + b - a
                vertices += b - a
                paths += 1
                continue
            x0, y0, area = np.nan, np.nan, 0.0
            for k in range(a, b):
                x, y = np.rint(xy[k, 0] / step) * step, np.rint(xy[k, 1] / step) * step
                if made >= RING:
                    after = k + 1 if k + 1 < b else a
                    area += (xy[k, 0] - xy[a, 0]) * (xy[after, 1] - xy[a, 1])
                    area -= (xy[after, 0] - xy[a, 0]) * (xy[k, 1] - xy[a, 1])
                if x != x0 or y != y0:
                    if writing:
                        xy2[vertices + n, 0], xy2[vertices + n, 1] = x, y
                    n += 1
                    x0, y0 = x, y
            if (made in (RING, TURNED_RING)) and n < 4:
                if writing:
                    n = 0
                    x, y = 0.0, 0.0
                    for k in range(a, b):
                        x += xy[k, 0]
                        y += xy[k, 1]
                    xy2[vertices, 0], xy2[vertices, 1] = x / (b - a), y / (b - a)
                    xy2[vertices + 1, 0] = area / 2 if made == RING else -area / 2
                    xy2[vertices + 1, 1] = 0.0
                made, n = SPECK, 2
            elif made == LINE and n < 2:
                if writing:
                    xy2[vertices + 1, 0], xy2[vertices + 1, 1] = x0, y0
                n = 2
            vertices += n
            if writing:
                kind2[paths] = made
                start2[paths + 1] = vertices
            paths += 1
        if writing:
            first2[feature + 1] = paths
    counts[0], counts[1] = paths, vertices
