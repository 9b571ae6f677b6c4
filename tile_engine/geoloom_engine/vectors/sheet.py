"""What of a layer a grid shows, with its vertices in the grid's own coordinate system."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from geoloom.block import Array
from geoloom.grid import MERCATOR_EXTENT, Bounds, Grid
from geoloom.loops import array, compiled, number
from geoloom_engine.projection import into_degrees
from geoloom_engine.vectors.measures import GROUP, gather, group_boxes, vertex_types
from geoloom_engine.vectors.pack import Level, Pack
from geoloom_engine.vectors.places import on_sheet

WORLD = 2 * MERCATOR_EXTENT

_EDGE_POINTS = 65
"""Points along each side of a grid whose places on the map tell what it shows."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """Features and where a grid's pixels are among them.

    Parameters
    ----------
    rows
        Position in the pack of each feature; None if it is all of them in their order.
    box, area, groups
        As in `Pack`, in units of the grid's coordinate system.
    level
        Vertices in these units.
    place
        (x0, y0, 1/dx, 1/dy, col, row): the pixel of x is (x − x0)/dx − col, of y it is (y0 − y)/dy − row.
    """

    rows: Array | None
    box: Array
    area: Array
    groups: Array
    level: Level
    place: Array

    def features(self, rows: int, cols: int) -> tuple[Any, ...]:
        """What a loop over features is given of them and of a grid; see `feature_types`."""
        level = self.level
        return (
            self.groups,
            self.box,
            self.place,
            rows,
            cols,
            level.first,
            level.start,
            level.kind,
            level.xy,
        )

    def of(self, values: Array) -> Array:
        """Values of the pack's features, one for each feature here."""
        return values if self.rows is None else values[self.rows]


def sheets(pack: Pack, grid: Grid, margin: float = 0.0, exact: bool = False) -> Iterator[Sheet]:
    """The sheets that a grid shows: several where the map repeats itself at ±180°.

    Parameters
    ----------
    margin
        Pixels around the grid from which features reach into it.
    exact
        Whether all vertices are wanted, however coarse the pixels.
    """
    if not len(pack):
        return
    lattice = grid.lattice
    dx, dy = lattice.dx, lattice.dy
    if lattice.crs == "EPSG:3857":
        level = pack.level(0.0 if exact else max(dx, dy))
        bounds = grid.bounds()
        west, east = pack.groups[:, 0].min(), pack.groups[:, 2].max()
        first = math.ceil((bounds.west - margin * dx - east) / WORLD)
        last = math.floor((bounds.east + margin * dx - west) / WORLD)
        for turn in range(first, last + 1):
            place = np.array([lattice.x0 - turn * WORLD, lattice.y0, 1 / dx, 1 / dy, grid.col, grid.row])
            yield Sheet(None, pack.box, pack.area, pack.groups, level, place)
        return
    place = np.array([lattice.x0, lattice.y0, 1 / dx, 1 / dy, grid.col, grid.row])
    rows = np.unique(np.concatenate([meeting(pack, box) for box in _on_map(grid, margin)]))
    if not len(rows):
        return
    level = _subset(pack.levels[0], rows)
    xy = on_sheet(lattice.crs, level.xy)
    level = Level(0.0, level.first, level.start, level.kind, xy)
    box = _boxes(level)
    # Areas tell pixels apart that are covered by less than one: they need no more than the map's scale.
    scale = (dx * dy) / _map_pixel_area(grid)
    yield Sheet(rows, box, (pack.area[rows] * scale).astype(np.float32), group_boxes(box), level, place)


def meeting(pack: Pack, bounds: Bounds) -> Array:
    """Positions of the features whose boxes meet one in Web Mercator metres, the map's repeats included."""
    if not len(pack):
        return np.empty(0, np.int64)
    west, east = pack.groups[:, 0].min(), pack.groups[:, 2].max()
    found = []
    loop = compiled(_meeting, "", _meeting_types)
    for turn in range(math.ceil((bounds.west - east) / WORLD), math.floor((bounds.east - west) / WORLD) + 1):
        shift = turn * WORLD
        box = np.array([bounds.west - shift, bounds.south, bounds.east - shift, bounds.north])
        out = np.empty(len(pack), np.int64)
        found.append(out[: loop(pack.groups, pack.box, box, out)])
    return np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)


def _meeting_types() -> tuple[Any, ...]:
    boxes = (array("float64", 2), array("float64", 2), array("float64", 1))
    return (*boxes, array("int64", 1, written=True))


def _meeting(groups: Any, boxes: Any, box: Any, out: Any) -> int:
    n = 0
    for g in range(len(groups)):
        if groups[g, 2] < box[0] or groups[g, 0] > box[2] or groups[g, 3] < box[1] or groups[g, 1] > box[3]:
            continue
        for k in range(g * GROUP, min((g + 1) * GROUP, len(boxes))):
            if (
                boxes[k, 2] >= box[0]
                and boxes[k, 0] <= box[2]
                and boxes[k, 3] >= box[1]
                and boxes[k, 1] <= box[3]
            ):
                out[n] = k
                n += 1
    return n


def _on_map(grid: Grid, margin: float) -> list[Bounds]:
    """Boxes in Web Mercator that hold a grid of another coordinate system."""
    around = grid.expand(math.ceil(margin) + 1).bounds()
    along = np.linspace(0.0, 1.0, _EDGE_POINTS)
    x, y = np.meshgrid(
        around.west + along * (around.east - around.west),
        around.south + along * (around.north - around.south),
    )
    lon, lat = into_degrees(grid.lattice.crs).transform(x.ravel(), y.ravel())
    lon, lat = lon[np.isfinite(lon) & np.isfinite(lat)], lat[np.isfinite(lon) & np.isfinite(lat)]
    if not len(lon):
        return []
    from geoloom_engine.vectors.places import from_degrees

    boxes = []
    turned = lon % 360.0
    # Where the grid crosses the antimeridian its longitudes are close together after half a turn.
    if np.ptp(turned) < np.ptp(lon):
        lon = turned
    mx, my = from_degrees(lon, lat)
    sag = 0.02 * max(float(np.ptp(mx)), float(np.ptp(my))) + 1.0
    boxes.append(
        Bounds(float(mx.min()) - sag, float(my.min()) - sag, float(mx.max()) + sag, float(my.max()) + sag)
    )
    return boxes


def _map_pixel_area(grid: Grid) -> float:
    """Square metres of Web Mercator that the grid's middle pixel has."""
    from geoloom_engine.vectors.places import from_degrees

    bounds = grid.bounds()
    x, y = (bounds.west + bounds.east) / 2, (bounds.south + bounds.north) / 2
    dx, dy = grid.lattice.dx, grid.lattice.dy
    lon, lat = into_degrees(grid.lattice.crs).transform([x, x + dx, x], [y, y, y - dy])
    mx, my = from_degrees(np.asarray(lon), np.asarray(lat))
    found = abs((mx[1] - mx[0]) * (my[2] - my[0]) - (mx[2] - mx[0]) * (my[1] - my[0]))
    return float(found) if np.isfinite(found) and found > 0 else grid.lattice.dx * grid.lattice.dy


def _subset(level: Level, rows: Array) -> Level:
    """Some features of a level."""
    paths = level.first[rows + 1] - level.first[rows]
    vertices = level.start[level.first[rows + 1]] - level.start[level.first[rows]]
    out = (
        np.empty(len(rows) + 1, np.int64),
        np.empty(int(paths.sum()) + 1, np.int64),
        np.empty(int(paths.sum()), np.uint8),
        np.empty((int(vertices.sum()), 2)),
    )
    gather(level.first, level.start, level.kind, level.xy, rows, out)
    return Level(level.pixel, *out)


def _boxes(level: Level) -> Array:
    boxes = np.empty((len(level.first) - 1, 4))
    types = (array("int64", 1), array("int64", 1), array("float64", 2), array("float64", 2, written=True))
    compiled(_box, "", lambda: types)(level.first, level.start, level.xy, boxes)
    return boxes


def _box(first: Any, start: Any, xy: Any, boxes: Any) -> None:
    for k in range(len(first) - 1):
        west, south, east, north = np.inf, np.inf, -np.inf, -np.inf
        for v in range(start[first[k]], start[first[k + 1]]):
            west, east = min(west, xy[v, 0]), max(east, xy[v, 0])
            south, north = min(south, xy[v, 1]), max(north, xy[v, 1])
        boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3] = west, south, east, north


def shown_types() -> tuple[Any, ...]:
    """Types of the parameters (groups, boxes, place, rows, cols) of loops over what a grid shows."""
    return array("float64", 2), array("float64", 2), array("float64", 1), number("int64"), number("int64")


def feature_types() -> tuple[Any, ...]:
    """Types of what `Sheet.features` gives: of what a grid shows, and of the vertices."""
    return (*shown_types(), *vertex_types())
