"""Which assets are rasters, and their bands, as catalogues of STAC 1.0 and 1.1 describe them."""

from __future__ import annotations

import math
from typing import Any

import pyproj
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoloom.selection import SelectedBand
from geoloom_engine.catalog.raster_assets import RasterAssets, bands_of, is_raster
from geoloom_engine.catalog.resolving import resolved

Json = dict[str, Any]

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
TRANSFORM = [10.0, 0.0, 399960.0, 0.0, -10.0, 4900020.0, 0.0, 0.0, 1.0]
GDAL = (399960.0, 10.0, 0.0, 4900020.0, 0.0, -10.0)
BOX = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}


def item(assets: Json, **properties: Any) -> Json:
    told = {"datetime": "2016-07-13T00:00:00Z", **properties}
    return {"id": "one", "geometry": BOX, "properties": told, "assets": assets}


@pytest.mark.parametrize(
    ("asset", "raster"),
    [
        ({"type": COG, "roles": ["data"]}, True),
        ({"type": "image/jp2"}, True),
        ({"type": "application/x-netcdf", "roles": ["data", "overview"]}, True),
        ({"type": COG, "roles": ["visual"]}, False),
        ({"type": "image/tiff", "roles": ["overview"]}, False),
        ({"type": "image/jpeg", "roles": ["thumbnail"]}, False),
        ({"type": "application/json", "roles": ["metadata"]}, False),
        ({"href": "/data/a.TIF"}, True),
        ({"href": "https://x.example/a.zarr/?b=1"}, True),
        ({"href": "/data/a.xml"}, False),
        ({"href": "/data/a.nc#variable=sst", "roles": None, "type": 5}, True),
    ],
)
def test_rasters_are_told_from_pictures_and_texts(asset: Json, raster: bool) -> None:
    assert is_raster(asset) == raster


@pytest.mark.parametrize(
    ("key", "asset", "bands"),
    [
        (
            "B04",
            {
                "eo:bands": [{"name": "red", "common_name": "red"}],
                "raster:bands": [{"data_type": "uint16", "nodata": 0, "scale": 0.5, "offset": -1}],
            },
            [SelectedBand("B04", "uint16", 0.0, None, 0.5, -1.0, "bilinear", "red")],
        ),
        (
            "B04",
            {"bands": [{"name": "red", "nodata": "nan"}], "data_type": "float32", "raster:scale": 2},
            [SelectedBand("B04", "float32", math.nan, scale=2.0)],
        ),
        (
            "multi",
            {
                "bands": [{"name": "a", "data_type": "int8"}, {"data_type": "uint8"}, {"name": "a"}],
                "nodata": 3,
            },
            [
                SelectedBand("a", "int8", 3.0),
                SelectedBand("multi_2", "uint8", 3.0),
                SelectedBand("a_3", "float32", 3.0),
            ],
        ),
        ("SCL", {}, [SelectedBand("SCL", "float32", resampling="nearest")]),
        ("x", {"classification:classes": [{}]}, [SelectedBand("x", "float32", resampling="nearest")]),
        ("scl", {"bands": [{"geoloom:resampling": "bilinear"}]}, [SelectedBand("scl", "float32")]),
        ("odd", {"bands": "none", "raster:bands": [{"data_type": "cfloat32", "nodata": "x"}]}, [
            SelectedBand("odd", "float32")
        ]),
    ],
)  # fmt: skip
def test_bands_of_both_versions(key: str, asset: Json, bands: list[SelectedBand]) -> None:
    assert repr(list(bands_of(key, asset))) == repr(bands)


def test_a_raster_has_what_item_and_asset_say() -> None:
    wkt = pyproj.CRS.from_epsg(3035).to_wkt()
    rasters = RasterAssets({"B04": {"roles": ["data"], "raster:bands": [{"data_type": "uint16"}]}}).of(
        item(
            {
                "B04": {
                    "href": "/a.tif",
                    "type": COG,
                    "proj:transform": TRANSFORM,
                    "geoloom:mark": "0123456789",
                },
                "B05": {
                    "href": "/b.tif",
                    "proj:code": "EPSG:4326",
                    "proj:transform": [0.1, 0, 5, 0, -0.1, 40],
                },
                "B06": {
                    "href": "/c.tif",
                    "proj:wkt2": wkt,
                    "proj:epsg": None,
                    "gsd": 60,
                    "geoloom:mark": "no",
                },
                "B06-jp2": {"href": "/c.jp2"},
                "gone": {"type": COG},
                "none": None,
            },
            **{"proj:epsg": 32634, "proj:shape": [10980, 10980.0]},
        )
    )
    assert [(href, mark) for href, mark, _ in rasters] == [
        ("/a.tif", "0123456789"),
        ("/b.tif", ""),
        ("/c.tif", ""),
    ]
    first, second, third = (raster for *_, raster in rasters)
    assert (first.transform, first.crs, first.shape) == (GDAL, "EPSG:32634", (10980, 10980))
    assert (first.resolution, first.bands[0].dtype) == (10, "uint16")
    assert (second.crs, round(second.resolution)) == ("EPSG:4326", 11132)
    assert pyproj.CRS(third.crs).to_epsg() == 3035
    assert third.resolution == 60


def test_bands_of_many_items_are_one_list() -> None:
    first = item(
        {"a": {"href": "/1a.tif", "data_type": "uint8"}, "b": {"href": "/1b.tif", "data_type": "uint8"}}
    )
    second = item({"b": {"href": "/2b.tif", "data_type": "int16", "nodata": -1}, "c": {"href": "/2c.tif"}})
    second["id"] = "two"
    shared = {"unused": {"type": COG}, "c": {"type": COG, "data_type": "uint8"}}
    selection, problems = resolved("made-up", [first, second], RasterAssets(shared))
    assert problems == []
    assert [(band.name, band.dtype, band.nodata) for band in selection.bands] == [
        ("c", "uint8", None),
        ("a", "uint8", None),
        ("b", "int16", -1),
    ]
    assert [asset.bands for asset in selection.item(0).assets] == [((1, 0),), ((2, 0),)]
    assert [asset.bands for asset in selection.item(1).assets] == [((2, 0),), ((0, 0),)]


def test_an_item_that_cannot_be_kept_leaves_the_others() -> None:
    bad = item({"a": {"href": "/with\nbreak.tif"}}) | {"id": "bad"}
    selection, problems = resolved("made-up", [item({"a": {"href": "/a.tif"}}), bad], RasterAssets())
    assert selection.ids == ("one",)
    assert problems == ["Item 'bad' cannot be kept: an asset has no address, or one with control characters."]


nonsense = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
NAMES = (
    *("href", "type", "roles", "bands", "eo:bands", "raster:bands", "data_type", "nodata", "unit", "gsd"),
    *("proj:transform", "proj:shape", "proj:code", "proj:epsg", "proj:wkt2", "proj:projjson"),
    *("geoloom:overviews", "geoloom:mark", "raster:scale"),
)


@given(st.dictionaries(st.sampled_from(NAMES), nonsense), st.dictionaries(st.sampled_from(NAMES), nonsense))
def test_nonsense_is_no_crash(asset: Json, properties: Json) -> None:
    made = item({"a": {"href": "/a.tif", **asset}, "b": "nonsense"}, **properties)
    selection, problems = resolved(
        "made-up", [made, item({"a": {"href": "/a.tif"}}) | {"id": "two"}], RasterAssets()
    )
    assert "two" in selection.ids
    assert len(selection) + len(problems) == 2
