"""Blobs that chains name, and the selections among them, as one process keeps them."""

from __future__ import annotations

from collections.abc import Callable

from geoloom.selection import Selection
from geoloom_engine.memo import Memo

BLOB_BYTES = 32 << 20
"""Blobs in memory, at most."""

SELECTION_BYTES = 32 << 20
"""Texts of the selections that are kept parsed, with their index: some eight times that in memory."""


class Blobs:
    """Content by its key, from memory or the store; safe to use from many threads.

    Parameters
    ----------
    load
        Gets what is not in memory; raises NotFound.
    """

    def __init__(self, load: Callable[[str], bytes]) -> None:
        self._load = load
        self._known: Memo[bytes] = Memo(BLOB_BYTES, len)
        self._selections: Memo[tuple[Selection, int]] = Memo(SELECTION_BYTES, lambda one: one[1])

    def keep(self, key: str, content: bytes) -> None:
        """Remember content, so that it need not be loaded."""
        self._known.get(key, lambda: content)

    def get(self, key: str) -> bytes:
        """The content of a key; raises NotFound."""
        return self._known.get(key, lambda: self._load(key))

    def selection(self, key: str) -> Selection:
        """The selection of a key, parsed once.

        Raises
        ------
        NotFound
            Nothing is stored under it.
        CorruptChain
            It is no selection.
        """

        def parsed() -> tuple[Selection, int]:
            content = self.get(key)
            return Selection.from_bytes(content), len(content)

        return self._selections.get(key, parsed)[0]
