"""Looking at sources again and again: what is new is taken in, once it is left alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

from geoloom.errors import GeoloomError
from geoloom_engine.ingest.options import Options
from geoloom_engine.ingest.progress import Progress
from geoloom_engine.ingest.rounds import Choice, Result, Round
from geoloom_engine.ingest.scratch import Candidate, Scratch

FIRST_PAUSE = 5.0
"""Seconds after which a round that failed is tried again; twice as long each time, up to the usual pause."""

_LONGEST = 86_400.0
_REMEMBERED = 100_000


@dataclass(slots=True)
class _Trouble:
    """A file that could not be used."""

    state: tuple[int | None, int | None]
    tries: int
    again: float


class Patience(Choice):
    """Leaves files that are still being written, and those that failed and did not change, for a while.

    Parameters
    ----------
    settle
        Seconds for which a file must have been left alone, by its own time of change or from one round to
        the next.
    every
        Seconds between rounds.
    clock
        Seconds since 1970.
    """

    def __init__(self, settle: float, every: float, clock: Callable[[], float] = time.time) -> None:
        self._settle = settle
        self._every = every
        self._clock = clock
        self._young: dict[str, tuple[int | None, int | None]] = {}
        self._next: dict[str, tuple[int | None, int | None]] = {}
        self._trouble: dict[str, _Trouble] = {}
        self._state: dict[str, tuple[int | None, int | None]] = {}

    def begin(self) -> None:
        """A round begins."""
        self._young, self._next = self._next, {}
        self._state.clear()

    @property
    def waiting(self) -> bool:
        """Whether something was left for the next round because it is too young."""
        return bool(self._next)

    def waits(self, one: Candidate) -> bool:
        """Whether a file may still be written."""
        if one.changed is None:
            return False
        age = self._clock() - one.changed / 1e9
        state = (one.size, one.changed)
        # A clock that differs from the file system's says nothing; that nothing changed in a while does.
        if age >= self._settle or self._young.get(one.href) == state:
            return False
        self._next[one.href] = state
        return True

    def leaves(self, one: Candidate) -> bool:
        """Whether a file failed before, and it is too early to try it again."""
        state = (one.size, one.changed)
        trouble = self._trouble.get(one.href)
        if trouble is None or trouble.state != state:
            if len(self._state) < _REMEMBERED:
                self._state[one.href] = state
            return False
        return self._clock() < trouble.again

    def failed(self, href: str, reason: str) -> bool:
        """Remember a file that failed; whether that is news."""
        old = self._trouble.get(href)
        state = self._state.get(href, old.state if old else (None, None))
        tries = old.tries + 1 if old is not None and old.state == state else 0
        if len(self._trouble) < _REMEMBERED or href in self._trouble:
            pause = min(self._every * 2**tries, _LONGEST)
            self._trouble[href] = _Trouble(state, tries, self._clock() + pause)
        return tries == 0


def watch(options: Options, progress: Progress, stop: Event, scratch: Scratch) -> int:
    """Go on until stopped; the exit status."""
    patience = Patience(options.settle, options.every)
    failures = 0
    progress.say(
        f"Watching {', '.join(options.sources)} for {options.collection}, every {options.every:g} seconds. "
        "End it with Ctrl-C."
    )
    while not stop.is_set():
        patience.begin()
        try:
            result = Round(options, progress, stop, scratch, patience).run()
            failed = bool(result.sources_failed)
            _say(result, progress)
        except (OSError, GeoloomError) as error:
            progress.problem(options.collection, str(error))
            failed = True
        failures = failures + 1 if failed else 0
        pause = options.every
        if failed:
            pause = min(pause, FIRST_PAUSE * 2 ** (failures - 1))
        elif patience.waiting:
            pause = min(pause, max(options.settle, 1.0))
        stop.wait(pause)
    progress.say("Stopped.")
    return 0


def _say(result: Result, progress: Progress) -> None:
    """What a round did, if it did anything."""
    if result.used or result.dropped:
        dropped = f", {result.dropped:,} items dropped" if result.dropped else ""
        progress.say(
            f"{time.strftime('%Y-%m-%d %H:%M:%S')}: {result.used:,} files taken in as {result.items:,} items"
            f"{dropped}; {result.total:,} items in all."
        )
