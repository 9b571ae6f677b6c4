"""Backup and restore of the chain store: ``python -m geoloom_engine.backup save | check | restore``.

A backup is one compressed file of JSON lines, which a person can read (``zcat``): a head, a record for
each key of the store, an end that counts them. Whatever is named by its content is checked against its
name, when it is saved and again when it is restored: no damaged chain gets in, whatever befell the file.

It is taken over the server's ordinary commands: nothing has to be stopped, no disk of the server has to be
reached, and a backup of one version of Valkey or Redis is restored into another.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import redis

from geoloom.errors import GeoloomError
from geoloom.store import USES, connect, place
from geoloom_engine.backup_file import PART, Damaged, Record, Writer, read

TRANSIENT = ("tile", "log", "seen", "self-test")
"""What is not saved, by the second part of its name: tiles are computed anew, events are of the moment."""

PATTERN = "geoloom-{:%Y%m%dT%H%M%SZ}.jsonl.gz"
FOUND = "geoloom-*Z.jsonl.gz"
BATCH = 500
"""Names asked for at a time."""
AT_ONCE = 8 << 20
"""Bytes of values asked for at a time, or one that is larger."""
STALE = 86400.0
"""Seconds after which a half-written file is nobody's any more."""
PATIENCE = 30.0
"""Seconds to wait for one answer: the largest blob takes a moment."""
SHRUNK = 0.5
"""A backup of fewer chains than this share of the last one's displaces no older ones: a store that was
emptied by mistake must not push out what it held."""


class _Failed(Exception):
    """What to tell."""


def save(url: str, target: Path, keep: int | None = None) -> list[str]:
    """Write a backup; sentences that tell what became of it.

    Parameters
    ----------
    url
        The chain store.
    target
        A file, or a folder, in which it gets a name with its time.
    keep
        How many of a folder's backups stay; None: all.
    """
    folder = target if target.is_dir() else None
    path = target if folder is None else folder / PATTERN.format(datetime.now(UTC))
    client = connect(url, PATIENCE)
    told = []
    with Writer(path) as writer:
        for record in _records(client):
            if not record.holds:
                told.append(f"{record.name} is left out: what is stored there does not hash to its name.")
                continue
            writer.add(record)
        writer.finish()
    told.append(f"{path}: {_counted(writer.counts)}, {_size(path.stat().st_size)}.")
    if folder is not None:
        for part in folder.glob(FOUND + PART):
            if time.time() - part.stat().st_mtime > STALE:
                part.unlink()
        if keep is not None:
            told += _pruned(folder, path, keep, writer.counts)
    return told


def check(path: Path) -> list[str]:
    """Read a backup to its end, each record with its hash; raises `Damaged`."""
    counts: dict[str, int] = {}
    for record in read(path):
        if not record.holds:
            raise Damaged(f"{record.name} does not hash to its name")
        counts[record.kind] = counts.get(record.kind, 0) + 1
    return [f"{path} is whole: {_counted(counts)}."]


def restore(url: str, path: Path, *, damaged: bool = False) -> list[str]:
    """Put a backup into a store; sentences that tell what became of it.

    What is there already stays as it is, only kept longer if the backup says so, and accounts get the
    entries that they lack; a value that does not hash to its name is replaced. What was kept for good is so
    again; what was to expire gets the time it had left when it was saved. It may be done again, and beside an
    engine that is in use.

    Parameters
    ----------
    damaged
        Take what is whole of a damaged file; otherwise nothing of it is restored.
    """
    if not damaged:
        check(path)
    client = connect(url, PATIENCE)
    counts: dict[str, int] = {}
    known = spoilt = 0
    told = []
    try:
        for record in read(path):
            if not record.holds:
                spoilt += 1
            elif _put(client, record):
                counts[record.kind] = counts.get(record.kind, 0) + 1
            else:
                known += 1
    except Damaged as error:
        told.append(f"The file is damaged ({error}); what stands before that was read.")
    if spoilt:
        told.append(f"{spoilt} records do not hash to their names and are left out.")
    return [*told, f"Restored: {_counted(counts)}. There already: {known}."]


def _records(client: redis.Redis) -> Iterator[Record]:
    """All that is to be saved: chains first, then what they name.

    A blob is always stored before the first chain that names it. So the blobs of every chain that was seen
    are there when the second walk begins, though others are registered meanwhile.
    """
    for names in _names(client, "geoloom:chain:*", TRANSIENT):
        yield from _taken(client, names)
    for names in _names(client, "geoloom:*", ("chain", *TRANSIENT)):
        yield from _taken(client, names)


def _names(client: redis.Redis, pattern: str, without: Collection[str]) -> Iterator[list[str]]:
    """Names of keys, each once, some at a time."""
    seen: set[str] = set()
    cursor = None
    while cursor != 0:
        answer: Any = client.scan(cursor or 0, pattern, BATCH)
        cursor, found = answer
        names = {name.decode("utf-8", "replace") for name in found}
        fresh = {name for name in names - seen if name.split(":")[1] not in without}
        seen |= fresh
        yield sorted(fresh)


def _taken(client: redis.Redis, names: Sequence[str]) -> Iterator[Record]:
    """Records of those that are still there; few large values at a time."""
    pipe = client.pipeline(transaction=False)
    for name in names:
        pipe.type(name)
        pipe.pttl(name)
        pipe.strlen(name)
    # A length is told of strings only.
    answers = pipe.execute(raise_on_error=False)
    group: list[tuple[str, str, int]] = []
    size = 0
    for name, kind, left, length in zip(names, answers[::3], answers[1::3], answers[2::3], strict=True):
        group.append((name, kind.decode(), left))
        size += length if isinstance(length, int) else 0
        if size > AT_ONCE:
            yield from _read(client, group)
            group, size = [], 0
    yield from _read(client, group)


def _read(client: redis.Redis, group: Sequence[tuple[str, str, int]]) -> Iterator[Record]:
    known = [one for one in group if one[1] in _READERS]
    pipe = client.pipeline(transaction=False)
    for name, kind, _ in known:
        _READERS[kind](pipe, name)
    for (name, kind, left), value in zip(known, pipe.execute(), strict=True):
        if isinstance(value, dict | set):
            value = sorted(value.items() if isinstance(value, dict) else value)
        # What is not a string is never kept empty: it expired meanwhile.
        if value is not None and value != []:
            yield Record(name, kind, None if left < 0 else left, value)


_READERS: dict[str, Callable[[Any, str], object]] = {
    "string": lambda pipe, name: pipe.get(name),
    "hash": lambda pipe, name: pipe.hgetall(name),
    "set": lambda pipe, name: pipe.smembers(name),
    "zset": lambda pipe, name: pipe.zrange(name, 0, -1, withscores=True),
    "list": lambda pipe, name: pipe.lrange(name, 0, -1),
}


def _put(client: redis.Redis, record: Record) -> bool:
    """Put a record into the store; whether it was not there, or damaged."""
    name, left = record.name, None if record.left is None else max(1, record.left)
    pipe = client.pipeline(transaction=True)
    if record.addressed:
        if client.type(name) == b"string" and client.get(name) == record.value:
            # GT never shortens, and counts "for good" as longer than any time.
            client.persist(name) if left is None else client.pexpire(name, left, gt=True)
            return False
        pipe.set(name, record.value, px=left)
        # A new value counts as hardly used, and would be the first that a full server lets go of.
        pipe.touch(*(name,) * USES)
        pipe.execute()
        return True
    if client.exists(name):
        if record.type == "hash" and client.type(name) == b"hash":
            _merge(client, record)
        return False
    if record.type == "string":
        pipe.set(name, record.value)
    elif record.type == "hash":
        pipe.hset(name, mapping=dict(record.value))
    elif record.type == "set":
        pipe.sadd(name, *record.value)
    elif record.type == "zset":
        pipe.zadd(name, dict(record.value))
    else:
        pipe.rpush(name, *record.value)
    if left is not None:
        pipe.pexpire(name, left)
    pipe.execute()
    return True


def _merge(client: redis.Redis, record: Record) -> None:
    """Add what a hash lacks; an account's counts are those of its entries, so they grow with these.

    Without its entry a chain that a user saved would be nobody's: not charged, and never given up.
    """
    name, account = record.name, record.kind == "account"
    for field, value in record.value:
        if account and b":" not in field:
            continue
        if client.hsetnx(name, field, value):
            if account:
                client.hincrby(name, f"{field.split(b':')[0].decode()}s", 1)
                client.hincrby(name, "bytes", int(value.split()[0]))
        elif account and value.endswith(b"s"):
            known: Any = client.hget(name, field)
            if known and not known.endswith(b"s"):
                client.hset(name, field, known + b"s")


def _pruned(folder: Path, newest: Path, keep: int, counts: dict[str, int]) -> list[str]:
    """Remove a folder's oldest backups, unless the newest looks as if something were amiss."""
    older = sorted((path for path in folder.glob(FOUND) if path != newest), reverse=True)
    if older and len(older) >= keep:
        try:
            before = sum(1 for record in read(older[0]) if record.kind == "chain")
        except Damaged:
            before = 0
        if counts.get("chain", 0) < SHRUNK * before:
            return [
                f"Older backups are all kept: this one has {counts.get('chain', 0)} chains, the last had "
                f"{before}. If that is right, remove them by hand."
            ]
    surplus = older[max(0, keep - 1) :]
    for path in surplus:
        path.unlink()
    return [f"{len(surplus)} older backups are removed."] if surplus else []


def _counted(counts: dict[str, int]) -> str:
    others = sum(counts.values()) - counts.get("chain", 0) - counts.get("blob", 0)
    return f"{counts.get('chain', 0)} chains, {counts.get('blob', 0)} blobs, {others} others"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m geoloom_engine.backup",
        description="Saves the chain store to a file, and puts it back.",
    )
    parser.add_argument(
        "--redis-url",
        metavar="URL",
        default=os.environ.get("GEOLOOM_REDIS_URL"),
        help="The chain store; by default GEOLOOM_REDIS_URL.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    saving = commands.add_parser("save", help="write a backup")
    saving.add_argument(
        "target", type=Path, help="a file, or a folder, in which it gets a name with its time"
    )
    saving.add_argument(
        "--keep", type=_positive, help="how many of the folder's backups stay; by default all"
    )
    checking = commands.add_parser("check", help="read a backup to its end, each record with its hash")
    checking.add_argument("file", type=Path)
    restoring = commands.add_parser("restore", help="put a backup into the store; what is there stays")
    restoring.add_argument("file", type=Path)
    restoring.add_argument("--damaged", action="store_true", help="take what is whole of a damaged file")
    return parser


def _positive(value: str) -> int:
    number = int(value)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit status."""
    asked = _parser().parse_args(arguments)
    # As an interruption by Ctrl-C, so that no half-written file stays behind.
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        if asked.command == "check":
            told = check(asked.file)
        elif not asked.redis_url:
            raise _Failed("There is no store to ask. Set GEOLOOM_REDIS_URL, or give --redis-url.")
        elif asked.command == "save":
            if asked.keep is not None and not asked.target.is_dir():
                raise _Failed(f"--keep is for folders, and {asked.target} is none.")
            told = save(asked.redis_url, asked.target, asked.keep)
        else:
            told = restore(asked.redis_url, asked.file, damaged=asked.damaged)
    except Damaged as error:
        return _wrong(
            f"{asked.file} is damaged: {error}. Nothing was restored. Take an older backup; "
            "restore --damaged takes what is whole of this one."
        )
    except redis.exceptions.OutOfMemoryError:
        return _wrong(
            "The store is full. Raise its maxmemory and restore again: what is there already stays."
        )
    except redis.RedisError as error:
        return _wrong(f"The store at {place(asked.redis_url)} does not answer: {str(error).rstrip('.')}.")
    except OSError as error:
        return _wrong(f"{error.filename or 'The backup'}: {error.strerror or error}.")
    except (_Failed, GeoloomError) as error:
        return _wrong(str(error))
    except KeyboardInterrupt:
        return _wrong("Interrupted.")
    for line in told:
        sys.stdout.write(f"{line}\n")
    return 0


def _interrupted(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _wrong(message: str) -> int:
    sys.stderr.write(f"geoloom_engine.backup: {message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
