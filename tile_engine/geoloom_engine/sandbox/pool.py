"""The sandbox as the evaluator sees it: call a user's function on a tile, in a process locked down for it.

A sandbox worker belongs to one function of one session, with its arguments, and is never handed to
another. It stays warm for the next tile; one that idles is ended, and so is the one that was not used
longest when another is needed. While there are any, a spare one is kept ready that belongs to nobody:
the first tile of another function, or of other arguments, takes 1 ms longer than the next then, not 13.
"""

from __future__ import annotations

import logging
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import lru_cache

from geoloom.block import Block
from geoloom.errors import EngineOverloaded, FunctionFailed, FunctionRefused
from geoloom.grid import Grid
from geoloom_engine.sandbox.arena import Layout
from geoloom_engine.sandbox.channel import SLICE, Channel, NewZygote
from geoloom_engine.sandbox.limits import Limits
from geoloom_engine.sandbox.messages import Notice
from geoloom_engine.sandbox.remote import End, NoReply, Remote
from geoloom_engine.sandbox.strikes import Strikes, key_of
from geoloom_engine.sandbox.task import Answer, Call, Task
from geoloom_engine.sandbox.verdict import Verdicts
from geoloom_engine.sandbox.warmup import needs_all
from geoloom_engine.unwanted import Unwanted

__all__ = ["Answer", "Call", "Limits", "Pool"]

TRIES = 4
"""Workers that are tried for a tile when one is gone before it began, or their zygote is."""

PATIENCE = 60.0
"""Seconds to wait until a worker is free."""

KEPT = 64 << 20
"""Bytes of input and output of a worker that stays; larger ones end with their tile."""

LOOK = 1.0
"""Seconds between two looks at workers that idle."""

RESTLESS = 0.3
"""Share of them that one may compute, or wait for a processor to, though it has no tile: a function can go on
behind its answer, in a destructor or because it has answered by itself."""

log = logging.getLogger("geoloom_engine")

Owner = tuple[str, bytes, str, str, tuple[str, ...]]
"""Session, source, function, arguments and modules: whose a worker is. Arguments too, since results are kept
for all who have the same chain: what a function does with others must not change them."""


class Pool:
    """The sandbox workers of one engine worker; thread-safe.

    Parameters
    ----------
    channel
        To the zygote; see `Launcher.channel`.
    limits
        What functions may take.
    strikes
        Who is in quarantine.
    """

    def __init__(self, channel: socket.socket, limits: Limits, strikes: Strikes | None = None) -> None:
        self._channel = Channel(channel)
        self._limits = limits
        self._strikes = strikes or Strikes()
        self._verdicts = Verdicts(limits, self._strikes)
        lock = threading.RLock()
        self._changed = threading.Condition(lock)
        # The keeper has a bell of its own: woken at each tile, it takes 0.05 ms of it.
        self._due = threading.Condition(lock)
        self._owners: dict[Remote, Owner] = {}
        self._idle: list[Remote] = []
        """The longest unused first."""
        self._taken = 0
        """Workers that have a tile, or are being made for one."""
        self._retired: deque[Remote] = deque()
        self._spare: Remote | None = None
        self._spare_for: Layout | None = None
        """The tile for which a spare worker is to be made, if one is."""
        self._keeper: threading.Thread | None = None
        self._looked = time.monotonic()
        self._closed = False
        self._counts = {"calls": 0.0, "seconds": 0.0, "spawned": 0.0, "killed": 0.0}
        self.charge: Callable[[str, float], None] = lambda session, seconds: None
        """Called with the session of each call, and the seconds that its worker took."""

    def call(self, call: Call, block: Block, grid: Grid, wanted: Callable[[], bool]) -> Answer:
        """Call a function on a tile; this thread waits.

        Parameters
        ----------
        call
            The function and how to call it.
        block
            (bands, rows, cols) on ``grid.expand(call.margin)``.
        grid
            Where the result is wanted.
        wanted
            Asked again and again while waiting.

        Raises
        ------
        FunctionFailed
            It raised an exception, or gave what cannot be used.
        FunctionStopped
            It took too long, or its process ended.
        FunctionRefused
            It was stopped too often.
        DemandError
            The tile does not fit into the memory for it.
        EngineOverloaded
            The machine was too busy to run it.
        Unwanted
            `wanted` said no.
        """
        key = _key(call.session, call.source, call.function, call.arguments)
        self._strikes.check(key, call.function)
        task = Task.of(call, block, grid)
        self._limits.check(task.layout)

        def still_wanted() -> bool:
            return not self._closed and wanted()

        killed = False
        for _ in range(TRIES):
            try:
                remote = self._lease(call, key, task.layout, still_wanted)
            except NewZygote:
                continue
            start = time.monotonic()
            try:
                answer = remote.run(task, self._limits.seconds, still_wanted)
                self._verdicts.done(key)
                return answer
            except FunctionFailed as error:
                raise self._verdicts.explained(error) from None
            except FunctionRefused:
                raise
            except NoReply as lost:
                notice = self._dropped(remote)
                died = lost.end in (End.DIED, End.UNLOCKED)
                # Its zygote has ended, and it with it, or it ended between two tiles.
                if lost.end is End.GONE or (died and notice is None):
                    continue
                # Killed from outside, as where memory runs out: whose doing that was shows the second time.
                if died and not killed and notice is not None and notice.status == -signal.SIGKILL:
                    killed = True
                    continue
                raise self._verdicts.stopped(call, key, lost, notice) from None
            except BaseException:
                # Whoever was asked whether the tile is wanted; the worker may still compute it.
                self._dropped(remote)
                raise
            finally:
                seconds = time.monotonic() - start
                self.charge(call.session, seconds)
                self._given_back(remote, key, seconds)
        raise EngineOverloaded("The workers of the engine's sandbox do not stay.", hint="Try again.")

    def state(self) -> dict[str, float]:
        """For the metrics: calls, their seconds; workers spawned, killed, live; functions quarantined."""
        with self._changed:
            live = len(self._idle) + self._taken + (self._spare is not None)
            return {**self._counts, "live": live, "quarantined": self._strikes.quarantined}

    def close(self) -> None:
        """End all workers. Calls that wait end with `Unwanted`."""
        with self._changed:
            self._closed = True
            keeper = self._keeper
            self._due.notify_all()
            self._changed.notify_all()
        if keeper is not None:
            keeper.join()

    def _lease(self, call: Call, key: str, layout: Layout, wanted: Callable[[], bool]) -> Remote:
        """A worker for a tile, an idle one or a new one; counted as taken."""

        def ask() -> None:
            if not wanted():
                raise Unwanted

        owner = call.session, call.source, call.function, call.arguments, call.modules
        deadline = time.monotonic() + PATIENCE
        while True:
            ask()
            with self._changed:
                remote = self._idle_of(owner, layout)
                if remote is not None or self._has_room():
                    self._taken += 1
                    break
                self._changed.wait(SLICE)
            if time.monotonic() > deadline:
                raise EngineOverloaded("All workers for functions are busy.", hint="Try again.")
        if remote is not None:
            return remote
        try:
            self._strikes.check(key, call.function, shared=True)
            whole = needs_all(call.modules)
            remote = self._take_spare(layout, whole) or self._made(layout, whole, ask)
        except BaseException:
            with self._changed:
                self._taken -= 1
                self._changed.notify_all()
            raise
        with self._changed:
            self._owners[remote] = owner
            self._spare_for = layout if self._limits.spare else None
            self._due.notify_all()
        return remote

    def _made(self, layout: Layout, whole: bool, ask: Callable[[], None]) -> Remote:
        remote = Remote(self._channel, self._limits.memory, layout, ask, whole)
        with self._changed:
            self._counts["spawned"] += 1
        return remote

    def _take_spare(self, layout: Layout, whole: bool) -> Remote | None:
        """The spare worker; one that is too small for the tile, or lacks modules, is ended."""
        with self._changed:
            spare, self._spare = self._spare, None
            if spare is not None and (whole > spare.whole or not spare.fits(layout)):
                self._retire(spare)
                return None
        return spare

    def _make_spare(self, layout: Layout) -> None:
        """Make a spare worker, of what is loaded by now; if that fails, the next function finds none."""

        def ask() -> None:
            if self._closed:
                raise Unwanted

        spare = None
        try:
            spare = self._made(layout, False, ask)
            spare.rehearse(lambda: not self._closed)
        except Exception as error:  # noqa: BLE001 - functions run without it, and the keeper has more to do
            log.debug("no spare process for functions: %r", error)
            if spare is not None:
                spare.bury()
            return
        with self._changed:
            self._spare = spare

    def _idle_of(self, owner: Owner, layout: Layout) -> Remote | None:
        """Take the owner's worker that was used last; those too small for the tile are ended."""
        for remote in [one for one in self._idle if self._owners[one] == owner][::-1]:
            self._idle.remove(remote)
            if remote.fits(layout):
                return remote
            self._retire(remote)
        return None

    def _has_room(self) -> bool:
        """Whether there may be another worker; if need be, the longest unused one makes room."""
        if len(self._idle) + self._taken < self._limits.workers:
            return True
        if not self._idle:
            return False
        self._retire(self._idle.pop(0))
        return True

    def _retire(self, remote: Remote) -> None:
        """Kill a worker that no tile uses; the keeper buries it."""
        remote.kill()
        self._owners.pop(remote, None)
        self._retired.append(remote)
        self._due.notify_all()
        self._changed.notify_all()

    def _dropped(self, remote: Remote) -> Notice | None:
        """End a worker that gave no reply; how it ended, if that is known."""
        with self._changed:
            del self._owners[remote]
            self._counts["killed"] += 1
        return remote.bury()

    def _given_back(self, remote: Remote, key: str, seconds: float) -> None:
        with self._changed:
            remote.key = key
            self._counts["calls"] += 1
            self._counts["seconds"] += seconds
            self._taken -= 1
            if remote in self._owners:
                remote.used = time.monotonic()
                if remote.inside + remote.outside > KEPT:
                    self._retire(remote)
                else:
                    self._idle.append(remote)
                if self._keeper is None and not self._closed:
                    self._keeper = threading.Thread(target=self._keep, name="sandbox", daemon=True)
                    self._keeper.start()
            if self._closed:
                self._due.notify_all()
            self._changed.notify_all()

    def _keep(self) -> None:
        """End workers that idle too long or not at all, and bury what was ended, until the pool is closed."""
        while True:
            ended, restless, wanted = None, [], None
            with self._changed:
                while self._idle and (self._closed or self._left(self._idle[0]) <= 0):
                    self._retire(self._idle.pop(0))
                if self._spare is not None and (self._closed or not self._owners):
                    self._retire(self._spare)
                    self._spare = None
                if self._retired:
                    ended = self._retired.popleft()
                elif self._closed and not self._taken:
                    return
                elif self._spare_for and self._spare is None and self._owners and not self._closed:
                    wanted, self._spare_for = self._spare_for, None
                else:
                    soon = min(LOOK, self._left(self._idle[0])) if self._idle else LOOK
                    self._due.wait(soon if self._owners else None)
                    restless = self._restless()
            if ended is not None:
                ended.bury()
            if wanted is not None:
                self._make_spare(wanted)
            for key in restless:
                self._strikes.add(key, 1.0, "it went on computing when its tile was done.")

    def _restless(self) -> list[str]:
        """End workers that compute without a tile, but for what comes just behind an answer; their keys."""
        now = time.monotonic()
        past = now - self._looked
        if past < LOOK:
            return []
        found = [
            remote
            for remote in self._idle
            if remote.awake() > RESTLESS * past and remote.used < self._looked - LOOK
        ]
        for remote in found:
            self._idle.remove(remote)
            self._retire(remote)
        self._looked = now
        return [remote.key for remote in found]

    def _left(self, remote: Remote) -> float:
        """Seconds until an idle worker is ended."""
        return remote.used + self._limits.idle - time.monotonic()


_key = lru_cache(maxsize=256)(key_of)
