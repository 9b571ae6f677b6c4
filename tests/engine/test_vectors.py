"""Features as pixels, held against GDAL's rasteriser and shapely; and what reads and keeps them."""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow
import pytest
import shapely
from osgeo import gdal, ogr, osr

from geoloom.block import Array
from geoloom.errors import (
    EngineOverloaded,
    GeoloomError,
    RequestError,
    SourceError,
    SourceNotGeoreferenced,
    SourceRefused,
    SourceUnreadable,
)
from geoloom.grid import Grid, Lattice, Tile
from geoloom.ops.burn import Burn
from geoloom.ops.draw import Draw
from geoloom.ops.heat import Heat
from geoloom.symbols import By, Category, Interval, Style
from geoloom_engine.painters.vectors import PAINTER
from geoloom_engine.readers import SourcePool, vector_flatgeobuf, vectors
from geoloom_engine.readers.vectors import Vectors, vectors_of
from geoloom_engine.vectors import fill, pack, specimen, wkb
from geoloom_engine.vectors.asked import Asked
from geoloom_engine.vectors.density import kernel
from geoloom_engine.vectors.questions import holding, values
from geoloom_engine.vectors.sheet import sheets

TILE = Tile.at(23.7, 44.3, 9)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(vectors, "PATIENCE", 120.0)
    monkeypatch.setattr(vectors, "SMALL_PATIENCE", 120.0)


@pytest.fixture
def given(tmp_path: Path) -> Iterator[Any]:
    """What a painter is given: files below `tmp_path`, and blobs by key."""
    blobs: dict[str, bytes] = {}
    pool = SourcePool((str(tmp_path),))
    yield SimpleNamespace(pool=pool, blob=blobs.__getitem__, blobs=blobs, wanted=lambda: None)
    pool.close()


def write(
    path: Path,
    shapes: list[Any],
    columns: dict[str, list[Any]] | None = None,
    driver: str = "GPKG",
    epsg: int | None = 3857,
    name: str = "things",
) -> str:
    dataset = gdal.GetDriverByName(driver).CreateVector(str(path))
    system = None
    if epsg is not None:
        system = osr.SpatialReference()
        system.ImportFromEPSG(epsg)
        system.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    options = ["ENCODING=UTF-8"] if driver == "ESRI Shapefile" else []
    layer = dataset.CreateLayer(name, system, ogr.wkbUnknown, options)
    kinds = {str: ogr.OFTString, int: ogr.OFTInteger64, float: ogr.OFTReal}
    for column, given in (columns or {}).items():
        kind = next(type(one) for one in given if one is not None)
        layer.CreateField(ogr.FieldDefn(column, kinds[kind]))
    for number, shape in enumerate(shapes):
        feature = ogr.Feature(layer.GetLayerDefn())
        if shape is not None:
            feature.SetGeometry(ogr.CreateGeometryFromWkb(shapely.to_wkb(shape)))
        for column, given in (columns or {}).items():
            if given[number] is not None:
                feature.SetField(column, given[number])
        layer.CreateFeature(feature)
    dataset.Close()
    return str(path)


def within(grid: Grid, seed: int, count: int, size: float) -> list[Any]:
    """Random star-shaped polygons with holes in and around a grid; `size` in pixels."""
    rng = np.random.default_rng(seed)
    bounds, pixel = grid.bounds(), grid.lattice.dx
    found = []
    for _ in range(count):
        x = rng.uniform(bounds.west - 10 * pixel, bounds.east + 10 * pixel)
        y = rng.uniform(bounds.south - 10 * pixel, bounds.north + 10 * pixel)
        angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(4, 12)))
        radii = rng.uniform(0.3, 1, len(angles)) * size * pixel
        star = shapely.Polygon(np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], 1)).buffer(
            0
        )
        found.append(star.difference(shapely.Point(x, y).buffer(size * pixel * 0.15, 3)))
    return found


def rasterized(path: str, grid: Grid, options: list[str], value: float = 1) -> Array:
    bounds = grid.bounds()
    target = gdal.GetDriverByName("MEM").Create("", grid.cols, grid.rows, 1, gdal.GDT_Float64)
    target.SetGeoTransform((bounds.west, grid.lattice.dx, 0, bounds.north, 0, -grid.lattice.dy))
    system = osr.SpatialReference()
    system.SetFromUserInput(grid.lattice.crs)
    target.SetProjection(system.ExportToWkt())
    source = gdal.OpenEx(path, gdal.OF_VECTOR)
    gdal.RasterizeLayer(target, [1], source.GetLayer(0), burn_values=[value], options=options)
    found: Array = target.ReadAsArray()
    return found


@pytest.mark.parametrize("touched", [False, True])
@pytest.mark.parametrize("size", [0.7, 4.0, 60.0])
def test_polygons_are_burnt_as_gdal_does(given: Any, tmp_path: Path, touched: bool, size: float) -> None:
    grid = TILE.grid()
    shapes = within(grid, int(size * 10), 300, size)
    path = write(tmp_path / "a.gpkg", shapes, {"n": [float(k + 1) for k in range(300)]})
    op = Burn(href=path, attribute="n", all_touched=touched, dtype="float32")
    block = PAINTER.paint(op, grid, given)
    expected = rasterized(path, grid, ["ATTRIBUTE=n"] + ["ALL_TOUCHED=TRUE"] * touched)
    assert expected.any()
    np.testing.assert_array_equal(block.data[0], expected)
    np.testing.assert_array_equal(block.valid[0], expected > 0)


@pytest.mark.parametrize("touched", [False, True])
def test_lines_and_points_are_burnt_as_gdal_does(given: Any, tmp_path: Path, touched: bool) -> None:
    grid = TILE.grid()
    rng, bounds = np.random.default_rng(5), grid.bounds()
    span = bounds.east - bounds.west
    ends = rng.uniform(-0.2, 1.2, (80, 3, 2)) * span + np.array([bounds.west, bounds.south])
    shapes = [shapely.LineString(one) for one in ends[:40]]
    shapes += [shapely.MultiPoint(one) for one in ends[40:]]
    path = write(tmp_path / "a.gpkg", shapes, {"n": [float(k + 1) for k in range(80)]})
    op = Burn(href=path, attribute="n", all_touched=touched, dtype="float32")
    expected = rasterized(path, grid, ["ATTRIBUTE=n"] + ["ALL_TOUCHED=TRUE"] * touched)
    np.testing.assert_array_equal(PAINTER.paint(op, grid, given).data[0], expected)


def test_burns_on_another_lattice_as_gdal_does(given: Any, tmp_path: Path) -> None:
    grid = Grid(Lattice("EPSG:32634", 100.0, 100.0, 600000.0, 5000000.0), 20, 30, 300, 200)
    shapes = within(grid, 3, 60, 40.0)
    path = write(tmp_path / "a.gpkg", shapes, epsg=32634)
    block = PAINTER.paint(Burn(href=path), grid, given)
    expected = rasterized(path, grid, [])
    # Vertices went to the map and back: a nanometre may move a pixel whose centre lies on an edge.
    assert np.count_nonzero(block.valid[0] != (expected > 0)) == 0


ops: dict[str, Callable[[str], Any]] = {
    "burn": lambda href: Burn(href=href, attribute="n", dtype="float32"),
    "touched": lambda href: Burn(href=href, all_touched=True),
    "draw": lambda href: Draw(href=href, style=Style(width=1.7, radius=5.0).to_json()),
    "classes": lambda href: Draw(
        href=href,
        style=Style(
            line=None,
            by=By(
                "kind", (Category("a", "#ff000080", ("a",)), Category("b", "#00ff00ff", ("b",))), "#0000ffff"
            ),
        ).to_json(),
    ),
    "heat": lambda href: Heat(href=href, radius=9.5, weight="n"),
}


@pytest.fixture
def mixed(tmp_path: Path) -> str:
    """Polygons of all sizes, lines and points around a corner of four tiles."""
    grid = TILE.grid().expand(200)
    rng, bounds = np.random.default_rng(11), grid.bounds()
    shapes = within(grid, 1, 300, 0.8) + within(grid, 2, 100, 6.0) + within(grid, 4, 10, 90.0)
    at = rng.uniform(0, bounds.east - bounds.west, (150, 3, 2)) + np.array([bounds.west, bounds.south])
    shapes += [shapely.LineString(one) for one in at[:50]] + [shapely.Point(one[0]) for one in at[50:]]
    size = bounds.east - bounds.west
    tiny = rng.uniform(0, 0.6 * size, (400, 1, 2)) + np.array(
        [bounds.west + 0.2 * size, bounds.south + 0.2 * size]
    )
    shapes += list(shapely.linestrings(tiny + rng.uniform(0, 0.4 * TILE.grid().lattice.dx, (400, 3, 2))))
    count = len(shapes)
    columns = {"n": rng.uniform(1, 100, count).tolist(), "kind": rng.choice(list("abc"), count).tolist()}
    return write(tmp_path / "mixed.gpkg", shapes, columns)


@pytest.mark.parametrize("name", list(ops))
@pytest.mark.parametrize("zoom", [5, 9, 11])
def test_tiles_apart_equal_one_window(given: Any, mixed: str, name: str, zoom: int) -> None:
    op = ops[name](mixed)
    tile = Tile.at(23.7, 44.3, zoom)
    left = tile.grid()
    whole = Grid(left.lattice, left.col, left.row, 512, 512)
    window = PAINTER.paint(op, whole, given)
    assert window.valid.any()
    for right in (0, 256):
        for down in (0, 256):
            part = Grid(left.lattice, left.col + right, left.row + down, 256, 256)
            block = PAINTER.paint(op, part, given)
            cut = (slice(None), *part.window_in(whole))
            np.testing.assert_array_equal(block.data, window.data[cut])
            np.testing.assert_array_equal(
                np.broadcast_to(block.valid, block.data.shape),
                np.broadcast_to(window.valid, window.data.shape)[cut],
            )


def asked(given: Any, href: str) -> Asked:
    return Asked.of(given.pool, given.blob, href, None)


def test_shares_are_exact(given: Any, tmp_path: Path) -> None:
    grid = Grid(TILE.grid().lattice, TILE.grid().col, TILE.grid().row, 24, 24)
    shapes = [*within(grid, 7, 8, 7.0), *within(grid, 8, 8, 1.2)]
    found = asked(given, write(tmp_path / "a.gpkg", shapes))
    lattice = grid.lattice
    cols, rows = np.meshgrid(grid.col + np.arange(24), grid.row + np.arange(24))
    west, north = lattice.x0 + cols * lattice.dx, lattice.y0 - rows * lattice.dy
    pixels = shapely.box(west, north - lattice.dy, west + lattice.dx, north)
    (sheet,) = sheets(found.pack, grid, exact=True)
    for row in range(len(found.pack)):
        out = np.empty((24, 24))
        fill.shares(sheet, row, (0, 0), out)
        shape = shapes[found.pack.order[row]]
        np.testing.assert_allclose(
            out, shapely.area(shapely.intersection(pixels, shape)) / lattice.dx**2, atol=1e-7
        )


def test_neighbours_leave_no_line_between_them(given: Any, tmp_path: Path) -> None:
    grid, pixel = TILE.grid(), TILE.grid().lattice.dx
    bounds = grid.bounds()
    x = bounds.west + np.cumsum(np.full(60, 4.3)) * pixel
    shapes = [
        shapely.Polygon(
            [
                (a, bounds.south),
                (b, bounds.south),
                (b + 9 * pixel, bounds.north),
                (a + 9 * pixel, bounds.north),
            ]
        )
        for a, b in itertools.pairwise(x)
    ]
    op = Draw(href=write(tmp_path / "a.gpkg", shapes), style=Style(fill="#ff8000ff", line=None).to_json())
    block = PAINTER.paint(op, grid, given)
    inside = block.data[:, :, 20:230]
    assert (inside[3] == 255).all()
    assert (inside[0] == 255).all()
    assert (inside[2] == 0).all()


def test_small_polygons_show_as_much_as_they_cover(given: Any, tmp_path: Path) -> None:
    grid = TILE.grid()
    shapes = within(grid, 9, 3000, 0.4)
    op = Draw(href=write(tmp_path / "a.gpkg", shapes), style=Style(fill="#000000ff", line=None).to_json())
    alpha = PAINTER.paint(op, grid, given).data[3].astype(float) / 255
    inside = shapely.box(*grid.bounds())
    area = sum(shape.intersection(inside).area for shape in shapes) / grid.lattice.dx**2
    assert alpha.sum() == pytest.approx(area, rel=0.05)


def test_a_line_is_as_wide_as_asked(given: Any, tmp_path: Path) -> None:
    grid = TILE.grid()
    bounds = grid.bounds()
    middle = (bounds.south + bounds.north) / 2 + 0.3 * grid.lattice.dx
    line = shapely.LineString([(bounds.west - 1e4, middle), (bounds.east + 1e4, middle)])
    style = Style(fill=None, line="#000000ff", width=3.0).to_json()
    alpha = PAINTER.paint(Draw(href=write(tmp_path / "a.gpkg", [line]), style=style), grid, given).data[3]
    assert alpha[:, 100].sum() / 255 == pytest.approx(3.0, abs=0.02)
    assert (alpha == alpha[:, :1]).all()


def test_coarser_vertices_look_the_same(given: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = TILE.grid()
    rng, middle = np.random.default_rng(6), shapely.box(*grid.bounds()).centroid
    angles = np.linspace(0, 2 * np.pi, 5000)
    radii = grid.lattice.dx * (90 + 3 * np.sin(angles * 9) + 0.1 * rng.random(5000))
    ring = np.stack([middle.x + radii * np.cos(angles), middle.y + radii * np.sin(angles)], 1)
    islands = shapely.union_all(within(grid, 5, 400, 0.3))
    op = Draw(href=write(tmp_path / "a.gpkg", [shapely.Polygon(ring), islands]), style=Style().to_json())
    coarse = PAINTER.paint(op, grid, given).data.astype(int)
    levels = asked(given, str(tmp_path / "a.gpkg")).pack.levels
    assert len(levels) > 1
    assert len(levels[-1].xy) < len(levels[0].xy) / 3
    monkeypatch.setattr(pack.Pack, "level", lambda self, pixel: self.levels[0])
    fine = PAINTER.paint(op, grid, given).data.astype(int)
    assert np.abs(coarse - fine).max() > 0
    assert np.abs(coarse[3] - fine[3]).mean() < 0.6
    assert np.percentile(np.abs(coarse[3] - fine[3]), 99.5) < 40


def test_points_are_discs_and_those_on_top_hide_others(given: Any, tmp_path: Path) -> None:
    grid = TILE.grid()
    bounds = grid.bounds()
    at = shapely.Point(bounds.west + 100.5 * grid.lattice.dx, bounds.north - 50.5 * grid.lattice.dx)
    path = write(tmp_path / "a.gpkg", [at, at], {"n": [1, 2]})
    by = By("n", (Category("1", "#ff0000ff", (1,)), Category("2", "#00ff00ff", (2,))))
    block = PAINTER.paint(Draw(href=path, style=Style(line=None, radius=6.0, by=by).to_json()), grid, given)
    assert block.data[:, 50, 100].tolist() == [0, 255, 0, 255]
    assert block.data[3].astype(float).sum() / 255 == pytest.approx(np.pi * 36, rel=0.01)


def test_classes_by_size_and_the_rest(given: Any, tmp_path: Path) -> None:
    grid = TILE.grid()
    bounds, pixel = grid.bounds(), grid.lattice.dx
    boxes = [
        shapely.box(
            bounds.west + k * 20 * pixel, bounds.south, bounds.west + (k + 1) * 20 * pixel, bounds.north
        )
        for k in range(5)
    ]
    path = write(tmp_path / "a.gpkg", boxes, {"n": [0.0, 1.0, 2.0, 3.0, None]})
    by = By(
        "n", (Interval("low", "#110000ff", 0.0, 1.0), Interval("high", "#220000ff", 1.0, 2.0)), "#330000ff"
    )
    red = PAINTER.paint(Draw(href=path, style=Style(line=None, by=by).to_json()), grid, given).data[0, 9]
    assert red[10:100:20].tolist() == [0x11, 0x22, 0x22, 0x33, 0x33]
    shown = Draw(href=path, where="n >= 1 AND n < 3", style=Style(line=None, by=by).to_json())
    assert PAINTER.paint(shown, grid, given).valid[0, 9, 10:100:20].tolist() == [
        False,
        True,
        True,
        False,
        False,
    ]


def test_a_table_adds_columns(given: Any, tmp_path: Path) -> None:
    grid = TILE.grid()
    bounds = grid.bounds()
    middle = (bounds.west + bounds.east) / 2
    boxes = [
        shapely.box(bounds.west, bounds.south, middle, bounds.north),
        shapely.box(middle, bounds.south, bounds.east, bounds.north),
    ]
    path = write(tmp_path / "a.gpkg", boxes, {"code": [7.0, 8.0]})
    given.blobs["a" * 32] = json.dumps({"on": "code", "columns": {"people": {"7": 120, "9": 5}}}).encode()
    op = Burn(href=path, attribute="people", table="a" * 32, dtype="int32")
    block = PAINTER.paint(op, grid, given)
    assert block.data[0, 9, [3, 250]].tolist() == [120, 0]
    assert block.valid[0, 9, [3, 250]].tolist() == [True, False]


def test_heat_keeps_the_weights(given: Any, tmp_path: Path) -> None:
    grid = TILE.grid()
    middle = shapely.box(*grid.bounds()).centroid
    path = write(tmp_path / "a.gpkg", [middle, shapely.Point(middle.x + 333.0, middle.y)], {"n": [2.0, 3.5]})
    for radius in (0.5, 3.0, 40.0):
        block = PAINTER.paint(Heat(href=path, radius=radius, weight="n"), grid, given)
        assert block.data.sum() == pytest.approx(5.5, rel=1e-5)
    assert kernel(7.3).sum() == pytest.approx(1.0)
    far = np.abs(np.argwhere(block.data[0] > 0) - 128).max()
    assert 35 <= far <= 42


def test_places_at_the_antimeridian_show_on_both_sides(given: Any, tmp_path: Path) -> None:
    box = shapely.box(700000, 4900000, 1100000, 5100000)  # of zone 60, from 179.5° E to beyond 180°
    asked_for = Burn(href=write(tmp_path / "a.gpkg", [box], epsg=32660))
    found = asked(given, str(tmp_path / "a.gpkg"))
    bounds = found.pack.bounds()
    assert bounds is not None
    assert bounds.west > 179
    assert bounds.east < -170
    for tile in (Tile.at(179.9, 45.0, 6), Tile.at(-179.9, 45.0, 6)):
        assert PAINTER.paint(asked_for, tile.grid(), given).valid.any()
    over = Tile.at(179.9, 45.0, 6).grid().expand(300)
    assert PAINTER.paint(asked_for, over, given).valid[0].any(axis=0)[300 + 256 :].any()


def test_rings_round_a_pole_reach_to_the_edge_of_the_map(given: Any, tmp_path: Path) -> None:
    around = shapely.Point(0, 0).buffer(2_500_000)  # metres from the South Pole: to some 67° S
    op = Burn(href=write(tmp_path / "a.gpkg", [around], epsg=3031))
    block = PAINTER.paint(op, Tile(0, 0, 0).grid(), given)
    inside = Tile(0, 0, 0).grid().latitudes() < -67.6
    assert block.valid[0, inside].all()
    assert not block.valid[0, ~inside][:-3].any()


def test_large_layers_leave_memory_and_come_back(
    given: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.gpkg", within(TILE.grid(), 1, 50, 30.0))
    monkeypatch.setattr(vectors, "MOST_MAPPED", 0)
    monkeypatch.setattr(vectors, "MAPPED_SECONDS", -1.0)
    first, again = (PAINTER.paint(ops["touched"](path), TILE.grid(), given) for _ in range(2))
    np.testing.assert_array_equal(first.data, again.data)


def test_damaged_binary_geometry_does_no_harm() -> None:
    texts = [shapely.to_wkb(shapely.from_wkt(one)) for one in (*VARIOUS, "LINESTRING Z (1 2 3, 4 5 6)")]
    rng = np.random.default_rng(4)
    for _ in range(300):
        parts = []
        for text in texts:
            part = bytearray(text[: int(rng.integers(0, len(text) + 1))] if rng.random() < 0.4 else text)
            for at in rng.integers(0, len(part), int(rng.integers(0, 5))) if part else ():
                part[at] = rng.integers(0, 256)
            parts.append(bytes(part))
        ends = np.concatenate([[0], np.cumsum([len(one) for one in parts])]).astype(np.int64)
        found = wkb.parse(np.frombuffer(b"".join(parts), np.uint8), ends)
        assert len(found.first) == 6
        assert found.start[-1] == len(found.xy)
    found = wkb.parse(np.frombuffer(b"".join(texts), np.uint8), np.cumsum([0, *map(len, texts)]))
    assert not found.state.any()
    np.testing.assert_array_equal(found.xy[-2:], [[1, 2], [4, 5]])


def test_what_cannot_be_drawn_is_left_out_and_counted(given: Any, tmp_path: Path) -> None:
    good = shapely.box(23, 44, 24, 45)
    bow_tie = shapely.Polygon([(23, 44), (24, 45), (24, 44), (23, 45)])
    nested = shapely.GeometryCollection([good, shapely.GeometryCollection([shapely.Point(1, 2)])])
    far = shapely.Point(1e300, 5)
    shapes = [good, None, shapely.Polygon(), bow_tie, nested, far, shapely.Point(1, 2, 3)]
    found = asked(given, write(tmp_path / "a.gpkg", shapes, epsg=4326)).pack
    assert len(found) == 4
    assert found.read == 7
    assert found.problems == {"empty": 2, "damaged": 0, "unplaced": 1}
    grid = TILE.grid()
    for op in (ops["touched"](str(tmp_path / "a.gpkg")), ops["draw"](str(tmp_path / "a.gpkg"))):
        assert PAINTER.paint(op, grid, given).valid.any()


@pytest.mark.parametrize("driver", ["GeoJSON", "ESRI Shapefile", "GPKG"])
def test_formats_and_encodings(given: Any, tmp_path: Path, driver: str) -> None:
    ending = {"GeoJSON": "geojson", "ESRI Shapefile": "shp", "GPKG": "gpkg"}[driver]
    shapes = [shapely.box(23, 44, 24, 45), shapely.box(24, 44, 25, 45)]
    path = write(tmp_path / f"a.{ending}", shapes, {"name": ["Măgura", "Łódź"], "n": [1, 2]}, driver, 4326)
    found = asked(given, path)
    assert len(found.pack) == 2
    names = found.column("name")
    assert sorted(names.categories) == sorted(["Măgura", "Łódź"])
    store = vectors_of(given.pool)
    assert store.info(found.source, None).count == 2
    assert found.source.file.attributes(None, [int(found.pack.fid[0])])[0]["n"] in (1, 2)


FLATGEOBUF = """
import sys, numpy, pyogrio, shapely
path, indexed, kind, *texts = sys.argv[1:]
columns = {
    "n": numpy.array([1, 2, 3, 4]),
    "name": numpy.array(["Măgura", None, "x", "y"], dtype=object),
    "v": numpy.array([1.5, numpy.nan, 2, 3]),
    "yes": numpy.array([True, False, True, False]),
    "at": numpy.array(["2020-01-02", "2021-01-01", "2022-01-01", "2023-01-01"], "datetime64[ms]"),
}
geometries = shapely.to_wkb(shapely.from_wkt(texts))
pyogrio.raw.write(path, geometries, list(columns.values()), list(columns), crs="EPSG:4326",
                  driver="FlatGeobuf", geometry_type=kind, SPATIAL_INDEX=indexed)
"""
"""Another GDAL than the engine's writes the file, in a process of its own."""

VARIOUS = (
    "POLYGON ((23 44, 24 44, 24 45, 23 45, 23 44), (23.4 44.4, 23.6 44.4, 23.6 44.6, 23.4 44.4))",
    "MULTIPOLYGON (((20 40, 21 40, 21 41, 20 40)), ((22 40, 23 40, 23 41, 22 40)))",
    "GEOMETRYCOLLECTION (MULTILINESTRING ((1 2, 3 4), (5 6, 7 8, 9 9)), POINT (3 3))",
    "MULTIPOINT ((3 4), (5 6))",
)
POLYGONS = (VARIOUS[0], "POLYGON ((1 2, 4 2, 4 5, 1 2))", "POLYGON EMPTY", VARIOUS[0])


def flatgeobuf(path: Path, indexed: str, kind: str, texts: tuple[str, ...]) -> str:
    subprocess.run([sys.executable, "-c", FLATGEOBUF, str(path), indexed, kind, *texts], check=True)
    return str(path)


@pytest.mark.parametrize("indexed", ["YES", "NO"])
def test_flatgeobuf_of_various_geometries(
    given: Any, tmp_path: Path, indexed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pieces in which not every feature ends, and batches of fewer than there are.
    monkeypatch.setattr(vector_flatgeobuf, "_CHUNK", 300)
    monkeypatch.setattr(vector_flatgeobuf, "_BATCH", 3)
    found = asked(given, flatgeobuf(tmp_path / "a.fgb", indexed, "Unknown", VARIOUS))
    info = found.vectors.info(found.source, None)
    assert info.count == 4
    assert info.crs == "EPSG:4326"
    assert info.columns == {"n": "int64", "name": "text", "v": "float64", "yes": "bool", "at": "datetime"}
    told = values(found, "yes", 9)
    assert sorted(told["counts"]) == [[False, 2], [True, 2]]
    assert told["percentiles"] == []
    rows = {row["n"]: row for row in found.source.file.attributes(None, range(4))}
    assert rows[1]["name"] == "Măgura"
    assert rows[1]["yes"] is True
    assert rows[2] == {"n": 2, "name": None, "v": None, "yes": False, "at": rows[2]["at"]}
    assert rows[4]["at"].startswith("2023-01-01")
    numbers = found.numbers("n")
    as_gpkg = write(tmp_path / "a.gpkg", list(shapely.from_wkt(VARIOUS)), {"n": [1, 2, 3, 4]}, epsg=4326)
    same = asked(given, as_gpkg)
    for n in range(1, 5):
        mine, other = int(np.flatnonzero(numbers == n)[0]), int(np.flatnonzero(same.numbers("n") == n)[0])
        np.testing.assert_allclose(found.pack.box[mine], same.pack.box[other])
        assert found.pack.area[mine] == pytest.approx(same.pack.area[other])
    some = Asked.of(given.pool, given.blob, str(tmp_path / "a.fgb"), None, where="n > 1 AND name = 'x'")
    assert numbers[some.shown].tolist() == [3]
    for wrong in ("m > 1", "n >"):
        with pytest.raises(RequestError, match="where="):
            _ = Asked.of(given.pool, given.blob, str(tmp_path / "a.fgb"), None, where=wrong).shown


def test_flatgeobuf_of_one_kind_is_burnt(given: Any, tmp_path: Path) -> None:
    path = flatgeobuf(tmp_path / "a.fgb", "NO", "Polygon", POLYGONS)
    block = PAINTER.paint(Burn(href=path, attribute="n"), TILE.grid(), given)
    assert set(np.unique(block.data)) == {0, 4}
    assert asked(given, path).pack.problems["empty"] == 1


def test_damaged_flatgeobuf_does_no_harm(given: Any, tmp_path: Path) -> None:
    whole = Path(flatgeobuf(tmp_path / "a.fgb", "YES", "Unknown", VARIOUS)).read_bytes()
    rng = np.random.default_rng(8)
    told = 0
    for number in range(150):
        content = bytearray(whole)
        if number % 3 == 0:
            content = content[: int(rng.integers(8, len(content)))]
        else:
            for at in rng.integers(8, len(content), int(rng.integers(1, 6))):
                content[at] = rng.integers(0, 256)
        path = tmp_path / f"{number}.fgb"
        path.write_bytes(content)
        try:
            found = asked(given, str(path))
            PAINTER.paint(ops["touched"](str(path)), TILE.grid(), given)
            found.source.file.attributes(None, range(min(4, len(found.pack))))
        except GeoloomError:
            told += 1
    assert told > 40


def test_a_blob_is_read_as_geojson(given: Any) -> None:
    box = shapely.geometry.mapping(shapely.box(23, 44, 24, 45))
    feature = {"type": "Feature", "properties": {"n": 4}, "geometry": box}
    given.blobs["b" * 32] = json.dumps({"type": "FeatureCollection", "features": [feature]}).encode()
    op = Burn(blob="b" * 32, attribute="n")
    assert PAINTER.fingerprint(op, given) == f"blob-{'b' * 32}"
    assert PAINTER.describe(op, given).bounds is not None
    assert PAINTER.paint(op, TILE.grid(), given).data.max() == 4


def test_a_changed_file_is_read_anew(given: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "a.geojson", [shapely.box(23, 44, 24, 45)], driver="GeoJSON", epsg=4326)
    op = Burn(href=path)
    before = PAINTER.fingerprint(op, given)
    assert PAINTER.paint(op, TILE.grid(), given).valid.any()
    Path(path).write_text('{"type": "FeatureCollection", "features": []}')
    assert PAINTER.fingerprint(op, given) != before
    assert not PAINTER.paint(op, TILE.grid(), given).valid.any()


def test_views_of_a_geopackage_are_not_read(given: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", within(TILE.grid(), 1, 5, 30.0))
    connection = sqlite3.connect(path)
    endless = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t)"
    connection.execute(f"CREATE VIEW endless AS {endless} SELECT n AS fid, NULL AS geom FROM t")
    connection.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id)"
        " VALUES ('endless', 'features', 'endless', 4326)"
    )
    connection.execute("INSERT INTO gpkg_geometry_columns VALUES ('endless', 'geom', 'POLYGON', 4326, 0, 0)")
    connection.commit()
    connection.close()
    assert holding(asked(given, path))["layers"] == ["things"]
    with pytest.raises(SourceUnreadable, match=r"endless of .* is a view"):
        PAINTER.paint(Burn(href=path, layer="endless"), TILE.grid(), given)


def test_reading_a_geopackage_does_not_make_it_another(given: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", within(TILE.grid(), 1, 5, 30.0))
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",)
    connection.close()
    op = Burn(href=path)
    before = PAINTER.fingerprint(op, given)
    assert PAINTER.paint(op, TILE.grid(), given).valid.any()
    assert PAINTER.fingerprint(op, given) == before


def test_parts_of_a_shapefile_belong_to_it(given: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "a.shp", [shapely.box(23, 44, 24, 45)], {"n": [1]}, "ESRI Shapefile", 4326)
    op = Burn(href=path)
    before = PAINTER.fingerprint(op, given)
    table = tmp_path / "a.dbf"
    table.write_bytes(table.read_bytes() + b" ")
    assert PAINTER.fingerprint(op, given) != before


def test_a_sidecar_that_leads_outside_is_refused(
    given: Any, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write(tmp_path / "a.shp", [shapely.box(23, 44, 24, 45)], {"n": [1]}, "ESRI Shapefile", 4326)
    outside = tmp_path_factory.mktemp("outside") / "secret.dbf"
    (tmp_path / "a.dbf").rename(outside)
    (tmp_path / "a.dbf").symlink_to(outside)
    with pytest.raises(SourceRefused, match=r"a\.dbf beside a\.shp"):
        PAINTER.fingerprint(Burn(href=path), given)


def test_bad_files_are_told_in_a_sentence(given: Any, tmp_path: Path) -> None:
    whole = Path(write(tmp_path / "whole.gpkg", within(TILE.grid(), 1, 50, 3.0))).read_bytes()
    texts = {
        "cut.gpkg": whole[: len(whole) // 2],
        "empty.geojson": b"",
        "text.geojson": b"hello",
        "cut.geojson": b'{"type": "FeatureCollection", "features": [{"type": "Feature", "geom',
        "zeros.shp": bytes(200),
        "vrt.geojson": b"<OGRVRTDataSource></OGRVRTDataSource>",
    }
    for name, content in texts.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SourceError, match=name.replace(".", r"\.")) as caught:
            PAINTER.paint(Burn(href=str(tmp_path / name)), TILE.grid(), given)
        assert caught.value.hint
        assert str(tmp_path) not in str(caught.value)
    write(tmp_path / "lone.shp", [shapely.box(23, 44, 24, 45)], {"n": [1]}, "ESRI Shapefile", 4326)
    (tmp_path / "lone.shx").unlink()
    with pytest.raises(SourceUnreadable, match=r"lacks its \.shx"):
        PAINTER.paint(Burn(href=str(tmp_path / "lone.shp")), TILE.grid(), given)
    nowhere = write(tmp_path / "nowhere.gpkg", [shapely.Point(1, 2)], epsg=None)
    with pytest.raises(SourceNotGeoreferenced, match="coordinate system"):
        PAINTER.paint(Burn(href=nowhere), TILE.grid(), given)


def test_coordinates_of_another_system_are_told(given: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", [shapely.Point(600000, 5000000)], epsg=4326)
    for _ in range(2):
        with pytest.raises(SourceNotGeoreferenced, match=r"None of the 1 features of a\.gpkg .*EPSG:4326"):
            PAINTER.paint(Burn(href=path), TILE.grid(), given)


def test_wrong_questions_are_told_in_a_sentence(given: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", [shapely.Point(1, 2)], {"n": [1], "name": ["x"]})
    cases = {
        "no column 'm'": Burn(href=path, attribute="m"),
        "holds text": Burn(href=path, attribute="name"),
        "no layer": Burn(href=path, layer="other"),
        "is not understood": Burn(href=path, where="n >"),
        "'nn > 1'": Burn(href=path, where="nn > 1"),
        "load_extension": Burn(href=path, where="load_extension('x') = 1"),
    }
    for told, op in cases.items():
        with pytest.raises(RequestError, match=told):
            PAINTER.paint(op, TILE.grid(), given)


def test_many_polygons(given: Any, tmp_path: Path) -> None:
    count, cell = 224, 1000.0
    rng = np.random.default_rng(3)
    x, y = np.meshgrid(np.arange(count), np.arange(count))
    middle = (np.stack([x.ravel(), y.ravel()], 1) + 0.5) * cell + np.array([2e6, 5e6])
    angles = np.sort(rng.random((count**2, 9)) * 2 * np.pi, axis=1)
    rings = middle[:, None] + np.stack([np.cos(angles), np.sin(angles)], -1) * cell * 0.45
    shapes = shapely.polygons(shapely.linearrings(rings))
    path = tmp_path / "many.gpkg"
    dataset = gdal.GetDriverByName("GPKG").CreateVector(str(path))
    system = osr.SpatialReference()
    system.ImportFromEPSG(3857)
    layer = dataset.CreateLayer("many", system, ogr.wkbPolygon)
    table = pyarrow.table({"geom": pyarrow.array(shapely.to_wkb(shapes), pyarrow.binary())})
    for batch in table.to_batches():
        layer.WritePyArrow(batch)
    dataset.Close()
    packed = asked(given, str(path)).pack
    assert len(packed) == count**2
    assert packed.nbytes < 350 * len(packed)
    op = Draw(href=str(path), style=Style(fill="#000000ff", line=None).to_json())
    for zoom in (4, 7, 10):
        lattice = Lattice.web_mercator(zoom)
        west, east = (2e6 - lattice.x0) / lattice.dx, (2e6 + count * cell - lattice.x0) / lattice.dx
        north, south = (lattice.y0 - 5e6 - count * cell) / lattice.dy, (lattice.y0 - 5e6) / lattice.dy
        row, col = int(north), int(west)
        grid = Grid(lattice, col, row, int(east) + 1 - col, int(south) + 1 - row)
        alpha = PAINTER.paint(op, grid, given).data[3].astype(float) / 255
        assert alpha.sum() == pytest.approx(shapely.area(shapes).sum() / lattice.dx**2, rel=0.01)


def test_layers_without_geometry_are_passed_over(given: Any, tmp_path: Path) -> None:
    dataset = gdal.GetDriverByName("GPKG").CreateVector(str(tmp_path / "a.gpkg"))
    table = dataset.CreateLayer("owners", None, ogr.wkbNone)
    table.CreateField(ogr.FieldDefn("name", ogr.OFTString))
    row = ogr.Feature(table.GetLayerDefn())
    row.SetField("name", "Ana")
    table.CreateFeature(row)
    dataset.Close()
    path = str(tmp_path / "a.gpkg")
    with pytest.raises(SourceUnreadable, match="has no geometry"):
        PAINTER.paint(Burn(href=path), TILE.grid(), given)
    dataset = gdal.OpenEx(path, gdal.OF_VECTOR | gdal.OF_UPDATE)
    system = osr.SpatialReference()
    system.ImportFromEPSG(3857)
    dataset.CreateLayer("land", system, ogr.wkbPolygon)
    dataset.Close()
    found = asked(given, path)
    info = found.vectors.info(found.source, None)
    assert info.layer == "land"
    assert set(info.layers) == {"owners", "land"}
    assert not PAINTER.paint(Burn(href=path), TILE.grid(), given).valid.any()
    with pytest.raises(SourceUnreadable, match="in its layer owners"):
        PAINTER.paint(Burn(href=path, layer="owners"), TILE.grid(), given)


def test_a_layer_is_packed_once_for_all_who_want_it(
    given: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.gpkg", within(TILE.grid(), 1, 50, 3.0))
    made = []

    def counted(*args: Any) -> Any:
        made.append(args)
        return pack.build(*args)

    monkeypatch.setattr(vectors, "build", counted)
    stores = [vectors_of(given.pool), Vectors(given.pool.access), Vectors(given.pool.access)]
    with ThreadPoolExecutor(9) as threads:
        packs = list(
            threads.map(
                lambda k: stores[k % 3].pack(stores[k % 3].of_file(path), None, lambda: None), range(9)
            )
        )
    assert len(made) == 1
    assert {len(one) for one in packs} == {50}
    assert packs[0] is packs[3]


def test_who_waits_too_long_is_told_how_far_it_is(
    given: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.gpkg", within(TILE.grid(), 1, 50, 3.0))
    go = Event()

    def slow(*args: Any) -> Any:
        assert go.wait(60)
        return pack.build(*args)

    monkeypatch.setattr(vectors, "build", slow)
    store = vectors_of(given.pool)
    with pytest.raises(EngineOverloaded, match=r"a\.gpkg is being prepared: 0 of 50 features"):
        store.pack(store.of_file(path), None, lambda: None, 0.0)
    go.set()
    assert len(store.pack(store.of_file(path), None, lambda: None)) == 50


def test_old_packs_make_room_and_cut_ones_are_made_anew(
    given: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "packs"
    folder.mkdir()
    left = folder / "making-x"
    left.write_bytes(b"")
    os.utime(left, (0, 0))
    monkeypatch.setattr(vectors, "MOST_DISK", 1)
    for number in range(3):
        path = write(tmp_path / f"{number}.gpkg", within(TILE.grid(), number, 50, 3.0))
        store = Vectors(given.pool.access, folder)
        store.pack(store.of_file(path), None, lambda: None)
    (last,) = folder.glob("*.pack")
    assert not left.exists()
    last.write_bytes(last.read_bytes()[:5000])
    assert len(Vectors(given.pool.access, folder).pack(store.of_file(path), None, lambda: None)) == 50


def test_the_specimen_is_drawn_without_a_cache() -> None:
    for step in specimen.steps():
        step()
    assert len(specimen.specimen().pack) == 4
