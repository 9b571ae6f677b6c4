"""Composites of real files give what numpy gives, item by item."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from osgeo import gdal, osr

from geoloom import blobs
from geoloom.block import Block
from geoloom.errors import DemandError, ParameterError, SourceError
from geoloom.grid import Grid, Lattice, Tile
from geoloom.image import Image
from geoloom.op import Profile
from geoloom.ops.open import Open
from geoloom.per_item import composite, item, quality
from geoloom.selection import Asset, Item, SelectedBand, Selection
from geoloom_engine.evaluate import evaluate, fetch, run
from geoloom_engine.plan import Planner
from geoloom_engine.readers import SourcePool
from geoloom_engine.selections import Blobs
from geoloom_engine.warp import Limits

gdal.UseExceptions()
ZOOM = 12
LATTICE = Lattice.web_mercator(ZOOM)
ORIGIN = Tile(ZOOM, 2188, 1387).grid()
DAY = 86400.0
SUMMER = 1_467_331_200.0
"""1 July 2016, in seconds since 1970."""

CODES = {
    "uint8": gdal.GDT_Byte,
    "uint16": gdal.GDT_UInt16,
    "int16": gdal.GDT_Int16,
    "float32": gdal.GDT_Float32,
}


def write(path: Path, data: np.ndarray, at: Grid = ORIGIN, nodata: float | None = 0) -> Path:
    """A GeoTIFF whose pixels, (bands, rows, cols), are those of the map from the grid's corner on."""
    bands, rows, cols = data.shape
    made = gdal.GetDriverByName("GTiff").Create(
        str(path), cols, rows, bands, CODES[str(data.dtype)], ["TILED=YES"]
    )
    bounds = at.bounds()
    made.SetGeoTransform((bounds.west, at.lattice.dx, 0, bounds.north, 0, -at.lattice.dy))
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(3857)
    made.SetSpatialRef(crs)
    for i in range(bands):
        if nodata is not None:
            made.GetRasterBand(i + 1).SetNoDataValue(nodata)
        made.GetRasterBand(i + 1).WriteArray(data[i])
    made.Close()
    return path


def footprint(grid: Grid) -> shapely.Geometry:
    """A grid's rectangle in degrees."""
    bounds = grid.bounds()
    transform = osr.CoordinateTransformation(_crs(3857), _crs(4326))
    west, south, _ = transform.TransformPoint(bounds.west, bounds.south)
    east, north, _ = transform.TransformPoint(bounds.east, bounds.north)
    return shapely.box(west, south, east, north)


def _crs(code: int) -> osr.SpatialReference:
    made = osr.SpatialReference()
    made.ImportFromEPSG(code)
    made.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    return made


def stack(
    folder: Path,
    arrays: Sequence[np.ndarray],
    places: Sequence[Grid] | None = None,
    dates: Sequence[float | None] | None = None,
    nodata: float | None = 0,
) -> Selection:
    """A selection of files, one for each array (bands, rows, cols), a day apart and in that order."""
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for i, data in enumerate(arrays):
        at = ORIGIN if places is None else places[i]
        grid = Grid(at.lattice, at.col, at.row, data.shape[2], data.shape[1])
        path = write(folder / f"{i}.tif", data, grid, nodata)
        asset = Asset(str(path), tuple((band, band) for band in range(data.shape[0])))
        date = SUMMER + i * DAY if dates is None else dates[i]
        items.append(Item(f"item-{i}", date, footprint(grid), (asset,), 38.0))
    first = arrays[0]
    bands = [SelectedBand(f"B{i + 1}", str(first.dtype), resampling="nearest") for i in range(first.shape[0])]
    return Selection.of("stack", bands, items)


def known_blobs() -> Blobs:
    """Blobs of this process, as an engine would have got them."""
    return Blobs(lambda key: blobs.known(key) or b"")


SIZE = 300
GRID = Grid(ORIGIN.lattice, ORIGIN.col + 20, ORIGIN.row + 30, 200, 150)
WINDOW = (slice(None), slice(30, 180), slice(20, 220))


@pytest.fixture(scope="module")
def arrays() -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    made = rng.integers(1, 900, (7, 2, SIZE, SIZE)).astype(np.uint16)
    # A third of all pixels is invalid, the same ones in both bands, and some places in all items.
    made[np.broadcast_to((rng.random((7, 1, SIZE, SIZE)) < 0.35), made.shape)] = 0
    made[:, :, 40:60, 50:70] = 0
    return list(made)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("stack")


@pytest.fixture(scope="module")
def selection(folder, arrays):
    return stack(folder / "plain", arrays)


@pytest.fixture(scope="module")
def planner(folder) -> Planner:
    return make_planner(folder)


def make_planner(folder: Path, **more) -> Planner:
    return Planner(SourcePool((str(folder),)), Limits(), blobs=known_blobs(), **more)


def masked(arrays: list[np.ndarray]) -> np.ma.MaskedArray:
    values = np.stack(arrays)[:, :, *WINDOW[1:]]
    return np.ma.masked_equal(values, 0)


def first(values: np.ma.MaskedArray) -> np.ma.MaskedArray:
    found = np.ma.masked_all(values.shape[1:], values.dtype)
    for one in values[::-1]:
        found = np.ma.where(~np.ma.getmaskarray(one), one, found)
    return found


def quiet(statistic: Callable) -> Callable:
    def compute(values: np.ma.MaskedArray) -> np.ma.MaskedArray:
        filled = np.where(np.ma.getmaskarray(values), np.nan, values.astype(float))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return np.ma.masked_invalid(statistic(filled, axis=0))

    return compute


ORACLES = {
    "first": first,
    "last": lambda values: first(values[::-1]),
    "min": lambda values: values.min(axis=0),
    "max": lambda values: values.max(axis=0),
    "mean": quiet(np.nanmean),
    "median": quiet(np.nanmedian),
    "std": quiet(np.nanstd),
    "count": lambda values: np.ma.masked_equal((~np.ma.getmaskarray(values)).sum(axis=0), 0),
}


def same(block: Block, wanted: np.ma.MaskedArray, exact: bool = True) -> None:
    valid = np.broadcast_to(block.valid, block.data.shape)
    np.testing.assert_array_equal(valid, ~np.ma.getmaskarray(wanted))
    expected = wanted.filled(0)
    if exact:
        np.testing.assert_array_equal(block.data, expected.astype(block.data.dtype))
    else:
        np.testing.assert_allclose(block.data, expected, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("method", sorted(ORACLES))
def test_each_method_is_what_numpy_computes(planner, selection, arrays, method):
    image = composite(item(selection), selection, method)
    block, plan = run(planner, image.chain, GRID)
    assert block.data.dtype == plan.profile.dtype
    same(block, ORACLES[method](masked(arrays)), exact=method not in ("mean", "std"))


@pytest.mark.parametrize("method", ["first", "median", "std"])
def test_one_band_is_that_of_all(planner, selection, method):
    image = composite(item(selection), selection, method)
    whole, _ = run(planner, image.chain, GRID)
    one, plan = run(planner, image["B2"].chain, GRID)
    assert [step.count for step in plan.steps] == [1]
    np.testing.assert_array_equal(one.data[0], whole.data[1])


@pytest.mark.parametrize("method", ["first", "mean", "median", "count"])
def test_tiles_computed_apart_are_one_window(planner, selection, method):
    image = composite(item(selection), selection, method)
    whole, _ = run(planner, image.chain, GRID)
    for row, col in ((0, 0), (70, 100), (149, 199)):
        rows, cols = min(64, GRID.rows - row), min(64, GRID.cols - col)
        part, _ = run(planner, image.chain, Grid(GRID.lattice, GRID.col + col, GRID.row + row, cols, rows))
        np.testing.assert_array_equal(part.data, whole.data[:, row : row + rows, col : col + cols])


def test_a_step_of_each_item_comes_before_the_reduction(planner, selection, arrays):
    each = item(selection)
    each = each.mask(each["B1"] > 300)["B2"] * 2
    block, _ = run(planner, composite(each, selection, "max").chain, GRID)
    values = masked(arrays)
    kept = np.ma.masked_where(~(values[:, :1] > 300).filled(False), values[:, 1:].astype(np.int32) * 2)
    same(block, kept.max(axis=0))


def test_neighbourhoods_of_each_item_have_their_margin(planner, selection):
    each = item(selection)["B1"].focal_mean(radius=3)
    block, _ = run(planner, composite(each, selection, "first").chain, GRID)
    alone = stack_of_one(planner, selection)
    expected, _ = run(planner, composite(item(alone)["B1"].focal_mean(radius=3), alone, "first").chain, GRID)
    valid = expected.valid[0]
    np.testing.assert_allclose(block.data[0][valid], expected.data[0][valid])


def stack_of_one(planner, selection):

    return Selection.of("one", selection.bands, [selection.item(0)])


def test_the_best_item_of_each_pixel(planner, selection, arrays):
    each = item(selection)
    image = quality(each, each["B2"] * 1.5, selection)
    block, plan = run(planner, image.chain, GRID)
    assert plan.profile.dtype == "uint16"
    values = masked(arrays)
    score = np.where(np.ma.getmaskarray(values[:, 1]), -1, values[:, 1].filled(0).astype(int))
    best = score.argmax(axis=0)
    expected = np.take_along_axis(values, best[np.newaxis, np.newaxis], axis=0)[0]
    same(block, expected)


def test_a_score_of_two_bands_is_refused(selection):
    with pytest.raises(LookupError, match="score has 2 bands"):
        quality(item(selection), item(selection), selection)


def test_only_items_of_a_time_count(planner, selection, arrays):
    image = composite(item(selection), selection, "max", "2016-07-03T00:00:00Z", "2016-07-05T00:00:00Z")
    block, plan = run(planner, image.chain, GRID)
    assert [one.rows for one in plan.gatherings.values()] == [(2, 3)]
    same(block, masked(arrays)[2:4].max(axis=0))


def test_items_elsewhere_are_not_read(folder, arrays):
    places = [ORIGIN, Grid(ORIGIN.lattice, ORIGIN.col + 5000, ORIGIN.row, 1, 1), ORIGIN]
    selection = stack(folder / "apart", arrays[:3], places)
    planner = make_planner(folder)
    (folder / "apart" / "1.tif").unlink()
    block, plan = run(planner, composite(item(selection), selection, "max").chain, GRID)
    assert next(iter(plan.gatherings.values())).rows == (0, 2)
    same(block, masked([arrays[0], arrays[2]]).max(axis=0))


def test_nothing_more_is_read_once_every_pixel_is_filled(folder, arrays):
    full = np.full((2, SIZE, SIZE), 9, np.uint16)
    selection = stack(folder / "full", [full, *arrays])
    for path in (folder / "full").glob("[1-7].tif"):
        path.unlink()
    supply = None
    planner = make_planner(folder)
    plan = planner.plan(composite(item(selection), selection, "first").chain, GRID)
    supply = planner.supply()
    block = evaluate(plan, fetch(plan, planner.pool), supply=supply)
    assert (block.data == 9).all()
    assert block.valid.all()
    assert supply.reader.failures == []


def test_the_last_is_found_from_the_end(folder, arrays):
    full = np.full((2, SIZE, SIZE), 9, np.uint16)
    selection = stack(folder / "backwards", [*arrays[:2], full])
    (folder / "backwards" / "0.tif").unlink()
    block, _ = run(make_planner(folder), composite(item(selection), selection, "last").chain, GRID)
    assert (block.data == 9).all()


def test_an_item_that_cannot_be_read_is_left_out_and_named(folder, arrays):
    selection = stack(folder / "missing", arrays[:3])
    (folder / "missing" / "1.tif").unlink()
    (folder / "missing" / "2.tif").write_bytes(b"II*\0 no tiff at all")
    planner = make_planner(folder)
    plan = planner.plan(composite(item(selection), selection, "mean").chain, GRID)
    supply = planner.supply()
    block = evaluate(plan, {}, supply=supply)
    same(block, masked(arrays[:1]).mean(axis=0), exact=False)
    assert [one.item for one in supply.reader.failures] == ["item-1", "item-2"]
    assert "is not there" in supply.reader.failures[0].error.message


def test_where_no_item_can_be_read_the_first_reason_is_told(folder, arrays):
    selection = stack(folder / "gone", arrays[:3])
    for path in (folder / "gone").glob("*.tif"):
        path.unlink()
    with pytest.raises(SourceError, match=r"item-0: 0.tif is not there.*None of the other 2"):
        run(make_planner(folder), composite(item(selection), selection, "mean").chain, GRID)


def test_an_item_that_changed_since_is_named(folder, arrays):

    known = stack(folder / "changed", arrays[:2])
    pool = SourcePool((str(folder),), recheck=0.0)
    items = [known.item(i) for i in range(2)]
    marked = [
        replace(one, assets=(replace(one.assets[0], mark=pool.fingerprint(one.assets[0].href)[:10]),))
        for one in items
    ]
    selection = Selection.of("marked", known.bands, marked)
    planner = Planner(pool, Limits(), blobs=known_blobs())
    chain = composite(item(selection), selection, "max").chain
    whole, _ = run(planner, chain, GRID)
    same(whole, masked(arrays[:2]).max(axis=0))
    write(folder / "changed" / "1.tif", arrays[2][:, :280])
    plan = planner.plan(chain, GRID)
    supply = planner.supply()
    evaluate(plan, {}, supply=supply)
    assert [one.item for one in supply.reader.failures] == ["item-1"]
    assert "has changed since" in supply.reader.failures[0].error.message


def test_a_tile_of_too_many_scenes_says_from_which_zoom_on(folder, arrays):
    places = [Grid(ORIGIN.lattice, ORIGIN.col + 2000 * i, ORIGIN.row, 1, 1) for i in range(6)]
    selection = stack(folder / "wide", [one[:, :20, :20] for one in arrays[:6]], places)
    planner = make_planner(folder, max_reads=4)

    far = Tile.at(*selection.footprints[0].centroid.coords[0], 4)
    with pytest.raises(DemandError, match="needs 6 scenes, more than the 4 files") as caught:
        planner.plan(composite(item(selection), selection, "median").chain, far.grid())
    assert "Zoom in to level 6" in str(caught.value) or "Zoom in to level 7" in str(caught.value)
    zoom = int(str(caught.value).split("level ")[1].split(",")[0])
    for row in range(len(selection)):
        near = Tile.at(*selection.footprints[row].centroid.coords[0], zoom)
        planner.plan(composite(item(selection), selection, "median").chain, near.grid())


def test_a_deep_mosaic_of_one_place_is_not_refused(folder, arrays):
    selection = stack(folder / "deep", [np.full((1, 300, 300), i + 1, np.uint16) for i in range(6)])
    planner = make_planner(folder, max_reads=4)
    block, _ = run(planner, composite(item(selection), selection, "first").chain, GRID)
    assert (block.data == 1).all()


def test_what_stays_empty_is_refused_at_last(folder, arrays):
    holes = [np.full((1, 300, 300), 5, np.uint16) for _ in range(6)]
    for one in holes:
        one[:, 100:110, 100:110] = 0
    selection = stack(folder / "holes", holes)
    planner = make_planner(folder, max_reads=4)
    with pytest.raises(DemandError, match="still empty"):
        run(planner, composite(item(selection), selection, "first").chain, GRID)


def test_a_median_in_strips_is_the_same(planner, selection, arrays, monkeypatch):
    monkeypatch.setattr("geoloom_engine.gathering.STACK_BYTES", 200_000)
    image = composite(item(selection)["B1"] + 0, selection, "median")
    plan = planner.plan(image.chain, GRID)
    assert next(iter(plan.gatherings.values())).strips > 3
    block, _ = run(planner, image.chain, GRID)
    same(block, ORACLES["median"](masked(arrays))[:1])


def test_a_file_beside_the_items_is_read_once(planner, selection, arrays, folder, monkeypatch):

    path = folder / "plain" / "0.tif"
    info = planner.pool.open(str(path)).info.to_json()
    static = Image(Open(href=str(path)).chain(), Profile.of_source(info), {str(path): info})["b1"]
    each = item(selection)["B2"].mask(static > 100)
    read = []
    fetched = fetch
    monkeypatch.setattr(
        "geoloom_engine.evaluate.fetch",
        lambda plan, *more: read.append(len(plan.reads)) or fetched(plan, *more),
    )
    block, _ = run(planner, composite(each, selection, "max").chain, GRID)
    assert sum(read) == 1
    keep = (masked(arrays)[0, :1] > 100).filled(False)
    same(block, np.ma.masked_where(~keep, masked(arrays)[:, 1:].max(axis=0)))


def test_composites_of_two_collections_can_be_combined(planner, selection, folder, arrays):
    other = stack(folder / "other", arrays[3:5])
    change = composite(item(selection), selection, "max") - composite(item(other), other, "max")
    block, _ = run(planner, change.chain, GRID)
    values = masked(arrays).astype(np.int32)
    same(block, values.max(axis=0) - values[3:5].max(axis=0))


def test_an_item_of_another_collection_is_refused(planner, selection, folder, arrays):
    other = stack(folder / "else", arrays[3:5])
    wrong = composite(item(selection) - item(other), selection, "max")
    with pytest.raises(ParameterError, match="no pixels of its own"):
        planner.plan(wrong.chain, GRID)
    with pytest.raises(ParameterError, match="no pixels of its own"):
        planner.plan(item(selection).chain, GRID)


def test_styles_come_after(planner, selection, arrays):
    image = composite(item(selection), selection, "max")["B1"].scale(0, 900).colormap("viridis")
    block, plan = run(planner, image.chain, GRID)
    assert plan.profile.look is not None
    assert block.data.dtype == np.uint8
    plain, _ = run(planner, composite(item(selection), selection, "max")["B1"].chain, GRID)
    assert plain.data.shape == block.data.shape


def test_a_selection_without_items_here_gives_nothing(planner, selection):
    far = Grid(GRID.lattice, GRID.col + 40_000, GRID.row, 16, 16)
    block, _ = run(planner, composite(item(selection), selection, "mean").chain, far)
    assert not block.valid.any()
    assert block.data.shape == (2, 16, 16)


def test_dateless_items_are_in_no_span(folder, arrays):
    selection = stack(folder / "dateless", arrays[:2], dates=[None, 1_467_331_200.0 + DAY])
    planner = make_planner(folder)
    image = composite(item(selection), selection, "first", "1970-01-01T00:00:00Z")
    plan = planner.plan(image.chain, GRID)
    assert next(iter(plan.gatherings.values())).rows == (1,)


@pytest.mark.parametrize(
    ("nodata", "part", "masked_there"),
    [(None, 0.5, True), (None, 1.0, False), (0, 0.5, True), (0, 1.0, False)],
)
def test_nothing_counts_far_outside_its_footprint(folder, nodata, part, masked_there):
    name = f"promised-{nodata}-{part}"
    data = np.full((1, SIZE, SIZE), 7, np.uint16)
    known = stack(folder / name, [data], nodata=nodata)
    west, south, east, north = known.footprints[0].bounds
    shape = shapely.box(west, south, west + part * (east - west), north)
    selection = Selection.of("half", known.bands, [replace(known.item(0), footprint=shape)])
    block, _ = run(make_planner(folder), composite(item(selection), selection, "first").chain, GRID)
    # The grid begins in column 20 of 300: the eastern half of the file is from its column 130 on.
    assert block.valid[0, :, :129].all()
    # What a file says itself to be valid counts for some 200 m more, which are six pixels.
    beyond = 132 if nodata is None else 138
    assert block.valid[0, :, beyond:].any() != masked_there
