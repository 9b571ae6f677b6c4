"""Files that are damaged, lead elsewhere, lie on a server, or hold what has no place on a map."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import pickle
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyproj
import pytest
import xarray

from geoloom.errors import (
    SourceError,
    SourceNotFound,
    SourceNotGeoreferenced,
    SourceRefused,
    SourceUnreadable,
)
from geoloom_engine.readers import SourcePool, Window
from geoloom_engine.readers.zarr import CODECS

EAST, NORTH = {"units": "degrees_east"}, {"units": "degrees_north"}
ADDRESS = "#depth=50&time=2020-02-15T00:00:00Z&variable=sst"


def plane(x: Any, y: Any, name: str = "v", **attrs: Any) -> xarray.Dataset:
    """A variable over coordinates given as (values, attributes)."""
    values = np.arange(len(y[0]) * len(x[0]), dtype=np.float32).reshape(len(y[0]), len(x[0]))
    return xarray.Dataset({name: (("y", "x"), values, attrs)}, coords={"x": ("x", *x), "y": ("y", *y)})


def said(error: SourceError) -> str:
    return f"{error.message} {error.hint}"


# What has no place on a map.


def test_a_curvilinear_grid_is_refused_by_name(tmp_path: Path, pool: SourcePool, save: Any) -> None:
    lon, lat = np.meshgrid(np.linspace(0, 10, 12), np.linspace(40, 50, 9))
    made = xarray.Dataset(
        {"t": (("j", "i"), lon + lat)},
        coords={"nav_lon": (("j", "i"), lon, EAST), "nav_lat": (("j", "i"), lat, NORTH)},
    )
    with pytest.raises(SourceNotGeoreferenced) as told:
        pool.open(f"{save(tmp_path / 'a.nc', made)}#variable=t")
    assert "curvilinear grid: its coordinate nav_l" in told.value.message
    (entry,) = pool.describe(str(tmp_path / "a.nc"))["variables"]
    assert "curvilinear" in entry["problem"]


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (plane(([0.0, 1, 3, 4], EAST), ([0.0, 1, 2], NORTH)), "unevenly spaced x"),
        (plane(([0.0, np.nan, 2], EAST), ([0.0, 1, 2], NORTH)), "gaps in its coordinate x"),
        (plane(([5.0, 5, 5], EAST), ([0.0, 1, 2], NORTH)), "unevenly spaced x"),
        (plane(([5.0], EAST), ([0.0, 1, 2], NORTH)), "single x"),
        (plane(([0.0, 1, 2], {"units": "m"}), ([0.0, 1, 2], {"units": "m"})), "coordinate system"),
        (plane(([0.0, 1, 2], {}), ([0.0, 1, 2], {})), "coordinate system"),
        (
            xarray.Dataset({"v": (("row", "column"), np.zeros((3, 4)))}),
            "no longitude and latitude .* row, column",
        ),
        (xarray.Dataset({"v": (("y", "x"), np.zeros((3, 4)))}), "no coordinates of its dimensions x and y"),
        (
            xarray.Dataset(
                {"v": (("lat", "lon"), np.full((2, 2), "wet"))},
                coords={"lat": [0.0, 1], "lon": [0.0, 1]},
            ),
            "texts, not numbers",
        ),
    ],
)
@pytest.mark.parametrize("ending", ["nc", "zarr"])
def test_what_has_no_place_says_why(
    tmp_path: Path, pool: SourcePool, save: Any, made: xarray.Dataset, reason: str, ending: str
) -> None:
    path = save(tmp_path / f"a.{ending}", made)
    with pytest.raises(SourceNotGeoreferenced, match=reason):
        pool.open(f"{path}#variable=v")
    (entry,) = pool.describe(str(path))["variables"]
    assert re.search(reason, entry["problem"])


# Where it lies.


def test_float32_coordinates_are_the_decimals_they_were_written_as(
    tmp_path: Path, pool: SourcePool, save: Any
) -> None:
    lon = (np.arange(3600) * 0.1 + 0.05).astype("f4")
    lat = (np.arange(1800) * 0.1 - 89.95).astype("f4")
    made = xarray.Dataset(
        {"v": (("lat", "lon"), np.zeros((1800, 3600), "i1"))},
        coords={"lat": ("lat", lat, NORTH), "lon": ("lon", lon, EAST)},
    )
    info = pool.open(f"{save(tmp_path / 'a.nc', made)}#variable=v").info
    assert info.transform == pytest.approx((0, 0.1, 0, -90, 0, 0.1), abs=1e-6)
    assert info.transform[1] * 3600 == 360.0
    assert tuple(info.bounds) == (-180, pytest.approx(-90, abs=1e-5), 180, pytest.approx(90, abs=1e-5))


def test_longitudes_that_jump_at_the_date_line_go_on(tmp_path: Path, pool: SourcePool, save: Any) -> None:
    made = plane(([178.5, 179.5, -179.5, -178.5], EAST), ([0.0, 1, 2], NORTH))
    info = pool.open(f"{save(tmp_path / 'a.nc', made)}#variable=v").info
    assert (info.bounds.west, info.bounds.east) == (178, -178)


def test_a_lone_coordinate_has_its_size_from_its_bounds(tmp_path: Path, pool: SourcePool, save: Any) -> None:
    made = plane(([5.0], {**EAST, "bounds": "x_bnds"}), ([0.0, 1, 2], NORTH))
    made["x_bnds"] = (("x", "nv"), [[4.5, 5.5]])
    info = pool.open(f"{save(tmp_path / 'a.nc', made)}#variable=v").info
    assert info.transform[:2] == (4.5, 1.0)


@pytest.mark.parametrize("how", ["wkt", "cf", "gdal"])
def test_projected_grids(tmp_path: Path, pool: SourcePool, save: Any, how: str) -> None:
    crs = pyproj.CRS.from_epsg(32633)
    km = {"units": "km", "standard_name": "projection_x_coordinate"}
    made = plane(
        ([500.5, 501.5, 502.5], km),
        ([5000.5, 4999.5], {**km, "standard_name": "projection_y_coordinate"}),
        grid_mapping="utm",
    )
    attributes = crs.to_cf()
    if how == "wkt":
        attributes = {"spatial_ref": crs.to_wkt()}
    elif how == "cf":
        del attributes["crs_wkt"]
    if how == "gdal":
        made = made.drop_vars(["x", "y"])
        attributes["GeoTransform"] = "500000 1000 0 5001000 0 -1000"
    made["utm"] = ((), 0, attributes)
    info = pool.open(f"{save(tmp_path / 'a.nc', made)}#variable=v").info
    assert info.transform == pytest.approx((500000, 1000, 0, 5001000, 0, -1000))
    assert how == "cf" or info.crs == "EPSG:32633"
    assert info.bounds.west == pytest.approx(15.0, abs=1e-3)


def test_groups_have_their_own_dimensions(tmp_path: Path, pool: SourcePool, whole: Any) -> None:
    path = tmp_path / "a.nc"
    fine, coarse = plane(([0.0, 1], EAST), ([0.0, 1], NORTH)), plane(([0.0, 2, 4], EAST), ([0.0, 2], NORTH))
    fine.to_netcdf(path, engine="h5netcdf", group="fine")
    coarse.to_netcdf(path, engine="h5netcdf", group="coarse", mode="a")
    found = pool.describe(str(path))
    assert {one["name"]: one["shape"] for one in found["variables"]} == {"fine/v": [2, 2], "coarse/v": [2, 3]}
    assert np.array_equal(whole(pool.open(f"{path}#variable=coarse/v"))[0], coarse.v.values)


def test_what_a_file_holds(tmp_path: Path, pool: SourcePool, make_ocean: Any, save: Any) -> None:
    path = save(tmp_path / "a.nc", make_ocean(rows=18, cols=36))
    found = pool.describe(str(path))
    json.dumps(found)
    (one,) = found["variables"]
    assert (one["name"], one["dtype"], one["unit"], one["problem"]) == ("sst", "float32", "degC", None)
    assert one["dimensions"] == ["time", "depth", "lat", "lon"]
    assert found["dimensions"]["depth"]["values"] == ["0.5", "50"]
    assert found["dimensions"]["time"]["kind"] == "time"
    assert found["dimensions"]["time"]["values"][1] == "2020-02-15T00:00:00Z"
    # What is kept of a file's fingerprint tells of its slices too.
    assert pool.fingerprint(f"{path}{ADDRESS}")[:10] == found["fingerprint"][:10]
    steps = pool.time_steps(f"{path}#variable=sst&depth=50")
    assert steps[1] == ("2020-02-15T00:00:00Z", f"{path}{ADDRESS}")
    assert pool.open(steps[1][1]).info.width == 36
    with pytest.raises(SourceUnreadable, match="one variable"):
        pool.time_steps(str(path))


def test_a_plain_geotiff_is_described_as_before(tmp_path: Path, pool: SourcePool) -> None:
    (tmp_path / "a#b.tif").write_bytes(b"no image")
    with pytest.raises(SourceUnreadable, match="not a GeoTIFF"):
        pool.describe(str(tmp_path / "a#b.tif"))
    with pytest.raises(SourceUnreadable, match="no netCDF or HDF5 file"):
        pool.open(f"{tmp_path / 'a#b.tif'}#variable=v")
    with pytest.raises(SourceUnreadable, match="no netCDF file or Zarr store"):
        pool.time_steps(str(tmp_path / "a#b.tif"), "v")


# Damaged files.


@pytest.mark.parametrize("kind", ["a.nc", "a.nc3"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.6, 0.99])
def test_truncated_files(
    tmp_path: Path, pool: SourcePool, make_ocean: Any, save: Any, whole: Any, kind: str, share: float
) -> None:
    path = save(tmp_path / kind, make_ocean(rows=90, cols=180))
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(SourceUnreadable, match=r"damaged or incomplete|no netCDF"):
        whole(pool.open(f"{path}#depth=50&time=2020-03-16T12:00:00Z&variable=sst"))


@pytest.mark.parametrize("kind", ["a.nc", "a.nc3"])
def test_bytes_turned_over_give_pixels_or_a_sentence(
    tmp_path: Path, pool: SourcePool, make_ocean: Any, save: Any, whole: Any, kind: str
) -> None:
    content = bytearray(save(tmp_path / kind, make_ocean(rows=9, cols=18)).read_bytes())
    random = np.random.default_rng(3)
    path = tmp_path / f"bad {kind}"
    refused = 0
    for _ in range(80):
        bad = content.copy()
        for place in random.integers(0, min(len(bad), 6000), 3):
            bad[place] ^= 1 << int(random.integers(8))
        path.write_bytes(bad)
        try:
            whole(pool.open(f"{path}{ADDRESS}"))
        except SourceError:
            refused += 1
    assert refused > 0


@pytest.mark.parametrize("version", [2, 3])
def test_damaged_stores(
    tmp_path: Path, pool: SourcePool, make_ocean: Any, save: Any, whole: Any, version: int
) -> None:
    path = save(tmp_path / "a.zarr", make_ocean(rows=18, cols=36), zarr_format=version, consolidated=False)
    chunk = next(p for p in (path / "sst").rglob("*") if p.is_file() and p.name[0].isdigit())
    chunk.write_bytes(chunk.read_bytes()[: chunk.stat().st_size // 2])
    source = pool.open(f"{path}{ADDRESS}")
    with pytest.raises(SourceUnreadable, match="damaged"):
        whole(source)
    metadata = path / "sst" / ("zarr.json" if version == 3 else ".zarray")
    metadata.write_text("{")
    with pytest.raises(SourceUnreadable, match="damaged"):
        pool.open(f"{path}{ADDRESS}")


def test_missing_chunks_are_gaps(
    tmp_path: Path, pool: SourcePool, make_ocean: Any, save: Any, whole: Any
) -> None:
    path = save(tmp_path / "a.zarr", make_ocean(rows=18, cols=36), zarr_format=2)
    for chunk in (path / "sst").glob("[0-9]*"):
        chunk.unlink()
    assert not whole(pool.open(f"{path}{ADDRESS}"))[1].any()


def test_a_store_that_grows_is_noticed(tmp_path: Path, pool: SourcePool, make_ocean: Any, save: Any) -> None:
    made = make_ocean(rows=18, cols=36)
    path = save(tmp_path / "a.zarr", made.isel(time=[0, 1]), zarr_format=3, consolidated=False)
    assert len(pool.time_steps(str(path), "sst")) == 2
    before = pool.fingerprint(f"{path}{ADDRESS}")
    made.isel(time=[2]).to_zarr(path, append_dim="time", consolidated=False)
    assert pool.fingerprint(f"{path}{ADDRESS}") != before
    assert len(pool.time_steps(str(path), "sst")) == 3


@pytest.mark.parametrize("version", [2, 3])
def test_chunks_are_not_listed_as_they_may_be_a_million(
    tmp_path: Path,
    pool: SourcePool,
    make_ocean: Any,
    save: Any,
    whole: Any,
    monkeypatch: pytest.MonkeyPatch,
    version: int,
) -> None:
    path = save(tmp_path / "a.zarr", make_ocean(rows=18, cols=36), zarr_format=version, consolidated=False)
    listed: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: (listed.append(str(folder)), scandir(folder))[1])
    whole(pool.open(f"{path}{ADDRESS}"))
    assert set(listed) == {str(path)}


class Payload:
    """What runs when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["v", "time"])
def test_pickles_are_never_opened(
    tmp_path: Path, pool: SourcePool, make_ocean: Any, save: Any, name: str
) -> None:
    path = save(tmp_path / "a.zarr", make_ocean(rows=18, cols=36), zarr_format=2, consolidated=False)
    shutil.rmtree(path / name, ignore_errors=True)
    (path / name).mkdir()
    metadata = {
        "zarr_format": 2,
        "shape": [3],
        "chunks": [3],
        "dtype": "<i4",
        "fill_value": None,
        "order": "C",
        "compressor": {"id": "pickle", "protocol": 5},
        "filters": None,
    }
    (path / name / ".zarray").write_text(json.dumps(metadata))
    (path / name / ".zattrs").write_text(json.dumps({"_ARRAY_DIMENSIONS": ["time"]}))
    (path / name / "0").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    # Newer versions of zarr-python refuse it before we do.
    with pytest.raises((SourceRefused, SourceUnreadable)):
        pool.open(f"{path}{ADDRESS}")
    with pytest.raises((SourceRefused, SourceUnreadable)):
        pool.describe(str(path))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("version", "encoding", "named"),
    [(2, {}, "blosc"), (3, {}, "zstd"), (3, {"chunks": (1, 1, 9, 9), "shards": (1, 1, 18, 36)}, "zstd")],
)
def test_codecs_that_are_not_known_to_be_harmless_are_refused(
    tmp_path: Path,
    pool: SourcePool,
    make_ocean: Any,
    save: Any,
    monkeypatch: pytest.MonkeyPatch,
    version: int,
    encoding: dict[str, Any],
    named: str,
) -> None:
    made = make_ocean(rows=18, cols=36)
    path = save(tmp_path / "a.zarr", made, zarr_format=version, encoding={"sst": encoding})
    pool.open(f"{path}{ADDRESS}")
    monkeypatch.setattr("geoloom_engine.readers.zarr.CODECS", CODECS - {"zstd", "blosc"})
    with pytest.raises(SourceRefused, match=f"coded with '{named}'"):
        SourcePool((str(tmp_path),)).open(f"{path}{ADDRESS}")


# Files that lead elsewhere.


@pytest.mark.parametrize("way", ["external", "virtual", "link", "group"])
def test_hdf5_does_not_lead_to_other_files(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, pool: SourcePool, way: str
) -> None:
    secret = tmp_path_factory.mktemp("secret")
    (secret / "raw").write_bytes(bytes(range(64)))
    with h5py.File(secret / "other.h5", "w") as other:
        other["v"] = np.arange(64, dtype="u1").reshape(8, 8)
    path = tmp_path / "a.nc"
    with h5py.File(path, "w") as file:
        inner = file.create_group("deep") if way == "group" else file
        if way == "external":
            file.create_dataset("v", (8, 8), "u1", external=[(str(secret / "raw"), 0, 64)])
        elif way == "virtual":
            layout = h5py.VirtualLayout((8, 8), "u1")
            layout[:] = h5py.VirtualSource(str(secret / "other.h5"), "v", (8, 8))
            file.create_virtual_dataset("v", layout)
        else:
            inner["v"] = h5py.ExternalLink(str(secret / "other.h5"), "v")
    with pytest.raises(SourceRefused, match="in another file"):
        pool.open(f"{path}#variable=v")


def test_links_do_not_lead_out_of_the_allowed_folders(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    pool: SourcePool,
    make_ocean: Any,
    save: Any,
    whole: Any,
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    made = make_ocean(rows=18, cols=36)
    save(outside / "a.nc", made)
    (tmp_path / "a.nc").symlink_to(outside / "a.nc")
    save(outside / "a.zarr", made, zarr_format=2)
    (tmp_path / "b.zarr").symlink_to(outside / "a.zarr")
    for name in ("a.nc", "b.zarr"):
        with pytest.raises(SourceRefused, match="outside the folders"):
            pool.open(f"{tmp_path / name}{ADDRESS}")
    path = save(tmp_path / "a.zarr", made, zarr_format=2)
    for chunk in (path / "sst").glob("[0-9]*"):
        chunk.unlink()
        chunk.symlink_to(outside / "a.zarr" / "sst" / chunk.name)
    with pytest.raises(SourceRefused, match="leads outside"):
        whole(pool.open(f"{path}{ADDRESS}"))


@pytest.mark.parametrize("name", ["a", "a.zarr"])
def test_a_folder_without_metadata_is_no_store(tmp_path: Path, pool: SourcePool, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(SourceNotFound, match=r"folder"):
        pool.open(str(tmp_path / name))


# On a server.


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, in ranges if asked; remembers what was asked for."""

    asked: list[str]

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.asked.append(self.path)
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        if found:
            first, last = int(found[1]), min(int(found[2]), len(content) - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            content = content[first : last + 1]
        else:
            self.send_response(200)
        self.send_header("ETag", f'"{path.stat().st_mtime_ns}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[[], tuple[str, list[str]]]]:
    asked: list[str] = []
    handler = type("Handler", (_Quiet,), {"asked": asked, "protocol_version": "HTTP/1.1"})
    made = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(tmp_path))
    )
    thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield lambda: (f"http://127.0.0.1:{made.server_port}", asked)
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("kind", "scheme"),
    [
        ("a.nc", "http"),
        ("a.nc3", "http"),
        ("v2.zarr", "http"),
        ("v3.zarr", "http"),
        ("a.nc", "s3"),
        ("v3.zarr", "s3"),
    ],
)
def test_remote_files(
    tmp_path: Path,
    make_ocean: Any,
    save: Any,
    whole: Any,
    server: Any,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    scheme: str,
) -> None:
    made = make_ocean()
    how: dict[str, Any] = {}
    if kind.endswith("zarr"):
        chunks = {"sst": {"chunks": (1, 1, 90, 120)}}
        how = {"zarr_format": int(kind[1]), "consolidated": True, "encoding": chunks}
    elif kind == "a.nc":
        how = {"encoding": {"sst": {"chunksizes": (1, 1, 90, 120), "zlib": True}}}
    (tmp_path / "store").mkdir()
    path = save(tmp_path / "store" / kind, made, **how)
    if kind == "a.nc3":
        path = path.rename(path.with_name("classic.nc"))
    url, asked = server()
    base = f"{url}/store" if scheme == "http" else "s3://store"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "nobody")
    monkeypatch.setenv("AWS_S3_ENDPOINT", url)
    pool = SourcePool((base,), recheck=0.0)
    with contextlib.closing(pool):
        href = f"{base}/{path.name}"
        assert [one["name"] for one in pool.describe(href)["variables"]] == ["sst"]
        source = pool.open(f"{href}{ADDRESS}")
        expected = made.sst.isel(time=1, depth=1).values
        data, valid = source.read(0, (0,), Window(100, 60, 90, 50))
        assert np.array_equal(data[0], np.nan_to_num(expected[60:110, 100:190]))
        assert not any("/sst/0" in one or "/sst/c/0" in one for one in asked)
        data, valid = whole(source)
        assert np.array_equal(np.where(valid, data, np.nan), expected, equal_nan=True)
        before = source.info.fingerprint
        for one in path.rglob("*") if path.is_dir() else [path]:
            os.utime(one, ns=(1, 2))
        assert pool.fingerprint(f"{href}{ADDRESS}") != before


@pytest.mark.parametrize("kind", ["a.nc", "b.zarr"])
def test_a_server_that_is_gone_is_said_to_be_gone(
    tmp_path: Path, make_ocean: Any, save: Any, whole: Any, server: Any, kind: str
) -> None:
    path = save(tmp_path / kind, make_ocean())
    url, _ = server()
    with contextlib.closing(SourcePool((url,), read_timeout=2.0, read_retries=0)) as pool:
        source = pool.open(f"{url}/{kind}{ADDRESS}")
        for one in [path] if path.is_file() else list((path / "sst").rglob("*")):
            if one.is_file():
                one.unlink()
        if kind == "a.nc":
            with pytest.raises(SourceNotFound, match="404"):
                whole(source)
        else:
            # What a store does not hold is a gap.
            assert not whole(source)[1].any()


def test_a_server_that_fails_on_a_chunk_is_no_gap(
    tmp_path: Path, make_ocean: Any, save: Any, whole: Any, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "b.zarr", make_ocean())
    url, _ = server()
    with contextlib.closing(SourcePool((url,))) as pool:
        source = pool.open(f"{url}/b.zarr{ADDRESS}")

        def busy(*_: Any) -> bytes:
            raise SourceUnreadable("b.zarr cannot be read: its server answered 503.")

        monkeypatch.setattr(pool._remote, "content", busy)
        with pytest.raises(SourceUnreadable, match="503"):
            whole(source)


def test_a_remote_store_that_is_not_there(server: Any) -> None:
    url, _ = server()
    with contextlib.closing(SourcePool((url,))) as pool, pytest.raises(SourceNotFound, match="no Zarr store"):
        pool.open(f"{url}/a.zarr#variable=v")
