"""Vectors as people use them, over an engine that reads, draws and measures them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from osgeo import gdal, ogr, osr
from PIL import Image as Picture
from shapely.geometry import box

from geoloom import feature_source, image, opening, zonal
from geoloom.attributes import attributes_at
from geoloom.errors import ParameterError, RequestError, SourceNotFound, SourceUnreadable
from geoloom.features import Vector, vector
from geoloom.grid import Tile

if TYPE_CHECKING:
    from conftest import RunningEngine

gdal.UseExceptions()
ogr.UseExceptions()

SIDE = 1500.0
"""Metres of the side of a field; three beside three, on a raster of 30 m that begins at the same corner."""

CROPS = {1: "wheat", 2: "wheat", 3: "maize", 4: "maize", 5: "maize", 7: "fallow"}
WHEAT, MAIZE = (200, 160, 40), (40, 120, 40)


@pytest.fixture(scope="module")
def fields(engine: RunningEngine, raster: Path) -> Path:
    """Nine square fields in EPSG:32633, numbered from the north-west, and two wells."""
    path = engine.folder / "fields.gpkg"
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(32633)
    made = gdal.GetDriverByName("GPKG").Create(str(path), 0, 0, 0, gdal.GDT_Unknown)
    layer = made.CreateLayer("fields", crs, ogr.wkbPolygon)
    for name, kind in (("code", ogr.OFTInteger), ("owner", ogr.OFTString), ("lime", ogr.OFTReal)):
        layer.CreateField(ogr.FieldDefn(name, kind))
    for number in range(9):
        row, col = divmod(number, 3)
        west, north = 500_000 + col * SIDE, 5_000_000 - row * SIDE
        feature = ogr.Feature(layer.GetLayerDefn())
        feature.SetGeometry(ogr.CreateGeometryFromWkt(box(west, north - SIDE, west + SIDE, north).wkt))
        for name, value in (("code", number + 1), ("owner", f"O'{number % 2}"), ("lime", number / 2)):
            feature.SetField(name, value)
        layer.CreateFeature(feature)
    wells = made.CreateLayer("wells", crs, ogr.wkbPoint)
    for east in (500_750, 502_250):
        feature = ogr.Feature(wells.GetLayerDefn())
        feature.SetGeometry(ogr.CreateGeometryFromWkt(f"POINT ({east} 4999250)"))
        wells.CreateFeature(feature)
    made.Close()
    return path


@pytest.fixture(autouse=True)
def _connected(engine: RunningEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    client = engine.client()
    for module in (feature_source, image, opening, zonal):
        monkeypatch.setattr(module, "connected", lambda: client)


@pytest.fixture
def farm(fields: Path) -> Vector:
    return vector(fields)


def degrees(col: float, row: float) -> tuple[float, float]:
    """Longitude and latitude of a place in fields from the north-west corner: (0.5, 0.5) is in the first."""
    source, target = osr.SpatialReference(), osr.SpatialReference()
    source.ImportFromEPSG(32633)
    target.ImportFromEPSG(4326)
    target.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    moved = osr.CoordinateTransformation(source, target)
    lon, lat, _ = moved.TransformPoint(500_000 + col * SIDE, 5_000_000 - row * SIDE)
    return lon, lat


def shown(shot: Any, col: float, row: float, zoom: int = 13) -> tuple[int, ...]:
    """Colour and alpha that an image's tile has at a place."""
    lon, lat = degrees(col, row)
    tile = Tile.at(lon, lat, zoom)
    pixels = np.asarray(Picture.open(io.BytesIO(shot.tile(zoom, tile.x, tile.y))).convert("RGBA"))
    around = tile.bounds()
    x = int((lon - around.west) / (around.east - around.west) * 256)
    y = int((around.north - lat) / (around.north - around.south) * 256)
    return tuple(int(one) for one in pixels[y, x])


def test_what_a_file_holds(farm: Vector, fields: Path) -> None:
    assert (farm.count, farm.geometry, farm.crs) == (9, "polygon", "EPSG:32633")
    assert farm.columns == {"code": "int32", "owner": "text", "lime": "float64"}
    assert farm.layers == ("fields", "wells")
    assert farm.bounds is not None
    assert farm.bounds[0] == pytest.approx(15.0, abs=1e-6)
    wells = vector(fields, layer="wells")
    assert (wells.count, wells.geometry, wells.name) == (2, "point", "wells")


def test_conditions_are_checked_at_once(farm: Vector) -> None:
    assert farm.where("code > 3").where("owner = 'O''1'").count == 3
    with pytest.raises(RequestError, match=r"There is no column 'cod'\. Did you mean 'code'\?"):
        farm.where("cod > 3")
    with pytest.raises(RequestError, match="is not understood"):
        farm.where("code > > 3")


def test_classes_are_drawn_in_their_colours(farm: Vector) -> None:
    joined = farm.join(CROPS, on="code", columns="crop")
    drawn = joined.categories("crop", {"wheat": WHEAT, "maize": MAIZE}).style(line="none").picture
    assert shown(drawn, 0.5, 0.5) == (*WHEAT, 255)
    assert shown(drawn, 2.5, 0.5) == (*MAIZE, 255)
    assert shown(drawn, 0.5, 2.5)[3] == 0, "fallow has no class"
    assert shown(drawn, 2.5, 1.5)[3] == 0, "the sixth field has no row"


def test_classes_are_found_by_the_engine(farm: Vector) -> None:
    look = farm.categories("owner").picture.profile.look
    assert look is not None
    assert [label for label, _ in look.labels] == ["O'0", "O'1"]
    look = farm.graduated("lime", classes=2, method="equal").picture.profile.look
    assert look is not None
    assert [label for label, _ in look.labels] == ["0 – 2", "2 – 4"]


def test_a_table_that_fits_nowhere_is_refused(farm: Vector) -> None:
    with pytest.raises(ParameterError, match="No row of the table has a feature"):
        farm.join({"A": 1}, on="code", columns="crop")
    with pytest.warns(UserWarning, match="1 of 2 rows of the table have no feature: '77'"):
        farm.join({1: "x", 77: "y"}, on="code", columns="crop")


def test_a_place_tells_its_attributes(farm: Vector) -> None:
    lon, lat = degrees(1.5, 0.5)
    expected = {"code": 2, "owner": "O'1", "lime": 0.5}
    assert farm.identify(lon, lat) == [expected]
    joined = farm.join(CROPS, on="code", columns="crop")
    assert joined.identify(lon, lat, zoom=12) == [{**expected, "crop": "wheat"}]
    node = joined.picture.chain.node
    assert attributes_at(image.connected(), node, lon, lat, 12) == [{**expected, "crop": "wheat"}]
    assert farm.where("code > 5").identify(lon, lat) == []


def test_columns_are_burnt(farm: Vector) -> None:
    rent = farm.join({1: 10, 2: 20, 3: 0.5}, on="code", columns="rent").burn("rent")
    assert rent.dtype == "float32"
    assert rent.point(*degrees(1.5, 0.5)) == {"rent": 20.0}
    assert rent.point(*degrees(2.5, 0.5)) == {"rent": 0.5}
    assert farm.burn("code").point(*degrees(2.5, 2.5)) == {"code": 9}


def test_pixels_outside_are_masked(farm: Vector, raster: Path) -> None:
    scene = opening.open(raster)
    masked = scene.mask(farm.where("code = 5"))
    whole = scene.point(*degrees(1.5, 1.5))
    assert masked.point(*degrees(1.5, 1.5)) == whole
    assert set(masked.point(*degrees(0.5, 1.5), zoom=13).values()) == {None}
    (lon, lat) = degrees(0.5, 1.5)
    around = scene.mask(box(lon - 1e-3, lat - 1e-3, lon + 1e-3, lat + 1e-3))
    assert around.point(lon, lat) == scene.point(lon, lat)
    assert set(around.point(*degrees(1.5, 1.5), zoom=13).values()) == {None}


def test_zones_are_the_means_of_the_pixels(farm: Vector, raster: Path) -> None:
    pixels = gdal.Open(str(raster)).ReadAsArray()[:150, :150].astype(float)
    blocks = pixels.reshape(3, 50, 3, 50).transpose(0, 2, 1, 3).reshape(9, -1)
    found = opening.open(raster).statistics(zones=farm.join(CROPS, on="code", columns="crop"))
    assert list(found["code"]) == list(range(1, 10))
    assert found["crop"].tolist()[:3] == ["wheat", "wheat", "maize"]
    np.testing.assert_allclose(found["count"], 2500, rtol=1e-6)
    np.testing.assert_allclose(found["mean"], blocks.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(found["std"], blocks.std(axis=1), rtol=1e-4)


def test_a_saved_picture_comes_back_with_its_place(farm: Vector) -> None:
    picture = farm.categories("owner").picture
    again = opening.load(picture.save())
    assert again.equals(picture)
    assert again.bounds == pytest.approx(picture.bounds)
    assert "draw(fields.gpkg" in again._repr_html_()


def test_the_plan_names_what_is_painted(farm: Vector, raster: Path) -> None:
    told = repr(opening.open(raster).mask(farm.where("code = 5")).explain(13))
    assert "burn(fields.gpkg, where='code = 5')" in told
    assert "mask" in told


def test_geometries_of_the_notebook_are_drawn(engine: RunningEngine) -> None:
    west, south = degrees(0.0, 2.0)
    east, north = degrees(2.0, 0.0)
    square = {
        "type": "Feature",
        "geometry": box(west, south, east, north).__geo_interface__,
        "properties": {"n": 3},
    }
    found = vector(square).style(fill="#ff000080", line="none")
    assert (found.count, found.columns) == (1, {"n": "int32"})
    red, green, blue, alpha = shown(found.picture, 1.0, 1.0)
    assert (red, green, blue) == (255, 0, 0)
    assert alpha == pytest.approx(128, abs=1)
    assert found.identify(*degrees(1.0, 1.0)) == [{"n": 3}]


def test_files_that_are_none_are_refused_in_words(fields: Path, raster: Path) -> None:
    with pytest.raises(SourceNotFound, match=r"did you mean fields\.gpkg"):
        vector(fields.with_name("field.gpkg"))
    with pytest.raises(SourceUnreadable, match=r"gl\.open\('scene\.tif'\)"):
        vector(raster)
    with pytest.raises(RequestError, match="has no layer 'roads'"):
        vector(fields, layer="roads")
