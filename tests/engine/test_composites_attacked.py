"""Composites where it is easy to be wrong: items that fail or promise too much, tiles computed apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import shapely
from osgeo import gdal, osr

from geoloom import blobs
from geoloom.chain import Chain
from geoloom.errors import (
    BandError,
    ChainTooLarge,
    DemandError,
    SourceNotFound,
    SourceRefused,
    SourceUnreadable,
)
from geoloom.grid import MERCATOR_EXTENT, Grid, Tile, mercator_latitude
from geoloom.image import Image
from geoloom.op import Profile
from geoloom.ops.composite import Composite
from geoloom.ops.item import Item as Placeholder
from geoloom.ops.open import Open
from geoloom.per_item import composite, item
from geoloom.selection import Asset, Item, SelectedBand, Selection
from geoloom_engine.evaluate import evaluate, run
from geoloom_engine.plan import Planner
from geoloom_engine.readers import SourcePool
from geoloom_engine.selections import Blobs
from geoloom_engine.warp import Limits

gdal.UseExceptions()
TILE = Tile(12, 2188, 1387)
ORIGIN = TILE.grid()
CODES = {"uint8": gdal.GDT_Byte, "uint16": gdal.GDT_UInt16, "float32": gdal.GDT_Float32}


def write(path: Path, data: np.ndarray, at: Grid, nodata: float | None = 0) -> str:
    """A GeoTIFF whose pixels, (bands, rows, cols), are those of the map from the grid's corner on."""
    bands, rows, cols = data.shape
    made = gdal.GetDriverByName("GTiff").Create(str(path), cols, rows, bands, CODES[str(data.dtype)])
    bounds = at.bounds()
    made.SetGeoTransform((bounds.west, at.lattice.dx, 0, bounds.north, 0, -at.lattice.dy))
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(3857)
    made.SetSpatialRef(crs)
    for band in range(bands):
        if nodata is not None:
            made.GetRasterBand(band + 1).SetNoDataValue(nodata)
        made.GetRasterBand(band + 1).WriteArray(data[band])
    made.Close()
    return str(path)


def area(grid: Grid) -> shapely.Geometry:
    """A grid's rectangle in degrees."""
    bounds = grid.bounds()
    degree = 180 / MERCATOR_EXTENT
    south, north = mercator_latitude(bounds.south), mercator_latitude(bounds.north)
    return shapely.box(bounds.west * degree, south, bounds.east * degree, north)


def window(col: int, row: int, cols: int, rows: int) -> Grid:
    return Grid(ORIGIN.lattice, ORIGIN.col + col, ORIGIN.row + row, cols, rows)


def stack(folder: Path, arrays: Sequence[np.ndarray], places: Sequence[Grid] | None = None) -> Selection:
    """A selection of a file for each array (bands, rows, cols), a day apart; 0 is nothing."""
    folder.mkdir(exist_ok=True)
    items = []
    for i, data in enumerate(arrays):
        at = ORIGIN if places is None else places[i]
        grid = Grid(at.lattice, at.col, at.row, data.shape[2], data.shape[1])
        href = write(folder / f"{i}.tif", data, grid)
        pairs = tuple((band, band) for band in range(data.shape[0]))
        items.append(Item(f"item-{i}", 86400.0 * i, area(grid), (Asset(href, pairs),), 38.0))
    dtype = str(arrays[0].dtype)
    bands = [SelectedBand(f"B{i + 1}", dtype, resampling="nearest") for i in range(arrays[0].shape[0])]
    return Selection.of("stack", bands, items)


def planner_of(folder: Path, **more) -> Planner:
    return Planner(
        SourcePool((str(folder),)), Limits(), blobs=Blobs(lambda key: blobs.known(key) or b""), **more
    )


def opened(planner: Planner, href: str) -> Image:
    info = planner.pool.open(href).info.to_json()
    return Image(Open(href=href).chain(), Profile.of_source(info), {href: info})


def full(value: int, size: int = 256) -> np.ndarray:
    return np.full((1, size, size), value, np.uint16)


def test_an_item_that_fails_before_the_others_fill_the_tile_is_told(tmp_path):
    selection = stack(tmp_path, [full(5), full(9)])
    (tmp_path / "0.tif").unlink()
    planner = planner_of(tmp_path)
    plan = planner.plan(composite(item(selection), selection, "first").chain, ORIGIN)
    supply = planner.supply()
    block = evaluate(plan, {}, supply=supply)
    assert (block.data == 9).all()
    assert [one.item for one in supply.reader.failures] == ["item-0"]


def test_strips_read_their_own_part_of_a_file_beside_the_items(tmp_path, monkeypatch):
    monkeypatch.setattr("geoloom_engine.gathering.STACK_BYTES", 40_000)
    rng = np.random.default_rng(1)
    arrays = [rng.integers(1, 900, (1, 256, 256)).astype(np.uint16) for _ in range(3)]
    selection = stack(tmp_path, arrays)
    planner = planner_of(tmp_path)
    beside = rng.integers(1, 900, (1, 256, 256)).astype(np.uint16)
    href = write(tmp_path / "beside.tif", beside, ORIGIN)
    each = item(selection) + opened(planner, href)
    plan = planner.plan(composite(each, selection, "median").chain, ORIGIN)
    assert next(iter(plan.gatherings.values())).strips > 5
    block, _ = run(planner, composite(each, selection, "median").chain, ORIGIN)
    expected = np.median(np.stack(arrays).astype(float) + beside, axis=0)
    np.testing.assert_array_equal(block.data, expected)


def test_a_strip_whose_items_fail_leaves_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr("geoloom_engine.gathering.STACK_BYTES", 40_000)
    places = [window(0, 0, 256, 128), window(0, 128, 256, 128)]
    selection = stack(tmp_path, [np.full((1, 128, 256), value, np.uint16) for value in (5, 9)], places)
    (tmp_path / "0.tif").unlink()
    planner = planner_of(tmp_path)
    plan = planner.plan(composite(item(selection), selection, "median").chain, ORIGIN)
    assert next(iter(plan.gatherings.values())).strips > 5
    supply = planner.supply()
    block = evaluate(plan, {}, supply=supply)
    assert (block.data[0, 130:] == 9).all()
    assert not block.valid[0, :126].any()
    assert [one.item for one in supply.reader.failures] == ["item-0"]


def test_each_band_of_a_file_has_its_own_nodata(tmp_path):
    data = np.full((2, 256, 256), 7, np.uint16)
    data[0, :50], data[1, :50] = 0, 255
    data[0, 50:100], data[1, 50:100] = 255, 0
    href = write(tmp_path / "0.tif", data, ORIGIN, nodata=None)
    bands = [
        SelectedBand("B1", "uint16", nodata=0, resampling="nearest"),
        SelectedBand("SCL", "uint16", nodata=255, resampling="nearest"),
    ]
    one = Item("item-0", 0.0, area(ORIGIN), (Asset(href, ((0, 0), (1, 1))),), 38.0)
    selection = Selection.of("stack", bands, [one])
    image = composite(item(selection), selection, "first")
    planner = planner_of(tmp_path)
    whole, _ = run(planner, image.chain, ORIGIN)
    valid = np.broadcast_to(whole.valid, whole.data.shape)
    assert not valid[:, :50].any()
    assert valid[:, 50:].all()
    for band in range(2):
        alone, _ = run(planner, image.bands(band).chain, ORIGIN)
        np.testing.assert_array_equal(alone.valid[0], valid[band])


EACH = {
    "unmasked": lambda each: each.unmask(1000),
    "combined": lambda each: each.combine_first(1000),
    "beside a constant": lambda each: each * 0 + 3,
    "smoothed": lambda each: each.unmask(40).focal_mean(radius=3),
    "nothing of it": lambda each: (each * 0).unmask(3),
}


@pytest.mark.parametrize("how", ["first", "mean", "count", "median"])
@pytest.mark.parametrize("name", sorted(EACH))
def test_tiles_do_not_show_where_they_end(tmp_path, name, how):
    places = [window(0, 0, 100, 100), window(60, 30, 100, 100), window(150, 140, 60, 60)]
    arrays = [np.full((1, at.rows, at.cols), 10 * (i + 1), np.uint16) for i, at in enumerate(places)]
    arrays[1][0, 20:50, 20:60] = 0
    selection = stack(tmp_path, arrays, places)
    planner = planner_of(tmp_path)
    chain = composite(EACH[name](item(selection)), selection, how).chain
    whole, _ = run(planner, chain, ORIGIN)
    for row in range(0, 256, 64):
        for col in range(0, 256, 64):
            part, _ = run(planner, chain, window(col, row, 64, 64))
            inside = np.s_[:, row : row + 64, col : col + 64]
            np.testing.assert_array_equal(
                np.broadcast_to(part.valid, part.data.shape),
                np.broadcast_to(whole.valid, whole.data.shape)[inside],
            )
            np.testing.assert_array_equal(part.data, whole.data[inside])


def test_what_is_the_same_for_all_items_is_computed_once(tmp_path, monkeypatch):
    selection = stack(tmp_path, [full(5), full(9), full(7)])
    planner = planner_of(tmp_path)
    inner = composite(item(selection), selection, "max")
    each = item(selection) - inner.focal_mean(radius=2)
    read = []
    opening = SourcePool.open
    monkeypatch.setattr(SourcePool, "open", lambda pool, *more: read.append(1) or opening(pool, *more))
    run(planner, composite(each, selection, "mean").chain, ORIGIN)
    assert len(read) == 6
    read.clear()
    run(planner, composite(inner + 1, selection, "mean").chain, ORIGIN)
    assert len(read) <= 6


def towers(selection: Selection, levels: int) -> Chain:
    image = composite(item(selection), selection, "max")
    below = image
    for _ in range(levels):
        image, below = composite(item(selection) + image + below, selection, "max"), image
    return image.chain


def test_composites_within_composites_do_not_take_for_ever(tmp_path):
    selection = stack(tmp_path, [full(5)])
    with pytest.raises(ChainTooLarge, match="one within the other"):
        planner_of(tmp_path).plan(towers(selection, 60), ORIGIN)


def scattered(seed: int, count: int) -> Selection:
    """Footprints without files: clusters and single ones, some of two files."""
    rng = np.random.default_rng(seed)
    bands = [SelectedBand(name, "uint16", resampling="nearest") for name in ("B1", "B2")]
    items = []
    for i in range(count):
        close = rng.random() < 0.5
        lon, lat = (rng.normal((8, 45), 0.3) if close else rng.uniform((0, 40), (20, 55))).tolist()
        width, height = rng.uniform(0.01, 1.0, 2).tolist()
        names = ["a", "b"] if rng.random() < 0.5 else ["a"]
        assets = [Asset(f"/nowhere/{i}/{name}.tif", ((at, 0),)) for at, name in enumerate(names)]
        if len(assets) == 1:
            assets = [Asset(f"/nowhere/{i}/a.tif", ((0, 0), (1, 1)))]
        items.append(
            Item(f"item-{i}", 0.0, shapely.box(lon, lat, lon + width, lat + height), tuple(assets), 9.0)
        )
    return Selection.of("scattered", bands, items)


def descendants(tile: Tile, zoom: int, selection: Selection) -> set[Tile]:
    """The tiles below one in which there are most items: at their corners and centres."""
    found = set()
    for west, south, east, north in shapely.bounds(selection.footprints).tolist():
        for lon in (west, (west + east) / 2, east):
            found |= {Tile.at(lon, lat, zoom) for lat in (south, (south + north) / 2, north)}
    times = 2 ** (zoom - tile.z)
    return {one for one in found if (one.x // times, one.y // times) == (tile.x, tile.y)}


@pytest.mark.parametrize("radius", [0, 60])
@pytest.mark.parametrize("ratio", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_the_zoom_that_is_named_works_for_every_tile(tmp_path, seed, ratio, radius):
    selection = scattered(seed, 120)
    planner = planner_of(tmp_path, max_reads=60)
    image = composite(item(selection), selection, "max")
    chain = (image.focal_mean(radius=radius) if radius else image).chain
    tile = Tile.at(9, 46, 4)
    with pytest.raises(DemandError) as caught:
        planner.plan(chain, tile.grid(ratio))
    zoom = int(str(caught.value).split("level ")[1].split(",")[0])
    assert zoom > tile.z
    for below in descendants(tile, zoom, selection):
        planner.plan(chain, below.grid(ratio))


def test_files_are_counted_item_by_item(tmp_path):
    selection = scattered(3, 40)
    wanted = sum(len(selection.item(row).assets) for row in range(40))
    plan = planner_of(tmp_path).plan(composite(item(selection), selection, "max").chain, Tile(2, 2, 1).grid())
    assert plan.files == wanted
    plan = planner_of(tmp_path).plan(
        composite(item(selection), selection, "max")["B1"].chain, Tile(2, 2, 1).grid()
    )
    assert plan.files == 40


def test_all_composites_of_a_tile_share_what_it_may_read(tmp_path):
    selection = scattered(3, 40)
    each = item(selection)["B1"]
    image = composite(each, selection, "max")
    planner = planner_of(tmp_path, max_reads=100)
    planner.plan((image - composite(each, selection, "min")).chain, Tile(2, 2, 1).grid())
    three = image - composite(each, selection, "min") + composite(each, selection, "mean")
    with pytest.raises(DemandError, match="needs 120 files for all its composites together"):
        planner.plan(three.chain, Tile(2, 2, 1).grid())
    within = composite(each - composite(each - image, selection, "min"), selection, "max")
    with pytest.raises(DemandError, match="needs 120 files for all its composites together"):
        planner.plan(within.chain, Tile(2, 2, 1).grid())


def test_beyond_the_edge_of_a_deep_archive_not_all_scenes_are_read(tmp_path, monkeypatch):
    data = full(5, 150)
    selection = stack(tmp_path, [data] * 40)
    opening, read = SourcePool.open, []
    monkeypatch.setattr(SourcePool, "open", lambda pool, *more: read.append(1) or opening(pool, *more))
    block, _ = run(
        planner_of(tmp_path, max_reads=20), composite(item(selection), selection, "first").chain, ORIGIN
    )
    assert block.valid[0, :150, :150].all()
    assert block.valid[0].sum() == 150 * 150
    assert len(read) < 12


def test_a_scene_of_many_is_still_found_where_the_others_have_nothing(tmp_path):
    holes = full(5)
    holes[0, 100:110, 100:110] = 0
    selection = stack(tmp_path, [*[holes] * 15, full(9)])
    block, _ = run(planner_of(tmp_path), composite(item(selection), selection, "first").chain, ORIGIN)
    assert block.valid.all()
    assert (block.data[0, 100:110, 100:110] == 9).all()


def test_items_without_bands_are_refused_in_words(tmp_path):
    one = Item("item-0", 0.0, area(ORIGIN), (), 38.0)
    selection = Selection.of("bare", [], [one])
    key = blobs.keep(selection.to_bytes())
    chain = Composite(selection=key, how="max").chain(each=Placeholder(selection=key).chain())
    with pytest.raises(BandError, match="bare have no bands"):
        planner_of(tmp_path).plan(chain, ORIGIN)


def test_one_remote_file_makes_a_selection_remote():
    bands = [SelectedBand("B1", "uint16")]

    def of(*hrefs: str) -> Selection:
        items = [
            Item(f"item-{i}", 0.0, area(ORIGIN), tuple(Asset(one, ((0, 0),)) for one in href.split()), 1.0)
            for i, href in enumerate(hrefs)
        ]
        return Selection.of("places", bands, items)

    assert not of("/data/a.tif", "/data/b.tif").remote
    assert not of("file:///data/a.tif").remote
    assert of("/data/a.tif", "http://here/b.tif").remote
    assert of("/data/a.tif http://here/b.tif").remote
    assert of("http:/a.tif http://here/b.tif").remote
    assert of("s3://bucket/a.tif").remote


@pytest.mark.parametrize("nodata", [None, 0])
def test_tiles_agree_on_what_lies_beyond_a_footprint(tmp_path, nodata):
    href = write(tmp_path / "0.tif", full(7), ORIGIN, nodata)
    half = area(window(0, 0, 100, 256))
    band = SelectedBand("B1", "uint16", resampling="nearest")
    selection = Selection.of("half", [band], [Item("item-0", 0.0, half, (Asset(href, ((0, 0),)),), 38.0)])
    planner = planner_of(tmp_path)
    chain = composite(item(selection), selection, "first").chain
    whole, _ = run(planner, chain, ORIGIN)
    for col in range(0, 256, 16):
        part, _ = run(planner, chain, window(col, 40, 16, 16))
        np.testing.assert_array_equal(part.valid[0], whole.valid[0, 40:56, col : col + 16])


def declared(tmp_path: Path, data: np.ndarray, dtype: str) -> Selection:
    href = write(tmp_path / "0.tif", data, ORIGIN)
    one = Item("item-0", 0.0, area(ORIGIN), (Asset(href, ((0, 0),)),), 38.0)
    return Selection.of("declared", [SelectedBand("B1", dtype, resampling="nearest")], [one])


@pytest.mark.parametrize(("value", "dtype"), [(300, "uint8"), (1.5, "int16"), (-1.0, "uint16")])
def test_values_that_the_catalogue_told_otherwise_are_no_others(tmp_path, value, dtype):
    data = np.full((1, 256, 256), value, np.uint16 if value == 300 else np.float32)
    selection = declared(tmp_path, data, dtype)
    with pytest.raises(SourceUnreadable, match=f"item-0: 0.tif has .* values that are no {dtype}"):
        run(planner_of(tmp_path), composite(item(selection), selection, "max").chain, ORIGIN)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_values_that_fit_may_have_another_type(tmp_path, dtype):
    selection = declared(tmp_path, full(200), dtype)
    block, _ = run(planner_of(tmp_path), composite(item(selection), selection, "max").chain, ORIGIN)
    assert block.data.dtype == dtype
    assert (block.data == 200).all()


@pytest.mark.parametrize(
    ("name", "said"), [("a" * 300, "is not there"), ("a" * 5000, "is longer"), ("b/" * 2500, "is longer")]
)
def test_a_name_that_is_too_long_is_that_of_no_file(tmp_path, name, said):
    with pytest.raises((SourceNotFound, SourceRefused), match=said):
        planner_of(tmp_path).pool.open(f"{tmp_path}/{name}.tif")
