"""An area that footprints are to meet, decided for many of them at once.

Most are decided by their boxes: outside the area's box, or inside a part of the area. For an area with a
curved outline a grid of cells says what is inside and what is touched. Of the rest a point in the footprint
may lie in the area. Only what is then left is decoded.
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
Mask = npt.NDArray[np.bool_]

COARSE = 24
CELLS = 96
"""Cells of the grids along a side; the fine ones are made where the outline is."""

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

    def meeting(
        self,
        rows: Rows,
        boxes: Sequence[Numbers],
        points: Sequence[Numbers],
        footprints: Callable[[Rows], Any],
    ) -> Rows:
        """Of some rows, those whose footprints meet the area.

        Parameters
        ----------
        points
            x and y of a point in each footprint.
        footprints
            Gives the WKB of rows.
        """
        corners = [column[rows].astype(np.float64) for column in boxes]
        inside, outside = self._decided(corners)
        unsure = np.flatnonzero(~(inside | outside))
        if len(unsure) and self._shape.area > 0:
            x, y = (column[rows[unsure]] for column in points)
            inside[unsure] = shapely.contains_xy(self._shape, x, y)
            unsure = unsure[~inside[unsure]]
        if len(unsure):
            shapes = shapely.from_wkb(footprints(rows[unsure]))
            inside[unsure] = shapely.intersects(self._shape, shapes)
        return rows[inside]

    def _decided(self, corners: Sequence[Numbers]) -> tuple[Mask, Mask]:
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

    def _by_cells(self, corners: Sequence[Numbers]) -> tuple[Mask, Mask]:
        covered, touched = self._cells()
        # Both are counted at once: touched cells in the upper half of each number.
        sums = np.zeros((CELLS + 1, CELLS + 1), np.int64)
        sums[1:, 1:] = np.cumsum(np.cumsum(covered + (touched.astype(np.int64) << 32), axis=0), axis=1)
        left, bottom, right, top = self._bounds
        west, south, east, north = corners
        # A little more on each side: what lies at the edge of a cell belongs to both.
        (x0, y0), (x1, y1) = (
            [
                np.clip((side - start) / (end - start) * CELLS + slack, 0, CELLS - 1).astype(np.int32)
                for side, start, end in ((x, left, right), (y, bottom, top))
            ]
            for x, y, slack in ((west, south, -1e-6), (east, north, 1e-6))
        )
        found = sums[y1 + 1, x1 + 1] - sums[y0, x1 + 1] - sums[y1 + 1, x0] + sums[y0, x0]
        within = (west >= left) & (east <= right) & (south >= bottom) & (north <= top)
        inside = within & ((found & 0xFFFFFFFF) == (x1 - x0 + 1) * (y1 - y0 + 1))
        return inside, found >> 32 == 0

    def _cells(self) -> tuple[Mask, Mask]:
        """Which cells (row, column) of the area's box it covers, and which it touches."""
        covered, touched = self._tested(np.indices((COARSE, COARSE)).reshape(2, -1), COARSE)
        each = CELLS // COARSE
        covered, touched = (
            cells.reshape(COARSE, COARSE).repeat(each, 0).repeat(each, 1) for cells in (covered, touched)
        )
        rows, cols = np.nonzero(touched & ~covered)
        covered[rows, cols], touched[rows, cols] = self._tested((rows, cols), CELLS)
        return covered, touched

    def _tested(self, cells: Any, count: int) -> tuple[Mask, Mask]:
        left, bottom, right, top = self._bounds
        width, height = (right - left) / count, (top - bottom) / count
        rows, cols = cells
        x, y = left + width * cols, bottom + height * rows
        shapes = shapely.box(x, y, x + width, y + height)
        return shapely.covers(self._shape, shapes), shapely.intersects(self._shape, shapes)
