from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from geoloom.errors import CapabilityError, EngineUnreachable, QuotaExceeded
from geoloom_engine import revocations
from geoloom_engine.auth import Capability
from geoloom_engine.revocations import Revocations


def given(session: str, expires_in: float = 60.0) -> Capability:
    """A capability of a session, as it is now."""
    return Capability("0" * 32, 1, session, int(time.time() + expires_in))


def with_two(
    url: str, use: Callable[[Revocations, Revocations, str], Awaitable[Any]], keep: float = 60
) -> None:
    """Run `use` with the revocations of two processes and a session's name."""

    async def run() -> None:
        both = [Revocations(url, keep) for _ in range(2)]
        try:
            await use(*both, uuid.uuid4().hex)
        finally:
            for one in both:
                await one.close()

    asyncio.run(asyncio.wait_for(run(), 30))


def test_a_revoked_session_is_refused_by_all(valkey: str) -> None:
    async def use(first: Revocations, second: Revocations, session: str) -> None:
        await first.check(given(session))
        await first.revoke(session)
        for one in (first, second):
            with pytest.raises(CapabilityError, match="withdrawn"):
                await one.check(given(session))
            await one.check(given(session + "x"))

    with_two(valkey, use)


def test_what_is_given_out_later_is_good(valkey: str) -> None:
    async def use(first: Revocations, second: Revocations, session: str) -> None:
        await first.revoke(session)
        with pytest.raises(CapabilityError, match="withdrawn"):
            await second.check(given(session))
        await second.check(given(session, 62.0))

    with_two(valkey, use)


def test_an_owners_sessions_are_revoked_together(valkey: str) -> None:
    async def use(first: Revocations, second: Revocations, session: str) -> None:
        owner, other = session[:12], session[12:24]
        await first.revoke(owner)
        for name in ("one", "two"):
            with pytest.raises(CapabilityError, match="withdrawn"):
                await second.check(given(f"{owner}~{name}"))
            await second.check(given(f"{other}~{name}"))

    with_two(valkey, use)


def test_one_user_cannot_fill_the_list_that_all_read(valkey: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "MOST", 3)

    async def use(first: Revocations, second: Revocations, session: str) -> None:
        owner, other = session[:12], session[12:24]
        for name in ("a", "b", "c", "a"):
            await first.revoke(f"{owner}~{name}")
        for process in (first, second):
            with pytest.raises(QuotaExceeded, match="ended 3 sessions"):
                await process.revoke(f"{owner}~d")
        # Others can, and an admin can end all of this one's.
        await second.revoke(f"{other}~d")
        await second.revoke(owner)
        with pytest.raises(CapabilityError, match="withdrawn"):
            await second.check(given(f"{owner}~d"))

    with_two(valkey, use)


def test_after_a_long_silence_a_request_waits_for_the_look(
    valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(first: Revocations, second: Revocations, session: str) -> None:
        await second.check(given(session))
        await first.revoke(session)
        await second.check(given(session))
        monkeypatch.setattr(Revocations, "STALE", 0.0)
        with pytest.raises(CapabilityError, match="withdrawn"):
            await second.check(given(session))

    with_two(valkey, use)


def test_a_revocation_is_kept_as_long_as_a_capability_could_be_valid(valkey: str) -> None:
    async def use(first: Revocations, second: Revocations, session: str) -> None:
        await first.revoke(session)
        score = await first._redis.zscore(Revocations.NAME, session)
        await first._redis.zadd(Revocations.NAME, {session: float(score or 0) - 100})
        await second.check(given(session))

    with_two(valkey, use)


def test_while_redis_is_away_what_was_known_stands(own_valkey: Any) -> None:
    async def use(first: Revocations, second: Revocations, session: str) -> None:
        await first.revoke(session)
        with pytest.raises(CapabilityError):
            await first.check(given(session))
        own_valkey.stop()
        first._checked = float("-inf")
        with pytest.raises(CapabilityError):
            await first.check(given(session))
        await first.check(given("another"))
        assert await first.problem()
        with pytest.raises(EngineUnreachable):
            await first.revoke("another")

    with_two(own_valkey.url, use)
