"""The process that sandbox workers are forked from: clean, with one thread and all modules loaded.

It is started by exec, in an environment without secrets, and never sees a user's function. It does
little: fork when an engine worker orders it, tell how workers ended, and end when the supervisor does.
Modules are loaded when a worker is ordered that needs them, or after a while: the start of an engine has
other things to do.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from types import FrameType
from typing import NoReturn

from geoloom_engine.sandbox import wire
from geoloom_engine.sandbox.messages import (
    FORGET_SIZE,
    ORDER_SIZE,
    Malformed,
    Notice,
    Order,
    What,
    forgotten,
)

WAIT = 5.0
"""Seconds after which modules are loaded though nobody has asked for them."""

MOST_ENDED = 256
"""Workers whose end is remembered until somebody asks."""

log = logging.getLogger("geoloom_engine")

DONE = object()

Lock = Callable[[int, int], None]
"""Locks this process down: bytes of memory it may take, the one descriptor it keeps."""

Name = tuple[int, int]
"""Of a worker: number of its channel, and the number that who ordered it gave it."""


class Zygote:
    """Forks workers.

    Parameters
    ----------
    control
        Tells which engine workers have ended; its end is the zygote's.
    channels
        One from each engine worker.
    first
        Loads the modules of most functions; gives what locks a worker down.
    steps
        Load the others, a little each.
    ready
        Gives what locks a worker down when all are loaded.
    """

    def __init__(
        self,
        control: socket.socket,
        channels: Sequence[socket.socket],
        first: Callable[[], Lock],
        steps: Iterator[None],
        ready: Callable[[], Lock],
    ) -> None:
        self._control = control
        self._channels = list(channels)
        self._first, self._steps, self._ready = first, steps, ready
        self._lock: Lock | None = None
        self._whole = False
        self._alive: dict[Name, int] = {}
        self._names: dict[int, Name] = {}
        self._ended: dict[Name, Notice] = {}
        self._wakeup, self._alarm = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(self._alarm, False)

    def run(self) -> NoReturn:
        """Serve until the supervisor ends."""
        # Of a terminal, or of whoever ends a service with all its processes: the engine has tiles to finish.
        # Workers take this over.
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, _heard)
        signal.set_wakeup_fd(self._alarm, warn_on_full_buffer=False)
        poll = select.poll()
        for source in (self._wakeup, self._control.fileno(), *(one.fileno() for one in self._channels)):
            poll.register(source, select.POLLIN)
        for index in range(len(self._channels)):
            self._tell(index, Notice(What.HELLO, 0))
        cold_until = time.monotonic() + WAIT
        while True:
            left = None if self._whole else max(0.0, cold_until - time.monotonic()) * 1000
            # Orders are obeyed between two steps: who needs no more than is there does not wait for the rest.
            ready = {descriptor for descriptor, _ in poll.poll(left)}
            # First of all, so that orders of a new engine worker are not taken for its predecessor's.
            if self._control.fileno() in ready:
                self._heed()
            if self._wakeup in ready:
                self._reap()
            for index, channel in enumerate(self._channels):
                if channel.fileno() in ready and not self._obey(index):
                    poll.unregister(channel)
            if not self._whole and time.monotonic() >= cold_until:
                self._load_a_little()

    def _heed(self) -> None:
        """What the supervisor says."""
        found = wire.receive(self._control, FORGET_SIZE)
        if found is None:
            return
        content, _ = found
        if not content:
            self._finish()
        index = forgotten(content)
        for name in [name for name in self._alive if name[0] == index]:
            self._end(name)
        for name in [name for name in self._ended if name[0] == index]:
            del self._ended[name]

    def _obey(self, index: int) -> bool:
        """Do what an engine worker orders; whether there may be more."""
        try:
            found = wire.receive(self._channels[index], ORDER_SIZE, wire.MOST)
            if found is None:
                return True
            content, descriptors = found
            if not content:
                return False
            order = Order.unpack(content)
        except Malformed as error:
            log.error("channel %d of the sandbox: %s", index, error)
            return True
        try:
            if order.what is What.SPAWN and len(descriptors) == wire.MOST:
                self._spawn(index, order, descriptors)
            elif order.what is What.END:
                self._tell(index, self._end((index, order.number)))
            elif order.what is What.HELLO:
                self._tell(index, Notice(What.HELLO, order.number))
        finally:
            wire.close(descriptors)
        return True

    def _load_a_little(self) -> None:
        self._load(whole=False)
        if next(self._steps, DONE) is DONE:
            self._load(whole=True)

    def _load(self, whole: bool) -> Lock:
        """Load what is not loaded yet."""
        self._lock = self._lock or self._first()
        if whole and not self._whole:
            for _ in self._steps:
                pass
            self._lock, self._whole = self._ready(), True
        return self._lock

    def _spawn(self, index: int, order: Order, descriptors: list[int]) -> None:
        lock = self._load(order.whole)
        try:
            pid = os.fork()
        except OSError as error:
            self._tell(index, Notice(What.REFUSED, order.number, error.errno or 0))
            return
        if pid == 0:
            self._be_worker(order, descriptors, lock)
        self._alive[index, order.number] = pid
        self._names[pid] = index, order.number
        handles = [os.pidfd_open(pid)] if wire.has_packets(self._control) else []
        self._tell(index, Notice(What.SPAWN, order.number, pid, int(self._whole)), handles)
        wire.close(handles)

    def _be_worker(self, order: Order, descriptors: list[int], lock: Lock) -> NoReturn:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            wire.close((self._wakeup, self._alarm))
            for one in (self._control, *self._channels):
                one.close()
            job, inside, outside = descriptors
            from geoloom_engine.sandbox.worker import serve

            # Not closed before the end: that is how the engine knows, and asks for the status at once.
            connection = socket.socket(fileno=job)
            serve(order, connection, inside, outside, lock)
            status = 0
        except BaseException:
            log.exception("a sandbox worker failed")
        finally:
            os._exit(status)

    def _end(self, name: Name) -> Notice:
        """End a worker, if it has not ended by itself; how it did."""
        pid = self._alive.get(name)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            self._bury(pid, 0)
        return self._ended.pop(name, Notice(What.UNKNOWN, name[1]))

    def _reap(self) -> None:
        """See who ended."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakeup, 4096)
        with contextlib.suppress(ChildProcessError):
            while self._bury(-1, os.WNOHANG):
                pass

    def _bury(self, pid: int, options: int) -> bool:
        """Wait for a worker's end and keep what is told of it; whether one ended."""
        pid, status, usage = os.wait4(pid, options)
        if not pid:
            return False
        name = self._names.pop(pid)
        del self._alive[name]
        processor = usage.ru_utime + usage.ru_stime
        self._ended[name] = Notice(What.END, name[1], pid, os.waitstatus_to_exitcode(status), processor)
        if len(self._ended) > MOST_ENDED:
            del self._ended[next(iter(self._ended))]
        return True

    def _tell(self, index: int, notice: Notice, descriptors: Sequence[int] = ()) -> None:
        # Nobody reads the channel of an engine worker that has ended, and it may be full.
        with contextlib.suppress(OSError):
            wire.send(self._channels[index], notice.pack(), descriptors)

    def _finish(self) -> NoReturn:
        for pid in self._names:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        os._exit(0)


def _heard(number: int, frame: FrameType | None) -> None:
    """Nothing: the signal wakes the loop by its pipe."""


def main(arguments: Sequence[str]) -> NoReturn:
    """Be the zygote: level of the lock, modules, descriptors of control and channels."""
    level, modules, *descriptors = arguments
    # The first to go where memory runs out, before the engine; workers inherit it.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    parent = os.getpid()
    control, *channels = [socket.socket(fileno=int(descriptor)) for descriptor in descriptors]

    names = modules.split(",")

    def steps() -> Iterator[None]:
        from geoloom_engine.sandbox import warmup

        yield from warmup.steps(names)

    def first() -> Lock:
        from geoloom_engine.sandbox import warmup, worker

        del worker  # loaded for those that are forked
        warmup.warm_up([name for name in names if not warmup.needs_all([name])])
        return ready()

    def ready() -> Lock:
        from geoloom_engine.sandbox import lock

        chosen = lock.LockLevel(*(one.name in level.split(",") for one in fields(lock.LockLevel)))
        # Job sockets will have the number that is free now.
        free = os.dup(control.fileno())
        os.close(free)
        lock.prepare(chosen, (free,))
        gc.collect()
        # What was loaded stays as it is in the workers' memory, and their collections pass it over.
        gc.freeze()
        return lambda memory, keep: lock.lock(chosen, memory, (keep,), parent)

    Zygote(control, channels, first, steps(), ready).run()


if __name__ == "__main__":
    main(sys.argv[1:])
