"""Block cache and memo: least recently used, bounded, safe in threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from geoloom_engine.cache import BlockCache, Decoded, Memo


def block(size: int = 100) -> Decoded:
    return Decoded(np.zeros((1, size), np.uint8), None)


def test_keeps_what_was_used_last() -> None:
    cache = BlockCache(400)
    for key in "abcd":
        cache.put(key, block())
    cache.get("a")
    cache.put("e", block())
    assert cache.get("b") is None
    assert all(cache.get(key) is not None for key in "acde")
    state = cache.state()
    assert (state.entries, state.bytes, state.evictions) == (4, 400, 1)
    assert (state.hits, state.misses) == (5, 1)


def test_counts_validity_too() -> None:
    assert Decoded(np.zeros((2, 2), np.float64), np.ones((2, 2), bool)).nbytes == 36


def test_one_huge_block_does_not_empty_it() -> None:
    cache = BlockCache(400)
    cache.put("a", block())
    cache.put("huge", block(200))
    assert cache.get("huge") is None
    assert cache.get("a") is not None


def test_size_zero_keeps_nothing() -> None:
    cache = BlockCache(0)
    cache.put("a", block())
    assert cache.get("a") is None


def test_replacing_does_not_leak_bytes() -> None:
    cache = BlockCache(1000)
    for size in (100, 200, 50):
        cache.put("a", block(size))
    assert cache.state().bytes == 50
    cache.clear()
    assert cache.state().bytes == 0


def test_cached_arrays_cannot_be_written() -> None:
    decoded = Decoded(np.zeros((2, 2), np.uint8), np.ones((2, 2), bool))
    with pytest.raises(ValueError, match="read-only"):
        decoded.data[0, 0] = 1
    assert decoded.valid is not None
    with pytest.raises(ValueError, match="read-only"):
        decoded.valid[0, 0] = False


def test_many_threads_keep_it_within_its_bytes() -> None:
    cache = BlockCache(2000)

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for key in rng.integers(0, 60, 2000):
            if cache.get(int(key)) is None:
                cache.put(int(key), block(int(rng.integers(1, 200))))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = cache.state()
    assert 0 < state.bytes <= 2000
    assert state.hits + state.misses == 8000


def test_memo_makes_once_and_forgets_by_weight() -> None:
    made: list[str] = []

    def make(key: str) -> str:
        made.append(key)
        return key * 10

    memo: Memo[str] = Memo(25, len)
    assert [memo.get(key, lambda key=key: make(key)) for key in "aab"] == ["a" * 10, "a" * 10, "b" * 10]
    memo.get("c", lambda: make("c"))
    memo.get("a", lambda: make("a"))
    assert made == ["a", "b", "c", "a"]
    memo.clear()
    memo.get("a", lambda: make("a"))
    assert made[-1] == "a"
    assert len(made) == 5
