"""What users are charged for in the store, against a real Valkey."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import redis

from geoloom.chain import Chain
from geoloom.errors import EngineUnreachable, QuotaExceeded
from geoloom.store import RedisStore
from geoloom_engine import quotas
from geoloom_engine.quotas import Limits, Quotas

TTL = 30 * 86400
HOUR = 3600


@pytest.fixture
def owner() -> str:
    return secrets.token_hex(6)


def with_quotas(
    url: str, use: Callable[[Quotas], Awaitable[Any]], chains: int = 0, blobs: int = 0, bytes: int = 0
) -> Any:
    async def run() -> Any:
        quotas = Quotas(url, Limits(chains, blobs, bytes), TTL, HOUR)
        try:
            return await use(quotas)
        finally:
            await quotas.close()

    return asyncio.run(asyncio.wait_for(run(), 60))


def new_chain() -> Chain:
    return Chain.extend("constant", 1, {"value": secrets.randbits(40)})


_opened: list[RedisStore | redis.Redis] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop().close()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is charged and not stored counts as gone, however new it is."""
    monkeypatch.setattr(quotas, "ON_ITS_WAY", 0)


class Account:
    """A user who stores things as the engine does: charged first."""

    def __init__(self, url: str, quotas: Quotas, owner: str) -> None:
        self.store, self.quotas, self.owner = RedisStore(url, ttl=TTL), quotas, owner
        self.client = redis.Redis.from_url(url)
        _opened.extend((self.store, self.client))

    async def chain(self, idle: float = 0.0) -> str:
        """Store a new chain that was used so many seconds ago."""
        chain = new_chain()
        await self.quotas.charge(self.owner, "chain", chain.root, chain.size)
        self.store.put_chain(chain)
        if idle:
            self.client.expire(f"geoloom:chain:{chain.root}", int(TTL - idle))
        return chain.root

    async def save(self, key: str) -> None:
        await self.quotas.charge(self.owner, "chain", key, 100, saved=True)
        self.store.save(key)

    async def kept(self) -> dict[str, int]:
        return (await self.quotas.kept([self.owner]))[self.owner]

    def look_again(self) -> None:
        """As if a while had passed since the account was looked through."""
        self.client.hdel(f"geoloom:account:{self.owner}", "looked")

    def left(self, key: str) -> int:
        """Seconds for which a chain is kept; -1 for good, -2 gone."""
        left = self.client.ttl(f"geoloom:chain:{key}")
        assert isinstance(left, int)
        return left


def test_one_more_than_allowed_is_refused_in_words(valkey: str, owner: str) -> None:
    async def use(quotas: Quotas) -> None:
        account = Account(valkey, quotas, owner)
        for _ in range(3):
            await account.chain()
        with pytest.raises(QuotaExceeded, match=r"You keep 3 chains .* each user may keep 3") as refused:
            await account.chain()
        assert "not used for 1 h" in str(refused.value)
        assert "GEOLOOM_USER_CHAINS" in str(refused.value)
        assert (await account.kept())["chains"] == 3
        # Another user has room.
        await Account(valkey, quotas, secrets.token_hex(6)).chain()

    with_quotas(valkey, use, chains=3)


def test_what_is_known_is_charged_once(valkey: str, owner: str) -> None:
    async def use(quotas: Quotas) -> None:
        for _ in range(5):
            await quotas.charge(owner, "blob", "a" * 32, 1000)
        assert await quotas.kept([owner]) == {owner: {"chains": 0, "blobs": 1, "bytes": 1000}}
        with pytest.raises(QuotaExceeded, match="1 blobs"):
            await quotas.charge(owner, "blob", "b" * 32, 1)

    with_quotas(valkey, use, blobs=1)


def test_bytes_count_whatever_they_are(valkey: str, owner: str) -> None:
    async def use(quotas: Quotas) -> None:
        account = Account(valkey, quotas, owner)
        await quotas.charge(owner, "blob", "a" * 32, 2 << 20)
        account.store.put_blob(b"x")
        account.client.set(f"geoloom:blob:{'a' * 32}", b"", ex=TTL)
        with pytest.raises(QuotaExceeded, match=r"keep 2.0 MB .* these 1.5 MB .* the 3.0 MB"):
            await quotas.charge(owner, "chain", "b" * 32, 3 << 19)
        await quotas.charge(owner, "chain", "b" * 32, 1 << 20)

    with_quotas(valkey, use, bytes=3 << 20)


@pytest.mark.usefixtures("at_once")
def test_what_has_expired_counts_no_more(valkey: str, owner: str) -> None:
    async def use(quotas: Quotas) -> None:
        account = Account(valkey, quotas, owner)
        keys = [await account.chain() for _ in range(20)]
        account.client.delete(*(f"geoloom:chain:{key}" for key in keys[:15]))
        await account.chain()
        assert 6 <= (await account.kept())["chains"] <= 20

        # Also in accounts that are never full: a few at each charge.
        for _ in range(60):
            await quotas.charge(owner, "blob", secrets.token_hex(16), 10)
        assert (await account.kept())["blobs"] < 30

    with_quotas(valkey, use, chains=20)


def test_what_is_charged_and_not_yet_stored_counts(valkey: str, owner: str) -> None:
    async def use(quotas: Quotas) -> None:
        for i in range(20):
            await quotas.charge(owner, "blob", f"{i:032x}", 10)
        with pytest.raises(QuotaExceeded):
            await quotas.charge(owner, "blob", "f" * 32, 10)

    with_quotas(valkey, use, blobs=20)


def test_a_full_account_lets_go_of_what_was_not_used_for_longest(valkey: str, owner: str) -> None:
    async def use(quotas: Quotas) -> None:
        account = Account(valkey, quotas, owner)
        saved = await account.chain(idle=9 * HOUR)
        await account.save(saved)
        idle = [await account.chain(idle=(8 - i) * HOUR) for i in range(6)]
        used = [await account.chain(idle=HOUR / 2) for _ in range(3)]
        await account.chain()
        # A tenth is let go at once, so that this does not happen for each that follows.
        assert (await account.kept())["chains"] == 9
        gone = [key for key in idle if account.left(key) <= HOUR]
        assert gone == idle[:2]
        assert account.left(saved) == -1
        assert all(account.left(key) > TTL - HOUR for key in used)
        # It is still there for a while: who uses it again keeps it.
        assert account.store.get_chain(gone[0]).root == gone[0]
        assert account.left(gone[0]) > TTL - 60

    with_quotas(valkey, use, chains=10)


def test_what_is_on_maps_or_saved_is_not_let_go(valkey: str, owner: str) -> None:
    async def use(quotas: Quotas) -> None:
        account = Account(valkey, quotas, owner)
        for _ in range(2):
            await account.save(await account.chain(idle=5 * HOUR))
        await account.chain(idle=HOUR / 2)
        for _ in range(2):
            account.look_again()
            with pytest.raises(QuotaExceeded):
                await account.chain()
        assert (await account.kept())["chains"] == 3

    with_quotas(valkey, use, chains=3)


def test_what_somebody_else_saved_is_not_charged_for_ever_and_stays_saved(valkey: str, owner: str) -> None:
    async def use(quotas: Quotas) -> None:
        account, other = Account(valkey, quotas, owner), Account(valkey, quotas, secrets.token_hex(6))
        key = await account.chain()
        await other.save(key)
        await account.chain()
        assert (await account.kept())["chains"] == 1
        assert account.left(key) == -1

    with_quotas(valkey, use, chains=1)


def test_saving_is_charged_to_who_saves(valkey: str, owner: str) -> None:
    async def use(quotas: Quotas) -> None:
        account, other = Account(valkey, quotas, owner), Account(valkey, quotas, secrets.token_hex(6))
        keys = [await account.chain() for _ in range(2)]
        # One's own needs no more room to be saved.
        await account.save(keys[0])
        await other.chain()
        await other.save(keys[0])
        with pytest.raises(QuotaExceeded):
            await other.save(keys[1])
        assert account.left(keys[1]) > 0

    with_quotas(valkey, use, chains=2)


def test_many_at_once_do_not_overrun_a_quota(valkey: str, owner: str) -> None:
    """Each worker has a connection of its own, and none waits for the others."""

    async def use(quotas: Quotas) -> None:
        others = [Quotas(valkey, quotas.limits, TTL, HOUR) for _ in range(3)]
        accounts = [Account(valkey, one, owner) for one in [quotas, *others]]
        done = await asyncio.gather(*(accounts[i % 4].chain() for i in range(80)), return_exceptions=True)
        assert sum(isinstance(one, str) for one in done) == 50
        assert all(isinstance(one, str | QuotaExceeded) for one in done)
        for one in others:
            await one.close()

    with_quotas(valkey, use, chains=50)


def test_no_limit_and_no_owner_refuse_nothing(valkey: str, owner: str) -> None:
    async def use(quotas: Quotas) -> None:
        account = Account(valkey, quotas, owner)
        for _ in range(30):
            await account.chain()
        assert (await account.kept())["chains"] == 30
        nobody = Account(valkey, quotas, "")
        await nobody.chain()
        assert not nobody.client.exists("geoloom:account:")

    with_quotas(valkey, use)


def test_a_store_that_is_away_is_said_so(tmp_path: Any) -> None:
    async def use(quotas: Quotas) -> None:
        with pytest.raises(EngineUnreachable, match="The chain store does not answer"):
            await quotas.charge("0" * 12, "chain", "a" * 32, 1)

    with_quotas(f"unix://{tmp_path}/nothing.sock", use, chains=1)


def test_what_is_saved_can_be_given_up(valkey: str, owner: str) -> None:
    async def use(quotas: Quotas) -> None:
        account = Account(valkey, quotas, owner)
        keys = [await account.chain() for _ in range(2)]
        for key in keys:
            await account.save(key)
        await quotas.release(owner, keys[0], ())
        assert 0 < account.left(keys[0]) <= TTL
        assert account.left(keys[1]) == -1
        # Once is enough, and it says nothing about what others keep.
        await quotas.release(owner, keys[0], ())
        await quotas.release(secrets.token_hex(6), keys[1], ())
        assert account.left(keys[1]) == -1
        # Unused for a while, it makes room.
        account.client.expire(f"geoloom:chain:{keys[0]}", TTL - 2 * HOUR)
        await account.chain()

    with_quotas(valkey, use, chains=2)


def test_what_others_saved_and_blobs_of_other_chains_stay(valkey: str, owner: str) -> None:
    async def use(quotas: Quotas) -> None:
        mine, other = Account(valkey, quotas, owner), Account(valkey, quotas, secrets.token_hex(6))
        for account in (mine, other):
            account.client.hset("geoloom:users", account.owner, "user:somebody")
        shared, own = (mine.store.put_blob(secrets.token_bytes(8)) for _ in range(2))
        first, second = (
            Chain.extend("constant", 1, {"value": secrets.randbits(40), "text": text})
            for text in (f"{shared} {own}", shared)
        )
        for chain, blobs in ((first, (shared, own)), (second, (shared,))):
            mine.store.put_chain(chain)
            await mine.save(chain.root)
            for blob in blobs:
                await quotas.charge(owner, "blob", blob, 8, saved=True)
            mine.store.save(chain.root, blobs)
        await other.save(first.root)

        await quotas.release(owner, first.root, (shared, own))
        assert mine.left(first.root) == -1
        assert mine.client.ttl(f"geoloom:blob:{shared}") == -1
        assert mine.client.ttl(f"geoloom:blob:{own}") > 0
        await quotas.release(other.owner, first.root, (shared, own))
        assert mine.left(first.root) > 0
        await quotas.release(owner, second.root, (shared,))
        assert mine.client.ttl(f"geoloom:blob:{shared}") > 0

    with_quotas(valkey, use)


def test_without_owners_anybody_gives_up_a_chain(valkey: str) -> None:
    async def use(quotas: Quotas) -> None:
        nobody = Account(valkey, quotas, "")
        key = await nobody.chain()
        await nobody.save(key)
        assert nobody.left(key) == -1
        await quotas.release("", key, ())
        assert nobody.left(key) > 0

    with_quotas(valkey, use)
