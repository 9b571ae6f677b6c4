"""``geoloom-engine``: binds the port, starts as many workers as cores, and looks after them."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Sequence
from types import FrameType

import tornado.netutil

from geoloom._version import __version__
from geoloom.errors import GeoloomError
from geoloom.store import RedisStore
from geoloom_engine import logs
from geoloom_engine.compiled import unpack
from geoloom_engine.machine import Machine
from geoloom_engine.metrics import Metrics
from geoloom_engine.peers import Mesh
from geoloom_engine.sandboxing import Sandboxing
from geoloom_engine.settings import SELF_TEST, Settings, load, unknown_variables

log = logging.getLogger("geoloom_engine")

WRONG_SETTINGS = 2
"""Exit status where nothing was started: a setting, the port or the store is at fault."""

SWITCH = 0.001
"""Seconds after which a thread lets others have the interpreter. With Python's 5 ms a tile that overtakes
a long computation in pure Python takes 55 ms (p95), with 1 ms 16; per quick job it costs no more than 1 %."""

MOST_DEATHS = 5
DEATH_WINDOW = 30.0
"""More deaths of workers than that within so many seconds end the engine: starting again does not help."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run an engine; the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if SELF_TEST in given:
        from geoloom_engine import self_test

        return self_test.main([one for one in given if one != SELF_TEST], os.environ)
    try:
        settings = _completed(load(given, os.environ))
        logs.configure(settings.log_level, settings.log_format)
        for warning in unknown_variables(os.environ):
            log.warning(warning)
        _check_sources(settings)
        sockets = _bind(settings)
        unpack(os.environ)
        store = RedisStore(settings.redis_url)
        store.ping()
        store.close()
    except (ValueError, OSError, GeoloomError) as error:
        sys.stderr.write(f"geoloom-engine: {error}\n")
        return WRONG_SETTINGS
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    port = sockets[0].getsockname()[1]
    sys.stdout.write(
        f"Geoloom engine {__version__} listens on http://{host}:{port} "
        f"({settings.workers} workers, pid {os.getpid()})\n"
    )
    sys.stdout.flush()
    return Supervisor(settings, sockets).run()


class Supervisor:
    """Starts workers, starts them again when they die, and stops them.

    It imports neither GDAL nor numba and has no event loop, so that forking it is safe at any time.
    """

    def __init__(self, settings: Settings, sockets: Sequence[socket.socket]) -> None:
        self._settings = settings
        self._sockets = sockets
        self._metrics = Metrics(settings.workers)
        self._mesh = Mesh(settings.workers) if settings.workers > 1 else None
        self._sandboxing = Sandboxing(settings)
        self._workers: dict[int, int] = {}
        self._deaths: list[float] = []
        self._stopping = False
        self._status = 0
        # Workers read from this pipe; its end of file tells them that their supervisor is gone.
        self._lifeline, self._held_end = os.pipe()

    def run(self) -> int:
        """Supervise until stopped; the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGALRM, self._kill)
        self._sandboxing.start()
        for index in range(self._settings.workers):
            self._start(index)
        while self._workers:
            try:
                pid, status = os.wait()
            except ChildProcessError:
                break
            if pid in self._workers:
                self._ended(pid, os.waitstatus_to_exitcode(status))
            elif pid == self._sandboxing.pid and not self._stopping:
                self._sandbox_ended(os.waitstatus_to_exitcode(status))
        self._sandboxing.stop()
        return self._status

    def _start(self, index: int) -> None:
        waiting = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
        # A signal that came between fork and registration would miss the new worker.
        signal.pthread_sigmask(signal.SIG_BLOCK, waiting)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.close(self._held_end)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, waiting)
                self._metrics.claim(index)
                if self._mesh is not None:
                    self._mesh.claim(index)
                self._sandboxing.claim(index)
                # numba loads it for linear algebra, which no loop here uses: 0.3 s of a worker's start.
                sys.modules["scipy"] = None  # type: ignore[assignment]
                from geoloom_engine.server import work

                sys.setswitchinterval(SWITCH)
                work(
                    self._settings, self._sockets, self._metrics, self._lifeline, self._mesh, self._sandboxing
                )
                status = 0
            except BaseException:
                log.exception("worker %d failed", index)
            finally:
                # Not through the interpreter's shutdown: a computation may still be running.
                os._exit(status)
        self._workers[pid] = index
        signal.pthread_sigmask(signal.SIG_UNBLOCK, waiting)

    def _ended(self, pid: int, code: int) -> None:
        index = self._workers.pop(pid)
        self._sandboxing.forget(index)
        if self._stopping:
            return
        log.error("worker %d (pid %d) ended with %d and is started again", index, pid, code)
        if self._go_on(code):
            self._start(index)

    def _sandbox_ended(self, code: int) -> None:
        log.error("the process that users' functions come from ended with %d and is started again", code)
        if self._go_on(code):
            self._sandboxing.start()

    def _go_on(self, code: int) -> bool:
        """Whether to start again what ended; if too much did, the engine stops."""
        now = time.monotonic()
        self._deaths = [death for death in self._deaths if now - death < DEATH_WINDOW]
        if code != 0:
            self._deaths.append(now)
        if len(self._deaths) <= MOST_DEATHS:
            return True
        log.error("processes keep ending; the engine stops")
        self._status = 1
        self._stop(signal.SIGTERM, None)
        return False

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        for pid in self._workers:
            # One may have ended by itself just now, and not been waited for.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        signal.setitimer(signal.ITIMER_REAL, self._settings.drain_timeout + 2.0)

    def _kill(self, number: int, frame: FrameType | None) -> None:
        for pid in self._workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _completed(settings: Settings) -> Settings:
    """Settings with what is chosen at each start: nonce, signing key, number of workers."""
    return dataclasses.replace(
        settings,
        nonce=settings.nonce or secrets.token_hex(16),
        signing_key=settings.signing_key or secrets.token_hex(32),
        workers=settings.workers or Machine.here().workers,
    )


def _check_sources(settings: Settings) -> None:
    from geoloom_engine.readers.access import Access

    try:
        Access(settings.sources)
    except ValueError as error:
        raise ValueError(f"GEOLOOM_SOURCES: {error}.") from None


def _bind(settings: Settings) -> list[socket.socket]:
    try:
        return tornado.netutil.bind_sockets(settings.port, settings.host, backlog=512)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = "the port is in use; set another with --port or GEOLOOM_PORT"
        else:
            reason = error.strerror or str(error)
        raise OSError(f"Cannot listen on {settings.host}:{settings.port}: {reason}.") from None


if __name__ == "__main__":
    sys.exit(main())
