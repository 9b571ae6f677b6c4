"""Features by source: their geometry packed, their columns, and which of them a condition holds for.

What was packed once is kept in a folder that all workers of a user share; see `vectors.pack`.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoloom.block import Array
from geoloom.errors import (
    EngineOverloaded,
    GeoloomError,
    SourceNotGeoreferenced,
    SourceRefused,
    SourceUnreadable,
)
from geoloom_engine.readers.access import Access, Place
from geoloom_engine.readers.pool import SourcePool
from geoloom_engine.readers.vector import OgrFile
from geoloom_engine.readers.vector_files import LayerInfo, family_fingerprint
from geoloom_engine.readers.vector_flatgeobuf import FlatGeobuf, is_flatgeobuf
from geoloom_engine.vectors.columns import Column, column_of
from geoloom_engine.vectors.pack import Pack, build, load
from geoloom_engine.vectors.places import projection

if os.name == "posix":
    import fcntl

PATIENCE = 1.0
"""Seconds that a tile waits for a large layer to be packed: others wait for their turn meanwhile."""

SMALL_PATIENCE = 20.0
"""Seconds that it waits for a small one, which takes so long only where machine code is still made."""

SMALL = 50_000
"""Features of a small layer."""

MOST_DISK = 8 << 30
"""Bytes of packed layers that are kept on disk; the least recently used go first."""

MOST_MAPPED = 96 << 20
"""Bytes of packed layers that a process may have mapped for longer than a moment.

They are the system's cache, which gives them back when need be, but count as the process's memory."""

MAPPED_SECONDS = 1.0

LEFT_BEHIND = 86_400.0
"""Seconds after which a file that is still being made has nobody who makes it."""

MOST_MEMORY = 192 << 20
"""Bytes of columns and conditions that a process keeps."""

_PACKS = 64
"""Packed layers that a process has mapped."""

VERSION = "3"
"""Of what is packed: change it with the loops that do it."""


@dataclass(frozen=True, slots=True)
class Features:
    """A source of features, as it is now.

    Parameters
    ----------
    name
        For messages.
    print_
        Changes with the content.
    file
        Reads it.
    """

    name: str
    print_: str
    file: Any


class Vectors:
    """Sources of features; safe to use from many threads.

    Parameters
    ----------
    access
        The allow-list.
    folder
        For packed layers; by default the user's own folder for what can be made again.
    """

    def __init__(self, access: Access, folder: Path | None = None) -> None:
        self._access = access
        self._folder = folder
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Any, ...], tuple[Any, int]] = OrderedDict()
        self._packs: OrderedDict[str, Pack] = OrderedDict()
        self._making: dict[str, _Making] = {}
        self._let_go_at = 0.0

    def of_file(self, href: str) -> Features:
        """The features of a file.

        Raises
        ------
        SourceNotFound, SourceRefused
            If it is not there or may not be read.
        """
        place = self._access.resolve(href)
        if place.remote:
            raise SourceRefused(
                f"{place.name} lies at another machine, from where vector files are not read.",
                hint="Copy it to a folder that the engine may read.",
            )
        print_ = family_fingerprint(place, self._access)
        found: Features = self._once(
            ("source", print_), lambda: Features(place.name, print_, _reader(place)), lambda source: 4096
        )
        return found

    def of_text(self, key: str, content: Callable[[], bytes]) -> Features:
        """The features of a GeoJSON text, by the key of its blob."""
        return Features("the features", f"blob-{key}", OgrFile("the features", text=content()))

    def info(self, source: Features, layer: str | None) -> LayerInfo:
        """What a layer holds."""
        found: LayerInfo = self._once(
            ("info", source.print_, layer), lambda: source.file.describe(layer), lambda info: 4096
        )
        return found

    def pack(
        self, source: Features, layer: str | None, wanted: Callable[[], None], patience: float | None = None
    ) -> Pack:
        """A layer's geometry.

        Parameters
        ----------
        wanted
            Asked while waiting; raises when nobody waits any more.
        patience
            Seconds to wait; without it as long as a tile does.

        Raises
        ------
        EngineOverloaded
            If it takes longer; it goes on meanwhile.
        SourceUnreadable, SourceNotGeoreferenced
            If the file is damaged, or does not say where it lies.
        """
        info = self.info(source, layer)
        name = hashlib.sha256(f"{VERSION}\0{source.print_}\0{info.layer}".encode()).hexdigest()[:32]
        with self._lock:
            if (pack := self._packs.get(name)) is not None:
                self._packs.move_to_end(name)
                self._let_go()
                return _placed(pack, source, info)
            making = self._making.get(name)
            if making is None:
                making = self._making[name] = _Making(source, info, self._path(name))
                threading.Thread(target=self._make, args=(name, making), name="vectors", daemon=True).start()
        if patience is None:
            patience = SMALL_PATIENCE if info.count <= SMALL else PATIENCE
        deadline = time.monotonic() + patience
        while not making.done.wait(0.05):
            wanted()
            if time.monotonic() > deadline:
                raise EngineOverloaded(
                    f"{source.name} is being prepared: {making.read:,} of {info.count:,} features so far.",
                    hint="It takes some seconds, once. Ask again.",
                )
        if making.problem is not None:
            raise making.problem
        assert making.pack is not None
        return _placed(making.pack, source, info)

    def column(self, source: Features, layer: str | None, name: str, pack: Pack) -> Column:
        """One attribute of a pack's features."""

        def read() -> Column:
            fids, values = source.file.column(layer, name)
            return column_of(values).take(_places(fids, pack.fid))

        return self._once(("column", source.print_, layer, name), read, lambda column: column.nbytes)

    def matching(self, source: Features, layer: str | None, where: str, pack: Pack) -> Array:
        """bool, of a pack's features: whether a condition holds."""

        def read() -> Array:
            found: Array = np.isin(pack.fid, source.file.matching(layer, where))
            return found

        return self._once(("where", source.print_, layer, where), read, lambda mask: mask.nbytes)

    def keep[T](self, key: tuple[Any, ...], make: Callable[[], T], nbytes: Callable[[T], int]) -> T:
        """Something made of columns, kept as long as there is room."""
        return self._once(("made", *key), make, nbytes)

    def _once[T](self, key: tuple[Any, ...], make: Callable[[], T], nbytes: Callable[[T], int]) -> T:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                kept: T = self._kept[key][0]
                return kept
        made = make()
        with self._lock:
            self._kept[key] = (made, nbytes(made))
            total = sum(size for _, size in self._kept.values())
            while total > MOST_MEMORY and len(self._kept) > 1:
                total -= self._kept.popitem(last=False)[1][1]
        return made

    def _let_go(self) -> None:
        """Now and then take large layers out of this process's memory; the lock is held."""
        now = time.monotonic()
        if now - self._let_go_at > MAPPED_SECONDS:
            self._let_go_at = now
            if sum(pack.nbytes for pack in self._packs.values()) > MOST_MAPPED:
                for pack in self._packs.values():
                    pack.let_go()

    def _path(self, name: str) -> Path:
        if self._folder is None:
            self._folder = _own_folder()
        return self._folder / f"{name}.pack"

    def _make(self, name: str, making: _Making) -> None:
        """Pack a layer, or take what another worker has packed."""
        try:
            making.pack = _packed(making)
        except GeoloomError as error:
            making.problem = error
        except OSError as error:
            making.problem = SourceUnreadable(
                f"{making.source.name} cannot be prepared: {error.strerror or error}.",
                hint="Is there room left on the engine's disk?",
            )
        except Exception as error:  # noqa: BLE001 - a defect must reach those who wait
            making.problem = SourceUnreadable(f"{making.source.name} cannot be prepared: {error!r}.")
        with self._lock:
            del self._making[name]
            if making.pack is not None:
                self._packs[name] = making.pack
                while len(self._packs) > _PACKS:
                    self._packs.popitem(last=False)
        making.done.set()


class _Making:
    """A layer that is being packed."""

    def __init__(self, source: Features, info: LayerInfo, path: Path) -> None:
        self.source = source
        self.info = info
        self.path = path
        self.read = 0
        self.pack: Pack | None = None
        self.problem: GeoloomError | None = None
        self.done = threading.Event()

    def tell(self, read: int) -> None:
        """Note how far it is."""
        self.read = read


_stores: weakref.WeakKeyDictionary[SourcePool, Vectors] = weakref.WeakKeyDictionary()
_stores_lock = threading.Lock()


def vectors_of(pool: SourcePool) -> Vectors:
    """The features that a pool's allow-list lets in."""
    with _stores_lock:
        found = _stores.get(pool)
        if found is None:
            found = _stores[pool] = Vectors(pool.access)
        return found


def _reader(place: Place) -> Any:
    path = Path(place.path)
    return FlatGeobuf(place.name, path) if is_flatgeobuf(path) else OgrFile(place.name, place.path)


def _placed(pack: Pack, source: Features, info: LayerInfo) -> Pack:
    """The pack, if anything of it can be shown."""
    if not len(pack) and pack.problems["unplaced"]:
        crs = info.crs if info.crs.startswith("EPSG") else "the coordinate system it names"
        raise SourceNotGeoreferenced(
            f"None of the {pack.read:,} features of {source.name} (layer {info.layer}) lies on the map: "
            f"their coordinates are not those of {crs}.",
            hint="Give the layer the coordinate system it is in, as with ogr2ogr -a_srs EPSG:….",
        )
    return pack


def _packed(making: _Making) -> Pack:
    source, info, path = making.source, making.info, making.path
    try:
        return load(path)
    except (OSError, ValueError):
        pass
    if not info.crs:
        raise SourceNotGeoreferenced(
            f"{source.name} does not say in which coordinate system its layer {info.layer} is.",
            hint="Give it one: a .prj beside a Shapefile, or ogr2ogr -a_srs EPSG:….",
        )
    project = projection(info.crs, f"{source.name} (layer {info.layer})")
    with path.with_suffix(".lock").open("w") as lock:
        if os.name == "posix":
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            return load(path)  # another worker was quicker
        except (OSError, ValueError):
            pass
        pack = build(source.file.batches(info.layer), project, path, making.tell)
        _trim(path)
    return pack


def _trim(made: Path) -> None:
    """Delete what was not used for longest, down to `MOST_DISK`, and what a crash has left."""
    for one in made.parent.glob("making-*"):
        with suppress(OSError):
            if time.time() - one.stat().st_mtime > LEFT_BEHIND:
                one.unlink()
    found = []
    for one in made.parent.glob("*.pack"):
        try:
            found.append((one.stat().st_mtime, one.stat().st_size, one))
        except OSError:
            continue
    total = sum(size for _, size, _ in found)
    for _, size, one in sorted(found):
        if total <= MOST_DISK:
            return
        if one != made:
            one.unlink(missing_ok=True)
            one.with_suffix(".lock").unlink(missing_ok=True)
            total -= size


def _own_folder() -> Path:
    """A folder of this user alone for what can be made again; a passing one where there is none."""
    home = Path(os.environ.get("HOME") or Path.home())
    base = Path(os.environ.get("XDG_CACHE_HOME") or "")
    if not base.is_absolute():
        base = home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache"
    folder = base / "geoloom" / "vectors"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(folder, os.W_OK) and folder.stat().st_uid == os.getuid():
            return folder
    except OSError:
        pass
    # It goes with the process, when its object does.
    _passing.append(tempfile.TemporaryDirectory(prefix="geoloom-vectors-"))
    return Path(_passing[-1].name)


_passing: list[tempfile.TemporaryDirectory[str]] = []


def _places(fids: Array, wanted: Array) -> Array:
    """Where in `fids` each wanted number is; −1 for those that are not."""
    if not len(fids):
        return np.full(len(wanted), -1, np.int64)
    order = np.argsort(fids, kind="stable")
    at = np.clip(np.searchsorted(fids[order], wanted), 0, len(fids) - 1)
    found: Array = np.where(fids[order][at] == wanted, order[at], -1)
    return found
