"""The soak as a whole: a quiet engine first, then users and faults at once, then what is left of it."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from soak.deployment import Bare, Deployment
from soak.faults import Faults, taken
from soak.ledger import Ledger
from soak.pictures import PICTURES, Known, Land, known_bytes
from soak.probes import Tiles
from soak.user import User

SETTLING = 10.0
"""Seconds that the engine has to notice that connections were closed."""

LEAVING = 90.0
"""Seconds that users have to come to an end: as long as they wait for a tile, and more."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Effort:
    """How many, how often, how long."""

    users: int
    rounds: int
    gap: float
    pause: float
    kinds: list[str] | None = None
    settled: float = 3.0
    """Seconds without any failure after which all is well again."""


@dataclass
class Result:
    """What came of it."""

    effort: Effort
    ledger: Ledger
    tiles: int
    seconds: float = 0.0
    processor: float = 0.0
    """Share of the machine's processors that the test's own client took."""
    load: tuple[float, float] = (0.0, 0.0)
    """The machine's load average at its least and its most."""
    used: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = field(default_factory=dict)
    """Open files, threads and megabytes of each process before the users came and after they left."""


async def storm(
    deploy: Callable[[Path, Path], Deployment], folder: Path, land: Land, effort: Effort, say: Say
) -> Result:
    """Know the right bytes, start what is soaked, let users loose, kill, and look what is left."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    known = await _known(folder, land, say)
    (folder / "stack").mkdir()
    deployment = await asyncio.to_thread(deploy, folder / "stack", land.folder)
    try:
        return await _storm(deployment, land, known, effort, say)
    finally:
        await asyncio.to_thread(deployment.stop)


async def _known(folder: Path, land: Land, say: Say) -> Known:
    (folder / "quiet").mkdir()
    begun = time.monotonic()
    quiet = await asyncio.to_thread(Bare, folder / "quiet", land.folder)
    try:
        known = await known_bytes(land, quiet.engine, quiet.secret)
    finally:
        await asyncio.to_thread(quiet.stop)
    say(f"{len(known)} tiles of {len(PICTURES)} pictures known after {time.monotonic() - begun:.0f} s")
    return known


async def _storm(deployment: Deployment, land: Land, known: Known, effort: Effort, say: Say) -> Result:
    ledger = Ledger()
    tiles = Tiles(deployment, land, known, ledger)
    probes = [*tiles.probes(), *deployment.probes()]
    probing = [asyncio.create_task(probe.run(ledger)) for probe in probes]
    await _warm(probes)
    result = Result(effort, ledger, len(known))
    before = {name: taken(process) for name, process in _processes(deployment).items()}
    users = [
        User(
            number, deployment.tiles, deployment.engine, deployment.token(number), land, known, ledger,
            effort.pause,
        )
        for number in range(1, effort.users + 1)
    ]  # fmt: skip
    begun, spent = time.monotonic(), time.process_time()
    ledger.begun = ledger.windows[0].begun = begun
    living = [asyncio.create_task(user.live()) for user in users]
    loads, told = [os.getloadavg()[0]], 0
    faults = Faults(deployment, tiles, probes, ledger, effort.settled)
    try:
        await asyncio.sleep(effort.pause + effort.gap)
        for _ in range(effort.rounds):
            for kind in effort.kinds or deployment.kinds:
                await asyncio.sleep(effort.gap)
                window = await faults.kill(kind)
                loads.append(os.getloadavg()[0])
                for wrong in ledger.wrong[told:]:
                    say(f"WRONG: {wrong}")
                told = len(ledger.wrong)
                say(
                    f"{time.monotonic() - begun:6.1f} s  {kind}: back after "
                    f"{'never' if window.back is None else f'{window.back:.2f} s'} "
                    f"(of its own {window.own or 0.0:.2f} s), last error after "
                    f"{window.felt:.2f} s, slowest tile {window.slowest:.2f} s, {window.lost} chains lost, "
                    f"{sum(window.errors.values())} errors {dict(window.errors)} {window.backs}"
                )
    finally:
        result.load = min(loads), max(loads)
        result.seconds = time.monotonic() - begun
        result.processor = (time.process_time() - spent) / result.seconds
        for user in users:
            user.leave()
        for task in probing:
            task.cancel()
        _, late = await asyncio.wait(living, timeout=LEAVING)
        for task in late:
            task.cancel()
        ended = await asyncio.gather(*living, *probing, return_exceptions=True)
        tiles.close()
    if late:
        ledger.fail(f"{len(late)} users did not come to an end")
    for one in ended:
        if isinstance(one, Exception):
            ledger.fail(f"a user failed: {type(one).__name__}: {one}")
    await _aftermath(deployment, faults, ledger)
    after = _processes(deployment)
    result.used = {
        name: (taken_before, taken(after[name])) for name, taken_before in before.items() if name in after
    }
    return result


async def _warm(probes: object) -> None:
    deadline = time.monotonic() + 60.0
    while any(one.back(0.0, 1.0) is None for one in probes):  # type: ignore[attr-defined]
        if time.monotonic() > deadline:
            raise RuntimeError(f"not served: {[(one.name, one.reason) for one in probes]}")  # type: ignore[attr-defined]
        await asyncio.sleep(0.05)


def _processes(deployment: Deployment) -> dict[str, psutil.Process]:
    found = {name: psutil.Process(pid) for name, pid in deployment.roots().items()}
    for number, worker in enumerate(deployment.victims("engine worker")):
        found[f"engine worker {number}"] = worker
    return found


async def _aftermath(deployment: Deployment, faults: Faults, ledger: Ledger) -> None:
    """Note lost chains, and processes and connections that were left behind."""
    left = [one for one in faults.killed if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    if left:
        ledger.fail(f"killed processes that live: {left}")
    deadline = time.monotonic() + SETTLING
    while open_ones := _connections(deployment):
        if time.monotonic() > deadline:
            ledger.fail(f"{open_ones} connections are held that the other end has closed")
            break
        await asyncio.sleep(0.1)
    dead = [one for one in deployment.family() if one.status() == psutil.STATUS_ZOMBIE]
    if dead:
        ledger.fail(f"{len(dead)} processes ended and were not waited for: {dead}")
    lost = faults.missing(list(ledger.chains))
    if lost:
        ledger.fail(f"{lost} of {len(ledger.chains)} chains are not there at the end")
    expiring = faults.unsaved(sorted(ledger.saved))
    if expiring:
        ledger.fail(f"{expiring} of {len(ledger.saved)} saved chains would expire")


def _connections(deployment: Deployment) -> int:
    """Connections that engine workers hold though the browser or kernel has closed them."""
    port = urlsplit(deployment.engine).port
    return sum(
        one.laddr.port == port and one.status == psutil.CONN_CLOSE_WAIT
        for worker in deployment.victims("engine worker")
        for one in worker.net_connections("tcp")
    )
