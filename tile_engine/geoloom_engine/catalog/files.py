"""Files of a catalogue on this machine, in an S3-compatible store, or on a web server, read alike."""

from __future__ import annotations

import os
import posixpath
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urljoin, urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from geoloom.errors import SourceNotFound, SourceRefused, SourceUnreadable
from geoloom_engine.readers.signing import Store

MOST_BYTES = 256 << 20
"""Of one file of a catalogue."""

_AGENT = "geoloom-engine"


@dataclass(frozen=True, slots=True)
class File:
    """A file, and a stamp that changes when it does."""

    href: str
    stamp: str

    @property
    def size(self) -> int:
        """Bytes, as far as the stamp says so."""
        told = self.stamp.partition("-")[0]
        return int(told) if told.isdecimal() else 0

    @property
    def name(self) -> str:
        """Its last part."""
        return posixpath.basename(urlsplit(self.href).path if "://" in self.href else self.href)


class Files:
    """The files below one place, and nowhere else.

    Parameters
    ----------
    root
        An absolute folder, ``s3://bucket/prefix`` or ``http(s)://…``; perhaps of a file in it.
    timeout
        Seconds without an answer after which a read fails.
    """

    def __init__(self, root: str, timeout: float = 10.0) -> None:
        self.root = root
        self._timeout = timeout
        self.remote = "://" in root
        self._web = root.startswith(("http://", "https://"))

    def read(self, href: str) -> bytes:
        """The content of a file.

        Raises
        ------
        SourceNotFound, SourceRefused, SourceUnreadable
            It is not there, lies elsewhere, or cannot be read; one sentence.
        """
        self._check(href)
        try:
            content = self._get(href) if self._web else self._load(href)
        except FileNotFoundError:
            raise SourceNotFound(f"The catalogue's file {href} is not there.") from None
        except TimeoutError:
            raise SourceUnreadable(
                f"{href} did not answer within {self._timeout:g} seconds.", hint="Try again later."
            ) from None
        except (OSError, ValueError, pa.ArrowException) as error:
            raise SourceUnreadable(
                f"The catalogue's file {href} cannot be read: {_reason(error)}.",
                hint="Check its address and the engine's rights.",
            ) from None
        if len(content) > MOST_BYTES:
            raise SourceUnreadable(f"The catalogue's file {href} has more than {MOST_BYTES >> 20} MB.")
        return content

    def listed(self, folder: str) -> list[File]:
        """The files right in a folder, by name, hidden ones left out; of a web server none are known."""
        if self._web:
            return []
        listed = self._info(folder, whole=True)
        return sorted(
            (
                File(self.join(folder + "/", one.base_name), f"{one.size}-{one.mtime_ns}")
                for one in listed
                if one.type == pafs.FileType.File and not one.base_name.startswith(".")
            ),
            key=lambda file: file.name,
        )

    def folders(self, folder: str) -> list[str]:
        """The folders right in a folder, by name."""
        if self._web:
            return []
        listed = self._info(folder, whole=True)
        names = sorted(one.base_name for one in listed if one.type == pafs.FileType.Directory)
        return [self.join(folder + "/", name) for name in names if not name.startswith(".")]

    def stamp(self, href: str) -> str | None:
        """A stamp that changes when a file does; None if it is not there. Of a web server: what it says."""
        if self._web:
            return self._asked(href)
        info = self._info(href)
        return f"{info.size}-{info.mtime_ns}" if info.type == pafs.FileType.File else None

    def join(self, base: str, href: str) -> str:
        """An address that stands in a file, made absolute.

        Parameters
        ----------
        base
            Address of that file, or of a folder with a slash at its end.
        """
        if "://" in href or (href.startswith("/") and not self.remote):
            return href.removeprefix("file://")
        if base.startswith("s3://"):
            bucket, _, key = base.removeprefix("s3://").partition("/")
            return f"s3://{bucket}/" + posixpath.normpath(
                posixpath.join("/", posixpath.dirname(key), href)
            ).lstrip("/")
        if "://" in base:
            return urljoin(base, href)
        return posixpath.normpath(posixpath.join(posixpath.dirname(base), href))

    def holds(self, href: str) -> bool:
        """Whether an address lies in the catalogue's own place."""
        if self._web:
            own, other = urlsplit(self.root), urlsplit(href)
            return (own.scheme, own.netloc) == (other.scheme, other.netloc)
        folder = self.root if not self.root.endswith(".json") else posixpath.dirname(self.root)
        return href.startswith(folder.rstrip("/") + "/") and ".." not in href.split("/")

    def _check(self, href: str) -> None:
        if not self.holds(href):
            raise SourceRefused(f"{href} lies outside of the catalogue at {self.root}.")

    def _info(self, href: str, whole: bool = False) -> Any:
        """What a file system says of a file, or of all that is in a folder."""
        try:
            if href.startswith("s3://"):
                found, path = _s3(self._timeout), href.removeprefix("s3://")
            else:
                found, path = _local(), href
            asked = pafs.FileSelector(path.rstrip("/"), allow_not_found=True) if whole else path
            return found.get_file_info(asked)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise SourceUnreadable(
                f"The catalogue's place {href} cannot be looked at: {_reason(error)}.",
                hint="Check its address and the engine's rights.",
            ) from None

    def _load(self, href: str) -> bytes:
        found = _s3(self._timeout) if href.startswith("s3://") else _local()
        with found.open_input_file(href.removeprefix("s3://")) as file:
            return bytes(file.read(MOST_BYTES + 1))

    def _get(self, href: str) -> bytes:
        request = urllib.request.Request(href, headers={"User-Agent": _AGENT})
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as answer:
                return bytes(answer.read(MOST_BYTES + 1))
        except urllib.error.HTTPError as error:
            with error:
                if error.code in (404, 410):
                    raise FileNotFoundError from None
                raise OSError(f"the server answered {error.code} {error.reason}") from None
        except urllib.error.URLError as error:
            raise error.reason if isinstance(error.reason, OSError) else OSError(str(error.reason)) from None

    def _asked(self, href: str) -> str | None:
        request = urllib.request.Request(href, method="HEAD", headers={"User-Agent": _AGENT})
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as answer:
                told = [answer.headers.get(name, "") for name in ("ETag", "Last-Modified", "Content-Length")]
                return "-".join(told)
        except urllib.error.HTTPError as error:
            error.close()
            return None if error.code in (404, 410) else ""
        except OSError:
            return ""


@cache
def _local() -> Any:
    return pafs.LocalFileSystem()


@cache
def _s3(timeout: float) -> Any:
    """The store that files are read from, by the same variables; one pool of connections."""
    store = Store.of(os.environ)
    scheme, _, place = (store.endpoint or "").partition("://")
    who: dict[str, Any] = {"anonymous": True}
    if store.signed:
        who = {"access_key": store.access_key, "secret_key": store.secret_key}
        who["session_token"] = store.token or None
    return pafs.S3FileSystem(
        **who,
        region=store.region,
        endpoint_override=place or None,
        scheme=scheme or "https",
        force_virtual_addressing=store.in_host and bool(place),
        connect_timeout=timeout,
        request_timeout=timeout,
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=3),
    )


def _reason(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text[:200].rstrip(".")
