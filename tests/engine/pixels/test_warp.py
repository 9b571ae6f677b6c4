"""Pixels on a grid: any split gives the same, validity, margins, turns of the world, limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoloom.block import Block
from geoloom.errors import DemandError
from geoloom.grid import Grid, Lattice, Tile
from geoloom_engine.readers import Source, SourcePool, Window
from geoloom_engine.warp import Limits, demand, warp

Make = Callable[..., Source]
RNG = np.random.default_rng(11)
NOISE = RNG.integers(1, 60000, (2, 900, 1100)).astype(np.uint16)
HOLES = np.where(RNG.random((2, 900, 1100)) < 0.1, 0, NOISE).astype(np.uint16)


def crop(block: Block, part: Grid, outer: Grid) -> Block:
    return block.crop(part.window_in(outer))


def same(a: Block, b: Block) -> bool:
    return (
        a.data.dtype == b.data.dtype and np.array_equal(a.data, b.data) and np.array_equal(a.valid, b.valid)
    )


# Any split gives the same -------------------------------------------------------------------------

WORLD = (4326, (-180.0, 360 / 1100, 0.0, 90.0, 0.0, -180 / 900))
PLACES = {
    "UTM": (32633, (500000.0, 10.0, 0.0, 5000000.0, 0.0, -10.0), Tile.at(15.05, 45.1, 13)),
    "UTM far out": (32633, (500000.0, 10.0, 0.0, 5000000.0, 0.0, -10.0), Tile.at(15.05, 45.1, 9)),
    "LAEA, tall": (3035, (2.5e6, 4000.0, 0.0, 5.4e6, 0.0, -4000.0), Tile.at(10, 50, 4)),
    "polar": (3413, (-2e6, 4000.0, 0.0, 2e6, 0.0, -4000.0), Tile.at(-40, 75, 4)),
    "world": (*WORLD, Tile(0, 0, 0)),
    "world, seam": (4326, (0.0, 360 / 1100, 0.0, 90.0, 0.0, -180 / 900), Tile.at(0.5, 10, 3)),
    "antimeridian": (32660, (600000.0, 500.0, 0.0, 5e6, 0.0, -500.0), Tile.at(-179.9, 44, 7)),
    "rotated": (32633, (500000.0, 7.0, 7.0, 5000000.0, 7.0, -7.0), Tile.at(15.05, 45.1, 13)),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, make_raster: Any) -> Iterator[dict[str, Source]]:
    folder = tmp_path_factory.mktemp("places")
    pool = SourcePool((str(folder),))
    made = {}
    for index, (name, (crs, transform, _)) in enumerate(PLACES.items()):
        path = make_raster(folder / f"{index}.tif", HOLES, crs, transform, nodata=0, overviews=(2, 4, 8))
        made[name] = pool.open(str(path))
    yield made
    pool.close()


@pytest.mark.parametrize("resampling", ["nearest", "bilinear"])
@pytest.mark.parametrize("name", PLACES)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_window_is_cut_from_one_sheet(
    places: dict[str, Source], name: str, resampling: str, data: st.DataObject
) -> None:
    source, tile = places[name], PLACES[name][2]
    outer = tile.grid().expand(70)
    big = warp(source, outer, (0, 1), resampling)
    part = Grid(
        outer.lattice,
        outer.col + (left := data.draw(st.integers(0, outer.cols - 1))),
        outer.row + (top := data.draw(st.integers(0, outer.rows - 1))),
        data.draw(st.integers(1, min(outer.cols - left, 150))),
        data.draw(st.integers(1, min(outer.rows - top, 150))),
    )
    bands = data.draw(st.sampled_from([(0,), (1,), (0, 1), (1, 0)]))
    small = warp(source, part, bands, resampling)
    assert same(small, crop(big, part, outer).pick(bands))


@pytest.mark.parametrize("name", PLACES)
def test_the_places_above_show_something(places: dict[str, Source], name: str) -> None:
    block = warp(places[name], PLACES[name][2].grid().expand(70), (0,), "nearest")
    assert 0.001 < block.valid.mean() < 1


@pytest.mark.parametrize(
    "lattice",
    [
        Lattice("EPSG:32633", 13.0, 17.0, 500003.0, 5000001.0),
        Lattice("EPSG:4326", 0.0001, 0.0001, -180, 90, "degree"),
    ],
)
def test_other_lattices_are_one_sheet_too(places: dict[str, Source], lattice: Lattice) -> None:
    center = (40, 60) if lattice.unit == "metre" else (1950500, 449000)
    outer = Grid(lattice, center[0], center[1], 300, 200)
    big = warp(places["UTM"], outer, (0,), "bilinear")
    assert big.valid.mean() > 0.3
    for col, row, cols, rows in ((0, 0, 100, 50), (37, 91, 16, 16), (299, 199, 1, 1), (5, 3, 290, 190)):
        part = Grid(lattice, outer.col + col, outer.row + row, cols, rows)
        assert same(warp(places["UTM"], part, (0,), "bilinear"), crop(big, part, outer))


# Validity -----------------------------------------------------------------------------------------

HERE = Tile.at(15.05, 45.12, 13).grid()


def test_invalid_pixels_hold_zero(raster: Make) -> None:
    source = raster(HOLES, nodata=0)
    for resampling in ("nearest", "bilinear"):
        block = warp(source, HERE, (0, 1), resampling)
        assert block.valid.shape == (2, 256, 256)
        assert not block.data[~block.valid].any()
        assert 0.8 < block.valid.mean() < 0.95


def test_bilinear_is_valid_where_nearest_is(raster: Make) -> None:
    source = raster(HOLES, nodata=0)
    nearest, bilinear = (warp(source, HERE, (0, 1), name) for name in ("nearest", "bilinear"))
    assert np.array_equal(nearest.valid, bilinear.valid)


def test_bilinear_weighs_only_valid_neighbours(raster: Make) -> None:
    data = np.full((900, 1100), 7.25, np.float32)
    data[RNG.random(data.shape) < 0.3] = np.nan
    block = warp(raster(data), HERE, (0,), "bilinear")
    assert 0.5 < block.valid.mean() < 0.9
    assert np.allclose(block.data[block.valid], 7.25)


def test_the_edge_is_repeated_not_faded(raster: Make) -> None:
    source = raster(np.full((40, 40), 1000, np.uint16), 4326, (15.0, 0.001, 0.0, 45.0, 0.0, -0.001))
    grid = Tile.at(15.0, 45.0, 15).grid().expand(100)
    block = warp(source, grid, (0,), "bilinear")
    assert 0 < block.valid.mean() < 1
    assert set(np.unique(block.data)) == {0, 1000}


def test_alpha_gives_one_validity_for_all_bands(raster: Make) -> None:
    from osgeo import gdal

    data = np.full((3, 900, 1100), 9, np.uint8)
    data[2, :, :550] = 0

    def edit(made: Any) -> None:
        made.GetRasterBand(3).SetColorInterpretation(gdal.GCI_AlphaBand)

    block = warp(raster(data, edit=edit), HERE, (0, 1), "nearest")
    assert block.data.shape == (2, 256, 256)
    assert block.valid.shape == (1, 256, 256)
    assert 0 < block.valid.mean() < 1


@pytest.mark.parametrize(
    ("resampling", "dtype"),
    [("nearest", name) for name in ("int8", "uint16", "float32", "int64")]
    + [("bilinear", name) for name in ("uint8", "int16", "uint64", "int64", "float32", "float64")],
)
def test_the_type_and_its_extremes_are_kept(raster: Make, resampling: str, dtype: str) -> None:
    kind = np.dtype(dtype)
    limits = np.iinfo(kind) if kind.kind in "iu" else np.finfo(kind)
    data = np.full((900, 1100), limits.max, dtype)
    data[:, :550] = limits.min // 2 if kind.kind == "i" else 0
    block = warp(raster(data), HERE, (0,), resampling)
    assert block.data.dtype == kind
    high = block.data[block.valid & (np.arange(256) > 250)]
    assert len(high)
    assert (high > limits.max * 0.99).all()


def test_integers_round_half_away_from_zero(raster: Make) -> None:
    columns = np.tile(np.array([0, 1, 0, -1], np.int16), 10)
    source = raster(np.tile(columns, (40, 1)), 32633, (0.0, 2.0, 0.0, 0.0, 0.0, -2.0))
    lattice = Lattice("EPSG:32633", 2.0, 2.0, 1.0, 0.0)
    block = warp(source, Grid(lattice, 0, 0, 4, 1), (0,), "bilinear")
    assert block.data[0, 0].tolist() == [1, 1, -1, -1]


def test_one_pixel_sources(raster: Make) -> None:
    source = raster(np.array([[5]], np.uint8), 4326, (15.0, 0.1, 0.0, 45.0, 0.0, -0.1), nodata=0)
    for resampling in ("nearest", "bilinear"):
        block = warp(source, Tile.at(15.05, 44.95, 10).grid(), (0,), resampling)
        assert block.valid.any()
        assert set(np.unique(block.data[block.valid])) == {5}


# Turns of the world -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["world", "world, seam", "antimeridian"])
@pytest.mark.parametrize("zoom", [2, 5])
def test_columns_wrap_round_the_world(places: dict[str, Source], name: str, zoom: int) -> None:
    source = places[name]
    lattice = Lattice.web_mercator(zoom)
    period = lattice.period
    assert period is not None
    row = Tile.at(0, 44, zoom).y * 256
    around = Grid(lattice, period - 100, row, 200, 128)
    block = warp(source, around, (0,), "bilinear")
    west = warp(source, Grid(lattice, period - 100, row, 100, 128), (0,), "bilinear")
    east = warp(source, Grid(lattice, 0, row, 100, 128), (0,), "bilinear")
    assert np.array_equal(block.data, np.concatenate([west.data, east.data], axis=2))
    assert block.valid.any()
    for turns in (-1, 1, 3):
        moved = Grid(lattice, around.col + turns * period, row, 200, 128)
        assert same(warp(source, moved, (0,), "bilinear"), block)


def test_longitudes_beyond_180_are_found_on_both_sides(raster: Make) -> None:
    data = np.arange(1, 41, dtype=np.uint8)[np.newaxis].repeat(20, 0)
    for west in (170.0, -190.0):
        source = raster(data, 4326, (west, 0.5, 0.0, 5.0, 0.0, -0.5))
        lattice = Lattice("EPSG:4326", 0.5, 0.5, -180.0, 90.0, "degree")
        block = warp(source, Grid(lattice, 700, 175, 40, 1), (0,), "nearest")
        assert block.data[0, 0].tolist() == list(range(1, 41))
        assert warp(source, Grid(lattice, -20, 175, 40, 1), (0,), "nearest").data[0, 0].tolist() == list(
            range(1, 41)
        )


def test_a_mercator_source_across_the_antimeridian(raster: Make) -> None:
    edge = 20037508.342789244
    source = raster(NOISE[0], 3857, (edge - 55000, 100.0, 0.0, 50000.0, 0.0, -100.0))
    assert source.info.bounds.west > source.info.bounds.east
    period = Lattice.web_mercator(8).period
    assert period is not None
    grid = Grid(Lattice.web_mercator(8), period - 150, 128 * 256 - 60, 300, 100)
    block = warp(source, grid, (0,), "nearest")
    row = block.valid[0, 50]
    assert row.any()
    first, last = np.flatnonzero(row)[[0, -1]]
    assert first < 150 < last
    assert row[first : last + 1].all()


def test_beyond_the_maps_edge_nothing_is_valid(places: dict[str, Source]) -> None:
    block = warp(places["world"], Tile(2, 1, 0).grid().expand(100), (0,), "nearest")
    assert not block.valid[:, :100].any()
    assert block.valid[:, 100:].mean() > 0.8
    degrees = Lattice("EPSG:4326", 1.0, 1.0, -180.0, 90.0, "degree")
    block = warp(places["world"], Grid(degrees, -5, -10, 30, 200), (0,), "nearest")
    assert not block.valid[:, :10].any()
    assert not block.valid[:, 190:].any()
    assert block.valid[:, 10:190].mean() > 0.8


def test_elsewhere_is_empty_and_reads_nothing(places: dict[str, Source]) -> None:
    grid = Tile.at(-100, -40, 10).grid()
    plan = demand(places["UTM"].info, grid)
    assert (plan.reads, plan.pixels, plan.bytes, plan.level, plan.window) == ((), 0, 0, None, None)
    block = warp(places["UTM"], grid, (0,), "bilinear")
    assert block.data.dtype == np.uint16
    assert not block.valid.any()


# What is read -------------------------------------------------------------------------------------


class Counting:
    """A source that remembers what was read of it."""

    def __init__(self, source: Source) -> None:
        self.info = source.info
        self.read_windows: list[tuple[int, tuple[int, ...], Window]] = []
        self._source = source

    def read(self, level: int, bands: tuple[int, ...], window: Window) -> Any:
        self.read_windows.append((level, bands, window))
        return self._source.read(level, bands, window)


@pytest.mark.parametrize("name", PLACES)
def test_reads_exactly_what_was_demanded(places: dict[str, Source], name: str) -> None:
    source = Counting(places[name])
    grid = PLACES[name][2].grid().expand(20)
    plan = demand(source.info, grid, (0, 1), "bilinear")
    assert source.read_windows == []
    warp(source, grid, (0, 1), "bilinear")
    assert source.read_windows == [(read.level, (0, 1), read.window) for read in plan.reads]
    assert plan.pixels == sum(window.pixels for _, _, window in source.read_windows)
    assert plan.bytes == plan.pixels * 6


def test_one_window_for_a_tile(places: dict[str, Source]) -> None:
    (read,) = demand(places["UTM"].info, HERE, (0,)).reads
    assert read.window.pixels < 1.1 * (256 * 1.36) ** 2


@pytest.mark.parametrize(("zoom", "level"), [(16, 0), (13, 0), (12, 1), (11, 2), (10, 3), (8, 3)])
def test_the_overview_that_serves(places: dict[str, Source], zoom: int, level: int) -> None:
    assert demand(places["UTM"].info, Tile.at(15.05, 45.1, zoom).grid()).level == level


def test_a_tall_source_has_levels_by_latitude(raster: Make) -> None:
    source = raster(np.ones((1800, 3600), np.uint8), 4326, (-180, 0.1, 0, 90, 0, -0.1), overviews=(2, 4, 8))
    lattice = Lattice.web_mercator(3)
    plan = demand(source.info, Grid(lattice, 0, 0, 256, 2048))
    levels = [read.level for read in plan.reads]
    assert len(levels) == 8
    assert levels[0] == levels[7] < levels[3] == levels[4]


def test_too_much_is_refused_before_anything_is_read(places: dict[str, Source], raster: Make) -> None:
    source = Counting(raster(NOISE[0]))
    grid = Tile.at(15.05, 45.1, 7).grid()
    limits = Limits(source_pixels=200_000)
    with pytest.raises(DemandError, match=r"0\.7 million source pixels .* no overviews") as caught:
        warp(source, grid, (0,), "nearest", limits)
    assert source.read_windows == []
    hint = caught.value.hint
    assert hint is not None
    zoom = int(hint.split("level ")[1].split(",")[0])
    assert "gdaladdo" in hint
    assert demand(source.info, Tile.at(15.05, 45.1, zoom).grid(), limits=limits).pixels > 0
    with pytest.raises(DemandError):
        demand(source.info, Tile.at(15.05, 45.1, zoom - 2).grid(), limits=limits)
    assert demand(places["UTM"].info, grid, limits=limits).pixels < 200_000


def test_unknown_resampling_is_a_mistake_of_the_caller(places: dict[str, Source]) -> None:
    with pytest.raises(ValueError, match="resampling 'nearby'"):
        warp(places["UTM"], HERE, (0,), "nearby")
