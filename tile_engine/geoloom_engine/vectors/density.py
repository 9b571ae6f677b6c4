"""Kernel density of points: each is spread over the pixels around it, and adds its weight in all."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from geoloom.block import Array
from geoloom.loops import array, compiled, number
from geoloom_engine.vectors.measures import GROUP
from geoloom_engine.vectors.sheet import Sheet, feature_types
from geoloom_engine.vectors.wkb import POINT


def kernel(radius: float) -> Array:
    """Weights of the pixels along one axis, their sum 1: a cubic B-spline that ends at `radius` pixels."""
    reach = max(math.ceil(radius) - 1, 0)
    t = np.abs(np.arange(-reach, reach + 1)) * 2.0 / max(radius, 1e-9)
    weights = np.where(t < 1, 2 / 3 - t**2 + t**3 / 2, np.clip(2 - t, 0, None) ** 3 / 6)
    found: Array = weights / weights.sum()
    return found


def strew(sheet: Sheet, weight: Array, margin: int, out: Array) -> None:
    """Add the weights of points to pixels, each shared among the four pixels whose centres are round it.

    Lines and polygons count as a point in the middle of their box.

    Parameters
    ----------
    weight
        float64, of each feature; NaN is left out.
    margin
        How many more rows and columns `out` has on each side than the grid.
    """
    rows, cols = out.shape[0] - 2 * margin, out.shape[1] - 2 * margin
    given = (array("float64", 1), number("int64"), array("float64", 2, written=True))
    compiled(_strew, "", lambda: (*feature_types(), *given))(
        *sheet.features(rows, cols),
        weight,
        margin,
        out,
    )


def _strew(
    groups: Any,
    boxes: Any,
    place: Any,
    rows: int,
    cols: int,
    first: Any,
    start: Any,
    kind: Any,
    xy: Any,
    weight: Any,
    margin: int,
    out: Any,
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
            amount = weight[k]
            if np.isnan(amount):
                continue
            points = first[k + 1] - first[k] if first[k + 1] > first[k] and kind[first[k]] == POINT else 1
            for n in range(points):
                x, y = (boxes[k, 0] + boxes[k, 2]) / 2, (boxes[k, 1] + boxes[k, 3]) / 2
                if first[k + 1] > first[k] and kind[first[k] + n] == POINT:
                    x, y = xy[start[first[k] + n], 0], xy[start[first[k] + n], 1]
                # Shares come from the place on the lattice, so that they are the same for each grid.
                x, y = (x - x0) * sx - 0.5, (y0 - y) * sy - 0.5
                q, r = math.floor(x), math.floor(y)
                u, v = x - q, y - r
                i, j = int(r - row) + margin, int(q - col) + margin
                for a in range(2):
                    for b in range(2):
                        if 0 <= i + a < out.shape[0] and 0 <= j + b < out.shape[1]:
                            out[i + a, j + b] += amount * (v if a else 1 - v) * (u if b else 1 - u)


def spread(strewn: Array, weights: Array) -> Array:
    """Convolve along both axes; the result is smaller by the kernel's reach on each side."""
    reach = len(weights) // 2
    types = (array("float64", 2), array("float64", 1), array("float64", 2, written=True))
    loop = compiled(_spread, "", lambda: types)
    rows, cols = strewn.shape
    half = np.zeros((rows - 2 * reach, cols))
    loop(strewn, weights, half)
    out = np.zeros((cols - 2 * reach, rows - 2 * reach))
    loop(np.ascontiguousarray(half.T), weights, out)
    return np.ascontiguousarray(out.T)


def _spread(given: Any, weights: Any, out: Any) -> None:
    for r in range(out.shape[0]):
        for k in range(len(weights)):
            share = weights[k]
            for q in range(out.shape[1]):
                out[r, q] += share * given[r + k, q]
