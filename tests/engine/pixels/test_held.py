"""GDAL reads the files that were checked, whatever happens to their paths."""

from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path

import pytest
from osgeo import gdal

from geoloom.errors import SourceNotFound, SourceRefused
from geoloom_engine.readers import SourcePool
from geoloom_engine.readers.access import Access, Place
from geoloom_engine.readers.held import HeldFiles

NUMBERED = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files have no names here")


def write(path: Path, value: int) -> Path:
    made = gdal.GetDriverByName("GTiff").Create(str(path), 8, 8, 1, gdal.GDT_Byte)
    made.SetGeoTransform((15, 0.1, 0, 45, 0, -0.1))
    made.SetProjection("EPSG:4326")
    made.GetRasterBand(1).Fill(value)
    return path


def value_of(files: HeldFiles) -> int:
    with files.names() as (name, siblings):
        handle = gdal.OpenEx(name, gdal.OF_RASTER, allowed_drivers=["GTiff"], sibling_files=siblings)
        return int(handle.GetRasterBand(1).ReadAsArray()[0, 0])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def place(root: Path) -> Place:
    return Access((str(root),)).resolve(str(write(root / "a.tif", 1)))


@pytest.fixture
def access(root: Path) -> Access:
    return Access((str(root),))


@NUMBERED
def test_a_file_put_in_its_place_is_not_read(place: Place, access: Access, tmp_path: Path) -> None:
    files = HeldFiles(place, access)
    secret = write(tmp_path / "secret.tif", 2)
    Path(place.path).unlink()
    Path(place.path).symlink_to(secret)
    assert value_of(files) == 1
    with pytest.raises(SourceRefused, match="leads outside"):
        HeldFiles(place, access)


@NUMBERED
def test_files_beside_it_neither(place: Place, access: Access, tmp_path: Path) -> None:
    beside = Path(place.path + ".ovr")
    write(beside, 3)
    files = HeldFiles(place, access)
    beside.unlink()
    beside.symlink_to(write(tmp_path / "secret.tif", 2))
    with files.names() as (name, siblings):
        assert Path(name + ".ovr").read_bytes()[:2] == b"II"
        assert siblings == ["a.tif", "a.tif.ovr"]
        assert os.path.realpath(name + ".ovr") != str(tmp_path / "secret.tif")
    assert not Path(name).parent.exists() or Path(name).parent == Path("/proc/self/fd")
    with pytest.raises(SourceRefused, match=r"a\.tif\.ovr leads outside"):
        HeldFiles(place, access)


def test_a_pipe_or_nothing_in_its_place(place: Place, access: Access) -> None:
    Path(place.path).unlink()
    with pytest.raises(SourceNotFound):
        HeldFiles(place, access)
    os.mkfifo(place.path)
    with pytest.raises(SourceRefused, match="is not a file"):
        HeldFiles(place, access)


def test_overviews_beside_a_file_that_became_something_else_are_refused(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = write(tmp_path / "secret.tif", 2)
    path = write(root / "a.tif", 1)
    gdal.GetDriverByName("VRT").CreateCopy(f"{path}.ovr", gdal.Open(str(secret)))
    # As if it were written after it was looked at.
    monkeypatch.setattr("geoloom_engine.readers.held._TIFF_MAGICS", (b"<VRT",))
    with pytest.raises(SourceRefused, match="beside"):
        SourcePool((str(root),)).open(str(path))


@NUMBERED
def test_nothing_stays_open(root: Path) -> None:
    path = write(root / "a.tif", 1)
    shutil.copy(path, root / "a.tif.ovr")
    pool = SourcePool((str(root),))
    pool.open(str(path))
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        pool.open(str(path))
        pool.forget(str(path))
    pool.close()
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) < before


def test_what_is_in_the_held_file(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"II*\0 and more")
    access = Access((str(tmp_path),))
    place = access.resolve(str(tmp_path / "a.tif"))
    files = HeldFiles(place, access)
    assert files.pread(3, 9) == b"mor"
    assert files.pread(99, 9) == b"more"
    assert not files.beside
    (tmp_path / "a.tif.ovr").write_bytes(b"II*\0")
    assert HeldFiles(place, access).beside
