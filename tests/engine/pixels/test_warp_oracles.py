"""The fast way against an exact computation, and against rio-tiler."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from geoloom.grid import Grid, Lattice, Tile
from geoloom_engine.readers import Source, SourcePool
from geoloom_engine.warp import demand, warp

RNG = np.random.default_rng(5)
SIZE = 1200
NOISE = RNG.integers(1, 60000, (SIZE, SIZE)).astype(np.uint16)
STEPS = np.arange(SIZE)
SMOOTH = (3000 + 2000 * np.sin(STEPS / 400) * np.cos(STEPS[:, np.newaxis] / 300)).astype(np.uint16)

# CRS, transform, a point inside, zooms
SCENES: dict[str, tuple[int, tuple[float, ...], tuple[float, float], tuple[int, ...]]] = {
    "UTM": (32633, (500000.0, 10.0, 0.0, 5000000.0, 0.0, -10.0), (15.07, 45.1), (10, 12, 13, 14, 17)),
    "EPSG:4326": (4326, (10.0, 0.0005, 0.0, 50.0, 0.0, -0.0005), (10.3, 49.7), (9, 11, 12, 15)),
    "LAEA": (3035, (4321000.0, 30.0, 0.0, 3210000.0, 0.0, -30.0), (10.2, 51.8), (8, 10, 11, 14)),
    "polar stereographic": (3413, (-300000.0, 500.0, 0.0, -900000.0, 0.0, -500.0), (-40, 78), (4, 6, 7, 9)),
    "rotated UTM": (32633, (500000.0, 8.66, 5.0, 5000000.0, 5.0, -8.66), (15.15, 45.13), (10, 12, 14)),
    "south-up UTM": (32733, (500000.0, 10.0, 0.0, 5000000.0, 0.0, 10.0), (15.07, -45.1), (10, 12, 14)),
    "UTM across the antimeridian": (
        32660,
        (690000.0, 60.0, 0.0, 5e6, 0.0, -60.0),
        (-179.9, 44.8),
        (7, 9, 11),
    ),
    "world": (4326, (-180.0, 0.3, 0.0, 90.0, 0.0, -0.15), (10, 50), (0, 1, 2, 4)),
    "world from Greenwich": (4326, (0.0, 0.3, 0.0, 90.0, 0.0, -0.15), (1, 50), (0, 1, 2, 4)),
    "pole": (3031, (-3e6, 5000.0, 0.0, 3e6, 0.0, -5000.0), (30, -72), (0, 2, 3, 5)),
    "sinusoidal": (54008, (0.0, 4000.0, 0.0, 4e6, 0.0, -4000.0), (20, 20), (2, 4, 6)),
    "NAD27": (26715, (500000.0, 10.0, 0.0, 5000000.0, 0.0, -10.0), (-92.95, 45.1), (11, 13)),
}
CASES = [(name, zoom) for name, (_, _, _, zooms) in SCENES.items() for zoom in zooms]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory, make_raster: Any) -> Iterator[dict[str, Source]]:
    folder = tmp_path_factory.mktemp("scenes")
    pool = SourcePool((str(folder),))
    made = {}
    for index, (name, (crs, transform, _, _)) in enumerate(SCENES.items()):
        reference = f"ESRI:{crs}" if crs > 54000 else crs
        path = make_raster(folder / f"{index}.tif", NOISE, reference, transform, overviews=(2, 4, 8))
        made[name] = pool.open(str(path))
    yield made
    pool.close()


def grid_of(name: str, zoom: int) -> Grid:
    lon, lat = SCENES[name][2]
    return Tile.at(lon, lat, zoom).grid().expand(20)


@pytest.mark.parametrize(("name", "zoom"), CASES)
def test_nearest_is_the_pixel_that_holds_the_centre(
    scenes: dict[str, Source], exact: Callable[..., Any], whole: Callable[..., Any], name: str, zoom: int
) -> None:
    source, grid = scenes[name], grid_of(name, zoom)
    block = warp(source, grid, (0,), "nearest")
    expected = np.zeros(grid.shape, np.uint16)
    inside, tied = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    for read in demand(source.info, grid).reads:
        part = (slice(read.row, read.row + read.rows), slice(read.col, read.col + read.cols))
        found = exact(source, grid, read.level)
        expected[part] = found.nearest(whole(source, read.level))[part]
        inside[part] = found.inside[part]
        # Where a centre lies on the line between two pixels, either of them is right.
        for position in (found.x, found.y):
            tied[part] |= (np.abs(position - np.round(position)) < 1e-6)[part]
    assert inside.mean() > 0.02
    assert (tied | (block.data[0] == expected)).mean() >= 0.999
    assert (block.valid[0] == inside).mean() >= 0.9999


@pytest.mark.parametrize(("name", "zoom"), CASES)
def test_positions_are_right_to_a_twentieth_of_a_pixel(
    scenes: dict[str, Source], exact: Callable[..., Any], tmp_path_factory: Any, name: str, zoom: int
) -> None:
    """Bilinear of a plane gives the position itself: the error of the whole path, in source pixels."""

    class Plane:
        info = scenes[name].info

        def read(self, level: int, bands: tuple[int, ...], window: Any) -> Any:
            y, x = np.mgrid[window.y : window.y + window.height, window.x : window.x + window.width] + 0.5
            return np.stack([x, y]), np.ones((1, window.height, window.width), bool)

    grid = grid_of(name, zoom)
    source = Plane()
    info = source.info
    bands = tuple(dataclasses.replace(info.bands[0], name=axis, dtype="float64") for axis in "xy")
    source.info = dataclasses.replace(info, bands=bands)
    block = warp(source, grid, (0, 1), "bilinear")
    for read in demand(source.info, grid, (0, 1), "bilinear").reads:
        part = (slice(read.row, read.row + read.rows), slice(read.col, read.col + read.cols))
        width, height = info.levels[read.level]
        found = exact(scenes[name], grid, read.level)
        # Away from the edge, where a plane is not repeated.
        inner = found.inside & (found.x > 0.55) & (found.x < width - 0.55)
        inner &= (found.y > 0.55) & (found.y < height - 0.55) & block.valid[0]
        error = np.hypot(block.data[0] - found.x, block.data[1] - found.y)[part][inner[part]]
        assert error.max(initial=0) <= 0.05


@pytest.mark.parametrize(("name", "zoom"), [case for case in CASES if case[0] != "world from Greenwich"])
def test_bilinear_within_rounding(
    scenes: dict[str, Source],
    tmp_path: Any,
    make_raster: Any,
    exact: Callable[..., Any],
    whole: Callable[..., Any],
    name: str,
    zoom: int,
) -> None:
    """On a smooth surface a position error of 0.05 pixels is less than the rounding of integers."""
    crs, transform, _, _ = SCENES[name]
    reference = f"ESRI:{crs}" if crs > 54000 else crs
    path = make_raster(tmp_path / "a.tif", SMOOTH, reference, transform)
    pool = SourcePool((str(tmp_path),))
    source, grid = pool.open(str(path)), grid_of(name, zoom)
    found = exact(source, grid)
    block = warp(source, grid, (0,), "bilinear")
    expected = found.bilinear(whole(source))
    both = found.inside & block.valid[0]
    assert both.mean() > 0.02
    assert np.abs(block.data[0] - expected)[both].max() <= 0.5 + 0.05 * 10
    pool.close()


RIO_TILER = """
import json, sys
import numpy as np
from rio_tiler.io import Reader
out = []
for path, x, y, z, resampling, target in json.load(sys.stdin):
    with Reader(path) as reader:
        image = reader.tile(x, y, z, tilesize=256, resampling_method="nearest", reproject_method=resampling)
        np.savez(target, data=image.data[0], valid=~np.ma.getmaskarray(image.array)[0])
"""


COMPARED = ("UTM", "EPSG:4326", "LAEA", "rotated UTM")
METHODS = ("nearest", "bilinear")


def compared_tiles(name: str) -> list[Tile]:
    """Tiles at the two largest zooms of a scene."""
    _, _, (lon, lat), zooms = SCENES[name]
    return [Tile.at(lon, lat, zoom) for zoom in zooms[-2:]]


@pytest.fixture(scope="module")
def theirs(
    tmp_path_factory: pytest.TempPathFactory, make_raster: Any
) -> Iterator[tuple[dict[str, Source], Callable[..., Any]]]:
    """Scenes without overviews, and their tiles by rio-tiler.

    In a process of its own, since rasterio brings another GDAL.
    """
    folder = tmp_path_factory.mktemp("theirs")
    pool = SourcePool((str(folder),))
    scenes = {
        name: pool.open(str(make_raster(folder / f"{index}.tif", NOISE, *SCENES[name][:2])))
        for index, name in enumerate(COMPARED)
    }

    def path(name: str, tile: Tile, method: str) -> str:
        return str(folder / f"{COMPARED.index(name)}-{tile.z}-{method}.npz")

    jobs = [
        [scenes[name].info.href, tile.x, tile.y, tile.z, method, path(name, tile, method)]
        for name in COMPARED
        for tile in compared_tiles(name)
        for method in METHODS
    ]
    subprocess.run(
        [sys.executable, "-c", RIO_TILER], input=json.dumps(jobs), text=True, check=True, timeout=240
    )
    yield scenes, lambda *which: np.load(path(*which))
    pool.close()


@pytest.mark.parametrize("name", COMPARED)
def test_agrees_with_rio_tiler_as_well_as_rio_tiler_is_exact(
    theirs: tuple[dict[str, Source], Callable[..., Any]],
    exact: Callable[..., Any],
    whole: Callable[..., Any],
    name: str,
) -> None:
    """rio-tiler's nearest is approximate: 1.5–8 % of its pixels are not the nearest ones."""
    scenes, tile_of = theirs
    source = scenes[name]
    for tile in compared_tiles(name):
        for method in METHODS:
            other = tile_of(name, tile, method)
            ours = warp(source, tile.grid(), (0,), method)
            both = ours.valid[0] & other["valid"]
            assert (ours.valid[0] != other["valid"]).mean() < 0.02
            if method == "nearest":
                truth = exact(source, tile.grid()).nearest(whole(source))
                theirs_right = (other["data"] == truth)[both].mean()
                assert theirs_right > 0.9
                assert (ours.data[0] == other["data"])[both].mean() >= theirs_right - 0.001


def test_a_lattice_in_the_sources_own_pixels_is_a_copy(scenes: dict[str, Source]) -> None:
    lattice = Lattice("EPSG:32633", 10.0, 10.0, 500000.0, 5000000.0)
    for resampling in ("nearest", "bilinear"):
        block = warp(scenes["UTM"], Grid(lattice, 300, 200, 500, 400), (0,), resampling)
        assert np.array_equal(block.data[0], NOISE[200:600, 300:800])
