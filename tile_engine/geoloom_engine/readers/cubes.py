"""Opening netCDF files and Zarr stores: which reader, and one open file for all of its slices."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from geoloom.address import Address
from geoloom.errors import SourceChanged, SourceNotFound, SourceRefused, SourceUnreadable
from geoloom_engine.cache import BlockCache
from geoloom_engine.readers.access import Access, Place
from geoloom_engine.readers.arrays import ArrayFile, Content, HeldFile
from geoloom_engine.readers.fingerprint import fingerprint
from geoloom_engine.readers.remote_file import RemoteFiles, Version

if TYPE_CHECKING:
    from geoloom_engine.readers.contents import Contents
    from geoloom_engine.readers.cube import Cube
    from geoloom_engine.readers.zarr import Fetch

_ENDINGS = frozenset((".nc", ".nc4", ".nc3", ".cdf", ".netcdf", ".h5", ".hdf5", ".he5", ".zarr"))
_STORE_MARKS = ("zarr.json", ".zmetadata", ".zgroup", ".zarray")
_METADATA = (*_STORE_MARKS, ".zattrs")
_MAX_METADATA = 64 << 20
_MAX_CHUNK = 512 << 20
_MAX_FOLDERS = 5_000


class CubeFiles:
    """Opens slices of netCDF files and Zarr stores; safe to use from many threads.

    Parameters
    ----------
    access
        The allow-list.
    cache
        Keeps decoded blocks.
    remote
        Gives the bytes of remote files.
    """

    def __init__(self, access: Access, cache: BlockCache, remote: RemoteFiles) -> None:
        self._access = access
        self._remote = remote
        self._cache = cache
        self._lock = threading.Lock()
        self._shared: weakref.WeakValueDictionary[str, Contents] = weakref.WeakValueDictionary()

    def means(self, href: str) -> bool:
        """Whether a href is a file of this kind, by its form, its ending or what lies there."""
        address = Address.parse(href)
        if address.variable is not None or _ending(address.href) in _ENDINGS:
            return True
        if "://" in href or not os.path.isdir(href):
            return False
        return self._access.allows_path(href) and _store_mark(href) is not None

    def resolve(self, href: str) -> Place:
        """The file that a href or address means.

        Raises
        ------
        SourceNotFound, SourceRefused
            As of `Access.resolve`; a folder may be a Zarr store.
        """
        path = Address.parse(href).href
        if "://" in path:
            place = self._access.resolve(path)
            return replace(place, path=place.path.rstrip("/")) if _ending(path) == ".zarr" else place
        if self._access.allows_path(path) and os.path.isdir(path):
            mark = _store_mark(path)
            if mark is None:
                raise SourceNotFound(
                    f"{PurePath(path).name} is a folder without Zarr metadata.",
                    hint="Give a file in it, or the folder that holds zarr.json, .zgroup or .zmetadata.",
                )
            # Resolving the file inside checks the form of the name, and where it leads.
            inside = self._access.resolve(str(PurePath(path) / mark))
            return Place(path, str(PurePath(inside.path).parent), remote=False)
        return self._access.resolve(path)

    def fingerprint(self, place: Place) -> str:
        """32 hex digits that change with a local file or store.

        Of a store, its metadata and the folders of its arrays tell: a chunk that is written over in
        place without either changing goes unnoticed.
        """
        return _local_print(place)

    def look(self, place: Place, before: Version | None) -> Version:
        """What a remote file is now, or the metadata of a remote store; see `RemoteFiles.look`."""
        if not _is_store(place):
            return self._remote.look(place, before)
        missing: SourceNotFound | None = None
        for mark in _STORE_MARKS:
            try:
                return self._remote.look(self._below(place, mark), before)
            except SourceNotFound as error:
                missing = error
        raise SourceNotFound(
            f"{place.name} is not there, or is no Zarr store.", hint="Check the address and its spelling."
        ) from missing

    def contents(self, place: Place, version: Version | None, on_change: Callable[[], None]) -> Contents:
        """What a file holds; the same object while anybody uses it.

        Parameters
        ----------
        version
            Of a remote file.
        on_change
            Called when a read finds that the file has changed.

        Raises
        ------
        SourceUnreadable, SourceRefused, SourceNotFound
            If it cannot be read.
        """
        print_ = _local_print(place) if version is None else version.fingerprint
        with self._lock:
            found = self._shared.get(print_)
        if found is None:
            # It takes a third of a second to load: who has no such files need not wait for it.
            from geoloom_engine.readers.contents import Contents

            opened = Contents(self._opened(place, version, on_change), place.name)
            with self._lock:
                found = self._shared.setdefault(print_, opened)
        return found

    def open(
        self, href: str, place: Place, print_: str, version: Version | None, on_change: Callable[[], None]
    ) -> Cube:
        """A slice; parameters as for `contents`, and the fingerprint of the slice (`marked`)."""
        from geoloom_engine.readers.cube import Cube

        address = Address.parse(href)
        before = None if place.remote else _quick_print(place, address.variable)

        def check() -> None:
            """A remote file is rechecked by whoever opened it: here that would cost a request a block."""
            if before is not None and _quick_print(place, address.variable) != before:
                on_change()
                raise _changed(place)

        if before is not None and marked(_local_print(place), href) != print_:
            on_change()
            raise _changed(place)
        contents = self.contents(place, version, on_change)
        return Cube(address, contents, print_, self._cache, place.name, check)

    def _opened(self, place: Place, version: Version | None, on_change: Callable[[], None]) -> ArrayFile:
        """The reader of a file; each is loaded when the first file of its kind is opened."""
        if _is_store(place):
            from geoloom_engine.readers.zarr import ZarrStore

            return ZarrStore(place, self._access, self._fetch(place) if place.remote else None)
        content: Content
        if version is None:
            content = HeldFile(place, self._access)
        else:
            content = self._remote.open(place, version, on_change)
        magic = content.pread(8, 0)
        if magic[:4] in (b"CDF\x01", b"CDF\x02", b"CDF\x05"):
            from geoloom_engine.readers.classic import Classic

            return Classic(place, content)
        if magic == b"\x89HDF\r\n\x1a\n":
            from geoloom_engine.readers.netcdf import NetCdf

            return NetCdf(place, content)
        raise SourceUnreadable(
            f"{place.name} is no netCDF or HDF5 file, and no Zarr store.",
            hint="Open files of other kinds by their plain name, without a variable.",
        )

    def _fetch(self, place: Place) -> Fetch:
        """Files of a remote store by key."""

        def fetch(key: str, offset: int, length: int | None) -> bytes | None:
            limit = _MAX_METADATA if PurePath(key).name in _METADATA else _MAX_CHUNK
            try:
                found = self._remote.content(self._below(place, key), limit)
            except SourceNotFound:
                return None
            found = found[offset:] if offset else found
            return found if length is None else found[:length]

        return fetch

    def _below(self, place: Place, key: str) -> Place:
        found = self._access.resolve(f"{place.path}/{key}")
        if not found.path.startswith(place.path + "/"):
            raise SourceRefused(f"{place.name} leads elsewhere.", hint="Copy it to one place.")
        return found


def _changed(place: Place) -> SourceChanged:
    return SourceChanged(
        f"{place.name} has changed since it was opened.", hint="Ask again to see the new one."
    )


def marked(print_: str, href: str) -> str:
    """A file's fingerprint as that of the part of it that a href means; they begin alike."""
    part = Address.parse(href).part
    half = len(print_) // 2
    return print_[:half] + hashlib.sha256(f"{print_}\n{part}".encode()).hexdigest()[:half] if part else print_


def _is_store(place: Place) -> bool:
    return _ending(place.path) == ".zarr" if place.remote else Path(place.path).is_dir()


def _ending(href: str) -> str:
    name = href.split("?", 1)[0] if "://" in href else href
    return PurePath(name.rstrip("/")).suffix.lower()


def _store_mark(path: str) -> str | None:
    return next((mark for mark in _STORE_MARKS if (Path(path) / mark).is_file()), None)


def _local_print(place: Place) -> str:
    """The fingerprint of a local file or store."""
    if not Path(place.path).is_dir():
        return fingerprint(place)
    marks = [place.href]
    waiting = [place.path]
    for folder in waiting:
        marks += _marks(place, folder)
        if not _is_array(folder) and len(waiting) < _MAX_FOLDERS:
            with os.scandir(folder) as entries:
                waiting += sorted(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
    return hashlib.sha256("\n".join(marks).encode()).hexdigest()[:32]


def _quick_print(place: Place, variable: str | None) -> str:
    """Of a store, what tells of one variable: an archive's folders are too many to look at for each block."""
    if not Path(place.path).is_dir():
        return fingerprint(place)
    return "\n".join([*_marks(place, place.path), *_marks(place, str(Path(place.path) / (variable or "")))])


def _marks(place: Place, folder: str) -> list[str]:
    """Times of a group's or array's folder, of that of its chunks, and of its metadata."""
    marks = []
    for name in ("", "c", *_METADATA):
        try:
            found = os.stat(f"{folder}/{name}")
        except OSError:
            if not name:
                raise SourceNotFound(f"{place.name} is not there any more.", hint="Check the path.") from None
            continue
        marks.append(f"{folder}/{name}:{found.st_size}:{found.st_mtime_ns}")
    return marks


def _is_array(folder: str) -> bool:
    """Whether a folder is an array's; it may hold a million chunks, and is not listed."""
    if Path(folder, ".zarray").is_file():
        return True
    try:
        with Path(folder, "zarr.json").open("rb") as file:
            return bool(json.loads(file.read(_MAX_METADATA)).get("node_type") == "array")
    except (OSError, ValueError, AttributeError):
        return False
