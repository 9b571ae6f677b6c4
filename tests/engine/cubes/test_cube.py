"""Slices of netCDF files and Zarr stores hold what xarray finds in them, at the place where it lies."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoloom.errors import DemandError, SourceChanged, SourceNotGeoreferenced, SourceUnreadable
from geoloom.grid import Tile
from geoloom_engine.readers import Source, SourcePool, Window
from geoloom_engine.warp import demand, warp

EAST = {"units": "degrees_east"}
STEPS = ["2020-01-16T12:00:00Z", "2020-02-15T00:00:00Z", "2020-03-16T12:00:00Z"]

KINDS: dict[str, dict[str, Any]] = {
    "a.nc": {"encoding": {"sst": {"chunksizes": (1, 1, 50, 70), "zlib": True, "shuffle": True}}},
    "plain.nc": {},
    "times together.nc": {"encoding": {"sst": {"chunksizes": (3, 2, 64, 64), "zlib": True}}},
    "a.nc3": {},
    "records.nc3": {"unlimited_dims": ["time"], "format": "NETCDF3_64BIT"},
    "v2.zarr": {"zarr_format": 2, "consolidated": True, "encoding": {"sst": {"chunks": (1, 1, 60, 80)}}},
    "v2 loose.zarr": {"zarr_format": 2, "consolidated": False},
    "v3.zarr": {"zarr_format": 3, "consolidated": False, "encoding": {"sst": {"chunks": (1, 2, 60, 80)}}},
    "shards.zarr": {
        "zarr_format": 3,
        "encoding": {"sst": {"chunks": (1, 1, 45, 90), "shards": (1, 2, 90, 180)}},
    },
}


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory, make_ocean: Any, save: Any) -> Any:
    folder = tmp_path_factory.mktemp("cubes")
    pool = SourcePool((str(folder),))
    made = make_ocean()
    opened = {
        name: pool.open(f"{save(folder / name, made, **how)}#depth=50&time={STEPS[1]}&variable=sst")
        for name, how in KINDS.items()
    }
    yield opened, made.sst.isel(time=1, depth=1).values
    pool.close()


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_window_of_any_kind(slices: Any, name: str, data: st.DataObject) -> None:
    source, values = slices[0][name], slices[1]
    x, y = data.draw(st.integers(0, 359)), data.draw(st.integers(0, 179))
    window = Window(x, y, data.draw(st.integers(1, 360 - x)), data.draw(st.integers(1, 180 - y)))
    pixels, valid = source.read(0, (0,), window)
    expected = values[y : y + window.height, x : x + window.width]
    assert pixels.dtype == np.float32
    assert np.array_equal(valid[0], np.isfinite(expected))
    assert np.array_equal(pixels[0], np.nan_to_num(expected))


def test_a_slice_says_what_it_holds(slices: Any) -> None:
    for source in slices[0].values():
        info = source.info
        assert (info.width, info.height, info.crs, info.dtype) == (360, 180, "EPSG:4326", "float32")
        assert info.transform == pytest.approx((-180, 1, 0, -90, 0, 1))
        assert tuple(info.bounds) == (-180, -90, 180, 90)
        (band,) = info.bands
        assert (band.name, band.unit, band.description) == ("sst", "degC", "Temperature")
        assert (band.scale, band.offset, band.resampling) == (1.0, 0.0, "bilinear")
    assert {source.info.driver for source in slices[0].values()} == {"netCDF", "Zarr"}


def packed(made: xarray.Dataset, dtype: str, fill: int) -> dict[str, Any]:
    return {"sst": {"dtype": dtype, "scale_factor": 0.01, "add_offset": 20.0, "_FillValue": fill}}


@pytest.mark.parametrize("ending", ["nc", "nc3", "zarr"])
def test_packed_integers_keep_scale_and_offset(
    tmp_path: Path, pool: SourcePool, make_ocean: Any, save: Any, whole: Any, ending: str
) -> None:
    made = make_ocean()
    path = save(tmp_path / f"a.{ending}", made, encoding=packed(made, "int16", -32768))
    engine = {"nc": "h5netcdf", "nc3": "scipy", "zarr": "zarr"}[ending]
    with xarray.open_dataset(path, engine=engine, mask_and_scale=False) as raw:
        stored = raw.sst.isel(time=0, depth=0).values
    source = pool.open(f"{path}#variable=sst&time={STEPS[0]}&depth=0.5")
    data, valid = whole(source)
    band = source.info.bands[0]
    assert (band.dtype, band.nodata, band.scale, band.offset) == ("int16", -32768, 0.01, 20.0)
    assert np.array_equal(valid, stored != -32768)
    assert np.array_equal(data, np.where(valid, stored, 0))
    expected = made.sst.isel(time=0, depth=0).values
    assert np.allclose(data[valid] * band.scale + band.offset, expected[valid], atol=0.006)


def test_all_ways_to_say_missing(tmp_path: Path, pool: SourcePool, save: Any, whole: Any) -> None:
    values = np.arange(12, dtype=np.int16).reshape(3, 4)
    made = xarray.Dataset(
        {
            "a": (("y", "x"), values, {"missing_value": np.int16(3), "valid_range": np.int16([1, 9])}),
            "b": (("y", "x"), values, {"valid_min": np.int16(5)}),
            "c": (("y", "x"), values, {"valid_max": np.int16(5), "missing_value": np.int16([0, 2])}),
            "d": (("y", "x"), values.astype("f4"), {"missing_value": np.float32(7)}),
        },
        coords={"y": ("y", [2.0, 1, 0], {"units": "degrees_north"}), "x": ("x", [0.0, 1, 2, 3], EAST)},
    )
    path = save(tmp_path / "a.nc", made)
    expected = {
        "a": (values >= 1) & (values <= 9) & (values != 3),
        "b": values >= 5,
        "c": (values <= 5) & (values != 0) & (values != 2),
        "d": values != 7,
    }
    for name, valid in expected.items():
        assert np.array_equal(whole(pool.open(f"{path}#variable={name}"))[1], valid), name


def test_unsigned_bytes_and_bytes_of_the_other_order(
    tmp_path: Path, pool: SourcePool, save: Any, whole: Any
) -> None:
    values = np.arange(200, 212).reshape(3, 4)
    coords = {"y": ("y", [2.0, 1, 0], {"units": "degrees_north"}), "x": ("x", [0.0, 1, 2, 3], EAST)}
    made = xarray.Dataset(
        {
            "unsigned": (("y", "x"), values.astype("i1"), {"_Unsigned": "true", "_FillValue": np.int8(-51)}),
            "swapped": (("y", "x"), values.astype(">i4")),
        },
        coords=coords,
    )
    made.unsigned.encoding["_FillValue"] = made.unsigned.attrs.pop("_FillValue")
    path = save(tmp_path / "a.nc", made)
    data, valid = whole(pool.open(f"{path}#variable=unsigned"))
    assert data.dtype == np.uint8
    assert np.array_equal(valid, values != 205)
    assert np.array_equal(data[valid], values[valid])
    data, _ = whole(pool.open(f"{path}#variable=swapped"))
    assert (data.dtype, data.dtype.isnative) == (np.int32, True)
    assert np.array_equal(data, values)


@pytest.mark.parametrize("east", [False, True])
@pytest.mark.parametrize("north_up", [False, True])
def test_pixels_lie_at_their_longitude_and_latitude(
    tmp_path: Path, pool: SourcePool, make_ocean: Any, save: Any, east: bool, north_up: bool
) -> None:
    made = make_ocean(east=east, north_up=north_up)
    source = pool.open(f"{save(tmp_path / 'a.nc', made)}#variable=sst&time={STEPS[2]}&depth=0.5")
    assert tuple(source.info.bounds) == (-180, -90, 180, 90)
    field = made.sst.isel(time=2, depth=0)
    for z, x, y in ((2, 0, 1), (3, 7, 3), (3, 0, 2), (3, 4, 5)):
        grid = Tile(z, x, y).grid()
        block = warp(source, grid, (0,), "nearest")
        lattice = grid.lattice
        cols, rows = np.arange(grid.cols)[::37], np.arange(grid.rows)[::31]
        lon = (lattice.x0 + (grid.col + cols + 0.5) * lattice.dx) / 20037508.342789244 * 180
        north = (lattice.y0 - (grid.row + rows + 0.5) * lattice.dy) / 6378137
        lat = np.degrees(np.arctan(np.sinh(north)))
        expected = field.sel(
            lat=xarray.DataArray(lat, dims="r"),
            lon=xarray.DataArray(lon % 360 if east else lon, dims="c"),
            method="nearest",
        ).values
        got = np.where(block.valid, block.data, np.nan)[0][np.ix_(rows, cols)]
        assert np.array_equal(got, expected, equal_nan=True)


def test_the_antimeridian_is_no_seam(tmp_path: Path, pool: SourcePool, make_ocean: Any, save: Any) -> None:
    # The seam of longitudes from 0 to 360 lies in Greenwich, and that of the map at ±180.
    made = make_ocean(east=True)
    made["sst"] = made.sst * 0 + np.cos(np.radians(made.lon)) * 10
    made["sst"] = made.sst.astype("f4").transpose("time", "depth", "lat", "lon").fillna(10.0)
    source = pool.open(f"{save(tmp_path / 'a.nc', made)}#variable=sst&time={STEPS[2]}&depth=0.5")
    for x in (0, 1, 3):
        grid = Tile(2, x, 1).grid().expand(8)
        block = warp(source, grid, (0,), "bilinear")
        assert block.valid.all()


def test_coarse_levels_are_means(
    tmp_path: Path, pool: SourcePool, make_ocean: Any, save: Any, whole: Any
) -> None:
    made = make_ocean(rows=720, cols=1440, depths=1)
    path = save(tmp_path / "a.nc", made, encoding={"sst": {"chunksizes": (1, 1, 180, 200)}})
    source = pool.open(f"{path}#variable=sst&time={STEPS[0]}")
    field = made.sst.isel(time=0, depth=0)
    assert source.info.levels == ((1440, 720), (720, 360), (360, 180), (180, 90))
    assert source.info.built
    for level, factor in ((1, 2), (2, 4), (3, 8)):
        data, valid = whole(source, level)
        coarse = field.coarsen(lat=factor, lon=factor)
        enough = coarse.count().values * 2 >= factor**2
        assert np.array_equal(valid, enough)
        assert np.allclose(data[valid], coarse.mean().values[valid], atol=1e-5)
        assert source.info.behind(level) == factor**2


def test_low_zooms_of_a_large_slice_are_refused_before_a_pixel_is_read(
    tmp_path: Path, pool: SourcePool
) -> None:
    path = tmp_path / "large.nc"
    with h5py.File(path, "w") as file:
        for name, size, first, unit in (("lat", 18000, -90, "north"), ("lon", 36000, -180, "east")):
            made = file.create_dataset(name, data=first + 0.01 * (np.arange(size) + 0.5))
            made.make_scale(name)
            made.attrs["units"] = f"degrees_{unit}"
        # No chunk is written, so the file stays small.
        v = file.create_dataset("v", (18000, 36000), "i2", chunks=(1000, 1000), fillvalue=7)
        v.dims[0].attach_scale(file["lat"])
        v.dims[1].attach_scale(file["lon"])
    info = pool.open(f"{path}#variable=v").info
    with pytest.raises(DemandError, match=r"620.4 million source pixels") as told:
        demand(info, Tile(0, 0, 0).grid())
    assert "Zoom in to level 3" in (told.value.hint or "")
    plan = demand(info, Tile(3, 3, 3).grid())
    assert plan.level is not None
    assert plan.level > 2
    assert demand(info, Tile(7, 60, 60).grid()).pixels < 1e6


def test_a_free_dimension_becomes_the_bands(
    tmp_path: Path, pool: SourcePool, make_ocean: Any, save: Any
) -> None:
    made = make_ocean(rows=18, cols=36, depths=3)
    source = pool.open(f"{save(tmp_path / 'a.nc', made)}#variable=sst&time={STEPS[1]}")
    assert [band.name for band in source.info.bands] == ["depth_0.5", "depth_25.25", "depth_50"]
    data, valid = source.read(0, (2, 0), Window(4, 10, 20, 8))
    expected = made.sst.isel(time=1, depth=[2, 0], lat=slice(10, 18), lon=slice(4, 24)).values
    assert np.array_equal(np.where(valid, data, np.nan), expected, equal_nan=True)


def test_dimensions_in_any_order(
    tmp_path: Path, pool: SourcePool, make_ocean: Any, save: Any, whole: Any
) -> None:
    made = make_ocean(rows=18, cols=36).transpose("lon", "time", "lat", "depth")
    source = pool.open(f"{save(tmp_path / 'a.nc', made)}#variable=sst&time={STEPS[1]}&depth=50")
    data, valid = whole(source)
    expected = made.sst.isel(time=1, depth=1).transpose("lat", "lon").values
    assert np.array_equal(np.where(valid, data, np.nan), expected, equal_nan=True)


def test_chunks_larger_than_a_block_are_decoded_once(
    tmp_path: Path, pool: SourcePool, save: Any, whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.arange(2400 * 2000, dtype=np.int32).reshape(2400, 2000)
    coords = {"lat": np.linspace(10, 20, 2400), "lon": np.linspace(0, 8, 2000)}
    made = xarray.Dataset({"v": (("lat", "lon"), values)}, coords=coords)
    path = save(tmp_path / "a.nc", made, encoding={"v": {"chunksizes": (2400, 2000), "zlib": True}})
    source = pool.open(f"{path}#variable=v")
    reads = []
    file = source._contents.file  # type: ignore[attr-defined]
    read = file.read
    monkeypatch.setattr(file, "read", lambda *a: (reads.append(a), read(*a))[1])
    for x, y in ((0, 0), (1500, 2000), (1000, 1000)):
        data, _ = source.read(0, (0,), Window(x, y, 400, 300))
        assert np.array_equal(data[0], values[y : y + 300, x : x + 400])
    assert len(reads) == 1
    assert np.array_equal(whole(source)[0], values)


def test_flags_are_read_as_classes(tmp_path: Path, pool: SourcePool, save: Any, whole: Any) -> None:
    values = np.tile(np.arange(3, dtype=np.int8), (512, 171))[:, :512]
    attrs = {"flag_values": np.int8([0, 1, 2]), "flag_meanings": "open ice land"}
    coords = {"lat": np.linspace(-5, 5, 512), "lon": np.linspace(-5, 5, 512)}
    made = xarray.Dataset({"v": (("lat", "lon"), values, attrs)}, coords=coords)
    source = pool.open(f"{save(tmp_path / 'a.nc', made)}#variable=v")
    assert source.info.bands[0].categories == ("open", "ice", "land")
    assert source.info.resampling == "nearest"
    assert np.array_equal(whole(source, 1)[0], values[1::2, 1::2])


def test_many_threads_read_the_same(slices: Any) -> None:
    for source in slices[0].values():
        source._cache._cache.clear()
    wrong: list[str] = []

    def look(seed: int) -> None:
        random = np.random.default_rng(seed)
        for _ in range(20):
            name = list(KINDS)[random.integers(len(KINDS))]
            x, y = random.integers(0, 300), random.integers(0, 150)
            pixels, _ = slices[0][name].read(0, (0,), Window(x, y, 60, 30))
            if not np.array_equal(pixels[0], np.nan_to_num(slices[1][y : y + 30, x : x + 60])):
                wrong.append(name)

    threads = [threading.Thread(target=look, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert not any(thread.is_alive() for thread in threads)


def test_a_file_that_is_written_anew_is_noticed(
    tmp_path: Path, pool: SourcePool, make_ocean: Any, save: Any, whole: Any
) -> None:
    made = make_ocean(rows=18, cols=36)
    address = f"{save(tmp_path / 'a.nc', made)}#variable=sst&time={STEPS[1]}&depth=50"
    source = pool.open(address)
    save(tmp_path / "b.nc", made + 100).replace(tmp_path / "a.nc")
    with pytest.raises(SourceChanged, match=r"a\.nc has changed"):
        whole(source)
    data, valid = whole(pool.open(address))
    expected = made.sst.isel(time=1, depth=1).values + 100
    assert np.array_equal(np.where(valid, data, np.nan), expected, equal_nan=True)


REFUSED = {
    "no such variable": ("#variable=salt", SourceUnreadable, "no variable 'salt'.*It has: sst"),
    "no time": ("#variable=sst&depth=50", SourceUnreadable, "of time, sst has 3, from 2020-01-16"),
    "no such time": (f"#variable=sst&depth=50&time={STEPS[0][:10]}", SourceUnreadable, "no time 2020-01-16"),
    "no such depth": (
        f"#variable=sst&depth=7&time={STEPS[0]}",
        SourceUnreadable,
        "no depth 7.*2, from 0.5 to 50",
    ),
    "no such dimension": ("#variable=sst&run=7", SourceUnreadable, "no dimension 'run'.*time, depth"),
    "a coordinate": ("#variable=lat", SourceNotGeoreferenced, "lat has no longitude and latitude"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_there_is_said_in_a_sentence(
    tmp_path: Path, pool: SourcePool, make_ocean: Any, save: Any, name: str
) -> None:
    part, error, said = REFUSED[name]
    path = save(tmp_path / "a.nc", make_ocean(rows=18, cols=36))
    with pytest.raises(error) as told:
        pool.open(f"{path}{part}")
    assert re.search(said, f"{told.value.message} {told.value.hint}")


def test_slices_share_one_open_file(tmp_path: Path, pool: SourcePool, make_ocean: Any, save: Any) -> None:
    path = save(tmp_path / "a.nc", make_ocean(rows=18, cols=36))
    opened: list[Source] = [pool.open(f"{path}#variable=sst&depth=50&time={step}") for step in STEPS]
    assert len({id(one._contents) for one in opened}) == 1  # type: ignore[attr-defined]
    assert len({one.info.fingerprint for one in opened}) == 3
