"""The pool of open sources."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from geoloom.errors import GeoloomError
from geoloom_engine.cache import BlockCache, Budget
from geoloom_engine.readers.access import Access, Place
from geoloom_engine.readers.fingerprint import fingerprint
from geoloom_engine.readers.geotiff import GeoTiff, set_gdal_cache
from geoloom_engine.readers.source import Source


@dataclass(slots=True)
class _Seen:
    """A href's place and fingerprint, and when it was looked up."""

    place: Place
    print_: str
    at: float


class SourcePool:
    """Opens sources and keeps them open; safe to use from many threads.

    Parameters
    ----------
    allowed
        Folders and URL prefixes that may be read; see `Access`.
    cache
        Keeps decoded blocks; by default one of 256 MB.
    max_open
        Sources kept open; the longest unused is closed first.
    recheck
        Seconds for which a fingerprint counts as fresh.
    gdal_cache
        Bytes of GDAL's own cache.
    """

    def __init__(
        self,
        allowed: tuple[str, ...],
        *,
        cache: BlockCache | None = None,
        max_open: int = 256,
        recheck: float = 10.0,
        gdal_cache: int = 32 << 20,
    ) -> None:
        self.cache = BlockCache(Budget(256 << 20)) if cache is None else cache
        self._access = Access(allowed)
        self._max_open = max_open
        self._recheck = recheck
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._open: OrderedDict[str, GeoTiff] = OrderedDict()
        self._opening: dict[str, threading.Event] = {}
        set_gdal_cache(gdal_cache)

    def open(self, href: str) -> Source:
        """The source as it is now (or was within the last `recheck` seconds).

        Threads that want the same source open it once: the others wait.

        Raises
        ------
        SourceNotFound, SourceRefused, SourceUnreadable, SourceNotGeoreferenced
            If it cannot be read or shown on a map.
        """
        seen = self._look(href)
        own = threading.Event()
        with self._lock:
            source = self._opened(seen.print_)
            other = None if source else self._opening.setdefault(seen.print_, own)
        if other is not None and other is not own:
            other.wait()
            with self._lock:
                source = self._opened(seen.print_)
        # Where another thread failed each tries for itself, and is told its own error.
        if source is None:
            try:
                source = self._keep(href, seen)
            finally:
                with self._lock:
                    if self._opening.get(seen.print_) is own:
                        del self._opening[seen.print_]
                own.set()
        return source

    def fingerprint(self, href: str) -> str:
        """32 hex digits that change with the source; looked up at most once in `recheck` seconds.

        Raises
        ------
        SourceNotFound, SourceRefused, SourceUnreadable
            If it is not there or may not be read.
        """
        return self._look(href).print_

    def forget(self, href: str) -> None:
        """Look the source up anew next time, as after `SourceChanged`."""
        with self._lock:
            seen = self._seen.pop(href, None)
            stale = self._open.pop(seen.print_, None) if seen else None
        if stale is not None:
            stale.close()

    def recheck(self, href: str) -> None:
        """Look the fingerprint up anew next time, however fresh it is; an unchanged source stays open."""
        with self._lock:
            seen = self._seen.get(href)
            if seen is not None:
                seen.at = float("-inf")

    @property
    def opened(self) -> int:
        """Sources that are open."""
        return len(self._open)

    def close(self) -> None:
        """Close all sources."""
        with self._lock:
            sources = list(self._open.values())
            self._open.clear()
            self._seen.clear()
        for source in sources:
            source.close()

    def _opened(self, print_: str) -> GeoTiff | None:
        """An open source, used now; the lock is held."""
        source = self._open.get(print_)
        if source is not None:
            self._open.move_to_end(print_)
        return source

    def _keep(self, href: str, seen: _Seen) -> GeoTiff:
        """Open a source and close those unused for longest."""
        try:
            opened = GeoTiff(seen.place, self._access, seen.print_, self.cache, lambda: self.forget(href))
        except GeoloomError:
            self.forget(href)
            raise
        with self._lock:
            source = self._open.setdefault(seen.print_, opened)
            closing = []
            while len(self._open) > self._max_open:
                closing.append(self._open.popitem(last=False)[1])
        for old in closing:
            old.close()
        return source

    def _look(self, href: str) -> _Seen:
        now = time.monotonic()
        with self._lock:
            seen = self._seen.get(href)
            if seen is not None and now - seen.at < self._recheck:
                return seen
        place = self._access.resolve(href)
        fresh = _Seen(place, fingerprint(place, self._access), now)
        with self._lock:
            old = self._seen.pop(href, None)
            self._seen[href] = fresh
            while len(self._seen) > 4 * self._max_open:
                self._seen.popitem(last=False)
            stale = self._open.pop(old.print_, None) if old and old.print_ != fresh.print_ else None
        if stale is not None:
            stale.close()
        return fresh
