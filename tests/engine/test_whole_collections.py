"""Collections as people use them, from a catalogue on disk to pictures: gl, a real engine, real files."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely
from osgeo import gdal, osr
from PIL import Image as Picture

import geoloom as gl
from geoloom import catalog
from geoloom.errors import BandError, NotFound, RequestError, SourceNotFound
from geoloom.grid import Tile
from geoloom_engine.catalog import write_items

if TYPE_CHECKING:
    from conftest import StartEngine

gdal.UseExceptions()
BOX = (12.0, 45.0, 12.25, 45.25)
PLACE = (12.1, 45.1)
CLOUD = 9
REDS = {4: 40, 5: 50, 6: 60, 7: 70, 8: 80}
"""What the scene of each month holds; that of August is all cloud."""


def write(path: Path, value: int) -> None:
    """A quarter of a degree of one value."""
    made = gdal.GetDriverByName("GTiff").Create(str(path), 50, 50, 1, gdal.GDT_Byte)
    made.SetGeoTransform((BOX[0], 0.005, 0, BOX[3], 0, -0.005))
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(4326)
    made.SetSpatialRef(crs)
    made.GetRasterBand(1).SetNoDataValue(0)
    made.GetRasterBand(1).WriteArray(np.full((50, 50), value, np.uint8))
    made.Close()


def scene(folder: Path, month: int) -> dict[str, Any]:
    """The item of a month, its files written."""
    assets = {}
    for name, value in (("red", REDS[month]), ("scl", CLOUD if month == 8 else 4)):
        path = folder / f"{month}_{name}.tif"
        write(path, value)
        band = {"name": name, "data_type": "uint8", "nodata": 0}
        assets[name] = {
            "href": str(path),
            "type": "image/tiff; application=geotiff",
            "roles": ["data"],
            "bands": [band],
        }
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": f"scene-{month:02d}",
        "geometry": json.loads(shapely.to_geojson(shapely.box(*BOX))),
        "bbox": list(BOX),
        "properties": {
            "datetime": f"2016-{month:02d}-13T09:20:32Z",
            "eo:cloud_cover": 100.0 if month == 8 else month,
        },
        "links": [],
        "assets": assets,
    }


@pytest.fixture(scope="module")
def engine_of_scenes(start_engine: StartEngine, valkey: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An engine whose catalogue ``local`` has the collection ``quarters``."""
    folder = tmp_path_factory.mktemp("scenes")
    made = folder / "catalog" / "quarters"
    (made / "items").mkdir(parents=True)
    told = {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": "quarters",
        "title": "Quarters of a degree",
        "keywords": ["made up"],
        "description": "Squares of one value.",
        "extent": {
            "spatial": {"bbox": [list(BOX)]},
            "temporal": {"interval": [["2016-04-13T09:20:32Z", "2016-08-13T09:20:32Z"]]},
        },
        "links": [],
        "item_assets": {
            name: {
                "type": "image/tiff; application=geotiff",
                "roles": ["data"],
                "bands": [{"name": name, "data_type": "uint8"}],
            }
            for name in ("red", "scl")
        },
    }
    (made / "collection.json").write_text(json.dumps(told))
    write_items(made / "items" / "all.parquet", [scene(folder, month) for month in REDS])
    return start_engine(valkey, folder, catalogs=f"local={folder / 'catalog'}")


@pytest.fixture
def quarters(engine_of_scenes: Any, monkeypatch: pytest.MonkeyPatch) -> gl.Collection:
    """The collection, asked for as in a notebook."""
    monkeypatch.setenv("GEOLOOM_ENGINE_URL", engine_of_scenes.url)
    monkeypatch.setenv("GEOLOOM_TOKEN", engine_of_scenes.token)
    monkeypatch.setattr(catalog, "_listing", None)
    return gl.collection("quarters")


def red(image: gl.Image) -> float | None:
    return image.point(*PLACE)["red"]


def test_filters_choose_scenes(quarters: gl.Collection) -> None:
    assert len(quarters) == 5
    assert quarters.filter_date("2016-05", "2016-07-13").count() == 3
    assert quarters.filter_date("2016-07-13T09:20:32Z", "2016-07-13T09:20:33Z").count() == 1
    assert quarters.filter_date(month=[5, 7]).count() == 2
    assert quarters.filter("eo:cloud_cover", "<", 6).count() == 2
    assert quarters.filter("eo:cloud_cover", "in", [4, 6, 99]).count() == 2
    assert quarters.ids("scene-04", "scene-99").count() == 1
    assert quarters.filter_rect(12.2, 45.2, 13, 46).count() == 5
    assert quarters.filter_rect(12.3, 45.2, 13, 46).count() == 0
    assert quarters.filter_location(12.3, 45.1).count() == 0
    assert quarters.filter_location(12.3, 45.1, buffer_km=5).count() == 5
    assert quarters.filter_geometry(shapely.Point(PLACE)).limit(2).count() == 2


def test_the_order_decides_the_mosaic(quarters: gl.Collection) -> None:
    assert red(quarters.mosaic()) == 80
    assert red(quarters.sort("datetime").mosaic()) == 40
    assert red(quarters.sort("eo:cloud_cover", descending=True).composite("last")) == 40
    assert red(quarters.nearest("2016-06-01").mosaic()) == 60
    assert red(quarters.nearest("2016-05-20").mosaic()) == 50
    assert red(quarters.first()) == 80


def test_each_scene_is_masked_before_the_median(quarters: gl.Collection) -> None:
    clear = quarters.map(lambda img: img.mask(img["scl"] != CLOUD))
    assert red(clear.median()) == 55
    assert red(clear.select("red").composite("count")) == 4
    assert red(quarters.median()) == 60
    assert red(clear.quality(lambda img: 0 - abs(img["red"] - 52))) == 50
    picture = gl.Image.tile(clear.bands("red").scale(0, 255), *_tile())
    seen = np.asarray(Picture.open(io.BytesIO(picture)).convert("RGBA"))
    assert set(seen[seen[..., 3] == 255][:, 0]) == {70}


def _tile() -> tuple[int, int, int]:
    tile = Tile.at(*PLACE, 9)
    return tile.z, tile.x, tile.y


def test_a_frozen_collection_means_the_same(quarters: gl.Collection) -> None:
    image = quarters.filter_date("2016-05").median()
    frozen = gl.Collection.of(quarters.filter_date("2016-05").selection())
    assert frozen.median().equals(image)
    key = image.save()
    assert gl.load(key).equals(image)


def test_items_as_a_table_and_as_outlines(quarters: gl.Collection) -> None:
    table = quarters.sort("datetime").to_dataframe()
    assert list(table["id"]) == [f"scene-{month:02d}" for month in REDS]
    assert list(table["eo:cloud_cover"]) == [4, 5, 6, 7, 100]
    assert table["date"][0].month == 4
    assert len(quarters.footprints()["features"]) == 5


def test_a_series_and_frames(quarters: gl.Collection) -> None:
    values = quarters.series(*PLACE, lambda img: img["red"])
    assert values["red"] == [40, 50, 60, 70, 80]
    frames = quarters.animate(lambda img: img["red"], by="month")
    assert [red(frame.image) for frame in frames] == [40, 50, 60, 70, 80]


def test_what_goes_wrong_is_said(quarters: gl.Collection) -> None:
    with pytest.raises(
        SourceNotFound, match=r"Without “in 2017” there would be 5\. Its items are from 2016-04-13"
    ):
        quarters.filter_date("2017").mosaic()
    with pytest.raises(SourceNotFound, match="longitude comes first"):
        quarters.filter_rect(45.0, 12.0, 45.25, 12.25).mosaic()
    with pytest.raises(RequestError, match="'cloud'"):
        quarters.filter("cloud", "<", 3).count()
    with pytest.raises(BandError, match="B99"):
        quarters.map(lambda img: img["B99"]).mosaic()
    with pytest.raises(NotFound, match="Did you mean 'quarters'"):
        gl.collection("quartrs")


def test_the_snippet_runs(quarters: gl.Collection) -> None:
    names: dict[str, Any] = {}
    exec(str(gl.collections.local.quarters), names)
    assert names["quarters"].count() == 4
    assert names["image"].band_names == ("red",)
    (layer,) = names["m"].overlays
    assert layer.name == "quarters"
    names["m"].close()


def test_the_tree_and_words(quarters: gl.Collection) -> None:
    assert "local" in dir(gl.collections)
    assert "quarters" in dir(gl.collections.local)
    assert gl.collections.search("quarter degrees")[0].id == "local/quarters"
    assert (
        quarters.coverage().point(*PLACE) == {"scenes": 5} or 5 in quarters.coverage().point(*PLACE).values()
    )
