"""An engine of its own for the tests of attacks: a pool on a real zygote, as root or as an ordinary user.

It is told on its input what to run, a line of JSON each: groups of calls, the groups side by side, the calls
of one in turn. It answers with a line: what became of each call, and how it is itself afterwards.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import os
import select
import struct
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from geoloom.block import Block
from geoloom.errors import GeoloomError
from geoloom.grid import Grid, Lattice
from geoloom_engine.sandbox import pool
from geoloom_engine.sandbox.calls import system
from geoloom_engine.sandbox.launch import Launcher
from geoloom_engine.sandbox.lock import LockLevel
from geoloom_engine.sandbox.pool import Call, Limits, Pool

NOBODY = 65534
LATTICE = Lattice("EPSG:32633", 10.0, 10.0, 500000.0, 5000000.0)
GRID = Grid(LATTICE, 30, 40, 5, 4)
MODULES = ("numpy", "math")
RAMP = np.arange(2 * GRID.rows * GRID.cols, dtype=np.uint16).reshape(2, GRID.rows, GRID.cols)

# Another user's function; its constant can be looked for in memory.
BYSTANDER = b"""
mark = 'geoloom-bystander-5d0f'
def other(img):
    numpy.tiles = getattr(numpy, 'tiles', 0) + 1
    return img[0] * 3 + img[1]
"""
WORKERS = 12
OWN_DESCRIPTORS = 4
"""That the engine has open for each worker: job socket, handle, input and output."""

_CAP_DAC_READ_SEARCH = 2


def become_ordinary() -> None:
    """Be an ordinary user, who for the start of the zygote may still read where Python is installed."""
    system("prctl", 8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    _set_capabilities(1 << _CAP_DAC_READ_SEARCH)
    system("prctl", 47, 2, _CAP_DAC_READ_SEARCH, 0, 0)  # PR_CAP_AMBIENT_RAISE


def be_ordinary() -> None:
    """Give that up, and be as open to others of this user as any process is."""
    system("prctl", 47, 4, 0, 0, 0)  # PR_CAP_AMBIENT_CLEAR_ALL
    _set_capabilities(0)
    system("prctl", 4, 1, 0, 0, 0)  # PR_SET_DUMPABLE


def _set_capabilities(bits: int) -> None:
    head = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0))
    system("capset", head, ctypes.create_string_buffer(struct.pack("=6I", bits, bits, bits, 0, 0, 0)))


class Engine:
    """Runs attacks, and looks at itself.

    Parameters
    ----------
    level
        How workers are locked.
    memory
        Bytes that a function may take.
    seconds
        That it may take, by the name of a pool: as many as any machine needs, or few.
    """

    def __init__(self, level: LockLevel, memory: int, seconds: dict[str, float]) -> None:
        self.launcher = Launcher(len(seconds), level, MODULES)
        self.launcher.start()
        self.pools = {
            name: Pool(self.launcher.channel(index), Limits(seconds=most, memory=memory, workers=WORKERS))
            for index, (name, most) in enumerate(seconds.items())
        }
        self.zygote = psutil.Process(self.launcher.pid)
        # A busy machine may end the first worker for its time, and with it goes the spare one.
        while lacking := [name for name, one in self.pools.items() if one._spare is None]:
            for name in lacking:
                self.bystander(name)
            select.select([], [], [], 0.05)
        self.descriptors = self._settled()
        self.threads = _threads()

    def attacked(self, source: str, arguments: list[Any], options: dict[str, Any]) -> dict[str, Any]:
        """Run an attack, and see to somebody else's next tile; what became of both."""
        return {**self.call(source, arguments, options), "bystander": self.bystander()}

    def call(self, source: str, arguments: list[Any], options: dict[str, Any]) -> dict[str, Any]:
        """Run an attack, as session `attacker` unless told otherwise; what became of it."""
        call = Call(
            session=options.get("session", "attacker"),
            source=source.encode("utf-8", "surrogatepass"),
            function=options.get("function", "f"),
            arguments=json.dumps([arguments, {}]),
            # Tells tiles apart: a worker is the same for all names of bands, not for all arguments.
            names=(str(options.get("step", 0)), "b"),
            modules=MODULES,
            dtype=options.get("dtype", "float64"),
            bands=options.get("bands", 1),
            margin=0,
        )
        block = Block(RAMP, np.ones((1, *RAMP.shape[1:]), np.bool_))
        try:
            answer = self.pools[options.get("pool", "patient")].call(call, block, GRID, lambda: True)
        except GeoloomError as error:
            return {"error": type(error).__name__, "told": error.to_json()}
        assert not np.isnan(answer.block.data).any()
        data = answer.block.data
        return {
            "data": base64.b64encode(data.tobytes()).decode(),
            "type": [data.dtype.name, list(data.shape), type(data).__name__],
            "valid": answer.block.valid.astype(int).tolist(),
            "printed": answer.printed,
        }

    def bystander(self, pool: str = "patient") -> bool:
        """Whether the next tile of another user is right."""
        options = {"session": "bystander", "function": "other", "pool": pool}
        done = self.call(BYSTANDER.decode(), [], options)
        expected = (RAMP[0].astype(np.float64) * 3 + RAMP[1]).tobytes()
        return "data" in done and base64.b64decode(done["data"]) == expected

    def health(self) -> dict[str, Any]:
        """How this process and the zygote are, when what was ended is buried."""
        return {
            "bystander": self.bystander(),
            "descriptors": self._settled() - self.descriptors,
            "threads": _threads() - self.threads,
            "zygote": self.launcher.pid == self.zygote.pid and self.zygote.is_running(),
            "children": [child.pid for child in psutil.Process().children()] == [self.zygote.pid],
        }

    def _settled(self) -> int:
        """Descriptors beyond those of live workers, once the zygote has no more children than these.

        It may have fewer: that a worker ended without a tile is seen at its next.
        """
        deadline = time.monotonic() + 30
        while True:
            live = self._live()
            surplus = max(0, len(self.zygote.children()) - live)
            counted = sum(1 for _ in Path("/proc/self/fd").iterdir()) - OWN_DESCRIPTORS * live
            well = not surplus and counted <= getattr(self, "descriptors", counted)
            # A spare one may come and go by itself.
            if (well and live == self._live()) or time.monotonic() > deadline:
                return counted + 1000 * surplus
            select.select([], [], [], 0.01)

    def spare(self) -> list[int]:
        """Pids of workers that have no function yet."""
        return [one._spare.pid for one in self.pools.values() if one._spare is not None]

    def _live(self) -> int:
        return sum(int(one.state()["live"]) for one in self.pools.values())

    def close(self) -> None:
        """End all."""
        for one in self.pools.values():
            one.close()
        self.launcher.stop()


def _threads() -> int:
    """Threads but those that attacks are run in."""
    return sum(not one.name.startswith("attack") for one in threading.enumerate())


def say(what: dict[str, Any]) -> None:
    """Answer."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Serve until the input ends."""
    told = json.loads(sys.stdin.readline())
    pool.LOOK = told["look"]
    ordinary = told["user"] == "ordinary" and os.geteuid() == 0
    if ordinary:
        become_ordinary()
    engine = Engine(LockLevel(**told["level"]), told["memory"], told["seconds"])
    if ordinary:
        be_ordinary()
    say({"pid": os.getpid(), "zygote": engine.zygote.pid})
    with contextlib.closing(engine), ThreadPoolExecutor(16, "attack") as threads:
        for line in sys.stdin:
            asked = json.loads(line)
            done = list(threads.map(lambda group: [engine.attacked(*one) for one in group], asked))
            say({"done": done, "health": engine.health(), "spare": engine.spare()})


if __name__ == "__main__":
    main()
