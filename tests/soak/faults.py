"""Kills one process after the other, and waits until everything is served again."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence

import psutil
import redis

from soak.deployment import Deployment
from soak.ledger import Ledger, Window
from soak.probes import Probe

SETTLED = 3.0
"""Seconds without any failure after which all is well again."""

LONGEST = 60.0
"""Seconds after which it is given up that something comes back."""


class Faults:
    """What is killed, and what comes of it.

    Parameters
    ----------
    gap
        Seconds between the return of everything and the next kill.
    """

    def __init__(
        self, deployment: Deployment, probes: Sequence[Probe], ledger: Ledger, gap: float, seed: int = 1
    ) -> None:
        self._deployment, self._probes, self._ledger = deployment, probes, ledger
        self._gap = gap
        self._random = random.Random(seed)
        self.killed: list[psutil.Process] = []

    async def run(self, kinds: Sequence[str], rounds: int) -> None:
        """Kill one of each kind, several times over."""
        for _ in range(rounds):
            for kind in kinds:
                await asyncio.sleep(self._gap)
                await self.kill(kind)

    async def kill(self, kind: str) -> Window:
        """Kill a process of a kind; the window, once everything is served again."""
        victim = await self._victim(kind)
        many = len(self._deployment.victims(kind))
        before = [key for key, when in self._ledger.chains.items() if when < time.monotonic()]
        window = self._ledger.kill(kind)
        victim.kill()
        self.killed.append(victim)
        deadline = time.monotonic() + LONGEST
        replaced = 0.0
        while time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            found = self._deployment.victims(kind)
            if not replaced and victim not in found and len(found) >= (many if kind != FUNCTIONS else 0):
                replaced = time.monotonic() - window.begun
            backs = [probe.back(window.begun, SETTLED) for probe in self._probes]
            if replaced and None not in backs:
                window.back = max(back or 0.0 for back in backs)
                break
        else:
            open_ones = [one.name + ": " + one.reason for one in self._probes if one.back(0, SETTLED) is None]
            self._ledger.fail(
                f"{kind}: after {LONGEST:g} s there was still no {open_ones or 'other process'}"
            )
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
            found = self._deployment.victims(kind)
            if found:
                return self._random.choice(found)
            await asyncio.sleep(0.02)
        raise RuntimeError(f"there is no {kind} to be killed")


FUNCTIONS = "sandboxed function"


def taken(process: psutil.Process) -> tuple[int, int, int]:
    """Open files, threads and megabytes of a process; zeros if it is gone."""
    with contextlib.suppress(psutil.Error):
        return process.num_fds(), process.num_threads(), process.memory_info().rss >> 20
    return 0, 0, 0
