"""What one process may take, and how its caches keep to it.

What the caches may keep is what the process may take less all else that it takes, as it is now: the
interpreter, compiled code, GDAL's own cache, plans and prepared chains, work in progress, memory the
allocator has not given back. Nothing of that needs to be known beforehand: it is the difference of
what the system says the process takes and what the caches count.

The allocator is left as it is. Of 400 MB it held 20 to 30 MB that nobody used, as much with two arenas
as with its own number; giving every large array pages of its own cost 8 % more processor time a tile.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import time

from geoloom_engine.cache import Budget
from geoloom_engine.machine import Machine, resident
from geoloom_engine.settings import Settings

log = logging.getLogger(__name__)

WORKING_SHARE = 0.125
"""Of what the process may take: left free by the caches, for work that comes and goes."""

LEAST_SHARE = 0.04
"""Of what the process may take: what the caches may keep however much all else takes."""

MOST_EVALUATION = 1 << 30
"""Bytes that one evaluation may hold, however much memory there is."""

SPARE_SHARE = 0.05
"""Of a container's memory: with less left the caches give some back, before the kernel ends a process."""

CHECK_SECONDS = 1.0

TRIM_SECONDS = 10.0
"""Between two times that the allocator is told to give freed memory back, which takes it 2 ms."""


class Memory:
    """The memory of this process; safe to use from many threads.

    Parameters
    ----------
    limit
        Bytes the process may take in all (RSS). More than that is taken for moments only.
    machine
        Tells when the container is full.
    """

    def __init__(self, limit: int, machine: Machine) -> None:
        self.limit = limit
        self.budget = Budget(0)
        self._machine = machine
        self._reserve = int(limit * WORKING_SHARE)
        self._least = int(limit * LEAST_SHARE)
        self._lock = threading.Lock()
        self._warned = False
        self._trimmed = float("-inf")
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None
        self.check()

    @classmethod
    def of(cls, settings: Settings) -> Memory:
        """As the settings say, or a share of what is there."""
        machine = Machine.here()
        return cls(settings.memory or machine.per_worker(max(settings.workers, 1)), machine)

    @property
    def evaluation(self) -> int:
        """Bytes that one evaluation may hold.

        The same at all times, so that a view refused once is refused again.
        """
        return min(self.limit // 2, MOST_EVALUATION)

    def make_room(self, nbytes: int) -> None:
        """Have the caches let go of what stands in the way of work that will take so much.

        Costs nothing unless that is more than what is always left free for work.
        """
        if nbytes <= self._reserve:
            return
        with self._lock:
            taken = resident()
            if taken is not None and taken + nbytes > self.limit:
                self._shrink(taken + nbytes - self.limit)

    def check(self) -> None:
        """Let the caches have what nothing else takes; called once a second or so."""
        with self._lock:
            taken = resident()
            if taken is None:
                self.budget.resize(self.limit // 2)
                return
            if taken > self.limit - self._reserve and time.monotonic() - self._trimmed > TRIM_SECONDS:
                self._give_back()
                taken = resident() or taken
            room, over = self.limit - self._reserve - taken, taken - self.limit
            free = self._machine.free()
            if free is not None:
                spare = int(self._machine.memory * SPARE_SHARE)
                room, over = min(room, free - spare), max(over, spare - free)
            if over > 0:
                self._shrink(over)
            else:
                self.budget.resize(max(self.budget.bytes + max(room, 0), self._least))

    def watch(self) -> None:
        """Check from now on in a thread of its own, which nothing else can hold up."""
        self._watcher = threading.Thread(target=self._watch, name="memory", daemon=True)
        self._watcher.start()

    def close(self) -> None:
        """End the watching."""
        self._stop.set()
        if self._watcher is not None:
            self._watcher.join()

    def _watch(self) -> None:
        while not self._stop.wait(CHECK_SECONDS):
            self.check()

    def _shrink(self, excess: int) -> None:
        """Let go of so many bytes, as far as the caches have them."""
        kept = self.budget.bytes
        self.budget.resize(max(kept - excess, self._least))
        self._give_back()
        if kept <= self._least and not self._warned:
            self._warned = True
            log.warning(
                "The process takes %d MB more than GEOLOOM_MEMORY allows, with its caches all but empty.",
                excess >> 20,
            )

    def _give_back(self) -> None:
        self._trimmed = time.monotonic()
        give_back()


def give_back() -> None:
    """Have the allocator return freed memory to the system; only glibc keeps much of it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
