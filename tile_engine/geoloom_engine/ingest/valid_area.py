"""Where a file has valid data: a coarse picture of its validity, and the outline of that in degrees.

The outline holds every valid pixel that the picture saw: it is simplified outwards only, and where its
sides are bent in degrees it is widened by what their straight pieces cut off.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import shapely

from geoloom.block import Mask
from geoloom_engine.readers.footprint import apply, into_crs84
from geoloom_engine.readers.source import SourceInfo

MAX_POINTS = 24
"""Corners that an outline is simplified to, where that leaves what it is worth."""

_EDGE = 64
_COARSEST = 16
_MAX_PARTS = 8
_MAX_RUNS = 1500
_EXACT = 1e-9


def outline(info: SourceInfo, cells: Mask) -> Any:
    """The area of a file's valid pixels, in degrees, split where it crosses the antimeridian.

    Parameters
    ----------
    info
        Of the file.
    cells
        Whether there is a valid pixel in each cell of a coarse grid over the file, (rows, cols); the last
        row and column may reach beyond it.

    Returns
    -------
    area
        A shapely Polygon or MultiPolygon within ±180 degrees; empty if no cell is valid.
    """
    if not cells.any():
        return shapely.Polygon()
    coarse, size = cells, 1
    while True:
        # Specks and fringes: what lies between near ones does not matter, and costs a lot.
        area = None if _runs(coarse) > _MAX_RUNS else _in_pixels(info, coarse)
        if area is not None and len(shapely.get_parts(area)) <= _MAX_PARTS:
            break
        size *= 2
        coarse = grown(reduced(cells, size), size, cells.shape)
    scale = max(info.width / cells.shape[1], info.height / cells.shape[0])
    area = _simple(area, scale, shapely.box(0, 0, info.width, info.height))
    turned = _to_degrees(info, area)
    if turned is None:
        bounds = info.bounds
        parts = [shapely.box(part.west, part.south, part.east, part.north) for part in bounds.parts()]
        return shapely.union_all(parts)
    return split(_simple_degrees(turned, info))


def split(area: Any) -> Any:
    """An area whose longitudes run on beyond ±180, folded into it and cut at the antimeridian."""
    west, _, east, _ = area.bounds
    parts = []
    for turn in range(math.floor((west + 180) / 360), math.ceil((east - 180) / 360) + 1):
        part = shapely.intersection(area, shapely.box(360 * turn - 180, -90, 360 * turn + 180, 90))
        polygons = [one for one in shapely.get_parts(part) if one.geom_type == "Polygon" and one.area > 0]
        parts += [shapely.transform(one, lambda xy, turn=turn: xy - [360 * turn, 0]) for one in polygons]
    whole = parts[0] if len(parts) == 1 else shapely.union_all(parts) if parts else shapely.Polygon()
    return shapely.orient_polygons(whole) if not whole.is_empty else whole


def reduced(valid: Mask, size: int) -> Mask:
    """Whether any pixel in each square of `size` is valid."""
    if size == 1:
        return valid
    rows = np.logical_or.reduceat(valid, np.arange(0, valid.shape[0], size), axis=0)
    found: Mask = np.logical_or.reduceat(rows, np.arange(0, valid.shape[1], size), axis=1)
    return found


def grown(cells: Mask, size: int, shape: tuple[int, ...]) -> Mask:
    """Squares as pixels again, of which there are `shape`."""
    found: Mask = np.repeat(np.repeat(cells, size, axis=0), size, axis=1)[: shape[0], : shape[1]]
    return found


def tidied(areas: list[Any]) -> Any:
    """One area that holds several; files of one scene differ a little where their resolutions do."""
    whole = shapely.union_all(areas)
    if any(shapely.covers(one, whole) for one in areas):
        return whole
    west, south, east, north = whole.bounds
    slack = max(east - west, north - south) / 1000
    wider = shapely.simplify(whole, slack).buffer(slack * 1.001, join_style="mitre", mitre_limit=2.0)
    wider = shapely.intersection(wider, shapely.box(-180, -90, 180, 90))
    better = shapely.covers(wider, whole) and _points(wider) < _points(whole)
    return shapely.orient_polygons(wider if better else whole)


def _in_pixels(info: SourceInfo, cells: Mask) -> Any:
    """The valid cells as an area in pixels of the full resolution, without holes."""
    rows, cols = cells.shape
    if cells.all():
        return shapely.box(0, 0, info.width, info.height)
    # Runs of valid cells along each row; equal runs of rows that follow each other are one rectangle.
    edges = np.diff(np.pad(cells.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    boxes: list[tuple[int, int, int, int]] = []
    running: dict[tuple[int, int], int] = {}
    for row in range(rows + 1):
        runs = set()
        if row < rows:
            starts, ends = np.flatnonzero(edges[row] == 1), np.flatnonzero(edges[row] == -1)
            runs = set(zip(starts.tolist(), ends.tolist(), strict=True))
        ended = [run for run in running if run not in runs]
        boxes += [(run[0], running.pop(run), run[1], row) for run in ended]
        for run in runs:
            running.setdefault(run, row)
    corners = np.array(boxes, np.float64)
    across = np.minimum(corners[:, [0, 2]] * _cell(info.width, cols), info.width)
    down = np.minimum(corners[:, [1, 3]] * _cell(info.height, rows), info.height)
    merged = shapely.union_all(shapely.box(across[:, 0], down[:, 0], across[:, 1], down[:, 1]))
    return _without_holes(merged)


def _runs(cells: Mask) -> int:
    """Runs of valid cells along rows."""
    return int(np.count_nonzero(cells[:, 1:] & ~cells[:, :-1]) + np.count_nonzero(cells[:, 0]))


def _cell(size: int, count: int) -> float:
    return size / count


def _without_holes(area: Any) -> Any:
    return shapely.union_all([shapely.Polygon(part.exterior) for part in shapely.get_parts(area)])


def _simple(area: Any, cell: float, whole: Any) -> Any:
    """An area with fewer corners that holds it all, within the file."""
    if _points(area) <= 8 and len(shapely.get_parts(area)) == 1:
        return area
    step = 1.0
    while step <= _COARSEST:
        # What is simplified lies no further from the original than the tolerance.
        slack = step * cell
        wider = shapely.simplify(area, slack).buffer(slack * 1.001, join_style="mitre", mitre_limit=2.0)
        found = _without_holes(shapely.intersection(shapely.make_valid(wider), whole))
        parts = shapely.get_parts(found)
        if shapely.covers(found, area) and _points(found) <= MAX_POINTS and len(parts) <= _MAX_PARTS:
            return found
        step *= 2
    return shapely.convex_hull(area)


def _simple_degrees(area: Any, info: SourceInfo) -> Any:
    """An area without the points on its sides that their bend does not need; it holds all of it."""
    exact = shapely.simplify(area, _EXACT)
    west, south, east, north = area.bounds
    finest = min((east - west) / info.width, (north - south) / info.height)
    # A thousandth of the file, or a pixel: what a few points a side can follow.
    slack = max(finest, max(east - west, north - south) / 1000)
    if _points(exact) <= MAX_POINTS:
        return exact
    for tolerance in (slack, 2 * slack, 4 * slack, 8 * slack):
        wider = shapely.simplify(area, tolerance).buffer(
            tolerance * 1.001, join_style="mitre", mitre_limit=2.0
        )
        found = _within_poles(wider)
        if _points(found) <= MAX_POINTS * 2 and shapely.covers(found, area):
            return found
    return exact


def _within_poles(area: Any) -> Any:
    west, south, east, north = area.bounds
    if south >= -90 and north <= 90:
        return area
    return shapely.intersection(area, shapely.box(west, -90, east, 90))


def _to_degrees(info: SourceInfo, area: Any) -> Any | None:
    """An area in pixels as one in degrees, with many points a side and longitudes that run on.

    None where a point of it has no place on Earth.
    """
    to_degrees, geographic = into_crs84(info.crs), _is_geographic(info.crs)
    parts = []
    for part in shapely.get_parts(shapely.segmentize(area, max(info.width, info.height) / _EDGE)):
        cols, rows = shapely.get_coordinates(part.exterior).T
        x, y = apply(info.transform, cols, rows)
        lon, lat = to_degrees.transform(x, np.clip(y, -90.0, 90.0) if geographic else y)
        if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
            return None
        if geographic:
            # The file's own longitudes say how they go on.
            lon = lon + 360.0 * np.round((x - lon) / 360.0)
        else:
            lon = np.unwrap(lon, period=360.0)
        ring = np.stack([lon, lat], axis=1)
        if abs(lon[-1] - lon[0]) > 180.0:
            ring = _round_pole(ring)
        outline = shapely.make_valid(shapely.Polygon(ring), method="structure")
        parts += [one for one in shapely.get_parts(outline) if one.geom_type == "Polygon"]
    if not parts:
        return None
    if geographic:
        return _one_turn(shapely.union_all(parts))
    # Parts of one file may lie on different turns of the globe, each by its own first point.
    return shapely.union_all(parts)


@functools.lru_cache(64)
def _is_geographic(crs: str) -> bool:
    """Whether a CRS is in degrees itself; finding out takes longer than the use of it."""
    return bool(pyproj.CRS(crs).is_geographic)


def _one_turn(area: Any) -> Any:
    """A file that reaches round the globe more than once is the whole band."""
    west, south, east, north = area.bounds
    return area if east - west < 360.0 - 1e-9 else shapely.box(-180.0, south, 180.0, north)


def _round_pole(ring: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A ring of longitudes that goes once round a pole, closed over that pole."""
    pole = math.copysign(90.0, float(ring[:, 1].mean()))
    over = np.array([[ring[-1, 0], pole], [ring[0, 0], pole], ring[0]])
    return np.concatenate([ring, over])


def _points(area: Any) -> int:
    return int(shapely.get_num_coordinates(area)) - len(shapely.get_parts(area))
