"""Sessions and owners whose layer URLs were withdrawn."""

from __future__ import annotations

import asyncio
import time

from geoloom.errors import CapabilityError, EngineUnreachable, QuotaExceeded
from geoloom_engine.auth import Capability
from geoloom_engine.redis_connection import AWAY, connect, reason
from geoloom_engine.sessions import owner_of

TIMEOUT = 2.0
"""Seconds to wait for Redis."""

MOST = 2000
"""Sessions of one owner that stand there at once: all processes read all of them, again and again."""


class Revocations:
    """Whose capabilities are void: the sorted set ``geoloom:revoked``, looked up now and then.

    A name stands there with the time until which those run that had been given out; later ones are good.
    While Redis is away what was known last stands: a layer on a map outlives a restart of Redis.
    """

    NAME = "geoloom:revoked"
    FRESH = 5.0
    """Seconds after which the set is looked up again, beside the requests, which do not wait for it."""
    STALE = 15.0
    """Seconds after which they do: where nobody asked for long, nothing has been looked up."""

    def __init__(self, url: str, keep: float) -> None:
        self._redis = connect(url, TIMEOUT)
        self._keep = max(1, int(keep))
        self._revoked: dict[str, float] = {}
        self._checked = float("-inf")
        self._lookup: asyncio.Task[str | None] | None = None

    async def check(self, capability: Capability) -> None:
        """Raise CapabilityError if a capability was revoked, with its session's or all of its owner's."""
        age = time.monotonic() - self._checked
        if age > self.STALE:
            await self._look()
        elif age > self.FRESH:
            self._begin_look()
        if self._revoked and self._is_void(capability):
            raise CapabilityError(
                "This layer URL's permission was withdrawn.", hint="Run the cell that adds the layer again."
            )

    def _is_void(self, capability: Capability) -> bool:
        session = capability.session
        until = max(self._revoked.get(name, 0.0) for name in (session, owner_of(session)))
        return capability.expires <= until

    async def revoke(self, name: str) -> None:
        """Void what a session or an owner was given so far.

        Raises
        ------
        EngineUnreachable
            It cannot be noted.
        QuotaExceeded
            Too many of the owner's sessions were ended lately.
        """
        until = time.time() + self._keep
        if owner_of(name) != name:
            await self._need_room(name)
        try:
            await self._redis.zadd(self.NAME, {name: until})
        except AWAY as error:
            raise EngineUnreachable(f"The store does not answer: {reason(error)}.") from None
        self._revoked[name] = until
        self._checked = float("-inf")

    async def _need_room(self, name: str) -> None:
        if time.monotonic() - self._checked > self.FRESH:
            await self._look()
        own = f"{owner_of(name)}~"
        if name not in self._revoked and sum(one.startswith(own) for one in self._revoked) >= MOST:
            raise QuotaExceeded(
                f"You have ended {MOST:,} sessions within {self._keep / 3600:g} h, as many as one user may.",
                hint="Its layers' URLs end by themselves in that time; an admin can withdraw all of yours.",
            )

    async def problem(self) -> str | None:
        """Why Redis cannot be asked, if so."""
        self._checked = float("-inf")
        return await self._look()

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _look(self) -> str | None:
        return await asyncio.shield(self._begin_look())

    def _begin_look(self) -> asyncio.Task[str | None]:
        if self._lookup is None:
            self._lookup = asyncio.ensure_future(self._read())
            self._lookup.add_done_callback(lambda done: setattr(self, "_lookup", None))
        return self._lookup

    async def _read(self) -> str | None:
        problem = None
        try:
            now = time.time()
            pipe = self._redis.pipeline(transaction=False)
            pipe.zremrangebyscore(self.NAME, "-inf", now)
            pipe.zrange(self.NAME, 0, -1, withscores=True)
            found = (await pipe.execute())[1]
            self._revoked = {name.decode(): float(until) for name, until in found}
        except AWAY as error:
            problem = f"The store does not answer: {reason(error)}."
        self._checked = time.monotonic()
        return problem
