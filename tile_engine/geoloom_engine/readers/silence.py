"""Which servers answer nobody just now, so that not every read waits for them in its turn.

A mosaic of five hundred files at a server that has died would wait ten seconds for each.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field

_FILES = 4
"""Files that a server has to leave without an answer, and none with one: a few may be bad themselves."""

_SERVERS = 1024


@dataclass(slots=True)
class _Server:
    """When it answered last, and failed last; the files it has not given since it answered."""

    answered: float = float("-inf")
    failed: float = float("-inf")
    files: set[str] = field(default_factory=set)


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
        self._servers: OrderedDict[str, _Server] = OrderedDict()

    def __contains__(self, name: str) -> bool:
        with self._lock:
            server = self._servers.get(name)
            return (
                server is not None
                and len(server.files) >= _FILES
                and time.monotonic() - server.failed < self._seconds
            )

    def failed(self, name: str, file: str, begun: float) -> None:
        """It gave no answer, or not all of it, to a read that began then (by `time.monotonic`)."""
        with self._lock:
            server = self._known(name)
            # It has answered others meanwhile, so it is the file.
            if begun < server.answered:
                return
            server.failed = time.monotonic()
            if len(server.files) < _FILES:
                server.files.add(file)

    def answered(self, name: str) -> None:
        """It gave an answer, be it that there is no such file."""
        with self._lock:
            server = self._known(name)
            server.answered = time.monotonic()
            server.files.clear()

    def _known(self, name: str) -> _Server:
        """What is known of a server; the lock is held."""
        server = self._servers.setdefault(name, _Server())
        self._servers.move_to_end(name)
        if len(self._servers) > _SERVERS:
            self._servers.popitem(last=False)
        return server
