"""Explanation: what is told before is what is then read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal, osr

from geoloom.grid import Lattice, Tile
from geoloom.image import Image
from geoloom.op import Profile
from geoloom.ops.open import Open
from geoloom_engine.evaluate import run
from geoloom_engine.explanation import explained
from geoloom_engine.plan import Planner
from geoloom_engine.readers import SourcePool
from geoloom_engine.warp import Limits

gdal.UseExceptions()
ZOOM = 12
LATTICE = Lattice.web_mercator(ZOOM)
PLACE = Tile(ZOOM, 2188, 1387)
SIDE = 1500


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("explained") / "scene.tif"
    options = ["TILED=YES", "BLOCKXSIZE=256", "BLOCKYSIZE=128", "COMPRESS=DEFLATE"]
    made = gdal.GetDriverByName("GTiff").Create(str(path), SIDE, SIDE, 3, gdal.GDT_UInt16, options)
    bounds = PLACE.grid().bounds()
    made.SetGeoTransform((bounds.west, LATTICE.dx * 0.7, 0, bounds.north, 0, -LATTICE.dy * 0.7))
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(3857)
    made.SetSpatialRef(crs)
    made.WriteArray(np.random.default_rng(1).integers(1, 4000, (3, SIDE, SIDE)).astype(np.uint16))
    made.BuildOverviews("AVERAGE", [2, 4])
    made.Close()
    return path


@pytest.fixture
def planner(scene) -> Planner:
    return Planner(SourcePool((str(scene.parent),)), Limits())


@pytest.fixture
def image(planner, scene) -> Image:
    info = planner.pool.open(str(scene)).info.to_json()
    return Image(Open(href=str(scene)).chain(), Profile.of_source(info), {})


CHAINS = {
    "one band": lambda image: image["b1"].scale(0, 4000).colormap("viridis"),
    "a formula": lambda image: (image["b2"] - image["b1"]).scale(-1000, 1000),
    "neighbours": lambda image: image["b3"].focal_mean(20).scale(0, 4000),
    "all bands": lambda image: image.rgb("b3", "b2", "b1").scale(0, 4000),
}


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("zoom", [ZOOM - 2, ZOOM - 1, ZOOM, ZOOM + 2])
def test_what_is_told_is_what_is_then_read(planner, image, name, zoom):
    chain = CHAINS[name](image).chain
    grid = Tile.at(*reversed(middle()), zoom).grid()
    told = explained(planner.plan(chain, grid))
    assert planner.pool.cache.state().entries == 0
    run(planner, chain, grid)
    kept = [entry.value for entry in planner.pool.cache._cache._entries.values()]
    assert told["blocks"] == len(kept) > 0
    assert told["decoded_bytes"] == sum(block.data.nbytes for block in kept)
    assert told["bytes"] <= told["decoded_bytes"] * 1.5  # with a byte of validity for two of values


def middle() -> tuple[float, float]:
    """Latitude and longitude of a place in the scene."""
    bounds = PLACE.bounds()
    return (bounds.south + bounds.north) / 2, (bounds.west + bounds.east) / 2


def test_steps_are_named_with_what_they_read(planner, image):
    grid = PLACE.grid()
    plan = planner.plan(image["b2"].slope().scale(0, 90).chain, grid)
    told = explained(plan)
    read, *rest = told["steps"]
    assert (read["op"], read["bands"], read["margin"]) == ("read", ["b2"], 1)
    assert [step["op"] for step in rest] == ["slope", "scale"]
    assert told["pixels"] == plan.pixels > 0
    assert told["memory"] == plan.memory
    table = explained(planner.plan(CHAINS["one band"](image).chain, grid))["steps"][-1]
    assert (table["op"], table["ops"]) == ("lookup", ["scale", "colormap"])


def test_off_the_image_nothing_is_read(planner, image):
    told = explained(planner.plan(image["b1"].chain, Tile(ZOOM, 100, 100).grid()))
    assert (told["pixels"], told["blocks"], told["decoded_bytes"]) == (0, 0, 0)
    assert told["steps"][0]["window"] is None
