"""Series: the values of all items at a place, as the composite of each alone has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from osgeo import gdal, osr

from geoloom import blobs
from geoloom.errors import DemandError, RequestError
from geoloom.per_item import composite, item
from geoloom.selection import Asset, Item, SelectedBand, Selection
from geoloom_engine.plan import Planner
from geoloom_engine.readers import SourcePool
from geoloom_engine.selections import Blobs
from geoloom_engine.series import series
from geoloom_engine.warp import Limits

gdal.UseExceptions()
JULY = 1_467_331_200.0


def write(path: Path, value: int) -> str:
    """A quarter of a degree of one value, 0 in its western half where that is negative."""
    made = gdal.GetDriverByName("GTiff").Create(str(path), 50, 50, 1, gdal.GDT_UInt16)
    made.SetGeoTransform((12.0, 0.005, 0, 45.25, 0, -0.005))
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(4326)
    made.SetSpatialRef(crs)
    made.GetRasterBand(1).SetNoDataValue(0)
    data = np.full((50, 50), abs(value), np.uint16)
    if value < 0:
        data[:, :25] = 0
    made.GetRasterBand(1).WriteArray(data)
    made.Close()
    return str(path)


@pytest.fixture
def selection(tmp_path) -> Selection:
    values = [30, 10, -20, 40]
    dates = [JULY + 86400 * 2, JULY, None, JULY + 86400]
    items = [
        Item(
            f"s{i}",
            date,
            shapely.box(12, 45, 12.25, 45.25),
            (Asset(write(tmp_path / f"{i}.tif", v), ((0, 0),)),),
        )
        for i, (v, date) in enumerate(zip(values, dates, strict=True))
    ]
    return Selection.of("quarters", [SelectedBand("B1", "uint16", resampling="nearest")], items)


def make_planner(tmp_path: Path, **more) -> Planner:
    kept = Blobs(lambda key: blobs.known(key) or b"")
    return Planner(SourcePool((str(tmp_path),)), Limits(), blobs=kept, **more)


def test_items_in_the_order_of_their_dates(tmp_path, selection):
    image = composite(item(selection) * 2, selection, "mean")
    told = series(make_planner(tmp_path), image.chain, 12.05, 45.1, None)
    assert [one["id"] for one in told["items"]] == ["s1", "s3", "s0", "s2"]
    assert [one["values"]["B1"] for one in told["items"]] == [20, 80, 60, None]
    assert told["items"][0]["date"] == "2016-07-01T00:00:00Z"
    assert told["items"][3]["date"] is None
    assert told["failed"] == 0


def test_an_item_that_cannot_be_read_says_why(tmp_path, selection):
    (tmp_path / "3.tif").unlink()
    image = composite(item(selection), selection, "first")
    told = series(make_planner(tmp_path), image.chain, 12.2, 45.1, 9)
    assert told["failed"] == 1
    broken = next(one for one in told["items"] if one["id"] == "s3")
    assert "3.tif is not there" in broken["error"]
    assert broken["values"] == {"B1": None}
    assert {one["id"]: one["values"]["B1"] for one in told["items"] if one["id"] != "s3"} == {
        "s0": 30,
        "s1": 10,
        "s2": 20,
    }


def test_what_is_no_composite_has_no_series(tmp_path, selection):
    image = composite(item(selection), selection, "first") + 1
    with pytest.raises(RequestError, match="ends with add"):
        series(make_planner(tmp_path), image.chain, 12.2, 45.1, None)


def test_a_series_may_read_more_than_a_tile_but_not_all(tmp_path, selection):
    many = Selection.of(
        "many",
        selection.bands,
        [Item(f"m{i}", JULY + i, selection.footprints[0], selection.item(0).assets) for i in range(21)],
    )
    image = composite(item(many), many, "mean")
    assert len(series(make_planner(tmp_path, max_reads=3), image.chain, 12.2, 45.1, None)["items"]) == 21
    with pytest.raises(DemandError, match="21 scenes, more than the 20 files"):
        series(make_planner(tmp_path, max_reads=2), image.chain, 12.2, 45.1, None)


def test_outside_all_footprints_there_is_nothing(tmp_path, selection):
    image = composite(item(selection), selection, "mean")
    assert series(make_planner(tmp_path), image.chain, 50.0, 45.1, None)["items"] == []
