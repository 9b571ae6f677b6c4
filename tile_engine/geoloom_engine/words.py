"""What the hub said of tokens, in Redis: all workers and engines need to ask it once.

An engine that is started again knows at once who its callers are, where hundreds of questions would keep the
hub busy for seconds; and what is known outlives a hub that does not answer. Tokens themselves are not kept.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from typing import Any

from geoloom_engine.redis_connection import AWAY, connect, reason

log = logging.getLogger(__name__)

TIMEOUT = 1.0
"""Seconds to wait for Redis; without it the hub is asked."""

TOLD = ("kind", "name", "groups", "scopes")
"""What is kept of the hub's answer."""


@dataclass(frozen=True, slots=True)
class Word:
    """What the hub said of a token, and how many seconds ago."""

    model: dict[str, Any]
    age: float


class Words:
    """The hub's words by token; used from one event loop.

    Parameters
    ----------
    url
        The Redis server.
    keep
        Seconds for which a word is kept.
    """

    def __init__(self, url: str, keep: float) -> None:
        self._redis = connect(url, TIMEOUT)
        self._keep = int(keep)

    async def get(self, token: bytes) -> Word | None:
        """What is kept of a token, given by its digest; None where nothing is, or Redis is away."""
        try:
            found = await self._redis.get(_name(token))
            kept = json.loads(found) if found else None
        except AWAY as error:
            log.debug("words of the hub cannot be read: %s", reason(error))
            return None
        return None if kept is None else Word(kept["model"], max(0.0, time.time() - kept["at"]))

    async def put(self, token: bytes, model: dict[str, Any] | None) -> None:
        """Keep what the hub said just now; None: it knows no such token."""
        try:
            if model is None:
                await self._redis.delete(_name(token))
                return
            told = {"at": time.time(), "model": {name: model.get(name) for name in TOLD}}
            await self._redis.set(_name(token), json.dumps(told), ex=self._keep)
        except AWAY as error:
            log.debug("words of the hub cannot be kept: %s", reason(error))

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


def _name(token: bytes) -> str:
    return f"geoloom:token:{token.hex()}"
