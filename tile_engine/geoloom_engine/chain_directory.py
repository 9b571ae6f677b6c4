"""The chains a process knows: verified once, kept in memory, with the versions of their data.

Chains in memory are served also while Redis is away.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial

from geoloom.blobs import needed
from geoloom.chain import Chain, is_key
from geoloom.errors import EngineUnreachable, GeoloomError, RequestError
from geoloom.store import Store
from geoloom_engine.rights import NONE, Limits

log = logging.getLogger(__name__)

KEPT = 2000
"""Chains in memory, at most."""

KEPT_BYTES = 16 << 20
"""Size of their JSON, at most."""

RENEWAL = 60.0
"""Seconds between two renewals of a stored chain that is in use.

A full store forgets what it takes for unused, and counts in minutes; other processes have the chain from it.
"""

RECHECK = 1.0
"""Seconds for which a data version is taken as it was; fingerprints have their own time on top."""

SURPRISE = 0.2
"""The same where a request names another version: tiles of a map must not mix old and new pixels."""

PAUSE = 1.0
"""Seconds without asking a store that did not answer: answers stay quick while it is away."""


@dataclass(slots=True)
class Entry:
    """A chain in memory, with the blobs that it names."""

    chain: Chain
    blobs: dict[str, bytes] = field(default_factory=dict)
    renewed: float = field(default_factory=time.monotonic)
    limits: Limits | None = None
    version: str = ""
    checked: float = float("-inf")

    @property
    def size(self) -> int:
        """Bytes it takes."""
        return self.chain.size + sum(map(len, self.blobs.values()))


class ChainDirectory:
    """Chains by key, from memory or the store; used from one event loop.

    Parameters
    ----------
    store
        Where chains are kept.
    store_threads
        Run what waits for the store.
    threads
        Runs what looks at the sources of a chain, or with None at the chain itself.
    check
        Refuses a chain this engine could not evaluate.
    version_of
        The data version of a chain; reads fingerprints, anew if told to.
    keep
        Told each blob of a chain, by key, before the chain is handed out.
    unfold
        Takes apart what was kept for a chain, which may take a while; refuses what cannot be used.
    limits_of
        What is restricted of all that a chain reads; may take a while.
    """

    def __init__(
        self,
        store: Store,
        store_threads: Executor,
        threads: Callable[[Chain | None], Executor],
        check: Callable[[Chain], None],
        version_of: Callable[[Chain, bool], str],
        keep: Callable[[str, bytes], None] = lambda key, content: None,
        unfold: Callable[[Chain], None] = lambda chain: None,
        limits_of: Callable[[Chain], Limits] = lambda chain: NONE,
    ) -> None:
        self._store = store
        self._store_threads = store_threads
        self._threads = threads
        self._check = check
        self._version_of = version_of
        self._keep_blob = keep
        self._unfold = unfold
        self._limits_of = limits_of
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._bytes = 0
        self._loading: dict[str, asyncio.Task[Entry]] = {}
        self._versions: dict[str, asyncio.Task[str]] = {}
        self._away_until = 0.0
        self._away: GeoloomError | None = None
        self._renewals: set[asyncio.Task[None]] = set()

    async def register(self, body: bytes, admit: Callable[[Chain], Awaitable[None]] | None = None) -> Chain:
        """Verify and store a chain.

        Parameters
        ----------
        admit
            Asked for leave once the chain is verified, before it is stored; raises to refuse it.

        Raises
        ------
        ChainError
            It is corrupt, too large, or has ops or parameters this engine does not know.
        NotFound
            A blob that it names is not stored.
        EngineUnreachable
            The store is away.
        """
        chain = await self._thread(None, self._verified, body)
        found = await self._blobs(chain)
        if admit is not None:
            await admit(chain)
        await self._stored(self._store.put_chain, chain)
        self._keep(Entry(chain, found))
        return chain

    async def get(self, key: str) -> Chain:
        """The chain of a key.

        Raises
        ------
        RequestError, NotFound, CorruptChain, EngineUnreachable
            No key at all, unknown, damaged, or the store is away.
        """
        entry = self._entries.get(key)
        if entry is None:
            entry = await self._load(key)
        if key in self._entries:
            self._entries.move_to_end(key)
        if time.monotonic() - entry.renewed > RENEWAL:
            entry.renewed = time.monotonic()
            self._renew(entry)
        return entry.chain

    async def version(self, chain: Chain, expected: str | None = None) -> str:
        """The data version of a chain: changes when any of its live sources does.

        Parameters
        ----------
        expected
            The version that whoever asks was told. Another process may have noticed a change that
            this one has not: where they differ, sources are looked at anew.

        Raises
        ------
        SourceError
            A source is not there, or not allowed.
        """
        entry = self._entries.get(chain.root)
        if entry is None:
            entry = Entry(chain)
            self._keep(entry)
        age = time.monotonic() - entry.checked
        surprising = expected is not None and expected != entry.version and age >= SURPRISE
        if age < RECHECK and not surprising:
            return entry.version
        task = self._versions.get(chain.root)
        if task is None:
            task = asyncio.ensure_future(self._thread(chain, self._version_of, chain, surprising))
            self._versions[chain.root] = task
            task.add_done_callback(lambda done: self._versions.pop(chain.root, None))
        entry.version = await asyncio.shield(task)
        entry.checked = time.monotonic()
        return entry.version

    async def limits(self, chain: Chain) -> Limits:
        """What is restricted of all that a chain reads; raises NotFound where that cannot be told."""
        entry = self._entries.get(chain.root) or Entry(chain)
        if entry.limits is None:
            entry.limits = await self._thread(None, self._limits_of, chain)
        return entry.limits

    async def save(self, key: str, blobs: tuple[str, ...]) -> None:
        """Keep a stored chain for good."""
        await self._stored(self._store.save, key, blobs)

    async def put_blob(self, content: bytes, engine: str | None = None) -> str:
        """Store bytes; their key.

        Parameters
        ----------
        engine
            Whose kernel sent them, if that is to be noted.
        """
        key = await self._stored(self._store.put_blob, content)
        if engine is not None:
            await self._stored(self._store.trust, key, engine)
        return key

    async def get_blob(self, key: str) -> bytes:
        """The bytes of a key."""
        return await self._stored(self._store.get_blob, key)

    async def _load(self, key: str) -> Entry:
        if not is_key(key):
            raise RequestError(f"{key[:80]!r} is not a key.", hint="A key has 32 hexadecimal digits.")
        task = self._loading.get(key)
        if task is None:
            task = asyncio.ensure_future(self._fetch(key))
            self._loading[key] = task
            task.add_done_callback(lambda done: self._loading.pop(key, None))
        return await asyncio.shield(task)

    async def _fetch(self, key: str) -> Entry:
        chain = await self._stored(self._store.get_chain, key)
        await self._thread(None, self._check, chain)
        entry = Entry(chain, await self._blobs(chain))
        self._keep(entry)
        return entry

    async def _blobs(self, chain: Chain) -> dict[str, bytes]:
        found = {key: await self._stored(self._store.get_blob, key) for key in needed(chain)}
        for key, content in found.items():
            self._keep_blob(key, content)
        if found:
            await self._thread(None, self._unfold, chain)
        return found

    def _verified(self, body: bytes) -> Chain:
        chain = Chain.from_json(body)
        self._check(chain)
        return chain

    def _keep(self, entry: Entry) -> None:
        root = entry.chain.root
        if root not in self._entries:
            self._entries[root] = entry
            self._bytes += entry.size
        self._entries.move_to_end(root)
        # The newest stays whatever its size: its tiles are about to be asked for.
        while len(self._entries) > 1 and (len(self._entries) > KEPT or self._bytes > KEPT_BYTES):
            _, gone = self._entries.popitem(last=False)
            self._bytes -= gone.size

    def _renew(self, entry: Entry) -> None:
        async def renew() -> None:
            try:
                await self._stored(self._store.put_chain, entry.chain)
                for content in entry.blobs.values():
                    await self._stored(self._store.put_blob, content)
            except GeoloomError as error:
                log.warning("chain %s was not renewed: %s", entry.chain.root, error)

        task = asyncio.get_running_loop().create_task(renew())
        self._renewals.add(task)
        task.add_done_callback(self._renewals.discard)

    async def _stored[**P, T](self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._away is not None and time.monotonic() < self._away_until:
            raise EngineUnreachable(self._away.message, hint=self._away.hint)
        try:
            result = await asyncio.get_running_loop().run_in_executor(
                self._store_threads, partial(call, *args, **kwargs)
            )
        except EngineUnreachable as error:
            self._away, self._away_until = error, time.monotonic() + PAUSE
            raise
        self._away = None
        return result

    async def _thread[**P, T](
        self, chain: Chain | None, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        threads = self._threads(chain)
        return await asyncio.get_running_loop().run_in_executor(threads, partial(call, *args, **kwargs))
