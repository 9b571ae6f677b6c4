"""The newest of many wishes is carried out, once they rest: for sliders and markers that are dragged."""

from __future__ import annotations

import threading
from collections.abc import Callable

QUIET_SECONDS = 0.15
"""How long wishes must rest before one is carried out."""


class Newest:
    """Does something in a thread of its own, so that whoever wishes it never waits.

    Many wishes in quick succession are one, and what is wished while it is done is done afterwards, once.
    The thread ends when nothing is wished any more.

    Parameters
    ----------
    act
        What to do. It looks itself at what is wanted now, and raises nothing.
    name
        Of the thread.
    """

    def __init__(self, act: Callable[[], None], name: str) -> None:
        self._act = act
        self._name = name
        self._changed = threading.Condition()
        self._wanted = 0
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """Whether a wish is waiting or being carried out."""
        return self._thread is not None

    def ask(self) -> None:
        """Wish it; returns at once."""
        with self._changed:
            self._wanted += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._follow, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify()

    def _follow(self) -> None:
        done = -1
        while True:
            with self._changed:
                if done == self._wanted:
                    self._thread = None
                    return
                while True:
                    seen = self._wanted
                    self._changed.wait(QUIET_SECONDS)
                    if seen == self._wanted:
                        break
                done = seen
            try:
                self._act()
            except BaseException:
                with self._changed:
                    self._thread = None
                raise
