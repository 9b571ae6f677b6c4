"""Quarantine: what counts, for whom, how long, and where it is known."""

from __future__ import annotations

from typing import Any

import pytest

from geoloom.errors import FunctionRefused
from geoloom_engine.sandbox import strikes
from geoloom_engine.sandbox.strikes import MOST, LocalStrikes, RedisStrikes, Strikes, key_of

REASON = "it crashed (segmentation fault)."


def test_three_strikes_and_a_function_is_out() -> None:
    known = Strikes()
    for _ in range(2):
        known.add("a", 1.0, "it was slow.")
        known.check("a", "f")
    known.add("a", 1.0, REASON)
    with pytest.raises(FunctionRefused, match=r"f is not run any more: it crashed \(segmentation fault\)\."):
        known.check("a", "f")
    known.check("b", "f")
    known.add("a", 1.0, REASON)
    assert known.quarantined == 1


def test_light_strikes_add_up() -> None:
    known = Strikes()
    for _ in range(5):
        known.check("a", "f")
        known.add("a", 0.6, REASON)
    with pytest.raises(FunctionRefused):
        known.check("a", "f")


def test_strikes_are_of_session_text_name_and_arguments() -> None:
    assert (
        len(
            {
                key_of("me", b"a", "f", "[]"),
                key_of("you", b"a", "f", "[]"),
                key_of("me", b"b", "f", "[]"),
                key_of("me", b"a", "g", "[]"),
                key_of("me", b"a", "f", "[1]"),
            }
        )
        == 5
    )
    assert key_of("me", b"a", "bc", "") != key_of("me", b"ab", "c", "")


def test_strikes_are_forgotten_after_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(strikes.time, "monotonic", lambda: now)
    known = Strikes()
    known.add("a", 3.0, REASON)
    with pytest.raises(FunctionRefused):
        known.check("a", "f")
    now += strikes.LIFE
    known.check("a", "f")
    known.add("a", 1.0, REASON)
    known.check("a", "f")


def test_only_so_many_functions_are_remembered() -> None:
    known = LocalStrikes()
    for number in range(MOST + 1):
        known.add(str(number), 1.0, REASON)
    assert known.get("0") == (0.0, "")
    assert known.get(str(MOST)) == (1.0, REASON)


class TestShared:
    def test_what_one_process_learns_the_others_know(self, valkey: str) -> None:
        key = key_of("me", b"shared", "f", "[[],{}]")
        one, other = (Strikes(RedisStrikes(valkey)) for _ in range(2))
        for _ in range(3):
            one.add(key, 1.0, REASON)
        other.check(key, "f")
        with pytest.raises(FunctionRefused, match="segmentation"):
            other.check(key, "f", shared=True)

    def test_strikes_of_several_processes_add_up(self, valkey: str) -> None:
        stores = [RedisStrikes(valkey) for _ in range(3)]
        totals = [store.add("adds", 0.5, f"{number}.") for number, store in enumerate(stores)]
        assert totals == [0.5, 1.0, 1.5]
        assert stores[0].get("adds") == (1.5, "2.")
        for store in stores:
            store.close()

    def test_they_expire(self, valkey: str) -> None:
        import redis

        RedisStrikes(valkey).add("expires", 1.0, REASON)
        assert 0 < redis.Redis.from_url(valkey).ttl("geoloom:strikes:expires") <= strikes.LIFE

    def test_without_redis_each_process_counts_for_itself(self, own_valkey: Any) -> None:
        known = Strikes(RedisStrikes(own_valkey.url))
        known.add("a", 1.0, REASON)
        own_valkey.stop()
        for _ in range(2):
            known.check("a", "f", shared=True)
            known.add("a", 1.0, REASON)
        with pytest.raises(FunctionRefused):
            known.check("a", "f", shared=True)
