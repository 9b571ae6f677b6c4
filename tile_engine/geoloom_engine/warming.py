"""Has compiled what is compiled before the first person waits for it.

Compiled code is kept on disk where possible, so that all but the very first start only load it: 0.7 s
of processor time instead of 32. Compiling is done by a process of its own, which ends afterwards:
numba and LLVM keep hold of 450 MB once they have compiled all there is, loading it takes 120.
"""

from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numba
from numba.core import event

log = logging.getLogger(__name__)

PROGRAM = ("-P", "-m", "geoloom_engine.rehearsal")
"""What the interpreter runs to compile, told ``first`` or ``later``; nothing of the current folder."""
PAUSE = 0.05
"""Seconds between two steps, in which other workers may take their turn."""
WAY = 10.0
"""Seconds for which steps make way in all, while requests wait for computation: those load what they need
themselves, and the steps would take half of their time."""
LOOK = 0.01
"""Seconds between two looks at whether it is one's turn, or done."""
PATIENCE = 120.0
"""Seconds to wait at most for others to compile the same."""
UNDER_WAY = "The engine is warming up."
"""The problem of a worker that has not done all of the first steps."""

Step = Callable[[], object]
Steps = Callable[[], Iterable[Step]]


class _NotKept(Exception):
    """A step would compile."""


class _LoadsOnly(event.Listener):
    """Ends a step of this thread when it is about to compile."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def on_start(self, event: event.Event) -> None:
        """Told by numba before it compiles, in the thread that does."""
        if threading.get_ident() == self._thread:
            raise _NotKept

    def on_end(self, event: event.Event) -> None:
        """Told by numba when it has compiled."""


class Warming:
    """Runs the steps in a thread of its own, however long one takes.

    Requests that are there already are answered beside it: a computation's time limit and turn are
    not for compiling, which takes as long as the machine is slow.

    Where compiled code is kept, the workers of all engines of this installation take turns: one has
    it compiled, the others load. Where it cannot be kept, each worker compiles for itself.

    Parameters
    ----------
    first
        Makes what is done before the worker is ready.
    later
        Makes what is done afterwards.
    program
        Arguments of the interpreter for the process that compiles.
    busy
        Whether requests wait.
    """

    def __init__(
        self,
        first: Steps,
        later: Steps,
        program: Sequence[str] = PROGRAM,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._first = first
        self._later = later
        self._program = program
        self._busy = busy
        self._way = WAY
        self._problem: str | None = UNDER_WAY
        self._stop = threading.Event()
        threading.Thread(target=self._run, name="warming", daemon=True).start()

    @property
    def problem(self) -> str | None:
        """Why the worker is not ready, if it is not."""
        return self._problem

    def close(self) -> None:
        """End after the current step, and a process that compiles at once."""
        self._stop.set()

    def _run(self) -> None:
        kept = _is_kept()
        try:
            for step in self._first():
                self._make_way()
                kept = self._do(step, "first", kept)
                if self._stop.is_set():
                    return
        except Exception as error:  # noqa: BLE001 - told to whoever asks
            self._problem = f"Warming up failed: {error}."
            return
        self._problem = None
        kept = _is_kept()
        for step in self._later():
            if self._stop.wait(PAUSE):
                return
            self._make_way()
            try:
                kept = self._do(step, "later", kept)
            except Exception:
                log.exception("what is compiled beforehand cannot be compiled")

    def _make_way(self) -> None:
        """Wait while requests do, but not for ever."""
        while self._busy() and self._way > 0 and not self._stop.wait(LOOK):
            self._way -= LOOK

    def _do(self, step: Step, part: str, kept: bool) -> bool:
        """Run a step; whether the code of the next, too, may be kept or be had by asking for it."""
        if not kept:
            step()
            return False
        if _loaded(step):
            return True
        with self._turn():
            # Others may have had it compiled meanwhile.
            if _loaded(step):
                return True
            self._compile(part)
        if not self._stop.is_set():
            step()
        return False

    def _compile(self, part: str) -> None:
        """Have a part compiled by another process, and wait for it."""
        # It ends with this process: its standard input does.
        own = {name: value for name, value in os.environ.items() if not name.startswith("GEOLOOM_")}
        with subprocess.Popen(
            [sys.executable, *self._program, part], stdin=subprocess.PIPE, env=own
        ) as child:
            while child.poll() is None:
                if self._stop.wait(LOOK):
                    child.kill()
        if child.returncode != 0 and not self._stop.is_set():
            log.warning("compiling beforehand ended with %d; the worker compiles itself", child.returncode)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Alone among the processes of this installation, unless the others take too long."""
        # The kernel lets go of the lock of a process that dies; a lock of a file needs no right to write it.
        with Path(__file__).open("rb") as file:
            for _ in range(int(PATIENCE / LOOK)):
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if self._stop.wait(LOOK):
                        break
                except OSError:  # a file system without locks
                    break
                else:
                    break
            yield


def _loaded(step: Step) -> bool:
    """Run a step as far as its loops are kept; whether it ran to its end."""
    try:
        with event.install_listener("numba:compile", _LoadsOnly()):
            step()
    except _NotKept:
        return False
    return True


def _is_kept() -> bool:
    """Whether there is a folder for compiled code."""
    try:
        numba.njit(cache=True)(_is_kept)
    except (RuntimeError, OSError):
        return False
    return True
