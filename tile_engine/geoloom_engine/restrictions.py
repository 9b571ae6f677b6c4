"""Places that only some people may read, and collections that only some may find.

A restriction holds for all that lies below a folder or an address. It is told by a href's text alone, so
that what a chain reads is known without looking at any file; `Access` takes care that no other text leads
there.
"""

from __future__ import annotations

import os
import posixpath
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass, replace

from geoloom.address import Address
from geoloom_engine.addresses import PORTS, Prefix, parse_url

COLLECTION = "collection:"

USER = "{user}"
"""Stands for the name of each user, at the end of a folder and in its group."""


@dataclass(frozen=True, slots=True)
class Restriction:
    """A place or collection for some people only.

    Parameters
    ----------
    place
        As the operator wrote it: a folder, a file, an address, or ``collection:ID``; in ``/home/{user}``
        one user's folder.
    groups
        Groups of the hub, ``user:NAME``, ``service:NAME``.
    """

    place: str
    groups: frozenset[str]


class Restrictions:
    """All restrictions of an engine.

    Parameters
    ----------
    entries
        ``PLACE=GROUP+GROUP`` of each.

    Raises
    ------
    ValueError
        An entry is not of that form.
    """

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self._folders: list[tuple[str, Restriction]] = []
        self._homes: list[str] = []
        self._prefixes: list[tuple[Prefix, Restriction]] = []
        self._collections: list[tuple[str, Restriction]] = []
        for entry in entries:
            place, equals, who = (part.strip() for part in entry.rpartition("="))
            groups = frozenset(name.strip() for name in who.split("+") if name.strip())
            if not equals or not place or not groups:
                raise ValueError(f"{entry!r} is not PLACE=GROUP or PLACE=GROUP+GROUP")
            one = Restriction(place, groups)
            if place.startswith(COLLECTION):
                self._collections.append((place.removeprefix(COLLECTION), one))
            elif place.endswith(f"/{USER}") and groups == {f"user:{USER}"}:
                base = place.removesuffix(USER)
                for folder in {posixpath.normpath(base), os.path.realpath(base)}:
                    self._homes.append(folder.rstrip("/") + "/")
            elif USER in entry:
                raise ValueError(f"{entry!r} is not FOLDER/{USER}=user:{USER}")
            elif place.startswith("/"):
                # Both the name that it was given and the one that links in it lead to.
                for folder in {posixpath.normpath(place), os.path.realpath(place)}:
                    self._folders.append((folder, one))
            else:
                try:
                    prefix = parse_url(place)
                except ValueError as error:
                    raise ValueError(
                        f"{place!r} is neither an absolute folder nor an address ({error}), "
                        f"nor {COLLECTION}ID"
                    ) from None
                self._prefixes += [(alike, one) for alike in _alike(prefix)]

    def __bool__(self) -> bool:
        return bool(self._folders or self._homes or self._prefixes or self._collections)

    def of(self, href: str) -> frozenset[Restriction]:
        """Those that hold for a path or URL, as people write it."""
        if not self:
            return frozenset()
        if href.lower().startswith("file:"):
            href = urllib.parse.unquote(urllib.parse.urlsplit(href).path)
        if href.startswith("/"):
            # What follows '#' may be the part of a file that is wanted, or belong to its name.
            return self._of_path(href) | self._of_path(Address.parse(href).href)
        try:
            url = parse_url(href.partition("#")[0])
        except ValueError:
            return frozenset()  # such an address is not read at all
        return frozenset(one for prefix, one in self._prefixes if prefix.covers(url))

    def _of_path(self, path: str) -> frozenset[Restriction]:
        # Two slashes at the start are one to every system that reads here.
        path = posixpath.normpath("/" + path.lstrip("/"))
        found = {
            one
            for folder, one in self._folders
            if path == folder or path.startswith(folder.rstrip("/") + "/")
        }
        for base in self._homes:
            name = path.removeprefix(base).partition("/")[0]
            if path.startswith(base) and name:
                found.add(Restriction(base + name, frozenset({f"user:{name}"})))
        return frozenset(found)

    def of_collection(self, name: str) -> frozenset[Restriction]:
        """Those that hold for a collection, by ``CATALOGUE/ID``."""
        id_ = name.partition("/")[2]
        return frozenset(one for wanted, one in self._collections if wanted in (name, id_))

    def trespass(self, text: str, real: str) -> bool:
        """Whether what a text leads to is restricted where the text itself is not."""
        return not self.of(real) <= self.of(text)


def _alike(prefix: Prefix) -> list[Prefix]:
    """An address with and without TLS: most servers answer to both."""
    if prefix.scheme not in PORTS or prefix.port != PORTS[prefix.scheme]:
        return [prefix]
    return [replace(prefix, scheme=scheme, port=port) for scheme, port in PORTS.items()]
