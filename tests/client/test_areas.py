from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geoloom.areas import around, buffered, geometry_of, rectangle, swapped, to_json
from geoloom.errors import ParameterError
from geoloom.query import MAX_POSITIONS, Query

pyproj = pytest.importorskip("pyproj")

GEOD = pyproj.Geod(ellps="WGS84")
BOX = shapely.box(23.5, 44.2, 23.8, 44.6)


def distances(lon: float, lat: float, places: Any) -> Any:
    """Ground kilometres from a point to places (n, 2)."""
    n = len(places)
    return GEOD.inv(np.full(n, lon), np.full(n, lat), places[:, 0], places[:, 1])[2] / 1000


@given(st.floats(-180, 180), st.floats(-90, 90), st.floats(0.5, 500), st.randoms())
@settings(deadline=None, max_examples=60)
def test_a_circle_holds_just_what_is_nearer(lon: float, lat: float, km: float, random: Any) -> None:
    circle = around(lon, lat, km)
    assert circle.is_valid
    west, south, east, north = circle.bounds
    assert -180 <= west <= east <= 180
    assert -90 <= south <= north <= 90
    for share, inside in ((0.99, True), (1.01, False)):
        x, y, _ = GEOD.fwd(lon, lat, random.uniform(-180, 180), km * share * 1000)
        assert circle.covers(shapely.Point(x, y)) is inside
    Query("s2", areas=(to_json(circle),))


def test_a_circle_over_the_antimeridian_and_over_a_pole() -> None:
    fiji = around(179.9, -17, 100)
    assert fiji.geom_type == "MultiPolygon"
    assert fiji.bounds[::2] == (-180, 180)
    assert fiji.covers(shapely.Point(-179.6, -17))
    assert not fiji.intersects(shapely.Point(0, -17))
    pole = around(30, 89.5, 200)
    assert pole.covers(shapely.MultiPoint([(-150, 89), (120, 89.5), (0, 90)]))
    assert not pole.intersects(shapely.Point(-150, 88))


def test_the_surroundings_of_an_area() -> None:
    near = buffered(BOX, 10)
    assert near.covers(BOX)
    for point, inside in (
        ((23.65, 44.6 + 0.089), True),
        ((23.65, 44.6 + 0.091), False),
        ((23.8 + 0.125, 44.4), True),
    ):
        assert near.covers(shapely.Point(point)) is inside
    holed = shapely.Polygon(BOX.exterior, [shapely.box(23.55, 44.25, 23.75, 44.55).exterior])
    assert len(buffered(holed, 3).interiors) == 1
    line = buffered(shapely.LineString([(8, 45), (9, 46)]), 5)
    corners = shapely.get_coordinates(line)
    assert distances(8, 45, corners).min() == pytest.approx(5, rel=0.01)
    edge = buffered(rectangle(170, -20, 180, -10), 50)
    assert edge.covers(shapely.Point(-179.7, -15))
    over = buffered(rectangle(179, -20, -179, -10), 50)
    assert over.covers(shapely.Point(180, -9.7))
    assert over.area < 40


@pytest.mark.parametrize("km", [-1, 2001, float("nan"), "10", None, True])
def test_a_buffer_is_a_distance(km: Any) -> None:
    with pytest.raises(ParameterError):
        around(8, 45, km)


def test_rectangles() -> None:
    assert rectangle(23.5, 44.2, 23.8, 44.6).equals(BOX)
    assert rectangle((23.5, 44.2, 23.8, 44.6)).equals(BOX)
    assert rectangle(np.array([23.5, 44.2, 23.8, 44.6])).equals(BOX)
    across = rectangle(170, -20, -170, -10)
    assert across.equals(shapely.union(shapely.box(170, -20, 180, -10), shapely.box(-180, -20, -170, -10)))
    assert rectangle(190, 0, 200, 5).bounds == (-170, 0, -160, 5)
    assert rectangle(-180, -90, 180, 90).bounds == (-180, -90, 180, 90)
    with pytest.warns(UserWarning, match=r"Was filter_rect\(23.5, 44.2, 23.8, 44.6\) meant"):
        rectangle(23.8, 44.2, 23.5, 44.6)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((44.2, 123.5, 44.6, 123.8), "123.5, 44.2, 123.8, 44.6?"),
        ((23.5, 44.6, 23.8, 44.2), "44.2, 23.8, 44.6"),
        ((23.5, 44.2, 23.8, 44.2), "filter_location"),
        ((23.5, 44.2, 23.5, 44.6), "filter_location"),
        ((23.5, 44.2, 23.8), "four numbers"),
        (("23.5", 44.2, 23.8, 44.6), "no number"),
        ((1000, 44.2, 2000, 44.6), "not in degrees"),
        ((500_000, 4_900_000, 600_000, 5_000_000), "latitudes lie between"),
    ],
)
def test_what_is_no_rectangle(numbers: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ParameterError) as caught:
        rectangle(*numbers)
    assert said in str(caught.value)


def test_swapped_places_are_recognised() -> None:
    with pytest.raises(ParameterError, match=r"is it \(123, 45.8\)"):
        around(45.8, 123)
    assert shapely.geometry.shape(swapped(to_json(BOX))).equals(shapely.box(44.2, 23.5, 44.6, 23.8))
    assert swapped(to_json(shapely.box(100, 0, 110, 10))) is None


class Frame:
    """As much of a GeoDataFrame as is looked at."""

    crs = "EPSG:32634"
    __geo_interface__ = {"type": "Point", "coordinates": [500_000, 4_900_000]}

    def to_crs(self, crs: int) -> shapely.Geometry:
        assert crs == 4326
        return BOX


@pytest.mark.parametrize(
    "given",
    [
        BOX,
        shapely.geometry.mapping(BOX),
        json.dumps(shapely.geometry.mapping(BOX)),
        {"type": "Feature", "geometry": shapely.geometry.mapping(BOX), "properties": None},
        {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": BOX.__geo_interface__}]},
        {"type": "GeometryCollection", "geometries": [BOX.__geo_interface__]},
        [shapely.box(23.5, 44.2, 23.65, 44.6), shapely.box(23.65, 44.2, 23.8, 44.6)],
        Frame(),
    ],
    ids=lambda given: type(given).__name__,
)
def test_geometries_in_every_form(given: Any) -> None:
    assert geometry_of(given).equals(BOX)


def test_geometries_over_the_antimeridian() -> None:
    jump = shapely.Polygon([(179, 0), (-179, 0), (-179, 1), (179, 1)])
    beyond = shapely.box(179, 0, 181, 1)
    assert geometry_of(jump).equals(geometry_of(beyond))
    assert geometry_of(jump).area == pytest.approx(2)
    assert geometry_of(shapely.LineString([(179, 0), (-179, 1)])).length == pytest.approx(5**0.5)
    assert geometry_of(shapely.Point(190, 5)).equals(shapely.Point(-170, 5))


def test_mixed_and_crossed_geometries_become_what_a_query_takes() -> None:
    bow = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])
    for one in (bow, [BOX, shapely.Point(8, 45)], shapely.Point(8, 45, 200)):
        told = to_json(geometry_of(one))
        assert Query("s2", areas=(told,)).areas
    assert geometry_of(bow).area == pytest.approx(0.5)


def test_outlines_with_too_many_corners_are_simplified() -> None:
    ring = around(8, 45, 1000)
    many = shapely.segmentize(ring, ring.length / MAX_POSITIONS)
    assert shapely.get_num_coordinates(many) > MAX_POSITIONS // 2
    told = to_json(many)
    assert Query("s2", areas=(told,)).areas
    assert shapely.geometry.shape(told).symmetric_difference(ring).area < 0.01 * ring.area


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (3, "no geometry"),
        (SimpleNamespace(bounds=(1, 2, 3, 4)), "filter_rect(….bounds)"),
        ("scene.tif", "no geometry"),
        ((23.5, 44.2, 23.8, 44.6), "filter_rect"),
        ({"type": "FeatureCollection", "features": []}, "m.draw"),
        ({"type": "Polygon", "coordinates": [[[0, 0]]]}, "no geometry"),
        ({"type": "Polygon", "coordinates": "here"}, "no geometry"),
        ({"type": "FeatureCollection"}, "no geometry"),
        (
            {"type": "Point", "coordinates": [1, 2], "crs": {"properties": {"name": "EPSG:32634"}}},
            "not in degrees",
        ),
        (shapely.Point(500_000, 4_900_000), "not in degrees"),
        (shapely.Point(45, 170), "exchanged"),
        (shapely.Point(), "no geometry in it"),
        (shapely.Point(np.inf, 1), "not numbers"),
    ],
)
def test_what_is_no_geometry(given: Any, said: str) -> None:
    with pytest.raises(ParameterError) as caught:
        geometry_of(given)
    assert said in str(caught.value)
