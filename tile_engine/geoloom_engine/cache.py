"""What a process keeps in memory: one budget of bytes, and the caches that share it.

The least recently used entry of all caches goes first, whatever its kind: blocks, nodes and tiles
need no share of their own, and what nobody asks for makes room for what somebody does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geoloom.block import Array, Mask

ENTRY_BYTES = 512
"""What an entry is charged beside its value: key, bookkeeping and Python's objects (330 to 560 seen)."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """One band of one decoded block; its arrays cannot be written to.

    Parameters
    ----------
    data
        (rows, cols).
    valid
        bool, (rows, cols), or None if all pixels are valid.
    """

    data: Array
    valid: Mask | None

    def __post_init__(self) -> None:
        self.data.setflags(write=False)
        if self.valid is not None:
            self.valid.setflags(write=False)

    @property
    def nbytes(self) -> int:
        """Memory the arrays take."""
        return self.data.nbytes + (0 if self.valid is None else self.valid.nbytes)


@dataclass(frozen=True, slots=True)
class CacheState:
    """How full a cache is and how well it works."""

    entries: int
    bytes: int
    hits: int
    misses: int
    evictions: int


class _Entry:
    """A kept value, in its cache's ring of entries by last use."""

    __slots__ = ("after", "before", "key", "nbytes", "tick", "value")

    after: _Entry
    before: _Entry

    def __init__(self, key: Hashable, value: Any, nbytes: int) -> None:
        self.key = key
        self.value = value
        self.nbytes = nbytes
        self.tick = 0


class Budget:
    """Bytes that several caches share; safe to use from many threads.

    Parameters
    ----------
    limit
        What all entries of all its caches together may take; 0 keeps nothing.
    """

    def __init__(self, limit: int) -> None:
        # One lock for all: letting go in one cache for the sake of another needs both.
        self._lock = threading.Lock()
        self._limit = max(limit, 0)
        self._bytes = 0
        self._tick = 0
        self._caches: list[Cache[Any]] = []

    @property
    def limit(self) -> int:
        """Bytes that may be kept."""
        return self._limit

    @property
    def bytes(self) -> int:
        """Bytes that are kept."""
        return self._bytes

    def resize(self, limit: int) -> None:
        """Set another limit; what is beyond it goes at once."""
        with self._lock:
            self._limit = max(limit, 0)
            gone = self._make_room()
        del gone

    def states(self) -> dict[str, CacheState]:
        """The state of each cache, by name."""
        return {cache.name: cache.state() for cache in list(self._caches)}

    def _make_room(self) -> list[_Entry]:
        """Take out what is beyond the limit. The caller drops it, when the lock is free again."""
        gone = []
        while self._bytes > self._limit:
            oldest = min(
                (cache for cache in self._caches if cache._entries),
                key=lambda cache: cache._ring.after.tick,
            )
            gone.append(oldest._evict())
        return gone


class Cache[T]:
    """Values by key, the least recently used of all caches of a budget forgotten first.

    Safe to use from many threads. A hit takes about 0.5 µs.

    Parameters
    ----------
    budget
        Shared with other caches.
    name
        Of what is kept, for those who read the states.
    limit
        What the entries of this cache may take; 0 keeps nothing, None is the budget's limit alone.
    """

    def __init__(self, budget: Budget, name: str, limit: int | None = None) -> None:
        self.name = name
        self._budget = budget
        self._lock = budget._lock
        self._own_limit = limit
        self._entries: dict[Hashable, _Entry] = {}
        self._ring = _Entry(None, None, 0)
        self._ring.before = self._ring.after = self._ring
        self._bytes = self._hits = self._misses = self._evictions = 0
        with self._lock:
            budget._caches.append(self)

    @property
    def limit(self) -> int:
        """Bytes that may be kept, if nothing else is in the budget."""
        own = self._own_limit
        return self._budget._limit if own is None else min(own, self._budget._limit)

    def get(self, key: Hashable) -> T | None:
        """The value under `key`, or None."""
        with self._lock:
            return self._find(key)

    def peek(self, key: Hashable) -> T | None:
        """The same for one's own purposes: no use is counted, and nothing stays longer for it."""
        with self._lock:
            entry = self._entries.get(key)
            found: T | None = None if entry is None else entry.value
            return found

    def put(self, key: Hashable, value: T, nbytes: int) -> None:
        """Keep a value and let the longest unused go, of whatever cache.

        Parameters
        ----------
        nbytes
            Memory the value keeps alive; a view keeps all of what it looks at. A value larger than a
            quarter of the limit is not kept, so that it cannot empty the caches.
        """
        if nbytes * 4 > self.limit:
            self.discard(key)
            return
        entry = _Entry(key, value, nbytes + ENTRY_BYTES)
        with self._lock:
            old = self._entries.get(key)
            if old is not None:
                self._remove(old)
            self._add(entry)
            gone = self._make_room()
        # Freeing megabytes takes a while: not under the lock.
        del old, gone

    def discard(self, key: Hashable) -> None:
        """Forget the value under `key`, if there is one."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._remove(entry)

    def clear(self) -> None:
        """Let everything go."""
        with self._lock:
            gone, self._entries = self._entries, {}
            # A ring refers to itself; only the collector would free it.
            for entry in gone.values():
                del entry.before, entry.after
            self._ring.before = self._ring.after = self._ring
            self._budget._bytes -= self._bytes
            self._bytes = 0
        del gone

    def state(self) -> CacheState:
        """Counts since the start, and what is kept now."""
        with self._lock:
            return CacheState(len(self._entries), self._bytes, self._hits, self._misses, self._evictions)

    # The lock is held by who calls these.

    def _find(self, key: Hashable) -> T | None:
        entry = self._entries.get(key)
        if entry is None:
            self._misses += 1
            return None
        self._hits += 1
        budget, ring = self._budget, self._ring
        budget._tick = entry.tick = budget._tick + 1
        after = entry.after
        if after is not ring:
            before = entry.before
            before.after, after.before = after, before
            newest = ring.before
            entry.before, entry.after = newest, ring
            newest.after = ring.before = entry
        value: T = entry.value
        return value

    def _add(self, entry: _Entry) -> None:
        budget, ring = self._budget, self._ring
        budget._tick = entry.tick = budget._tick + 1
        newest = ring.before
        entry.before, entry.after = newest, ring
        newest.after = ring.before = entry
        self._entries[entry.key] = entry
        self._bytes += entry.nbytes
        budget._bytes += entry.nbytes

    def _remove(self, entry: _Entry) -> None:
        del self._entries[entry.key]
        entry.before.after, entry.after.before = entry.after, entry.before
        del entry.before, entry.after
        self._bytes -= entry.nbytes
        self._budget._bytes -= entry.nbytes

    def _evict(self) -> _Entry:
        oldest = self._ring.after
        self._remove(oldest)
        self._evictions += 1
        return oldest

    def _make_room(self) -> list[_Entry]:
        gone = []
        while self._bytes > self.limit:
            gone.append(self._evict())
        return gone + self._budget._make_room()


class _Flight:
    """A block that is being decoded: those who want it too wait here."""

    __slots__ = ("block", "landed")

    def __init__(self) -> None:
        self.landed = threading.Event()
        self.block: Decoded | None = None


class BlockCache:
    """Decoded source blocks, above GDAL: decoded once for all threads, kept when a dataset is closed.

    Parameters
    ----------
    budget
        Shared with other caches.
    limit
        What the blocks may take; see `Cache`.
    """

    def __init__(self, budget: Budget, limit: int | None = None) -> None:
        self._cache: Cache[Decoded] = Cache(budget, "blocks", limit)
        self._lock = budget._lock
        self._flights: dict[Hashable, _Flight] = {}

    def get(self, key: Hashable) -> Decoded | None:
        """The block under `key`, or None."""
        return self._cache.get(key)

    def put(self, key: Hashable, block: Decoded) -> None:
        """Keep a block and let the longest unused go."""
        self._cache.put(key, block, block.nbytes)

    def load[K: Hashable](
        self, keys: Sequence[K], decode: Callable[[list[K]], Mapping[K, Decoded]]
    ) -> dict[K, Decoded]:
        """Blocks by key: those that are kept, and the others decoded now, each by one thread alone.

        Nobody waits before the blocks it decodes itself are done, so threads that want overlapping
        sets in different orders never wait for each other.

        Parameters
        ----------
        keys
            What is wanted.
        decode
            Gives the blocks of some of the keys, in one go. What it raises is raised here; threads
            that waited for those blocks then decode them themselves.
        """
        found: dict[K, Decoded] = {}
        wanted: Collection[K] = keys
        while wanted:
            mine: list[K] = []
            others: dict[K, _Flight] = {}
            with self._lock:
                for key in wanted:
                    block = self._cache._find(key)
                    if block is not None:
                        found[key] = block
                        continue
                    flight = self._flights.get(key)
                    if flight is None:
                        self._flights[key] = _Flight()
                        mine.append(key)
                    elif key not in mine:
                        others[key] = flight
            if mine:
                found.update(self._decode(mine, decode))
            for key, flight in others.items():
                flight.landed.wait()
                if flight.block is not None:
                    found[key] = flight.block
            wanted = [key for key in others if key not in found]
        return found

    def _decode[K: Hashable](
        self, mine: list[K], decode: Callable[[list[K]], Mapping[K, Decoded]]
    ) -> Mapping[K, Decoded]:
        decoded: Mapping[K, Decoded] = {}
        try:
            decoded = decode(mine)
            for key in mine:
                self.put(key, decoded[key])
        finally:
            with self._lock:
                flights = [(key, self._flights.pop(key)) for key in mine]
            for key, flight in flights:
                flight.block = decoded.get(key)
                flight.landed.set()
        return decoded

    def clear(self) -> None:
        """Let everything go."""
        self._cache.clear()

    def state(self) -> CacheState:
        """Counts since the start, and what is kept now."""
        return self._cache.state()
