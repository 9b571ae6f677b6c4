"""Which place names a zoom of the base map shows, and where.

Names are placed once for the whole world at a zoom, so that a name cut by the edge of a tile goes
on in the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from geoloom_engine.atlas import cities, countries
from geoloom_engine.lettering import font

__all__ = ["Name", "names_on"]

_WORLD = 256
_SPACE = 6.0
_SQUARE = 512
_HIDDEN_FROM = 9
_PEOPLE = {3: 9000, 4: 4000, 5: 1500, 6: 600, 7: 250, 8: 90, 9: 30}
"""From how many thousand people on a city is named, by zoom; capitals from zoom 4 on."""


_Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Name:
    """A name to draw; (x, y) in pixels of the zoom.

    A country's is its centre. A city's is its dot, with the name to the right of it.
    """

    text: str
    x: float
    y: float
    size: int
    city: bool


@dataclass(frozen=True, slots=True)
class _Placed:
    names: tuple[Name, ...]
    boxes: npt.NDArray[np.float64]


def names_on(z: int, x: int, y: int) -> list[Name]:
    """The names that reach into a tile, each moved to the side of the antimeridian it shows on."""
    placed = _placed(z)
    if not placed.names:
        return []
    found = []
    world = float(_WORLD << z)
    west, north = float(x * _WORLD), float(y * _WORLD)
    for shift in (-world, 0.0, world):
        boxes = placed.boxes
        near = (
            (boxes[:, 0] + shift < west + _WORLD)
            & (boxes[:, 2] + shift > west)
            & (boxes[:, 1] < north + _WORLD)
            & (boxes[:, 3] > north)
        )
        for index in np.flatnonzero(near):
            name = placed.names[index]
            found.append(Name(name.text, name.x + shift, name.y, name.size, name.city))
    return found


@lru_cache(maxsize=32)
def _placed(z: int) -> _Placed:
    """The names of a zoom: the most important first, and none where another is."""
    kept: list[Name] = []
    boxes: list[_Box] = []
    squares: dict[tuple[int, int], list[_Box]] = {}
    for name in (*_country_names(z), *_city_names(z)):
        box = _box(name)
        reach = [
            (col, row)
            for col in range(int(box[0]) // _SQUARE, int(box[2]) // _SQUARE + 1)
            for row in range(int(box[1]) // _SQUARE, int(box[3]) // _SQUARE + 1)
        ]
        if any(_overlap(box, other) for square in reach for other in squares.get(square, ())):
            continue
        kept.append(name)
        boxes.append(box)
        for square in reach:
            squares.setdefault(square, []).append(box)
    return _Placed(tuple(kept), np.array(boxes).reshape(-1, 4))


def _country_names(z: int) -> list[Name]:
    if not 2 <= z < _HIDDEN_FROM:
        return []
    world = _WORLD << z
    size = 11 if z < 4 else 12 if z < 6 else 13
    return [
        Name(land.name, _whole(land.x * world), _whole(land.y * world), size, city=False)
        for land in countries()
        if _length(land.name, size) <= 0.95 * land.width * world and land.radius * world > size * 0.6
    ]


def _city_names(z: int) -> list[Name]:
    if z < min(_PEOPLE):
        return []
    world = _WORLD << z
    least = _PEOPLE.get(z, 0)
    return [
        Name(city.name, _whole(city.x * world), _whole(city.y * world), 11, city=True)
        for city in sorted(cities(), key=lambda city: -city.people)
        if city.people >= least or (city.capital and z >= 4 and city.people * 4 >= least)
    ]


def _box(name: Name) -> _Box:
    """West, north, east and south of a name with some space around it."""
    length = _length(name.text, name.size)
    half = name.size * 0.75 + _SPACE / 2
    west = name.x - 3 if name.city else name.x - length / 2
    east = name.x + 7 + length if name.city else name.x + length / 2
    return west - _SPACE / 2, name.y - half, east + _SPACE / 2, name.y + half


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and one[2] > other[0] and one[1] < other[3] and one[3] > other[1]


@lru_cache(maxsize=8192)
def _length(text: str, size: int) -> float:
    return font(size).getlength(text)


def _whole(value: float) -> float:
    """Names stand on whole pixels, so that both tiles of a cut name draw the same letters."""
    return float(round(value))
