"""A real zygote and pools on it, for the tests of the sandbox."""

from __future__ import annotations

import json
import select
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from geoloom.block import Block
from geoloom.grid import Grid, Lattice
from geoloom.harness import DEFAULT_MODULES
from geoloom_engine.sandbox.launch import Launcher
from geoloom_engine.sandbox.lock import LockLevel
from geoloom_engine.sandbox.pool import Answer, Call, Limits, Pool
from geoloom_engine.sandbox.strikes import Strikes

LOCKED = LockLevel()
UNLOCKED = LockLevel(seccomp=False, landlock=False, drop_uid=False)
LATTICE = Lattice("EPSG:32633", 10.0, 10.0, 500000.0, 5000000.0)
QUICK = ("numpy", "math")
"""Modules of most zygotes: those that are loaded quickly."""


@dataclass
class Sandbox:
    """A zygote with one channel, and a pool on it."""

    launcher: Launcher
    pool: Pool

    def run(
        self,
        source: str,
        *arguments: Any,
        session: str = "me",
        name: str = "f",
        image: Any = None,
        valid: Any = None,
        margin: int = 0,
        dtype: str = "float64",
        bands: int = 1,
        modules: tuple[str, ...] = DEFAULT_MODULES,
        wanted: Callable[[], bool] = lambda: True,
    ) -> Answer:
        """Call a function on an image (bands, rows, cols); a small ramp unless given."""
        data = np.arange(2 * 4 * 5, dtype=np.uint16).reshape(2, 4, 5) if image is None else image
        mask = np.ones((1, *data.shape[1:]), np.bool_) if valid is None else valid
        rows, cols = data.shape[1] - 2 * margin, data.shape[2] - 2 * margin
        text = json.dumps([arguments, {}])
        call = Call(session, source.encode(), name, text, ("a", "b"), modules, dtype, bands, margin)
        return self.pool.call(call, Block(data, mask), Grid(LATTICE, 30, 40, cols, rows), wanted)


StartSandbox = Callable[..., Sandbox]


@pytest.fixture(scope="session")
def zygotes() -> Iterator[Callable[..., Launcher]]:
    """Zygotes by lock, modules and kind of system, each started once; all are stopped at the end."""
    started: dict[object, Launcher] = {}

    def get(lock: LockLevel = LOCKED, modules: tuple[str, ...] = QUICK, packets: bool = True) -> Launcher:
        key = lock, modules, packets
        if key not in started:
            started[key] = Launcher(1, lock, modules, packets)
            started[key].start()
        return started[key]

    yield get
    for launcher in started.values():
        launcher.stop()


@pytest.fixture
def start(zygotes: Callable[..., Launcher]) -> Iterator[StartSandbox]:
    """Starts pools with limits of their own, on zygotes that tests share."""
    with ExitStack() as stack:

        def get(strikes: Strikes | None = None, launcher: Launcher | None = None, **settings: Any) -> Sandbox:
            chosen = {name: settings.pop(name) for name in ("lock", "modules", "packets") if name in settings}
            # No test is to fail because the machine has other things to do; most count processes.
            limits = {"seconds": 60.0, "memory": 512 << 20, "workers": 8, "spare": False} | settings
            zygote = launcher or zygotes(**chosen)
            pool = Pool(zygote.channel(0), Limits(**limits), strikes)
            stack.callback(pool.close)
            return Sandbox(zygote, pool)

        yield get


@pytest.fixture
def wait_until() -> Callable[..., Any]:
    """Waits for a condition, up to a deadline."""

    def get(true: Callable[[], Any], seconds: float = 60.0, what: str = "it") -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, f"{what} did not happen within {seconds:g} s"
            select.select([], [], [], 0.01)

    return get
