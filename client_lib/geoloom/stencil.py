"""Where features are, as an image: painted, or as a mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from geoloom import blobs
from geoloom.chain import Chain
from geoloom.geojson import bounds_of, content_of, features_of
from geoloom.image import Image
from geoloom.op import Op, Profile
from geoloom.ops.burn import Burn

NAME = "features"
"""What features that came as GeoJSON are called."""


def painted(op: Op, name: str, bounds: Sequence[float] | None, crs: str | None) -> Image:
    """The image of an op that paints features.

    Parameters
    ----------
    name, bounds, crs
        Of the features: file, place in degrees, coordinate reference system.
    """
    return placed(op.chain(), op.profile(), name, bounds, crs)


def placed(
    chain: Chain, profile: Profile, name: str, bounds: Sequence[float] | None, crs: str | None
) -> Image:
    """The image of a chain without sources that lies somewhere; see `painted`."""
    sources = {} if bounds is None else {name: {"bounds": list(bounds), "crs": crs, "bands": []}}
    return Image(chain, profile, sources)


def area(geometry: Any) -> Image | None:
    """Where a geometry is, as an image to mask with; None if it is none. Asks nobody.

    Parameters
    ----------
    geometry
        GeoJSON, a shapely geometry, a GeoDataFrame, a map's ``drawn``.

    Raises
    ------
    ParameterError
        If it is not in degrees, or empty.
    """
    content = content_of(geometry)
    if content is None:
        return None
    bounds = bounds_of(features_of(geometry) or [])
    corners = None if bounds is None else (bounds.west, bounds.south, bounds.east, bounds.north)
    return painted(Burn(blob=blobs.keep(content)), NAME, corners, "EPSG:4326")
