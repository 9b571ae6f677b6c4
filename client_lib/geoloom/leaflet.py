"""Vectors as ipyleaflet layers: GeoJSON, GeoDataFrames and whatever has a `__geo_interface__`."""

from __future__ import annotations

import os
from typing import Any

import ipyleaflet

from geoloom.errors import ParameterError
from geoloom.geojson import features_of


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
    features = features_of(item)
    if features is not None:
        return as_text(ipyleaflet.GeoJSON(data={"type": "FeatureCollection", "features": features}))
    raise ParameterError(
        f"This {type(item).__name__} cannot be shown on a map.",
        hint="Open the file first: m.add_layer(gl.open(…)), or gl.vector(…) for features."
        if isinstance(item, str | os.PathLike)
        else "Give an image, a vector, GeoJSON, a GeoDataFrame or an ipyleaflet layer.",
    )


def as_text[T: ipyleaflet.Layer | ipyleaflet.Control](part: T) -> T:
    """A part of a map, shown as text where it ends a cell: apart from its map, Leaflet shows an error."""
    words = f"<{type(part).__name__} on a map>"
    part._repr_mimebundle_ = lambda **_: {"text/plain": words}
    return part
