"""The queue in front of a process's compute threads.

Whose turn it is says `fairness`, who computes says `lanes`. Waiting is bounded in number and in time;
what nobody waits for any more is dropped, also while it runs: a task asks `wanted` between its steps.
Equal requests share one computation.

One computation at a time is what a process can do well, and Python cannot interrupt one. So while
a long one runs, a second thread answers what is known to be quick, and the long one pauses for it
whenever it asks whether it is wanted: beside one of 0.6 s, a quick tile takes 15 ms (20 without the
pause, 585 without the thread). Results come back to the event loop in one wake-up for all that are ready.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from geoloom.errors import DemandError, EngineOverloaded
from geoloom.grid import Tile
from geoloom_engine.fairness import OUTSIDE, Turn, Turns
from geoloom_engine.lanes import Job, Lanes, Wanted
from geoloom_engine.sessions import owner_of

log = logging.getLogger(__name__)

TICK = 0.02
"""Seconds between two looks at what waits too long or runs too long."""


class WorkQueue:
    """Runs jobs, one at a time; used from the event loop it was made in.

    Parameters
    ----------
    length
        Jobs that may wait.
    patience
        Seconds a job may wait before it is refused.
    budget
        Seconds a job may run. Python cannot stop a running computation: its waiters are answered,
        another thread goes on, and it ends when it next asks whether it is wanted.
    on_stuck
        Called when too many of those run on at once, and so no further thread goes on: only the
        end of the process stops them.
    outside, each
        Jobs that may be under way at once, in all and of a session, of those that other processes compute
        for the greater part: see `fairness.Turns`.
    spent
        Called from any thread with a session, and the seconds of processor time that a job of it took.
    whose
        Tells whose turn it is when a session asks.
    """

    def __init__(
        self,
        length: int,
        patience: float,
        budget: float,
        on_stuck: Callable[[], None] = lambda: None,
        outside: int = OUTSIDE,
        each: int = 1,
        spent: Callable[[str, float], None] = lambda session, seconds: None,
        whose: Callable[[str], str] = owner_of,
    ) -> None:
        self._length = length
        self._on_stuck = on_stuck
        self._whose = whose
        self._patience = patience
        self._budget = budget
        self._loop = asyncio.get_running_loop()
        self._turns = Turns(outside, each)
        self._jobs: dict[object, Job] = {}
        self._lanes = Lanes(self._turns, self._forget, self._done, spent)
        self._lock = self._lanes.lock
        self._finished: deque[tuple[Job, Any, Exception | None]] = deque()
        self._told = False
        self._ticking = False

    @property
    def waiting(self) -> int:
        """Jobs not yet begun."""
        return len(self._turns)

    @property
    def load(self) -> float:
        """Seconds that all that is not yet done is expected to take."""
        return len(self._jobs) * self._turns.typical

    async def run[T](
        self,
        name: object,
        session: str,
        task: Callable[[Wanted], T],
        layer: str = "",
        tile: Tile | None = None,
        outside: str = "",
    ) -> T:
        """The task's result; a task of the same name that is under way is shared.

        Parameters
        ----------
        name
            What it computes.
        session, layer, tile
            For whom and what, and where: see `fairness.Turn`.
        task
            Is handed a `Wanted` that says whether the result is still wanted.
        outside
            What it mostly waits for, see `fairness.Turn`: while the task does so, by `Wanted.aside`, other
            tasks compute.

        Raises
        ------
        EngineOverloaded
            It did not get its turn in time, or newer requests took its place, or the queue is closed.
        DemandError
            It ran longer than its budget.
        """
        waiter: asyncio.Future[T] = self._loop.create_future()
        with self._lock:
            if self._lanes.closed:
                raise _stopping()
            job = self._jobs.get(name)
            if job is not None:
                if job.started is None:
                    self._turns.ask_again(job)
                job.waiters.append(waiter)
            else:
                if len(self._turns) >= self._length:
                    self._refuse(
                        self._turns.least_wanted(),
                        _busy(f"more than {self._length} requests wait"),
                    )
                job = Job(
                    name=name,
                    session=session,
                    owner=self._whose(session),
                    task=task,
                    layer=layer,
                    tile=tile,
                    outside=outside,
                )
                job.waiters.append(waiter)
                self._jobs[name] = job
                self._turns.add(job)
                self._lanes.offer(job)
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(TICK, self._tick)
        try:
            return await waiter
        except asyncio.CancelledError:
            self._leave(job, waiter)
            raise

    def close(self) -> None:
        """Refuse what waits, here or for another process; end the threads after what they compute."""
        with self._lock:
            for job in [job for job in self._jobs.values() if job.started is None]:
                self._refuse(job, _stopping())
            for job in [job for job in self._lanes.begun if job.lane is None]:
                self._give_up(job, _stopping())
            self._lanes.close()

    def _leave(self, job: Job, waiter: asyncio.Future[Any]) -> None:
        with self._lock:
            if waiter in job.waiters:
                job.waiters.remove(waiter)
            if not job.waiters and job.started is None and self._turns.remove(job):
                self._forget(job)

    def _refuse(self, job: Turn, error: EngineOverloaded) -> None:
        """Answer those who wait for a job that has not begun; the lock is held."""
        assert isinstance(job, Job)
        if self._turns.remove(job):
            self._forget(job)
            _answer(job, None, error)

    def _forget(self, job: Job) -> None:
        if self._jobs.get(job.name) is job:
            del self._jobs[job.name]

    def _give_up(self, job: Job, error: Exception) -> None:
        """Answer those who wait for a job that has begun: it learns that nobody does any more."""
        self._forget(job)
        _answer(job, None, error)
        job.waiters.clear()

    def _tick(self) -> None:
        """Refuse what has waited too long, leave what runs too long, begin what may begin by now."""
        now = time.monotonic()
        with self._lock:
            for job in [job for job in self._jobs.values() if self._late(job, now)]:
                self._refuse(job, _busy(f"no turn within {self._patience:g} s"))
            for job in [job for job in self._lanes.begun if self._overdue(job, now)]:
                self._abandon(job)
            self._lanes.look()
            self._ticking = bool(self._jobs or self._lanes.begun) and not self._loop.is_closed()
        if self._ticking:
            self._loop.call_later(TICK, self._tick)

    def _late(self, job: Job, now: float) -> bool:
        return job.started is None and job.queued + self._patience < now

    def _overdue(self, job: Job, now: float) -> bool:
        return not job.overdue and job.started is not None and job.started + self._budget < now

    def _abandon(self, job: Job) -> None:
        self._give_up(
            job,
            DemandError(
                f"The computation took longer than {self._budget:g} s.",
                hint="Zoom in, or use fewer or smaller neighbourhoods.",
            ),
        )
        if self._lanes.abandon(job):
            log.error("a computation exceeded %g s; another thread goes on", self._budget)
        else:
            log.error("too many computations exceeded %g s and run on", self._budget)
            self._on_stuck()

    def _done(self, job: Job, result: Any, error: Exception | None) -> None:
        self._finished.append((job, result, error))
        if not self._told:
            self._told = True
            try:
                self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:
                log.debug("the event loop has ended before a computation")

    def _deliver(self) -> None:
        self._told = False
        while self._finished:
            job, result, error = self._finished.popleft()
            with self._lock:
                self._forget(job)
            _answer(job, result, error)


def _busy(why: str) -> EngineOverloaded:
    return EngineOverloaded(f"The engine is busy: {why}.", hint="It is asked again when the engine has room.")


def _stopping() -> EngineOverloaded:
    return EngineOverloaded("The engine is stopping.", hint="Ask again.")


def _answer(job: Job, result: Any, error: Exception | None) -> None:
    for waiter in job.waiters:
        if waiter.done():
            continue
        if error is not None:
            waiter.set_exception(error)
        else:
            waiter.set_result(result)
