"""The pool under strain: many threads, many files, files that are replaced all the time."""

from __future__ import annotations

import contextlib
import io
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from geoloom.errors import SourceError, SourceNotFound, SourceUnreadable
from geoloom.grid import Tile
from geoloom.ops.open import Open
from geoloom.ops.resample import Resample
from geoloom.ops.stack import Stack
from geoloom_engine.cache import BlockCache, Budget, Decoded
from geoloom_engine.pipeline import Pipeline
from geoloom_engine.readers import SourcePool, Window
from geoloom_engine.readers import pool as module
from geoloom_engine.readers.geotiff import GeoTiff
from geoloom_engine.settings import load

PATIENCE = 20.0
linux = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")


def at_once(count: int, work: Callable[[], object]) -> list[object]:
    """Do it in so many threads; what each returned or raised."""
    results: list[object] = [None] * count
    start = threading.Barrier(count)

    def one(index: int) -> None:
        start.wait(PATIENCE)
        try:
            results[index] = work()
        except Exception as error:
            results[index] = error

    threads = [threading.Thread(target=one, args=(index,), daemon=True) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a thread hangs"
    return results


def open_files() -> int:
    """How many file descriptors this process has."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture
def openings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is opened, as it is opened; slowly, so that threads meet."""
    made: list[str] = []

    class Slow(GeoTiff):
        def __init__(self, place: Any, *more: Any) -> None:
            made.append(place.name)
            threading.Event().wait(0.05)
            super().__init__(place, *more)

    monkeypatch.setattr(module, "GeoTiff", Slow)
    return made


def test_threads_that_want_the_same_file_open_it_once(
    tmp_path: Path, make_raster: Any, openings: list[str]
) -> None:
    pool = SourcePool((str(tmp_path),))
    path = make_raster(tmp_path / "a.tif", np.zeros((64, 64), np.uint8))
    found = at_once(8, lambda: pool.open(str(path)))
    assert isinstance(found[0], GeoTiff)
    assert all(one is found[0] for one in found)
    assert openings == ["a.tif"]
    assert pool._opening == {}
    pool.close()


def test_threads_that_want_a_damaged_file_are_all_told(tmp_path: Path, openings: list[str]) -> None:
    pool = SourcePool((str(tmp_path),))
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0 and nothing more")
    found = at_once(6, lambda: pool.open(str(path)))
    assert all(isinstance(one, SourceUnreadable) for one in found), found
    assert len({id(one) for one in found}) == 6
    assert pool._opening == {}
    pool.close()


def test_threads_that_want_the_same_blocks_decode_them_once(
    tmp_path: Path, make_raster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("TILED=YES", "BLOCKXSIZE=64", "BLOCKYSIZE=64")
    data = np.arange(2 * 512 * 512, dtype=np.uint32).reshape(2, 512, 512)
    path = make_raster(tmp_path / "a.tif", data, options=options)
    pool = SourcePool((str(tmp_path),), cache=BlockCache(Budget(16 << 20)))
    source = pool.open(str(path))
    assert isinstance(source, GeoTiff)
    decoded: Counter[Any] = Counter()
    once = source._decode

    def slow(keys: list[Any]) -> dict[Any, Decoded]:
        decoded.update(keys)
        threading.Event().wait(0.2)
        return once(keys)

    monkeypatch.setattr(source, "_decode", slow)
    found = at_once(6, lambda: source.read(0, (1, 0), Window(10, 10, 400, 400))[0])
    for one in found:
        np.testing.assert_array_equal(one, data[[1, 0], 10:410, 10:410])
    assert len(decoded) == 2 * 4
    assert max(decoded.values()) == 1
    pool.close()


@linux
def test_open_files_are_bounded(tmp_path: Path, make_raster: Any) -> None:
    most, files = 16, 300
    paths = [
        str(make_raster(tmp_path / f"{number}.tif", np.full((16, 16), number % 250, np.uint8)))
        for number in range(files)
    ]
    pool = SourcePool((str(tmp_path),), max_open=most)
    before = open_files()
    seen = []

    def work() -> None:
        for number, path in enumerate(paths):
            pixels, _ = pool.open(path).read(0, (0,), Window(0, 0, 16, 16))
            assert pixels[0, 0, 0] == number % 250
            seen.append(open_files())

    assert at_once(3, work) == [None] * 3
    # A source holds its file, and each reading thread's handle on it has the file open once more.
    assert max(seen) - before <= (most + 3) * (1 + 3)
    assert len(pool._open) == most
    assert len(pool._seen) <= 4 * most
    pool.close()
    assert open_files() <= before


def test_a_changed_file_is_noticed_in_time(tmp_path: Path, make_raster: Any) -> None:
    assert load([], {}).source_recheck <= 10
    now = 1000.0
    pool = SourcePool((str(tmp_path),), recheck=10.0)
    path = make_raster(tmp_path / "a.tif", np.zeros((16, 16), np.uint8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.time, "monotonic", lambda: now)
        old = pool.open(str(path))
        make_raster(tmp_path / "b.tif", np.ones((16, 16), np.uint8)).replace(path)
        now += 9.9
        assert pool.open(str(path)) is old
        now += 0.2
        new = pool.open(str(path))
    assert new is not old
    assert new.read(0, (0,), Window(0, 0, 16, 16))[0].all()
    pool.close()


def values_of(drawn: Counter[Any]) -> set[Any]:
    """What tiles were drawn of, errors and empty ones left out."""
    return {kind for kind in list(drawn) if isinstance(kind, tuple) and kind}


@pytest.mark.parametrize("in_place", [False, True], ids=["replaced", "written over"])
def test_a_tile_is_all_old_or_all_new(tmp_path: Path, make_raster: Any, in_place: bool) -> None:
    """A file of one value, replaced all the time by one of another; tiles read it three times each."""
    scene, new = tmp_path / "scene.tif", tmp_path / "new.tif"
    options = ("TILED=YES", "BLOCKXSIZE=64", "BLOCKYSIZE=64", "COMPRESS=DEFLATE")
    contents = []
    for value in (60, 120, 180):
        make_raster(scene, np.full((768, 768), value, np.uint8), options=options, overviews=(2, 4))
        contents.append(scene.read_bytes())
    source = Open(href=str(scene)).chain()
    chain = Stack().chain(
        source, Resample(how="nearest").chain(source), Resample(how="bilinear").chain(source)
    )
    pipeline = Pipeline(load(["--sources", str(tmp_path), "--source-recheck", "0.05"], {}))
    stop = threading.Event()
    drawn: Counter[Any] = Counter()
    scene.write_bytes(contents[0])
    pipeline.tile(chain, Tile.at(15.03, 45.12, 12), 1)  # what is compiled now takes no time then
    begun = time.monotonic()

    def write() -> None:
        for turn in range(1_000_000):
            if stop.is_set():
                return
            new.write_bytes(contents[turn % 3])
            if in_place:
                scene.write_bytes(contents[turn % 3])
            else:
                new.replace(scene)
            stop.wait(0.03)

    def read() -> None:
        random = np.random.default_rng(threading.get_ident())
        # Longer where few tiles are drawn in that time.
        while (passed := time.monotonic() - begun) < 2.5 or (len(values_of(drawn)) < 2 and passed < 15):
            zoom = int(random.integers(10, 15))
            middle = Tile.at(15.0 + 0.09 * random.random(), 45.15 - 0.06 * random.random(), zoom)
            try:
                png = pipeline.tile(chain, middle, 1).png
            except SourceError as error:
                drawn[type(error).__name__] += 1
                continue
            pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))
            values = np.unique(pixels[pixels[..., 3] > 0][:, :3])
            drawn[tuple(values.tolist())] += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert at_once(3, read) == [None] * 3
    finally:
        stop.set()
        writer.join()
        pipeline.close()
    assert values_of(drawn) <= {(60,), (120,), (180,)}, drawn
    assert len(values_of(drawn)) >= 2, drawn


def test_who_may_wait_looks_at_a_file_less_often(tmp_path: Path, make_raster: Any) -> None:
    path = make_raster(tmp_path / "a.tif", np.zeros((16, 16), np.uint8))
    with contextlib.closing(SourcePool((str(tmp_path),), recheck=0.0)) as pool:
        first = pool.open(str(path)).info.fingerprint
        os.utime(path, ns=(1, 1))
        assert pool.open(str(path), recheck=600.0).info.fingerprint == first
        assert pool.open(str(path)).info.fingerprint != first
        path.unlink()
        with pytest.raises(SourceNotFound):
            pool.open(str(path))
