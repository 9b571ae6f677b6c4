"""An engine under a small memory budget, used by many for long: `make memory`; shortened here.

``MEMORY_SECONDS`` says how long. Longer than a minute it reads larger files, so that what is kept is
made anew many times over. What was measured is printed in one line.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
import redis

from geoloom.chain import Chain
from geoloom.engine_client import EngineClient, Registered
from geoloom.errors import EngineOverloaded, GeoloomError, SourceChanged
from geoloom.grid import Tile
from geoloom.ops.arithmetic import Add, Divide, Subtract
from geoloom.ops.colormap import Colormap
from geoloom.ops.focal import FocalMean, FocalMedian
from geoloom.ops.hillshade import Hillshade
from geoloom.ops.open import Open
from geoloom.ops.scale import Scale
from geoloom.ops.slope import Slope
from geoloom.ops.stack import Stack
from geoloom_engine.embedded.store import EVICTION

if TYPE_CHECKING:
    from conftest import RunningEngine, StartEngine

SECONDS = float(os.environ.get("MEMORY_SECONDS", "12"))
LONG = SECONDS > 60
BUDGET = 400 << 20
ALLOWED = 1.3
"""Times the budget that a worker may take at any moment."""
USERS = 4
FILES = 3
SIZE = 8192 if LONG else 2048
"""Pixels of a file's side, 10 m each: at 8192 the three are 400 MB decoded, without overviews."""
REPLACED_SECONDS = 2.0
SAMPLE_SECONDS = 0.1
RAMPS = ("viridis", "magma", "greys", "terrain")


@dataclass
class Taken:
    """What a worker took: most bytes, file descriptors and threads, in the first half and the second."""

    rss: list[int] = field(default_factory=lambda: [0, 0])
    fds: list[int] = field(default_factory=lambda: [0, 0])
    threads: list[int] = field(default_factory=lambda: [0, 0])

    def see(self, process: psutil.Process, half: int) -> None:
        with process.oneshot():
            self.rss[half] = max(self.rss[half], process.memory_info().rss)
            self.threads[half] = max(self.threads[half], process.num_threads())
        self.fds[half] = max(self.fds[half], process.num_fds())


@dataclass
class Soak:
    """What all who use the engine share."""

    engine: RunningEngine
    scenes: list[Path]
    moving: Path
    broken: Path
    end: float
    seen: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def on(self) -> bool:
        return time.monotonic() < self.end and not self.wrong

    def count(self, what: str) -> None:
        with self._lock:
            self.seen[what] += 1

    def fail(self, what: str) -> None:
        with self._lock:
            self.wrong.append(what)

    def run(self, *works: Callable[[Soak], None]) -> None:
        """Do all at once, each in a thread, until the end."""

        def one(work: Callable[[Soak], None]) -> None:
            try:
                work(self)
            except Exception as error:
                self.fail(f"{type(error).__name__}: {error}")

        threads = [threading.Thread(target=one, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


class User:
    """Somebody with a map: makes chains, pans, zooms, looks at numbers, and goes away in between."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.looks = 0

    def __call__(self, soak: Soak) -> None:
        client = soak.engine.client(f"user-{self.random.integers(1 << 30)}")
        while soak.on:
            try:
                self.look(soak, client)
            except EngineOverloaded:
                soak.count("refused")
            except SourceChanged:
                soak.count("changed under way")

    def look(self, soak: Soak, client: EngineClient) -> None:
        """One layer: registered, panned over, asked about."""
        # Everything once, and then as it comes.
        kind = self.random.random() if self.looks > 2 else (0.0, 0.1, 0.22)[self.looks]
        self.looks += 1
        if kind < 0.05:
            self.fall(soak, client)
            return
        chain = self.chain(soak)
        registered = client.register(chain)
        soak.count("chains")
        self.pan(soak, registered)
        if kind < 0.2:
            lon, lat = self.place()
            client.point(registered.key, lon, lat, 13)
            client.legend(registered.key)
            soak.count("numbers")
        elif kind < 0.25:
            lon, lat = self.place()
            client.statistics(registered.key, (lon, lat, lon + 0.05, lat + 0.05))
            soak.count("numbers")

    def place(self) -> tuple[float, float]:
        """Somewhere in the scenes, which begin at 15° E, 45.15° N."""
        reach = SIZE * 10 / 80_000
        return float(15 + reach * self.random.random()), float(45.15 - reach * 0.7 * self.random.random())

    def pan(self, soak: Soak, registered: Registered) -> None:
        """A few views of 3 × 2 tiles, each beside the one before, from a random place on."""
        zoom, ratio = int(self.random.integers(10, 16)), int(self.random.integers(1, 3))
        start = Tile.at(*self.place(), zoom)
        x, y = start.x, start.y
        for _ in range(int(self.random.integers(1, 5))):
            for number in range(6):
                if not soak.on:
                    return
                self.tile(soak, registered, Tile(zoom, x + number % 3, y + number // 3), ratio)
            x, y = x + int(self.random.integers(-1, 2)), y + int(self.random.integers(-1, 2))

    def tile(self, soak: Soak, registered: Registered, tile: Tile, ratio: int) -> None:
        suffix = "" if ratio == 1 else f"@{ratio}x"
        path = registered.tiles.replace("{z}/{x}/{y}", f"{tile.z}/{tile.x}/{tile.y}{suffix}")
        timeout = 0.002 if self.random.random() < 0.02 else 30.0
        try:
            answer = soak.engine.ask("GET", path, token=False, timeout=timeout)
        except OSError:
            if timeout > 1:
                raise
            soak.count("left before the answer")
            return
        if answer.status == 200:
            soak.count("tiles")
        elif answer.status in (409, 503):
            soak.count(f"status {answer.status}")
        else:
            soak.fail(f"{answer.status} for {path}: {answer.headers.get('x-geoloom-error')}")

    def chain(self, soak: Soak) -> Chain:
        """A chain of one of several shapes over random files, with numbers of its own."""
        one, two = (Open(href=str(soak.scenes[i])).chain() for i in self.random.integers(0, FILES, 2))
        high = float(self.random.integers(2000, 60000))
        ramp = Colormap(ramp=RAMPS[int(self.random.integers(0, len(RAMPS)))])
        shape = int(self.random.integers(0, 8))
        if shape == 0:
            return ramp.chain(Scale(limits=(0.0, 90.0)).chain(Slope().chain(one)))
        if shape == 1:
            return Scale(limits=(0.0, 255.0)).chain(Hillshade(azimuth=high / 200).chain(one))
        if shape == 2:
            return Scale(limits=(0.0, high)).chain(Stack().chain(one, two, one))
        if shape == 3:
            radius = float(self.random.integers(1, 12))
            return ramp.chain(Scale(limits=(0.0, high)).chain(FocalMean(radius=radius).chain(one)))
        if shape == 4:
            return ramp.chain(Scale(limits=(0.0, high)).chain(FocalMedian(radius=2.0).chain(two)))
        if shape == 5:
            return ramp.chain(Scale(limits=(0.0, high)).chain(Open(href=str(soak.moving)).chain()))
        index = Divide().chain(Subtract().chain(one, two), Add().chain(one, two))
        return ramp.chain(Scale(limits=(-high / 60000, 1.0)).chain(index))

    def fall(self, soak: Soak, client: EngineClient) -> None:
        """Ask for what cannot be had."""
        missing = soak.moving.with_name("nobody.tif")
        for path in (missing, soak.broken, Path("/etc/hostname")):
            try:
                chain = Scale(limits=(0.0, 1.0)).chain(Open(href=str(path)).chain())
                client.tile(chain, 13, 4437, 2933)
                soak.fail(f"{path} was drawn")
            except EngineOverloaded:
                raise
            except GeoloomError:
                soak.count("errors")


def replace(variants: list[Path]) -> Callable[[Soak], None]:
    """Put one file after the other in the place of the moving one."""

    def work(soak: Soak) -> None:
        number = 0
        while soak.on:
            new = soak.moving.with_suffix(".new")
            shutil.copyfile(variants[number % 2], new)
            new.replace(soak.moving)
            soak.count("files replaced")
            number += 1
            pause(soak, REPLACED_SECONDS)

    return work


def measure(workers: list[int], taken: dict[int, Taken], begun: float) -> Callable[[Soak], None]:
    """See again and again what the workers take."""

    def work(soak: Soak) -> None:
        processes = [psutil.Process(pid) for pid in workers]
        while soak.on:
            half = int(time.monotonic() - begun > (soak.end - begun) / 2)
            for process in processes:
                taken[process.pid].see(process, half)
                if max(taken[process.pid].rss) > ALLOWED * BUDGET:
                    soak.fail(f"a worker takes {max(taken[process.pid].rss) >> 20} MB")
            soak.count("samples")
            pause(soak, SAMPLE_SECONDS)

    return work


def pause(soak: Soak, seconds: float) -> None:
    """Wait, but not beyond the end."""
    threading.Event().wait(max(0.0, min(seconds, soak.end - time.monotonic())))


def write_scene(path: Path, size: int, seed: int) -> Path:
    """Rough land in uint16, in blocks of 512, with overviews; quick to write, and no block like another."""
    from osgeo import gdal, osr

    gdal.UseExceptions()
    random = np.random.default_rng(seed)
    options = ["TILED=YES", "BLOCKXSIZE=512", "BLOCKYSIZE=512", "COMPRESS=DEFLATE", "PREDICTOR=2", "ZLEVEL=1"]
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), size, size, 1, gdal.GDT_UInt16, options)
    srs = osr.SpatialReference()
    srs.ImportFromEPSG(32633)
    dataset.SetProjection(srs.ExportToWkt())
    dataset.SetGeoTransform((500000, 10, 0, 5000000, 0, -10))
    rough = random.integers(0, 2000, (512, 512), dtype=np.uint16)
    for row in range(0, size, 512):
        for col in range(0, size, 512):
            base = np.uint16(random.integers(0, 50000))
            dataset.GetRasterBand(1).WriteArray(np.roll(rough, (row // 7, col // 5)) + base, col, row)
    dataset.BuildOverviews("AVERAGE", [2, 4, 8, 16])
    dataset.FlushCache()
    return path


@pytest.fixture
def soak(start_engine: StartEngine, own_valkey: Any, tmp_path: Path) -> Soak:
    """An engine of two workers over some scenes; its store is small, as nobody else's tiles matter."""
    with redis.Redis.from_url(own_valkey.url) as store:
        store.config_set("maxmemory", "64mb")
        for name, value in EVICTION.items():
            store.config_set(name, value)
    folder = tmp_path / "scenes"
    folder.mkdir()
    scenes = [write_scene(folder / f"scene{number}.tif", SIZE, number) for number in range(FILES)]
    broken = folder / "broken.tif"
    broken.write_bytes(scenes[0].read_bytes()[:100_000])
    engine = start_engine(
        own_valkey.url, folder, workers=2, memory=str(BUDGET), source_recheck="0.5s", open_sources="8"
    )
    return Soak(engine, scenes, folder / "moving.tif", broken, 0.0)


@pytest.mark.slow
def test_memory_descriptors_and_threads_stay_within_bounds(
    soak: Soak, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    variants = [write_scene(tmp_path / f"variant{number}.tif", 1024, 50 + number) for number in range(2)]
    shutil.copyfile(variants[1], soak.moving)
    workers = soak.engine.workers()
    taken = {pid: Taken() for pid in workers}
    begun = time.monotonic()
    soak.end = begun + SECONDS
    cpu = {pid: sum(psutil.Process(pid).cpu_times()[:2]) for pid in workers}
    soak.run(*(User(seed) for seed in range(USERS)), replace(variants), measure(workers, taken, begun))

    most = max(max(one.rss) for one in taken.values())
    summary = {
        "seconds": round(time.monotonic() - begun),
        "budget MB": BUDGET >> 20,
        "most RSS MB": most >> 20,
        "RSS / budget": round(most / BUDGET, 3),
        "CPU s": round(sum(sum(psutil.Process(pid).cpu_times()[:2]) - cpu[pid] for pid in workers)),
        "descriptors": [one.fds for one in taken.values()],
        "threads": [one.threads for one in taken.values()],
        **soak.seen,
    }
    with capsys.disabled():
        print("\nmemory:", json.dumps(summary))  # noqa: T201
    assert soak.wrong == []
    assert soak.engine.workers() == workers
    assert most <= ALLOWED * BUDGET
    for one in taken.values():
        assert one.fds[1] <= one.fds[0] + 16
        assert one.threads[1] <= one.threads[0] + 2
    log = soak.engine.log.read_text()
    assert "Traceback" not in log
    assert "incident" not in log
    for what in ("tiles", "chains", "numbers", "errors", "files replaced"):
        assert soak.seen[what] > 0, what
