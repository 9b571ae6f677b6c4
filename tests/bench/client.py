"""The client both servers get: a process of its own with keep-alive connections.

Each asks for the next tile once the last has come, until a fixed number of requests is answered.
It takes JSON on stdin and gives JSON.

Times of requests that are still under way at an end would favour the slower server; here all are waited for.
"""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import sys
import time
from collections import Counter
from functools import partial
from typing import Any

import uvloop

LONGEST = 300.0
_ORIGIN = re.compile(rb"cache;desc=(\w+)")


class Load:
    """What is to be asked, and what came of it.

    Parameters
    ----------
    host, port
        The server.
    lanes
        Lists of paths; connection i walks through list i modulo their number, beginning at `start`.
    requests
        How many in all.
    """

    def __init__(self, host: str, port: int, lanes: list[list[str]], requests: int, start: int) -> None:
        head = f" HTTP/1.1\r\nHost: {host}:{port}\r\nAccept-Encoding: gzip\r\n\r\n"
        self.lanes = [[f"GET {path}{head}".encode() for path in lane] for lane in lanes]
        self.next = [start] * len(lanes)
        self.left = requests
        self.seconds: list[float] = []
        self.bytes = 0
        self.bad = 0
        self.origins: Counter[str] = Counter()

    def request(self, lane: int) -> bytes | None:
        """The next request of a lane; None at the end."""
        if self.left == 0:
            return None
        self.left -= 1
        place = self.next[lane]
        self.next[lane] = place + 1
        return self.lanes[lane][place % len(self.lanes[lane])]

    def answered(self, head: bytes, length: int, seconds: float) -> None:
        """Note an answer."""
        self.seconds.append(seconds)
        self.bytes += length
        self.bad += head[9:12] != b"200"
        if origin := _ORIGIN.search(head):
            self.origins[origin[1].decode()] += 1


class Connection(asyncio.Protocol):
    """One connection's loop of question and answer."""

    def __init__(self, load: Load, lane: int, done: asyncio.Future[None]) -> None:
        self.load = load
        self.lane = lane
        self.done = done
        self.buffer = bytearray()
        self.head = b""
        self.length = 0
        self.asked = 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        request = self.load.request(self.lane)
        if request is None:
            self.done.set_result(None)
            self.transport.close()
            return
        self.asked = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.head:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self.head = bytes(self.buffer[:end])
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", self.head)
            self.length = int(length[1]) if length else 0
            del self.buffer[: end + 4]
        if len(self.buffer) >= self.length:
            self.load.answered(self.head, self.length, time.perf_counter() - self.asked)
            self.buffer.clear()
            self.head = b""
            self.ask()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the server closed the connection"))


async def run(order: dict[str, Any]) -> dict[str, Any]:
    """Carry out one order: host, port, lanes, requests, start, connections."""
    load = Load(order["host"], order["port"], order["lanes"], order["requests"], order["start"])
    loop = asyncio.get_running_loop()
    ends: list[asyncio.Future[None]] = [loop.create_future() for _ in range(order["connections"])]
    begun = time.perf_counter()
    for number, end in enumerate(ends):
        lane = number % len(load.lanes)
        await loop.create_connection(partial(Connection, load, lane, end), order["host"], order["port"])
    await asyncio.wait_for(asyncio.gather(*ends), LONGEST)
    elapsed = time.perf_counter() - begun
    times = sorted(load.seconds)
    return {
        "requests": len(times),
        "seconds": elapsed,
        "p50_ms": statistics.median(times) * 1000,
        "p95_ms": times[int(len(times) * 0.95)] * 1000,
        "bytes": load.bytes,
        "bad": load.bad,
        "origins": dict(load.origins),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(uvloop.run(run(json.load(sys.stdin)))))
