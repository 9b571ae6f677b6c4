"""One measurement: a load on one server, the processor time it cost, and what the client saw."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import urlsplit

from bench.servers import Server, plain_environment
from geoloom.grid import Tile

CLIENT = Path(__file__).with_name("client.py")
CONNECTIONS = 8


class Failed(Exception):
    """A server answered with an error, or not as it should."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one request cost.

    Parameters
    ----------
    cpu_ms
        Processor time of the server's process tree and of its store, per request.
    store_ms
        That of the store alone.
    p50_ms, p95_ms
        The client's wait.
    rate
        Requests per second.
    kilobytes
        Size of a body (1,000 bytes).
    read_kb
        What the server's process tree read, from files and sockets (1,000 bytes).
    resident_mb
        The process tree's memory afterwards.
    """

    cpu_ms: float
    store_ms: float
    p50_ms: float
    p95_ms: float
    rate: float
    kilobytes: float
    read_kb: float
    resident_mb: float

    @staticmethod
    def median(samples: Sequence[Sample]) -> Sample:
        """The median of each figure."""
        return Sample(
            *(statistics.median(getattr(one, item.name) for one in samples) for item in fields(Sample))
        )


def paths(template: str, tiles: Sequence[Tile]) -> list[str]:
    """The tiles' paths."""
    return [template.format(z=tile.z, x=tile.x, y=tile.y) for tile in tiles]


def measure(
    server: Server,
    lanes: Sequence[Sequence[str]],
    requests: int,
    *,
    connections: int = CONNECTIONS,
    start: int = 0,
    origin: str = "",
) -> Sample:
    """Put a load on a server and wait for all of it.

    Parameters
    ----------
    lanes
        Lists of paths; see `bench.client.Load`.
    origin
        Where all of the engine's tiles must come from (``computed``, ``memory``), by its own word.

    Raises
    ------
    Failed
        If an answer was no success, or came from elsewhere.
    """
    place = urlsplit(server.url)
    order = {
        "host": place.hostname,
        "port": place.port,
        "lanes": lanes,
        "requests": requests,
        "connections": connections,
        "start": start,
    }
    before, read = server.cpu(), server.read()
    done = subprocess.run(
        [sys.executable, CLIENT],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        env=plain_environment(),
    )
    tree, store = (now - then for now, then in zip(server.cpu(), before, strict=True))
    if done.returncode:
        raise Failed(f"{server.name}: the client failed: {done.stderr[-500:]}")
    seen = json.loads(done.stdout)
    if seen["bad"]:
        raise Failed(f"{server.name}: {seen['bad']} of {requests} answers were errors, such as {lanes[0][0]}")
    if origin and set(seen["origins"]) != {origin}:
        raise Failed(f"{server.name}: tiles should be {origin}, but were {seen['origins']}")
    each = 1000 / seen["requests"]
    return Sample(
        cpu_ms=(tree + store) * each,
        store_ms=store * each,
        p50_ms=seen["p50_ms"],
        p95_ms=seen["p95_ms"],
        rate=seen["requests"] / seen["seconds"],
        kilobytes=seen["bytes"] / seen["requests"] / 1000,
        read_kb=(server.read() - read) / seen["requests"] / 1000,
        resident_mb=server.resident(),
    )
