"""Who may read what: restricted places and collections, asked for of each chain and each caller.

What a chain reads follows from its hrefs and its selections, so its restrictions are found out once and
hold for tiles that are kept as for those that are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from geoloom.chain import Chain
from geoloom.selection import Selection
from geoloom_engine.callers import Caller, Forbidden
from geoloom_engine.memo import Memo
from geoloom_engine.restrictions import Restriction, Restrictions

type Limits = frozenset[Restriction]

REMEMBERED = 1024
"""Selections whose restrictions are remembered."""

NONE: Limits = frozenset()


class Rights:
    """What is restricted, and to whom. Thread-safe.

    Parameters
    ----------
    restrictions
        Of this engine.
    selection
        Gets a selection by its key.
    """

    def __init__(self, restrictions: Restrictions, selection: Callable[[str], Selection]) -> None:
        self._restrictions = restrictions
        self._selection = selection
        self._known: Memo[Limits] = Memo(REMEMBERED)

    @property
    def any(self) -> bool:
        """Whether anything is restricted at all."""
        return bool(self._restrictions)

    def of_chain(self, chain: Chain) -> Limits:
        """The restrictions of all that a chain reads; raises NotFound, CorruptChain for its selections."""
        if not self.any:
            return NONE
        found = NONE
        for node in chain.nodes.values():
            href, selection = node.params.get("href"), node.params.get("selection")
            if href is not None:
                found |= self.of_href(str(href))
            if selection is not None:
                found |= self.of_selection(str(selection))
        return found

    def of_selection(self, key: str) -> Limits:
        """The restrictions of a selection's collection and of all files of its items."""

        def found() -> Limits:
            selection = self._selection(key)
            limits = self.of_collection(selection.collection)
            return limits.union(*map(self.of_href, selection.hrefs()))

        return self._known.get(key, found)

    def of_href(self, href: str) -> Limits:
        """The restrictions of a file."""
        return self._restrictions.of(href)

    def of_collection(self, name: str) -> Limits:
        """The restrictions of a collection, by ``CATALOGUE/ID``."""
        return self._restrictions.of_collection(name)

    def require(self, caller: Caller, limits: Limits) -> None:
        """Refuse a caller whom a restriction leaves out; raises Forbidden."""
        for one in sorted(limits, key=lambda limit: limit.place):
            if caller.kind != "secret" and not one.groups & caller.groups:
                raise Forbidden(
                    f"{one.place} is only for {_listed(one.groups)}.",
                    hint=f"You are {caller.label}; ask whoever runs the hub to add you.",
                )

    def may(self, caller: Caller, limits: Limits) -> bool:
        """Whether `require` lets a caller pass."""
        return caller.kind == "secret" or all(one.groups & caller.groups for one in limits)


def _listed(groups: Iterable[str]) -> str:
    """Such as "the group alps and the user anna"."""
    names = []
    for group in sorted(groups):
        kind, colon, name = group.partition(":")
        names.append(f"the {kind} {name}" if colon and kind in ("user", "service") else f"the group {group}")
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
