"""What the sandbox costs: `python tests/engine/sandbox/overhead.py`.

A warm worker and this process call a function in turns, in batches. Of a batch the median counts; of the
batches the best, which on a machine that others use is nearest to what the code costs, and the median.
Processor time is that of both processes.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from geoloom.block import Block
from geoloom.grid import Tile
from geoloom.harness import Function, Given
from geoloom_engine.sandbox.launch import Launcher
from geoloom_engine.sandbox.lock import LockLevel
from geoloom_engine.sandbox.pool import Call, Limits, Pool
from geoloom_engine.sandbox.remote import Remote

SOURCE = """
def stubble(img, v4, v6, v8, v11min, v11max):
    b4, b6, b8, b11 = img[0], img[1], img[2], img[3]
    res = numpy.ones_like(b4)
    res[b4 >= v4] = 0
    res[b6 >= v6] = 0
    res[b8 >= v8] = 0
    res[numpy.logical_or(b11 <= v11min, b11 >= v11max)] = 0
    return res
"""
ARGUMENTS = "[[1000, 1200, 1200, 500, 1600], {}]"
NAMES = ("B04", "B06", "B08", "B11")
GRID = Tile(10, 571, 360).grid()
BATCHES, CALLS, SPAWNS = 25, 40, 30
REST = np.ones(1 << 19)
"""Read between two calls, as all else that makes a tile goes through the processor's cache (2 MB here)."""


def call_of(session: str) -> Call:
    return Call(session, SOURCE.encode(), "stubble", ARGUMENTS, NAMES, ("numpy",), "int32", 1, 0)


def ran(pid: int) -> float:
    """Seconds of processor time of a process."""
    return int(Path(f"/proc/{pid}/schedstat").read_bytes().split()[0]) / 1e9


def batch(call: Callable[[], object], pid: int | None = None) -> tuple[float, float]:
    """Milliseconds of a call on the wall (median) and of processor time (mean)."""
    seconds = []
    spent, other = 0.0, ran(pid) if pid else 0.0
    for _ in range(CALLS):
        REST.sum()
        own, start = time.thread_time(), time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
        spent += time.thread_time() - own
    spent += ran(pid) - other if pid else 0.0
    return statistics.median(seconds) * 1e3, spent / CALLS * 1e3


def line(what: str, *columns: list[float]) -> None:
    shown = (f"{min(column):8.3f} {statistics.median(column):8.3f}" for column in columns)
    sys.stdout.write(f"{what:<24} {'   '.join(shown)}\n")


def main() -> None:
    """Measure and print."""
    launcher = Launcher(1, LockLevel())
    launcher.start()
    pool = Pool(launcher.channel(0), Limits(workers=SPAWNS + 1))
    data = np.random.default_rng(0).integers(0, 3000, (4, 256, 256)).astype(np.uint16)
    block = Block(data, np.ones((1, 256, 256), np.bool_))
    here = Function(SOURCE, "stubble", alone=True)
    made: list[Remote] = []
    spawned: list[float] = []
    locked: list[float] = []

    class Seen(Remote):
        """Notes how long it takes to be made, and until it is locked down."""

        def __init__(self, *arguments: object) -> None:
            self.begun = time.perf_counter()
            super().__init__(*arguments)  # type: ignore[arg-type]
            spawned.append(time.perf_counter() - self.begun)
            made.append(self)

        def _await_lock(self, wanted: Callable[[], bool]) -> None:
            super()._await_lock(wanted)
            locked.append(time.perf_counter() - self.begun)

    import geoloom_engine.sandbox.pool as module

    module.Remote = Seen  # type: ignore[misc]

    def sandboxed() -> object:
        return pool.call(call_of("warm"), block, GRID, lambda: True)

    def in_process() -> object:
        given = Given.of(block, NAMES, GRID)
        return here.call(given, [1000, 1200, 1200, 500, 1600], dtype="int32", bands=1).block()

    sandboxed()
    worker = made[0].pid
    warm, local = [], []
    for _ in range(BATCHES):
        warm.append(batch(sandboxed, worker))
        local.append(batch(in_process))
    sys.stdout.write("milliseconds                 wall               processor\n")
    sys.stdout.write("4 x 256 x 256, uint16        best   median      best   median\n")
    for what, batches in (("a tile, warm worker", warm), ("a tile, this process", local)):
        line(what, [wall for wall, _ in batches], [spent for _, spent in batches])
    best = [min(one[i] for one in warm) - min(one[i] for one in local) for i in (0, 1)]
    usual = [statistics.median(a[i] - b[i] for a, b in zip(warm, local, strict=True)) for i in (0, 1)]
    sys.stdout.write(f"{'more':<24} {best[0]:8.3f} {usual[0]:8.3f}   {best[1]:8.3f} {usual[1]:8.3f}\n")
    spawned.clear()
    locked.clear()
    for number in range(SPAWNS):
        pool.call(call_of(str(number)), block, GRID, lambda: True)
    line("a new worker", [one * 1e3 for one in spawned])
    line("a new worker, locked", [one * 1e3 for one in locked])
    pool.close()
    launcher.stop()


if __name__ == "__main__":
    main()
