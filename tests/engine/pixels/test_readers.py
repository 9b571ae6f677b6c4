"""What a source says of itself, the pool that keeps it open, and how changes are noticed."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from osgeo import gdal

from geoloom.errors import (
    GeoloomError,
    SourceChanged,
    SourceNotFound,
    SourceNotGeoreferenced,
    SourceRefused,
    SourceUnreadable,
)
from geoloom_engine.cache import BlockCache, Budget
from geoloom_engine.readers import Source, SourcePool, Window

Make = Callable[..., Source]


def ramp(rows: int = 40, cols: int = 60, dtype: str = "uint16", bands: int = 1) -> np.ndarray:
    return np.arange(bands * rows * cols).reshape(bands, rows, cols).astype(dtype)


def names(source: Source) -> list[str]:
    return [band.name for band in source.info.bands]


# What it says -------------------------------------------------------------------------------------


def test_says_what_the_file_holds(raster: Make) -> None:
    def edit(made: Any) -> None:
        band = made.GetRasterBand(1)
        band.SetDescription("B04")
        band.SetUnitType("1")
        band.SetScale(0.0001)
        band.SetOffset(-0.1)

    source = raster(ramp(600, 700), nodata=0, overviews=(2, 4), edit=edit)
    info = source.info
    assert (info.driver, info.width, info.height, info.crs) == ("GTiff", 700, 600, "EPSG:32633")
    assert info.transform == (500000.0, 10.0, 0.0, 5000000.0, 0.0, -10.0)
    assert info.overviews == ((350, 300), (175, 150))
    assert info.levels == ((700, 600), (350, 300), (175, 150))
    assert (info.resolution, info.block, info.dtype) == ((10.0, 10.0), (256, 256), "uint16")
    assert info.ground_resolution == pytest.approx(10.0, rel=0.001)
    assert "UTM zone 33N" in info.crs_name
    (band,) = info.bands
    assert (band.name, band.description, band.unit, band.nodata) == ("B04", "B04", "1", 0)
    assert (band.scale, band.offset, band.dtype) == (0.0001, -0.1, "uint16")
    assert len(info.fingerprint) == 32
    bounds = info.bounds
    assert (bounds.west, bounds.south, bounds.east, bounds.north) == pytest.approx(
        (15.0, 45.097, 15.089, 45.1535), abs=0.003
    )


def test_description_is_plain_json(raster: Make) -> None:
    info = raster(ramp(dtype="float32"), nodata=math.nan).info
    described = json.loads(json.dumps(info.to_json(), allow_nan=False))
    assert described["bands"][0]["nodata"] == "nan"
    assert described["bounds"] == [info.bounds.west, info.bounds.south, info.bounds.east, info.bounds.north]
    assert described["width"] == 60


def test_band_names_are_unique(raster: Make) -> None:
    def edit(made: Any) -> None:
        for number, name in ((1, "red"), (2, "red"), (4, "red_2")):
            made.GetRasterBand(number).SetDescription(name)

    assert names(raster(ramp(bands=4), edit=edit)) == ["red", "red_2", "b3", "red_2_2"]


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]
)
def test_every_type_is_read_exactly(raster: Make, dtype: str) -> None:
    data = ramp(dtype=dtype)
    kind = np.dtype(dtype)
    extremes = np.iinfo(kind) if kind.kind in "iu" else np.finfo(kind)
    data[0, 0, :2] = extremes.min, extremes.max
    source = raster(data)
    read, valid = source.read(0, (0,), Window(0, 0, 60, 40))
    assert read.dtype == kind
    assert np.array_equal(read, data)
    assert valid.all()
    assert source.info.dtype == dtype


def test_complex_numbers_are_refused_with_a_reason(raster: Make) -> None:
    with pytest.raises(SourceRefused, match="CFloat32"):
        raster(ramp().astype("complex64"))


# Validity -----------------------------------------------------------------------------------------


def read_all(source: Source, bands: tuple[int, ...] = (0,)) -> tuple[np.ndarray, np.ndarray]:
    return source.read(0, bands, Window(0, 0, source.info.width, source.info.height))


def test_nodata_is_invalid_and_zero(raster: Make) -> None:
    data = ramp(dtype="int16")
    data[0, 3, 5] = -999
    read, valid = read_all(raster(data, nodata=-999))
    assert not valid[0, 3, 5]
    assert valid.sum() == valid.size - 1
    assert read[0, 3, 5] == 0


@pytest.mark.parametrize("nodata", [math.nan, -3.4028234663852886e38])
def test_float_nodata_and_what_is_not_finite_are_invalid(raster: Make, nodata: float) -> None:
    data = ramp(dtype="float32")
    data[0, 0, :4] = nodata, np.inf, -np.inf, np.nan
    read, valid = read_all(raster(data, nodata=nodata))
    assert valid[0, 0].tolist() == [False] * 4 + [True] * 56
    assert not read[0, 0, :4].any()


@pytest.mark.parametrize("nodata", [-9999, 300, 1.5, math.nan])
def test_nodata_that_no_pixel_can_have_does_nothing(raster: Make, nodata: float) -> None:
    _, valid = read_all(raster(ramp(dtype="uint8"), nodata=nodata))
    assert valid.all()


def test_nodata_of_64_bits_is_compared_exactly(raster: Make) -> None:
    data = np.full((4, 4), 2**62 + 1, "int64")
    data[0, 0] = 2**62

    def edit(made: Any) -> None:
        made.GetRasterBand(1).SetNoDataValue(2**62)

    _, valid = read_all(raster(data, edit=edit))
    assert valid.sum() == 15


def test_alpha_becomes_validity(raster: Make) -> None:
    data = ramp(bands=4, dtype="uint8")
    data[3] = 255
    data[3, :10] = 0
    data[3, 10] = 1

    def edit(made: Any) -> None:
        made.GetRasterBand(4).SetColorInterpretation(gdal.GCI_AlphaBand)

    source = raster(data, edit=edit)
    assert names(source) == ["b1", "b2", "b3"]
    assert source.info.alpha
    read, valid = read_all(source, (0, 2))
    assert valid.shape == (1, 40, 60)
    assert not valid[0, :10].any()
    assert valid[0, 10:].all()
    assert not read[:, :10].any()
    assert np.array_equal(read[1, 10:], data[2, 10:])


@pytest.mark.parametrize("internal", ["YES", "NO"])
def test_mask_becomes_validity_at_every_level(raster: Make, internal: str) -> None:
    def edit(made: Any) -> None:
        with gdal.config_option("GDAL_TIFF_INTERNAL_MASK", internal):
            made.CreateMaskBand(gdal.GMF_PER_DATASET)
            mask = np.full((400, 500), 255, np.uint8)
            mask[:, :100] = 0
            made.GetRasterBand(1).GetMaskBand().WriteArray(mask)

    source = raster(ramp(400, 500, bands=2), edit=edit, overviews=(2,))
    assert source.info.mask
    for level, edge in ((0, 100), (1, 50)):
        width, height = source.info.levels[level]
        _, valid = source.read(level, (0, 1), Window(0, 0, width, height))
        assert valid.shape == (1, height, width)
        assert not valid[0, :, :edge].any()
        assert valid[0, :, edge:].all()


def test_all_valid_costs_nothing(raster: Make) -> None:
    _, valid = read_all(raster(ramp(300, 300)))
    assert valid.strides == (0, 0, 0)
    assert valid.shape == (1, 300, 300)


# Classes ------------------------------------------------------------------------------------------


def test_colour_table_means_nearest(raster: Make) -> None:
    def edit(made: Any) -> None:
        table = gdal.ColorTable()
        table.SetColorEntry(0, (0, 0, 255, 255))
        table.SetColorEntry(1, (0, 128, 0, 255))
        made.GetRasterBand(1).SetColorTable(table)

    info = raster(ramp(dtype="uint8"), edit=edit).info
    assert info.resampling == "nearest"
    assert info.bands[0].palette is not None
    assert info.bands[0].palette[:2] == ((0, 0, 255, 255), (0, 128, 0, 255))
    assert info.bands[0].colour == "Palette"


def test_category_names_mean_nearest(raster: Make) -> None:
    def edit(made: Any) -> None:
        made.GetRasterBand(1).SetCategoryNames(["water", "forest"])

    info = raster(ramp(dtype="uint8"), edit=edit).info
    assert info.bands[0].categories == ("water", "forest")
    assert info.resampling == "nearest"


@pytest.mark.parametrize(
    ("name", "dtype", "resampling"),
    [
        ("SCL", "uint8", "nearest"),
        ("QA_PIXEL", "uint16", "nearest"),
        ("land-cover class 2020", "uint8", "nearest"),
        ("B04", "uint16", "bilinear"),
        ("classic", "uint8", "bilinear"),
        ("quality", "float32", "bilinear"),
    ],
)
def test_flag_and_class_bands_mean_nearest(raster: Make, name: str, dtype: str, resampling: str) -> None:
    info = raster(ramp(dtype=dtype), edit=lambda made: made.GetRasterBand(1).SetDescription(name)).info
    assert info.resampling == info.bands[0].resampling == resampling


def test_each_band_says_how_it_is_resampled(raster: Make) -> None:
    info = raster(ramp(bands=2), edit=lambda made: made.GetRasterBand(2).SetDescription("QA60")).info
    assert [band.resampling for band in info.bands] == ["bilinear", "nearest"]
    assert info.resampling == "nearest"


# Where it lies ------------------------------------------------------------------------------------


def bounds_of(source: Source) -> tuple[float, float, float, float]:
    bounds = source.info.bounds
    return bounds.west, bounds.south, bounds.east, bounds.north


@pytest.mark.parametrize(
    ("crs", "transform", "expected"),
    [
        (4326, (170, 0.5, 0, 10, 0, -0.5), (170, -10, -160, 10)),
        (4326, (-190, 0.5, 0, 10, 0, -0.5), (170, -10, -160, 10)),
        (4326, (0, 6, 0, 90, 0, -4.5), (-180, -90, 180, 90)),
        (4326, (-180, 6, 0, 90, 0, -4.5), (-180, -90, 180, 90)),
        (4326, (100, 1, 0, 92, 0, -1), (100, 52, 160, 90)),
        (4326, (-10, 1, 0, 50, 0, 1), (-10, 50, 50, 90)),
        (4326, (150, 0.5, 0, 10, 0, -0.5), (150, -10, 180, 10)),
        (4326, (180, 0.5, 0, 10, 0, -0.5), (-180, -10, -150, 10)),
        (3413, (-3e6, 1e5, 0, 2e6, 0, -1e5), (-180, 57.6, 180, 90)),
        (3031, (-3e6, 1e5, 0, 2e6, 0, -1e5), (-180, -90, 180, -57.7)),
    ],
)
def test_bounds_in_degrees(
    raster: Make, crs: int, transform: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    source = raster(ramp(40, 60, "uint8"), crs, tuple(map(float, transform)))
    assert bounds_of(source) == pytest.approx(expected, abs=0.1)


def test_zone_60_crosses_the_antimeridian(raster: Make) -> None:
    west, south, east, north = bounds_of(raster(ramp(40, 60), 32660, (600000.0, 5000.0, 0, 5e6, 0, -5000.0)))
    assert 178 < west < 180
    assert -180 < east < -175
    assert 43 < south < north < 46


def test_pixel_size_in_ground_metres(raster: Make) -> None:
    degrees = raster(ramp(), 4326, (10.0, 0.001, 0.0, 60.0, 0.0, -0.001)).info
    assert degrees.ground_resolution == pytest.approx(111_400 * 0.001 * math.sqrt(0.5), rel=0.01)
    mercator = raster(ramp(), 3857, (1e6, 100.0, 0.0, 8399737.9, 0.0, -100.0)).info
    assert mercator.ground_resolution == pytest.approx(50.0, rel=0.01)


def test_a_crs_without_authority_is_kept_as_wkt(raster: Make) -> None:
    info = raster(ramp(), "+proj=laea +lat_0=12 +lon_0=34 +datum=WGS84", (0.0, 100.0, 0, 0.0, 0, -100.0)).info
    assert info.crs.startswith("PROJCRS")
    assert info.bounds.west == pytest.approx(34, abs=0.01)


@pytest.mark.parametrize(
    ("crs", "transform", "message"),
    [
        (None, (500000.0, 10.0, 0.0, 5000000.0, 0.0, -10.0), "coordinate system"),
        (32633, None, "where its corners lie"),
        (32633, (500000.0, 10.0, 10.0, 5000000.0, 10.0, 10.0), "without area"),
        ('LOCAL_CS["site plan",UNIT["metre",1]]', (0.0, 1.0, 0.0, 9.0, 0.0, -1.0), "coordinate system"),
    ],
)
def test_without_georeference(raster: Make, crs: Any, transform: Any, message: str) -> None:
    with pytest.raises(SourceNotGeoreferenced, match=message) as caught:
        raster(ramp(), crs, transform)
    assert "raster0.tif" in str(caught.value)
    assert caught.value.hint


def test_control_points_alone_are_named(raster: Make) -> None:
    def edit(made: Any) -> None:
        corners = [(10, 50, 0, 0), (11, 50, 60, 0), (10, 49, 0, 40), (11, 49, 60, 40)]
        reference = made.GetSpatialRef()
        made.SetGCPs([gdal.GCP(x, y, 0, col, row) for x, y, col, row in corners], reference)

    with pytest.raises(SourceNotGeoreferenced, match="control points"):
        raster(ramp(), 4326, None, edit=edit)


# The pool -----------------------------------------------------------------------------------------


def test_equal_sources_are_opened_once(raster: Make, pool: SourcePool) -> None:
    source = raster(ramp())
    assert pool.open(source.info.href) is source
    assert pool.fingerprint(source.info.href) == source.info.fingerprint


def test_pool_is_bounded_and_closed_sources_still_finish(tmp_path: Path, make_raster: Any) -> None:
    pool = SourcePool((str(tmp_path),), max_open=2)
    sources = [pool.open(str(make_raster(tmp_path / f"{i}.tif", ramp() + i))) for i in range(4)]
    assert pool.open(sources[3].info.href) is sources[3]
    assert pool.open(sources[0].info.href) is not sources[0]
    for index, source in enumerate(sources):
        assert read_all(source)[0][0, 0, 0] == index
    pool.close()


def test_fingerprint_is_looked_up_only_now_and_then(tmp_path: Path, make_raster: Any) -> None:
    pool = SourcePool((str(tmp_path),), recheck=3600.0)
    path = make_raster(tmp_path / "a.tif", ramp())
    first = pool.fingerprint(str(path))
    os.utime(path, ns=(1, 1))
    assert pool.fingerprint(str(path)) == first
    pool.forget(str(path))
    assert pool.fingerprint(str(path)) != first
    pool.close()


def test_different_files_of_equal_size_and_time_differ(
    tmp_path: Path, pool: SourcePool, make_raster: Any
) -> None:
    paths = [make_raster(tmp_path / f"{name}.tif", ramp() + offset) for name, offset in (("a", 0), ("b", 7))]
    for path in paths:
        os.utime(path, ns=(10**18, 10**18))
    sources = [pool.open(str(path)) for path in paths]
    assert sources[0].info.fingerprint != sources[1].info.fingerprint
    assert [int(read_all(source)[0][0, 0, 0]) for source in sources] == [0, 7]


def test_a_replaced_file_is_opened_anew(tmp_path: Path, pool: SourcePool, make_raster: Any) -> None:
    path = make_raster(tmp_path / "a.tif", ramp())
    old = pool.open(str(path))
    assert read_all(old)[0][0, 0, 0] == 0
    other = make_raster(tmp_path / "b.tif", ramp() + 1)
    other.replace(path)
    new = pool.open(str(path))
    assert new.info.fingerprint != old.info.fingerprint
    assert read_all(new)[0][0, 0, 0] == 1


def test_old_and_new_pixels_never_mix(tmp_path: Path, make_raster: Any) -> None:
    pool = SourcePool((str(tmp_path),), recheck=3600.0)
    path = make_raster(tmp_path / "a.tif", np.zeros((600, 600), np.uint8))
    source = pool.open(str(path))
    source.read(0, (0,), Window(0, 0, 100, 100))
    new = make_raster(tmp_path / "b.tif", np.ones((600, 600), np.uint8))
    # Of the same size, and maybe written within the same tick of the file system's clock.
    later = path.stat().st_mtime_ns + 10**9
    os.utime(new, ns=(later, later))
    new.replace(path)
    with pytest.raises(SourceChanged, match=r"a\.tif has changed"):
        source.read(0, (0,), Window(0, 0, 600, 600))
    # Although its next look-up was an hour away, the pool has noticed.
    assert read_all(pool.open(str(path)))[0].all()
    pool.close()


def test_a_file_deleted_while_open(tmp_path: Path, pool: SourcePool, make_raster: Any) -> None:
    path = make_raster(tmp_path / "a.tif", ramp(600, 600))
    source = pool.open(str(path))
    path.unlink()
    with pytest.raises(SourceNotFound):
        read_all(source)
    with pytest.raises(SourceNotFound):
        pool.open(str(path))


def test_failures_are_not_remembered(tmp_path: Path, make_raster: Any) -> None:
    pool = SourcePool((str(tmp_path),), recheck=3600.0)
    path = tmp_path / "a.tif"
    with pytest.raises(SourceNotFound):
        pool.open(str(path))
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(SourceUnreadable):
        pool.open(str(path))
    make_raster(path, ramp())
    assert pool.open(str(path)).info.width == 60
    pool.close()


def test_many_threads_read_the_same_pixels(tmp_path: Path, make_raster: Any) -> None:
    rng = np.random.default_rng(1)
    data = rng.integers(0, 60000, (3, 700, 800)).astype(np.uint16)
    options = ("TILED=YES", "BLOCKXSIZE=64", "BLOCKYSIZE=64", "COMPRESS=DEFLATE")
    path = make_raster(tmp_path / "a.tif", data, options=options)
    pool = SourcePool((str(tmp_path),), cache=BlockCache(Budget(1 << 20)))
    failures: list[object] = []
    until = time.monotonic() + 0.6

    def work(seed: int) -> None:
        mine = np.random.default_rng(seed)
        try:
            while time.monotonic() < until:
                x, y = int(mine.integers(0, 600)), int(mine.integers(0, 500))
                bands = tuple(int(b) for b in mine.permutation(3)[: mine.integers(1, 4)])
                read, _ = pool.open(str(path)).read(0, bands, Window(x, y, 200, 200))
                if not np.array_equal(read, data[list(bands), y : y + 200, x : x + 200]):
                    failures.append((bands, x, y))
        except GeoloomError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    pool.close()
