"""Indexes of collections, kept in files: made once for all workers, and again when the items change."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from geoloom.errors import GeoloomError, SourceUnreadable
from geoloom_engine.catalog import columns, static
from geoloom_engine.catalog.files import File, Files
from geoloom_engine.catalog.geoparquet import from_table, read_table, write_items
from geoloom_engine.catalog.index import Index, Rows, arranged, remove_others, save

Json = dict[str, Any]

log = logging.getLogger("geoloom_engine")

_SUFFIX = ".arrow"
_TOLD = 20
_READERS = 8
_QUICK_BYTES = 64 << 20
"""Of items that are indexed only when somebody searches them: some seconds' work."""
_TOGETHER = 1000
_AGAIN = 60.0
"""Seconds after which files that could not be read are tried again."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Files whose items are kept together: one of parquet, or many of JSON."""

    files: tuple[File, ...]
    stamp: str

    @property
    def parquet(self) -> bool:
        """Whether it is a file of parquet."""
        return self.files[0].name.endswith(".parquet")


@dataclass(frozen=True, slots=True)
class Found:
    """An index, and the files of items that it was made of."""

    index: Index
    parts: tuple[Path, ...]


class KeptIndex:
    """The index of one collection of a static catalogue. Thread-safe.

    Parameters
    ----------
    files
        The catalogue's.
    folder
        Where the index is kept; workers share it.
    collection
        Gives the collection as it is now.
    recheck
        Seconds for which what was found counts as fresh.
    """

    def __init__(
        self, files: Files, folder: Path, collection: Callable[[], static.StaticCollection], recheck: float
    ) -> None:
        self._files = files
        self._folder = folder
        self._collection = collection
        self._recheck = recheck
        self._lock = threading.Lock()
        self._found: Found | None = None
        self._key = ""
        self._looked = -float("inf")

    def get(self) -> Found:
        """The index of the items that are there now.

        Raises
        ------
        SourceError
            They cannot be listed.
        """
        with self._lock:
            if self._found is not None and time.monotonic() - self._looked < self._recheck:
                return self._found
            batches = _batches(self._collection().parts(self._files))
            key = _hash(*(batch.stamp for batch in batches))
            if self._found is None or key != self._key or self._found.index.about["bad"]:
                self._found = self._open(key, batches)
                self._key = key
            self._looked = time.monotonic()
            return self._found

    def quickly(self) -> Found | None:
        """The index if it is there, or made in a moment; None if making it takes long."""
        if self._found is None:
            batches = _batches(self._collection().parts(self._files))
            made = self._folder / f"{_hash(*(batch.stamp for batch in batches))}{_SUFFIX}"
            size = sum(file.size for batch in batches for file in batch.files)
            if size > _QUICK_BYTES and not made.exists():
                return None
        return self.get()

    def forget(self) -> None:
        """Look at the files again with the next search."""
        with self._lock:
            self._looked = -float("inf")

    def items(self, rows: Rows, found: Found, whole: bool = True) -> list[Json]:
        """The items of rows of an index; raises SourceError if their file is gone.

        Parameters
        ----------
        whole
            Else only what a selection needs, also with names that have no value.
        """
        wanted = None if whole else _for_selections
        parts, places = found.index.places(rows)
        items: list[Json | None] = [None] * len(rows)
        base = self._collection().href
        for part in np.unique(parts).tolist():
            here = np.flatnonzero(parts == part)
            table = read_table(found.parts[part], wanted).take(pa.array(places[here]))
            for at, item in zip(here.tolist(), from_table(table, whole), strict=True):
                static.absolute(item, base, self._files)
                items[at] = item
        return [item for item in items if item is not None]

    def _open(self, key: str, batches: Sequence[Batch]) -> Found:
        try:
            return self._opened(key, batches)
        except OSError as error:
            raise SourceUnreadable(
                f"The index of {self._collection().id!r} cannot be kept in {self._folder}: {error.strerror}.",
                hint="Make room there, or name another folder in GEOLOOM_INDEXES.",
            ) from None

    def _opened(self, key: str, batches: Sequence[Batch]) -> Found:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{key}{_SUFFIX}"
        with _locked(self._folder / "lock"):
            paths = [self._path(batch) for batch in batches]
            try:
                index = Index.open(path)
                if index.about["bad"] and time.time() - path.stat().st_mtime > _AGAIN:
                    raise ValueError("some files could not be read a while ago")
            except (OSError, ValueError, pa.ArrowException):
                begun = time.monotonic()
                save(self._made(batches, paths), path)
                remove_others(path)
                index = Index.open(path)
                log.info("Indexed %s items in %.1f s: %s", len(index), time.monotonic() - begun, path.parent)
                for other in self._folder.glob("*.parquet"):
                    if other not in paths:
                        other.unlink(missing_ok=True)
        return Found(index, tuple(paths))

    def _made(self, batches: Sequence[Batch], paths: Sequence[Path]) -> pa.Table:
        """The columns of all batches; those of what an older index holds are taken from it."""
        stamps = [batch.stamp for batch in batches]
        known, tables = self._older(stamps)
        problems: list[str] = []
        bad = []
        for number, (batch, path) in enumerate(zip(batches, paths, strict=True)):
            if batch.stamp in known:
                continue
            try:
                told = self._bring(batch, path)
                tables.append(columns.of_items(read_table(path, columns.wanted), number))
            except GeoloomError as error:
                told = [str(error)]
            if told:
                problems += told
                bad.append(number)
        if not tables:
            tables = [columns.of_items(pa.table(_EMPTY), 0)]
        return arranged(columns.joined(tables), {"parts": stamps, "bad": bad, "problems": problems[:_TOLD]})

    def _older(self, stamps: list[str]) -> tuple[set[str], list[pa.Table]]:
        """What an older index holds of these batches, if each of its items was in one only."""
        for path in sorted(self._folder.glob("*" + _SUFFIX), key=lambda one: -one.stat().st_mtime_ns):
            try:
                index = Index.open(path)
            except (OSError, ValueError, pa.ArrowException):
                continue
            if index.about["twice"]:
                continue
            numbers = {stamp: number for number, stamp in enumerate(stamps)}
            new = [numbers.get(stamp, -1) for stamp in index.about["parts"]]
            for number in index.about["bad"]:
                new[number] = -1
            if any(number >= 0 for number in new):
                return {stamps[number] for number in new if number >= 0}, [index.of_parts(new)]
        return set(), []

    def _path(self, batch: Batch) -> Path:
        """Where a batch's items are as parquet on this machine."""
        if batch.parquet and not self._files.remote:
            return Path(batch.files[0].href)
        return self._folder / f"{_hash(batch.stamp)}.parquet"

    def _bring(self, batch: Batch, path: Path) -> list[str]:
        """Have a batch's items on this machine; what is wrong with some of its files."""
        if batch.parquet:
            if self._files.remote and not path.exists():
                passing = path.with_name(f".{path.name}")
                passing.write_bytes(self._files.read(batch.files[0].href))
                passing.replace(path)
            return []
        items: list[Json] = []
        problems = []
        with ThreadPoolExecutor(_READERS) as readers:
            for found in readers.map(self._items_of, batch.files):
                if isinstance(found, str):
                    problems.append(found)
                else:
                    items += found
        write_items(path, items)
        return problems

    def _items_of(self, file: File) -> list[Json] | str:
        try:
            return static.items_of(self._files.read(file.href), file.href, self._files)
        except GeoloomError as error:
            return str(error)


_SELECTED = frozenset({"id", "geometry", "bbox", "datetime", "start_datetime", "assets", "gsd"})
_EMPTY = {"id": pa.array([], pa.string()), "geometry": pa.array([], pa.binary())}


def _batches(files: Sequence[File]) -> list[Batch]:
    """Parquet files one by one, JSON files many together."""
    batches = []
    json_ = []
    for file in files:
        if file.name.endswith(".parquet"):
            batches.append(Batch((file,), f"{file.href} {file.stamp}"))
        else:
            json_.append(file)
    for start in range(0, len(json_), _TOGETHER):
        some = tuple(json_[start : start + _TOGETHER])
        batches.append(Batch(some, "json " + _hash(*(f"{file.href} {file.stamp}" for file in some))))
    return batches


def _for_selections(name: str) -> bool:
    """Whether a column of items is of use for a selection."""
    return name in _SELECTED or name.startswith("proj:")


def _hash(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:24]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Alone among all processes that use a folder; an ended process lets go."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
