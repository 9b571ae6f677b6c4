"""A watch takes each new file in once, leaves those that are still written, and outlives errors."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from tests.engine.ingest.conftest import Collection, ramp, write_raster

from geoloom_engine.ingest.pattern import Parts
from geoloom_engine.ingest.scratch import Candidate
from geoloom_engine.ingest.watching import Patience

QUICK = ("--every", "0.1", "--settle", "0.2", "--jobs", "1")


@contextmanager
def watching(collection: Collection, source: str | Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        collection.command("--watch", source, *QUICK, *more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def complete(collection: Collection, count: int) -> Callable[[], bool]:
    return lambda: len(collection.items()) == count


def test_new_files_are_taken_in_and_a_signal_ends_it(collection: Collection, data: Path) -> None:
    write_raster(data / "x_20200101_B04.tif", ramp())
    with watching(collection, data) as process:
        until(complete(collection, 1))
        write_raster(data / "x_20200102_B04.tif", ramp())
        write_raster(data / "x_20200103_B04.tif", ramp())
        until(complete(collection, 3))
        parts = collection.parts()
        write_raster(data / "x_20200103_B08.tif", ramp())
        until(lambda: len(collection.items()["x_20200103"]["assets"]) == 2)
        assert len(collection.items()) == 3
        assert collection.parts() == parts
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stdout is not None
        said = process.stdout.read()
    assert "Traceback" not in said
    assert said.rstrip().endswith("Stopped.")


def test_a_killed_watch_goes_on_with_each_file_once(collection: Collection, data: Path) -> None:
    for number in range(1, 5):
        write_raster(data / f"x_202001{number:02d}_B04.tif", ramp())
        with watching(collection, data):
            if number % 2:
                until(lambda: bool(collection.parts()))
    with watching(collection, data):
        until(complete(collection, 4))


def test_a_bad_file_is_said_once_and_taken_in_when_it_is_whole(collection: Collection, data: Path) -> None:
    whole = write_raster(data / "x_20200101_B04.tif", ramp(300, 300), options=("COMPRESS=DEFLATE",))
    content = whole.read_bytes()
    whole.write_bytes(content[: len(content) // 2])
    write_raster(data / "x_20200102_B04.tif", ramp())
    with watching(collection, data) as process:
        until(complete(collection, 1))
        # Several rounds pass; each lists the folder, and none opens the bad file again.
        write_raster(data / "x_20200103_B04.tif", ramp())
        until(complete(collection, 2))
        whole.write_bytes(content)
        until(complete(collection, 3))
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert said.count("it is damaged or incomplete") == 1


def test_a_source_that_is_not_there_yet_is_tried_again(collection: Collection, data: Path) -> None:
    later = data / "later"
    with watching(collection, later) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert "later is not there" in process.stdout.readline()
        write_raster(later / "x_20200101_B04.tif", ramp())
        until(complete(collection, 1))


def candidate(name: str, size: int, changed: float) -> Candidate:
    return Candidate(name, Parts(name), size, int(changed * 1e9))


def test_files_wait_until_they_are_left_alone() -> None:
    now = [1000.0]
    patience = Patience(settle=30, every=600, clock=lambda: now[0])
    patience.begin()
    assert not patience.waits(candidate("old", 5, 900.0))
    assert patience.waits(candidate("new", 5, 995.0))
    assert patience.waits(candidate("tomorrow", 5, 90_000.0))
    now[0] += 10
    patience.begin()
    assert patience.waits(candidate("new", 9, 1005.0))
    assert not patience.waits(candidate("tomorrow", 5, 90_000.0))
    now[0] += 40
    patience.begin()
    assert not patience.waits(candidate("new", 9, 1005.0))


def test_a_file_that_failed_is_tried_again_more_and_more_seldom() -> None:
    now = [0.0]
    patience = Patience(settle=0, every=10, clock=lambda: now[0])
    tried, news = [], []
    for second in range(0, 200, 10):
        now[0] = float(second)
        patience.begin()
        if not patience.leaves(candidate("bad", 5, 0)):
            tried.append(second)
            news.append(patience.failed("bad", "broken"))
    assert tried == [0, 10, 30, 70, 150]
    assert news == [True, False, False, False, False]
    assert not patience.leaves(candidate("bad", 6, 1))
    assert patience.failed("bad", "broken")


def test_a_file_under_the_pen_is_left_for_the_next_round(collection: Collection, data: Path) -> None:
    whole = write_raster(data / "y.tif", ramp(400, 400)).read_bytes()
    (data / "y.tif").unlink()
    path = data / "x_20200101_B04.tif"
    pieces = np.array_split(np.frombuffer(whole, np.uint8), 12)
    with watching(collection, data, "--settle", "3") as process:
        with path.open("wb") as file:
            for piece in pieces:
                file.write(piece.tobytes())
                file.flush()
                os.fsync(file.fileno())
                time.sleep(0.05)
        until(complete(collection, 1))
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=30)
    assert "damaged" not in said
