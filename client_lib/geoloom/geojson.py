"""Geometries in whatever form people hold them, as GeoJSON in degrees."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Mapping
from typing import Any

from geoloom.chain import canonical
from geoloom.errors import ParameterError
from geoloom.grid import Bounds

__all__ = ["GEOMETRIES", "bounds_of", "content_of", "features_of", "plain_value", "sendable"]

GEOMETRIES = (
    "Point",
    "MultiPoint",
    "LineString",
    "MultiLineString",
    "Polygon",
    "MultiPolygon",
    "GeometryCollection",
)
LONGEST_TEXT = 32_000_000
"""Bytes of geometries, or of a table, that travel to the engine."""

IN_DEGREES = ("CRS84", "EPSG::4326", "EPSG:4326")


def features_of(item: Any) -> list[dict[str, Any]] | None:
    """The features of anything that has geometries; None if it has none.

    Parameters
    ----------
    item
        GeoJSON as a dict, a GeoDataFrame (which is brought to degrees), any object with a
        ``__geo_interface__``, such as a shapely geometry, or a list of these.
    """
    if getattr(item, "crs", None) is not None and hasattr(item, "to_crs"):
        item = item.to_crs(4326)
    if not isinstance(item, Mapping) and hasattr(item, "__geo_interface__"):
        item = item.__geo_interface__
    if isinstance(item, list | tuple) and item:
        parts = [features_of(one) for one in item]
        return None if None in parts else [feature for part in parts for feature in part or ()]
    if not isinstance(item, Mapping):
        return None
    kind = item.get("type")
    if kind == "FeatureCollection":
        return [_feature(one) for one in item["features"]]
    if kind == "Feature":
        return [_feature(item)]
    if kind in GEOMETRIES:
        return [_feature({"type": "Feature", "geometry": dict(item)})]
    return None


def content_of(item: Any) -> bytes | None:
    """The features of anything that has geometries as canonical GeoJSON text; None if it has none.

    Raises
    ------
    ParameterError
        If they are not in degrees, too many, or none.
    """
    features = features_of(item)
    if features is None:
        return None
    crs = item.get("crs") if isinstance(item, Mapping) else None
    if crs and not any(one in str(crs) for one in IN_DEGREES):
        raise ParameterError(
            "This GeoJSON is not in degrees.", hint="Write it to a file, and give gl.vector the file's path."
        )
    if not features:
        raise ParameterError("There are no features in it.", hint="If it is m.drawn: draw something first.")
    plain = []
    for number, feature in enumerate(features):
        _check(feature["geometry"], number)
        properties = {str(name): plain_value(value) for name, value in feature["properties"].items()}
        kept = {"type": "Feature", "geometry": _bare(feature["geometry"]), "properties": properties}
        plain.append(kept if feature.get("id") is None else {**kept, "id": plain_value(feature["id"])})
    return sendable(canonical({"type": "FeatureCollection", "features": plain}), "geometries")


def sendable(content: bytes, what: str) -> bytes:
    """A text that travels to the engine; raises ParameterError if it is too long for that."""
    if len(content) > LONGEST_TEXT:
        raise ParameterError(
            f"The {what} are {len(content) / 1e6:,.0f} MB as text; "
            f"at most {LONGEST_TEXT / 1e6:,.0f} MB travel to the engine.",
            hint="Write them to a GeoPackage, and give gl.vector its path.",
        )
    return content


def bounds_of(features: list[dict[str, Any]]) -> Bounds | None:
    """What holds all of them, in degrees; None if they are empty."""
    places = [place for feature in features for place in _places(feature["geometry"])]
    if not places:
        return None
    lons, lats = [one[0] for one in places], [one[1] for one in places]
    return Bounds(min(lons), min(lats), max(lons), max(lats))


def _feature(feature: Mapping[str, Any]) -> dict[str, Any]:
    return {**feature, "properties": dict(feature.get("properties") or {})}


def _bare(geometry: Any) -> Any:
    """A geometry's type and coordinates."""
    if geometry is None:
        return None
    if geometry["type"] == "GeometryCollection":
        return {"type": geometry["type"], "geometries": [_bare(one) for one in geometry["geometries"]]}
    return {"type": geometry["type"], "coordinates": _lists(geometry["coordinates"])}


def _lists(value: Any) -> Any:
    return float(value) + 0.0 if isinstance(value, int | float) else [_lists(one) for one in value]


def _check(geometry: Any, number: int) -> None:
    """Refuse what is no geometry in degrees."""
    try:
        places = [(float(one[0]), float(one[1])) for one in _places(geometry)]
    except (TypeError, KeyError, IndexError, ValueError, RecursionError):
        raise ParameterError(f"The geometry of feature {number} is no GeoJSON geometry.") from None
    for lon, lat in places:
        if not (-540 <= lon <= 540 and -90.001 <= lat <= 90.001):
            raise ParameterError(
                f"Feature {number} is not in degrees: it has the coordinates {lon:,.9g}, {lat:,.9g}.",
                hint="GeoJSON is longitude, latitude. Bring a GeoDataFrame with its crs set, or a file.",
            )


def _places(geometry: Any) -> Iterator[Any]:
    """All positions of a geometry."""
    if geometry is None:
        return
    if geometry["type"] == "GeometryCollection":
        for one in geometry["geometries"]:
            yield from _places(one)
    elif geometry["type"] in GEOMETRIES:
        yield from _positions(geometry["coordinates"])
    else:
        raise ValueError(geometry["type"])


def _positions(coordinates: Any) -> Iterator[Any]:
    if isinstance(coordinates, str | Mapping):
        raise ValueError("no coordinates")
    if len(coordinates) and isinstance(coordinates[0], int | float):
        yield coordinates
        return
    for one in coordinates:
        yield from _positions(one)


def plain_value(value: Any) -> Any:
    """A value of an attribute as JSON has it; what is missing is None."""
    if type(value) in (str, int, bool):
        return value
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [plain_value(one) for one in value]
    if isinstance(value, Mapping):
        return {str(name): plain_value(one) for name, one in value.items()}
    if isinstance(value, datetime.date | datetime.datetime):
        return None if value != value else value.isoformat()
    return None if value != value else str(value)
