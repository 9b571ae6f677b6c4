"""What GDAL finds below its door to our reads, and what it does not."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from osgeo import gdal

from geoloom_engine.readers.virtual import register, unregister


class File:
    """Bytes, and what happened to them."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.error: Exception | None = None
        self.failures: list[Exception] = []

    @property
    def size(self) -> int:
        return len(self.content)

    def pread(self, length: int, offset: int) -> bytes:
        if self.error is not None:
            raise self.error
        return self.content[offset : offset + length]

    def failed(self, error: Exception) -> None:
        self.failures.append(error)


@pytest.fixture
def file(cog: Any) -> File:
    return File(cog[0])


@pytest.fixture
def name(file: File) -> Iterator[str]:
    made = register("a b.tif", file)
    yield made
    unregister(made)


def opened(name: str) -> Any:
    return gdal.OpenEx(name, gdal.OF_RASTER, allowed_drivers=["GTiff"], sibling_files=["a b.tif"])


def test_gdal_reads_it_from_many_threads(name: str, cog: Any) -> None:
    assert name.endswith("/a b.tif")

    def same(number: int) -> bool:
        pixels = opened(name).ReadAsArray(number, 3, 500, 600)
        return np.array_equal(pixels, cog[1][3:603, number : number + 500])

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(same, range(16)))


def test_bytes_as_of_any_file(name: str, file: File) -> None:
    handle = gdal.VSIFOpenL(name, "rb")
    assert gdal.VSIFReadL(1, 10, handle) == file.content[:10]
    assert gdal.VSIFTellL(handle) == 10
    gdal.VSIFSeekL(handle, -4, 2)
    assert not gdal.VSIFEofL(handle)
    assert gdal.VSIFReadL(1, 10, handle) == file.content[-4:]
    assert gdal.VSIFEofL(handle)
    gdal.VSIFSeekL(handle, 2, 0)
    gdal.VSIFSeekL(handle, 3, 1)
    assert gdal.VSIFReadL(4, 2, handle) == file.content[5:13]
    gdal.VSIFSeekL(handle, 10**12, 0)
    assert not gdal.VSIFReadL(1, 10, handle)
    gdal.VSIFCloseL(handle)


def test_there_is_nothing_else(name: str) -> None:
    folder = name.rpartition("/")[0]
    for other in (
        name + ".ovr",
        name + "/x",
        folder,
        folder + "/",
        "/vsigeoloom/0/a b.tif",
        folder + "/../x",
    ):
        with pytest.raises(RuntimeError):
            opened(other)
    assert not gdal.ReadDir(folder)
    assert not gdal.ReadDir("/vsigeoloom")


def test_nothing_is_written(name: str, file: File) -> None:
    before = file.content
    for access in ("wb", "r+b", "ab"):
        with gdal.ExceptionMgr(useExceptions=False), gdal.quiet_errors():
            assert gdal.VSIFOpenL(name, access) is None
            assert gdal.Unlink(name) != 0
    assert file.content == before


def test_what_a_read_raises_is_kept_for_who_asked(name: str, file: File) -> None:
    handle = opened(name)
    file.error = ValueError("the server is on fire")
    with pytest.raises(RuntimeError), gdal.quiet_errors():
        handle.ReadAsArray()
    assert file.failures[0] is file.error
    file.error = None
    del handle
    assert opened(name).ReadAsArray().any()


def test_it_is_gone_when_nobody_holds_it(file: File) -> None:
    name = register("a.tif", file)
    handle = opened(name)
    unregister(name)
    with pytest.raises(RuntimeError):
        opened(name)
    assert handle.ReadAsArray().any(), "what is open stays"
    del handle
    gc.collect()
