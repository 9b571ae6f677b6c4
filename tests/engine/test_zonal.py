"""Questions about features over HTTP, and statistics of an image in them, held against exactextract."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import exactextract
import numpy as np
import pytest
import shapely
from exactextract.feature import JSONFeatureSource
from exactextract.raster import NumPyRasterSource
from osgeo import gdal, ogr, osr
from PIL import Image

from geoloom.errors import DemandError
from geoloom.grid import Tile
from geoloom.ops.burn import Burn
from geoloom.ops.draw import Draw
from geoloom.ops.open import Open
from geoloom.symbols import Style
from geoloom_engine.plan import Planner
from geoloom_engine.readers import SourcePool, vectors
from geoloom_engine.vectors import zonal as zones
from geoloom_engine.vectors.asked import Asked
from geoloom_engine.vectors.questions import holding, identified, values
from geoloom_engine.vectors.zonal import zonal
from geoloom_engine.warp import Limits

WEST, NORTH, SIZE = 600000.0, 5000000.0, 20.0
PIXELS = np.random.default_rng(1).normal(100, 20, (700, 900)).astype(np.float32)
PIXELS[100:150, 200:260] = -1


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(vectors, "PATIENCE", 120.0)
    monkeypatch.setattr(vectors, "SMALL_PATIENCE", 120.0)


def system(epsg: int) -> Any:
    found = osr.SpatialReference()
    found.ImportFromEPSG(epsg)
    found.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    return found


@pytest.fixture
def image(tmp_path: Path) -> str:
    path = tmp_path / "image.tif"
    made = gdal.GetDriverByName("GTiff").Create(str(path), 900, 700, 1, gdal.GDT_Float32, ["TILED=YES"])
    made.SetGeoTransform((WEST, SIZE, 0, NORTH, 0, -SIZE))
    made.SetSpatialRef(system(32634))
    made.GetRasterBand(1).SetNoDataValue(-1)
    made.GetRasterBand(1).WriteArray(PIXELS)
    made.Close()
    return str(path)


def shapes() -> list[Any]:
    rng = np.random.default_rng(2)
    found = []
    for _ in range(25):
        x, y = WEST + rng.uniform(500, 17000), NORTH - rng.uniform(500, 13000)
        angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
        radii = rng.uniform(20, 2500, 9)
        star = shapely.Polygon(np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], 1)).buffer(
            0
        )
        found.append(star.difference(shapely.Point(x, y).buffer(60)))
    found.append(shapely.box(WEST + 203 * SIZE, NORTH - 120 * SIZE, WEST + 204 * SIZE, NORTH - 119 * SIZE))
    return found


@pytest.fixture
def parcels(tmp_path: Path) -> str:
    path = tmp_path / "parcels.gpkg"
    dataset = gdal.GetDriverByName("GPKG").CreateVector(str(path))
    layer = dataset.CreateLayer("parcels", system(32634), ogr.wkbUnknown)
    layer.CreateField(ogr.FieldDefn("name", ogr.OFTString))
    layer.CreateField(ogr.FieldDefn("n", ogr.OFTInteger))
    for number, shape in enumerate(shapes()):
        feature = ogr.Feature(layer.GetLayerDefn())
        feature.SetGeometry(ogr.CreateGeometryFromWkb(shapely.to_wkb(shape)))
        feature.SetField("name", "even" if number % 2 == 0 else "odd")
        if number:
            feature.SetField("n", number)
        layer.CreateFeature(feature)
    dataset.Close()
    return str(path)


@pytest.fixture
def planner(tmp_path: Path) -> Iterator[Planner]:
    pool = SourcePool((str(tmp_path),))
    yield Planner(pool, Limits())
    pool.close()


def of(planner: Planner, href: str, where: str | None = None) -> Asked:
    return Asked.of(planner.pool, lambda key: b"", href, None, where=where)


def ask(planner: Planner, image: str, asked: Asked, resolution: float | None = None) -> list[dict[str, Any]]:
    found = zonal(planner, Open(href=image).chain(), asked, resolution, None, lambda: True)
    told: list[dict[str, Any]] = json.loads(json.dumps(found))["zones"]
    return told


def test_statistics_equal_exactextract(planner: Planner, image: str, parcels: str) -> None:
    names = ("count", "mean", "min", "max", "stdev", "sum")
    source = NumPyRasterSource(
        PIXELS.astype(np.float64), WEST, NORTH - 700 * SIZE, WEST + 900 * SIZE, NORTH, nodata=-1
    )
    collection = [
        {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(shape)}
        for shape in shapes()
    ]
    expected = exactextract.exact_extract(source, JSONFeatureSource(collection), list(names))
    told = ask(planner, image, of(planner, parcels))
    assert [one["id"] for one in told] == list(range(1, 27))
    assert told[3]["properties"] == {"name": "odd", "n": 3}
    for one, wanted in zip(told, expected, strict=True):
        band = one["bands"]["b1"]
        for name in names:
            right = wanted["properties"][name]
            got = band["std" if name == "stdev" else name]
            if not band["count"]:
                assert wanted["properties"]["count"] == 0
                assert band["mean"] is None
                break
            assert got == pytest.approx(right, rel=1e-6, abs=1e-6), name
    assert told[25]["bands"]["b1"]["count"] == 0


def test_points_take_the_pixel_that_holds_them(planner: Planner, image: str, tmp_path: Path) -> None:
    rows, cols = [3, 511, 512, 699, 120], [7, 512, 511, 899, 220]
    path = tmp_path / "points.gpkg"
    dataset = gdal.GetDriverByName("GPKG").CreateVector(str(path))
    layer = dataset.CreateLayer("points", system(32634), ogr.wkbPoint)
    for row, col in zip(rows, cols, strict=True):
        feature = ogr.Feature(layer.GetLayerDefn())
        at = shapely.Point(WEST + (col + 0.3) * SIZE, NORTH - (row + 0.6) * SIZE)
        feature.SetGeometry(ogr.CreateGeometryFromWkb(shapely.to_wkb(at)))
        layer.CreateFeature(feature)
    dataset.Close()
    told = [one["bands"]["b1"] for one in ask(planner, image, of(planner, str(path)))]
    assert [one["count"] for one in told] == [1, 1, 1, 1, 0]
    assert [one["mean"] for one in told[:4]] == [
        PIXELS[r, c] for r, c in zip(rows[:4], cols[:4], strict=True)
    ]


def test_a_resolution_is_taken(planner: Planner, image: str, parcels: str) -> None:
    fine = ask(planner, image, of(planner, parcels, "n < 20"))
    coarse = ask(planner, image, of(planner, parcels, "n < 20"), 60.0)
    assert len(fine) == len(coarse) == 19
    for a, b in zip(fine, coarse, strict=True):
        if a["bands"]["b1"]["count"] > 500:
            assert b["bands"]["b1"]["count"] == pytest.approx(a["bands"]["b1"]["count"] / 9, rel=0.15)


def test_too_much_is_refused_with_numbers(
    planner: Planner, image: str, parcels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DemandError, match="million pixels") as caught:
        ask(planner, image, of(planner, parcels), 0.2)
    assert "times as coarse" in str(caught.value) or "coarser" in str(caught.value)
    monkeypatch.setattr(zones, "MOST_ZONES", 5)
    with pytest.raises(DemandError, match="26 zones"):
        ask(planner, image, of(planner, parcels))


def test_what_a_layer_holds(planner: Planner, parcels: str) -> None:
    told = holding(of(planner, parcels))
    assert told["layers"] == ["parcels"]
    assert told["count"] == 26
    assert told["geometry"] == "Polygon"
    assert told["crs"] == "EPSG:32634"
    assert told["columns"] == {"name": "text", "n": "int32"}
    assert told["bounds"] == pytest.approx([22.26, 44.99, 22.5, 45.15], abs=0.1)
    assert holding(of(planner, parcels, "name = 'odd'"))["count"] == 13


def test_what_a_column_holds(planner: Planner, parcels: str) -> None:
    assert values(of(planner, parcels), "name", 10)["counts"] == [["even", 13], ["odd", 13]]
    told = values(of(planner, parcels), "n", 3)
    assert told["counts"] == [[None, 1], [1, 1], [2, 1]]
    assert told["distinct"] == 26
    assert told["whole"] is True
    assert told["percentiles"][0] == 1
    assert told["percentiles"][100] == 25
    assert len(told["percentiles"]) == 101
    assert values(of(planner, parcels, "n > 20"), "n", 3)["percentiles"][0] == 21


def test_features_at_a_place(planner: Planner, parcels: str) -> None:
    def degrees(x: float, y: float) -> tuple[float, float]:
        lon, lat, _ = osr.CoordinateTransformation(system(32634), system(4326)).TransformPoint(x, y)
        return lon, lat

    for number, shape in enumerate(shapes()):
        inside = shape.representative_point()
        here = [k for k, one in enumerate(shapes()) if one.contains(inside)]
        told = identified(of(planner, parcels), *degrees(inside.x, inside.y), 12)
        assert [one["id"] - 1 for one in told["features"]] == here[::-1]
        assert number in here
    assert identified(of(planner, parcels), 0.0, 0.0, 12) == {"features": [], "count": 0}


def test_over_http(engine: Any, tmp_path: Path) -> None:
    client = engine.client()
    point = {"type": "Point", "coordinates": [23.5, 44.5]}
    feature = {"type": "Feature", "properties": {"n": 4}, "geometry": point}
    blob = client.put_blob(json.dumps({"type": "FeatureCollection", "features": [feature]}).encode())
    told = client.ask("/features", blob=blob)
    assert told["count"] == 1
    assert told["geometry"] == "Point"
    assert client.ask("/features/values", blob=blob, column="n")["counts"] == [[4, 1]]
    near = client.ask("/identify", blob=blob, lon=23.501, lat=44.5, zoom=11)
    assert near["features"][0]["properties"] == {"n": 4}
    assert client.ask("/identify", blob=blob, lon=23.501, lat=44.5, zoom=17)["features"] == []
    for path, body in {
        "/features": {},
        "/features/values": {"blob": blob, "column": "m"},
        "/identify": {"blob": blob, "lon": 500, "lat": 0},
        "/zonal": {"key": "0" * 32, "blob": blob},
    }.items():
        answer = engine.ask("POST", path, json.dumps(body).encode())
        assert answer.status in (400, 404), path
        assert answer.json["message"]
    assert engine.ask("POST", "/features", b"{}", token=False).status == 401
    assert engine.ask("POST", "/features", json.dumps({"href": "/etc/passwd"}).encode()).status == 403


def test_a_layer_over_http(engine: Any) -> None:
    client = engine.client()
    box = shapely.geometry.mapping(shapely.box(23, 44, 24, 45))
    feature = {"type": "Feature", "properties": {"n": 7}, "geometry": box}
    blob = client.put_blob(json.dumps({"type": "FeatureCollection", "features": [feature]}).encode())
    drawing = Draw(blob=blob, style=Style(fill="#ff0000ff", line=None).to_json()).chain()
    assert client.register(drawing).key == drawing.root
    tile = Tile.at(23.5, 44.5, 8)
    picture = Image.open(io.BytesIO(client.tile(drawing, tile.z, tile.x, tile.y))).convert("RGBA")
    assert picture.getextrema()[0] == (0, 255)
    burnt = Burn(blob=blob, attribute="n").chain()
    client.register(burnt)
    (zone,) = client.ask("/zonal", key=burnt.root, blob=blob, resolution=1000)["zones"]
    assert zone["properties"] == {"n": 7}
    assert zone["bands"]["n"]["mean"] == 7
    # A degree of longitude there is 79.4 km wide; pixels whose centre is outside do not count.
    assert zone["bands"]["n"]["count"] == pytest.approx(79.4 * 111.3, rel=0.02)
    with pytest.raises(DemandError, match="million"):
        client.ask("/zonal", key=burnt.root, blob=blob, resolution=1)
