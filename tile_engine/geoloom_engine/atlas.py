"""Land, borders and place names of the world, from the files in ``data/``.

Natural Earth 4.1 (public domain) and GeoNames (CC BY 4.0), made by ``tools/make_basemap.py``.
Everything lies on the Web Mercator map as shares of its width: x grows from 0 at 180° west to 1 at
180° east, y from 0 at the northern edge of the map to 1 at the southern.
"""

from __future__ import annotations

import io
import json
import lzma
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from geoloom_engine.lettering import plain

__all__ = ["Cell", "City", "Country", "Shapes", "cell", "cities", "countries"]


Shapes = npt.NDArray[np.object_]
Coordinates = npt.NDArray[np.float64]

MARGIN = 0.25
"""How far a cell's shapes reach beyond the cell, as a share of its size."""

_DEEPEST = 12
"""Beyond this zoom shapes are clipped for each tile anew: few are left."""

_FULL_DETAIL = 8
"""From this zoom on the outlines are drawn with all their points."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What lies in one square of the map: land polygons, large ones first, and border lines."""

    land: Shapes
    borders: Shapes


@dataclass(frozen=True, slots=True)
class Country:
    """A country's name, where it fits best; width and radius of its largest part."""

    name: str
    x: float
    y: float
    width: float
    radius: float


@dataclass(frozen=True, slots=True)
class City:
    """A city; people in thousands."""

    name: str
    x: float
    y: float
    people: int
    capital: bool


def cell(z: int, x: int, y: int) -> Cell:
    """The shapes of a tile and `MARGIN` around it, in the detail that suits its zoom."""
    detail = min(z, _FULL_DETAIL)
    if z > _DEEPEST:
        shift = z - _DEEPEST
        return _clipped(_cell(detail, _DEEPEST, x >> shift, y >> shift), z, x, y)
    return _cell(detail, z, x, y)


@lru_cache(maxsize=1)
def countries() -> tuple[Country, ...]:
    """All countries, the largest on the map first."""
    return tuple(
        Country(plain(name), *_on_map(lon, lat), width, radius)
        for name, lon, lat, width, radius in _places()["countries"]
    )


@lru_cache(maxsize=1)
def cities() -> tuple[City, ...]:
    """Some thousand cities: capitals, then the others, by people."""
    return tuple(
        City(plain(name), *_on_map(lon, lat), people, bool(capital))
        for name, lon, lat, people, capital in _places()["cities"]
    )


@lru_cache(maxsize=1024)
def _cell(detail: int, z: int, x: int, y: int) -> Cell:
    # Always by way of the parent: clipping little is fast, and the result does not depend on
    # which tiles were asked for before.
    if z == 0:
        return _world(detail)
    return _clipped(_cell(detail, z - 1, x // 2, y // 2), z, x, y)


@lru_cache(maxsize=_FULL_DETAIL + 1)
def _world(detail: int) -> Cell:
    """The whole map in the detail of a zoom: no finer than a fourth of its pixels."""
    whole = _outlines("110m" if detail < 2 else "50m" if detail < 6 else "10m")
    if detail == _FULL_DETAIL:
        return whole
    return Cell(*(_simplified(shapes, 0.25 / 256 / 2**detail) for shapes in (whole.land, whole.borders)))


def _simplified(shapes: Shapes, tolerance: float) -> Shapes:
    """Shapes with fewer points (Douglas and Peucker 1973); those that would vanish stay whole."""
    fewer: Shapes = shapely.simplify(shapes, tolerance, preserve_topology=False)
    simple = (shapely.get_type_id(fewer) == shapely.get_type_id(shapes)) & ~shapely.is_empty(fewer)
    kept: Shapes = np.where(simple, fewer, shapes)
    return kept


def _clipped(source: Cell, z: int, x: int, y: int) -> Cell:
    size = 0.5**z
    box = (
        (x - MARGIN) * size,
        (y - MARGIN) * size,
        (x + 1 + MARGIN) * size,
        (y + 1 + MARGIN) * size,
    )
    return Cell(_inside(source.land, box), _inside(source.borders, box))


def _inside(shapes: Shapes, box: tuple[float, float, float, float]) -> Shapes:
    if not shapes.size:
        return shapes
    west, north, east, south = box
    bounds = shapely.bounds(shapes)
    near = (bounds[:, 0] <= east) & (bounds[:, 2] >= west) & (bounds[:, 1] <= south) & (bounds[:, 3] >= north)
    shapes, bounds = shapes[near], bounds[near]
    cut = (bounds[:, 0] < west) | (bounds[:, 2] > east) | (bounds[:, 1] < north) | (bounds[:, 3] > south)
    whole = shapes.copy()
    whole[cut] = shapely.clip_by_rect(shapes[cut], *box)
    parts: Shapes = shapely.get_parts(whole)
    kept: Shapes = parts[~shapely.is_empty(parts)]
    return kept


@lru_cache(maxsize=3)
def _outlines(level: str) -> Cell:
    with np.load(io.BytesIO(_read(f"outlines-{level}.npz.xz")), allow_pickle=False) as stored:
        content = dict(stored)
    place = content["scale"], content["translate"]
    rings = [
        shapely.linearrings(ring) for ring in _lines(content["ring_steps"], content["ring_sizes"], *place)
    ]
    polygons = []
    first = 0
    for count in content["polygon_sizes"]:
        polygons.append(shapely.Polygon(rings[first], rings[first + 1 : first + count]))
        first += count
    land: Shapes = np.array(polygons, dtype=object)
    # An island in a lake comes after the land around the lake.
    order = np.argsort(-shapely.area(shapely.envelope(land)), kind="stable")
    borders = _lines(content["border_steps"], content["border_sizes"], *place)
    return Cell(land[order], np.array([shapely.linestrings(line) for line in borders], dtype=object))


def _lines(
    steps: npt.NDArray[Any], sizes: npt.NDArray[Any], scale: Coordinates, translate: Coordinates
) -> list[Coordinates]:
    """Each line's points on the map, (points, 2)."""
    firsts = np.cumsum(sizes) - sizes
    sums = np.cumsum(steps.astype(np.int64).T, axis=0)
    before = np.where(firsts[:, np.newaxis] > 0, sums[firsts - 1], 0)
    degrees = (sums - np.repeat(before, sizes, axis=0)) * scale + translate
    latitude = np.radians(np.clip(degrees[:, 1], -89.9, 89.9))
    down = 0.5 - np.arctanh(np.sin(latitude)) / (2 * np.pi)
    return np.split(np.stack([degrees[:, 0] / 360 + 0.5, down], axis=1), firsts[1:])


def _on_map(lon: float, lat: float) -> tuple[float, float]:
    sine = np.sin(np.radians(np.clip(lat, -89.9, 89.9)))
    return lon / 360 + 0.5, float(0.5 - np.arctanh(sine) / (2 * np.pi))


@lru_cache(maxsize=1)
def _places() -> dict[str, Any]:
    places: dict[str, Any] = json.loads(_read("places.json.xz"))
    return places


def _read(name: str) -> bytes:
    return lzma.decompress((files("geoloom_engine") / "data" / name).read_bytes())
