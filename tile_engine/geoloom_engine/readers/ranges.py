"""Parts of remote files, over HTTP(S) and from S3-compatible stores.

Every read has a deadline, is tried again where that may help, follows redirects only to where the
engine may read, and ends in the bytes asked for or in one sentence. Messages name the file alone: an
address can hold a signature.
"""

from __future__ import annotations

import os
import random
import re
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException

from geoloom.errors import GeoloomError, SourceNotFound, SourceRefused, SourceUnreadable
from geoloom_engine.readers.access import Access, Place
from geoloom_engine.readers.connections import Answer, Connections
from geoloom_engine.readers.signing import Store
from geoloom_engine.readers.silence import Silence
from geoloom_engine.readers.wire import AddressRefused, Deadline

WHOLE = 4 << 20
"""Bytes of a file that is taken as a whole from a server that gives no parts."""

_HOPS = 6
_MOVED_SECONDS = 60.0
_LONGEST_PAUSE = 5.0
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_REDIRECTS = (301, 302, 303, 307, 308)
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,18}")
_CODE = re.compile(rb"<Code>([A-Za-z]{1,60})</Code>")
_LATER = "Try again later."


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a file.

    Parameters
    ----------
    start
        Where they begin; 0 where the server gave the whole file though a part was asked for.
    content
        The bytes.
    size
        Of the whole file.
    marks
        Its ETag and Last-Modified, or empty texts.
    """

    start: int
    content: bytes
    size: int
    marks: tuple[str, str]


class _Again(Exception):
    """A failure that may pass; the error is for whoever gives up.

    `wait` is how long the server asks to be left alone, in seconds; `silent` whether it said nothing.
    """

    def __init__(self, error: GeoloomError, wait: float = 0.0, silent: bool = False) -> None:
        super().__init__()
        self.error = error
        self.wait = wait
        self.silent = silent


class Remote:
    """Reads remote files; safe to use from many threads.

    Parameters
    ----------
    access
        The allow-list; asked again at every redirect.
    timeout
        Seconds that one read may take, with all it is tried again.
    retries
        How often a read that failed is tried again.
    pause
        Seconds before it is tried again; doubled each time, and up to half as long or longer by chance.
    environment
        Where the credentials for S3 are.
    """

    def __init__(
        self,
        access: Access,
        *,
        timeout: float = 10.0,
        retries: int = 2,
        pause: float = 0.2,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.timeout = timeout
        self._access = access
        self._retries = retries
        self._pause = pause
        self._connections = Connections()
        self._silence = Silence()
        self._lock = threading.Lock()
        self._moved: dict[str, tuple[str, float]] = {}
        self._regions: dict[str, str] = {}
        self._store: Store | str
        try:
            self._store = Store.of(os.environ if environment is None else environment)
        except ValueError as error:
            # Said when somebody wants to read from S3, not to everybody else.
            self._store = str(error)

    def read(self, place: Place, start: int, length: int) -> Part:
        """Bytes of a file; fewer where it ends.

        Raises
        ------
        SourceNotFound, SourceRefused, SourceUnreadable
            Without the address.
        """
        return self._tried(place, (start, length), WHOLE)

    def whole(self, place: Place, limit: int) -> bytes:
        """All of a file of at most `limit` bytes.

        Raises
        ------
        SourceNotFound, SourceRefused, SourceUnreadable
            Without the address; also if it is larger.
        """
        return self._tried(place, None, limit).content

    def close(self) -> None:
        """Close the idle connections."""
        self._connections.close()

    def _tried(self, place: Place, wanted: tuple[int, int] | None, limit: int) -> Part:
        server = "/".join(place.path.split("/", 3)[:3])
        if server in self._silence:
            raise _unreadable(place, "its server has just left several reads without an answer", _LATER)
        stall = self.timeout / 2 if self._retries else self.timeout
        begun = time.monotonic()
        deadline = Deadline(begun + self.timeout, stall)
        for attempt in range(self._retries + 1):
            try:
                part = self._once(place, wanted, limit, deadline)
                self._silence.answered(server)
                return part
            except _Again as again:
                # Spread, so that all who were turned away together do not come back together.
                pause = min(self._pause * 2**attempt, _LONGEST_PAUSE) * random.uniform(0.5, 1.5)
                pause = max(pause, again.wait)
                if attempt == self._retries or time.monotonic() + pause >= deadline.at:
                    if again.silent:
                        self._silence.failed(server, place.path, begun)
                    else:
                        self._silence.answered(server)
                    raise again.error from None
                time.sleep(pause)
            except GeoloomError:
                self._silence.answered(server)
                raise
        raise AssertionError("the last attempt answers or raises")

    def _once(self, place: Place, wanted: tuple[int, int] | None, limit: int, deadline: Deadline) -> Part:
        try:
            answer = self._asked(place, wanted, deadline)
            try:
                return _part(place, answer, wanted, limit)
            finally:
                answer.close()
        except AddressRefused:
            raise SourceRefused(
                f"{place.name}: its server is inside a network that this engine may not read from.",
                hint="Ask whoever runs the engine to name that server in GEOLOOM_SOURCES.",
            ) from None
        except TimeoutError:
            why = f"its server gave no answer, or not all of it, in {self.timeout:g} s"
            raise _Again(_unreadable(place, why, _LATER), silent=True) from None
        except socket.gaierror:
            why = "no server of that name is known"
            hint = "Check the address and its spelling."
            raise _Again(_unreadable(place, why, hint), silent=True) from None
        except ssl.SSLCertVerificationError:
            raise _unreadable(
                place, "the certificate of its server is not valid", "Tell whoever runs that server."
            ) from None
        except (OSError, HTTPException, UnicodeError) as error:
            why = f"its server does not answer ({type(error).__name__})"
            hint = "Try again, or check the address."
            raise _Again(_unreadable(place, why, hint), silent=True) from None

    def _asked(self, place: Place, wanted: tuple[int, int] | None, deadline: Deadline) -> Answer:
        """The answer that is no redirect."""
        headers = {} if wanted is None else {"Range": f"bytes={wanted[0]}-{wanted[0] + wanted[1] - 1}"}
        url, away = place.path, False
        if not place.path.startswith("s3:"):
            url = self._moved_to(place.path)
            away = url != place.path
        for _ in range(_HOPS):
            if url.startswith("s3:"):
                answer = self._asked_store(place, headers, deadline)
            else:
                if not self._access.allows_url(url, place.path):
                    raise _leaves(place)
                answer = self._connections.get(url, headers, deadline, self._access.allows_address)
            if answer.status in _REDIRECTS and answer.headers.get("Location"):
                url, away = _joined(url, str(answer.headers["Location"])), True
            elif away and answer.status in (400, 401, 403, 404, 410):
                # The address it moved to was good for a while only; ask the first one.
                with self._lock:
                    known = self._moved.pop(place.path, None)
                if known is None:
                    return answer
                url, away = place.path, False
            else:
                if away and answer.status in (200, 206):
                    self._remember(place.path, url)
                return answer
            answer.close()
            if not away:
                continue
            if not url.startswith(("http://", "https://")):
                raise _leaves(place)
        raise _unreadable(place, "its server redirects without end", "Tell whoever runs that server.")

    def _asked_store(self, place: Place, headers: Mapping[str, str], deadline: Deadline) -> Answer:
        """The answer of an S3-compatible store; of the bucket's own region, if it says so."""
        if isinstance(self._store, str):
            raise SourceRefused(
                f"{place.name}: the engine's settings for S3 are wrong: {self._store}.",
                hint="Tell whoever runs the engine.",
            )
        bucket = place.path[5:].partition("/")[0]
        while True:
            region = self._regions.get(bucket)
            url, signed = self._store.request(place.path, region)
            # The engine's operator named this server.
            answer = self._connections.get(url, {**headers, **signed}, deadline, lambda *_: True)
            other = answer.headers.get("x-amz-bucket-region")
            lost = answer.status in (301, 307, 400, 403) and self._store.endpoint is None
            if not lost or not other or region is not None or not re.fullmatch(r"[a-z0-9-]{4,30}", other):
                return answer
            answer.close()
            self._regions[bucket] = other

    def _moved_to(self, url: str) -> str:
        """Where an address led a short while ago."""
        with self._lock:
            target, until = self._moved.get(url, (url, 0.0))
        return target if time.monotonic() < until else url

    def _remember(self, url: str, target: str) -> None:
        if self._moved_to(url) == target:
            return
        with self._lock:
            if len(self._moved) >= 4096:
                self._moved.clear()
            self._moved[url] = (target, time.monotonic() + _MOVED_SECONDS)


def _joined(url: str, location: str) -> str:
    """Where a redirect leads; nowhere if it is no address."""
    try:
        return urllib.parse.urljoin(url, location)
    except ValueError:
        return ""


def _part(place: Place, answer: Answer, wanted: tuple[int, int] | None, limit: int) -> Part:
    """The bytes in an answer, checked against what was asked."""
    status, headers = answer.status, answer.headers
    if status not in (200, 206):
        raise _failure(place, answer, wanted)
    if (headers.get("Content-Encoding") or "identity").lower() != "identity":
        raise _unreadable(
            place, "its server sends it compressed, of which no part can be read", "Serve it as it is."
        )
    marks = (headers.get("ETag") or "", headers.get("Last-Modified") or "")
    stated = headers.get("Content-Length", "")
    length = int(stated) if _WHOLE_NUMBER.fullmatch(stated) else None
    if status == 200:
        if length is not None and length > limit:
            raise _too_large(place, f"{length / 1e6:,.0f} MB", wanted)
        content = answer.read(limit + 1)
        if len(content) > limit:
            raise _too_large(place, f"more than {limit / 1e6:,.0f} MB", wanted)
        if not answer.complete or (length is not None and len(content) < length):
            raise _Again(_broken_off(place))
        return Part(0, content, len(content), marks)
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range") or "")
    if wanted is None or found is None:
        raise _unreadable(
            place, "its server does not say which part it gives", "Tell whoever runs that server."
        )
    first, last, size = (int(text) for text in found.groups())
    expected = min(wanted[1], size - wanted[0])
    if first != wanted[0] or last - first + 1 != expected or length not in (None, expected):
        raise _Again(_unreadable(place, "its server gives another part than the one asked for", _LATER))
    content = answer.read(expected)
    if len(content) < expected:
        raise _Again(_broken_off(place))
    return Part(first, content, size, marks)


def _failure(place: Place, answer: Answer, wanted: tuple[int, int] | None) -> Exception:
    """What to raise of an answer that is none."""
    status = answer.status
    code = _CODE.search(answer.read(1 << 13)) if place.path.startswith("s3:") else None
    phrase = code.group(1).decode() if code else _phrase(status)
    said = f"the server answered {status}" + (f" ({phrase})" if phrase else "")
    if status in (404, 410):
        return SourceNotFound(
            f"{place.name} is not there: {said}.", hint="Check the address and its spelling."
        )
    if status in _PASSING:
        return _Again(_unreadable(place, said, _LATER), _wait(answer.headers.get("Retry-After")))
    if status == 416 and wanted is not None:
        if wanted[0] == 0:
            return _unreadable(place, "it is empty", "Upload it again.")
        return _unreadable(place, "it is shorter than it was", "Try again.")
    if status in (401, 403) and place.path.startswith("s3:"):
        return _unreadable(
            place,
            said,
            "Ask whoever runs the engine to check its credentials for S3, and the bucket's policy.",
        )
    return _unreadable(place, said, "Check the address, and whether it needs a login.")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _wait(text: str | None) -> float:
    """Seconds that a Retry-After header asks for."""
    if not text:
        return 0.0
    if _WHOLE_NUMBER.fullmatch(text.strip()):
        return float(text)
    try:
        return max((parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _unreadable(place: Place, why: str, hint: str) -> SourceUnreadable:
    return SourceUnreadable(f"{place.name} cannot be read: {why}.", hint=hint)


def _broken_off(place: Place) -> SourceUnreadable:
    return _unreadable(place, "its server broke off in the middle", _LATER)


def _leaves(place: Place) -> SourceRefused:
    return SourceRefused(
        f"{place.name} redirects outside the addresses this engine may read.",
        hint="Ask whoever runs the engine to add that address to GEOLOOM_SOURCES.",
    )


def _too_large(place: Place, size: str, wanted: tuple[int, int] | None) -> SourceRefused:
    if wanted is None:
        return SourceRefused(
            f"{place.name} is too large to be read as a whole ({size}).", hint="Make it smaller."
        )
    return SourceRefused(
        f"{place.name}: its server gives no parts of files, and all of this one would be {size}.",
        hint="Put it on a server that answers Range requests, or into a folder of the engine.",
    )
