"""What happened to a session's tiles, told once: a capped stream per session in Redis.

Browsers cannot see why an image failed, so the engine writes each failed or refused tile (and what
user functions print) into ``geoloom:log:{session}``; the session's kernel reads along by long
poll. Repetitions within a while are counted; those of failures are told again each time their number
has doubled. All workers share the streams.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Any, Literal

from geoloom.errors import EngineOverloaded, EngineUnreachable, GeoloomError, RequestError
from geoloom_engine.redis_connection import AWAY, connect, reason
from geoloom_engine.sessions import owner_of

log = logging.getLogger(__name__)

KEPT = 500
"""Events kept of a session."""

QUIET = {"error": 600, "refused": 2, "print": 600, "seen": 3600, "changed": 2}
"""Seconds for which equal events are counted."""

MOST_SEEN = 10_000
"""Layers remembered as seen in one process."""

SHARE = 400_000
"""Bytes of events that one user's sessions are told in `WINDOW`, by one process. A function that prints
something else for each tile, in ever new sessions, shares the store with everybody's chains."""

WINDOW = 10.0
"""Seconds."""

EACH = 300
"""Bytes that an event takes in the store beside its message."""

USERS = "geoloom:users"
"""Hash of who owners are."""

PATIENCE = 4.0
"""Seconds for which a poll waits for Redis to come back: its restart is nothing that kernels need to know."""

PAUSE = 0.2
"""Seconds between two attempts."""

START = "0-0"
_ID = re.compile(r"\d{1,19}(-\d{1,19})?")

Kind = Literal["error", "refused", "print", "seen", "changed"]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing to tell a session.

    Parameters
    ----------
    kind
        ``error``, ``refused`` (come back later), ``print``, ``seen`` (a browser asked for the layer), or
        ``changed``: it asked for a data version that is no longer the current one.
    key
        The chain's key.
    payload
        Of the error: `GeoloomError.to_json`; of a print: its text as ``message``.
    tile
        (z, x, y), if it concerns a tile.
    """

    kind: Kind
    key: str
    payload: dict[str, Any]
    tile: tuple[int, int, int] | None = None

    @staticmethod
    def of(error: GeoloomError, key: str, tile: tuple[int, int, int] | None = None) -> Event:
        """The event of an error: busy engines refuse, all others fail."""
        kind: Kind = "refused" if isinstance(error, EngineOverloaded | EngineUnreachable) else "error"
        return Event(kind, key, error.to_json(), tile)

    @property
    def digest(self) -> str:
        """Equal for events that need to be told only once."""
        same = [self.kind, self.key, *(self.payload.get(name) for name in ("error", "node", "message"))]
        return hashlib.sha256(json.dumps(same).encode()).hexdigest()[:24]


class EventLog:
    """Writes and follows the streams; used from one event loop.

    Parameters
    ----------
    url
        The Redis server.
    ttl
        Seconds a session's idle stream is kept.
    timeout
        Seconds to wait for the server.
    """

    def __init__(self, url: str, ttl: float, timeout: float) -> None:
        self._redis = connect(url, timeout)
        # Blocking reads wait longer than the ordinary timeout, each on a connection of its own.
        self._followers = connect(url, timeout, patient=True)
        self._ttl = max(1, int(ttl))
        self._held: deque[tuple[str, Event]] = deque(maxlen=KEPT)
        self._window = 0.0
        self._spent: dict[str, int] = {}
        self._met: dict[str, str] = {}
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._writing: asyncio.Task[None] | None = None
        # One at a time: events are told in the order in which they happened.
        self._turn = asyncio.Lock()

    def tell(self, session: str, event: Event) -> None:
        """Write an event without waiting; while Redis is away it is held back, in this process.

        What is more than a user's share is dropped.
        """
        if not self._within_share(session, event):
            return
        self._held.append((session, event))
        self._begin_flush()

    def _within_share(self, session: str, event: Event) -> bool:
        owner = owner_of(session)
        if owner == session:
            return True
        now = time.monotonic()
        if now - self._window > WINDOW:
            self._window = now
            self._spent.clear()
        before = self._spent.get(owner, 0)
        self._spent[owner] = before + EACH + len(str(event.payload.get("message", "")))
        if self._spent[owner] <= SHARE:
            return True
        if before <= SHARE:
            log.warning("%s is told no more than %d bytes of events in %g s", owner, SHARE, WINDOW)
        return False

    def _begin_flush(self) -> None:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._flush())

    def meet(self, owner: str, label: str) -> None:
        """Note who an owner is, without waiting: in the hash ``geoloom:users``."""
        self._met[owner] = label
        self._begin_flush()

    def seen(self, session: str, key: str) -> None:
        """Tell a session, once, that a browser asks for tiles of a chain."""
        if (session, key) in self._seen:
            self._seen.move_to_end((session, key))
            return
        self._seen[session, key] = None
        if len(self._seen) > MOST_SEEN:
            self._seen.popitem(last=False)
        self.tell(session, Event("seen", key, {}))

    async def follow(self, session: str, after: str, timeout: float) -> dict[str, Any]:
        """Events after an id: at once if there are any, else as soon as one comes.

        Returns
        -------
        dict
            ``events`` and ``last``, the id to go on from.

        Raises
        ------
        RequestError
            The id is none.
        EngineUnreachable
            Redis is away.
        """
        if not _ID.fullmatch(after):
            raise RequestError(f"{after!r} is not the id of an event.", hint="Leave it out to start afresh.")
        await self._flush()
        entries = _entries(await self._read(_stream(session), after, timeout))
        events = [
            {
                **json.loads(fields[b"event"]),
                "id": identity.decode(),
                "same": fields[b"digest"].decode(),
                "count": 1,
            }
            for identity, fields in entries
        ]
        await self._count(session, events)
        # Of a failure that was told several times meanwhile, the first says it all.
        first = {event["same"]: event["id"] for event in reversed(events)}
        told = [one for one in events if one["type"] != "error" or one["id"] == first[one["same"]]]
        return {"events": told, "last": events[-1]["id"] if events else after}

    async def close(self) -> None:
        """Write what is held back, if possible, and close the connections."""
        await self._flush()
        await self._redis.aclose()
        await self._followers.aclose()

    async def _read(self, name: str, after: str, timeout: float) -> Any:
        """What a stream holds after an id, waiting for it; nothing if Redis went away a moment ago."""
        now = time.monotonic()
        end, away = now + timeout, 0.0
        while True:
            left = max(0.0, end - now)
            try:
                async with asyncio.timeout(left + 2):
                    return await self._followers.xread(
                        {name: after}, count=KEPT, block=max(1, int(left * 1000))
                    )
            except AWAY as error:
                now = time.monotonic()
                away = away or now
                if now - away >= min(PATIENCE, timeout):
                    raise EngineUnreachable(f"The event store does not answer: {reason(error)}.") from None
            if now >= end:
                return None
            await asyncio.sleep(min(PAUSE, end - now))
            now = time.monotonic()

    async def _count(self, session: str, events: list[dict[str, Any]]) -> None:
        if not events:
            return
        names = [_seen(session, event["same"]) for event in events]
        try:
            counts = await self._redis.mget(names)
        except AWAY:
            return
        for event, count in zip(events, counts, strict=True):
            event["count"] = max(1, int(count or 1))

    async def _flush(self) -> None:
        async with self._turn:
            if self._met:
                met, self._met = self._met, {}
                try:
                    await self._redis.hset(USERS, mapping=dict[Any, Any](met))
                except AWAY as error:
                    log.warning("who an owner is is held back: %s", error)
                    self._met = met | self._met
                    return
            while self._held:
                session, event = self._held.popleft()
                try:
                    await self._write(session, event)
                except AWAY as error:
                    log.warning("an event is held back: %s", error)
                    self._held.appendleft((session, event))
                    return

    async def _write(self, session: str, event: Event) -> None:
        quiet, digest = QUIET[event.kind], event.digest
        if quiet:
            pipe = self._redis.pipeline(transaction=False)
            seen = _seen(session, digest)
            pipe.incr(seen)
            pipe.expire(seen, quiet, nx=True)
            times = (await pipe.execute())[0]
            if times > 1 and (event.kind != "error" or times & (times - 1)):
                return
        told = {
            **event.payload,
            "type": event.kind,
            "key": event.key,
            "tile": None if event.tile is None else list(event.tile),
        }
        pipe = self._redis.pipeline(transaction=False)
        stream = _stream(session)
        pipe.xadd(stream, {"event": json.dumps(told), "digest": digest}, maxlen=KEPT, approximate=True)
        pipe.expire(stream, self._ttl)
        await pipe.execute()


def _stream(session: str) -> str:
    return f"geoloom:log:{session}"


def _seen(session: str, digest: str) -> str:
    return f"geoloom:seen:{session}:{digest}"


def _entries(found: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The one stream's entries: RESP2 answers a list of pairs, RESP3 a dict of lists."""
    if not found:
        return []
    entries = next(iter(found.values()))[0] if isinstance(found, dict) else found[0][1]
    return list(entries)
