"""Tiles inflated past GDAL are GDAL's tiles; what is not simple is left to it."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from osgeo import gdal

from geoloom.errors import SourceUnreadable
from geoloom_engine.readers import Source, SourcePool, Window
from geoloom_engine.readers.inflate import StoredTiles, stored_tiles

RNG = np.random.default_rng(8)
BASE = ("TILED=YES", "BLOCKXSIZE=128", "BLOCKYSIZE=64", "COMPRESS=DEFLATE")
ZSTD = ("COMPRESS=ZSTD",)
ROWS, COLS = 200, 300


def noise(dtype: str, bands: int = 1) -> np.ndarray:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return RNG.normal(size=(bands, ROWS, COLS)).astype(dtype)
    limits = np.iinfo(kind)
    return RNG.integers(limits.min, limits.max, (bands, ROWS, COLS), dtype, endpoint=True)


@pytest.fixture
def opened() -> Iterator[Callable[..., StoredTiles | None]]:
    numbers: list[int] = []

    def open_(path: Path, level: int = 0, **other: Any) -> StoredTiles | None:
        dataset = gdal.Open(str(path))
        band = dataset.GetRasterBand(1)
        band = band if level == 0 else band.GetOverview(level - 1)
        dtype = gdal.GetDataTypeName(band.DataType).lower().replace("byte", "uint8")
        wanted = {
            "offset": int(band.GetMetadataItem("IFD_OFFSET", "TIFF")),
            "size": (band.XSize, band.YSize),
            "bands": dataset.RasterCount,
            "dtype": np.dtype(dtype),
        }
        numbers.append(os.open(path, os.O_RDONLY))
        return stored_tiles(partial(os.pread, numbers[-1]), **(wanted | other))

    yield open_
    for number in numbers:
        os.close(number)


@pytest.mark.parametrize(
    ("dtype", "options"),
    [(dtype, ()) for dtype in ("uint8", "int8", "int16", "float32", "float64")]
    + [(dtype, ("PREDICTOR=2",)) for dtype in ("uint8", "uint16", "int16", "uint32", "int64")]
    + [("uint16", ("PREDICTOR=2", "BIGTIFF=YES"))]
    + [(dtype, ("PREDICTOR=2", *ZSTD)) for dtype in ("uint8", "int16")]
    + [("float32", ZSTD)],
)
def test_pixels_are_those_written(
    tmp_path: Path, make_raster: Any, opened: Any, dtype: str, options: tuple[str, ...]
) -> None:
    data = noise(dtype)
    base = BASE[:3] if "COMPRESS=ZSTD" in options else BASE
    tiles = opened(make_raster(tmp_path / "a.tif", data, options=base + options))
    assert tiles is not None
    assert tiles.zstd == ("COMPRESS=ZSTD" in options)
    for x, y, width, height in ((0, 0, 128, 64), (0, 0, COLS, ROWS), (256, 192, 44, 8), (100, 50, 90, 77)):
        found = tiles.read(0, Window(x, y, width, height))
        assert found.dtype == dtype
        assert np.array_equal(found, data[0, y : y + height, x : x + width])


def test_bands_stored_one_after_the_other(tmp_path: Path, make_raster: Any, opened: Any) -> None:
    data = noise("uint16", 3)
    tiles = opened(make_raster(tmp_path / "a.tif", data, options=(*BASE, "INTERLEAVE=BAND", "PREDICTOR=2")))
    for band in range(3):
        assert np.array_equal(tiles.read(band, Window(10, 20, 200, 100)), data[band, 20:120, 10:210])


def test_overviews_too(tmp_path: Path, make_raster: Any, opened: Any) -> None:
    path = make_raster(tmp_path / "a.tif", noise("uint16"), options=(*BASE, "PREDICTOR=2"), overviews=(2,))
    dataset = gdal.Open(str(path))
    expected = dataset.GetRasterBand(1).GetOverview(0).ReadAsArray()
    assert np.array_equal(opened(path, 1).read(0, Window(0, 0, 150, 100)), expected)


@pytest.mark.parametrize(
    "options",
    [
        ("COMPRESS=DEFLATE",),
        (*BASE[:3], "COMPRESS=LZW"),
        BASE[:3],
        (*BASE, "ENDIANNESS=BIG"),
        (*BASE, "NBITS=12"),
    ],
    ids=["strips", "LZW", "plain", "big-endian", "12 bits"],
)
def test_what_is_not_simple_is_left_to_gdal(
    tmp_path: Path, make_raster: Any, opened: Any, options: tuple[str, ...]
) -> None:
    assert opened(make_raster(tmp_path / "a.tif", noise("uint16") >> 4, options=options)) is None


def test_other_things_left_to_gdal(tmp_path: Path, make_raster: Any, opened: Any) -> None:
    floats = make_raster(tmp_path / "a.tif", noise("float32"), options=(*BASE, "PREDICTOR=3"))
    assert opened(floats) is None
    mixed = make_raster(tmp_path / "b.tif", noise("uint8", 3), options=(*BASE, "INTERLEAVE=PIXEL"))
    assert opened(mixed) is None
    good = make_raster(tmp_path / "c.tif", noise("uint8"), options=BASE)
    for wrong in ({"size": (COLS, ROWS + 1)}, {"bands": 2}, {"dtype": np.dtype("int8")}, {"offset": 10**9}):
        assert opened(good, **wrong) is None
    assert opened(good, offset=3) is None


def test_tiles_that_are_not_there_are_left_to_gdal(tmp_path: Path, make_raster: Any, opened: Any) -> None:
    data = noise("uint8")
    data[:, :64, :128] = 0
    path = make_raster(tmp_path / "a.tif", data, options=(*BASE, "SPARSE_OK=TRUE"))
    tiles = opened(path)
    assert tiles.read(0, Window(0, 0, 128, 64)) is None
    assert tiles.read(0, Window(128, 0, 128, 64)) is not None


@pytest.fixture(params=["DEFLATE", "ZSTD"])
def damaged(tmp_path: Path, make_raster: Any, opened: Any, request: pytest.FixtureRequest) -> Path:
    """A file whose second tile is garbage."""
    options = (*BASE[:3], f"COMPRESS={request.param}", "PREDICTOR=2")
    path: Path = make_raster(tmp_path / "a.tif", noise("uint16"), options=options)
    tiles = opened(path)
    with path.open("r+b") as file:
        file.seek(int(tiles.offsets[1]))
        file.write(b"\xff" * int(tiles.counts[1]))
    return path


def test_damage_is_gdals_to_judge(damaged: Path, opened: Any, pool: SourcePool) -> None:
    tiles = opened(damaged)
    assert tiles.read(0, Window(0, 0, 128, 64)) is not None
    assert tiles.read(0, Window(128, 0, 128, 64)) is None
    with pytest.raises(SourceUnreadable):
        pool.open(str(damaged)).read(0, (0,), Window(0, 0, COLS, ROWS))


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
def test_sources_read_past_gdal_know_their_nodata(raster: Callable[..., Source], dtype: str) -> None:
    data = noise(dtype) % 7
    source = raster(data, nodata=3, options=(*BASE, "PREDICTOR=2"))
    found, valid = source.read(0, (0,), Window(0, 0, COLS, ROWS))
    assert np.array_equal(valid, data != 3)
    assert np.array_equal(found, np.where(data != 3, data, 0))


def directory(content: bytearray) -> tuple[int, list[bytes]]:
    """Where the first directory's entries begin in a BigTIFF, and these."""
    (start,) = struct.unpack_from("<Q", content, 8)
    (count,) = struct.unpack_from("<Q", content, start)
    return start + 8, [bytes(content[start + 8 + 20 * n :][:20]) for n in range(count)]


def entry(tag: int, kind: int, number: int, value: int) -> bytes:
    return struct.pack("<HHQQ", tag, kind, number, value)


@pytest.fixture
def with_tags(tmp_path: Path, make_raster: Any) -> Callable[..., Path]:
    """A file with differences along rows whose tags are changed, given the old ones, by a function."""

    def make(change: Callable[[dict[int, bytes]], list[bytes]]) -> Path:
        options = (*BASE, "PREDICTOR=2", "BIGTIFF=YES")
        path: Path = make_raster(tmp_path / "tags.tif", noise("uint16"), options=options)
        content = bytearray(path.read_bytes())
        _, old = directory(content)
        entries = change({struct.unpack_from("<H", one)[0]: one for one in old})
        entries.sort(key=lambda one: one[1::-1])
        struct.pack_into("<Q", content, 8, len(content))
        path.write_bytes(content + struct.pack("<Q", len(entries)) + b"".join(entries) + bytes(8))
        return path

    return make


@pytest.mark.parametrize(
    "strange",
    [
        (entry(317, 8, 1, 2),),
        (entry(317, 3, 1, 2), entry(317, 3, 1, 1)),
        (entry(317, 3, 1, 2), entry(32998, 4, 1, 1)),
    ],
    ids=["type", "twice", "depth"],
)
def test_odd_tags_are_gdals_to_judge(
    with_tags: Any, opened: Any, pool: SourcePool, strange: tuple[bytes, ...]
) -> None:
    path = with_tags(lambda tags: [tags[tag] for tag in tags if tag != 317] + list(strange))
    assert opened(path) is None
    expected = gdal.Open(str(path)).ReadAsArray()
    found, _ = pool.open(str(path)).read(0, (0,), Window(0, 0, COLS, ROWS))
    assert np.array_equal(found[0], expected)


def test_places_beyond_any_file_are_gdals_to_judge(with_tags: Any, opened: Any, pool: SourcePool) -> None:
    far = struct.pack("<Q", 2**63 + 5)
    path = with_tags(lambda tags: list(tags.values()))
    content = bytearray(path.read_bytes())
    start, entries = directory(content)
    number = next(n for n, one in enumerate(entries) if struct.unpack_from("<H", one)[0] == 324)
    # First that of the second tile, which leaves the others good; then that of all.
    (place,) = struct.unpack_from("<Q", entries[number], 12)
    content[place + 8 : place + 16] = far
    path.write_bytes(content)
    tiles = opened(path)
    assert tiles.read(0, Window(0, 0, 128, 64)) is not None
    assert tiles.read(0, Window(128, 0, 128, 64)) is None
    with pytest.raises(SourceUnreadable):
        pool.open(str(path)).read(0, (0,), Window(0, 0, COLS, ROWS))
    content[start + 20 * number + 12 : start + 20 * number + 20] = far
    path.write_bytes(content)
    with path.open("rb") as file:
        content_of = partial(os.pread, file.fileno())
        assert stored_tiles(content_of, start - 8, (COLS, ROWS), 1, np.dtype("uint16")) is None


def test_tiles_larger_than_their_image_by_far_are_left_to_gdal(with_tags: Any, opened: Any) -> None:
    def wide(tags: dict[int, bytes]) -> list[bytes]:
        one = {324: entry(324, 16, 1, 16), 325: entry(325, 16, 1, 1 << 20)}
        return list((tags | one | {tag: entry(tag, 4, 1, 1 << 16) for tag in (322, 323)}).values())

    assert opened(with_tags(wide)) is None


def test_colours_that_gdal_turns_into_others_are_left_to_it(
    tmp_path: Path, make_raster: Any, opened: Any, pool: SourcePool
) -> None:
    options = (*BASE, "INTERLEAVE=BAND", "PHOTOMETRIC=CMYK")
    path = make_raster(tmp_path / "a.tif", noise("uint8", 4), options=options)
    assert opened(path) is None
    expected = gdal.Open(str(path)).ReadAsArray()[:3]
    found, valid = pool.open(str(path)).read(0, (0, 1, 2), Window(0, 0, COLS, ROWS))
    assert np.array_equal(found, expected * np.broadcast_to(valid, found.shape))
