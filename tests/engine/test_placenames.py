from __future__ import annotations

import pytest

from geoloom.grid import Tile
from geoloom_engine.placenames import names_on


def texts(lon: float, lat: float, z: int) -> set[str]:
    tile = Tile.at(lon, lat, z)
    return {name.text for name in names_on(z, tile.x, tile.y)}


def test_names_come_with_the_zoom() -> None:
    assert names_on(0, 0, 0) == []
    assert "Brazil" in texts(-53, -10, 3)
    assert "Paris" not in texts(2.35, 48.85, 2)
    assert "Paris" in texts(2.35, 48.85, 6)
    assert "Novara" in texts(8.62, 45.45, 10)
    assert "Italy" not in texts(12.5, 42.5, 12)


@pytest.mark.parametrize("z", [2, 4, 6, 8])
def test_names_of_a_zoom_do_not_overlap(z: int) -> None:
    found = {name for x in range(4) for y in range(4) for name in names_on(z, x << (z - 2), y << (z - 2))}
    places = [(name.x, name.y) for name in found]
    assert len(set(places)) == len(places)


def test_a_name_across_an_edge_is_on_both_tiles() -> None:
    z = 5
    world = 2**z
    for y in range(8, 16):
        for x in range(world):
            here = {(name.text, name.x % (256 * world), name.y) for name in names_on(z, x, y)}
            for name in names_on(z, (x - 1) % world, y):
                right_of_edge = name.city and name.x + 12 > x * 256 > name.x - 2
                if right_of_edge and 0 < x:
                    assert (name.text, name.x % (256 * world), name.y) in here


def test_positions_are_near_the_tile_also_across_the_antimeridian() -> None:
    for z in (3, 6):
        for x in (0, 2**z - 1):
            for y in range(2**z):
                for name in names_on(z, x, y):
                    assert abs(name.x - (x + 0.5) * 256) < 128 + 300
                    assert name.x == int(name.x)
