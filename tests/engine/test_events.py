from __future__ import annotations

import asyncio
import json
import socket
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from geoloom.errors import EngineOverloaded, EngineUnreachable, GeoloomError, RequestError, SourceUnreadable
from geoloom_engine import events
from geoloom_engine.events import KEPT, USERS, Event, EventLog

KEY = "0" * 32


def with_log(url: str, use: Callable[[EventLog, str], Awaitable[Any]]) -> Any:
    """Run `use(log, session)` in an event loop of its own."""

    async def run() -> Any:
        log = EventLog(url, ttl=60, timeout=1.0)
        try:
            return await use(log, uuid.uuid4().hex)
        finally:
            await log.close()

    return asyncio.run(run())


def test_an_event_is_told_once_and_repetitions_are_counted(valkey: str) -> None:
    async def use(log: EventLog, session: str) -> Any:
        error = SourceUnreadable("a.tif is damaged.", node="n", op="open")
        for x in range(5):
            log.tell(session, Event.of(error, KEY, (3, x, 1)))
        log.tell(session, Event.of(SourceUnreadable("b.tif is damaged."), KEY))
        return await log.follow(session, "0-0", 0)

    answer = with_log(valkey, use)
    first, second = answer["events"]
    assert first["type"] == "error"
    assert (first["key"], first["error"], first["message"]) == (KEY, "SourceUnreadable", "a.tif is damaged.")
    assert (first["node"], first["op"], first["tile"], first["count"]) == ("n", "open", [3, 0, 1], 5)
    assert (second["message"], second["tile"], second["count"]) == ("b.tif is damaged.", None, 1)
    assert answer["last"] == second["id"]


def test_a_failure_is_told_again_when_its_number_has_doubled(valkey: str) -> None:
    async def use(log: EventLog, session: str) -> Any:
        found, last = [], "0-0"
        for x in range(9):
            log.tell(session, Event.of(SourceUnreadable("a.tif is damaged."), KEY, (4, x, 1)))
            answer = await log.follow(session, last, 0)
            last = answer["last"]
            found += [(event["tile"][1], event["count"], event["same"]) for event in answer["events"]]
        return found

    found = with_log(valkey, use)
    assert [one[:2] for one in found] == [(0, 1), (1, 2), (3, 4), (7, 8)]
    assert len({same for *_, same in found}) == 1


def test_following_goes_on_after_the_last(valkey: str) -> None:
    async def use(log: EventLog, session: str) -> Any:
        log.tell(session, Event("print", KEY, {"message": "one"}))
        first = await log.follow(session, "0-0", 0)
        log.tell(session, Event("print", KEY, {"message": "two"}))
        second = await log.follow(session, first["last"], 0)
        third = await log.follow(session, second["last"], 0)
        return first, second, third

    first, second, third = with_log(valkey, use)
    assert [event["message"] for event in first["events"]] == ["one"]
    assert [event["message"] for event in second["events"]] == ["two"]
    assert third == {"events": [], "last": second["last"]}


def test_a_poll_answers_as_soon_as_something_comes(valkey: str) -> None:
    async def use(log: EventLog, session: str) -> Any:
        poll = asyncio.ensure_future(log.follow(session, "0-0", 20))
        await asyncio.wait([poll], timeout=0.1)
        assert not poll.done()
        begun = time.monotonic()
        log.tell(session, Event.of(EngineOverloaded("busy"), KEY, (1, 0, 0)))
        answer = await poll
        return answer, time.monotonic() - begun

    answer, waited = with_log(valkey, use)
    assert [event["type"] for event in answer["events"]] == ["refused"]
    assert waited < 2


def test_what_is_printed_again_and_again_is_counted(valkey: str) -> None:
    async def use(log: EventLog, session: str) -> Any:
        for text in ("one", "two", "one", "one"):
            log.tell(session, Event("print", KEY, {"message": text}))
        log.tell(session, Event("print", "1" * 32, {"message": "one"}))
        return await log.follow(session, "0-0", 0)

    events = with_log(valkey, use)["events"]
    assert [(event["message"], event["count"]) for event in events] == [("one", 3), ("two", 1), ("one", 1)]


def test_a_layer_is_seen_once(valkey: str) -> None:
    async def use(log: EventLog, session: str) -> Any:
        for _ in range(3):
            log.seen(session, KEY)
        log.seen(session, "1" * 32)
        return await log.follow(session, "0-0", 0)

    events = with_log(valkey, use)["events"]
    assert [(event["type"], event["key"]) for event in events] == [("seen", KEY), ("seen", "1" * 32)]


def test_sessions_do_not_see_each_other(valkey: str) -> None:
    async def use(log: EventLog, session: str) -> Any:
        log.tell(session, Event("print", KEY, {"message": "mine"}))
        return await log.follow(session + "x", "0-0", 0)

    assert with_log(valkey, use)["events"] == []


def test_a_stream_stays_small(valkey: str) -> None:
    async def use(log: EventLog, session: str) -> Any:
        for number in range(3 * KEPT):
            log.tell(session, Event("print", KEY, {"message": str(number)}))
            if number % 100 == 0:
                await log.follow(session, "0-0", 0)
        await log.follow(session, "0-0", 0)
        return await log._redis.xlen(f"geoloom:log:{session}"), await log._redis.ttl(f"geoloom:log:{session}")

    length, ttl = with_log(valkey, use)
    assert length <= 1.3 * KEPT
    assert 0 < ttl <= 60


def test_one_user_cannot_fill_the_store_with_events(valkey: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(log: EventLog, session: str) -> Any:
        own, other = f"{session[:12]}~", f"{session[12:24]}~"
        for i in range(20):
            log.tell(f"{own}{i}", Event("print", KEY, {"message": f"{i} " * 500}))
        log.tell(f"{other}1", Event("print", KEY, {"message": "of another"}))
        told = [(await log.follow(f"{own}{i}", "0-0", 0))["events"] for i in range(20)]
        of_another = (await log.follow(f"{other}1", "0-0", 0))["events"]
        monkeypatch.setattr(events, "WINDOW", 0.0)
        log.tell(f"{own}20", Event("print", KEY, {"message": "later"}))
        return [len(one) for one in told], len(of_another), (await log.follow(f"{own}20", "0-0", 0))["events"]

    monkeypatch.setattr(events, "SHARE", 5000)
    told, of_another, later = with_log(valkey, use)
    assert told == [1, 1, 1] + [0] * 17
    assert of_another == 1
    assert [one["message"] for one in later] == ["later"]


def test_a_wrong_id_is_refused(valkey: str) -> None:
    for after in ("x", "1-", "-1", "1" * 30, "1-1-1"):
        with pytest.raises(RequestError):
            with_log(valkey, lambda log, session, after=after: log.follow(session, after, 0))


def test_while_redis_is_away_events_are_held_back(own_valkey: Any) -> None:
    async def use(log: EventLog, session: str) -> Any:
        own_valkey.stop()
        log.tell(session, Event.of(GeoloomError("lost?"), KEY))
        with pytest.raises(EngineUnreachable):
            await log.follow(session, "0-0", 0)
        own_valkey.start()
        return await log.follow(session, "0-0", 0)

    assert [event["message"] for event in with_log(own_valkey.url, use)["events"]] == ["lost?"]


def test_a_poll_outlives_a_restart_of_redis(own_valkey: Any) -> None:
    async def use(log: EventLog, session: str) -> Any:
        await log.follow(session, "0-0", 0)
        poll = asyncio.ensure_future(log.follow(session, "0-0", 60))
        await asyncio.wait([poll], timeout=0.1)
        own_valkey.stop()
        own_valkey.start()
        log.tell(session, Event("print", KEY, {"message": "back"}))
        return await poll

    assert [event["message"] for event in with_log(own_valkey.url, use)["events"]] == ["back"]


def test_a_poll_ends_where_redis_stays_away(own_valkey: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geoloom_engine.events.PATIENCE", 0.3)

    async def use(log: EventLog, session: str) -> Any:
        own_valkey.stop()
        with pytest.raises(EngineUnreachable):
            await log.follow(session, "0-0", 60)

    with_log(own_valkey.url, use)


def test_who_owners_are_is_noted_also_after_a_pause(own_valkey: Any) -> None:
    import redis

    async def use(log: EventLog, session: str) -> Any:
        own_valkey.stop()
        log.meet("0123456789ab", "user:anna")
        with pytest.raises(EngineUnreachable):
            await log.follow(session, "0-0", 0)
        own_valkey.start()
        log.meet("ba9876543210", "service:apps")
        return await log.follow(session, "0-0", 0)

    with_log(own_valkey.url, use)
    with redis.Redis.from_url(own_valkey.url) as store:
        noted = store.hgetall(USERS)
    assert noted == {b"0123456789ab": b"user:anna", b"ba9876543210": b"service:apps"}


def test_a_server_that_hangs_is_left_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        begun = time.monotonic()
        with pytest.raises(EngineUnreachable):
            with_log(url, lambda log, session: log.follow(session, "0-0", 0))
        assert time.monotonic() - begun < 10


def test_payloads_are_json(valkey: str) -> None:
    event = Event.of(GeoloomError("ü", hint="h"), KEY)
    assert json.loads(json.dumps(event.payload))["message"] == "ü"
