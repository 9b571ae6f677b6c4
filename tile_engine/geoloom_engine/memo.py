"""Small things that are computed once and remembered."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable


class Memo[T]:
    """Computed things by key, the longest unused forgotten first; safe to use from many threads.

    Parameters
    ----------
    max_weight
        What the weights of all kept things may add up to.
    weigh
        Weight of a thing; by default each weighs 1.
    """

    def __init__(self, max_weight: int, weigh: Callable[[T], int] = lambda _: 1) -> None:
        self._max_weight = max_weight
        self._weigh = weigh
        self._lock = threading.Lock()
        self._known: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._weight = 0

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The thing under `key`, made now if it is not known; two threads may make it twice."""
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
                return known[0]
        made = make()
        weight = self._weigh(made)
        with self._lock:
            if key not in self._known:
                self._known[key] = (made, weight)
                self._weight += weight
            while self._weight > self._max_weight:
                _, (_, gone) = self._known.popitem(last=False)
                self._weight -= gone
        return made

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._known.clear()
            self._weight = 0
