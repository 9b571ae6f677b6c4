"""The file of a backup: compressed lines of JSON, whole or known not to be."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from geoloom._version import __version__
from geoloom.chain import Chain, is_key, key_of
from geoloom.errors import GeoloomError

FORMAT = 1
LEVEL = 6
"""Of compression: chains shrink to a fifth, blobs of coordinates to a half."""

GZIP = 31
"""What zlib calls the format of gzip."""

PART = ".part"
"""What a file is called until it is whole."""

_ADDRESSED = ("chain", "blob")


class Damaged(Exception):
    """The file is not what was written: where, and how."""


@dataclass(frozen=True, slots=True)
class Record:
    """A key of the store.

    Parameters
    ----------
    name
        As in the store: ``geoloom:KIND:…``.
    type
        What Redis calls it: string, hash, set, zset or list.
    left
        Milliseconds until it expires; None: it is kept for good.
    value
        Bytes; of a hash pairs of them, of a sorted set members with scores, else a list.
    """

    name: str
    type: str
    left: int | None
    value: Any

    @property
    def kind(self) -> str:
        """The second part of the name."""
        return self.name.split(":")[1]

    @property
    def key(self) -> str:
        """The last part of the name."""
        return self.name.rpartition(":")[2]

    @property
    def addressed(self) -> bool:
        """Whether it is named by its content."""
        return self.kind in _ADDRESSED

    @property
    def holds(self) -> bool:
        """Whether its content is what its name says, as far as that can be told."""
        if not self.addressed:
            return True
        if self.type != "string" or not is_key(self.key):
            return False
        if self.kind == "blob":
            return key_of(self.value) == self.key
        try:
            Chain.from_json(self.value, self.key)
        except GeoloomError:
            return False
        return True


class Writer:
    """Writes a backup under another name, and gives it its own when it is whole.

    Whoever is interrupted leaves the last backup as it was; what a killed process left is overwritten.

    Parameters
    ----------
    path
        Where it is to be.
    """

    def __init__(self, path: Path) -> None:
        self.counts: dict[str, int] = {}
        self._path = path
        self._part = path.with_name(path.name + PART)
        self._digest = hashlib.sha256()

    def __enter__(self) -> Self:
        # Functions of users and whose they are: nobody else's business.
        descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._file = os.fdopen(descriptor, "wb")
        self._packer = zlib.compressobj(LEVEL, wbits=GZIP)
        self._line({"geoloom_backup": FORMAT, "version": __version__, "taken": datetime.now(UTC).isoformat()})
        return self

    def add(self, record: Record) -> None:
        """Write a record."""
        self._line(
            {"name": record.name, "type": record.type, "left": record.left, "value": _told(record.value)}
        )
        self.counts[record.kind] = self.counts.get(record.kind, 0) + 1

    def finish(self) -> None:
        """Write the end; the file is whole, and on the disk."""
        digest = self._digest.hexdigest()
        self._line({"end": sum(self.counts.values()), "sha256": digest})
        self._file.write(self._packer.flush())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._part.rename(self._path)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if error is not None:
            self._part.unlink(missing_ok=True)

    def _line(self, told: dict[str, Any]) -> None:
        line = json.dumps(told, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
        self._digest.update(line)
        self._file.write(self._packer.compress(line))


def read(path: Path) -> Iterator[Record]:
    """The records of a backup, in turn.

    Raises
    ------
    Damaged
        At the first place that cannot be read, and where the end is missing or does not fit what was read.
    OSError
        There is no such file.
    """
    digest = hashlib.sha256()
    count = 0
    with path.open("rb") as file, gzip.GzipFile(fileobj=file) as packed:
        for number, line in enumerate(_lines(packed), 1):
            try:
                told = json.loads(line)
                if number == 1:
                    _check_head(told)
                elif "end" in told:
                    if told["end"] != count or told["sha256"] != digest.hexdigest():
                        raise Damaged("its end does not fit what stands before it")
                    return
                else:
                    yield Record(told["name"], told["type"], told["left"], _meant(told["value"]))
                    count += 1
            except (ValueError, KeyError, TypeError):
                raise Damaged(f"line {number} cannot be read") from None
            digest.update(line)
    raise Damaged(f"it breaks off after {count} records")


def _lines(packed: gzip.GzipFile) -> Iterator[bytes]:
    """Whole lines; those before a place that cannot be unpacked are given out."""
    while True:
        try:
            line = packed.readline()
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise Damaged(f"it cannot be unpacked to its end: {str(error).rstrip('.')}") from None
        if not line.endswith(b"\n"):
            return
        yield line


def _check_head(told: Any) -> None:
    if not isinstance(told, dict) or told.get("geoloom_backup") is None:
        raise Damaged("it is no backup of a chain store")
    if told["geoloom_backup"] != FORMAT:
        raise Damaged(
            f"its format {told['geoloom_backup']} is not known here; Geoloom {told['version']} wrote it"
        )


def _told(value: Any) -> Any:
    """A value for JSON: text where bytes are text, so that people can read it."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, list | tuple):
        return [_told(one) for one in value]
    return value


def _meant(told: Any) -> Any:
    """What `_told` was given."""
    if isinstance(told, str):
        return told.encode()
    if isinstance(told, dict):
        return base64.b64decode(told["base64"], validate=True)
    if isinstance(told, list):
        return [_meant(one) for one in told]
    return told
