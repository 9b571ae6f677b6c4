from __future__ import annotations

import numpy as np
import pytest
import shapely

from geoloom.grid import Tile
from geoloom_engine.atlas import MARGIN, cell, cities, countries


def on_land(lon: float, lat: float, z: int) -> bool:
    tile = Tile.at(lon, lat, z)
    down = 0.5 - np.arctanh(np.sin(np.radians(lat))) / (2 * np.pi)
    point = shapely.Point(lon / 360 + 0.5, down)
    return bool(shapely.intersects(cell(z, tile.x, tile.y).land, point).any())


@pytest.mark.parametrize("z", [0, 1, 3, 5, 6, 9, 14, 18])
@pytest.mark.parametrize(
    ("lon", "lat", "land"),
    [
        (9.0, 50.0, True),
        (23.15, 44.16, True),
        (-60.0, -10.0, True),
        (178.0, 67.0, True),  # Chukotka, on both sides of the antimeridian
        (-172.0, 66.0, True),
        (120.0, -80.0, True),
        (50.5, 42.0, False),  # the Caspian Sea
        (-30.0, 40.0, False),
        (180.0, 0.0, False),
        (-150.0, 75.0, False),
    ],
)
def test_land_is_where_it_is(lon: float, lat: float, land: bool, z: int) -> None:
    assert on_land(lon, lat, z) is land


def test_shapes_stay_near_their_cell() -> None:
    z, x, y = 7, 66, 45
    for shapes in (cell(z, x, y).land, cell(z, x, y).borders):
        assert shapes.size
        west, north, east, south = shapely.total_bounds(shapes) * 2**z
        assert west >= x - MARGIN - 1e-9
        assert east <= x + 1 + MARGIN + 1e-9
        assert north >= y - MARGIN - 1e-9
        assert south <= y + 1 + MARGIN + 1e-9


def test_the_high_seas_are_empty() -> None:
    content = cell(10, 100, 512)
    assert content.land.size == content.borders.size == 0


def test_places() -> None:
    names = {country.name for country in countries()}
    assert {"Italy", "Romania", "France", "New Zealand"} <= names
    assert len(names) > 200
    by_name = {city.name: city for city in cities()}
    assert by_name["Bucharest"].capital
    assert not by_name["Milan"].capital
    assert abs(by_name["Milan"].x - (9.19 / 360 + 0.5)) < 1e-4
    assert 1000 < len(cities()) < 10_000
    assert all(name.isprintable() for name in by_name)
