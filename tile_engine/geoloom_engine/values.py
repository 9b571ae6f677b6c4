"""Values for people: the numbers at a point, and the statistics of an area."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj

from geoloom.block import Array, Block
from geoloom.chain import Chain
from geoloom.errors import DemandError, RequestError
from geoloom.grid import MAX_ZOOM, MERCATOR_EXTENT, Bounds, Grid, Lattice, Tile, Unit
from geoloom_engine.evaluate import run
from geoloom_engine.plan import Planner
from geoloom_engine.projection import out_of_degrees
from geoloom_engine.readers import SourceInfo
from geoloom_engine.unwanted import always

if TYPE_CHECKING:
    from geoloom_engine.functions import FunctionCall

STATISTICS_SIZE = 512
"""Longest side of the grid statistics are computed on, in pixels."""

PERCENTILES = (2, 25, 50, 75, 98)
HISTOGRAM_BINS = 64


def point(
    planner: Planner,
    chain: Chain,
    lon: float,
    lat: float,
    zoom: int | None,
    call: FunctionCall | None = None,
    wanted: Callable[[], bool] = always,
) -> dict[str, Any]:
    """The value of every band at a point, as ``POST /point`` answers it.

    Parameters
    ----------
    lon, lat
        Degrees.
    zoom
        A map zoom, or None for the finest source's own pixels.
    call
        Runs users' functions.
    wanted
        Asked now and then whether to go on.

    Raises
    ------
    RequestError
        If the point or the zoom does not exist.
    """
    grid = place(planner, chain, lon, lat, zoom)
    block, plan = run(planner, chain, grid, call, wanted)
    width, height = grid.ground_resolution()
    return {
        "values": of_pixel(block, plan.profile.names),
        "unit": plan.profile.unit,
        "zoom": zoom,
        "resolution_m": float(max(width[0, 0], height[0, 0])),
        "lon": (lon + 180.0) % 360.0 - 180.0,
        "lat": lat,
    }


def of_pixel(block: Block, names: tuple[str, ...]) -> dict[str, Any]:
    """The value of every band of a block of one pixel, (bands, 1, 1), by name; None where it is invalid."""
    valid = np.broadcast_to(block.valid, block.data.shape)
    return {name: block.data[i, 0, 0].item() if valid[i, 0, 0] else None for i, name in enumerate(names)}


def place(planner: Planner, chain: Chain, lon: float, lat: float, zoom: int | None) -> Grid:
    """The one pixel that holds a point: of a map zoom, or of the finest source; raises RequestError."""
    if not (math.isfinite(lon) and math.isfinite(lat)) or abs(lat) > 90:
        raise RequestError(f"There is no point at longitude {lon}, latitude {lat}.")
    lon = (lon + 180.0) % 360.0 - 180.0
    described = planner.describe(chain)
    if zoom is None and described.sources and not described.selections:
        finest = min(described.sources.values(), key=lambda info: info.ground_resolution)
        return _pixel(native_lattice(finest), *_project(finest.crs, lon, lat))
    finest_zoom = described.zooms[1] if described.resolution is not None else MAX_ZOOM // 2
    level = finest_zoom if zoom is None else Tile(zoom, 0, 0).z
    return _pixel(Lattice.web_mercator(level), *_project("EPSG:3857", lon, lat))


def statistics(
    planner: Planner,
    chain: Chain,
    bbox: tuple[float, float, float, float] | None,
    call: FunctionCall | None = None,
    wanted: Callable[[], bool] = always,
) -> dict[str, Any]:
    """Statistics of every band over a box, or over the sources' extent.

    Computed at the highest map zoom at which the area fits `STATISTICS_SIZE` pixels: a sample,
    as the map shows it, not every pixel of the source.

    Parameters
    ----------
    bbox
        West, south, east, north in degrees; west > east crosses the antimeridian.
    call
        Runs users' functions.
    wanted
        Asked now and then whether to go on.
    """
    described = planner.describe(chain)
    bounds = Bounds(*bbox) if bbox is not None else described.bounds
    if bounds is None:
        raise RequestError("The image covers the whole Earth.", hint="Give a bbox.")
    for zoom in range(described.zooms[1], -1, -1):
        grid = _cover(bounds, zoom)
        if max(grid.shape) <= STATISTICS_SIZE or zoom == 0:
            break
    if zoom < described.zooms[0]:
        raise DemandError(
            f"Statistics of this area would be computed at zoom {zoom}; "
            f"the source can be read from zoom {described.zooms[0]} on.",
            hint="Give a smaller bbox, or make overviews (gdaladdo).",
        )
    block, plan = run(planner, chain, grid, call, wanted)
    valid = np.broadcast_to(block.valid, block.data.shape)
    bands = {name: _summary(block.data[i][valid[i]]) for i, name in enumerate(plan.profile.names)}
    return {"bands": bands, "zoom": zoom, "grid": [grid.rows, grid.cols]}


def native_lattice(info: SourceInfo) -> Lattice:
    """The lattice of a source's own pixels (of its pixel size, where the raster is rotated)."""
    x0, xx, xy, y0, yx, yy = info.transform
    crs = pyproj.CRS.from_user_input(info.crs)
    unit: Unit = "metre"
    scale = 1.0
    if crs.is_geographic:
        unit = "degree"
    elif crs.to_epsg() == 3857:
        unit = "mercator"
    else:
        scale = crs.axis_info[0].unit_conversion_factor
    dx, dy = math.hypot(xx, yx), math.hypot(xy, yy)
    y0 = y0 if yy < 0 else y0 + yy * info.height
    return Lattice(info.crs, dx, dy, x0, y0, unit, scale)


def _project(crs: str, lon: float, lat: float) -> tuple[float, float]:
    x, y = out_of_degrees(crs).transform(lon, lat)
    if not (math.isfinite(x) and math.isfinite(y)):
        raise RequestError(f"Longitude {lon:g}, latitude {lat:g} lies outside the map.")
    return x, y


def _pixel(lattice: Lattice, x: float, y: float) -> Grid:
    return Grid(
        lattice, math.floor((x - lattice.x0) / lattice.dx), math.floor((lattice.y0 - y) / lattice.dy), 1, 1
    )


def _cover(bounds: Bounds, zoom: int) -> Grid:
    """The grid of a map zoom that covers a box in degrees."""
    lattice = Lattice.web_mercator(zoom)
    width = (bounds.east - bounds.west) % 360 or (360.0 if bounds.east != bounds.west else 0.0)
    limit = 85.051
    left, top = _project("EPSG:3857", bounds.west, max(-limit, min(limit, bounds.north)))
    _, bottom = _project("EPSG:3857", bounds.west, max(-limit, min(limit, bounds.south)))
    right = left + width / 180.0 * MERCATOR_EXTENT
    col, row = math.floor((left - lattice.x0) / lattice.dx), math.floor((lattice.y0 - top) / lattice.dy)
    cols = max(1, math.ceil((right - lattice.x0) / lattice.dx) - col)
    rows = max(1, math.ceil((lattice.y0 - bottom) / lattice.dy) - row)
    return Grid(lattice, col, row, cols, rows)


def _summary(values: Array) -> dict[str, Any]:
    if values.size == 0:
        return {"count": 0, "min": None, "max": None, "mean": None, "std": None} | {
            "percentiles": {},
            "histogram": {"edges": [], "counts": []},
        }
    numbers = values.astype(np.float64)
    counts, edges = np.histogram(numbers, bins=HISTOGRAM_BINS)
    return {
        "count": int(values.size),
        "min": float(numbers.min()),
        "max": float(numbers.max()),
        "mean": float(numbers.mean()),
        "std": float(numbers.std()),
        "percentiles": {
            str(p): float(value)
            for p, value in zip(PERCENTILES, np.percentile(numbers, PERCENTILES), strict=True)
        },
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    }
