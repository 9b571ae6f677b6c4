from __future__ import annotations

import asyncio
import gc
from types import SimpleNamespace
from typing import Any

import pytest

from geoloom_engine.cache import Budget, Cache
from geoloom_engine.gauges import Gauges
from geoloom_engine.metrics import Metrics


def pipeline(budget: Budget) -> Any:
    """What `Gauges` looks at of a pipeline."""
    return SimpleNamespace(
        budget=budget,
        pool=SimpleNamespace(opened=3),
        memory=SimpleNamespace(limit=1 << 30),
        functions=SimpleNamespace(state=lambda: {"calls": 7.0, "seconds": 1.5, "live": 2.0}),
    )


def test_caches_and_memory_are_shown() -> None:
    async def run() -> Metrics:
        budget = Budget(1 << 20)
        cache: Cache[bytes] = Cache(budget, "tiles")
        metrics = Metrics(1)
        gauges = Gauges(metrics, pipeline(budget))
        cache.put("a", b"x" * 1000, 1000)
        cache.get("a")
        cache.get("b")
        metrics.text()
        gauges.close()
        return metrics

    metrics = asyncio.run(run())
    for name, value in (
        ("entries tiles", 1),
        ("hits tiles", 1),
        ("function_calls", 7),
        ("function_seconds", 1.5),
        ("function_workers", 2),
        ("misses tiles", 1),
        ("evictions tiles", 0),
        ("open_sources", 3),
        ("memory_limit_bytes", 1 << 30),
    ):
        assert metrics.total(name) == value, name
    assert metrics.total("memory_kept_bytes") == metrics.total("bytes tiles") >= 1000
    assert metrics.total("resident_bytes") > 1 << 20


def test_a_note_follows_the_requests_and_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geoloom_engine.gauges.PERIOD", 0.01)

    async def run() -> None:
        metrics = Metrics(1)
        gauges = Gauges(metrics, pipeline(Budget(0)))
        noted = asyncio.Event()
        notes = []
        monkeypatch.setattr(metrics, "note", lambda states: (notes.append(states), noted.set()))
        for _ in range(100):
            metrics.request("tiles", 200, 0.001)
        assert not notes
        await asyncio.wait_for(noted.wait(), 20)
        assert len(notes) == 1
        noted.clear()
        metrics.request("health", 200, 0.001)
        await asyncio.wait_for(noted.wait(), 20)
        assert len(notes) == 2
        gauges.close()

    asyncio.run(run())


def test_garbage_collections_are_counted() -> None:
    async def run() -> None:
        metrics = Metrics(1)
        gauges = Gauges(metrics, pipeline(Budget(0)))
        gc.collect()
        gauges.close()
        counted = metrics.total("gc_collections")
        gc.collect()
        assert counted >= 1
        assert metrics.total("gc_collections") == counted
        assert 0 < metrics.total("gc_seconds") < 60

    asyncio.run(run())
