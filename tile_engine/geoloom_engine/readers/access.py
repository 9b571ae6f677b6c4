"""What the engine may read: folders and URL prefixes it was given, and nothing else.

A href is what a person writes: an absolute path, a ``file://`` URL, an ``http(s)://`` URL, or
``s3://bucket/key``. It is resolved to the one place that is read. GDAL's own prefixes (``/vsizip/``,
``GTIFF_DIR:``, XML text) never pass, since they would open other files than the one checked.
"""

from __future__ import annotations

import ipaddress
import os
import posixpath
import re
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from geoloom.errors import SourceNotFound, SourceRefused
from geoloom_engine.addresses import PORTS, Prefix, parse_url
from geoloom_engine.restrictions import Restrictions

_OPEN_ENTRIES = ("http://", "https://", "s3://")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_ALLOW_HINT = "Ask whoever runs the engine to add its folder or URL to GEOLOOM_SOURCES."
_FORM_HINT = "Give an absolute path, or an http(s):// or s3:// address, of a GeoTIFF."


@dataclass(frozen=True, slots=True)
class Place:
    """A source that may be read.

    Parameters
    ----------
    href
        As the person wrote it.
    path
        Resolved local path, or the URL without any credential.
    remote
        Whether `path` is a URL (``http://``, ``https://`` or ``s3://``).
    """

    href: str
    path: str
    remote: bool

    @property
    def name(self) -> str:
        """Last part of the name, for messages."""
        return short_name(self.href)


class Access:
    """The allow-list.

    Parameters
    ----------
    allowed
        Absolute folders (or single files), ``http(s)://`` and ``s3://bucket`` prefixes. A prefix covers
        whole path segments: ``http://a/b`` covers ``http://a/b/c.tif``, not ``http://a/bad.tif``.
        ``http://``, ``https://`` or ``s3://`` alone covers every address of that scheme.
    restrictions
        Places within for some people only. Who may read a chain is decided by the hrefs in it, so no link
        and no redirect leads into such a place from a href that does not lie there.

    Raises
    ------
    ValueError
        If an entry is neither.
    """

    def __init__(self, allowed: tuple[str, ...], restrictions: Restrictions | None = None) -> None:
        self._restrictions = restrictions or Restrictions()
        roots: list[str] = []
        prefixes: list[Prefix] = []
        self._open_schemes = {entry[:-3] for entry in allowed if entry in _OPEN_ENTRIES}
        for entry in allowed:
            if entry in _OPEN_ENTRIES:
                continue
            if entry.startswith(_OPEN_ENTRIES):
                prefixes.append(parse_url(entry))
            elif Path(entry).is_absolute() and not entry.startswith("/vsi"):
                roots.append(os.path.realpath(entry))
            else:
                raise ValueError(f"{entry!r} is neither an absolute folder nor an http(s):// or s3:// prefix")
        self._roots = tuple(roots)
        self._prefixes = tuple(prefixes)

    def resolve(self, href: str) -> Place:
        """The place a href means; local files must exist.

        Raises
        ------
        SourceRefused
            If it lies outside the allowed places or is not a plain path or address.
        SourceNotFound
            If it lies inside an allowed folder, but is not there or not a file.
        """
        _check_form(href)
        if href.lower().startswith(_OPEN_ENTRIES):
            return self._resolve_url(href)
        return self._resolve_path(href)

    def allows_url(self, url: str, origin: str) -> bool:
        """Whether a URL, to which an address led, lies below an allowed prefix."""
        try:
            return self._covers(parse_url(url)) and not self._restrictions.trespass(origin, url)
        except ValueError:
            return False

    def allows_address(self, host: str, address: str) -> bool:
        """Whether a host may be read at the network address that its name has just now.

        A name can come to stand for another address at any time, also for one inside the engine's own
        network. So what only ``http://`` or ``https://`` alone allows is read at public addresses, and a
        host that is named is not read at link-local ones, where clouds keep their machines' passwords.
        An engine that may read the folder ``/`` is somebody's own, who reaches all that anyway.
        """
        ip = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        host = host.lower().rstrip(".")
        if any(host == prefix.host for prefix in self._prefixes if prefix.scheme in PORTS):
            return not ip.is_link_local or host == str(ip)
        return (ip.is_global and not ip.is_multicast) or "/" in self._roots

    def allows_path(self, path: str) -> bool:
        """Whether a path, with its symbolic links resolved, lies below an allowed folder."""
        return self._allows_real(path, os.path.realpath(path))

    def allows_open_file(self, path: str, number: int) -> bool:
        """Whether the file that is open under a number lies below an allowed folder.

        Where the system does not tell, its path is resolved once more.
        """
        try:
            real = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            return self.allows_path(path)
        return self._allows_real(path, real)

    def _allows_real(self, path: str, real: str) -> bool:
        below = any(Path(real).is_relative_to(root) for root in self._roots)
        return below and not self._restrictions.trespass(path, real)

    def _resolve_url(self, href: str) -> Place:
        try:
            url = parse_url(href)
        except ValueError as error:
            raise SourceRefused(f"{short_name(href)}: the address {error}.", hint=_FORM_HINT) from None
        if not self._covers(url):
            at = f"in the bucket {url.host}" if url.scheme == "s3" else f"at {url.host}"
            raise SourceRefused(
                f"{short_name(href)} lies {at}, outside the addresses this engine may read.",
                hint=_ALLOW_HINT,
            )
        return Place(href, url.scheme + href[len(url.scheme) :], remote=True)

    def _resolve_path(self, href: str) -> Place:
        path = href
        if href.lower().startswith("file:"):
            parsed = urllib.parse.urlsplit(href)
            if parsed.netloc not in ("", "localhost"):
                raise SourceRefused(
                    f"{short_name(href)}: a file:// address names no other machine.", hint=_FORM_HINT
                )
            path = urllib.parse.unquote(parsed.path)
            _check_form(path)
        if not Path(path).is_absolute():
            raise SourceRefused(f"{short_name(href)} is not an absolute path.", hint=_FORM_HINT)
        # Outside the roots the answer is the same whether the file exists or not.
        if not self.allows_path(path):
            raise SourceRefused(
                f"{short_name(href)} lies outside the folders this engine may read.", hint=_ALLOW_HINT
            )
        real = os.path.realpath(path)
        # Unlike Path's, these are false of a name that is too long.
        if not os.path.isfile(real):
            what = "is a folder, not a file" if os.path.isdir(real) else "is not there"
            raise SourceNotFound(f"{short_name(href)} {what}.", hint="Check the path and its spelling.")
        return Place(href, real, remote=False)

    def _covers(self, url: Prefix) -> bool:
        return url.scheme in self._open_schemes or any(prefix.covers(url) for prefix in self._prefixes)


def short_name(href: str) -> str:
    """The last part of a href, without query and control characters, for messages."""
    name = href
    if _SCHEME.match(name):
        name = name.split("?", 1)[0].split("#", 1)[0]
    name = posixpath.basename(name.rstrip("/")) or name
    name = "".join(c if c.isprintable() else "?" for c in name)
    return name if len(name) <= 80 else name[:77] + "…"


def _check_form(href: str) -> None:
    """Refuse what is no plain path or address before anything looks at it."""
    reason = None
    if not href.strip():
        raise SourceRefused("The name of the file is empty.", hint=_FORM_HINT)
    if len(href) > 4096:
        reason = "is longer than 4096 characters"
    elif any(ord(c) < 32 or ord(c) == 127 for c in href):
        reason = "holds control characters"
    elif href.lstrip().startswith("<"):
        raise SourceRefused("XML text is not the name of a file.", hint=_FORM_HINT)
    elif re.match(r"/+vsi", href, re.IGNORECASE):
        reason = "is a /vsi… path, which would reach past the allowed folders"
    elif ".." in re.split(r"[/\\]", href):
        reason = "contains '..'"
    else:
        scheme = _SCHEME.match(href)
        known = (*_OPEN_ENTRIES, "file:///", "file://localhost/")
        if scheme and not href.lower().startswith(known):
            reason = f"begins with {scheme.group()!r}, which this engine does not read"
    if reason:
        raise SourceRefused(f"{short_name(href)} {reason}.", hint=_FORM_HINT)
