"""How this worker is: its caches, memory and open sources, noted now and then for `/metrics`."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from geoloom_engine.machine import resident
from geoloom_engine.metrics import CACHE_COUNTS, CACHE_STATES, Metrics

if TYPE_CHECKING:
    from geoloom_engine.pipeline import Pipeline

FUNCTION_STATES = {
    "calls": "function_calls",
    "seconds": "function_seconds",
    "spawned": "function_workers_spawned",
    "killed": "function_workers_killed",
    "quarantined": "functions_quarantined",
    "live": "function_workers",
}
"""What the sandbox tells, and what it is called among all that can be watched."""

PERIOD = 1.0
"""Seconds between two notes, while requests come."""


class Gauges:
    """Notes the state of this process in its row of the counters; used from one event loop.

    A note is due a second after the first request since the last one. So the last note tells what
    is so after the last request, and a worker that is asked nothing is not woken.

    Parameters
    ----------
    users
        How many users asked any engine for anything lately.
    """

    def __init__(self, metrics: Metrics, pipeline: Pipeline, users: Callable[[], int] = lambda: 0) -> None:
        self._metrics = metrics
        self._pipeline = pipeline
        self._users = users
        self._loop = asyncio.get_running_loop()
        self._due = False
        self._collecting = 0.0
        metrics.notify(self._later, self.note)
        gc.callbacks.append(self._collected)

    def note(self) -> None:
        """Note the state now."""
        self._due = False
        self._metrics.note(dict(self._states()))

    def close(self) -> None:
        """Note nothing more."""
        gc.callbacks.remove(self._collected)

    def _later(self) -> None:
        if not self._due:
            self._due = True
            self._loop.call_later(PERIOD, self.note)

    def _states(self) -> Iterator[tuple[str, float]]:
        pipeline = self._pipeline
        for cache, state in pipeline.budget.states().items():
            for what in (*CACHE_STATES, *CACHE_COUNTS):
                yield f"{what} {cache}", getattr(state, what)
        yield "users", self._users()
        yield "open_sources", pipeline.pool.opened
        yield "memory_limit_bytes", pipeline.memory.limit
        yield "memory_kept_bytes", pipeline.budget.bytes
        for what, count in pipeline.functions.state().items():
            yield FUNCTION_STATES[what], count
        taken = resident()
        if taken is not None:
            yield "resident_bytes", taken

    def _collected(self, phase: str, info: dict[str, Any]) -> None:
        """Python's hook before and after a garbage collection, in whichever thread that runs."""
        if phase == "start":
            self._collecting = time.perf_counter()
        elif self._collecting:
            self._metrics.add("gc_collections")
            self._metrics.add("gc_seconds", time.perf_counter() - self._collecting)
