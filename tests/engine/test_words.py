from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
import redis

from geoloom.errors import AccessError, EngineUnreachable
from geoloom_engine.callers import GRACE, Callers
from geoloom_engine.hub import Hub
from geoloom_engine.words import Words

if TYPE_CHECKING:
    from conftest import MadeUpHub


def with_workers(
    url: str, hub: MadeUpHub, use: Callable[[Callers, Callers], Awaitable[Any]], recheck: float = 60.0
) -> None:
    """Run `use` with the callers of two workers."""

    async def run() -> None:
        asked, words = Hub(hub.url), [Words(url, GRACE) for _ in range(2)]
        try:
            await use(*(Callers("", asked, "tiles", recheck, words=one) for one in words))
        finally:
            asked.close()
            for one in words:
                await one.close()

    asyncio.run(asyncio.wait_for(run(), 30))


def test_the_hub_is_asked_once_for_all_workers(valkey: str, made_up_hub: MadeUpHub) -> None:
    token = made_up_hub.user("anna", "hydro")

    async def use(first: Callers, second: Callers) -> None:
        one, other = [await worker.identify(f"token {token}") for worker in (first, second)]
        assert one == other
        assert other.groups == {"hydro", "user:anna"}

    with_workers(valkey, made_up_hub, use)
    assert made_up_hub.asked == [token]


def test_a_new_worker_knows_its_callers_while_the_hub_is_away(valkey: str, made_up_hub: MadeUpHub) -> None:
    anna, ben = made_up_hub.user("anna"), made_up_hub.user("ben")

    async def use(first: Callers, second: Callers) -> None:
        await first.identify(f"token {anna}")
        made_up_hub.status = 503
        assert (await second.identify(f"token {anna}")).name == "anna"
        with pytest.raises(EngineUnreachable):
            await second.identify(f"token {ben}")

    with_workers(valkey, made_up_hub, use, recheck=0.0)


def test_a_token_that_the_hub_forgot_is_forgotten_by_all(valkey: str, made_up_hub: MadeUpHub) -> None:
    token = made_up_hub.user("anna")

    async def use(first: Callers, second: Callers) -> None:
        await first.identify(f"token {token}")
        del made_up_hub.models[token]
        with pytest.raises(AccessError, match="does not know"):
            await first.identify(f"token {token}")
        made_up_hub.status = 503
        with pytest.raises(EngineUnreachable):
            await second.identify(f"token {token}")

    with_workers(valkey, made_up_hub, use, recheck=0.0)


def test_without_redis_the_hub_is_asked(own_valkey: Any, made_up_hub: MadeUpHub) -> None:
    token = made_up_hub.user("anna")
    own_valkey.stop()

    async def use(first: Callers, second: Callers) -> None:
        assert (await first.identify(f"token {token}")).name == "anna"

    with_workers(own_valkey.url, made_up_hub, use)


def test_no_token_is_kept_and_none_for_long(valkey: str, made_up_hub: MadeUpHub) -> None:
    token = made_up_hub.user("zoe")

    async def use(first: Callers, second: Callers) -> None:
        await first.identify(f"token {token}")

    with_workers(valkey, made_up_hub, use)
    with redis.Redis.from_url(valkey) as store:
        name = f"geoloom:token:{hashlib.sha256(token.encode()).hexdigest()}"
        assert token.encode() not in (store.get(name) or b"")
        assert 0 < store.ttl(name) <= GRACE
