from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoloom.view import bbox_around, bbox_of, fitting


@given(
    st.floats(-180, 180),
    st.floats(-84, 84),
    st.floats(0.001, 90),
    st.floats(0.001, 60),
    st.tuples(st.integers(100, 3000), st.integers(100, 2000)),
)
def test_fitting_shows_every_box(
    west: float, south: float, width: float, height: float, size: tuple[int, int]
) -> None:
    north = min(south + height, 84.9)
    east = west + width if west + width <= 180 else west + width - 360
    center, zoom = fitting((west, south, east, north), size)
    shown = bbox_around(center, zoom, size)
    assert 0 <= zoom <= 18
    assert -180 <= center[1] <= 180
    if zoom > 0:
        assert shown[1] <= south + 1e-6
        assert shown[3] >= north - 1e-6
        assert shown[0] == -shown[2] == -180 or (shown[2] - shown[0]) % 360 >= width - 1e-6


def test_a_place_without_size_is_shown_closely() -> None:
    assert fitting((10.0, 45.0, 10.0, 45.0), (900, 480)) == ((pytest.approx(45.0), 10.0), 18)


def test_over_the_antimeridian_the_short_way_is_shown() -> None:
    (lat, lon), zoom = fitting((170.0, -10.0, -170.0, 10.0), (900, 480))
    assert abs(lon) == 180
    assert abs(lat) < 1e-9
    assert zoom >= 4


def test_edges_beyond_180_degrees_are_the_same_places() -> None:
    assert bbox_of(170.0, 0.0, 190.0, 1.0) == (170.0, 0.0, -170.0, 1.0)
    assert bbox_of(-300.0, 0.0, 300.0, 1.0) == (-180.0, 0.0, 180.0, 1.0)
