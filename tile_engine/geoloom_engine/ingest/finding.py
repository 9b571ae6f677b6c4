"""Finding files: in folders, by wildcards, in lists of addresses, in listings of servers and buckets."""

from __future__ import annotations

import glob
import os
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from geoloom_engine.ingest import listings

ENDINGS = (".tif", ".tiff", ".gtiff", ".nc", ".nc4", ".zarr")
"""Of files that are looked into when a folder is searched; a file that is named itself may have any."""

_LISTS = (".txt", ".lst", ".list", ".urls")

_SIGNING = frozenset(
    ("AWSAccessKeyId", "Signature", "Expires", "GoogleAccessId", "Key-Pair-Id", "Policy")
    + ("sig", "se", "sp", "sv", "sr", "st", "skoid", "sktid", "skt", "ske", "sks", "skv")
)
"""Names in the queries of signed addresses: of S3, CloudFront, Google and Azure."""

Tell = Callable[[str, str], None]
"""Told of what cannot be used: its name, and the reason."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file that was found.

    Parameters
    ----------
    href
        Absolute path or URL.
    path
        What names are guessed from: the path below the folder that was searched, its own name first.
    size, changed
        Bytes and time of the last change in ns since 1970; None if nothing told.
    """

    href: str
    path: str
    size: int | None = None
    changed: int | None = None

    @property
    def remote(self) -> bool:
        """Whether it lies on a server."""
        return is_url(self.href)


def is_url(text: str) -> bool:
    """Whether a source is an address rather than a path."""
    return text.lower().startswith(("http://", "https://", "s3://"))


def unsigned(url: str) -> str:
    """An address without what signs it: a collection is for many, a signature for one and for a while."""
    parts = urllib.parse.urlsplit(url)
    if not parts.query:
        return url
    kept = [
        pair
        for pair in parts.query.split("&")
        if not pair.lower().startswith(("x-amz-", "x-goog-")) and pair.partition("=")[0] not in _SIGNING
    ]
    return urllib.parse.urlunsplit(parts._replace(query="&".join(kept)))


def root_of(source: str) -> str:
    """What all that is found in a source begins with; empty for a list of addresses from anywhere."""
    if is_url(source):
        if _is_list(source):
            return ""
        return source if _is_file(source) else source.rstrip("/") + "/"
    if _is_list(source):
        return ""
    magic = glob.has_magic(source) and not Path(source).exists()
    fixed = source[: min(source.find(c) for c in "*?[" if c in source)] if magic else source
    path = os.path.abspath(os.path.expanduser(fixed))  # noqa: PTH100, PTH111
    if magic:
        return path if fixed.endswith("/") is False else path.rstrip("/") + "/"
    return path.rstrip("/") + "/" if Path(path).is_dir() and not _is_store(path) else path


def find(source: str, tell: Tell) -> Iterator[Found]:
    """The files of a source.

    Parameters
    ----------
    source
        A folder, a file, a pattern with wildcards, a text file of paths and addresses, the address of a
        file, of such a text or of a listing, or ``s3://bucket/prefix``.
    tell
        Told of folders that cannot be read.

    Raises
    ------
    OSError
        If the source itself is not there or does not answer; the message is a sentence.
    """
    if is_url(source):
        yield from _remote(source, tell)
        return
    path = os.path.abspath(os.path.expanduser(source))  # noqa: PTH100, PTH111
    if os.path.isdir(path) and not _is_store(path):  # noqa: PTH112
        yield from _below(path, tell)
    elif _is_list(source) and os.path.isfile(path):  # noqa: PTH113
        with Path(path).open(encoding="utf-8", errors="replace") as lines:
            yield from _listed(lines, Path(path).parent, tell)
    elif os.path.exists(path):  # noqa: PTH110
        yield _local(path, Path(path).name)
    elif glob.has_magic(source):
        base = Path(root_of(source)).parent
        for name in glob.iglob(path, recursive=True):  # noqa: PTH207
            if os.path.isfile(name) or _is_store(name):  # noqa: PTH113
                yield _local(name, os.path.relpath(name, base))
    else:
        raise FileNotFoundError(f"{source} is not there.")


def _below(root: str, tell: Tell) -> Iterator[Found]:
    """All files below a folder in the order of their names; each folder is listed once, links included."""
    waiting = [root]
    seen: set[tuple[int, int]] = set()
    while waiting:
        folder = waiting.pop()
        try:
            status = os.stat(folder)  # noqa: PTH116
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            if folder == root:
                raise OSError(f"{root} cannot be listed: {error.strerror}.") from None
            tell(folder, f"this folder cannot be listed: {error.strerror}")
            continue
        inner = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                if entry.is_dir():
                    if not _is_store(entry.path):
                        inner.append(entry.path)
                        continue
                elif not entry.name.lower().endswith(ENDINGS):
                    continue
                status = entry.stat()
            except OSError as error:
                if entry.name.lower().endswith(ENDINGS):
                    tell(entry.path, f"it cannot be looked at: {error.strerror}")
                continue
            name = os.path.relpath(entry.path, os.path.dirname(root) or "/")  # noqa: PTH120
            yield Found(entry.path, name, status.st_size, status.st_mtime_ns)
        waiting.extend(reversed(inner))


def _local(path: str, name: str) -> Found:
    status = os.stat(path)  # noqa: PTH116
    return Found(path, name, status.st_size, status.st_mtime_ns)


def _listed(lines: Iterator[str], base: Path, tell: Tell) -> Iterator[Found]:
    """Files named one a line; empty lines and those behind ``#`` are left out."""
    for line in lines:
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        if is_url(name):
            yield Found(unsigned(name), _path_of(name))
            continue
        path = os.path.abspath(base / Path(name).expanduser())  # noqa: PTH100
        try:
            yield _local(path, path.lstrip("/"))
        except OSError as error:
            tell(path, f"it is in the list, but cannot be looked at: {error.strerror}")


def _remote(source: str, tell: Tell) -> Iterator[Found]:
    if _is_list(source):
        yield from _listed(iter(listings.text(source).splitlines()), Path("/"), tell)
    elif _is_file(source):
        yield Found(unsigned(source), _path_of(source))
    elif source.lower().startswith("s3://"):
        for entry in listings.bucket(source, ENDINGS):
            yield Found(entry.href, _path_of(entry.href), entry.size, entry.changed)
    else:
        for entry in listings.pages(source, ENDINGS, tell):
            yield Found(entry.href, _path_of(entry.href), entry.size, entry.changed)


def _path_of(url: str) -> str:
    return urllib.parse.unquote(urllib.parse.urlsplit(url).path).lstrip("/")


def _is_list(source: str) -> bool:
    return source.split("?", 1)[0].lower().endswith(_LISTS)


def _is_file(url: str) -> bool:
    return url.split("?", 1)[0].split("#", 1)[0].rstrip("/").lower().endswith(ENDINGS)


def _is_store(path: str) -> bool:
    """Whether a folder is one Zarr store."""
    return path.lower().rstrip("/").endswith(".zarr") and os.path.isdir(path)  # noqa: PTH112
