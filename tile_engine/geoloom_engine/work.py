"""The queue in front of a process's one compute thread.

Whose turn it is says `fairness`. Waiting is bounded in number and in time; what nobody waits for any
more is dropped, also while it runs: a task asks `wanted` between its steps. Equal requests share
one computation.

One computation at a time is what a process can do well, and Python cannot interrupt one. So while
a long one runs, a second thread answers what is known to be quick, and the long one pauses for it
whenever it asks whether it is wanted: beside one of 0.6 s, a quick tile takes 15 ms (20 without the
pause, 585 without the thread). The event loop and the threads meet at one lock; a thread that has
nothing to do is woken by another lock, and results come back in one wake-up for all that are ready: a
job costs three quarters of the processor time that a Condition and a timer for each waiter take.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from geoloom.errors import DemandError, EngineOverloaded
from geoloom.grid import Tile
from geoloom_engine.fairness import Turn, Turns

log = logging.getLogger(__name__)

MOST_RUNAWAYS = 2
"""Computations beyond their budget that may still run while the queue goes on."""

LONG = 0.02
"""Seconds after which a running computation may be overtaken."""

PAUSE = 0.25
"""Seconds a computation pauses at most for one that overtakes it: that may need what it holds."""

TICK = 0.02
"""Seconds between two looks at what waits too long or runs too long."""

Wanted = Callable[[], bool]
"""Tells a running task whether anybody still waits for its result."""


@dataclass(slots=True, eq=False, kw_only=True)
class Job(Turn):
    """One computation and those who wait for it."""

    name: object
    task: Callable[[Wanted], Any]
    waiters: list[asyncio.Future[Any]] = field(default_factory=list)
    started: float | None = None
    paused: float = 0.0


class _Lane:
    """A compute thread and what it does just now."""

    def __init__(self, express: bool) -> None:
        self.express = express
        self.job: Job | None = None
        self.idle = False
        self.retired = False
        self.bell = threading.Lock()
        self.bell.acquire()
        self.thread: threading.Thread | None = None

    def ring(self) -> None:
        """Wake the thread, if it waits for work; the queue's lock is held."""
        if self.idle:
            self.idle = False
            self.bell.release()


class WorkQueue:
    """Runs jobs in one thread; used from the event loop it was made in.

    Parameters
    ----------
    length
        Jobs that may wait.
    patience
        Seconds a job may wait before it is refused.
    budget
        Seconds a job may run. Python cannot stop a running computation: its waiters are answered,
        a new thread takes over, and the old one ends when its job does.
    on_stuck
        Called when too many of those run on at once, and so no further thread takes over: only the
        end of the process stops them.
    """

    def __init__(
        self,
        length: int,
        patience: float,
        budget: float,
        on_stuck: Callable[[], None] = lambda: None,
    ) -> None:
        self._length = length
        self._on_stuck = on_stuck
        self._patience = patience
        self._budget = budget
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._turns = Turns()
        self._jobs: dict[object, Job] = {}
        self._lanes = {False: _Lane(express=False), True: _Lane(express=True)}
        self._overtaking = threading.Lock()
        self._finished: deque[tuple[Job, Any, Exception | None]] = deque()
        self._told = False
        self._runaways: list[threading.Thread] = []
        self._ticking = False
        self._closed = False

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
    ) -> T:
        """The task's result; a task of the same name that is under way is shared.

        Parameters
        ----------
        name
            What it computes.
        session, layer, tile
            For whom and what, and where: see `fairness.Turn`.
        task
            Is handed a function that says whether the result is still wanted.

        Raises
        ------
        EngineOverloaded
            It did not get its turn in time, or newer requests took its place.
        DemandError
            It ran longer than its budget.
        """
        waiter: asyncio.Future[T] = self._loop.create_future()
        with self._lock:
            job = self._jobs.get(name)
            if job is not None:
                if job.started is None:
                    self._turns.ask_again(job)
                job.waiters.append(waiter)
            else:
                if len(self._turns) >= self._length:
                    self._refuse(
                        self._turns.least_wanted(),
                        f"The engine is busy: more than {self._length} requests wait.",
                    )
                job = Job(name=name, session=session, task=task, layer=layer, tile=tile)
                job.waiters.append(waiter)
                self._jobs[name] = job
                self._turns.add(job)
                self._wake(job)
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(TICK, self._tick)
        try:
            return await waiter
        except asyncio.CancelledError:
            self._leave(job, waiter)
            raise

    def close(self) -> None:
        """Refuse what waits and end the threads after their current jobs."""
        with self._lock:
            self._closed = True
            for job in [job for job in self._jobs.values() if job.started is None]:
                self._refuse(job, "The engine is stopping.")
            for lane in self._lanes.values():
                lane.ring()

    def _wake(self, job: Job) -> None:
        """Have a job begun by whoever may; the lock is held."""
        ordinary = self._lanes[False]
        if ordinary.thread is None:
            self._start(ordinary)
        elif ordinary.idle:
            ordinary.ring()
        elif self._turns.quick(job) and self._long(ordinary.job):
            self._overtake()

    def _long(self, job: Job | None) -> bool:
        if job is None or job.started is None:
            return False
        cost = self._turns.cost(job.layer) or 0.0
        return max(cost, time.monotonic() - job.started) > LONG

    def _overtake(self) -> None:
        express = self._lanes[True]
        if express.thread is None:
            self._start(express)
        express.ring()

    def _start(self, lane: _Lane) -> None:
        lane.thread = threading.Thread(target=self._compute, args=(lane,), name="compute", daemon=True)
        lane.thread.start()

    def _leave(self, job: Job, waiter: asyncio.Future[Any]) -> None:
        with self._lock:
            if waiter in job.waiters:
                job.waiters.remove(waiter)
            if not job.waiters and job.started is None and self._turns.remove(job):
                self._forget(job)

    def _refuse(self, job: Turn, message: str) -> None:
        """Answer those who wait for a job that has not begun; the lock is held."""
        assert isinstance(job, Job)
        if self._turns.remove(job):
            self._forget(job)
            hint = "It is asked again when the engine has room."
            _answer(job, None, EngineOverloaded(message, hint=hint))

    def _forget(self, job: Job) -> None:
        if self._jobs.get(job.name) is job:
            del self._jobs[job.name]

    def _tick(self) -> None:
        """Refuse what has waited too long, leave what runs too long, let quick jobs overtake."""
        now = time.monotonic()
        with self._lock:
            late = [job for job in self._jobs.values() if self._late(job, now)]
            for job in late:
                self._refuse(job, f"The engine is busy: no turn within {self._patience:g} s.")
            if len(self._turns) and self._long(self._lanes[False].job):
                self._overtake()
            for lane in list(self._lanes.values()):
                running = lane.job
                if running is not None and now > (running.started or now) + self._budget:
                    self._abandon(lane, running)
            self._ticking = bool(self._jobs) and not self._loop.is_closed()
        if self._ticking:
            self._loop.call_later(TICK, self._tick)

    def _late(self, job: Job, now: float) -> bool:
        return job.started is None and job.queued + self._patience < now

    def _abandon(self, lane: _Lane, job: Job) -> None:
        self._forget(job)
        _answer(
            job,
            None,
            DemandError(
                f"The computation took longer than {self._budget:g} s.",
                hint="Zoom in, or use fewer or smaller neighbourhoods.",
            ),
        )
        lane.retired, lane.job = True, None
        self._runaways = [thread for thread in self._runaways if thread.is_alive()]
        if lane.thread is not None:
            self._runaways.append(lane.thread)
        if len(self._runaways) > MOST_RUNAWAYS:
            log.error("%d computations exceeded %g s and run on", len(self._runaways), self._budget)
            self._on_stuck()
        else:
            log.error("a computation exceeded %g s; a new compute thread takes over", self._budget)
            fresh = self._lanes[lane.express] = _Lane(lane.express)
            self._start(fresh)

    def _compute(self, lane: _Lane) -> None:
        while not (self._closed or lane.retired):
            job = self._begin(lane)
            if job is None:
                lane.bell.acquire()
                continue
            if lane.express:
                with self._overtaking:
                    self._carry_out(lane, job)
            else:
                self._carry_out(lane, job)
            del job

    def _begin(self, lane: _Lane) -> Job | None:
        with self._lock:
            job = None if self._closed else self._turns.next(quick=lane.express)
            lane.idle = job is None and not self._closed
            if job is None:
                return None
            assert isinstance(job, Job)
            lane.job = job
            job.started = time.monotonic()
            return job

    def _carry_out(self, lane: _Lane, job: Job) -> None:
        begun = time.monotonic()
        result, error = None, None
        try:
            result = job.task(lambda: self._wanted(lane, job))
        except Exception as failure:  # noqa: BLE001 - handed to those who wait
            error = failure
        seconds = time.monotonic() - begun - job.paused
        with self._lock:
            self._turns.charge(job, seconds)
            if not lane.retired:
                lane.job = None
        self._finished.append((job, result, error))
        if not self._told and not self._loop.is_closed():
            self._told = True
            self._loop.call_soon_threadsafe(self._deliver)

    def _wanted(self, lane: _Lane, job: Job) -> bool:
        if not job.waiters:
            with self._lock:
                if not job.waiters:
                    # Who asks from now on starts it anew.
                    self._forget(job)
                    return False
        if not lane.express and self._overtaking.locked():
            begun = time.monotonic()
            if self._overtaking.acquire(timeout=PAUSE):
                self._overtaking.release()
            job.paused += time.monotonic() - begun
        return True

    def _deliver(self) -> None:
        self._told = False
        while self._finished:
            job, result, error = self._finished.popleft()
            with self._lock:
                self._forget(job)
            _answer(job, result, error)


def _answer(job: Job, result: Any, error: Exception | None) -> None:
    for waiter in job.waiters:
        if waiter.done():
            continue
        if error is not None:
            waiter.set_exception(error)
        else:
            waiter.set_result(result)
