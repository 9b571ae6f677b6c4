"""Nodes: results are kept by name and place, and what is cropped equals what is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from osgeo import gdal, osr

from geoloom.block import Block
from geoloom.grid import Grid, Lattice, Tile
from geoloom.image import Image
from geoloom.op import Profile
from geoloom.ops.open import Open
from geoloom_engine.cache import Budget
from geoloom_engine.evaluate import run
from geoloom_engine.nodes import NodeCache, NodeName
from geoloom_engine.plan import Planner
from geoloom_engine.readers import SourcePool
from geoloom_engine.warp import Limits

gdal.UseExceptions()
ZOOM = 12
LATTICE = Lattice.web_mercator(ZOOM)
ORIGIN = Tile(ZOOM, 2188, 1387).grid()
NAME = NodeName("a" * 32, None, "b" * 16)
SIZE = 700


def grid(col: int, row: int, cols: int, rows: int) -> Grid:
    return Grid(LATTICE, ORIGIN.col + col, ORIGIN.row + row, cols, rows)


def write(path: Path, seed: int) -> Path:
    """Three uint16 bands whose pixels are nearly those of the map at `ZOOM`, some of them nodata."""
    made = gdal.GetDriverByName("GTiff").Create(str(path), SIZE, SIZE, 3, gdal.GDT_UInt16, ["TILED=YES"])
    bounds = ORIGIN.bounds()
    made.SetGeoTransform((bounds.west, LATTICE.dx * 0.9, 0, bounds.north, 0, -LATTICE.dy * 0.9))
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(3857)
    made.SetSpatialRef(crs)
    values = np.random.default_rng(seed).integers(0, 50, (3, SIZE, SIZE)).astype(np.uint16)
    for i in range(3):
        made.GetRasterBand(i + 1).SetDescription(f"B{i + 1}")
        made.GetRasterBand(i + 1).SetNoDataValue(0)
        made.GetRasterBand(i + 1).WriteArray(values[i])
    made.Close()
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("nodes")
    write(folder / "one.tif", 1)
    write(folder / "two.tif", 2)
    return folder


@pytest.fixture(scope="module")
def pool(folder) -> SourcePool:
    return SourcePool((str(folder),))


@pytest.fixture(scope="module")
def images(pool, folder) -> tuple[Image, Image]:
    infos = [pool.open(str(folder / name)).info.to_json() for name in ("one.tif", "two.tif")]
    one, two = (Image(Open(href=info["href"]).chain(), Profile.of_source(info), {}) for info in infos)
    return one, two


@pytest.fixture
def planner(pool) -> Planner:
    return Planner(pool, Limits(), "", NodeCache(Budget(64 << 20)))


def reads(planner: Planner, image: Image, window: Grid) -> int:
    """How many sources an evaluation reads."""
    _, plan = run(planner, image.chain, window)
    return len(plan.reads)


def same(one: Block, two: Block) -> bool:
    valid = [np.broadcast_to(block.valid, block.data.shape) for block in (one, two)]
    return one.data.dtype == two.data.dtype and np.array_equal(one.data, two.data) and np.array_equal(*valid)


def block(rows: int, cols: int, bands: int = 1, **other: Any) -> Block:
    data = np.arange(bands * rows * cols, dtype=np.uint16).reshape(bands, rows, cols)
    return Block(data, other.get("valid", data % 3 > 0))


def test_a_window_inside_a_kept_one_is_cropped():
    nodes, made = NodeCache(Budget(1 << 20)), block(260, 260, 2)
    nodes.put(NAME, grid(-2, -2, 260, 260), (0, 3), made)
    found = nodes.get(NAME, grid(0, 0, 256, 256), (3,))
    assert np.array_equal(found.data, made.data[1:, 2:258, 2:258])
    assert np.array_equal(found.valid, made.valid[1:, 2:258, 2:258])
    both = nodes.get(NAME, grid(0, 0, 256, 256), (3, 0))
    assert np.array_equal(both.data, made.data[::-1, 2:258, 2:258])
    assert nodes.get(NAME, grid(0, 0, 256, 256), (0, 1)) is None
    assert nodes.get(NAME, grid(-3, 0, 256, 256), (0,)) is None
    assert nodes.get(NodeName("a" * 32, "nearest", "b" * 16), grid(0, 0, 256, 256), (0,)) is None
    assert nodes.get(NodeName("a" * 32, None, "c" * 16), grid(0, 0, 256, 256), (0,)) is None


def test_one_validity_for_all_bands_stays_one():
    nodes, valid = NodeCache(Budget(1 << 20)), np.arange(64 * 64).reshape(1, 64, 64) % 5 > 0
    nodes.put(NAME, grid(0, 0, 64, 64), (0, 1), block(64, 64, 2, valid=valid))
    assert np.array_equal(nodes.get(NAME, grid(0, 0, 64, 64), (0, 1)).valid, valid)
    nodes.put(NAME, grid(512, 0, 64, 64), (0, 1), block(64, 64, 2, valid=np.ones((2, 64, 64), bool)))
    found = nodes.get(NAME, grid(512, 0, 64, 64), (0, 1))
    assert found.valid.shape == (1, 64, 64)
    assert found.valid.all()


def test_a_wider_window_takes_the_place_of_a_narrow_one_but_not_the_other_way_round():
    nodes = NodeCache(Budget(1 << 20))
    narrow, wide = grid(0, 0, 256, 256), grid(-8, -8, 272, 272)
    nodes.put(NAME, narrow, (0,), block(256, 256))
    assert nodes.get(NAME, wide, (0,)) is None
    nodes.put(NAME, wide, (0,), block(272, 272))
    nodes.put(NAME, narrow, (0,), block(256, 256))
    nodes.put(NAME, grid(100, 100, 1, 1), (0,), block(1, 1))
    assert nodes.get(NAME, wide, (0,)) is not None
    assert nodes.state().entries == 1


def test_what_is_kept_cannot_be_changed_and_holds_no_more_memory_than_it_is_charged():
    nodes, large = NodeCache(Budget(1 << 20)), np.zeros((1, 2000, 256), np.uint16)
    made = Block(large[:, :256], np.ones((1, 256, 256), np.bool_))
    nodes.put(NAME, grid(0, 0, 256, 256), (0,), made)
    found = nodes.get(NAME, grid(0, 0, 256, 256), (0,))
    assert not np.shares_memory(found.data, large)
    for array in (found.data, found.valid, made.data):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0, 0] = 1


def test_chains_with_a_common_part_share_its_work(planner, images):
    index = images[0].normalized_difference("B2", "B1")
    tile = grid(0, 0, 256, 256)
    assert reads(planner, index.focal_mean(4), tile) == 1
    assert reads(planner, index.focal_mean(4).scale(-1, 1).colormap("rdylgn"), tile) == 0
    # Smaller margins are inside what the larger one has left.
    assert reads(planner, index.slope(), tile) == 0
    assert reads(planner, images[0]["B1"].scale(0, 50), tile) == 0
    assert reads(planner, images[0]["B3"].scale(0, 50), tile) == 1
    assert reads(planner, images[0]["B1"] + images[1]["B1"], tile) == 1


def test_another_last_step_reads_nothing(planner, images):
    index = (images[0]["B1"] - images[1]["B1"]) / (images[0]["B1"] + images[1]["B1"])
    tile = grid(256, 256, 256, 256)
    assert reads(planner, index.scale(-1, 1).colormap("viridis"), tile) == 2
    block, plan = run(planner, index.scale(-0.5, 1).colormap("magma").chain, tile)
    assert not plan.reads
    assert not plan.pixels
    fresh, _ = run(Planner(planner.pool, Limits()), index.scale(-0.5, 1).colormap("magma").chain, tile)
    assert same(block, fresh)


def test_a_file_that_changed_is_read_again(tmp_path):
    path = write(tmp_path / "scene.tif", 1)
    pool = SourcePool((str(tmp_path),), recheck=0.0)
    planner = Planner(pool, Limits(), "", NodeCache(Budget(64 << 20)))
    image = Image(Open(href=str(path)).chain(), Profile.of_source(pool.open(str(path)).info.to_json()), {})
    tile = grid(0, 0, 256, 256)
    old, _ = run(planner, image.chain, tile)
    write(tmp_path / "new.tif", 2).rename(path)
    new, plan = run(planner, image.chain, tile)
    assert len(plan.reads) == 1
    assert not same(old, new)
    assert same(new, run(Planner(pool, Limits()), image.chain, tile)[0])


CHAINS = (
    lambda one, two: one["B1"],
    lambda one, two: one[["B3", "B1"]],
    lambda one, two: one.normalized_difference("B2", "B1"),
    lambda one, two: one.normalized_difference("B2", "B1").scale(-1, 1).colormap("rdylgn"),
    lambda one, two: one["B1"].focal_mean(3),
    lambda one, two: one["B1"].focal_mean(9).slope(),
    lambda one, two: (one["B1"] + two["B1"]).mask(two["B2"] > 9),
    lambda one, two: one.resample("nearest")["B1"] + two.resample("nearest")["B1"],
    lambda one, two: one.rgb("B3", "B2", "B1").scale(0, 50),
)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_was_asked_before_results_stay_the_same(pool, images, data):
    kept = Planner(pool, Limits(), "", NodeCache(Budget(8 << 20)))
    fresh = Planner(pool, Limits())
    near = st.integers(-30, 30)
    for _ in range(data.draw(st.integers(2, 6))):
        chain = data.draw(st.sampled_from(CHAINS))(*images).chain
        cols, rows = data.draw(st.sampled_from([(256, 256), (64, 64), (200, 90)]))
        window = grid(data.draw(near), data.draw(near), cols, rows)
        assert same(run(kept, chain, window)[0], run(fresh, chain, window)[0])
