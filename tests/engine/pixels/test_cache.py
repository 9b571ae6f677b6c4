"""Budget, caches and block cache: least recently used, bounded, safe in threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoloom_engine.cache import ENTRY_BYTES, BlockCache, Budget, Cache, Decoded

PATIENCE = 20.0
"""Seconds after which a thread that should be done hangs."""


def block(size: int = 100) -> Decoded:
    return Decoded(np.zeros((1, size), np.uint8), None)


def room(entries: int, size: int = 100) -> int:
    """Bytes that so many entries of a size take."""
    return entries * (size + ENTRY_BYTES)


def run(*works: Callable[[], object]) -> list[object]:
    """Do all at once, each in a thread; what they returned or raised."""
    results: list[object] = [None] * len(works)

    def one(index: int) -> None:
        try:
            results[index] = works[index]()
        except Exception as error:
            results[index] = error

    threads = [threading.Thread(target=one, args=(index,), daemon=True) for index in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a thread hangs"
    return results


# One cache


def test_keeps_what_was_used_last() -> None:
    cache = BlockCache(Budget(room(4)))
    for key in "abcd":
        cache.put(key, block())
    cache.get("a")
    cache.put("e", block())
    assert cache.get("b") is None
    assert all(cache.get(key) is not None for key in "acde")
    state = cache.state()
    assert (state.entries, state.bytes, state.evictions) == (4, room(4), 1)
    assert (state.hits, state.misses) == (5, 1)


def test_counts_validity_too() -> None:
    assert Decoded(np.zeros((2, 2), np.float64), np.ones((2, 2), bool)).nbytes == 36


def test_one_huge_value_does_not_empty_it() -> None:
    cache = BlockCache(Budget(10_000))
    cache.put("a", block())
    cache.put("huge", block(2501))
    assert cache.get("huge") is None
    assert cache.get("a") is not None
    cache.put("large", block(2500))
    assert cache.get("large") is not None


def test_a_value_too_large_to_be_kept_does_not_leave_the_old_one() -> None:
    cache: Cache[str] = Cache(Budget(10_000), "test")
    cache.put("a", "old", 100)
    cache.put("a", "new", 9000)
    assert cache.get("a") is None


def test_size_zero_keeps_nothing() -> None:
    for cache in (BlockCache(Budget(0)), BlockCache(Budget(1 << 20), 0)):
        cache.put("a", block(0))
        cache.put("b", block())
        assert cache.get("a") is cache.get("b") is None
        assert cache.state().entries == 0


def test_replacing_does_not_leak_bytes() -> None:
    cache = BlockCache(Budget(10_000))
    for size in (100, 200, 50):
        cache.put("a", block(size))
    assert cache.state().bytes == room(1, 50)
    cache.clear()
    assert (cache.state().bytes, cache.state().entries) == (0, 0)
    cache.put("a", block())
    assert cache.state().bytes == room(1)


def test_what_is_discarded_is_gone() -> None:
    budget = Budget(10_000)
    cache: Cache[str] = Cache(budget, "test")
    for key in "abc":
        cache.put(key, key, 10)
    cache.discard("b")
    cache.discard("never there")
    assert [cache.get(key) for key in "abc"] == ["a", None, "c"]
    assert budget.bytes == cache.state().bytes == room(2, 10)


def test_cached_arrays_cannot_be_written() -> None:
    decoded = Decoded(np.zeros((2, 2), np.uint8), np.ones((2, 2), bool))
    with pytest.raises(ValueError, match="read-only"):
        decoded.data[0, 0] = 1
    assert decoded.valid is not None
    with pytest.raises(ValueError, match="read-only"):
        decoded.valid[0, 0] = False


# Several caches of one budget


def test_the_longest_unused_of_all_caches_goes_first() -> None:
    budget = Budget(room(4))
    first: Cache[int] = Cache(budget, "first")
    second: Cache[int] = Cache(budget, "second")
    first.put("a", 1, 100)
    second.put("a", 2, 100)
    first.put("b", 3, 100)
    second.put("b", 4, 100)
    assert first.get("a") == 1
    second.put("c", 5, 100)
    second.put("d", 6, 100)
    assert [first.get("a"), first.get("b")] == [1, None]
    assert [second.get(key) for key in "abcd"] == [None, 4, 5, 6]
    assert {name: state.evictions for name, state in budget.states().items()} == {"first": 1, "second": 1}


def test_a_cache_stays_within_its_own_limit() -> None:
    budget = Budget(room(100))
    small: Cache[int] = Cache(budget, "small", room(5))
    large: Cache[int] = Cache(budget, "large")
    for key in range(50):
        small.put(key, key, 100)
        large.put(key, key, 100)
    assert [small.get(key) for key in range(44, 50)] == [None, 45, 46, 47, 48, 49]
    assert large.state().entries == 50


def test_a_smaller_budget_takes_effect_at_once_and_a_larger_one_is_used() -> None:
    budget = Budget(room(20))
    cache: Cache[int] = Cache(budget, "test")
    for key in range(20):
        cache.put(key, key, 100)
    budget.resize(room(7))
    assert [key for key in range(20) if cache.get(key) is not None] == list(range(13, 20))
    budget.resize(room(9))
    for key in range(20, 30):
        cache.put(key, key, 100)
    assert (cache.state().entries, budget.limit) == (9, room(9))
    budget.resize(-1)
    assert (budget.bytes, budget.limit) == (0, 0)


KEYS = st.tuples(st.integers(0, 1), st.integers(0, 9))
ACTIONS = st.one_of(
    st.tuples(st.just("put"), KEYS, st.integers(0, 3000)),
    st.tuples(st.just("get"), KEYS, st.just(0)),
    st.tuples(st.just("discard"), KEYS, st.just(0)),
    st.tuples(st.just("clear"), KEYS, st.just(0)),
    st.tuples(st.just("resize"), KEYS, st.integers(0, 20_000)),
)


@given(st.lists(ACTIONS, max_size=60), st.integers(0, 20_000), st.none() | st.integers(0, 10_000))
def test_it_does_what_a_plain_list_would(
    actions: list[tuple[str, tuple[int, int], int]], limit: int, own: int | None
) -> None:
    """All entries of both caches in one ordered dict: slow, and obviously right."""
    budget = Budget(limit)
    owns = (own, None)
    caches: list[Cache[int]] = [Cache(budget, "0", own), Cache(budget, "1")]
    model: OrderedDict[tuple[int, int], tuple[int, int]] = OrderedDict()
    counts = [[0, 0, 0], [0, 0, 0]]

    def taken(which: int | None = None) -> int:
        return sum(nbytes for (cache, _), (_, nbytes) in model.items() if which in (None, cache))

    def evict(which: int | None, most: int) -> None:
        while taken(which) > most:
            oldest = next(key for key in model if which in (None, key[0]))
            del model[oldest]
            counts[oldest[0]][2] += 1

    for number, (action, key, amount) in enumerate(actions):
        which, name = key
        cache, own_limit = caches[which], owns[which]
        if action == "put":
            cache.put(name, number, amount)
            most = limit if own_limit is None else min(limit, own_limit)
            model.pop(key, None)
            if amount * 4 <= most:
                model[key] = (number, amount + ENTRY_BYTES)
                evict(which, most)
        elif action == "get":
            known = model.get(key)
            assert cache.get(name) == (None if known is None else known[0])
            counts[which][known is None] += 1
            if known is not None:
                model.move_to_end(key)
        elif action == "discard":
            cache.discard(name)
            model.pop(key, None)
        elif action == "clear":
            cache.clear()
            for gone in [one for one in model if one[0] == which]:
                del model[gone]
        else:
            limit = amount
            budget.resize(limit)
        evict(None, limit)
        assert budget.bytes == taken() <= limit
        for number_of, one in enumerate(caches):
            state = one.state()
            assert state.bytes == taken(number_of)
            assert state.entries == sum(1 for cache_of, _ in model if cache_of == number_of)
            assert [state.hits, state.misses, state.evictions] == counts[number_of]


def test_many_threads_keep_it_within_its_bytes() -> None:
    budget = Budget(50_000)
    caches: list[Cache[int]] = [Cache(budget, "0"), Cache(budget, "1", 20_000)]
    most = [0] * 4

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        keys, sizes = rng.integers(0, 60, 3000).tolist(), rng.integers(0, 4000, 3000).tolist()
        for turn, (key, nbytes) in enumerate(zip(keys, sizes, strict=True)):
            cache = caches[key % 2]
            found = cache.get(key)
            assert found is None or found == key
            if found is None:
                cache.put(key, key, nbytes)
            elif turn % 50 == 0:
                cache.discard(key)
            elif turn % 400 == 0:
                budget.resize(40_000 + nbytes)
            with budget._lock:
                most[seed] = max(most[seed], budget.bytes - budget.limit)

    assert run(*(lambda seed=seed: work(seed) for seed in range(4))) == [None] * 4
    states = [cache.state() for cache in caches]
    assert max(most) <= 0
    assert sum(state.bytes for state in states) == budget.bytes > 0
    assert sum(state.hits + state.misses for state in states) == 12_000
    for cache in caches:
        assert sum(entry.nbytes for entry in cache._entries.values()) == cache.state().bytes


# Decoding once


class Decoder:
    """Decodes keys as blocks of their own value, and counts; waits at `gate` if there is one."""

    def __init__(self, gate: Callable[[], object] = lambda: None) -> None:
        self.calls: list[list[int]] = []
        self.gate = gate

    def __call__(self, keys: list[int]) -> dict[int, Decoded]:
        self.calls.append(keys)
        self.gate()
        return {key: Decoded(np.full((1, 10), key, np.int64), None) for key in keys}

    @property
    def decoded(self) -> list[int]:
        return sorted(key for call in self.calls for key in call)


def values(found: object) -> dict[int, int]:
    assert isinstance(found, dict), found
    return {key: int(block.data[0, 0]) for key, block in found.items()}


def same(keys: Sequence[int]) -> dict[int, int]:
    return {key: key for key in keys}


def test_only_what_is_missing_is_decoded_and_in_one_go() -> None:
    cache = BlockCache(Budget(1 << 20))
    decoder = Decoder()
    assert values(cache.load([1, 2], decoder)) == same([1, 2])
    assert values(cache.load([3, 2, 4, 1, 3], decoder)) == same([1, 2, 3, 4])
    assert decoder.calls == [[1, 2], [3, 4]]
    assert cache.load([], decoder) == {}


@pytest.mark.parametrize("limit", [1 << 20, 0])
def test_threads_that_miss_the_same_blocks_decode_once(limit: int) -> None:
    cache = BlockCache(Budget(limit))
    begun, go = threading.Event(), threading.Event()

    def gate() -> None:
        begun.set()
        assert go.wait(PATIENCE)

    decoder = Decoder(gate)
    late = Decoder(go.set)

    def first() -> object:
        return cache.load([1, 2, 3], decoder)

    def second() -> object:
        # Its own block is decoded while the first still decodes the others: that lets the first go on.
        assert begun.wait(PATIENCE)
        return cache.load([2, 4, 3], late)

    assert [values(found) for found in run(first, second)] == [same([1, 2, 3]), same([2, 3, 4])]
    assert (decoder.calls, late.calls) == ([[1, 2, 3]], [[4]])


def test_one_that_waits_for_a_decoder_that_fails_decodes_itself() -> None:
    cache = BlockCache(Budget(1 << 20))
    begun, waits = threading.Event(), threading.Event()

    def fail() -> None:
        begun.set()
        assert waits.wait(PATIENCE)
        raise OSError("damaged")

    decoder = Decoder()

    def patient() -> object:
        assert begun.wait(PATIENCE)
        return cache.load([9, 1], lambda keys: (waits.set(), decoder(keys))[1])

    failed, found = run(lambda: cache.load([1, 2], Decoder(fail)), patient)
    assert isinstance(failed, OSError)
    assert values(found) == same([1, 9])
    assert decoder.calls == [[9], [1]]
    assert values(cache.load([2], decoder)) == same([2])


def test_all_get_the_error_of_a_block_that_cannot_be_decoded() -> None:
    cache = BlockCache(Budget(1 << 20))
    gate = threading.Barrier(6)

    def work() -> object:
        gate.wait(PATIENCE)
        return cache.load([1], Decoder(lambda: int("no")))

    assert all(isinstance(found, ValueError) for found in run(*[work] * 6))
    assert cache._flights == {}


def test_overlapping_sets_in_any_order_never_lock_up() -> None:
    cache = BlockCache(Budget(room(10, 80)))

    def work(seed: int) -> int:
        rng = np.random.default_rng(seed)
        failed = 0
        for _ in range(300):
            keys = rng.permutation(30)[: rng.integers(1, 12)].tolist()
            broken = bool(rng.random() < 0.1)
            try:
                found = cache.load(keys, Decoder(lambda broken=broken: 1 // (not broken)))
                assert values(found) == same(keys)
            except ZeroDivisionError:
                failed += 1
        return failed

    results = run(*(lambda seed=seed: work(seed) for seed in range(6)))
    assert all(isinstance(failed, int) for failed in results), results
    assert sum(failed for failed in results if isinstance(failed, int)) > 0
    assert cache._flights == {}


def test_a_peek_is_no_use() -> None:
    cache: Cache[str] = Cache(Budget(10_000), "test", room(2))
    for key in "ab":
        cache.put(key, key, 100)
    assert (cache.peek("a"), cache.peek("z")) == ("a", None)
    assert (cache.state().hits, cache.state().misses) == (0, 0)
    cache.put("c", "c", 100)
    assert [cache.peek(key) for key in "abc"] == [None, "b", "c"]
