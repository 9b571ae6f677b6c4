"""Query: which items of a collection are wanted, as plain data that travels to the engine.

Strict: what a Query holds is canonical, so equal questions have equal JSON. People's dates, places and
spellings are understood in `geoloom.narrowing`, not here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from geoloom.chain import canonical
from geoloom.errors import RequestError

__all__ = ["EARLIEST", "LATEST", "OPERATORS", "Query"]

OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "in", "contains")
"""What a property may be compared by. ``contains``: it is a list that holds the value, or a text with it."""

EARLIEST = "0001-01-01T00:00:00Z"
LATEST = "9999-12-31T23:59:59Z"
"""The ends of time, for ranges that are open on one side."""

MAX_POSITIONS = 100_000
"""Corners of all areas together."""

MAX_IDS = 100_000
MAX_FILTERS = 100
MAX_TEXT = 1000
MAX_LIMIT = 10_000_000

_DEPTHS = {
    "Point": 0,
    "MultiPoint": 1,
    "LineString": 1,
    "MultiLineString": 2,
    "Polygon": 2,
    "MultiPolygon": 3,
}
"""Lists around the positions of a geometry."""

_SHORTEST = {"LineString": 2, "MultiLineString": 2, "Polygon": 4, "MultiPolygon": 4}

_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,5}[1-9])?Z", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """Which items of a collection, and in which order.

    Parameters
    ----------
    collection
        ``ID`` or ``catalogue/ID``.
    areas
        GeoJSON geometries in degrees; an item's footprint must meet each. What crosses ±180° is split there.
    dates
        Half-open UTC ranges, as ``2016-06-01T00:00:00Z``; an item's datetime must lie in each.
    months
        Months of the year, 1–12; empty: all.
    where
        (property, operator, value) with one of `OPERATORS`; an item without the property is left out.
    ids
        Only these items; empty: all.
    sort
        (property, ``asc`` or ``desc``); also by ``datetime`` and ``id``. Empty: newest first, then by id.
    near
        The nearest in time to this instant come first, before `sort`.
    limit
        No more items than this.

    Raises
    ------
    RequestError
        A field is not what it must be; the message names it.
    """

    collection: str
    areas: tuple[Mapping[str, Any], ...] = ()
    dates: tuple[tuple[str, str], ...] = ()
    months: tuple[int, ...] = ()
    where: tuple[tuple[str, str, Any], ...] = ()
    ids: tuple[str, ...] = ()
    sort: tuple[tuple[str, str], ...] = ()
    near: str | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        checked = {
            "collection": _text("collection", self.collection),
            "areas": _areas(self.areas),
            "dates": tuple(_range(one) for one in _listed("dates", self.dates)),
            "months": tuple(sorted({_month(one) for one in _listed("months", self.months)})),
            "where": tuple(_condition(one) for one in _listed("where", self.where)),
            "ids": tuple(_text("ids", one) for one in _listed("ids", self.ids, MAX_IDS)),
            "sort": tuple(_order(one) for one in _listed("sort", self.sort)),
            "near": None if self.near is None else _instant("near", self.near),
            "limit": None if self.limit is None else _limit(self.limit),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Query) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def key(self) -> bytes:
        """Canonical JSON: the same for equal queries."""
        return canonical(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; what asks for nothing is left out."""
        told = {name: getattr(self, name) for name in _FIELDS}
        return {name: _plain(value) for name, value in told.items() if value not in ((), None)}

    @staticmethod
    def from_json(value: Any) -> Query:
        """The query that `to_json` described.

        Raises
        ------
        RequestError
            A field is unknown, missing or wrong; the message names it.
        """
        if not isinstance(value, Mapping):
            raise RequestError(f"A query is a JSON object, not {_shown(value)}.")
        unknown = [name for name in value if name not in _FIELDS]
        if unknown:
            raise RequestError(
                f"A query has no field {_shown(unknown[0])}.", hint=f"It has {', '.join(_FIELDS)}."
            )
        if "collection" not in value:
            raise RequestError("The query's collection is missing.")
        given: dict[str, Any] = {
            name: () if one is None and name in _LISTS else one for name, one in value.items()
        }
        return Query(**given)


_FIELDS = tuple(one.name for one in fields(Query))
_LISTS = ("areas", "dates", "months", "where", "ids", "sort")


def _wrong(name: str, what: str, hint: str | None = None) -> RequestError:
    return RequestError(f"The query's {name}: {what}.", hint=hint)


def _shown(value: Any) -> str:
    """A value in a message, cut short."""
    try:
        text = json.dumps(value, ensure_ascii=True)
    except (TypeError, ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "…"


def _listed(name: str, value: Any, most: int = MAX_FILTERS) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise _wrong(name, f"a list is needed, not {_shown(value)}")
    if len(value) > most:
        raise _wrong(name, f"{len(value):,} are too many, at most {most:,} may be given")
    return list(value)


def _tuple(name: str, value: Any, parts: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple) or len(value) != len(parts.split(", ")):
        raise _wrong(name, f"each is a list of {parts}, not {_shown(value)}")
    return tuple(value)


def _text(name: str, value: Any, most: int = MAX_TEXT) -> str:
    if not isinstance(value, str) or not value:
        raise _wrong(name, f"text is needed, not {_shown(value)}")
    if len(value) > most:
        raise _wrong(name, f"a text of {len(value):,} characters is too long, at most {most:,} may be given")
    if any(ord(sign) < 32 for sign in value):
        raise _wrong(name, f"{_shown(value)} has control characters")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise _wrong(name, f"{_shown(value)} cannot be written in UTF-8") from None
    return str(value)


def _number(name: str, value: Any) -> int | float:
    """A finite number as plain JSON has it: 3.0 is 3."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(name, f"a number is needed, not {_shown(value)}")
    if not math.isfinite(value):
        raise _wrong(name, f"{value} is not a finite number")
    if isinstance(value, int):
        if abs(value) >= 1 << 63:
            raise _wrong(name, "a whole number has at most 64 bits")
        return int(value)
    return int(value) if value.is_integer() and abs(value) < 1 << 53 else float(value)


def _instant(name: str, value: Any) -> str:
    if not isinstance(value, str) or _INSTANT.fullmatch(value) is None:
        raise _wrong(name, f'a time is written "2016-06-01T00:00:00Z", in UTC, not {_shown(value)}')
    try:
        datetime.fromisoformat(value)
    except ValueError:
        raise _wrong(name, f"{_shown(value)} is not in the calendar") from None
    return value


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _range(value: Any) -> tuple[str, str]:
    start, end = (_instant("dates", one) for one in _tuple("dates", value, "start, end"))
    if _moment(start) >= _moment(end):
        raise _wrong("dates", f"{start} is not before {end}", "The end is not part of the range.")
    return start, end


def _month(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 12:
        raise _wrong("months", f"a month is a whole number from 1 to 12, not {_shown(value)}")
    return int(value)


def _limit(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_LIMIT:
        raise _wrong("limit", f"a whole number from 1 to {MAX_LIMIT:,} is needed, not {_shown(value)}")
    return int(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text("where", value) if value else value
    return _number("where", value)


def _condition(value: Any) -> tuple[str, str, Any]:
    name, operator, operand = _tuple("where", value, "property, operator, value")
    _text("where", name)
    if not isinstance(operator, str) or operator not in OPERATORS:
        raise _wrong("where", f"{_shown(operator)} is no operator", f"There are {' '.join(OPERATORS)}.")
    if operator == "in":
        if not isinstance(operand, list | tuple) or not operand:
            raise _wrong("where", f'"in" needs a list of values, not {_shown(operand)}')
        if len(operand) > MAX_IDS:
            raise _wrong("where", f'"in" takes at most {MAX_IDS:,} values, not {len(operand):,}')
        return name, operator, tuple(_scalar(one) for one in operand)
    if isinstance(operand, bool) and operator in ("<", "<=", ">", ">="):
        raise _wrong("where", f"{operator} compares numbers and texts, not {_shown(operand)}")
    if operand is None or isinstance(operand, list | tuple | Mapping):
        raise _wrong("where", f"{operator} needs a number, a text, true or false, not {_shown(operand)}")
    return name, operator, _scalar(operand)


def _order(value: Any) -> tuple[str, str]:
    name, direction = _tuple("sort", value, "property, direction")
    if direction not in ("asc", "desc"):
        raise _wrong("sort", f'the direction is "asc" or "desc", not {_shown(direction)}')
    return _text("sort", name), str(direction)


def _areas(value: Any) -> tuple[Mapping[str, Any], ...]:
    left = MAX_POSITIONS
    found = []
    for geometry in _listed("areas", value):
        if not isinstance(geometry, Mapping):
            raise _wrong("areas", f"a GeoJSON geometry is needed, not {_shown(geometry)}")
        kind = geometry.get("type")
        if not isinstance(kind, str) or kind not in _DEPTHS:
            raise _wrong(
                "areas", f"{_shown(kind)} is no type of geometry", f"There are {', '.join(_DEPTHS)}."
            )
        if "coordinates" not in geometry:
            raise _wrong("areas", f"the {kind} has no coordinates")
        coordinates, left = _coordinates(kind, _DEPTHS[kind], geometry["coordinates"], left)
        found.append({"type": kind, "coordinates": coordinates})
    return tuple(found)


def _coordinates(kind: str, depth: int, value: Any, left: int) -> tuple[Any, int]:
    """Coordinates as tuples, and how many positions may follow."""
    if not isinstance(value, list | tuple):
        raise _wrong("areas", f"coordinates of a {kind} are lists, not {_shown(value)}")
    if depth == 0:
        if left == 0:
            raise _wrong(
                "areas",
                f"more than {MAX_POSITIONS:,} corners",
                "Simplify the outline: geometry.simplify(0.01).",
            )
        return _position(value), left - 1
    if not value:
        raise _wrong("areas", f"the {kind} is empty")
    if depth == 1 and len(value) < _SHORTEST.get(kind, 1):
        raise _wrong(
            "areas", f"a part of the {kind} has {len(value)} positions, {_SHORTEST[kind]} are needed"
        )
    found = []
    for one in value:
        inner, left = _coordinates(kind, depth - 1, one, left)
        found.append(inner)
    if depth == 1 and kind.endswith("Polygon") and found[0] != found[-1]:
        raise _wrong("areas", f"a ring of the {kind} is not closed", "Its last position repeats the first.")
    return tuple(found), left


def _position(value: Any) -> tuple[int | float, int | float]:
    """Longitude and latitude; a height is left out."""
    if len(value) not in (2, 3):
        raise _wrong("areas", f"a position is longitude and latitude, not {_shown(value)}")
    lon, lat = (_number("areas", one) for one in value[:2])
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        raise _wrong("areas", f"{lon}, {lat} is no longitude and latitude in degrees")
    return lon, lat


def _plain(value: Any) -> Any:
    """Tuples as lists, all the way down."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, tuple) else value
