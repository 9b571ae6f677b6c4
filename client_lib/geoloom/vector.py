"""Vectors as ipyleaflet layers: GeoJSON, GeoDataFrames and whatever has a `__geo_interface__`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import ipyleaflet

from geoloom.errors import ParameterError

GEOMETRIES = (
    "Point",
    "MultiPoint",
    "LineString",
    "MultiLineString",
    "Polygon",
    "MultiPolygon",
    "GeometryCollection",
)


def leaflet_layer(item: Any) -> ipyleaflet.Layer:
    """The layer that shows an item.

    Parameters
    ----------
    item
        An ipyleaflet layer (returned as it is), GeoJSON as a dict, a GeoDataFrame, or any object with a
        ``__geo_interface__`` in degrees.

    Raises
    ------
    ParameterError
        If it is none of these.
    """
    if hasattr(item, "as_leaflet_layer"):
        item = item.as_leaflet_layer()
    if isinstance(item, ipyleaflet.Layer):
        return as_text(item)
    if isinstance(item, Mapping) and item.get("type") in ("FeatureCollection", "Feature", *GEOMETRIES):
        return as_text(ipyleaflet.GeoJSON(data=_collection(item)))
    if getattr(item, "crs", None) is not None and hasattr(item, "to_crs"):
        item = item.to_crs(4326)
    if hasattr(item, "__geo_interface__"):
        return as_text(ipyleaflet.GeoJSON(data=_collection(item.__geo_interface__)))
    raise ParameterError(
        f"This {type(item).__name__} cannot be shown on a map.",
        hint="Open the file first: m.add_layer(gl.open(…))."
        if isinstance(item, str | os.PathLike)
        else "Give an image, GeoJSON, a GeoDataFrame or an ipyleaflet layer.",
    )


def as_text[T: ipyleaflet.Layer | ipyleaflet.Control](part: T) -> T:
    """A part of a map, shown as text where it ends a cell: apart from its map, Leaflet shows an error."""
    words = f"<{type(part).__name__} on a map>"
    part._repr_mimebundle_ = lambda **_: {"text/plain": words}
    return part


def _collection(item: Mapping[str, Any]) -> dict[str, Any]:
    """Any GeoJSON as a FeatureCollection, whose features ipyleaflet styles without surprises."""
    if item["type"] == "FeatureCollection":
        features = list(item["features"])
    elif item["type"] == "Feature":
        features = [item]
    else:
        features = [{"type": "Feature", "geometry": dict(item)}]
    whole = [{**feature, "properties": dict(feature.get("properties") or {})} for feature in features]
    return {"type": "FeatureCollection", "features": whole}
