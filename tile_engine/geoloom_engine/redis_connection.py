"""How the event loop speaks to Redis: waiting is bounded, and failure comes quickly."""

from __future__ import annotations

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError

AWAY = (RedisError, OSError, TimeoutError)
"""What a server that does not answer raises."""

CONNECTIONS = 8
"""Connections of one client; further commands wait for one to be free."""

FOLLOWERS = 1024
"""The same of a client whose commands block, each on a connection of its own."""


DRIVER = DriverInfo()
"""What Redis is told of each connection: by default its version is looked up on the disk, in 1 ms."""


def connect(url: str, timeout: float, *, patient: bool = False) -> redis.asyncio.Redis:
    """A client for one event loop.

    Parameters
    ----------
    url
        ``redis://``, ``rediss://`` or ``unix://``.
    timeout
        Seconds to wait for a connection and for an answer.
    patient
        Wait for answers without end, for commands that block.
    """
    # Connections are never given up: as many as requests at the worst moment would stay open for good.
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        url,
        max_connections=FOLLOWERS if patient else CONNECTIONS,
        timeout=timeout,
        socket_timeout=None if patient else timeout,
        socket_connect_timeout=timeout,
        # Once more on a connection that a restarted server had closed, never after a timeout.
        retry=Retry(NoBackoff(), 1, (ConnectionLost,)),
        driver_info=DRIVER,
    )
    return redis.asyncio.Redis.from_pool(pool)


def reason(error: Exception) -> str:
    """An error of `AWAY` in words."""
    return str(error).rstrip(".") or "no answer in time"
