"""Kills one process after the other, and waits until everything is served again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil
import redis

from soak.browser import Lost
from soak.deployment import Deployment
from soak.ledger import Ledger, Window
from soak.probes import NotServed, Probe, Tiles

SAMPLE = 0.3
"""Seconds between two looks at how much processor time was used."""

LONGEST = 60.0
"""Seconds after which it is given up that something comes back."""


class Faults:
    """What is killed, and what comes of it.

    Parameters
    ----------
    settled
        Seconds without any failure after which all is well again.
    """

    def __init__(
        self, deployment: Deployment, tiles: Tiles, probes: Sequence[Probe], ledger: Ledger, settled: float
    ) -> None:
        self._deployment, self._tiles, self._probes, self._ledger = deployment, tiles, probes, ledger
        self._settled = settled
        self._random = random.Random(1)
        self.killed: list[psutil.Process] = []

    async def kill(self, kind: str) -> Window:
        """Kill a process of a kind; the window, once everything is served again."""
        occupied = None
        if kind == FUNCTIONS:
            # One that computes: idle ones are nobody's loss.
            occupied = asyncio.create_task(self._tiles.slow_function())
        victim = await self._victim(kind)
        # Of functions' processes there are as many as are wanted.
        many = 0 if kind == FUNCTIONS else len(self._deployment.victims(kind))
        before = [key for key, when in self._ledger.chains.items() if when < time.monotonic()]
        window = self._ledger.kill(kind)
        before_kill = spent(self._deployment)
        # One that ended by itself just now is replaced as one that was killed.
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
        self.killed.append(victim)
        deadline = time.monotonic() + LONGEST
        replaced = 0.0
        samples: list[tuple[float, Effort]] = []
        while time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            if not samples or time.monotonic() - samples[-1][0] > SAMPLE:
                samples.append((time.monotonic(), effort(self._deployment, before_kill)))
            window.backs = {probe.name: probe.back(window.begun, self._settled) for probe in self._probes}
            if not replaced:
                found = self._deployment.victims(kind)
                if victim not in found and len(found) >= many:
                    replaced = time.monotonic() - window.begun
            if replaced and window.back is not None:
                end = window.begun + window.back
                used = next((one.seconds for when, one in samples if when >= end), window.back)
                window.own = min(window.back, replaced + used)
                break
        else:
            missing = [f"{one.name} ({one.reason})" for one in self._probes if window.backs[one.name] is None]
            self._ledger.fail(f"{kind}: {LONGEST:g} s later there was no {missing or 'other process'}")
        if occupied is not None:
            try:
                async with asyncio.timeout(LONGEST):
                    await occupied
            except (TimeoutError, NotServed, Lost) as error:
                self._ledger.fail(f"{kind}: its tile never came: {error!r}, {dict(window.errors)}")
        window.lost = await asyncio.to_thread(self.missing, before)
        return window

    def missing(self, keys: Sequence[str]) -> int:
        """How many acknowledged chains the store does not have."""
        with redis.Redis.from_url(self._deployment.chains, socket_timeout=10.0) as store:
            pipe = store.pipeline(transaction=False)
            for key in keys:
                pipe.exists(f"geoloom:chain:{key}")
            return pipe.execute().count(0)

    def unsaved(self, keys: Sequence[str]) -> int:
        """How many saved chains would expire."""
        with redis.Redis.from_url(self._deployment.chains, socket_timeout=10.0) as store:
            pipe = store.pipeline(transaction=False)
            for key in keys:
                pipe.ttl(f"geoloom:chain:{key}")
            return sum(left != -1 for left in pipe.execute())

    async def _victim(self, kind: str) -> psutil.Process:
        deadline = time.monotonic() + LONGEST
        while time.monotonic() < deadline:
            found = [one for one in self._deployment.victims(kind) if kind != FUNCTIONS or busy(one)]
            if found:
                return self._random.choice(found)
            await asyncio.sleep(0.02)
        raise RuntimeError(f"there is no {kind} to be killed")


FUNCTIONS = "sandboxed function"

BUSY = 0.08
"""Seconds of processor time that show a function's process to be one that computes: others take little."""


@dataclass(frozen=True, slots=True)
class Effort:
    """Processor time that the stack has used since a moment.

    Parameters
    ----------
    total
        Of all its processes.
    chain
        Of the busiest, with that of the one that has started it if both are new.
    """

    total: float
    chain: float

    @property
    def seconds(self) -> float:
        """How long it takes at least where nothing else runs."""
        return max(self.chain, self.total / (os.cpu_count() or 1))


def spent(deployment: Deployment) -> dict[psutil.Process, float]:
    """Processor time of each process of the stack."""
    found = {}
    for process in deployment.family():
        with contextlib.suppress(psutil.Error):
            found[process] = sum(process.cpu_times()[:2])
    return found


def effort(deployment: Deployment, before: dict[psutil.Process, float]) -> Effort:
    """What was spent since then."""
    used = {process: seconds - before.get(process, 0.0) for process, seconds in spent(deployment).items()}
    new = {process.pid: seconds for process, seconds in used.items() if process not in before}
    chains = []
    for process, seconds in used.items():
        with contextlib.suppress(psutil.Error):
            chains.append(seconds + (new.get(process.ppid(), 0.0) if process.pid in new else 0.0))
    return Effort(sum(used.values()), max(chains, default=0.0))


def busy(process: psutil.Process) -> bool:
    """Whether a function's process computes for long."""
    with contextlib.suppress(psutil.Error):
        return bool(process.cpu_times().user > BUSY)
    return False


def taken(process: psutil.Process) -> tuple[int, int, int]:
    """Open files, threads and megabytes of a process; zeros if it is gone."""
    with contextlib.suppress(psutil.Error):
        return process.num_fds(), process.num_threads(), process.memory_info().rss >> 20
    return 0, 0, 0
