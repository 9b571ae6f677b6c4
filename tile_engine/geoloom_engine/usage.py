"""What each user took of the engine, by day: counted here, added up in Redis for all workers and engines.

Counting a tile is a few additions in this process. Now and then what was added since is written in one go: a
script that carries a number, so that a batch whose answer got lost is not counted twice. The same script
adds up how long users' functions computed in this minute (`allowances.FunctionTime`), and tells who is a
service.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from geoloom.errors import EngineUnreachable
from geoloom_engine.allowances import FunctionTime
from geoloom_engine.events import USERS
from geoloom_engine.redis_connection import AWAY, connect, reason
from geoloom_engine.sessions import owner_of

log = logging.getLogger(__name__)

PERIOD = 2.0
"""Seconds between two writes, while anything is counted."""

TIMEOUT = 2.0
"""Seconds to wait for Redis."""

DAYS = 92
"""Days for which usage is kept."""

RECENT = 300
"""Seconds for which a user counts as there."""

COUNTS = (
    "tiles",
    "hits",
    "bytes",
    "questions",
    "cpu_seconds",
    "function_calls",
    "function_seconds",
    "refused",
    "failed",
)
"""What is counted of a user: tiles answered, those of them that had not to be computed, their bytes; other
requests; seconds of processor time of the engine's own; calls of functions and their seconds; requests
refused for want of room or allowance, and those that failed."""

_ADD = """
local usage, writer, recent, functions = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local number, keep, now, since = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
local owners = tonumber(ARGV[5])
local new = number > tonumber(redis.call('GET', writer) or '0')
local totals, labels = {}, {}
for i = 1, owners do
  local owner, seconds = ARGV[4 + 2 * i], ARGV[5 + 2 * i]
  if new then redis.call('ZADD', recent, now, owner) end
  local total = '0'
  if tonumber(seconds) > 0 then
    if new then
      total = redis.call('HINCRBYFLOAT', functions, owner, seconds)
      redis.call('EXPIRE', functions, 120)
    else
      total = redis.call('HGET', functions, owner) or '0'
    end
  end
  totals[i], labels[i] = total, redis.call('HGET', 'geoloom:users', owner) or ''
end
if new then
  for i = 6 + 2 * owners, #ARGV, 2 do redis.call('HINCRBYFLOAT', usage, ARGV[i], ARGV[i + 1]) end
  redis.call('EXPIRE', usage, keep)
  redis.call('SET', writer, number, 'EX', 86400)
end
redis.call('ZREMRANGEBYSCORE', recent, '-inf', since)
redis.call('EXPIRE', recent, 3600)
return {redis.call('ZCARD', recent), totals, labels}
"""


ASKER: ContextVar[str | None] = ContextVar("asker", default=None)
"""The session on whose behalf the present task goes on, if it is known."""


class _Tally:
    """What one user took since this process started, and how much of that is written."""

    __slots__ = (*COUNTS, "written")

    tiles: int
    hits: int
    bytes: int
    cpu_seconds: float
    function_calls: int
    function_seconds: float

    def __init__(self) -> None:
        for name in COUNTS:
            setattr(self, name, 0)
        self.written: tuple[float, ...] = (0,) * len(COUNTS)

    def new(self) -> list[tuple[str, float]]:
        """What came since this was asked last."""
        now = tuple(getattr(self, name) for name in COUNTS)
        before, self.written = self.written, now
        return [(name, a - b) for name, a, b in zip(COUNTS, now, before, strict=True) if a != b]


@dataclass(frozen=True, slots=True)
class _Batch:
    """What is to be written in one go."""

    day: str
    minute: int
    owners: tuple[str, ...]
    arguments: tuple[str | float, ...]


class Usage:
    """Counts what users take; all but `computed` and `function` is used from one event loop.

    Parameters
    ----------
    url
        The Redis server that adds up.
    most_function_time
        Seconds a minute of each user; see `allowances.FunctionTime`.
    """

    def __init__(self, url: str, most_function_time: float = 0.0) -> None:
        self._redis = connect(url, TIMEOUT)
        self._add = self._redis.register_script(_ADD)
        self._function_time = FunctionTime(most_function_time, self.is_service)
        self._tallies: dict[str, _Tally] = {}
        self._labels: dict[str, str] = {}
        self._writer = f"geoloom:usage:writer:{secrets.token_hex(8)}"
        self._number = 0
        self._batch: _Batch | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._closed = False
        self.recent = 0
        """Users of all engines who asked for something just now."""

    def tile(self, session: str, size: int, *, hit: bool) -> None:
        """Count a tile that is answered; `hit` if it had not to be computed."""
        tally = self._of(session)
        tally.tiles += 1
        tally.bytes += size
        if hit:
            tally.hits += 1
        if self._timer is None:
            self._later()

    def request(self, session: str, what: str) -> None:
        """Count a request: ``questions``, ``refused`` or ``failed``."""
        tally = self._of(session)
        setattr(tally, what, getattr(tally, what) + 1)
        if self._timer is None:
            self._later()

    def computed(self, session: str, seconds: float) -> None:
        """Count processor time; called from any thread."""
        tally = self._of(session)
        with self._lock:
            tally.cpu_seconds += seconds

    def function(self, session: str, seconds: float) -> None:
        """Count a call of a function, and the time it took; called from any thread."""
        tally = self._of(session)
        with self._lock:
            tally.function_calls += 1
            tally.function_seconds += seconds
        self._function_time.charge(session, seconds)

    def check(self, session: str) -> None:
        """Refuse functions of who has used up his time of them; called from any thread. Raises Exhausted."""
        self._function_time.check(session)

    def metered[T](self, task: Callable[[], T]) -> Callable[[], T]:
        """The task, whose processor time counts as that of who is asking (`ASKER`), in whichever thread."""
        session = ASKER.get()
        if session is None:
            return task

        def run() -> T:
            begun = time.thread_time()
            try:
                return task()
            finally:
                self.computed(session, time.thread_time() - begun)

        return run

    def is_service(self, owner: str) -> bool:
        """Whether an owner is known to be a service of the hub."""
        return self._labels.get(owner, "").startswith("service:")

    def whose(self, session: str) -> str:
        """Whose turn it is when a session asks: its owner's; of a service's visitors each counts as one."""
        owner = owner_of(session)
        return session if self.is_service(owner) else owner

    async def days(self, count: int) -> list[dict[str, Any]]:
        """What was counted in the last days, today first: ``day`` and ``users``, each with name and counts.

        Raises
        ------
        EngineUnreachable
            The store is away.
        """
        await self.flush()
        days = [_day(time.time() - 86400 * i) for i in range(count)]
        pipe = self._redis.pipeline(transaction=False)
        pipe.hgetall(USERS)
        for day in days:
            pipe.hgetall(_hash(day))
        try:
            labels, *found = await pipe.execute()
        except AWAY as error:
            raise EngineUnreachable(f"The store does not answer: {reason(error)}.") from None
        names = _decoded(labels)
        return [{"day": day, "users": _users(counts, names)} for day, counts in zip(days, found, strict=True)]

    async def owners(self) -> dict[str, str]:
        """All who ever asked: what each owner's digits stand for."""
        try:
            found = await self._redis.hgetall(USERS)
        except AWAY as error:
            raise EngineUnreachable(f"The store does not answer: {reason(error)}.") from None
        return _decoded(found)

    async def flush(self) -> None:
        """Write what was counted; while Redis is away it is kept for the next time."""
        if self._writing is None:
            self._writing = asyncio.ensure_future(self._write())
            self._writing.add_done_callback(self._written)
        await asyncio.shield(self._writing)

    async def close(self) -> None:
        """Write what was counted, if possible, and close the connections."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        # What is being written, or could not be, comes before the rest.
        for _ in range(2):
            await self.flush()
        await self._redis.aclose()

    def _of(self, session: str) -> _Tally:
        owner, named, _ = session.partition("~")
        if not named:
            owner = ""
        return self._tallies.get(owner) or self._tallies.setdefault(owner, _Tally())

    def _later(self) -> None:
        if self._timer is None and not self._closed:
            self._timer = self._loop.call_later(PERIOD, self._due)

    def _due(self) -> None:
        self._timer = None
        if self._writing is None:
            self._writing = self._loop.create_task(self._write())
            self._writing.add_done_callback(self._written)

    def _written(self, done: asyncio.Future[None]) -> None:
        self._writing = None

    async def _write(self) -> None:
        if self._batch is None:
            self._batch = self._next()
        batch = self._batch
        if batch is None:
            return
        names = [_hash(batch.day), self._writer, "geoloom:usage:recent", f"geoloom:functions:{batch.minute}"]
        try:
            recent, totals, labels = await self._add(keys=names, args=list(batch.arguments))
        except AWAY as error:
            log.warning("usage is written later: %s", reason(error))
            self._later()
            return
        self._batch = None
        self.recent = int(recent)
        self._labels.update(
            (owner, label.decode()) for owner, label in zip(batch.owners, labels, strict=True) if label
        )
        told = {owner: float(total) for owner, total in zip(batch.owners, totals, strict=True)}
        self._function_time.settle(batch.minute, told)

    def _next(self) -> _Batch | None:
        """What came since the last batch."""
        minute, times = self._function_time.take()
        # A session without an owner has time of its own, but no account.
        found = {owner: new for owner, tally in list(self._tallies.items()) if (new := tally.new())}
        owners = tuple({**found, **times})
        if not owners:
            return None
        self._number += 1
        now = int(time.time())
        arguments: list[str | float] = [self._number, DAYS * 86400, now, now - RECENT, len(owners)]
        for owner in owners:
            arguments += (owner, times.get(owner, 0.0))
        for owner, new in found.items():
            for name, amount in new:
                arguments += (f"{owner}:{name}", amount)
        return _Batch(_day(now), minute, owners, tuple(arguments))


def _users(counts: Mapping[bytes, bytes], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """What a day's hash holds, who took most first."""
    found: dict[str, dict[str, float]] = {}
    for field, amount in counts.items():
        owner, _, name = field.decode().rpartition(":")
        if name in COUNTS:
            number = float(amount)
            whole = number.is_integer() and not name.endswith("seconds")
            found.setdefault(owner, dict.fromkeys(COUNTS, 0))[name] = (
                int(number) if whole else round(number, 3)
            )
    told = [{"name": names.get(owner, owner) or "secret", **taken} for owner, taken in found.items()]
    return sorted(told, key=lambda one: (-one["cpu_seconds"] - one["function_seconds"], one["name"]))


def _decoded(found: Any) -> dict[str, str]:
    return {owner.decode(): label.decode() for owner, label in found.items()}


def _day(now: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(now))


def _hash(day: str) -> str:
    return f"geoloom:usage:{day}"
