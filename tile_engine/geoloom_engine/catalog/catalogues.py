"""The catalogues of an engine, by name: their collections, and what a query finds in them."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from geoloom.errors import GeoloomError, NotFound, RequestError, SourceUnreadable
from geoloom.query import Query
from geoloom.selection import Selection
from geoloom_engine.catalog import entry, static
from geoloom_engine.catalog.api import ApiCatalog
from geoloom_engine.catalog.files import Files
from geoloom_engine.catalog.keeping import KeptIndex
from geoloom_engine.catalog.raster_assets import RasterAssets
from geoloom_engine.catalog.resolving import resolved

Json = dict[str, Any]

MOST_SHOWN = 1000
"""Items in one answer."""

MOST_SELECTED = 100_000
"""Items of a selection."""

LOCAL_RECHECK = 10.0
REMOTE_RECHECK = 300.0
"""Seconds for which a catalogue on this machine, and one elsewhere, counts as fresh."""


class Catalogue(Protocol):
    """A catalogue of any kind."""

    def collections(self) -> tuple[Mapping[str, Json], list[str]]:
        """``collection.json`` of each collection by its id, and what is wrong with some."""

    def count(self, collection: str, query: Query) -> int:
        """How many items a query finds."""

    def items(self, collection: str, query: Query, most: int, whole: bool = True) -> tuple[int, list[Json]]:
        """How many items a query finds, and the first of them in order; `whole`, or as selections need."""

    def properties(self, collection: str) -> Json:
        """What is known of the items' properties and number without a search."""


class StaticCatalog:
    """A static STAC catalogue: a folder, a bucket, or a web address.

    Parameters
    ----------
    root
        Where it is.
    cache
        Folder for indexes.
    timeout
        Seconds without an answer after which a read fails.
    recheck
        Seconds for which what was found counts as fresh.
    """

    def __init__(self, root: str, cache: Path, timeout: float, recheck: float | None = None) -> None:
        self._files = Files(root, timeout)
        self._cache = cache
        fresh = REMOTE_RECHECK if self._files.remote else LOCAL_RECHECK
        self._recheck = fresh if recheck is None else recheck
        self._lock = threading.Lock()
        self._looked = -float("inf")
        self._collections: dict[str, static.StaticCollection] = {}
        self._problems: list[str] = []
        self._indexes: dict[str, KeptIndex] = {}

    def collections(self) -> tuple[Mapping[str, Json], list[str]]:
        """``collection.json`` of each collection by its id, and what is wrong with some."""
        found, problems = self._found()
        return {id_: one.content for id_, one in found.items()}, problems

    def count(self, collection: str, query: Query) -> int:
        """How many items a query finds."""
        return self._index(collection).get().index.count(query)

    def items(self, collection: str, query: Query, most: int, whole: bool = True) -> tuple[int, list[Json]]:
        """How many items a query finds, and the first of them in order; `whole`, or as selections need."""
        kept = self._index(collection)
        for again in (True, False):
            found = kept.get()
            count = found.index.count(query)
            if not whole and count > most:
                return count, []
            try:
                return count, kept.items(found.index.search(query, most), found, whole)
            except GeoloomError as error:
                # A part may have been rewritten since the index was made.
                if isinstance(error, RequestError) or not again:
                    raise
                kept.forget()
        raise AssertionError

    def properties(self, collection: str) -> Json:
        """Number, extent and properties of the items, as far as the index has them."""
        found = self._index(collection).quickly()
        if found is None:
            return {}
        index = found.index
        box, interval = index.extent()
        return {
            "items": len(index),
            "bbox": box,
            "interval": interval,
            "properties": index.properties(),
            "problems": index.about["problems"],
        }

    def _found(self) -> tuple[dict[str, static.StaticCollection], list[str]]:
        with self._lock:
            if time.monotonic() - self._looked >= self._recheck:
                self._collections, self._problems = static.collections(self._files)
                self._looked = time.monotonic()
            return self._collections, self._problems

    def _index(self, collection: str) -> KeptIndex:
        def current() -> static.StaticCollection:
            found = self._found()[0].get(collection)
            if found is None:
                raise NotFound(f"The collection {collection!r} is not in its catalogue any more.")
            return found

        with self._lock:
            kept = self._indexes.get(collection)
            if kept is None:
                name = hashlib.sha256(f"{self._files.root}\n{collection}".encode()).hexdigest()[:24]
                kept = KeptIndex(self._files, self._cache / name, current, self._recheck)
                self._indexes[collection] = kept
            return kept


class Catalogues:
    """All catalogues of an engine. Thread-safe; searches wait for disks and networks.

    Parameters
    ----------
    places
        ``NAME=FOLDER`` or ``NAME=URL`` of each.
    folder
        For indexes, shared by all workers; empty: one in the user's cache folder.
    timeout
        Seconds without an answer after which a read fails.
    recheck
        Seconds for which what was found counts as fresh; by default short on this machine, longer elsewhere.
    """

    def __init__(
        self,
        places: Sequence[str],
        folder: str | Path = "",
        timeout: float = 10.0,
        recheck: float | None = None,
    ) -> None:
        self._catalogues: dict[str, Catalogue] = {}
        self._assets: dict[tuple[str, str], tuple[str, RasterAssets]] = {}
        kept = Path(folder) if folder else own_folder()
        for one in places:
            name, _, place = (part.strip() for part in one.partition("="))
            static_ = StaticCatalog(place.rstrip("/"), kept, timeout, recheck)
            web = place.startswith(("http://", "https://"))
            self._catalogues[name] = ApiCatalog(place, timeout, static_, recheck) if web else static_

    def collections(self, words: str | None = None) -> Json:
        """All collections, or those that some words speak of, as ``/collections`` answers."""
        told: list[Json] = []
        problems: list[str] = []
        for name, catalogue in self._catalogues.items():
            try:
                found, wrong = catalogue.collections()
            except GeoloomError as error:
                problems.append(f"Catalogue {name!r}: {error}")
                continue
            problems += [f"Catalogue {name!r}: {one}" for one in wrong]
            for id_, content in found.items():
                if words is None or entry.speaks_of(content, words):
                    about: Json = {}
                    try:
                        about = catalogue.properties(id_)
                    except GeoloomError as error:
                        problems.append(f"Collection {id_!r}: {error}")
                    problems += [f"Collection {id_!r}: {one}" for one in about.get("problems", ())]
                    told.append(entry.of(id_, name, content, self._rasters(name, id_, content), about))
        return {"collections": told, "problems": problems}

    def name_of(self, collection: str, shown: Callable[[str], bool] = lambda name: True) -> str:
        """``CATALOGUE/ID`` of ``ID`` or ``CATALOGUE/ID``.

        Parameters
        ----------
        shown
            Whether whoever asks may be told that there is a collection of such a name.

        Raises
        ------
        NotFound
            There is none; similar names are told.
        """
        name, id_, _ = self._find(collection, shown)
        return f"{name}/{id_}"

    def count(self, query: Query) -> int:
        """How many items a query finds."""
        name, id_, _ = self._find(query.collection)
        return self._catalogues[name].count(id_, query)

    def items(self, query: Query) -> tuple[int, list[Json]]:
        """How many items a query finds, and the first `MOST_SHOWN` as ``/search`` answers."""
        name, id_, _ = self._find(query.collection)
        count, items = self._catalogues[name].items(id_, query, MOST_SHOWN)
        return count, [entry.item(one) for one in items]

    def selection(self, query: Query) -> tuple[Selection, list[str]]:
        """What a query finds as a selection, and what is wrong with some items.

        Raises
        ------
        RequestError
            It finds nothing, or too much.
        """
        name, id_, content = self._find(query.collection)
        count, items = self._catalogues[name].items(id_, query, MOST_SELECTED, whole=False)
        if count > MOST_SELECTED:
            raise RequestError(
                f"The query finds {count:,} items; a selection has {MOST_SELECTED:,} at most.",
                hint="Filter by place or date, or set a limit.",
            )
        return resolved(f"{name}/{id_}", items, self._rasters(name, id_, content))

    def _find(
        self, collection: str, shown: Callable[[str], bool] = lambda name: True
    ) -> tuple[str, str, Json]:
        """Catalogue, id and description of ``ID`` or ``CATALOGUE/ID``."""
        failures: list[GeoloomError] = []
        before, slash, after = collection.partition("/")
        places = [(before, after)] if slash and before in self._catalogues else []
        places += [(name, collection) for name in self._catalogues]
        known: list[str] = []
        for name, id_ in places:
            try:
                found, _ = self._catalogues[name].collections()
            except GeoloomError as error:
                failures.append(error)
                continue
            if id_ in found:
                return name, id_, found[id_]
            known += (one for one in found if shown(f"{name}/{one}"))
        if failures:
            raise failures[0]
        raise NotFound(f"There is no collection {collection!r}.", hint=entry.hint(collection, known))

    def _rasters(self, name: str, id_: str, content: Json) -> RasterAssets:
        told = repr(content.get("item_assets"))
        known = self._assets.get((name, id_))
        if known is None or known[0] != told:
            known = (told, RasterAssets(content.get("item_assets")))
            self._assets[name, id_] = known
        return known[1]


def own_folder() -> Path:
    """A folder of this user alone, for what can be made again."""
    home = Path(os.environ.get("HOME") or Path.home())
    base = Path(os.environ.get("XDG_CACHE_HOME") or "")
    if not base.is_absolute():
        base = home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache"
    passing = Path(tempfile.gettempdir()) / f"geoloom-{os.getuid()}"
    for folder in (base / "geoloom", passing):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK) and folder.stat().st_uid == os.getuid():
            return folder / "indexes"
    raise SourceUnreadable(
        f"Indexes of catalogues can be kept neither in {base} nor in {passing.parent}.",
        hint="Name a folder in GEOLOOM_INDEXES.",
    )
