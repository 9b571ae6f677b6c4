"""Composites against rio-tiler's mosaic methods, and against numpy over the items warped one by one."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyproj
import pytest
import shapely

from geoloom import blobs
from geoloom.block import Block
from geoloom.grid import Grid, Lattice, Tile
from geoloom.image import Image
from geoloom.ops.open import Open
from geoloom.per_item import composite, item, quality
from geoloom.profile import Profile
from geoloom.selection import Asset, Item, SelectedBand, Selection
from geoloom_engine.evaluate import run
from geoloom_engine.plan import Planner
from geoloom_engine.readers import SourcePool
from geoloom_engine.selections import Blobs
from geoloom_engine.warp import Limits

TILE = Tile(12, 2188, 1387)
DEPTH = 9

METHODS = {
    "first": "FirstMethod",
    "max": "HighestMethod",
    "min": "LowestMethod",
    "mean": "MeanMethod",
    "median": "MedianMethod",
    "std": "StdevMethod",
    "count": "CountMethod",
    "quality": "LastBandHighMethod",
}

RIO_TILER = """
import json, sys
import numpy as np
from rio_tiler.io import Reader
from rio_tiler.mosaic import mosaic_reader
from rio_tiler.mosaic.methods import defaults

job = json.load(sys.stdin)

def tile(path, *args):
    with Reader(path) as reader:
        return reader.tile(*args, tilesize=256)

for method, name in job["methods"].items():
    kind = getattr(defaults, name)
    how = kind(enforce_data_type=False) if method in ("mean", "median") else kind()
    image, _ = mosaic_reader(job["paths"], tile, *job["tile"], pixel_selection=how, threads=0)
    valid = ~np.ma.getmaskarray(image.array)
    np.savez(job["target"] + method + ".npz", data=image.array.filled(0), valid=valid)
"""


def outline(crs: int, transform: tuple[float, ...], rows: int, cols: int) -> shapely.Geometry:
    """Footprint of a raster in degrees, its edges followed."""
    x0, dx, _, y0, _, dy = transform
    box = shapely.segmentize(shapely.box(x0, y0 + rows * dy, x0 + cols * dx, y0), 500.0)
    move = pyproj.Transformer.from_crs(crs, 4326, always_xy=True)
    return shapely.transform(box, lambda xy: np.stack(move.transform(xy[:, 0], xy[:, 1]), axis=1))


def selected(items: list[tuple[Path, int, tuple[float, ...], np.ndarray]], resampling: str) -> Selection:
    """A selection of files given by path, CRS, transform and pixels (bands, rows, cols), in that order."""
    bands = [
        SelectedBand(f"B{number + 1}", str(items[0][3].dtype), nodata=0.0, resampling=resampling)
        for number in range(items[0][3].shape[0])
    ]
    rows = [
        Item(
            path.stem,
            1.46e9 + 86_400.0 * number,
            outline(crs, transform, *data.shape[1:]),
            (Asset(str(path), tuple((band, band) for band in range(len(bands)))),),
            transform[1],
        )
        for number, (path, crs, transform, data) in enumerate(items)
    ]
    return Selection.of("oracles", bands, rows)


@pytest.fixture(scope="module")
def planner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planner]:
    pool = SourcePool((str(tmp_path_factory.getbasetemp()),))
    yield Planner(pool, Limits(), blobs=Blobs(lambda key: blobs.known(key) or b""))
    pool.close()


@pytest.fixture(scope="module")
def aligned(
    tmp_path_factory: pytest.TempPathFactory, make_raster: Callable[..., Path]
) -> tuple[Selection, list[str]]:
    """Scenes in the map's own pixels, shifted against each other, with holes; the last band is a score."""
    folder = tmp_path_factory.mktemp("aligned")
    rng = np.random.default_rng(11)
    lattice = Lattice.web_mercator(TILE.z)
    scenes = []
    for number in range(DEPTH):
        down, right = rng.integers(-150, 150, 2)
        col, row = TILE.x * 256 - 40 + int(right), TILE.y * 256 - 40 + int(down)
        data = rng.integers(1, 60_000, (3, 340, 340)).astype(np.uint16)
        data[:, rng.random((340, 340)) < 0.4] = 0
        transform = (lattice.x0 + col * lattice.dx, lattice.dx, 0.0)
        transform += (lattice.y0 - row * lattice.dy, 0.0, -lattice.dy)
        path = make_raster(folder / f"{number}.tif", data, 3857, transform, nodata=0)
        scenes.append((path, 3857, transform, data))
    return selected(scenes, "nearest"), [str(path) for path, *_ in scenes]


@pytest.fixture(scope="module")
def theirs(aligned: tuple[Selection, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What rio-tiler makes of them, in a process of its own, since rasterio brings another GDAL."""
    folder = tmp_path_factory.mktemp("theirs")
    job = {
        "methods": METHODS,
        "paths": aligned[1],
        "tile": [TILE.x, TILE.y, TILE.z],
        "target": f"{folder}/",
    }
    subprocess.run(
        [sys.executable, "-c", RIO_TILER], input=json.dumps(job), text=True, check=True, timeout=120
    )
    return folder


def ours(planner: Planner, image: Image, grid: Grid) -> Block:
    block, _ = run(planner, image.chain, grid)
    return Block(block.data, np.broadcast_to(block.valid, block.data.shape))


@pytest.mark.parametrize("method", METHODS)
def test_where_the_grids_coincide_it_is_what_rio_tiler_makes(
    planner: Planner, aligned: tuple[Selection, list[str]], theirs: Path, method: str
) -> None:
    selection, _ = aligned
    each = item(selection)
    if method == "quality":
        image = quality(each[["B1", "B2"]], each["B3"], selection)
    else:
        image = composite(each, selection, method)
    block = ours(planner, image, TILE.grid())
    expected = np.load(theirs / f"{method}.npz")
    found = expected["data"] > 0 if method == "count" else expected["valid"]
    found = np.broadcast_to(found, block.valid.shape)
    assert 0.9 < found.mean() < 1
    np.testing.assert_array_equal(block.valid, found)
    if method in ("mean", "std"):
        np.testing.assert_allclose(block.data, np.where(found, expected["data"], 0), rtol=2e-6, atol=1e-3)
    else:
        np.testing.assert_array_equal(block.data, np.where(found, expected["data"], 0))


UTM = ((32633, 499_000.0, 10.0), (32632, 963_000.0, 20.0), (32633, 503_500.0, 10.0), (32634, 30_000.0, 60.0))
"""EPSG code, west edge and pixel size of scenes around 15° E, 45° N."""

LON, LAT = 15.06, 45.1


@pytest.fixture(scope="module")
def zones(tmp_path_factory: pytest.TempPathFactory, make_raster: Callable[..., Path]) -> Selection:
    """Scenes over one place in three UTM zones and at three resolutions, with overviews."""
    folder = tmp_path_factory.mktemp("zones")
    rng = np.random.default_rng(12)
    scenes = []
    for number, (crs, _, pixel) in enumerate(UTM * 2):
        east, north = pyproj.Transformer.from_crs(4326, crs, always_xy=True).transform(LON, LAT)
        side = int(9000 / pixel)
        # Each lies a little elsewhere, so that the tile has places under one, some and all of them.
        shift = 400.0 * number
        transform = (east - 5000 + shift, pixel, 0.0, north + 4000 - shift, 0.0, -pixel)
        coarse = rng.integers(1000, 20_000, (2, side // 8 + 2, side // 8 + 2))
        data = np.kron(coarse, np.ones((8, 8), int))[:, :side, :side]
        data = (data + rng.integers(0, 500, data.shape)).astype(np.uint16)
        data[:, np.kron(rng.random((side // 8 + 2,) * 2) < 0.2, np.ones((8, 8), bool))[:side, :side]] = 0
        path = make_raster(folder / f"{number}.tif", data, crs, transform, nodata=0, overviews=(2, 4))
        scenes.append((path, crs, transform, data))
    return selected(scenes, "bilinear")


def alone(planner: Planner, selection: Selection, grid: Grid) -> np.ma.MaskedArray:
    """Each item by itself, opened as a file: (items, bands, rows, cols)."""
    found = []
    for number in range(len(selection)):
        asset = selection.item(number).assets[0]
        opened = Open(href=asset.href)
        image = Image(opened.chain(), Profile(("B1", "B2"), "uint16"), {})
        block = ours(planner, image, grid)
        found.append(np.ma.masked_array(block.data, ~block.valid))
    return np.ma.stack(found)


def by_numpy(values: np.ma.MaskedArray, method: str) -> np.ma.MaskedArray:
    if method == "count":
        counted = values.count(axis=0)
        return np.ma.masked_array(counted, counted == 0)
    if method in ("first", "last"):
        order = values if method == "last" else values[::-1]
        found = np.ma.masked_all(values.shape[1:], values.dtype)
        for one in order:
            found = np.ma.where(np.ma.getmaskarray(one), found, one)
        return found
    if method in ("min", "max"):
        return getattr(values, method)(axis=0)
    numbers = values.astype(np.float64).filled(np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.ma.masked_invalid(getattr(np, f"nan{method}")(numbers, axis=0))


@pytest.mark.parametrize("zoom", [11, 13, 15])
@pytest.mark.parametrize("method", ["first", "last", "min", "max", "mean", "median", "std", "count"])
def test_items_of_several_zones_and_resolutions_are_each_warped_as_if_alone(
    planner: Planner, zones: Selection, method: str, zoom: int
) -> None:
    grid = Tile.at(LON, LAT, zoom).grid()
    block = ours(planner, composite(item(zones), zones, method), grid)
    expected = by_numpy(alone(planner, zones, grid), method)
    np.testing.assert_array_equal(block.valid, ~np.ma.getmaskarray(expected))
    assert block.valid.any()
    if method in ("mean", "std"):
        np.testing.assert_allclose(block.data, expected.filled(0), rtol=2e-6, atol=2e-2)
    else:
        np.testing.assert_array_equal(block.data, expected.filled(0).astype(block.data.dtype))


def test_what_is_computed_of_each_item_is_computed_before_the_reduction(
    planner: Planner, zones: Selection
) -> None:
    grid = Tile.at(LON, LAT, 13).grid()
    each = item(zones)
    index = each.normalized_difference("B2", "B1")
    masked = index.mask(each["B1"] > 6000)
    block = ours(planner, composite(masked, zones, "median"), grid)
    values = alone(planner, zones, grid).astype(np.float64)
    of_each = (values[:, 1:] - values[:, :1]) / (values[:, 1:] + values[:, :1])
    expected = by_numpy(np.ma.masked_where(values[:, :1] <= 6000, of_each), "median")
    np.testing.assert_array_equal(block.valid, ~np.ma.getmaskarray(expected))
    np.testing.assert_allclose(block.data, expected.filled(0), atol=2e-7)
