"""Connections are shared out evenly between workers, which accept from one socket.

Whichever worker wakes first takes all that wait, and browsers keep their connections: of 32 opened at
once, one worker often got them all. Here a worker that has more than another lets that one go first, for
a few milliseconds at most. (With a socket per worker and SO_REUSEPORT the kernel draws lots: of six
connections all may go to one worker, and those that wait for a worker that dies are lost.)
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

import tornado.httpserver
import tornado.iostream

from geoloom_engine.board import Board

AHEAD = 1
"""Connections a worker may have more than another and still take the next."""

GLANCE = 0.0005
"""Seconds between two looks at whether the others have caught up."""

COURTESY = 0.01
"""Seconds a connection waits for another worker at most: that may be busy, or gone."""

AT_ONCE = 16
"""Connections taken before other things get their turn."""


class Shares(Board):
    """How many connections each worker has open."""

    def add(self, connections: int) -> None:
        """Note that so many connections came, or went if negative."""
        self.mine += connections

    @property
    def ahead(self) -> bool:
        """Whether this worker has more than its share."""
        return self.mine > min(self.numbers) + AHEAD


class BalancedServer(tornado.httpserver.HTTPServer):
    """An HTTP server that takes no more connections than other workers do."""

    shares: Shares | None = None
    """To be set before sockets are added; None where there is one worker."""

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Tornado's hook: accept connections from sockets, which are bound and listen."""
        if self.shares is None:
            super().add_sockets(sockets)
            return
        for one in sockets:
            self._sockets[one.fileno()] = one
            self._handlers[one.fileno()] = accept(one, self._handle_connection, self.shares)

    def handle_stream(self, stream: tornado.iostream.IOStream, address: Any) -> None:
        """Tornado's hook: a new connection."""
        if self.shares is not None:
            self.shares.add(1)
        super().handle_stream(stream, address)

    def on_close(self, server_conn: object) -> None:
        """Tornado's hook: the end of a connection."""
        if self.shares is not None:
            self.shares.add(-1)
        super().on_close(server_conn)


def accept(
    listening: socket.socket, take: Callable[[socket.socket, Any], None], shares: Shares
) -> Callable[[], None]:
    """Hand connections to `take` as they come, in turns with other workers; the answer ends it."""
    loop = asyncio.get_running_loop()
    since: float | None = None
    pause: asyncio.TimerHandle | None = None

    def ready() -> None:
        nonlocal since, pause
        if pause is not None:
            pause = None
            loop.add_reader(listening, ready)
        for _ in range(AT_ONCE):
            if shares.ahead:
                now = time.monotonic()
                since = since or now
                if now < since + COURTESY:
                    loop.remove_reader(listening)
                    pause = loop.call_later(GLANCE, ready)
                    return
            since = None
            try:
                connection, address = listening.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            take(connection, address)

    def end() -> None:
        if pause is not None:
            pause.cancel()
        loop.remove_reader(listening)

    loop.add_reader(listening, ready)
    return end
