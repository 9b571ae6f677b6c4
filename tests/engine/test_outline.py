"""Outlines hold every pixel of their grid, wherever on the globe."""

from __future__ import annotations

import math

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geoloom.grid import Grid, Lattice, Tile
from geoloom_engine.outline import SLACK, centres, outline
from geoloom_engine.projection import into_degrees, out_of_degrees, spelled

UTM = Lattice("EPSG:32633", 10.0, 10.0, 0.0, 9_000_000.0)
DEGREES = Lattice("EPSG:4326", 0.1, 0.1, -180.0, 90.0, "degree")


def held(grid: Grid) -> bool:
    lon, lat = centres(grid)
    return bool(shapely.intersects_xy(outline(grid), lon, lat).all())


@given(st.integers(0, 14), st.floats(-180, 180), st.floats(-85, 85), st.sampled_from([1, 2]))
def test_tiles_lie_within_their_outline(zoom: int, lon: float, lat: float, ratio: int) -> None:
    tile = Tile.at(lon, lat, zoom)
    grid = tile.grid(ratio)
    assert held(grid)
    _, south, _, north = outline(grid).bounds
    bounds = tile.bounds()
    assert math.isclose(north, bounds.north + SLACK, abs_tol=1e-9)
    assert math.isclose(south, bounds.south - SLACK, abs_tol=1e-9)


@given(st.integers(0, 100_000), st.integers(100_000, 800_000), st.integers(1, 3000), st.integers(1, 3000))
def test_grids_in_utm_lie_within_their_outline(col: int, row: int, cols: int, rows: int) -> None:
    step = Grid(UTM, col, row, cols, rows)
    assert held(Grid(UTM, step.col, step.row, min(cols, 60), min(rows, 60)))


@pytest.mark.parametrize(("col", "cols"), [(-20, 40), (3590, 30), (7190, 30), (0, 3600), (-5, 4000)])
def test_grids_over_the_antimeridian(col: int, cols: int) -> None:
    grid = Grid(DEGREES, col, 800, cols, 30)
    assert held(grid)
    assert outline(grid).bounds[0] >= -180
    assert outline(grid).bounds[2] <= 180


def test_beyond_the_antimeridian_only_the_two_edges_are_meant() -> None:
    parts = shapely.get_parts(outline(Tile(3, 0, 3).grid().expand(4)))
    assert len(parts) == 2
    assert sum(part.area for part in parts) < 50 * 50


def test_a_grid_round_a_pole_reaches_it() -> None:
    polar = Lattice("EPSG:3995", 10_000.0, 10_000.0, -1_000_000.0, 1_000_000.0)
    area = outline(Grid(polar, 0, 0, 200, 200))
    assert area.bounds[0] == -180
    assert area.bounds[3] == 90
    assert held(Grid(polar, 0, 0, 200, 200))


def test_centres_of_a_tile() -> None:
    lon, lat = centres(Tile(0, 0, 0).grid())
    assert lon.shape == lat.shape == (256, 256)
    np.testing.assert_allclose(lon[0, [0, -1]], [-180 + 180 / 256, 180 - 180 / 256])
    assert (np.diff(lat[:, 0]) < 0).all()


def test_there_and_back_between_a_system_and_degrees() -> None:
    x, y = out_of_degrees("EPSG:32633").transform(15.0, 45.0)
    assert (round(x), round(y)) == (500_000, 4_982_950)
    assert into_degrees("EPSG:32633").transform(x, y) == pytest.approx((15.0, 45.0), abs=1e-9)
    assert into_degrees("EPSG:32633") is into_degrees("EPSG:32633")


def test_a_system_is_named_by_its_authority_where_that_is_the_same() -> None:
    utm = pyproj.CRS("EPSG:32633")
    assert spelled(utm) == "EPSG:32633"
    shifted = pyproj.CRS(utm.to_wkt().replace("500000", "500001"))
    assert spelled(shifted).startswith("PROJCRS")
