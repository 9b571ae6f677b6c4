"""Quarantine: a function that crashes or takes too long again and again is not run any more.

A strike weighs as much of the time limit as the function was not waiting for a processor: a crash or a
whole limit is 1, and a busy machine is nobody's fault. What adds up to three ends it, until its text or
its arguments change. It ends it for that session: whoever gave another's function pixels that it cannot
stand would take it from everybody else.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections import OrderedDict
from typing import Any, Protocol

from geoloom.errors import FunctionRefused
from geoloom.store import connect

OUT = 2.9
"""Weight of strikes that ends a function: three, less what each loses to a machine that is a little busy."""

LIFE = 24 * 3600.0
"""Seconds after the last strike when all are forgotten."""

MOST = 10_000
"""Functions whose strikes are known; those struck last stay."""


class StrikeStore(Protocol):
    """Where strikes are counted."""

    def add(self, key: str, weight: float, reason: str) -> float:
        """Count a strike; the weight of all."""
        ...

    def get(self, key: str) -> tuple[float, str]:
        """Weight of all strikes, and the reason of the last one."""
        ...


class LocalStrikes:
    """Strikes of one process; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[float, str, float]] = OrderedDict()

    def add(self, key: str, weight: float, reason: str) -> float:
        """Count a strike; the weight of all."""
        with self._lock:
            total = self._get(key)[0] + weight
            self._known[key] = total, reason, time.monotonic()
            self._known.move_to_end(key)
            if len(self._known) > MOST:
                self._known.popitem(last=False)
            return total

    def get(self, key: str) -> tuple[float, str]:
        """Weight of all strikes, and the reason of the last one."""
        with self._lock:
            return self._get(key)

    def _get(self, key: str) -> tuple[float, str]:
        total, reason, when = self._known.get(key, (0.0, "", 0.0))
        return (total, reason) if time.monotonic() - when < LIFE else (0.0, "")


class RedisStrikes:
    """Strikes that all processes share; where Redis does not answer, there are none.

    Parameters
    ----------
    url
        ``redis://``, ``rediss://`` or ``unix://``.
    timeout
        Seconds to wait for an answer.
    """

    def __init__(self, url: str, timeout: float = 0.5) -> None:
        import redis

        self._away = redis.RedisError
        self._redis = connect(url, timeout)

    def add(self, key: str, weight: float, reason: str) -> float:
        """Count a strike; the weight of all, as far as is known."""
        name = f"geoloom:strikes:{key}"
        with contextlib.suppress(self._away):
            pipe = self._redis.pipeline()
            pipe.hincrbyfloat(name, "weight", weight)
            pipe.hset(name, "reason", reason)
            pipe.expire(name, int(LIFE))
            return float(pipe.execute()[0])
        return weight

    def get(self, key: str) -> tuple[float, str]:
        """Weight of all strikes, and the reason of the last one."""
        with contextlib.suppress(self._away, ValueError):
            found: list[Any] = self._redis.hmget(f"geoloom:strikes:{key}", "weight", "reason")
            weight, reason = found
            if weight is not None:
                return float(weight), (reason or b"").decode("utf-8", "replace")
        return 0.0, ""

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()


class Strikes:
    """Strikes of this process, and of all others if they share a store.

    Parameters
    ----------
    shared
        What they share.
    """

    def __init__(self, shared: StrikeStore | None = None) -> None:
        self._own = LocalStrikes()
        self._shared = shared
        self.quarantined = 0
        """Functions that this process has put into quarantine."""

    def check(self, key: str, function: str, shared: bool = False) -> None:
        """Refuse a function that is in quarantine.

        Parameters
        ----------
        key
            Of the function, as of `key_of`.
        function
            Its name.
        shared
            Whether to ask the others as well, which takes a little while.

        Raises
        ------
        FunctionRefused
            With the reason of its last strike.
        """
        weight, reason = self._own.get(key)
        if weight < OUT and shared and self._shared is not None:
            weight, reason = self._shared.get(key)
        if weight >= OUT:
            raise FunctionRefused(
                f"{function} is not run any more: {reason}",
                hint="It was stopped too often. Change it or its arguments; test_execute runs it locally.",
            )

    def add(self, key: str, weight: float, reason: str) -> None:
        """Count a strike of a function."""
        before = self._own.get(key)[0]
        total = self._own.add(key, weight, reason)
        if before < OUT <= total:
            self.quarantined += 1
        if self._shared is not None:
            self._shared.add(key, weight, reason)


def key_of(session: str, source: bytes, function: str, arguments: str) -> str:
    """The name under which a session's strikes of a function and its arguments are counted."""
    texts = session.encode(), source, function.encode(), arguments.encode()
    return hashlib.sha256(b"".join(hashlib.sha256(text).digest() for text in texts)).hexdigest()[:32]
