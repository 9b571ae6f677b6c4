"""The outline of a grid on the Earth, in degrees: for asking which footprints meet it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from geoloom.grid import MERCATOR_EXTENT, Grid, mercator_latitude
from geoloom_engine.projection import into_degrees

Floats = npt.NDArray[np.float64]

EDGE = 33
"""Points along a side of a grid that is no rectangle in degrees."""

SLACK = 0.002
"""Degrees by which the outline is larger, some 200 m: footprints have straight sides, rasters bent ones."""


def outline(grid: Grid) -> Any:
    """The area of a grid, and a little more, as a shapely geometry within ±180 degrees."""
    lattice = grid.lattice
    if lattice.unit == "metre":
        return _projected(grid)
    west = lattice.x0 + grid.col * lattice.dx
    east = west + grid.cols * lattice.dx
    north = lattice.y0 - grid.row * lattice.dy
    south = north - grid.rows * lattice.dy
    if lattice.unit == "mercator":
        west, east = (x / MERCATOR_EXTENT * 180.0 for x in (west, east))
        south, north = mercator_latitude(south), mercator_latitude(north)
    return within(west - SLACK, south - SLACK, east + SLACK, north + SLACK)


def centres(grid: Grid) -> tuple[Floats, Floats]:
    """Longitude and latitude of the pixels' centres in degrees within ±180, (rows, cols) each."""
    lattice = grid.lattice
    x = lattice.x0 + (grid.col + np.arange(grid.cols) + 0.5) * lattice.dx
    if lattice.unit == "metre":
        y = lattice.y0 - (grid.row + np.arange(grid.rows) + 0.5) * lattice.dy
        lon, lat = into_degrees(lattice.crs).transform(*np.meshgrid(x, y))
        return np.asarray(lon), np.asarray(lat)
    if lattice.unit == "mercator":
        x = x / MERCATOR_EXTENT * 180.0
    lon, lat = np.meshgrid((x + 180.0) % 360.0 - 180.0, grid.latitudes())
    return lon, lat


def within(west: float, south: float, east: float, north: float) -> Any:
    """A rectangle in degrees whose longitudes may lie on any turn of the globe, folded into ±180."""
    if east - west >= 360.0:
        return shapely.box(-180.0, south, 180.0, north)
    turn = 360.0 * math.floor((west + 180.0) / 360.0)
    west, east = west - turn, east - turn
    if east <= 180.0:
        return shapely.box(west, south, east, north)
    return shapely.union_all(
        [shapely.box(west, south, 180.0, north), shapely.box(-180.0, south, east - 360.0, north)]
    )


def _projected(grid: Grid) -> Any:
    """The box round the outline of a grid of a projected lattice."""
    lattice = grid.lattice
    t = np.linspace(0.0, 1.0, EDGE)
    cols = np.concatenate([t, np.ones(EDGE), t, np.zeros(EDGE)]) * grid.cols + grid.col
    rows = np.concatenate([np.zeros(EDGE), t, np.ones(EDGE), t]) * grid.rows + grid.row
    x, y = lattice.x0 + cols * lattice.dx, lattice.y0 - rows * lattice.dy
    lon, lat = into_degrees(lattice.crs).transform(x, y)
    finite = np.isfinite(lon) & np.isfinite(lat)
    if not finite.all():
        return shapely.box(-180.0, -90.0, 180.0, 90.0)
    sides = lon.reshape(4, EDGE)
    # Each side goes on where the one before ends, also across the antimeridian.
    around = np.unwrap(np.concatenate([sides[0], sides[1], sides[2][::-1], sides[3][::-1]]), period=360.0)
    south, north = float(lat.min()), float(lat.max())
    if abs(around[-1] - around[0]) > 180.0:  # round a pole
        return shapely.box(-180.0, south if south > 0 else -90.0, 180.0, north if north < 0 else 90.0)
    return within(float(around.min()) - SLACK, south - SLACK, float(around.max()) + SLACK, north + SLACK)
