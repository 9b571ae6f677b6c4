"""Which servers answer nobody just now, so that not every read waits for them in its turn.

A mosaic of five hundred files at a server that has died would wait ten seconds for each.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

_FILES = 3
"""Files in a row that a server has to leave without an answer: one or two may be bad themselves."""

_SERVERS = 1024


class Silence:
    """Servers and the files they did not give since they last gave one; safe to use from many threads.

    Parameters
    ----------
    seconds
        How long after a failure a silent server is left alone.
    """

    def __init__(self, seconds: float = 5.0) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._failed: OrderedDict[str, tuple[set[str], float]] = OrderedDict()

    def __contains__(self, server: str) -> bool:
        with self._lock:
            files, last = self._failed.get(server, (set(), 0.0))
            return len(files) >= _FILES and time.monotonic() - last < self._seconds

    def failed(self, server: str, file: str) -> None:
        """It gave no answer, or not all of it."""
        with self._lock:
            files, _ = self._failed.pop(server, (set(), 0.0))
            if len(files) < _FILES:
                files.add(file)
            self._failed[server] = (files, time.monotonic())
            if len(self._failed) > _SERVERS:
                self._failed.popitem(last=False)

    def answered(self, server: str) -> None:
        """It gave an answer, be it that there is no such file."""
        with self._lock:
            self._failed.pop(server, None)
