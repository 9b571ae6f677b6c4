from __future__ import annotations

import math

import numpy as np
import pyproj
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoloom.errors import RequestError
from geoloom.grid import MAX_ZOOM, MERCATOR_EXTENT, TILE_SIZE, Bounds, Grid, Lattice, Tile, mercator_latitude

DEGREES = Lattice("EPSG:4326", 0.001, 0.001, -180.0, 90.0, "degree")
UTM = Lattice("EPSG:32633", 10.0, 10.0, 300_000.0, 5_200_000.0)


@st.composite
def tiles(draw: st.DrawFn) -> Tile:
    z = draw(st.integers(0, MAX_ZOOM))
    last = (1 << z) - 1
    return Tile(z, draw(st.integers(0, last)), draw(st.integers(0, last)))


# tiles -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("z", "x", "y", "words"),
    [
        (-1, 0, 0, "Zoom -1 does not exist. Use 0 to 30."),
        (31, 0, 0, "Zoom 31 does not exist"),
        (10**6, 0, 0, "Zoom 1000000 does not exist"),
        (2, 4, 0, "Tile column 4 does not exist at zoom 2. Use 0 to 3."),
        (2, 0, 4, "Tile row 4 does not exist at zoom 2"),
        (2, -1, 0, "Tile column -1"),
        (2, 0, -1, "Tile row -1"),
        (2.5, 0, 0, "A tile's z must be a whole number"),
        (2, "1", 0, "A tile's x must be a whole number"),
        (2, 0, None, "A tile's y must be a whole number"),
        (2, 0, math.nan, "A tile's y must be a whole number"),
    ],
)
def test_tiles_that_do_not_exist(z: int, x: int, y: int, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        Tile(z, x, y)


def test_numpy_integers_do_not_overflow() -> None:
    tile = Tile(np.int64(30), np.int32(2**30 - 1), np.int32(2**30 - 1))
    assert tile.grid(4).col == (2**30 - 1) * 1024
    assert tile == Tile(30, 2**30 - 1, 2**30 - 1)
    assert type(tile.x) is int


@given(tiles())
def test_a_tiles_centre_lies_in_the_tile(tile: Tile) -> None:
    box = tile.bounds()
    middle = (box.west + box.east) / 2, (box.south + box.north) / 2
    assert Tile.at(*middle, tile.z) == tile


@given(st.floats(-180, 180, exclude_max=True), st.floats(-85.05, 85.05), st.integers(0, 24))
def test_the_tile_at_a_place_holds_it(lon: float, lat: float, z: int) -> None:
    box = Tile.at(lon, lat, z).bounds()
    assert box.west - 1e-9 <= lon <= box.east + 1e-9
    assert box.south - 1e-9 <= lat <= box.north + 1e-9


@pytest.mark.parametrize(
    ("lon", "lat", "expected"),
    [
        (180.0, 0.0, (0, 2)),
        (-180.0, 0.0, (0, 2)),
        (540.0, 0.0, (0, 2)),
        (-190.0, 0.0, (3, 2)),
        (0, 90, (2, 0)),
        (0, -90, (2, 3)),
    ],
)
def test_places_beyond_the_edge(lon: float, lat: float, expected: tuple[int, int]) -> None:
    tile = Tile.at(lon, lat, 2)
    assert (tile.x, tile.y) == expected


@pytest.mark.parametrize(("lon", "lat", "z"), [(math.nan, 0, 1), (0, math.inf, 1), (0, 0, -1), (0, 0, 10**9)])
def test_no_place_no_tile(lon: float, lat: float, z: int) -> None:
    with pytest.raises(RequestError):
        Tile.at(lon, lat, z)


def test_the_world_is_one_tile() -> None:
    box = Tile(0, 0, 0).bounds()
    assert (box.west, box.east) == (-180, 180)
    assert box.north == -box.south == pytest.approx(85.0511287798066)


@given(tiles())
def test_a_tiles_grid_has_its_bounds(tile: Tile) -> None:
    box, grid = tile.bounds(), tile.grid()
    edges = grid.bounds()
    assert grid.shape == (TILE_SIZE, TILE_SIZE)
    for degrees, metres in ((box.west, edges.west), (box.east, edges.east)):
        assert metres / MERCATOR_EXTENT * 180 == pytest.approx(degrees, abs=1e-9)
    for degrees, metres in ((box.south, edges.south), (box.north, edges.north)):
        assert mercator_latitude(metres) == pytest.approx(degrees, abs=1e-9)


@pytest.mark.parametrize("ratio", [1, 2, 4])
def test_pixel_ratios_are_pixels_of_a_later_zoom(ratio: int) -> None:
    tile = Tile(5, 17, 11)
    grid = tile.grid(ratio)
    assert grid.lattice == Lattice.web_mercator(5 + {1: 0, 2: 1, 4: 2}[ratio])
    assert grid.shape == (256 * ratio, 256 * ratio)
    first, plain = grid.bounds(), tile.grid().bounds()
    for edge in ("west", "south", "east", "north"):
        assert getattr(first, edge) == pytest.approx(getattr(plain, edge), abs=1e-6)


@pytest.mark.parametrize("ratio", [0, 3, -1, 1.5, 8])
def test_other_pixel_ratios(ratio: int) -> None:
    with pytest.raises(RequestError, match="Use 1, 2 or 4"):
        Tile(0, 0, 0).grid(ratio)


# bounds ----------------------------------------------------------------------------------------


def test_bounds_across_the_antimeridian_have_two_parts() -> None:
    assert Bounds(170, -10, -170, 10).parts() == (Bounds(170, -10, 180, 10), Bounds(-180, -10, -170, 10))
    assert Bounds(-10, -10, 10, 10).parts() == (Bounds(-10, -10, 10, 10),)
    assert tuple(Bounds(1, 2, 3, 4)) == (1, 2, 3, 4)


@given(st.floats(-180, 180), st.floats(-180, 180))
def test_the_parts_cover_as_much_as_the_whole(west: float, east: float) -> None:
    parts = Bounds(west, 0, east, 1).parts()
    assert all(part.west <= part.east for part in parts)
    width = east - west if west <= east else 360 + east - west
    assert sum(part.east - part.west for part in parts) == pytest.approx(width)


# lattices --------------------------------------------------------------------------------------


@given(st.integers(0, MAX_ZOOM))
def test_web_mercator_closes_on_itself(zoom: int) -> None:
    assert Lattice.web_mercator(zoom).period == 256 << zoom


def test_the_period_of_other_lattices() -> None:
    assert UTM.period is None
    assert DEGREES.period == 360_000
    assert Lattice("EPSG:4326", 1 / 3600, 1 / 3600, -180.0, 90.0, "degree").period == 1_296_000
    assert Lattice("EPSG:4326", 0.7, 0.7, -180.0, 90.0, "degree").period is None


# grids -----------------------------------------------------------------------------------------

numbers = st.integers(-(2**40), 2**40)
sizes = st.integers(1, 600)
grids = st.builds(
    Grid, st.sampled_from([Lattice.web_mercator(7), DEGREES, UTM]), numbers, numbers, sizes, sizes
)


@given(grids, st.integers(0, 512))
def test_the_window_in_an_expanded_grid(grid: Grid, margin: int) -> None:
    outer = grid.expand(margin)
    assert outer.shape == (grid.rows + 2 * margin, grid.cols + 2 * margin)
    rows, cols = grid.window_in(outer)
    assert (rows, cols) == (slice(margin, margin + grid.rows), slice(margin, margin + grid.cols))
    assert grid.expand(0) == grid


@given(grids, st.data())
def test_a_windows_edges_are_those_of_its_pixels(grid: Grid, data: st.DataObject) -> None:
    top, left = data.draw(st.integers(0, grid.rows - 1)), data.draw(st.integers(0, grid.cols - 1))
    pixel = Grid(grid.lattice, grid.col + left, grid.row + top, 1, 1)
    assert pixel.window_in(grid) == (slice(top, top + 1), slice(left, left + 1))
    box, whole = pixel.bounds(), grid.bounds()
    assert whole.west <= box.west < box.east <= whole.east
    assert whole.south <= box.south < box.north <= whole.north


def test_rows_grow_southwards() -> None:
    box = Grid(UTM, 2, 3, 4, 5).bounds()
    assert box == Bounds(300_020.0, 5_199_920.0, 300_060.0, 5_199_970.0)


@pytest.mark.parametrize("margin", [1, 37, 256])
def test_latitudes_do_not_depend_on_the_window(margin: int) -> None:
    for lattice in (Lattice.web_mercator(12), DEGREES):
        grid = Grid(lattice, 1000, 70_001, 8, 93)
        outer = grid.expand(margin)
        assert np.array_equal(outer.latitudes()[margin:-margin], grid.latitudes())
        for inner, around in zip(grid.ground_resolution(), outer.ground_resolution(), strict=True):
            assert np.array_equal(around[margin:-margin], inner)


def test_projected_rows_have_no_latitude() -> None:
    with pytest.raises(ValueError, match="projected"):
        Grid(UTM, 0, 0, 1, 1).latitudes()


@pytest.mark.parametrize("lat", [-85, -60, -44.16, 0, 23.5, 46, 71, 84])
def test_ground_resolution_is_what_is_measured_on_the_ellipsoid(lat: float) -> None:
    """Within 0.7 %: sphere against ellipsoid."""
    geod = pyproj.Geod(ellps="WGS84")
    column = Tile.at(23.15, lat, 14).grid()
    for grid, to_degrees in (
        (column, pyproj.Transformer.from_crs(3857, 4326, always_xy=True).transform),
        (Grid(DEGREES, 203_150, round((90 - lat) * 1000), 1, 1), lambda x, y: (x, y)),
    ):
        box = Grid(grid.lattice, grid.col, grid.row, 1, 1).bounds()
        middle = (box.west + box.east) / 2, (box.south + box.north) / 2
        sides = ((box.west, middle[1], box.east, middle[1]), (middle[0], box.south, middle[0], box.north))
        for resolution, (x0, y0, x1, y1) in zip(grid.ground_resolution(), sides, strict=True):
            _, _, metres = geod.inv(*to_degrees(x0, y0), *to_degrees(x1, y1))
            assert resolution.shape == (grid.rows, 1)
            assert resolution[0, 0] == pytest.approx(metres, rel=0.007)


@pytest.mark.parametrize("lat", [0, 30, 60])
def test_ground_resolution_inverts_the_projections_scale(lat: float) -> None:
    factors = pyproj.Proj("EPSG:3857").get_factors(10.0, lat)
    grid = Tile.at(10.0, lat, 18).grid()
    width, height = grid.ground_resolution()
    assert width[0, 0] * factors.parallel_scale == pytest.approx(grid.lattice.dx, rel=0.007)
    assert height[0, 0] * factors.meridional_scale == pytest.approx(grid.lattice.dy, rel=0.007)


def test_projected_metres_and_feet() -> None:
    width, height = Grid(UTM, 0, 0, 3, 2).ground_resolution()
    assert width.tolist() == height.tolist() == [[10.0], [10.0]]
    feet = Lattice("EPSG:2263", 2.0, 4.0, 0.0, 0.0, "metre", 0.3048)
    width, height = Grid(feet, 0, 0, 3, 1).ground_resolution()
    assert (width.item(), height.item()) == (0.6096, 1.2192)


def test_ground_resolution_never_vanishes() -> None:
    beyond = Grid(DEGREES, 0, -2000, 4, 4000)
    assert all((resolution > 0).all() for resolution in beyond.ground_resolution())


@pytest.mark.parametrize(
    ("boxes", "around"),
    [
        ([(1, 2, 3, 4)], (1, 2, 3, 4)),
        ([(-120, 10, -70, 40), (130, 0, 140, 20)], (-120, 0, 140, 40)),
        ([(170, -20, 180, -10), (179, -20, -175, -10)], (170, -20, -175, -10)),
        ([(170, 0, -175, 1), (-180, 0, -170, 1)], (170, 0, -170, 1)),
        ([(170, 0, -175, 1), (-10, 0, 10, 1)], (-180, 0, 180, 1)),
    ],
)
def test_bounds_around_several(boxes, around):
    assert Bounds.around([Bounds(*box) for box in boxes]) == Bounds(*around)


def test_bounds_hold_points_across_the_antimeridian():
    fiji = Bounds(177, -20, -178, -12)
    assert fiji.holds(179, -15)
    assert fiji.holds(-179, -15)
    assert not fiji.holds(0, -15)
    assert not fiji.holds(179, 15)
