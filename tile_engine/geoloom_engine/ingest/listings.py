"""What servers list: texts of addresses, pages with links as web servers make them, buckets."""

from __future__ import annotations

import html.parser
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from geoloom.errors import GeoloomError
from geoloom_engine.readers import buckets
from geoloom_engine.readers.access import Access
from geoloom_engine.readers.ranges import Remote

_SECONDS = 60.0
_RETRIES = 3
_MAX_BYTES = 256 << 20
_MAX_PAGES = 100_000


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in a listing; size and time of change (ns since 1970) where the listing tells."""

    href: str
    size: int | None = None
    changed: int | None = None


def text(url: str) -> str:
    """A text over HTTP(S) or from a bucket.

    Raises
    ------
    OSError
        If the server does not answer as it should; the message is a sentence.
    """
    access = Access(("/", "http://", "https://", "s3://"))
    remote = Remote(access, timeout=_SECONDS, retries=_RETRIES)
    try:
        return remote.whole(access.resolve(url), _MAX_BYTES).decode("utf-8", errors="replace")
    except GeoloomError as error:
        raise OSError(str(error)) from None
    finally:
        remote.close()


def bucket(url: str, endings: tuple[str, ...]) -> Iterator[Entry]:
    """The files below ``s3://bucket/prefix``; stores of many files (Zarr) count as one.

    Raises
    ------
    OSError
        If the bucket cannot be listed.
    """
    store = ""
    for name, size, changed in buckets.listed(url):
        inside = name.lower().find(".zarr/")
        if inside >= 0:
            if name[: inside + 5] != store:
                store = name[: inside + 5]
                yield Entry(store)
        elif name.lower().endswith(endings):
            yield Entry(name, size, changed)


def pages(url: str, endings: tuple[str, ...], tell: Callable[[str, str], None]) -> Iterator[Entry]:
    """The files that a page of links names, and the pages below it; never one outside its folder.

    Raises
    ------
    OSError
        If the first page cannot be had.
    """
    root = url.split("#", 1)[0].split("?", 1)[0].rpartition("/")[0] + "/"
    waiting, seen = [url], {url}
    while waiting and len(seen) <= _MAX_PAGES:
        page = waiting.pop()
        try:
            content = text(page)
        except OSError as error:
            if page == url:
                raise
            tell(page, str(error).rstrip("."))
            continue
        inner = []
        for link in _links(content):
            target = urllib.parse.urljoin(page, link).split("#", 1)[0].split("?", 1)[0]
            if target in seen or not target.startswith(root):
                continue
            if target.rstrip("/").lower().endswith(endings):
                seen.add(target)
                yield Entry(target.rstrip("/"))
            elif target.endswith("/"):
                seen.add(target)
                inner.append(target)
        waiting.extend(reversed(inner))


class _Links(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]


def _links(content: str) -> list[str]:
    parser = _Links()
    parser.feed(content)
    return parser.found
