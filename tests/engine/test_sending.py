from __future__ import annotations

import asyncio
import socket

import pytest
from tornado.iostream import IOStream, StreamClosedError

from geoloom_engine import sending

LONG = 16 << 20
"""Bytes that no system takes at once."""


async def connected() -> tuple[IOStream, socket.socket]:
    ours, theirs = socket.socketpair()
    return IOStream(ours), theirs


def test_an_answer_that_nobody_takes_ends_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "PATIENCE", 0.05)
    monkeypatch.setattr(sending, "SLOWEST", 1 << 40)

    async def run() -> None:
        stream, client = await connected()
        with client:
            written = asyncio.ensure_future(stream.write(b"x" * LONG))
            sending.limit(written, stream, LONG)
            with pytest.raises(StreamClosedError):
                await asyncio.wait_for(written, 20)
        assert stream.closed()

    asyncio.run(run())


def test_one_that_is_taken_leaves_it_open(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        stream, client = await connected()
        loop = asyncio.get_running_loop()
        waiting: list[asyncio.TimerHandle] = []
        later = loop.call_later

        def noted(*call: object) -> asyncio.TimerHandle:
            waiting.append(later(*call))  # type: ignore[arg-type]
            return waiting[-1]

        monkeypatch.setattr(loop, "call_later", noted)
        with client:
            for size in (10, LONG):
                written = stream.write(b"x" * size)
                sending.limit(written, stream, size)
                taken = 0
                while taken < size:
                    taken += len(await loop.run_in_executor(None, client.recv, 1 << 20))
                await written
            assert not stream.closed()
            # Short ones need no timer, and none is left.
            assert [timer.cancelled() for timer in waiting] == [True]
        stream.close()

    asyncio.run(run())
