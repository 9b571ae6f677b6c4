"""Where a source lies on Earth: bounds in degrees and the size of its pixels on the ground."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyproj

from geoloom.grid import Bounds
from geoloom_engine.readers.source import Transform

_EDGE = 65
_DEGREES = "OGC:CRS84"
Floats = npt.NDArray[np.float64]


def place(transform: Transform, width: int, height: int, crs: str) -> tuple[Bounds, float] | None:
    """Bounds in degrees and ground resolution in metres; None if the CRS does not reach degrees."""
    to_degrees = into_crs84(crs)
    bounds = _bounds(transform, width, height, crs, to_degrees)
    if bounds is None:
        return None
    return bounds, _ground_resolution(transform, width, height, to_degrees, bounds)


@lru_cache(maxsize=256)
def into_crs84(crs: str) -> pyproj.Transformer:
    """Made in 6 ms, which is half of what opening a file takes; good for all threads."""
    return pyproj.Transformer.from_crs(crs, _DEGREES, always_xy=True)


def apply(transform: Transform, cols: Floats, rows: Floats) -> tuple[Floats, Floats]:
    """CRS coordinates of pixel positions."""
    x0, a, b, y0, d, e = transform
    return x0 + a * cols + b * rows, y0 + d * cols + e * rows


def _bounds(
    transform: Transform, width: int, height: int, crs: str, to_degrees: pyproj.Transformer
) -> Bounds | None:
    """Bounds from the densified outline; from a sample of the inside where the outline has no place."""
    t = np.linspace(0.0, 1.0, _EDGE)
    zero, one = np.zeros(_EDGE), np.ones(_EDGE)
    cols = np.concatenate([t, one, t[::-1], zero]) * width
    rows = np.concatenate([zero, t, one, t[::-1]]) * height
    if pyproj.CRS(crs).is_geographic:
        return _geographic_bounds(transform, cols, rows, to_degrees)
    lon, lat = to_degrees.transform(*apply(transform, cols, rows))
    outline = bool(np.isfinite(lon).all() and np.isfinite(lat).all())
    if not outline:
        grid_cols, grid_rows = np.meshgrid(np.linspace(0, width, _EDGE), np.linspace(0, height, _EDGE))
        lon, lat = to_degrees.transform(*apply(transform, grid_cols.ravel(), grid_rows.ravel()))
        finite = np.isfinite(lon) & np.isfinite(lat)
        lon, lat = lon[finite], lat[finite]
        if lon.size == 0:
            return None
    south, north = float(lat.min()), float(lat.max())
    poles = _poles_inside(transform, width, height, to_degrees)
    if poles:
        south = -90.0 if -90.0 in poles else south
        north = 90.0 if 90.0 in poles else north
        return Bounds(-180.0, south, 180.0, north)
    west, east = _span(np.unwrap(lon, period=360.0)) if outline else _widest_gap(lon)
    return Bounds(west, south, east, north)


def _geographic_bounds(
    transform: Transform, cols: Floats, rows: Floats, to_degrees: pyproj.Transformer
) -> Bounds | None:
    """Bounds of a raster in degrees, whatever turn of the globe its longitudes are on."""
    x, y = apply(transform, cols, rows)
    lon, lat = to_degrees.transform(x, np.clip(y, -90.0, 90.0))
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return None
    # PROJ folds longitudes into ±180; the file's own say how they go on.
    lon = lon + 360.0 * np.round((x - lon) / 360.0)
    west, east = _span(lon)
    return Bounds(west, float(lat.min()), east, float(lat.max()))


def _span(lon: Floats) -> tuple[float, float]:
    """West and east within ±180 of continuous longitudes."""
    low, high = float(lon.min()), float(lon.max())
    if high - low >= 360.0 - 1e-9:
        return -180.0, 180.0
    shift = -360.0 * math.floor((low + 180.0) / 360.0)
    low, high = low + shift, high + shift
    if low >= 180.0 - 1e-12:
        low, high = low - 360.0, high - 360.0
    return low, high if high <= 180.0 + 1e-12 else high - 360.0


def _widest_gap(lon: Floats) -> tuple[float, float]:
    """West and east round scattered longitudes: what is left of the globe without their widest gap."""
    lon = np.sort(np.mod(lon + 180.0, 360.0) - 180.0)
    gaps = np.diff(lon, append=lon[0] + 360.0)
    widest = int(gaps.argmax())
    if gaps[widest] < 30.0:
        return -180.0, 180.0
    return float(lon[(widest + 1) % lon.size]), float(lon[widest])


def _poles_inside(
    transform: Transform, width: int, height: int, to_degrees: pyproj.Transformer
) -> set[float]:
    """Latitudes of the poles that lie inside the raster."""
    inside = set()
    inverse = invert(transform)
    for lat in (-90.0, 90.0):
        x, y = to_degrees.transform(0.0, lat, direction="INVERSE")
        if math.isfinite(x) and math.isfinite(y):
            col, row = apply(inverse, np.array(x), np.array(y))
            if 0.0 <= col <= width and 0.0 <= row <= height:
                inside.add(lat)
    return inside


def invert(transform: Transform) -> Transform:
    """The transform from CRS coordinates to pixel positions.

    Raises
    ------
    ValueError
        If the transform folds the plane onto a line.
    """
    x0, a, b, y0, d, e = transform
    det = a * e - b * d
    if not math.isfinite(det) or det == 0.0 or not math.isfinite(x0 + y0):
        raise ValueError("the transform cannot be inverted")
    ia, ib, id_, ie = e / det, -b / det, -d / det, a / det
    return -(ia * x0 + ib * y0), ia, ib, -(id_ * x0 + ie * y0), id_, ie


def _ground_resolution(
    transform: Transform, width: int, height: int, to_degrees: pyproj.Transformer, bounds: Bounds
) -> float:
    """Side of a square with the area of the pixel at the centre, in metres on the ellipsoid."""
    geod = pyproj.Geod(ellps="WGS84")
    cols = width / 2 + np.array([-0.5, 0.5, 0.5, -0.5])
    rows = height / 2 + np.array([-0.5, -0.5, 0.5, 0.5])
    lon, lat = to_degrees.transform(*apply(transform, cols, rows))
    if np.isfinite(lon).all() and np.isfinite(lat).all():
        _, _, side_x = geod.inv(lon[0], lat[0], lon[1], lat[1])
        _, _, side_y = geod.inv(lon[0], lat[0], lon[3], lat[3])
        if side_x > 0 and side_y > 0:
            return math.sqrt(side_x * side_y)
    degree = 111_320.0
    span = sum(part.east - part.west for part in bounds.parts())
    return math.sqrt(span / width * (bounds.north - bounds.south) / height) * degree
