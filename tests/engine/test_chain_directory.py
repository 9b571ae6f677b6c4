from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from geoloom.chain import Chain, key_of
from geoloom.errors import (
    CorruptChain,
    EngineUnreachable,
    NotFound,
    ParameterError,
    RequestError,
    SourceNotFound,
)
from geoloom.ops.execute import Execute
from geoloom_engine import chain_directory
from geoloom_engine.chain_directory import ChainDirectory

CHAIN = Chain.extend("constant", 1, {"value": 1})


class MemoryStore:
    """A store that counts what it is asked, and may be away."""

    def __init__(self) -> None:
        self.chains: dict[str, Chain] = {}
        self.blobs: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.away = False
        self.lock = threading.Lock()

    def put_chain(self, chain: Chain) -> str:
        self._ask("put")
        self.chains[chain.root] = chain
        return chain.root

    def get_chain(self, key: str) -> Chain:
        self._ask("get")
        if key not in self.chains:
            raise NotFound(f"No chain {key}.")
        return self.chains[key]

    def put_blob(self, content: bytes) -> str:
        self._ask("put blob")
        self.blobs[key_of(content)] = content
        return key_of(content)

    def get_blob(self, key: str) -> bytes:
        self._ask("get blob")
        if key not in self.blobs:
            raise NotFound(f"No blob {key}.")
        return self.blobs[key]

    def trust(self, key: str, engine: str) -> None:
        self._ask(f"trust {engine}")

    def save(self, key: str, blobs: Iterable[str] = ()) -> None:
        self._ask("save")

    def _ask(self, what: str) -> None:
        with self.lock:
            self.asked.append(what)
        if self.away:
            raise EngineUnreachable("away")


class Sources:
    """Versions of data, counted."""

    def __init__(self) -> None:
        self.looked = 0
        self.blobs: dict[str, bytes] = {}
        self.anew: list[bool] = []
        self.answer: Callable[[], str] = lambda: "v1"

    def version(self, chain: Chain, anew: bool) -> str:
        self.looked += 1
        self.anew.append(anew)
        return self.answer()


def with_directory(
    use: Callable[[ChainDirectory, MemoryStore, Sources], Awaitable[Any]],
    check: Callable[[Chain], None] = lambda chain: None,
) -> Any:
    store, sources = MemoryStore(), Sources()

    async def run() -> Any:
        with ThreadPoolExecutor(2) as threads:
            directory = ChainDirectory(
                store, threads, lambda chain: threads, check, sources.version, sources.blobs.__setitem__
            )
            return await use(directory, store, sources)

    return asyncio.run(asyncio.wait_for(run(), 30))


def test_a_chain_is_loaded_once_for_all_who_ask() -> None:
    async def use(directory: ChainDirectory, store: MemoryStore, sources: Sources) -> None:
        store.chains[CHAIN.root] = CHAIN
        assert await asyncio.gather(*(directory.get(CHAIN.root) for _ in range(5))) == [CHAIN] * 5
        await directory.get(CHAIN.root)
        assert store.asked == ["get"]

    with_directory(use)


def test_what_was_registered_is_in_memory_and_in_the_store() -> None:
    async def use(directory: ChainDirectory, store: MemoryStore, sources: Sources) -> None:
        assert await directory.register(CHAIN.to_json()) == CHAIN
        assert await directory.get(CHAIN.root) is not None
        assert store.asked == ["put"]

    with_directory(use)


def test_what_is_wrong_is_neither_kept_nor_stored() -> None:
    def check(chain: Chain) -> None:
        raise ParameterError("no")

    async def use(directory: ChainDirectory, store: MemoryStore, sources: Sources) -> None:
        with pytest.raises(ParameterError):
            await directory.register(CHAIN.to_json())
        with pytest.raises(CorruptChain):
            await directory.register(b"{}")
        assert store.asked == []
        with pytest.raises(NotFound):
            await directory.get(CHAIN.root)
        with pytest.raises(RequestError):
            await directory.get("../x")

    with_directory(use, check)


def test_known_chains_outlive_the_store_and_others_fail_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_directory, "PAUSE", 60.0)

    async def use(directory: ChainDirectory, store: MemoryStore, sources: Sources) -> None:
        await directory.register(CHAIN.to_json())
        store.away = True
        assert await directory.get(CHAIN.root) == CHAIN
        for _ in range(10):
            with pytest.raises(EngineUnreachable, match="away"):
                await directory.get("0" * 32)
        assert store.asked == ["put", "get"]

    with_directory(use)


def test_the_store_is_asked_again_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_directory, "PAUSE", 0.0)

    async def use(directory: ChainDirectory, store: MemoryStore, sources: Sources) -> None:
        store.away = True
        with pytest.raises(EngineUnreachable):
            await directory.get(CHAIN.root)
        store.away = False
        store.chains[CHAIN.root] = CHAIN
        assert await directory.get(CHAIN.root) == CHAIN

    with_directory(use)


def test_versions_are_looked_up_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(directory: ChainDirectory, store: MemoryStore, sources: Sources) -> None:
        found = await asyncio.gather(*(directory.version(CHAIN) for _ in range(5)))
        assert (set(found), sources.looked) == ({"v1"}, 1)
        sources.answer = lambda: "v2"
        monkeypatch.setattr(chain_directory, "RECHECK", 0.0)
        assert await directory.version(CHAIN) == "v2"

    with_directory(use)


def test_a_version_that_another_process_found_is_looked_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_directory, "RECHECK", 60.0)

    async def use(directory: ChainDirectory, store: MemoryStore, sources: Sources) -> None:
        assert await directory.version(CHAIN, "v1") == "v1"
        monkeypatch.setattr(chain_directory, "SURPRISE", 0.0)
        sources.answer = lambda: "v2"
        assert await directory.version(CHAIN, "v1") == "v1"
        assert await directory.version(CHAIN, "v2") == "v2"
        assert sources.anew[-1]
        # Whoever brings an old version does not have the sources looked at all the time.
        monkeypatch.setattr(chain_directory, "SURPRISE", 60.0)
        looked = sources.looked
        assert await directory.version(CHAIN, "v1") == "v2"
        assert sources.looked == looked

    with_directory(use)


def test_a_missing_source_is_said_each_time() -> None:
    def missing() -> str:
        raise SourceNotFound("gone")

    async def use(directory: ChainDirectory, store: MemoryStore, sources: Sources) -> None:
        sources.answer = missing
        for _ in range(2):
            with pytest.raises(SourceNotFound):
                await directory.version(CHAIN)
        sources.answer = lambda: "back"
        assert await directory.version(CHAIN) == "back"

    with_directory(use)


def test_chains_in_use_are_renewed_in_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(directory: ChainDirectory, store: MemoryStore, sources: Sources) -> None:
        await directory.register(CHAIN.to_json())
        monkeypatch.setattr(chain_directory, "RENEWAL", 0.0)
        store.chains.clear()
        await directory.get(CHAIN.root)
        while CHAIN.root not in store.chains:
            await asyncio.sleep(0.01)
        assert store.asked == ["put", "put"]

    with_directory(use)


def test_the_least_recently_used_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_directory, "KEPT", 2)

    async def use(directory: ChainDirectory, store: MemoryStore, sources: Sources) -> None:
        chains = [Chain.extend("constant", 1, {"value": number}) for number in range(3)]
        for chain in chains[:2]:
            await directory.register(chain.to_json())
        await directory.get(chains[0].root)
        await directory.register(chains[2].to_json())
        store.asked.clear()
        for chain in (chains[0], chains[2], chains[1]):
            await directory.get(chain.root)
        assert store.asked == ["get"]

    with_directory(use)


def test_chains_in_memory_are_bounded_by_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    chains = [Chain.extend("constant", 1, {"value": 100 + i}) for i in range(20)]
    monkeypatch.setattr(chain_directory, "KEPT_BYTES", 5 * chains[10].size)

    async def use(directory: ChainDirectory, store: MemoryStore, sources: Sources) -> None:
        for chain in chains:
            await directory.register(chain.to_json())
        assert len(directory._entries) == 5
        assert directory._bytes == sum(entry.chain.size for entry in directory._entries.values())
        for chain in chains:
            assert await directory.get(chain.root) == chain
        monkeypatch.setattr(chain_directory, "KEPT_BYTES", 1)
        # Each evicts the others while those are still on their way.
        found = await asyncio.gather(*(directory.get(chain.root) for chain in chains))
        assert [chain.root for chain in found] == [chain.root for chain in chains]
        assert len(directory._entries) == 1

    with_directory(use)


TEXT = b"def f(img): return img"
FUNCTION = Execute(text=key_of(TEXT), main="f").chain(CHAIN)


def test_the_blobs_of_a_chain_come_with_it() -> None:
    async def use(directory: ChainDirectory, store: MemoryStore, sources: Sources) -> None:
        with pytest.raises(NotFound, match=key_of(TEXT)):
            await directory.register(FUNCTION.to_json())
        assert store.chains == {}
        assert await directory.put_blob(TEXT) == key_of(TEXT)
        await directory.register(FUNCTION.to_json())
        assert sources.blobs == {key_of(TEXT): TEXT}
        sources.blobs.clear()
        store.asked.clear()
        await directory.get(FUNCTION.root)
        assert store.asked == []

    with_directory(use)


def test_the_blobs_of_a_chain_in_use_are_renewed_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_directory, "RENEWAL", 0.0)

    async def use(directory: ChainDirectory, store: MemoryStore, sources: Sources) -> None:
        store.put_blob(TEXT)
        store.chains[FUNCTION.root] = FUNCTION
        await directory.get(FUNCTION.root)
        store.blobs.clear()
        store.chains.clear()
        await directory.get(FUNCTION.root)
        while not (store.blobs and store.chains):
            await asyncio.sleep(0.001)
        assert store.blobs == {key_of(TEXT): TEXT}

    with_directory(use)


def test_whose_kernel_sent_a_blob_is_noted_if_asked() -> None:
    async def use(directory: ChainDirectory, store: MemoryStore, sources: Sources) -> None:
        await directory.put_blob(TEXT)
        assert store.asked == ["put blob"]
        await directory.put_blob(TEXT, "mine")
        assert store.asked == ["put blob", "put blob", "trust mine"]

    with_directory(use)
