"""What a process keeps in memory: decoded source blocks, and small computed things.

The block cache lies above GDAL, so that decoding is done once for all threads, and survives
closed datasets.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from geoloom.block import Array, Mask


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


class BlockCache:
    """Least recently used blocks, within a number of bytes; safe to use from many threads.

    Parameters
    ----------
    max_bytes
        What all entries together may take; 0 keeps nothing. An entry larger than a quarter of it
        is not kept, so that one huge block cannot empty the cache.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, Decoded] = OrderedDict()
        self._bytes = self._hits = self._misses = self._evictions = 0

    def get(self, key: Hashable) -> Decoded | None:
        """The block under `key`, or None."""
        with self._lock:
            block = self._entries.get(key)
            if block is None:
                self._misses += 1
                return None
            self._entries.move_to_end(key)
            self._hits += 1
            return block

    def put(self, key: Hashable, block: Decoded) -> None:
        """Keep a block and let the longest unused go."""
        if block.nbytes * 4 > self._max_bytes:
            return
        with self._lock:
            old = self._entries.pop(key, None)
            if old is not None:
                self._bytes -= old.nbytes
            self._entries[key] = block
            self._bytes += block.nbytes
            while self._bytes > self._max_bytes:
                _, gone = self._entries.popitem(last=False)
                self._bytes -= gone.nbytes
                self._evictions += 1

    def clear(self) -> None:
        """Let everything go."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def state(self) -> CacheState:
        """Counts since the start, and what is kept now."""
        with self._lock:
            return CacheState(len(self._entries), self._bytes, self._hits, self._misses, self._evictions)


class Memo[T]:
    """Computed things by key, the longest unused forgotten first; safe to use from many threads.

    Parameters
    ----------
    max_weight
        What the weights of all kept things may add up to.
    weigh
        Weight of a thing; by default each weighs 1.
    """

    def __init__(self, max_weight: int, weigh: Callable[[T], int] = lambda _: 1) -> None:
        self._max_weight = max_weight
        self._weigh = weigh
        self._lock = threading.Lock()
        self._known: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._weight = 0

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The thing under `key`, made now if it is not known; two threads may make it twice."""
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
                return known[0]
        made = make()
        weight = self._weigh(made)
        with self._lock:
            if key not in self._known:
                self._known[key] = (made, weight)
                self._weight += weight
            while self._weight > self._max_weight:
                _, (_, gone) = self._known.popitem(last=False)
                self._weight -= gone
        return made

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._known.clear()
            self._weight = 0
