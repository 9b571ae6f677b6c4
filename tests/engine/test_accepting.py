from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from geoloom_engine.accepting import AHEAD, COURTESY, Shares, accept

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import RunningEngine, StartEngine


def with_shares(counts: list[int], use: Callable[[socket.socket, Shares, list[float]], Any]) -> None:
    """One worker that has and sees these counts; `use` may connect, and finds when it was let in."""

    async def run() -> None:
        shares = Shares(len(counts))
        for worker, count in reversed(list(enumerate(counts))):
            shares.claim(worker)
            shares.add(count)
        times: list[float] = []

        def take(connection: socket.socket, address: Any) -> None:
            times.append(time.monotonic())
            connection.close()

        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            end = accept(listening, take, shares)
            await use(listening, shares, times)
            end()

    asyncio.run(asyncio.wait_for(run(), 30))


async def connected(listening: socket.socket, times: list[float], number: int = 1) -> float:
    """Seconds until so many connections were let in."""
    begun = time.monotonic()
    made = [socket.create_connection(listening.getsockname()) for _ in range(number)]
    while len(times) < number:
        await asyncio.sleep(0.001)
    for one in made:
        one.close()
    return times[-1] - begun


def test_who_has_its_share_takes_what_comes() -> None:
    async def use(listening: socket.socket, shares: Shares, times: list[float]) -> None:
        await connected(listening, times, 40)
        assert not shares.ahead

    with_shares([5, 5], use)


def test_who_has_more_lets_others_go_first_but_not_for_ever() -> None:
    async def use(listening: socket.socket, shares: Shares, times: list[float]) -> None:
        assert shares.ahead
        assert await connected(listening, times) >= COURTESY

    with_shares([5 + AHEAD + 1, 5, 9], use)


def test_a_worker_started_anew_has_none() -> None:
    shares = Shares(2)
    shares.add(10)
    assert shares.ahead
    shares.claim(0)
    assert not shares.ahead
    shares.add(-1)
    shares.add(1)
    assert not shares.ahead


def test_ends_also_while_it_waits() -> None:
    async def use(listening: socket.socket, shares: Shares, times: list[float]) -> None:
        with socket.create_connection(listening.getsockname()):
            await asyncio.sleep(COURTESY / 5)

    with_shares([50, 5], use)


@pytest.fixture(scope="module")
def pair(start_engine: StartEngine, valkey: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("pair")
    # However busy the machine, the other worker wakes in that time.
    patient = "from geoloom_engine import accepting; accepting.COURTESY = 10.0"
    return start_engine(valkey, folder, workers=2, first=patient)


@pytest.mark.parametrize("number", [6, 32])
def test_two_workers_share_connections(pair: RunningEngine, number: int) -> None:
    async def pids() -> list[bytes]:
        host, port = pair.url.removeprefix("http://").rsplit(":", 1)
        opened = await asyncio.gather(*(asyncio.open_connection(host, int(port)) for _ in range(number)))
        found = []
        for reader, writer in opened:
            writer.write(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split()[0])
            found.append((await reader.readexactly(length)).split(b'"pid":')[1].split(b",")[0].strip(b"}"))
        for _, writer in opened:
            writer.close()
        return found

    found = asyncio.run(asyncio.wait_for(pids(), 30))
    assert len(set(found)) == 2
    # Connections that were closed a moment ago may still count.
    assert max(map(found.count, set(found))) <= 0.85 * number
