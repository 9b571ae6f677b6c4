"""Data versions: what the sources of a chain hold now, as one short hash."""

from __future__ import annotations

from collections.abc import Iterable

from geoloom.chain import Chain, canonical, key_of
from geoloom.errors import GeoloomError, SourceChanged
from geoloom.op import class_of, decode
from geoloom.ops.execute import Execute
from geoloom.ops.open import Open
from geoloom_engine.memo import Memo
from geoloom_engine.painting import Given, painter_of
from geoloom_engine.readers import SourcePool

REMEMBERED = 4096
"""Data versions remembered by the fingerprints they come from."""

type Marks = Iterable[tuple[str, str]]
"""Sources and their fingerprints."""


class Versions:
    """Data versions of chains. Thread-safe.

    Items of collections are not looked at: a selection says what each of them held when it was made, and one
    that has changed since is refused when it is read.

    Parameters
    ----------
    pool
        Knows the fingerprints of files.
    epoch
        Part of every data version.
    functions
        Version of what users' functions run in.
    given
        What painters may use to find theirs.
    """

    def __init__(self, pool: SourcePool, epoch: str, functions: str, given: Given) -> None:
        self._pool = pool
        self._epoch = epoch
        self.functions = ("", functions)
        self._given = given
        self._versions: Memo[str] = Memo(REMEMBERED)

    def of(self, chain: Chain) -> str:
        """Hash over the fingerprints of the chain's sources, the epoch, and what users' functions run in.

        Raises
        ------
        SourceError
            If a source is gone, refused or, when pinned, changed.
        """
        return self.hashed(self.marks(chain))

    def marks(self, chain: Chain) -> list[tuple[str, str]]:
        """The sources of a chain and their fingerprints; raises SourceError."""
        found = []
        for node in chain.nodes.values():
            if node.op == Open.name:
                href = str(node.params["href"])
                found.append((href, self._fingerprint(href, node.params.get("fingerprint"), node.key)))
            elif node.op == Execute.name:
                found.append(self.functions)
            elif class_of(node).painted:
                op = decode(node)
                try:
                    found.append((node.key, painter_of(op).fingerprint(op, self._given)))
                except GeoloomError as error:
                    error.node, error.op = node.key, node.op
                    raise
        return found

    def hashed(self, marks: Marks) -> str:
        """The data version of some sources, by name and fingerprint."""
        key = tuple(sorted(set(marks)))
        return self._versions.get(key, lambda: key_of(canonical([self._epoch, list(map(list, key))]))[:16])

    def _fingerprint(self, href: str, pinned: str | None, key: str) -> str:
        try:
            found = self._pool.fingerprint(href)
        except GeoloomError as error:
            error.node, error.op = key, Open.name
            raise
        if pinned is not None and pinned != found:
            raise SourceChanged(
                f"{href} has changed since the image was pinned.",
                hint="Open it again, and pin it if the new content is what you want.",
                node=key,
                op=Open.name,
            )
        return found
