"""Fingerprints: how the engine notices that a source is no longer what it was.

A local file's fingerprint is made from the size and modification time of the file and of the
files beside it that belong to it; a remote one's from its ETag, Last-Modified and size.
"""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO

from geoloom.errors import SourceNotFound, SourceRefused, SourceUnreadable
from geoloom_engine.readers.access import Access, Place

SIDECARS = (".ovr", ".msk", ".aux.xml")
"""Endings of the files beside a GeoTIFF that GDAL would open with it."""

_HTTP_TIMEOUT = 10.0


def fingerprint(place: Place, access: Access) -> str:
    """32 hex digits that change with the source.

    Raises
    ------
    SourceNotFound, SourceRefused, SourceUnreadable
        If it is gone, redirects out of the allowed addresses, or does not answer.
    """
    marks = _remote_marks(place, access) if place.remote else _local_marks(place)
    return hashlib.sha256("\n".join([place.href, *marks]).encode()).hexdigest()[:32]


def _local_marks(place: Place) -> list[str]:
    marks = []
    for ending in ("", *SIDECARS):
        try:
            stat = Path(place.path + ending).stat()
        except OSError:
            if not ending:
                raise SourceNotFound(
                    f"{place.name} is not there any more.", hint="Check whether it was moved."
                ) from None
            continue
        marks.append(f"{ending}:{stat.st_size}:{stat.st_mtime_ns}")
    return marks


class _AllowedRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects only to where the engine may read."""

    def __init__(self, access: Access, name: str) -> None:
        self._access = access
        self._name = name

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not self._access.allows_url(newurl):
            raise SourceRefused(
                f"{self._name} redirects outside the addresses this engine may read.",
                hint="Ask whoever runs the engine to add that address to GEOLOOM_SOURCES.",
            )
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None:
            following.method = req.get_method()
        return following


def _remote_marks(place: Place, access: Access) -> list[str]:
    opener = urllib.request.build_opener(_AllowedRedirects(access, place.name))
    for method, headers in (("HEAD", {}), ("GET", {"Range": "bytes=0-0"})):
        request = urllib.request.Request(place.path, method=method, headers=headers)
        try:
            with opener.open(request, timeout=_HTTP_TIMEOUT) as answer:
                fields = ("ETag", "Last-Modified", "Content-Range" if headers else "Content-Length")
                return [str(answer.headers.get(field)) for field in fields]
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in (404, 410):
                raise SourceNotFound(
                    f"{place.name} is not there: the server answered {error.code}.",
                    hint="Check the address and its spelling.",
                ) from None
            # Signed addresses are often good for GET alone.
            if method == "GET":
                raise SourceUnreadable(
                    f"{place.name} cannot be read: the server answered {error.code}.",
                    hint="Check the address, and whether it needs a login.",
                ) from None
        except (OSError, HTTPException) as error:
            raise SourceUnreadable(
                f"{place.name} cannot be read: its server does not answer ({type(error).__name__}).",
                hint="Try again, or check the address.",
            ) from None
    raise AssertionError("one of the requests answers or raises")
