"""The collections that the engine knows: one by its id, all as a tree to TAB through, some by words."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from geoloom.catalog_entry import Entry, identifier, table
from geoloom.errors import GeoloomError, NotFound, ParameterError
from geoloom.image import connected
from geoloom.lazy_collection import Collection
from geoloom.query import Query
from geoloom.spelling import folded

__all__ = ["Catalogue", "Collections", "Found", "collection", "collections", "entries"]

FRESH_SECONDS = 30.0
"""For how long what the engine told of its collections is used again."""

TAB_SECONDS = 1.0
"""How long TAB waits for the engine; what comes later is there at the next TAB."""

NO_ANSWER = "The engine has not answered yet: gl.engine() says how it is."


@dataclass(frozen=True, slots=True)
class Listing:
    """What the engine told: all collections, and what was wrong with catalogues."""

    client: object
    entries: tuple[Entry, ...]
    problems: tuple[str, ...]
    asked: float


_listing: Listing | None = None
_asking = threading.Lock()


def listing(afresh: bool = False) -> Listing:
    """All collections; asked again after `FRESH_SECONDS`, or at once if `afresh`."""
    global _listing
    client = connected()
    with _asking:
        kept = _listing
        fresh = kept is not None and time.monotonic() - kept.asked < FRESH_SECONDS
        if kept is None or kept.client is not client or afresh or not fresh:
            told = client.ask("/collections")
            found = tuple(Entry.from_json(one) for one in told["collections"])
            kept = Listing(client, found, tuple(map(str, told.get("problems") or ())), time.monotonic())
            _listing = kept
        return kept


def entries() -> tuple[Entry, ...]:
    """What the engine told of each collection, at most half a minute ago."""
    return listing().entries


def collection(id: str) -> Collection:
    """The collection of an id, all of it: filters narrow it.

    Parameters
    ----------
    id
        As the catalogue has it, ``"sentinel-2-l2a"``; with the catalogue's name, ``"local/sentinel-2-l2a"``,
        where several have it.

    Raises
    ------
    NotFound
        No catalogue has it; says which ids are near.
    """
    if not isinstance(id, str) or not id:
        raise ParameterError("A collection is named by its id.", hint='gl.collection("sentinel-2-l2a")')
    for afresh in (False, True):
        told = listing(afresh)
        fitting = [one for one in told.entries if id in (one.name, one.id)]
        exact = [one for one in fitting if one.name == id]
        if len(exact or fitting) == 1:
            return of((exact or fitting)[0])
        if fitting:
            names = " or ".join(repr(one.name) for one in fitting)
            raise ParameterError(f"Several catalogues have a collection {id!r}.", hint=f"Say which: {names}.")
    raise _unknown(id, told)


def of(entry: Entry) -> Collection:
    """The collection of an entry, all of it."""
    return Collection(Query(entry.name), entry=entry)


class Found(Sequence[Collection]):
    """Collections that were found, the best first; shown as a table."""

    def __init__(self, found: Sequence[Entry], caption: str) -> None:
        self._entries = tuple(found)
        self._caption = caption

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, which: Any) -> Any:
        chosen = self._entries[which]
        return Found(chosen, self._caption) if isinstance(chosen, tuple) else of(chosen)

    def __repr__(self) -> str:
        lines = [f"{one.name}: {one.title or one.description[:60]}".rstrip(": ") for one in self._entries]
        return "\n".join(lines) or f"{self._caption}: nothing found"

    def _repr_html_(self) -> str:
        return table(self._entries, self._caption if self._entries else f"{self._caption}: nothing found")


class Branch:
    """Base of what TAB goes through: names after the dot, or in brackets."""

    def _children(self, told: Listing) -> Mapping[str, Any]:
        """What is below, by a name that is an identifier."""
        raise NotImplementedError

    def _named(self, told: Listing) -> Mapping[str, Any]:
        """What is below, by ids."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        told = listing()
        found = self._children(told).get(name)
        if found is None:
            near = get_close_matches(name, self._children(told), n=3, cutoff=0.5)
            hint = f"Did you mean {' or '.join(near)}?" if near else _places(told)
            raise AttributeError(f"There is no {name!r} here. {hint}")
        return found

    def __getitem__(self, name: str) -> Any:
        told = listing()
        found = {**self._children(told), **self._named(told)}.get(name)
        if found is None:
            raise _unknown(name, told)
        return found

    def __dir__(self) -> list[str]:
        told = _soon()
        return [*object.__dir__(self), *(self._children(told) if told else ())]

    def _ipython_key_completions_(self) -> list[str]:
        told = _soon()
        return list(self._named(told)) if told else []

    def __iter__(self) -> Iterator[str]:
        return iter(self._named(listing()))

    def __len__(self) -> int:
        return len(self._named(listing()))


class Catalogue(Branch):
    """The collections of one catalogue."""

    def __init__(self, name: str) -> None:
        self._name = name

    def _entries(self, told: Listing) -> tuple[Entry, ...]:
        return tuple(one for one in told.entries if one.catalog == self._name)

    def _children(self, told: Listing) -> Mapping[str, Collection]:
        return _by_identifier({one.id: of(one) for one in self._entries(told)})

    def _named(self, told: Listing) -> Mapping[str, Collection]:
        return {one.id: of(one) for one in self._entries(told)}

    def __repr__(self) -> str:
        return f"<Catalogue {self._name}; TAB shows its collections>"

    def _repr_html_(self) -> str:
        told = _soon()
        return table(self._entries(told) if told else (), f"Catalogue {self._name}")


class Collections(Branch):
    """All collections, as a tree: ``gl.collections.<TAB>``."""

    def search(self, words: str) -> Found:
        """Collections by words in their id, title, keywords, bands and description, the best first.

        Parameters
        ----------
        words
            As ``"ocean temperature"``. Collections with more of the words come first; case and accents do
            not matter, begun and misspelt words count less.
        """
        wanted = folded(words).split() if isinstance(words, str) else []
        if not wanted:
            raise ParameterError("search takes words.", hint='gl.collections.search("ocean temperature")')
        scored = [(one.score(wanted), one) for one in entries()]
        found = sorted((pair for pair in scored if pair[0] > 0), key=lambda pair: (-pair[0], pair[1].name))
        return Found([one for _, one in found], f"Collections for “{words}”")

    __call__ = search

    def _catalogues(self, told: Listing) -> list[str]:
        return list(dict.fromkeys(one.catalog for one in told.entries if one.catalog))

    def _children(self, told: Listing) -> Mapping[str, Any]:
        found: dict[str, Any] = {name: Catalogue(name) for name in self._catalogues(told)}
        return _by_identifier(found | {one.id: of(one) for one in told.entries if not one.catalog})

    def _named(self, told: Listing) -> Mapping[str, Any]:
        return {name: Catalogue(name) for name in self._catalogues(told)} | {
            one.name: of(one) for one in told.entries
        }

    def __repr__(self) -> str:
        return (
            "<Collections; TAB shows the catalogues, .search('words') finds, gl.collection('id') takes one>"
        )

    def _repr_html_(self) -> str:
        told = _soon()
        return table(told.entries if told else (), "Collections", told.problems if told else (NO_ANSWER,))


collections = Collections()
"""All collections that the engine knows, as a tree to TAB through."""


def _complete_in_ipython() -> None:
    """Let TAB go on below ``gl.collections.local``: IPython evaluates `__getattr__` of known types alone."""
    guard = sys.modules.get("IPython.core.guarded_eval")
    policy = getattr(guard, "EVALUATION_POLICIES", {}).get("limited")
    known = getattr(policy, "allowed_getattr", None)
    if isinstance(known, set):
        known |= {Catalogue, Collections}


_complete_in_ipython()


def _soon() -> Listing | None:
    """The collections as far as they are known within `TAB_SECONDS`; failures are not told here."""
    done: list[Listing] = []

    def ask() -> None:
        try:
            done.append(listing())
        except (GeoloomError, OSError, KeyError, TypeError, ValueError):
            return

    asking = threading.Thread(target=ask, name="geoloom-collections", daemon=True)
    asking.start()
    asking.join(TAB_SECONDS)
    return done[0] if done else _listing


def _by_identifier(named: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text, one in named.items():
        name = identifier(text)
        name = f"{name}_" if hasattr(Collections, name) else name
        number = 2
        unique = name
        while unique in found:
            unique, number = f"{name}_{number}", number + 1
        found[unique] = one
    return found


def _unknown(id: str, told: Listing) -> NotFound:
    names = [name for one in told.entries for name in (one.id, one.name)]
    near = get_close_matches(id, names, n=3, cutoff=0.5)
    wanted = folded(id).split()
    near += [one.name for one in told.entries if wanted and one.score(wanted) >= 100 * len(wanted)][:3]
    hint = f"Did you mean {' or '.join(map(repr, dict.fromkeys(near)))}?" if near else _places(told)
    return NotFound(f"There is no collection {id!r}.", hint=" ".join([hint, *told.problems[:2]]))


def _places(told: Listing) -> str:
    if not told.entries:
        return "The engine knows no collection: geoloom ingest FOLDER --collection ID makes one."
    shown = ", ".join(one.name for one in told.entries[:8])
    return f"There are {shown}{' …' if len(told.entries) > 8 else ''}."
