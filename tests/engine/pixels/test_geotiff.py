"""GeoTIFF in all its layouts, damaged ones, and ones that try to reach other files."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from osgeo import gdal

from geoloom.errors import SourceError, SourceNotFound, SourceRefused, SourceUnreadable
from geoloom_engine.readers import Source, SourcePool, Window

Make = Callable[..., Source]
RNG = np.random.default_rng(7)
PIXELS = RNG.integers(1, 60000, (3, 500, 967)).astype(np.uint16)

LAYOUTS = {
    "strips of 8 rows": ("BLOCKYSIZE=8",),
    "strips of 1 row, compressed": ("BLOCKYSIZE=1", "COMPRESS=DEFLATE"),
    "one strip": ("BLOCKYSIZE=500", "COMPRESS=LZW", "PREDICTOR=2"),
    "small tiles": ("TILED=YES", "BLOCKXSIZE=16", "BLOCKYSIZE=16"),
    "tiles, pixels interleaved": ("TILED=YES", "INTERLEAVE=PIXEL", "COMPRESS=ZSTD"),
    "tiles, bands apart": ("TILED=YES", "INTERLEAVE=BAND", "COMPRESS=DEFLATE"),
    "BigTIFF, wide tiles": ("TILED=YES", "BLOCKXSIZE=512", "BLOCKYSIZE=16", "BIGTIFF=YES"),
}


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory, make_raster: Any) -> Iterator[dict[str, Source]]:
    folder = tmp_path_factory.mktemp("layouts")
    pool = SourcePool((str(folder),))
    made = {
        name: pool.open(str(make_raster(folder / f"{index}.tif", PIXELS, options=options, overviews=(2, 8))))
        for index, (name, options) in enumerate(LAYOUTS.items())
    }
    yield made
    pool.close()


@pytest.mark.parametrize("name", LAYOUTS)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_window_of_any_layout(layouts: dict[str, Source], name: str, data: st.DataObject) -> None:
    source = layouts[name]
    x, y = data.draw(st.integers(0, 966)), data.draw(st.integers(0, 499))
    window = Window(x, y, data.draw(st.integers(1, 967 - x)), data.draw(st.integers(1, 500 - y)))
    bands = tuple(data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True)))
    pixels, valid = source.read(0, bands, window)
    assert np.array_equal(pixels, PIXELS[list(bands), y : y + window.height, x : x + window.width])
    assert valid.shape == (1, window.height, window.width)
    assert valid.all()


def test_overviews_are_those_of_the_file(layouts: dict[str, Source]) -> None:
    source = layouts["tiles, bands apart"]
    handle = gdal.Open(source.info.href)
    for level, (width, height) in enumerate(source.info.levels[1:], 1):
        expected = handle.GetRasterBand(2).GetOverview(level - 1).ReadAsArray()
        pixels, _ = source.read(level, (1,), Window(0, 0, width, height))
        assert np.array_equal(pixels[0], expected)


def test_narrow_strips_are_read_in_large_blocks(tmp_path: Path, make_raster: Any) -> None:
    pool = SourcePool((str(tmp_path),))
    source = pool.open(str(make_raster(tmp_path / "a.tif", PIXELS[0], options=("BLOCKYSIZE=1",))))
    source.read(0, (0,), Window(0, 0, 967, 500))
    assert source.info.block == (967, 1)
    assert pool.cache.state().entries <= 8
    pool.close()


def test_blocks_are_decoded_once(tmp_path: Path, make_raster: Any) -> None:
    pool = SourcePool((str(tmp_path),))
    source = pool.open(str(make_raster(tmp_path / "a.tif", PIXELS)))
    source.read(0, (0,), Window(100, 100, 300, 300))
    before = pool.cache.state()
    source.read(0, (0,), Window(90, 110, 300, 200))
    after = pool.cache.state()
    assert (after.misses, after.entries) == (before.misses, before.entries)
    source.read(0, (1,), Window(90, 110, 10, 10))
    assert pool.cache.state().entries == after.entries + 1
    pool.close()


def test_what_is_read_cannot_be_changed(raster: Make) -> None:
    source = raster(PIXELS, nodata=5)
    for window in (Window(0, 0, 10, 10), Window(200, 200, 300, 100)):
        pixels, valid = source.read(0, (0,), window)
        with pytest.raises(ValueError, match="read-only"):
            pixels[0, 0, 0] = 9
        with pytest.raises(ValueError, match="read-only"):
            valid[0, 0, 0] = False


# Damage -------------------------------------------------------------------------------------------


def test_truncated_file_fails_where_the_damage_is(tmp_path: Path, pool: SourcePool, make_raster: Any) -> None:
    path = make_raster(tmp_path / "cut.tif", PIXELS, options=("TILED=YES", "COMPRESS=DEFLATE"))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(SourceUnreadable, match=r"cut\.tif is damaged") as caught:
        pool.open(str(path)).read(0, (0, 1, 2), Window(0, 0, 967, 500))
    assert str(tmp_path) not in str(caught.value)


def test_damage_found_only_when_a_block_is_read(tmp_path: Path, pool: SourcePool, make_raster: Any) -> None:
    path = make_raster(tmp_path / "a.tif", PIXELS[:1], options=("TILED=YES", "COMPRESS=DEFLATE"))
    spoiled = bytearray(path.read_bytes())
    middle = len(spoiled) // 2
    spoiled[middle : middle + 2000] = bytes(2000)
    path.write_bytes(spoiled)
    source = pool.open(str(path))
    with pytest.raises(SourceUnreadable, match="damaged"):
        source.read(0, (0,), Window(0, 0, 967, 500))
    # The rest of it can still be read, and so can it after the failure.
    pixels, _ = source.read(0, (0,), Window(0, 0, 100, 100))
    assert np.array_equal(pixels[0], PIXELS[0, :100, :100])


@pytest.mark.parametrize(
    "content", [b"", b"II*\0", b"\x89PNG\r\n\x1a\n" + bytes(50), b"<VRTDataset/>", b"x" * 999]
)
def test_what_is_no_geotiff(tmp_path: Path, pool: SourcePool, content: bytes) -> None:
    path = tmp_path / "odd.tif"
    path.write_bytes(content)
    with pytest.raises(SourceUnreadable, match=r"odd\.tif") as caught:
        pool.open(str(path))
    assert caught.value.hint


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 3000), st.binary(min_size=1, max_size=16))
def test_a_few_wrong_bytes_never_end_in_anything_but_a_source_error(
    tmp_path: Path, pool: SourcePool, make_raster: Any, at: int, junk: bytes
) -> None:
    path = tmp_path / "a.tif"
    path.unlink(missing_ok=True)
    make_raster(path, PIXELS[:1, :40, :40], options=("COMPRESS=DEFLATE",))
    spoiled = bytearray(path.read_bytes())
    spoiled[at % len(spoiled) : at % len(spoiled) + len(junk)] = junk
    path.write_bytes(spoiled)
    with contextlib.suppress(SourceError):
        source = pool.open(str(path))
        source.read(0, (0,), Window(0, 0, min(source.info.width, 40), min(source.info.height, 40)))


# Other files --------------------------------------------------------------------------------------


def test_vrt_is_refused_whatever_its_name(tmp_path: Path, pool: SourcePool, make_raster: Any) -> None:
    inner = make_raster(tmp_path / "inner.tif", PIXELS[:1])
    for name in ("a.vrt", "b.tif"):
        gdal.BuildVRT(str(tmp_path / name), [str(inner)]).FlushCache()
        with pytest.raises(SourceUnreadable):
            pool.open(str(tmp_path / name))


def test_overviews_beside_the_file_are_used(tmp_path: Path, pool: SourcePool, make_raster: Any) -> None:
    path = make_raster(tmp_path / "a.tif", PIXELS[:1])
    assert pool.open(str(path)).info.overviews == ()
    before = pool.fingerprint(str(path))
    handle = gdal.Open(str(path))
    handle.BuildOverviews("NEAREST", [2, 4])
    handle = None
    assert (tmp_path / "a.tif.ovr").exists()
    source = pool.open(str(path))
    assert source.info.fingerprint != before
    assert source.info.overviews == ((484, 250), (242, 125))
    assert source.read(1, (0,), Window(0, 0, 484, 250))[1].all()


def test_sidecars_that_are_something_else_are_refused(
    tmp_path: Path, pool: SourcePool, make_raster: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = make_raster(tmp_path / "a.tif", PIXELS[:1])
    (tmp_path / "a.tif.ovr").write_text("<VRTDataset/>")
    with pytest.raises(SourceRefused, match=r"a\.tif\.ovr is not a TIFF"):
        pool.open(str(path))
    outside = make_raster(tmp_path_factory.mktemp("outside") / "secret.tif", PIXELS[:1])
    (tmp_path / "a.tif.ovr").unlink()
    (tmp_path / "a.tif.ovr").symlink_to(outside)
    with pytest.raises(SourceRefused, match="leads outside"):
        pool.open(str(path))


def test_overviews_named_inside_the_file_are_refused(
    tmp_path: Path, pool: SourcePool, make_raster: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = make_raster(tmp_path_factory.mktemp("outside") / "secret.tif", PIXELS[:1], overviews=(2,))

    def edit(made: Any) -> None:
        made.SetMetadataItem("OVERVIEW_FILE", str(outside), "OVERVIEWS")

    path = make_raster(tmp_path / "a.tif", PIXELS[:1], edit=edit)
    with pytest.raises(SourceRefused) as caught:
        pool.open(str(path))
    assert "secret" not in str(caught.value)


# Over HTTP ----------------------------------------------------------------------------------------


class Files(http.server.SimpleHTTPRequestHandler):
    """Serves files with byte ranges, and counts; ``/away`` redirects."""

    asked: list[tuple[str, str]] = []
    folder: Path
    away: str

    def log_message(self, *_: object) -> None: ...

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        self.asked.append((self.command, self.path))
        if self.path.startswith("/data/away"):
            self.send_response(302)
            self.send_header("Location", self.away)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path = self.folder / self.path.removeprefix("/data/").split("?")[0]
        if not path.is_file() or not self.path.startswith("/data/"):
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = path.read_bytes()
        first, last = 0, len(content) - 1
        wanted = self.headers.get("Range")
        if wanted:
            start, _, stop = wanted.removeprefix("bytes=").partition("-")
            first, last = int(start), min(int(stop or last), last)
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{path.stat().st_mtime_ns}"')
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        if body:
            self.wfile.write(content[first : last + 1])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    Files.asked = []
    Files.folder = tmp_path
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    thread = threading.Thread(target=made.serve_forever, args=(0.02,))
    thread.start()
    base = f"http://127.0.0.1:{made.server_port}"
    Files.away = f"{base}/elsewhere/secret.tif"
    yield base
    made.shutdown()
    made.server_close()
    thread.join()


def test_reads_over_http_only_what_it_needs(tmp_path: Path, server: str, make_raster: Any) -> None:
    data = RNG.integers(1, 60000, (1, 2000, 2000)).astype(np.uint16)
    make_raster(tmp_path / "a.tif", data, overviews=(2,))
    pool = SourcePool((f"{server}/data",))
    source = pool.open(f"{server}/data/a.tif")
    assert source.info.width == 2000
    pixels, _ = source.read(0, (0,), Window(700, 700, 300, 300))
    assert np.array_equal(pixels[0], data[0, 700:1000, 700:1000])
    assert {path for _, path in Files.asked} == {"/data/a.tif"}
    asked = len(Files.asked)
    source.read(0, (0,), Window(700, 700, 300, 300))
    assert len(Files.asked) == asked
    pool.close()


def test_a_changed_remote_file_is_noticed(tmp_path: Path, server: str, make_raster: Any) -> None:
    make_raster(tmp_path / "a.tif", np.full((300, 300), 1, np.uint8))
    pool = SourcePool((f"{server}/data",), recheck=0.0)
    href = f"{server}/data/a.tif"
    assert pool.open(href).read(0, (0,), Window(0, 0, 300, 300))[0].max() == 1
    make_raster(tmp_path / "b.tif", np.full((300, 300), 2, np.uint8)).replace(tmp_path / "a.tif")
    pixels, _ = pool.open(href).read(0, (0,), Window(0, 0, 300, 300))
    assert (pixels == 2).all()
    pool.close()


def test_http_errors_in_words(tmp_path: Path, server: str) -> None:
    pool = SourcePool((f"{server}/data", "http://127.0.0.1:9"))
    with pytest.raises(SourceNotFound, match="404"):
        pool.open(f"{server}/data/none.tif")
    with pytest.raises(SourceUnreadable, match="does not answer"):
        pool.open("http://127.0.0.1:9/a.tif")
    with pytest.raises(SourceRefused, match="redirects outside"):
        pool.open(f"{server}/data/away.tif")
    assert not any("elsewhere" in path for _, path in Files.asked)
    with pytest.raises(SourceRefused):
        pool.open(f"{server}/database/a.tif")
    (tmp_path / "page.tif").write_text("<html>not found, but politely</html>")
    with pytest.raises(SourceUnreadable):
        pool.open(f"{server}/data/page.tif")
    pool.close()
