"""Coverage: footprints counted as shapely counts them at each pixel's centre."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from geoloom import blobs
from geoloom.grid import Grid, Tile
from geoloom.per_item import coverage
from geoloom.selection import Asset, Item, SelectedBand, Selection
from geoloom_engine.evaluate import run
from geoloom_engine.outline import centres
from geoloom_engine.plan import Planner
from geoloom_engine.readers import SourcePool
from geoloom_engine.selections import Blobs
from geoloom_engine.unwanted import Unwanted
from geoloom_engine.warp import Limits


def selected(*shapes: shapely.Geometry) -> Selection:
    assets = (Asset("/nowhere/a.tif", ((0, 0),)),)
    items = [Item(f"i{number}", None, shape, assets, 10.0) for number, shape in enumerate(shapes)]
    return Selection.of("shapes", [SelectedBand("B1", "uint8")], items)


@pytest.fixture
def planner() -> Planner:
    return Planner(SourcePool(()), Limits(), blobs=Blobs(lambda key: blobs.known(key) or b""))


SHAPES = (
    shapely.box(10, 45, 12, 47),
    shapely.box(11, 46, 13, 48),
    shapely.box(11, 46, 13, 48),
    shapely.Point(11.5, 46.5).buffer(0.8),
    shapely.MultiPolygon([shapely.box(179, 0, 180, 5), shapely.box(-180, 0, -179, 5)]),
)


@pytest.mark.parametrize("grid", [Tile(0, 0, 0).grid(), Tile(6, 33, 22).grid(), Tile(9, 272, 183).grid(2)])
def test_each_pixel_counts_the_footprints_that_hold_its_centre(planner: Planner, grid: Grid) -> None:
    selection = selected(*SHAPES)
    block, plan = run(planner, coverage(selection).chain, grid)
    lon, lat = centres(grid)
    counts = sum(shapely.contains_xy(shape, lon, lat).astype(int) for shape in SHAPES)
    # Footprints are rounded to about a metre: only pixels on their edges may differ.
    assert (block.data[0] != counts).mean() < 0.002
    np.testing.assert_array_equal(block.valid[0], block.data[0] > 0)
    assert plan.profile.names == ("coverage",)


def test_no_file_is_needed_and_the_place_is_known(planner: Planner) -> None:
    described = planner.describe(coverage(selected(*SHAPES[:3])).chain)
    assert described.bounds is not None
    assert [round(edge, 3) for edge in described.bounds] == [10, 45, 13, 48]
    assert described.to_json()["sources"] == []


def test_it_stops_when_nobody_waits(planner: Planner) -> None:
    from geoloom_engine.evaluate import evaluate

    plan = planner.plan(coverage(selected(*SHAPES)).chain, Tile(0, 0, 0).grid())
    with pytest.raises(Unwanted):
        evaluate(plan, {}, supply=planner.supply(lambda: False))
