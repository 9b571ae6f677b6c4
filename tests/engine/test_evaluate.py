"""Evaluate: chains on real files give what numpy gives, whatever the window asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from osgeo import gdal, osr

from geoloom.errors import BandError, ParameterError, SourceError
from geoloom.grid import Grid, Lattice, Tile
from geoloom.image import Image, build
from geoloom.op import Profile, registry
from geoloom.ops.open import Open
from geoloom_engine.evaluate import evaluate, fetch, run
from geoloom_engine.plan import Planner
from geoloom_engine.readers import SourcePool
from geoloom_engine.warp import Limits

gdal.UseExceptions()
ZOOM = 12
LATTICE = Lattice.web_mercator(ZOOM)
ORIGIN = Tile(ZOOM, 2188, 1387).grid()


def write(path: Path, data: np.ndarray, nodata: float | None = None) -> Path:
    """A GeoTIFF whose pixels are those of the map at `ZOOM`, from `ORIGIN` on."""
    bands, rows, cols = data.shape
    code = gdal.GDT_UInt16 if data.dtype == np.uint16 else gdal.GDT_Float32
    made = gdal.GetDriverByName("GTiff").Create(str(path), cols, rows, bands, code, ["TILED=YES"])
    bounds = ORIGIN.bounds()
    made.SetGeoTransform((bounds.west, LATTICE.dx, 0, bounds.north, 0, -LATTICE.dy))
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(3857)
    made.SetSpatialRef(crs)
    for i in range(bands):
        made.GetRasterBand(i + 1).SetDescription(f"B{i + 1}")
        if nodata is not None:
            made.GetRasterBand(i + 1).SetNoDataValue(nodata)
        made.GetRasterBand(i + 1).WriteArray(data[i])
    made.Close()
    return path


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 4000, (3, 700, 700)).astype(np.uint16)


@pytest.fixture(scope="module")
def scene(tmp_path_factory, pixels) -> Path:
    return write(tmp_path_factory.mktemp("scene") / "scene.tif", pixels, nodata=0)


@pytest.fixture(scope="module")
def planner(scene) -> Planner:
    return Planner(SourcePool((str(scene.parent),)), Limits())


@pytest.fixture(scope="module")
def image(planner, scene) -> Image:
    return opened(planner, scene)


def opened(planner: Planner, path: Path) -> Image:
    info = planner.pool.open(str(path)).info.to_json()
    return Image(Open(href=str(path)).chain(), Profile.of_source(info), {str(path): info})


def window(col: int, row: int, cols: int, rows: int) -> Grid:
    return Grid(LATTICE, ORIGIN.col + col, ORIGIN.row + row, cols, rows)


def result(planner, image, grid):
    block, _ = run(planner, image.chain, grid)
    assert block.data.shape[1:] == grid.shape
    assert block.valid.shape[1:] == grid.shape
    return block


def test_pixels_come_through_unchanged(planner, image, pixels):
    block = result(planner, image, window(10, 20, 300, 200))
    assert np.array_equal(block.data, pixels[:, 20:220, 10:310])
    assert np.array_equal(np.broadcast_to(block.valid, block.data.shape), pixels[:, 20:220, 10:310] > 0)


def test_an_index_equals_numpy(planner, image, pixels):
    ndvi = (image["B2"] - image["B1"]) / (image["B2"] + image["B1"])
    block = result(planner, ndvi, window(0, 0, 256, 256))
    b1, b2 = pixels[:2, :256, :256].astype(np.float64)
    valid = (b1 > 0) & (b2 > 0)
    assert np.array_equal(block.valid[0], valid)
    assert np.allclose(block.data[0][valid], ((b2 - b1) / (b2 + b1))[valid], atol=1e-6)
    assert (block.data[0][~valid] == 0).all()


def test_bands_rearranged_keep_their_pixels(planner, image, pixels):
    turned = build(registry()["stack"](), image["B3"], image["B1"] * 2, image["B3"])
    block = result(planner, turned, window(5, 5, 64, 64))
    part = pixels[:, 5:69, 5:69].astype(np.int64)
    assert turned.dtype == str(block.data.dtype)
    assert np.array_equal(
        block.data, np.stack([part[2], part[0] * 2, part[2]]) * (np.stack([part[2], part[0], part[2]]) > 0)
    )


def test_constants_alone_fill_the_grid(planner, image):
    block = result(planner, image["B1"] * 0 + 5, window(0, 0, 16, 16))
    assert set(np.unique(block.data[block.valid])) == {5}
    constant = registry()["constant"](value=7)
    block, _ = run(planner, constant.chain(), window(0, 0, 16, 8))
    assert block.data.shape == (1, 8, 16)
    assert (block.data == 7).all()


CHAINS = {
    "terrain": lambda image: image["B1"].focal_mean(2).slope(),
    "mixed": lambda image: (image["B1"].focal_max(3) - image["B2"]).mask(image["B3"] > 1000),
    "look": lambda image: image["B1"].scale(0, 4000).colormap("viridis"),
    "resampled": lambda image: image["B1"].resample("nearest").aspect(),
}


@pytest.mark.parametrize("name", CHAINS)
@given(data=st.data())
@settings(max_examples=12)
def test_any_split_gives_the_same_pixels(name, planner, image, data):
    chain = CHAINS[name](image).chain
    zoom = data.draw(st.sampled_from([ZOOM - 2, ZOOM, ZOOM + 1]))
    origin = Tile.at(12.4, 50.05, zoom).grid()
    col, row = data.draw(st.integers(-40, 60)), data.draw(st.integers(-40, 60))
    cols, rows = data.draw(st.integers(2, 150)), data.draw(st.integers(2, 150))
    cut_x, cut_y = data.draw(st.integers(1, cols - 1)), data.draw(st.integers(1, rows - 1))
    lattice = Lattice.web_mercator(zoom)

    def part(x0, y0, x1, y1):
        grid = Grid(lattice, origin.col + col + x0, origin.row + row + y0, x1 - x0, y1 - y0)
        block, _ = run(planner, chain, grid)
        return block.data, np.broadcast_to(block.valid, block.data.shape)

    whole, valid = part(0, 0, cols, rows)
    for x0, x1 in ((0, cut_x), (cut_x, cols)):
        for y0, y1 in ((0, cut_y), (cut_y, rows)):
            data_, valid_ = part(x0, y0, x1, y1)
            assert np.array_equal(data_, whole[:, y0:y1, x0:x1])
            assert np.array_equal(valid_, valid[:, y0:y1, x0:x1])


def test_a_file_replaced_between_plan_and_read_is_planned_anew(tmp_path):
    path = write(tmp_path / "a.tif", np.full((1, 64, 64), 3, np.uint16))
    planner = Planner(SourcePool((str(tmp_path),), recheck=0.0), Limits())
    chain = opened(planner, path).chain
    plan = planner.plan(chain, window(0, 0, 8, 8))
    write(path, np.full((1, 64, 80), 9, np.uint16))
    with pytest.raises(SourceError):
        fetch(plan, planner.pool)
    block, fresh = run(planner, chain, window(0, 0, 8, 8))
    assert (block.data == 9).all()
    assert fresh.data != plan.data


def test_errors_name_node_and_op(planner, image):
    red = image["B1"]
    bad = build(registry()["add"](), red, red)
    chain = registry()["select"](bands=["B9"]).chain(bad.chain)
    with pytest.raises(BandError, match="B9") as caught:
        planner.describe(chain)
    assert (caught.value.node, caught.value.op) == (chain.root, "select")
    slope = registry()["slope"]().chain(image.chain)
    with pytest.raises(BandError):
        planner.describe(slope)
    with pytest.raises(ParameterError):
        planner.describe(registry()["add"]().chain(image.chain))


def test_evaluate_needs_only_arrays(planner, image):
    plan = planner.plan((image["B1"] + 1).chain, window(0, 0, 4, 4))
    blocks = fetch(plan, planner.pool)
    assert np.array_equal(evaluate(plan, blocks).data, evaluate(plan, blocks).data)
