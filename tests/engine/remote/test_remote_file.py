"""Remote files as sources: few requests, few bytes, few connections, and one sentence when one fails."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from osgeo import gdal

from geoloom.errors import GeoloomError, SourceChanged, SourceError, SourceNotFound, SourceUnreadable
from geoloom_engine.readers import SourcePool, Window
from geoloom_engine.readers.remote_file import CHUNK, _merged

FULL = Window(0, 0, 1200, 1000)


@pytest.fixture
def pool(server: Any) -> Iterator[SourcePool]:
    made = SourcePool((server.base,), read_timeout=30, read_retries=1)
    yield made
    made.close()


# Requests, bytes, connections -------------------------------------------------------------------------


def test_a_cold_tile_takes_two_requests(server: Any, pool: SourcePool, cog: Any) -> None:
    content, pixels = cog
    source = pool.open(server.put("/a.tif", content))
    assert [span for _, span in server.asked] == [f"bytes=0-{CHUNK - 1}"]
    found, valid = source.read(0, (0,), Window(300, 300, 100, 100))
    assert np.array_equal(found[0], pixels[300:400, 300:400])
    assert valid.all()
    assert len(server.asked) == 2
    assert {path for path, _ in server.asked} == {"/a.tif"}, "nobody looks for files beside it"
    assert server.sent < CHUNK + 256 * 256 * 2 * 1.1
    source.read(0, (0,), Window(350, 350, 100, 100))
    assert len(server.asked) == 2, "blocks are kept"
    assert server.connections == 1


def test_all_of_it_is_the_file_and_no_more(server: Any, pool: SourcePool, cog: Any) -> None:
    content, pixels = cog
    source = pool.open(server.put("/a.tif", content))
    found, _ = source.read(0, (0,), FULL)
    assert np.array_equal(found[0], pixels)
    assert server.sent < len(content) * 1.1
    assert len(server.asked) <= 3
    for level, (width, height) in enumerate(source.info.levels):
        source.read(level, (0,), Window(0, 0, width, height))
    assert server.sent < len(content) * 1.2


@pytest.mark.parametrize(
    "options",
    [
        ("COMPRESS=LZW", "TILED=YES", "BLOCKXSIZE=128", "BLOCKYSIZE=128"),
        ("COMPRESS=ZSTD", "TILED=YES", "INTERLEAVE=BAND"),
        ("COMPRESS=DEFLATE", "PREDICTOR=2", "TILED=YES", "INTERLEAVE=BAND", "BIGTIFF=YES"),
        ("COMPRESS=DEFLATE", "TILED=YES", "ALPHA=YES"),
        ("COMPRESS=DEFLATE", "ENDIANNESS=BIG"),
        ("BLOCKYSIZE=7",),
        (),
        ("SPARSE_OK=TRUE", "TILED=YES"),
    ],
)
def test_any_geotiff_reads_as_a_local_one(
    tmp_path: Path, server: Any, pool: SourcePool, options: tuple[str, ...]
) -> None:
    bands = np.random.default_rng(3).integers(0, 9, (3, 700, 600)).astype(np.uint16)
    path = tmp_path / "a.tif"
    made = gdal.GetDriverByName("GTiff").Create(str(path), 600, 700, 3, gdal.GDT_UInt16, list(options))
    made.SetGeoTransform((15, 0.001, 0, 45, 0, -0.001))
    made.SetProjection("EPSG:4326")
    if "SPARSE_OK=TRUE" not in options:
        made.WriteArray(bands)
    made.GetRasterBand(1).SetNoDataValue(0)
    made.BuildOverviews("NEAREST", [2])
    made = None
    local = SourcePool((str(tmp_path),)).open(str(path))
    source = pool.open(server.put("/a.tif", path.read_bytes()))
    assert source.info.bands == local.info.bands
    names = tuple(range(len(source.info.bands)))
    for level, (width, height) in enumerate(source.info.levels):
        window = Window(40, 50, width - 70, height - 60)
        before = len(server.asked)
        for ours, theirs in zip(
            source.read(level, names, window), local.read(level, names, window), strict=True
        ):
            assert np.array_equal(ours, theirs)
        assert len(server.asked) - before <= 3


def test_a_mask_inside_the_file(tmp_path: Path, server: Any, pool: SourcePool) -> None:
    path = tmp_path / "a.tif"
    with gdal.config_option("GDAL_TIFF_INTERNAL_MASK", "YES"):
        made = gdal.GetDriverByName("GTiff").Create(str(path), 300, 300, 1, gdal.GDT_Byte, ["TILED=YES"])
        made.SetGeoTransform((15, 0.001, 0, 45, 0, -0.001))
        made.SetProjection("EPSG:4326")
        made.GetRasterBand(1).Fill(7)
        made.CreateMaskBand(gdal.GMF_PER_DATASET)
        made.GetRasterBand(1).GetMaskBand().WriteArray(np.tri(300, dtype=np.uint8) * 255)
        made = None
    source = pool.open(server.put("/a.tif", path.read_bytes()))
    _, valid = source.read(0, (0,), Window(0, 0, 300, 300))
    assert np.array_equal(valid[0], np.tri(300, dtype=bool))


def test_no_more_is_at_hand_than_is_good(
    server: Any, pool: SourcePool, cog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large read fetches and decodes in turn."""
    from geoloom_engine.readers import geotiff
    from geoloom_engine.readers.remote_file import RemoteFile

    monkeypatch.setattr(geotiff, "_MOST_HELD", 300_000)
    held: list[int] = []
    whole = RemoteFile.held

    def counted(self: RemoteFile, ranges: Any) -> Any:
        held.append(sum(length for _, length in ranges))
        return whole(self, ranges)

    monkeypatch.setattr(RemoteFile, "held", counted)
    source = pool.open(server.put("/a.tif", cog[0]))
    assert np.array_equal(source.read(0, (0,), FULL)[0][0], cog[1])
    assert len(held) > 5
    assert max(held) <= 300_000


def test_ranges_near_each_other_are_one() -> None:
    gap = CHUNK
    assert _merged([(100, 50), (0, 100), (100, 50), (9 * gap, 5)], 10**9) == [(0, 150), (9 * gap, 5)]
    assert _merged([(0, 10), (10 + gap, 5)], 10**9) == [(0, gap + 15)]
    assert _merged([(0, 10), (11 + gap, 5)], 10**9) == [(0, 10), (11 + gap, 5)]
    assert _merged([(0, 100), (20, 10)], 10**9) == [(0, 100)]
    assert _merged([(0, 100), (90, 100), (400, 1)], 150) == [(0, 150)]
    assert _merged([(0, 9 << 20), (9 << 20, 1)], 10**9) == [(0, 9 << 20), (9 << 20, 1)]


def test_many_threads_and_files(server: Any, pool: SourcePool, cog: Any) -> None:
    """Nobody waits for others' reads: with a server that keeps eight waiting, eight are there at once."""
    content, pixels = cog
    together = threading.Barrier(8)

    def fault(handler: Any) -> None:
        together.wait(20)
        handler.part(content)

    hrefs = [server.put(f"/{number}.tif", content, fault) for number in range(8)]

    def read(href: str) -> bool:
        found, _ = pool.open(href).read(0, (0,), Window(300, 300, 100, 100))
        return np.array_equal(found[0], pixels[300:400, 300:400])

    own = SourcePool((server.base,), read_timeout=30, read_retries=0)
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(lambda href: own.open(href).info.width == 1200, hrefs))
        assert all(threads.map(read, hrefs * 10))
    own.close()
    assert len(server.asked) == 8 + 8 + 8
    assert server.connections <= 8 + 16


def test_a_slow_server_holds_up_nobody_else(server: Any, other_server: Any, cog: Any) -> None:
    """Though it keeps all the threads waiting that fetch several ranges at once."""
    content, pixels = cog
    began = threading.Semaphore(0)

    def wait(handler: Any) -> None:
        handler.close_connection = True
        began.release()
        server.over.wait()

    pool = SourcePool((server.base, other_server.base), read_timeout=60, read_retries=0)
    slow = [pool.open(server.put(f"/{number}.tif", content)) for number in range(12)]
    for number in range(12):
        server.put(f"/{number}.tif", content, wait, lasting=True)
    quick = pool.open(other_server.put("/a.tif", content))
    window = Window(0, 0, 256, 1000)
    with ThreadPoolExecutor(12) as threads:
        waiting = [threads.submit(source.read, 0, (0,), window) for source in slow]
        for _ in range(12):
            assert began.acquire(timeout=30)
        found, _ = quick.read(0, (0,), window)
        assert np.array_equal(found[0], pixels[:, :256])
        assert not any(future.done() for future in waiting)
        server.over.set()
    assert len(other_server.asked) > 2, "the window lies in several ranges"
    pool.close()


def test_the_same_file_by_many_threads_is_opened_once(server: Any, pool: SourcePool, cog: Any) -> None:
    href = server.put("/a.tif", cog[0])
    with ThreadPoolExecutor(8) as threads:
        sources = list(threads.map(pool.open, [href] * 32))
    assert len(set(map(id, sources))) == 1
    assert len(server.asked) == 1


def test_a_recheck_takes_one_byte(server: Any, cog: Any) -> None:
    pool = SourcePool((server.base,), recheck=0.0)
    href = server.put("/a.tif", cog[0])
    first = pool.fingerprint(href)
    sent = server.sent
    for _ in range(3):
        assert pool.fingerprint(href) == first
    assert server.sent == sent + 3
    pool.close()


def test_files_that_are_let_go_leave_nothing(server: Any, cog: Any) -> None:
    from geoloom_engine.readers.virtual import _FILES

    href = server.put("/a.tif", cog[0])
    gc.collect()
    before, files = threading.active_count(), set(_FILES._files)
    for _ in range(3):
        pool = SourcePool((server.base,), max_open=2)
        for number in range(5):
            source = pool.open(f"{server.put(f'/{number}.tif', cog[0])}")
            source.read(0, (0,), FULL)
        pool.open(href)
        pool.close()
    del pool, source
    gc.collect()
    assert not set(_FILES._files) - files
    deadline = time.monotonic() + 20
    while threading.active_count() > before + 1 and time.monotonic() < deadline:
        gc.collect()
        threading.Event().wait(0.01)
    assert threading.active_count() <= before + 1


# What changes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("marks", [{"ETag": '"1"'}, {"Last-Modified": "Thu, 01 Jan 1970 00:00:00 GMT"}, {}])
def test_fingerprints(server: Any, cog: Any, marks: dict[str, str]) -> None:
    pool = SourcePool((server.base,), recheck=0.0)
    server.marks = marks
    href = server.put("/a.tif", cog[0])
    first = pool.fingerprint(href)
    assert pool.fingerprint(href) == first
    server.files["/a.tif"] = b"X" + cog[0][1:]
    server.marks = {name: value.replace("1", "2") for name, value in marks.items()}
    second = pool.fingerprint(href)
    assert second != first
    server.files["/a.tif"] += b"more"
    assert pool.fingerprint(href) not in (first, second)
    pool.close()


def test_a_file_that_is_replaced_while_it_is_read(server: Any, pool: SourcePool, cog: Any) -> None:
    href = server.put("/a.tif", cog[0])
    source = pool.open(href)
    server.marks = {"ETag": '"two"'}
    with pytest.raises(SourceChanged, match=r"a\.tif has changed since it was opened"):
        source.read(0, (0,), FULL)
    again = pool.open(href)
    assert again.info.fingerprint != source.info.fingerprint
    assert np.array_equal(again.read(0, (0,), FULL)[0][0], cog[1])


def test_pixels_of_two_versions_are_never_mixed(server: Any, cog: Any) -> None:
    """Also by a server that gives no mark but the size."""
    server.marks = {}
    pool = SourcePool((server.base,), recheck=0.0)
    href = server.put("/a.tif", cog[0])
    source = pool.open(href)
    server.files["/a.tif"] = cog[0] + b"longer"
    with pytest.raises(SourceChanged):
        source.read(0, (0,), FULL)
    pool.close()


# What fails ----------------------------------------------------------------------------------------------


def failing(server: Any, fault: str) -> Callable[[Any], None]:
    made: dict[str, Callable[[Any], None]] = {
        "403": server.status(403),
        "404": server.status(404),
        "503": server.status(503),
        "silence": server.silence(),
        "stall": server.stall(1000),
        "drip": server.drip(),
        "reset": server.reset(1000),
        "break off": server.break_off(1000),
    }
    return made[fault]


@pytest.mark.parametrize("fault", ["403", "404", "503", "silence", "stall", "drip", "reset", "break off"])
@pytest.mark.parametrize("when", ["at the start", "at a block"])
def test_one_sentence(server: Any, cog: Any, fault: str, when: str) -> None:
    pool = SourcePool((server.base,), read_timeout=30, read_retries=1)
    href = server.put("/scene.tif", cog[0])
    source = pool.open(href) if when == "at a block" else None
    pool._remote._remote.timeout = 0.4
    server.put("/scene.tif", cog[0], failing(server, fault), lasting=True)
    with pytest.raises(
        SourceNotFound if fault == "404" else SourceUnreadable, match=r"^scene\.tif "
    ) as caught:
        (source or pool.open(href)).read(0, (0,), FULL)
    assert "damaged" not in caught.value.message
    assert caught.value.hint
    server.faults["/scene.tif"].clear()
    pool._remote._remote.timeout = 30
    if source is not None:
        found, _ = source.read(0, (0,), FULL)
        assert np.array_equal(found[0], cog[1]), "a block that failed is read anew"
    pool.close()


@pytest.mark.parametrize("compression", ["LZW", "DEFLATE"])
def test_a_file_cut_off_at_its_end(tmp_path: Path, server: Any, pool: SourcePool, compression: str) -> None:
    path = tmp_path / "a.tif"
    pixels = np.random.default_rng(1).integers(0, 255, (600, 600)).astype(np.uint8)
    made = gdal.GetDriverByName("GTiff").Create(
        str(path), 600, 600, 1, gdal.GDT_Byte, [f"COMPRESS={compression}", "TILED=YES"]
    )
    made.SetGeoTransform((15, 0.001, 0, 45, 0, -0.001))
    made.SetProjection("EPSG:4326")
    made.WriteArray(pixels)
    made = None
    cog = tmp_path / "cog.tif"
    gdal.Translate(
        str(cog), str(path), format="COG", creationOptions=["COMPRESS=" + compression, "BLOCKSIZE=256"]
    )
    content = cog.read_bytes()
    source = pool.open(server.put("/a.tif", content[: len(content) - 20_000]))
    with pytest.raises(SourceUnreadable, match=r"a\.tif is damaged or incomplete"):
        source.read(0, (0,), Window(0, 0, 600, 600))
    for length in (0, 1, 8, 100, 400):
        with pytest.raises(SourceUnreadable, match=f"t{length}"):
            pool.open(server.put(f"/t{length}.tif", content[:length]))


def test_an_overview_that_cannot_be_reached_is_not_just_missing(server: Any, tmp_path: Path) -> None:
    """GDAL opens a file without the directories that it cannot read."""
    path = tmp_path / "a.tif"
    made = gdal.GetDriverByName("GTiff").Create(str(path), 600, 600, 1, gdal.GDT_Byte, ["TILED=YES"])
    made.SetGeoTransform((15, 0.001, 0, 45, 0, -0.001))
    made.SetProjection("EPSG:4326")
    made = None
    made = gdal.Open(str(path), gdal.GA_Update)
    made.BuildOverviews("NEAREST", [2, 4])
    made = None
    content = path.read_bytes()
    assert len(content) > 3 * CHUNK

    def fault(handler: Any) -> None:
        if handler.wanted(content)[0] == 0:
            handler.part(content)
        else:
            handler.plain(503)

    pool = SourcePool((server.base,), read_retries=0)
    with pytest.raises(SourceUnreadable, match="503"):
        pool.open(server.put("/a.tif", content, fault, lasting=True))
    pool.close()


def test_a_dead_server_is_not_asked_by_every_tile(server: Any, cog: Any) -> None:
    pool = SourcePool((server.base,), read_timeout=0.3, read_retries=0)
    href = server.put("/a.tif", cog[0], server.silence(), lasting=True)

    def told(_: int) -> str:
        with pytest.raises(SourceError) as caught:
            pool.open(href)
        return str(caught.value)

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(told, range(24)))) == 1
    assert len(server.asked) == 1
    pool.forget(href)
    pool._remote._remote.timeout = 30
    server.faults["/a.tif"].clear()
    assert pool.open(href).info.width == 1200
    pool.close()


def test_no_part_of_an_address_is_told(server: Any, pool: SourcePool) -> None:
    for path in ("/none.tif", "/page.tif"):
        server.put("/page.tif", b"<html>please log in</html>" * 10)
        with pytest.raises(GeoloomError) as caught:
            pool.open(f"{server.base}{path}?sig=secret")
        assert "secret" not in repr(caught.value.to_json())
        assert "127.0.0.1" not in repr(caught.value.to_json())


# Nodata of a catalogue -------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [-1, 65536, 0.5, float("nan"), float("inf")])
def test_a_nodata_that_the_type_cannot_hold_is_none(
    server: Any, pool: SourcePool, cog: Any, given: float
) -> None:
    source = pool.open(server.put("/a.tif", cog[0]), nodata=given)
    assert source.info.bands[0].nodata is None
    assert pool.open(server.base + "/a.tif", nodata=given * 1.0) is source
    assert source.read(0, (0,), FULL)[1].all()


def test_nodata_of_the_catalogue(server: Any, pool: SourcePool, cog: Any) -> None:
    content, pixels = cog
    href = server.put("/a.tif", content)
    plain = pool.open(href)
    value = int(pixels[10, 10])
    given = pool.open(href, nodata=value)
    assert given.info.fingerprint == plain.info.fingerprint == pool.fingerprint(href)
    assert given.info.bands[0].nodata == value
    assert plain.info.bands[0].nodata is None
    for _ in range(2):
        assert plain.read(0, (0,), FULL)[1].all()
        assert np.array_equal(given.read(0, (0,), FULL)[1][0], pixels != value)
    assert pool.open(href, nodata=value) is given
