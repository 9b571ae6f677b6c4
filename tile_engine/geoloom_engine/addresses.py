"""Addresses taken apart, so that one can be told to lie below another."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass

PORTS = {"http": 80, "https": 443}
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")


@dataclass(frozen=True, slots=True)
class Prefix:
    """Scheme, host, port and path segments of a URL, or the same of a bucket."""

    scheme: str
    host: str
    port: int
    parts: tuple[str, ...]

    def covers(self, other: Prefix) -> bool:
        """Whether another is this one or lies below it, in whole segments."""
        return (self.scheme, self.host, self.port) == (other.scheme, other.host, other.port) and other.parts[
            : len(self.parts)
        ] == self.parts


def parse_url(url: str) -> Prefix:
    """A URL (``http``, ``https`` or ``s3``) taken apart; ValueError says what is odd about it."""
    if url[:5].lower() == "s3://":
        return _parse_s3(url)
    parsed = urllib.parse.urlsplit(url)
    scheme = parsed.scheme.lower()
    if scheme not in PORTS or not parsed.hostname:
        raise ValueError("is no http(s):// address")
    if "@" in parsed.netloc or "\\" in url:
        raise ValueError("holds a user name, password or backslash")
    if parsed.fragment or any(c.isspace() for c in url):
        raise ValueError("holds '#' or blanks")
    try:
        port = parsed.port or PORTS[scheme]
    except ValueError:
        raise ValueError("has no proper port") from None
    try:
        # As it is looked up: "ｄata" is "data", and "ü" has a name in ASCII.
        host = parsed.hostname.encode("idna").decode("ascii")
    except UnicodeError:
        raise ValueError("has no proper host") from None
    parts = tuple(urllib.parse.unquote(part) for part in parsed.path.split("/") if part)
    _check_parts(parts)
    return Prefix(scheme, host.lower().rstrip("."), port, parts)


def _parse_s3(url: str) -> Prefix:
    """The same of ``s3://bucket/key``; a key is what it is, nothing in it is encoded."""
    bucket, _, key = url[5:].partition("/")
    if _BUCKET.fullmatch(bucket) is None:
        raise ValueError("names no proper bucket")
    if "#" in key or "?" in key:
        raise ValueError("holds '#' or '?'")
    parts = tuple(part for part in key.split("/") if part)
    _check_parts(parts)
    return Prefix("s3", bucket, 0, parts)


def _check_parts(parts: tuple[str, ...]) -> None:
    if any(part in (".", "..") or "/" in part or "\\" in part or "\0" in part for part in parts):
        raise ValueError("climbs out of its folder")
