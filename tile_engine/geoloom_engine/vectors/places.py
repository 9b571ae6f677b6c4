"""Where vertices lie on the map: from any coordinate system to Web Mercator metres.

Edges stay straight between the vertices, on the map as in the file. What crosses the antimeridian in a
projected system goes on beyond ±180°, where it is drawn on both sides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyproj

from geoloom.block import Array
from geoloom.errors import SourceNotGeoreferenced
from geoloom.grid import EARTH_RADIUS, MERCATOR_EXTENT
from geoloom.loops import array, compiled
from geoloom_engine.projection import out_of_degrees
from geoloom_engine.vectors.wkb import RING, Paths

NORTHERNMOST = 89.5
"""Degrees of latitude at which what lies further from the equator is put: far outside the map."""

Projection = Callable[[Paths], Paths]


def projection(crs: str, name: str) -> Projection:
    """What puts paths in a coordinate system onto the map; it changes their vertices in place.

    Parameters
    ----------
    crs
        WKT or authority code.
    name
        Of file and layer, for messages.

    Raises
    ------
    SourceNotGeoreferenced
        If PROJ does not know the system.
    """
    try:
        system = pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError:
        raise SourceNotGeoreferenced(
            f"{name} has a coordinate system that PROJ does not know.", hint="Assign one, such as EPSG:4326."
        ) from None
    if system.to_epsg() == 3857:
        return _nothing
    if system.to_epsg() in (4326, 4979) or system.to_authority() == ("OGC", "CRS84"):
        return _from_degrees
    try:
        to_degrees = pyproj.Transformer.from_crs(system, "EPSG:4326", always_xy=True)
    except pyproj.exceptions.ProjError:
        raise SourceNotGeoreferenced(
            f"{name} has a coordinate system that is not tied to the Earth: {system.name}.",
            hint="Assign the one it is in, such as EPSG:3857.",
        ) from None
    continuous = not system.is_geographic

    def project(paths: Paths) -> Paths:
        if len(paths.xy):
            lon, lat = to_degrees.transform(paths.xy[:, 0], paths.xy[:, 1])
            paths.xy[:, 0], paths.xy[:, 1] = lon, lat
        if continuous:
            compiled(_unwrap, "", _unwrap_types)(paths.start, paths.xy)
            paths = _round_poles(paths)
        return _from_degrees(paths)

    return project


def _nothing(paths: Paths) -> Paths:
    """Web Mercator is what is wanted."""
    return paths


def _from_degrees(paths: Paths) -> Paths:
    compiled(_mercator, "", lambda: (array("float64", 2, written=True),))(paths.xy)
    return paths


def _round_poles(paths: Paths) -> Paths:
    """Rings round a pole, which end a whole turn from where they began, closed along the map's edge."""
    rings = np.flatnonzero((paths.kind >= RING) & (np.diff(paths.start) > 0))
    ends = paths.start[rings + 1]
    turned = np.abs(paths.xy[ends - 1, 0] - paths.xy[paths.start[rings], 0]) > 180.0
    if not turned.any():
        return paths
    rings, ends = rings[turned], ends[turned]
    begins = paths.start[rings]
    pole = np.where(paths.xy[begins, 1] < 0, -90.0, 90.0)
    corners = np.empty((2 * len(rings), 2))
    corners[::2, 0], corners[1::2, 0] = paths.xy[ends - 1, 0], paths.xy[begins, 0]
    corners[:, 1] = np.repeat(pole, 2)
    more = np.zeros(len(paths.start), np.int64)
    more[rings + 1] = 2
    xy = np.insert(paths.xy, np.repeat(ends, 2), corners, axis=0)
    return replace(paths, start=paths.start + np.cumsum(more), xy=xy)


def _mercator(xy: Any) -> None:
    for k in range(len(xy)):
        lat = min(max(xy[k, 1], -NORTHERNMOST), NORTHERNMOST)
        # NaN and infinity must stay what they are: these vertices are left out later.
        if not np.isfinite(xy[k, 1]):
            lat = np.nan
        xy[k, 0] = xy[k, 0] / 180.0 * MERCATOR_EXTENT
        xy[k, 1] = EARTH_RADIUS * np.arcsinh(np.tan(np.radians(lat)))


def _unwrap_types() -> tuple[Any, ...]:
    return array("int64", 1), array("float64", 2, written=True)


def _unwrap(start: Any, xy: Any) -> None:
    """Take out the jumps of 360° within each path."""
    for path in range(len(start) - 1):
        turns = 0.0
        for k in range(start[path] + 1, start[path + 1]):
            step = xy[k, 0] + turns - xy[k - 1, 0]
            if step > 180.0:
                turns -= 360.0
            elif step < -180.0:
                turns += 360.0
            xy[k, 0] += turns


def to_degrees(x: Array, y: Array) -> tuple[Array, Array]:
    """Longitude (may lie beyond ±180) and latitude of places on the map."""
    return x / MERCATOR_EXTENT * 180.0, np.degrees(np.arctan(np.sinh(y / EARTH_RADIUS)))


def on_sheet(crs: str, xy: Array) -> Array:
    """Places on the map, (n, 2), in the coordinate system of a lattice."""
    if crs == "EPSG:3857" or not len(xy):
        return xy
    lon, lat = to_degrees(xy[:, 0], xy[:, 1])
    x, y = out_of_degrees(crs).transform(lon, lat)
    return np.stack([x, y], axis=1)


def from_degrees(lon: Array, lat: Array) -> tuple[Array, Array]:
    """Places on the map of longitudes and latitudes in degrees."""
    lat = np.clip(lat, -NORTHERNMOST, NORTHERNMOST)
    return lon / 180.0 * MERCATOR_EXTENT, EARTH_RADIUS * np.arcsinh(np.tan(np.radians(lat)))
