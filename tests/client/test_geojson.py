"""Geometries in any form, as GeoJSON in degrees."""

from __future__ import annotations

import datetime
import json
from typing import Any

import numpy as np
import pytest
from shapely.geometry import MultiPoint, Point, box

from geoloom import geojson
from geoloom.errors import ParameterError
from geoloom.geojson import bounds_of, content_of, features_of
from geoloom.grid import Bounds
from geoloom.joining import Table

POINT = {"type": "Point", "coordinates": [12, 45]}
FEATURE = {"type": "Feature", "geometry": POINT, "properties": {"name": "well"}}
COLLECTION = {"type": "FeatureCollection", "features": [FEATURE, FEATURE]}


class Frame:
    """As much of a GeoDataFrame as is asked for."""

    crs = "EPSG:32634"

    def to_crs(self, crs: int) -> Any:
        assert crs == 4326
        return type("Moved", (), {"__geo_interface__": COLLECTION})()


@pytest.mark.parametrize(
    ("item", "count"),
    [
        (POINT, 1),
        (FEATURE, 1),
        (COLLECTION, 2),
        (Point(12, 45), 1),
        ([POINT, box(0, 0, 1, 1)], 2),
        (Frame(), 2),
    ],
)
def test_many_forms(item: Any, count: int) -> None:
    assert len(features_of(item) or ()) == count
    told = json.loads(content_of(item) or b"")
    assert told["type"] == "FeatureCollection"
    assert told["features"][0]["geometry"] == {"type": "Point", "coordinates": [12.0, 45.0]}


@pytest.mark.parametrize("item", [None, 3, "a.gpkg", {}, {"type": "Nonsense"}, [], [POINT, 3]])
def test_other_things_have_no_geometry(item: object) -> None:
    assert features_of(item) is None
    assert content_of(item) is None


def test_equal_features_are_equal_texts() -> None:
    other = {
        "properties": {"name": "well"},
        "type": "Feature",
        "geometry": Point(12.0, 45.0).__geo_interface__,
    }
    assert content_of(FEATURE) == content_of(other)


def test_attributes_become_json() -> None:
    given = {
        "count": np.int64(3),
        "share": np.float32(0.5),
        "gap": float("nan"),
        "day": datetime.date(2026, 7, 1),
        "list": (1, np.bool_(True)),
        "more": {"a": datetime.datetime(2026, 7, 1, 12, tzinfo=datetime.UTC)},
        "odd": 1j,
    }
    feature = {"type": "Feature", "geometry": None, "properties": given, "id": np.int64(7)}
    (told,) = json.loads(content_of(feature) or b"")["features"]
    assert told["geometry"] is None
    assert told["id"] == 7
    assert told["properties"] == {
        "count": 3,
        "share": 0.5,
        "gap": None,
        "day": "2026-07-01",
        "list": [1, True],
        "more": {"a": "2026-07-01T12:00:00+00:00"},
        "odd": "1j",
    }


def test_bounds() -> None:
    features = features_of([MultiPoint([(1, 2), (3, -4)]), box(-1, 0, 0, 1)])
    assert bounds_of(features or []) == Bounds(-1.0, -4.0, 3.0, 2.0)
    several = {"type": "GeometryCollection", "geometries": [POINT]}
    assert bounds_of(features_of(several) or []) == Bounds(12, 45, 12, 45)
    assert bounds_of([{"geometry": None}]) is None


@pytest.mark.parametrize(
    ("geometry", "words"),
    [
        ({"type": "Point", "coordinates": [500_000.0, 4_900_000.0]}, "Feature 0 is not in degrees"),
        ({"type": "Point", "coordinates": [12.0, float("nan")]}, "Feature 0 is not in degrees"),
        ({"type": "Point", "coordinates": ["12", "45"]}, "feature 0 is no GeoJSON"),
        ({"type": "Point", "coordinates": [12.0]}, "feature 0 is no GeoJSON"),
        ({"type": "Circle", "coordinates": [12.0, 45.0]}, "feature 0 is no GeoJSON"),
        ({"type": "Polygon"}, "feature 0 is no GeoJSON"),
    ],
)
def test_broken_geometries_are_refused(geometry: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        content_of({"type": "Feature", "geometry": geometry, "properties": None})


def test_too_much_is_refused_before_it_travels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geojson, "LONGEST_TEXT", 100)
    with pytest.raises(ParameterError, match=r"geometries are 0 MB as text; at most 0 MB travel.*GeoPackage"):
        content_of(COLLECTION)
    with pytest.raises(ParameterError, match="rows of the table"):
        Table.of({i: i for i in range(100)}, "code", "n").content()


def test_other_coordinates_and_nothing_are_refused() -> None:
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32634"}}
    with pytest.raises(ParameterError, match="not in degrees"):
        content_of({**COLLECTION, "crs": crs})
    fine = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
    assert content_of({**COLLECTION, "crs": fine}) == content_of(COLLECTION)
    with pytest.raises(ParameterError, match="no features"):
        content_of({"type": "FeatureCollection", "features": []})
