"""An engine worker's line to the zygote: order a sandbox worker, and learn how one ended."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from geoloom.errors import EngineFault, EngineOverloaded
from geoloom_engine.sandbox import wire
from geoloom_engine.sandbox.messages import NOTICE_SIZE, Malformed, Notice, Order, What

SLICE = 0.02
"""Seconds between two looks at whether anybody still waits."""

FIRST_PATIENCE = 60.0
"""Seconds to wait for a worker of a zygote that has modules to load (1.4 s of processor time)."""

PATIENCE = 10.0
"""Seconds to wait for any other."""


class Spawned(NamedTuple):
    """A new sandbox worker: process, a handle to it where the system has such, whether it has all modules."""

    pid: int
    handle: int | None
    whole: bool = True


class NewZygote(Exception):
    """Another zygote has begun, and an earlier one took the order with it."""


class Channel:
    """One end of the line; thread-safe, one order at a time.

    Parameters
    ----------
    connection
        To the zygote.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._turn = threading.Lock()
        self._known = False
        self.packets = wire.has_packets(connection)

    def spawn(self, order: Order, descriptors: Sequence[int], ask: Callable[[], None]) -> Spawned:
        """Order a sandbox worker.

        Parameters
        ----------
        order
            What is ordered.
        descriptors
            Job socket, input and output.
        ask
            Called again and again while waiting; whatever it raises ends that.

        Raises
        ------
        EngineOverloaded
            None was made in time, or the system has no room for another process.
        NewZygote
            Order again, by another number.
        """
        with self._my_turn(ask):
            notice, handles = self._answer(order, descriptors, ask)
        if notice.what is What.REFUSED:
            raise EngineOverloaded(
                f"The engine has no room for another function: {os.strerror(notice.pid)}.", hint="Try again."
            )
        self._known = whole = notice.status == 1
        return Spawned(notice.pid, handles[0] if handles else None, whole)

    def end(self, number: int) -> Notice | None:
        """Have a worker ended; how it did, or None if the zygote does not know it (any more)."""
        try:
            with self._my_turn(_patiently):
                notice, _ = self._answer(Order(What.END, number), (), _patiently)
        except (NewZygote, EngineOverloaded, EngineFault):
            return None
        return notice if notice.what is What.END else None

    @contextlib.contextmanager
    def _my_turn(self, ask: Callable[[], None]) -> Iterator[None]:
        deadline = time.monotonic() + FIRST_PATIENCE
        while not self._turn.acquire(timeout=SLICE):
            ask()
            if time.monotonic() > deadline:
                raise _too_busy()
        try:
            yield
        finally:
            self._turn.release()

    def _answer(
        self, order: Order, descriptors: Sequence[int], ask: Callable[[], None]
    ) -> tuple[Notice, list[int]]:
        self._drain()
        deadline = time.monotonic() + (PATIENCE if self._known else FIRST_PATIENCE)
        self._send(order, descriptors)
        while True:
            if wire.wait(self._connection, SLICE):
                try:
                    found = self._next()
                except NewZygote:
                    # It answers in order: to this after the order, unless an earlier one took that.
                    self._send(Order(What.HELLO, order.number))
                    deadline = time.monotonic() + FIRST_PATIENCE
                    continue
                if found is not None and found[0].number == order.number:
                    if found[0].what is What.HELLO:
                        raise NewZygote
                    return found
                wire.close(found[1] if found else ())
                continue
            ask()
            if time.monotonic() > deadline:
                raise _too_busy()

    def _send(self, order: Order, descriptors: Sequence[int] = ()) -> None:
        try:
            wire.send(self._connection, order.pack(), descriptors)
        except OSError as error:
            raise EngineFault(f"The engine's sandbox cannot be reached: {error.strerror}.") from None

    def _drain(self) -> None:
        """Take in answers that nobody waited for."""
        while True:
            try:
                found = self._next()
            except NewZygote:
                continue
            if found is None:
                return
            wire.close(found[1])

    def _next(self) -> tuple[Notice, list[int]] | None:
        try:
            found = wire.receive(self._connection, NOTICE_SIZE, 1)
            if found is None:
                return None
            content, handles = found
            if not content:
                raise EngineFault("The engine's sandbox has ended.")
            notice = Notice.unpack(content)
        except (Malformed, OSError) as error:
            raise EngineFault(f"The engine's sandbox cannot be understood: {error}.") from None
        if notice.what is What.HELLO and not notice.number:
            self._known = False
            raise NewZygote
        return notice, handles


def _patiently() -> None:
    """Go on waiting."""


def _too_busy() -> EngineOverloaded:
    return EngineOverloaded("The engine was too busy to start a function.", hint="Try again.")
