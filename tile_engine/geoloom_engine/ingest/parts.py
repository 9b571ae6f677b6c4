"""The parts of a collection: files of items, which are all the state there is.

A part is there whole or not at all: `write_items` writes it under another name. An item that takes
another's place is written into the part of that one, so that both happen in one renaming. Only joining
small parts takes several steps; what an end between them leaves is put right by the next ingest.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import shapely

from geoloom_engine.catalog.geoparquet import read_items, write_items
from geoloom_engine.ingest import summary
from geoloom_engine.ingest.items import bbox, geometry
from geoloom_engine.ingest.plan import file_of
from geoloom_engine.ingest.scratch import Known, Scratch

MOST = 2000
"""Items in one part: rewriting one takes a moment, and little memory."""

_ENDING = ".parquet"

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """What was made of a scene.

    Parameters
    ----------
    items
        New ones.
    instead
        Ids of the items whose place they take, by the name of the part that holds those.
    """

    items: list[Item]
    instead: Mapping[str, set[str]]


class Parts:
    """The parts of one collection; only one process at a time may have them open.

    Parameters
    ----------
    folder
        Created if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".*"):
            with contextlib.suppress(OSError):
                left.unlink()

    def names(self) -> list[str]:
        """Names of all parts, oldest first."""
        return sorted(path.name for path in self._folder.glob(f"*{_ENDING}") if not path.name.startswith("."))

    def path(self, name: str) -> Path:
        """Where a part is."""
        return self._folder / name

    def items(self, name: str) -> Iterator[Item]:
        """The items of a part."""
        yield from read_items(self._folder / name)

    def read(self, scratch: Scratch) -> Iterator[str]:
        """Take what parts hold that changed since they were read last; the name of each that was read."""
        stamps, names = scratch.stamps(), self.names()
        for name in stamps.keys() - set(names):
            scratch.forget_part(name)
        for name in names:
            status = self.path(name).stat()
            stamp = f"{status.st_mtime_ns} {status.st_size} {status.st_ino}"
            if stamps.get(name) != stamp:
                items = read_items(self.path(name))
                known = (one for item in items for one in _known(item, name))
                scratch.put_part(name, stamp, known, summary.of(items).to_text())
                yield name

    def drop_twice(self, scratch: Scratch) -> bool:
        """Drop items that stand in a later part too, as an ended joining leaves them; whether any did."""
        found = scratch.twice()
        for name, ids in found.items():
            self._rewrite(name, ids, [])
        return bool(found)

    def put(self, changes: Iterable[Change], keep: Callable[[str], bool]) -> None:
        """Write what was made of scenes.

        Parameters
        ----------
        changes
            Each id once.
        keep
            Whether a file that only the dropped item of the same id holds is to stay in the new one.
        """
        fresh: list[Item] = []
        into: dict[str, tuple[set[str], list[Item]]] = {}
        rest: dict[str, set[str]] = {}
        for change in changes:
            # What takes the place of others goes where these were: both happen at once.
            own = {item["id"] for item in change.items}
            homes = sorted(change.instead, key=lambda name: (not own & change.instead[name], name))
            if not homes:
                fresh += change.items
                continue
            for name in homes[1:]:
                rest.setdefault(name, set()).update(change.instead[name])
            without, more = into.setdefault(homes[0], (set(), []))
            without |= change.instead[homes[0]]
            more += change.items
        for name, (without, more) in sorted(into.items()):
            self._rewrite(name, without | rest.pop(name, set()), more, keep)
        for name, without in sorted(rest.items()):
            self._rewrite(name, without, [])
        if fresh:
            self._write(_new_name(), fresh)

    def drop_files(self, name: str, files: set[str]) -> int:
        """Take files out of the items of a part, and items that have none left; the number of these."""
        kept, dropped = [], 0
        for item in self.items(name):
            assets = {key: one for key, one in item["assets"].items() if origin(one)[0] not in files}
            if not assets:
                dropped += 1
                continue
            kept.append({**item, "assets": assets})
        self._write(name, kept)
        return dropped

    def compact(self) -> int:
        """Join small parts; the number of parts that are left."""
        waiting: list[tuple[str, int]] = []
        for name in self.names():
            count = pq.read_metadata(self.path(name)).num_rows
            if count > MOST // 2:
                continue
            if waiting and sum(n for _, n in waiting) + count > MOST:
                self._join([one for one, _ in waiting])
                waiting = []
            waiting.append((name, count))
        self._join([one for one, _ in waiting])
        return len(self.names())

    def _join(self, names: list[str]) -> None:
        if len(names) < 2:
            return
        self._write(_new_name(), [item for name in names for item in self.items(name)])
        for name in names:
            self.path(name).unlink()

    def _rewrite(
        self, name: str, without: set[str], more: list[Item], keep: Callable[[str], bool] = lambda _: False
    ) -> None:
        new = {item["id"]: item for item in more}
        items = []
        for item in self.items(name):
            if item["id"] not in without:
                items.append(item)
            elif item["id"] in new:
                _merge(new[item["id"]], item, keep)
        self._write(name, items + more)

    def _write(self, name: str, items: Iterable[Item]) -> None:
        items = list(items)
        path = self._folder / name
        if not items:
            path.unlink(missing_ok=True)
            return
        write_items(path, items)


def origin(asset: Mapping[str, Any]) -> tuple[str, str, bool]:
    """The file that was found for an asset, its mark then, and whether another was made of it."""
    if asset.get("geoloom:origin"):
        return str(asset["geoloom:origin"]), str(asset.get("geoloom:origin_mark") or ""), True
    mark = asset.get("geoloom:file_mark") or asset.get("geoloom:mark") or ""
    return file_of(str(asset["href"])), str(mark), False


def _known(item: Item, part: str) -> Iterator[Known]:
    seen = set()
    for asset in item["assets"].values():
        file, mark, optimised = origin(asset)
        if file in seen:
            continue
        seen.add(file)
        size = None if optimised else asset.get("file:size")
        yield Known(file, mark, size, asset.get("updated"), optimised, item["id"], part)


def _merge(new: Item, old: Item, keep: Callable[[str], bool]) -> None:
    """Let a new item have what only the one before it held."""
    files = {origin(asset)[0] for asset in new["assets"].values()}
    kept = {
        key: asset
        for key, asset in old["assets"].items()
        if key not in new["assets"] and (file := origin(asset)[0]) not in files and keep(file)
    }
    if not kept:
        return
    new["assets"] = {**new["assets"], **kept}
    area = shapely.union_all([shapely.geometry.shape(one["geometry"]) for one in (old, new)])
    new["geometry"], new["bbox"] = geometry(area), bbox(area)


def _new_name() -> str:
    """A name that comes after all that were given before."""
    return f"{time.time_ns() // 1000:016d}-{secrets.token_hex(3)}{_ENDING}"
