"""How the workers of an engine ask each other for tiles.

Each worker has a **door**: a pair of datagram sockets made before the fork, which all workers
inherit. Who wants to ask makes a pair of stream sockets and puts one end through the other's door.
So there is no address that others could reach or that could be left behind; and since the door
outlives the worker, one that was started anew is reached by its predecessor's.

On a connection go frames: length of the content, number of the request, kind, content. Whatever is
amiss with a hop, who asked computes the tile itself.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

from geoloom.errors import EngineFault, GeoloomError, from_json
from geoloom.grid import Tile
from geoloom_engine.accepting import Shares
from geoloom_engine.logs import with_fields
from geoloom_engine.owners import Owners

log = logging.getLogger("geoloom_engine")

_HEADER = struct.Struct("!IIB")
_PLACE = struct.Struct("!BIIB")
_HEAD = struct.Struct("!H")
_HELLO, _ASK, _LEAVE, _TILE, _ERROR, _DECLINED = range(6)


@dataclass(frozen=True, slots=True)
class Ask:
    """A request for a tile of a chain, at the data version that who asks expects."""

    key: str
    data: str
    tile: Tile
    ratio: int
    session: str

    def pack(self) -> bytes:
        """As bytes."""
        tile = self.tile
        return (
            _PLACE.pack(tile.z, tile.x, tile.y, self.ratio)
            + f"{self.key}\n{self.data}\n{self.session}".encode()
        )

    @staticmethod
    def unpack(content: bytes) -> Ask:
        """From bytes."""
        z, x, y, ratio = _PLACE.unpack_from(content)
        key, data, session = content[_PLACE.size :].decode().split("\n")
        return Ask(key, data, Tile(z, x, y), ratio, session)


@dataclass(frozen=True, slots=True)
class Reply:
    """A tile from another worker; `seconds` are those between its question and its answer there."""

    png: bytes
    data: str
    origin: str
    stages: dict[str, float]
    seconds: float

    def pack(self) -> bytes:
        """As bytes."""
        head = json.dumps((self.data, self.origin, self.stages, self.seconds)).encode()
        return b"".join((_HEAD.pack(len(head)), head, self.png))

    @staticmethod
    def unpack(content: bytes) -> Reply:
        """From bytes."""
        end = _HEAD.size + _HEAD.unpack_from(content)[0]
        return Reply(content[end:], *json.loads(content[_HEAD.size : end]))


class Unreached(Exception):
    """The other worker does not answer, or not to this."""


class Door:
    """Where connections to a worker are handed in; made before the fork."""

    def __init__(self) -> None:
        self.inside, self.outside = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.inside.setblocking(False)
        self.outside.setblocking(False)

    def close(self) -> None:
        """Close it in this process."""
        self.inside.close()
        self.outside.close()


class Mesh:
    """What leads from each worker of an engine to the others; made before the fork.

    Parameters
    ----------
    workers
        How many there are.
    """

    def __init__(self, workers: int) -> None:
        self.owners = Owners(workers)
        self.shares = Shares(workers)
        self.doors = [Door() for _ in range(workers)]

    def claim(self, worker: int) -> None:
        """Be this worker from now on."""
        self.owners.claim(worker)
        self.shares.claim(worker)

    def close(self) -> None:
        """Close all doors in this process."""
        for door in self.doors:
            door.close()


Answer = Callable[[Ask], Awaitable[Reply]]
"""Answers what another worker asks; raises `Unreached` to have it computed there."""


class Peers:
    """The connections of one worker to the others; made inside its event loop.

    Parameters
    ----------
    me
        Number of this worker.
    doors
        Of all workers.
    answer
        Answers what others ask.
    patience
        Seconds to wait for an answer.
    """

    def __init__(self, me: int, doors: list[Door], answer: Answer, patience: float) -> None:
        self._doors = doors
        self._own = doors[me].inside
        self._answer = answer
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, _Calling] = {}
        self._guests: set[_Serving] = set()
        self._opening: set[asyncio.Task[Any]] = set()
        self._loop.add_reader(self._own, self._let_in)

    async def ask(self, worker: int, ask: Ask) -> Reply:
        """The answer of another worker.

        Raises
        ------
        Unreached
            It gives none; also while the connection to it is being made.
        GeoloomError
            What kept it from drawing the tile.
        """
        call = self._calls.get(worker)
        if call is None or call.closed:
            self._call(worker)
            raise Unreached
        if not call.ready:
            raise Unreached
        number, answer = call.ask(ask.pack())
        try:
            return await answer
        except asyncio.CancelledError:
            call.leave(number)
            raise

    def close(self) -> None:
        """Close all connections."""
        self._loop.remove_reader(self._own)
        for connection in [*self._calls.values(), *self._guests]:
            connection.close()

    def _call(self, worker: int) -> None:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        call = self._calls[worker] = _Calling(self._loop, self._patience)
        try:
            socket.send_fds(self._doors[worker].outside, [b"\0"], [far.fileno()])
        except OSError:
            # The worker is away, and what others handed in waits for its successor.
            near.close()
            del self._calls[worker]
        else:
            self._open(near, call)
        finally:
            far.close()

    def _let_in(self) -> None:
        try:
            _, found, _, _ = socket.recv_fds(self._own, 1, 1)
        except OSError:
            return
        for number in found:
            guest = _Serving(self._loop, self._answer, self._guests)
            self._open(socket.socket(fileno=number), guest)

    def _open(self, end: socket.socket, connection: _Connection) -> None:
        end.setblocking(False)
        task = self._loop.create_task(self._loop.create_unix_connection(lambda: connection, sock=end))
        self._opening.add(task)

        def opened(done: asyncio.Task[Any]) -> None:
            self._opening.discard(done)
            if done.cancelled() or done.exception() is not None:
                connection.closed = True
                end.close()

        task.add_done_callback(opened)


class _Connection(asyncio.Protocol):
    """Frames in both directions."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not all event loops derive theirs from it.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True
        if self._transport is not None:
            self._transport.close()

    def send(self, kind: int, number: int, content: bytes = b"") -> None:
        if self._transport is not None and not self.closed:
            self._transport.write(_HEADER.pack(len(content), number, kind) + content)

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        while at + _HEADER.size <= end:
            length, number, kind = _HEADER.unpack_from(data, at)
            start = at + _HEADER.size
            if start + length > end:
                break
            at = start + length
            self.received(kind, number, data[start:at])
        self._rest = data[at:]

    def received(self, kind: int, number: int, content: bytes) -> None:
        raise NotImplementedError


class _Calling(_Connection):
    """The end that asks."""

    def __init__(self, loop: asyncio.AbstractEventLoop, patience: float) -> None:
        super().__init__(loop)
        self.ready = False
        self._patience = patience
        self._number = 0
        self._open: dict[int, tuple[asyncio.Future[Reply], float]] = {}
        self._watch: asyncio.TimerHandle | None = None

    def ask(self, content: bytes) -> tuple[int, asyncio.Future[Reply]]:
        number = self._number = (self._number + 1) & 0xFFFFFFFF
        answer: asyncio.Future[Reply] = self._loop.create_future()
        self._open[number] = answer, self._loop.time() + self._patience
        self.send(_ASK, number, content)
        if self._watch is None:
            self._watch = self._loop.call_later(self._patience, self._look)
        return number, answer

    def leave(self, number: int) -> None:
        if self._open.pop(number, None) is not None:
            self.send(_LEAVE, number)

    def received(self, kind: int, number: int, content: bytes) -> None:
        if kind == _HELLO:
            self.ready = True
            return
        answer, _ = self._open.pop(number, (None, 0.0))
        if answer is None or answer.done():
            return
        if kind == _TILE:
            answer.set_result(Reply.unpack(content))
        elif kind == _ERROR:
            answer.set_exception(from_json(json.loads(content)))
        else:
            answer.set_exception(Unreached())

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._watch is not None:
            self._watch.cancel()
        for answer, _ in self._open.values():
            if not answer.done():
                answer.set_exception(Unreached())
        self._open.clear()

    def _look(self) -> None:
        """Give the other worker up if it leaves a question unanswered."""
        self._watch = None
        if not self._open:
            return
        deadline = next(iter(self._open.values()))[1]
        if deadline <= self._loop.time():
            log.warning("another worker does not answer; its tiles are computed here")
            self.close()
        else:
            self._watch = self._loop.call_at(deadline, self._look)


class _Serving(_Connection):
    """The end that answers."""

    def __init__(self, loop: asyncio.AbstractEventLoop, answer: Answer, guests: set[_Serving]) -> None:
        super().__init__(loop)
        self._answer = answer
        self._guests = guests
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._guests.add(self)
        self.send(_HELLO, 0)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._guests.discard(self)
        for task in self._tasks.values():
            task.cancel()

    def received(self, kind: int, number: int, content: bytes) -> None:
        if kind == _ASK:
            task = asyncio.Task(self._reply(number, content), loop=self._loop, eager_start=True)
            if not task.done():
                self._tasks[number] = task
                task.add_done_callback(lambda done: self._tasks.pop(number, None))
        elif kind == _LEAVE and number in self._tasks:
            self._tasks[number].cancel()

    async def _reply(self, number: int, content: bytes) -> None:
        ask = None
        try:
            ask = Ask.unpack(content)
            reply = await self._answer(ask)
        except Unreached:
            self.send(_DECLINED, number)
        except GeoloomError as error:
            self.send(_ERROR, number, json.dumps(error.to_json()).encode())
        except Exception:
            incident = secrets.token_hex(6)
            log.exception(
                "incident %s: a tile that another worker asked for",
                incident,
                extra=with_fields(
                    ask.session if ask else None, incident=incident, key=ask.key if ask else None
                ),
            )
            fault = EngineFault(
                "The engine failed at this request.",
                hint="This is a defect: report it with the incident's number.",
                incident=incident,
            )
            self.send(_ERROR, number, json.dumps(fault.to_json()).encode())
        else:
            self.send(_TILE, number, reply.pack())
