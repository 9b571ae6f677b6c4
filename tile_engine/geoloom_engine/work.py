"""The queue in front of a process's one compute thread.

The session that has computed least goes first, so that light maps do not wait for heavy ones; and
within a session the newest request: somebody who pans a map wants what is in view now, not what has
left it. Waiting is bounded in number and in time; a request
nobody waits for any more is dropped. Equal requests share one computation.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from geoloom.errors import DemandError, EngineOverloaded

log = logging.getLogger(__name__)

MOST_RUNAWAYS = 2
"""Computations beyond their budget that may still run while the queue goes on."""

GRAIN = 0.05
"""Seconds that a computation counts at least: sessions with quick ones take turns."""

REMEMBERED = 1000
"""Sessions whose share is known while they ask for nothing."""


@dataclass(slots=True, eq=False)
class Job:
    """One computation and those who wait for it."""

    name: object
    session: str
    task: Callable[[], Any]
    done: asyncio.Future[Any]
    queued: float = field(default_factory=time.monotonic)
    started: float | None = None
    waiting: int = 0


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
        self._ready = threading.Condition()
        self._sessions: OrderedDict[str, list[Job]] = OrderedDict()
        self._spent: OrderedDict[str, float] = OrderedDict()
        self._floor = 0.0
        self._runaways: list[threading.Thread] = []
        self._jobs: dict[object, Job] = {}
        self._waiting = 0
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """Jobs not yet begun."""
        return self._waiting

    async def run[T](self, name: object, session: str, task: Callable[[], T]) -> T:
        """The task's result; a task of the same name that is under way is shared.

        Raises
        ------
        EngineOverloaded
            It did not get its turn in time, or newer requests took its place.
        DemandError
            It ran longer than its budget.
        """
        job = self._jobs.get(name)
        if job is None or job.done.done():
            job = self._add(name, session, task)
        job.waiting += 1
        try:
            result: T = await self._outcome(job)
            return result
        finally:
            job.waiting -= 1
            if not job.waiting and not job.done.done():
                self._drop(job)

    def close(self) -> None:
        """Refuse what waits and end the thread after its current job."""
        with self._ready:
            self._closed = True
            jobs = [job for queue in self._sessions.values() for job in queue]
            self._ready.notify_all()
        for job in jobs:
            self._refuse(job, "The engine is stopping.")

    async def _outcome(self, job: Job) -> Any:
        while not job.done.done():
            now = time.monotonic()
            if job.started is None:
                left = job.queued + self._patience - now
                if left <= 0:
                    self._refuse(job, f"The engine is busy: no turn within {self._patience:g} s.")
            else:
                left = job.started + self._budget - now
                if left <= 0:
                    self._abandon(job)
            # Nothing tells this loop that the job began, so it looks again in time.
            await asyncio.wait([job.done], timeout=max(0.0, min(left, self._budget)))
        return job.done.result()

    def _add(self, name: object, session: str, task: Callable[[], Any]) -> Job:
        if self._waiting >= self._length:
            with self._ready:
                longest = max(self._sessions.values(), key=len)
                oldest = longest[0]
            self._refuse(oldest, f"The engine is busy: more than {self._length} requests wait.")
        job = Job(name, session, task, self._loop.create_future())
        # Without waiters nobody retrieves a failure; that is no defect worth a log line.
        job.done.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._jobs[name] = job
        with self._ready:
            if session not in self._sessions:
                # Nobody saves up turns by asking for nothing.
                self._charge(session, 0.0, self._floor)
            self._sessions.setdefault(session, []).append(job)
            self._waiting += 1
            self._ready.notify()
        if self._thread is None:
            self._start()
        return job

    def _refuse(self, job: Job, message: str) -> None:
        if self._drop(job) and not job.done.done():
            job.done.set_exception(
                EngineOverloaded(message, hint="It is asked again when the engine has room.")
            )

    def _drop(self, job: Job) -> bool:
        """Take a job out of the queue; False if it is running already."""
        with self._ready:
            queue = self._sessions.get(job.session, [])
            if job not in queue:
                return False
            queue.remove(job)
            self._waiting -= 1
            if not queue:
                del self._sessions[job.session]
        self._forget(job)
        return True

    def _forget(self, job: Job) -> None:
        if self._jobs.get(job.name) is job:
            del self._jobs[job.name]

    def _abandon(self, job: Job) -> None:
        if job.done.done():
            return
        self._forget(job)
        job.done.set_exception(
            DemandError(
                f"The computation took longer than {self._budget:g} s.",
                hint="Zoom in, or use fewer or smaller neighbourhoods.",
            )
        )
        self._runaways = [thread for thread in self._runaways if thread.is_alive()]
        if self._thread is not None:
            self._runaways.append(self._thread)
        if len(self._runaways) > MOST_RUNAWAYS:
            log.error("%d computations exceeded %g s and run on", len(self._runaways), self._budget)
            self._on_stuck()
        else:
            log.error("a computation exceeded %g s; a new compute thread takes over", self._budget)
            self._start()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._compute, name="compute", daemon=True)
        self._thread.start()

    def _compute(self) -> None:
        me = threading.current_thread()
        while (job := self._next(me)) is not None:
            begun = time.monotonic()
            try:
                result, error = job.task(), None
            except Exception as failure:  # noqa: BLE001 - handed to those who wait
                result, error = None, failure
            self._charge(job.session, max(time.monotonic() - begun, GRAIN))
            if self._loop.is_closed():
                return
            self._loop.call_soon_threadsafe(self._finish, job, result, error)
            del job, result, error

    def _next(self, me: threading.Thread) -> Job | None:
        with self._ready:
            while True:
                if self._closed or self._thread is not me:
                    return None
                if self._sessions:
                    session = min(self._sessions, key=lambda one: self._spent.get(one, 0.0))
                    self._floor = max(self._floor, self._spent.get(session, 0.0))
                    queue = self._sessions.pop(session)
                    job = queue.pop()
                    if queue:
                        self._sessions[session] = queue
                    self._waiting -= 1
                    job.started = time.monotonic()
                    return job
                self._ready.wait()

    def _charge(self, session: str, seconds: float, least: float = 0.0) -> None:
        """Add to what a session has computed, which is at least as much as given."""
        with self._ready:
            self._spent[session] = max(self._spent.pop(session, 0.0), least) + seconds
            while len(self._spent) > REMEMBERED:
                self._spent.popitem(last=False)

    def _finish(self, job: Job, result: Any, error: Exception | None) -> None:
        self._forget(job)
        if job.done.done():
            return
        if error is not None:
            job.done.set_exception(error)
        else:
            job.done.set_result(result)
