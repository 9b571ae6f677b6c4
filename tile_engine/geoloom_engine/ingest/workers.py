"""Processes that look into files: as many as wanted, and none of them can end the ingest.

A file on which a process dies, or which takes longer than it may, is named; the others of its scene are
looked into once more without it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from geoloom_engine.ingest.jobs import Job, Outcome, Treatment

FILE_SECONDS = 900.0
"""How long one file may take."""

_START_SECONDS = 60.0


@dataclass(slots=True)
class _Worker:
    process: Any
    pipe: Any
    job: Job | None = None
    file: str = ""
    since: float = 0.0
    fresh: bool = True


class Workers:
    """A number of processes with one job each.

    Parameters
    ----------
    count
        How many at most; they are started as they are needed.
    treatment
        What holds for all jobs.
    seconds
        How long one file may take.
    """

    def __init__(self, count: int, treatment: Treatment, seconds: float = FILE_SECONDS) -> None:
        self._count = count
        self._treatment = treatment
        self._seconds = seconds
        self._context = _context()
        self._workers: list[_Worker] = []
        self._lost: dict[str, list[tuple[str, str]]] = {}

    def run(self, jobs: Iterator[Job], wait: float = 1.0) -> Iterator[Outcome | None]:
        """What became of each job, as they end; None whenever `wait` seconds passed without news."""
        again: list[Job] = []
        ended = False
        while True:
            while not ended or again:
                free = next((one for one in self._workers if one.job is None), None)
                if free is None and len(self._workers) >= self._count:
                    break
                job = again.pop() if again else next(jobs, None)
                if job is None:
                    ended = True
                    break
                if not job.files:
                    yield Outcome(job, [], self._lost.pop(job.scene))
                    continue
                self._give(free or self._start(), job)
            busy = [one for one in self._workers if one.job is not None]
            if not busy:
                return
            ready = multiprocessing.connection.wait([one.pipe for one in busy], timeout=wait)
            for worker in busy:
                if worker.pipe in ready:
                    outcome = self._heard(worker, again)
                    if outcome is not None:
                        yield outcome
                elif time.monotonic() - worker.since > self._seconds:
                    worker.process.kill()
                    self._died(worker, f"it took longer than {self._seconds:g} seconds", again)
            if not ready:
                yield None

    def close(self) -> None:
        """End all processes, whatever they do."""
        for worker in self._workers:
            worker.pipe.close()
            if worker.job is not None:
                worker.process.kill()
        for worker in self._workers:
            worker.process.join(5.0)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.process.close()
        self._workers.clear()

    def _start(self) -> _Worker:
        own, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, self._treatment), daemon=True)
        process.start()
        theirs.close()
        worker = _Worker(process, own)
        self._workers.append(worker)
        return worker

    def _give(self, worker: _Worker, job: Job) -> None:
        worker.job, worker.file = job, job.files[0].href
        # A new process loads its modules first.
        worker.since = time.monotonic() + (_START_SECONDS if worker.fresh else 0.0)
        worker.fresh = False
        with contextlib.suppress(OSError):
            # That it is gone is heard from the pipe's end.
            worker.pipe.send(job)

    def _heard(self, worker: _Worker, again: list[Job]) -> Outcome | None:
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            self._died(worker, None, again)
            return None
        if isinstance(message, str):
            worker.file, worker.since = message, time.monotonic()
            return None
        worker.job = None
        outcome: Outcome = message
        problems = self._lost.pop(outcome.job.scene, [])
        return replace(outcome, problems=problems + outcome.problems) if problems else outcome

    def _died(self, worker: _Worker, reason: str | None, again: list[Job]) -> None:
        """Forget a process, and have the rest of its job done by another."""
        worker.process.join()
        code = worker.process.exitcode
        worker.pipe.close()
        worker.process.close()
        self._workers.remove(worker)
        job = worker.job
        assert job is not None
        if reason is None:
            reason = f"looking into it ended the process ({_cause(code)})"
        self._lost.setdefault(job.scene, []).append((worker.file, reason))
        again.append(replace(job, files=tuple(file for file in job.files if file.href != worker.file)))


def _context() -> Any:
    """How processes are started.

    Not by forking this one, whose threads would be copied in whatever state they are. On Linux a process
    that has loaded everything and does nothing is forked; elsewhere each loads everything anew.
    """
    if not sys.platform.startswith("linux"):
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "geoloom_engine.ingest.items"])
    return context


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


def _work(pipe: Any, treatment: Treatment) -> None:
    """A process's life: jobs in, outcomes out, until the other end is gone."""
    # A terminal sends its interrupt to all; the parent alone decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from geoloom_engine.ingest.items import Maker

    maker = Maker(treatment)
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send(maker.make(pipe.recv(), pipe.send))
