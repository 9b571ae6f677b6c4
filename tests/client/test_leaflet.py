from __future__ import annotations

from typing import Any

import ipyleaflet
import pytest
from shapely.geometry import Point, box

from geoloom.errors import ParameterError
from geoloom.leaflet import leaflet_layer

POINT = {"type": "Point", "coordinates": [12.0, 45.0]}
FEATURE = {"type": "Feature", "geometry": POINT, "properties": None}


@pytest.mark.parametrize("item", [POINT, FEATURE, {"type": "FeatureCollection", "features": [FEATURE]}])
def test_all_geojson_becomes_features_with_properties(item: dict[str, Any]) -> None:
    layer = leaflet_layer(item)
    (feature,) = layer.data["features"]
    assert feature["geometry"] == POINT
    assert "properties" in feature


def test_shapes_are_shown() -> None:
    assert leaflet_layer(box(0, 0, 1, 1)).data["features"][0]["geometry"]["type"] == "Polygon"
    assert leaflet_layer(Point(1, 2)).data["features"][0]["geometry"]["type"] == "Point"


def test_layers_are_left_as_they_are() -> None:
    layer = ipyleaflet.Marker(location=(1, 2))
    assert leaflet_layer(layer) is layer


@pytest.mark.parametrize("item", [None, 3, "text", {"type": "Nonsense"}, {}])
def test_the_rest_is_refused(item: object) -> None:
    with pytest.raises(ParameterError, match="cannot be shown on a map"):
        leaflet_layer(item)


def test_a_layer_at_the_end_of_a_cell_is_text() -> None:
    layer = leaflet_layer({"type": "Point", "coordinates": [12.0, 45.0]})
    assert layer._repr_mimebundle_(include=None, exclude=None) == {"text/plain": "<GeoJSON on a map>"}
