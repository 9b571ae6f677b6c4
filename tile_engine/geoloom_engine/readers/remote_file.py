"""A remote file as readers use it: one version of it, of which parts are kept for a while.

What is small (headers, tables of tiles) is fetched in chunks that are kept, what is large just as it is
asked for: its decoded pixels are kept elsewhere. Who knows what it will read says so before (`held`), and
gets it in few requests, made at the same time.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePath

from geoloom.errors import SourceChanged
from geoloom_engine.cache import Budget, Cache
from geoloom_engine.readers import virtual
from geoloom_engine.readers.access import Access, Place
from geoloom_engine.readers.fingerprint import remote_fingerprint
from geoloom_engine.readers.ranges import Part, Remote

CHUNK = 1 << 15
"""Bytes of a file that are fetched when it is first looked at; what small reads are rounded to."""

_KEPT = 32 << 20
_GAP = CHUNK
"""Bytes between two ranges that are rather fetched with them than asked for around."""

_MOST = 8 << 20
"""Bytes of one request, where more ranges are put together."""

_THREADS = 8
_ALL = -1


@dataclass(frozen=True, slots=True)
class Version:
    """What a file was when it was looked at.

    Parameters
    ----------
    fingerprint
        32 hex digits.
    size
        Bytes.
    marks
        ETag and Last-Modified, or empty texts.
    """

    fingerprint: str
    size: int
    marks: tuple[str, str]


class RemoteFiles:
    """Looks at and opens remote files; safe to use from many threads.

    Parameters
    ----------
    access
        The allow-list.
    timeout, retries
        Of each read; see `Remote`.
    """

    def __init__(self, access: Access, *, timeout: float = 10.0, retries: int = 2) -> None:
        self._remote = Remote(access, timeout=timeout, retries=retries)
        self._chunks: Cache[bytes] = Cache(Budget(_KEPT), "remote chunks")
        self._threads = ThreadPoolExecutor(_THREADS, "remote-reads")

    def look(self, place: Place, before: Version | None = None) -> Version:
        """The file as it is now; its beginning is kept, as somebody will open it.

        Parameters
        ----------
        before
            What it was when it was looked at last: mostly that is what it still is, and then one byte
            of it tells.

        Raises
        ------
        SourceNotFound, SourceRefused, SourceUnreadable
            If it cannot be read.
        """
        if before is not None and any(before.marks):
            part = self._remote.read(place, 0, 1)
            if (part.size, part.marks) == (before.size, before.marks):
                return before
        part = self._remote.read(place, 0, CHUNK)
        found = Version(remote_fingerprint(place, part), part.size, part.marks)
        self._keep(found.fingerprint, 0, part)
        return found

    def open(self, place: Place, version: Version, on_change: Callable[[], None]) -> RemoteFile:
        """A version of a file, to read from."""
        return RemoteFile(self, place, version, on_change)

    def content(self, place: Place, limit: int) -> bytes:
        """All of a small file, of at most `limit` bytes.

        Raises
        ------
        SourceNotFound, SourceRefused, SourceUnreadable
            If it cannot be read, or is larger.
        """
        return self._remote.whole(place, limit)

    def close(self) -> None:
        """Let all connections and threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._remote.close()

    def _keep(self, print_: str, chunk: int, part: Part) -> None:
        if part.start == 0 and len(part.content) == part.size:
            chunk = _ALL
        self._chunks.put((print_, chunk), part.content, len(part.content))


class RemoteFile:
    """One version of a remote file, open until nobody uses this any more; made by `RemoteFiles`."""

    def __init__(
        self, files: RemoteFiles, place: Place, version: Version, on_change: Callable[[], None]
    ) -> None:
        self._files = files
        self._place = place
        self._version = version
        self._on_change = on_change
        self._lock = threading.Lock()
        self._held: list[tuple[int, bytes]] = []
        self._failures: dict[int, Exception] = {}
        # GDAL finds files by their extension too; and a name of its own keeps two of them apart.
        door = _Door(self)
        self._gdal_name = virtual.register(PurePath(place.name).name.replace("?", "_"), door)
        weakref.finalize(self, virtual.unregister, self._gdal_name)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._version.size

    @property
    def beside(self) -> bool:
        """Whether a file beside it holds overviews; nobody looks for such files on a server."""
        return False

    @contextlib.contextmanager
    def names(self) -> Iterator[tuple[str, list[str]]]:
        """What GDAL opens, and the names beside it that it may look at; good inside the block."""
        yield self._gdal_name, [PurePath(self._gdal_name).name]

    @contextlib.contextmanager
    def held(self, ranges: Iterable[tuple[int, int]]) -> Iterator[None]:
        """Fetch ranges, as (offset, length), in few requests at once; they are at hand inside the block.

        Raises
        ------
        SourceNotFound, SourceRefused, SourceUnreadable, SourceChanged
            If they cannot be read.
        """
        spans = [span for span in _merged(ranges, self.size) if self._kept(*span) is None]
        pieces = self._fetched_at_once(spans)
        with self._lock:
            self._held = self._held + pieces
        try:
            yield
        finally:
            with self._lock:
                self._held = [piece for piece in self._held if not any(piece is mine for mine in pieces)]

    def pread(self, length: int, offset: int) -> bytes:
        """Bytes from an offset on; fewer where the file ends.

        Raises
        ------
        SourceNotFound, SourceRefused, SourceUnreadable, SourceChanged
            If they cannot be read.
        """
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        found = self._kept(offset, length)
        if found is not None:
            return found
        if length > CHUNK:
            return self._fetched(offset, length)
        first, last = offset // CHUNK, (offset + length - 1) // CHUNK
        content = b"".join(self._chunk(chunk) for chunk in range(first, last + 1))
        return content[offset - first * CHUNK :][:length]

    def failure(self) -> Exception | None:
        """Why a read that GDAL asked for in this thread failed, told once; None if none did."""
        return self._failures.pop(threading.get_ident(), None)

    def _kept(self, offset: int, length: int) -> bytes | None:
        """Bytes that are at hand."""
        for start, content in self._held:
            if start <= offset and offset + length <= start + len(content):
                return content[offset - start : offset - start + length]
        whole = self._files._chunks.get((self._version.fingerprint, _ALL))
        return None if whole is None else whole[offset : offset + length]

    def _chunk(self, number: int) -> bytes:
        kept = self._files._chunks.get((self._version.fingerprint, number))
        if kept is None:
            start = number * CHUNK
            part = self._part(start, min(CHUNK, self.size - start))
            self._files._keep(self._version.fingerprint, number, part)
            kept = part.content[start - part.start :][:CHUNK]
        return kept

    def _fetched(self, offset: int, length: int) -> bytes:
        part = self._part(offset, length)
        if part.start != offset:
            self._files._keep(self._version.fingerprint, _ALL, part)
        return part.content[offset - part.start :][:length]

    def _fetched_at_once(self, spans: list[tuple[int, int]]) -> list[tuple[int, bytes]]:
        """Spans with what is in them: all but the first by other threads, as far as some are free.

        Those may all be waiting for a server that is slow; then this one goes on by itself.
        """
        futures = [self._files._threads.submit(self._fetched, *span) for span in spans[1:]]
        try:
            pieces = [(start, self._fetched(start, length)) for start, length in spans[:1]]
            for span, future in reversed(list(zip(spans[1:], futures, strict=True))):
                pieces.append((span[0], self._fetched(*span) if future.cancel() else future.result()))
        finally:
            for future in futures:
                future.cancel()
        return pieces

    def _part(self, offset: int, length: int) -> Part:
        part = self._files._remote.read(self._place, offset, length)
        if (part.size, part.marks) != (self._version.size, self._version.marks):
            self._on_change()
            raise SourceChanged(
                f"{self._place.name} has changed since it was opened.", hint="Ask again to see the new one."
            )
        return part


class _Door:
    """A file as GDAL is given it; does not keep it open."""

    def __init__(self, file: RemoteFile) -> None:
        self._file = weakref.ref(file)

    @property
    def size(self) -> int:
        return self._there().size

    def pread(self, length: int, offset: int) -> bytes:
        return self._there().pread(length, offset)

    def failed(self, error: Exception) -> None:
        file = self._file()
        if file is not None:
            file._failures.setdefault(threading.get_ident(), error)

    def _there(self) -> RemoteFile:
        file = self._file()
        if file is None:
            raise ValueError("the file was let go")
        return file


def _merged(ranges: Iterable[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """Ranges as (offset, length), those near each other as one; none beyond the end of the file."""
    spans: list[tuple[int, int]] = []
    for start, length in sorted(set(ranges)):
        stop = min(start + length, size)
        if stop <= start:
            continue
        if spans and start <= sum(spans[-1]) + _GAP and stop - spans[-1][0] <= _MOST:
            spans[-1] = (spans[-1][0], max(stop, sum(spans[-1])) - spans[-1][0])
        else:
            spans.append((start, stop - start))
    return spans
