"""Narrowing: the filters and the order of a collection, each of which gives a new one and asks nothing."""

from __future__ import annotations

import calendar
from dataclasses import replace
from typing import Any, Self

from geoloom import areas, dates
from geoloom.errors import ParameterError
from geoloom.filters import condition
from geoloom.query import Query

__all__ = ["Narrowing"]

_ALIASES = {"date": "datetime", "time": "datetime"}


class Narrowing:
    """Base of `Collection`: which items, and in which order.

    Parameters
    ----------
    query
        As far as it is narrowed.
    places
        The query's areas in words.
    """

    __slots__ = ("_places", "query")

    def __init__(self, query: Query, places: tuple[str, ...]) -> None:
        self.query = query
        self._places = places

    def _narrowed(self, query: Query, places: tuple[str, ...]) -> Self:
        """The same with another query."""
        raise NotImplementedError

    def filter_geoname(
        self,
        name: str | int,
        country: str | None = None,
        buffer_km: float | None = None,
        *,
        kind: str | None = None,
    ) -> Self:
        """Items that meet a place found by its name, offline.

        Parameters
        ----------
        name
            Of a town (from 500 inhabitants), a country or a part of one, in any language and spelling the
            gazetteer has, as ``"Ispra"``, ``"Paris, Texas"``; or a GeoNames id.
        country
            Name or code (``"IT"``) of its country.
        buffer_km
            Kilometres around the town's middle, or around the country's outline. Without it a town is as
            large as towns with its inhabitants usually are, 2 to 40 km around its middle.

        kind
            ``town``, ``region`` or ``country``, if one of these is meant; by itself a country comes first.

        Raises
        ------
        ParameterError
            No place is called so, or several: says which, and how to choose.
        """
        from geoloom.gazetteer import find

        geometry, told = find(name, country, kind).area(buffer_km)
        return self._in(geometry, told)

    def filter_rect(self, west: Any, south: Any = None, east: Any = None, north: Any = None) -> Self:
        """Items that meet a box in degrees; one with west > east crosses ±180°."""
        geometry = areas.rectangle(west, south, east, north)
        return self._in(geometry, f"in {_box(geometry.bounds)}")

    def filter_geometry(self, geometry: Any, buffer_km: float = 0) -> Self:
        """Items that meet a geometry, or lie within some ground kilometres of it.

        Parameters
        ----------
        geometry
            GeoJSON, a shapely geometry, a GeoDataFrame, a map's ``drawn``, or any ``__geo_interface__``.
        """
        given = areas.geometry_of(geometry)
        kind = given.geom_type.removeprefix("Multi").lower()
        place = f"a {kind} in {_box(given.bounds)}"
        near = f"within {buffer_km:g} km of {place}" if buffer_km else f"meeting {place}"
        return self._in(areas.buffered(given, buffer_km), near)

    def filter_location(self, lon: float, lat: float, buffer_km: float = 0) -> Self:
        """Items that hold a point in degrees, or lie within some ground kilometres of it."""
        place = areas.around(lon, lat, buffer_km)
        near = f"within {buffer_km:g} km of " if buffer_km else "over "
        return self._in(place, f"{near}{lon:g}, {lat:g}")

    def filter_date(
        self,
        start: Any = None,
        end: Any = None,
        *,
        month: Any = None,
        before: Any = None,
        after: Any = None,
    ) -> Self:
        """Items of a day, month or year, or from one to another, the last included; times are UTC.

        Parameters
        ----------
        start, end
            ``"2016-07-13"``, ``"2016-07"``, ``"2016"``, ``"2016-07-13T09:30+02:00"``, dates of Python,
            numpy and pandas. A moment as `end` is not part of the range; ``".."`` is open.
        month
            Months of any year: numbers or names, one or several, as ``month=[6, 7, 8]``.
        before, after
            Only before the beginning, or after the end, of a date.

        Raises
        ------
        ParameterError
            It is no date, or no time is left.
        """
        query = self.query
        if any(one is not None for one in (start, end, before, after)):
            query = replace(query, dates=(*query.dates, dates.period(start, end, before, after)))
        elif month is None:
            raise ParameterError("filter_date got no date.", hint=dates.FORMS)
        if month is not None:
            wanted = set(dates.months(month)) & set(query.months or range(1, 13))
            if not wanted:
                names = " and ".join(calendar.month_name[one] for one in query.months)
                raise ParameterError(f"No month is left: the collection has only {names} already.")
            query = replace(query, months=tuple(wanted))
        return self._narrowed(query, self._places)

    def filter(self, name: str, operator: str, value: Any) -> Self:
        """Items by a property: ``filter("eo:cloud_cover", "<", 20)``.

        Parameters
        ----------
        operator
            ``==  !=  <  <=  >  >=``, ``in`` (a list of values) or ``contains`` (part of a list or text).
        """
        where = (*self.query.where, condition(name, operator, value))
        return self._narrowed(replace(self.query, where=where), self._places)

    def ids(self, *ids: Any) -> Self:
        """Only the items of these ids."""
        listed = [one for given in ids for one in ([given] if isinstance(given, str) else given)]
        if not listed:
            raise ParameterError("ids got no id.")
        kept = [one for one in dict.fromkeys(listed) if not self.query.ids or one in self.query.ids]
        if not kept:
            raise ParameterError(f"None of these ids is left: {', '.join(map(str, listed[:5]))}.")
        return self._narrowed(replace(self.query, ids=tuple(kept)), self._places)

    def sort(self, name: str, descending: bool = False) -> Self:
        """Order by a property, ``"datetime"`` or ``"id"``; what was sorted by before decides among equals."""
        name = _ALIASES.get(name, name)
        before = tuple(one for one in self.query.sort if one[0] != name)
        order = (name, "desc" if descending else "asc")
        return self._narrowed(replace(self.query, sort=(order, *before)), self._places)

    def nearest(self, date: Any) -> Self:
        """Order by distance in time from a date, the nearest first."""
        return self._narrowed(replace(self.query, near=dates.instant(date)), self._places)

    def limit(self, n: int) -> Self:
        """The first `n` of all items that pass the filters, in their order, wherever it is written."""
        if isinstance(n, bool) or not hasattr(n, "__index__"):
            raise ParameterError(f"limit takes a whole number, not {n!r}.")
        most = n.__index__() if self.query.limit is None else min(n.__index__(), self.query.limit)
        return self._narrowed(replace(self.query, limit=most), self._places)

    def _in(self, geometry: Any, told: str) -> Self:
        query = replace(self.query, areas=(*self.query.areas, areas.to_json(geometry)))
        return self._narrowed(query, (*self._places, told))


def _box(bounds: tuple[float, float, float, float]) -> str:
    west, south, east, north = (f"{one:.6g}" for one in bounds)
    return f"the box {west}, {south}, {east}, {north}"
