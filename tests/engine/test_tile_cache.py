from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoloom_engine import tile_cache as module
from geoloom_engine.cache import ENTRY_BYTES, Budget
from geoloom_engine.tile_cache import TileCache, TileMemory, TileName


def name(number: int, data: str = "d") -> TileName:
    return TileName(f"{number:032x}", data, 3, 1, 2, 1)


def with_caches(url: str | None, use: Callable[[TileCache, TileCache], Awaitable[Any]]) -> Any:
    """Run `use` with the caches of two processes."""

    async def run() -> Any:
        caches = [TileCache(Budget(1 << 20), None, url, 60) for _ in range(2)]
        try:
            return await use(*caches)
        finally:
            for cache in caches:
                await cache.close()

    return asyncio.run(run())


def test_memory_keeps_the_most_recently_used() -> None:
    memory = TileMemory(Budget(3 * (ENTRY_BYTES + 10)))
    for number in range(3):
        memory.put(name(number), b"x" * 10)
    memory.get(name(0))
    memory.put(name(3), b"x" * 10)
    assert [memory.get(name(number)) is not None for number in range(4)] == [True, False, True, True]


@given(st.lists(st.tuples(st.integers(0, 5), st.binary(max_size=40))))
def test_memory_never_exceeds_its_bytes(puts: list[tuple[int, bytes]]) -> None:
    limit = 3 * ENTRY_BYTES
    budget = Budget(limit)
    memory = TileMemory(budget)
    for number, tile in puts:
        memory.put(name(number), tile)
        kept = [memory.get(name(one)) for one in range(6)]
        assert sum(len(one) + ENTRY_BYTES for one in kept if one is not None) == budget.bytes <= limit
        assert memory.get(name(number)) in (tile, None)


def test_a_tile_of_one_process_is_found_by_another(valkey: str) -> None:
    wanted = name(time.time_ns())

    async def use(first: TileCache, second: TileCache) -> None:
        assert await second.get(wanted) is None
        await first.put(wanted, b"png")
        assert await first.get(wanted) == (b"png", "memory")
        assert await second.get(wanted) == (b"png", "redis")
        assert await second.get(wanted) == (b"png", "memory")
        assert await second.get(TileName(wanted.key, "newer", 3, 1, 2, 1)) is None
        assert await second.get(TileName(wanted.key, wanted.data, 3, 1, 2, 2)) is None

    with_caches(valkey, use)


def test_tiles_expire_in_redis(valkey: str) -> None:
    wanted = name(time.time_ns())

    async def use(first: TileCache, second: TileCache) -> int:
        await first.put(wanted, b"png")
        return int(await first._redis.ttl(wanted.redis))  # type: ignore[union-attr]

    assert 0 < with_caches(valkey, use) <= 60


def test_without_redis_memory_serves() -> None:
    async def use(first: TileCache, second: TileCache) -> None:
        await first.put(name(1), b"png")
        assert await first.get(name(1)) == (b"png", "memory")
        assert await second.get(name(1)) is None

    with_caches(None, use)


def test_a_server_that_is_away_is_left_alone(
    own_valkey: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "PAUSE", 60.0)

    async def use(first: TileCache, second: TileCache) -> None:
        await first.put(name(1), b"png")
        own_valkey.stop()
        assert await second.get(name(1)) is None
        for number in range(100):
            assert await second.get(name(number)) is None
            await second.put(name(number), b"png")

    with_caches(own_valkey.url, use)
    # Each attempt is told of.
    assert ["left alone" in message for message in caplog.messages] == [True]


def test_names_differ_in_everything() -> None:
    one = TileName("0" * 32, "d", 1, 0, 0, 1)
    others = [
        TileName("1" * 32, "d", 1, 0, 0, 1),
        TileName("0" * 32, "e", 1, 0, 0, 1),
        TileName("0" * 32, "d", 2, 0, 0, 1),
        TileName("0" * 32, "d", 1, 1, 0, 1),
        TileName("0" * 32, "d", 1, 0, 1, 1),
        TileName("0" * 32, "d", 1, 0, 0, 2),
    ]
    assert len({tile.redis for tile in [one, *others]}) == 7
    assert len({tile.etag for tile in [one, *others]}) == 7
