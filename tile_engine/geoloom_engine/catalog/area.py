"""An area that footprints are to meet, decided for many of them at once.

Most are decided by their boxes: outside the area's box, or inside a part of the area. For an area with a
curved outline a grid of cells says what is inside and what is touched. Only the rest are decoded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from geoloom.errors import RequestError

Rows = npt.NDArray[np.int64]
Numbers = npt.NDArray[Any]

CELLS = 64
MANY = 1000
"""Candidates above which a grid pays."""


class Area:
    """A place of a query.

    Parameters
    ----------
    geometry
        GeoJSON in degrees.

    Raises
    ------
    RequestError
        It is no geometry.
    """

    def __init__(self, geometry: Mapping[str, Any]) -> None:
        try:
            shape = shapely.from_geojson(json.dumps(geometry))
        except shapely.errors.GEOSException:
            shape = None
        if shape is None or shape.is_empty:
            raise RequestError("An area of the query is no GeoJSON geometry, or empty.")
        self._shape = shape if shape.is_valid else shapely.make_valid(shape, method="structure")
        self._bounds = self._shape.bounds
        shapely.prepare(self._shape)

    def near(self, rows: Rows | slice, boxes: Sequence[Numbers]) -> Rows:
        """Of some rows, those whose boxes (west, south, east, north) meet the area's."""
        west, south, east, north = (column[rows] for column in boxes)
        left, bottom, right, top = (np.float32(side) for side in self._bounds)
        found = (west <= np.nextafter(right, np.float32(np.inf))) & (
            east >= np.nextafter(left, np.float32(-np.inf))
        )
        found &= (south <= np.nextafter(top, np.float32(np.inf))) & (
            north >= np.nextafter(bottom, np.float32(-np.inf))
        )
        near: Rows = np.flatnonzero(found) + rows.start if isinstance(rows, slice) else rows[found]
        return near

    def meeting(self, rows: Rows, boxes: Sequence[Numbers], footprints: Callable[[Rows], Any]) -> Rows:
        """Of some rows, those whose footprints meet the area.

        Parameters
        ----------
        footprints
            Gives the WKB of rows.
        """
        corners = [column[rows].astype(np.float64) for column in boxes]
        inside, outside = self._decided(corners)
        unsure = np.flatnonzero(~(inside | outside))
        if len(unsure):
            shapes = shapely.from_wkb(footprints(rows[unsure]))
            inside[unsure] = shapely.intersects(self._shape, shapes)
        return rows[inside]

    def _decided(self, corners: Sequence[Numbers]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Which boxes lie inside the area for certain, and which outside."""
        west, south, east, north = corners
        inside, outside = np.zeros(len(west), bool), np.zeros(len(west), bool)
        curved = False
        for part in shapely.get_parts(self._shape):
            left, bottom, right, top = part.bounds
            if shapely.box(left, bottom, right, top).equals(part):
                inside |= (west >= left) & (east <= right) & (south >= bottom) & (north <= top)
            else:
                curved |= part.area > 0
        if curved and len(west) - int(inside.sum()) > MANY:
            more, outside = self._by_cells(corners)
            inside |= more
            outside &= ~inside
        return inside, outside

    def _by_cells(self, corners: Sequence[Numbers]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        left, bottom, right, top = self._bounds
        width, height = (right - left) / CELLS, (top - bottom) / CELLS
        x, y = left + width * np.arange(CELLS), bottom + height * np.arange(CELLS)
        cells = shapely.box(x, y[:, None], x + width, y[:, None] + height)
        covered = _sums(shapely.covers(self._shape, cells))
        touched = _sums(shapely.intersects(self._shape, cells))
        west, south, east, north = corners
        # A cell more on each side: what lies at an edge belongs to both cells.
        first = [
            np.clip(np.floor((a - b) / c - 1e-6), 0, CELLS - 1).astype(int)
            for a, b, c in ((west, left, width), (south, bottom, height))
        ]
        last = [
            np.clip(np.floor((a - b) / c + 1e-6), 0, CELLS - 1).astype(int)
            for a, b, c in ((east, left, width), (north, bottom, height))
        ]
        count = (last[0] - first[0] + 1) * (last[1] - first[1] + 1)
        within = (west >= left) & (east <= right) & (south >= bottom) & (north <= top)
        inside = within & (_within(covered, first, last) == count)
        outside = _within(touched, first, last) == 0
        return inside, outside


def _sums(cells: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """How many are true above and left of each corner."""
    sums = np.zeros((CELLS + 1, CELLS + 1), np.int64)
    sums[1:, 1:] = np.cumsum(np.cumsum(cells, axis=0), axis=1)
    return sums


def _within(sums: Numbers, first: Sequence[Numbers], last: Sequence[Numbers]) -> Numbers:
    (left, bottom), (right, top) = first, last
    found: Numbers = (
        sums[top + 1, right + 1] - sums[bottom, right + 1] - sums[top + 1, left] + sums[bottom, left]
    )
    return found
