"""The pool of open sources."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geoloom.address import Address
from geoloom.errors import GeoloomError, SourceError, SourceUnreadable
from geoloom_engine.cache import BlockCache, Budget
from geoloom_engine.readers.access import Access, Place, short_name
from geoloom_engine.readers.cubes import CubeFiles, marked
from geoloom_engine.readers.fingerprint import fingerprint
from geoloom_engine.readers.geotiff import GeoTiff, set_gdal_cache
from geoloom_engine.readers.held import HeldFiles
from geoloom_engine.readers.remote_file import RemoteFile, RemoteFiles, Version
from geoloom_engine.readers.source import Source

if TYPE_CHECKING:
    from geoloom_engine.readers.contents import Contents
    from geoloom_engine.readers.cube import Cube
    from geoloom_engine.restrictions import Restrictions

type _Name = tuple[str, float | None]
"""Of an open source: its fingerprint, and the nodata value given for it."""


@dataclass(slots=True)
class _Seen:
    """A href's place and fingerprint, and when it was looked up.

    `version` is what is known of a remote one, `error` why it could not be looked at.
    """

    place: Place
    print_: str
    at: float
    version: Version | None = None
    error: SourceError | None = None


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
    read_timeout
        Seconds that one read of a remote source may take, with all it is tried again.
    read_retries
        How often such a read is tried again where that may help.
    restrictions
        Places within `allowed` that no link leads into.
    """

    def __init__(
        self,
        allowed: tuple[str, ...],
        *,
        cache: BlockCache | None = None,
        max_open: int = 256,
        recheck: float = 10.0,
        gdal_cache: int = 32 << 20,
        read_timeout: float = 10.0,
        read_retries: int = 2,
        restrictions: Restrictions | None = None,
    ) -> None:
        self.cache = BlockCache(Budget(256 << 20)) if cache is None else cache
        self._access = Access(allowed, restrictions)
        self._remote = RemoteFiles(self._access, timeout=read_timeout, retries=read_retries)
        self._cubes = CubeFiles(self._access, self.cache, self._remote)
        self._max_open = max_open
        self._recheck = recheck
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._open: OrderedDict[_Name, GeoTiff | Cube] = OrderedDict()
        self._opening: dict[_Name | str, threading.Event] = {}
        set_gdal_cache(gdal_cache)

    def open(self, href: str, nodata: float | None = None, recheck: float | None = None) -> Source:
        """The source as it is now (or was within the last `recheck` seconds).

        Threads that want the same source open it once: the others wait.

        Parameters
        ----------
        nodata
            Value that stands for no data in bands that declare none, if their type can hold it.
        recheck
            Seconds for which its fingerprint counts as fresh, if more than others'.

        Raises
        ------
        SourceNotFound, SourceRefused, SourceUnreadable, SourceNotGeoreferenced
            If it cannot be read or shown on a map.
        """
        seen = self._look(href, recheck)
        if nodata is not None and not math.isfinite(nodata):
            # Never valid anyway; and no two NaN are the same.
            nodata = None
        name = (seen.print_, nodata)
        source = self._opened(name)
        if source is not None:
            return source
        with self._first(name):
            return self._opened(name) or self._keep(href, seen, nodata)

    def fingerprint(self, href: str) -> str:
        """32 hex digits that change with the source; looked up at most once in `recheck` seconds.

        Raises
        ------
        SourceNotFound, SourceRefused, SourceUnreadable
            If it is not there or may not be read.
        """
        return self._look(href).print_

    def describe(self, href: str) -> dict[str, Any]:
        """What a source holds, as ``/info`` answers it: of a netCDF file or Zarr store, its variables.

        Raises
        ------
        SourceNotFound, SourceRefused, SourceUnreadable, SourceNotGeoreferenced
            If it cannot be read or shown on a map.
        """
        if Address.parse(href).variable is not None or not self._cubes.means(href):
            return self.open(href).info.to_json()
        return {"href": href, "fingerprint": self.fingerprint(href), **self._contents(href).to_json()}

    def time_steps(self, href: str, variable: str | None = None) -> list[tuple[str, str]]:
        """The time steps of a variable: for each its date (ISO, UTC) and the address of its slice.

        Parameters
        ----------
        href
            A netCDF file or Zarr store, or an address in one: its coordinates are kept.
        variable
            By default the address's.

        Returns
        -------
        Empty if the variable has no time. Dates of calendars that models have are the nearest real
        ones.

        Raises
        ------
        SourceNotFound, SourceRefused, SourceUnreadable, SourceNotGeoreferenced
            If there is no such variable, or it cannot be shown on a map.
        """
        address = Address.parse(href)
        if variable is not None:
            address = Address(address.href, variable, address.at)
        return self._contents(href).time_steps(address)

    def forget(self, href: str) -> None:
        """Look the source up anew next time, as after `SourceChanged`."""
        with self._lock:
            seen = self._seen.pop(href, None)
            stale = self._taken_out(seen.print_) if seen else []
        for source in stale:
            source.close()

    def recheck(self, href: str) -> None:
        """Look the fingerprint up anew next time, however fresh it is; an unchanged source stays open."""
        with self._lock:
            seen = self._seen.get(href)
            if seen is not None:
                seen.at = float("-inf")

    @property
    def access(self) -> Access:
        """The allow-list."""
        return self._access

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
        self._remote.close()

    @contextlib.contextmanager
    def _first(self, what: _Name | str) -> Iterator[None]:
        """Inside the block while no other thread is there for the same; those that come later wait.

        Where the first one failed each tries for itself, and is told its own error.
        """
        own = threading.Event()
        with self._lock:
            other = self._opening.setdefault(what, own)
        if other is not own:
            other.wait()
        try:
            yield
        finally:
            if other is own:
                with self._lock:
                    del self._opening[what]
                own.set()

    def _opened(self, name: _Name) -> GeoTiff | Cube | None:
        """An open source, used now."""
        with self._lock:
            source = self._open.get(name)
            if source is not None:
                self._open.move_to_end(name)
        return source

    def _taken_out(self, print_: str) -> list[GeoTiff | Cube]:
        """The open sources of a fingerprint, not kept any more; the lock is held."""
        return [self._open.pop(name) for name in list(self._open) if name[0] == print_]

    def _keep(self, href: str, seen: _Seen, nodata: float | None) -> GeoTiff | Cube:
        """Open a source and close those unused for longest."""
        try:
            opened = self._read(href, seen, nodata)
        except GeoloomError:
            self.forget(href)
            raise
        name = (seen.print_, nodata)
        with self._lock:
            source = self._open.setdefault(name, opened)
            closing = []
            while len(self._open) > self._max_open:
                closing.append(self._open.popitem(last=False)[1])
        for old in closing:
            old.close()
        return source

    def _contents(self, href: str) -> Contents:
        """What a netCDF file or Zarr store holds."""
        if not self._cubes.means(href):
            raise SourceUnreadable(
                f"{short_name(href)} is no netCDF file or Zarr store.", hint="Open it without a variable."
            )
        seen = self._look(href)
        return self._cubes.contents(seen.place, seen.version, lambda: self.forget(href))

    def _read(self, href: str, seen: _Seen, nodata: float | None) -> GeoTiff | Cube:
        """The reader of a source."""

        def on_change() -> None:
            self.forget(href)

        files: HeldFiles | RemoteFile
        if self._cubes.means(href):
            return self._cubes.open(href, seen.place, seen.print_, seen.version, on_change)
        if seen.version is None:
            files = HeldFiles(seen.place, self._access)
        else:
            files = self._remote.open(seen.place, seen.version, on_change)
        return GeoTiff(seen.place, files, seen.print_, self.cache, on_change, nodata)

    def _look(self, href: str, recheck: float | None = None) -> _Seen:
        seen = self._fresh(href, recheck)
        if seen is None:
            with self._first(href):
                # Whoever was first has just looked.
                seen = self._fresh(href) or self._looked(href)
        if seen.error is not None:
            raise type(seen.error)(seen.error.message, hint=seen.error.hint)
        return seen

    def _fresh(self, href: str, recheck: float | None = None) -> _Seen | None:
        """What is known of a href, if it was looked up a short while ago."""
        with self._lock:
            seen = self._seen.get(href)
        if seen is None:
            return None
        # What is known to be wrong is looked at again soon, so that it need not stay wrong.
        fresh = self._recheck if recheck is None or seen.error is not None else max(recheck, self._recheck)
        return seen if time.monotonic() - seen.at < fresh else None

    def _looked(self, href: str) -> _Seen:
        now = time.monotonic()
        cube = self._cubes.means(href)
        place = self._cubes.resolve(href) if cube else self._access.resolve(href)
        with self._lock:
            old = self._seen.get(href)
        if place.remote:
            try:
                look = self._cubes.look if cube else self._remote.look
                version = look(place, old.version if old else None)
                print_ = marked(version.fingerprint, href) if cube else version.fingerprint
                fresh = _Seen(place, print_, now, version)
            except SourceError as error:
                # A server that stalls or is gone is asked again by the next view, not by each of its tiles.
                fresh = _Seen(place, "", time.monotonic(), None, error)
        else:
            print_ = marked(self._cubes.fingerprint(place), href) if cube else fingerprint(place)
            fresh = _Seen(place, print_, now)
        with self._lock:
            self._seen.pop(href, None)
            self._seen[href] = fresh
            while len(self._seen) > 4 * self._max_open:
                self._seen.popitem(last=False)
            stale = self._taken_out(old.print_) if old and old.print_ != fresh.print_ else []
        for source in stale:
            source.close()
        return fresh
