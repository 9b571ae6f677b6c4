"""Where a Web Mercator map looks: bounds, centre and zoom. Pure maths."""

from __future__ import annotations

import math
from collections.abc import Sequence

from geoloom.grid import TILE_SIZE

BBox = tuple[float, float, float, float]
"""(west, south, east, north) in degrees; west > east crosses the antimeridian."""

CLOSEST = 18
"""Closest zoom that fitting a place of no size gives."""

EDGE = 85.0511
"""Latitude of the map's edge."""


def fitting(bbox: BBox, size: tuple[float, float]) -> tuple[tuple[float, float], int]:
    """Centre (lat, lon) and the closest whole zoom at which all of `bbox` fits into `size`.

    `size` is (width, height) in pixels.
    """
    west, south, east, north = bbox
    if east < west:
        east += 360.0
    top, bottom = _y(north), _y(south)
    width, height = max((east - west) / 360.0, 1e-12), max(bottom - top, 1e-12)
    zoom = math.floor(math.log2(min(size[0] / width, size[1] / height) / TILE_SIZE))
    lon = (west + east) / 2
    return (_latitude((top + bottom) / 2), (lon + 180.0) % 360.0 - 180.0), min(max(zoom, 0), CLOSEST)


def bbox_around(center: Sequence[float], zoom: float, size: tuple[float, float]) -> BBox:
    """What a window of `size` (width, height) pixels shows around (lat, lon)."""
    lat, lon = center
    world = TILE_SIZE * 2.0**zoom
    half_width, half_height = size[0] / world / 2, size[1] / world / 2
    y = _y(lat)
    return bbox_of(
        lon - 360.0 * half_width,
        _latitude(min(y + half_height, 1.0)),
        lon + 360.0 * half_width,
        _latitude(max(y - half_height, 0.0)),
    )


def bbox_of(west: float, south: float, east: float, north: float) -> BBox:
    """Edges as a browser gives them, which may count on beyond ±180°, as a bbox."""
    if east - west >= 360.0:
        return -180.0, south, 180.0, north
    return (west + 180.0) % 360.0 - 180.0, south, (east + 180.0) % 360.0 - 180.0, north


def _y(lat: float) -> float:
    """0 at the map's northern edge, 1 at its southern."""
    s = math.sin(math.radians(min(max(lat, -EDGE), EDGE)))
    return 0.5 - math.log((1 + s) / (1 - s)) / (4 * math.pi)


def _latitude(y: float) -> float:
    return math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * y))))
