"""Encoded tiles by content: a small cache in the process, and one in Redis for all.

Names hold the data version, so nothing in here is ever stale. While Redis is away tiles are
computed anew; the server is asked again after a short while.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Literal

from geoloom_engine.cache import Budget, Cache
from geoloom_engine.redis_connection import AWAY, connect, reason

log = logging.getLogger(__name__)

PAUSE = 2.0
"""Seconds without asking a server that did not answer."""


@dataclass(frozen=True, slots=True)
class TileName:
    """What identifies the bytes of a tile."""

    key: str
    data: str
    z: int
    x: int
    y: int
    ratio: int

    @property
    def redis(self) -> str:
        """The name in Redis."""
        return f"geoloom:tile:{self.key}:{self.data}:{self.z}:{self.x}:{self.y}:{self.ratio}"

    @property
    def etag(self) -> str:
        """The strong validator for HTTP."""
        return f'"{self.key[:16]}-{self.data}-{self.z}-{self.x}-{self.y}-{self.ratio}"'


class TileMemory:
    """The most recently used tiles, within the budget of the process.

    Parameters
    ----------
    budget, limit
        See `geoloom_engine.cache.Cache`.
    """

    def __init__(self, budget: Budget, limit: int | None = None) -> None:
        self._cache: Cache[bytes] = Cache(budget, "tiles", limit)

    def get(self, name: TileName) -> bytes | None:
        """The tile, if it is here."""
        return self._cache.get(name)

    def peek(self, name: TileName) -> bytes | None:
        """The same for who has asked by `get` already: one request is one use."""
        return self._cache.peek(name)

    def put(self, name: TileName, tile: bytes) -> None:
        """Keep a tile; the least recently used things go."""
        self._cache.put(name, tile, len(tile))


class TileCache:
    """The process's memory, then Redis.

    Parameters
    ----------
    budget, limit
        Of the process's memory; see `geoloom_engine.cache.Cache`.
    url
        The Redis server, or None for none.
    ttl
        Seconds Redis keeps an unused tile.
    timeout
        Seconds to wait for the server; short, for computing is quick too.
    """

    def __init__(
        self, budget: Budget, limit: int | None, url: str | None, ttl: float, timeout: float = 0.5
    ) -> None:
        self._memory = TileMemory(budget, limit)
        self._ttl = max(1, int(ttl))
        self._away_until = 0.0
        self._redis = connect(url, timeout) if url else None

    def remembered(self, name: TileName) -> bytes | None:
        """The tile, if it is in the process's memory."""
        return self._memory.get(name)

    def remembers(self, name: TileName) -> bool:
        """Whether the tile is in the process's memory; counts as no use of it."""
        return self._memory.peek(name) is not None

    def remember(self, name: TileName, tile: bytes) -> None:
        """Keep a tile that is in Redis, or will be, in the process's memory."""
        self._memory.put(name, tile)

    async def get(self, name: TileName) -> tuple[bytes, Literal["memory", "redis"]] | None:
        """The tile and where it was, if it is cached; `remembered` has been asked before."""
        tile = self._memory.peek(name)
        if tile is not None:
            return tile, "memory"
        if self._redis is None or time.monotonic() < self._away_until:
            return None
        try:
            found = await self._redis.getex(name.redis, ex=self._ttl)
        except AWAY as error:
            self._pause(error)
            return None
        if not isinstance(found, bytes):
            return None
        tile = found
        self._memory.put(name, tile)
        return tile, "redis"

    async def put(self, name: TileName, tile: bytes) -> None:
        """Keep a tile in both."""
        self._memory.put(name, tile)
        if self._redis is None or time.monotonic() < self._away_until:
            return
        try:
            await self._redis.set(name.redis, tile, ex=self._ttl)
        except AWAY as error:
            self._pause(error)

    async def close(self) -> None:
        """Close the connections."""
        if self._redis is not None:
            await self._redis.aclose()

    def _pause(self, error: Exception) -> None:
        log.warning("the tile cache does not answer and is left alone for %g s: %s", PAUSE, reason(error))
        self._away_until = time.monotonic() + PAUSE
