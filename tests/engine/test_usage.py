"""What is counted of users, added up in a real Valkey."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
import redis

from geoloom.errors import EngineUnreachable
from geoloom_engine import usage
from geoloom_engine.allowances import Exhausted
from geoloom_engine.events import USERS
from geoloom_engine.usage import COUNTS, Usage

if TYPE_CHECKING:
    from conftest import RunningValkey

NONE = dict.fromkeys(COUNTS, 0)


@pytest.fixture
def who(valkey: str) -> str:
    """A user that no other test has, who is called as the digits that stand for him."""
    digits = secrets.token_hex(6)
    with redis.Redis.from_url(valkey) as client:
        client.hset(USERS, digits, f"user:{digits}")
    return digits


def session(owner: str, its: str = "map") -> str:
    return f"{owner}~{its}"


def with_usage(url: str, use: Callable[..., Awaitable[Any]], processes: int = 1, limit: float = 0.0) -> Any:
    async def run() -> Any:
        made = [Usage(url, limit) for _ in range(processes)]
        try:
            return await use(*made)
        finally:
            for one in made:
                await one.close()

    return asyncio.run(asyncio.wait_for(run(), 60))


async def taken(counter: Usage, who: str) -> dict[str, Any]:
    (today,) = await counter.days(1)
    found = [user for user in today["users"] if user["name"] == f"user:{who}"]
    return {name: value for name, value in found[0].items() if name != "name"} if found else {}


def test_what_users_take_is_added_up_by_day(valkey: str, who: str) -> None:
    async def use(counter: Usage) -> None:
        counter.tile(session(who), 1000, hit=False)
        counter.tile(session(who, "other"), 500, hit=True)
        counter.request(session(who), "questions")
        counter.request(session(who), "refused")
        counter.computed(session(who), 0.25)
        counter.function(session(who), 1.5)
        expected = {
            **NONE,
            "tiles": 2,
            "hits": 1,
            "bytes": 1500,
            "questions": 1,
            "refused": 1,
            "cpu_seconds": 0.25,
            "function_calls": 1,
            "function_seconds": 1.5,
        }
        assert await taken(counter, who) == expected
        counter.tile(session(who), 1, hit=True)
        assert await taken(counter, who) == {**expected, "tiles": 3, "hits": 2, "bytes": 1501}
        assert [day["users"] for day in (await counter.days(3))[1:]] == [[], []]

    with_usage(valkey, use)


def test_all_processes_are_added_up(valkey: str, who: str) -> None:
    async def use(*counters: Usage) -> None:
        for counter in counters:
            for _ in range(3):
                counter.tile(session(who), 10, hit=False)
        await asyncio.gather(*(counter.flush() for counter in counters))
        assert (await taken(counters[0], who))["tiles"] == 9

    with_usage(valkey, use, 3)


def test_it_is_written_by_itself_soon_after(valkey: str, who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "PERIOD", 0.01)

    async def use(counter: Usage, reader: Usage) -> None:
        counter.tile(session(who), 10, hit=False)
        while not await taken(reader, who):
            await asyncio.sleep(0.01)
        # And only then: who is asked for nothing is not woken.
        while counter._timer is not None or counter._writing is not None:
            await asyncio.sleep(0.01)

    with_usage(valkey, use, 2)


def test_what_was_counted_last_is_written_at_the_end(valkey: str, who: str) -> None:
    async def first(counter: Usage) -> None:
        counter.tile(session(who), 10, hit=False)
        writing = asyncio.ensure_future(counter.flush())
        await asyncio.sleep(0)
        counter.tile(session(who), 10, hit=False)
        await writing
        counter.tile(session(who), 10, hit=False)

    async def second(counter: Usage) -> int:
        return int((await taken(counter, who))["tiles"])

    with_usage(valkey, first)
    assert with_usage(valkey, second) == 3


def test_an_answer_that_is_lost_counts_nothing_twice(valkey: str, who: str) -> None:
    async def use(counter: Usage) -> None:
        add = counter._add

        async def deaf(**given: Any) -> Any:
            await add(**given)
            raise TimeoutError

        counter.tile(session(who), 10, hit=False)
        counter.function(session(who), 2.0)
        counter._add = deaf  # type: ignore[assignment]
        await counter.flush()
        counter.tile(session(who), 10, hit=False)
        await counter.flush()
        counter._add = add
        found = await taken(counter, who)
        assert (found["tiles"], found["function_seconds"]) == (1, 2.0)
        found = await taken(counter, who)
        assert (found["tiles"], found["function_seconds"]) == (2, 2.0)

    with_usage(valkey, use)


def test_nothing_is_lost_while_the_store_is_away(own_valkey: RunningValkey) -> None:
    async def use(counter: Usage) -> None:
        counter.tile(session("0" * 12), 10, hit=False)
        await counter.flush()
        own_valkey.stop()
        counter.tile(session("0" * 12), 10, hit=False)
        await counter.flush()
        with pytest.raises(EngineUnreachable):
            await counter.days(1)
        counter.tile(session("0" * 12), 10, hit=False)
        await asyncio.to_thread(own_valkey.start)
        await counter.flush()
        (today,) = await counter.days(1)
        # The store has forgotten what it had: this one keeps nothing on disk.
        assert [(user["name"], user["tiles"]) for user in today["users"]] == [("0" * 12, 2)]

    with_usage(own_valkey.url, use)


def test_function_time_is_that_of_all_processes(valkey: str, who: str) -> None:
    async def use(here: Usage, there: Usage) -> None:
        here.function(session(who), 6.0)
        there.function(session(who, "other"), 5.0)
        for one in (here, there):
            one._function_time.check(session(who))
            await one.flush()
        # The second was told what the first had written, and the first learns it with what it writes next.
        with pytest.raises(Exhausted, match="computed for 11 s"):
            there._function_time.check(session(who))
        here._function_time.check(session(who))
        here.function(session(who), 0.5)
        await here.flush()
        with pytest.raises(Exhausted, match="computed for 12 s"):
            here._function_time.check(session(who))

    with_usage(valkey, use, 2, limit=10.0)


def test_services_are_known_once_they_were_counted(valkey: str) -> None:
    digits = secrets.token_hex(6)
    with redis.Redis.from_url(valkey) as client:
        client.hset(USERS, digits, "service:apps")

    async def use(counter: Usage) -> None:
        assert not counter.is_service(digits)
        counter.tile(f"{digits}~guest", 10, hit=False)
        await counter.flush()
        assert counter.is_service(digits)
        # Visitors of an app take turns with users, each as one.
        assert counter.whose(f"{digits}~guest") == f"{digits}~guest"
        assert counter.whose("0123456789ab~map") == "0123456789ab"
        assert counter.whose("alone") == "alone"
        assert (await counter.owners())[digits] == "service:apps"

    with_usage(valkey, use)


def test_who_was_there_just_now_is_counted(own_valkey: RunningValkey) -> None:
    async def use(here: Usage, there: Usage) -> None:
        for name in ("a" * 12, "b" * 12):
            here.tile(session(name), 1, hit=True)
            here.tile(session(name, "other"), 1, hit=True)
        there.tile(session("b" * 12), 1, hit=True)
        there.tile(session("c" * 12), 1, hit=True)
        await here.flush()
        await there.flush()
        assert (here.recent, there.recent) == (2, 3)

    with_usage(own_valkey.url, use, 2)


def test_sessions_without_an_owner_are_one(own_valkey: RunningValkey) -> None:
    """Their names are free to choose: as many as somebody likes."""

    async def use(counter: Usage) -> None:
        for i in range(50):
            counter.tile(f"session{i}", 1, hit=True)
        assert len(counter._tallies) == 1
        (today,) = await counter.days(1)
        assert [(user["name"], user["tiles"]) for user in today["users"]] == [("secret", 50)]

    with_usage(own_valkey.url, use)


def test_threads_lose_nothing(valkey: str, who: str) -> None:
    async def use(counter: Usage) -> None:
        def compute() -> None:
            for _ in range(2000):
                counter.computed(session(who), 1.0)
                counter.function(session(who), 1.0)

        threads = [threading.Thread(target=compute) for _ in range(4)]
        for one in threads:
            one.start()
        while any(one.is_alive() for one in threads):
            await counter.flush()
        found = await taken(counter, who)
        assert (found["cpu_seconds"], found["function_seconds"]) == (8000, 8000)
        assert found["function_calls"] == 8000

    with_usage(valkey, use)
