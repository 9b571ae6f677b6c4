"""What was found and what is known, side by side: on disk, so that a million files need little memory.

These are tables of one process; nothing of them outlives it. A watch keeps them from round to round, and
reads those parts of the collection alone that changed since.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from geoloom_engine.ingest.dates import Moment
from geoloom_engine.ingest.finding import Found
from geoloom_engine.ingest.pattern import Parts

_TABLES = """
CREATE TABLE found (scene TEXT, name TEXT, href TEXT PRIMARY KEY, finer INTEGER, size INTEGER,
                    changed INTEGER, moment TEXT, properties TEXT) WITHOUT ROWID;
CREATE TABLE known (file TEXT, mark TEXT, size INTEGER, updated TEXT, optimised INTEGER,
                    item TEXT, part TEXT);
CREATE TABLE named (id TEXT PRIMARY KEY, scene TEXT) WITHOUT ROWID;
CREATE TABLE parts (name TEXT PRIMARY KEY, stamp TEXT, summary TEXT) WITHOUT ROWID;
CREATE INDEX by_scene ON found (scene, href);
CREATE INDEX by_file ON known (file);
CREATE INDEX by_item ON known (item, part);
CREATE INDEX by_part ON known (part);
"""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that was found, and what its name says."""

    href: str
    parts: Parts
    size: int | None
    changed: int | None


@dataclass(frozen=True, slots=True)
class Known:
    """A file that the collection holds already.

    Parameters
    ----------
    file
        Its address: of what was found, not of what was made of it.
    mark
        First digits of its fingerprint when it was taken in.
    size, updated
        As it was then; None if not known.
    optimised
        Whether the item points to a file that was made of it.
    item, part
        Id of the item, and name of the part that holds that.
    """

    file: str
    mark: str
    size: int | None
    updated: str | None
    optimised: bool
    item: str
    part: str


class Scratch:
    """The tables; closed at the end of a ``with``."""

    def __init__(self) -> None:
        # An empty name is a file that SQLite deletes by itself.
        self._base = sqlite3.connect("", isolation_level=None)
        self._base.executescript(
            f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-32000;"
            f"PRAGMA temp_store_directory='{tempfile.gettempdir()}';" + _TABLES
        )

    def __enter__(self) -> Scratch:
        return self

    def __exit__(self, *_: object) -> None:
        self._base.close()

    def begin(self) -> None:
        """Forget what was found in the round before."""
        self._base.executescript("DELETE FROM found; DELETE FROM named;")

    def stamps(self) -> dict[str, str]:
        """What tells that a part has changed, by the name of each that was read."""
        return dict(self._base.execute("SELECT name, stamp FROM parts"))

    def put_part(self, name: str, stamp: str, known: Iterable[Known], summary: str) -> None:
        """Take what a part holds, in the place of what it held."""
        self.forget_part(name)
        rows = ((k.file, k.mark, k.size, k.updated, k.optimised, k.item, k.part) for k in known)
        self._insert("INSERT INTO known VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        self._base.execute("INSERT INTO parts VALUES (?, ?, ?)", (name, stamp, summary))

    def forget_part(self, name: str) -> None:
        """Forget a part that is not there any more."""
        self._base.execute("DELETE FROM known WHERE part = ?", (name,))
        self._base.execute("DELETE FROM parts WHERE name = ?", (name,))

    def summaries(self) -> Iterator[str]:
        """The summaries of all parts."""
        return (row[0] for row in self._base.execute("SELECT summary FROM parts ORDER BY name"))

    def twice(self) -> dict[str, set[str]]:
        """Items that stand in a later part too, by the name of the part."""
        rows = self._base.execute(
            "SELECT DISTINCT item, part FROM known WHERE item IN "
            "(SELECT item FROM known GROUP BY item HAVING min(part) <> max(part)) ORDER BY item, part DESC"
        )
        found: dict[str, set[str]] = {}
        last = None
        for item, part in rows:
            if item == last:
                found.setdefault(part, set()).add(item)
            last = item
        return found

    def add_found(self, found: Iterable[tuple[Found, Parts]]) -> int:
        """Take what was found; the number of files that were not there yet."""
        rows = (
            (
                parts.scene, parts.band, one.href, parts.finer, one.size, one.changed,
                _written(parts.moment), json.dumps(parts.properties) if parts.properties else None,
            )
            for one, parts in found
        )  # fmt: skip
        return self._insert("INSERT OR IGNORE INTO found VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def scenes(self) -> Iterator[tuple[str, list[Candidate]]]:
        """The files of each scene that were found, one scene after the other."""
        rows = self._base.execute("SELECT * FROM found ORDER BY scene, href")
        for scene, group in groupby(rows, key=lambda row: row[0]):
            yield scene, [_candidate(row) for row in group]

    def files(self) -> int:
        """How many were found."""
        return int(self._base.execute("SELECT count(*) FROM found").fetchone()[0])

    def known_of(self, file: str) -> list[Known]:
        """What the collection holds of a file; several entries for one with many times."""
        return [_known(row) for row in self._base.execute("SELECT * FROM known WHERE file = ?", (file,))]

    def parts_of(self, item: str) -> set[str]:
        """Names of the parts that hold an item."""
        return {
            row[0] for row in self._base.execute("SELECT DISTINCT part FROM known WHERE item = ?", (item,))
        }

    def files_of(self, item: str) -> set[str]:
        """The files of an item that the collection holds."""
        return {row[0] for row in self._base.execute("SELECT file FROM known WHERE item = ?", (item,))}

    def found(self, file: str) -> bool:
        """Whether a file was found in this run."""
        return self._base.execute("SELECT 1 FROM found WHERE href = ?", (file,)).fetchone() is not None

    def name(self, id_: str, scene: str) -> bool:
        """Give an id to a scene; False if another scene of this run has it."""
        self._base.execute("INSERT OR IGNORE INTO named VALUES (?, ?)", (id_, scene))
        row = self._base.execute("SELECT scene FROM named WHERE id = ?", (id_,)).fetchone()
        return bool(row[0] == scene)

    def vanished(self) -> Iterator[tuple[str, str]]:
        """(part, file) of what the collection holds and nobody found, part by part."""
        yield from self._base.execute(
            "SELECT DISTINCT part, file FROM known WHERE file NOT IN (SELECT href FROM found) ORDER BY part"
        )

    def _insert(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> int:
        before = self._base.total_changes
        self._base.execute("BEGIN")
        self._base.executemany(statement, rows)
        self._base.execute("COMMIT")
        return self._base.total_changes - before


def _candidate(row: tuple[Any, ...]) -> Candidate:
    scene, name, href, finer, size, changed, moment, properties = row
    parts = Parts(scene, name, _moment(moment), json.loads(properties) if properties else {}, finer)
    return Candidate(href, parts, size, changed)


def _known(row: tuple[Any, ...]) -> Known:
    file, mark, size, updated, optimised, item, part = row
    return Known(file, mark, size, updated, bool(optimised), item, part)


def _written(moment: Moment | None) -> str | None:
    if moment is None:
        return None
    return moment.start.isoformat() + (f"/{moment.end.isoformat()}" if moment.end else "")


def _moment(text: str | None) -> Moment | None:
    if text is None:
        return None
    start, _, end = text.partition("/")
    return Moment(datetime.fromisoformat(start), datetime.fromisoformat(end) if end else None)
