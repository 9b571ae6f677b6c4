"""The threads that compute in a process, and which of them does so just now.

Python computes in one thread at a time, so more of them only get in each other's way. Who computes
holds a **lane**. There is an ordinary one, and beside it the express lane: it is open while the ordinary one
holds a long computation, which pauses for the quick one whenever it asks whether it is wanted.

A job that waits for another process lets go of its lane and steps **aside**. A spare thread goes on in the
lane meanwhile. Who comes back is next in it, before all that has not begun: its memory is held.

A thread that has nothing to do is woken by a lock of its own, and only if there is a job for it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from geoloom_engine.fairness import Turn, Turns
from geoloom_engine.unwanted import Unwanted

MOST_RUNAWAYS = 2
"""Computations beyond their budget that may still run while others go on."""

LONG = 0.02
"""Seconds after which a running computation may be overtaken."""

PAUSE = 0.25
"""Seconds a computation pauses at most for one that overtakes it: that may need what it holds."""


@dataclass(slots=True, eq=False)
class _Lane:
    """A right to compute: the job that has it, and since when (monotonic seconds)."""

    express: bool
    job: Job | None = None
    since: float = 0.0


class _Hand:
    """A thread, the job it is given, and the bell that wakes it."""

    __slots__ = ("bell", "job")

    def __init__(self, job: Job) -> None:
        self.job: Job | None = job
        self.bell = threading.Lock()
        self.bell.acquire()


@dataclass(slots=True, eq=False, kw_only=True)
class Job(Turn):
    """One computation and those who wait for it.

    Parameters
    ----------
    name
        What it computes.
    task
        Computes it.
    """

    name: object
    task: Callable[[Wanted], Any]
    waiters: list[asyncio.Future[Any]] = field(default_factory=list)
    started: float | None = None
    paused: float = 0.0
    overdue: bool = False
    lane: _Lane | None = None
    hand: _Hand | None = None


class Wanted:
    """What a running task is handed: tells whether anybody still waits for its result."""

    __slots__ = ("_job", "_lanes")

    def __init__(self, lanes: Lanes, job: Job) -> None:
        self._lanes = lanes
        self._job = job

    def __call__(self) -> bool:
        """Whether to go on; a long computation pauses here for a quick one."""
        return self._lanes.wanted(self._job)

    def aside[T](self, wait: Callable[[], T]) -> T:
        """What `wait` gives, which waits for another process; others compute meanwhile.

        It is run in this thread, and returns (or raises) here when it is this job's turn to compute
        again. `wait` may ask whether the result is wanted. For a job that did not say that it would
        be computed outside, nobody else computes meanwhile: too many might be under way at once.

        Raises
        ------
        Unwanted
            Nobody waits for the job any more, before or after.
        """
        if not self._lanes.step_aside(self._job):
            return wait()
        try:
            return wait()
        finally:
            self._lanes.come_back(self._job)


class Lanes:
    """Has jobs carried out, in their turns.

    Parameters
    ----------
    turns
        What waits.
    forget
        Called with a job that nobody waits for any more, while `lock` is held.
    done
        Called from its thread with each job that has ended, and its result or error.
    spent
        Called from its thread with a session, and the seconds of processor time that a job of it took.
    """

    def __init__(
        self,
        turns: Turns,
        forget: Callable[[Job], None],
        done: Callable[[Job, Any, Exception | None], None],
        spent: Callable[[str, float], None] = lambda session, seconds: None,
    ) -> None:
        self.lock = threading.Lock()
        """Guards turns, lanes and what the queue knows of jobs."""
        self.begun: set[Job] = set()
        """Jobs that have begun and not ended."""
        self.closed = False
        self._turns = turns
        self._forget = forget
        self._done = done
        self._spent = spent
        self._ordinary = _Lane(express=False)
        self._express = _Lane(express=True)
        # Locked while the express lane is taken.
        self._overtaking = threading.Lock()
        self._returning: deque[Job] = deque()
        self._spare: list[_Hand] = []
        self._runaways: set[Job] = set()

    def offer(self, job: Job) -> None:
        """A job waits that did not before: begin what may begin; the lock is held."""
        lane = self._open_to(job)
        if lane is not None:
            self._fill(lane)

    def look(self) -> None:
        """Begin what may begin by now; the lock is held."""
        if self._returning or len(self._turns):
            for lane in (self._ordinary, self._express):
                if lane.job is None:
                    self._fill(lane)

    def abandon(self, job: Job) -> bool:
        """Go on without a job that has been answered; the lock is held.

        Returns
        -------
        bool
            False if too many such jobs run on already: then nobody goes on in its lane.
        """
        job.overdue = True
        if job.lane is None:
            if job in self._returning:
                self._returning.remove(job)
                _ring(job.hand)
            return True
        self._runaways.add(job)
        if len(self._runaways) > MOST_RUNAWAYS:
            return False
        self._fill(self._vacate(job))
        return True

    def close(self) -> None:
        """Begin nothing more, and end the threads after their current jobs; the lock is held."""
        self.closed = True
        for job in self._returning:
            _ring(job.hand)
        for hand in self._spare:
            _ring(hand)
        self._returning.clear()
        self._spare.clear()

    def wanted(self, job: Job) -> bool:
        """See `Wanted`."""
        if not job.waiters:
            with self.lock:
                if self._given_up(job):
                    return False
        if job.lane is self._ordinary and self._overtaking.locked():
            begun = time.monotonic()
            if self._overtaking.acquire(timeout=PAUSE):
                self._overtaking.release()
            job.paused += time.monotonic() - begun
        return True

    def step_aside(self, job: Job) -> bool:
        """Let go of a job's lane; False if it has to wait in it, or has none."""
        with self.lock:
            if self._given_up(job):
                raise Unwanted
            if job.lane is None or not job.outside:
                return False
            self._fill(self._vacate(job))
            return True

    def come_back(self, job: Job) -> None:
        """Return when a job that stepped aside may compute again."""
        with self.lock:
            if self._given_up(job):
                raise Unwanted
            lane = self._open_to(job)
            if lane is not None:
                self._enter(lane, job)
                return
            self._returning.append(job)
        assert job.hand is not None
        begun = time.monotonic()
        job.hand.bell.acquire()
        job.paused += time.monotonic() - begun
        if job.lane is None or not self.wanted(job):
            raise Unwanted

    def _given_up(self, job: Job) -> bool:
        """Whether nobody waits for a job: who asks from now on starts it anew."""
        if not job.waiters:
            self._forget(job)
        return not job.waiters

    def _long(self) -> bool:
        """Whether the ordinary lane holds what may be overtaken."""
        job = self._ordinary.job
        if job is None:
            return False
        # What is computed outside takes little of its time here.
        cost = 0.0 if job.outside else self._turns.cost(job.layer) or 0.0
        return max(cost, time.monotonic() - self._ordinary.since) > LONG

    def _open_to(self, job: Job) -> _Lane | None:
        if self._ordinary.job is None:
            return self._ordinary
        if self._express.job is None and self._turns.quick(job) and self._long():
            return self._express
        return None

    def _fill(self, lane: _Lane, hand: _Hand | None = None) -> None:
        """Let the next one into a free lane: who came back, else, in the thread `hand`, who has its turn."""
        if lane.express and not self._long():
            return
        back = self._next_back(lane)
        if back is not None:
            self._enter(lane, back)
            _ring(back.hand)
            return
        job = None if self.closed else self._turns.next(quick=lane.express)
        if job is None:
            return
        assert isinstance(job, Job)
        self._enter(lane, job)
        self.begun.add(job)
        job.started = lane.since
        if hand is not None:
            hand.job = job
        elif self._spare:
            # The one that worked last: what it needs is in the processor's cache.
            hand = self._spare.pop()
            hand.job = job
            _ring(hand)
        else:
            hand = _Hand(job)
            threading.Thread(target=self._work, args=(hand,), name="compute", daemon=True).start()
        job.hand = hand

    def _next_back(self, lane: _Lane) -> Job | None:
        for job in self._returning:
            if not lane.express or self._turns.quick(job):
                self._returning.remove(job)
                return job
        return None

    def _enter(self, lane: _Lane, job: Job) -> None:
        if lane.express:
            self._overtaking.acquire()
        lane.job, job.lane = job, lane
        lane.since = time.monotonic()

    def _vacate(self, job: Job) -> _Lane:
        lane = job.lane
        assert lane is not None
        if lane.express:
            self._overtaking.release()
        lane.job = job.lane = None
        return lane

    def _work(self, hand: _Hand) -> None:
        while (job := hand.job) is not None:
            if not self._carry_out(hand, job):
                del job
                hand.bell.acquire()

    def _carry_out(self, hand: _Hand, job: Job) -> bool:
        """Carry out a job; False if the thread is to wait for its bell after it."""
        begun, begun_processor = time.monotonic(), time.thread_time()
        result, error = None, None
        try:
            result = job.task(Wanted(self, job))
        except Exception as failure:  # noqa: BLE001 - handed to those who wait
            error = failure
        seconds = time.monotonic() - begun - job.paused
        self._spent(job.session, time.thread_time() - begun_processor)
        with self.lock:
            self._turns.charge(job, seconds)
            self.begun.discard(job)
            self._runaways.discard(job)
            hand.job = job.hand = None
            lane = job.lane
            if lane is not None:
                self._fill(self._vacate(job), hand)
            if job.outside and lane is not self._ordinary:
                # Another one may be under way now.
                self.look()
            more = hand.job is not None or self.closed
            if not more:
                self._spare.append(hand)
        self._done(job, result, error)
        return more


def _ring(hand: _Hand | None) -> None:
    assert hand is not None
    hand.bell.release()
